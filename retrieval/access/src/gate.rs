//! The policy as a gateway's gatekeeper: from HTTP to the facts of [`crate::policy`], and back.
//!
//! A token comes as `Authorization: Bearer TOKEN`, or as `?token=TOKEN` for loaders that take a URL and nothing else; the
//! header wins. Logs of the gateway have no queries, so that a token does not end up in them.
//!
//! The denylist's file is looked at again at most once a second; a list that cannot be read or understood leaves the one
//! before it in force, and the log says so.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_gateway::{Account, Asked as AskedOverHttp, AskedByKey, Gatekeeper, Leave, Refusal, Subject};
use cairn_ledger::Address;
use cairn_protocol::Amount;
use cid::Cid;
use ed25519_consensus::SigningKey;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::UnixSeconds;
use crate::denylist::{Denial, Denylist};
use crate::grant::{Grant, TOKEN_BYTES_MAX};
use crate::meter::{Meter, MeterError, Reservation};
use crate::policy::{Access, AccessOptions, AccessRejection, Admission, Asked, Object};
use crate::vouchers::{ChannelTerms, VoucherBook};
use crate::x402::{PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE};

/// How often the denylist's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Largest denylist that is read.
const DENYLIST_BYTES_MAX: u64 = 64 << 20;
/// Name of the query parameter with a token.
const TOKEN_PARAMETER: &str = "token";

/// The clock; a test brings its own.
pub type Clock = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
}

/// What an operator writes down, as JSON. Paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Key file of the gateway: its own grants are taken, too.
    pub key: PathBuf,
    /// Folder of the counts. One process at a time.
    pub state: PathBuf,
    /// Everything that is not denied is free. Default no.
    #[serde(default)]
    pub open: bool,
    /// Root CIDs of datasets that are free.
    #[serde(default)]
    pub free: Vec<String>,
    /// Addresses whose grants are taken.
    #[serde(default)]
    pub issuers: Vec<Address>,
    /// A file of [`crate::denylist`].
    #[serde(default)]
    pub denylist: Option<PathBuf>,
    /// Bytes of a grant that a crash may cost its bearer; smaller means more writes. Default 64 MiB.
    #[serde(default = "default_step_bytes")]
    pub step_bytes: u64,
    /// Payments that are taken. Default none.
    #[serde(default)]
    pub payments: Option<PaymentPolicy>,
}

/// Payments as an operator writes them down; they go to the address of the policy's key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentPolicy {
    /// An RPC server of the ledger, such as `http://127.0.0.1:8080`.
    pub rpc: String,
    /// Micro-units for each MiB.
    pub price_per_mib: NonZeroU64,
    /// Bytes that a channel may be ahead of its vouchers. Default 16 MiB.
    #[serde(default = "default_window_bytes")]
    pub window_bytes: u64,
    /// Folder of the vouchers, which are money. One process at a time. Default `vouchers`.
    #[serde(default = "default_vouchers")]
    pub vouchers: PathBuf,
    /// Micro-units that a voucher must add before it is redeemed; one of a channel that closes is at once. Default 1,000,000.
    #[serde(default = "default_redeem_from")]
    pub redeem_from: u64,
}

impl PaymentPolicy {
    /// What is asked for.
    pub fn terms(&self) -> ChannelTerms {
        ChannelTerms { price_per_mib: Amount(self.price_per_mib.get()), window_bytes: self.window_bytes }
    }
}

fn default_step_bytes() -> u64 {
    64 << 20
}

fn default_window_bytes() -> u64 {
    16 << 20
}

fn default_vouchers() -> PathBuf {
    "vouchers".into()
}

fn default_redeem_from() -> u64 {
    1_000_000
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not JSON of the right shape.
    #[error("the policy: {0}")]
    Form(#[from] serde_json::Error),
    /// A root that is no CID.
    #[error("the policy: free: {text:?}: {reason}")]
    Free {
        /// What stands there.
        text: String,
        /// Why it is none.
        reason: String,
    },
    /// The denylist cannot be read or understood.
    #[error("the denylist {}: {reason}", path.display())]
    Denylist {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The counts cannot be kept.
    #[error(transparent)]
    Meter(#[from] MeterError),
}

impl PolicyFile {
    /// Reads a policy; what is not understood is refused.
    ///
    /// # Errors
    /// [`PolicyError::Form`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Opens what it names, below `dir`. With `vouchers`, payments are taken.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn open(
        &self,
        dir: &Path,
        key: SigningKey,
        vouchers: Option<VoucherBook>,
        clock: Clock,
    ) -> Result<AccessGate, PolicyError> {
        let cid = |text: &String| {
            Cid::try_from(text.as_str()).map_err(|error| {
                let reason = error.to_string();
                PolicyError::Free { text: text.clone(), reason }
            })
        };
        let free: HashSet<Cid> = self.free.iter().map(cid).collect::<Result<_, _>>()?;
        let denylist = self.denylist.as_ref().map(|path| Watched::new(dir.join(path))).transpose()?;
        let meter = Meter::open(&dir.join(&self.state), self.step_bytes)?;
        let (list, watched) = denylist.unzip();
        let options = AccessOptions {
            open: self.open,
            free,
            issuers: self.issuers.clone(),
            denylist: list.unwrap_or_default(),
            paid_grant_seconds: 24 * 3600,
        };
        let access = Arc::new(Access::new(options, key, meter, vouchers));
        Ok(AccessGate { access, denylist: watched.map(Mutex::new), clock })
    }
}

/// A denylist's file, and how it was when it was read.
struct Watched {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl Watched {
    fn new(path: PathBuf) -> Result<(Denylist, Self), PolicyError> {
        let stamp = stamp(&path);
        let list = read_denylist(&path).map_err(|reason| PolicyError::Denylist { path: path.clone(), reason })?;
        Ok((list, Self { path, stamp: stamp.ok(), looked: Instant::now() }))
    }

    /// The list, if its file changed since it was read.
    fn changed(&mut self) -> Option<Denylist> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let now = stamp(&self.path).ok();
        if now == self.stamp {
            return None;
        }
        self.stamp = now;
        read_denylist(&self.path)
            .inspect_err(|reason| {
                tracing::error!(path = %self.path.display(), reason, "the denylist before it stays in force");
            })
            .ok()
    }
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

fn read_denylist(path: &Path) -> Result<Denylist, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > DENYLIST_BYTES_MAX {
        return Err(format!("{bytes} bytes, at most {DENYLIST_BYTES_MAX} are read"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Denylist::parse(&text).map_err(|error| error.to_string())
}

/// Decides about a gateway's requests.
pub struct AccessGate {
    access: Arc<Access>,
    denylist: Option<Mutex<Watched>>,
    clock: Clock,
}

impl AccessGate {
    /// Without a file: what `access` says, its denylist as it is.
    pub fn new(access: Arc<Access>, clock: Clock) -> Self {
        Self { access, denylist: None, clock }
    }

    /// The decisions.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    fn leave(&self, admission: Admission, headers: Vec<(HeaderName, HeaderValue)>, url: &str) -> Leave {
        let private = admission.reservation.is_some();
        let account = admission.reservation.map(|reservation| -> Arc<dyn Account> {
            Arc::new(Counted {
                access: self.access.clone(),
                grant: admission.grant,
                url: url.to_owned(),
                reservation: Mutex::new(reservation),
            })
        });
        Leave { headers, private, account }
    }

    fn look(&self) {
        let Some(watched) = &self.denylist else { return };
        if let Some(list) = watched.lock().unwrap_or_else(PoisonError::into_inner).changed() {
            tracing::info!(rules = list.rules(), "the denylist was read again");
            self.access.set_denylist(list);
        }
    }
}

impl Gatekeeper for AccessGate {
    fn admit(&self, http: &AskedOverHttp<'_>) -> Result<Leave, Refusal> {
        self.look();
        let token = token(http.headers, http.query);
        let payment = http.headers.get(PAYMENT_SIGNATURE).and_then(|value| value.to_str().ok());
        let (dataset, cid, object) = match http.subject {
            Subject::Path { root, path, cid } => (Some(root), cid.as_ref(), Object::Path(path)),
            Subject::Block { cid, is_data } => (None, Some(cid), Object::Block { cid, is_data: *is_data }),
            Subject::Piece(cid) => (None, Some(cid), Object::Piece(cid)),
        };
        let asked = Asked {
            dataset,
            cid,
            object,
            bytes: http.bytes.unwrap_or(0),
            token: token.as_deref(),
            payment,
            url: http.path,
            now: (self.clock)(),
        };
        let holds = |root: &Cid, block: &Cid| http.source.holds(root, block);
        let admission = self.access.admit(&asked, &holds).map_err(|rejection| refusal(&rejection))?;
        let mut headers = Vec::new();
        if let Some(response) = &admission.payment_response {
            headers.extend(header(PAYMENT_RESPONSE, response));
        }
        Ok(self.leave(admission, headers, http.path))
    }

    fn admit_key(&self, by_key: &AskedByKey<'_>) -> Result<Leave, Refusal> {
        self.look();
        let asked = Asked {
            dataset: Some(by_key.root),
            cid: by_key.cid,
            object: Object::Path(by_key.path),
            bytes: by_key.bytes,
            token: None,
            payment: None,
            url: by_key.path,
            now: (self.clock)(),
        };
        let key = by_key.key.map(|key| (key.name, key.bytes_max));
        let admission = self.access.admit_key(&asked, key).map_err(|rejection| refusal(&rejection))?;
        Ok(self.leave(admission, Vec::new(), by_key.path))
    }

    fn denies(&self, cid: &Cid) -> Option<Refusal> {
        let denial = self.access.denies(cid)?;
        Some(refusal(&AccessRejection::Denied(denial)))
    }
}

/// One answer's bytes.
struct Counted {
    access: Arc<Access>,
    grant: Option<Grant>,
    url: String,
    reservation: Mutex<Reservation>,
}

impl Account for Counted {
    fn more(&self, bytes: u64) -> Result<(), Refusal> {
        let Some(grant) = &self.grant else { return Ok(()) };
        let more = self.access.reserve(grant, bytes, &self.url).map_err(|rejection| refusal(&rejection))?;
        self.reservation.lock().unwrap_or_else(PoisonError::into_inner).absorb(more);
        Ok(())
    }

    fn sent(&self, bytes: u64) {
        self.reservation.lock().unwrap_or_else(PoisonError::into_inner).sent(bytes);
    }
}

fn token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let in_header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let in_query = || {
        let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(name, _)| *name == TOKEN_PARAMETER).map(|(_, value)| value)
    };
    // A character of a token is never escaped. Too long ones are refused by what reads them; no more is copied.
    in_header.or_else(in_query).map(|token| token.chars().take(TOKEN_BYTES_MAX + 1).collect())
}

fn header(name: &'static str, text: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_static(name), HeaderValue::from_str(text).ok()?))
}

fn refusal(rejection: &AccessRejection) -> Refusal {
    let headers = match rejection {
        AccessRejection::TokenMissing | AccessRejection::Token(_) => {
            vec![(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cairn\""))]
        }
        AccessRejection::PaymentRequired { header: price, .. } => header(PAYMENT_REQUIRED, price).into_iter().collect(),
        AccessRejection::Unavailable(_) => vec![(RETRY_AFTER, HeaderValue::from_static("2"))],
        _ => Vec::new(),
    };
    if let AccessRejection::Unavailable(reason) = rejection {
        tracing::error!(reason, "access cannot be decided");
    }
    let status = match rejection {
        AccessRejection::Denied(Denial::Legal) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
        other => StatusCode::from_u16(other.status()).expect("a status of HTTP"),
    };
    Refusal { status, code: rejection.code(), message: rejection.to_string(), headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_the_header_or_the_query() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers, Some("a=b&token=q")).as_deref(), Some("q"));
        assert_eq!(token(&headers, Some("xtoken=q")), None);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer h"));
        assert_eq!(token(&headers, Some("token=q")).as_deref(), Some("h"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic h"));
        assert_eq!(token(&headers, None), None);
    }

    #[test]
    fn a_policy_is_read_strictly() {
        let read = PolicyFile::parse(r#"{"key": "k", "state": "s", "open": true}"#).unwrap();
        assert_eq!((read.open, read.step_bytes), (true, 64 << 20));
        for bad in
            ["{}", r#"{"key": "k", "state": "s", "opn": true}"#, r#"{"key": "k", "state": "s", "issuers": ["x"]}"#]
        {
            assert!(matches!(PolicyFile::parse(bad), Err(PolicyError::Form(_))), "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        let read = PolicyFile::parse(r#"{"key": "k", "state": "s", "free": ["x"]}"#).unwrap();
        let opened = read.open(dir.path(), SigningKey::from([1; 32]), None, system_clock());
        assert!(matches!(opened, Err(PolicyError::Free { .. })));
    }
}
