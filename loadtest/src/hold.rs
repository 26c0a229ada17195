//! What the processes of a run use while all its calls talk.
//!
//! In:       when that is planned to be; the time, again and again.
//! Out:      a [`Hold`].
//! Bounds:   measured only where it is at least [`HOLD_MIN`] long; CPU comes in ticks of 10 ms.
//! Not here: how often it is looked at (`run`).

use crate::clock::{Nanos, SECONDS};
use crate::process;
use crate::report::Hold;

/// From the beginning of the last call: its set-up is no part of the talk.
pub const SETTLE: Nanos = SECONDS;

/// A shorter stretch is not measured: a tick of CPU time would weigh too much.
pub const HOLD_MIN: Nanos = SECONDS;

/// Measures one stretch of a run.
pub struct HoldMeter {
    /// From when to when; `None`: there is no such stretch.
    window: Option<(Nanos, Nanos)>,
    relay: u32,
    began: Option<Began>,
    hold: Option<Hold>,
}

/// What was read when the stretch began.
struct Began {
    at: Nanos,
    calls: usize,
    relay_us: u64,
    own_us: u64,
}

impl HoldMeter {
    /// For calls that each begin and stop talking at these times. `relay`: its process.
    pub fn new(calls: impl IntoIterator<Item = (Nanos, Nanos)>, relay: u32) -> HoldMeter {
        let latest = calls.into_iter().reduce(|(from, to), (f, t)| (from.max(f), to.min(t)));
        let window = latest.map(|(from, to)| (from + SETTLE, to));
        HoldMeter {
            window: window.filter(|&(from, to)| to >= from + HOLD_MIN),
            relay,
            began: None,
            hold: None,
        }
    }

    /// Reads what is due. `talking`: calls with an open stream.
    pub fn poll(&mut self, now: Nanos, talking: usize) {
        let Some((from, to)) = self.window else { return };
        let due = if self.began.is_none() { from } else { to };
        if now < due || self.hold.is_some() {
            return;
        }
        let read = process::cpu_us(self.relay).zip(process::cpu_us(std::process::id()));
        let Some((relay_us, own_us)) = read else { return };
        let Some(began) = &self.began else {
            self.began = Some(Began { at: now, calls: talking, relay_us, own_us });
            return;
        };
        let us = (now - began.at) as f64 / 1e3;
        self.hold = Some(Hold {
            calls: began.calls,
            seconds: us / 1e6,
            relay_cores: (relay_us - began.relay_us) as f64 / us,
            own_cores: (own_us - began.own_us) as f64 / us,
        });
    }

    /// What was measured; `None` if the run ended before.
    pub fn hold(&self) -> Option<Hold> {
        self.hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stretch_is_from_the_last_beginning_to_the_first_end() {
        let calls = [(0, 30 * SECONDS), (5 * SECONDS, 20 * SECONDS)];
        let mut meter = HoldMeter::new(calls, std::process::id());
        meter.poll(5 * SECONDS, 1);
        meter.poll(6 * SECONDS, 2);
        meter.poll(19 * SECONDS, 2);
        assert!(meter.hold().is_none(), "it has not ended");
        meter.poll(20 * SECONDS, 1);
        let hold = meter.hold().unwrap();
        assert_eq!((hold.calls, hold.seconds), (2, 14.0));
        assert_eq!(hold.relay_cores, hold.own_cores, "one process is both here");
    }

    #[test]
    fn calls_that_never_all_talk_have_no_such_stretch() {
        let mut meter = HoldMeter::new([(0, SECONDS), (2 * SECONDS, 3 * SECONDS)], 1);
        (0..100).for_each(|n| meter.poll(n * SECONDS, 1));
        assert!(meter.hold().is_none());
        assert!(HoldMeter::new([], 1).window.is_none());
    }

    #[test]
    fn a_relay_that_is_gone_is_not_measured() {
        let mut meter = HoldMeter::new([(0, 10 * SECONDS)], u32::MAX);
        (0..100).for_each(|n| meter.poll(n * SECONDS, 1));
        assert!(meter.hold().is_none());
    }
}
