//! What the model may say, beyond what was recorded: the wire's liberties and its hostilities.

use std::time::Duration;

use vocaris::wire::gemini::{
    self, DEFAULT_AUDIO_RATE_HZ, Interaction, MessageError, ServerMessage, SpeechEdge,
};
use vocaris::wire::json::{JsonError, Kind};

fn decode(text: &str) -> ServerMessage<'_> {
    gemini::decode(text).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

/// Rate and bytes of every piece of audio.
fn audio(text: &str) -> Vec<(u32, Vec<u8>)> {
    decode(text)
        .audio_parts()
        .map(|part| {
            let mut pcm = Vec::new();
            part.base64.decode_base64_append(&mut pcm).unwrap();
            (part.rate_hz, pcm)
        })
        .collect()
}

fn parts(parts: &str) -> String {
    format!(r#"{{"serverContent":{{"modelTurn":{{"parts":[{parts}]}}}}}}"#)
}

fn part(mime_type: &str, data: &str) -> String {
    format!(r#"{{"inlineData":{{"mimeType":"{mime_type}","data":"{data}"}}}}"#)
}

#[test]
fn every_part_is_heard_once_and_in_order() {
    let pcm = "audio/pcm;rate=24000";
    let many: Vec<String> =
        ["AAA=", "AQID", "", "_-8=", "/+8", "AQ"].iter().map(|data| part(pcm, data)).collect();
    let heard: Vec<Vec<u8>> =
        audio(&parts(&many.join(","))).into_iter().map(|part| part.1).collect();
    assert_eq!(
        heard,
        [vec![0, 0], vec![1, 2, 3], vec![], vec![0xff, 0xef], vec![0xff, 0xef], vec![1]],
        "both alphabets, with and without padding, odd byte counts too"
    );
    assert_eq!(audio(&parts("")), []);
    let thousand = vec![part(pcm, "AAAA"); 1000].join(",");
    assert_eq!(audio(&parts(&thousand)).len(), 1000);
}

#[test]
fn text_thoughts_and_strange_parts_are_not_heard() {
    let pcm = part("audio/pcm;rate=24000", "AQID");
    for strange in [
        r#"{"text":"Sure,"}"#,
        r#"{"text":"plan","thought":true}"#,
        r#"{"thought":true,"inlineData":{"mimeType":"audio/pcm","data":"AAAA"}}"#,
        r#"{"inlineData":{"mimeType":"audio/pcm","data":"AAAA"},"thought":true}"#,
        r#"{"inlineData":{"mimeType":"image/jpeg","data":"AAAA"}}"#,
        r#"{"inlineData":{"mimeType":"audio/ogg","data":"AAAA"}}"#,
        r#"{"inlineData":{"mimeType":"","data":"AAAA"}}"#,
        r#"{"inlineData":{"mimeType":"audio/pcm"}}"#,
        r#"{"inlineData":{"mimeType":"audio/pcm","data":null}}"#,
        r#"{"inlineData":null}"#,
        r#"{"someNewPart":{"a":[1,{"b":2}]}}"#,
        "{}",
    ] {
        let heard = audio(&parts(&format!("{strange},{pcm},{strange}")));
        assert_eq!(heard, [(24_000, vec![1, 2, 3])], "{strange}");
    }
    assert_eq!(audio(&parts(r#"{"inlineData":{"data":"AQID"}}"#)), [(24_000, vec![1, 2, 3])]);
}

#[test]
fn the_rate_is_read_from_the_mime_type() {
    for (mime_type, rate_hz) in [
        ("audio/pcm;rate=24000", 24_000),
        ("audio/pcm;rate=16000", 16_000),
        ("audio/pcm; rate=8000", 8_000),
        ("Audio/PCM;channels=1;Rate=48000", 48_000),
        ("audio/pcm", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate=", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate=0", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate=-1", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate=fast", DEFAULT_AUDIO_RATE_HZ),
        ("audio/pcm;rate=99999999999", DEFAULT_AUDIO_RATE_HZ),
        ("audio\\/pcm;rate=16000", 16_000),
        ("\\u0061udio/pcm;rate=16000", 16_000),
    ] {
        assert_eq!(audio(&parts(&part(mime_type, "AAA="))), [(rate_hz, vec![0, 0])], "{mime_type}");
    }
}

#[test]
fn several_fields_of_one_message_are_all_read() {
    let text = r#"
        { "usageMetadata" : { "promptTokenCount" : "120", "candidatesTokenCount": 57.0,
            "totalTokenCount": 180, "promptTokensDetails": [ { "modality": "AUDIO" } ] },
          "serverContent" : { "turnComplete" : true, "generationComplete": true,
            "interrupted" : true, "waitingForInput": true, "interactionStatus": "IN_PROGRESS",
            "turnCompleteReason": "NEED_MORE_INPUT",
            "modelTurn" : { "role":"model", "parts" : [
                { "inlineData" : { "data" : "AAA=", "mimeType" : "audio/pcm;rate=24000" } } ] },
            "inputTranscription" : { "text" : "one" , "finished" : true },
            "outputTranscription" : { "text" : "tw\u006f" } },
          "setupComplete" : { "sessionId" : "s" },
          "goAway" : { "timeLeft" : "50s" },
          "toolCall" : { "functionCalls" : [ { "name" : "f" } ] },
          "toolCallCancellation" : { "ids" : [ "x" , "y" ] },
          "voiceActivity": { "type": "ACTIVITY_END" },
          "sessionResumptionUpdate" : { "resumable" : true , "newHandle" : "h" } }"#;
    let message = decode(text);
    assert!(message.setup_complete && message.session_id.unwrap() == *"s");
    assert!(message.model_turn && message.interrupted && message.generation_complete);
    assert!(message.turn_complete && message.waiting_for_input);
    assert_eq!(message.interaction, Some(Interaction::InProgress));
    assert!(message.turn_complete_reason.unwrap() == *"NEED_MORE_INPUT");
    let input = message.input_transcription.unwrap();
    assert!(input.text == *"one" && input.finished == Some(true));
    let output = message.output_transcription.unwrap();
    assert!(output.text == *"two" && output.finished.is_none());
    assert_eq!(message.go_away, Some(Duration::from_secs(50)));
    assert_eq!(message.voice_activity, Some(SpeechEdge::End));
    assert!(message.resumption.unwrap().usable_handle().unwrap() == *"h");
    let usage = message.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.response_tokens, usage.total_tokens), (120, 57, 180));
    assert_eq!(audio(text), [(24_000, vec![0, 0])]);
    let calls: Vec<_> = message.tool_calls().collect();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].id.is_none() && calls[0].name == *"f" && calls[0].args == "{}");
    let cancelled: Vec<_> = message.tool_cancellations().map(|id| id.to_cow()).collect();
    assert_eq!(cancelled, ["x", "y"]);
    assert_eq!(message.error, None);
}

#[test]
fn what_a_message_has_not_is_not_read_into_it() {
    for text in [
        "{}",
        r#"{"serverContent":{}}"#,
        r#"{"serverContent":null,"setupComplete":null,"goAway":null,"toolCall":null,"error":null,
            "toolCallCancellation":null,"sessionResumptionUpdate":null,"usageMetadata":null}"#,
        r#"{"serverContent":{"interrupted":false,"turnComplete":null,"modelTurn":null,
            "generationComplete":false,"waitingForInput":false,"interactionStatus":null}}"#,
        r#"{"brandNew":{"x":[1]},"server_content":{"interrupted":true},"interrupted":true}"#,
        r#"{"toolCall":{},"toolCallCancellation":{}}"#,
        r#"{"toolCall":{"functionCalls":[]},"toolCallCancellation":{"ids":[]}}"#,
        r#"{"toolCall":{"functionCalls":[{"id":"nameless"}]}}"#,
    ] {
        let message = decode(text);
        assert!(!message.setup_complete && !message.model_turn && !message.interrupted, "{text}");
        assert!(!message.generation_complete && !message.turn_complete, "{text}");
        assert!(!message.waiting_for_input && message.interaction.is_none(), "{text}");
        assert!(message.go_away.is_none() && message.resumption.is_none(), "{text}");
        assert!(message.usage.is_none() && message.error.is_none(), "{text}");
        assert_eq!(message.audio_parts().count(), 0);
        assert_eq!(message.tool_calls().count(), 0);
        assert_eq!(message.tool_cancellations().count(), 0);
    }
}

#[test]
fn of_equal_keys_the_last_counts() {
    let text = r#"{"serverContent":{"interrupted":true,"modelTurn":{"parts":[{"text":"a"}]}},
        "serverContent":{"turnComplete":true,"turnComplete":false}}"#;
    let message = decode(text);
    assert!(!message.interrupted && !message.turn_complete && !message.model_turn);
    let text = parts(
        r#"{"inlineData":{"data":"AAA=","data":"AQID",
            "mimeType":"image/png","mimeType":"audio/pcm"}}"#,
    );
    assert_eq!(audio(&text), [(24_000, vec![1, 2, 3])]);
}

#[test]
fn words_from_the_future_are_not_errors() {
    let message = decode(
        r#"{"serverContent":{"turnComplete":true,"turnCompleteReason":"A_REASON_FROM_THE_FUTURE",
            "interactionStatus":"REQUIRES_ACTION"},"voiceActivity":{"type":"ACTIVITY_WHISPER"}}"#,
    );
    assert!(message.turn_complete_reason.unwrap() == *"A_REASON_FROM_THE_FUTURE");
    assert_eq!(message.interaction, Some(Interaction::Unknown));
    assert_eq!(message.voice_activity, None);
    // Enums may be numbers as well.
    let message = decode(
        r#"{"serverContent":{"turnCompleteReason":3,"interactionStatus":2},"interactionStatus":1,
            "voiceActivity":{"type":1}}"#,
    );
    assert!(message.turn_complete_reason.is_none() && message.voice_activity.is_none());
    assert_eq!(message.interaction, Some(Interaction::Unknown));
    let outside = decode(r#"{"serverContent":{"turnComplete":true},"interactionStatus":"IDLE"}"#);
    assert_eq!(outside.interaction, Some(Interaction::Idle));
}

#[test]
fn a_handle_is_used_only_if_the_server_says_so() {
    for (update, usable) in [
        (r#"{"newHandle":"h","resumable":true}"#, true),
        (r#"{"newHandle":"h","resumable":false}"#, false),
        (r#"{"newHandle":"h"}"#, false),
        (r#"{"newHandle":"","resumable":true}"#, false),
        (r#"{"resumable":true}"#, false),
        (r#"{}"#, false),
    ] {
        let text = format!(r#"{{"sessionResumptionUpdate":{update}}}"#);
        let resumption = decode(&text).resumption.unwrap();
        assert_eq!(resumption.usable_handle().is_some(), usable, "{update}");
    }
    for index in ["17", "\"17\"", "17.0"] {
        let text = format!(
            r#"{{"sessionResumptionUpdate":{{"lastConsumedClientMessageIndex":{index}}}}}"#
        );
        assert_eq!(decode(&text).resumption.unwrap().last_consumed, Some(17));
    }
}

#[test]
fn time_left_that_cannot_be_read_is_none_left() {
    for (time_left, left) in [
        (r#""50s""#, Duration::from_secs(50)),
        (r#""49.5s""#, Duration::from_millis(49_500)),
        (r#""0.500s""#, Duration::from_millis(500)),
        (r#""9.000000001s""#, Duration::new(9, 1)),
        (r#""\u0035s""#, Duration::from_secs(5)),
        (r#""0s""#, Duration::ZERO),
        (r#""-5s""#, Duration::ZERO),
        (r#""5""#, Duration::ZERO),
        (r#""5 s""#, Duration::ZERO),
        (r#"".5s""#, Duration::ZERO),
        (r#""5.s""#, Duration::ZERO),
        (r#""5.0000000001s""#, Duration::ZERO),
        (r#""99999999999999999999s""#, Duration::ZERO),
        (r#""1e3s""#, Duration::ZERO),
        (r#""""#, Duration::ZERO),
        ("null", Duration::ZERO),
    ] {
        let text = format!(r#"{{"goAway":{{"timeLeft":{time_left}}}}}"#);
        assert_eq!(decode(&text).go_away, Some(left), "{time_left}");
    }
    assert_eq!(decode(r#"{"goAway":{}}"#).go_away, Some(Duration::ZERO));
}

#[test]
fn an_error_is_seen_in_either_of_its_shapes() {
    let text = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}"#;
    let error = decode(text).error.unwrap();
    assert_eq!(error.code, Some(403));
    assert!(error.status.unwrap() == *"PERMISSION_DENIED" && error.message.unwrap() == *"no");
    let error = decode(r#"{"message":"no","code":-7}"#).error.unwrap();
    assert!(error.code == Some(-7) && error.message.unwrap() == *"no");
    assert!(decode(r#"{"error":{}}"#).error.is_some());
    // The same words in other shapes are fields we do not know.
    for text in
        [r#"{"status":{"a":1}}"#, r#"{"message":[1]}"#, r#"{"code":{}}"#, r#"{"message":"hello"}"#]
    {
        assert_eq!(decode(text).error, None, "{text}");
    }
}

#[test]
fn a_tool_call_keeps_its_arguments_as_they_are() {
    let args = r#"{ "day" : "2026-12-01\n", "n": [1e3, {"deep": null}] }"#;
    let text = format!(
        r#"{{"toolCall":{{"functionCalls":[{{"args":{args},"name":"f","id":"","later":1}},
            {{"id":"fc-2","name":"g","args":null}}]}}}}"#
    );
    let message = decode(&text);
    let calls: Vec<_> = message.tool_calls().collect();
    assert_eq!(calls[0].args, args);
    assert!(calls[0].id.is_none(), "an empty id is none");
    assert_eq!(calls[1].args, "{}");
    assert!(calls[1].id.unwrap() == *"fc-2");
}

#[test]
fn a_field_of_the_wrong_kind_is_refused() {
    for (text, wanted) in [
        ("[]", Kind::Object),
        ("\"\"", Kind::Object),
        ("1", Kind::Object),
        ("null", Kind::Object),
        (r#"{"serverContent":[]}"#, Kind::Object),
        (r#"{"serverContent":{"interrupted":1}}"#, Kind::Bool),
        (r#"{"serverContent":{"interrupted":"true"}}"#, Kind::Bool),
        (r#"{"serverContent":{"modelTurn":[]}}"#, Kind::Object),
        (r#"{"serverContent":{"modelTurn":{"parts":{}}}}"#, Kind::Array),
        (r#"{"serverContent":{"modelTurn":{"parts":["x"]}}}"#, Kind::Object),
        (r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":"x"}]}}}"#, Kind::Object),
        (r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":[]}}]}}}"#, Kind::Text),
        (r#"{"serverContent":{"outputTranscription":"x"}}"#, Kind::Object),
        (r#"{"serverContent":{"outputTranscription":{"text":1}}}"#, Kind::Text),
        (r#"{"serverContent":{"turnCompleteReason":{}}}"#, Kind::Text),
        (r#"{"setupComplete":true}"#, Kind::Object),
        (r#"{"goAway":{"timeLeft":50}}"#, Kind::Text),
        (r#"{"sessionResumptionUpdate":{"resumable":"true"}}"#, Kind::Bool),
        (r#"{"sessionResumptionUpdate":{"newHandle":1}}"#, Kind::Text),
        (r#"{"toolCall":{"functionCalls":{}}}"#, Kind::Array),
        (r#"{"toolCall":{"functionCalls":[{"args":"x"}]}}"#, Kind::Object),
        (r#"{"toolCallCancellation":{"ids":[1]}}"#, Kind::Text),
        (r#"{"usageMetadata":{"totalTokenCount":{}}}"#, Kind::Number),
        (r#"{"error":"x"}"#, Kind::Object),
    ] {
        let error = gemini::decode(text).unwrap_err();
        let wrong = matches!(
            error,
            MessageError::Json(JsonError::WrongKind { wanted: told, .. }) if told == wanted
        );
        assert!(wrong, "{error:?} for {text}");
    }
}

#[test]
fn hostile_text_is_refused_wherever_it_stands() {
    let deep = "[".repeat(100_000);
    for (bad, known) in [
        (deep.as_str(), "nested"),
        ("\"\\ud800\"", "half a surrogate pair"),
        ("\"\\q\"", "an unknown escape"),
        ("\"\n\"", "a bare control character"),
        ("1e999", "a huge number"),
        ("01", "not a number"),
        ("nul", "a cut word"),
        ("", "nothing"),
    ] {
        for around in [
            ("", ""),
            (r#"{"new":"#, "}"),
            (r#"{"serverContent":{"new":"#, "}}"),
            (r#"{"serverContent":{"modelTurn":{"parts":["#, ",{}]}}}"),
            (r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"#, "}}]}}}"),
            (r#"{"toolCall":{"functionCalls":[{"name":"f","args":{"a":"#, "}}]}}"),
            (r#"{"toolCallCancellation":{"ids":["#, ",\"\"]}}"),
            (r#"{"usageMetadata":{"totalTokenCount":"#, "}}"),
        ] {
            let text = [around.0, bad, around.1].concat();
            assert!(gemini::decode(&text).is_err(), "{known}: {}…{}", around.0, around.1);
        }
    }
}

#[test]
fn a_huge_message_is_read_without_recursion_or_copies() {
    let data = "A".repeat(4 << 20);
    let text = parts(&part("audio/pcm;rate=24000", &data));
    let heard: Vec<_> = decode(&text).audio_parts().map(|part| part.base64.raw().len()).collect();
    assert_eq!(heard, [4 << 20]);
}
