//! Which checker fetches which bytes from whom: drawn by the beacon, so that neither side chooses.
//!
//! Source: `spec/market.md` 6 and 7.1. For round, checker and slot:
//!
//! 1. Draw a provider, each equally likely, so that small ones are measured too. `samples` slots in a row go to one
//!    provider: an opinion needs several checks, and nobody can check everybody.
//! 2. Draw one of the deals that it serves, each equally likely: that names a dataset.
//! 3. Draw a point of the dataset. One root block says little about the rest; any byte may be asked for.
//!
//! A draw is `SHA-256(tag length u8 || tag || beacon || round u64 BE || checker || number u32 BE || what u8)`; its first
//! eight bytes, big-endian, are scaled to the choices by `x * choices / 2^64`. That favours some choices by at most
//! `choices / 2^64`. Slots that draw a provider of the checker's own stay empty.
//!
//! Everybody who has the beacon and the catalogue knows all tasks of the round: so does a provider. It cannot know from
//! which address a checker comes; checkers must ask as ordinary clients do.

use cairn_protocol::ProviderId;
use cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{Address, Beacon};

const TAG: &[u8] = b"cairn/randomness/retrieval-check/v1";

/// What every provider serves, in a fixed order.
pub trait Catalogue {
    /// Number of providers that serve anything.
    fn providers(&self) -> u64;

    /// The provider at a place below [`Catalogue::providers`]: its number, its owner, and how many deals it serves, which
    /// is more than none.
    fn provider(&self, place: u64) -> (ProviderId, Address, u64);

    /// Root CID of the dataset of one of its deals, by a place below their number.
    fn dataset(&self, provider: ProviderId, place: u64) -> Cid;
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPlan {
    /// Providers that a checker is sent to in a round; the same one may be drawn twice.
    pub targets: u32,
    /// Checks for each of them.
    pub samples: u32,
    /// Bytes in a range; less where the file ends.
    pub range_bytes: u64,
}

impl CheckPlan {
    /// Checks of each checker in a round.
    pub const fn slots(&self) -> u32 {
        self.targets.saturating_mul(self.samples)
    }
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
    /// Where the range begins: at byte `point * size / 2^64` of the dataset's files, one after the other.
    pub point: u64,
    /// Number of bytes.
    pub length: u64,
}

impl CheckTask {
    /// The first byte of the range in a dataset of `size` bytes.
    pub fn offset(&self, size: u64) -> u64 {
        scaled(self.point, size)
    }
}

/// The task in a slot; `None` beyond the plan, if nobody serves anything, or if it would be the checker's own provider.
pub fn task(
    catalogue: &impl Catalogue,
    beacon: &Beacon,
    round: u64,
    checker: Address,
    slot: u32,
    plan: &CheckPlan,
) -> Option<CheckTask> {
    let providers = catalogue.providers();
    if slot >= plan.slots() || plan.range_bytes == 0 || providers == 0 {
        return None;
    }
    let draw = |number: u32, what: u8| draw(beacon, round, checker, number, what);
    let (provider, owner, deals) = catalogue.provider(scaled(draw(slot / plan.samples, 0), providers));
    if owner == checker {
        return None;
    }
    let root = catalogue.dataset(provider, scaled(draw(slot, 1), deals));
    Some(CheckTask { round, checker, slot, provider, root, point: draw(slot, 2), length: plan.range_bytes })
}

/// The point that a slot's draw gives, whatever the catalogue was: what can be held against a receipt later.
pub fn point_of(beacon: &Beacon, round: u64, checker: Address, slot: u32) -> u64 {
    draw(beacon, round, checker, slot, 2)
}

/// Which of `choices` a checker must account for, drawn when its opinions are on the ledger.
pub(crate) fn audited(beacon: &Beacon, round: u64, checker: Address, choices: u64) -> u64 {
    scaled(draw(beacon, round, checker, 0, 3), choices)
}

/// Decides which of its receipts others look at.
pub(crate) fn exhibit_draw(beacon: &Beacon, round: u64, checker: Address) -> u64 {
    draw(beacon, round, checker, 1, 3)
}

/// All tasks of a checker.
pub fn tasks(
    catalogue: &impl Catalogue,
    beacon: &Beacon,
    round: u64,
    checker: Address,
    plan: &CheckPlan,
) -> impl Iterator<Item = CheckTask> {
    (0..plan.slots()).filter_map(move |slot| task(catalogue, beacon, round, checker, slot, plan))
}

fn draw(beacon: &Beacon, round: u64, checker: Address, number: u32, what: u8) -> u64 {
    let mut hash = Sha256::new();
    hash.update([TAG.len() as u8]);
    hash.update(TAG);
    hash.update(beacon.0);
    hash.update(round.to_be_bytes());
    hash.update(checker.0);
    hash.update(number.to_be_bytes());
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

    fn dataset(tag: u8) -> Cid {
        Cid::new_v1(0x55, Multihash::wrap(0x12, &[tag; 32]).unwrap())
    }

    fn owner(provider: u64) -> Address {
        Address([provider as u8; 32])
    }

    struct Shelves(Vec<(u64, Vec<u8>)>);

    impl Catalogue for Shelves {
        fn providers(&self) -> u64 {
            self.0.len() as u64
        }

        fn provider(&self, place: u64) -> (ProviderId, Address, u64) {
            let (number, datasets) = &self.0[place as usize];
            (ProviderId(*number), owner(*number), datasets.len() as u64)
        }

        fn dataset(&self, provider: ProviderId, place: u64) -> Cid {
            let (_, datasets) = self.0.iter().find(|(number, _)| *number == provider.0).unwrap();
            dataset(datasets[place as usize])
        }
    }

    fn shelves() -> Shelves {
        Shelves(vec![(1, vec![2]), (3, vec![1, 1, 1, 2])])
    }

    const PLAN: CheckPlan = CheckPlan { targets: 1_000, samples: 1, range_bytes: 1 << 20 };

    #[test]
    fn every_provider_is_checked_about_equally() {
        let (shelves, beacon, checker) = (shelves(), Beacon([7; 32]), Address([99; 32]));
        let mut counts: BTreeMap<(u64, Cid), u32> = BTreeMap::new();
        for drawn in tasks(&shelves, &beacon, 5, checker, &PLAN) {
            assert_eq!(task(&shelves, &beacon, 5, checker, drawn.slot, &PLAN).as_ref(), Some(&drawn));
            assert_ne!(task(&shelves, &Beacon([8; 32]), 5, checker, drawn.slot, &PLAN), Some(drawn.clone()));
            *counts.entry((drawn.provider.0, drawn.root)).or_default() += 1;
        }
        let count = |provider, tag| counts[&(provider, dataset(tag))];
        let (small, large) = (count(1, 2), count(3, 1) + count(3, 2));
        assert_eq!(small + large, 1_000);
        assert!(small.abs_diff(large) < 120, "{small} and {large}");
        assert!(count(3, 1).abs_diff(3 * count(3, 2)) < 120, "by deals: {} and {}", count(3, 1), count(3, 2));
    }

    #[test]
    fn samples_of_a_target_go_to_one_provider() {
        let plan = CheckPlan { targets: 20, samples: 10, range_bytes: 1 };
        let drawn: Vec<CheckTask> = tasks(&shelves(), &Beacon([7; 32]), 5, Address([99; 32]), &plan).collect();
        assert_eq!(drawn.len(), 200);
        assert!(drawn.chunks(10).all(|target| target.iter().all(|task| task.provider == target[0].provider)));
        assert!(drawn.chunks(10).any(|target| target[0].provider != drawn[0].provider));
        assert!(drawn.chunks(10).all(|target| target.windows(2).all(|pair| pair[0].point != pair[1].point)));
    }

    #[test]
    fn a_checker_does_not_check_itself() {
        let tasks = |checker| tasks(&shelves(), &Beacon([7; 32]), 5, checker, &PLAN).collect::<Vec<_>>();
        assert!(tasks(owner(3)).iter().all(|task| task.provider != ProviderId(3)));
        assert!(tasks(owner(3)).len() > 400);
        assert_eq!(task(&Shelves(vec![]), &Beacon([7; 32]), 5, owner(9), 0, &PLAN), None);
    }

    proptest! {
        #[test]
        fn a_point_lies_in_any_dataset(point: u64, size in prop_oneof![1u64..5_000, any::<u64>()]) {
            let (round, checker, slot, provider) = (1, owner(1), 0, ProviderId(1));
            let task = CheckTask { round, checker, slot, provider, root: dataset(1), point, length: 1 };
            prop_assert!(task.offset(size.max(1)) < size.max(1));
        }
    }
}
