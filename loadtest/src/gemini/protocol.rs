//! Client messages of the Gemini Live API, judged as strictly as the service does.
//!
//! In:       the text of one client message.
//! Out:      a [`ClientMessage`], or the [`Complaint`] the service would close with.
//! Bounds:   none of its own; the link bounds a message.
//!
//! The service takes names in both spellings of ProtoJSON, `realtimeInput` and `realtime_input`;
//! google-genai mixes the two within a message. What is handed on is spelled the first way.
//!
//! Not here: their order (`gemini::session`), the messages of the service (`gemini::message`).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::{Nanos, SECONDS};

/// What a relay did that the service does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The request names another path.
    Path(String),
    /// The API key is missing or wrong; the key itself is not repeated.
    Key,
    /// A message that is not a text frame.
    Frame,
    /// A ping: the service answers late, and clients that count on it lose good calls.
    Ping,
    /// Not JSON, or not exactly one kind of message, or a field of the wrong type.
    Shape(String),
    /// A field the service or this model does not know, or `null`.
    Field(String),
    /// `model` is not the one configured.
    Model(String),
    /// Something else before the setup, or before `setupComplete`.
    Early,
    /// A second setup.
    SetupAgain,
    /// Audio that is not base64, not whole samples, empty, or of a rate nobody agreed on.
    Audio,
    /// A handle while the connection it comes from is still open.
    Overlap,
    /// More audio than time has passed, after the session was taken up again.
    Backlog,
    /// A tool declared, or a result given, as the service does not take it.
    Tool(String),
}

/// A client message.
#[derive(Debug)]
pub enum ClientMessage {
    /// The first message.
    Setup(Value),
    /// Caller audio.
    Audio {
        /// Samples a second.
        rate: u32,
        /// PCM16, little endian.
        pcm: Vec<u8>,
    },
    /// `clientContent`: what was said by text, and whether the model is to answer.
    Content(Value),
    /// `realtimeInput.text`.
    Text(String),
    /// The audio pauses.
    AudioStreamEnd,
    /// Manual voice activity, either end.
    Activity,
    /// Tool results.
    ToolResponse(Value),
    /// New instructions in mid-session.
    ContextUpdate(Value),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope<'a> {
    setup: Option<Value>,
    #[serde(borrow, alias = "realtime_input")]
    realtime_input: Option<RealtimeInput<'a>>,
    #[serde(alias = "client_content")]
    client_content: Option<Value>,
    #[serde(alias = "tool_response")]
    tool_response: Option<Value>,
    #[serde(alias = "context_update")]
    context_update: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RealtimeInput<'a> {
    #[serde(borrow)]
    audio: Option<Blob<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(alias = "audio_stream_end")]
    audio_stream_end: Option<bool>,
    #[serde(alias = "activity_start")]
    activity_start: Option<Empty>,
    #[serde(alias = "activity_end")]
    activity_end: Option<Empty>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Blob<'a> {
    #[serde(borrow, alias = "mime_type")]
    mime_type: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// Reads one client message.
pub fn read(text: &str) -> Result<ClientMessage, Complaint> {
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|error| match error.to_string() {
            text if text.starts_with("unknown field") => Complaint::Field(text),
            text => Complaint::Shape(text),
        })?;
    match envelope {
        Envelope {
            setup: Some(setup),
            realtime_input: None,
            client_content: None,
            tool_response: None,
            context_update: None,
        } => Ok(ClientMessage::Setup(in_camel_case(setup))),
        Envelope {
            setup: None,
            realtime_input: Some(input),
            client_content: None,
            tool_response: None,
            context_update: None,
        } => realtime(input),
        Envelope {
            setup: None,
            realtime_input: None,
            client_content: Some(content),
            tool_response: None,
            context_update: None,
        } => Ok(ClientMessage::Content(content)),
        Envelope {
            setup: None,
            realtime_input: None,
            client_content: None,
            tool_response: Some(response),
            context_update: None,
        } => Ok(ClientMessage::ToolResponse(response)),
        Envelope {
            setup: None,
            realtime_input: None,
            client_content: None,
            tool_response: None,
            context_update: Some(update),
        } => Ok(ClientMessage::ContextUpdate(update)),
        _ => Err(Complaint::Shape("not exactly one kind of message".into())),
    }
}

fn realtime(input: RealtimeInput<'_>) -> Result<ClientMessage, Complaint> {
    match input {
        RealtimeInput { audio: Some(blob), text: None, audio_stream_end: None, .. } => audio(&blob),
        RealtimeInput { audio: None, text: Some(text), audio_stream_end: None, .. } => {
            Ok(ClientMessage::Text(text.into_owned()))
        }
        RealtimeInput { audio: None, text: None, audio_stream_end: Some(true), .. } => {
            Ok(ClientMessage::AudioStreamEnd)
        }
        RealtimeInput { activity_start: Some(_), .. }
        | RealtimeInput { activity_end: Some(_), .. } => Ok(ClientMessage::Activity),
        _ => Err(Complaint::Shape("empty or ambiguous realtimeInput".into())),
    }
}

fn audio(blob: &Blob<'_>) -> Result<ClientMessage, Complaint> {
    let rate = blob.mime_type.strip_prefix("audio/pcm;rate=").and_then(|rate| rate.parse().ok());
    let rate = rate.filter(|rate| [8_000, 16_000].contains(rate)).ok_or(Complaint::Audio)?;
    let pcm = STANDARD.decode(&*blob.data).or_else(|_| URL_SAFE.decode(&*blob.data));
    let pcm = pcm.map_err(|_| Complaint::Audio)?;
    if pcm.is_empty() || !pcm.len().is_multiple_of(2) {
        return Err(Complaint::Audio);
    }
    Ok(ClientMessage::Audio { rate, pcm })
}

/// Fields of `setup` that the service knows.
const SETUP_FIELDS: [&str; 11] = [
    "model",
    "generationConfig",
    "systemInstruction",
    "tools",
    "realtimeInputConfig",
    "sessionResumption",
    "contextWindowCompression",
    "inputAudioTranscription",
    "outputAudioTranscription",
    "proactivity",
    "historyConfig",
];

/// Fields of `generationConfig` that `gemini-3.8-live` refuses, or hangs on.
const FOREIGN_FIELDS: [&str; 8] = [
    "thinkingConfig",
    "enableAffectiveDialog",
    "responseLogprobs",
    "responseMimeType",
    "logprobs",
    "responseSchema",
    "stopSequence",
    "stopSequences",
];

/// Fields of `setup` that Vertex knows besides.
const VERTEX_FIELDS: [&str; 3] = ["explicitVadSignal", "labels", "safetySettings"];

/// The name of a model without the words before it, which differ between the services.
fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or_default()
}

/// Judges a setup for `model`, such as `models/gemini-3.8-live`; on Vertex that model goes by the
/// name of a resource.
pub fn check_setup(setup: &Value, model: &str, vertex: bool) -> Result<(), Complaint> {
    let fields = setup.as_object().ok_or(Complaint::Shape("setup is not an object".into()))?;
    if let Some(null) = null_field(setup) {
        return Err(Complaint::Field(null));
    }
    let is_known =
        |name: &str| SETUP_FIELDS.contains(&name) || vertex && VERTEX_FIELDS.contains(&name);
    if let Some(unknown) = fields.keys().find(|name| !is_known(name)) {
        return Err(Complaint::Field(unknown.clone()));
    }
    let named = setup["model"].as_str().unwrap_or_default();
    let is_named = match vertex {
        true => named.contains("publishers/google/models/") && bare(named) == bare(model),
        false => named == model,
    };
    if !is_named {
        return Err(Complaint::Model(named.to_string()));
    }
    let generation = &setup["generationConfig"];
    if generation["responseModalities"] != json!(["AUDIO"]) {
        return Err(Complaint::Field("responseModalities is not [\"AUDIO\"]".into()));
    }
    check_tools(&setup["tools"])?;
    if model.ends_with("gemini-3.8-live") {
        let foreign = FOREIGN_FIELDS.iter().find(|name| generation.get(**name).is_some());
        if let Some(foreign) = foreign {
            return Err(Complaint::Field((*foreign).to_string()));
        }
        if setup["proactivity"]["proactiveAudio"] == false {
            return Err(Complaint::Field("proactiveAudio: false".into()));
        }
    }
    Ok(())
}

/// Judges what `tools` declares: names, parameters, and that `behavior` is stated.
fn check_tools(tools: &Value) -> Result<(), Complaint> {
    let declared = tools.as_array().into_iter().flatten();
    let declared = declared.filter_map(|tool| tool["functionDeclarations"].as_array()).flatten();
    for declaration in declared {
        let name = declaration["name"].as_str().unwrap_or_default();
        let letters = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(letters) {
            return Err(Complaint::Tool(format!("name {name:?}")));
        }
        let behavior = declaration["behavior"].as_str();
        if !behavior.is_some_and(|it| ["BLOCKING", "NON_BLOCKING"].contains(&it)) {
            return Err(Complaint::Tool(format!("{name}: behavior {behavior:?}")));
        }
    }
    Ok(())
}

/// One result of a tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolResult {
    /// The id of the call, if the relay was told one.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// The result, an object.
    pub response: serde_json::Map<String, Value>,
    /// When the model is to speak of it.
    pub scheduling: Option<Scheduling>,
    /// More results of the same call follow.
    #[serde(alias = "will_continue")]
    pub will_continue: Option<bool>,
}

/// When the model speaks of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scheduling {
    /// Never.
    Silent,
    /// When it has nothing else to say.
    WhenIdle,
    /// At once.
    Interrupt,
}

/// Reads the results in a `toolResponse`.
pub fn tool_results(response: Value) -> Result<Vec<ToolResult>, Complaint> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Results {
        #[serde(alias = "function_responses")]
        function_responses: Vec<ToolResult>,
    }
    serde_json::from_value::<Results>(response)
        .map(|results| results.function_responses)
        .map_err(|error| Complaint::Tool(error.to_string()))
}

/// The names of fields whose objects are data: what is inside is not a name of the protocol.
const DATA_FIELDS: [&str; 3] = ["properties", "parametersJsonSchema", "responseJsonSchema"];

/// A setup with every name of the protocol spelled as `realtimeInput` is.
fn in_camel_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = fields.into_iter().map(|(name, value)| {
                let name = camel_case(&name);
                let is_data = DATA_FIELDS.contains(&&*name);
                (name, if is_data { value } else { in_camel_case(value) })
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => items.into_iter().map(in_camel_case).collect(),
        other => other,
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_string();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// A protobuf duration such as `9.5s`.
pub fn duration(text: &str) -> Option<Nanos> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    (seconds >= 0.0 && seconds.is_finite()).then_some((seconds * SECONDS as f64) as Nanos)
}

/// The path of the first `null` inside a value.
fn null_field(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".into()),
        Value::Array(items) => items.iter().find_map(null_field),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| null_field(value).map(|below| format!("{name}: {below}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(change: impl FnOnce(&mut Value)) -> Result<(), Complaint> {
        let mut setup = json!({
            "model": "models/gemini-3.8-live",
            "generationConfig": { "responseModalities": ["AUDIO"] },
            "sessionResumption": {},
        });
        change(&mut setup);
        check_setup(&setup, "models/gemini-3.8-live", false)
    }

    #[test]
    fn a_setup_with_a_field_this_model_hangs_on_is_refused() {
        assert_eq!(setup(|_| {}), Ok(()));
        for (change, field) in [
            (json!({ "thinkingConfig": { "thinkingLevel": "LOW" } }), "thinkingConfig"),
            (json!({ "enableAffectiveDialog": true }), "enableAffectiveDialog"),
        ] {
            let refused = setup(|setup| {
                let generation = setup["generationConfig"].as_object_mut().unwrap();
                generation.extend(change.as_object().unwrap().clone());
            });
            assert_eq!(refused, Err(Complaint::Field(field.into())));
        }
        let refused = setup(|setup| setup["toolConfig"] = json!({}));
        assert_eq!(refused, Err(Complaint::Field("toolConfig".into())));
        let refused = setup(|setup| setup["sessionResumption"]["handle"] = Value::Null);
        assert_eq!(refused, Err(Complaint::Field("sessionResumption: handle: null".into())));
        let refused = setup(|setup| setup["model"] = json!("gemini-3.8-live"));
        assert_eq!(refused, Err(Complaint::Model("gemini-3.8-live".into())));
        let on_vertex = |model: &str| {
            let modalities = json!({ "responseModalities": ["AUDIO"] });
            let setup = json!({ "model": model, "generationConfig": modalities, "labels": {} });
            check_setup(&setup, "models/gemini-3.8-live", true)
        };
        assert_eq!(on_vertex("publishers/google/models/gemini-3.8-live"), Ok(()));
        assert!(on_vertex("models/gemini-3.8-live").is_err());
    }

    #[test]
    fn audio_is_read_in_both_alphabets_and_only_in_whole_samples() {
        let message = |data: &str, mime: &str| {
            read(
                &json!({ "realtimeInput": { "audio": { "mimeType": mime, "data": data } } })
                    .to_string(),
            )
        };
        for data in ["+/8=", "-_8="] {
            let Ok(ClientMessage::Audio { rate, pcm }) = message(data, "audio/pcm;rate=16000")
            else {
                panic!("{data} was refused")
            };
            assert_eq!((rate, pcm), (16_000, vec![0xFB, 0xFF]));
        }
        for (data, mime) in [
            ("+/8", "audio/pcm;rate=16000"),
            ("+w==", "audio/pcm;rate=16000"),
            ("", "audio/pcm;rate=16000"),
            ("+/8=", "audio/pcm"),
            ("+/8=", "audio/pcm;rate=44100"),
        ] {
            assert_eq!(message(data, mime).unwrap_err(), Complaint::Audio, "{data} {mime}");
        }
    }

    #[test]
    fn both_spellings_of_a_name_are_one() {
        let audio =
            r#"{"realtime_input":{"audio":{"data":"+/8=","mime_type":"audio/pcm;rate=8000"}}}"#;
        assert!(matches!(read(audio), Ok(ClientMessage::Audio { rate: 8000, .. })));
        let end = r#"{"realtime_input": {"audioStreamEnd": true}}"#;
        assert!(matches!(read(end), Ok(ClientMessage::AudioStreamEnd)));
        let answer = r#"{"tool_response":{"functionResponses":[
            {"will_continue":true,"id":"1","name":"a_b","response":{"free_times":[]}}]}}"#;
        let Ok(ClientMessage::ToolResponse(response)) = read(answer) else { panic!("{answer}") };
        let results = tool_results(response).unwrap();
        assert!(results[0].response.contains_key("free_times"), "data keeps its names");
        let setup = r#"{"setup":{"session_resumption":{},"realtimeInputConfig":
            {"automatic_activity_detection":{}},"tools":[{"function_declarations":[{"name":"a_b",
            "parameters":{"properties":{"free_time":{}}}}]}]}}"#;
        let Ok(ClientMessage::Setup(setup)) = read(setup) else { panic!("{setup}") };
        assert!(setup["sessionResumption"].is_object());
        assert!(setup["realtimeInputConfig"]["automaticActivityDetection"].is_object());
        let declaration = &setup["tools"][0]["functionDeclarations"][0];
        assert_eq!(declaration["name"], "a_b");
        assert!(declaration["parameters"]["properties"]["free_time"].is_object());
        let twice = r#"{"realtime_input":{"text":"a"},"realtimeInput":{"text":"b"}}"#;
        assert!(matches!(read(twice), Err(Complaint::Shape(_))));
    }

    #[test]
    fn a_message_is_exactly_one_kind() {
        for text in ["{}", "[]", "x", r#"{"setup":{},"clientContent":{}}"#] {
            assert!(matches!(read(text), Err(Complaint::Shape(_))), "{text}");
        }
        let unknown = r#"{"realtimeInput":{"mediaChunks":[]}}"#;
        assert!(matches!(read(unknown), Err(Complaint::Field(_))));
    }
}
