//! What a cartel of checkers can do to an honest provider, with 49 % and with 51 % of the stake.
//!
//! Bound: with less than `kappa` and less than `1 - kappa` of the stake, the clip level of any round lies between the
//! least and the largest opinion of the honest checkers, and a reputation is an average of clip levels. So a cartel moves
//! it by at most the spread of honest measurements, here 0.90 to 0.94, and never by its own numbers.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{Amount, ProviderId};

use super::*;
use crate::ids::Address;

const HONEST: ProviderId = ProviderId(1_000);
const FRIEND: ProviderId = ProviderId(1_001);
const ROUNDS: usize = 60;

/// A deterministic level between 0.90 and 0.94 for an honest measurement.
fn measured(round: usize, checker: usize) -> u16 {
    let noise = (round * 7_919 + checker * 104_729) % 41;
    Fraction::of(900 + noise as u64, 1_000).to_u16()
}

/// Reputations of the honest provider and of the cartel's friend after each round. The cartel is ten checkers that call
/// the first `slander` and the second `praise`; the honest ones are ten, and the friend serves nothing.
fn run(cartel_percent: u64, slander: u16, praise: u16) -> Vec<(Fraction, Fraction)> {
    let reputations = [(HONEST, Fraction::of(92, 100)), (FRIEND, Fraction::ZERO)].into();
    let mut book = ScoreBook { reputations, ..ScoreBook::default() };
    let params = ScoreParams::default();
    let mut history = Vec::new();
    for round in 0..ROUNDS {
        let mut voters = BTreeMap::new();
        for n in 0..20 {
            let cartel = n < 10;
            let percent = if cartel { cartel_percent } else { 100 - cartel_percent };
            let opinions = if cartel {
                [(HONEST, slander), (FRIEND, praise)].into()
            } else {
                [(HONEST, measured(round, n)), (FRIEND, 0)].into()
            };
            let stake = Amount(percent * 100_000_000);
            let voter = RoundVoter { stake, opinions: Some(opinions), owns: BTreeSet::new() };
            voters.insert(Address([n as u8; 32]), voter);
        }
        book.evaluate(&Round { voters, providers: [HONEST, FRIEND].into() }, &params).unwrap();
        history.push((book.reputations[&HONEST], book.reputations[&FRIEND]));
    }
    history
}

#[test]
fn forty_nine_percent_cannot_move_a_reputation_beyond_honest_opinions() {
    let (least, largest) = (Fraction::of(899, 1_000), Fraction::of(940, 1_000));
    let honest = run(49, Fraction::of(92, 100).to_u16(), 0);
    for (what, slander, praise) in [("calls it bad", 0, u16::MAX), ("calls it perfect", u16::MAX, u16::MAX)] {
        let history = run(49, slander, praise);
        let mut moved = 0;
        for (round, ((reputation, friend), (without, _))) in history.iter().zip(&honest).enumerate() {
            assert!(
                (least..=largest).contains(reputation),
                "round {round}: {reputation} is beyond what honest checkers report"
            );
            assert_eq!(*friend, Fraction::ZERO, "praise of a minority is clipped away");
            moved = moved.max(reputation.raw().abs_diff(without.raw()));
        }
        let bound = largest.raw() - least.raw();
        assert!(moved <= bound);
        println!(
            "49 % {what}: after {ROUNDS} rounds {} (without the cartel {}); moved by at most {}, bound {}",
            history[ROUNDS - 1].0,
            honest[ROUNDS - 1].0,
            Fraction::from_raw(moved).unwrap(),
            Fraction::from_raw(bound).unwrap(),
        );
    }
}

#[test]
fn fifty_one_percent_sets_any_reputation() {
    let history = run(51, 0, u16::MAX);
    for round in [0, 4, 9, 19, 39, ROUNDS - 1] {
        let (honest, friend) = history[round];
        println!("51 %, round {:2}: honest provider {honest}, the cartel's friend {friend}", round + 1);
    }
    let (honest, friend) = history[ROUNDS - 1];
    assert!(honest < Fraction::of(1, 100) && friend > Fraction::of(99, 100), "half of the stake is what is trusted");
    let half = history.iter().position(|(honest, _)| *honest < Fraction::of(46, 100)).unwrap() + 1;
    println!("51 %: half of the reputation is gone after {half} rounds");
}
