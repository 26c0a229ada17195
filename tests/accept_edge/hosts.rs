//! Several relays behind one name: a webhook answered by one, its stream taken by another. And
//! names of calls at their bound.

use vocaris::call::{Again, Opening, Refusal};
use vocaris::config::{Carrier, Config, Secret, SignatureMode};
use vocaris::limits::SID_MAX_BYTES;
use vocaris::mail::{AcceptLetter, CallKey, WorkerLetter};
use vocaris::wire::signature::{Algorithm, sign};

use crate::harness::{Relay, signed, token_in};
use crate::upgrade::try_upgrade;

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

fn sharing(secrets: &[&str]) -> impl FnOnce(&mut Config) {
    let secrets = secrets.iter().map(|secret| Secret::new((*secret).into())).collect();
    move |config| config.server.token_secrets = secrets
}

/// The stream of a call whose webhook `here` has answered is refused by `there` for its token.
#[track_caller]
fn assert_refused(here: &Relay, there: &Relay, call_sid: &str) {
    let answer = here.post_form("/twilio/incoming", &format!("CallSid={call_sid}"));
    there.admit(call_sid, Some(&token_in(&answer.body)), None);
    let letter = there.worker_letter(1);
    assert!(matches!(letter, WorkerLetter::Refused { .. }), "{letter:?}");
    assert_eq!(there.shared.refusals.of("bad_token"), 1);
}

#[test]
fn relays_that_share_a_secret_take_each_others_calls_also_while_it_is_replaced() {
    let with = |secrets: &[&str]| {
        Relay::with(|config| {
            signed(SignatureMode::Off)(config);
            sharing(secrets)(config);
        })
    };
    let opens = |here: &Relay, there: &Relay, call_sid: &str| {
        let answer = here.post_form("/twilio/incoming", &format!("CallSid={call_sid}"));
        there.admit(call_sid, Some(&token_in(&answer.body)), None);
        there.dial_letter();
        assert_eq!(there.shared.signatures.token.of("valid"), 1);
    };
    opens(&with(&[OLD]), &with(&[OLD]), "CA1");
    opens(&with(&[OLD]), &with(&[NEW, OLD]), "CA2");
    opens(&with(&[OLD, NEW]), &with(&[OLD]), "CA3");
    let required = |secrets: &[&str]| {
        Relay::with(|config| {
            sharing(secrets)(config);
            config.twilio.signature = SignatureMode::Require;
        })
    };
    // Each a secret of its own, made at its start.
    let alone = Relay::start();
    assert_refused(&alone, &required(&[]), "CA4");
    assert_refused(&with(&[OLD]), &required(&[NEW]), "CA5");
    // The first signs.
    assert_refused(&with(&[NEW, OLD]), &required(&[OLD]), "CA6");
}

#[test]
fn a_call_whose_webhook_another_relay_answered_needs_a_free_place_like_any_other() {
    let with = |max_calls, max_calls_per_number| {
        Relay::with(|config| {
            signed(SignatureMode::Off)(config);
            sharing(&[OLD])(config);
            config.limits.max_calls = max_calls;
            config.limits.max_calls_per_number = max_calls_per_number;
        })
    };
    let token = |here: &Relay, call_sid: &str| {
        let form = format!("CallSid={call_sid}&From=%2B18005550199");
        token_in(&here.post_form("/twilio/incoming", &form).body)
    };
    let refused = |there: &Relay| match there.worker_letter(1) {
        WorkerLetter::Refused { refusal, .. } => refusal,
        other => panic!("not refused but {other:?}"),
    };
    let (here, there) = (with(0, 0), with(1, 0));
    there.admit("CA1", Some(&token(&here, "CA1")), None);
    there.dial_letter();
    // The worker counts its sockets.
    there.load.placed(1);
    there.admit("CA2", Some(&token(&here, "CA2")), None);
    assert_eq!(refused(&there), Refusal::Full);
    let after = there.post_form("/twilio/after", "CallSid=CA2").body;
    assert!(after.contains("<Say>We are &lt;sorry&gt;"), "it was our side that failed: {after}");
    // Its own webhook finds it full.
    assert!(there.post_form("/twilio/incoming", "CallSid=CA3").body.contains("<Reject"));

    let there = with(0, 1);
    for call_sid in ["CA1", "CA2"] {
        let opening = Opening::Twilio {
            carrier: Carrier::Twilio,
            call_sid: call_sid.into(),
            stream_sid: "MZ1".into(),
            token: Some(token(&here, call_sid)),
            from: Some("+18005550199".into()),
            to: None,
            again: Again::No,
            custom: Vec::new(),
        };
        let id = there.fresh_id();
        let call = CallKey { worker: 1, slot: 0, generation: id.0 };
        there.post_letter(AcceptLetter::Admit { call, id, opening });
    }
    there.dial_letter();
    assert_eq!(refused(&there), Refusal::NumberFull);

    let there = with(0, 0);
    there.drain();
    there.admit("CA1", Some(&token(&here, "CA1")), None);
    assert_eq!(refused(&there), Refusal::Draining);
}

#[test]
fn a_handshakes_query_may_be_signed_with_three_marks_unescaped_as_a_webhooks_may() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let token = "test_auth_token_0123456789abcdef";
    let sent = "/twilio/media?a=O%27Hara%40home%3A1";
    for signed in [sent, "/twilio/media?a=O'Hara@home:1", "/twilio/media/?a=O'Hara@home:1"] {
        let url = format!("wss://voice.example.com{signed}");
        let signature = sign(Algorithm::HmacSha1, token, &url, &[]);
        let field = format!("X-Twilio-Signature: {signature}\r\n");
        assert_eq!(try_upgrade(&relay, sent, &field).status, 101, "{url}");
    }
    let url = "wss://voice.example.com/twilio/media?a=OHara";
    let signature = sign(Algorithm::HmacSha1, token, url, &[]);
    let field = format!("X-Twilio-Signature: {signature}\r\n");
    assert_eq!(try_upgrade(&relay, sent, &field).status, 403);
}

#[test]
fn the_name_of_a_call_has_one_bound_from_its_webhook_to_what_follows_it() {
    let relay = Relay::start();
    let longest = "C".repeat(SID_MAX_BYTES);
    let answer = relay.post_form("/twilio/incoming", &format!("CallSid={longest}"));
    relay.admit(&longest, Some(&token_in(&answer.body)), None);
    relay.dial_letter();
    // Answered, and its stream never came.
    let silent = "D".repeat(SID_MAX_BYTES);
    relay.post_form("/twilio/incoming", &format!("CallSid={silent}"));
    let after = relay.post_form("/twilio/after", &format!("CallSid={silent}"));
    assert!(after.body.contains("<Say"), "{}", after.body);
    let refused = relay.post_form("/twilio/incoming", &format!("CallSid={longest}C"));
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (400, "{\"error\":\"CallSid is too long\"}")
    );
}
