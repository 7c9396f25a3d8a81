//! Stand-ins for Groth16 where a test is about something else: a "SNARK" is a serial number and the plain proof itself.
//!
//! The serial number makes it another one each time, as blinding does with real ones. Every making is a line in a file,
//! so that it can be counted over processes that were killed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_compute::Workers;
use cairn_ledger::{PorepStatement, ProofRejection, ProofVerifier, SectorUpdateStatement, WindowPostStatement};
use cairn_protocol::{CommD, PieceInfo, SectorSize};
use cairn_sealing::verifier::{to_porep_statement, to_post_statement, to_update_statement};
use cairn_sealing::{SnarkError, SnarkProver};
use cairn_sector::pieces;
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{self, PostProof, PostStatement};
use cairn_sector::update::{self, UpdateProof, UpdateStatement};

const SERIAL_BYTES: usize = 8;

/// Makes them.
pub struct CarriedSnarks {
    log: PathBuf,
}

impl CarriedSnarks {
    /// Counts in `dir/snarks`.
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        Self { log: dir.join("snarks") }
    }

    /// Times one of this kind was made.
    pub fn made(dir: &Path, what: &str) -> usize {
        let log = fs::read_to_string(dir.join("snarks")).unwrap_or_default();
        log.lines().filter(|line| *line == what).count()
    }

    fn carry(&self, what: &str, plain: &[u8]) -> Vec<u8> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        writeln!(log, "{what}").unwrap();
        let serial = fs::metadata(&self.log).unwrap().len();
        [&serial.to_be_bytes(), plain].concat()
    }
}

impl SnarkProver for CarriedSnarks {
    fn prove_porep(
        &self,
        _statement: &porep::PorepStatement,
        plain: &PorepProof,
        _workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Ok(self.carry("porep", &plain.to_bytes()))
    }

    fn prove_window_post(
        &self,
        _statement: &PostStatement,
        plain: &PostProof,
        _workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Ok(self.carry("window-post", &plain.to_bytes()))
    }

    fn prove_update(
        &self,
        _statement: &UpdateStatement,
        plain: &UpdateProof,
        _workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Ok(self.carry("update", &plain.to_bytes()))
    }
}

/// Checks them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CarriedVerifier;

fn carried(snark: &[u8]) -> Result<&[u8], ProofRejection> {
    snark.get(SERIAL_BYTES..).ok_or_else(|| ProofRejection::new("no serial number"))
}

fn rejected(rejection: impl ToString) -> ProofRejection {
    ProofRejection::new(rejection.to_string())
}

impl ProofVerifier for CarriedVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        pieces::comm_d(size, pieces).map_err(rejected)
    }

    fn verify_porep(&self, statement: &PorepStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        let plain = PorepProof::from_bytes(carried(snark)?).map_err(rejected)?;
        porep::verify(&to_porep_statement(statement), &plain).map_err(rejected)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        let plain = PostProof::from_bytes(carried(snark)?).map_err(rejected)?;
        post::verify(&to_post_statement(statement), &plain).map_err(rejected)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, snark: &[u8]) -> Result<(), ProofRejection> {
        let plain = UpdateProof::from_bytes(carried(snark)?).map_err(rejected)?;
        update::verify(&to_update_statement(statement), &plain).map_err(rejected)
    }
}
