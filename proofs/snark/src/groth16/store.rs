//! A folder of key files under Filecoin's names, and whether to trust them.
//!
//! Whoever makes parameters can forge proofs under them, so a key is as good as the ceremony it comes from. Two cases:
//! - [`Trust::Published`], a real network: a file is accepted if its digest is the published one, and only then.
//! - [`Trust::Development`]: a network of one's own. Keys that are not published are accepted too.
//!
//! Parameters that Cairn makes carry a mark beside them, `STEM.cairn-dev`: a JSON object with a sentence for the human
//! and the digests of both files. The files themselves stay byte for byte what Filecoin's tools read. A mark gives the
//! refusal its words and tells damage from intent: a marked file that has another digest is refused everywhere.
//!
//! The prover's form of a parameter file ([`ProvingKey`]) is made once and kept in a folder for such things; it is made
//! again when the parameter file is another one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use cairn_compute::Workers;
use cairn_sector::Progress;
use serde::{Deserialize, Serialize};

use super::catalog::{self, FileDigest};
use super::curve::{G1Affine, G2Affine};
use super::error::{KeyFileError, KeyFileRejection, KeyIo};
use super::files::{Counted, NewFile, write_file};
use super::meta;
use super::names::{Circuit, FileKind};
use super::params::{ParamsSink, ParamsSummary, ParamsWriter, Section, read_params};
use super::points::PointChecks;
use super::proving_key::ProvingKey;
use super::verifying_key::{MAX_IC, VerifyingKey};

const MARK_EXTENSION: &str = "cairn-dev";
const KEY_EXTENSION: &str = "cairn-key";
const MATRICES_EXTENSION: &str = "cairn-r1cs";
const MARK_NOTE: &str = "development parameters: whoever made them can forge proofs";

/// Largest mark that is read.
const MARK_BYTES: u64 = 4096;

/// Which keys to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Published ones.
    Published,
    /// Any, for a network that is not for real.
    Development,
}

/// Where an accepted key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Its digest is the published one.
    Published,
    /// Somebody made it.
    Development,
}

/// Key files of all circuits in one folder.
#[derive(Debug, Clone)]
pub struct KeyStore {
    params: PathBuf,
    cache: PathBuf,
    trust: Trust,
}

/// The files of a circuit, as [`KeyStore::list`] finds them. Lengths are `None` where there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// The circuit.
    pub circuit: Circuit,
    /// Length of the parameter file.
    pub params_bytes: Option<u64>,
    /// Length of the verifying key.
    pub verifying_key_bytes: Option<u64>,
    /// Length of the prover's form of the parameters.
    pub key_bytes: Option<u64>,
    /// Whether development parameters are marked here.
    pub marked: bool,
}

/// The mark beside development parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    note: String,
    params: FileDigest,
    vk: FileDigest,
}

impl KeyStore {
    /// Filecoin's files in `params`; converted keys in `cache` (which must exist once a proving key is asked for).
    pub fn new(params: impl Into<PathBuf>, cache: impl Into<PathBuf>, trust: Trust) -> Self {
        Self { params: params.into(), cache: cache.into(), trust }
    }

    /// Where a file of a circuit belongs.
    pub fn path(&self, circuit: Circuit, kind: FileKind) -> PathBuf {
        self.params.join(circuit.file_name(kind))
    }

    /// Where the mark of development parameters belongs.
    pub fn mark_path(&self, circuit: Circuit) -> PathBuf {
        self.params.join(format!("{}.{MARK_EXTENSION}", circuit.file_stem()))
    }

    /// Where the prover's form of a circuit's parameters belongs.
    pub fn key_path(&self, circuit: Circuit) -> PathBuf {
        self.cache.join(format!("{}.{KEY_EXTENSION}", circuit.file_stem()))
    }

    /// Where the recorded matrices of a circuit belong, beside its converted key.
    pub fn matrices_path(&self, circuit: Circuit) -> PathBuf {
        self.cache.join(format!("{}.{MATRICES_EXTENSION}", circuit.file_stem()))
    }

    /// Whether the circuit's parameter file and verifying key are there.
    pub fn has(&self, circuit: Circuit) -> bool {
        [FileKind::Params, FileKind::VerifyingKey].iter().all(|kind| self.path(circuit, *kind).is_file())
    }

    /// What lies in the folder, without reading any of it: circuits with at least one file.
    pub fn list(&self) -> Vec<Listing> {
        let bytes = |path: PathBuf| fs::metadata(path).ok().map(|metadata| metadata.len());
        let listing = |circuit| Listing {
            circuit,
            params_bytes: bytes(self.path(circuit, FileKind::Params)),
            verifying_key_bytes: bytes(self.path(circuit, FileKind::VerifyingKey)),
            key_bytes: bytes(self.key_path(circuit)),
            marked: self.mark_path(circuit).exists(),
        };
        let any = |listing: &Listing| listing.params_bytes.or(listing.verifying_key_bytes).is_some();
        Circuit::all().map(listing).filter(any).collect()
    }

    /// Reads a circuit's verifying key, if it is to be trusted.
    ///
    /// # Errors
    /// [`KeyFileError`]: missing, damaged, foreign, or not to be trusted here.
    pub fn verifying_key(&self, circuit: Circuit, workers: &Workers) -> Result<(VerifyingKey, Origin), KeyFileError> {
        let file = self.path(circuit, FileKind::VerifyingKey);
        let mut bytes = vec![];
        let reader = File::open(&file).at("open", &file)?;
        reader.take(VerifyingKey::file_bytes(MAX_IC) + 1).read_to_end(&mut bytes).at("read", &file)?;
        let origin = self.origin(circuit, FileKind::VerifyingKey, FileDigest::of(&bytes))?;
        Ok((VerifyingKey::from_bytes(&bytes, &file, workers)?, origin))
    }

    /// Opens a circuit's proving key, if it is to be trusted; converts the parameter file first where that has not
    /// been done. `progress` counts its bytes.
    ///
    /// # Errors
    /// [`KeyFileError`]: missing, damaged, foreign, or not to be trusted here.
    pub fn proving_key(
        &self,
        circuit: Circuit,
        workers: &Workers,
        progress: Progress<'_>,
    ) -> Result<ProvingKey, KeyFileError> {
        if let Ok(key) = ProvingKey::open(&self.key_path(circuit), workers)
            && self.is_current(circuit, &key)?
        {
            return Ok(key);
        }
        let file = self.path(circuit, FileKind::Params);
        let accept = |summary: &ParamsSummary| self.origin(circuit, FileKind::Params, summary.digest).map(drop);
        ProvingKey::convert(&file, &self.key_path(circuit), self.checks(circuit)?, workers, progress, accept)?;
        let key = ProvingKey::open(&self.key_path(circuit), workers)?;
        self.same_verifying_key(circuit, key.verifying_key())?;
        Ok(key)
    }

    /// Reads a circuit's parameter file from end to end, with all checks, and compares it with the verifying key.
    ///
    /// # Errors
    /// [`KeyFileError`]: missing, damaged, foreign, or not to be trusted here.
    pub fn check_params(
        &self,
        circuit: Circuit,
        workers: &Workers,
        progress: Progress<'_>,
    ) -> Result<(ParamsSummary, Origin), KeyFileError> {
        let file = self.path(circuit, FileKind::Params);
        let reader = Counted::open(&file, progress)?;
        let mut sink = KeyOnly::default();
        let summary = read_params(reader, &file, PointChecks::Full, workers, &mut sink)?;
        let origin = self.origin(circuit, FileKind::Params, summary.digest)?;
        self.same_verifying_key(circuit, &sink.key.expect("a file that was read has a key"))?;
        Ok((summary, origin))
    }

    /// Writes development parameters that `make` hands to its sink: `.params`, `.vk`, `.meta`, and the mark.
    ///
    /// # Errors
    /// Those of `make`, and [`KeyFileError::Io`].
    ///
    /// # Panics
    /// If `make` succeeds without having handed over everything.
    pub fn write_development<E: From<KeyFileError>>(
        &self,
        circuit: Circuit,
        make: impl FnOnce(&mut dyn ParamsSink) -> Result<(), E>,
    ) -> Result<ParamsSummary, E> {
        let file = self.path(circuit, FileKind::Params);
        let mut new = NewFile::create(&file)?;
        let mut writer = Copying { writer: ParamsWriter::new(new.writer(), &file), key: None };
        make(&mut writer)?;
        let vk = writer.key.expect("the key came first").to_bytes();
        let summary = writer.writer.finish()?;
        let mark = Mark { note: MARK_NOTE.into(), params: summary.digest, vk: FileDigest::of(&vk) };
        // The mark first: there is never an unmarked key of ours.
        write_file(&self.mark_path(circuit), &serde_json::to_vec_pretty(&mark).expect("text and digests serialise"))?;
        new.finish()?;
        write_file(&self.path(circuit, FileKind::VerifyingKey), &vk)?;
        write_file(&self.path(circuit, FileKind::Meta), &meta::to_bytes(circuit.sector_size()))?;
        Ok(summary)
    }

    /// Whether to trust a file with this digest under this name; see the module.
    fn origin(&self, circuit: Circuit, kind: FileKind, got: FileDigest) -> Result<Origin, KeyFileError> {
        let file = self.path(circuit, kind);
        let published = catalog::published(&circuit.file_name(kind)).map(|published| published.digest);
        if published == Some(got) {
            return Ok(Origin::Published);
        }
        let mark = self.mark(circuit)?;
        let marked = mark.as_ref().and_then(|mark| match kind {
            FileKind::Params => Some(mark.params),
            FileKind::VerifyingKey => Some(mark.vk),
            FileKind::Meta => None,
        });
        match (self.trust, mark, published) {
            (Trust::Published, Some(_), _) => {
                let mark = self.mark_path(circuit).file_name().unwrap_or_default().to_string_lossy().into_owned();
                Err(KeyFileRejection::Development { mark }.of(&file))
            }
            (Trust::Published, None, None) => Err(KeyFileRejection::Unpublished.of(&file)),
            (Trust::Published, None, Some(expected)) => Err(KeyFileRejection::Digest { expected, got }.of(&file)),
            (Trust::Development, ..) => match marked {
                Some(expected) if expected != got => Err(KeyFileRejection::Digest { expected, got }.of(&file)),
                _ => Ok(Origin::Development),
            },
        }
    }

    fn mark(&self, circuit: Circuit) -> Result<Option<Mark>, KeyFileError> {
        let file = self.mark_path(circuit);
        let reader = match File::open(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.at("open", &file)?,
        };
        let mut bytes = vec![];
        reader.take(MARK_BYTES).read_to_end(&mut bytes).at("read", &file)?;
        let mark = serde_json::from_slice(&bytes).map_err(|error| {
            let expected = "an object with note, params and vk".into();
            KeyFileRejection::Value { offset: 0, what: "content".into(), expected, got: error.to_string() }.of(&file)
        })?;
        Ok(Some(mark))
    }

    /// The subgroup need not be checked where the digest must be a known one.
    fn checks(&self, circuit: Circuit) -> Result<PointChecks, KeyFileError> {
        let vouched = self.trust == Trust::Published || self.mark(circuit)?.is_some();
        Ok(if vouched { PointChecks::OnCurve } else { PointChecks::Full })
    }

    /// Whether a converted key was made from the parameter file that is there now, and from one to be trusted. The
    /// file's length and its verifying key say which one it is: every setup has another.
    fn is_current(&self, circuit: Circuit, key: &ProvingKey) -> Result<bool, KeyFileError> {
        if self.origin(circuit, FileKind::Params, key.params_digest()).is_err() {
            return Ok(false);
        }
        let file = self.path(circuit, FileKind::Params);
        let expected = key.verifying_key().to_bytes();
        let mut start = vec![];
        let reader = match File::open(&file) {
            // Whoever has converted a file may delete it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            opened => opened.at("open", &file)?,
        };
        let length = fs::metadata(&file).at("read", &file)?.len();
        reader.take(expected.len() as u64).read_to_end(&mut start).at("read", &file)?;
        Ok(length == key.params_bytes() && start == expected)
    }

    /// A parameter file and the verifying key beside it must belong together.
    fn same_verifying_key(&self, circuit: Circuit, key: &VerifyingKey) -> Result<(), KeyFileError> {
        let file = self.path(circuit, FileKind::VerifyingKey);
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.at("read", &file)?,
        };
        let (expected, got) = (FileDigest::of(&key.to_bytes()), FileDigest::of(&bytes));
        if expected == got { Ok(()) } else { Err(KeyFileRejection::Digest { expected, got }.of(&file)) }
    }
}

/// Keeps the verifying key of a parameter file and nothing else.
#[derive(Default)]
struct KeyOnly {
    key: Option<VerifyingKey>,
}

impl ParamsSink for KeyOnly {
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError> {
        self.key = Some(key.clone());
        Ok(())
    }

    fn section(&mut self, _: Section, _: u64) -> Result<(), KeyFileError> {
        Ok(())
    }

    fn g1(&mut self, _: Section, _: &[G1Affine]) -> Result<(), KeyFileError> {
        Ok(())
    }

    fn g2(&mut self, _: &[G2Affine]) -> Result<(), KeyFileError> {
        Ok(())
    }
}

/// Writes a parameter file and keeps its verifying key.
struct Copying<'a, W: Write> {
    writer: ParamsWriter<'a, W>,
    key: Option<VerifyingKey>,
}

impl<W: Write> ParamsSink for Copying<'_, W> {
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError> {
        self.key = Some(key.clone());
        self.writer.verifying_key(key)
    }

    fn section(&mut self, section: Section, points: u64) -> Result<(), KeyFileError> {
        self.writer.section(section, points)
    }

    fn g1(&mut self, section: Section, points: &[G1Affine]) -> Result<(), KeyFileError> {
        self.writer.g1(section, points)
    }

    fn g2(&mut self, points: &[G2Affine]) -> Result<(), KeyFileError> {
        self.writer.g2(points)
    }
}
