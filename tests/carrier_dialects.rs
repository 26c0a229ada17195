//! Every carrier's messages, as their documentation has them, and ours to each; the fixtures were
//! written, not recorded: see their README.

use serde_json::{Value, json};
use vocaris::config::Carrier;
use vocaris::wire::dialect::{ALL, Dialect, Outbound, Sign, Told, recognise};
use vocaris::wire::twilio::{Encoding, Inbound, MarkName, Start};

const L16_16K: Told = Told { media_type: "audio/x-l16", rate_hz: 16_000, frame_bytes: 640 };

fn fixture(carrier: Carrier) -> Vec<&'static str> {
    let text = match carrier {
        Carrier::Twilio => return Vec::new(),
        Carrier::SignalWire => include_str!("fixtures/carriers/signalwire.jsonl"),
        Carrier::Telnyx => include_str!("fixtures/carriers/telnyx.jsonl"),
        Carrier::Plivo => include_str!("fixtures/carriers/plivo.jsonl"),
        Carrier::Exotel => include_str!("fixtures/carriers/exotel.jsonl"),
        Carrier::Vonage => include_str!("fixtures/carriers/vonage.jsonl"),
        Carrier::Jambonz => include_str!("fixtures/carriers/jambonz.jsonl"),
    };
    text.lines().collect()
}

fn kind(message: &Inbound<'_>) -> &'static str {
    match message {
        Inbound::Connected => "connected",
        Inbound::Start(_) => "start",
        Inbound::Media(_) => "media",
        Inbound::Mark { .. } => "mark",
        Inbound::Dtmf { .. } => "dtmf",
        Inbound::Stop => "stop",
        Inbound::Cleared => "cleared",
        Inbound::Complaint => "complaint",
        Inbound::Unknown => "unknown",
    }
}

fn start_of(carrier: Carrier) -> Start<'static> {
    let mut starts = fixture(carrier).into_iter().filter_map(|line| {
        match Dialect::of(carrier).decode(line).unwrap() {
            Inbound::Start(start) => Some(start),
            _ => None,
        }
    });
    starts.next().expect("a start")
}

#[test]
fn every_message_of_every_carrier_is_what_it_says() {
    let expected: [(Carrier, &[&str]); 6] = [
        (Carrier::SignalWire, &["connected", "start", "media", "dtmf", "mark", "stop"]),
        (Carrier::Telnyx, &["connected", "start", "media", "dtmf", "mark", "complaint", "stop"]),
        (Carrier::Plivo, &["start", "media", "dtmf", "mark", "cleared"]),
        (Carrier::Exotel, &["connected", "start", "media", "dtmf", "mark", "stop"]),
        (Carrier::Vonage, &["start", "dtmf", "mark", "cleared"]),
        (Carrier::Jambonz, &["start", "dtmf"]),
    ];
    for (carrier, kinds) in expected {
        let dialect = Dialect::of(carrier);
        let decoded: Vec<_> =
            fixture(carrier).iter().map(|line| kind(&dialect.decode(line).unwrap())).collect();
        assert_eq!(decoded, kinds, "{carrier:?}");
        for line in fixture(carrier) {
            match dialect.decode(line).unwrap() {
                Inbound::Dtmf { digit } => assert_eq!(digit, "5"),
                Inbound::Mark { name } => assert!(MarkName::parse(&name.to_cow()).is_some()),
                Inbound::Media(media) => {
                    assert!(media.timestamp_ms.is_some() && media.chunk == Some(1));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn every_start_names_call_token_and_parties() {
    for carrier in Carrier::ALL.into_iter().skip(1) {
        let start = start_of(carrier);
        assert!(!start.call_sid.is_empty(), "{carrier:?}");
        let (from, token) = match carrier {
            Carrier::Plivo => (Some("2b3138303035353530313939".into()), "7431"),
            Carrier::Telnyx | Carrier::Exotel => (None, "t1"),
            _ => (Some("+18005550199".into()), "t1"),
        };
        assert_eq!(start.parameters.get("token").as_deref(), Some(token), "{carrier:?}");
        assert_eq!(start.parameters.get("from"), from, "{carrier:?}");
        if from.is_none() {
            assert_eq!(start.from.unwrap(), "+18005550199");
            assert_eq!(start.to.unwrap(), "+18005550100");
        }
        assert_eq!(start.format.channels, 1);
    }
}

#[test]
fn a_carrier_is_told_by_its_first_messages() {
    for carrier in Carrier::ALL.into_iter().skip(1) {
        let signs = fixture(carrier).into_iter().map(recognise);
        let begun: Vec<_> = signs
            .filter_map(|sign| match sign {
                Sign::Beginning(dialect) => Some(dialect.carrier),
                _ => None,
            })
            .collect();
        assert_eq!(begun, [carrier]);
    }
    let greeted = |text| match recognise(text) {
        Sign::Greeting(dialect) => Some(dialect.carrier),
        _ => None,
    };
    assert_eq!(greeted(r#"{"event":"connected","version":"0.2.0"}"#), Some(Carrier::SignalWire));
    assert_eq!(greeted(r#"{"version":1,"event":"connected"}"#), Some(Carrier::Twilio));
    let twilio = r#"{"event":"start","start":{"streamSid":"MZ1","callSid":"CA1"}}"#;
    assert!(matches!(recognise(twilio), Sign::Beginning(d) if d.carrier == Carrier::Twilio));
    let fonoster = r#"{"event":"start","streamSid":"s","start":{"streamSid":"s","callSid":"c"}}"#;
    assert!(matches!(recognise(fonoster), Sign::Beginning(d) if d.carrier == Carrier::Twilio));
    for stranger in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"type":"hello","rate":16000}"#,
        r#"{"event":"start"}"#,
        r#"{"event":"start","start":{}}"#,
        r#"{"event":"start","start":5}"#,
        r#"{"event":"media","media":{}}"#,
        r#"{"event":7}"#,
        r#"{"callSid":"c"}"#,
        r#"{"callSid":7,"sampleRate":8000}"#,
        r#"{"sampleRate":8000}"#,
        r#"{"event":"connected"} "#.trim_end().strip_suffix('}').unwrap(),
    ] {
        assert!(matches!(recognise(stranger), Sign::Stranger), "{stranger}");
    }
}

#[test]
fn numbers_may_be_texts_and_texts_numbers() {
    let dialect = Dialect::of(Carrier::Plivo);
    for number in ["7", "\"7\""] {
        let text = format!(
            r#"{{"event":"media","sequenceNumber":{number},"media":{{"chunk":{number},"timestamp":{number},"payload":"AA=="}}}}"#
        );
        let Inbound::Media(media) = dialect.decode(&text).unwrap() else { panic!("no media") };
        let numbers = (media.sequence, media.chunk, media.timestamp_ms);
        assert_eq!(numbers, (Some(7), Some(7), Some(7)));
    }
    let text = r#"{"event":"start","stream_sid":"s","start":{"call_sid":"c","from":919876543210,
        "media_format":{"encoding":"base64","sample_rate":16000}}}"#;
    let Inbound::Start(start) = Dialect::of(Carrier::Exotel).decode(text).unwrap() else {
        panic!("no start")
    };
    assert_eq!((start.format.encoding, start.format.rate_hz), (Encoding::Linear16, 16_000));
    assert_eq!(start.from, None, "a number in the place of a text is nobody's");
}

#[test]
fn telnyx_parameters_are_found_under_both_their_names() {
    for (first, second) in [
        (r#""custom_parameters":{"token":"t"}"#, r#""customParameters":{}"#),
        (r#""custom_parameters":{}"#, r#""customParameters":{"token":"t"}"#),
        (r#""customParameters":{"token":"t"}"#, r#""custom_parameters":null"#),
    ] {
        let text = format!(
            r#"{{"event":"start","stream_id":"s","start":{{"call_control_id":"c",{first},{second}}}}}"#
        );
        let Inbound::Start(start) = Dialect::of(Carrier::Telnyx).decode(&text).unwrap() else {
            panic!("no start")
        };
        assert_eq!(start.parameters.get("token").as_deref(), Some("t"), "{text}");
    }
}

#[test]
fn plivos_headers_are_read_in_any_of_their_spellings() {
    for headers in [
        "token=6162;x=1",
        "token=6162,x=1",
        "{token: 6162, x: 1}",
        "{'token': '6162', 'x': '1'}",
        r#"{\"token\":\"6162\",\"x\":\"1\"}"#,
        "x=1; token=6162",
    ] {
        let text = format!(
            r#"{{"event":"start","start":{{"streamId":"s","callId":"c"}},"extra_headers":"{headers}"}}"#
        );
        let Inbound::Start(start) = Dialect::of(Carrier::Plivo).decode(&text).unwrap() else {
            panic!("no start")
        };
        assert_eq!(start.parameters.get("token").as_deref(), Some("6162"), "{headers}");
        assert_eq!(start.parameters.get("x").as_deref(), Some("1"), "{headers}");
        assert_eq!(start.format.encoding, Encoding::Linear16, "its default");
    }
}

#[test]
fn each_carrier_is_sent_its_own_shapes_and_nothing_else() {
    let mark = MarkName { generation: 3, at_ms: 1_200 };
    let payload = "AQID";
    let expected = [
        (
            Carrier::SignalWire,
            json!({"event": "media", "streamSid": "s\"1", "media": {"payload": payload}}),
            json!({"event": "mark", "streamSid": "s\"1", "mark": {"name": "g3:1200"}}),
            json!({"event": "clear", "streamSid": "s\"1"}),
        ),
        (
            Carrier::Telnyx,
            json!({"event": "media", "media": {"payload": payload}}),
            json!({"event": "mark", "mark": {"name": "g3:1200"}}),
            json!({"event": "clear"}),
        ),
        (
            Carrier::Plivo,
            json!({"event": "playAudio", "media": {
                "contentType": "audio/x-l16", "sampleRate": 16_000, "payload": payload}}),
            json!({"event": "checkpoint", "streamId": "s\"1", "name": "g3:1200"}),
            json!({"event": "clearAudio", "streamId": "s\"1"}),
        ),
        (
            Carrier::Exotel,
            json!({"event": "media", "stream_sid": "s\"1", "media": {"payload": payload}}),
            json!({"event": "mark", "stream_sid": "s\"1", "mark": {"name": "g3:1200"}}),
            json!({"event": "clear", "stream_sid": "s\"1"}),
        ),
    ];
    for (carrier, media, marked, clear) in expected {
        let outbound = Outbound::of(Dialect::of(carrier), "s\"1", L16_16K);
        let read = |write: &dyn Fn(&mut Vec<u8>), len: usize| -> Value {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(out.len(), len, "{carrier:?}");
            serde_json::from_slice(&out).unwrap()
        };
        let len = outbound.media_json_len(3);
        assert_eq!(read(&|out| outbound.write_media_json(&[1, 2, 3], out), len), media);
        let len = outbound.mark_json_len(mark);
        assert_eq!(read(&|out| outbound.write_mark_json(mark, out), len), marked);
        let len = outbound.clear_json_len();
        assert_eq!(read(&|out| outbound.write_clear_json(out), len), clear);
        assert_eq!(outbound.piece_bytes(), None);
    }
    let vonage = Outbound::of(Dialect::of(Carrier::Vonage), "s", L16_16K);
    let mut out = Vec::new();
    vonage.write_mark_json(mark, &mut out);
    let notify = json!({"action": "notify", "payload": {"name": "g3:1200"}});
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), notify);
    assert_eq!(vonage.piece_bytes(), Some(640));
    let jambonz = Outbound::of(Dialect::of(Carrier::Jambonz), "s", L16_16K);
    assert!(!jambonz.returns_marks() && jambonz.mark_json_len(mark) == 0);
    out.clear();
    jambonz.write_clear_json(&mut out);
    assert_eq!(out, br#"{"type":"killAudio"}"#);
}

#[test]
fn no_dialect_takes_what_is_not_json_or_lacks_what_it_needs() {
    for dialect in ALL {
        for text in ["", "{", "[]", "{\"event\":5}", "{\"event\":\"start\"", "null"] {
            assert!(dialect.decode(text).is_err(), "{:?} {text}", dialect.carrier);
        }
        let broken = dialect.decode(r#"{"event":"websocket:notify","payload":{}}"#);
        assert_eq!(broken.is_err(), dialect.carrier == Carrier::Vonage);
        let broken = dialect.decode(r#"{"event":"playedStream"}"#);
        assert_eq!(broken.is_err(), dialect.carrier == Carrier::Plivo);
    }
}

#[test]
fn fixtures_cut_or_changed_anywhere_are_read_or_refused_by_every_dialect() {
    let seed = 0xca11;
    let mut random = fastrand::Rng::with_seed(seed);
    for line in Carrier::ALL.into_iter().flat_map(fixture) {
        for dialect in ALL {
            for cut in (0..line.len()).step_by(3).filter(|&at| line.is_char_boundary(at)) {
                assert!(dialect.decode(&line[..cut]).is_err(), "cut at {cut}: {line}");
            }
            for _ in 0..50 {
                let mut bytes = line.as_bytes().to_vec();
                bytes[random.usize(..line.len())] = random.u8(0x20..0x7f);
                let text = String::from_utf8(bytes).unwrap();
                if dialect.decode(&text).is_ok() {
                    let is_json = serde_json::from_str::<Value>(&text).is_ok();
                    assert!(is_json, "seed {seed:#x}: {text}");
                }
                recognise(&text);
            }
        }
    }
}
