//! Rails, rewards, scores and checkers.

use cairn_ledger::economy;
use cairn_ledger::payments::{PayAccount, RailBinding, RailId};
use cairn_ledger::scores::Fraction;
use cairn_ledger::scores::ballot::{Ballot, Phase};
use cairn_ledger::{Address, Commitment, State};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};
use cid::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::market::cid_text;
use super::{Audit, Hex32};

/// Where a rail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RailState {
    /// Pays its rate, for epochs that count.
    Streaming,
    /// Streams, but its payer has no free money left: it ends as soon as a block gets to it.
    Dry,
    /// Pays its last epochs, out of what is locked for them.
    Ending,
}

/// A stream of money from one account to another. One that is over is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rail {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: RailId,
    /// Who pays.
    #[schema(value_type = Hex32)]
    pub payer: Address,
    /// Who is paid.
    #[schema(value_type = Hex32)]
    pub payee: Address,
    /// For each epoch that counts.
    #[schema(value_type = u64)]
    pub rate: Amount,
    /// Epochs that are paid after it is terminated.
    pub lockup_period: u64,
    /// Left of what is locked for payments at once.
    #[schema(value_type = u64)]
    pub lockup_fixed: Amount,
    /// The provider whose proofs decide which epochs count; absent if all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub provider: Option<ProviderId>,
    /// The sector of that provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub sector: Option<SectorNumber>,
    /// First epoch that does not count whatever is proven: the end of a deal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub counts_until: Option<Epoch>,
    /// Epochs before this one are settled.
    #[schema(value_type = u64)]
    pub settled_until: Epoch,
    /// What a settlement now would divide between payee and payer, by what was proven.
    #[schema(value_type = u64)]
    pub unsettled: Amount,
    /// First epoch for which the payer has no money, with all its rails as they are; absent once the rail ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub funded_until: Option<Epoch>,
    /// First epoch that is not paid, once it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub ends_at: Option<Epoch>,
    /// Where it stands.
    pub state: RailState,
}

impl Rail {
    pub(crate) fn of(state: &State, id: RailId, rail: &cairn_ledger::payments::Rail) -> Self {
        let (now, book, terms) = (state.epoch(), state.rails(), &rail.terms);
        let (provider, sector, counts_until) = match terms.binding {
            RailBinding::Nothing => (None, None, None),
            RailBinding::Sector { provider, sector, until } => (Some(provider), Some(sector), until),
        };
        let standing = match rail.ends_at {
            Some(_) => RailState::Ending,
            None if book.is_dry(now, rail) => RailState::Dry,
            None => RailState::Streaming,
        };
        let funded = || state.rail_account(&terms.payer).funded_until();
        Self {
            id,
            payer: terms.payer,
            payee: terms.payee,
            rate: terms.rate,
            lockup_period: terms.lockup_period,
            lockup_fixed: terms.lockup_fixed,
            provider,
            sector,
            counts_until,
            settled_until: rail.settled_until,
            unsettled: book.unsettled(now, rail),
            funded_until: rail.ends_at.map_or_else(funded, |_| None),
            ends_at: rail.ends_at,
            state: standing,
        }
    }
}

/// An address's money for rails, as of the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RailAccount {
    /// Whose.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// Everything in it.
    #[schema(value_type = u64)]
    pub funds: Amount,
    /// Of that, promised to payees and not to be withdrawn.
    #[schema(value_type = u64)]
    pub lockup: Amount,
    /// The rest.
    #[schema(value_type = u64)]
    pub free: Amount,
    /// What all its rails stream in an epoch.
    #[schema(value_type = u64)]
    pub rate: Amount,
    /// First epoch that the free money does not reach to; absent if nothing streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub funded_until: Option<Epoch>,
}

impl RailAccount {
    pub(crate) fn of(state: &State, address: Address) -> Self {
        let account: PayAccount = state.rail_account(&address);
        let PayAccount { funds, lockup, rate, .. } = account;
        Self { address, funds, lockup, free: account.free(), rate, funded_until: account.funded_until() }
    }
}

/// An address's rewards that were paid and are not free yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rewards {
    /// Whose.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// All of it.
    #[schema(value_type = u64)]
    pub locked: Amount,
    /// Of that, what has vested: the next claim sets it free.
    #[schema(value_type = u64)]
    pub vested: Amount,
}

impl Rewards {
    pub(crate) fn of(state: &State, address: Address) -> Self {
        Self { address, locked: state.vesting(&address).locked(), vested: state.vested(&address) }
    }
}

/// A provider's part of a round's service stream that is not paid yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceClaim {
    /// Which round.
    pub round: u64,
    /// Incentive times paid volume.
    pub weight: u64,
    /// Paid volume; the reward is at most a part of it.
    #[schema(value_type = u64)]
    pub volume: Amount,
}

/// What a provider did in the last rounds and was not rewarded for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderRewards {
    /// Who.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// The round that `space` was proven in.
    pub space_round: u64,
    /// Proven space, in epochs of 2 KiB.
    pub space: u64,
    /// The round that `volume` was settled in.
    pub volume_round: u64,
    /// Payments settled, before the burn.
    #[schema(value_type = u64)]
    pub volume: Amount,
    /// From the last round that was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceClaim>,
}

impl ProviderRewards {
    pub(crate) fn of(state: &State, provider: ProviderId) -> Self {
        let economy::ProviderRewards { space, volume, service, .. } = state.provider_rewards(provider);
        let service =
            service.map(|economy::ServiceClaim { round, weight, volume }| ServiceClaim { round, weight, volume });
        Self { provider, space_round: space.0, space: space.1, volume_round: volume.0, volume: volume.1, service }
    }
}

/// A round's part of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stream {
    /// What there is to divide.
    #[schema(value_type = u64)]
    pub amount: Amount,
    /// Sum of the weights that it is divided by.
    pub weight: u64,
    /// What is not paid yet.
    #[schema(value_type = u64)]
    pub left: Amount,
}

impl Stream {
    fn of(stream: economy::Stream) -> Self {
        Self { amount: stream.amount, weight: stream.weight, left: stream.left }
    }
}

/// The emission of a round that is over and can still be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RewardRound {
    /// Its number.
    pub round: u64,
    /// For proven space.
    pub space: Stream,
    /// For paid service that checkers found good.
    pub service: Stream,
    /// For checking.
    pub checkers: Stream,
    /// For deciding blocks.
    pub validators: Stream,
    /// Whether all providers are scored, so that service can be paid.
    pub scored: bool,
}

impl RewardRound {
    pub(crate) fn of(round: u64, record: &economy::RewardRound) -> Self {
        Self {
            round,
            space: Stream::of(record.space),
            service: Stream::of(record.service),
            checkers: Stream::of(record.checkers),
            validators: Stream::of(record.validators),
            scored: record.scored,
        }
    }
}

/// What the next block takes from checkers, always about the round before the one that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundPhase {
    /// Commitments.
    Commit,
    /// Reveals.
    Reveal,
    /// Openings of receipts.
    Open,
    /// Nothing.
    Quiet,
}

/// The round of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Round {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// The round that this height is in; checkers measure it.
    pub round: u64,
    /// First epoch of the next one.
    #[schema(value_type = u64)]
    pub ends_at: Epoch,
    /// What the next block takes.
    pub phase: RoundPhase,
    /// Height of the last block that changed what is to be checked. Tasks of a round are as they were drawn if this is not
    /// after the round's first epoch.
    #[schema(value_type = u64)]
    pub catalogue_changed: Epoch,
    /// The round whose providers are being scored, one group a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<u64>,
    /// Everything that was ever minted.
    #[schema(value_type = u64)]
    pub minted: Amount,
    /// What the schedule brought and nobody will ever get.
    #[schema(value_type = u64)]
    pub not_minted: Amount,
}

impl Round {
    pub(crate) fn of(state: &State) -> Self {
        let (height, rounds) = (state.epoch(), state.params().economy.rounds);
        let round = rounds.round_at(height);
        let (minted, not_minted) = state.emitted();
        let phase = match rounds.phase_at(Epoch(height.0.saturating_add(1))) {
            Phase::Commit => RoundPhase::Commit,
            Phase::Reveal => RoundPhase::Reveal,
            Phase::Open => RoundPhase::Open,
            Phase::Quiet => RoundPhase::Quiet,
        };
        let ends_at = rounds.first_epoch(round.saturating_add(1)).unwrap_or(Epoch(u64::MAX));
        let catalogue_changed = state.catalogue_changed();
        Self { height, round, ends_at, phase, catalogue_changed, scoring: state.scoring_round(), minted, not_minted }
    }
}

/// What a checker last said of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckerOpinion {
    /// Who.
    #[schema(value_type = Hex32)]
    pub checker: Address,
    /// The quality it saw, as last revealed; 65,535 is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u16>,
    /// Its bond with the provider, which its dividends follow; 65,535 is one.
    pub bond: u16,
}

/// What is known of a provider's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Score {
    /// Who.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// Average of the clipped qualities of all rounds, in units of 2^-32; one half until it is scored.
    #[schema(value_type = u64)]
    pub reputation: Fraction,
    /// Clipped quality of the last round that it was scored in, in the same units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub quality: Option<Fraction>,
    /// Which round that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u64>,
    /// What each checker last said of it; in a list it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opinions: Vec<CheckerOpinion>,
}

impl Score {
    pub(crate) fn of(provider: ProviderId, score: &economy::ProviderScore) -> Self {
        let economy::ProviderScore { reputation, quality, round } = *score;
        Self { provider, reputation, quality: Some(quality), round: Some(round), opinions: Vec::new() }
    }

    /// With the opinions behind it.
    pub(crate) fn in_full(state: &State, provider: ProviderId) -> Self {
        let neutral = || Self {
            provider,
            reputation: state.reputation_of(provider),
            quality: None,
            round: None,
            opinions: vec![],
        };
        let score = state.score_of(provider).map_or_else(neutral, |score| Self::of(provider, score));
        let opinion = |(checker, level, bond)| CheckerOpinion { checker, level, bond };
        Self { opinions: state.opinions_on(provider).map(opinion).collect(), ..score }
    }
}

/// Stake that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeavingStake {
    /// When it is free.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// How much.
    #[schema(value_type = u64)]
    pub amount: Amount,
}

/// What a checker thinks of one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opinion {
    /// Of whom.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// The quality; 65,535 is one.
    pub level: u16,
}

/// Where a checker's ballot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BallotState {
    /// There is none, or the round is scored and it is forgotten.
    None,
    /// Not shown yet.
    Committed,
    /// Shown.
    Revealed,
}

/// A checker's ballot about one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckerBallot {
    /// The round that was measured; it is over.
    pub round: u64,
    /// Where it stands.
    pub state: BallotState,
    /// What was committed to, until it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hex32>)]
    pub commitment: Option<Commitment>,
    /// What was shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opinions: Vec<Opinion>,
}

impl CheckerBallot {
    fn of(round: u64, ballot: Option<&Ballot>) -> Self {
        let (state, commitment, opinions) = match ballot {
            None => (BallotState::None, None, Vec::new()),
            Some(Ballot::Committed(commitment)) => (BallotState::Committed, Some(*commitment), Vec::new()),
            Some(Ballot::Revealed(shown)) => {
                let opinion = |(provider, level): &(ProviderId, u16)| Opinion { provider: *provider, level: *level };
                (BallotState::Revealed, None, shown.levels.iter().map(opinion).collect())
            }
        };
        Self { round, state, commitment, opinions }
    }
}

/// Someone who checks providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checker {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Its key and account.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// Its weight; 0 if it checks no more.
    #[schema(value_type = u64)]
    pub stake: Amount,
    /// The round it came in.
    pub since_round: u64,
    /// Rounds in a row that it did not reveal.
    pub silent_rounds: u32,
    /// Stake that was taken back and is not free yet.
    pub leaving: Vec<LeavingStake>,
    /// Its ballot about the round before this one; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballot: Option<CheckerBallot>,
    /// What it must account for of that round; absent if nothing was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

impl Checker {
    /// `None` unless it has stake, or some that leaves.
    pub(crate) fn of(state: &State, address: Address) -> Option<Self> {
        let leaving = |(epoch, amount)| LeavingStake { epoch, amount };
        let leaving: Vec<_> = state.exits_of(address).map(leaving).collect();
        let record = state.checker(&address);
        if record.is_none() && leaving.is_empty() {
            return None;
        }
        let before = state.round_at(state.epoch()).checked_sub(1);
        let audit = |round| Some(Audit::of(state, round, address, state.audit(round, address)?));
        Some(Self {
            height: state.epoch(),
            address,
            stake: record.map_or(Amount::ZERO, |record| record.stake),
            since_round: record.map_or(0, |record| record.since_round),
            silent_rounds: record.map_or(0, |record| record.silent_rounds),
            leaving,
            ballot: before.map(|round| CheckerBallot::of(round, state.ballot(round, address))),
            audit: before.and_then(audit),
        })
    }
}

/// One range that a checker shall fetch in the round of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckTask {
    /// The round.
    pub round: u64,
    /// Which of the checker's tasks.
    pub slot: u32,
    /// Who is checked.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// Where it serves retrievals.
    pub endpoint: String,
    /// Root CID of the dataset.
    #[serde(with = "cid_text")]
    #[schema(value_type = String)]
    pub root: Cid,
    /// Where the range begins: at byte `point * size / 2^64` of the dataset's files, one after the other.
    pub point: u64,
    /// Number of bytes.
    pub length: u64,
}

impl CheckTask {
    pub(crate) fn of(state: &State, task: &cairn_ledger::scores::checks::CheckTask) -> Self {
        let endpoint = state.provider(task.provider).map_or_else(String::new, |provider| provider.endpoint.clone());
        Self {
            round: task.round,
            slot: task.slot,
            provider: task.provider,
            endpoint,
            root: task.root,
            point: task.point,
            length: task.length,
        }
    }

    /// The same as the ledger writes it, for the checker that asked.
    pub fn to_task(&self, checker: Address) -> cairn_ledger::scores::checks::CheckTask {
        let Self { round, slot, provider, root, point, length, .. } = *self;
        cairn_ledger::scores::checks::CheckTask { round, checker, slot, provider, root, point, length }
    }
}
