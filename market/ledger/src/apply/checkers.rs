//! Checkers: stake, seats, commit, reveal, and what costs stake.
//!
//! Seats are few, because every checker costs work for every provider. When all are taken, more stake than the least
//! takes that one's seat; its stake leaves. Stake that leaves has no voice, stays locked for `exit_epochs`, and can be
//! burnt until then: nobody lies and runs.

use cairn_protocol::{Amount, Epoch};

use super::Step;
use super::providers::positive;
use crate::economy::{CheckCommand, Checker, CheckerRejection, ScoreEvent};
use crate::emission::part_of;
use crate::event::Event;
use crate::ids::{Address, Commitment, Salt};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::scores::ballot::{Ballot, BallotBox, BallotRejection, Opinions};
use crate::scores::receipts::{SignedCheckReceipt, contradiction};
use crate::state::State;
use crate::treasury::Pot;
use crate::validator::LEAVING_MAX;

impl Step<'_> {
    pub(super) fn check_command(&mut self, command: &CheckCommand) -> Result<(), Rejection> {
        match command {
            CheckCommand::Stake { amount } => self.stake_checker(*amount),
            CheckCommand::Unstake { amount } => self.unstake_checker(*amount),
            CheckCommand::Commit { commitment } => self.commit_opinions(*commitment),
            CheckCommand::Reveal { opinions, salt } => self.reveal_opinions(opinions, salt),
            CheckCommand::Open { receipts } => self.open_receipts(receipts),
            CheckCommand::Refute { round, checker, content } => self.refute(*round, *checker, content),
            CheckCommand::ReportContradiction { first, second } => self.report_contradiction(first, second),
        }
    }

    fn stake_checker(&mut self, amount: Amount) -> Result<(), Rejection> {
        positive("stake", amount)?;
        let (checker, params) = (self.sender, self.state.meta.params.economy.checkers);
        let found = self.state.checkers.get(&checker).cloned();
        let is_new = found.is_none();
        let since_round = self.round();
        let mut record = found.unwrap_or(Checker { stake: Amount::ZERO, since_round, silent_rounds: 0 });
        let overflow = || Rejection::Overflow { what: "stake".to_owned() };
        record.stake = record.stake.checked_add(amount).ok_or_else(overflow)?;
        if record.stake < params.stake_min {
            return Err(CheckerRejection::StakeTooLow { least: params.stake_min, got: record.stake }.into());
        }
        self.state.lock(checker, Pot::CheckerStake, amount)?;
        if is_new && self.state.checkers.len() >= params.checkers_max as usize {
            self.take_seat(record.stake)?;
        }
        let stake = record.stake;
        self.state.checkers.insert(checker, record);
        self.emit(Event::Score(ScoreEvent::StakeChanged { checker, stake }));
        Ok(())
    }

    /// Makes the checker with the least stake leave, if that is less than `stake`.
    fn take_seat(&mut self, stake: Amount) -> Result<(), Rejection> {
        let least = self.state.checkers.iter().map(|(address, record)| (record.stake, *address)).min();
        let (least, weakest) = least.expect("there is a seat");
        if stake <= least {
            let seats = self.state.meta.params.economy.checkers.checkers_max;
            return Err(CheckerRejection::NoSeat { seats, least }.into());
        }
        self.let_stake_leave(weakest, least)?;
        self.state.checkers.remove(&weakest);
        self.emit(Event::Score(ScoreEvent::SeatTaken { checker: weakest, by: self.sender }));
        Ok(())
    }

    fn unstake_checker(&mut self, amount: Amount) -> Result<(), Rejection> {
        positive("stake", amount)?;
        let checker = self.sender;
        let mut record = self.known_checker(checker)?;
        let Some(rest) = record.stake.checked_sub(amount) else {
            let (needed, available) = (amount, record.stake);
            return Err(Rejection::InsufficientFunds { account: checker, needed, available });
        };
        let least = self.state.meta.params.economy.checkers.stake_min;
        if !rest.is_zero() && rest < least {
            return Err(CheckerRejection::StakeTooLow { least, got: rest }.into());
        }
        self.let_stake_leave(checker, amount)?;
        record.stake = rest;
        if rest.is_zero() {
            self.state.checkers.remove(&checker);
        } else {
            self.state.checkers.insert(checker, record);
        }
        self.emit(Event::Score(ScoreEvent::StakeChanged { checker, stake: rest }));
        Ok(())
    }

    pub(super) fn known_checker(&self, checker: Address) -> Result<Checker, Rejection> {
        let unknown = CheckerRejection::UnknownChecker { checker };
        Ok(self.state.checkers.get(&checker).cloned().ok_or(unknown)?)
    }

    fn let_stake_leave(&mut self, checker: Address, amount: Amount) -> Result<(), Rejection> {
        let until = self.later(self.now(), self.state.meta.params.economy.checkers.exit_epochs);
        let key = (checker, until);
        if self.state.exits_of(checker).count() as u64 >= LEAVING_MAX && !self.state.checker_exits.contains(&key) {
            return Err(CheckerRejection::TooManyExits { checker, limit: LEAVING_MAX }.into());
        }
        let leaving = self.state.checker_exits.get(&key).copied().unwrap_or_default();
        let leaving = leaving.checked_add(amount).expect("at most the supply");
        self.state.checker_exits.insert(key, leaving);
        self.state.schedule(until, Due::CheckerExit(checker));
        Ok(())
    }

    /// Gives back what has left by `due_at`; returns the weight.
    pub(super) fn release_checker(&mut self, checker: Address, due_at: Epoch) -> u64 {
        let key = (checker, due_at);
        if let Some(amount) = self.state.checker_exits.get(&key).copied() {
            self.state.checker_exits.remove(&key);
            self.state.release(Pot::CheckerStake, checker, amount);
            self.emit(Event::Score(ScoreEvent::StakeReleased { checker, amount }));
        }
        1
    }

    /// The ballots of the round before this one, as far as they concern the sender.
    fn own_ballot(&self) -> Result<(u64, BallotBox), Rejection> {
        let (checker, since) = (self.sender, self.known_checker(self.sender)?.since_round);
        let economy = &self.state.meta.params.economy;
        let Some(round) = self.round().checked_sub(1) else {
            return Err(BallotRejection::WrongPhase { what: "a vote".to_owned(), epoch: self.now() }.into());
        };
        if since >= round {
            return Err(BallotRejection::CameLater { checker, round, since }.into());
        }
        let ballot = self.state.ballots.get(&(round, self.sender)).cloned();
        Ok((round, BallotBox::new(economy.rounds, round, economy.opinions_max()).with(self.sender, ballot)))
    }

    fn keep_ballot(&mut self, round: u64, ballots: &BallotBox) {
        let ballot: Ballot = ballots.ballot(&self.sender).cloned().expect("just handed in");
        self.state.ballots.insert((round, self.sender), ballot);
    }

    fn commit_opinions(&mut self, commitment: Commitment) -> Result<(), Rejection> {
        let (round, mut ballots) = self.own_ballot()?;
        ballots.commit(self.now(), self.sender, commitment)?;
        self.keep_ballot(round, &ballots);
        self.emit(Event::Score(ScoreEvent::Committed { checker: self.sender, round }));
        Ok(())
    }

    fn reveal_opinions(&mut self, opinions: &Opinions, salt: &Salt) -> Result<(), Rejection> {
        let (round, mut ballots) = self.own_ballot()?;
        ballots.reveal(self.now(), self.state.meta.chain, self.sender, opinions.clone(), salt)?;
        self.keep_ballot(round, &ballots);
        let opinions = opinions.levels.len() as u32;
        self.emit(Event::Score(ScoreEvent::Revealed { checker: self.sender, round, opinions }));
        Ok(())
    }

    /// Burns a part of the stake of a checker that committed and did not reveal.
    pub(super) fn punish_silence(&mut self, checker: Address, round: u64) {
        let part = self.state.meta.params.economy.checkers.unrevealed_burn_bp;
        if let Some(burnt) = self.burn_stake(checker, part) {
            self.emit(Event::Score(ScoreEvent::NotRevealed { checker, round, burnt }));
        }
    }

    /// Burns a part of a checker's stake, in basis points; `None` if it has left.
    pub(super) fn burn_stake(&mut self, checker: Address, part: u32) -> Option<Amount> {
        let take = |record: &mut Checker| {
            let burnt = part_of(record.stake, part);
            record.stake = record.stake.checked_sub(burnt).expect("a part");
            burnt
        };
        let burnt = self.state.checkers.update(&checker, take)?;
        self.state.burn(Pot::CheckerStake, burnt);
        Some(burnt)
    }

    /// Takes all the stake of a checker that signed two things about one check, also what is leaving.
    fn report_contradiction(&mut self, a: &SignedCheckReceipt, b: &SignedCheckReceipt) -> Result<(), Rejection> {
        let no = |problem: &str| Rejection::from(CheckerRejection::NoContradiction { problem: problem.to_owned() });
        let checker = a.receipt.task.checker;
        let leaving: Vec<(Epoch, Amount)> = self.state.exits_of(checker).collect();
        let record = self.state.checkers.get(&checker).cloned();
        if record.as_ref().is_some_and(|record| a.receipt.task.round < record.since_round) {
            return Err(no("they are older than its stake"));
        }
        let stake = record.iter().map(|record| record.stake).chain(leaving.iter().map(|(_, amount)| *amount));
        let stake = Amount::checked_sum(stake).expect("parts of the supply");
        if stake.is_zero() {
            return Err(no("it has no stake"));
        }
        if !contradiction(self.state.meta.chain, a, b) {
            return Err(no("they are about different checks, say the same, or are not signed by it"));
        }
        self.state.checkers.remove(&checker);
        for (until, _) in leaving {
            self.state.checker_exits.remove(&(checker, until));
        }
        let rewarded = part_of(stake, self.state.meta.params.economy.checkers.reporter_bp);
        let burnt = stake.checked_sub(rewarded).expect("a part");
        let reporter = self.sender;
        self.state.release(Pot::CheckerStake, reporter, rewarded);
        self.state.burn(Pot::CheckerStake, burnt);
        self.emit(Event::Score(ScoreEvent::Contradicted { checker, burnt, reporter, rewarded }));
        Ok(())
    }
}

/// Reading checkers.
impl State {
    /// A checker with stake.
    pub fn checker(&self, checker: &Address) -> Option<&Checker> {
        self.checkers.get(checker)
    }

    /// All of them, by address.
    pub fn checkers(&self) -> impl Iterator<Item = (Address, &Checker)> {
        self.checkers.iter().map(|(address, record)| (*address, record))
    }

    /// A checker's stake that is leaving, with the epoch at which it is free.
    pub fn exits_of(&self, checker: Address) -> impl Iterator<Item = (Epoch, Amount)> {
        let exits = self.checker_exits.iter_from(&(checker, Epoch(0)));
        exits.take_while(move |((of, _), _)| *of == checker).map(|((_, until), amount)| (*until, *amount))
    }

    /// What a checker has handed in about a round.
    pub fn ballot(&self, round: u64, checker: Address) -> Option<&Ballot> {
        self.ballots.get(&(round, checker))
    }
}
