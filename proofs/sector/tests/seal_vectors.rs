//! Whole seals against the reference implementation: every commitment and the digest of every file.

mod common;

use std::fs;

use cairn_compute::Workers;
use cairn_fixtures::PorepVector;
use cairn_protocol::{CommD, SealProof, SectorNumber, SectorSize, Ticket};
use cairn_sector::seal::{self, PieceSource};
use cairn_sector::unseal::unseal_range;
use cairn_sector::{SectorFiles, SectorIdentity, pieces};
use common::{identity, payloads};
use sha2::{Digest, Sha256};

fn sha256_of(path: &std::path::Path) -> [u8; 32] {
    Sha256::digest(fs::read(path).unwrap()).into()
}

fn seal_and_compare(vector: &PorepVector) {
    let what = vector.file_name;
    let identity = identity(vector);
    assert_eq!(identity.seal_proof.porep_id(identity.sector_size), identity.porep_id, "{what}");
    let dir = tempfile::tempdir().unwrap();
    let files = SectorFiles::new(dir.path());
    let workers = Workers::new(2).unwrap();
    let payloads = payloads(vector);
    let mut readers: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let mut sources: Vec<PieceSource<'_>> =
        readers.iter_mut().map(|reader| PieceSource { payload_bytes: reader.len() as u64, reader }).collect();
    let infos = seal::add_pieces(&files, identity.sector_size, &mut sources, &|_, _| {}).unwrap();
    for (info, piece) in infos.iter().zip(&vector.pieces) {
        assert_eq!(info.comm_p.0, piece.comm_p, "{what}");
    }
    assert_eq!(sha256_of(&files.staged()), vector.staged_sha256, "{what}");
    assert_eq!(pieces::comm_d(identity.sector_size, &infos).unwrap().0, vector.comm_d, "{what}");

    let sealed = seal::seal(&files, &identity, &workers, &|_, _, _| {}).unwrap();
    assert_eq!(sealed.comm_d.0, vector.comm_d, "{what}");
    assert_eq!(identity.replica_id(&sealed.comm_d).0, vector.replica_id, "{what}");
    for file in &vector.cache_files {
        let path = files.cache_dir().join(&file.file);
        assert_eq!(fs::metadata(&path).unwrap_or_else(|e| panic!("{what} {}: {e}", file.file)).len(), file.bytes);
        assert_eq!(sha256_of(&path), file.sha256, "{what}, {}", file.file);
    }
    assert_eq!(sealed.comm_c.0, vector.comm_c, "{what}");
    assert_eq!(sealed.comm_r_last.0, vector.comm_r_last, "{what}");
    assert_eq!(sealed.comm_r.0, vector.comm_r, "{what}");
    assert_eq!(sha256_of(&files.sealed()), vector.sealed_sha256, "{what}");
    assert_eq!(fs::read(files.p_aux()).unwrap(), [vector.comm_c, vector.comm_r_last].concat(), "{what}");

    unseal_and_compare(&files, &identity, &sealed.comm_d, &payloads.concat(), &workers);
}

/// Ranges at the edges of quads and of the sector, with the last layer and without any.
fn unseal_and_compare(files: &SectorFiles, identity: &SectorIdentity, comm_d: &CommD, data: &[u8], workers: &Workers) {
    let end = data.len() as u64;
    let read = |offset: u64, length: u64| {
        let mut out = vec![];
        unseal_range(files, identity, comm_d, offset, length, &mut out, workers, &|_, _| {}).map(|()| out)
    };
    assert!(read(0, end).unwrap() == data);
    fs::remove_file(files.layer(identity.params().layers)).unwrap();
    for (offset, length) in [(0, 1), (126, 2), (127, 127), (end - 1, 1), (end, 0), (300, 1000)] {
        assert_eq!(read(offset, length).unwrap(), data[offset as usize..(offset + length) as usize]);
    }
    assert!(read(end, 1).is_err() && read(u64::MAX, 2).is_err());
}

#[test]
fn every_small_vector() {
    for vector in cairn_fixtures::porep_vectors().iter().filter(|vector| vector.sector_size <= 32 << 10) {
        seal_and_compare(vector);
    }
}

#[test]
fn eight_mib() {
    seal_and_compare(&cairn_fixtures::porep_vector("8MiB-v1_1-fixture-b.json"));
}

/// A full seal that Lotus published in the help of its own benchmark: another source than the reference's files
/// (`spec/proofs.md` 4.2 A). Committed capacity: no pieces at all.
#[test]
fn the_seal_that_lotus_published() {
    let identity = SectorIdentity {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        porep_id: SealProof::V1_1.porep_id(SectorSize::KIB2),
        prover_id: cairn_protocol::ProviderId(1000).prover_id(),
        sector_number: SectorNumber(1),
        ticket: Ticket([0; 32]),
    };
    let dir = tempfile::tempdir().unwrap();
    let files = SectorFiles::new(dir.path());
    seal::add_pieces(&files, identity.sector_size, &mut [], &|_, _| {}).unwrap();
    let sealed = seal::seal(&files, &identity, &Workers::new(1).unwrap(), &|_, _, _| {}).unwrap();
    let text = |value: &dyn ToString| value.to_string();
    assert_eq!(
        text(&identity.replica_id(&sealed.comm_d)),
        "2940faa406e4c6cbad015e2b08e76fd9e3b0e5b852cea7f8174c02ba33039a01"
    );
    assert_eq!(text(&sealed.comm_c), "95dd0e3fd2b1226dfcff24b2c337b96a965aebea8fa2c3ed1a0470582191de0b");
    assert_eq!(text(&sealed.comm_r_last), "d75cfa6d30ece5e2d0354a1f855d7fb128e42e84a16a133278fd9ea8b72a8f15");
    assert_eq!(text(&sealed.comm_r), "c647b998c78282296cfd1160714228d43f3b054dfbbb77172b68115ba3c3b762");
    assert_eq!(
        text(&cairn_protocol::sealed_cid(&sealed.comm_r)),
        "bagboea4b5abcbrshxgmmpaucffwp2elaofbcrvb7hmcu3653o4lsw2arlor4hn3c"
    );
}
