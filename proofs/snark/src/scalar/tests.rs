//! Every operation against arkworks, every constant against its definition.

use super::*;
use proptest::prelude::*;

fn arb_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        8 => any::<[u8; 32]>().prop_map(|bytes| Scalar(Fr::from_le_bytes_mod_order(&bytes))),
        1 => (0u64..4).prop_map(Scalar::from),
        1 => (0u64..4).prop_map(|number| -Scalar::from(number)),
    ]
}

/// Random numbers that repeat.
struct Counter(u64);

impl TryRng for Counter {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

#[test]
fn constants_are_what_they_are_called() {
    assert_eq!(Scalar::TWO_INV.double(), Scalar::ONE);
    assert_eq!(Scalar::ROOT_OF_UNITY * Scalar::ROOT_OF_UNITY_INV, Scalar::ONE);
    assert_eq!(Scalar::ROOT_OF_UNITY.pow_vartime([1u64 << 31]), -Scalar::ONE);
    assert_eq!(Scalar::DELTA, Scalar::MULTIPLICATIVE_GENERATOR.pow_vartime([1u64 << 32]));
    assert_eq!(Scalar::MULTIPLICATIVE_GENERATOR.0, <Fr as ark_ff::FftField>::GENERATOR);
    assert_eq!(Scalar::MODULUS, format!("0x{}", hex::encode(modulus_bytes())));
    let mut minus_one = modulus_bytes();
    minus_one.reverse();
    minus_one[0] -= 1;
    assert_eq!((-Scalar::ONE).to_repr(), minus_one);
    assert_eq!(format!("{:?}", Scalar::from(255)), format!("0x{}ff", "0".repeat(62)));
}

fn modulus_bytes() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for (chunk, limb) in bytes.chunks_mut(8).zip(Fr::MODULUS.0.iter().rev()) {
        chunk.copy_from_slice(&limb.to_be_bytes());
    }
    bytes
}

#[test]
fn the_modulus_is_no_element() {
    let mut repr = modulus_bytes();
    repr.reverse();
    assert!(bool::from(Scalar::from_repr(repr).is_none()));
    assert_eq!(Scalar::from_repr_vartime(repr), None);
    let ones: u32 = Fr::MODULUS.0.iter().map(|limb| limb.count_ones()).sum();
    assert_eq!(Scalar::char_le_bits().count_ones(), ones as usize);
}

#[test]
fn random_elements_differ() {
    let mut rng = Counter(1);
    assert_ne!(Scalar::random(&mut rng), Scalar::random(&mut rng));
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_arkworks(a in arb_scalar(), b in arb_scalar()) {
        prop_assert_eq!((a + b).0, a.0 + b.0);
        prop_assert_eq!((a - b).0, a.0 - b.0);
        prop_assert_eq!((a * b).0, a.0 * b.0);
        prop_assert_eq!((-a).0, -a.0);
        prop_assert_eq!(a.square().0, a.0 * a.0);
        prop_assert_eq!(a.double().0, a.0 + a.0);
        prop_assert_eq!(Option::<Scalar>::from(a.invert()).map(|inverse| inverse.0), a.0.inverse());
        let (mut sum, mut difference, mut product) = (a, a, a);
        sum += &b;
        difference -= &b;
        product *= &b;
        prop_assert_eq!((sum, difference, product), (a + b, a - b, a * b));
        prop_assert_eq!([a, b].iter().sum::<Scalar>(), a + b);
        prop_assert_eq!([a, b].into_iter().product::<Scalar>(), a * b);
    }

    #[test]
    fn bytes_and_bits_are_canonical(a in arb_scalar()) {
        let repr = a.to_repr();
        prop_assert_eq!(repr, fr_to_node(&a.0));
        prop_assert_eq!(Scalar::from_repr_vartime(repr), Some(a));
        let bits = a.to_le_bits();
        for (index, bit) in bits.iter().by_vals().enumerate() {
            prop_assert_eq!(bit, repr[index / 8] >> (index % 8) & 1 == 1);
        }
        prop_assert_eq!(bool::from(a.is_odd()), repr[0] & 1 == 1);
    }

    #[test]
    fn roots_are_roots(a in arb_scalar()) {
        let square = a.square();
        let root = Option::<Scalar>::from(square.sqrt()).expect("a square has a root");
        prop_assert!(root == a || root == -a);
        prop_assert_eq!(Option::<Scalar>::from(a.sqrt()).is_some(), a.0.sqrt().is_some());
    }

    #[test]
    fn selection_and_equality(a in arb_scalar(), b in arb_scalar()) {
        prop_assert_eq!(Scalar::conditional_select(&a, &b, 0.into()), a);
        prop_assert_eq!(Scalar::conditional_select(&a, &b, 1.into()), b);
        prop_assert_eq!(bool::from(a.ct_eq(&b)), a == b);
        prop_assert_eq!(bool::from(a.is_zero()), a.is_zero_vartime());
    }
}
