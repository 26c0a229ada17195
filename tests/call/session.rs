//! A conversation that outlives its connections to the model.

use std::time::Duration;

use serde_json::json;
use vocaris::call::session::{Cause, Kind};
use vocaris::call::{Door, Dropped, Ending, LineFault, LineTerms, Report, Revival};
use vocaris::clock::Nanos;
use vocaris::config::Secret;
use vocaris::wire::gemini::CloseClass;

use crate::harness::{Stage, media, speech, start, terms, update, voice};
use crate::{downsampled, mulaw, upsampled};

fn resume(handle: &str) -> Revival {
    Revival::Resume { handle: Secret::new(handle.to_owned()) }
}

fn fresh() -> Revival {
    Revival::Fresh { summary: String::new() }
}

/// Lets the caller speak from `from_ms` on, in 20 ms frames, in real time.
fn caller_speaks(stage: &mut Stage, said: &[u8], from_ms: u64) {
    for (n, frame) in said.chunks(160).enumerate() {
        stage.phone.say(media(from_ms + 20 * n as u64, frame));
        stage.settle();
        stage.pass(20);
    }
}

fn swaps(stage: &Stage) -> Vec<(Kind, Cause)> {
    let swapped = stage.reports.iter().filter_map(|report| match report {
        Report::Swapped { kind, cause, .. } => Some((*kind, *cause)),
        _ => None,
    });
    swapped.collect()
}

#[test]
fn a_caller_does_not_notice_that_the_models_connection_broke() {
    let mut stage = Stage::joined();
    stage.update("h1");
    let said = voice(48_000, 0);
    stage.agent.say(speech(&said));
    stage.settle();
    let first = mulaw(1_600);
    caller_speaks(&mut stage, &first, 0);
    stage.lose_agent();
    assert_eq!(stage.redials, [resume("h1")]);
    let second = mulaw(4_000);
    caller_speaks(&mut stage, &second, 200);
    stage.redial();
    let third = mulaw(1_600);
    caller_speaks(&mut stage, &third, 700);
    stage.pass(3_000);
    assert_eq!(stage.heard_by_caller(), downsampled(&said), "playing went on");
    assert_eq!(stage.heard_by_model(), upsampled(&[first, second, third].concat()));
    assert_eq!(swaps(&stage), [(Kind::Resume, Cause::Lost)]);
    let tally = stage.tally();
    assert_eq!((tally.uplink.dropped_samples(), stage.ending), (0, None));
}

#[test]
fn what_the_new_connection_says_is_heard_as_a_turn_of_its_own() {
    let mut stage = Stage::joined();
    let (before, after) = (voice(5_000, 0), voice(7_000, 9));
    stage.agent.say(speech(&before));
    stage.settle();
    stage.lose_agent();
    stage.redial();
    stage.agent.say(speech(&after));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(1_000);
    assert_eq!(stage.heard_by_caller(), [downsampled(&before), downsampled(&after)].concat());
}

#[test]
fn only_a_handle_that_is_literally_resumable_is_used_and_the_newest_of_them() {
    let mut stage = Stage::joined();
    stage.update("h1");
    stage.update("h2");
    for update in [
        json!({"newHandle": "h3", "resumable": false}),
        json!({"newHandle": "h4"}),
        json!({"newHandle": "", "resumable": true}),
        json!({"resumable": true}),
    ] {
        stage.agent.say(json!({ "sessionResumptionUpdate": update }));
    }
    stage.agent.say(update(&"x".repeat(17_000)));
    stage.settle();
    stage.lose_agent();
    assert_eq!(stage.redials, [resume("h2")]);
    let mut stage = Stage::joined();
    stage.lose_agent();
    assert_eq!(stage.redials, [fresh()]);
}

/// What is done about each close: with what the first line is asked for, after how long; `None`:
/// the call is left for the fallback.
#[test]
fn each_close_of_the_model_has_the_consequence_of_its_row() {
    let h = || Some(resume("h"));
    let (at_once, later) = (0..=0, 200..=300);
    for (code, reason, first, after_ms) in [
        (1007, "API key expired. Please renew the API key.", None, &at_once),
        (1007, "Request contains an invalid argument.", h(), &at_once),
        (1007, "The audio content type (CONTENT_TYPE_AUDIO) is not supported", h(), &at_once),
        (1007, "Invalid resource field value", None, &at_once),
        (1007, "Unknown name \"x\"", None, &at_once),
        (1008, "models/X is not found for API version v1beta", None, &at_once),
        (1008, "Publisher Model was not found", None, &at_once),
        (1008, "", None, &at_once),
        (1008, "Operation is not implemented, or supported, or enabled.", h(), &at_once),
        (1008, "The operation was aborted.", h(), &at_once),
        (1011, "Internal error encountered.", h(), &later),
        (1011, "Deadline expired before operation could complete.", h(), &at_once),
        (1011, "The service is currently unavailable.", h(), &later),
        (1011, "You exceeded your current quota, please check", None, &at_once),
        (1000, "", h(), &at_once),
        (1001, "", h(), &later),
        (1012, "", h(), &later),
        (1013, "", h(), &later),
        (4000, "", h(), &at_once),
    ] {
        let mut stage = Stage::joined();
        stage.update("h");
        stage.close_agent(code, reason);
        let mut waited_ms = 0;
        while stage.redials.is_empty() && stage.ending.is_none() && waited_ms < 400 {
            stage.pass(1);
            waited_ms += 1;
        }
        assert_eq!(stage.redials.front().cloned(), first, "{code} {reason}");
        let Some(_) = first else {
            stage.pass(3_000);
            assert_eq!(stage.ending, Some(Ending::ModelClosed { code: Some(code) }));
            continue;
        };
        assert!(after_ms.contains(&waited_ms), "{code} {reason}: after {waited_ms} ms");
        assert_eq!(stage.agent.close_code(), Some(code), "the close is answered");
        let class = CloseClass::of(Some(code), reason);
        assert_eq!(stage.tally().lines.closes_by_class[class as usize], 1);
        stage.redial();
        assert_eq!(swaps(&stage), [(Kind::Resume, Cause::Closed(class))]);
    }
}

#[test]
fn after_1007_what_waited_is_dropped_then_a_fresh_session_is_tried_then_no_more() {
    let mut stage = Stage::joined();
    stage.update("h");
    let audio = mulaw(150);
    stage.phone.say(media(0, &audio));
    stage.settle();
    stage.close_agent(1007, "Request contains an invalid argument.");
    assert_eq!(stage.tally().uplink.dropped[Dropped::Suspect as usize], 150);
    assert_eq!(stage.redial(), resume("h"));
    stage.close_agent(1007, "Request contains an invalid argument.");
    assert_eq!(stage.redial(), fresh());
    stage.close_agent(1007, "Request contains an invalid argument.");
    stage.pass(3_000);
    assert_eq!(stage.ending, Some(Ending::ModelClosed { code: Some(1007) }));
}

#[test]
fn a_normal_end_nobody_asked_for_is_questioned_once() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.close_agent(1000, "");
    assert_eq!(stage.redial(), resume("h"));
    stage.close_agent(1000, "");
    stage.pass(3_000);
    assert_eq!(stage.ending, Some(Ending::ModelClosed { code: Some(1000) }));
}

#[test]
fn a_handle_refused_with_1011_is_tried_once_more_then_a_fresh_session() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.lose_agent();
    assert_eq!(stage.refuse(LineFault::closed(Some(1011), "")), resume("h"));
    stage.pass(299);
    assert!(stage.redials.is_empty());
    stage.pass(1);
    assert_eq!(stage.refuse(LineFault::closed(Some(1011), "")), resume("h"));
    stage.pass(300);
    assert_eq!(stage.redial(), fresh());
    stage.lose_agent();
    assert_eq!(stage.redials, [fresh()], "the handle of the old session is forgotten");
}

#[test]
fn a_handle_that_is_refused_for_good_or_never_answered_is_not_tried_again() {
    for fault in [LineFault::Timeout, LineFault::closed(Some(1008), "")] {
        let mut stage = Stage::joined();
        stage.update("h");
        stage.lose_agent();
        assert_eq!(stage.refuse(fault), resume("h"));
        stage.pass(300);
        assert_eq!(stage.redial(), fresh());
        assert_eq!(swaps(&stage), [(Kind::Fresh, Cause::Lost)]);
    }
}

#[test]
fn a_line_that_cannot_be_had_for_good_ends_the_call_with_the_fallback() {
    for fault in [
        LineFault::Quota,
        LineFault::Refused { status: 403 },
        LineFault::closed(Some(1008), ""),
        LineFault::closed(Some(1007), ""),
    ] {
        let mut stage = Stage::joined();
        stage.lose_agent();
        stage.refuse(fault);
        stage.pass(3_000);
        assert_eq!(stage.ending, Some(Ending::ModelLost), "{fault}");
    }
}

#[test]
fn an_outage_is_tried_to_be_bridged_for_half_a_minute_ever_more_slowly() {
    let mut stage = Stage::joined();
    let began = stage.now;
    stage.lose_agent();
    let mut at_ms = Vec::new();
    while stage.ending.is_none() {
        if !stage.redials.is_empty() {
            at_ms.push(stage.now.since(began).as_millis() as u64);
            stage.refuse(LineFault::Connect);
        }
        stage.pass(10);
    }
    assert_eq!(stage.ending, Some(Ending::ModelLost));
    let gaps: Vec<_> = at_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps.iter().zip([250, 500, 1_000, 2_000, 4_000, 4_000]) {
        let range = expected * 8 / 10..=expected * 12 / 10 + 20;
        assert!(range.contains(gap), "{gaps:?}");
    }
    let lasted = stage.now.since(began);
    assert!((30..33).contains(&lasted.as_secs()), "{lasted:?}");
    assert!(stage.redials.is_empty());
}

#[test]
fn lines_that_break_one_after_the_other_are_not_replaced_for_ever() {
    let mut stage = Stage::joined();
    for _ in 0..3 {
        stage.lose_agent();
        stage.redial();
        stage.pass(5_000);
    }
    stage.lose_agent();
    stage.pass(3_000);
    assert_eq!(stage.ending, Some(Ending::ModelLost), "three in a row");

    let mut stage = Stage::joined();
    for _ in 0..8 {
        stage.lose_agent();
        stage.redial();
        stage.pass(11_000);
    }
    stage.lose_agent();
    stage.pass(3_000);
    assert_eq!(stage.ending, Some(Ending::ModelLost), "eight in a call");
}

#[test]
fn while_the_model_is_away_one_second_of_the_caller_is_kept_the_newest() {
    let mut stage = Stage::joined();
    stage.lose_agent();
    let said = mulaw(20_000);
    caller_speaks(&mut stage, &said, 0);
    assert_eq!(stage.tally().uplink.dropped[Dropped::Overrun as usize], 12_000);
    stage.redial();
    assert_eq!(stage.heard_by_model(), upsampled(&said[12_000..]));
    assert_eq!(stage.tally().uplink.queued, 0);
}

#[test]
fn the_greeting_belongs_to_the_call_and_not_to_the_connection() {
    let with_greeting = LineTerms { greeting: Some(r#"{"greet":1}"#.into()), ..terms() };
    let greetings =
        |stage: &Stage| stage.agent.texts().iter().filter(|text| text["greet"] == 1).count();
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    stage.lose_agent();
    stage.redial_with(&with_greeting);
    assert_eq!(greetings(&stage), 0, "the caller has heard it");

    let mut stage = Stage::joined();
    stage.lose_agent();
    assert_eq!(stage.redial_with(&with_greeting), fresh());
    assert_eq!(greetings(&stage), 1, "nobody has greeted yet");

    let mut stage = Stage::joined();
    stage.update("h");
    stage.lose_agent();
    assert_eq!(stage.redial_with(&with_greeting), resume("h"));
    assert_eq!(greetings(&stage), 0, "the session was asked to");
}

#[test]
fn a_fresh_session_is_told_what_was_said() {
    let mut stage = Stage::joined();
    for message in [
        json!({"serverContent": {"inputTranscription": {"text": "A table "}}}),
        json!({"serverContent": {"inputTranscription": {"text": "for two."}}}),
        json!({"serverContent": {"outputTranscription": {"text": "For which day?"}}}),
    ] {
        stage.agent.say(message);
    }
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    stage.lose_agent();
    let Revival::Fresh { summary } = stage.redials[0].clone() else { panic!("no handle") };
    assert!(summary.contains("Caller: A table for two.\nYou: For which day? ..."), "{summary}");
    let seed = Some(r#"{"seed":1}"#.into());
    stage.phone.say(media(0, &mulaw(160)));
    stage.settle();
    stage.redial_with(&LineTerms { seed, ..terms() });
    let texts = stage.agent.texts();
    assert_eq!(texts[0]["seed"], 1, "before any audio");
    assert!(texts[1]["realtimeInput"]["audio"].is_object());
}

#[test]
fn what_a_browser_types_meanwhile_waits_and_goes_before_audio() {
    let mut stage = Stage::joined_browser();
    stage.lose_agent();
    stage.phone.say_bytes(vec![0; 640]);
    for n in 0..33 {
        stage.phone.say(json!({"type": "text", "text": n.to_string()}));
    }
    stage.settle();
    stage.redial();
    let texts = stage.agent.texts();
    for (n, text) in texts[..32].iter().enumerate() {
        assert_eq!(text["realtimeInput"]["text"], n.to_string());
    }
    assert!(texts[32]["realtimeInput"]["audio"].is_object(), "the 33rd had no room");
}

#[test]
fn a_silent_line_is_closed_in_order_before_another_is_asked_for() {
    let mut stage = Stage::joined();
    stage.phone.say(media(0, &[0x55; 160]));
    stage.settle();
    stage.pass(20_000);
    assert_eq!(stage.agent.close_code(), Some(1000));
    assert_eq!(stage.redials.len(), 1, "the peer answered at once");

    let mut stage = Stage::joined();
    stage.agent.cut_off = true;
    stage.phone.say(media(0, &[0x55; 160]));
    stage.settle();
    stage.pass(20_000);
    assert_eq!(stage.agent.close_code(), Some(1000));
    assert!(stage.redials.is_empty() && stage.call.needs_agent());
    stage.pass(249);
    assert!(stage.redials.is_empty());
    stage.pass(1);
    assert_eq!(stage.redials.len(), 1, "its time to answer is over");
    assert!(stage.call.has_given_up_agent() && !stage.call.needs_agent());
    stage.redial();
    assert!(stage.call.needs_agent() && !stage.call.has_given_up_agent());
}

#[test]
fn a_line_that_nobody_asked_for_changes_nothing() {
    let mut stage = Stage::joined();
    assert!(!stage.call.awaits_line());
    stage.call.handle_line(stage.now, &terms());
    stage.settle();
    assert_eq!(stage.agent.close_code(), None);
    stage.lose_agent();
    assert!(stage.call.awaits_line());
    stage.refuse(LineFault::Connect);
    assert!(!stage.call.awaits_line(), "pausing");
    stage.pass(300);
    stage.redial();
    stage.call.handle_no_line(stage.now, LineFault::Connect);
    stage.pass(100);
    assert_eq!((stage.ending, stage.redials.len()), (None, 0));
}

#[test]
fn a_caller_who_hangs_up_meanwhile_is_let_go_and_a_late_line_is_not_wanted() {
    let mut stage = Stage::joined();
    stage.lose_agent();
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::PhoneLost));
    assert!(!stage.call.awaits_line() && !stage.call.needs_agent());
    let took = stage.call.next_timeout().since(stage.now);
    assert!(took <= Duration::from_secs(2));
}

fn go_away(stage: &mut Stage, time_left: &str) {
    stage.agent.say(json!({"goAway": {"timeLeft": time_left}}));
    stage.settle();
}

/// How long until another line is asked for, at most so long.
fn until_redial(stage: &mut Stage, at_most_ms: u64) -> Option<u64> {
    (0..=at_most_ms / 10).find_map(|tens| {
        if !stage.redials.is_empty() {
            return Some(tens * 10);
        }
        stage.agent.say(json!({"usageMetadata": {}}));
        stage.pass(10);
        None
    })
}

#[test]
fn an_announced_end_that_finds_no_good_moment_is_obeyed_by_the_clock() {
    for (time_left, after_ms) in [
        ("50s", 45_000),
        ("600s", 45_000),
        ("20s", 15_000),
        ("9.5s", 4_500),
        ("8s", 3_000),
        ("7.999s", 0),
        ("0s", 0),
        ("nonsense", 0),
    ] {
        let mut stage = Stage::joined();
        go_away(&mut stage, time_left);
        if after_ms > 0 {
            go_away(&mut stage, time_left);
        }
        assert_eq!(stage.spares, usize::from(after_ms > 0), "made ahead once, if there is time");
        // Nothing comes any more but what keeps the line alive: the clock alone decides.
        assert_eq!(until_redial(&mut stage, 46_000), Some(after_ms), "{time_left}");
        assert_eq!(stage.agent.close_code(), Some(1000));
        stage.redial();
        assert_eq!(swaps(&stage), [(Kind::Fresh, Cause::GoAway)]);
    }
}

#[test]
fn an_announced_end_waits_until_nobody_speaks_and_nothing_is_owed() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.settle();
    go_away(&mut stage, "50s");
    stage.pass(2_000);
    assert!(stage.redials.is_empty(), "the model speaks");
    caller_speaks(&mut stage, &mulaw(1_600), 0);
    stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
    stage.settle();
    stage.pass(1_000);
    assert!(stage.redials.is_empty(), "the caller waits for an answer");
    let answer = voice(48_000, 3);
    stage.agent.say(speech(&answer));
    stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
    stage.settle();
    assert_eq!(stage.redials, [resume("h")], "though the answer is still playing");
    assert_eq!(stage.agent.close_code(), Some(1000), "the old line is closed first");
    stage.pass(700);
    stage.redial();
    stage.pass(2_000);
    let heard = stage.heard_by_caller();
    assert!(heard.ends_with(&downsampled(&answer)), "the caller did not notice");
}

#[test]
fn an_announced_end_waits_for_a_caller_to_be_silent_for_a_while() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    caller_speaks(&mut stage, &mulaw(1_600), 0);
    stage.agent.say(json!({"serverContent": {"waitingForInput": true}}));
    stage.settle();
    go_away(&mut stage, "50s");
    assert!(stage.redials.is_empty());
    // The last word was heard 20 ms ago.
    assert_eq!(until_redial(&mut stage, 1_000), Some(280));
}

#[test]
fn an_announced_end_that_comes_early_is_still_expected_and_costs_no_budget() {
    let mut stage = Stage::joined();
    for round in 0..20 {
        stage.update("h");
        stage.agent.say(speech(&voice(480, 0)));
        go_away(&mut stage, "50s");
        match round % 3 {
            0 => stage.lose_agent(),
            1 => stage.close_agent(1000, ""),
            _ => stage.close_agent(1011, "Deadline expired before operation could complete."),
        }
        assert_eq!(stage.redial(), resume("h"), "{round}");
        stage.pass(500);
    }
    assert_eq!(swaps(&stage), [(Kind::Resume, Cause::GoAway); 20]);
}

#[test]
fn two_rotations_in_a_row_lose_nothing_of_the_caller() {
    let mut stage = Stage::joined();
    let said = mulaw(8_000);
    for (n, frame) in said.chunks(160).enumerate() {
        stage.phone.say(media(20 * n as u64, frame));
        stage.settle();
        match n % 16 {
            5 => go_away(&mut stage, "0s"),
            12 => drop(stage.redial()),
            _ => {}
        }
        stage.pass(20);
    }
    if !stage.redials.is_empty() {
        stage.redial();
    }
    assert_eq!(stage.heard_by_model(), upsampled(&said));
}

#[test]
fn a_service_that_sends_everybody_away_at_once_is_dialled_ever_more_slowly_and_not_for_ever() {
    let mut stage = Stage::joined();
    let (began, mut at_ms) = (stage.now, Vec::new());
    while stage.ending.is_none() {
        if stage.call.needs_agent() && stage.agent.close_code().is_none() {
            go_away(&mut stage, "0s");
        }
        if !stage.redials.is_empty() {
            stage.redial();
            at_ms.push(stage.now.since(began).as_millis() as u64);
        }
        stage.pass(10);
        assert!(at_ms.len() < 100);
    }
    let gaps: Vec<_> = at_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps[2..].iter().zip([250, 500, 1_000, 2_000, 4_000, 4_000]) {
        let range = expected * 8 / 10..=expected * 12 / 10 + 40;
        assert!(range.contains(gap), "{gaps:?}");
    }
    let lasted = stage.now.since(began).as_secs();
    assert!((28..40).contains(&lasted), "{lasted} s, {gaps:?}");
    assert_eq!(stage.ending, Some(Ending::ModelClosed { code: None }));
}

#[test]
fn one_that_says_a_word_before_it_sends_everybody_away_is_not_dialled_for_ever_either() {
    let mut stage = Stage::joined();
    let mut lines = 0;
    while stage.ending.is_none() {
        if stage.agent.close_code().is_none() {
            stage.agent.say(speech(&voice(480, 0)));
            go_away(&mut stage, "0s");
        }
        stage.pass(500);
        if !stage.redials.is_empty() {
            stage.redial();
            lines += 1;
        }
        assert!(lines < 100);
    }
    assert_eq!(lines, 24);
    assert_eq!(stage.ending, Some(Ending::ModelClosed { code: None }));
}

#[test]
fn a_model_that_does_not_answer_is_asked_then_resumed_then_begun_afresh() {
    let mut stage = Stage::joined();
    stage.update("h");
    caller_speaks(&mut stage, &mulaw(1_600), 0);
    // A mute model goes on to transcribe: that is no answer.
    let nudges =
        |stage: &Stage| stage.agent.texts().iter().filter(|text| text["nudge"] == 1).count();
    stage.agent.say(json!({"serverContent": {"inputTranscription": {"text": "Hello?"}}}));
    stage.settle();
    stage.pass(6_970);
    assert_eq!(nudges(&stage), 0);
    stage.pass(20);
    assert_eq!(nudges(&stage), 1);
    stage.agent.say(json!({"usageMetadata": {}}));
    stage.settle();
    stage.pass(7_000);
    assert_eq!(stage.redial(), resume("h"));
    stage.pass(8_000);
    assert!(matches!(stage.redial(), Revival::Fresh { summary } if summary.contains("Hello?")));
    assert_eq!(swaps(&stage), [(Kind::Resume, Cause::Unanswered), (Kind::Fresh, Cause::Poisoned)]);
    assert_eq!(stage.tally().lines.nudges.iter().sum::<u64>(), 1);
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.settle();
    assert_eq!(until_redial(&mut stage, 30_000), None, "it has answered");
}

#[test]
fn a_caller_who_is_never_answered_hears_the_fallback_in_the_end() {
    let mut stage = Stage::joined();
    stage.update("h");
    caller_speaks(&mut stage, &mulaw(1_600), 0);
    while stage.ending.is_none() {
        if !stage.redials.is_empty() {
            stage.redial();
        }
        stage.agent.say(json!({"usageMetadata": {}}));
        stage.pass(100);
    }
    assert_eq!(stage.ending, Some(Ending::ModelSilent));
    let lasted = stage.now.since(Nanos::ZERO).as_secs();
    assert!((30..90).contains(&lasted), "{lasted} s");
}

#[test]
fn an_answer_cut_off_by_a_lost_connection_is_asked_for() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(480, 0)));
    stage.settle();
    stage.lose_agent();
    stage.redial();
    stage.pass(7_000);
    assert!(stage.agent.texts().iter().any(|text| text["nudge"] == 1));
}

#[test]
fn a_greeting_that_does_not_come_is_asked_for_once_more() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    let greeting = Some(r#"{"greet":1}"#.to_owned());
    stage.call.handle_line(stage.now, &LineTerms { greeting, ..terms() });
    stage.settle();
    stage.pass(3_999);
    assert_eq!(stage.agent.texts().len(), 1);
    stage.pass(1);
    assert_eq!(stage.agent.texts()[1]["nudge"], 1);
    stage.pass(10_000);
    assert_eq!(stage.agent.texts().len(), 2);
}

#[test]
fn a_greeting_lost_with_its_connection_is_asked_for_at_once() {
    let greeting = Some(r#"{"greet":1}"#.to_owned());
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.join_with(&LineTerms { greeting, ..terms() });
    stage.update("h");
    stage.lose_agent();
    assert_eq!(stage.redial(), resume("h"));
    assert_eq!(stage.agent.texts().len(), 1);
    assert_eq!(stage.agent.texts()[0]["nudge"], 1);
    stage.pass(6_000);
    assert_eq!(stage.agent.texts().len(), 1, "once");
}

#[test]
fn an_answer_that_ends_well_on_a_line_that_is_being_closed_is_not_asked_for_again() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.say(speech(&voice(4_800, 0)));
    go_away(&mut stage, "0s");
    // Both were on their way together.
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.say(speech(&voice(4_800, 0)));
    stage.agent.say(json!({"goAway": {"timeLeft": "0s"}}));
    stage.agent.say(json!({"serverContent": {"generationComplete": true, "turnComplete": true}}));
    stage.settle();
    stage.pass(300);
    assert_eq!(stage.redial(), resume("h"));
    assert!(stage.agent.texts().is_empty(), "{:?}", stage.agent.texts());
    assert_eq!(until_redial(&mut stage, 20_000), None);
    assert!(stage.agent.texts().is_empty(), "nothing is owed");
}

#[test]
fn what_a_browser_types_is_owed_an_answer_and_remembered() {
    let mut stage = Stage::joined_browser();
    stage.update("h");
    stage.phone.say(json!({"type": "text", "text": "a table for two"}));
    stage.settle();
    stage.pass(7_100);
    assert_eq!(stage.agent.texts().last().unwrap()["nudge"], 1);
    stage.close_agent(1011, "The service is currently unavailable.");
    stage.pass(300);
    stage.refuse(LineFault::closed(Some(1008), ""));
    stage.pass(400);
    let Revival::Fresh { summary } = stage.redials[0].clone() else { panic!("refused for good") };
    assert!(summary.ends_with("Caller: a table for two"), "{summary}");
}

#[test]
fn an_old_connection_whose_end_is_announced_later_has_another_made_ahead() {
    for (rotate_s, spares) in [(20, 1), (90, 2)] {
        let mut stage = Stage::joined_with(crate::harness::with_timers(|timers| {
            timers.rotate = Duration::from_secs(10);
        }));
        for _ in 0..rotate_s {
            stage.agent.say(json!({"usageMetadata": {}}));
            stage.phone.say(media(0, &[0xff; 160]));
            stage.settle();
            stage.pass(1_000);
        }
        assert_eq!(stage.spares, 1, "for its age");
        go_away(&mut stage, "50s");
        assert_eq!(stage.spares, spares, "the first is kept for a minute");
    }
}

#[test]
fn a_model_that_stops_for_nobody_and_stays_mute_is_begun_afresh() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    assert_eq!(until_redial(&mut stage, 6_000), Some(5_000));
    assert_eq!(stage.redial(), fresh(), "not by the handle of the mute session");
    assert_eq!(swaps(&stage), [(Kind::Fresh, Cause::Phantom)]);

    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    caller_speaks(&mut stage, &mulaw(3_200), 0);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    assert_eq!(until_redial(&mut stage, 6_000), None, "the caller did interrupt");
}
