//! Checking an update's proof.

use cairn_compute::{Fr, Node, fr_from_node, fr_to_node};
use cairn_protocol::{CommC, CommD, CommR, CommRLast};

use super::challenges::challenges;
use super::encoding::{encode_node, phi, rho};
use super::proof::{ChallengeProof, PartitionProof, UpdateProof};
use super::rejection::{Opening, OpeningRejection, Replica, UpdateRejection};
use super::{UpdateParams, UpdateStatement};
use crate::merkle::{Levels, Tree};
use crate::seal::comm_r;
use crate::sha256::hash_pair;

/// Checks every opening of `proof` against `statement`.
///
/// # Errors
/// [`UpdateRejection`] names the first opening that fails and why.
pub fn verify(statement: &UpdateStatement, proof: &UpdateProof) -> Result<(), UpdateRejection> {
    let verifier = Verifier::new(statement)?;
    let (expected, got) = (verifier.params.partitions, proof.partitions.len());
    if expected != got {
        return Err(UpdateRejection::Partitions { expected, got });
    }
    proof.partitions.iter().enumerate().try_for_each(|(partition, proof)| verifier.check_partition(partition, proof))
}

/// An opening that fails, before it is known where in the proof it stands.
type Failed = (Opening, OpeningRejection);

/// What all challenges of one statement share.
struct Verifier<'a> {
    statement: &'a UpdateStatement,
    params: UpdateParams,
    phi: Fr,
    h_bits: usize,
    levels_d: Levels,
    levels_r: Levels,
}

/// Roots of tree R-last before and after the update, once they are known to be those in CommR.
struct Roots {
    old: Node,
    new: Node,
}

impl<'a> Verifier<'a> {
    fn new(statement: &'a UpdateStatement) -> Result<Self, UpdateRejection> {
        let canonical = |what, node| match fr_from_node(node) {
            Ok(_) => Ok(()),
            Err(source) => Err(UpdateRejection::Statement { what, source }),
        };
        canonical("old CommR", &statement.comm_r_old.0)?;
        canonical("new CommD", &statement.comm_d_new.0)?;
        canonical("new CommR", &statement.comm_r_new.0)?;
        let params = statement.params();
        Ok(Self {
            statement,
            params,
            phi: phi(&statement.comm_d_new, &statement.comm_r_old).expect("checked field elements"),
            h_bits: statement.h_select.bits(statement.sector_size),
            levels_d: Levels::of(Tree::D, &params.sector),
            levels_r: Levels::of(Tree::RLast, &params.sector),
        })
    }

    fn check_partition(&self, partition: usize, proof: &PartitionProof) -> Result<(), UpdateRejection> {
        let nodes = challenges(&self.params, &self.statement.comm_r_new, partition).expect("a checked field element");
        let (expected, got) = (nodes.len(), proof.challenges.len());
        if expected != got {
            return Err(UpdateRejection::Challenges { partition, expected, got });
        }
        let (expected, got) = (self.params.apex_leaves, proof.apex_leaves.len());
        if expected != got {
            return Err(UpdateRejection::ApexLeaves { partition, expected, got });
        }
        let roots = self.check_roots(partition, &proof.comm_c, &proof.challenges[0])?;
        for (position, (node, proof)) in nodes.into_iter().zip(&proof.challenges).enumerate() {
            self.check_challenge(node, &roots, proof).map_err(|(opening, reason)| UpdateRejection::Opening {
                partition,
                position,
                node,
                opening,
                reason,
            })?;
        }
        self.check_apex(partition, proof)
    }

    /// CommR commits to CommC and the root of tree R-last, which the statement does not name. The first opening does; if
    /// they hash to CommR they are the only ones there are, and every other opening must lead to them.
    fn check_roots(&self, partition: usize, comm_c: &CommC, first: &ChallengeProof) -> Result<Roots, UpdateRejection> {
        let roots = Roots { old: *first.old_replica.root(), new: *first.new_replica.root() };
        let check = |replica, root, expected: CommR| match comm_r(comm_c, &CommRLast(root)) {
            Ok(got) if got == expected => Ok(()),
            Ok(got) => Err(UpdateRejection::CommR { partition, replica, expected, got }),
            Err(source) => Err(UpdateRejection::Roots { partition, replica, source }),
        };
        check(Replica::Old, roots.old, self.statement.comm_r_old)?;
        check(Replica::New, roots.new, self.statement.comm_r_new)?;
        Ok(roots)
    }

    fn check_challenge(&self, node: u64, roots: &Roots, proof: &ChallengeProof) -> Result<(), Failed> {
        let replica = |whose, opening: &crate::merkle::MerkleProof, root| {
            opening
                .verify(Tree::RLast, &self.levels_r, node, root)
                .map_err(|reason| (Opening::Replica(whose), reason.into()))
        };
        replica(Replica::Old, &proof.old_replica, &roots.old)?;
        proof
            .new_data
            .verify(Tree::D, &self.levels_d, node, &self.statement.comm_d_new.0)
            .map_err(|reason| (Opening::Data, reason.into()))?;
        replica(Replica::New, &proof.new_replica, &roots.new)?;
        self.check_encoding(node, proof).map_err(|reason| (Opening::Encoding, reason))
    }

    fn check_encoding(&self, node: u64, proof: &ChallengeProof) -> Result<(), OpeningRejection> {
        let rho = rho(self.phi, node >> (self.params.node_bits() - self.h_bits));
        let old = fr_from_node(proof.old_replica.leaf())?;
        let data = fr_from_node(proof.new_data.leaf())?;
        let got = fr_to_node(&encode_node(old, data, rho));
        let expected = *proof.new_replica.leaf();
        if expected != got {
            return Err(OpeningRejection::Encoding { expected, got });
        }
        Ok(())
    }

    /// Hashes the apex leaves to the root of the partition and that, along the top of an opening already checked, to
    /// CommD. As no other row has that root, the leaves are then those that the paths of all openings run through.
    fn check_apex(&self, partition: usize, proof: &PartitionProof) -> Result<(), UpdateRejection> {
        let mut row = proof.apex_leaves.clone();
        while row.len() > 1 {
            row = row.chunks_exact(2).map(|pair| hash_pair(&pair[0], &pair[1])).collect();
        }
        let path = proof.challenges[0].new_data.steps().skip(self.params.challenge_bits());
        let root = path.fold(row[0], |running, step| match step.index {
            0 => hash_pair(&running, &step.hashes[0]),
            _ => hash_pair(&step.hashes[0], &running),
        });
        let (expected, got) = (self.statement.comm_d_new, CommD(root));
        if expected == got { Ok(()) } else { Err(UpdateRejection::ApexRoot { partition, expected, got }) }
    }
}
