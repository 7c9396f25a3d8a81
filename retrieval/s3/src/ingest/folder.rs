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
//! What a crash left half done in `.staging` is removed at the start; open multipart uploads stay ([`super::uploads`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::uploads::{self, Upload};
use crate::bucket::is_bucket_name;
use crate::error::{ErrorCode, S3Rejection};
use crate::listing::{Listed, SortedKeys};
use crate::time::seconds;

/// Most buckets.
pub const BUCKETS_MAX: usize = 100;
/// Most objects of all buckets together; each takes about 200 bytes of memory.
pub const OBJECTS_MAX: usize = 1_000_000;
/// Most names of a key.
const KEY_NAMES_MAX: usize = 64;

const STAGING: &str = ".staging";
const UPLOADS: &str = "uploads";

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
    pub(super) fn of(path: &Path) -> io::Result<Self> {
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

    /// Refuses a folder where an object is, or above which one is.
    fn may_be_folder(&self, bucket: &str, path: &str) -> Result<(), S3Rejection> {
        let objects = self.objects(bucket)?;
        let mut ends = path.match_indices('/').map(|(place, _)| place).chain([path.len()]);
        if ends.any(|end| objects.contains_key(&path[..end])) {
            let message = format!("{path:?} is an object or lies below one; keys are paths here");
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, message));
        }
        Ok(())
    }

    fn may_hold(&self, bucket: &str, key: &str) -> Result<(), S3Rejection> {
        let objects = self.objects(bucket)?;
        let conflict = |what: &str| S3Rejection::new(ErrorCode::InvalidRequest, format!("{key:?} {what}"));
        if let Some((folder, _)) = key.rsplit_once('/') {
            self.may_be_folder(bucket, folder)?;
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

impl Temporary {
    /// Gives it a name; from then on it stays.
    pub(super) fn rename(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
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

/// Conditions of a change, looked at in the moment of the rename or removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-None-Match: *`.
    pub absent: bool,
    /// `If-Match`, without quotes; `*` is any object.
    pub etag: Option<String>,
}

impl Conditions {
    fn check(&self, present: Option<&Stored>) -> Result<(), S3Rejection> {
        let is_it = |tag: &String| present.is_some_and(|present| *tag == present.etag || tag == "*");
        let holds = self.etag.as_ref().is_none_or(is_it) && !(self.absent && present.is_some());
        if holds { Ok(()) } else { Err(ErrorCode::PreconditionFailed.into()) }
    }
}

/// Bounds of what is not an object yet.
#[derive(Debug, Clone, Copy)]
pub struct IngestOptions {
    /// Seconds after which a multipart upload that nobody touches is given up. Default 7 days.
    pub upload_idle_seconds: u64,
    /// Most bytes of the parts of all open uploads together. Default 1 TiB.
    pub staged_bytes_max: u64,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self { upload_idle_seconds: 7 * 24 * 3600, staged_bytes_max: 1 << 40 }
    }
}

/// The folder.
#[derive(Debug)]
pub struct IngestFolder {
    root: PathBuf,
    state: Mutex<State>,
    pub(super) options: IngestOptions,
    /// Seconds since 1970 when uploads were last looked through.
    pub(super) swept: AtomicU64,
    next: AtomicU64,
    _lock: File,
}

impl IngestFolder {
    /// Opens a folder, made if it is not there.
    ///
    /// # Errors
    /// The file system's, or another process has it open.
    pub fn open(root: &Path, options: IngestOptions) -> Result<Self, IngestError> {
        let staging = root.join(STAGING);
        let uploads_dir = staging.join(UPLOADS);
        at(&uploads_dir, fs::create_dir_all(&uploads_dir))?;
        let lock_path = staging.join("lock");
        let lock = at(&lock_path, File::create(&lock_path))?;
        let busy = |_| io::Error::other("another process writes to this folder");
        at(root, lock.try_lock().map_err(busy))?;
        let mut state = State::default();
        at(root, load(root, &mut state))?;
        at(root, sync(root))?;
        let (state, swept, next) = (Mutex::new(state), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { root: root.to_owned(), state, options, swept, next, _lock: lock })
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

    /// Refuses a folder that cannot be; nothing is made of one that can, folders are there by their objects.
    ///
    /// # Errors
    /// See [`check_key`]; `NoSuchBucket`; an object that stands in the way.
    pub fn check_folder(&self, bucket: &str, path: &str) -> Result<(), S3Rejection> {
        check_key(path)?;
        self.state().may_be_folder(bucket, path)
    }

    /// A number that no other call of this process gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new name for what a crash may take.
    pub(super) fn staging_name(&self) -> PathBuf {
        self.root.join(STAGING).join(format!("{}.partial", self.next_number()))
    }

    /// Where open uploads lie.
    pub(super) fn uploads_dir(&self) -> PathBuf {
        self.root.join(STAGING).join(UPLOADS)
    }

    /// When a bucket was made, in seconds since 1970, as far as the file system knows.
    pub fn created(&self, bucket: &str) -> u64 {
        let data = fs::metadata(self.root.join(bucket));
        data.and_then(|data| data.created().or_else(|_| data.modified())).map_or(0, seconds)
    }

    /// A new file in the staging folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn temporary(&self) -> Result<Temporary, S3Rejection> {
        let path = self.staging_name();
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
        conditions.check(state.buckets[bucket].get(key))?;
        let path = self.make_folders(bucket, key).map_err(failed)?;
        let stored = temporary.file.metadata().map(|data| Stored::of_metadata(&data)).map_err(failed)?;
        temporary.rename(&path).map_err(failed)?;
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
    /// `NoSuchBucket`, a condition that does not hold, or the file system's.
    pub fn delete(&self, bucket: &str, key: &str, conditions: &Conditions) -> Result<(), S3Rejection> {
        let mut state = self.state();
        match self.remove(&mut state, bucket, key, conditions)? {
            Some(folder) => sync(&folder).map_err(failed),
            None => Ok(()),
        }
    }

    /// Removes objects, each like [`Self::delete`], and syncs each folder once. What the first error of a sync leaves open is
    /// told of every one of them.
    pub fn delete_all(&self, bucket: &str, wanted: &[(String, Conditions)]) -> Vec<Result<(), S3Rejection>> {
        let mut folders = BTreeSet::new();
        let mut state = self.state();
        let mut removed: Vec<Result<(), S3Rejection>> = Vec::with_capacity(wanted.len());
        for (key, conditions) in wanted {
            let one = self.remove(&mut state, bucket, key, conditions);
            removed.push(one.map(|folder| folders.extend(folder)));
        }
        drop(state);
        // A folder that became empty after it was noted is gone, and the one above it is noted too.
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let synced = folders
            .iter()
            .try_for_each(|folder| sync(folder).or_else(|error| if gone(&error) { Ok(()) } else { Err(error) }));
        if let Err(error) = synced {
            let refusal = failed(error);
            removed.iter_mut().filter(|one| one.is_ok()).for_each(|one| *one = Err(refusal.clone()));
        }
        removed
    }

    /// Removes an object and says which folder changed.
    fn remove(
        &self,
        state: &mut State,
        bucket: &str,
        key: &str,
        conditions: &Conditions,
    ) -> Result<Option<PathBuf>, S3Rejection> {
        let present = state.objects(bucket)?.get(key);
        conditions.check(present)?;
        if present.is_none() {
            return Ok(None);
        }
        let base = self.root.join(bucket);
        let path = base.join(key);
        fs::remove_file(&path).map_err(failed)?;
        state.buckets.get_mut(bucket).expect("looked up above").remove(key);
        let mut folder = path.parent().unwrap_or(&base).to_owned();
        while folder != base && fs::remove_dir(&folder).is_ok() {
            folder.pop();
        }
        Ok(Some(folder))
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
}

pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn load(root: &Path, state: &mut State) -> io::Result<()> {
    let staging = root.join(STAGING);
    for entry in fs::read_dir(&staging)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "partial") {
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
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
    state.uploads = uploads::load(&staging.join(UPLOADS), |bucket| state.buckets.contains_key(bucket))?;
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
        let folder = IngestFolder::open(dir.path(), IngestOptions::default()).unwrap();
        folder.create_bucket("bucket").unwrap();
        let stored = put(&folder, "a/b", "text").unwrap();
        let upload = folder.create_upload("bucket", "c", 7).unwrap();
        folder.add_part(folder.temporary().unwrap(), &upload, 1, 7).unwrap();
        std::mem::forget(folder.temporary().unwrap());
        assert!(IngestFolder::open(dir.path(), IngestOptions::default()).is_err(), "one process at a time");
        drop(folder);
        let folder = IngestFolder::open(dir.path(), IngestOptions::default()).unwrap();
        assert_eq!(folder.read("bucket", "a/b").unwrap().1, stored);
        folder.check_upload("bucket", "c", &upload, 0).unwrap();
        assert!(!fs::read_dir(dir.path().join(STAGING)).unwrap().any(|e| e.unwrap().path().extension().is_some()));
        assert_eq!(folder.parts(&upload).unwrap().len(), 1);
        folder.end_upload(&upload).unwrap();
        folder.delete("bucket", "a/b", &Conditions::default()).unwrap();
        assert!(!dir.path().join("bucket/a").exists());
        folder.delete_bucket("bucket").unwrap();
    }

    #[test]
    fn keys_are_paths_and_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path(), IngestOptions::default()).unwrap();
        folder.create_bucket("bucket").unwrap();
        for key in ["", "/a", "a//b", "a/", "..", "a/../../b", ".hidden", "a\0b", &"n".repeat(256)] {
            assert_eq!(put(&folder, key, ""), Err(ErrorCode::InvalidArgument), "{key:?}");
        }
        put(&folder, "a", "").unwrap();
        assert_eq!(put(&folder, "a/b", ""), Err(ErrorCode::InvalidRequest));
        put(&folder, "c/d", "").unwrap();
        assert_eq!(put(&folder, "c", ""), Err(ErrorCode::InvalidRequest));
        // As PyArrow marks the folder of an object that it moved away.
        folder.check_folder("bucket", "c").unwrap();
        for path in ["a", "a/b", "c/d", ""] {
            assert!(folder.check_folder("bucket", path).is_err(), "{path}");
        }
        assert_eq!(folder.create_bucket("../x").unwrap_err().code, ErrorCode::InvalidBucketName);
    }

    #[test]
    fn conditions_are_looked_at_when_the_name_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path(), IngestOptions::default()).unwrap();
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
        let delete = |tag: &str| {
            let conditions = Conditions { absent: false, etag: Some(tag.into()) };
            folder.delete("bucket", "a", &conditions).map_err(|error| error.code)
        };
        assert_eq!(delete(&first.etag), Err(ErrorCode::PreconditionFailed));
        assert_eq!(delete(&second.etag), Ok(()));
        assert_eq!(delete("*"), Err(ErrorCode::PreconditionFailed), "nothing is there any more");
    }

    #[test]
    fn many_are_removed_at_once_and_each_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IngestFolder::open(dir.path(), IngestOptions::default()).unwrap();
        folder.create_bucket("bucket").unwrap();
        for key in ["a/b/c", "a/b/d", "e"] {
            put(&folder, key, "").unwrap();
        }
        let other = Conditions { absent: false, etag: Some("other".into()) };
        let wanted = ["a/b/c", "missing", "a/b/d"].map(|key| (key.to_owned(), Conditions::default()));
        let wanted = [wanted.as_slice(), &[("e".to_owned(), other)]].concat();
        let codes: Vec<_> =
            folder.delete_all("bucket", &wanted).into_iter().map(|one| one.map_err(|e| e.code)).collect();
        assert_eq!(codes, [Ok(()), Ok(()), Ok(()), Err(ErrorCode::PreconditionFailed)]);
        assert!(!dir.path().join("bucket/a").exists() && dir.path().join("bucket/e").exists());
        assert!(
            folder
                .delete_all("none", &wanted)
                .iter()
                .all(|one| one.as_ref().unwrap_err().code == ErrorCode::NoSuchBucket)
        );
    }
}
