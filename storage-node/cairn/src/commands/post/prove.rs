//! `cairn post prove`: a Groth16 proof that sealed sectors are still there.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use cairn_compute::Workers;
use cairn_protocol::SectorSize;
use cairn_sector::SectorFiles;
use cairn_sector::post::{self, ChallengeNumbering, PostKind, PostSector, PostStatement};
use cairn_snark::proving::{CircuitProver, post_circuit};

use super::document::{PostDocument, in_order};
use crate::cli::{ApiVersion, PostProveArguments};
use crate::commands::keys::{self, Keys};
use crate::commands::seconds_since;
use crate::commands::sector::SectorRecord;
use crate::output::Output;

/// A sealed folder, and what it says of itself.
struct Sealed {
    files: SectorFiles,
    sector_size: SectorSize,
    sector: PostSector,
}

/// Runs the command.
pub fn run(arguments: PostProveArguments) -> anyhow::Result<()> {
    let PostProveArguments { kind, randomness, prover_id, sectors, params, api_version, prover: options, json } =
        arguments;
    let kind = PostKind::from(kind);
    check_version(kind, api_version)?;
    let sealed = open_sectors(kind, sectors)?;
    let statement = PostStatement {
        kind,
        sector_size: sealed[0].sector_size,
        prover_id,
        randomness,
        sectors: sealed.iter().map(|sealed| sealed.sector).collect(),
    };
    let workers = Workers::new(options.threads)?;
    let keys = Keys::open(params, options.cache.clone(), options.trust)?;
    let (prover, origin) = keys.prover(post_circuit(&statement), &options, &workers)?;
    let started = Instant::now();
    let proof = prove(&prover, &statement, &sealed, api_version, &workers)?;
    let seconds = seconds_since(started);
    keys::say_origin(origin);
    if kind == PostKind::Winning && api_version.numbering() == ChallengeNumbering::WithinSector {
        keys::note(
            "at API version 1.2.0 a winning proof shows one leaf 66 times: the network wants --api-version 1.0.0",
        );
    }
    if !json {
        keys::note(&format!("{} bytes of proof, verified, in {seconds} seconds", proof.len()));
    }
    Output::from_flag(json).print(&PostDocument::new(&statement, api_version, &proof, origin, seconds))
}

/// The challenges of a window proof number within each sector; how earlier versions number them is history.
fn check_version(kind: PostKind, version: ApiVersion) -> anyhow::Result<()> {
    let possible = kind == PostKind::Winning || version.numbering() == ChallengeNumbering::WithinSector;
    ensure!(possible, "--api-version: expected {} for a window proof, got {version}", ApiVersion::V1_2_0);
    Ok(())
}

/// Reads what the folders say, in the order in which sectors are proven.
fn open_sectors(kind: PostKind, folders: Vec<PathBuf>) -> anyhow::Result<Vec<Sealed>> {
    let open = |folder: PathBuf| {
        let files = SectorFiles::new(folder);
        let record = SectorRecord::load(&files)?;
        let sector = PostSector { sector_number: record.identity.sector_number, comm_r: record.commitments.comm_r };
        anyhow::Ok(Sealed { files, sector_size: record.identity.sector_size, sector })
    };
    let mut sealed = folders.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    if kind == PostKind::Winning && sealed.len() != 1 {
        bail!("a winning proof is about one sector: expected one --sector, got {}", sealed.len());
    }
    sealed.sort_by_key(|sealed| sealed.sector.sector_number);
    in_order(sealed.iter().map(|sealed| sealed.sector).collect())?;
    let expected = &sealed[0];
    if let Some(other) = sealed.iter().find(|sealed| sealed.sector_size != expected.sector_size) {
        bail!(
            "{}: expected a sector of {} as in {}, got one of {}",
            other.files.dir().display(),
            expected.sector_size,
            expected.files.dir().display(),
            other.sector_size
        );
    }
    Ok(sealed)
}

/// One proof for each partition, one after the other.
fn prove(
    prover: &CircuitProver,
    statement: &PostStatement,
    sealed: &[Sealed],
    api_version: ApiVersion,
    workers: &Workers,
) -> anyhow::Result<Vec<u8>> {
    let mut proof = vec![];
    let mut sealed = sealed.iter();
    for (partition, statement) in statement.partitions().iter().enumerate() {
        let files: Vec<SectorFiles> =
            sealed.by_ref().take(statement.sectors.len()).map(|sealed| sealed.files.clone()).collect();
        let openings = post::prove(statement, &files, workers)
            .with_context(|| format!("cannot open the leaves of partition {partition}"))?;
        let bytes = prover
            .prove_post(statement, &openings, api_version.numbering(), &mut keys::blinding, workers)
            .with_context(|| format!("cannot prove partition {partition}"))?;
        proof.extend_from_slice(&bytes);
    }
    Ok(proof)
}
