//! Parameters with fresh randomness, as the reference's own tools make them.

use std::time::Instant;

use anyhow::{Context, Result};
use bellperson::Circuit;
use blstrs::Scalar;
use cairn_compare::side::Work;
use cairn_compare::task::SECTOR_SIZE;
use cairn_snark::CircuitKind;
use filecoin_proofs::constants::DefaultPieceHasher;
use filecoin_proofs::parameters::{public_params, window_post_public_params, winning_post_public_params};
use rand::rngs::OsRng;
use storage_proofs_core::compound_proof::CompoundProof;
use storage_proofs_core::parameter_cache::{CacheableParameters, ParameterSetMetadata};
use storage_proofs_porep::stacked::{StackedCircuit, StackedCompound, StackedDrg};
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};

use crate::config::{self, Tree};

/// Makes the three files of a circuit. Files that are there already are kept.
pub fn setup(circuit: CircuitKind) -> Result<Work> {
    let start = Instant::now();
    match circuit {
        CircuitKind::Porep => porep()?,
        other => post(other)?,
    }
    Ok(Work::since(start))
}

fn porep() -> Result<()> {
    type Compound = StackedCompound<Tree, DefaultPieceHasher>;
    type Plain<'a> = StackedDrg<'a, Tree, DefaultPieceHasher>;
    // The id does not enter the parameters.
    let params = public_params::<Tree>(&config::porep(SECTOR_SIZE.bytes(), [0; 32]))?;
    let blank =
        <Compound as CompoundProof<Plain<'_>, StackedCircuit<Tree, DefaultPieceHasher>>>::blank_circuit(&params);
    make::<Compound, _, _>(blank, &params)
}

fn post(circuit: CircuitKind) -> Result<()> {
    type Compound = FallbackPoStCompound<Tree>;
    let config = config::post(circuit, SECTOR_SIZE.bytes()).context("a proof of spacetime")?;
    let params = match circuit {
        CircuitKind::WinningPost => winning_post_public_params::<Tree>(&config)?,
        _ => window_post_public_params::<Tree>(&config)?,
    };
    let blank = <Compound as CompoundProof<FallbackPoSt<'_, Tree>, FallbackPoStCircuit<Tree>>>::blank_circuit(&params);
    make::<Compound, _, _>(blank, &params)
}

fn make<M, C, P>(blank: C, params: &P) -> Result<()>
where
    M: CacheableParameters<C, P>,
    C: Circuit<Scalar> + Clone,
    P: ParameterSetMetadata,
{
    M::get_param_metadata(blank.clone(), params)?;
    M::get_groth_params(Some(&mut OsRng), blank.clone(), params)?;
    M::get_verifying_key(Some(&mut OsRng), blank, params)?;
    Ok(())
}
