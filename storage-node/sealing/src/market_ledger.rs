//! What a provider asks the ledger about its market: what is ordered, what it won.
//!
//! Beside [`LedgerClient`], whose calls block in the same way and fail with the same errors. [`crate::ProviderLedger`]
//! implements it beside a node; a provider whose ledger is somewhere else brings another.

use cairn_ledger::{DealId, OrderId, OrderPiece, OrderTerms, TransactionId};
use cairn_protocol::{Amount, Epoch};

use crate::ledger_client::{LedgerClient, LedgerClientError};

/// An order that takes bids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its number.
    pub order: OrderId,
    /// What is asked for.
    pub terms: OrderTerms,
    /// First epoch that takes no more bids.
    pub bids_close_at: Epoch,
}

/// A deal that is won and in no sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingDeal {
    /// Its number.
    pub deal: DealId,
    /// The order it came from.
    pub order: OrderId,
    /// What is to be stored.
    pub piece: OrderPiece,
}

/// The ledger's market, as one provider sees it.
pub trait MarketLedger: LedgerClient {
    /// Orders that are open, oldest first, `limit` at most.
    ///
    /// # Errors
    /// [`LedgerClientError`], here and below.
    fn open_orders(&self, limit: usize) -> Result<Vec<OpenOrder>, LedgerClientError>;

    /// Whether this provider has a bid on an order.
    ///
    /// # Errors
    /// See [`MarketLedger::open_orders`].
    fn has_bid(&self, order: OrderId) -> Result<bool, LedgerClientError>;

    /// Hands in a bid.
    ///
    /// # Errors
    /// See [`MarketLedger::open_orders`].
    fn place_bid(&self, order: OrderId, price_per_epoch: Amount) -> Result<TransactionId, LedgerClientError>;

    /// Deals of this provider that wait to be sealed, oldest first, `limit` at most.
    ///
    /// # Errors
    /// See [`MarketLedger::open_orders`].
    fn waiting_deals(&self, limit: usize) -> Result<Vec<WaitingDeal>, LedgerClientError>;

    /// The terms of an order, open or not; nothing if the ledger forgot it.
    ///
    /// # Errors
    /// See [`MarketLedger::open_orders`].
    fn order_terms(&self, order: OrderId) -> Result<Option<OrderTerms>, LedgerClientError>;
}
