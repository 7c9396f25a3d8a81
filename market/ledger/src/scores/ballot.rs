//! How checkers hand in their opinions: commit, then reveal.
//!
//! Source: `spec/market.md` 6. Without it, a checker that measures nothing copies the weights of the ones that do.
//!
//! ```text
//! round r:    measure .......................
//! round r+1:  commit to r | reveal r | open receipts of r | (r is evaluated; quiet until the next round)
//! ```
//!
//! A ballot is `Committed` until it is revealed; at the end of the reveal phase [`BallotBox::close`] gives the opinions
//! and names who committed and did not reveal. Not revealing is no lie, but a commitment that may stay closed is an option on
//! what the others say: it costs a part of the stake ([`crate::economy::CheckerParams::unrevealed_burn_bp`]), the round's
//! reward, and after some rounds the voice ([`super::ScoreParams::silent_rounds_max`]).
//!
//! Where trust remains: a checker may show its opinions to friends before the reveal; a copier then only needs a friend.
//! The timelocked form (sealed to a drand round) does not change that.

use std::collections::BTreeMap;

use cairn_protocol::{Epoch, ProviderId};
use serde::{Deserialize, Serialize};

use crate::ids::{Address, ChainId, Commitment, Salt};
use crate::sealed::{self, SealedUse};

/// When rounds begin, and how their first epochs are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundCalendar {
    /// Epochs in a round.
    pub round_epochs: u64,
    /// First epochs of a round in which the round before is committed to.
    pub commit_epochs: u64,
    /// Epochs after those in which it is revealed.
    pub reveal_epochs: u64,
    /// Epochs after those in which drawn receipts are opened. The first of them draws, so there must be another.
    pub open_epochs: u64,
}

/// What may be handed in at an epoch, always for the round before the one that the epoch is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Commitments.
    Commit,
    /// Reveals.
    Reveal,
    /// Openings of receipts.
    Open,
    /// Nothing.
    Quiet,
}

impl RoundCalendar {
    /// Whether the phases fit into a round and each leaves time to act.
    pub const fn is_valid(&self) -> bool {
        let phases = self.commit_epochs.saturating_add(self.reveal_epochs).saturating_add(self.open_epochs);
        let none_empty = self.commit_epochs > 0 && self.reveal_epochs > 0 && self.open_epochs > 1;
        none_empty && phases < self.round_epochs
    }

    /// The round that an epoch is in.
    pub const fn round_at(&self, epoch: Epoch) -> u64 {
        epoch.0 / self.round_epochs
    }

    /// First epoch of a round, whose beacon draws its checks; `None` if it is too far to count.
    pub const fn first_epoch(&self, round: u64) -> Option<Epoch> {
        match round.checked_mul(self.round_epochs) {
            Some(epoch) => Some(Epoch(epoch)),
            None => None,
        }
    }

    /// What may be handed in at an epoch.
    pub const fn phase_at(&self, epoch: Epoch) -> Phase {
        let into = epoch.0 % self.round_epochs;
        if into < self.commit_epochs {
            Phase::Commit
        } else if into < self.commit_epochs + self.reveal_epochs {
            Phase::Reveal
        } else if into < self.commit_epochs + self.reveal_epochs + self.open_epochs {
            Phase::Open
        } else {
            Phase::Quiet
        }
    }
}

/// What a checker thinks of the providers it was told to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinions {
    /// The round that was measured.
    pub round: u64,
    /// Quality by provider, ascending; 65,535 is one.
    pub levels: Vec<(ProviderId, u16)>,
    /// [`super::receipts::receipts_root`] of the receipts they come from, so that each can be asked for.
    pub receipts_root: [u8; 32],
    /// How many receipts are under the root.
    pub receipts: u32,
}

impl Opinions {
    /// The commitment of `checker` to these opinions.
    pub fn commitment(&self, chain: ChainId, checker: Address, salt: &Salt) -> Commitment {
        sealed::commitment(SealedUse::Opinions, chain, checker, self, salt)
    }
}

/// Why a commitment or a reveal is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum BallotRejection {
    /// Not the phase for it.
    #[error("{what} at epoch {epoch} is not in its phase")]
    WrongPhase { what: String, epoch: Epoch },
    /// For another round.
    #[error("opinions are of round {got}, expected {expected}")]
    WrongRound { expected: u64, got: u64 },
    /// From a checker that was assigned nothing in the round: it was not there when the round began.
    #[error("{checker} came in round {since} and votes from the next one on; this is a vote on round {round}")]
    CameLater { checker: Address, round: u64, since: u64 },
    /// A second commitment.
    #[error("{checker} has committed to round {round} already")]
    AlreadyCommitted { checker: Address, round: u64 },
    /// A reveal without a commitment, or a second reveal.
    #[error("{checker} has no commitment open for round {round}")]
    NothingCommitted { checker: Address, round: u64 },
    /// A reveal of something else than was committed to.
    #[error("the reveal of {checker} hashes to {got}, committed was {expected}")]
    Mismatch { checker: Address, expected: Commitment, got: Commitment },
    /// Opinions that are not ascending by provider, or name one twice.
    #[error("opinions must be ascending by provider, each once")]
    NotAscending,
    /// More opinions than a reveal may carry.
    #[error("{got} opinions, the limit is {limit}")]
    TooMany { limit: usize, got: usize },
}

/// One checker's ballot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ballot {
    /// Not shown yet.
    Committed(Commitment),
    /// Shown, and what was committed to.
    Revealed(Opinions),
}

/// The ballots of one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BallotBox {
    calendar: RoundCalendar,
    round: u64,
    opinions_max: usize,
    ballots: BTreeMap<Address, Ballot>,
}

/// What a box held at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedBox {
    /// Opinions of those who revealed.
    pub revealed: BTreeMap<Address, Opinions>,
    /// Who committed and did not reveal.
    pub unrevealed: Vec<Address>,
}

impl BallotBox {
    /// An empty box for the opinions of `round`, with at most `opinions_max` of them in a reveal.
    pub fn new(calendar: RoundCalendar, round: u64, opinions_max: usize) -> Self {
        Self { calendar, round, opinions_max, ballots: BTreeMap::new() }
    }

    /// A box that holds one checker's ballot already, if it has handed one in.
    pub fn with(mut self, checker: Address, ballot: Option<Ballot>) -> Self {
        self.ballots.extend(ballot.map(|ballot| (checker, ballot)));
        self
    }

    /// A checker's ballot.
    pub fn ballot(&self, checker: &Address) -> Option<&Ballot> {
        self.ballots.get(checker)
    }

    fn check_phase(&self, epoch: Epoch, phase: Phase, what: &str) -> Result<(), BallotRejection> {
        let now = self.calendar.round_at(epoch);
        if now.checked_sub(1) != Some(self.round) {
            return Err(BallotRejection::WrongRound { expected: now.saturating_sub(1), got: self.round });
        }
        if self.calendar.phase_at(epoch) != phase {
            return Err(BallotRejection::WrongPhase { what: what.to_owned(), epoch });
        }
        Ok(())
    }

    /// Takes a commitment.
    ///
    /// # Errors
    /// [`BallotRejection`] outside the commit phase, or for a second one.
    pub fn commit(&mut self, epoch: Epoch, checker: Address, commitment: Commitment) -> Result<(), BallotRejection> {
        self.check_phase(epoch, Phase::Commit, "a commitment")?;
        if self.ballots.contains_key(&checker) {
            return Err(BallotRejection::AlreadyCommitted { checker, round: self.round });
        }
        self.ballots.insert(checker, Ballot::Committed(commitment));
        Ok(())
    }

    /// Takes a reveal.
    ///
    /// # Errors
    /// [`BallotRejection`] outside the reveal phase, or if it is not what was committed to.
    pub fn reveal(
        &mut self,
        epoch: Epoch,
        chain: ChainId,
        checker: Address,
        opinions: Opinions,
        salt: &Salt,
    ) -> Result<(), BallotRejection> {
        self.check_phase(epoch, Phase::Reveal, "a reveal")?;
        if opinions.round != self.round {
            return Err(BallotRejection::WrongRound { expected: self.round, got: opinions.round });
        }
        if opinions.levels.len() > self.opinions_max {
            return Err(BallotRejection::TooMany { limit: self.opinions_max, got: opinions.levels.len() });
        }
        if !opinions.levels.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err(BallotRejection::NotAscending);
        }
        let Some(Ballot::Committed(expected)) = self.ballots.get(&checker) else {
            return Err(BallotRejection::NothingCommitted { checker, round: self.round });
        };
        let got = opinions.commitment(chain, checker, salt);
        if got != *expected {
            return Err(BallotRejection::Mismatch { checker, expected: *expected, got });
        }
        self.ballots.insert(checker, Ballot::Revealed(opinions));
        Ok(())
    }

    /// Ends the round.
    pub fn close(self) -> ClosedBox {
        let mut closed = ClosedBox { revealed: BTreeMap::new(), unrevealed: Vec::new() };
        for (checker, ballot) in self.ballots {
            match ballot {
                Ballot::Revealed(opinions) => {
                    closed.revealed.insert(checker, opinions);
                }
                Ballot::Committed(_) => closed.unrevealed.push(checker),
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId([1; 32]);
    const CALENDAR: RoundCalendar =
        RoundCalendar { round_epochs: 10, commit_epochs: 2, reveal_epochs: 3, open_epochs: 2 };

    fn opinions() -> Opinions {
        Opinions {
            round: 4,
            levels: vec![(ProviderId(1), 7), (ProviderId(2), 65_535)],
            receipts_root: [5; 32],
            receipts: 3,
        }
    }

    #[test]
    fn a_round_is_committed_to_then_revealed() {
        assert!(CALENDAR.is_valid());
        assert!(!RoundCalendar { commit_epochs: 5, ..CALENDAR }.is_valid());
        assert_eq!(CALENDAR.phase_at(Epoch(56)), Phase::Open);
        assert_eq!(CALENDAR.phase_at(Epoch(57)), Phase::Quiet);
        let (honest, silent, salt) = (Address([2; 32]), Address([3; 32]), Salt([9; 32]));
        let mut ballots = BallotBox::new(CALENDAR, 4, 8);
        let commitment = opinions().commitment(CHAIN, honest, &salt);
        assert!(matches!(ballots.commit(Epoch(49), honest, commitment), Err(BallotRejection::WrongRound { .. })));
        assert_eq!(ballots.commit(Epoch(50), honest, commitment), Ok(()));
        assert_eq!(ballots.commit(Epoch(51), silent, commitment), Ok(()));
        let again = ballots.commit(Epoch(51), honest, commitment);
        assert_eq!(again, Err(BallotRejection::AlreadyCommitted { checker: honest, round: 4 }));
        let early = ballots.reveal(Epoch(51), CHAIN, honest, opinions(), &salt);
        assert!(matches!(early, Err(BallotRejection::WrongPhase { .. })));
        // Whoever copied the commitment cannot open it.
        let copied = ballots.reveal(Epoch(52), CHAIN, silent, opinions(), &salt);
        assert!(matches!(copied, Err(BallotRejection::Mismatch { .. })));
        assert_eq!(ballots.reveal(Epoch(54), CHAIN, honest, opinions(), &salt), Ok(()));
        let twice = ballots.reveal(Epoch(54), CHAIN, honest, opinions(), &salt);
        assert_eq!(twice, Err(BallotRejection::NothingCommitted { checker: honest, round: 4 }));
        let late = ballots.reveal(Epoch(55), CHAIN, silent, opinions(), &salt);
        assert!(matches!(late, Err(BallotRejection::WrongPhase { .. })));
        let closed = ballots.close();
        assert_eq!(closed.revealed, [(honest, opinions())].into());
        assert_eq!(closed.unrevealed, vec![silent]);
    }

    #[test]
    fn malformed_reveals_are_named() {
        let (checker, salt) = (Address([2; 32]), Salt([9; 32]));
        let reveal = |change: fn(&mut Opinions)| {
            let mut shown = opinions();
            change(&mut shown);
            let mut ballots = BallotBox::new(CALENDAR, 4, 2);
            ballots.commit(Epoch(50), checker, shown.commitment(CHAIN, checker, &salt)).unwrap();
            ballots.reveal(Epoch(52), CHAIN, checker, shown, &salt)
        };
        assert_eq!(reveal(|_| ()), Ok(()));
        assert_eq!(reveal(|o| o.levels.reverse()), Err(BallotRejection::NotAscending));
        assert_eq!(reveal(|o| o.levels[0].0 = ProviderId(2)), Err(BallotRejection::NotAscending));
        let many = reveal(|o| o.levels.push((ProviderId(3), 0)));
        assert_eq!(many, Err(BallotRejection::TooMany { limit: 2, got: 3 }));
        assert_eq!(reveal(|o| o.round = 3), Err(BallotRejection::WrongRound { expected: 4, got: 3 }));
    }
}
