//! What an order will cost, before any money moves.
//!
//! Source: `spec/market.md` 8, complaint 10: users saw a capacity check pass and the deposit fail, and could not tell what
//! would be locked for how long. A quote is made by the same rules as the order ([`State::quote_order`] refuses what the
//! ledger would refuse), so it is exact: placing the order in the next block takes `total` from the client, to the
//! micro-unit.

use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::order::OrderTerms;
use crate::rejection::Rejection;
use crate::state::State;

/// An order's price, and its latest dates if it enters the next block and the ledger is not behind with queued work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderQuote {
    /// Locked at once: price cap x duration x copies. What the winning bids do not need returns at assignment.
    pub deposit: Amount,
    /// Burnt at once.
    pub fee: Amount,
    /// Both together.
    pub total: Amount,
    /// The client's free money now.
    pub available: Amount,
    /// What it lacks; nothing if the order can be placed.
    pub missing: Amount,
    /// When bids end; assignment, unless some are sealed.
    pub bids_close_at: Epoch,
    /// Assignment if there are sealed bids.
    pub reveals_close_at: Epoch,
    /// When a copy is active or its money is back.
    pub active_by: Epoch,
    /// Last epoch at which a copy may still be paid out of the deposit: the runway. Nothing has to be topped up.
    pub paid_until: Epoch,
}

impl State {
    /// The quote for an order of `client`, if it were placed in the next block.
    ///
    /// # Errors
    /// [`Rejection`] for terms that the ledger would refuse whatever the client owns.
    pub fn quote_order(&self, client: &Address, terms: &OrderTerms) -> Result<OrderQuote, Rejection> {
        let deposit = self.order_deposit(terms)?;
        let (params, fee) = (self.params(), self.params().transaction_fee);
        let overflow = |what: &str| Rejection::Overflow { what: what.to_owned() };
        let total = deposit.checked_add(fee).ok_or_else(|| overflow("deposit + fee"))?;
        let available = self.account(client).balance;
        let mut at = self.epoch();
        let mut later = |epochs: u64| -> Result<Epoch, Rejection> {
            at = at.checked_add(epochs).ok_or_else(|| overflow("the order's last epoch"))?;
            Ok(at)
        };
        Ok(OrderQuote {
            deposit,
            fee,
            total,
            available,
            missing: total.checked_sub(available).unwrap_or_default(),
            bids_close_at: later(1 + params.bid_window)?,
            reveals_close_at: later(params.reveal_window)?,
            active_by: later(params.activation_window)?,
            paid_until: later(terms.duration_epochs)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::testing::{FUNDS, Network, order_terms, piece};
    use crate::{Command, LedgerParams, Outcome};

    #[test]
    fn a_quote_is_what_the_order_takes() {
        let mut network = Network::new(LedgerParams::devnet(), 1);
        let mut terms = order_terms(network.state.params(), vec![piece(1, 1 << 20)], 1_000);
        terms.copies = 3;
        let quote = network.state.quote_order(&Network::address(1), &terms).unwrap();
        let order = network.order(1, terms.clone());
        let left = network.state.account(&Network::address(1)).balance;
        assert_eq!((quote.available, quote.missing), (FUNDS, Amount::ZERO));
        assert_eq!(FUNDS.checked_sub(left), Some(quote.total));
        let record = network.state.order(order).unwrap();
        assert_eq!(record.deposit, quote.deposit);
        assert_eq!((record.bids_close_at, record.reveals_close_at), (quote.bids_close_at, quote.reveals_close_at));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is asked, the quote is what is taken and locked, and a refusal the ledger's own.
        #[test]
        fn every_quote_is_what_the_ledger_locks(
            price in prop_oneof![0u64..5_000, Just(u64::MAX), 1u64 << 40..1 << 50],
            copies in 0u32..10,
            duration in prop_oneof![0u64..400, 192u64..100_000, Just(u64::MAX)],
            pieces in prop::collection::vec((0u8..9, 7u32..30), 0..4),
            wait in 0u64..30,
        ) {
            let mut network = Network::new(LedgerParams::devnet(), 1);
            network.advance_to(Epoch(wait));
            let pieces = pieces.into_iter().map(|(tag, log)| piece(tag, 1 << log)).collect();
            let terms = OrderTerms { copies, duration_epochs: duration, ..order_terms(network.state.params(), pieces, price) };
            let quote = network.state.quote_order(&Network::address(1), &terms);
            let before = network.state.clone();
            let receipt = network.try_command(1, Command::PlaceOrder(terms.clone()));
            let balance = |state: &State| state.account(&Network::address(1)).balance.0;
            match (quote, receipt.outcome) {
                (Ok(quote), Outcome::Applied) => {
                    prop_assert_eq!((quote.missing, quote.available.0), (Amount::ZERO, balance(&before)));
                    prop_assert_eq!(balance(&before) - balance(&network.state), quote.total.0);
                    prop_assert_eq!(network.state.treasury().escrow, quote.deposit);
                    let (_, order) = network.state.orders().next().unwrap();
                    prop_assert_eq!((order.bids_close_at, order.reveals_close_at), (quote.bids_close_at, quote.reveals_close_at));
                    prop_assert_eq!(quote.paid_until.0, quote.active_by.0 + duration);
                }
                (Ok(quote), Outcome::Failed(Rejection::InsufficientFunds { .. })) => {
                    prop_assert_eq!(quote.missing.0, quote.total.0 - balance(&before));
                    prop_assert!(!quote.missing.is_zero());
                }
                (Err(quoted), Outcome::Failed(refused)) => prop_assert_eq!(quoted, refused),
                (quoted, outcome) => prop_assert!(false, "quoted {:?}, then {:?}", quoted, outcome),
            }
        }
    }

    #[test]
    fn what_is_missing_is_exact_and_bad_terms_are_refused() {
        let mut network = Network::new(LedgerParams::devnet(), 1);
        let terms = order_terms(network.state.params(), vec![piece(1, 1 << 20)], 1_000);
        let nobody = Network::address(9);
        let quote = network.state.quote_order(&nobody, &terms).unwrap();
        assert_eq!((quote.available, quote.missing), (Amount::ZERO, quote.total));
        // With exactly the total the order can be placed, with one micro-unit less it cannot.
        network.command(1, Command::Transfer { to: nobody, amount: Amount(quote.total.0 - 1) });
        network.rejection(9, Command::PlaceOrder(terms.clone()));
        let quote = network.state.quote_order(&nobody, &terms).unwrap();
        network.command(1, Command::Transfer { to: nobody, amount: quote.missing });
        network.command(9, Command::PlaceOrder(terms.clone()));
        let bad = OrderTerms { copies: 0, ..terms };
        assert_eq!(
            network.state.quote_order(&nobody, &bad).unwrap_err(),
            network.rejection(1, Command::PlaceOrder(bad.clone()))
        );
    }
}
