//! The server against its own document: schemathesis makes requests out of it, right and wrong ones, and judges answers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use cairn_ledger::testing::Network as Story;
use cairn_ledger::{CheckCommand, Command, RailCommand, RailTarget};
use cairn_protocol::Amount;
use cairn_rpc::ServerOptions;

use crate::support::{Ledger, Served};

/// Requests for each operation and round of fuzzing.
const EXAMPLES: &str = "12";
/// Fuzzing goes on, round by round, until the run has taken this many seconds: some 2,000 requests on a quiet machine.
const SECONDS: &str = "25";
/// The same requests every time.
const SEED: &str = "20221";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tool, or a loud skip.
fn schemathesis() -> Option<PathBuf> {
    let tool = root().join(".venv-test/bin/schemathesis");
    if tool.exists() {
        return Some(tool);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: scripts/setup.sh test makes it", tool.display());
    // Not the macro, whose output a passing test swallows: CI counts this line.
    let _ = writeln!(std::io::stderr(), "check skipped: schemathesis is not there; scripts/setup.sh test installs it");
    None
}

/// No request gets a 5xx, every answer is one that the document announces, and what the document forbids is refused.
#[test]
fn answers_are_what_the_document_says() {
    let Some(tool) = schemathesis() else { return };
    let ledger = Ledger::new(1_000);
    let provider = ledger.provider(2);
    ledger.active_deal(2, provider);
    ledger.command(3, Command::Check(CheckCommand::Stake { amount: Amount(10_000_000) }));
    let payer = Story::address(1);
    ledger.command(1, Command::Rail(RailCommand::Deposit { account: payer, amount: Amount(1_000_000) }));
    let (payee, target) = (Story::address(3), RailTarget::Nothing);
    let (rate, lockup_fixed) = (Amount(1), Amount(0));
    ledger.command(1, Command::Rail(RailCommand::Open { payee, rate, lockup_period: 5, lockup_fixed, target }));
    // Nobody waits long for what never comes, and the audit is asked again and again.
    let options = ServerOptions { wait_max: Duration::from_millis(20), ..ServerOptions::default() };
    let served = Served::new(ledger, options);
    let folder = tempfile::tempdir().unwrap();
    let run = process::Command::new(&tool)
        .current_dir(folder.path())
        .arg("run")
        .arg(format!("http://{}/openapi.json", served.address))
        .args(["--seed", SEED, "--max-examples", EXAMPLES, "--max-time", SECONDS, "--request-timeout", "20"])
        .args(["--phases", "examples,coverage,fuzzing", "--no-shrink", "--continue-on-failure", "--workers", "1"])
        .args(["--warnings", "off", "--no-color", "--suppress-health-check", "all"])
        // What fits the schema may still be refused: no such order, no such transaction, terms that nobody can pay for.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // It never ends.
        .args(["--exclude-path", "/v1/events"])
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path().join("hypothesis"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(text.contains("openapi.json") || text.contains("API"), "{text}");
    let head = served.get("/v1/head");
    assert!(head.starts_with("HTTP/1.1 200 "), "the server is as it was: {head}");
}
