//! Our circuits are the reference's at every sector size, also where only the digest of the whole is kept.

use cairn_fixtures::r1cs_other_sizes;
use cairn_protocol::SectorSize;
use cairn_snark::{CircuitId, CircuitKind};

/// Compares all circuits of the wanted kinds and sizes; gives how many.
fn compare(wanted: impl Fn(CircuitId) -> bool) -> usize {
    let mut compared = 0;
    for expected in r1cs_other_sizes() {
        let (kind, bytes) = expected.circuit.rsplit_once('-').unwrap();
        let id = CircuitId {
            kind: kind.parse().unwrap(),
            sector_size: SectorSize::from_bytes(bytes.parse().unwrap()).unwrap(),
        };
        if !wanted(id) {
            continue;
        }
        let info = id.info().unwrap();
        assert_eq!(info.num_inputs_with_one, expected.num_inputs_with_one, "{id}: inputs");
        assert_eq!(info.num_aux, expected.num_aux, "{id}: auxiliary variables");
        assert_eq!(info.num_constraints, expected.num_constraints, "{id}: constraints");
        assert_eq!(info.nnz, expected.nnz, "{id}: terms");
        assert_eq!(info.r1cs_sha256, expected.r1cs_sha256, "{id}: digest");
        compared += 1;
    }
    compared
}

fn is_post(kind: CircuitKind) -> bool {
    matches!(kind, CircuitKind::WinningPost | CircuitKind::WindowPost)
}

#[test]
fn post_circuits() {
    assert_eq!(compare(|id| is_post(id.kind) && id.sector_size < SectorSize::GIB32), 12);
}

#[test]
fn update_circuit_of_4_kib() {
    assert_eq!(compare(|id| id.kind == CircuitKind::Update && id.sector_size == SectorSize::KIB4), 1);
}

#[test]
#[ignore = "slow: 3 circuits of 4 million constraints"]
fn porep_circuits() {
    assert_eq!(compare(|id| id.kind == CircuitKind::Porep && id.sector_size < SectorSize::GIB32), 3);
}

#[test]
#[ignore = "slow: up to 58 million constraints, a minute each"]
fn update_circuits() {
    let sizes = SectorSize::KIB32..SectorSize::GIB32;
    assert_eq!(compare(|id| id.kind == CircuitKind::Update && sizes.contains(&id.sector_size)), 3);
}

#[test]
#[ignore = "slow: 80 to 131 million constraints, minutes each"]
fn circuits_of_32_and_64_gib() {
    assert_eq!(compare(|id| id.sector_size >= SectorSize::GIB32), 3);
}
