//! Stories of rails, and random ones.

use proptest::prelude::*;

use super::*;

fn who(n: u8) -> Address {
    Address([n; 32])
}

fn terms(payer: u8, payee: u8, rate: u64) -> RailTerms {
    let (lockup_period, lockup_fixed, binding) = (10, Amount(50), RailBinding::Nothing);
    RailTerms { payer: who(payer), payee: who(payee), rate: Amount(rate), lockup_period, lockup_fixed, binding }
}

/// Opens a rail under the number of its payer and payee.
fn open(book: &mut RailBook, now: u64, terms: RailTerms) -> RailId {
    let rail = RailId(u64::from(terms.payer.0[0]) * 10 + u64::from(terms.payee.0[0]));
    book.open(Epoch(now), rail, terms).unwrap();
    rail
}

/// Epochs before `open_from` are judged in spans of seven, by the number of the span.
struct Pattern {
    open_from: u64,
    faulty: fn(u64) -> bool,
}

impl ProofTable for Pattern {
    fn span(&self, _: &RailBinding, from: Epoch) -> ProofSpan {
        let until = Epoch((from.0 / 7 + 1) * 7);
        if from.0 >= self.open_from {
            return ProofSpan { verdict: Verdict::Open, until };
        }
        let verdict = if (self.faulty)(from.0 / 7) { Verdict::Faulted } else { Verdict::Proven };
        ProofSpan { verdict, until: until.min(Epoch(self.open_from)) }
    }
}

const PROVEN: Pattern = Pattern { open_from: u64::MAX, faulty: |_| false };

fn funded(amount: u64) -> RailBook {
    let mut book = RailBook::default();
    book.deposit(Epoch(0), who(1), Amount(amount)).unwrap();
    book
}

fn settle(book: &mut RailBook, now: u64, rail: RailId, proofs: &Pattern) -> Settlement {
    let settlement = book.settle(Epoch(now), rail, proofs, 0).unwrap();
    assert_eq!(book.check_invariants(), Ok(()));
    settlement
}

#[test]
fn proven_pays_faulted_does_not_open_waits() {
    let mut book = funded(10_000);
    let rail = open(&mut book, 0, terms(1, 2, 3));
    let proofs = Pattern { open_from: 30, faulty: |span| span == 1 };
    let settlement = settle(&mut book, 100, rail, &proofs);
    // Epochs 0 to 6 and 14 to 29 are proven, 7 to 13 faulted, 30 and later open.
    assert_eq!((settlement.paid, settlement.unlocked), (Amount(23 * 3), Amount(7 * 3)));
    assert_eq!((settlement.settled_until, settlement.closed), (Epoch(30), false));
    assert_eq!(settle(&mut book, 100, rail, &proofs).paid, Amount(0), "nothing is paid twice");
    assert_eq!(book.account(&who(2)).funds, Amount(69));
}

#[test]
fn lockup_is_a_floor() {
    let mut book = funded(100);
    let rail = open(&mut book, 0, terms(1, 2, 5));
    assert_eq!(book.account(&who(1)).free(), Amount(0));
    let none = RailRejection::NotFunded { account: who(1), needed: Amount(1), free: Amount(0) };
    assert_eq!(book.withdraw(Epoch(0), who(1), Amount(1)), Err(none));
    // Not an epoch is streamed, and still ten are paid: that is what the lockup is for.
    assert_eq!(book.next_unfunded(), Some((Epoch(0), who(1))));
    assert_eq!(book.terminate_next_unfunded(Epoch(0)), None);
    assert_eq!(book.terminate_next_unfunded(Epoch(5)), Some(rail));
    assert_eq!(book.rail(rail).unwrap().ends_at, Some(Epoch(10)));
    let settlement = settle(&mut book, 50, rail, &PROVEN);
    assert_eq!((settlement.paid, settlement.unlocked, settlement.closed), (Amount(50), Amount(50), true));
    assert_eq!(book.withdraw(Epoch(50), who(1), Amount(50)), Ok(()));
}

#[test]
fn an_account_that_runs_dry_is_found_by_the_queue() {
    let mut book = funded(1_000);
    let first = open(&mut book, 0, terms(1, 2, 10));
    let second = open(&mut book, 0, terms(1, 3, 5));
    // 1,000 less two lockups of 150 and 100 leaves 750: 50 epochs of 15.
    assert_eq!(book.next_unfunded(), Some((Epoch(50), who(1))));
    assert_eq!(book.terminate_next_unfunded(Epoch(50)), None);
    assert_eq!(book.terminate_next_unfunded(Epoch(52)), Some(first));
    assert_eq!(book.terminate_next_unfunded(Epoch(52)), Some(second));
    assert_eq!((book.terminate_next_unfunded(Epoch(52)), book.next_unfunded()), (None, None));
    assert_eq!(settle(&mut book, 100, first, &PROVEN).paid, Amount(600));
    assert_eq!(settle(&mut book, 100, second, &PROVEN).paid, Amount(300));
    assert_eq!(book.account(&who(1)).free(), Amount(100), "the fixed parts are free again");
}

#[test]
fn a_deposit_in_time_keeps_the_rail() {
    let mut book = funded(150);
    let rail = open(&mut book, 0, terms(1, 2, 5));
    assert_eq!(book.next_unfunded(), Some((Epoch(10), who(1))));
    book.deposit(Epoch(9), who(1), Amount(50)).unwrap();
    assert_eq!(book.next_unfunded(), Some((Epoch(20), who(1))));
    // A fault gives money back, which lasts longer.
    let faulty = Pattern { open_from: 14, faulty: |span| span == 0 };
    assert_eq!(settle(&mut book, 15, rail, &faulty).unlocked, Amount(35));
    assert_eq!(book.next_unfunded(), Some((Epoch(27), who(1))));
}

#[test]
fn earlier_rates_are_settled_as_they_were() {
    let mut book = funded(10_000);
    let rail = open(&mut book, 0, terms(1, 2, 5));
    book.change_rate(Epoch(10), who(1), rail, Amount(20)).unwrap();
    book.change_rate(Epoch(20), who(1), rail, Amount(0)).unwrap();
    assert_eq!(book.check_invariants(), Ok(()));
    assert_eq!(settle(&mut book, 15, rail, &PROVEN).paid, Amount(10 * 5 + 10 * 20), "accrued until 20");
    assert_eq!(settle(&mut book, 30, rail, &PROVEN).paid, Amount(0));
    let refused = book.change_rate(Epoch(30), who(2), rail, Amount(1));
    assert!(matches!(refused, Err(RailRejection::NotAllowed { .. })));
    for n in 0..SEGMENTS_MAX as u64 {
        book.change_rate(Epoch(31 + n), who(1), rail, Amount(n)).unwrap();
    }
    assert_eq!(book.change_rate(Epoch(60), who(1), rail, Amount(1)), Err(RailRejection::TooManyRates { rail }));
}

#[test]
fn a_fixed_part_pays_at_once_and_a_part_is_burnt() {
    let mut book = funded(1_000);
    let rail = open(&mut book, 0, terms(1, 2, 5));
    assert_eq!(book.pay_once(Epoch(1), who(1), rail, Amount(40), 2_500), Ok(Amount(10)));
    let left = RailRejection::FixedTooSmall { rail, fixed: Amount(10), got: Amount(11) };
    assert_eq!(book.pay_once(Epoch(1), who(1), rail, Amount(11), 0), Err(left));
    assert_eq!(book.account(&who(2)).funds, Amount(30));
    assert_eq!(book.check_invariants(), Ok(()));
    assert_eq!(book.terminate(Epoch(2), who(2), rail), Ok(Epoch(12)), "the payee may leave too");
    assert!(matches!(book.terminate(Epoch(2), who(1), rail), Err(RailRejection::Terminated { .. })));
    assert!(matches!(book.open(Epoch(2), RailId(9), terms(1, 1, 1)), Err(RailRejection::OneParty { .. })));
}

#[test]
fn a_quote_is_what_opening_does() {
    let mut book = funded(400);
    let quote = book.quote(Epoch(3), &terms(1, 2, 5)).unwrap();
    assert_eq!((quote.locked, quote.missing, quote.runway_epochs), (Amount(100), Amount(0), Some(60)));
    open(&mut book, 3, terms(1, 2, 5));
    assert_eq!(book.account(&who(1)).free(), Amount(300));
    assert_eq!(book.next_unfunded(), Some((Epoch(3 + 60), who(1))));
    let quote = book.quote(Epoch(3), &terms(1, 2, 30)).unwrap();
    assert_eq!((quote.locked, quote.missing, quote.runway_epochs), (Amount(350), Amount(50), Some(0)));
    assert!(book.open(Epoch(3), RailId(9), terms(1, 2, 30)).is_err());
}

/// One thing that happens to a book.
#[derive(Debug, Clone)]
enum Act {
    Deposit(u8, u64),
    Withdraw(u8, u64),
    Open(u8, u8, u64),
    Change(u8, u64, u64),
    Once(u8, u64, u64),
    Terminate(u8, u64),
    Settle(u64),
    Wait(u64),
    Sweep,
}

fn arb_act() -> impl Strategy<Value = Act> {
    let amount = || prop_oneof![0u64..100, 100u64..20_000, any::<u64>()];
    let rate = || prop_oneof![0u64..30, any::<u64>()];
    prop_oneof![
        (1u8..4, amount()).prop_map(|(n, amount)| Act::Deposit(n, amount)),
        (1u8..4, amount()).prop_map(|(n, amount)| Act::Withdraw(n, amount)),
        (1u8..4, 1u8..4, rate()).prop_map(|(from, to, rate)| Act::Open(from, to, rate)),
        (1u8..4, 0u64..6, rate()).prop_map(|(n, rail, rate)| Act::Change(n, rail, rate)),
        (1u8..4, 0u64..6, 0u64..60).prop_map(|(n, rail, amount)| Act::Once(n, rail, amount)),
        (1u8..4, 0u64..6).prop_map(|(n, rail)| Act::Terminate(n, rail)),
        (0u64..6).prop_map(Act::Settle),
        (1u64..40).prop_map(Act::Wait),
        Just(Act::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_money_is_conserved(acts in prop::collection::vec(arb_act(), 1..60), burn_bp in 0u32..=10_000) {
        let mut book = RailBook::default();
        let (mut now, mut outside, mut next, mut burnt) = (Epoch(0), 0i128, 0u64, 0u128);
        for act in acts {
            let before = book.clone();
            let proofs = Pattern { open_from: now.0.saturating_sub(5), faulty: |span| span % 3 == 1 };
            let done = match act {
                Act::Deposit(n, amount) => {
                    let done = book.deposit(now, who(n), Amount(amount));
                    outside += if done.is_ok() { i128::from(amount) } else { 0 };
                    done
                }
                Act::Withdraw(n, amount) => {
                    let done = book.withdraw(now, who(n), Amount(amount));
                    outside -= if done.is_ok() { i128::from(amount) } else { 0 };
                    done
                }
                Act::Open(from, to, rate) => {
                    let done = book.open(now, RailId(next), terms(from, to, rate));
                    next += u64::from(done.is_ok());
                    done
                }
                Act::Change(n, rail, rate) => book.change_rate(now, who(n), RailId(rail), Amount(rate)),
                Act::Once(n, rail, amount) => {
                    let done = book.pay_once(now, who(n), RailId(rail), Amount(amount), burn_bp);
                    done.map(|part| burnt += u128::from(part.0))
                }
                Act::Terminate(n, rail) => book.terminate(now, who(n), RailId(rail)).map(drop),
                Act::Settle(rail) => {
                    let done = book.settle(now, RailId(rail), &proofs, burn_bp);
                    done.map(|settlement| burnt += u128::from(settlement.burnt.0))
                }
                Act::Wait(epochs) => { now = Epoch(now.0 + epochs); Ok(()) }
                Act::Sweep => { while book.terminate_next_unfunded(now).is_some() {} Ok(()) }
            };
            if done.is_err() {
                prop_assert_eq!(&book, &before, "a refused step changes nothing");
            }
            prop_assert_eq!(book.check_invariants(), Ok(()));
            prop_assert_eq!((book.total_funds() + burnt) as i128, outside);
        }
        // In the end everything can be settled, and what is left is free.
        let end = Epoch(now.0 + 1_000);
        for rail in book.rails().map(|(id, _)| id).collect::<Vec<_>>() {
            let payer = book.rail(rail).unwrap().terms.payer;
            let _ = book.terminate(end, payer, rail);
        }
        let (later, proven) = (Epoch(end.0 + 100), Pattern { open_from: u64::MAX, faulty: |_| false });
        for rail in book.rails().map(|(id, _)| id).collect::<Vec<_>>() {
            for _ in 0..20 {
                if book.rail(rail).is_some() && book.settle(later, rail, &proven, burn_bp).is_err() {
                    // The payee's funds would not fit in 64 bits: it can withdraw and settle again.
                    return Ok(());
                }
            }
            prop_assert!(book.rail(rail).is_none(), "a terminated rail ends");
        }
        prop_assert!(book.accounts().all(|(_, account)| account.lockup.is_zero()));
        prop_assert_eq!(book.check_invariants(), Ok(()));
    }
}
