//! Multipart uploads: parts on disk until they are put together, given up or too old.
//!
//! Invariants
//! 1. An upload is the folder `.staging/uploads/NAME`: a file with its bucket and key, and one for each part, synced before
//!    it is acknowledged; so an upload goes on after a crash with all that was acknowledged.
//! 2. It ends by one rename of its folder, which is then removed at leisure: never is there an upload with some of its parts.
//! 3. What is staged is bounded: [`UPLOADS_MAX`] uploads, `staged_bytes_max` bytes of parts in all, and whoever does
//!    nothing for `upload_idle_seconds` has given up. Uploads are looked through when something is written, at most once in
//!    [`SWEEP_SECONDS`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::folder::{IngestFolder, Stored, Temporary, failed, sync};
use crate::error::{ErrorCode, S3Rejection};

/// Most open multipart uploads.
pub const UPLOADS_MAX: usize = 1000;
/// How often uploads are looked through.
const SWEEP_SECONDS: u64 = 60;
/// In the folder of an upload: the bucket, a line feed, the key.
const TARGET: &str = "target";

/// An open multipart upload. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// When it was opened.
    pub started: u64,
    /// When something was last done to it.
    pub touched: u64,
    /// Bytes of its parts.
    pub bytes: u64,
}

fn part_name(number: u32) -> String {
    format!("part-{number:05}")
}

fn read_parts(folder: &Path) -> io::Result<BTreeMap<u32, Stored>> {
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_prefix("part-")?.parse().ok()) {
            parts.insert(number, Stored::of(&entry.path())?);
        }
    }
    Ok(parts)
}

/// The uploads of a folder whose buckets are there; what a crash left before it was acknowledged is removed.
pub(super) fn load(uploads: &Path, is_bucket: impl Fn(&str) -> bool) -> io::Result<BTreeMap<String, Upload>> {
    let mut open = BTreeMap::new();
    for entry in fs::read_dir(uploads)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap_or_default());
        let target = fs::read_to_string(path.join(TARGET)).unwrap_or_default();
        let Some((bucket, key)) = target.split_once('\n').filter(|(bucket, _)| is_bucket(bucket)) else {
            fs::remove_dir_all(path)?;
            continue;
        };
        let time = |path: &Path| fs::metadata(path).map(|data| u64::try_from(data.mtime()).unwrap_or_default());
        let (started, touched) = (time(&path.join(TARGET))?, time(&path)?);
        let bytes = read_parts(&path)?.values().map(|part| part.size).sum();
        open.insert(name, Upload { bucket: bucket.into(), key: key.into(), started, touched, bytes });
    }
    Ok(open)
}

impl IngestFolder {
    /// Opens a multipart upload and names it. `now` is in nanoseconds since 1970, so that nobody guesses the name.
    ///
    /// # Errors
    /// Too many of them, a key that cannot be, or the file system's.
    pub fn create_upload(&self, bucket: &str, key: &str, now: u64) -> Result<String, S3Rejection> {
        self.check_target(bucket, key)?;
        let mut state = self.state();
        if state.uploads.len() >= UPLOADS_MAX {
            return Err(S3Rejection::new(ErrorCode::SlowDown, "1000 multipart uploads are open"));
        }
        let number = self.next_number();
        let name = hex::encode(&Sha256::digest(format!("{now} {number} {bucket}/{key}"))[..16]);
        let folder = self.upload_folder(&name);
        let make = || {
            fs::create_dir(&folder)?;
            let mut file = File::create(folder.join(TARGET))?;
            file.write_all(format!("{bucket}\n{key}").as_bytes())?;
            file.sync_all()?;
            sync(&folder)?;
            sync(&self.uploads_dir())
        };
        make().map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            failed(error)
        })?;
        let started = now / 1_000_000_000;
        let upload = Upload { bucket: bucket.into(), key: key.into(), started, touched: started, bytes: 0 };
        state.uploads.insert(name.clone(), upload);
        Ok(name)
    }

    fn upload_folder(&self, upload: &str) -> PathBuf {
        self.uploads_dir().join(upload)
    }

    /// Refuses an upload that is not open for this key, and notes that somebody still wants it.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub fn check_upload(&self, bucket: &str, key: &str, upload: &str, now: u64) -> Result<(), S3Rejection> {
        let mut state = self.state();
        let open = state.uploads.get_mut(upload).filter(|open| open.bucket == bucket && open.key == key);
        let open = open.ok_or(ErrorCode::NoSuchUpload)?;
        open.touched = open.touched.max(now);
        Ok(())
    }

    /// Refuses a part for which there is no room.
    ///
    /// # Errors
    /// `InsufficientStorage`.
    pub fn check_room(&self, bytes: u64) -> Result<(), S3Rejection> {
        let staged: u64 = self.state().uploads.values().map(|upload| upload.bytes).sum();
        self.room(staged, bytes)
    }

    fn room(&self, staged: u64, bytes: u64) -> Result<(), S3Rejection> {
        let max = self.options.staged_bytes_max;
        if staged.saturating_add(bytes) <= max {
            return Ok(());
        }
        let message = format!("the parts of open uploads take {staged} bytes, at most {max} are kept");
        Err(S3Rejection::new(ErrorCode::InsufficientStorage, message))
    }

    /// Gives a complete file its number; one that was there before is replaced.
    ///
    /// # Errors
    /// `NoSuchUpload`, no room, or the file system's.
    pub fn add_part(&self, temporary: Temporary, upload: &str, number: u32, now: u64) -> Result<Stored, S3Rejection> {
        temporary.file.sync_all().map_err(failed)?;
        let bytes = temporary.file.metadata().map_err(failed)?.len();
        let mut state = self.state();
        let staged = state.uploads.values().map(|upload| upload.bytes).sum();
        let open = state.uploads.get_mut(upload).ok_or(ErrorCode::NoSuchUpload)?;
        let folder = self.upload_folder(upload);
        let path = folder.join(part_name(number));
        let before = fs::metadata(&path).map_or(0, |data| data.len());
        self.room(staged - before.min(staged), bytes)?;
        temporary.rename(&path).map_err(failed)?;
        open.bytes = open.bytes.saturating_sub(before) + bytes;
        open.touched = open.touched.max(now);
        sync(&folder).and_then(|()| Stored::of(&path)).map_err(failed)
    }

    /// The parts of an upload, by number.
    ///
    /// # Errors
    /// `NoSuchUpload`, or the file system's.
    pub fn parts(&self, upload: &str) -> Result<BTreeMap<u32, Stored>, S3Rejection> {
        read_parts(&self.upload_folder(upload)).map_err(of_part)
    }

    /// Opens a part.
    ///
    /// # Errors
    /// `NoSuchUpload`, or the file system's.
    pub fn part(&self, upload: &str, number: u32) -> Result<File, S3Rejection> {
        File::open(self.upload_folder(upload).join(part_name(number))).map_err(of_part)
    }

    /// Closes an upload and removes its parts.
    ///
    /// # Errors
    /// `NoSuchUpload`, or the file system's.
    pub fn end_upload(&self, upload: &str) -> Result<(), S3Rejection> {
        let ended = self.staging_name();
        let mut state = self.state();
        if !state.uploads.contains_key(upload) {
            return Err(ErrorCode::NoSuchUpload.into());
        }
        fs::rename(self.upload_folder(upload), &ended).map_err(failed)?;
        state.uploads.remove(upload);
        drop(state);
        sync(&self.uploads_dir()).and_then(|()| fs::remove_dir_all(&ended)).map_err(failed)
    }

    /// Ends what nobody has touched for too long. `now` is in seconds since 1970.
    pub fn expire_uploads(&self, now: u64) {
        let swept = self.swept.load(Ordering::Relaxed);
        if now < swept.saturating_add(SWEEP_SECONDS) {
            return;
        }
        self.swept.store(now, Ordering::Relaxed);
        let idle = self.options.upload_idle_seconds;
        let is_old = |upload: &Upload| upload.touched.saturating_add(idle) <= now;
        let old: Vec<String> =
            self.state().uploads.iter().filter(|(_, upload)| is_old(upload)).map(|(name, _)| name.clone()).collect();
        for name in old {
            match self.end_upload(&name) {
                Ok(()) => tracing::info!(upload = name, "an upload that nobody went on with was given up"),
                Err(error) => tracing::warn!(upload = name, %error, "an old upload stays for now"),
            }
        }
    }
}

/// The upload may have ended since it was looked up.
fn of_part(error: io::Error) -> S3Rejection {
    if error.kind() == io::ErrorKind::NotFound { ErrorCode::NoSuchUpload.into() } else { failed(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::folder::IngestOptions;

    const SECOND: u64 = 1_000_000_000;

    fn part(folder: &IngestFolder, upload: &str, number: u32, bytes: usize, now: u64) -> Result<Stored, ErrorCode> {
        let temporary = folder.temporary().unwrap();
        (&temporary.file).write_all(&vec![7; bytes]).unwrap();
        folder.add_part(temporary, upload, number, now).map_err(|error| error.code)
    }

    #[test]
    fn abandoned_uploads_are_given_up_and_their_bytes_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let options = IngestOptions { upload_idle_seconds: 100, staged_bytes_max: 10 };
        let folder = IngestFolder::open(dir.path(), options).unwrap();
        folder.create_bucket("bucket").unwrap();
        let old = folder.create_upload("bucket", "old", 1000 * SECOND).unwrap();
        let used = folder.create_upload("bucket", "used", 1000 * SECOND).unwrap();
        part(&folder, &old, 1, 6, 1000).unwrap();
        assert_eq!(part(&folder, &used, 1, 5, 1000), Err(ErrorCode::InsufficientStorage));
        part(&folder, &used, 1, 4, 1000).unwrap();
        part(&folder, &used, 1, 3, 1090).unwrap();
        assert_eq!(folder.state().uploads[&used].bytes, 3, "a part that comes again counts once");
        folder.expire_uploads(1099);
        assert_eq!(folder.state().uploads.len(), 2);
        folder.expire_uploads(1110);
        assert_eq!(folder.state().uploads.len(), 2, "looked through a moment ago");
        folder.expire_uploads(1160);
        assert_eq!(folder.state().uploads.keys().collect::<Vec<_>>(), [&used]);
        assert!(!folder.upload_folder(&old).exists());
        part(&folder, &used, 2, 7, 1160).unwrap();
        assert_eq!(folder.check_upload("bucket", "old", &old, 1160).unwrap_err().code, ErrorCode::NoSuchUpload);
        drop(folder);
        let folder = IngestFolder::open(dir.path(), options).unwrap();
        assert_eq!(folder.state().uploads[&used].bytes, 10, "counted anew");
        let names: Vec<_> =
            fs::read_dir(dir.path().join(".staging")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "uploads" || name == "lock"), "{names:?}");
    }
}
