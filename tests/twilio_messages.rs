//! Twilio's messages, as its documentation and real calls have them, and ours to it.

use serde_json::{Value, json};
use vocaris::wire::dialect::Outbound;
use vocaris::wire::json::{JsonError, Kind};
use vocaris::wire::twilio::{
    Encoding, Inbound, MarkName, Media, MediaFormat, MessageError, Start, Track, Tracks, decode,
};

const SID: &str = "MZ0000000000000000000000000000000a";

fn connected() -> Value {
    json!({"event": "connected", "protocol": "Call", "version": "1.0.0"})
}

fn start() -> Value {
    json!({"event": "start", "sequenceNumber": "1", "streamSid": SID,
        "start": {"accountSid": "AC1", "streamSid": SID, "callSid": "CA1", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters":
                {"token": "v1.CA1.1.ab", "from": "+1 \"<&>\"", "source": "twilio"}}})
}

fn media(payload: &str) -> Value {
    json!({"event": "media", "sequenceNumber": "2", "streamSid": SID,
        "media": {"track": "inbound", "chunk": "1", "timestamp": "62", "payload": payload}})
}

fn dtmf() -> Value {
    json!({"event": "dtmf", "streamSid": SID, "sequenceNumber": "57",
        "dtmf": {"track": "inbound_track", "digit": "5"}})
}

fn mark() -> Value {
    json!({"event": "mark", "sequenceNumber": "90", "streamSid": SID, "mark": {"name": "g3:1200"}})
}

fn stop() -> Value {
    json!({"event": "stop", "sequenceNumber": "911", "streamSid": SID,
        "stop": {"accountSid": "AC1", "callSid": "CA1"}})
}

fn all() -> Vec<Value> {
    vec![connected(), start(), media("//8="), dtmf(), mark(), stop()]
}

/// The message with one value put in another's place; `path` as in JSON Pointer.
fn with(mut message: Value, path: &str, value: Value) -> String {
    let (parent, key) = path.rsplit_once('/').unwrap();
    let object = message.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    object.insert(key.into(), value);
    message.to_string()
}

fn without(mut message: Value, path: &str) -> String {
    let (parent, key) = path.rsplit_once('/').unwrap();
    message.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    message.to_string()
}

fn started(text: &str) -> Start<'_> {
    match decode(text) {
        Ok(Inbound::Start(start)) => start,
        other => panic!("{other:?}"),
    }
}

fn heard(text: &str) -> Media<'_> {
    match decode(text) {
        Ok(Inbound::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_messages_of_a_call_are_read_in_any_key_order() {
    // The documentation's own text, and the same through a map that sorts its keys.
    let texts = [
        (r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.into(), connected()),
        (
            format!(
                r#"{{"event":"media","sequenceNumber":"2","streamSid":"{SID}",
                "media":{{"track":"inbound","chunk":"1","timestamp":"62","payload":"//8="}}}}"#
            ),
            media("//8="),
        ),
    ];
    for (text, value) in &texts {
        assert_eq!(decode(text), decode(&value.to_string()));
    }
    assert_eq!(decode(&connected().to_string()), Ok(Inbound::Connected));
    assert_eq!(decode(&stop().to_string()), Ok(Inbound::Stop));
    assert!(matches!(decode(&dtmf().to_string()), Ok(Inbound::Dtmf { digit }) if digit == *"5"));
    assert!(
        matches!(decode(&mark().to_string()), Ok(Inbound::Mark { name }) if name == *"g3:1200")
    );
    let text = media("//8=").to_string();
    let media = heard(&text);
    assert_eq!(media.track, Track::Inbound);
    assert_eq!(media.chunk, Some(1));
    assert_eq!(media.timestamp_ms, Some(62));
    assert_eq!(media.sequence, Some(2));
    assert!(media.payload == *"//8=");
}

#[test]
fn the_start_tells_stream_call_format_and_parameters() {
    let text = start().to_string();
    let start = started(&text);
    assert!(start.stream_sid == *SID);
    assert!(start.call_sid == *"CA1");
    assert!(start.account_sid.unwrap() == *"AC1");
    assert_eq!(start.tracks, Tracks { inbound: true, outbound: false });
    assert_eq!(start.format, MediaFormat::MULAW_8K);
    assert_eq!(start.parameters.get("token").as_deref(), Some("v1.CA1.1.ab"));
    assert_eq!(start.parameters.get("from").as_deref(), Some("+1 \"<&>\""));
    assert_eq!(start.parameters.get("Token"), None);
    let names: Vec<_> = start.parameters.iter().map(|(name, _)| name.to_cow()).collect();
    assert_eq!(names, ["from", "source", "token"]);
}

#[test]
fn a_start_may_leave_out_what_has_a_default() {
    for path in ["/start/customParameters", "/start/mediaFormat", "/start/tracks"] {
        for text in [without(start(), path), with(start(), path, Value::Null)] {
            let start = started(&text);
            assert_eq!(start.format, MediaFormat::MULAW_8K);
            assert_eq!(start.tracks, Tracks { inbound: true, outbound: false });
            if path.ends_with("customParameters") {
                assert_eq!(start.parameters.get("token"), None);
                assert_eq!(start.parameters.iter().count(), 0);
            }
        }
    }
    // The stream id stands in the message twice; either will do.
    assert!(started(&without(start(), "/streamSid")).stream_sid == *SID);
    assert!(started(&without(start(), "/start/streamSid")).stream_sid == *SID);
    assert_eq!(started(&without(start(), "/start/accountSid")).account_sid, None);
}

#[test]
fn the_format_is_what_the_message_says_it_is() {
    let format = |encoding: &str, rate: Value| {
        let format = json!({"encoding": encoding, "sampleRate": rate, "channels": "2"});
        let text = with(start(), "/start/mediaFormat", format);
        let format = started(&text).format;
        let kind = match format.encoding {
            Encoding::Mulaw => "mulaw".to_string(),
            Encoding::Alaw => "alaw".to_string(),
            Encoding::Linear16 => "l16".to_string(),
            Encoding::Other(name) => format!("other {}", name.to_cow()),
        };
        (kind, format.rate_hz, format.channels)
    };
    assert_eq!(format("audio/x-mulaw", json!(8000)), ("mulaw".into(), 8000, 2));
    assert_eq!(format("PCMU", json!("8000")), ("mulaw".into(), 8000, 2));
    assert_eq!(format("audio/x-L16", json!(24000)), ("l16".into(), 24000, 2));
    assert_eq!(format("audio/x-alaw", json!(8000.0)), ("alaw".into(), 8000, 2));
    assert_eq!(format("opus", json!(48000)), ("other opus".into(), 48000, 2));
    assert_eq!(format("", json!(0)), ("other ".into(), 0, 2));
}

#[test]
fn both_tracks_of_a_copy_are_told_apart() {
    let text = with(start(), "/start/tracks", json!(["inbound", "outbound", "sideways"]));
    assert_eq!(started(&text).tracks, Tracks { inbound: true, outbound: true });
    for (name, track) in [
        (json!("inbound"), Track::Inbound),
        (json!("outbound"), Track::Outbound),
        (json!("inbound_track"), Track::Inbound),
        (json!("sideways"), Track::Unknown),
        (Value::Null, Track::Inbound),
    ] {
        assert_eq!(heard(&with(media(""), "/media/track", name)).track, track);
    }
    assert_eq!(heard(&without(media(""), "/media/track")).track, Track::Inbound);
}

#[test]
fn counters_come_as_strings_or_numbers_or_not_at_all() {
    for (value, read) in [
        (json!("62"), Some(62)),
        (json!(62), Some(62)),
        (json!(62.0), Some(62)),
        (Value::Null, None),
    ] {
        assert_eq!(heard(&with(media(""), "/media/timestamp", value.clone())).timestamp_ms, read);
        assert_eq!(heard(&with(media(""), "/media/chunk", value.clone())).chunk, read);
        assert_eq!(heard(&with(media(""), "/sequenceNumber", value)).sequence, read);
    }
    assert_eq!(heard(&without(media(""), "/media/timestamp")).timestamp_ms, None);
}

#[test]
fn a_payload_is_decoded_in_every_length_and_with_escaped_slashes() {
    for len in [0, 1, 2, 160, 320, 999] {
        let mulaw = vec![0xff; len];
        let mut base64 = Vec::new();
        vocaris::wire::base64::encode_append(&mulaw, &mut base64);
        let plain = media(std::str::from_utf8(&base64).unwrap()).to_string();
        for text in [plain.clone(), plain.replace('/', "\\/"), plain.replace('/', "\\u002F")] {
            let mut decoded = Vec::new();
            assert_eq!(heard(&text).payload.decode_base64_append(&mut decoded), Ok(len));
            assert_eq!(decoded, mulaw);
        }
    }
}

#[test]
fn a_message_means_what_its_event_says_and_nothing_else_in_it_matters() {
    // Names of other events, of any kind, and names we do not know.
    for (path, value) in [
        ("/start", json!("12:00")),
        ("/mark", json!([1])),
        ("/dtmf", json!(5)),
        ("/stop", json!(null)),
        ("/new", json!({"deep": [{"er": [1, 2, {}]}]})),
        ("/media/new", json!([[[]]])),
    ] {
        let text = with(media("//8="), path, value);
        assert!(heard(&text).payload == *"//8=");
    }
    for event in ["", "Media", "mediA", "error", "media "] {
        let text = with(media(""), "/event", json!(event));
        assert_eq!(decode(&text), Ok(Inbound::Unknown), "{event}");
    }
    // Equal keys: the last counts, as everywhere.
    let text = r#"{"event":"stop","event":"media","media":{"payload":"AA=="},
        "media":{"payload":"AAA=","payload":"AAAA"}}"#;
    assert!(heard(text).payload == *"AAAA");
    // A key written with escapes is that key.
    let text = r#"{"\u0065vent":"medi\u0061","media":{"p\u0061yload":"AA=="}}"#;
    assert!(heard(text).payload == *"AA==");
}

#[test]
fn what_an_event_cannot_do_without_is_named() {
    for (text, field) in [
        (r#"{}"#.into(), "event"),
        (r#"{"event":null}"#.into(), "event"),
        (without(media(""), "/media"), "media"),
        (without(media(""), "/media/payload"), "media.payload"),
        (with(media(""), "/media/payload", Value::Null), "media.payload"),
        (without(start(), "/start"), "start"),
        (without(start(), "/start/callSid"), "start.callSid"),
        (without(mark(), "/mark"), "mark"),
        (without(mark(), "/mark/name"), "mark.name"),
        (without(dtmf(), "/dtmf/digit"), "dtmf.digit"),
    ] {
        assert_eq!(decode(&text), Err(MessageError::Missing { field }), "{text}");
    }
    let text = r#"{"event":"start","start":{"callSid":"CA1"}}"#;
    assert_eq!(decode(text), Err(MessageError::Missing { field: "start.streamSid" }));
}

#[test]
fn a_field_of_the_wrong_kind_is_refused() {
    for (text, wanted) in [
        ("[]".into(), Kind::Object),
        ("\"media\"".into(), Kind::Object),
        ("7".into(), Kind::Object),
        (with(media(""), "/event", json!(1)), Kind::Text),
        (with(media(""), "/media", json!([])), Kind::Object),
        (with(media(""), "/media", json!("x")), Kind::Object),
        (with(media(""), "/media/payload", json!(1)), Kind::Text),
        (with(media(""), "/media/payload", json!({})), Kind::Text),
        (with(media(""), "/media/track", json!(true)), Kind::Text),
        (with(media(""), "/media/timestamp", json!([])), Kind::Number),
        (with(media(""), "/sequenceNumber", json!(false)), Kind::Number),
        (with(start(), "/start/tracks", json!("inbound")), Kind::Array),
        (with(start(), "/start/tracks", json!([1])), Kind::Text),
        (with(start(), "/start/callSid", json!(1)), Kind::Text),
        (with(start(), "/start/mediaFormat", json!("mulaw")), Kind::Object),
        (with(start(), "/start/customParameters", json!([])), Kind::Object),
        (with(mark(), "/mark/name", json!(3)), Kind::Text),
        (with(dtmf(), "/dtmf/digit", json!(5)), Kind::Text),
    ] {
        let error = decode(&text).unwrap_err();
        let wrong = matches!(
            error,
            MessageError::Json(JsonError::WrongKind { wanted: told, .. }) if told == wanted
        );
        assert!(wrong, "{error:?} for {text}");
    }
    for value in [json!(-1), json!("-1"), json!(1.5), json!("x"), json!(1e300), json!("")] {
        let text = with(media(""), "/media/timestamp", value);
        let error = decode(&text).unwrap_err();
        assert!(matches!(error, MessageError::Json(JsonError::BadNumber { .. })), "{text}");
    }
    let text = with(start(), "/start/mediaFormat/sampleRate", json!(4294967296u64));
    assert!(matches!(decode(&text), Err(MessageError::Json(JsonError::BadNumber { .. }))));
}

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    for message in all() {
        let text = message.to_string();
        assert!(decode(&text).is_ok());
        for end in 0..text.len() {
            if text.is_char_boundary(end) {
                assert!(decode(&text[..end]).is_err(), "{}", &text[..end]);
            }
        }
        assert!(decode(&format!("{text} ")).is_ok());
        assert!(decode(&format!("{text}{text}")).is_err());
        assert!(decode(&format!("{text}\0")).is_err());
    }
}

/// Whether `message` is what serde_json's tree of the same text says, field by field.
fn same_meaning(message: &Inbound<'_>, tree: &Value) -> bool {
    let integer = |value: &Value| match value {
        Value::String(digits) => digits.parse::<u64>().ok(),
        Value::Number(number) => number.as_f64().map(|real| real as u64),
        _ => None,
    };
    let event = tree["event"].as_str().unwrap();
    match message {
        Inbound::Connected => event == "connected",
        Inbound::Stop => event == "stop",
        Inbound::Mark { name } => {
            event == "mark" && *name == *tree["mark"]["name"].as_str().unwrap()
        }
        Inbound::Dtmf { digit } => {
            event == "dtmf" && *digit == *tree["dtmf"]["digit"].as_str().unwrap()
        }
        Inbound::Media(media) => {
            let object = &tree["media"];
            event == "media"
                && media.payload == *object["payload"].as_str().unwrap()
                && media.chunk == integer(&object["chunk"])
                && media.timestamp_ms == integer(&object["timestamp"])
                && media.sequence == integer(&tree["sequenceNumber"])
        }
        Inbound::Start(start) => {
            let object = &tree["start"];
            let parameters: serde_json::Map<String, Value> = start
                .parameters
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string().into()))
                .collect();
            let own = object["streamSid"].as_str().filter(|sid| !sid.is_empty());
            event == "start"
                && start.call_sid == *object["callSid"].as_str().unwrap()
                && start.stream_sid == *own.or(tree["streamSid"].as_str()).unwrap()
                && object["customParameters"].as_object().is_none_or(|all| *all == parameters)
        }
        Inbound::Cleared | Inbound::Complaint => false,
        Inbound::Unknown => {
            !["connected", "start", "media", "mark", "dtmf", "stop"].contains(&event)
        }
    }
}

#[test]
fn a_message_changed_in_any_byte_is_refused_or_means_what_a_full_parser_reads() {
    let seed = 0x7102;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut taken = 0;
    for message in all() {
        let text = message.to_string();
        for _ in 0..5_000 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = if random.bool() { random.u8(..) } else { random.u8(b' '..0x7f) };
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let Ok(message) = decode(&changed) else { continue };
            let tree: Value = serde_json::from_str(&changed).unwrap();
            assert!(same_meaning(&message, &tree), "seed {seed}: {changed}");
            taken += 1;
        }
    }
    assert!(taken > 5_000, "only {taken} were taken: this would show little");
}

/// Audio as carriers write it, with members in any order, some of them twice or of another kind.
fn any_media(random: &mut fastrand::Rng) -> String {
    const NUMBERS: [&str; 9] =
        ["7", "\"7\"", "0", "\"007\"", "\"\"", "1e2", "-1", "null", "12345678901234567890"];
    let space = |random: &mut fastrand::Rng| if random.u8(..8) == 0 { "\r\n\t " } else { "" };
    let number = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => NUMBERS[random.usize(..NUMBERS.len())].to_string(),
        1 => format!("{}", random.u64(..)),
        _ => format!("\"{}\"", random.u32(..)),
    };
    let object = |random: &mut fastrand::Rng, mut members: Vec<String>| {
        random.shuffle(&mut members);
        if random.u8(..8) == 0 {
            members.push(members[random.usize(..members.len())].clone());
        }
        let comma = format!("{},{}", space(random), space(random));
        format!("{{{}{}{}}}", space(random), members.join(&comma), space(random))
    };
    let track = ["inbound", "outbound_track", "x"][random.usize(..3)];
    let mut audio = vec![r#""payload":"//8=""#.to_string(), format!(r#""track":"{track}""#)];
    audio.push(format!(r#""chunk":{}"#, number(random)));
    audio.push(format!(r#""timestamp":{}{}"#, space(random), number(random)));
    audio.truncate(random.usize(1..5));
    let mut members = vec![format!(r#""media"{}:{}"#, space(random), object(random, audio))];
    members.push(r#""event":"media""#.to_string());
    members.push(format!(r#""sequenceNumber":{}"#, number(random)));
    members.push(format!(r#""streamSid":{}"#, if random.u8(..8) == 0 { "7" } else { "\"MZ\"" }));
    members.push([r#""start":"no""#, r#""more":[{}]"#, r#""name":"é""#][random.usize(..3)].into());
    members.truncate(random.usize(2..6));
    object(random, members)
}

#[test]
fn audio_means_the_same_however_it_is_written() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut taken = 0;
    for _ in 0..50_000 {
        let mut plain = any_media(&mut random);
        if random.bool() {
            let at = random.usize(..plain.len());
            if plain.is_char_boundary(at) && plain.is_char_boundary(at + 1) {
                let byte = char::from(random.u8(..0x80));
                plain.replace_range(at..=at, byte.encode_utf8(&mut [0]));
            }
        }
        // One escape in a key, and no short way through the message is left.
        let escaped = plain.replace(r#""event""#, r#""\u0065vent""#);
        let (read, by_the_long_way) = (decode(&plain).ok(), decode(&escaped).ok());
        assert_eq!(read, by_the_long_way, "seed {seed}: {plain}");
        taken += usize::from(matches!(read, Some(Inbound::Media(_))));
    }
    assert!(taken > 10_000, "seed {seed}: only {taken} were taken: this would show little");
}

#[test]
fn hostile_nesting_is_refused_wherever_it_stands() {
    let deep = "[".repeat(100_000);
    for text in [
        deep.clone(),
        format!("{{\"event\":{deep}"),
        format!("{{\"event\":\"media\",\"x\":{deep}"),
        format!("{{\"event\":\"start\",\"start\":{{\"customParameters\":{{\"a\":{deep}"),
    ] {
        let error = decode(&text).unwrap_err();
        let refused = matches!(
            error,
            MessageError::Json(JsonError::TooDeep { .. } | JsonError::WrongKind { .. })
        );
        assert!(refused, "{error:?}");
    }
}

#[test]
fn parameters_of_any_shape_can_be_asked_for() {
    let custom = json!({"n": 5, "b": true, "o": {"x": 1}, "z": null, "": "empty", "é": "\u{0}"});
    let text = with(start(), "/start/customParameters", custom);
    let parameters = started(&text).parameters;
    assert_eq!(parameters.get("n").as_deref(), Some("5"));
    assert_eq!(parameters.get("b").as_deref(), Some("true"));
    assert_eq!(parameters.get("o").as_deref(), Some(r#"{"x":1}"#));
    assert_eq!(parameters.get("z").as_deref(), Some("null"));
    assert_eq!(parameters.get("").as_deref(), Some("empty"));
    assert_eq!(parameters.get("é").as_deref(), Some("\0"));
    assert_eq!(parameters.iter().count(), 6);
    let twice = r#"{"event":"start","start":{"streamSid":"MZ","callSid":"CA",
        "customParameters":{"t":"1","t":"2"}}}"#;
    assert_eq!(started(twice).parameters.get("t").as_deref(), Some("2"));
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    write(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_string()
}

#[test]
fn our_messages_have_exactly_the_fields_that_are_allowed() {
    let outbound = Outbound::new(SID);
    let mark = MarkName { generation: 3, at_ms: 1200 };
    assert_eq!(
        written(|out| outbound.write_media_json(&[0xff, 0xff], out)),
        format!(r#"{{"event":"media","streamSid":"{SID}","media":{{"payload":"//8="}}}}"#)
    );
    assert_eq!(
        written(|out| outbound.write_mark_json(mark, out)),
        format!(r#"{{"event":"mark","streamSid":"{SID}","mark":{{"name":"g3:1200"}}}}"#)
    );
    assert_eq!(
        written(|out| outbound.write_clear_json(out)),
        format!(r#"{{"event":"clear","streamSid":"{SID}"}}"#)
    );
    // What the sizes on the wire are known to be.
    assert_eq!(outbound.media_json_len(160), 305);
    assert_eq!(outbound.media_json_len(800), 1157);
}

#[test]
fn the_length_told_is_the_length_written() {
    for sid in [SID, "", "a\"b\\c\n\u{1}é"] {
        let outbound = Outbound::new(sid);
        for len in (0..500).chain([800, 4000]) {
            let text = written(|out| outbound.write_media_json(&vec![0x55; len], out));
            assert_eq!(text.len(), outbound.media_json_len(len));
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["streamSid"], sid);
        }
        for generation in [0, 9, 10, u32::MAX] {
            for at_ms in [0, 7, 99, 100, u64::MAX] {
                let mark = MarkName { generation, at_ms };
                let text = written(|out| outbound.write_mark_json(mark, out));
                assert_eq!(text.len(), outbound.mark_json_len(mark));
                let value: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["mark"]["name"], mark.to_string());
            }
        }
        let text = written(|out| outbound.write_clear_json(out));
        assert_eq!(text.len(), outbound.clear_json_len());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["streamSid"], sid);
    }
}

#[test]
fn a_message_with_room_for_it_is_written_in_place() {
    let outbound = Outbound::new(SID);
    let mut out = Vec::with_capacity(outbound.media_json_len(160));
    let place = out.as_ptr();
    outbound.write_media_json(&[0x7f; 160], &mut out);
    assert_eq!(out.as_ptr(), place);
    assert_eq!(out.len(), out.capacity());
}

#[test]
fn a_mark_comes_back_as_it_was_named_and_others_are_not_ours() {
    for mark in [
        MarkName { generation: 0, at_ms: 0 },
        MarkName { generation: 3, at_ms: 1200 },
        MarkName { generation: u32::MAX, at_ms: u64::MAX },
    ] {
        assert_eq!(MarkName::parse(&mark.to_string()), Some(mark));
    }
    for name in [
        "",
        "g",
        "g:",
        "g1:",
        "g:1",
        "g1",
        "1:2",
        "G1:2",
        "g1:2:3",
        "g+1:2",
        "g1:-2",
        "g1: 2",
        "g4294967296:0",
        "g0:18446744073709551616",
        "g1:2\n",
        "greeting",
    ] {
        assert_eq!(MarkName::parse(name), None, "{name}");
    }
}
