//! What became of the calls of a relay that was killed.
//!
//! In:       the calls, what the supervisor saw, the report of their audio.
//! Out:      a [`RestartReport`], printed or as JSON; whether it meets the [`RestartDemands`].
//! Bounds:   those of the records.
//! Not here: killing (`restart`), the audio of each stream (`judge`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Watched;
use crate::carrier::record::CallRecord;
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::comebacks;
use crate::judge::Made;
use crate::recording::distribution::Distribution;
use crate::report::{Percentiles, Report};

/// How long after the kill a stream may still be noticed dead, and count as struck by it.
pub const NOTICED_WITHIN: Nanos = 5 * SECONDS;

/// What is demanded of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartDemands {
    /// The share of calls struck that hear the model again in time.
    pub min_back: f64,
    /// In which time, in nanoseconds: from the moment the relay listens again, or, where it stays
    /// dead, from the kill.
    pub within: Nanos,
}

/// Times after the kill in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comebacks {
    /// Until the caller's side noticed.
    pub noticed: Distribution,
    /// Until the model was heard again.
    pub heard: Distribution,
}

/// What became of the calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartReport {
    /// Calls made.
    pub calls: usize,
    /// Calls that had a stream when the relay was killed.
    pub talking: usize,
    /// Calls that had none, by how they ended: nothing was measured of them.
    pub not_talking: BTreeMap<String, usize>,
    /// Calls whose stream died of it.
    pub struck: usize,
    /// Of these, those that heard the model again.
    pub back: usize,
    /// Of these, those that did in the time demanded.
    pub back_in_time: usize,
    /// Those that did not, by the reason.
    pub lost: BTreeMap<String, usize>,
    /// Calls that came back and were asked to be greeted again.
    pub greeted_twice: usize,
    /// Streams whose first session was taken up by its handle.
    pub resumed: usize,
    /// Streams whose first session was a new one.
    pub fresh: usize,
    /// From the kill until the relay, started again, listens, in milliseconds; `None`: it stays
    /// dead.
    pub listening_after_ms: Option<f64>,
    /// From the kill until the caller's side noticed.
    pub noticed: Percentiles,
    /// From the kill until the model was heard again.
    pub from_kill: Percentiles,
    /// From the moment the relay listens again until the model was heard again.
    pub from_listening: Percentiles,
    /// The first two of these in full.
    pub after_kill: Comebacks,
    /// What was demanded.
    pub demands: RestartDemands,
    /// Bookings confirmed to the model and not on disk.
    pub bookings_lost: u64,
    /// Bookings on disk more than once.
    pub bookings_doubled: u64,
    /// What was said and heard before and after. What is wrong with it is told; what makes the run
    /// fail is in `problems` here.
    pub audio: Report,
    /// What makes the run fail, worst first.
    pub problems: Vec<String>,
}

impl RestartReport {
    /// Counts and judges.
    pub fn of(
        calls: &[Made],
        watched: Watched,
        audio: Report,
        demands: &RestartDemands,
    ) -> RestartReport {
        let demands = *demands;
        let calls_made = calls.len();
        let mut report =
            RestartReport { calls: calls_made, audio, demands, ..RestartReport::default() };
        report.talking = watched.talking;
        report.problems = watched.problems;
        if let Some(killed) = watched.killed {
            report.count(calls, killed, watched.listening, demands.within);
        }
        if let Some(comebacks) = &report.audio.comebacks {
            report.greeted_twice = comebacks.greeted_again;
            (report.resumed, report.fresh) = (comebacks.resumed, comebacks.fresh);
        }
        if let Some(bookings) = &report.audio.bookings {
            (report.bookings_lost, report.bookings_doubled) = (bookings.lost, bookings.doubled);
        }
        report.judge(&demands);
        report
    }

    /// True if nothing failed.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    fn count(&mut self, calls: &[Made], killed: Nanos, listening: Option<Nanos>, within: Nanos) {
        let (mut noticed, mut from_kill, mut from_listening) = (Vec::new(), Vec::new(), Vec::new());
        let mut lost = Vec::new();
        let since = listening.unwrap_or(killed);
        for Made { record, .. } in calls {
            if !had_stream(record, killed) {
                *self.not_talking.entry(record.outcome.to_string()).or_default() += 1;
            }
            let Some(died) = comebacks::struck(record, killed, NOTICED_WITHIN) else { continue };
            self.struck += 1;
            noticed.push(died - killed);
            let Some(heard) = comebacks::heard_again_at(record, died) else {
                lost.push(record);
                continue;
            };
            self.back += 1;
            self.back_in_time += usize::from(heard.saturating_sub(since) <= within);
            from_kill.push(heard - killed);
            from_listening.extend(listening.map(|at| heard.saturating_sub(at)));
        }
        self.lost = comebacks::reasons(lost.into_iter());
        self.listening_after_ms = listening.map(|at| (at - killed) as f64 / MILLIS as f64);
        self.after_kill =
            Comebacks { noticed: Distribution::of(&noticed), heard: Distribution::of(&from_kill) };
        self.noticed = Percentiles::read(&self.after_kill.noticed);
        self.from_kill = Percentiles::read(&self.after_kill.heard);
        self.from_listening = Percentiles::of(&from_listening);
    }

    fn judge(&mut self, demands: &RestartDemands) {
        let mut unmet = Vec::new();
        let not_talking: usize = self.not_talking.values().sum();
        if not_talking > 0 {
            let calls = self.calls;
            unmet.push(format!(
                "{not_talking} of {calls} calls had no stream when the relay was killed"
            ));
        }
        let (struck, back) = (self.struck, self.back_in_time);
        if struck == 0 {
            unmet.push("no call was struck: nothing was measured".to_string());
        } else if (back as f64) < demands.min_back * struck as f64 {
            let within = demands.within as f64 / SECONDS as f64;
            unmet.push(format!(
                "{back} of {struck} calls heard the model again within {within:.1} s, \
                 demanded {:.0} %",
                demands.min_back * 100.0
            ));
        }
        if self.greeted_twice > 0 {
            unmet.push(format!("{} calls were greeted twice", self.greeted_twice));
        }
        for (name, direction) in
            [("uplink", &self.audio.uplink), ("downlink", &self.audio.downlink)]
        {
            for (what, count) in [("doubled", direction.doubled), ("foreign", direction.foreign)] {
                if count > 0 {
                    unmet.push(format!("{name}: {count} samples {what}"));
                }
            }
        }
        for (kind, count) in &self.audio.violations {
            unmet.push(format!("{count} messages that a carrier objects to ({kind})"));
        }
        for (complaint, count) in &self.audio.complaints {
            unmet.push(format!("the model's service objects: {complaint} ({count})"));
        }
        self.problems.extend(unmet);
    }
}

/// True if one of the call's streams was open at this time.
fn had_stream(record: &CallRecord, at: Nanos) -> bool {
    let times = record.lost.iter().map(|stream| stream.times).chain([record.times]);
    let mut talks = times.filter_map(|times| Some(times.opened?..=times.closed?));
    talks.any(|talk| talk.contains(&at))
}

impl fmt::Display for RestartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audio = &self.audio;
        writeln!(
            f,
            "killed       {} of {} calls talking, {} struck; {}",
            self.talking,
            self.calls,
            self.struck,
            match self.listening_after_ms {
                Some(ms) => format!("listening again after {ms:.0} ms"),
                None => "it stays dead".to_string(),
            }
        )?;
        for (ending, count) in &self.not_talking {
            writeln!(f, "             {count} x no stream: {ending}")?;
        }
        writeln!(
            f,
            "back         {} heard the model again, {} of them in time; {} resumed, {} fresh, \
             {} greeted twice",
            self.back, self.back_in_time, self.resumed, self.fresh, self.greeted_twice
        )?;
        for (reason, count) in &self.lost {
            writeln!(f, "             {count} x lost: {reason}")?;
        }
        writeln!(
            f,
            "time, ms                {:>8} {:>8} {:>8} {:>8} {:>8}",
            "calls", "p50", "p90", "p99", "max"
        )?;
        for (name, times) in [
            ("kill to noticed", &self.noticed),
            ("kill to heard again", &self.from_kill),
            ("listening to heard", &self.from_listening),
        ] {
            let ms =
                |us: Option<f64>| us.map_or_else(|| "-".into(), |us| format!("{:.0}", us / 1e3));
            let [p50, p90, p99, max] = [times.p50(), times.p90(), times.p99(), times.max()].map(ms);
            let count = times.count;
            writeln!(f, "{name:<23} {count:>8} {p50:>8} {p90:>8} {p99:>8} {max:>8}")?;
        }
        if let Some(comebacks) = &audio.comebacks {
            writeln!(
                f,
                "callers      {:.0} ms said while there was no stream, {:.0} ms cut at its end",
                comebacks.unsaid_ms, comebacks.cut_ms
            )?;
        }
        for (name, direction) in [("uplink", &audio.uplink), ("downlink", &audio.downlink)] {
            writeln!(
                f,
                "{name:<12} {} samples expected, {} heard in place, {} lost, {} doubled, {} foreign",
                direction.expected,
                direction.matched,
                direction.lost,
                direction.doubled,
                direction.foreign
            )?;
        }
        if let Some(bookings) = &audio.bookings {
            writeln!(
                f,
                "bookings     {} asked for, {} confirmed, {} cut, {} unanswered; {} on disk, \
                 {} lost, {} doubled",
                bookings.asked,
                bookings.confirmed,
                bookings.cut,
                bookings.unanswered,
                bookings.stored,
                bookings.lost,
                bookings.doubled
            )?;
        }
        for fault in &audio.problems {
            writeln!(f, "note         {fault}")?;
        }
        for remark in &audio.remarks {
            writeln!(f, "note         {remark}")?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM      {problem}")?;
        }
        write!(f, "{}", if self.is_good() { "good" } else { "NOT GOOD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::phone::Heard;
    use crate::carrier::record::{CallTimes, Failure, LostStream, Outcome};
    use crate::net::link::Closing;
    use crate::schedule::MediaPlan;
    use crate::signal::CallerVoice;
    use std::io::ErrorKind;

    const KILLED: Nanos = 10 * SECONDS;
    const LISTENING: Nanos = KILLED + 100 * MILLIS;

    fn times(asked: Option<Nanos>, opened: Nanos, closed: Nanos) -> CallTimes {
        let (opened, closed) = (Some(opened), Some(closed));
        CallTimes { asked, opened, closed, ..CallTimes::default() }
    }

    /// A call that is struck, and hears the model again at `heard`.
    fn back(heard: Option<Nanos>) -> Made {
        let mut record = CallRecord::empty(0);
        record.lost.push(LostStream {
            formats: record.formats,
            times: times(None, SECONDS, KILLED + MILLIS),
            closing: Closing::Eof,
            first_frame: 0,
            sent: Vec::new(),
            said: None,
            heard: Heard::default(),
            playout: record.playout,
        });
        record.times = times(Some(KILLED + 2 * MILLIS), KILLED + SECONDS, 20 * SECONDS);
        record.heard.arrivals = heard.map(|at| (at, 160)).into_iter().collect();
        made(record)
    }

    /// A call that is struck, and asks in vain.
    fn gone() -> Made {
        let closing = Closing::Broken(ErrorKind::ConnectionReset);
        made(CallRecord {
            outcome: Outcome::ClosedByRelay(closing.clone()),
            closing: Some(closing),
            times: times(None, SECONDS, KILLED),
            ..CallRecord::empty(1)
        })
    }

    fn made(record: CallRecord) -> Made {
        Made { media: MediaPlan::steady(0).into(), voice: CallerVoice::new(1, 0), record }
    }

    fn report(calls: &[Made]) -> RestartReport {
        let watched = Watched {
            talking: calls.len(),
            killed: Some(KILLED),
            listening: Some(LISTENING),
            problems: Vec::new(),
        };
        let demands = RestartDemands { min_back: 0.5, within: 2 * SECONDS };
        RestartReport::of(calls, watched, Report::default(), &demands)
    }

    #[test]
    fn a_call_is_back_once_it_hears_the_model_on_a_stream_asked_for_after_the_kill() {
        let in_time = back(Some(LISTENING + 2 * SECONDS));
        let late = back(Some(LISTENING + 2 * SECONDS + 1));
        let report = report(&[in_time, late, back(None), gone()]);
        assert_eq!((report.struck, report.back, report.back_in_time), (4, 2, 1));
        assert_eq!(report.listening_after_ms, Some(100.0));
        assert_eq!((report.from_kill.count, report.from_listening.count), (2, 2));
        assert_eq!(report.lost.values().sum::<usize>(), 2);
        assert_eq!(report.lost.get("nobody was to be asked"), Some(&1));
        assert!(!report.is_good(), "one of four is less than half");
    }

    #[test]
    fn calls_that_were_refused_at_the_door_spoil_a_run_whose_others_all_came_back() {
        let outcome = Outcome::Failed(Failure::Refused(403));
        let refused = || made(CallRecord { outcome: outcome.clone(), ..CallRecord::empty(3) });
        let late = made(CallRecord {
            times: times(None, KILLED + 1, 20 * SECONDS),
            ..CallRecord::empty(4)
        });
        let back = || back(Some(LISTENING + SECONDS));
        assert!(report(&[back(), back()]).is_good());
        let report = report(&[back(), back(), refused(), refused(), late]);
        assert_eq!((report.struck, report.back_in_time), (2, 2));
        assert_eq!(report.not_talking.get("upgrade: refused with status 403"), Some(&2));
        assert_eq!(report.not_talking.values().sum::<usize>(), 3);
        assert!(!report.is_good(), "{report}");
        let told = report.to_string();
        assert!(told.contains("3 of 5 calls had no stream when the relay was killed"), "{told}");
        assert!(told.contains("2 x no stream: upgrade: refused with status 403"), "{told}");
    }

    #[test]
    fn the_share_demanded_is_of_the_calls_that_were_struck_and_none_is_no_measurement() {
        let half = report(&[back(Some(LISTENING + SECONDS)), gone()]);
        assert!(half.is_good(), "{half}");
        // Hung up as planned, long after the kill.
        let unharmed =
            made(CallRecord { times: times(None, SECONDS, 20 * SECONDS), ..CallRecord::empty(2) });
        let none = report(&[unharmed]);
        assert_eq!((none.struck, none.is_good()), (0, false));
    }
}
