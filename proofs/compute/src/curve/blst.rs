//! The fence around blst: inversion in the base field.
//!
//! arkworks and blst hold an element of the base field in the same form, six limbs, least significant first, times
//! 2^384 modulo p (Montgomery), so elements cross without conversion.
#![allow(unsafe_code)]

use ark_ff::{BigInt, Fp};

use super::Fq;

/// The inverse of `element`; zero for zero.
pub(crate) fn invert(element: &Fq) -> Fq {
    let input = blst::blst_fp { l: element.0.0 };
    let mut output = blst::blst_fp { l: [0; 6] };
    // SAFETY: both pointers are to live, aligned values of the type the function expects, distinct from each other.
    // The function reads one and writes the other, keeps neither, and is defined on every fully reduced input.
    unsafe { blst::blst_fp_eucl_inverse(&mut output, &input) };
    Fp::new_unchecked(BigInt(output.l))
}
