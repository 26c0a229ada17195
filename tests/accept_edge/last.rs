//! What a relay that takes no more calls still expects once the last one has lost its phone.

use std::time::Duration;

use vocaris::accept::Deadlines;
use vocaris::call::{CallId, Ending};
use vocaris::mail::{AcceptLetter, WorkerLetter};

use crate::harness::{Client, PATIENCE, Relay, SHORT, get, token_in, until};
use crate::twilio::{after, agent_dialled, legacy};

/// A relay that drains and waits so long for callers, and its only call.
fn draining(comeback: Duration) -> (Relay, CallId) {
    let deadlines = Deadlines { comeback, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    let answer = relay.post_form("/twilio/incoming", "CallSid=CA1");
    let id = relay.fresh_id();
    let call = relay.admit_as(id, "CA1", Some(&token_in(&answer.body)), None);
    agent_dialled(&relay, call);
    relay.drain();
    until(|| relay.load.expected() == 1);
    (relay, id)
}

/// The call has lost its phone, and left what it had of this conversation.
fn lose(relay: &Relay, id: CallId) {
    relay.post_letter(AcceptLetter::Ended {
        id,
        call_sid: Some("CA1".into()),
        ending: Ending::PhoneLost,
        transfer: None,
        legacy: Some(legacy(id, "CA1")),
        had_model: true,
    });
}

/// A relay that drains, and whose only call has just lost its phone.
fn lost(comeback: Duration) -> Relay {
    let (relay, id) = draining(comeback);
    lose(&relay, id);
    relay
}

#[test]
fn a_caller_who_does_not_come_back_is_expected_for_a_while_and_then_no_more() {
    let relay = lost(SHORT);
    // Nothing else happens that could wake it.
    until(|| relay.load.expected() == 0);
}

#[test]
fn a_caller_whose_call_is_over_for_the_carrier_is_expected_no_more() {
    let relay = lost(PATIENCE * 2);
    relay.post_form("/twilio/after", "CallSid=CA2&CallStatus=completed");
    assert_eq!(outlook(&relay), 1, "another's");
    relay.post_form("/twilio/after", "CallSid=CA1&CallStatus=completed");
    until(|| relay.load.expected() == 0);
}

/// How a stream that was to go on ends before it hears of it, and whether its caller is expected
/// while the conversation comes back and afterwards.
#[test]
fn a_caller_lost_once_more_before_his_conversation_reached_him_is_expected() {
    for (ending, expected) in [(Ending::PhoneLost, 1), (Ending::CallerHungUp, 0)] {
        let relay = lost(PATIENCE * 2);
        let back = after(&relay, "CA1");
        let id = relay.fresh_id();
        let again = relay.admit_as(id, "CA1", Some(&token_in(&back)), None);
        let WorkerLetter::GoOn { legacy, .. } = relay.worker_letter(again.worker) else {
            panic!("it does not go on");
        };
        relay.post_letter(AcceptLetter::Ended {
            id,
            call_sid: Some("CA1".into()),
            ending,
            transfer: None,
            legacy: None,
            had_model: false,
        });
        assert_eq!(outlook(&relay), expected, "{ending:?}, on its way back");
        relay.post_letter(AcceptLetter::Unclaimed(legacy));
        assert_eq!(outlook(&relay), expected, "{ending:?}, back");
    }
}

/// What is still expected once the letters before have been read, and this question answered.
fn outlook(relay: &Relay) -> usize {
    let mut client = relay.connect();
    let ask = |client: &mut Client| {
        client.send(get("/readyz"));
        client.response();
    };
    // The first answer is of a turn that has read the letters; the second of one behind it, so
    // that the first one's outlook has been told, without the question.
    ask(&mut client);
    ask(&mut client);
    relay.load.expected()
}

#[test]
fn a_caller_who_asks_what_follows_is_expected_until_his_stream_is_over() {
    let relay = lost(PATIENCE * 2);
    let back = after(&relay, "CA1");
    assert!(back.contains("<Stream "), "{back}");
    let id = relay.fresh_id();
    let again = relay.admit_as(id, "CA1", Some(&token_in(&back)), None);
    match relay.worker_letter(again.worker) {
        WorkerLetter::GoOn { call, .. } => assert_eq!(call, again),
        other => panic!("it does not go on but {other:?}"),
    }
    until(|| relay.load.expected() == 1);
    relay.end(id, "CA1", Ending::CallerHungUp);
    until(|| relay.load.expected() == 0);
}
