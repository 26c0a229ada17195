//! The stretch of a run in which all its calls talk: what processes use then, and how long audio
//! takes.
//!
//! In:       when calls talk; the time, again and again; the latencies of the whole run.
//! Out:      a [`Hold`] and a [`Held`].
//! Bounds:   measured only where it is at least [`HOLD_MIN`] long; CPU comes in ticks of 10 ms.
//! Not here: how often it is looked at (`run`).

use crate::carrier::record::CallRecord;
use crate::clock::{Nanos, SECONDS};
use crate::process;
use crate::report::{Held, Hold, Percentiles};
use crate::verify::Latencies;

/// From the beginning of the last call: its set-up is no part of the stretch, nor is the greeting,
/// during which a relay may hold the caller's audio back by design.
pub const SETTLE: Nanos = 3 * SECONDS;

/// A shorter stretch is not measured: a tick of CPU time would weigh too much.
pub const HOLD_MIN: Nanos = SECONDS;

/// From when to when all calls talk, if that is long enough; each begins and ends at these times.
pub fn stretch(calls: impl IntoIterator<Item = (Nanos, Nanos)>) -> Option<(Nanos, Nanos)> {
    let common = calls.into_iter().reduce(|(from, to), (f, t)| (from.max(f), to.min(t)));
    let settled = common.map(|(from, to)| (from + SETTLE, to));
    settled.filter(|&(from, to)| to >= from + HOLD_MIN)
}

/// The latencies of what was planned while all calls that were opened talked.
pub fn held<'c>(
    calls: impl IntoIterator<Item = &'c CallRecord>,
    up: &Latencies,
    down: &Latencies,
) -> Option<Held> {
    let talks = calls.into_iter().filter_map(|call| call.times.opened.zip(call.times.closed));
    let (from, to) = stretch(talks)?;
    let within = |latencies: &Latencies| {
        let pairs = latencies.planned.iter().zip(&latencies.corrected);
        let held = pairs.filter(|&(planned, _)| (from..to).contains(planned));
        Percentiles::of(&held.map(|(_, &latency)| latency).collect::<Vec<_>>())
    };
    Some(Held { uplink: within(up), downlink: within(down) })
}

/// Measures one stretch of a run.
pub struct HoldMeter {
    /// From when to when; `None`: there is no such stretch.
    window: Option<(Nanos, Nanos)>,
    relay: Option<u32>,
    /// At the beginning, once it was reached.
    began: Option<Reading>,
    hold: Option<Hold>,
}

/// What was read at the beginning of the stretch, or at its end.
struct Reading {
    at: Nanos,
    calls: usize,
    relay_us: u64,
    own_us: u64,
}

impl HoldMeter {
    /// For calls that each begin and stop talking at these times. `relay`: its process; without
    /// one nothing is measured.
    pub fn new(calls: impl IntoIterator<Item = (Nanos, Nanos)>, relay: Option<u32>) -> HoldMeter {
        HoldMeter { window: stretch(calls), relay, began: None, hold: None }
    }

    /// Reads what is due. `talking`: calls with an open stream.
    pub fn poll(&mut self, now: Nanos, talking: usize) {
        if !self.is_due(now) {
            return;
        }
        let read = self.relay.and_then(process::cpu_us).zip(process::cpu_us(std::process::id()));
        if let Some((relay_us, own_us)) = read {
            self.note(Reading { at: now, calls: talking, relay_us, own_us });
        }
    }

    fn is_due(&self, now: Nanos) -> bool {
        let due = |(from, to)| now >= if self.began.is_none() { from } else { to };
        self.hold.is_none() && self.window.is_some_and(due)
    }

    /// Takes what was read when it was due.
    fn note(&mut self, read: Reading) {
        let Some(began) = &self.began else {
            self.began = Some(read);
            return;
        };
        let us = (read.at - began.at) as f64 / 1e3;
        self.hold = Some(Hold {
            calls: began.calls,
            seconds: us / 1e6,
            relay_cores: (read.relay_us - began.relay_us) as f64 / us,
            own_cores: (read.own_us - began.own_us) as f64 / us,
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
        let mut meter = HoldMeter::new(calls, Some(1));
        let due: Vec<_> = (0..30).filter(|&at| meter.is_due(at * SECONDS)).collect();
        assert_eq!(due.first(), Some(&8));
        let read = |seconds: u64, relay_us, own_us| Reading {
            at: seconds * SECONDS,
            calls: 2,
            relay_us,
            own_us,
        };
        meter.note(read(8, 500, 1_000));
        assert!(!meter.is_due(19 * SECONDS) && meter.is_due(20 * SECONDS));
        meter.note(read(20, 500 + 3_000_000, 1_000 + 6_000_000));
        let hold = meter.hold().unwrap();
        assert_eq!((hold.calls, hold.seconds), (2, 12.0));
        assert_eq!((hold.relay_cores, hold.own_cores), (0.25, 0.5));
        assert_eq!(hold.cpu_us_per_call_second(), 125_000.0);
        assert!(!meter.is_due(30 * SECONDS), "it is measured once");
    }

    #[test]
    fn only_what_was_planned_while_all_talked_is_held() {
        let call = |opened: Nanos, closed: Nanos| {
            let mut call = CallRecord::empty(0);
            call.times.opened = Some(opened * SECONDS);
            call.times.closed = Some(closed * SECONDS);
            call
        };
        let mut latencies = Latencies::default();
        for at in 0..20 {
            latencies.planned.push(at * SECONDS);
            latencies.corrected.push(if (8..12).contains(&at) { 2_000 } else { 900_000 });
        }
        let calls = [call(0, 20), call(5, 12), CallRecord::empty(2)];
        let held = held(&calls, &latencies, &Latencies::default()).unwrap();
        assert_eq!((held.uplink.count, held.uplink.max_us as u64), (4, 2), "{held:?}");
        assert_eq!(held.downlink.count, 0);
        assert!(super::held(&calls[2..], &latencies, &latencies).is_none());
    }

    #[test]
    fn calls_that_never_all_talk_have_no_such_stretch() {
        let mut meter = HoldMeter::new([(0, SECONDS), (2 * SECONDS, 3 * SECONDS)], Some(1));
        (0..100).for_each(|n| meter.poll(n * SECONDS, 1));
        assert!(meter.hold().is_none());
        assert!(HoldMeter::new([], Some(1)).window.is_none());
    }

    #[test]
    fn a_relay_that_is_gone_is_not_measured() {
        let mut meter = HoldMeter::new([(0, 10 * SECONDS)], Some(u32::MAX));
        (0..100).for_each(|n| meter.poll(n * SECONDS, 1));
        assert!(meter.hold().is_none());
    }
}
