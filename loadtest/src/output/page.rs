//! What was measured, one document or several side by side, as one page that needs nothing besides
//! itself.
//!
//! In:       [`Document`]s of one kind.
//! Out:      HTML with its style and its plots in it; no script, no address of anything elsewhere.
//! Bounds:   [`RUNS_MAX`] documents; [`ALL_ROWS_MAX`] rows of single values.
//! Not here: drawing (`plot`), what is written how (`markup`), which figures there are (`figures`).
//!
//! What every page has is in `frame`; here is the page of runs; the rooms `capacity`, `comparison`
//! and `restart` have those of the other kinds.

use std::fmt;

use super::document::{Document, Measured};
use super::figures::{self, Figure, duration, grouped};
use super::markup::Markup;
use super::plot::{Stroke, ratio};
use crate::capacity::CapacityReport;
use crate::compare::Comparison;
use crate::recording::settings::Setting;
use crate::report::{Percentiles, Report};
use crate::restart::RestartReport;
use crate::slo::{Judged, Verdict};

mod capacity;
mod comparison;
mod frame;
mod plots;
mod restart;

use frame::{Head, Standing, head_of_runs, name_of, section, setting, settings_table};

/// The most runs on a page: each has a colour of its own.
pub const RUNS_MAX: usize = 8;

/// The most single values that a page lists; a line says how many more there are.
pub const ALL_ROWS_MAX: usize = 2_000;

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Of no run.
    NoRuns,
    /// Of more runs than [`RUNS_MAX`].
    TooManyRuns {
        /// How many.
        runs: usize,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageError::NoRuns => f.write_str("a page needs a run"),
            PageError::TooManyRuns { runs } => {
                write!(f, "{runs} runs; a page has room for {RUNS_MAX}")
            }
        }
    }
}

impl std::error::Error for PageError {}

/// A report that has a page.
pub trait Paged: Measured {
    /// The page of these documents.
    fn page(documents: &[Document<Self>]) -> Result<String, PageError>;
}

impl Paged for Report {
    fn page(documents: &[Document<Report>]) -> Result<String, PageError> {
        page(documents)
    }
}

impl Paged for CapacityReport {
    fn page(documents: &[Document<CapacityReport>]) -> Result<String, PageError> {
        capacity::page(documents)
    }
}

impl Paged for Comparison {
    fn page(documents: &[Document<Comparison>]) -> Result<String, PageError> {
        comparison::page(documents)
    }
}

impl Paged for RestartReport {
    fn page(documents: &[Document<RestartReport>]) -> Result<String, PageError> {
        restart::page(documents)
    }
}

/// The page of these runs; the first is the one that others are compared with.
pub fn page(runs: &[Document]) -> Result<String, PageError> {
    let heads: Vec<Head<'_>> = runs.iter().map(head).collect();
    let names: Vec<&str> = runs.iter().map(name_of).collect();
    frame::page_of("Load test", &heads, |page| {
        match runs {
            [run] => tiles(page, run),
            _ => side_by_side(page, runs, &names),
        }
        demanded(page, runs, &names);
        latencies(page, runs, &names);
        course(page, runs, &names);
    })
}

fn head(run: &Document) -> Head<'_> {
    let report = &run.report;
    let standing = Standing::of(report.is_good(), report.lacks_evidence());
    Head {
        told: vec![
            format!("{} calls", grouped(report.calls as u64)),
            format!("{} call-seconds", grouped(report.call_seconds.round() as u64)),
        ],
        problems: report.problems.clone(),
        remarks: report.remarks.clone(),
        relay: &report.recording.relay_settings,
        ..Head::of(run, standing)
    }
}

// ------------------------------------------------------------------------------ what came of it

fn tiles(page: &mut Markup, run: &Document) {
    let report = &run.report;
    let latency = |of: &Percentiles| {
        let tail = if of.count >= 1000 { of.p999_us } else { of.max_us };
        let name = if of.count >= 1000 { "p99.9" } else { "max" };
        match of.count {
            0 => ("\u{2013}".to_owned(), "nothing was measured".to_owned()),
            _ => (duration(of.p50_us * 1e3), format!("p50; {name} {}", duration(tail * 1e3))),
        }
    };
    let mut tiles = vec![(
        format!("{} of {}", grouped(report.calls_good as u64), grouped(report.calls as u64)),
        "calls good".to_owned(),
    )];
    for (name, direction) in [("uplink", &report.uplink), ("downlink", &report.downlink)] {
        let (value, rest) = latency(&direction.corrected);
        tiles.push((value, format!("{name} latency {rest}")));
    }
    let lost = report.uplink.lost + report.downlink.lost;
    let expected = report.uplink.expected + report.downlink.expected;
    tiles.push((grouped(lost), format!("of {} samples lost", grouped(expected))));
    if let Some(relay) = &report.relay {
        let cpu = format!("{} \u{b5}s", figures::digits(relay.cpu_us_per_call_second));
        tiles.push((cpu, "relay CPU for a second of a call".into()));
        let peak = format!("{:.1} MiB", relay.rss_peak_kib as f64 / 1024.0);
        let idle = relay.rss_idle_kib as f64 / 1024.0;
        tiles.push((peak, format!("relay memory at most; {idle:.1} MiB before")));
    }
    let late = report.uplink.own_lateness.p999_us.max(report.downlink.own_lateness.p999_us);
    tiles.push((duration(late * 1e3), "lateness of the load itself, p99.9".into()));
    frame::tiles(page, &tiles);
}

/// The figures of several runs, each with its ratio to the first.
fn side_by_side(page: &mut Markup, runs: &[Document], names: &[&str]) {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|run| figures::of(&run.report)).collect();
    // Of no runs there is no page.
    let Some(first) = names.first() else { return };
    let how =
        format!("\u{d7} is the ratio to {first}. Only runs on one machine in one state compare.");
    section(page, "Side by side", &how);
    page.open("div", &[("class", "wide")]).open("table", &[]);
    head_of_runs(page, "", names);
    page.open("tbody", &[]);
    for row in 0..figures[0].len() {
        if figures.iter().all(|figures| figures[row].value.is_none()) {
            continue;
        }
        let first = &figures[0][row];
        page.open("tr", &[]).leaf("td", &[], &first.name);
        for (number, figures) in figures.iter().enumerate() {
            let figure = &figures[row];
            page.open("td", &[]).text(&figure.to_string());
            if let Some(times) = figure.ratio_to(first).filter(|_| number > 0) {
                page.leaf("small", &[], &ratio(times));
            }
            page.close();
        }
        page.close();
    }
    page.close().close().close();
}

/// The bounds that were demanded, what was measured, and the verdicts.
fn demanded(page: &mut Markup, runs: &[Document], names: &[&str]) {
    if runs.iter().all(|run| run.report.slo.is_empty()) {
        return;
    }
    section(page, "What was demanded", "");
    let rows: Vec<Vec<Setting>> = runs.iter().map(verdicts).collect();
    settings_table(page, names, &rows);
}

fn verdicts(run: &Document) -> Vec<Setting> {
    let row = |judged: &Judged| {
        let verdict = match judged.verdict {
            Verdict::Kept => "\u{2713} kept",
            Verdict::Broken => "\u{2717} broken",
            Verdict::NotMeasured => "not measured",
            Verdict::NotJudged => "not judged: the load itself was late",
        };
        setting(&judged.slo, &format!("{}  {verdict}", judged.measured))
    };
    run.report.slo.iter().map(row).collect()
}

// ------------------------------------------------------------------------------------ latencies

fn latencies(page: &mut Markup, runs: &[Document], names: &[&str]) {
    section(
        page,
        "Latency by percentile",
        "Corrected: from the planned time of a piece until the other side had all of it, by \
         content; what waits behind a stall counts in full. Uncorrected: from the time it was \
         handed to the socket. Each step is what was measured; nothing is smoothed.",
    );
    let recorded: Vec<_> = runs.iter().map(|run| (name_of(run), &run.report.recording)).collect();
    let strokes = [(Stroke::Solid, "corrected"), (Stroke::Dashed, "uncorrected")];
    frame::plots(page, names, &strokes, &plots::percentiles(&recorded));
    for (number, run) in runs.iter().enumerate() {
        if runs.len() > 1 {
            frame::whose(page, number, name_of(run));
        }
        percentile_table(page, run);
    }
}

fn percentile_table(page: &mut Markup, run: &Document) {
    let report = &run.report;
    let mut rows = Vec::new();
    for (name, of) in [("uplink", &report.uplink), ("downlink", &report.downlink)] {
        rows.push((format!("{name}, corrected"), &of.corrected));
        rows.push((format!("{name}, uncorrected"), &of.uncorrected));
        rows.push((format!("{name}, lateness of the load"), &of.own_lateness));
    }
    rows.push(("set-up of a call".into(), &report.setup));
    rows.push(("interrupted to clear".into(), &report.barge_in));
    if let Some(swaps) = &report.swaps {
        rows.push(("swap, audible gap".into(), &swaps.gap));
        rows.push(("swap, handover".into(), &swaps.handover));
        rows.push(("fault to ready again".into(), &swaps.recovery));
    }
    times_table(page, &rows);
}

/// Times by their percentiles, a row for each; those of nothing are left out.
fn times_table(page: &mut Markup, rows: &[(String, &Percentiles)]) {
    let steps = figures::steps(&Percentiles::default()).map(|(name, ..)| name);
    let headings = [&["", "pieces"][..], &steps].concat();
    let measured = rows.iter().filter(|(_, of)| of.count > 0).map(|(name, of)| {
        let steps =
            figures::steps(of).into_iter().map(|(_, us, pieces)| match of.count >= pieces {
                true => duration(us * 1e3),
                false => "\u{2013}".to_owned(),
            });
        [name.clone(), grouped(of.count)].into_iter().chain(steps).collect()
    });
    frame::table(page, &headings, &measured.collect::<Vec<_>>());
}

fn course(page: &mut Markup, runs: &[Document], names: &[&str]) {
    let plots = plots::course(runs);
    if plots.is_empty() {
        return;
    }
    let rows = runs.iter().map(|run| run.report.recording.series.row_s);
    let row_s = rows.max().unwrap_or(1);
    let how = format!(
        "A value every {row_s} s. Latencies are corrected, and count where the piece was planned."
    );
    section(page, "Course of the run", &how);
    let strokes = [(Stroke::Thin, "p50"), (Stroke::Solid, "p99"), (Stroke::Dots, "max")];
    frame::plots(page, names, &strokes, &plots);
}

#[cfg(test)]
mod tests;
