//! The hot store as a source of the gateway.
//!
//! A file of a dataset is a range of a plain file, a leaf is too, and a piece is framing between such ranges; nothing is
//! materialised. Opening checks that a plain file still has the stamp of its import, so bytes of a changed file are never
//! served under an old name: the answer is an error, and the log says which file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cairn_content::{ByteSource, Dataset, FileEntry, FileSlice, HotStore, PieceGroups, ReadError, StoreError};
use cairn_protocol::CommP;
use cid::Cid;

use crate::source::{
    ContentSource, DataEntry, FolderEntry, PieceResource, RangeReader, Resource, Seekable, SourceCounts, SourceError,
};

/// A range of an open plain file.
struct SliceReader {
    file: File,
    offset: u64,
    len: u64,
}

impl RangeReader for SliceReader {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_at(&mut buffer[..count], self.offset + offset)
    }

    fn plain_file(&self) -> Option<(&File, u64)> {
        Some((&self.file, self.offset))
    }
}

impl From<ReadError> for SourceError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, error } => Self::Storage { path, source: error },
            other => Self::Damaged { what: "a plain file of a dataset".into(), detail: other.to_string() },
        }
    }
}

/// Opens a range of a plain file for serving.
///
/// # Errors
/// A file that is not there, or that changed since its import.
pub fn open(slice: &FileSlice) -> Result<Resource, SourceError> {
    let file = slice.open()?;
    Ok(Resource { bytes: slice.len, reader: Box::new(SliceReader { file, offset: slice.offset, len: slice.len }) })
}

/// The names directly below `folder` (empty for the root); `None` if there is no such folder.
fn list(dataset: &Dataset, folder: &str) -> Option<Vec<FolderEntry>> {
    let below = |path: &str| -> Option<(String, bool)> {
        let rest = if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix('/')? };
        Some(match rest.split_once('/') {
            Some((name, _)) => (name.to_owned(), false),
            None => (rest.to_owned(), true),
        })
    };
    let mut names = BTreeMap::new();
    for file in dataset.files() {
        if let Some((name, is_file)) = below(&file.path) {
            names.insert(name, is_file.then_some((file.cid, file.size)));
        }
    }
    for (name, _) in dataset.empty_folders().iter().filter_map(|path| below(path)) {
        names.insert(name, None);
    }
    let exists = folder.is_empty() || !names.is_empty() || dataset.empty_folders().iter().any(|path| path == folder);
    exists.then(|| names.into_iter().map(|(name, file)| FolderEntry { name, file }).collect())
}

/// What a path in a dataset leads to, if it stands where its index says.
pub(crate) fn dataset_entry(dataset: &Dataset, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
    data_entry(dataset, path, |file| open(&dataset.slice(file)))
}

/// What a path in a dataset leads to; `open` opens a file, wherever it stands.
///
/// # Errors
/// Those of `open`.
pub fn data_entry(
    dataset: &Dataset,
    path: &[String],
    open: impl FnOnce(&FileEntry) -> Result<Resource, SourceError>,
) -> Result<Option<DataEntry>, SourceError> {
    let path = path.join("/");
    if let Some(file) = dataset.file(&path) {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        let resource = open(file)?;
        return Ok(Some(DataEntry::File { name, cid: file.cid, resource }));
    }
    Ok(list(dataset, &path).map(DataEntry::Folder))
}

/// A block of a dataset, ready to be read.
pub(crate) fn block_resource(block: ByteSource) -> Result<Resource, SourceError> {
    match block {
        ByteSource::Inline(bytes) => Ok(Resource::of_bytes(bytes)),
        ByteSource::File(slice) => open(&slice),
    }
}

impl ContentSource for HotStore {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        let Some(piece) = HotStore::piece(self, comm_p) else { return Ok(None) };
        let reader = Box::new(Seekable::new(piece.layout.reader()));
        Ok(Some(PieceResource {
            comm_p: piece.commitment.comm_p,
            padded: piece.commitment.padded,
            resource: Resource { bytes: piece.commitment.payload_bytes, reader },
        }))
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        Ok(self.find(name).map(|dataset| dataset.root()))
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        self.get(root).map_or(Ok(None), |dataset| dataset_entry(&dataset, path))
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        HotStore::block(self, cid).map(block_resource).transpose()
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        HotStore::piece_groups(self, comm_p).map_err(|error| match error {
            StoreError::Read(error) => error.into(),
            other => SourceError::Damaged { what: "the groups of a piece".into(), detail: other.to_string() },
        })
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        self.get(root).is_some_and(|dataset| dataset.block(block).is_some())
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts { datasets: self.datasets().len() as u64, pieces: self.pieces().len() as u64 }
    }
}
