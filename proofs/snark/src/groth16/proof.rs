//! A proof: three points, 192 bytes.
//!
//! ```text
//! A, compressed G1 (48) | B, compressed G2 (96) | C, compressed G1 (48)
//! ```
//! A statement with several partitions has a proof for each, one after the other.

use super::curve::{G1Affine, G2Affine};
use super::points::{Point, PointRejection};

/// Bytes of one proof.
pub const PROOF_BYTES: usize = 192;

/// A Groth16 proof: points that are what they should be, but not yet known to prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// A.
    pub a: G1Affine,
    /// B.
    pub b: G2Affine,
    /// C.
    pub c: G1Affine,
}

/// Bytes that are no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofRejection {
    /// Another number of bytes.
    #[error("expected {expected} bytes of proof ({partitions} of {PROOF_BYTES}), got {got}")]
    Length {
        /// Bytes expected.
        expected: usize,
        /// Proofs expected.
        partitions: usize,
        /// Bytes given.
        got: usize,
    },
    /// One of the points is none.
    #[error("proof {partition}, point {point}: {source}")]
    Point {
        /// Which of the proofs.
        partition: usize,
        /// `A`, `B` or `C`.
        point: &'static str,
        /// What is wrong with it.
        source: PointRejection,
    },
}

impl Proof {
    /// Reads one proof.
    ///
    /// # Errors
    /// [`ProofRejection`] unless these are exactly the bytes that [`to_bytes`](Self::to_bytes) writes for some proof.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofRejection> {
        Ok(Self::list_from_bytes(bytes, 1)?[0])
    }

    /// Reads the proofs of `partitions` partitions.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn list_from_bytes(bytes: &[u8], partitions: usize) -> Result<Vec<Self>, ProofRejection> {
        let (expected, got) = (partitions * PROOF_BYTES, bytes.len());
        if expected != got {
            return Err(ProofRejection::Length { expected, partitions, got });
        }
        bytes.chunks_exact(PROOF_BYTES).enumerate().map(|(partition, bytes)| one(partition, bytes)).collect()
    }

    /// Its 192 bytes.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut out = Vec::with_capacity(PROOF_BYTES);
        self.a.write_compressed(&mut out);
        self.b.write_compressed(&mut out);
        self.c.write_compressed(&mut out);
        out.try_into().expect("48 + 96 + 48 bytes")
    }
}

fn one(partition: usize, bytes: &[u8]) -> Result<Proof, ProofRejection> {
    let wrong = |point| move |source| ProofRejection::Point { partition, point, source };
    Ok(Proof {
        a: G1Affine::from_compressed_bytes(&bytes[..48]).map_err(wrong("A"))?,
        b: G2Affine::from_compressed_bytes(&bytes[48..144]).map_err(wrong("B"))?,
        c: G1Affine::from_compressed_bytes(&bytes[144..]).map_err(wrong("C"))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proof_round_trips_and_has_one_length() {
        let proof = Proof { a: G1Affine::generator(), b: G2Affine::generator(), c: G1Affine::generator().neg() };
        let bytes = proof.to_bytes();
        assert_eq!(Proof::from_bytes(&bytes), Ok(proof));
        assert_eq!(
            Proof::from_bytes(&bytes[1..]).unwrap_err().to_string(),
            "expected 192 bytes of proof (1 of 192), got 191"
        );
        assert_eq!(Proof::list_from_bytes(&[bytes, bytes].concat(), 2), Ok(vec![proof, proof]));
        let infinite = Proof { c: G1Affine::INFINITY, ..proof };
        assert_eq!(
            Proof::from_bytes(&infinite.to_bytes()).unwrap_err().to_string(),
            "proof 0, point C: expected a point other than infinity"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 192)) {
            let _ = Proof::from_bytes(&bytes);
        }
    }
}
