//! How new data enters a replica, and how it is read back.
//!
//! `phi = P2*(CommD new, CommR old)`, `rho(i) = P2*(phi, top h bits of i)`, `new[i] = old[i] + data[i] · rho(i)`, all in
//! the field; P2* is the binary Poseidon hash under a domain tag of its own. A sector has only 2^h factors (1,024 unless
//! chosen otherwise), so they are a table, and encoding streams at one multiplication a node. Reading back divides by
//! them, a table as well.

use std::io::Write;

use ark_ff::{AdditiveGroup, batch_inversion};
use cairn_compute::{Fr, Node, NonCanonicalNode, Poseidon, Workers, fr_from_node, fr_to_node};
use cairn_protocol::{CommC, CommD, CommR, SectorSize};
use rayon::prelude::*;

use super::{HSelect, UpdateParams, UpdateStatement};
use crate::error::{Progress, SealError};
use crate::files::{NewFile, SectorFiles};
use crate::nodes::{NodeFile, chunks};
use crate::seal::{build_tree_d, build_tree_r_last, comm_r, finish, read_p_aux};
use crate::trees::NodeProgress;
use crate::unseal::write_unpadded;

/// Bit of the domain tag of [`randomness_hash`]: "arbitrary data, type 1" in Poseidon's tag space.
const RANDOMNESS_TAG_BIT: u64 = 40;

/// Domain tag of [`randomness_hash`].
pub fn randomness_tag() -> Fr {
    Fr::from(1u64 << RANDOMNESS_TAG_BIT)
}

/// `P2*`: the binary Poseidon hash that derives randomness, apart from the one that hashes Merkle nodes.
pub fn randomness_hash(left: Fr, right: Fr) -> Fr {
    Poseidon::of_arity(2).hash_tagged(randomness_tag(), &[left, right])
}

/// What the factors of an update come from.
///
/// # Errors
/// [`NonCanonicalNode`] for a commitment that is no field element.
pub fn phi(comm_d_new: &CommD, comm_r_old: &CommR) -> Result<Fr, NonCanonicalNode> {
    Ok(randomness_hash(fr_from_node(&comm_d_new.0)?, fr_from_node(&comm_r_old.0)?))
}

/// The factor of all nodes whose index has these top bits.
pub fn rho(phi: Fr, high_bits: u64) -> Fr {
    randomness_hash(phi, Fr::from(high_bits))
}

/// The new replica's node.
pub fn encode_node(old: Fr, data: Fr, rho: Fr) -> Fr {
    old + data * rho
}

/// What decides the factors of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateEncoding {
    /// Sector size.
    pub sector_size: SectorSize,
    /// How many nodes share a factor.
    pub h_select: HSelect,
    /// The replica before.
    pub comm_r_old: CommR,
    /// The new data.
    pub comm_d_new: CommD,
}

impl From<&UpdateStatement> for UpdateEncoding {
    fn from(statement: &UpdateStatement) -> Self {
        let UpdateStatement { sector_size, h_select, comm_r_old, comm_d_new, .. } = *statement;
        Self { sector_size, h_select, comm_r_old, comm_d_new }
    }
}

/// All factors of one update, or their inverses.
struct Factors {
    table: Vec<Fr>,
    /// Bits of an index below the top ones.
    shift: usize,
}

impl Factors {
    fn of_encoding(encoding: &UpdateEncoding, workers: &Workers) -> Result<Self, SealError> {
        let UpdateEncoding { sector_size, h_select, comm_r_old, comm_d_new } = encoding;
        let phi = phi(comm_d_new, comm_r_old).map_err(|source| SealError::Commitment { source })?;
        let bits = h_select.bits(*sector_size);
        let table = workers.run(|| (0..1u64 << bits).into_par_iter().map(|high| rho(phi, high)).collect());
        Ok(Self { table, shift: UpdateParams::new(*sector_size).node_bits() - bits })
    }

    fn inverted(mut self) -> Self {
        assert!(self.table.iter().all(|factor| *factor != Fr::ZERO), "no input of Poseidon that hashes to 0 is known");
        batch_inversion(&mut self.table);
        self
    }

    fn of_node(&self, node: u64) -> Fr {
        self.table[(node >> self.shift) as usize]
    }
}

/// Encodes the replica of the `new` sector: the `old` replica with the data of `new`.
///
/// # Errors
/// [`SealError`] if the old replica or the data is missing, short or damaged, or the disk refuses;
/// [`SealError::Commitment`] if a commitment of the encoding is no field element.
pub fn encode(
    old: &SectorFiles,
    new: &SectorFiles,
    encoding: &UpdateEncoding,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<(), SealError> {
    let nodes = encoding.sector_size.nodes();
    let factors = Factors::of_encoding(encoding, workers)?;
    let mut step = NodeProgress::new(nodes, progress);
    let replica = NodeFile::open(&old.sealed(), nodes)?;
    let staged = NodeFile::open(&new.staged(), nodes)?;
    let mut sealed = NewFile::create(&new.sealed())?;
    for (first, count) in chunks(nodes) {
        let (before, data) = (replica.range(first, count)?, staged.range(first, count)?);
        let after: Vec<Node> = workers.run(|| {
            (0..count)
                .into_par_iter()
                .with_min_len(256)
                .map(|row| {
                    let index = first + row as u64;
                    let (before, data) = (replica.element(index, &before[row])?, staged.element(index, &data[row])?);
                    Ok(fr_to_node(&encode_node(before, data, factors.of_node(index))))
                })
                .collect::<Result<_, SealError>>()
        })?;
        sealed.write(after.as_flattened())?;
        step.add(count as u64);
    }
    sealed.finish()
}

/// Everything from the data of the `new` sector (which [`crate::seal::add_pieces`] wrote) to its CommR: tree D, replica,
/// tree R-last and p_aux. Of the `old` sector, replica and p_aux are read. Writes whole files only and may be run again.
///
/// # Errors
/// [`SealError`] if a file is missing, short or damaged, or the disk refuses.
pub fn update(
    old: &SectorFiles,
    new: &SectorFiles,
    sector_size: SectorSize,
    h_select: HSelect,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<UpdateStatement, SealError> {
    let params = UpdateParams::new(sector_size).sector;
    // Tree D has two nodes for each of the sector's; the replica and its tree count one each.
    let bytes = sector_size.bytes();
    let total = bytes * 4;
    let (comm_c, comm_r_old) = old_commitments(old)?;
    let comm_d_new = build_tree_d(new, sector_size, workers, &|done, _| progress(done, total))?;
    let encoding = UpdateEncoding { sector_size, h_select, comm_r_old, comm_d_new };
    encode(old, new, &encoding, workers, &|done, _| progress(bytes * 2 + done, total))?;
    let comm_r_last = build_tree_r_last(new, &params, workers, &|done, _| progress(bytes * 3 + done, total))?;
    let comm_r_new = finish(new, &comm_c, &comm_r_last)?;
    Ok(UpdateStatement { sector_size, h_select, comm_r_old, comm_d_new, comm_r_new })
}

/// CommC, which stays, and CommR before the update.
fn old_commitments(old: &SectorFiles) -> Result<(CommC, CommR), SealError> {
    let p_aux = NodeFile::open(&old.p_aux(), 2)?;
    let (comm_c, comm_r_last) = read_p_aux(old)?;
    for (index, root) in [comm_c.0, comm_r_last.0].iter().enumerate() {
        p_aux.element(index as u64, root)?;
    }
    let comm_r_old = comm_r(&comm_c, &comm_r_last).expect("checked field elements");
    Ok((comm_c, comm_r_old))
}

/// Writes `length` unpadded bytes of the new data, from `offset` on, to `out`: what both replicas differ by, divided by
/// the factors. Only the nodes that the range touches are read.
///
/// # Errors
/// [`SealError::Range`] if the sector has no such bytes; others if a replica is missing, short or damaged, or `out` fails.
pub fn decode_range(
    old: &SectorFiles,
    new: &SectorFiles,
    encoding: &UpdateEncoding,
    offset: u64,
    length: u64,
    out: &mut dyn Write,
    workers: &Workers,
) -> Result<(), SealError> {
    let nodes = encoding.sector_size.nodes();
    let divisors = Factors::of_encoding(encoding, workers)?.inverted();
    let before = NodeFile::open(&old.sealed(), nodes)?;
    let after = NodeFile::open(&new.sealed(), nodes)?;
    write_unpadded(encoding.sector_size, offset, length, out, &mut |first, count| {
        let mut data = after.range(first, count)?;
        for (node, (index, before_node)) in data.iter_mut().zip((first..).zip(before.range(first, count)?)) {
            let difference = after.element(index, node)? - before.element(index, &before_node)?;
            *node = fr_to_node(&(difference * divisors.of_node(index)));
        }
        Ok(data)
    })
}
