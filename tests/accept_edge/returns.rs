//! Browsers that come back while their conversation is between two calls.

use std::sync::Arc;

use vocaris::call::{CallId, Ending, Legacy, Opening, Snapshot};
use vocaris::config::{Agent, Secret};
use vocaris::mail::{AcceptLetter, CallKey, WorkerLetter};

use crate::harness::{PATIENCE, Relay};

/// A browser's call that asks to be let in, with the token of a conversation if it has one.
fn come(relay: &Relay, resume: Option<&Secret>) -> (CallId, CallKey) {
    let id = relay.fresh_id();
    let call = CallKey { worker: 1, slot: 0, generation: id.0 };
    let resume = resume.map(|token| token.reveal().to_owned());
    let opening = Opening::Web { token: None, rate_hz: 16_000, agent: None, resume };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    (id, call)
}

/// It has lost its connection, and left this.
fn lose(relay: &Relay, id: CallId, legacy: Option<Box<Legacy>>) {
    let had_model = legacy.is_some();
    relay.post_letter(AcceptLetter::Ended {
        id,
        call_sid: None,
        ending: Ending::PhoneLost,
        transfer: None,
        legacy,
        had_model,
    });
}

fn legacy(conversation: CallId) -> Box<Legacy> {
    let snapshot = r#"{"form":1,"agent":"everybody","to":null,"handle":"h1","has_spoken":true,
        "returns":0,"turns":[],"tools":{"finished":[],"answers":[],"notes":[],"next_ticket":0,
        "next_batch":0}}"#;
    let snapshot = Snapshot::read(snapshot).unwrap();
    snapshot.into_legacy(1, conversation, None, PATIENCE, Arc::new(Agent::default()))
}

/// What this call is told to go on with.
fn gone_on_with(relay: &Relay, of: CallKey) -> Box<Legacy> {
    loop {
        if let WorkerLetter::GoOn { call, legacy, .. } = relay.worker_letter(1)
            && call == of
        {
            return legacy;
        }
    }
}

#[test]
fn a_browser_that_comes_while_its_conversation_returns_from_a_call_that_broke_goes_on_with_it() {
    let relay = Relay::start();
    let (first, _) = come(&relay, None);
    let token = match relay.workers[1].wait(PATIENCE) {
        Some(WorkerLetter::ReturnToken { token, .. }) => token,
        other => panic!("no token but {other:?}"),
    };
    relay.dial_letter();
    let (broken, broken_call) = come(&relay, Some(&token));
    lose(&relay, first, Some(legacy(first)));
    // Its call has ended when its worker is told, and that hears first of two more who come.
    let on_its_way = gone_on_with(&relay, broken_call);
    lose(&relay, broken, None);
    let (_, older) = come(&relay, Some(&token));
    let (_, newer) = come(&relay, Some(&token));
    relay.post_letter(AcceptLetter::Unclaimed(on_its_way));
    assert_eq!(gone_on_with(&relay, newer).conversation(), first);
    assert_eq!(relay.shared.comebacks.of("unknown"), 0);
    assert_ne!(older, newer);
    // Each of them had gone on with it.
    assert_eq!(relay.shared.comebacks.of("taken_up"), 2);
    assert_eq!(relay.shared.comebacks.of("kept"), 0);
}
