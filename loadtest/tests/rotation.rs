//! A call whose model's connection is announced to end, or breaks, over and over: over real
//! sockets and TLS, what each side heard is held against what the other said, sample for sample.

use loadtest::carrier::record::{CallRecord, CallSpec, Outcome};
use loadtest::clock::MILLIS;
use loadtest::format::Format;
use loadtest::gemini::script::{Script, Speech, Step};
use loadtest::gemini::session::{SessionRecord, Spoken};
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::net::link::Closing;
use loadtest::schedule::MediaPlan;
use loadtest::signal;
use loadtest::verify::{align, spoken_code, turn_code};

/// Every session hears some of the caller, speaks a turn, and then does this.
fn start(last: Step) -> Harness {
    start_with(vec![session(vec![last])])
}

/// One session that hears some of the caller, speaks a turn, and then does this.
fn session(last: Vec<Step>) -> Script {
    let mut steps = vec![Step::AwaitUplink { ms: 300 }, Step::Speak(Speech::real_time(400))];
    steps.extend(last);
    Script { updates_every: Some(100 * MILLIS), ..Script::of(steps) }
}

/// Sessions by these scripts, one after the other.
fn start_with(scripts: Vec<Script>) -> Harness {
    let mut config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), Script::listen());
    config.stand_in.scripts = scripts.into_iter().map(Into::into).collect();
    Harness::start(config).unwrap_or_else(|error| panic!("{error}"))
}

/// One call; what it heard, and every session there was, in order.
fn one_call(harness: Harness, spec: CallSpec) -> (CallRecord, Vec<SessionRecord>) {
    let record = harness.call(spec).unwrap();
    let (mut sessions, ended) = harness.finish().unwrap();
    ended.unwrap();
    sessions.sort_by_key(|session| session.index);
    (record, sessions)
}

/// The handle a session was taken up with.
fn handle(session: &SessionRecord) -> Option<&str> {
    session.setup.as_ref()?["sessionResumption"]["handle"].as_str()
}

#[test]
fn a_call_outlives_connections_that_are_announced_to_end_and_loses_nothing() {
    rotate("0s", 5000, 4);
}

#[test]
fn a_connection_made_ahead_takes_the_place_of_one_announced_to_end() {
    // The caller never pauses: the connection is given up 5 s before its end, the next one has
    // been waiting for 3 s.
    let sessions = rotate("8s", 6000, 2);
    let last_heard = sessions[0].uplink.arrivals.last().expect("the caller was heard").0;
    assert!(sessions[1].accepted_at < last_heard, "it was there before the old one went");
}

/// A call of `ms` milliseconds whose connections are announced to end in `time_left`, and its
/// sessions.
fn rotate(time_left: &str, ms: u64, sessions_min: usize) -> Vec<SessionRecord> {
    let harness = start(Step::GoAway { time_left: time_left.into(), enforced: false });
    let spec = harness.spec(0, MediaPlan::steady(ms));
    let (media, voice, seed) = (spec.media.clone(), spec.voice, harness.seed);
    let (record, sessions) = one_call(harness, spec);

    assert_eq!(record.outcome, Outcome::HungUp, "{:?}", record.closing);
    assert!(record.heard.violations.is_empty(), "{:?}", record.heard.violations);
    for session in &sessions {
        assert!(session.complaints.is_empty(), "{:?}", session.complaints);
        let closing = session.ending.clone().expect("the relay closes");
        assert!(matches!(closing, Closing::Frame { code: 1000, .. }), "{closing:?}");
        let greeted = session.messages.iter().any(|(_, it)| it.get("clientContent").is_some());
        assert_eq!(greeted, session.index == 0, "greeted once in the call's life");
    }
    // The call ended before the last connection made ahead was needed.
    let sessions: Vec<_> = sessions.into_iter().filter(|it| it.setup.is_some()).collect();
    assert!(sessions.len() >= sessions_min, "only {} sessions", sessions.len());
    for pair in sessions.windows(2) {
        let taken_up = handle(&pair[1]).expect("the session is taken up again");
        let of = format!("session-{}-", pair[0].index);
        assert!(taken_up.starts_with(&of), "{taken_up} is not the newest handle");
    }

    let said = spoken_code(&media, voice, record.sent.len(), Format::PCMU);
    let heard: Vec<i16> =
        sessions.iter().flat_map(|session| session.uplink.pcm.iter().copied()).collect();
    let uplink = align(&signal::uplink(Format::PCMU, &said, 16_000), &heard);
    assert!(uplink.is_whole(), "the model heard {uplink:?}");

    let mut spoken = Vec::new();
    for session in &sessions {
        for turn in &session.spoken {
            let Spoken::Turn(turn) = turn else { panic!("nobody interrupted") };
            spoken.extend(turn_code(seed, session.index, turn, Format::PCMU));
        }
    }
    // The last turn may still be playing when the caller hangs up.
    assert!(
        spoken.starts_with(&Format::PCMU.units(&record.heard.audio)),
        "the caller heard something else"
    );
    assert!(record.heard.audio.len() >= (sessions_min - 1) * 400 * 8);
    sessions
}

#[test]
fn a_call_outlives_a_connection_that_breaks() {
    let harness = start_with(vec![session(vec![Step::Reset]), session(Vec::new())]);
    let (record, sessions) = {
        let spec = harness.spec(0, MediaPlan::steady(5000));
        one_call(harness, spec)
    };
    assert_eq!(record.outcome, Outcome::HungUp, "{:?}", record.closing);
    assert!(sessions.len() >= 2, "only {} sessions", sessions.len());
    assert!(handle(&sessions[1]).is_some_and(|handle| handle.starts_with("session-0-")));
    assert!(sessions[1].complaints.is_empty(), "{:?}", sessions[1].complaints);
}
