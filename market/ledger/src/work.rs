//! How much a transaction makes a block do beyond its bytes, before anything is done.
//!
//! Two things in a transaction of a few hundred bytes are expensive: a proof, whose verification takes pairings, and a
//! reference to many sectors, each of which is looked up, changed and hashed again. Both are counted in sectors:
//!
//! ```text
//! weight = PROOF_WEIGHT x Groth16 proofs to verify + sectors that are proven, declared, prolonged, ended, or in a proof job
//! ```
//!
//! A block holds at most [`crate::LedgerParams::block_weight_max`] of it, by the state before the block. A proposer leaves
//! out what does not fit, with all that its sender sent after it, and the others' transactions pass; a block that holds
//! more is refused.
//!
//! # Why nobody misses a deadline for it
//! 1. Weight is no gift. Only who owns a sector, a partition or a job can make a block look at a proof about it; everybody
//!    else's weighs nothing, because it is refused unseen. A window PoSt weighs what its partition holds. Who wants to fill
//!    blocks with wrong proofs must have that much at stake, and pays a fee for each.
//! 2. Proposers take turns among senders, not among transactions (the pool of `cairn-consensus`): who sends much waits behind
//!    who sends little, so a proof is delayed by what other senders may have in a block, however much they sent.
//! 3. Deadlines spread: a provider's deadlines begin at an offset of its own, and a proof is taken for as long as
//!    [`crate::LedgerParams::post_window`] epochs, not in one block. What a network can prove in a period is
//!    `block_weight_max x 48 x epochs_per_deadline`; on a real one 864 million, that is 820 million sectors in full partitions.

use cairn_protocol::{ProviderId, SealProof, SectorParams, SectorSize};

use crate::command::{Command, DECLARED_SECTORS_MAX};
use crate::economy::CheckCommand;
use crate::ids::Address;
use crate::jobs::{JobCommand, JobId, circuit_of};
use crate::proof::ProofStatement;
use crate::sector::SectorStatus;
use crate::sector_rules::SectorCommand;
use crate::state::State;
use crate::transaction::SignedTransaction;

/// What one Groth16 proof weighs: it takes half a millisecond in a batch, a sector four microseconds.
pub const PROOF_WEIGHT: u64 = 128;

/// What a signed receipt weighs: a signature. So does evidence of wrong bytes, with some hashes.
const RECEIPT_WEIGHT: u64 = 16;

/// Proofs in an update of the largest sectors.
const UPDATE_PROOFS_MAX: u64 = 16;

/// The heaviest transaction: a prove-commit without interaction, of 126 partitions. A full declaration of faults and a
/// window PoSt of 2,349 sectors are lighter.
pub const HEAVIEST: u64 = 126 * PROOF_WEIGHT;

const _: () = assert!(HEAVIEST >= DECLARED_SECTORS_MAX as u64 && HEAVIEST >= PROOF_WEIGHT + 2_349);

impl State {
    /// What a transaction weighs in the next block; nothing, if it can verify nothing and touch no sector: what is only for
    /// an owner or a worker to do is refused to everybody else before anything of it is looked at.
    pub fn weight_of(&self, signed: &SignedTransaction) -> u64 {
        let (sender, command) = (signed.transaction.sender, &signed.transaction.command);
        let owns = |provider: &ProviderId| self.provider(*provider).is_some_and(|record| record.owner == sender);
        match command {
            Command::ProveCommit { provider, sector, .. } if owns(provider) => {
                let size = self.provider(*provider).map(|record| record.sector_size);
                let sector = self.sector(*provider, *sector);
                let waiting = sector.filter(|sector| matches!(sector.status, SectorStatus::PreCommitted { .. }));
                size.zip(waiting).map_or(0, |(size, sector)| porep_weight(size, sector.seal_proof))
            }
            Command::SubmitWindowPost { provider, deadline, partition, .. } if owns(provider) => {
                let members = self.partitions.get(&(*provider, *deadline, *partition));
                members.map_or(0, |members| PROOF_WEIGHT + members.sectors.len() as u64)
            }
            Command::DeclareFaults { provider, sectors } | Command::DeclareRecovery { provider, sectors }
                if owns(provider) =>
            {
                sectors.len() as u64
            }
            Command::Sector(
                SectorCommand::Terminate { provider, sectors } | SectorCommand::Extend { provider, sectors, .. },
            ) if owns(provider) => sectors.len() as u64,
            Command::Sector(SectorCommand::Update(update)) if owns(&update.provider) => {
                UPDATE_PROOFS_MAX * PROOF_WEIGHT
            }
            Command::Check(CheckCommand::Open { receipts }) => receipts.len() as u64 * RECEIPT_WEIGHT,
            Command::Job(command) => self.weight_of_job(command, sender),
            Command::ReportWrongBytes(_) => RECEIPT_WEIGHT,
            _ => 0,
        }
    }

    /// Whether a transaction carries a proof that its sender owes: of a sector that is pre-committed, a partition that holds
    /// something, a job that it was given. Nobody has many of those without money at stake for each.
    pub fn carries_owed_proof(&self, signed: &SignedTransaction) -> bool {
        let proves = match &signed.transaction.command {
            Command::ProveCommit { .. } | Command::SubmitWindowPost { .. } => true,
            Command::Job(JobCommand::Submit { job, .. }) => {
                let worker = self.job(*job).and_then(|job| job.worker());
                worker == Some(signed.transaction.sender)
            }
            _ => false,
        };
        proves && self.weight_of(signed) > 0
    }

    /// A job's record is written with all the sectors that its statement lists.
    fn weight_of_job(&self, command: &JobCommand, sender: Address) -> u64 {
        let live = |job: &JobId| self.job(*job).filter(|job| job.is_live()).map(|job| &job.terms.statement);
        match command {
            JobCommand::Post(terms) => terms.statement.listed_sectors().min(HEAVIEST),
            JobCommand::PostSectors(job) => (job.sectors.len() as u64).min(HEAVIEST),
            JobCommand::Bid { job, .. } | JobCommand::Cancel { job } | JobCommand::GiveUp { job } => {
                live(job).map_or(0, ProofStatement::listed_sectors)
            }
            // A bidder may be given the job by the very block that has its proof.
            JobCommand::Submit { job, .. } if self.job_may_be_of(*job, sender) => live(job).map_or(0, |statement| {
                let proofs = circuit_of(statement).map_or(0, |(_, _, proofs)| proofs);
                proofs * PROOF_WEIGHT + statement.listed_sectors()
            }),
            JobCommand::Submit { .. } => 0,
        }
    }

    fn job_may_be_of(&self, job: JobId, sender: Address) -> bool {
        match self.job(job).and_then(|record| record.worker()) {
            Some(worker) => worker == sender,
            None => self.job_bid(job, sender).is_some(),
        }
    }
}

fn porep_weight(size: SectorSize, seal_proof: SealProof) -> u64 {
    SectorParams::new(size, seal_proof).partitions as u64 * PROOF_WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proof_is_heavier_than_the_heaviest() {
        let proofs = [SealProof::V1, SealProof::V1_1, SealProof::Synthetic, SealProof::NonInteractive];
        let weights = proofs.map(|proof| porep_weight(SectorSize::GIB64, proof));
        assert_eq!(weights.into_iter().max(), Some(HEAVIEST), "{weights:?}");
    }
}
