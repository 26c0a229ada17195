//! What a run leaves besides counts: every latency in full, the course of the
//! run in rows, the settings of the relay.
//!
//! In:       records, after the run; samples of two processes, once a second during it.
//! Out:      a [`Recording`], a part of the report.
//! Bounds:   those of [`distribution`], [`series`] and [`usage`].
//! Not here: judging (`judge`), drawing (`output`).

use serde::{Deserialize, Serialize};

pub mod distribution;
pub mod records;
pub mod series;
pub mod settings;
pub mod usage;

use distribution::Distribution;
use series::Series;
use settings::Setting;

/// The latencies in full, the course of the run, and the relay's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Caller to model.
    pub uplink: Distributions,
    /// Model to caller.
    pub downlink: Distributions,
    /// The course of the run.
    pub series: Series,
    /// Every setting of the relay, where it is known.
    #[serde(default)]
    pub relay_settings: Vec<Setting>,
}

/// The latencies of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distributions {
    /// From the planned time.
    pub corrected: Distribution,
    /// From the time of sending.
    pub uncorrected: Distribution,
    /// How late the load itself was.
    pub own_lateness: Distribution,
}

impl Distributions {
    /// All of them, with their names in files.
    pub fn named(&self) -> [(&'static str, &Distribution); 3] {
        [
            ("corrected", &self.corrected),
            ("uncorrected", &self.uncorrected),
            ("own_lateness", &self.own_lateness),
        ]
    }
}
