//! What outlives a connection to the model: audio that had not left, what was said, the budget of a
//! call, the timers of its agent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tungstenite::Message;
use vocaris::call::session::{Cause, Kind};
use vocaris::call::{Door, Dropped, LineFault, LineTerms, Report, Revival};
use vocaris::config::Agent;
use vocaris::wire::browser::Who;

use crate::harness::{Stage, settings, speech, start, terms, turn_complete, voice, with_timers};
use crate::traps::{HUSH, content, frames, nudges};
use crate::{mulaw, upsampled};

#[test]
fn audio_that_had_not_left_when_a_line_ended_goes_first_to_the_next_one() {
    for by_close in [false, true] {
        let mut stage = Stage::joined();
        stage.update("h");
        stage.agent.deaf = true;
        let said: Vec<u8> = (0..30).flat_map(|_| mulaw(160)).collect();
        let (mut at, mut rest) = (0, said.chunks(160));
        frames(&mut stage, &mut at, 20, || rest.next().unwrap().to_vec());
        match by_close {
            true => stage.close_agent(1011, "Internal error encountered."),
            false => stage.lose_agent(),
        }
        frames(&mut stage, &mut at, 10, || rest.next().unwrap().to_vec());
        stage.pass(500);
        stage.redial();
        stage.pass(100);
        assert_eq!(stage.heard_by_model(), upsampled(&said), "by a close: {by_close}");
        assert_eq!(stage.tally().uplink.dropped_samples(), 0);
    }
}

#[test]
fn of_audio_that_had_not_left_no_more_than_the_bound_on_a_swap_is_kept() {
    let mut stage = Stage::joined();
    stage.agent.deaf = true;
    let said: Vec<u8> = (0..90).flat_map(|_| mulaw(160)).collect();
    let (mut at, mut rest) = (0, said.chunks(160));
    frames(&mut stage, &mut at, 60, || rest.next().unwrap().to_vec());
    stage.lose_agent();
    frames(&mut stage, &mut at, 30, || rest.next().unwrap().to_vec());
    stage.redial();
    stage.pass(100);
    assert_eq!(stage.heard_by_model().len(), 2 * 8_000, "one second");
    assert_eq!(stage.tally().uplink.dropped[Dropped::Overrun as usize], 40 * 160);
}

#[test]
fn after_1007_audio_that_had_not_left_is_dropped_too() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.deaf = true;
    let mut at = 0;
    frames(&mut stage, &mut at, 10, || mulaw(160));
    stage.close_agent(1007, "Request contains an invalid argument.");
    stage.redial();
    assert!(stage.heard_by_model().is_empty());
    assert_eq!(stage.tally().uplink.dropped[Dropped::Suspect as usize], 1_600);
}

#[test]
fn after_1007_what_was_not_consumed_is_not_sent_again_either() {
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&transparent());
    stage.update("h");
    let mut at = 0;
    frames(&mut stage, &mut at, 10, || mulaw(160));
    let before = stage.heard_by_model().len();
    stage.close_agent(1007, "Request contains an invalid argument.");
    assert!(matches!(stage.redial_with(&transparent()), Revival::Resume { .. }));
    assert_eq!(stage.heard_by_model().len(), before);
    assert_eq!(stage.tally().lines.replayed_messages, 0);
}

fn transparent() -> LineTerms {
    LineTerms { transparent: true, ..terms() }
}

/// A service that says what it has consumed is sent the rest again, to the sample.
#[test]
fn what_a_service_has_not_consumed_is_sent_again_when_its_session_is_resumed() {
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&transparent());
    let said: Vec<u8> = (0..20).flat_map(|n| mulaw(160 + n)[n..].to_vec()).collect();
    let (mut at, mut rest) = (0, said.chunks(160));
    frames(&mut stage, &mut at, 15, || rest.next().unwrap().to_vec());
    // `setup` has the number 0: of our own messages, the first ten are consumed.
    stage.agent.say(json!({"sessionResumptionUpdate": {"newHandle": "h", "resumable": true,
        "lastConsumedClientMessageIndex": "10"}}));
    stage.settle();
    frames(&mut stage, &mut at, 5, || rest.next().unwrap().to_vec());
    let before = stage.heard_by_model();
    stage.lose_agent();
    stage.redial_with(&transparent());
    let heard = stage.heard_by_model();
    assert_eq!(before, upsampled(&said));
    assert_eq!(heard[before.len()..], before[10 * 320..], "from the eleventh message on");
    assert_eq!(stage.tally().lines.replayed_messages, 10);
    // What was sent again can be asked for again.
    stage.update("h2");
    stage.lose_agent();
    stage.redial_with(&transparent());
    assert_eq!(stage.tally().lines.replayed_messages, 20);
    // A fresh session is told in words, and nothing else.
    stage.agent.say(json!({"serverContent": {"inputTranscription": {"text": "A table?"}}}));
    stage.agent.say(content("For which day?"));
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    stage.lose_agent();
    let before = stage.heard_by_model().len();
    let Revival::Fresh { summary } = stage.redials[0].clone() else { panic!("resumed twice") };
    assert!(summary.contains("Caller: A table?\nYou: For which day?"), "{summary}");
    let seed = Some(r#"{"seed":1}"#.into());
    stage.redial_with(&LineTerms { seed, ..transparent() });
    assert_eq!(stage.agent.texts()[0]["seed"], 1);
    assert_eq!(stage.heard_by_model().len(), before);
    assert_eq!(stage.tally().lines.replayed_messages, 20);
}

/// A call whose model read nothing any more: caller's audio and the answer to a tool wait for it
/// when its connection breaks.
fn lost_while_deaf(said: &[u8]) -> Stage {
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&transparent());
    stage.update("h");
    stage.agent.deaf = true;
    let (mut at, mut rest) = (0, said.chunks(160));
    frames(&mut stage, &mut at, 10, || rest.next().unwrap().to_vec());
    stage.agent.say(json!({"toolCall": {"functionCalls": [
        {"id": "f1", "name": "no_such_tool", "args": {}}]}}));
    stage.settle();
    frames(&mut stage, &mut at, 10, || rest.next().unwrap().to_vec());
    stage.lose_agent();
    stage
}

/// Audio that had not left goes to whatever session comes next; words that had not are the old
/// session's.
#[test]
fn of_what_had_not_left_a_fresh_session_is_sent_the_audio_alone() {
    let said: Vec<u8> = (0..20).flat_map(|_| mulaw(160)).collect();
    let mut stage = lost_while_deaf(&said);
    stage.refuse(LineFault::closed(Some(1008), ""));
    stage.pass(400);
    assert!(matches!(stage.redial_with(&transparent()), Revival::Fresh { .. }));
    stage.pass(100);
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    assert!(stage.agent.texts().iter().all(|text| text["toolResponse"].is_null()));
    // A session taken up again gets both, each once.
    let mut stage = lost_while_deaf(&said);
    stage.redial_with(&transparent());
    stage.pass(100);
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    let answers = stage.agent.texts();
    assert_eq!(answers.iter().filter(|text| text["toolResponse"].is_object()).count(), 1);
}

#[test]
fn an_answer_that_was_cut_short_is_told_to_a_fresh_session_as_far_as_it_was_heard() {
    let mut stage = Stage::joined();
    stage.answers_and_is_half_heard();
    assert_the_next_line_knows_where_it_was_cut(&mut stage);
}

fn assert_the_next_line_knows_where_it_was_cut(stage: &mut Stage) {
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    stage.lose_agent();
    let Revival::Fresh { summary } = stage.redials[0].clone() else { panic!("no handle") };
    assert!(summary.ends_with("You: We have a table at six ..."), "{summary}");
}

/// What each side said, once it is final: for whoever writes it down.
#[test]
fn every_turn_is_told_once_as_far_as_it_was_heard_and_whole_when_the_call_ends() {
    let told = |stage: &Stage| -> Vec<(Who, String, bool)> {
        let said = stage.reports.iter().filter_map(|report| match report {
            Report::Said { who, text, cut, .. } => Some((*who, text.clone(), *cut)),
            _ => None,
        });
        said.collect()
    };
    let mut settings = settings();
    settings.keep.transcript = true;
    let mut stage = Stage::joined_with(settings);
    stage.agent.say(json!({"serverContent": {"inputTranscription": {"text": "A table?"}}}));
    stage.agent.say(content("For which day?"));
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(700);
    let first = (Who::Caller, "A table?".to_owned(), false);
    assert_eq!(told(&stage), [first], "the answer is still playing");
    for ms in (200..=1_000).step_by(200) {
        stage.phone.say(json!({"event": "mark", "mark": {"name": format!("g0:{ms}")}}));
        stage.pass(100);
    }
    assert_eq!(told(&stage)[1], (Who::Agent, "For which day?".to_owned(), false));
    stage.agent.say(content("We have four tables"));
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    stage.pass(200);
    for ms in (1_200..=2_000).step_by(200) {
        stage.phone.say(json!({"event": "mark", "mark": {"name": format!("g0:{ms}")}}));
        stage.pass(200);
    }
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    assert_eq!(told(&stage)[2], (Who::Agent, "We have".to_owned(), true));
    stage.agent.say(json!({"serverContent": {"inputTranscription": {"text": "Monday."}}}));
    stage.settle();
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    assert_eq!(told(&stage)[3], (Who::Caller, "Monday.".to_owned(), false));
    assert_eq!(told(&stage).len(), 4);
}

#[test]
fn a_browser_that_returns_no_marks_has_heard_what_must_have_been_played() {
    let mut stage = Stage::joined_browser();
    stage.agent.say(content("We have a table at six and another one at nine."));
    stage.agent.say(speech(&voice(96_000, 0)));
    stage.settle();
    stage.pass(2_000);
    assert_the_next_line_knows_where_it_was_cut(&mut stage);
}

#[test]
fn a_line_without_updates_is_not_given_up_because_nobody_speaks() {
    let quiet = LineTerms { resumable: false, ..terms() };
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&quiet);
    let mut at = 0;
    frames(&mut stage, &mut at, 3_000, || HUSH.to_vec());
    assert!(stage.redials.is_empty(), "a minute of silence is no fault");
    // Asked something, it is watched like any other.
    frames(&mut stage, &mut at, 20, || mulaw(160));
    frames(&mut stage, &mut at, 360, || HUSH.to_vec());
    assert_eq!(nudges(&stage), 1);
    // One with updates is dead without them.
    let mut stage = Stage::joined();
    let mut at = 0;
    frames(&mut stage, &mut at, 1_001, || HUSH.to_vec());
    assert_eq!(stage.redials.len(), 1);
}

#[test]
fn a_close_every_ten_minutes_does_not_use_up_a_calls_budget() {
    let long = with_timers(|timers| timers.tone = Duration::ZERO);
    let long = vocaris::call::Settings { max_duration: Duration::from_secs(86_400), ..long };
    let mut stage = Stage::joined_with(long);
    for round in 0..60 {
        for _ in 0..20 {
            stage.phone.socket.send(Message::Ping(Vec::new().into())).unwrap();
            stage.settle();
            stage.pass(30_000);
        }
        stage.lose_agent();
        assert_eq!(stage.redials.len(), 1, "round {round}");
        stage.redial();
    }
    assert_eq!(stage.ending, None, "ten hours");
}

#[test]
fn a_connection_is_replaced_for_its_age_only_where_that_is_set_and_when_nobody_speaks() {
    let mut stage = Stage::joined_with(with_timers(|it| it.rotate = Duration::from_secs(510)));
    let pass = |stage: &mut Stage, seconds: u64| {
        for _ in 0..seconds {
            stage.phone.socket.send(Message::Ping(Vec::new().into())).unwrap();
            stage.settle();
            stage.pass(1_000);
        }
    };
    pass(&mut stage, 509);
    assert_eq!((stage.spares, stage.redials.len()), (0, 0));
    pass(&mut stage, 3);
    assert_eq!((stage.spares, stage.redials.len()), (1, 0), "not without a handle");
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.update("h");
    pass(&mut stage, 2);
    assert!(stage.redials.is_empty(), "the model speaks");
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(stage.redials.len(), 1);
    stage.redial();
    assert_eq!(stage.tally().lines.swaps[Kind::Resume as usize][Cause::GoAway.index()], 1);
    let mut stage = Stage::joined();
    stage.update("h");
    pass(&mut stage, 1_000);
    assert!(stage.redials.is_empty(), "never, unless it is set");
}

#[test]
fn an_agents_own_timers_go_before_the_common_ones() {
    let slow = Agent {
        timers: Arc::new(vocaris::config::Timers {
            reply: Duration::from_secs(20),
            media_timeout: Duration::ZERO,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.join_with(&LineTerms { agent: Some(Arc::new(slow)), ..terms() });
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    for (seconds, expected) in [(19, 0), (2, 1)] {
        for _ in 0..seconds {
            stage.agent.say(json!({"usageMetadata": {}}));
            stage.settle();
            stage.pass(1_000);
        }
        assert_eq!(nudges(&stage), expected);
    }
}
