//! Window PoSts as Groth16 proofs, with the keys that the reference made for sectors of 2 KiB.

mod support;

use std::path::Path;
use std::sync::Arc;

use cairn_compute::Workers;
use cairn_fixtures::groth16_dir;
use cairn_ledger::{PorepStatement, ProofRejection, ProofVerifier, VerifyingKeys, WindowPostStatement};
use cairn_protocol::{CommD, PieceInfo, SectorSize};
use cairn_sealing::*;
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{ChallengeNumbering, PostKind, PostProof, PostStatement};
use cairn_snark::engine::Engine;
use cairn_snark::groth16::{Blinding, Circuit, KeyStore, Trust};
use cairn_snark::proving::CircuitProver;
use support::carried::{CarriedSnarks, CarriedVerifier};
use support::*;

/// Replication as in the other tests, spacetime for real.
struct RealPosts {
    carried: CarriedSnarks,
    posts: CircuitProver,
}

impl SnarkProver for RealPosts {
    fn prove_porep(
        &self,
        statement: &porep::PorepStatement,
        plain: &PorepProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        self.carried.prove_porep(statement, plain, workers)
    }

    fn prove_window_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let numbering = ChallengeNumbering::of(PostKind::Window);
        let blinding = &mut || Blinding::from_bytes(&[7; 128]);
        Ok(self.posts.prove_post(statement, plain, numbering, blinding, workers)?)
    }
}

struct RealPostVerifier(Groth16ProofVerifier);

impl ProofVerifier for RealPostVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        self.0.comm_d(size, pieces)
    }

    fn verify_porep(&self, statement: &PorepStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        CarriedVerifier.verify_porep(statement, snark)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        self.0.verify_window_post(statement, snark)
    }

    fn verifying_keys(&self) -> VerifyingKeys {
        self.0.verifying_keys()
    }
}

fn real(dir: &Path) -> Proofs {
    let workers = Workers::new(2).unwrap();
    let cache = dir.join("keys");
    std::fs::create_dir_all(&cache).unwrap();
    let store = KeyStore::new(groth16_dir(), cache, Trust::Development);
    let circuit = Circuit::WindowPost(SectorSize::KIB2);
    let posts = CircuitProver::open(&store, circuit, Engine::Auto, &workers, &|_, _| {}).unwrap();
    let verifier = Groth16ProofVerifier::open(&store, SectorSize::KIB2, workers).unwrap();
    Proofs {
        prover: Arc::new(RealPosts { carried: CarriedSnarks::new(dir), posts }),
        verifier: Arc::new(RealPostVerifier(verifier)),
    }
}

#[test]
fn deadlines_are_answered_with_groth16_and_a_made_proof_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let proofs = real(dir.path());
    let house = House::open_proving(dir.path(), options(), proofs.clone());
    house.pipeline.assign(assignment()).unwrap();
    house.run_until(Milestone::Finalized);
    while !house.ledger.head().unwrap().0.is_multiple_of(12) {
        house.ledger.advance();
    }
    // Proven and lost on its way; then the process ends.
    house.ledger.mischief.lock().unwrap().lose = 1;
    assert_eq!(house.pipeline.post_step().unwrap().proven, 1);
    let (_, record) = house.pipeline.posts().unwrap().remove(0);
    let file = std::fs::read_dir(dir.path().join("sectors/posts")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 192);
    drop(house);

    let impatient = PipelineOptions { submission_patience: 0, ..options() };
    let house = House::open_proving(dir.path(), impatient, proofs);
    house.ledger.advance();
    let (mut proven, mut confirmed) = (0, 0);
    for _ in 0..3 {
        let turn = house.pipeline.post_step().unwrap();
        proven += turn.proven;
        confirmed += turn.confirmed;
        house.ledger.advance();
    }
    assert_eq!((proven, confirmed), (0, 1));
    let (_, after) = house.pipeline.posts().unwrap().remove(0);
    assert_eq!(after.proof_digest, record.proof_digest);
    assert_eq!(house.ledger.posts(SECTOR).len(), 1);
}
