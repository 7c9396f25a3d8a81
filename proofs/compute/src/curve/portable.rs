//! One lane, arkworks' arithmetic: the engine that runs everywhere, and the oracle of the vector one.

use std::marker::PhantomData;

use ark_ec::AffineRepr;
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ff::{Field, Zero};

use super::lanes::{Lanes, Pair, PairAdder, Point, Scratch, add_pairs, pairs_multiple};
use super::{Fq, Fq2, invert};

/// A field whose single inversion is worth speeding up.
pub(crate) trait BaseField: Field {
    /// The inverse of an element that is not zero.
    fn inverted(&self) -> Self;
}

impl BaseField for Fq {
    fn inverted(&self) -> Self {
        invert(self)
    }
}

impl BaseField for Fq2 {
    /// `1/(a + bu) = (a - bu)/(a² + b²)`.
    fn inverted(&self) -> Self {
        let inverse = invert(&(self.c0.square() + self.c1.square()));
        Self::new(self.c0 * inverse, -self.c1 * inverse)
    }
}

/// A single element.
#[derive(Clone, Copy)]
pub(crate) struct Single<F>(F);

impl<F: BaseField> Lanes for Single<F> {
    type Field = F;
    type Cell = F;
    const LANES: usize = 1;

    fn load<'a>(at: impl Fn(usize) -> &'a F) -> Self {
        Self(*at(0))
    }

    fn store(self, mut to: impl FnMut(usize, F)) {
        to(0, self.0);
    }

    fn one() -> Self {
        Self(F::ONE)
    }

    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    fn square(self) -> Self {
        Self(self.0.square())
    }

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    fn product_minus_two(self, first: Self, second: Self) -> Self {
        Self(self.0 - first.0 - second.0)
    }

    fn product_minus(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    fn negate_where(self, lanes: u32) -> Self {
        if lanes & 1 == 1 { Self(-self.0) } else { self }
    }

    fn needs_care(self, x1: Self, x2: Self) -> bool {
        self.0.is_zero() || x1.0.is_zero() || x2.0.is_zero()
    }

    fn cell(element: &F) -> F {
        *element
    }

    fn element(cell: &F) -> F {
        *cell
    }

    fn invert(element: &F) -> F {
        element.inverted()
    }
}

/// The portable engine of one curve.
pub(crate) struct Portable<P>(PhantomData<fn() -> P>);

impl<P> Clone for Portable<P> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<P> Portable<P> {
    /// The engine; it holds nothing.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P: SWCurveConfig<BaseField: BaseField>> PairAdder for Portable<P> {
    type Cell = P::BaseField;
    type Affine = Affine<P>;
    type Scratch = Scratch<Single<P::BaseField>>;
    const PAIRS_MULTIPLE: usize = pairs_multiple::<Single<P::BaseField>>();

    fn import(&self, points: &[Affine<P>], into: &mut [Point<Self::Cell>]) {
        for (point, into) in points.iter().zip(into) {
            *into = if point.is_zero() { Point::default() } else { Point { x: point.x, y: point.y } };
        }
    }

    fn export(&self, point: &Point<Self::Cell>) -> Affine<P> {
        if self.is_infinity(point) { Affine::identity() } else { Affine::new_unchecked(point.x, point.y) }
    }

    fn add_pairs(
        &self,
        scratch: &mut Self::Scratch,
        source: &[Point<Self::Cell>],
        pairs: &[Pair],
        sums: &mut [Point<Self::Cell>],
    ) {
        add_pairs(scratch, source, pairs, sums);
    }

    fn negated(&self, point: &Point<Self::Cell>) -> Point<Self::Cell> {
        Point { x: point.x, y: -point.y }
    }

    fn is_infinity(&self, point: &Point<Self::Cell>) -> bool {
        point.x.is_zero() && point.y.is_zero()
    }
}
