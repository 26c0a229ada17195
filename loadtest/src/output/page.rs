//! One run, or several side by side, as one page that needs nothing besides itself.
//!
//! In:       [`Document`]s.
//! Out:      HTML with its style and its plots in it; no script, no address of anything elsewhere.
//! Bounds:   [`RUNS_MAX`] runs; [`ALL_ROWS_MAX`] rows of single values.
//! Not here: drawing (`plot`), what is written how (`markup`), which figures there are (`figures`).

use std::fmt;

use super::document::Document;
use super::figures::{self, Figure, duration, grouped};
use super::markup::Markup;
use super::plot::{Stroke, ratio};
use crate::recording::settings::Setting;
use crate::report::Percentiles;
use crate::slo::{Judged, Verdict};

mod plots;

/// The most runs on a page: each has a colour of its own.
pub const RUNS_MAX: usize = 8;

/// The most single values that a page lists; a line says how many more there are.
pub const ALL_ROWS_MAX: usize = 2_000;

const STYLE: &str = include_str!("page.css");

/// What a page may load and run: nothing, and its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

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

/// The page of these runs; the first is the one that others are compared with.
pub fn page(runs: &[Document]) -> Result<String, PageError> {
    match runs.len() {
        0 => return Err(PageError::NoRuns),
        runs if runs > RUNS_MAX => return Err(PageError::TooManyRuns { runs }),
        _ => {}
    }
    let names: Vec<&str> = runs.iter().map(name_of).collect();
    let title = format!("Load test: {}", names.join(", "));
    let mut page = Markup::page();
    page.open("html", &[("lang", "en")]).open("head", &[]);
    page.empty("meta", &[("charset", "utf-8")]);
    page.empty("meta", &[("name", "viewport"), ("content", "width=device-width")]);
    page.empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.leaf("title", &[], &title).leaf("style", &[], STYLE).close();
    page.open("body", &[]);
    heading(&mut page, runs);
    for (number, run) in runs.iter().enumerate() {
        notes(&mut page, runs.len() > 1, number, run);
    }
    match runs {
        [run] => tiles(&mut page, run),
        _ => comparison(&mut page, runs),
    }
    demanded(&mut page, runs);
    latencies(&mut page, runs);
    course(&mut page, runs);
    provenance(&mut page, runs);
    everything(&mut page, runs);
    page.close().close();
    Ok(page.finish())
}

/// What a run is called.
fn name_of(run: &Document) -> &str {
    if run.name.is_empty() { "run" } else { &run.name }
}

fn heading(page: &mut Markup, runs: &[Document]) {
    match runs {
        [run] => {
            page.leaf("h1", &[], &format!("Load test: {}", name_of(run)));
            page.open("p", &[]);
            verdict(page, run);
            page.text(" ").leaf("span", &[("class", "faint")], &told(run)).close();
        }
        _ => {
            page.leaf("h1", &[], &format!("Load test: {} runs", runs.len()));
            for (number, run) in runs.iter().enumerate() {
                page.open("p", &[]);
                page.open("span", &[("class", "who")]);
                swatch(page, number, name_of(run));
                page.close().text(" ");
                verdict(page, run);
                page.text(" ").leaf("span", &[("class", "faint")], &told(run)).close();
            }
        }
    }
}

fn verdict(page: &mut Markup, run: &Document) {
    let (class, word) = match run.report.is_good() {
        true if run.report.lacks_evidence() => ("verdict warn", "? no verdict"),
        true => ("verdict good", "\u{2713} good"),
        false => ("verdict bad", "\u{2717} not good"),
    };
    page.leaf("span", &[("class", class)], word);
}

/// One line about a run: how much, when, on what.
fn told(run: &Document) -> String {
    let (report, from) = (&run.report, &run.provenance);
    let mut parts = vec![
        format!("{} calls", grouped(report.calls as u64)),
        format!("{} call-seconds", grouped(report.call_seconds.round() as u64)),
    ];
    let machine = &from.machine;
    let kind = if machine.is_virtual { ", virtual" } else { "" };
    let on = format!("{} \u{d7} {}{kind}", machine.cores, machine.cpu);
    let revision = format!("commit {}", from.revision);
    for (known, part) in [
        (!from.started_at.is_empty(), from.started_at.clone()),
        (machine.cores > 0, on),
        (!from.revision.is_empty(), revision),
    ] {
        parts.extend(known.then_some(part));
    }
    parts.join(" \u{b7} ")
}

fn swatch(page: &mut Markup, run: usize, name: &str) {
    page.open("span", &[]);
    page.leaf("i", &[("class", &format!("swatch r{run}"))], "").text(name).close();
}

/// Problems and remarks of a run, in words.
fn notes(page: &mut Markup, named: bool, number: usize, run: &Document) {
    let report = &run.report;
    for (class, word, sentences) in
        [("notes bad", "Problem: ", &report.problems), ("notes warn", "Note: ", &report.remarks)]
    {
        if sentences.is_empty() {
            continue;
        }
        page.open("div", &[("class", class)]);
        if named {
            page.open("div", &[("class", "legend")]);
            swatch(page, number, name_of(run));
            page.close();
        }
        for sentence in sentences {
            page.open("p", &[]).leaf("span", &[("class", "word")], word).text(sentence).close();
        }
        page.close();
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
    page.open("div", &[("class", "tiles")]);
    for (value, name) in &tiles {
        page.open("div", &[("class", "tile")]);
        page.leaf("b", &[], value).leaf("span", &[], name).close();
    }
    page.close();
}

/// The figures of several runs, each with its ratio to the first.
fn comparison(page: &mut Markup, runs: &[Document]) {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|run| figures::of(&run.report)).collect();
    page.leaf("h2", &[], "Side by side");
    page.open("p", &[("class", "faint")]);
    page.text(&format!(
        "\u{d7} is the ratio to {}. Only runs on one machine in one state compare.",
        name_of(&runs[0])
    ));
    page.close();
    page.open("div", &[("class", "wide")]).open("table", &[]);
    head_of_runs(page, "", runs);
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
fn demanded(page: &mut Markup, runs: &[Document]) {
    if runs.iter().all(|run| run.report.slo.is_empty()) {
        return;
    }
    page.leaf("h2", &[], "What was demanded");
    let rows: Vec<Vec<Setting>> = runs.iter().map(verdicts).collect();
    settings_table(page, runs, &rows);
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

fn head_of_runs(page: &mut Markup, corner: &str, runs: &[Document]) {
    page.open("thead", &[]).open("tr", &[]).leaf("th", &[], corner);
    for (number, run) in runs.iter().enumerate() {
        page.open("th", &[]);
        if runs.len() > 1 {
            page.leaf("i", &[("class", &format!("swatch r{number}"))], "");
            page.text(" ");
        }
        page.text(if runs.len() > 1 { name_of(run) } else { "value" }).close();
    }
    page.close().close();
}

// ------------------------------------------------------------------------------------ latencies

fn latencies(page: &mut Markup, runs: &[Document]) {
    page.leaf("h2", &[], "Latency by percentile");
    page.open("p", &[("class", "faint")]).text(
        "Corrected: from the planned time of a piece until the other side had all of it, by \
         content; what waits behind a stall counts in full. Uncorrected: from the time it was \
         handed to the socket. Each step is what was measured; nothing is smoothed.",
    );
    page.close();
    legend(page, runs, &[(Stroke::Solid, "corrected"), (Stroke::Dashed, "uncorrected")]);
    page.open("div", &[("class", "plots")]);
    plots::percentiles(runs).iter().for_each(|plot| plot.draw(page));
    page.close();
    for (number, run) in runs.iter().enumerate() {
        if runs.len() > 1 {
            page.open("h3", &[]).open("span", &[("class", "who")]);
            swatch(page, number, name_of(run));
            page.close().close();
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
    page.open("div", &[("class", "wide")]).open("table", &[]).open("thead", &[]).open("tr", &[]);
    page.leaf("th", &[], "").leaf("th", &[], "pieces");
    for (name, ..) in figures::steps(&Percentiles::default()) {
        page.leaf("th", &[], name);
    }
    page.close().close().open("tbody", &[]);
    for (name, of) in rows.into_iter().filter(|(_, of)| of.count > 0) {
        page.open("tr", &[]).leaf("td", &[], &name).leaf("td", &[], &grouped(of.count));
        for (_, us, pieces) in figures::steps(of) {
            let known = of.count >= pieces;
            page.leaf("td", &[], &if known { duration(us * 1e3) } else { "\u{2013}".into() });
        }
        page.close();
    }
    page.close().close().close();
}

/// Which colour is which run, and which line is what.
fn legend(page: &mut Markup, runs: &[Document], strokes: &[(Stroke, &str)]) {
    page.open("div", &[("class", "legend")]);
    if runs.len() > 1 {
        for (number, run) in runs.iter().enumerate() {
            swatch(page, number, name_of(run));
        }
    }
    let colour = if runs.len() > 1 { "any" } else { "r0" };
    for (stroke, name) in strokes {
        let class = format!("{} {colour}", stroke.class());
        let path = if *stroke == Stroke::Dots { "M4 5h0M15 5h0M26 5h0" } else { "M1 5h28" };
        page.open("span", &[]).open("svg", &[("viewBox", "0 0 30 10"), ("aria-hidden", "true")]);
        page.empty("path", &[("class", &class), ("d", path)]).close().text(name).close();
    }
    page.close();
}

fn course(page: &mut Markup, runs: &[Document]) {
    let plots = plots::course(runs);
    if plots.is_empty() {
        return;
    }
    page.leaf("h2", &[], "Course of the run");
    let rows: Vec<u64> = runs.iter().map(|run| run.report.recording.series.row_s).collect();
    let row_s = rows.iter().max().copied().unwrap_or(1);
    page.open("p", &[("class", "faint")]).text(&format!(
        "A value every {row_s} s. Latencies are corrected, and count where the piece was planned."
    ));
    page.close();
    let strokes = [(Stroke::Thin, "p50"), (Stroke::Solid, "p99"), (Stroke::Dots, "max")];
    legend(page, runs, &strokes);
    page.open("div", &[("class", "plots")]);
    plots.iter().for_each(|plot| plot.draw(page));
    page.close();
}

// --------------------------------------------------------------------------- where it comes from

fn provenance(page: &mut Markup, runs: &[Document]) {
    page.leaf("h2", &[], "Where it comes from");
    let rows: Vec<Vec<Setting>> = runs.iter().map(origin).collect();
    settings_table(page, runs, &rows);
    page.open("details", &[]).leaf("summary", &[], "Arguments of the load test");
    let load: Vec<_> = runs.iter().map(|run| run.provenance.load.clone()).collect();
    settings_table(page, runs, &load);
    page.close();
    page.open("details", &[]).leaf("summary", &[], "Settings of the relay");
    let relay: Vec<_> =
        runs.iter().map(|run| run.report.recording.relay_settings.clone()).collect();
    settings_table(page, runs, &relay);
    page.close();
    page.open("details", &[]).leaf("summary", &[], "Bounds of the instrument");
    let bounds = |run: &Document| {
        let bounds = run.bounds.iter();
        bounds.map(|(name, value)| setting(name, &value.to_string())).collect::<Vec<_>>()
    };
    let bounds: Vec<_> = runs.iter().map(bounds).collect();
    settings_table(page, runs, &bounds);
    page.close();
}

fn setting(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.to_owned(), is_set: false }
}

fn origin(run: &Document) -> Vec<Setting> {
    let from = &run.provenance;
    let machine = &from.machine;
    let kind = if machine.is_virtual { " (virtual machine)" } else { "" };
    let rows = [
        ("began", from.started_at.clone()),
        ("took", format!("{:.1} s", from.took_s)),
        ("command line", from.command_line.join(" ")),
        ("version", from.version.clone()),
        ("commit", from.revision.clone()),
        ("compiler", from.rustc.clone()),
        ("profile", from.profile.clone()),
        ("target", from.target.clone()),
        ("CPU", format!("{}{kind}", machine.cpu)),
        ("cores", machine.cores.to_string()),
        ("memory", format!("{:.1} GiB", machine.memory_kib as f64 / 1048576.0)),
        ("kernel", machine.kernel.clone()),
        ("load average before", format!("{:.2}", machine.load_before)),
    ];
    rows.into_iter().map(|(name, value)| setting(name, &value)).collect()
}

/// Names and values, a column for each run; what is not as in the first run stands out.
fn settings_table(page: &mut Markup, runs: &[Document], of_runs: &[Vec<Setting>]) {
    let mut names: Vec<&str> = Vec::new();
    for setting in of_runs.iter().flatten() {
        if !names.contains(&setting.name.as_str()) {
            names.push(&setting.name);
        }
    }
    page.open("div", &[("class", "wide")]).open("table", &[("class", "settings")]);
    head_of_runs(page, "", runs);
    page.open("tbody", &[]);
    for name in names {
        let value = |settings: &[Setting]| {
            let values = settings.iter().filter(|it| it.name == name);
            values.map(|it| it.value.as_str()).collect::<Vec<_>>().join(", ")
        };
        let first = value(&of_runs[0]);
        let is_set = of_runs.iter().flatten().any(|it| it.name == name && it.is_set);
        page.open("tr", &[]).open("td", &[]).text(name);
        if is_set {
            page.leaf("small", &[], "set");
        }
        page.close();
        for settings in of_runs {
            let value = value(settings);
            let class = if value == first { "words" } else { "words differs" };
            page.open("td", &[("class", class)]).leaf("code", &[], &value).close();
        }
        page.close();
    }
    page.close().close().close();
}

/// Every single value of the reports.
fn everything(page: &mut Markup, runs: &[Document]) {
    let all = |run: &Document| {
        let rows = figures::all(&run.report).into_iter();
        rows.map(|(name, value)| setting(&name, &value)).collect::<Vec<_>>()
    };
    let mut of_runs: Vec<Vec<Setting>> = runs.iter().map(all).collect();
    let most = of_runs.iter().map(Vec::len).max().unwrap_or(0);
    of_runs.iter_mut().for_each(|rows| rows.truncate(ALL_ROWS_MAX));
    page.open("details", &[]).leaf("summary", &[], "Every value of the report");
    settings_table(page, runs, &of_runs);
    if most > ALL_ROWS_MAX {
        page.leaf("p", &[], &format!("and {} more in the JSON file", most - ALL_ROWS_MAX));
    }
    page.close();
}

#[cfg(test)]
mod tests;
