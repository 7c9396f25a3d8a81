//! `cairn sector seal`: files in, replica and commitments out.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, bail};
use cairn_compute::Workers;
use cairn_protocol::{PieceInfo, SectorNumber, SectorSize};
use cairn_sector::pieces::PieceRejection;
use cairn_sector::seal::{PieceSource, SealedCommitments, Stage as SealStage};
use cairn_sector::{SealError, SectorFiles, SectorIdentity, seal};

use super::record::{PieceRecord, SealSeconds, SectorRecord};
use crate::cli::SealArguments;
use crate::commands::{files, seconds_since};
use crate::output::Output;
use crate::progress::Stage;

/// What sealing needs, with everything opened and every default settled.
struct SealJob {
    identity: SectorIdentity,
    sector: SectorFiles,
    pieces: Vec<OpenPiece>,
    workers: Workers,
}

struct OpenPiece {
    path: PathBuf,
    file: File,
    payload_bytes: u64,
}

impl SealJob {
    fn prepare(arguments: SealArguments) -> anyhow::Result<Self> {
        let sector = SectorFiles::new(&arguments.dir);
        let record = SectorRecord::path(&sector);
        if record.exists() {
            bail!(
                "{} already holds a sealed sector ({}): choose another folder",
                arguments.dir.display(),
                record.display()
            );
        }
        let identity = SectorIdentity {
            sector_size: arguments.size,
            seal_proof: arguments.seal_proof,
            porep_id: arguments.porep_id.unwrap_or_else(|| arguments.seal_proof.porep_id(arguments.size)),
            prover_id: arguments.prover_id,
            sector_number: SectorNumber(arguments.sector_number),
            ticket: arguments.ticket,
        };
        let open = |path: PathBuf| {
            let (file, payload_bytes) = files::open(&path)?;
            anyhow::Ok(OpenPiece { path, file, payload_bytes })
        };
        let pieces = arguments.pieces.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { identity, sector, pieces, workers: Workers::new(arguments.threads)? })
    }
}

/// Runs the command.
pub fn run(arguments: SealArguments) -> anyhow::Result<()> {
    let output = Output::from_flag(arguments.json);
    let mut job = SealJob::prepare(arguments)?;
    let start = Instant::now();
    let pieces = add_pieces(&mut job)?;
    let add_piece = seconds_since(start);
    let (commitments, labels, trees) = seal_timed(&job)?;
    let sealed_sha256 = files::sha256(&job.sector.sealed())?;
    let record =
        SectorRecord::new(job.identity, commitments, sealed_sha256, pieces, SealSeconds { add_piece, labels, trees });
    record.save(&job.sector)?;
    output.print(&record)
}

fn add_pieces(job: &mut SealJob) -> anyhow::Result<Vec<PieceRecord>> {
    let stage = Stage::begin("add piece");
    let mut sources: Vec<_> = job
        .pieces
        .iter_mut()
        .map(|piece| PieceSource { reader: &mut piece.file, payload_bytes: piece.payload_bytes })
        .collect();
    let size: SectorSize = job.identity.sector_size;
    let added = seal::add_pieces(&job.sector, size, &mut sources, &|done, total| stage.report(done, total));
    let infos = added.map_err(|error| match piece_index(&error) {
        Some(index) => {
            let path = job.pieces[index].path.display().to_string();
            anyhow::Error::new(error).context(path)
        }
        None => error.into(),
    })?;
    Ok(infos.iter().zip(&job.pieces).map(|(info, piece)| record_of(info, piece.payload_bytes)).collect())
}

/// Which of the given files a failure is about.
fn piece_index(error: &SealError) -> Option<usize> {
    match error {
        SealError::PieceLength { index, .. } | SealError::PieceRead { index, .. } => Some(*index),
        SealError::Piece(PieceRejection::Size { index, .. } | PieceRejection::Overflow { index, .. }) => Some(*index),
        _ => None,
    }
}

fn record_of(info: &PieceInfo, payload_bytes: u64) -> PieceRecord {
    PieceRecord {
        comm_p: info.comm_p,
        payload_bytes,
        unpadded_bytes: info.size.to_unpadded().0,
        padded_bytes: info.size.0,
    }
}

/// Seals, and gives the seconds of labels and of trees.
fn seal_timed(job: &SealJob) -> anyhow::Result<(SealedCommitments, f64, f64)> {
    struct Clock {
        shown: Stage,
        kind: SealStage,
        started: Instant,
        labels: f64,
    }
    let begin =
        || Clock { shown: Stage::begin("labels"), kind: SealStage::Labels, started: Instant::now(), labels: 0.0 };
    let clock = Mutex::new(begin());
    let commitments = seal::seal(&job.sector, &job.identity, &job.workers, &|kind, done, total| {
        let mut clock = clock.lock().expect("reporting does not panic");
        if clock.kind != kind {
            let labels = seconds_since(clock.started);
            *clock = Clock { shown: Stage::begin("trees"), kind, started: Instant::now(), labels };
        }
        clock.shown.report(done, total);
    })
    .with_context(|| format!("cannot seal into {}", job.sector.dir().display()))?;
    let clock = clock.into_inner().expect("reporting does not panic");
    Ok((commitments, clock.labels, seconds_since(clock.started)))
}
