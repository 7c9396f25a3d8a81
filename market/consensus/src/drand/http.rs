//! drand's rounds from its relays, over HTTP.
//!
//! A block uses a round that was out [`LAG_S`](super::LAG_S) before it, so there is time to fetch each round before anybody
//! needs it. A thread does that; who proposes a block finds the round here or passes, and never waits for a network.
//!
//! 1. Wanted are the rounds from the one for a block of now up to the newest that is out. The oldest that is missing is
//!    fetched first, from the first relay that is not resting: `GET URL/CHAIN-HASH/public/ROUND`.
//! 2. It is verified under the key in the genesis before it is kept. So a relay can be silent, but not lie; the chain hash
//!    in the path only keeps honest relays from answering for another network.
//! 3. A relay that fails rests, each time twice as long, and the next is asked. One that sends what does not verify rests
//!    for as long as it gets.
//! 4. When no relay has a round that must be out, `/public/latest` tells whether the clock here is wrong.
//!
//! # Invariants
//! - An answer is bounded in bytes and time; redirects are not followed.
//! - Every kept round was verified; there are never more of them than [`ROUNDS_MAX`].

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};
use ureq::Agent;
use ureq::tls::{PemItem, TlsConfig, parse_pem};

use super::{DrandNetwork, DrandRejection, DrandRound, DrandSource, DrandVerifier, LAG_S, RecordedRound};

/// Relays that the League of Entropy names, for its quicknet.
pub const PUBLIC_RELAYS: [&str; 4] =
    ["https://api.drand.sh", "https://api2.drand.sh", "https://api3.drand.sh", "https://drand.cloudflare.com"];

/// Longest answer. A round is some 300 bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// Rounds kept, newest first to stay.
const ROUNDS_MAX: usize = 256;
/// How long a relay rests after its first failure in a row, and at most.
const REST_MS: u64 = 500;
const REST_MAX_MS: u64 = 60_000;
/// Between two looks at the clock when nothing is missing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two warnings of the same kind.
const WARN_EVERY_MS: u64 = 60_000;
/// A round is asked for so long after it is out, because clocks differ and relays need a moment.
const PATIENCE_MS: u64 = 2_000;
/// A relay may be so much behind before the clock here is doubted.
const CLOCK_TOLERANCE_S: u64 = 10;

/// How rounds are fetched.
#[derive(Clone)]
pub struct HttpOptions {
    /// Relays, the first to ask first: `http://` or `https://`, without the chain hash.
    pub urls: Vec<String>,
    /// Authorities to believe about `https` relays, as PEM; default those that browsers believe.
    pub authorities: Option<Vec<u8>>,
    /// Longest time for one answer; default 3 s.
    pub answer_timeout: Duration,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl HttpOptions {
    /// With the default bounds and the machine's clock.
    pub fn new(urls: Vec<String>) -> Self {
        let answer_timeout = Duration::from_secs(3);
        Self { urls, authorities: None, answer_timeout, clock: Arc::new(crate::node::system_clock) }
    }
}

/// Why rounds cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpRoundsRejection {
    /// There is nobody to ask.
    #[error("there is no relay to ask for rounds")]
    NoRelay,
    /// Not the address of a relay.
    #[error("{url:?} is no relay: expected http://HOST or https://HOST, without user, query or fragment")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// Authorities that cannot be read, or none.
    #[error("authorities: {reason}")]
    BadAuthorities {
        /// Why.
        reason: String,
    },
    /// The network in the genesis cannot be.
    #[error(transparent)]
    Network(#[from] DrandRejection),
}

/// What a relay did instead of giving the round.
#[derive(Debug, thiserror::Error)]
enum RelayFault {
    #[error("{0}")]
    Unreachable(Box<ureq::Error>),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is no round: {0}")]
    NoRound(serde_json::Error),
    #[error("it gave round {got} for round {asked}")]
    OtherRound { asked: u64, got: u64 },
    #[error(transparent)]
    Forged(#[from] DrandRejection),
}

impl RelayFault {
    /// Whether it cannot be an accident.
    fn is_lie(&self) -> bool {
        matches!(self, Self::OtherRound { .. } | Self::Forged(_))
    }
}

/// Rounds that a thread fetches; see the module. The thread ends when this is dropped.
pub struct HttpRounds {
    kept: Arc<Kept>,
    /// Dropped, it tells the thread to end.
    _stop: Sender<()>,
}

impl HttpRounds {
    /// Starts fetching.
    ///
    /// # Errors
    /// [`HttpRoundsRejection`] if there is nobody to ask, or no network.
    pub fn start(network: &DrandNetwork, options: HttpOptions) -> Result<Self, HttpRoundsRejection> {
        let clock = options.clock.clone();
        let mut fetcher = Fetcher::new(network, options)?;
        let kept = fetcher.kept.clone();
        let (stop, stopped) = channel();
        std::thread::spawn(move || run(&mut fetcher, clock.as_ref(), &stopped));
        Ok(Self { kept, _stop: stop })
    }
}

impl DrandSource for HttpRounds {
    fn round(&self, round: u64) -> Result<DrandRound, String> {
        let found = self.kept.rounds().get(&round).copied();
        found.ok_or_else(|| format!("no relay has given it yet; {}", self.kept.fault()))
    }
}

fn run(fetcher: &mut Fetcher, clock: &(dyn Fn() -> u64 + Send + Sync), stopped: &Receiver<()>) {
    loop {
        let wait = fetcher.step(clock());
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What is there, for who needs it.
#[derive(Debug, Default)]
struct Kept {
    rounds: Mutex<BTreeMap<u64, DrandRound>>,
    fault: Mutex<Option<String>>,
}

impl Kept {
    fn rounds(&self) -> MutexGuard<'_, BTreeMap<u64, DrandRound>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> String {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone().unwrap_or_else(|| "nothing went wrong so far".to_owned())
    }
}

struct Relay {
    url: String,
    /// Failures in a row.
    failures: u32,
    /// When it may be asked again.
    rests_until_ms: u64,
    warned_at_ms: Option<u64>,
}

/// The work of the thread, one round at a time.
struct Fetcher {
    verifier: DrandVerifier,
    agent: Agent,
    relays: Vec<Relay>,
    kept: Arc<Kept>,
    doubted_at_ms: Option<u64>,
}

impl Fetcher {
    fn new(network: &DrandNetwork, options: HttpOptions) -> Result<Self, HttpRoundsRejection> {
        if options.urls.is_empty() {
            return Err(HttpRoundsRejection::NoRelay);
        }
        let relay = |url: &String| {
            let url = checked(url)?;
            Ok(Relay { url, failures: 0, rests_until_ms: 0, warned_at_ms: None })
        };
        let relays = options.urls.iter().map(relay).collect::<Result<_, HttpRoundsRejection>>()?;
        let config = Agent::config_builder()
            .tls_config(tls_config(options.authorities.as_deref())?)
            .timeout_global(Some(options.answer_timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build();
        let verifier = DrandVerifier::new(network.clone())?;
        Ok(Self { verifier, agent: config.new_agent(), relays, kept: Arc::default(), doubted_at_ms: None })
    }

    /// Fetches at most one round. Returns how long to wait before the next step.
    fn step(&mut self, now_ms: u64) -> Duration {
        let Some(round) = self.missing(now_ms) else { return LOOK_EVERY };
        let Some(place) = self.relays.iter().position(|relay| relay.rests_until_ms <= now_ms) else {
            let soonest = self.relays.iter().map(|relay| relay.rests_until_ms).min().unwrap_or(now_ms);
            self.doubt_the_clock(now_ms);
            return Duration::from_millis(soonest.saturating_sub(now_ms)).min(LOOK_EVERY);
        };
        match self.fetch(place, &round.to_string(), Some(round)) {
            Ok(fetched) => {
                self.relays[place].failures = 0;
                let mut rounds = self.kept.rounds();
                rounds.insert(fetched.round, fetched);
                while rounds.len() > ROUNDS_MAX {
                    rounds.pop_first();
                }
            }
            Err(fault) => self.rest(place, round, &fault, now_ms),
        }
        Duration::ZERO
    }

    /// The newest round that every relay should have.
    fn newest(&self, now_ms: u64) -> Option<u64> {
        self.verifier.network().round_at(now_ms.saturating_add(LAG_S * 1_000 - PATIENCE_MS))
    }

    /// The oldest round that is missing, of those for blocks from now on that are out.
    fn missing(&self, now_ms: u64) -> Option<u64> {
        let (network, newest) = (self.verifier.network(), self.newest(now_ms)?);
        let oldest = network.round_at(now_ms).unwrap_or(1).max(newest.saturating_sub(ROUNDS_MAX as u64 - 1));
        let rounds = self.kept.rounds();
        (oldest..=newest).find(|round| !rounds.contains_key(round))
    }

    /// Asks a relay for `public/what`; believes nothing that does not verify, nor another round than `asked`.
    fn fetch(&self, place: usize, what: &str, asked: Option<u64>) -> Result<DrandRound, RelayFault> {
        let unreachable = |error| RelayFault::Unreachable(Box::new(error));
        let chain = hex::encode(self.verifier.network().chain_hash);
        let url = format!("{}/{chain}/public/{what}", self.relays[place].url);
        let mut answer = self.agent.get(&url).call().map_err(unreachable)?;
        if !answer.status().is_success() {
            return Err(RelayFault::Status(answer.status().as_u16()));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
        let RecordedRound { round, signature } = serde_json::from_slice(&body).map_err(RelayFault::NoRound)?;
        if let Some(asked) = asked.filter(|asked| *asked != round) {
            return Err(RelayFault::OtherRound { asked, got: round });
        }
        let round = DrandRound { round, signature };
        self.verifier.verify(&round)?;
        Ok(round)
    }

    fn rest(&mut self, place: usize, round: u64, fault: &RelayFault, now_ms: u64) {
        let relay = &mut self.relays[place];
        let doubled = REST_MS.saturating_mul(1 << relay.failures.min(10));
        let rest_ms = if fault.is_lie() { REST_MAX_MS } else { doubled.min(REST_MAX_MS) };
        relay.failures = relay.failures.saturating_add(1);
        relay.rests_until_ms = now_ms.saturating_add(rest_ms);
        let text = format!("{}: {fault}", relay.url);
        if relay.warned_at_ms.is_none_or(|at| now_ms.saturating_sub(at) >= WARN_EVERY_MS) {
            relay.warned_at_ms = Some(now_ms);
            warn!(relay = relay.url, round, %fault, rest_ms, "a relay of drand gave no round");
        }
        *self.kept.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Compares the newest round of any relay with what the clock here expects.
    fn doubt_the_clock(&mut self, now_ms: u64) {
        if self.doubted_at_ms.is_some_and(|at| now_ms.saturating_sub(at) < WARN_EVERY_MS) {
            return;
        }
        self.doubted_at_ms = Some(now_ms);
        let latest = (0..self.relays.len()).find_map(|place| self.fetch(place, "latest", None).ok());
        let Some(latest) = latest.map(|latest| latest.round) else { return };
        match self.behind_s(latest, now_ms) {
            Some(seconds) => {
                let text = format!("drand is at round {latest}: the clock here is {seconds} s ahead of it");
                warn!(latest, seconds, "the clock here is ahead of drand's");
                *self.kept.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            }
            None => info!(latest, "drand goes on, its relays do not answer as they should"),
        }
    }

    /// How far `latest` is behind the round that is out by the clock here, if that is more than relays usually are.
    fn behind_s(&self, latest: u64, now_ms: u64) -> Option<u64> {
        let period_s = self.verifier.network().period_s;
        let seconds = self.newest(now_ms)?.saturating_sub(latest).saturating_mul(period_s);
        (seconds > period_s.saturating_add(CLOCK_TOLERANCE_S)).then_some(seconds)
    }
}

fn tls_config(authorities: Option<&[u8]>) -> Result<TlsConfig, HttpRoundsRejection> {
    let Some(pem) = authorities else { return Ok(TlsConfig::default()) };
    let bad = |reason: String| HttpRoundsRejection::BadAuthorities { reason };
    let items = parse_pem(pem).collect::<Result<Vec<_>, _>>().map_err(|error| bad(error.to_string()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(bad("expected certificates as PEM, got none".to_owned()));
    }
    Ok(TlsConfig::builder().root_certs(certificates.into()).build())
}

fn checked(url: &str) -> Result<String, HttpRoundsRejection> {
    let base = url.trim_end_matches('/');
    let host = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    let is_good = |host: &&str| !host.is_empty() && !host.starts_with('/') && !host.contains(['?', '#', '@', ' ']);
    match host.filter(is_good) {
        Some(_) => Ok(base.to_owned()),
        None => Err(HttpRoundsRejection::BadUrl { url: url.chars().take(200).collect() }),
    }
}

#[cfg(test)]
mod tests;
