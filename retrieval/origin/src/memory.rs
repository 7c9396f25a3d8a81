//! Leaves in memory, in order of use, never more bytes than the bound.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

pub(crate) type Digest = [u8; 32];

/// Which names were used last, and how many bytes they stand for.
#[derive(Debug, Default)]
pub(crate) struct Recency {
    entries: HashMap<Digest, (u64, u64)>,
    order: BTreeMap<u64, Digest>,
    next: u64,
    used: u64,
}

impl Recency {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.entries.contains_key(digest)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Makes it the last used; says whether it is here.
    pub(crate) fn touch(&mut self, digest: &Digest) -> bool {
        let Some((tick, _)) = self.entries.get_mut(digest) else { return false };
        self.order.remove(tick);
        *tick = self.next;
        self.order.insert(self.next, *digest);
        self.next += 1;
        true
    }

    /// Adds an entry that is not here yet.
    pub(crate) fn add(&mut self, digest: Digest, bytes: u64) {
        debug_assert!(!self.contains(&digest));
        self.entries.insert(digest, (self.next, bytes));
        self.order.insert(self.next, digest);
        self.next += 1;
        self.used += bytes;
    }

    pub(crate) fn remove(&mut self, digest: &Digest) {
        if let Some((tick, bytes)) = self.entries.remove(digest) {
            self.order.remove(&tick);
            self.used -= bytes;
        }
    }

    /// Takes out the entry that was not used for the longest time.
    pub(crate) fn pop_oldest(&mut self) -> Option<Digest> {
        let oldest = *self.order.first_key_value()?.1;
        self.remove(&oldest);
        Some(oldest)
    }
}

/// Leaves in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    max: u64,
    recency: Recency,
    leaves: HashMap<Digest, Bytes>,
}

impl Memory {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, recency: Recency::default(), leaves: HashMap::new() }
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.leaves.contains_key(digest)
    }

    pub(crate) fn used(&self) -> u64 {
        self.recency.used()
    }

    pub(crate) fn get(&mut self, digest: &Digest) -> Option<Bytes> {
        self.recency.touch(digest);
        self.leaves.get(digest).cloned()
    }

    pub(crate) fn insert(&mut self, digest: Digest, bytes: Bytes) {
        let len = bytes.len() as u64;
        if len > self.max || self.recency.touch(&digest) {
            return;
        }
        while self.recency.used() + len > self.max {
            let Some(oldest) = self.recency.pop_oldest() else { break };
            self.leaves.remove(&oldest);
        }
        self.recency.add(digest, len);
        self.leaves.insert(digest, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaf_goes_first_and_the_bound_holds() {
        let mut memory = Memory::new(30);
        for name in 0..3u8 {
            memory.insert([name; 32], Bytes::from(vec![name; 10]));
        }
        assert!(memory.get(&[0; 32]).is_some());
        memory.insert([3; 32], Bytes::from(vec![3; 10]));
        assert!(memory.contains(&[0; 32]) && !memory.contains(&[1; 32]));
        memory.insert([4; 32], Bytes::from(vec![4; 31]));
        assert!(!memory.contains(&[4; 32]));
        memory.insert([5; 32], Bytes::from(vec![5; 30]));
        assert_eq!((memory.used(), memory.leaves.len()), (30, 1));
    }
}
