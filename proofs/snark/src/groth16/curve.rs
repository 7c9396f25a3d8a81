//! BLS12-381 arithmetic by `blst`, behind safe functions.
//!
//! This is the one module here that calls C. Its types hold what the key files hold after decoding: affine points in
//! Montgomery form, 96 and 192 bytes, infinity as all zeros, the layout that multi-scalar multiplications read.
//!
//! ```text
//! G1Affine:  x (6 limbs, u64, least first) | y
//! G2Affine:  x.c0 | x.c1 | y.c0 | y.c1
//! ```
//!
//! Safety, once for every block below: `blst` functions read and write exactly the structs their pointers name, keep no
//! pointer, allocate nothing and take any limb pattern without undefined behaviour (arithmetic on limbs that are not
//! below the modulus gives a wrong number, not a wild access). All structs are plain integers, so zeros are valid.

#![allow(unsafe_code)]

use ark_ec::AffineRepr;
use ark_ff::{BigInt, Fp};
use blst::{blst_fp, blst_fp2, blst_fp6, blst_fp12, blst_p1, blst_p1_affine, blst_p2, blst_p2_affine};

/// Steps of a Miller loop for which [`PreparedG2`] keeps a line.
const MILLER_LINES: usize = 68;

/// A point of the first group (or of its curve: see [`is_in_subgroup`](Self::is_in_subgroup)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct G1Affine(pub(super) blst_p1_affine);

/// A point of the second group (or of its curve).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct G2Affine(pub(super) blst_p2_affine);

/// A value of the target group, or on the way there: see [`Gt::final_exponentiation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gt(blst_fp12);

/// The lines of a Miller loop over a fixed point.
#[derive(Clone)]
pub struct PreparedG2(Box<[blst_fp6; MILLER_LINES]>);

impl G1Affine {
    /// The neutral element.
    pub const INFINITY: Self = Self(blst_p1_affine { x: blst_fp { l: [0; 6] }, y: blst_fp { l: [0; 6] } });

    /// The standard generator.
    pub fn generator() -> Self {
        // SAFETY: a pointer to a constant of the library.
        Self(unsafe { *blst::blst_p1_affine_generator() })
    }

    /// Whether this is the neutral element.
    pub fn is_infinity(&self) -> bool {
        self.0.x.l == [0; 6] && self.0.y.l == [0; 6]
    }

    /// Whether the coordinates satisfy the curve's equation (or this is infinity).
    pub fn is_on_curve(&self) -> bool {
        // SAFETY: see the module.
        unsafe { blst::blst_p1_affine_on_curve(&self.0) }
    }

    /// Whether a point of the curve has the group's order.
    pub fn is_in_subgroup(&self) -> bool {
        // SAFETY: see the module.
        unsafe { blst::blst_p1_affine_in_g1(&self.0) }
    }

    /// The same point as an arkworks type.
    pub fn to_ark(&self) -> ark_bls12_381::G1Affine {
        if self.is_infinity() {
            return ark_bls12_381::G1Affine::identity();
        }
        ark_bls12_381::G1Affine::new_unchecked(fp_to_ark(&self.0.x), fp_to_ark(&self.0.y))
    }

    /// From an arkworks point.
    pub fn from_ark(point: &ark_bls12_381::G1Affine) -> Self {
        if point.is_zero() {
            return Self::INFINITY;
        }
        Self(blst_p1_affine { x: fp_from_ark(&point.x), y: fp_from_ark(&point.y) })
    }

    /// `scalar * self`; the scalar's least byte first, at most 255 bits.
    pub fn mul(&self, scalar: &[u8]) -> Self {
        let (mut point, mut product, mut affine) = (blst_p1::default(), blst_p1::default(), Self::INFINITY);
        // SAFETY: see the module; the scalar has as many bits as said.
        unsafe {
            blst::blst_p1_from_affine(&mut point, &self.0);
            blst::blst_p1_mult(&mut product, &point, scalar.as_ptr(), scalar.len() * 8);
            blst::blst_p1_to_affine(&mut affine.0, &product);
        }
        affine
    }

    /// `self + other`.
    pub fn add(&self, other: &Self) -> Self {
        let (mut point, mut sum, mut affine) = (blst_p1::default(), blst_p1::default(), Self::INFINITY);
        // SAFETY: see the module.
        unsafe {
            blst::blst_p1_from_affine(&mut point, &self.0);
            blst::blst_p1_add_or_double_affine(&mut sum, &point, &other.0);
            blst::blst_p1_to_affine(&mut affine.0, &sum);
        }
        affine
    }

    /// `-self`.
    pub fn neg(&self) -> Self {
        let mut negated = *self;
        // SAFETY: see the module; blst takes input and output in one place.
        unsafe { blst::blst_fp_cneg(&mut negated.0.y, &self.0.y, true) };
        negated
    }

    /// Sum of `scalars[i] * points[i]`, on the calling thread. Scalars are `scalar_bytes` bytes each, least first.
    ///
    /// # Panics
    /// If the numbers of points and scalars differ.
    pub fn sum_of_products(points: &[Self], scalars: &[u8], scalar_bytes: usize) -> Self {
        assert_eq!(points.len() * scalar_bytes, scalars.len(), "a scalar for every point");
        if points.is_empty() {
            return Self::INFINITY;
        }
        let (mut sum, mut affine) = (blst_p1::default(), Self::INFINITY);
        // SAFETY: the second pointers are null, which says that points and scalars lie one after the other; both hold
        // `points.len()` entries (checked above), and the scratch has the size that the library asks for.
        unsafe {
            let scratch_bytes = blst::blst_p1s_mult_pippenger_scratch_sizeof(points.len());
            let mut scratch = vec![0u64; scratch_bytes.div_ceil(8)];
            let point_pointers = [points.as_ptr().cast::<blst_p1_affine>(), std::ptr::null()];
            let scalar_pointers = [scalars.as_ptr(), std::ptr::null()];
            blst::blst_p1s_mult_pippenger(
                &mut sum,
                point_pointers.as_ptr(),
                points.len(),
                scalar_pointers.as_ptr(),
                scalar_bytes * 8,
                scratch.as_mut_ptr(),
            );
            blst::blst_p1_to_affine(&mut affine.0, &sum);
        }
        affine
    }

    /// Both coordinates, big-endian and canonical.
    pub(super) fn coordinates_be(&self) -> [u8; 96] {
        let mut bytes = [0u8; 96];
        write_fp(&self.0.x, &mut bytes[..48]);
        write_fp(&self.0.y, &mut bytes[48..]);
        bytes
    }

    /// A point from big-endian coordinates below the modulus; on the curve or not.
    pub(super) fn from_coordinates_be(bytes: &[u8; 96]) -> Self {
        Self(blst_p1_affine { x: read_fp(&bytes[..48]), y: read_fp(&bytes[48..]) })
    }

    /// The point of a compressed encoding whose x is below the modulus; `None` if no point has that x.
    pub(super) fn from_compressed(bytes: &[u8; 48]) -> Option<Self> {
        let mut point = Self::INFINITY;
        // SAFETY: blst reads 48 bytes.
        let result = unsafe { blst::blst_p1_uncompress(&mut point.0, bytes.as_ptr()) };
        (result == blst::BLST_ERROR::BLST_SUCCESS).then_some(point)
    }

    pub(super) fn to_compressed(self) -> [u8; 48] {
        let mut bytes = [0u8; 48];
        // SAFETY: blst writes 48 bytes.
        unsafe { blst::blst_p1_affine_compress(bytes.as_mut_ptr(), &self.0) };
        bytes
    }
}

impl G2Affine {
    /// The neutral element.
    pub const INFINITY: Self = Self(blst_p2_affine {
        x: blst_fp2 { fp: [blst_fp { l: [0; 6] }, blst_fp { l: [0; 6] }] },
        y: blst_fp2 { fp: [blst_fp { l: [0; 6] }, blst_fp { l: [0; 6] }] },
    });

    /// The standard generator.
    pub fn generator() -> Self {
        // SAFETY: a pointer to a constant of the library.
        Self(unsafe { *blst::blst_p2_affine_generator() })
    }

    /// Whether this is the neutral element.
    pub fn is_infinity(&self) -> bool {
        self.0.x.fp.iter().chain(&self.0.y.fp).all(|part| part.l == [0; 6])
    }

    /// Whether the coordinates satisfy the curve's equation (or this is infinity).
    pub fn is_on_curve(&self) -> bool {
        // SAFETY: see the module.
        unsafe { blst::blst_p2_affine_on_curve(&self.0) }
    }

    /// Whether a point of the curve has the group's order.
    pub fn is_in_subgroup(&self) -> bool {
        // SAFETY: see the module.
        unsafe { blst::blst_p2_affine_in_g2(&self.0) }
    }

    /// The same point as an arkworks type.
    pub fn to_ark(&self) -> ark_bls12_381::G2Affine {
        if self.is_infinity() {
            return ark_bls12_381::G2Affine::identity();
        }
        let fp2 = |fp2: &blst_fp2| ark_bls12_381::Fq2::new(fp_to_ark(&fp2.fp[0]), fp_to_ark(&fp2.fp[1]));
        ark_bls12_381::G2Affine::new_unchecked(fp2(&self.0.x), fp2(&self.0.y))
    }

    /// From an arkworks point.
    pub fn from_ark(point: &ark_bls12_381::G2Affine) -> Self {
        if point.is_zero() {
            return Self::INFINITY;
        }
        let fp2 = |fp2: &ark_bls12_381::Fq2| blst_fp2 { fp: [fp_from_ark(&fp2.c0), fp_from_ark(&fp2.c1)] };
        Self(blst_p2_affine { x: fp2(&point.x), y: fp2(&point.y) })
    }

    /// `scalar * self`; the scalar's least byte first, at most 255 bits.
    pub fn mul(&self, scalar: &[u8]) -> Self {
        let (mut point, mut product, mut affine) = (blst_p2::default(), blst_p2::default(), Self::INFINITY);
        // SAFETY: see the module; the scalar has as many bits as said.
        unsafe {
            blst::blst_p2_from_affine(&mut point, &self.0);
            blst::blst_p2_mult(&mut product, &point, scalar.as_ptr(), scalar.len() * 8);
            blst::blst_p2_to_affine(&mut affine.0, &product);
        }
        affine
    }

    /// `self + other`.
    pub fn add(&self, other: &Self) -> Self {
        let (mut point, mut sum, mut affine) = (blst_p2::default(), blst_p2::default(), Self::INFINITY);
        // SAFETY: see the module.
        unsafe {
            blst::blst_p2_from_affine(&mut point, &self.0);
            blst::blst_p2_add_or_double_affine(&mut sum, &point, &other.0);
            blst::blst_p2_to_affine(&mut affine.0, &sum);
        }
        affine
    }

    /// `-self`.
    pub fn neg(&self) -> Self {
        let mut negated = *self;
        // SAFETY: see the module.
        unsafe { blst::blst_fp2_cneg(&mut negated.0.y, &self.0.y, true) };
        negated
    }

    /// Coordinates x.c1, x.c0, y.c1, y.c0, big-endian and canonical.
    pub(super) fn coordinates_be(&self) -> [u8; 192] {
        let mut bytes = [0u8; 192];
        let [x, y] = [&self.0.x, &self.0.y];
        for (fp, out) in [&x.fp[1], &x.fp[0], &y.fp[1], &y.fp[0]].into_iter().zip(bytes.chunks_exact_mut(48)) {
            write_fp(fp, out);
        }
        bytes
    }

    /// A point from big-endian coordinates below the modulus; on the curve or not.
    pub(super) fn from_coordinates_be(bytes: &[u8; 192]) -> Self {
        let fp2 = |bytes: &[u8]| blst_fp2 { fp: [read_fp(&bytes[48..]), read_fp(&bytes[..48])] };
        Self(blst_p2_affine { x: fp2(&bytes[..96]), y: fp2(&bytes[96..]) })
    }

    /// The point of a compressed encoding whose x is below the modulus; `None` if no point has that x.
    pub(super) fn from_compressed(bytes: &[u8; 96]) -> Option<Self> {
        let mut point = Self::INFINITY;
        // SAFETY: blst reads 96 bytes.
        let result = unsafe { blst::blst_p2_uncompress(&mut point.0, bytes.as_ptr()) };
        (result == blst::BLST_ERROR::BLST_SUCCESS).then_some(point)
    }

    pub(super) fn to_compressed(self) -> [u8; 96] {
        let mut bytes = [0u8; 96];
        // SAFETY: blst writes 96 bytes.
        unsafe { blst::blst_p2_affine_compress(bytes.as_mut_ptr(), &self.0) };
        bytes
    }
}

impl Gt {
    /// The neutral element.
    pub fn one() -> Self {
        Self(blst_fp12::default())
    }

    /// Product of the Miller loops of all pairs, before the final exponentiation. Infinity pairs to one.
    pub fn miller_loops(pairs: &[(G1Affine, G2Affine)]) -> Self {
        let live = || pairs.iter().filter(|(p, q)| !p.is_infinity() && !q.is_infinity());
        let first: Vec<*const blst_p1_affine> = live().map(|(p, _)| &raw const p.0).collect();
        let second: Vec<*const blst_p2_affine> = live().map(|(_, q)| &raw const q.0).collect();
        let mut product = Self::one();
        if !first.is_empty() {
            // SAFETY: both lists point at `first.len()` points that live as long as `pairs`.
            unsafe { blst::blst_miller_loop_n(&mut product.0, second.as_ptr(), first.as_ptr(), first.len()) };
        }
        product
    }

    /// The Miller loop of one pair whose second point was prepared.
    pub fn miller_loop_prepared(p: &G1Affine, q: &PreparedG2) -> Self {
        let mut product = Self::one();
        if !p.is_infinity() {
            // SAFETY: blst reads the 68 lines that it wrote.
            unsafe { blst::blst_miller_loop_lines(&mut product.0, q.0.as_ptr(), &p.0) };
        }
        product
    }

    /// Product.
    pub fn mul(&self, other: &Self) -> Self {
        let mut product = Self::one();
        // SAFETY: see the module.
        unsafe { blst::blst_fp12_mul(&mut product.0, &self.0, &other.0) };
        product
    }

    /// From a product of Miller loops to the target group.
    pub fn final_exponentiation(&self) -> Self {
        let mut result = Self::one();
        // SAFETY: see the module.
        unsafe { blst::blst_final_exp(&mut result.0, &self.0) };
        result
    }
}

impl PreparedG2 {
    /// Computes the lines.
    ///
    /// # Panics
    /// At infinity, which has none.
    pub fn new(point: &G2Affine) -> Self {
        assert!(!point.is_infinity(), "lines through infinity");
        let mut lines = Box::new([blst_fp6::default(); MILLER_LINES]);
        // SAFETY: blst writes 68 lines.
        unsafe { blst::blst_precompute_lines(lines.as_mut_ptr(), &point.0) };
        Self(lines)
    }
}

impl std::fmt::Debug for PreparedG2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparedG2")
    }
}

fn fp_to_ark(fp: &blst_fp) -> ark_bls12_381::Fq {
    Fp::new_unchecked(BigInt(fp.l))
}

fn fp_from_ark(fp: &ark_bls12_381::Fq) -> blst_fp {
    blst_fp { l: fp.0.0 }
}

fn read_fp(bytes: &[u8]) -> blst_fp {
    assert_eq!(bytes.len(), 48, "a base field element");
    let mut fp = blst_fp::default();
    // SAFETY: blst reads 48 bytes.
    unsafe { blst::blst_fp_from_bendian(&mut fp, bytes.as_ptr()) };
    fp
}

fn write_fp(fp: &blst_fp, out: &mut [u8]) {
    assert_eq!(out.len(), 48, "a base field element");
    // SAFETY: blst writes 48 bytes.
    unsafe { blst::blst_bendian_from_fp(out.as_mut_ptr(), fp) };
}
