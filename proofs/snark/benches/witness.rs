//! What a proof costs before the prover: witness and sparse product of the 2 KiB PoRep, and recording its matrices.
//!
//! The bound: 2.69 million values of 32 bytes are 86 MB to write; 14.9 million terms are as many additions.

use std::time::Instant;

use cairn_compute::Workers;
use cairn_protocol::{CommD, CommR, PorepId, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::PorepStatement;
use cairn_snark::circuit::PorepCircuit;
use cairn_snark::r1cs::Matrices;
use cairn_snark::{CircuitId, CircuitKind, assign};

const RUNS: usize = 5;

fn main() {
    let vector = cairn_fixtures::porep_vector("2KiB-v1_1-fixture-a.json");
    let identity = SectorIdentity {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        porep_id: PorepId(vector.porep_id),
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
    };
    let statement = PorepStatement {
        identity,
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
        seed: Seed(vector.interactive_seed),
    };
    let proof = serde_json::from_value(vector.vanilla_proofs.unwrap()).unwrap();
    let id = CircuitId { kind: CircuitKind::Porep, sector_size: SectorSize::KIB2 };
    for threads in [1, 2] {
        let workers = Workers::new(threads).unwrap();
        let start = Instant::now();
        let matrices = Matrices::record_in_memory(id, &workers).unwrap();
        println!(
            "r1cs::record/circuit={id} threads={threads}: {:.3?}, {} bytes",
            start.elapsed(),
            matrices.stored_bytes()
        );
        for _ in 0..RUNS {
            let start = Instant::now();
            let circuit = &PorepCircuit::of_proof(&statement, &proof).unwrap()[0];
            let assignment = assign(circuit, &workers).unwrap();
            let witness = start.elapsed();
            let start = Instant::now();
            let evaluations = matrices.evaluate(&assignment, &workers).unwrap();
            let product = start.elapsed();
            assert_eq!(evaluations.a.len(), matrices.num_constraints() + matrices.num_inputs());
            println!("witness::assign/circuit={id} threads={threads}: {witness:.3?}; r1cs::evaluate: {product:.3?}");
        }
    }
}
