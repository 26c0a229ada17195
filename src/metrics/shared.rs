//! Counters of the threads that see no frame: connections, answers, refusals, dials.
//!
//! Counted a few times a call, so a lock is in nobody's way; never touched by a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Kept, Lateness, Quota};

/// A family of counters, one a label. Labels are words of the program, never of a peer, so their
/// number is bounded.
#[derive(Debug, Default)]
pub struct Labelled {
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Labelled {
    /// Counts one `label`.
    pub fn count(&self, label: &'static str) {
        self.add(label, 1);
    }

    /// Counts `label` so many times.
    pub fn add(&self, label: &'static str, times: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(label).or_default() += times;
    }

    /// Every label counted so far, in alphabetical order.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&label, &count)| (label, count)).collect()
    }

    /// How often `label` was counted.
    pub fn of(&self, label: &str) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(label).copied().unwrap_or(0)
    }
}

/// Checks of what proves that a request or a stream is the carrier's, by what was checked.
#[derive(Debug, Default)]
pub struct Signatures {
    /// Signatures of webhooks: `valid`, `not_checked`, and the faults by
    /// [`crate::wire::signature::SignatureError::label`].
    pub webhook: Labelled,
    /// Signatures of handshakes, the same.
    pub handshake: Labelled,
    /// Per-call tokens of streams: `valid`, or what is wrong with them.
    pub token: Labelled,
}

impl Signatures {
    /// The families, by name.
    pub fn families(&self) -> [(&'static str, &Labelled); 3] {
        [("webhook", &self.webhook), ("handshake", &self.handshake), ("token", &self.token)]
    }
}

/// What the journal of conversations counts.
#[derive(Debug, Default)]
pub struct JournalCounts {
    /// Entries: `written`, `replaced` by a newer one before that, `superseded` by another process
    /// that goes on with the conversation, `refused` by the store, to be tried again, `lost` for
    /// want of room.
    pub entries: Labelled,
    /// Questions, by what the store knew: `nothing`, `waits`, `claimed`, `over`, `held` by another
    /// process that lives, `too_long`, `unreadable`, `other_form`, `error`; and of those that did
    /// not come in time, `late`, or were too many, `full`.
    pub recalls: Labelled,
    /// How long the oldest entry of the last batch had waited when the store had taken or refused
    /// it, in milliseconds.
    pub lag_ms: AtomicU64,
}

/// What the accept and dial threads count.
#[derive(Debug, Default)]
pub struct Shared {
    /// Connections: `accepted`, and why others were closed at once or cut.
    pub connections: Labelled,
    /// TLS on the listening side.
    pub tls: super::TlsCounts,
    /// Answers by status, as digits.
    pub answers: Labelled,
    /// Requests that were no HTTP, or none that we take, by fault.
    pub http_faults: Labelled,
    /// Who proved to be the carrier, and who did not.
    pub signatures: Signatures,
    /// Calls not let in, by [`crate::call::Refusal::label`].
    pub refusals: Labelled,
    /// Conversations whose phone was lost: `kept` for their callers, `taken_up` by them from this
    /// process's memory or, counted as `recalled` too, from the journal; `elsewhere`, by another
    /// process, whose stream goes before ours;
    /// `nothing_left` or `unknown` where one came back to none, `forgotten` when their time was
    /// over.
    pub comebacks: Labelled,
    /// The journal of conversations.
    pub journal: JournalCounts,
    /// Upgrades, by what was told of the class: `twilio`, `web`, `unknown`.
    pub upgrades: Labelled,
    /// Lines: `ready`, `cancelled` by a call that ended first, and the faults by
    /// [`crate::call::LineFault::LABELS`], one an attempt.
    pub dials: Labelled,
    /// Sessions made ahead of their calls, by what became of them: `made`, `used`, `adopted`,
    /// `expired`, `forgotten`, `changed`, `lost`, `failed`, `no_room`, `quota`.
    pub ahead: Labelled,
    /// Closes by the model before it was ready, by class of reason.
    pub dial_closes: Labelled,
    /// Whether new calls are turned away because a quota of the model's is used up.
    pub quota: Quota,
    /// How late the media threads are, once there are any.
    pub lateness: OnceLock<Arc<Lateness>>,
    /// Calls of tools.
    pub tools: super::tools::ToolCounts,
    /// Orders for a line to the model that wait for one of the dial thread's places, and those that
    /// have one. Told by the dial thread once a turn.
    pub dials_waiting: AtomicUsize,
    /// See `dials_waiting`.
    pub dials_under_way: AtomicUsize,
    /// What the threads count that write files of calls.
    pub kept: Kept,
    /// Sessions that are ready and wait for their calls. Told by the dial thread once a turn.
    pub lines_ahead: AtomicUsize,
    /// Readings of the configuration while running: `applied`, `refused`.
    pub config_reloads: Labelled,
    /// Log lines of calls that strangers caused, beyond what is written of them, by event.
    pub log_lines_left_out: Labelled,
    /// Log lines that nobody read in time.
    pub log_lines_lost: Arc<AtomicU64>,
}
