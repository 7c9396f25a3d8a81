//! The circuits' scalar: arkworks' field behind the `ff` traits that bellman speaks.
//!
//! [`Scalar`] is a transparent wrapper, so a vector of one is a vector of the other in memory, and every operation is
//! arkworks' own. Constants that `ff` wants and arkworks does not name are written out below and tested against their
//! definitions.
//!
//! The traits of `subtle` are there because `ff` demands them. Comparison and selection are constant-time; arithmetic is
//! as constant-time as arkworks', which makes no such promise. Nothing here works on a secret that lives longer than
//! one proof.

use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use ark_ff::{AdditiveGroup, Field as _, MontFp, PrimeField as _};
use cairn_compute::{Fr, Node, fr_from_node, fr_to_node};
use ff::{Field, FieldBits, PrimeField, PrimeFieldBits};
use rand_core::TryRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, CtOption};

/// An element of the BLS12-381 scalar field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Scalar(pub Fr);

/// `(t - 1) / 2`, where the modulus is `2^32 t + 1`, for square roots.
const HALF_OF_ODD_PART: [u64; 4] = [0x7fff2dff7fffffff, 0x04d0ec02a9ded201, 0x94cebea4199cec04, 0x0000000039f6d3a9];

impl Scalar {
    /// A one or a zero.
    pub const fn of_bit(bit: bool) -> Self {
        if bit { Self::ONE } else { Self::ZERO }
    }

    /// From a node's bytes; `None` if their number is not below the modulus.
    pub fn from_node(node: &Node) -> Option<Self> {
        fr_from_node(node).ok().map(Self)
    }

    /// As a node's bytes: canonical, little-endian.
    pub fn to_node(self) -> Node {
        fr_to_node(&self.0)
    }
}

impl std::fmt::Debug for Scalar {
    /// The number in hex, most significant digit first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("0x")?;
        self.to_node().iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<u64> for Scalar {
    fn from(number: u64) -> Self {
        Self(Fr::from(number))
    }
}

impl From<Fr> for Scalar {
    fn from(fr: Fr) -> Self {
        Self(fr)
    }
}

impl From<Scalar> for Fr {
    fn from(scalar: Scalar) -> Self {
        scalar.0
    }
}

impl ConstantTimeEq for Scalar {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.0.0.ct_eq(&other.0.0.0)
    }
}

impl ConditionallySelectable for Scalar {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        let mut selected = *a;
        for (limb, other) in selected.0.0.0.iter_mut().zip(&b.0.0.0) {
            *limb = u64::conditional_select(limb, other, choice);
        }
        selected
    }
}

impl Neg for Scalar {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// One binary operation in its four forms, and summing up or multiplying out an iterator with it.
macro_rules! operation {
    ($operation:ident::$method:ident, $assign:ident::$assign_method:ident, $fold:ident::$fold_method:ident, $neutral:ident) => {
        impl $assign<&Scalar> for Scalar {
            #[inline]
            fn $assign_method(&mut self, other: &Self) {
                self.0.$assign_method(&other.0);
            }
        }

        impl $assign for Scalar {
            #[inline]
            fn $assign_method(&mut self, other: Self) {
                self.0.$assign_method(&other.0);
            }
        }

        impl $operation<&Scalar> for Scalar {
            type Output = Self;

            #[inline]
            fn $method(mut self, other: &Self) -> Self {
                self.$assign_method(other);
                self
            }
        }

        impl $operation for Scalar {
            type Output = Self;

            #[inline]
            fn $method(mut self, other: Self) -> Self {
                self.$assign_method(&other);
                self
            }
        }

        impl $fold for Scalar {
            fn $fold_method<I: Iterator<Item = Self>>(elements: I) -> Self {
                elements.fold(Self::$neutral, $operation::$method)
            }
        }

        impl<'a> $fold<&'a Scalar> for Scalar {
            fn $fold_method<I: Iterator<Item = &'a Self>>(elements: I) -> Self {
                elements.fold(Self::$neutral, $operation::$method)
            }
        }
    };
}

operation!(Add::add, AddAssign::add_assign, Sum::sum, ZERO);
operation!(Mul::mul, MulAssign::mul_assign, Product::product, ONE);

impl SubAssign<&Scalar> for Scalar {
    fn sub_assign(&mut self, other: &Self) {
        self.0 -= &other.0;
    }
}

impl SubAssign for Scalar {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= &other.0;
    }
}

impl Sub<&Scalar> for Scalar {
    type Output = Self;

    fn sub(self, other: &Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sub for Scalar {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Field for Scalar {
    const ZERO: Self = Self(<Fr as AdditiveGroup>::ZERO);
    const ONE: Self = Self(<Fr as ark_ff::Field>::ONE);

    /// 512 random bits modulo the field, so that no element is noticeably likelier than another.
    fn try_random<R: TryRng + ?Sized>(rng: &mut R) -> Result<Self, R::Error> {
        let mut bytes = [0u8; 64];
        rng.try_fill_bytes(&mut bytes)?;
        Ok(Self(Fr::from_le_bytes_mod_order(&bytes)))
    }

    fn is_zero_vartime(&self) -> bool {
        self.0 == <Fr as AdditiveGroup>::ZERO
    }

    #[inline]
    fn square(&self) -> Self {
        Self(self.0.square())
    }

    #[inline]
    fn double(&self) -> Self {
        Self(self.0.double())
    }

    fn invert(&self) -> CtOption<Self> {
        match self.0.inverse() {
            Some(inverse) => CtOption::new(Self(inverse), 1.into()),
            None => CtOption::new(Self::ZERO, 0.into()),
        }
    }

    fn sqrt_ratio(num: &Self, div: &Self) -> (Choice, Self) {
        ff::helpers::sqrt_ratio_generic(num, div)
    }

    fn sqrt(&self) -> CtOption<Self> {
        ff::helpers::sqrt_tonelli_shanks(self, HALF_OF_ODD_PART)
    }
}

impl PrimeField for Scalar {
    /// Canonical, little-endian.
    type Repr = [u8; 32];

    const MODULUS: &'static str = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
    const NUM_BITS: u32 = 255;
    const CAPACITY: u32 = 254;
    const TWO_INV: Self =
        Self(MontFp!("26217937587563095239723870254092982918845276250263818911301829349969290592257"));
    const MULTIPLICATIVE_GENERATOR: Self = Self(MontFp!("7"));
    const S: u32 = 32;
    const ROOT_OF_UNITY: Self =
        Self(MontFp!("10238227357739495823651030575849232062558860180284477541189508159991286009131"));
    const ROOT_OF_UNITY_INV: Self =
        Self(MontFp!("2361660012179324004544952053205906600198439069793331036989202475535180077688"));
    const DELTA: Self = Self(MontFp!("3793952369011177517951424454785176000433849974408744014172535497121832470999"));

    fn from_repr(repr: [u8; 32]) -> CtOption<Self> {
        match Self::from_node(&repr) {
            Some(scalar) => CtOption::new(scalar, 1.into()),
            None => CtOption::new(Self::ZERO, 0.into()),
        }
    }

    fn from_repr_vartime(repr: [u8; 32]) -> Option<Self> {
        Self::from_node(&repr)
    }

    fn to_repr(&self) -> [u8; 32] {
        self.to_node()
    }

    fn is_odd(&self) -> Choice {
        ((self.0.into_bigint().0[0] & 1) as u8).into()
    }
}

impl PrimeFieldBits for Scalar {
    type ReprBits = [u64; 4];

    fn to_le_bits(&self) -> FieldBits<[u64; 4]> {
        self.0.into_bigint().0.into()
    }

    fn char_le_bits() -> FieldBits<[u64; 4]> {
        Fr::MODULUS.0.into()
    }
}

#[cfg(test)]
mod tests;
