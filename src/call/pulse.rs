//! Whether a carrier's stream still lives: its socket may outlive the call it is of.
//!
//! A tunnel, a proxy or the carrier's own edge may hold a socket open, and answer its pings,
//! minutes after the call behind it is over. So a stream lives by what only the call itself can
//! send: audio, marks, keys. Some calls bring no audio while nobody speaks. Hence after half of the
//! time the stream is asked, by a mark, which a carrier that has nothing to play returns at once.
//!
//! In:       messages of the stream, the time, `timers.media_timeout`.
//! Out:      [`Alarm`]s: ask, then give up.
//! Bounds:   one question for each silence. A carrier without marks, or one that returns only those
//!           behind audio, lives by its audio alone.
//! Not here: pings and a socket without a byte (`call`). A browser, which may be muted or type: it
//!           lives by its answers to pings.

use std::time::Duration;

use crate::clock::Nanos;

/// What is to be done about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Send something that the stream answers.
    Ask,
    /// The call is over.
    GiveUp,
}

/// When the stream was last heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    felt_at: Nanos,
    /// When it has been asked since.
    asked_at: Option<Nanos>,
}

impl Pulse {
    /// A message of the stream has come, or it has begun.
    pub(super) fn felt(&mut self, now: Nanos) {
        *self = Pulse { felt_at: now, asked_at: None };
    }

    /// When [`Pulse::poll`] has something to say, unless the stream is heard before. `timeout`: how
    /// long it may be silent; zero: for ever.
    pub(super) fn next_due(&self, timeout: Duration) -> Nanos {
        match self.asked_at {
            _ if timeout.is_zero() => Nanos::NEVER,
            None => self.felt_at.plus(timeout / 2),
            // Not from when it was heard: the question may have been late itself.
            Some(asked_at) => asked_at.plus(timeout - timeout / 2),
        }
    }

    /// What is due.
    pub(super) fn poll(&mut self, now: Nanos, timeout: Duration) -> Option<Alarm> {
        if now < self.next_due(timeout) {
            return None;
        }
        match self.asked_at.replace(now) {
            None => Some(Alarm::Ask),
            Some(_) => Some(Alarm::GiveUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn s(seconds: u64) -> Nanos {
        Nanos::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_silent_stream_is_asked_once_and_then_given_up() {
        let mut pulse = Pulse::default();
        pulse.felt(s(5));
        assert_eq!((pulse.poll(s(14), TIMEOUT), pulse.next_due(TIMEOUT)), (None, s(15)));
        assert_eq!(pulse.poll(s(15), TIMEOUT), Some(Alarm::Ask));
        assert_eq!((pulse.poll(s(24), TIMEOUT), pulse.next_due(TIMEOUT)), (None, s(25)));
        assert_eq!(pulse.poll(s(25), TIMEOUT), Some(Alarm::GiveUp));
    }

    #[test]
    fn an_answer_begins_the_time_anew() {
        let mut pulse = Pulse::default();
        for round in 0..100 {
            assert_eq!(pulse.poll(s(round * 10 + 10), TIMEOUT), Some(Alarm::Ask));
            pulse.felt(s(round * 10 + 10));
        }
    }

    #[test]
    fn a_machine_that_stood_still_lets_the_stream_answer_first() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.poll(s(300), TIMEOUT), Some(Alarm::Ask));
        assert_eq!((pulse.poll(s(309), TIMEOUT), pulse.next_due(TIMEOUT)), (None, s(310)));
    }

    #[test]
    fn without_a_bound_nobody_is_asked() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.next_due(Duration::ZERO), Nanos::NEVER);
        assert_eq!(pulse.poll(s(86_400), Duration::ZERO), None);
    }
}
