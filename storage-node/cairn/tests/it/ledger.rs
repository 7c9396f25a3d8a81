//! The commands that ask a ledger, through the binary: a ledger of one validator whose proofs are hashes, its server, and
//! a provider that seals at once.

#[path = "../../../../market/rpc/tests/it/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the interface itself")]
mod served;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use cairn_access::ChannelTerms;
use cairn_access::x402::Price;
use cairn_consensus::Genesis;
use cairn_fixtures::labelled_data;
use cairn_ledger::payments::{ChannelId, Voucher};
use cairn_ledger::scores::ballot::Ballot;
use cairn_ledger::testing::Network as Story;
use cairn_ledger::{Command, DealStatus, SectorStatus, State};
use cairn_protocol::{Amount, Epoch, ProviderId};
use cairn_rpc::ServerOptions;
use cairn_rpc::wire::NetworkGrade;
use serde_json::Value;
use tempfile::TempDir;

use self::served::{Ledger, PATIENCE, Served};
use crate::gateway::Running;
use crate::support::{Ran, cairn, text};

/// A served ledger, and a folder with the keys of accounts 1 (`client`) and 2 (`provider`).
pub(crate) struct Place {
    pub(crate) served: Served,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(grade: NetworkGrade) -> Self {
        Self::of(Ledger::new(100_000), grade)
    }

    fn of(ledger: Ledger, grade: NetworkGrade) -> Self {
        let served = Served::new(ledger, ServerOptions { grade, ..ServerOptions::default() });
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(r#"{{"client_key":"{}","provider_key":"{}"}}"#, "01".repeat(32), "02".repeat(32));
        fs::write(folder.path().join("devnet.json"), settings).unwrap();
        let place = Self { served, folder };
        for role in ["client", "provider"] {
            let (dir, out) = (text(place.folder.path()), place.path(role));
            cairn(["wallet", "import", "--json", "--devnet", &dir, "--role", role, "--out", &text(&out)]).json();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command that asks this ledger.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Ran {
        let url = format!("http://{}", self.served.address);
        cairn(arguments.iter().copied().chain(["--rpc", url.as_str()]))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.ask(&[arguments, &["--json"]].concat()).json()
    }

    /// Makes blocks while `story` is told.
    pub(crate) fn ticking<T>(&self, story: impl FnOnce() -> T) -> T {
        self.living(|_| {}, story)
    }

    /// Makes blocks, and lets `between` act before each, while `story` is told.
    fn living<T>(&self, mut between: impl FnMut(&Ledger) + Send, story: impl FnOnce() -> T) -> T {
        let told = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !told.load(Ordering::SeqCst) {
                    between(&self.served.ledger);
                    self.served.ledger.block();
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            // Also when the story ends badly, or its reader would wait for the blocks for ever.
            let end = EndOfStory(&told);
            let told = story();
            drop(end);
            told
        })
    }
}

struct EndOfStory<'a>(&'a AtomicBool);

impl Drop for EndOfStory<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What a provider of account 2 does before a block: bids, seals and proves whatever it can.
fn provide(ledger: &Ledger, provider: ProviderId) {
    let handle = ledger.handle();
    let state = handle.state();
    let story = Story { state: State::clone(&state), events: vec![] };
    let send = |command| drop(handle.submit_command(&Story::key(2), command));
    for (order, open) in state.open_orders() {
        if state.bid(order, provider).is_none() {
            send(Command::PlaceBid { provider, order, price_per_epoch: open.terms.price_per_epoch_max });
        }
    }
    let assigned = state.deals_of(provider).filter(|(_, deal)| matches!(deal.status, DealStatus::Assigned { .. }));
    let assigned: Vec<_> = assigned.map(|(id, _)| id).collect();
    let number = state.sectors_of(provider).count() as u64 + 1;
    if !assigned.is_empty() {
        send(Command::PreCommit(story.pre_commit(provider, number, &assigned)));
    }
    for (number, sector) in state.sectors_of(provider) {
        let waits = matches!(sector.status, SectorStatus::PreCommitted { .. });
        if waits && state.porep_statement(provider, number).is_some() {
            send(story.prove_commit(provider, number.0, &sector.deals));
        }
    }
}

fn micro(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("an amount, got {value}"))
}

#[test]
fn a_client_stores_a_folder_and_looks_on() {
    let place = Place::new(NetworkGrade::Development);
    let provider = place.served.ledger.provider(2);
    let (key, data, store) = (text(&place.path("client")), place.path("photos"), text(&place.path("store")));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a.bin"), labelled_data("a", 50_000)).unwrap();
    let data = text(&data);
    let terms = ["--duration", "20000", "--price-max", "0.00005", "--key", &key];

    let quote = place.json(&[&["order", "quote", &data][..], &terms].concat());
    assert_eq!(micro(&quote["quote"]["deposit"]), 20_000 * 50);
    assert_eq!((quote["pieces"].as_u64(), micro(&quote["quote"]["missing"])), (Some(1), 0));
    let before = micro(&place.json(&["wallet", "balance", "--key", &key])["balance"]);

    let order = [&["order", "place", &data, "--store", &store][..], &terms].concat();
    let report = place.living(|ledger| provide(ledger, provider), || place.json(&order));
    assert_eq!((report["order"].as_u64(), report["taken_up"].as_bool()), (Some(1), Some(false)));
    assert_eq!((&report["deals"][0]["state"], &report["root"]), (&"active".into(), &quote["root"]));
    let after = micro(&place.json(&["wallet", "balance", "--key", &key])["balance"]);
    assert_eq!(before - after, micro(&quote["quote"]["total"]), "the quote was exact");

    // The same again is no second order, although providers have all they need.
    let again = place.json(&order);
    assert_eq!((again["order"].as_u64(), again["taken_up"].as_bool()), (Some(1), Some(true)));
    assert_eq!(place.json(&["order", "list"]).as_array().unwrap().len(), 1);

    let shown = place.json(&["order", "show", "order-1"]);
    // The bid's deposit is back, since all its deals are active.
    assert_eq!((&shown["bids"][0]["closure"]["code"], shown["deals"].as_array().unwrap().len()), (&203.into(), 1));
    let text = place.ask(&["order", "show", "1"]).stdout;
    assert!(text.contains("matched") && text.contains("0.000050 units an epoch and copy"), "{text}");
    let deals = place.ask(&["deal", "list", "--provider", "1000", "--state", "active"]).stdout;
    assert!(deals.lines().count() == 2 && deals.contains("deal-1"), "{deals}");
    let deal = place.ask(&["deal", "show", "1"]).stdout;
    assert!(deal.contains("active") && deal.contains("runs"), "{deal}");
    let provider = place.ask(&["provider", "show", "1000"]).stdout;
    assert!(provider.contains("partition") && provider.contains("8MiB"), "{provider}");
    let settle = place.ticking(|| place.ask(&["deal", "settle", "1", "--key", &key]).failure().to_owned());
    assert!(settle.contains("no later epoch is accounted yet"), "{settle}");
}

#[test]
fn money_moves_and_a_transaction_can_be_signed_elsewhere() {
    let place = Place::new(NetworkGrade::Development);
    let own = place.path("own");
    let made = cairn(["wallet", "new", "--out", &text(&own), "--json"]).json();
    let address = made["address"].as_str().unwrap().to_owned();
    assert_eq!(cairn(["wallet", "show", &text(&own), "--json"]).json(), made);
    let key = text(&place.path("client"));

    let send = ["wallet", "send", "--to", &address, "--amount", "2.5", "--key", &key];
    let sent = place.ticking(|| place.json(&send));
    assert_eq!(sent["receipt"]["outcome"], "applied");
    assert_eq!(place.json(&["wallet", "balance", &address])["balance"], 2_500_000);

    let refused = ["wallet", "send", "--to", &address, "--amount", "9999999999", "--key", &text(&own)];
    let line = place.ticking(|| place.ask(&refused).failure().to_owned());
    assert!(line.contains("the ledger refuses transaction") && line.contains("needs 9999999999.000000"), "{line}");

    let payer = cairn(["wallet", "show", &key, "--json"]).json()["address"].as_str().unwrap().to_owned();
    let unsigned = place.json(&["wallet", "send", "--to", &address, "--amount", "1", "--unsigned-for", &payer]);
    assert_eq!((&unsigned["transaction"]["kind"], &unsigned["transaction"]["nonce"]), (&"Transfer".into(), &1.into()));
    let (there, back) = (place.path("unsigned.json"), place.path("signed.json"));
    fs::write(&there, unsigned.to_string()).unwrap();
    let wrong = cairn(["tx", "sign", &text(&there), "--key", &text(&own)]);
    assert!(wrong.failure().contains("the transaction is of"), "{}", wrong.stderr);
    let signed = cairn(["tx", "sign", &text(&there), "--key", &key]);
    assert!(signed.stderr.contains("signing Transfer of") && signed.stderr.contains("1000000"), "{}", signed.stderr);
    fs::write(&back, &signed.stdout).unwrap();
    let done = place.ticking(|| place.json(&["tx", "send", &text(&back)]));
    let id = done["transaction"].as_str().unwrap();
    let shown = place.ask(&["tx", "show", id]).stdout;
    assert!(shown.contains("applied") && shown.contains("Transferred") && shown.contains(&address), "{shown}");
    // The refused transfer cost its fee.
    let fee = place.served.ledger.handle().state().params().transaction_fee.0;
    assert_eq!(micro(&place.json(&["wallet", "balance", &address])["balance"]), 3_500_000 - fee);
}

#[test]
fn keys_of_development_networks_sign_for_no_other() {
    let place = Place::new(NetworkGrade::Production);
    let key = text(&place.path("client"));
    let to = Story::address(2).to_string();
    let ran = place.ask(&["wallet", "send", "--to", &to, "--amount", "1", "--key", &key]);
    assert!(ran.failure().contains("development grade"), "{}", ran.stderr);
    assert_eq!(place.served.ledger.handle().waiting(), 0);
}

#[test]
fn providers_register_and_blocks_are_followed() {
    let place = Place::new(NetworkGrade::Development);
    let key = text(&place.path("provider"));
    let register = ["provider", "register", "--sector-size", "8MiB", "--collateral", "50", "--key", &key];
    let register = [&register[..], &["--endpoint", "http://here.test"]].concat();
    let done = place.ticking(|| place.json(&register));
    assert_eq!(done["receipt"]["events"][0]["kind"], "ProviderRegistered");
    let listed = place.json(&["provider", "list"]);
    assert_eq!((micro(&listed[0]["collateral"]), listed[0]["id"].as_u64()), (50_000_000, Some(1_000)));
    let more = ["provider", "add-collateral", "1000", "--amount", "1", "--key", &key];
    assert!(place.ticking(|| place.ask(&more)).stdout.contains("1.000000 units more collateral"));

    let follow = place.ask(&["block", "follow", "--after", "0", "--limit", "2", "--json"]);
    let lines: Vec<Value> = follow.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["kind"], &lines[1]["kind"]), (&"ProviderRegistered".into(), &"CollateralChanged".into()));
    let at = format!("{}:{}", lines[0]["height"], lines[0]["index"]);
    let rest = place.ask(&["block", "follow", "--after", &at, "--limit", "1"]).stdout;
    assert!(rest.contains("CollateralChanged") && rest.lines().count() == 1, "{rest}");

    let height = lines[0]["height"].to_string();
    let block = place.json(&["block", "show", &height]);
    assert_eq!(block["commit"]["block"], block["header"]["id"]);
    assert!(place.ask(&["block", "show"]).stdout.contains("by 1 signature(s)"));
    assert_eq!(place.json(&["block", "list", "--limit", "3"]).as_array().unwrap().len(), 3);
    assert_eq!(place.json(&["job", "list", "--live"]), Value::Array(vec![]));
    assert!(place.ask(&["job", "show", "job-1"]).failure().contains("the ledger has no job-1"));
    let nothing = place.ask(&["deal", "show", "7"]);
    assert!(nothing.failure().contains("the ledger has no deal-7"), "{}", nothing.stderr);
}

#[test]
fn a_ledger_that_is_not_there_is_named() {
    let ran = cairn(["block", "show", "--rpc", "http://127.0.0.1:9"]);
    assert!(ran.failure().contains("cannot ask http://127.0.0.1:9/v1/head"), "{}", ran.stderr);
    let ran = cairn(["block", "show", "--rpc", "https://127.0.0.1:9"]);
    assert!(ran.failure().contains("--rpc: address of the ledger: expected http://HOST:PORT"), "{}", ran.stderr);
}

#[test]
fn attributes_are_said_signed_and_asked_for() {
    let place = Place::new(NetworkGrade::Development);
    place.served.ledger.provider(2);
    let (owner, auditor) = (text(&place.path("provider")), text(&place.path("client")));
    let set = ["provider", "set", "1000", "region=eu-west", "disk=nvme", "--key", &owner];
    let done = place.ticking(|| place.ask(&set)).stdout;
    assert!(done.contains("disk=nvme region=eu-west"), "{done}");

    let data = place.path("data");
    fs::write(&data, labelled_data("a", 50_000)).unwrap();
    let (data, address) = (text(&data), cairn(["wallet", "show", &auditor, "--json"]).json()["address"].clone());
    let address = address.as_str().unwrap();
    let terms = ["--duration", "20000", "--price-max", "0.00005", "--key", &auditor, "--reputation-min", "0.5"];
    let asked = ["--attribute", "region=eu-west", "--signed-by-any", address, "--regions", "required"];
    let quote = place.json(&[&["order", "quote", &data][..], &terms, &asked].concat());
    let said = quote["asked"].as_str().unwrap();
    assert!(said.contains("region=eu-west; signed by one of") && said.contains("reputation 0.500000"), "{said}");
    let nothing = place.ask(&[&["order", "quote", &data, "--signed-by-all", address][..], &terms].concat());
    assert!(nothing.failure().contains("no attribute is required that they could have signed"), "{}", nothing.stderr);

    let attest = ["provider", "attest", "1000", "region=eu-west", "--key", &auditor];
    place.ticking(|| place.json(&attest));
    let unserved = ["--transfer-url", "http://data.test", "--active-within", "0"];
    let order = [&["order", "place", &data][..], &terms, &asked, &unserved].concat();
    let line = place.ticking(|| place.ask(&order).stderr);
    assert!(line.contains("order-1"), "{line}");
    let shown = place.ask(&["provider", "show", "1000"]).stdout;
    assert!(shown.contains("0.500000, never scored") && shown.contains(address), "{shown}");
    let shown = place.ask(&["order", "show", "1"]).stdout;
    assert!(shown.contains("a region of its own for each copy"), "{shown}");
    let back = ["provider", "attest", "1000", "--none", "--key", &auditor];
    assert!(place.ticking(|| place.ask(&back)).stdout.contains("you vouch for nothing of"), "{}", back.join(" "));
    assert_eq!(place.json(&["provider", "show", "1000"])["attestations"], Value::Array(vec![]));
}

#[test]
fn a_rail_is_opened_settled_and_ended() {
    let place = Place::new(NetworkGrade::Development);
    let key = text(&place.path("client"));
    let payee = Story::address(3).to_string();
    let act = |arguments: &[&str]| place.ticking(|| place.ask(&[arguments, &["--key", &key]].concat()));
    assert!(act(&["rail", "deposit", "--amount", "10"]).stdout.contains("10.000000 units for the rails of"));
    let open = ["rail", "open", "--to", &payee, "--rate", "0.000010", "--lockup-period", "3"];
    let opened = act(&open).stdout;
    let rail = opened.split("rail-").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    let told = place.json(&["rail", "show", &rail]);
    assert_eq!((&told["state"], micro(&told["rate"])), (&"streaming".into(), 10));
    assert!(told["funded_until"].as_u64() > told["settled_until"].as_u64());
    assert!(act(&["rail", "settle", &rail]).stdout.contains("is settled"));
    let account = place.json(&["rail", "account", &payee]);
    assert!(micro(&account["funds"]) >= 10, "{account}");
    assert_eq!(place.json(&["rail", "list", "--payee", &payee]).as_array().map(Vec::len), Some(1));
    let ended = act(&["rail", "terminate", &rail, "--json"]).json();
    let ended = ended["receipt"]["events"][0]["fields"]["ends_at"].as_u64().unwrap();
    let balance = place.ask(&["wallet", "balance", "--key", &key]).stdout;
    assert!(balance.contains("for rails"), "{balance}");
    place.served.ledger.blocks_until(Epoch(ended + 1));
    assert!(place.ask(&["rail", "show", &rail]).failure().contains("or it is over"));
    let nothing = act(&["wallet", "claim"]);
    assert!(nothing.failure().contains("nothing has vested"), "{}", nothing.stderr);

    assert_eq!(place.json(&["score", "list"]), Value::Array(vec![]));
    assert!(place.ask(&["score", "rounds"]).stdout.contains("round"));
    assert!(place.ask(&["score", "show", "7"]).failure().contains("the ledger has no"));
    assert!(place.ask(&["score", "checker", &payee]).failure().contains("is no checker"));
}

/// Account 1 pays account 2, who has a provider, for what it serves.
#[test]
fn a_channel_is_opened_bound_to_a_provider_redeemed_and_closed() {
    let place = Place::new(NetworkGrade::Development);
    place.served.ledger.provider(2);
    let (payer, payee) = (text(&place.path("client")), text(&place.path("provider")));
    let act = |arguments: &[&str], key: &str| place.ticking(|| place.ask(&[arguments, &["--key", key]].concat()));
    let to = Story::address(2).to_string();
    let opened = act(&["channel", "open", "--to", &to, "--deposit", "5"], &payer).stdout;
    assert!(opened.contains("holds 5.000000 units for"), "{opened}");
    let channel = opened.split("channel-").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    assert!(act(&["channel", "top-up", &channel, "--amount", "1"], &payee).stdout.contains("1.000000 units more"));

    let bind = ["channel", "bind", &channel, "--provider", "1000"];
    assert!(act(&bind, &payer).failure().contains("refuses"), "its payer owns no provider");
    assert_eq!(place.json(&["channel", "show", &channel])["provider"], Value::Null);
    assert!(act(&bind, &payee).stdout.contains("pays for the service of provider-1000"));
    assert_eq!(place.json(&["channel", "show", &channel])["provider"], 1000);
    assert!(place.ask(&["channel", "show", &channel]).stdout.contains("the service of provider-1000"));
    assert!(act(&bind, &payee).failure().contains("bound or closed"), "once and for all");

    let stranger = place.ask(&["channel", "promise", &channel, "--total", "2", "--key", &payee]);
    assert!(stranger.failure().contains("is paid by"), "{}", stranger.stderr);
    let voucher = place.json(&["channel", "promise", &channel, "--total", "2", "--key", &payer]);
    let file = place.path("voucher.json");
    fs::write(&file, voucher.to_string()).unwrap();
    assert!(act(&["channel", "redeem", &text(&file)], &payee).stdout.contains("has paid 2.000000 units in all"));
    let rewards = place.json(&["provider", "show", "1000"])["rewards"].clone();
    assert_eq!(micro(&rewards["volume"]), 2_000_000, "it counts as paid service: {rewards}");
    let listed = place.json(&["channel", "list"]);
    assert_eq!((micro(&listed[0]["held"]), micro(&listed[0]["redeemed"])), (4_000_000, 2_000_000));

    assert!(act(&["channel", "close", &channel], &payer).stdout.contains("closes by itself after the delay"));
    assert_eq!(place.json(&["channel", "show", &channel])["state"], "closing");
    assert!(act(&["channel", "close", &channel], &payee).stdout.contains("is closed"));
    assert!(place.ask(&["channel", "list"]).stdout.contains("closed"));
    fs::write(&file, "{").unwrap();
    assert!(place.ask(&["channel", "redeem", &text(&file), "--key", &payee]).failure().contains("voucher.json"));
}

/// Waits for something that another process does, however long it takes.
fn wait_for(what: &str, child: &mut Child, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && started.elapsed() < PATIENCE, "{what} does not happen; the process: {ended:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The blocks wait for the checker wherever it must act in time, so nothing depends on which process is faster. It is
/// killed when its opinions are on the ledger; started again, it opens the receipts behind them.
#[test]
fn a_checker_of_its_own_process_moves_a_reputation() {
    let place = Place::of(Ledger::of(&Ledger::genesis_of_short_rounds(), 100_000), NetworkGrade::Development);
    let (ledger, handle) = (&place.served.ledger, place.served.ledger.handle());
    // Nobody listens there.
    let provider = ledger.provider_at(2, "http://127.0.0.1:9");
    ledger.active_deal(2, provider);
    let (key, dir) = (text(&place.path("client")), place.path("receipts"));
    let run = ["checker", "run", "--key", &key, "--dir", &text(&dir)].map(str::to_owned);
    assert!(place.ask(&run.each_ref().map(String::as_str)).failure().contains("has no stake"));
    let stake = handle.state().params().economy.checkers.stake_min.to_string();
    let stake = ["checker", "stake", "--amount", &stake, "--key", &key];
    assert!(place.ticking(|| place.ask(&stake)).stdout.contains("units staked"));
    let (state, own) = (handle.state(), Story::address(1));
    // What was drawn is known for certain from the first round on that begins with the deal.
    let (rounds, round) = (state.params().economy.rounds, state.round_at(state.epoch()) + 1);
    ledger.blocks_until(rounds.first_epoch(round).unwrap());

    let start = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(&run).args(["--rounds", "1", "--rpc", &format!("http://{}", place.served.address)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start();
    wait_for("a measured round", &mut child, || dir.join(format!("round-{round}")).exists());
    let first = rounds.first_epoch(round + 1).unwrap();
    ledger.blocks_until(first);
    // It may have been in a block already.
    let handed = |what: fn(&Ballot) -> bool| handle.state().ballot(round, own).is_some_and(what);
    wait_for("a commitment", &mut child, || handle.waiting() > 0 || handed(|_| true));
    ledger.block();
    let committed = place.json(&["score", "checker", &own.to_string()]);
    assert_eq!(committed["ballot"]["state"], "committed", "{committed}");
    ledger.blocks_until(Epoch(first.0 + rounds.commit_epochs));
    let revealed = || handed(|ballot| matches!(ballot, Ballot::Revealed(_)));
    wait_for("a reveal", &mut child, || handle.waiting() > 0 || revealed());
    ledger.block();
    child.kill().unwrap();
    child.wait().unwrap();
    let checkers = place.ask(&["score", "checkers"]).stdout;
    assert!(checkers.contains(&format!("round {round}: revealed")), "{checkers}");

    ledger.blocks_until(Epoch(first.0 + rounds.commit_epochs + rounds.reveal_epochs));
    let audits = || place.json(&["score", "audits"]);
    assert_eq!((&audits()[0]["state"], &audits()[0]["provider"]), (&"waiting".into(), &provider.0.into()));
    let shown = place.ask(&["score", "checker", &own.to_string()]).stdout;
    assert!(
        shown.contains(&format!("round {round}: receipts about provider {} must be opened", provider.0)),
        "{shown}"
    );
    let mut child = start();
    let opened = || handle.state().audit(round, own).is_some_and(|audit| audit.opened);
    wait_for("an opening", &mut child, || handle.waiting() > 0 || opened());
    ledger.block();
    assert_eq!(audits()[0]["state"], "opened");
    let shown = place.ask(&["score", "audits", "--round", &round.to_string()]).stdout;
    assert!(shown.contains("opened") && shown.contains(&own.to_string()), "{shown}");
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let stake = handle.state().params().economy.checkers.stake_min;
    assert_eq!(handle.state().checker(&own).map(|checker| checker.stake), Some(stake), "nothing was burnt");

    while handle.state().score_of(provider).map(|score| score.round) != Some(round) {
        assert!(ledger.block() < rounds.first_epoch(round + 2).unwrap(), "the round is scored before it ends");
    }
    let shown = place.ask(&["score", "show", "1000"]).stdout;
    assert!(shown.contains("0.449999") && shown.contains(&own.to_string()), "{shown}");
    assert!(place.ask(&["score", "list"]).stdout.contains("0.449999"));
}

#[test]
fn blocks_and_receipts_are_checked_against_the_genesis() {
    let place = Place::new(NetworkGrade::Development);
    let (own, other) = (place.path("genesis.json"), place.path("other.json"));
    fs::write(&own, Ledger::genesis().to_json()).unwrap();
    // The same but for a name, so other validators' signatures are for another chain.
    fs::write(&other, Genesis { name: "other".to_owned(), ..Ledger::genesis() }.to_json()).unwrap();
    let ledger = &place.served.ledger;
    ledger.block();
    let to = Story::address(2);
    let (id, _) = ledger.command(1, Command::Transfer { to, amount: cairn_protocol::Amount(5) });
    let (own, other, id) = (text(&own), text(&other), id.to_string());

    let block = place.json(&["block", "show", "2", "--verify", "--genesis", &own]);
    assert_eq!((&block["verified"]["votes"], &block["verified"]["of"]), (&1.into(), &1.into()));
    assert_eq!(block["transactions"][0], id.as_str());
    let name = block["header"]["id"].as_str().unwrap().to_owned();
    let shown = place.ask(&["tx", "show", &id, "--verify", "--genesis", &own]).stdout;
    assert!(shown.contains("1 of 1 votes signed it, from the genesis on") && shown.contains("Transfer"), "{shown}");
    let checkpoint = format!("2:{name}");
    let from = ["--verify", "--genesis", &own, "--checkpoint", &checkpoint];
    let shown = place.ask(&[&["tx", "show", &id][..], &from].concat()).stdout;
    assert!(shown.contains("from the checkpoint at 2 on"), "{shown}");

    let refused = place.ask(&["block", "show", "2", "--verify", "--genesis", &other]);
    assert!(refused.failure().contains("the server's block is not believed"), "{}", refused.stderr);
    let below = place.ask(&[&["block", "show", "1"][..], &from].concat());
    assert!(below.failure().contains("2 or above, where trust begins, got 1"), "{}", below.stderr);
    let lie = format!("2:{}", "00".repeat(32));
    let refused = place.ask(&["block", "show", "2", "--verify", "--genesis", &own, "--checkpoint", &lie]);
    assert!(refused.failure().contains("the checkpoint is 0000"), "{}", refused.stderr);
    let alone = place.ask(&["block", "show", "2", "--verify"]);
    assert!(alone.failure().contains("--genesis"), "{}", alone.stderr);
}

/// A header of an answer's head.
fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(key, _)| *key == name).unwrap_or_else(|| panic!("{name} in {head}")).1
}

#[test]
fn a_gateway_is_paid_by_a_channel_and_redeems_by_itself() {
    let place = Place::new(NetworkGrade::Development);
    let (rpc, data) = (format!("http://{}", place.served.address), place.path("letters"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a.bin"), labelled_data("a", 3 << 20)).unwrap();
    fs::write(data.join("b.txt"), "another").unwrap();
    let policy = format!(
        r#"{{"key": "provider", "state": "state",
             "payments": {{"rpc": "{rpc}", "price_per_mib": 1000, "window_bytes": 0, "redeem_from": 1}}}}"#
    );
    fs::write(place.path("policy.json"), policy).unwrap();
    let (data, policy) = (text(&data), text(&place.path("policy.json")));
    let gateway = Running::start(&["--data", &data, "--access", &policy], 2);
    let path = format!("/data/{}/a.bin", gateway.lines[1]["root"].as_str().unwrap());
    let (refused, _) = gateway.ask(&path, &[]);
    assert!(refused.starts_with("HTTP/1.1 402") && refused.contains("payment-required: "), "{refused}");

    let (ledger, payee) = (&place.served.ledger, Story::address(2));
    let opened = Command::OpenChannel { payee, deposit: Amount(1_000_000) };
    ledger.handle().submit_command(&Story::key(1), opened).unwrap();
    ledger.block();
    let state = ledger.handle().state();
    let (channel, record) = state.channels_from(ChannelId(0)).next().unwrap();
    assert_eq!((record.parties(), record.redeemed()), ((Story::address(1), payee), Amount(0)));
    let terms = ChannelTerms { price_per_mib: Amount(1_000), window_bytes: 0 };
    let price = Price { chain: state.chain(), payee, terms };
    let promise = |cumulative| Voucher { channel, cumulative }.sign(state.chain(), &Story::key(1));
    let poor = price.write_payment(&promise(Amount(2_999)));
    let (refused, _) = gateway.ask(&path, &[("Payment-Signature", &poor)]);
    assert!(refused.starts_with("HTTP/1.1 402"), "{refused}");
    let enough = price.write_payment(&promise(Amount(3_000)));
    let (head, body) = gateway.ask(&path, &[("Payment-Signature", &enough)]);
    assert!(head.starts_with("HTTP/1.1 200") && body == labelled_data("a", 3 << 20), "{head}");
    let settled: Value = serde_json::from_slice(&BASE64.decode(header(&head, "payment-response")).unwrap()).unwrap();
    let bearer = format!("Bearer {}", settled["extra"]["token"].as_str().unwrap());
    let (spent, _) = gateway.ask(&path, &[("Authorization", &bearer)]);
    assert!(spent.starts_with("HTTP/1.1 402"), "every paid byte was sent: {spent}");
    gateway.stop();

    // The voucher was kept: the next process redeems it.
    let redeemed = || ledger.handle().state().channel(channel).unwrap().redeemed();
    place.ticking(|| {
        let gateway = Running::start(&["--data", &data, "--access", &policy], 2);
        let began = Instant::now();
        while redeemed() != Amount(3_000) {
            assert!(began.elapsed() < PATIENCE, "nothing is redeemed");
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway.stop();
    });
}
