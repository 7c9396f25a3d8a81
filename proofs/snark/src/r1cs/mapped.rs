//! Mapping a file into memory: the one place here that needs `unsafe`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file, read-only.
///
/// # Errors
/// Those of the system.
pub(super) fn map(file: &Path) -> io::Result<Mmap> {
    let file = File::open(file)?;
    // SAFETY: the file is written under another name and renamed when it is complete, and nothing of ours writes to it
    // afterwards. If something else cuts it short while it is mapped, reading it ends the process; bytes are only ever
    // read as bytes, so a change cannot break an invariant of a type.
    unsafe { Mmap::map(&file) }
}
