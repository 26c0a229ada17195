//! The figures page as somebody else's parser reads it (`prometheus-parse`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus_parse::{Sample, Scrape, Value};
use vocaris::call::session::{Cause, Kind};
use vocaris::call::{Class, Dropped, Ending, LineFault, Lines, Nudge, Oddity, State};
use vocaris::metrics::{Build, Figures, Histograms, Page, Process, Shared, Stage, Window, slo};
use vocaris::wire::gemini::CloseClass;

/// Figures in which no two counts are alike and every account balances.
fn busy_figures() -> Figures {
    let mut figures = Figures::default();
    let mut count = 1_000;
    let mut next = || {
        count += 7;
        count
    };
    for class in 0..Class::ALL.len() {
        figures.started[class] = next();
        figures.active[class] = next();
        figures.states[class] = std::array::from_fn(|_| next());
        figures.slo_missed[class] = std::array::from_fn(|_| next());
        figures.ended[class] = std::array::from_fn(|_| next());
        let tally = &mut figures.tally[class];
        tally.barge_ins = next();
        tally.unmeasured = next();
        tally.unsaid = next();
        tally.lines.given_up = std::array::from_fn(|_| next());
        tally.lines.swaps = std::array::from_fn(|_| std::array::from_fn(|_| next()));
        tally.lines.nudges = std::array::from_fn(|_| next());
        tally.lines.stream_ends = next();
        tally.lines.replayed_transcripts = next();
        tally.lines.replayed_messages = next();
        tally.lines.closes_by_code = std::array::from_fn(|_| next());
        tally.lines.closes_by_class = std::array::from_fn(|_| next());
        tally.oddities = std::array::from_fn(|_| next());
        for flow in [&mut tally.uplink, &mut tally.downlink] {
            flow.messages_in = next();
            flow.bytes_in = next();
            flow.silence_in = next();
            flow.messages_out = next();
            flow.bytes_out = next();
            flow.samples_out = next();
            flow.dropped = std::array::from_fn(|_| next());
            flow.queued = next();
            flow.samples_in =
                flow.samples_out + flow.dropped_samples() + flow.queued - flow.silence_in;
            assert!(flow.balances());
        }
    }
    figures.letters_lost = next();
    figures.lines_open = next();
    figures.high_water_ms = [next(), next()];
    for (at, stage) in Stage::ALL.into_iter().enumerate() {
        for ms in 0..=(100 * at as u64) {
            figures.histograms.record(stage, Duration::from_millis(ms));
        }
    }
    figures
}

fn render(totals: &Figures, histograms: &Histograms) -> String {
    let mut window = Window::new(2);
    window.span = Duration::from_secs(12);
    *window.histograms = histograms.clone();
    window.turns[1].record(250_000).unwrap();
    let window = &window;
    let shared = Shared::default();
    shared.answers.count("200");
    shared.dials.count(LineFault::LABELS[LineFault::Timeout.index()]);
    shared.dials.count("ready");
    let process = Process {
        uptime: Duration::from_millis(1_500),
        descriptors: Some(42),
        descriptors_max: Some(1_024),
        cpu_seconds: Some(12.5),
        resident_bytes: Some(1 << 20),
        workers: 2,
        calls_on: vec![5, 6],
        calls_max: 400,
        calls_max_per_worker: 200,
        letters: vec![("accept".into(), 3), ("worker-0".into(), 4)],
    };
    let build = Build {
        version: "1.2.3",
        revision: Some("0123456789ab"),
        target: "x86_64-unknown-linux-gnu",
        kernels: "scalar".into(),
    };
    Page { totals, window, shared: &shared, process, build: &build }.render()
}

fn parse(text: &str) -> Vec<Sample> {
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap().samples
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => *number,
        Value::Histogram(_) | Value::Summary(_) => panic!("{value:?} is no number"),
    }
}

/// The sum of a family's samples that carry these labels.
fn sum(samples: &[Sample], metric: &str, labels: &[(&str, &str)]) -> u64 {
    let family = samples.iter().filter(|sample| sample.metric == metric);
    let mut found = family
        .filter(|sample| labels.iter().all(|&(name, value)| sample.labels.get(name) == Some(value)))
        .map(|sample| number(&sample.value) as u64)
        .peekable();
    assert!(found.peek().is_some(), "no {metric} with {labels:?}");
    found.sum()
}

/// The first sample of a family that carries this label.
fn gauge(samples: &[Sample], metric: &str, (name, value): (&str, &str)) -> f64 {
    let mut family = samples.iter().filter(|sample| sample.metric == metric);
    let found = family.find(|sample| sample.labels.get(name) == Some(value));
    number(&found.unwrap_or_else(|| panic!("no {metric} of {value}")).value)
}

#[test]
fn a_stranger_reads_every_line() {
    let figures = busy_figures();
    let text = render(&figures, &figures.histograms);
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    let read: usize = parse(&text)
        .iter()
        .map(|sample| match &sample.value {
            Value::Histogram(buckets) => buckets.len(),
            _ => 1,
        })
        .sum();
    assert_eq!(read, lines);
}

#[test]
fn every_family_says_what_it_is_once_and_before_its_samples() {
    let figures = busy_figures();
    let text = render(&figures, &figures.histograms);
    let mut families = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(help.split_once(' ').expect("a text").0), "twice: {line}");
            continue;
        }
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(helped.contains(name), "no HELP before: {line}");
            assert!(families.insert(name, kind).is_none(), "twice: {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|part| {
            let family = name.strip_suffix(part);
            family.is_some_and(|family| families.get(family) == Some(&"histogram"))
        });
        assert!(name.starts_with("vocaris_"), "{line}");
        assert!(of_histogram || families.contains_key(name), "no TYPE before: {line}");
    }
}

#[test]
fn no_series_is_told_twice() {
    let figures = busy_figures();
    let text = render(&figures, &figures.histograms);
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        assert!(seen.insert(series), "{series}");
    }
}

#[test]
fn every_sample_that_came_in_is_accounted_for() {
    let figures = busy_figures();
    let samples = parse(&render(&figures, &Histograms::default()));
    for class in ["twilio", "web"] {
        for direction in ["uplink", "downlink"] {
            let labels = [("class", class), ("direction", direction)];
            let of = |family: &str| sum(&samples, family, &labels);
            assert_eq!(
                of("vocaris_audio_in_samples_total") + of("vocaris_audio_silence_samples_total"),
                of("vocaris_audio_out_samples_total")
                    + of("vocaris_audio_dropped_samples_total")
                    + of("vocaris_audio_queued_samples"),
                "{class} {direction}"
            );
        }
    }
}

#[test]
fn every_count_is_told_under_its_own_name() {
    let figures = busy_figures();
    let samples = parse(&render(&figures, &Histograms::default()));
    for (at, class) in Class::ALL.into_iter().enumerate() {
        let class = ("class", class.label());
        let of = |family: &str| sum(&samples, family, &[class]);
        assert_eq!(of("vocaris_calls_started_total"), figures.started[at]);
        assert_eq!(of("vocaris_calls_active"), figures.active[at]);
        assert_eq!(of("vocaris_barge_ins_total"), figures.tally[at].barge_ins);
        assert_eq!(of("vocaris_unmeasured_messages_total"), figures.tally[at].unmeasured);
        assert_eq!(of("vocaris_reports_unsaid_total"), figures.tally[at].unsaid);
        for (state, calls) in State::LABELS.into_iter().zip(figures.states[at]) {
            let labels = [class, ("state", state)];
            assert_eq!(sum(&samples, "vocaris_calls_by_state", &labels), calls);
        }
        for (stage, missed) in slo::Stage::LABELS.into_iter().zip(figures.slo_missed[at]) {
            let labels = [class, ("stage", stage)];
            assert_eq!(sum(&samples, "vocaris_slo_missed_total", &labels), missed);
        }
        for (reason, ended) in Ending::LABELS.into_iter().zip(figures.ended[at]) {
            let labels = [class, ("reason", reason)];
            assert_eq!(sum(&samples, "vocaris_calls_ended_total", &labels), ended);
        }
        for (kind, count) in Oddity::LABELS.into_iter().zip(figures.tally[at].oddities) {
            assert_eq!(sum(&samples, "vocaris_oddities_total", &[class, ("kind", kind)]), count);
        }
        let flows =
            [("uplink", figures.tally[at].uplink), ("downlink", figures.tally[at].downlink)];
        for (direction, flow) in flows {
            let direction = ("direction", direction);
            let of = |family: &str| sum(&samples, family, &[class, direction]);
            assert_eq!(of("vocaris_audio_in_messages_total"), flow.messages_in);
            assert_eq!(of("vocaris_audio_in_bytes_total"), flow.bytes_in);
            assert_eq!(of("vocaris_audio_in_samples_total"), flow.samples_in);
            assert_eq!(of("vocaris_audio_silence_samples_total"), flow.silence_in);
            assert_eq!(of("vocaris_audio_out_messages_total"), flow.messages_out);
            assert_eq!(of("vocaris_audio_out_bytes_total"), flow.bytes_out);
            assert_eq!(of("vocaris_audio_out_samples_total"), flow.samples_out);
            assert_eq!(of("vocaris_audio_queued_samples"), flow.queued);
            for (reason, dropped) in Dropped::LABELS.into_iter().zip(flow.dropped) {
                let labels = [class, direction, ("reason", reason)];
                assert_eq!(sum(&samples, "vocaris_audio_dropped_samples_total", &labels), dropped);
            }
        }
    }
    assert_eq!(sum(&samples, "vocaris_letters_lost_total", &[]), figures.letters_lost);
    assert_eq!(sum(&samples, "vocaris_http_answers_total", &[("status", "200")]), 1);
    assert_eq!(sum(&samples, "vocaris_dials_total", &[("outcome", "timeout")]), 1);
    assert_eq!(sum(&samples, "vocaris_open_descriptors", &[]), 42);
    assert_eq!(sum(&samples, "vocaris_model_lines_open", &[]), figures.lines_open);
    for (direction, ms) in ["uplink", "downlink"].into_iter().zip(figures.high_water_ms) {
        let seconds = gauge(&samples, "vocaris_ring_high_water_seconds", ("direction", direction));
        assert_eq!(seconds, ms as f64 / 1e3);
    }
    assert_eq!(gauge(&samples, "vocaris_worker_calls", ("worker", "1")), 6.0);
    assert_eq!(gauge(&samples, "vocaris_calls_max", ("scope", "all")), 400.0);
    let turn = gauge(&samples, "vocaris_worker_turn_window_seconds", ("worker", "1"));
    assert!((turn / 0.00025 - 1.0).abs() < 0.01, "{turn}");
    assert_eq!(sum(&samples, "vocaris_process_cpu_seconds_total", &[]), 12);
    assert_eq!(sum(&samples, "vocaris_resident_memory_bytes", &[]), 1 << 20);
    assert_eq!(sum(&samples, "vocaris_latency_window_duration_seconds", &[]), 12);
    assert_eq!(sum(&samples, "vocaris_queue_letters", &[("thread", "worker-0")]), 4);
    let build = samples.iter().find(|sample| sample.metric == "vocaris_build_info").unwrap();
    assert_eq!(build.labels.get("revision"), Some("0123456789ab"));
}

#[test]
fn histograms_are_cumulative_and_end_at_their_count() {
    let figures = busy_figures();
    let samples = parse(&render(&figures, &Histograms::default()));
    for stage in Stage::ALL {
        let of_stage = |sample: &&Sample| sample.labels.get("stage") == Some(stage.label());
        let mut histograms = samples
            .iter()
            .filter(|sample| sample.metric == "vocaris_latency_seconds")
            .filter(of_stage);
        let Some(Value::Histogram(buckets)) = histograms.next().map(|sample| &sample.value) else {
            panic!("no histogram of {stage:?}");
        };
        assert!(buckets.is_sorted_by(|a, b| a.less_than < b.less_than && a.count <= b.count));
        let last = buckets.last().unwrap();
        assert_eq!(last.less_than, f64::INFINITY);
        assert_eq!(last.count as u64, figures.histograms.of(stage).len());
        let labels = [("stage", stage.label())];
        assert_eq!(sum(&samples, "vocaris_latency_seconds_count", &labels), last.count as u64);
    }
}

#[test]
fn the_quantiles_of_a_window_are_those_of_its_latencies() {
    let mut window = Histograms::default();
    for us in 1..=10_000 {
        window.record(Stage::Uplink, Duration::from_micros(us));
    }
    let samples = parse(&render(&Figures::default(), &window));
    for (quantile, seconds) in
        [("0.5", 0.005), ("0.9", 0.009), ("0.99", 0.0099), ("0.9999", 0.009999), ("1", 0.01)]
    {
        let told = samples
            .iter()
            .filter(|sample| sample.metric == "vocaris_latency_window_seconds")
            .find(|sample| sample.labels.get("quantile") == Some(quantile))
            .map(|sample| number(&sample.value))
            .unwrap();
        assert!((told - seconds).abs() <= seconds * 0.002, "{quantile}: {told} for {seconds}");
    }
}

#[test]
fn what_became_of_the_models_connections_is_told_by_kind_cause_code_and_reason() {
    let figures = busy_figures();
    let samples = parse(&render(&figures, &figures.histograms));
    let lines = &figures.tally[Class::Twilio as usize].lines;
    for (kind, by_cause) in Kind::LABELS.iter().zip(lines.swaps) {
        for (cause, count) in Cause::LABELS.iter().zip(by_cause) {
            let labels = [("class", "twilio"), ("kind", *kind), ("cause", *cause)];
            assert_eq!(sum(&samples, "vocaris_model_swaps_total", &labels), count);
        }
    }
    for (code, count) in Lines::CODE_LABELS.iter().zip(lines.closes_by_code) {
        let labels = [("class", "twilio"), ("code", *code)];
        assert_eq!(sum(&samples, "vocaris_model_closes_total", &labels), count);
    }
    for (reason, count) in CloseClass::LABELS.iter().zip(lines.closes_by_class) {
        let labels = [("class", "twilio"), ("reason", *reason)];
        assert_eq!(sum(&samples, "vocaris_model_close_reasons_total", &labels), count);
    }
    for (reason, count) in Nudge::LABELS.iter().zip(lines.nudges) {
        let labels = [("class", "twilio"), ("reason", *reason)];
        assert_eq!(sum(&samples, "vocaris_model_nudges_total", &labels), count);
    }
    let twilio = ("class", "twilio");
    assert_eq!(sum(&samples, "vocaris_model_stream_ends_total", &[twilio]), lines.stream_ends);
    for (what, count) in
        [("transcript", lines.replayed_transcripts), ("message", lines.replayed_messages)]
    {
        assert_eq!(sum(&samples, "vocaris_model_replays_total", &[twilio, ("what", what)]), count);
    }
    for (cause, count) in Cause::LABELS.iter().zip(lines.given_up) {
        let labels = [("class", "twilio"), ("cause", *cause)];
        assert_eq!(sum(&samples, "vocaris_model_lines_given_up_total", &labels), count);
    }
}
