//! The set of validators that decides one block, and whose turn it is.
//!
//! The set follows from the state after the block before, so everybody who has that state has the same set. The turn to
//! propose goes round: height + round names the place in the list of those who are here, sorted by address. Who missed the
//! last decisions stands behind all the others, so a dead validator costs a timeout once and not each time its turn comes;
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

    /// Whose turn it is to propose.
    ///
    /// # Panics
    /// If the set is empty: a block is never decided by nobody.
    pub fn proposer(&self, height: u64, round: u32) -> &Member {
        assert!(!self.0.is_empty(), "somebody decides every block");
        let (here, absent): (Vec<&Member>, Vec<&Member>) = self.0.iter().partition(|member| !member.absent);
        let place = u64::from(round) % self.0.len() as u64;
        let turn = |members: &[&Member], place: u64| (height.wrapping_add(place) % members.len() as u64) as usize;
        match place.checked_sub(here.len() as u64) {
            None => here[turn(&here, place)],
            Some(place) => absent[turn(&absent, place)],
        }
    }

    /// The set's name: SHA-256 of addresses and votes in canonical DAG-CBOR.
    pub fn root(&self) -> [u8; 32] {
        let votes: Vec<(Address, u64)> = self.0.iter().map(|member| (member.address, member.power)).collect();
        Sha256::new().chain_update(b"cairn/validators/v1").chain_update(codec::encode(&votes)).finalize().into()
    }
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
        let turns: Vec<u8> = (0..4).map(|height| all.proposer(height, 0).address.0[0]).collect();
        assert_eq!(turns, [1, 2, 3, 4]);
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
    fn the_root_is_about_votes_alone() {
        assert_eq!(set(&[1, 2], &[]).root(), set(&[1, 2], &[1]).root());
        assert_ne!(set(&[1, 2], &[]).root(), set(&[2, 1], &[]).root());
    }
}
