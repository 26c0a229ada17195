//! The model's session, which outlives its connections: when a connection is given up, what
//! follows, how long it is tried.
//!
//! ```text
//! up ── goAway, age, watchdog ──> closing ──┐
//! up ── close, break, silence ──────────────┴─> pausing ─> dialling ─> up
//!                                                  ^── no line ──┘
//! ```
//! In:       how a connection ended, resumption updates, the fate of each new line, the time.
//! Out:      [`Wish`]es: dial so, forget the old connection, give up.
//! Bounds:   those of [`Timers`]: the outage, lines in a row and in a call; announced ends in a
//!           row; of each kind of end its own ([`Remedy`]).
//! Not here: bytes, audio, messages; what the call does meanwhile (`call::swap`).

use std::sync::Arc;
use std::time::Duration;

use super::events::{LineFault, Revival};
use crate::clock::Nanos;
use crate::config::{Secret, SwapOrder, Timers};
use crate::limits::{HANDLE_BYTES_MAX, SPARE_KEPT};
use crate::wire::gemini::CloseClass;

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The model closed it, or sent an error.
    Closed(CloseClass),
    /// It broke.
    Lost,
    /// Nothing came from it.
    Silent,
    /// What came was no WebSocket, or made no sense too often.
    Broke,
    /// The model announced its end.
    GoAway,
    /// The model did not answer the caller.
    Unanswered,
    /// A session that was taken up again did not answer at all.
    Poisoned,
    /// The model stopped though nobody had spoken, and said nothing more.
    Phantom,
    /// What it said was a tone, or noise.
    Tone,
    /// The caller's own connection was lost, and he is back on another.
    Returned,
}

impl Cause {
    /// How many labels there are.
    pub const COUNT: usize = 10;

    /// The labels, by [`Cause::index`].
    pub const LABELS: [&'static str; Cause::COUNT] = [
        "closed",
        "lost",
        "silent",
        "broke",
        "go_away",
        "unanswered",
        "poisoned",
        "phantom",
        "tone",
        "returned",
    ];

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        match self {
            Cause::Closed(_) => 0,
            Cause::Lost => 1,
            Cause::Silent => 2,
            Cause::Broke => 3,
            Cause::GoAway => 4,
            Cause::Unanswered => 5,
            Cause::Poisoned => 6,
            Cause::Phantom => 7,
            Cause::Tone => 8,
            Cause::Returned => 9,
        }
    }

    /// The word for it in figures and in the log.
    pub const fn label(self) -> &'static str {
        Cause::LABELS[self.index()]
    }

    /// What is done about it; `None`: nothing helps.
    pub const fn remedy(self) -> Option<Remedy> {
        let class = match self {
            Cause::Closed(class) => class,
            Cause::Poisoned | Cause::Phantom | Cause::Tone => {
                return Some(Remedy { resumes: 0, ..STANDARD });
            }
            Cause::Unanswered => return Some(Remedy { resumes: 1, ..STANDARD }),
            Cause::Lost | Cause::Silent | Cause::Broke | Cause::GoAway | Cause::Returned => {
                return Some(STANDARD);
            }
        };
        match class {
            CloseClass::Key
            | CloseClass::Quota
            | CloseClass::NotFound
            | CloseClass::Field
            | CloseClass::Policy => None,
            // The audio we hold may be what it did not take.
            CloseClass::Argument => {
                Some(Remedy { resumes: 1, freshes: 1, drops_audio: true, ..STANDARD })
            }
            CloseClass::Unsupported => Some(Remedy { resumes: 1, ..STANDARD }),
            CloseClass::Unavailable => Some(Remedy { resumes: 1, waits: true, ..STANDARD }),
            CloseClass::Internal => Some(Remedy { waits: true, ..STANDARD }),
            // It meant to end: asked once whether it really did.
            CloseClass::Normal => Some(Remedy { resumes: 1, freshes: 1, lines: 1, ..STANDARD }),
            CloseClass::Aborted | CloseClass::Deadline | CloseClass::Lost | CloseClass::Other => {
                Some(STANDARD)
            }
        }
    }
}

/// What is done about the end of a connection. Counts start anew once a line has held for
/// [`Timers::proven`], and with an end of another kind: lines in a row are counted over all kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// So often the session is taken up again by its handle, before a new one is begun.
    pub resumes: u32,
    /// So often a new session may be begun.
    pub freshes: u32,
    /// Lines that may be had, of either kind.
    pub lines: u32,
    /// The first attempt waits as well.
    pub waits: bool,
    /// Caller audio that waits is dropped.
    pub drops_audio: bool,
}

const STANDARD: Remedy =
    Remedy { resumes: 2, freshes: u32::MAX, lines: u32::MAX, waits: false, drops_audio: false };

/// What the session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The old connection has had its time to answer our close: it is dropped.
    Abandon,
    /// Another line.
    Dial(Kind),
    /// There will be no other line.
    GiveUp,
}

/// How a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same one, by its handle.
    Resume,
    /// A new one, told what was said before.
    Fresh,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 2;

    /// The labels, in their order.
    pub const LABELS: [&'static str; Kind::COUNT] = ["resume", "fresh"];

    /// The word for it in figures and in the log.
    pub const fn label(self) -> &'static str {
        Kind::LABELS[self as usize]
    }
}

/// A swap that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Swap {
    cause: Cause,
    since: Nanos,
    stage: Stage,
    /// Lines asked for.
    dials: u32,
    /// The first attempt waits so long.
    wait: Duration,
    /// The old connection stays open until the new one is up, or cannot be had.
    keeps_old: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Our close is written; the old connection may still answer.
    Closing { until: Nanos },
    /// The next attempt begins then.
    Pausing { until: Nanos },
    /// A line was asked for.
    Dialling { kind: Kind },
}

/// A swap that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swapped {
    pub(super) kind: Kind,
    pub(super) cause: Cause,
    /// Since the old connection was given up.
    pub(super) since: Nanos,
}

impl Swapped {
    /// Whether the session is the one it was.
    pub(super) fn is_resumed(self) -> bool {
        self.kind == Kind::Resume
    }
}

/// Lines that a call may still lose without notice: one is regained after every
/// [`Timers::regain`].
#[derive(Clone, Copy, Debug)]
struct Budget {
    spent: usize,
    /// When the last one was regained, or the first one spent.
    since: Nanos,
}

impl Budget {
    /// Spends one, if there is one.
    fn spend(&mut self, now: Nanos, timers: &Timers) -> bool {
        let regained = now.since(self.since).as_nanos() / timers.regain.as_nanos();
        let regained = usize::try_from(regained).unwrap_or(usize::MAX).min(self.spent);
        self.spent -= regained;
        self.since = match self.spent {
            0 => now,
            _ => self.since.plus(timers.regain.saturating_mul(regained as u32)),
        };
        if self.spent >= timers.per_call {
            return false;
        }
        self.spent += 1;
        true
    }
}

/// The session of one call.
#[derive(Debug)]
pub(super) struct Session {
    timers: Arc<Timers>,
    order: SwapOrder,
    /// The newest with which the session can be taken up again.
    handle: Option<Secret>,
    /// See [`Session::handle_changes`].
    handle_changes: u32,
    up_since: Nanos,
    /// Whether the last update of this connection said that the session can be taken up again.
    resumable: bool,
    /// The model announced the connection's end: it is given up by then.
    rotate_by: Option<Nanos>,
    /// Since when the connection is old enough to be replaced at a good moment; `None`: it is not.
    aged: Option<Nanos>,
    /// Whether the model was heard on this connection.
    heard: bool,
    swap: Option<Swap>,
    /// Since a line has last held for [`Timers::proven`]: connections given up without notice,
    /// resumptions asked for, lines had.
    row: usize,
    /// What `resumes`, `freshes` and `lines` count the remedies of.
    counted: Option<Cause>,
    resumes: u32,
    freshes: u32,
    lines: u32,
    budget: Budget,
    /// Connections whose end was announced before they had held for [`Timers::proven`], one after
    /// the other; of these, since when none has been heard on, and how many.
    early: usize,
    unheard_since: Nanos,
    unheard: u32,
    rng: fastrand::Rng,
}

impl Session {
    /// Before its first connection. `seed`: of the jitter.
    pub(super) fn new(seed: u64, timers: Arc<Timers>, order: SwapOrder) -> Session {
        Session {
            timers,
            order,
            handle: None,
            handle_changes: 0,
            up_since: Nanos::ZERO,
            resumable: false,
            rotate_by: None,
            aged: None,
            heard: false,
            swap: None,
            row: 0,
            counted: None,
            resumes: 0,
            freshes: 0,
            lines: 0,
            budget: Budget { spent: 0, since: Nanos::ZERO },
            early: 0,
            unheard_since: Nanos::ZERO,
            unheard: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Before its first connection, it goes on with the session that this handle stands for; one
    /// without is begun anew.
    pub(super) fn inherit(&mut self, now: Nanos, handle: Option<Secret>) {
        self.handle = handle;
        self.swap = Some(Swap {
            cause: Cause::Returned,
            since: now,
            stage: Stage::Pausing { until: now },
            dials: 0,
            wait: Duration::ZERO,
            keeps_old: false,
        });
    }

    /// The newest handle.
    pub(super) fn handle(&self) -> Option<&Secret> {
        self.handle.as_ref()
    }

    /// How often another handle became the newest, or the session's could no longer be used. Wraps.
    pub(super) fn handle_changes(&self) -> u32 {
        self.handle_changes
    }

    /// The session cannot be taken up again.
    fn drop_handle(&mut self) {
        if self.handle.take().is_some() {
            self.handle_changes = self.handle_changes.wrapping_add(1);
        }
    }

    /// The newest handle, for whoever goes on with the session.
    pub(super) fn take_handle(&mut self) -> Option<Secret> {
        self.handle.take()
    }

    /// From now on with the timers of the agent that has been chosen.
    pub(super) fn set_timers(&mut self, timers: Arc<Timers>) {
        self.timers = timers;
    }

    /// A connection is up. Returns the swap it ends; `None` for a call's first.
    pub(super) fn came_up(&mut self, now: Nanos) -> Option<Swapped> {
        self.up_since = now;
        (self.resumable, self.rotate_by) = (false, None);
        (self.aged, self.heard) = (None, false);
        let swap = self.swap.take()?;
        let Stage::Dialling { kind } = swap.stage else { return None };
        if swap.cause == Cause::GoAway {
            // Announced, and done: no part of a row.
            self.resumes = self.resumes.saturating_sub(u32::from(kind == Kind::Resume));
        } else {
            self.lines += 1;
        }
        if kind == Kind::Fresh {
            self.freshes += 1;
            self.drop_handle();
        }
        Some(Swapped { kind, cause: swap.cause, since: swap.since })
    }

    /// A `sessionResumptionUpdate`; `handle`: only one with which the session may be resumed. One
    /// that is too long is no handle of theirs, and ours stays the newest.
    pub(super) fn updated(&mut self, handle: Option<&str>) {
        let handle = handle.filter(|handle| handle.len() <= HANDLE_BYTES_MAX);
        self.resumable = handle.is_some();
        if let Some(handle) = handle
            && self.handle.as_ref().is_none_or(|held| held.reveal() != handle)
        {
            self.handle = Some(Secret::new(handle.to_owned()));
            self.handle_changes = self.handle_changes.wrapping_add(1);
        }
    }

    /// The model announced the connection's end. Returns whether a connection may be made ahead:
    /// it is the first announcement, there is time, and none is kept that was made for its age.
    pub(super) fn go_away(&mut self, now: Nanos, time_left: Duration) -> bool {
        let timers = &self.timers;
        let wait = match time_left {
            soon if soon < timers.go_away_now => Duration::ZERO,
            later => later.saturating_sub(timers.go_away_margin).min(timers.go_away_wait),
        };
        let by = now.plus(wait);
        let has_none = self.aged.is_none_or(|since| now >= since.plus(SPARE_KEPT));
        let is_first = self.rotate_by.is_none() && has_none;
        self.rotate_by = Some(self.rotate_by.map_or(by, |before| before.min(by)));
        is_first && wait > Duration::ZERO
    }

    /// When the connection counts as old; never, once it does.
    pub(super) fn ages_at(&self) -> Nanos {
        match self.timers.rotate {
            Duration::ZERO => Nanos::NEVER,
            _ if self.aged.is_some() || self.rotate_by.is_some() => Nanos::NEVER,
            age => self.up_since.plus(age),
        }
    }

    /// The connection counts as old: it is replaced at the next good moment.
    pub(super) fn aged(&mut self, now: Nanos) {
        self.aged = Some(now);
    }

    /// When the connection is to be given up because its end was announced, or because of its age.
    /// `calm_at`: from when on nobody speaks and nothing is owed; `None`: somebody does.
    pub(super) fn rotation_due(&self, calm_at: Option<Nanos>) -> Nanos {
        let calm_at = calm_at.filter(|_| self.resumable).unwrap_or(Nanos::NEVER);
        match self.rotate_by {
            Some(by) => calm_at.min(by),
            None if self.aged.is_some() => calm_at,
            None => Nanos::NEVER,
        }
    }

    /// What the end of a connection is to be put down to: one that was announced is expected,
    /// unless the model says that something else is wrong.
    pub(super) fn attribute(&self, cause: Cause) -> Cause {
        let expected = matches!(
            cause,
            Cause::Lost
                | Cause::Silent
                | Cause::Closed(
                    CloseClass::Normal
                        | CloseClass::Deadline
                        | CloseClass::Aborted
                        | CloseClass::Unavailable
                        | CloseClass::Other
                )
        );
        let announced = self.rotate_by.is_some();
        if announced && expected { Cause::GoAway } else { cause }
    }

    /// The model was heard on this connection.
    pub(super) fn was_heard(&mut self, now: Nanos) {
        (self.heard, self.unheard) = (true, 0);
        self.proven(now);
    }

    /// The line has shown that it is good: it held, or the model was heard on it. Once it has held
    /// for [`Timers::proven`], counts start anew.
    pub(super) fn proven(&mut self, now: Nanos) {
        if now >= self.up_since.plus(self.timers.proven) {
            (self.row, self.resumes, self.freshes, self.lines) = (0, 0, 0, 0);
        }
    }

    /// Whether a line is wanted at this moment.
    pub(super) fn awaits_line(&self) -> bool {
        matches!(self.swap, Some(Swap { stage: Stage::Dialling { .. }, .. }))
    }

    /// The connection is given up. `is_open`: it has not ended by itself. Returns the remedy;
    /// `None` if there is none, or the budget is spent.
    pub(super) fn give_up_line(
        &mut self,
        now: Nanos,
        cause: Cause,
        is_open: bool,
    ) -> Option<Remedy> {
        if !matches!(cause, Cause::Unanswered | Cause::Poisoned | Cause::Phantom | Cause::Tone) {
            self.proven(now);
        }
        let remedy = cause.remedy()?;
        if self.counted.replace(cause) != Some(cause) {
            (self.resumes, self.freshes, self.lines) = (0, 0, 0);
        }
        let wait = match cause {
            Cause::GoAway => self.note_rotation(now)?,
            _ if self.row == self.timers.in_a_row => return None,
            _ if !self.budget.spend(now, &self.timers) => return None,
            _ => {
                self.row += 1;
                if remedy.waits { self.backoff(0) } else { Duration::ZERO }
            }
        };
        if self.lines >= remedy.lines {
            return None;
        }
        if remedy.resumes == 0 {
            self.drop_handle();
        }
        let keeps_old = is_open
            && self.order == SwapOrder::SetupFirst
            && matches!(cause, Cause::GoAway | Cause::Unanswered);
        let stage = match is_open && !keeps_old {
            true => Stage::Closing { until: now.plus(self.timers.close) },
            false => Stage::Pausing { until: now.plus(wait) },
        };
        self.swap = Some(Swap { cause, since: now, stage, dials: 0, wait, keeps_old });
        Some(remedy)
    }

    /// Whether the old connection stays open until the new one is up.
    pub(super) fn keeps_old(&self) -> bool {
        self.swap.is_some_and(|swap| swap.keeps_old)
    }

    /// The old connection, kept so far, is being closed.
    pub(super) fn old_closing(&mut self, now: Nanos) {
        let until = now.plus(self.timers.close);
        let Some(swap) = &mut self.swap else { return };
        swap.keeps_old = false;
        // While a line is being dialled, whoever has the old one drops it in time.
        if let Stage::Pausing { .. } = swap.stage {
            swap.stage = Stage::Closing { until };
        }
    }

    /// Another announced end. Returns how long the next line waits: a service that sends everybody
    /// away at once is dialled ever more slowly, and not for ever.
    fn note_rotation(&mut self, now: Nanos) -> Option<Duration> {
        if now >= self.up_since.plus(self.timers.proven) {
            (self.early, self.unheard) = (0, 0);
            return Some(Duration::ZERO);
        }
        self.early += 1;
        if self.early > self.timers.early_rotations {
            return None;
        }
        if self.heard {
            return Some(Duration::ZERO);
        }
        self.unheard += 1;
        match self.unheard {
            1 => {
                self.unheard_since = now;
                Some(Duration::ZERO)
            }
            // One may be sent on more than once.
            2 | 3 => Some(Duration::ZERO),
            _ if now >= self.unheard_since.plus(self.timers.outage) => None,
            times => Some(self.backoff(times - 4)),
        }
    }

    /// The old connection is gone.
    pub(super) fn line_gone(&mut self, now: Nanos) {
        let Some(swap) = &mut self.swap else { return };
        swap.keeps_old = false;
        if let Stage::Closing { .. } = swap.stage {
            swap.stage = Stage::Pausing { until: now.plus(swap.wait) };
        }
    }

    /// The line that was asked for cannot be had. Returns whether another is tried.
    pub(super) fn no_line(&mut self, now: Nanos, fault: LineFault) -> bool {
        let Some(Swap { stage: Stage::Dialling { kind }, dials, keeps_old, .. }) = self.swap else {
            return true;
        };
        let resumed = kind == Kind::Resume;
        let is_key = match fault {
            LineFault::Refused { status } => matches!(status, 401 | 403),
            LineFault::Closed { class, .. } => class == CloseClass::Key,
            _ => false,
        };
        if keeps_old && !is_key {
            // Not while the old connection is open, then: whatever it was, that attempt was none.
            self.resumes = self.resumes.saturating_sub(u32::from(resumed));
            if let Some(swap) = &mut self.swap {
                (swap.keeps_old, swap.wait) = (false, Duration::ZERO);
                swap.stage = Stage::Closing { until: now.plus(self.timers.close) };
            }
            return true;
        }
        match fault {
            LineFault::Quota => return false,
            _ if is_key => return false,
            // The same setup was taken before: it is the handle.
            LineFault::Closed { .. } | LineFault::Refused { .. }
                if resumed && !fault.may_pass() =>
            {
                self.drop_handle();
            }
            LineFault::Closed { .. } | LineFault::Refused { .. } if !fault.may_pass() => {
                return false;
            }
            LineFault::Timeout if resumed => self.drop_handle(),
            _ => {}
        }
        let wait = match fault {
            // The service may still hold the session for the old connection.
            LineFault::Closed { class: CloseClass::Internal, .. } if resumed => {
                self.timers.resume_retry
            }
            _ => self.backoff(dials.saturating_sub(1)),
        };
        self.set_stage(Stage::Pausing { until: now.plus(wait) });
        true
    }

    /// What is due. Ask again until there is nothing.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<Wish> {
        let swap = self.swap?;
        if now >= swap.since.plus(self.timers.outage) {
            return Some(Wish::GiveUp);
        }
        match swap.stage {
            Stage::Closing { until } if now >= until => {
                self.line_gone(now);
                Some(Wish::Abandon)
            }
            Stage::Pausing { until } if now >= until => {
                let Some(kind) = self.next_kind(swap.cause) else { return Some(Wish::GiveUp) };
                self.resumes += u32::from(kind == Kind::Resume);
                let dials = swap.dials + 1;
                self.swap = Some(Swap { stage: Stage::Dialling { kind }, dials, ..swap });
                Some(Wish::Dial(kind))
            }
            _ => None,
        }
    }

    fn next_kind(&self, cause: Cause) -> Option<Kind> {
        let remedy = cause.remedy()?;
        if self.handle.is_some() && self.resumes < remedy.resumes {
            return Some(Kind::Resume);
        }
        (self.freshes < remedy.freshes).then_some(Kind::Fresh)
    }

    /// What a line of this kind is told; `summary`: what was said so far.
    pub(super) fn revival(&self, kind: Kind, summary: impl FnOnce() -> String) -> Revival {
        match (kind, &self.handle) {
            (Kind::Resume, Some(handle)) => Revival::Resume { handle: handle.clone() },
            _ => Revival::Fresh { summary: summary() },
        }
    }

    /// When [`Session::poll`] has something to say, unless something happens before.
    pub(super) fn next_due(&self) -> Nanos {
        let Some(swap) = self.swap else { return Nanos::NEVER };
        let stage = match swap.stage {
            Stage::Closing { until } | Stage::Pausing { until } => until,
            Stage::Dialling { .. } => Nanos::NEVER,
        };
        stage.min(swap.since.plus(self.timers.outage))
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(swap) = &mut self.swap {
            swap.stage = stage;
        }
    }

    /// After `failures` failures, 20 % more or less.
    fn backoff(&mut self, failures: u32) -> Duration {
        let doubled = self.timers.backoff * 2_u32.saturating_pow(failures.min(8));
        doubled.min(self.timers.backoff_max).mul_f64(0.8 + 0.4 * self.rng.f64())
    }
}
