//! Sectors, their duties, and the randomness that a provider needs.

use cairn_ledger::{DealId, Health, SectorStatus, State};
use cairn_protocol::{
    Amount, CommD, CommR, Epoch, PostRandomness, ProverId, ProviderId, SealProof, SectorNumber, SectorSize, Seed,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Closure, Hex32};

/// Where a sector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SectorState {
    /// Announced; waits for its proof.
    PreCommitted,
    /// Proven, or its first deadline is to come.
    Active,
    /// Earns nothing, costs a fee at each deadline.
    Faulty,
    /// Declared repaired; to be proven at its next deadline.
    Recovering,
    /// Over.
    Closed,
}

/// A sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sector {
    /// Whose.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// Its number.
    #[schema(value_type = u64)]
    pub number: SectorNumber,
    /// How it is sealed: `v1`, `v1_1`, `synthetic` or `non-interactive`.
    #[schema(value_type = String)]
    pub seal_proof: SealProof,
    /// Commitment to the replica.
    #[schema(value_type = Hex32)]
    pub comm_r: CommR,
    /// Commitment to the data.
    #[schema(value_type = Hex32)]
    pub comm_d: CommD,
    /// Epoch of the ticket.
    #[schema(value_type = u64)]
    pub ticket_epoch: Epoch,
    /// The ticket.
    #[schema(value_type = Hex32)]
    pub ticket: cairn_protocol::Ticket,
    /// When it was announced.
    #[schema(value_type = u64)]
    pub pre_committed_at: Epoch,
    /// Epoch whose beacon is the seed.
    #[schema(value_type = u64)]
    pub seed_epoch: Epoch,
    /// The seed, once it is known and as long as its beacon is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hex32>)]
    pub seed: Option<Seed>,
    /// When its life ends.
    #[schema(value_type = u64)]
    pub expiration: Epoch,
    /// Locked for it.
    #[schema(value_type = u64)]
    pub deposit: Amount,
    /// Deals in it that are not closed.
    #[schema(value_type = Vec<u64>)]
    pub deals: Vec<DealId>,
    /// Where it stands.
    pub state: SectorState,
    /// First epoch that takes no proof, before it is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub prove_commit_by: Option<Epoch>,
    /// First epoch of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub activated_at: Option<Epoch>,
    /// Its deadline, below 48.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u32>,
    /// Its partition in that deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Whether its challenge is drawn by the next block and not answered: its health cannot be declared now.
    pub locked: bool,
    /// Deadlines missed in a row.
    pub missed: u32,
    /// Window PoSts accepted.
    pub posts_accepted: u64,
    /// First epoch that is neither proven nor faulted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub accounted_until: Option<Epoch>,
    /// Why it is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Sector {
    pub(crate) fn of(state: &State, provider: ProviderId, number: SectorNumber, sector: &cairn_ledger::Sector) -> Self {
        let mut view = Self {
            provider,
            number,
            seal_proof: sector.seal_proof,
            comm_r: sector.comm_r,
            comm_d: sector.comm_d,
            ticket_epoch: sector.ticket_epoch,
            ticket: sector.ticket,
            pre_committed_at: sector.pre_committed_at,
            seed_epoch: sector.seed_epoch,
            seed: state.seed(provider, number),
            expiration: sector.expiration,
            deposit: sector.deposit,
            deals: sector.deals.clone(),
            state: SectorState::PreCommitted,
            prove_commit_by: None,
            activated_at: None,
            deadline: None,
            partition: None,
            locked: false,
            missed: 0,
            posts_accepted: 0,
            accounted_until: None,
            closure: None,
        };
        match &sector.status {
            SectorStatus::PreCommitted { expires_at } => view.prove_commit_by = Some(*expires_at),
            SectorStatus::Proving(proving) => {
                (view.state, view.missed) = match proving.health {
                    Health::Active => (SectorState::Active, 0),
                    Health::Faulty { missed, .. } => (SectorState::Faulty, missed),
                    Health::Recovering { missed, .. } => (SectorState::Recovering, missed),
                };
                view.activated_at = Some(proving.activated_at);
                (view.deadline, view.partition) = (Some(proving.deadline), Some(proving.partition));
                view.locked = state.is_sector_locked(provider, proving);
                view.posts_accepted = proving.posts_accepted;
                view.accounted_until = Some(proving.history.accounted_until());
            }
            SectorStatus::Closed(closure) => {
                (view.state, view.closure) = (SectorState::Closed, Some(Closure::of(closure)));
            }
        }
        view
    }
}

/// Where a duty stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DutyState {
    /// Its challenge is not drawn.
    Upcoming,
    /// The next block may hold its proof.
    Open,
    /// The ledger has the proof.
    Proven,
}

/// A sector that a proof is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProvenSector {
    /// Its number.
    #[schema(value_type = u64)]
    pub number: SectorNumber,
    /// Commitment to the replica.
    #[schema(value_type = Hex32)]
    pub comm_r: CommR,
}

/// What a window PoSt must prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DutyStatement {
    /// Sector size, in bytes.
    #[schema(value_type = u64)]
    pub sector_size: SectorSize,
    /// The prover.
    #[schema(value_type = Hex32)]
    pub prover_id: ProverId,
    /// Challenge randomness.
    #[schema(value_type = Hex32)]
    pub randomness: PostRandomness,
    /// The sectors, ascending.
    pub sectors: Vec<ProvenSector>,
}

impl DutyStatement {
    fn of(statement: &cairn_ledger::WindowPostStatement) -> Self {
        let sector = |(number, comm_r): &(SectorNumber, CommR)| ProvenSector { number: *number, comm_r: *comm_r };
        Self {
            sector_size: statement.sector_size,
            prover_id: statement.prover_id,
            randomness: statement.randomness,
            sectors: statement.sectors.iter().map(sector).collect(),
        }
    }

    /// The same as the ledger writes it.
    pub fn to_statement(&self) -> cairn_ledger::WindowPostStatement {
        cairn_ledger::WindowPostStatement {
            sector_size: self.sector_size,
            prover_id: self.prover_id,
            randomness: self.randomness,
            sectors: self.sectors.iter().map(|sector| (sector.number, sector.comm_r)).collect(),
        }
    }
}

/// The next window PoSt of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostDuty {
    /// Which of the 48 deadlines.
    pub deadline: u32,
    /// Which partition in it.
    pub partition: u32,
    /// Epoch whose beacon is the challenge.
    #[schema(value_type = u64)]
    pub challenge_epoch: Epoch,
    /// First epoch whose block may hold the proof.
    #[schema(value_type = u64)]
    pub opens_at: Epoch,
    /// First epoch whose block may no longer.
    #[schema(value_type = u64)]
    pub closes_at: Epoch,
    /// Sectors that the proof covers; none if all are faulty.
    #[schema(value_type = Vec<u64>)]
    pub sectors: Vec<SectorNumber>,
    /// Where it stands.
    pub state: DutyState,
    /// What must be proven, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<DutyStatement>,
}

/// The duties of a provider that fall due first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostDuties {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// First to close first.
    pub duties: Vec<PostDuty>,
    /// Duties that close later and were left out.
    pub later: u64,
}

impl PostDuties {
    /// At most `most` duties.
    pub(crate) fn of(state: &State, provider: ProviderId, most: usize) -> Self {
        let next = Epoch(state.epoch().0.saturating_add(1));
        let all = state.post_duties(provider);
        let later = all.len().saturating_sub(most) as u64;
        let view = |duty: cairn_ledger::PostDuty| {
            let info = duty.deadline;
            let open = !duty.proven && info.is_open_at(next);
            let statement =
                open.then(|| state.window_post_statement(provider, info.deadline, duty.partition)).flatten();
            let state = match (duty.proven, &statement) {
                (true, _) => DutyState::Proven,
                (false, Some(_)) => DutyState::Open,
                (false, None) => DutyState::Upcoming,
            };
            PostDuty {
                deadline: info.deadline,
                partition: duty.partition,
                challenge_epoch: info.challenge_epoch,
                opens_at: info.opens_at,
                closes_at: info.closes_at,
                sectors: duty.sectors,
                state,
                statement: statement.as_ref().map(DutyStatement::of),
            }
        };
        Self { height: state.epoch(), duties: all.into_iter().take(most).map(view).collect(), later }
    }
}

/// Sealing randomness of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Its epoch.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The ticket.
    #[schema(value_type = Hex32)]
    pub ticket: cairn_protocol::Ticket,
    /// Whether a pre-commit in the next block may use it.
    pub usable: bool,
}
