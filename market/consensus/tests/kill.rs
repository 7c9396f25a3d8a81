//! Four validators as processes under load, killed with SIGKILL: one at a time, then all at once.
//!
//! In the end all stores must hold one chain, and every transaction that a child acknowledged must be in it.
//! `CAIRN_KILL_ROUNDS` sets how often each kind of kill happens; the default keeps the test short.

mod support;

use std::time::Duration;

use support::free_ports;
use support::processes::{Processes, VALIDATORS, validate};

const ROUNDS: &str = "CAIRN_KILL_ROUNDS";

/// Not a test of its own: what a child does.
#[test]
fn child_validates() {
    validate(20);
}

#[test]
fn killed_validators_come_back_and_nothing_is_lost() {
    let rounds: u32 = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut network = Processes::new(free_ports(VALIDATORS));
    let all = [0, 1, 2, 3];
    (0..VALIDATORS).for_each(|number| network.spawn(number, &[]));
    network.advance(&all, 3);
    for round in 0..rounds {
        let victim = round % VALIDATORS;
        network.kill(victim);
        let others: Vec<usize> = all.into_iter().filter(|number| *number != victim as usize).collect();
        network.advance(&others, 3);
        network.spawn(victim, &[]);
        network.advance(&all, 2);
    }
    for round in 0..rounds {
        // The moment of the kill differs from round to round, and so does the order of the victims.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 37 % 200));
        (0..VALIDATORS).for_each(|number| network.kill((number + round) % VALIDATORS));
        (0..VALIDATORS).for_each(|number| network.spawn(number, &[]));
        network.advance(&all, 3);
    }
    let (blocks, transactions) = network.finish();
    println!("{rounds} kills of one, {rounds} of all: {blocks} blocks, {transactions} transactions, one chain");
}
