//! How calls come, how long they last, what is said in them and what is demanded of them, as more
//! than one subcommand takes it.
//!
//! In:       its arguments.
//! Out:      values.
//! Bounds:   those of `load`.
//! Not here: the plan (the library's `load`).

use clap::Args;
use loadtest::gemini::scenario::Demands;
use loadtest::load::{Arrivals, Lengths};
use loadtest::probes::ONE_IN;
use loadtest::run::RunSettings;

use super::{not_negative, positive};

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

/// What both sides of each call do.
#[derive(Args)]
pub(crate) struct Talk {
    /// How long the model speaks at a time, in milliseconds.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(20..))]
    turn_ms: u32,
    /// How long the model is silent between, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pause_ms: u32,
    /// How much faster than real time the model sends; 1 is real time with a small head start.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    speed: f64,
    #[command(flatten)]
    sides: Sides,
}

impl Talk {
    /// The same run with calls that talk like this.
    pub(crate) fn of(&self, run: RunSettings) -> RunSettings {
        RunSettings {
            turn_ms: self.turn_ms.into(),
            pause_ms: self.pause_ms.into(),
            speed: self.speed,
            ..self.sides.of(run)
        }
    }
}

/// What is demanded of swaps; each goes before what the scenario says.
#[derive(Args)]
pub(crate) struct DemandArgs {
    /// The longest audible gap of a swap, p99, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_gap_ms: Option<f64>,
    /// Caller audio lost in calls with a fault, all together, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_lost_ms: Option<f64>,
    /// The longest recovery from a fault, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_recovery_ms: Option<f64>,
    /// Connections that came to their end in mid-call and were not replaced.
    #[arg(long, value_name = "N")]
    max_failed_swaps: Option<u64>,
}

impl DemandArgs {
    /// As a run takes them.
    pub(crate) fn demands(&self) -> Demands {
        Demands {
            max_gap_ms: self.max_gap_ms,
            max_lost_ms: self.max_lost_ms,
            max_recovery_ms: self.max_recovery_ms,
            max_failed_swaps: self.max_failed_swaps,
            max_talked_over: None,
        }
    }
}

/// How callers and stand-in go about it.
#[derive(Args)]
pub(crate) struct Sides {
    /// Threads of the callers, and as many of the stand-in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// One call in so many, and no fewer than 8, is read as its audio arrives and gives the times;
    /// the others are read late, and judged in the same way. 1: every call.
    #[arg(long, value_name = "ONE_IN", default_value_t = ONE_IN as u32,
          value_parser = clap::value_parser!(u32).range(1..))]
    probes: u32,
    /// The seed of every voice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Sides {
    /// The same run in this way.
    pub(crate) fn of(&self, run: RunSettings) -> RunSettings {
        RunSettings {
            threads: self.threads.into(),
            probes: self.probes as usize,
            seed: self.seed,
            ..run
        }
    }
}
