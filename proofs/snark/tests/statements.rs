//! Statements in, bytes out, verdicts: what the network uses, on the golden statements and with the reference's keys.

mod common;
mod groth16_common;

use cairn_fixtures::{groth16_dir, porep_snark_vectors, post_vectors};
use cairn_protocol::{CommR, SectorNumber, SectorSize};
use cairn_sector::post::{ChallengeNumbering, PostKind, PostStatement};
use cairn_snark::engine::Engine;
use cairn_snark::groth16::{Blinding, Circuit, FileKind, KeyStore, Secrets, Trust};
use cairn_snark::proving::{
    CircuitProver, OpenError, StatementProveError, development_params_bytes, make_development_params,
};
use cairn_snark::verifying::{Claim, StatementRejection, Verifier};
use common::{post_statement, posts};
use groth16_common::*;

use ChallengeNumbering::{AcrossSectors, WithinSector};

fn verifier() -> Verifier {
    Verifier::open(&store(), [POREP, WINDOW, WINNING], &workers()).unwrap()
}

fn blinding() -> impl FnMut() -> Blinding {
    let mut next = 0;
    move || {
        next += 1;
        Blinding::from_bytes(&[next; 128])
    }
}

/// The golden proofs with their statements, as claims in one list.
struct Golden {
    poreps: Vec<(cairn_sector::porep::PorepStatement, Vec<u8>)>,
    posts: Vec<(PostStatement, Vec<u8>)>,
}

impl Golden {
    fn read() -> Self {
        let poreps = porep_snark_vectors().into_iter().map(|vector| (porep_statement(&vector), vector.proof));
        let posts = post_vectors().into_iter().map(|vector| (post_statement(&vector), vector.proof.clone()));
        Self { poreps: poreps.collect(), posts: posts.collect() }
    }

    fn claims(&self) -> Vec<Claim<'_>> {
        let poreps = self.poreps.iter().map(|(statement, proof)| Claim::Porep { statement, proof });
        let posts =
            self.posts.iter().map(|(statement, proof)| Claim::Post { statement, numbering: WithinSector, proof });
        poreps.chain(posts).collect()
    }
}

#[test]
fn golden_claims_hold_alone_and_together() {
    let (golden, verifier) = (Golden::read(), verifier());
    let claims = golden.claims();
    assert_eq!(claims.len(), 7);
    assert!(claims.iter().all(|claim| verifier.verify(claim) == Ok(())));
    assert_eq!(verifier.verify_batch(&claims, [1; 32], &workers()), vec![Ok(()); 7]);
    assert_eq!(verifier.verify_batch(&[], [1; 32], &workers()), vec![]);
}

/// Every kind of bad claim among good ones is named with the verdict that it gets alone.
#[test]
fn bad_claims_in_a_batch_get_their_own_verdicts() {
    let (mut golden, verifier) = (Golden::read(), verifier());
    golden.poreps[1].0.seed.0[0] ^= 1;
    golden.poreps[2].1.pop();
    golden.poreps[3].0.identity.sector_size = SectorSize::MIB8;
    golden.posts[1].0.sectors[1].comm_r = CommR([0xff; 32]);
    let claims = golden.claims();
    let verdicts = verifier.verify_batch(&claims, [1; 32], &workers());
    for (claim, verdict) in claims.iter().zip(&verdicts) {
        assert_eq!(&verifier.verify(claim), verdict);
    }
    let texts: Vec<String> =
        verdicts.iter().map(|verdict| verdict.as_ref().map_or_else(ToString::to_string, |()| "ok".into())).collect();
    assert_eq!(texts[0], "ok");
    assert!(texts[1].starts_with("proof 0: expected e(A, B)"), "{}", texts[1]);
    assert_eq!(texts[2], "expected 192 bytes of proof (1 of 192), got 191");
    assert_eq!(texts[3], "there is no verifying key for porep 8MiB");
    assert_eq!((&texts[4][..], &texts[5][..]), ("ok", "ok"));
    assert!(texts[6].starts_with("proof 0: public input 11: "), "{}", texts[6]);
    let none = PostStatement { sectors: vec![], ..golden.posts[1].0.clone() };
    let claim = Claim::Post { statement: &none, numbering: WithinSector, proof: &[] };
    assert_eq!(verifier.verify(&claim), Err(StatementRejection::NoSectors));
}

/// A window proof by the reference's parameters: made, accepted, and not for another statement.
#[test]
fn a_window_statement_is_proven_and_verified() {
    let cache = tempfile::tempdir().unwrap();
    let store = KeyStore::new(groth16_dir(), cache.path(), Trust::Development);
    let open = |engine| CircuitProver::open(&store, WINDOW, engine, &workers(), &|_, _| {}).unwrap();
    let (statement, plain) = posts().remove(1);
    let prove = |prover: &CircuitProver| {
        prover.prove_post(&statement, &plain, WithinSector, &mut blinding(), &workers()).unwrap()
    };
    let proof = prove(&open(Engine::Auto));
    assert_eq!(prove(&open(Engine::Ark)), proof, "engines differ in speed alone; the second opens what the first made");
    let claim = Claim::Post { statement: &statement, numbering: WithinSector, proof: &proof };
    assert_eq!(verifier().verify(&claim), Ok(()));
    let mut other = statement.clone();
    other.randomness.0[0] ^= 1;
    let claim = Claim::Post { statement: &other, numbering: WithinSector, proof: &proof };
    assert!(verifier().verify(&claim).is_err());

    // Matrices that are damaged are recorded again.
    let file = store.matrices_path(WINDOW);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let prover = open(Engine::Cpu);
    assert_eq!(prove(&prover), proof);

    let (winning, plain) = posts().remove(0);
    let error = prover.prove_post(&winning, &plain, AcrossSectors, &mut blinding(), &workers()).unwrap_err();
    assert_eq!(error.to_string(), "this prover is for window-post 2KiB, got a statement for winning-post 2KiB");
    let error = prover.prove_post(&statement, &plain, WithinSector, &mut blinding(), &workers()).unwrap_err();
    assert!(matches!(error, StatementProveError::Post(_)), "{error}");
}

/// Winning proofs of both numberings, with parameters of our own; one numbering's proof is not the other's.
#[test]
fn a_winning_statement_is_proven_in_both_numberings() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path(), folder.path(), Trust::Development);
    let secrets = Secrets::from_bytes(&std::array::from_fn(|index| (index * 5 + 3) as u8));
    let expected = development_params_bytes(&store, WINNING, &workers()).unwrap();
    make_development_params(&store, WINNING, secrets, &workers(), &|_, _| {}).unwrap();
    let bytes = |kind| std::fs::metadata(store.path(WINNING, kind)).unwrap().len();
    assert_eq!(bytes(FileKind::Params) + bytes(FileKind::VerifyingKey), expected);
    let prover = CircuitProver::open(&store, WINNING, Engine::Auto, &workers(), &|_, _| {}).unwrap();
    let verifier = Verifier::open(&store, [WINNING], &workers()).unwrap();
    let (statement, plain) = posts().remove(0);
    assert_eq!(statement.kind, PostKind::Winning);
    for numbering in [WithinSector, AcrossSectors] {
        let proof = prover.prove_post(&statement, &plain, numbering, &mut blinding(), &workers()).unwrap();
        for verified in [WithinSector, AcrossSectors] {
            let claim = Claim::Post { statement: &statement, numbering: verified, proof: &proof };
            assert_eq!(verifier.verify(&claim).is_ok(), verified == numbering, "{numbering:?} as {verified:?}");
        }
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path(), folder.path(), Trust::Development);
    let open = |circuit| CircuitProver::open(&store, circuit, Engine::Auto, &workers(), &|_, _| {}).err().unwrap();
    let missing = open(WINDOW).to_string();
    assert!(missing.starts_with("cannot open ") && missing.contains(".params: "), "{missing}");
    let poseidon = Circuit::UpdatePoseidon(SectorSize::KIB2);
    assert!(matches!(open(poseidon), OpenError::NoCircuit(circuit) if circuit == poseidon));
}

#[test]
fn sectors_are_cut_into_partitions_in_their_order() {
    let (mut statement, _) = posts().remove(1);
    statement.sectors = (0..5)
        .map(|number| cairn_sector::post::PostSector {
            sector_number: SectorNumber(number),
            comm_r: CommR([number as u8; 32]),
        })
        .collect();
    let parts = statement.partitions();
    assert_eq!(parts.iter().map(|part| part.sectors.len()).collect::<Vec<_>>(), [2, 2, 1]);
    let joined: Vec<_> = parts.into_iter().flat_map(|part| part.sectors).collect();
    assert_eq!(joined, statement.sectors);
    statement.sectors.clear();
    assert_eq!(statement.partitions(), vec![]);
}
