//! The hot store: datasets on disk by root CID, pieces by CommP.
//!
//! ```text
//! <dir>/datasets/<root CID>/dataset.cbor       index, see `index`
//!                           files/…            the plain files, if the store owns them
//!                           pieces-<max>.cbor  CommP of each piece, for one limit of unpadded bytes
//!                           groups-<CommP>     roots of a piece's groups, from which range proofs are made
//! <dir>/staging/fetch-<root CID>/files/…       a fetch in progress; kept over restarts, so that it can resume
//!                                scratch/      whatever the fetcher wants to remember
//!               import-<n>/…                   an import in progress; removed when the store opens
//!               removed-<n>/…                  a dataset that is being deleted; removed when the store opens
//! ```
//!
//! Invariants
//! - A folder under `datasets/` is complete: it was written and synced under `staging/` and renamed. A crash at any moment
//!   leaves either the whole dataset or none of it.
//! - Its name is the root CID of its content; loading the index proves that.
//! - Files under `files/` belong to the store; nobody else may write to them. With [`Placement::Reference`] the store keeps an
//!   index only and reads the client's files in place. Hard links are not offered: they would look like copies and change
//!   with the original.
//! - One process uses a store directory at a time. Within it, the store may be shared by any number of threads.
//!
//! One damaged dataset does not keep the others from being served: it is left where it is and listed in
//! [`HotStore::damaged`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_protocol::{CommP, PaddedBytes, UnpaddedBytes};
use cairn_sector::pieces::PieceCommitment;
use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, ImportError, ImportOptions, VerifyError};
use crate::durable::{self, AtPath, PathError};
use crate::envelope;
use crate::index::{FILES, IndexError, IndexRejection, read_bounded};
use crate::piece::{LayoutRejection, PieceLayout};
use crate::piece_proof::PieceGroups;
use crate::scan::{self, Scan, Selection};
use crate::source::{ByteSource, FileStamp, ReadError, open_stamped};
use crate::staging::Staging;
use crate::unixfs::check_name;

/// Name of the index within a dataset's folder.
pub(crate) const INDEX: &str = "dataset.cbor";

const PIECES_MAGIC: &[u8; 8] = b"CAIRNPCS";
const PIECES_VERSION: u32 = 1;
const MAX_PIECES_BYTES: u64 = 64 << 20;

/// Whether the store owns the plain files of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The files stay where they are and the store reads them there. For clients that serve their own data.
    Reference,
    /// The files are copied into the store (the file system may share the extents). For providers.
    Copy,
}

/// A piece that the store can serve.
#[derive(Clone, Debug)]
pub struct StoredPiece {
    /// CommP, payload bytes and padded bytes.
    pub commitment: PieceCommitment,
    /// Where its bytes are.
    pub layout: PieceLayout,
    /// The limit that the dataset was cut with.
    pub max: UnpaddedBytes,
}

/// A folder under `datasets/` that could not be loaded.
#[derive(Debug)]
pub struct DamagedDataset {
    /// The folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The import failed.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An index could not be written or read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The dataset cannot be cut into pieces of that size.
    #[error(transparent)]
    Layout(#[from] LayoutRejection),
    /// A plain file could not be read or has changed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A plain file is damaged.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// No such dataset.
    #[error("dataset {root} is not in the store")]
    Unknown {
        /// The root CID.
        root: Cid,
    },
    /// The dataset is there already.
    #[error("dataset {root} is in the store already")]
    Present {
        /// The root CID.
        root: Cid,
    },
    /// The dataset is being fetched by somebody else in this process.
    #[error("dataset {root} is being fetched already")]
    Busy {
        /// The root CID.
        root: Cid,
    },
    /// Another dataset has that name.
    #[error("the name {name:?} belongs to dataset {root}")]
    NameTaken {
        /// The name.
        name: String,
        /// Root CID of the dataset that has it.
        root: Cid,
    },
    /// A name that cannot stand in a path.
    #[error("the name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system refused. Retrying helps once there is space, permission, or the disk is back.
    #[error("cannot access {path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl From<PathError> for StoreError {
    fn from(PathError { path, error }: PathError) -> StoreError {
        StoreError::Io { path, error }
    }
}

/// Datasets and pieces on disk.
#[derive(Debug)]
pub struct HotStore {
    dir: PathBuf,
    state: RwLock<State>,
    damaged: Vec<DamagedDataset>,
    /// Number of the next temporary folder.
    next: AtomicU64,
    /// Held while a piece is read again for its groups.
    regrouping: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    datasets: BTreeMap<Cid, Arc<Dataset>>,
    /// Pieces by root and limit. Two limits can give the same piece, so `by_comm_p` alone would not do.
    cuts: BTreeMap<(Cid, UnpaddedBytes), Vec<StoredPiece>>,
    by_comm_p: HashMap<CommP, StoredPiece>,
    /// Roots that are being fetched.
    fetching: BTreeSet<Cid>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PiecesRecord {
    root: Cid,
    max: u64,
    pieces: Vec<PieceRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceRecord {
    comm_p: CommP,
    payload_bytes: u64,
    padded_bytes: u64,
}

impl HotStore {
    /// Opens a store, creating the folder if it is absent, and cleans up after a crash.
    pub fn open(dir: &Path) -> Result<HotStore, StoreError> {
        let dir = std::path::absolute(dir).at(dir)?;
        for folder in [dir.join("datasets"), dir.join("staging")] {
            fs::create_dir_all(&folder).at(&folder)?;
        }
        clean(&dir.join("staging"))?;
        let mut state = State::default();
        let mut damaged = Vec::new();
        let datasets = dir.join("datasets");
        for entry in fs::read_dir(&datasets).at(&datasets)? {
            let path = entry.at(&datasets)?.path();
            match load(&path) {
                Ok((dataset, cuts)) => state.insert(dataset, cuts),
                Err(reason) => damaged.push(DamagedDataset { path, reason }),
            }
        }
        Ok(HotStore { dir, state: RwLock::new(state), damaged, next: AtomicU64::new(0), regrouping: Mutex::default() })
    }

    /// Folders that were not loaded when the store opened.
    pub fn damaged(&self) -> &[DamagedDataset] {
        &self.damaged
    }

    /// All datasets, sorted by root CID.
    pub fn datasets(&self) -> Vec<Arc<Dataset>> {
        self.read().datasets.values().cloned().collect()
    }

    /// The dataset with this root.
    pub fn get(&self, root: &Cid) -> Option<Arc<Dataset>> {
        self.read().datasets.get(root).cloned()
    }

    /// The dataset with this root CID, in text, or with this name.
    pub fn find(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        let state = self.read();
        let by_root = root_or_name.parse::<Cid>().ok().and_then(|root| state.datasets.get(&root).cloned());
        by_root.or_else(|| state.datasets.values().find(|dataset| dataset.name() == root_or_name).cloned())
    }

    /// The piece with this commitment.
    pub fn piece(&self, comm_p: &CommP) -> Option<StoredPiece> {
        self.read().by_comm_p.get(comm_p).cloned()
    }

    /// All pieces, each once, in no particular order.
    pub fn pieces(&self) -> Vec<StoredPiece> {
        self.read().by_comm_p.values().cloned().collect()
    }

    /// The pieces of a dataset cut with `max`, in order; empty if [`HotStore::add_pieces`] was not called for it.
    pub fn pieces_of(&self, root: &Cid, max: UnpaddedBytes) -> Vec<StoredPiece> {
        self.read().cuts.get(&(*root, max)).cloned().unwrap_or_default()
    }

    /// Where the bytes of a block of any dataset are.
    pub fn block(&self, cid: &Cid) -> Option<ByteSource> {
        self.read().datasets.values().find_map(|dataset| dataset.block(cid))
    }

    /// Imports a file or folder. `name` defaults to the name of `source`. A dataset that is there already is returned as
    /// it is, except that a new reference takes the place of an old one.
    pub fn import(
        &self,
        source: &Path,
        name: Option<&str>,
        placement: Placement,
        options: &ImportOptions<'_>,
    ) -> Result<Arc<Dataset>, StoreError> {
        let staging = self.temporary("import")?;
        let imported = self.import_into(&staging, source, name, placement, options);
        if imported.is_err() {
            // Best effort: what stays is removed when the store opens again.
            let _ = durable::remove_all(&staging);
        }
        imported
    }

    fn import_into(
        &self,
        staging: &Path,
        source: &Path,
        name: Option<&str>,
        placement: Placement,
        options: &ImportOptions<'_>,
    ) -> Result<Arc<Dataset>, StoreError> {
        let dataset = match placement {
            Placement::Reference => Dataset::import(source, options)?,
            Placement::Copy => {
                let found = scan::scan(source, options.selection).map_err(ImportError::from)?;
                let copy = copy(&found, &staging.join(FILES))?;
                let exact = ImportOptions { selection: Selection::Exact, ..*options };
                let name = source.file_name().map(|name| name.to_string_lossy().into_owned());
                let dataset = Dataset::import(&copy, &exact)?;
                let name = name.unwrap_or_else(|| dataset.name().to_owned());
                dataset.with_name(name).with_skipped(found.skipped)
            }
        };
        let dataset = match name {
            Some(name) => dataset.with_name(name),
            None => dataset,
        };
        self.publish(staging, dataset)
    }

    /// Starts or resumes the fetch of a dataset. Refused while another fetch of it is open in this process.
    pub fn begin(self: &Arc<Self>, root: &Cid) -> Result<Staging, StoreError> {
        let mut state = self.write();
        if state.datasets.contains_key(root) {
            return Err(StoreError::Present { root: *root });
        }
        if !state.fetching.insert(*root) {
            return Err(StoreError::Busy { root: *root });
        }
        drop(state);
        let dir = self.dir.join("staging").join(format!("fetch-{root}"));
        // The handle comes first: dropping it takes the root off the list if a folder cannot be made.
        let staging = Staging::new(Arc::clone(self), *root, dir);
        for folder in [staging.files_dir(), staging.scratch_dir()] {
            fs::create_dir_all(&folder).at(&folder)?;
        }
        Ok(staging)
    }

    pub(crate) fn end_fetch(&self, root: &Cid) {
        self.write().fetching.remove(root);
    }

    /// Makes a finished folder under `staging/` visible.
    pub(crate) fn publish(&self, staging: &Path, dataset: Dataset) -> Result<Arc<Dataset>, StoreError> {
        let name = dataset.name().to_owned();
        check_name(&name).map_err(|reason| StoreError::Name { name: name.clone(), reason })?;
        let root = dataset.root();
        dataset.save(&staging.join(INDEX))?;
        durable::sync_tree(staging)?;
        let mut state = self.write();
        let namesake = state.datasets.values().find(|other| other.name() == name && other.root() != root);
        if let Some(other) = namesake {
            return Err(StoreError::NameTaken { name, root: other.root() });
        }
        let target = self.dir.join("datasets").join(root.to_string());
        if let Some(present) = state.datasets.get(&root).cloned() {
            durable::remove_all(staging)?;
            let owned = present.base().starts_with(&target);
            return if owned { Ok(present) } else { state.replace(&target, dataset) };
        }
        let owned = dataset.base().starts_with(staging);
        durable::rename(staging, &target)?;
        let dataset = if owned { dataset.rebased(target.join(FILES)) } else { dataset };
        let dataset = Arc::new(dataset);
        state.datasets.insert(root, Arc::clone(&dataset));
        Ok(dataset)
    }

    /// Cuts a dataset into pieces of at most `max` bytes, reads each once for its CommP, and remembers them. Does nothing
    /// but look them up if that was done before.
    pub fn add_pieces(&self, root: &Cid, max: UnpaddedBytes) -> Result<Vec<StoredPiece>, StoreError> {
        let present = self.pieces_of(root, max);
        if !present.is_empty() {
            return Ok(present);
        }
        let dataset = self.get(root).ok_or(StoreError::Unknown { root: *root })?;
        let mut pieces = Vec::new();
        for layout in dataset.pieces(max)? {
            let commitment = match layout.groups()? {
                Some(groups) => {
                    let commitment = groups.commitment();
                    durable::write(&self.groups_path(root, &commitment.comm_p), &groups.to_bytes())?;
                    commitment
                }
                None => layout.commitment()?,
            };
            pieces.push(StoredPiece { commitment, layout, max });
        }
        let records = pieces.iter().map(|piece| PieceRecord {
            comm_p: piece.commitment.comm_p,
            payload_bytes: piece.commitment.payload_bytes,
            padded_bytes: piece.commitment.padded.0,
        });
        let record = PiecesRecord { root: *root, max: max.0, pieces: records.collect() };
        let mut state = self.write();
        if !state.datasets.contains_key(root) {
            return Err(StoreError::Unknown { root: *root });
        }
        let path = self.dir.join("datasets").join(root.to_string()).join(format!("pieces-{}.cbor", max.0));
        durable::write(&path, &envelope::encode(PIECES_MAGIC, PIECES_VERSION, &record))?;
        state.insert_cut(*root, max, pieces.clone());
        Ok(pieces)
    }

    /// The roots of a piece's groups. They are kept since the piece was added; if they are gone or damaged, the piece is read
    /// once more, one piece at a time. Nothing if the store has no such piece.
    pub fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, StoreError> {
        let Some(piece) = self.piece(comm_p) else { return Ok(None) };
        let path = self.groups_path(&piece.layout.dataset().root(), comm_p);
        let kept = || PieceGroups::from_bytes(&fs::read(&path).ok()?, &piece.commitment);
        if let Some(groups) = kept() {
            return Ok(Some(groups));
        }
        let _one_at_a_time = self.regrouping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(groups) = kept() {
            return Ok(Some(groups));
        }
        let groups = piece.layout.groups()?.filter(|groups| groups.commitment() == piece.commitment);
        if let Some(groups) = &groups {
            durable::write(&path, &groups.to_bytes())?;
        }
        Ok(groups)
    }

    fn groups_path(&self, root: &Cid, comm_p: &CommP) -> PathBuf {
        self.dir.join("datasets").join(root.to_string()).join(format!("groups-{comm_p}"))
    }

    /// Hashes all files of a dataset and compares. If only modification times differ (the folder was moved or restored),
    /// the new ones are recorded and the dataset can be read again.
    pub fn verify(
        &self,
        root: &Cid,
        workers: std::num::NonZeroUsize,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), StoreError> {
        let dataset = self.get(root).ok_or(StoreError::Unknown { root: *root })?;
        let stamps = dataset.verified_stamps(workers, progress)?;
        let unchanged = dataset.files().iter().zip(&stamps).all(|(file, stamp)| file.stamp == *stamp);
        if unchanged {
            return Ok(());
        }
        let mut state = self.write();
        if !state.datasets.contains_key(root) {
            return Err(StoreError::Unknown { root: *root });
        }
        let target = self.dir.join("datasets").join(root.to_string());
        state.replace(&target, dataset.restamped(&stamps)).map(drop)
    }

    /// Removes a dataset with its pieces. Files that the store only refers to are left alone.
    pub fn remove(&self, root: &Cid) -> Result<(), StoreError> {
        let doomed = self.temporary("removed")?;
        let mut state = self.write();
        if !state.datasets.contains_key(root) {
            durable::remove_all(&doomed)?;
            return Err(StoreError::Unknown { root: *root });
        }
        durable::rename(&self.dir.join("datasets").join(root.to_string()), &doomed.join("dataset"))?;
        state.datasets.remove(root);
        state.cuts.retain(|(of, _), _| of != root);
        state.by_comm_p.retain(|_, piece| piece.layout.dataset().root() != *root);
        drop(state);
        durable::sync(&self.dir.join("datasets"))?;
        durable::remove_all(&doomed)?;
        Ok(())
    }

    /// A fresh folder under `staging/`.
    fn temporary(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("staging").join(format!("{kind}-{number}"));
        fs::create_dir(&path).at(&path)?;
        Ok(path)
    }

    /// A poisoned lock is taken over: the state is changed by single insertions after the disk, never left half done.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, dataset: Arc<Dataset>, cuts: Vec<Vec<StoredPiece>>) {
        let root = dataset.root();
        self.datasets.insert(root, dataset);
        for cut in cuts {
            self.insert_cut(root, cut[0].max, cut);
        }
    }

    fn insert_cut(&mut self, root: Cid, max: UnpaddedBytes, pieces: Vec<StoredPiece>) {
        self.by_comm_p.extend(pieces.iter().map(|piece| (piece.commitment.comm_p, piece.clone())));
        self.cuts.insert((root, max), pieces);
    }

    /// Puts an equal dataset with other stamps, name or base in the place of the present one.
    fn replace(&mut self, target: &Path, dataset: Dataset) -> Result<Arc<Dataset>, StoreError> {
        dataset.save(&target.join(INDEX))?;
        let dataset = Arc::new(dataset);
        for piece in self.by_comm_p.values_mut().chain(self.cuts.values_mut().flatten()) {
            if piece.layout.dataset().root() == dataset.root() {
                piece.layout = piece.layout.over(&dataset);
            }
        }
        self.datasets.insert(dataset.root(), Arc::clone(&dataset));
        Ok(dataset)
    }
}

/// Removes what a crash left of imports and removals; fetches stay.
fn clean(staging: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(staging).at(staging)? {
        let entry = entry.at(staging)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("import-") || name.starts_with("removed-") {
            durable::remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Loads one dataset and its cuts; the reason, if that fails.
fn load(path: &Path) -> Result<(Arc<Dataset>, Vec<Vec<StoredPiece>>), String> {
    let dataset = Dataset::load(&path.join(INDEX)).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default();
    if name != dataset.root().to_string().as_str() {
        return Err(format!("expected a folder named {}, got {}", dataset.root(), name.display()));
    }
    let dataset = Arc::new(dataset);
    let mut cuts = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("pieces-") && name.ends_with(".cbor") {
            cuts.push(load_pieces(&dataset, &entry.path()).map_err(|error| error.to_string())?);
        }
    }
    Ok((dataset, cuts))
}

/// The pieces of one cut; at least one, because a dataset has at least one block.
fn load_pieces(dataset: &Arc<Dataset>, path: &Path) -> Result<Vec<StoredPiece>, IndexError> {
    let rejected = |rejection| IndexError::Rejected { path: path.to_owned(), rejection };
    let bytes = read_bounded(path, MAX_PIECES_BYTES)?;
    let record: PiecesRecord = envelope::decode(PIECES_MAGIC, PIECES_VERSION, &bytes).map_err(rejected)?;
    if record.root != dataset.root() {
        return Err(rejected(IndexRejection::Root { expected: record.root, got: dataset.root() }));
    }
    let max = UnpaddedBytes(record.max);
    let layouts =
        dataset.pieces(max).map_err(|reason| rejected(IndexRejection::Cbor { reason: reason.to_string() }))?;
    if layouts.len() != record.pieces.len() {
        let (expected, got) = (record.pieces.len() as u64, layouts.len() as u64);
        return Err(rejected(IndexRejection::PieceCount { expected, got }));
    }
    let mut pieces = Vec::with_capacity(layouts.len());
    for (number, (layout, piece)) in layouts.into_iter().zip(record.pieces).enumerate() {
        let (expected, got) = (piece.payload_bytes, layout.payload_bytes());
        let padded = PaddedBytes(piece.padded_bytes);
        if expected != got || UnpaddedBytes::piece_for(got).map(UnpaddedBytes::to_padded) != Some(padded) {
            return Err(rejected(IndexRejection::Piece { number, expected, got }));
        }
        let commitment = PieceCommitment { comm_p: piece.comm_p, payload_bytes: got, padded };
        pieces.push(StoredPiece { commitment, layout, max });
    }
    Ok(pieces)
}

/// Copies what a scan found into `target`; gives the path to import: the folder, or the only file.
fn copy(found: &Scan, target: &Path) -> Result<PathBuf, StoreError> {
    fs::create_dir(target).at(target)?;
    for folder in found.tree.empty_folders() {
        let path = target.join(folder);
        fs::create_dir_all(&path).at(&path)?;
    }
    for file in &found.files {
        let from = found.base.join(&file.path);
        let to = target.join(&file.path);
        let folder = to.parent().expect("a path below the target has a parent");
        fs::create_dir_all(folder).at(folder)?;
        copy_file(&from, &file.stamp, &to)?;
    }
    let single = matches!(found.tree, crate::dag::Tree::File(_));
    Ok(if single { target.join(&found.files[0].path) } else { target.to_owned() })
}

/// Copies one file, which must have its stamp before and after.
fn copy_file(from: &Path, stamp: &FileStamp, to: &Path) -> Result<(), StoreError> {
    let mut source = open_stamped(from, stamp)?;
    let mut target = fs::File::create_new(to).at(to)?;
    io::copy(&mut source, &mut target).at(to)?;
    drop(open_stamped(from, stamp)?);
    Ok(())
}
