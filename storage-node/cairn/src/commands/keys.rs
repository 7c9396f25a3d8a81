//! A folder of Groth16 keys, as the commands use it: opened, converted on first use, and with its origin said aloud.
//!
//! Offline commands use whatever parameters they are pointed at, since whoever is to be convinced by a proof verifies it
//! under a key of their own choice. But nobody shall take a development key for a real one by accident: unless the key
//! is a published one, standard error and JSON say so, and `--published-only` refuses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use cairn_compute::Workers;
use cairn_sealing::space;
use cairn_snark::groth16::catalog::{self, FileDigest};
use cairn_snark::groth16::{
    Blinding, Circuit, FileKind, KeyFileError, KeyStore, Origin, PreparedVerifyingKey, Trust, VerifyingKey,
};
use cairn_snark::proving::CircuitProver;
use cairn_snark::verifying::Verifier;
use rand::Rng;

use crate::cli::{KeyCircuit, ProverArguments, TrustArguments};
use crate::progress::Stage;

/// Where converted keys and recorded matrices are kept, in the folder of the parameters.
const CACHE_FOLDER: &str = "cairn-cache";

/// A folder of keys.
pub struct Keys {
    params: PathBuf,
    cache: PathBuf,
    store: KeyStore,
}

impl Keys {
    /// Names the folders; touches nothing.
    pub fn new(params: PathBuf, cache: Option<PathBuf>, trust: TrustArguments) -> Self {
        let cache = cache.unwrap_or_else(|| params.join(CACHE_FOLDER));
        let trust = if trust.published_only { Trust::Published } else { Trust::Development };
        let store = KeyStore::new(&params, &cache, trust);
        Self { params, cache, store }
    }

    /// The same, of a folder that must be there.
    pub fn open(params: PathBuf, cache: Option<PathBuf>, trust: TrustArguments) -> anyhow::Result<Self> {
        let metadata = fs::metadata(&params).with_context(|| format!("cannot open {}", params.display()))?;
        if !metadata.is_dir() {
            bail!("cannot open {}: expected a folder of parameters", params.display());
        }
        Ok(Self::new(params, cache, trust))
    }

    /// The files.
    pub fn store(&self) -> &KeyStore {
        &self.store
    }

    /// Folder of Filecoin's files.
    pub fn params(&self) -> &Path {
        &self.params
    }

    /// Folder of what is made from them.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// A verifier of one circuit's proofs, and where its key comes from.
    pub fn verifier(&self, circuit: Circuit, workers: &Workers) -> anyhow::Result<(Verifier, Origin)> {
        let read = self.store.verifying_key(circuit, workers);
        let (key, origin) = read.map_err(|error| self.explain(circuit, FileKind::VerifyingKey, error))?;
        let mut verifier = Verifier::default();
        verifier.insert(circuit, PreparedVerifyingKey::new(key));
        Ok((verifier, origin))
    }

    /// A prover of one circuit, and where its key comes from. The first use of a parameter file converts it.
    pub fn prover(
        &self,
        circuit: Circuit,
        options: &ProverArguments,
        workers: &Workers,
    ) -> anyhow::Result<(CircuitProver, Origin)> {
        self.make_room(circuit)?;
        let stage = Stage::begin("convert key");
        let progress = |done, total| stage.report(done, total);
        let opened = CircuitProver::open(&self.store, circuit, options.backend, workers, &progress);
        drop(stage);
        let prover = opened.map_err(|error| match error {
            cairn_snark::proving::OpenError::Key(error) => self.explain(circuit, FileKind::Params, error),
            other => other.into(),
        })?;
        let origin = origin_of(circuit, prover.verifying_key().key());
        Ok((prover, origin))
    }

    /// Makes the cache folder, and sees that a converted key fits where there is none yet: it is as long as the
    /// parameter file.
    fn make_room(&self, circuit: Circuit) -> anyhow::Result<()> {
        let file = self.store.path(circuit, FileKind::Params);
        let converted = self.store.key_path(circuit).exists();
        let Ok(metadata) = fs::metadata(&file) else {
            // Without the file, whether it was converted before decides what there is to say.
            return if converted { Ok(()) } else { Err(self.nothing_there(circuit, FileKind::Params)) };
        };
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot create {} (--cache names another folder)", self.cache.display()))?;
        if converted {
            return Ok(());
        }
        check_room(&self.cache, metadata.len()).with_context(|| format!("cannot convert {}", file.display()))
    }

    fn explain(&self, circuit: Circuit, kind: FileKind, error: KeyFileError) -> anyhow::Error {
        if self.store.path(circuit, kind).exists() {
            anyhow::Error::new(error).context(circuit.to_string())
        } else {
            self.nothing_there(circuit, kind)
        }
    }

    fn nothing_there(&self, circuit: Circuit, kind: FileKind) -> anyhow::Error {
        let what = match kind {
            FileKind::VerifyingKey => "verifying key",
            FileKind::Params | FileKind::Meta => "parameters",
        };
        anyhow!(
            "{} has no {what} of {circuit}: expected {} (for development, `cairn params setup --circuit {} \
             --sector-size {} --params {}` makes some)",
            self.params.display(),
            circuit.file_name(kind),
            KeyCircuit::name_of(circuit),
            circuit.sector_size(),
            self.params.display()
        )
    }
}

/// Checks that a folder has room.
pub fn check_room(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let free =
        space::free_bytes(folder).with_context(|| format!("cannot ask for the free space of {}", folder.display()))?;
    ensure!(free >= bytes, "{}: expected {bytes} free bytes, got {free}", folder.display());
    Ok(())
}

/// Whether a verifying key is the published one of its circuit.
fn origin_of(circuit: Circuit, key: &VerifyingKey) -> Origin {
    let published = catalog::published(&circuit.file_name(FileKind::VerifyingKey)).map(|published| published.digest);
    if published == Some(FileDigest::of(&key.to_bytes())) { Origin::Published } else { Origin::Development }
}

/// Says on standard error that a key is not a published one.
pub fn say_origin(origin: Origin) {
    if origin == Origin::Development {
        note(
            "the parameters are not the published ones: whoever made them can forge proofs, so only a development network accepts these",
        );
    }
}

/// One line on standard error that is no failure.
pub fn note(text: &str) {
    eprintln!("cairn: note: {text}");
}

/// Fresh blinding for every proof.
pub fn blinding() -> Blinding {
    let mut bytes = [0; 128];
    rand::rng().fill_bytes(&mut bytes);
    Blinding::from_bytes(&bytes)
}
