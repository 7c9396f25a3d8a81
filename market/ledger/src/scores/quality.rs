//! A checker's opinion of one provider, from its measurements: `W_ij` of `spec/market.md` 6.
//!
//! `quality = success rate x min(1, ttfb target / ttfb median)^a x min(1, throughput median / throughput target)^b`,
//! with whole exponents. Fewer measurements than `samples_min` make no opinion; the round then counts the checker's last
//! one (see [`super::book`]).

use serde::{Deserialize, Serialize};

use super::Fraction;

/// What good service is. A network's parameter: all checkers measure against the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityTarget {
    /// Least number of checks that make an opinion.
    pub samples_min: u32,
    /// Time to the first byte that loses nothing, in milliseconds.
    pub ttfb_ms: u32,
    /// How much slowness hurts; 0: not at all.
    pub ttfb_exponent: u8,
    /// Throughput that loses nothing, in bytes a second.
    pub throughput: u64,
    /// How much thin lines hurt; 0: not at all.
    pub throughput_exponent: u8,
}

/// One check's outcome, as far as quality goes. `None` for a check that failed for any reason of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// Milliseconds until the first byte.
    pub ttfb_ms: u32,
    /// Milliseconds until the last byte.
    pub total_ms: u32,
    /// Bytes served, and verified.
    pub bytes: u64,
}

impl Served {
    /// Bytes a second over the whole answer; at least one millisecond is counted.
    pub fn throughput(&self) -> u64 {
        self.bytes.saturating_mul(1_000) / u64::from(self.total_ms.max(1))
    }
}

impl Default for QualityTarget {
    /// Ten samples; 200 ms and 10 MB/s lose nothing; both count once.
    fn default() -> Self {
        Self { samples_min: 10, ttfb_ms: 200, ttfb_exponent: 1, throughput: 10_000_000, throughput_exponent: 1 }
    }
}

/// The quality that `checks` show; `None` if there are too few. Medians are lower medians of the successful checks.
pub fn quality(checks: &[Option<Served>], target: &QualityTarget) -> Option<Fraction> {
    if checks.len() < target.samples_min.max(1) as usize {
        return None;
    }
    let served: Vec<&Served> = checks.iter().flatten().collect();
    let success = Fraction::of(served.len() as u64, checks.len() as u64);
    let Some(ttfb) = lower_median(served.iter().map(|check| u64::from(check.ttfb_ms))) else {
        return Some(Fraction::ZERO);
    };
    let throughput = lower_median(served.iter().map(|check| check.throughput())).unwrap_or(0);
    let speed = Fraction::of(u64::from(target.ttfb_ms), ttfb.max(1)).power(target.ttfb_exponent);
    let width = Fraction::of(throughput, target.throughput).power(target.throughput_exponent);
    Some(success.times(speed).times(width))
}

fn lower_median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ttfb_ms: u32, total_ms: u32) -> Option<Served> {
        Some(Served { ttfb_ms, total_ms, bytes: 1_000_000 })
    }

    #[test]
    fn quality_is_success_times_speed_times_width() {
        let target = QualityTarget { samples_min: 4, ..QualityTarget::default() };
        assert_eq!(quality(&[check(100, 100); 3], &target), None);
        assert_eq!(quality(&[check(100, 100); 4], &target), Some(Fraction::ONE));
        assert_eq!(quality(&[check(400, 100); 4], &target), Some(Fraction::of(1, 2)));
        assert_eq!(quality(&[check(400, 200); 4], &target), Some(Fraction::of(1, 4)));
        assert_eq!(quality(&[check(100, 100), None, None, check(100, 100)], &target), Some(Fraction::of(1, 2)));
        assert_eq!(quality(&[None; 4], &target), Some(Fraction::ZERO));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let target = QualityTarget { samples_min: 1, ttfb_exponent: 255, ..QualityTarget::default() };
        let slow = Some(Served { ttfb_ms: u32::MAX, total_ms: u32::MAX, bytes: u64::MAX });
        assert_eq!(quality(&[slow], &target), Some(Fraction::ZERO));
        let instant = Some(Served { ttfb_ms: 0, total_ms: 0, bytes: u64::MAX });
        assert_eq!(quality(&[instant], &target), Some(Fraction::ONE));
    }
}
