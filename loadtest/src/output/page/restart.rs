//! The page of a relay that was killed: when its calls heard the model again, and which did not.
//!
//! In:       documents of restarts.
//! Out:      a page.
//! Bounds:   those of the documents.
//! Not here: counting (`restart::report`), what every page has (`frame`).

use super::super::document::Document;
use super::super::figures::{duration, grouped};
use super::super::markup::Markup;
use super::super::plot::{Axis, Curve, Plot, Stroke};
use super::frame::{self, Head, Standing, name_of, section, setting};
use super::{PageError, times_table};
use crate::clock::{MILLIS, SECONDS};
use crate::recording::distribution::Distribution;
use crate::recording::settings::Setting;
use crate::restart::RestartReport;

/// The page of these restarts.
pub(super) fn page(restarts: &[Document<RestartReport>]) -> Result<String, PageError> {
    let heads: Vec<Head<'_>> = restarts.iter().map(head).collect();
    let names: Vec<&str> = restarts.iter().map(name_of).collect();
    frame::page_of("A relay that was killed", &heads, |page| {
        for (number, restart) in restarts.iter().enumerate() {
            if restarts.len() > 1 {
                frame::whose(page, number, name_of(restart));
            }
            tiles(page, &restart.report);
        }
        section(
            page,
            "How soon calls come back",
            "Of the calls whose stream died of the kill, the share that had heard the model again \
             by then; a curve that ends below 100 % ends with those that never did. Nothing is \
             smoothed.",
        );
        let strokes =
            [(Stroke::Solid, "heard the model again"), (Stroke::Dashed, "noticed the end")];
        frame::plots(page, &names, &strokes, &plots(restarts));
        for (number, restart) in restarts.iter().enumerate() {
            if restarts.len() > 1 {
                frame::whose(page, number, name_of(restart));
            }
            times(page, &restart.report);
        }
        section(page, "What became of the calls", "");
        let rows: Vec<Vec<Setting>> = restarts.iter().map(|it| became(&it.report)).collect();
        frame::settings_table(page, &names, &rows);
    })
}

fn head(restart: &Document<RestartReport>) -> Head<'_> {
    let report = &restart.report;
    let notes = report.audio.problems.iter().chain(&report.audio.remarks);
    Head {
        told: vec![
            format!("{} calls", grouped(report.calls as u64)),
            format!("{} talking at the kill", grouped(report.talking as u64)),
        ],
        problems: report.problems.clone(),
        remarks: notes.cloned().collect(),
        relay: &report.audio.recording.relay_settings,
        ..Head::of(restart, Standing::of(report.is_good(), false))
    }
}

fn tiles(page: &mut Markup, report: &RestartReport) {
    let demanded = format!(
        "heard the model again within {}; {:.0} % demanded",
        duration(report.demands.within as f64),
        report.demands.min_back * 100.0
    );
    let mut tiles = vec![
        (format!("{} of {}", report.back_in_time, report.struck), demanded),
        (format!("{} of {}", report.back, report.struck), "heard it again at all".to_owned()),
    ];
    let listening = report.listening_after_ms.map(|ms| duration(ms * MILLIS as f64));
    tiles.push(match listening {
        Some(after) => (after, "until it listened again".to_owned()),
        None => ("\u{2013}".to_owned(), "it stays dead".to_owned()),
    });
    if let Some(us) = report.from_kill.p50() {
        let most = duration(report.from_kill.max_us * 1e3);
        tiles.push((duration(us * 1e3), format!("from the kill to the model, p50; max {most}")));
    }
    tiles.push((grouped(report.resumed as u64), "resumed where they were".to_owned()));
    tiles.push((grouped(report.greeted_twice as u64), "greeted twice".to_owned()));
    frame::tiles(page, &tiles);
}

fn plots(restarts: &[Document<RestartReport>]) -> Vec<Plot> {
    let longest = |report: &RestartReport| {
        let [heard, noticed] = [&report.after_kill.heard, &report.after_kill.noticed];
        heard.histogram().max().max(noticed.histogram().max()).max(in_time(report)) as f64
    };
    let most = restarts.iter().map(|it| longest(&it.report)).fold(0.0, f64::max);
    let x = Axis::amount("seconds after the kill", most / SECONDS as f64);
    let y = Axis::amount("% of the calls struck", 100.0);
    let mut plot = Plot::new("Share of the calls that are back", x, y);
    for (number, restart) in restarts.iter().enumerate() {
        let report = &restart.report;
        for (kind, stroke, times) in [
            ("noticed", Stroke::Dashed, &report.after_kill.noticed),
            ("heard again", Stroke::Solid, &report.after_kill.heard),
        ] {
            let name = format!("{}, {kind}", name_of(restart));
            let points = shares(times, report.struck);
            plot.curves.push(Curve { name, run: number, stroke, points });
        }
        if let [_] = restarts {
            let listening = report.listening_after_ms.map(|ms| ms / 1e3);
            plot.moments.extend(listening.map(|at| (at, "listens again".to_owned())));
            let due = in_time(report) as f64 / SECONDS as f64;
            plot.moments.push((due, "in time until here".to_owned()));
            let demanded = report.demands.min_back * 100.0;
            plot.thresholds.push((demanded, format!("demanded in time: {demanded:.0} %")));
        }
    }
    vec![plot]
}

/// Until when after the kill a call is back in time, in nanoseconds.
fn in_time(report: &RestartReport) -> u64 {
    let listening = report.listening_after_ms.map_or(0.0, |ms| ms * MILLIS as f64);
    report.demands.within + listening as u64
}

/// The share of `all` calls that were served by each time, in seconds and percent, in steps.
fn shares(times: &Distribution, all: usize) -> Vec<(f64, f64)> {
    let mut points = vec![(0.0, 0.0)];
    let mut before = 0.0;
    for (at, counted) in times.steps() {
        let (at, share) = (at as f64 / SECONDS as f64, counted as f64 * 100.0 / all.max(1) as f64);
        points.extend([(at, before), (at, share)]);
        before = share;
    }
    points
}

fn times(page: &mut Markup, report: &RestartReport) {
    let rows = [
        ("from the kill until it was noticed".to_owned(), &report.noticed),
        ("from the kill until the model was heard again".to_owned(), &report.from_kill),
        ("from listening again until the model was heard".to_owned(), &report.from_listening),
    ];
    times_table(page, &rows);
}

/// Counts, a row for each; those of nothing are left out.
fn became(report: &RestartReport) -> Vec<Setting> {
    let mut rows = Vec::new();
    for (reason, count) in &report.not_talking {
        rows.push(setting(&format!("no stream at the kill: {reason}"), &count.to_string()));
    }
    for (name, count) in [
        ("struck by it", report.struck),
        ("heard the model again", report.back),
        ("in the time demanded", report.back_in_time),
        ("resumed by a handle", report.resumed),
        ("begun afresh", report.fresh),
        ("greeted twice", report.greeted_twice),
    ] {
        rows.push(setting(name, &count.to_string()));
    }
    for (reason, count) in &report.lost {
        rows.push(setting(&format!("lost: {reason}"), &count.to_string()));
    }
    if let Some(comebacks) = &report.audio.comebacks {
        rows.push(setting("said without a stream", &format!("{:.0} ms", comebacks.unsaid_ms)));
        rows.push(setting("cut at its end", &format!("{:.0} ms", comebacks.cut_ms)));
    }
    if let Some(bookings) = &report.audio.bookings {
        rows.push(setting("bookings confirmed", &bookings.confirmed.to_string()));
        rows.push(setting("bookings lost", &report.bookings_lost.to_string()));
        rows.push(setting("bookings doubled", &report.bookings_doubled.to_string()));
    }
    for (name, direction) in
        [("uplink", &report.audio.uplink), ("downlink", &report.audio.downlink)]
    {
        let faults = direction.doubled + direction.foreign;
        rows.push(setting(&format!("{name}, doubled or foreign samples"), &grouped(faults)));
    }
    rows
}
