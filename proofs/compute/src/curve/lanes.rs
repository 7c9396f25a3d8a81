//! Additions of many independent pairs of affine points, written once over lanes of field elements.
//!
//! An affine addition is `λ = (y₂ - y₁)/(x₂ - x₁)`, `x₃ = λ² - x₁ - x₂`, `y₃ = λ(x₁ - x₃) - y₁`. With the inverse at
//! hand that is two multiplications and a square. All pairs of a call share one inversion (Montgomery's trick):
//!
//! 1. forward: with `d = x₂ - x₁` of each pair keep the product of all earlier d, and multiply d in: one multiplication;
//! 2. invert the product of all;
//! 3. backward: the inverse times the kept product is `1/d`; the inverse times d is the inverse for the pair before:
//!    two multiplications; then the addition itself.
//!
//! So an addition costs **six multiplications** (one of them a square), against ten for a mixed addition in XYZZ
//! coordinates. The products run in two independent chains, since a chain of multiplications waits for each result.
//!
//! Pairs for which the formula does not hold (a point at infinity, equal or opposite points) are found by a filter
//! that looks at the lowest limbs only and hardly ever fires by chance; what it finds is then examined exactly. Equal
//! points double in the same lanes (`d = 2y`, numerator `3x²`), the others are written afterwards.
//!
//! Infinity in memory is `x = y = 0`, which lies on neither curve.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field};

/// A point in the memory form of an engine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Point<C> {
    pub x: C,
    pub y: C,
}

/// Indices of two points to add, each doubled, plus one if the point is to be negated first; and where the sum goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub first: u32,
    pub second: u32,
    pub target: u32,
}

/// Independent chains of products in a call, hence vectors handled together.
const CHAINS: usize = 2;

/// Lanes of any kind are at most this many.
pub(crate) const LANES_MAX: usize = 8;

/// An engine that adds pairs of points of one curve.
pub(crate) trait PairAdder: Clone + Send + Sync {
    /// Memory form of a coordinate.
    type Cell: Copy + Default + Send + Sync;
    /// The points outside.
    type Affine: AffineRepr;
    /// What a call leaves behind for the next: memory only.
    type Scratch: Default + Send;

    /// Number of pairs that a call must be a multiple of.
    const PAIRS_MULTIPLE: usize;

    /// Converts points; infinity becomes zeros.
    fn import(&self, points: &[Self::Affine], into: &mut [Point<Self::Cell>]);

    /// Converts a point back.
    fn export(&self, point: &Point<Self::Cell>) -> Self::Affine;

    /// Writes the sum of each pair of `source` to its target in `sums`.
    fn add_pairs(
        &self,
        scratch: &mut Self::Scratch,
        source: &[Point<Self::Cell>],
        pairs: &[Pair],
        sums: &mut [Point<Self::Cell>],
    );

    /// The opposite of a point.
    fn negated(&self, point: &Point<Self::Cell>) -> Point<Self::Cell>;

    /// Whether a point is the one at infinity.
    fn is_infinity(&self, point: &Point<Self::Cell>) -> bool;
}

/// Field elements side by side. Values need not be fully reduced; each operation says what it needs.
pub(crate) trait Lanes: Copy {
    /// The field outside.
    type Field: Field;
    /// One element in memory, nearly reduced.
    type Cell: Copy + Default + Send + Sync;
    /// Elements side by side.
    const LANES: usize;

    /// Gathers one element per lane.
    fn load<'a>(at: impl Fn(usize) -> &'a Self::Cell) -> Self
    where
        Self::Cell: 'a;
    /// Scatters the lanes. Takes nearly reduced values.
    fn store(self, to: impl FnMut(usize, Self::Cell));
    /// One in every lane.
    fn one() -> Self;
    /// Product; takes any result of the other operations.
    fn mul(self, other: Self) -> Self;
    /// Square; takes any result of the other operations.
    fn square(self) -> Self;
    /// Difference, ready to be multiplied; takes nearly reduced values, also negated ones.
    fn sub(self, other: Self) -> Self;
    /// `self - first - second`, nearly reduced. Takes a product and two nearly reduced values.
    fn product_minus_two(self, first: Self, second: Self) -> Self;
    /// `self - other`, nearly reduced. Takes a product and a nearly reduced value, also a negated one.
    fn product_minus(self, other: Self) -> Self;
    /// Negates the lanes whose bit is set. Takes nearly reduced values.
    fn negate_where(self, lanes: u32) -> Self;
    /// The filter: false only if no lane of `self = x₂ - x₁` is zero and neither `x₁` nor `x₂` is all zeros in a lane.
    fn needs_care(self, x1: Self, x2: Self) -> bool;
    /// Memory form of an element, fully reduced.
    fn cell(element: &Self::Field) -> Self::Cell;
    /// The element of a memory form that need not be fully reduced.
    fn element(cell: &Self::Cell) -> Self::Field;
    /// The inverse of an element that is not zero.
    fn invert(element: &Self::Field) -> Self::Field;
    /// Says that a cell will be loaded soon.
    fn prefetch(_cell: &Self::Cell) {}
}

/// Memory of [`add_pairs`]: for each vector of pairs its d and the product before it, and the vectors with care.
pub(crate) struct Scratch<L: Lanes> {
    steps: Vec<(L, L)>,
    cares: Vec<(usize, [Care; LANES_MAX])>,
}

impl<L: Lanes> Default for Scratch<L> {
    fn default() -> Self {
        Self { steps: Vec::new(), cares: Vec::new() }
    }
}

/// What a lane is after the exact look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    Ordinary,
    Double,
    /// The second is infinity: the sum is the first.
    First,
    /// The first is infinity: the sum is the second.
    Second,
    /// Opposite points.
    Infinity,
}

/// Number of pairs that a call with lanes `L` must be a multiple of.
pub(crate) const fn pairs_multiple<L: Lanes>() -> usize {
    L::LANES * CHAINS
}

#[inline(always)]
fn negations(group: &[Pair], pick: impl Fn(&Pair) -> u32) -> u32 {
    group.iter().enumerate().fold(0, |mask, (lane, pair)| mask | (pick(pair) & 1) << lane)
}

/// The additions, as the module describes. Inlined into each engine's entry, so that it is compiled for its processor.
#[inline(always)]
pub(crate) fn add_pairs<L: Lanes>(
    scratch: &mut Scratch<L>,
    source: &[Point<L::Cell>],
    pairs: &[Pair],
    sums: &mut [Point<L::Cell>],
) {
    assert_eq!(pairs.len() % pairs_multiple::<L>(), 0, "pairs of a call");
    scratch.steps.clear();
    scratch.cares.clear();
    let mut products = [L::one(); CHAINS];
    for (step, both) in pairs.chunks_exact(pairs_multiple::<L>()).enumerate() {
        let ahead = (step + 2) * pairs_multiple::<L>();
        for pair in pairs.iter().skip(ahead).take(pairs_multiple::<L>()) {
            L::prefetch(&source[(pair.first >> 1) as usize].x);
            L::prefetch(&source[(pair.second >> 1) as usize].x);
        }
        for (chain, product) in products.iter_mut().enumerate() {
            let group = &both[chain * L::LANES..(chain + 1) * L::LANES];
            let x1 = L::load(|lane| &source[(group[lane].first >> 1) as usize].x);
            let x2 = L::load(|lane| &source[(group[lane].second >> 1) as usize].x);
            let mut difference = x2.sub(x1);
            if difference.needs_care(x1, x2) {
                difference = examine(scratch, source, group, step * CHAINS + chain);
            }
            scratch.steps.push((difference, *product));
            *product = product.mul(difference);
        }
    }
    let mut inverses = invert_lanes(products);
    for (step, both) in pairs.chunks_exact(pairs_multiple::<L>()).enumerate().rev() {
        let ahead = (step.max(2) - 2) * pairs_multiple::<L>();
        for pair in pairs.iter().skip(ahead).take(pairs_multiple::<L>()) {
            for index in [pair.first, pair.second] {
                L::prefetch(&source[(index >> 1) as usize].x);
                L::prefetch(&source[(index >> 1) as usize].y);
            }
        }
        for (chain, inverse) in inverses.iter_mut().enumerate().rev() {
            let group = &both[chain * L::LANES..(chain + 1) * L::LANES];
            let number = step * CHAINS + chain;
            let (difference, before) = scratch.steps[number];
            let inverted = inverse.mul(before);
            *inverse = inverse.mul(difference);
            let mut y1 = L::load(|lane| &source[(group[lane].first >> 1) as usize].y);
            let mut y2 = L::load(|lane| &source[(group[lane].second >> 1) as usize].y);
            let negative = (negations(group, |pair| pair.first), negations(group, |pair| pair.second));
            if negative != (0, 0) {
                y1 = y1.negate_where(negative.0);
                y2 = y2.negate_where(negative.1);
            }
            let x1 = L::load(|lane| &source[(group[lane].first >> 1) as usize].x);
            let x2 = L::load(|lane| &source[(group[lane].second >> 1) as usize].x);
            let mut numerator = y2.sub(y1);
            let care = scratch.cares.last().filter(|care| care.0 == number).map(|care| care.1);
            if let Some(care) = &care {
                numerator = double_numerators(source, group, care, numerator);
            }
            let slope = numerator.mul(inverted);
            let x3 = slope.square().product_minus_two(x1, x2);
            let y3 = slope.mul(x1.sub(x3)).product_minus(y1);
            x3.store(|lane, cell| sums[group[lane].target as usize].x = cell);
            y3.store(|lane, cell| sums[group[lane].target as usize].y = cell);
            if let Some(care) = care {
                scratch.cares.pop();
                write_exceptions::<L>(source, group, &care, sums);
            }
        }
    }
}

/// Inverts every lane of every chain with one inversion.
#[inline(always)]
fn invert_lanes<L: Lanes>(products: [L; CHAINS]) -> [L; CHAINS] {
    let mut elements = [L::Field::ONE; CHAINS * LANES_MAX];
    for (chain, product) in products.into_iter().enumerate() {
        product.store(|lane, cell| elements[chain * L::LANES + lane] = L::element(&cell));
    }
    let cells = invert_all::<L>(&elements[..CHAINS * L::LANES]);
    let mut inverses = products;
    for (chain, inverse) in inverses.iter_mut().enumerate() {
        *inverse = L::load(|lane| &cells[chain * L::LANES + lane]);
    }
    inverses
}

#[inline(never)]
fn invert_all<L: Lanes>(elements: &[L::Field]) -> [L::Cell; CHAINS * LANES_MAX] {
    let mut before = [L::Field::ONE; CHAINS * LANES_MAX];
    let mut product = L::Field::ONE;
    for (element, before) in elements.iter().zip(&mut before) {
        *before = product;
        product *= element;
    }
    let mut inverse = L::invert(&product);
    let mut cells = [L::Cell::default(); CHAINS * LANES_MAX];
    for (index, element) in elements.iter().enumerate().rev() {
        cells[index] = L::cell(&(inverse * before[index]));
        inverse *= element;
    }
    cells
}

/// Coordinates of a pair as field elements, negated as asked.
fn coordinates<L: Lanes>(source: &[Point<L::Cell>], index: u32) -> (L::Field, L::Field) {
    let point = &source[(index >> 1) as usize];
    let y = L::element(&point.y);
    (L::element(&point.x), if index & 1 == 1 { -y } else { y })
}

/// The exact look: notes what each lane is and returns d with a stand-in where the formula does not hold.
#[cold]
#[inline(never)]
fn examine<L: Lanes>(scratch: &mut Scratch<L>, source: &[Point<L::Cell>], group: &[Pair], number: usize) -> L {
    let mut cares = [Care::Ordinary; LANES_MAX];
    let mut differences = [L::Cell::default(); LANES_MAX];
    for (lane, pair) in group.iter().enumerate() {
        let (first, second) = (coordinates::<L>(source, pair.first), coordinates::<L>(source, pair.second));
        let zero = (L::Field::ZERO, L::Field::ZERO);
        let (care, difference) = if second == zero {
            (Care::First, L::Field::ONE)
        } else if first == zero {
            (Care::Second, L::Field::ONE)
        } else if first.0 != second.0 {
            (Care::Ordinary, second.0 - first.0)
        } else if first.1 == second.1 && first.1 != L::Field::ZERO {
            (Care::Double, first.1.double())
        } else {
            (Care::Infinity, L::Field::ONE)
        };
        cares[lane] = care;
        differences[lane] = L::cell(&difference);
    }
    if cares.iter().any(|care| *care != Care::Ordinary) {
        scratch.cares.push((number, cares));
    }
    L::load(|lane| &differences[lane])
}

#[cold]
#[inline(never)]
fn double_numerators<L: Lanes>(
    source: &[Point<L::Cell>],
    group: &[Pair],
    cares: &[Care; LANES_MAX],
    numerator: L,
) -> L {
    let one = L::one();
    let mut cells = [L::Cell::default(); LANES_MAX];
    numerator.mul(one).store(|lane, cell| cells[lane] = cell);
    for (lane, pair) in group.iter().enumerate().filter(|(lane, _)| cares[*lane] == Care::Double) {
        let square = coordinates::<L>(source, pair.first).0.square();
        cells[lane] = L::cell(&(square.double() + square));
    }
    L::load(|lane| &cells[lane])
}

#[cold]
#[inline(never)]
fn write_exceptions<L: Lanes>(
    source: &[Point<L::Cell>],
    group: &[Pair],
    cares: &[Care; LANES_MAX],
    sums: &mut [Point<L::Cell>],
) {
    for (lane, pair) in group.iter().enumerate() {
        let sum = match cares[lane] {
            Care::Ordinary | Care::Double => continue,
            Care::First => coordinates::<L>(source, pair.first),
            Care::Second => coordinates::<L>(source, pair.second),
            Care::Infinity => (L::Field::ZERO, L::Field::ZERO),
        };
        sums[pair.target as usize] = Point { x: L::cell(&sum.0), y: L::cell(&sum.1) };
    }
}
