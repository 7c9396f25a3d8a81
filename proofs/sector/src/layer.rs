//! One layer of labels, with its parents computed ahead.
//!
//! Labels form a chain, so one thread computes them; where their parents are does not depend on labels at all, so the
//! workers compute parents a few chunks ahead of it.

use std::sync::mpsc::sync_channel;

use cairn_compute::{Node, Workers};
use cairn_protocol::ReplicaId;
use cairn_protocol::params::{BASE_DEGREE, DEGREE};
use rayon::prelude::*;

use crate::error::Progress;
use crate::graph::Graph;
use crate::labels::Labeller;
use crate::nodes::chunks_of;
use crate::parent_cache::parents_of;

/// Nodes of a chunk.
const CHUNK_NODES: u64 = 1 << 14;
/// Chunks that may wait.
const CHUNKS_AHEAD: usize = 2;

/// All labels of layer `layer`, counted from 1; `previous` is the layer before, absent for layer 1.
///
/// # Panics
/// As [`Labeller::new`].
pub fn compute_layer(
    graph: &Graph,
    replica_id: ReplicaId,
    layer: u32,
    previous: Option<&[Node]>,
    workers: &Workers,
    progress: Progress<'_>,
) -> Vec<Node> {
    let nodes = graph.nodes();
    let mut labeller = Labeller::new(replica_id, layer, nodes, previous);
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(CHUNKS_AHEAD);
        scope.spawn(move || {
            for (first, count) in chunks_of(nodes, CHUNK_NODES) {
                let parents = if layer == 1 {
                    base_parents_of(graph, workers, first, count)
                } else {
                    parents_of(graph, workers, first, count)
                };
                if send.send(parents).is_err() {
                    return;
                }
            }
        });
        let mut done = 0;
        for chunk in receive {
            chunk.iter().for_each(|parents| labeller.push(parents));
            done += chunk.len() as u64;
            progress(done * 32, nodes * 32);
        }
    });
    labeller.finish()
}

/// Layer 1 looks at no expander parent; they stay 0.
fn base_parents_of(graph: &Graph, workers: &Workers, first: u64, count: usize) -> Vec<[u32; DEGREE]> {
    let first = first as u32;
    workers.run(|| {
        (first..first + count as u32)
            .into_par_iter()
            .with_min_len(256)
            .map(|node| {
                let mut parents = [0; DEGREE];
                parents[..BASE_DEGREE].copy_from_slice(&graph.base_parents(node));
                parents
            })
            .collect()
    })
}
