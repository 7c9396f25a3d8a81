//! Sharded folders: a hash trie over the names of a large folder.
//!
//! `ipfs-car` shards a folder when it has more than 1,000 entries, and its root CIDs must be met, so this crate does the
//! same ([`SHARD_THRESHOLD`]). Other writers shard by block size (256 KiB), which gives other roots for folders between the
//! two limits.
//!
//! 1. The hash of a name is the first 64 bits of MurmurHash3 x64 128 with seed 0, read as big-endian bytes; byte `d` is the
//!    slot of the name in a shard at depth `d`.
//! 2. Two names that meet in a slot move into a shard of their own, one level down; a name alone in its slot stays.
//! 3. A shard's links are named by two upper-case hex digits of the slot, followed by the entry's name, or by nothing when
//!    the link leads to a deeper shard.
//! 4. The data field holds a bitfield of used slots, big-endian, without leading zero bytes.
//!
//! Two different names with equal 64-bit hashes would need a ninth level. `ipfs-car` and Kubo disagree there, so such a
//! folder is refused at import; nobody meets it by accident.

/// A folder with more entries than this is sharded.
pub(crate) const SHARD_THRESHOLD: usize = 1000;

/// Slots of one shard.
pub(crate) const FANOUT: usize = 256;

/// Multihash number of the name hash (murmur3-x64-64), as written into each shard.
pub(crate) const HASH_TYPE: u64 = 0x22;

/// Levels that a 64-bit hash can tell apart.
pub(crate) const MAX_DEPTH: usize = 8;

/// Slot of `name` in a shard at `depth`, or nothing below the last level.
pub(crate) fn slot(name: &str, depth: usize) -> Option<u8> {
    name_hash(name).to_be_bytes().get(depth).copied()
}

/// The hash of a name; a shard takes its bits from the most significant one on.
pub(crate) fn name_hash(name: &str) -> u64 {
    murmur3_x64_64(name.as_bytes())
}

/// How the link of a slot begins.
pub(crate) fn prefix(slot: u8) -> String {
    format!("{slot:02X}")
}

/// Bitfield of the used slots.
pub(crate) fn bitfield(used: &[u8]) -> Vec<u8> {
    let mut bits = [0u8; FANOUT / 8];
    for slot in used {
        bits[bits.len() - 1 - usize::from(slot / 8)] |= 1 << (slot % 8);
    }
    let leading = bits.iter().take_while(|byte| **byte == 0).count();
    bits[leading..].to_vec()
}

/// Used slots of a bitfield in ascending order, or nothing if it is longer than 256 bits or not in shortest form.
pub(crate) fn slots(bitfield: &[u8]) -> Option<Vec<u8>> {
    if bitfield.len() > FANOUT / 8 || bitfield.first() == Some(&0) {
        return None;
    }
    let used = |slot: &u8| {
        let byte = bitfield.iter().rev().nth(usize::from(slot / 8)).copied().unwrap_or_default();
        byte >> (slot % 8) & 1 == 1
    };
    Some((0..=u8::MAX).filter(used).collect())
}

/// MurmurHash3 x64 128 with seed 0, its first 64 bits.
fn murmur3_x64_64(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (0u64, 0u64);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        h1 = (h1 ^ mix1(word(&block[..8]))).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(word(&block[8..]))).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    h1 ^= mix1(word(&tail[..tail.len().min(8)]));
    h2 ^= mix2(word(&tail[tail.len().min(8)..]));
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

/// At most eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(padded)
}

fn finish(mut k: u64) -> u64 {
    k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `murmur364` in @multiformats/murmur3 2.x.
    #[test]
    fn the_name_hash_equals_the_javascript_one() {
        assert_eq!(murmur3_x64_64("".as_bytes()), 0x0000_0000_0000_0000);
        assert_eq!(murmur3_x64_64("a".as_bytes()), 0x8555_5565_f659_7889);
        assert_eq!(murmur3_x64_64("hello".as_bytes()), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(murmur3_x64_64("0123456789abcdef".as_bytes()), 0x4be0_6d94_cf4a_d1a7);
        assert_eq!(murmur3_x64_64("sample-000123.jpg".as_bytes()), 0xdb3a_6e50_0536_13a6);
        assert_eq!(murmur3_x64_64("жжжжжжжжжжжжжжжжжжжж".as_bytes()), 0x61f7_7640_34ed_6e9f);
    }

    #[test]
    fn bitfields_have_one_form() {
        for used in [vec![], vec![0], vec![7, 8], vec![255], vec![0, 100, 200, 255]] {
            assert_eq!(slots(&bitfield(&used)), Some(used));
        }
        assert_eq!(slots(&[0, 1]), None, "a leading zero byte");
        assert_eq!(slots(&[1; 33]), None, "more than 256 bits");
    }
}
