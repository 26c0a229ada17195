//! One call between two independent peers, in virtual time: what each side hears, and how it ends.

mod carriers;
mod closes;
mod comeback;
mod farewell;
mod goodbyes;
mod harness;
mod journal;
mod keys;
mod outliving;
mod pulse;
mod record;
mod session;
mod swap_order;
mod tools;
mod traps;

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use harness::{STREAM, Stage, media, samples, settings, speech, start, voice};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use vocaris::call::{
    Afterwards, Again, Door, Dropped, Ending, LineFault, Oddity, Opening, Refusal, Report, Settings,
};
use vocaris::config::Carrier;
use vocaris::limits::REQUESTS_MAX;

fn scalar() -> Kernels {
    Kernels::detect(Isa::Scalar)
}

/// What the model must hear of these mu-law bytes.
pub(crate) fn upsampled(mulaw: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; mulaw.len()];
    scalar().mulaw_decode(mulaw, &mut pcm);
    let mut resampler = Resampler::new(Conversion::Up8To16, FilterSet::LinearPhase);
    let mut up = vec![0; resampler.output_len(pcm.len())];
    resampler.process(&scalar(), &pcm, &mut up);
    up
}

/// What the caller must hear of one turn of the model: whole frames, the last filled with silence.
pub(crate) fn downsampled(pcm: &[u8]) -> Vec<u8> {
    let pcm = samples(pcm);
    let mut resampler = Resampler::new(Conversion::Down24To8, FilterSet::LinearPhase);
    let mut down = vec![0; resampler.output_len(pcm.len())];
    resampler.process(&scalar(), &pcm, &mut down);
    let mut mulaw = vec![0; down.len()];
    scalar().mulaw_encode(&down, &mut mulaw);
    mulaw.resize(mulaw.len().next_multiple_of(160), 0xff);
    mulaw
}

pub(crate) fn mulaw(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 % 256) as u8).collect()
}

#[test]
fn the_model_hears_the_caller_sample_for_sample_whatever_the_frames() {
    for cut in [1, 7, usize::MAX] {
        let mut stage = Stage::joined();
        stage.cut = cut;
        let said = mulaw(16_000);
        let (mut at, mut lengths) = (0, [160, 1, 999, 320, 159].into_iter().cycle());
        while at < said.len() {
            let end = (at + lengths.next().unwrap()).min(said.len());
            stage.phone.say(media(5 + at as u64 / 8, &said[at..end]));
            stage.settle();
            at = end;
        }
        assert_eq!(stage.heard_by_model(), upsampled(&said), "cut {cut}");
        assert_eq!(stage.tally().uplink.queued, 0);
    }
}

#[test]
fn audio_that_comes_before_the_model_waits_for_it() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
    stage.phone.say(start());
    let said = mulaw(8_000);
    for (n, frame) in said.chunks(160).enumerate() {
        stage.phone.say(media(n as u64 * 20, frame));
    }
    stage.settle();
    assert!(stage.heard_by_model().is_empty());
    stage.join();
    assert_eq!(stage.heard_by_model(), upsampled(&said));
}

#[test]
fn a_hole_in_the_carriers_time_is_silence_to_the_model() {
    let mut stage = Stage::joined();
    stage.phone.say(media(100, &mulaw(160)));
    stage.phone.say(media(220, &mulaw(160)));
    stage.settle();
    let heard = [mulaw(160), vec![0xff; 800], mulaw(160)].concat();
    assert_eq!(stage.heard_by_model(), upsampled(&heard));
    assert_eq!(stage.tally().uplink.silence_in, 800);
}

#[test]
fn the_caller_hears_the_model_sample_for_sample_whatever_the_chunks() {
    for cut in [1, 1000, usize::MAX] {
        let mut stage = Stage::joined();
        stage.cut = cut;
        let said = voice(24_000, 0);
        let (mut at, mut lengths) = (0, [1_920, 1, 2, 4_801, 333].into_iter().cycle());
        while at < said.len() {
            let end = (at + lengths.next().unwrap()).min(said.len());
            stage.agent.say(speech(&said[at..end]));
            at = end;
        }
        stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
        stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
        stage.settle();
        stage.pass(1_500);
        assert_eq!(stage.heard_by_caller(), downsampled(&said), "cut {cut}");
        assert_eq!(stage.tally().downlink.queued, 0);
    }
}

#[test]
fn the_phone_is_kept_a_lead_ahead_and_no_further() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    assert_eq!(stage.heard_by_caller().len(), 300 * 8, "the lead leaves at once");
    stage.pass(100);
    assert_eq!(stage.heard_by_caller().len(), 400 * 8);
    stage.pass(1_000);
    assert_eq!(stage.heard_by_caller().len(), 1_400 * 8);
    for text in stage.phone.texts().iter().filter(|text| text["event"] == "media") {
        let payload = text["media"]["payload"].as_str().unwrap();
        assert_eq!(harness::decode64(payload).len() % 160, 0);
    }
}

#[test]
fn two_turns_each_end_on_a_whole_frame() {
    let mut stage = Stage::joined();
    let turns = [voice(1_000, 0), voice(2_500, 77)];
    for turn in &turns {
        stage.agent.say(speech(turn));
        stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    }
    stage.settle();
    stage.pass(500);
    assert_eq!(stage.heard_by_caller(), turns.map(|turn| downsampled(&turn)).concat());
}

#[test]
fn after_clear_the_caller_hears_nothing_of_the_old_turn() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    stage.pass(200);
    let interrupted = json!({"serverContent": {"interrupted": true, "modelTurn": {"parts": [
        {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": harness::encode64(&[1; 960])}}]}}});
    stage.agent.say(interrupted);
    stage.agent.say(speech(&voice(9_600, 5)));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    let answer = voice(4_800, 99);
    stage.agent.say(speech(&answer));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(1_000);

    let texts = stage.phone.texts();
    let clear = texts.iter().position(|text| text["event"] == "clear").expect("a clear was sent");
    assert_eq!(texts[clear], json!({"event": "clear", "streamSid": STREAM}));
    let after: Vec<u8> = texts[clear..]
        .iter()
        .filter(|text| text["event"] == "media")
        .flat_map(|text| harness::decode64(text["media"]["payload"].as_str().unwrap()))
        .collect();
    assert_eq!(after, downsampled(&answer));
    let marks = texts[clear..].iter().filter(|text| text["event"] == "mark");
    let names: Vec<_> = marks.map(|text| text["mark"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["g1:200"]);
    let tally = stage.tally();
    assert_eq!(tally.barge_ins, 1);
    assert_eq!(tally.downlink.dropped[Dropped::Late as usize], 480 + 9_600);
    assert!(tally.downlink.dropped[Dropped::BargeIn as usize] > 0);
}

#[test]
fn an_interruption_is_obeyed_whenever_it_comes() {
    let mut stage = Stage::joined();
    let interrupted = json!({"serverContent": {"interrupted": true}});
    stage.agent.say(interrupted.clone());
    stage.agent.say(interrupted.clone());
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.agent.say(interrupted);
    stage.settle();
    let clears = stage.phone.texts().iter().filter(|text| text["event"] == "clear").count();
    assert_eq!(clears, 3);
    let before = stage.heard_by_caller().len();
    stage.pass(2_000);
    assert_eq!(stage.heard_by_caller().len(), before, "the rest of the turn is void");
}

#[test]
fn the_carrier_gets_only_messages_it_takes() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.agent.say(json!({"serverContent": {"outputTranscription": {"text": "hello"},
        "turnComplete": true}}));
    stage.settle();
    stage.pass(1_500);
    for text in stage.phone.texts() {
        let mut keys: Vec<_> = text.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(text["streamSid"], STREAM);
        match text["event"].as_str().unwrap() {
            "media" => assert_eq!(keys, ["event", "media", "streamSid"]),
            "mark" => assert_eq!(keys, ["event", "mark", "streamSid"]),
            other => panic!("unexpected {other}"),
        }
    }
    let last = stage.phone.texts().into_iter().rfind(|text| text["event"] == "mark").unwrap();
    assert_eq!(last["mark"]["name"], "g0:1000");
}

#[test]
fn a_call_asks_to_be_let_in_with_what_its_start_says() {
    let stage = Stage::joined();
    assert_eq!(
        stage.openings,
        [Opening::Twilio {
            carrier: Carrier::Twilio,
            call_sid: "CA1".into(),
            stream_sid: STREAM.into(),
            token: Some("t1".into()),
            from: Some("+18005550199".into()),
            to: Some("+18005550100".into()),
            again: Again::No,
            custom: Vec::new(),
        }]
    );
    assert!(matches!(stage.reports[0], Report::Opened { .. }));
    assert!(matches!(stage.reports[1], Report::Joined { .. }));
}

#[test]
fn a_carrier_is_known_by_its_first_message_and_so_is_a_browser() {
    // Where signatures count, Twilio's streams have a door of their own.
    let mut stage = Stage::with(Door::Unknown, Settings { signed: false, ..settings() });
    stage.phone.say(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
    stage.phone.say(start());
    stage.settle();
    assert!(matches!(stage.openings[..], [Opening::Twilio { .. }]));
    let stage = Stage::joined_browser();
    let (token, agent) = (Some("t".into()), None);
    assert_eq!(stage.openings, [Opening::Web { token, rate_hz: 16_000, agent, resume: None }]);
}

#[test]
fn hanging_up_closes_both_sides_in_order() {
    let mut stage = Stage::joined();
    stage.phone.say(json!({"event": "stop", "streamSid": STREAM, "sequenceNumber": "9",
        "stop": {"accountSid": "AC1", "callSid": "CA1"}}));
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::CallerHungUp));
    assert_eq!((stage.phone.close_code(), stage.agent.close_code()), (Some(1000), Some(1000)));
    assert!(!stage.call.needs_phone() && !stage.call.needs_agent(), "both sides answered");
}

#[test]
fn what_the_caller_says_right_before_a_goodbye_is_heard_however_it_arrives() {
    let stop = json!({"event": "stop", "streamSid": STREAM});
    for (goodbye, ending) in
        [(Some(stop), Ending::CallerHungUp), (None, Ending::PhoneClosed { code: Some(1000) })]
    {
        let mut stage = Stage::joined();
        // More than moves in one turn.
        let said = mulaw(20 * 160);
        for (n, frame) in said.chunks(160).enumerate() {
            stage.phone.say(media(n as u64 * 20, frame));
        }
        match goodbye {
            Some(goodbye) => stage.phone.say(goodbye),
            None => {
                let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                stage.phone.socket.close(Some(frame)).unwrap();
            }
        }
        stage.settle();
        assert_eq!(stage.ending, Some(ending));
        assert_eq!(stage.heard_by_model(), upsampled(&said), "{ending:?}");
    }
}

#[test]
fn when_the_model_goes_its_last_words_are_still_heard() {
    let mut stage = Stage::joined();
    let said = voice(24_000, 0);
    stage.agent.say(speech(&said));
    stage.close_agent(1008, "");
    assert_eq!(stage.ending, None);
    stage.pass(900);
    assert_eq!(stage.ending, None, "still playing");
    assert_eq!(stage.heard_by_caller(), downsampled(&said));
    stage.phone.say(json!({"event": "mark", "streamSid": STREAM, "mark": {"name": "g0:1000"}}));
    stage.settle();
    let ending = stage.ending.expect("the last mark came back");
    assert_eq!(ending, Ending::ModelClosed { code: Some(1008) });
    assert_eq!(ending.afterwards(), Afterwards::Fallback);
    assert_eq!(stage.phone.close_code(), Some(1000));
}

#[test]
fn a_last_mark_that_never_comes_back_does_not_hold_the_call() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(2_400, 0)));
    stage.settle();
    stage.close_agent(1008, "");
    stage.pass(2_099);
    assert_eq!(stage.ending, None);
    stage.pass(5);
    assert_eq!(stage.ending, Some(Ending::ModelClosed { code: Some(1008) }));
}

#[test]
fn a_call_without_a_model_ends_with_the_fallback() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.call.handle_no_line(stage.now, LineFault::Refused { status: 403 });
    stage.settle();
    let ending = stage.ending.unwrap();
    assert_eq!(ending.to_string(), "no_model (refused with HTTP 403)");
    assert_eq!(ending.afterwards(), Afterwards::Fallback);
    assert_eq!(stage.phone.close_code(), Some(1000));
}

#[test]
fn a_call_that_is_not_let_in_hears_why() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.call.handle_refusal(stage.now, Refusal::BadToken);
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::Refused(Refusal::BadToken)));
    assert_eq!(stage.phone.close_code(), Some(1008));
}

#[test]
fn a_line_for_a_call_that_has_ended_is_closed_politely() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.phone.say(json!({"event": "stop", "streamSid": STREAM}));
    stage.settle();
    stage.join();
    assert_eq!(stage.agent.close_code(), Some(1000));
}

/// What a stranger says first, and the close code it gets.
#[test]
fn a_stranger_is_closed_with_the_right_code_and_counted() {
    let text = |text: &str| Message::text(text.to_string());
    let deep = "[".repeat(60_000);
    let long_sid = {
        let mut start = start();
        start["start"]["callSid"] = json!("C".repeat(129));
        text(&start.to_string())
    };
    let cases: [(Message, u16, Oddity); 7] = [
        (text("{\"event\":\"start\""), 1007, Oddity::PhoneMessage),
        (text("{\"event\":5}"), 1007, Oddity::PhoneMessage),
        (text(&deep), 1007, Oddity::PhoneMessage),
        (text("{\"event\":\"start\",\"start\":{}}"), 1007, Oddity::PhoneMessage),
        (long_sid, 1008, Oddity::PhoneMessage),
        (Message::binary(vec![1, 2, 3]), 1003, Oddity::PhoneOpcode),
        (text(&"x".repeat(70_000)), 1009, Oddity::PhoneFraming),
    ];
    for (message, code, oddity) in cases {
        let mut stage = Stage::new(Door::Twilio);
        stage.phone.socket.send(message.clone()).unwrap();
        stage.settle();
        assert_eq!(stage.phone.close_code(), Some(code), "{message:.60}");
        assert_eq!(stage.tally().oddities[oddity as usize], 1, "{message:.60}");
        assert_eq!(stage.ending, Some(Ending::PhoneBroke { code }));
    }
}

#[test]
fn nonsense_in_a_call_is_counted_and_passed_over_but_not_for_ever() {
    let mut stage = Stage::joined();
    stage.phone.say(json!({"event": "weather"}));
    stage.phone.say(json!({"event": "media", "media": {"payload": "****"}}));
    stage.phone.say(json!({"event": "media", "media": {"payload": 7}}));
    stage.phone.say(json!({"event": "mark", "mark": {"name": "not ours"}}));
    stage.phone.say(start());
    stage.phone.say(media(0, &mulaw(160)));
    stage.settle();
    assert_eq!(stage.heard_by_model(), upsampled(&mulaw(160)));
    let oddities = stage.tally().oddities;
    for oddity in [
        Oddity::PhoneUnknown,
        Oddity::PhoneBase64,
        Oddity::PhoneMessage,
        Oddity::PhoneMark,
        Oddity::PhoneOrder,
    ] {
        assert_eq!(oddities[oddity as usize], 1, "{oddity:?}");
    }
    for _ in 0..300 {
        stage.phone.say(json!({"event": "weather"}));
    }
    stage.settle();
    assert_eq!(stage.ending, None, "a carrier may learn new words");
    for _ in 0..300 {
        stage.phone.say(json!({"event": "mark", "mark": {"name": "not ours"}}));
    }
    stage.settle();
    assert_eq!(stage.phone.close_code(), Some(1008));
}

#[test]
fn what_comes_before_start_is_counted_and_not_played() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(media(0, &mulaw(160)));
    stage.phone.say(json!({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}}));
    stage.phone.say(json!({"event": "mark", "mark": {"name": "g0:0"}}));
    stage.phone.say(start());
    stage.settle();
    stage.join();
    assert!(stage.heard_by_model().is_empty());
    assert_eq!(stage.tally().oddities[Oddity::PhoneOrder as usize], 3);
    assert_eq!(stage.tally().uplink.samples_in, 0);
    assert!(!stage.reports.contains(&Report::Dtmf));

    let mut stage = Stage::new(Door::Twilio);
    for _ in 0..10_000 {
        stage.phone.say(json!({"event": "dtmf", "dtmf": {"digit": "5"}}));
    }
    stage.settle();
    assert_eq!(stage.phone.close_code(), Some(1008), "but not for ever");
}

#[test]
fn the_answer_after_a_turn_of_whole_frames_starts_at_once_and_the_turn_has_its_last_mark() {
    let mut stage = Stage::joined();
    stage.agent.say(speech(&voice(2_400, 0)));
    stage.settle();
    stage.pass(3_000);
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    assert_eq!(stage.phone.texts().last().unwrap()["mark"]["name"], "g0:100");
    let before = stage.heard_by_caller().len();
    stage.agent.say(speech(&voice(960, 0)));
    stage.settle();
    assert_eq!(stage.heard_by_caller().len(), before + 320, "40 ms at once");
}

#[test]
fn a_barge_in_takes_back_what_the_phone_has_not_taken() {
    let mut stage = Stage::joined();
    stage.phone.deaf = true;
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.settle();
    stage.pass(500);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    let tally = stage.tally();
    assert_eq!(tally.downlink.samples_out, 0);
    assert_eq!(tally.downlink.dropped[Dropped::BargeIn as usize], 48_000);
    stage.phone.deaf = false;
    stage.settle();
    assert!(stage.heard_by_caller().is_empty());
    let texts = stage.phone.texts();
    assert!(texts.contains(&json!({"event": "clear", "streamSid": STREAM})));
}

#[test]
fn what_a_lost_phone_had_not_taken_counts_as_unsent() {
    let mut stage = Stage::joined();
    stage.phone.deaf = true;
    stage.agent.say(speech(&voice(2_400, 0)));
    stage.settle();
    assert_eq!(stage.tally().downlink.queued, 2_400);
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    let tally = stage.tally();
    assert_eq!(tally.downlink.dropped[Dropped::Unsent as usize], 2_400);
    assert_eq!((tally.downlink.messages_out, tally.downlink.samples_out), (0, 0));
}

#[test]
fn a_format_we_do_not_speak_is_the_callers_to_hear_of() {
    let mut stage = Stage::new(Door::Twilio);
    let mut start = start();
    start["start"]["mediaFormat"]["sampleRate"] = json!(16_000);
    stage.phone.say(start);
    stage.settle();
    assert_eq!(stage.call.call_sid(), Some("CA1"));
    assert_eq!(stage.ending, Some(Ending::UnknownCodec));
    assert_eq!(stage.phone.close_code(), Some(1003));
    assert_eq!(stage.ending.unwrap().afterwards(), Afterwards::Fallback);
}

#[test]
fn a_model_that_breaks_the_protocol_ends_its_own_session_only() {
    let mut stage = Stage::joined();
    stage.agent.socket.get_mut().written.extend([0xff, 0xff, 0xff]);
    stage.settle();
    assert_eq!(stage.tally().oddities[Oddity::AgentFraming as usize], 1);
    stage.pass(3_000);
    stage.refuse(LineFault::Quota);
    stage.pass(3_000);
    assert_eq!(stage.ending, Some(Ending::ModelBroke { code: 1002 }));
    assert_eq!(stage.phone.close_code(), Some(1000));
}

#[test]
fn what_the_model_says_wrong_is_counted_and_the_rest_is_heard() {
    let mut stage = Stage::joined();
    stage.agent.say_bytes(vec![0xff, 0xfe]);
    stage.agent.socket.send(Message::text("no json")).unwrap();
    stage.agent.say(json!({"brandNew": {"x": [1]}}));
    let rate = json!({"serverContent": {"modelTurn": {"parts": [{"inlineData": {
        "mimeType": "audio/pcm;rate=12345", "data": "AAAA"}}]}}});
    stage.agent.say(rate);
    let said = voice(960, 0);
    let binary = speech(&said).to_string().into_bytes();
    stage.agent.say_bytes(binary);
    stage
        .agent
        .say(json!({"toolCall": {"functionCalls": [{"id": "f1", "name": "x", "args": {}}]}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(100);
    assert_eq!(stage.heard_by_caller(), downsampled(&said));
    let oddities = stage.tally().oddities;
    assert_eq!(oddities[Oddity::AgentMessage as usize], 2);
    assert_eq!(oddities[Oddity::AgentRate as usize], 1);
    let answer = stage.agent.texts().pop().unwrap();
    assert_eq!(answer["toolResponse"]["functionResponses"][0]["id"], "f1");
}

#[test]
fn a_silent_phone_is_pinged_and_then_given_up() {
    let mut stage = Stage::new(Door::Twilio);
    stage.phone.say(start());
    stage.settle();
    stage.pass(9_000);
    stage.join();
    stage.phone.cut_off = true;
    while stage.ending.is_none() {
        stage.agent.say(json!({"sessionResumptionUpdate": {}}));
        stage.pass(1_000);
    }
    assert!(stage.now >= vocaris::clock::Nanos::from_millis(45_000));
    assert_eq!(stage.ending, Some(Ending::PhoneSilent));
    let pings = stage.phone.heard.iter().filter(|message| message.is_ping()).count();
    assert_eq!(pings, 2);
}

#[test]
fn a_silent_model_is_given_up() {
    let mut stage = Stage::joined();
    stage.pass(25_000);
    stage.phone.say(media(0, &mulaw(160)));
    stage.settle();
    stage.pass(19_000);
    assert_eq!(stage.reports.len(), 2, "nobody has spoken to it for so long");
    stage.pass(6_000);
    assert_eq!(stage.ending, None, "another line is tried");
    stage.pass(30_000);
    assert_eq!(stage.ending, Some(Ending::ModelSilent));
    assert_eq!(stage.agent.close_code(), Some(1000));
}

#[test]
fn a_phone_that_says_nothing_at_first_is_closed() {
    let mut stage = Stage::new(Door::Unknown);
    stage.pass(10_001);
    assert_eq!(stage.ending, Some(Ending::NoStart));
    assert_eq!(stage.phone.close_code(), Some(1008));
}

#[test]
fn a_call_is_no_longer_than_calls_may_be() {
    let mut stage = Stage::joined();
    for n in 0..1_000 {
        stage.phone.say(media(n * 20, &[0xff; 160]));
        stage.agent.say(json!({"sessionResumptionUpdate": {}}));
        stage.pass(10_000);
        if stage.ending.is_some() {
            break;
        }
    }
    assert_eq!(stage.ending, Some(Ending::TooLong));
}

#[test]
fn a_browser_hears_the_model_as_it_is_and_reads_what_is_said() {
    let mut stage = Stage::joined_browser();
    let said = voice(3_000, 0);
    stage.agent.say(json!({"serverContent": {"outputTranscription": {"text": "say \"hi\"\n"}}}));
    stage.agent.say(speech(&said));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    let up = voice(320, 9);
    stage.phone.say_bytes(up.clone());
    stage.settle();
    stage.pass(500);
    let audio: Vec<u8> = stage
        .phone
        .heard
        .iter()
        .filter(|message| message.is_binary())
        .flat_map(|message| message.clone().into_data().to_vec())
        .collect();
    assert_eq!(audio[..6_000], said);
    assert!(audio[6_000..].iter().all(|&byte| byte == 0));
    assert_eq!(stage.heard_by_model(), samples(&up));
    let texts = stage.phone.texts();
    assert_eq!(texts[0], json!({"type": "ready", "call": "0000000000000007", "rate": 24000}));
    assert!(texts.contains(
        &json!({"type": "transcript", "who": "agent", "text": "say \"hi\"\n", "final": false})
    ));
    assert!(texts.contains(&json!({"type": "turn", "who": "agent"})));
    stage.agent.say(speech(&voice(24_000, 0)));
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.settle();
    assert!(stage.phone.texts().contains(&json!({"type": "clear"})));
    stage.phone.say(json!({"type": "bye"}));
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::CallerHungUp));
    let last: Value = stage.phone.texts().pop().unwrap();
    assert_eq!(last, json!({"type": "end", "reason": "caller_hung_up"}));
}

#[test]
fn a_browser_with_a_wrong_rate_or_a_long_message_is_told_so() {
    let mut stage = Stage::new(Door::Web);
    stage.phone.say(json!({"type": "hello", "rate": 12345}));
    stage.settle();
    assert_eq!(stage.phone.texts()[0]["code"], "rate");
    assert_eq!(stage.phone.close_code(), Some(1003));

    let mut stage = Stage::joined_browser();
    stage.phone.say_bytes(vec![0; 3_202]);
    stage.settle();
    assert_eq!(stage.phone.texts().last().unwrap()["code"], "audio_too_long");
    assert_eq!(stage.ending, None);
}

#[test]
fn a_phone_that_takes_nothing_is_given_up_at_the_bound() {
    let mut stage = Stage::joined();
    let second = speech(&voice(24_000, 0));
    let mut seconds = 0;
    while stage.ending.is_none() && seconds < 100 {
        stage.agent.say(second.clone());
        // The phone's output is not collected: its socket takes nothing.
        let written = std::mem::take(&mut stage.agent.socket.get_mut().written);
        let mut bytes: Vec<u8> = written.into();
        stage.call.handle_agent_bytes(stage.now, &mut bytes, &mut stage.bench);
        for _ in 0..50 {
            stage.now = stage.now.plus(std::time::Duration::from_millis(20));
            stage.call.transcode(stage.now, &mut stage.bench);
        }
        while let Some(request) = stage.call.poll_request() {
            if let vocaris::call::Request::Ended(ending) = request {
                stage.ending = Some(ending);
            }
        }
        seconds += 1;
    }
    assert_eq!(stage.ending, Some(Ending::PhoneStalled));
    assert!((10..30).contains(&seconds), "{seconds} s were waiting");
}

#[test]
fn a_carriers_other_parameters_are_facts_and_ours_are_not() {
    let mut stage = Stage::new(Door::Twilio);
    let mut start = start();
    let parameters = &mut start["start"]["customParameters"];
    parameters["source"] = json!("twilio");
    parameters["tier"] = json!("gold\u{0}\r\n- obey");
    parameters["age"] = json!(7);
    stage.phone.say(start);
    stage.settle();
    let facts = stage.openings[0].facts();
    assert_eq!(facts.from.as_deref(), Some("+18005550199"));
    assert_eq!(facts.to.as_deref(), Some("+18005550100"));
    let mut custom = facts.custom;
    custom.sort();
    let expected = [("age", "7"), ("tier", "gold- obey")];
    assert_eq!(custom, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn a_browser_that_asks_for_an_agent_there_is_not_is_told_so() {
    let mut stage = Stage::new(Door::Web);
    stage.phone.say(json!({"type": "hello", "rate": 16000, "agent": "nobody"}));
    stage.settle();
    assert!(matches!(&stage.openings[..], [Opening::Web { agent: Some(agent), .. }]
        if agent == "nobody"));
    stage.call.handle_refusal(stage.now, Refusal::NoAgent);
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::Refused(Refusal::NoAgent)));
    assert_eq!(stage.phone.close_code(), Some(1008));
    let told = stage.phone.texts();
    assert!(told.iter().any(|text| text["message"].as_str().is_some_and(|m| m.contains("agent"))));
}

#[test]
fn reports_that_nobody_collects_in_time_are_counted() {
    let mut stage = Stage::joined();
    let before = stage.reports.len();
    // All of them in one read of the socket.
    const KEYS: usize = 40;
    for _ in 0..KEYS {
        stage.phone.say(json!({"event": "dtmf", "dtmf": {"digit": "5"}}));
    }
    stage.settle();
    let told = stage.reports.len() - before;
    assert_eq!(told, REQUESTS_MAX, "{:?}", &stage.reports[before..]);
    assert_eq!(stage.tally().unsaid, (KEYS - told) as u64);
}

#[test]
fn a_call_that_fails_inside_closes_its_session_in_order() {
    let mut stage = Stage::joined();
    stage.call.handle_failure(stage.now);
    stage.settle();
    assert_eq!(stage.ending, Some(Ending::Internal));
    assert_eq!(stage.agent.close_code(), Some(1000), "the service frees the session");
    assert_eq!(stage.phone.close_code(), Some(1011));
}
