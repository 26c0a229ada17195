//! The figures as Prometheus text, exposition format 0.0.4.
//!
//! In:       the totals of all workers, the histograms of the last window, the shared counters.
//! Out:      one page of text, every family with its `HELP` and `TYPE`.
//! Bounds:   a fixed number of series: every label value is a word of the program.
//! Not here: gathering the figures (`control`), answering the request (`accept`).

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::figures::{Figures, Histograms, Stage};
use super::process::{Build, Process};
use super::record::Discarded;
use super::shared::{Labelled, Shared};
use super::slo;
use super::tools::TOOL_BUCKETS;
use super::window::Window;
use crate::call::session::{self, Cause};
use crate::call::{Class, Dropped, Ending, Flow, Lines, Nudge, Oddity, State, ToolOutcome};
use crate::clock::Nanos;
use crate::config::Carrier;
use crate::wire::gemini::CloseClass;

/// Everything a page shows.
#[derive(Clone, Debug)]
pub struct Page<'f> {
    /// Counts of all workers, and their histograms since the start.
    pub totals: &'f Figures,
    /// Latencies of the last window.
    pub window: &'f Window,
    /// Counts of the threads that see no frame.
    pub shared: &'f Shared,
    /// What the process holds.
    pub process: Process,
    /// What the program is.
    pub build: &'f Build,
}

/// Upper bounds of the latency buckets, in nanoseconds, and as `le` says them in seconds. Dense
/// where frames are (a frame lasts 20 ms), wide where sessions are set up.
const BUCKETS: [(u64, &str); 18] = [
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (10_000_000_000, "10"),
];

/// The quantiles shown of a window; the last is its longest latency.
const QUANTILES: [(f64, &str); 6] =
    [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (0.9999, "0.9999"), (1.0, "1")];

impl Page<'_> {
    /// The page as text.
    pub fn render(&self) -> String {
        let mut text = Text { out: String::with_capacity(32 * 1024) };
        self.calls(&mut text);
        self.audio(&mut text);
        self.oddities(&mut text);
        self.lines(&mut text);
        latency(&mut text, &self.totals.histograms);
        latency_window(&mut text, self.window);
        turns_window(&mut text, self.window);
        self.held_to(&mut text);
        shared(&mut text, self.shared);
        self.quota(&mut text);
        self.lateness(&mut text);
        self.kept(&mut text);
        self.process(&mut text);
        self.build(&mut text);
        text.out
    }

    fn quota(&self, text: &mut Text) {
        let quota = &self.shared.quota;
        let name = "quota_shedding";
        let help = "1: new calls are turned away because a quota of the model's is used up.";
        text.family(name, Kind::Gauge, help);
        text.sample(name, &[], u64::from(quota.sheds(Nanos::ZERO.plus(self.process.uptime))));
        let name = "quota_sheddings_total";
        text.family(name, Kind::Counter, "How often turning calls away for that began.");
        text.sample(name, &[], quota.times());
    }

    fn lateness(&self, text: &mut Text) {
        let Some(lateness) = self.shared.lateness.get() else { return };
        let now = Nanos::ZERO.plus(self.process.uptime);
        let workers: Vec<String> = (0..lateness.workers()).map(|n| n.to_string()).collect();
        let name = "worker_lateness_seconds";
        let help = "How long the turn of a media thread takes that a frame meets at any moment.";
        text.family(name, Kind::Gauge, help);
        for (at, worker) in workers.iter().enumerate() {
            let late = lateness.of(at, now).as_secs_f64();
            text.sample(name, &[("worker", worker)], late);
        }
        let name = "worker_spared";
        text.family(name, Kind::Gauge, "1: the media thread is too late for another call.");
        for (at, worker) in workers.iter().enumerate() {
            text.sample(name, &[("worker", worker)], u64::from(lateness.is_spared(at)));
        }
    }

    fn calls(&self, text: &mut Text) {
        let totals = self.totals;
        text.family("calls_active", Kind::Gauge, "Calls going on now.");
        for (class, active) in by_class(&totals.active) {
            text.sample("calls_active", &[("class", class)], active);
        }
        text.family("calls_by_state", Kind::Gauge, "Calls that have a slot, by state.");
        for (class, states) in by_class(&totals.states) {
            for (state, calls) in State::LABELS.iter().zip(states) {
                text.sample("calls_by_state", &[("class", class), ("state", state)], calls);
            }
        }
        text.family("calls_started_total", Kind::Counter, "Calls whose class became known.");
        for (class, started) in by_class(&totals.started) {
            text.sample("calls_started_total", &[("class", class)], started);
        }
        text.family("calls_ended_total", Kind::Counter, "Calls ended, by reason.");
        for (class, ended) in by_class(&totals.ended) {
            for (reason, count) in Ending::LABELS.iter().zip(ended) {
                text.sample("calls_ended_total", &[("class", class), ("reason", reason)], count);
            }
        }
        self.carriers(text);
        text.family("barge_ins_total", Kind::Counter, "How often a caller spoke over the model.");
        for (class, tally) in by_class(&totals.tally) {
            text.sample("barge_ins_total", &[("class", class)], tally.barge_ins);
        }
    }

    /// Calls by carrier. One whose stream has not begun counts as its greeting's, Twilio's if that
    /// does not tell, and as nobody's before its first message.
    fn carriers(&self, text: &mut Text) {
        let carriers = || Carrier::ALL.iter().zip(&self.totals.carriers);
        let name = "carrier_calls_active";
        text.family(name, Kind::Gauge, "Calls going on now, by carrier.");
        for (carrier, calls) in carriers() {
            text.sample(name, &[("carrier", carrier.label())], calls.active);
        }
        let name = "carrier_calls_started_total";
        text.family(name, Kind::Counter, "Calls whose class became known, by carrier.");
        for (carrier, calls) in carriers() {
            text.sample(name, &[("carrier", carrier.label())], calls.started);
        }
        let name = "carrier_calls_ended_total";
        text.family(name, Kind::Counter, "Calls ended, by carrier and reason.");
        for (carrier, calls) in carriers() {
            for (reason, count) in Ending::LABELS.iter().zip(calls.ended) {
                text.sample(name, &[("carrier", carrier.label()), ("reason", reason)], count);
            }
        }
    }

    /// The account of samples: `in + silence = out + dropped + queued`, for each class and
    /// direction, at any page.
    fn audio(&self, text: &mut Text) {
        for account in ACCOUNTS {
            text.family(account.name, account.kind, account.help);
            for (class, direction, flow) in self.flows() {
                let labels = [("class", class), ("direction", direction)];
                text.sample(account.name, &labels, (account.of)(flow));
            }
        }
        let dropped = "audio_dropped_samples_total";
        text.family(dropped, Kind::Counter, "Samples that came in and did not go on, by reason.");
        for (class, direction, flow) in self.flows() {
            for (reason, samples) in Dropped::LABELS.iter().zip(flow.dropped) {
                let labels = [("class", class), ("direction", direction), ("reason", *reason)];
                text.sample(dropped, &labels, samples);
            }
        }
    }

    /// How full rings have been, and what calls are held to.
    fn held_to(&self, text: &mut Text) {
        let name = "ring_high_water_seconds";
        let help = "The most audio that ever waited in a ring of one call, by direction.";
        text.family(name, Kind::Gauge, help);
        for (direction, ms) in ["uplink", "downlink"].iter().zip(self.totals.high_water_ms) {
            text.sample(name, &[("direction", direction)], ms as f64 / 1e3);
        }
        let name = "slo_missed_total";
        let help = "Times a call missed a bound of the log.slo_ settings, by stage.";
        text.family(name, Kind::Counter, help);
        for (class, missed) in by_class(&self.totals.slo_missed) {
            for (stage, times) in slo::Stage::LABELS.iter().zip(missed) {
                text.sample(name, &[("class", class), ("stage", stage)], times);
            }
        }
    }

    fn flows(&self) -> impl Iterator<Item = (&'static str, &'static str, &Flow)> {
        by_class(&self.totals.tally).flat_map(|(class, tally)| {
            [(class, "uplink", &tally.uplink), (class, "downlink", &tally.downlink)]
        })
    }

    fn oddities(&self, text: &mut Text) {
        let name = "oddities_total";
        text.family(name, Kind::Counter, "Messages refused or passed over, by kind.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (kind, count) in Oddity::LABELS.iter().zip(tally.oddities) {
                text.sample(name, &[("class", class), ("kind", kind)], count);
            }
        }
        let name = "unmeasured_messages_total";
        text.family(name, Kind::Counter, "Audio messages whose latency was not measured.");
        for (class, tally) in by_class(&self.totals.tally) {
            text.sample(name, &[("class", class)], tally.unmeasured);
        }
        let name = "reports_unsaid_total";
        text.family(name, Kind::Counter, "Events of calls neither logged nor written down.");
        for (class, tally) in by_class(&self.totals.tally) {
            text.sample(name, &[("class", class)], tally.unsaid);
        }
        let name = "letters_lost_total";
        text.family(name, Kind::Counter, "Letters between threads lost to a full box.");
        text.sample(name, &[], self.totals.letters_lost);
    }

    /// The model's connections: how they were given up, by what replaced, how the model closed.
    fn lines(&self, text: &mut Text) {
        let name = "model_lines_open";
        text.family(name, Kind::Gauge, "Connections to the model that calls have.");
        text.sample(name, &[], self.totals.lines_open);
        let name = "model_lines_given_up_total";
        text.family(name, Kind::Counter, "Connections to the model given up in a call, by cause.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (cause, count) in Cause::LABELS.iter().zip(tally.lines.given_up) {
                text.sample(name, &[("class", class), ("cause", cause)], count);
            }
        }
        let name = "model_swaps_total";
        text.family(name, Kind::Counter, "Connections to the model replaced, by kind and cause.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (kind, by_cause) in session::Kind::LABELS.iter().zip(tally.lines.swaps) {
                for (cause, count) in Cause::LABELS.iter().zip(by_cause) {
                    let labels = [("class", class), ("kind", *kind), ("cause", *cause)];
                    text.sample(name, &labels, count);
                }
            }
        }
        let name = "model_nudges_total";
        text.family(name, Kind::Counter, "Times a model was asked to speak, by what was missing.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (reason, count) in Nudge::LABELS.iter().zip(tally.lines.nudges) {
                text.sample(name, &[("class", class), ("reason", reason)], count);
            }
        }
        let name = "model_stream_ends_total";
        text.family(
            name,
            Kind::Counter,
            "Times a model was told that the caller's words had ended.",
        );
        for (class, tally) in by_class(&self.totals.tally) {
            text.sample(name, &[("class", class)], tally.lines.stream_ends);
        }
        let name = "model_replays_total";
        text.family(
            name,
            Kind::Counter,
            "What came or was sent once more when a session was resumed.",
        );
        for (class, tally) in by_class(&self.totals.tally) {
            let lines = &tally.lines;
            for (what, count) in
                [("transcript", lines.replayed_transcripts), ("message", lines.replayed_messages)]
            {
                text.sample(name, &[("class", class), ("what", what)], count);
            }
        }
        let name = "model_closes_total";
        text.family(name, Kind::Counter, "Connections the model ended in a call, by close code.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (code, count) in Lines::CODE_LABELS.iter().zip(tally.lines.closes_by_code) {
                text.sample(name, &[("class", class), ("code", code)], count);
            }
        }
        let name = "model_close_reasons_total";
        text.family(name, Kind::Counter, "The same, by what the model meant.");
        for (class, tally) in by_class(&self.totals.tally) {
            for (reason, count) in CloseClass::LABELS.iter().zip(tally.lines.closes_by_class) {
                text.sample(name, &[("class", class), ("reason", reason)], count);
            }
        }
    }

    /// What is written down of calls, and recorded of them. Of recordings, at any page:
    /// `taped = written + discarded + still on tape`, all at the rates the samples were taped with.
    fn kept(&self, text: &mut Text) {
        let (kept, load) = (&self.shared.kept, |count: &AtomicU64| count.load(Ordering::Relaxed));
        let name = "transcript_lines_total";
        text.family(name, Kind::Counter, "Lines of transcripts, by what became of them.");
        let outcomes = [
            ("written", load(&kept.lines_written)),
            ("box_full", self.totals.transcript_lines_lost),
            ("disk", load(&kept.lines_lost)),
        ];
        for (outcome, lines) in outcomes {
            text.sample(name, &[("outcome", outcome)], lines);
        }
        let taps = self.totals.tally.iter().map(|tally| tally.taps);
        let (taped, no_room) =
            taps.fold((0, 0), |sum, tap| (sum.0 + tap.samples, sum.1 + tap.dropped));
        let name = "recording_taped_samples_total";
        text.family(name, Kind::Counter, "Samples handed to the thread that records.");
        text.sample(name, &[], taped);
        let name = "recording_written_samples_total";
        text.family(name, Kind::Counter, "Samples written to recordings.");
        text.sample(name, &[], load(&kept.samples_written));
        let name = "recording_dropped_samples_total";
        text.family(name, Kind::Counter, "Samples that are in no recording, by reason.");
        // Nobody read the tape in time: these were never on it.
        text.sample(name, &[("reason", "tape_full")], no_room);
        for (reason, samples) in Discarded::LABELS.iter().zip(&kept.samples_discarded) {
            text.sample(name, &[("reason", reason)], load(samples));
        }
        let name = "recording_files_open";
        text.family(name, Kind::Gauge, "Recordings being written.");
        text.sample(name, &[], kept.files_open.load(Ordering::Relaxed));
        let name = "kept_files_deleted_total";
        text.family(name, Kind::Counter, "Files deleted because their time was up, by kind.");
        for (kind, files) in kept.files_deleted.all() {
            text.sample(name, &[("kind", kind)], files);
        }
    }

    /// What outlives the process.
    fn journal(&self, text: &mut Text) {
        let journal = &self.shared.journal;
        let name = "journal_entries_total";
        let help = "Entries of the journal of conversations, by what became of them.";
        text.family(name, Kind::Counter, help);
        for (outcome, entries) in journal.entries.all() {
            text.sample(name, &[("outcome", outcome)], entries);
        }
        text.sample(name, &[("outcome", "box_full")], self.totals.journal_entries_lost);
        let name = "journal_recalls_total";
        text.family(name, Kind::Counter, "Questions to the journal, by what it knew.");
        for (outcome, recalls) in journal.recalls.all() {
            text.sample(name, &[("outcome", outcome)], recalls);
        }
        let name = "journal_lag_seconds";
        let help = "How long the oldest entry of the last batch had waited for the store.";
        text.family(name, Kind::Gauge, help);
        text.sample(name, &[], journal.lag_ms.load(Ordering::Relaxed) as f64 / 1e3);
    }

    fn process(&self, text: &mut Text) {
        let process = &self.process;
        self.journal(text);
        text.family("workers", Kind::Gauge, "Media threads.");
        text.sample("workers", &[], process.workers);
        self.room(text);
        text.family("queue_letters", Kind::Gauge, "Letters waiting for a thread.");
        for (thread, letters) in &process.letters {
            text.sample("queue_letters", &[("thread", thread)], letters);
        }
        text.family("open_descriptors", Kind::Gauge, "Descriptors open.");
        if let Some(descriptors) = process.descriptors {
            text.sample("open_descriptors", &[], descriptors);
        }
        text.family("open_descriptors_max", Kind::Gauge, "Descriptors that may be open.");
        if let Some(max) = process.descriptors_max {
            text.sample("open_descriptors_max", &[], max);
        }
        text.family("uptime_seconds", Kind::Gauge, "Since the process started.");
        text.sample("uptime_seconds", &[], process.uptime.as_secs_f64());
    }

    /// Calls against their bounds, processor time and memory.
    fn room(&self, text: &mut Text) {
        let process = &self.process;
        text.family("worker_calls", Kind::Gauge, "Calls on each media thread, let in or not.");
        for (worker, calls) in process.calls_on.iter().enumerate() {
            text.sample("worker_calls", &[("worker", &worker.to_string())], calls);
        }
        text.family("calls_max", Kind::Gauge, "Calls there may be, in all and on one thread.");
        for (scope, calls) in [("all", process.calls_max), ("worker", process.calls_max_per_worker)]
        {
            text.sample("calls_max", &[("scope", scope)], calls);
        }
        let name = "process_cpu_seconds_total";
        text.family(name, Kind::Counter, "Processor time of all threads.");
        if let Some(seconds) = process.cpu_seconds {
            text.sample(name, &[], seconds);
        }
        text.family("resident_memory_bytes", Kind::Gauge, "Memory that is resident.");
        if let Some(bytes) = process.resident_bytes {
            text.sample("resident_memory_bytes", &[], bytes);
        }
    }

    fn build(&self, text: &mut Text) {
        let build = self.build;
        text.family("build_info", Kind::Gauge, "What this program is; always 1.");
        let labels = [
            ("version", build.version),
            ("revision", build.revision.unwrap_or("")),
            ("target", build.target),
            ("kernels", build.kernels.as_str()),
        ];
        text.sample("build_info", &labels, 1);
    }
}

/// One family that shows one number of each [`Flow`].
struct Account {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&Flow) -> u64,
}

const ACCOUNTS: [Account; 8] = [
    Account {
        name: "audio_in_messages_total",
        kind: Kind::Counter,
        help: "Audio messages that came in.",
        of: |flow| flow.messages_in,
    },
    Account {
        name: "audio_in_bytes_total",
        kind: Kind::Counter,
        help: "Bytes of audio that came in, without base64.",
        of: |flow| flow.bytes_in,
    },
    Account {
        name: "audio_in_samples_total",
        kind: Kind::Counter,
        help: "Samples that came in, at the rate they came in with.",
        of: |flow| flow.samples_in,
    },
    Account {
        name: "audio_silence_samples_total",
        kind: Kind::Counter,
        help: "Samples of silence put in for holes and last frames.",
        of: |flow| flow.silence_in,
    },
    Account {
        name: "audio_out_messages_total",
        kind: Kind::Counter,
        help: "Audio messages that went out.",
        of: |flow| flow.messages_out,
    },
    Account {
        name: "audio_out_bytes_total",
        kind: Kind::Counter,
        help: "Bytes of audio that went out, without base64.",
        of: |flow| flow.bytes_out,
    },
    Account {
        name: "audio_out_samples_total",
        kind: Kind::Counter,
        help: "Samples that went out, counted as they came in.",
        of: |flow| flow.samples_out,
    },
    Account {
        name: "audio_queued_samples",
        kind: Kind::Gauge,
        help: "Samples that wait.",
        of: |flow| flow.queued,
    },
];

/// Latency since the start, as Prometheus histograms. A latency is known to 0.1 % (and 0.5 us), so
/// one that close to a bound may count on its other side.
fn latency(text: &mut Text, histograms: &Histograms) {
    let name = "latency_seconds";
    text.family(name, Kind::Histogram, "Latency by stage, since the start.");
    for stage in Stage::ALL {
        let Cumulated { counts, count, sum_ns } = Cumulated::from(histograms.of(stage));
        let stage = stage.label();
        let bucket = "latency_seconds_bucket";
        for ((_, le), count) in BUCKETS.iter().zip(counts) {
            text.sample(bucket, &[("stage", stage), ("le", le)], count);
        }
        text.sample(bucket, &[("stage", stage), ("le", "+Inf")], count);
        text.sample("latency_seconds_sum", &[("stage", stage)], sum_ns / 1e9);
        text.sample("latency_seconds_count", &[("stage", stage)], count);
    }
}

/// The quantiles of the last window, read from the HDR histogram itself; none of an empty one.
fn latency_window(text: &mut Text, window: &Window) {
    let name = "latency_window_duration_seconds";
    text.family(name, Kind::Gauge, "How long the window lasts that the quantiles are of.");
    text.sample(name, &[], window.span.as_secs_f64());
    let window = &window.histograms;
    let name = "latency_window_seconds";
    text.family(name, Kind::Gauge, "Latency quantiles of the last window; 1 is the maximum.");
    for stage in Stage::ALL {
        let histogram = window.of(stage);
        if histogram.is_empty() {
            continue;
        }
        for (quantile, label) in QUANTILES {
            let ns = if quantile < 1.0 {
                histogram.value_at_quantile(quantile)
            } else {
                histogram.max()
            };
            let labels = [("stage", stage.label()), ("quantile", label)];
            text.sample(name, &labels, ns as f64 / 1e9);
        }
    }
    let name = "latency_window_measurements";
    text.family(name, Kind::Gauge, "Latencies measured in the last window.");
    for stage in Stage::ALL {
        text.sample(name, &[("stage", stage.label())], window.of(stage).len());
    }
}

/// How long the turns of each worker's loop were in the last window.
fn turns_window(text: &mut Text, window: &Window) {
    let name = "worker_turn_window_seconds";
    let help = "Quantiles of each media thread's turns in the last window; 1 is the maximum.";
    text.family(name, Kind::Gauge, help);
    for (worker, turns) in window.turns.iter().enumerate().filter(|(_, turns)| !turns.is_empty()) {
        let worker = worker.to_string();
        for (quantile, label) in [(0.5, "0.5"), (0.99, "0.99"), (1.0, "1")] {
            let seconds = turns.value_at_quantile(quantile).min(turns.max()) as f64 / 1e9;
            text.sample(name, &[("worker", &worker), ("quantile", label)], seconds);
        }
    }
}

/// A histogram in the shape of [`BUCKETS`].
struct Cumulated {
    /// Latencies up to each bound, and all below it.
    counts: [u64; BUCKETS.len()],
    /// All latencies.
    count: u64,
    /// Their sum.
    sum_ns: f64,
}

impl From<&Histogram<u64>> for Cumulated {
    fn from(histogram: &Histogram<u64>) -> Cumulated {
        let mut cumulated = Cumulated { counts: [0; BUCKETS.len()], count: 0, sum_ns: 0.0 };
        for step in histogram.iter_recorded() {
            let latency_ns = histogram.median_equivalent(step.value_iterated_to());
            let count = step.count_at_value();
            cumulated.count += count;
            cumulated.sum_ns += latency_ns as f64 * count as f64;
            let first = BUCKETS.partition_point(|&(bound_ns, _)| bound_ns < latency_ns);
            cumulated.counts[first..].iter_mut().for_each(|counted| *counted += count);
        }
        cumulated
    }
}

fn shared(text: &mut Text, shared: &Shared) {
    let help = "Checks of signatures of webhooks and handshakes, and of streams' tokens.";
    text.family("signatures_total", Kind::Counter, help);
    for (family, counted) in shared.signatures.families() {
        for (verdict, count) in counted.all() {
            let labels = [("family", family), ("verdict", verdict)];
            text.sample("signatures_total", &labels, count);
        }
    }
    labelled(text, shared);
    let name = "tls_certificate_expiry_timestamp_seconds";
    text.family(name, Kind::Gauge, "When a certificate in use expires, in seconds since 1970.");
    for (place, (certificate, expiry)) in shared.tls.expiries().into_iter().enumerate() {
        let place = place.to_string();
        let labels = [("certificate", certificate.as_str()), ("place", place.as_str())];
        text.sample(name, &labels, expiry);
    }
    let name = "dial_orders";
    text.family(name, Kind::Gauge, "Lines to the model that are waited for, by state.");
    let states = [("waiting", &shared.dials_waiting), ("under_way", &shared.dials_under_way)];
    for (state, orders) in states {
        text.sample(name, &[("state", state)], orders.load(Ordering::Relaxed));
    }
    let name = "lines_ahead";
    text.family(name, Kind::Gauge, "Sessions that are ready and wait for their calls.");
    text.sample(name, &[], shared.lines_ahead.load(Ordering::Relaxed));
    tools(text, shared);
    let name = "log_lines_lost_total";
    text.family(name, Kind::Counter, "Log lines lost because standard error took none.");
    text.sample(name, &[], shared.log_lines_lost.load(Ordering::Relaxed));
}

/// Counters of the threads beside the workers, each with one label.
fn labelled(text: &mut Text, shared: &Shared) {
    let mut family = |name, label, help, counted: &Labelled| {
        text.family(name, Kind::Counter, help);
        for (value, count) in counted.all() {
            text.sample(name, &[(label, value)], count);
        }
    };
    family(
        "connections_total",
        "event",
        "Connections accepted, closed at once, or cut.",
        &shared.connections,
    );
    let tls = &shared.tls;
    family("tls_handshakes_total", "agreed", "TLS agreed on with clients.", &tls.handshakes);
    family("tls_faults_total", "fault", "Connections that broke TLS.", &tls.faults);
    family("tls_reloads_total", "outcome", "Certificates read again.", &tls.reloads);
    family("http_answers_total", "status", "Answers to HTTP requests.", &shared.answers);
    family("http_faults_total", "fault", "Requests that were not taken.", &shared.http_faults);
    family(
        "comebacks_total",
        "outcome",
        "Conversations whose phone was lost, by what became of them.",
        &shared.comebacks,
    );
    family("refusals_total", "reason", "Calls not let in.", &shared.refusals);
    family("upgrades_total", "door", "Upgrades to WebSocket, by what was told.", &shared.upgrades);
    family(
        "config_reloads_total",
        "result",
        "Configurations read while running.",
        &shared.config_reloads,
    );
    family(
        "log_lines_left_out_total",
        "event",
        "Log lines of callers nobody let in, beyond what is written of them.",
        &shared.log_lines_left_out,
    );
    family("dials_total", "outcome", "Attempts to reach the model.", &shared.dials);
    family(
        "ahead_total",
        "outcome",
        "Sessions made ahead of their calls, by what became of them.",
        &shared.ahead,
    );
    family(
        "dial_closes_total",
        "reason",
        "Closes by the model before it was ready.",
        &shared.dial_closes,
    );
}

/// Calls of tools, by name and outcome; those that never happened are left out.
fn tools(text: &mut Text, shared: &Shared) {
    let tools = shared.tools.all();
    let name = "tool_calls_total";
    text.family(name, Kind::Counter, "Calls of tools answered, by name and outcome.");
    for (tool, account) in &tools {
        let outcomes = ToolOutcome::LABELS.iter().zip(account.outcomes);
        for (outcome, count) in outcomes.filter(|&(_, count)| count > 0) {
            text.sample(name, &[("tool", tool), ("outcome", outcome)], count);
        }
    }
    let name = "tool_call_seconds";
    text.family(name, Kind::Histogram, "From the model's call of a tool to its answer.");
    for (tool, account) in &tools {
        let bucket = "tool_call_seconds_bucket";
        for ((_, le), count) in TOOL_BUCKETS.iter().zip(account.buckets) {
            text.sample(bucket, &[("tool", tool), ("le", le)], count);
        }
        text.sample(bucket, &[("tool", tool), ("le", "+Inf")], account.count);
        text.sample("tool_call_seconds_sum", &[("tool", tool)], account.seconds);
        text.sample("tool_call_seconds_count", &[("tool", tool)], account.count);
    }
}

fn by_class<T>(counts: &[T; Class::ALL.len()]) -> impl Iterator<Item = (&'static str, &T)> {
    Class::ALL.map(Class::label).into_iter().zip(counts)
}

/// What a family is, as `TYPE` says it.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The page in the making. Names come without their prefix.
struct Text {
    out: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP vocaris_{name} {help}");
        let _ = writeln!(self.out, "# TYPE vocaris_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.out, "vocaris_{name}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{}\"", Escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{close} {value}");
    }
}

/// A label's value: backslash, quote and line feed escaped.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(totals: &Figures, histograms: &Histograms) -> String {
        let mut window = Window::new(1);
        *window.histograms = histograms.clone();
        let window = &window;
        let build = Build { version: "1.2.3", target: "somewhere", ..Build::default() };
        Page {
            totals,
            window,
            shared: &Shared::default(),
            process: Process::default(),
            build: &build,
        }
        .render()
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = Text { out: String::new() };
        text.sample("x", &[("a", "one\"two\\three\nfour")], 1);
        assert_eq!(text.out, "vocaris_x{a=\"one\\\"two\\\\three\\nfour\"} 1\n");
    }

    #[test]
    fn the_buckets_rise_and_say_their_bounds_in_seconds() {
        assert!(BUCKETS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (bound_ns, le) in BUCKETS {
            assert_eq!(le.parse::<f64>().unwrap(), bound_ns as f64 / 1e9);
        }
    }

    #[test]
    fn a_latency_counts_in_every_bucket_from_its_own_up() {
        let mut totals = Figures::default();
        totals.histograms.record(Stage::Uplink, Duration::from_millis(3));
        totals.histograms.record(Stage::Uplink, Duration::from_secs(30));
        let text = page(&totals, &Histograms::default());
        let bucket = |le| format!("latency_seconds_bucket{{stage=\"uplink\",le=\"{le}\"}}");
        for (le, count) in [("0.0025", 0), ("0.005", 1), ("10", 1), ("+Inf", 2)] {
            assert!(text.contains(&format!("vocaris_{} {count}\n", bucket(le))), "{le}");
        }
        assert!(text.contains("vocaris_latency_seconds_count{stage=\"uplink\"} 2\n"));
    }

    #[test]
    fn an_empty_window_shows_no_quantile() {
        let text = page(&Figures::default(), &Histograms::default());
        assert!(!text.contains("vocaris_latency_window_seconds{"));
        assert!(text.contains("vocaris_latency_window_measurements{stage=\"loop\"} 0\n"));
    }

    #[test]
    fn a_window_shows_its_longest_latency() {
        let mut window = Histograms::default();
        window.record(Stage::Downlink, Duration::from_millis(1));
        window.record(Stage::Downlink, Duration::from_millis(250));
        let text = page(&Figures::default(), &window);
        let longest = "vocaris_latency_window_seconds{stage=\"downlink\",quantile=\"1\"} ";
        let longest = text.split(longest).nth(1).unwrap().lines().next().unwrap();
        let seconds: f64 = longest.parse().unwrap();
        assert!((seconds - 0.25).abs() < 0.00025, "{seconds}");
    }
}
