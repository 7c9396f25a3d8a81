//! Which checker fetches which bytes from whom: drawn by the beacon, so that neither side chooses.
//!
//! Source: `spec/market.md` 6 and 7.1. For round, checker and slot:
//!
//! 1. Draw a provider, each equally likely, so that small ones are measured too.
//! 2. Draw a byte of all that it serves, each equally likely: that names a dataset.
//! 3. Draw where the range begins in the dataset. One root block says little about the rest; any range may be asked.
//!
//! A draw is `SHA-256(tag length u8 || tag || beacon || round u64 BE || checker || slot u32 BE || what u8)`; its first
//! eight bytes, big-endian, are scaled to the choices by `x * choices / 2^64`. That favours some choices by at most
//! `choices / 2^64`. A slot that draws a provider of the checker's own stays empty.
//!
//! Everybody who has the beacon and the catalogue knows all tasks of the round: so does a provider. It cannot know from
//! which address a checker comes; checkers must ask as ordinary clients do.

use cairn_protocol::ProviderId;
use cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{Address, Beacon};

const TAG: &[u8] = b"cairn/randomness/retrieval-check/v1";

/// A dataset that a provider must serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrievable {
    /// Root CID.
    pub root: Cid,
    /// Bytes of its payload; more than none.
    pub bytes: u64,
}

#[derive(Debug, Clone)]
struct Shelf {
    provider: ProviderId,
    owner: Address,
    /// Datasets with the sum of bytes before each.
    datasets: Vec<(u64, Retrievable)>,
    bytes: u64,
}

/// What every provider serves in a round, in the order of provider numbers and CIDs.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    shelves: Vec<Shelf>,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPlan {
    /// Slots of each checker in a round.
    pub slots: u32,
    /// Bytes in a range; less where the dataset is smaller.
    pub range_bytes: u64,
}

/// One range that a checker shall fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckTask {
    /// The round.
    pub round: u64,
    /// Who checks.
    pub checker: Address,
    /// Which of its tasks.
    pub slot: u32,
    /// Who is checked.
    pub provider: ProviderId,
    /// Root CID of the dataset.
    pub root: Cid,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Catalogue {
    /// Sorts what is served. Empty datasets are left out, as is what would make a provider serve 2^64 bytes or more.
    pub fn new(serving: impl IntoIterator<Item = (ProviderId, Address, Vec<Retrievable>)>) -> Self {
        let mut shelves: Vec<Shelf> = Vec::new();
        for (provider, owner, mut datasets) in serving {
            datasets.sort_unstable();
            datasets.dedup();
            let mut shelf = Shelf { provider, owner, datasets: Vec::new(), bytes: 0 };
            for dataset in datasets.into_iter().filter(|dataset| dataset.bytes > 0) {
                let Some(bytes) = shelf.bytes.checked_add(dataset.bytes) else { break };
                shelf.datasets.push((shelf.bytes, dataset));
                shelf.bytes = bytes;
            }
            if shelf.bytes > 0 {
                shelves.push(shelf);
            }
        }
        shelves.sort_by_key(|shelf| shelf.provider);
        shelves.dedup_by_key(|shelf| shelf.provider);
        Self { shelves }
    }

    /// Number of providers that serve anything.
    pub fn providers(&self) -> usize {
        self.shelves.len()
    }

    /// The task in a slot; `None` beyond the plan, if nobody serves anything, or if it would be the checker's own
    /// provider.
    pub fn task(
        &self,
        beacon: &Beacon,
        round: u64,
        checker: Address,
        slot: u32,
        plan: &CheckPlan,
    ) -> Option<CheckTask> {
        if slot >= plan.slots || plan.range_bytes == 0 || self.shelves.is_empty() {
            return None;
        }
        let draw = |what: u8, choices: u64| scaled(draw(beacon, round, checker, slot, what), choices);
        let shelf = &self.shelves[draw(0, self.shelves.len() as u64) as usize];
        if shelf.owner == checker {
            return None;
        }
        let byte = draw(1, shelf.bytes);
        let index = shelf.datasets.partition_point(|(before, _)| *before <= byte) - 1;
        let dataset = shelf.datasets[index].1;
        let length = plan.range_bytes.min(dataset.bytes);
        let offset = draw(2, (dataset.bytes - length).saturating_add(1));
        Some(CheckTask { round, checker, slot, provider: shelf.provider, root: dataset.root, offset, length })
    }

    /// All tasks of a checker.
    pub fn tasks<'a>(
        &'a self,
        beacon: &'a Beacon,
        round: u64,
        checker: Address,
        plan: &'a CheckPlan,
    ) -> impl Iterator<Item = CheckTask> + 'a {
        (0..plan.slots).filter_map(move |slot| self.task(beacon, round, checker, slot, plan))
    }

    /// Whether this very task was drawn.
    pub fn is_assigned(&self, beacon: &Beacon, task: &CheckTask, plan: &CheckPlan) -> bool {
        self.task(beacon, task.round, task.checker, task.slot, plan).as_ref() == Some(task)
    }
}

fn draw(beacon: &Beacon, round: u64, checker: Address, slot: u32, what: u8) -> u64 {
    let mut hash = Sha256::new();
    hash.update([TAG.len() as u8]);
    hash.update(TAG);
    hash.update(beacon.0);
    hash.update(round.to_be_bytes());
    hash.update(checker.0);
    hash.update(slot.to_be_bytes());
    hash.update([what]);
    u64::from_be_bytes(hash.finalize()[..8].try_into().expect("a digest has 32 bytes"))
}

fn scaled(draw: u64, choices: u64) -> u64 {
    ((u128::from(draw) * u128::from(choices)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use multihash::Multihash;
    use proptest::prelude::*;

    use super::*;

    fn dataset(tag: u8, bytes: u64) -> Retrievable {
        Retrievable { root: Cid::new_v1(0x55, Multihash::wrap(0x12, &[tag; 32]).unwrap()), bytes }
    }

    fn owner(provider: u64) -> Address {
        Address([provider as u8; 32])
    }

    fn catalogue() -> Catalogue {
        let serving = |n: u64, datasets| (ProviderId(n), owner(n), datasets);
        Catalogue::new([
            serving(3, vec![dataset(1, 1 << 40), dataset(2, 1 << 20)]),
            serving(1, vec![dataset(2, 1 << 20), dataset(4, 0)]),
            serving(2, vec![dataset(4, 0)]),
        ])
    }

    const PLAN: CheckPlan = CheckPlan { slots: 1_000, range_bytes: 1 << 20 };

    #[test]
    fn every_provider_is_checked_about_equally() {
        let (catalogue, beacon, checker) = (catalogue(), Beacon([7; 32]), Address([99; 32]));
        assert_eq!(catalogue.providers(), 2);
        let mut counts: BTreeMap<(ProviderId, Cid), u32> = BTreeMap::new();
        for task in catalogue.tasks(&beacon, 5, checker, &PLAN) {
            assert!(catalogue.is_assigned(&beacon, &task, &PLAN));
            assert!(!catalogue.is_assigned(&beacon, &CheckTask { offset: task.offset + 1, ..task.clone() }, &PLAN));
            // A dataset of one range has one task only, which any beacon may draw.
            let whole = task.length == 1 << 20 && task.offset == 0;
            assert!(whole || !catalogue.is_assigned(&Beacon([8; 32]), &task, &PLAN));
            *counts.entry((task.provider, task.root)).or_default() += 1;
        }
        let small = counts[&(ProviderId(1), dataset(2, 0).root)];
        let large = counts[&(ProviderId(3), dataset(1, 0).root)];
        assert_eq!(small + large, 1_000, "a dataset of a millionth of the bytes is hardly ever drawn");
        assert!(small.abs_diff(large) < 120, "{small} and {large}");
    }

    #[test]
    fn a_checker_does_not_check_itself() {
        let tasks = |checker| catalogue().tasks(&Beacon([7; 32]), 5, checker, &PLAN).collect::<Vec<_>>();
        assert!(tasks(owner(3)).iter().all(|task| task.provider != ProviderId(3)));
        assert!(tasks(owner(3)).len() > 400);
    }

    proptest! {
        #[test]
        fn a_range_lies_in_its_dataset(
            beacon: [u8; 32],
            sizes in prop::collection::vec(prop_oneof![1u64..5_000, Just(u64::MAX)], 1..6),
            range_bytes in prop_oneof![1u64..5_000, Just(u64::MAX)],
            slot in 0u32..50,
        ) {
            let datasets: Vec<_> = sizes.iter().enumerate().map(|(n, bytes)| dataset(n as u8, *bytes)).collect();
            let catalogue = Catalogue::new([(ProviderId(1), owner(1), datasets.clone())]);
            let plan = CheckPlan { slots: 50, range_bytes };
            let task = catalogue.task(&Beacon(beacon), 1, Address([9; 32]), slot, &plan).unwrap();
            let found = datasets.iter().find(|dataset| dataset.root == task.root).unwrap();
            prop_assert!(task.length > 0 && task.length <= range_bytes);
            prop_assert!(task.offset.checked_add(task.length).unwrap() <= found.bytes);
        }
    }
}
