//! The state as a value: roots, snapshots, stores, replays.

use std::collections::BTreeMap;

use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{State, codec};

use super::Checker;
use crate::observation::Observation;
use crate::random::Random;

/// See [`super::PROMISES`].
pub struct RootFromContent;

impl RootFromContent {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for RootFromContent {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let (told, root) = (seen.outcome.state_root, seen.after.root());
        if told != root {
            return Err(format!("the block says {told}, the state {root}"));
        }
        if !seen.full {
            return Ok(());
        }
        // The same content, put together in another order.
        let mut entries = seen.after.entries();
        Random::new(seen.now().0).shuffle(&mut entries);
        let entries = entries.into_iter().filter_map(|entry| Some((entry.column, entry.key, entry.value?)));
        let rebuilt = State::from_entries(entries).map_err(|damage| damage.to_string())?.root();
        if rebuilt == root { Ok(()) } else { Err(format!("the same content has the roots {root} and {rebuilt}")) }
    }
}

/// See [`super::PROMISES`].
pub struct SnapshotRoundTrip;

impl SnapshotRoundTrip {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for SnapshotRoundTrip {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        if !seen.full {
            return Ok(());
        }
        let bytes = (seen.tools.snapshot)(&seen.after);
        let read: State = codec::decode_strict(&bytes, usize::MAX).map_err(|rejection| rejection.to_string())?;
        if read.root() != seen.after.root() {
            return Err("the snapshot is of another state".to_owned());
        }
        if (seen.tools.snapshot)(&read) == bytes { Ok(()) } else { Err("two snapshots of one state differ".to_owned()) }
    }
}

/// See [`super::PROMISES`].
pub struct ChangesComplete {
    stored: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
}

impl ChangesComplete {
    pub(super) fn new(state: &State) -> Self {
        let entries = state.entries().into_iter();
        Self { stored: entries.filter_map(|entry| Some(((entry.column, entry.key), entry.value?))).collect() }
    }
}

impl Checker for ChangesComplete {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for change in &seen.changes {
            let key = (change.column, change.key.clone());
            match &change.value {
                Some(value) => drop(self.stored.insert(key, value.clone())),
                None if self.stored.remove(&key).is_none() => {
                    return Err(format!("an entry of column {} is removed that was never written", change.column));
                }
                None => {}
            }
        }
        if !seen.full {
            return Ok(());
        }
        let entries = self.stored.iter().map(|((column, key), value)| (*column, key.clone(), value.clone()));
        let stored = State::from_entries(entries).map_err(|damage| damage.to_string())?.root();
        let root = seen.after.root();
        if stored == root { Ok(()) } else { Err(format!("the store holds {stored}, the state is {root}")) }
    }
}

/// See [`super::PROMISES`].
pub struct ReplayRepeats {
    /// A state that was written and read again, to go on from.
    restored: Option<State>,
}

impl ReplayRepeats {
    pub(super) fn new(_: &State) -> Self {
        Self { restored: None }
    }
}

impl Checker for ReplayRepeats {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        if let Some(mut state) = self.restored.take() {
            let again = (seen.tools.apply)(&mut state, &seen.context, &seen.transactions(), &HashVerifier);
            if again.as_ref() != Ok(&seen.outcome) {
                return Err("the block does something else on a restored state".to_owned());
            }
        }
        if seen.full {
            let bytes = codec::encode(&seen.after);
            self.restored = Some(codec::decode_strict(&bytes, usize::MAX).map_err(|rejection| rejection.to_string())?);
        }
        Ok(())
    }
}
