//! Random life on the market of proof jobs.

use cairn_protocol::{Amount, CommD, CommR, Epoch, ProviderId, SealProof, SectorNumber, SectorSize, Seed, Ticket};
use proptest::prelude::*;

use super::network::{HashVerifier, Network};
use crate::jobs::{JobCommand, JobId, JobStatus, JobTerms};
use crate::{Command, PorepStatement, ProofStatement, TransactionId};

/// What an account does about jobs. It becomes commands when it is known which jobs there are.
#[derive(Debug, Clone)]
pub enum JobAction {
    /// Post a job about this sector, at this cap, for a time that is often too short.
    Post(u64, Amount, u8),
    /// Bid on all open jobs, whether it may or not.
    Bid(Amount),
    /// Hand in a proof for every job that is assigned to the account: one that holds, or not.
    Submit(bool),
    /// Give up whatever is assigned to it.
    GiveUp,
    /// Cancel a job.
    Cancel(u64),
}

/// One of them.
pub fn arb_job_action() -> impl Strategy<Value = JobAction> {
    prop_oneof![
        2 => (0u64..3, 0u64..2_000, any::<u8>()).prop_map(|(n, cap, time)| JobAction::Post(n, Amount(cap), time)),
        3 => (0u64..2_000).prop_map(|price| JobAction::Bid(Amount(price))),
        3 => any::<bool>().prop_map(JobAction::Submit),
        1 => Just(JobAction::GiveUp),
        1 => (1u64..6).prop_map(JobAction::Cancel),
    ]
}

impl JobAction {
    /// The commands of account `n` that this means now.
    pub fn commands(&self, network: &Network, n: u8) -> Vec<Command> {
        let (state, who) = (&network.state, Network::address(n));
        let live = || state.live_jobs_from(JobId(0)).take(4);
        let mine =
            || live().filter(|(_, job)| matches!(job.status, JobStatus::Assigned { worker, .. } if worker == who));
        let commands: Vec<JobCommand> = match self {
            Self::Post(number, cap, time) => vec![JobCommand::Post(Box::new(terms(network, *number, *cap, *time)))],
            Self::Bid(price) => {
                let open = live().filter(|(_, job)| matches!(job.status, JobStatus::Open { .. }));
                open.map(|(job, _)| JobCommand::Bid { job, price_per_million: *price }).collect()
            }
            Self::Submit(holds) => mine()
                .map(|(job, record)| {
                    let ProofStatement::Porep(statement) = &record.terms.statement else { unreachable!("see terms") };
                    let mut proof = HashVerifier::proof_of(statement);
                    proof[0] ^= u8::from(!holds);
                    JobCommand::Submit { job, proof }
                })
                .collect(),
            Self::GiveUp => mine().map(|(job, _)| JobCommand::GiveUp { job }).collect(),
            Self::Cancel(job) => vec![JobCommand::Cancel { job: JobId(*job) }],
        };
        commands.into_iter().map(Command::Job).collect()
    }
}

fn terms(network: &Network, number: u64, price_per_million_max: Amount, time: u8) -> JobTerms {
    let statement = PorepStatement {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        prover_id: ProviderId(1_000).prover_id(),
        sector_number: SectorNumber(number),
        ticket: Ticket([1; 32]),
        seed: Seed([2; 32]),
        comm_d: CommD([3; 32]),
        comm_r: CommR([4; 32]),
    };
    JobTerms {
        statement: ProofStatement::Porep(statement),
        witness: TransactionId([number as u8; 32]).cid(),
        witness_bytes: 1_000,
        source_url: "http://poster.test/".to_owned(),
        price_per_million_max,
        prove_epochs: u64::from(time % 16),
        deadline: Epoch(network.state.epoch().0 + u64::from(time)),
        tier_min: 0,
    }
}
