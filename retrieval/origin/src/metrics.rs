//! What a cache did, for Prometheus; read when somebody asks, so that counting costs nothing else.
//!
//! | metric | labels | |
//! | --- | --- | --- |
//! | `origin_leaves_total` | `from` (`memory`, `folder`, `flight`, `origin`) | leaves given to readers, or refused in the end |
//! | `origin_requests_total`, `origin_bytes_total` | | asked of the origin |
//! | `origin_failures_total` | | requests that ended without bytes |
//! | `origin_damaged_leaves_total` | | leaves with wrong bytes |
//! | `origin_turned_away_total` | | readers told to come later |
//! | `origin_held_bytes` | `tier` (`memory`, `folder`) | at this moment |
//! | `origin_datasets` | | at this moment |
//!
//! The registry puts its own prefix before the names.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::source::Inner;

/// Counts of an origin's cache, as long as it is served.
#[derive(Debug)]
pub(crate) struct OriginCollector(pub(crate) Weak<Inner>);

impl Collector for OriginCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.0.upgrade() else { return Ok(()) };
        let counts = inner.cache.counts();
        let given = counts.memory_hits + counts.disk_hits + counts.shared;
        let from = [
            ("memory", counts.memory_hits),
            ("folder", counts.disk_hits),
            ("flight", counts.shared),
            ("origin", counts.leaves.saturating_sub(given)),
        ];
        let mut family = encoder.encode_descriptor("origin_leaves", "Leaves by source", None, MetricType::Counter)?;
        for (place, count) in from {
            ConstCounter::new(count).encode(family.encode_family(&[("from", place)])?)?;
        }
        for (name, help, count) in [
            ("origin_requests", "Requests to the origin", counts.origin_requests),
            ("origin_bytes", "Bytes asked of the origin", counts.origin_bytes),
            ("origin_failures", "Requests that ended without bytes", counts.origin_failures),
            ("origin_damaged_leaves", "Leaves with wrong bytes", counts.damaged),
            ("origin_turned_away", "Readers told to come later", counts.busy),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(metric)?;
        }
        let mut family = encoder.encode_descriptor("origin_held_bytes", "Bytes held", None, MetricType::Gauge)?;
        for (tier, bytes) in [("memory", counts.memory_bytes), ("folder", counts.disk_bytes)] {
            ConstGauge::new(bytes.cast_signed()).encode(family.encode_family(&[("tier", tier)])?)?;
        }
        let metric = encoder.encode_descriptor("origin_datasets", "Datasets", None, MetricType::Gauge)?;
        ConstGauge::new((inner.datasets_held() as u64).cast_signed()).encode(metric)
    }
}
