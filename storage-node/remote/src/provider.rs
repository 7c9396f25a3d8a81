//! [`LedgerClient`] and [`MarketLedger`] over HTTP. What they answer equals what [`cairn_sealing::ProviderLedger`] answers beside a node.

use std::time::Duration;

use cairn_ledger::{OrderId, OrderTerms, TransactionId};
use cairn_protocol::{Amount, CommR, Epoch, ProviderId, SectorNumber};
use cairn_rpc::client::{DealFilter, OrderFilter};
use cairn_rpc::wire::{self, DealState, DutyState, OrderState, SectorState};
use cairn_rpc::{ClientError, ProblemCode};
use cairn_sealing::{
    Assignment, DrawnTicket, DutyStatus, LedgerClient, LedgerClientError, LedgerHealth, LedgerSector, MarketLedger,
    OpenOrder, PostDuty, Request, Sealed, SectorPiece, SubmissionStatus, WaitingDeal, requests,
};

use crate::{RemoteLedger, unavailable};

/// A provider's seat at a remote ledger.
#[derive(Clone)]
pub struct ProviderSeat {
    ledger: RemoteLedger,
    provider: ProviderId,
}

impl ProviderSeat {
    /// Acts for `provider`, whose owner's key `ledger` holds.
    pub fn new(ledger: RemoteLedger, provider: ProviderId) -> Self {
        Self { ledger, provider }
    }

    /// Life of a sector that its deals fit into wherever in its windows they start, and one proving period to spare.
    fn expiration(&self, assignment: &Assignment) -> Result<Epoch, LedgerClientError> {
        let params = self.ledger.params()?;
        let mut longest = None;
        for deal in assignment.deals() {
            let deal = self.ledger.client.deal(deal.0).map_err(unavailable)?;
            longest = longest.max(deal.map(|deal| deal.duration_epochs));
        }
        Ok(requests::expiration(&params, self.head()?, longest))
    }

    fn send(&self, request: Request) -> Result<TransactionId, LedgerClientError> {
        self.ledger.send(request.what, &request.command)
    }
}

impl LedgerClient for ProviderSeat {
    fn head(&self) -> Result<Epoch, LedgerClientError> {
        Ok(self.ledger.client.head().map_err(unavailable)?.height)
    }

    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError> {
        Ok(self.ledger.client.wait_for_height(epoch, timeout).map_err(unavailable)?.height)
    }

    fn draw_ticket(&self) -> Result<DrawnTicket, LedgerClientError> {
        let drawn = self.ledger.client.ticket(self.provider, None).map_err(unavailable)?;
        let drawn = drawn.ok_or_else(|| LedgerClientError::Unavailable { detail: "no beacon yet".to_owned() })?;
        Ok(DrawnTicket { epoch: drawn.epoch, ticket: drawn.ticket })
    }

    fn is_ticket_usable(&self, epoch: Epoch) -> Result<bool, LedgerClientError> {
        match self.ledger.client.ticket(self.provider, Some(epoch)) {
            Ok(ticket) => Ok(ticket.is_some_and(|ticket| ticket.usable)),
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::Forgotten => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn sector(&self, number: SectorNumber) -> Result<LedgerSector, LedgerClientError> {
        let sector = self.ledger.client.sector(self.provider, number).map_err(unavailable)?;
        let Some(sector) = sector else { return Ok(LedgerSector::Unknown) };
        let missing = || LedgerClientError::Unavailable { detail: format!("sector {number} is told in part only") };
        let health = match sector.state {
            SectorState::PreCommitted => {
                return Ok(LedgerSector::PreCommitted {
                    comm_r: sector.comm_r,
                    seed_epoch: sector.seed_epoch,
                    expires_at: sector.prove_commit_by.ok_or_else(missing)?,
                    seed: sector.seed,
                });
            }
            SectorState::Closed => {
                let reason = sector.closure.ok_or_else(missing)?.text;
                return Ok(LedgerSector::Closed { reason });
            }
            SectorState::Active => LedgerHealth::Active,
            SectorState::Faulty => LedgerHealth::Faulty,
            SectorState::Recovering => LedgerHealth::Recovering,
        };
        let activated_at = sector.activated_at.ok_or_else(missing)?;
        Ok(LedgerSector::Proving { comm_r: sector.comm_r, activated_at, health, is_locked: sector.locked })
    }

    fn send_pre_commit(&self, assignment: &Assignment, sealed: &Sealed) -> Result<TransactionId, LedgerClientError> {
        let request = requests::pre_commit(self.provider, assignment, sealed, self.expiration(assignment)?);
        self.send(request)
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
        self.ledger.submission(transaction)
    }

    fn post_duties(&self) -> Result<Vec<PostDuty>, LedgerClientError> {
        let duties = self.ledger.client.duties(self.provider).map_err(unavailable)?.duties;
        Ok(duties.into_iter().map(duty_of).collect())
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

impl MarketLedger for ProviderSeat {
    fn open_orders(&self, limit: usize) -> Result<Vec<OpenOrder>, LedgerClientError> {
        let open = OrderFilter { state: Some(OrderState::Open), ..OrderFilter::default() };
        let orders = self.ledger.client.orders(&open).take(limit).map(|order| {
            let wire::Order { id: order, terms, bids_close_at, .. } = order.map_err(unavailable)?;
            Ok(OpenOrder { order, terms: terms.to_terms(), bids_close_at })
        });
        orders.collect()
    }

    fn has_bid(&self, order: OrderId) -> Result<bool, LedgerClientError> {
        for bid in self.ledger.client.bids(order.0) {
            match bid {
                Ok(bid) if bid.provider == self.provider => return Ok(true),
                Ok(_) => {}
                Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => break,
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(false)
    }

    fn place_bid(&self, order: OrderId, price_per_epoch: Amount) -> Result<TransactionId, LedgerClientError> {
        self.send(requests::bid(self.provider, order, price_per_epoch))
    }

    fn waiting_deals(&self, limit: usize) -> Result<Vec<WaitingDeal>, LedgerClientError> {
        let provider = Some(self.provider.0);
        let waiting = DealFilter { provider, state: Some(DealState::Assigned), ..DealFilter::default() };
        let deals = self.ledger.client.deals(&waiting).take(limit).map(|deal| {
            let wire::Deal { id: deal, order, piece, .. } = deal.map_err(unavailable)?;
            Ok(WaitingDeal { deal, order, piece: piece.to_order_piece() })
        });
        deals.collect()
    }

    fn order_terms(&self, order: OrderId) -> Result<Option<OrderTerms>, LedgerClientError> {
        let order = self.ledger.client.order(order.0).map_err(unavailable)?;
        Ok(order.map(|order| order.terms.to_terms()))
    }
}

fn duty_of(duty: wire::PostDuty) -> PostDuty {
    let status = match (duty.state, duty.statement) {
        (DutyState::Proven, _) => DutyStatus::Proven,
        (DutyState::Open, Some(statement)) => DutyStatus::Open(statement.to_statement()),
        _ => DutyStatus::Upcoming,
    };
    PostDuty {
        deadline: duty.deadline,
        partition: duty.partition,
        challenge_epoch: duty.challenge_epoch,
        closes_at: duty.closes_at,
        sectors: duty.sectors,
        status,
    }
}
