//! The state of one sector, from assignment to the last proof.
//!
//! Invariants, which the journal enforces or the pipeline keeps:
//!
//! 1. A state holds exactly the data that exists in it: no optional field is "not known yet".
//! 2. Files come first. A state that speaks of a file is written after the file is durable under its name, in the same
//!    write as the file's digests.
//! 3. One write moves a sector from one state to the next, along [`SectorState::can_become`] and no other way.
//! 4. Ticket, seed and commitments, once written, are what every later stage and every repair must reproduce.
//! 5. A submission is written after it was handed to the ledger; the ledger itself is asked before anything is sent
//!    again. So a crash between the two sends nothing twice that counts twice.
//! 6. `Failed` keeps the state it happened in, whole: a failure never loses work. It holds no other failure.
//! 7. Files are removed only in `Active`, and only those that [`crate::Stage::Finalize`] names.
//!
//! ```text
//! Assigned -> PiecesAdded -> Labelled(0..L) -> TreeDBuilt -> TreeCBuilt -> TreesBuilt
//!                 ^                                                            |
//!                 '---------------- ticket expired ----------------------------+
//!                                                                              v
//!                     VanillaProven <- SeedKnown <- PreCommitted <- PreCommitSent
//!                           v
//!                      SnarkProven <-> ProveCommitSent -> Active -> Finalized
//! any state <-> Failed
//! ```

use cairn_ledger::{DealId, ManifestPiece, TransactionId};
use cairn_protocol::{
    CommC, CommD, CommR, CommRLast, Epoch, PieceInfo, PorepId, ProverId, SealProof, SectorNumber, SectorParams,
    SectorSize, Seed, Ticket,
};
use cairn_sector::SectorIdentity;
use serde::{Deserialize, Serialize};

use crate::file::SectorFile;
use crate::stage::{Stage, StagePart};

/// A piece with its place in the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorPiece {
    /// Commitment and padded size.
    pub info: PieceInfo,
    /// Bytes of payload; the rest of the piece is zeros.
    pub payload_bytes: u64,
    /// The deal it is stored for, if any.
    pub deal: Option<DealId>,
}

impl SectorPiece {
    /// Pieces in the ledger's words.
    pub fn manifest(pieces: &[Self]) -> Vec<ManifestPiece> {
        pieces.iter().map(|piece| ManifestPiece { piece: piece.info, deal: piece.deal }).collect()
    }
}

/// What shall be sealed: everything that is decided before the first stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// A number that the provider has not used.
    pub sector: SectorNumber,
    /// Sector size.
    pub sector_size: SectorSize,
    /// How to seal.
    pub seal_proof: SealProof,
    /// The pieces, in the order in which they are laid out; may be empty.
    pub pieces: Vec<SectorPiece>,
}

impl Assignment {
    /// Protocol parameters of size and proof.
    pub fn params(&self) -> SectorParams {
        SectorParams::new(self.sector_size, self.seal_proof)
    }

    /// The pieces as the proofs see them.
    pub fn piece_infos(&self) -> Vec<PieceInfo> {
        self.pieces.iter().map(|piece| piece.info).collect()
    }

    /// The deals in the sector, ascending, each once.
    pub fn deals(&self) -> Vec<DealId> {
        let mut deals: Vec<_> = self.pieces.iter().filter_map(|piece| piece.deal).collect();
        deals.sort_unstable();
        deals.dedup();
        deals
    }
}

/// What labelling starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealInputs {
    /// Commitment to the data.
    pub comm_d: CommD,
    /// Sealing randomness.
    pub ticket: Ticket,
    /// Epoch of the ticket.
    pub ticket_epoch: Epoch,
}

/// A sealed sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// What it was sealed from.
    pub inputs: SealInputs,
    /// Root of tree C.
    pub comm_c: CommC,
    /// Root of tree R-last.
    pub comm_r_last: CommRLast,
    /// Commitment to the replica.
    pub comm_r: CommR,
}

/// A sealed sector whose seed is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenged {
    /// The sector.
    pub sealed: Sealed,
    /// Interactive randomness.
    pub seed: Seed,
    /// First epoch that takes no prove-commit.
    pub expires_at: Epoch,
}

/// A transaction that was handed to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its name.
    pub transaction: TransactionId,
    /// The ledger's head at that moment.
    pub at: Epoch,
}

/// Where a sector stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectorState {
    /// Pieces are known; nothing is on disk.
    Assigned,
    /// The staged file is whole; every piece had its CommP.
    PiecesAdded {
        /// Commitment to the data, from the manifest.
        comm_d: CommD,
    },
    /// The ticket is drawn and this many layers are on disk.
    Labelled {
        /// What labelling started from.
        inputs: SealInputs,
        /// Layers on disk, 0 to all.
        layers_done: u32,
    },
    /// Tree D is on disk; its root was CommD.
    TreeDBuilt {
        /// What labelling started from.
        inputs: SealInputs,
    },
    /// Tree C is on disk.
    TreeCBuilt {
        /// What labelling started from.
        inputs: SealInputs,
        /// Its root.
        comm_c: CommC,
    },
    /// Replica, tree R-last and p_aux are on disk.
    TreesBuilt {
        /// All commitments.
        sealed: Sealed,
    },
    /// A pre-commit was handed to the ledger.
    PreCommitSent {
        /// All commitments.
        sealed: Sealed,
        /// The transaction.
        sent: Sent,
    },
    /// The ledger holds the pre-commit.
    PreCommitted {
        /// All commitments.
        sealed: Sealed,
        /// Epoch whose beacon becomes the seed.
        seed_epoch: Epoch,
        /// First epoch that takes no prove-commit.
        expires_at: Epoch,
    },
    /// The seed is known.
    SeedKnown {
        /// Commitments and seed.
        challenged: Challenged,
    },
    /// The plain proof is on disk and verifies.
    VanillaProven {
        /// Commitments and seed.
        challenged: Challenged,
        /// Names the proof file's content ([`crate::FileDigests::summary`]).
        #[serde(with = "cairn_protocol::bytes32::serde32")]
        proof_digest: [u8; 32],
    },
    /// The SNARK is on disk and verifies.
    SnarkProven {
        /// Commitments and seed.
        challenged: Challenged,
        /// Names the SNARK file's content.
        #[serde(with = "cairn_protocol::bytes32::serde32")]
        proof_digest: [u8; 32],
    },
    /// A prove-commit was handed to the ledger.
    ProveCommitSent {
        /// Commitments and seed.
        challenged: Challenged,
        /// Names the SNARK file's content.
        #[serde(with = "cairn_protocol::bytes32::serde32")]
        proof_digest: [u8; 32],
        /// The transaction.
        sent: Sent,
    },
    /// The ledger counts the sector as stored.
    Active {
        /// All commitments.
        sealed: Sealed,
        /// First epoch of its life.
        activated_at: Epoch,
    },
    /// Active, and only the files that later proofs need are left.
    Finalized {
        /// All commitments.
        sealed: Sealed,
        /// First epoch of its life.
        activated_at: Epoch,
    },
    /// A stage could not be done.
    Failed {
        /// The state to continue from; never itself `Failed`.
        at: Box<SectorState>,
        /// What happened and what to do.
        failure: Failure,
    },
}

/// Why a stage stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage.
    pub stage: StagePart,
    /// The kind of cause.
    pub kind: FailureKind,
    /// The cause in words: file, offset, expected, got.
    pub cause: String,
    /// Times this stage has failed in a row.
    pub attempts: u32,
    /// What an operator, or the pipeline itself, does next.
    pub next_action: String,
}

/// Kinds of causes; they decide whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// Not enough free space.
    NoSpace,
    /// The file system refused something else.
    Disk,
    /// A file is damaged and was made again as often as allowed, or cannot be made again.
    Damaged,
    /// A stage, run again on checked inputs, gave another result. The computation is not to be trusted.
    NotReproducible,
    /// The prover of SNARKs cannot work at the moment.
    ProverUnavailable,
    /// A piece cannot be had at the moment.
    PieceUnavailable,
    /// A piece's bytes are not what its CommP says.
    PieceMismatch,
    /// The ledger cannot be reached or does not answer in time.
    LedgerUnavailable,
    /// The ledger refused a transaction.
    LedgerRefused,
    /// The ledger closed the sector.
    LedgerClosed,
    /// Our own verifier refused our own proof although all inputs are intact.
    OwnProofRefused,
}

impl FailureKind {
    /// Whether the cause may go away by itself or by an operator's action outside the pipeline.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::NoSpace | Self::Disk | Self::PieceUnavailable | Self::LedgerUnavailable | Self::ProverUnavailable
        )
    }
}

/// The names of [`SectorState`], in order: what a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is described at the state of the same name")]
pub enum Milestone {
    Assigned,
    PiecesAdded,
    Labelled,
    TreeDBuilt,
    TreeCBuilt,
    TreesBuilt,
    PreCommitSent,
    PreCommitted,
    SeedKnown,
    VanillaProven,
    SnarkProven,
    ProveCommitSent,
    Active,
    Finalized,
}

impl SectorState {
    /// The state to continue from: itself, or the one a failure happened in.
    pub fn effective(&self) -> &Self {
        match self {
            Self::Failed { at, .. } => at,
            state => state,
        }
    }

    /// The failure, if the last attempt failed.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// How far the sector is, failed or not.
    pub fn milestone(&self) -> Milestone {
        match self.effective() {
            Self::Assigned | Self::Failed { .. } => Milestone::Assigned,
            Self::PiecesAdded { .. } => Milestone::PiecesAdded,
            Self::Labelled { .. } => Milestone::Labelled,
            Self::TreeDBuilt { .. } => Milestone::TreeDBuilt,
            Self::TreeCBuilt { .. } => Milestone::TreeCBuilt,
            Self::TreesBuilt { .. } => Milestone::TreesBuilt,
            Self::PreCommitSent { .. } => Milestone::PreCommitSent,
            Self::PreCommitted { .. } => Milestone::PreCommitted,
            Self::SeedKnown { .. } => Milestone::SeedKnown,
            Self::VanillaProven { .. } => Milestone::VanillaProven,
            Self::SnarkProven { .. } => Milestone::SnarkProven,
            Self::ProveCommitSent { .. } => Milestone::ProveCommitSent,
            Self::Active { .. } => Milestone::Active,
            Self::Finalized { .. } => Milestone::Finalized,
        }
    }

    /// The stage that comes next, if any is left.
    pub fn next_stage(&self, params: &SectorParams) -> Option<StagePart> {
        Some(match self.effective() {
            Self::Assigned | Self::Failed { .. } => Stage::AddPieces.whole(),
            Self::PiecesAdded { .. } => Stage::DrawTicket.whole(),
            Self::Labelled { layers_done, .. } if (*layers_done as usize) < params.layers => {
                Stage::Labels.part(layers_done + 1)
            }
            Self::Labelled { .. } => Stage::TreeD.whole(),
            Self::TreeDBuilt { .. } => Stage::TreeC.whole(),
            Self::TreeCBuilt { .. } => Stage::Replica.whole(),
            Self::TreesBuilt { .. } | Self::PreCommitSent { .. } => Stage::PreCommit.whole(),
            Self::PreCommitted { .. } => Stage::AwaitSeed.whole(),
            Self::SeedKnown { .. } => Stage::VanillaProof.whole(),
            Self::VanillaProven { .. } => Stage::Snark.whole(),
            Self::SnarkProven { .. } | Self::ProveCommitSent { .. } => Stage::ProveCommit.whole(),
            Self::Active { .. } => Stage::Finalize.whole(),
            Self::Finalized { .. } => return None,
        })
    }

    /// What labelling started from, once the ticket is drawn.
    pub fn inputs(&self) -> Option<&SealInputs> {
        match self.effective() {
            Self::Labelled { inputs, .. } | Self::TreeDBuilt { inputs } | Self::TreeCBuilt { inputs, .. } => {
                Some(inputs)
            }
            state => state.sealed().map(|sealed| &sealed.inputs),
        }
    }

    /// The commitments, once CommR is known.
    pub fn sealed(&self) -> Option<&Sealed> {
        match self.effective() {
            Self::TreesBuilt { sealed }
            | Self::PreCommitSent { sealed, .. }
            | Self::PreCommitted { sealed, .. }
            | Self::Active { sealed, .. }
            | Self::Finalized { sealed, .. } => Some(sealed),
            state => state.challenged().map(|challenged| &challenged.sealed),
        }
    }

    /// Commitments and seed, from the seed until the sector is active.
    pub fn challenged(&self) -> Option<&Challenged> {
        match self.effective() {
            Self::SeedKnown { challenged }
            | Self::VanillaProven { challenged, .. }
            | Self::SnarkProven { challenged, .. }
            | Self::ProveCommitSent { challenged, .. } => Some(challenged),
            _ => None,
        }
    }

    /// The same with another SNARK, where a SNARK was made.
    pub(crate) fn with_snark(&self, digest: [u8; 32]) -> Self {
        let mut state = self.effective().clone();
        if let Self::SnarkProven { proof_digest, .. } | Self::ProveCommitSent { proof_digest, .. } = &mut state {
            *proof_digest = digest;
        }
        state
    }

    /// CommC, once tree C is built.
    pub fn comm_c(&self) -> Option<CommC> {
        match self.effective() {
            Self::TreeCBuilt { comm_c, .. } => Some(*comm_c),
            state => state.sealed().map(|sealed| sealed.comm_c),
        }
    }

    /// Whether the journal may replace this state by `next`, in a sector with `params`.
    pub fn can_become(&self, next: &Self, params: &SectorParams) -> bool {
        use Milestone as M;
        if let Self::Failed { at, failure } = next {
            return failure.attempts > 0 && !matches!(**at, Self::Failed { .. }) && **at == *self.effective();
        }
        let (from, to) = (self.effective(), next);
        if from == to {
            return true;
        }
        let known_data_is_kept = from.inputs().is_none_or(|inputs| to.inputs() == Some(inputs))
            && from.sealed().is_none_or(|sealed| to.sealed() == Some(sealed))
            && from.challenged().zip(to.challenged()).is_none_or(|(from, to)| from == to);
        match (from.milestone(), to.milestone()) {
            (M::TreesBuilt | M::PreCommitSent, M::PiecesAdded) => true,
            (M::Labelled | M::TreeDBuilt | M::TreeCBuilt, M::PiecesAdded) => true,
            _ if !known_data_is_kept => false,
            (M::Labelled, M::Labelled) => layers_done(to) == layers_done(from) + 1,
            (M::PiecesAdded, M::Labelled) => layers_done(to) == 0,
            (M::PreCommitSent, M::TreesBuilt | M::PreCommitSent) | (M::ProveCommitSent, M::SnarkProven) => true,
            // A damaged SNARK is made again with other blinding.
            (M::SnarkProven, M::SnarkProven) | (M::ProveCommitSent, M::ProveCommitSent) => true,
            // The ledger may know more than the journal did when the process died.
            (M::TreesBuilt, M::PreCommitted | M::Active) => true,
            (M::PreCommitSent | M::PreCommitted | M::SeedKnown | M::VanillaProven | M::SnarkProven, M::Active) => true,
            (M::Labelled, M::TreeDBuilt) => layers_done(from) as usize == params.layers,
            (from, to) => to as u8 == from as u8 + 1,
        }
    }
}

fn layers_done(state: &SectorState) -> u32 {
    match state {
        SectorState::Labelled { layers_done, .. } => *layers_done,
        _ => 0,
    }
}

/// Time a stage took, over all its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTiming {
    /// The stage; layers are added up.
    pub stage: Stage,
    /// Times it was finished: once per layer for labels, once more for every repair.
    pub runs: u32,
    /// Milliseconds in all runs that finished.
    pub milliseconds: u64,
    /// Bytes written in all runs that finished.
    pub bytes: u64,
}

/// How often a file was made again because it was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Which file.
    pub file: SectorFile,
    /// How often.
    pub times: u32,
    /// The last damage, in words.
    pub found: String,
}

/// All that the journal knows about one sector, digests of its files aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRecord {
    /// What shall be sealed.
    pub assignment: Assignment,
    /// The prover as the proofs see it.
    pub prover_id: ProverId,
    /// Which graph.
    pub porep_id: PorepId,
    /// Where the sector stands.
    pub state: SectorState,
    /// Failures since the sector last got further.
    pub failures: u32,
    /// Seconds per stage.
    pub timings: Vec<StageTiming>,
    /// Damage found and repaired, counted per file since an operator last asked for a retry.
    pub repairs: Vec<Repair>,
}

impl SectorRecord {
    /// A sector of which nothing is done.
    pub fn new(assignment: Assignment, prover_id: ProverId) -> Self {
        let porep_id = assignment.seal_proof.porep_id(assignment.sector_size);
        let state = SectorState::Assigned;
        Self { assignment, prover_id, porep_id, state, failures: 0, timings: Vec::new(), repairs: Vec::new() }
    }

    /// The sector's number.
    pub fn sector(&self) -> SectorNumber {
        self.assignment.sector
    }

    /// Protocol parameters.
    pub fn params(&self) -> SectorParams {
        self.assignment.params()
    }

    /// The identity that labelling and proofs need, once the ticket is drawn.
    pub fn identity(&self) -> Option<SectorIdentity> {
        self.state.inputs().map(|inputs| SectorIdentity {
            sector_size: self.assignment.sector_size,
            seal_proof: self.assignment.seal_proof,
            porep_id: self.porep_id,
            prover_id: self.prover_id,
            sector_number: self.assignment.sector,
            ticket: inputs.ticket,
        })
    }

    /// Adds one finished run of `stage`.
    pub(crate) fn add_timing(&mut self, stage: Stage, milliseconds: u64, bytes: u64) {
        match self.timings.iter_mut().find(|timing| timing.stage == stage) {
            Some(timing) => {
                timing.runs = timing.runs.saturating_add(1);
                timing.milliseconds = timing.milliseconds.saturating_add(milliseconds);
                timing.bytes = timing.bytes.saturating_add(bytes);
            }
            None => self.timings.push(StageTiming { stage, runs: 1, milliseconds, bytes }),
        }
    }

    /// Counts one more repair of `file`; returns how many there were before.
    pub(crate) fn count_repair(&mut self, file: SectorFile, found: String) -> u32 {
        match self.repairs.iter_mut().find(|repair| repair.file == file) {
            Some(repair) => {
                repair.found = found;
                repair.times = repair.times.saturating_add(1);
                repair.times - 1
            }
            None => {
                self.repairs.push(Repair { file, times: 1, found });
                0
            }
        }
    }
}
