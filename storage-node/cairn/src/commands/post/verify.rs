//! `cairn post verify`: checks a proof of spacetime against its statement.

use anyhow::bail;
use cairn_compute::Workers;
use cairn_sector::post::{ChallengeNumbering, PostKind};
use cairn_snark::proving::post_circuit;
use cairn_snark::verifying::Claim;

use super::document::PostClaim;
use crate::cli::PostVerifyArguments;
use crate::commands::keys::Keys;
use crate::commands::proof_file::conclude;
use crate::output::Output;

/// Runs the command.
pub fn run(arguments: PostVerifyArguments) -> anyhow::Result<()> {
    let PostVerifyArguments { file, params, trust, json } = arguments;
    let PostClaim { statement, api_version, proof } = PostClaim::read(&file)?;
    let numbering = api_version.numbering();
    let partitions = statement.partitions().len();
    // Across sectors, numbers go on from one partition to the next, which no statement of one partition can say.
    if statement.kind == PostKind::Window && numbering == ChallengeNumbering::AcrossSectors && partitions > 1 {
        bail!(
            "{}: expected one partition in a window proof of API version {api_version}, got {partitions}",
            file.display()
        );
    }
    let workers = Workers::new(0)?;
    let keys = Keys::open(params, None, trust)?;
    let (verifier, origin) = keys.verifier(post_circuit(&statement), &workers)?;
    let verdict = verifier.verify(&Claim::Post { statement: &statement, numbering, proof: &proof });
    conclude(&file, verdict, Some(origin), Output::from_flag(json))
}
