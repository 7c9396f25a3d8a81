//! What the tests against golden data share: sealing a vector, and changing every field of a proof.

#![allow(dead_code)] // each test file uses its part

use cairn_compute::Workers;
use cairn_fixtures::PorepVector;
use cairn_protocol::{CommD, CommR, PorepId, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket};
use cairn_sector::porep::PorepStatement;
use cairn_sector::seal::{self, PieceSource};
use cairn_sector::{SectorFiles, SectorIdentity};
use serde_json::Value;
use tempfile::TempDir;

pub fn identity(vector: &PorepVector) -> SectorIdentity {
    SectorIdentity {
        sector_size: SectorSize::from_bytes(vector.sector_size).unwrap(),
        seal_proof: vector.proof_variant.parse::<SealProof>().unwrap(),
        porep_id: PorepId(vector.porep_id),
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
    }
}

pub fn statement(vector: &PorepVector) -> PorepStatement {
    PorepStatement {
        identity: identity(vector),
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
        seed: Seed(vector.interactive_seed),
    }
}

pub fn payloads(vector: &PorepVector) -> Vec<Vec<u8>> {
    let data =
        |piece: &cairn_fixtures::PorepPiece| cairn_fixtures::labelled_data(&piece.label, piece.unpadded_bytes as usize);
    vector.pieces.iter().map(data).collect()
}

/// Seals the vector's sector in a folder of its own.
pub fn seal_vector(vector: &PorepVector) -> (TempDir, SectorFiles) {
    let identity = identity(vector);
    let dir = tempfile::tempdir().unwrap();
    let files = SectorFiles::new(dir.path());
    let payloads = payloads(vector);
    let mut readers: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let mut sources: Vec<PieceSource<'_>> =
        readers.iter_mut().map(|reader| PieceSource { payload_bytes: reader.len() as u64, reader }).collect();
    seal::add_pieces(&files, identity.sector_size, &mut sources, &|_, _| {}).unwrap();
    seal::seal(&files, &identity, &Workers::new(2).unwrap(), &|_, _, _| {}).unwrap();
    (dir, files)
}

/// A proof with one field changed, and where.
pub struct Change {
    pub path: String,
    pub value: Value,
}

/// Every proof that differs from `proof` in one field: a bit of every hash, every number by one, every list shorter by
/// one. Null is the reference's marker and carries nothing.
pub fn changes(proof: &Value) -> Vec<Change> {
    let mut pointers = vec![];
    collect(proof, String::new(), &mut pointers);
    pointers
        .into_iter()
        .map(|path| {
            let mut value = proof.clone();
            change(value.pointer_mut(&path).unwrap());
            Change { path, value }
        })
        .collect()
}

fn collect(value: &Value, path: String, pointers: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            pointers.push(path.clone());
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{path}/{index}"), pointers));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| collect(field, format!("{path}/{name}"), pointers))
        }
        Value::String(_) | Value::Number(_) => pointers.push(path),
        Value::Null | Value::Bool(_) => {}
    }
}

fn change(value: &mut Value) {
    match value {
        Value::Array(items) => drop(items.pop()),
        Value::Number(number) => *value = Value::from(number.as_u64().unwrap() + 1),
        Value::String(text) => {
            let mut bytes = hex::decode(&*text).unwrap();
            bytes[5] ^= 1;
            *text = hex::encode(bytes);
        }
        other => panic!("{other} has nothing to change"),
    }
}
