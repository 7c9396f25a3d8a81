//! Golden digests, and naive = fast.

use super::constants::Constants;
use super::{Poseidon, naive};
use crate::{Fr, fr_from_node, fr_to_node};
use proptest::prelude::*;

/// Digest of (0, 1, .., arity - 1) as u64 limbs, least significant first: neptune's own tests (`spec/proofs.md` 4.1).
const COUNTING_DIGESTS: [(usize, [u64; 4]); 4] = [
    (2, [0x2e203c369a02e7ff, 0xa6fba9339d05a69d, 0x739e0fd902efe161, 0x396508d75e76a56b]),
    (4, [0x019814ff6662075d, 0xfb6b4605bf1327ec, 0x00db3c6579229399, 0x58a54b10a9e5848a]),
    (8, [0x2a9934f56d38a5e6, 0x4b682e9d9cc4aed9, 0x1201004211677077, 0x2394611da3a5de55]),
    (11, [0xcee3bbc32b693163, 0x09f3dcd8ccb08fc1, 0x6ca537e232ebe87a, 0x0c0fc1b2e5227f28]),
];

#[test]
fn counting_inputs_give_the_published_digests() {
    for (arity, limbs) in COUNTING_DIGESTS {
        let inputs: Vec<Fr> = (0..arity as u64).map(Fr::from).collect();
        let expected: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        let naive = naive::hash(&Constants::derive(arity).unwrap(), &inputs);
        assert_eq!(fr_to_node(&naive).to_vec(), expected, "arity {arity}");
        assert_eq!(Poseidon::of_arity(arity).hash(&inputs), naive, "arity {arity}");
    }
}

#[test]
fn every_golden_vector() {
    let vectors = cairn_fixtures::poseidon();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let inputs: Vec<Fr> = vector.inputs.iter().map(|node| fr_from_node(node).unwrap()).collect();
        let digest = Poseidon::of_arity(vector.arity).hash(&inputs);
        assert_eq!(fr_to_node(&digest), vector.digest, "arity {}", vector.arity);
        assert_eq!(naive::hash(&Constants::derive(vector.arity).unwrap(), &inputs), digest);
    }
}

#[test]
fn wide_instances_agree_with_the_definition() {
    for arity in [16, 24, 36] {
        let inputs: Vec<Fr> = (0..arity as u64).map(|i| Fr::from(i * i + 1)).collect();
        let expected = naive::hash(&Constants::derive(arity).unwrap(), &inputs);
        assert_eq!(Poseidon::of_arity(arity).hash(&inputs), expected, "arity {arity}");
    }
}

#[test]
fn undefined_arities_have_no_constants() {
    for arity in [0, 1, 3, 9, 37] {
        assert!(Constants::derive(arity).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn fast_equals_naive(seeds in proptest::collection::vec(any::<[u8; 32]>(), 11), tag: u64) {
        for arity in [2usize, 8, 11] {
            let inputs: Vec<Fr> = seeds[..arity].iter().map(|seed| {
                let mut node = *seed;
                node[31] &= 0x3f;
                fr_from_node(&node).unwrap()
            }).collect();
            let constants = Constants::derive(arity).unwrap();
            let tag = Fr::from(tag);
            prop_assert_eq!(Poseidon::of_arity(arity).hash_tagged(tag, &inputs), naive::hash_tagged(&constants, tag, &inputs));
        }
    }
}
