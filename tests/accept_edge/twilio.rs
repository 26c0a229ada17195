//! The carrier's webhooks, their signatures, and who is let in at the stream's start.

use std::sync::Arc;
use std::time::Duration;

use vocaris::call::{Again, CallId, Ending, Facts, Legacy, LineFault, Opening, Refusal, Snapshot};
use vocaris::config::{Agent, Busy, Carrier, SignatureMode};
use vocaris::limits::MAILBOX_LETTERS;
use vocaris::mail::{AcceptLetter, CallKey, DialLetter, WorkerLetter};
use vocaris::wire::signature::{Algorithm, sign};

use crate::harness::{Relay, attribute, get, post, signed, token_in, until};

const SID: &str = "CA00000000000000000000000000000002";
/// The form of the published vectors.
const B: &str = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01&\
                 CallSid=CA00000000000000000000000000000002&CallStatus=ringing&\
                 Called=%2B18005550100&Caller=%2B18005550199&Direction=inbound&\
                 From=%2B18005550199&To=%2B18005550100";
const V1: &str = "kH9VMUYMS7ngCllZMvrqpoS1QFc=";

fn signature(value: &str) -> String {
    format!("X-Twilio-Signature: {value}\r\n")
}

#[test]
fn the_documents_own_two_tries_work() {
    let relay = Relay::start();
    let health = relay.get("/twilio/incoming");
    assert_eq!(health.field("content-type"), Some("application/json"));
    assert!(health.body.starts_with("{\"status\":\"ok\",\"service\":\"vocaris\""), "{health:?}");
    let twiml = relay.post_form("/twilio/incoming", "From=%2B1234567890&To=%2B0987654321");
    assert_eq!(twiml.status, 200);
    assert_eq!(twiml.field("content-type"), Some("text/xml; charset=utf-8"));
    let xml = &twiml.body;
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>"), "{xml}");
    let host = "voice.example.com";
    assert_eq!(attribute(xml, "<Stream", "url"), format!("wss://{host}/twilio/media"));
    assert_eq!(attribute(xml, "<Connect", "action"), format!("https://{host}/twilio/after"));
    assert_eq!(
        attribute(xml, "<Stream", "statusCallback"),
        format!("https://{host}/twilio/stream-status")
    );
    assert!(xml.contains("<Parameter name=\"source\" value=\"twilio\"/>"), "{xml}");
    assert!(xml.contains("<Parameter name=\"from\" value=\"+1234567890\"/>"), "{xml}");
    assert!(xml.contains("<Parameter name=\"to\" value=\"+0987654321\"/>"), "{xml}");
    // What would kill the call, and what would never arrive.
    assert!(!xml.contains("track") && !attribute(xml, "<Stream", "url").contains('?'), "{xml}");
}

#[test]
fn on_one_machine_the_stream_needs_no_certificate() {
    let relay = Relay::start();
    let port = relay.address.port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "[::1]".into()] {
        let request = format!("GET /twilio/incoming?CallSid=CA1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let xml = relay.ask(request).body;
        assert_eq!(attribute(&xml, "<Stream", "url"), format!("ws://{host}/twilio/media"));
        assert_eq!(attribute(&xml, "<Connect", "action"), format!("http://{host}/twilio/after"));
    }
    // Nobody said where we are.
    let nameless = relay.ask("GET /twilio/incoming?CallSid=CA1 HTTP/1.0\r\n\r\n");
    assert_eq!(nameless.status, 400);
}

#[test]
fn hostile_numbers_stay_inside_their_attributes() {
    let relay = Relay::start();
    let evil = "%22%2F%3E%3CDial%3E%2B1900%3C%2FDial%3E%26%0A%00";
    let long = "9".repeat(5_000);
    let xml = relay.post_form("/twilio/incoming", &format!("From={evil}&To={long}")).body;
    assert!(!xml.contains("<Dial>"), "{xml}");
    assert!(xml.contains("&quot;/&gt;&lt;Dial&gt;+1900&lt;/Dial&gt;&amp;"), "{xml}");
    let to = attribute(&xml, "<Parameter name=\"to\"", "value");
    assert_eq!("to".len() + to.len(), 499);
    let too_long = relay.post_form("/twilio/incoming", &format!("CallSid={}", "C".repeat(129)));
    assert_eq!(too_long.status, 400);
}

#[test]
fn signed_webhooks_are_let_in_and_others_are_not() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let unicode = format!(
        "{B}&FromCity=S%C3%A3o+Paulo&CallerName=Zo%C3%AB+%F0%9F%8E%A7+%CE%A9&\
         FromState=%E6%97%A5%E6%9C%AC"
    );
    let empty = format!("{B}&FromCity=&FromZip=&Z=");
    let doubled = format!("{B}&Tag=b&Tag=a&Tag=b&Tag=B");
    let good = [
        ("/twilio/incoming", B, V1),
        ("/twilio/incoming", &unicode, "KzU+FlWA5d6bg/4W/3QpJbKpJTg="),
        ("/twilio/incoming", &empty, "NPh8ueBSi9hP+5LnCZjtm34xJhI="),
        ("/twilio/incoming", &doubled, "UDgtGOE+iq4D/gyWeU55qSDP+6s="),
        ("/twilio/incoming?tenant=a%20b&x=1", B, "VK9KzsKiUMTe8XseeOobt8bA+Jc="),
        ("/twilio/incoming", "b=1&B=2&a=3&_x=4&A=5", "t9Ey9MH9Cl8OqaD2cAMFgqbIOx4="),
        ("/twilio/incoming", "A=+x+&B=a%2Bb+c%26d%3De%25", "4zgV7fnmpxbHF39HyIJPzuSktpw="),
    ];
    for (target, form, value) in good {
        let response = relay.ask(post(target, &signature(value), form));
        assert_eq!(response.status, 200, "{target} {form}");
        assert!(response.body.contains("<Stream"), "{}", response.body);
    }
    assert_eq!(relay.shared.signatures.webhook.of("valid"), good.len() as u64);
    let by_get = "/twilio/incoming?CallSid=CA00000000000000000000000000000002&\
                  From=%2B18005550199&To=%2B18005550100";
    let head = format!("GET {by_get} HTTP/1.1\r\nHost: whatever\r\n");
    let signed = signature("atDROBDjn4+MXdawJNkYUOOkUe8=");
    assert_eq!(relay.ask(format!("{head}{signed}\r\n")).status, 200);
    let bad = [
        ("/twilio/incoming/", V1, B.to_owned(), 404),
        ("/twilio/incoming", V1, B.replace("0199", "0198"), 403),
        ("/twilio/incoming", V1, format!("{B}&a="), 403),
        ("/twilio/incoming?a=1", V1, B.to_owned(), 403),
        ("/twilio/incoming", "", B.to_owned(), 403),
        ("/twilio/incoming", "kH9VMUYMS7ngCllZMvrqpoS1QFc", B.to_owned(), 403),
        ("/twilio/after", V1, B.to_owned(), 403),
        ("/twilio/stream-status", V1, B.to_owned(), 403),
    ];
    for (target, value, form, status) in bad {
        let response = relay.ask(post(target, &signature(value), &form));
        assert_eq!(response.status, status, "{target} {value} {form}");
    }
    assert_eq!(relay.ask(format!("{head}{}\r\n", signature(V1))).status, 403);
    for target in ["/twilio/incoming", "/twilio/after", "/twilio/stream-status"] {
        assert_eq!(relay.post_form(target, B).status, 403, "{target}");
    }
    assert_eq!(relay.get(by_get).status, 403);
    assert_eq!(relay.shared.signatures.webhook.of("missing"), 4);
    assert_eq!(relay.shared.signatures.webhook.of("wrong"), 8);
    // A prober needs no signature.
    assert_eq!(relay.get("/twilio/incoming").status, 200);
}

#[test]
fn the_carrier_leaves_the_port_out_of_what_it_signs() {
    let relay = Relay::with(|config| {
        signed(SignatureMode::Require)(config);
        config.server.public_url = Some("https://voice.example.com:8443".into());
    });
    for value in [V1, "OQReu++Gx1MVqjFecQxzzB7kOf8="] {
        assert_eq!(relay.ask(post("/twilio/incoming", &signature(value), B)).status, 200);
    }
}

#[test]
fn softer_modes_let_unsigned_requests_in_and_count_them() {
    let relay = Relay::with(signed(SignatureMode::Warn));
    assert_eq!(relay.post_form("/twilio/incoming", B).status, 200);
    assert_eq!(relay.ask(post("/twilio/incoming", &signature("AAAA"), B)).status, 200);
    assert_eq!(relay.ask(post("/twilio/incoming", &signature(V1), B)).status, 200);
    let counts = |label| relay.shared.signatures.webhook.of(label);
    assert_eq!((counts("missing"), counts("wrong"), counts("valid")), (1, 1, 1));
    let relay = Relay::with(signed(SignatureMode::Off));
    assert_eq!(relay.ask(post("/twilio/incoming", &signature("AAAA"), B)).status, 200);
    assert_eq!(relay.shared.signatures.webhook.of("not_checked"), 1);
}

#[test]
fn at_capacity_the_caller_hears_busy() {
    let relay = Relay::with(|config| config.limits.max_calls_per_worker = 1);
    relay.browser_inside(0);
    assert!(relay.get("/twilio/incoming").body.contains("\"status\":\"ok\""));
    relay.browser_inside(1);
    let busy = relay.post_form("/twilio/incoming", B);
    assert_eq!(busy.status, 200);
    assert!(busy.body.contains("<Reject reason=\"busy\"/>"), "{}", busy.body);
    assert!(relay.get("/twilio/incoming").body.contains("\"status\":\"full\""));
    let relay = Relay::with(|config| {
        config.limits.max_calls = 1;
        config.twilio.busy = Busy::Say("All <lines> are busy.".into());
    });
    relay.browser_inside(0);
    let busy = relay.post_form("/twilio/incoming", B).body;
    assert!(busy.contains("<Say>All &lt;lines&gt; are busy.</Say>\n  <Hangup/>"), "{busy}");
}

#[test]
fn while_draining_new_callers_hear_busy() {
    let relay = Relay::start();
    relay.drain();
    let busy = relay.post_form("/twilio/incoming", B);
    assert_eq!(busy.status, 200);
    assert!(busy.body.contains("<Reject"), "{}", busy.body);
    assert!(relay.get("/twilio/incoming").body.contains("\"status\":\"draining\""));
}

#[test]
fn what_follows_a_closed_stream_depends_on_why_it_closed() {
    let relay = Relay::start();
    for (call_sid, ending) in [("CA1", Ending::ModelLost), ("CA2", Ending::CallerHungUp)] {
        let id = relay.fresh_id();
        relay.admit_as(id, call_sid, None, None);
        relay.end(id, call_sid, ending);
    }
    let after = |call_sid| relay.post_form("/twilio/after", &format!("CallSid={call_sid}")).body;
    let fallback = "<Say>We are &lt;sorry&gt; &amp; silent.</Say>\n  <Hangup/>";
    for _ in 0..2 {
        assert!(after("CA1").contains(fallback), "{}", after("CA1"));
    }
    assert!(relay.get("/twilio/after?CallSid=CA1").body.contains(fallback));
    for call_sid in ["CA2", "CA3", ""] {
        assert!(!after(call_sid).contains("<Say>"));
        assert!(after(call_sid).contains("<Hangup/>"));
    }
}

#[test]
fn a_caller_who_was_to_be_put_through_hears_of_it_when_nobody_answers() {
    let relay = Relay::start();
    let id = relay.fresh_id();
    relay.admit_as(id, "CA1", None, None);
    relay.post_letter(AcceptLetter::Ended {
        id,
        call_sid: Some("CA1".into()),
        ending: Ending::Transferred,
        transfer: Some("+15550100".into()),
        legacy: None,
        had_model: true,
    });
    let dial = after(&relay, "CA1");
    assert!(dial.contains(">+15550100</Dial>"), "{dial}");
    let action = attribute(&dial, "<Dial", "action");
    let (_, path) = action.split_once("/twilio/").unwrap();
    let then = |status: &str| {
        relay.post_form(&format!("/twilio/{path}"), &format!("CallSid=CA1{status}")).body
    };
    for status in ["busy", "no-answer", "failed", "canceled", "something-new"] {
        let told = then(&format!("&DialCallStatus={status}"));
        assert!(told.contains("We are &lt;sorry&gt;"), "{status}: {told}");
    }
    for status in ["&DialCallStatus=completed", "&DialCallStatus=answered", ""] {
        let told = then(status);
        assert!(told.contains("<Hangup/>"), "{status}: {told}");
        assert!(!told.contains("<Say>") && !told.contains("<Dial"), "{status}: {told}");
    }
}

#[test]
fn reports_of_streams_need_no_answer() {
    let relay = Relay::start();
    for event in ["stream-started", "stream-stopped", "stream-error&StreamError=31920%0A", ""] {
        let form = format!("CallSid={SID}&StreamSid=MZ1&StreamEvent={event}");
        let response = relay.post_form("/twilio/stream-status", &form);
        assert_eq!((response.status, response.body.as_str()), (204, ""));
    }
}

/// The token of a fresh webhook for `SID`.
fn fresh_token(relay: &Relay) -> String {
    let response = relay.ask(post("/twilio/incoming", &signature(V1), B));
    assert_eq!(response.status, 200);
    token_in(&response.body)
}

fn refusal(relay: &Relay, call: CallKey) -> Refusal {
    match relay.worker_letter(call.worker) {
        WorkerLetter::Refused { call: refused, refusal } if refused == call => refusal,
        other => panic!("not refused but {other:?}"),
    }
}

pub(crate) fn agent_dialled(relay: &Relay, call: CallKey) -> String {
    match relay.dial_letter() {
        DialLetter::Dial { call: dialled, agent, .. } if dialled == call => agent.name.clone(),
        other => panic!("not dialled but {other:?}"),
    }
}

#[test]
fn a_token_opens_its_own_call_once() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let token = fresh_token(&relay);
    let other = relay.admit("CA9", Some(&token), None);
    assert_eq!(refusal(&relay, other), Refusal::BadToken);
    let call = relay.admit(SID, Some(&token), Some("+18005550100"));
    assert_eq!(agent_dialled(&relay, call), "sales");
    let again = relay.admit(SID, Some(&token), None);
    assert_eq!(refusal(&relay, again), Refusal::UsedToken);
    let without = relay.admit(SID, None, None);
    assert_eq!(refusal(&relay, without), Refusal::NoToken);
    let empty = relay.admit(SID, Some(""), None);
    assert_eq!(refusal(&relay, empty), Refusal::NoToken);
    for forged in ["v1", "v1.CA.1.00", &format!("{token}0"), &token.replace("v1", "v2")] {
        let call = relay.admit(SID, Some(forged), None);
        assert_eq!(refusal(&relay, call), Refusal::BadToken, "{forged}");
    }
    assert_eq!(relay.shared.refusals.of("used_token"), 1);
    assert_eq!(relay.shared.refusals.of("bad_token"), 5);
    assert_eq!(relay.shared.signatures.token.of("valid"), 1);
}

/// Settings with which calls are recorded from the carrier's copies of both tracks.
fn both_tracks(config: &mut vocaris::config::Config) {
    signed(SignatureMode::Require)(config);
    config.recording.enabled = true;
    config.recording.consent = Some("This call is recorded & kept.".to_owned());
    config.twilio.both_tracks = true;
}

#[test]
fn a_recorded_call_is_announced_and_copied_before_it_is_connected() {
    let relay = Relay::with(both_tracks);
    let xml = relay.ask(post("/twilio/incoming", &signature(V1), B)).body;
    let at = |what: &str| xml.find(what).unwrap_or_else(|| panic!("no {what} in {xml}"));
    let say = at("<Say>This call is recorded &amp; kept.</Say>");
    let fork = at("<Start>\n    <Stream url=\"wss://voice.example.com/twilio/tracks\"");
    assert!(say < fork && fork < at("</Start>") && at("</Start>") < at("<Connect "));
    let tokens: Vec<&str> = xml.split("name=\"token\" value=\"").skip(1).collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0].split('"').next(), tokens[1].split('"').next());
    let plain = Relay::with(signed(SignatureMode::Require));
    let xml = plain.ask(post("/twilio/incoming", &signature(V1), B)).body;
    assert!(!xml.contains("<Say>") && !xml.contains("<Start>"), "{xml}");
}

#[test]
fn a_copy_of_both_tracks_comes_in_by_its_own_token_once_and_takes_no_place() {
    let relay = Relay::with(|config| {
        both_tracks(config);
        config.limits.max_calls = 1;
    });
    let xml = relay.ask(post("/twilio/incoming", &signature(V1), B)).body;
    let mut tokens = xml.split("name=\"token\" value=\"").skip(1);
    let mut token = || tokens.next().and_then(|rest| rest.split('"').next()).unwrap();
    let (for_fork, for_call) = (token(), token());
    let let_in = |fork: CallKey| match relay.worker_letter(fork.worker) {
        WorkerLetter::LetIn { call } if call == fork => {}
        other => panic!("not let in but {other:?}"),
    };
    for wrong in [None, Some(for_call), Some("v1.forged")] {
        let fork = relay.admit_fork(SID, wrong);
        let expected = if wrong.is_none() { Refusal::NoToken } else { Refusal::BadToken };
        assert_eq!(refusal(&relay, fork), expected, "{wrong:?}");
    }
    let other = relay.admit_fork("CA9", Some(for_fork));
    assert_eq!(refusal(&relay, other), Refusal::BadToken);
    let_in(relay.admit_fork(SID, Some(for_fork)));
    let again = relay.admit_fork(SID, Some(for_fork));
    assert_eq!(refusal(&relay, again), Refusal::UsedToken);
    let as_call = relay.admit(SID, Some(for_fork), None);
    assert_eq!(refusal(&relay, as_call), Refusal::BadToken, "it opens no call");
    // The one place there is, is still the call's.
    let call = relay.admit(SID, Some(for_call), None);
    agent_dialled(&relay, call);
}

#[test]
fn a_copy_of_both_tracks_is_over_with_its_call() {
    let relay = Relay::with(both_tracks);
    let xml = relay.ask(post("/twilio/incoming", &signature(V1), B)).body;
    let mut tokens = xml.split("name=\"token\" value=\"").skip(1);
    let mut token = || tokens.next().and_then(|rest| rest.split('"').next()).unwrap();
    let (for_fork, for_call) = (token(), token());
    let fork = relay.admit_fork(SID, Some(for_fork));
    assert!(matches!(relay.worker_letter(1), WorkerLetter::LetIn { call } if call == fork));
    let id = relay.fresh_id();
    let call = relay.admit_as(id, SID, Some(for_call), None);
    agent_dialled(&relay, call);
    relay.end(id, SID, Ending::AgentHungUp);
    let told = relay.worker_letter(fork.worker);
    assert!(matches!(told, WorkerLetter::OriginalOver { call } if call == fork), "{told:?}");
}

#[test]
fn a_webhook_that_named_no_call_opens_one_only_where_signatures_are_not_required() {
    let off = Relay::start();
    let tries = "From=%2B1234567890&To=%2B0987654321";
    let tokens: Vec<String> =
        (0..3).map(|_| token_in(&off.post_form("/twilio/incoming", tries).body)).collect();
    for token in &tokens {
        let call = off.admit("CA-of-a-simulator", Some(token), Some("+1"));
        assert_eq!(agent_dialled(&off, call), "everybody");
    }
    let again = off.admit("CA-of-a-simulator", Some(&tokens[0]), None);
    assert_eq!(refusal(&off, again), Refusal::UsedToken);
    let require = Relay::with(signed(SignatureMode::Require));
    let form = "A=+x+&B=a%2Bb+c%26d%3De%25";
    let signed = signature("4zgV7fnmpxbHF39HyIJPzuSktpw=");
    let token = token_in(&require.ask(post("/twilio/incoming", &signed, form)).body);
    let call = require.admit("CA-of-a-simulator", Some(&token), None);
    assert_eq!(refusal(&require, call), Refusal::BadToken);
}

#[test]
fn softer_modes_judge_tokens_by_their_table() {
    let off = Relay::start();
    let call = off.admit(SID, None, None);
    assert_eq!(agent_dialled(&off, call), "everybody");
    let call = off.admit(SID, Some("v1.forged"), None);
    assert_eq!(refusal(&off, call), Refusal::BadToken);
    let warn = Relay::with(signed(SignatureMode::Warn));
    for token in [None, Some("v1.forged")] {
        let call = warn.admit(SID, token, None);
        assert_eq!(agent_dialled(&warn, call), "everybody");
    }
    assert_eq!(warn.shared.signatures.token.of("missing"), 1);
    assert_eq!(warn.shared.signatures.token.of("wrong"), 1);
    assert_eq!(warn.shared.refusals.all(), []);
}

#[test]
fn while_draining_a_call_answered_before_is_still_let_in() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let token = fresh_token(&relay);
    relay.drain();
    let call = relay.admit(SID, Some(&token), None);
    assert_eq!(agent_dialled(&relay, call), "everybody");
    let call = relay.admit(SID, None, None);
    assert_eq!(refusal(&relay, call), Refusal::Draining);
}

/// What a call leaves whose caller may come back.
pub(crate) fn legacy(id: CallId, call_sid: &str) -> Box<Legacy> {
    let snapshot = r#"{"form":1,"agent":"everybody","to":null,"handle":"h1","has_spoken":true,
        "returns":0,"turns":[],"tools":{"finished":[],"answers":[],"notes":[],"next_ticket":0,
        "next_batch":0}}"#;
    let left = Duration::from_secs(600);
    let snapshot = Snapshot::read(snapshot).expect("a snapshot");
    snapshot.into_legacy(1, id, Some(call_sid.into()), left, Arc::new(Agent::default()))
}

#[test]
fn while_draining_a_caller_whose_phone_was_lost_goes_on_and_one_who_was_cut_does_not() {
    let relay = Relay::start();
    let begun = |call_sid: &str| {
        let answer = relay.post_form("/twilio/incoming", &format!("CallSid={call_sid}"));
        let id = relay.fresh_id();
        let call = relay.admit_as(id, call_sid, Some(&token_in(&answer.body)), None);
        agent_dialled(&relay, call);
        id
    };
    let ended = |id, call_sid: &str, ending| {
        relay.post_letter(AcceptLetter::Ended {
            id,
            call_sid: Some(call_sid.into()),
            ending,
            transfer: None,
            legacy: Some(legacy(id, call_sid)),
            had_model: true,
        });
    };
    let [lost, unaware, cut] = ["CA1", "CA2", "CA3"].map(begun);
    relay.drain();
    ended(lost, "CA1", Ending::PhoneLost);
    let back = after(&relay, "CA1");
    assert!(back.contains("<Stream "), "{back}");
    let again = relay.admit("CA1", Some(&token_in(&back)), None);
    match relay.worker_letter(again.worker) {
        WorkerLetter::GoOn { call, .. } => assert_eq!(call, again),
        other => panic!("it does not go on but {other:?}"),
    }
    // The carrier knew first.
    let back = after(&relay, "CA2");
    assert!(back.contains("<Stream "), "{unaware:?}: {back}");
    ended(cut, "CA3", Ending::Drained);
    let told = after(&relay, "CA3");
    assert!(told.contains("We are &lt;sorry&gt;") && !told.contains("<Stream "), "{told}");
}

/// A model closed a call's session for want of quota, and the relay knows.
fn use_quota_up(relay: &Relay) {
    relay.post_letter(AcceptLetter::QuotaUsedUp);
    until(|| relay.get("/readyz").body == "{\"error\":\"quota\"}");
}

#[test]
fn while_a_quota_is_used_up_new_callers_hear_busy_and_browsers_are_refused() {
    let relay = Relay::with(|config| config.gemini.pool = 8);
    use_quota_up(&relay);
    assert_eq!(relay.get("/readyz").status, 503);
    let busy = relay.post_form("/twilio/incoming", B);
    assert_eq!(busy.status, 200);
    assert!(busy.body.contains("<Reject reason=\"busy\"/>"), "{}", busy.body);
    assert!(relay.get("/twilio/incoming").body.contains("\"status\":\"quota\""));
    let call = relay.admit(SID, None, None);
    assert_eq!(refusal(&relay, call), Refusal::Quota);
    let id = relay.fresh_id();
    let call = CallKey { worker: 1, slot: 1, generation: id.0 };
    let opening = Opening::Web { token: None, rate_hz: 16_000, agent: None, resume: None };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    assert_eq!(refusal(&relay, call), Refusal::Quota);
    assert_eq!(Refusal::Quota.close_code(), 1013);
    assert!(relay.dial.take().is_none(), "nothing is dialled, nor made ahead");
    assert_eq!(relay.shared.refusals.all(), [("quota", 3)]);
    assert_eq!(relay.shared.quota.times(), 1);
}

#[test]
fn while_a_quota_is_used_up_a_call_answered_before_is_still_let_in() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let token = fresh_token(&relay);
    use_quota_up(&relay);
    let call = relay.admit(SID, Some(&token), None);
    assert_eq!(agent_dialled(&relay, call), "everybody");
}

#[test]
fn a_call_is_told_when_no_line_can_be_ordered() {
    let relay = Relay::start();
    for _ in 0..MAILBOX_LETTERS {
        relay.to_dial.post(DialLetter::Stop).unwrap();
    }
    let call = relay.admit(SID, None, None);
    match relay.worker_letter(call.worker) {
        WorkerLetter::NoLine { call: told, fault: LineFault::Full } => assert_eq!(told, call),
        other => panic!("not told but {other:?}"),
    }
}

#[test]
fn the_same_call_asked_for_twice_gets_two_good_answers() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let mut client = relay.connect();
    let request = post("/twilio/incoming", &signature(V1), B);
    client.send([request.as_str(), &request].concat());
    let answers = [client.response(), client.response()];
    let token = token_in(&answers[1].body);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let call = relay.admit(SID, Some(&token), None);
    assert_eq!(agent_dialled(&relay, call), "everybody");
    assert_eq!(relay.ask(get("/healthz")).status, 200);
}

#[test]
fn a_question_played_again_touches_no_call_until_its_stream_takes_the_callers_place() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let own = relay.admit(SID, Some(&fresh_token(&relay)), None);
    assert_eq!(agent_dialled(&relay, own), "everybody");
    let fields = [("CallSid", SID), ("CallStatus", "in-progress")];
    let form = fields.map(|(name, value)| format!("{name}={value}")).join("&");
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let token = "test_auth_token_0123456789abcdef";
    let url = "https://voice.example.com/twilio/after";
    let signed = signature(&sign(Algorithm::HmacSha1, token, url, &fields));
    let question = post("/twilio/after", &signed, &form);
    let [first, again] = [0, 1].map(|_| token_in(&relay.ask(&question).body));
    assert_eq!(relay.workers[own.worker].len_letters(), 0, "the call goes on");
    let other = relay.admit(SID, Some(&again), None);
    let letter = relay.worker_letter(own.worker);
    assert!(matches!(letter, WorkerLetter::Replaced { call } if call == own), "{letter:?}");
    let late = relay.admit(SID, Some(&first), None);
    assert_eq!(refusal(&relay, late), Refusal::UsedToken, "{other:?} has used them all");
}

/// What the carrier is told to do after the stream of `call_sid`.
pub(crate) fn after(relay: &Relay, call_sid: &str) -> String {
    relay.post_form("/twilio/after", &format!("CallSid={call_sid}")).body
}

#[test]
fn a_stranger_who_names_a_call_does_not_decide_what_its_caller_hears() {
    let relay = Relay::with(signed(SignatureMode::Warn));
    let token = token_in(&relay.ask(post("/twilio/incoming", &signature(V1), B)).body);
    let call = relay.fresh_id();
    let key = relay.admit_as(call, SID, Some(&token), None);
    assert_eq!(agent_dialled(&relay, key), "everybody");
    // Never let in, and let in without anybody who vouches for it.
    relay.end(relay.fresh_id(), SID, Ending::Refused(Refusal::NoToken));
    let stranger = relay.fresh_id();
    relay.admit_as(stranger, SID, None, None);
    relay.end(stranger, SID, Ending::ModelLost);
    assert!(!after(&relay, SID).contains("<Say>"), "{}", after(&relay, SID));
    relay.end(call, SID, Ending::ModelLost);
    assert!(after(&relay, SID).contains("<Say>"));
    relay.end(stranger, SID, Ending::CallerHungUp);
    relay.end(relay.fresh_id(), SID, Ending::CallerHungUp);
    assert!(after(&relay, SID).contains("<Say>"));
}

#[test]
fn an_unsigned_webhooks_token_takes_nobodys_stream() {
    let relay = Relay::with(signed(SignatureMode::Warn));
    let webhook = |fields: &str| token_in(&relay.ask(post("/twilio/incoming", fields, B)).body);
    let first = relay.admit(SID, Some(&webhook(&signature(V1))), None);
    assert_eq!(agent_dialled(&relay, first), "everybody");
    for fields in [String::new(), signature("AAAA")] {
        let call = relay.admit(SID, Some(&webhook(&fields)), None);
        assert_eq!(agent_dialled(&relay, call), "everybody");
        assert!(relay.workers[1].take().is_none(), "the first goes on");
    }
    // Asked for unsigned once more, at the stream's end.
    let form = format!("CallSid={SID}&CallStatus=in-progress");
    let again = relay.post_form("/twilio/after", &form).body;
    let call = relay.admit(SID, Some(&token_in(&again)), None);
    assert_eq!(agent_dialled(&relay, call), "everybody");
    assert!(relay.workers[1].take().is_none(), "the first goes on");
    // Nor does a stranger's token, used, make the signed one's bad.
    let (stranger, signed) = (webhook(""), webhook(&signature(V1)));
    relay.admit(SID, Some(&stranger), None);
    relay.dial_letter();
    relay.admit(SID, Some(&signed), None);
    match relay.worker_letter(1) {
        WorkerLetter::Replaced { call } => assert_eq!(call, first),
        other => panic!("not replaced but {other:?}"),
    }
    assert_eq!(relay.shared.signatures.token.of("valid"), 6);
}

#[test]
fn a_caller_who_was_sent_to_our_stream_and_never_got_there_hears_the_fallback() {
    let relay = Relay::start();
    let form = format!("CallSid={SID}");
    let token = token_in(&relay.post_form("/twilio/incoming", &form).body);
    assert!(after(&relay, SID).contains("<Say>"));
    assert!(!after(&relay, "CA-nobody-knows").contains("<Say>"));
    let id = relay.fresh_id();
    relay.admit_as(id, SID, Some(&token), None);
    assert!(!after(&relay, SID).contains("<Say>"), "it got there");
    relay.end(id, SID, Ending::CallerHungUp);
    assert!(!after(&relay, SID).contains("<Say>"));
}

#[test]
fn a_call_answered_with_our_stream_finds_a_place_there() {
    let relay = Relay::with(|config| config.limits.max_calls = 2);
    let webhook = |call| relay.post_form("/twilio/incoming", &format!("CallSid={call}")).body;
    let token = token_in(&webhook("CA1"));
    webhook("CA2");
    let busy = webhook("CA3");
    assert!(busy.contains("<Reject"), "both places are promised: {busy}");
    assert_eq!(relay.shared.refusals.of("full"), 1);
    assert!(relay.get("/twilio/incoming").body.contains("\"status\":\"full\""));
    let again = token_in(&webhook("CA1"));
    // Nobody else gets the places.
    let stranger = relay.admit("CA9", None, None);
    assert_eq!(refusal(&relay, stranger), Refusal::Full);
    let call = relay.admit("CA1", Some(&token), None);
    assert_eq!(agent_dialled(&relay, call), "everybody");
    let call = relay.admit("CA1", Some(&again), None);
    assert_eq!(refusal(&relay, call), Refusal::UsedToken, "its tokens are used up together");
}

#[test]
fn a_newer_stream_of_a_call_takes_the_older_ones_place() {
    let relay = Relay::start();
    let webhook = || token_in(&relay.post_form("/twilio/incoming", &format!("CallSid={SID}")).body);
    let older_id = relay.fresh_id();
    let older = relay.admit_as(older_id, SID, Some(&webhook()), None);
    assert_eq!(agent_dialled(&relay, older), "everybody");
    // Tokens of one second are one: a later webhook gives out another.
    let newer = loop {
        let token = webhook();
        let id = relay.fresh_id();
        let newer = relay.admit_as(id, SID, Some(&token), None);
        match relay.worker_letter(1) {
            WorkerLetter::Replaced { call } => {
                assert_eq!(call, older);
                // It waits for what the older one leaves; that had not begun.
                relay.end(older_id, SID, Ending::Replaced);
                assert_eq!(agent_dialled(&relay, newer), "everybody");
                break id;
            }
            WorkerLetter::Refused { refusal: Refusal::UsedToken, .. } => {
                relay.end(id, SID, Ending::Refused(Refusal::UsedToken));
            }
            other => panic!("not replaced but {other:?}"),
        }
    };
    relay.end(newer, SID, Ending::ModelLost);
    assert!(after(&relay, SID).contains("<Say>"), "the newer one's ending counts");
}

#[test]
fn a_call_that_ends_is_dialled_no_more() {
    let relay = Relay::start();
    let id = relay.fresh_id();
    let key = relay.admit_as(id, SID, None, None);
    assert_eq!(agent_dialled(&relay, key), "everybody");
    relay.end(relay.fresh_id(), SID, Ending::CallerHungUp);
    relay.end(id, SID, Ending::CallerHungUp);
    match relay.dial_letter() {
        DialLetter::Cancel { call } => assert_eq!(call, key),
        other => panic!("not cancelled but {other:?}"),
    }
}

/// What the next letter to dial orders ahead: for which call, by which agent, knowing what.
fn ahead(relay: &Relay) -> (String, String, Facts) {
    match relay.dial_letter() {
        DialLetter::Ahead { call_sid, agent, facts } => {
            (call_sid, agent.name.clone(), (*facts).clone())
        }
        other => panic!("not made ahead but {other:?}"),
    }
}

fn forgotten(relay: &Relay) -> String {
    match relay.dial_letter() {
        DialLetter::Forget { call_sid } => call_sid,
        other => panic!("not forgotten but {other:?}"),
    }
}

#[test]
fn a_session_is_ordered_with_the_webhooks_answer_and_asked_for_by_the_stream() {
    let relay = Relay::with(|config| {
        signed(SignatureMode::Require)(config);
        config.gemini.pool = 8;
    });
    let token = fresh_token(&relay);
    let known = Facts::new(Some("+18005550199"), Some("+18005550100"), []);
    assert_eq!(ahead(&relay), (SID.to_owned(), "sales".to_owned(), known.clone()));
    let id = relay.fresh_id();
    let call = CallKey { worker: 1, slot: 1, generation: id.0 };
    let opening = Opening::Twilio {
        carrier: Carrier::Twilio,
        call_sid: SID.into(),
        stream_sid: "MZ1".into(),
        token: Some(token),
        from: Some("+18005550199".into()),
        to: Some("+18005550100".into()),
        again: Again::No,
        custom: Vec::new(),
    };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    match relay.dial_letter() {
        DialLetter::Dial { facts, agent, ahead, .. } => {
            assert_eq!((&*facts, agent.name.as_str()), (&known, "sales"), "like the one ahead");
            assert_eq!(ahead.as_deref(), Some(SID));
        }
        other => panic!("not dialled but {other:?}"),
    }
}

#[test]
fn nothing_is_made_ahead_for_whom_nobody_vouches_or_without_a_pool() {
    let relay = Relay::with(|config| {
        signed(SignatureMode::Warn)(config);
        config.gemini.pool = 8;
    });
    let webhook = format!("CallSid={SID}&From=1&To=2");
    assert_eq!(relay.post_form("/twilio/incoming", &webhook).status, 200);
    // A stream without a token is let in, but may not take what was made for another.
    let call = relay.admit(SID, None, None);
    match relay.dial_letter() {
        DialLetter::Dial { call: dialled, ahead, .. } => assert_eq!((dialled, ahead), (call, None)),
        other => panic!("not dialled but {other:?}"),
    }
    let relay = Relay::start();
    assert_eq!(relay.post_form("/twilio/incoming", &webhook).status, 200);
    assert_eq!(relay.post_form("/twilio/after", &webhook).status, 200);
    let call = relay.admit(SID, None, None);
    assert_eq!(agent_dialled(&relay, call), "everybody", "the only letter");
}

#[test]
fn a_call_whose_stream_failed_or_is_over_is_forgotten() {
    let relay = Relay::with(|config| config.gemini.pool = 8);
    let webhook = format!("CallSid={SID}&From=1&To=2");
    relay.post_form("/twilio/incoming", &webhook);
    assert_eq!(ahead(&relay).1, "everybody");
    let failed = format!("CallSid={SID}&StreamSid=MZ1&StreamEvent=stream-error&StreamError=31920");
    relay.post_form("/twilio/stream-status", &failed);
    assert_eq!(forgotten(&relay), SID);
    let stopped = format!("CallSid={SID}&StreamSid=MZ1&StreamEvent=stream-stopped");
    relay.post_form("/twilio/stream-status", &stopped);
    relay.post_form("/twilio/after", &format!("CallSid={SID}"));
    assert_eq!(forgotten(&relay), SID);
}

#[test]
fn a_browser_gets_the_agent_it_names_if_that_one_is_for_browsers() {
    let relay = Relay::with(|config| {
        let desk = (*config.agents[0]).clone();
        let desk = Agent { name: "desk".into(), numbers: vec!["+1".into()], web: true, ..desk };
        config.agents.insert(0, Arc::new(desk));
    });
    let ask = |agent: Option<&str>| {
        let id = relay.fresh_id();
        let call = CallKey { worker: 1, slot: 1, generation: id.0 };
        let agent = agent.map(str::to_owned);
        let opening = Opening::Web { token: None, rate_hz: 16_000, agent, resume: None };
        relay.post_letter(AcceptLetter::Admit { call, id, opening });
        call
    };
    assert_eq!(agent_dialled(&relay, ask(Some("desk"))), "desk");
    assert_eq!(agent_dialled(&relay, ask(None)), "everybody");
    assert_eq!(agent_dialled(&relay, ask(Some("everybody"))), "everybody");
    // One for a number alone, one that there is not, and the same in other letters.
    for name in ["sales", "nobody", "Desk", ""] {
        assert_eq!(refusal(&relay, ask(Some(name))), Refusal::NoAgent, "{name}");
    }
    assert_eq!(Refusal::NoAgent.close_code(), 1008);
}
