//! The reference implementation's names for what a proof of replication is about: a sector size and how it is sealed.

use cairn_protocol::{SealProof, SectorSize};
use cairn_sector::SectorIdentity;

/// Every name.
const NAMES: [(&str, SectorSize, SealProof); 10] = [
    ("2KiB", SectorSize::KIB2, SealProof::V1_1),
    ("8MiB", SectorSize::MIB8, SealProof::V1_1),
    ("512MiB", SectorSize::MIB512, SealProof::V1_1),
    ("32GiB", SectorSize::GIB32, SealProof::V1_1),
    ("2KiB-v1", SectorSize::KIB2, SealProof::V1),
    ("8MiB-v1", SectorSize::MIB8, SealProof::V1),
    ("2KiB-synth", SectorSize::KIB2, SealProof::Synthetic),
    ("8MiB-synth", SectorSize::MIB8, SealProof::Synthetic),
    ("2KiB-ni", SectorSize::KIB2, SealProof::NonInteractive),
    ("8MiB-ni", SectorSize::MIB8, SealProof::NonInteractive),
];

/// A name, as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofType {
    /// Size of the sector.
    pub sector_size: SectorSize,
    /// How it is sealed.
    pub seal_proof: SealProof,
}

impl std::str::FromStr for ProofType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.into_iter().find(|(name, ..)| *name == text);
        let unknown = || format!("expected one of {}, got {text:?}", NAMES.map(|(name, ..)| name).join(", "));
        found.map(|(_, sector_size, seal_proof)| Self { sector_size, seal_proof }).ok_or_else(unknown)
    }
}

/// The name of a sector's proof, if the reference implementation has one for it. A name implies the registered graph.
pub fn name_of(identity: &SectorIdentity) -> Option<&'static str> {
    let SectorIdentity { sector_size, seal_proof, porep_id, .. } = *identity;
    let registered = seal_proof.porep_id(sector_size) == porep_id;
    let named = NAMES.into_iter().find(|(_, size, proof)| (*size, *proof) == (sector_size, seal_proof));
    named.filter(|_| registered).map(|(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use cairn_protocol::{PorepId, ProverId, SectorNumber, Ticket};

    use super::*;

    #[test]
    fn names_round_trip_unless_the_graph_is_another() {
        for (name, sector_size, seal_proof) in NAMES {
            assert_eq!(name.parse(), Ok(ProofType { sector_size, seal_proof }));
            let identity = SectorIdentity {
                sector_size,
                seal_proof,
                porep_id: seal_proof.porep_id(sector_size),
                prover_id: ProverId([0; 32]),
                sector_number: SectorNumber(1),
                ticket: Ticket([0; 32]),
            };
            assert_eq!(name_of(&identity), Some(name));
            assert_eq!(name_of(&SectorIdentity { porep_id: PorepId([9; 32]), ..identity }), None);
        }
        let error = "2KiB-v9".parse::<ProofType>().unwrap_err();
        assert!(error.starts_with("expected one of 2KiB, 8MiB, ") && error.ends_with("got \"2KiB-v9\""), "{error}");
    }
}
