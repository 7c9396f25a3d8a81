//! Whole folders: each file into one of the same name in another folder, which appears complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::frames::{FrameReader, Salt, encrypt};
use crate::{DatasetKey, EncryptionError, EncryptionRejection, KeyFile};

/// Name of the key file, at the top of an encrypted dataset.
pub const KEY_FILE: &str = "cairn-keys.json";

const FOLDER_DEPTH_MAX: usize = 64;

/// Encrypts every file of `source` into the new folder `destination`, and puts `keys` at its top. `salt` gives new random
/// bytes each time. Returns the plain and the encrypted bytes of all files.
///
/// # Errors
/// [`EncryptionRejection::Entry`] for links and other special files, for a key file that is there already and for a taken
/// destination; [`EncryptionError::File`].
pub fn encrypt_folder(
    source: &Path,
    destination: &Path,
    key: &DatasetKey,
    keys: &KeyFile,
    salt: &mut dyn FnMut() -> Salt,
) -> Result<(u64, u64), EncryptionError> {
    if source.join(KEY_FILE).symlink_metadata().is_ok() {
        return Err(entry(&source.join(KEY_FILE), "the folder is encrypted already"));
    }
    let (mut plain_bytes, mut encrypted_bytes) = (0, 0);
    whole(source, destination, |part| {
        walk(source, part, 0, &mut |from, to| {
            let size = fs::metadata(from).map_err(file("read", from))?.len();
            let layout = write_new(to, |out| {
                let mut plain = File::open(from).map_err(file("read", from))?;
                encrypt(&mut plain, size, out, key, salt()).map_err(file("encrypt", from))?.map_err(Into::into)
            })?;
            plain_bytes += layout.plain_bytes();
            encrypted_bytes += layout.encrypted_bytes();
            Ok(())
        })?;
        let to = part.join(KEY_FILE);
        write_new(&to, |out| out.write_all(keys.to_json().as_bytes()).map_err(file("write", &to)))
    })?;
    Ok((plain_bytes, encrypted_bytes))
}

/// Decrypts every file of an encrypted folder, but the key file at its top, into the new folder `destination`. Returns the
/// plain bytes.
///
/// # Errors
/// As [`decrypt_file`], and [`EncryptionRejection::Entry`] as [`encrypt_folder`].
pub fn decrypt_folder(source: &Path, destination: &Path, key: &DatasetKey) -> Result<u64, EncryptionError> {
    let mut plain_bytes = 0;
    let key_file = source.join(KEY_FILE);
    whole(source, destination, |part| {
        walk(source, part, 0, &mut |from, to| {
            if from != key_file {
                plain_bytes += decrypt_into(from, to, key)?;
            }
            Ok(())
        })
    })?;
    Ok(plain_bytes)
}

/// Decrypts one file to `destination`, which appears whole or not at all. Returns the plain bytes.
///
/// # Errors
/// [`EncryptionRejection`] for a taken destination and whatever is wrong with the file; [`EncryptionError::File`].
pub fn decrypt_file(source: &Path, destination: &Path, key: &DatasetKey) -> Result<u64, EncryptionError> {
    refuse_taken(destination)?;
    let part = parent(destination);
    let part = tempfile::Builder::new().prefix(".cairn-part-").tempdir_in(part).map_err(file("write in", part))?;
    let inner = part.path().join("file");
    let plain_bytes = decrypt_into(source, &inner, key)?;
    fs::rename(&inner, destination).map_err(file("write", destination))?;
    sync(parent(destination))?;
    Ok(plain_bytes)
}

fn decrypt_into(from: &Path, to: &Path, key: &DatasetKey) -> Result<u64, EncryptionError> {
    let encrypted = File::open(from).map_err(file("read", from))?;
    let name = from.display().to_string();
    let mut reader = FrameReader::open(encrypted, key, &name).map_err(file("read", from))??;
    write_new(to, |out| reader.read_all(out).map_err(file("decrypt", from))?.map_err(Into::into))?;
    Ok(reader.layout().plain_bytes())
}

/// Fills a temporary folder beside `destination`, which then takes its name.
fn whole(
    source: &Path,
    destination: &Path,
    fill: impl FnOnce(&Path) -> Result<(), EncryptionError>,
) -> Result<(), EncryptionError> {
    refuse_taken(destination)?;
    let inside = (fs::canonicalize(source), fs::canonicalize(parent(destination)));
    if let (Ok(source), Ok(outer)) = &inside
        && outer.starts_with(source)
    {
        return Err(entry(destination, "it lies within the folder that is read"));
    }
    let outer = parent(destination);
    let part = tempfile::Builder::new().prefix(".cairn-part-").tempdir_in(outer).map_err(file("write in", outer))?;
    let inner = part.path().join("folder");
    fs::create_dir(&inner).map_err(file("write", &inner))?;
    fill(&inner)?;
    fs::rename(&inner, destination).map_err(file("write", destination))?;
    sync(outer)
}

fn walk(
    from: &Path,
    to: &Path,
    depth: usize,
    each: &mut dyn FnMut(&Path, &Path) -> Result<(), EncryptionError>,
) -> Result<(), EncryptionError> {
    if depth > FOLDER_DEPTH_MAX {
        return Err(entry(from, "more than 64 folders within each other"));
    }
    let entries: io::Result<Vec<_>> = fs::read_dir(from).and_then(Iterator::collect);
    let mut entries = entries.map_err(file("read", from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for found in entries {
        let (inner, outer) = (found.path(), to.join(found.file_name()));
        let kind = found.file_type().map_err(file("read", &inner))?;
        if kind.is_dir() {
            fs::create_dir(&outer).map_err(file("write", &outer))?;
            walk(&inner, &outer, depth + 1, each)?;
        } else if kind.is_file() {
            each(&inner, &outer)?;
        } else {
            return Err(entry(&inner, "neither a file nor a folder"));
        }
    }
    sync(to)
}

fn write_new<T>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, EncryptionError>,
) -> Result<T, EncryptionError> {
    let mut out = BufWriter::new(File::create_new(path).map_err(file("write", path))?);
    let filled = fill(&mut out)?;
    let out = out.into_inner().map_err(|error| file("write", path)(error.into_error()))?;
    out.sync_all().map_err(file("write", path))?;
    Ok(filled)
}

fn refuse_taken(destination: &Path) -> Result<(), EncryptionError> {
    if destination.symlink_metadata().is_ok() {
        return Err(entry(destination, "something is there already"));
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> Result<(), EncryptionError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file("write", folder))
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EncryptionError {
    let path: PathBuf = path.to_owned();
    move |source| EncryptionError::File { doing, path, source }
}

fn entry(path: &Path, why: &'static str) -> EncryptionError {
    EncryptionRejection::Entry { path: path.to_owned(), why }.into()
}

#[cfg(test)]
mod tests;
