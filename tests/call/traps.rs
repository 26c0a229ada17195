//! The traps that relays to this model are known to fall into, what this one does instead, and the
//! test that shows it: here, or in the file in brackets.
//!
//! 1. messages in binary frames: text and binary are one.
//!    `messages_in_binary_frames_are_messages`
//! 2. a setup that is never answered: a timer, and then another attempt or the fallback.
//!    `a_handle_that_is_refused_for_good_or_never_answered_is_not_tried_again` (`session`)
//! 3. an open line on which nothing comes: asked, resumed, begun afresh.
//!    `a_model_that_does_not_answer_is_asked_then_resumed_then_begun_afresh` (`session`)
//! 4. mute after an interruption: the same watch, armed by the interruption.
//!    `a_model_that_falls_mute_after_an_interruption_is_asked_to_answer`
//! 5. an interruption nobody made, then mute: a fresh session.
//!    `a_model_that_stops_for_nobody_and_stays_mute_is_begun_afresh` (`session`)
//! 6. a turn that ends in mid-sentence: asked once to go on.
//!    `a_sentence_that_breaks_off_is_asked_to_be_gone_on_with_once`
//! 7. a "Hello?" interrupts the greeting: the caller's audio waits for the greeting to be
//!    heard.
//!    `a_hello_before_the_greeting_does_not_interrupt_it` and the three after it
//! 8. the model never speaks first: asked to greet, and asked again.
//!    `a_greeting_that_does_not_come_is_asked_for_once_more` (`session`)
//! 9. a resume is refused while the old line is open: the old one is closed first; in the
//!    other order it is closed then.
//!    `the_old_line_may_be_kept_until_the_new_one_is_up` and the one after it (`swap_order`)
//! 10. pings to the model: none are sent.
//!     `the_model_is_never_pinged_however_long_it_says_nothing`
//! 11. an announced end noticed too late: a timer of its own.
//!     `an_announced_end_that_finds_no_good_moment_is_obeyed_by_the_clock` (`session`)
//! 12. rotating in the middle of something: at a moment when nothing is owed, resumable only.
//!     `an_announced_end_waits_until_nobody_speaks_and_nothing_is_owed` (`session`)
//! 13. a handle that is not resumable: only one that literally is.
//!     `only_a_handle_that_is_literally_resumable_is_used_and_the_newest_of_them` (`session`)
//! 14. a resumed session that only transcribes: a fresh one.
//!     `a_resumed_session_that_transcribes_and_does_not_speak_is_begun_afresh`
//! 15. transcripts that come twice: shown once.
//!     `transcripts_that_a_resumed_session_repeats_are_shown_once`
//! 16. a resume that fails with a long system text: our own summary seeds a fresh session.
//!     `a_fresh_session_is_told_what_was_said` (`session`)
//! 17. replayed audio that closes the line again: dropped after 1007.
//!     `after_1007_what_waited_is_dropped_then_a_fresh_session_is_tried_then_no_more` (`session`)
//! 18. audio while the model waits for a tool: it waits too, 10 s at most.
//!     `audio_waits_while_the_model_can_only_wait_for_a_tool`
//! 19. calls of functions without an id: answered without one.
//!     `a_function_called_without_an_id_is_answered_without_one`
//! 21. content that cuts the model off: the only content sent unasked is a nudge, when it is
//!     silent.
//!     `nothing_is_sent_that_would_cut_the_model_off`
//! 22. a burst larger than any buffer: the beginning is heard whole, the line is read on.
//!     `of_an_answer_longer_than_the_ring_the_beginning_is_heard_whole`
//! 23. several parts in one message: each played once.
//!     `every_part_of_a_message_is_played_once_and_in_order`
//! 24. the model's own voice comes back: 12 dB quieter by setting, never muted.
//!     `the_caller_is_made_quieter_while_the_model_speaks_where_that_is_set`
//! 25. a machine at the other end: after so many answers that were not let begin the call
//!     ends.
//!     `a_machine_that_never_lets_the_model_finish_is_left`
//! 26. a short word lost: no audio is delayed or withheld in a conversation.
//!     `the_model_hears_the_caller_sample_for_sample_whatever_the_frames` (`main`)
//! 27. a turn of the caller's that never closes: told that the stream has ended, by setting,
//!     once.
//!     `a_caller_who_has_fallen_silent_is_said_to_where_that_is_set`
//! 29. no voice activity from the model: an ear of our own.
//!     `a_model_that_does_not_answer_...` (`session`), which hears no such message
//! 30. silence on purpose: accepted where the model says so.
//!     `a_model_that_says_it_waits_owes_nothing` and
//!     `a_model_that_does_everything_but_speak_is_replaced_and_then_left`
//! 31. speech after the end of a turn: played; no swap while more is announced.
//!     `what_comes_after_the_end_of_a_turn_is_played_and_waited_for`
//! 32. a second greeting: belongs to the call.
//!     `the_greeting_belongs_to_the_call_and_not_to_the_connection` (`session`)
//! 35. a quota that looks like a fault: by its words, before its code.
//!     `every_known_close_during_a_call_...` (`closes`)
//! 36. a tone instead of speech: thrown away, a fresh session.
//!     `a_tone_instead_of_speech_is_not_listened_to_for_ever` and the one after it
//! 38. sessions left open: closed with 1000 on every way out.
//!     `whatever_ends_a_call_the_models_session_is_closed`
//!
//! Of the others, 20 is about tools, 33 is another client's, and 2, 28, 34 and 37 belong to
//! `setup`, to the key and to the size of a tool's answer, which have their own tests.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tungstenite::Message;
use vocaris::call::session::{Cause, Kind};
use vocaris::call::{
    Afterwards, Dropped, Ending, LineTerms, Nudge, Report, Revival, ToolOutcome, ToolReply,
};
use vocaris::config::{Agent, Tool, ToolBehavior, ToolKind, ToolScheduling};

use crate::harness::{
    Stage, encode64, media, settings, speech, terms, turn_complete, update, voice, with_timers,
};
use crate::{downsampled, mulaw, upsampled};

/// A frame of mu-law that nobody takes for speech.
pub(crate) const HUSH: [u8; 160] = [0xff; 160];

pub(crate) fn nudges(stage: &Stage) -> u64 {
    stage.tally().lines.nudges.iter().sum()
}

/// Lets the caller say so many frames, in real time from `from_ms` on.
pub(crate) fn frames(
    stage: &mut Stage,
    from_ms: &mut u64,
    count: usize,
    mut frame: impl FnMut() -> Vec<u8>,
) {
    for _ in 0..count {
        stage.phone.say(media(*from_ms, &frame()));
        stage.settle();
        stage.pass(20);
        *from_ms += 20;
    }
}

pub(crate) fn content(text: &str) -> serde_json::Value {
    json!({"serverContent": {"outputTranscription": {"text": text}}})
}

/// Trap 1.
#[test]
fn messages_in_binary_frames_are_messages() {
    let mut stage = Stage::joined();
    let said = voice(4_800, 0);
    stage.agent.say_bytes(speech(&said).to_string().into_bytes());
    stage.agent.say_bytes(turn_complete().to_string().into_bytes());
    stage.settle();
    stage.pass(500);
    assert_eq!(stage.heard_by_caller(), downsampled(&said));
}

/// Trap 4.
#[test]
fn a_model_that_falls_mute_after_an_interruption_is_asked_to_answer() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(6_900);
    assert_eq!(nudges(&stage), 0);
    stage.pass(200);
    assert_eq!(nudges(&stage), 1);
    assert_eq!(stage.agent.texts().last().unwrap()["nudge"], 1);
}

/// Trap 6.
#[test]
fn a_sentence_that_breaks_off_is_asked_to_be_gone_on_with_once() {
    let asked = |stage: &Stage| stage.tally().lines.nudges[Nudge::GoOn as usize];
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(12_000, 0)));
    stage.agent.say(content("I would like to"));
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(asked(&stage), 1);
    assert_eq!(stage.agent.texts().last().unwrap()["go_on"], 1);
    stage.agent.say(speech(&voice(12_000, 0)));
    stage.agent.say(content("and then"));
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(asked(&stage), 1, "it is asked once, not for ever");

    for (samples, text) in [(12_000, "Yes."), (12_000, "Really?"), (30_000, "Well then")] {
        let mut stage = Stage::joined();
        stage.agent.say(speech(&voice(samples, 0)));
        stage.agent.say(content(text));
        stage.agent.say(turn_complete());
        stage.settle();
        assert_eq!(asked(&stage), 0, "{text}");
    }
}

/// Trap 6: not over a caller who speaks, and not after an interruption.
#[test]
fn a_caller_who_speaks_is_not_talked_over_because_a_sentence_broke_off() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(12_000, 0)));
    stage.agent.say(content("I would like to"));
    stage.settle();
    let mut at = 0;
    frames(&mut stage, &mut at, 10, || mulaw(160));
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!(nudges(&stage), 0);
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(12_000, 0)));
    stage.agent.say(content("I would like to"));
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    assert_eq!(nudges(&stage), 0);
}

fn greeting_terms() -> LineTerms {
    LineTerms { greeting: Some(r#"{"greet":1}"#.into()), ..terms() }
}

/// Trap 7.
#[test]
fn a_hello_before_the_greeting_does_not_interrupt_it() {
    let mut stage = Stage::opened_with(settings());
    let mut at = 0;
    frames(&mut stage, &mut at, 10, || mulaw(160));
    stage.join_with(&greeting_terms());
    frames(&mut stage, &mut at, 30, || mulaw(160));
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    frames(&mut stage, &mut at, 24, || HUSH.to_vec());
    assert!(stage.heard_by_model().is_empty(), "held until the greeting was heard for a while");
    frames(&mut stage, &mut at, 2, || HUSH.to_vec());
    let withheld = stage.tally().uplink.dropped[Dropped::Withheld as usize];
    assert_eq!(withheld, (10 + 30 + 25) * 160, "said before the greeting, and answered by it");
    let before = stage.heard_by_model().len();
    let barge_in = mulaw(1_600);
    let mut rest = barge_in.chunks(160);
    frames(&mut stage, &mut at, 10, || rest.next().unwrap().to_vec());
    assert_eq!(stage.heard_by_model().len(), before + 3_200, "from then on nothing is held");
}

/// Trap 7: who goes on speaking over the greeting does interrupt it, and is heard from the first
/// word.
#[test]
fn a_caller_who_talks_on_over_the_greeting_is_heard_whole() {
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&greeting_terms());
    let said = mulaw(160 * 40);
    let (mut at, mut rest) = (0, said.chunks(160));
    frames(&mut stage, &mut at, 10, || rest.next().unwrap().to_vec());
    stage.agent.say(speech(&voice(48_000, 0)));
    frames(&mut stage, &mut at, 30, || rest.next().unwrap().to_vec());
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    assert_eq!(stage.tally().uplink.dropped_samples(), 0);
}

/// Trap 7: a wish is more than a hello, and is heard by the model though its caller waits politely.
#[test]
fn a_wish_stated_before_the_greeting_is_not_lost() {
    for (before, after) in [(70, 0), (35, 35), (0, 70)] {
        let mut stage = Stage::opened_with(settings());
        let said: Vec<u8> = (0..70).flat_map(|_| mulaw(160)).collect();
        let (mut at, mut rest) = (0, said.chunks(160));
        frames(&mut stage, &mut at, before, || rest.next().unwrap().to_vec());
        stage.join_with(&greeting_terms());
        frames(&mut stage, &mut at, after, || rest.next().unwrap().to_vec());
        stage.agent.say(speech(&voice(48_000, 0)));
        stage.settle();
        frames(&mut stage, &mut at, 24, || HUSH.to_vec());
        assert!(stage.heard_by_model().is_empty(), "the greeting begins undisturbed");
        frames(&mut stage, &mut at, 2, || HUSH.to_vec());
        let heard = stage.heard_by_model();
        assert_eq!(heard[..2 * said.len() - 100], upsampled(&said)[..2 * said.len() - 100]);
        assert_eq!(stage.tally().uplink.dropped_samples(), 0);
    }
}

/// Trap 7: a greeting that does not come holds nobody back.
#[test]
fn a_greeting_that_does_not_come_in_time_holds_nothing_back() {
    let mut stage = Stage::opened_with(settings());
    stage.join_with(&greeting_terms());
    let said = mulaw(160);
    let mut at = 0;
    frames(&mut stage, &mut at, 1, || said.clone());
    stage.pass(2_400);
    assert!(stage.heard_by_model().is_empty());
    stage.pass(100);
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    // Nor anybody who wants none of this.
    let mut stage = Stage::opened_with(with_timers(|it| it.greeting_hold = Duration::ZERO));
    stage.join_with(&greeting_terms());
    let mut at = 0;
    frames(&mut stage, &mut at, 1, || said.clone());
    assert_eq!(stage.heard_by_model(), upsampled(&said));
}

/// Trap 10.
#[test]
fn the_model_is_never_pinged_however_long_it_says_nothing() {
    let mut stage = Stage::joined();
    for _ in 0..40 {
        stage.phone.say(media(0, &HUSH));
        stage.phone.socket.send(Message::Ping(Vec::new().into())).unwrap();
        stage.agent.say(json!({"usageMetadata": {}}));
        stage.settle();
        stage.pass(15_000);
    }
    assert_eq!(stage.ending, None);
    assert!(!stage.agent.heard.iter().any(|message| matches!(message, Message::Ping(_))));
}

/// Trap 14.
#[test]
fn a_resumed_session_that_transcribes_and_does_not_speak_is_begun_afresh() {
    let mut stage = Stage::joined();
    stage.update("h");
    stage.lose_agent();
    stage.redial();
    stage.update("h2");
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    for second in 0..30 {
        stage.agent.say(json!({"serverContent": {"inputTranscription": {"text": "Hello?"}}}));
        stage.settle();
        stage.pass(1_000);
        if let Some(revival) = stage.redials.front() {
            assert!(matches!(revival, Revival::Fresh { .. }));
            assert!((7..=9).contains(&second), "given up after 8 s: {second}");
            assert_eq!(nudges(&stage), 0);
            return;
        }
    }
    panic!("it was never given up");
}

/// Trap 15.
#[test]
fn transcripts_that_a_resumed_session_repeats_are_shown_once() {
    let said = |who: &str, text: &str| match who {
        "caller" => json!({"serverContent": {"inputTranscription": {"text": text}}}),
        _ => content(text),
    };
    let mut stage = Stage::joined_browser();
    stage.update("h");
    stage.agent.say(said("caller", "A table for two."));
    stage.agent.say(said("agent", "For which day?"));
    stage.agent.say(speech(&voice(2_400, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.lose_agent();
    stage.redial();
    for (who, text) in [("caller", "A table "), ("caller", "for two."), ("agent", "For which day?")]
    {
        stage.agent.say(said(who, text));
    }
    stage.agent.say(said("caller", "Monday."));
    stage.agent.say(speech(&voice(2_400, 0)));
    stage.agent.say(said("agent", "For which hour?"));
    stage.settle();
    let texts = stage.phone.texts();
    let shown: Vec<_> = texts.iter().filter_map(|text| text["text"].as_str()).collect();
    assert_eq!(shown, ["A table for two.", "For which day?", "Monday.", "For which hour?"]);
    assert_eq!(stage.tally().lines.replayed_transcripts, 3);
}

/// Trap 18.
#[test]
fn audio_waits_while_the_model_can_only_wait_for_a_tool() {
    let tool = |behavior| Tool {
        name: "look_up".to_owned(),
        description: "looks".to_owned(),
        parameters: json!({"type": "object"}),
        kind: ToolKind::Appointments,
        behavior,
        scheduling: ToolScheduling::WhenIdle,
        changes: false,
    };
    let with = |behavior| {
        let agent = Agent { tools: vec![Arc::new(tool(behavior))], ..Agent::default() };
        let mut stage = Stage::opened_with(settings());
        stage.join_with(&LineTerms { agent: Some(Arc::new(agent)), ..terms() });
        stage.agent.say(json!({"toolCall": {"functionCalls": [
            {"id": "f1", "name": "look_up", "args": {}}]}}));
        stage.settle();
        assert_eq!(stage.orders.len(), 1);
        stage
    };
    let mut stage = with(ToolBehavior::Blocking);
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    assert!(stage.heard_by_model().is_empty());
    let ticket = stage.orders[0].ticket;
    let reply = ToolReply { outcome: ToolOutcome::Done, json: r#"{"output":1}"#.to_owned() };
    stage.call.handle_tool_reply(stage.now, ticket, reply);
    stage.settle();
    frames(&mut stage, &mut at, 1, || mulaw(160));
    let said: Vec<u8> = (0..21).flat_map(|_| mulaw(160)).collect();
    assert_eq!(stage.heard_by_model(), upsampled(&said), "none of it is lost");
    let texts = stage.agent.texts();
    assert!(texts[0]["toolResponse"].is_object(), "the answer goes before the audio");

    let mut stage = with(ToolBehavior::Blocking);
    let mut at = 0;
    frames(&mut stage, &mut at, 510, || HUSH.to_vec());
    assert!(!stage.heard_by_model().is_empty(), "not for ever");

    // Though nothing else happens: the call asks for that moment.
    let mut stage = with(ToolBehavior::Blocking);
    let began = stage.now;
    let mut at = 0;
    frames(&mut stage, &mut at, 5, || mulaw(160));
    assert!(stage.call.next_timeout().since(began) <= Duration::from_secs(10));
    stage.pass(9_890);
    assert!(stage.heard_by_model().is_empty());
    stage.pass(10);
    assert_eq!(stage.heard_by_model().len(), 5 * 320);

    let mut stage = with(ToolBehavior::NonBlocking);
    let mut at = 0;
    frames(&mut stage, &mut at, 5, || mulaw(160));
    assert_eq!(stage.heard_by_model().len(), 5 * 320);
}

/// Trap 19.
#[test]
fn a_function_called_without_an_id_is_answered_without_one() {
    let mut stage = Stage::joined();
    stage.agent.say(json!({"toolCall": {"functionCalls": [{"name": "no_such_tool", "args": {}}]}}));
    stage.settle();
    let answer = stage.agent.texts().pop().expect("it is answered");
    let answer = &answer["toolResponse"]["functionResponses"][0];
    assert_eq!(answer["name"], "no_such_tool");
    assert!(answer.get("id").is_none());
}

/// Trap 21.
#[test]
fn nothing_is_sent_that_would_cut_the_model_off() {
    let mut stage = Stage::joined();
    stage.update("h");
    for _ in 0..30 {
        stage.agent.say(speech(&voice(24_000, 0)));
        stage.agent.say(update("h"));
        stage.settle();
        stage.pass(1_000);
    }
    assert!(stage.agent.texts().is_empty(), "{:?}", stage.agent.texts());
}

/// Trap 22.
#[test]
fn of_an_answer_longer_than_the_ring_the_beginning_is_heard_whole() {
    let mut stage = Stage::joined();
    let mut said = Vec::new();
    for n in 0..80 {
        let second = voice(24_000, n * 24_000);
        stage.agent.say(speech(&second));
        said.extend(second);
    }
    stage.settle();
    // There is room again before the answer goes on: it would be heard with a hole in it.
    stage.pass(5_000);
    stage.agent.say(speech(&voice(24_000, 7)));
    stage.agent.say(turn_complete());
    let next = voice(24_000, 11);
    stage.agent.say(speech(&next));
    stage.agent.say(turn_complete());
    stage.settle();
    for _ in 0..90 {
        stage.phone.socket.send(Message::Ping(Vec::new().into())).unwrap();
        stage.settle();
        stage.pass(1_000);
    }
    let (heard, next) = (stage.heard_by_caller(), downsampled(&next));
    assert!(heard.ends_with(&next));
    let first = &heard[..heard.len() - next.len()];
    assert!(first.len() >= 65 * 8_000);
    // Its last frame is filled up.
    let whole = first.len() - 160;
    assert_eq!(first[..whole], downsampled(&said)[..whole]);
    assert!(stage.tally().downlink.dropped[Dropped::Overrun as usize] > 0);
}

/// Trap 23.
#[test]
fn every_part_of_a_message_is_played_once_and_in_order() {
    let mut stage = Stage::joined();
    let parts = [voice(2_400, 0), voice(1_200, 50), voice(3_600, 99)];
    let audio = parts.iter().map(
        |pcm| json!({"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": encode64(pcm)}}),
    );
    let mut list: Vec<_> = audio.collect();
    list.insert(1, json!({"text": "thinking", "thought": true}));
    stage.agent.say(json!({"serverContent": {"modelTurn": {"role": "model", "parts": list},
        "outputTranscription": {"text": "Hi."}, "turnComplete": true}}));
    stage.settle();
    stage.pass(1_000);
    assert_eq!(stage.heard_by_caller(), downsampled(&parts.concat()));
}

/// Trap 24.
#[test]
fn the_caller_is_made_quieter_while_the_model_speaks_where_that_is_set() {
    let ducked = vocaris::call::Settings { duck: true, ..settings() };
    let loudest = |pcm: &[i16]| pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    for (settings, least, most) in [(ducked, 1, 9_000), (settings(), 20_000, 40_000)] {
        let mut stage = Stage::joined_with(settings);
        let mut at = 0;
        frames(&mut stage, &mut at, 10, || mulaw(160));
        let before = stage.heard_by_model();
        assert!(loudest(&before) > 20_000, "nobody else speaks");
        stage.agent.say(speech(&voice(48_000, 0)));
        stage.settle();
        frames(&mut stage, &mut at, 10, || mulaw(160));
        let heard = stage.heard_by_model();
        let during = u32::from(loudest(&heard[before.len()..]));
        assert!((least..most).contains(&during), "{during}");
        assert_eq!(heard.len(), 2 * before.len(), "never muted");
    }
}

/// Trap 25.
#[test]
fn a_machine_that_never_lets_the_model_finish_is_left() {
    let interrupt = |stage: &mut Stage| {
        stage.agent.say(speech(&voice(24_000, 0)));
        stage.agent.say(json!({"serverContent": {"interrupted": true}}));
        stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
        stage.settle();
    };
    let mut stage = Stage::joined();
    for round in 0..11 {
        interrupt(&mut stage);
        assert_eq!(stage.ending, None, "{round}");
    }
    interrupt(&mut stage);
    assert_eq!(stage.ending, Some(Ending::Machine));
    assert_eq!(stage.agent.close_code(), Some(1000));
    // Somebody who listens now and then is none.
    let mut stage = Stage::joined();
    for _ in 0..10 {
        for _ in 0..5 {
            interrupt(&mut stage);
        }
        stage.agent.say(speech(&voice(2_400, 0)));
        stage.agent.say(turn_complete());
        stage.settle();
    }
    assert_eq!(stage.ending, None);
    let mut stage = Stage::joined_with(with_timers(|timers| timers.interruptions = 0));
    for _ in 0..100 {
        interrupt(&mut stage);
    }
    assert_eq!(stage.ending, None, "nor is anybody, by setting");
}

/// Trap 27.
#[test]
fn a_caller_who_has_fallen_silent_is_said_to_where_that_is_set() {
    let ends = |stage: &Stage| {
        let texts = stage.agent.texts();
        texts.iter().filter(|text| text["realtimeInput"]["audioStreamEnd"] == true).count()
    };
    for (stream_end, expected) in [(2_000, 1), (0, 0)] {
        let stream_end = Duration::from_millis(stream_end);
        let mut stage = Stage::joined_with(with_timers(|it| it.stream_end = stream_end));
        let mut at = 0;
        frames(&mut stage, &mut at, 20, || mulaw(160));
        frames(&mut stage, &mut at, 95, || HUSH.to_vec());
        assert_eq!(ends(&stage), 0, "not yet");
        frames(&mut stage, &mut at, 60, || HUSH.to_vec());
        assert_eq!(ends(&stage), expected);
        stage.agent.say(speech(&voice(2_400, 0)));
        stage.agent.say(turn_complete());
        stage.settle();
        frames(&mut stage, &mut at, 150, || HUSH.to_vec());
        assert_eq!(ends(&stage), expected, "nothing is owed");
    }
}

/// Trap 27: not before the words themselves.
#[test]
fn the_end_of_the_callers_words_is_not_told_before_words_that_wait() {
    let mut stage = Stage::opened_with(with_timers(|it| {
        it.stream_end = Duration::from_secs(1);
        it.greeting_hold = Duration::from_secs(3);
    }));
    stage.join_with(&greeting_terms());
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    frames(&mut stage, &mut at, 90, || HUSH.to_vec());
    assert_eq!(stage.agent.texts().len(), 1, "the request to greet");
    frames(&mut stage, &mut at, 50, || HUSH.to_vec());
    let texts = stage.agent.texts();
    let told = texts.iter().position(|text| text["realtimeInput"]["audioStreamEnd"] == true);
    assert!(told.is_some_and(|at| at > 140), "{told:?}");
}

/// Trap 30.
#[test]
fn a_model_that_says_it_waits_owes_nothing() {
    let mut stage = Stage::joined();
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    stage.agent.say(json!({"serverContent": {"waitingForInput": true}}));
    stage.settle();
    for _ in 0..20 {
        stage.agent.say(json!({"usageMetadata": {}}));
        stage.settle();
        stage.pass(1_000);
    }
    assert_eq!((nudges(&stage), stage.redials.len()), (0, 0));
}

/// A turn that fails without a word is asked for again at once.
#[test]
fn a_turn_that_fails_without_a_word_is_asked_for_at_once() {
    for (reason, asked) in [
        ("MALFORMED_FUNCTION_CALL", 1),
        ("RESPONSE_REJECTED", 1),
        ("A_WORD_OF_TOMORROW", 1),
        ("NEED_MORE_INPUT", 0),
        ("TURN_COMPLETE_REASON_UNSPECIFIED", 0),
    ] {
        let mut stage = Stage::joined();
        let mut at = 0;
        frames(&mut stage, &mut at, 20, || mulaw(160));
        stage.pass(400);
        stage
            .agent
            .say(json!({"serverContent": {"turnComplete": true, "turnCompleteReason": reason}}));
        stage.settle();
        assert_eq!(nudges(&stage), asked, "{reason}");
    }
}

/// A turn that fails however often it is asked for is not asked for for ever.
#[test]
fn turns_that_fail_whenever_they_are_asked_for_end_in_another_line_and_then_the_fallback() {
    let mut stage = Stage::joined();
    stage.update("h");
    let mut at = 0;
    frames(&mut stage, &mut at, 20, || mulaw(160));
    stage.pass(400);
    let (began, mut lines) = (stage.now, 0);
    while stage.ending.is_none() {
        if stage.redials.is_empty() {
            if stage.call.needs_agent() && stage.agent.close_code().is_none() {
                stage.agent.say(json!({"serverContent": {"turnComplete": true,
                    "turnCompleteReason": "MALFORMED_FUNCTION_CALL"}}));
            }
        } else {
            stage.redial();
            lines += 1;
        }
        let _ = stage.phone.socket.send(Message::Ping(Vec::new().into()));
        stage.settle();
        stage.pass(100);
        assert!(stage.now.since(began) < Duration::from_secs(90), "{} nudges", nudges(&stage));
    }
    assert_eq!((lines, stage.ending), (3, Some(Ending::ModelSilent)));
    assert!(nudges(&stage) <= 4, "{}", nudges(&stage));
}

/// A model that has everything done and says nothing, or says that it waits, or sends audio without
/// a sample, has not answered.
#[test]
fn a_model_that_does_everything_but_speak_is_replaced_and_then_left() {
    let tool = json!({"toolCall": {"functionCalls": [{"id": "f", "name": "none", "args": {}}]}});
    let waits = json!({"serverContent": {"waitingForInput": true}});
    for message in [tool, waits, speech(&[])] {
        let mut stage = Stage::joined_with(with_timers(|timers| {
            timers.tone = Duration::ZERO;
            timers.owed = Duration::from_secs(20);
        }));
        stage.update("h");
        let (mut at, mut lines, mut frame) = (0, 0, 0);
        let began = stage.now;
        while stage.ending.is_none() {
            let speaks = frame % 250 < 10;
            frames(&mut stage, &mut at, 1, || if speaks { mulaw(160) } else { HUSH.to_vec() });
            frame += 1;
            if !stage.redials.is_empty() {
                stage.redial();
                lines += 1;
            }
            let is_up = stage.call.needs_agent() && stage.agent.close_code().is_none();
            if frame % 50 == 0 && is_up {
                stage.agent.say(message.clone());
                stage.settle();
            }
            assert!(stage.now.since(began) < Duration::from_secs(300), "{message}");
        }
        assert!(lines > 0, "{message}");
        assert_eq!(stage.ending.unwrap().afterwards(), Afterwards::Fallback, "{message}");
    }
}

/// Interruptions of answers that never began are no machine's doing.
#[test]
fn interruptions_without_an_answer_between_them_end_nothing() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(24_000, 0)));
    for _ in 0..50 {
        stage.agent.say(json!({"serverContent": {"interrupted": true}}));
        stage.settle();
    }
    assert_eq!(stage.ending, None);
}

/// Trap 31.
#[test]
fn what_comes_after_the_end_of_a_turn_is_played_and_waited_for() {
    let mut stage = Stage::joined();
    stage.update("h");
    let (first, second) = (voice(4_800, 0), voice(2_400, 5));
    stage.agent.say(speech(&first));
    stage.agent.say(json!({"serverContent": {"turnComplete": true,
        "interactionStatus": "IN_PROGRESS"}}));
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    stage.pass(1_000);
    assert!(stage.redials.is_empty(), "more is to come");
    stage.agent.say(speech(&second));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}, "interactionStatus": "IDLE"}));
    stage.settle();
    assert_eq!(stage.redials.len(), 1, "now nothing is");
    stage.pass(1_000);
    assert_eq!(stage.heard_by_caller(), [downsampled(&first), downsampled(&second)].concat());
}

/// Trap 36.
#[test]
fn a_tone_instead_of_speech_is_not_listened_to_for_ever() {
    let tone: Vec<u8> = (0..24_000 * 5)
        .flat_map(|n| (((f64::from(n) * 0.2).sin() * 12_000.0) as i16).to_le_bytes())
        .collect();
    let mut stage = Stage::joined_with(with_timers(|_| {}));
    stage.update("h");
    for piece in tone.chunks(9_600) {
        if stage.redials.is_empty() {
            stage.agent.say(speech(piece));
            stage.settle();
        }
    }
    let texts = stage.phone.texts();
    assert_eq!(texts.iter().filter(|text| text["event"] == "clear").count(), 1);
    let heard = stage.heard_by_caller().len();
    assert!(matches!(stage.redial(), Revival::Fresh { .. }));
    assert!(stage.tally().downlink.dropped[Dropped::Tone as usize] > 0);
    stage.pass(2_000);
    assert_eq!(stage.heard_by_caller().len(), heard, "nothing of it is heard any more");
    let swapped = stage.reports.iter().find_map(|report| match report {
        Report::Swapped { kind, cause, .. } => Some((*kind, *cause)),
        _ => None,
    });
    assert_eq!(swapped, Some((Kind::Fresh, Cause::Tone)));
    stage.assert_is_listened_to();
}

/// Trap 36: all of it in one go, and more of it than would be a second offence.
#[test]
fn a_long_tone_that_comes_at_once_costs_one_line_and_not_the_call() {
    let tone: Vec<u8> = (0..24_000 * 14)
        .flat_map(|n| (((f64::from(n) * 0.2).sin() * 12_000.0) as i16).to_le_bytes())
        .collect();
    let mut stage = Stage::joined_with(with_timers(|_| {}));
    stage.update("h");
    for piece in tone.chunks(9_600) {
        stage.agent.say(speech(piece));
    }
    stage.agent.say(turn_complete());
    stage.settle();
    assert_eq!((stage.ending, stage.redials.len()), (None, 1));
    let heard = stage.heard_by_caller().len();
    stage.pass(100);
    assert!(matches!(stage.redial(), Revival::Fresh { .. }));
    stage.pass(1_000);
    assert_eq!(stage.heard_by_caller().len(), heard, "none of it is heard any more");
    let tally = stage.tally();
    let dropped = tally.downlink.dropped[Dropped::Tone as usize];
    assert_eq!(dropped + tally.downlink.samples_out, 24_000 * 14);
    stage.assert_is_listened_to();
}

/// Trap 38.
#[test]
fn whatever_ends_a_call_the_models_session_is_closed() {
    type End = fn(&mut Stage);
    let ends: [(&str, End); 7] = [
        ("hang-up", |stage| stage.phone.say(json!({"event": "stop", "streamSid": "MZ"}))),
        ("phone gone", |stage| stage.call.handle_phone_gone(stage.now)),
        ("drain", |stage| stage.call.handle_stop(stage.now)),
        ("panic", |stage| stage.call.handle_failure(stage.now)),
        ("replaced", |stage| stage.call.handle_replaced(stage.now)),
        ("garbage", |stage| {
            stage.phone.socket.get_mut().written.extend([0xff; 40]);
        }),
        ("silence", |stage| {
            stage.phone.cut_off = true;
            while stage.ending.is_none() {
                stage.agent.say(json!({"usageMetadata": {}}));
                stage.settle();
                stage.pass(1_000);
            }
        }),
    ];
    for (what, end) in ends {
        let mut stage = Stage::joined();
        end(&mut stage);
        stage.settle();
        assert!(stage.ending.is_some(), "{what}");
        assert_eq!(stage.agent.close_code(), Some(1000), "{what}");
    }
}

/// However a model fails, its caller hears the fallback or is handed on.
#[test]
fn every_way_a_model_can_fail_ends_in_the_fallback_and_none_in_silence() {
    type Fail = fn(&mut Stage);
    let fails: [(&str, Fail); 5] = [
        ("never answers", |stage| {
            stage.agent.say(json!({"usageMetadata": {}}));
        }),
        ("goes away at once", |stage| stage.agent.say(json!({"goAway": {"timeLeft": "0s"}}))),
        ("breaks", Stage::lose_agent),
        ("sends garbage", |stage| {
            stage.agent.socket.get_mut().written.extend([0xff; 40]);
        }),
        ("sends an error", |stage| {
            stage.agent.say(json!({"error": {"code": 500, "message": "Internal error."}}));
        }),
    ];
    for (what, fail) in fails {
        let mut stage = Stage::joined();
        stage.update("h");
        let mut at = 0;
        frames(&mut stage, &mut at, 20, || mulaw(160));
        let began = stage.now;
        while stage.ending.is_none() {
            if stage.redials.is_empty() {
                if stage.call.needs_agent() && stage.agent.close_code().is_none() {
                    fail(&mut stage);
                }
            } else {
                stage.redial();
            }
            // It may have been told goodbye.
            let _ = stage.phone.socket.send(Message::Ping(Vec::new().into()));
            stage.settle();
            stage.pass(100);
            assert!(stage.now.since(began) < Duration::from_secs(180), "{what}: for ever");
        }
        assert_eq!(stage.ending.unwrap().afterwards(), Afterwards::Fallback, "{what}");
    }
}
