//! The stand-in as a client of the service would see it: over TLS, through tungstenite.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use loadtest::clock::{Clock, MILLIS, SECONDS};
use loadtest::gemini::protocol::Complaint;
use loadtest::gemini::script::{Handshake, Opcode, Script, Speech, Step};
use loadtest::gemini::server::{PATH, StandIn, StandInConfig};
use loadtest::gemini::session::{SessionRecord, Spoken};
use loadtest::net::link::Closing;
use loadtest::signal::ModelVoice;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A read that takes longer than this has hung.
const HUNG: Duration = Duration::from_secs(60);

fn start(script: Script) -> StandIn {
    StandIn::start(Clock::start(), StandInConfig::local(script)).unwrap()
}

/// Connects with a path and a key; the HTTP status where the answer is not 101.
fn connect(stand_in: &StandIn, path: &str, key: &str) -> Result<WebSocket<Tls>, u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(stand_in.ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let port = stand_in.url.rsplit(':').next().unwrap().parse().unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(HUNG)).unwrap();
    let uri = format!("{}{path}", stand_in.url).parse().unwrap();
    let request = ClientRequestBuilder::new(uri).with_header("x-goog-api-key", key);
    match tungstenite::client(request, StreamOwned::new(tls, socket)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("neither accepted nor refused: {error}"),
    }
}

fn setup() -> Value {
    json!({ "setup": {
        "model": "models/gemini-3.8-live",
        "generationConfig": { "responseModalities": ["AUDIO"] },
        "sessionResumption": {},
    }})
}

/// A session that has been set up; its first message has been read.
fn open(stand_in: &StandIn) -> WebSocket<Tls> {
    let mut socket = connect(stand_in, PATH, "stand-in-key").unwrap();
    say(&mut socket, &setup());
    let (first, _) = read(&mut socket);
    assert!(first["setupComplete"].is_object(), "{first}");
    socket
}

fn say(socket: &mut WebSocket<Tls>, message: &Value) {
    socket.send(Message::text(message.to_string())).unwrap();
}

/// The next message, and whether it came in a binary frame.
fn read(socket: &mut WebSocket<Tls>) -> (Value, bool) {
    match socket.read().unwrap() {
        Message::Text(text) => (serde_json::from_str(&text).unwrap(), false),
        Message::Binary(bytes) => (serde_json::from_slice(&bytes).unwrap(), true),
        other => panic!("expected a message, got {other:?}"),
    }
}

/// Reads until a message fits.
fn read_until(socket: &mut WebSocket<Tls>, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        all.push(read(socket).0);
        if all.last().is_some_and(&fits) {
            return all;
        }
    }
}

/// Reads until the close frame, and returns it.
fn read_close(socket: &mut WebSocket<Tls>) -> CloseFrame {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            return frame.expect("a close with a code");
        }
    }
}

fn record(stand_in: &StandIn) -> SessionRecord {
    stand_in.next_record(HUNG).expect("the session has ended")
}

#[test]
fn sessions_answer_in_text_and_binary_frames_in_turn() {
    let stand_in = start(Script::listen());
    for binary in [false, true, false] {
        let mut socket = connect(&stand_in, PATH, "stand-in-key").unwrap();
        say(&mut socket, &setup());
        let (message, came_binary) = read(&mut socket);
        assert!(message["setupComplete"].is_object());
        assert_eq!(came_binary, binary);
        let (update, _) = read(&mut socket);
        assert_eq!(update["sessionResumptionUpdate"]["resumable"], true);
    }
}

#[test]
fn wrong_path_and_wrong_key_are_refused_before_the_upgrade() {
    let stand_in = start(Script::listen());
    assert_eq!(connect(&stand_in, "/ws/other", "stand-in-key").unwrap_err(), 404);
    assert_eq!(record(&stand_in).complaints, [Complaint::Path("/ws/other".into())]);
    assert_eq!(connect(&stand_in, PATH, "guess").unwrap_err(), 403);
    assert_eq!(record(&stand_in).complaints, [Complaint::Key]);
}

#[test]
fn an_upgrade_can_be_refused_with_any_status() {
    for status in [400, 401, 429, 503] {
        let mut script = Script::listen();
        script.handshake = Handshake::Refuse { status, body: "no".into() };
        assert_eq!(connect(&start(script), PATH, "stand-in-key").unwrap_err(), status);
    }
}

#[test]
fn a_setup_the_model_would_refuse_is_closed_with_1007() {
    let stand_in = start(Script::listen());
    let mut socket = connect(&stand_in, PATH, "stand-in-key").unwrap();
    let mut bad = setup();
    bad["setup"]["generationConfig"]["thinkingConfig"] = json!({ "thinkingLevel": "LOW" });
    say(&mut socket, &bad);
    assert_eq!(u16::from(read_close(&mut socket).code), 1007);
    drop(socket);
    let complaint = Complaint::Field("thinkingConfig".into());
    assert_eq!(record(&stand_in).complaints, [complaint]);
}

#[test]
fn a_turn_arrives_whole_however_its_messages_are_cut() {
    let mut speech = Speech::burst(500, 4.0);
    speech.chunk_samples = vec![1, 4801, 960];
    speech.transcript = Some("Good morning.".into());
    let mut script = Script::converse(1, speech, 0);
    script.framing.fragment_bytes = Some(100);
    script.framing.pretty = true;
    script.framing.opcode = Opcode::Binary;
    let stand_in = start(script);
    let mut socket = open(&stand_in);
    say(&mut socket, &json!({ "clientContent": { "turns": [], "turnComplete": true } }));
    let messages =
        read_until(&mut socket, |message| message["serverContent"]["turnComplete"] == true);
    let pcm: Vec<i16> = messages.iter().flat_map(audio).collect();
    let mut expected = vec![0; 12_000];
    ModelVoice::new(1, 0, 0, 12_000).speak(0, &mut expected);
    assert!(pcm == expected, "{} samples of {}", pcm.len(), expected.len());
    let words = messages.iter().find_map(|m| m["serverContent"]["outputTranscription"].as_object());
    assert_eq!(words.unwrap()["text"], "Good morning.");
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let record = record(&stand_in);
    assert!(record.complaints.is_empty());
    assert!(matches!(record.ending, Some(Closing::Frame { .. })));
    let Spoken::Turn(turn) = &record.spoken[0] else { panic!("a turn was said") };
    assert_eq!(turn.said(), 12_000);
    assert!(turn.complete);
}

fn audio(message: &Value) -> Vec<i16> {
    use base64::Engine as _;
    let part = &message["serverContent"]["modelTurn"]["parts"][0];
    let Some(data) = part["inlineData"]["data"].as_str() else { return Vec::new() };
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    bytes.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
}

#[test]
fn caller_audio_is_heard_sample_for_sample() {
    use base64::Engine as _;
    let stand_in = start(Script::listen());
    let mut socket = open(&stand_in);
    let pcm: Vec<i16> = (0..3200).map(|n| n * 7 - 9000).collect();
    for frame in pcm.chunks(320) {
        let bytes: Vec<u8> = frame.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let audio = json!({ "mimeType": "audio/pcm;rate=16000", "data": data });
        say(&mut socket, &json!({ "realtimeInput": { "audio": audio } }));
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let record = record(&stand_in);
    assert_eq!(record.uplink.pcm, pcm);
    assert_eq!(record.uplink.arrivals.len(), 10);
}

#[test]
fn go_away_is_followed_by_a_close_of_any_code() {
    let script = Script::of(vec![
        Step::GoAway { time_left: "0s".into(), enforced: false },
        Step::Pause(10 * MILLIS),
        Step::Close { code: 1011, reason: "Deadline expired".into() },
    ]);
    let stand_in = start(script);
    let mut socket = open(&stand_in);
    let told = read_until(&mut socket, |message| message["goAway"].is_object());
    assert_eq!(told.last().unwrap()["goAway"]["timeLeft"], "0s");
    let close = read_close(&mut socket);
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1011, "Deadline expired"));
}

#[test]
fn garbage_of_every_kind_can_be_sent() {
    let mut script = Script::of(vec![
        Step::SendText("{\"serverContent\":".into()),
        Step::SendBinary(vec![0xFF, 0xFE]),
        // Opcode 0xF does not exist.
        Step::SendBytes(vec![0x8F, 0x00]),
    ]);
    script.updates_every = None;
    let stand_in = start(script);
    let mut socket = open(&stand_in);
    assert_eq!(socket.read().unwrap(), Message::text("{\"serverContent\":"));
    assert_eq!(socket.read().unwrap(), Message::binary(vec![0xFF, 0xFE]));
    assert!(matches!(socket.read(), Err(Error::Protocol(_))));
}

#[test]
fn a_reset_is_a_reset_and_not_a_close() {
    let stand_in = start(Script::of(vec![Step::Reset]));
    let mut socket = open(&stand_in);
    loop {
        match socket.read() {
            Ok(Message::Close(_)) => panic!("a reset has no close frame"),
            Ok(_) => {}
            Err(Error::Io(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                return;
            }
            Err(error) => panic!("not a reset: {error}"),
        }
    }
}

#[test]
fn a_withheld_setup_complete_and_a_stall_say_nothing() {
    let mut withheld = Script::listen();
    withheld.setup_after = None;
    for script in [withheld, Script::of(vec![Step::Stall])] {
        let stand_in = start(script.clone());
        let mut socket = connect(&stand_in, PATH, "stand-in-key").unwrap();
        say(&mut socket, &setup());
        if script.setup_after.is_some() {
            read_until(&mut socket, |message| message["setupComplete"].is_object());
        }
        // Nothing comes for as long as the stand-in lives; its end is the end of the connection.
        assert!(stand_in.next_record(Duration::from_nanos(20 * MILLIS)).is_none());
        let records = stand_in.stop().unwrap();
        assert_eq!(records.len(), 1);
        assert!(records[0].ending.is_none());
        while socket.read().is_ok() {}
    }
}

#[test]
fn a_ping_is_answered_and_noted() {
    let stand_in = start(Script::listen());
    let mut socket = open(&stand_in);
    socket.send(Message::Ping(vec![1, 2].into())).unwrap();
    loop {
        if let Message::Pong(payload) = socket.read().unwrap() {
            assert_eq!(payload.as_ref(), [1, 2]);
            break;
        }
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert_eq!(record(&stand_in).complaints, [Complaint::Ping]);
}

#[test]
fn a_pong_can_be_late() {
    let mut script = Script::listen();
    // Three updates come before it, unless the stand-in gets no time for a second.
    script.pong_after = Some(1200 * MILLIS);
    script.updates_every = Some(50 * MILLIS);
    let stand_in = start(script);
    let mut socket = open(&stand_in);
    let clock = Clock::start();
    socket.send(Message::Ping(vec![7].into())).unwrap();
    let mut before = 0;
    while !matches!(socket.read().unwrap(), Message::Pong(payload) if payload.as_ref() == [7]) {
        before += 1;
    }
    assert!(clock.now() >= 1200 * MILLIS, "it was held back");
    assert!(before >= 3, "and nothing else was");
}

#[test]
fn the_seconds_of_a_script_are_seconds() {
    assert_eq!(Speech::real_time(1000).duration(), SECONDS);
    assert_eq!(Speech::real_time(1000).planned(24_000), SECONDS - 160 * MILLIS);
}
