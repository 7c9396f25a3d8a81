//! The folder of a development network, and the one file that decides it.
//!
//! ```text
//! DIR/devnet.json          grade, sector size, ports, genesis, keys: written once, whole, readable by the owner alone
//! DIR/ledger/              blocks and state
//! DIR/provider/hot/        the provider's hot copy
//! DIR/provider/journal/    sealing journal
//! DIR/provider/sectors/    one folder for each sector
//! DIR/client/hot/          the client's datasets, by reference
//! DIR/checker/             what the checker has measured
//! DIR/worker/jobs/         proof jobs that the worker has in hand
//! DIR/fetched/             what the demo fetched back
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cairn_consensus::{Allocation, Genesis, system_clock};
use cairn_ledger::{VerifyingKeys, address_of};
use cairn_protocol::bytes32::serde32;
use cairn_protocol::{Amount, SectorSize};
use ed25519_consensus::SigningKey;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Networks of format 1 took plain proofs; those of format 2 had no proof jobs.
const FORMAT: u32 = 3;
const SETTINGS_NAME: &str = "devnet.json";
const GRADE: &str = "development";
/// What each of the three accounts starts with, in whole units.
const ALLOCATION_UNITS: u64 = 1_000_000;

/// The content of `devnet.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    format: u32,
    /// Always `development`: keys that lie in a plain file are good for nothing else.
    grade: String,
    sector_size: SectorSize,
    gateway: SocketAddr,
    transfer: SocketAddr,
    #[serde(with = "serde32")]
    client_key: [u8; 32],
    #[serde(with = "serde32")]
    provider_key: [u8; 32],
    #[serde(with = "serde32")]
    worker_key: [u8; 32],
    genesis: Genesis,
}

/// An opened folder.
pub struct Home {
    dir: PathBuf,
    settings: Settings,
}

impl Home {
    /// Opens the network in `dir`, if there is one.
    ///
    /// # Errors
    /// Settings that are damaged or cannot be read, or a network with another sector size.
    pub fn find(dir: &Path, sector_size: SectorSize) -> anyhow::Result<Option<Self>> {
        let dir = std::path::absolute(dir)?;
        let path = dir.join(SETTINGS_NAME);
        let settings = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).with_context(|| path.display().to_string())?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let (expected, got) = (settings.sector_size, sector_size);
        ensure!(expected == got, "--sector-size: the network in {} has {expected}, got {got}", dir.display());
        Ok(Some(Self { dir, settings }))
    }

    /// Makes a new network in `dir`, with sectors of `sector_size` whose proofs are checked with `keys`.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub fn create(dir: &Path, sector_size: SectorSize, keys: VerifyingKeys) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = std::path::absolute(dir)?;
        let settings = create(&dir.join(SETTINGS_NAME), sector_size, keys)?;
        Ok(Self { dir, settings })
    }

    /// The start of the ledger.
    pub fn genesis(&self) -> &Genesis {
        &self.settings.genesis
    }

    /// Size of all sectors.
    pub fn sector_size(&self) -> SectorSize {
        self.settings.sector_size
    }

    /// Where the provider's gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.settings.gateway
    }

    /// Where the client hands its data to providers.
    pub fn transfer(&self) -> SocketAddr {
        self.settings.transfer
    }

    /// The client's key.
    pub fn client_key(&self) -> SigningKey {
        SigningKey::from(self.settings.client_key)
    }

    /// The provider's key.
    pub fn provider_key(&self) -> SigningKey {
        SigningKey::from(self.settings.provider_key)
    }

    /// The proof worker's key.
    pub fn worker_key(&self) -> SigningKey {
        SigningKey::from(self.settings.worker_key)
    }

    /// Folder of the worker's jobs in hand.
    pub fn jobs_dir(&self) -> PathBuf {
        self.dir.join("worker/jobs")
    }

    /// Folder for the provider's files on their way into its hot store.
    pub fn scratch_dir(&self) -> PathBuf {
        self.dir.join("provider/scratch")
    }

    /// Folder of the ledger.
    pub fn ledger_dir(&self) -> PathBuf {
        self.dir.join("ledger")
    }

    /// Folder of a role's hot store.
    pub fn hot_dir(&self, role: &str) -> PathBuf {
        self.dir.join(role).join("hot")
    }

    /// Folder of what the checker has measured.
    pub fn checker_dir(&self) -> PathBuf {
        self.dir.join("checker")
    }

    /// Folder of the sealing journal.
    pub fn journal_dir(&self) -> PathBuf {
        self.dir.join("provider/journal")
    }

    /// Folder of the sectors.
    pub fn sectors_dir(&self) -> PathBuf {
        self.dir.join("provider/sectors")
    }

    /// Folder of what the demo fetched back.
    pub fn fetched_dir(&self) -> PathBuf {
        self.dir.join("fetched")
    }
}

/// The part of `devnet.json` that every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

fn parse(text: &str) -> anyhow::Result<Settings> {
    let AnyFormat { format } = serde_json::from_str(text)?;
    ensure!(
        format == FORMAT,
        "format: expected {FORMAT}, got {format}: another version of cairn made this network; --dir names another folder"
    );
    let settings: Settings = serde_json::from_str(text)?;
    let grade = &settings.grade;
    ensure!(grade == GRADE, "grade: expected {GRADE:?}, got {grade:?}");
    Ok(settings)
}

fn create(path: &Path, sector_size: SectorSize, verifying_keys: VerifyingKeys) -> anyhow::Result<Settings> {
    let (client_key, provider_key, worker_key, secret) = (random(), random(), random(), random());
    let amount = Amount::from_units(ALLOCATION_UNITS).expect("the allocation fits");
    let allocations = [client_key, provider_key, worker_key]
        .map(|key| Allocation { address: address_of(&SigningKey::from(key)), amount });
    let [gateway, transfer] = free_ports()?;
    let settings = Settings {
        format: FORMAT,
        grade: GRADE.to_owned(),
        sector_size,
        gateway,
        transfer,
        client_key,
        provider_key,
        worker_key,
        genesis: Genesis { verifying_keys, ..Genesis::devnet(system_clock(), secret, allocations.to_vec()) },
    };
    write_whole(path, &serde_json::to_vec_pretty(&settings)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(settings)
}

fn random() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Two ports that nobody has now. They are kept, so that URLs on the ledger stay right.
fn free_ports() -> anyhow::Result<[SocketAddr; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback");
    let listeners = [listen()?, listen()?];
    Ok([listeners[0].local_addr()?, listeners[1].local_addr()?])
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().expect("a file in a folder"))?.sync_all()
}

#[cfg(test)]
mod tests {
    use cairn_ledger::KeyDigest;

    use super::*;

    #[test]
    fn a_network_is_made_once_and_opens_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Home::find(dir.path(), SectorSize::KIB2).unwrap().is_none());
        let keys = VerifyingKeys::from([("porep 2KiB".to_owned(), KeyDigest("aa".to_owned()))]);
        let made = Home::create(dir.path(), SectorSize::KIB2, keys.clone()).unwrap();
        let opened = Home::find(dir.path(), SectorSize::KIB2).unwrap().unwrap();
        assert_eq!(made.genesis().verifying_keys, keys);
        assert_eq!(made.genesis(), opened.genesis());
        assert_eq!(made.gateway(), opened.gateway());
        assert_eq!(made.client_key().to_bytes(), opened.client_key().to_bytes());
        let error = Home::find(dir.path(), SectorSize::MIB8).err().unwrap().to_string();
        assert!(error.ends_with("has 2KiB, got 8MiB"), "{error}");
    }

    #[test]
    fn damaged_settings_are_named() {
        let dir = tempfile::tempdir().unwrap();
        Home::create(dir.path(), SectorSize::KIB2, VerifyingKeys::new()).unwrap();
        let path = dir.path().join("devnet.json");
        let text = fs::read_to_string(&path).unwrap().replace("\"development\"", "\"production\"");
        fs::write(&path, &text).unwrap();
        let error = format!("{:#}", Home::find(dir.path(), SectorSize::KIB2).err().unwrap());
        assert!(error.contains("devnet.json: grade: expected \"development\", got \"production\""), "{error}");
        fs::write(&path, &text[..40]).unwrap();
        assert!(Home::find(dir.path(), SectorSize::KIB2).is_err());
        fs::write(&path, "{\"format\":1,\"grade\":\"development\"}").unwrap();
        let error = format!("{:#}", Home::find(dir.path(), SectorSize::KIB2).err().unwrap());
        assert!(error.contains("format: expected 3, got 1: another version of cairn"), "{error}");
    }
}
