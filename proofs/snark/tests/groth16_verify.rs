//! Verification against the reference: its proofs hold, and nothing that differs from them by a bit does.

mod groth16_common;

use cairn_compute::fr::{Node, fr_from_node};
use cairn_snark::groth16::{
    BatchItem, PreparedVerifyingKey, Proof, ProofRejection, VerifyRejection, VerifyingKey, verify_batch,
};
use groth16_common::*;

#[test]
fn every_golden_proof_holds() {
    let golden = golden();
    assert_eq!(golden.len(), 7);
    for vector in &golden {
        let key = prepared(vector.circuit);
        assert_eq!(key.verify(&vector.proof(), &vector.inputs), Ok(()), "{}", vector.name);
        assert_eq!(vector.proof().to_bytes()[..], vector.proof_bytes);
    }
}

/// An independent verifier says the same about the golden proofs, and about a wrong input.
#[test]
fn arkworks_agrees() {
    for vector in golden() {
        let key = prepared(vector.circuit);
        let ark_key = ark_groth16::prepare_verifying_key(&ark_key(key.key()));
        let proof = vector.proof();
        let ark_proof = ark_groth16::Proof::<ark_bls12_381::Bls12_381> {
            a: proof.a.to_ark(),
            b: proof.b.to_ark(),
            c: proof.c.to_ark(),
        };
        let mut inputs: Vec<_> = vector.inputs.iter().map(|node| fr_from_node(node).unwrap()).collect();
        let verify = |inputs: &[_]| ark_groth16::Groth16::<_>::verify_proof(&ark_key, &ark_proof, inputs).unwrap();
        assert!(verify(&inputs), "{}", vector.name);
        inputs[0] += ark_bls12_381::Fr::from(1u64);
        assert!(!verify(&inputs), "{}", vector.name);
    }
}

fn ark_key(key: &VerifyingKey) -> ark_groth16::VerifyingKey<ark_bls12_381::Bls12_381> {
    ark_groth16::VerifyingKey {
        alpha_g1: key.alpha_g1.to_ark(),
        beta_g2: key.beta_g2.to_ark(),
        gamma_g2: key.gamma_g2.to_ark(),
        delta_g2: key.delta_g2.to_ark(),
        gamma_abc_g1: key.ic.iter().map(|point| point.to_ark()).collect(),
    }
}

/// Which byte, which bit: the reading names the point, or the equation fails.
#[test]
fn every_changed_byte_of_a_proof_is_refused() {
    for vector in golden().into_iter().filter(|vector| ["fixture-a", "window"].contains(&&*vector.name)) {
        let key = prepared(vector.circuit);
        for byte in 0..192 {
            let mut bytes = vector.proof_bytes.clone();
            bytes[byte] ^= 1 << (byte % 8);
            match Proof::from_bytes(&bytes) {
                Ok(proof) => {
                    assert_eq!(key.verify(&proof, &vector.inputs), Err(VerifyRejection::Equation), "byte {byte}");
                }
                Err(ProofRejection::Point { partition: 0, point, .. }) => {
                    let expected = ["A", "B", "B", "C"][byte / 48];
                    assert_eq!(point, expected, "byte {byte}");
                }
                Err(other) => panic!("byte {byte}: {other}"),
            }
        }
    }
}

#[test]
fn every_changed_public_input_is_refused() {
    for vector in golden().into_iter().filter(|vector| vector.name.starts_with(['f', 'w'])) {
        let (key, proof) = (prepared(vector.circuit), vector.proof());
        for index in 0..vector.inputs.len() {
            let mut inputs = vector.inputs.clone();
            inputs[index][0] ^= 1;
            assert_eq!(key.verify(&proof, &inputs), Err(VerifyRejection::Equation), "{} {index}", vector.name);
        }
        let mut above = vector.inputs.clone();
        above[1] = [0xff; 32];
        let rejection = key.verify(&proof, &above).unwrap_err();
        assert!(matches!(rejection, VerifyRejection::NonCanonicalInput { index: 1, .. }), "{rejection}");
        let (expected, got) = (vector.inputs.len(), vector.inputs.len() - 1);
        assert_eq!(key.verify(&proof, &vector.inputs[1..]), Err(VerifyRejection::Inputs { expected, got }));
    }
}

/// Three circuits in one batch; then some of the proofs are wrong, each in its own way.
#[test]
fn a_batch_names_its_bad_proofs() {
    let golden = golden();
    let keys = [prepared(POREP), prepared(WINDOW), prepared(WINNING)];
    let key_of = |circuit| &keys[[POREP, WINDOW, WINNING].iter().position(|of| *of == circuit).unwrap()];
    let mut proofs: Vec<(&PreparedVerifyingKey, Proof, Vec<Node>)> = (0..20)
        .map(|position| &golden[position % golden.len()])
        .map(|vector| (key_of(vector.circuit), vector.proof(), vector.inputs.clone()))
        .collect();
    let verify = |proofs: &[(&PreparedVerifyingKey, Proof, Vec<Node>)]| {
        let items: Vec<_> = proofs.iter().map(|(key, proof, inputs)| BatchItem { key, proof, inputs }).collect();
        verify_batch(&items, [7; 32], &workers())
    };
    assert_eq!(verify(&proofs), Ok(()));
    assert_eq!(verify(&[]), Ok(()));

    proofs[3].1 = proofs[2].1;
    proofs[8].2[5][0] ^= 1;
    proofs[12].2.pop();
    let last = &mut proofs[19];
    std::mem::swap(&mut last.1.a, &mut last.1.c);
    let rejection = verify(&proofs).unwrap_err();
    let positions: Vec<usize> = rejection.bad.iter().map(|(position, _)| *position).collect();
    assert_eq!((positions, rejection.of), (vec![3, 8, 12, 19], 20));
    assert_eq!(rejection.bad[0].1, VerifyRejection::Equation);
    assert!(matches!(rejection.bad[2].1, VerifyRejection::Inputs { .. }));
    assert!(rejection.to_string().starts_with("4 of 20 proofs do not hold; the first is proof 3: expected e(A, B)"));
}

/// Two wrong proofs whose errors cancel in a plain product: only the powers tell them from right ones.
#[test]
fn errors_do_not_cancel_in_a_batch() {
    let vector = &golden()[0];
    let key = prepared(vector.circuit);
    let (mut plus, mut minus) = (vector.proof(), vector.proof());
    let shift = key.key().alpha_g1;
    plus.c = plus.c.add(&shift);
    minus.c = minus.c.add(&shift.neg());
    let items = [&plus, &minus].map(|proof| BatchItem { key: &key, proof, inputs: &vector.inputs });
    let rejection = verify_batch(&items, [0; 32], &workers()).unwrap_err();
    assert_eq!(rejection.bad.len(), 2);
}

/// `cargo test --release -p cairn-snark --test groth16_verify figures -- --ignored --nocapture`
#[test]
#[ignore = "slow: prints figures, asserts no time"]
fn figures() {
    use std::time::Instant;
    let vector = &golden()[0];
    let started = Instant::now();
    let key = prepared(vector.circuit);
    println!("load and prepare a key with {} inputs: {:.2?}", vector.inputs.len(), started.elapsed());
    for threads in [1, 2] {
        let workers = cairn_compute::Workers::new(threads).unwrap();
        let started = Instant::now();
        for _ in 0..50 {
            key.verify(&Proof::from_bytes(&vector.proof_bytes).unwrap(), &vector.inputs).unwrap();
        }
        println!("one proof, parsed and verified on one thread: {:.2?}", started.elapsed() / 50);
        let proof = vector.proof();
        let items = vec![BatchItem { key: &key, proof: &proof, inputs: &vector.inputs }; 100];
        let started = Instant::now();
        for _ in 0..5 {
            verify_batch(&items, [1; 32], &workers).unwrap();
        }
        println!("100 in a batch on {threads} threads: {:.2?}", started.elapsed() / 5);
        let started = Instant::now();
        assert!((0..100).all(|_| Proof::from_bytes(&vector.proof_bytes).is_ok()));
        println!("reading 100 proofs (one thread): {:.2?}", started.elapsed());
    }
}
