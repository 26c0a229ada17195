//! What a call leaves in the journal while it goes on, and how another process goes on from there.

use std::time::Duration;

use serde_json::json;
use vocaris::call::{Again, Ending, Entry, Legacy, LineFault, Revival, Snapshot, Standing};
use vocaris::config::Secret;
use vocaris::limits::{JOURNAL_EVERY, JOURNAL_SOON};

use crate::harness::{Stage, settings, speech, turn_complete, voice};
use crate::tools::{agent, answers, at, done, words};
use crate::traps::content;

/// A call in the middle of a conversation, journalled from its first moment.
fn talking() -> Stage {
    let mut stage = Stage::opened_with(settings());
    stage.call.handle_journal(Some("CA1".to_owned()));
    stage.join_as(agent(""));
    stage.agent.say(content("Hello, this is the taxi office. Where are you?"));
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(5_000);
    stage.update("h1");
    stage.pass(500);
    stage
}

/// What another process makes of the last entry, once this one is gone.
fn legacy(stage: &Stage) -> Box<Legacy> {
    let (_, entry) = stage.entries.last().expect("there is an entry");
    let (Standing::Open(snapshot) | Standing::Parted(snapshot)) = &entry.standing else {
        panic!("{entry:?}");
    };
    let snapshot = Snapshot::read(&snapshot.to_json()).expect("it was written just now");
    let generation = entry.generation + 1;
    assert!(snapshot.has_begun(generation));
    let (call_name, left, agent) = (entry.call_name.clone(), entry.left, agent("").into());
    snapshot.into_legacy(generation, entry.conversation, call_name, left, agent)
}

fn back(legacy: Box<Legacy>) -> Stage {
    let mut stage = Stage::opened_with(settings());
    stage.call.handle_legacy(stage.now, *legacy);
    stage.settle();
    stage
}

fn since(stage: &Stage, from: usize) -> Vec<Duration> {
    stage.entries[from..].windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect()
}

#[test]
fn another_process_resumes_the_session_and_greets_nobody_again() {
    let stage = talking();
    let mut stage = back(legacy(&stage));
    let handle = Secret::new("h1".to_owned());
    assert_eq!(stage.redials, [Revival::Resume { handle }]);
    stage.redial_as(agent(""));
    let told = stage.agent.texts();
    assert_eq!(told.iter().filter(|text| text.to_string().contains("is back now")).count(), 1);
    assert_eq!(stage.ending, None);
}

#[test]
fn what_our_answer_said_of_a_conversation_is_read_as_it_was_written() {
    for again in [Again::No, Again::Perhaps, Again::Past(0), Again::Past(u32::MAX)] {
        assert_eq!(Again::of(again.value().as_deref()), again);
    }
    // Of another version, or of nobody of ours: it names no stream that is over.
    for value in ["", "yes", "past-", "past-x", "past-4294967296"] {
        assert_eq!(Again::of(Some(value)), Again::Perhaps, "{value}");
    }
}

#[test]
fn each_stream_says_which_generation_of_the_conversation_it_is() {
    let stage = talking();
    assert!(stage.entries.iter().all(|(_, entry)| entry.generation == 0));
    let mut stage = back(legacy(&stage));
    stage.call.handle_journal(Some("CA1".to_owned()));
    stage.redial_as(agent(""));
    stage.update("h2");
    stage.pass(200);
    let (_, entry) = stage.entries.last().expect("there is an entry");
    assert_eq!(entry.generation, 1);
    // Another process had claimed it meanwhile, and wrote nothing.
    let (_, entry) = stage.entries.pop().expect("there is an entry");
    let Standing::Open(snapshot) = entry.standing else { panic!("it goes on") };
    let legacy =
        snapshot.into_legacy(3, entry.conversation, entry.call_name, entry.left, agent("").into());
    assert_eq!(legacy.generation(), 3);
}

#[test]
fn where_the_handle_is_refused_a_fresh_session_is_told_what_the_caller_has_heard() {
    let mut stage = talking();
    stage.phone.say(json!({"event": "mark", "mark": {"name": "g0:200"}}));
    stage.settle();
    stage.agent.say(content("We have a taxi at six and another one at nine."));
    stage.agent.say(speech(&voice(96_000, 0)));
    stage.settle();
    stage.pass(300);
    stage.update("h2");
    stage.pass(200);
    let mut stage = back(legacy(&stage));
    stage.refuse(LineFault::closed(Some(1008), "session not found"));
    stage.pass(3_000);
    let Some(Revival::Fresh { summary }) = stage.redials.front().cloned() else {
        panic!("{:?}", stage.redials);
    };
    assert!(summary.contains("You: Hello, this is the taxi office. Where are you?"), "{summary}");
    assert!(!summary.contains("nine"), "that was not heard: {summary}");
}

#[test]
fn what_a_tool_has_done_is_not_done_again_by_another_process() {
    let mut stage = talking();
    stage.calls("f1", "order_taxi", at("nine"));
    stage.replies(0, done("ordered"));
    stage.pass(200);
    let mut stage = back(legacy(&stage));
    stage.redial_as(agent(""));
    stage.calls("f2", "order_taxi", at("nine"));
    assert!(stage.orders.is_empty(), "{:?}", stage.orders);
    assert!(
        answers(&stage).iter().any(|answer| answer["response"].to_string().contains("ordered"))
    );
}

#[test]
fn a_tool_at_work_goes_by_the_same_key_whether_the_journal_knew_of_it_or_not() {
    for waits_ms in [0, 200] {
        let mut stage = talking();
        stage.call.handle_tool_reply(stage.now, 99, done("nobody asked"));
        let entries = stage.entries.len();
        stage.pass(200);
        stage.calls("f1", "order_taxi", at("nine"));
        if waits_ms == 0 {
            stage.entries.truncate(entries);
        } else {
            stage.pass(waits_ms);
        }
        let key = stage.orders[0].key.clone();
        let mut stage = back(legacy(&stage));
        stage.redial_as(agent(""));
        stage.calls("f2", "order_taxi", at("nine"));
        assert_eq!(stage.orders[0].key, key, "{waits_ms}");
        stage.calls("f3", "order_taxi", at("ten"));
        assert_ne!(stage.orders[1].key, key);
    }
}

#[test]
fn what_was_looked_up_in_between_does_not_give_a_change_another_key() {
    let mut stage = talking();
    let entries = stage.entries.len();
    stage.calls("f1", "look_up", json!({}));
    stage.calls("f2", "order_taxi", at("nine"));
    stage.entries.truncate(entries);
    let key = stage.orders[1].key.clone();
    let mut stage = back(legacy(&stage));
    stage.redial_as(agent(""));
    stage.calls("f3", "order_taxi", at("nine"));
    assert_eq!(stage.orders[0].key, key);
    stage.calls("f4", "look_up", json!({}));
    stage.call.handle_tool_reply(stage.now, stage.orders[0].ticket, done("ordered"));
    stage.calls("f5", "cancel_taxi", json!({}));
    stage.call.handle_tool_reply(stage.now, stage.orders[2].ticket, done("cancelled"));
    stage.calls("f6", "order_taxi", at("nine"));
    assert_ne!(stage.orders[3].key, key, "what was cancelled is ordered once more");
}

#[test]
fn of_many_long_results_the_journal_has_the_newest_and_an_entry_stays_small() {
    let mut stage = talking();
    for turn in 0..12 {
        let argument = format!("{turn}{}", "x".repeat(6_000));
        stage.calls(&format!("f{turn}"), "order_taxi", at(&argument));
        let ticket = stage.orders[turn].ticket;
        stage.call.handle_tool_reply(stage.now, ticket, done(&"y".repeat(6_000)));
        stage.settle();
    }
    stage.calls("f12", "cancel_taxi", json!({}));
    let key = stage.orders[12].key.clone();
    stage.pass(200);
    let (_, entry) = stage.entries.last().unwrap();
    let Standing::Open(snapshot) = &entry.standing else { panic!("{entry:?}") };
    let bytes = snapshot.to_json().len();
    assert!(bytes < 64 * 1024 + 8 * 1024, "{bytes}");
    let mut stage = back(legacy(&stage));
    stage.redial_as(agent(""));
    stage.calls("f13", "order_taxi", at(&format!("11{}", "x".repeat(6_000))));
    assert!(stage.orders.is_empty(), "the newest is known");
    stage.calls("f14", "cancel_taxi", json!({}));
    assert_eq!(stage.orders[0].key, key);
    stage.calls("f15", "order_taxi", at(&format!("0{}", "x".repeat(6_000))));
    assert_eq!(stage.orders.len(), 2, "the oldest is not");
}

#[test]
fn where_the_journal_knew_nothing_of_an_order_another_one_does_not_get_its_key() {
    let mut stage = talking();
    let entries = stage.entries.len();
    stage.calls("f1", "order_taxi", at("nine"));
    stage.entries.truncate(entries);
    let key = stage.orders[0].key.clone();
    let mut stage = back(legacy(&stage));
    stage.redial_as(agent(""));
    stage.calls("f2", "cancel_taxi", json!({}));
    assert_ne!(stage.orders[0].key, key);
}

#[test]
fn a_session_that_is_lost_with_its_process_is_told_of_what_was_done_in_words() {
    let mut stage = talking();
    stage.calls("f1", "order_taxi", at("nine"));
    stage.replies(0, done("ordered"));
    stage.pass(200);
    let mut stage = back(legacy(&stage));
    stage.refuse(LineFault::closed(Some(1008), "session not found"));
    stage.pass(3_000);
    stage.redial_as(agent(""));
    assert!(words(&stage).iter().any(|word| word.contains("ordered")), "{:?}", words(&stage));
}

#[test]
fn handles_that_come_all_the_time_are_written_no_more_often_than_said() {
    let mut stage = talking();
    let from = stage.entries.len();
    for number in 0..100 {
        stage.update(&format!("n{number}"));
        stage.pass(20);
    }
    stage.pass(1_000);
    let gaps = since(&stage, from);
    assert!(gaps.iter().all(|gap| *gap >= JOURNAL_SOON), "{gaps:?}");
    assert!((10..=21).contains(&(gaps.len() + 1)), "{}", gaps.len());
    let mut again = back(legacy(&stage));
    assert_eq!(
        again.redials.pop_front(),
        Some(Revival::Resume { handle: Secret::new("n99".into()) })
    );
    let entries = stage.entries.len();
    stage.pass(10_000);
    assert_eq!(stage.entries.len(), entries, "nothing has changed");
}

#[test]
fn words_alone_are_written_once_a_second() {
    let mut stage = talking();
    stage.pass(2_000);
    let from = stage.entries.len();
    for _ in 0..50 {
        stage.agent.say(content("And then?"));
        stage.agent.say(turn_complete());
        stage.settle();
        stage.pass(50);
    }
    let gaps = since(&stage, from);
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| *gap >= JOURNAL_EVERY), "{gaps:?}");
}

#[test]
fn an_entry_that_nobody_took_is_offered_again() {
    let mut stage = talking();
    let from = stage.entries.len();
    stage.call.entry_lost();
    stage.pass(2_000);
    assert_eq!(stage.entries.len(), from + 1);
}

#[test]
fn a_lost_phone_is_told_from_a_goodbye() {
    let last = |mut stage: Stage| -> Entry { stage.entries.pop().expect("the end is told").1 };
    let mut stage = talking();
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    assert!(matches!(last(stage).standing, Standing::Parted(_)));

    let mut stage = talking();
    stage.phone.say(json!({"event": "stop", "stop": {}}));
    stage.settle();
    let closed = last(stage);
    let ending = Ending::CallerHungUp;
    assert!(
        matches!(closed.standing, Standing::Closed { ending: e, transfer: None } if e == ending)
    );
    assert_eq!(closed.call_name.as_deref(), Some("CA1"));
}

#[test]
fn a_call_nobody_vouches_for_is_not_written() {
    let mut stage = Stage::joined_as(agent(""));
    stage.update("h1");
    stage.pass(5_000);
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::PhoneLost));
    assert!(stage.entries.is_empty());
}
