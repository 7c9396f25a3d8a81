//! Bids on what is ordered.
//!
//! Each open order is looked at until there is a bid on it, or a reason against one. Nothing waits for a bid to be in a
//! block: what became of it is asked at the next look. What is not remembered here is on the ledger, so a provider that
//! starts again bids on nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_ledger::{OrderId, TransactionId};
use cairn_protocol::{Amount, SectorSize};
use cairn_sealing::{LedgerClientError, MarketLedger, Milestone, OpenOrder, Pipeline, SubmissionStatus};

use super::Terms;
use crate::devnet::console::Console;

/// Most open orders that are looked at; the oldest come first.
const ORDERS_MAX: usize = 1_000;

/// See the module.
pub struct Bidding {
    ledger: Arc<dyn MarketLedger>,
    pipeline: Pipeline,
    sector_size: SectorSize,
    terms: Terms,
    console: Arc<Console>,
    /// Open orders that need no second thought.
    decided: BTreeMap<OrderId, Decision>,
}

#[derive(Debug, Clone, Copy)]
enum Decision {
    /// Handed in at this price; what became of it is not known yet.
    Sent(TransactionId, Amount),
    /// On the ledger.
    Placed,
    /// Not ours.
    Left,
}

impl Bidding {
    /// Bids from now on.
    pub fn new(
        ledger: Arc<dyn MarketLedger>,
        pipeline: Pipeline,
        sector_size: SectorSize,
        terms: Terms,
        console: Arc<Console>,
    ) -> Self {
        Self { ledger, pipeline, sector_size, terms, console, decided: BTreeMap::new() }
    }

    /// Looks at all open orders once.
    ///
    /// # Errors
    /// The ledger's, and the journal's.
    pub fn look(&mut self) -> anyhow::Result<()> {
        let open = self.ledger.open_orders(ORDERS_MAX)?;
        let is_open = |order: &OrderId| open.iter().any(|open| open.order == *order);
        self.decided.retain(|order, _| is_open(order));
        self.follow()?;
        let mut in_hand = self.in_hand()?;
        for order in &open {
            if in_hand >= self.terms.in_hand_max {
                break;
            }
            if !self.decided.contains_key(&order.order) {
                let decision = self.decide(order)?;
                in_hand += usize::from(!matches!(decision, Decision::Left));
                self.decided.insert(order.order, decision);
            }
        }
        Ok(())
    }

    /// Asks what became of bids.
    fn follow(&mut self) -> Result<(), LedgerClientError> {
        for (order, decision) in &mut self.decided {
            let Decision::Sent(transaction, price) = *decision else { continue };
            match self.ledger.submission(&transaction)? {
                SubmissionStatus::Pending => {}
                SubmissionStatus::Applied(_) => {
                    *decision = Decision::Placed;
                    self.console.line(format!("provider: bid {price} per epoch on {order}"));
                }
                SubmissionStatus::Failed(reason) => {
                    *decision = Decision::Left;
                    self.console.line(format!("provider: no bid on {order}: {reason}"));
                }
            }
        }
        Ok(())
    }

    /// Bids on open orders, and deals that are not sealed yet.
    fn in_hand(&self) -> anyhow::Result<usize> {
        let bids = self.decided.values().filter(|decision| !matches!(decision, Decision::Left)).count();
        let unsealed = self.pipeline.sectors()?.into_iter();
        let unsealed = unsealed.filter(|record| record.state.milestone() < Milestone::Finalized);
        let sealing: usize = unsealed.map(|record| record.assignment.deals().len()).sum();
        Ok(bids + sealing + self.ledger.waiting_deals(self.terms.in_hand_max)?.len())
    }

    fn decide(&self, open: &OpenOrder) -> Result<Decision, LedgerClientError> {
        let (order, terms) = (open.order, &open.terms);
        let fits = terms.pieces.iter().all(|piece| piece.piece.size <= self.sector_size.padded());
        let Some(price) = self.terms.ask(&terms.pieces).filter(|ask| *ask <= terms.price_per_epoch_max) else {
            return Ok(Decision::Left);
        };
        let late = self.ledger.head()?.0.saturating_add(1) >= open.bids_close_at.0;
        if !fits || late {
            return Ok(Decision::Left);
        }
        if self.ledger.has_bid(order)? {
            return Ok(Decision::Placed);
        }
        match self.ledger.place_bid(order, price) {
            Ok(transaction) => Ok(Decision::Sent(transaction, price)),
            Err(LedgerClientError::Refused { reason, .. }) => {
                self.console.line(format!("provider: no bid on {order}: {reason}"));
                Ok(Decision::Left)
            }
            Err(error) => Err(error),
        }
    }
}
