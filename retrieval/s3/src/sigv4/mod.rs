//! Signature Version 4: who sent a request, and that nobody changed it on the way.
//!
//! 1. [`Authorization::read`] takes the claim out of the request: from the `Authorization` header, or from the query of a
//!    presigned address. No claim means an anonymous request; two, or an old one (version 2), are refused.
//! 2. [`Authorization::verify`] checks day, region and service of its scope, its time against the clock that the caller
//!    gives, that `host` and every `x-amz-*` header are signed, and at last the signature over the canonical form
//!    ([`canonical`]), compared in constant time.
//! 3. What comes back is the key that signed and, for uploads, what the body must be ([`PayloadHash`]) and the key with
//!    which its chunks are signed.
//!
//! The path is canonical as S3 has it: decoded once, encoded once, never normalised.

pub mod canonical;
#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::time;

/// The only algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the clocks of two sides may be apart, in seconds.
pub const SKEW_SECONDS: u64 = 15 * 60;
/// Longest life of a presigned address in seconds: seven days.
pub const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;

type HmacSha256 = Hmac<Sha256>;

/// A secret key, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Takes the text of a key.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// What the signature says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadHash {
    /// SHA-256 of the body.
    Sha256([u8; 32]),
    /// Nothing.
    Unsigned,
    /// Each chunk is signed; with a trailer or without.
    SignedChunks {
        /// Whether a signed trailer follows.
        trailer: bool,
    },
    /// Chunks without signatures, and a trailer.
    UnsignedChunks,
}

impl PayloadHash {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "UNSIGNED-PAYLOAD" => Self::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Self::SignedChunks { trailer: false },
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Self::SignedChunks { trailer: true },
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Self::UnsignedChunks,
            digest => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(digest, &mut bytes).ok()?;
                Self::Sha256(bytes)
            }
        })
    }
}

/// Day, region and service that a signing key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// Region.
    pub region: String,
    /// Service; `s3` here.
    pub service: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// A claim of identity, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The access key.
    pub access_key: String,
    /// The scope of the signing key.
    pub scope: Scope,
    /// Names of the signed headers, in the order of the request.
    pub signed_headers: Vec<String>,
    /// When it was signed, as the request writes it.
    pub timestamp: String,
    /// Seconds that a presigned address lives; nothing for a signature in a header.
    pub expires: Option<u64>,
    /// What the signature says about the body, as the request writes it.
    pub payload: String,
    signature: Vec<u8>,
}

/// A signature that held.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What the body must be.
    pub payload: PayloadHash,
    /// What chunks of the body are signed with.
    pub chunks: ChunkSigner,
}

/// Signs what comes after the head of a request, chunk by chunk.
#[derive(Clone)]
pub struct ChunkSigner {
    key: [u8; 32],
    timestamp: String,
    scope: Scope,
    /// The signature before.
    previous: String,
}

impl std::fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkSigner").field("previous", &self.previous).finish_non_exhaustive()
    }
}

impl Authorization {
    /// The claim of a request; nothing if it is anonymous.
    ///
    /// # Errors
    /// A claim that cannot be read, one of another version, or two of them.
    pub fn read(head: &RequestHead) -> Result<Option<Self>, S3Rejection> {
        let old = head.parameter("AWSAccessKeyId").is_some() || head.parameter("Signature").is_some();
        let presigned = head.query.iter().any(|(name, _)| name.starts_with("X-Amz-") && name != "X-Amz-Security-Token");
        match (head.headers.contains_key("authorization"), presigned) {
            (true, true) => Err(S3Rejection::new(ErrorCode::InvalidArgument, "only one way to authorize, please")),
            (true, false) => Self::from_header(head).map(Some),
            (false, true) => Self::from_query(head).map(Some),
            (false, false) if old => Err(other_version()),
            (false, false) => Ok(None),
        }
    }

    fn from_header(head: &RequestHead) -> Result<Self, S3Rejection> {
        let malformed = |what: &str| S3Rejection::new(ErrorCode::AuthorizationHeaderMalformed, what);
        let text =
            head.header("authorization").ok_or_else(|| malformed("expected one Authorization header of ASCII"))?;
        let Some(rest) = text.strip_prefix(ALGORITHM) else { return Err(other_version()) };
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in rest.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => return Err(malformed("expected Credential, SignedHeaders and Signature")),
            }
        }
        let all = credential.zip(signed).zip(signature);
        let ((credential, signed), signature) =
            all.ok_or_else(|| malformed("expected Credential, SignedHeaders and Signature"))?;
        let timestamp = match head.header("x-amz-date") {
            Some(date) => date.to_owned(),
            None => {
                let date = head.header("date").and_then(time::parse_http_date);
                let missing =
                    || S3Rejection::new(ErrorCode::AccessDenied, "a signed request carries x-amz-date or Date");
                time::iso8601(date.ok_or_else(missing)?).replace(['-', ':'], "").replace(".000", "")
            }
        };
        let missing = || S3Rejection::new(ErrorCode::InvalidRequest, "a signed request carries x-amz-content-sha256");
        let payload = head.header("x-amz-content-sha256").ok_or_else(missing)?.to_owned();
        let claim = Claim { credential, signed, signature, timestamp, expires: None, payload };
        claim.parse().ok_or_else(|| malformed("the credential or the signature has another form"))
    }

    fn from_query(head: &RequestHead) -> Result<Self, S3Rejection> {
        let malformed = |what: &str| S3Rejection::new(ErrorCode::AuthorizationQueryParametersError, what);
        let parameter = |name: &str| {
            let mut values = head.query.iter().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (Some((_, value)), None) => Ok(value.as_str()),
                _ => Err(malformed(&format!("expected {name} once"))),
            }
        };
        if parameter("X-Amz-Algorithm")? != ALGORITHM {
            return Err(other_version());
        }
        let expires = parameter("X-Amz-Expires")?;
        let in_range = |seconds: &u64| (1..=EXPIRES_SECONDS_MAX).contains(seconds);
        let expires = expires.parse().ok().filter(in_range);
        let claim = Claim {
            credential: parameter("X-Amz-Credential")?,
            signed: parameter("X-Amz-SignedHeaders")?,
            signature: parameter("X-Amz-Signature")?,
            timestamp: parameter("X-Amz-Date")?.to_owned(),
            expires: Some(expires.ok_or_else(|| malformed("X-Amz-Expires is a number from 1 to 604800"))?),
            payload: head.header("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned(),
        };
        claim.parse().ok_or_else(|| malformed("the credential or the signature has another form"))
    }

    /// Checks the claim against a secret, a region and a clock (`now` in seconds since 1970).
    ///
    /// # Errors
    /// What is wrong with it, from the scope to the signature.
    pub fn verify(
        &self,
        head: &RequestHead,
        secret: &SecretKey,
        region: &str,
        now: u64,
    ) -> Result<Verified, S3Rejection> {
        self.check_scope(region)?;
        self.check_time(now)?;
        self.check_coverage(head)?;
        let payload = PayloadHash::read(&self.payload).ok_or_else(|| {
            S3Rejection::new(ErrorCode::InvalidArgument, "x-amz-content-sha256 is neither a digest nor a known word")
        })?;
        let request = canonical::request(head, self)?;
        let key = signing_key(secret, &self.scope);
        let to_sign = string_to_sign(ALGORITHM, &self.timestamp, &self.scope, &canonical::digest(request.as_bytes()));
        let mut mac = hmac(&key);
        mac.update(to_sign.as_bytes());
        if mac.verify_slice(&self.signature).is_err() {
            return Err(ErrorCode::SignatureDoesNotMatch.into());
        }
        let previous = hex::encode(&self.signature);
        let chunks = ChunkSigner { key, timestamp: self.timestamp.clone(), scope: self.scope.clone(), previous };
        Ok(Verified { payload, chunks })
    }

    fn malformed(&self, what: String) -> S3Rejection {
        let code = match self.expires {
            None => ErrorCode::AuthorizationHeaderMalformed,
            Some(_) => ErrorCode::AuthorizationQueryParametersError,
        };
        S3Rejection::new(code, what)
    }

    fn check_scope(&self, region: &str) -> Result<(), S3Rejection> {
        let Scope { date, region: got, service } = &self.scope;
        if got != region {
            return Err(self.malformed(format!("the region {got:?} is wrong; expecting {region:?}")));
        }
        if service != "s3" {
            return Err(self.malformed(format!("the service {service:?} is wrong; expecting \"s3\"")));
        }
        if self.timestamp.get(..8) != Some(date) {
            return Err(
                self.malformed(format!("the credential is for {date:?}, the request from {:?}", self.timestamp))
            );
        }
        Ok(())
    }

    fn check_time(&self, now: u64) -> Result<(), S3Rejection> {
        let signed = time::parse_basic(&self.timestamp);
        let signed = signed.ok_or_else(|| self.malformed("the date is not YYYYMMDDTHHMMSSZ".into()))?;
        let Some(expires) = self.expires else {
            let fits = signed.abs_diff(now) <= SKEW_SECONDS;
            return if fits { Ok(()) } else { Err(ErrorCode::RequestTimeTooSkewed.into()) };
        };
        if signed > now + SKEW_SECONDS {
            return Err(S3Rejection::new(ErrorCode::AccessDenied, "the presigned address is not valid yet"));
        }
        if now > signed + expires {
            return Err(S3Rejection::new(ErrorCode::AccessDenied, "the presigned address has expired"));
        }
        Ok(())
    }

    /// Whatever a server acts on must be under the signature.
    fn check_coverage(&self, head: &RequestHead) -> Result<(), S3Rejection> {
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        if !signed("host") {
            return Err(self.malformed("host must be signed".into()));
        }
        let loose = head.headers.keys().find(|name| name.as_str().starts_with("x-amz-") && !signed(name.as_str()));
        match loose {
            Some(name) => Err(S3Rejection::new(ErrorCode::AccessDenied, format!("the header {name} is not signed"))),
            None => Ok(()),
        }
    }
}

impl ChunkSigner {
    /// Checks the signature of the next chunk, whose data has this SHA-256.
    pub fn verify_chunk(&mut self, data_sha256: &[u8; 32], signature: &str) -> bool {
        let empty = canonical::digest(b"");
        let hashes = format!("{}\n{empty}\n{}", self.previous, hex::encode(data_sha256));
        self.verify(&format!("{ALGORITHM}-PAYLOAD"), &hashes, signature)
    }

    /// Checks the signature of the trailer, whose lines have this SHA-256.
    pub fn verify_trailer(&mut self, lines_sha256: &[u8; 32], signature: &str) -> bool {
        let hashes = format!("{}\n{}", self.previous, hex::encode(lines_sha256));
        self.verify(&format!("{ALGORITHM}-TRAILER"), &hashes, signature)
    }

    fn verify(&mut self, algorithm: &str, hashes: &str, signature: &str) -> bool {
        let mut got = [0; 32];
        if hex::decode_to_slice(signature, &mut got).is_err() {
            return false;
        }
        let mut mac = hmac(&self.key);
        mac.update(string_to_sign(algorithm, &self.timestamp, &self.scope, hashes).as_bytes());
        self.previous = signature.to_ascii_lowercase();
        mac.verify_slice(&got).is_ok()
    }
}

/// The parts of a claim as text.
struct Claim<'a> {
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
    timestamp: String,
    expires: Option<u64>,
    payload: String,
}

impl Claim<'_> {
    fn parse(self) -> Option<Authorization> {
        // From the right: an access key may hold slashes.
        let mut parts = self.credential.rsplitn(5, '/');
        let (end, service, region, date, access_key) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let mut signature = [0; 32];
        hex::decode_to_slice(self.signature, &mut signature).ok()?;
        let scope = Scope { date: date.into(), region: region.into(), service: service.into() };
        (end == "aws4_request").then(|| Authorization {
            access_key: access_key.into(),
            scope,
            signed_headers: self.signed.split(';').map(str::to_owned).collect(),
            timestamp: self.timestamp,
            expires: self.expires,
            payload: self.payload,
            signature: signature.to_vec(),
        })
    }
}

/// Signs a head as a client would, in its `authorization` header.
#[cfg(test)]
pub(crate) fn sign(head: &mut RequestHead, access_key: &str, secret: &str, timestamp: &str) {
    let scope = Scope { date: timestamp[..8].into(), region: "us-east-1".into(), service: "s3".into() };
    head.headers.insert("host", "s3.test".parse().expect("ASCII"));
    head.headers.insert("x-amz-date", timestamp.parse().expect("ASCII"));
    let mut signed_headers: Vec<String> = head.headers.keys().map(|name| name.as_str().to_owned()).collect();
    signed_headers.sort();
    let payload = head.header("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned();
    let (access_key, timestamp) = (access_key.to_owned(), timestamp.to_owned());
    let claim =
        Authorization { access_key, scope, signed_headers, timestamp, expires: None, payload, signature: vec![] };
    let request = canonical::request(head, &claim).expect("headers that are there");
    let to_sign = string_to_sign(ALGORITHM, &claim.timestamp, &claim.scope, &canonical::digest(request.as_bytes()));
    let mut mac = hmac(&signing_key(&SecretKey::new(secret.to_owned()), &claim.scope));
    mac.update(to_sign.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let (key, scope, signed) = (&claim.access_key, &claim.scope, claim.signed_headers.join(";"));
    let text = format!("{ALGORITHM} Credential={key}/{scope},SignedHeaders={signed},Signature={signature}");
    head.headers.insert("authorization", text.parse().expect("ASCII"));
}

fn other_version() -> S3Rejection {
    let message = "only AWS4-HMAC-SHA256 is taken (boto3: signature_version='s3v4')";
    S3Rejection::new(ErrorCode::InvalidRequest, message)
}

fn hmac(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("a key of any length")
}

fn signing_key(secret: &SecretKey, scope: &Scope) -> [u8; 32] {
    let first = format!("AWS4{}", secret.0).into_bytes();
    let parts = [scope.date.as_str(), &scope.region, &scope.service, "aws4_request"];
    let key = parts.iter().fold(first, |key, part| {
        let mut mac = hmac(&key);
        mac.update(part.as_bytes());
        mac.finalize().into_bytes().to_vec()
    });
    key.try_into().expect("32 bytes of HMAC-SHA-256")
}

fn string_to_sign(algorithm: &str, timestamp: &str, scope: &Scope, hashes: &str) -> String {
    format!("{algorithm}\n{timestamp}\n{scope}\n{hashes}")
}
