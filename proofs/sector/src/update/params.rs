//! Numbers of an update, by sector size.

use cairn_protocol::{SealProof, SectorParams, SectorSize};
use serde::{Deserialize, Serialize};

/// Bits of a hash that challenges are cut from: a field element has this many that are free.
const DIGEST_BITS: usize = 254;
/// Ways to choose h.
pub const H_CHOICES: usize = 6;
/// Least h at real sizes; the choices are this and the five after it.
const H_LEAST: usize = 7;
/// The choice when nobody chooses: h = 10.
const H_DEFAULT_CHOICE: u8 = 3;

/// Which h, the number of top bits of a node's index that decide its factor. Of six choices, as the circuit sees them:
/// h = 7 to 12; in sectors of up to 32 KiB, which have too few nodes for that, h = 1 whatever the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct HSelect(u8);

/// A number that is no choice of h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a choice of h of 0 to {}, got {got}", H_CHOICES - 1)]
pub struct UnknownHSelect {
    /// The number given.
    pub got: u8,
}

impl TryFrom<u8> for HSelect {
    type Error = UnknownHSelect;

    fn try_from(choice: u8) -> Result<Self, UnknownHSelect> {
        if usize::from(choice) < H_CHOICES { Ok(Self(choice)) } else { Err(UnknownHSelect { got: choice }) }
    }
}

impl From<HSelect> for u8 {
    fn from(choice: HSelect) -> Self {
        choice.0
    }
}

impl HSelect {
    /// What Filecoin uses unless told otherwise.
    pub fn default_of(sector_size: SectorSize) -> Self {
        Self(if has_one_h(sector_size) { 0 } else { H_DEFAULT_CHOICE })
    }

    /// The h of this choice, in bits.
    pub fn bits(self, sector_size: SectorSize) -> usize {
        h_choices(sector_size)[usize::from(self.0)]
    }

    /// The choice as a public input carries it: one bit of six.
    pub fn one_hot(self) -> u64 {
        1 << self.0
    }
}

fn has_one_h(sector_size: SectorSize) -> bool {
    sector_size <= SectorSize::KIB32
}

/// The six values of h, in bits, in order of the choices.
pub fn h_choices(sector_size: SectorSize) -> [usize; H_CHOICES] {
    if has_one_h(sector_size) { [1; H_CHOICES] } else { std::array::from_fn(|choice| H_LEAST + choice) }
}

/// What the sector size decides about an update and its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateParams {
    /// Sector size and shape of its trees. How the old replica was sealed makes no difference.
    pub sector: SectorParams,
    /// [`SectorParams::update_partitions`].
    pub partitions: usize,
    /// Challenges in one partition.
    pub challenges_per_partition: usize,
    /// Apex leaves of one partition; a power of two.
    pub apex_leaves: usize,
}

impl UpdateParams {
    /// The parameters of `sector_size`.
    pub fn new(sector_size: SectorSize) -> Self {
        let small = sector_size <= SectorSize::KIB4;
        let sector = SectorParams::new(sector_size, SealProof::V1_1);
        Self {
            sector,
            partitions: sector.update_partitions,
            challenges_per_partition: if sector_size <= SectorSize::MIB16 { 10 } else { 86 },
            apex_leaves: if small { 8 } else { 128 },
        }
    }

    /// Bits of a node's index.
    pub const fn node_bits(&self) -> usize {
        self.sector.nodes().ilog2() as usize
    }

    /// Bits of a partition's number: the top ones of its nodes' indices.
    pub const fn partition_bits(&self) -> usize {
        self.partitions.ilog2() as usize
    }

    /// Bits of a node's index within its partition, which is what a challenge draws.
    pub const fn challenge_bits(&self) -> usize {
        self.node_bits() - self.partition_bits()
    }

    /// Bits that number the apex leaves.
    pub const fn apex_bits(&self) -> usize {
        self.apex_leaves.ilog2() as usize
    }

    /// Levels of tree D between its leaves and the apex leaves.
    pub const fn apex_height(&self) -> usize {
        self.challenge_bits() - self.apex_bits()
    }

    /// Challenges that one hash yields.
    pub const fn challenges_per_digest(&self) -> usize {
        DIGEST_BITS / self.challenge_bits()
    }

    /// Hashes that the challenges of one partition take.
    pub const fn digests_per_partition(&self) -> usize {
        self.challenges_per_partition.div_ceil(self.challenges_per_digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_room_for_its_choices() {
        for size in SectorSize::ALL {
            let params = UpdateParams::new(size);
            assert!(params.apex_height() >= 1, "{size}");
            for choice in 0..H_CHOICES as u8 {
                let bits = HSelect::try_from(choice).unwrap().bits(size);
                assert!(bits > params.partition_bits() || bits == 1, "{size}");
                assert!(bits <= params.node_bits(), "{size}");
            }
        }
        assert_eq!(HSelect::default_of(SectorSize::GIB32).bits(SectorSize::GIB32), 10);
        assert_eq!(HSelect::default_of(SectorSize::KIB32).bits(SectorSize::KIB32), 1);
    }

    #[test]
    fn thirty_two_gib_has_the_published_numbers() {
        let params = UpdateParams::new(SectorSize::GIB32);
        assert_eq!(params.partitions * params.challenges_per_partition, 1376);
        assert_eq!((params.challenge_bits(), params.apex_height()), (26, 19));
        assert_eq!((params.challenges_per_digest(), params.digests_per_partition()), (9, 10));
    }

    #[test]
    fn other_choices_of_h_are_refused() {
        assert_eq!(serde_json::from_str::<HSelect>("5").unwrap().one_hot(), 32);
        assert!(serde_json::from_str::<HSelect>("6").is_err());
        assert_eq!(HSelect::try_from(6), Err(UnknownHSelect { got: 6 }));
    }
}
