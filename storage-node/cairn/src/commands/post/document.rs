//! A proof of spacetime with its statement, as JSON: the form that the reference implementation's tools exchange.

use std::fmt;
use std::path::Path;

use anyhow::{anyhow, ensure};
use cairn_protocol::params::{WINDOW_POST_CHALLENGES, WINNING_POST_CHALLENGES};
use cairn_protocol::{CommR, PostRandomness, ProverId, SealProof, SectorNumber, SectorParams, SectorSize};
use cairn_sector::post::challenges::leaves;
use cairn_sector::post::{PostKind, PostSector, PostStatement};
use cairn_snark::groth16::Origin;
use serde::{Deserialize, Serialize};

use crate::cli::ApiVersion;
use crate::commands::proof_file::{self, Fields, missing};

/// What `cairn post prove` prints.
#[derive(Debug, Serialize)]
pub struct PostDocument {
    kind: PostKind,
    sector_size: SectorSize,
    api_version: String,
    prover_id: ProverId,
    randomness: PostRandomness,
    /// Leaves opened in each sector.
    challenge_count: usize,
    /// Sectors in one partition.
    sector_count: usize,
    sectors: Vec<SectorEntry>,
    /// 192 bytes for each partition, hex.
    proof: String,
    parameters: Origin,
    seconds: f64,
}

/// One proven sector.
#[derive(Debug, Serialize, Deserialize)]
struct SectorEntry {
    sector_number: SectorNumber,
    comm_r: CommR,
    /// The leaves that its challenges pick. A reader computes them; if they are given, they must be those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    challenges: Option<Vec<u64>>,
}

impl PostDocument {
    /// Puts a proof and its statement together.
    pub fn new(
        statement: &PostStatement,
        api_version: ApiVersion,
        proof: &[u8],
        parameters: Origin,
        seconds: f64,
    ) -> Self {
        let PostStatement { kind, sector_size, prover_id, randomness, ref sectors } = *statement;
        let entry = |sector: &PostSector| SectorEntry {
            sector_number: sector.sector_number,
            comm_r: sector.comm_r,
            challenges: Some(leaves(statement, sector.sector_number)),
        };
        let (challenge_count, sector_count) = match kind {
            PostKind::Winning => (WINNING_POST_CHALLENGES, 1),
            PostKind::Window => {
                (WINDOW_POST_CHALLENGES, SectorParams::new(sector_size, SealProof::V1_1).window_sectors_per_partition)
            }
        };
        Self {
            kind,
            sector_size,
            api_version: api_version.to_string(),
            prover_id,
            randomness,
            challenge_count,
            sector_count,
            sectors: sectors.iter().map(entry).collect(),
            proof: hex::encode(proof),
            parameters,
            seconds,
        }
    }
}

/// JSON, for people as for programs: the proof is what was asked for.
impl fmt::Display for PostDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?)
    }
}

/// A proof to verify.
pub struct PostClaim {
    /// What is claimed; sectors in ascending order.
    pub statement: PostStatement,
    /// How challenges are numbered.
    pub api_version: ApiVersion,
    /// 192 bytes for each partition.
    pub proof: Vec<u8>,
}

impl PostClaim {
    /// Reads a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        proof_file::read(path, Self::of_fields)
    }

    fn of_fields(fields: &mut Fields) -> anyhow::Result<Self> {
        let kind = fields.required("kind")?;
        let sector_size = fields.sector_size()?.ok_or_else(|| missing("sector_size"))?;
        let api_version = fields.text("api_version")?.ok_or_else(|| missing("api_version"))?;
        let prover_id = fields.required("prover_id")?;
        let randomness = fields.required("randomness")?;
        let entries: Vec<SectorEntry> = fields.required("sectors")?;
        let proof = fields.hex("proof")?;
        let sector = |entry: &SectorEntry| PostSector { sector_number: entry.sector_number, comm_r: entry.comm_r };
        let sectors = in_order(entries.iter().map(sector).collect())?;
        let statement = PostStatement { kind, sector_size, prover_id, randomness, sectors };
        for entry in &entries {
            let expected = leaves(&statement, entry.sector_number);
            let got = entry.challenges.as_ref().unwrap_or(&expected);
            let number = entry.sector_number;
            ensure!(*got == expected, "field sectors: sector {number}: expected challenges {expected:?}, got {got:?}");
        }
        Ok(Self { statement, api_version, proof })
    }
}

/// Sectors in the order in which they are proven: by number, each once.
pub fn in_order(mut sectors: Vec<PostSector>) -> anyhow::Result<Vec<PostSector>> {
    sectors.sort_by_key(|sector| sector.sector_number);
    match sectors.windows(2).find(|pair| pair[0].sector_number == pair[1].sector_number) {
        Some(pair) => Err(anyhow!("expected every sector once, got sector {} twice", pair[0].sector_number)),
        None => Ok(sectors),
    }
}
