//! fr32: client bytes as field elements (`spec/proofs.md` 1.2).
//!
//! The payload is a little-endian bit stream. Every 254 bits become one 32-byte little-endian word whose two top bits
//! are zero, hence a field element. Four words make a *quad*: 127 bytes in, 128 bytes out, so whole quads never split a
//! byte.

/// Payload bytes of a quad.
pub const QUAD_UNPADDED_BYTES: usize = 127;
/// Padded bytes of a quad.
pub const QUAD_PADDED_BYTES: usize = 128;

/// Bits of payload in a word.
const WORD_BITS: usize = 254;

/// Pads one quad, bit by bit: the oracle.
pub fn pad_quad_naive(unpadded: &[u8; QUAD_UNPADDED_BYTES]) -> [u8; QUAD_PADDED_BYTES] {
    let mut padded = [0u8; QUAD_PADDED_BYTES];
    for bit in 0..QUAD_UNPADDED_BYTES * 8 {
        let place = bit / WORD_BITS * 256 + bit % WORD_BITS;
        padded[place / 8] |= (unpadded[bit / 8] >> (bit % 8) & 1) << (place % 8);
    }
    padded
}

/// Pads one quad. Word k (0 to 3) is the payload from bit 254k, that is, the bytes from 31·8 + 6 bits on, moved up by
/// 2k bits.
pub fn pad_quad(unpadded: &[u8; QUAD_UNPADDED_BYTES]) -> [u8; QUAD_PADDED_BYTES] {
    let mut source = [0u64; 16];
    for (limb, bytes) in source.iter_mut().zip(unpadded.chunks(8)) {
        let mut le = [0u8; 8];
        le[..bytes.len()].copy_from_slice(bytes);
        *limb = u64::from_le_bytes(le);
    }
    let mut padded = [0u8; QUAD_PADDED_BYTES];
    for (place, bytes) in padded.chunks_exact_mut(8).enumerate() {
        let (word, limb) = (place / 4, place % 4);
        // Limb `place` starts 2 bits lower in the source for every word before it.
        let back = 2 * word;
        let value = if back == 0 { source[place] } else { source[place] << back | source[place - 1] >> (64 - back) };
        let value = if limb == 3 { value & (u64::MAX >> 2) } else { value };
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    padded
}

/// The inverse of [`pad_quad`]. The two top bits of every word are ignored.
pub fn unpad_quad(padded: &[u8; QUAD_PADDED_BYTES]) -> [u8; QUAD_UNPADDED_BYTES] {
    let mut source = [0u64; 17];
    for (place, bytes) in padded.chunks_exact(8).enumerate() {
        let value = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        source[place] = if place % 4 == 3 { value & (u64::MAX >> 2) } else { value };
    }
    let mut target = [0u64; 16];
    for (place, value) in source.iter().take(16).enumerate() {
        let back = 2 * (place / 4);
        target[place] |= value >> back;
        if back > 0 {
            target[place - 1] |= value << (64 - back);
        }
    }
    let mut unpadded = [0u8; QUAD_UNPADDED_BYTES];
    for (bytes, limb) in unpadded.chunks_mut(8).zip(target) {
        bytes.copy_from_slice(&limb.to_le_bytes()[..bytes.len()]);
    }
    unpadded
}

/// Streams payload into padded quads, keeping at most one incomplete quad.
#[derive(Debug, Clone)]
pub struct Padder {
    pending: [u8; QUAD_UNPADDED_BYTES],
    filled: usize,
}

impl Default for Padder {
    fn default() -> Self {
        Self { pending: [0; QUAD_UNPADDED_BYTES], filled: 0 }
    }
}

impl Padder {
    /// Starts at a quad's boundary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes payload and hands every completed quad to `sink`.
    ///
    /// # Errors
    /// Those of `sink`; the payload is then partly taken, and the padder must be dropped.
    pub fn update<E>(
        &mut self,
        mut payload: &[u8],
        mut sink: impl FnMut(&[u8; QUAD_PADDED_BYTES]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !payload.is_empty() {
            let taken = payload.len().min(QUAD_UNPADDED_BYTES - self.filled);
            self.pending[self.filled..self.filled + taken].copy_from_slice(&payload[..taken]);
            self.filled += taken;
            payload = &payload[taken..];
            if self.filled == QUAD_UNPADDED_BYTES {
                sink(&pad_quad(&self.pending))?;
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// The last quad, filled up with zeros, if one is incomplete.
    pub fn finish(mut self) -> Option<[u8; QUAD_PADDED_BYTES]> {
        if self.filled == 0 {
            return None;
        }
        self.pending[self.filled..].fill(0);
        Some(pad_quad(&self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arb_quad() -> impl Strategy<Value = [u8; QUAD_UNPADDED_BYTES]> {
        proptest::collection::vec(any::<u8>(), QUAD_UNPADDED_BYTES).prop_map(|bytes| bytes.try_into().unwrap())
    }

    proptest! {
        #[test]
        fn fast_equals_naive_and_unpadding_inverts(quad in arb_quad()) {
            let padded = pad_quad(&quad);
            prop_assert_eq!(padded, pad_quad_naive(&quad));
            prop_assert!(padded.chunks(32).all(|word| word[31] & 0xc0 == 0));
            prop_assert_eq!(unpad_quad(&padded), quad);
        }

        #[test]
        fn streaming_does_not_depend_on_the_cuts(payload in proptest::collection::vec(any::<u8>(), 0..600), cut in 1usize..200) {
            let stream = |step: usize| {
                let (mut padder, mut out) = (Padder::new(), vec![]);
                for part in payload.chunks(step) {
                    padder.update(part, |quad| { out.extend_from_slice(quad); Ok::<_, ()>(()) }).unwrap();
                }
                out.extend(padder.finish().into_iter().flatten());
                out
            };
            let whole = stream(usize::MAX);
            prop_assert_eq!(&whole, &stream(cut));
            prop_assert_eq!(whole.len(), payload.len().div_ceil(127) * 128);
        }
    }
}
