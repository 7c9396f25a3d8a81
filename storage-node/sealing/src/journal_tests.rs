use cairn_ledger::{DealId, TransactionId};
use cairn_protocol::{
    CommC, CommD, CommP, CommR, CommRLast, PaddedBytes, PieceInfo, PostRandomness, SealProof, SectorParams, SectorSize,
    Seed, Ticket,
};
use proptest::prelude::*;

use super::*;
use crate::stage::Stage;
use crate::state::{Assignment, Challenged, Failure, FailureKind, SealInputs, Sealed, SectorPiece, SectorState, Sent};
use crate::window_post::PostState;

const PROVIDER: ProviderId = ProviderId(1000);

fn assignment(pieces: Vec<SectorPiece>) -> Assignment {
    Assignment { sector: SectorNumber(3), sector_size: SectorSize::KIB2, seal_proof: SealProof::V1_1, pieces }
}

fn record(state: SectorState) -> SectorRecord {
    SectorRecord { state, ..SectorRecord::new(assignment(Vec::new()), PROVIDER.prover_id()) }
}

fn params() -> SectorParams {
    assignment(Vec::new()).params()
}

fn inputs(byte: u8) -> SealInputs {
    SealInputs { comm_d: CommD([byte; 32]), ticket: Ticket([byte; 32]), ticket_epoch: Epoch(u64::from(byte)) }
}

fn sealed(byte: u8) -> Sealed {
    Sealed {
        inputs: inputs(byte),
        comm_c: CommC([byte; 32]),
        comm_r_last: CommRLast([byte; 32]),
        comm_r: CommR([byte; 32]),
    }
}

fn sent(byte: u8) -> Sent {
    Sent { transaction: TransactionId([byte; 32]), at: Epoch(u64::from(byte)) }
}

/// The states of a sector that was never in trouble, in order.
fn walk(byte: u8) -> Vec<SectorState> {
    let (inputs, sealed) = (inputs(byte), sealed(byte));
    let challenged = Challenged { sealed, seed: Seed([byte; 32]), expires_at: Epoch(9) };
    let proof_digest = [byte; 32];
    vec![
        SectorState::Assigned,
        SectorState::PiecesAdded { comm_d: inputs.comm_d },
        SectorState::Labelled { inputs, layers_done: 0 },
        SectorState::Labelled { inputs, layers_done: 1 },
        SectorState::Labelled { inputs, layers_done: 2 },
        SectorState::TreeDBuilt { inputs },
        SectorState::TreeCBuilt { inputs, comm_c: sealed.comm_c },
        SectorState::TreesBuilt { sealed },
        SectorState::PreCommitSent { sealed, sent: sent(byte) },
        SectorState::PreCommitted { sealed, seed_epoch: Epoch(7), expires_at: Epoch(9) },
        SectorState::SeedKnown { challenged },
        SectorState::VanillaProven { challenged, proof_digest },
        SectorState::SnarkProven { challenged, proof_digest },
        SectorState::ProveCommitSent { challenged, proof_digest, sent: sent(byte) },
        SectorState::Active { sealed, activated_at: Epoch(8) },
        SectorState::Finalized { sealed, activated_at: Epoch(8) },
    ]
}

fn failed(at: SectorState, attempts: u32) -> SectorState {
    let failure = Failure {
        stage: Stage::Labels.part(1),
        kind: FailureKind::NoSpace,
        cause: "full".to_owned(),
        attempts,
        next_action: "free space".to_owned(),
    };
    SectorState::Failed { at: Box::new(at), failure }
}

fn arb_state() -> impl Strategy<Value = SectorState> {
    (any::<u8>(), 0usize..16, prop::option::of(1u32..9)).prop_map(|(byte, index, attempts)| {
        let state = walk(byte).swap_remove(index);
        attempts.map_or(state.clone(), |attempts| failed(state, attempts))
    })
}

fn arb_piece() -> impl Strategy<Value = SectorPiece> {
    (any::<[u8; 32]>(), 7u32..20, any::<u64>(), prop::option::of(any::<u64>())).prop_map(
        |(comm_p, log, bytes, deal)| SectorPiece {
            info: PieceInfo { comm_p: CommP(comm_p), size: PaddedBytes(1 << log) },
            payload_bytes: bytes,
            deal: deal.map(DealId),
        },
    )
}

proptest! {
    #[test]
    fn records_round_trip(state in arb_state(), pieces in prop::collection::vec(arb_piece(), 0..5), failures: u32) {
        let mut record = SectorRecord { failures, ..record(state) };
        record.assignment = assignment(pieces);
        record.add_timing(Stage::Labels, 17, 4096);
        record.count_repair(SectorFile::Layer(2), "flipped".to_owned());
        let bytes = encode_versioned(&record);
        prop_assert_eq!(decode_versioned::<SectorRecord>(&bytes).unwrap(), record);
    }

    #[test]
    fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_versioned::<SectorRecord>(&bytes).is_err());
        prop_assert!(decode_versioned::<PostRecord>(&bytes).is_err());
        let _ = decode_versioned::<FileDigests>(&bytes);
    }

    #[test]
    fn a_flipped_byte_never_panics(state in arb_state(), position in 0usize..4096, flip in 1u8..) {
        let mut bytes = encode_versioned(&record(state));
        let position = position % bytes.len();
        bytes[position] ^= flip;
        let _ = decode_versioned::<SectorRecord>(&bytes);
    }

    /// Whatever sequence of states is tried, those that the rule allows keep ticket and commitments, unless the whole
    /// sealing starts again.
    #[test]
    fn allowed_steps_keep_what_is_known(from in arb_state(), to in arb_state()) {
        if !from.can_become(&to, &params()) {
            return Ok(());
        }
        if to.milestone() != crate::state::Milestone::PiecesAdded {
            prop_assert!(from.inputs().is_none() || from.inputs() == to.inputs());
            prop_assert!(from.sealed().is_none() || from.sealed() == to.sealed());
        }
        if let SectorState::Failed { at, .. } = &to {
            prop_assert_eq!(&**at, from.effective());
        }
    }

    #[test]
    fn failures_come_and_go_without_losing_the_state(index in 0usize..16, byte: u8, attempts in 1u32..9) {
        let states = walk(byte);
        let (state, next) = (states[index].clone(), states.get(index + 1));
        let broken = failed(state.clone(), attempts);
        prop_assert!(state.can_become(&broken, &params()) && broken.can_become(&failed(state.clone(), attempts + 1), &params()));
        prop_assert!(broken.can_become(&state, &params()));
        prop_assert!(!broken.can_become(&failed(broken.clone(), 1), &params()));
        if let Some(next) = next {
            prop_assert!(state.can_become(next, &params()) && broken.can_become(next, &params()));
            prop_assert!(!next.can_become(&broken, &params()));
        }
    }
}

#[test]
fn the_walk_goes_forward_one_stage_at_a_time() {
    let states = walk(1);
    for (index, from) in states.iter().enumerate() {
        for (other, to) in states.iter().enumerate().skip(index + 2) {
            let ledger_was_ahead = matches!(to, SectorState::Active { .. } | SectorState::PreCommitted { .. });
            assert!(ledger_was_ahead || !from.can_become(to, &params()), "{index} to {other}");
        }
        assert_eq!(from.next_stage(&params()).is_none(), index + 1 == states.len());
    }
    let other = walk(2);
    assert!(!states[7].can_become(&other[8], &params()), "commitments cannot change");
    assert!(states[8].can_become(&states[1], &params()), "an expired ticket starts over");
    assert!(!states[9].can_become(&states[1], &params()), "what is on the ledger stays");
}

#[test]
fn a_state_and_its_digests_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let file = dir.path().join("layer");
    std::fs::write(&file, [7; 100]).unwrap();
    let workers = cairn_compute::Workers::new(1).unwrap();
    let digests = FileDigests::of_file(&file, &workers).unwrap();
    let key = PostKey { closes_at: Epoch(70), deadline: 4, partition: 1 };
    let post = PostRecord {
        randomness: PostRandomness([1; 32]),
        sectors: vec![SectorNumber(3)],
        proof_digest: [2; 32],
        state: PostState::Sent { sent: sent(4), times: 1 },
    };
    {
        let journal = Journal::open(&path, PROVIDER).unwrap();
        journal.write_sector(&record(SectorState::Assigned), &[]).unwrap();
        let next = record(SectorState::PiecesAdded { comm_d: CommD([1; 32]) });
        journal.write_sector(&next, &[(SectorFile::Staged, digests.clone())]).unwrap();
        journal.write_post(&key, &post).unwrap();
    }
    let journal = Journal::open(&path, PROVIDER).unwrap();
    let found = journal.sectors().unwrap();
    assert_eq!(found, [record(SectorState::PiecesAdded { comm_d: CommD([1; 32]) })]);
    assert_eq!(journal.digests(SectorNumber(3), SectorFile::Staged).unwrap(), Some(digests));
    assert_eq!(journal.digests(SectorNumber(3), SectorFile::TreeD).unwrap(), None);
    assert_eq!(journal.first_post().unwrap(), Some((key, post.clone())));
    journal.forget_posts_before(Epoch(70)).unwrap();
    assert_eq!(journal.posts().unwrap(), [(key, post)]);
    journal.forget_posts_before(Epoch(71)).unwrap();
    assert_eq!(journal.post(&key).unwrap(), None);
}

#[test]
#[should_panic(expected = "cannot go from")]
fn a_state_that_cannot_follow_is_our_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), PROVIDER).unwrap();
    journal.write_sector(&record(SectorState::Assigned), &[]).unwrap();
    let _ = journal.write_sector(&record(SectorState::TreesBuilt { sealed: sealed(1) }), &[]);
}

fn open_error(path: &Path, provider: ProviderId) -> JournalError {
    match Journal::open(path, provider) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[test]
fn folders_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("letter.txt"), "hello").unwrap();
    let error = open_error(&path, PROVIDER);
    assert!(matches!(&error, JournalError::NotAJournal { found, .. } if found.contains("letter.txt")), "{error}");

    let path = dir.path().join("other");
    let mut options = Options::default();
    options.create_if_missing(true);
    DB::open(&options, &path).unwrap().put(b"key", b"value").unwrap();
    let error = open_error(&path, PROVIDER);
    assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
}

#[test]
fn version_provider_and_use_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), PROVIDER).unwrap();
    let error = open_error(dir.path(), PROVIDER);
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    let later = encode(&Format(MAGIC.to_owned(), JOURNAL_VERSION + 1, PROVIDER));
    drop(journal);
    let error = open_error(dir.path(), ProviderId(1001));
    assert!(matches!(error, JournalError::Provider { expected: ProviderId(1001), got: PROVIDER, .. }), "{error}");
    let journal = Journal::open(dir.path(), PROVIDER).unwrap();
    journal.database.put(KEY_FORMAT, later).unwrap();
    drop(journal);
    let error = open_error(dir.path(), PROVIDER);
    assert!(matches!(error, JournalError::Version { expected: 2, got: 3, .. }), "{error}");
    assert!(error.to_string().ends_with("use a newer program"), "{error}");
}

/// Journals of the time before SNARKs are told apart from damage.
#[test]
fn a_journal_of_plain_proofs_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), PROVIDER).unwrap();
    journal.database.put(KEY_FORMAT, encode(&Format(MAGIC.to_owned(), 1, PROVIDER))).unwrap();
    drop(journal);
    let error = open_error(dir.path(), PROVIDER).to_string();
    let expected =
        "journal version 1, this program reads version 2; its ledger took plain proofs: start a new provider";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_damaged_entry_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), PROVIDER).unwrap();
    journal.database.put_cf(journal.family(CF_SECTORS), 3u64.to_be_bytes(), b"junk").unwrap();
    let error = journal.sector(SectorNumber(3)).unwrap_err().to_string();
    assert!(error.contains("sectors/0000000000000003"), "{error}");
    let other_version = encode(&(JOURNAL_VERSION + 1, record(SectorState::Assigned)));
    journal.database.put_cf(journal.family(CF_SECTORS), 3u64.to_be_bytes(), other_version).unwrap();
    assert!(journal.sector(SectorNumber(3)).unwrap_err().to_string().contains("expected version 2, got 3"));
}
