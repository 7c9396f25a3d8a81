//! Receipts behind opinions: drawn when the opinions are on the ledger, opened, and refuted if they are false.
//!
//! Opinions alone can be copied from the last round. So, after the reveal phase of a round:
//!
//! 1. The beacon draws one of the providers that each ballot judges: nobody knew which when the root was committed to.
//! 2. Until the opening phase is over the checker must show all its receipts about that provider: under the root, signed,
//!    of the slots and points that the round's beacon gave, and of just the quality that the ballot says. Who does not
//!    loses [`crate::economy::CheckerParams::unopened_burn_bp`] of its stake, and its ballot does not count.
//! 3. One receipt of bytes that were served, drawn too, becomes the *exhibit*. Any checker may fetch the same bytes; if they
//!    hash to something else it says so, until the ballots of the next round are closed. It says zeros if the dataset was
//!    not the one that was assigned, which whoever looked when the round began knows. So there is one true answer: when
//!    more than half of all stake names the same other one, the receipt was made up, and its signer loses
//!    [`crate::economy::CheckerParams::refuted_burn_bp`] of its stake. A minority cannot refute anything. The stake of the
//!    accused counts among all of it: otherwise two small checkers could burn the stake of one that has most.
//!
//! Work: one draw for each checker, at most [`OPENED_MAX`] receipts in an opening, one entry for each checker and exhibit.
//!
//! What stays on trust: receipts of failures, and how fast a server was, are a checker's word; who has half of the stake
//! may make up what it likes; and bytes that no gateway serves any more cannot be held against a receipt.

use cairn_protocol::{Amount, ProviderId};
use serde_bytes::ByteBuf;

use super::{Step, in_range};
use crate::economy::{Audit, CheckerRejection, ScoreEvent};
use crate::event::Event;
use crate::ids::{Address, Beacon};
use crate::rejection::Rejection;
use crate::scores::ballot::{Ballot, Opinions, Phase};
use crate::scores::checks::{audited, exhibit_draw, point_of};
use crate::scores::quality::quality;
use crate::scores::receipts::{CheckReceipt, OPENED_MAX, OpenedReceipt};
use crate::state::State;

impl Step<'_> {
    /// Step 1, for the ballots of `round`. The audits of the round before are over.
    pub(super) fn draw_audits(&mut self, round: u64) {
        self.forget_audits(round);
        let (now, params) = (self.now(), &self.state.meta.params.economy.checkers);
        let Some(beacon) = self.state.beacon(now).filter(|_| params.unopened_burn_bp > 0) else { return };
        let ballots = self.state.ballots.iter_from(&(round, Address([0; 32])));
        let ballots = ballots.take_while(|((of, _), _)| *of == round);
        let drawn: Vec<(Address, ProviderId, u64)> = ballots
            .filter_map(|((_, checker), ballot)| {
                let Ballot::Revealed(opinions) = ballot else { return None };
                let place = audited(beacon, round, *checker, opinions.levels.len() as u64);
                let draw = exhibit_draw(beacon, round, *checker);
                Some((*checker, opinions.levels.get(place as usize)?.0, draw))
            })
            .collect();
        for (checker, provider, draw) in drawn {
            let audit = Audit { provider, draw, exhibit: None, opened: false, refuted: false };
            self.state.audits.insert((round, checker), audit);
            self.emit(Event::Score(ScoreEvent::Audited { checker, round, provider }));
        }
    }

    fn forget_audits(&mut self, round: u64) {
        let audits: Vec<_> = self.state.audits.iter().map(|(key, _)| *key).filter(|(of, _)| *of < round).collect();
        for key in audits {
            self.state.audits.remove(&key);
        }
        let said: Vec<_> = self.state.refutations.iter().map(|(key, _)| *key).filter(|(of, ..)| *of < round).collect();
        for key in said {
            self.state.refutations.remove(&key);
        }
    }

    /// The end of step 2.
    pub(super) fn close_audits(&mut self, round: u64) {
        let unopened = self.state.audits.iter().filter(|((of, _), audit)| *of == round && !audit.opened);
        let unopened: Vec<Address> = unopened.map(|((_, checker), _)| *checker).collect();
        let part = self.state.meta.params.economy.checkers.unopened_burn_bp;
        for checker in unopened {
            self.state.audits.remove(&(round, checker));
            self.state.ballots.remove(&(round, checker));
            if let Some(burnt) = self.burn_stake(checker, part) {
                self.state.checkers.update(&checker, |record| record.silent_rounds = record.silent_rounds.max(1));
                self.emit(Event::Score(ScoreEvent::NotOpened { checker, round, burnt }));
            }
        }
        self.begin_scoring(round);
    }

    /// Step 2.
    pub(super) fn open_receipts(&mut self, receipts: &[OpenedReceipt]) -> Result<(), Rejection> {
        let checker = self.sender;
        let bad = |problem: &str| {
            let problem = problem.to_owned();
            Rejection::from(CheckerRejection::BadOpening { checker, problem })
        };
        let economy = &self.state.meta.params.economy;
        in_range("receipts", receipts.len() as u64, 1, OPENED_MAX as u64)?;
        let round = self.round().checked_sub(1).filter(|_| economy.rounds.phase_at(self.now()) == Phase::Open);
        let round = round.ok_or_else(|| bad("it is not the phase for it"))?;
        let audit = self.state.audits.get(&(round, checker)).cloned().ok_or_else(|| bad("nothing of it was drawn"))?;
        if audit.opened {
            return Err(bad("they are open already"));
        }
        let Some(Ballot::Revealed(opinions)) = self.state.ballots.get(&(round, checker)) else {
            return Err(bad("it said nothing"));
        };
        let beacon = economy.rounds.first_epoch(round).and_then(|epoch| self.state.beacon(epoch));
        let beacon = beacon.ok_or_else(|| bad("the round's beacon is forgotten"))?;
        self.check_opened(receipts, opinions, audit.provider, beacon).map_err(bad)?;
        let served = receipts.iter().map(|opened| &opened.signed.receipt).filter(|receipt| receipt.served().is_some());
        let served: Vec<&CheckReceipt> = served.collect();
        let place = audit.draw.checked_rem(served.len() as u64);
        let exhibit = place.and_then(|place| served.get(place as usize)).map(|receipt| (*receipt).clone());
        self.state.audits.insert((round, checker), Audit { exhibit, opened: true, ..audit });
        self.emit(Event::Score(ScoreEvent::Opened { checker, round }));
        Ok(())
    }

    /// Whether the receipts are those behind the opinion of `provider`.
    fn check_opened(
        &self,
        receipts: &[OpenedReceipt],
        opinions: &Opinions,
        provider: ProviderId,
        beacon: &Beacon,
    ) -> Result<(), &'static str> {
        let (economy, chain) = (&self.state.meta.params.economy, self.state.meta.chain);
        let task = |opened: &OpenedReceipt| opened.signed.receipt.task.clone();
        if !receipts.windows(2).all(|pair| pair[0].index < pair[1].index && task(&pair[0]).slot < task(&pair[1]).slot) {
            return Err("they are not ascending");
        }
        for opened in receipts {
            let drawn = task(opened);
            let assigned = drawn.round == opinions.round
                && drawn.checker == self.sender
                && drawn.provider == provider
                && drawn.slot < economy.checks.slots()
                && drawn.length == economy.checks.range_bytes
                && drawn.point == point_of(beacon, drawn.round, drawn.checker, drawn.slot);
            if !assigned {
                return Err("one is about something else than what was assigned");
            }
            if !opened.is_under(&opinions.receipts_root, opinions.receipts) {
                return Err("one is not under the root");
            }
            if opened.signed.verify(chain).is_err() {
                return Err("one is not signed");
            }
        }
        let checks: Vec<_> = receipts.iter().map(|opened| opened.signed.receipt.served()).collect();
        let said = opinions.levels.iter().find(|(judged, _)| *judged == provider).map(|(_, level)| *level);
        match quality(&checks, &economy.quality).map(|quality| quality.to_u16()) == said {
            true => Ok(()),
            false => Err("they do not make the quality that it revealed"),
        }
    }

    /// Step 3.
    pub(super) fn refute(&mut self, round: u64, checker: Address, content: &[u8; 32]) -> Result<(), Rejection> {
        let bad = |problem: &str| {
            let problem = problem.to_owned();
            Rejection::from(CheckerRejection::BadRefutation { checker, round, problem })
        };
        let sender = self.sender;
        self.known_checker(sender)?;
        let audit = self.state.audits.get(&(round, checker)).cloned().ok_or_else(|| bad("it was not audited"))?;
        let shown = audit.exhibit.as_ref().and_then(CheckReceipt::content).ok_or_else(|| bad("it shows no bytes"))?;
        if audit.refuted || checker == sender || shown == *content {
            return Err(bad("it is refuted already, one's own, or the same"));
        }
        let key = (round, checker, sender);
        if self.state.refutations.contains(&key) {
            return Err(bad("the sender has said what it found"));
        }
        self.state.refutations.insert(key, ByteBuf::from(content.to_vec()));
        if self.is_refuted(round, checker, content) {
            self.state.audits.insert((round, checker), Audit { refuted: true, ..audit });
            let part = self.state.meta.params.economy.checkers.refuted_burn_bp;
            let burnt = self.burn_stake(checker, part).unwrap_or(Amount::ZERO);
            self.state.ballots.remove(&(round, checker));
            self.emit(Event::Score(ScoreEvent::Refuted { checker, round, burnt }));
        }
        Ok(())
    }

    /// Whether more than half of the stake names this content.
    fn is_refuted(&self, round: u64, checker: Address, content: &[u8; 32]) -> bool {
        let (mut all, mut agreed) = (0u128, 0u128);
        for (voter, record) in self.state.checkers.iter() {
            let said = self.state.refutations.get(&(round, checker, *voter));
            all += u128::from(record.stake.0);
            agreed += if said.is_some_and(|said| said.as_slice() == content) { record.stake.0.into() } else { 0 };
        }
        2 * agreed > all
    }
}

/// Reading audits.
impl State {
    /// What a checker must account for in a round.
    pub fn audit(&self, round: u64, checker: Address) -> Option<&Audit> {
        self.audits.get(&(round, checker))
    }

    /// The audits of a round, of this checker and greater ones, ascending. Those of the round before the last that was
    /// voted on are forgotten.
    pub fn audits_from(&self, round: u64, first: Address) -> impl Iterator<Item = (Address, &Audit)> {
        let audits = self.audits.iter_from(&(round, first)).take_while(move |((of, _), _)| *of == round);
        audits.map(|((_, checker), audit)| (*checker, audit))
    }

    /// What others said that the exhibit of `checker` should say, by who said it; at most one for each checker.
    pub fn refutations_of(&self, round: u64, checker: Address) -> impl Iterator<Item = (Address, &[u8])> {
        let said = self.refutations.iter_from(&(round, checker, Address([0; 32])));
        let said = said.take_while(move |((of, accused, _), _)| (*of, *accused) == (round, checker));
        said.map(|((_, _, by), content)| (*by, content.as_slice()))
    }

    /// All audits that are not forgotten, with whose they are.
    pub fn audits(&self) -> impl Iterator<Item = (u64, Address, &Audit)> {
        self.audits.iter().map(|((round, checker), audit)| (*round, *checker, audit))
    }

    /// What a checker said that another one's exhibit should say.
    pub fn refutation(&self, round: u64, checker: Address, by: Address) -> Option<&[u8]> {
        self.refutations.get(&(round, checker, by)).map(|content| content.as_slice())
    }
}
