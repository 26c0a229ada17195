//! When the bytes in a ring arrived: position by position, for the latency of what leaves it.
//!
//! Bounds:   [`ARRIVALS_MAX`]; beyond it two messages count as having arrived with the first.

use crate::buf::Few;
use crate::clock::Nanos;

/// Messages told apart in one ring: 1.3 s of 20 ms frames.
pub const ARRIVALS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// The first byte's position, counted since the ring was made.
    start: u64,
    /// Behind the last byte.
    end: u64,
    at: Nanos,
}

/// When the bytes in a ring arrived.
#[derive(Debug, Default)]
pub struct Arrivals {
    messages: Few<Arrival>,
}

impl Arrivals {
    /// The bytes at `start..end` arrived at `at`.
    pub fn note(&mut self, start: u64, end: u64, at: Nanos) {
        let full = self.messages.len() == ARRIVALS_MAX;
        match self.messages.back_mut() {
            Some(last) if full || (last.at == at && last.end == start) => last.end = end,
            _ => self.messages.push_back(Arrival { start, end, at }),
        }
    }

    /// When the byte before `end` arrived: what leaves up to there was complete then. Forgets
    /// everything before `end`.
    pub fn completed(&mut self, end: u64) -> Option<Nanos> {
        let mut completed = None;
        while let Some(first) = self.messages.front().filter(|first| first.start < end) {
            completed = Some(first.at);
            if first.end > end {
                break;
            }
            self.messages.pop_front();
        }
        completed
    }

    /// The first message that begins in `start..end`: where, and when it arrived. Forgets
    /// everything before `end`.
    pub fn begun(&mut self, start: u64, end: u64) -> Option<(u64, Nanos)> {
        let mut begun = None;
        while let Some(first) = self.messages.front().filter(|first| first.start < end) {
            if first.start >= start {
                begun = begun.or(Some((first.start, first.at)));
            }
            if first.end > end {
                break;
            }
            self.messages.pop_front();
        }
        begun
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_was_complete_when_its_last_byte_arrived() {
        let mut arrivals = Arrivals::default();
        arrivals.note(0, 100, Nanos(1));
        arrivals.note(100, 200, Nanos(2));
        arrivals.note(200, 400, Nanos(3));
        assert_eq!(arrivals.completed(160), Some(Nanos(2)));
        assert_eq!(arrivals.completed(320), Some(Nanos(3)));
        assert_eq!(arrivals.completed(400), Some(Nanos(3)));
        assert_eq!(arrivals.completed(480), None);
    }

    #[test]
    fn a_message_is_measured_once_by_its_first_byte() {
        let mut arrivals = Arrivals::default();
        arrivals.note(0, 480, Nanos(1));
        arrivals.note(480, 500, Nanos(2));
        arrivals.note(500, 960, Nanos(3));
        assert_eq!(arrivals.begun(0, 160), Some((0, Nanos(1))));
        assert_eq!(arrivals.begun(160, 320), None);
        assert_eq!(arrivals.begun(320, 640), Some((480, Nanos(2))));
        assert_eq!(arrivals.begun(640, 960), None);
    }

    #[test]
    fn beyond_the_bound_the_wait_is_overstated_never_understated() {
        let mut arrivals = Arrivals::default();
        let messages = ARRIVALS_MAX as u64 + 10;
        for n in 0..messages {
            arrivals.note(n * 10, n * 10 + 10, Nanos(n));
        }
        assert_eq!(arrivals.messages.len(), ARRIVALS_MAX);
        assert_eq!(arrivals.completed(messages * 10), Some(Nanos(ARRIVALS_MAX as u64 - 1)));
    }
}
