//! The figures as JSON, for the status page and for programs that read no exposition text.
//!
//! In:       the same [`Page`] that the exposition text is made of.
//! Out:      one object; see the README for its shape. Counts are since the start, latencies of the
//!           last window, in microseconds; what never happened is left out of objects keyed by
//!           reason, and what is not known is `null`.
//! Bounds:   as many members as there are words of the program, workers and tools.
//! Not here: who may read it (`accept`), how it looks (`accept/page/status.html`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::exposition::Page;
use super::figures::Stage;
use super::shared::Labelled;
use super::slo;
use crate::call::session::{Cause, Kind};
use crate::call::{Class, Dropped, Ending, Flow, Lines, Oddity, State, ToolOutcome};
use crate::clock::Nanos;
use crate::limits::{DIALS_AT_ONCE, MAILBOX_LETTERS};

/// Bins a decade of the histograms that are drawn, and the first bin's lower end.
const BINS_PER_DECADE: f64 = 8.0;
const FIRST_BIN_NS: f64 = 1_000.0;

impl Page<'_> {
    /// The page as JSON.
    pub fn render_json(&self) -> String {
        let process = &self.process;
        json!({
            "build": {
                "version": self.build.version,
                "revision": self.build.revision,
                "target": self.build.target,
                "kernels": self.build.kernels,
            },
            "uptime_s": process.uptime.as_secs_f64(),
            "window_s": self.window.span.as_secs_f64(),
            "process": {
                "cpu_s": process.cpu_seconds,
                "resident_bytes": process.resident_bytes,
                "descriptors": process.descriptors,
                "descriptors_max": process.descriptors_max,
            },
            "calls": by_class(|class| self.calls_of(class)),
            "latency": stages(self),
            "workers": self.turns(),
            "audio": by_class(|class| self.audio_of(class)),
            "ring_high_water_ms": {
                "uplink": self.totals.high_water_ms[0],
                "downlink": self.totals.high_water_ms[1],
            },
            "model": self.model(),
            "tools": self.tools(),
            "limits": self.limits(),
            "refusals": labelled(&self.shared.refusals),
            "lost": {
                "letters": self.totals.letters_lost,
                "log_lines": self.shared.log_lines_lost.load(Ordering::Relaxed),
                "transcript_lines": self.totals.transcript_lines_lost,
            },
        })
        .to_string()
    }

    fn calls_of(&self, class: usize) -> Value {
        let totals = self.totals;
        json!({
            "active": totals.active[class],
            "started": totals.started[class],
            "ended": totals.ended[class].iter().sum::<u64>(),
            "states": all(&State::LABELS, &totals.states[class]),
            "endings": happened(&Ending::LABELS, &totals.ended[class]),
            "barge_ins": totals.tally[class].barge_ins,
            "oddities": happened(&Oddity::LABELS, &totals.tally[class].oddities),
            "slo_missed": all(&slo::Stage::LABELS, &totals.slo_missed[class]),
        })
    }

    fn audio_of(&self, class: usize) -> Value {
        let tally = &self.totals.tally[class];
        json!({ "uplink": flow(&tally.uplink), "downlink": flow(&tally.downlink) })
    }

    /// Each media thread: its calls, its letters, how long its turns were.
    fn turns(&self) -> Vec<Value> {
        let process = &self.process;
        let letters: BTreeMap<&str, usize> =
            process.letters.iter().map(|(thread, count)| (thread.as_str(), *count)).collect();
        let of_worker = |(worker, turns): (usize, &Histogram<u64>)| {
            let mut told = quantiles(turns);
            told.insert("calls".into(), json!(process.calls_on.get(worker)));
            told.insert("letters".into(), json!(letters.get(format!("worker-{worker}").as_str())));
            Value::Object(told)
        };
        self.window.turns.iter().enumerate().map(of_worker).collect()
    }

    /// Connections to the model: those of calls, those ahead of them, what became of others.
    fn model(&self) -> Value {
        let shared = self.shared;
        let mut lines = self.totals.tally[0].lines;
        self.totals.tally[1..].iter().for_each(|tally| lines.add(&tally.lines));
        let swaps = lines.swaps.map(|by_cause| by_cause.iter().sum::<u64>());
        json!({
            "open": self.totals.lines_open,
            "ahead": shared.lines_ahead.load(Ordering::Relaxed),
            "dials_waiting": shared.dials_waiting.load(Ordering::Relaxed),
            "dials_under_way": shared.dials_under_way.load(Ordering::Relaxed),
            "dials": labelled(&shared.dials),
            "made_ahead": labelled(&shared.ahead),
            "swaps": all(&Kind::LABELS, &swaps),
            "given_up": happened(&Cause::LABELS, &lines.given_up),
            "closes": happened(&Lines::CODE_LABELS, &lines.closes_by_code),
            "quota_shedding": shared.quota.sheds(Nanos::ZERO.plus(self.process.uptime)),
        })
    }

    fn tools(&self) -> Vec<Value> {
        let tool = |(name, account): (String, super::ToolCount)| {
            json!({
                "name": name,
                "calls": account.count,
                "seconds": account.seconds,
                "outcomes": happened(&ToolOutcome::LABELS, &account.outcomes),
            })
        };
        self.shared.tools.all().into_iter().map(tool).collect()
    }

    /// What is used of what there is.
    fn limits(&self) -> Vec<Value> {
        let process = &self.process;
        let fullest = process.calls_on.iter().max().copied().unwrap_or(0);
        let queue = process.letters.iter().map(|&(_, letters)| letters).max().unwrap_or(0);
        let dials = self.shared.dials_under_way.load(Ordering::Relaxed);
        let count = |count: usize| count as u64;
        let limits = [
            ("calls", count(process.calls_on.iter().sum()), count(process.calls_max)),
            ("calls on one worker", count(fullest), count(process.calls_max_per_worker)),
            ("lines being dialled", count(dials), count(DIALS_AT_ONCE)),
            ("letters in the fullest box", count(queue), count(MAILBOX_LETTERS)),
            ("descriptors", process.descriptors.unwrap_or(0), process.descriptors_max.unwrap_or(0)),
        ];
        let known = limits.into_iter().filter(|&(_, _, max)| max > 0);
        known.map(|(name, used, max)| json!({"name": name, "used": used, "max": max})).collect()
    }
}

fn flow(flow: &Flow) -> Value {
    json!({
        "messages_in": flow.messages_in,
        "messages_out": flow.messages_out,
        "samples_in": flow.samples_in,
        "silence_in": flow.silence_in,
        "samples_out": flow.samples_out,
        "queued": flow.queued,
        "dropped": happened(&Dropped::LABELS, &flow.dropped),
    })
}

fn stages(page: &Page<'_>) -> Value {
    let stage = |stage: Stage| {
        let histogram = page.window.histograms.of(stage);
        let mut told = quantiles(histogram);
        told.insert("bins".into(), json!(bins(histogram)));
        (stage.label().to_owned(), Value::Object(told))
    };
    Value::Object(Stage::ALL.into_iter().map(stage).collect())
}

/// Count, quantiles and maximum, in microseconds; `null` where nothing was measured.
fn quantiles(histogram: &Histogram<u64>) -> Map<String, Value> {
    let us = |ns: u64| (!histogram.is_empty()).then_some(ns as f64 / 1e3);
    let at = |quantile| us(histogram.value_at_quantile(quantile).min(histogram.max()));
    let told = [
        ("p50_us", at(0.5)),
        ("p90_us", at(0.9)),
        ("p99_us", at(0.99)),
        ("p99_9_us", at(0.999)),
        ("max_us", us(histogram.max())),
    ];
    let told = told.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    told.chain([("count".to_owned(), json!(histogram.len()))]).collect()
}

/// How many latencies lie in each bin that has any: number of the bin, count. Bin `n` begins at
/// 10^(n/8) microseconds, the first one at nothing.
fn bins(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut bins = BTreeMap::<u64, u64>::new();
    for step in histogram.iter_recorded() {
        let above = (step.value_iterated_to() as f64 / FIRST_BIN_NS).max(1.0);
        let bin = (above.log10() * BINS_PER_DECADE) as u64;
        *bins.entry(bin).or_default() += step.count_at_value();
    }
    bins.into_iter().collect()
}

fn by_class(of: impl Fn(usize) -> Value) -> Value {
    let classes = Class::ALL.into_iter().enumerate();
    Value::Object(classes.map(|(at, class)| (class.label().to_owned(), of(at))).collect())
}

fn all(labels: &[&str], counts: &[u64]) -> Value {
    let counts = labels.iter().zip(counts);
    Value::Object(counts.map(|(&label, &count)| (label.to_owned(), json!(count))).collect())
}

fn happened(labels: &[&str], counts: &[u64]) -> Value {
    let counts = labels.iter().zip(counts).filter(|&(_, &count)| count > 0);
    Value::Object(counts.map(|(&label, &count)| (label.to_owned(), json!(count))).collect())
}

fn labelled(counts: &Labelled) -> Value {
    let counts = counts.all().into_iter();
    Value::Object(counts.map(|(label, count)| (label.to_owned(), json!(count))).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Build, Figures, Process, Shared, Window};

    fn told(totals: &Figures, window: &Window) -> Value {
        let (shared, build) = (Shared::default(), Build::default());
        let process = Process {
            calls_on: vec![3, 4],
            calls_max: 10,
            letters: vec![("worker-1".into(), 9)],
            ..Process::default()
        };
        let page = Page { totals, window, shared: &shared, process, build: &build };
        serde_json::from_str(&page.render_json()).unwrap()
    }

    #[test]
    fn an_idle_relay_tells_no_latency_and_every_state() {
        let told = told(&Figures::default(), &Window::new(2));
        assert_eq!(told["latency"]["uplink"]["p99_us"], Value::Null);
        assert_eq!(told["latency"]["uplink"]["bins"], json!([]));
        let states = told["calls"]["twilio"]["states"].as_object().unwrap();
        assert_eq!(states.len(), State::COUNT);
        assert_eq!(told["calls"]["web"]["endings"], json!({}), "what never happened is left out");
        assert_eq!(told["workers"][1]["letters"], 9);
        assert_eq!(told["limits"][0], json!({"name": "calls", "used": 7, "max": 10}));
        let named = told["limits"].as_array().unwrap();
        let no_bound = ["calls on one worker", "descriptors"];
        assert!(named.iter().all(|limit| !no_bound.contains(&limit["name"].as_str().unwrap())));
    }

    #[test]
    fn every_latency_is_in_one_bin_and_the_bins_have_the_bounds_they_say() {
        let mut window = Window::new(1);
        let latencies_us = [1, 2, 9, 11, 99, 101, 999, 1_001, 20_000, 1_000_000, 50_000_000];
        for us in latencies_us {
            window.histograms.record(Stage::Downlink, Duration::from_micros(us));
        }
        let told = told(&Figures::default(), &window);
        let bins = told["latency"]["downlink"]["bins"].as_array().unwrap();
        let counted: u64 = bins.iter().map(|bin| bin[1].as_u64().unwrap()).sum();
        assert_eq!(counted, latencies_us.len() as u64);
        let within = |low: f64, high: f64| -> u64 {
            let begins = |bin: &Value| 10f64.powf(bin[0].as_f64().unwrap() / BINS_PER_DECADE);
            let inside = bins.iter().filter(|bin| (low..high).contains(&begins(bin)));
            inside.map(|bin| bin[1].as_u64().unwrap()).sum()
        };
        assert_eq!((within(1.0, 10.0), within(10.0, 100.0), within(100.0, 1e3)), (3, 2, 2));
    }
}
