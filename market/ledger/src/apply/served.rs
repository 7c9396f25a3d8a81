//! Providers that signed for wrong bytes: the rules of [`crate::served`], carried out.

use cairn_protocol::ProviderId;

use super::Step;
use crate::economy::ProviderScore;
use crate::emission::part_of;
use crate::event::Event;
use crate::provider::Provider;
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::scores::Fraction;
use crate::served::{PaidGroup, WrongBytes};
use crate::treasury::Pot;

impl Step<'_> {
    pub(super) fn report_wrong_bytes(&mut self, evidence: &WrongBytes) -> Result<(), Rejection> {
        let (now, reporter, statement) = (self.now(), self.sender, evidence.signed.statement);
        let (provider, piece, group) = (statement.provider, statement.piece.comm_p, statement.group);
        let taken = self.state.check_wrong_bytes(evidence, now)?.ok_or(Rejection::UnknownProvider { provider })?;
        let rules = self.state.meta.params.serving;
        let rewarded = part_of(taken, rules.reporter_bp);
        let burnt = taken.checked_sub(rewarded).expect("a part");
        let take = |p: &mut Provider| p.collateral = p.collateral.checked_sub(taken).expect("a part");
        self.state.providers.update(&provider, take).expect("found by the check");
        self.state.release(Pot::Collateral, reporter, rewarded);
        self.state.burn(Pot::Collateral, burnt);
        self.lose_reputation(provider);
        self.state.paid_groups.insert((provider, piece, group), PaidGroup { at: now, reporter, taken });
        let forgotten = self.later(now, rules.statement_epochs + 1);
        self.state.schedule(forgotten, Due::ForgetPaidGroup(provider, piece, group));
        self.emit(Event::WrongBytesServed { provider, reporter, piece, group, burnt, rewarded });
        Ok(())
    }

    /// What checkers thought of it before counts for nothing.
    fn lose_reputation(&mut self, provider: ProviderId) {
        let round = self.round();
        let found = self.state.scores.get(&provider).copied();
        let score = found.unwrap_or(ProviderScore { reputation: Fraction::ZERO, quality: Fraction::ZERO, round });
        self.state.scores.insert(provider, ProviderScore { reputation: Fraction::ZERO, ..score });
    }
}
