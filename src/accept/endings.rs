//! Why calls ended, kept for the carrier's question of what follows.
//!
//! In:       webhooks answered, endings of calls that were let in; later the carrier's name of one.
//! Out:      what its caller gets now.
//! Bounds:   [`ENDINGS_MAX`], the oldest is forgotten; each for [`ENDINGS_KEPT`]; names of at most
//!           [`CALL_SID_MAX_BYTES`].
//! Not here: the TwiML that says it (`accept::carrier`).

use std::collections::{HashMap, VecDeque};

use crate::call::Ending;
use crate::clock::Nanos;
use crate::limits::{ENDINGS_KEPT, ENDINGS_MAX, SID_MAX_BYTES};
use crate::mail::Sequel;

/// The carrier's name of a call: 34 characters with Twilio, a UUID with others. The webhook of a
/// longer one is refused, and so is its stream.
pub(super) const CALL_SID_MAX_BYTES: usize = SID_MAX_BYTES;

/// The endings of the last two minutes.
#[derive(Debug, Default)]
pub(super) struct Endings {
    by_call_sid: HashMap<String, Kept>,
    /// In the order in which they are to be forgotten. A call that ended twice stands here twice;
    /// only the time that the map holds forgets it.
    oldest_first: VecDeque<(Nanos, String)>,
}

/// What is known of one call.
#[derive(Clone, Debug)]
struct Kept {
    sequel: Sequel,
    /// Until when it is kept.
    until: Nanos,
    /// Whether its caller waits for the carrier to ask us.
    owed: bool,
    /// Whether somebody has ended it; else its webhook was answered, or its phone was lost.
    has_ended: bool,
}

impl Endings {
    /// The webhook of a call was answered. Should its stream never be let in, it was our side that
    /// failed.
    pub(super) fn expect(&mut self, now: Nanos, call_sid: &str) {
        self.insert(now, call_sid.to_owned(), Sequel::Fallback, false, false);
    }

    /// The stream of a call was let in: only its own ending counts now.
    pub(super) fn forget(&mut self, call_sid: &str) {
        self.by_call_sid.remove(call_sid);
    }

    /// Keeps one ending; of two for the same call, the later. `transfer`: the number its caller is
    /// put through to. Returns what the caller gets.
    pub(super) fn keep(
        &mut self,
        now: Nanos,
        call_sid: String,
        ending: Ending,
        transfer: Option<String>,
    ) -> Sequel {
        let sequel = Sequel::of(ending, transfer);
        let owed = sequel != Sequel::Hangup;
        self.insert(now, call_sid, sequel.clone(), owed, !ending.may_return());
        sequel
    }

    /// Keeps what the process before this one knew of a call.
    pub(super) fn inherit(&mut self, now: Nanos, call_sid: String, sequel: Sequel) {
        // A call whose phone was lost there is hung up, too, but may be known to the journal.
        let has_ended = matches!(sequel, Sequel::Dial(_) | Sequel::Fallback);
        self.insert(now, call_sid, sequel, false, has_ended);
    }

    /// What every known caller gets, by the carrier's name of the call.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Sequel)> {
        self.by_call_sid.iter().map(|(call_sid, kept)| (call_sid, &kept.sequel))
    }

    /// How many callers of calls that ended at `since` or later wait to be told why.
    pub(super) fn owed(&self, since: Nanos) -> usize {
        let since = since.plus(ENDINGS_KEPT);
        let recent = self.oldest_first.iter().rev().take_while(|&&(until, _)| until >= since);
        recent
            .filter(|(until, call_sid)| {
                let kept = self.by_call_sid.get(call_sid);
                kept.is_some_and(|kept| kept.owed && kept.until == *until)
            })
            .count()
    }

    fn insert(
        &mut self,
        now: Nanos,
        call_sid: String,
        sequel: Sequel,
        owed: bool,
        has_ended: bool,
    ) {
        if call_sid.is_empty() || call_sid.len() > CALL_SID_MAX_BYTES {
            return;
        }
        self.forget_old(now);
        if self.oldest_first.len() == ENDINGS_MAX {
            self.forget_first();
        }
        let until = now.plus(ENDINGS_KEPT);
        self.oldest_first.push_back((until, call_sid.clone()));
        self.by_call_sid.insert(call_sid, Kept { sequel, until, owed, has_ended });
    }

    /// Whether it is known that somebody has ended the call: then nobody else need be asked.
    pub(super) fn has_ended(&mut self, now: Nanos, call_sid: &str) -> bool {
        self.forget_old(now);
        self.by_call_sid.get(call_sid).is_some_and(|kept| kept.has_ended)
    }

    /// Whether the relay has stopped under the call.
    pub(super) fn was_cut(&mut self, now: Nanos, call_sid: &str) -> bool {
        self.forget_old(now);
        self.by_call_sid.get(call_sid).is_some_and(|kept| kept.sequel == Sequel::Elsewhere)
    }

    /// What the caller gets. The call stays known, for a carrier that asks twice. A call nobody
    /// knows is over.
    pub(super) fn afterwards(&mut self, now: Nanos, call_sid: &str) -> Sequel {
        self.forget_old(now);
        let Some(kept) = self.by_call_sid.get_mut(call_sid) else { return Sequel::Hangup };
        kept.owed = false;
        kept.sequel.clone()
    }

    fn forget_old(&mut self, now: Nanos) {
        while self.oldest_first.front().is_some_and(|&(until, _)| until <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((until, call_sid)) = self.oldest_first.pop_front() else { return };
        if self.by_call_sid.get(&call_sid).is_some_and(|kept| kept.until == until) {
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
        endings.keep(Nanos(5), "CA1".into(), Ending::ModelLost, None);
        endings.keep(Nanos(6), "CA2".into(), Ending::CallerHungUp, None);
        for _ in 0..2 {
            assert_eq!(endings.afterwards(Nanos(7), "CA1"), Sequel::Fallback);
            assert_eq!(endings.afterwards(Nanos(7), "CA2"), Sequel::Hangup);
        }
        assert_eq!(endings.afterwards(Nanos(7), "CA3"), Sequel::Hangup);
    }

    #[test]
    fn a_call_answered_but_never_let_in_is_our_failure() {
        let mut endings = Endings::default();
        endings.expect(Nanos(5), "CA1");
        endings.expect(Nanos(5), "CA2");
        endings.forget("CA2");
        assert_eq!(endings.afterwards(Nanos(6), "CA1"), Sequel::Fallback);
        assert_eq!(endings.afterwards(Nanos(6), "CA2"), Sequel::Hangup);
    }

    #[test]
    fn a_caller_who_is_to_be_told_is_owed_it_until_the_carrier_asks() {
        let mut endings = Endings::default();
        endings.keep(Nanos(5), "CA1".into(), Ending::Drained, None);
        endings.keep(Nanos(9), "CA2".into(), Ending::Drained, None);
        endings.keep(Nanos(9), "CA3".into(), Ending::CallerHungUp, None);
        endings.expect(Nanos(9), "CA4");
        assert_eq!((endings.owed(Nanos(5)), endings.owed(Nanos(6))), (2, 1));
        endings.afterwards(Nanos(10), "CA2");
        assert_eq!((endings.owed(Nanos(5)), endings.owed(Nanos(6))), (1, 0));
    }

    #[test]
    fn a_transferred_caller_is_dialled_on_and_waited_for() {
        let mut endings = Endings::default();
        let number = || Some("+15550100".to_owned());
        endings.keep(Nanos(5), "CA1".into(), Ending::Transferred, number());
        assert_eq!(endings.owed(Nanos(5)), 1);
        assert_eq!(endings.afterwards(Nanos(6), "CA1"), Sequel::Dial("+15550100".into()));
        assert_eq!(endings.owed(Nanos(5)), 0);
        endings.keep(Nanos(7), "CA1".into(), Ending::Internal, number());
        assert_eq!(endings.afterwards(Nanos(8), "CA1"), Sequel::Fallback);
    }

    #[test]
    fn an_ending_is_forgotten_after_its_time() {
        let mut endings = Endings::default();
        endings.keep(Nanos(5), "CA1".into(), Ending::ModelLost, None);
        let last = Nanos(4).plus(ENDINGS_KEPT);
        assert_eq!(endings.afterwards(last, "CA1"), Sequel::Fallback);
        assert_eq!(endings.afterwards(last.plus(Duration::from_nanos(1)), "CA1"), Sequel::Hangup);
        assert!(endings.by_call_sid.is_empty() && endings.oldest_first.is_empty());
    }

    #[test]
    fn the_later_of_two_endings_of_one_call_counts_for_its_whole_time() {
        let mut endings = Endings::default();
        endings.keep(Nanos(0), "CA1".into(), Ending::CallerHungUp, None);
        endings.keep(Nanos(10), "CA1".into(), Ending::ModelLost, None);
        let first_over = Nanos(0).plus(ENDINGS_KEPT);
        assert_eq!(endings.afterwards(first_over, "CA1"), Sequel::Fallback);
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut endings = Endings::default();
        for call in 0..=ENDINGS_MAX {
            endings.keep(Nanos(1), format!("CA{call}"), Ending::ModelLost, None);
        }
        assert_eq!(endings.by_call_sid.len(), ENDINGS_MAX);
        assert_eq!(endings.afterwards(Nanos(1), "CA0"), Sequel::Hangup);
        assert_eq!(endings.afterwards(Nanos(1), "CA1"), Sequel::Fallback);
    }

    #[test]
    fn a_name_of_absurd_length_takes_no_memory() {
        let mut endings = Endings::default();
        endings.keep(Nanos(1), "C".repeat(CALL_SID_MAX_BYTES + 1), Ending::ModelLost, None);
        endings.keep(Nanos(1), String::new(), Ending::ModelLost, None);
        assert!(endings.by_call_sid.is_empty() && endings.oldest_first.is_empty());
    }
}
