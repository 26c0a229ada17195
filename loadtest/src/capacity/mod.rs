//! How many calls a relay carries: runs of more and more calls, each held for a while, up to the
//! most that keep the bounds.
//!
//! In:       a run as it is to be, apart from the number of its calls; [`Plan`].
//! Out:      every [`Step`] as it ends; a [`CapacityReport`].
//! Bounds:   [`search::STEPS_MAX`] runs; memory for the records of a run, see [`calls_that_fit`].
//! Not here: which number is tried next (`capacity::search`), a run (`run`).
//!
//! Each step is a relay of its own, so none inherits memory, sessions or a backlog. All calls of a
//! step talk at once for the hold: its latencies and its CPU are of that time. What is lost or
//! fails counts from the first call to the last.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::SECONDS;
use crate::harness::HarnessError;
use crate::interrupt;
use crate::recording::settings::{Setting, as_given};
use crate::report::{Percentiles, Report};
use crate::run::{self, RunSettings};
use crate::slo::{self, Judged, Verdict};
use crate::{hold, process};

pub mod search;

use search::{Answer, Next, Outcome, Range, Search};

/// Memory that a call takes in the records and in their judging, whatever its length.
const CALL_BYTES: u64 = 2 << 20;

/// Memory that a second of a call takes there: audio heard, and what it is held against.
const CALL_SECOND_BYTES: u64 = 100 << 10;

/// What is searched, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Numbers of calls, and when their search is over.
    pub range: Range,
    /// How long all calls of a step talk at once, in seconds.
    pub hold: u64,
}

/// One run of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Calls at once.
    pub calls: usize,
    /// Which run of this number it was, from 1 on.
    pub attempt: usize,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was not kept: bounds and problems, worst first.
    pub reasons: Vec<String>,
    /// The bounds and their values.
    pub slo: Vec<Judged>,
    /// Latency from the planned time, caller to model.
    pub uplink: Percentiles,
    /// Latency from the planned time, model to caller.
    pub downlink: Percentiles,
    /// From the start of a call to its open stream.
    pub setup: Percentiles,
    /// The relay's CPU for a second of a call in the hold, in microseconds.
    pub cpu_us_per_call_second: Option<f64>,
    /// Cores the relay used in the hold.
    pub relay_cores: Option<f64>,
    /// Cores that callers and stand-in used in the hold.
    pub own_cores: Option<f64>,
    /// p99.9 of the load's own lateness, in microseconds.
    pub own_lateness_p999_us: f64,
    /// The relay's peak of resident memory above idle, by call, in KiB.
    pub rss_per_call_kib: Option<f64>,
    /// Samples lost, both directions.
    pub lost: u64,
    /// Calls that failed.
    pub failed: usize,
}

impl Step {
    fn of(report: &Report, calls: usize, attempt: usize, own_lateness_max_us: f64) -> Step {
        let is_late = slo::is_spoilt(report, own_lateness_max_us);
        // A load that is late spoils times. What is wrong besides is wrong however late it was.
        let excused = if is_late { slo::times_not_measured(report) } else { 0 };
        let outcome = match report.problems.len() > excused {
            true => Outcome::Broken,
            false if is_late => Outcome::Spoilt,
            false => Outcome::Kept,
        };
        let late = slo::own_lateness_us(report);
        let mut reasons = report.problems.clone();
        if is_late {
            let told = format!("the load itself was late: p99.9 {:.1} ms", late / 1e3);
            reasons.insert(if outcome == Outcome::Spoilt { 0 } else { reasons.len() }, told);
        }
        let peak = |usage: crate::report::Usage| {
            usage.rss_peak_kib.saturating_sub(usage.rss_idle_kib) as f64 / calls.max(1) as f64
        };
        Step {
            calls,
            attempt,
            outcome,
            reasons,
            slo: report.slo.clone(),
            uplink: *report.latencies().0,
            downlink: *report.latencies().1,
            setup: report.setup,
            cpu_us_per_call_second: report.hold.map(|hold| hold.cpu_us_per_call_second()),
            relay_cores: report.hold.map(|hold| hold.relay_cores),
            own_cores: report.hold.map(|hold| hold.own_cores),
            own_lateness_p999_us: late,
            rss_per_call_kib: report.relay.map(peak),
            lost: report.uplink.lost + report.downlink.lost,
            failed: report.calls - report.calls_good,
        }
    }

    /// What broke it, in a word each: the names of bounds, or else the first problem.
    pub fn broken_by(&self) -> String {
        let broken =
            |judged: &&Judged| matches!(judged.verdict, Verdict::Broken | Verdict::NotMeasured);
        let slos: Vec<_> = self.slo.iter().filter(broken).map(|it| it.slo.as_str()).collect();
        match (slos.is_empty(), self.reasons.first()) {
            (false, _) => slos.join(", "),
            (true, Some(reason)) => reason.lines().next().unwrap_or_default().to_string(),
            (true, None) => String::new(),
        }
    }
}

/// The names of what [`Step`] prints, aligned with it.
pub const HEADINGS: &str = "  calls   up p50    p99  p99.9  down p50    p99  p99.9  CPU/call-s  \
                            relay   own  own late   lost  failed  verdict\n               ms     \
                            ms     ms        ms     ms     ms          us  cores cores        ms";

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_string(), |value| format!("{value:.digits$}"))
        };
        write!(f, "{:>7}  ", self.calls)?;
        for (it, width) in [(&self.uplink, 7), (&self.downlink, 9)] {
            let [p50, p99, p999] = [it.p50(), it.p99(), it.p999()].map(|it| it.map(|us| us / 1e3));
            let (p50, p99, p999) = (figure(p50, 2), figure(p99, 1), figure(p999, 1));
            write!(f, "{p50:>width$} {p99:>6} {p999:>6} ")?;
        }
        write!(
            f,
            "{:>11}  {:>5} {:>5}  {:>8.2}  {:>5}  {:>6}  ",
            figure(self.cpu_us_per_call_second, 0),
            figure(self.relay_cores, 2),
            figure(self.own_cores, 2),
            self.own_lateness_p999_us / 1e3,
            self.lost,
            self.failed
        )?;
        match self.outcome {
            Outcome::Kept => write!(f, "kept"),
            Outcome::Broken => write!(f, "BROKEN by {}", self.broken_by()),
            Outcome::Spoilt => write!(f, "spoilt: the load itself was late"),
        }
    }
}

/// What a search has found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CapacityReport {
    /// The bounds.
    pub slo: Vec<String>,
    /// How long all calls of a step talked at once, in seconds.
    pub hold_seconds: u64,
    /// Calls begun in a second.
    pub ramp: f64,
    /// The seed of voices and arrivals.
    pub seed: u64,
    /// One in so many calls gave the times: see [`crate::probes`].
    pub probes_one_in: usize,
    /// Every setting of the relay, secrets masked; where there was no run, those that were given.
    pub relay_settings: Vec<Setting>,
    /// The cores the relay was bound to.
    pub relay_cores: Option<String>,
    /// p99.9 of the load's own lateness above which a step is spoilt, in microseconds.
    pub own_lateness_max_us: f64,
    /// Every run, in order.
    pub steps: Vec<Step>,
    /// The end.
    pub answer: Answer,
    /// The end in a sentence.
    pub text: String,
}

impl CapacityReport {
    /// True if it says how many calls the relay carries.
    pub fn is_good(&self) -> bool {
        self.answer.is_found()
    }
}

/// The most calls, up to `most`, whose records fit the memory that is free; `seconds` is how long
/// each of so many speaks. `None` where the kernel does not say. More would have the machine swap,
/// and measure that.
pub fn calls_that_fit(most: usize, seconds: impl Fn(usize) -> u64) -> Option<usize> {
    let free = process::available_kib()? << 10;
    let need = |calls: usize| calls as u64 * (CALL_BYTES + seconds(calls) * CALL_SECOND_BYTES);
    let (mut fits, mut too_many) = (0, most + 1);
    while too_many - fits > 1 {
        let middle = (fits + too_many) / 2;
        if need(middle) <= free { fits = middle } else { too_many = middle }
    }
    Some(fits)
}

/// How long each call of a step speaks, in whole seconds: until the last has begun, has settled,
/// and the hold is over.
pub fn seconds_of(base: &RunSettings, plan: &Plan, calls: usize) -> u64 {
    let last = base.arrivals.times(base.ramp, calls, base.seed).last().copied().unwrap_or(0);
    (last + hold::SETTLE).div_ceil(SECONDS) + plan.hold
}

/// Searches. `base`: every step, apart from its calls and their length; `told` is shown each step
/// as it ends. A run that does not come about ends the search: the report has the steps before it.
pub fn measure(base: &RunSettings, plan: &Plan, told: &mut dyn FnMut(&Step)) -> CapacityReport {
    search(base, plan, told, &mut run::run)
}

fn search(
    base: &RunSettings,
    plan: &Plan,
    told: &mut dyn FnMut(&Step),
    run: &mut dyn FnMut(&RunSettings) -> Result<Report, HarnessError>,
) -> CapacityReport {
    let mut search = Search::new(plan.range);
    let mut steps: Vec<Step> = Vec::new();
    let given = base.environment.iter().map(|(name, value)| (name.as_str(), value));
    let mut relay_settings = as_given(given);
    let mut error = None;
    let answer = loop {
        let calls = match search.next() {
            Next::Try(calls) => calls,
            Next::Done(answer) => break answer,
        };
        let settings = RunSettings {
            calls,
            seconds: seconds_of(base, plan, calls),
            lengths: None,
            ..base.clone()
        };
        let mut report = match run(&settings) {
            Ok(report) => report,
            Err(why) => {
                error = Some(why.to_string());
                break search.without_run(calls);
            }
        };
        if interrupt::is_asked() {
            break search.stopped();
        }
        let attempt = 1 + steps.iter().filter(|step| step.calls == calls).count();
        let step = Step::of(&report, calls, attempt, base.own_lateness_max_us);
        search.note(calls, step.outcome);
        // They are the same in every run.
        let told_settings = std::mem::take(&mut report.recording.relay_settings);
        if steps.is_empty() && !told_settings.is_empty() {
            relay_settings = told_settings;
        }
        told(&step);
        steps.push(step);
    };
    let mut text = sentence(answer, &steps);
    if let Some(error) = error {
        text = format!("{text}: {error}");
    }
    CapacityReport {
        slo: base.slos.iter().map(ToString::to_string).collect(),
        hold_seconds: plan.hold,
        ramp: base.ramp,
        seed: base.seed,
        probes_one_in: base.probes,
        relay_settings,
        relay_cores: base.relay_cores.as_ref().map(ToString::to_string),
        own_lateness_max_us: base.own_lateness_max_us,
        steps,
        answer,
        text,
    }
}

/// The answer as one says it, with what broke first.
fn sentence(answer: Answer, steps: &[Step]) -> String {
    let why = |calls: usize| {
        let broken = |step: &&Step| step.calls == calls && step.outcome == Outcome::Broken;
        steps.iter().rfind(broken).map_or_else(String::new, Step::broken_by)
    };
    match answer {
        Answer::Largest { kept, broke } => {
            format!("largest N that kept it: {kept} ({broke} broke {})", why(broke))
        }
        Answer::KeptAtLargest { kept } => {
            format!("kept at the largest N tried: {kept}; the limit lies above")
        }
        Answer::NoneKept { broke } => {
            format!("broken already at the smallest N tried: {broke} broke {}", why(broke))
        }
        Answer::GeneratorLimit { kept, spoilt } => format!(
            "the generator, not the relay, was the limit at N={spoilt}: no verdict from there on; \
             {}",
            below(kept)
        ),
        Answer::OutOfSteps { kept, not_kept } => format!(
            "no more than {} runs: {}, {}",
            search::STEPS_MAX,
            below(kept),
            not_kept.map_or_else(|| "nothing broke it".to_string(), |n| format!("{n} did not"))
        ),
        Answer::NoRun { kept, calls } => {
            format!("no run of {calls} calls came about, {}", below(kept))
        }
        Answer::Stopped { kept: None } => "stopped by a signal before anything was known".into(),
        Answer::Stopped { kept } => format!("stopped by a signal: {}", below(kept)),
    }
}

fn below(kept: Option<usize>) -> String {
    kept.map_or_else(|| "none kept it below".to_string(), |calls| format!("{calls} kept it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::scenario::Demands;
    use crate::report::SwapReport;

    fn report(late_us: f64, slo: &str) -> Report {
        let mut report = Report { calls: 5, calls_good: 4, ..Report::default() };
        report.uplink.own_lateness.p999_us = late_us;
        slo::apply(&slo::read(slo).unwrap(), &mut report, 1e3);
        report
    }

    #[test]
    fn a_step_says_what_broke_it() {
        let step = Step::of(&report(10.0, "failed=0,lost=0"), 5, 1, 1e3);
        assert_eq!((step.outcome, step.failed), (Outcome::Broken, 1));
        let line = step.to_string();
        assert!(line.ends_with("BROKEN by failed=0"), "{line}");
        let answer = Answer::Largest { kept: 4, broke: 5 };
        assert_eq!(sentence(answer, &[step]), "largest N that kept it: 4 (5 broke failed=0)");
    }

    #[test]
    fn every_end_of_a_search_is_told_in_a_sentence() {
        for (answer, text) in [
            (Answer::KeptAtLargest { kept: 9 }, "kept at the largest N tried: 9; the limit"),
            (Answer::NoneKept { broke: 5 }, "broken already at the smallest N tried: 5 broke"),
            (
                Answer::GeneratorLimit { kept: Some(4), spoilt: 5 },
                "the generator, not the relay, was the limit at N=5: no verdict from there on; 4 kept",
            ),
            (
                Answer::OutOfSteps { kept: None, not_kept: Some(5) },
                "no more than 60 runs: none kept",
            ),
            (Answer::Stopped { kept: Some(4) }, "stopped by a signal: 4 kept it"),
            (Answer::Stopped { kept: None }, "stopped by a signal before anything was known"),
        ] {
            assert!(sentence(answer, &[]).starts_with(text), "{}", sentence(answer, &[]));
        }
    }

    #[test]
    fn a_step_whose_load_was_late_proves_nothing_of_times_and_excuses_nothing_else() {
        for (slo, late, outcome) in [
            ("lost=0", 1001.0, Outcome::Spoilt),
            ("lost=0", 999.0, Outcome::Kept),
            // No piece was timed: that may be the load's own doing.
            ("lost=0,uplink.p999<=20ms", 1001.0, Outcome::Spoilt),
            ("lost=0,uplink.p999<=20ms", 999.0, Outcome::Broken),
            // One of the calls failed, and nobody's lateness does that.
            ("failed=0", 1001.0, Outcome::Broken),
            ("failed=0,uplink.p999<=20ms", 1001.0, Outcome::Broken),
            // Memory was not measured: no lateness hides it.
            ("rss_per_call<=1MiB", 1001.0, Outcome::Broken),
        ] {
            let step = Step::of(&report(late, slo), 5, 1, 1e3);
            assert_eq!(step.outcome, outcome, "{slo} {late}: {:?}", step.reasons);
            let told = step.reasons.iter().any(|reason| reason.contains("was late"));
            assert_eq!(told, late > 1e3, "{:?}", step.reasons);
        }
        let mut dead = report(1001.0, "uplink.p999<=20ms");
        dead.problems.insert(0, "the relay died".into());
        let step = Step::of(&dead, 5, 1, 1e3);
        assert_eq!((step.outcome, step.reasons[0].as_str()), (Outcome::Broken, "the relay died"));
        let demands =
            Demands { max_gap_ms: Some(1.0), max_recovery_ms: Some(1.0), ..Demands::default() };
        let long = Percentiles { p99_us: 2e3, max_us: 2e3, ..Percentiles::default() };
        for (swaps, late, outcome) in [
            (SwapReport { gap: long, ..SwapReport::default() }, 1001.0, Outcome::Spoilt),
            (SwapReport { gap: long, ..SwapReport::default() }, 999.0, Outcome::Broken),
            (SwapReport { recovery: long, ..SwapReport::default() }, 1001.0, Outcome::Spoilt),
            (SwapReport { recovery: long, ..SwapReport::default() }, 999.0, Outcome::Broken),
            // What was lost, or never came back, is wrong however late the load was.
            (SwapReport { lost_ms: 2.0, ..SwapReport::default() }, 1001.0, Outcome::Broken),
            (SwapReport { failed: 1, ..SwapReport::default() }, 1001.0, Outcome::Broken),
            (SwapReport { unexplained: 1, ..SwapReport::default() }, 1001.0, Outcome::Broken),
        ] {
            let mut report = report(late, "lost=0");
            let demands = Demands { max_lost_ms: Some(1.0), ..demands };
            report.swaps = Some(swaps);
            report.demand(&demands, 1e3);
            let told = report.remarks.iter().any(|remark| remark.contains("are not judged"));
            assert_eq!((told, report.lacks_evidence()), (late > 1e3, outcome == Outcome::Spoilt));
            let step = Step::of(&report, 5, 1, 1e3);
            assert_eq!(step.outcome, outcome, "{late}: {:?}", step.reasons);
        }
    }

    #[test]
    fn a_step_goes_under_its_headings() {
        let line = Step::of(&report(0.0, "lost=0"), 5, 1, 1e3).to_string();
        let first = HEADINGS.lines().next().unwrap();
        assert_eq!(line.find("kept"), first.find("verdict"), "\n{HEADINGS}\n{line}");
    }

    #[test]
    fn calls_fit_memory_only_up_to_a_number_that_falls_with_their_length() {
        let short = calls_that_fit(1 << 20, |_| 10).unwrap();
        let long = calls_that_fit(1 << 20, |_| 1000).unwrap();
        assert!(short > long, "{short} {long}");
        assert_eq!(calls_that_fit(1, |_| 0), Some(1), "no more than are asked for");
    }

    #[test]
    fn a_run_that_does_not_come_about_ends_the_search_and_leaves_what_was_measured() {
        let tolerance = search::Tolerance::Calls(1);
        let plan = Plan { range: Range { from: 2, to: 9, tolerance, repeats: 1 }, hold: 1 };
        let base = RunSettings {
            turn_ms: 20,
            pause_ms: 0,
            environment: vec![("VOCARIS_ADMIN_TOKEN".into(), "hunter2".into())],
            ..RunSettings::new(crate::relay::Program::default())
        };
        let mut runs = 0;
        let mut run = |_: &RunSettings| {
            runs += 1;
            match runs {
                1 => Ok(report(0.0, "lost=0")),
                _ => Err(HarnessError::StandIn(std::io::ErrorKind::AddrInUse.into())),
            }
        };
        let mut told = 0;
        let report = search(&base, &plan, &mut |_| told += 1, &mut run);
        assert_eq!((report.steps.len(), told), (1, 1));
        assert_eq!(report.answer, Answer::NoRun { kept: Some(2), calls: 4 });
        assert!(!report.answer.is_found() && !report.answer.lacks_evidence());
        let text = report.text;
        assert!(text.starts_with("no run of 4 calls came about, 2 kept it: "), "{text}");
        assert!(!format!("{:?}", report.relay_settings).contains("hunter2"));
    }
}
