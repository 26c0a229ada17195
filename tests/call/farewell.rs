//! How a model takes leave of its caller: it hangs up, or puts him through to somebody else.

use serde_json::json;
use vocaris::call::{Afterwards, Ending, ToolOutcome, ToolReply};

use crate::harness::{Stage, media, speech, start, turn_complete, voice};
use crate::tools::{agent, answers, at, done, stage, words};

/// The model says something, and that is its turn.
fn says(stage: &mut Stage, samples: usize) {
    stage.agent.say(speech(&voice(samples, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
}

/// The model says something, and hangs up in the same turn.
fn takes_leave(stage: &mut Stage, id: &str, samples: usize) {
    stage.agent.say(speech(&voice(samples, 0)));
    stage.calls(id, "end_call", json!({}));
    stage.agent.say(turn_complete());
    stage.settle();
}

#[test]
fn the_agent_hangs_up_when_its_goodbye_has_been_heard_and_no_sooner() {
    let mut stage = stage();
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.calls("a", "end_call", json!({}));
    assert_eq!(answers(&stage)[0]["scheduling"], "SILENT", "it has said goodbye");
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(1_200);
    assert_eq!(stage.ending, None, "sent, but not heard");
    stage.returns_marks();
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
    assert_eq!(stage.phone.close_code(), Some(1000));
    assert_eq!(stage.ending.unwrap().afterwards(), Afterwards::Hangup);
    assert_eq!(stage.heard_by_caller().len(), 8_000);
}

#[test]
fn a_goodbye_that_follows_the_wish_to_hang_up_is_waited_for() {
    let mut stage = stage();
    stage.calls("a", "end_call", json!({}));
    assert_eq!(answers(&stage)[0]["scheduling"], "WHEN_IDLE");
    stage.pass(2_000);
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.settle();
    stage.pass(500);
    stage.returns_marks();
    assert_eq!(stage.ending, None, "it is still speaking");
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(700);
    stage.returns_marks();
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

#[test]
fn a_model_that_hangs_up_without_a_word_or_never_ends_it_is_not_waited_for_for_ever() {
    let mut stage = Stage::joined_as(agent(""));
    stage.calls("a", "end_call", json!({}));
    stage.pass(2_900);
    assert_eq!(stage.ending, None);
    stage.pass(2_200);
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));

    let mut stage = Stage::joined_as(agent(""));
    stage.agent.say(speech(&voice(480, 0)));
    stage.calls("a", "end_call", json!({}));
    stage.pass(19_000);
    assert_eq!(stage.ending, None, "its turn is not complete");
    stage.pass(3_500);
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

#[test]
fn a_caller_who_goes_on_talking_is_not_hung_up_on() {
    let mut stage = stage();
    takes_leave(&mut stage, "a", 48_000);
    stage.caller_speaks(600);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    // What the phone throws away it returns the marks of.
    stage.returns_marks();
    stage.pass(3_000);
    assert_eq!(stage.ending, None);
    says(&mut stage, 480);
    stage.pass(1_000);
    assert!(words(&stage)[0].contains("went on talking"), "{:?}", words(&stage));
    takes_leave(&mut stage, "b", 480);
    stage.pass(200);
    stage.returns_marks();
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

#[test]
fn a_caller_who_has_one_more_thing_after_the_last_word_is_not_hung_up_on() {
    let mut stage = stage();
    takes_leave(&mut stage, "a", 24_000);
    stage.pass(700);
    stage.caller_speaks(600);
    stage.returns_marks();
    stage.pass(1_500);
    assert_eq!(stage.ending, None, "the model may still answer");
    says(&mut stage, 4_800);
    stage.pass(500);
    stage.returns_marks();
    stage.pass(6_000);
    assert_eq!(stage.ending, None, "it has answered");
    assert!(words(&stage)[0].contains("went on talking"), "{:?}", words(&stage));
}

#[test]
fn a_caller_who_says_goodbye_too_has_the_last_word() {
    let mut stage = stage();
    takes_leave(&mut stage, "a", 24_000);
    stage.pass(700);
    stage.caller_speaks(400);
    stage.returns_marks();
    stage.pass(3_000);
    assert_eq!(stage.ending, None);
    stage.pass(500);
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

#[test]
fn a_caller_who_never_stops_talking_is_hung_up_on_in_the_end() {
    let mut stage = stage();
    takes_leave(&mut stage, "a", 480);
    // Words with breaths between them: what never pauses is noise.
    for _ in 0..31 {
        stage.caller_speaks(400);
        for _ in 0..10 {
            stage.phone.say(media(0, &[0xff; 160]));
            stage.settle();
            stage.pass(20);
        }
    }
    stage.returns_marks();
    assert_eq!(stage.ending, None);
    stage.pass(2_000);
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

/// A call whose caller spoke over the model when it said that it would put them through.
fn put_off() -> Stage {
    let mut stage = stage();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.calls("a", "transfer_call", json!({"to": "office"}));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.caller_speaks(600);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    stage.returns_marks();
    stage.pass(1_000);
    assert_eq!(stage.ending, None);
    stage
}

#[test]
fn a_caller_who_thanks_for_being_put_through_is_put_through_after_the_models_answer() {
    let mut stage = put_off();
    says(&mut stage, 2_400);
    stage.pass(200);
    stage.returns_marks();
    stage.pass(2_000);
    assert_eq!(stage.ending, None, "the caller may go on");
    stage.pass(1_500);
    assert_eq!(stage.ending, Some(Ending::Transferred));
    assert_eq!(stage.call.transfer(), Some("+15550100"));
    assert!(words(&stage).is_empty(), "{:?}", words(&stage));

    let mut stage = put_off();
    stage.pass(4_000);
    assert_eq!(stage.ending, Some(Ending::Transferred), "there was nothing to answer");
}

#[test]
fn another_tool_or_a_caller_who_goes_on_calls_a_transfer_off() {
    let mut stage = put_off();
    stage.calls("b", "look_up", json!({}));
    stage.pass(6_000);
    assert_eq!((stage.ending, stage.call.transfer()), (None, None));

    let mut stage = put_off();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    stage.caller_speaks(600);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.returns_marks();
    stage.pass(500);
    says(&mut stage, 480);
    stage.pass(6_000);
    assert_eq!((stage.ending, stage.call.transfer()), (None, None));
    assert!(words(&stage)[0].contains("went on talking"), "{:?}", words(&stage));
}

#[test]
fn being_put_through_outdoes_being_hung_up_on_in_either_order() {
    for names in [["end_call", "transfer_call"], ["transfer_call", "end_call"]] {
        let mut stage = stage();
        stage.agent.say(speech(&voice(4_800, 0)));
        for name in names {
            stage.calls(name, name, json!({"to": "office"}));
        }
        stage.agent.say(turn_complete());
        stage.settle();
        let told = answers(&stage)[1]["response"]["output"].as_str().unwrap().to_owned();
        assert!(told.contains("put through"), "{told}");
        stage.pass(400);
        stage.returns_marks();
        assert_eq!(stage.ending, Some(Ending::Transferred), "{names:?}");
        assert_eq!(stage.call.transfer(), Some("+15550100"));
    }
}

#[test]
fn a_caller_is_put_through_to_whom_the_settings_name_and_to_nobody_else() {
    let mut stage = stage();
    stage.calls("a", "transfer_call", json!({"to": "+15559999"}));
    stage.calls("b", "transfer_call", json!({"to": ["office"]}));
    stage.calls("c", "transfer_call", json!({}));
    assert!(answers(&stage).iter().all(|answer| answer["response"]["error"].is_string()));
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.calls("d", "transfer_call", json!({"to": "office"}));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(400);
    assert_eq!(stage.ending, None);
    stage.returns_marks();
    assert_eq!(stage.ending, Some(Ending::Transferred));
    assert_eq!(stage.call.transfer(), Some("+15550100"));
    let told = stage.agent.texts();
    assert!(
        told.iter().all(|text| !text.to_string().contains("5550100")),
        "not the model's affair"
    );
}

#[test]
fn a_stream_that_nothing_follows_is_not_put_through() {
    let mut stage = Stage::new(vocaris::call::Door::Twilio);
    let mut start = start();
    start["start"]["customParameters"] = json!({});
    stage.phone.say(start);
    stage.settle();
    stage.join_as(agent(""));
    stage.calls("a", "transfer_call", json!({"to": "office"}));
    assert!(answers(&stage)[0]["response"]["error"].as_str().unwrap().contains("message"));
    stage.presses("0#");
    stage.pass(100);
    assert!(words(&stage)[0].contains("pressed 0"), "{:?}", words(&stage));
    assert_eq!(stage.ending, None);
}

#[test]
fn a_browser_is_told_what_the_agent_does_and_that_it_is_put_through() {
    let mut stage = Stage::new(vocaris::call::Door::Unknown);
    stage.phone.say(json!({"type": "hello"}));
    stage.settle();
    stage.join_as(agent(""));
    stage.calls("a", "order_taxi", at("18:30"));
    stage.replies(0, done("secret"));
    stage.calls("b", "look_up", json!({}));
    stage.replies(1, ToolReply::failed(ToolOutcome::Failed, "no"));
    stage.calls("c", "transfer_call", json!({"to": "office"}));
    stage.pass(5_000);
    assert_eq!(stage.ending, Some(Ending::Transferred));
    let told = stage.phone.texts();
    let states: Vec<_> = told
        .iter()
        .filter(|text| text["type"] == "tool")
        .map(|text| (text["id"].as_u64().unwrap(), text["state"].as_str().unwrap()))
        .collect();
    let wanted = [(0, "running"), (0, "done"), (1, "running"), (1, "failed"), (2, "done")];
    assert_eq!(states, wanted);
    assert!(told.iter().all(|text| !text.to_string().contains("secret")));
    assert_eq!(told.last().unwrap(), &json!({"type": "end", "reason": "transferred"}));
}
