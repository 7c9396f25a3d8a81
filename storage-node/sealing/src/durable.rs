//! Files that are whole or not there: written under `<name>.tmp`, synced, renamed, folder synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts `bytes` at `path`, durably; a file of that name is replaced in one moment.
///
/// # Errors
/// Those of the file system; the old file, if any, is untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    let folder = path.parent().ok_or_else(|| io::Error::other("a file lies in a folder"))?;
    File::open(folder)?.sync_all()
}
