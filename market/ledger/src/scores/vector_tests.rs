//! Agreement with Bittensor's published tests.
//!
//! The numbers are those of `spec/market.md` 6, which took them from opentensor/subtensor@14bc6f9f (2026-06-30, public
//! domain), `pallets/subtensor/src/tests/{math,epoch}.rs`: `test_math_weighted_median_col`, `test_bonds`,
//! `test_yuma_3_liquid_alpha_disabled`. Tolerance: 1e-3 for fractions, one level for 16-bit bonds, as there.

use cairn_protocol::Amount;

use super::Fraction;
use super::yuma::*;

fn thousandths(value: u64) -> Fraction {
    Fraction::of(value, 1_000)
}

fn grid(rows: &[&[u64]], whole: u64) -> Grid {
    Grid::from_fn(rows.len(), rows[0].len(), |i, j| Fraction::of(rows[i][j], whole))
}

fn amounts(stakes: &[u64]) -> Vec<Amount> {
    stakes.iter().map(|stake| Amount(*stake)).collect()
}

#[test]
fn clip_levels_are_the_weighted_medians() {
    let stakes = amounts(&[0, 75, 25, 0]);
    let weights = grid(&[&[0, 1, 0], &[0, 2, 4], &[0, 3, 1], &[0, 4, 5]], 10);
    let levels = |kappa| clip_levels(&stakes, &weights, thousandths(kappa));
    let tenths = |values: [u64; 3]| values.map(|value| Fraction::of(value, 10)).to_vec();
    assert_eq!(levels(240), tenths([0, 3, 4]));
    assert_eq!(levels(260), tenths([0, 2, 4]));
    assert_eq!(levels(760), tenths([0, 2, 1]));

    let weights = grid(&[&[0, 1, 0], &[0, 2, 4], &[0, 3, 1], &[0, 0, 5]], 10);
    let levels = clip_levels(&amounts(&[0, 30, 20, 50]), &weights, thousandths(510));
    assert_eq!(levels, tenths([0, 0, 4]));
}

/// One Yuma-1 epoch with penalty one; bonds are kept as levels between epochs.
fn yuma1_epoch(stakes: &[Amount], weights: &Grid, bonds: &mut Vec<Vec<u16>>) {
    let weights = rows_normalised(weights);
    let kept = clipped(&weights, &clip_levels(stakes, &weights, Fraction::of(32_767, 65_535)));
    let buying = bond_weights(&weights, &kept, Fraction::ONE);
    let previous = Grid::from_fn(weights.rows(), weights.columns(), |i, j| Fraction::from_u16(bonds[i][j]));
    *bonds = upscaled_levels(&relative_bonds(stakes, &buying, &previous, thousandths(100)));
}

#[test]
fn yuma_1_bonds_follow_the_published_sequence() {
    let stakes = amounts(&[1, 2, 3, 4]);
    let all: &[u64] = &[16_383, 32_767, 49_149, 65_535];
    let (none, last): (&[u64], &[u64]) = (&[0; 4], &[0, 0, 0, 65_535]);
    let mut bonds = vec![vec![0u16; 4]; 4];
    let mut epoch = |rows: [&[u64]; 4], column: usize, expected: &[u16]| {
        yuma1_epoch(&stakes, &grid(&rows, 65_535), &mut bonds);
        for (row, expected) in bonds.iter().zip(expected) {
            assert!(row[column].abs_diff(*expected) <= 1, "{bonds:?}, expected {expected} in column {column}");
        }
    };
    epoch([all; 4], 0, &[16_383, 32_767, 49_151, 65_535]);
    // Validator 1 weighs itself alone, then validator 2 does; weight on oneself is masked.
    epoch([none, all, all, all], 0, &[14_582, 32_767, 49_151, 65_535]);
    epoch([none, none, all, all], 0, &[12_603, 28_321, 49_151, 65_535]);
    // Validator 3 puts everything on server 4.
    epoch([none, none, last, all], 3, &[10_951, 24_609]);
    epoch([none, none, last, all], 3, &[9_559, 21_482]);
    epoch([none, none, last, all], 3, &[8_376, 18_824]);
}

#[test]
fn yuma_3_dividends_follow_the_published_sequence() {
    let stakes = amounts(&[33, 33, 34]);
    let (first, second): (&[u64], &[u64]) = (&[1, 0], &[0, 1]);
    let expected = [
        [3_300, 3_300, 3_400],
        [3_300, 3_300, 3_400],
        [3_734, 3_734, 2_532],
        [3_611, 3_611, 2_779],
        [3_541, 3_541, 2_919],
        [3_495, 3_495, 3_009],
    ];
    let mut bonds = Grid::zeros(3, 2);
    for (epoch, expected) in expected.into_iter().enumerate() {
        // In the third epoch the third validator backs the other server; penalty 0 lets it buy that bond.
        let weights = grid(&[first, first, if epoch == 2 { second } else { first }], 1);
        let kept = clipped(&weights, &clip_levels(&stakes, &weights, thousandths(500)));
        let incentives = normalised(&ranks(&stakes, &kept));
        let buying = bond_weights(&weights, &kept, Fraction::ZERO);
        let moved = individual_bonds(&buying, &bonds, thousandths(25));
        bonds = Grid::from_fn(3, 2, |i, j| Fraction::from_u16(moved.get(i, j).to_u16()));
        let dividends = individual_dividends(&stakes, &moved, &incentives);
        for (dividend, expected) in dividends.iter().zip(expected) {
            let error = dividend.raw().abs_diff(Fraction::of(expected, 10_000).raw());
            assert!(error <= thousandths(1).raw(), "epoch {epoch}: {dividend}, expected {expected} of 10,000");
        }
    }
}

#[test]
fn trust_is_what_the_clip_leaves() {
    let stakes = amounts(&[6, 4]);
    let weights = grid(&[&[1, 1], &[0, 2]], 2);
    let kept = clipped(&weights, &clip_levels(&stakes, &weights, Fraction::of(1, 2)));
    assert_eq!(trust(&kept), vec![Fraction::ONE, Fraction::of(1, 2)]);
}
