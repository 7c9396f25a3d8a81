//! Points as bytes: the big-endian encoding of BLS12-381 that Zcash defined and Filecoin's files use.
//!
//! ```text
//! uncompressed   G1: x | y                            96 bytes      G2: x.c1 | x.c0 | y.c1 | y.c0    192 bytes
//! compressed     G1: x                                48 bytes      G2: x.c1 | x.c0                   96 bytes
//! first byte     0x80 compressed, 0x40 infinity (all else zero), 0x20 the larger of the two y (compressed only)
//! ```
//!
//! Reading is strict: one point has one encoding, and nothing else is a point. A coordinate is below the modulus, the
//! flags are the ones that this form must have, the point lies on the curve, in the subgroup of prime order, and is not
//! infinity: no element of a key or of a proof may be.

use cairn_compute::Workers;
use cairn_compute::msm::CpuMsm;
use cairn_compute::msm::cpu::Grouping;
use rayon::prelude::*;

use super::curve::{G1Affine, G2Affine};

const COMPRESSED: u8 = 0x80;
const INFINITY: u8 = 0x40;
const LARGER_Y: u8 = 0x20;
const FLAGS: u8 = COMPRESSED | INFINITY | LARGER_Y;

/// The base field's modulus, big-endian.
const MODULUS: [u8; 48] = [
    0x1a, 0x01, 0x11, 0xea, 0x39, 0x7f, 0xe6, 0x9a, 0x4b, 0x1b, 0xa7, 0xb6, 0x43, 0x4b, 0xac, 0xd7, 0x64, 0x77, 0x4b,
    0x84, 0xf3, 0x85, 0x12, 0xbf, 0x67, 0x30, 0xd2, 0xa0, 0xf6, 0xb0, 0xf6, 0x24, 0x1e, 0xab, 0xff, 0xfe, 0xb1, 0x53,
    0xff, 0xff, 0xb9, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xaa, 0xab,
];

/// Bytes that are no point, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointRejection {
    /// Another number of bytes.
    #[error("expected {expected} bytes, got {got}")]
    Length {
        /// Bytes of the encoding.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// Flags that this form does not have.
    #[error("expected flags {expected}, got {got:#04x} in the first byte")]
    Flags {
        /// The flags allowed.
        expected: &'static str,
        /// The three flag bits found.
        got: u8,
    },
    /// The infinity flag with other bits set.
    #[error("expected zeros after the infinity flag, got {got:#04x} at byte {byte}")]
    InfinityBits {
        /// Position of the first byte that is not zero.
        byte: usize,
        /// That byte.
        got: u8,
    },
    /// Infinity, where no point may be infinity.
    #[error("expected a point other than infinity")]
    Infinity,
    /// A coordinate that is not below the modulus.
    #[error("expected a canonical field element as coordinate {coordinate}, got a number not below the modulus")]
    NonCanonical {
        /// `x`, `y`, `x.c0` and so on.
        coordinate: &'static str,
    },
    /// No point of the curve has these coordinates.
    #[error("expected a point on the curve")]
    NotOnCurve,
    /// A point of the curve outside the group.
    #[error("expected a point in the subgroup of prime order")]
    NotInSubgroup,
}

/// How much of a point to check. Reading skips the subgroup only for files whose digest vouches for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointChecks {
    /// Everything.
    Full,
    /// Everything but the subgroup, the one check that costs a multiplication.
    OnCurve,
}

/// What both groups have in common here.
pub trait Point: Copy + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    /// `G1` or `G2`.
    const GROUP: &'static str;
    /// Bytes of the uncompressed encoding.
    const UNCOMPRESSED_BYTES: usize;
    /// Bytes of the compressed encoding.
    const COMPRESSED_BYTES: usize;

    /// Reads the uncompressed encoding.
    ///
    /// # Errors
    /// [`PointRejection`] says what is wrong.
    fn from_uncompressed_bytes(bytes: &[u8], checks: PointChecks) -> Result<Self, PointRejection>;

    /// Reads the compressed encoding, with all checks.
    ///
    /// # Errors
    /// [`PointRejection`] says what is wrong.
    fn from_compressed_bytes(bytes: &[u8]) -> Result<Self, PointRejection>;

    /// Appends the uncompressed encoding.
    fn write_uncompressed(&self, out: &mut Vec<u8>);

    /// Appends the compressed encoding.
    fn write_compressed(&self, out: &mut Vec<u8>);

    /// Whether a point of the curve lies in the subgroup.
    fn lies_in_subgroup(&self) -> bool;

    /// The sum of each group, for each grouping. Points lie on the curve.
    fn group_sums(points: &[Self], groupings: &[Grouping], workers: &Workers) -> Vec<Vec<Self>>;
}

impl Point for G1Affine {
    const GROUP: &'static str = "G1";
    const UNCOMPRESSED_BYTES: usize = 96;
    const COMPRESSED_BYTES: usize = 48;

    fn from_uncompressed_bytes(bytes: &[u8], checks: PointChecks) -> Result<Self, PointRejection> {
        let bytes: &[u8; 96] = sized(bytes)?;
        uncompressed_form(bytes, &["x", "y"])?;
        let point = Self::from_coordinates_be(bytes);
        accept(point, checks, Self::is_on_curve, Self::is_in_subgroup)
    }

    fn from_compressed_bytes(bytes: &[u8]) -> Result<Self, PointRejection> {
        let bytes: &[u8; 48] = sized(bytes)?;
        compressed_form(bytes, &["x"])?;
        let point = Self::from_compressed(bytes).ok_or(PointRejection::NotOnCurve)?;
        accept(point, PointChecks::Full, Self::is_on_curve, Self::is_in_subgroup)
    }

    fn write_uncompressed(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.coordinates_be());
        out[start] |= if self.is_infinity() { INFINITY } else { 0 };
    }

    fn write_compressed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_compressed());
    }

    fn lies_in_subgroup(&self) -> bool {
        self.is_in_subgroup()
    }

    fn group_sums(points: &[Self], groupings: &[Grouping], workers: &Workers) -> Vec<Vec<Self>> {
        let points: Vec<_> = workers.run(|| points.par_iter().map(Self::to_ark).collect());
        let sums = CpuMsm::new().group_sums_g1(workers, &points, groupings);
        sums.iter().map(|sums| sums.iter().map(Self::from_ark).collect()).collect()
    }
}

impl Point for G2Affine {
    const GROUP: &'static str = "G2";
    const UNCOMPRESSED_BYTES: usize = 192;
    const COMPRESSED_BYTES: usize = 96;

    fn from_uncompressed_bytes(bytes: &[u8], checks: PointChecks) -> Result<Self, PointRejection> {
        let bytes: &[u8; 192] = sized(bytes)?;
        uncompressed_form(bytes, &["x.c1", "x.c0", "y.c1", "y.c0"])?;
        let point = Self::from_coordinates_be(bytes);
        accept(point, checks, Self::is_on_curve, Self::is_in_subgroup)
    }

    fn from_compressed_bytes(bytes: &[u8]) -> Result<Self, PointRejection> {
        let bytes: &[u8; 96] = sized(bytes)?;
        compressed_form(bytes, &["x.c1", "x.c0"])?;
        let point = Self::from_compressed(bytes).ok_or(PointRejection::NotOnCurve)?;
        accept(point, PointChecks::Full, Self::is_on_curve, Self::is_in_subgroup)
    }

    fn write_uncompressed(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.coordinates_be());
        out[start] |= if self.is_infinity() { INFINITY } else { 0 };
    }

    fn write_compressed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_compressed());
    }

    fn lies_in_subgroup(&self) -> bool {
        self.is_in_subgroup()
    }

    fn group_sums(points: &[Self], groupings: &[Grouping], workers: &Workers) -> Vec<Vec<Self>> {
        let points: Vec<_> = workers.run(|| points.par_iter().map(Self::to_ark).collect());
        let sums = CpuMsm::new().group_sums_g2(workers, &points, groupings);
        sums.iter().map(|sums| sums.iter().map(Self::from_ark).collect()).collect()
    }
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], PointRejection> {
    bytes.try_into().map_err(|_| PointRejection::Length { expected: N, got: bytes.len() })
}

fn uncompressed_form(bytes: &[u8], coordinates: &[&'static str]) -> Result<(), PointRejection> {
    match bytes[0] & FLAGS {
        0 => canonical(bytes, 0, coordinates),
        INFINITY => Err(infinity(bytes)),
        got => Err(PointRejection::Flags { expected: "of an uncompressed point (0x00 or 0x40)", got }),
    }
}

fn compressed_form(bytes: &[u8], coordinates: &[&'static str]) -> Result<(), PointRejection> {
    const INFINITE: u8 = COMPRESSED | INFINITY;
    match bytes[0] & FLAGS {
        flags if flags & !LARGER_Y == COMPRESSED => canonical(bytes, flags, coordinates),
        INFINITE => Err(infinity(bytes)),
        got => Err(PointRejection::Flags { expected: "of a compressed point (0x80, 0xa0 or 0xc0)", got }),
    }
}

/// An encoding with the infinity flag: not a point that may stand here, and perhaps not even infinity.
fn infinity(bytes: &[u8]) -> PointRejection {
    let rest = std::iter::once(bytes[0] & !FLAGS).chain(bytes[1..].iter().copied());
    match rest.enumerate().find(|(_, byte)| *byte != 0) {
        Some((byte, got)) => PointRejection::InfinityBits { byte, got },
        None => PointRejection::Infinity,
    }
}

fn canonical(bytes: &[u8], flags: u8, coordinates: &[&'static str]) -> Result<(), PointRejection> {
    for (position, (fp, coordinate)) in bytes.chunks_exact(48).zip(coordinates).enumerate() {
        let first = if position == 0 { fp[0] & !flags } else { fp[0] };
        let below = (first, &fp[1..]) < (MODULUS[0], &MODULUS[1..]);
        if !below {
            return Err(PointRejection::NonCanonical { coordinate });
        }
    }
    Ok(())
}

fn accept<P: Copy>(
    point: P,
    checks: PointChecks,
    is_on_curve: impl Fn(&P) -> bool,
    is_in_subgroup: impl Fn(&P) -> bool,
) -> Result<P, PointRejection> {
    if !is_on_curve(&point) {
        return Err(PointRejection::NotOnCurve);
    }
    if checks == PointChecks::Full && !is_in_subgroup(&point) {
        return Err(PointRejection::NotInSubgroup);
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
    use proptest::prelude::*;

    use super::*;

    fn g1(scalar: u64) -> ark_bls12_381::G1Affine {
        (ark_bls12_381::G1Affine::generator() * ark_bls12_381::Fr::from(scalar)).into_affine()
    }

    fn g2(scalar: u64) -> ark_bls12_381::G2Affine {
        (ark_bls12_381::G2Affine::generator() * ark_bls12_381::Fr::from(scalar)).into_affine()
    }

    fn uncompressed<P: Point>(point: &P) -> Vec<u8> {
        let mut out = vec![];
        point.write_uncompressed(&mut out);
        out
    }

    fn compressed<P: Point>(point: &P) -> Vec<u8> {
        let mut out = vec![];
        point.write_compressed(&mut out);
        out
    }

    fn ark_bytes(value: &impl CanonicalSerialize, compress: bool) -> Vec<u8> {
        let mut bytes = vec![];
        let mode = if compress { ark_serialize::Compress::Yes } else { ark_serialize::Compress::No };
        value.serialize_with_mode(&mut bytes, mode).unwrap();
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// arkworks writes the same format; both directions agree, and so do the groups' operations.
        #[test]
        fn encodings_and_arithmetic_are_those_of_arkworks(a: u64, b: u64) {
            prop_assume!(a != 0);
            let (p, q) = (G1Affine::from_ark(&g1(a)), G2Affine::from_ark(&g2(a)));
            prop_assert_eq!(uncompressed(&p), ark_bytes(&g1(a), false));
            prop_assert_eq!(compressed(&p), ark_bytes(&g1(a), true));
            prop_assert_eq!(uncompressed(&q), ark_bytes(&g2(a), false));
            prop_assert_eq!(compressed(&q), ark_bytes(&g2(a), true));
            prop_assert_eq!(G1Affine::from_uncompressed_bytes(&uncompressed(&p), PointChecks::Full), Ok(p));
            prop_assert_eq!(G1Affine::from_compressed_bytes(&compressed(&p)), Ok(p));
            prop_assert_eq!(G2Affine::from_uncompressed_bytes(&uncompressed(&q), PointChecks::Full), Ok(q));
            prop_assert_eq!(G2Affine::from_compressed_bytes(&compressed(&q)), Ok(q));
            prop_assert_eq!((p.to_ark(), q.to_ark()), (g1(a), g2(a)));

            let scalar = b.to_le_bytes();
            let fr = ark_bls12_381::Fr::from(b);
            prop_assert_eq!(p.mul(&scalar).to_ark(), (g1(a) * fr).into_affine());
            prop_assert_eq!(q.mul(&scalar).to_ark(), (g2(a) * fr).into_affine());
            prop_assert_eq!(p.mul(&scalar).add(&p).to_ark(), (g1(a) * fr + g1(a)).into_affine());
            prop_assert_eq!(q.add(&q.neg()), G2Affine::INFINITY);
            prop_assert_eq!(p.neg().to_ark(), -g1(a));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flags: u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x1f | flags & FLAGS;
            }
            for len in [48, 96, 192, bytes.len()] {
                let part = &bytes[..len.min(bytes.len())];
                let _ = G1Affine::from_uncompressed_bytes(part, PointChecks::Full);
                let _ = G1Affine::from_compressed_bytes(part);
                let _ = G2Affine::from_uncompressed_bytes(part, PointChecks::Full);
                let _ = G2Affine::from_compressed_bytes(part);
            }
        }
    }

    #[test]
    fn sums_of_products_are_sums_of_products() {
        let points: Vec<G1Affine> = (1..=40).map(|n| G1Affine::from_ark(&g1(n * n))).collect();
        for len in [0, 1, 2, 3, 31, 33, 40] {
            let scalars: Vec<u8> = (0..len * 32).map(|byte| (byte * 7) as u8 & 0x3f).collect();
            let one_by_one = points[..len]
                .iter()
                .zip(scalars.chunks(32))
                .fold(G1Affine::INFINITY, |sum, (point, scalar)| sum.add(&point.mul(scalar)));
            assert_eq!(G1Affine::sum_of_products(&points[..len], &scalars, 32), one_by_one);
        }
    }

    #[test]
    fn every_fault_has_its_name() {
        use PointRejection as R;
        let point = G1Affine::from_ark(&g1(5));
        let plain = uncompressed(&point);
        let read = |bytes: &[u8]| G1Affine::from_uncompressed_bytes(bytes, PointChecks::Full).unwrap_err();
        let with = |byte: usize, value: u8| {
            let mut bytes = plain.clone();
            bytes[byte] = value;
            bytes
        };
        assert_eq!(read(&plain[1..]), R::Length { expected: 96, got: 95 });
        assert!(matches!(read(&with(0, plain[0] | LARGER_Y)), R::Flags { got: LARGER_Y, .. }));
        assert!(matches!(read(&with(0, plain[0] | COMPRESSED)), R::Flags { got: COMPRESSED, .. }));
        assert!(matches!(read(&with(0, plain[0] | INFINITY)), R::InfinityBits { .. }));
        assert_eq!(read(&uncompressed(&G1Affine::INFINITY)), R::Infinity);
        assert_eq!(read(&with(95, plain[95] ^ 1)), R::NotOnCurve);

        let mut above = plain.clone();
        above[48..].copy_from_slice(&MODULUS);
        assert_eq!(read(&above), R::NonCanonical { coordinate: "y" });
        above[..48].copy_from_slice(&MODULUS);
        assert_eq!(read(&above), R::NonCanonical { coordinate: "x" });

        let infinite = compressed(&G2Affine::INFINITY);
        assert_eq!(G2Affine::from_compressed_bytes(&infinite), Err(R::Infinity));
        let mut flagged = infinite.clone();
        flagged[0] |= LARGER_Y;
        assert!(matches!(G2Affine::from_compressed_bytes(&flagged), Err(R::Flags { got: 0xe0, .. })));
        let mut dirty = infinite;
        dirty[95] = 9;
        assert_eq!(G2Affine::from_compressed_bytes(&dirty), Err(R::InfinityBits { byte: 95, got: 9 }));
    }

    /// Every small x that lies on the curve gives a point outside the subgroup (their odds of lying in it are 2^-125).
    #[test]
    fn points_outside_the_subgroup_are_refused_and_arkworks_agrees() {
        let mut found = 0;
        for x in 1..20u8 {
            let mut bytes = [0u8; 48];
            (bytes[0], bytes[47]) = (COMPRESSED, x);
            let ours = G1Affine::from_compressed_bytes(&bytes);
            let arks = ark_bls12_381::G1Affine::deserialize_compressed_unchecked(&bytes[..]);
            match ours {
                Err(PointRejection::NotInSubgroup) => {
                    let point = arks.unwrap();
                    assert!(!point.is_in_correct_subgroup_assuming_on_curve());
                    let bytes = ark_bytes(&point, false);
                    let full = G1Affine::from_uncompressed_bytes(&bytes, PointChecks::Full);
                    assert_eq!(full, Err(PointRejection::NotInSubgroup));
                    assert!(G1Affine::from_uncompressed_bytes(&bytes, PointChecks::OnCurve).is_ok());
                    found += 1;
                }
                other => assert_eq!((other, arks.is_err()), (Err(PointRejection::NotOnCurve), true)),
            }
        }
        assert!(found > 3);
    }

    #[test]
    fn pairings_are_bilinear() {
        use super::super::curve::{Gt, PreparedG2};
        let (p, q) = (G1Affine::generator(), G2Affine::generator());
        let (two, three, six) = ([2u8], [3u8], [6u8]);
        let left = Gt::miller_loops(&[(p.mul(&two), q.mul(&three))]).final_exponentiation();
        let right = Gt::miller_loop_prepared(&p.mul(&six), &PreparedG2::new(&q)).final_exponentiation();
        assert_eq!(left, right);
        let cancel = Gt::miller_loops(&[(p.mul(&six), q), (p.mul(&two).neg(), q.mul(&three)), (G1Affine::INFINITY, q)]);
        assert_eq!(cancel.final_exponentiation(), Gt::one());
    }
}
