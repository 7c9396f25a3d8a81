//! Memory-mapped files, and points as bytes.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use crate::groth16::curve::{G1Affine, G2Affine};

/// A type that is nothing but integers: every bit pattern is a value, and there is no padding.
///
/// # Safety
/// Only for such types.
pub unsafe trait Plain: Copy {}

// SAFETY: transparent over 12 limbs of 64 bits.
unsafe impl Plain for G1Affine {}
// SAFETY: transparent over 24 limbs of 64 bits.
unsafe impl Plain for G2Affine {}

/// The memory of some points.
pub fn bytes_of<T: Plain>(points: &[T]) -> &[u8] {
    // SAFETY: plain integers without padding, read as bytes.
    unsafe { std::slice::from_raw_parts(points.as_ptr().cast(), size_of_val(points)) }
}

/// Some memory as points.
///
/// # Panics
/// If length or alignment do not fit.
pub fn points_in<T: Plain>(bytes: &[u8]) -> &[T] {
    assert!(bytes.len().is_multiple_of(size_of::<T>()), "whole points");
    assert!(bytes.as_ptr().cast::<T>().is_aligned(), "aligned points");
    // SAFETY: length and alignment were checked, and every bit pattern is a value.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// A file in memory, read-only, page by page as it is used.
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps a whole file.
    ///
    /// # Errors
    /// The system's, if it refuses (an empty file too).
    pub fn open(file: &Path) -> io::Result<Self> {
        let opened = File::open(file)?;
        // SAFETY: keys and matrices are written under another name and renamed into place, never changed afterwards.
        // Somebody who cuts one short while it is in use ends this process with a bus error, not with wrong memory.
        unsafe { memmap2::Mmap::map(&opened) }.map(Self)
    }

    /// Tells the system that a range will not be read again soon. What is read nevertheless comes from the file.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the mapping is read-only and of a file, so dropped pages come back with the same content.
            // Failure changes nothing: the pages stay.
            let _ = unsafe { self.0.unchecked_advise_range(advice, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
