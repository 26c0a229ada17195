//! The demo agent as a client meets it: over a real socket, in real time.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};
use vocaris::demo::{self, Demo};
use vocaris::limits::DEMO_SESSIONS_MAX;
use vocaris::wire::gemini::{greeting_json, request_target, write_audio_json};

const MODEL: &str = "models/gemini-3.8-live";

struct Client(WebSocket<MaybeTlsStream<TcpStream>>);

impl Client {
    fn connected(demo: &Demo) -> Client {
        let url = format!("{}{}", demo.url(), request_target("v1beta"));
        Client(tungstenite::connect(url).unwrap().0)
    }

    fn set_up(demo: &Demo) -> Client {
        let mut client = Client::connected(demo);
        client.tell(&json!({"setup": {"model": MODEL, "sessionResumption": {},
            "inputAudioTranscription": {}, "outputAudioTranscription": {}}}));
        assert_eq!(client.hear(), json!({"setupComplete": {}}));
        client
    }

    fn tell(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn ask_for_greeting(&mut self) {
        self.0.send(Message::text(greeting_json(MODEL, "Greet the caller."))).unwrap();
    }

    fn play(&mut self, pcm: &[i16]) {
        for frame in pcm.chunks(320) {
            let bytes: Vec<u8> = frame.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let mut message = Vec::new();
            write_audio_json(16_000, &bytes, &mut message);
            self.0.send(Message::text(String::from_utf8(message).unwrap())).unwrap();
        }
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(self.0.read().unwrap().to_text().unwrap()).unwrap()
    }

    /// Everything up to and with the first message whose `serverContent` has `field`.
    fn hear_until(&mut self, field: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hear());
            if heard.last().is_some_and(|message| !message["serverContent"][field].is_null()) {
                return heard;
            }
        }
    }

    fn close_code(&mut self) -> CloseCode {
        loop {
            if let Message::Close(close) = self.0.read().unwrap() {
                return close.unwrap().code;
            }
        }
    }
}

fn audio(messages: &[Value]) -> Vec<f64> {
    let mut bytes = Vec::new();
    for message in messages {
        let blob = &message["serverContent"]["modelTurn"]["parts"][0]["inlineData"];
        let text = blob["data"].as_str().unwrap_or_default();
        vocaris::wire::base64::decode_append(text.as_bytes(), &mut bytes).unwrap();
    }
    let samples = bytes.as_chunks::<2>().0.iter();
    samples.map(|&pair| f64::from(i16::from_le_bytes(pair))).collect()
}

fn words(messages: &[Value], field: &str) -> String {
    let texts = messages.iter().filter_map(|m| m["serverContent"][field]["text"].as_str());
    texts.collect()
}

/// A sound that never repeats itself.
fn sweep(rate_hz: f64, seconds: f64) -> Vec<f64> {
    let wave = |n: usize| {
        let t = n as f64 / rate_hz;
        6000.0 * (std::f64::consts::TAU * t * (300.0 + 500.0 * t)).sin()
    };
    (0..(rate_hz * seconds) as usize).map(wave).collect()
}

fn pcm(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|&sample| sample as i16).collect()
}

/// How alike two sounds are where they fit best: 1 is the same but for loudness.
fn likeness(sound: &[f64], heard: &[f64]) -> f64 {
    let energy = |x: &[f64]| x.iter().map(|a| a * a).sum::<f64>();
    let alike = heard.windows(sound.len()).map(|window| {
        let product = window.iter().zip(sound).map(|(a, b)| a * b).sum::<f64>();
        product / (energy(window) * energy(sound)).sqrt().max(1.0)
    });
    alike.fold(0.0, f64::max)
}

#[test]
fn it_greets_in_words_and_sound_when_asked_to() {
    let demo = demo::start().unwrap();
    let mut client = Client::set_up(&demo);
    client.ask_for_greeting();
    let heard = client.hear_until("generationComplete");
    let seconds = audio(&heard).len() as f64 / 24_000.0;
    assert!((2.0..12.0).contains(&seconds), "{seconds} s");
    assert!(words(&heard, "outputTranscription").contains("repeat"));
}

#[test]
fn it_repeats_what_it_heard_once_the_caller_stops() {
    let demo = demo::start().unwrap();
    let mut client = Client::set_up(&demo);
    client.play(&pcm(&sweep(16_000.0, 0.5)));
    client.play(&[0; 16_000]);
    let heard = client.hear_until("generationComplete");
    assert!(words(&heard, "inputTranscription").ends_with("s of speech)"));
    let alike = likeness(&sweep(24_000.0, 0.5)[4800..7200], &audio(&heard));
    assert!(alike > 0.99, "{alike}");
}

#[test]
fn it_falls_silent_when_the_caller_speaks_over_it() {
    let demo = demo::start().unwrap();
    let mut client = Client::set_up(&demo);
    client.ask_for_greeting();
    client.hear_until("modelTurn");
    client.play(&pcm(&sweep(16_000.0, 0.4)));
    client.hear_until("interrupted");
    assert_eq!(client.hear()["serverContent"]["turnComplete"], true);
    assert!(client.hear().get("sessionResumptionUpdate").is_some(), "and nothing else");
}

#[test]
fn it_does_not_answer_silence() {
    let demo = demo::start().unwrap();
    let mut client = Client::set_up(&demo);
    client.play(&[0; 5 * 16_000]);
    client.ask_for_greeting();
    let heard = client.hear_until("generationComplete");
    assert_eq!(words(&heard, "inputTranscription"), "");
    assert!(words(&heard, "outputTranscription").contains("repeat"));
}

#[test]
fn a_first_message_other_than_setup_ends_the_session() {
    let demo = demo::start().unwrap();
    let mut client = Client::connected(&demo);
    client.ask_for_greeting();
    assert_eq!(client.close_code(), CloseCode::Invalid);
}

#[test]
fn a_session_too_many_is_asked_to_come_back_later() {
    let demo = demo::start().unwrap();
    let held: Vec<_> = (0..DEMO_SESSIONS_MAX).map(|_| Client::set_up(&demo)).collect();
    assert_eq!(Client::connected(&demo).close_code(), CloseCode::Again);
    drop(held);
}

#[test]
fn sessions_are_closed_when_the_demo_stops() {
    let demo = demo::start().unwrap();
    let mut client = Client::set_up(&demo);
    drop(demo);
    assert_eq!(client.close_code(), CloseCode::Away);
}
