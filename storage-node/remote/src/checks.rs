//! [`CheckerLedger`] over HTTP. What it answers equals what [`CheckerView`] reads out of a state.

use cairn_checker::{AssignedCheck, CheckerLedger, CheckerView, Exhibit, Handed, LedgerFailure};
use cairn_ledger::scores::ballot::RoundCalendar;
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::QualityTarget;
use cairn_ledger::{CheckCommand, Command};
use cairn_rpc::wire::{AuditState, BallotState};
use cairn_sealing::LedgerClientError;

use crate::{RemoteLedger, unavailable};

/// A checker's seat at a remote ledger.
#[derive(Clone)]
pub struct CheckSeat {
    ledger: RemoteLedger,
    rounds: RoundCalendar,
    quality: QualityTarget,
}

impl CheckSeat {
    /// Acts with the key that `ledger` holds. Reads the network's numbers, which never change.
    ///
    /// # Errors
    /// [`LedgerClientError::Unavailable`] if they cannot be read.
    pub fn new(ledger: RemoteLedger) -> Result<Self, LedgerClientError> {
        let economy = ledger.params()?.economy;
        Ok(Self { ledger, rounds: economy.rounds, quality: economy.quality })
    }
}

fn failure(error: LedgerClientError) -> LedgerFailure {
    LedgerFailure { reason: error.to_string() }
}

fn asked(error: cairn_rpc::ClientError) -> LedgerFailure {
    failure(unavailable(error))
}

impl CheckSeat {
    /// Whether tasks of `round` that were read before are as they were drawn when it began: nothing came or went since.
    fn is_as_drawn(&self, round: u64) -> Result<bool, LedgerFailure> {
        let changed = self.ledger.client.round().map_err(asked)?.catalogue_changed;
        Ok(self.rounds.first_epoch(round).is_some_and(|first| changed <= first))
    }
}

impl CheckerLedger for CheckSeat {
    fn view(&self) -> Result<CheckerView, LedgerFailure> {
        let checker = self.ledger.client.checker(&self.ledger.address()).map_err(asked)?;
        let epoch = match &checker {
            Some(checker) => checker.height,
            None => self.ledger.client.head().map_err(asked)?.height,
        };
        let handed = |state| match state {
            BallotState::None => None,
            BallotState::Committed => Some(Handed::Committed),
            BallotState::Revealed => Some(Handed::Revealed),
        };
        let ballot = checker.as_ref().and_then(|checker| checker.ballot.as_ref());
        let audit = checker.as_ref().and_then(|checker| checker.audit.as_ref());
        let waiting = audit.filter(|audit| audit.state == AuditState::Waiting);
        Ok(CheckerView {
            chain: self.ledger.chain,
            epoch,
            rounds: self.rounds,
            quality: self.quality.clone(),
            is_checker: checker.as_ref().is_some_and(|checker| !checker.stake.is_zero()),
            ballot: ballot.and_then(|ballot| handed(ballot.state).map(|handed| (ballot.round, handed))),
            audit: waiting.map(|audit| (audit.round, audit.provider)),
        })
    }

    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure> {
        let own = self.ledger.address();
        let tasks = self.ledger.client.check_tasks(&own).map(|task| {
            let task = task.map_err(asked)?;
            Ok(AssignedCheck { task: task.to_task(own), endpoint: task.endpoint })
        });
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = tasks.first() else { return Ok(tasks) };
        // After reading them, since they come in pages.
        Ok(if self.is_as_drawn(first.task.round)? { tasks } else { Vec::new() })
    }

    fn tasks_of_all(&self) -> Result<Vec<CheckTask>, LedgerFailure> {
        let mut tasks = Vec::new();
        for checker in self.ledger.client.checkers() {
            let checker = checker.map_err(asked)?.address;
            for task in self.ledger.client.check_tasks(&checker) {
                tasks.push(task.map_err(asked)?.to_task(checker));
            }
        }
        let Some(first) = tasks.first() else { return Ok(tasks) };
        Ok(if self.is_as_drawn(first.round)? { tasks } else { Vec::new() })
    }

    fn exhibits(&self, round: u64) -> Result<Vec<Exhibit>, LedgerFailure> {
        let (own, mut exhibits) = (self.ledger.address(), Vec::new());
        for audit in self.ledger.client.audits(round) {
            let audit = audit.map_err(asked)?;
            let others = audit.checker != own && audit.state == AuditState::Opened;
            if let Some(receipt) = audit.to_receipt().filter(|_| others) {
                let said = audit.refutations.iter().any(|refutation| refutation.by == own);
                exhibits.push(Exhibit { receipt, endpoint: audit.endpoint, said });
            }
        }
        Ok(exhibits)
    }

    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure> {
        self.ledger.send("vote of a checker", &Command::Check(command)).map(drop).map_err(failure)
    }
}
