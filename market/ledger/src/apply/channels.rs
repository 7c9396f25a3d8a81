//! Payment channels on the ledger: the rules are in [`crate::payments::channels`]; here the money moves.
//!
//! The pot holds what the channels hold. A channel that its payer wants to close has a queue entry for the end of the
//! delay, so the rest returns without anybody's doing.

use cairn_protocol::{Amount, ProviderId};

use super::Step;
use crate::close::{CloseReason, Closure};
use crate::emission::part_of;
use crate::event::Event;
use crate::ids::Address;
use crate::payments::channels::ChannelStatus;
use crate::payments::{Channel, ChannelId, SignedVoucher};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::treasury::Pot;

impl Step<'_> {
    fn known_channel(&self, channel: ChannelId) -> Result<Channel, Rejection> {
        self.state.channel(channel).cloned().ok_or(Rejection::UnknownChannel { channel })
    }

    pub(super) fn open_channel(&mut self, payee: Address, deposit: Amount) -> Result<(), Rejection> {
        let least = self.state.meta.params.channel_deposit_min;
        if deposit < least {
            return Err(Rejection::DepositTooSmall { least, got: deposit });
        }
        let channel = ChannelId(self.state.meta.next_channel);
        let (payer, delay) = (self.sender, self.state.meta.params.channel_settle_delay);
        let record = Channel::open(channel, payer, payee, deposit, delay)?;
        self.state.lock(payer, Pot::Channels, deposit)?;
        self.state.meta.next_channel += 1;
        self.state.channels.insert(channel, record);
        self.emit(Event::ChannelOpened { channel, payer, payee, deposit });
        Ok(())
    }

    pub(super) fn top_up_channel(&mut self, channel: ChannelId, amount: Amount) -> Result<(), Rejection> {
        if amount.is_zero() {
            return Err(Rejection::ZeroAmount { what: "amount".to_owned() });
        }
        let mut record = self.known_channel(channel)?;
        record.top_up(amount)?;
        self.state.lock(self.sender, Pot::Channels, amount)?;
        self.state.channels.insert(channel, record);
        self.emit(Event::ChannelToppedUp { channel, amount });
        Ok(())
    }

    pub(super) fn redeem_voucher(&mut self, signed: &SignedVoucher) -> Result<(), Rejection> {
        let channel = signed.voucher.channel;
        let mut record = self.known_channel(channel)?;
        let paid = record.redeem(self.state.meta.chain, signed)?;
        let ((_, payee), provider) = (record.parties(), record.provider());
        self.state.channels.insert(channel, record);
        let burnt = match provider {
            Some(_) => part_of(paid, self.state.meta.params.economy.emission.settlement_burn_bp),
            None => Amount::ZERO,
        };
        self.state.burn(Pot::Channels, burnt);
        self.state.release(Pot::Channels, payee, paid.checked_sub(burnt).expect("a part"));
        if let Some(provider) = provider {
            self.count_paid_volume(provider, paid);
        }
        self.emit(Event::VoucherRedeemed { channel, paid, cumulative: signed.voucher.cumulative });
        Ok(())
    }

    /// A payment that counts must burn what every settled payment burns, so that paying oneself gains nothing.
    pub(super) fn bind_channel(&mut self, channel: ChannelId, provider: ProviderId) -> Result<(), Rejection> {
        self.owned_provider(provider)?;
        let mut record = self.known_channel(channel)?;
        record.bind(self.sender, provider)?;
        self.state.channels.insert(channel, record);
        self.emit(Event::ChannelBound { channel, provider });
        Ok(())
    }

    pub(super) fn start_close_channel(&mut self, channel: ChannelId) -> Result<(), Rejection> {
        let mut record = self.known_channel(channel)?;
        record.start_close(self.sender, self.now())?;
        if let ChannelStatus::Closing { until } = record.status() {
            self.state.schedule(until, Due::ChannelClose(channel));
            self.emit(Event::ChannelClosing { channel, until });
        }
        self.state.channels.insert(channel, record);
        Ok(())
    }

    pub(super) fn close_channel(&mut self, channel: ChannelId) -> Result<(), Rejection> {
        let record = self.known_channel(channel)?;
        let (_, payee) = record.parties();
        let reason = if self.sender == payee { CloseReason::ClosedByPayee } else { CloseReason::ClosedByPayer };
        self.finish_channel(channel, record, self.sender, reason)
    }

    /// Closes a channel whose delay is over, unless somebody did; returns the weight of the work.
    pub(super) fn end_channel(&mut self, channel: ChannelId) -> u64 {
        if let Some(record) = self.state.channel(channel).cloned()
            && record.status() != ChannelStatus::Closed
        {
            let (payer, _) = record.parties();
            let closed = self.finish_channel(channel, record, payer, CloseReason::ClosedByPayer);
            closed.expect("the queue entry stands at the end of the delay");
        }
        1
    }

    fn finish_channel(
        &mut self,
        channel: ChannelId,
        mut record: Channel,
        who: Address,
        reason: CloseReason,
    ) -> Result<(), Rejection> {
        let returned = record.close(who, self.now())?;
        let (payer, _) = record.parties();
        self.state.release(Pot::Channels, payer, returned);
        self.state.channels.insert(channel, record);
        self.state.schedule(self.retained_until(), Due::ForgetChannel(channel));
        self.emit(Event::ChannelClosed { channel, returned, closure: Closure::new(reason, self.now()) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Epoch;

    use super::*;
    use crate::payments::{ChannelRejection, Voucher};
    use crate::testing::{FUNDS, Network};
    use crate::{Command, LedgerParams};

    const PAYER: u8 = 1;
    const PAYEE: u8 = 2;

    fn network() -> (Network, ChannelId) {
        let params = LedgerParams { channel_settle_delay: 5, record_retention: 20, ..LedgerParams::devnet() };
        let mut network = Network::new(params, 3);
        let payee = Network::address(PAYEE);
        let events = network.command(PAYER, Command::OpenChannel { payee, deposit: Amount(1_000_000) });
        let [Event::ChannelOpened { channel, .. }] = events[..] else { panic!("expected a channel: {events:?}") };
        (network, channel)
    }

    fn voucher(network: &Network, account: u8, channel: ChannelId, cumulative: u64) -> Command {
        let voucher = Voucher { channel, cumulative: Amount(cumulative) };
        Command::RedeemVoucher(voucher.sign(network.state.chain(), &Network::key(account)))
    }

    fn balance(network: &Network, account: u8) -> u64 {
        network.state.account(&Network::address(account)).balance.0
    }

    #[test]
    fn vouchers_pay_and_the_rest_returns_by_itself() {
        let (mut network, channel) = network();
        let fee = network.state.params().transaction_fee.0;
        // Anyone who has it may redeem it; the payee is paid.
        let first = voucher(&network, PAYER, channel, 300);
        network.command(3, first.clone());
        assert_eq!(balance(&network, PAYEE), FUNDS.0 + 300);
        assert!(matches!(
            network.rejection(3, first),
            Rejection::Channel(ChannelRejection::NothingNew { redeemed: Amount(300), .. })
        ));
        let forged = voucher(&network, PAYEE, channel, 900);
        let refused = network.rejection(PAYEE, forged);
        assert!(matches!(refused, Rejection::Channel(ChannelRejection::BadSignature { .. })));
        network.command(PAYER, Command::TopUpChannel { channel, amount: Amount(50) });
        network.command(PAYER, Command::StartCloseChannel { channel });
        let last = voucher(&network, PAYER, channel, 1_000_050);
        network.command(3, last);
        assert_eq!(
            (network.state.treasury().channels, balance(&network, PAYEE)),
            (Amount(0), FUNDS.0 + 1_000_050 - fee)
        );
        network.advance_to(Epoch(network.state.epoch().0 + 5));
        assert!(matches!(network.events.last(),
            Some(Event::ChannelClosed { returned: Amount(0), closure, .. }) if closure.code == 502));
        network.advance_to(Epoch(network.state.epoch().0 + 30));
        assert!(network.state.channel(channel).is_none());
        assert_eq!(balance(&network, PAYER), FUNDS.0 - 1_000_050 - 3 * fee);
    }

    #[test]
    fn what_a_bound_channel_pays_burns_and_counts_as_volume() {
        let mut params = LedgerParams::devnet();
        params.economy.emission.settlement_burn_bp = 200;
        params.economy.emission.service_match_bp = 200;
        let mut network = Network::new(params, 4);
        let (payee, stranger) = (Network::address(PAYEE), 3);
        let (provider, others) = (network.register(PAYEE), network.register(stranger));
        network.command(PAYER, Command::OpenChannel { payee, deposit: Amount(1_000_000) });
        let channel = ChannelId(1);
        let volume = |network: &Network| {
            let round = network.state.round_at(network.state.epoch());
            network.state.provider_rewards(provider).volume_of(round)
        };
        let first = voucher(&network, PAYER, channel, 100_000);
        let (before, burnt) = (balance(&network, PAYEE), network.state.treasury().burnt.0);
        let fee = network.state.params().transaction_fee.0;
        network.command(PAYER, first);
        assert_eq!(
            (balance(&network, PAYEE) - before, volume(&network)),
            (100_000, Amount::ZERO),
            "not bound: not counted"
        );
        assert_eq!(network.state.treasury().burnt.0 - burnt, fee);
        let bind = |provider| Command::BindChannel { channel, provider };
        assert!(matches!(network.rejection(stranger, bind(others)), Rejection::Channel(_)), "not the payee");
        assert!(matches!(network.rejection(PAYEE, bind(others)), Rejection::NotOwner { .. }));
        network.command(PAYEE, bind(provider));
        assert!(matches!(network.rejection(PAYEE, bind(provider)), Rejection::Channel(_)), "once");
        let second = voucher(&network, PAYER, channel, 300_000);
        let (before, burnt) = (balance(&network, PAYEE), network.state.treasury().burnt.0);
        network.command(PAYER, second);
        assert_eq!((balance(&network, PAYEE) - before, volume(&network)), (196_000, Amount(200_000)));
        assert_eq!(network.state.treasury().burnt.0 - burnt, 4_000 + fee);
    }

    #[test]
    fn a_payee_closes_at_once_and_a_stranger_never() {
        let (mut network, channel) = network();
        let close = Command::CloseChannel { channel };
        assert!(matches!(network.rejection(3, close.clone()), Rejection::Channel(_)));
        assert!(matches!(network.rejection(PAYER, close.clone()), Rejection::Channel(_)));
        assert!(matches!(network.rejection(PAYEE, Command::StartCloseChannel { channel }), Rejection::Channel(_)));
        network.command(PAYER, Command::StartCloseChannel { channel });
        let events = network.command(PAYEE, close.clone());
        assert!(matches!(&events[..],
            [Event::ChannelClosed { returned: Amount(1_000_000), closure, .. }] if closure.code == 501));
        assert!(matches!(network.rejection(PAYEE, close), Rejection::Channel(_)));
        // The entry for the end of the delay finds it closed.
        network.advance_to(Epoch(network.state.epoch().0 + 10));
        assert_eq!(network.state.treasury().channels, Amount::ZERO);
    }

    #[test]
    fn channels_are_refused_by_rule() {
        let (mut network, channel) = network();
        let payee = Network::address(PAYEE);
        let mut refuse = |command| network.rejection(PAYER, command);
        assert!(matches!(
            refuse(Command::OpenChannel { payee, deposit: Amount(1) }),
            Rejection::DepositTooSmall { .. }
        ));
        let own = Network::address(PAYER);
        let refused = refuse(Command::OpenChannel { payee: own, deposit: Amount(1_000_000) });
        assert!(matches!(refused, Rejection::Channel(ChannelRejection::OneParty { .. })));
        let refused = refuse(Command::OpenChannel { payee, deposit: Amount(u64::MAX) });
        assert!(matches!(refused, Rejection::InsufficientFunds { .. }));
        assert!(matches!(refuse(Command::TopUpChannel { channel, amount: Amount(0) }), Rejection::ZeroAmount { .. }));
        let unknown = ChannelId(99);
        assert!(matches!(refuse(Command::CloseChannel { channel: unknown }), Rejection::UnknownChannel { .. }));
    }
}
