//! Large vectors on large pages.
//!
//! A sum over millions of points reads its memory in random order. On pages of 4 KiB nearly every read misses the
//! processor's table of pages, and filling the vector takes a fault for each of them. Where the system offers pages of
//! 2 MiB on request, the vectors made here ask for them; elsewhere they are ordinary vectors. Nothing but time depends
//! on the answer.

#![allow(unsafe_code)]

/// Vectors shorter than this gain nothing: they lie in few pages, or in memory that is in use already.
const BYTES_MIN: usize = 4 << 20;

/// An empty vector with room for `count` values.
pub fn with_capacity<T>(count: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    request(&mut values);
    values
}

/// A vector of `count` times `value`.
pub fn filled<T: Clone>(count: usize, value: T) -> Vec<T> {
    let mut values = with_capacity(count);
    values.resize(count, value);
    values
}

/// Asks for large pages under the whole capacity. Those that are in use already stay as they are.
#[cfg(target_os = "linux")]
fn request<T>(values: &mut Vec<T>) {
    const PAGE: usize = 4096;
    let bytes = values.capacity() * size_of::<T>();
    if bytes < BYTES_MIN {
        return;
    }
    let start = values.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(PAGE);
    // SAFETY: the range lies within the vector's own allocation, which is longer than a page; the advice changes neither
    // content nor access. A refusal changes nothing, so it is not looked at.
    unsafe { libc::madvise(start.add(skipped).cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn request<T>(_: &mut Vec<T>) {
    let _ = BYTES_MIN;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_length_hold_what_they_were_filled_with() {
        for count in [0, 1, BYTES_MIN / 8 - 1, BYTES_MIN / 8, BYTES_MIN / 2 + 3] {
            let mut values = filled(count, 7u64);
            assert!(values.len() == count && values.iter().all(|value| *value == 7));
            values.push(8);
            assert_eq!(values.last(), Some(&8));
        }
        assert!(with_capacity::<u8>(BYTES_MIN + 1).capacity() > BYTES_MIN);
    }
}
