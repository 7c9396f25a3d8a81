//! What is slashed: contradictions that anybody can check, once, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::emission::part_of;
use cairn_ledger::scores::receipts::contradiction;
use cairn_ledger::served::GroupKey;
use cairn_ledger::{Address, CheckCommand, Command, Event, Outcome, ScoreEvent, State};
use cairn_protocol::{Amount, Epoch};

use super::Checker;
use crate::observation::Observation;
use crate::world::offence_of;

/// See [`super::PROMISES`].
pub struct OffencesSlashOnce {
    slashed: BTreeSet<(Address, Epoch)>,
}

impl OffencesSlashOnce {
    pub(super) fn new(_: &State) -> Self {
        Self { slashed: BTreeSet::new() }
    }
}

/// `permille` of each part, rounded up.
pub(super) fn lost(parts: impl Iterator<Item = Amount>, permille: u32) -> u128 {
    parts.map(|part| (u128::from(part.0) * u128::from(permille)).div_ceil(1_000)).sum()
}

impl Checker for OffencesSlashOnce {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in &seen.outcome.events {
            let Event::Slashed { validator, height, burnt } = *event else { continue };
            if !self.slashed.insert((validator, height)) {
                return Err(format!("{validator} is slashed twice for height {height}"));
            }
            if offence_of(&seen.before, &seen.context) != Some((validator, height)) {
                return Err(format!("{validator} is slashed for height {height} and did nothing there"));
            }
            let params = seen.after.params().stake;
            if height.0 + params.unbonding_epochs < seen.now().0 {
                return Err(format!("{validator} is slashed for height {height}, too long ago"));
            }
            let record = seen.before.validator(&validator).ok_or("slashed without a stake")?;
            let parts = record.leaving.iter().map(|(_, part)| *part).chain([record.stake]);
            let share = lost(parts, params.slash_permille);
            if share != u128::from(burnt.0) {
                return Err(format!("{validator} loses {burnt}, its share is {share}"));
            }
            let bonded = seen.receipts().filter(|(offer, receipt)| {
                offer.signed.transaction.sender == validator && receipt.outcome == Outcome::Applied
            });
            let bonded = bonded.filter(|(offer, _)| matches!(offer.signed.transaction.command, Command::Bond { .. }));
            let votes = seen.after.validator(&validator).map_or(0, |validator| validator.power());
            if bonded.count() == 0 && votes > 0 {
                return Err(format!("{validator} contradicted itself and still has {votes} votes"));
            }
        }
        Ok(())
    }
}

/// See [`super::PROMISES`].
pub struct LiarsLoseStake;

impl LiarsLoseStake {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for LiarsLoseStake {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for (offer, receipt) in seen.receipts() {
            for event in &receipt.events {
                let Event::Score(ScoreEvent::Contradicted { checker, burnt, rewarded, .. }) = event else { continue };
                let Command::Check(CheckCommand::ReportContradiction { first, second }) =
                    &offer.signed.transaction.command
                else {
                    return Err(format!("{checker} loses its stake and nobody brought anything"));
                };
                let accused = first.receipt.task.checker == *checker;
                if !accused || !contradiction(seen.after.chain(), first, second) {
                    return Err(format!("{checker} loses its stake for what it did not sign"));
                }
                let taken: u128 = [*burnt, *rewarded].into_iter().sum();
                let reward = part_of(
                    Amount(u64::try_from(taken).unwrap_or(u64::MAX)),
                    seen.after.params().economy.checkers.reporter_bp,
                );
                if reward != *rewarded {
                    return Err(format!("{rewarded} of {taken} go to the accuser of {checker}, {reward} should"));
                }
            }
        }
        Ok(())
    }
}

/// See [`super::PROMISES`].
pub struct WrongBytesCost {
    paid: BTreeMap<GroupKey, Epoch>,
}

impl WrongBytesCost {
    pub(super) fn new(_: &State) -> Self {
        Self { paid: BTreeMap::new() }
    }
}

impl Checker for WrongBytesCost {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let (rules, now) = (seen.after.params().serving, seen.now());
        self.paid.retain(|_, at| at.0 + rules.statement_epochs >= now.0);
        for (offer, receipt) in seen.receipts() {
            for event in &receipt.events {
                let Event::WrongBytesServed { provider, piece, group, burnt, rewarded, .. } = *event else { continue };
                let Command::ReportWrongBytes(evidence) = &offer.signed.transaction.command else {
                    return Err(format!("{provider} pays for wrong bytes and nobody brought anything"));
                };
                let said = evidence.signed.statement;
                if (said.provider, said.piece.comm_p, said.group) != (provider, piece, group) {
                    return Err(format!("{provider} pays for a group that the evidence is not about"));
                }
                let owner = seen.after.provider(provider).ok_or("a provider that does not exist pays")?.owner;
                if !evidence.signed.is_signed_by(seen.after.chain(), owner) || evidence.check_bytes().is_err() {
                    return Err(format!("{provider} pays for what it did not sign, or what is right"));
                }
                if self.paid.insert((provider, piece, group), now).is_some() {
                    return Err(format!("{provider} pays for group {group} of {piece} again"));
                }
                let taken: u128 = [burnt, rewarded].into_iter().sum();
                let reward = part_of(Amount(u64::try_from(taken).unwrap_or(u64::MAX)), rules.reporter_bp);
                if reward != rewarded {
                    return Err(format!("{rewarded} of {taken} go to who accused {provider}, {reward} should"));
                }
            }
        }
        Ok(())
    }
}
