//! arkworks' transforms behind the seam.

use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};

use super::{COSET_SHIFT, Domain, Ntt, NttError, root_of_unity};
use crate::{Fr, Workers};

/// arkworks' radix-2 transforms, on one thread. Memory: a copy of the values.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArkNtt;

fn domain_of(size: usize, domain: Domain) -> Result<Radix2EvaluationDomain<Fr>, NttError> {
    root_of_unity(size)?;
    let subgroup = Radix2EvaluationDomain::new(size).ok_or(NttError::Size { size })?;
    match domain {
        Domain::Subgroup => Ok(subgroup),
        Domain::Coset => subgroup.get_coset(COSET_SHIFT).ok_or(NttError::Size { size }),
    }
}

impl Ntt for ArkNtt {
    fn name(&self) -> &'static str {
        "ark"
    }

    fn forward(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        let domain = domain_of(values.len(), domain)?;
        workers.run(|| values.copy_from_slice(&domain.fft(values)));
        Ok(())
    }

    fn inverse(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        let domain = domain_of(values.len(), domain)?;
        workers.run(|| values.copy_from_slice(&domain.ifft(values)));
        Ok(())
    }
}
