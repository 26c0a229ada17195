//! The page of a comparison: relay beside relay, each figure with a bar and its multiple of the
//! floor's.
//!
//! In:       documents of comparisons.
//! Out:      a page, a section for each.
//! Bounds:   colours are those of [`RUNS_MAX`] relays; further ones begin again.
//! Not here: the medians (`compare`), what every page has (`frame`).

use super::super::document::Document;
use super::super::figures::{digits, duration, grouped};
use super::super::markup::Markup;
use super::super::plot::{Stroke, bar, ratio};
use super::frame::{self, Head, Standing, name_of, section};
use super::{PageError, RUNS_MAX, plots};
use crate::compare::{Comparison, Figures, Row};
use crate::judge::Judgement;
use crate::listen::FidelityReport;
use crate::report::Report;
use crate::slo;

/// One figure of a relay.
type Of = fn(&Figures) -> Option<f64>;

/// How a figure is written.
#[derive(Clone, Copy)]
enum Unit {
    /// Microseconds of CPU in a second of a call.
    Cpu,
    /// KiB.
    Memory,
    /// Microseconds.
    Time,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Cpu => format!("{} \u{b5}s/s", digits(value)),
            Unit::Memory => format!("{} KiB", digits(value)),
            Unit::Time => duration(value * 1e3),
        }
    }
}

const FIGURES: [(&str, Unit, Of); 9] = [
    ("CPU for a second of a call", Unit::Cpu, |it| it.cpu_us_per_call_second),
    ("memory for a call", Unit::Memory, |it| it.memory_kib_per_call),
    ("uplink latency, p50", Unit::Time, |it| it.uplink.p50),
    ("uplink latency, p99", Unit::Time, |it| it.uplink.p99),
    ("uplink latency, p99.9", Unit::Time, |it| it.uplink.p999),
    ("downlink latency, p50", Unit::Time, |it| it.downlink.p50),
    ("downlink latency, p99", Unit::Time, |it| it.downlink.p99),
    ("downlink latency, p99.9", Unit::Time, |it| it.downlink.p999),
    ("CPU of the load test for it", Unit::Cpu, |it| it.load_cpu_us_per_call_second),
];

/// What a relay's audio was found to be.
type Content = (&'static str, fn(&FidelityReport) -> Option<f64>, &'static str);

const CONTENT: [Content; 7] = [
    ("SINAD up", |it| it.uplink.sinad_db, "dB"),
    ("SINAD down", |it| it.downlink.sinad_db, "dB"),
    ("response up, largest over smallest gain", |it| it.uplink.response_db, "dB"),
    ("response down", |it| it.downlink.response_db, "dB"),
    ("audio held up", |it| it.uplink.held_ms, "ms"),
    ("audio held down", |it| it.downlink.held_ms, "ms"),
    ("clicks", |it| Some((it.uplink.clicks + it.downlink.clicks) as f64), ""),
];

/// The page of these comparisons.
pub(super) fn page(comparisons: &[Document<Comparison>]) -> Result<String, PageError> {
    let heads: Vec<Head<'_>> = comparisons.iter().map(head).collect();
    frame::page_of("Relays compared", &heads, |page| {
        for (number, comparison) in comparisons.iter().enumerate() {
            if comparisons.len() > 1 {
                frame::whose(page, number, name_of(comparison));
            }
            one(page, &comparison.report);
        }
    })
}

fn head(comparison: &Document<Comparison>) -> Head<'_> {
    let report = &comparison.report;
    let standing = Standing::of(report.is_good(), report.lacks_evidence());
    let of_rows = |of: fn(&Row) -> Vec<String>| {
        let named = |row: &Row| {
            let name = row.name.clone();
            of(row).into_iter().map(move |it| format!("{name}: {it}")).collect::<Vec<_>>()
        };
        report.relays.iter().flat_map(named).collect::<Vec<_>>()
    };
    let mut remarks =
        of_rows(|row| row.spoilt.iter().map(|it| format!("{it}; latencies left out")).collect());
    remarks.extend(of_rows(|row| row.remarks().into_iter().map(str::to_owned).collect()));
    remarks.extend(report.remarks.iter().cloned());
    let skipped = report.skipped.iter();
    remarks.extend(skipped.map(|it| format!("{} was left out: {}", it.name, it.reason)));
    Head {
        told: vec![
            format!("{} calls of {} s", grouped(report.calls as u64), report.seconds),
            format!("{} rounds in turn", report.rounds),
        ],
        problems: of_rows(|row| {
            row.unusable.iter().map(|it| format!("not usable: {it}")).collect()
        }),
        remarks,
        ..Head::of(comparison, standing)
    }
}

fn one(page: &mut Markup, comparison: &Comparison) {
    let relays = &comparison.relays;
    let names: Vec<&str> = relays.iter().map(|row| &*row.name).collect();
    section(
        page,
        "Side by side",
        "Medians over the runs of a relay that count. \u{d7} is the multiple of what null, the \
         floor, takes in this comparison. Latencies are of what was planned while all calls talk; \
         a bar is as long as its share of the largest in its row.",
    );
    page.open("div", &[("class", "wide")]).open("table", &[]);
    frame::head_of_runs(page, "", &names);
    page.open("tbody", &[]);
    for (name, unit, of) in FIGURES {
        let values: Vec<Option<f64>> =
            relays.iter().map(|row| row.figures.as_ref().and_then(of)).collect();
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        page.open("tr", &[]).leaf("td", &[], name);
        for (number, (row, value)) in relays.iter().zip(&values).enumerate() {
            page.open("td", &[]);
            let Some(value) = *value else {
                page.text("\u{2013}").close();
                continue;
            };
            page.text(&unit.write(value));
            if let Some(times) = row.to_floor.as_ref().and_then(of) {
                page.leaf("small", &[], &ratio(times));
            }
            bar(page, number % RUNS_MAX, if most > 0.0 { value / most } else { 0.0 });
            page.close();
        }
        page.close();
    }
    words(page, "judged", relays, |row| judged(row.judged).to_owned());
    words(page, "runs that count", relays, |row| {
        format!("{} of {}", row.usable, row.reports.len().max(row.usable))
    });
    words(page, "calls that failed", relays, |row| grouped(row.calls_failed as u64));
    page.close().close().close();
    content(page, relays, &names);
    percentiles(page, comparison);
    let settings: Vec<_> = relays.iter().map(|row| settings_of(row).to_vec()).collect();
    if settings.iter().any(|settings| !settings.is_empty()) {
        frame::folded(page, "Settings of the relays", &names, &settings);
    }
}

fn words(page: &mut Markup, name: &str, relays: &[Row], of: impl Fn(&Row) -> String) {
    page.open("tr", &[]).leaf("td", &[], name);
    for row in relays {
        page.leaf("td", &[], &of(row));
    }
    page.close();
}

fn judged(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Exact => "sample for sample",
        Judgement::ByContent => "by content",
        Judgement::ByCount => "by count",
    }
}

/// What the audio of the relays was found to be; nothing where nobody listened.
fn content(page: &mut Markup, relays: &[Row], names: &[&str]) {
    if relays.iter().all(|row| row.heard().is_none()) {
        return;
    }
    section(page, "What was heard", "By content, of the last run of each that was listened to.");
    let headings = [&[""], names].concat();
    let rows = CONTENT.iter().map(|(name, of, unit)| {
        let told = |row: &Row| match row.heard().and_then(of) {
            Some(value) => format!("{} {unit}", digits(value)),
            None => "\u{2013}".to_owned(),
        };
        [(*name).to_owned()].into_iter().chain(relays.iter().map(told)).collect()
    });
    frame::table(page, &headings, &rows.collect::<Vec<Vec<String>>>());
}

/// Latency by percentile of the last run of each relay whose latencies are evidence.
fn percentiles(page: &mut Markup, comparison: &Comparison) {
    let counts = |report: &&Report| {
        report.is_good() && !slo::is_spoilt(report, comparison.own_lateness_max_us)
    };
    let recorded: Vec<_> = comparison
        .relays
        .iter()
        .take(RUNS_MAX)
        .map(|row| (&*row.name, row.reports.iter().rev().find(counts)))
        .collect();
    if recorded.iter().all(|(_, report)| report.is_none()) {
        return;
    }
    section(
        page,
        "Latency by percentile",
        "Of the last run of each relay whose load was in time, from its first call to its last. \
         Corrected: from the planned time; uncorrected: from the send.",
    );
    let nothing = Report::default();
    let recorded: Vec<_> = recorded
        .into_iter()
        .map(|(name, report)| (name, &report.unwrap_or(&nothing).recording))
        .collect();
    let names: Vec<&str> = recorded.iter().map(|&(name, _)| name).collect();
    let strokes = [(Stroke::Solid, "corrected"), (Stroke::Dashed, "uncorrected")];
    frame::plots(page, &names, &strokes, &plots::percentiles(&recorded));
}

fn settings_of(row: &Row) -> &[crate::recording::settings::Setting] {
    row.reports.first().map_or(&[], |report| &report.recording.relay_settings)
}
