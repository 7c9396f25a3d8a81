//! One-way payment channels for retrieval.
//!
//! Source: `spec/market.md` 7.2. The payer deposits once. With each request it signs a *cumulative* amount: a voucher
//! replaces all earlier ones, so none can be paid twice and a lost one costs nothing. The payee checks a voucher against
//! what it knows of the channel, without the ledger, and redeems the last one when it likes.
//!
//! ```text
//! Open --payer asks to close--> Closing(until now + settle_delay) --delay over--> Closed: the rest returns
//!   \--payee closes----------------------------------------------------------> Closed: the rest returns
//! ```
//!
//! - The delay gives the payee time to redeem after a payer asks to close; redeeming works until the channel is closed.
//! - Losses are bounded by the payee's credit: it serves at most its window ahead of the best voucher
//!   ([`Channel::may_serve`]).
//!
//! The payer signs `tag || SHA-256(chain || canonical DAG-CBOR of the voucher)` with Ed25519 under ZIP-215 rules.
//!
//! # Invariants
//! - *Conservation*: deposits = redeemed + returned + still in the channel.
//! - *Monotone*: `redeemed` only grows, and never beyond what was deposited or signed.

use std::fmt;

use cairn_protocol::{Amount, Epoch, ProviderId};
use ed25519_consensus::SigningKey;
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::ids::{Address, ChainId};
use crate::transaction::SignatureBytes;

/// A channel's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u64);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel-{}", self.0)
    }
}

/// A promise to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// From which channel.
    pub channel: ChannelId,
    /// Everything promised so far.
    pub cumulative: Amount,
}

/// A voucher with its payer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVoucher {
    /// What is signed.
    pub voucher: Voucher,
    /// By the channel's payer.
    pub signature: SignatureBytes,
}

impl Claim for Voucher {
    const TAG: &'static [u8] = b"cairn/voucher/v1\0";
}

impl Voucher {
    /// Signs with the payer's key.
    pub fn sign(self, chain: ChainId, key: &SigningKey) -> SignedVoucher {
        SignedVoucher { voucher: self, signature: self.signature(chain, key) }
    }
}

impl SignedVoucher {
    /// Whether `payer` signed it for `chain`.
    pub fn is_signed_by(&self, chain: ChainId, payer: Address) -> bool {
        self.voucher.is_signed(chain, &self.signature, payer)
    }
}

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelStatus {
    /// Takes deposits and vouchers.
    Open,
    /// Takes vouchers until it closes.
    Closing {
        /// First epoch at which anyone may close it.
        until: Epoch,
    },
    /// Empty.
    Closed,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    id: ChannelId,
    payer: Address,
    payee: Address,
    deposited: Amount,
    redeemed: Amount,
    returned: Amount,
    settle_delay: u64,
    status: ChannelStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<ProviderId>,
}

/// A channel as its payee sees it: what a voucher is checked against, without the ledger's own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView {
    /// Its number.
    pub id: ChannelId,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Still in it.
    pub held: Amount,
    /// Paid out so far.
    pub redeemed: Amount,
    /// Where it stands.
    pub status: ChannelStatus,
}

impl ChannelView {
    /// Checks a voucher without redeeming it: what a payee does with each request, and the ledger before it pays.
    ///
    /// # Errors
    /// [`ChannelRejection`] if it promises nothing that could be redeemed.
    pub fn check(&self, chain: ChainId, signed: &SignedVoucher) -> Result<(), ChannelRejection> {
        let Voucher { channel, cumulative } = signed.voucher;
        let &Self { id, payer, held, redeemed, status, .. } = self;
        if status == ChannelStatus::Closed {
            let what = "a closed channel pays nothing".to_owned();
            return Err(ChannelRejection::WrongStatus { channel: id, status, what });
        }
        if channel != id {
            return Err(ChannelRejection::WrongChannel { expected: id, got: channel });
        }
        // Nothing returns before the end, so this is all that was deposited.
        let deposited = redeemed.checked_add(held).ok_or(ChannelRejection::Overflow)?;
        if cumulative <= redeemed {
            return Err(ChannelRejection::NothingNew { redeemed, got: cumulative });
        }
        if cumulative > deposited {
            return Err(ChannelRejection::NotCovered { deposited, got: cumulative });
        }
        if !signed.is_signed_by(chain, payer) {
            return Err(ChannelRejection::BadSignature { payer });
        }
        Ok(())
    }
}

/// Why a channel does not do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum ChannelRejection {
    /// Payer and payee are one.
    #[error("a channel needs two parties, {party} is both")]
    OneParty { party: Address },
    /// Not possible in this state.
    #[error("{channel} is {status:?}: {what}")]
    WrongStatus { channel: ChannelId, status: ChannelStatus, what: String },
    /// Somebody else's right.
    #[error("{who} may not {what}")]
    NotAllowed { who: Address, what: String },
    /// A voucher of another channel.
    #[error("the voucher is for {got}, this is {expected}")]
    WrongChannel { expected: ChannelId, got: ChannelId },
    /// Not signed by the payer.
    #[error("the voucher is not signed by {payer}")]
    BadSignature { payer: Address },
    /// Nothing new.
    #[error("the voucher promises {got}, {redeemed} is redeemed already")]
    NothingNew { redeemed: Amount, got: Amount },
    /// More than there is.
    #[error("the voucher promises {got}, {deposited} was deposited")]
    NotCovered { deposited: Amount, got: Amount },
    /// A sum that does not fit.
    #[error("deposits do not fit in 64 bits")]
    Overflow,
}

impl Channel {
    /// A channel with a first deposit, which the caller has taken from the payer.
    ///
    /// # Errors
    /// [`ChannelRejection`] if it is a channel to oneself.
    pub fn open(
        id: ChannelId,
        payer: Address,
        payee: Address,
        deposit: Amount,
        settle_delay: u64,
    ) -> Result<Self, ChannelRejection> {
        if payer == payee {
            return Err(ChannelRejection::OneParty { party: payer });
        }
        let (redeemed, returned, status) = (Amount::ZERO, Amount::ZERO, ChannelStatus::Open);
        Ok(Self { id, payer, payee, deposited: deposit, redeemed, returned, settle_delay, status, provider: None })
    }

    /// Who pays and who is paid.
    pub fn parties(&self) -> (Address, Address) {
        (self.payer, self.payee)
    }

    /// The provider whose service it pays for, if it is bound to one.
    pub fn provider(&self) -> Option<ProviderId> {
        self.provider
    }

    /// Binds it to the service of a provider of the payee's.
    ///
    /// # Errors
    /// [`ChannelRejection`] by anyone but the payee, or if it is bound or closed already.
    pub fn bind(&mut self, who: Address, provider: ProviderId) -> Result<(), ChannelRejection> {
        if who != self.payee {
            return Err(ChannelRejection::NotAllowed { who, what: "say what the channel pays for".to_owned() });
        }
        if self.provider.is_some() || self.status == ChannelStatus::Closed {
            return Err(self.refuse("it is bound or closed"));
        }
        self.provider = Some(provider);
        Ok(())
    }

    /// Where it stands.
    pub fn status(&self) -> ChannelStatus {
        self.status
    }

    /// Paid out so far.
    pub fn redeemed(&self) -> Amount {
        self.redeemed
    }

    /// Still in the channel.
    pub fn held(&self) -> Amount {
        let gone = self.redeemed.checked_add(self.returned).expect("parts of the deposit");
        self.deposited.checked_sub(gone).expect("parts of the deposit")
    }

    fn refuse(&self, what: &str) -> ChannelRejection {
        ChannelRejection::WrongStatus { channel: self.id, status: self.status, what: what.to_owned() }
    }

    /// Adds a deposit, which the caller has taken from whoever gives it.
    ///
    /// # Errors
    /// [`ChannelRejection`] unless the channel is open.
    pub fn top_up(&mut self, amount: Amount) -> Result<(), ChannelRejection> {
        if self.status != ChannelStatus::Open {
            return Err(self.refuse("only an open channel takes deposits"));
        }
        self.deposited = self.deposited.checked_add(amount).ok_or(ChannelRejection::Overflow)?;
        Ok(())
    }

    /// As its payee sees it.
    pub fn view(&self) -> ChannelView {
        let &Self { id, payer, payee, redeemed, status, .. } = self;
        ChannelView { id, payer, payee, held: self.held(), redeemed, status }
    }

    /// Checks a voucher without redeeming it.
    ///
    /// # Errors
    /// As [`ChannelView::check`].
    pub fn check(&self, chain: ChainId, signed: &SignedVoucher) -> Result<(), ChannelRejection> {
        self.view().check(chain, signed)
    }

    /// Redeems a voucher, by anyone; returns what the payee gets.
    ///
    /// # Errors
    /// As [`Channel::check`].
    pub fn redeem(&mut self, chain: ChainId, signed: &SignedVoucher) -> Result<Amount, ChannelRejection> {
        self.check(chain, signed)?;
        let cumulative = signed.voucher.cumulative;
        let paid = cumulative.checked_sub(self.redeemed).expect("checked to be more");
        self.redeemed = cumulative;
        Ok(paid)
    }

    /// Whether a payee should serve on: bytes served and asked for cost `cost` in all, the best voucher promises
    /// `promised`, and the payee trusts for `credit`.
    pub fn may_serve(&self, cost: Amount, promised: Amount, credit: Amount) -> bool {
        let backed = promised.min(self.deposited);
        self.status == ChannelStatus::Open && backed.checked_add(credit).is_none_or(|limit| cost <= limit)
    }

    /// Begins to close, by the payer.
    ///
    /// # Errors
    /// [`ChannelRejection`] by anyone else, or unless it is open.
    pub fn start_close(&mut self, who: Address, now: Epoch) -> Result<(), ChannelRejection> {
        if who != self.payer {
            return Err(ChannelRejection::NotAllowed { who, what: "start to close the channel".to_owned() });
        }
        if self.status != ChannelStatus::Open {
            return Err(self.refuse("it is closing already"));
        }
        let until = now.checked_add(self.settle_delay).ok_or(ChannelRejection::Overflow)?;
        self.status = ChannelStatus::Closing { until };
        Ok(())
    }

    /// Closes: by the payee at once, by anyone after the delay. Returns what goes back to the payer.
    ///
    /// # Errors
    /// [`ChannelRejection`] if it is too early.
    pub fn close(&mut self, who: Address, now: Epoch) -> Result<Amount, ChannelRejection> {
        let allowed = match self.status {
            ChannelStatus::Closed => return Err(self.refuse("it is closed already")),
            ChannelStatus::Open => who == self.payee,
            ChannelStatus::Closing { until } => who == self.payee || now >= until,
        };
        if !allowed {
            return Err(ChannelRejection::NotAllowed { who, what: "close the channel yet".to_owned() });
        }
        let rest = self.held();
        self.returned = self.returned.checked_add(rest).expect("part of the deposit");
        self.status = ChannelStatus::Closed;
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec;
    use crate::transaction::address_of;

    const CHAIN: ChainId = ChainId([1; 32]);
    const ID: ChannelId = ChannelId(7);
    const PAYEE: Address = Address([2; 32]);

    fn key() -> SigningKey {
        SigningKey::from([4; 32])
    }

    fn payer() -> Address {
        address_of(&key())
    }

    fn channel(deposit: u64) -> Channel {
        Channel::open(ID, payer(), PAYEE, Amount(deposit), 10).unwrap()
    }

    fn voucher(cumulative: u64) -> SignedVoucher {
        Voucher { channel: ID, cumulative: Amount(cumulative) }.sign(CHAIN, &key())
    }

    #[test]
    fn vouchers_are_cumulative() {
        let mut channel = channel(100);
        assert_eq!(channel.redeem(CHAIN, &voucher(30)), Ok(Amount(30)));
        assert_eq!(channel.redeem(CHAIN, &voucher(50)), Ok(Amount(20)));
        let old = ChannelRejection::NothingNew { redeemed: Amount(50), got: Amount(30) };
        assert_eq!(channel.redeem(CHAIN, &voucher(30)), Err(old));
        let beyond = ChannelRejection::NotCovered { deposited: Amount(100), got: Amount(101) };
        assert_eq!(channel.redeem(CHAIN, &voucher(101)), Err(beyond));
        assert_eq!(channel.top_up(Amount(1)), Ok(()));
        assert_eq!(channel.redeem(CHAIN, &voucher(101)), Ok(Amount(51)));
    }

    #[test]
    fn only_the_payers_voucher_for_this_channel_and_chain_counts() {
        let mut channel = channel(100);
        let bad = ChannelRejection::BadSignature { payer: payer() };
        let own = Voucher { channel: ID, cumulative: Amount(5) };
        assert_eq!(channel.redeem(ChainId([9; 32]), &voucher(5)), Err(bad.clone()));
        assert_eq!(channel.redeem(CHAIN, &own.sign(CHAIN, &SigningKey::from([5; 32]))), Err(bad.clone()));
        let mut raised = voucher(5);
        raised.voucher.cumulative = Amount(6);
        assert_eq!(channel.redeem(CHAIN, &raised), Err(bad));
        let other = Voucher { channel: ChannelId(8), ..own }.sign(CHAIN, &key());
        assert!(matches!(channel.redeem(CHAIN, &other), Err(ChannelRejection::WrongChannel { .. })));
        assert!(Channel::open(ID, PAYEE, PAYEE, Amount(1), 1).is_err());
    }

    #[test]
    fn the_payee_has_time_to_redeem() {
        let mut channel = channel(100);
        assert!(channel.start_close(PAYEE, Epoch(3)).is_err());
        assert_eq!(channel.start_close(payer(), Epoch(3)), Ok(()));
        assert!(channel.start_close(payer(), Epoch(3)).is_err() && channel.top_up(Amount(1)).is_err());
        assert!(channel.close(payer(), Epoch(12)).is_err());
        assert_eq!(channel.redeem(CHAIN, &voucher(60)), Ok(Amount(60)));
        assert_eq!(channel.close(Address([9; 32]), Epoch(13)), Ok(Amount(40)));
        assert!(channel.close(PAYEE, Epoch(14)).is_err() && channel.redeem(CHAIN, &voucher(70)).is_err());
    }

    #[test]
    fn credit_bounds_what_is_served_unpaid() {
        let mut channel = channel(100);
        assert!(channel.may_serve(Amount(64), Amount(0), Amount(64)));
        assert!(!channel.may_serve(Amount(65), Amount(0), Amount(64)));
        assert!(channel.may_serve(Amount(114), Amount(50), Amount(64)));
        assert!(!channel.may_serve(Amount(200), Amount(500), Amount(64)), "a promise is worth its deposit");
        channel.start_close(payer(), Epoch(1)).unwrap();
        assert!(!channel.may_serve(Amount(1), Amount(50), Amount(64)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0u8..5, 0u64..200), 1..30)) {
            let mut channel = channel(100);
            let (mut deposited, mut out, mut now) = (100u128, 0u128, 0u64);
            for (what, amount) in steps {
                match what {
                    0 => if channel.top_up(Amount(amount)).is_ok() { deposited += u128::from(amount) },
                    1 | 2 => if let Ok(paid) = channel.redeem(CHAIN, &voucher(amount)) { out += u128::from(paid.0) },
                    3 => drop(channel.start_close(payer(), Epoch(now))),
                    _ => {
                        now += amount / 10;
                        if let Ok(rest) = channel.close(payer(), Epoch(now)) { out += u128::from(rest.0) }
                    }
                }
                prop_assert_eq!(deposited, out + u128::from(channel.held().0));
            }
        }

        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = codec::decode_strict::<SignedVoucher>(&bytes, 150);
        }
    }
}
