//! The page, read by an XML parser that is not ours.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::*;
use crate::clock::{MILLIS, SECONDS};
use crate::output::provenance::Provenance;
use crate::recording::distribution::Distribution;
use crate::recording::series::{Series, Told};
use crate::report::{Percentiles, Report, Usage};

mod kinds;

/// A name that would be markup, end an attribute, run, or load something.
const HOSTILE: &str = "</title><script src=\"http://x/\">alert('1')</script>&\u{1b}[0m";

fn run(name: &str) -> Document {
    let times: Vec<u64> = (0..20_000).map(|n| 90_000 + n * 611).collect();
    let planned = (0..).map(|n| n * MILLIS);
    let mut report = Report { calls: 5, calls_good: 5, ..Report::default() };
    for latencies in [&mut report.recording.uplink, &mut report.recording.downlink] {
        latencies.corrected = Distribution::of(&times);
        latencies.uncorrected = Distribution::of(&times[..10_000]);
    }
    report.uplink.corrected = Percentiles::of(&times);
    report.recording.series = Series::of(
        0,
        &Told {
            open: vec![(0, 20 * SECONDS)],
            uplink: planned.zip(times).collect(),
            ..Told::default()
        },
    );
    report.relay = Some(Usage { cpu_us_per_call_second: 612.0, ..Usage::default() });
    Document::new(name.into(), Provenance::now(), report)
}

/// What a reader of the page finds: its text, and every element with its attributes.
struct Read {
    text: String,
    elements: Vec<(String, Vec<(String, String)>)>,
}

fn read(page: &str) -> Read {
    let mut reader = Reader::from_str(page);
    reader.config_mut().check_end_names = true;
    let mut read = Read { text: String::new(), elements: Vec::new() };
    let mut depth = 0;
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}")) {
            Event::Start(element) => {
                depth += 1;
                read.elements.push(parts(&element));
            }
            Event::Empty(element) => read.elements.push(parts(&element)),
            Event::End(_) => depth -= 1,
            Event::Text(text) => read.text.push_str(&text.decode().unwrap()),
            Event::GeneralRef(entity) => {
                let entity = entity.decode().unwrap();
                let letter = match &*entity {
                    "#39" => "'",
                    name => quick_xml::escape::resolve_predefined_entity(name).unwrap(),
                };
                read.text.push_str(letter);
            }
            Event::DocType(_) => {}
            Event::Eof => break,
            other => panic!("nothing else is on a page: {other:?}"),
        }
    }
    assert_eq!(depth, 0);
    read
}

fn parts(element: &BytesStart<'_>) -> (String, Vec<(String, String)>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let attributes = element.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        (text(attribute.key.as_ref()), attribute.unescape_value().unwrap().into_owned())
    });
    (text(element.name().as_ref()), attributes.collect())
}

#[test]
fn a_page_is_well_formed_and_names_each_run() {
    for runs in [vec![run("one")], vec![run("one"), run("two"), run("three")]] {
        let read = read(&page(&runs).unwrap());
        for run in &runs {
            assert!(read.text.contains(&run.name), "{}", run.name);
        }
        assert!(read.text.contains("Latency by percentile"));
        let plots = read.elements.iter().filter(|(name, _)| name == "figure").count();
        assert!(plots >= 4, "{plots}");
    }
}

#[test]
fn a_hostile_name_or_problem_is_text_and_nothing_else() {
    let mut hostile = run(HOSTILE);
    hostile.report.problems.push(HOSTILE.into());
    hostile.report.failures.insert(HOSTILE.into(), 1);
    hostile.provenance.command_line.push(HOSTILE.into());
    let harmless = read(&page(&[run("one")]).unwrap());
    let read = read(&page(&[hostile]).unwrap());
    let shown = HOSTILE.replace('\u{1b}', "\u{FFFD}");
    assert!(read.text.matches(&shown).count() >= 4, "{}", read.text);
    let kinds = |read: &Read| -> std::collections::BTreeSet<String> {
        read.elements.iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(!kinds(&read).contains("script"));
    assert!(kinds(&read).is_subset(&kinds(&harmless)), "{:?}", kinds(&read));
}

#[test]
fn a_page_loads_nothing() {
    let read = read(&page(&[run("one"), run("two")]).unwrap());
    for (name, attributes) in &read.elements {
        assert!(!["script", "link", "img", "iframe", "object", "use"].contains(&&**name), "{name}");
        for (attribute, value) in attributes {
            assert!(!["src", "href", "srcset", "data", "action"].contains(&&**attribute), "{name}");
            assert!(!attribute.starts_with("on"), "{attribute}");
            assert!(!value.contains("url(") && !value.contains("//"), "{attribute}={value}");
        }
    }
    // It stands in the page as text does: what is escaped there would be no style.
    assert!(!frame::STYLE.contains(['<', '>', '&', '"', '\'']));
    assert!(!frame::STYLE.contains("url(") && !frame::STYLE.contains("@import"));
}

#[test]
fn runs_beside_the_first_have_their_ratio_to_it() {
    let mut twice = run("two");
    twice.report.relay = Some(Usage { cpu_us_per_call_second: 1224.0, ..Usage::default() });
    let read = read(&page(&[run("one"), twice]).unwrap());
    assert!(read.text.contains("\u{d7}2.00"), "{}", read.text);
}

#[test]
fn what_was_demanded_stands_with_its_verdict() {
    let mut demanding = run("one");
    demanding.report.slo.push(Judged {
        slo: "uplink.p99<=1ms".into(),
        value: Some(2_300.0),
        measured: "2.3ms".into(),
        verdict: Verdict::Broken,
    });
    let read = read(&page(&[demanding]).unwrap());
    assert!(read.text.contains("uplink.p99<=1ms"));
    assert!(read.text.contains("2.3ms  \u{2717} broken"), "{}", read.text);
}

#[test]
fn a_run_that_measured_nothing_has_a_page_too() {
    let empty = Document::new(String::new(), Provenance::default(), Report::default());
    let read = read(&page(&[empty]).unwrap());
    assert!(read.text.contains("0 of 0"));
}

#[test]
fn more_runs_than_colours_are_refused() {
    let runs = vec![run("one"); RUNS_MAX + 1];
    assert_eq!(page(&runs).unwrap_err(), PageError::TooManyRuns { runs: RUNS_MAX + 1 });
    assert_eq!(page(&[]).unwrap_err(), PageError::NoRuns);
}
