//! What is to be fetched: files, their leaves, and the ranges that bring what is missing.

use std::ops::Range;

use cairn_content::{BlockId, Codec, LEAF_BYTES};
use cid::Cid;

/// One leaf of a file: its name and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafPlan {
    pub(crate) id: BlockId,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl LeafPlan {
    pub(crate) fn cid(&self) -> Cid {
        self.id.cid()
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    /// Compares bytes with the leaf's name.
    ///
    /// # Errors
    /// The name that the bytes have.
    pub(crate) fn matches(&self, bytes: &[u8]) -> Result<(), BlockId> {
        let got = BlockId::of(self.id.codec, bytes);
        if got == self.id { Ok(()) } else { Err(got) }
    }
}

/// One file of the selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePlan {
    /// Path in the dataset; empty if the dataset is this file.
    pub(crate) path: String,
    /// Path below the selection; empty if this file was selected.
    pub(crate) relative: String,
    pub(crate) cid: Cid,
    pub(crate) bytes: u64,
    /// SHA-256 of each leaf. An empty file has none: there is nothing to fetch.
    pub(crate) digests: Vec<[u8; 32]>,
}

impl FilePlan {
    pub(crate) fn leaf_count(&self) -> usize {
        self.digests.len()
    }

    pub(crate) fn leaf(&self, index: usize) -> LeafPlan {
        let offset = index as u64 * LEAF_BYTES;
        let id = BlockId { codec: Codec::Raw, digest: self.digests[index] };
        LeafPlan { id, offset, bytes: LEAF_BYTES.min(self.bytes - offset) }
    }
}

/// One request: consecutive leaves of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeJob {
    /// Index of the file.
    pub(crate) file: usize,
    /// Leaves to fetch.
    pub(crate) leaves: Range<usize>,
}

/// Groups the missing leaves of a file into ranges of at most `range_bytes`, or of one leaf if a leaf is larger.
pub(crate) fn jobs(file: usize, plan: &FilePlan, done: &[bool], range_bytes: u64) -> Vec<RangeJob> {
    let mut jobs: Vec<RangeJob> = Vec::new();
    for (leaf, _) in done.iter().enumerate().filter(|(_, done)| !**done) {
        let end = plan.leaf(leaf).end();
        match jobs.last_mut() {
            Some(job) if job.leaves.end == leaf && end - plan.leaf(job.leaves.start).offset <= range_bytes => {
                job.leaves.end = leaf + 1;
            }
            _ => jobs.push(RangeJob { file, leaves: leaf..leaf + 1 }),
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(leaves: usize) -> FilePlan {
        let cid = BlockId::of(Codec::Raw, b"").cid();
        let bytes = leaves as u64 * LEAF_BYTES;
        FilePlan { path: String::new(), relative: String::new(), cid, bytes, digests: vec![[0; 32]; leaves] }
    }

    #[test]
    fn leaves_fill_the_file() {
        let plan = FilePlan { bytes: LEAF_BYTES + 5, ..plan(2) };
        assert_eq!((plan.leaf(0).bytes, plan.leaf(1).bytes, plan.leaf(1).end()), (LEAF_BYTES, 5, LEAF_BYTES + 5));
    }

    #[test]
    fn ranges_break_at_the_limit_and_at_leaves_that_are_there() {
        let done = [false, false, false, true, false, false];
        let ranges: Vec<_> = jobs(7, &plan(6), &done, 2 * LEAF_BYTES).into_iter().map(|job| job.leaves).collect();
        assert_eq!(ranges, [0..2, 2..3, 4..6]);
        assert_eq!(jobs(0, &plan(2), &[false, false], 1).len(), 2, "a leaf is never split");
    }

    proptest! {
        #[test]
        fn every_missing_leaf_is_in_exactly_one_range(done in proptest::collection::vec(any::<bool>(), 0..60), range_leaves in 1u64..9) {
            let plan = plan(done.len());
            let mut covered = vec![0; done.len()];
            for job in jobs(0, &plan, &done, range_leaves * LEAF_BYTES + 7) {
                prop_assert!(job.leaves.len() as u64 <= range_leaves);
                job.leaves.for_each(|leaf| covered[leaf] += 1);
            }
            prop_assert!(covered.iter().zip(&done).all(|(count, done)| *count == i32::from(!done)));
        }
    }
}
