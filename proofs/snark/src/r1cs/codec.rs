//! Rows as bytes.
//!
//! All numbers are varints: seven bits a byte, least significant first, the top bit set on all but the last.
//!
//! ```text
//! row     = auxiliary terms * 2 + (1 if there are inputs)
//!           [ inputs, then for each: index | coefficient ]
//!           for each auxiliary term: index | coefficient
//! ```
//!
//! An input's index is relative to the one before it in the row. So is an auxiliary variable's; the first one in a row
//! is relative, with its sign in the lowest bit, to the highest that the block has named so far. A coefficient is its
//! position in the table; the first two are one and minus one.

use crate::terms::Column;

/// Position of the coefficient one.
pub(crate) const ONE: u32 = 0;
/// Position of the coefficient minus one.
pub(crate) const MINUS_ONE: u32 = 1;

/// Writes the rows of one block.
#[derive(Default)]
pub(crate) struct RowWriter {
    bytes: Vec<u8>,
    highest: u64,
}

impl RowWriter {
    /// Writes a row in canonical form: sorted, no variable twice.
    pub(crate) fn write(&mut self, terms: &[(Column, u32)]) {
        let inputs = terms.iter().take_while(|(column, _)| !column.is_aux()).count();
        let (inputs, aux) = terms.split_at(inputs);
        self.put(aux.len() as u64 * 2 + u64::from(!inputs.is_empty()));
        if !inputs.is_empty() {
            self.put(inputs.len() as u64);
            let mut previous = 0;
            for (column, coefficient) in inputs {
                self.put(column.index() - previous);
                self.put(u64::from(*coefficient));
                previous = column.index();
            }
        }
        let mut previous = None;
        for (column, coefficient) in aux {
            let index = column.index();
            match previous {
                None if index <= self.highest => self.put((self.highest - index) * 2),
                None => self.put((index - self.highest) * 2 + 1),
                Some(previous) => self.put(index - previous),
            }
            self.put(u64::from(*coefficient));
            previous = Some(index);
        }
        self.highest = self.highest.max(previous.unwrap_or(0));
    }

    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// The block; the writer starts the next one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }
}

/// Reads the rows of one block.
pub(crate) struct RowReader<'a> {
    bytes: &'a [u8],
    highest: u64,
}

impl<'a> RowReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, highest: 0 }
    }

    /// Reads a row, and gives its terms to `term`; `None` if it is cut short, or a number does not fit, or `term`
    /// refuses.
    #[inline]
    pub(crate) fn read(&mut self, mut term: impl FnMut(Column, u32) -> Option<()>) -> Option<()> {
        let head = self.get()?;
        if head & 1 == 1 {
            let mut index = 0u64;
            for _ in 0..self.get()? {
                index = index.checked_add(self.get()?)?;
                term(Column::input(index), self.get_coefficient()?)?;
            }
        }
        let aux = head >> 1;
        if aux == 0 {
            return Some(());
        }
        let first = self.get()?;
        let mut index = match first & 1 {
            0 => self.highest.checked_sub(first >> 1)?,
            _ => self.highest.checked_add(first >> 1)?,
        };
        term(Column::aux(index), self.get_coefficient()?)?;
        for _ in 1..aux {
            index = index.checked_add(self.get()?)?;
            term(Column::aux(index), self.get_coefficient()?)?;
        }
        self.highest = self.highest.max(index);
        Some(())
    }

    /// Whether all bytes are read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    fn get_coefficient(&mut self) -> Option<u32> {
        u32::try_from(self.get()?).ok()
    }

    /// A varint of at most nine bytes: 63 bits, so that no index reaches the bit that tells kinds apart.
    #[inline]
    fn get(&mut self) -> Option<u64> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        if *first < 0x80 {
            return Some(u64::from(*first));
        }
        let mut number = u64::from(*first & 0x7f);
        for shift in (7..63).step_by(7) {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(*byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
