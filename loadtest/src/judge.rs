//! From records to a report: pairs calls with sessions, judges both directions, counts.
//!
//! In:       every call that was made and every session that was heard.
//! Out:      a [`Report`] without the figures of processes.
//! Bounds:   those of the records.
//! Not here: the comparison itself (`verify`), the run (`run`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::apart::Telling;
use crate::carrier::Carrier;
use crate::carrier::record::{CallRecord, Formats, Outcome};
use crate::clock::{Nanos, SECONDS};
use crate::comebacks::{self, Part};
use crate::gemini::record::{Event, SessionRecord};
use crate::hold;
use crate::listen::{self, Audition, Ear, Fidelity, FidelityReport};
use crate::load::most_at_once;
use crate::net::link::Closing;
use crate::pairing::{self, expected_uplink};
use crate::recording::records;
use crate::report::{CarrierReport, Direction, Percentiles, Report, SwapReport};
use crate::schedule::MediaPlan;
use crate::signal::CallerVoice;
use crate::swaps::{self, Cause, Swap};
use crate::tally;
use crate::verify::{self, Alignment, Latencies, Placed, align};

/// A call as it was to be and as it was.
#[derive(Clone)]
pub struct Made {
    /// What was to be said.
    pub media: Arc<MediaPlan>,
    /// By whom.
    pub voice: CallerVoice,
    /// What happened.
    pub record: CallRecord,
}

/// What decides whether the audio of a run was good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Every sample, against the offline conversion by Vocaris's own kernels: for Vocaris.
    #[default]
    Exact,
    /// What the audio says, whatever filters it went through: for any relay. Latencies and
    /// counts are those by content, in samples at 8 kHz without silence.
    ByContent,
    /// How much audio came and when, never which: for a relay that passes no audio on.
    ByCount,
}

/// Calls that are listened to where every sample is compared as well: spread over the run. Where
/// the content decides, all of them are.
pub const LISTENED_MAX: usize = 100;

/// Judges a run sample for sample. `seed`: of the model's voices. `lead`: see
/// [`verify::downlink_latency`].
pub fn judge(calls: &[Made], sessions: &[SessionRecord], seed: u64, lead: Nanos) -> Report {
    let mut report = Report { calls: calls.len(), ..Report::default() };
    let parts = comebacks::parts(calls);
    let sessions_of = pair(&parts, sessions);
    let amiss = judge_all(calls, &parts, sessions, &sessions_of, seed, lead, &mut report);
    count_calls_of(calls, &parts, &sessions_of, &amiss, &mut report);
    report.judge();
    report
}

/// Judges a run in the given way; the report has its fidelity in any case.
pub fn judge_by(
    judged: Judgement,
    calls: &[Made],
    sessions: &[SessionRecord],
    seed: u64,
    lead: Nanos,
) -> Report {
    if judged == Judgement::ByCount {
        return tally::judge(calls, sessions, lead);
    }
    let mut report = Report { calls: calls.len(), judged, ..Report::default() };
    let mut ear = Ear::new();
    let parts = comebacks::parts(calls);
    let sessions_of = match judged {
        Judgement::Exact | Judgement::ByCount => pair(&parts, sessions),
        Judgement::ByContent => {
            pair_by_handle(&parts, sessions, listen::pair(&mut ear, &parts, sessions))
        }
    };
    let mut amiss = judge_all(calls, &parts, sessions, &sessions_of, seed, lead, &mut report);
    let ready: Vec<Vec<_>> = sessions_of.iter().map(|sessions| ready(sessions)).collect();
    let step = match judged {
        Judgement::Exact | Judgement::ByCount => parts.len().div_ceil(LISTENED_MAX).max(1),
        Judgement::ByContent => 1,
    };
    let listened = parts.iter().zip(ready.iter().map(Vec::as_slice)).step_by(step);
    let mut telling = Telling::begin(sessions).filter(|_| judged == Judgement::ByContent);
    let Audition { fidelity, latencies: [up, down], carriers, turns, amiss: heard_amiss } =
        listen::hear(&mut ear, listened, seed, lead, telling.as_mut());
    if judged == Judgement::ByContent {
        amiss = heard_amiss;
        set_heard(&mut report.uplink, &fidelity.uplink, &up);
        set_heard(&mut report.downlink, &fidelity.downlink, &down);
        note_early(&fidelity, &mut report);
        if let Some(swaps) = &mut report.swaps {
            swaps.lost_ms = fidelity.uplink.lost_at_faults_ms;
            swaps.void_model_ms = None;
            swaps.gap = Percentiles::of(&announced_gaps(&parts, &ready, &turns));
        }
        for (carrier, heard) in &carriers {
            if let Some(of_carrier) = report.carriers.get_mut(carrier.name()) {
                set_carrier(of_carrier, heard);
            }
        }
        let records = calls.iter().map(|call| &call.record);
        report.apart = telling.map(|telling| telling.report(records.clone()));
        report.held = hold::held(records, &up, &down);
        let streams = parts.iter().map(|part| &*part.record);
        report.recording = records::recording(streams, &sessions_of, &up, &down);
    }
    report.fidelity = Some(fidelity);
    count_calls_of(calls, &parts, &sessions_of, &amiss, &mut report);
    report.judge();
    report
}

/// Judges everything but how the calls ended. Says of each stream whether a side of it heard
/// anything but what the other said, sample for sample.
fn judge_all(
    calls: &[Made],
    parts: &[Part<'_>],
    sessions: &[SessionRecord],
    sessions_of: &[Vec<&SessionRecord>],
    seed: u64,
    lead: Nanos,
    report: &mut Report,
) -> Vec<bool> {
    count_parts(parts, report);
    count_complaints(sessions, report);
    let amiss = judge_parts(parts, sessions, sessions_of, seed, lead, report);
    let (of_comebacks, problems) = comebacks::judge(calls, parts, sessions_of);
    report.comebacks = of_comebacks;
    report.problems.extend(problems);
    amiss
}

/// Counts and latencies by content: samples at 8 kHz, silence not counted.
fn set_heard(direction: &mut Direction, fidelity: &Fidelity, latencies: &Latencies) {
    let samples = |ms: f64| (ms * 8.0).round() as u64;
    let lost_at_faults = samples(fidelity.lost_at_faults_ms);
    let lost = samples(fidelity.gaps.ms) + lost_at_faults;
    let edges = samples(fidelity.early_ms + fidelity.head_ms + fidelity.tail_ms);
    let expected = samples(fidelity.said_ms);
    let voided = samples(fidelity.void_ms);
    direction.set_samples(&Alignment {
        expected,
        matched: expected.saturating_sub(voided + edges + lost),
        lost,
        doubled: samples(fidelity.doubled.ms),
        foreign: samples(fidelity.inserted.ms),
        voided,
        first_fault: None,
    });
    direction.unheard_at_edges = edges;
    direction.lost_at_faults = lost_at_faults;
    direction.foreign_at_faults = 0;
    set_latencies(direction, latencies);
}

/// Remarks on what was said before the other side was ready and never heard: by content no fault up
/// to [`listen::EARLY_MS_MAX`], for nobody but the relay knows what it was to do with it.
fn note_early(fidelity: &FidelityReport, report: &mut Report) {
    for (name, of) in [("uplink", &fidelity.uplink), ("downlink", &fidelity.downlink)] {
        if of.early_ms >= 1.0 {
            report.remarks.push(format!(
                "{name}: not all that was said before the other side was ready was heard ({:.0} \
                 ms unheard, {} calls together); by content this is not lost",
                of.early_ms, of.calls
            ));
        }
    }
}

/// The calls of a carrier by content: samples at 8 kHz, silence not counted.
fn set_carrier(of_carrier: &mut CarrierReport, [uplink, downlink]: &[Fidelity; 2]) {
    let counted = |fidelity: &Fidelity| {
        let mut direction = Direction::default();
        set_heard(&mut direction, fidelity, &Latencies::default());
        let lost = direction.lost - direction.lost_at_faults;
        (Some(direction.matched), Some(lost + direction.doubled + direction.foreign))
    };
    (of_carrier.uplink_samples, of_carrier.uplink_faults) = counted(uplink);
    (of_carrier.downlink_samples, of_carrier.downlink_faults) = counted(downlink);
    (of_carrier.uplink, of_carrier.downlink) = (uplink.corrected, downlink.corrected);
}

/// The audible gaps of handovers that were announced, by where the turns were heard.
fn announced_gaps(
    parts: &[Part<'_>],
    ready: &[Vec<&SessionRecord>],
    turns: &[Vec<Placed>],
) -> Vec<Nanos> {
    let of_part = parts.iter().zip(ready).zip(turns);
    let swaps = of_part.flat_map(|((part, ready), turns)| swaps::of(&part.record, ready, turns).0);
    swaps.filter(|swap| swap.cause == Cause::Announced).filter_map(|swap| swap.gap).collect()
}

/// Those that took audio.
fn ready<'s>(sessions: &[&'s SessionRecord]) -> Vec<&'s SessionRecord> {
    sessions.iter().copied().filter(|it| it.ready_at.is_some()).collect()
}

/// The most samples that a filter's memory makes foreign behind a gap: the taps of the longest, at
/// 16 kHz.
const BLENDED_SAMPLES_MAX: u64 = 64;

/// The tools by which the model ends a call.
const ENDING_TOOLS: [&str; 2] = ["end_call", "transfer_call"];

/// What is said of a call that ended as planned, and in which a side heard anything but what the
/// other said.
const AMISS: &str = "ended as planned, but was not heard as it was said";

/// Counts how the calls ended. `amiss`: those in which a side heard anything but what the other
/// said, which are not good however well they ended.
pub(crate) fn count_calls(
    calls: &[Made],
    sessions_of: &[Vec<&SessionRecord>],
    amiss: &[bool],
    report: &mut Report,
) {
    let mut setup = Vec::new();
    for ((Made { record, .. }, sessions), amiss) in calls.iter().zip(sessions_of).zip(amiss) {
        match bad_end(record, sessions).or_else(|| amiss.then(|| AMISS.to_string())) {
            None => report.calls_good += 1,
            Some(failure) => *report.failures.entry(failure).or_default() += 1,
        }
        setup.extend(record.first_times().opened.map(|opened| opened - record.times.started));
    }
    report.setup = Percentiles::of(&setup);
    report.probes.calls = calls.iter().filter(|call| call.record.probe).count();
}

/// The same from the sessions of each stream, and which of the streams were heard amiss.
fn count_calls_of(
    calls: &[Made],
    parts: &[Part<'_>],
    sessions_of: &[Vec<&SessionRecord>],
    amiss: &[bool],
    report: &mut Report,
) {
    let mut of_calls = vec![false; calls.len()];
    for (part, amiss) in parts.iter().zip(amiss) {
        of_calls[part.call] |= amiss;
    }
    count_calls(calls, &comebacks::of_calls(parts, sessions_of), &of_calls, report);
}

/// How a call ended that did not end as planned.
fn bad_end(record: &CallRecord, sessions: &[&SessionRecord]) -> Option<String> {
    let mut tools = sessions.iter().flat_map(|session| &session.tools);
    let mut events = sessions.iter().flat_map(|session| &session.events);
    let is_to_end = tools.any(|asked| ENDING_TOOLS.contains(&&*asked.name))
        || events.any(|(_, event)| matches!(event, Event::Dismissed(_)));
    match &record.outcome {
        Outcome::HungUp if !is_to_end => None,
        Outcome::HungUp => Some("was to be ended by the model".into()),
        Outcome::ClosedByRelay(Closing::Frame { code: 1000, .. })
            if is_to_end || record.fell_silent =>
        {
            None
        }
        outcome => Some(outcome.to_string()),
    }
}

pub(crate) fn count_parts(parts: &[Part<'_>], report: &mut Report) {
    let mut late = Vec::new();
    let mut talks = Vec::new();
    for Part { record, .. } in parts {
        if let (Some(opened), Some(closed)) = (record.times.opened, record.times.closed) {
            talks.push((opened, closed));
            report.call_seconds += (closed - opened) as f64 / SECONDS as f64;
        }
        for violation in &record.heard.violations {
            let carrier = record.carrier;
            let name = match carrier {
                Carrier::Twilio => format!("twilio {} {violation:?}", violation.code()),
                _ => format!("{carrier} {violation:?}"),
            };
            *report.violations.entry(name).or_default() += 1;
        }
        report.marks_returned += record.heard.marks_returned;
        // Of audio that was read late nobody knows when it could have been played.
        report.underruns += if record.probe { record.playout.underruns } else { 0 };
        late.extend(record.sent.iter().map(|frame| frame.sent.saturating_sub(frame.planned)));
        if record.heard.truncated {
            report.problems.push(format!("call {}: heard more than is kept", record.index));
        }
    }
    report.most_at_once = most_at_once(talks);
    report.uplink.own_lateness = Percentiles::of(&late);
}

pub(crate) fn count_complaints(sessions: &[SessionRecord], report: &mut Report) {
    let mut late = Vec::new();
    report.probes.sessions = sessions.iter().filter(|session| session.probe).count();
    report.probes.sessions_seen = sessions.len();
    for session in sessions {
        report.talked_over += u64::from(session.talked_over);
        for complaint in &session.complaints {
            *report.complaints.entry(format!("{complaint:?}")).or_default() += 1;
        }
        late.extend(session.lateness().map(|(_, late)| late));
        if session.uplink.truncated {
            report.problems.push(format!("session {}: heard more than is kept", session.index));
        }
    }
    report.downlink.own_lateness = Percentiles::of(&late);
}

/// The sessions of each stream, in order. A session belongs to the call whose voice it heard; one
/// that heard nobody, to that of the session it was taken up from, or that took it up; and to the
/// stream that the call had, or asked for, when it began.
fn pair<'s>(parts: &[Part<'_>], sessions: &'s [SessionRecord]) -> Vec<Vec<&'s SessionRecord>> {
    pair_by_handle(parts, sessions, pairing::pair(parts, sessions))
}

/// The sessions of each stream, given the one whose voice each heard, if any.
fn pair_by_handle<'s>(
    parts: &[Part<'_>],
    sessions: &'s [SessionRecord],
    mut call_of: Vec<Option<usize>>,
) -> Vec<Vec<&'s SessionRecord>> {
    let place_of: HashMap<usize, usize> =
        sessions.iter().enumerate().map(|(place, session)| (session.index, place)).collect();
    let mut in_order: Vec<usize> = (0..sessions.len()).collect();
    in_order.sort_by_key(|&place| sessions[place].index);
    let before = |place: usize| {
        let from = sessions[place].taken_up_from?;
        place_of.get(&from).copied()
    };
    for &place in in_order.iter().rev() {
        if let (Some(call), Some(before)) = (call_of[place], before(place)) {
            call_of[before].get_or_insert(call);
        }
    }
    let mut sessions_of = vec![Vec::new(); parts.len()];
    for place in in_order {
        call_of[place] = call_of[place].or_else(|| call_of[before(place)?]);
        if let Some(call) = call_of[place] {
            let part = comebacks::part_at(parts, call, sessions[place].accepted_at);
            sessions_of[part].push(&sessions[place]);
        }
    }
    sessions_of
}

/// Judges every stream against its sessions. Says of each whether a side heard anything but what
/// the other said, a connection that was broken on purpose and the bounds of the records excepted.
fn judge_parts(
    parts: &[Part<'_>],
    sessions: &[SessionRecord],
    sessions_of: &[Vec<&SessionRecord>],
    seed: u64,
    lead: Nanos,
    report: &mut Report,
) -> Vec<bool> {
    let mut amiss = Vec::with_capacity(parts.len());
    let mut telling = Telling::begin(sessions);
    let (mut up, mut down) = (Alignment::default(), Alignment::default());
    let (mut up_latency, mut down_latency) = (Latencies::default(), Latencies::default());
    let mut barge_ins = Vec::new();
    let mut swaps = Swaps::default();
    let mut carriers: BTreeMap<Carrier, OfCarrier> = BTreeMap::new();
    for (call, sessions) in parts.iter().zip(sessions_of) {
        let ready = ready(sessions);
        let of_carrier = carriers.entry(call.record.carrier).or_default();
        of_carrier.count(call);
        let mut latencies = Latencies::default();
        let uplink = judge_uplink(call, &ready, report.judged, &mut latencies);
        up.add(&uplink);
        of_carrier.up.add(&uplink);
        of_carrier.up_latency.extend(&latencies.corrected);
        let downlink = verify::downlink(seed, &ready, &call.record);
        down.add(&downlink.alignment);
        of_carrier.down.add(&downlink.alignment);
        let is_whole = downlink.alignment.is_whole();
        let of_downlink = if is_whole {
            verify::downlink_latency(&downlink, &ready, &call.record, lead)
        } else {
            Latencies::unplaced(chunks(&ready))
        };
        if !is_whole && report.judged == Judgement::Exact {
            report.problems.push(fault("downlink", &call.record, &downlink.alignment));
        }
        if let Some(telling) = &mut telling {
            telling.add(&ready, &latencies, &of_downlink);
        }
        of_carrier.down_latency.extend(&of_downlink.corrected);
        up_latency.add(latencies);
        down_latency.add(of_downlink);
        for session in &ready {
            let answers = verify::barge_ins(session, &call.record);
            barge_ins.extend(answers.answered);
            report.interruptions_unanswered += answers.unanswered;
        }
        let (of_call, failed) = swaps::of(&call.record, &ready, &downlink.turns);
        swaps.failed += failed;
        swaps.refused += (sessions.len() - ready.len()) as u64;
        let rate = f64::from(call.record.formats.down.rate);
        // Behind the first fault of a stream nobody has looked.
        let void = downlink.alignment.is_whole().then(|| downlink.cut_samples as f64 / rate);
        swaps.void_model_ms = swaps.void_model_ms.zip(void).map(|(all, it)| all + it * 1000.0);
        let faults = of_call.iter().filter(|swap| swap.cause == Cause::Fault).count() as u64;
        let mut excused = Alignment::default();
        if faults > 0 {
            // What was on its way when the connection broke cannot be saved.
            swaps.lost_ms += uplink.lost as f64 * 1000.0 / f64::from(uplink_rate(&ready));
            report.uplink.lost_at_faults += uplink.lost;
            let blended = uplink.foreign.min(faults * BLENDED_SAMPLES_MAX);
            report.uplink.foreign_at_faults += blended;
            excused = Alignment { lost: uplink.lost, foreign: blended, ..excused };
        } else if !uplink.is_whole() && report.judged == Judgement::Exact {
            report.problems.push(fault("uplink", &call.record, &uplink));
        }
        swaps.count(&of_call);
        let kept_up = !ready.iter().any(|session| session.uplink.truncated);
        let kept_down = !call.record.heard.truncated;
        amiss.push(
            (kept_up && !uplink.is_whole_but_for(&excused))
                || (kept_down && !downlink.alignment.is_whole()),
        );
    }
    report.uplink.set_samples(&up);
    report.downlink.set_samples(&down);
    set_latencies(&mut report.uplink, &up_latency);
    set_latencies(&mut report.downlink, &down_latency);
    let calls = parts.iter().filter(|part| part.nth == 0).map(|part| &part.made.record);
    report.apart = telling.map(|telling| telling.report(calls.clone()));
    report.held = hold::held(calls, &up_latency, &down_latency);
    let streams = parts.iter().map(|part| &*part.record);
    report.recording = records::recording(streams, sessions_of, &up_latency, &down_latency);
    report.barge_in = Percentiles::of(&barge_ins);
    report.swaps = swaps.report();
    for (carrier, of_carrier) in carriers {
        report.carriers.insert(carrier.to_string(), of_carrier.report());
    }
    summarize(&mut report.problems);
    amiss
}

/// The calls of one carrier while they are counted.
#[derive(Default)]
struct OfCarrier {
    report: CarrierReport,
    setup: Vec<Nanos>,
    up: Alignment,
    down: Alignment,
    up_latency: Vec<Nanos>,
    down_latency: Vec<Nanos>,
}

impl OfCarrier {
    fn count(&mut self, part: &Part<'_>) {
        let record = &part.record;
        let Formats { up, down } = record.formats;
        self.report.calls += usize::from(part.nth == 0);
        self.report.calls_hung_up += usize::from(record.outcome == Outcome::HungUp);
        self.report.violations += record.heard.violations.len();
        self.report.marks_returned += record.heard.marks_returned;
        *self.report.formats.entry(format!("{up} up, {down} down")).or_default() += 1;
        let setup = record.times.opened.filter(|_| part.nth == 0);
        self.setup.extend(setup.map(|opened| opened - record.times.started));
    }

    fn report(self) -> CarrierReport {
        let [up, down] = [self.up, self.down].map(|it| it.lost + it.doubled + it.foreign);
        CarrierReport {
            setup: Percentiles::of(&self.setup),
            uplink_samples: Some(self.up.matched),
            uplink_faults: Some(up),
            downlink_samples: Some(self.down.matched),
            downlink_faults: Some(down),
            uplink: Percentiles::of(&self.up_latency),
            downlink: Percentiles::of(&self.down_latency),
            ..self.report
        }
    }
}

/// The rate at which a model hears; 16 kHz, where nothing came.
fn uplink_rate(sessions: &[&SessionRecord]) -> u32 {
    let rates = sessions.iter().map(|session| session.uplink.rate);
    rates.filter(|&rate| rate != 0).max().unwrap_or(16_000)
}

fn judge_uplink(
    call: &Part<'_>,
    sessions: &[&SessionRecord],
    judged: Judgement,
    latencies: &mut Latencies,
) -> Alignment {
    let (heard, _) = verify::stitch(sessions);
    let mut expected = expected_uplink(call, uplink_rate(sessions));
    if let Outcome::ClosedByRelay(_) = call.record.outcome {
        // What the caller said after the end is nobody's loss.
        expected.truncate(heard.len());
    }
    let alignment = match judged {
        Judgement::Exact => align(&expected, &heard),
        Judgement::ByContent | Judgement::ByCount => same_so_far(&expected, &heard),
    };
    latencies.add(match alignment.is_whole() {
        true => verify::uplink_latency(&call.record, sessions),
        false => Latencies::unplaced(call.record.sent.len()),
    });
    alignment
}

/// The pieces of speech that sessions sent.
pub(crate) fn chunks(sessions: &[&SessionRecord]) -> usize {
    sessions.iter().map(|session| session.lateness().count()).sum()
}

/// How far both are the same: of other filters' samples nothing more can be said.
fn same_so_far(expected: &[i16], heard: &[i16]) -> Alignment {
    let matched = expected.iter().zip(heard).take_while(|(e, h)| e == h).count();
    Alignment {
        expected: expected.len() as u64,
        matched: matched as u64,
        lost: (expected.len() - matched) as u64,
        foreign: (heard.len() - matched) as u64,
        first_fault: (matched < expected.len().max(heard.len())).then_some(matched as u64),
        ..Alignment::default()
    }
}

/// The swaps of a run while they are counted.
struct Swaps {
    announced: u64,
    faults: u64,
    unexplained: u64,
    failed: u64,
    refused: u64,
    lost_ms: f64,
    void_model_ms: Option<f64>,
    gaps: Vec<Nanos>,
    handovers: Vec<Nanos>,
    recoveries: Vec<Nanos>,
}

impl Default for Swaps {
    /// None so far, and nothing void.
    fn default() -> Swaps {
        Swaps {
            announced: 0,
            faults: 0,
            unexplained: 0,
            failed: 0,
            refused: 0,
            lost_ms: 0.0,
            void_model_ms: Some(0.0),
            gaps: Vec::new(),
            handovers: Vec::new(),
            recoveries: Vec::new(),
        }
    }
}

impl Swaps {
    fn count(&mut self, swaps: &[Swap]) {
        for swap in swaps {
            match swap.cause {
                Cause::Announced => {
                    self.announced += 1;
                    self.handovers.push(swap.handover);
                }
                Cause::Fault => self.faults += 1,
                Cause::Unexplained => self.unexplained += 1,
            }
            self.recoveries.extend(swap.recovery);
            if swap.cause == Cause::Announced {
                self.gaps.extend(swap.gap);
            }
        }
    }

    /// `None` for a run without any.
    fn report(self) -> Option<SwapReport> {
        let seen = self.announced + self.faults + self.unexplained;
        (seen + self.failed + self.refused > 0).then(|| SwapReport {
            seen,
            announced: self.announced,
            faults: self.faults,
            unexplained: self.unexplained,
            failed: self.failed,
            refused: self.refused,
            lost_ms: self.lost_ms,
            void_model_ms: self.void_model_ms,
            gap: Percentiles::of(&self.gaps),
            handover: Percentiles::of(&self.handovers),
            recovery: Percentiles::of(&self.recoveries),
        })
    }
}

pub(crate) fn set_latencies(direction: &mut Direction, latencies: &Latencies) {
    direction.corrected = Percentiles::of(&latencies.corrected);
    direction.uncorrected = Percentiles::of(&latencies.uncorrected);
    direction.early = latencies.early;
    direction.paced = latencies.paced;
    direction.read_late = latencies.read_late;
    direction.unplaced = latencies.unplaced;
}

pub(crate) fn fault(direction: &str, call: &CallRecord, alignment: &Alignment) -> String {
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
pub(crate) fn summarize(problems: &mut Vec<String>) {
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
        *failures.entry(record.outcome.to_string()).or_default() += 1;
    }
    failures
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::carrier::phone::SentFrame;
    use crate::clock::MILLIS;
    use crate::listen::Faults;
    use crate::signal;

    #[test]
    fn what_is_unheard_at_the_edges_of_calls_is_counted_and_its_early_part_is_told() {
        let fidelity = Fidelity {
            calls: 2,
            said_ms: 1000.0,
            void_ms: 100.0,
            early_ms: 40.0,
            head_ms: 5.0,
            tail_ms: 15.0,
            lost_at_faults_ms: 20.0,
            gaps: Faults { count: 1, ms: 10.0 },
            ..Fidelity::default()
        };
        let mut report = Report::default();
        set_heard(&mut report.uplink, &fidelity, &Latencies::default());
        let it = &report.uplink;
        assert_eq!((it.expected, it.voided, it.unheard_at_edges), (8000, 800, 480));
        assert_eq!((it.lost, it.lost_at_faults, it.matched), (240, 160, 6480));
        let downlink = Fidelity { early_ms: 0.0, ..fidelity.clone() };
        note_early(&FidelityReport { uplink: fidelity, downlink, held_ms: None }, &mut report);
        assert_eq!(report.remarks.len(), 1);
        let told = &report.remarks[0];
        assert!(told.starts_with("uplink: ") && told.contains("(40 ms unheard, 2 calls"), "{told}");
    }

    #[test]
    fn a_model_that_heard_nothing_counts_as_one_of_16_khz() {
        let at = |rate| {
            let mut session = SessionRecord::new(0, 0);
            session.uplink.rate = rate;
            session
        };
        assert_eq!(uplink_rate(&[]), 16_000);
        assert_eq!(uplink_rate(&[&at(0)]), 16_000);
        assert_eq!(uplink_rate(&[&at(0), &at(8_000)]), 8_000);
    }

    /// A call that said 6 s, sent frame by frame, and the session of a model that heard what is
    /// left of it without `missing`, in samples, and was ready at `ready_at`.
    fn said_and_heard(missing: Range<usize>, ready_at: Nanos) -> (Made, SessionRecord) {
        let media = Arc::new(MediaPlan::steady(6000));
        let voice = CallerVoice::new(1, 0);
        let mut record = CallRecord::empty(0);
        (record.times.opened, record.times.closed) = (Some(0), Some(7 * SECONDS));
        record.sent = media
            .frames()
            .map(|frame| SentFrame {
                planned: frame.at,
                sent: frame.at,
                clock_to: frame.clock_to(),
            })
            .collect();
        let code = verify::spoken_code(&media, voice, record.sent.len(), record.formats.up);
        let mut session = SessionRecord::new(0, 0);
        session.ready_at = Some(ready_at);
        session.setup = Some(serde_json::json!({ "systemInstruction": "caller +18000000000" }));
        session.uplink.rate = 16_000;
        session.uplink.pcm = signal::uplink(record.formats.up, &code, 16_000);
        session.uplink.pcm.drain(missing);
        let heard = session.uplink.pcm.len() as u64;
        let arrivals = (1..=heard / 320).map(|n| (ready_at.max(n * 20 * MILLIS), n * 320));
        session.uplink.arrivals = arrivals.collect();
        (Made { media, voice, record }, session)
    }

    const JUDGEMENTS: [Judgement; 3] = [Judgement::Exact, Judgement::ByContent, Judgement::ByCount];

    fn judged(judged: Judgement, (made, session): &(Made, SessionRecord)) -> Report {
        let calls = std::slice::from_ref(made);
        judge_by(judged, calls, std::slice::from_ref(session), 1, 0)
    }

    #[test]
    fn a_call_of_which_the_model_heard_4_s_less_than_was_said_is_not_good_however_it_is_judged() {
        for by in JUDGEMENTS {
            let whole = judged(by, &said_and_heard(0..0, 0));
            assert!(whole.is_good() && whole.calls_good == 1, "{by:?}: {whole}");
            // Lost in the middle; and at the beginning, by a relay that reached its model so late.
            for (missing, ready_at) in [(16_000..80_000, 0), (0..68_000, 4250 * MILLIS)] {
                let report = judged(by, &said_and_heard(missing.clone(), ready_at));
                assert_eq!(report.calls_good, 0, "{by:?} {missing:?}: {report}");
                assert_eq!(report.failures[AMISS], 1, "{by:?} {missing:?}: {report}");
                assert!(!report.is_good(), "{by:?} {missing:?}: {report}");
            }
        }
    }

    #[test]
    fn a_session_that_heard_nobody_is_of_the_call_of_the_one_that_took_it_up() {
        let (made, heard) = said_and_heard(0..0, 0);
        let calls = [made];
        let heard = SessionRecord { index: 1, taken_up_from: Some(0), ..heard };
        let sessions = [SessionRecord::new(0, 0), heard, SessionRecord::new(2, 0)];
        let sessions_of = pair(&comebacks::parts(&calls), &sessions);
        let of_call: Vec<usize> = sessions_of[0].iter().map(|session| session.index).collect();
        assert_eq!((sessions_of.len(), of_call), (1, vec![0, 1]));
    }

    #[test]
    fn a_caller_who_spoke_for_2_s_before_there_was_a_model_may_be_unheard_by_content_alone() {
        let unheard = said_and_heard(0..32_000, 2 * SECONDS);
        for by in JUDGEMENTS {
            let report = judged(by, &unheard);
            let good = by == Judgement::ByContent;
            assert_eq!((report.is_good(), report.calls_good), (good, usize::from(good)), "{by:?}");
        }
    }

    #[test]
    fn what_a_connection_broken_on_purpose_cost_and_what_nobody_kept_are_not_held_against_a_call() {
        let mut broken = said_and_heard(16_000..17_600, 0);
        let mut before = broken.1.clone();
        let cut_at = SECONDS;
        before.uplink.pcm.truncate(16_000);
        before.uplink.arrivals.retain(|&(_, to)| to <= 16_000);
        before.events.push((cut_at, Event::Cut));
        broken.1.uplink.pcm.drain(..16_000);
        broken.1.uplink.arrivals = vec![(6 * SECONDS, broken.1.uplink.pcm.len() as u64)];
        (broken.1.index, broken.1.ready_at) = (1, Some(cut_at + 100 * MILLIS));
        let report = judge(std::slice::from_ref(&broken.0), &[before, broken.1], 1, 0);
        assert!(report.is_good() && report.calls_good == 1, "{report}");
        assert!(report.uplink.lost_at_faults >= 1_600, "{report}");

        let mut long = said_and_heard(80_000..96_000, 0);
        long.1.uplink.truncated = true;
        let report = judged(Judgement::Exact, &long);
        assert!(!report.is_good() && report.calls_good == 1, "{report}");
    }

    #[test]
    fn model_audio_made_void_is_known_only_where_samples_are_compared_and_all_of_them_came() {
        let mut cut = said_and_heard(0..0, 0);
        cut.1.events.push((5 * SECONDS, Event::GoAway));
        let next = SessionRecord { taken_up_from: Some(0), ..SessionRecord::new(1, 5 * SECONDS) };
        let next = SessionRecord { ready_at: Some(6 * SECONDS), ..next };
        let sessions = [cut.1, next];
        let void = |made: &Made, by| {
            let report = judge_by(by, std::slice::from_ref(made), &sessions, 1, 0);
            report.swaps.expect("a swap").void_model_ms
        };
        assert_eq!(void(&cut.0, Judgement::Exact), Some(0.0));
        assert_eq!(void(&cut.0, Judgement::ByContent), None);
        // What nobody said stands before whatever else was heard.
        (cut.0.record.heard.audio, cut.0.record.heard.samples) = (vec![0x12; 160], 160);
        assert_eq!(void(&cut.0, Judgement::Exact), None);
    }
}
