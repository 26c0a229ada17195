//! The pages of searches, comparisons and restarts, read by the same parser.

use super::{HOSTILE, Read, read};
use crate::capacity::search::{Answer, Outcome};
use crate::capacity::{CapacityReport, Step};
use crate::clock::{MILLIS, SECONDS};
use crate::compare::{Comparison, Figures, Row, Skipped, Tail};
use crate::output::document::{Document, Measured};
use crate::output::page::{PageError, Paged, RUNS_MAX};
use crate::output::provenance::Provenance;
use crate::recording::distribution::Distribution;
use crate::recording::settings::Setting;
use crate::report::{Percentiles, Report};
use crate::restart::RestartReport;
use crate::restart::report::{Comebacks, RestartDemands};

fn document<R: Measured>(name: &str, report: R) -> Document<R> {
    Document::new(name.into(), Provenance::now(), report)
}

fn page_of<R: Paged>(name: &str, report: R) -> Read {
    read(&R::page(&[document(name, report)]).unwrap())
}

fn count(read: &Read, element: &str, class: &str) -> usize {
    let is = |attributes: &[(String, String)]| {
        attributes.iter().any(|(name, value)| name == "class" && value.contains(class))
    };
    read.elements.iter().filter(|(name, attributes)| name == element && is(attributes)).count()
}

fn step(calls: usize, us: f64, outcome: Outcome) -> Step {
    let times =
        Percentiles { count: 9999, p50_us: us, p99_us: us, p999_us: us, ..Percentiles::default() };
    Step {
        calls,
        attempt: 1,
        outcome,
        reasons: Vec::new(),
        slo: Vec::new(),
        uplink: times,
        downlink: times,
        setup: times,
        cpu_us_per_call_second: Some(700.0),
        relay_cores: Some(0.5),
        own_cores: Some(0.4),
        own_lateness_p999_us: 300.0,
        rss_per_call_kib: Some(61.0),
        lost: 0,
        failed: 0,
    }
}

fn search() -> CapacityReport {
    CapacityReport {
        slo: vec!["uplink.p999<=20ms".into(), "lost=0".into()],
        own_lateness_max_us: 1e3,
        relay_settings: vec![Setting {
            name: "server.workers".into(),
            value: "1".into(),
            is_set: true,
        }],
        steps: vec![
            step(100, 900.0, Outcome::Kept),
            step(200, 31_000.0, Outcome::Broken),
            step(150, 2_000.0, Outcome::Kept),
            step(175, 77_000_000.0, Outcome::Spoilt),
        ],
        answer: Answer::Largest { kept: 150, broke: 200 },
        text: "largest N that kept it: 150".into(),
        ..CapacityReport::default()
    }
}

#[test]
fn a_search_is_drawn_against_the_number_of_calls_with_its_bounds_and_its_answer() {
    let read = page_of("one", search());
    assert!(read.text.contains("largest N that kept it: 150"));
    assert_eq!(count(&read, "figure", ""), 0);
    assert_eq!(read.elements.iter().filter(|(name, _)| name == "figure").count(), 6);
    assert!(read.text.contains("uplink.p999<=20ms"));
    assert_eq!(read.text.matches("kept: 150").count(), 6, "each plot has the answer");
    // Three runs in five plots, of which one broke; all four in that of the load's own lateness.
    assert_eq!(count(&read, "circle", "mark"), 5 * 3 + 4);
    assert_eq!(count(&read, "circle", "hollow"), 5 + 2);
    assert!(!read.text.contains("200 s"), "what was spoilt stretches no axis");
    for word in ["server.workers", "search_steps_max", "\u{2717} broken by", "? spoilt"] {
        assert!(read.text.contains(word), "{word}");
    }
}

#[test]
fn searches_stand_side_by_side_in_one_plot() {
    let both = [document("one", search()), document("two", search())];
    let read = read(&CapacityReport::page(&both).unwrap());
    assert_eq!(count(&read, "circle", "mark"), 2 * (5 * 3 + 4));
    assert!(count(&read, "path", "solid r1") > 0 && read.text.contains("two, 100 calls, run 1"));
}

fn row(name: &str, us: Option<f64>) -> Row {
    let figures = us.map(|us| Figures {
        cpu_us_per_call_second: Some(us),
        uplink: Tail { p50: Some(us), ..Tail::default() },
        ..Figures::default()
    });
    let to_floor =
        us.map(|us| Figures { cpu_us_per_call_second: Some(us / 100.0), ..Figures::default() });
    let reports = vec![Report { calls: 3, calls_good: 3, ..Report::default() }];
    let mut row = Row::default();
    row.name = name.into();
    row.usable = 1;
    (row.figures, row.to_floor, row.reports) = (figures, to_floor, reports);
    row
}

#[test]
fn relays_stand_in_one_table_with_bars_and_multiples_and_what_was_left_out() {
    let mut broken = row("node", None);
    (broken.usable, broken.unusable) = (0, vec!["3 of 3 calls failed".into()]);
    let comparison = Comparison {
        calls: 3,
        rounds: 1,
        relays: vec![row("null", Some(100.0)), row("tokio", Some(250.0)), broken],
        skipped: vec![Skipped { name: "other".into(), reason: "no compiler".into() }],
        ..Comparison::default()
    };
    let read = page_of("one", comparison);
    assert!(read.text.contains("\u{d7}2.50"), "{}", read.text);
    assert!(read.text.contains("node: not usable: 3 of 3 calls failed"));
    assert!(read.text.contains("other was left out: no compiler"));
    assert!(read.text.contains("not good"));
    // CPU and one latency, of two relays each.
    assert_eq!(count(&read, "svg", "bar"), 4);
    let widths: Vec<&str> = read
        .elements
        .iter()
        .filter(|(name, _)| name == "rect")
        .filter_map(|(_, attributes)| attributes.iter().find(|(name, _)| name == "width"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(widths, ["40.0", "100.0", "40.0", "100.0"]);
}

fn restart() -> RestartReport {
    let heard: Vec<u64> = (0..3).map(|n| 800 * MILLIS + n * 100 * MILLIS).collect();
    RestartReport {
        calls: 4,
        talking: 4,
        struck: 4,
        back: 3,
        back_in_time: 3,
        lost: [("answered <Hangup>".to_owned(), 1)].into(),
        listening_after_ms: Some(250.0),
        from_kill: Percentiles::of(&heard),
        after_kill: Comebacks { heard: Distribution::of(&heard), ..Comebacks::default() },
        demands: RestartDemands { min_back: 0.9, within: 2 * SECONDS },
        problems: vec!["3 of 4 calls heard the model again".into()],
        ..RestartReport::default()
    }
}

#[test]
fn calls_that_come_back_are_a_curve_that_ends_at_their_share() {
    let read = page_of("one", restart());
    for word in [
        "3 of 4",
        "listens again",
        "in time until here",
        "demanded in time: 90 %",
        "lost: answered <Hangup>",
        "noticed_within_ns",
        "250 ms",
    ] {
        assert!(read.text.contains(word), "{word}: {}", read.text);
    }
    // Under its name: the line in the legend has none.
    let curve = read.elements.iter().find_map(|(name, attributes)| {
        let value = |of: &str| attributes.iter().find(|(it, _)| it == of).map(|(_, value)| value);
        let path = value("d").filter(|path| name == "path" && path.contains('L'))?;
        (value("class")? == "solid r0").then(|| path.clone())
    });
    let end = curve.as_deref().and_then(|path| path.rsplit(' ').next()).map(str::to_owned);
    // 75 % of the way up, where the axis goes from 228 to 14.
    assert_eq!(end.as_deref(), Some("67.5"), "{end:?}");
}

#[test]
fn what_is_hostile_in_any_report_is_text_and_nothing_else() {
    let hostile_search =
        CapacityReport { text: HOSTILE.into(), slo: vec![HOSTILE.into()], ..search() };
    let mut hostile_row = row(HOSTILE, Some(1.0));
    hostile_row.spoilt.push(HOSTILE.into());
    let comparison = Comparison { relays: vec![hostile_row], ..Comparison::default() };
    let mut killed = restart();
    killed.lost.insert(HOSTILE.into(), 1);
    for read in
        [page_of(HOSTILE, hostile_search), page_of(HOSTILE, comparison), page_of(HOSTILE, killed)]
    {
        let shown = HOSTILE.replace('\u{1b}', "\u{FFFD}");
        assert!(read.text.matches(&shown).count() >= 3, "{}", read.text);
        for (name, attributes) in &read.elements {
            assert!(!["script", "link", "img", "iframe"].contains(&&**name), "{name}");
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on"), "{attribute}");
                assert!(!["src", "href"].contains(&&**attribute), "{attribute}={value}");
            }
        }
    }
}

#[test]
fn reports_of_nothing_have_pages_too_and_more_than_colours_have_none() {
    page_of("", CapacityReport::default());
    page_of("", Comparison::default());
    page_of("", RestartReport::default());
    let all = vec![document("one", search()); RUNS_MAX + 1];
    let refused = CapacityReport::page(&all).unwrap_err();
    assert_eq!(refused, PageError::TooManyRuns { runs: RUNS_MAX + 1 });
    assert_eq!(Comparison::page(&[]).unwrap_err(), PageError::NoRuns);
}

#[test]
fn what_is_written_of_any_kind_is_read_back() {
    let written = document("one", restart());
    let text = serde_json::to_value(&written).unwrap();
    let read: Document<RestartReport> = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), text);
    let text = serde_json::to_value(document("two", search())).unwrap();
    let read: Document<CapacityReport> = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), text);
    assert_eq!(text["kind"], "capacity");
}
