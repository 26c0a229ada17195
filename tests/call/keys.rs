//! What a caller presses.

use serde_json::json;
use vocaris::call::{Ending, Oddity, Report};

use crate::harness::{STREAM, Stage, speech, start, turn_complete, voice};
use crate::tools::{agent, stage, words};

#[test]
fn keys_reach_the_model_as_one_group_by_a_pause_or_by_the_hash() {
    let mut stage = stage();
    stage.presses("12");
    stage.pass(1_500);
    stage.presses("34");
    stage.pass(1_900);
    assert!(words(&stage).is_empty());
    stage.pass(200);
    stage.presses("102#");
    stage.presses("#*#");
    let wanted =
        ["1 2 3 4", "1 0 2", "#", "*"].map(|k| format!("(The caller pressed the keys {k})"));
    assert_eq!(words(&stage), wanted);
    let dtmf = stage.reports.iter().filter(|report| **report == Report::Dtmf).count();
    assert_eq!(dtmf, 11);
}

#[test]
fn keys_do_not_cut_the_model_off() {
    let mut stage = stage();
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    stage.presses("7#");
    stage.pass(500);
    assert!(words(&stage).is_empty());
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(words(&stage).len(), 1);
}

#[test]
fn keys_pressed_before_the_model_is_there_wait_for_it() {
    let mut stage = Stage::new(vocaris::call::Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.presses("42#");
    stage.join_as(agent(""));
    stage.pass(20);
    assert!(words(&stage)[0].contains("4 2"));
}

#[test]
fn a_rule_is_for_its_keys_alone() {
    let mut stage = stage();
    stage.presses("5#");
    stage.pass(10);
    assert!(words(&stage).is_empty(), "nobody hears of it");
    stage.presses("0");
    stage.pass(1_900);
    assert_eq!(stage.ending, None);
    stage.pass(200);
    assert_eq!(stage.ending, Some(Ending::Transferred));
    assert_eq!(stage.call.transfer(), Some("+15550100"));
    assert!(stage.phone.texts().iter().any(|text| text["event"] == "clear"));
    let mut stage = Stage::joined_as(agent(""));
    stage.presses("9#");
    assert_eq!(stage.ending, Some(Ending::AgentHungUp));
}

#[test]
fn what_is_no_key_is_passed_over_and_a_flood_of_keys_is_bounded() {
    let mut stage = stage();
    for odd in ["", "12", "x", "\u{0}"] {
        let dtmf = json!({"event": "dtmf", "streamSid": STREAM, "dtmf": {"digit": odd}});
        stage.phone.say(dtmf);
    }
    stage.settle();
    assert_eq!(stage.tally().oddities[Oddity::PhoneUnknown as usize], 4);
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    for _ in 0..40 {
        stage.presses(&"8".repeat(16));
    }
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(words(&stage).len(), 8);
    assert_eq!(stage.tally().oddities[Oddity::AgentAway as usize], 12);
}

#[test]
fn a_page_presses_keys_too() {
    let mut stage = Stage::new(vocaris::call::Door::Unknown);
    stage.phone.say(json!({"type": "hello"}));
    stage.settle();
    stage.join_as(agent(""));
    for digit in ["6", "#"] {
        stage.phone.say(json!({"type": "key", "digit": digit}));
    }
    stage.settle();
    assert!(words(&stage)[0].ends_with("keys 6)"));
}
