//! Free space, asked before a stage begins: a full disk found after an hour of labelling is an hour too late.

use std::io;
use std::path::{Path, PathBuf};

/// A stage needs more space than there is. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: needs {needed} free bytes ({reserved} of them kept in reserve), got {free}", path.display())]
pub struct NoSpace {
    /// A folder on the file system that is too full.
    pub path: PathBuf,
    /// Bytes the stage writes, and the reserve.
    pub needed: u64,
    /// The reserve in it.
    pub reserved: u64,
    /// Bytes free for this user.
    pub free: u64,
}

/// Bytes that this user may still write on the file system of `path`.
///
/// # Errors
/// Those of the system.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Checks that `bytes` and a reserve are free at `path`.
///
/// # Errors
/// The outer error is the system's, the inner one says how much is missing.
pub fn check_free(path: &Path, bytes: u64, reserved: u64) -> io::Result<Result<(), NoSpace>> {
    let free = free_bytes(path)?;
    let needed = bytes.saturating_add(reserved);
    if bytes == 0 || free >= needed {
        return Ok(Ok(()));
    }
    Ok(Err(NoSpace { path: path.to_owned(), needed, reserved, free }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_holds_is_refused_with_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_free(dir.path(), 0, u64::MAX).unwrap(), Ok(()));
        let refused = check_free(dir.path(), 1, u64::MAX - 1).unwrap().unwrap_err();
        assert_eq!((refused.needed, refused.reserved), (u64::MAX, u64::MAX - 1));
        assert!(check_free(&dir.path().join("missing"), 1, 0).is_err());
    }
}
