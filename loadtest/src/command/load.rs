//! How calls come and how long they last, as more than one subcommand takes it.
//!
//! In:       its arguments.
//! Out:      values.
//! Bounds:   those of `load`.
//! Not here: the plan (the library's `load`).

use clap::Args;
use loadtest::load::{Arrivals, Lengths};

use super::positive;

/// Arrivals and lengths.
#[derive(Args)]
pub(crate) struct Load {
    /// How long each call speaks: 20 in a run, 10 in calls to a URL.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: Option<u32>,
    /// How long calls speak, in seconds, instead of --seconds: fixed:20, exponential:MEAN,
    /// lognormal:MEDIAN/SIGMA (these two perhaps with bounds: exponential:60,5..300), or
    /// list:10=50,60=30 with shares.
    #[arg(long, value_name = "LENGTHS", conflicts_with = "seconds")]
    pub(crate) length: Option<Lengths>,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    pub(crate) ramp: f64,
    /// How calls arrive: constant, poisson (both at the rate of --ramp), spike:CALLS@SECONDS (so
    /// many at once, besides), ramp:RATE@SECONDS (from the rate of --ramp to this one).
    #[arg(long, default_value = "constant")]
    pub(crate) arrivals: Arrivals,
}
