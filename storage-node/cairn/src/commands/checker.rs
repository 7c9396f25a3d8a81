//! `cairn checker`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use cairn_checker::{
    AssignedCheck, Checker, CheckerLedger, CheckerOptions, CheckerView, Exhibit, Handed, Journal, LedgerFailure,
    MeasureOptions,
};
use cairn_ledger::scores::ballot::Phase;
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::{CheckCommand, Command};
use cairn_remote::{CheckSeat, RemoteLedger};
use cairn_rpc::{ClientOptions, RpcClient};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::ledger::session::Session;
use crate::cli::{CheckerCommand, CheckerRunArguments};
use crate::devnet::console::Console;
use crate::devnet::{ended_by_signal, say_check};
use crate::key_file::KeyFile;

/// How often the ledger is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Runs the command.
pub fn run(command: CheckerCommand) -> anyhow::Result<()> {
    match command {
        CheckerCommand::Stake(stake) => {
            let what = format!("{} units staked", stake.amount);
            let command = Command::Check(CheckCommand::Stake { amount: stake.amount });
            Session::open(&stake.ledger)?.act_and_tell(&stake.signer, command, &what)
        }
        CheckerCommand::Unstake(stake) => {
            let what = format!("{} units of stake are leaving", stake.amount);
            let command = Command::Check(CheckCommand::Unstake { amount: stake.amount });
            Session::open(&stake.ledger)?.act_and_tell(&stake.signer, command, &what)
        }
        CheckerCommand::Run(arguments) => work(arguments),
    }
}

/// A seat that says what happens at it, and counts the rounds that it has answered for.
struct ToldSeat {
    seat: CheckSeat,
    console: Arc<Console>,
    /// The last of them.
    answered: Mutex<Option<u64>>,
    /// How many were since the start.
    count: AtomicU64,
    /// How many are enough.
    wanted: Option<u64>,
    /// Told when they are.
    done: Arc<Notify>,
}

impl CheckerLedger for ToldSeat {
    fn view(&self) -> Result<CheckerView, LedgerFailure> {
        let view = self.seat.view()?;
        let Some(round) = answered(&view) else { return Ok(view) };
        let mut last = self.answered.lock().expect("no panic under this lock");
        if *last != Some(round) {
            *last = Some(round);
            self.console.line(format!("round {round} is answered for"));
            if Some(self.count.fetch_add(1, Ordering::SeqCst) + 1) == self.wanted {
                self.done.notify_one();
            }
        }
        Ok(view)
    }

    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure> {
        let tasks = self.seat.tasks()?;
        if let Some(first) = tasks.first() {
            self.console.line(format!("round {}: {} ranges to fetch", first.task.round, tasks.len()));
        }
        Ok(tasks)
    }

    fn tasks_of_all(&self) -> Result<Vec<CheckTask>, LedgerFailure> {
        self.seat.tasks_of_all()
    }

    fn exhibits(&self, round: u64) -> Result<Vec<Exhibit>, LedgerFailure> {
        self.seat.exhibits(round)
    }

    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure> {
        if let Some(line) = say_check(&command) {
            self.console.line(line);
        }
        self.seat.submit(command)
    }
}

/// The round that the ledger has opinions of, shown, and whose receipts it has too as far as it asked for them.
fn answered(view: &CheckerView) -> Option<u64> {
    let is_drawn = matches!(view.rounds.phase_at(view.epoch), Phase::Open | Phase::Quiet);
    let (round, handed) = view.ballot.filter(|_| is_drawn && view.audit.is_none())?;
    (handed == Handed::Revealed).then_some(round)
}

fn work(arguments: CheckerRunArguments) -> anyhow::Result<()> {
    ensure!(arguments.parallel > 0, "--parallel: expected at least 1, got 0");
    let console = Arc::new(Console::new());
    let client = RpcClient::new(&arguments.rpc, ClientOptions::default()).context("--rpc")?;
    let network = client.network()?;
    let key = KeyFile::read(&arguments.key)?;
    key.check_for(network.grade)?;
    let address = key.address();
    let seat = CheckSeat::new(RemoteLedger::connect(client, &network.chain, key.key.clone())?)?;
    let first = seat.view()?;
    ensure!(first.is_checker, "{address} has no stake: cairn checker stake --key {}", arguments.key.display());
    let journal = Journal::open(&arguments.dir)?;
    let measure = MeasureOptions { parallel: arguments.parallel, ..MeasureOptions::default() };
    let checker = Checker::new(key.key, journal, CheckerOptions { measure });
    console.line(format!("checking for {address} from {}; Ctrl-C stops", arguments.rpc));

    let done = Arc::new(Notify::new());
    let seat = Arc::new(ToldSeat {
        seat,
        console,
        answered: Mutex::new(answered(&first)),
        count: AtomicU64::new(0),
        wanted: arguments.rounds,
        done: done.clone(),
    });
    let stopping = async move {
        tokio::select! {
            signal = ended_by_signal() => if let Err(error) = signal {
                tracing::error!(%error, "cannot listen for signals");
            },
            () = done.notified() => {}
        }
    };
    let runtime = Runtime::new().context("cannot start threads")?;
    let ended = runtime.block_on(checker.run(seat, POLL, stopping)).context("the checker");
    // A range that is being fetched is of no more use.
    runtime.shutdown_background();
    ended
}
