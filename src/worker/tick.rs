//! Whether a media thread waits for more events before it sees to those it has: where many come,
//! each way into the kernel then serves several.
//!
//! In:       how many events each turn brought, the time.
//! Out:      how long to rest before the next turn.
//! Bounds:   a tick of at most [`TICK_MAX`](crate::limits::TICK_MAX): nothing waits longer here.
//! Not here: resting itself (`worker`).
//!
//! The thread rests until the next multiple of the tick, and only while a tick brings
//! [`TICK_EVENTS_MIN`] events or more: where few come, each is seen to at once.

use std::time::Duration;

use crate::clock::Nanos;
use crate::limits::TICK_EVENTS_MIN;

/// The rhythm of one media thread.
#[derive(Debug, Default)]
pub(super) struct Tick {
    /// Zero: it never rests.
    length: Duration,
    /// Since when `events` are counted.
    since: Nanos,
    events: u32,
    /// Whether a tick brought enough of them, when it was last looked at.
    is_busy: bool,
}

impl Tick {
    /// A rhythm of so long a tick; zero: none.
    pub(super) fn new(length: Duration) -> Tick {
        Tick { length, ..Tick::default() }
    }

    /// A turn brought so many events.
    pub(super) fn note(&mut self, events: usize) {
        self.events = self.events.saturating_add(events as u32);
    }

    /// How long to rest from `now` on; `None`: not at all.
    pub(super) fn rest(&mut self, now: Nanos) -> Option<Duration> {
        if self.length.is_zero() {
            return None;
        }
        let passed = now.since(self.since);
        if passed >= self.length {
            let ticks = (passed.as_nanos() / self.length.as_nanos()).max(1);
            self.is_busy = u128::from(self.events) >= ticks * u128::from(TICK_EVENTS_MIN);
            (self.since, self.events) = (now, 0);
        }
        let length = self.length.as_nanos() as u64;
        self.is_busy.then(|| Duration::from_nanos(length - now.0 % length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(2);

    fn at(us: u64) -> Nanos {
        Nanos(us * 1_000)
    }

    #[test]
    fn where_few_events_come_each_is_seen_to_at_once() {
        let mut tick = Tick::new(TICK);
        for us in (10_000..50_000).step_by(1_000) {
            tick.note(1);
            assert_eq!(tick.rest(at(us)), None, "{us}");
        }
    }

    #[test]
    fn where_many_come_they_wait_for_the_next_multiple_of_the_tick_until_fewer_come() {
        let mut tick = Tick::new(TICK);
        tick.rest(at(10_000));
        tick.note(4);
        assert_eq!(tick.rest(at(11_500)), None, "the tick is not over");
        assert_eq!(tick.rest(at(12_000)), Some(TICK));
        tick.note(14);
        assert_eq!(tick.rest(at(14_010)), Some(Duration::from_micros(1_990)), "still");
        tick.note(3);
        assert_eq!(tick.rest(at(16_020)), None, "it has calmed down");
    }

    #[test]
    fn a_long_sleep_is_not_a_busy_tick() {
        let mut tick = Tick::new(TICK);
        tick.rest(at(10_000));
        tick.note(20);
        assert_eq!(tick.rest(at(90_000)), None, "20 events in 40 ticks");
    }

    #[test]
    fn without_a_tick_nothing_waits() {
        let mut tick = Tick::new(Duration::ZERO);
        tick.note(1_000);
        assert_eq!(tick.rest(at(10_000)), None);
    }
}
