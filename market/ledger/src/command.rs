//! What a transaction may ask for. Each command names its rule; the rejections are in [`crate::rejection`].

use cairn_protocol::{Amount, CommD, CommR, Epoch, PieceInfo, ProviderId, SealProof, SectorNumber, SectorSize};
use serde::{Deserialize, Serialize};

use crate::economy::{CheckCommand, RailCommand};
use crate::ids::{Address, Commitment, DealId, OrderId, Salt};
use crate::jobs::JobCommand;
use crate::market::MarketCommand;
use crate::order::OrderTerms;
use crate::payments::{ChannelId, SignedVoucher};
use crate::sector_rules::SectorCommand;
use crate::served::WrongBytes;

/// A request to the ledger, in the name of the transaction's sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Command {
    /// Moves free money.
    Transfer {
        /// Receiver.
        to: Address,
        /// How much; more than nothing.
        amount: Amount,
    },
    /// Makes the sender the owner of a new provider. Its number is in [`crate::Event::ProviderRegistered`].
    RegisterProvider {
        /// Size of all its sectors.
        sector_size: SectorSize,
        /// Locked; at least `collateral_min`.
        collateral: Amount,
        /// Retrieval URL.
        endpoint: String,
    },
    /// Locks more collateral. By anyone, for any provider.
    AddCollateral {
        /// For whom.
        provider: ProviderId,
        /// How much.
        amount: Amount,
    },
    /// Frees collateral above the minimum; all of it once nothing is open. By the owner.
    WithdrawCollateral {
        /// From whom.
        provider: ProviderId,
        /// How much.
        amount: Amount,
    },
    /// Asks for storage. The order's number is in [`crate::Event::OrderPlaced`].
    PlaceOrder(OrderTerms),
    /// Takes an open order back. By its client.
    CancelOrder {
        /// Which.
        order: OrderId,
    },
    /// Offers one copy of an open order. By the provider's owner; once per order.
    PlaceBid {
        /// Who offers.
        provider: ProviderId,
        /// For which order.
        order: OrderId,
        /// Price of the whole copy per epoch; at most the order's cap.
        price_per_epoch: Amount,
    },
    /// Offers one copy of an open order at a price that nobody sees yet. By the provider's owner; once per order, sealed
    /// or not. Not to reveal it costs the bid's deposit.
    CommitBid {
        /// Who offers.
        provider: ProviderId,
        /// For which order.
        order: OrderId,
        /// [`crate::order::SealedBid::commitment`] of the price.
        commitment: Commitment,
    },
    /// Shows the price of a sealed bid, from the end of the bid window to the end of the reveal window. By the
    /// provider's owner.
    RevealBid {
        /// Who offers.
        provider: ProviderId,
        /// For which order.
        order: OrderId,
        /// Price of the whole copy per epoch; at most the order's cap.
        price_per_epoch: Amount,
        /// The salt of the commitment.
        salt: Salt,
    },
    /// Announces a sealed sector, before the seed is known. By the owner.
    PreCommit(PreCommit),
    /// Proves a pre-committed sector after its seed; deals in it start. By the owner.
    ProveCommit {
        /// Whose sector.
        provider: ProviderId,
        /// Which sector.
        sector: SectorNumber,
        /// Its pieces in order; CommD is recomputed from them.
        pieces: Vec<ManifestPiece>,
        /// The proof, in the verifier's encoding.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
    },
    /// Proves one partition at the open instance of its deadline. By the owner.
    SubmitWindowPost {
        /// Whose sectors.
        provider: ProviderId,
        /// The deadline, below 48.
        deadline: u32,
        /// The partition in it.
        partition: u32,
        /// Names the instance: the epoch whose beacon was the challenge.
        challenge_epoch: Epoch,
        /// The proof, in the verifier's encoding.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
        /// Sectors of the partition that the proof leaves out, ascending: they become faulty now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<SectorNumber>,
    },
    /// Takes sectors out of the next proofs; they earn nothing and cost a fee for each deadline after the
    /// first. By the owner.
    DeclareFaults {
        /// Whose sectors.
        provider: ProviderId,
        /// Active sectors, ascending.
        sectors: Vec<SectorNumber>,
    },
    /// Puts faulty sectors into the next proofs. By the owner.
    DeclareRecovery {
        /// Whose sectors.
        provider: ProviderId,
        /// Faulty sectors, ascending.
        sectors: Vec<SectorNumber>,
    },
    /// Pays an active deal up to the last accounted epoch. By anyone.
    Settle {
        /// Which.
        deal: DealId,
    },
    /// Opens a payment channel from the sender. Its number is in [`crate::Event::ChannelOpened`].
    OpenChannel {
        /// Who is paid.
        payee: Address,
        /// Locked; at least `channel_deposit_min`.
        deposit: Amount,
    },
    /// Adds to an open channel. By anyone; what is left at the end goes to the payer.
    TopUpChannel {
        /// Which.
        channel: ChannelId,
        /// How much; more than nothing.
        amount: Amount,
    },
    /// Pays the payee what a voucher promises beyond earlier ones. By anyone who has it.
    RedeemVoucher(SignedVoucher),
    /// Says that a channel pays for the service of one of the payee's providers: from now on what its vouchers pay burns
    /// `settlement_burn_bp` and counts as the provider's paid volume, like any other settled payment. By the payee, once.
    BindChannel {
        /// Which.
        channel: ChannelId,
        /// Whose service.
        provider: ProviderId,
    },
    /// Closes a channel after `channel_settle_delay`; that happens by itself. By the payer.
    StartCloseChannel {
        /// Which.
        channel: ChannelId,
    },
    /// Closes a channel: by the payee at once, by anyone after the delay.
    CloseChannel {
        /// Which.
        channel: ChannelId,
    },
    /// Stakes free money of the sender, who votes with it from the next block on.
    Bond {
        /// How much; the whole stake must be one vote or more.
        amount: Amount,
    },
    /// Takes stake back: it stops voting with the next block and is free after `unbonding_epochs`.
    Unbond {
        /// How much; the rest must be nothing, or one vote or more.
        amount: Amount,
    },
    /// What providers say about themselves, and who vouches for it.
    Market(MarketCommand),
    /// Ends, prolongs or fills a proven sector.
    Sector(SectorCommand),
    /// About streams of money.
    Rail(RailCommand),
    /// About checking providers.
    Check(CheckCommand),
    /// Sets free what has vested for the sender, and pays what a provider of the sender has earned in closed rounds. The
    /// latter happens by itself when the provider proves.
    ClaimRewards {
        /// Which provider, if any.
        provider: Option<ProviderId>,
    },
    /// About proof jobs.
    Job(JobCommand),
    /// Shows that a provider signed for wrong bytes, which costs it collateral; see [`crate::served`]. By anyone.
    ReportWrongBytes(Box<WrongBytes>),
}

/// A sealed sector before its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreCommit {
    /// Whose sector.
    pub provider: ProviderId,
    /// A number not on the ledger yet.
    pub sector: SectorNumber,
    /// How it was sealed.
    pub seal_proof: SealProof,
    /// Commitment to the replica.
    pub comm_r: CommR,
    /// Commitment to the data.
    pub comm_d: CommD,
    /// Epoch of the ticket it was sealed with; past, and at most `ticket_age_max` old.
    pub ticket_epoch: Epoch,
    /// When its life shall end; see `LedgerParams::sector_epochs_min`.
    pub expiration: Epoch,
    /// Deals that are in it: assigned to this provider, in no other sector.
    pub deals: Vec<DealId>,
}

/// One piece of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPiece {
    /// Commitment and padded size.
    pub piece: PieceInfo,
    /// The deal it is stored for, if any.
    pub deal: Option<DealId>,
}

/// Most sectors in one declaration of faults or recoveries.
pub const DECLARED_SECTORS_MAX: usize = 4_096;
