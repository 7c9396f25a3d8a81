//! How many bytes a grant or a channel has used, across restarts and crashes.
//!
//! Bytes are reserved before the first is sent and settled by what the socket truly took, so that requests side by side
//! cannot pass a limit together. A file for each name holds a *mark*. It is not written for every request; [`Rounding`]
//! says on which side of the truth it lies meanwhile:
//!
//! - [`Rounding::Up`]: the mark is ahead of everything reserved, by at most a step. After a crash that much may be lost to
//!   the bearer, and an issuer's limit is never passed.
//! - [`Rounding::Down`]: the mark is behind, by at most a step and what was under way. After a crash that much was served
//!   for nothing, and a payer is never charged for what was not sent.
//!
//! [`Meter::flush`], at an orderly end, writes the truth.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_content::durable::{self, PathError};

/// Names whose counts are kept in memory; beyond, those that nobody uses are written and forgotten.
const COUNTS_MAX: usize = 4_096;

/// Where the mark may lie after a crash; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// At or above the truth.
    Up,
    /// At or below it.
    Down,
}

/// Why bytes are not reserved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The limit would be passed.
    #[error("{asked} bytes are asked for, {left} of {limit} are left")]
    Spent {
        /// In all.
        limit: u64,
        /// Neither used nor reserved.
        left: u64,
        /// Bytes of this request.
        asked: u64,
    },
    /// More names are in use than are counted at a time.
    #[error("{COUNTS_MAX} grants are in use at this moment; try again")]
    Busy,
    /// The folder cannot be used.
    #[error("the meter's file {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<PathError> for MeterError {
    fn from(PathError { path, error }: PathError) -> Self {
        Self::Io { path, source: error }
    }
}

#[derive(Debug, Default)]
struct Count {
    used: u64,
    reserved: u64,
    mark: u64,
    /// Reservations that are not settled.
    live: usize,
}

/// Counts bytes by name.
#[derive(Debug)]
pub struct Meter {
    dir: PathBuf,
    step_bytes: u64,
    counts: Mutex<HashMap<String, Count>>,
}

impl Meter {
    /// Opens the folder; made if missing. One process at a time. `step_bytes` is how far a mark may lie from the truth.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path, step_bytes: u64) -> Result<Arc<Self>, MeterError> {
        fs::create_dir_all(dir).map_err(|source| MeterError::Io { path: dir.to_owned(), source })?;
        Ok(Arc::new(Self { dir: dir.to_owned(), step_bytes, counts: Mutex::default() }))
    }

    /// Takes `bytes` of what `name` has left under `limit`. May write a file.
    ///
    /// # Errors
    /// [`MeterError`]; nothing is reserved then.
    ///
    /// # Panics
    /// If the name is not of lower-case letters, digits and hyphens: it becomes a file's.
    pub fn reserve(
        self: &Arc<Self>,
        name: &str,
        limit: Option<u64>,
        bytes: u64,
        rounding: Rounding,
    ) -> Result<Reservation, MeterError> {
        assert!(
            !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
            "{name}"
        );
        let mut counts = self.lock();
        if !counts.contains_key(name) {
            self.make_room(&mut counts)?;
            let used = self.read(name)?;
            counts.insert(name.to_owned(), Count { used, mark: used, ..Count::default() });
        }
        let count = counts.get_mut(name).expect("there now");
        let taken = count.used.saturating_add(count.reserved);
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(taken));
        if bytes > left {
            return Err(MeterError::Spent { limit: limit.unwrap_or(u64::MAX), left, asked: bytes });
        }
        let after = taken.saturating_add(bytes);
        let mark = match rounding {
            Rounding::Up if after > count.mark => after.saturating_add(self.step_bytes).min(limit.unwrap_or(u64::MAX)),
            Rounding::Down if count.used >= count.mark.saturating_add(self.step_bytes) => count.used,
            _ => count.mark,
        };
        if mark != count.mark {
            self.write(name, mark)?;
            count.mark = mark;
        }
        count.reserved += bytes;
        count.live += 1;
        Ok(Reservation { meter: self.clone(), name: name.to_owned(), bytes, sent: AtomicU64::new(0) })
    }

    /// Bytes used and settled.
    ///
    /// # Errors
    /// The file system's.
    pub fn used(&self, name: &str) -> Result<u64, MeterError> {
        let counts = self.lock();
        counts.get(name).map_or_else(|| self.read(name), |count| Ok(count.used))
    }

    /// Writes what was truly used.
    ///
    /// # Errors
    /// The file system's.
    pub fn flush(&self) -> Result<(), MeterError> {
        let mut counts = self.lock();
        counts.iter_mut().try_for_each(|(name, count)| self.settle(name, count))
    }

    fn settle(&self, name: &str, count: &mut Count) -> Result<(), MeterError> {
        if count.mark != count.used {
            self.write(name, count.used)?;
            count.mark = count.used;
        }
        Ok(())
    }

    fn make_room(&self, counts: &mut HashMap<String, Count>) -> Result<(), MeterError> {
        if counts.len() < COUNTS_MAX {
            return Ok(());
        }
        let idle: Vec<String> =
            counts.iter().filter(|(_, count)| count.live == 0).map(|(name, _)| name.clone()).collect();
        for name in idle {
            let mut count = counts.remove(&name).expect("listed");
            self.settle(&name, &mut count)?;
        }
        if counts.len() < COUNTS_MAX { Ok(()) } else { Err(MeterError::Busy) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        // Every change under the lock is complete before anything can panic.
        self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self, name: &str) -> Result<u64, MeterError> {
        let path = self.dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(MeterError::Io { path, source }),
        };
        let number = text.strip_suffix('\n').and_then(|digits| digits.parse().ok());
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("expected one number, got {text:.40?}"));
        number.ok_or_else(|| MeterError::Io { path, source: damaged() })
    }

    fn write(&self, name: &str, mark: u64) -> Result<(), MeterError> {
        Ok(durable::write(&self.dir.join(name), format!("{mark}\n").as_bytes())?)
    }
}

/// Bytes that a request may send. What it does not say that it sent is given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    meter: Arc<Meter>,
    name: String,
    bytes: u64,
    sent: AtomicU64,
}

impl Reservation {
    /// Takes over what another reservation of the same name has reserved.
    ///
    /// # Panics
    /// If it has another name.
    pub fn absorb(&mut self, mut other: Self) {
        assert_eq!(self.name, other.name);
        self.bytes += std::mem::take(&mut other.bytes);
        *self.sent.get_mut() += std::mem::take(other.sent.get_mut());
    }

    /// Notes bytes that were truly sent, so far.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut counts = self.meter.lock();
        let count = counts.get_mut(&self.name).expect("a name with a reservation is not forgotten");
        count.reserved -= self.bytes;
        count.used = count.used.saturating_add((*self.sent.get_mut()).min(self.bytes));
        count.live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: u64 = 100;

    fn open(dir: &Path) -> Arc<Meter> {
        Meter::open(dir, STEP).unwrap()
    }

    fn spend(meter: &Arc<Meter>, limit: u64, bytes: u64, sent: u64, rounding: Rounding) -> bool {
        meter.reserve("a", Some(limit), bytes, rounding).map(|reservation| reservation.sent(sent)).is_ok()
    }

    #[test]
    fn requests_side_by_side_cannot_pass_a_limit_together() {
        let dir = tempfile::tempdir().unwrap();
        let meter = open(dir.path());
        let first = meter.reserve("a", Some(10), 6, Rounding::Up).unwrap();
        let second = meter.reserve("a", Some(10), 6, Rounding::Up);
        assert!(matches!(second, Err(MeterError::Spent { limit: 10, left: 4, asked: 6 })), "{second:?}");
        first.sent(2);
        drop(first);
        assert_eq!(meter.used("a").unwrap(), 2);
        assert!(spend(&meter, 10, 8, 8, Rounding::Up));
        assert!(!spend(&meter, 10, 1, 1, Rounding::Up));
        assert!(meter.reserve("b", Some(10), 10, Rounding::Up).is_ok(), "names are counted apart");
    }

    #[test]
    fn a_flush_keeps_the_truth() {
        let dir = tempfile::tempdir().unwrap();
        for rounding in [Rounding::Up, Rounding::Down] {
            let meter = open(dir.path());
            let before = meter.used("a").unwrap();
            assert!(spend(&meter, 1_000, 7, 5, rounding));
            meter.flush().unwrap();
            assert_eq!(open(dir.path()).used("a").unwrap(), before + 5);
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "12", "x\n", "-1\n", "99999999999999999999\n"] {
            fs::write(dir.path().join("a"), text).unwrap();
            let error = open(dir.path()).reserve("a", None, 1, Rounding::Up).unwrap_err().to_string();
            assert!(error.contains("expected one number"), "{error}");
        }
    }

    proptest! {
        // Each case syncs files.
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The meter forgets without a flush at any moment, as a crash would make it.
        #[test]
        fn after_any_crash_the_mark_lies_on_the_right_side(
            spent in proptest::collection::vec((0u64..80, 0u64..80, any::<bool>()), 1..40),
            up: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let rounding = if up { Rounding::Up } else { Rounding::Down };
            let (mut meter, mut sent_in_all, mut forgotten) = (open(dir.path()), 0u64, 0u64);
            for (bytes, sent, crash) in spent {
                if crash {
                    let known = meter.used("a").unwrap();
                    meter = open(dir.path());
                    let after = meter.used("a").unwrap();
                    if up {
                        prop_assert!(after >= known && after - known <= STEP + 80);
                    } else {
                        prop_assert!(after <= known && known - after <= STEP + 80);
                    }
                    forgotten += known.abs_diff(after);
                }
                if spend(&meter, 2_000, bytes, sent, rounding) {
                    sent_in_all += sent.min(bytes);
                }
            }
            prop_assert_eq!(meter.used("a").unwrap().abs_diff(sent_in_all), forgotten);
            if up {
                prop_assert!(sent_in_all <= 2_000);
            }
        }
    }
}
