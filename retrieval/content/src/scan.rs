//! What belongs to a dataset: the walk over a folder.
//!
//! [`Selection::IpfsCar`] takes what `ipfs-car pack --no-wrap` takes, so that the root CIDs agree:
//!
//! 1. entries whose names start with a dot are left out (with `hidden` they are taken);
//! 2. folders without files are left out: only files make folders;
//! 3. folders that all files have in common are cut off, from the given one downwards;
//! 4. if exactly one file is left, the dataset is that file and not a folder.
//!
//! Nothing is left out in silence: [`Skipped`] lists it. [`Selection::Exact`] takes everything as it stands, empty folders
//! included; it is how a fetched copy is checked against a root CID.
//!
//! Symlinks, sockets, pipes and devices, and names that are not UTF-8 or longer than 255 bytes, are refused: they have no
//! place in a UnixFS graph that another machine could restore. (`ipfs-car` leaves them out without a word.)

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::dag::Tree;
use crate::source::FileStamp;
use crate::unixfs::check_name;

/// Deepest nesting of folders. File systems end near 2,000 (paths of 4,096 bytes); nobody stores data that deep, and the
/// builders and decoders stay within a known stack.
pub(crate) const MAX_DEPTH: usize = 256;

/// Most files of one dataset; their numbers are 32 bits wide and a catalogue beyond this wants archives as members.
pub(crate) const MAX_FILES: usize = 50_000_000;

/// Which entries of a folder make the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// As `ipfs-car pack --no-wrap` does it; `hidden` is its flag `--hidden`.
    IpfsCar {
        /// Whether entries whose names start with a dot are taken.
        hidden: bool,
    },
    /// Every entry, as it stands.
    Exact,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection::IpfsCar { hidden: false }
    }
}

/// An entry that was left out of the dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path below the imported folder.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why an entry was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its name starts with a dot, and hidden entries were not asked for.
    Hidden,
    /// A folder without files.
    EmptyFolder,
}

/// Why a path cannot become a dataset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportRejection {
    /// A symlink. Follow it yourself if its target belongs to the dataset.
    #[error("{path} is a symlink; a dataset holds plain files and folders only", path = path.display())]
    Symlink {
        /// The entry.
        path: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("{path} is a {kind}; a dataset holds plain files and folders only", path = path.display())]
    SpecialFile {
        /// The entry.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A name that is not UTF-8.
    #[error("the name of {path} is not UTF-8", path = path.display())]
    NotUtf8 {
        /// The entry.
        path: PathBuf,
    },
    /// A name that no other machine could restore.
    #[error("the name of {path} {reason}", path = path.display())]
    Name {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Folders nested too deep.
    #[error("{path} is nested deeper than {MAX_DEPTH} folders", path = path.display())]
    TooDeep {
        /// The entry.
        path: PathBuf,
    },
    /// Too many files.
    #[error("{path} has more than {MAX_FILES} files; pack small files into archives", path = path.display())]
    TooManyFiles {
        /// The folder.
        path: PathBuf,
    },
    /// Two names that a sharded folder cannot hold, because their 64-bit hashes are equal.
    #[error("the names {first:?} and {second:?} have the same 64-bit hash; rename one of them")]
    NameCollision {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
}

/// Why a scan ended.
pub(crate) enum ScanError {
    Rejected(ImportRejection),
    Io { path: PathBuf, error: io::Error },
}

impl From<ImportRejection> for ScanError {
    fn from(rejection: ImportRejection) -> ScanError {
        ScanError::Rejected(rejection)
    }
}

/// A file that belongs to the dataset.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Path below `Scan::base`, components joined by `/`.
    pub path: String,
    pub stamp: FileStamp,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Folder that the paths are relative to.
    pub base: PathBuf,
    /// Sorted by path components.
    pub files: Vec<Found>,
    pub tree: Tree,
    pub skipped: Vec<Skipped>,
}

/// Looks at `path`, a file or a folder.
pub(crate) fn scan(path: &Path, selection: Selection) -> Result<Scan, ScanError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| ScanError::Io { path: path.to_owned(), error })?;
    if metadata.is_dir() {
        let mut walker = Walker { selection, count: 0, skipped: Vec::new() };
        let found = walker.folder(path, "", 0)?;
        return Ok(finish(path, found, selection, walker.skipped));
    }
    check_plain(path, &metadata.file_type())?;
    let absolute = std::path::absolute(path).map_err(|error| ScanError::Io { path: path.to_owned(), error })?;
    let name = absolute.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| ImportRejection::NotUtf8 { path: path.to_owned() })?;
    check_name(name).map_err(|reason| ImportRejection::Name { path: path.to_owned(), reason })?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let files = vec![Found { path: name.to_owned(), stamp: FileStamp::of(&metadata) }];
    Ok(Scan { base, files, tree: Tree::File(0), skipped: Vec::new() })
}

/// A folder as it was found, before rules 3 and 4.
enum Entry {
    File(FileStamp),
    Folder(BTreeMap<String, Entry>),
}

struct Walker {
    selection: Selection,
    count: usize,
    skipped: Vec<Skipped>,
}

impl Walker {
    fn folder(&mut self, path: &Path, below: &str, depth: usize) -> Result<BTreeMap<String, Entry>, ScanError> {
        if depth > MAX_DEPTH {
            return Err(ImportRejection::TooDeep { path: path.to_owned() }.into());
        }
        let io = |error| ScanError::Io { path: path.to_owned(), error };
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| ImportRejection::NotUtf8 { path: path.clone() })?;
            let below = join(below, name);
            if name.starts_with('.') && self.selection == (Selection::IpfsCar { hidden: false }) {
                self.skipped.push(Skipped { path: below, reason: SkipReason::Hidden });
                continue;
            }
            check_name(name).map_err(|reason| ImportRejection::Name { path: path.clone(), reason })?;
            if let Some(found) = self.entry(&path, below, depth)? {
                entries.insert(name.to_owned(), found);
            }
        }
        Ok(entries)
    }

    fn entry(&mut self, path: &Path, below: String, depth: usize) -> Result<Option<Entry>, ScanError> {
        let metadata = fs::symlink_metadata(path).map_err(|error| ScanError::Io { path: path.to_owned(), error })?;
        if metadata.is_dir() {
            let children = self.folder(path, &below, depth + 1)?;
            if children.is_empty() && self.selection != Selection::Exact {
                self.skipped.push(Skipped { path: below, reason: SkipReason::EmptyFolder });
                return Ok(None);
            }
            return Ok(Some(Entry::Folder(children)));
        }
        check_plain(path, &metadata.file_type())?;
        self.count += 1;
        if self.count > MAX_FILES {
            return Err(ImportRejection::TooManyFiles { path: path.to_owned() }.into());
        }
        Ok(Some(Entry::File(FileStamp::of(&metadata))))
    }
}

/// Rules 3 and 4, then numbers for the files.
fn finish(path: &Path, mut found: BTreeMap<String, Entry>, selection: Selection, mut skipped: Vec<Skipped>) -> Scan {
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    let mut base = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut files = Vec::new();
    if selection != Selection::Exact {
        while found.len() == 1 {
            let (name, entry) = found.pop_first().expect("one entry");
            match entry {
                Entry::File(stamp) => {
                    files.push(Found { path: name, stamp });
                    return Scan { base, files, tree: Tree::File(0), skipped };
                }
                Entry::Folder(children) => {
                    base.push(name);
                    found = children;
                }
            }
        }
    }
    let tree = number(found, "", &mut files);
    Scan { base, files, tree, skipped }
}

fn number(entries: BTreeMap<String, Entry>, below: &str, files: &mut Vec<Found>) -> Tree {
    let mut children = BTreeMap::new();
    for (name, entry) in entries {
        let path = join(below, &name);
        let child = match entry {
            Entry::Folder(entries) => number(entries, &path, files),
            Entry::File(stamp) => {
                files.push(Found { path, stamp });
                Tree::File(files.len() - 1)
            }
        };
        children.insert(name, child);
    }
    Tree::Folder(children)
}

fn check_plain(path: &Path, kind: &fs::FileType) -> Result<(), ImportRejection> {
    let path = path.to_owned();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_symlink() {
        return Err(ImportRejection::Symlink { path });
    }
    let kind = match kind {
        kind if kind.is_socket() => "socket",
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_block_device() => "block device",
        kind if kind.is_char_device() => "character device",
        _ => "special file",
    };
    Err(ImportRejection::SpecialFile { path, kind })
}

fn join(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
}
