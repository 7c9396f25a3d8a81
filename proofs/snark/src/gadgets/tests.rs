//! Gadgets compute what their plain counterparts do, at the published number of constraints, and notice every change.

use cairn_compute::Poseidon;
use cairn_sector::sha256::hash_pair as plain_hash_pair;

use super::bits::alloc_bits;
use super::insertion::insert;
use super::num::{Num, add, alloc, pick};
use super::poseidon::PoseidonCircuit;
use super::sha256::hash_pair;
use crate::mock::MockConstraintSystem;
use crate::scalar::Scalar;
use bellman::ConstraintSystem;
use bellman::gadgets::boolean::{AllocatedBit, Boolean};
use ff::Field;

fn numbers(cs: &mut MockConstraintSystem, values: impl IntoIterator<Item = Scalar>) -> Vec<Num> {
    let values = values.into_iter().enumerate();
    values.map(|(index, value)| alloc(cs.namespace(|| format!("number {index}")), Some(value)).unwrap()).collect()
}

fn assert_sound(cs: &MockConstraintSystem) {
    assert_eq!(cs.unsatisfied(), None);
    assert_eq!(cs.unnoticed(), [].into());
}

#[test]
fn poseidon_has_the_published_size_and_digest() {
    for (arity, constraints) in [(2, 311), (4, 377), (8, 505), (11, 598), (16, 761), (24, 1009), (36, 1385)] {
        let mut cs = MockConstraintSystem::sampling(1);
        let inputs: Vec<Scalar> = (0..arity).map(|index| Scalar::from(index * index + 7)).collect();
        let nums = numbers(&mut cs, inputs.iter().copied());
        let digest = PoseidonCircuit::of_arity(arity as usize).hash(cs.namespace(|| "hash"), &nums).unwrap();
        let inputs: Vec<_> = inputs.into_iter().map(|input| input.0).collect();
        assert_eq!(digest.get_value().unwrap().0, Poseidon::of_arity(arity as usize).hash(&inputs));
        assert_eq!(cs.constraints(), constraints, "arity {arity}");
        assert_sound(&cs);
    }
}

#[test]
fn poseidon_under_another_tag() {
    let mut cs = MockConstraintSystem::sampling(1);
    let nums = numbers(&mut cs, [3, 5].map(Scalar::from));
    let tag = Scalar::from(1 << 40).0;
    let circuit = PoseidonCircuit::derive(Poseidon::of_arity(2), tag);
    let digest = circuit.hash(cs.namespace(|| "hash"), &nums).unwrap();
    let expected = Poseidon::of_arity(2).hash_tagged(tag, &[3, 5].map(|number| Scalar::from(number).0));
    assert_eq!(digest.get_value(), Some(Scalar(expected)));
    assert_sound(&cs);
}

#[test]
fn sha256_of_two_nodes() {
    let mut cs = MockConstraintSystem::sampling(7);
    let nums = numbers(&mut cs, [-Scalar::ONE, Scalar::from(2).pow([250u64])]);
    let digest = hash_pair(cs.namespace(|| "hash"), &nums[0], &nums[1]).unwrap();
    let nodes: Vec<_> = nums.iter().map(|num| num.get_value().unwrap().to_node()).collect();
    assert_eq!(digest.get_value().unwrap().to_node(), plain_hash_pair(&nodes[0], &nodes[1]));
    // Two decompositions of 255 bits and a sum, two compressions (the second one of padding), one packing.
    assert_eq!(cs.constraints(), 45_379);
    assert_sound(&cs);
}

#[test]
fn insertion_puts_the_hash_at_its_position() {
    for (arity, constraints) in [(2u64, 2), (4, 8), (8, 22)] {
        for position in 0..arity {
            let mut cs = MockConstraintSystem::sampling(1);
            let siblings = numbers(&mut cs, (1..arity).map(|sibling| Scalar::from(sibling * 11)));
            let hash = alloc(cs.namespace(|| "hash"), Some(Scalar::from(5))).unwrap();
            let bits = alloc_bits(cs.namespace(|| "bits"), Some(position), arity.ilog2() as usize).unwrap();
            let before = cs.constraints();
            let children = insert(cs.namespace(|| "insert"), &hash, &bits, &siblings).unwrap();
            let mut expected: Vec<_> = siblings.iter().map(Num::get_value).collect();
            expected.insert(position as usize, hash.get_value());
            assert_eq!(children.iter().map(Num::get_value).collect::<Vec<_>>(), expected, "{position} of {arity}");
            assert_eq!(cs.constraints() - before, constraints);
            assert_eq!(cs.unsatisfied(), None);
        }
    }
}

#[test]
fn choice_and_sum() {
    for choice in [false, true] {
        let mut cs = MockConstraintSystem::sampling(1);
        let nums = numbers(&mut cs, [20, 22].map(Scalar::from));
        let bit = Boolean::from(AllocatedBit::alloc(cs.namespace(|| "bit"), Some(choice)).unwrap());
        let picked = pick(cs.namespace(|| "pick"), &bit, &nums[0], &nums[1]).unwrap();
        assert_eq!(picked.get_value(), nums[usize::from(!choice)].get_value());
        let sum = add(cs.namespace(|| "add"), &nums[0], &nums[1]).unwrap();
        assert_eq!(sum.get_value(), Some(Scalar::from(42)));
        assert_sound(&cs);
    }
}
