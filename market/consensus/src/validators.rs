//! The set of validators that decides one block, and whose turn it is.
//!
//! The set follows from the state after the block before, so everybody who has that state has the same set. The turn to
//! propose follows from height and round, in proportion to votes, among those who are here. Who missed the last decisions
//! stands behind all the others, so a dead validator costs a timeout once and not each time its turn comes;
//! it keeps its votes, and its turn comes back with its first signature.

use cairn_ledger::{Address, State, codec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most validators that decide a block: those with the most stake, the lower address first among equals.
pub const VALIDATORS_MAX: usize = 100;

/// One who votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its key.
    pub address: Address,
    /// Its votes; at least one.
    pub power: u64,
    /// Whether it missed the last decisions.
    pub absent: bool,
}

/// Who decides a block, sorted by address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Validators(Vec<Member>);

impl Validators {
    /// Who decides the block after `state`.
    pub fn after(state: &State) -> Self {
        let mut members: Vec<Member> = state
            .validators()
            .map(|(address, v)| Member { address, power: v.power(), absent: v.is_absent() })
            .filter(|member| member.power > 0)
            .collect();
        members.sort_by_key(|member| (std::cmp::Reverse(member.power), member.address));
        members.truncate(VALIDATORS_MAX);
        members.sort_by_key(|member| member.address);
        Self(members)
    }

    /// A set that somebody sent; see [`Validators::is_sound`].
    pub fn claimed(members: Vec<Member>) -> Self {
        Self(members)
    }

    /// Whether a set that somebody sent can be one: sorted, nobody twice or without a vote, and not too many.
    pub fn is_sound(&self) -> bool {
        let ascending = self.0.windows(2).all(|pair| pair[0].address < pair[1].address);
        let votes = self.0.iter().try_fold(0u64, |sum, member| sum.checked_add(member.power));
        let counted = votes.is_some() && self.0.iter().all(|member| member.power > 0);
        ascending && counted && (1..=VALIDATORS_MAX).contains(&self.0.len())
    }

    /// All members, by address.
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// A member.
    pub fn get(&self, address: &Address) -> Option<&Member> {
        self.0.binary_search_by_key(address, |member| member.address).ok().map(|place| &self.0[place])
    }

    /// All votes. They fit: they are units of a supply that is counted in millionths in as many bits.
    pub fn power(&self) -> u64 {
        self.0.iter().map(|member| member.power).sum()
    }

    /// Whether `power` is more than two thirds of all votes.
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.power()) * 2
    }

    /// Whose turn it is to propose. Over many heights everybody here has turns in proportion to its votes; within as many
    /// rounds as there are members, everybody has one, the absent last.
    ///
    /// # Panics
    /// If the set is empty: a block is never decided by nobody.
    pub fn proposer(&self, height: u64, round: u32) -> &Member {
        assert!(!self.0.is_empty(), "somebody decides every block");
        let (here, absent): (Vec<&Member>, Vec<&Member>) = self.0.iter().partition(|member| !member.absent);
        let place = (u64::from(round) % self.0.len() as u64) as usize;
        match place.checked_sub(here.len()) {
            None => turn(here, height, place),
            Some(place) => turn(absent, height, place),
        }
    }

    /// The set's name: SHA-256 of addresses and votes in canonical DAG-CBOR.
    pub fn root(&self) -> [u8; 32] {
        let votes: Vec<(Address, u64)> = self.0.iter().map(|member| (member.address, member.power)).collect();
        Sha256::new().chain_update(b"cairn/validators/v1").chain_update(codec::encode(&votes)).finalize().into()
    }
}

/// 2^64 divided by the golden ratio. Its multiples fall into the circle of 2^64 as evenly as any can.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The member at `place` in the order of this height: each time the one on whose votes the height's point falls, among
/// those who have not had their turn.
fn turn(mut members: Vec<&Member>, height: u64, place: usize) -> &Member {
    let point = height.wrapping_mul(GOLDEN);
    for _ in 0..place {
        members.remove(under(&members, point));
    }
    members[under(&members, point)]
}

/// On whose votes a point of the circle falls.
fn under(members: &[&Member], point: u64) -> usize {
    let all: u128 = members.iter().map(|member| u128::from(member.power)).sum();
    // Both fit: votes of all members together fit in 64 bits.
    let mut vote = (u128::from(point) * all) >> 64;
    for (index, member) in members.iter().enumerate() {
        match vote.checked_sub(member.power.into()) {
            Some(rest) => vote = rest,
            None => return index,
        }
    }
    unreachable!("the point is below the sum of the votes")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A set of these votes; whoever is in `absent` is absent.
    pub(crate) fn set(powers: &[u64], absent: &[usize]) -> Validators {
        let member = |(place, &power): (usize, &u64)| Member {
            address: Address([place as u8 + 1; 32]),
            power,
            absent: absent.contains(&place),
        };
        Validators(powers.iter().enumerate().map(member).collect())
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        assert!(!set(&[1, 1, 1], &[]).is_quorum(2) && set(&[1, 1, 1], &[]).is_quorum(3));
        assert!(set(&[1, 1, 1, 1], &[]).is_quorum(3));
        assert!(!Validators::default().is_quorum(0));
    }

    #[test]
    fn everybody_has_a_turn_and_the_absent_come_last() {
        let all = set(&[5, 1, 1, 1], &[]);
        assert_ne!(all.proposer(7, 0), all.proposer(7, 1));
        let one_gone = set(&[1, 1, 1, 1], &[2]);
        for height in 0..20 {
            let order: Vec<bool> = (0..4).map(|round| one_gone.proposer(height, round).absent).collect();
            assert_eq!(order, [false, false, false, true], "height {height}");
            let mut all: Vec<Address> = (0..4).map(|round| one_gone.proposer(height, round).address).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 4, "within as many rounds as there are members, everybody has a turn");
        }
        assert!(set(&[1], &[0]).proposer(3, u32::MAX).absent);
    }

    #[test]
    fn turns_are_in_proportion_to_votes() {
        let all = set(&[50, 20, 20, 10, 900], &[4]);
        let mut turns = [0i32; 4];
        for height in 0..1_000 {
            turns[all.proposer(height, 0).address.0[0] as usize - 1] += 1;
        }
        for (turns, share) in turns.into_iter().zip([500, 200, 200, 100]) {
            assert!((turns - share).abs() <= 4, "{turns} turns of {share}");
        }
        let equal = set(&[7, 7, 7, 7], &[]);
        for first in 0..100 {
            let mut seen: Vec<_> = (first..first + 8).map(|height| equal.proposer(height, 0).address).collect();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 4, "nobody waits long among equals");
        }
    }

    #[test]
    fn the_root_is_about_votes_alone() {
        assert_eq!(set(&[1, 2], &[]).root(), set(&[1, 2], &[1]).root());
        assert_ne!(set(&[1, 2], &[]).root(), set(&[2, 1], &[]).root());
    }
}
