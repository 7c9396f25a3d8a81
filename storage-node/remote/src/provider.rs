//! [`LedgerClient`] over HTTP. What it answers equals what [`cairn_sealing::ProviderLedger`] answers beside a node.

use std::time::Duration;

use cairn_ledger::{Command, PreCommit, SectorCommand, SectorUpdate, TransactionId};
use cairn_protocol::{CommR, Epoch, ProviderId, SectorNumber};
use cairn_rpc::wire::{self, DutyState, SectorState};
use cairn_sealing::{
    Assignment, DrawnTicket, DutyStatus, LedgerClient, LedgerClientError, LedgerHealth, LedgerSector, PostDuty, Sealed,
    SectorPiece, SubmissionStatus,
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
        let life = params.sector_epochs_min(longest.unwrap_or(params.deal_epochs_min));
        let life = life.saturating_add(params.proving_period()).min(params.sector_epochs_max);
        Ok(Epoch(self.head()?.0.saturating_add(life)))
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
            Err(cairn_rpc::ClientError::Problem(problem)) if problem.code == cairn_rpc::ProblemCode::Forgotten => {
                Ok(false)
            }
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
        let pre_commit = PreCommit {
            provider: self.provider,
            sector: assignment.sector,
            seal_proof: assignment.seal_proof,
            comm_r: sealed.comm_r,
            comm_d: sealed.inputs.comm_d,
            ticket_epoch: sealed.inputs.ticket_epoch,
            expiration: self.expiration(assignment)?,
            deals: assignment.deals(),
        };
        self.ledger.send("pre-commit", &Command::PreCommit(pre_commit))
    }

    fn send_prove_commit(&self, assignment: &Assignment, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        let pieces = SectorPiece::manifest(&assignment.pieces);
        let command = Command::ProveCommit { provider: self.provider, sector: assignment.sector, pieces, proof };
        self.ledger.send("prove-commit", &command)
    }

    fn send_update(
        &self,
        sector: SectorNumber,
        pieces: &[SectorPiece],
        comm_r: CommR,
        proof: Vec<u8>,
    ) -> Result<TransactionId, LedgerClientError> {
        let pieces = SectorPiece::manifest(pieces);
        let update = SectorUpdate { provider: self.provider, sector, comm_r, pieces, proof };
        self.ledger.send("sector update", &Command::Sector(SectorCommand::Update(update)))
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        self.ledger.submission(transaction)
    }

    fn post_duties(&self) -> Result<Vec<PostDuty>, LedgerClientError> {
        let duties = self.ledger.client.duties(self.provider).map_err(unavailable)?.duties;
        Ok(duties.into_iter().map(duty_of).collect())
    }

    fn send_window_post(&self, duty: &PostDuty, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        let command = Command::SubmitWindowPost {
            provider: self.provider,
            deadline: duty.deadline,
            partition: duty.partition,
            challenge_epoch: duty.challenge_epoch,
            proof,
            skipped: Vec::new(),
        };
        self.ledger.send("window PoSt", &command)
    }

    fn send_faults(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        let command = Command::DeclareFaults { provider: self.provider, sectors: sectors.to_vec() };
        self.ledger.send("declaration of faults", &command)
    }

    fn send_recovery(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        let command = Command::DeclareRecovery { provider: self.provider, sectors: sectors.to_vec() };
        self.ledger.send("declaration of recovery", &command)
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
