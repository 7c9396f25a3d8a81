//! Which file belongs to which circuit (`spec/proofs.md` 1.12).
//!
//! A name says the tree shape in the open and everything else by the SHA-256 of an *identifier*, one line of text with
//! all parameters of the circuit: `v28-` PREFIX `-` TREE \[`-sha256_hasher`\] `-` HEX `.params`, `.vk` or `.meta`.
//!
//! A circuit does not depend on how a sector is sealed beyond the number of its challenges: all four seal proofs of a
//! size use the same PoRep circuit, hence the same files.

use std::fmt;

use cairn_protocol::params::{DEGREE, EXPANDER_DEGREE, WINDOW_POST_CHALLENGES, WINNING_POST_CHALLENGES};
use cairn_protocol::{SealProof, SectorParams, SectorSize};
use sha2::{Digest, Sha256};

use crate::circuit::{CircuitId, CircuitKind};

/// Version of the parameters; the first part of every name.
const VERSION: &str = "v28";

/// A circuit that has parameters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Circuit {
    /// One partition of a proof of replication.
    Porep(SectorSize),
    /// A winning proof of spacetime.
    WinningPost(SectorSize),
    /// One partition of a window proof of spacetime.
    WindowPost(SectorSize),
    /// One partition of a sector update.
    Update(SectorSize),
    /// The variant of a sector update that hashes data with Poseidon.
    UpdatePoseidon(SectorSize),
}

/// Which of a circuit's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Proving and verifying key.
    Params,
    /// Verifying key.
    VerifyingKey,
    /// The sector size, as JSON.
    Meta,
}

impl FileKind {
    /// The extension, without dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::VerifyingKey => "vk",
            Self::Meta => "meta",
        }
    }
}

impl Circuit {
    /// Size of the sectors that it is about.
    pub const fn sector_size(self) -> SectorSize {
        match self {
            Self::Porep(size)
            | Self::WinningPost(size)
            | Self::WindowPost(size)
            | Self::Update(size)
            | Self::UpdatePoseidon(size) => size,
        }
    }

    /// The line of text that names all parameters of the circuit.
    pub fn identifier(self) -> String {
        let params = self.params();
        let bytes = params.sector_size.bytes();
        match self {
            Self::Porep(_) => format!(
                "layered_drgporep::PublicParams{{ graph: {}, challenges: LayerChallenges {{ layers: {}, max_count: {} }}, tree: {} }}",
                graph_identifier(params.nodes()),
                params.layers,
                params.challenges_per_partition,
                tree_name(&params)
            ),
            Self::WinningPost(_) => post_identifier(bytes, 1, WINNING_POST_CHALLENGES),
            Self::WindowPost(_) => post_identifier(bytes, WINDOW_POST_CHALLENGES, params.window_sectors_per_partition),
            Self::Update(_) | Self::UpdatePoseidon(_) => {
                format!("empty_sector_update::PublicParams{{ sector_nodes: {} }}", params.nodes())
            }
        }
    }

    /// The name of a file without its extension.
    pub fn file_stem(self) -> String {
        let tree = tree_name(&self.params());
        let prefix = match self {
            Self::Porep(_) => format!("stacked-proof-of-replication-{tree}-sha256_hasher"),
            Self::WinningPost(_) | Self::WindowPost(_) => format!("proof-of-spacetime-fallback-{tree}"),
            Self::Update(_) => format!("empty-sector-update-{tree}"),
            Self::UpdatePoseidon(_) => format!("empty-sector-update-poseidon-{tree}"),
        };
        format!("{VERSION}-{prefix}-{}", hex::encode(Sha256::digest(self.identifier())))
    }

    /// The name of a file.
    pub fn file_name(self, kind: FileKind) -> String {
        format!("{}.{}", self.file_stem(), kind.extension())
    }

    /// All circuits of all sector sizes.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = [Self::Porep, Self::WinningPost, Self::WindowPost, Self::Update, Self::UpdatePoseidon];
        SectorSize::ALL.into_iter().flat_map(move |size| kinds.map(|kind| kind(size)))
    }

    /// The circuit that these files belong to, where it exists here. Filecoin published files for a variant of the
    /// sector update that its network does not use.
    pub const fn id(self) -> Option<CircuitId> {
        let (kind, sector_size) = match self {
            Self::Porep(size) => (CircuitKind::Porep, size),
            Self::WinningPost(size) => (CircuitKind::WinningPost, size),
            Self::WindowPost(size) => (CircuitKind::WindowPost, size),
            Self::Update(size) => (CircuitKind::Update, size),
            Self::UpdatePoseidon(_) => return None,
        };
        Some(CircuitId { kind, sector_size })
    }

    /// No parameter of a circuit depends on the seal proof; see the module.
    fn params(self) -> SectorParams {
        SectorParams::new(self.sector_size(), SealProof::V1_1)
    }
}

impl From<CircuitId> for Circuit {
    fn from(id: CircuitId) -> Self {
        match id.kind {
            CircuitKind::Porep => Self::Porep(id.sector_size),
            CircuitKind::WinningPost => Self::WinningPost(id.sector_size),
            CircuitKind::WindowPost => Self::WindowPost(id.sector_size),
            CircuitKind::Update => Self::Update(id.sector_size),
        }
    }
}

impl fmt::Display for Circuit {
    /// `porep 2KiB`, `window-post 32GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Porep(_) => "porep",
            Self::WinningPost(_) => "winning-post",
            Self::WindowPost(_) => "window-post",
            Self::Update(_) => "update",
            Self::UpdatePoseidon(_) => "update-poseidon",
        };
        write!(f, "{name} {}", self.sector_size())
    }
}

fn tree_name(params: &SectorParams) -> String {
    let shape = params.tree_shape;
    format!("merkletree-poseidon_hasher-{}-{}-{}", shape.base, shape.sub, shape.top)
}

/// The space before the last brace is part of it.
fn graph_identifier(nodes: u64) -> String {
    format!(
        "stacked_graph::StackedGraph{{expansion_degree: {EXPANDER_DEGREE} base_graph: drgraph::BucketGraph{{size: {nodes}; degree: {}; hasher: poseidon_hasher}} }}",
        DEGREE - EXPANDER_DEGREE
    )
}

fn post_identifier(sector_bytes: u64, challenges: usize, sectors: usize) -> String {
    format!(
        "FallbackPoSt::PublicParams{{sector_size: {sector_bytes}, challenge_count: {challenges}, sector_count: {sectors}}}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::catalog;
    use super::*;

    /// Every published name comes out of these functions, for a circuit of the published sector size.
    #[test]
    fn every_published_name_is_ours() {
        let mut names = BTreeSet::new();
        for circuit in Circuit::all() {
            for kind in [FileKind::Params, FileKind::VerifyingKey] {
                let name = circuit.file_name(kind);
                if let Some(published) = catalog::published(&name) {
                    assert_eq!(published.sector_size, circuit.sector_size(), "{name}");
                    assert!(names.insert(name));
                }
            }
        }
        let published: BTreeSet<String> = catalog::names().into_iter().collect();
        assert_eq!(names, published);
        assert_eq!(names.len(), 44);
    }

    #[test]
    fn names_of_different_circuits_differ() {
        let stems: BTreeSet<String> = Circuit::all().map(Circuit::file_stem).collect();
        assert_eq!(stems.len(), Circuit::all().count());
        assert_eq!(Circuit::WindowPost(SectorSize::GIB32).to_string(), "window-post 32GiB");
    }
}
