//! The files of a validator's folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cairn_consensus::{Genesis, Network};
use cairn_protocol::bytes32::serde32;
use ed25519_consensus::SigningKey;
use rand::Rng;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;
const KEY_NAME: &str = "validator.key";
const SETTINGS_NAME: &str = "validator.json";
const GENESIS_NAME: &str = "genesis.json";
const LEDGER_NAME: &str = "ledger";

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyGrade {
    /// Made together with the keys of others.
    Development,
    /// Made by its operator.
    Operator,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    grade: KeyGrade,
    #[serde(with = "serde32")]
    key: [u8; 32],
}

/// Where a validator is, and the others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    format: u32,
    /// For peers.
    pub listen: Option<SocketAddr>,
    /// The others.
    pub peers: Vec<SocketAddr>,
    /// For late nodes.
    pub snapshots: Option<SocketAddr>,
    /// Where the others are for late nodes.
    #[serde(default)]
    pub snapshot_peers: Vec<SocketAddr>,
}

/// Two addresses of one validator.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// For peers.
    pub listen: SocketAddr,
    /// For late nodes.
    pub snapshots: SocketAddr,
}

impl Settings {
    /// Of this version.
    pub fn new(own: Place, others: &[Place]) -> Self {
        Self {
            format: FORMAT,
            listen: Some(own.listen),
            peers: others.iter().map(|other| other.listen).collect(),
            snapshots: Some(own.snapshots),
            snapshot_peers: others.iter().map(|other| other.snapshots).collect(),
        }
    }
}

/// A validator's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// Names it; touches nothing.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Blocks and state.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join(LEDGER_NAME)
    }

    /// The default place of the genesis.
    pub fn genesis(&self) -> PathBuf {
        self.dir.join(GENESIS_NAME)
    }

    /// Makes a key; one that is there is never replaced.
    pub fn make_key(&self, grade: KeyGrade) -> anyhow::Result<SigningKey> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let path = self.dir.join(KEY_NAME);
        ensure!(!path.exists(), "{} is there: it is not replaced", path.display());
        let text = serde_json::to_vec_pretty(&KeyFile { format: FORMAT, grade, key })?;
        write_whole(&path, &text, 0o600)?;
        Ok(SigningKey::from(key))
    }

    /// The key, if it is good enough for the network.
    pub fn key(&self, network: Network) -> anyhow::Result<SigningKey> {
        let path = self.dir.join(KEY_NAME);
        let text = fs::read(&path).with_context(|| {
            format!("cannot read {} (`cairn validator key --dir {}` makes one)", path.display(), self.dir.display())
        })?;
        let file: KeyFile = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(file.format == FORMAT, "{}: expected format {FORMAT}, got {}", path.display(), file.format);
        let development = file.grade == KeyGrade::Development && network != Network::Development;
        ensure!(!development, "{}: a key of development grade, and the network is for production", path.display());
        Ok(SigningKey::from(file.key))
    }

    /// Writes what `init` knows.
    pub fn write(&self, settings: &Settings, genesis: &Genesis) -> anyhow::Result<()> {
        write_whole(&self.genesis(), genesis.to_json().as_bytes(), 0o644)?;
        write_whole(&self.dir.join(SETTINGS_NAME), &serde_json::to_vec_pretty(settings)?, 0o644)
    }

    /// What `init` wrote, if it did.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let path = self.dir.join(SETTINGS_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let settings: Settings = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(settings.format == FORMAT, "{}: expected format {FORMAT}, got {}", path.display(), settings.format);
        Ok(settings)
    }
}

/// Reads a genesis.
pub fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Genesis::from_json(&text).with_context(|| path.display().to_string())
}

/// Writes a file that is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let temporary = path.with_extension("tmp");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(mode).open(&temporary).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)?;
    fs::rename(&temporary, path).with_context(failed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_kept_from_production_by_their_grade() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(&dir.path().join("v"));
        assert!(folder.key(Network::Development).unwrap_err().to_string().contains("cairn validator key"));
        let key = folder.make_key(KeyGrade::Development).unwrap();
        assert!(folder.make_key(KeyGrade::Development).unwrap_err().to_string().contains("it is not replaced"));
        assert_eq!(folder.key(Network::Development).unwrap().to_bytes(), key.to_bytes());
        let refused = folder.key(Network::Production).unwrap_err().to_string();
        assert!(refused.contains("a key of development grade"), "{refused}");
        let own = Folder::new(&dir.path().join("o"));
        own.make_key(KeyGrade::Operator).unwrap();
        assert!(own.key(Network::Production).is_ok());
        assert_eq!(own.settings().unwrap().peers, vec![]);
    }
}
