//! Random life on a small network: some of it sensible, much of it not.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber, SectorSize};
use proptest::prelude::*;

use super::chores::SALT;
use super::network::{order_terms, piece};
use crate::payments::{ChannelId, RailId, Voucher};
use crate::scores::Fraction;
use crate::{
    Attributes, ChainId, CheckCommand, Command, DealId, LedgerParams, ManifestPiece, MarketCommand, OrderId,
    RailCommand, RailTarget, RegionRule, Requirements, SealedBid, SectorCommand, SectorUpdate,
};

use super::jobs::{JobAction, arb_job_action};

/// One thing that happens. Small numbers name accounts, orders and so on, so that they often meet.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a few of them, in tests")]
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
    /// The same, without this sector.
    ProveWithout(ProviderId, u64),
    /// Do everything that a diligent owner would, for this many epochs, bidding this; the others do nothing.
    Work(ProviderId, u8, u64),
    /// All providers do, for this many epochs.
    WorkAll(u8),
    /// The client takes back its newest order.
    CancelNewest,
    /// End a sector that holds deals.
    DropDeals(ProviderId),
    /// Pay into the rails, and open one to the owner of a provider, bound to its first live sector if it has one.
    Stream(u8, ProviderId, Amount),
    /// Commit to opinions, or reveal them, whatever the phase asks for.
    Vote(u8),
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

/// What a provider may say about itself, or an order may ask for.
fn arb_attributes() -> impl Strategy<Value = Attributes> {
    let region = prop_oneof![2 => Just(None), 3 => Just(Some("eu")), 2 => Just(Some("us"))];
    (region, any::<bool>()).prop_map(|(region, fast)| {
        let disk = fast.then_some(("disk", "nvme"));
        Attributes::new(region.map(|region| ("region", region)).into_iter().chain(disk))
    })
}

/// Nothing most of the time, otherwise a bit of everything.
fn arb_requirements() -> impl Strategy<Value = Requirements> {
    let rule = prop_oneof![Just(RegionRule::Declared), Just(RegionRule::Required), Just(RegionRule::Any)];
    let asked = (arb_attributes(), prop::option::of(arb_account()), rule, 0u64..3).prop_map(
        |(attributes, auditor, regions, tenths)| Requirements {
            attributes,
            signed_by_any: auditor.map(super::Network::address).into_iter().collect(),
            reputation_min: Fraction::of(tenths, 4),
            regions,
            ..Default::default()
        },
    );
    prop_oneof![4 => Just(Requirements::default()), 1 => asked]
}

/// Something about a proven sector.
fn arb_sector_command() -> impl Strategy<Value = SectorCommand> {
    let some = || (arb_provider(), arb_sector().prop_map(|sector| vec![sector]));
    prop_oneof![
        1 => some().prop_map(|(provider, sectors)| SectorCommand::Terminate { provider, sectors }),
        2 => (some(), 100u64..2_000).prop_map(|((provider, sectors), expiration)| {
            SectorCommand::Extend { provider, sectors, expiration: Epoch(expiration) }
        }),
        1 => (arb_provider(), arb_sector(), 1u64..12).prop_map(|(provider, sector, deal)| {
            let pieces = vec![ManifestPiece { piece: piece(1, 1 << 20).piece, deal: Some(DealId(deal)) }];
            let (comm_r, proof) = (cairn_protocol::CommR([7; 32]), vec![0]);
            SectorCommand::Update(SectorUpdate { provider, sector, comm_r, pieces, proof })
        }),
    ]
}

/// An order of a few pieces.
fn arb_order(params: LedgerParams) -> impl Strategy<Value = Command> {
    let sizes = prop::collection::vec((0u8..3, 7u32..24), 1..4);
    (sizes, 0u64..2_000, 1u32..4, 0u64..200, arb_requirements()).prop_map(
        move |(sizes, price, copies, longer, asked)| {
            let pieces = sizes.into_iter().map(|(tag, log)| piece(tag, 1 << log)).collect();
            let mut terms = order_terms(&params, pieces, price);
            terms.copies = copies;
            terms.duration_epochs += longer;
            terms.requirements = asked;
            Command::PlaceOrder(terms)
        },
    )
}

/// A command about rails.
fn arb_rail_command() -> impl Strategy<Value = RailCommand> {
    let rail = || (0u64..4).prop_map(RailId);
    let small = || prop_oneof![3 => 0u64..2_000, 1 => any::<u64>()].prop_map(Amount);
    let target = prop_oneof![
        Just(RailTarget::Nothing),
        (arb_provider(), arb_sector()).prop_map(|(provider, sector)| RailTarget::Sector { provider, sector }),
        (1u64..12).prop_map(|deal| RailTarget::Deal(DealId(deal))),
    ];
    prop_oneof![
        (arb_account(), arb_amount())
            .prop_map(|(n, amount)| RailCommand::Deposit { account: super::Network::address(n), amount }),
        arb_amount().prop_map(|amount| RailCommand::Withdraw { amount }),
        (arb_account(), small(), 0u64..60, small(), target).prop_map(
            |(payee, rate, lockup_period, lockup_fixed, target)| {
                let payee = super::Network::address(payee);
                RailCommand::Open { payee, rate, lockup_period, lockup_fixed, target }
            }
        ),
        (rail(), small()).prop_map(|(rail, rate)| RailCommand::ChangeRate { rail, rate }),
        (rail(), small()).prop_map(|(rail, amount)| RailCommand::PayOnce { rail, amount }),
        rail().prop_map(|rail| RailCommand::Terminate { rail }),
        rail().prop_map(|rail| RailCommand::Settle { rail }),
    ]
}

/// A lie about a group, or the truth, of any moment.
fn arb_wrong_bytes() -> impl Strategy<Value = Command> {
    (arb_provider(), 0u64..4, 0u64..150, any::<bool>()).prop_map(|(provider, group, epoch, lies)| {
        let (tree, epoch) = (super::PieceTree::new(1, 2), Epoch(epoch));
        let statement = match lies {
            true => tree.served_wrong(provider, group, epoch),
            false => tree.served(provider, group, epoch),
        };
        let signed = statement.sign(CHAIN, &super::Network::key(owner_account(provider)));
        Command::ReportWrongBytes(Box::new(tree.evidence(signed)))
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
            let skipped = Vec::new();
            Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof: vec![0], skipped }
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
        (provider(), arb_attributes(), any::<bool>()).prop_map(|(provider, attributes, own)| {
            Command::Market(match own {
                true => MarketCommand::SetAttributes { provider, attributes },
                false => MarketCommand::SignAttributes { provider, attributes },
            })
        }),
        arb_sector_command().prop_map(Command::Sector),
        arb_rail_command().prop_map(Command::Rail),
        arb_rail_command().prop_map(Command::Rail),
        arb_rail_command().prop_map(Command::Rail),
        arb_amount().prop_map(|amount| Command::Check(CheckCommand::Stake { amount })),
        arb_amount().prop_map(|amount| Command::Check(CheckCommand::Unstake { amount })),
        prop::option::of(provider()).prop_map(|provider| Command::ClaimRewards { provider }),
        arb_wrong_bytes(),
    ]
}

/// The command, about a sector of this provider.
fn of(owner: ProviderId, mut command: SectorCommand) -> SectorCommand {
    match &mut command {
        SectorCommand::Terminate { provider, .. }
        | SectorCommand::Extend { provider, .. }
        | SectorCommand::Update(SectorUpdate { provider, .. }) => *provider = owner,
    }
    command
}

/// One step of a random life.
pub fn arb_action(params: &LedgerParams) -> impl Strategy<Value = Action> + use<> {
    prop_oneof![
        8 => (arb_account(), arb_command(params)).prop_map(|(n, command)| Action::Command(n, command)),
        4 => arb_order(params.clone()).prop_map(|order| Action::Command(1, order)),
        1 => Just(Action::CancelNewest),
        1 => arb_provider().prop_map(Action::DropDeals),
        6 => (arb_provider(), 1u64..3, any::<bool>()).prop_map(|(p, price, s)| Action::Bid(p, Amount(price), s)),
        6 => (arb_provider(), 1u64..3).prop_map(|(p, price)| Action::Reveal(p, Amount(price))),
        2 => (arb_actor(), 0u64..4).prop_map(|((n, p), s)| Action::PreCommit(n, p, s)),
        3 => (arb_actor(), 0u64..4).prop_map(|((n, p), s)| Action::ProveCommit(n, p, s)),
        3 => arb_actor().prop_map(|(n, p)| Action::Prove(n, p)),
        3 => (arb_provider(), 0u64..4).prop_map(|(p, s)| Action::ProveWithout(p, s)),
        2 => (arb_provider(), arb_attributes()).prop_map(|(provider, attributes)| {
            let command = MarketCommand::SetAttributes { provider, attributes };
            Action::Command(owner_account(provider), Command::Market(command))
        }),
        2 => (arb_provider(), arb_sector_command()).prop_map(|(p, c)| Action::Command(owner_account(p), Command::Sector(of(p, c)))),
        4 => (arb_provider(), 1u8..30, 1u64..5).prop_map(|(p, epochs, price)| Action::Work(p, epochs, price)),
        9 => (1u8..50).prop_map(Action::WorkAll),
        2 => (arb_account(), arb_provider(), 1u64..20_000).prop_map(|(n, p, rate)| Action::Stream(n, p, Amount(rate))),
        4 => arb_account().prop_map(Action::Vote),
        2 => (1u8..40).prop_map(Action::Wait),
        5 => (arb_account(), arb_job_action()).prop_map(|(n, action)| Action::Job(n, action)),
    ]
}
