//! The latencies of one kind in full, as an HDR histogram.
//!
//! In:       times in nanoseconds, or what another run has written.
//! Out:      the histogram; as JSON, its count and its base64 of the V2 form compressed by zlib,
//!           which the HdrHistogram libraries of other languages read.
//! Bounds:   from [`LATENCY_NANOS_MIN`] to [`LATENCY_NANOS_MAX`], [`DIGITS`] significant digits: a
//!           time keeps its first three digits, and every piece is counted, however rare.
//! Not here: percentiles as figures (`report`), the course over the run (`series`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    Deserializer as HdrReader, Serializer as _, V2DeflateSerializer,
};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Nanos, SECONDS};

/// The finest latency that is told apart.
pub const LATENCY_NANOS_MIN: u64 = 1_000;

/// The longest latency; a longer one counts as this.
pub const LATENCY_NANOS_MAX: u64 = 600 * SECONDS;

/// Significant digits that are kept of a latency.
pub const DIGITS: u8 = 3;

/// Every latency of one kind.
#[derive(Clone, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
}

impl Distribution {
    /// The distribution of `times`.
    pub fn of(times: &[Nanos]) -> Distribution {
        let mut distribution = Distribution::default();
        for &time in times {
            distribution.histogram.saturating_record(time);
        }
        distribution
    }

    /// As a histogram, in nanoseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The distribution function, in steps: each recorded latency in nanoseconds, and how many were
    /// no longer than it.
    pub fn steps(&self) -> impl Iterator<Item = (Nanos, u64)> {
        self.histogram.iter_recorded().scan(0, |counted, step| {
            *counted += step.count_since_last_iteration();
            Some((step.value_iterated_to().min(self.histogram.max()), *counted))
        })
    }
}

impl Default for Distribution {
    fn default() -> Distribution {
        let histogram = Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, DIGITS)
            .expect("the bounds are a valid range");
        Distribution { histogram }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} latencies up to {} ns", self.count(), self.histogram.max())
    }
}

/// A distribution as JSON has it.
#[derive(Serialize, Deserialize)]
struct Written {
    /// Pieces counted.
    count: u64,
    /// What the values are: always [`UNIT`].
    unit: String,
    /// The histogram, V2, compressed, base64.
    hdr: String,
}

const UNIT: &str = "ns";

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut bytes)
            .map_err(|error| S::Error::custom(error.to_string()))?;
        let written =
            Written { count: self.count(), unit: UNIT.into(), hdr: STANDARD.encode(bytes) };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Distribution, D::Error> {
        let written = Written::deserialize(deserializer)?;
        if written.unit != UNIT {
            return Err(D::Error::custom("a histogram's unit is not ns"));
        }
        let bytes = STANDARD
            .decode(written.hdr)
            .map_err(|_| D::Error::custom("a histogram is not base64"))?;
        // Whoever wrote it may have used other bounds: they are taken over.
        let histogram: Histogram<u64> = HdrReader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(error.to_string()))?;
        if histogram.len() != written.count {
            return Err(D::Error::custom("a histogram does not hold its count"));
        }
        Ok(Distribution { histogram })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide() -> Distribution {
        // One piece in a hundred thousand is a thousand times as late.
        let mut times: Vec<Nanos> = (0..100_000).map(|n| 50_000 + n * 7).collect();
        times[70_000] = 750_000_000;
        Distribution::of(&times)
    }

    #[test]
    fn what_is_written_is_read_back_down_to_the_rarest() {
        let written = serde_json::to_string(&wide()).unwrap();
        let read: Distribution = serde_json::from_str(&written).unwrap();
        assert_eq!(read, wide());
        assert_eq!(read.count(), 100_000);
        for quantile in [0.5, 0.999, 0.9999, 0.99999, 1.0] {
            assert_eq!(
                read.histogram().value_at_quantile(quantile),
                wide().histogram().value_at_quantile(quantile)
            );
        }
        assert!(written.len() < 10_000, "{} bytes", written.len());
    }

    #[test]
    fn steps_end_with_the_longest_and_the_count() {
        let steps: Vec<_> = wide().steps().collect();
        assert!(steps.is_sorted());
        let &(longest, count) = steps.last().unwrap();
        assert_eq!(count, 100_000);
        assert_eq!(longest, wide().histogram().max());
        assert_eq!(Distribution::default().steps().count(), 0);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let good = serde_json::to_value(wide()).unwrap();
        for (member, value) in [
            ("unit", serde_json::json!("ms")),
            ("count", serde_json::json!(3)),
            ("hdr", serde_json::json!("no base64!")),
            ("hdr", serde_json::json!("AAAA")),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert!(serde_json::from_value::<Distribution>(bad).is_err(), "{member}");
        }
        assert!(serde_json::from_value::<Distribution>(good).is_ok());
    }
}
