//! The proofs of a block, checked together before the first transaction has its turn.
//!
//! 1. Every prove-commit, window PoSt, sector update and proof of a job that could be taken now gives a *claim*: the
//!    statement that its proof must show as the state stands before the transactions, and the proof. Of several about the
//!    same sector, partition or job, the first alone: if it holds, nobody looks at the others.
//! 2. One call of the verifier gives a verdict for each claim.
//! 3. At its own turn a transaction has its own statement. It is the one that was judged, unless a transaction before it
//!    in the block changed what it speaks of; then, and when nothing was judged, the proof is checked alone.
//!
//! So a verdict is only ever used for the statement and the proof it was given for, and a block does what it would do
//! with every proof checked at its turn.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{ProviderId, SectorNumber};

use super::Step;
use crate::command::Command;
use crate::jobs::{JobCommand, JobId};
use crate::proof::{ProofClaim, ProofRejection, ProofStatement};
use crate::rejection::Rejection;
use crate::sector_rules::SectorCommand;
use crate::state::PartitionKey;
use crate::transaction::SignedTransaction;

/// Verdicts by position of the transaction.
#[derive(Debug, Default)]
pub(super) struct Verdicts(BTreeMap<usize, Verdict>);

#[derive(Debug)]
struct Verdict {
    statement: ProofStatement,
    answer: Result<(), ProofRejection>,
}

/// What a claim is about; no two claims of a block are about the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Sector(ProviderId, SectorNumber),
    Partition(PartitionKey),
    Job(JobId),
}

impl Step<'_> {
    /// Steps 1 and 2 of the module. `valid` says which transactions carry a valid signature.
    pub(super) fn judge(&mut self, transactions: &[SignedTransaction], valid: &[bool]) {
        let mut subjects = BTreeSet::new();
        let (mut positions, mut claims) = (Vec::new(), Vec::new());
        for (position, signed) in transactions.iter().enumerate().filter(|(position, _)| valid[*position]) {
            if let Some((subject, claim)) = self.claim_of(signed)
                && subjects.insert(subject)
            {
                positions.push(position);
                claims.push(claim);
            }
        }
        if claims.is_empty() {
            return;
        }
        let answers = self.verifier.verify_batch(&claims);
        assert_eq!(answers.len(), claims.len(), "a verifier answers every claim");
        let verdicts = claims.into_iter().zip(answers);
        let verdicts = verdicts.map(|(claim, answer)| Verdict { statement: claim.statement, answer });
        self.verdicts = Verdicts(positions.into_iter().zip(verdicts).collect());
    }

    /// What a transaction claims, if it would be taken now were its proof right.
    fn claim_of<'t>(&mut self, signed: &'t SignedTransaction) -> Option<(Subject, ProofClaim<'t>)> {
        self.state.check_sender(signed, signed.transaction.nonce).ok()?;
        self.sender = signed.transaction.sender;
        match &signed.transaction.command {
            Command::ProveCommit { provider, sector, proof, .. } => {
                self.sector_to_prove(*provider, *sector).ok()?;
                let statement = ProofStatement::Porep(self.state.porep_statement(*provider, *sector)?);
                Some((Subject::Sector(*provider, *sector), ProofClaim { statement, proof }))
            }
            Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped } => {
                self.owned_provider(*provider).ok()?;
                let key = (*provider, *deadline, *partition);
                let statement = ProofStatement::WindowPost(self.post_to_prove(key, *challenge_epoch, skipped).ok()?);
                Some((Subject::Partition(key), ProofClaim { statement, proof }))
            }
            Command::Sector(SectorCommand::Update(update)) => {
                let (statement, _) = self.update_to_prove(update).ok()?;
                let claim = ProofClaim { statement: ProofStatement::SectorUpdate(statement), proof: &update.proof };
                Some((Subject::Sector(update.provider, update.sector), claim))
            }
            Command::Job(JobCommand::Submit { job, proof }) => {
                Some((Subject::Job(*job), ProofClaim { statement: self.job_to_prove(*job)?, proof }))
            }
            _ => None,
        }
    }

    /// Step 3: checks the proof of the transaction whose turn it is.
    pub(super) fn verify(&self, statement: ProofStatement, proof: &[u8]) -> Result<(), Rejection> {
        self.verdict(statement, proof).map_err(Rejection::from)
    }

    /// The same for a proof whose refusal is no reason to undo the transaction.
    pub(super) fn verdict(&self, statement: ProofStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        match self.verdicts.0.get(&self.index) {
            Some(verdict) if verdict.statement == statement => verdict.answer.clone(),
            _ => self.verifier.verify(&ProofClaim { statement, proof }),
        }
    }
}
