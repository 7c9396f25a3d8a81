//! Adversaries: what they offer must not succeed ([`Crime`]), or must at least be paid for.

use cairn_ledger::command::DECLARED_SECTORS_MAX;
use cairn_ledger::payments::{ChannelId, Voucher};
use cairn_ledger::{
    ChainId, Command, DealId, JobCommand, JobId, OrderId, ProofStatement, SealedBid, SectorJob, Transaction,
};
use cairn_protocol::{Amount, ProviderId, SectorNumber};

use super::Actor;
use crate::random::Random;
use crate::world::{AccountIndex, Crime, Offers, View, with_forged_signature};

macro_rules! adversary {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        pub struct $name {
            account: AccountIndex,
        }

        impl $name {
            pub(super) fn new(account: AccountIndex) -> Self {
                Self { account }
            }
        }

        impl Actor for $name {
            fn name(&self) -> &str {
                $text
            }

            fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
                self.strike(view, random, offers);
            }
        }
    };
}

adversary! {
    /// Sends transactions of others again.
    Replayer, "replayer"
}
adversary! {
    /// Signs in the name of others, for other networks, and flips bits.
    Forger, "forger"
}
adversary! {
    /// Spends the same money twice, and money that nobody has.
    DoubleSpender, "double-spender"
}
adversary! {
    /// Acts on what belongs to others.
    Thief, "thief"
}
adversary! {
    /// Redeems vouchers again, and vouchers that nobody signed.
    VoucherCheat, "voucher-cheat"
}
adversary! {
    /// Fills blocks to their limits with what fails.
    Spammer, "spammer"
}

impl Replayer {
    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if random.chance(200)
            && let Some(signed) = random.pick(view.past)
        {
            // Its own would be as good as anybody's.
            let known = signed.transaction.sender != view.keys[self.account].address;
            if known {
                offers.raw(signed.clone(), Crime::Replay);
            }
        }
    }
}

impl Forger {
    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if !random.chance(200) {
            return;
        }
        let victim = random.below(view.keys.len() as u64) as usize;
        let own = view.keys[self.account].address;
        let command = Command::Transfer { to: own, amount: Amount(1) };
        match random.below(3) {
            0 => {
                let signed = offers.signed(victim, offers.next_nonce(victim), command);
                offers.raw(with_forged_signature(signed, random.below(512)), Crime::ForgedSignature);
            }
            1 => {
                // Signed by the forger, said to be the victim's.
                let nonce = offers.next_nonce(victim);
                let mut signed = offers.signed(self.account, nonce, command);
                signed.transaction.sender = view.keys[victim].address;
                let crime = if victim == self.account { Crime::SpentTwice } else { Crime::ForgedSignature };
                if victim != self.account {
                    offers.raw(signed, crime);
                }
            }
            _ => {
                let chain = ChainId(random.bytes32());
                let nonce = offers.next_nonce(self.account);
                let signed = Transaction { chain, sender: own, nonce, command }.sign(&view.keys[self.account].key);
                offers.raw(signed, Crime::WrongChain);
            }
        }
    }
}

impl DoubleSpender {
    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if !random.chance(150) {
            return;
        }
        let balance = view.state.account(&view.keys[self.account].address).balance;
        let mut to = || view.keys[random.below(view.keys.len() as u64) as usize].address;
        let (first, second) = (to(), to());
        let most = Amount((balance.0 / 2 + 1).max(1));
        let nonce = offers.next_nonce(self.account);
        offers.command(self.account, Command::Transfer { to: first, amount: most });
        // The same nonce again, and the next one with what is spent already.
        let again = offers.signed(self.account, nonce, Command::Transfer { to: second, amount: most });
        offers.raw(again, Crime::SpentTwice);
        offers.command(self.account, Command::Transfer { to: second, amount: most });
        let everything = Amount(view.state.treasury().supply.0 + 1);
        offers.crime(self.account, Command::Transfer { to: first, amount: everything }, Crime::Overspent);
    }
}

impl Thief {
    /// Something that belongs to somebody else; the thief itself owns nothing.
    fn target(view: &View<'_>, random: &mut Random) -> Option<Command> {
        let providers: Vec<ProviderId> = view.board.owners.keys().copied().collect();
        let provider = *random.pick(&providers)?;
        let orders: Vec<OrderId> = view.board.open_orders.keys().copied().collect();
        let channels: Vec<ChannelId> = view.board.channels.keys().copied().collect();
        let sectors: Vec<SectorNumber> = view.board.live.get(&provider).into_iter().flatten().copied().collect();
        Some(match random.below(10) {
            0 => Command::WithdrawCollateral { provider, amount: Amount(1) },
            1 => Command::CancelOrder { order: *random.pick(&orders)? },
            2 => Command::CloseChannel { channel: *random.pick(&channels)? },
            3 => Command::StartCloseChannel { channel: *random.pick(&channels)? },
            4 => Command::DeclareFaults { provider, sectors: vec![*random.pick(&sectors)?] },
            5 => Command::PlaceBid { provider, order: *random.pick(&orders)?, price_per_epoch: Amount(0) },
            6 => {
                let order = *random.pick(&orders)?;
                let bid = SealedBid { order, provider, price_per_epoch: Amount(0) };
                let owner = *view.board.owners.get(&provider)?;
                let commitment = bid.commitment(view.state.chain(), owner, &cairn_ledger::Salt([0; 32]));
                Command::CommitBid { provider, order, commitment }
            }
            7 => {
                let (job, _) = view.state.live_jobs_from(JobId(0)).next()?;
                Command::Job(JobCommand::Cancel { job })
            }
            8 => {
                // In the name of a provider that would not pay for it.
                let (deadline, partition, _) = view.state.partitions_of(provider).next()?;
                let statement = view.state.window_post_statement(provider, deadline, partition)?;
                let terms = super::jobs::terms(ProofStatement::WindowPost(statement), 4, view, random);
                Command::Job(JobCommand::PostSectors(Box::new(SectorJob::of(provider, terms)?)))
            }
            _ => Command::Unbond { amount: Amount(1) },
        })
    }

    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if random.chance(200)
            && let Some(command) = Self::target(view, random)
        {
            // A channel whose delay is over may be closed by anyone.
            let crime = !matches!(command, Command::CloseChannel { .. });
            match crime {
                true => offers.crime(self.account, command, Crime::NotTheOwner),
                false => offers.command(self.account, command),
            }
        }
    }
}

impl VoucherCheat {
    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let channels: Vec<_> = view.board.channels.iter().map(|(channel, parties)| (*channel, parties.0)).collect();
        let Some(&(channel, payer)) = random.pick(&channels) else { return };
        if !random.chance(200) {
            return;
        }
        let record = view.state.channel(channel).expect("the board lists open channels");
        let chain = view.state.chain();
        let (key, cumulative, crime) = if random.chance(500) {
            let pair = view.keys.iter().find(|pair| pair.address == payer).expect("everybody has a key");
            (&pair.key, record.redeemed(), Crime::VoucherReplayed)
        } else {
            let more = record.redeemed().0 + random.between(1, 1_000);
            (&view.keys[self.account].key, Amount(more), Crime::VoucherForged)
        };
        let voucher = Voucher { channel, cumulative }.sign(chain, key);
        offers.crime(self.account, Command::RedeemVoucher(voucher), crime);
    }
}

impl Spammer {
    fn strike(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if !random.chance(4) {
            return;
        }
        let limit = view.params().block_transactions_max as u64;
        let many = random.between(1, limit.saturating_sub(offers.list.len() as u64).max(1));
        let long = random.chance(200);
        for n in 0..if long { 2 } else { many } {
            let command = if long {
                let sectors = (0..DECLARED_SECTORS_MAX as u64).map(SectorNumber).collect();
                Command::DeclareFaults { provider: ProviderId(1_000), sectors }
            } else {
                Command::Settle { deal: DealId(u64::MAX - n) }
            };
            offers.command(self.account, command);
        }
    }
}
