//! The report of a run: one structure, printed as a table or written as JSON.
//!
//! In:       verdicts, latencies, counts.
//! Out:      text and JSON; whether the run passed, and if not, why.
//! Bounds:   those of [`Distribution`] and of the recording.
//! Not here: measuring (`verify`, `process`), deciding what to run (`run`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::apart::ApartReport;
use crate::clock::Nanos;
use crate::gemini::scenario::Demands;
use crate::judge::Judgement;
use crate::listen::FidelityReport;
use crate::recording::Recording;
use crate::recording::distribution::Distribution;
use crate::slo::{self, Judged, Verdict};
use crate::verify::Alignment;

/// Lateness of a schedule whose p99.9 makes the latencies of a run worth nothing, where nobody
/// says otherwise.
pub const LATENESS_NANOS_MAX: Nanos = 1_000_000;

/// Percentiles of a set of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many there were.
    pub count: u64,
    /// The median.
    pub p50_us: f64,
    /// 90 %.
    pub p90_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p999_us: f64,
    /// 99.99 %.
    pub p9999_us: f64,
    /// 99.999 %.
    pub p99999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Percentiles {
    /// The percentiles of `times`.
    pub fn of(times: &[Nanos]) -> Percentiles {
        Percentiles::read(&Distribution::of(times))
    }

    /// The percentiles of a distribution.
    pub fn read(distribution: &Distribution) -> Percentiles {
        let histogram = distribution.histogram();
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            p99999_us: at(0.99999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }

    /// The median; `None` of nothing.
    pub fn p50(&self) -> Option<f64> {
        self.of_at_least(1, self.p50_us)
    }

    /// 90 %; `None` of fewer than 10 pieces.
    pub fn p90(&self) -> Option<f64> {
        self.of_at_least(10, self.p90_us)
    }

    /// 99 %; `None` of fewer than 100 pieces.
    pub fn p99(&self) -> Option<f64> {
        self.of_at_least(100, self.p99_us)
    }

    /// 99.9 %; `None` of fewer than 1,000 pieces.
    pub fn p999(&self) -> Option<f64> {
        self.of_at_least(1000, self.p999_us)
    }

    /// 99.99 %; `None` of fewer than 10,000 pieces.
    pub fn p9999(&self) -> Option<f64> {
        self.of_at_least(10_000, self.p9999_us)
    }

    /// The longest; `None` of nothing.
    pub fn max(&self) -> Option<f64> {
        self.of_at_least(1, self.max_us)
    }

    /// A percentile of fewer pieces than it takes would be the longest under another name.
    fn of_at_least(&self, pieces: u64, us: f64) -> Option<f64> {
        (self.count >= pieces).then_some(us)
    }
}

/// One direction of audio.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Direction {
    /// Samples expected at the other side.
    pub expected: u64,
    /// Of these, heard at their place.
    pub matched: u64,
    /// Not heard.
    pub lost: u64,
    /// Heard again.
    pub doubled: u64,
    /// Heard, and said by nobody.
    pub foreign: u64,
    /// Made void by an interruption, or by the end of the call.
    pub voided: u64,
    /// By content: not heard from the beginnings and ends of calls, and not among the lost. What is
    /// longer than `listen::EDGE_MS_MAX` in one call makes the run fail; of what was said before the
    /// other side was ready, what is longer than `listen::EARLY_MS_MAX`.
    #[serde(default)]
    pub unheard_at_edges: u64,
    /// Of the lost, those of calls whose connection to the model was broken on purpose.
    pub lost_at_faults: u64,
    /// Of the foreign, those where audio was dropped in such calls: a filter blends what is before
    /// the gap with what is behind it.
    pub foreign_at_faults: u64,
    /// Latency from the planned time.
    pub corrected: Percentiles,
    /// Latency from the time of sending.
    pub uncorrected: Percentiles,
    /// Pieces planned before the other side was ready; not in the latencies.
    pub early: u64,
    /// Pieces further ahead of real time than is passed on; not in the latencies.
    pub paced: u64,
    /// Pieces heard by a side that is read late; not in the latencies.
    #[serde(default)]
    pub read_late: u64,
    /// Pieces of streams that were not whole; by content, pieces not found in what was
    /// heard. Not in the latencies: nothing says when they were heard.
    #[serde(default)]
    pub unplaced: u64,
    /// How late the load itself was.
    pub own_lateness: Percentiles,
}

impl Direction {
    /// Sets the counts of samples.
    pub fn set_samples(&mut self, alignment: &Alignment) {
        self.expected = alignment.expected;
        self.matched = alignment.matched;
        self.lost = alignment.lost;
        self.doubled = alignment.doubled;
        self.foreign = alignment.foreign;
        self.voided = alignment.voided;
    }
}

/// The handovers from one connection of the model to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SwapReport {
    /// All of them.
    pub seen: u64,
    /// Of connections announced to end.
    pub announced: u64,
    /// Of connections that were cut, closed or stalled.
    pub faults: u64,
    /// Of connections that nothing was done to.
    pub unexplained: u64,
    /// Connections that came to their end in mid-call and were not replaced.
    pub failed: u64,
    /// Sessions asked for that were never ready.
    pub refused: u64,
    /// Caller audio lost in calls with a fault, in milliseconds.
    pub lost_ms: f64,
    /// Model audio that was on its way when its connection ended, in milliseconds. Known where
    /// samples are compared and every phone heard its model whole; `None` elsewhere.
    #[serde(default)]
    pub void_model_ms: Option<f64>,
    /// What the caller waited for words beyond their plan; announced ends only.
    pub gap: Percentiles,
    /// From the last audio of the old session until the new one was ready; announced ends only.
    pub handover: Percentiles,
    /// From a fault until a new session was ready.
    pub recovery: Percentiles,
}

impl SwapReport {
    /// What these figures do not meet, times left out.
    fn unmet(&self, demands: &Demands) -> Vec<String> {
        let failed_max = demands.max_failed_swaps.unwrap_or(0) as f64;
        let mut unmet = above(&[
            ("caller audio lost, ms", self.lost_ms, demands.max_lost_ms),
            ("connections not replaced", self.failed as f64, Some(failed_max)),
        ]);
        if self.unexplained > 0 {
            unmet.push(format!("{} connections replaced without a reason", self.unexplained));
        }
        unmet
    }

    /// The times that these figures do not meet.
    fn unmet_times(&self, demands: &Demands) -> Vec<String> {
        above(&[
            ("audible gap p99, ms", self.gap.p99_us / 1e3, demands.max_gap_ms),
            ("recovery, ms", self.recovery.max_us / 1e3, demands.max_recovery_ms),
        ])
    }
}

/// Names, values and bounds: what is above its bound, where there is one, in words.
fn above(figures: &[(&str, f64, Option<f64>)]) -> Vec<String> {
    let unmet = |&(what, value, bound): &(&str, f64, Option<f64>)| {
        let bound = bound.filter(|bound| value > *bound)?;
        Some(format!("{what}: {value:.1}, demanded {bound:.1}"))
    };
    figures.iter().filter_map(unmet).collect()
}

/// The calls of one carrier.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CarrierReport {
    /// Calls made.
    pub calls: usize,
    /// Calls in which the caller left as planned.
    pub calls_hung_up: usize,
    /// The formats of their streams, and how many had them.
    pub formats: BTreeMap<String, usize>,
    /// Messages that the carrier would have objected to.
    pub violations: usize,
    /// Marks sent back.
    pub marks_returned: u64,
    /// From the start of a call to its open stream.
    pub setup: Percentiles,
    /// Samples that the model heard in their place. This and what follows are of the comparison
    /// sample for sample: where the content decides, there is none of it.
    pub uplink_samples: Option<u64>,
    /// Samples lost, doubled, or said by nobody.
    pub uplink_faults: Option<u64>,
    /// Samples that the phones heard in their place.
    pub downlink_samples: Option<u64>,
    /// Samples lost, doubled, or said by nobody.
    pub downlink_faults: Option<u64>,
    /// Latency from the planned time, caller to model.
    pub uplink: Percentiles,
    /// Latency from the planned time, model to caller.
    pub downlink: Percentiles,
}

/// What became of calls whose stream died.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ComebackReport {
    /// Calls that lost a stream before they were over.
    pub calls: usize,
    /// Streams that died and were followed by another.
    pub streams: usize,
    /// Of these others, those on which the model was heard.
    pub heard_again: usize,
    /// Those whose first session was taken up by the handle of one before.
    pub resumed: usize,
    /// Those whose first session was a new one.
    pub fresh: usize,
    /// Those for which a session was asked to greet again.
    pub greeted_again: usize,
    /// Calls that no other stream was opened for, by the reason.
    pub lost: BTreeMap<String, usize>,
    /// What callers said while they had no stream, in milliseconds.
    pub unsaid_ms: f64,
    /// What was said on a stream at its end and the model did not hear, in milliseconds.
    pub cut_ms: f64,
    /// From the end of a stream to the open one.
    pub reopened: Percentiles,
    /// From the end of a stream until the model was heard on the next.
    pub heard_after: Percentiles,
}

/// What the relay's process used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time for each second of each call, in microseconds.
    pub cpu_us_per_call_second: f64,
    /// Resident memory before the first call, in KiB.
    pub rss_idle_kib: u64,
    /// The most resident memory, in KiB.
    pub rss_peak_kib: u64,
}

/// While all calls talked: after the last had begun and before the first had ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// Calls that talked when it began.
    pub calls: usize,
    /// How long it was.
    pub seconds: f64,
    /// Cores that the relay used.
    pub relay_cores: f64,
    /// Cores that callers and stand-in used.
    pub own_cores: f64,
}

impl Hold {
    /// CPU of the relay for a second of a call, in microseconds.
    pub fn cpu_us_per_call_second(&self) -> f64 {
        self.relay_cores * 1e6 / self.calls.max(1) as f64
    }
}

/// Latencies of what was planned while all calls talked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// Caller to model, from the planned time.
    pub uplink: Percentiles,
    /// Model to caller, from the planned time.
    pub downlink: Percentiles,
}

/// What became of the appointments that the model booked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct BookingReport {
    /// Asked for.
    pub asked: u64,
    /// Of these, confirmed to the model.
    pub confirmed: u64,
    /// Refused, with a word why.
    pub refused: u64,
    /// Not answered by the end of their session, which came too soon to say that they never would
    /// have been.
    #[serde(default)]
    pub cut: u64,
    /// Never answered.
    pub unanswered: u64,
    /// Rows found on the relay's disk.
    pub stored: u64,
    /// Confirmed to the model, and not on disk.
    pub lost: u64,
    /// On disk more than once.
    pub doubled: u64,
}

/// What was read as its audio arrived, and gave the times.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Calls: downlink, set-up, underruns.
    pub calls: usize,
    /// Sessions of the model: uplink.
    pub sessions: usize,
    /// All sessions.
    pub sessions_seen: usize,
}

/// The report of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What decided whether the audio was good.
    pub judged: Judgement,
    /// Calls made.
    pub calls: usize,
    /// What gave the times.
    pub probes: ProbeReport,
    /// Calls that ended as planned, and in which each side heard what the other said, and nothing
    /// else. What a connection broken on purpose cost does not count against them.
    pub calls_good: usize,
    /// The most that were under way at once.
    pub most_at_once: usize,
    /// How the others ended, or that they were heard amiss, and how many.
    pub failures: BTreeMap<String, usize>,
    /// Seconds of open streams, over all calls.
    pub call_seconds: f64,
    /// From the start of a call to its open stream.
    pub setup: Percentiles,
    /// Caller to model.
    pub uplink: Direction,
    /// Model to caller.
    pub downlink: Direction,
    /// What each side heard, by content; `None` where nobody listened.
    pub fidelity: Option<FidelityReport>,
    /// What carriers would have objected to, by carrier and kind; at Twilio with its error code.
    pub violations: BTreeMap<String, usize>,
    /// The calls of each carrier.
    pub carriers: BTreeMap<String, CarrierReport>,
    /// What the model's service would have objected to, and how often.
    pub complaints: BTreeMap<String, usize>,
    /// From `interrupted` leaving the model to `clear` reaching the phone.
    pub barge_in: Percentiles,
    /// Interruptions that no `clear` followed while old speech went on playing.
    pub interruptions_unanswered: u64,
    /// Answers that the model broke off because it heard somebody speak.
    #[serde(default)]
    pub talked_over: u64,
    /// Handovers between connections of the model, where there were any.
    pub swaps: Option<SwapReport>,
    /// Calls that lost a stream, where there were any.
    pub comebacks: Option<ComebackReport>,
    /// Appointments, where some were booked.
    pub bookings: Option<BookingReport>,
    /// Marks sent back.
    pub marks_returned: u64,
    /// Times a phone's queue ran dry within speech, of the probes.
    pub underruns: u64,
    /// The relay's process.
    pub relay: Option<Usage>,
    /// What was used while all calls talked, where that was long enough.
    pub hold: Option<Hold>,
    /// Latencies while all calls talked, where that was long enough.
    pub held: Option<Held>,
    /// Latencies of the calls beside those apart, where there are any.
    pub apart: Option<ApartReport>,
    /// What was demanded, and what came of it.
    pub slo: Vec<Judged>,
    /// A gap or a recovery was demanded, and the load itself was too late to judge it.
    pub swap_times_not_judged: bool,
    /// Callers and stand-in: CPU for each second of each call, in microseconds.
    pub own_cpu_us_per_call_second: f64,
    /// Everything that makes the run fail, worst first.
    pub problems: Vec<String>,
    /// What is to be known before believing the figures.
    pub remarks: Vec<String>,
    /// The latencies in full, and the course of the run.
    pub recording: Recording,
}

impl Report {
    /// True if nothing failed.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// True if nothing failed, but a bound could not be judged because the load itself was late.
    pub fn lacks_evidence(&self) -> bool {
        let not_judged = |judged: &Judged| judged.verdict == Verdict::NotJudged;
        self.is_good() && (self.swap_times_not_judged || self.slo.iter().any(not_judged))
    }

    /// Latencies up and down while all calls talked; over the whole run if they never did.
    pub fn latencies(&self) -> (&Percentiles, &Percentiles) {
        match &self.held {
            Some(held) => (&held.uplink, &held.downlink),
            None => (&self.uplink.corrected, &self.downlink.corrected),
        }
    }

    /// Adds which demands are not met. Where p99.9 of the load's own lateness is above
    /// `own_lateness_max_us` microseconds, gaps and recoveries are not judged.
    pub fn demand(&mut self, demands: &Demands, own_lateness_max_us: f64) {
        let talked_over_max = demands.max_talked_over.map(|most| most as f64);
        let talked_over = self.talked_over as f64;
        self.problems.extend(above(&[("answers broken off", talked_over, talked_over_max)]));
        let Some(swaps) = &self.swaps else { return };
        self.problems.extend(swaps.unmet(demands));
        if !slo::is_spoilt(self, own_lateness_max_us) {
            self.problems.extend(swaps.unmet_times(demands));
        } else if demands.max_gap_ms.or(demands.max_recovery_ms).is_some() {
            self.swap_times_not_judged = true;
            let told = "gaps and recoveries are not judged: the load itself was late";
            self.remarks.push(told.into());
        }
    }

    /// Adds the problems that the counts of this report show.
    pub fn judge(&mut self) {
        let bad = self.calls - self.calls_good;
        if bad > 0 {
            self.problems.push(format!("{bad} of {} calls failed", self.calls));
        }
        let counted = [("uplink", &self.uplink), ("downlink", &self.downlink)];
        for (name, direction) in counted.into_iter().filter(|_| self.judged != Judgement::ByContent)
        {
            for (what, count) in [
                ("lost", direction.lost - direction.lost_at_faults),
                ("doubled", direction.doubled),
                ("foreign", direction.foreign - direction.foreign_at_faults),
            ] {
                if count > 0 {
                    self.problems.push(format!("{name}: {count} samples {what}"));
                }
            }
        }
        if let Some(fidelity) = self.fidelity.iter().find(|_| self.judged == Judgement::ByContent) {
            self.problems.extend(fidelity.problems());
        }
        if self.interruptions_unanswered > 0 {
            let count = self.interruptions_unanswered;
            self.problems.push(format!("{count} interruptions without a clear"));
        }
        for (kind, count) in &self.violations {
            self.problems.push(format!("{count} messages that a carrier objects to ({kind})"));
        }
        for (complaint, count) in &self.complaints {
            self.problems.push(format!("the model's service objects: {complaint} ({count})"));
        }
    }

    /// Remarks on a load that was late: p99.9 of its own lateness above `max_us` microseconds.
    pub fn note_lateness(&mut self, max_us: f64) {
        for (name, direction) in [("caller", &self.uplink), ("model", &self.downlink)] {
            let late = direction.own_lateness.p999_us;
            if late > max_us {
                self.remarks.push(format!(
                    "the load itself was late ({name} schedule p99.9 {late:.0} us): \
                     do not publish these latencies"
                ));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "calls        {} made, {} good, {} at once, {:.0} call-seconds, \
             set up in p50 {:.1} ms max {:.1} ms",
            self.calls,
            self.calls_good,
            self.most_at_once,
            self.call_seconds,
            self.setup.p50_us / 1e3,
            self.setup.max_us / 1e3
        )?;
        for (failure, count) in &self.failures {
            writeln!(f, "             {count} x {failure}")?;
        }
        for (name, direction) in [("uplink", &self.uplink), ("downlink", &self.downlink)] {
            writeln!(
                f,
                "{name:<12} {} samples expected, {} heard in place, {} lost, {} doubled, \
                 {} foreign, {} void",
                direction.expected,
                direction.matched,
                direction.lost,
                direction.doubled,
                direction.foreign,
                direction.voided
            )?;
            if self.judged == Judgement::ByContent {
                let edges = direction.unheard_at_edges;
                writeln!(f, "             {edges} unheard at the edges of calls")?;
            }
        }
        writeln!(f)?;
        writeln!(
            f,
            "latency, us            {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "pieces", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        )?;
        for (name, direction) in [("uplink", &self.uplink), ("downlink", &self.downlink)] {
            row(f, &format!("{name} from plan"), &direction.corrected)?;
            row(f, &format!("{name} from send"), &direction.uncorrected)?;
            row(f, &format!("{name} own late"), &direction.own_lateness)?;
        }
        if let Some(held) = &self.held {
            row(f, "uplink, all at once", &held.uplink)?;
            row(f, "downlink, all at once", &held.downlink)?;
        }
        if let Some(apart) = &self.apart {
            apart.write_rows(f)?;
        }
        if self.barge_in.count > 0 {
            row(f, "interrupted to clear", &self.barge_in)?;
        }
        if let Some(swaps) = &self.swaps {
            row(f, "swap, audible gap", &swaps.gap)?;
            row(f, "swap, handover", &swaps.handover)?;
            row(f, "fault to ready again", &swaps.recovery)?;
        }
        let [up, down] = [&self.uplink, &self.downlink];
        writeln!(
            f,
            "not in these: {} frames and {} chunks before the other side was ready, \
             {} chunks paced, {} frames and {} chunks {}",
            up.early,
            down.early,
            down.paced,
            up.unplaced,
            down.unplaced,
            match self.judged {
                Judgement::ByContent => "not found in what was heard",
                Judgement::Exact | Judgement::ByCount => "of streams that were not whole",
            }
        )?;
        let ProbeReport { calls, sessions, sessions_seen } = self.probes;
        if calls < self.calls || sessions < sessions_seen {
            writeln!(
                f,
                "probes       {calls} of {} calls and {sessions} of {sessions_seen} sessions gave \
                 the times; {} frames and {} chunks were read late",
                self.calls, up.read_late, down.read_late
            )?;
        }
        writeln!(f)?;
        if let Some(apart) = &self.apart {
            writeln!(f, "{apart}")?;
        }
        if let Some(fidelity) = &self.fidelity {
            writeln!(f, "{fidelity}")?;
        }
        if self.talked_over > 0 {
            let times = self.talked_over;
            writeln!(f, "talked over  {times} answers broken off: the model heard speech")?;
        }
        if let Some(swaps) = &self.swaps {
            writeln!(
                f,
                "swaps        {} announced, {} after faults, {} unexplained, {} failed; \
                 {} sessions refused; {:.0} ms of callers lost, {} ms of the model void",
                swaps.announced,
                swaps.faults,
                swaps.unexplained,
                swaps.failed,
                swaps.refused,
                swaps.lost_ms,
                known(swaps.void_model_ms)
            )?;
        }
        if let Some(comebacks) = &self.comebacks {
            write!(f, "{comebacks}")?;
        }
        if let Some(bookings) = &self.bookings {
            writeln!(
                f,
                "bookings     {} asked for, {} confirmed, {} refused, {} cut, {} unanswered; \
                 {} on disk",
                bookings.asked,
                bookings.confirmed,
                bookings.refused,
                bookings.cut,
                bookings.unanswered,
                bookings.stored
            )?;
        }
        if self.carriers.keys().any(|name| name != "twilio") {
            self.write_carriers(f)?;
        }
        if let Some(relay) = &self.relay {
            writeln!(
                f,
                "relay        {:.0} us CPU per call-second, RSS {} KiB idle, {} KiB peak",
                relay.cpu_us_per_call_second, relay.rss_idle_kib, relay.rss_peak_kib
            )?;
        }
        writeln!(
            f,
            "load test    {:.0} us CPU per call-second; {} marks returned, {} underruns",
            self.own_cpu_us_per_call_second, self.marks_returned, self.underruns
        )?;
        if let Some(hold) = &self.hold {
            writeln!(
                f,
                "all at once  {} calls for {:.0} s: relay {:.2} cores, load test {:.2} cores",
                hold.calls, hold.seconds, hold.relay_cores, hold.own_cores
            )?;
        }
        for judged in &self.slo {
            writeln!(f, "slo          {judged}")?;
        }
        for remark in &self.remarks {
            writeln!(f, "note         {remark}")?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM      {problem}")?;
        }
        f.write_str(match self.is_good() {
            true if self.lacks_evidence() => "NO VERDICT",
            true => "good",
            false => "NOT GOOD",
        })
    }
}

impl fmt::Display for ComebackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "stream lost to open", &self.reopened)?;
        row(f, "stream lost to heard", &self.heard_after)?;
        writeln!(
            f,
            "comebacks    {} calls lost a stream; {} streams followed: {} heard again, {} resumed, \
             {} fresh, {} greeted again; {:.0} ms of callers unsaid, {:.0} ms cut",
            self.calls,
            self.streams,
            self.heard_again,
            self.resumed,
            self.fresh,
            self.greeted_again,
            self.unsaid_ms,
            self.cut_ms
        )?;
        for (reason, count) in &self.lost {
            writeln!(f, "             {count} x not back: {reason}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_carriers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "by carrier      calls  left  objected  marks   up in place  faults \
             down in place  faults   up p50/p99 us  down p50/p99 us"
        )?;
        for (name, it) in &self.carriers {
            let latency = |p: &Percentiles| format!("{}/{}", known(p.p50()), known(p.p99()));
            let count =
                |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
            writeln!(
                f,
                "{name:<15} {:>5} {:>5} {:>9} {:>6} {:>13} {:>7} {:>13} {:>7} {:>15} {:>16}",
                it.calls,
                it.calls_hung_up,
                it.violations,
                it.marks_returned,
                count(it.uplink_samples),
                count(it.uplink_faults),
                count(it.downlink_samples),
                count(it.downlink_faults),
                latency(&it.uplink),
                latency(&it.downlink)
            )?;
            for (formats, calls) in &it.formats {
                writeln!(f, "                {calls} of them {formats}")?;
            }
        }
        Ok(())
    }
}

/// A line of the table of latencies.
pub(crate) fn row(f: &mut fmt::Formatter<'_>, name: &str, p: &Percentiles) -> fmt::Result {
    write!(f, "{name:<22} {:>9}", p.count)?;
    for us in [p.p50(), p.p90(), p.p99(), p.p999(), p.p9999(), p.max()] {
        write!(f, " {:>9}", known(us))?;
    }
    writeln!(f)
}

/// A whole number, or a dash.
fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times_to_three_digits() {
        let times: Vec<Nanos> = (1..=1000).map(|n| n * 10_000).collect();
        let read = Percentiles::of(&times);
        assert_eq!(read.count, 1000);
        for (value, expected) in [(read.p50_us, 5000.0), (read.p99_us, 9900.0)] {
            assert!((value - expected).abs() / expected < 0.002, "{value} for {expected}");
        }
    }

    #[test]
    fn a_single_lost_sample_makes_a_run_fail() {
        let mut report = Report { calls: 1, calls_good: 1, ..Report::default() };
        report.judge();
        assert!(report.is_good());
        report.downlink.lost = 1;
        report.judge();
        assert!(!report.is_good());
        assert!(report.to_string().ends_with("NOT GOOD"));
    }

    #[test]
    fn a_late_schedule_is_told() {
        let mut report = Report::default();
        report.uplink.own_lateness.p999_us = 1001.0;
        report.note_lateness(2000.0);
        assert!(report.remarks.is_empty());
        report.note_lateness(1000.0);
        assert!(report.is_good());
        assert_eq!(report.remarks.len(), 1);
    }

    #[test]
    fn a_percentile_of_fewer_pieces_than_it_takes_is_none() {
        let of = |count| Percentiles { count, ..Percentiles::default() };
        let known = |p: Percentiles| {
            [p.p50(), p.p90(), p.p99(), p.p999(), p.p9999(), p.max()].map(|it| it.is_some())
        };
        assert_eq!(known(of(0)), [false; 6]);
        assert_eq!(known(of(999)), [true, true, true, false, false, true]);
        assert_eq!(known(of(10_000)), [true; 6]);
    }
}
