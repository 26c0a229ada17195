//! Why calls ended, kept for the carrier's question of what follows.
//!
//! In:       endings of calls; later the carrier's name of one of them.
//! Out:      what its caller gets now.
//! Bounds:   [`ENDINGS_MAX`], the oldest is forgotten; each for [`ENDINGS_KEPT`]; names of at most
//!           [`CALL_SID_MAX_BYTES`].
//! Not here: the TwiML that says it (`accept::carrier`).

use std::collections::{HashMap, VecDeque};

use crate::call::{Afterwards, Ending};
use crate::clock::Nanos;
use crate::limits::{ENDINGS_KEPT, ENDINGS_MAX};

/// The carrier's name of a call: 34 characters with Twilio, a UUID with others. A longer one is
/// not kept: its caller is hung up.
pub(super) const CALL_SID_MAX_BYTES: usize = 64;

/// The endings of the last two minutes.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// What follows, and until when it is kept.
    by_call_sid: HashMap<String, (Afterwards, Nanos)>,
    /// In the order in which they are to be forgotten. A call that ended twice stands here twice;
    /// only the time that the map holds forgets it.
    oldest_first: VecDeque<(Nanos, String)>,
}

impl Endings {
    /// Keeps one ending; of two for the same call, the later.
    pub(super) fn keep(&mut self, now: Nanos, call_sid: String, ending: Ending) {
        if call_sid.is_empty() || call_sid.len() > CALL_SID_MAX_BYTES {
            return;
        }
        self.forget_old(now);
        if self.oldest_first.len() == ENDINGS_MAX {
            self.forget_first();
        }
        let until = now.plus(ENDINGS_KEPT);
        self.oldest_first.push_back((until, call_sid.clone()));
        self.by_call_sid.insert(call_sid, (ending.afterwards(), until));
    }

    /// What the caller gets. The call stays known, for a carrier that asks twice. A call nobody
    /// knows is over.
    pub(super) fn afterwards(&mut self, now: Nanos, call_sid: &str) -> Afterwards {
        self.forget_old(now);
        self.by_call_sid.get(call_sid).map_or(Afterwards::Hangup, |&(afterwards, _)| afterwards)
    }

    fn forget_old(&mut self, now: Nanos) {
        while self.oldest_first.front().is_some_and(|&(until, _)| until <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((until, call_sid)) = self.oldest_first.pop_front() else { return };
        if self.by_call_sid.get(&call_sid).is_some_and(|&(_, kept)| kept == until) {
            self.by_call_sid.remove(&call_sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_failed_calls_caller_hears_the_fallback_as_often_as_the_carrier_asks() {
        let mut endings = Endings::default();
        endings.keep(Nanos(5), "CA1".into(), Ending::ModelLost);
        endings.keep(Nanos(6), "CA2".into(), Ending::CallerHungUp);
        for _ in 0..2 {
            assert_eq!(endings.afterwards(Nanos(7), "CA1"), Afterwards::Fallback);
            assert_eq!(endings.afterwards(Nanos(7), "CA2"), Afterwards::Hangup);
        }
        assert_eq!(endings.afterwards(Nanos(7), "CA3"), Afterwards::Hangup);
    }

    #[test]
    fn an_ending_is_forgotten_after_its_time() {
        let mut endings = Endings::default();
        endings.keep(Nanos(5), "CA1".into(), Ending::ModelLost);
        let last = Nanos(4).plus(ENDINGS_KEPT);
        assert_eq!(endings.afterwards(last, "CA1"), Afterwards::Fallback);
        assert_eq!(
            endings.afterwards(last.plus(Duration::from_nanos(1)), "CA1"),
            Afterwards::Hangup
        );
        assert!(endings.by_call_sid.is_empty() && endings.oldest_first.is_empty());
    }

    #[test]
    fn the_later_of_two_endings_of_one_call_counts_for_its_whole_time() {
        let mut endings = Endings::default();
        endings.keep(Nanos(0), "CA1".into(), Ending::CallerHungUp);
        endings.keep(Nanos(10), "CA1".into(), Ending::ModelLost);
        let first_over = Nanos(0).plus(ENDINGS_KEPT);
        assert_eq!(endings.afterwards(first_over, "CA1"), Afterwards::Fallback);
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut endings = Endings::default();
        for call in 0..=ENDINGS_MAX {
            endings.keep(Nanos(1), format!("CA{call}"), Ending::ModelLost);
        }
        assert_eq!(endings.by_call_sid.len(), ENDINGS_MAX);
        assert_eq!(endings.afterwards(Nanos(1), "CA0"), Afterwards::Hangup);
        assert_eq!(endings.afterwards(Nanos(1), "CA1"), Afterwards::Fallback);
    }

    #[test]
    fn a_name_of_absurd_length_takes_no_memory() {
        let mut endings = Endings::default();
        endings.keep(Nanos(1), "C".repeat(CALL_SID_MAX_BYTES + 1), Ending::ModelLost);
        endings.keep(Nanos(1), String::new(), Ending::ModelLost);
        assert!(endings.by_call_sid.is_empty() && endings.oldest_first.is_empty());
    }
}
