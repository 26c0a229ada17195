//! What every page has, whatever it is of: head, verdicts, words, tables, where it comes from.
//!
//! In:       a [`Head`] for each document, and what stands between them.
//! Out:      a page.
//! Bounds:   [`RUNS_MAX`] documents; [`ALL_ROWS_MAX`] rows of single values.
//! Not here: what a page of a kind shows (`page` and its rooms).

use std::collections::BTreeMap;

use super::super::document::{Document, Kind, Measured};
use super::super::figures;
use super::super::markup::Markup;
use super::super::plot::{Plot, Stroke};
use super::super::provenance::Provenance;
use super::{ALL_ROWS_MAX, PageError, RUNS_MAX};
use crate::recording::settings::Setting;

pub(super) const STYLE: &str = include_str!("../page.css");

/// What a page may load and run: nothing, and its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All was well.
    Good,
    /// It was not.
    NotGood,
    /// Nothing was wrong, but the load itself was too late to prove it.
    NoVerdict,
}

impl Standing {
    pub(super) fn of(is_good: bool, lacks_evidence: bool) -> Standing {
        match (is_good, lacks_evidence) {
            (_, true) => Standing::NoVerdict,
            (true, false) => Standing::Good,
            (false, false) => Standing::NotGood,
        }
    }
}

/// What every page says of a document.
pub(super) struct Head<'d> {
    pub(super) name: &'d str,
    pub(super) standing: Standing,
    /// How much was measured.
    pub(super) told: Vec<String>,
    pub(super) problems: Vec<String>,
    pub(super) remarks: Vec<String>,
    pub(super) provenance: &'d Provenance,
    pub(super) bounds: &'d BTreeMap<String, u64>,
    /// The settings of its relay; none where there are several.
    pub(super) relay: &'d [Setting],
    pub(super) all: Vec<(String, String)>,
}

impl<'d> Head<'d> {
    /// Of a document that came to this, with nothing to say yet.
    pub(super) fn of<R: Measured>(document: &'d Document<R>, standing: Standing) -> Head<'d> {
        Head {
            name: name_of(document),
            standing,
            told: Vec::new(),
            problems: Vec::new(),
            remarks: Vec::new(),
            provenance: &document.provenance,
            bounds: &document.bounds,
            relay: &[],
            all: figures::all(&document.report),
        }
    }
}

/// What a document is called.
pub(super) fn name_of<R>(document: &Document<R>) -> &str {
    match document.kind {
        _ if !document.name.is_empty() => &document.name,
        Kind::Run => "run",
        Kind::Capacity => "search",
        Kind::Comparison => "comparison",
        Kind::Restart => "restart",
    }
}

/// The page of these documents. `what`: what they are of; `body`: what is between their heads and
/// where they come from.
pub(super) fn page_of(
    what: &str,
    heads: &[Head<'_>],
    body: impl FnOnce(&mut Markup),
) -> Result<String, PageError> {
    match heads.len() {
        0 => return Err(PageError::NoRuns),
        runs if runs > RUNS_MAX => return Err(PageError::TooManyRuns { runs }),
        _ => {}
    }
    let names: Vec<&str> = heads.iter().map(|head| head.name).collect();
    let title = format!("{what}: {}", names.join(", "));
    let mut page = Markup::page();
    page.open("html", &[("lang", "en")]).open("head", &[]);
    page.empty("meta", &[("charset", "utf-8")]);
    page.empty("meta", &[("name", "viewport"), ("content", "width=device-width")]);
    page.empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.leaf("title", &[], &title).leaf("style", &[], STYLE).close();
    page.open("body", &[]);
    heading(&mut page, what, heads);
    for (number, head) in heads.iter().enumerate() {
        notes(&mut page, heads.len() > 1, number, head);
    }
    body(&mut page);
    provenance(&mut page, &names, heads);
    everything(&mut page, &names, heads);
    page.close().close();
    Ok(page.finish())
}

fn heading(page: &mut Markup, what: &str, heads: &[Head<'_>]) {
    match heads {
        [head] => {
            page.leaf("h1", &[], &format!("{what}: {}", head.name));
            page.open("p", &[]);
            verdict(page, head.standing);
            page.text(" ").leaf("span", &[("class", "faint")], &told(head)).close();
        }
        _ => {
            page.leaf("h1", &[], &format!("{what}: {} runs", heads.len()));
            for (number, head) in heads.iter().enumerate() {
                page.open("p", &[]);
                page.open("span", &[("class", "who")]);
                swatch(page, number, head.name);
                page.close().text(" ");
                verdict(page, head.standing);
                page.text(" ").leaf("span", &[("class", "faint")], &told(head)).close();
            }
        }
    }
}

fn verdict(page: &mut Markup, standing: Standing) {
    let (class, word) = match standing {
        Standing::NoVerdict => ("verdict warn", "? no verdict"),
        Standing::Good => ("verdict good", "\u{2713} good"),
        Standing::NotGood => ("verdict bad", "\u{2717} not good"),
    };
    page.leaf("span", &[("class", class)], word);
}

/// One line about a document: how much, when, on what.
fn told(head: &Head<'_>) -> String {
    let from = head.provenance;
    let mut parts = head.told.clone();
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

pub(super) fn swatch(page: &mut Markup, run: usize, name: &str) {
    page.open("span", &[]);
    page.leaf("i", &[("class", &format!("swatch r{run}"))], "").text(name).close();
}

/// The name of one of several, as the head of what is its own.
pub(super) fn whose(page: &mut Markup, run: usize, name: &str) {
    page.open("h3", &[]).open("span", &[("class", "who")]);
    swatch(page, run, name);
    page.close().close();
}

/// Problems and remarks of a document, in words.
fn notes(page: &mut Markup, named: bool, number: usize, head: &Head<'_>) {
    for (class, word, sentences) in
        [("notes bad", "Problem: ", &head.problems), ("notes warn", "Note: ", &head.remarks)]
    {
        if sentences.is_empty() {
            continue;
        }
        page.open("div", &[("class", class)]);
        if named {
            page.open("div", &[("class", "legend")]);
            swatch(page, number, head.name);
            page.close();
        }
        for sentence in sentences {
            page.open("p", &[]).leaf("span", &[("class", "word")], word).text(sentence).close();
        }
        page.close();
    }
}

/// Values that are read at a glance, each with its name.
pub(super) fn tiles(page: &mut Markup, tiles: &[(String, String)]) {
    page.open("div", &[("class", "tiles")]);
    for (value, name) in tiles {
        page.open("div", &[("class", "tile")]);
        page.leaf("b", &[], value).leaf("span", &[], name).close();
    }
    page.close();
}

/// A section, with a word on how it is read.
pub(super) fn section(page: &mut Markup, title: &str, how: &str) {
    page.leaf("h2", &[], title);
    if !how.is_empty() {
        page.leaf("p", &[("class", "faint")], how);
    }
}

/// Plots beside one another, under what their lines are.
pub(super) fn plots(page: &mut Markup, names: &[&str], strokes: &[(Stroke, &str)], plots: &[Plot]) {
    legend(page, names, strokes);
    page.open("div", &[("class", "plots")]);
    plots.iter().for_each(|plot| plot.draw(page));
    page.close();
}

/// Which colour is which run, and which line is what.
fn legend(page: &mut Markup, names: &[&str], strokes: &[(Stroke, &str)]) {
    page.open("div", &[("class", "legend")]);
    if names.len() > 1 {
        for (number, name) in names.iter().enumerate() {
            swatch(page, number, name);
        }
    }
    let colour = if names.len() > 1 { "any" } else { "r0" };
    for (stroke, name) in strokes {
        let class = format!("{} {colour}", stroke.class());
        let path = if *stroke == Stroke::Dots { "M4 5h0M15 5h0M26 5h0" } else { "M1 5h28" };
        page.open("span", &[]).open("svg", &[("viewBox", "0 0 30 10"), ("aria-hidden", "true")]);
        page.empty("path", &[("class", &class), ("d", path)]).close().text(name).close();
    }
    page.close();
}

/// A table under these headings, of cells in words; the first of a row names it.
pub(super) fn table(page: &mut Markup, headings: &[&str], rows: &[Vec<String>]) {
    page.open("div", &[("class", "wide")]).open("table", &[]).open("thead", &[]).open("tr", &[]);
    headings.iter().for_each(|heading| {
        page.leaf("th", &[], heading);
    });
    page.close().close().open("tbody", &[]);
    for row in rows {
        page.open("tr", &[]);
        row.iter().for_each(|cell| {
            page.leaf("td", &[], cell);
        });
        page.close();
    }
    page.close().close().close();
}

pub(super) fn head_of_runs(page: &mut Markup, corner: &str, names: &[&str]) {
    page.open("thead", &[]).open("tr", &[]).leaf("th", &[], corner);
    for (number, name) in names.iter().enumerate() {
        page.open("th", &[]);
        if names.len() > 1 {
            page.leaf("i", &[("class", &format!("swatch r{number}"))], "");
            page.text(" ");
        }
        page.text(if names.len() > 1 { name } else { "value" }).close();
    }
    page.close().close();
}

pub(super) fn setting(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.to_owned(), is_set: false }
}

/// Names and values, a column for each run; what is not as in the first run stands out.
pub(super) fn settings_table(page: &mut Markup, runs: &[&str], of_runs: &[Vec<Setting>]) {
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

/// The same, opened only by who wants to see it.
pub(super) fn folded(page: &mut Markup, title: &str, runs: &[&str], of_runs: &[Vec<Setting>]) {
    page.open("details", &[]).leaf("summary", &[], title);
    settings_table(page, runs, of_runs);
    page.close();
}

fn provenance(page: &mut Markup, names: &[&str], heads: &[Head<'_>]) {
    page.leaf("h2", &[], "Where it comes from");
    let rows: Vec<Vec<Setting>> = heads.iter().map(|head| origin(head.provenance)).collect();
    settings_table(page, names, &rows);
    let load: Vec<_> = heads.iter().map(|head| head.provenance.load.clone()).collect();
    folded(page, "Arguments of the load test", names, &load);
    let relay: Vec<_> = heads.iter().map(|head| head.relay.to_vec()).collect();
    if relay.iter().any(|settings| !settings.is_empty()) {
        folded(page, "Settings of the relay", names, &relay);
    }
    let bounds = |head: &Head<'_>| {
        let bounds = head.bounds.iter();
        bounds.map(|(name, value)| setting(name, &value.to_string())).collect::<Vec<_>>()
    };
    let bounds: Vec<_> = heads.iter().map(bounds).collect();
    folded(page, "Bounds of the instrument", names, &bounds);
}

fn origin(from: &Provenance) -> Vec<Setting> {
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

/// Every single value of the reports.
fn everything(page: &mut Markup, names: &[&str], heads: &[Head<'_>]) {
    let all = |head: &Head<'_>| {
        let rows = head.all.iter().take(ALL_ROWS_MAX);
        rows.map(|(name, value)| setting(name, value)).collect::<Vec<_>>()
    };
    let of_runs: Vec<Vec<Setting>> = heads.iter().map(all).collect();
    let most = heads.iter().map(|head| head.all.len()).max().unwrap_or(0);
    page.open("details", &[]).leaf("summary", &[], "Every value of the report");
    settings_table(page, names, &of_runs);
    if most > ALL_ROWS_MAX {
        page.leaf("p", &[], &format!("and {} more in the JSON file", most - ALL_ROWS_MAX));
    }
    page.close();
}
