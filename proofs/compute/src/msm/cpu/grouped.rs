//! Sums of the same points in many groupings: one affine addition for each point and grouping.

use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use rayon::prelude::*;

use super::sums::{Groups, sum_groups};
use super::{Arithmetic, CpuMsm, import};
use crate::Workers;
use crate::curve::lanes::PairAdder;
use crate::curve::portable::Portable;
use crate::curve::{G1Affine, G2Affine};

/// Groups of a grouping.
pub const GROUPS: usize = 1 << u8::BITS;

/// Which of the [`GROUPS`] groups each point is in.
pub type Grouping = Vec<u8>;

impl CpuMsm {
    /// The sum of each group, for each grouping. Points need only lie on the curve.
    ///
    /// # Panics
    /// If a grouping has another number of points.
    pub fn group_sums_g1(&self, workers: &Workers, points: &[G1Affine], groupings: &[Grouping]) -> Vec<Vec<G1Affine>> {
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => group_sums(&Portable::new(), points, groupings),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => {
                group_sums(&crate::curve::ifma::IfmaAdder::new(processor), points, groupings)
            }
        })
    }

    /// As [`group_sums_g1`](Self::group_sums_g1), in the second group.
    ///
    /// # Panics
    /// As there.
    pub fn group_sums_g2(&self, workers: &Workers, points: &[G2Affine], groupings: &[Grouping]) -> Vec<Vec<G2Affine>> {
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => group_sums(&Portable::new(), points, groupings),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => {
                group_sums(&crate::curve::ifma::IfmaAdder::new(processor), points, groupings)
            }
        })
    }
}

fn group_sums<P, A>(adder: &A, bases: &[Affine<P>], groupings: &[Grouping]) -> Vec<Vec<Affine<P>>>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    let points = import(adder, bases.into(), &(0..bases.len()).collect::<Vec<_>>());
    let sums_of = |grouping: &Grouping| {
        assert_eq!(grouping.len(), points.len(), "a group for every point");
        // Group 0 of the sort stays empty.
        let sorted = Groups::sorted(points.len(), GROUPS + 1, |index| (usize::from(grouping[index]) + 1, false));
        let sums = sum_groups(adder, &points, sorted);
        sums[1..].iter().map(|sum| adder.export(sum)).collect()
    };
    groupings.par_iter().map(sums_of).collect()
}
