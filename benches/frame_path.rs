//! The cost account of one 20 ms frame each way, station by station, and of the whole walk.
//!
//! In:       `cargo bench --bench frame_path` for times; `-- --instructions` for instructions,
//!           counted by callgrind, where valgrind is installed; a word more: stations with that in
//!           their name.
//! Out:      a row a station. Times are the fastest of [`ROUNDS`] rounds. Instructions are the
//!           difference of a run of twice as many frames and one of so many, so that what happens
//!           once costs nothing; valgrind shows a CPU without AVX-512, so they are those of AVX2.
//! Bounds:   [`ROUNDS`] rounds of [`FRAMES`] frames.
//! Not here: sockets and the event loop: system calls and time are the load test's.
//!
//! The stations are those a frame passes, each by itself and in its own loop; "whole" is the call's
//! own code, which holds all of them but TLS, timers and histograms, and the sense of the messages
//! besides. Each frame is copied to where a read would have put it; that is part of the figures.
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};
use vocaris::buf::SendBuf;
use vocaris::call::{Call, CallId, Door, LineTerms, Settings, Workbench};
use vocaris::clock::Nanos;
use vocaris::config::Timers;
use vocaris::limits::PHONE_MESSAGE_MAX_BYTES;
use vocaris::metrics::{Histograms, Stage};
use vocaris::wire::ws::{Event, MessageReader, Opcode, Role, apply_mask, write_frame};
use vocaris::wire::{base64, dialect, gemini, twilio};
use vocaris::worker::timers::{Entry, Timers as Wheel};

/// Frames of one round.
const FRAMES: usize = 2_000;
/// Rounds, of which the fastest counts.
const ROUNDS: usize = 40;
/// Different frames, used in turn.
const DIFFERENT: usize = 50;
/// What a frame lasts.
const FRAME: Duration = Duration::from_millis(20);

/// One row: its name, and what runs it over so many frames and tells how long they took.
type Station = (&'static str, fn(usize) -> Duration);

const STATIONS: [Station; 19] = [
    ("up    TLS, decrypt (wss)", |n| tls(n, Way::In, &phone_frame(0))),
    ("up    WebSocket, unmask", |n| websocket(n, Role::Client, phone_frame)),
    ("up    carrier message", |n| {
        scan(n, phone_json, |text| {
            let decoded = twilio::decode(text).expect("a message");
            black_box(&decoded);
        })
    }),
    ("up    base64, 216 characters", |n| decode64(n, 160)),
    ("up    mu-law decode", mulaw_decode),
    ("up    resample 8 to 16 kHz", |n| resample(n, Conversion::Up8To16, 160)),
    ("up    model message, mask", model_message),
    ("up    TLS, encrypt", |n| tls(n, Way::Out, &model_frame())),
    ("down  TLS, decrypt", |n| tls(n, Way::In, &agent_frame(0))),
    ("down  WebSocket", |n| websocket(n, Role::Server, agent_frame)),
    ("down  model message", |n| {
        scan(
            n,
            |_| agent_json(),
            |text| {
                let decoded = gemini::decode(text).expect("a message");
                black_box(decoded.audio_parts().count());
            },
        )
    }),
    ("down  base64, 1,280 characters", |n| decode64(n, 960)),
    ("down  resample 24 to 8 kHz", |n| resample(n, Conversion::Down24To8, 480)),
    ("down  mu-law encode", mulaw_encode),
    ("down  carrier message", carrier_message),
    ("both  whole, a frame each way", |n| whole(n, 1)),
    ("both  whole, 400 calls in turn", |n| whole(n, 400)),
    ("both  timer set and fired", timer),
    ("both  latency recorded", histogram),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench").peekable();
    if words.next_if(|word| word == "--one").is_some() {
        let (name, frames) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (Some((_, run)), Ok(frames)) =
            (STATIONS.iter().find(|(it, _)| *it == name), frames.parse())
        else {
            eprintln!("--one STATION FRAMES");
            return ExitCode::from(2);
        };
        run(frames);
        return ExitCode::SUCCESS;
    }
    let by_callgrind = words.next_if(|word| word == "--instructions").is_some();
    let wanted = words.next().unwrap_or_default();
    let unit = if by_callgrind { "instructions" } else { "ns" };
    println!("{:<34} {unit:>14} a frame", "station");
    for (name, run) in STATIONS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let figure = if by_callgrind { instructions(name) } else { Ok(nanoseconds(run)) };
        match figure {
            Ok(figure) => println!("{name:<34} {figure:>14.0}"),
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The time of one frame in the fastest round.
fn nanoseconds(run: fn(usize) -> Duration) -> f64 {
    let fastest = (0..ROUNDS).map(|_| run(FRAMES)).min().expect("some rounds");
    fastest.as_nanos() as f64 / FRAMES as f64
}

/// The instructions of one frame.
fn instructions(name: &str) -> Result<f64, String> {
    let [short, long] = [FRAMES, 2 * FRAMES].map(|frames| counted(name, frames));
    Ok((long? - short?) as f64 / FRAMES as f64)
}

/// The instructions of this program when it runs one station.
fn counted(name: &str, frames: usize) -> Result<i64, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    if name.contains("TLS") {
        valgrind.arg("--toggle-collect=*ours_alone*");
    }
    let output = valgrind
        .arg(program)
        .args(["--one", name, &frames.to_string()])
        .output()
        .map_err(|why| format!("valgrind: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{name}: valgrind counted nothing:\n{said}")),
    }
}

/// Times `frame` over so many frames.
fn timed(frames: usize, mut frame: impl FnMut(usize)) -> Duration {
    let began = Instant::now();
    for number in 0..frames {
        frame(number);
    }
    began.elapsed()
}

/// Bytes that compress and repeat like nothing.
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    (0..bytes).map(|_| random.u8(..)).collect()
}

fn base64_of(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode_append(bytes, &mut text);
    String::from_utf8(text).expect("ASCII")
}

fn framed(from: Role, json: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(from, Opcode::Text, json.as_bytes(), [0x31, 0x9c, 0x5e, 0xf7], &mut bytes);
    bytes
}

/// 20 ms of a caller, as the carrier says it.
fn phone_json(number: usize) -> String {
    let (ms, payload) = (number * 20, base64_of(&noise(number, 160)));
    format!(
        r#"{{"event":"media","sequenceNumber":"{number}","media":{{"track":"inbound","chunk":"{number}","timestamp":"{ms}","payload":"{payload}"}},"streamSid":"MZ0123456789abcdef0123456789abcdef"}}"#
    )
}

fn phone_frame(number: usize) -> Vec<u8> {
    framed(Role::Client, &phone_json(number))
}

/// 20 ms of the model, as it says them.
fn agent_json() -> String {
    let data = base64_of(&noise(7, 960));
    format!(
        r#"{{"serverContent":{{"modelTurn":{{"parts":[{{"inlineData":{{"mimeType":"audio/pcm;rate=24000","data":"{data}"}}}}]}}}}}}"#
    )
}

fn agent_frame(_: usize) -> Vec<u8> {
    framed(Role::Server, &agent_json())
}

/// 20 ms to the model, as we say them.
fn model_frame() -> Vec<u8> {
    let mut json = Vec::new();
    gemini::write_audio_json(16_000, &noise(3, 640), &mut json);
    framed(Role::Client, std::str::from_utf8(&json).expect("ASCII"))
}

fn websocket(frames: usize, from: Role, frame: fn(usize) -> Vec<u8>) -> Duration {
    let messages: Vec<_> = (0..DIFFERENT).map(frame).collect();
    let mut reader = MessageReader::new(from, PHONE_MESSAGE_MAX_BYTES);
    let mut socket = Vec::with_capacity(4096);
    timed(frames, |number| {
        socket.clear();
        socket.extend_from_slice(&messages[number % DIFFERENT]);
        match reader.next(&mut socket) {
            Ok((Event::Text(text), _)) => {
                black_box(text);
            }
            other => panic!("{other:?}"),
        }
    })
}

fn scan(frames: usize, json: fn(usize) -> String, decode: fn(&str)) -> Duration {
    let messages: Vec<_> = (0..DIFFERENT).map(json).collect();
    timed(frames, |number| decode(black_box(&messages[number % DIFFERENT])))
}

fn decode64(frames: usize, bytes: usize) -> Duration {
    let text = base64_of(&noise(1, bytes));
    let mut out = Vec::with_capacity(2 * bytes);
    timed(frames, |_| {
        out.clear();
        base64::decode_append(black_box(text.as_bytes()), &mut out).expect("base64");
    })
}

fn kernels() -> Kernels {
    Kernels::detect(Isa::HIGHEST)
}

fn mulaw_decode(frames: usize) -> Duration {
    let (kernels, code, mut pcm) = (kernels(), noise(1, 160), [0; 160]);
    timed(frames, |_| kernels.mulaw_decode(black_box(&code), black_box(&mut pcm)))
}

fn mulaw_encode(frames: usize) -> Duration {
    let (kernels, mut code) = (kernels(), [0; 160]);
    let pcm: Vec<i16> = noise(1, 160).iter().map(|&byte| i16::from(byte) * 99).collect();
    timed(frames, |_| kernels.mulaw_encode(black_box(&pcm), black_box(&mut code)))
}

fn resample(frames: usize, conversion: Conversion, samples: usize) -> Duration {
    let kernels = kernels();
    let mut resampler = Resampler::new(conversion, FilterSet::LinearPhase);
    let pcm: Vec<i16> = noise(1, samples).iter().map(|&byte| i16::from(byte) * 99).collect();
    let mut out = vec![0; resampler.output_len_max(samples)];
    timed(frames, |_| {
        resampler.process(&kernels, black_box(&pcm), black_box(&mut out));
    })
}

/// The message to the model: header, JSON around base64 written in place, mask.
fn model_message(frames: usize) -> Duration {
    let (pcm, mut out) = (noise(1, 640), Vec::with_capacity(4096));
    timed(frames, |_| {
        out.clear();
        gemini::write_audio_json(16_000, black_box(&pcm), &mut out);
        apply_mask([1, 2, 3, 4], 0, &mut out);
    })
}

/// The message to the carrier.
fn carrier_message(frames: usize) -> Duration {
    let outbound = dialect::Outbound::new("MZ0123456789abcdef0123456789abcdef");
    let (audio, mut out) = (noise(1, 160), Vec::with_capacity(4096));
    timed(frames, |_| {
        out.clear();
        outbound.write_media_json(black_box(&audio), &mut out);
    })
}

/// Calls in full swing, in which both sides speak, one frame of each in turn: of many, each finds
/// little of what it needs in the cache.
fn whole(frames: usize, calls: usize) -> Duration {
    let mut now = Nanos::from_millis(1);
    let mut bench = Workbench::new(kernels());
    let mut calls: Vec<_> = (0..calls).map(|_| live_call(now, &mut bench)).collect();
    let ups: Vec<_> = (0..DIFFERENT).map(phone_frame).collect();
    let agent = agent_frame(0);
    let mut socket = Vec::with_capacity(4096);
    let step = FRAME / calls.len() as u32;
    timed(frames, |number| {
        now = now.plus(step);
        let turn = number / calls.len();
        let place = number % calls.len();
        let call = &mut calls[place];
        socket.clear();
        socket.extend_from_slice(&ups[turn % DIFFERENT]);
        call.handle_phone_bytes(now, &mut socket, &mut bench);
        socket.clear();
        socket.extend_from_slice(&agent);
        call.handle_agent_bytes(now, &mut socket, &mut bench);
        call.transcode(now, &mut bench);
        sent(call.phone_output(), &mut bench);
        sent(call.agent_output(), &mut bench);
        black_box(call.next_timeout());
    })
}

/// A call whose phone and model are there.
fn live_call(now: Nanos, bench: &mut Workbench) -> Call {
    // The model's audio here is the same again and again, which is no speech.
    let timers = Timers { tone: Duration::ZERO, ..Timers::default() };
    let settings = Settings { timers: Arc::new(timers), ..Settings::default() };
    let mut call = Call::new(now, CallId(1), Door::Twilio, settings, None);
    let start =
        r#"{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"CA1"}}"#;
    call.handle_phone_bytes(now, &mut framed(Role::Client, start), bench);
    let terms = LineTerms { uplink_rate_hz: 16_000, uplink_ms: 20, ..LineTerms::default() };
    call.handle_line(now, &terms);
    while call.poll_request().is_some() {}
    call
}

/// All of it leaves, and its memory is the next one's, as in a worker's turn.
fn sent(output: &mut SendBuf, bench: &mut Workbench) {
    output.consume(output.len_bytes());
    output.settle(|_, _| {});
    output.return_room(&mut bench.rooms);
}

/// A frame's timer: set, and fired in its millisecond, among those of 2,000 calls.
fn timer(frames: usize) -> Duration {
    const CALLS: usize = 2_000;
    let mut wheel = Wheel::new();
    let mut now = Nanos::from_millis(1);
    let entry = |slot, due| Entry { slot, generation: 0, due };
    for slot in 0..CALLS {
        wheel.arm(entry(slot, now.plus(FRAME * slot as u32 / CALLS as u32)));
    }
    let mut due = Vec::with_capacity(CALLS);
    let mut left = frames;
    let began = Instant::now();
    while left > 0 {
        now = now.plus(Duration::from_millis(1));
        wheel.expire(now, &mut due);
        for fired in due.drain(..) {
            wheel.arm(entry(fired.slot, fired.due.plus(FRAME)));
            left = left.saturating_sub(1);
        }
        black_box(wheel.next_due());
    }
    began.elapsed()
}

fn histogram(frames: usize) -> Duration {
    let mut histograms = Histograms::default();
    timed(frames, |number| {
        let latency = Duration::from_nanos(40_000 + (number as u64 * 7_919) % 100_000);
        histograms.record(Stage::Uplink, black_box(latency));
    })
}

/// Which end of TLS is ours.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

/// One message a record through TLS 1.3 with AES-128-GCM: ours alone is timed and counted.
fn tls(frames: usize, way: Way, message: &[u8]) -> Duration {
    let (mut theirs, mut ours) = tls_pair();
    let (mut record, mut plain) = (Vec::with_capacity(8192), vec![0; 8192]);
    let mut spent = Duration::ZERO;
    for _ in 0..frames {
        record.clear();
        match way {
            Way::In => {
                write_record(&mut theirs, message, &mut record);
                spent += ours_alone(&mut || read_record(&record, &mut ours, &mut plain));
            }
            Way::Out => {
                spent += ours_alone(&mut || write_record(&mut ours, message, &mut record));
                read_record(&record, &mut theirs, &mut plain);
            }
        }
    }
    spent
}

/// What of a station is our end: its time, and the only instructions that are counted of it.
#[inline(never)]
fn ours_alone(end: &mut dyn FnMut()) -> Duration {
    let began = Instant::now();
    end();
    began.elapsed()
}

fn write_record(from: &mut Connection, message: &[u8], record: &mut Vec<u8>) {
    from.writer().write_all(message).expect("room");
    while from.wants_write() {
        from.write_tls(record).expect("a vector takes all");
    }
}

fn read_record(mut record: &[u8], to: &mut Connection, plain: &mut [u8]) {
    let mut bytes = 0;
    while !record.is_empty() {
        to.read_tls(&mut record).expect("bytes");
        bytes = to.process_new_packets().expect("a record").plaintext_bytes_to_read();
    }
    to.reader().read_exact(&mut plain[..bytes]).expect("plaintext");
}

/// Two ends that have agreed.
fn tls_pair() -> (Connection, Connection) {
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("a root");
    let key = issued.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..rustls::crypto::aws_lc_rs::default_provider()
    });
    let versions = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("its key");
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut theirs = Connection::Server(ServerConnection::new(Arc::new(server)).expect("a server"));
    let mut ours =
        Connection::Client(ClientConnection::new(Arc::new(client), name).expect("a client"));
    while theirs.is_handshaking() || ours.is_handshaking() || theirs.wants_write() {
        pass_on(&mut ours, &mut theirs);
        pass_on(&mut theirs, &mut ours);
    }
    (theirs, ours)
}

fn pass_on(from: &mut Connection, to: &mut Connection) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("a vector takes all");
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).expect("bytes");
        to.process_new_packets().expect("TLS");
    }
}
