//! Nobody is left in silence: a caller who has spoken to a model that says nothing hears of it
//! within the times of the settings, or something is being done about it.
//!
//! In:       what the caller says, what the model answers, what the relay does about silence.
//! Out:      a panic when a model that owes an answer is neither asked for it nor given up.
//! Bounds:   the wait for an answer counted from the caller's last word, `owed` from his first.
//! Not here: how long another line may take (`invariants`).

use std::time::Duration;

use vocaris::clock::Nanos;
use vocaris::config::Timers;
use vocaris::limits::SPEECH_LEVEL;

use crate::reference::Sound;
use crate::world::{Phase, World};

/// So much loud audio without a pause is speech, whatever the relay thinks of single frames.
const SPEECH_MS: usize = 300;
/// So much quiet before it, and the line has no noise that speech would have to rise above.
const PAUSE_MS: usize = 60;
/// After the last sound of the model, so that nobody's words are those of one who talks along.
const ECHO_MAX: Duration = Duration::from_secs(2);
/// A timer is met by the next event.
const SLACK: Duration = Duration::from_millis(100);

/// What the model owes the caller.
pub(crate) struct Silence {
    timers: Timers,
    loud_ms: usize,
    quiet_ms: usize,
    /// The loud audio that goes on began after a pause.
    is_clear: bool,
    loud_at: Nanos,
    owed: Option<Owed>,
}

/// From the caller's first word and from the last thing that counts against the time.
#[derive(Clone, Copy)]
struct Owed {
    first: Nanos,
    last: Nanos,
}

impl Silence {
    pub(crate) fn new(timers: Timers) -> Silence {
        let nothing = (0, 0, false, Nanos::ZERO, None);
        let (loud_ms, quiet_ms, is_clear, loud_at, owed) = nothing;
        Silence { timers, loud_ms, quiet_ms, is_clear, loud_at, owed }
    }

    /// Caller audio; `wants_answer`: the line is up, and the model has long been silent.
    fn caller_said(&mut self, now: Nanos, sound: Sound, audio: &[u8], wants_answer: bool) {
        let ms = audio.len() / sound.bytes_of_ms(1);
        if sound.mean_square(audio) <= SPEECH_LEVEL * SPEECH_LEVEL {
            self.quiet_ms = if self.loud_ms > 0 { ms } else { self.quiet_ms + ms };
            self.loud_ms = 0;
            return;
        }
        if self.loud_ms == 0 {
            self.is_clear = self.quiet_ms >= PAUSE_MS;
        }
        self.loud_ms += ms;
        self.loud_at = now;
        if wants_answer && self.is_clear && self.loud_ms >= SPEECH_MS {
            self.owed.get_or_insert(Owed { first: now, last: now });
        }
        self.something_said(now);
    }

    /// Something was said that may have been meant for the model.
    pub(crate) fn something_said(&mut self, now: Nanos) {
        if let Some(owed) = &mut self.owed {
            owed.last = now;
        }
    }

    /// The model was asked for its answer, or is there again on another line.
    pub(crate) fn went_on(&mut self, now: Nanos) {
        self.owed = self.owed.map(|_| Owed { first: now, last: now });
    }

    /// Nothing is owed any more.
    pub(crate) fn settled(&mut self) {
        self.owed = None;
    }

    /// Whether the caller speaks, beyond doubt.
    pub(crate) fn is_speaking(&self, now: Nanos) -> bool {
        let is_recent = now < self.loud_at.plus(Duration::from_millis(100));
        self.is_clear && self.loud_ms >= SPEECH_MS && is_recent
    }

    /// By when something has to be done.
    fn due(&self) -> Nanos {
        let Some(Owed { first, last }) = self.owed else { return Nanos::NEVER };
        let wait = self.timers.reply.max(self.timers.resumed_reply);
        last.plus(wait).min(first.plus(self.timers.owed)).plus(SLACK)
    }
}

/// The caller's audio has reached the call.
pub(crate) fn caller_said(world: &mut World, audio: &[u8]) {
    let (now, sound) = (world.now, world.phone.sound);
    let is_silent = world.caller.as_ref().is_some_and(|caller| caller.due_bytes() == 0)
        && world.phone.dry_at.plus(ECHO_MAX) <= now;
    let wants_answer = world.phase == Phase::Live && is_silent && !world.was_deaf();
    world.silence.caller_said(now, sound, audio, wants_answer);
}

/// # Panics
/// If a caller is left in silence.
pub(crate) fn check(world: &mut World) {
    let now = world.now;
    if world.is_busy_with_tools() || world.has_jumped() {
        return world.silence.settled();
    }
    // What waits for a model that reads nothing has not been listened to.
    if world.uplink.as_ref().is_some_and(|uplink| uplink.has_group()) {
        world.silence.something_said(now);
    }
    if world.phase != Phase::Live || now <= world.silence.due() {
        return;
    }
    if world.saboteur.pretends_to_ask() {
        return world.silence.went_on(now);
    }
    panic!("the model owes an answer, and nothing is done about it");
}
