//! Which calls are read as their audio arrives, and which are read late.
//!
//! In:       how many calls there are, and one in how many is to be a probe.
//! Out:      for each number of a call, or of a session of the model, whether it is one.
//! Bounds:   at least [`PROBES_MIN`] probes; the others are read every [`LATE`].
//! Not here: reading (`carrier::caller`, `gemini::server`), which runs may do so (`run`).
//!
//! To be woken for every message costs a reader more than the message does, and the relay's sender
//! nothing less. So only the probes are read as bytes arrive: when their audio was heard is known,
//! and they alone give latencies, underruns and times of `clear`. Of the others every sample is
//! heard and judged in the same way, a little later. What either side sends does not depend on it:
//! callers and model speak by their plans, and only while nothing that could come changes what they
//! say. To the relay a caller that is read late is one whose carrier is up to [`LATE`] further away.
//! The sockets hold so much ([`RECEIVE_BUFFER_BYTES`]) that they never push back.

use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::schedule::on_grid;

/// The fewest probes, where there are as many calls.
pub const PROBES_MIN: usize = 8;

/// One in so many is a probe, where nobody says otherwise.
pub const ONE_IN: usize = 8;

/// From one reading to the next: eight frames. Below the 250 ms that a relay grants the model for
/// the answer to a close frame.
pub const LATE: Nanos = 160 * MILLIS;

/// A call is read as its audio arrives for so long at first, whichever it is: set-up, greeting, and
/// what the relay held back until then.
pub const LATE_AFTER: Nanos = 2 * SECONDS;

/// What a socket that is read late is to hold. The kernel takes twice as much, for what it keeps
/// beside the bytes, but no more than `net.core.rmem_max` doubled: its default is 208 KiB.
pub const RECEIVE_BUFFER_BYTES: usize = 192 << 10;

/// The most that a relay sends on one connection in a second of speech: 24 kHz PCM to a browser, or
/// 16 kHz in base64 to the model, and as much as a quarter besides.
const SPEECH_BYTES_PER_SECOND: usize = 60_000;

// Six times what comes between two readings: a burst after a stall fits as well.
const _: () =
    assert!(RECEIVE_BUFFER_BYTES >= 6 * SPEECH_BYTES_PER_SECOND * (LATE / MILLIS) as usize / 1000);

/// Which ones are probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probes {
    /// Their share, from 0 to 1.
    share: f64,
}

impl Default for Probes {
    /// All of them.
    fn default() -> Probes {
        Probes { share: 1.0 }
    }
}

impl Probes {
    /// One in `one_in` of so many calls, and no fewer than [`PROBES_MIN`].
    pub fn of(calls: usize, one_in: usize) -> Probes {
        // One more than asked for makes up for the unevenness of the steps.
        let least = (PROBES_MIN + 1) as f64 / calls.max(1) as f64;
        Probes { share: (1.0 / one_in.max(1) as f64).max(least).min(1.0) }
    }

    /// True if call, or session, `index` is a probe. They are spread evenly, over the run, over the
    /// phases of the schedule and over any pattern of carriers: by steps of the square root of two.
    pub fn is_one(&self, index: usize) -> bool {
        (index as f64 * std::f64::consts::SQRT_2).fract() < self.share
    }
}

/// How a connection is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As bytes arrive: its socket is registered.
    #[default]
    Prompt,
    /// At times: nobody is told when bytes arrive.
    Late {
        /// The next one.
        at: Nanos,
    },
}

impl Reading {
    /// When it is to be read next; `None`: when bytes arrive.
    pub fn next(self) -> Option<Nanos> {
        match self {
            Reading::Prompt => None,
            Reading::Late { at } => Some(at),
        }
    }

    /// True if it is to be read late and the time has come; then it is set to the next.
    pub fn is_due(&mut self, now: Nanos) -> bool {
        let Reading::Late { at } = self else { return false };
        let is_due = *at <= now;
        if is_due {
            *at = on_grid(now + LATE);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::TICK;

    fn count(calls: usize, one_in: usize) -> usize {
        let probes = Probes::of(calls, one_in);
        (0..calls).filter(|&index| probes.is_one(index)).count()
    }

    #[test]
    fn there_are_never_fewer_probes_than_the_least() {
        for calls in 0..5000 {
            assert!(count(calls, 8) >= PROBES_MIN.min(calls), "{calls}");
            assert!(count(calls, usize::MAX) >= PROBES_MIN.min(calls), "{calls}");
            assert_eq!(count(calls, 1), calls);
        }
    }

    #[test]
    fn the_share_of_probes_is_the_one_asked_for() {
        for calls in [400, 1000, 2000] {
            let off = count(calls, 8).abs_diff(calls / 8);
            assert!(off <= 3, "{calls}: {off}");
        }
    }

    #[test]
    fn every_carrier_of_a_pattern_has_its_probes() {
        let probes = Probes::of(400, 8);
        for period in 2..=8 {
            for place in 0..period {
                let of_carrier: Vec<_> = (place..400).step_by(period).collect();
                let share = of_carrier.iter().filter(|&&index| probes.is_one(index)).count();
                let expected = of_carrier.len() as f64 / 8.0;
                assert!((share as f64 - expected).abs() <= 3.0, "{place} of {period}: {share}");
            }
        }
    }

    #[test]
    fn late_reading_is_due_once_in_its_time() {
        let mut reading = Reading::Late { at: LATE };
        assert!(!reading.is_due(LATE - 1));
        assert!(reading.is_due(LATE + 3));
        assert!(!reading.is_due(LATE + 4));
        assert_eq!(reading.next(), Some(2 * LATE + TICK), "on the grid");
        assert!(!Reading::Prompt.is_due(Nanos::MAX));
    }
}
