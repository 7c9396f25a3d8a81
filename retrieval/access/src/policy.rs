//! The decision about one request: denied, free, granted, paid for, or none of these.
//!
//! In this order, and before a byte of the object moves:
//!
//! 1. The denylist: what is on it is served to nobody (410 or 451), whatever they hold.
//! 2. A payment in the request is taken first: it may be what makes the rest possible. With the answer goes a new token.
//! 3. A gateway that is open, or a dataset on the operator's list, is served without asking.
//! 4. Otherwise a token is needed: it must cover the object (403), and have bytes left. Bytes are reserved for the whole
//!    answer and settled by what was truly sent.
//! 5. Without one the answer is 401, or 402 with a price where vouchers are taken.
//!
//! A token of a path prefix covers files by their paths, and blocks that hold no file bytes (without those nothing could
//! be verified); pieces and leaves it covers only if it covers the whole dataset, since they have no path.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use cairn_ledger::Address;
use cairn_ledger::payments::{ChannelId, SignedVoucher};
use cid::Cid;
use ed25519_consensus::{SigningKey, VerificationKey};
use sha2::{Digest, Sha256};

use crate::UnixSeconds;
use crate::denylist::{Denial, Denylist};
use crate::grant::{Grant, GrantId, GrantRejection, GrantVerifier};
use crate::meter::{Meter, MeterError, Reservation, Rounding};
use crate::vouchers::{VoucherBook, VoucherError};
use crate::x402::{PaymentHeaderRejection, Price};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// A file or folder of a dataset, by its path.
    Path(&'a str),
    /// A block; whether it holds bytes of a file, or only links to such.
    Block {
        /// Which.
        cid: &'a Cid,
        /// Holds bytes of a file.
        is_data: bool,
    },
    /// A piece of a sector.
    Piece(&'a Cid),
}

/// The facts of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Root of the dataset that the object is part of, if one is known.
    pub dataset: Option<&'a Cid>,
    /// Root of the object itself, if it has one.
    pub cid: Option<&'a Cid>,
    /// The object.
    pub object: Object<'a>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// The bearer's token, if there is one.
    pub token: Option<&'a str>,
    /// `PAYMENT-SIGNATURE`, if there is one.
    pub payment: Option<&'a str>,
    /// Path and query, for the price.
    pub url: &'a str,
    /// Now.
    pub now: UnixSeconds,
}

/// Why a request is refused; [`AccessRejection::status`] is its HTTP status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessRejection {
    /// On the denylist.
    #[error("this object is not served here any more")]
    Denied(Denial),
    /// No token.
    #[error("a token is needed: Authorization: Bearer TOKEN")]
    TokenMissing,
    /// A token that is not taken.
    #[error(transparent)]
    Token(#[from] GrantRejection),
    /// A token for something else.
    #[error("the token does not cover this object")]
    NotCovered,
    /// A token whose bytes are used up.
    #[error("the bytes of this token or key: {0}")]
    Spent(MeterError),
    /// Money is needed; the header says how much.
    #[error("{reason}")]
    PaymentRequired {
        /// For people.
        reason: String,
        /// `PAYMENT-REQUIRED`.
        header: String,
    },
    /// A payment that is not understood.
    #[error(transparent)]
    PaymentHeader(#[from] PaymentHeaderRejection),
    /// A payment that is not taken.
    #[error("the payment is not taken: {0}")]
    Payment(VoucherError),
    /// Our side failed.
    #[error("access cannot be decided at the moment: {0}")]
    Unavailable(String),
}

impl AccessRejection {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied(Denial::Gone) => 410,
            Self::Denied(Denial::Legal) => 451,
            Self::TokenMissing | Self::Token(_) => 401,
            Self::NotCovered | Self::Spent(_) => 403,
            Self::PaymentRequired { .. } | Self::Payment(_) => 402,
            Self::PaymentHeader(_) => 400,
            Self::Unavailable(_) => 503,
        }
    }

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(Denial::Gone) => "gone",
            Self::Denied(Denial::Legal) => "unavailable_for_legal_reasons",
            Self::TokenMissing => "token_missing",
            Self::Token(_) => "bad_token",
            Self::NotCovered => "not_covered",
            Self::Spent(_) => "bytes_spent",
            Self::PaymentRequired { .. } => "payment_required",
            Self::PaymentHeader(_) => "bad_payment_header",
            Self::Payment(_) => "payment_not_taken",
            Self::Unavailable(_) => "access_unavailable",
        }
    }
}

/// Leave to serve. Tell it what was sent, and drop it when the answer is over.
#[derive(Debug, Default)]
pub struct Admission {
    /// Bytes taken from a token, if one was needed.
    pub reservation: Option<Reservation>,
    /// The grant that they were taken from.
    pub grant: Option<Grant>,
    /// `PAYMENT-RESPONSE`, if a payment was taken.
    pub payment_response: Option<String>,
}

impl Admission {
    /// Notes bytes that were truly sent.
    pub fn sent(&self, bytes: u64) {
        if let Some(reservation) = &self.reservation {
            reservation.sent(bytes);
        }
    }
}

/// What an operator decides.
#[derive(Default)]
pub struct AccessOptions {
    /// Everything that is not denied is free.
    pub open: bool,
    /// Datasets that are free.
    pub free: HashSet<Cid>,
    /// Whose grants are taken, beside the gateway's own.
    pub issuers: Vec<Address>,
    /// What is served to nobody.
    pub denylist: Denylist,
    /// How long a grant that was paid for is good.
    pub paid_grant_seconds: u64,
}

/// Decides about requests; see the module.
pub struct Access {
    options: AccessOptions,
    denylist: RwLock<Denylist>,
    /// Signs the grants that payments buy.
    key: SigningKey,
    grants: GrantVerifier,
    meter: Arc<Meter>,
    vouchers: Option<VoucherBook>,
}

impl Access {
    /// With `vouchers`, payments are taken. `key` is the gateway's own; its grants are taken too.
    pub fn new(mut options: AccessOptions, key: SigningKey, meter: Arc<Meter>, vouchers: Option<VoucherBook>) -> Self {
        let mut issuers = vec![Address(VerificationKey::from(&key).to_bytes())];
        issuers.extend(&options.issuers);
        let denylist = RwLock::new(std::mem::take(&mut options.denylist));
        Self { options, denylist, key, grants: GrantVerifier::new(issuers), meter, vouchers }
    }

    /// Puts another denylist in force.
    pub fn set_denylist(&self, list: Denylist) {
        *self.denylist.write().unwrap_or_else(PoisonError::into_inner) = list;
    }

    /// Whether an object is on the denylist by its own name.
    pub fn denies(&self, cid: &Cid) -> Option<Denial> {
        self.denylist.read().unwrap_or_else(PoisonError::into_inner).denies(cid, "")
    }

    /// The vouchers, where payments are taken.
    pub fn vouchers(&self) -> Option<&VoucherBook> {
        self.vouchers.as_ref()
    }

    /// Where the bytes are counted.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Decides about a request. May write a file. `holds` says whether a block is part of a dataset: a grant for a dataset,
    /// or a free one, covers its blocks by themselves, too.
    ///
    /// # Errors
    /// [`AccessRejection`], with its HTTP status.
    pub fn admit(&self, asked: &Asked<'_>, holds: Holds<'_>) -> Result<Admission, AccessRejection> {
        if let Some(denial) = self.denial(asked) {
            return Err(AccessRejection::Denied(denial));
        }
        let paid = asked.payment.map(|header| self.take_payment(header, asked.now)).transpose()?;
        let free = match (asked.dataset, asked.object) {
            (Some(root), _) => self.options.free.contains(root),
            (None, Object::Block { cid, .. }) => self.options.free.iter().any(|root| holds(root, cid)),
            (None, _) => false,
        };
        if self.options.open || free {
            return Ok(Admission { payment_response: paid.map(|(_, response)| response), ..Admission::default() });
        }
        let grant = match (asked.token, &paid) {
            (Some(token), _) => self.grants.verify(token, asked.now)?,
            (None, Some((grant, _))) => grant.clone(),
            (None, None) => return Err(self.token_missing(asked)),
        };
        if !covers(&grant, asked, holds) {
            return Err(AccessRejection::NotCovered);
        }
        let reservation = Some(self.reserve(&grant, asked.bytes, asked.url)?);
        Ok(Admission { reservation, grant: Some(grant), payment_response: paid.map(|(_, response)| response) })
    }

    /// Decides about a request to an interface with keys of its own. `key` was checked there, and that it covers the object;
    /// it is a name and a limit of bytes. What a key reads is counted, of free datasets too: the limit is the key's.
    ///
    /// # Errors
    /// [`AccessRejection`], with its HTTP status.
    pub fn admit_key(&self, asked: &Asked<'_>, key: Option<(&str, Option<u64>)>) -> Result<Admission, AccessRejection> {
        if let Some(denial) = self.denial(asked) {
            return Err(AccessRejection::Denied(denial));
        }
        let Some((name, bytes_max)) = key else {
            let free = self.options.open || asked.dataset.is_some_and(|root| self.options.free.contains(root));
            return if free { Ok(Admission::default()) } else { Err(AccessRejection::TokenMissing) };
        };
        // A key may have any characters, a count's name may not.
        let name = format!("key-{}", hex::encode(&Sha256::digest(name.as_bytes())[..16]));
        let reservation = self.meter.reserve(&name, bytes_max, asked.bytes, Rounding::Up).map_err(meter_failed)?;
        Ok(Admission { reservation: Some(reservation), ..Admission::default() })
    }

    fn denial(&self, asked: &Asked<'_>) -> Option<Denial> {
        let list = self.denylist.read().unwrap_or_else(PoisonError::into_inner);
        let own = asked.cid.and_then(|cid| list.denies(cid, ""));
        let named = match asked.object {
            Object::Path(path) => asked.dataset.and_then(|root| list.denies(root, path)),
            Object::Block { cid, .. } | Object::Piece(cid) => list.denies(cid, ""),
        };
        own.or(named)
    }

    fn token_missing(&self, asked: &Asked<'_>) -> AccessRejection {
        match &self.vouchers {
            None => AccessRejection::TokenMissing,
            Some(book) => {
                let beyond_window = asked.bytes.saturating_sub(book.terms().window_bytes);
                self.payment_required(
                    book,
                    asked.url,
                    beyond_window,
                    "open a channel and pay with a voucher".to_owned(),
                )
            }
        }
    }

    /// The price of `bytes` in all.
    fn payment_required(&self, book: &VoucherBook, url: &str, bytes: u64, reason: String) -> AccessRejection {
        let promised = book.terms().price_of(bytes.max(1));
        let header = price(book).required(url, &reason, promised);
        AccessRejection::PaymentRequired { reason, header }
    }

    /// Step 2: the grant that a voucher buys, and the header that says so.
    fn take_payment(&self, header: &str, now: UnixSeconds) -> Result<(Grant, String), AccessRejection> {
        let Some(book) = &self.vouchers else {
            return Err(AccessRejection::Unavailable("this gateway takes no payments".to_owned()));
        };
        let signed: SignedVoucher = price(book).read_payment(header)?;
        let channel = signed.voucher.channel;
        let (payer, _) = book.take(&signed).map_err(refused_payment)?;
        let bytes_max = book.bytes_max(channel).map_err(refused_payment)?;
        let grant = Grant {
            id: paid_grant_id(channel, now),
            dataset: None,
            path_prefix: String::new(),
            bytes_max: None,
            channel: Some(channel),
            expires: UnixSeconds(now.0.saturating_add(self.options.paid_grant_seconds)),
        };
        let token = grant.sign(&self.key)?;
        let response = price(book).settled(payer, &signed.voucher, &token, bytes_max);
        Ok((grant, response))
    }

    /// Step 4: takes bytes of a grant that covers what is asked for. May write a file.
    ///
    /// # Errors
    /// [`AccessRejection`]: there are not so many left, or money is needed.
    pub fn reserve(&self, grant: &Grant, bytes: u64, url: &str) -> Result<Reservation, AccessRejection> {
        let Some(channel) = grant.channel else {
            let name = format!("grant-{}", grant.id);
            return self.meter.reserve(&name, grant.bytes_max, bytes, Rounding::Up).map_err(meter_failed);
        };
        let Some(book) = &self.vouchers else {
            return Err(AccessRejection::Unavailable("this gateway takes no payments".to_owned()));
        };
        let limit = book.bytes_max(channel).map_err(refused_payment)?;
        let limit = grant.bytes_max.map_or(limit, |own| own.min(limit));
        match self.meter.reserve(&channel.to_string(), Some(limit), bytes, Rounding::Down) {
            Err(MeterError::Spent { limit, left, asked: bytes }) => {
                let used = limit.saturating_sub(left);
                let beyond = used.saturating_add(bytes).saturating_sub(book.terms().window_bytes);
                let reason = format!("{bytes} bytes are asked for, {left} are paid for or lent");
                Err(self.payment_required(book, url, beyond, reason))
            }
            reserved => reserved.map_err(meter_failed),
        }
    }
}

fn meter_failed(error: MeterError) -> AccessRejection {
    match error {
        MeterError::Spent { .. } => AccessRejection::Spent(error),
        other => AccessRejection::Unavailable(other.to_string()),
    }
}

fn price(book: &VoucherBook) -> Price {
    Price { chain: book.chain(), payee: book.payee(), terms: book.terms() }
}

fn refused_payment(error: VoucherError) -> AccessRejection {
    match error {
        VoucherError::Ledger { .. } | VoucherError::Io { .. } => AccessRejection::Unavailable(error.to_string()),
        other => AccessRejection::Payment(other),
    }
}

/// A channel's bytes are counted under its own name, so its grants need no names of their own, only different ones.
fn paid_grant_id(channel: ChannelId, now: UnixSeconds) -> GrantId {
    let digest = Sha256::new().chain_update(channel.0.to_be_bytes()).chain_update(now.0.to_be_bytes()).finalize();
    GrantId(digest[..16].try_into().expect("16 of 32 bytes"))
}

/// Whether a block is part of the dataset of a root.
pub type Holds<'a> = &'a dyn Fn(&Cid, &Cid) -> bool;

fn covers(grant: &Grant, asked: &Asked<'_>, holds: Holds<'_>) -> bool {
    let whole = grant.path_prefix.is_empty();
    let part = match (&grant.dataset, asked.object) {
        (Some(root), Object::Block { cid, .. }) if asked.dataset.is_none() => holds(root, cid),
        _ => grant.covers_dataset(asked.dataset),
    };
    part && match asked.object {
        Object::Path(path) => grant.covers_path(path),
        Object::Block { is_data, .. } => whole || !is_data,
        Object::Piece(_) => whole,
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;
    use tempfile::TempDir;

    use super::*;
    use crate::vouchers::tests::{CHAIN, OneChannel, TERMS, address, key, open, voucher};

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn root() -> Cid {
        "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap()
    }

    fn other() -> Cid {
        "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap()
    }

    struct Gate {
        _dir: TempDir,
        access: Access,
    }

    impl Gate {
        fn admit(&self, asked: &Asked<'_>) -> Result<Admission, AccessRejection> {
            self.access.admit(asked, &|_, _| false)
        }
    }

    fn gate(options: AccessOptions, paid: bool) -> Gate {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::open(&dir.path().join("meter"), 0).unwrap();
        let book = paid.then(|| open(&dir.path().join("vouchers"), &OneChannel::new()));
        let options = AccessOptions { paid_grant_seconds: 60, ..options };
        Gate { _dir: dir, access: Access::new(options, key(2), meter, book) }
    }

    fn asked<'a>(root: &'a Cid, path: &'a str, token: Option<&'a str>) -> Asked<'a> {
        let (object, url) = (Object::Path(path), "/data/x");
        Asked { dataset: Some(root), cid: None, object, bytes: 100, token, payment: None, url, now: NOW }
    }

    fn token(bytes_max: Option<u64>, path: &str, issuer: u8) -> String {
        let path_prefix = path.to_owned();
        let expires = UnixSeconds(2_000);
        let dataset = Some(root());
        let grant = Grant { id: GrantId([1; 16]), dataset, path_prefix, bytes_max, channel: None, expires };
        grant.sign(&key(issuer)).unwrap()
    }

    fn status(result: Result<Admission, AccessRejection>) -> u16 {
        result.map_or_else(|rejection| rejection.status(), |_| 200)
    }

    #[test]
    fn a_denied_object_is_served_to_nobody() {
        let denylist = Denylist::parse(&format!("/ipfs/{}/* http=451", root())).unwrap();
        let gate = gate(AccessOptions { open: true, denylist, ..AccessOptions::default() }, false);
        assert_eq!(status(gate.admit(&asked(&root(), "a", None))), 451);
        assert_eq!(status(gate.admit(&asked(&other(), "a", None))), 200);
        let (root, other) = (root(), other());
        let block = Asked { object: Object::Block { cid: &root, is_data: true }, ..asked(&other, "", None) };
        assert_eq!(status(gate.admit(&block)), 451);
        let same = Asked { cid: Some(&root), ..asked(&other, "copy", None) };
        assert_eq!(status(gate.admit(&same)), 451, "under another name it is the same object");
    }

    #[test]
    fn tokens_open_what_they_cover_and_no_more() {
        let options = AccessOptions { issuers: vec![address(9)], free: [other()].into(), ..AccessOptions::default() };
        let gate = gate(options, false);
        let good = token(None, "train", 9);
        let (root, other) = (root(), other());
        for (path, token, expected) in [
            ("train/a", Some(good.as_str()), 200),
            ("test/a", Some(good.as_str()), 403),
            ("train/a", None, 401),
            ("train/a", Some("v4.public.x"), 401),
            ("train/a", Some(token(None, "train", 8).as_str()), 401),
            ("train/a", Some(token(None, "", 2).as_str()), 200),
        ] {
            assert_eq!(status(gate.admit(&asked(&root, path, token))), expected, "{path} {token:?}");
        }
        assert_eq!(status(gate.admit(&asked(&other, "a", None))), 200, "free for all");
        let leaf = |is_data| Asked { object: Object::Block { cid: &other, is_data }, ..asked(&root, "", Some(&good)) };
        assert_eq!(status(gate.admit(&leaf(false))), 200, "needed to verify");
        assert_eq!(status(gate.admit(&leaf(true))), 403);
        let alone = Asked { dataset: None, ..leaf(false) };
        assert_eq!(status(gate.admit(&alone)), 403, "of nothing that the grant names");
        let held = gate.access.admit(&alone, &|dataset, block| *dataset == root && *block == other);
        assert_eq!(status(held), 200, "a block of the dataset, asked for by itself");
        let piece = Asked { object: Object::Piece(&other), ..asked(&root, "", Some(&good)) };
        assert_eq!(status(gate.admit(&piece)), 403);
    }

    #[test]
    fn a_key_of_another_interface_is_counted_by_itself() {
        let denylist = Denylist::parse(&format!("/ipfs/{}/denied", root())).unwrap();
        let gate = gate(AccessOptions { free: [other()].into(), denylist, ..AccessOptions::default() }, false);
        let (root, other) = (root(), other());
        let ask = |dataset: &Cid, path: &str, key| gate.access.admit_key(&asked(dataset, path, None), key);
        let limited = Some(("AKID/of+any kind", Some(250)));
        assert_eq!(status(ask(&root, "denied", limited)), 410);
        assert_eq!(status(ask(&root, "a", None)), 401);
        assert_eq!(status(ask(&other, "a", None)), 200);
        for _ in 0..2 {
            ask(&other, "a", limited).unwrap().sent(100);
        }
        assert_eq!(status(ask(&root, "a", limited)), 403, "50 of 250 are left");
        assert_eq!(status(ask(&root, "a", Some(("another", Some(250))))), 200);
        assert_eq!(status(ask(&root, "a", Some(("without a limit", None)))), 200);
    }

    #[test]
    fn a_tokens_bytes_are_those_truly_sent() {
        let gate = gate(AccessOptions { issuers: vec![address(9)], ..AccessOptions::default() }, false);
        let (root, token) = (root(), token(Some(250), "", 9));
        let ask = || gate.admit(&asked(&root, "a", Some(&token)));
        for sent in [100, 30] {
            ask().unwrap().sent(sent);
        }
        let (third, fourth) = (ask().unwrap(), ask());
        assert_eq!(status(fourth), 403, "100 of 250 are under way, 130 are used");
        third.sent(100);
        drop(third);
        assert_eq!(status(ask()), 403);
    }

    #[test]
    fn a_voucher_buys_a_token_and_its_bytes() {
        let gate = gate(AccessOptions::default(), true);
        let root = root();
        let large = Asked { bytes: 1 << 20, ..asked(&root, "a", None) };
        let refused = gate.admit(&large).unwrap_err();
        let AccessRejection::PaymentRequired { header, .. } = &refused else { panic!("{refused}") };
        assert_eq!((refused.status(), amount(header)), (402, 10), "a MiB, less the window, rounded up");

        let price = Price { chain: CHAIN, payee: address(2), terms: TERMS };
        let payment = price.write_payment(&voucher(10));
        let admission = gate.admit(&Asked { payment: Some(&payment), ..large }).unwrap();
        admission.sent(1 << 20);
        let response = json(admission.payment_response.as_ref().unwrap());
        drop(admission);
        assert_eq!(response["success"], true);
        assert_eq!(response["extra"]["bytesMax"], (1 << 20) + 1_000);
        let token = response["extra"]["token"].as_str().unwrap();

        let within = gate.admit(&Asked { bytes: 1_000, ..asked(&root, "a", Some(token)) }).unwrap();
        within.sent(1_000);
        drop(within);
        let refused = gate.admit(&Asked { bytes: 1 << 20, ..asked(&root, "a", Some(token)) }).unwrap_err();
        let AccessRejection::PaymentRequired { header, .. } = &refused else { panic!("{refused}") };
        assert_eq!(amount(header), 20, "what has to be promised in all");
        let poor = price.write_payment(&voucher(5));
        assert_eq!(status(gate.admit(&Asked { payment: Some(&poor), ..large })), 402);
        assert_eq!(status(gate.admit(&Asked { payment: Some("x"), ..large })), 400);
    }

    fn json(header: &str) -> serde_json::Value {
        use base64::Engine;
        serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(header).unwrap()).unwrap()
    }

    fn amount(header: &str) -> u64 {
        json(header)["accepts"][0]["amount"].as_str().unwrap().parse().map(Amount).unwrap().0
    }
}
