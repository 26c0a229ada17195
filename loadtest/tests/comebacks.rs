//! Callers whose connection the network resets in mid-call, against the real relay: the carrier
//! asks what follows, is led back, and the caller hears the model again, without a greeting.

use loadtest::carrier::Carrier;
use loadtest::carrier::endurance::Endurance;
use loadtest::carrier::mix::Line;
use loadtest::carrier::record::{CallRecord, Outcome};
use loadtest::clock::MILLIS;
use loadtest::gemini::record::SessionRecord;
use loadtest::gemini::scenario::Scenario;
use loadtest::gemini::script::Speech;
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::judge::{self, Made};
use loadtest::report::Report;
use loadtest::schedule::MediaPlan;
use loadtest::verify::LEAD;

/// What came of some calls.
struct Outlook {
    report: Report,
    records: Vec<CallRecord>,
    sessions: Vec<SessionRecord>,
}

/// So many calls of `ms` milliseconds whose carrier does as `endurance` says; the model speaks by
/// turns of 400 ms.
fn calls(count: usize, ms: u64, carrier: Carrier, endurance: &Endurance) -> Outlook {
    let scenario = Scenario::read("[session]\nupdates_every_ms = 100").unwrap();
    let scripts = scenario.scripts(20, &Speech::real_time(400), 300 * MILLIS);
    let mut config =
        HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), scripts[0].as_ref().clone());
    config.stand_in.scripts = scripts;
    config.carriers = vec![carrier];
    // A stream that was promised and does not come holds the end of the relay up no longer.
    let config = config.with("VOCARIS_SERVER_DRAIN_TIMEOUT", "1s");
    let harness = Harness::start(config).unwrap_or_else(|error| panic!("{error}"));
    let mut specs = Vec::new();
    for index in 0..count {
        let mut spec = harness.spec_on(Line::of(carrier), index, MediaPlan::steady(ms));
        spec.endurance = endurance.clone();
        specs.push(spec);
    }
    let plans: Vec<_> = specs.iter().map(|spec| (spec.media.clone(), spec.voice)).collect();
    let seed = harness.seed;
    let records = harness.calls(specs).unwrap();
    let (mut sessions, ended) = harness.finish().unwrap();
    ended.unwrap();
    sessions.sort_by_key(|session| session.index);
    let made: Vec<Made> = plans
        .into_iter()
        .zip(&records)
        .map(|((media, voice), record)| Made { media, voice, record: record.clone() })
        .collect();
    let report = judge::judge(&made, &sessions, seed, LEAD);
    Outlook { report, records, sessions }
}

fn lost_at(ms: &[u64]) -> Endurance {
    Endurance { lost_at: ms.iter().map(|ms| ms * MILLIS).collect(), ..Endurance::default() }
}

#[test]
fn callers_whose_connection_is_reset_come_back_and_hear_the_model_again_without_a_greeting() {
    let Outlook { report, records, .. } = calls(3, 5000, Carrier::Twilio, &lost_at(&[1500, 3200]));
    assert!(report.is_good(), "{report}");
    let comebacks = report.comebacks.as_ref().expect("streams were lost");
    assert_eq!((comebacks.calls, comebacks.streams), (3, 6), "{report}");
    assert_eq!((comebacks.heard_again, comebacks.resumed), (6, 6), "{report}");
    assert_eq!((comebacks.fresh, comebacks.greeted_again), (0, 0), "{report}");
    assert!(comebacks.lost.is_empty(), "{report}");
    // Two seams a call, each at least as long as it takes to ask and to dial on loopback.
    assert!(comebacks.unsaid_ms > 0.0, "{report}");
    for record in records {
        assert_eq!(record.outcome, Outcome::HungUp, "{:?}", record.closing);
        let mut begins_at = 0;
        for stream in (0..record.streams()).map(|nth| record.stream(nth)) {
            assert!(stream.first_frame >= begins_at, "no frame is said twice");
            begins_at = stream.first_frame + stream.sent.len();
            assert!(stream.heard.violations.is_empty(), "{:?}", stream.heard.violations);
        }
    }
}

#[test]
fn a_caller_that_comes_back_as_slowly_as_on_the_one_real_call_is_told_no_greeting_either() {
    let endurance = Endurance { lost_at: vec![1500 * MILLIS], ..Endurance::as_measured() };
    let Outlook { report, sessions, .. } = calls(1, 3650, Carrier::Twilio, &endurance);
    assert!(report.is_good(), "{report}");
    let comebacks = report.comebacks.expect("a stream was lost");
    assert_eq!((comebacks.resumed, comebacks.greeted_again), (1, 0));
    let seam_ms = comebacks.reopened.p50_us / 1e3;
    assert!(seam_ms >= 730.0 * 0.99, "the carrier took its time: {seam_ms}");
    assert!((comebacks.unsaid_ms - seam_ms).abs() <= 60.0, "what was said meanwhile is lost");
    assert!(sessions.iter().all(|session| session.complaints.is_empty()));
}

#[test]
fn a_caller_whose_carrier_opens_no_second_stream_is_counted_as_lost() {
    let endurance = Endurance { comebacks: 0, ..lost_at(&[1000]) };
    let Outlook { report, records, .. } = calls(1, 3000, Carrier::Twilio, &endurance);
    assert!(!report.is_good(), "{report}");
    assert!(records[0].after.as_ref().is_some_and(|after| after.status == 200));
    let comebacks = report.comebacks.expect("a stream was lost");
    assert_eq!((comebacks.calls, comebacks.streams, comebacks.heard_again), (1, 0, 0));
    assert_eq!(comebacks.lost.get("no more streams"), Some(&1), "{:?}", comebacks.lost);
}

#[test]
fn a_carrier_that_asks_nobody_loses_the_call() {
    let Outlook { report, records, .. } = calls(1, 2000, Carrier::Plivo, &lost_at(&[800]));
    assert!(!report.is_good(), "{report}");
    assert!(matches!(records[0].outcome, Outcome::ClosedByRelay(_)), "{:?}", records[0].outcome);
    let comebacks = report.comebacks.expect("a stream was lost");
    assert_eq!(comebacks.lost.get("nobody was to be asked"), Some(&1), "{:?}", comebacks.lost);
}
