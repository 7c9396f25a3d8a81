//! Receipts behind opinions.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::scores::ballot::Opinions;
use cairn_ledger::scores::quality::quality;
use cairn_ledger::scores::receipts::OpenedReceipt;
use cairn_ledger::{Address, CheckCommand, Command, Event, ScoreEvent, State};
use cairn_protocol::ProviderId;

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct AuditsAreAnswered {
    said: BTreeMap<(u64, Address), Opinions>,
    /// Who must account for which provider.
    audited: BTreeMap<(u64, Address), ProviderId>,
    refuters: BTreeMap<(u64, Address), BTreeMap<[u8; 32], BTreeSet<Address>>>,
}

impl AuditsAreAnswered {
    pub(super) fn new(_: &State) -> Self {
        Self { said: BTreeMap::new(), audited: BTreeMap::new(), refuters: BTreeMap::new() }
    }

    fn due(&mut self, event: &Event, seen: &Observation) -> Result<(), String> {
        match *event {
            Event::Score(ScoreEvent::Audited { checker, round, provider }) => {
                self.audited.insert((round, checker), provider);
            }
            Event::Score(ScoreEvent::NotOpened { checker, round, .. }) => {
                if self.audited.remove(&(round, checker)).is_none() {
                    return Err(format!("{checker} pays for receipts of round {round} and was not asked for any"));
                }
                if seen.after.ballot(round, checker).is_some() {
                    return Err(format!("{checker} accounts for nothing and is heard in round {round}"));
                }
            }
            Event::Score(ScoreEvent::RoundScored { round, .. }) => {
                let silent = self.audited.keys().find(|(of, checker)| {
                    *of <= round && seen.before.checker(checker).is_some_and(|record| record.since_round < *of)
                });
                if let Some((of, checker)) = silent {
                    return Err(format!("{checker} opened nothing of round {of}, and nothing came of it"));
                }
                self.audited.retain(|(of, _), _| *of > round);
                self.said.retain(|(of, _), _| *of >= round);
                self.refuters.retain(|(of, _), _| *of >= round);
            }
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, key: (u64, Address), receipts: &[OpenedReceipt], seen: &Observation) -> Result<(), String> {
        let (round, checker) = key;
        let Some((provider, said)) = self.audited.remove(&key).zip(self.said.get(&key)) else {
            return Err(format!("{checker} opens what nobody asked for"));
        };
        let fits = |opened: &OpenedReceipt| {
            let task = &opened.signed.receipt.task;
            (task.round, task.checker, task.provider) == (round, checker, provider)
                && opened.is_under(&said.receipts_root, said.receipts)
                && opened.signed.verify(seen.after.chain()).is_ok()
        };
        if !receipts.iter().all(fits) {
            return Err(format!("{checker} opens something else than its receipts about {provider}"));
        }
        let checks: Vec<_> = receipts.iter().map(|opened| opened.signed.receipt.served()).collect();
        let level = quality(&checks, &seen.after.params().economy.quality).map(|quality| quality.to_u16());
        let told = said.levels.iter().find(|(judged, _)| *judged == provider).map(|(_, level)| *level);
        if level == told {
            Ok(())
        } else {
            Err(format!("{checker} said {told:?} of {provider}, its receipts {level:?}"))
        }
    }

    fn refuted(&self, key: (u64, Address), seen: &Observation) -> Result<(), String> {
        let stake = |who: &Address| seen.before.checker(who).map_or(0, |record| u128::from(record.stake.0));
        let all: u128 = seen.before.checkers().map(|(who, _)| stake(&who)).sum();
        let groups = self.refuters.get(&key).into_iter().flatten();
        let most = groups.map(|(_, who)| who.iter().map(stake).sum::<u128>()).max().unwrap_or(0);
        // Stakes may have changed in this block.
        let moved = seen.receipts().any(|(offer, _)| {
            matches!(
                offer.signed.transaction.command,
                Command::Check(
                    CheckCommand::Stake { .. }
                        | CheckCommand::Unstake { .. }
                        | CheckCommand::ReportContradiction { .. }
                )
            )
        });
        let burnt = |event: &Event| match event {
            Event::Score(ScoreEvent::Refuted { checker, .. }) => *checker != key.1,
            Event::Score(ScoreEvent::NotOpened { .. } | ScoreEvent::NotRevealed { .. }) => true,
            _ => false,
        };
        let moved = moved
            || seen.due_events().iter().any(burnt)
            || seen.receipts().any(|(_, receipt)| receipt.events.iter().any(burnt));
        match moved || 2 * most > all {
            true => Ok(()),
            false => Err(format!("{} is refuted by {most} of {all}", key.1)),
        }
    }
}

impl Checker for AuditsAreAnswered {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.due_events().iter().try_for_each(|event| self.due(event, seen))?;
        for (offer, receipt) in seen.receipts() {
            let (sender, Command::Check(command)) =
                (offer.signed.transaction.sender, &offer.signed.transaction.command)
            else {
                continue;
            };
            let applied = receipt.outcome == cairn_ledger::Outcome::Applied;
            match command {
                CheckCommand::Reveal { opinions, .. } if applied => {
                    self.said.insert((opinions.round, sender), opinions.clone());
                }
                CheckCommand::Refute { round, checker, content } if applied => {
                    let said = self.refuters.entry((*round, *checker)).or_default();
                    said.entry(*content).or_default().insert(sender);
                }
                _ => {}
            }
            for event in &receipt.events {
                match (event, command) {
                    (Event::Score(ScoreEvent::Opened { checker, round }), CheckCommand::Open { receipts }) => {
                        self.opened((*round, *checker), receipts, seen)?;
                    }
                    (Event::Score(ScoreEvent::Refuted { checker, round, .. }), _) => {
                        self.refuted((*round, *checker), seen)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
