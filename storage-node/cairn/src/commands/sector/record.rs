//! `sector.json`: what sealing found out, kept beside the sector's files so that later commands need only the folder.
//!
//! It is written last, so its presence says that the sector is sealed.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, bail};
use cairn_protocol::{CommP, ReplicaId};
use cairn_sector::seal::SealedCommitments;
use cairn_sector::{SectorFiles, SectorIdentity};
use serde::{Deserialize, Serialize};

use crate::commands::files;

/// First line of every record; the number changes with the meaning of its fields.
const FORMAT: &str = "cairn-sector-1";

/// Everything known about a sealed sector.
#[derive(Debug, Serialize, Deserialize)]
pub struct SectorRecord {
    format: String,
    /// Who, what size, which number and randomness.
    #[serde(flatten)]
    pub identity: SectorIdentity,
    /// What made the replica unlike any other.
    pub replica_id: ReplicaId,
    /// Roots of the trees, and CommR.
    #[serde(flatten)]
    pub commitments: SealedCommitments,
    /// SHA-256 of the replica, hex.
    pub sealed_sha256: String,
    /// The pieces, in order.
    pub pieces: Vec<PieceRecord>,
    /// How long each part took.
    pub seconds: SealSeconds,
}

/// One piece of the sector.
#[derive(Debug, Serialize, Deserialize)]
pub struct PieceRecord {
    /// Its commitment.
    pub comm_p: CommP,
    /// Bytes of the file.
    pub payload_bytes: u64,
    /// The same with the zeros that make it a piece.
    pub unpadded_bytes: u64,
    /// Room that it takes in the sector.
    pub padded_bytes: u64,
}

/// Wall time of the parts of sealing.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealSeconds {
    /// Padding and committing to the pieces.
    pub add_piece: f64,
    /// Tree D and every layer.
    pub labels: f64,
    /// Tree C, replica and tree R-last.
    pub trees: f64,
}

impl SectorRecord {
    /// Puts a record together.
    pub fn new(
        identity: SectorIdentity,
        commitments: SealedCommitments,
        sealed_sha256: String,
        pieces: Vec<PieceRecord>,
        seconds: SealSeconds,
    ) -> Self {
        let replica_id = identity.replica_id(&commitments.comm_d);
        Self { format: FORMAT.to_owned(), identity, replica_id, commitments, sealed_sha256, pieces, seconds }
    }

    /// Where the record of a sector lies.
    pub fn path(sector: &SectorFiles) -> PathBuf {
        sector.dir().join("sector.json")
    }

    /// Writes the record.
    pub fn save(&self, sector: &SectorFiles) -> anyhow::Result<()> {
        files::replace(&Self::path(sector), |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            Ok(out.write_all(b"\n")?)
        })
    }

    /// Reads the record of a sealed sector.
    pub fn load(sector: &SectorFiles) -> anyhow::Result<Self> {
        let path = Self::path(sector);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{} holds no sealed sector: {} is missing", sector.dir().display(), path.display())
            }
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let record: Self = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        if record.format != FORMAT {
            bail!("{}: expected format {FORMAT:?}, got {:?}", path.display(), record.format);
        }
        Ok(record)
    }
}

impl fmt::Display for SectorRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SealedCommitments { comm_d, comm_c, comm_r_last, comm_r } = &self.commitments;
        writeln!(
            f,
            "sector       {}, {}, number {}",
            self.identity.sector_size, self.identity.seal_proof, self.identity.sector_number
        )?;
        writeln!(f, "PoRep id     {}", self.identity.porep_id)?;
        for (index, piece) in self.pieces.iter().enumerate() {
            writeln!(
                f,
                "piece {index:<6} {}  {} bytes of payload, {} padded",
                piece.comm_p, piece.payload_bytes, piece.padded_bytes
            )?;
        }
        writeln!(f, "CommD        {comm_d}")?;
        writeln!(f, "replica id   {}", self.replica_id)?;
        writeln!(f, "CommC        {comm_c}")?;
        writeln!(f, "CommR-last   {comm_r_last}")?;
        writeln!(f, "CommR        {comm_r}")?;
        writeln!(f, "replica      SHA-256 {}", self.sealed_sha256)?;
        let SealSeconds { add_piece, labels, trees } = self.seconds;
        writeln!(f, "seconds      add piece {add_piece}, labels {labels}, trees {trees}")
    }
}
