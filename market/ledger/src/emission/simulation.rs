//! Years of the economy in seconds: honest and gaming strategies under the real rules of emission and scores.
//!
//! A day is one step:
//!
//! 1. Clients spend the day's demand, divided by reputation times capacity among those who take deals. Self-dealers pay
//!    themselves on top. A part of every payment is burnt.
//! 2. Checkers measure, copy, make receipts up, collude or stay silent. Receipts are drawn, opened and looked at: who has
//!    none, or false ones, loses stake ([`CheckerParams`]). The scores move ([`ScoreBook::evaluate`], one round a day).
//! 3. The day's emission is distributed ([`EmissionParams::distribute`]).
//! 4. Costs are counted: storage by capacity, egress by served volume, measuring by checker.
//!
//! Everything is integer arithmetic from one seed, so a run can be repeated to the bit. It has no prices on a market, no
//! entry or exit of members and no collateral: it answers "who earns more than it costs under these rules", not "what
//! will the network look like".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cairn_protocol::{Amount, Epoch, ProviderId};

use super::{Claims, EmissionParams, part_of};
use crate::economy::{CheckerParams, EconomyParams};
use crate::ids::Address;
use crate::params::ParamsRejection;
use crate::scores::rewards::divided;
use crate::scores::{Fraction, Round, RoundVoter, ScoreBook, ScoreParams, ScoreRejection};

/// How a member behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Provider: stores what clients pay for, serves it well.
    HonestProvider,
    /// Provider: proves space full of nothing, serves nobody.
    EmptySpace,
    /// Provider: takes deals and serves badly, which costs less.
    SlowServer,
    /// Provider: serves checkers well and pays itself through a second account.
    SelfDealer,
    /// Provider: serves nothing and counts on the cartel's praise.
    CartelFriend,
    /// Checker: measures.
    HonestChecker,
    /// Checker: reveals what the last round found, measures nothing, has no receipts.
    Copier,
    /// Checker: the same, and makes up receipts that fit.
    ReceiptForger,
    /// Checker: praises the cartel's friends, calls everybody else bad.
    CartelChecker,
    /// Checker: bonds stake and never reveals.
    SilentChecker,
}

impl Strategy {
    /// All of them, in the order of the output.
    pub const ALL: [Self; 10] = [
        Self::HonestProvider,
        Self::EmptySpace,
        Self::SlowServer,
        Self::SelfDealer,
        Self::CartelFriend,
        Self::HonestChecker,
        Self::Copier,
        Self::ReceiptForger,
        Self::CartelChecker,
        Self::SilentChecker,
    ];

    /// Name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HonestProvider => "honest-provider",
            Self::EmptySpace => "empty-space",
            Self::SlowServer => "slow-server",
            Self::SelfDealer => "self-dealer",
            Self::CartelFriend => "cartel-friend",
            Self::HonestChecker => "honest-checker",
            Self::Copier => "copier",
            Self::ReceiptForger => "receipt-forger",
            Self::CartelChecker => "cartel-checker",
            Self::SilentChecker => "silent-checker",
        }
    }

    /// Whether it is a provider; otherwise a checker.
    pub const fn is_provider(self) -> bool {
        matches!(
            self,
            Self::HonestProvider | Self::EmptySpace | Self::SlowServer | Self::SelfDealer | Self::CartelFriend
        )
    }

    const fn takes_deals(self) -> bool {
        matches!(self, Self::HonestProvider | Self::SlowServer | Self::CartelFriend)
    }

    /// True quality in thousandths, before noise.
    const fn quality(self) -> u64 {
        match self {
            Self::HonestProvider | Self::SelfDealer => 930,
            Self::SlowServer => 300,
            _ => 0,
        }
    }
}

/// What a run is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EconomyOptions {
    /// Names the run.
    pub seed: u64,
    /// Length.
    pub days: u32,
    /// Days summed up in a row of output.
    pub days_per_row: u32,
    /// Epochs in a day.
    pub epochs_per_day: u64,
    /// Schedule and split.
    pub emission: EmissionParams,
    /// Rules of the scores.
    pub scores: ScoreParams,
    /// What checkers lose, and the least stake that has a voice.
    pub checkers: CheckerParams,
    /// Money at the start.
    pub supply: Amount,
    /// What clients pay on the first day.
    pub demand: Amount,
    /// Growth of that, in basis points a day.
    pub demand_growth_bp: u32,
    /// What each self-dealer pays itself in a day.
    pub wash_volume: Amount,
    /// Members with the strategy: how many, and the capacity (providers, in TiB) or stake (checkers, in units) of each.
    pub members: BTreeMap<Strategy, (u32, u64)>,
    /// Cost of a TiB a day.
    pub storage_cost: Amount,
    /// Cost of serving well, in basis points of the paid volume.
    pub egress_cost_bp: u32,
    /// Cost of measuring, per checker and day.
    pub measuring_cost: Amount,
}

impl EconomyOptions {
    /// Ten years with some of every strategy: providers of 100 TiB each; 49 % of the checkers' stake is not honest, of
    /// it 30 points a cartel.
    pub fn ten_years(seed: u64) -> Self {
        Self {
            seed,
            days: 3_650,
            days_per_row: 30,
            epochs_per_day: 2_880,
            emission: EmissionParams::default(),
            scores: ScoreParams::default(),
            checkers: EconomyParams::mainnet().checkers,
            supply: Amount(500_000_000_000_000),
            demand: Amount(20_000_000_000),
            demand_growth_bp: 5,
            wash_volume: Amount(20_000_000_000),
            members: [
                (Strategy::HonestProvider, (10, 100)),
                (Strategy::EmptySpace, (5, 100)),
                (Strategy::SlowServer, (3, 100)),
                (Strategy::SelfDealer, (2, 100)),
                (Strategy::CartelFriend, (1, 100)),
                (Strategy::HonestChecker, (10, 51_000)),
                (Strategy::Copier, (2, 50_000)),
                (Strategy::ReceiptForger, (1, 50_000)),
                (Strategy::CartelChecker, (6, 50_000)),
                (Strategy::SilentChecker, (1, 40_000)),
            ]
            .into(),
            storage_cost: Amount(8_000_000),
            egress_cost_bp: 2_000,
            measuring_cost: Amount(40_000_000),
        }
    }
}

/// One strategy's account of some days, all members together, in micro-units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EconomyRow {
    /// Days since the start at the end of the row's span.
    pub day: u32,
    /// Whose.
    pub strategy: Strategy,
    /// How many they are.
    pub members: u32,
    /// Mean reputation at the end; zero for checkers.
    pub reputation: Fraction,
    /// Emission by space.
    pub space: u128,
    /// Emission by service.
    pub service: u128,
    /// Emission by checking.
    pub checking: u128,
    /// From clients, after the burn.
    pub paid: u128,
    /// Burnt of what it paid itself, or had staked.
    pub burnt: u128,
    /// Storage, egress, measuring.
    pub cost: u128,
}

impl EconomyRow {
    /// First line of the CSV.
    pub const CSV_HEADER: &'static str =
        "day,strategy,members,reputation,space,service,checking,paid,burnt,cost,profit,profit_per_member";

    fn new(strategy: Strategy, members: u32) -> Self {
        Self {
            day: 0,
            strategy,
            members,
            reputation: Fraction::ZERO,
            space: 0,
            service: 0,
            checking: 0,
            paid: 0,
            burnt: 0,
            cost: 0,
        }
    }

    /// What came in less what went out.
    pub fn profit(&self) -> i128 {
        let income = self.space + self.service + self.checking + self.paid;
        income as i128 - (self.burnt + self.cost) as i128
    }

    fn add(&mut self, other: &Self) {
        self.day = other.day;
        self.reputation = other.reputation;
        self.space += other.space;
        self.service += other.service;
        self.checking += other.checking;
        self.paid += other.paid;
        self.burnt += other.burnt;
        self.cost += other.cost;
    }
}

impl fmt::Display for EconomyRow {
    /// A line of CSV; amounts in micro-units.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, strategy, members, reputation, space, service, checking, paid, burnt, cost } = self;
        let (name, profit) = (strategy.name(), self.profit());
        let each = profit / i128::from((*members).max(1));
        write!(
            f,
            "{day},{name},{members},{reputation},{space},{service},{checking},{paid},{burnt},{cost},{profit},{each}"
        )
    }
}

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EconomySummary {
    /// One row over the whole run for each strategy that has members.
    pub totals: Vec<EconomyRow>,
    /// Emission that reached somebody, validators included.
    pub minted: u128,
    /// Emission that the schedule brought and nobody could claim.
    pub not_minted: u128,
    /// Burnt of payments.
    pub burnt: u128,
    /// Money at the end: at the start, plus minted, less burnt.
    pub supply: u128,
}

/// Why there is no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EconomyRejection {
    /// Emission parameters that do not fit.
    #[error(transparent)]
    Params(#[from] ParamsRejection),
    /// More members than the scores take.
    #[error(transparent)]
    Scores(#[from] ScoreRejection),
    /// An option outside its bounds.
    #[error("{name} is {got}, must be {least} to {most}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// Its value.
        got: u64,
        /// Least.
        least: u64,
        /// Most.
        most: u64,
    },
}

/// Plays the days and hands out a row for each strategy every `days_per_row`.
///
/// # Errors
/// [`EconomyRejection`] if the options cannot be; nothing was played then.
pub fn simulate(
    options: &EconomyOptions,
    mut row: impl FnMut(&EconomyRow),
) -> Result<EconomySummary, EconomyRejection> {
    check(options)?;
    let mut economy = Economy::new(options);
    let mut totals: BTreeMap<Strategy, EconomyRow> = economy.empty_rows();
    let mut span = economy.empty_rows();
    for day in 1..=options.days {
        economy.play_day(day, &mut span)?;
        if day % options.days_per_row == 0 || day == options.days {
            for (strategy, done) in &span {
                row(done);
                totals.get_mut(strategy).expect("the same strategies").add(done);
            }
            span = economy.empty_rows();
        }
    }
    let supply = u128::from(options.supply.0) + economy.minted - economy.burnt;
    let (minted, not_minted, burnt) = (economy.minted, economy.not_minted, economy.burnt);
    Ok(EconomySummary { totals: totals.into_values().collect(), minted, not_minted, burnt, supply })
}

fn check(options: &EconomyOptions) -> Result<(), EconomyRejection> {
    options.emission.validate()?;
    let members: u64 = options.members.values().map(|(count, _)| u64::from(*count)).sum();
    let largest = options.members.values().map(|(_, size)| *size).max().unwrap_or(0);
    let bounds = [
        ("days", options.days.into(), 1, 36_500),
        ("days_per_row", options.days_per_row.into(), 1, 36_500),
        ("epochs_per_day", options.epochs_per_day, 1, 1 << 20),
        ("members", members, 1, 1_000),
        ("size of a member", largest, 0, 1 << 30),
        ("demand_growth_bp", options.demand_growth_bp.into(), 0, 100),
        ("egress_cost_bp", options.egress_cost_bp.into(), 0, 10_000),
        ("demand", options.demand.0, 0, 1 << 50),
        ("wash_volume", options.wash_volume.0, 0, 1 << 50),
    ];
    for (name, got, least, most) in bounds {
        if !(least..=most).contains(&got) {
            return Err(EconomyRejection::OutOfRange { name, got, least, most });
        }
    }
    Ok(())
}

struct Economy<'a> {
    options: &'a EconomyOptions,
    providers: BTreeMap<ProviderId, (Strategy, u64)>,
    checkers: BTreeMap<Address, (Strategy, u64)>,
    /// What is left of the stakes.
    stakes: BTreeMap<Address, Amount>,
    book: ScoreBook,
    /// What the last round found, for copiers.
    found: BTreeMap<ProviderId, Fraction>,
    demand: Amount,
    random: u64,
    minted: u128,
    not_minted: u128,
    burnt: u128,
}

type Rows = BTreeMap<Strategy, EconomyRow>;

impl<'a> Economy<'a> {
    fn new(options: &'a EconomyOptions) -> Self {
        let (mut providers, mut checkers) = (BTreeMap::new(), BTreeMap::new());
        for (&strategy, &(count, size)) in &options.members {
            for _ in 0..count {
                if strategy.is_provider() {
                    providers.insert(ProviderId(1_000 + providers.len() as u64), (strategy, size));
                } else {
                    let mut name = [0; 32];
                    name[..8].copy_from_slice(&(checkers.len() as u64 + 1).to_be_bytes());
                    checkers.insert(Address(name), (strategy, size));
                }
            }
        }
        let stake = |(name, (_, units)): (&Address, &(Strategy, u64))| (*name, Amount(units * Amount::MICRO_PER_UNIT));
        let stakes = checkers.iter().map(stake).collect();
        Self {
            options,
            providers,
            checkers,
            stakes,
            book: ScoreBook::default(),
            found: BTreeMap::new(),
            demand: options.demand,
            random: options.seed,
            minted: 0,
            not_minted: 0,
            burnt: 0,
        }
    }

    fn empty_rows(&self) -> Rows {
        let members = self.options.members.iter().filter(|(_, (count, _))| *count > 0);
        members.map(|(strategy, (count, _))| (*strategy, EconomyRow::new(*strategy, *count))).collect()
    }

    /// SplitMix64: good enough for measurement noise.
    fn noise(&mut self, choices: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % choices
    }

    fn play_day(&mut self, day: u32, rows: &mut Rows) -> Result<(), EconomyRejection> {
        let paid_volume = self.spend_demand(rows);
        let round = self.measure();
        let outcome = self.book.evaluate(&round, &self.options.scores)?;
        self.found = outcome.clip_levels;
        let claims = Claims {
            power: self.providers.iter().map(|(name, (_, tib))| (*name, *tib)).collect(),
            incentives: outcome.incentives,
            paid_volume,
            dividends: outcome.dividends,
            validator_stakes: [(Address([0xff; 32]), Amount(1))].into(),
        };
        self.emit(day, &claims, rows);
        self.audit(rows);
        self.count_costs(day, rows);
        Ok(())
    }

    /// Step 1.
    fn spend_demand(&mut self, rows: &mut Rows) -> BTreeMap<ProviderId, Amount> {
        let options = self.options;
        // Clients try out newcomers: nobody's weight is below a hundredth of a perfect reputation.
        let least = Fraction::of(1, 100);
        let dealing = self.providers.iter().filter(|(_, (strategy, _))| strategy.takes_deals());
        let weights = dealing.map(|(name, (_, tib))| {
            let reputation = self.book.reputations.get(name).copied().unwrap_or_default().max(least);
            (*name, reputation.of_amount(tib << 20))
        });
        let mut volume = divided(self.demand, &weights.collect());
        for (name, (strategy, _)) in &self.providers {
            if *strategy == Strategy::SelfDealer {
                volume.insert(*name, options.wash_volume);
            }
        }
        for (name, amount) in &volume {
            let strategy = self.providers[name].0;
            let burnt = part_of(*amount, options.emission.settlement_burn_bp);
            self.burnt += u128::from(burnt.0);
            let row = rows.get_mut(&strategy).expect("strategies with members have rows");
            if strategy == Strategy::SelfDealer {
                row.burnt += u128::from(burnt.0);
            } else {
                row.paid += u128::from(amount.0 - burnt.0);
                let served = strategy.quality().min(1_000) as u32;
                let egress = part_of(*amount, options.egress_cost_bp * served / 1_000);
                row.cost += u128::from(egress.0);
            }
        }
        let growth = u128::from(self.demand.0) * u128::from(options.demand_growth_bp) / 10_000;
        self.demand = Amount((u128::from(self.demand.0) + growth).min(1 << 50) as u64);
        volume
    }

    /// Step 2.
    fn measure(&mut self) -> Round {
        let providers: Vec<_> = self.providers.iter().map(|(name, (strategy, _))| (*name, *strategy)).collect();
        let checkers: Vec<_> = self.checkers.iter().map(|(name, member)| (*name, *member)).collect();
        let mut voters = BTreeMap::new();
        for (name, (strategy, _)) in checkers {
            let mut opinions = BTreeMap::new();
            for &(provider, judged) in &providers {
                let friend = matches!(judged, Strategy::CartelFriend);
                let level = match strategy {
                    Strategy::CartelChecker => {
                        if friend {
                            u16::MAX
                        } else {
                            0
                        }
                    }
                    Strategy::Copier | Strategy::ReceiptForger => {
                        self.found.get(&provider).copied().unwrap_or_default().to_u16()
                    }
                    _ => {
                        let noise = if judged.quality() > 0 { self.noise(41) } else { 0 };
                        Fraction::of((judged.quality() + noise).saturating_sub(20), 1_000).to_u16()
                    }
                };
                opinions.insert(provider, level);
            }
            let stake = self.stakes[&name];
            // A ballot without receipts behind it does not count.
            let heard = match strategy {
                Strategy::SilentChecker => false,
                Strategy::Copier => self.options.checkers.unopened_burn_bp == 0,
                _ => stake >= self.options.checkers.stake_min,
            };
            let opinions = heard.then_some(opinions);
            voters.insert(name, RoundVoter { stake, opinions, owns: BTreeSet::new() });
        }
        Round { voters, providers: self.providers.keys().copied().collect() }
    }

    /// The end of step 2. Everybody's receipts are drawn; a made-up one is refuted if those who look have more than half of
    /// the stake.
    fn audit(&mut self, rows: &mut Rows) {
        let all: u128 = self.stakes.values().copied().sum();
        let looking = self.checkers.iter().filter(|(_, (strategy, _))| *strategy == Strategy::HonestChecker);
        let looking: u128 = looking.map(|(name, _)| self.stakes[name]).sum();
        for (name, (strategy, _)) in &self.checkers {
            let stake = self.stakes.get_mut(name).expect("everybody has an entry");
            let part = match strategy {
                Strategy::Copier => self.options.checkers.unopened_burn_bp,
                Strategy::ReceiptForger if 2 * looking > all => self.options.checkers.refuted_burn_bp,
                _ => 0,
            };
            // Who has less than the least stake is no checker any more, and keeps the rest.
            if *stake >= self.options.checkers.stake_min {
                let burnt = part_of(*stake, part);
                stake.0 -= burnt.0;
                self.burnt += u128::from(burnt.0);
                rows.get_mut(strategy).expect("has a row").burnt += u128::from(burnt.0);
            }
        }
    }

    /// Step 3.
    fn emit(&mut self, day: u32, claims: &Claims, rows: &mut Rows) {
        let (options, emission) = (self.options, &self.options.emission);
        let at = |day: u32| emission.scheduled_before(Epoch(u64::from(day) * options.epochs_per_day));
        let scheduled = Amount((at(day) - at(day - 1)) as u64);
        let distribution = emission.distribute(scheduled, claims);
        self.minted += u128::from(distribution.minted().0);
        self.not_minted += u128::from(distribution.not_minted.0);
        for (name, amount) in &distribution.space {
            rows.get_mut(&self.providers[name].0).expect("has a row").space += u128::from(amount.0);
        }
        for (name, amount) in &distribution.service {
            rows.get_mut(&self.providers[name].0).expect("has a row").service += u128::from(amount.0);
        }
        for (name, amount) in &distribution.checkers {
            rows.get_mut(&self.checkers[name].0).expect("has a row").checking += u128::from(amount.0);
        }
    }

    /// Step 4, and the reputations of the day.
    fn count_costs(&self, day: u32, rows: &mut Rows) {
        for (strategy, row) in rows {
            row.day = day;
            let (count, size) = self.options.members[strategy];
            if strategy.is_provider() {
                row.cost += u128::from(self.options.storage_cost.0) * u128::from(size) * u128::from(count);
                let own = self.providers.iter().filter(|(_, (other, _))| other == strategy);
                let sum: u64 = own.map(|(name, _)| self.book.reputations.get(name).map_or(0, |r| r.raw())).sum();
                row.reputation = Fraction::from_raw(sum / u64::from(count)).expect("a mean of fractions");
            } else if *strategy == Strategy::HonestChecker {
                row.cost += u128::from(self.options.measuring_cost.0) * u128::from(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(summary: &EconomySummary, strategy: Strategy) -> i128 {
        let row = summary.totals.iter().find(|row| row.strategy == strategy).unwrap();
        row.profit() / i128::from(row.members)
    }

    #[test]
    fn ten_years_conserve_money_and_repeat() {
        let options = EconomyOptions::ten_years(1);
        let mut rows = Vec::new();
        let summary = simulate(&options, |row| rows.push(row.to_string())).unwrap();
        let end = Epoch(u64::from(options.days) * options.epochs_per_day);
        assert_eq!(summary.minted + summary.not_minted, options.emission.scheduled_before(end));
        assert_eq!(summary.supply, u128::from(options.supply.0) + summary.minted - summary.burnt);
        assert_eq!(rows.len(), 122 * 10);
        let columns = EconomyRow::CSV_HEADER.split(',').count();
        assert!(rows.iter().all(|row| row.split(',').count() == columns));
        let mut again = Vec::new();
        assert_eq!(simulate(&options, |row| again.push(row.to_string())).unwrap(), summary);
        assert_eq!(rows, again);
        println!("minted {}, not minted {}, burnt {}", summary.minted, summary.not_minted, summary.burnt);
        println!("{}", EconomyRow::CSV_HEADER);
        summary.totals.iter().for_each(|row| println!("{row}"));
    }

    #[test]
    fn honest_providers_earn_more_than_any_gaming_provider() {
        let summary = simulate(&EconomyOptions::ten_years(2), |_| ()).unwrap();
        let honest = each(&summary, Strategy::HonestProvider);
        for strategy in [Strategy::EmptySpace, Strategy::SlowServer, Strategy::SelfDealer, Strategy::CartelFriend] {
            assert!(honest > each(&summary, strategy), "{} earns {}", strategy.name(), each(&summary, strategy));
        }
        let per_stake = |strategy| {
            let (count, units) = EconomyOptions::ten_years(2).members[&strategy];
            each(&summary, strategy) * 1_000_000 / i128::from(units) / i128::from(count.min(1))
        };
        let honest = per_stake(Strategy::HonestChecker);
        assert!(honest > per_stake(Strategy::CartelChecker));
        assert!(honest > per_stake(Strategy::Copier), "who shows no receipts");
        assert!(honest > per_stake(Strategy::ReceiptForger), "who makes them up");
        assert!(honest > per_stake(Strategy::SilentChecker));
    }

    /// Without a look at receipts, copying what others found costs nothing and earns what measuring earns.
    #[test]
    fn copying_pays_only_if_nobody_asks_for_receipts() {
        let profit = |audits: bool, strategy| {
            let mut options = EconomyOptions { days: 730, ..EconomyOptions::ten_years(4) };
            if !audits {
                (options.checkers.unopened_burn_bp, options.checkers.refuted_burn_bp) = (0, 0);
            }
            let (_, units) = options.members[&strategy];
            each(&simulate(&options, |_| ()).unwrap(), strategy) / i128::from(units)
        };
        let honest = [false, true].map(|audits| profit(audits, Strategy::HonestChecker));
        for gaming in [Strategy::Copier, Strategy::ReceiptForger] {
            let [without, with] = [false, true].map(|audits| profit(audits, gaming));
            println!("{}: {without} without audits, {with} with; honest {honest:?}", gaming.name());
            assert!(without > honest[0] && with < 0, "{}: {without}, {with}, {honest:?}", gaming.name());
        }
    }

    /// Paying oneself loses while the match is at most the burn, and gains when it is not: for the docs.
    #[test]
    fn self_dealing_pays_only_if_the_match_is_above_the_burn() {
        let profit = |service_match_bp, wash: u64| {
            let mut options = EconomyOptions { days: 365, ..EconomyOptions::ten_years(3) };
            options.emission.service_match_bp = service_match_bp;
            options.wash_volume = Amount(wash);
            each(&simulate(&options, |_| ()).unwrap(), Strategy::SelfDealer)
        };
        let idle = profit(200, 0);
        assert!(profit(200, 20_000_000_000) <= idle);
        assert!(profit(200, 2_000_000_000_000) < idle);
        assert!(profit(5_000, 20_000_000_000) > idle);
    }

    #[test]
    fn options_out_of_bounds_are_named() {
        let broken = |change: fn(&mut EconomyOptions)| {
            let mut options = EconomyOptions::ten_years(1);
            change(&mut options);
            simulate(&options, |_| ()).unwrap_err()
        };
        assert!(matches!(broken(|o| o.days = 0), EconomyRejection::OutOfRange { name: "days", .. }));
        assert!(matches!(broken(|o| o.members.clear()), EconomyRejection::OutOfRange { name: "members", .. }));
        assert!(matches!(broken(|o| o.emission.halving_epochs = 0), EconomyRejection::Params(_)));
        assert!(matches!(broken(|o| o.scores.cells_max = 1), EconomyRejection::Scores(_)));
    }
}
