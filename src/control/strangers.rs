//! Which log lines of calls may be written: those of calls that were joined to their model always,
//! those that anybody can cause a few a second, and how many were left out.
//!
//! In:       reports of calls, the time.
//! Out:      whether the line is written, and what it says of those before it.
//! Bounds:   [`OPENED_PER_SECOND`] beyond those that were joined; [`ENDED_PER_SECOND`]. Beyond:
//!           left out, and counted by event.
//! Not here: the lines (`control::call_log`); the lines of the inbound thread, which has its own
//!           limits.

use crate::call::{Ending, Report};
use crate::clock::Nanos;

/// Lines `opened` a second. A stream is opened before it is known who it is; each that is then
/// joined to its model pays for its line, so that many true callers are all told of.
const OPENED_PER_SECOND: u32 = 200;
/// Lines `ended` a second of calls that never heard anything, by their own doing.
const ENDED_PER_SECOND: u32 = 20;
/// Lines `slo_missed` a second: each call says it once a minute, and a machine that is late makes
/// all of them say it.
const MISSED_PER_SECOND: u32 = 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Which second is being counted.
    second: u64,
    opened: Purse,
    ended: Purse,
    missed: Purse,
}

/// Lines of one kind.
#[derive(Debug, Default)]
struct Purse {
    /// In this second, those paid for taken off.
    written: u32,
    /// Since the last line that was written.
    left_out: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written, and says that so many before it were left out.
    Written {
        /// How many.
        left_out: u64,
    },
    /// It is left out, and counted under this event.
    LeftOut(&'static str),
}

impl Strangers {
    /// What becomes of the line of `report`.
    pub(super) fn judge(&mut self, now: Nanos, report: &Report) -> Line {
        self.turn(now);
        match report {
            Report::Opened { .. } => self.opened.spend("opened", OPENED_PER_SECOND),
            Report::Ended { ending, downlink_ms: 0, .. } if is_their_doing(*ending) => {
                self.ended.spend("ended", ENDED_PER_SECOND)
            }
            Report::Joined { .. } => {
                self.opened.written = self.opened.written.saturating_sub(1);
                Line::Written { left_out: 0 }
            }
            _ => Line::Written { left_out: 0 },
        }
    }
}

impl Strangers {
    /// What becomes of the line of a call that missed what it is held to.
    pub(super) fn judge_missed(&mut self, now: Nanos) -> Line {
        self.turn(now);
        self.missed.spend("slo_missed", MISSED_PER_SECOND)
    }

    fn turn(&mut self, now: Nanos) {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            self.second = second;
            for purse in [&mut self.opened, &mut self.ended, &mut self.missed] {
                purse.written = 0;
            }
        }
    }
}

impl Purse {
    fn spend(&mut self, event: &'static str, most: u32) -> Line {
        if self.written == most {
            self.left_out += 1;
            return Line::LeftOut(event);
        }
        self.written += 1;
        Line::Written { left_out: std::mem::take(&mut self.left_out) }
    }
}

/// Whether anybody can make a call end so, let in or not.
fn is_their_doing(ending: Ending) -> bool {
    matches!(
        ending,
        Ending::Refused(_)
            | Ending::NoStart
            | Ending::CallerHungUp
            | Ending::PhoneClosed { .. }
            | Ending::PhoneLost
            | Ending::PhoneSilent
            | Ending::MediaTimeout
            | Ending::PhoneStalled
            | Ending::PhoneBroke { .. }
            | Ending::UnknownCodec
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{Class, LineFault, Refusal};

    fn opened() -> Report {
        let class = Class::Twilio;
        Report::Opened { class, carrier: None, call_sid: None, from: None, to: None, rate_hz: 8000 }
    }

    fn ended(ending: Ending, downlink_ms: u64) -> Report {
        let lasted = Duration::from_secs(1);
        Report::Ended { ending, lasted, uplink_ms: 0, downlink_ms, barge_ins: 0 }
    }

    fn written(strangers: &mut Strangers, ms: u64, report: &Report) -> usize {
        let now = Nanos::from_millis(ms);
        let lines = (0..1000).map(|_| strangers.judge(now, report));
        lines.filter(|line| matches!(line, Line::Written { .. })).count()
    }

    #[test]
    fn a_flood_of_strangers_writes_few_lines_and_the_next_says_how_many_were_left_out() {
        let mut strangers = Strangers::default();
        assert_eq!(written(&mut strangers, 5, &opened()), OPENED_PER_SECOND as usize);
        for ending in [Ending::Refused(Refusal::Full), Ending::NoStart, Ending::PhoneLost] {
            let mut strangers = Strangers::default();
            let lines = written(&mut strangers, 5, &ended(ending, 0));
            assert_eq!(lines, ENDED_PER_SECOND as usize, "{ending:?}");
        }
        assert_eq!(strangers.judge(Nanos::from_millis(999), &opened()), Line::LeftOut("opened"));
        let next = strangers.judge(Nanos::from_millis(1000), &opened());
        assert_eq!(next, Line::Written { left_out: 801 });
        let after = strangers.judge(Nanos::from_millis(1000), &opened());
        assert_eq!(after, Line::Written { left_out: 0 });
    }

    #[test]
    fn a_machine_that_is_late_does_not_drown_the_log() {
        let mut strangers = Strangers::default();
        let lines = (0..1000).map(|_| strangers.judge_missed(Nanos::from_millis(5)));
        let written = lines.filter(|line| matches!(line, Line::Written { .. })).count();
        assert_eq!(written, MISSED_PER_SECOND as usize);
        let next = strangers.judge_missed(Nanos::from_millis(1_000));
        assert_eq!(next, Line::Written { left_out: 980 });
    }

    #[test]
    fn of_callers_who_are_joined_every_line_is_written() {
        let mut strangers = Strangers::default();
        let joined = Report::Joined { after: Duration::ZERO };
        for _ in 0..5_000 {
            for report in [opened(), joined.clone(), ended(Ending::CallerHungUp, 20)] {
                let line = strangers.judge(Nanos::from_millis(5), &report);
                assert_eq!(line, Line::Written { left_out: 0 });
            }
        }
    }

    #[test]
    fn what_is_ours_to_mend_is_always_told() {
        let mut strangers = Strangers::default();
        for ending in [Ending::NoModel(LineFault::Full), Ending::ModelLost, Ending::Internal] {
            assert_eq!(written(&mut strangers, 5, &ended(ending, 0)), 1000, "{ending:?}");
        }
    }
}
