//! [`CheckerLedger`] over HTTP. What it answers equals what [`CheckerView`] reads out of a state.

use cairn_checker::{AssignedCheck, CheckerLedger, CheckerView, Handed, LedgerFailure};
use cairn_ledger::scores::ballot::RoundCalendar;
use cairn_ledger::scores::quality::QualityTarget;
use cairn_ledger::{CheckCommand, Command};
use cairn_rpc::wire::BallotState;
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

impl CheckerLedger for CheckSeat {
    fn view(&self) -> Result<CheckerView, LedgerFailure> {
        let asked = |error| failure(unavailable(error));
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
        Ok(CheckerView {
            chain: self.ledger.chain,
            epoch,
            rounds: self.rounds,
            quality: self.quality.clone(),
            is_checker: checker.as_ref().is_some_and(|checker| !checker.stake.is_zero()),
            ballot: ballot.and_then(|ballot| handed(ballot.state).map(|handed| (ballot.round, handed))),
        })
    }

    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure> {
        let own = self.ledger.address();
        let tasks = self.ledger.client.check_tasks(&own).map(|task| {
            let task = task.map_err(|error| failure(unavailable(error)))?;
            Ok(AssignedCheck { task: task.to_task(own), endpoint: task.endpoint })
        });
        tasks.collect()
    }

    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure> {
        self.ledger.send("vote of a checker", &Command::Check(command)).map(drop).map_err(failure)
    }
}
