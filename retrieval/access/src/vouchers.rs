//! Payment channels as a gateway sees them: which vouchers it holds, and how many bytes they buy.
//!
//! The channel is the ledger's ([`cairn_ledger::payments`]); a voucher promises an amount in all, and a later one replaces
//! it. A channel's bytes are limited to what its best voucher pays for, and [`ChannelTerms::window_bytes`] beyond: so much
//! the provider loses to a payer that stops paying, and so much a payer loses to a provider that stops serving.
//!
//! A voucher is on disk before it is acknowledged: it is money.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use cairn_content::durable::{self, PathError};
use cairn_ledger::payments::{ChannelId, ChannelRejection, ChannelStatus, ChannelView, SignedVoucher};
use cairn_ledger::{Address, ChainId};
use cairn_protocol::Amount;

/// Bytes that a price is for.
pub const PRICED_BYTES: u64 = 1 << 20;

/// Longest file of a voucher.
const VOUCHER_BYTES_MAX: usize = 512;

/// What a gateway asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTerms {
    /// For each MiB; more than nothing.
    pub price_per_mib: Amount,
    /// Served ahead of payment.
    pub window_bytes: u64,
}

impl ChannelTerms {
    /// Bytes that an amount buys.
    pub fn bytes_of(&self, amount: Amount) -> u64 {
        let bytes = u128::from(amount.0) * u128::from(PRICED_BYTES) / u128::from(self.price_per_mib.0.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What bytes cost, rounded up.
    pub fn price_of(&self, bytes: u64) -> Amount {
        let price = (u128::from(bytes) * u128::from(self.price_per_mib.0)).div_ceil(u128::from(PRICED_BYTES));
        Amount(u64::try_from(price).unwrap_or(u64::MAX))
    }
}

/// The ledger's view of a channel; a node's or an RPC server's answer. Asked at every request that a channel pays for: what has
/// to ask far away remembers its answers for a while.
pub trait ChannelSource: Send + Sync {
    /// The channel, if there is one.
    ///
    /// # Errors
    /// In words: the ledger cannot be asked.
    fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>, String>;
}

/// Why a voucher is not taken, or a channel buys nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// No such channel.
    #[error("{channel} does not exist")]
    Unknown {
        /// Which.
        channel: ChannelId,
    },
    /// It pays somebody else.
    #[error("{channel} pays {got}, this gateway is paid by channels to {expected}")]
    OtherPayee {
        /// Which.
        channel: ChannelId,
        /// Us.
        expected: Address,
        /// Them.
        got: Address,
    },
    /// The ledger's rules.
    #[error(transparent)]
    Channel(#[from] ChannelRejection),
    /// Less than is promised already.
    #[error("the voucher promises {got}, {best} is promised already")]
    Lower {
        /// By the best voucher.
        best: Amount,
        /// By this one.
        got: Amount,
    },
    /// The ledger cannot be asked.
    #[error("the ledger cannot be asked: {reason}")]
    Ledger {
        /// Why.
        reason: String,
    },
    /// The folder cannot be used.
    #[error("the voucher's file {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<PathError> for VoucherError {
    fn from(PathError { path, error }: PathError) -> Self {
        Self::Io { path, source: error }
    }
}

/// The best voucher of every channel.
pub struct VoucherBook {
    dir: PathBuf,
    chain: ChainId,
    payee: Address,
    terms: ChannelTerms,
    source: Box<dyn ChannelSource>,
    best: Mutex<HashMap<ChannelId, SignedVoucher>>,
}

impl VoucherBook {
    /// Opens the folder; made if missing. One process at a time.
    ///
    /// # Errors
    /// The file system's, also for a file that is no voucher: it may be money, so nobody passes over it.
    pub fn open(
        dir: &Path,
        chain: ChainId,
        payee: Address,
        terms: ChannelTerms,
        source: Box<dyn ChannelSource>,
    ) -> Result<Self, VoucherError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| VoucherError::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(at(dir))?;
        let mut best = HashMap::new();
        for entry in fs::read_dir(dir).map_err(at(dir))? {
            let path = entry.map_err(at(dir))?.path();
            if path.extension().is_some_and(|extension| extension == "voucher") {
                let bytes = fs::read(&path).map_err(at(&path))?;
                let signed = decode(&bytes).map_err(at(&path))?;
                best.insert(signed.voucher.channel, signed);
            }
        }
        Ok(Self { dir: dir.to_owned(), chain, payee, terms, source, best: Mutex::new(best) })
    }

    /// What is asked for.
    pub fn terms(&self) -> ChannelTerms {
        self.terms
    }

    /// Which ledger the channels are on.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// Who is paid.
    pub fn payee(&self) -> Address {
        self.payee
    }

    /// Checks a voucher under the ledger's rules and keeps it; returns who pays, and what is promised in all. The same
    /// voucher again changes nothing.
    ///
    /// # Errors
    /// [`VoucherError`]; a voucher that could not be kept was not taken.
    pub fn take(&self, signed: &SignedVoucher) -> Result<(Address, Amount), VoucherError> {
        let (id, promised) = (signed.voucher.channel, signed.voucher.cumulative);
        let channel = self.channel(id)?;
        if self.lock().get(&id) == Some(signed) {
            // Its answer may have been lost, and the voucher be redeemed since.
            return Ok((channel.payer, promised));
        }
        channel.check(self.chain, signed)?;
        let mut best = self.lock();
        let held = best.get(&id).map_or(Amount::ZERO, |held| held.voucher.cumulative);
        if promised < held {
            return Err(VoucherError::Lower { best: held, got: promised });
        }
        if promised > held {
            let bytes = serde_ipld_dagcbor::to_vec(signed).expect("a voucher has an encoding");
            durable::write(&self.dir.join(format!("{id}.voucher")), &bytes)?;
            best.insert(id, signed.clone());
        }
        Ok((channel.payer, promised))
    }

    /// Bytes that a channel may use in all: paid for, and the window while the channel is open.
    ///
    /// # Errors
    /// [`VoucherError`]: the channel is not ours, or the ledger cannot be asked.
    pub fn bytes_max(&self, id: ChannelId) -> Result<u64, VoucherError> {
        let channel = self.channel(id)?;
        let promised = self.lock().get(&id).map_or(Amount::ZERO, |held| held.voucher.cumulative);
        let window = if channel.status == ChannelStatus::Open { self.terms.window_bytes } else { 0 };
        Ok(self.terms.bytes_of(promised).saturating_add(window))
    }

    /// Every best voucher, to redeem.
    pub fn vouchers(&self) -> Vec<SignedVoucher> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|signed| signed.voucher.channel);
        all
    }

    fn channel(&self, id: ChannelId) -> Result<ChannelView, VoucherError> {
        let channel = self.source.channel(id).map_err(|reason| VoucherError::Ledger { reason })?;
        let channel = channel.ok_or(VoucherError::Unknown { channel: id })?;
        if channel.payee != self.payee {
            return Err(VoucherError::OtherPayee { channel: id, expected: self.payee, got: channel.payee });
        }
        Ok(channel)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, SignedVoucher>> {
        // The map changes in one step, after the file.
        self.best.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn decode(bytes: &[u8]) -> io::Result<SignedVoucher> {
    let damaged = |detail: String| io::Error::new(io::ErrorKind::InvalidData, detail);
    if bytes.len() > VOUCHER_BYTES_MAX {
        return Err(damaged(format!("expected a voucher, got {} bytes", bytes.len())));
    }
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| damaged(format!("expected a voucher: {error}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use cairn_ledger::payments::{Channel, Voucher};
    use cairn_protocol::Epoch;
    use ed25519_consensus::{SigningKey, VerificationKey};
    use proptest::prelude::*;

    use super::*;

    pub(crate) const CHAIN: ChainId = ChainId([3; 32]);
    pub(crate) const ID: ChannelId = ChannelId(7);
    pub(crate) const TERMS: ChannelTerms = ChannelTerms { price_per_mib: Amount(10), window_bytes: 1_000 };

    pub(crate) fn key(number: u8) -> SigningKey {
        SigningKey::from([number; 32])
    }

    pub(crate) fn address(number: u8) -> Address {
        Address(VerificationKey::from(&key(number)).to_bytes())
    }

    /// One channel, as the ledger has it now.
    #[derive(Clone)]
    pub(crate) struct OneChannel(pub(crate) Arc<Mutex<Channel>>);

    impl OneChannel {
        /// From 1 to 2, with 1,000.
        pub(crate) fn new() -> Self {
            let channel = Channel::open(ID, address(1), address(2), Amount(1_000), 10).unwrap();
            Self(Arc::new(Mutex::new(channel)))
        }
    }

    impl ChannelSource for OneChannel {
        fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>, String> {
            Ok((id == ID).then(|| self.0.lock().unwrap().view()))
        }
    }

    pub(crate) fn open(dir: &Path, source: &OneChannel) -> VoucherBook {
        VoucherBook::open(dir, CHAIN, address(2), TERMS, Box::new(source.clone())).unwrap()
    }

    pub(crate) fn voucher(cumulative: u64) -> SignedVoucher {
        Voucher { channel: ID, cumulative: Amount(cumulative) }.sign(CHAIN, &key(1))
    }

    #[test]
    fn a_voucher_buys_its_bytes_and_survives() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), OneChannel::new());
        let book = open(dir.path(), &channel);
        assert_eq!(book.bytes_max(ID).unwrap(), 1_000, "the window alone");
        assert_eq!(book.take(&voucher(20)).unwrap(), (address(1), Amount(20)));
        assert_eq!(book.take(&voucher(20)).unwrap(), (address(1), Amount(20)), "again");
        let lower = book.take(&voucher(19)).unwrap_err();
        assert!(matches!(lower, VoucherError::Lower { best: Amount(20), got: Amount(19) }), "{lower}");
        channel.0.lock().unwrap().redeem(CHAIN, &voucher(20)).unwrap();
        assert_eq!(book.take(&voucher(20)).unwrap(), (address(1), Amount(20)), "again, after it was redeemed");
        let again = open(dir.path(), &channel);
        assert_eq!(again.bytes_max(ID).unwrap(), (2 << 20) + 1_000);
        assert_eq!(again.vouchers(), [voucher(20)]);
    }

    #[test]
    fn what_could_not_be_redeemed_is_not_taken() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), OneChannel::new());
        let book = open(dir.path(), &channel);
        let forged = Voucher { channel: ID, cumulative: Amount(5) }.sign(CHAIN, &key(3));
        let elsewhere = Voucher { channel: ID, cumulative: Amount(5) }.sign(ChainId([4; 32]), &key(1));
        for bad in [forged, elsewhere, voucher(1_001), voucher(0)] {
            assert!(matches!(book.take(&bad), Err(VoucherError::Channel(_))));
        }
        let unknown = Voucher { channel: ChannelId(8), cumulative: Amount(5) }.sign(CHAIN, &key(1));
        assert!(matches!(book.take(&unknown), Err(VoucherError::Unknown { .. })));
        let other = VoucherBook::open(dir.path(), CHAIN, address(3), TERMS, Box::new(channel)).unwrap();
        assert!(matches!(other.take(&voucher(5)), Err(VoucherError::OtherPayee { .. })));
        assert_eq!(other.vouchers(), [], "nothing was kept");
    }

    #[test]
    fn a_channel_that_closes_gets_no_credit() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), OneChannel::new());
        let book = open(dir.path(), &channel);
        book.take(&voucher(10)).unwrap();
        channel.0.lock().unwrap().start_close(address(1), Epoch(5)).unwrap();
        assert_eq!(book.bytes_max(ID).unwrap(), 1 << 20);
    }

    #[test]
    fn a_damaged_voucher_is_not_passed_over() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), OneChannel::new());
        fs::write(dir.path().join("channel-7.voucher"), [0xa0, 0]).unwrap();
        let opened = VoucherBook::open(dir.path(), CHAIN, address(2), TERMS, Box::new(channel));
        assert!(matches!(opened, Err(VoucherError::Io { .. })));
    }

    proptest! {
        #[test]
        fn prices_and_bytes_agree(bytes in 0u64..1 << 45, price in 1u64..1 << 30) {
            let terms = ChannelTerms { price_per_mib: Amount(price), window_bytes: 0 };
            let cost = terms.price_of(bytes);
            prop_assert!(terms.bytes_of(cost) >= bytes, "what was paid for is served");
            if let Some(less) = cost.0.checked_sub(1) {
                prop_assert!(terms.bytes_of(Amount(less)) < bytes.max(1), "and for less, it is not");
            }
        }
    }
}
