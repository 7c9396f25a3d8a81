//! Short runs of several seeds, and proof that every checker can fail.

use std::collections::BTreeSet;

use cairn_simulation::checkers::PROMISES;
use cairn_simulation::damage::{DAMAGES, Damage};
use cairn_simulation::run::minimise;
use cairn_simulation::{LedgerOptions, run_ledger};

const STEPS: u64 = 3_000;

#[test]
fn every_promise_holds_under_attack() {
    let mut seen = BTreeSet::new();
    for seed in 1..=6 {
        println!("seed {seed}");
        let report = run_ledger(&LedgerOptions::new(seed, STEPS)).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.steps >= STEPS && report.crimes > 100 && report.applied > 500, "{report:?}");
        assert_eq!(report.checkers.len(), PROMISES.len());
        seen.extend(report.events.into_keys());
    }
    // What the traffic reaches: a run that does nothing keeps every promise.
    let wanted = [
        "DealSettled",
        "DealReplaced",
        "SectorRecovered",
        "BidRevealed",
        "VoucherRedeemed",
        "StakeReleased",
        "Job.Proven.porep",
        "Job.Proven.window-post",
        "Job.Proven.update",
        "Job.WorkerFailed",
        "Job.Relisted",
        "Rail.Settled",
        "Rail.Ending",
        "Reward.Rewarded",
        "Reward.Vested",
        "Score.Revealed",
        "Score.NotRevealed",
        "Score.Contradicted",
        "Score.Opened",
        "Score.NotOpened",
        "Score.Refuted",
        "Sector.Updated",
        "Sector.Extended",
        "Slashed",
        "Market.AttributesSigned",
        "WrongBytesServed",
    ];
    for event in wanted {
        assert!(seen.contains(event), "no {event} in any run: {seen:?}");
    }
}

#[test]
fn a_run_is_its_seed() {
    let run = |seed| run_ledger(&LedgerOptions::new(seed, 1_000)).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).events, run(4).events);
}

/// The first of some seeds in whose run the damage finds something to damage.
fn noticed(damage: &'static Damage) -> Result<(), String> {
    for seed in 1..=8 {
        let options =
            LedgerOptions { damage: Some(damage), only: Some(damage.checker), ..LedgerOptions::new(seed, 2_000) };
        if let Err(failure) = run_ledger(&options) {
            return match failure.checker == damage.checker {
                true => Ok(()),
                false => Err(format!("{} was named {}", damage.name, failure.checker)),
            };
        }
    }
    Err(format!("{} went unnoticed by {}", damage.name, damage.checker))
}

#[test]
fn every_checker_can_fail() {
    let silent: Vec<String> = DAMAGES.iter().filter_map(|damage| noticed(damage).err()).collect();
    assert!(silent.is_empty(), "{silent:#?}");
    let damaged: BTreeSet<_> = DAMAGES.iter().map(|damage| damage.checker).collect();
    let promised: BTreeSet<_> = PROMISES.iter().map(|promise| promise.name).collect();
    assert_eq!(damaged, promised, "each checker has a damage that it must notice");
}

#[test]
fn a_failure_is_repeated_by_its_command_with_fewer_actors() {
    let damage = DAMAGES.iter().find(|damage| damage.name == "voucher-paid-twice");
    let options = LedgerOptions { damage, only: damage.map(|d| d.checker), ..LedgerOptions::new(1, 3_000) };
    let failure = run_ledger(&options).expect_err("the damage is noticed");
    let smaller = minimise(&options, &failure);
    let told = smaller.to_string();
    assert!(told.starts_with(&format!("seed 1, step {}, block", smaller.step)), "{told}");
    assert!(told.contains("--checker vouchers-pay-once --without") && told.contains("--damage"), "{told}");
    assert!(smaller.without.len() > 10, "a payer and a payee are enough: {told}");
    let repeat = LedgerOptions { without: smaller.without.clone(), steps: smaller.step, ..options };
    assert_eq!(*run_ledger(&repeat).expect_err("again"), smaller);
}
