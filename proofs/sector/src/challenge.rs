//! Hashes as numbers: how randomness becomes an index.

/// The 32 bytes as a little-endian number, modulo `modulus`.
///
/// # Panics
/// If the modulus is 0 or does not fit 56 bits.
pub fn reduce(digest: &[u8; 32], modulus: u64) -> u64 {
    assert!((1..1 << 56).contains(&modulus), "modulus {modulus} is out of range");
    digest.iter().rev().fold(0, |rest, byte| (rest << 8 | u64::from(*byte)) % modulus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian() {
        let mut digest = [0u8; 32];
        (digest[0], digest[1]) = (5, 1);
        assert_eq!(reduce(&digest, 1000), 261);
        assert_eq!(reduce(&digest, 100), 61);
        assert_eq!(reduce(&[0xff; 32], 255), 0);
    }
}
