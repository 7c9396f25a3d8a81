//! [`ProofVerifier`] for ledgers of sectors of one size: Groth16 proofs of replication, window proofs of spacetime, and
//! sector updates where the network has a key for them.

use std::collections::BTreeMap;

use cairn_compute::Workers;
use cairn_ledger::jobs::JobCircuit;
use cairn_ledger::{
    KeyDigest, PorepStatement, ProofClaim, ProofRejection, ProofStatement, ProofVerifier, SectorUpdateStatement,
    VerifyingKeys, WindowPostStatement,
};
use cairn_protocol::{CommD, PieceInfo, SectorNumber, SectorSize};
use cairn_sector::post::{ChallengeNumbering, PostKind, PostSector, PostStatement};
use cairn_sector::update::{HSelect, UpdateStatement};
use cairn_sector::{SectorIdentity, pieces, porep};
use cairn_snark::groth16::{Circuit, KeyFileError, KeyStore};
use cairn_snark::verifying::{Claim, Verifier};
use sha2::{Digest, Sha256};

/// Weights of a batch come from a hash over this and every key, input and proof in it ([`cairn_snark::groth16::verify`]).
/// So nobody can choose a proof after its weight is known, and every node checks a block in the same way.
const BATCH_SEED: [u8; 32] = *b"cairn/ledger/proofs-of-a-block/1";

/// Checks Groth16 proofs under the keys of one sector size. Depends on keys and arguments alone, so every node with the
/// same keys gives the same answer.
pub struct Groth16ProofVerifier {
    verifier: Verifier,
    keys: VerifyingKeys,
    workers: Workers,
}

impl Groth16ProofVerifier {
    /// Reads the keys of a network's circuits. Batches are checked on `workers`.
    ///
    /// # Errors
    /// [`KeyFileError`]: a key is missing, damaged, foreign, or not to be trusted there.
    pub fn open(
        store: &KeyStore,
        circuits: impl Into<NetworkCircuits>,
        workers: Workers,
    ) -> Result<Self, KeyFileError> {
        let circuits = circuits.into().all();
        let verifier = Verifier::open(store, circuits.iter().copied(), &workers)?;
        Ok(Self::new(verifier, circuits, workers))
    }

    /// From keys that are loaded. Circuits without key are not among [`ProofVerifier::verifying_keys`].
    pub fn new(verifier: Verifier, circuits: impl IntoIterator<Item = Circuit>, workers: Workers) -> Self {
        let digest = |circuit: Circuit| {
            let key = verifier.key(circuit)?.key().to_bytes();
            Some((circuit.to_string(), KeyDigest(hex::encode(Sha256::digest(key)))))
        };
        let keys: BTreeMap<_, _> = circuits.into_iter().filter_map(digest).collect();
        Self { verifier, keys, workers }
    }
}

/// The circuits of a network's proofs: a sector size alone stands for those that every network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkCircuits {
    /// Size of its sectors.
    pub sector_size: SectorSize,
    /// Whether it takes sector updates: its genesis names the key of that circuit.
    pub updates: bool,
}

impl From<SectorSize> for NetworkCircuits {
    fn from(sector_size: SectorSize) -> Self {
        Self { sector_size, updates: false }
    }
}

impl NetworkCircuits {
    /// Those of a network with keys of these names ([`ProofVerifier::verifying_keys`]).
    pub fn named<'n>(sector_size: SectorSize, keys: impl IntoIterator<Item = &'n String>) -> Self {
        let update = Circuit::Update(sector_size).to_string();
        Self { sector_size, updates: keys.into_iter().any(|name| *name == update) }
    }

    /// All of them.
    pub fn all(self) -> Vec<Circuit> {
        let Self { sector_size, updates } = self;
        let update = updates.then_some(Circuit::Update(sector_size));
        [Circuit::Porep(sector_size), Circuit::WindowPost(sector_size)].into_iter().chain(update).collect()
    }

    /// What a worker with parameters for all of them takes jobs about.
    pub fn of_jobs(self) -> Vec<(JobCircuit, SectorSize)> {
        let update = self.updates.then_some(JobCircuit::Update);
        let kinds = [JobCircuit::Porep, JobCircuit::WindowPost].into_iter().chain(update);
        kinds.map(|kind| (kind, self.sector_size)).collect()
    }
}

/// A ledger's statement in the words of the sector crate.
enum Statement {
    Porep(porep::PorepStatement),
    Post(PostStatement),
    Update(UpdateStatement),
}

impl Statement {
    fn of(statement: &ProofStatement) -> Self {
        match statement {
            ProofStatement::Porep(statement) => Self::Porep(to_porep_statement(statement)),
            ProofStatement::WindowPost(statement) => Self::Post(to_post_statement(statement)),
            ProofStatement::SectorUpdate(statement) => Self::Update(to_update_statement(statement)),
        }
    }

    fn claim<'a>(&'a self, proof: &'a [u8]) -> Claim<'a> {
        match self {
            Self::Porep(statement) => Claim::Porep { statement, proof },
            Self::Post(statement) => {
                Claim::Post { statement, numbering: ChallengeNumbering::of(PostKind::Window), proof }
            }
            Self::Update(statement) => Claim::Update { statement, proof },
        }
    }
}

/// A ledger's statement about replication in the words of the sector crate.
pub fn to_porep_statement(statement: &PorepStatement) -> porep::PorepStatement {
    let identity = SectorIdentity {
        sector_size: statement.sector_size,
        seal_proof: statement.seal_proof,
        porep_id: statement.seal_proof.porep_id(statement.sector_size),
        prover_id: statement.prover_id,
        sector_number: statement.sector_number,
        ticket: statement.ticket,
    };
    let PorepStatement { comm_d, comm_r, seed, .. } = *statement;
    porep::PorepStatement { identity, comm_d, comm_r, seed }
}

/// A ledger's statement about a partition in the words of the sector crate.
pub fn to_post_statement(statement: &WindowPostStatement) -> PostStatement {
    let sector = |&(sector_number, comm_r): &(SectorNumber, _)| PostSector { sector_number, comm_r };
    PostStatement {
        kind: PostKind::Window,
        sector_size: statement.sector_size,
        prover_id: statement.prover_id,
        randomness: statement.randomness,
        sectors: statement.sectors.iter().map(sector).collect(),
    }
}

/// A ledger's statement about new data in the words of the sector crate, with the usual choice of h.
pub fn to_update_statement(statement: &SectorUpdateStatement) -> UpdateStatement {
    let SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new } = *statement;
    UpdateStatement { sector_size, h_select: HSelect::default_of(sector_size), comm_r_old, comm_d_new, comm_r_new }
}

fn rejected(rejection: impl ToString) -> ProofRejection {
    ProofRejection::new(rejection.to_string())
}

impl ProofVerifier for Groth16ProofVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        pieces::comm_d(size, pieces).map_err(rejected)
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.verifier.verify(&Statement::Porep(to_porep_statement(statement)).claim(proof)).map_err(rejected)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.verifier.verify(&Statement::Post(to_post_statement(statement)).claim(proof)).map_err(rejected)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.verifier.verify(&Statement::Update(to_update_statement(statement)).claim(proof)).map_err(rejected)
    }

    fn verify_batch(&self, claims: &[ProofClaim<'_>]) -> Vec<Result<(), ProofRejection>> {
        let statements: Vec<_> = claims.iter().map(|claim| Statement::of(&claim.statement)).collect();
        let together: Vec<_> =
            statements.iter().zip(claims).map(|(statement, claim)| statement.claim(claim.proof)).collect();
        let answers = self.verifier.verify_batch(&together, BATCH_SEED, &self.workers);
        answers.into_iter().map(|answer| answer.map_err(rejected)).collect()
    }

    fn verifying_keys(&self) -> VerifyingKeys {
        self.keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use cairn_fixtures::{groth16_dir, post_vectors};
    use cairn_protocol::{CommR, PostRandomness, ProverId, ProviderId, SealProof, Seed, Ticket};
    use cairn_snark::groth16::Trust;
    use proptest::prelude::*;

    use super::*;

    fn verifier() -> Groth16ProofVerifier {
        let store = KeyStore::new(groth16_dir(), "/nonexistent", Trust::Development);
        Groth16ProofVerifier::open(&store, SectorSize::KIB2, Workers::new(1).unwrap()).unwrap()
    }

    fn porep_statement() -> PorepStatement {
        PorepStatement {
            sector_size: SectorSize::KIB2,
            seal_proof: SealProof::V1_1,
            prover_id: ProviderId(1000).prover_id(),
            sector_number: SectorNumber(0),
            ticket: Ticket([1; 32]),
            seed: Seed([2; 32]),
            comm_d: CommD([3; 32]),
            comm_r: Default::default(),
        }
    }

    fn update_statement() -> SectorUpdateStatement {
        SectorUpdateStatement {
            sector_size: SectorSize::KIB2,
            comm_r_old: CommR([1; 32]),
            comm_d_new: CommD([2; 32]),
            comm_r_new: CommR([3; 32]),
        }
    }

    /// The reference's own window proof, as a ledger would ask about it.
    fn window_post() -> (WindowPostStatement, Vec<u8>) {
        let vector = post_vectors().into_iter().find(|vector| vector.kind == "window").unwrap();
        let sectors = vector.sectors.iter().map(|s| (SectorNumber(s.sector_number), CommR(s.comm_r)));
        let statement = WindowPostStatement {
            sector_size: SectorSize::KIB2,
            prover_id: ProverId(vector.prover_id),
            randomness: PostRandomness(vector.randomness),
            sectors: sectors.collect(),
        };
        (statement, vector.proof)
    }

    #[test]
    fn an_empty_sector_has_the_commitment_of_zeros() {
        let comm_d = verifier().comm_d(SectorSize::KIB2, &[]).unwrap();
        assert_eq!(comm_d.0, pieces::zero_commitment(SectorSize::KIB2.padded()).0);
    }

    #[test]
    fn a_batch_answers_as_each_alone_does() {
        let (verifier, (statement, proof)) = (verifier(), window_post());
        let mut other = statement.clone();
        other.randomness.0[0] ^= 1;
        let mut foreign = statement.clone();
        foreign.sector_size = SectorSize::MIB8;
        let swapped = [&proof[144..], &proof[48..144], &proof[..48]].concat();
        let claim = |statement: &WindowPostStatement, proof| ProofClaim {
            statement: ProofStatement::WindowPost(statement.clone()),
            proof,
        };
        let porep = ProofClaim { statement: ProofStatement::Porep(porep_statement()), proof: proof.as_slice() };
        let update = ProofClaim { statement: ProofStatement::SectorUpdate(update_statement()), proof: &proof };
        let claims = [
            claim(&statement, proof.as_slice()),
            claim(&other, &proof),
            porep,
            claim(&statement, &swapped),
            claim(&foreign, &proof),
            claim(&statement, &proof[..191]),
            claim(&statement, &[]),
            update,
            claim(&statement, &proof),
        ];
        let together = verifier.verify_batch(&claims);
        let alone: Vec<_> = claims.iter().map(|claim| verifier.verify(claim)).collect();
        assert_eq!(together, alone);
        let holds: Vec<_> = together.iter().map(Result::is_ok).collect();
        assert_eq!(holds, [true, false, false, false, false, false, false, false, true]);
        assert!(together[4].as_ref().unwrap_err().reason.contains("no verifying key for window-post 8MiB"));
        assert!(together[7].as_ref().unwrap_err().reason.contains("no verifying key for update 2KiB"));
    }

    #[test]
    fn keys_are_named_by_circuit() {
        let keys = verifier().verifying_keys();
        let circuits: Vec<_> = keys.keys().map(String::as_str).collect();
        assert_eq!(circuits, ["porep 2KiB", "window-post 2KiB"]);
        assert!(keys.values().all(|digest| digest.0.len() == 64));
    }

    #[test]
    fn a_network_takes_updates_if_it_has_their_key() {
        let size = SectorSize::KIB2;
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let named = |keys: &[String]| NetworkCircuits::named(size, keys);
        let plain = named(&names(&["porep 2KiB", "window-post 2KiB", "update 8MiB"]));
        assert_eq!((plain, plain.all().len(), plain.of_jobs().len()), (size.into(), 2, 2));
        let full = named(&names(&["porep 2KiB", "update 2KiB"]));
        assert_eq!(full.all().last(), Some(&Circuit::Update(size)));
        assert_eq!(full.of_jobs().last(), Some(&(JobCircuit::Update, size)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let verifier = verifier();
            prop_assert!(verifier.verify_porep(&porep_statement(), &bytes).is_err());
            prop_assert!(verifier.verify_window_post(&window_post().0, &bytes).is_err());
            prop_assert!(verifier.verify_sector_update(&update_statement(), &bytes).is_err());
        }
    }
}
