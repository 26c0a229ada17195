//! New calls turned away so that those that go on keep their quality, and calls handed on by a
//! relay that stops.

use vocaris::call::{Ending, Refusal};
use vocaris::clock::Nanos;
use vocaris::config::{Busy, Config};
use vocaris::mail::WorkerLetter;

use crate::harness::{Relay, attribute, token_in};
use crate::upgrade::try_upgrade;

/// A call that rings.
const RINGING: &str = "CallSid=CA1&CallStatus=ringing&From=%2B18005550199&To=%2B18005550100";
/// A call that was answered already.
const ANSWERED: &str = "CallSid=CA1&CallStatus=in-progress&From=%2B18005550199&To=%2B18005550100";
const OTHER_HOST: &str = "https://b.example.com/twilio/incoming";

/// Makes one worker more than 20 ms late, by two turns that end long after this test: of one, which
/// may be a pause of the whole machine, nobody is turned away.
pub(crate) fn make_one_late(relay: &Relay, worker: usize) {
    for _ in 0..2 {
        relay.load.lateness().end(worker, Nanos(1), Nanos(1), Nanos::from_millis(3_600_000));
    }
}

fn make_late(relay: &Relay) {
    (0..2).for_each(|worker| make_one_late(relay, worker));
}

/// And in time again: an hour later there is nothing left of it.
fn make_timely(relay: &Relay) {
    for worker in 0..2 {
        let later = Nanos::from_millis(7_200_000);
        relay.load.lateness().end(worker, later, later, later);
    }
}

#[test]
fn while_the_media_threads_are_late_only_promised_calls_come_in() {
    let relay = Relay::start();
    let promised = token_in(&relay.post_form("/twilio/incoming", RINGING).body);
    make_late(&relay);
    let ready = relay.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "{\"error\":\"late\"}"));
    let busy = relay.post_form("/twilio/incoming", "CallSid=CA2&CallStatus=ringing");
    assert!(busy.body.contains("<Reject reason=\"busy\"/>"), "{}", busy.body);
    let again = relay.post_form("/twilio/incoming", RINGING);
    assert!(again.body.contains("<Stream"), "its place is kept: {}", again.body);
    assert_eq!(relay.shared.refusals.of("late"), 1);

    // What has become a WebSocket meanwhile is judged once more when it says what it is.
    relay.admit("CA1", Some(&promised), None);
    relay.dial_letter();
    let stranger = relay.admit("CA3", None, None);
    match relay.worker_letter(1) {
        WorkerLetter::Refused { call, refusal } => {
            assert_eq!((call, refusal), (stranger, Refusal::Late));
        }
        other => panic!("no refusal but {other:?}"),
    }

    make_timely(&relay);
    assert_eq!(relay.get("/readyz").status, 200);
    assert!(relay.post_form("/twilio/incoming", RINGING).body.contains("<Stream"));
}

#[test]
fn of_one_pause_of_the_machine_nobody_is_turned_away() {
    let relay = Relay::start();
    for worker in 0..2 {
        relay.load.lateness().end(worker, Nanos(1), Nanos(1), Nanos::from_millis(3_600_000));
    }
    assert_eq!(relay.get("/readyz").status, 200);
}

#[test]
fn a_browser_is_turned_away_before_its_upgrade_while_the_media_threads_are_late() {
    let relay = Relay::start();
    make_late(&relay);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 503);
    make_timely(&relay);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
}

#[test]
fn a_new_call_goes_to_a_worker_that_is_in_time_however_many_it_has() {
    let relay = Relay::start();
    (0..3).for_each(|_| relay.load.placed(1));
    make_one_late(&relay, 0);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    assert!(matches!(relay.worker_letter(1), WorkerLetter::Call(_)));
}

#[test]
fn without_a_threshold_nobody_is_turned_away_for_lateness() {
    let relay = Relay::with(|config| config.limits.max_lateness = std::time::Duration::ZERO);
    make_late(&relay);
    assert_eq!(relay.get("/readyz").status, 200);
}

fn with_another_host(config: &mut Config) {
    config.server.handover_url = Some(OTHER_HOST.into());
}

#[test]
fn a_draining_relay_sends_new_calls_to_the_other_host_once() {
    let relay = Relay::with(with_another_host);
    relay.drain();
    let handed = relay.post_form("/twilio/incoming", RINGING).body;
    let expected = format!("<Redirect method=\"POST\">{OTHER_HOST}?handed_on=1</Redirect>");
    assert!(handed.contains(&expected), "{handed}");
    // One that comes from there does not go round in a ring.
    let busy = relay.post_form("/twilio/incoming?handed_on=1", RINGING).body;
    assert!(busy.contains("<Reject reason=\"busy\"/>"), "{busy}");
    // Answered already, it can no longer be rejected.
    let said = relay.post_form("/twilio/incoming?handed_on=1", ANSWERED).body;
    assert!(said.contains("<Say>We are &lt;sorry&gt; &amp; silent.</Say>"), "{said}");
}

#[test]
fn a_full_relay_sends_calls_where_its_settings_say() {
    let relay = Relay::with(|config| {
        config.limits.max_calls = 1;
        config.twilio.busy = Busy::Redirect(format!("{OTHER_HOST}?from=a"));
        with_another_host(config);
    });
    relay.browser_inside(0);
    let handed = relay.post_form("/twilio/incoming", RINGING).body;
    assert!(handed.contains(">https://b.example.com/twilio/incoming?from=a&amp;handed_on=1<"));
}

/// What `/twilio/after` answers of a call that the relay stopped under.
fn after_drained(relay: &Relay) -> String {
    let id = relay.fresh_id();
    relay.admit_as(id, "CA1", None, None);
    relay.dial_letter();
    relay.end(id, "CA1", Ending::Drained);
    relay.post_form("/twilio/after", ANSWERED).body
}

#[test]
fn a_call_that_outlives_the_drain_is_handed_to_the_other_host() {
    let relay = Relay::with(with_another_host);
    let id = relay.fresh_id();
    relay.admit_as(id, "CA1", None, None);
    relay.dial_letter();
    relay.drain();
    relay.end(id, "CA1", Ending::Drained);
    let handed = relay.post_form("/twilio/after", ANSWERED).body;
    assert!(handed.contains(&format!("{OTHER_HOST}?handed_on=1</Redirect>")), "{handed}");
}

#[test]
fn where_there_is_no_other_host_its_caller_hears_the_fallback() {
    let relay = Relay::start();
    let id = relay.fresh_id();
    relay.admit_as(id, "CA1", None, None);
    relay.dial_letter();
    relay.drain();
    relay.end(id, "CA1", Ending::Drained);
    let said = relay.post_form("/twilio/after", ANSWERED).body;
    assert!(said.contains("<Say>We are"), "{said}");
}

#[test]
fn a_process_that_took_over_joins_the_call_to_its_own_stream() {
    let relay = Relay::start();
    let joined = after_drained(&relay);
    assert_eq!(attribute(&joined, "<Stream", "url"), "wss://voice.example.com/twilio/media");
    relay.admit("CA1", Some(&token_in(&joined)), None);
    relay.dial_letter();
    // A busy one does not promise what it cannot keep.
    let full = Relay::with(|config| config.limits.max_calls = 1);
    let id = full.fresh_id();
    full.admit_as(id, "CA1", None, None);
    full.dial_letter();
    full.end(id, "CA1", Ending::Drained);
    full.browser_inside(0);
    let said = full.post_form("/twilio/after", ANSWERED).body;
    assert!(said.contains("<Say>We are"), "{said}");
}
