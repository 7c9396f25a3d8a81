//! What happened: one entry per fact, in the order in which it happened.

use cairn_protocol::{Amount, CommP, Epoch, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::close::Closure;
use crate::economy::{RailEvent, RewardEvent, ScoreEvent};
use crate::ids::{Address, Commitment, DealId, OrderId};
use crate::jobs::JobEvent;
use crate::market::MarketEvent;
use crate::payments::ChannelId;
use crate::sector_rules::SectorEvent;

/// A fact about one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are; amounts in micro-units")]
pub enum Event {
    /// Free money moved.
    Transferred { from: Address, to: Address, amount: Amount },
    /// A provider exists.
    ProviderRegistered { provider: ProviderId, owner: Address },
    /// Collateral is now `collateral`.
    CollateralChanged { provider: ProviderId, collateral: Amount },
    /// An order takes bids until `bids_close_at`.
    OrderPlaced { order: OrderId, client: Address, deposit: Amount, bids_close_at: Epoch },
    /// A bid was taken.
    BidPlaced { order: OrderId, provider: ProviderId, price_per_epoch: Amount },
    /// A bid was taken whose price is not known yet.
    BidSealed { order: OrderId, provider: ProviderId, commitment: Commitment, reveal_until: Epoch },
    /// A sealed bid's price.
    BidRevealed { order: OrderId, provider: ProviderId, price_per_epoch: Amount },
    /// A bid won one copy.
    BidWon { order: OrderId, provider: ProviderId, price_per_epoch: Amount },
    /// A bid is over; its deposit was returned, or burnt if `burnt`.
    BidClosed { order: OrderId, provider: ProviderId, burnt: Amount, closure: Closure },
    /// An order became deals.
    OrderMatched { order: OrderId, deals: Vec<DealId>, copies_missing: u32, refunded: Amount },
    /// An order is over without a deal.
    OrderClosed { order: OrderId, refunded: Amount, closure: Closure },
    /// A deal waits to be sealed until `activate_by`.
    DealAssigned { deal: DealId, order: OrderId, provider: ProviderId, escrow: Amount, activate_by: Epoch },
    /// A sector is announced; its seed comes from the beacon of `seed_epoch`.
    SectorPreCommitted { provider: ProviderId, sector: SectorNumber, seed_epoch: Epoch, expires_at: Epoch },
    /// A sector is proven; its first challenge is at `first_challenge`.
    SectorActivated {
        provider: ProviderId,
        sector: SectorNumber,
        deadline: u32,
        partition: u32,
        first_challenge: Epoch,
    },
    /// A deal is stored and paid, in `start..end`.
    DealActivated { deal: DealId, provider: ProviderId, sector: SectorNumber, start: Epoch, end: Epoch },
    /// A partition answered its challenge.
    WindowPostAccepted {
        provider: ProviderId,
        deadline: u32,
        partition: u32,
        challenge_epoch: Epoch,
        sectors: Vec<SectorNumber>,
    },
    /// A sector is faulty: a deadline was missed (`missed` in a row), or the owner declared it (`missed` is 0).
    SectorFaulted { provider: ProviderId, sector: SectorNumber, missed: u32, fee: Amount },
    /// The owner says that a sector is repaired.
    RecoveryDeclared { provider: ProviderId, sector: SectorNumber },
    /// A repaired sector was proven.
    SectorRecovered { provider: ProviderId, sector: SectorNumber },
    /// A sector is over; `burnt` of its deposit was burnt, the rest returned.
    SectorClosed { provider: ProviderId, sector: SectorNumber, burnt: Amount, closure: Closure },
    /// A deal was paid for `proven_epochs` of `from..until`; a part of `paid` is burnt, as of every settled payment.
    DealSettled { deal: DealId, from: Epoch, until: Epoch, proven_epochs: u64, paid: Amount },
    /// A validator votes with `stake` from the next block on.
    StakeChanged { validator: Address, stake: Amount },
    /// Stake that was taken back is free money again.
    StakeReleased { validator: Address, amount: Amount },
    /// A deal is over; `refunded` went back to the client.
    DealClosed { deal: DealId, refunded: Amount, closure: Closure },
    /// A dropped deal is ordered again.
    DealReplaced { deal: DealId, order: OrderId },
    /// A payment channel exists.
    ChannelOpened { channel: ChannelId, payer: Address, payee: Address, deposit: Amount },
    /// A payment channel holds more.
    ChannelToppedUp { channel: ChannelId, amount: Amount },
    /// A channel pays for a provider's service.
    ChannelBound { channel: ChannelId, provider: ProviderId },
    /// A voucher for `cumulative` paid what earlier ones had not; of a bound channel, `settlement_burn_bp` of it is burnt.
    VoucherRedeemed { channel: ChannelId, paid: Amount, cumulative: Amount },
    /// A payment channel closes at `until`.
    ChannelClosing { channel: ChannelId, until: Epoch },
    /// A payment channel is over; `returned` went back to the payer.
    ChannelClosed { channel: ChannelId, returned: Amount, closure: Closure },
    /// A validator contradicted itself when block `height` was decided: `burnt` of its stake is gone, the rest leaves.
    Slashed { validator: Address, height: Epoch, burnt: Amount },
    /// About attributes.
    Market(MarketEvent),
    /// About a proven sector.
    Sector(SectorEvent),
    /// About rails.
    Rail(RailEvent),
    /// About new money.
    Reward(RewardEvent),
    /// About checkers and scores.
    Score(ScoreEvent),
    /// Something about a proof job.
    Job(JobEvent),
    /// A provider signed for wrong bytes of a group of a piece: `burnt` and `rewarded` of its collateral are gone, the latter
    /// to the reporter, and so is its reputation.
    WrongBytesServed {
        provider: ProviderId,
        reporter: Address,
        piece: CommP,
        group: u64,
        burnt: Amount,
        rewarded: Amount,
    },
}
