//! Rails and scores: somebody pays by the epoch, checkers stake, vote and keep silent.

use cairn_ledger::payments::RailId;
use cairn_ledger::scores::ballot::{Opinions, Phase};
use cairn_ledger::{Address, CheckCommand, Command, RailCommand, RailTarget, Salt};
use cairn_protocol::Amount;

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

/// Stakes and votes on providers.
pub struct CheckerActor {
    name: &'static str,
    account: AccountIndex,
    /// How often it does not reveal, in thousandths.
    hides: u64,
    committed: Option<Opinions>,
}

impl CheckerActor {
    pub(super) fn new(name: &'static str, account: AccountIndex, hides: u64) -> Self {
        Self { name, account, hides, committed: None }
    }

    fn vote(&mut self, view: &View<'_>, random: &mut Random) -> Option<CheckCommand> {
        let rounds = view.params().economy.rounds;
        let round = rounds.round_at(view.next_epoch()).checked_sub(1)?;
        let salt = Salt([self.account as u8; 32]);
        match rounds.phase_at(view.next_epoch()) {
            Phase::Commit if self.committed.as_ref().is_none_or(|opinions| opinions.round != round) => {
                let levels = view.board.owners.keys().take(8).map(|provider| (*provider, random.below(65_536) as u16));
                let opinions = Opinions { round, levels: levels.collect(), receipts_root: [0; 32] };
                let own = view.keys[self.account].address;
                let commitment = opinions.commitment(view.state.chain(), own, &salt);
                self.committed = Some(opinions);
                Some(CheckCommand::Commit { commitment })
            }
            Phase::Reveal => {
                let opinions = self.committed.clone().filter(|opinions| opinions.round == round)?;
                let hides = Random::fork(round, self.account as u64).chance(self.hides);
                (!hides && random.chance(500)).then_some(CheckCommand::Reveal { opinions, salt })
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
