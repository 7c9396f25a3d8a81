//! Which blocks follow from what is believed, by signatures alone.
//!
//! A set of validators is believed. A block decided by another set is believed too, and that set with it, if
//!
//! 1. the header names that set, and two thirds of its votes signed the block; and
//! 2. those who signed have more than a third of the votes of the believed set. While less than a third of it lies, one of
//!    them is honest, and honest validators sign one history alone.
//!
//! Sets that changed too much for one hop are reached through blocks between, halving the way each time.
//!
//! Old validators could sign anything once their stake is free again, so a believed block must be younger than that; the
//! caller checks it ([`check_age`]). A believed set has no age: there the operator says that it decides blocks now.
//!
//! Heights say nothing about age to who believes its own head alone: a forged history may be short. There the clock must
//! say that stake cannot be free yet ([`check_own_head`]).

use std::time::Duration;

use cairn_ledger::{ChainId, LedgerParams};
use cairn_protocol::Epoch;

use crate::block::{BlockHeader, BlockId};
use crate::commit::CommitRejection;
use crate::store::LightBlock;
use crate::validators::Validators;

/// Why a header is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustRejection {
    /// A header of another chain or height.
    #[error("header of height {height}: it is of chain {chain} and height {got}")]
    OtherBlock {
        /// Height asked for.
        height: Epoch,
        /// Its chain.
        chain: ChainId,
        /// Its height.
        got: Epoch,
    },
    /// Not the operator's block.
    #[error("header of height {height}: it is block {got}, the checkpoint is {expected}")]
    OtherCheckpoint {
        /// Height.
        height: Epoch,
        /// The checkpoint.
        expected: BlockId,
        /// The block given.
        got: BlockId,
    },
    /// The validators sent with it are not those that the header names.
    #[error("header of height {height}: the validators sent with it are not those that it names")]
    OtherValidators {
        /// Height.
        height: Epoch,
    },
    /// The decision is none.
    #[error(transparent)]
    Commit(#[from] CommitRejection),
    /// Too few of those believed have signed it.
    #[error(
        "header of height {height}: signed by {got} of {all} votes that are believed since height {since}, more than a \
         third are needed"
    )]
    TooFewBelieved {
        /// Height.
        height: Epoch,
        /// Where the believed set is from.
        since: Epoch,
        /// Votes that signed.
        got: u64,
        /// Votes of the believed set.
        all: u64,
    },
    /// The checkpoint's validators may have their stake back.
    #[error(
        "the checkpoint is {age} blocks older than block {height}, stake stays locked for {limit}: get a newer one"
    )]
    TooOld {
        /// The block.
        height: Epoch,
        /// How much older.
        age: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// No block of the server was decided by the set of the checkpoint.
    #[error("no block near height {height} was decided by the validators of the checkpoint")]
    UnknownValidators {
        /// Where it was looked for, downwards.
        height: Epoch,
    },
}

/// Who is believed, and since when.
#[derive(Debug, Clone)]
pub struct Believed {
    /// The set.
    pub validators: Validators,
    /// Height of the block that it decided.
    pub height: Epoch,
}

/// Checks a light block by itself: that it is the one asked for, and that the set sent with it decided it.
///
/// # Errors
/// [`TrustRejection`].
pub fn check_light(light: &LightBlock, chain: &ChainId, height: Epoch) -> Result<(), TrustRejection> {
    let header = &light.header;
    if (header.chain, header.height) != (*chain, height) {
        return Err(TrustRejection::OtherBlock { height, chain: header.chain, got: header.height });
    }
    if !light.deciders.is_sound() || light.deciders.root() != header.validators_root {
        return Err(TrustRejection::OtherValidators { height });
    }
    Ok(light.commit.verify(chain, height, &header.id(), &light.deciders)?)
}

/// Whether a light block that passed [`check_light`] is believed because of a believed set; then its set is believed too.
///
/// # Errors
/// [`TrustRejection::TooFewBelieved`].
pub fn hop(believed: &Believed, light: &LightBlock) -> Result<Believed, TrustRejection> {
    let signers = light.commit.signatures.iter().filter_map(|signature| believed.validators.get(&signature.validator));
    let (got, all) = (signers.map(|member| member.power).sum::<u64>(), believed.validators.power());
    let height = light.header.height;
    if u128::from(got) * 3 <= u128::from(all) {
        return Err(TrustRejection::TooFewBelieved { height, since: believed.height, got, all });
    }
    Ok(Believed { validators: light.deciders.clone(), height })
}

/// Hops from what is believed to `target`, through light blocks at multiples of `every` between if it must be. `fetch` gets
/// them, right by themselves.
///
/// # Errors
/// What `fetch` says, or [`TrustRejection::TooFewBelieved`] where the sets of two neighbours differ too much.
pub fn reach<E: From<TrustRejection>>(
    mut believed: Believed,
    target: &LightBlock,
    every: u64,
    fetch: &mut dyn FnMut(Epoch) -> Result<LightBlock, E>,
) -> Result<(), E> {
    let mut ahead = vec![target.clone()];
    while let Some(next) = ahead.last() {
        match hop(&believed, next) {
            Ok(reached) => {
                believed = reached;
                ahead.pop();
            }
            Err(rejection) => {
                let (from, to) = (believed.height.0, next.header.height.0);
                let middle = (from + to.saturating_sub(from) / 2).div_ceil(every).saturating_mul(every);
                if middle <= from || middle >= to {
                    return Err(rejection.into());
                }
                ahead.push(fetch(Epoch(middle))?);
            }
        }
    }
    Ok(())
}

/// Checks that a block is not too far above the checkpoint.
///
/// # Errors
/// [`TrustRejection::TooOld`].
pub fn check_age(checkpoint: Epoch, height: Epoch, params: &LedgerParams) -> Result<(), TrustRejection> {
    let (age, limit) = (height.0.saturating_sub(checkpoint.0), params.stake.unbonding_epochs);
    if age > limit { Err(TrustRejection::TooOld { height, age, limit }) } else { Ok(()) }
}

/// The own last block is too old to believe its validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the last block here, {height}, is {} s old; after {} s those who decided it may have their stake back",
    .age.as_secs(), .limit.as_secs()
)]
pub struct OldHead {
    /// Its height.
    pub height: Epoch,
    /// By its own time and the clock here.
    pub age: Duration,
    /// What is allowed: half of `unbonding_epochs` blocks. The other half is for clocks and for what is not known here.
    pub limit: Duration,
}

/// Checks that those who decided the own head have something to lose: blocks never come faster than the interval, so
/// counted in time their stake is still locked.
///
/// # Errors
/// [`OldHead`].
pub fn check_own_head(
    head: &BlockHeader,
    now_ms: u64,
    block_interval: Duration,
    params: &LedgerParams,
) -> Result<(), OldHead> {
    let blocks = u32::try_from(params.stake.unbonding_epochs / 2).unwrap_or(u32::MAX);
    let (limit, age) = (block_interval.saturating_mul(blocks), Duration::from_millis(now_ms.abs_diff(head.time_ms)));
    if age > limit { Err(OldHead { height: head.height, age, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::{Address, Beacon, SignatureBytes, StateRoot, address_of, codec};
    use ed25519_consensus::SigningKey;

    use super::*;
    use crate::commit::{Commit, CommitSignature, VoteKind, vote_message};
    use crate::validators::Member;

    const CHAIN: ChainId = ChainId([4; 32]);

    fn key(n: u8) -> SigningKey {
        SigningKey::from([n; 32])
    }

    /// A block at `height` decided by validators of these keys and votes, signed by some of them.
    fn light(height: u64, set: &[(u8, u64)], signers: &[u8]) -> LightBlock {
        let mut members: Vec<Member> =
            set.iter().map(|&(n, power)| Member { address: address_of(&key(n)), power, absent: false }).collect();
        members.sort_by_key(|member| member.address);
        let deciders: Validators = codec::decode_strict(&codec::encode(&members), 100_000).unwrap();
        let header = BlockHeader {
            chain: CHAIN,
            height: Epoch(height),
            parent: BlockId([1; 32]),
            time_ms: height,
            beacon: Beacon([2; 32]),
            proposer: Address([3; 32]),
            validators_root: deciders.root(),
            commit_root: [0; 32],
            evidence_root: [0; 32],
            transactions_root: [0; 32],
            receipts_root: [0; 32],
            state_root: StateRoot([5; 32]),
        };
        let sign = |n: &u8| {
            let validator = address_of(&key(*n));
            let message = vote_message(&CHAIN, VoteKind::Precommit, Epoch(height), 0, Some(&header.id()), &validator);
            CommitSignature { validator, signature: SignatureBytes(key(*n).sign(&message).to_bytes()) }
        };
        let mut signatures: Vec<CommitSignature> = signers.iter().map(sign).collect();
        signatures.sort_by_key(|signature| signature.validator);
        let commit = Commit { height: Epoch(height), round: 0, block: header.id(), signatures };
        LightBlock { header, commit, deciders }
    }

    fn believed(light: &LightBlock) -> Believed {
        Believed { validators: light.deciders.clone(), height: light.header.height }
    }

    #[test]
    fn a_light_block_is_right_by_itself_or_refused() {
        let good = light(8, &[(1, 1), (2, 1), (3, 1), (4, 1)], &[1, 2, 4]);
        assert_eq!(check_light(&good, &CHAIN, Epoch(8)), Ok(()));
        let refused = |light: &LightBlock| check_light(light, &CHAIN, Epoch(8)).unwrap_err();
        assert!(matches!(check_light(&good, &CHAIN, Epoch(9)), Err(TrustRejection::OtherBlock { .. })));
        assert!(matches!(check_light(&good, &ChainId([0; 32]), Epoch(8)), Err(TrustRejection::OtherBlock { .. })));
        let few = light(8, &[(1, 1), (2, 1), (3, 1), (4, 1)], &[1, 2]);
        assert!(matches!(refused(&few), TrustRejection::Commit(CommitRejection::TooFewVotes { .. })));
        // Validators of the sender's choice, who did sign, are not those that the header names.
        let other = light(8, &[(7, 9)], &[7]);
        let swapped = LightBlock { deciders: other.deciders.clone(), ..good.clone() };
        assert!(matches!(refused(&swapped), TrustRejection::OtherValidators { .. }));
        let twice: Vec<_> = [good.deciders.members(), good.deciders.members()].concat();
        let unsound: Validators = codec::decode_strict(&codec::encode(&twice), 100_000).unwrap();
        assert!(!unsound.is_sound() && !Validators::default().is_sound() && good.deciders.is_sound());
    }

    #[test]
    fn more_than_a_third_of_the_believed_must_have_signed() {
        let old = light(8, &[(1, 1), (2, 1), (3, 1)], &[1, 2, 3]);
        let hop_to = |target: &LightBlock| hop(&believed(&old), target).map(|believed| believed.height);
        assert_eq!(hop_to(&light(16, &[(1, 1), (2, 1), (7, 4)], &[1, 2, 7])), Ok(Epoch(16)));
        let one = light(16, &[(1, 1), (2, 1), (7, 9)], &[1, 7]);
        assert!(matches!(hop_to(&one), Err(TrustRejection::TooFewBelieved { got: 1, all: 3, .. })));
        let strangers = light(16, &[(7, 1), (8, 1)], &[7, 8]);
        assert!(matches!(hop_to(&strangers), Err(TrustRejection::TooFewBelieved { got: 0, .. })));
    }

    #[test]
    fn sets_that_change_completely_are_reached_by_blocks_between() {
        // Each block replaces one of three, so after three nobody is left.
        let at = |height: u64| {
            let first = (height / 8) as u8;
            let set: Vec<(u8, u64)> = (first..first + 3).map(|n| (n, 1)).collect();
            light(height, &set, &[first, first + 1, first + 2])
        };
        let mut asked = Vec::new();
        let mut fetch = |height: Epoch| {
            asked.push(height.0);
            Ok::<_, TrustRejection>(at(height.0))
        };
        assert_eq!(reach(believed(&at(8)), &at(72), 8, &mut fetch), Ok(()));
        assert!(
            !asked.is_empty() && asked.iter().all(|height| height % 8 == 0 && (8..72).contains(height)),
            "{asked:?}"
        );
        // A server that makes its history up has nobody to sign the first block of it.
        let forged = |height: Epoch| Ok::<_, TrustRejection>(light(height.0, &[(90, 1)], &[90]));
        let refused = reach(believed(&at(8)), &light(72, &[(90, 1)], &[90]), 8, &mut { forged }).unwrap_err();
        assert!(matches!(refused, TrustRejection::TooFewBelieved { got: 0, .. }));
    }

    #[test]
    fn an_own_head_is_believed_for_half_the_time_that_stake_is_locked() {
        let params = LedgerParams::devnet();
        let head = light(8, &[(1, 1)], &[1]).header;
        let limit_ms = params.stake.unbonding_epochs / 2 * 100;
        let check = |now_ms| check_own_head(&head, now_ms, Duration::from_millis(100), &params);
        assert_eq!(check(head.time_ms + limit_ms), Ok(()));
        let old = check(head.time_ms + limit_ms + 1).unwrap_err();
        assert_eq!((old.height, old.limit), (Epoch(8), Duration::from_millis(limit_ms)));
        assert!(check_own_head(&head, head.time_ms + limit_ms, Duration::from_millis(99), &params).is_err());
    }

    #[test]
    fn an_old_checkpoint_is_refused() {
        let params = LedgerParams::devnet();
        let limit = params.stake.unbonding_epochs;
        assert_eq!(check_age(Epoch(5), Epoch(5 + limit), &params), Ok(()));
        let old = check_age(Epoch(5), Epoch(6 + limit), &params);
        assert_eq!(old, Err(TrustRejection::TooOld { height: Epoch(6 + limit), age: limit + 1, limit }));
    }
}
