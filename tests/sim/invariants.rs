//! What must hold after every event of a simulated call, whatever its peers do.
//!
//! Not here: what is heard, sample for sample (`reference`).

use std::time::Duration;

use vocaris::call::{Dropped, Tally};
use vocaris::clock::Nanos;
use vocaris::limits::{
    AGENT_OUTPUT_MAX_BYTES, DOWNLINK_QUEUE_MS, FAREWELL_TIMEOUT, JOIN_TIMEOUT, PHONE_CLOSE_TIMEOUT,
    PHONE_DEAD, PHONE_OUTPUT_MAX_BYTES, START_TIMEOUT, UPLINK_QUEUE_MS,
};

use crate::world::{Phase, World};

/// Audio that may leave does so within this time of the phone running dry: the wait after an
/// underrun, and two frames.
const SILENCE_MAX: Duration = Duration::from_millis(150);
/// A timer is met by the next event: a frame, a ping, or itself.
const SLACK: Duration = Duration::from_millis(1);
/// Turns of the loop in a second of a call: frames of both legs, marks, timers; far below a busy
/// loop.
const TURNS_PER_SECOND_MAX: u32 = 3_000;
/// What may be written to a leg beyond its bound: messages that are never held back.
const OUTPUT_SLACK_BYTES: usize = 96 * 1024;

/// One message with caller audio, 40 ms at 16 kHz, with its frame.
const MESSAGE_MAX_BYTES: usize = 2_000;
/// By how many samples of the model an account may differ from the bytes that stand for them: the
/// last byte of a turn may stand for one more or less.
const ROUNDING_SAMPLES: u64 = 6;

/// What is kept in mind between two events.
pub(crate) struct Watch {
    lead: Duration,
    generation: u64,
    /// Audio that the phone was sent since the last `clear`.
    sent_ms: u64,
    /// A mark stands behind audio that was taken back: a `clear` has to come next.
    must_clear: bool,
    /// Since when the phone has been dry though audio was to be had.
    silent_since: Option<Nanos>,
    has_jumped: bool,
    second: Nanos,
    turns: u32,
    pub(crate) phone_output_bytes: usize,
    pub(crate) agent_output_bytes: usize,
    was_deaf: bool,
    phase: Phase,
    phase_since: Nanos,
    phone_spoke_at: Nanos,
    /// Since when the model has been sent audio and has said nothing.
    unheard_since: Option<Nanos>,
}

impl Watch {
    pub(crate) fn new(now: Nanos, lead: Duration) -> Watch {
        Watch {
            lead,
            generation: 0,
            sent_ms: 0,
            must_clear: false,
            silent_since: None,
            has_jumped: false,
            second: now,
            turns: 0,
            phone_output_bytes: 0,
            agent_output_bytes: 0,
            was_deaf: false,
            phase: Phase::Opening,
            phase_since: now,
            phone_spoke_at: now,
            unheard_since: None,
        }
    }

    pub(crate) fn clock_jumped(&mut self, now: Nanos) {
        (self.has_jumped, self.silent_since) = (true, None);
        (self.second, self.turns) = (now, 0);
    }

    pub(crate) fn was_deaf(&self) -> bool {
        self.was_deaf
    }

    pub(crate) fn has_jumped(&self) -> bool {
        self.has_jumped
    }

    /// One turn of the loop.
    pub(crate) fn count_turn(&mut self, now: Nanos) {
        if now >= self.second.plus(Duration::from_secs(1)) {
            (self.second, self.turns) = (now, 0);
        }
        self.turns += 1;
        assert!(self.turns < TURNS_PER_SECOND_MAX, "a busy loop");
    }

    pub(crate) fn audio_heard(&mut self, now: Nanos, ms: u64, dry_at: Nanos) {
        assert!(!self.must_clear, "audio behind a mark of audio that was taken back");
        self.sent_ms += ms;
        self.silent_since = None;
        let ahead = dry_at.since(now);
        let lead = self.lead.max(Duration::from_millis(20)) + Duration::from_millis(20);
        assert!(ahead <= lead || self.was_deaf, "the phone is filled {ahead:?} ahead");
    }

    pub(crate) fn cleared(&mut self) {
        self.generation += 1;
        (self.sent_ms, self.must_clear) = (0, false);
    }

    /// A mark names its generation and how much of it was sent before.
    pub(crate) fn mark_heard(&mut self, generation: u64, at_ms: u64) {
        assert_eq!(generation, self.generation, "the mark's generation");
        if at_ms != self.sent_ms {
            assert!(self.was_deaf && at_ms > self.sent_ms, "{at_ms} of {} ms", self.sent_ms);
            self.must_clear = true;
        }
    }

    /// The phone or the model has said something.
    pub(crate) fn phone_spoke(&mut self, now: Nanos) {
        self.phone_spoke_at = now;
    }

    pub(crate) fn model_spoke(&mut self) {
        self.unheard_since = None;
    }

    /// Audio is on its way to the model.
    pub(crate) fn model_was_told(&mut self, now: Nanos) {
        self.unheard_since.get_or_insert(now);
    }

    /// No state lasts for ever: what the call waits for comes, or it goes on without.
    fn check_patience(&mut self, phase: Phase, now: Nanos) {
        if self.phase != phase {
            (self.phase, self.phase_since) = (phase, now);
        }
        if self.has_jumped {
            return;
        }
        let swap = (Phase::Swapping { is_cut: false }, Phase::Swapping { is_cut: true });
        let patience = match phase {
            Phase::Opening => START_TIMEOUT,
            Phase::Waiting => JOIN_TIMEOUT,
            Phase::Live => Duration::MAX,
            it if it == swap.0 || it == swap.1 => crate::world::timers().outage,
            Phase::Leaving => Duration::from_millis(DOWNLINK_QUEUE_MS as u64) + FAREWELL_TIMEOUT,
            _ => PHONE_CLOSE_TIMEOUT,
        };
        let lasted = now.since(self.phase_since);
        assert!(lasted <= patience.saturating_add(SLACK), "{phase:?} lasts {lasted:?}");
        if phase == Phase::Over {
            return;
        }
        let silent = now.since(self.phone_spoke_at);
        assert!(silent <= PHONE_DEAD + SLACK, "the phone is silent for {silent:?}");
        let unheard = self.unheard_since.map_or(Duration::ZERO, |since| now.since(since));
        let matters = phase == Phase::Live && unheard > crate::world::timers().dead + SLACK;
        assert!(!matters, "the model is silent for {unheard:?}");
    }

    /// After everything that could be moved was moved: caller audio that waits waits for room.
    pub(crate) fn progress(world: &mut World) {
        let room_bytes =
            AGENT_OUTPUT_MAX_BYTES.saturating_sub(world.call.agent_output().len_bytes());
        if let (Phase::Live, Some(uplink)) = (world.phase, &world.uplink) {
            let is_held = world.is_blocked || uplink.may_be_held(world.now);
            let has_room = room_bytes > MESSAGE_MAX_BYTES && !is_held;
            let stuck = uplink.has_group() && has_room;
            assert!(!stuck, "caller audio waits for nothing");
        }
        let (phase, now) = (world.phase, world.now);
        world.watch_mut().check_patience(phase, now);
    }

    /// Holds the whole world against what must hold.
    pub(crate) fn check(world: &mut World) {
        let tally = world.call.tally();
        assert!(tally.uplink.balances(), "{:?}", tally.uplink);
        assert!(tally.downlink.balances(), "{:?}", tally.downlink);
        check_uplink(world, &tally);
        check_downlink(world, &tally);
        let phone_bytes = world.call.phone_output().len_bytes();
        let agent_bytes = world.call.agent_output().len_bytes();
        assert!(phone_bytes <= PHONE_OUTPUT_MAX_BYTES + OUTPUT_SLACK_BYTES, "{phone_bytes}");
        assert!(agent_bytes <= AGENT_OUTPUT_MAX_BYTES + OUTPUT_SLACK_BYTES, "{agent_bytes}");
        let now = world.now;
        let is_deaf = world.phone.is_deaf(now) || world.phone.takes != usize::MAX;
        let watch = world.watch_mut();
        watch.phone_output_bytes = phone_bytes;
        watch.agent_output_bytes = agent_bytes;
        watch.was_deaf |= is_deaf;
        check_silence(world, is_deaf);
    }
}

/// In = out + dropped, by reason, + queued: of the caller's audio, by two independent counts.
fn check_uplink(world: &mut World, tally: &Tally) {
    let Some(uplink) = &world.uplink else {
        return assert_eq!(tally.uplink.samples_in, 0, "audio before there is a stream");
    };
    let flow = &tally.uplink;
    let dropped = |why: Dropped| flow.dropped[why as usize];
    assert_eq!(flow.samples_in, uplink.samples_in, "samples in");
    assert_eq!(flow.silence_in, uplink.silence_in, "silence for holes");
    assert_eq!(dropped(Dropped::Overrun), uplink.overrun, "dropped for want of room");
    assert_eq!(dropped(Dropped::Suspect), uplink.suspect, "dropped as suspect");
    assert_eq!(dropped(Dropped::OtherTrack), uplink.other_track, "the other track");
    let waiting = world.call.agent_output().waiting_audio().samples;
    assert_eq!(flow.queued, uplink.waiting_samples() + waiting, "queued");
    assert_eq!(flow.bytes_out, world.model_took_bytes, "what the models took");
    let limit = world.phone.sound.rate_hz as usize * UPLINK_QUEUE_MS / 1_000;
    assert!(uplink.waiting_samples() as usize <= limit);
}

fn check_downlink(world: &mut World, tally: &Tally) {
    let Some(caller) = &world.caller else {
        return assert_eq!(tally.downlink.samples_in, 0, "model audio before there is a stream");
    };
    let flow = &tally.downlink;
    assert_eq!(flow.samples_in, caller.samples_in, "samples in");
    assert_eq!(flow.dropped[Dropped::Late as usize], caller.samples_late, "dropped as late");
    assert_eq!(flow.bytes_out, caller.heard_bytes, "what the phone took");
    let waiting = world.call.phone_output().waiting_audio();
    let left = flow.bytes_out + waiting.bytes;
    let queued = (!world.call.is_over()).then(|| caller.queued_samples(left));
    if let Some(expected) = queued.flatten() {
        let ring = flow.queued - waiting.samples;
        assert!(ring.abs_diff(expected) <= ROUNDING_SAMPLES, "{ring} of {expected} queued");
    }
    let limit = 24 * DOWNLINK_QUEUE_MS as u64 + 24_000 * 17;
    assert!(flow.queued <= limit, "{} samples queued", flow.queued);
}

/// Audio that may be heard is heard: silence while it waits is a timer that was lost.
fn check_silence(world: &mut World, is_deaf: bool) {
    let Some(caller) = &world.caller else { return };
    let frame = world.phone.sound_down().bytes_of_ms(20);
    let plays = matches!(world.phase, Phase::Live | Phase::Swapping { .. } | Phase::Leaving);
    let is_due = plays && !is_deaf && caller.clears_due() == 0 && caller.due_bytes() >= frame;
    if plays && !is_deaf {
        assert_eq!(caller.clears_due(), 0, "the phone was not told to clear");
    }
    let (now, dry_at) = (world.now, world.phone.dry_at);
    let watch = world.watch_mut();
    if !is_due || dry_at > now {
        return watch.silent_since = None;
    }
    let since = *watch.silent_since.get_or_insert(now);
    assert!(now <= since.plus(SILENCE_MAX), "the caller hears nothing though there is audio");
}
