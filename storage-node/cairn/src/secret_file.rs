//! Files with secrets: small, and not for everybody's eyes.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, ensure};

/// Who may read a file with a secret.
#[derive(Debug, Clone, Copy)]
pub enum Readers {
    /// Its owner.
    Owner,
    /// Its owner and group, as systems keep the keys of certificates.
    Group,
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// A file that is not there, is too large, or that others may read.
pub fn read(path: &Path, readers: Readers, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {}", place()))?;
    let mode = file.metadata().with_context(place)?.mode() & 0o777;
    let (others, expected) = match readers {
        Readers::Owner => (0o077, "600"),
        Readers::Group => (0o007, "600 or 640"),
    };
    ensure!(mode & others == 0, "{}: others may read it: expected mode {expected}, got {mode:o}", place());
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).with_context(place)?;
    ensure!(bytes.len() as u64 <= bytes_max, "{}: expected at most {bytes_max} bytes", place());
    Ok(bytes)
}
