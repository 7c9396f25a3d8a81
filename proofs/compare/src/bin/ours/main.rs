//! Our side of the comparison. See the library.

mod keys;
mod prove;
mod statements;
mod verify;

use std::time::Instant;

use anyhow::{Context, Result};
use cairn_compare::side::{self, Side, Work};
use cairn_compare::task::{ConstraintSystemDigest, Folders, SECTOR_SIZE};
use cairn_compute::Workers;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::{Circuit, KeyStore, Trust};
use cairn_snark::{CircuitId, CircuitKind};

fn main() -> Result<()> {
    side::run(|folders: Folders| {
        let store = KeyStore::new(folders.params, folders.cache, Trust::Development);
        Ok(Ours { store, workers: Workers::new(0).context("start threads")? })
    })
}

/// Our crates, with keys in one folder and all cores.
struct Ours {
    store: KeyStore,
    workers: Workers,
}

impl Side for Ours {
    fn setup(&self, circuit: CircuitKind) -> Result<Work> {
        keys::setup(self, key_of(circuit))
    }

    fn prepare(&self, circuit: CircuitKind) -> Result<Work> {
        keys::prepare(self, key_of(circuit))
    }

    fn prove(&self, circuit: CircuitKind) -> Result<Work> {
        prove::prove(self, key_of(circuit))
    }

    fn witness(&self) -> Result<Work> {
        prove::witness(self)
    }

    fn verify(&self, circuit: CircuitKind, proof: &[u8]) -> Result<Work> {
        verify::one(self, key_of(circuit), proof)
    }

    fn verify_many(&self) -> Result<Work> {
        verify::many(self)
    }

    fn digest(&self, circuit: CircuitKind, size: SectorSize) -> Result<Work> {
        let start = Instant::now();
        let info = CircuitId { kind: circuit, sector_size: size }.info()?;
        let digest = ConstraintSystemDigest {
            num_inputs_with_one: info.num_inputs_with_one,
            num_aux: info.num_aux,
            num_constraints: info.num_constraints,
            nnz: info.nnz,
            r1cs_sha256: info.r1cs_sha256,
        };
        Ok(Work { digest: Some(digest), ..Work::since(start) })
    }
}

fn key_of(circuit: CircuitKind) -> Circuit {
    CircuitId { kind: circuit, sector_size: SECTOR_SIZE }.into()
}
