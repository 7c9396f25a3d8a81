//! Rails and scores: somebody pays by the epoch; checkers stake, vote, keep silent, copy and make things up.

use std::collections::BTreeMap;

use cairn_ledger::payments::RailId;
use cairn_ledger::scores::ballot::{Opinions, Phase};
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::{Served, quality};
use cairn_ledger::scores::receipts::{
    CheckFailure, CheckReceipt, CheckResult, OpenedReceipt, SignedCheckReceipt, receipts_root,
};
use cairn_ledger::{Address, CheckCommand, Command, RailCommand, RailTarget, Salt};
use cairn_protocol::{Amount, ProviderId};
use sha2::{Digest, Sha256};

use super::Actor;
use crate::random::Random;
use crate::world::{AccountIndex, Offers, View};

/// Pays providers by rails, and runs dry now and then.
pub struct RailPayer {
    account: AccountIndex,
    /// Rails that it has asked for; most of them exist.
    asked: u64,
}

impl RailPayer {
    pub(super) fn new(account: AccountIndex) -> Self {
        Self { account, asked: 0 }
    }

    fn open(&mut self, view: &View<'_>, random: &mut Random) -> Option<RailCommand> {
        let owners: Vec<_> = view.board.owners.iter().collect();
        let (&provider, &payee): (_, &Address) = *random.pick(&owners)?;
        let sectors: Vec<_> = view.board.live.get(&provider).into_iter().flatten().copied().collect();
        let target = match (random.below(3), random.pick(&sectors), random.pick(&view.board.active_deals)) {
            (0, Some(&sector), _) => RailTarget::Sector { provider, sector },
            (1, _, Some(&deal)) => RailTarget::Deal(deal),
            _ => RailTarget::Nothing,
        };
        // A deal may be with somebody else than the payee, and is refused then.
        let payee = match target {
            RailTarget::Deal(deal) => *view.board.owners.get(&view.state.deal(deal)?.provider)?,
            _ => payee,
        };
        self.asked += 1;
        let (rate, lockup_fixed) = (Amount(random.below(500)), Amount(random.below(10_000)));
        Some(RailCommand::Open { payee, rate, lockup_period: random.between(1, 30), lockup_fixed, target })
    }
}

impl Actor for RailPayer {
    fn name(&self) -> &str {
        "rail-payer"
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if !random.chance(300) {
            return;
        }
        let rail = RailId(random.between(1, self.asked.max(1)));
        let account = view.keys[self.account].address;
        let wanted = match random.below(9) {
            0 | 1 => Some(RailCommand::Deposit { account, amount: Amount(random.between(1, 200_000)) }),
            2 => Some(RailCommand::Withdraw { amount: Amount(random.between(1, 100_000)) }),
            3 | 4 => self.open(view, random),
            5 => Some(RailCommand::ChangeRate { rail, rate: Amount(random.below(500)) }),
            6 => Some(RailCommand::PayOnce { rail, amount: Amount(random.between(1, 2_000)) }),
            7 => Some(RailCommand::Terminate { rail }),
            _ => Some(RailCommand::Settle { rail }),
        };
        if let Some(wanted) = wanted {
            offers.command(self.account, Command::Rail(wanted));
        }
    }
}

/// What is wrong with a checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckerHabit {
    /// Nothing.
    Honest,
    /// It often does not reveal.
    Hides,
    /// It says something about everybody, and has no receipts.
    Copies,
    /// It makes up what it was sent to fetch.
    Forges,
}

impl CheckerHabit {
    /// Everybody's, by name.
    pub(super) const fn all() -> [(&'static str, Self); 5] {
        [
            ("checker-1", Self::Honest),
            ("checker-2", Self::Honest),
            ("silent-checker", Self::Hides),
            ("copier", Self::Copies),
            ("forger-of-receipts", Self::Forges),
        ]
    }
}

/// Stakes and votes on providers.
pub struct CheckerActor {
    name: &'static str,
    account: AccountIndex,
    habit: CheckerHabit,
    /// By round.
    measured: BTreeMap<u64, Vec<SignedCheckReceipt>>,
    committed: Option<Opinions>,
}

/// What the bytes of a task hash to, in this world.
fn content_of(task: &CheckTask) -> [u8; 32] {
    Sha256::new().chain_update(task.root.to_bytes()).chain_update(task.point.to_be_bytes()).finalize().into()
}

impl CheckerActor {
    pub(super) fn new(name: &'static str, account: AccountIndex, habit: CheckerHabit) -> Self {
        Self { name, account, habit, measured: BTreeMap::new(), committed: None }
    }

    /// Fetches what is assigned, in the epoch in which that can be known.
    fn measure(&mut self, view: &View<'_>) {
        let (state, rounds) = (view.state, view.params().economy.rounds);
        let round = rounds.round_at(state.epoch());
        let pair = &view.keys[self.account];
        if rounds.first_epoch(round) != Some(state.epoch()) || self.habit == CheckerHabit::Copies {
            return;
        }
        let sign = |task: CheckTask| {
            let fails = Random::fork(task.provider.0, task.slot.into()).chance(200);
            let mut content = content_of(&task);
            content[0] ^= u8::from(self.habit == CheckerHabit::Forges);
            let served = Served { ttfb_ms: 10, total_ms: 20, bytes: task.length };
            let result = match fails {
                true => CheckResult::Failed(CheckFailure::Stalled),
                false => CheckResult::Served { served, content },
            };
            CheckReceipt { task, result }.sign(state.chain(), &pair.key)
        };
        self.measured.insert(round, state.check_tasks(pair.address).into_iter().map(sign).collect());
        self.measured.retain(|known, _| known + 2 > round);
    }

    fn opinions(&self, round: u64, view: &View<'_>, random: &mut Random) -> Option<Opinions> {
        if self.habit == CheckerHabit::Copies {
            let levels = view.board.owners.keys().take(8).map(|provider| (*provider, random.below(65_536) as u16));
            return Some(Opinions { round, levels: levels.collect(), receipts_root: [7; 32], receipts: 5 });
        }
        let receipts = self.measured.get(&round)?;
        let mut checks: BTreeMap<ProviderId, Vec<_>> = BTreeMap::new();
        for signed in receipts {
            checks.entry(signed.receipt.task.provider).or_default().push(signed.receipt.served());
        }
        let target = &view.params().economy.quality;
        let levels =
            checks.iter().filter_map(|(provider, checks)| Some((*provider, quality(checks, target)?.to_u16())));
        let (receipts_root, count) = (receipts_root(receipts), receipts.len() as u32);
        Some(Opinions { round, levels: levels.collect(), receipts_root, receipts: count })
    }

    fn vote(&mut self, view: &View<'_>, random: &mut Random) -> Option<CheckCommand> {
        let rounds = view.params().economy.rounds;
        let round = rounds.round_at(view.next_epoch()).checked_sub(1)?;
        let (salt, own) = (Salt([self.account as u8; 32]), view.keys[self.account].address);
        match rounds.phase_at(view.next_epoch()) {
            Phase::Commit if self.committed.as_ref().is_none_or(|opinions| opinions.round != round) => {
                let opinions = self.opinions(round, view, random)?;
                let commitment = opinions.commitment(view.state.chain(), own, &salt);
                self.committed = Some(opinions);
                Some(CheckCommand::Commit { commitment })
            }
            Phase::Reveal => {
                let opinions = self.committed.clone().filter(|opinions| opinions.round == round)?;
                let hides = self.habit == CheckerHabit::Hides && Random::fork(round, self.account as u64).chance(700);
                (!hides && random.chance(600)).then_some(CheckCommand::Reveal { opinions, salt })
            }
            Phase::Open => {
                let audit = view.state.audit(round, own).filter(|audit| !audit.opened)?;
                let receipts = self.measured.get(&round)?;
                let about = |at: &usize| receipts[*at].receipt.task.provider == audit.provider;
                let opened = (0..receipts.len()).filter(about).filter_map(|at| OpenedReceipt::open(receipts, at));
                Some(CheckCommand::Open { receipts: opened.collect() })
            }
            Phase::Quiet if self.habit != CheckerHabit::Copies => {
                let found = view.state.audits().find_map(|(of, checker, audit)| {
                    let exhibit = audit.exhibit.as_ref().filter(|_| of == round && checker != own && !audit.refuted)?;
                    let content = content_of(&exhibit.task);
                    let said = view.state.refutation(of, checker, own).is_some();
                    (!said && exhibit.content() != Some(content)).then_some((checker, content))
                });
                found.map(|(checker, content)| CheckCommand::Refute { round, checker, content })
            }
            _ => None,
        }
    }
}

impl Actor for CheckerActor {
    fn name(&self) -> &str {
        self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        self.measure(view);
        let own = view.keys[self.account].address;
        let staked = view.state.checker(&own).map_or(Amount::ZERO, |checker| checker.stake);
        if random.chance(if staked.is_zero() { 300 } else { 10 }) {
            let amount = Amount(view.params().economy.checkers.stake_min.0 * random.between(1, 9));
            offers.command(self.account, Command::Check(CheckCommand::Stake { amount }));
        } else if random.chance(15) && !staked.is_zero() {
            let amount = if random.chance(300) { staked } else { Amount(random.between(1, staked.0)) };
            offers.command(self.account, Command::Check(CheckCommand::Unstake { amount }));
        } else if let Some(vote) = self.vote(view, random).filter(|_| !staked.is_zero()) {
            offers.command(self.account, Command::Check(vote));
        }
        if random.chance(30) {
            offers.command(self.account, Command::ClaimRewards { provider: None });
        }
    }
}
