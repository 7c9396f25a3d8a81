//! Each engine's additions beside arkworks'.

use ark_ec::{AffineRepr, CurveGroup};

use super::lanes::{Pair, PairAdder, Point};
use super::portable::Portable;
use super::{Fq, Fq2, invert};
use ark_ff::{AdditiveGroup, Field};

fn judge<E: PairAdder>(engine: &E) {
    let generator = E::Affine::generator();
    let mut points: Vec<E::Affine> = vec![E::Affine::zero(), generator, (-generator.into_group()).into_affine()];
    for index in 1..30 {
        points.push((points[index].into_group() + points[1] + points[index]).into_affine());
    }
    let mut memory = vec![Point::default(); points.len()];
    engine.import(&points, &mut memory);
    for (point, memory) in points.iter().zip(&memory) {
        assert_eq!(engine.export(memory), *point);
        assert_eq!(engine.export(&engine.negated(memory)), (-point.into_group()).into_affine());
        assert_eq!(engine.is_infinity(memory), point.is_zero());
    }
    let mut pairs = Vec::new();
    for first in 0..2 * points.len() as u32 {
        pairs.extend((0..2 * points.len() as u32).map(|second| Pair {
            first,
            second,
            target: first * 2 * points.len() as u32 + second,
        }));
    }
    let filler = pairs[pairs.len() - 1];
    pairs.resize(pairs.len().next_multiple_of(E::PAIRS_MULTIPLE), filler);
    let mut sums = vec![Point::default(); 4 * points.len() * points.len()];
    engine.add_pairs(&mut E::Scratch::default(), &memory, &pairs, &mut sums);
    let signed = |index: u32| {
        let point = points[(index >> 1) as usize].into_group();
        if index & 1 == 1 { -point } else { point }
    };
    for pair in &pairs {
        let sum = engine.export(&sums[pair.target as usize]);
        assert_eq!(sum, (signed(pair.first) + signed(pair.second)).into_affine(), "{pair:?}");
    }
}

#[test]
fn portable_additions_equal_those_of_arkworks() {
    judge(&Portable::<ark_bls12_381::g1::Config>::new());
    judge(&Portable::<ark_bls12_381::g2::Config>::new());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vector_additions_equal_those_of_arkworks() {
    use std::io::Write;

    use super::ifma::IfmaAdder;
    use crate::ifma::Ifma;

    let Some(processor) = Ifma::detect() else {
        // Not the macro, whose output a passing test swallows: CI counts this line.
        let _ = writeln!(std::io::stderr(), "check skipped: this processor has no AVX-512 IFMA");
        return;
    };
    judge(&IfmaAdder::<ark_bls12_381::g1::Config>::new(processor));
    judge(&IfmaAdder::<ark_bls12_381::g2::Config>::new(processor));
}

#[test]
fn inversions_invert() {
    let mut element = Fq::from(3u64);
    for _ in 0..50 {
        element = element.square() + Fq::ONE;
        assert_eq!(invert(&element) * element, Fq::ONE);
    }
    assert_eq!(invert(&-Fq::ONE), -Fq::ONE);
    assert_eq!(invert(&Fq::ZERO), Fq::ZERO);
    let pair = Fq2::new(element, -element.square());
    assert_eq!(super::portable::BaseField::inverted(&pair) * pair, Fq2::ONE);
}
