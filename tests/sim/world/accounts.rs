//! What a simulated call gives account of beside its sound: the journal's entries, and what was
//! withheld before a greeting.
//!
//! In:       the call's wishes and figures.
//! Out:      a panic, where they do not agree with what happened.
//! Bounds:   those of `call::journal`.
//! Not here: when they are looked at (`world`).

use vocaris::call::{Dropped, Snapshot, Standing};
use vocaris::clock::Nanos;
use vocaris::limits::JOURNAL_SOON;

use super::{JOURNALLED, World};
use crate::faults::Fault;

impl World {
    /// What the caller said before a greeting, and has been answered by it.
    pub(super) fn see_what_was_withheld(&mut self) {
        let withheld = self.call.tally().uplink.dropped[Dropped::Withheld as usize];
        let Some(uplink) = &mut self.uplink else { return };
        if uplink.withhold(self.now, withheld, self.watch.has_jumped()) {
            self.dice.note(Fault::GreetingHeld);
            assert!(!self.silence.is_speaking(self.now), "words are dropped as they are said");
        }
    }

    /// What is journalled can be read again, and says last how the call stands that has ended.
    pub(super) fn journal(&mut self) {
        let entry = self.call.take_entry().expect("it was wished for");
        assert_eq!(entry.call_name.as_deref(), Some(JOURNALLED));
        assert_eq!(self.ending, None, "the end is told last");
        match &entry.standing {
            Standing::Open(snapshot) | Standing::Parted(snapshot) => {
                let json = snapshot.to_json();
                let again = Snapshot::read(&json).expect("it was written just now");
                assert_eq!(again.to_json(), json);
            }
            Standing::Closed { .. } => assert!(self.call.is_over()),
        }
        let is_open = matches!(entry.standing, Standing::Open(_));
        assert_eq!(is_open, !self.call.is_over());
        let soon = self.journalled_at.plus(JOURNAL_SOON);
        assert!(!is_open || self.journalled_at == Nanos::ZERO || self.now >= soon, "too often");
        self.journalled_at = self.now;
    }
}
