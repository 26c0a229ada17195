//! Judges a relay by counting: how much audio came through and when, not which.
//!
//! In:       every call that was made and every session that was heard.
//! Out:      a [`Report`] whose samples are durations: as many as were said, too few, too many.
//! Bounds:   those of the records.
//! Not here: what the audio holds (`judge` for a relay that is exact to the sample).
//!
//! For the floor, which converts nothing, and for relays of any kind where the latency of messages
//! is asked for, without the delay of filters. A call and its
//! session find each other by the caller's number, which the relay names in its setup. The `n`th
//! sample of one side is taken for the `n`th of the other, so a latency is the latency of messages:
//! the delay inside a filter is not in it. A piece lost and another doubled would pass unseen; the
//! report says so. Turns count as long as they are, without padding to whole frames; a call is one
//! stream: callers who come back are not for this judge.

use std::collections::HashMap;

use crate::apart::Telling;
use crate::carrier::record::{CallRecord, Outcome};
use crate::clock::Nanos;
use crate::comebacks;
use crate::gemini::record::{SessionRecord, Spoken};
use crate::harness::caller_in;
use crate::hold;
use crate::judge::{self, Judgement, Made};
use crate::recording::records;
use crate::report::{Percentiles, Report};
use crate::verify::{self, Alignment, Downlink, Latencies, Placed};

/// What is said of every report of this judge.
const REMARK: &str = "by count: audio was counted and timed, its content was not judged";

/// Judges a run. `lead`: see [`verify::downlink_latency`].
pub fn judge(calls: &[Made], sessions: &[SessionRecord], lead: Nanos) -> Report {
    let mut report = Report { calls: calls.len(), judged: Judgement::ByCount, ..Report::default() };
    let sessions_of = pair(calls, sessions);
    judge::count_parts(&comebacks::parts(calls), &mut report);
    judge::count_complaints(sessions, &mut report);
    let (mut up, mut down) = (Alignment::default(), Alignment::default());
    let (mut up_latency, mut down_latency) = (Latencies::default(), Latencies::default());
    let (mut barge_ins, mut amiss) = (Vec::new(), Vec::new());
    let mut telling = Telling::begin(sessions);
    for (call, sessions) in calls.iter().zip(&sessions_of) {
        let ready: Vec<_> = sessions.iter().copied().filter(|it| it.ready_at.is_some()).collect();
        let uplink = uplink(&call.record, &ready);
        let of_uplink = match uplink.is_whole() {
            true => verify::uplink_latency(&call.record, &ready),
            false => Latencies::unplaced(call.record.sent.len()),
        };
        if !uplink.is_whole() {
            report.problems.push(judge::fault("uplink", &call.record, &uplink));
        }
        up.add(&uplink);
        let downlink = downlink(&call.record, &ready);
        let of_downlink = match downlink.alignment.is_whole() {
            true => verify::downlink_latency(&downlink, &ready, &call.record, lead),
            false => Latencies::unplaced(judge::chunks(&ready)),
        };
        if !downlink.alignment.is_whole() {
            report.problems.push(judge::fault("downlink", &call.record, &downlink.alignment));
        }
        if let Some(telling) = &mut telling {
            telling.add(&ready, &of_uplink, &of_downlink);
        }
        up_latency.add(of_uplink);
        down_latency.add(of_downlink);
        down.add(&downlink.alignment);
        amiss.push(!uplink.is_whole() || !downlink.alignment.is_whole());
        for session in &ready {
            let answers = verify::barge_ins(session, &call.record);
            barge_ins.extend(answers.answered);
            report.interruptions_unanswered += answers.unanswered;
        }
    }
    judge::count_calls(calls, &sessions_of, &amiss, &mut report);
    report.uplink.set_samples(&up);
    report.downlink.set_samples(&down);
    judge::set_latencies(&mut report.uplink, &up_latency);
    judge::set_latencies(&mut report.downlink, &down_latency);
    let records = calls.iter().map(|call| &call.record);
    report.apart = telling.map(|telling| telling.report(records.clone()));
    report.held = hold::held(records.clone(), &up_latency, &down_latency);
    report.recording = records::recording(records, &sessions_of, &up_latency, &down_latency);
    report.barge_in = Percentiles::of(&barge_ins);
    judge::summarize(&mut report.problems);
    report.remarks.push(REMARK.to_string());
    report.judge();
    report
}

/// The sessions of each call, in order: those whose setup names its caller's number.
fn pair<'s>(calls: &[Made], sessions: &'s [SessionRecord]) -> Vec<Vec<&'s SessionRecord>> {
    let mut of_call: HashMap<usize, Vec<&SessionRecord>> = HashMap::new();
    for session in sessions {
        let setup = session.setup.as_ref().map(ToString::to_string);
        if let Some(index) = setup.as_deref().and_then(caller_in) {
            of_call.entry(index).or_default().push(session);
        }
    }
    let sessions_of = |call: &Made| {
        let mut found = of_call.remove(&call.record.index).unwrap_or_default();
        found.sort_by_key(|session| session.index);
        found
    };
    calls.iter().map(sessions_of).collect()
}

/// As many samples as there should be, or too few, or too many.
fn counted(expected: u64, heard: u64) -> Alignment {
    Alignment {
        expected,
        matched: expected.min(heard),
        lost: expected.saturating_sub(heard),
        foreign: heard.saturating_sub(expected),
        first_fault: (expected != heard).then(|| expected.min(heard)),
        ..Alignment::default()
    }
}

/// What the model heard of a call, by duration, at its own rate.
fn uplink(call: &CallRecord, sessions: &[&SessionRecord]) -> Alignment {
    let rate = sessions.iter().map(|session| session.uplink.rate).max().unwrap_or(0);
    let per_tick = u64::from(if rate == 0 { 16_000 } else { rate }) / 8_000;
    let said = call.sent.last().map_or(0, |frame| frame.clock_to * per_tick);
    let heard = sessions.iter().map(|session| session.uplink.arrivals.last().map_or(0, |it| it.1));
    let heard = heard.sum();
    match call.outcome {
        // What the caller said after the end is nobody's loss.
        Outcome::ClosedByRelay(_) => counted(said.min(heard), heard),
        _ => counted(said, heard),
    }
}

/// What the phone heard of its sessions, by duration. What was said up to an interruption may have
/// been heard up to its `clear` only.
fn downlink(call: &CallRecord, sessions: &[&SessionRecord]) -> Downlink {
    let heard = call.heard.samples;
    let mut clears = call.heard.clears.iter().map(|clear| clear.after_samples).peekable();
    let mut result = Downlink::default();
    let mut cursor = 0;
    for (place, session) in sessions.iter().enumerate() {
        for group in session.spoken.split_inclusive(|it| matches!(it, Spoken::Interrupted { .. })) {
            let interrupted = matches!(group.last(), Some(Spoken::Interrupted { .. }));
            let mut said = 0;
            let mut turns = Vec::new();
            for spoken in group {
                let Spoken::Turn(turn) = spoken else { continue };
                let len = turn.said() * u64::from(call.formats.down.rate) / 24_000;
                turns.push((turn.clone(), said, len));
                said += len;
            }
            while clears.next_if(|&clear| clear < cursor).is_some() {}
            let rest = heard - cursor.min(heard);
            let taken = match clears.next_if(|&at| interrupted && at <= cursor + said) {
                Some(at) => at - cursor,
                None => said.min(rest),
            };
            result.alignment.add(&counted(said, taken));
            if interrupted {
                result.alignment.voided += said - taken;
                result.alignment.lost -= said - taken;
            }
            for (turn, from, len) in turns {
                let len = len.min(taken.saturating_sub(from));
                result.turns.push(Placed { session: place, turn, from: cursor + from, len });
            }
            cursor += taken;
        }
    }
    result.alignment.foreign += heard - cursor.min(heard);
    if !result.alignment.is_whole() {
        result.alignment.first_fault = Some(cursor);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::phone::{Cleared, SentFrame};
    use crate::gemini::record::{Chunk, Turn};

    /// A session in which one turn of 40 ms was said and, if so told, interrupted.
    fn session(interrupted: bool) -> SessionRecord {
        let mut session = SessionRecord::new(0, 0);
        session.ready_at = Some(0);
        let chunks = vec![Chunk { planned: 0, sent: 0, to_sample: 960 }];
        let turn = Turn {
            number: 0,
            samples: 960,
            chunks,
            complete: true,
            continues: false,
            steady: false,
        };
        session.spoken.push(Spoken::Turn(turn));
        if interrupted {
            session.spoken.push(Spoken::Interrupted { at: 1 });
        }
        session
    }

    /// A call that heard so many samples, and was told to clear after so many.
    fn call(samples: u64, cleared_after: Option<u64>) -> CallRecord {
        let mut call = CallRecord::empty(0);
        call.heard.samples = samples;
        call.heard.clears = cleared_after
            .map(|after_samples| Cleared { at: 2, after_samples, unplayed_samples: 0 })
            .into_iter()
            .collect();
        call
    }

    #[test]
    fn a_phone_that_hears_as_much_as_was_said_has_lost_nothing() {
        let session = session(false);
        let judged = downlink(&call(320, None), &[&session]);
        assert!(judged.alignment.is_whole());
        assert_eq!((judged.alignment.matched, judged.turns[0].len), (320, 320));
        assert_eq!(downlink(&call(160, None), &[&session]).alignment.lost, 160);
        assert_eq!(downlink(&call(480, None), &[&session]).alignment.foreign, 160);
    }

    #[test]
    fn what_an_interruption_cut_off_is_void_and_not_lost() {
        let session = session(true);
        let judged = downlink(&call(160, Some(160)), &[&session]);
        assert!(judged.alignment.is_whole(), "{:?}", judged.alignment);
        assert_eq!(judged.alignment.voided, 160);
    }

    #[test]
    fn a_model_that_hears_too_little_is_told_of() {
        let mut call = CallRecord::empty(0);
        call.sent = vec![SentFrame { planned: 0, sent: 0, clock_to: 160 }];
        let mut session = session(false);
        session.uplink.rate = 16_000;
        session.uplink.arrivals = vec![(1, 320)];
        assert!(uplink(&call, &[&session]).is_whole());
        session.uplink.arrivals = vec![(1, 300)];
        assert_eq!(uplink(&call, &[&session]).lost, 20);
    }
    #[test]
    fn pieces_of_a_stream_that_was_not_whole_are_in_no_latency_and_are_counted() {
        let media = std::sync::Arc::new(crate::schedule::MediaPlan::steady(40));
        let voice = crate::signal::CallerVoice::new(1, 0);
        let made = |record| Made { media: media.clone(), voice, record };
        let mut heard_less = call(160, None);
        heard_less.times.opened = Some(0);
        heard_less.sent =
            [160, 320].map(|clock_to| SentFrame { planned: 0, sent: 0, clock_to }).to_vec();
        let mut session = session(false);
        session.setup = Some(serde_json::json!({ "systemInstruction": "caller +18000000000" }));
        let of = |session: &SessionRecord, call: &CallRecord| {
            judge(&[made(call.clone())], std::slice::from_ref(session), 0)
        };
        let report = of(&session, &heard_less);
        assert_eq!((report.uplink.unplaced, report.downlink.unplaced), (2, 1), "{report}");
        assert_eq!((report.uplink.corrected.count, report.downlink.corrected.count), (0, 0));
        let text = report.to_string();
        assert!(text.contains("2 frames and 1 chunks of streams that were not whole"), "{text}");

        let mut whole = heard_less;
        whole.heard.samples = 320;
        whole.heard.arrivals = vec![(1, 320)];
        session.uplink.rate = 16_000;
        session.uplink.arrivals = vec![(1, 640)];
        let report = of(&session, &whole);
        assert_eq!((report.uplink.unplaced, report.downlink.unplaced), (0, 0), "{report}");
        assert_eq!((report.uplink.corrected.count, report.downlink.corrected.count), (2, 1));
    }
}
