//! A model and a tool on loopback that outlive the relay: they tell what they were asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::harness::{PATIENCE, Stream, until};

/// A Gemini Live server: it speaks when it is spoken to in words.
pub(crate) struct Model {
    pub(crate) url: String,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// Of each session, oldest first.
    setups: Mutex<Vec<Value>>,
    /// Messages other than audio, each with its session.
    told: Mutex<Vec<(usize, Value)>>,
    /// Tools to be called, by whichever session hears audio first.
    to_call: Mutex<Vec<Value>>,
}

impl Model {
    pub(crate) fn start() -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let known = Arc::new(Known::default());
        let all = known.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let known = all.clone();
                thread::spawn(move || {
                    // A session ends with its connection.
                    let _ = session(socket.unwrap(), &known);
                });
            }
        });
        Model { url, known }
    }

    /// The handle each session was to go on by.
    pub(crate) fn handles(&self) -> Vec<Option<String>> {
        let setups = self.known.setups.lock().unwrap();
        let handle = |setup: &Value| {
            setup["setup"]["sessionResumption"]["handle"].as_str().map(str::to_owned)
        };
        setups.iter().map(handle).collect()
    }

    /// What a session was told, other than audio, that has these words in it.
    pub(crate) fn told(&self, session: usize, words: &str) -> Vec<Value> {
        let told = self.known.told.lock().unwrap();
        let of_it =
            told.iter().filter(|(of, text)| *of == session && text.to_string().contains(words));
        of_it.map(|(_, text)| text.clone()).collect()
    }

    /// The next session that hears anything calls a tool.
    pub(crate) fn will_call(&self, id: &str) {
        let call = json!({"id": id, "name": "order_taxi", "args": {"at": "nine"}});
        self.known.to_call.lock().unwrap().push(call);
    }

    /// Has the model call a tool, as soon as it hears anything of what `stream` says; then what it
    /// was answered.
    pub(crate) fn call_tool(&self, id: &str, stream: &mut Stream) -> Value {
        self.will_call(id);
        let answer = || {
            let told = self.known.told.lock().unwrap();
            told.iter().find_map(|(_, text)| {
                let answers = text["toolResponse"]["functionResponses"].as_array()?;
                answers.iter().find(|answer| answer["id"] == id).cloned()
            })
        };
        until("the tool's answer", || {
            // At the pace of a phone.
            thread::park_timeout(Duration::from_millis(20));
            stream.speak().expect("the call goes on");
            answer().is_some()
        });
        answer().unwrap()
    }
}

fn session(socket: TcpStream, known: &Known) -> Result<(), tungstenite::Error> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket =
        tungstenite::accept(socket).map_err(|_| tungstenite::Error::ConnectionClosed)?;
    let setup = read(&mut socket)?;
    let number = {
        let mut setups = known.setups.lock().unwrap();
        setups.push(setup);
        setups.len() - 1
    };
    say(&mut socket, &json!({"setupComplete": {}}))?;
    let update = json!({"newHandle": format!("handle-{number}"), "resumable": true});
    say(&mut socket, &json!({"sessionResumptionUpdate": update}))?;
    loop {
        let message = read(&mut socket)?;
        if message["realtimeInput"]["audio"].is_object() {
            let call = known.to_call.lock().unwrap().pop();
            if let Some(call) = call {
                say(&mut socket, &json!({"toolCall": {"functionCalls": [call]}}))?;
            }
            continue;
        }
        known.told.lock().unwrap().push((number, message));
        let text = json!({"text": "Hello, this is the taxi office."});
        say(&mut socket, &json!({"serverContent": {"outputTranscription": text}}))?;
        let audio = json!({"mimeType": "audio/pcm;rate=24000", "data": voice()});
        let parts = json!({"parts": [{"inlineData": audio}]});
        say(&mut socket, &json!({"serverContent": {"modelTurn": parts}}))?;
        say(&mut socket, &json!({"serverContent": {"turnComplete": true}}))?;
    }
}

fn read(socket: &mut WebSocket<TcpStream>) -> Result<Value, tungstenite::Error> {
    loop {
        let message = socket.read()?;
        if let Message::Text(_) | Message::Binary(_) = message {
            return Ok(serde_json::from_slice(&message.into_data()).unwrap());
        }
    }
}

fn say(socket: &mut WebSocket<TcpStream>, message: &Value) -> Result<(), tungstenite::Error> {
    socket.send(Message::text(message.to_string()))
}

/// A second that rises and falls, as base64 of PCM16.
fn voice() -> String {
    let sample = |n: u32| {
        let n = f64::from(n);
        ((n * 0.07).sin() * (n * 0.002).sin() * 9_000.0) as i16
    };
    let pcm: Vec<u8> = (0..24_000).flat_map(|n| sample(n).to_le_bytes()).collect();
    let mut text = Vec::new();
    vocaris::wire::base64::encode_append(&pcm, &mut text);
    String::from_utf8(text).unwrap()
}

/// A tool's service: it counts.
pub(crate) struct Service {
    pub(crate) url: String,
    times: Arc<AtomicUsize>,
}

impl Service {
    pub(crate) fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/taxi", listener.local_addr().unwrap());
        let times = Arc::new(AtomicUsize::new(0));
        let counted = times.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                while !is_whole(&request) {
                    match socket.read(&mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(length) => request.extend_from_slice(&piece[..length]),
                    }
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let body = "{\"taxi\":\"number seven\"}";
                let _ = write!(
                    socket,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Service { url, times }
    }

    /// How often it was asked.
    pub(crate) fn times(&self) -> usize {
        self.times.load(Ordering::SeqCst)
    }
}

/// Whether head and body are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
