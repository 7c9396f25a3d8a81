//! How long parts of a proof took, from what the reference writes to its log: it offers no other way to learn it.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use log::{LevelFilter, Log, Metadata, Record};

/// Parts that are timed, as bellperson announces them.
const SYNTHESIS: &str = "synthesis time: ";
const PROVER: &str = "prover time: ";

/// Everything timed since the process began.
pub struct LogTimes {
    lines: Arc<Mutex<Vec<String>>>,
}

impl LogTimes {
    /// Listens from now on.
    ///
    /// # Errors
    /// If somebody else does already.
    pub fn listen() -> Result<Self> {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        // A logger lives as long as its process.
        let listener = Box::leak(Box::new(Listener(lines.clone())));
        log::set_logger(listener).ok().context("somebody else listens to the log")?;
        log::set_max_level(LevelFilter::Info);
        Ok(Self { lines })
    }

    /// Seconds that the last synthesis took: witness and evaluations of all constraints.
    pub fn synthesis_seconds(&self) -> Option<f64> {
        self.last(SYNTHESIS)
    }

    /// Seconds from there to the proof.
    pub fn prover_seconds(&self) -> Option<f64> {
        self.last(PROVER)
    }

    fn last(&self, announcement: &str) -> Option<f64> {
        let lines = self.lines.lock().expect("a listener does not panic");
        lines.iter().rev().find_map(|line| seconds(line.strip_prefix(announcement)?))
    }
}

struct Listener(Arc<Mutex<Vec<String>>>);

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bellperson")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().expect("a listener does not panic").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// A duration as its `Debug` form prints it: `1.25s`, `853.1ms`, `12µs`.
fn seconds(text: &str) -> Option<f64> {
    let units = [("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    Some(number.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_read_as_they_print() {
        for millis in [0.0005, 0.25, 12.5, 1250.0, 50_400.0] {
            let printed = format!("{:?}", Duration::from_secs_f64(millis / 1e3));
            let read = seconds(&printed).unwrap();
            assert!((read * 1e3 - millis).abs() < 1e-6, "{printed}: {read}");
        }
        assert_eq!(seconds("soon"), None);
    }
}
