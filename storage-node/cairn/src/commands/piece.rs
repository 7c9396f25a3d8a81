//! `cairn piece commit`: CommP and CIDs of a file, streaming.

use std::fmt;
use std::path::Path;

use cairn_protocol::{CommP, piece_cid_v1, piece_cid_v2};
use cairn_sector::pieces::PieceHasher;
use serde::Serialize;

use super::files;
use crate::cli::PieceCommand;
use crate::output::Output;

/// A payload as the network knows it.
#[derive(Debug, Serialize)]
struct CommitReport {
    /// Bytes of the file.
    payload_bytes: u64,
    /// The same with the zeros that make it a piece: 127 * 2^k.
    unpadded_bytes: u64,
    /// Room that the piece takes in a sector: 128 * 2^k.
    padded_bytes: u64,
    comm_p: CommP,
    piece_cid_v1: String,
    piece_cid_v2: String,
}

impl fmt::Display for CommitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "payload bytes   {}", self.payload_bytes)?;
        writeln!(f, "unpadded bytes  {}", self.unpadded_bytes)?;
        writeln!(f, "padded bytes    {}", self.padded_bytes)?;
        writeln!(f, "CommP           {}", self.comm_p)?;
        writeln!(f, "piece CID v1    {}", self.piece_cid_v1)?;
        writeln!(f, "piece CID v2    {}", self.piece_cid_v2)
    }
}

/// Runs `cairn piece`.
pub fn run(command: PieceCommand) -> anyhow::Result<()> {
    match command {
        PieceCommand::Commit { file, json } => Output::from_flag(json).print(&commit(&file)?),
    }
}

fn commit(file: &Path) -> anyhow::Result<CommitReport> {
    let mut hasher = PieceHasher::new();
    files::stream(file, |bytes| hasher.update(bytes))?;
    let commitment = hasher.finish();
    Ok(CommitReport {
        payload_bytes: commitment.payload_bytes,
        unpadded_bytes: commitment.padded.to_unpadded().0,
        padded_bytes: commitment.padded.0,
        comm_p: commitment.comm_p,
        piece_cid_v1: piece_cid_v1(&commitment.comm_p).to_string(),
        piece_cid_v2: piece_cid_v2(&commitment.comm_p, commitment.payload_bytes, commitment.padded).to_string(),
    })
}
