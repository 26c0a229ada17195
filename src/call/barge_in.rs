//! An answer that is spoken over: it stops at once, here and at the phone, and what the caller has
//! heard of it is known.
//!
//! In:       that the model was interrupted, or that what it says is not to be heard.
//! Out:      `clear` for the phone; what was dropped, in milliseconds.
//! Not here: whose turn it is and which marks count (`turns`).

use super::{Audio, Call, Dropped, Report};
use crate::buf::Stamped;
use crate::limits::ECHO_TAIL;
use crate::wire::browser::Who;

impl Call {
    /// The caller spoke over the model.
    pub(super) fn barge_in(&mut self, with_audio: bool) {
        let heard_ms = self.heard_ms();
        self.memory.interrupted(heard_ms);
        self.tell_said(false);
        let dropped_ms = self.void_answer(Dropped::BargeIn, with_audio);
        self.phone.output.stamp(Stamped::BargeIn, self.now);
        self.tally.barge_ins += 1;
        self.report(Report::BargeIn { dropped_ms });
    }

    /// What the model was saying is not to be heard: it is thrown away, here and at the phone.
    /// Returns how much of it was here, in milliseconds.
    pub(super) fn void_answer(&mut self, why: Dropped, with_audio: bool) -> u64 {
        let void = self.settings.timers.void;
        self.turns.interrupted(self.now, void, with_audio);
        let Some(Audio { downlink, .. }) = &mut self.audio else { return 0 };
        let unsent = self.phone.output.retract_audio();
        // What has not left would have been played last.
        let heard_until = downlink.heard_until(unsent.samples);
        let queued = downlink.clear(self.now, why, &mut self.tally);
        if let Some(tap) = &mut self.tap {
            tap.cut(self.now.min(heard_until));
        }
        self.tally.downlink.take_back(unsent);
        self.tally.downlink.drop_samples(why, unsent.samples);
        let dropped_ms = downlink.ms_of(queued + unsent.samples);
        self.phone.send_clear();
        self.phone.tell_turn(Who::Caller);
        dropped_ms
    }

    /// What the caller has heard of this generation, in milliseconds: what a carrier's marks say,
    /// and where there are none, what must have been played by now.
    pub(super) fn heard_ms(&self) -> u64 {
        let (sent_ms, marked_ms) = (self.turns.sent_ms(), self.turns.heard_ms());
        let dry_at = self.audio.as_ref().map_or(self.now, |audio| audio.downlink.dry_at());
        if self.phone.returns_marks() && self.now < dry_at.plus(ECHO_TAIL) {
            return marked_ms;
        }
        sent_ms.saturating_sub(dry_at.since(self.now).as_millis() as u64)
    }

    /// Whether the caller hears the model, or its echo may still come back.
    pub(super) fn is_model_audible(&self) -> bool {
        self.audio.as_ref().is_some_and(|Audio { downlink, .. }| {
            let is_fading = self.spoken_to && downlink.dry_at().plus(ECHO_TAIL) > self.now;
            !downlink.is_empty() || is_fading
        })
    }
}
