//! Callers of whom only the journal knows: what they are asked for, and what they get when it knows
//! something, nothing, or does not answer.

use vocaris::call::{CallId, Ending, Opening};
use vocaris::config::Carrier;
use vocaris::mail::{
    AcceptLetter, CallKey, DialLetter, JournalLetter, Recalled, Sequel, Whose, Wish, WorkerLetter,
};

use crate::harness::{Client, PATIENCE, Relay, get, token_in, until};

fn relay() -> Relay {
    Relay::with(|config| config.journal.enabled = true)
}

/// What the journal is asked, and the question's number.
fn asked(relay: &Relay) -> (u64, Whose, Wish) {
    match relay.journal.wait(PATIENCE) {
        Some(JournalLetter::Ask { ticket, whose, wish }) => (ticket, whose, wish),
        other => panic!("the journal was sent {other:?}"),
    }
}

/// The carrier asks what follows the stream of CA1.
fn after(relay: &Relay) -> Client {
    let mut client = relay.connect();
    client.send(get("/twilio/after?CallSid=CA1&CallStatus=in-progress"));
    client
}

fn answered(relay: &Relay, recalled: Recalled) -> String {
    let mut client = after(relay);
    let (ticket, whose, wish) = asked(relay);
    assert_eq!((whose, wish), (Whose::Call("CA1".to_owned()), Wish::Look), "nothing is taken yet");
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled });
    client.response().body
}

#[test]
fn what_the_journal_knows_is_what_follows() {
    let relay = relay();
    assert!(answered(&relay, Recalled::Nothing).contains("<Hangup/>"));
    let dial = Recalled::Over(Sequel::Dial("+15550199".to_owned()));
    assert!(answered(&relay, dial).contains("+15550199</"));
    let fallback = answered(&relay, Recalled::Over(Sequel::Fallback));
    assert!(fallback.contains("<Say>We are &lt;sorry&gt;"), "{fallback}");
    let again = answered(&relay, Recalled::Waits);
    assert!(again.contains("<Parameter name=\"vocaris_again\" value=\"1\"/>"), "{again}");
}

#[test]
fn a_journal_that_cannot_be_asked_is_asked_once_more_and_then_it_is_as_if_it_knew_nothing() {
    let relay = relay();
    let mut client = after(&relay);
    let (ticket, ..) = asked(&relay);
    let late = client.response().body;
    assert!(late.contains("<Pause length=\"1\"/>"), "{late}");
    assert!(late.contains("/twilio/after?asked_before=1</Redirect>"), "{late}");
    assert_eq!(relay.shared.journal.recalls.of("late"), 1);
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Waits });
    let failed = answered(&relay, Recalled::Unasked);
    assert!(failed.contains("asked_before=1</Redirect>"), "{failed}");
    let mut client = relay.connect();
    client.send(get("/twilio/after?asked_before=1&CallSid=CA1&CallStatus=in-progress"));
    let (ticket, ..) = asked(&relay);
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Unasked });
    assert!(client.response().body.contains("<Hangup/>"));
    assert!(answered(&relay, Recalled::Waits).contains("vocaris_again"), "the next one is served");
}

#[test]
fn the_stream_of_a_caller_who_was_cut_asks_a_journal_that_may_know_of_him_by_then() {
    for is_kept in [true, false] {
        let relay = Relay::with(|config| config.journal.enabled = is_kept);
        let (call_sid, id) = ("CA2", relay.fresh_id());
        relay.admit_as(id, call_sid, None, None);
        relay.end(id, call_sid, Ending::Drained);
        let mut client = relay.connect();
        client.send(get("/twilio/after?CallSid=CA2&CallStatus=in-progress"));
        if is_kept {
            // Not written yet, or held by the process that is stopping.
            let (ticket, ..) = asked(&relay);
            relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Nothing });
        }
        let body = client.response().body;
        assert!(body.contains("<Stream "), "{body}");
        assert_eq!(body.contains("vocaris_again"), is_kept, "{body}");
    }
}

#[test]
fn while_draining_a_caller_whose_relay_is_gone_is_led_on_where_there_is_a_place() {
    let relay = relay();
    relay.drain();
    let again = answered(&relay, Recalled::Waits);
    assert!(again.contains("<Stream ") && again.contains("vocaris_again"), "{again}");
    // His stream comes here, where no other relay has our name.
    stream(&relay, &again, true);
    let (.., wish) = asked(&relay);
    assert_eq!(wish, Wish::Claim);

    let full = Relay::with(|config| {
        config.journal.enabled = true;
        config.limits.max_calls = 1;
    });
    full.browser_inside(0);
    full.drain();
    let fallback = answered(&full, Recalled::Waits);
    assert!(fallback.contains("<Say>We are &lt;sorry&gt;"), "{fallback}");
}

#[test]
fn while_draining_a_caller_who_was_cut_is_sent_on_and_the_journal_is_not_asked() {
    let relay = relay();
    let (call_sid, id) = ("CA1", relay.fresh_id());
    relay.admit_as(id, call_sid, None, None);
    relay.drain();
    relay.end(id, call_sid, Ending::Drained);
    let later = after(&relay).response().body;
    assert!(later.contains("<Pause length=\"3\"/>"), "{later}");
    assert!(later.contains("/twilio/after</Redirect>"), "{later}");
    assert_eq!(relay.journal.len_letters(), 0);
}

#[test]
fn a_browser_that_no_other_process_could_know_again_is_not_journalled() {
    for shares in [true, false] {
        let relay = Relay::with(|config| {
            config.journal.enabled = true;
            config.server.token_secrets.clear();
            config.server.takeover = shares.then(|| "/nowhere/takeover".into());
        });
        let id = relay.fresh_id();
        let call = CallKey { worker: 1, slot: 3, generation: id.0 };
        let opening = Opening::Web { token: None, rate_hz: 16_000, agent: None, resume: None };
        relay.post_letter(AcceptLetter::Admit { call, id, opening });
        while !matches!(relay.dial_letter(), DialLetter::Dial { call: it, .. } if it == call) {}
        let mut letters = std::iter::from_fn(|| relay.workers[1].take());
        assert_eq!(letters.any(|it| matches!(it, WorkerLetter::Journal { .. })), shares);
    }
}

#[test]
fn calls_whose_end_is_known_are_not_asked_for() {
    let relay = relay();
    let (call_sid, id) = ("CA2", relay.fresh_id());
    relay.admit_as(id, call_sid, None, None);
    relay.end(id, call_sid, Ending::CallerHungUp);
    for query in ["CallSid=CA2", "CallSid=CA1&CallStatus=completed", "CallSid=", ""] {
        let body = relay.get(&format!("/twilio/after?{query}")).body;
        assert!(body.contains("<Hangup/>"), "{query}: {body}");
    }
    assert_eq!(relay.journal.len_letters(), 0);
}

/// A stream that brings the token of `answer`.
fn stream(relay: &Relay, answer: &str, again: bool) -> CallKey {
    let id: CallId = relay.fresh_id();
    let call = CallKey { worker: 1, slot: 3, generation: id.0 };
    let opening = Opening::Twilio {
        carrier: Carrier::Twilio,
        call_sid: "CA1".into(),
        stream_sid: "MZ1".into(),
        token: Some(token_in(answer)),
        from: None,
        to: None,
        again,
        custom: Vec::new(),
    };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    call
}

#[test]
fn a_stream_that_our_answer_sent_claims_its_conversation_and_no_other_waits_for_the_journal() {
    let relay = relay();
    let fresh = relay.get("/twilio/incoming?CallSid=CA1&From=1&To=2").body;
    let first = stream(&relay, &fresh, false);
    while !matches!(relay.dial_letter(), DialLetter::Dial { call, .. } if call == first) {}
    let WorkerLetter::Journal { call, name } = relay.worker_letter(1) else {
        panic!("it is journalled")
    };
    assert_eq!((call, name.as_deref()), (first, Some("CA1")));
    assert_eq!(relay.journal.len_letters(), 0);
}

#[test]
fn a_stream_whose_conversation_cannot_be_claimed_begins_anew() {
    for is_answered in [true, false] {
        let relay = relay();
        let again = answered(&relay, Recalled::Waits);
        let call = stream(&relay, &again, true);
        let (ticket, whose, wish) = asked(&relay);
        assert_eq!((whose, wish), (Whose::Call("CA1".to_owned()), Wish::Claim));
        if is_answered {
            relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Nothing });
        }
        let is_its = |letter| matches!(letter, DialLetter::Dial { call: it, .. } if it == call);
        while !is_its(relay.dial_letter()) {}
        until(|| relay.shared.comebacks.of("unknown") == 1);
    }
}

#[test]
fn the_stream_of_a_conversation_that_went_on_elsewhere_is_closed() {
    let relay = relay();
    let fresh = relay.get("/twilio/incoming?CallSid=CA1&From=1&To=2").body;
    let call = stream(&relay, &fresh, false);
    let WorkerLetter::Journal { .. } = relay.worker_letter(1) else { panic!("it is journalled") };
    let conversation = CallId(call.generation);
    relay.post_letter(AcceptLetter::TakenElsewhere { conversation });
    let letter = relay.worker_letter(1);
    assert!(matches!(letter, WorkerLetter::Replaced { call: old } if old == call), "{letter:?}");
    relay.post_letter(AcceptLetter::TakenElsewhere { conversation: CallId(1) });
}
