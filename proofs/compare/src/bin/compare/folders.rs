//! The folder that a comparison works in.
//!
//! ```text
//! DIR/vectors      the golden key files, copied: the reference locks files that it reads
//! DIR/reference    parameters of the 2 KiB proof of replication that the reference made, and `setup.json`: how long it took
//! DIR/ours         parameters that we made in this run
//! DIR/cache/NAME   what our prover derives from the key files in DIR/NAME
//! DIR/parents      the reference's cache of graph parents
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cairn_fixtures::groth16_dir;

/// Bytes that a whole run needs: two parameter files of 1.1 GB, their converted forms, and some air.
const NEEDED_BYTES: u64 = 6_000_000_000;

/// Who made a set of key files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// The golden ones: the reference, once.
    Vectors,
    /// The reference, for this folder.
    Reference,
    /// We, in this run.
    Ours,
}

/// The folder.
pub struct Work {
    root: PathBuf,
}

impl Keys {
    /// For people.
    pub fn maker(self) -> &'static str {
        match self {
            Self::Vectors => "reference (golden)",
            Self::Reference => "reference",
            Self::Ours => "ours",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Reference => "reference",
            Self::Ours => "ours",
        }
    }
}

impl Work {
    /// Makes what is missing, copies the golden keys, and empties what this run makes.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        let work = Self { root: root.canonicalize()? };
        work.empty(Keys::Ours)?;
        for keys in [Keys::Vectors, Keys::Reference] {
            fs::create_dir_all(work.params(keys))?;
            fs::create_dir_all(work.cache(keys))?;
        }
        fs::create_dir_all(work.parents())?;
        for entry in fs::read_dir(groth16_dir())? {
            let entry = entry?;
            fs::copy(entry.path(), work.params(Keys::Vectors).join(entry.file_name()))?;
        }
        Ok(work)
    }

    /// Removes a set of keys and all that came from it.
    pub fn empty(&self, keys: Keys) -> Result<()> {
        for folder in [self.params(keys), self.cache(keys)] {
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
            }
            fs::create_dir_all(&folder)?;
        }
        Ok(())
    }

    /// Says before an hour's work that the disk will be too small for it.
    pub fn check_space(&self) -> Result<()> {
        let system = rustix::fs::statvfs(&self.root)?;
        let free = system.f_bavail * system.f_frsize + self.bytes(Keys::Reference)?;
        ensure!(
            free >= NEEDED_BYTES,
            "{} has {:.1} GB free, a whole comparison needs {:.1} GB: give another folder, or leave the proof of replication out (--small)",
            self.root.display(),
            free as f64 / 1e9,
            NEEDED_BYTES as f64 / 1e9
        );
        Ok(())
    }

    /// Key files.
    pub fn params(&self, keys: Keys) -> PathBuf {
        self.root.join(keys.folder())
    }

    /// What we derive from them.
    pub fn cache(&self, keys: Keys) -> PathBuf {
        self.root.join("cache").join(keys.folder())
    }

    /// The reference's graph cache.
    pub fn parents(&self) -> PathBuf {
        self.root.join("parents")
    }

    /// How long the reference's setup took.
    pub fn reference_setup_record(&self) -> PathBuf {
        self.params(Keys::Reference).join("setup.json")
    }

    /// What a set of keys takes already.
    fn bytes(&self, keys: Keys) -> Result<u64> {
        let mut total = 0;
        for folder in [self.params(keys), self.cache(keys)] {
            for entry in fs::read_dir(folder)? {
                total += entry?.metadata()?.len();
            }
        }
        Ok(total)
    }
}
