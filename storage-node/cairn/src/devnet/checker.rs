//! A checker beside the network: it stakes, fetches what the beacon assigns from the provider's gateway, and votes.
//!
//! Its account follows from the client's key, and the client gives it its first money.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cairn_checker::{
    AssignedCheck, Checker, CheckerLedger, CheckerOptions, CheckerView, Exhibit, Journal, LedgerFailure,
};
use cairn_consensus::LedgerHandle;
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::{CheckCommand, Command, Event, ScoreEvent, address_of};
use cairn_protocol::{Amount, Epoch, ProviderId};
use ed25519_consensus::SigningKey;
use sha2::{Digest, Sha256};

use super::client::send;
use super::console::Console;
use super::home::Home;

/// How often the checker looks for a block.
const POLL: Duration = Duration::from_millis(50);
/// Money for fees, as a part of the stake.
const FEES: u64 = 10;

/// The ledger of this process, for one key.
struct OwnLedger {
    ledger: LedgerHandle,
    key: SigningKey,
    console: Arc<Console>,
}

impl CheckerLedger for OwnLedger {
    fn view(&self) -> Result<CheckerView, LedgerFailure> {
        Ok(CheckerView::of(&self.ledger.state(), address_of(&self.key)))
    }

    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure> {
        Ok(AssignedCheck::all_of(&self.ledger.state(), address_of(&self.key)))
    }

    fn tasks_of_all(&self) -> Result<Vec<CheckTask>, LedgerFailure> {
        Ok(AssignedCheck::of_all(&self.ledger.state()))
    }

    fn exhibits(&self, round: u64) -> Result<Vec<Exhibit>, LedgerFailure> {
        Ok(Exhibit::all_of(&self.ledger.state(), round, address_of(&self.key)))
    }

    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure> {
        if let Some(line) = say(&command) {
            self.console.line(format!("checker: {line}"));
        }
        let submitted = self.ledger.submit_command(&self.key, Command::Check(command));
        submitted.map(drop).map_err(|rejection| LedgerFailure { reason: rejection.to_string() })
    }
}

/// What a checker hands in, in words; nothing for what only it understands.
pub fn say(command: &CheckCommand) -> Option<String> {
    match command {
        CheckCommand::Reveal { opinions, .. } => {
            let says =
                |(provider, level): &(ProviderId, u16)| format!("{provider} {:.2}", f64::from(*level) / 65_535.0);
            let said: Vec<String> = opinions.levels.iter().map(says).collect();
            Some(format!("round {}: {}", opinions.round, said.join(", ")))
        }
        CheckCommand::Open { receipts } => {
            let task = &receipts.first()?.signed.receipt.task;
            Some(format!("round {}: {} receipts about {} opened", task.round, receipts.len(), task.provider))
        }
        CheckCommand::Refute { round, checker, .. } => {
            Some(format!("round {round}: a receipt of {checker} is made up"))
        }
        _ => None,
    }
}

fn key(home: &Home) -> SigningKey {
    let secret = Sha256::new().chain_update(b"cairn/devnet/checker/v1").chain_update(home.client_key().as_bytes());
    let secret: [u8; 32] = secret.finalize().into();
    SigningKey::from(secret)
}

/// Stakes unless that was done, and returns the work, which ends when `stopped` does. Waits for blocks.
///
/// # Errors
/// A journal that cannot be opened, or the ledger's reason.
pub fn start(
    home: &Home,
    ledger: LedgerHandle,
    console: Arc<Console>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let key = key(home);
    let address = address_of(&key);
    let state = ledger.state();
    if state.checker(&address).is_none() {
        let stake = state.params().economy.checkers.stake_min;
        let amount = Amount(stake.0 + stake.0 / FEES);
        send(&ledger, &home.client_key(), Command::Transfer { to: address, amount }).context("funding the checker")?;
        let events = send(&ledger, &key, Command::Check(CheckCommand::Stake { amount: stake }))?;
        let staked = events.iter().any(|event| matches!(event, Event::Score(ScoreEvent::StakeChanged { .. })));
        anyhow::ensure!(staked, "the ledger took the stake but does not say so");
    }
    let economy = &state.params().economy;
    let Epoch(now) = state.epoch();
    console.line(format!(
        "checker: {address}, rounds of {} epochs, next at epoch {}",
        economy.rounds.round_epochs,
        (now / economy.rounds.round_epochs + 1) * economy.rounds.round_epochs
    ));
    let checker = Checker::new(key.clone(), Journal::open(&home.checker_dir())?, CheckerOptions::default());
    let own = Arc::new(OwnLedger { ledger, key, console });
    Ok(async move { checker.run(own, POLL, stopped).await.context("the checker") })
}
