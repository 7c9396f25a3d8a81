//! [`LedgerClient`] and [`MarketLedger`] over the ledger's own state and a provider's signing key.
//!
//! The node that carries blocks is behind [`LedgerPort`], four methods, so that this crate depends on the ledger's types
//! and not on how blocks are made. Queries read the node's latest state; sends build a command, and the node numbers
//! and signs it under its own lock, because several parts of a provider (bidding, sealing, proofs) sign with one key.

use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::{
    Address, Command, DealStatus, Health, OrderId, OrderTerms, Outcome, Receipt, SectorStatus, State, TransactionId,
    address_of,
};
use cairn_protocol::{Amount, CommR, Epoch, ProviderId, SectorNumber};
use ed25519_consensus::SigningKey;

use crate::ledger_client::{
    DrawnTicket, DutyStatus, LedgerClient, LedgerClientError, LedgerHealth, LedgerSector, PostDuty, SubmissionStatus,
};
use crate::market_ledger::{MarketLedger, OpenOrder, WaitingDeal};
use crate::requests::{self, Request};
use crate::state::{Assignment, Sealed, SectorPiece};

/// A running ledger node: the newest state, and a way in.
pub trait LedgerPort: Send + Sync {
    /// The state after the last block.
    fn state(&self) -> Arc<State>;

    /// Gives `command` the next number of `key`, signs it and lets it wait for a block.
    ///
    /// # Errors
    /// [`PortRejection`] says whether trying again helps.
    fn submit_command(&self, key: &SigningKey, command: Command) -> Result<TransactionId, PortRejection>;

    /// The receipt of a transaction, once it is in a block.
    ///
    /// # Errors
    /// What the node's store says, if it cannot be read.
    fn receipt(&self, transaction: &TransactionId) -> Result<Option<Receipt>, String>;

    /// Waits until a block of `epoch` is there or `timeout` has passed; returns the last block's epoch.
    fn wait_for_height(&self, epoch: Epoch, timeout: Duration) -> Epoch;
}

/// Why a node does not take a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortRejection {
    /// The node is full or stopped; trying again helps.
    #[error("{0}")]
    Busy(String),
    /// Anything else.
    #[error("{0}")]
    Refused(String),
}

/// One provider's view of the ledger, with the key to act on it.
pub struct ProviderLedger<P> {
    port: P,
    provider: ProviderId,
    key: SigningKey,
}

impl<P: LedgerPort> ProviderLedger<P> {
    /// Acts for `provider`, whose owner's key is `key`.
    pub fn new(port: P, provider: ProviderId, key: SigningKey) -> Self {
        Self { port, provider, key }
    }

    /// The owner's address.
    pub fn address(&self) -> Address {
        address_of(&self.key)
    }

    /// Hands in a request.
    ///
    /// # Errors
    /// [`LedgerClientError`] with the node's reason.
    pub fn send(&self, request: Request) -> Result<TransactionId, LedgerClientError> {
        let Request { what, command } = request;
        self.port.submit_command(&self.key, command).map_err(|rejection| match rejection {
            PortRejection::Busy(detail) => LedgerClientError::Unavailable { detail },
            PortRejection::Refused(reason) => LedgerClientError::Refused { what, reason },
        })
    }
}

impl<P: LedgerPort> LedgerClient for ProviderLedger<P> {
    fn head(&self) -> Result<Epoch, LedgerClientError> {
        Ok(self.port.state().epoch())
    }

    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError> {
        Ok(self.port.wait_for_height(epoch, timeout))
    }

    fn draw_ticket(&self) -> Result<DrawnTicket, LedgerClientError> {
        let state = self.port.state();
        let epoch = state.epoch();
        let ticket = state.ticket(self.provider, epoch).ok_or_else(|| LedgerClientError::Unavailable {
            detail: format!("no beacon at epoch {epoch}; the first block has the first one"),
        })?;
        Ok(DrawnTicket { epoch, ticket })
    }

    fn is_ticket_usable(&self, epoch: Epoch) -> Result<bool, LedgerClientError> {
        let state = self.port.state();
        // The pre-commit enters the next block at the earliest, so its age then is what counts.
        let age = state.epoch().0.saturating_add(1).saturating_sub(epoch.0);
        Ok(age <= state.params().ticket_age_max && state.beacon(epoch).is_some())
    }

    fn sector(&self, number: SectorNumber) -> Result<LedgerSector, LedgerClientError> {
        let state = self.port.state();
        let Some(sector) = state.sector(self.provider, number) else { return Ok(LedgerSector::Unknown) };
        Ok(match &sector.status {
            SectorStatus::PreCommitted { expires_at } => LedgerSector::PreCommitted {
                comm_r: sector.comm_r,
                seed_epoch: sector.seed_epoch,
                expires_at: *expires_at,
                seed: state.seed(self.provider, number),
            },
            SectorStatus::Proving(proving) => LedgerSector::Proving {
                comm_r: sector.comm_r,
                activated_at: proving.activated_at,
                health: match proving.health {
                    Health::Active => LedgerHealth::Active,
                    Health::Faulty { .. } => LedgerHealth::Faulty,
                    Health::Recovering { .. } => LedgerHealth::Recovering,
                },
                is_locked: state.is_sector_locked(self.provider, proving),
            },
            SectorStatus::Closed(closure) => LedgerSector::Closed { reason: closure.reason.text().to_owned() },
        })
    }

    fn send_pre_commit(&self, assignment: &Assignment, sealed: &Sealed) -> Result<TransactionId, LedgerClientError> {
        let state = self.port.state();
        let longest =
            assignment.deals().iter().filter_map(|deal| state.deal(*deal)).map(|deal| deal.duration_epochs).max();
        let expiration = requests::expiration(state.params(), state.epoch(), longest);
        self.send(requests::pre_commit(self.provider, assignment, sealed, expiration))
    }

    fn send_prove_commit(&self, assignment: &Assignment, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::prove_commit(self.provider, assignment, proof))
    }

    fn send_update(
        &self,
        sector: SectorNumber,
        pieces: &[SectorPiece],
        comm_r: CommR,
        proof: Vec<u8>,
    ) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::update(self.provider, sector, pieces, comm_r, proof))
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        let receipt = self.port.receipt(transaction).map_err(|detail| LedgerClientError::Unavailable { detail })?;
        let Some(receipt) = receipt else { return Ok(SubmissionStatus::Pending) };
        Ok(match receipt.outcome {
            Outcome::Applied => SubmissionStatus::Applied(receipt.epoch),
            Outcome::Failed(rejection) => SubmissionStatus::Failed(rejection.to_string()),
            Outcome::Refused(rejection) => SubmissionStatus::Failed(rejection.to_string()),
        })
    }

    fn post_duties(&self) -> Result<Vec<PostDuty>, LedgerClientError> {
        let state = self.port.state();
        let head = state.epoch();
        let with_status = |duty: cairn_ledger::PostDuty| {
            let info = duty.deadline;
            let statement = || state.window_post_statement(self.provider, info.deadline, duty.partition);
            let status = match duty.proven {
                true => DutyStatus::Proven,
                false if info.is_open_at(Epoch(head.0 + 1)) => {
                    statement().map_or(DutyStatus::Upcoming, DutyStatus::Open)
                }
                false => DutyStatus::Upcoming,
            };
            PostDuty {
                deadline: info.deadline,
                partition: duty.partition,
                challenge_epoch: info.challenge_epoch,
                closes_at: info.closes_at,
                sectors: duty.sectors,
                status,
            }
        };
        Ok(state.post_duties(self.provider).into_iter().map(with_status).collect())
    }

    fn send_window_post(&self, duty: &PostDuty, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::window_post(self.provider, duty, proof))
    }

    fn send_faults(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::faults(self.provider, sectors))
    }

    fn send_recovery(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::recovery(self.provider, sectors))
    }
}

impl<P: LedgerPort> MarketLedger for ProviderLedger<P> {
    fn open_orders(&self, limit: usize) -> Result<Vec<OpenOrder>, LedgerClientError> {
        let state = self.port.state();
        let orders = state.open_orders().take(limit).map(|(order, open)| OpenOrder {
            order,
            terms: open.terms.clone(),
            bids_close_at: open.bids_close_at,
        });
        Ok(orders.collect())
    }

    fn has_bid(&self, order: OrderId) -> Result<bool, LedgerClientError> {
        Ok(self.port.state().bid(order, self.provider).is_some())
    }

    fn place_bid(&self, order: OrderId, price_per_epoch: Amount) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::bid(self.provider, order, price_per_epoch))
    }

    fn waiting_deals(&self, limit: usize) -> Result<Vec<WaitingDeal>, LedgerClientError> {
        let state = self.port.state();
        let waiting =
            state.deals_of(self.provider).filter(|(_, deal)| matches!(deal.status, DealStatus::Assigned { .. }));
        let waiting = waiting.map(|(id, deal)| WaitingDeal { deal: id, order: deal.order, piece: deal.piece });
        Ok(waiting.take(limit).collect())
    }

    fn order_terms(&self, order: OrderId) -> Result<Option<OrderTerms>, LedgerClientError> {
        Ok(self.port.state().order(order).map(|order| order.terms.clone()))
    }
}
