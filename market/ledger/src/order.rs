//! Orders, bids and deals: what a client asks for, what a provider offers, and the lease that comes of it.
//!
//! ```text
//! order:  Open --bid window ends--> Matched (one deal per copy and piece) | Closed (NoBids)
//!           \--client cancels-----> Closed (CancelledByClient)
//! bid:    Sealed --revealed in time--> Open; or Closed (NotRevealed)
//!         Open --> Won --all deals active--> Closed (DealsActive) | --one not in time--> Closed (DealNotActivated)
//!           \----> Closed (Outbid, OrderCancelled, RequirementsNotMet)
//! deal:   Assigned <--> Bound (pre-committed) --> Active --> Closed (Completed, SectorTerminated)
//!              \-----------\--> Closed (NotActivated)
//! ```
//!
//! A bid may be sealed, so that those who bid later cannot undercut it by a unit: a commitment in the bid window, the price
//! in the reveal window after it. An order with a sealed bid is assigned when that ends, any other when bids end. Whoever
//! sees that it is outbid may prefer not to reveal; that costs the deposit, and changes nothing for the others.
//!
//! A deal that its provider drops (not activated in time, or its sector terminated) is ordered again by the ledger itself:
//! a replacement order for the one piece and the rest of the time, at most at the dropped deal's rate, paid by what the
//! escrow still holds. Nobody who holds another copy of the piece, nor who dropped it, may take it, and what the first order
//! asked of bidders holds again. If nobody bids, its
//! deposit returns to the client like any order's, and the client may cancel it like any order.
//!
//! Money: an order locks `price cap x duration x copies`; assignment leaves `bid price x duration` per copy in escrow,
//! divided among its deals, and returns the rest. A deal pays `rate` for each epoch in which its sector is proven.

use cairn_protocol::{Amount, Epoch, PieceInfo, ProviderId, SectorNumber};
use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::close::Closure;
use crate::ids::{Address, ChainId, Commitment, DealId, OrderId, Salt};
use crate::market::Requirements;
use crate::sealed::{self, SealedUse};

/// A piece of an ordered dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderPiece {
    /// Commitment and padded size.
    pub piece: PieceInfo,
    /// Bytes of the client's payload in it, before any padding.
    pub payload_bytes: u64,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderTerms {
    /// Root CID of the dataset.
    pub root: Cid,
    /// Its pieces; each must fit a provider's sector.
    pub pieces: Vec<OrderPiece>,
    /// Length of the deals, from activation.
    pub duration_epochs: u64,
    /// Most that one copy of the whole dataset may cost per epoch.
    pub price_per_epoch_max: Amount,
    /// Copies, each with another owner, and in another region unless the requirements say otherwise.
    pub copies: u32,
    /// Where providers fetch the dataset by its root CID.
    pub transfer_url: String,
    /// What is asked of those who bid.
    #[serde(default, skip_serializing_if = "Requirements::is_usual")]
    pub requirements: Requirements,
}

/// An order on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who pays.
    pub client: Address,
    /// What is asked for.
    pub terms: OrderTerms,
    /// Locked until assignment: price cap x duration x copies.
    pub deposit: Amount,
    /// When it was placed.
    pub placed_at: Epoch,
    /// First epoch that takes no more bids; assignment happens then, unless there are sealed ones.
    pub bids_close_at: Epoch,
    /// Bids so far.
    pub bids: u32,
    /// Bids so far that were sealed when they came.
    pub sealed_bids: u32,
    /// First epoch that takes no more reveals; assignment happens then if there are sealed bids.
    pub reveals_close_at: Epoch,
    /// What it replaces, if the ledger placed it for a dropped deal.
    pub replaces: Option<Replaced>,
    /// For each piece, who holds a copy of it in an open deal of this order, or of one that replaces such a deal. Empty
    /// for a replacement: the first order of a chain keeps this, for as long as somebody holds anything.
    pub holders: Vec<Vec<ProviderId>>,
    /// Replacement orders for its deals that are open.
    pub replacing: u32,
    /// Where it stands.
    pub status: OrderStatus,
}

/// The deal that a replacement order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// The dropped deal.
    pub deal: DealId,
    /// Who dropped it.
    pub dropped_by: ProviderId,
    /// The first order of the chain.
    pub group: OrderId,
    /// Which of its pieces.
    pub piece_index: u32,
    /// How often the copy was ordered again, this time included.
    pub round: u32,
}

impl Order {
    /// Whether deals, or orders for their replacement, still refer to this order.
    pub fn is_needed(&self) -> bool {
        self.replacing > 0 || self.holders.iter().any(|holders| !holders.is_empty())
    }
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Takes bids.
    Open,
    /// Assigned; money is in the deals.
    Matched {
        /// One deal per winning bid and piece, the bid with the best score first.
        deals: Vec<DealId>,
        /// Copies that nobody bid for; their deposit is returned.
        copies_missing: u32,
        /// When.
        epoch: Epoch,
    },
    /// Over without a deal.
    Closed(Closure),
}

/// An offer for one copy of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    /// Price of the copy per epoch, all pieces together; nothing while the bid is sealed.
    pub price_per_epoch: Amount,
    /// Locked until the bid loses or its deals are active.
    pub deposit: Amount,
    /// When it was placed.
    pub placed_at: Epoch,
    /// Where it stands.
    pub status: BidStatus,
}

/// What a sealed bid's commitment binds its owner to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBid {
    /// For which order.
    pub order: OrderId,
    /// Who offers.
    pub provider: ProviderId,
    /// Price of the copy per epoch.
    pub price_per_epoch: Amount,
}

impl SealedBid {
    /// The commitment of `owner` to this bid.
    pub fn commitment(&self, chain: ChainId, owner: Address, salt: &Salt) -> Commitment {
        sealed::commitment(SealedUse::Bid, chain, owner, self, salt)
    }
}

/// Where a bid stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BidStatus {
    /// Its price is not known yet.
    Sealed {
        /// To the price.
        commitment: Commitment,
    },
    /// Waits for the end of the bid window.
    Open,
    /// Won; waits for its deals to become active.
    Won {
        /// Deals not active yet.
        deals_pending: u32,
    },
    /// Over; the deposit is back or burnt, as the reason says.
    Closed(Closure),
}

/// A lease of one piece with one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// The order it came from; with the provider it names the winning bid.
    pub order: OrderId,
    /// The first order of the chain if that was a replacement, otherwise the same.
    pub group: OrderId,
    /// Which piece of that order.
    pub piece_index: u32,
    /// How often the copy was ordered again before.
    pub round: u32,
    /// Who pays.
    pub client: Address,
    /// Who stores.
    pub provider: ProviderId,
    /// What is stored.
    pub piece: OrderPiece,
    /// Paid for each proven epoch.
    pub rate: Amount,
    /// Length, from activation.
    pub duration_epochs: u64,
    /// Still locked for this deal.
    pub escrow: Amount,
    /// Paid to the provider so far.
    pub paid: Amount,
    /// Where it stands.
    pub status: DealStatus,
}

/// Where a deal stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DealStatus {
    /// Waits to be sealed.
    Assigned {
        /// Epoch at which it closes unless it is active.
        activate_by: Epoch,
    },
    /// In a pre-committed sector.
    Bound {
        /// The sector.
        sector: SectorNumber,
        /// Epoch at which it closes unless it is active.
        activate_by: Epoch,
    },
    /// Stored, proven and paid.
    Active {
        /// The sector.
        sector: SectorNumber,
        /// First epoch that is paid.
        start: Epoch,
        /// First epoch that is not.
        end: Epoch,
        /// Epochs before this one are paid, or found faulty.
        settled_until: Epoch,
    },
    /// Over.
    Closed(Closure),
}

impl Deal {
    /// Whether the deal is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.status, DealStatus::Closed(_))
    }

    /// The sector that holds or will hold the deal, while there is one.
    pub fn sector(&self) -> Option<SectorNumber> {
        match self.status {
            DealStatus::Bound { sector, .. } | DealStatus::Active { sector, .. } => Some(sector),
            DealStatus::Assigned { .. } | DealStatus::Closed(_) => None,
        }
    }
}
