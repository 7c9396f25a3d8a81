//! A key in a file: who may sign in the name of an address.
//!
//! ```json
//! { "format": 1, "what": "cairn signing key", "grade": "production", "address": "…", "secret": "…" }
//! ```
//!
//! The file is made with access for its owner alone, and refused while others may read it. Its grade says what the key is
//! good for: keys that came out of a development network's settings, which lie about in plain files, are of development
//! grade and sign for such networks alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use cairn_ledger::{Address, address_of};
use cairn_protocol::bytes32::serde32;
use cairn_rpc::wire::NetworkGrade;
use ed25519_consensus::SigningKey;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::secret_file::{self, Readers};

const FORMAT: u32 = 1;
const WHAT: &str = "cairn signing key";
/// Nothing longer is a key file.
const BYTES_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    what: String,
    grade: NetworkGrade,
    address: Address,
    #[serde(with = "serde32")]
    secret: [u8; 32],
}

/// A key and what it is good for.
pub struct KeyFile {
    /// Signs.
    pub key: SigningKey,
    /// For which networks.
    pub grade: NetworkGrade,
}

impl KeyFile {
    /// A key that nobody had before.
    pub fn generate(grade: NetworkGrade) -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self { key: SigningKey::from(secret), grade }
    }

    /// The account that it signs for.
    pub fn address(&self) -> Address {
        address_of(&self.key)
    }

    /// Makes the file; never replaces one.
    ///
    /// # Errors
    /// A file of that name, or a folder that cannot be written.
    pub fn write_new(&self, path: &Path) -> anyhow::Result<()> {
        let (format, what, grade) = (FORMAT, WHAT.to_owned(), self.grade);
        let content = Content { format, what, grade, address: self.address(), secret: self.key.to_bytes() };
        let text = serde_json::to_string_pretty(&content).expect("a record of strings") + "\n";
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot make the key file {}", path.display()))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// A file that is none, or that others than its owner may read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("key file {}", path.display());
        let bytes = secret_file::read(path, Readers::Owner, BYTES_MAX)?;
        let text = String::from_utf8(bytes).with_context(place)?;
        Self::parse(&text).with_context(place)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let Content { format, what, grade, address, secret } = serde_json::from_str(text)?;
        ensure!(what == WHAT, "what: expected {WHAT:?}, got {what:?}");
        ensure!(format == FORMAT, "format: expected {FORMAT}, got {format}");
        let read = Self { key: SigningKey::from(secret), grade };
        let expected = read.address();
        ensure!(address == expected, "the secret is of address {expected}, the file says {address}");
        Ok(read)
    }

    /// Refuses a development key for anything but a development network.
    ///
    /// # Errors
    /// If the key is of development grade and the network is not.
    pub fn check_for(&self, network: NetworkGrade) -> anyhow::Result<()> {
        match (self.grade, network) {
            (NetworkGrade::Development, NetworkGrade::Production) => bail!(
                "the key is of development grade and the ledger is not: expected a key made by `cairn wallet new`"
            ),
            _ => Ok(()),
        }
    }
}

/// The key of a role out of a development network's settings.
///
/// # Errors
/// Settings that cannot be read, or a role that is not in them.
pub fn from_devnet(dir: &Path, role: &str) -> anyhow::Result<KeyFile> {
    let path = dir.join("devnet.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let secret = settings.get(format!("{role}_key")).and_then(|secret| secret.as_str());
    let secret = secret.with_context(|| format!("{}: no key of the {role}", path.display()))?;
    let secret = cairn_protocol::bytes32::parse_hex32(secret).with_context(|| path.display().to_string())?;
    Ok(KeyFile { key: SigningKey::from(secret), grade: NetworkGrade::Development })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = KeyFile::generate(NetworkGrade::Production);
        made.write_new(&path).unwrap();
        assert_eq!(KeyFile::read(&path).unwrap().address(), made.address());
        assert!(made.write_new(&path).is_err(), "never replaced");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyFile::read(&path).err().unwrap().to_string();
        assert!(error.contains("expected mode 600, got 644"), "{error}");
    }

    #[test]
    fn a_damaged_file_and_a_key_of_the_wrong_grade_are_refused() {
        let key = KeyFile::generate(NetworkGrade::Development);
        assert!(key.check_for(NetworkGrade::Development).is_ok() && key.check_for(NetworkGrade::Production).is_err());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        key.write_new(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let other = KeyFile::generate(NetworkGrade::Development).address().to_string();
        for (damage, says) in [
            (text.replace(&key.address().to_string(), &other), "the secret is of address"),
            (text.replace(WHAT, "something"), "what: expected"),
            (text.replace("\"format\": 1", "\"format\": 2"), "format: expected 1, got 2"),
            (String::new(), "EOF"),
        ] {
            let error = KeyFile::parse(&damage).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
