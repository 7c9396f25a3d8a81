//! Replication and updates are carried, spacetime is proven, with the keys that the reference made for sectors of 2 KiB.

use std::path::Path;

use cairn_compute::Workers;
use cairn_fixtures::groth16_dir;
use cairn_ledger::{
    PorepStatement, ProofRejection, ProofVerifier, SectorUpdateStatement, VerifyingKeys, WindowPostStatement,
};
use cairn_protocol::{CommD, PieceInfo, SectorSize};
use cairn_sealing::{Groth16ProofVerifier, SnarkError, SnarkProver};
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{ChallengeNumbering, PostKind, PostProof, PostStatement};
use cairn_sector::update::{UpdateProof, UpdateStatement};
use cairn_snark::engine::Engine;
use cairn_snark::groth16::{Blinding, Circuit, KeyStore, Trust};
use cairn_snark::proving::CircuitProver;

use super::carried::{CarriedSnarks, CarriedVerifier};

/// The reference's keys, and what is made of them in `dir`.
fn keys(dir: &Path) -> KeyStore {
    let cache = dir.join("keys");
    std::fs::create_dir_all(&cache).unwrap();
    KeyStore::new(groth16_dir(), cache, Trust::Development)
}

/// Makes both.
pub struct RealPosts {
    pub carried: CarriedSnarks,
    pub posts: Option<CircuitProver>,
}

impl RealPosts {
    /// Carried proofs are counted in `dir`; without `posts` there is nobody to prove spacetime.
    pub fn open(dir: &Path, posts: bool, workers: &Workers) -> Self {
        let circuit = Circuit::WindowPost(SectorSize::KIB2);
        let open = || CircuitProver::open(&keys(dir), circuit, Engine::Auto, workers, &|_, _| {}).unwrap();
        Self { carried: CarriedSnarks::new(dir), posts: posts.then(open) }
    }
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
        let posts = self.posts.as_ref().expect("a test that proves spacetime");
        let numbering = ChallengeNumbering::of(PostKind::Window);
        Ok(posts.prove_post(statement, plain, numbering, &mut || Blinding::from_bytes(&[7; 128]), workers)?)
    }

    fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        self.carried.prove_update(statement, plain, workers)
    }
}

/// Checks both.
pub struct RealPostVerifier(Groth16ProofVerifier);

impl RealPostVerifier {
    pub fn open(dir: &Path, workers: Workers) -> Self {
        Self(Groth16ProofVerifier::open(&keys(dir), SectorSize::KIB2, workers).unwrap())
    }
}

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

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        CarriedVerifier.verify_sector_update(statement, snark)
    }

    fn verifying_keys(&self) -> VerifyingKeys {
        self.0.verifying_keys()
    }
}
