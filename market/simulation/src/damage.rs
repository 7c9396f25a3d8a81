//! Proof that each checker can fail: broken states, broken reports and broken functions, each with the checker that must
//! name it.
//!
//! A damage is done once, to what a block left behind, or to the functions that checkers call. A state is damaged in its
//! stored entries, so nothing here needs to know more of the ledger than a reader of its database.

use cairn_ledger::queue::Due;
use cairn_ledger::state::columns;
use cairn_ledger::{
    BlockContext, BlockOutcome, BlockRejection, Command, Event, JobCommand, JobEvent, Outcome, ProofVerifier,
    RailEvent, ScoreEvent, SectorEvent, SignedTransaction, State, codec,
};
use cairn_protocol::{Amount, Epoch};
use ipld_core::ipld::Ipld;

use crate::observation::{Observation, Tools};
use crate::world;

/// What is broken, and who must notice.
#[derive(Clone, Copy)]
pub struct Damage {
    /// Name on the command line.
    pub name: &'static str,
    /// The checker that must name it.
    pub checker: &'static str,
    /// How it is done.
    pub act: Act,
}

/// How damage is done.
#[derive(Clone, Copy)]
pub enum Act {
    /// To a block; says whether the block had what it takes.
    Block(fn(&mut Observation) -> bool),
    /// To the functions that checkers call.
    Tools(fn() -> Tools),
}

/// All of them; every checker is named at least once.
pub const DAMAGES: &[Damage] = &[
    Damage { name: "money-from-nothing", checker: "supply-conserved", act: Act::Block(money_from_nothing) },
    Damage { name: "deposit-forgotten", checker: "pots-match-entries", act: Act::Block(deposit_forgotten) },
    Damage { name: "obligation-miscounted", checker: "books-balance", act: Act::Block(obligation_miscounted) },
    Damage { name: "queue-entry-lost", checker: "books-balance", act: Act::Block(queue_entry_lost) },
    Damage { name: "paid-to-another", checker: "money-follows-events", act: Act::Block(paid_to_another) },
    Damage { name: "burnt-for-nothing", checker: "burns-have-causes", act: Act::Block(burnt_for_nothing) },
    Damage { name: "innocent-bidder-burnt", checker: "burns-have-causes", act: Act::Block(innocent_bidder_burnt) },
    Damage { name: "deposit-kept", checker: "deposits-return", act: Act::Block(deposit_kept) },
    Damage { name: "close-without-a-word", checker: "closes-say-why", act: Act::Block(close_without_a_word) },
    Damage { name: "faulted-epoch-paid", checker: "pay-only-proven", act: Act::Block(faulted_epoch_paid) },
    Damage { name: "proven-epoch-unpaid", checker: "pay-only-proven", act: Act::Block(proven_epoch_unpaid) },
    Damage { name: "refund-short", checker: "prices-kept", act: Act::Block(refund_short) },
    Damage { name: "two-copies-one-owner", checker: "copies-apart", act: Act::Block(two_copies_one_owner) },
    Damage {
        name: "missed-deadline-hidden",
        checker: "every-deadline-counts",
        act: Act::Block(missed_deadline_hidden),
    },
    Damage { name: "order-to-the-unaudited", checker: "requirements-kept", act: Act::Block(order_to_the_unaudited) },
    Damage { name: "update-of-another-replica", checker: "updates-are-proven", act: Act::Block(update_of_another) },
    Damage { name: "rail-pays-faulted", checker: "rails-pay-proven", act: Act::Block(rail_pays_faulted) },
    Damage { name: "slashed-too-little", checker: "offences-slash-once", act: Act::Block(slashed_too_little) },
    Damage { name: "slashed-again", checker: "offences-slash-once", act: Act::Block(slashed_again) },
    Damage { name: "accuser-paid-too-much", checker: "liars-lose-stake", act: Act::Block(accuser_paid_too_much) },
    Damage { name: "reporter-paid-too-much", checker: "wrong-bytes-cost", act: Act::Block(reporter_paid_too_much) },
    Damage { name: "opening-unheard", checker: "audits-are-answered", act: Act::Block(opening_unheard) },
    Damage { name: "worker-paid-too-much", checker: "jobs-pay-for-proofs", act: Act::Block(worker_paid_too_much) },
    Damage { name: "sectors-not-signed-for", checker: "jobs-pay-for-proofs", act: Act::Block(sectors_not_signed_for) },
    Damage { name: "voucher-paid-twice", checker: "vouchers-pay-once", act: Act::Block(voucher_paid_twice) },
    Damage { name: "stake-released-early", checker: "votes-are-staked", act: Act::Block(stake_released_early) },
    Damage { name: "nonce-skipped", checker: "nonces-count", act: Act::Block(nonce_skipped) },
    Damage { name: "crime-applied", checker: "crimes-fail", act: Act::Block(crime_applied) },
    Damage { name: "refusal-moves-money", checker: "refused-costs-nothing", act: Act::Tools(leaking_tools) },
    Damage { name: "failure-leaves-traces", checker: "failure-costs-a-fee", act: Act::Tools(leaking_tools) },
    Damage { name: "bad-block-enters-epoch", checker: "bad-blocks-change-nothing", act: Act::Tools(eager_tools) },
    Damage { name: "due-work-left", checker: "queue-punctual", act: Act::Block(due_work_left) },
    Damage { name: "proofs-without-end", checker: "work-bounded", act: Act::Block(proofs_without_end) },
    Damage { name: "block-too-heavy", checker: "work-bounded", act: Act::Block(block_too_heavy) },
    Damage { name: "root-of-another", checker: "root-from-content", act: Act::Block(root_of_another) },
    Damage { name: "snapshot-loses-an-account", checker: "snapshot-round-trip", act: Act::Tools(forgetful_tools) },
    Damage { name: "change-not-reported", checker: "changes-complete", act: Act::Block(change_not_reported) },
    Damage { name: "replay-differs", checker: "replay-repeats", act: Act::Tools(wavering_tools) },
];

/// A damage by its name.
pub fn find(name: &str) -> Option<&'static Damage> {
    DAMAGES.iter().find(|damage| damage.name == name)
}

/// The state with the first entry of a column changed that `change` wants to change.
fn edited(state: &State, column: u8, mut change: impl FnMut(&mut Ipld) -> bool) -> Option<State> {
    let mut entries = state.entries();
    let found = entries.iter_mut().filter(|entry| entry.column == column).any(|entry| {
        let bytes = entry.value.as_deref().unwrap_or_default();
        let Ok(mut value) = serde_ipld_dagcbor::from_slice::<Ipld>(bytes) else { return false };
        let wanted = change(&mut value);
        if wanted {
            entry.value = Some(codec::encode(&value));
        }
        wanted
    });
    found.then(|| rebuilt(entries.into_iter().map(|entry| (entry.column, entry.key, entry.value))))
}

fn rebuilt(entries: impl Iterator<Item = (u8, Vec<u8>, Option<Vec<u8>>)>) -> State {
    let entries = entries.filter_map(|(column, key, value)| Some((column, key, value?)));
    State::from_entries(entries).expect("damage keeps entries readable")
}

/// A number in a record, by the names on the way to it.
fn number<'a>(value: &'a mut Ipld, path: &[&str]) -> Option<&'a mut i128> {
    let mut at = value;
    for name in path {
        let Ipld::Map(map) = at else { return None };
        at = map.get_mut(*name)?;
    }
    if let Ipld::Integer(number) = at { Some(number) } else { None }
}

/// Adds to a number that is at least `least`.
fn add(value: &mut Ipld, path: &[&str], least: i128, more: i128) -> bool {
    match number(value, path) {
        Some(number) if *number >= least => {
            *number += more;
            true
        }
        _ => false,
    }
}

fn change_state(seen: &mut Observation, column: u8, change: impl FnMut(&mut Ipld) -> bool) -> bool {
    let Some(state) = edited(&seen.after, column, change) else { return false };
    seen.after = state;
    true
}

fn money_from_nothing(seen: &mut Observation) -> bool {
    change_state(seen, columns::ACCOUNTS, |account| add(account, &["balance"], 0, 1))
}

fn deposit_forgotten(seen: &mut Observation) -> bool {
    change_state(seen, columns::SECTORS, |sector| add(sector, &["deposit"], 1, -1))
}

fn obligation_miscounted(seen: &mut Observation) -> bool {
    change_state(seen, columns::PROVIDERS, |provider| add(provider, &["obligations"], 1, 1))
}

fn queue_entry_lost(seen: &mut Observation) -> bool {
    let keys = seen.after.entries().into_iter().filter(|entry| entry.column == columns::QUEUE);
    let wanted = |key: &Vec<u8>| {
        let key: (Epoch, Due) = codec::decode_strict(key, usize::MAX).expect("a key of the queue");
        matches!(key.1, Due::PartitionClose(..))
    };
    let Some(lost) = keys.map(|entry| entry.key).find(wanted) else { return false };
    let left = seen.after.entries().into_iter().filter(|entry| entry.column != columns::QUEUE || entry.key != lost);
    seen.after = rebuilt(left.map(|entry| (entry.column, entry.key, entry.value)));
    true
}

fn paid_to_another(seen: &mut Observation) -> bool {
    let mut state = seen.after.clone();
    for more in [1, -1] {
        let mut skip = usize::from(more < 0);
        let changed = edited(&state, columns::ACCOUNTS, |account| {
            let rich = number(account, &["balance"]).is_some_and(|balance| *balance > 1_000);
            let take = rich && skip == 0;
            skip = skip.saturating_sub(usize::from(rich));
            take && add(account, &["balance"], 0, more)
        });
        let Some(changed) = changed else { return false };
        state = changed;
    }
    seen.after = state;
    true
}

fn burnt_for_nothing(seen: &mut Observation) -> bool {
    let burnt = change_state(seen, columns::META, |meta| add(meta, &["treasury", "burnt"], 0, 1));
    burnt && change_state(seen, columns::ACCOUNTS, |account| add(account, &["balance"], 1, -1))
}

fn innocent_bidder_burnt(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::BidClosed { burnt, .. } if burnt.is_zero() => {
            *burnt = Amount(1);
            true
        }
        _ => false,
    })
}

/// Changes the first event that `change` wants to change, in the block and in its receipt.
fn change_event(seen: &mut Observation, mut change: impl FnMut(&mut Event) -> bool) -> bool {
    let Some(at) = seen.outcome.events.iter_mut().position(&mut change) else { return false };
    let changed = seen.outcome.events[at].clone();
    with_receipt_event(seen, at, |events, index| events[index] = changed);
    true
}

/// Takes the first event away that is `wanted`.
fn drop_event(seen: &mut Observation, wanted: impl Fn(&Event) -> bool) -> bool {
    let Some(at) = seen.outcome.events.iter().position(wanted) else { return false };
    with_receipt_event(seen, at, |events, index| drop(events.remove(index)));
    seen.outcome.events.remove(at);
    true
}

/// Does `what` to the event's twin in its receipt, if a transaction caused it.
fn with_receipt_event(seen: &mut Observation, at: usize, what: impl FnOnce(&mut Vec<Event>, usize)) {
    let Some(mut index) = at.checked_sub(seen.due_events().len()) else { return };
    for receipt in &mut seen.outcome.receipts {
        if index < receipt.events.len() {
            return what(&mut receipt.events, index);
        }
        index -= receipt.events.len();
    }
}

fn deposit_kept(seen: &mut Observation) -> bool {
    drop_event(seen, |event| matches!(event, Event::BidClosed { .. }))
}

fn close_without_a_word(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::DealClosed { closure, .. } | Event::SectorClosed { closure, .. } => {
            closure.text.clear();
            true
        }
        _ => false,
    })
}

fn faulted_epoch_paid(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::DealSettled { proven_epochs, .. } => {
            *proven_epochs += 1;
            true
        }
        _ => false,
    })
}

fn proven_epoch_unpaid(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::DealSettled { paid, .. } if !paid.is_zero() => {
            *paid = Amount(paid.0 - 1);
            true
        }
        _ => false,
    })
}

fn refund_short(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::OrderMatched { refunded, .. } if !refunded.is_zero() => {
            *refunded = Amount(refunded.0 - 1);
            true
        }
        _ => false,
    })
}

fn two_copies_one_owner(seen: &mut Observation) -> bool {
    let mut first = None;
    change_event(seen, |event| match event {
        Event::DealAssigned { order, provider, .. } => match first {
            Some((same, holder)) if same == *order && holder != *provider => {
                *provider = holder;
                true
            }
            Some((same, _)) if same == *order => false,
            _ => {
                first = Some((*order, *provider));
                false
            }
        },
        _ => false,
    })
}

fn missed_deadline_hidden(seen: &mut Observation) -> bool {
    // The last miss of a sector that goes on: one that closes is not asked for more.
    let goes_on = |event: &Event| match event {
        Event::SectorFaulted { provider, sector, missed, .. } => {
            *missed == 1 && seen.after.sector(*provider, *sector).is_some_and(|record| record.proving().is_some())
        }
        _ => false,
    };
    let Some(at) = seen.outcome.events.iter().position(goes_on) else { return false };
    let hidden = seen.outcome.events[at].clone();
    drop_event(seen, |event| *event == hidden)
}

fn order_to_the_unaudited(seen: &mut Observation) -> bool {
    let (state, all) = (seen.before.clone(), seen.after.clone());
    change_event(seen, |event| match event {
        Event::DealAssigned { order, provider, .. } => {
            let wanted = all.order(*order).map(|record| record.terms.requirements.clone());
            let asked = wanted.filter(|wanted| !wanted.attributes.is_empty());
            let silent = |other: &cairn_protocol::ProviderId| state.attributes_of(*other).is_empty();
            let unfit = state.providers().map(|(other, _)| other).find(silent);
            match asked.and(unfit) {
                Some(other) => {
                    *provider = other;
                    true
                }
                None => false,
            }
        }
        _ => false,
    })
}

fn update_of_another(seen: &mut Observation) -> bool {
    let updated = |event: &&Event| matches!(event, Event::Sector(SectorEvent::Updated { .. }));
    let Some(Event::Sector(SectorEvent::Updated { comm_r, .. })) = seen.outcome.events.iter().find(updated) else {
        return false;
    };
    let wanted = Ipld::Bytes(comm_r.0.to_vec());
    change_state(seen, columns::SECTORS, |sector| match sector {
        Ipld::Map(map) if map.get("comm_r") == Some(&wanted) => {
            map.insert("comm_r".to_owned(), Ipld::Bytes(vec![7; 32]));
            true
        }
        _ => false,
    })
}

fn rail_pays_faulted(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::Rail(RailEvent::Settled { settlement, .. }) => {
            settlement.paid = Amount(settlement.paid.0 + 1);
            true
        }
        _ => false,
    })
}

fn slashed_too_little(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::Slashed { burnt, .. } => {
            *burnt = Amount(burnt.0 - 1);
            true
        }
        _ => false,
    })
}

fn slashed_again(seen: &mut Observation) -> bool {
    let slashed = seen.outcome.events.iter().find(|event| matches!(event, Event::Slashed { .. })).cloned();
    let found = slashed.is_some();
    seen.outcome.events.splice(0..0, slashed);
    found
}

fn accuser_paid_too_much(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::Score(ScoreEvent::Contradicted { rewarded, .. }) => {
            *rewarded = Amount(rewarded.0 + 1_000);
            true
        }
        _ => false,
    })
}

fn reporter_paid_too_much(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::WrongBytesServed { rewarded, .. } => {
            *rewarded = Amount(rewarded.0 + 1_000);
            true
        }
        _ => false,
    })
}

fn opening_unheard(seen: &mut Observation) -> bool {
    drop_event(seen, |event| matches!(event, Event::Score(ScoreEvent::Opened { .. })))
}

fn worker_paid_too_much(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::Job(JobEvent::Proven { paid, .. }) => {
            *paid = Amount(paid.0 + 1);
            true
        }
        _ => false,
    })
}

/// A job that named sectors by number is about others than its poster knew.
fn sectors_not_signed_for(seen: &mut Observation) -> bool {
    let applied = seen.outcome.receipts.iter().map(|receipt| receipt.outcome == Outcome::Applied);
    let jobs = seen.offers.iter_mut().zip(applied).filter(|(_, applied)| *applied);
    let mut jobs = jobs.filter_map(|(offer, _)| match &mut offer.signed.transaction.command {
        Command::Job(JobCommand::PostSectors(job)) => Some(job),
        _ => None,
    });
    jobs.next().map(|job| job.digest[0] ^= 1).is_some()
}

fn voucher_paid_twice(seen: &mut Observation) -> bool {
    change_event(seen, |event| match event {
        Event::VoucherRedeemed { paid, .. } => {
            *paid = Amount(paid.0 + 1);
            true
        }
        _ => false,
    })
}

fn stake_released_early(seen: &mut Observation) -> bool {
    let Some((validator, _)) = seen.after.validators().next() else { return false };
    seen.outcome.events.insert(0, Event::StakeReleased { validator, amount: Amount(1) });
    true
}

fn nonce_skipped(seen: &mut Observation) -> bool {
    change_state(seen, columns::ACCOUNTS, |account| add(account, &["nonce"], 1, 1))
}

fn crime_applied(seen: &mut Observation) -> bool {
    let Some(at) = seen.offers.iter().position(|offer| offer.crime.is_some()) else { return false };
    seen.outcome.receipts[at].outcome = Outcome::Applied;
    true
}

fn due_work_left(seen: &mut Observation) -> bool {
    let done = seen.changes.iter().filter(|change| change.column == columns::QUEUE && change.value.is_none());
    let was_due = |key: &Vec<u8>| {
        let key: (Epoch, Due) = codec::decode_strict(key, usize::MAX).expect("a key of the queue");
        key.0 == seen.now()
    };
    let Some(left) = done.map(|change| change.key.clone()).find(was_due) else { return false };
    let entries = seen.after.entries().into_iter().map(|entry| (entry.column, entry.key, entry.value));
    seen.after = rebuilt(entries.chain([(columns::QUEUE, left, Some(codec::encode(&())))]));
    true
}

fn proofs_without_end(seen: &mut Observation) -> bool {
    seen.proofs += 2 * seen.offers.len() as u64 + 1;
    true
}

fn block_too_heavy(seen: &mut Observation) -> bool {
    let weighs = seen.offers.iter().any(|offer| seen.before.weight_of(&offer.signed) > 1);
    weighs
        && change_state(seen, columns::META, |meta| {
            number(meta, &["params", "block_weight_max"]).map(|limit| *limit = 1).is_some()
        })
}

fn root_of_another(seen: &mut Observation) -> bool {
    seen.outcome.state_root = seen.before.root();
    seen.before.root() != seen.after.root()
}

fn change_not_reported(seen: &mut Observation) -> bool {
    seen.changes.pop().is_some()
}

/// Applies a block, and takes a unit from whoever sent a transaction that was not applied.
fn leaking(
    state: &mut State,
    context: &BlockContext,
    transactions: &[SignedTransaction],
    verifier: &dyn ProofVerifier,
) -> Result<BlockOutcome, BlockRejection> {
    let outcome = world::apply(state, context, transactions, verifier)?;
    if outcome.receipts.iter().any(|receipt| receipt.outcome != Outcome::Applied) {
        *state =
            edited(state, columns::ACCOUNTS, |account| add(account, &["balance"], 1, -1)).expect("somebody is rich");
    }
    Ok(outcome)
}

fn leaking_tools() -> Tools {
    Tools { apply: leaking, ..Tools::default() }
}

/// Enters the epoch of a block that it then refuses.
fn eager_tools() -> Tools {
    Tools {
        apply: |state, context, transactions, verifier| {
            let refused = world::apply(&mut state.clone(), context, transactions, verifier).is_err();
            if refused {
                let next = BlockContext { epoch: Epoch(state.epoch().0 + 1), time_ms: u64::MAX, ..*context };
                world::apply(state, &next, &[], verifier)?;
            }
            world::apply(state, context, transactions, verifier)
        },
        ..Tools::default()
    }
}

/// Forgets an account when it writes a snapshot.
fn forgetful_tools() -> Tools {
    Tools {
        snapshot: |state| {
            let mut forgotten = false;
            let entries = state.entries().into_iter().filter(|entry| {
                let forget = !forgotten && entry.column == columns::ACCOUNTS;
                forgotten |= forget;
                !forget
            });
            codec::encode(&rebuilt(entries.map(|entry| (entry.column, entry.key, entry.value))))
        },
        ..Tools::default()
    }
}

/// Takes the block's time for something to decide by.
fn wavering_tools() -> Tools {
    Tools {
        apply: |state, context, transactions, verifier| {
            let later = BlockContext { time_ms: context.time_ms + 1, ..*context };
            state.apply_block(&later, transactions, verifier)
        },
        ..Tools::default()
    }
}
