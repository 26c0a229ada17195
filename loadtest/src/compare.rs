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

use std::fmt;

use serde::Serialize;

use crate::interrupt;
use crate::judge::Judgement;
use crate::listen::FidelityReport;
use crate::relay::Program;
use crate::relay::peer::{Peer, Workshop};
use crate::report::{Direction, Percentiles, Report};
use crate::run::{self, RunSettings};

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
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Calls at once.
    pub calls: usize,
    /// Seconds that each speaks.
    pub seconds: u64,
    /// Rounds asked for.
    pub rounds: usize,
    /// The relays that ran.
    pub relays: Vec<Row>,
    /// The relays that did not, and why.
    pub skipped: Vec<Skipped>,
    /// What is to be known before believing any of it.
    pub remarks: Vec<String>,
}

/// A relay that did not run.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// What was missing.
    pub reason: String,
}

/// A relay in a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What decided whether its audio was good.
    pub judged: Judgement,
    /// Runs that count.
    pub usable: usize,
    /// Why the others do not, one entry a run.
    pub unusable: Vec<String>,
    /// Calls that failed, over all runs.
    pub calls_failed: usize,
    /// The medians over the runs that count; `None` if none does.
    pub figures: Option<Figures>,
    /// The same as multiples of the floor's, where the floor has them.
    pub to_floor: Option<Figures>,
    /// The reports of all runs.
    pub reports: Vec<Report>,
}

/// The figures of a relay. Latencies count from the planned time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// User and system time for each second of each call, in microseconds.
    pub cpu_us_per_call_second: f64,
    /// The most resident memory beyond that without calls, for each call, in KiB.
    pub memory_kib_per_call: f64,
    /// Caller to model.
    pub uplink: Tail,
    /// Model to caller.
    pub downlink: Tail,
    /// CPU of callers and stand-in for each second of each call, in microseconds.
    pub load_cpu_us_per_call_second: f64,
}

/// A latency by its percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tail {
    /// The median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
}

/// Runs every round of every relay. `say` hears what begins and what is left out.
pub fn compare(settings: &CompareSettings, mut say: impl FnMut(&str)) -> Comparison {
    let load = &settings.load;
    let mut comparison = Comparison {
        calls: load.calls,
        seconds: load.seconds,
        rounds: settings.rounds.min(ROUNDS_MAX),
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
    for round in 1..=comparison.rounds {
        for ((peer, program), row) in ready.iter().zip(&mut comparison.relays) {
            if interrupt::is_asked() {
                break;
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
                Ok(report) => row.add(report),
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
    /// True if something ran, and every run counts.
    pub fn is_good(&self) -> bool {
        let counts = |row: &Row| row.usable > 0 && row.unusable.is_empty();
        !self.relays.is_empty() && self.relays.iter().all(counts)
    }

    /// Takes the medians and holds them against the floor's.
    fn conclude(&mut self) {
        for row in &mut self.relays {
            row.figures = row.medians();
        }
        let is_floor = |row: &&Row| row.name == Peer::Null.name();
        let floor = self.relays.iter().find(is_floor).and_then(|row| row.figures);
        for row in &mut self.relays {
            row.to_floor = row.figures.zip(floor).map(|(figures, floor)| figures.over(&floor));
        }
    }
}

impl Row {
    /// Adds a run.
    fn add(&mut self, report: Report) {
        self.calls_failed += report.calls - report.calls_good;
        if report.is_good() {
            self.usable += 1;
        } else {
            self.unusable.push(report.problems.join("; "));
        }
        self.reports.push(report);
    }

    fn medians(&self) -> Option<Figures> {
        let of_runs: Vec<_> =
            self.reports.iter().filter(|report| report.is_good()).filter_map(Figures::of).collect();
        if of_runs.is_empty() {
            return None;
        }
        let median = |of: &dyn Fn(&Figures) -> f64| median(of_runs.iter().map(of).collect());
        Some(Figures::from_each(|it| median(&it)))
    }
}

/// The middle value; of two, their mean. At least one is needed.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// One of the figures.
type Of = Box<dyn Fn(&Figures) -> f64>;

impl Figures {
    /// The figures of one run; `None` if its process was not measured.
    fn of(report: &Report) -> Option<Figures> {
        let relay = report.relay?;
        let calls = report.calls.max(1) as f64;
        Some(Figures {
            cpu_us_per_call_second: relay.cpu_us_per_call_second,
            memory_kib_per_call: relay.rss_peak_kib.saturating_sub(relay.rss_idle_kib) as f64
                / calls,
            uplink: Tail::of(&report.uplink),
            downlink: Tail::of(&report.downlink),
            load_cpu_us_per_call_second: report.own_cpu_us_per_call_second,
        })
    }

    /// Figures of which each is what `each` says of it.
    fn from_each(each: impl Fn(Of) -> f64) -> Figures {
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

    /// These as multiples of others; a figure over nothing is 0.
    fn over(&self, floor: &Figures) -> Figures {
        Figures::from_each(|of| match of(floor) {
            0.0 => 0.0,
            floor => of(self) / floor,
        })
    }
}

impl Tail {
    fn of(direction: &Direction) -> Tail {
        let Percentiles { p50_us, p99_us, p999_us, .. } = direction.corrected;
        Tail { p50: p50_us, p99: p99_us, p999: p999_us }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} calls of {} s, {} rounds in turn, medians; x: multiples of null; \
             latency from plan, us",
            self.calls, self.seconds, self.rounds
        )?;
        writeln!(
            f,
            "{:<11} {:>4} {:>7} {:>5} {:>7} {:>5} | {:>6} {:>7} {:>7} {:>5} {:>5} {:>5} \
             | {:>6} {:>7} {:>7} {:>5} {:>5} {:>5} | {:>6} {:>6}",
            "relay",
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
        }
        for row in &self.relays {
            // The figures in it differ from run to run; its first words do not.
            let kind = |remark: &str| remark.split('(').next().unwrap_or_default().to_string();
            let mut told = Vec::new();
            for remark in row.reports.iter().flat_map(|report| &report.remarks) {
                if !told.contains(&kind(remark)) {
                    writeln!(f, "note         {}: {remark}", row.name)?;
                    told.push(kind(remark));
                }
            }
        }
        for remark in &self.remarks {
            writeln!(f, "note         {remark}")?;
        }
        for Skipped { name, reason } in &self.skipped {
            writeln!(f, "SKIPPED      {name}: {reason}")?;
        }
        write!(f, "{}", if self.is_good() { "good" } else { "NOT GOOD" })
    }
}

impl Row {
    /// A line for the content of its last run, where that was listened to.
    fn write_fidelity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = self.reports.iter().rev().find_map(|report| report.fidelity.as_ref());
        let Some(FidelityReport { uplink, downlink, .. }) = heard else { return Ok(()) };
        let told = |figure: Option<f64>| figure.map_or("-".to_string(), |it| format!("{it:.1}"));
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
        write!(f, "{:<11} {:>4} ", self.name, self.usable)?;
        let Some(own) = self.figures else {
            return writeln!(f, "no run that counts; {} calls failed", self.calls_failed);
        };
        let ratio = |of: fn(&Figures) -> f64| match &self.to_floor {
            Some(ratios) => format!("{:.2}", of(ratios)),
            None => "-".to_string(),
        };
        write!(
            f,
            "{:>7.0} {:>5} {:>7.1} {:>5} |",
            own.cpu_us_per_call_second,
            ratio(|it| it.cpu_us_per_call_second),
            own.memory_kib_per_call,
            ratio(|it| it.memory_kib_per_call)
        )?;
        let ways: [(Tail, [String; 3]); 2] = [
            (
                own.uplink,
                [ratio(|it| it.uplink.p50), ratio(|it| it.uplink.p99), ratio(|it| it.uplink.p999)],
            ),
            (
                own.downlink,
                [
                    ratio(|it| it.downlink.p50),
                    ratio(|it| it.downlink.p99),
                    ratio(|it| it.downlink.p999),
                ],
            ),
        ];
        for (tail, [p50, p99, p999]) in ways {
            write!(
                f,
                " {:>6.0} {:>7.0} {:>7.0} {p50:>5} {p99:>5} {p999:>5} |",
                tail.p50, tail.p99, tail.p999
            )?;
        }
        writeln!(f, " {:>6.0} {:>6}", own.load_cpu_us_per_call_second, self.calls_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Usage;

    /// A run in which the relay used so much.
    fn report(cpu: f64, p50_us: f64) -> Report {
        let mut report = Report { calls: 10, calls_good: 10, ..Report::default() };
        report.relay =
            Some(Usage { cpu_us_per_call_second: cpu, rss_idle_kib: 1000, rss_peak_kib: 1100 });
        report.uplink.corrected.p50_us = p50_us;
        report
    }

    fn row(name: &str, reports: Vec<Report>) -> Row {
        let mut row = Row { name: name.to_string(), ..Row::default() };
        reports.into_iter().for_each(|report| row.add(report));
        row
    }

    #[test]
    fn a_figure_is_the_median_of_its_runs_and_a_multiple_of_the_floors() {
        let floor = [100.0, 900.0, 110.0].map(|cpu| report(cpu, 50.0)).to_vec();
        let other = [330.0, 220.0].map(|cpu| report(cpu, 60.0)).to_vec();
        let relays = vec![row("null", floor), row("other", other)];
        let mut comparison = Comparison { relays, ..Comparison::default() };
        comparison.conclude();
        assert!(comparison.is_good());
        let [floor, other] = &comparison.relays[..] else { panic!("two relays") };
        assert_eq!(floor.figures.unwrap().cpu_us_per_call_second, 110.0);
        assert_eq!(floor.figures.unwrap().memory_kib_per_call, 10.0);
        assert_eq!(floor.to_floor.unwrap().cpu_us_per_call_second, 1.0);
        assert_eq!(other.to_floor.unwrap().cpu_us_per_call_second, 2.5);
        assert_eq!(other.to_floor.unwrap().uplink.p50, 1.2);
        assert_eq!(other.to_floor.unwrap().downlink.p50, 0.0);
    }

    #[test]
    fn a_run_that_failed_counts_for_nothing_and_is_told() {
        let mut bad = report(1.0, 1.0);
        bad.calls_good = 7;
        bad.judge();
        let relays = vec![row("other", vec![report(5.0, 1.0), bad])];
        let mut comparison = Comparison { relays, ..Comparison::default() };
        comparison.conclude();
        assert!(!comparison.is_good());
        let row = &comparison.relays[0];
        assert_eq!((row.usable, row.calls_failed), (1, 3));
        assert_eq!(row.figures.unwrap().cpu_us_per_call_second, 5.0);
        assert_eq!(row.to_floor, None);
        let text = comparison.to_string();
        assert!(text.contains("NOT USABLE   other: 3 of 10 calls failed"), "{text}");
    }

    #[test]
    fn a_comparison_of_nothing_is_not_good() {
        assert!(!Comparison::default().is_good());
    }
}
