//! From pieces back to plain files: what a client does with an unsealed sector.
//!
//! 1. Each piece is read once from front to back, jumping over leaves: interior nodes are checked and kept in memory
//!    (0.005 % of the data), places of leaves are noted. Pieces may come in any order and may be followed by zeros.
//! 2. A [`DagWalk`] over the nodes gives the files and their leaves.
//! 3. Each leaf is read from its piece, checked against its CID, and written to its place. A leaf that several files share
//!    is stored once and read again.
//!
//! The files appear in `dest`, which must be empty or absent; they are synced before the function returns. Nothing outside
//! `dest` is touched: entry names are single safe components, see `unixfs`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cid::Cid;

use crate::block::{BlockId, BlockRejection, Codec, verify_block};
use crate::car::{CarError, CarLimits, CarReader, CarRejection, Trailing};
use crate::durable::{self, AtPath, PathError};
use crate::unixfs::check_name;
use crate::walk::{DagWalk, RemoteDataset, RemoteFile, WalkLimits, WalkRejection};

/// How a dataset is restored.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Name of the file if the dataset is a single file, whose name is not in the graph. Default: its CID.
    pub single_file_name: Option<String>,
    /// Bounds of the graph.
    pub limits: WalkLimits,
    /// Most bytes of interior nodes that are kept in memory. Default: 1 GiB, about 20 TiB of data.
    pub node_bytes: u64,
}

impl Default for RestoreOptions {
    fn default() -> RestoreOptions {
        RestoreOptions { single_file_name: None, limits: WalkLimits::default(), node_bytes: 1 << 30 }
    }
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The files, as the graph describes them.
    pub dataset: RemoteDataset,
    /// Where they are now, in the same order.
    pub paths: Vec<PathBuf>,
}

/// Why a dataset was not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A piece is not a sound archive, or could not be read.
    #[error("piece {piece}: {error}")]
    Piece {
        /// Position in the list of pieces.
        piece: usize,
        /// What is wrong.
        error: CarError,
    },
    /// A piece belongs to another dataset.
    #[error("piece {piece} has root {got}, expected {expected}")]
    Root {
        /// Position in the list of pieces.
        piece: usize,
        /// Root that was asked for.
        expected: Cid,
        /// Roots in the piece.
        got: String,
    },
    /// The pieces hold more interior nodes than may be kept.
    #[error("piece {piece}: interior nodes take more than {limit} bytes")]
    TooManyNodes {
        /// Position in the list of pieces.
        piece: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// The graph is not acceptable.
    #[error(transparent)]
    Graph(#[from] WalkRejection),
    /// A block is in none of the pieces.
    #[error("block {cid} is in none of the {pieces} pieces")]
    Missing {
        /// The block.
        cid: Cid,
        /// Number of pieces that were given.
        pieces: usize,
    },
    /// A leaf is damaged.
    #[error("{path:?}: leaf at byte {offset}, from byte {at} of piece {piece}: {reason}")]
    Leaf {
        /// The file it belongs to.
        path: String,
        /// Its place in the file.
        offset: u64,
        /// The piece it came from.
        piece: usize,
        /// Its place in the piece.
        at: u64,
        /// What is wrong.
        reason: BlockRejection,
    },
    /// The destination is in use, or its name is not acceptable.
    #[error("cannot restore to {path}: {reason}", path = path.display())]
    Destination {
        /// The folder or file.
        path: PathBuf,
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

impl From<PathError> for RestoreError {
    fn from(PathError { path, error }: PathError) -> RestoreError {
        RestoreError::Io { path, error }
    }
}

/// Where a leaf is.
#[derive(Clone, Copy)]
struct Place {
    piece: usize,
    at: u64,
    len: u64,
}

/// Restores the dataset `root` from all its pieces into the folder `dest`.
pub fn restore<R: Read + Seek>(
    root: &Cid,
    pieces: &mut [R],
    dest: &Path,
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    let mut contents = Contents { nodes: HashMap::new(), leaves: HashMap::new(), node_bytes: 0 };
    for (number, piece) in pieces.iter_mut().enumerate() {
        contents.index(root, number, piece, options.node_bytes)?;
    }
    let dataset = contents.walk(root, options.limits, pieces)?;
    let name = options.single_file_name.clone().unwrap_or_else(|| root.to_string());
    check_name(&name).map_err(|reason| RestoreError::Destination { path: dest.join(&name), reason })?;
    prepare(dest, &dataset)?;
    let mut paths = Vec::with_capacity(dataset.files.len());
    for file in &dataset.files {
        let path = dest.join(if dataset.single_file { &name } else { &file.path });
        contents.write(file, &path, pieces)?;
        paths.push(path);
    }
    durable::sync_tree(dest)?;
    Ok(Restored { dataset, paths })
}

struct Contents {
    nodes: HashMap<BlockId, Bytes>,
    leaves: HashMap<[u8; 32], Place>,
    node_bytes: u64,
}

impl Contents {
    /// Step 1 for one piece.
    fn index<R: Read + Seek>(
        &mut self,
        root: &Cid,
        piece: usize,
        reader: &mut R,
        node_bytes: u64,
    ) -> Result<(), RestoreError> {
        let failed = |error: CarError| RestoreError::Piece { piece, error };
        let refused = |at, reason: BlockRejection| failed(CarRejection::Cid { at, reason: reason.to_string() }.into());
        reader.rewind().map_err(|error| failed(error.into()))?;
        let limits = CarLimits { trailing: Trailing::ZeroPadding, ..CarLimits::default() };
        let mut car = CarReader::new(BufReader::new(reader), limits).map_err(failed)?;
        if car.roots() != std::slice::from_ref(root) {
            let got = format!("{:?}", car.roots().iter().map(Cid::to_string).collect::<Vec<_>>());
            return Err(RestoreError::Root { piece, expected: *root, got });
        }
        while let Some(section) = car.next_section().map_err(failed)? {
            let id = BlockId::try_from(&section.cid).map_err(|reason| refused(section.offset, reason))?;
            match id.codec {
                Codec::Raw => {
                    car.skip_data().map_err(failed)?;
                    let place = Place { piece, at: section.offset, len: section.len };
                    self.leaves.entry(id.digest).or_insert(place);
                }
                Codec::DagPb => {
                    let data = car.read_data().map_err(failed)?;
                    self.node_bytes += section.len;
                    if self.node_bytes > node_bytes {
                        return Err(RestoreError::TooManyNodes { piece, limit: node_bytes });
                    }
                    self.nodes.insert(id, data);
                }
            }
        }
        Ok(())
    }

    /// Step 2.
    fn walk<R: Read + Seek>(
        &self,
        root: &Cid,
        limits: WalkLimits,
        pieces: &mut [R],
    ) -> Result<RemoteDataset, RestoreError> {
        let mut walk = DagWalk::new(root, limits)?;
        while let Some(cid) = walk.next_wanted() {
            let id = BlockId::try_from(&cid).map_err(WalkRejection::from)?;
            match id.codec {
                Codec::DagPb => {
                    let missing = RestoreError::Missing { cid, pieces: pieces.len() };
                    walk.supply(&cid, self.nodes.get(&id).ok_or(missing)?)?;
                }
                Codec::Raw => {
                    let (_, bytes) = self.read(&id, pieces)?;
                    walk.supply(&cid, &bytes)?;
                }
            }
        }
        Ok(walk.finish()?)
    }

    /// Step 3 for one file.
    fn write<R: Read + Seek>(&self, file: &RemoteFile, path: &Path, pieces: &mut [R]) -> Result<(), RestoreError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let mut out: File = OpenOptions::new().write(true).create_new(true).open(path).at(path)?;
        for leaf in file.leaves() {
            let id = BlockId::try_from(&leaf.cid).map_err(WalkRejection::from)?;
            let (place, bytes) = self.read(&id, pieces)?;
            verify_block(&leaf.cid, &bytes).map_err(|reason| RestoreError::Leaf {
                path: file.path.clone(),
                offset: leaf.offset,
                piece: place.piece,
                at: place.at,
                reason,
            })?;
            if place.len != leaf.len {
                let (path, expected, got) = (file.path.clone(), leaf.len, place.len);
                return Err(WalkRejection::LeafSize { path, offset: leaf.offset, expected, got }.into());
            }
            out.write_all(&bytes).at(path)?;
        }
        Ok(())
    }

    fn read<R: Read + Seek>(&self, id: &BlockId, pieces: &mut [R]) -> Result<(Place, Vec<u8>), RestoreError> {
        let missing = RestoreError::Missing { cid: id.cid(), pieces: pieces.len() };
        let place = *self.leaves.get(&id.digest).ok_or(missing)?;
        let mut bytes = vec![0; place.len as usize];
        let piece = &mut pieces[place.piece];
        let read = piece.seek(SeekFrom::Start(place.at)).and_then(|_| piece.read_exact(&mut bytes));
        read.map_err(|error| RestoreError::Piece { piece: place.piece, error: error.into() })?;
        Ok((place, bytes))
    }
}

/// An empty destination with all folders that hold no file.
fn prepare(dest: &Path, dataset: &RemoteDataset) -> Result<(), RestoreError> {
    fs::create_dir_all(dest).at(dest)?;
    if fs::read_dir(dest).at(dest)?.next().is_some() {
        return Err(RestoreError::Destination { path: dest.to_owned(), reason: "the folder is not empty" });
    }
    for folder in &dataset.empty_folders {
        let path = dest.join(folder);
        fs::create_dir_all(&path).at(&path)?;
    }
    Ok(())
}
