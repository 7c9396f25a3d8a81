//! Capability tokens: what a bearer may read, signed by somebody whom the gateway trusts.
//!
//! A token is a PASETO `v4.public` (Ed25519) whose claims are
//!
//! ```json
//! {"jti": "<32 hex digits>", "dataset": "<root CID>", "path": "train", "bytes": 1000000, "channel": 7, "exp": "2026-11-22T10:00:00Z"}
//! ```
//!
//! - `dataset` may be missing: then it covers every dataset. `path` is a prefix in whole names: `train` covers `train` and
//!   `train/a.tar`, not `training/a.tar`; empty, it covers the dataset with its pieces and blocks.
//! - `bytes` may be missing: then the number is not limited. `channel` ties the grant to a payment channel, whose vouchers
//!   say how many bytes are paid for.
//! - `exp` is required, and the first second at which the token is void.
//!
//! The signature also covers [`DOMAIN`], which is not in the token, so that no other signature of the same key can pass
//! for a grant. Unknown claims are refused: a limit that is not understood is a limit that is not kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_ledger::Address;
use cairn_ledger::payments::ChannelId;
use cid::Cid;
use ed25519_consensus::{SigningKey, VerificationKey};
use pasetors::Public;
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::UnixSeconds;

/// What a grant's signature covers beside the token.
const DOMAIN: &[u8] = b"cairn gateway grant v1";

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// Names a grant; whoever issues it draws it at random, so that its bytes are counted apart from all others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(pub [u8; 16]);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What a bearer may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// Root of the dataset; none: all of them.
    pub dataset: Option<Cid>,
    /// Path prefix within it, without slashes at its ends; empty: everything.
    pub path_prefix: String,
    /// Bytes that may be read in all.
    pub bytes_max: Option<u64>,
    /// The payment channel that pays for them.
    pub channel: Option<ChannelId>,
    /// First second at which it is void.
    pub expires: UnixSeconds,
}

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum GrantRejection {
    /// More than any token has.
    #[error("the token has {got} bytes, at most {TOKEN_BYTES_MAX} are read")]
    TooLong { got: usize },
    /// Not a PASETO v4.public.
    #[error("the token is not a PASETO v4.public")]
    Form,
    /// Signed by nobody whom the gateway trusts.
    #[error("the token is not signed by a key that this gateway trusts")]
    Signature,
    /// Claims that are not understood.
    #[error("the token's claims: {detail}")]
    Claims { detail: String },
    /// Too late.
    #[error("the token expired at {expired}, it is {now} (seconds since 1970)")]
    Expired { expired: u64, now: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<u64>,
    exp: String,
}

impl Grant {
    /// The token, signed.
    ///
    /// # Errors
    /// [`GrantRejection::Claims`] if the grant cannot be written: a path that is not in its normal form, or a time beyond
    /// the year 9999.
    pub fn sign(&self, key: &SigningKey) -> Result<String, GrantRejection> {
        check_prefix(&self.path_prefix)?;
        let exp = i64::try_from(self.expires.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|time| time.format(&Rfc3339).ok())
            .ok_or_else(|| claims("exp lies beyond the year 9999"))?;
        let claims = Claims {
            jti: self.id.to_string(),
            dataset: self.dataset.map(|root| root.to_string()),
            path: self.path_prefix.clone(),
            bytes: self.bytes_max,
            channel: self.channel.map(|channel| channel.0),
            exp,
        };
        let message = serde_json::to_vec(&claims).expect("text and numbers");
        let pair = [key.to_bytes(), VerificationKey::from(key).to_bytes()].concat();
        let secret = AsymmetricSecretKey::<V4>::from(&pair).expect("a seed and its own public key");
        Ok(PublicToken::sign(&secret, &message, None, Some(DOMAIN)).expect("claims are not empty"))
    }

    /// Reads a token that one of `issuers` signed and that is not void at `now`.
    ///
    /// # Errors
    /// [`GrantRejection`].
    pub fn verify(token: &str, issuers: &[Address], now: UnixSeconds) -> Result<Self, GrantRejection> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(GrantRejection::TooLong { got: token.len() });
        }
        let untrusted = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| GrantRejection::Form)?;
        let payload = issuers.iter().find_map(|issuer| {
            let key = AsymmetricPublicKey::<V4>::from(&issuer.0).ok()?;
            let trusted = PublicToken::verify(&key, &untrusted, None, Some(DOMAIN)).ok()?;
            Some(trusted.payload().to_owned())
        });
        let grant = Self::from_claims(&payload.ok_or(GrantRejection::Signature)?)?;
        grant.check_time(now)?;
        Ok(grant)
    }

    fn check_time(&self, now: UnixSeconds) -> Result<(), GrantRejection> {
        if now >= self.expires {
            return Err(GrantRejection::Expired { expired: self.expires.0, now: now.0 });
        }
        Ok(())
    }

    /// The claims of a token whose signature holds.
    ///
    /// # Errors
    /// [`GrantRejection::Claims`].
    pub fn from_claims(json: &str) -> Result<Self, GrantRejection> {
        let read: Claims = serde_json::from_str(json).map_err(|error| claims(error.to_string()))?;
        let mut id = [0; 16];
        hex::decode_to_slice(&read.jti, &mut id).map_err(|_| claims("jti: expected 32 hex digits"))?;
        let dataset = read.dataset.map(|text| Cid::try_from(text.as_str())).transpose();
        let dataset = dataset.map_err(|error| claims(format!("dataset: {error}")))?;
        check_prefix(&read.path)?;
        let exp = OffsetDateTime::parse(&read.exp, &Rfc3339).map_err(|error| claims(format!("exp: {error}")))?;
        let expires = u64::try_from(exp.unix_timestamp()).map_err(|_| claims("exp lies before 1970"))?;
        Ok(Self {
            id: GrantId(id),
            dataset,
            path_prefix: read.path,
            bytes_max: read.bytes,
            channel: read.channel.map(ChannelId),
            expires: UnixSeconds(expires),
        })
    }

    /// Whether the prefix covers a path, name by name.
    pub fn covers_path(&self, path: &str) -> bool {
        match path.strip_prefix(self.path_prefix.as_str()) {
            Some(rest) => self.path_prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether it covers a dataset at all.
    pub fn covers_dataset(&self, root: Option<&Cid>) -> bool {
        self.dataset.is_none() || self.dataset.as_ref() == root
    }
}

/// Tokens that a verifier remembers; each is some 200 bytes.
const REMEMBERED_MAX: usize = 4096;

/// Reads tokens of some issuers, and remembers what it has read: a loader sends one token with thousands of small requests, and
/// its signature takes longer to check than a small range to send. A token is remembered by its SHA-256.
pub struct GrantVerifier {
    issuers: Vec<Address>,
    verified: Mutex<HashMap<[u8; 32], Grant>>,
}

impl GrantVerifier {
    /// For tokens of `issuers`.
    pub fn new(issuers: Vec<Address>) -> Self {
        Self { issuers, verified: Mutex::default() }
    }

    /// As [`Grant::verify`], with the same outcome at every time.
    ///
    /// # Errors
    /// [`GrantRejection`].
    pub fn verify(&self, token: &str, now: UnixSeconds) -> Result<Grant, GrantRejection> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(GrantRejection::TooLong { got: token.len() });
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(grant) = self.lock().get(&digest) {
            grant.check_time(now)?;
            return Ok(grant.clone());
        }
        let grant = Grant::verify(token, &self.issuers, now)?;
        let mut verified = self.lock();
        if verified.len() >= REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(digest, grant.clone());
        Ok(grant)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Grant>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn claims(detail: impl Into<String>) -> GrantRejection {
    GrantRejection::Claims { detail: detail.into() }
}

/// One form for each prefix: what covers more or less than it seems to is refused.
fn check_prefix(path: &str) -> Result<(), GrantRejection> {
    let names = path.split('/');
    if path.is_empty() || names.clone().all(|name| !name.is_empty() && name != "." && name != "..") {
        return Ok(());
    }
    Err(claims(format!("path {path:?}: expected names separated by one slash each, without . and ..")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from([number; 32])
    }

    fn address(number: u8) -> Address {
        Address(VerificationKey::from(&key(number)).to_bytes())
    }

    fn grant() -> Grant {
        Grant {
            id: GrantId([7; 16]),
            dataset: Some("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap()),
            path_prefix: "train/part-1".to_owned(),
            bytes_max: Some(1 << 30),
            channel: None,
            expires: UnixSeconds(1_800_000_000),
        }
    }

    #[test]
    fn what_was_read_once_still_expires_and_others_are_read_anew() {
        let verifier = GrantVerifier::new(vec![address(1)]);
        let token = grant().sign(&key(1)).unwrap();
        for _ in 0..2 {
            assert_eq!(verifier.verify(&token, UnixSeconds(1_799_999_999)).unwrap(), grant());
            let late = verifier.verify(&token, UnixSeconds(1_800_000_000)).unwrap_err();
            assert!(matches!(late, GrantRejection::Expired { .. }));
            let foreign = grant().sign(&key(2)).unwrap();
            assert!(matches!(verifier.verify(&foreign, UnixSeconds(1)), Err(GrantRejection::Signature)));
            assert!(matches!(
                verifier.verify(&token[..token.len() - 1], UnixSeconds(1)),
                Err(GrantRejection::Form | GrantRejection::Signature)
            ));
        }
        for number in 0..=REMEMBERED_MAX as u64 {
            verifier.lock().insert(Sha256::digest(number.to_be_bytes()).into(), grant());
        }
        let more = Grant { id: GrantId([8; 16]), ..grant() };
        assert_eq!(verifier.verify(&more.sign(&key(1)).unwrap(), UnixSeconds(1)).unwrap(), more);
        assert_eq!(verifier.lock().len(), 1, "bounded");
    }

    #[test]
    fn comes_back_as_it_was_signed() {
        let all = Grant { dataset: None, path_prefix: String::new(), bytes_max: None, ..grant() };
        let paid = Grant { channel: Some(ChannelId(9)), ..grant() };
        for grant in [grant(), all, paid] {
            let token = grant.sign(&key(1)).unwrap();
            assert!(token.starts_with("v4.public."));
            let read = Grant::verify(&token, &[address(2), address(1)], UnixSeconds(1_799_999_999)).unwrap();
            assert_eq!(read, grant);
        }
    }

    #[test]
    fn is_void_at_its_end_and_under_other_keys() {
        let token = grant().sign(&key(1)).unwrap();
        let at = |seconds, issuer| Grant::verify(&token, &[address(issuer)], UnixSeconds(seconds));
        let expired = GrantRejection::Expired { expired: 1_800_000_000, now: 1_800_000_000 };
        assert_eq!(at(1_800_000_000, 1), Err(expired));
        assert_eq!(at(0, 2), Err(GrantRejection::Signature));
        assert_eq!(Grant::verify(&token, &[], UnixSeconds(0)), Err(GrantRejection::Signature));
    }

    #[test]
    fn another_signature_of_the_same_key_is_no_grant() {
        let pair = [key(1).to_bytes(), VerificationKey::from(&key(1)).to_bytes()].concat();
        let secret = AsymmetricSecretKey::<V4>::from(&pair).unwrap();
        let message = br#"{"jti":"07070707070707070707070707070707","exp":"2030-01-01T00:00:00Z"}"#;
        let foreign = PublicToken::sign(&secret, message, None, None).unwrap();
        assert_eq!(Grant::verify(&foreign, &[address(1)], UnixSeconds(0)), Err(GrantRejection::Signature));
        let ours = PublicToken::sign(&secret, message, None, Some(DOMAIN)).unwrap();
        assert!(Grant::verify(&ours, &[address(1)], UnixSeconds(0)).is_ok());
    }

    #[test]
    fn unknown_and_damaged_claims_are_refused() {
        let good = r#"{"jti":"07070707070707070707070707070707","exp":"2030-01-01T00:00:00Z"}"#;
        assert!(Grant::from_claims(good).is_ok());
        for (from, to) in [
            ("\"exp\"", "\"rate\":1,\"exp\""),
            ("0707", "07"),
            ("2030-01-01", "tomorrow"),
            ("2030", "1960"),
            ("\"exp\"", "\"path\":\"a//b\",\"exp\""),
            ("\"exp\"", "\"path\":\"a/../b\",\"exp\""),
            ("\"exp\"", "\"bytes\":-1,\"exp\""),
            ("\"exp\"", "\"dataset\":\"x\",\"exp\""),
        ] {
            let bad = good.replace(from, to);
            assert!(matches!(Grant::from_claims(&bad), Err(GrantRejection::Claims { .. })), "{bad}");
        }
    }

    #[test]
    fn prefixes_cover_whole_names() {
        let grant = grant();
        for (path, covered) in
            [("train/part-1", true), ("train/part-1/a", true), ("train/part-10", false), ("train", false), ("", false)]
        {
            assert_eq!(grant.covers_path(path), covered, "{path}");
        }
        assert!(Grant { path_prefix: String::new(), ..grant }.covers_path("any/thing"));
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(position in 10usize..200, flip in 1u8..64) {
            let token = grant().sign(&key(1)).unwrap();
            let mut bytes = token.clone().into_bytes();
            let position = position % bytes.len();
            bytes[position] ^= flip;
            prop_assume!(bytes != token.as_bytes());
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(Grant::verify(&text, &[address(1)], UnixSeconds(0)).is_err());
            }
        }

        #[test]
        fn foreign_text_never_panics(text in "\\PC{0,300}") {
            let _ = Grant::verify(&text, &[address(1)], UnixSeconds(0));
            let _ = Grant::from_claims(&text);
        }
    }
}
