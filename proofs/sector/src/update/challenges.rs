//! Which nodes an update's proof must open.
//!
//! Partition k, which takes `D` hashes, draws from `P2*(CommR-new, k·D + j)` for j = 0, 1, .., D-1: each hash, as a
//! little-endian number, gives as many challenges of `challenge_bits` as fit 254 bits, lowest first. The partition's
//! number stands above those bits, which makes them a node of the sector.

use cairn_compute::{Fr, NonCanonicalNode, fr_from_node, fr_to_node};
use cairn_protocol::CommR;

use super::encoding::randomness_hash;
use super::params::UpdateParams;

/// The nodes to open in `partition`, in order.
///
/// # Errors
/// [`NonCanonicalNode`] if CommR is no field element.
///
/// # Panics
/// If there is no such partition.
pub fn challenges(params: &UpdateParams, comm_r_new: &CommR, partition: usize) -> Result<Vec<u64>, NonCanonicalNode> {
    assert!(partition < params.partitions, "partition {partition} does not exist");
    let comm_r_new = fr_from_node(&comm_r_new.0)?;
    let bits = params.challenge_bits();
    let digests = params.digests_per_partition();
    Ok((partition * digests..(partition + 1) * digests)
        .flat_map(|digest| {
            let digest = fr_to_node(&randomness_hash(comm_r_new, Fr::from(digest as u64)));
            (0..params.challenges_per_digest()).map(move |place| bits_of(&digest, place * bits, bits))
        })
        .take(params.challenges_per_partition)
        .map(|within| (partition as u64) << bits | within)
        .collect())
}

/// `count` bits of a little-endian number, from bit `first` on.
fn bits_of(number: &[u8; 32], first: usize, count: usize) -> u64 {
    (first..first + count).rev().fold(0, |bits, bit| bits << 1 | u64::from(number[bit / 8] >> (bit % 8) & 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::SectorSize;

    /// The generator behind the published challenges: Marsaglia's xorshift128, seeded with the test seed that the
    /// pairing libraries share.
    struct XorShift([u32; 4]);

    impl XorShift {
        fn seeded() -> Self {
            Self([0x5dbe6259, 0x8d313d76, 0x3237db17, 0xe5bc0654])
        }

        fn next_u32(&mut self) -> u32 {
            let [x, y, z, w] = self.0;
            let mixed = x ^ (x << 11);
            let next = w ^ (w >> 19) ^ (mixed ^ (mixed >> 8));
            self.0 = [y, z, w, next];
            next
        }

        /// 255 bits, little-endian limbs, low half of a limb first; numbers that are no field elements are skipped.
        fn next_element(&mut self) -> [u8; 32] {
            loop {
                let mut bytes = [0u8; 32];
                bytes.chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&self.next_u32().to_le_bytes()));
                bytes[31] &= 0x7f;
                if fr_from_node(&bytes).is_ok() {
                    return bytes;
                }
            }
        }
    }

    /// `spec/proofs.md` 4.1.
    #[test]
    fn challenges_are_the_published_ones() {
        let comm_r_new = CommR(XorShift::seeded().next_element());
        let starts = [
            (SectorSize::GIB32, 0, [1019125, 27985696, 15282860, 11586600, 44651330]),
            (SectorSize::GIB32, 15, [1038629497, 1053983614, 1030421316, 1027373887, 1068685433]),
            (SectorSize::GIB64, 14, [1997053129, 1920414070, 2003609080, 1900492803, 1963254685]),
        ];
        for (size, partition, start) in starts {
            let all = challenges(&UpdateParams::new(size), &comm_r_new, partition).unwrap();
            assert_eq!(all.len(), 86);
            assert_eq!(all[..5], start, "{size}, partition {partition}");
        }
    }

    #[test]
    fn challenges_stay_in_their_partition() {
        for size in SectorSize::ALL {
            let params = UpdateParams::new(size);
            let run = size.nodes() / params.partitions as u64;
            for partition in 0..params.partitions {
                let nodes = challenges(&params, &CommR([3; 32]), partition).unwrap();
                assert_eq!(nodes.len(), params.challenges_per_partition);
                assert!(nodes.iter().all(|node| node / run == partition as u64), "{size}");
            }
        }
        assert!(challenges(&UpdateParams::new(SectorSize::KIB2), &CommR([0xff; 32]), 0).is_err());
    }
}
