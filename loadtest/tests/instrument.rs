//! The instrument itself under test: a faithful relay passes, and a relay that errs in any one way
//! does not. A test that cannot fail would prove nothing about the relay it is pointed at.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use loadtest::carrier::endurance::Endurance;
use loadtest::carrier::fleet::Fleet;
use loadtest::carrier::ids::Ids;
use loadtest::carrier::mix::Line;
use loadtest::carrier::record::{CallRecord, CallSpec, Failure, Hangup, Outcome};
use loadtest::carrier::target::{Entry, Secrets, Target};
use loadtest::clock::{Clock, MILLIS};
use loadtest::gemini::record::SessionRecord;
use loadtest::gemini::script::{Handshake, Script, Speech, Step};
use loadtest::gemini::server::{StandIn, StandInConfig};
use loadtest::harness::SESSION_WAIT;
use loadtest::judge::{self, Judgement, Made};
use loadtest::net::http::HttpError;
use loadtest::net::link::Closing;
use loadtest::probes::Probes;
use loadtest::report::{Direction, Report};
use loadtest::schedule::{Bursts, Hole, MediaPlan};
use loadtest::signal::CallerVoice;
use loadtest::verify::LEAD;
use support::Fault;
use support::nobody::Nobody;

const SEED: u64 = 11;

fn specs(
    clock: Clock,
    relay: SocketAddr,
    calls: usize,
    media: &Arc<MediaPlan>,
    probes: Probes,
) -> Vec<CallSpec> {
    let target = Arc::new(Target {
        authority: relay.to_string(),
        address: relay,
        tls: None,
        public_url: None,
        secrets: Secrets::default(),
        entry: Entry::Webhook { path: "/incoming".into() },
    });
    (0..calls)
        .map(|index| CallSpec {
            index,
            line: Line::default(),
            ids: Ids::of(Line::default().carrier, SEED, index),
            from: "+18005550199".into(),
            to: "+18005550100".into(),
            target: Arc::clone(&target),
            starts_at: clock.now(),
            media: Arc::clone(media),
            voice: CallerVoice::new(SEED, index),
            linger: 250 * MILLIS,
            hangup: Hangup::StopAndClose,
            endurance: Endurance::default(),
            probe: probes.is_one(index),
        })
        .collect()
}

/// Makes calls through a plain relay with `fault`, and judges them.
fn run(fault: Fault, script: Script, calls: usize, media: MediaPlan) -> (Report, Vec<CallRecord>) {
    let (made, sessions) = make(fault, script, calls, media);
    let report = judge::judge(&made, &sessions, SEED, LEAD);
    (report, made.into_iter().map(|made| made.record).collect())
}

/// Makes calls through a plain relay with `fault`.
fn make(
    fault: Fault,
    script: Script,
    calls: usize,
    media: MediaPlan,
) -> (Vec<Made>, Vec<SessionRecord>) {
    make_with(Probes::default(), fault, script, calls, media)
}

/// The same, where only `probes` are read as audio arrives.
fn make_with(
    probes: Probes,
    fault: Fault,
    script: Script,
    calls: usize,
    media: MediaPlan,
) -> (Vec<Made>, Vec<SessionRecord>) {
    let clock = Clock::start();
    let config = StandInConfig { tls: false, seed: SEED, probes, ..StandInConfig::local(script) };
    let stand_in = StandIn::start(clock, config).unwrap();
    let relay = support::start(stand_in.url.replace("localhost", "127.0.0.1"), fault);
    let media = Arc::new(media);
    let fleet = Fleet::start(clock, specs(clock, relay, calls, &media, probes), 2).unwrap();
    let records = fleet.join().unwrap();
    let mut sessions = Vec::new();
    while sessions.len() < calls {
        let session = stand_in.next_record(SESSION_WAIT);
        sessions.push(session.expect("every call leaves a session behind"));
    }
    let made = records.into_iter().map(|record| Made {
        media: Arc::clone(&media),
        voice: CallerVoice::new(SEED, record.index),
        record,
    });
    (made.collect(), sessions)
}

fn conversation() -> Script {
    Script::converse(2, Speech::real_time(400), 200 * MILLIS)
}

#[test]
fn a_faithful_relay_passes() {
    let (report, records) = run(Fault::None, conversation(), 4, MediaPlan::steady(3000));
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 4 * 3000 * 16);
    assert_eq!(report.downlink.matched, 4 * 2 * 400 * 8);
    assert_eq!(report.uplink.corrected.count + report.uplink.early, 4 * 150);
    assert_eq!(report.downlink.corrected.count + report.downlink.early, 4 * 2 * 10);
    assert!(report.marks_returned > 0);
    assert!(records.iter().all(|record| record.outcome == Outcome::HungUp));
}

/// Twelve calls of six seconds, of which ten are probes, through a relay with `fault`. The model has
/// spoken after less than four.
fn mostly_probes(fault: Fault) -> (Report, Vec<Made>, Vec<SessionRecord>) {
    let probes = Probes::of(12, 8);
    let script = Script::converse(2, Speech::real_time(1600), 400 * MILLIS);
    let (made, sessions) = make_with(probes, fault, script, 12, MediaPlan::steady(6000));
    let report = judge::judge(&made, &sessions, SEED, LEAD);
    (report, made, sessions)
}

#[test]
fn what_is_read_late_is_judged_in_full_and_gives_no_times() {
    let (report, made, sessions) = mostly_probes(Fault::None);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 12 * 6000 * 16);
    assert_eq!(report.downlink.matched, 12 * 2 * 1600 * 8);
    assert_eq!((report.probes.calls, report.probes.sessions), (10, 10));
    // Every piece of every probe is timed, unless nobody was ready for it; none of the others.
    let [up, down] = [&report.uplink, &report.downlink];
    assert_eq!(up.corrected.count + up.read_late + up.early, 12 * 300);
    assert_eq!(down.corrected.count + down.read_late + down.early, 12 * 80);
    assert!(up.corrected.count + up.early >= 10 * 300, "{report}");
    assert!(down.corrected.count + down.early >= 10 * 80, "{report}");
    assert!(up.read_late > 0 && down.read_late > 0, "{report}");
    // A probe is read message by message, the others several at a time.
    for Made { record, .. } in &made {
        let arrivals = record.heard.arrivals.len();
        assert_eq!(record.probe, arrivals == 80, "call {}: {arrivals}", record.index);
        assert!(record.heard.marks_returned == 80, "{}", record.heard.marks_returned);
    }
    for session in &sessions {
        let arrivals = session.uplink.arrivals.len();
        assert_eq!(session.probe, arrivals == 300, "session {}: {arrivals}", session.index);
    }
}

#[test]
fn what_is_lost_or_doubled_while_it_is_read_late_is_noticed_in_every_call() {
    let (report, ..) = mostly_probes(Fault::LosesFrame(150));
    // Where a filter blends what is before the gap with what is behind it, more is lost and foreign.
    let Direction { lost, foreign, doubled, .. } = report.uplink;
    assert_eq!((lost - foreign, doubled), (12 * 320, 0), "{report}");
    assert_eq!(report.downlink.lost, 0);
    let (report, ..) = mostly_probes(Fault::DoublesChunk(70));
    assert_eq!((report.downlink.doubled, report.downlink.lost), (12 * 320, 0), "{report}");
}

#[test]
fn a_relay_that_copes_with_bursts_holes_and_odd_frames_passes() {
    let mut media = MediaPlan::steady(1500);
    media.frame_bytes = vec![160, 8, 992, 320];
    media.bursts = Some(Bursts { every_ms: 700, pause_ms: 233 });
    media.holes = vec![Hole { at_ms: 500, len_ms: 300 }];
    let mut speech = Speech::burst(397, 4.0);
    speech.chunk_samples = vec![1, 959, 7, 2400];
    let (report, _) = run(Fault::None, Script::converse(2, speech, 300 * MILLIS), 2, media);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 2 * (1500 + 300) * 16);
    assert_eq!(report.downlink.matched, 2 * 2 * 400 * 8);
}

#[test]
fn a_lost_frame_is_noticed() {
    let (report, _) = run(Fault::LosesFrame(10), conversation(), 1, MediaPlan::steady(1000));
    assert!(!report.is_good());
    assert!(report.uplink.lost >= 320, "{report}");
    assert_eq!(report.downlink.lost, 0);
    let of = |it: &Direction| (it.unplaced, it.corrected.count + it.early);
    assert_eq!(of(&report.uplink), (50, 0), "none of its frames can be timed: {report}");
    assert_eq!(report.downlink.unplaced, 0, "{report}");
}

#[test]
fn audio_played_twice_is_noticed() {
    let (report, _) = run(Fault::DoublesChunk(5), conversation(), 1, MediaPlan::steady(2000));
    assert!(!report.is_good());
    assert_eq!((report.downlink.doubled, report.downlink.lost), (320, 0), "{report}");
}

#[test]
fn silence_within_a_turn_is_noticed() {
    let (report, _) = run(Fault::AddsSilence, conversation(), 1, MediaPlan::steady(2000));
    assert!(!report.is_good());
    assert_eq!(report.downlink.foreign, 160, "{report}");
}

#[test]
fn a_message_twilio_would_warn_about_is_noticed() {
    let (report, _) = run(Fault::ExtraField, conversation(), 1, MediaPlan::steady(1000));
    assert!(!report.is_good());
    assert!(report.violations["twilio 31951 Shape"] > 0);
}

fn interrupted() -> Script {
    let mut speech = Speech::burst(1000, 4.0);
    speech.cut_after = Some(24 * 600);
    Script::of(vec![
        Step::AwaitGreeting,
        Step::Speak(speech),
        Step::Interrupt { audio_ms: 40 },
        Step::Pause(100 * MILLIS),
        Step::Speak(Speech::real_time(200)),
    ])
}

#[test]
fn an_interruption_is_followed_by_new_speech_alone() {
    let (report, records) = run(Fault::None, interrupted(), 1, MediaPlan::steady(1500));
    assert!(report.is_good(), "{report}");
    assert_eq!(records[0].heard.clears.len(), 1);
    assert!(records[0].heard.clears[0].unplayed_samples > 0);
    assert_eq!(report.barge_in.count, 1);
}

#[test]
fn a_missing_clear_is_noticed() {
    let (report, _) = run(Fault::NoClear, interrupted(), 1, MediaPlan::steady(1500));
    // Everything said had been passed on before, so only the absence of the clear tells.
    assert_eq!(report.downlink.lost, 0);
    assert_eq!(report.interruptions_unanswered, 1);
    assert!(!report.is_good());
}

#[test]
fn a_relay_that_closes_first_is_asked_what_follows() {
    let (report, records) = run(Fault::ClosesEarly, conversation(), 1, MediaPlan::steady(1000));
    assert!(!report.is_good());
    assert!(matches!(records[0].outcome, Outcome::ClosedByRelay(Closing::Frame { .. })));
    let after = records[0].after.as_ref().expect("the action was requested");
    assert_eq!(after.status, 200);
    assert_eq!(after.answer.as_ref().unwrap().verbs, ["Hangup"]);
}

#[test]
fn a_model_that_refuses_is_seen_by_the_caller_as_the_relay_closes() {
    let mut script = Script::listen();
    script.handshake = Handshake::Refuse { status: 503, body: "busy".into() };
    let (_, records) = run(Fault::None, script, 1, MediaPlan::steady(1000));
    let closed = Outcome::ClosedByRelay(Closing::Frame { code: 1011, reason: "no model".into() });
    assert_eq!(records[0].outcome, closed);
}

#[test]
fn a_relay_that_is_not_there_fails_every_call_at_once() {
    let clock = Clock::start();
    let nobody = Nobody::anywhere();
    let media = Arc::new(MediaPlan::steady(1000));
    let records =
        Fleet::start(clock, specs(clock, nobody.address, 3, &media, Probes::default()), 1);
    let records = records.unwrap().join().unwrap();
    assert_eq!(records.len(), 3);
    let refused = HttpError::Io(std::io::ErrorKind::ConnectionRefused);
    for record in records {
        assert_eq!(record.outcome, Outcome::Failed(Failure::Webhook(refused)));
    }
}

/// Makes one call through a plain relay with `fault`; the verdicts sample for sample and by content.
fn both_verdicts(fault: Fault) -> (Report, Report) {
    let (made, sessions) = make(fault, conversation(), 1, MediaPlan::steady(2000));
    let by = |judged| judge::judge_by(judged, &made, &sessions, SEED, LEAD);
    (by(Judgement::Exact), by(Judgement::ByContent))
}

#[test]
fn a_relay_with_other_filters_passes_by_content_and_by_nothing_else() {
    let (exact, content) = both_verdicts(Fault::OtherFilters);
    assert!(!exact.is_good());
    assert!(content.is_good(), "{content}");
    let fidelity = content.fidelity.as_ref().unwrap();
    let [up, down] = [&fidelity.uplink, &fidelity.downlink];
    assert!((5.0..30.0).contains(&up.sinad_db.unwrap()), "{content}");
    assert!((5.0..40.0).contains(&down.sinad_db.unwrap()), "{content}");
    assert!(content.uplink.corrected.count > 0 && content.downlink.corrected.count > 0);
}

#[test]
fn the_second_ear_hears_what_is_lost_doubled_and_put_in() {
    let (_, content) = both_verdicts(Fault::None);
    assert!(content.is_good(), "{content}");
    assert_eq!((content.uplink.unplaced, content.downlink.unplaced), (0, 0), "{content}");
    for fault in [Fault::LosesFrame(10), Fault::DoublesChunk(5), Fault::AddsSilence] {
        let (exact, content) = both_verdicts(fault);
        assert!(!exact.is_good() && !content.is_good(), "{fault:?}: {content}");
        let fidelity = content.fidelity.as_ref().unwrap();
        let (faults, ms) = match fault {
            Fault::LosesFrame(10) => (fidelity.uplink.gaps, 20.0),
            Fault::DoublesChunk(5) => (fidelity.downlink.doubled, 40.0),
            _ => (fidelity.downlink.inserted, 20.0),
        };
        assert_eq!(faults.count, 1, "{fault:?}: {content}");
        assert!((faults.ms - ms).abs() < 0.2, "{fault:?}: {faults:?}");
        assert_eq!((content.problems.len(), content.calls_good), (2, 0), "{fault:?}: {content}");
        assert_eq!(content.problems[0], "1 of 1 calls failed");
        let unheard = u64::from(fault == Fault::LosesFrame(10));
        assert_eq!(content.uplink.unplaced, unheard, "{fault:?}: {content}");
    }
}
