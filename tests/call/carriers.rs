//! Calls in every carrier's dialect: opening, audio both ways, barge-in, marks, keys, the end, and
//! what strangers may try.

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use serde_json::{Value, json};
use tungstenite::Message;
use vocaris::call::audio::Format;
use vocaris::call::{Door, Dropped, Ending, Oddity, Opening, Report};
use vocaris::config::Carrier;
use vocaris::wire::dialect::Dialect;

use crate::harness::{Stage, decode64, encode64, samples, speech, start, turn_complete, voice};

const OTHERS: [Carrier; 6] = [
    Carrier::SignalWire,
    Carrier::Telnyx,
    Carrier::Plivo,
    Carrier::Exotel,
    Carrier::Vonage,
    Carrier::Jambonz,
];

/// The messages a stream begins with, from the fixture.
fn opening(carrier: Carrier) -> Vec<Value> {
    let text = match carrier {
        Carrier::Twilio => panic!("it has tests of its own"),
        Carrier::SignalWire => include_str!("../fixtures/carriers/signalwire.jsonl"),
        Carrier::Telnyx => include_str!("../fixtures/carriers/telnyx.jsonl"),
        Carrier::Plivo => include_str!("../fixtures/carriers/plivo.jsonl"),
        Carrier::Exotel => include_str!("../fixtures/carriers/exotel.jsonl"),
        Carrier::Vonage => include_str!("../fixtures/carriers/vonage.jsonl"),
        Carrier::Jambonz => include_str!("../fixtures/carriers/jambonz.jsonl"),
    };
    let messages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let greeting = |message: &Value| match message["event"].as_str() {
        None | Some("connected" | "start" | "websocket:connected") => true,
        Some(_) => false,
    };
    messages.take_while(greeting).collect()
}

/// The same with another audio format, spelt as the carrier spells it.
fn opening_with(carrier: Carrier, format: Format) -> Vec<Value> {
    let mut messages = opening(carrier);
    let start = messages.last_mut().unwrap();
    let rate = format.rate_hz();
    let is_linear = format.sample_bytes() == 2;
    match carrier {
        Carrier::Telnyx => {
            let name = match format {
                Format::Mulaw8k => "PCMU",
                Format::Alaw8k => "PCMA",
                _ => "L16",
            };
            start["start"]["media_format"] =
                json!({"encoding": name, "sample_rate": rate, "channels": 1});
            start["start"]["custom_parameters"].as_object_mut().unwrap().remove("down");
        }
        Carrier::Exotel => start["start"]["media_format"]["sample_rate"] = json!(rate.to_string()),
        Carrier::Vonage => start["content-type"] = json!(format!("audio/l16;rate={rate}")),
        Carrier::Jambonz => start["sampleRate"] = json!(rate),
        _ => {
            let name = if is_linear { "audio/x-L16" } else { "audio/x-mulaw" };
            start["start"]["mediaFormat"] = json!({"encoding": name, "sampleRate": rate});
        }
    }
    messages
}

/// Every format each carrier can have, here from the carrier's own list.
fn formats(carrier: Carrier) -> Vec<Format> {
    let order = Dialect::of(carrier).byte_order;
    carrier.formats().iter().map(|&format| Format::asked(format, order)).collect()
}

/// One piece of caller audio, number `n`.
fn audio(carrier: Carrier, n: u64, bytes: &[u8]) -> Message {
    let (number, at) = (n.to_string(), ((n - 1) * 20).to_string());
    let payload = encode64(bytes);
    let value = match carrier {
        Carrier::Vonage | Carrier::Jambonz => return Message::binary(bytes.to_vec()),
        Carrier::Telnyx => json!({"event": "media", "stream_id": "s", "media": {
            "track": "inbound", "chunk": number, "timestamp": at, "payload": payload}}),
        Carrier::Exotel => json!({"event": "media", "stream_sid": "s", "media": {
            "chunk": number, "timestamp": at, "payload": payload}}),
        Carrier::Plivo => json!({"event": "media", "streamId": "s", "media": {
            "track": "inbound", "chunk": n, "timestamp": "1795428000000", "payload": payload}}),
        Carrier::Twilio | Carrier::SignalWire => json!({"event": "media", "media": {
            "track": "inbound", "chunk": number, "timestamp": at, "payload": payload}}),
    };
    Message::text(value.to_string())
}

fn opened(door: Door, messages: Vec<Value>) -> Stage {
    let mut stage = Stage::new(door);
    for message in messages {
        stage.phone.say(message);
    }
    stage.settle();
    stage
}

fn joined(carrier: Carrier) -> Stage {
    let mut stage = opened(Door::Carrier(carrier), opening(carrier));
    stage.join();
    stage
}

/// The pieces of audio the phone was sent, in order.
fn pieces(carrier: Carrier, stage: &Stage) -> Vec<Vec<u8>> {
    let heard = stage.phone.heard.iter();
    let is_binary = Dialect::of(carrier).is_binary();
    heard
        .filter_map(|message| match message {
            Message::Binary(bytes) if is_binary => Some(bytes.to_vec()),
            Message::Text(text) if !is_binary => {
                let value: Value = serde_json::from_str(text).unwrap();
                value["media"]["payload"].as_str().map(decode64)
            }
            _ => None,
        })
        .collect()
}

/// Marks, as the carrier is asked for them: their names.
fn marks(carrier: Carrier, stage: &Stage) -> Vec<String> {
    let texts = stage.phone.texts().into_iter();
    let names = texts.filter_map(|text| match carrier {
        Carrier::Plivo => (text["event"] == "checkpoint").then(|| text["name"].clone()),
        Carrier::Vonage => (text["action"] == "notify").then(|| text["payload"]["name"].clone()),
        _ => (text["event"] == "mark").then(|| text["mark"]["name"].clone()),
    });
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The carrier's word that audio has been played.
fn echo(carrier: Carrier, name: &str) -> Value {
    match carrier {
        Carrier::Plivo => json!({"event": "playedStream", "streamId": "s", "name": name}),
        Carrier::Vonage => json!({"event": "websocket:notify", "payload": {"name": name}}),
        _ => json!({"event": "mark", "mark": {"name": name}}),
    }
}

fn clear(carrier: Carrier) -> Value {
    match carrier {
        Carrier::Twilio | Carrier::SignalWire => {
            json!({"event": "clear", "streamSid": "2b3c4d5e-0000-4000-8000-00000000000a"})
        }
        Carrier::Telnyx => json!({"event": "clear"}),
        Carrier::Plivo => {
            json!({"event": "clearAudio", "streamId": "87654321-0000-4000-8000-cba987654321"})
        }
        Carrier::Exotel => {
            json!({"event": "clear", "stream_sid": "MZ0000000000000000000000exotel0a"})
        }
        Carrier::Vonage => json!({"action": "clear"}),
        Carrier::Jambonz => json!({"type": "killAudio"}),
    }
}

fn kernels() -> Kernels {
    Kernels::detect(Isa::Scalar)
}

fn resampled(pcm: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    let Some(conversion) = Conversion::between(from_hz, to_hz) else {
        assert_eq!(from_hz, to_hz);
        return pcm.to_vec();
    };
    let mut resampler = Resampler::new(conversion, FilterSet::LinearPhase);
    let mut out = vec![0; resampler.output_len(pcm.len())];
    resampler.process(&kernels(), pcm, &mut out);
    out
}

/// The linear samples behind a format's bytes, by the formula of G.711 and by hand.
fn linear(format: Format, bytes: &[u8]) -> Vec<i16> {
    let pairs = bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match format {
        Format::Mulaw8k => bytes.iter().map(|&code| dsp::g711::mulaw_to_linear(code)).collect(),
        Format::Alaw8k => bytes.iter().map(|&code| dsp::g711::alaw_to_linear(code)).collect(),
        Format::Pcm16 { .. } => pairs.map(i16::from_le_bytes).collect(),
        Format::Pcm16Be { .. } => pairs.map(i16::from_be_bytes).collect(),
    }
}

fn encoded(format: Format, pcm: &[i16]) -> Vec<u8> {
    let each = pcm.iter();
    match format {
        Format::Mulaw8k => each.map(|&sample| dsp::g711::linear_to_mulaw(sample)).collect(),
        Format::Alaw8k => each.map(|&sample| dsp::g711::linear_to_alaw(sample)).collect(),
        Format::Pcm16 { .. } => each.flat_map(|sample| sample.to_le_bytes()).collect(),
        Format::Pcm16Be { .. } => each.flat_map(|sample| sample.to_be_bytes()).collect(),
    }
}

#[test]
fn every_carrier_asks_to_be_let_in_with_what_its_first_messages_say() {
    for carrier in OTHERS {
        for door in [Door::Carrier(carrier), Door::Unknown] {
            let stage = opened(door, opening(carrier));
            let [Opening::Twilio { carrier: whose, token, from, to, call_sid, custom, .. }] =
                &stage.openings[..]
            else {
                panic!("{carrier:?} {:?}", stage.openings)
            };
            assert_eq!(*whose, carrier);
            assert_eq!(token.as_deref(), Some("t1"));
            assert_eq!(from.as_deref(), Some("+18005550199"), "{carrier:?}");
            assert_eq!(to.as_deref(), Some("+18005550100"), "{carrier:?}");
            assert!(!call_sid.is_empty() && custom.is_empty(), "{carrier:?} {custom:?}");
            assert_eq!(stage.call.carrier(), Some(carrier));
            assert!(matches!(&stage.reports[0],
                Report::Opened { carrier: Some(told), .. } if *told == carrier));
            assert!(stage.phone.heard.is_empty(), "nothing is said before it is let in");
        }
    }
}

#[test]
fn at_a_carriers_door_only_its_own_streams_begin() {
    let begins = |door| {
        Carrier::ALL.map(|carrier| {
            let messages = match carrier {
                Carrier::Twilio => vec![json!({"event": "connected"}), start()],
                _ => opening(carrier),
            };
            let stage = opened(door, messages);
            match &stage.openings[..] {
                [Opening::Twilio { carrier: whose, .. }] => {
                    assert_eq!(stage.ending, None);
                    Some(*whose)
                }
                _ => {
                    assert_eq!(stage.phone.close_code(), Some(1008), "{door:?} {carrier:?}");
                    assert_eq!(stage.tally().oddities[Oddity::PhoneMessage as usize], 1);
                    assert!(stage.openings.is_empty() && stage.call.call_sid().is_none());
                    None
                }
            }
        })
    };
    // Twilio's and SignalWire's may be spelt alike: there the door says whose it is.
    let alike = |own| matches!(own, Carrier::Twilio | Carrier::SignalWire);
    for own in Carrier::ALL {
        let door = if own == Carrier::Twilio { Door::Twilio } else { Door::Carrier(own) };
        let expected = Carrier::ALL
            .map(|carrier| (carrier == own || (alike(own) && alike(carrier))).then_some(own));
        assert_eq!(begins(door), expected, "{own:?}");
    }
    // Where all may come nobody looks at Twilio's signed handshake: while it counts, Twilio's
    // streams do not begin there.
    let expected = Carrier::ALL.map(|carrier| Some(carrier).filter(|&c| c != Carrier::Twilio));
    assert_eq!(begins(Door::Unknown), expected);
}

#[test]
fn the_model_hears_every_carrier_sample_for_sample_in_every_format() {
    for carrier in OTHERS {
        for format in formats(carrier) {
            for cut in [7, usize::MAX] {
                let mut stage = opened(Door::Carrier(carrier), opening_with(carrier, format));
                stage.join();
                stage.cut = cut;
                let said: Vec<u8> =
                    (0..format.frame_bytes() * 25).map(|n| (n * 31 % 251) as u8).collect();
                for (n, frame) in (1..).zip(said.chunks(format.frame_bytes())) {
                    stage.phone.socket.send(audio(carrier, n, frame)).unwrap();
                    stage.settle();
                }
                let expected = resampled(&linear(format, &said), format.rate_hz(), 16_000);
                assert_eq!(stage.heard_by_model(), expected, "{carrier:?} {format:?}");
                assert_eq!(stage.tally().oddities, [0; Oddity::COUNT], "{carrier:?} {format:?}");
            }
        }
    }
}

#[test]
fn every_carrier_hears_the_model_sample_for_sample_in_chunks_it_takes() {
    for carrier in OTHERS {
        let chunks = Dialect::of(carrier).chunks;
        for format in formats(carrier) {
            let mut stage = opened(Door::Carrier(carrier), opening_with(carrier, format));
            stage.join();
            let said = voice(24_000 + 2_401, 0);
            for chunk in said.chunks(4_801) {
                stage.agent.say(speech(chunk));
                stage.settle();
                stage.pass(30);
            }
            stage.agent.say(turn_complete());
            stage.settle();
            stage.pass(3_000);
            let sent = pieces(carrier, &stage);
            let pcm = resampled(&samples(&said), 24_000, format.rate_hz());
            let mut expected = encoded(format, &pcm);
            let whole = format.frame_bytes() * chunks.frames(format.frame_bytes());
            expected.resize(expected.len().next_multiple_of(whole), format.silence());
            assert!(sent.concat() == expected, "{carrier:?} {format:?}");
            for piece in &sent {
                let len = piece.len();
                assert!(len >= chunks.least_bytes && len <= chunks.most_bytes, "{carrier:?} {len}");
                assert_eq!(len % chunks.multiple_bytes, 0, "{carrier:?} {len}");
                if carrier == Carrier::Vonage {
                    assert_eq!(len, format.frame_bytes());
                }
            }
            let downlink = stage.tally().downlink;
            assert_eq!((downlink.queued, downlink.messages_out), (0, sent.len() as u64));
            assert_eq!(downlink.bytes_out, expected.len() as u64);
        }
    }
}

#[test]
fn speaking_over_the_model_clears_what_the_carrier_holds() {
    for carrier in OTHERS {
        let mut stage = joined(carrier);
        stage.agent.say(speech(&voice(48_000, 0)));
        stage.settle();
        stage.pass(500);
        let before = pieces(carrier, &stage).len();
        assert!(before > 0, "{carrier:?}");
        stage.agent.say(json!({"serverContent": {"interrupted": true}}));
        stage.settle();
        assert_eq!(stage.phone.texts().last(), Some(&clear(carrier)), "{carrier:?}");
        stage.agent.say(speech(&voice(4_800, 0)));
        stage.settle();
        stage.pass(500);
        assert_eq!(pieces(carrier, &stage).len(), before, "{carrier:?}: late audio is void");
        // What is echoed now was thrown away; and some say that they have.
        for name in marks(carrier, &stage) {
            stage.phone.say(echo(carrier, &name));
        }
        match carrier {
            Carrier::Plivo => stage.phone.say(json!({"event": "clearedAudio", "streamId": "s"})),
            Carrier::Vonage => stage.phone.say(json!({"event": "websocket:cleared"})),
            _ => {}
        }
        stage.settle();
        assert_eq!(stage.tally().oddities, [0; Oddity::COUNT], "{carrier:?}");
        assert_eq!(stage.ending, None);
    }
}

#[test]
fn a_goodbye_waits_for_the_last_mark_or_where_there_is_none_for_the_clock() {
    for carrier in OTHERS {
        let mut stage = joined(carrier);
        stage.agent.say(speech(&voice(24_000, 0)));
        stage.agent.say(turn_complete());
        stage.settle();
        stage.pass(900);
        let names = marks(carrier, &stage);
        assert_eq!(names.is_empty(), carrier == Carrier::Jambonz, "{carrier:?}");
        for name in &names {
            stage.phone.say(echo(carrier, name));
        }
        stage.settle();
        assert_eq!(stage.tally().oddities, [0; Oddity::COUNT], "{carrier:?}");
        stage.close_agent(1011, "");
        stage.pass(40_000);
        assert!(stage.ending.is_some(), "{carrier:?}");
        // One that was never sent is told apart.
        let mut stage = joined(carrier);
        if carrier != Carrier::Jambonz {
            stage.phone.say(echo(carrier, "g7:1"));
            stage.settle();
            assert_eq!(stage.tally().oddities[Oddity::PhoneMark as usize], 1, "{carrier:?}");
        }
    }
}

#[test]
fn every_carriers_keys_are_heard() {
    for carrier in OTHERS {
        let key = match carrier {
            Carrier::Vonage => json!({"event": "websocket:dtmf", "digit": "5", "duration": 260}),
            Carrier::Jambonz => json!({"event": "dtmf", "dtmf": "5", "duration": "1600"}),
            Carrier::SignalWire => json!({"event": "dtmf", "dtmf": {"digit": "5", "duration": 9}}),
            _ => json!({"event": "dtmf", "dtmf": {"digit": "5"}}),
        };
        let mut stage = joined(carrier);
        stage.phone.say(key);
        stage.settle();
        assert!(stage.reports.contains(&Report::Dtmf), "{carrier:?}");
        assert_eq!(stage.tally().oddities, [0; Oddity::COUNT], "{carrier:?}");
    }
}

#[test]
fn a_stop_ends_the_call_and_so_does_a_socket_that_closes() {
    for carrier in OTHERS {
        let mut stage = joined(carrier);
        if !Dialect::of(carrier).is_binary() {
            stage.phone.say(json!({"event": "stop", "stop": {}}));
            stage.settle();
            assert_eq!(stage.ending, Some(Ending::CallerHungUp), "{carrier:?}");
            assert_eq!(stage.phone.close_code(), Some(1000));
            continue;
        }
        stage.phone.socket.close(None).unwrap();
        stage.settle();
        assert_eq!(stage.ending, Some(Ending::PhoneClosed { code: None }), "{carrier:?}");
    }
}

#[test]
fn a_codec_we_do_not_speak_is_refused_by_name_and_counted() {
    let cases = [
        (Carrier::SignalWire, "/start/mediaFormat/encoding", json!("OPUS")),
        (Carrier::SignalWire, "/start/mediaFormat/channels", json!(2)),
        (Carrier::Telnyx, "/start/media_format/encoding", json!("G722")),
        (Carrier::Telnyx, "/start/media_format/encoding", json!("OPUS")),
        (Carrier::Telnyx, "/start/media_format/encoding", json!("AMR-WB")),
        (Carrier::Telnyx, "/start/media_format/sample_rate", json!(16_000)),
        (Carrier::Plivo, "/start/mediaFormat/encoding", json!("audio/mp3")),
        (Carrier::Exotel, "/start/media_format/sample_rate", json!("11025")),
        (Carrier::Exotel, "/start/media_format/encoding", json!("mp3")),
        (Carrier::Vonage, "/content-type", json!("audio/l16;rate=48000")),
        (Carrier::Vonage, "/content-type", json!("audio/opus")),
        (Carrier::Jambonz, "/sampleRate", json!(64_000)),
        (Carrier::Jambonz, "/sampleRate", json!(4_294_967_304_u64)),
        (Carrier::Jambonz, "/mixType", json!("stereo")),
    ];
    for (carrier, path, value) in cases {
        let mut messages = opening(carrier);
        let start = messages.last_mut().unwrap();
        match start.pointer_mut(path) {
            Some(place) => *place = value.clone(),
            None => start["start"]["mediaFormat"]["channels"] = value.clone(),
        }
        let stage = opened(Door::Carrier(carrier), messages);
        assert_eq!(stage.ending, Some(Ending::UnknownCodec), "{carrier:?} {path} {value}");
        assert_eq!(stage.phone.close_code(), Some(1003));
        assert_eq!(stage.tally().oddities[Oddity::PhoneCodec as usize], 1);
        assert!(stage.openings.is_empty(), "it is not let in, and costs no session");
        let reason = stage.phone.heard.iter().find_map(|message| match message {
            Message::Close(Some(frame)) => Some(frame.reason.to_string()),
            _ => None,
        });
        assert_eq!(reason.as_deref(), Some("unknown_codec"));
    }
}

#[test]
fn telnyx_audio_out_of_order_is_put_right() {
    let mut stage = joined(Carrier::Telnyx);
    let said: Vec<u8> = (0..160 * 8).map(|n| (n * 31 % 256) as u8).collect();
    let frames: Vec<_> = said.chunks(160).collect();
    for n in [1, 3, 2, 6, 5, 4, 4, 7, 8_u64] {
        stage.phone.socket.send(audio(Carrier::Telnyx, n, frames[n as usize - 1])).unwrap();
        stage.settle();
    }
    let expected = resampled(&linear(Format::Mulaw8k, &said), 8_000, 16_000);
    assert_eq!(stage.heard_by_model(), expected);
    let tally = stage.tally();
    assert_eq!(tally.oddities[Oddity::PhoneReordered as usize], 4, "three early, one twice");
    assert_eq!(tally.uplink.dropped[Dropped::OutOfOrder as usize], 160);
}

#[test]
fn telnyx_audio_waits_for_what_is_missing_no_longer_than_its_time() {
    let mut stage = joined(Carrier::Telnyx);
    let said: Vec<u8> = (0..160 * 3).map(|n| (n * 31 % 256) as u8).collect();
    let frames: Vec<_> = said.chunks(160).collect();
    for (n, frame) in [(1, frames[0]), (3, frames[1])] {
        stage.phone.socket.send(audio(Carrier::Telnyx, n, frame)).unwrap();
        stage.settle();
    }
    stage.pass(99);
    let heard = stage.heard_by_model().len();
    stage.pass(1);
    assert!(stage.heard_by_model().len() > heard);
    // The count begins anew while a piece waits: nothing is lost.
    let mut stage = joined(Carrier::Telnyx);
    for (n, frame) in [(499, frames[0]), (501, frames[1]), (1, frames[2])] {
        stage.phone.socket.send(audio(Carrier::Telnyx, n, frame)).unwrap();
        stage.settle();
    }
    let expected = resampled(&linear(Format::Mulaw8k, &said), 8_000, 16_000);
    assert_eq!(stage.heard_by_model(), expected);
    assert_eq!(stage.tally().uplink.dropped[Dropped::OutOfOrder as usize], 0);
}

#[test]
fn telnyx_audio_that_waits_when_the_call_ends_is_accounted_for() {
    let mut stage = joined(Carrier::Telnyx);
    for n in [1, 3, 4] {
        stage.phone.socket.send(audio(Carrier::Telnyx, n, &[0x55; 160])).unwrap();
        stage.settle();
    }
    stage.phone.say(json!({"event": "stop"}));
    stage.settle();
    let uplink = stage.tally().uplink;
    assert_eq!((uplink.samples_in, uplink.queued), (480, 0));
    assert_eq!(uplink.dropped[Dropped::Ended as usize], 320);
}

#[test]
fn telnyx_plays_what_it_was_asked_to_whatever_it_sends() {
    let mut messages = opening(Carrier::Telnyx);
    let start = messages.last_mut().unwrap();
    start["start"]["media_format"]["encoding"] = json!("PCMA");
    let mut stage = opened(Door::Carrier(Carrier::Telnyx), messages);
    stage.join();
    let said: Vec<u8> = (0..1_600).map(|n| (n * 31 % 256) as u8).collect();
    for (n, frame) in (1..).zip(said.chunks(160)) {
        stage.phone.socket.send(audio(Carrier::Telnyx, n, frame)).unwrap();
    }
    let answer = voice(4_800, 0);
    stage.agent.say(speech(&answer));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(500);
    let expected = resampled(&linear(Format::Alaw8k, &said), 8_000, 16_000);
    assert_eq!(stage.heard_by_model(), expected);
    let pcm = resampled(&samples(&answer), 24_000, 8_000);
    assert!(pieces(Carrier::Telnyx, &stage).concat().starts_with(&encoded(Format::Mulaw8k, &pcm)));
}

#[test]
fn what_a_carrier_could_not_read_is_counted_and_the_call_goes_on() {
    let mut stage = joined(Carrier::Telnyx);
    let complaint = json!({"event": "error", "payload": {"code": 100_003}});
    for _ in 0..1_000 {
        stage.phone.say(complaint.clone());
    }
    stage.settle();
    assert_eq!(stage.tally().oddities[Oddity::PhoneComplaint as usize], 1_000);
    assert_eq!(stage.ending, None);
}

#[test]
fn exotel_waits_for_a_whole_chunk_and_gets_the_end_of_a_turn_filled_up() {
    let mut stage = joined(Carrier::Exotel);
    stage.agent.say(speech(&voice(4_320, 0)));
    stage.settle();
    stage.pass(1_000);
    assert!(pieces(Carrier::Exotel, &stage).is_empty(), "180 ms are less than it takes");
    stage.agent.say(turn_complete());
    stage.settle();
    let sent = pieces(Carrier::Exotel, &stage);
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [3_200]);
    assert_eq!(marks(Carrier::Exotel, &stage), ["g0:200"]);
}

#[test]
fn messages_in_a_wrong_order_are_passed_over_and_counted() {
    for carrier in OTHERS {
        let mut stage = Stage::new(Door::Carrier(carrier));
        let key = json!({"event": "dtmf", "dtmf": {"digit": "5"}});
        stage.phone.say(key);
        for message in opening(carrier).into_iter().chain(opening(carrier)) {
            stage.phone.say(message);
        }
        stage.settle();
        assert_eq!(stage.openings.len(), 1, "{carrier:?}: a second beginning is none");
        assert_eq!(stage.tally().oddities[Oddity::PhoneOrder as usize], 2, "{carrier:?}");
        assert_eq!(stage.ending, None);
    }
}

#[test]
fn binary_where_text_is_due_and_text_that_is_no_message_end_a_strangers_call() {
    for carrier in OTHERS {
        let is_binary = Dialect::of(carrier).is_binary();
        let mut stage = Stage::new(Door::Carrier(carrier));
        stage.phone.say_bytes(vec![0; 640]);
        stage.settle();
        assert_eq!(stage.phone.close_code(), Some(1003), "before its beginning, from anybody");
        let mut stage = joined(carrier);
        stage.phone.say_bytes(vec![0; 640]);
        stage.settle();
        let odd = stage.tally().oddities[Oddity::PhoneOpcode as usize];
        assert_eq!(odd, u64::from(!is_binary), "{carrier:?}");
        assert_eq!(stage.ending, None, "later it is passed over");
        let mut messages = opening(carrier);
        let start = messages.pop().unwrap().to_string();
        let mut stage = opened(Door::Carrier(carrier), messages);
        let cut = Message::text(start[..start.len() - 1].to_owned());
        stage.phone.socket.send(cut).unwrap();
        stage.settle();
        assert_eq!(stage.phone.close_code(), Some(1007), "{carrier:?}");
    }
}

#[test]
fn names_that_are_too_long_are_refused() {
    let long = "x".repeat(129);
    let places = [
        (Carrier::SignalWire, "/start/streamSid"),
        (Carrier::Telnyx, "/stream_id"),
        (Carrier::Telnyx, "/start/custom_parameters/call"),
        (Carrier::Plivo, "/start/callId"),
        (Carrier::Exotel, "/start/call_sid"),
        (Carrier::Vonage, "/call"),
        (Carrier::Jambonz, "/callSid"),
    ];
    for (carrier, place) in places {
        let mut messages = opening(carrier);
        *messages.last_mut().unwrap().pointer_mut(place).unwrap() = json!(long);
        let stage = opened(Door::Carrier(carrier), messages);
        assert_eq!(stage.phone.close_code(), Some(1008), "{carrier:?} {place}");
    }
}

#[test]
fn whatever_a_stranger_changes_in_a_call_it_breaks_no_account() {
    let seed = 0xd1a1;
    let mut random = fastrand::Rng::with_seed(seed);
    for carrier in OTHERS {
        for _ in 0..20 {
            let mut stage = Stage::new(Door::Unknown);
            for message in opening(carrier) {
                let mut bytes = message.to_string().into_bytes();
                if random.u8(..) < 64 {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(0x20..0x7f);
                }
                let text = String::from_utf8(bytes).unwrap();
                let _ = stage.phone.socket.send(Message::text(text));
            }
            stage.settle();
            stage.join();
            for _ in 0..60 {
                let n = random.u64(1..40);
                let length = random.usize(..2_000);
                let message = match random.u8(..8) {
                    0 => Message::binary(vec![random.u8(..); length]),
                    1 => Message::text(echo(carrier, "g0:20").to_string()),
                    2 => Message::text("{\"event\":\"media\",\"media\":{\"payload\":\"!\"}}"),
                    _ => audio(carrier, n, &vec![random.u8(..); length]),
                };
                let _ = stage.phone.socket.send(message);
                if random.u8(..) < 32 {
                    let said = speech(&voice(random.usize(..9_000), 0)).to_string();
                    let _ = stage.agent.socket.send(Message::text(said));
                }
                // The stage checks every account after each step.
                stage.settle();
                stage.pass(random.u64(..60));
            }
        }
    }
}
