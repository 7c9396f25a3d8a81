//! Random life on a small network: some of it sensible, much of it not.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber, SectorSize};
use proptest::prelude::*;

use super::network::{order_terms, piece};
use crate::payments::{ChannelId, Voucher};
use crate::{ChainId, Command, DealId, LedgerParams, OrderId, Salt, SealedBid};

use super::jobs::{JobAction, arb_job_action};

/// One thing that happens. Small numbers name accounts, orders and so on, so that they often meet.
#[derive(Debug, Clone)]
pub enum Action {
    /// A command with arbitrary, but plausible, arguments.
    Command(u8, Command),
    /// Bid on every order that takes bids, openly or sealed. By the provider's owner.
    Bid(ProviderId, Amount, bool),
    /// Reveal every sealed bid of such a bidder. By the provider's owner.
    Reveal(ProviderId, Amount),
    /// Pre-commit a sector of all deals that wait for the provider.
    PreCommit(u8, ProviderId, u64),
    /// Prove a pre-committed sector.
    ProveCommit(u8, ProviderId, u64),
    /// Prove every partition that is open.
    Prove(u8, ProviderId),
    /// Let this many epochs pass.
    Wait(u8),
    /// Something about proof jobs, by this account.
    Job(u8, JobAction),
}

/// The account that owns a provider of a network's start: these are numbered like their owners, from account 2.
pub fn owner_account(provider: ProviderId) -> u8 {
    (provider.0 - 998) as u8
}

/// The chain of every [`super::Network`].
const CHAIN: ChainId = super::network::CHAIN;
/// The salt of every sealed bid in a random life.
pub const SALT: Salt = Salt([5; 32]);

fn arb_account() -> impl Strategy<Value = u8> {
    1u8..5
}

fn arb_provider() -> impl Strategy<Value = ProviderId> {
    (1_000u64..1_004).prop_map(ProviderId)
}

/// A provider and who acts for it: its owner most of the time.
fn arb_actor() -> impl Strategy<Value = (u8, ProviderId)> {
    prop_oneof![
        4 => arb_provider().prop_map(|provider| (owner_account(provider), provider)),
        1 => (arb_account(), arb_provider()),
    ]
}

fn arb_sector() -> impl Strategy<Value = SectorNumber> {
    (0u64..4).prop_map(SectorNumber)
}

fn arb_amount() -> impl Strategy<Value = Amount> {
    prop_oneof![Just(0), 1u64..100, 1_000_000u64..50_000_000, Just(u64::MAX)].prop_map(Amount)
}

/// An order of a few pieces.
fn arb_order(params: LedgerParams) -> impl Strategy<Value = Command> {
    let sizes = prop::collection::vec((0u8..3, 7u32..24), 1..4);
    (sizes, 0u64..2_000, 1u32..4, 0u64..200).prop_map(move |(sizes, price, copies, longer)| {
        let pieces = sizes.into_iter().map(|(tag, log)| piece(tag, 1 << log)).collect();
        let mut terms = order_terms(&params, pieces, price);
        terms.copies = copies;
        terms.duration_epochs += longer;
        Command::PlaceOrder(terms)
    })
}

/// A command with arbitrary arguments.
pub fn arb_command(params: &LedgerParams) -> impl Strategy<Value = Command> + use<> {
    let provider = arb_provider;
    prop_oneof![
        (arb_account(), arb_amount())
            .prop_map(|(to, amount)| Command::Transfer { to: super::Network::address(to), amount }),
        (arb_amount(), any::<bool>()).prop_map(|(collateral, big)| Command::RegisterProvider {
            sector_size: if big { SectorSize::MIB8 } else { SectorSize::KIB2 },
            collateral,
            endpoint: "http://provider.test/".to_owned(),
        }),
        (provider(), arb_amount()).prop_map(|(provider, amount)| Command::AddCollateral { provider, amount }),
        (provider(), arb_amount()).prop_map(|(provider, amount)| Command::WithdrawCollateral { provider, amount }),
        arb_order(params.clone()),
        (1u64..6).prop_map(|order| Command::CancelOrder { order: OrderId(order) }),
        (provider(), 1u64..6, 0u64..2_000).prop_map(|(provider, order, price)| Command::PlaceBid {
            provider,
            order: OrderId(order),
            price_per_epoch: Amount(price),
        }),
        (provider(), 1u64..6, 0u64..3).prop_map(|(provider, order, price)| {
            let bid = SealedBid { order: OrderId(order), provider, price_per_epoch: Amount(price) };
            let owner = super::Network::address(owner_account(provider));
            let commitment = bid.commitment(CHAIN, owner, &SALT);
            Command::CommitBid { provider, order: bid.order, commitment }
        }),
        (provider(), 1u64..6, 0u64..3).prop_map(|(provider, order, price)| Command::RevealBid {
            provider,
            order: OrderId(order),
            price_per_epoch: Amount(price),
            salt: SALT,
        }),
        (provider(), arb_sector()).prop_map(|(provider, sector)| Command::ProveCommit {
            provider,
            sector,
            pieces: Vec::new(),
            proof: Vec::new(),
        }),
        (provider(), 0u32..50, 0u32..2, 0u64..500).prop_map(|(provider, deadline, partition, epoch)| {
            let challenge_epoch = Epoch(epoch);
            Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof: vec![0] }
        }),
        (provider(), arb_sector()).prop_map(|(provider, n)| Command::DeclareFaults { provider, sectors: vec![n] }),
        (provider(), arb_sector()).prop_map(|(provider, n)| Command::DeclareRecovery { provider, sectors: vec![n] }),
        (1u64..12).prop_map(|deal| Command::Settle { deal: DealId(deal) }),
        (arb_account(), arb_amount())
            .prop_map(|(payee, deposit)| { Command::OpenChannel { payee: super::Network::address(payee), deposit } }),
        (1u64..4, arb_amount()).prop_map(|(n, amount)| Command::TopUpChannel { channel: ChannelId(n), amount }),
        (arb_account(), 1u64..4, arb_amount()).prop_map(|(payer, n, cumulative)| {
            let voucher = Voucher { channel: ChannelId(n), cumulative };
            Command::RedeemVoucher(voucher.sign(CHAIN, &super::Network::key(payer)))
        }),
        (1u64..4).prop_map(|n| Command::StartCloseChannel { channel: ChannelId(n) }),
        (1u64..4).prop_map(|n| Command::CloseChannel { channel: ChannelId(n) }),
        arb_amount().prop_map(|amount| Command::Bond { amount }),
        arb_amount().prop_map(|amount| Command::Unbond { amount }),
    ]
}

/// One step of a random life.
pub fn arb_action(params: &LedgerParams) -> impl Strategy<Value = Action> + use<> {
    prop_oneof![
        4 => (arb_account(), arb_command(params)).prop_map(|(n, command)| Action::Command(n, command)),
        2 => arb_order(params.clone()).prop_map(|order| Action::Command(1, order)),
        4 => (arb_provider(), 1u64..3, any::<bool>()).prop_map(|(p, price, s)| Action::Bid(p, Amount(price), s)),
        2 => (arb_provider(), 1u64..3).prop_map(|(p, price)| Action::Reveal(p, Amount(price))),
        2 => (arb_actor(), 0u64..4).prop_map(|((n, p), s)| Action::PreCommit(n, p, s)),
        3 => (arb_actor(), 0u64..4).prop_map(|((n, p), s)| Action::ProveCommit(n, p, s)),
        3 => arb_actor().prop_map(|(n, p)| Action::Prove(n, p)),
        2 => (1u8..40).prop_map(Action::Wait),
        5 => (arb_account(), arb_job_action()).prop_map(|(n, action)| Action::Job(n, action)),
    ]
}
