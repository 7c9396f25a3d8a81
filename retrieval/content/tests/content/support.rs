//! Inputs that every test can make again, byte for byte.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;

use cairn_content::ImportOptions;
use sha2::{Digest, Sha256};

/// Deterministic bytes: block `i` of 32 is SHA-256("cairn" || seed || i), numbers as 32-bit little-endian.
pub fn content(bytes: usize, seed: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 32);
    for block in 0..bytes.div_ceil(32) as u32 {
        let mut hasher = Sha256::new();
        hasher.update(b"cairn");
        hasher.update(seed.to_le_bytes());
        hasher.update(block.to_le_bytes());
        out.extend_from_slice(&hasher.finalize());
    }
    out.truncate(bytes);
    out
}

/// Writes a file with its folders; without a seed it is zeros, and sparse.
pub fn write(path: &Path, bytes: u64, seed: Option<u32>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match seed {
        Some(seed) => fs::write(path, content(bytes as usize, seed)).unwrap(),
        None => File::create(path).unwrap().set_len(bytes).unwrap(),
    }
}

/// A folder with a bit of everything: several leaves, empty files, equal files, nesting.
pub fn sample(dir: &Path) {
    write(&dir.join("train/0.tar"), 2_500_000, Some(1));
    write(&dir.join("train/1.tar"), 1_048_576, Some(2));
    write(&dir.join("train/copy-of-0.tar"), 2_500_000, Some(1));
    write(&dir.join("val/0.tar"), 900_000, Some(3));
    write(&dir.join("val/empty"), 0, Some(0));
    write(&dir.join("readme.md"), 77, Some(4));
}

/// Default options with two threads.
pub fn two_workers() -> ImportOptions<'static> {
    ImportOptions { workers: NonZeroUsize::new(2).unwrap(), ..ImportOptions::default() }
}
