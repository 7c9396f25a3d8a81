//! What a gateway is paid with: channels of a ledger that is asked over RPC, and vouchers that are redeemed there.
//!
//! 1. A channel that the ledger told of is good for [`FRESH`]; while the ledger is away, or slow, for [`STALE`]. One that was
//!    never told of has to be asked for, and the request waits; at most [`QUESTIONS_MAX`] do.
//! 2. At the start, and then once a minute, every voucher is looked at. It is redeemed when it adds enough to be worth a transaction, or when its
//!    channel closes: the ledger leaves the payee time for that, and pays nothing after it.
//!
//! The ledger's RPC server is trusted to tell the truth about channels: it could make this gateway serve for nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cairn_access::vouchers::ChannelSource;
use cairn_access::{AccessGate, PaymentPolicy, VoucherBook};
use cairn_ledger::payments::{ChannelId, ChannelStatus, ChannelView, SignedVoucher};
use cairn_ledger::{ChainId, Command, address_of};
use cairn_protocol::Amount;
use cairn_rpc::{ClientOptions, RpcClient};
use ed25519_consensus::SigningKey;

use crate::key_file::KeyFile;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(10);
/// How long it is good while there is no newer one.
const STALE: Duration = Duration::from_secs(600);
/// Channels that are remembered.
const CHANNELS_MAX: usize = 10_000;
/// Requests that wait for the ledger at a time.
const QUESTIONS_MAX: usize = 16;
/// How often vouchers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for a voucher's transaction; it is tried again at the next look.
const REDEEM_TIME: Duration = Duration::from_secs(60);

/// A ledger, and the account that is paid.
pub(super) struct Payments {
    client: RpcClient,
    chain: ChainId,
    key: SigningKey,
    redeem_from: Amount,
}

impl Payments {
    /// Asks the ledger which chain it is. `dir` is the policy's folder.
    pub(super) fn open(policy: &PaymentPolicy, dir: &Path, key: &KeyFile) -> anyhow::Result<(Self, VoucherBook)> {
        let brief = ClientOptions { timeout: Duration::from_secs(3), ..ClientOptions::default() };
        let client = RpcClient::new(&policy.rpc, brief).context("payments: rpc")?;
        let network = client.network().context("payments")?;
        key.check_for(network.grade).context("payments: key")?;
        let (chain, key) = (network.chain, key.key.clone());
        let source = Box::new(LedgerChannels::new(client.clone()));
        let book = VoucherBook::open(&dir.join(&policy.vouchers), chain, address_of(&key), policy.terms(), source)
            .context("payments")?;
        Ok((Self { client, chain, key, redeem_from: Amount(policy.redeem_from) }, book))
    }

    /// Redeems what the gate takes, until it is dropped.
    pub(super) fn redeem(self, gate: Arc<AccessGate>) -> anyhow::Result<Redeeming> {
        ensure!(gate.access().vouchers().is_some(), "a gate without vouchers");
        let (stop, stopped) = channel();
        let run = move || {
            loop {
                gate.access().vouchers().into_iter().for_each(|book| self.look(book));
                if !matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("redeem".to_owned()).spawn(run)?;
        Ok(Redeeming { stop: Some(stop), thread: Some(thread) })
    }

    fn look(&self, book: &VoucherBook) {
        for signed in book.vouchers() {
            let id = signed.voucher.channel;
            match self.redeem_if_due(&signed) {
                Ok(false) => {}
                Ok(true) => tracing::info!(channel = %id, promised = %signed.voucher.cumulative, "redeemed a voucher"),
                Err(error) => {
                    tracing::warn!(channel = %id, error = format!("{error:#}"), "a voucher is not redeemed yet");
                }
            }
        }
    }

    fn redeem_if_due(&self, signed: &SignedVoucher) -> anyhow::Result<bool> {
        let Some(channel) = self.client.channel(signed.voucher.channel.0)? else { return Ok(false) };
        if !is_due(&channel.view(), signed, self.redeem_from) {
            return Ok(false);
        }
        self.client.carry_out(self.chain, &self.key, &Command::RedeemVoucher(signed.clone()), REDEEM_TIME)?;
        Ok(true)
    }
}

fn is_due(channel: &ChannelView, signed: &SignedVoucher, redeem_from: Amount) -> bool {
    let owed = Amount(signed.voucher.cumulative.0.saturating_sub(channel.redeemed.0));
    match channel.status {
        ChannelStatus::Open => owed >= redeem_from && !owed.is_zero(),
        ChannelStatus::Closing { .. } => !owed.is_zero(),
        ChannelStatus::Closed => false,
    }
}

/// The thread that redeems. It ends when this is dropped, after the transaction that it waits for.
pub(super) struct Redeeming {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Redeeming {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Known {
    view: ChannelView,
    told: Instant,
    asked: Instant,
}

/// Channels as the ledger told of them.
#[derive(Debug)]
struct LedgerChannels {
    client: RpcClient,
    known: Mutex<HashMap<ChannelId, Known>>,
    questions: AtomicUsize,
}

impl LedgerChannels {
    fn new(client: RpcClient) -> Self {
        Self { client, known: Mutex::default(), questions: AtomicUsize::new(0) }
    }

    /// What is remembered, and whether that is good enough. Whoever gets an old answer asks; others do not ask meanwhile.
    fn remembered(&self, id: ChannelId) -> Option<(ChannelView, bool)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get_mut(&id).filter(|entry| entry.told.elapsed() < STALE)?;
        let fresh = entry.asked.elapsed() < FRESH;
        if !fresh {
            entry.asked = Instant::now();
        }
        Some((entry.view, fresh))
    }

    fn remember(&self, id: ChannelId, view: ChannelView) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CHANNELS_MAX && !known.contains_key(&id) {
            known.retain(|_, entry| entry.told.elapsed() < FRESH);
            if known.len() >= CHANNELS_MAX {
                known.clear();
            }
        }
        known.insert(id, Known { view, told: Instant::now(), asked: Instant::now() });
    }

    fn ask(&self, id: ChannelId) -> Result<Option<ChannelView>, String> {
        if self.questions.fetch_add(1, Ordering::Relaxed) >= QUESTIONS_MAX {
            self.questions.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{QUESTIONS_MAX} requests wait for it already"));
        }
        // A gateway asks on threads that serve connections: others of the thread go on elsewhere.
        let answer = tokio::task::block_in_place(|| self.client.channel(id.0));
        self.questions.fetch_sub(1, Ordering::Relaxed);
        Ok(answer.map_err(|error| error.to_string())?.map(|channel| channel.view()))
    }
}

impl ChannelSource for LedgerChannels {
    fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>, String> {
        let remembered = self.remembered(id);
        if let Some((view, true)) = remembered {
            return Ok(Some(view));
        }
        match (self.ask(id), remembered) {
            (Ok(Some(view)), _) => {
                self.remember(id, view);
                Ok(Some(view))
            }
            (Err(error), Some((view, _))) => {
                tracing::warn!(channel = %id, error, "the ledger does not answer; what it said before counts");
                Ok(Some(view))
            }
            (other, _) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::Address;
    use cairn_ledger::payments::Voucher;
    use cairn_protocol::Epoch;

    use super::*;

    fn view(redeemed: u64, status: ChannelStatus) -> ChannelView {
        let (payer, payee) = (Address([1; 32]), Address([2; 32]));
        ChannelView { id: ChannelId(7), payer, payee, held: Amount(1_000), redeemed: Amount(redeemed), status }
    }

    #[test]
    fn a_voucher_is_redeemed_when_it_is_worth_it_or_the_channel_closes() {
        let voucher = Voucher { channel: ChannelId(7), cumulative: Amount(100) };
        let signed = voucher.sign(ChainId([3; 32]), &SigningKey::from([1; 32]));
        let due = |redeemed, status| is_due(&view(redeemed, status), &signed, Amount(50));
        let closing = ChannelStatus::Closing { until: Epoch(9) };
        assert!(due(0, ChannelStatus::Open) && due(50, ChannelStatus::Open) && due(99, closing));
        assert!(!due(51, ChannelStatus::Open) && !due(100, closing) && !due(0, ChannelStatus::Closed));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_ledger_said_counts_while_it_is_away() {
        // Nobody listens there.
        let client = RpcClient::new("http://127.0.0.1:1", ClientOptions::default()).unwrap();
        let channels = LedgerChannels::new(client);
        let error = channels.channel(ChannelId(7)).unwrap_err();
        assert!(error.contains("127.0.0.1:1"), "{error}");
        channels.remember(ChannelId(7), view(0, ChannelStatus::Open));
        assert_eq!(channels.channel(ChannelId(7)).unwrap(), Some(view(0, ChannelStatus::Open)));
        let long_ago = Instant::now().checked_sub(FRESH).unwrap();
        channels.known.lock().unwrap().get_mut(&ChannelId(7)).unwrap().asked = long_ago;
        assert_eq!(
            channels.channel(ChannelId(7)).unwrap(),
            Some(view(0, ChannelStatus::Open)),
            "it is asked, and away"
        );
        assert_eq!(channels.questions.load(Ordering::Relaxed), 0);
    }
}
