//! One suite for every backend: it must equal the sums as written, and at larger sizes arkworks.

use super::*;

fn backends() -> Vec<Box<dyn Ntt>> {
    vec![Box::new(ArkNtt), Box::new(CpuNtt::portable()), Box::new(CpuNtt::new())]
}

/// A repeatable stream of elements, with the extremes at its start.
fn elements(count: usize, seed: u64) -> Vec<Fr> {
    let mut state = Fr::from(seed) + Fr::from(u64::MAX).pow([9]);
    let extremes = [-Fr::ONE, Fr::ZERO, Fr::ONE, -Fr::from(2u64)];
    extremes
        .into_iter()
        .chain(std::iter::from_fn(|| {
            state = state.square() + state + Fr::from(0x9e37_79b9_7f4a_7c15u64);
            Some(state)
        }))
        .take(count)
        .collect()
}

fn judge(coefficients: &[Fr], domain: Domain, expected: &[Fr]) {
    for threads in [1, 2] {
        let workers = Workers::new(threads).unwrap();
        for backend in backends() {
            let place = format!("{} of {}, {domain:?}, {threads} threads", backend.name(), coefficients.len());
            let mut values = coefficients.to_vec();
            backend.forward(&workers, &mut values, domain).unwrap();
            assert!(values == expected, "forward: {place}");
            backend.inverse(&workers, &mut values, domain).unwrap();
            assert!(values == coefficients, "inverse: {place}");
        }
    }
}

#[test]
fn small_sizes_equal_the_sums() {
    for log2 in 0..10 {
        let coefficients = elements(1 << log2, 1);
        for domain in [Domain::Subgroup, Domain::Coset] {
            judge(&coefficients, domain, &naive(&coefficients, domain).unwrap());
        }
    }
}

#[test]
fn larger_sizes_equal_arkworks() {
    let workers = Workers::new(1).unwrap();
    for log2 in 10..18 {
        for domain in [Domain::Subgroup, Domain::Coset] {
            let coefficients = elements(1 << log2, log2);
            let mut expected = coefficients.clone();
            ArkNtt.forward(&workers, &mut expected, domain).unwrap();
            judge(&coefficients, domain, &expected);
        }
    }
}

#[test]
fn extremes_stay_below_the_modulus() {
    let workers = Workers::new(2).unwrap();
    for value in [Fr::ZERO, Fr::ONE, -Fr::ONE] {
        let constant = vec![value; 1 << 10];
        let mut expected = constant.clone();
        ArkNtt.forward(&workers, &mut expected, Domain::Subgroup).unwrap();
        judge(&constant, Domain::Subgroup, &expected);
    }
}

/// `H·(x^n - 1) + C = A·B`, checked at a point.
#[test]
fn quotients_divide() {
    let workers = Workers::new(2).unwrap();
    for log2 in [0, 1, 5, 6, 7, 8, 11, 13] {
        let size = 1 << log2;
        let (a, b) = (elements(size, 3), elements(size, 4));
        let c: Vec<Fr> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
        let point = Fr::from(123_456_789u64);
        let at = |coefficients: &[Fr]| coefficients.iter().rev().fold(Fr::ZERO, |sum, next| sum * point + next);
        let interpolated = |values: &[Fr]| {
            let mut coefficients = values.to_vec();
            ArkNtt.inverse(&workers, &mut coefficients, Domain::Subgroup).unwrap();
            at(&coefficients)
        };
        let vanishing = point.pow([size as u64]) - Fr::ONE;
        for backend in backends() {
            let h = backend.quotient(&workers, a.clone(), b.clone(), c.clone()).unwrap();
            assert_eq!(h.len(), size);
            assert_eq!(h[size - 1], Fr::ZERO, "{} of {size}", backend.name());
            let left = at(&h) * vanishing + interpolated(&c);
            assert_eq!(left, interpolated(&a) * interpolated(&b), "{} of {size}", backend.name());
        }
    }
}

/// Values that no witness satisfies: backends must still agree.
#[test]
fn quotients_of_anything_agree() {
    let workers = Workers::new(2).unwrap();
    let [a, b, c] = [5, 6, 7].map(|seed| elements(1 << 9, seed));
    let expected = ArkNtt.quotient(&workers, a.clone(), b.clone(), c.clone()).unwrap();
    for backend in backends() {
        let h = backend.quotient(&workers, a.clone(), b.clone(), c.clone()).unwrap();
        assert!(h == expected, "{}", backend.name());
    }
}

#[test]
fn foreign_sizes_are_refused() {
    let workers = Workers::new(1).unwrap();
    for backend in backends() {
        for size in [0, 3, 65, 96] {
            let mut values = vec![Fr::ONE; size];
            assert_eq!(backend.forward(&workers, &mut values, Domain::Subgroup), Err(NttError::Size { size }));
            assert_eq!(backend.inverse(&workers, &mut values, Domain::Coset), Err(NttError::Size { size }));
        }
        let quotient = backend.quotient(&workers, vec![Fr::ONE; 4], vec![Fr::ONE; 4], vec![Fr::ONE; 2]);
        assert_eq!(quotient, Err(NttError::Lengths { a: 4, b: 4, c: 2 }));
    }
}
