//! The numbers a network agrees on at genesis.
//!
//! They are a value, not constants: a development network turns its calendar in seconds, a real one in a day. All
//! durations are in epochs (one block each), all amounts in micro-units. What does not vary is code: 48 deadlines
//! ([`crate::calendar::DEADLINES`]) and the sectors in a partition (`SectorParams`).

use cairn_protocol::Amount;
use serde::{Deserialize, Serialize};

use crate::calendar::DEADLINES;
use crate::economy::EconomyParams;
use crate::jobs::JobParams;
use crate::market::MarketParams;
use crate::sector_rules::SectorRules;
use crate::served::ServingRules;
use crate::validator::StakeParams;
use crate::work::HEAVIEST;

/// Most bytes of a transaction, on every network. The largest ones are, with all numbers at their largest:
///
/// - a declaration of 4,096 sectors, 9 bytes each: 37 kB;
/// - a prove-commit of a non-interactive sector of 32 or 64 GiB: 126 partitions, each a Groth16 proof of 192 bytes, make
///   24 kB; 256 pieces make 20 kB more;
/// - an order for 256 pieces: 23 kB, 4 kB more for attributes and auditors;
/// - a window PoSt that skips all but one of a partition's 2,349 sectors: 21 kB.
const TRANSACTION_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a block for each transaction it may hold: room for the prove-commit of an interactive 32 GiB sector (10
/// partitions of 192 bytes), while a window PoSt, the most frequent transaction, takes a fifth of it. Large transactions
/// make blocks of fewer.
const BLOCK_BYTES_PER_TRANSACTION: u64 = 2 << 10;

/// Everything that may differ between two networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerParams {
    /// How long an epoch should last, in milliseconds: what nodes wait between two blocks when nothing holds them up.
    pub epoch_ms: u64,
    /// Epochs in one deadline's own slot; a proving period is 48 of them.
    pub epochs_per_deadline: u64,
    /// Epochs before its slot at which a deadline's challenge is drawn. The proof is accepted from the next epoch
    /// until the slot ends, so this is the time a prover has beyond the slot itself.
    pub post_challenge_lead: u64,
    /// Epochs from pre-commit to the seed.
    pub challenge_delay: u64,
    /// Epochs from the seed until a pre-commit expires.
    pub prove_commit_window: u64,
    /// Oldest ticket that a pre-commit may use, in epochs.
    pub ticket_age_max: u64,
    /// Epochs for which beacons are kept.
    pub beacon_window: u64,
    /// Epochs for which an order takes bids.
    pub bid_window: u64,
    /// Epochs after the bid window in which sealed bids are revealed.
    pub reveal_window: u64,
    /// Epochs from assignment until a deal must be active.
    pub activation_window: u64,
    /// How often the copy of a piece is ordered again after its provider dropped it; 0: never, the escrow returns.
    pub replacements_max: u32,
    /// Epochs for which closed orders, deals and sectors stay readable.
    pub record_retention: u64,
    /// Epochs from a payer's wish to close a channel until it closes: the payee's time to redeem.
    pub channel_settle_delay: u64,
    /// Least first deposit of a channel.
    pub channel_deposit_min: Amount,
    /// Least collateral for bidding and pre-committing.
    pub collateral_min: Amount,
    /// Deposit with a bid.
    pub bid_deposit: Amount,
    /// Deposit with a pre-commit; stays locked as the sector's pledge while it lives.
    pub sector_deposit: Amount,
    /// Burnt for each faulty sector at each deadline but the first that it misses.
    pub fault_fee: Amount,
    /// Burnt for each admitted transaction, failed ones included.
    pub transaction_fee: Amount,
    /// Consecutive missed deadlines after which a sector is terminated.
    pub fault_periods_max: u32,
    /// Shortest deal, in epochs.
    pub deal_epochs_min: u64,
    /// Longest deal, in epochs.
    pub deal_epochs_max: u64,
    /// Longest life of a sector, from pre-commit, in epochs.
    pub sector_epochs_max: u64,
    /// Most copies in an order.
    pub copies_max: u32,
    /// Most pieces in an order.
    pub order_pieces_max: u32,
    /// Most bids on an order.
    pub order_bids_max: u32,
    /// Most pieces, and most deals, in a sector.
    pub sector_pieces_max: u32,
    /// Most bytes of a transaction's encoding.
    pub transaction_bytes_max: u64,
    /// Most bytes of transactions in a block.
    pub block_bytes_max: u64,
    /// Most transactions in a block.
    pub block_transactions_max: u32,
    /// Most proofs and sectors that the transactions of a block may be about, as [`crate::work`] weighs them.
    pub block_weight_max: u64,
    /// Queued work that one block starts: sectors of closing partitions, deals of closing orders, one for the rest.
    pub queue_weight_per_block: u64,
    /// Stake of validators.
    pub stake: StakeParams,
    /// How bids are weighed.
    pub market: MarketParams,
    /// How a proven sector is ended, prolonged and updated.
    pub sectors: SectorRules,
    /// Emission, rounds and scores.
    pub economy: EconomyParams,
    /// The numbers of proof jobs.
    pub jobs: JobParams,
    /// What wrong bytes cost.
    pub serving: ServingRules,
}

/// Which parameter cannot be, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ledger parameter {name} is {got}: {rule}")]
pub struct ParamsRejection {
    /// The field.
    pub name: &'static str,
    /// Its value.
    pub got: u64,
    /// What it must satisfy.
    pub rule: &'static str,
}

impl LedgerParams {
    /// A network on one machine, with blocks about every 100 ms: a proving period lasts some twenty seconds, sealing may
    /// take half an hour. A window PoSt has 154 epochs, most of the period, because it may have to wait for the two
    /// cores of a small machine that seals meanwhile; what its SNARK takes alone is a second or two.
    pub fn devnet() -> Self {
        Self {
            epoch_ms: 100,
            epochs_per_deadline: 4,
            post_challenge_lead: 150,
            challenge_delay: 5,
            prove_commit_window: 6_000,
            ticket_age_max: 18_000,
            beacon_window: 20_000,
            bid_window: 10,
            reveal_window: 10,
            activation_window: 36_000,
            replacements_max: 2,
            record_retention: 36_000,
            channel_settle_delay: 100,
            channel_deposit_min: Amount(10_000),
            collateral_min: Amount(10_000_000),
            bid_deposit: Amount(500_000),
            sector_deposit: Amount(1_000_000),
            fault_fee: Amount(50_000),
            transaction_fee: Amount(100),
            fault_periods_max: 42,
            deal_epochs_min: 192,
            deal_epochs_max: 10_000_000,
            sector_epochs_max: 20_000_000,
            copies_max: 8,
            order_pieces_max: 256,
            order_bids_max: 20,
            sector_pieces_max: 64,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            block_bytes_max: 1_000 * BLOCK_BYTES_PER_TRANSACTION,
            block_transactions_max: 1_000,
            block_weight_max: 100_000,
            queue_weight_per_block: 10_000,
            stake: StakeParams { unbonding_epochs: 18_000, slash_permille: 50 },
            market: MarketParams::default(),
            sectors: SectorRules::with_extensions_of(10_000_000),
            economy: EconomyParams::devnet(),
            jobs: JobParams::devnet(),
            serving: ServingRules::within(6_000),
        }
    }

    /// A real network with an epoch of 30 s, 2,880 a day: the calendar of Filecoin (`spec/market.md` 2.3), 1 to 1,278
    /// days for a deal.
    pub fn mainnet() -> Self {
        const DAY: u64 = 2_880;
        Self {
            epoch_ms: 30_000,
            epochs_per_deadline: 60,
            post_challenge_lead: 20,
            challenge_delay: 150,
            prove_commit_window: 30 * DAY,
            ticket_age_max: 30 * DAY,
            beacon_window: 31 * DAY,
            bid_window: 20,
            reveal_window: 20,
            activation_window: 7 * DAY,
            replacements_max: 3,
            record_retention: 60 * DAY,
            channel_settle_delay: DAY / 2,
            channel_deposit_min: Amount(100_000),
            collateral_min: Amount(1_000_000_000),
            bid_deposit: Amount(500_000),
            sector_deposit: Amount(100_000_000),
            fault_fee: Amount(3_510_000),
            transaction_fee: Amount(1_000),
            fault_periods_max: 42,
            deal_epochs_min: DAY,
            deal_epochs_max: 1_278 * DAY,
            sector_epochs_max: 5 * 365 * DAY,
            copies_max: 8,
            order_pieces_max: 256,
            order_bids_max: 20,
            sector_pieces_max: 256,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            block_bytes_max: 2_000 * BLOCK_BYTES_PER_TRANSACTION,
            block_transactions_max: 2_000,
            block_weight_max: 300_000,
            queue_weight_per_block: 20_000,
            stake: StakeParams { unbonding_epochs: 21 * DAY, slash_permille: 50 },
            market: MarketParams::default(),
            sectors: SectorRules::with_extensions_of(1_278 * DAY),
            economy: EconomyParams::mainnet(),
            jobs: JobParams::mainnet(),
            serving: ServingRules::within(DAY),
        }
    }

    /// Epochs in a proving period: every live sector is proven once in it.
    pub const fn proving_period(&self) -> u64 {
        self.epochs_per_deadline * DEADLINES as u64
    }

    /// Epochs from a deadline's challenge until its slot ends.
    pub const fn post_window(&self) -> u64 {
        self.post_challenge_lead + self.epochs_per_deadline
    }

    /// Checks that the numbers fit each other; a state is only made from parameters that pass.
    ///
    /// # Errors
    /// [`ParamsRejection`] names the first that does not.
    pub fn validate(&self) -> Result<(), ParamsRejection> {
        const EPOCHS_MAX: u64 = 1 << 40;
        let bounded = [
            ("epochs_per_deadline", self.epochs_per_deadline),
            ("challenge_delay", self.challenge_delay),
            ("prove_commit_window", self.prove_commit_window),
            ("ticket_age_max", self.ticket_age_max),
            ("beacon_window", self.beacon_window),
            ("bid_window", self.bid_window),
            ("reveal_window", self.reveal_window),
            ("activation_window", self.activation_window),
            ("record_retention", self.record_retention),
            ("channel_settle_delay", self.channel_settle_delay),
            ("deal_epochs_min", self.deal_epochs_min),
            ("deal_epochs_max", self.deal_epochs_max),
            ("sector_epochs_max", self.sector_epochs_max),
            ("fault_periods_max", u64::from(self.fault_periods_max)),
            ("copies_max", u64::from(self.copies_max)),
            ("order_pieces_max", u64::from(self.order_pieces_max)),
            ("order_bids_max", u64::from(self.order_bids_max)),
            ("sector_pieces_max", u64::from(self.sector_pieces_max)),
            ("transaction_bytes_max", self.transaction_bytes_max),
            ("block_transactions_max", u64::from(self.block_transactions_max)),
            ("queue_weight_per_block", self.queue_weight_per_block),
            ("stake.unbonding_epochs", self.stake.unbonding_epochs),
            ("sectors.termination_periods", u64::from(self.sectors.termination_periods)),
            ("sectors.extension_epochs_max", self.sectors.extension_epochs_max),
        ];
        self.jobs.validate()?;
        self.serving.validate()?;
        for (name, got) in bounded {
            check((1..=EPOCHS_MAX).contains(&got), name, got, "must be at least 1 and at most 2^40")?;
        }
        check((1..=3_600_000).contains(&self.epoch_ms), "epoch_ms", self.epoch_ms, "must be from 1 ms to one hour")?;
        let permille = self.stake.slash_permille;
        check(permille <= 1_000, "stake.slash_permille", permille.into(), "cannot be more than all")?;
        check(
            self.post_challenge_lead <= EPOCHS_MAX && self.post_window() < self.proving_period(),
            "post_challenge_lead",
            self.post_challenge_lead,
            "lead and slot must be shorter than a proving period",
        )?;
        check(
            self.beacon_window > self.challenge_delay + self.prove_commit_window,
            "beacon_window",
            self.beacon_window,
            "a seed must stay readable until its pre-commit expires",
        )?;
        check(
            self.beacon_window > self.ticket_age_max && self.beacon_window > self.post_window(),
            "beacon_window",
            self.beacon_window,
            "tickets and challenges must stay readable while they may be used",
        )?;
        check(
            self.beacon_window / 2 >= self.economy.rounds.round_epochs,
            "beacon_window",
            self.beacon_window,
            "the draw of a round must stay readable until its receipts are opened",
        )?;
        check(
            self.market.reputation_weight_bp <= MarketParams::REPUTATION_WEIGHT_BP_MAX,
            "market.reputation_weight_bp",
            u64::from(self.market.reputation_weight_bp),
            "must be at most 1,000,000",
        )?;
        check(
            self.deal_epochs_min <= self.deal_epochs_max,
            "deal_epochs_min",
            self.deal_epochs_min,
            "must not exceed deal_epochs_max",
        )?;
        check(
            self.sector_epochs_max >= self.sector_epochs_min(self.deal_epochs_min),
            "sector_epochs_max",
            self.sector_epochs_max,
            "must hold the shortest deal",
        )?;
        check(
            self.block_bytes_max >= self.transaction_bytes_max && self.block_bytes_max <= 1 << 30,
            "block_bytes_max",
            self.block_bytes_max,
            "must hold the largest transaction and be at most 1 GiB",
        )?;
        check(
            (HEAVIEST..=EPOCHS_MAX).contains(&self.block_weight_max),
            "block_weight_max",
            self.block_weight_max,
            "must hold the heaviest transaction and be at most 2^40",
        )?;
        self.economy.validate()
    }

    /// Least life of a sector, from pre-commit, that a deal of `deal_epochs` fits into: the latest activation, the
    /// deal, and the last challenge after it.
    pub const fn sector_epochs_min(&self, deal_epochs: u64) -> u64 {
        self.challenge_delay + self.prove_commit_window + deal_epochs + self.post_window()
    }
}

fn check(holds: bool, name: &'static str, got: u64, rule: &'static str) -> Result<(), ParamsRejection> {
    if holds { Ok(()) } else { Err(ParamsRejection { name, got, rule }) }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::{
        CommP, Epoch, PaddedBytes, PieceInfo, ProviderId, SealProof, SectorNumber, SectorParams, SectorSize,
    };

    use super::*;
    use crate::command::DECLARED_SECTORS_MAX;
    use crate::market::{ATTRIBUTES_MAX, AUDITORS_MAX, Attributes, RegionRule, Requirements, VALUE_BYTES_MAX};
    use crate::scores::Fraction;
    use crate::testing::Network;
    use crate::{Command, DealId, ManifestPiece, OrderPiece, OrderTerms, SignedTransaction, Transaction};

    /// Groth16: two points of 48 bytes and one of 96.
    const PARTITION_PROOF_BYTES: usize = 192;

    fn bytes_of(command: Command) -> usize {
        let (sender, chain) = (Network::address(1), crate::ChainId([0xff; 32]));
        let signed: SignedTransaction = Transaction { chain, sender, nonce: u64::MAX, command }.sign(&Network::key(1));
        signed.encode().len()
    }

    fn widest_attributes() -> Attributes {
        let wide = |n: usize| (format!("{n:064}"), "v".repeat(VALUE_BYTES_MAX));
        Attributes::new((0..ATTRIBUTES_MAX).map(wide))
    }

    fn largest_prove_commit(seal_proof: SealProof, pieces: usize) -> Command {
        let partitions = SectorParams::new(SectorSize::GIB64, seal_proof).partitions;
        let info = PieceInfo { comm_p: CommP([0xff; 32]), size: PaddedBytes(u64::MAX) };
        let piece = ManifestPiece { piece: info, deal: Some(DealId(u64::MAX)) };
        let (provider, sector) = (ProviderId(u64::MAX), SectorNumber(u64::MAX));
        let proof = vec![0xff; partitions * PARTITION_PROOF_BYTES];
        Command::ProveCommit { provider, sector, pieces: vec![piece; pieces], proof }
    }

    /// The limits follow from what there is to send; see their constants.
    #[test]
    fn the_largest_transactions_fit_and_the_limits_are_not_wider_than_need_be() {
        let params = LedgerParams::mainnet();
        let (limit, pieces) = (params.transaction_bytes_max as usize, params.sector_pieces_max as usize);
        let provider = ProviderId(u64::MAX);
        let declaration =
            Command::DeclareFaults { provider, sectors: vec![SectorNumber(u64::MAX); DECLARED_SECTORS_MAX] };
        let info = PieceInfo { comm_p: CommP([0xff; 32]), size: PaddedBytes(u64::MAX) };
        let order = Command::PlaceOrder(OrderTerms {
            root: crate::TransactionId([5; 32]).cid(),
            pieces: vec![OrderPiece { piece: info, payload_bytes: u64::MAX }; params.order_pieces_max as usize],
            duration_epochs: u64::MAX,
            price_per_epoch_max: Amount(u64::MAX),
            copies: u32::MAX,
            transfer_url: "x".repeat(512),
            requirements: Requirements {
                attributes: widest_attributes(),
                signed_by_all: vec![Network::address(1); AUDITORS_MAX],
                signed_by_any: vec![Network::address(2); AUDITORS_MAX],
                reputation_min: Fraction::ONE,
                regions: RegionRule::Required,
            },
        });
        let prove_commit = largest_prove_commit(SealProof::NonInteractive, pieces);
        let sizes = [declaration, order, prove_commit].map(bytes_of);
        assert!(sizes.iter().all(|bytes| *bytes <= limit), "{sizes:?}");
        assert!(sizes.iter().any(|bytes| *bytes > limit / 2), "{sizes:?}");

        let usual = bytes_of(largest_prove_commit(SealProof::V1_1, 1));
        let post = bytes_of(Command::SubmitWindowPost {
            provider,
            deadline: 47,
            partition: u32::MAX,
            challenge_epoch: Epoch(u64::MAX),
            proof: vec![0xff; PARTITION_PROOF_BYTES],
            skipped: Vec::new(),
        });
        let room = BLOCK_BYTES_PER_TRANSACTION as usize;
        assert!((usual / 2..usual * 5 / 4).contains(&room) && post < room / 4, "{usual} {post}");
    }

    #[test]
    fn profiles_are_valid_and_round_trip_through_json() {
        for params in [LedgerParams::devnet(), LedgerParams::mainnet()] {
            assert_eq!(params.validate(), Ok(()));
            let text = serde_json::to_string(&params).unwrap();
            assert_eq!(serde_json::from_str::<LedgerParams>(&text).unwrap(), params);
        }
        assert_eq!(LedgerParams::mainnet().proving_period(), 2_880);
    }

    #[test]
    fn parameters_that_do_not_fit_are_named() {
        let broken = |change: fn(&mut LedgerParams)| {
            let mut params = LedgerParams::devnet();
            change(&mut params);
            params.validate().unwrap_err().name
        };
        assert_eq!(broken(|p| p.epochs_per_deadline = 0), "epochs_per_deadline");
        assert_eq!(broken(|p| p.post_challenge_lead = p.proving_period() - 1), "post_challenge_lead");
        assert_eq!(broken(|p| p.beacon_window = 10), "beacon_window");
        assert_eq!(broken(|p| p.block_bytes_max = 1), "block_bytes_max");
        assert_eq!(broken(|p| p.block_weight_max = HEAVIEST - 1), "block_weight_max");
        assert_eq!(broken(|p| p.sector_epochs_max = u64::MAX), "sector_epochs_max");
        assert_eq!(broken(|p| p.deal_epochs_min = p.deal_epochs_max + 1), "deal_epochs_min");
        assert_eq!(broken(|p| p.sectors.termination_periods = 0), "sectors.termination_periods");
        assert_eq!(broken(|p| p.market.reputation_weight_bp = u32::MAX), "market.reputation_weight_bp");
    }
}
