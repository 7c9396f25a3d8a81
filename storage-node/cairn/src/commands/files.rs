//! Small file helpers, each of which names the file in its error.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

const BUFFER_BYTES: usize = 1 << 20;

/// Opens a plain file and gives its length.
pub fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let metadata = file.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    if !metadata.is_file() {
        bail!("cannot open {}: expected a plain file", path.display());
    }
    Ok((file, metadata.len()))
}

/// Hands the file's bytes to `consume`, piece by piece.
pub fn stream(path: &Path, mut consume: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let (mut file, _) = open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => return Ok(()),
            count => consume(&buffer[..count]),
        }
    }
}

/// SHA-256 of a file, in hex.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut digest = Sha256::new();
    stream(path, |bytes| digest.update(bytes))?;
    Ok(hex::encode(digest.finalize()))
}

/// Writes a file whole or not at all: `fill` writes a temporary one beside it, which then takes its name.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let temporary = path.with_added_extension("part");
    let written = (|| {
        let mut file = File::create(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        let mut buffered = std::io::BufWriter::with_capacity(BUFFER_BYTES, &mut file);
        fill(&mut buffered)?;
        buffered.flush().with_context(|| format!("cannot write {}", temporary.display()))?;
        drop(buffered);
        file.sync_all().with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
    })();
    if written.is_err() {
        // The first error is the one to tell; without the temporary file nothing is left behind.
        let _ = fs::remove_file(&temporary);
    }
    written
}
