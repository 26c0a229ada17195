//! The relay between the independent peers: what each side heard, held against the offline
//! conversion of what the other side said, sample for sample; and what becomes of a call when one
//! side errs.

use loadtest::carrier::record::{CallRecord, CallSpec, Hangup, Outcome};
use loadtest::clock::{MILLIS, Nanos};
use loadtest::gemini::script::{Handshake, Script, Speech, Step};
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::judge::{self, Made};
use loadtest::net::link::Closing;
use loadtest::report::Report;
use loadtest::schedule::{Bursts, Hole, MediaPlan};
use loadtest::verify::LEAD;

fn start(script: Script) -> Harness {
    start_with(script, |config| config)
}

fn start_with(script: Script, change: impl FnOnce(HarnessConfig) -> HarnessConfig) -> Harness {
    let config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script);
    Harness::start(change(config)).unwrap_or_else(|error| panic!("{error}"))
}

/// Makes the calls, stops everything, and judges what was heard.
fn judged(harness: Harness, calls: Vec<CallSpec>) -> (Report, Vec<CallRecord>) {
    let plans: Vec<_> = calls.iter().map(|call| (call.media.clone(), call.voice)).collect();
    let seed = harness.seed;
    let records = harness.calls(calls).unwrap();
    let mut sessions = Vec::new();
    while sessions.len() < records.len() {
        sessions.push(harness.session().expect("every call leaves a session behind"));
    }
    let (rest, ended) = harness.finish().unwrap();
    ended.unwrap();
    sessions.extend(rest);
    let made: Vec<Made> = plans
        .into_iter()
        .zip(&records)
        .map(|((media, voice), record)| Made { media, voice, record: record.clone() })
        .collect();
    (judge::judge(&made, &sessions, seed, LEAD), records)
}

#[test]
fn audio_flows_both_ways_whole_and_in_order() {
    let harness = start(Script::converse(2, Speech::real_time(600), 400 * MILLIS));
    let calls = (0..4).map(|index| harness.spec(index, MediaPlan::steady(3000))).collect();
    let (report, records) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 4 * 3000 * 16);
    assert_eq!(report.downlink.matched, 4 * 2 * 600 * 8);
    assert!(report.marks_returned > 0);
    for record in records {
        let closing = record.closing.expect("the relay closes");
        assert!(matches!(closing, Closing::Frame { code: 1000, .. }), "{closing:?}");
    }
}

#[test]
fn frames_of_any_length_bursts_and_holes_leave_no_trace_in_the_audio() {
    let harness = start(Script::listen());
    let mut media = MediaPlan::steady(2000);
    media.frame_bytes = vec![160, 8, 992, 320];
    media.bursts = Some(Bursts { every_ms: 700, pause_ms: 233 });
    media.holes = vec![Hole { at_ms: 500, len_ms: 300 }, Hole { at_ms: 1200, len_ms: 100 }];
    let calls = vec![harness.spec(0, media)];
    let (report, _) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 2400 * 16);
}

#[test]
fn the_model_may_hear_8_khz() {
    let script = Script::listen();
    let harness = start_with(script, |config| {
        config.with("VOCARIS_GEMINI_UPLINK_RATE", "8000").with("VOCARIS_TIMERS_GREETING_HOLD", "0s")
    });
    let calls = vec![harness.spec(0, MediaPlan::steady(500))];
    let (report, _) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 500 * 8);
}

#[test]
fn a_burst_cut_anywhere_is_paced_and_padded_at_its_end_alone() {
    let mut speech = Speech::burst(1990, 4.0);
    speech.chunk_samples = vec![1, 959, 7, 2400, 12_000];
    let mut script = Script::converse(1, speech, 0);
    script.framing.fragment_bytes = Some(1000);
    script.framing.pretty = true;
    let harness = start(script);
    let calls = vec![harness.spec(0, MediaPlan::steady(3500))];
    let (report, records) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.downlink.matched, 2000 * 8);
    // Paced: the phone never holds much more than the lead of 300 ms, and what it waited for.
    let queue_max = 400 * MILLIS + dry_for(&records[0]);
    let held = records[0].playout.queue_nanos_max;
    assert!(held <= queue_max, "{held} of {queue_max}: {report}");
}

/// How long a phone had nothing to play between the first of its audio and the last: on a machine
/// that stood still meanwhile, what was due in that time arrives at once.
fn dry_for(record: &CallRecord) -> Nanos {
    let (mut dry_at, mut played, mut dry_for) = (Nanos::MAX, 0, 0);
    for &(at, samples) in &record.heard.arrivals {
        dry_for += at.saturating_sub(dry_at);
        dry_at = if played == 0 { at } else { dry_at.max(at) } + (samples - played) * MILLIS / 8;
        played = samples;
    }
    dry_for
}

#[test]
fn an_interruption_voids_all_that_was_not_heard() {
    let mut speech = Speech::burst(4000, 4.0);
    speech.cut_after = Some(24 * 3000);
    let harness = start(Script::of(vec![
        Step::AwaitGreeting,
        Step::Speak(speech),
        Step::Interrupt { audio_ms: 40 },
        Step::Pause(200 * MILLIS),
        Step::Speak(Speech::real_time(400)),
    ]));
    let calls = vec![harness.spec(0, MediaPlan::steady(3000))];
    let (report, records) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert!(report.downlink.voided > 0);
    assert_eq!(records[0].heard.clears.len(), 1);
}

#[test]
fn audio_from_before_the_model_is_ready_is_not_lost() {
    let mut script = Script::listen();
    script.setup_after = Some(700 * MILLIS);
    // This model never greets: what the caller says is not to wait for that.
    let harness = start_with(script, |config| config.with("VOCARIS_TIMERS_GREETING_HOLD", "0s"));
    let calls = vec![harness.spec(0, MediaPlan::steady(1500))];
    let (report, _) = judged(harness, calls);
    assert!(report.is_good(), "{report}");
    assert!(report.uplink.early > 0);
}

#[test]
fn a_model_that_cannot_be_had_ends_the_call_with_a_word() {
    let mut script = Script::listen();
    script.handshake = Handshake::Refuse { status: 403, body: "no".into() };
    let harness = start(script);
    let record = harness.call(harness.spec(0, MediaPlan::steady(20_000))).unwrap();
    assert!(matches!(record.outcome, Outcome::ClosedByRelay(_)), "{:?}", record.outcome);
    let after = record.after.expect("the action is requested");
    assert_eq!(after.status, 200);
    assert!(!after.answer.unwrap().verbs.is_empty());
}

#[test]
fn a_caller_that_resets_harms_nobody_else() {
    let harness = start(Script::converse(1, Speech::real_time(800), 0));
    let mut calls: Vec<_> =
        (0..4).map(|index| harness.spec(index, MediaPlan::steady(1500))).collect();
    for call in calls.iter_mut().skip(2) {
        call.media = MediaPlan::steady(300).into();
        call.linger = 0;
    }
    calls[2].hangup = Hangup::Reset;
    calls[3].hangup = Hangup::CloseOnly;
    let voices: Vec<_> = calls.iter().map(|call| (call.media.clone(), call.voice)).collect();
    let seed = harness.seed;
    let records = harness.calls(calls).unwrap();
    let sessions: Vec<_> = (0..4).filter_map(|_| harness.session()).collect();
    assert_eq!(sessions.len(), 4, "every session ends with its call");
    let good: Vec<Made> = voices
        .into_iter()
        .zip(records)
        .take(2)
        .map(|((media, voice), record)| Made { media, voice, record })
        .collect();
    let report = judge::judge(&good, &sessions, seed, LEAD);
    assert!(report.is_good(), "{report}");
}

#[test]
fn garbage_from_the_model_never_reaches_the_phone() {
    for step in [
        Step::SendText("{\"serverContent\":".into()),
        Step::SendBinary(vec![0xFF, 0xFE]),
        // Opcode 0xF does not exist.
        Step::SendBytes(vec![0x8F, 0x00]),
        Step::Reset,
    ] {
        let named = format!("{step:?}");
        let harness = start(Script::of(vec![Step::AwaitUplink { ms: 200 }, step]));
        let record = harness.call(harness.spec(0, MediaPlan::steady(1000))).unwrap();
        assert!(record.heard.violations.is_empty(), "{named}");
        assert!(!matches!(record.outcome, Outcome::Failed(_)), "{named}: {:?}", record.outcome);
        let (_, ended) = harness.finish().unwrap();
        ended.unwrap();
    }
}
