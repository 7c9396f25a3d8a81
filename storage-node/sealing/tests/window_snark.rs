//! Window PoSts as Groth16 proofs, with the keys that the reference made for sectors of 2 KiB.

mod support;

#[path = "support/real_posts.rs"]
mod real_posts;

use std::path::Path;
use std::sync::Arc;

use cairn_compute::Workers;
use cairn_sealing::*;
use real_posts::{RealPostVerifier, RealPosts};
use support::*;

fn real(dir: &Path) -> Proofs {
    let workers = Workers::new(2).unwrap();
    Proofs {
        prover: Arc::new(RealPosts::open(dir, true, &workers)),
        verifier: Arc::new(RealPostVerifier::open(dir, workers)),
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
