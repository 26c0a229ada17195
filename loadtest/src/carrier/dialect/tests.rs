//! The dialects side by side: what each says, and what each takes.

use serde_json::Value;

use super::*;

fn dialect(carrier: Carrier, formats: Formats) -> (Dialect, Vec<Value>) {
    let ids = Ids::of(carrier, 7, 3);
    let mut dialect = Dialect::new(carrier, ids, "+18005550199", "+18005550100");
    let parameters = [("token".to_string(), "ab1".to_string())];
    let opening = dialect.open(formats, &parameters, Some("shown"));
    let texts = opening.iter().map(value).collect();
    (dialect, texts)
}

fn value(wire: &Wire) -> Value {
    match wire {
        Wire::Text(text) => serde_json::from_str(text).unwrap(),
        Wire::Binary(bytes) => panic!("{} bytes of audio", bytes.len()),
    }
}

fn own(carrier: Carrier) -> (Dialect, Vec<Value>) {
    dialect(carrier, Formats::both(carrier.default_format()))
}

/// The value at a path of names.
fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, name| &value[name])
}

#[test]
fn every_stream_opens_in_the_words_of_its_carrier() {
    for (carrier, events, path, told) in [
        (Carrier::Twilio, &["connected", "start"][..], "start.customParameters.token", "ab1"),
        (
            Carrier::SignalWire,
            &["connected", "start"],
            "start.mediaFormat.encoding",
            "audio/x-mulaw",
        ),
        (Carrier::Telnyx, &["connected", "start"], "start.media_format.encoding", "PCMU"),
        (Carrier::Plivo, &["start"], "extra_headers", "token=ab1"),
        (Carrier::Exotel, &["connected", "start"], "start.media_format.sample_rate", "8000"),
        (Carrier::Vonage, &["websocket:connected"], "token", "ab1"),
    ] {
        let (_, opening) = own(carrier);
        let said: Vec<_> = opening.iter().map(|message| &message["event"]).collect();
        assert_eq!(said, events, "{carrier}");
        assert_eq!(at(opening.last().unwrap(), path), told, "{carrier}");
    }
    let (_, opening) = own(Carrier::Vonage);
    assert_eq!(opening[0]["content-type"], "audio/l16;rate=16000");
    let (_, opening) = own(Carrier::Jambonz);
    assert_eq!((&opening[0]["sampleRate"], &opening[0]["mixType"]), (&8000.into(), &"mono".into()));
    assert_eq!(opening[0]["token"], "ab1");
    let (_, opening) = own(Carrier::Web);
    assert_eq!((&opening[0]["type"], &opening[0]["token"]), (&"hello".into(), &"shown".into()));
}

#[test]
fn the_name_of_the_stream_stands_where_each_carrier_puts_it() {
    let media = |carrier| {
        let (mut dialect, mut said) = own(carrier);
        said.push(value(&dialect.media(1, 62, vec![0xFF; 160])));
        let names = ["streamSid", "stream_id", "stream_sid", "streamId"];
        let stands = |message: &Value| {
            names.iter().filter(|name| message.get(**name).is_some()).copied().collect::<Vec<_>>()
        };
        said.iter().map(stands).collect::<Vec<_>>()
    };
    assert_eq!(media(Carrier::Twilio), [vec![], vec!["streamSid"], vec!["streamSid"]]);
    assert_eq!(media(Carrier::SignalWire), [vec![], vec![], Vec::<&str>::new()]);
    assert_eq!(media(Carrier::Telnyx), [vec![], vec!["stream_id"], vec!["stream_id"]]);
    assert_eq!(media(Carrier::Exotel), [vec![], vec!["stream_sid"], vec!["stream_sid"]]);
    assert_eq!(media(Carrier::Plivo), [vec![], vec!["streamId"]]);
}

#[test]
fn numbers_are_strings_where_the_carrier_writes_strings() {
    for (carrier, sequence, chunk) in [
        (Carrier::Twilio, "sequenceNumber", Value::from("1")),
        (Carrier::SignalWire, "sequenceNumber", Value::from("1")),
        (Carrier::Telnyx, "sequence_number", Value::from("1")),
        (Carrier::Exotel, "sequence_number", Value::from("1")),
        (Carrier::Plivo, "sequenceNumber", Value::from(1)),
    ] {
        let (mut dialect, _) = own(carrier);
        let media = value(&dialect.media(1, 62, vec![0xFF; 160]));
        assert_eq!(media["media"]["chunk"], chunk, "{carrier}");
        assert_eq!(media[sequence].is_string(), chunk.is_string(), "{carrier}");
        assert!(media["media"]["timestamp"].is_string(), "{carrier}");
        assert_eq!(media["media"]["payload"].as_str().unwrap().len(), 216, "{carrier}");
    }
    let (_, opening) = own(Carrier::Twilio);
    assert_eq!(opening[1]["start"]["mediaFormat"]["sampleRate"], 8000);
}

#[test]
fn audio_is_binary_where_it_is_not_text() {
    for carrier in [Carrier::Vonage, Carrier::Jambonz, Carrier::Web] {
        let (mut dialect, _) = own(carrier);
        assert_eq!(dialect.media(1, 0, vec![1, 2]), Wire::Binary(vec![1, 2]), "{carrier}");
        assert_eq!(dialect.read_binary(&[1, 2]), Ok(Order::Media(vec![1, 2])), "{carrier}");
        assert_eq!(dialect.read_binary(&[1]), Err(Violation::Payload), "{carrier}");
        assert_eq!(dialect.read_binary(&[]), Err(Violation::Payload), "{carrier}");
    }
    let (dialect, _) = own(Carrier::Telnyx);
    assert_eq!(dialect.read_binary(&[1, 2]), Err(Violation::Binary));
}

#[test]
fn each_carrier_takes_pieces_of_its_own_length_alone() {
    let l16 = |rate| Formats::both(Format::linear(rate));
    for (carrier, formats, taken, refused) in [
        (Carrier::Twilio, Formats::default(), &[1, 160, 8000][..], &[][..]),
        (Carrier::Telnyx, Formats::default(), &[160, 161, 240_000], &[159, 240_001]),
        (Carrier::Telnyx, Formats::both(Format::network(16_000)), &[640, 960_000], &[638, 960_002]),
        (Carrier::Exotel, l16(8_000), &[3_200, 3_520, 99_840], &[320, 2_880, 3_300, 100_160]),
        (Carrier::Vonage, l16(8_000), &[320], &[160, 640]),
        (Carrier::Vonage, l16(16_000), &[640], &[320, 1_280]),
        (Carrier::Plivo, l16(16_000), &[2, 640], &[]),
    ] {
        let (dialect, _) = dialect(carrier, formats);
        for &len in taken {
            assert_eq!(dialect.check_piece(len), Ok(()), "{carrier} {len}");
        }
        for &len in refused {
            assert_eq!(dialect.check_piece(len), Err(Violation::PieceSize), "{carrier} {len}");
        }
    }
    let (dialect, _) = dialect(Carrier::Plivo, l16(8_000));
    assert_eq!(dialect.check_piece(321), Err(Violation::Payload));
}

#[test]
fn what_plivo_takes_names_its_format() {
    let (dialect, _) = dialect(Carrier::Plivo, Formats::both(Format::PCMU));
    let stream = dialect.ids.stream.clone();
    for (text, read) in [
        (
            r#"{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":8000,"payload":"//8="}}"#,
            Ok(Order::Media(vec![0xFF, 0xFF])),
        ),
        (
            r#"{"event":"playAudio","media":{"contentType":"audio/x-l16","sampleRate":8000,"payload":"//8="}}"#,
            Err(Violation::WrongFormat),
        ),
        (
            r#"{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":"8000","payload":"//8="}}"#,
            Err(Violation::Shape),
        ),
        (
            r#"{"event":"playAudio","streamId":"ID","media":{"contentType":"audio/x-mulaw","sampleRate":8000,"payload":"//8="}}"#,
            Err(Violation::Shape),
        ),
        (r#"{"event":"checkpoint","streamId":"ID","name":"g1"}"#, Ok(Order::Mark("g1".into()))),
        (r#"{"event":"checkpoint","name":"g1"}"#, Err(Violation::WrongStreamId)),
        (r#"{"event":"clearAudio","streamId":"ID"}"#, Ok(Order::Clear)),
        (r#"{"event":"clearAudio"}"#, Ok(Order::Clear)),
        (r#"{"event":"clearAudio","streamId":"other"}"#, Err(Violation::WrongStreamId)),
        (r#"{"event":"clear","streamId":"ID"}"#, Err(Violation::UnknownEvent)),
    ] {
        assert_eq!(dialect.read_text(&text.replace("ID", &stream)), read, "{text}");
    }
}

#[test]
fn what_vonage_jambonz_and_browsers_take_beside_audio() {
    for (carrier, text, read) in [
        (Carrier::Vonage, r#"{"action":"clear"}"#, Ok(Order::Clear)),
        (
            Carrier::Vonage,
            r#"{"action":"notify","payload":{"n":1}}"#,
            Ok(Order::Mark(r#"{"n":1}"#.into())),
        ),
        (Carrier::Vonage, r#"{"action":"notify"}"#, Err(Violation::Shape)),
        (Carrier::Vonage, r#"{"action":"clear","x":1}"#, Err(Violation::Shape)),
        (Carrier::Vonage, r#"{"action":"play"}"#, Err(Violation::UnknownEvent)),
        (Carrier::Jambonz, r#"{"type":"killAudio"}"#, Ok(Order::Clear)),
        (Carrier::Jambonz, r#"{"type":"mark","data":{"name":"a"}}"#, Ok(Order::Mark("a".into()))),
        (Carrier::Jambonz, r#"{"type":"mark"}"#, Err(Violation::Shape)),
        (Carrier::Jambonz, r#"{"type":"clearMarks"}"#, Ok(Order::ClearMarks)),
        (Carrier::Jambonz, r#"{"type":"disconnect"}"#, Ok(Order::Disconnect)),
        (Carrier::Jambonz, r#"{"event":"clear"}"#, Err(Violation::Shape)),
        (Carrier::Web, r#"{"type":"ready","call":"c","rate":24000}"#, Ok(Order::Ready)),
        (Carrier::Web, r#"{"type":"ready","call":"c"}"#, Err(Violation::Shape)),
        (Carrier::Web, r#"{"type":"clear"}"#, Ok(Order::Clear)),
        (Carrier::Web, r#"{"type":"turn","who":"agent"}"#, Ok(Order::Note)),
        (Carrier::Web, r#"{"type":"music"}"#, Err(Violation::UnknownEvent)),
    ] {
        assert_eq!(own(carrier).0.read_text(text), read, "{carrier} {text}");
    }
}

#[test]
fn marks_come_back_and_clears_are_answered_as_the_carrier_does_it() {
    let mark = |cleared| Reached { name: r#"{"n":1}"#.into(), cleared };
    for (carrier, back, cleared) in [
        (Carrier::Twilio, Some("mark"), None),
        (Carrier::SignalWire, Some("mark"), None),
        (Carrier::Telnyx, Some("mark"), None),
        (Carrier::Exotel, Some("mark"), None),
        (Carrier::Plivo, Some("playedStream"), Some("clearedAudio")),
        (Carrier::Vonage, Some("websocket:notify"), Some("websocket:cleared")),
        (Carrier::Web, None, None),
    ] {
        let (mut dialect, _) = own(carrier);
        let event = |wire: Option<Wire>| {
            wire.map(|wire| value(&wire)["event"].as_str().unwrap().to_string())
        };
        assert_eq!(event(dialect.mark(&mark(false))).as_deref(), back, "{carrier}");
        assert_eq!(event(dialect.cleared()).as_deref(), cleared, "{carrier}");
    }
    let (mut jambonz, _) = own(Carrier::Jambonz);
    for (cleared, event) in [(false, "playout"), (true, "cleared")] {
        let back = value(&jambonz.mark(&mark(cleared)).unwrap());
        assert_eq!(back["data"]["event"], event);
    }
    let (mut signalwire, _) = own(Carrier::SignalWire);
    assert!(value(&signalwire.mark(&mark(false)).unwrap()).get("sequenceNumber").is_none());
    assert_eq!(value(&signalwire.key('5'))["dtmf"]["duration"], 160);
}
