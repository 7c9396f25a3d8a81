//! Providers, orders, bids and deals.

use cairn_ledger::scores::Fraction;
use cairn_ledger::{
    Address, Attributes, BidStatus, Commitment, DealId, DealStatus, OrderId, OrderPiece, OrderStatus, Requirements,
    State,
};
use cairn_protocol::{Amount, CommP, Epoch, PaddedBytes, PieceInfo, ProviderId, SectorNumber, SectorSize};
use cid::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Closure, Hex32};

/// Someone who stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ProviderId,
    /// Signs for it and is paid.
    #[schema(value_type = Hex32)]
    pub owner: Address,
    /// Size of all its sectors, in bytes.
    #[schema(value_type = u64)]
    pub sector_size: SectorSize,
    /// Locked; pays fault fees.
    #[schema(value_type = u64)]
    pub collateral: Amount,
    /// Where it serves retrievals.
    pub endpoint: String,
    /// Bids, deals and sectors that are not closed.
    pub obligations: u64,
    /// What it says about itself; nobody checks that.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub attributes: Attributes,
    /// How good checkers found its service, in units of 2^-32; one half until it is scored.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub reputation: Fraction,
    /// The last round that it was scored in, if it ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scored_round: Option<u64>,
}

impl Provider {
    pub(crate) fn of(state: &State, id: ProviderId, provider: &cairn_ledger::Provider) -> Self {
        Self {
            id,
            owner: provider.owner,
            sector_size: provider.sector_size,
            collateral: provider.collateral,
            endpoint: provider.endpoint.clone(),
            obligations: provider.obligations,
            attributes: state.attributes_of(id),
            reputation: state.reputation_of(id),
            scored_round: state.score_of(id).map(|score| score.round),
        }
    }
}

/// What an auditor vouches for about a provider. It counts as far as the provider says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attestation {
    /// Who.
    #[schema(value_type = Hex32)]
    pub auditor: Address,
    /// What is true of the provider.
    #[schema(value_type = BTreeMap<String, String>)]
    pub attributes: Attributes,
    /// Since when.
    #[schema(value_type = u64)]
    pub since: Epoch,
}

/// A group of a piece that a provider signed for, wrong, and paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongGroup {
    /// CommP of the piece.
    #[schema(value_type = Hex32)]
    pub piece: CommP,
    /// Which group of it: 1,040,384 bytes, from that many times its number on.
    pub group: u64,
    /// When it was brought.
    #[schema(value_type = u64)]
    pub at: Epoch,
    /// By whom.
    #[schema(value_type = Hex32)]
    pub reporter: Address,
    /// What it cost, the reporter's part included.
    #[schema(value_type = u64)]
    pub taken: Amount,
}

/// A piece of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// CommP.
    #[schema(value_type = Hex32)]
    pub comm_p: CommP,
    /// Padded size, in bytes.
    #[schema(value_type = u64)]
    pub padded_bytes: PaddedBytes,
    /// The client's bytes in it.
    pub payload_bytes: u64,
}

impl Piece {
    /// A piece as it travels.
    pub fn of(piece: &OrderPiece) -> Self {
        Self { comm_p: piece.piece.comm_p, padded_bytes: piece.piece.size, payload_bytes: piece.payload_bytes }
    }

    /// The same as the ledger writes it.
    pub fn to_order_piece(self) -> OrderPiece {
        OrderPiece {
            piece: PieceInfo { comm_p: self.comm_p, size: self.padded_bytes },
            payload_bytes: self.payload_bytes,
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderTerms {
    /// Root CID of the dataset.
    #[serde(with = "cid_text")]
    #[schema(value_type = String)]
    pub root: Cid,
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// Length of the deals, in epochs from activation.
    pub duration_epochs: u64,
    /// Most that one copy may cost per epoch.
    #[schema(value_type = u64)]
    pub price_per_epoch_max: Amount,
    /// Copies, each with another owner.
    pub copies: u32,
    /// Where providers fetch the dataset.
    pub transfer_url: String,
    /// What is asked of those who bid, under the names that the ledger uses; nothing unless it is said.
    #[serde(default, skip_serializing_if = "Requirements::is_usual")]
    #[schema(value_type = Object)]
    pub requirements: Requirements,
}

impl OrderTerms {
    /// Terms as they travel.
    pub fn of(terms: &cairn_ledger::OrderTerms) -> Self {
        Self {
            root: terms.root,
            pieces: terms.pieces.iter().map(Piece::of).collect(),
            duration_epochs: terms.duration_epochs,
            price_per_epoch_max: terms.price_per_epoch_max,
            copies: terms.copies,
            transfer_url: terms.transfer_url.clone(),
            requirements: terms.requirements.clone(),
        }
    }

    /// The same as the ledger writes them.
    pub fn to_terms(&self) -> cairn_ledger::OrderTerms {
        cairn_ledger::OrderTerms {
            root: self.root,
            pieces: self.pieces.iter().map(|piece| piece.to_order_piece()).collect(),
            duration_epochs: self.duration_epochs,
            price_per_epoch_max: self.price_per_epoch_max,
            copies: self.copies,
            transfer_url: self.transfer_url.clone(),
            requirements: self.requirements.clone(),
        }
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Takes bids or reveals.
    Open,
    /// Became deals.
    Matched,
    /// Over without a deal.
    Closed,
}

impl OrderState {
    pub(crate) fn of(status: &OrderStatus) -> Self {
        match status {
            OrderStatus::Open => Self::Open,
            OrderStatus::Matched { .. } => Self::Matched,
            OrderStatus::Closed(_) => Self::Closed,
        }
    }
}

/// The deal that a replacement order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replaces {
    /// The dropped deal.
    #[schema(value_type = u64)]
    pub deal: DealId,
    /// Who dropped it.
    #[schema(value_type = u64)]
    pub dropped_by: ProviderId,
    /// The first order of the chain.
    #[schema(value_type = u64)]
    pub group: OrderId,
    /// How often the copy was ordered again.
    pub round: u32,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: OrderId,
    /// Who pays.
    #[schema(value_type = Hex32)]
    pub client: Address,
    /// What is asked for.
    pub terms: OrderTerms,
    /// Locked until assignment.
    #[schema(value_type = u64)]
    pub deposit: Amount,
    /// When it was placed.
    #[schema(value_type = u64)]
    pub placed_at: Epoch,
    /// First epoch that takes no more bids; assignment, unless some are sealed.
    #[schema(value_type = u64)]
    pub bids_close_at: Epoch,
    /// Assignment if some are sealed.
    #[schema(value_type = u64)]
    pub reveals_close_at: Epoch,
    /// Bids so far.
    pub bids: u32,
    /// Of them, those that were sealed when they came.
    pub sealed_bids: u32,
    /// What it replaces, if the ledger placed it for a dropped deal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// Where it stands.
    pub state: OrderState,
    /// The deals that it became.
    #[schema(value_type = Vec<u64>)]
    pub deals: Vec<DealId>,
    /// Copies that nobody bid for, once it is matched.
    pub copies_missing: u32,
    /// Why it is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Order {
    pub(crate) fn of(id: OrderId, order: &cairn_ledger::Order) -> Self {
        let (deals, copies_missing, closure) = match &order.status {
            OrderStatus::Open => (vec![], 0, None),
            OrderStatus::Matched { deals, copies_missing, .. } => (deals.clone(), *copies_missing, None),
            OrderStatus::Closed(closure) => (vec![], 0, Some(Closure::of(closure))),
        };
        let replaces = order.replaces.map(|replaced| Replaces {
            deal: replaced.deal,
            dropped_by: replaced.dropped_by,
            group: replaced.group,
            round: replaced.round,
        });
        Self {
            id,
            client: order.client,
            terms: OrderTerms::of(&order.terms),
            deposit: order.deposit,
            placed_at: order.placed_at,
            bids_close_at: order.bids_close_at,
            reveals_close_at: order.reveals_close_at,
            bids: order.bids,
            sealed_bids: order.sealed_bids,
            replaces,
            state: OrderState::of(&order.status),
            deals,
            copies_missing,
            closure,
        }
    }
}

/// Terms to be quoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// Who would pay.
    #[schema(value_type = Hex32)]
    pub client: Address,
    /// What would be asked for.
    pub terms: OrderTerms,
}

/// What an order takes if it enters the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// Locked at once; what the winning bids do not need returns at assignment.
    #[schema(value_type = u64)]
    pub deposit: Amount,
    /// Burnt at once.
    #[schema(value_type = u64)]
    pub fee: Amount,
    /// Both together.
    #[schema(value_type = u64)]
    pub total: Amount,
    /// The client's free money now.
    #[schema(value_type = u64)]
    pub available: Amount,
    /// What it lacks; 0 if the order can be placed.
    #[schema(value_type = u64)]
    pub missing: Amount,
    /// When bids end; assignment, unless some are sealed.
    #[schema(value_type = u64)]
    pub bids_close_at: Epoch,
    /// Assignment if there are sealed bids.
    #[schema(value_type = u64)]
    pub reveals_close_at: Epoch,
    /// When a copy is active or its money is back.
    #[schema(value_type = u64)]
    pub active_by: Epoch,
    /// Last epoch at which a copy may still be paid out of the deposit. Nothing has to be topped up.
    #[schema(value_type = u64)]
    pub paid_until: Epoch,
}

impl Quote {
    pub(crate) fn of(quote: &cairn_ledger::OrderQuote) -> Self {
        Self {
            deposit: quote.deposit,
            fee: quote.fee,
            total: quote.total,
            available: quote.available,
            missing: quote.missing,
            bids_close_at: quote.bids_close_at,
            reveals_close_at: quote.reveals_close_at,
            active_by: quote.active_by,
            paid_until: quote.paid_until,
        }
    }
}

/// Where a bid stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BidState {
    /// Its price is not known yet.
    Sealed,
    /// Waits for assignment.
    Open,
    /// Won.
    Won,
    /// Over.
    Closed,
}

/// An offer for one copy of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bid {
    /// For which order.
    #[schema(value_type = u64)]
    pub order: OrderId,
    /// Who offers.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// Price of the copy per epoch; absent while it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub price_per_epoch: Option<Amount>,
    /// Of a sealed bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hex32>)]
    pub commitment: Option<Commitment>,
    /// Locked.
    #[schema(value_type = u64)]
    pub deposit: Amount,
    /// When it was placed.
    #[schema(value_type = u64)]
    pub placed_at: Epoch,
    /// Where it stands.
    pub state: BidState,
    /// Why it is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Bid {
    pub(crate) fn of(order: OrderId, provider: ProviderId, bid: &cairn_ledger::Bid) -> Self {
        let price = Some(bid.price_per_epoch);
        let (state, price_per_epoch, commitment, closure) = match &bid.status {
            BidStatus::Sealed { commitment } => (BidState::Sealed, None, Some(*commitment), None),
            BidStatus::Open => (BidState::Open, price, None, None),
            BidStatus::Won { .. } => (BidState::Won, price, None, None),
            BidStatus::Closed(closure) => (BidState::Closed, price, None, Some(Closure::of(closure))),
        };
        let (deposit, placed_at) = (bid.deposit, bid.placed_at);
        Self { order, provider, price_per_epoch, commitment, deposit, placed_at, state, closure }
    }
}

/// Where a deal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DealState {
    /// Waits to be sealed.
    Assigned,
    /// In a pre-committed sector.
    Bound,
    /// Stored, proven and paid.
    Active,
    /// Over.
    Closed,
}

impl DealState {
    pub(crate) fn of(status: &DealStatus) -> Self {
        match status {
            DealStatus::Assigned { .. } => Self::Assigned,
            DealStatus::Bound { .. } => Self::Bound,
            DealStatus::Active { .. } => Self::Active,
            DealStatus::Closed(_) => Self::Closed,
        }
    }
}

/// A lease of one piece with one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deal {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: DealId,
    /// The order it came from.
    #[schema(value_type = u64)]
    pub order: OrderId,
    /// Which piece of that order.
    pub piece_index: u32,
    /// Who pays.
    #[schema(value_type = Hex32)]
    pub client: Address,
    /// Who stores.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// What is stored.
    pub piece: Piece,
    /// Paid for each proven epoch.
    #[schema(value_type = u64)]
    pub rate: Amount,
    /// Length, from activation.
    pub duration_epochs: u64,
    /// Still locked for it.
    #[schema(value_type = u64)]
    pub escrow: Amount,
    /// Paid to the provider so far.
    #[schema(value_type = u64)]
    pub paid: Amount,
    /// Where it stands.
    pub state: DealState,
    /// It closes then unless it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub activate_by: Option<Epoch>,
    /// The sector that holds it, or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub sector: Option<SectorNumber>,
    /// First epoch that is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub start: Option<Epoch>,
    /// First epoch that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub end: Option<Epoch>,
    /// Epochs before this one are paid, or found faulty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub settled_until: Option<Epoch>,
    /// Why it is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Deal {
    pub(crate) fn of(id: DealId, deal: &cairn_ledger::Deal) -> Self {
        let mut view = Self {
            id,
            order: deal.order,
            piece_index: deal.piece_index,
            client: deal.client,
            provider: deal.provider,
            piece: Piece::of(&deal.piece),
            rate: deal.rate,
            duration_epochs: deal.duration_epochs,
            escrow: deal.escrow,
            paid: deal.paid,
            state: DealState::of(&deal.status),
            activate_by: None,
            sector: deal.sector(),
            start: None,
            end: None,
            settled_until: None,
            closure: None,
        };
        match &deal.status {
            DealStatus::Assigned { activate_by } | DealStatus::Bound { activate_by, .. } => {
                view.activate_by = Some(*activate_by);
            }
            DealStatus::Active { start, end, settled_until, .. } => {
                (view.start, view.end, view.settled_until) = (Some(*start), Some(*end), Some(*settled_until));
            }
            DealStatus::Closed(closure) => view.closure = Some(Closure::of(closure)),
        }
        view
    }
}

/// A CID as text, in every format.
pub(super) mod cid_text {
    use cid::Cid;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The multibase text.
    pub fn serialize<S: Serializer>(cid: &Cid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cid)
    }

    /// The other way.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cid, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("expected a CID: {error}")))
    }
}
