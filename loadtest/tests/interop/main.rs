//! Google's own clients against our two servers that stand in for Google's: what they send is
//! understood, and what they are told they understand.
//!
//! The clients are `google-genai` (Python) and `@google/genai` (JavaScript), of the versions pinned
//! in `requirements.txt` and `package.json`. They are installed by pip and npm when a test first
//! needs them; where they cannot be had, the tests say SKIPPED and pass.

mod client;
mod front;

use client::{Account, Client, Server};
use loadtest::clock::Clock;
use loadtest::gemini::entrance::Entrance;
use loadtest::gemini::record::{Credential, SessionRecord, Spoken};
use loadtest::gemini::scenario::Scenario;
use loadtest::gemini::script::{Script, Speech};
use loadtest::gemini::server::{StandIn, StandInConfig};
use loadtest::signal::ModelVoice;
use serde_json::{Value, json};

/// As an application names it; on the wire `models/` stands before it.
const MODEL: &str = "gemini-3.8-live";

/// What an application sets a session up with, but for resumption.
fn config(tools: &[Value]) -> Value {
    json!({
        "responseModalities": ["AUDIO"],
        "speechConfig": {
            "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } },
        },
        "systemInstruction": { "parts": [{ "text": "You answer the telephone." }] },
        "tools": [{ "functionDeclarations": tools }],
        "realtimeInputConfig": {
            "automaticActivityDetection": {
                "startOfSpeechSensitivity": "START_SENSITIVITY_HIGH",
                "prefixPaddingMs": 20,
                "silenceDurationMs": 500,
            },
        },
        "contextWindowCompression": { "slidingWindow": {} },
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
    })
}

/// A tool with parameters of type text.
fn tool(name: &str, parameters: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        parameters.iter().map(|name| (name.to_string(), json!({ "type": "STRING" }))).collect();
    json!({
        "name": name,
        "description": "does what its name says",
        "behavior": "NON_BLOCKING",
        "parameters": { "type": "OBJECT", "properties": properties, "required": parameters },
    })
}

/// The noise of the scripts: so many samples at 16 kHz, from the first on.
fn noise(samples: usize) -> Vec<i16> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        ((state >> 16) & 0x3FFF) as i16 - 0x2000
    };
    std::iter::repeat_with(next).take(samples).collect()
}

/// The stand-in greets, listens, asks for a tool, is interrupted in an answer, announces the end of
/// the connection, and speaks again on the next: there in every form the service may use.
const SCENARIO: &str = r#"
[[connections]]
updates_every_ms = 100
steps = [
  "await_greeting",
  { speak = { ms = 400, transcript = "Good morning." } },
  { await_uplink = { ms = 400 } },
  { heard = { text = "What is free?" } },
  { tool_call = { calls = [{ name = "free_times", args = { day = "2026-12-01" } }] } },
  { await_tools = { ms = 10000 } },
  { speak = { ms = 5000, speed = 5.0, cut_after_ms = 400 } },
  { interrupt = {} },
  { go_away = { time_left = "9.5s" } },
]

[[connections]]
framing = { pretty = true, fragment_bytes = 700 }
steps = [{ speak = { ms = 400, transcript = "As I said." } }]
[connections.dialect]
unknown_fields = true
unknown_enums = true
int64_strings = true
odd_bytes = true
parts = 3
bundled = true
usage = "per_chunk"
"#;

/// Talks with a stand-in. Its records, and what the client told; `None` where there is no client.
fn with_stand_in(client: Client) -> Option<(Vec<SessionRecord>, Vec<Account>)> {
    let scenario = Scenario::read(SCENARIO).unwrap();
    let stand_in = StandIn::start(
        Clock::start(),
        StandInConfig {
            entrance: Entrance::Documented,
            scripts: scenario.scripts(0, &Speech::real_time(400), 0),
            ..StandInConfig::local(Script::listen())
        },
    )
    .unwrap();
    let server = Server {
        origin: stand_in.url.replacen("wss", "https", 1),
        ca_pem: &stand_in.ca_pem,
        model: MODEL,
        key: "stand-in-key",
    };
    let plan = json!({
        "config": config(&[tool("free_times", &["day"])]),
        "acts": [
            { "content": "Greet the caller." },
            { "await": "turn_complete" },
            { "noise_ms": 400 },
            { "await": "input_transcription" },
            { "await": "tool_call" },
            { "answer": { "output": { "free_times": ["09:00"] } } },
            { "await": "interrupted" },
            { "await": "turn_complete" },
            { "await": "go_away" },
            { "resume": true },
            { "await": "turn_complete" },
        ],
    });
    let told = client.converse(&server, &plan);
    let records = stand_in.stop().unwrap();
    Some((records, told?))
}

/// All the audio of a session, as it was sent.
fn spoken(session: &SessionRecord) -> Vec<i16> {
    let mut pcm = Vec::new();
    for spoken in &session.spoken {
        if let Spoken::Turn(turn) = spoken {
            let voice = ModelVoice::new(1, session.index, turn.number, turn.samples);
            let from = pcm.len();
            pcm.resize(from + turn.said() as usize, 0);
            voice.speak(0, &mut pcm[from..]);
        }
    }
    pcm
}

/// Judges what both sides of a conversation with the stand-in have seen.
fn judge_stand_in(client: Client, credential: Credential) {
    let Some((records, told)) = with_stand_in(client) else { return };
    let [first, second] = &records[..] else { panic!("{} connections", records.len()) };
    let [heard_first, heard_second] = &told[..] else { panic!("{told:?}") };
    for session in [first, second] {
        assert_eq!(session.complaints, [], "the stand-in objects");
        assert_eq!(session.entry.map(|it| (it.vertex, it.credential)), Some((false, credential)));
    }
    assert_eq!(second.taken_up_from, Some(first.index));
    assert!(first.uplink.pcm == noise(6400), "the stand-in heard other audio");
    let [asked] = &first.tools[..] else { panic!("{:?}", first.tools) };
    let answer = asked.answer.as_ref().map(|(_, response)| response);
    assert_eq!(answer, Some(&json!({ "output": { "free_times": ["09:00"] } })));

    let call = json!({ "id": asked.id, "name": "free_times", "args": { "day": "2026-12-01" } });
    assert_eq!(heard_first.calls, [call]);
    assert!(heard_first.pcm() == spoken(first), "the client heard other audio");
    assert!(heard_second.pcm() == spoken(second), "the client heard other audio when resumed");
    assert_eq!(heard_first.pcm().len(), 2 * 9600);
    assert_eq!(heard_second.pcm().len(), 9600);
    assert_eq!((&*heard_first.said, &*heard_second.said), ("Good morning.", "As I said."));
    assert_eq!(heard_first.heard, "What is free?");
    assert_eq!(heard_first.go_away.as_deref(), Some("9.5s"));
}

#[test]
fn google_genai_holds_a_conversation_with_the_stand_in() {
    judge_stand_in(Client::Python, Credential::KeyHeader);
}

#[test]
fn google_genai_of_javascript_holds_a_conversation_with_the_stand_in() {
    judge_stand_in(Client::JavaScript, Credential::KeyQuery);
}

/// Judges a conversation with the demo agent: greeted, interrupted, repeated, served by tools,
/// taken up again.
fn judge_demo(client: Client) {
    let demo = vocaris::demo::start().unwrap();
    let address = format!("{}:{}", demo.url().host, demo.url().port).parse().unwrap();
    let front = front::start(address, 2).unwrap();
    let server = Server {
        origin: front.origin,
        ca_pem: &front.ca_pem,
        model: MODEL,
        key: "no-key-is-asked-for",
    };
    let tools = [tool("find_appointment", &[]), tool("cancel_appointment", &["reference"])];
    let plan = json!({
        "config": config(&tools),
        "acts": [
            { "content": "Greet the caller." },
            { "await": "output_transcription" },
            { "noise_ms": 400 },
            { "await": "interrupted" },
            { "await": "turn_complete" },
            { "silence_ms": 1000 },
            { "await": "input_transcription" },
            { "await": "generation_complete" },
            { "await": "turn_complete" },
            { "text": "2" },
            { "await": "tool_call" },
            { "answer": { "output": { "ok": true, "reference": "R-17" } } },
            { "await": "tool_call" },
            { "answer": { "output": { "ok": true } } },
            { "await": "turn_complete" },
            { "await": "turn_complete" },
            { "await": "handle" },
            { "resume": true },
            { "content": "The call goes on." },
            { "await": "generation_complete" },
        ],
    });
    let Some(told) = client.converse(&server, &plan) else { return };
    let [first, second] = &told[..] else { panic!("{told:?}") };
    assert!(first.said.starts_with("Hello"), "{}", first.said);
    assert!(first.heard.contains("s of speech"), "{}", first.heard);
    assert!(first.said.ends_with("Your appointment is cancelled."), "{}", first.said);
    let names: Vec<&str> = first.calls.iter().filter_map(|call| call["name"].as_str()).collect();
    assert_eq!(names, ["find_appointment", "cancel_appointment"]);
    assert_eq!(first.calls[1]["args"], json!({ "reference": "R-17" }));
    assert!(first.pcm().len() > 24_000, "{:?}", first.events);
    assert!(second.said.starts_with("You are back."), "{}", second.said);
    assert!(second.pcm().len() > 24_000, "{:?}", second.events);
}

#[test]
fn google_genai_holds_a_conversation_with_the_demo_agent() {
    judge_demo(Client::Python);
}

#[test]
fn google_genai_of_javascript_holds_a_conversation_with_the_demo_agent() {
    judge_demo(Client::JavaScript);
}
