//! Buckets that are being written, as plain folders: `FOLDER/BUCKET/KEY` is one file.
//!
//! Invariants
//! 1. An object is there whole or not at all, and what was acknowledged survives a crash: bytes go to a file in
//!    `FOLDER/.staging`, are synced and renamed, and the folder of the new name is synced.
//! 2. Below a bucket there are objects alone; so the folder is what `cairn order place`, `cairn data publish` and `cairn gateway --data` take.
//! 3. A key is a path: names without `.` at their beginning, no empty ones, none above 255 bytes, no control characters.
//!    A key cannot be a file and a folder at once.
//! 4. An entity tag is a hash of the file's inode, time and size: the same after a restart, never that of other bytes, and
//!    of a form that no client takes for MD5.
//! 5. One process writes to a folder: it holds a lock on `.staging/lock`.
//!
//! Files that a crash left in `.staging` are removed at the start; open multipart uploads stay.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::bucket::is_bucket_name;
use crate::error::{ErrorCode, S3Rejection};
use crate::listing::{Listed, SortedKeys};

/// Most buckets.
pub const BUCKETS_MAX: usize = 100;
/// Most objects of all buckets together; each takes about 200 bytes of memory.
pub const OBJECTS_MAX: usize = 1_000_000;
/// Most open multipart uploads.
pub const UPLOADS_MAX: usize = 1000;
/// Most names of a key.
const KEY_NAMES_MAX: usize = 64;

const STAGING: &str = ".staging";
const UPLOADS: &str = "uploads";
/// In the folder of an upload: the bucket, a line feed, the key.
const UPLOAD_TARGET: &str = "target";

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}", path = path.display())]
pub struct IngestError {
    /// Where.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, IngestError> {
    result.map_err(|error| IngestError { path: path.to_owned(), error })
}

/// What is known of an object or a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: u64,
    /// The entity tag, without quotes.
    pub etag: String,
}

impl Stored {
    fn of(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|data| Self::of_metadata(&data))
    }

    fn of_metadata(data: &fs::Metadata) -> Self {
        let mut hash = Sha256::new();
        for number in [data.ino(), data.mtime() as u64, data.mtime_nsec() as u64, data.size()] {
            hash.update(number.to_be_bytes());
        }
        let etag = format!("{}-w", hex::encode(&hash.finalize()[..16]));
        Self { size: data.size(), modified: u64::try_from(data.mtime()).unwrap_or_default(), etag }
    }
}

/// Objects of a bucket in the order of their keys.
pub type Objects = BTreeMap<String, Stored>;

/// An open multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub struct State {
    /// The buckets.
    pub buckets: BTreeMap<String, Objects>,
    /// Open uploads by their names.
    pub uploads: BTreeMap<String, Upload>,
}

impl State {
    /// The objects of a bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn objects(&self, bucket: &str) -> Result<&Objects, S3Rejection> {
        self.buckets.get(bucket).ok_or_else(|| ErrorCode::NoSuchBucket.into())
    }

    fn may_hold(&self, bucket: &str, key: &str) -> Result<(), S3Rejection> {
        let objects = self.objects(bucket)?;
        let conflict = |what: &str| S3Rejection::new(ErrorCode::InvalidRequest, format!("{key:?} {what}"));
        if key.match_indices('/').any(|(place, _)| objects.contains_key(&key[..place])) {
            return Err(conflict("lies below a key that is an object; keys are paths here"));
        }
        let below = format!("{key}/");
        if objects.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below)) {
            return Err(conflict("has keys below it; keys are paths here"));
        }
        let full = self.buckets.values().map(BTreeMap::len).sum::<usize>() >= OBJECTS_MAX;
        if full && !objects.contains_key(key) {
            return Err(S3Rejection::new(ErrorCode::SlowDown, "this gateway holds as many objects as it may"));
        }
        Ok(())
    }
}

/// Keys of a bucket for a listing.
pub struct Keys<'a>(pub &'a Objects);

impl SortedKeys for Keys<'_> {
    fn seek(&self, position: &[u8]) -> Option<&str> {
        // A position may end inside a character: below the first key that begins with a whole one.
        let text = match std::str::from_utf8(position) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&position[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut from = self.0.range::<str, _>((std::ops::Bound::Included(text), std::ops::Bound::Unbounded));
        from.find(|(key, _)| key.as_bytes() >= position).map(|(key, _)| key.as_str())
    }

    fn describe(&self, key: &str) -> Listed {
        let stored = &self.0[key];
        Listed { key: key.into(), size: stored.size, etag: stored.etag.clone(), modified: stored.modified }
    }
}

/// Refuses a key that is no path.
///
/// # Errors
/// `InvalidArgument` with the reason.
pub fn check_key(key: &str) -> Result<(), S3Rejection> {
    let refused = |what: &str| Err(S3Rejection::new(ErrorCode::InvalidArgument, format!("the key {key:?} {what}")));
    if key.split('/').count() > KEY_NAMES_MAX {
        return refused("has more than 64 names");
    }
    for name in key.split('/') {
        if name.is_empty() {
            return refused("has an empty name; keys are paths here");
        }
        if name.starts_with('.') {
            return refused("has a name that begins with a dot; a dataset leaves those out");
        }
        if name.len() > 255 || name.chars().any(char::is_control) {
            return refused("has a name above 255 bytes, or a control character");
        }
    }
    Ok(())
}

/// A file in the staging folder, removed unless it was given its name.
pub struct Temporary {
    path: PathBuf,
    /// The file itself.
    pub file: File,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The answer to a failed file operation: a full disk is named, the rest is logged.
pub fn failed(error: io::Error) -> S3Rejection {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::InsufficientStorage.into(),
        _ => {
            tracing::error!(%error, "an upload could not be stored");
            S3Rejection::new(ErrorCode::InternalError, "the upload could not be stored")
        }
    }
}

/// Conditions of a write, looked at in the moment of the rename.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// `If-None-Match: *`.
    pub absent: bool,
    /// `If-Match`, without quotes.
    pub etag: Option<String>,
}

/// The folder.
#[derive(Debug)]
pub struct IngestFolder {
    root: PathBuf,
    state: Mutex<State>,
    next: AtomicU64,
    _lock: File,
}

impl IngestFolder {
    /// Opens a folder, made if it is not there.
    ///
    /// # Errors
    /// The file system's, or another process has it open.
    pub fn open(root: &Path) -> Result<Self, IngestError> {
        let staging = root.join(STAGING);
        let uploads = staging.join(UPLOADS);
        at(&uploads, fs::create_dir_all(&uploads))?;
        let lock_path = staging.join("lock");
        let lock = at(&lock_path, File::create(&lock_path))?;
        let busy = |_| io::Error::other("another process writes to this folder");
        at(root, lock.try_lock().map_err(busy))?;
        let mut state = State::default();
        at(root, load(root, &mut state))?;
        at(root, sync(root))?;
        Ok(Self { root: root.to_owned(), state: Mutex::new(state), next: AtomicU64::new(0), _lock: lock })
    }

    /// What is there now.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a bucket is one of these.
    pub fn has(&self, bucket: &str) -> bool {
        self.state().buckets.contains_key(bucket)
    }

    /// Makes a bucket; one that is there is left as it is.
    ///
    /// # Errors
    /// A name that S3 does not allow, too many of them, or the file system's.
    pub fn create_bucket(&self, bucket: &str) -> Result<(), S3Rejection> {
        if !is_bucket_name(bucket) {
            return Err(ErrorCode::InvalidBucketName.into());
        }
        let mut state = self.state();
        if state.buckets.contains_key(bucket) {
            return Ok(());
        }
        if state.buckets.len() >= BUCKETS_MAX {
            return Err(ErrorCode::TooManyBuckets.into());
        }
        fs::create_dir(self.root.join(bucket)).and_then(|()| sync(&self.root)).map_err(failed)?;
        state.buckets.insert(bucket.to_owned(), Objects::new());
        Ok(())
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// `BucketNotEmpty`, `NoSuchBucket`, or the file system's.
    pub fn delete_bucket(&self, bucket: &str) -> Result<(), S3Rejection> {
        let mut state = self.state();
        let open = state.uploads.values().any(|upload| upload.bucket == bucket);
        if !state.objects(bucket)?.is_empty() || open {
            return Err(ErrorCode::BucketNotEmpty.into());
        }
        fs::remove_dir(self.root.join(bucket)).and_then(|()| sync(&self.root)).map_err(failed)?;
        state.buckets.remove(bucket);
        Ok(())
    }

    /// Refuses a key that cannot be written, before its body is read.
    ///
    /// # Errors
    /// See [`check_key`]; `NoSuchBucket`; a key that is a folder already.
    pub fn check_target(&self, bucket: &str, key: &str) -> Result<(), S3Rejection> {
        check_key(key)?;
        self.state().may_hold(bucket, key)
    }

    /// A new file in the staging folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn temporary(&self) -> Result<Temporary, S3Rejection> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(STAGING).join(format!("{number}.partial"));
        let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        Ok(Temporary { path, file })
    }

    /// Gives a complete file its name. What this acknowledges survives a crash.
    ///
    /// # Errors
    /// A condition that does not hold, a key that cannot be, or the file system's.
    pub fn publish(
        &self,
        temporary: Temporary,
        bucket: &str,
        key: &str,
        conditions: &Conditions,
    ) -> Result<Stored, S3Rejection> {
        temporary.file.sync_all().map_err(failed)?;
        let mut state = self.state();
        state.may_hold(bucket, key)?;
        let present = state.buckets[bucket].get(key);
        let wrong_tag = conditions.etag.as_ref().is_some_and(|tag| present.is_none_or(|present| present.etag != *tag));
        if wrong_tag || (conditions.absent && present.is_some()) {
            return Err(ErrorCode::PreconditionFailed.into());
        }
        let path = self.make_folders(bucket, key).map_err(failed)?;
        let stored = temporary.file.metadata().map(|data| Stored::of_metadata(&data)).map_err(failed)?;
        fs::rename(&temporary.path, &path).map_err(failed)?;
        // The file is there from here on, whatever becomes of the rest: the state follows the folder.
        state.buckets.get_mut(bucket).expect("looked up above").insert(key.to_owned(), stored.clone());
        sync(path.parent().unwrap_or(&self.root)).map_err(failed)?;
        Ok(stored)
    }

    /// The folders above a key, each synced into the one above it. Never through a link.
    fn make_folders(&self, bucket: &str, key: &str) -> io::Result<PathBuf> {
        let mut folder = self.root.join(bucket);
        let mut names = key.split('/').peekable();
        while let Some(name) = names.next() {
            let path = folder.join(name);
            if names.peek().is_none() {
                return Ok(path);
            }
            match fs::symlink_metadata(&path) {
                Ok(data) if data.is_dir() => {}
                Ok(_) => return Err(io::Error::other("something that is no folder stands in the way")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&path)?;
                    sync(&folder)?;
                }
                Err(error) => return Err(error),
            }
            folder = path;
        }
        Ok(folder)
    }

    /// Removes an object, if it is there, and the folders that it leaves empty.
    ///
    /// # Errors
    /// `NoSuchBucket`, or the file system's.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<(), S3Rejection> {
        let mut state = self.state();
        if !state.objects(bucket)?.contains_key(key) {
            return Ok(());
        }
        let base = self.root.join(bucket);
        let path = base.join(key);
        fs::remove_file(&path).map_err(failed)?;
        state.buckets.get_mut(bucket).expect("looked up above").remove(key);
        let mut folder = path.parent().unwrap_or(&base).to_owned();
        while folder != base && fs::remove_dir(&folder).is_ok() {
            folder.pop();
        }
        sync(&folder).map_err(failed)
    }

    /// Opens an object.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, or the file system's.
    pub fn read(&self, bucket: &str, key: &str) -> Result<(File, Stored), S3Rejection> {
        let state = self.state();
        let stored = state.objects(bucket)?.get(key).ok_or(ErrorCode::NoSuchKey)?.clone();
        let file = File::open(self.root.join(bucket).join(key)).map_err(failed)?;
        Ok((file, stored))
    }

    /// Opens a multipart upload and names it.
    ///
    /// # Errors
    /// Too many of them, a key that cannot be, or the file system's.
    pub fn create_upload(&self, bucket: &str, key: &str, seed: u64) -> Result<String, S3Rejection> {
        self.check_target(bucket, key)?;
        let mut state = self.state();
        if state.uploads.len() >= UPLOADS_MAX {
            return Err(S3Rejection::new(ErrorCode::SlowDown, "1000 multipart uploads are open"));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = hex::encode(&Sha256::digest(format!("{seed} {number} {bucket}/{key}"))[..16]);
        let folder = self.upload_folder(&name);
        let make = || {
            fs::create_dir(&folder)?;
            let mut file = File::create(folder.join(UPLOAD_TARGET))?;
            io::Write::write_all(&mut file, format!("{bucket}\n{key}").as_bytes())?;
            file.sync_all()?;
            sync(&folder)?;
            sync(folder.parent().unwrap_or(&self.root))
        };
        make().map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            failed(error)
        })?;
        state.uploads.insert(name.clone(), Upload { bucket: bucket.into(), key: key.into() });
        Ok(name)
    }

    fn upload_folder(&self, upload: &str) -> PathBuf {
        self.root.join(STAGING).join(UPLOADS).join(upload)
    }

    /// Refuses an upload that is not open for this key.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub fn check_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), S3Rejection> {
        let state = self.state();
        let open = state.uploads.get(upload).filter(|open| open.bucket == bucket && open.key == key);
        open.map(drop).ok_or_else(|| ErrorCode::NoSuchUpload.into())
    }

    /// Gives a complete file its number; one that was there before is replaced.
    ///
    /// # Errors
    /// `NoSuchUpload`, or the file system's.
    pub fn add_part(&self, temporary: Temporary, upload: &str, number: u32) -> Result<Stored, S3Rejection> {
        temporary.file.sync_all().map_err(failed)?;
        let state = self.state();
        if !state.uploads.contains_key(upload) {
            return Err(ErrorCode::NoSuchUpload.into());
        }
        let folder = self.upload_folder(upload);
        let path = folder.join(part_name(number));
        let put = || {
            fs::rename(&temporary.path, &path)?;
            sync(&folder)?;
            Stored::of(&path)
        };
        put().map_err(failed)
    }

    /// The parts of an upload, by number.
    ///
    /// # Errors
    /// The file system's.
    pub fn parts(&self, upload: &str) -> Result<BTreeMap<u32, Stored>, S3Rejection> {
        let read = || {
            let mut parts = BTreeMap::new();
            for entry in fs::read_dir(self.upload_folder(upload))? {
                let entry = entry?;
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix("part-")?.parse().ok());
                if let Some(number) = number {
                    parts.insert(number, Stored::of(&entry.path())?);
                }
            }
            Ok(parts)
        };
        read().map_err(failed)
    }

    /// Opens a part.
    ///
    /// # Errors
    /// The file system's.
    pub fn part(&self, upload: &str, number: u32) -> Result<File, S3Rejection> {
        File::open(self.upload_folder(upload).join(part_name(number))).map_err(failed)
    }

    /// Closes an upload and removes its parts.
    ///
    /// # Errors
    /// The file system's.
    pub fn end_upload(&self, upload: &str) -> Result<(), S3Rejection> {
        let mut state = self.state();
        fs::remove_dir_all(self.upload_folder(upload)).map_err(failed)?;
        state.uploads.remove(upload);
        Ok(())
    }
}

fn part_name(number: u32) -> String {
    format!("part-{number:05}")
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn load(root: &Path, state: &mut State) -> io::Result<()> {
    let staging = root.join(STAGING);
    for entry in fs::read_dir(&staging)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "partial") {
            fs::remove_file(path)?;
        }
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if is_bucket_name(&name) && entry.file_type()?.is_dir() {
            let mut objects = Objects::new();
            load_objects(&entry.path(), "", &mut objects)?;
            state.buckets.insert(name, objects);
        }
    }
    for entry in fs::read_dir(staging.join(UPLOADS))? {
        let (path, name) = {
            let entry = entry?;
            (entry.path(), entry.file_name().into_string().unwrap_or_default())
        };
        let target = fs::read_to_string(path.join(UPLOAD_TARGET)).unwrap_or_default();
        match target.split_once('\n').filter(|(bucket, _)| state.buckets.contains_key(*bucket)) {
            Some((bucket, key)) => {
                state.uploads.insert(name, Upload { bucket: bucket.into(), key: key.into() });
            }
            // A crash came before it was acknowledged.
            None => fs::remove_dir_all(path)?,
        }
    }
    Ok(())
}

fn load_objects(folder: &Path, prefix: &str, objects: &mut Objects) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && key.split('/').count() <= KEY_NAMES_MAX {
            load_objects(&entry.path(), &key, objects)?;
        } else if kind.is_file() && check_key(&key).is_ok() {
            objects.insert(key, Stored::of(&entry.path())?);
        }
        if objects.len() > OBJECTS_MAX {
            return Err(io::Error::other("more than 1000000 objects"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn put(folder: &IngestFolder, key: &str, text: &str) -> Result<Stored, ErrorCode> {
        let all = || {
            folder.check_target("bucket", key)?;
            let mut temporary = folder.temporary()?;
            temporary.file.write_all(text.as_bytes()).map_err(failed)?;
            folder.publish(temporary, "bucket", key, &Conditions::default())
        };
        all().map_err(|error| error.code)
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_restart_and_the_rest_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path()).unwrap();
        folder.create_bucket("bucket").unwrap();
        let stored = put(&folder, "a/b", "text").unwrap();
        let upload = folder.create_upload("bucket", "c", 7).unwrap();
        std::mem::forget(folder.temporary().unwrap());
        assert!(IngestFolder::open(dir.path()).is_err(), "one process at a time");
        drop(folder);
        let folder = IngestFolder::open(dir.path()).unwrap();
        assert_eq!(folder.read("bucket", "a/b").unwrap().1, stored);
        folder.check_upload("bucket", "c", &upload).unwrap();
        assert!(!fs::read_dir(dir.path().join(STAGING)).unwrap().any(|e| e.unwrap().path().extension().is_some()));
        folder.end_upload(&upload).unwrap();
        folder.delete("bucket", "a/b").unwrap();
        assert!(!dir.path().join("bucket/a").exists());
        folder.delete_bucket("bucket").unwrap();
    }

    #[test]
    fn keys_are_paths_and_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path()).unwrap();
        folder.create_bucket("bucket").unwrap();
        for key in ["", "/a", "a//b", "a/", "..", "a/../../b", ".hidden", "a\0b", &"n".repeat(256)] {
            assert_eq!(put(&folder, key, ""), Err(ErrorCode::InvalidArgument), "{key:?}");
        }
        put(&folder, "a", "").unwrap();
        assert_eq!(put(&folder, "a/b", ""), Err(ErrorCode::InvalidRequest));
        put(&folder, "c/d", "").unwrap();
        assert_eq!(put(&folder, "c", ""), Err(ErrorCode::InvalidRequest));
        assert_eq!(folder.create_bucket("../x").unwrap_err().code, ErrorCode::InvalidBucketName);
    }

    #[test]
    fn conditions_are_looked_at_when_the_name_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path()).unwrap();
        folder.create_bucket("bucket").unwrap();
        let first = put(&folder, "a", "1").unwrap();
        let with = |conditions: Conditions| {
            folder.publish(folder.temporary().unwrap(), "bucket", "a", &conditions).map_err(|error| error.code)
        };
        let failed = Err(ErrorCode::PreconditionFailed);
        assert_eq!(with(Conditions { absent: true, etag: None }), failed);
        assert_eq!(with(Conditions { absent: false, etag: Some("other".into()) }), failed);
        let second = with(Conditions { absent: false, etag: Some(first.etag.clone()) }).unwrap();
        assert_ne!(second.etag, first.etag);
    }
}
