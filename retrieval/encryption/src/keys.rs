//! The dataset key, and the file that carries it wrapped for each who may read.

use std::fmt;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::EncryptionRejection;

/// Largest key file, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 1 << 20;
const GRANTS_MAX: usize = 1024;
const WRAPPED_BYTES_MAX: usize = 4096;
const IDENTITIES_MAX: usize = 16;
const FORMAT: &str = "cairn-keys";
const VERSION: u64 = 1;
const ID_INFO: &[u8] = b"cairn-encryption v1 key id";

/// Names a dataset key without telling it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret of a dataset. It is wiped when dropped and never shown.
pub struct DatasetKey(Zeroizing<[u8; 32]>);

impl DatasetKey {
    /// A key from random bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its public name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        Hkdf::<Sha256>::new(None, self.expose()).expand(ID_INFO, &mut id).expect("16 bytes are less than a block");
        KeyId(id)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DatasetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatasetKey({})", self.id())
    }
}

/// Somebody who may be granted a key: an X25519 recipient of age (`age1..`).
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = EncryptionRejection;

    fn from_str(text: &str) -> Result<Self, EncryptionRejection> {
        let wrong = |why| EncryptionRejection::Recipient { got: text.chars().take(80).collect(), why };
        let recipient: age::x25519::Recipient = text.parse().map_err(wrong)?;
        if recipient.to_string() != text {
            return Err(wrong("not written as age writes it"));
        }
        Ok(Self(recipient))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Secret identities of one reader.
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// Reads a file as `age-keygen` writes it: one secret per line, lines of `#`, empty lines.
    ///
    /// # Errors
    /// [`EncryptionRejection::Identity`].
    pub fn parse(text: &str) -> Result<Self, EncryptionRejection> {
        let mut identities = Vec::new();
        let mut lines = 0;
        for (index, line) in text.lines().enumerate() {
            lines = index + 1;
            let wrong = |why| EncryptionRejection::Identity { line: lines, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            identities.push(line.parse().map_err(wrong)?);
            if identities.len() > IDENTITIES_MAX {
                return Err(wrong("more than 16 identities"));
            }
        }
        if identities.is_empty() {
            return Err(EncryptionRejection::Identity { line: lines, why: "no identity at all" });
        }
        Ok(Self(identities))
    }

    /// The recipients that these identities are.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(|identity| Recipient(identity.to_public())).collect()
    }
}

/// A new identity as lines of a file, and its recipient.
pub fn new_identity() -> (Zeroizing<String>, Recipient) {
    let identity = age::x25519::Identity::generate();
    let recipient = Recipient(identity.to_public());
    let text = format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret());
    (Zeroizing::new(text), recipient)
}

/// The key of a dataset, wrapped for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who can unwrap it.
    pub recipient: Recipient,
    /// An age file of the 32 bytes.
    wrapped: Vec<u8>,
}

/// `cairn-keys.json`: which key a dataset has, and who can unwrap it.
///
/// ```json
/// { "format": "cairn-keys", "version": 1, "key_id": "<32 hex digits>",
///   "grants": [ { "recipient": "age1..", "wrapped": "<base64 of an age file that holds the 32 bytes>" } ] }
/// ```
///
/// One to 1024 grants, none of them double; unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    key: KeyId,
    grants: Vec<Grant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    version: u64,
    key_id: String,
    grants: Vec<WrittenGrant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGrant {
    recipient: String,
    wrapped: String,
}

impl KeyFile {
    /// Wraps a key for its first recipients.
    ///
    /// # Errors
    /// [`EncryptionRejection::KeyFile`] for none, a double one, or too many.
    pub fn new(key: &DatasetKey, recipients: &[Recipient]) -> Result<Self, EncryptionRejection> {
        let mut file = Self { key: key.id(), grants: Vec::new() };
        recipients.iter().try_for_each(|recipient| file.grant(key, recipient))?;
        if file.grants.is_empty() {
            return Err(wrong("grants", "at least one recipient", 0));
        }
        Ok(file)
    }

    /// Wraps the key for one more recipient.
    ///
    /// # Errors
    /// [`EncryptionRejection::KeyFile`] for a recipient that has it, or one too many; [`EncryptionRejection::WrongKey`].
    pub fn grant(&mut self, key: &DatasetKey, recipient: &Recipient) -> Result<(), EncryptionRejection> {
        if key.id() != self.key {
            return Err(EncryptionRejection::WrongKey { file: "key file".into(), expected: self.key, got: key.id() });
        }
        let wrapped = age::encrypt(&recipient.0, key.expose()).expect("writing to memory does not fail");
        self.add(Grant { recipient: recipient.clone(), wrapped })
    }

    fn add(&mut self, grant: Grant) -> Result<(), EncryptionRejection> {
        if self.grants.iter().any(|known| known.recipient == grant.recipient) {
            return Err(wrong("grants", "each recipient once", format!("{} twice", grant.recipient)));
        }
        if self.grants.len() == GRANTS_MAX {
            return Err(wrong("grants", "at most 1024 recipients", "one more"));
        }
        self.grants.push(grant);
        Ok(())
    }

    /// Which key it is.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// Who can unwrap it, in the file's order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Unwraps the key with the first identity that it was granted to.
    ///
    /// # Errors
    /// [`EncryptionRejection::NotGranted`], [`EncryptionRejection::WrappedKey`].
    pub fn unlock(&self, identities: &Identities) -> Result<DatasetKey, EncryptionRejection> {
        for identity in &identities.0 {
            let recipient = identity.to_public();
            if let Some(grant) = self.grants.iter().find(|grant| grant.recipient.0 == recipient) {
                return self.unwrap(grant, identity);
            }
        }
        let (key, granted, identities) = (self.key, self.grants.len(), identities.recipients());
        Err(EncryptionRejection::NotGranted { key, granted, identities })
    }

    fn unwrap(&self, grant: &Grant, identity: &age::x25519::Identity) -> Result<DatasetKey, EncryptionRejection> {
        let damaged = |why: String| EncryptionRejection::WrappedKey { recipient: grant.recipient.clone(), why };
        let bytes = age::decrypt(identity, &grant.wrapped).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| damaged(error.to_string()))?;
        let secret = <[u8; 32]>::try_from(&bytes[..])
            .map_err(|_| damaged(format!("expected a key of 32 bytes, got {}", bytes.len())))?;
        let key = DatasetKey::new(Zeroizing::new(secret));
        if key.id() != self.key {
            return Err(damaged(format!("expected the key {}, got {}", self.key, key.id())));
        }
        Ok(key)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`EncryptionRejection::KeyFile`], [`EncryptionRejection::Version`], [`EncryptionRejection::Recipient`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EncryptionRejection> {
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(wrong("length", "at most 1048576 bytes", bytes.len()));
        }
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| wrong("JSON", "the fields of a key file", error))?;
        if written.format != FORMAT {
            return Err(wrong("format", FORMAT, format!("{:?}", short(&written.format))));
        }
        if written.version != VERSION {
            let (what, expected) = ("key file".into(), VERSION);
            return Err(EncryptionRejection::Version { what, expected, got: written.version });
        }
        let key = read_key_id(&written.key_id)?;
        let mut file = Self { key, grants: Vec::new() };
        for grant in &written.grants {
            file.add(Grant { recipient: grant.recipient.parse()?, wrapped: read_wrapped(&grant.wrapped)? })?;
        }
        if file.grants.is_empty() {
            return Err(wrong("grants", "at least one recipient", 0));
        }
        Ok(file)
    }

    /// Writes the file.
    pub fn to_json(&self) -> String {
        let grants = self.grants.iter().map(|grant| WrittenGrant {
            recipient: grant.recipient.to_string(),
            wrapped: STANDARD.encode(&grant.wrapped),
        });
        let written =
            Written { format: FORMAT.into(), version: VERSION, key_id: self.key.to_string(), grants: grants.collect() };
        serde_json::to_string_pretty(&written).expect("strings and numbers") + "\n"
    }
}

fn read_key_id(text: &str) -> Result<KeyId, EncryptionRejection> {
    let mut id = [0; 16];
    let lawful = hex::decode_to_slice(text, &mut id).is_ok() && hex::encode(id) == text;
    if lawful { Ok(KeyId(id)) } else { Err(wrong("key_id", "32 lower-case hex digits", format!("{:?}", short(text)))) }
}

fn read_wrapped(text: &str) -> Result<Vec<u8>, EncryptionRejection> {
    if text.len() > WRAPPED_BYTES_MAX * 4 / 3 {
        return Err(wrong("wrapped", "an age file of at most 4096 bytes", format!("{} characters", text.len())));
    }
    STANDARD.decode(text).map_err(|error| wrong("wrapped", "base64", error))
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn wrong(what: &str, expected: &str, got: impl fmt::Display) -> EncryptionRejection {
    EncryptionRejection::KeyFile { what: what.into(), expected: expected.into(), got: got.to_string() }
}

#[cfg(test)]
mod tests;
