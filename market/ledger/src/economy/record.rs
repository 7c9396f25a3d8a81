//! What the ledger keeps of rounds, rewards and scores, what happened to them, and why it says no.

use cairn_protocol::{Amount, Epoch, ProviderId};
use serde::{Deserialize, Serialize};

use crate::close::Closure;
use crate::ids::Address;
use crate::payments::{RailId, Settlement};
use crate::scores::receipts::CheckReceipt;
use crate::scores::{CheckerStanding, Fraction};

/// Singletons of the economy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EconomyMeta {
    pub next_rail: u64,
    /// Everything that was ever minted.
    pub minted: Amount,
    /// What the schedule brought and nobody will ever get.
    pub not_minted: Amount,
    /// Space that was proven in this round, in epochs of 2 KiB.
    pub space_weight: u64,
    /// The round that is being scored.
    pub scoring: Option<Scoring>,
    /// When a deal last came into what is to be served, or left it.
    pub catalogue_changed: Epoch,
}

/// Scoring in progress: one group a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scoring {
    pub round: u64,
    /// The first provider that is not scored yet.
    pub next: ProviderId,
    /// Providers that served anything when the ballots were closed.
    pub judged: u64,
}

/// A checker with stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checker {
    /// Locked in [`crate::Pot::CheckerStake`]; its weight.
    pub stake: Amount,
    /// The round it came in; it is told to fetch things from the next one on. Receipts of earlier ones are not held against
    /// it.
    pub since_round: u64,
    /// Rounds in a row that it did not reveal.
    pub silent_rounds: u32,
}

/// What a checker must account for in a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The provider whose receipts were drawn.
    pub provider: ProviderId,
    /// Decides which of them is shown, once they are open.
    pub draw: u64,
    /// Once opened, one of them that says it was served: what others may refute.
    pub exhibit: Option<CheckReceipt>,
    /// Whether the receipts are opened.
    pub opened: bool,
    /// Whether most of the stake refuted the exhibit.
    pub refuted: bool,
}

/// What is known of a provider's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderScore {
    /// Average of the clipped qualities of all rounds.
    pub reputation: Fraction,
    /// Clipped quality of the last round it was scored in.
    pub quality: Fraction,
    /// Which round that was.
    pub round: u64,
}

/// A round's part of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What there is to divide.
    pub amount: Amount,
    /// Sum of the weights it is divided by.
    pub weight: u64,
    /// What is not paid yet.
    pub left: Amount,
}

impl Stream {
    /// An amount nobody has a part of yet.
    pub(crate) fn new(amount: Amount, weight: u64) -> Self {
        Self { amount, weight, left: amount }
    }

    /// Takes the part of `weight`, rounded down, and at most `most`.
    pub(crate) fn take(&mut self, weight: u64, most: Amount) -> Amount {
        let part = u128::from(self.amount.0) * u128::from(weight) / u128::from(self.weight.max(1));
        let part = Amount(u64::try_from(part).unwrap_or(u64::MAX)).min(most).min(self.left);
        self.left = self.left.checked_sub(part).expect("a minimum of both");
        part
    }
}

/// The emission of one round, while it can be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardRound {
    /// By proven space, in epochs of 2 KiB.
    pub space: Stream,
    /// By incentive times paid volume.
    pub service: Stream,
    /// By dividends.
    pub checkers: Stream,
    /// By stake.
    pub validators: Stream,
    /// Whether all providers are scored, so that service can be paid.
    pub scored: bool,
}

impl RewardRound {
    /// What is not paid yet.
    pub fn left(&self) -> Amount {
        let streams = [self.space, self.service, self.checkers, self.validators];
        Amount::checked_sum(streams.into_iter().map(|stream| stream.left)).expect("parts of one amount")
    }
}

/// A part of a round's service stream that is not paid yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceClaim {
    /// Which round.
    pub round: u64,
    /// Incentive times paid volume.
    pub weight: u64,
    /// Paid volume; the reward is at most a part of it.
    pub volume: Amount,
}

/// What a provider has done in the last rounds and was not rewarded for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderRewards {
    /// A round, and space proven in it, in epochs of 2 KiB.
    pub space: (u64, u64),
    /// A round, and payments settled in it, before the burn.
    pub volume: (u64, Amount),
    /// The same of an earlier round.
    pub volume_before: (u64, Amount),
    /// From the last round that was scored.
    pub service: Option<ServiceClaim>,
}

impl ProviderRewards {
    /// Payments settled in `round`, as far as it is remembered.
    pub fn volume_of(&self, round: u64) -> Amount {
        let known = [self.volume, self.volume_before].into_iter().find(|(of, _)| *of == round);
        known.map_or(Amount::ZERO, |(_, volume)| volume)
    }
}

/// [`CheckerStanding`] of one checker with one group of providers, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredStanding {
    opinions: Vec<(ProviderId, u16)>,
    bonds: Vec<(ProviderId, u16)>,
}

impl StoredStanding {
    /// What is worth keeping of a standing.
    pub(crate) fn of(standing: &CheckerStanding) -> Self {
        let list =
            |levels: &std::collections::BTreeMap<ProviderId, u16>| levels.iter().map(|(p, l)| (*p, *l)).collect();
        Self { opinions: list(&standing.opinions), bonds: list(&standing.bonds) }
    }

    /// Its last opinion of a provider, and its bond with it.
    pub(crate) fn with(&self, provider: ProviderId) -> (Option<u16>, u16) {
        let level = |levels: &[(ProviderId, u16)]| {
            let at = levels.binary_search_by_key(&provider, |(of, _)| *of).ok()?;
            levels.get(at).map(|(_, level)| *level)
        };
        (level(&self.opinions), level(&self.bonds).unwrap_or(0))
    }

    /// The standing of a checker that was silent so long.
    pub(crate) fn standing(&self, silent_rounds: u32) -> CheckerStanding {
        let (opinions, bonds) = (self.opinions.iter().copied().collect(), self.bonds.iter().copied().collect());
        CheckerStanding { silent_rounds, opinions, bonds }
    }
}

/// Where a reward comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RewardStream {
    /// Proven space.
    Space,
    /// Paid service that checkers found good.
    Service,
    /// Checking.
    Checking,
    /// Deciding blocks.
    Validating,
}

/// A fact about rails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are; amounts in micro-units")]
pub enum RailEvent {
    /// An account for rails holds more.
    Deposited { account: Address, amount: Amount },
    /// An account for rails holds less.
    Withdrawn { account: Address, amount: Amount },
    /// A rail streams.
    Opened { rail: RailId, payer: Address, payee: Address, rate: Amount },
    /// A rail streams at another rate.
    RateChanged { rail: RailId, rate: Amount },
    /// A payment at once; `burnt` is a part of `amount`.
    PaidOnce { rail: RailId, amount: Amount, burnt: Amount },
    /// A rail streams no more and pays nothing from `ends_at` on.
    Ending { rail: RailId, ends_at: Epoch, closure: Closure },
    /// A rail was settled.
    Settled { rail: RailId, settlement: Settlement },
}

/// A fact about rewards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are; amounts in micro-units")]
pub enum RewardEvent {
    /// New money: `free` of the `amount` at once, the rest over time.
    Rewarded { to: Address, stream: RewardStream, round: u64, amount: Amount, free: Amount },
    /// Rewards became free.
    Vested { to: Address, amount: Amount },
    /// A round's emission was split; validators are paid already.
    RoundClosed { round: u64, scheduled: Amount },
    /// What was left of an old round will not be minted.
    RoundForgotten { round: u64, not_minted: Amount },
}

/// A fact about checkers and scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are; amounts in micro-units")]
pub enum ScoreEvent {
    /// A checker's stake is now `stake`.
    StakeChanged { checker: Address, stake: Amount },
    /// A checker gave its seat to one with more stake.
    SeatTaken { checker: Address, by: Address },
    /// Stake that left is free money again.
    StakeReleased { checker: Address, amount: Amount },
    /// A checker committed to its opinions of `round`.
    Committed { checker: Address, round: u64 },
    /// A checker showed its opinions of `round`.
    Revealed { checker: Address, round: u64, opinions: u32 },
    /// A checker did not show what it had committed to.
    NotRevealed { checker: Address, round: u64, burnt: Amount },
    /// A checker must open its receipts about a provider.
    Audited { checker: Address, round: u64, provider: ProviderId },
    /// It did; they say what it said.
    Opened { checker: Address, round: u64 },
    /// It did not: its opinions of the round do not count.
    NotOpened { checker: Address, round: u64, burnt: Amount },
    /// More than half of the others' stake says that an opened receipt is false.
    Refuted { checker: Address, round: u64, burnt: Amount },
    /// A checker contradicted itself and lost its stake.
    Contradicted { checker: Address, burnt: Amount, reporter: Address, rewarded: Amount },
    /// Providers from `first` to before `until` were scored by `checkers` checkers.
    GroupScored { round: u64, first: ProviderId, until: ProviderId, providers: u32, checkers: u32 },
    /// All providers of a round are scored, or its time was up.
    RoundScored { round: u64, complete: bool },
}

/// Why a checker does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum CheckerRejection {
    /// The sender has no stake.
    #[error("{checker} is no checker")]
    UnknownChecker { checker: Address },
    /// Too little stake.
    #[error("a checker's stake is at least {least}, this would be {got}")]
    StakeTooLow { least: Amount, got: Amount },
    /// All seats are taken by stakes that are not smaller.
    #[error("all {seats} seats are taken; more than {least} takes one")]
    NoSeat { seats: u32, least: Amount },
    /// More parts of a stake leaving than are counted.
    #[error("{checker} has {limit} parts of its stake leaving already")]
    TooManyExits { checker: Address, limit: u64 },
    /// Nothing to open, or something else than what was drawn.
    #[error("the receipts do not account for what {checker} said: {problem}")]
    BadOpening { checker: Address, problem: String },
    /// Nothing to refute, or not by the sender.
    #[error("nothing of {checker} in round {round} can be refuted: {problem}")]
    BadRefutation { checker: Address, round: u64, problem: String },
    /// Receipts that prove nothing against a checker of now.
    #[error("the receipts do not prove that a checker contradicted itself: {problem}")]
    NoContradiction { problem: String },
}

/// Nothing to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("nothing has vested or was earned since the last time")]
pub struct ClaimRejection;
