//! Log lines that strangers can cause: a few a second of each kind, and how many were left out.
//!
//! Bounds:   [`LINES_PER_SECOND`] of one kind, one of what lasts; beyond it they are only counted.
//! Not here: the lines; what is counted in figures.

use std::fmt;

use crate::clock::Nanos;

/// Log lines of one kind a second.
const LINES_PER_SECOND: u32 = 10;

/// One limiter a kind of line, so that a flood of one does not hide the others.
#[derive(Debug, Default)]
pub(super) struct Limiters {
    /// Requests whose signature is missing or wrong.
    pub(super) forged: Limiter,
    /// Webhooks that nobody vouches for.
    pub(super) webhooks: Limiter,
    /// Streams and browsers that were not let in.
    pub(super) refused: Limiter,
    /// Trusted proxies that do not say whose connection they pass on.
    pub(super) proxies: Limiter,
    /// Connections that the kernel did not give.
    pub(super) accepts: Limiter,
    /// The carrier's reports of failed streams.
    pub(super) stream_failures: Limiter,
}

/// Lets a few lines a second through.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// Which second is being counted.
    second: u64,
    lines: u32,
    /// Since the last line that was let through.
    left_out: u64,
}

/// How many lines were left out before this one: the end of the line that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " left_out={}", self.0) }
    }
}

impl Limiter {
    /// Whether one more line may be written now, and what it is to say of those before it.
    pub(super) fn may_speak(&mut self, now: Nanos) -> Option<LeftOut> {
        self.may_speak_within(now, LINES_PER_SECOND)
    }

    /// The same, for what lasts: once a second.
    pub(super) fn may_speak_once(&mut self, now: Nanos) -> Option<LeftOut> {
        self.may_speak_within(now, 1)
    }

    fn may_speak_within(&mut self, now: Nanos, lines_max: u32) -> Option<LeftOut> {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines >= lines_max {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(LeftOut(std::mem::take(&mut self.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_writes_few_log_lines_and_says_how_many_it_left_out() {
        let mut limiter = Limiter::default();
        let spoke = |limiter: &mut Limiter, ms| {
            (0..1000).filter_map(|_| limiter.may_speak(Nanos::from_millis(ms))).collect::<Vec<_>>()
        };
        assert_eq!(spoke(&mut limiter, 5), [LeftOut(0); 10]);
        assert_eq!(spoke(&mut limiter, 999), []);
        let next = spoke(&mut limiter, 1000);
        assert_eq!((next.len(), next[0], next[1]), (10, LeftOut(1990), LeftOut(0)));
        let mut lasting = Limiter::default();
        let spoke = [0, 100, 900, 1000].map(|ms| lasting.may_speak_once(Nanos::from_millis(ms)));
        assert_eq!(spoke, [Some(LeftOut(0)), None, None, Some(LeftOut(2))]);
        assert_eq!(
            (LeftOut(7).to_string(), LeftOut(0).to_string()),
            (" left_out=7".into(), String::new())
        );
    }
}
