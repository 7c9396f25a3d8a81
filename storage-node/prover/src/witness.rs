//! Plain proofs on their way: published by CID where a gateway serves them, fetched and verified by whoever shall prove.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_content::{HotStore, ImportOptions, Placement, StoreError};
use cairn_gateway::fetch::{FetchError, FetchOptions, FetchRequest, SourceUrlRejection, fetch_blocking};
use cairn_ledger::{JobTerms, ProofStatement};
use cairn_sealing::verifier::{to_porep_statement, to_post_statement, to_update_statement};
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{self, PostProof};
use cairn_sector::update::{self, UpdateProof};
use cid::Cid;
use sha2::{Digest, Sha256};

/// A plain proof that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its CID, as a file.
    pub cid: Cid,
    /// The gateway that serves it.
    pub url: String,
}

/// Where a poster puts plain proofs for workers to fetch.
pub trait WitnessShelf: Send + Sync {
    /// Serves these bytes until they are withdrawn. The same bytes again change nothing.
    ///
    /// # Errors
    /// [`ShelfError`]: trying again helps once the disk does.
    fn publish(&self, bytes: &[u8]) -> Result<Published, ShelfError>;

    /// Serves them no more. What is not there is no error.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn withdraw(&self, cid: &Cid) -> Result<(), ShelfError>;
}

/// A plain proof cannot be put where workers find it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The hot store does not take it.
    #[error("the hot store: {0}")]
    Store(#[from] StoreError),
    /// The file system refuses.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A shelf in a hot store that a gateway serves.
pub struct HotShelf {
    store: Arc<HotStore>,
    url: String,
    scratch: PathBuf,
}

impl HotShelf {
    /// Puts proofs into `store`, which the gateway at `url` serves. `scratch` is a folder for files on their way in.
    pub fn new(store: Arc<HotStore>, url: String, scratch: PathBuf) -> Self {
        Self { store, url, scratch }
    }
}

impl WitnessShelf for HotShelf {
    fn publish(&self, bytes: &[u8]) -> Result<Published, ShelfError> {
        let name = format!("plain-proof-{}", hex::encode(&Sha256::digest(bytes)[..16]));
        let published = |cid| Published { cid, url: self.url.clone() };
        if let Some(there) = self.store.find(&name) {
            return Ok(published(there.root()));
        }
        let path = self.scratch.join(&name);
        let io = |source| ShelfError::Io { path: path.clone(), source };
        fs::create_dir_all(&self.scratch).map_err(io)?;
        fs::write(&path, bytes).map_err(io)?;
        let imported = self.store.import(&path, Some(&name), Placement::Copy, &ImportOptions::default());
        // What stays in the scratch folder is written over the next time.
        let _ = fs::remove_file(&path);
        Ok(published(imported?.root()))
    }

    fn withdraw(&self, cid: &Cid) -> Result<(), ShelfError> {
        match self.store.remove(cid) {
            Ok(()) | Err(StoreError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A plain proof that a worker does not get, or not as promised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessRejection {
    /// The job's source is no URL that can be fetched from.
    #[error("{url:?}: {source}")]
    Url {
        /// What the job says.
        url: String,
        /// What is wrong with it.
        source: SourceUrlRejection,
    },
    /// The gateway does not give it.
    #[error(transparent)]
    Fetch(Box<FetchError>),
    /// The CID is of something else than a file of the promised length.
    #[error("expected a file of {expected} bytes, got {got}")]
    Length {
        /// In the job's terms.
        expected: u64,
        /// What came.
        got: String,
    },
    /// It is no plain proof, or does not prove the statement.
    #[error("the plain proof does not hold: {reason}")]
    Refused {
        /// The verifier's words.
        reason: String,
    },
    /// The disk of this machine.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WitnessRejection {
    /// Whether the same job may have a good witness at another time.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Io { .. })
    }
}

/// Fetches the plain proof of a job to `dest`, every block checked against the CID, and verifies that it proves what the
/// job asks for. Blocks; must not be called within a tokio runtime.
///
/// # Errors
/// [`WitnessRejection`]; nothing that was refused stays at `dest`.
pub fn fetch_witness(terms: &JobTerms, dest: &Path, options: &FetchOptions) -> Result<Vec<u8>, WitnessRejection> {
    let fetched = fetch_checked(terms, dest, options);
    if fetched.is_err() && fs::remove_file(dest).is_err() {
        // A folder, if the CID was one's; or nothing.
        let _ = fs::remove_dir_all(dest);
    }
    fetched
}

fn fetch_checked(terms: &JobTerms, dest: &Path, options: &FetchOptions) -> Result<Vec<u8>, WitnessRejection> {
    let (url, expected) = (&terms.source_url, terms.witness_bytes);
    let source = url.parse().map_err(|source| WitnessRejection::Url { url: url.clone(), source })?;
    let request = FetchRequest {
        root: terms.witness,
        path: String::new(),
        sources: vec![source],
        dest: dest.to_owned(),
        options: FetchOptions { overwrite: true, bytes_max: expected, ..options.clone() },
        progress: None,
    };
    fetch_blocking(&request).map_err(|error| WitnessRejection::Fetch(Box::new(error)))?;
    let io = |source| WitnessRejection::Io { path: dest.to_owned(), source };
    let metadata = fs::metadata(dest).map_err(io)?;
    if !metadata.is_file() || metadata.len() != expected {
        let got = if metadata.is_file() { metadata.len().to_string() } else { "a folder".to_owned() };
        return Err(WitnessRejection::Length { expected, got });
    }
    let bytes = fs::read(dest).map_err(io)?;
    check_witness(&terms.statement, &bytes)?;
    Ok(bytes)
}

/// Checks that a plain proof proves a statement.
///
/// # Errors
/// [`WitnessRejection::Refused`] with the verifier's reason.
pub fn check_witness(statement: &ProofStatement, bytes: &[u8]) -> Result<(), WitnessRejection> {
    let refused = |reason: String| WitnessRejection::Refused { reason };
    match statement {
        ProofStatement::Porep(statement) => {
            let proof = PorepProof::from_bytes(bytes).map_err(|error| refused(error.to_string()))?;
            porep::verify(&to_porep_statement(statement), &proof).map_err(|error| refused(error.to_string()))
        }
        ProofStatement::WindowPost(statement) => {
            let proof = PostProof::from_bytes(bytes).map_err(|error| refused(error.to_string()))?;
            post::verify(&to_post_statement(statement), &proof).map_err(|error| refused(error.to_string()))
        }
        ProofStatement::SectorUpdate(statement) => {
            let proof = UpdateProof::from_bytes(bytes).map_err(|error| refused(error.to_string()))?;
            update::verify(&to_update_statement(statement), &proof).map_err(|error| refused(error.to_string()))
        }
    }
}
