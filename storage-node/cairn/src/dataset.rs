//! A client's dataset: hashed where it is, remembered by reference, cut into pieces.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use cairn_content::{Dataset, HotStore, ImportOptions, Placement, StoreError, StoredPiece};
use cairn_ledger::OrderPiece;
use cairn_protocol::SectorSize;
use cid::Cid;

/// Most datasets of one name that get numbers.
const NAMES_MAX: u32 = 100;

/// A dataset that was imported and cut into pieces.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its root.
    pub root: Cid,
    /// Its files, where they are.
    pub dataset: Arc<Dataset>,
    /// Its pieces, in order.
    pub pieces: Vec<StoredPiece>,
}

impl Imported {
    /// The pieces as an order names them.
    pub fn order_pieces(&self) -> Vec<OrderPiece> {
        let piece = |piece: &StoredPiece| OrderPiece {
            piece: piece.commitment.info(),
            payload_bytes: piece.commitment.payload_bytes,
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// Hashes a file or folder into a dataset, which stays where it is, and cuts it into pieces for sectors of this size.
///
/// # Errors
/// What cannot be read, or does not fit sectors of this size.
pub fn import(
    hot: &HotStore,
    path: &Path,
    sector_size: SectorSize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> anyhow::Result<Imported> {
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = ImportOptions { workers, progress, ..ImportOptions::default() };
    let dataset = import_named(hot, path, &options).with_context(|| format!("cannot import {}", path.display()))?;
    let root = dataset.root();
    let pieces = hot.add_pieces(&root, sector_size.unpadded())?;
    Ok(Imported { root, dataset, pieces })
}

/// Imports under the path's own name, or with a number behind it if another dataset has that name.
fn import_named(hot: &HotStore, path: &Path, options: &ImportOptions<'_>) -> Result<Arc<Dataset>, StoreError> {
    let own = path.file_name().map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut name = own.clone();
    for number in 2..=NAMES_MAX {
        match hot.import(path, Some(&name), Placement::Reference, options) {
            Err(StoreError::NameTaken { .. }) => name = format!("{own}-{number}"),
            done => return done,
        }
    }
    hot.import(path, Some(&name), Placement::Reference, options)
}
