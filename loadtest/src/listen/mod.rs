//! The second ear: judges what each side heard by its content, whatever filters, gains, delays and
//! buffers it went through. Works after a run, from the records, on any relay.
//!
//! In:       the streams of calls, each with its sessions.
//! Out:      a [`FidelityReport`]; for a run judged by content, pairs of calls and sessions.
//! Bounds:   a direction of a call is looked at by itself. Both of a call of 20 s cost about 40 ms
//!           of one core (optimised build, AMD EPYC Zen 4): 4 s for a hundred calls. One whose
//!           audio cannot be found costs what its searches do (`place`).
//! Not here: the comparison sample for sample (`verify`), the printing of the rest (`report`).
//!
//! **The rule of the signal.** Both voices are noise: every sample is a function of its speaker and
//! its position (`signal`), no two stretches are alike, and a stretch of 20 ms found anywhere tells
//! where in what was said it belongs. That survives whatever a relay does to speech that is still
//! to be understood: filters, another rate, G.711, another loudness, a drifting clock.
//!
//! **The measure.** Said and heard are brought to the telephone band, 300 to 3,400 Hz at 8 kHz, by
//! filters without delay (`band`). Each block of what was heard gets its place in what was said
//! (`place`), exact to about a microsecond. Blocks whose places go on together are a run; what lies
//! between two runs is missing, doubled or put in (`seams`). Within the runs the residual against
//! what was said gives gain, SNR, SINAD, response, clicks and drift (`compare`).
//!
//! **Latency by content.** A piece is what one message of the speaker brought. Each of its samples
//! was heard when the message with its place arrived; the mean over the piece, less the time it was
//! planned (corrected) or sent (uncorrected), is its latency. A relay whose filter delays by 2 ms
//! brings the last tenth of a frame of 20 ms one message later: on the mean, 2 ms. Buffering and
//! joining of messages show in the same way.
//!
//! **Held.** Just before each message arrives: how much audio had been sent at least
//! half a frame, 10 ms, before, and was not heard yet. The median over the messages is what the
//! relay holds: its filters' delay and its buffers, without the way there.

use serde::{Deserialize, Serialize};

use crate::report::Percentiles;

mod band;
mod compare;
mod ear;
mod kernel;
mod pairing;
mod place;
mod said;
mod seams;
mod search;
mod sum;
#[cfg(test)]
mod trials;

pub use ear::{Ear, Heard, Hearing, Piece, PieceKind, Said};
pub use pairing::pair;
pub use sum::{Audition, hear};

/// A head, or a tail, of a call that may be unheard without being a loss, in milliseconds: what is
/// in the relay's buffers when the call ends.
pub const EDGE_MS_MAX: f64 = 150.0;

/// What a caller said before the model was ready may be unheard for so long in one call, in
/// milliseconds: a relay may throw it away or keep it, but a caller who speaks to nobody for longer
/// has lost what he said.
pub const EARLY_MS_MAX: f64 = 3000.0;

/// Faults of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// How many.
    pub count: u64,
    /// How long together, in milliseconds.
    pub ms: f64,
}

/// What was heard of one direction, over all calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fidelity {
    /// Streams on which something was said: one a call, where none died.
    pub calls: usize,
    /// Of these, calls in which nothing of it was found.
    pub unheard: usize,
    /// Said, silence not counted, in milliseconds.
    pub said_ms: f64,
    /// Not heard because it was void: interrupted, or on its way when the call ended.
    pub void_ms: f64,
    /// Not heard from the beginning of calls, said before the other side was ready.
    pub early_ms: f64,
    /// The longest of these in one call.
    pub early_ms_max: f64,
    /// Not heard from the beginning of calls, said later.
    pub head_ms: f64,
    /// The longest of these in one call.
    pub head_ms_max: f64,
    /// Not heard from the end of calls.
    pub tail_ms: f64,
    /// The longest of these in one call.
    pub tail_ms_max: f64,
    /// Not heard in calls whose connection to the model was broken on purpose.
    pub lost_at_faults_ms: f64,
    /// Missing in between.
    pub gaps: Faults,
    /// Heard again.
    pub doubled: Faults,
    /// Silence, or something else, put in between.
    pub inserted: Faults,
    /// Isolated peaks of the residual. Not part of the verdict.
    pub clicks: u64,
    /// Latency by content from the planned time.
    pub corrected: Percentiles,
    /// Latency by content from the time of sending.
    pub uncorrected: Percentiles,
    /// Pieces planned before the other side was ready; not in the latencies.
    pub early: u64,
    /// Pieces further ahead of real time than is passed on; not in the latencies.
    pub paced: u64,
    /// What the relay held back, median, in milliseconds.
    pub held_ms: Option<f64>,
    /// How much louder it was heard than said, in dB: the mean over the calls.
    pub gain_db: Option<f64>,
    /// Signal over everything that does not follow it, in dB, over all calls.
    pub sinad_db: Option<f64>,
    /// The same of the worst call.
    pub sinad_db_min: Option<f64>,
    /// Signal over residual after one gain and one delay for all frequencies, in dB.
    pub snr_db: Option<f64>,
    /// Largest over smallest gain from 300 to 3,400 Hz, in dB: the median over the calls.
    pub response_db: Option<f64>,
    /// How much more was heard than said, in parts per million: the mean over the calls.
    pub drift_ppm: Option<f64>,
    /// The same of the call furthest from 0.
    pub drift_ppm_max: Option<f64>,
}

/// What each side heard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FidelityReport {
    /// Caller to model.
    pub uplink: Fidelity,
    /// Model to caller.
    pub downlink: Fidelity,
    /// What the relay holds, both ways together, in milliseconds.
    pub held_ms: Option<f64>,
}

impl FidelityReport {
    /// What makes a run fail that is judged by content.
    pub fn problems(&self) -> Vec<String> {
        let [up, down] = [&self.uplink, &self.downlink];
        [("uplink", up), ("downlink", down)]
            .into_iter()
            .flat_map(|(name, it)| it.problems().into_iter().map(move |it| format!("{name}: {it}")))
            .collect()
    }
}

impl Fidelity {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.unheard > 0 {
            let calls = self.calls;
            problems.push(format!(
                "nothing that was said is heard in {} of {calls} calls",
                self.unheard
            ));
        }
        for (what, faults) in
            [("lost", self.gaps), ("doubled", self.doubled), ("put in between", self.inserted)]
        {
            if faults.count > 0 {
                problems.push(format!("{:.1} ms {what}, at {} places", faults.ms, faults.count));
            }
        }
        for (what, ms) in [("beginning", self.head_ms_max), ("end", self.tail_ms_max)] {
            if ms > EDGE_MS_MAX {
                problems.push(format!("up to {ms:.0} ms lost at the {what} of a call"));
            }
        }
        if self.early_ms_max > EARLY_MS_MAX {
            problems.push(format!(
                "up to {:.0} ms of a call lost, said before the other side was ready",
                self.early_ms_max
            ));
        }
        problems
    }
}

impl std::fmt::Display for FidelityReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "-".to_string(),
        };
        writeln!(
            f,
            "by content   SINAD dB   worst     SNR  gain dB  response dB  drift ppm  held ms  \
             lost ms  doubled  put in  clicks  latency p50/p99 us"
        )?;
        for (name, it) in [("uplink", &self.uplink), ("downlink", &self.downlink)] {
            writeln!(
                f,
                "{name:<12} {:>8} {:>7} {:>7} {:>8} {:>12} {:>10} {:>8} {:>8.1} {:>8.1} {:>7.1} \
                 {:>7}  {:.0}/{:.0}",
                known(it.sinad_db, 1),
                known(it.sinad_db_min, 1),
                known(it.snr_db, 1),
                known(it.gain_db, 2),
                known(it.response_db, 3),
                known(it.drift_ppm, 2),
                known(it.held_ms, 2),
                it.gaps.ms,
                it.doubled.ms,
                it.inserted.ms,
                it.clicks,
                it.corrected.p50_us,
                it.corrected.p99_us
            )?;
        }
        for (name, it) in [("uplink", &self.uplink), ("downlink", &self.downlink)] {
            writeln!(
                f,
                "{name:<12} {:.1} s said in {} calls, {} not heard at all; at the edges {:.0} ms \
                 early, {:.0} ms first, {:.0} ms last; {:.0} ms void",
                it.said_ms / 1e3,
                it.calls,
                it.unheard,
                it.early_ms,
                it.head_ms,
                it.tail_ms,
                it.void_ms
            )?;
        }
        let held = known(self.held_ms, 2);
        writeln!(f, "held         {held} ms of audio, both ways together")
    }
}
