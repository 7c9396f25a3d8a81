//! Arrays written out element by element.
//!
//! Vector code must reach the processor as one function: a closure handed to `array::from_fn` or `map` may stay a call,
//! and then every instruction inside it becomes one too. This macro leaves no closure behind.

/// `unrolled!(5, index => value)` is `[value with index 0, .., value with index 4]`.
macro_rules! unrolled {
    (@ $index:ident, $value:expr, $($number:literal)*) => {
        [$({
            const $index: usize = $number;
            $value
        }),*]
    };
    (4, $index:ident => $value:expr) => { $crate::unrolled::unrolled!(@ $index, $value, 0 1 2 3) };
    (5, $index:ident => $value:expr) => { $crate::unrolled::unrolled!(@ $index, $value, 0 1 2 3 4) };
    (7, $index:ident => $value:expr) => { $crate::unrolled::unrolled!(@ $index, $value, 0 1 2 3 4 5 6) };
    (8, $index:ident => $value:expr) => { $crate::unrolled::unrolled!(@ $index, $value, 0 1 2 3 4 5 6 7) };
}

pub(crate) use unrolled;
