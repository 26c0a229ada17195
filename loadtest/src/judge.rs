//! From records to a report: pairs calls with sessions, judges both directions, counts.
//!
//! In:       every call that was made and every session that was heard.
//! Out:      a [`Report`] without the figures of processes.
//! Bounds:   those of the records.
//! Not here: the comparison itself (`verify`), the run (`run`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{Nanos, SECONDS};
use crate::gemini::session::{SessionRecord, Spoken};
use crate::report::{Percentiles, Report};
use crate::schedule::MediaPlan;
use crate::signal::{self, CallerVoice};
use crate::twilio::caller::{CallRecord, Outcome};
use crate::verify::{self, Alignment, Latencies};

/// A call as it was to be and as it was.
pub struct Made {
    /// What was to be said.
    pub media: Arc<MediaPlan>,
    /// By whom.
    pub voice: CallerVoice,
    /// What happened.
    pub record: CallRecord,
}

/// Judges a run. `seed`: of the model's voices. `lead`: see [`verify::downlink_latency`].
pub fn judge(calls: &[Made], sessions: &[SessionRecord], seed: u64, lead: Nanos) -> Report {
    let mut report = Report { calls: calls.len(), ..Report::default() };
    count_calls(calls, &mut report);
    count_complaints(sessions, &mut report);
    let session_of = pair(calls, sessions, &mut report);
    judge_uplinks(calls, sessions, &session_of, &mut report);
    judge_downlinks(calls, sessions, &session_of, seed, lead, &mut report);
    report.judge();
    report
}

fn count_calls(calls: &[Made], report: &mut Report) {
    let mut setup = Vec::new();
    let mut late = Vec::new();
    for Made { record, .. } in calls {
        match &record.outcome {
            Outcome::HungUp => report.calls_good += 1,
            outcome => *report.failures.entry(format!("{outcome:?}")).or_default() += 1,
        }
        if let (Some(opened), Some(closed)) = (record.times.opened, record.times.closed) {
            setup.push(opened - record.times.started);
            report.call_seconds += (closed - opened) as f64 / SECONDS as f64;
        }
        for violation in &record.heard.violations {
            *report.violations.entry(violation.code()).or_default() += 1;
        }
        report.marks_returned += record.heard.marks_returned;
        report.underruns += record.playout.underruns;
        late.extend(record.sent.iter().map(|frame| frame.sent.saturating_sub(frame.planned)));
        if record.heard.truncated {
            report.problems.push(format!("call {}: heard more than is kept", record.index));
        }
    }
    report.setup = Percentiles::of(&setup);
    report.uplink.own_lateness = Percentiles::of(&late);
}

fn count_complaints(sessions: &[SessionRecord], report: &mut Report) {
    let mut late = Vec::new();
    for session in sessions {
        for complaint in &session.complaints {
            *report.complaints.entry(format!("{complaint:?}")).or_default() += 1;
        }
        for spoken in &session.spoken {
            if let Spoken::Turn(turn) = spoken {
                let chunks = turn.chunks.iter();
                late.extend(chunks.map(|chunk| chunk.sent.saturating_sub(chunk.planned)));
            }
        }
        if session.uplink.truncated {
            report.problems.push(format!("session {}: heard more than is kept", session.index));
        }
    }
    report.downlink.own_lateness = Percentiles::of(&late);
}

/// What the model must hear of a call at `rate`.
fn expected_uplink(call: &Made, rate: u32) -> Vec<i16> {
    let code = verify::spoken_code(&call.media, call.voice, call.record.sent.len());
    signal::uplink(&code, rate)
}

/// The session of each call, as an index into `sessions`.
fn pair(calls: &[Made], sessions: &[SessionRecord], report: &mut Report) -> Vec<Option<usize>> {
    let mut session_of = vec![None; calls.len()];
    let mut rates: Vec<u32> = sessions.iter().map(|session| session.uplink.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    for rate in rates.into_iter().filter(|&rate| rate != 0) {
        let expected: Vec<_> = calls.iter().map(|call| expected_uplink(call, rate)).collect();
        for (place, call) in verify::pair(&expected, sessions).into_iter().enumerate() {
            let Some(call) = call.filter(|_| sessions[place].uplink.rate == rate) else { continue };
            if let Some(other) = session_of[call].replace(place) {
                report.problems.push(format!(
                    "call {} was heard in two sessions, {} and {}",
                    calls[call].record.index, sessions[other].index, sessions[place].index
                ));
            }
        }
    }
    session_of
}

fn judge_uplinks(
    calls: &[Made],
    sessions: &[SessionRecord],
    session_of: &[Option<usize>],
    report: &mut Report,
) {
    let mut total = Alignment::default();
    let mut latencies = Latencies::default();
    for (call, session) in calls.iter().zip(session_of) {
        let Some(session) = session.map(|place| &sessions[place]) else {
            let lost = expected_uplink(call, 16_000).len() as u64;
            total.add(&Alignment { expected: lost, lost, ..Alignment::default() });
            continue;
        };
        let expected = expected_uplink(call, session.uplink.rate);
        let alignment = verify::uplink(&expected, session);
        total.add(&alignment);
        if alignment.is_whole() {
            latencies.add(verify::uplink_latency(&call.record, session));
        } else {
            report.problems.push(fault("uplink", &call.record, &alignment));
        }
    }
    report.uplink.set_samples(&total);
    set_latencies(&mut report.uplink, &latencies);
}

fn judge_downlinks(
    calls: &[Made],
    sessions: &[SessionRecord],
    session_of: &[Option<usize>],
    seed: u64,
    lead: Nanos,
    report: &mut Report,
) {
    let mut total = Alignment::default();
    let mut latencies = Latencies::default();
    let mut barge_ins = Vec::new();
    for (call, session) in calls.iter().zip(session_of) {
        let heard = call.record.heard.audio.len() as u64;
        let Some(session) = session.map(|place| &sessions[place]) else {
            total.add(&Alignment { foreign: heard, ..Alignment::default() });
            continue;
        };
        let answers = verify::barge_ins(session, &call.record);
        barge_ins.extend(answers.answered);
        report.interruptions_unanswered += answers.unanswered;
        let downlink = verify::downlink(seed, session, &call.record);
        total.add(&downlink.alignment);
        if downlink.alignment.is_whole() {
            latencies.add(verify::downlink_latency(&downlink, &call.record, lead));
        } else {
            report.problems.push(fault("downlink", &call.record, &downlink.alignment));
        }
    }
    report.downlink.set_samples(&total);
    set_latencies(&mut report.downlink, &latencies);
    report.barge_in = Percentiles::of(&barge_ins);
    summarize(&mut report.problems);
}

fn set_latencies(direction: &mut crate::report::Direction, latencies: &Latencies) {
    direction.corrected = Percentiles::of(&latencies.corrected);
    direction.uncorrected = Percentiles::of(&latencies.uncorrected);
    direction.early = latencies.early;
    direction.paced = latencies.paced;
}

fn fault(direction: &str, call: &CallRecord, alignment: &Alignment) -> String {
    format!(
        "{direction} of call {}: {} lost, {} doubled, {} foreign, first at sample {}",
        call.index,
        alignment.lost,
        alignment.doubled,
        alignment.foreign,
        alignment.first_fault.unwrap_or(0)
    )
}

/// The most problems of single calls that a report lists.
const LISTED_MAX: usize = 10;

/// Keeps the first problems of single calls and counts the rest.
fn summarize(problems: &mut Vec<String>) {
    if problems.len() > LISTED_MAX {
        let more = problems.len() - LISTED_MAX;
        problems.truncate(LISTED_MAX);
        problems.push(format!("and {more} more like these"));
    }
}

/// The failures of single calls, for a caller that made only a few.
pub fn failures(calls: &[CallRecord]) -> BTreeMap<String, usize> {
    let mut failures = BTreeMap::new();
    for record in calls.iter().filter(|record| record.outcome != Outcome::HungUp) {
        *failures.entry(format!("{:?}", record.outcome)).or_default() += 1;
    }
    failures
}
