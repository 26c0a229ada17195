//! A conversation whose phone was lost goes on with another stream of the same caller.

use std::time::Duration;

use serde_json::{Value, json};
use vocaris::call::session::{Cause, Kind};
use vocaris::call::{
    Door, Ending, Legacy, LineFault, LineTerms, Opening, Report, Revival, Settings, ToolOrder,
};
use vocaris::config::Secret;
use vocaris::limits::RETURNS_MAX;

use crate::harness::{Stage, media, settings, speech, terms, turn_complete, voice};
use crate::mulaw;
use crate::tools::{agent, answers, at};
use crate::traps::content;

/// A call in the middle of a conversation, with a session that can be taken up again.
fn talking() -> Stage {
    let mut stage = Stage::joined_as(agent(""));
    stage.agent.say(content("Hello, this is the taxi office. Where are you?"));
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(5_000);
    stage.update("h1");
    stage
}

fn lose_phone(stage: &mut Stage) -> Option<Box<Legacy>> {
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    stage.call.take_legacy(stage.ending.expect("the call is over"))
}

/// The next stream of the same caller, let in with what the one before left.
fn back(legacy: Legacy) -> Stage {
    back_with(legacy, settings())
}

fn back_with(legacy: Legacy, settings: Settings) -> Stage {
    let mut stage = Stage::opened_with(settings);
    assert!(matches!(stage.openings[..], [Opening::Twilio { .. }]));
    stage.call.handle_legacy(stage.now, legacy);
    stage.settle();
    stage
}

fn told(stage: &Stage, words: &str) -> usize {
    let texts = stage.agent.texts();
    texts.iter().filter(|text| text.to_string().contains(words)).count()
}

fn greeting_terms() -> LineTerms {
    let greeting = Some(r#"{"greet":1}"#.to_owned());
    LineTerms { greeting, agent: Some(agent("").into()), ..terms() }
}

#[test]
fn a_caller_who_comes_back_goes_on_with_the_same_session_and_is_not_greeted_again() {
    let legacy = lose_phone(&mut talking()).expect("nobody has ended it");
    let mut stage = back(*legacy);
    let handle = Secret::new("h1".to_owned());
    assert_eq!(stage.redials, [Revival::Resume { handle }]);
    // What he says meanwhile is not lost.
    for frame in 0..10 {
        stage.phone.say(media(frame * 20, &mulaw(160)));
    }
    stage.settle();
    stage.redial_with(&greeting_terms());
    stage.pass(200);
    assert_eq!(stage.heard_by_model().len(), 10 * 320);
    assert_eq!((told(&stage, "greet\":1"), told(&stage, "is back now")), (0, 1));
    stage.assert_is_listened_to();
    let swapped = stage.reports.iter().find_map(|report| match report {
        Report::Swapped { kind, cause, .. } => Some((*kind, *cause)),
        _ => None,
    });
    assert_eq!(swapped, Some((Kind::Resume, Cause::Returned)));
    assert_eq!(stage.ending, None);
}

#[test]
fn where_the_session_is_gone_a_fresh_one_is_told_what_was_said() {
    let legacy = lose_phone(&mut talking()).expect("nobody has ended it");
    let mut stage = back(*legacy);
    let refused = LineFault::closed(Some(1008), "session not found");
    assert!(matches!(stage.refuse(refused), Revival::Resume { .. }));
    stage.pass(3_000);
    let Some(Revival::Fresh { summary }) = stage.redials.front().cloned() else {
        panic!("{:?}", stage.redials);
    };
    assert!(summary.contains("You: Hello, this is the taxi office. Where are you?"), "{summary}");
    stage.redial_with(&greeting_terms());
    assert_eq!((told(&stage, "greet\":1"), told(&stage, "is back now")), (0, 1));
}

#[test]
fn what_the_caller_had_not_heard_yet_the_next_session_does_not_count_as_said() {
    let mut stage = Stage::joined_as(agent(""));
    stage.answers_and_is_half_heard();
    let stage = back(*lose_phone(&mut stage).expect("nobody has ended it"));
    let Some(Revival::Fresh { summary }) = stage.redials.front().cloned() else {
        panic!("{:?}", stage.redials);
    };
    assert!(summary.ends_with("You: We have a table at six ..."), "{summary}");
}

#[test]
fn a_tool_at_work_is_answered_as_unknown_and_asked_again_goes_by_the_same_key() {
    let mut stage = talking();
    let call = json!({"toolCall": {"functionCalls": [
        {"id": "f1", "name": "order_taxi", "args": at("nine")}]}});
    stage.agent.say(call);
    stage.settle();
    let key = stage.orders[0].key.clone();
    let mut stage = back(*lose_phone(&mut stage).expect("nobody has ended it"));
    stage.redial_as(agent(""));
    let told: Vec<Value> = answers(&stage);
    assert_eq!((told.len(), &told[0]["id"]), (1, &json!("f1")));
    assert!(told[0]["response"].to_string().contains("not known"), "{told:?}");
    stage.agent.say(json!({"toolCall": {"functionCalls": [
        {"id": "f2", "name": "order_taxi", "args": at("nine")}]}}));
    stage.settle();
    assert_eq!(stage.orders[0].key, key);
}

fn taxi_order(stage: &mut Stage, id: &str) -> ToolOrder {
    stage.agent.say(json!({"toolCall": {"functionCalls": [
        {"id": id, "name": "order_taxi", "args": at(id)}]}}));
    stage.settle();
    stage.orders.last().expect("it was ordered").clone()
}

#[test]
fn what_was_booked_is_the_same_conversations_and_a_number_counts_only_where_it_is_vouched_for() {
    let mut stage = talking();
    let before = taxi_order(&mut stage, "f1");
    assert_eq!(before.from.as_deref(), Some("+18005550199"));
    let mut stage = back(*lose_phone(&mut stage).expect("nobody has ended it"));
    stage.redial_as(agent(""));
    let after = taxi_order(&mut stage, "f2");
    assert_eq!((after.conversation, after.from), (before.conversation, before.from));
    let unsigned = Settings { signed: false, ..settings() };
    let mut stage = back_with(*lose_phone(&mut stage).expect("nobody has ended it"), unsigned);
    stage.redial_as(agent(""));
    assert_eq!(taxi_order(&mut stage, "f3").from, None, "anybody can claim it here");
}

#[test]
fn coming_back_makes_no_conversation_longer() {
    let settings = || Settings { max_duration: Duration::from_secs(60), ..settings() };
    let mut stage = Stage::opened_with(settings());
    stage.join_as(agent(""));
    stage.agent.say(content("Hello."));
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.update("h1");
    stage.pass(40_000 - stage.now.0 / 1_000_000);
    let mut stage = back_with(*lose_phone(&mut stage).expect("nobody has ended it"), settings());
    stage.redial_as(agent(""));
    stage.pass(19_000);
    assert_eq!(stage.ending, None);
    stage.pass(1_500);
    assert_eq!(stage.ending, Some(Ending::TooLong));
}

#[test]
fn a_call_that_somebody_ended_or_that_had_not_begun_leaves_nothing() {
    type End = fn(&mut Stage);
    let ends: [(&str, End); 4] = [
        ("hang-up", |stage| stage.phone.say(json!({"event": "stop", "streamSid": "MZ"}))),
        ("panic", |stage| stage.call.handle_failure(stage.now)),
        ("stop and gone", |stage| {
            stage.phone.say(json!({"event": "stop", "streamSid": "MZ"}));
            stage.settle();
            stage.call.handle_phone_gone(stage.now);
        }),
        ("model", |stage| {
            stage.agent.say(json!({"goAway": {"timeLeft": "0s"}}));
            stage.close_agent(1008, "blocked by policy");
            stage.pass(60_000);
        }),
    ];
    for (name, end) in ends {
        let mut stage = talking();
        end(&mut stage);
        stage.settle();
        let ending = stage.ending.unwrap_or_else(|| panic!("{name}: it goes on"));
        assert!(stage.call.take_legacy(ending).is_none(), "{name}");
    }
    let mut opened = Stage::opened_with(settings());
    assert!(lose_phone(&mut opened).is_none(), "its model was never there");
    let mut silent = Stage::joined_as(agent(""));
    assert!(lose_phone(&mut silent).is_none(), "its model had said nothing");
}

#[test]
fn what_is_left_is_taken_once_and_only_of_a_call_that_is_over() {
    let mut stage = talking();
    assert!(stage.call.take_legacy(Ending::PhoneLost).is_none());
    assert!(lose_phone(&mut stage).is_some());
    let again = stage.call.take_legacy(Ending::PhoneLost).map(|legacy| back(*legacy).redials);
    assert!(again.is_none_or(|redials| !matches!(redials[0], Revival::Resume { .. })));
}

#[test]
fn a_line_that_breaks_again_and_again_is_given_up_at_the_bound() {
    let mut stage = talking();
    for _ in 0..RETURNS_MAX {
        stage = back(*lose_phone(&mut stage).expect("within the bound"));
        stage.redial_as(agent(""));
    }
    assert!(lose_phone(&mut stage).is_none());
}

#[test]
fn a_browser_is_told_its_token_and_that_it_is_back() {
    let ready = |stage: &Stage| {
        let texts = stage.phone.texts();
        texts.into_iter().find(|text| text["type"] == "ready").expect("it is up")
    };
    let open = || {
        let mut stage = Stage::new(Door::Unknown);
        stage.phone.say(json!({"type": "hello", "rate": 16000, "resume": "t0"}));
        stage.settle();
        let [Opening::Web { resume: Some(token), .. }] = &stage.openings[..] else {
            panic!("{:?}", stage.openings);
        };
        assert_eq!(token, "t0");
        stage.call.handle_return_token(Secret::new("t1".to_owned()));
        stage
    };
    let mut stage = open();
    stage.join_as(agent(""));
    assert_eq!((&ready(&stage)["resume"], ready(&stage).get("returned")), (&json!("t1"), None));
    let mut stage = open();
    let legacy = lose_phone(&mut talking()).expect("nobody has ended it");
    stage.call.handle_legacy(stage.now, *legacy);
    stage.settle();
    assert_eq!(
        (&ready(&stage)["resume"], &ready(&stage)["returned"]),
        (&json!("t1"), &json!(true))
    );
}
