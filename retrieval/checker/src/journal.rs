//! What a checker has measured, on disk: one file for each round, written whole or not at all. And one of what everybody
//! was told to fetch, to look at what others open.
//!
//! A file is the canonical DAG-CBOR of [`Measured`] or [`Assigned`], after a magic and before a SHA-256 of both. It is
//! written beside its place, synced and renamed, before the round's commitment is made.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn_ledger::codec;
use cairn_ledger::scores::ballot::Opinions;
use cairn_ledger::scores::quality::{QualityTarget, quality};
use cairn_ledger::scores::receipts::{OPENED_MAX, SignedCheckReceipt, receipts_root};
use cairn_protocol::ProviderId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::exhibits::Assigned;

const MEASURED: Kind = Kind { name: "round", magic: b"cairn/measured/1" };
const ASSIGNED: Kind = Kind { name: "assigned", magic: b"cairn/assigned/1" };

/// A kind of file.
#[derive(Clone, Copy)]
struct Kind {
    /// What its name begins with.
    name: &'static str,
    /// What it begins with.
    magic: &'static [u8; 16],
}

/// The receipts of one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The round.
    pub round: u64,
    /// By slot, ascending.
    pub receipts: Vec<SignedCheckReceipt>,
}

impl Measured {
    /// The places of the receipts behind the opinion of a provider: all about it, or as many as can be opened at once.
    pub(crate) fn behind(&self, provider: ProviderId) -> impl Iterator<Item = usize> {
        let about = move |at: &usize| self.receipts[*at].receipt.task.provider == provider;
        (0..self.receipts.len()).filter(about).take(OPENED_MAX)
    }

    /// What the receipts say of each provider that has enough of them.
    pub fn opinions(&self, target: &QualityTarget) -> Opinions {
        let judged: BTreeSet<ProviderId> = self.receipts.iter().map(|signed| signed.receipt.task.provider).collect();
        let levels = judged.into_iter().filter_map(|provider| {
            let checks: Vec<_> = self.behind(provider).map(|at| self.receipts[at].receipt.served()).collect();
            Some((provider, quality(&checks, target)?.to_u16()))
        });
        Opinions {
            round: self.round,
            levels: levels.collect(),
            receipts_root: receipts_root(&self.receipts),
            receipts: self.receipts.len() as u32,
        }
    }
}

/// The journal cannot be read or written. Repeating helps once somebody has looked at the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is not what was written.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_path_buf();
    move |source| JournalError::Disk { action, path, source }
}

/// A folder of rounds.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// Opens a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        fs::create_dir_all(dir).map_err(disk("create", dir))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    fn path(&self, kind: Kind, round: u64) -> PathBuf {
        self.dir.join(format!("{}-{round}", kind.name))
    }

    /// Keeps a round.
    ///
    /// # Errors
    /// [`JournalError::Disk`]; the round is then as it was.
    pub fn put(&self, measured: &Measured) -> Result<(), JournalError> {
        self.write(MEASURED, measured.round, measured)
    }

    /// A round that was kept; `None` if it was not.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    pub fn get(&self, round: u64) -> Result<Option<Measured>, JournalError> {
        self.read(MEASURED, round, |measured: &Measured| measured.round)
    }

    /// Whether a round was kept.
    pub fn has(&self, round: u64) -> bool {
        self.path(MEASURED, round).exists()
    }

    /// Forgets a round; it does not matter whether it is there.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn remove(&self, round: u64) -> Result<(), JournalError> {
        self.forget(MEASURED, round)
    }

    /// Keeps what everybody was told to fetch.
    pub(crate) fn put_assigned(&self, assigned: &Assigned) -> Result<(), JournalError> {
        self.write(ASSIGNED, assigned.round, assigned)
    }

    /// What everybody was told to fetch in a round, if that was kept.
    pub(crate) fn get_assigned(&self, round: u64) -> Result<Option<Assigned>, JournalError> {
        self.read(ASSIGNED, round, |assigned: &Assigned| assigned.round)
    }

    pub(crate) fn has_assigned(&self, round: u64) -> bool {
        self.path(ASSIGNED, round).exists()
    }

    pub(crate) fn remove_assigned(&self, round: u64) -> Result<(), JournalError> {
        self.forget(ASSIGNED, round)
    }

    fn write(&self, kind: Kind, round: u64, record: &impl Serialize) -> Result<(), JournalError> {
        let path = self.path(kind, round);
        let beside = path.with_extension("new");
        let mut bytes = [kind.magic.as_slice(), &codec::encode(record)].concat();
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        let mut file = File::create(&beside).map_err(disk("create", &beside))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(disk("write", &beside))?;
        fs::rename(&beside, &path).map_err(disk("rename", &beside))?;
        let folder = File::open(&self.dir).map_err(disk("open", &self.dir))?;
        folder.sync_all().map_err(disk("sync", &self.dir))
    }

    fn read<T: Serialize + DeserializeOwned>(
        &self,
        kind: Kind,
        round: u64,
        round_of: impl FnOnce(&T) -> u64,
    ) -> Result<Option<T>, JournalError> {
        let path = self.path(kind, round);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("read", &path)(error)),
        };
        let damaged = |problem: String| JournalError::Damaged { path: path.clone(), problem };
        let body = bytes.len().checked_sub(32).filter(|at| *at >= kind.magic.len());
        let (body, sum) = bytes.split_at(body.ok_or_else(|| damaged("it is too short".to_owned()))?);
        if !body.starts_with(kind.magic) || Sha256::digest(body).as_slice() != sum {
            return Err(damaged("magic or checksum are wrong".to_owned()));
        }
        let record: T = codec::decode_strict(&body[kind.magic.len()..], usize::MAX)
            .map_err(|rejection| damaged(rejection.to_string()))?;
        match round_of(&record) {
            of if of == round => Ok(Some(record)),
            of => Err(damaged(format!("it is of round {of}"))),
        }
    }

    fn forget(&self, kind: Kind, round: u64) -> Result<(), JournalError> {
        let path = self.path(kind, round);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_comes_back_whole_or_is_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let measured = Measured { round: 7, receipts: Vec::new() };
        assert_eq!(journal.get(7).unwrap(), None);
        journal.put(&measured).unwrap();
        assert!(journal.has(7) && !journal.has(8));
        assert_eq!(journal.get(7).unwrap(), Some(measured));
        let good = fs::read(journal.path(MEASURED, 7)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(journal.path(MEASURED, 7), &bad).unwrap();
            assert!(matches!(journal.get(7), Err(JournalError::Damaged { .. })), "byte {at}");
            fs::write(journal.path(MEASURED, 7), &good[..at]).unwrap();
            assert!(matches!(journal.get(7), Err(JournalError::Damaged { .. })), "{at} bytes");
        }
        fs::write(journal.path(MEASURED, 8), &good).unwrap();
        assert!(matches!(journal.get(8), Err(JournalError::Damaged { .. })), "another round's file");
        // The other kind of file is another one.
        let assigned = Assigned { round: 7, tasks: Vec::new() };
        journal.put_assigned(&assigned).unwrap();
        assert_eq!(journal.get_assigned(7).unwrap(), Some(assigned));
        fs::copy(journal.path(ASSIGNED, 7), journal.path(MEASURED, 7)).unwrap();
        assert!(matches!(journal.get(7), Err(JournalError::Damaged { .. })));
        journal.remove_assigned(7).unwrap();
        assert!(!journal.has_assigned(7) && journal.has(7));
        journal.remove(7).unwrap();
        journal.remove(7).unwrap();
        assert_eq!(journal.get(7).unwrap(), None);
    }
}
