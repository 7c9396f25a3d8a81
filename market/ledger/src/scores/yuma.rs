//! Yuma consensus: clip, incentive, bonds, dividends.
//!
//! Source: `spec/market.md` 6, whose letters are used here. Rows are checkers `i` with stake `S_i`, columns providers
//! `j`, `W_ij` the weight that `i` gives `j`. Steps, in the order of the functions:
//!
//! 1. `C_j  = max { w : sum_i S_i [W_ij >= w] >= kappa * sum_i S_i }`: [`clip_level`], [`clip_levels`].
//! 2. `Wc_ij = min(W_ij, C_j)`: [`clipped`].
//! 3. `R_j = sum_i S_i Wc_ij / sum_i S_i`, `I_j = R_j / sum R`: [`ranks`], [`normalised`].
//! 4. `Wb = (1 - beta) W + beta Wc`: [`bond_weights`].
//! 5. Bonds move, dividends follow from them: [`relative_bonds`] and [`relative_dividends`] (Yuma-1, where a column is
//!    shared out), [`individual_bonds`] and [`individual_dividends`] (Yuma-3, where each checker has its own).
//!
//! Stakes are integers and are not normalised first: `kappa` is compared with exact sums. With at most 65,536 checkers
//! no sum of stake times fraction reaches 2^112, so nothing here overflows whatever the stakes are.
//!
//! Not taken over: liquid alpha (a bond speed that depends on dissent); the timelocked form of commit and reveal.

use cairn_protocol::Amount;

use super::Fraction;

/// Most rows of a [`Grid`].
pub const CHECKERS_MAX: usize = 1 << 16;

/// A table of fractions: one row per checker, one column per provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    rows: usize,
    columns: usize,
    cells: Vec<Fraction>,
}

impl Grid {
    /// The table whose cell at row `i`, column `j` is `cell(i, j)`.
    pub fn from_fn(rows: usize, columns: usize, cell: impl Fn(usize, usize) -> Fraction) -> Self {
        assert!(rows <= CHECKERS_MAX, "a round has at most 65,536 checkers");
        let cells = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect();
        Self { rows, columns, cells }
    }

    /// A table of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self::from_fn(rows, columns, |_, _| Fraction::ZERO)
    }

    /// Number of checkers.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of providers.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A checker's cells.
    pub fn row(&self, i: usize) -> &[Fraction] {
        &self.cells[i * self.columns..(i + 1) * self.columns]
    }

    /// A provider's cells, by checker.
    pub fn column(&self, j: usize) -> impl Iterator<Item = Fraction> {
        (0..self.rows).map(move |i| self.get(i, j))
    }

    /// One cell.
    pub fn get(&self, i: usize, j: usize) -> Fraction {
        self.cells[i * self.columns + j]
    }
}

fn weighted(stake: Amount, fraction: Fraction) -> u128 {
    u128::from(stake.0) * u128::from(fraction.raw())
}

fn total(stakes: &[Amount]) -> u128 {
    stakes.iter().copied().sum()
}

/// Step 1 for one provider: the largest weight that at least `kappa` of the stake of `votes` gives it, or more. Zero if
/// there is no stake. Sorts `votes`.
pub fn clip_level(votes: &mut [(Fraction, Amount)], kappa: Fraction) -> Fraction {
    let all: u128 = votes.iter().map(|(_, stake)| *stake).sum();
    if all == 0 {
        return Fraction::ZERO;
    }
    votes.sort_unstable_by(|a, b| b.cmp(a));
    let needed = all * u128::from(kappa.raw());
    let mut agreeing = 0u128;
    for (weight, stake) in votes.iter() {
        agreeing += u128::from(stake.0);
        if agreeing << Fraction::BITS >= needed {
            return *weight;
        }
    }
    Fraction::ZERO
}

/// Step 1 for every provider.
pub fn clip_levels(stakes: &[Amount], weights: &Grid, kappa: Fraction) -> Vec<Fraction> {
    (0..weights.columns())
        .map(|j| clip_level(&mut weights.column(j).zip(stakes.iter().copied()).collect::<Vec<_>>(), kappa))
        .collect()
}

/// Step 2.
pub fn clipped(weights: &Grid, levels: &[Fraction]) -> Grid {
    Grid::from_fn(weights.rows(), weights.columns(), |i, j| weights.get(i, j).min(levels[j]))
}

/// Each row divided by its sum; a row of zeros stays one.
pub fn rows_normalised(weights: &Grid) -> Grid {
    let rows: Vec<Vec<Fraction>> = (0..weights.rows()).map(|i| normalised(weights.row(i))).collect();
    Grid::from_fn(weights.rows(), weights.columns(), |i, j| rows[i][j])
}

/// Each value divided by the sum; zeros stay zeros. What rounding leaves belongs to nobody.
pub fn normalised(values: &[Fraction]) -> Vec<Fraction> {
    let sum: u128 = values.iter().map(|value| u128::from(value.raw())).sum();
    values.iter().map(|value| Fraction::of_sums(value.raw().into(), sum)).collect()
}

/// Step 3, first part: the stake's mean of each column.
pub fn ranks(stakes: &[Amount], clipped: &Grid) -> Vec<Fraction> {
    let all = total(stakes);
    let rank = |j| {
        let sum: u128 = clipped.column(j).zip(stakes).map(|(weight, stake)| weighted(*stake, weight)).sum();
        Fraction::from_raw(sum.checked_div(all).unwrap_or(0) as u64).expect("a mean of fractions")
    };
    (0..clipped.columns()).map(rank).collect()
}

/// `Tv_i = sum_j Wc_ij`: how much of a checker's normalised row survived the clip.
pub fn trust(clipped: &Grid) -> Vec<Fraction> {
    let sum = |i| clipped.row(i).iter().fold(Fraction::ZERO, |sum, cell| sum.plus_up_to_one(*cell));
    (0..clipped.rows()).map(sum).collect()
}

/// Step 4: weights for bonds, with the penalty `beta` on what was clipped away.
pub fn bond_weights(weights: &Grid, clipped: &Grid, beta: Fraction) -> Grid {
    Grid::from_fn(weights.rows(), weights.columns(), |i, j| weights.get(i, j).moved_towards(clipped.get(i, j), beta))
}

/// Divides `S_i x_ij` by its column's sum.
fn stake_shares(stakes: &[Amount], cells: &Grid) -> Grid {
    let sums: Vec<u128> = (0..cells.columns())
        .map(|j| cells.column(j).zip(stakes).map(|(cell, stake)| weighted(*stake, cell)).sum())
        .collect();
    Grid::from_fn(cells.rows(), cells.columns(), |i, j| {
        if sums[j] == 0 { Fraction::ZERO } else { Fraction::of_sums(weighted(stakes[i], cells.get(i, j)), sums[j]) }
    })
}

fn columns_normalised(cells: &Grid) -> Grid {
    let columns: Vec<Vec<Fraction>> =
        (0..cells.columns()).map(|j| normalised(&cells.column(j).collect::<Vec<_>>())).collect();
    Grid::from_fn(cells.rows(), cells.columns(), |i, j| columns[j][i])
}

/// Step 5, Yuma-1: `B = normcol(alpha dB + (1 - alpha) normcol(previous))` with
/// `dB_ij = S_i Wb_ij / sum_k S_k Wb_kj`.
pub fn relative_bonds(stakes: &[Amount], weights: &Grid, previous: &Grid, alpha: Fraction) -> Grid {
    let (bought, held) = (stake_shares(stakes, weights), columns_normalised(previous));
    let moved =
        Grid::from_fn(weights.rows(), weights.columns(), |i, j| held.get(i, j).moved_towards(bought.get(i, j), alpha));
    columns_normalised(&moved)
}

/// Yuma-1 dividends: `D_i = norm(sum_j B_ij I_j)`.
pub fn relative_dividends(bonds: &Grid, incentives: &[Fraction]) -> Vec<Fraction> {
    let earned = |i| {
        let products = bonds.row(i).iter().zip(incentives).map(|(bond, incentive)| bond.times(*incentive));
        products.fold(Fraction::ZERO, Fraction::plus_up_to_one)
    };
    normalised(&(0..bonds.rows()).map(earned).collect::<Vec<_>>())
}

/// Each column divided by its largest cell, in 16-bit levels: how Yuma-1 bonds are kept.
pub fn upscaled_levels(bonds: &Grid) -> Vec<Vec<u16>> {
    let tops: Vec<Fraction> = (0..bonds.columns()).map(|j| bonds.column(j).max().unwrap_or(Fraction::ZERO)).collect();
    let level = |i: usize, j: usize| Fraction::of(bonds.get(i, j).raw(), tops[j].raw()).to_u16();
    (0..bonds.rows()).map(|i| (0..bonds.columns()).map(|j| level(i, j)).collect()).collect()
}

/// Step 5, Yuma-3: `B_ij = (1 - alpha) previous_ij + alpha Wb_ij`.
pub fn individual_bonds(weights: &Grid, previous: &Grid, alpha: Fraction) -> Grid {
    Grid::from_fn(weights.rows(), weights.columns(), |i, j| previous.get(i, j).moved_towards(weights.get(i, j), alpha))
}

/// Yuma-3 dividends: `D_i = norm(S_i sum_j (B_ij / sum_k B_kj) I_j)`.
pub fn individual_dividends(stakes: &[Amount], bonds: &Grid, incentives: &[Fraction]) -> Vec<Fraction> {
    let shares = columns_normalised(bonds);
    let earned: Vec<u128> = stakes
        .iter()
        .enumerate()
        .map(|(i, stake)| {
            let products = shares.row(i).iter().zip(incentives).map(|(share, incentive)| share.times(*incentive));
            weighted(*stake, products.fold(Fraction::ZERO, Fraction::plus_up_to_one))
        })
        .collect();
    let sum = earned.iter().sum();
    earned.into_iter().map(|part| Fraction::of_sums(part, sum)).collect()
}
