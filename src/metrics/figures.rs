//! What one worker measured: the accounts of its calls, and histograms of latency.
//!
//! A worker fills its own [`Figures`] without lock or atomic, and hands them over between two
//! turns, so that every copy is whole: `in = out + dropped + queued` holds in each.

use hdrhistogram::Histogram;

use super::slo;
use crate::call::{Call, Class, Ending, State, Tally};
use crate::config::Carrier;

/// What is measured, each with a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the read that completed the carrier's message until its last byte is with the kernel.
    Uplink,
    /// From the read that completed the model's message, or the moment its audio was due, until
    /// its first audio byte is with the kernel.
    Downlink,
    /// From the read that brought `interrupted` until `clear` is with the kernel.
    BargeIn,
    /// From the carrier's `start` until the model is ready.
    Setup,
    /// From the carrier's `start` until the first audio of the model is with the kernel.
    FirstAudio,
    /// From the end of the caller's words until the first audio of the answer leaves.
    Turn,
    /// One turn of a worker's loop, without the wait.
    Loop,
}

impl Stage {
    /// Every stage, in the order of their histograms.
    pub const ALL: [Stage; 7] = [
        Stage::Uplink,
        Stage::Downlink,
        Stage::BargeIn,
        Stage::Setup,
        Stage::FirstAudio,
        Stage::Turn,
        Stage::Loop,
    ];

    /// The label in figures.
    pub const fn label(self) -> &'static str {
        match self {
            Stage::Uplink => "uplink",
            Stage::Downlink => "downlink",
            Stage::BargeIn => "barge_in",
            Stage::Setup => "setup",
            Stage::FirstAudio => "first_audio",
            Stage::Turn => "turn",
            Stage::Loop => "loop",
        }
    }
}

/// The shortest latency told apart, in nanoseconds.
pub(super) const LOWEST_NS: u64 = 1_000;
/// The longest latency recorded as it is; a longer one counts as this.
pub(super) const HIGHEST_NS: u64 = 60_000_000_000;

/// One histogram a stage, three significant digits.
#[derive(Clone, Debug)]
pub struct Histograms {
    of: [Histogram<u64>; Stage::ALL.len()],
}

impl Default for Histograms {
    fn default() -> Histograms {
        Histograms {
            of: Stage::ALL.map(|_| {
                Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("constant bounds")
            }),
        }
    }
}

impl Histograms {
    /// Records one latency. Never allocates: the histograms span their whole range from the start.
    pub fn record(&mut self, stage: Stage, latency: std::time::Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.of[stage as usize].saturating_record(ns);
    }

    /// The histogram of one stage.
    pub fn of(&self, stage: Stage) -> &Histogram<u64> {
        &self.of[stage as usize]
    }

    /// Adds another set to this one.
    pub fn add(&mut self, other: &Histograms) {
        for (sum, part) in self.of.iter_mut().zip(&other.of) {
            sum.add(part).expect("equal bounds");
        }
    }

    /// Empties every histogram.
    pub fn clear(&mut self) {
        for histogram in &mut self.of {
            histogram.reset();
        }
    }
}

/// The calls of one carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarrierCalls {
    /// Whose stream had begun.
    pub started: u64,
    /// Ended, by [`Ending`].
    pub ended: [u64; Ending::COUNT],
    /// Going on now.
    pub active: u64,
}

impl CarrierCalls {
    fn add(&mut self, other: &CarrierCalls) {
        self.started += other.started;
        self.active += other.active;
        for (sum, part) in self.ended.iter_mut().zip(other.ended) {
            *sum += part;
        }
    }
}

/// What one worker measured.
///
/// Everything but `histograms` counts from the worker's start; `histograms` holds what was
/// recorded since they were last handed over.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The account of all calls of each [`Class`], ended and going on.
    pub tally: [Tally; Class::ALL.len()],
    /// Calls that asked to be let in, or ended before, by class; those whose class never became
    /// known count as web.
    pub started: [u64; Class::ALL.len()],
    /// Calls ended, by class and [`Ending`]; those whose class never became known count as web.
    pub ended: [[u64; Ending::COUNT]; Class::ALL.len()],
    /// Calls going on now, by class; those whose class is not yet known count as web.
    pub active: [u64; Class::ALL.len()],
    /// Of the calls of the carriers' class, those of each [`Carrier`].
    pub carriers: [CarrierCalls; Carrier::COUNT],
    /// Calls and copies of their tracks that have a slot, by class and [`State`].
    pub states: [[u64; State::COUNT]; Class::ALL.len()],
    /// Connections to the model that calls have.
    pub lines_open: u64,
    /// The most that ever waited in a ring of one call, in milliseconds: caller to model, model to
    /// caller.
    pub high_water_ms: [u64; 2],
    /// Times a call missed what it is held to, by class and [`slo::Stage`].
    pub slo_missed: [[u64; slo::Stage::COUNT]; Class::ALL.len()],
    /// Letters to other threads lost because their box was full.
    pub letters_lost: u64,
    /// Lines of transcripts lost because their thread's box was full.
    pub transcript_lines_lost: u64,
    /// Entries of the journal that its thread had no room for.
    pub journal_entries_lost: u64,
    /// Latency since the last hand-over.
    pub histograms: Histograms,
}

impl Figures {
    /// Adds another worker's figures to these.
    pub fn add(&mut self, other: &Figures) {
        self.add_counts(other);
        self.histograms.add(&other.histograms);
    }

    /// Adds another worker's figures to these, all but the histograms.
    pub fn add_counts(&mut self, other: &Figures) {
        for class in 0..Class::ALL.len() {
            add(&mut self.states[class], &other.states[class]);
            add(&mut self.slo_missed[class], &other.slo_missed[class]);
            self.tally[class].add(&other.tally[class]);
            self.started[class] += other.started[class];
            self.active[class] += other.active[class];
            add(&mut self.ended[class], &other.ended[class]);
        }
        for (sum, part) in self.carriers.iter_mut().zip(&other.carriers) {
            sum.add(part);
        }
        self.lines_open += other.lines_open;
        self.note_high_water(other.high_water_ms);
        self.letters_lost += other.letters_lost;
        self.transcript_lines_lost += other.transcript_lines_lost;
        self.journal_entries_lost += other.journal_entries_lost;
    }

    /// Counts one call that goes on, or its last moment.
    pub fn count_call(&mut self, call: &Call, has_line: bool) {
        let class = call.class().unwrap_or(Class::Web) as usize;
        self.tally[class].add(&call.tally());
        self.states[class][call.state() as usize] += 1;
        self.active[class] += u64::from(!call.is_over() && !call.is_fork());
        if let (true, Some(carrier)) = (!call.is_over() && !call.is_fork(), call.carrier()) {
            self.carriers[carrier as usize].active += 1;
        }
        self.lines_open += u64::from(has_line);
        self.note_high_water(call.high_water_ms());
    }

    /// Notes how full the rings of one call, or of many, have been.
    pub fn note_high_water(&mut self, high_water_ms: [u64; 2]) {
        for (most, ms) in self.high_water_ms.iter_mut().zip(high_water_ms) {
            *most = (*most).max(ms);
        }
    }
}

fn add(sums: &mut [u64], parts: &[u64]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}
