//! Callers of whom only the journal knows: what they are asked for, and what they get when it knows
//! something, nothing, or does not answer.

use std::time::Duration;

use vocaris::call::{Again, CallId, Ending, Opening, Snapshot};
use vocaris::config::Carrier;
use vocaris::mail::{
    AcceptLetter, CallKey, DialLetter, JournalLetter, Purpose, Recall, Recalled, Right, Sequel,
    Whose, WorkerLetter,
};

use crate::harness::{Client, PATIENCE, Relay, get, token_in, until};

fn relay() -> Relay {
    Relay::with(|config| config.journal.enabled = true)
}

/// Its last stream was the fifth.
const WAITS: Recalled = Recalled::Waits { generation: 4 };

/// What the journal is asked, and the question's number.
fn asked(relay: &Relay) -> (u64, Whose, Purpose) {
    match relay.journal.wait(PATIENCE) {
        Some(JournalLetter::Ask { ticket, whose, purpose, .. }) => (ticket, whose, purpose),
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
    let (ticket, whose, purpose) = asked(relay);
    assert_eq!(
        (whose, purpose),
        (Whose::Call("CA1".to_owned()), Purpose::Look),
        "nothing is taken yet"
    );
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
    let again = answered(&relay, WAITS);
    assert!(again.contains("<Parameter name=\"vocaris_again\" value=\"past-4\"/>"), "{again}");
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
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: WAITS });
    let failed = answered(&relay, Recalled::Unasked);
    assert!(failed.contains("asked_before=1</Redirect>"), "{failed}");
    let mut client = relay.connect();
    client.send(get("/twilio/after?asked_before=1&CallSid=CA1&CallStatus=in-progress"));
    let (ticket, ..) = asked(&relay);
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Unasked });
    assert!(client.response().body.contains("<Hangup/>"));
    assert!(answered(&relay, WAITS).contains("vocaris_again"), "the next one is served");
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
    let again = answered(&relay, WAITS);
    assert!(again.contains("<Stream ") && again.contains("vocaris_again"), "{again}");
    // His stream comes here, where no other relay has our name.
    stream(&relay, &again, Again::Past(4));
    let (.., purpose) = asked(&relay);
    assert_eq!(purpose, Purpose::Claim(Right::Past(4)));

    let full = Relay::with(|config| {
        config.journal.enabled = true;
        config.limits.max_calls = 1;
    });
    full.browser_inside(0);
    full.drain();
    let fallback = answered(&full, WAITS);
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
fn stream(relay: &Relay, answer: &str, again: Again) -> CallKey {
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
    let first = stream(&relay, &fresh, Again::No);
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
        let again = answered(&relay, WAITS);
        let call = stream(&relay, &again, Again::Past(4));
        let (ticket, whose, purpose) = asked(&relay);
        let claim = Purpose::Claim(Right::Past(4));
        assert_eq!((whose, purpose), (Whose::Call("CA1".to_owned()), claim));
        if is_answered {
            relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Nothing });
        }
        let is_its = |letter| matches!(letter, DialLetter::Dial { call: it, .. } if it == call);
        while !is_its(relay.dial_letter()) {}
        until(|| relay.shared.comebacks.of("unknown") == 1);
    }
}

#[test]
fn a_call_that_another_process_still_believes_in_is_asked_for_twice_and_then_led_past_it() {
    let relay = relay();
    let held = || Recalled::Held { generation: 2 };
    let first = answered(&relay, held());
    assert!(first.contains("/twilio/after?asked_before=1</Redirect>"), "{first}");
    let mut client = relay.connect();
    client.send(get("/twilio/after?asked_before=1&CallSid=CA1&CallStatus=in-progress"));
    let (ticket, ..) = asked(&relay);
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: held() });
    let second = client.response().body;
    assert!(second.contains("<Parameter name=\"vocaris_again\" value=\"past-2\"/>"), "{second}");
    // To the stream that is told of nobody's end nothing is given that somebody has.
    let call = stream(&relay, &second, Again::Perhaps);
    let (ticket, _, purpose) = asked(&relay);
    assert_eq!(purpose, Purpose::Claim(Right::Free));
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: held() });
    let is_its = |letter| matches!(letter, DialLetter::Dial { call: it, .. } if it == call);
    while !is_its(relay.dial_letter()) {}
}

/// What is known of a conversation before the stream of this generation.
fn recall(conversation: CallId, generation: u32, words: &str) -> Recall {
    let snapshot = format!(
        "{{\"form\":1,\"agent\":\"everybody\",\"to\":null,\"handle\":\"{words}\",\
         \"has_spoken\":true,\"returns\":{},\"turns\":[],\"tools\":{{\"finished\":[],\
         \"answers\":[],\"notes\":[],\"next_ticket\":0,\"next_batch\":0}}}}",
        generation - 1
    );
    let snapshot = Snapshot::read(&snapshot).unwrap();
    let (call_name, left) = (Some("CA1".to_owned()), Duration::from_secs(60));
    Recall { conversation, call_name, generation, left, snapshot }
}

/// The first stream of call CA1 loses its phone, and leaves its conversation.
fn lose_phone(relay: &Relay, conversation: CallId) {
    let Recall { call_name, left, snapshot, .. } = recall(conversation, 1, "kept here");
    let agent = vocaris::config::Agent::default().into();
    let legacy = snapshot.into_legacy(1, conversation, call_name, left, agent);
    relay.post_letter(AcceptLetter::Ended {
        id: conversation,
        call_sid: Some("CA1".to_owned()),
        ending: Ending::PhoneLost,
        transfer: None,
        legacy: Some(legacy),
        had_model: true,
    });
}

/// A relay whose call CA1 has lost its phone, and left its first stream's legacy.
fn parted() -> (Relay, CallId) {
    let relay = relay();
    let fresh = relay.get("/twilio/incoming?CallSid=CA1&From=1&To=2").body;
    let conversation = CallId(stream(&relay, &fresh, Again::No).generation);
    lose_phone(&relay, conversation);
    (relay, conversation)
}

/// The generation of what a worker is told to go on with, for the call `of`.
fn gone_on_with(relay: &Relay, of: CallKey) -> u32 {
    loop {
        if let WorkerLetter::GoOn { call, legacy, .. } = relay.worker_letter(1)
            && call == of
        {
            return legacy.generation();
        }
    }
}

#[test]
fn what_another_process_did_afterwards_goes_before_what_is_kept_here() {
    // In the journal: what was kept here; and what a second stream did elsewhere.
    for (generation, source) in [(1, "here"), (2, "journal")] {
        let (relay, conversation) = parted();
        let waits = Recalled::Waits { generation: generation - 1 };
        let again = answered(&relay, waits);
        assert!(again.contains(&format!("past-{}", generation - 1)), "{again}");
        let call = stream(&relay, &again, Again::Past(generation - 1));
        let (ticket, ..) = asked(&relay);
        let recall = Box::new(recall(conversation, generation, source));
        relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Kept(recall) });
        assert_eq!(gone_on_with(&relay, call), generation);
        assert_eq!(relay.shared.comebacks.of("recalled"), u64::from(source == "journal"));
        assert_eq!(relay.shared.comebacks.of("taken_up"), 1);
    }
}

#[test]
fn what_is_kept_here_serves_where_the_journal_knows_nothing_or_does_not_answer() {
    for recalled in [Some(Recalled::Nothing), Some(Recalled::Unasked), None] {
        let (relay, _) = parted();
        let again = answered(&relay, Recalled::Unasked);
        assert!(again.contains("<Parameter name=\"vocaris_again\" value=\"1\"/>"), "{again}");
        let call = stream(&relay, &again, Again::Perhaps);
        let (ticket, ..) = asked(&relay);
        if let Some(recalled) = recalled {
            relay.post_letter(AcceptLetter::Recalled { ticket, recalled });
        }
        assert_eq!(gone_on_with(&relay, call), 1);
    }
}

#[test]
fn a_call_that_went_on_elsewhere_and_was_ended_there_is_over_whatever_is_kept_here() {
    let (relay, _) = parted();
    let over = answered(&relay, Recalled::Over(Sequel::Hangup));
    assert!(over.contains("<Hangup/>"), "{over}");
}

#[test]
fn a_stream_that_is_lost_while_the_next_one_asks_the_journal_leaves_it_what_it_had() {
    let relay = relay();
    let fresh = relay.get("/twilio/incoming?CallSid=CA1&From=1&To=2").body;
    let conversation = CallId(stream(&relay, &fresh, Again::No).generation);
    let again = answered(&relay, Recalled::Waits { generation: 0 });
    let call = stream(&relay, &again, Again::Past(0));
    let (ticket, ..) = asked(&relay);
    lose_phone(&relay, conversation);
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled: Recalled::Nothing });
    assert_eq!(gone_on_with(&relay, call), 1);
}

#[test]
fn the_stream_of_a_conversation_that_went_on_elsewhere_is_closed() {
    let relay = relay();
    let fresh = relay.get("/twilio/incoming?CallSid=CA1&From=1&To=2").body;
    let call = stream(&relay, &fresh, Again::No);
    let WorkerLetter::Journal { .. } = relay.worker_letter(1) else { panic!("it is journalled") };
    let conversation = CallId(call.generation);
    relay.post_letter(AcceptLetter::TakenElsewhere { conversation, generation: 0 });
    let letter = relay.worker_letter(1);
    assert!(matches!(letter, WorkerLetter::Replaced { call: old } if old == call), "{letter:?}");
    let nobodys = AcceptLetter::TakenElsewhere { conversation: CallId(1), generation: 0 };
    relay.post_letter(nobodys);
}

#[test]
fn the_stream_that_came_back_here_is_not_closed_for_what_an_older_one_has_lost() {
    let (relay, conversation) = parted();
    let again = answered(&relay, Recalled::Waits { generation: 1 });
    let call = stream(&relay, &again, Again::Past(1));
    let (ticket, ..) = asked(&relay);
    let recalled = Recalled::Kept(Box::new(recall(conversation, 2, "elsewhere")));
    relay.post_letter(AcceptLetter::Recalled { ticket, recalled });
    assert_eq!(gone_on_with(&relay, call), 2);
    relay.post_letter(AcceptLetter::TakenElsewhere { conversation, generation: 1 });
    relay.post_letter(AcceptLetter::TakenElsewhere { conversation, generation: 2 });
    until(|| relay.shared.comebacks.of("elsewhere") == 1);
    loop {
        match relay.worker_letter(1) {
            WorkerLetter::Replaced { call: old } => break assert_eq!(old, call),
            WorkerLetter::Journal { .. } | WorkerLetter::ReturnToken { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
