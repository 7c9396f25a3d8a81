//! Getting the client's bytes back from a replica.
//!
//! The data is the replica minus the labels of the last layer. If that layer's file is still there it is read; otherwise
//! all layers are computed again, which takes as long as labelling did and is why Cairn keeps a hot copy for reading.
//! Only the quads that the range touches are decoded.

use std::io::Write;

use cairn_compute::{Node, Workers};
use cairn_protocol::{CommD, SectorSize};

use crate::error::{Progress, SealError};
use crate::files::SectorFiles;
use crate::fr32::{QUAD_UNPADDED_BYTES, unpad_quad};
use crate::identity::SectorIdentity;
use crate::layer::compute_layer;
use crate::nodes::{NodeFile, chunks_of};
use crate::seal::decode_node;

/// Nodes of a quad.
const QUAD_NODES: u64 = 4;
/// Quads decoded at once.
const CHUNK_QUADS: u64 = 1 << 12;

/// Writes `length` unpadded bytes of the sector from `offset` on to `out`.
///
/// # Errors
/// [`SealError::Range`] if the sector has no such bytes; others if a file is missing, short or damaged, or `out` fails.
#[allow(clippy::too_many_arguments)]
pub fn unseal_range(
    files: &SectorFiles,
    identity: &SectorIdentity,
    comm_d: &CommD,
    offset: u64,
    length: u64,
    out: &mut dyn Write,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<(), SealError> {
    check_range(identity.sector_size, offset, length)?;
    if length == 0 {
        return Ok(());
    }
    let replica = NodeFile::open(&files.sealed(), identity.sector_size.nodes())?;
    let labels = last_layer(files, identity, comm_d, workers, progress)?;
    write_unpadded(identity.sector_size, offset, length, out, &mut |first, count| {
        decode_nodes(&replica, &labels, first, count)
    })
}

fn check_range(sector_size: SectorSize, offset: u64, length: u64) -> Result<(), SealError> {
    let sector = sector_size.unpadded().0;
    match offset.checked_add(length) {
        Some(end) if end <= sector => Ok(()),
        _ => Err(SealError::Range { offset, length, sector }),
    }
}

/// Writes `length` unpadded bytes from `offset` on to `out`; `data` gives the padded nodes from an index on.
pub(crate) fn write_unpadded(
    sector_size: SectorSize,
    offset: u64,
    length: u64,
    out: &mut dyn Write,
    data: &mut dyn FnMut(u64, usize) -> Result<Vec<Node>, SealError>,
) -> Result<(), SealError> {
    check_range(sector_size, offset, length)?;
    let quad_bytes = QUAD_UNPADDED_BYTES as u64;
    let (first_quad, end_quad) = (offset / quad_bytes, (offset + length).div_ceil(quad_bytes));
    for (chunk, count) in chunks_of(end_quad - first_quad, CHUNK_QUADS) {
        let quad = first_quad + chunk;
        let nodes = data(quad * QUAD_NODES, count * QUAD_NODES as usize)?;
        let bytes: Vec<u8> = nodes.as_flattened().as_chunks::<128>().0.iter().flat_map(unpad_quad).collect();
        let start = quad * quad_bytes;
        let from = offset.saturating_sub(start) as usize;
        let to = bytes.len().min((offset + length - start) as usize);
        out.write_all(&bytes[from..to]).map_err(|source| SealError::Output { source })?;
    }
    Ok(())
}

/// Labels of the last layer, stored or made again.
enum LastLayer {
    Stored(NodeFile),
    Computed(Vec<Node>),
}

impl LastLayer {
    fn range(&self, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
        match self {
            Self::Stored(file) => file.range(first, count),
            Self::Computed(labels) => Ok(labels[first as usize..][..count].to_vec()),
        }
    }
}

fn last_layer(
    files: &SectorFiles,
    identity: &SectorIdentity,
    comm_d: &CommD,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<LastLayer, SealError> {
    let params = identity.params();
    let path = files.layer(params.layers);
    if path.exists() {
        return NodeFile::open(&path, params.nodes()).map(LastLayer::Stored);
    }
    let (graph, replica_id) = (identity.graph(), identity.replica_id(comm_d));
    let layers = params.layers as u64;
    let mut previous: Option<Vec<Node>> = None;
    for layer in 1..=params.layers as u32 {
        let report = |done, total| progress(u64::from(layer - 1) * total + done, layers * total);
        previous = Some(compute_layer(&graph, replica_id, layer, previous.as_deref(), workers, &report));
    }
    Ok(LastLayer::Computed(previous.expect("every sector has layers")))
}

fn decode_nodes(replica: &NodeFile, labels: &LastLayer, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
    let mut data = replica.range(first, count)?;
    for (index, (node, label)) in data.iter_mut().zip(labels.range(first, count)?).enumerate() {
        *node = decode_node(node, &label).map_err(|source| replica.damaged(first + index as u64, source))?;
    }
    Ok(data)
}
