//! What a relay that takes no more calls still expects once the last one has lost its phone.

use std::time::Instant;

use vocaris::call::Ending;
use vocaris::limits::RETURN_WAIT;
use vocaris::mail::{AcceptLetter, WorkerLetter};

use crate::harness::{Relay, token_in, until};
use crate::twilio::{after, agent_dialled, legacy};

/// A relay that drains, and whose only call has just lost its phone.
fn lost() -> Relay {
    let relay = Relay::start();
    let answer = relay.post_form("/twilio/incoming", "CallSid=CA1");
    let id = relay.fresh_id();
    let call = relay.admit_as(id, "CA1", Some(&token_in(&answer.body)), None);
    agent_dialled(&relay, call);
    relay.drain();
    until(|| relay.load.expected() == 1);
    relay.post_letter(AcceptLetter::Ended {
        id,
        call_sid: Some("CA1".into()),
        ending: Ending::PhoneLost,
        transfer: None,
        legacy: Some(legacy(id, "CA1")),
        had_model: true,
    });
    relay
}

#[test]
fn a_caller_who_does_not_come_back_is_expected_for_a_while_and_then_no_more() {
    let start = Instant::now();
    let relay = lost();
    // Nothing else happens that could wake it.
    until(|| relay.load.expected() == 0);
    assert!(start.elapsed() >= RETURN_WAIT);
}

#[test]
fn a_caller_who_asks_what_follows_is_expected_until_his_stream_is_over() {
    let relay = lost();
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
