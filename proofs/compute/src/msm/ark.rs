//! arkworks' multi-scalar multiplication behind the seam.

use ark_ec::VariableBaseMSM;
use ark_ff::BigInt;
use rayon::prelude::*;

use super::{Bases, Msm, MsmError, Scalars, check_lengths, total};
use crate::curve::{G1Affine, G1Projective, G2Affine, G2Projective};
use crate::{Fr, Workers};

/// arkworks' own Pippenger: the points are cut into one part per thread. Memory: buckets of each part and, of scalars
/// in Montgomery form, a copy; of points that are not in memory, all.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArkMsm;

impl Msm for ArkMsm {
    fn name(&self) -> &'static str {
        "ark"
    }

    fn g1(
        &self,
        workers: &Workers,
        bases: Bases<'_, G1Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G1Projective, MsmError> {
        run(workers, bases, scalars)
    }

    fn g2(
        &self,
        workers: &Workers,
        bases: Bases<'_, G2Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G2Projective, MsmError> {
        run(workers, bases, scalars)
    }
}

fn run<G>(workers: &Workers, bases: Bases<'_, G::MulBase>, scalars: Scalars<'_>) -> Result<G, MsmError>
where
    G: VariableBaseMSM<ScalarField = Fr>,
    G::MulBase: Copy + Send + Sync,
{
    check_lengths(bases.len(), &scalars)?;
    let collected: Vec<G::MulBase>;
    let bases = match bases {
        Bases::Slice(points) => points,
        Bases::Each { count, at } => {
            collected = workers.run(|| (0..count).into_par_iter().map(at).collect());
            &collected
        }
    };
    let part = bases.len().div_ceil(workers.threads()).max(1);
    let parts: Vec<G> = workers.run(|| match scalars {
        Scalars::Montgomery(scalars) => bases
            .par_chunks(part)
            .zip(scalars.par_chunks(part))
            .map(|(bases, scalars)| part_montgomery(bases, scalars))
            .collect(),
        Scalars::Canonical(scalars) => bases
            .par_chunks(part)
            .zip(scalars.par_chunks(part))
            .map(|(bases, scalars)| part_canonical(bases, scalars))
            .collect(),
    });
    Ok(total(parts))
}

fn part_montgomery<G: VariableBaseMSM<ScalarField = Fr>>(bases: &[G::MulBase], scalars: &[Fr]) -> G {
    G::msm_unchecked(bases, scalars)
}

fn part_canonical<G: VariableBaseMSM<ScalarField = Fr>>(bases: &[G::MulBase], scalars: &[BigInt<4>]) -> G {
    G::msm_bigint(bases, scalars)
}
