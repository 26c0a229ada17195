//! A carrier whose socket outlives its call.

use std::time::Duration;

use serde_json::json;
use tungstenite::Message;
use vocaris::call::{Door, Ending, Oddity};

use crate::harness::{STREAM, Stage, media, with_timers};
use crate::mulaw;

/// A carrier's call that may be silent for 20 s, with its model.
fn with_media_timeout() -> Stage {
    Stage::joined_with(with_timers(|it| it.media_timeout = Duration::from_secs(20)))
}

/// So many seconds in which both sockets live and the phone answers pings alone. The names of the
/// marks it is sent, oldest first.
fn only_pongs(stage: &mut Stage, seconds: u64) -> Vec<String> {
    let heard = stage.phone.texts().len();
    for _ in 0..seconds {
        if stage.ending.is_none() {
            stage.phone.socket.send(Message::Pong(Vec::<u8>::new().into())).unwrap();
            stage.agent.say(json!({"sessionResumptionUpdate": {}}));
        }
        stage.pass(1_000);
    }
    let texts = stage.phone.texts();
    let marks = texts[heard..].iter().filter(|text| text["event"] == "mark");
    marks.map(|mark| mark["mark"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_carrier_that_only_answers_pings_is_asked_for_a_mark_and_then_given_up() {
    let mut stage = with_media_timeout();
    stage.phone.say(media(0, &mulaw(160)));
    stage.settle();
    assert_eq!(only_pongs(&mut stage, 9), [""; 0]);
    assert_eq!(only_pongs(&mut stage, 2).len(), 1);
    assert_eq!(only_pongs(&mut stage, 7), [""; 0], "it is asked once");
    assert_eq!(stage.ending, None);
    only_pongs(&mut stage, 3);
    assert_eq!(stage.ending, Some(Ending::MediaTimeout));
    assert_eq!(stage.phone.close_code(), Some(1000));
    assert_eq!(stage.ending.unwrap().label(), "media_timeout");
}

#[test]
fn a_carrier_that_sends_no_audio_in_a_silence_lives_by_the_marks_it_returns() {
    let mut stage = with_media_timeout();
    for _ in 0..10 {
        for name in only_pongs(&mut stage, 11) {
            stage.phone.say(json!({"event": "mark", "streamSid": STREAM, "mark": {"name": name}}));
            stage.settle();
        }
    }
    assert_eq!(stage.ending, None, "110 s");
    assert_eq!(stage.tally().oddities[Oddity::PhoneMark as usize], 0);
}

#[test]
fn a_frame_or_a_key_leaves_no_doubt() {
    let key = json!({"event": "dtmf", "streamSid": STREAM, "dtmf": {"digit": "5"}});
    for message in [media(0, &mulaw(160)), key] {
        let mut stage = with_media_timeout();
        assert_eq!(only_pongs(&mut stage, 9), [""; 0]);
        stage.phone.say(message);
        stage.settle();
        assert_eq!(only_pongs(&mut stage, 9), [""; 0]);
        assert_eq!(only_pongs(&mut stage, 2).len(), 1);
    }
}

#[test]
fn a_carrier_that_never_sent_a_frame_is_given_up_as_well() {
    let mut stage = with_media_timeout();
    only_pongs(&mut stage, 21);
    assert_eq!(stage.ending, Some(Ending::MediaTimeout));
}

#[test]
fn a_browser_may_be_muted_and_a_carrier_may_be_allowed_to_be_silent() {
    let timers = with_timers(|it| it.media_timeout = Duration::from_secs(20));
    let mut browser = Stage::with(Door::Web, timers);
    browser.phone.say(json!({"type": "hello"}));
    browser.settle();
    browser.join();
    let mut carrier = Stage::joined();
    for stage in [&mut browser, &mut carrier] {
        assert_eq!(only_pongs(stage, 120), [""; 0]);
        assert_eq!(stage.ending, None);
    }
}
