//! The same load against several relays, in turn, and one table of them.
//!
//! In:       [`CompareSettings`]: the load, the relays, how many rounds.
//! Out:      a [`Comparison`], as text or JSON.
//! Bounds:   every run has its own; a relay that cannot be built or run is told and left out; asked
//!           to end (`interrupt`), it begins no further run.
//! Not here: one run (`run`), the relays (`relay::peer`).
//!
//! The rounds are interleaved (A B C, A B C, ...), so that a machine that slows down or warms up
//! does so for all. A figure is the median over the rounds of a relay that were usable: nothing
//! failed, nothing was lost. Ratios are to the floor, `null`, of the same comparison.
//!
//! Latencies are of what was planned while all calls talked ([`Report::latencies`]): what a relay
//! does with the audio that comes into a greeting is no part of them. Those of a run in which the
//! load itself was late are in no median; its CPU and memory are. Latencies by content have filters'
//! delays in them and the floor's have not: they are no multiple of the floor's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::interrupt;
use crate::judge::Judgement;
use crate::listen::FidelityReport;
use crate::relay::Program;
use crate::relay::peer::{Peer, Workshop};
use crate::report::{Percentiles, Report, Usage};
use crate::run::{self, RunSettings};
use crate::slo;

/// The most rounds.
pub const ROUNDS_MAX: usize = 100;

/// What is said of a comparison by a program that was built without `--release`: what it holds
/// itself is slower than it is, and what it builds is not.
const UNOPTIMISED: &str = "null and vocaris are built without optimisation, the others with it: \
                           their figures here say nothing; use --release";

/// What is compared.
pub struct CompareSettings {
    /// The load; its relay, its judge and its model's TLS are those of each relay.
    pub load: RunSettings,
    /// The relays, in this order in every round.
    pub relays: Vec<Peer>,
    /// How many rounds, up to [`ROUNDS_MAX`].
    pub rounds: usize,
    /// Every relay but the floor is judged by content; its latencies then hold the delay of its
    /// filters. Else Vocaris is judged sample for sample, the others by count, and latencies are
    /// those of messages.
    pub by_content: bool,
    /// Where relays come from.
    pub workshop: Workshop,
}

/// Several relays under the same load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// Calls at once.
    pub calls: usize,
    /// Seconds that each speaks.
    pub seconds: u64,
    /// Rounds asked for.
    pub rounds: usize,
    /// p99.9 of the load's own lateness above which latencies are no evidence, in microseconds.
    pub own_lateness_max_us: f64,
    /// The relays that ran.
    pub relays: Vec<Row>,
    /// The relays that did not, and why.
    pub skipped: Vec<Skipped>,
    /// What is to be known before believing any of it.
    pub remarks: Vec<String>,
    /// A signal asked for the end before all runs were made.
    pub stopped: bool,
}

/// A relay that did not run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// What was missing.
    pub reason: String,
}

/// A relay in a comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What decided whether its audio was good.
    pub judged: Judgement,
    /// Runs that count.
    pub usable: usize,
    /// Why the others do not, one entry a run.
    pub unusable: Vec<String>,
    /// Of those that count, the ones whose latencies do not, because the load itself was late: how
    /// late, one entry a run.
    pub spoilt: Vec<String>,
    /// Calls that failed, over all runs.
    pub calls_failed: usize,
    /// The medians over the runs that count; `None` if none does.
    pub figures: Option<Figures>,
    /// The same as multiples of the floor's, where the floor has them.
    pub to_floor: Option<Figures>,
    /// The reports of all runs.
    pub reports: Vec<Report>,
    /// The figures of each run that counts.
    #[serde(skip)]
    of_runs: Vec<Figures>,
}

/// The figures of a relay; `None` where one was not measured, is no evidence or, of a ratio, says
/// nothing. Latencies count from the planned time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// User and system time for each second of each call, in microseconds.
    pub cpu_us_per_call_second: Option<f64>,
    /// The most resident memory beyond that without calls, for each call, in KiB.
    pub memory_kib_per_call: Option<f64>,
    /// Caller to model.
    pub uplink: Tail,
    /// Model to caller.
    pub downlink: Tail,
    /// CPU of callers and stand-in for each second of each call, in microseconds.
    pub load_cpu_us_per_call_second: Option<f64>,
}

/// A latency by its percentiles; `None` of fewer pieces than one takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The median.
    pub p50: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
}

/// Runs every round of every relay. `say` hears what begins and what is left out.
pub fn compare(settings: &CompareSettings, mut say: impl FnMut(&str)) -> Comparison {
    let load = &settings.load;
    let mut comparison = Comparison {
        calls: load.calls,
        seconds: load.seconds,
        rounds: settings.rounds.min(ROUNDS_MAX),
        own_lateness_max_us: load.own_lateness_max_us,
        ..Comparison::default()
    };
    if cfg!(debug_assertions) {
        comparison.remarks.push(UNOPTIMISED.to_string());
    }
    let mut ready: Vec<(Peer, Program)> = Vec::new();
    for &peer in &settings.relays {
        say(&format!("{peer}: getting ready"));
        match peer.prepare(&settings.workshop) {
            Ok(program) => {
                let judged = settings.judgement(&program);
                ready.push((peer, program));
                comparison.relays.push(Row { name: peer.to_string(), judged, ..Row::default() });
            }
            Err(reason) => {
                say(&format!("{peer}: SKIPPED, {reason}"));
                comparison.skipped.push(Skipped { name: peer.to_string(), reason });
            }
        }
    }
    'rounds: for round in 1..=comparison.rounds {
        for ((peer, program), row) in ready.iter().zip(&mut comparison.relays) {
            if interrupt::is_asked() {
                comparison.stopped = true;
                break 'rounds;
            }
            say(&format!("round {round} of {}: {peer}", settings.rounds));
            let run = RunSettings {
                environment: peer.alike().chain(load.environment.iter().cloned()).collect(),
                program: program.clone(),
                judged: row.judged,
                plain_model: peer.wants_plain_model(),
                ..load.clone()
            };
            match run::run(&run) {
                Ok(report) => row.add(report, load.own_lateness_max_us),
                Err(error) => row.unusable.push(error.to_string()),
            }
        }
    }
    comparison.conclude();
    comparison
}

impl CompareSettings {
    fn judgement(&self, program: &Program) -> Judgement {
        match (self.by_content, program.kind.judged()) {
            (true, Judgement::Exact) => Judgement::ByContent,
            (false, Judgement::ByContent) => Judgement::ByCount,
            (_, judged) => judged,
        }
    }
}

impl Comparison {
    /// True if something ran, every run counts, and nobody ended it before its time.
    pub fn is_good(&self) -> bool {
        let counts = |row: &Row| row.usable > 0 && row.unusable.is_empty();
        !self.stopped && !self.relays.is_empty() && self.relays.iter().all(counts)
    }

    /// True if it is good, but the latencies of some run are no evidence because the load itself
    /// was late.
    pub fn lacks_evidence(&self) -> bool {
        self.is_good() && self.relays.iter().any(|row| !row.spoilt.is_empty())
    }

    /// Takes the medians and holds them against the floor's.
    fn conclude(&mut self) {
        if self.stopped {
            let made = |row: &Row| row.usable + row.unusable.len();
            let (made, planned) =
                (self.relays.iter().map(made).sum::<usize>(), self.rounds * self.relays.len());
            self.remarks.push(format!("stopped by a signal: {made} of {planned} runs were made"));
        }
        for row in &mut self.relays {
            row.figures = row.medians();
            if row.reports.iter().any(|report| report.is_good() && report.held.is_none()) {
                self.remarks.push(format!(
                    "{}: all calls never talked for a second; its latencies are of the whole run",
                    row.name
                ));
            }
        }
        let is_floor = |row: &&Row| row.name == Peer::Null.name();
        let floor = self.relays.iter().find(is_floor).and_then(|row| row.figures);
        for row in &mut self.relays {
            let alike = row.judged != Judgement::ByContent;
            let over = |(figures, floor): (Figures, Figures)| figures.over(&floor, alike);
            row.to_floor = row.figures.zip(floor).map(over);
        }
    }
}

impl Row {
    /// The content of its last run that was listened to.
    pub fn heard(&self) -> Option<&FidelityReport> {
        self.reports.iter().rev().find_map(|report| report.fidelity.as_ref())
    }

    /// What its runs have to say, each kind once: the figures in a remark differ from run to run,
    /// its first words do not.
    pub fn remarks(&self) -> Vec<&str> {
        let kind = |remark: &str| remark.split('(').next().unwrap_or_default().to_string();
        let (mut told, mut kinds) = (Vec::new(), Vec::new());
        for remark in self.reports.iter().flat_map(|report| &report.remarks) {
            if !kinds.contains(&kind(remark)) {
                kinds.push(kind(remark));
                told.push(remark.as_str());
            }
        }
        told
    }

    /// Adds a run. Its latencies count unless p99.9 of the load's own lateness is above
    /// `own_lateness_max_us` microseconds.
    fn add(&mut self, report: Report, own_lateness_max_us: f64) {
        self.calls_failed += report.calls - report.calls_good;
        if report.is_good() {
            self.usable += 1;
            let mut figures = Figures::of(&report);
            if slo::is_spoilt(&report, own_lateness_max_us) {
                let late = slo::own_lateness_us(&report);
                self.spoilt.push(format!("the load itself was late, p99.9 {late:.0} us"));
                (figures.uplink, figures.downlink) = (Tail::default(), Tail::default());
            }
            self.of_runs.push(figures);
        } else {
            self.unusable.push(report.problems.join("; "));
        }
        self.reports.push(report);
    }

    fn medians(&self) -> Option<Figures> {
        let of_runs = &self.of_runs;
        let medians = |of: Of| median(of_runs.iter().filter_map(of).collect());
        (!of_runs.is_empty()).then(|| Figures::from_each(medians))
    }
}

/// The middle value; of two, their mean; of none, none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.len() % 2) {
        (0, _) => None,
        (_, 1) => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// One of the figures.
type Of = Box<dyn Fn(&Figures) -> Option<f64>>;

impl Figures {
    /// The figures of one run.
    fn of(report: &Report) -> Figures {
        let relay = report.relay;
        let calls = report.calls.max(1) as f64;
        let memory = |it: Usage| it.rss_peak_kib.saturating_sub(it.rss_idle_kib) as f64 / calls;
        let (up, down) = report.latencies();
        Figures {
            cpu_us_per_call_second: relay.map(|it| it.cpu_us_per_call_second),
            memory_kib_per_call: relay.map(memory),
            uplink: Tail::of(up),
            downlink: Tail::of(down),
            load_cpu_us_per_call_second: Some(report.own_cpu_us_per_call_second),
        }
    }

    /// Figures of which each is what `each` says of it.
    fn from_each(each: impl Fn(Of) -> Option<f64>) -> Figures {
        let tail = |way: fn(&Figures) -> &Tail| Tail {
            p50: each(Box::new(move |it| way(it).p50)),
            p99: each(Box::new(move |it| way(it).p99)),
            p999: each(Box::new(move |it| way(it).p999)),
        };
        Figures {
            cpu_us_per_call_second: each(Box::new(|it| it.cpu_us_per_call_second)),
            memory_kib_per_call: each(Box::new(|it| it.memory_kib_per_call)),
            uplink: tail(|it| &it.uplink),
            downlink: tail(|it| &it.downlink),
            load_cpu_us_per_call_second: each(Box::new(|it| it.load_cpu_us_per_call_second)),
        }
    }

    /// These as multiples of the floor's. `alike`: the latencies of both are of one kind.
    fn over(&self, floor: &Figures, alike: bool) -> Figures {
        let ratios = Figures::from_each(|of| {
            let floor = of(floor).filter(|&floor| floor != 0.0)?;
            Some(of(self)? / floor)
        });
        let latency = |tail: Tail| if alike { tail } else { Tail::default() };
        Figures { uplink: latency(ratios.uplink), downlink: latency(ratios.downlink), ..ratios }
    }
}

impl Tail {
    fn of(latency: &Percentiles) -> Tail {
        Tail { p50: latency.p50(), p99: latency.p99(), p999: latency.p999() }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} calls of {} s, {} rounds in turn, medians; x: multiples of null; latency from plan \
             while all calls talk, us",
            self.calls, self.seconds, self.rounds
        )?;
        writeln!(
            f,
            "{:<11} {:<7} {:>4} {:>7} {:>5} {:>7} {:>5} | {:>6} {:>7} {:>7} {:>5} {:>5} {:>5} \
             | {:>6} {:>7} {:>7} {:>5} {:>5} {:>5} | {:>6} {:>6}",
            "relay",
            "judged",
            "runs",
            "us/c-s",
            "x",
            "KiB/c",
            "x",
            "up p50",
            "p99",
            "p99.9",
            "x",
            "x",
            "x",
            "dn p50",
            "p99",
            "p99.9",
            "x",
            "x",
            "x",
            "load",
            "failed"
        )?;
        for row in &self.relays {
            row.fmt(f)?;
        }
        for row in &self.relays {
            row.write_fidelity(f)?;
        }
        for row in &self.relays {
            for reason in &row.unusable {
                writeln!(f, "NOT USABLE   {}: {reason}", row.name)?;
            }
            for late in &row.spoilt {
                writeln!(f, "SPOILT       {}: {late}; latencies left out", row.name)?;
            }
        }
        for row in &self.relays {
            for remark in row.remarks() {
                writeln!(f, "note         {}: {remark}", row.name)?;
            }
        }
        for remark in &self.remarks {
            writeln!(f, "note         {remark}")?;
        }
        for Skipped { name, reason } in &self.skipped {
            writeln!(f, "SKIPPED      {name}: {reason}")?;
        }
        f.write_str(match self.is_good() {
            true if self.lacks_evidence() => "NO VERDICT",
            true => "good",
            false => "NOT GOOD",
        })
    }
}

impl Row {
    /// A line for the content of its last run, where that was listened to.
    fn write_fidelity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(FidelityReport { uplink, downlink, .. }) = self.heard() else { return Ok(()) };
        let told = |value: Option<f64>| figure(value, 1);
        writeln!(
            f,
            "content      {}: SINAD {} dB up, {} dB down; holds {} ms up, {} ms down; \
             {} and {} clicks",
            self.name,
            told(uplink.sinad_db),
            told(downlink.sinad_db),
            told(uplink.held_ms),
            told(downlink.held_ms),
            uplink.clicks,
            downlink.clicks
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = match self.judged {
            Judgement::Exact => "exact",
            Judgement::ByContent => "content",
            Judgement::ByCount => "count",
        };
        write!(f, "{:<11} {judged:<7} {:>4} ", self.name, self.usable)?;
        let Some(own) = self.figures else {
            return writeln!(f, "no run that counts; {} calls failed", self.calls_failed);
        };
        let x = self.to_floor.unwrap_or_default();
        write!(
            f,
            "{:>7} {:>5} {:>7} {:>5} |",
            figure(own.cpu_us_per_call_second, 0),
            figure(x.cpu_us_per_call_second, 2),
            figure(own.memory_kib_per_call, 1),
            figure(x.memory_kib_per_call, 2)
        )?;
        for (tail, x) in [(own.uplink, x.uplink), (own.downlink, x.downlink)] {
            write!(
                f,
                " {:>6} {:>7} {:>7} {:>5} {:>5} {:>5} |",
                figure(tail.p50, 0),
                figure(tail.p99, 0),
                figure(tail.p999, 0),
                figure(x.p50, 2),
                figure(x.p99, 2),
                figure(x.p999, 2)
            )?;
        }
        writeln!(f, " {:>6} {:>6}", figure(own.load_cpu_us_per_call_second, 0), self.calls_failed)
    }
}

/// A figure with so many digits behind the point, or a dash.
fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_string(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Held;

    /// p99.9 of a load's own lateness that spoils a run, in microseconds.
    const LATE_US: f64 = 1e3;

    fn latency(count: u64, p50_us: f64) -> Percentiles {
        Percentiles { count, p50_us, p99_us: p50_us, p999_us: p50_us, ..Percentiles::default() }
    }

    /// A run in which the relay used so much.
    fn report(cpu: f64, p50_us: f64) -> Report {
        let mut report = Report { calls: 10, calls_good: 10, ..Report::default() };
        report.relay =
            Some(Usage { cpu_us_per_call_second: cpu, rss_idle_kib: 1000, rss_peak_kib: 1100 });
        report.held = Some(Held { uplink: latency(5000, p50_us), downlink: latency(500, p50_us) });
        report
    }

    fn row(name: &str, reports: Vec<Report>) -> Row {
        let mut row = Row { name: name.to_string(), ..Row::default() };
        reports.into_iter().for_each(|report| row.add(report, LATE_US));
        row
    }

    fn concluded(relays: Vec<Row>) -> Comparison {
        let mut comparison = Comparison { relays, rounds: 2, ..Comparison::default() };
        comparison.conclude();
        comparison
    }

    #[test]
    fn a_figure_is_the_median_of_its_runs_and_a_multiple_of_the_floors() {
        let floor = [100.0, 900.0, 110.0].map(|cpu| report(cpu, 50.0)).to_vec();
        let other = [330.0, 220.0].map(|cpu| report(cpu, 60.0)).to_vec();
        let comparison = concluded(vec![row("null", floor), row("other", other)]);
        assert!(comparison.is_good() && !comparison.lacks_evidence());
        let [floor, other] = &comparison.relays[..] else { panic!("two relays") };
        assert_eq!(floor.figures.unwrap().cpu_us_per_call_second, Some(110.0));
        assert_eq!(floor.figures.unwrap().memory_kib_per_call, Some(10.0));
        assert_eq!(floor.to_floor.unwrap().cpu_us_per_call_second, Some(1.0));
        let ratios = other.to_floor.unwrap();
        assert_eq!(ratios.cpu_us_per_call_second, Some(2.5));
        assert_eq!((ratios.uplink.p50, ratios.uplink.p999), (Some(1.2), Some(1.2)));
        assert_eq!((ratios.downlink.p99, ratios.downlink.p999), (Some(1.2), None), "of 500 pieces");
    }

    #[test]
    fn what_waits_for_the_greeting_is_no_latency_of_a_comparison() {
        let mut greeted = report(1.0, 60.0);
        greeted.uplink.corrected = latency(6000, 500_000.0);
        let comparison = concluded(vec![row("vocaris", vec![greeted])]);
        assert_eq!(comparison.relays[0].figures.unwrap().uplink.p99, Some(60.0));
        assert!(comparison.remarks.is_empty());
        let mut short = report(1.0, 60.0);
        short.held = None;
        let comparison = concluded(vec![row("vocaris", vec![short])]);
        assert!(comparison.remarks[0].contains("whole run"), "{comparison}");
    }

    #[test]
    fn latencies_of_a_late_load_count_for_nothing_and_its_cpu_does() {
        let mut late = report(300.0, 9_000.0);
        late.downlink.own_lateness.p999_us = LATE_US + 1.0;
        let runs = vec![report(100.0, 50.0), late.clone()];
        let comparison = concluded(vec![row("null", runs), row("other", vec![late])]);
        assert!(comparison.is_good() && comparison.lacks_evidence());
        let [null, other] = &comparison.relays[..] else { panic!("two relays") };
        assert_eq!(null.figures.unwrap().cpu_us_per_call_second, Some(200.0));
        assert_eq!(null.figures.unwrap().uplink.p50, Some(50.0));
        assert_eq!(other.figures.unwrap().uplink, Tail::default());
        assert_eq!((other.usable, other.spoilt.len()), (1, 1));
        let text = comparison.to_string();
        assert!(text.contains("SPOILT       other: the load itself was late"), "{text}");
        assert!(text.ends_with("NO VERDICT"), "{text}");
    }

    #[test]
    fn latencies_by_content_are_no_multiple_of_the_floors() {
        let mut other = row("other", vec![report(300.0, 9_000.0)]);
        other.judged = Judgement::ByContent;
        let comparison = concluded(vec![row("null", vec![report(100.0, 50.0)]), other]);
        let ratios = comparison.relays[1].to_floor.unwrap();
        assert_eq!(ratios.cpu_us_per_call_second, Some(3.0));
        assert_eq!((ratios.uplink, ratios.downlink), (Tail::default(), Tail::default()));
        assert_eq!(comparison.relays[1].figures.unwrap().uplink.p50, Some(9_000.0));
        let text = comparison.to_string();
        assert!(text.lines().any(|line| line.starts_with("other       content ")), "{text}");
    }

    #[test]
    fn a_comparison_that_was_stopped_says_so_and_is_not_good() {
        let relays =
            vec![row("null", vec![report(1.0, 1.0)]), row("other", vec![report(1.0, 1.0)])];
        let mut comparison =
            Comparison { relays, rounds: 2, stopped: true, ..Comparison::default() };
        comparison.conclude();
        assert!(!comparison.is_good());
        assert_eq!(comparison.remarks, ["stopped by a signal: 2 of 4 runs were made"]);
    }

    #[test]
    fn a_run_that_failed_counts_for_nothing_and_is_told() {
        let mut bad = report(1.0, 1.0);
        bad.calls_good = 7;
        bad.judge();
        let comparison = concluded(vec![row("other", vec![report(5.0, 1.0), bad])]);
        assert!(!comparison.is_good());
        let row = &comparison.relays[0];
        assert_eq!((row.usable, row.calls_failed), (1, 3));
        assert_eq!(row.figures.unwrap().cpu_us_per_call_second, Some(5.0));
        assert_eq!(row.to_floor, None);
        let text = comparison.to_string();
        assert!(text.contains("NOT USABLE   other: 3 of 10 calls failed"), "{text}");
    }

    #[test]
    fn a_comparison_of_nothing_is_not_good() {
        assert!(!Comparison::default().is_good());
    }
}
