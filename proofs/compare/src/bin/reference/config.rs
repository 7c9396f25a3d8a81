//! The golden sectors in the reference's terms.

use anyhow::{Context, Result, bail};
use cairn_fixtures::{PostVector, post_vectors};
use cairn_snark::CircuitKind;
use filecoin_proofs::constants::{
    WINDOW_POST_CHALLENGE_COUNT, WINDOW_POST_SECTOR_COUNT, WINNING_POST_CHALLENGE_COUNT, WINNING_POST_SECTOR_COUNT,
};
use filecoin_proofs::types::{PoRepConfig, PoStConfig, SectorSize};
use filecoin_proofs::{PoStType, SectorShape2KiB};
use storage_proofs_core::api_version::ApiVersion;

/// The trees of the golden sectors.
pub type Tree = SectorShape2KiB;

/// Seal proof v1_1.
pub fn porep(sector_bytes: u64, porep_id: [u8; 32]) -> PoRepConfig {
    PoRepConfig::new_groth16(sector_bytes, porep_id, ApiVersion::V1_1_0)
}

/// A proof of spacetime as the network makes it. `None` for a circuit that is none.
///
/// The API's version decides how challenges are numbered. The golden winning proof was made with 1.2.0, where all its
/// challenges fall on one leaf; the reference cannot even verify what it makes from a plain proof then. The network's
/// winning proofs are of 1.0.0.
pub fn post(circuit: CircuitKind, sector_bytes: u64) -> Option<PoStConfig> {
    let (typ, challenge_count, sector_count, api_version) = match circuit {
        CircuitKind::WinningPost => {
            (PoStType::Winning, WINNING_POST_CHALLENGE_COUNT, WINNING_POST_SECTOR_COUNT, ApiVersion::V1_0_0)
        }
        CircuitKind::WindowPost => {
            let counts = WINDOW_POST_SECTOR_COUNT.read().expect("no thread panicked with the table");
            (PoStType::Window, WINDOW_POST_CHALLENGE_COUNT, *counts.get(&sector_bytes)?, ApiVersion::V1_2_0)
        }
        _ => return None,
    };
    let sector_size = SectorSize(sector_bytes);
    Some(PoStConfig { sector_size, challenge_count, sector_count, typ, priority: false, api_version })
}

/// The golden proof of spacetime of a circuit.
pub fn post_vector(circuit: CircuitKind) -> Result<PostVector> {
    let kind = match circuit {
        CircuitKind::WinningPost => "winning",
        CircuitKind::WindowPost => "window",
        other => bail!("no golden proof of spacetime is of circuit {other}"),
    };
    post_vectors().into_iter().find(|vector| vector.kind == kind).context("a vector of each kind")
}
