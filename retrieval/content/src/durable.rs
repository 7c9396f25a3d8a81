//! Files that survive a crash.
//!
//! A file appears whole or not at all: it is written under a temporary name in the same folder, synced, renamed, and the
//! folder is synced. Whoever finds a name ending in [`TEMPORARY`] finds the rest of a crash and may delete it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Suffix of files that are not finished.
pub(crate) const TEMPORARY: &str = ".partial";

/// A failed file operation and its path.
#[derive(Debug)]
pub struct PathError {
    /// Where.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

/// Attaches a path to an I/O result.
pub(crate) trait AtPath<T> {
    fn at(self, path: &Path) -> Result<T, PathError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, PathError> {
        self.map_err(|error| PathError { path: path.to_owned(), error })
    }
}

/// Writes a whole file, atomically and durably.
///
/// # Errors
/// The file system's; the old file, if there was one, is as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let mut name = path.as_os_str().to_owned();
    name.push(OsString::from(TEMPORARY));
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary).at(&temporary)?;
    file.write_all(bytes).at(&temporary)?;
    file.sync_all().at(&temporary)?;
    drop(file);
    rename(&temporary, path)
}

/// Renames and syncs the folder of the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), PathError> {
    fs::rename(from, to).at(to)?;
    sync(to.parent().unwrap_or(Path::new(".")))
}

/// Syncs one file or folder.
pub(crate) fn sync(path: &Path) -> Result<(), PathError> {
    File::open(path).and_then(|file| file.sync_all()).at(path)
}

/// Syncs a folder with everything below it: files first, each folder after its content.
pub(crate) fn sync_tree(path: &Path) -> Result<(), PathError> {
    for entry in fs::read_dir(path).at(path)? {
        let entry = entry.at(path)?;
        let below = entry.path();
        if entry.file_type().at(&below)?.is_dir() {
            sync_tree(&below)?;
        } else {
            sync(&below)?;
        }
    }
    sync(path)
}

/// Removes a file or folder if it is there.
pub(crate) fn remove_all(path: &Path) -> Result<(), PathError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at(path),
    }
}
