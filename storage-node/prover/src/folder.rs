//! Where a worker keeps what it has in hand: one folder for each job, named after the job and what is asked.
//!
//! ```text
//! DIR/job-N-DIGEST/witness    the plain proof, once it is fetched and verified
//!                  proof      the proof, once it is made and verified; written whole, before it is handed in
//! ```
//!
//! The digest is over the terms, so the folder of another network's job of the same number is not mistaken for this one's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_ledger::{JobId, JobTerms, codec};
use cairn_sealing::durable;
use sha2::{Digest, Sha256};

/// The folders of all jobs in hand.
pub(crate) struct Folders {
    dir: PathBuf,
}

impl Folders {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Jobs with a folder, ascending.
    pub(crate) fn jobs(&self) -> io::Result<Vec<JobId>> {
        let mut jobs = vec![];
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("job-")?.split('-').next()?.parse().ok());
            jobs.extend(number.map(JobId));
        }
        jobs.sort_unstable();
        jobs.dedup();
        Ok(jobs)
    }

    pub(crate) fn of(&self, job: JobId, terms: &JobTerms) -> JobFolder {
        let digest = Sha256::digest(codec::encode(terms));
        JobFolder { path: self.dir.join(format!("{job}-{}", hex::encode(&digest[..8]))) }
    }

    /// Removes whatever there is of `job`.
    pub(crate) fn remove(&self, job: JobId) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!("{job}-"))) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The folder of one job.
pub(crate) struct JobFolder {
    path: PathBuf,
}

impl JobFolder {
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)
    }

    /// Where the plain proof lies, or will.
    pub(crate) fn witness_path(&self) -> PathBuf {
        self.path.join("witness")
    }

    /// The plain proof, if it was fetched.
    pub(crate) fn witness(&self) -> Option<Vec<u8>> {
        fs::read(self.witness_path()).ok()
    }

    /// The proof, if it was made.
    pub(crate) fn proof(&self) -> Option<Vec<u8>> {
        fs::read(self.path.join("proof")).ok()
    }

    /// Keeps the proof, durably.
    pub(crate) fn keep_proof(&self, proof: &[u8]) -> io::Result<()> {
        self.create()?;
        durable::write_file(&self.path.join("proof"), proof)
    }
}
