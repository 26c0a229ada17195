//! The page of a search for the most calls: latency, CPU and memory against their number.
//!
//! In:       documents of searches.
//! Out:      a page.
//! Bounds:   those of a search.
//! Not here: the search (`capacity`), what every page has (`frame`).
//!
//! A line joins the medians over the runs of a number; every run is a mark of its own besides,
//! hollow where it did not keep the bounds. What the load itself spoilt is in neither: it stands in
//! the table alone, and in the plot of the load's own lateness.

use super::super::document::Document;
use super::super::figures::{digits, duration, grouped};
use super::super::markup::Markup;
use super::super::plot::{Axis, Curve, Mark, Plot, Side, Stroke};
use super::PageError;
use super::frame::{self, Head, Standing, name_of, section};
use crate::capacity::search::Outcome;
use crate::capacity::{CapacityReport, Step};
use crate::report::Percentiles;
use crate::slo::{self, Drawn};

/// One figure of a run.
type Of = fn(&Step) -> Option<f64>;

/// A plot over the number of calls.
struct Over {
    title: &'static str,
    /// What is written at the axis upwards; `None`: a latency, in microseconds, on its own scale.
    label: Option<&'static str>,
    /// What of a run is drawn, how, and what it is called; the last has the marks.
    lines: &'static [(&'static str, Stroke, Of)],
    /// The bounds drawn in it.
    bounds: Option<Drawn>,
}

const PLOTS: [Over; 6] = [
    Over {
        title: "Uplink latency: caller to model",
        label: None,
        lines: &[
            ("p50", Stroke::Thin, |step| step.uplink.p50()),
            ("p99", Stroke::Dashed, |step| step.uplink.p99()),
            ("p99.9", Stroke::Solid, |step| step.uplink.p999()),
        ],
        bounds: Some(Drawn::Uplink),
    },
    Over {
        title: "Downlink latency: model to caller",
        label: None,
        lines: &[
            ("p50", Stroke::Thin, |step| step.downlink.p50()),
            ("p99", Stroke::Dashed, |step| step.downlink.p99()),
            ("p99.9", Stroke::Solid, |step| step.downlink.p999()),
        ],
        bounds: Some(Drawn::Downlink),
    },
    Over {
        title: "Relay: CPU for a second of a call",
        label: Some("\u{b5}s"),
        lines: &[("CPU", Stroke::Solid, |step| step.cpu_us_per_call_second)],
        bounds: None,
    },
    Over {
        title: "CPU: load test dashed, relay solid",
        label: Some("cores"),
        lines: &[
            ("load test", Stroke::Dashed, |step| step.own_cores),
            ("relay", Stroke::Solid, |step| step.relay_cores),
        ],
        bounds: Some(Drawn::Cores),
    },
    Over {
        title: "Relay: memory for a call, above idle",
        label: Some("KiB"),
        lines: &[("memory", Stroke::Solid, |step| step.rss_per_call_kib)],
        bounds: Some(Drawn::RssPerCall),
    },
    Over {
        title: "Lateness of the load itself",
        label: None,
        lines: &[("p99.9", Stroke::Solid, |step| Some(step.own_lateness_p999_us))],
        bounds: None,
    },
];

/// The place of the plot of the load's own lateness: what it spoilt is in it.
const OWN_LATENESS: usize = PLOTS.len() - 1;

/// The page of these searches.
pub(super) fn page(searches: &[Document<CapacityReport>]) -> Result<String, PageError> {
    let heads: Vec<Head<'_>> = searches.iter().map(head).collect();
    let names: Vec<&str> = searches.iter().map(name_of).collect();
    frame::page_of("Capacity", &heads, |page| {
        answers(page, searches);
        section(
            page,
            "Against the number of calls",
            "While all calls of a step talk. Lines join the medians over the runs of a number; a \
             run is a mark, hollow where it did not keep the bounds. Runs that the load itself \
             spoilt are only in the plot of its lateness.",
        );
        let strokes = [(Stroke::Solid, "p99.9"), (Stroke::Dashed, "p99"), (Stroke::Thin, "p50")];
        frame::plots(page, &names, &strokes, &plots(searches));
        section(page, "Every step", "");
        for (number, search) in searches.iter().enumerate() {
            if searches.len() > 1 {
                frame::whose(page, number, name_of(search));
            }
            steps(page, &search.report.steps);
        }
    })
}

fn head(search: &Document<CapacityReport>) -> Head<'_> {
    let report = &search.report;
    let standing = Standing::of(report.is_good(), report.answer.lacks_evidence());
    let words = [report.text.clone()];
    let (problems, remarks) = match standing {
        Standing::NotGood => (words.into(), Vec::new()),
        Standing::NoVerdict => (Vec::new(), words.into()),
        Standing::Good => (Vec::new(), Vec::new()),
    };
    Head {
        told: vec![
            format!("{} runs", report.steps.len()),
            format!("held for {} s", report.hold_seconds),
        ],
        problems,
        remarks,
        relay: &report.relay_settings,
        ..Head::of(search, standing)
    }
}

/// The number of each search, and what was measured at it.
fn answers(page: &mut Markup, searches: &[Document<CapacityReport>]) {
    for (number, search) in searches.iter().enumerate() {
        let report = &search.report;
        if searches.len() > 1 {
            frame::whose(page, number, name_of(search));
        }
        // Any other end stands among the problems and notes.
        if report.is_good() {
            page.leaf("p", &[], &report.text);
        }
        page.leaf("p", &[("class", "faint")], &format!("Bounds: {}", report.slo.join(", ")));
        let Some(kept) = report.answer.kept() else { continue };
        let at = |of: Of| {
            let runs = report.steps.iter().filter(|step| step.calls == kept && counts(step));
            median(runs.filter_map(of).collect())
        };
        let time = |us: Option<f64>| us.map(|us| duration(us * 1e3));
        let mut tiles = vec![(grouped(kept as u64), "calls at once kept the bounds".to_owned())];
        for (value, name) in [
            (time(at(|step| step.uplink.p999())), "uplink latency there, p99.9"),
            (time(at(|step| step.downlink.p999())), "downlink latency there, p99.9"),
            (
                at(|step| step.cpu_us_per_call_second).map(|us| format!("{} \u{b5}s", digits(us))),
                "relay CPU there for a second of a call",
            ),
            (at(|step| step.relay_cores).map(digits), "cores of the relay there"),
            (
                at(|step| step.rss_per_call_kib).map(|kib| format!("{} KiB", digits(kib))),
                "memory there for a call",
            ),
        ] {
            tiles.extend(value.map(|value| (value, name.to_owned())));
        }
        frame::tiles(page, &tiles);
    }
}

/// True for a run that is evidence.
fn counts(step: &Step) -> bool {
    step.outcome != Outcome::Spoilt
}

fn plots(searches: &[Document<CapacityReport>]) -> Vec<Plot> {
    let calls = searches.iter().flat_map(|search| &search.report.steps).map(|step| step.calls);
    let x = Axis::amount("calls at once", calls.max().unwrap_or(0) as f64);
    PLOTS.iter().enumerate().map(|(place, over)| plot(searches, place, over, &x)).collect()
}

fn plot(searches: &[Document<CapacityReport>], place: usize, over: &Over, x: &Axis) -> Plot {
    let unit = if over.label.is_none() { 1e3 } else { 1.0 };
    let is_drawn = |step: &&Step| place == OWN_LATENESS || counts(step);
    let mut thresholds: Vec<(f64, String)> = Vec::new();
    let mut curves = Vec::new();
    let mut marks = Vec::new();
    let mut moments = Vec::new();
    for (number, search) in searches.iter().enumerate() {
        let report = &search.report;
        let steps: Vec<&Step> = report.steps.iter().filter(is_drawn).collect();
        for &(name, stroke, of) in over.lines {
            let points = medians(&steps, of).into_iter().map(|(n, value)| (n, value * unit));
            let name = format!("{}, {name}", name_of(search));
            curves.push(Curve { name, run: number, stroke, points: points.collect() });
        }
        if let Some(&(name, _, of)) = over.lines.last() {
            let runs = steps.iter().filter_map(|step| Some((*step, of(step)?)));
            marks.extend(runs.map(|(step, value)| Mark {
                run: number,
                at: (step.calls as f64, value * unit),
                name: said(search, step, name, value, over.label),
                hollow: step.outcome != Outcome::Kept,
            }));
        }
        let bounds = report.slo.iter().filter_map(|slo| {
            let (drawn, bound) = slo::read(slo).ok()?.first()?.drawn()?;
            (Some(drawn) == over.bounds).then(|| (bound * unit, slo.clone()))
        });
        thresholds.extend(bounds);
        if place == OWN_LATENESS {
            let bound = report.own_lateness_max_us * unit;
            thresholds.push((bound, format!("bound on the p99.9: {}", duration(bound))));
        }
        let kept = report.answer.kept().map(|kept| (kept as f64, format!("kept: {kept}")));
        moments.extend(kept);
    }
    thresholds.dedup();
    let values = curves.iter().flat_map(|curve| &curve.points).map(|&(_, value)| value);
    let values = values.chain(marks.iter().map(|mark| mark.at.1));
    let values: Vec<f64> = values.chain(thresholds.iter().map(|&(value, _)| value)).collect();
    let y = match over.label {
        None => Axis::latency("time", values.into_iter()),
        Some(label) => Axis::amount(label, values.into_iter().fold(0.0, f64::max)),
    };
    // Everything rises to the right.
    let names_at = Side::Left;
    Plot { curves, marks, thresholds, names_at, moments, ..Plot::new(over.title, x.clone(), y) }
}

/// The median over the runs of each number, in order.
fn medians(steps: &[&Step], of: Of) -> Vec<(f64, f64)> {
    let mut numbers: Vec<usize> = steps.iter().map(|step| step.calls).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of_number = |calls: usize| {
        let runs = steps.iter().filter(|step| step.calls == calls);
        Some((calls as f64, median(runs.filter_map(|step| of(step)).collect())?))
    };
    numbers.into_iter().filter_map(of_number).collect()
}

/// The middle value, of an even number the upper one: a value that was measured. `None` of none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn said(
    search: &Document<CapacityReport>,
    step: &Step,
    name: &str,
    value: f64,
    label: Option<&str>,
) -> String {
    let value = match label {
        None => duration(value * 1e3),
        Some(label) => format!("{} {label}", digits(value)),
    };
    let (search, verdict) = (name_of(search), verdict(step));
    format!("{search}, {} calls, run {}: {name} {value}, {verdict}", step.calls, step.attempt)
}

fn verdict(step: &Step) -> String {
    match step.outcome {
        Outcome::Kept => "\u{2713} kept".to_owned(),
        Outcome::Broken => format!("\u{2717} broken by {}", step.broken_by()),
        Outcome::Spoilt => "? spoilt: the load itself was late".to_owned(),
    }
}

fn steps(page: &mut Markup, steps: &[Step]) {
    let headings = [
        "calls",
        "run",
        "up p50",
        "p99",
        "p99.9",
        "down p50",
        "p99",
        "p99.9",
        "CPU/call-s, \u{b5}s",
        "relay, cores",
        "load test, cores",
        "own lateness",
        "KiB/call",
        "lost",
        "failed",
        "verdict",
    ];
    let dash = || "\u{2013}".to_owned();
    let rows = steps.iter().map(|step| {
        let time = |us: Option<f64>| us.map_or_else(dash, |us| duration(us * 1e3));
        let amount = |value: Option<f64>| value.map_or_else(dash, digits);
        let times = |of: &Percentiles| [of.p50(), of.p99(), of.p999()].map(time);
        let mut row = vec![grouped(step.calls as u64), step.attempt.to_string()];
        row.extend(times(&step.uplink));
        row.extend(times(&step.downlink));
        row.extend([
            amount(step.cpu_us_per_call_second),
            amount(step.relay_cores),
            amount(step.own_cores),
            time(Some(step.own_lateness_p999_us)),
            amount(step.rss_per_call_kib),
            grouped(step.lost),
            step.failed.to_string(),
            verdict(step),
        ]);
        row
    });
    frame::table(page, &headings, &rows.collect::<Vec<_>>());
}
