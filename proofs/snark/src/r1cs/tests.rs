//! Matrices are what was recorded, whole or refused.

use std::fs;

use cairn_fixtures::r1cs_vectors;
use cairn_protocol::SectorSize;
use proptest::prelude::*;

use super::codec::{RowReader, RowWriter};
use super::*;
use crate::circuit::CircuitKind;

const WINDOW: CircuitId = CircuitId { kind: CircuitKind::WindowPost, sector_size: SectorSize::KIB2 };

fn workers() -> Workers {
    Workers::new(2).unwrap()
}

fn recorded(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let file = dir.path().join("window.r1cs");
    Matrices::record(WINDOW, &file, &workers(), &|_| {}).unwrap();
    file
}

#[test]
fn counts_are_the_reference_s() {
    let matrices = Matrices::record_in_memory(WINDOW, &workers()).unwrap();
    let vector = r1cs_vectors().into_iter().find(|vector| vector.circuit == "window-post-2048").unwrap();
    assert_eq!(matrices.num_inputs() as u64, vector.num_inputs_with_one);
    assert_eq!(matrices.num_aux() as u64, vector.num_aux);
    assert_eq!(matrices.num_constraints() as u64, vector.num_constraints);
    assert_eq!(matrices.nnz(), vector.nnz);
    let mut terms = [0u64; 3];
    for block in 0..matrices.blocks() {
        matrices.visit_block(block, |matrix, _, _, _| terms[matrix as usize] += 1).unwrap();
    }
    assert_eq!(terms, vector.nnz);
}

#[test]
fn a_file_and_memory_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(&dir);
    let memory = Matrices::record_in_memory(WINDOW, &workers()).unwrap();
    assert!(fs::read(&file).unwrap() == memory.storage.bytes());
    let opened = Matrices::open(WINDOW, &file, &workers()).unwrap();
    assert_eq!((opened.id(), opened.header), (WINDOW, memory.header));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the complete file");
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(&dir);
    let whole = fs::read(&file).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        Matrices::open(WINDOW, &file, &workers()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&whole), Ok(()));
    for place in (0..whole.len()).step_by(whole.len() / 97).chain([0, 17, 30, 60, 250, 300, whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        assert!(open(&damaged).is_err(), "byte {place}");
    }
    let mut block = whole.clone();
    block[HEADER] ^= 1;
    assert_eq!(open(&block).unwrap_err(), "recorded matrices are damaged: the checksum of block 0 does not match");
    let cut = open(&whole[..whole.len() - 1]).unwrap_err();
    assert_eq!(cut, format!("expected {} bytes of recorded matrices, got {}", whole.len(), whole.len() - 1));
    assert!(open(&whole[..100]).is_err());
    assert!(open(&[&whole[..], &[0]].concat()).is_err());
    assert!(open(b"something else, and long enough").unwrap_err().contains("begins with"));
    assert_eq!(open(&whole), Ok(()));
    let other = CircuitId { sector_size: SectorSize::MIB8, ..WINDOW };
    let error = Matrices::open(other, &file, &workers()).unwrap_err();
    assert!(error.to_string().contains("window-post-8MiB"), "{error}");
}

/// Bytes of the header: the first block follows.
const HEADER: usize = file::HEADER_BYTES;

/// A row in canonical form, of few inputs and any auxiliary variables.
fn arb_row() -> impl Strategy<Value = Vec<(Column, u32)>> {
    let inputs = proptest::collection::btree_map(0u64..50, any::<u32>(), 0..4);
    let aux = proptest::collection::btree_map(0u64..1 << 40, any::<u32>(), 0..20);
    (inputs, aux).prop_map(|(inputs, aux)| {
        let inputs = inputs.into_iter().map(|(index, coefficient)| (Column::input(index), coefficient));
        inputs.chain(aux.into_iter().map(|(index, coefficient)| (Column::aux(index), coefficient))).collect()
    })
}

proptest! {
    #[test]
    fn rows_round_trip(rows in proptest::collection::vec(arb_row(), 0..20)) {
        let mut writer = RowWriter::default();
        rows.iter().for_each(|row| writer.write(row));
        let block = writer.take();
        let mut reader = RowReader::new(&block);
        for row in &rows {
            let mut read = vec![];
            reader.read(|column, coefficient| { read.push((column, coefficient)); Some(()) }).unwrap();
            prop_assert_eq!(&read, row);
        }
        prop_assert!(reader.is_at_end());
    }

    #[test]
    fn foreign_rows_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = RowReader::new(&bytes);
        for _ in 0..100 {
            let mut terms = 0;
            let read = reader.read(|_, _| { terms += 1; (terms < 10_000).then_some(()) });
            if read.is_none() {
                break;
            }
        }
    }
}
