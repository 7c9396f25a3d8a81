//! [`ProofVerifier`] for ledgers that take vanilla proofs: openings instead of SNARKs.

use cairn_ledger::{PorepStatement, ProofRejection, ProofVerifier, WindowPostStatement};
use cairn_protocol::{CommD, PieceInfo, SectorSize};
use cairn_sector::SectorIdentity;
use cairn_sector::pieces;
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{self, PostProof};

use crate::pipeline::to_sector_statement;

/// Bytes of a proof that are looked at, at most; the largest vanilla proof of the sizes it is meant for is far below.
pub const VANILLA_PROOF_BYTES_MAX: usize = 64 << 20;

/// Checks vanilla proofs with the sector crate. Depends on its arguments alone, so every node gives the same answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct VanillaProofVerifier;

fn check_length(proof: &[u8]) -> Result<(), ProofRejection> {
    if proof.len() <= VANILLA_PROOF_BYTES_MAX {
        return Ok(());
    }
    let got = proof.len();
    Err(ProofRejection::new(format!("expected at most {VANILLA_PROOF_BYTES_MAX} bytes of proof, got {got}")))
}

impl ProofVerifier for VanillaProofVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        pieces::comm_d(size, pieces).map_err(|rejection| ProofRejection::new(rejection.to_string()))
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        check_length(proof)?;
        let proof = PorepProof::from_bytes(proof).map_err(|rejection| ProofRejection::new(rejection.to_string()))?;
        let identity = SectorIdentity {
            sector_size: statement.sector_size,
            seal_proof: statement.seal_proof,
            porep_id: statement.seal_proof.porep_id(statement.sector_size),
            prover_id: statement.prover_id,
            sector_number: statement.sector_number,
            ticket: statement.ticket,
        };
        let PorepStatement { comm_d, comm_r, seed, .. } = *statement;
        porep::verify(&porep::PorepStatement { identity, comm_d, comm_r, seed }, &proof)
            .map_err(|rejection| ProofRejection::new(rejection.to_string()))
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        check_length(proof)?;
        let proof = PostProof::from_bytes(proof).map_err(|rejection| ProofRejection::new(rejection.to_string()))?;
        post::verify(&to_sector_statement(statement), &proof)
            .map_err(|rejection| ProofRejection::new(rejection.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::{PostRandomness, ProviderId, SealProof, SectorNumber, Seed, Ticket};
    use proptest::prelude::*;

    use super::*;

    fn porep_statement() -> PorepStatement {
        PorepStatement {
            sector_size: SectorSize::KIB2,
            seal_proof: SealProof::V1_1,
            prover_id: ProviderId(1000).prover_id(),
            sector_number: SectorNumber(0),
            ticket: Ticket([1; 32]),
            seed: Seed([2; 32]),
            comm_d: CommD([3; 32]),
            comm_r: Default::default(),
        }
    }

    fn post_statement() -> WindowPostStatement {
        WindowPostStatement {
            sector_size: SectorSize::KIB2,
            prover_id: ProviderId(1000).prover_id(),
            randomness: PostRandomness([0; 32]),
            sectors: vec![(SectorNumber(0), Default::default())],
        }
    }

    #[test]
    fn an_empty_sector_has_the_commitment_of_zeros() {
        let comm_d = VanillaProofVerifier.comm_d(SectorSize::KIB2, &[]).unwrap();
        assert_eq!(comm_d.0, pieces::zero_commitment(SectorSize::KIB2.padded()).0);
    }

    #[test]
    fn oversized_proofs_are_refused_unread() {
        let proof = vec![0; VANILLA_PROOF_BYTES_MAX + 1];
        let reason = VanillaProofVerifier.verify_porep(&porep_statement(), &proof).unwrap_err().reason;
        assert!(reason.starts_with("expected at most"), "{reason}");
        assert!(VanillaProofVerifier.verify_window_post(&post_statement(), &proof).is_err());
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(VanillaProofVerifier.verify_porep(&porep_statement(), &bytes).is_err());
            prop_assert!(VanillaProofVerifier.verify_window_post(&post_statement(), &bytes).is_err());
        }
    }
}
