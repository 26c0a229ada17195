//! The figures by which runs are compared: each with its unit, in one order.
//!
//! In:       a [`Report`].
//! Out:      [`Figure`]s; the same rows for every report.
//! Bounds:   none beyond the report's.
//! Not here: tables and pages (`page`), what the figures mean (`report`).

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::report::{Direction, Percentiles, Report};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A time, in microseconds.
    Micros,
    /// Microseconds of CPU for a second of a call.
    CpuMicros,
    /// Memory, in KiB.
    Kib,
    /// Things.
    Count,
}

/// One figure of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// In the unit's measure; `None`: not measured in this run.
    pub value: Option<f64>,
    /// Of what.
    pub unit: Unit,
}

impl Figure {
    /// How many times the value of `first` this one is; `None` where that says nothing, as it does
    /// of counts.
    pub fn ratio_to(&self, first: &Figure) -> Option<f64> {
        let (value, first) = (self.value?, first.value?);
        (first > 0.0 && self.unit != Unit::Count).then_some(value / first)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.value else { return f.pad("\u{2013}") };
        f.pad(&match self.unit {
            Unit::Micros => duration(value * 1e3),
            Unit::CpuMicros => format!("{} \u{b5}s/s", digits(value)),
            Unit::Kib => format!("{} MiB", digits(value / 1024.0)),
            Unit::Count => grouped(value as u64),
        })
    }
}

/// A time in nanoseconds with three digits and a unit.
pub fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{} ns", digits(n)),
        n if n < 1e6 => format!("{} \u{b5}s", digits(n / 1e3)),
        n if n < 1e9 => format!("{} ms", digits(n / 1e6)),
        n => format!("{} s", digits(n / 1e9)),
    }
}

/// Three digits, or all of those before the point.
pub fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => grouped_signed(value),
    }
}

fn grouped_signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", grouped(value.abs().round() as u64))
}

/// A count with a thin space between thousands.
pub fn grouped(count: u64) -> String {
    let plain = count.to_string();
    let mut text = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) && plain.len() > 4 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// The figures of a report.
pub fn of(report: &Report) -> Vec<Figure> {
    let mut rows = Rows(Vec::new());
    rows.count("calls made", report.calls as u64);
    rows.count("calls failed", (report.calls - report.calls_good.min(report.calls)) as u64);
    rows.latencies("uplink from plan", &report.uplink.corrected);
    rows.typical("uplink from send", &report.uplink.uncorrected);
    rows.latencies("downlink from plan", &report.downlink.corrected);
    rows.typical("downlink from send", &report.downlink.uncorrected);
    rows.typical("set-up of a call", &report.setup);
    rows.typical("interrupted to clear", &report.barge_in);
    rows.samples("uplink", &report.uplink);
    rows.samples("downlink", &report.downlink);
    let relay = report.relay;
    let of_relay = relay.map(|it| it.cpu_us_per_call_second);
    rows.push("relay, CPU for a second of a call", of_relay, Unit::CpuMicros);
    rows.push("relay, memory at most", relay.map(|it| it.rss_peak_kib as f64), Unit::Kib);
    rows.push("relay, memory before", relay.map(|it| it.rss_idle_kib as f64), Unit::Kib);
    let own = Some(report.own_cpu_us_per_call_second).filter(|&us| us > 0.0);
    rows.push("load test, CPU for a second of a call", own, Unit::CpuMicros);
    rows.late("load test late, callers", &report.uplink.own_lateness);
    rows.late("load test late, model", &report.downlink.own_lateness);
    rows.0
}

struct Rows(Vec<Figure>);

impl Rows {
    fn push(&mut self, name: &str, value: Option<f64>, unit: Unit) {
        self.0.push(Figure { name: name.to_owned(), value, unit });
    }

    fn count(&mut self, name: &str, count: u64) {
        self.push(name, Some(count as f64), Unit::Count);
    }

    /// A percentile of fewer pieces than it takes is not measured.
    fn percentile(&mut self, name: &str, of: &Percentiles, which: (&str, f64, u64)) {
        let (what, us, pieces) = which;
        let value = (of.count >= pieces).then_some(us);
        self.push(&format!("{name}, {what}"), value, Unit::Micros);
    }

    fn latencies(&mut self, name: &str, of: &Percentiles) {
        for which in steps(of) {
            self.percentile(name, of, which);
        }
    }

    fn typical(&mut self, name: &str, of: &Percentiles) {
        self.percentile(name, of, ("p50", of.p50_us, 1));
        self.percentile(name, of, ("p99", of.p99_us, 100));
    }

    fn late(&mut self, name: &str, of: &Percentiles) {
        self.percentile(name, of, ("p99.9", of.p999_us, 1000));
    }

    fn samples(&mut self, name: &str, of: &Direction) {
        self.count(&format!("{name}, samples expected"), of.expected);
        self.count(&format!("{name}, samples lost"), of.lost);
        self.count(&format!("{name}, doubled or foreign"), of.doubled + of.foreign);
    }
}

/// The percentiles of a report: name, value in microseconds, pieces that it takes.
pub fn steps(of: &Percentiles) -> [(&'static str, f64, u64); 7] {
    [
        ("p50", of.p50_us, 1),
        ("p90", of.p90_us, 10),
        ("p99", of.p99_us, 100),
        ("p99.9", of.p999_us, 1_000),
        ("p99.99", of.p9999_us, 10_000),
        ("p99.999", of.p99999_us, 100_000),
        ("max", of.max_us, 1),
    ]
}

/// What of a report is no single value: recordings, and what is shown elsewhere in full.
const NOT_SINGLE: [&str; 4] = ["recording", "reports", "relay_settings", "after_kill"];

/// Every single value of a report of any kind by its path.
pub fn all(report: &impl Serialize) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    flatten(String::new(), &serde_json::to_value(report).unwrap_or_default(), &mut rows);
    rows
}

fn flatten(path: String, value: &Value, rows: &mut Vec<(String, String)>) {
    let inner = |name: &str| match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    };
    match value {
        Value::Object(members) => {
            let single = members.iter().filter(|(name, _)| !NOT_SINGLE.contains(&name.as_str()));
            single.for_each(|(name, value)| flatten(inner(name), value, rows));
        }
        Value::Array(values) => {
            let numbered = values.iter().enumerate();
            numbered.for_each(|(place, value)| flatten(inner(&place.to_string()), value, rows));
        }
        Value::Null => {}
        Value::String(text) => rows.push((path, text.clone())),
        value => rows.push((path, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0.0, "0 ns"),
            (85_300.0, "85.3 \u{b5}s"),
            (999_960.0, "1\u{2009}000 \u{b5}s"),
            (1_234_567.0, "1.23 ms"),
            (61.5e9, "61.5 s"),
        ] {
            let plain = |text: &str| text.replace('\u{2009}', "");
            assert_eq!(plain(&duration(nanos)), plain(text));
        }
        assert_eq!(grouped(1234), "1234");
        assert_eq!(grouped(32_000_000), "32\u{2009}000\u{2009}000");
    }

    #[test]
    fn a_percentile_of_too_few_pieces_is_not_measured() {
        let times: Vec<u64> = (1..=500).map(|n| n * 1000).collect();
        let mut report = Report::default();
        report.uplink.corrected = Percentiles::of(&times);
        let figures = of(&report);
        let value = |name: &str| figures.iter().find(|it| it.name == name).unwrap().value;
        assert!(value("uplink from plan, p99").is_some());
        assert_eq!(value("uplink from plan, p99.9"), None);
        assert!(value("uplink from plan, max").is_some());
        assert_eq!(value("downlink from plan, max"), None);
        assert_eq!(value("relay, memory at most"), None);
    }

    #[test]
    fn runs_are_compared_row_by_row() {
        let mut a = Report { calls: 3, ..Report::default() };
        let mut b = Report { calls: 4, ..Report::default() };
        a.own_cpu_us_per_call_second = 200.0;
        b.own_cpu_us_per_call_second = 300.0;
        let (a, b) = (of(&a), of(&b));
        assert!(a.iter().zip(&b).all(|(a, b)| a.name == b.name && a.unit == b.unit));
        let ratios: Vec<_> = a.iter().zip(&b).filter_map(|(a, b)| b.ratio_to(a)).collect();
        assert_eq!(ratios, [1.5]);
    }

    #[test]
    fn every_value_of_a_report_has_a_path() {
        let mut report = Report { calls: 7, ..Report::default() };
        report.problems.push("lost".into());
        let rows = all(&report);
        assert!(rows.contains(&("calls".into(), "7".into())));
        assert!(rows.contains(&("problems.0".into(), "lost".into())));
        assert!(rows.iter().any(|(path, _)| path == "uplink.corrected.p999_us"));
        assert!(rows.iter().all(|(path, _)| !path.starts_with("recording")));
    }
}
