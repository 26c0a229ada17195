//! Service level objectives: bounds on the figures of a report, read from text, and the verdicts.
//!
//! In:       `uplink.p999<=20ms`, `lost=0`, `rss_per_call<=64KiB`; a [`Report`].
//! Out:      for each bound the value, and a [`Verdict`].
//! Bounds:   as many as are typed.
//! Not here: measuring (`judge`), what an exit code is (`main`).
//!
//! The grammar: `NAME OP VALUE`, several with commas between. `OP` is `<=`, `<` or `=`.
//!
//! | name | of what | unit |
//! |---|---|---|
//! | `uplink.Q`, `downlink.Q` | latency from the planned time while all calls talk | time |
//! | `uplink_all.Q`, `downlink_all.Q` | the same over the whole run | time |
//! | `uplink_others.Q`, `downlink_others.Q` | the same as the first, beside calls apart | time |
//! | `setup.Q` | from the start of a call to its open stream | time |
//! | `barge_in.Q` | from `interrupted` to `clear` | time |
//! | `gap.Q`, `recovery.Q` | audible gap of a swap; from a fault until ready again | time |
//! | `cpu` | CPU of the relay for a second of a call, over the whole run | time |
//! | `cores` | cores the relay used while all calls talked | none |
//! | `rss_per_call` | the relay's peak of resident memory above idle, by calls at once | size |
//! | `failed` | calls that did not end as planned, or were not heard as they were said | none |
//! | `lost`, `doubled`, `foreign` | samples, both directions together | none |
//! | `underruns` | times a phone's queue ran dry within speech, of the probes | none |
//! | `violations` | messages that a carrier would have objected to | none |
//!
//! `Q` is `p50`, `p90`, `p99`, `p999` or `max`. Times are in `us`, `ms` or `s`, sizes in `KiB` or
//! `MiB`. All calls talk from [`crate::hold::SETTLE`] after the last has begun until the first
//! ends; in a run where that is shorter than [`crate::hold::HOLD_MIN`], the whole run counts. What
//! was not measured at all is not kept: an empty run proves nothing, nor does a percentile of fewer
//! pieces than it takes (1,000 for p99.9). Where the load itself was late, times and `underruns` are not judged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::{Percentiles, Report};

/// Every name, for whoever has to choose one.
const NAMES: &str = "uplink, downlink, uplink_all, downlink_all, uplink_others, \
                     downlink_others, setup, barge_in, gap, recovery \
                     (each with .p50 .p90 .p99 .p999 or .max), cpu, cores, rss_per_call, failed, \
                     lost, doubled, foreign, underruns, violations";

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    figure: Figure,
    op: Op,
    /// In microseconds, KiB, or pieces.
    bound: f64,
}

/// What a bound is drawn over, where a plot has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// Latency, caller to model.
    Uplink,
    /// Latency, model to caller.
    Downlink,
    /// Cores of the relay.
    Cores,
    /// The relay's memory for a call.
    RssPerCall,
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Time(Span, Quantile),
    Cpu,
    Cores,
    RssPerCall,
    Failed,
    Lost,
    Doubled,
    Foreign,
    Underruns,
    Violations,
}

/// A time that has percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Uplink,
    Downlink,
    UplinkAll,
    DownlinkAll,
    UplinkOthers,
    DownlinkOthers,
    Setup,
    BargeIn,
    Gap,
    Recovery,
}

const SPANS: [(&str, Span); 10] = [
    ("uplink", Span::Uplink),
    ("downlink", Span::Downlink),
    ("uplink_all", Span::UplinkAll),
    ("downlink_all", Span::DownlinkAll),
    ("uplink_others", Span::UplinkOthers),
    ("downlink_others", Span::DownlinkOthers),
    ("setup", Span::Setup),
    ("barge_in", Span::BargeIn),
    ("gap", Span::Gap),
    ("recovery", Span::Recovery),
];

const FIGURES: [(&str, Figure); 9] = [
    ("cpu", Figure::Cpu),
    ("cores", Figure::Cores),
    ("rss_per_call", Figure::RssPerCall),
    ("failed", Figure::Failed),
    ("lost", Figure::Lost),
    ("doubled", Figure::Doubled),
    ("foreign", Figure::Foreign),
    ("underruns", Figure::Underruns),
    ("violations", Figure::Violations),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

const QUANTILES: [(&str, Quantile); 5] = [
    ("p50", Quantile::P50),
    ("p90", Quantile::P90),
    ("p99", Quantile::P99),
    ("p999", Quantile::P999),
    ("max", Quantile::Max),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    AtMost,
    Below,
    Equal,
}

const OPS: [(&str, Op); 3] = [("<=", Op::AtMost), ("<", Op::Below), ("=", Op::Equal)];

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Time,
    Size,
    Pieces,
}

impl Unit {
    /// Suffixes, and what each is of the unit that bounds are kept in.
    fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            // Longer ones first: `s` ends all of them.
            Unit::Time => &[("us", 1.0), ("ms", 1e3), ("s", 1e6)],
            Unit::Size => &[("KiB", 1.0), ("MiB", 1024.0)],
            Unit::Pieces => &[("", 1.0)],
        }
    }
}

/// What a text about bounds cannot mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloError {
    /// Not `NAME OP VALUE`.
    Shape,
    /// No such figure.
    Name,
    /// No such percentile, or one of a figure that has none.
    Quantile,
    /// Not a number from 0 on.
    Number,
    /// A time needs `us`, `ms` or `s`, a size `KiB` or `MiB`, and a count nothing.
    Unit,
}

impl fmt::Display for SloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SloError::Shape => {
                write!(f, "a bound is NAME<=VALUE, NAME<VALUE or NAME=VALUE, as uplink.p999<=20ms")
            }
            SloError::Name => write!(f, "no such figure; there are {NAMES}"),
            SloError::Quantile => write!(
                f,
                "figures that are times need one of .p50 .p90 .p99 .p999 .max, the others, and \
                 cpu, none"
            ),
            SloError::Number => write!(f, "a value is a number from 0 on"),
            SloError::Unit => {
                write!(f, "a time needs us, ms or s, a size KiB or MiB, and a count no unit")
            }
        }
    }
}

impl std::error::Error for SloError {}

impl Figure {
    fn named(text: &str) -> Result<Figure, SloError> {
        let (name, quantile) = match text.split_once('.') {
            Some((name, quantile)) => (name, Some(quantile)),
            None => (text, None),
        };
        let span = SPANS.iter().find(|(known, _)| *known == name);
        let figure = FIGURES.iter().find(|(known, _)| *known == name);
        match (span, figure, quantile) {
            (Some(&(_, span)), _, Some(quantile)) => {
                let known = QUANTILES.iter().find(|(known, _)| *known == quantile);
                known.map(|&(_, it)| Figure::Time(span, it)).ok_or(SloError::Quantile)
            }
            (None, Some(&(_, figure)), None) => Ok(figure),
            (None, None, _) => Err(SloError::Name),
            _ => Err(SloError::Quantile),
        }
    }

    fn unit(self) -> Unit {
        match self {
            Figure::Time(..) | Figure::Cpu => Unit::Time,
            Figure::RssPerCall => Unit::Size,
            _ => Unit::Pieces,
        }
    }

    /// True for what a load generator that is late itself makes look worse, or better.
    fn is_timed(self) -> bool {
        matches!(self, Figure::Time(..) | Figure::Underruns)
    }

    /// Its value in a report; `None`: not measured.
    fn value(self, report: &Report) -> Option<f64> {
        let both = |count: fn(&crate::report::Direction) -> u64| {
            Some((count(&report.uplink) + count(&report.downlink)) as f64)
        };
        match self {
            Figure::Time(span, quantile) => {
                let swaps = report.swaps.as_ref();
                let times = match span {
                    Span::Uplink => report.latencies().0,
                    Span::Downlink => report.latencies().1,
                    Span::UplinkAll => &report.uplink.corrected,
                    Span::DownlinkAll => &report.downlink.corrected,
                    Span::UplinkOthers => &report.apart.as_ref()?.others.uplink,
                    Span::DownlinkOthers => &report.apart.as_ref()?.others.downlink,
                    Span::Setup => &report.setup,
                    Span::BargeIn => &report.barge_in,
                    Span::Gap => &swaps?.gap,
                    Span::Recovery => &swaps?.recovery,
                };
                quantile.of(times)
            }
            Figure::Cpu => report.relay.map(|relay| relay.cpu_us_per_call_second),
            Figure::Cores => report.hold.map(|hold| hold.relay_cores),
            Figure::RssPerCall => {
                let relay = report.relay?;
                let grown = relay.rss_peak_kib.saturating_sub(relay.rss_idle_kib);
                (report.most_at_once > 0).then(|| grown as f64 / report.most_at_once as f64)
            }
            Figure::Failed => Some((report.calls - report.calls_good) as f64),
            Figure::Lost => both(|it| it.lost - it.lost_at_faults),
            Figure::Doubled => both(|it| it.doubled),
            Figure::Foreign => both(|it| it.foreign),
            Figure::Underruns => Some(report.underruns as f64),
            Figure::Violations => Some(report.violations.values().sum::<usize>() as f64),
        }
    }
}

impl Quantile {
    fn of(self, times: &Percentiles) -> Option<f64> {
        match self {
            Quantile::P50 => times.p50(),
            Quantile::P90 => times.p90(),
            Quantile::P99 => times.p99(),
            Quantile::P999 => times.p999(),
            Quantile::Max => times.max(),
        }
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Slo, SloError> {
        let found = OPS.iter().find_map(|&(sign, op)| Some((text.split_once(sign)?, op)));
        let ((name, value), op) = found.ok_or(SloError::Shape)?;
        let figure = Figure::named(name.trim())?;
        let value = value.trim();
        let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: f64 = digits.trim().parse().map_err(|_| SloError::Number)?;
        if !(number >= 0.0 && number.is_finite()) {
            return Err(SloError::Number);
        }
        let suffix = &value[digits.len()..];
        let of_unit = figure.unit().suffixes().iter().find(|(known, _)| *known == suffix);
        let &(_, size) = of_unit.ok_or(SloError::Unit)?;
        Ok(Slo { figure, op, bound: number * size })
    }
}

/// Reads several bounds with commas between.
pub fn read(text: &str) -> Result<Vec<Slo>, SloError> {
    text.split(',').map(str::parse).collect()
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = OPS.iter().find(|(_, op)| *op == self.op).map_or("", |(sign, _)| sign);
        match self.figure {
            Figure::Time(span, quantile) => {
                let span = SPANS.iter().find(|(_, it)| *it == span).map_or("", |(name, _)| name);
                let of = QUANTILES.iter().find(|(_, it)| *it == quantile);
                write!(f, "{span}.{}", of.map_or("", |(name, _)| name))?;
            }
            figure => {
                let name = FIGURES.iter().find(|(_, it)| *it == figure);
                f.write_str(name.map_or("", |(name, _)| name))?;
            }
        }
        write!(f, "{op}{}", Amount(self.figure.unit(), self.bound))
    }
}

/// A value with its unit.
struct Amount(Unit, f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Amount(unit, value) = self;
        let (value, suffix) = match unit {
            Unit::Time if value >= 1e6 => (value / 1e6, "s"),
            Unit::Time if value >= 1e3 => (value / 1e3, "ms"),
            Unit::Time => (value, "us"),
            Unit::Size if value >= 1024.0 => (value / 1024.0, "MiB"),
            Unit::Size => (value, "KiB"),
            Unit::Pieces => (value, ""),
        };
        // Three decimals are finer than anything that is measured here.
        write!(f, "{}{suffix}", (value * 1e3).round() / 1e3)
    }
}

/// What came of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The value is within it.
    Kept,
    /// It is not.
    Broken,
    /// The run has no such value.
    NotMeasured,
    /// The load itself was too late for the value to be evidence.
    NotJudged,
}

/// A bound, the value, and the verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The bound, as text.
    pub slo: String,
    /// The value, in microseconds, KiB or pieces.
    pub value: Option<f64>,
    /// The value with its unit.
    pub measured: String,
    /// What came of it.
    pub verdict: Verdict,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "BROKEN",
            Verdict::NotMeasured => "NOT MEASURED",
            Verdict::NotJudged => "not judged: the load itself was late",
        };
        write!(f, "{:<26} {:>12}   {verdict}", self.slo, self.measured)
    }
}

impl Slo {
    /// Where a plot draws it: over what, and at which value, in microseconds, cores or KiB.
    pub fn drawn(&self) -> Option<(Drawn, f64)> {
        let over = match self.figure {
            Figure::Time(Span::Uplink, _) => Drawn::Uplink,
            Figure::Time(Span::Downlink, _) => Drawn::Downlink,
            Figure::Cores => Drawn::Cores,
            Figure::RssPerCall => Drawn::RssPerCall,
            _ => return None,
        };
        Some((over, self.bound))
    }

    /// Judges one bound. `spoilt`: the load itself was late.
    pub fn judge(&self, report: &Report, spoilt: bool) -> Judged {
        let value = self.figure.value(report);
        let within = |value: f64| match self.op {
            Op::AtMost => value <= self.bound,
            Op::Below => value < self.bound,
            Op::Equal => value == self.bound,
        };
        let verdict = match value {
            None => Verdict::NotMeasured,
            Some(_) if spoilt && self.figure.is_timed() => Verdict::NotJudged,
            Some(value) if within(value) => Verdict::Kept,
            Some(_) => Verdict::Broken,
        };
        let unit = self.figure.unit();
        Judged {
            slo: self.to_string(),
            value,
            measured: value.map_or_else(|| "-".into(), |value| Amount(unit, value).to_string()),
            verdict,
        }
    }
}

/// True if p99.9 of the load's own lateness, of callers or of the stand-in, is above `max_us`
/// microseconds: then its times are no evidence for or against the relay.
pub fn is_spoilt(report: &Report, max_us: f64) -> bool {
    own_lateness_us(report) > max_us
}

/// Bounds on times of which the run has no value: each is among its problems.
pub fn times_not_measured(report: &Report) -> usize {
    let unmeasured = report.slo.iter().filter(|it| it.verdict == Verdict::NotMeasured);
    unmeasured.filter(|it| it.slo.parse().is_ok_and(|slo: Slo| slo.figure.is_timed())).count()
}

/// p99.9 of the load's own lateness in microseconds, the worse of callers and stand-in.
pub fn own_lateness_us(report: &Report) -> f64 {
    report.uplink.own_lateness.p999_us.max(report.downlink.own_lateness.p999_us)
}

/// Judges a report by all bounds: notes in it the verdicts and that the load was late, if it was,
/// and what is broken among its problems.
pub fn apply(slos: &[Slo], report: &mut Report, own_lateness_max_us: f64) {
    let spoilt = is_spoilt(report, own_lateness_max_us);
    report.note_lateness(own_lateness_max_us);
    report.slo = slos.iter().map(|slo| slo.judge(report, spoilt)).collect();
    for judged in &report.slo {
        match judged.verdict {
            Verdict::Broken => {
                report.problems.push(format!("SLO {}: {}", judged.slo, judged.measured));
            }
            Verdict::NotMeasured => {
                report.problems.push(format!("SLO {}: not measured", judged.slo));
            }
            Verdict::Kept | Verdict::NotJudged => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Hold, Usage};

    fn report() -> Report {
        let mut report = Report { calls: 10, calls_good: 10, most_at_once: 8, ..Report::default() };
        report.uplink.corrected = Percentiles {
            count: 5000,
            p50_us: 80.0,
            p90_us: 100.0,
            p99_us: 400.0,
            p999_us: 20_000.0,
            max_us: 20_001.0,
            ..Percentiles::default()
        };
        report.setup = Percentiles { count: 100, p99_us: 2_000.0, ..Percentiles::default() };
        let usage = Usage { cpu_us_per_call_second: 600.0, rss_idle_kib: 1000, rss_peak_kib: 1512 };
        report.relay = Some(usage);
        report.hold = Some(Hold { relay_cores: 0.25, ..Hold::default() });
        report
    }

    fn verdict(text: &str, report: &Report) -> (String, Verdict) {
        let judged = text.parse::<Slo>().unwrap().judge(report, false);
        (judged.measured, judged.verdict)
    }

    #[test]
    fn a_bound_is_kept_up_to_its_value_and_broken_beyond() {
        let report = report();
        for (text, measured, kept) in [
            ("uplink.p999<=20ms", "20ms", true),
            ("uplink.p999<20ms", "20ms", false),
            ("uplink.p999 <= 20000 us", "20ms", true),
            ("uplink.max<=20ms", "20.001ms", false),
            ("uplink.p50<=0.0001s", "80us", true),
            ("setup.p99=2ms", "2ms", true),
            ("cpu<=500us", "600us", false),
            ("cores<=0.25", "0.25", true),
            ("rss_per_call<=64KiB", "64KiB", true),
            ("rss_per_call<=0.05MiB", "64KiB", false),
            ("failed=0", "0", true),
            ("lost=0", "0", true),
            ("violations=0", "0", true),
        ] {
            let verdict = verdict(text, &report);
            let expected = if kept { Verdict::Kept } else { Verdict::Broken };
            assert_eq!(verdict, (measured.to_string(), expected), "{text}");
        }
    }

    #[test]
    fn samples_of_both_directions_count_together_and_those_of_faults_do_not() {
        let mut report = report();
        report.uplink.lost = 320;
        report.uplink.lost_at_faults = 320;
        assert_eq!(verdict("lost=0", &report).1, Verdict::Kept);
        report.downlink.lost = 1;
        assert_eq!(verdict("lost=0", &report), ("1".into(), Verdict::Broken));
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        for text in ["downlink.p99<=5ms", "barge_in.p99<=1s", "gap.max<=1s"] {
            assert_eq!(verdict(text, &report()).1, Verdict::NotMeasured, "{text}");
        }
        let mut few = report();
        few.uplink.corrected.count = 999;
        assert_eq!(verdict("uplink.p999<=20ms", &few), ("-".into(), Verdict::NotMeasured));
        assert_eq!(verdict("uplink.p99<=20ms", &few).1, Verdict::Kept);
        let empty = Report::default();
        for text in ["cpu<=1s", "cores<=64", "rss_per_call<=1MiB"] {
            assert_eq!(verdict(text, &empty).1, Verdict::NotMeasured, "{text}");
        }
        let mut report = report();
        apply(&read("gap.max<=1s,failed=0").unwrap(), &mut report, 1e3);
        assert_eq!((report.slo.len(), report.problems.len()), (2, 1));
    }

    #[test]
    fn times_of_a_late_load_are_no_evidence_and_counts_are() {
        let mut report = report();
        report.downlink.own_lateness.p999_us = 1_000.5;
        report.calls_good = 9;
        apply(&read("uplink.p999<=1us,failed=0").unwrap(), &mut report, 1e3);
        let verdicts: Vec<_> = report.slo.iter().map(|judged| judged.verdict).collect();
        assert_eq!(verdicts, [Verdict::NotJudged, Verdict::Broken]);
        assert_eq!(report.problems, ["SLO failed=0: 1"]);
    }

    #[test]
    fn a_bound_reads_back_as_it_is_written() {
        let text = "uplink.p999<=20ms,downlink.max<1.5s,cpu<=385us,rss_per_call<=64KiB,lost=0";
        let written: Vec<_> = read(text).unwrap().iter().map(Slo::to_string).collect();
        assert_eq!(written.join(","), text);
    }

    #[test]
    fn what_a_bound_cannot_mean_is_an_error() {
        for (text, error) in [
            ("", SloError::Shape),
            ("uplink.p999", SloError::Shape),
            ("uplink.p999>=20ms", SloError::Quantile),
            ("uplnk.p99<=20ms", SloError::Name),
            ("<=20ms", SloError::Name),
            ("uplink<=20ms", SloError::Quantile),
            ("uplink.p95<=20ms", SloError::Quantile),
            ("lost.p99=0", SloError::Quantile),
            ("uplink.p99<=20", SloError::Unit),
            ("uplink.p99<=20KiB", SloError::Unit),
            ("lost=0ms", SloError::Unit),
            ("rss_per_call<=64", SloError::Unit),
            ("cpu<=ms", SloError::Number),
            ("cpu<=-1ms", SloError::Number),
            ("cpu<=infus", SloError::Number),
            ("cpu<=NaN", SloError::Number),
        ] {
            assert_eq!(text.parse::<Slo>(), Err(error), "{text}");
        }
    }
}
