//! Sealing, stage by stage, over a sector's files.
//!
//! 1. [`add_pieces`] writes the padded data, every piece at a multiple of its size, and commits to each piece.
//! 2. [`build_tree_d`] hashes the data into CommD, which with the identity gives the replica id.
//! 3. [`label_layer`], once for each layer in order.
//! 4. [`build_tree_c`] hashes the columns (one label of every layer) and builds tree C over them.
//! 5. [`build_replica`] adds the last layer to the data, node by node in the field, and builds tree R-last over the sum.
//! 6. [`finish`] writes p_aux; CommR is the hash of both roots.
//!
//! A stage reads only files of stages before it and writes whole files (temporary name, sync, rename): it may be run
//! again at any time with the same result. Memory: a stage streams, but for labelling, which holds two layers.

use std::io::Read;

use ark_ff::AdditiveGroup;
use cairn_compute::{Fr, Node, Poseidon, Workers, fr_from_node, fr_to_node};
use cairn_protocol::params::TREE_D_ARITY;
use cairn_protocol::{CommC, CommD, CommR, CommRLast, PaddedBytes, PieceInfo, SectorParams, SectorSize, UnpaddedBytes};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Progress, SealError};
use crate::files::{NewFile, SectorFiles};
use crate::fr32::{QUAD_PADDED_BYTES, QUAD_UNPADDED_BYTES, pad_quad};
use crate::identity::SectorIdentity;
use crate::layer::compute_layer;
use crate::merkle::{Levels, Tree};
use crate::nodes::NodeFile;
use crate::pieces::{PieceHasher, piece_offsets};
use crate::trees::{NodeProgress, build_upper_tree, build_whole_tree, rows_above_bases, tree_nodes};

/// Quads read from a piece at once.
const PIECE_CHUNK_QUADS: usize = 1 << 13;

/// The four commitments of a sealed sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCommitments {
    /// Data.
    pub comm_d: CommD,
    /// Columns.
    pub comm_c: CommC,
    /// Replica.
    pub comm_r_last: CommRLast,
    /// Both of the latter.
    pub comm_r: CommR,
}

/// A piece on its way into a sector.
pub struct PieceSource<'a> {
    /// Gives exactly `payload_bytes` bytes, then ends.
    pub reader: &'a mut dyn Read,
    /// Its length; the piece is filled up with zeros to 127·2^k.
    pub payload_bytes: u64,
}

/// Writes `staged`: all pieces in order, aligned, zeros everywhere else.
///
/// # Errors
/// [`SealError::PieceLength`] and [`SealError::PieceRead`] name the piece; [`SealError::Piece`] if they do not fit.
pub fn add_pieces(
    files: &SectorFiles,
    sector_size: SectorSize,
    pieces: &mut [PieceSource<'_>],
    progress: Progress<'_>,
) -> Result<Vec<PieceInfo>, SealError> {
    files.create_folders()?;
    let sizes = planned_sizes(pieces, sector_size)?;
    let offsets = piece_offsets(sector_size, &sizes)?;
    let mut staged = NewFile::create(&files.staged())?;
    let mut written = 0u64;
    let mut infos = Vec::with_capacity(pieces.len());
    for (index, (piece, (size, offset))) in pieces.iter_mut().zip(sizes.iter().zip(offsets)).enumerate() {
        write_zeros(&mut staged, offset.0 - written)?;
        let mut report = |bytes: u64| progress(offset.0 + bytes, sector_size.bytes());
        let info = write_piece(&mut staged, index, piece, size.size, &mut report)?;
        infos.push(info);
        written = offset.0 + size.size.0;
    }
    write_zeros(&mut staged, sector_size.bytes() - written)?;
    staged.finish()?;
    progress(sector_size.bytes(), sector_size.bytes());
    Ok(infos)
}

/// Sizes without commitments, to find out where each piece goes before anything is read.
fn planned_sizes(pieces: &[PieceSource<'_>], sector_size: SectorSize) -> Result<Vec<PieceInfo>, SealError> {
    pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let unpadded =
                UnpaddedBytes::piece_for(piece.payload_bytes).ok_or(crate::pieces::PieceRejection::Overflow {
                    index,
                    end: piece.payload_bytes,
                    sector: sector_size.bytes(),
                })?;
            Ok(PieceInfo { comm_p: Default::default(), size: unpadded.to_padded() })
        })
        .collect()
}

fn write_piece(
    staged: &mut NewFile,
    index: usize,
    piece: &mut PieceSource<'_>,
    size: PaddedBytes,
    report: &mut dyn FnMut(u64),
) -> Result<PieceInfo, SealError> {
    let mut hasher = PieceHasher::new();
    let mut buffer = vec![0u8; PIECE_CHUNK_QUADS * QUAD_UNPADDED_BYTES];
    let (mut got, mut padded) = (0u64, 0u64);
    loop {
        let filled = read_full(piece.reader, &mut buffer).map_err(|source| SealError::PieceRead { index, source })?;
        got += filled as u64;
        let ended = filled < buffer.len();
        if got > piece.payload_bytes || (ended && got < piece.payload_bytes) {
            return Err(SealError::PieceLength { index, expected: piece.payload_bytes, got });
        }
        hasher.update(&buffer[..filled]);
        let quads = filled.div_ceil(QUAD_UNPADDED_BYTES);
        buffer[filled..].fill(0);
        for quad in buffer.chunks_exact(QUAD_UNPADDED_BYTES).take(quads) {
            staged.write(&pad_quad(quad.try_into().expect("whole quads")))?;
        }
        padded += (quads * QUAD_PADDED_BYTES) as u64;
        report(padded);
        if ended {
            break;
        }
    }
    write_zeros(staged, size.0 - padded)?;
    let info = hasher.finish().info();
    debug_assert_eq!(info.size, size);
    Ok(info)
}

/// Fills the buffer, or as much of it as the reader has left.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write_zeros(file: &mut NewFile, mut count: u64) -> Result<(), SealError> {
    let zeros = [0u8; 1 << 16];
    while count > 0 {
        let step = count.min(zeros.len() as u64);
        file.write(&zeros[..step as usize])?;
        count -= step;
    }
    Ok(())
}

/// Builds tree D over `staged`.
///
/// # Errors
/// [`SealError`] if `staged` is missing or short, or the disk refuses.
pub fn build_tree_d(
    files: &SectorFiles,
    sector_size: SectorSize,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<CommD, SealError> {
    let nodes = sector_size.nodes();
    let staged = NodeFile::open(&files.staged(), nodes)?;
    let mut step = NodeProgress::new(tree_nodes(nodes, TREE_D_ARITY), progress);
    let mut leaves = |first, count| staged.range(first, count);
    build_whole_tree(Tree::D, TREE_D_ARITY, &files.tree_d(), nodes, workers, &mut leaves, &mut |n| step.add(n))
        .map(CommD)
}

/// Computes one layer of labels, counted from 1; the file of the layer before must exist.
///
/// # Errors
/// [`SealError`] if the layer before is missing or short, or the disk refuses.
///
/// # Panics
/// If the sector has no such layer.
pub fn label_layer(
    files: &SectorFiles,
    identity: &SectorIdentity,
    comm_d: &CommD,
    layer: usize,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<(), SealError> {
    let nodes = identity.sector_size.nodes();
    assert!((1..=identity.params().layers).contains(&layer), "layer {layer} does not exist");
    files.create_folders()?;
    let previous = match layer {
        1 => None,
        _ => Some(NodeFile::open(&files.layer(layer - 1), nodes)?.range(0, nodes as usize)?),
    };
    let replica_id = identity.replica_id(comm_d);
    let labels = compute_layer(&identity.graph(), replica_id, layer as u32, previous.as_deref(), workers, progress);
    let mut file = NewFile::create(&files.layer(layer))?;
    file.write(labels.as_flattened())?;
    file.finish()
}

/// Hashes columns and builds tree C over them.
///
/// # Errors
/// [`SealError`] if a layer is missing, short or damaged, or the disk refuses.
pub fn build_tree_c(
    files: &SectorFiles,
    params: &SectorParams,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<CommC, SealError> {
    let layers = (1..=params.layers)
        .map(|layer| NodeFile::open(&files.layer(layer), params.nodes()))
        .collect::<Result<Vec<_>, _>>()?;
    let levels = Levels::of(Tree::C, params);
    let leaves = params.base_tree_leaves();
    let trees = files.tree_c(params);
    let arity = params.tree_shape.base;
    let mut step = NodeProgress::new(tree_nodes(leaves, arity) * trees.len() as u64, progress);
    let mut roots = Vec::with_capacity(trees.len());
    for (index, path) in trees.iter().enumerate() {
        let start = index as u64 * leaves;
        let mut columns = |first, count| column_hashes(&layers, start + first, count, workers);
        roots.push(build_whole_tree(Tree::C, arity, path, leaves, workers, &mut columns, &mut |n| step.add(n))?);
    }
    Ok(CommC(rows_above_bases(Tree::C, &levels, roots).pop().expect("a root")[0]))
}

fn column_hashes(layers: &[NodeFile], first: u64, count: usize, workers: &Workers) -> Result<Vec<Node>, SealError> {
    let labels = layers.iter().map(|layer| layer.range(first, count)).collect::<Result<Vec<_>, _>>()?;
    let poseidon = Poseidon::of_arity(layers.len());
    workers.run(|| {
        (0..count)
            .into_par_iter()
            .with_min_len(16)
            .map(|row| {
                let mut column = [Fr::ZERO; 16];
                for (element, (labels, layer)) in column.iter_mut().zip(labels.iter().zip(layers)) {
                    *element = layer.element(first + row as u64, &labels[row])?;
                }
                Ok(fr_to_node(&poseidon.hash(&column[..layers.len()])))
            })
            .collect()
    })
}

/// Encodes the replica, `sealed`, and builds tree R-last over it.
///
/// # Errors
/// [`SealError`] if `staged` or the last layer is missing, short or damaged, or the disk refuses.
pub fn build_replica(
    files: &SectorFiles,
    params: &SectorParams,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<CommRLast, SealError> {
    let total = params.sector_size.bytes() * 2;
    encode_replica(files, params, workers, &|done, _| progress(done, total))?;
    build_tree_r_last(files, params, workers, &|done, _| progress(total / 2 + done, total))
}

/// Builds tree R-last over `sealed` alone, which repairs a damaged tree of a sector whose layers are gone.
///
/// # Errors
/// [`SealError`] if `sealed` is missing, short or damaged, or the disk refuses.
pub fn build_tree_r_last(
    files: &SectorFiles,
    params: &SectorParams,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<CommRLast, SealError> {
    let sealed_path = files.sealed();
    let sealed = NodeFile::open(&sealed_path, params.nodes())?;
    let mut step = NodeProgress::new(params.nodes(), progress);
    let levels = Levels::of(Tree::RLast, params);
    let leaves = params.base_tree_leaves();
    let arity = params.tree_shape.base;
    let mut roots = vec![];
    for (index, path) in files.tree_r_last(params).iter().enumerate() {
        let start = index as u64 * leaves;
        let mut replica = |first, count| sealed.range(start + first, count);
        let root = build_upper_tree(arity, path, leaves, workers, &sealed_path, &mut replica, &mut |n| step.add(n))?;
        roots.push(root);
    }
    Ok(CommRLast(rows_above_bases(Tree::RLast, &levels, roots).pop().expect("a root")[0]))
}

fn encode_replica(
    files: &SectorFiles,
    params: &SectorParams,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<(), SealError> {
    let nodes = params.nodes();
    let mut step = NodeProgress::new(nodes, progress);
    let staged = NodeFile::open(&files.staged(), nodes)?;
    let labels = NodeFile::open(&files.layer(params.layers), nodes)?;
    let mut sealed = NewFile::create(&files.sealed())?;
    for (first, count) in crate::nodes::chunks(nodes) {
        let (data, keys) = (staged.range(first, count)?, labels.range(first, count)?);
        let replica: Vec<Node> = workers.run(|| {
            (0..count)
                .into_par_iter()
                .with_min_len(256)
                .map(|row| {
                    let index = first + row as u64;
                    Ok(fr_to_node(&(staged.element(index, &data[row])? + labels.element(index, &keys[row])?)))
                })
                .collect::<Result<_, SealError>>()
        })?;
        sealed.write(replica.as_flattened())?;
        step.add(count as u64);
    }
    sealed.finish()
}

/// A node of the replica minus its label: the data.
///
/// # Errors
/// [`cairn_compute::NonCanonicalNode`] for the one that is no field element.
pub fn decode_node(replica: &Node, label: &Node) -> Result<Node, cairn_compute::NonCanonicalNode> {
    Ok(fr_to_node(&(fr_from_node(replica)? - fr_from_node(label)?)))
}

/// CommR of two roots.
///
/// # Errors
/// [`cairn_compute::NonCanonicalNode`] for a root that is no field element.
pub fn comm_r(comm_c: &CommC, comm_r_last: &CommRLast) -> Result<CommR, cairn_compute::NonCanonicalNode> {
    Poseidon::of_arity(2).hash_nodes([&comm_c.0, &comm_r_last.0]).map(CommR)
}

/// Writes p_aux and gives CommR.
///
/// # Errors
/// [`SealError::Io`] if the disk refuses.
pub fn finish(files: &SectorFiles, comm_c: &CommC, comm_r_last: &CommRLast) -> Result<CommR, SealError> {
    let path = files.p_aux();
    let comm_r = comm_r(comm_c, comm_r_last).expect("roots are field elements");
    let mut file = NewFile::create(&path)?;
    file.write(&comm_c.0)?;
    file.write(&comm_r_last.0)?;
    file.finish()?;
    Ok(comm_r)
}

/// Reads p_aux.
///
/// # Errors
/// [`SealError`] if it is missing or not 64 bytes.
pub fn read_p_aux(files: &SectorFiles) -> Result<(CommC, CommRLast), SealError> {
    let file = NodeFile::open(&files.p_aux(), 2)?;
    Ok((CommC(file.node(0)?), CommRLast(file.node(1)?)))
}

/// What [`seal`] reports: a stage and how far it is; each begins with a report of 0.
pub type StageProgress<'a> = &'a (dyn Fn(Stage, u64, u64) + Sync);

/// The two long parts of sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Tree D and all layers.
    Labels,
    /// Tree C, replica and tree R-last.
    Trees,
}

/// Stages 2 to 6 in order, for callers that need no journal.
///
/// # Errors
/// Those of the stages.
pub fn seal(
    files: &SectorFiles,
    identity: &SectorIdentity,
    workers: &Workers,
    progress: StageProgress<'_>,
) -> Result<SealedCommitments, SealError> {
    let params = identity.params();
    let layers = params.layers as u64;
    let bytes = identity.sector_size.bytes();
    progress(Stage::Labels, 0, bytes * (layers + 1));
    let comm_d = build_tree_d(files, identity.sector_size, workers, &|done, total| {
        progress(Stage::Labels, done, total * (layers + 1));
    })?;
    for layer in 1..=params.layers {
        label_layer(files, identity, &comm_d, layer, workers, &|done, total| {
            progress(Stage::Labels, done + total * layer as u64, total * (layers + 1));
        })?;
    }
    progress(Stage::Trees, 0, bytes * 2);
    let comm_c = build_tree_c(files, &params, workers, &|done, total| progress(Stage::Trees, done, total * 2))?;
    let comm_r_last = build_replica(files, &params, workers, &|done, total| {
        progress(Stage::Trees, done + total, total * 2);
    })?;
    let comm_r = finish(files, &comm_c, &comm_r_last)?;
    Ok(SealedCommitments { comm_d, comm_c, comm_r_last, comm_r })
}
