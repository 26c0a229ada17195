//! A frame costs no allocation: counted by an allocator, over a call in full swing. With TLS it
//! costs those of rustls, which are counted here as well.

#[path = "accept_edge/authority.rs"]
mod authority;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authority::{Authority, Secured, secure};
use rustls::version::{TLS12, TLS13};

use dsp::kernels::{Isa, Kernels};
use vocaris::buf::{RecvBuf, SendBuf};
use vocaris::call::{Call, CallId, Door, Keep, LineTerms, Settings, Tape, Workbench};
use vocaris::clock::Nanos;
use vocaris::config::Timers;
use vocaris::net::{Received, Stream, TlsServer};
use vocaris::wire::base64;
use vocaris::wire::ws::{Opcode, Role, write_frame};

/// Frames before counting starts: buffers find their size.
const WARM_UP: usize = 200;
/// Frames counted: 20 s of a call in which both sides speak.
const FRAMES: usize = 1_000;

fn message(from: Role, json: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(from, Opcode::Text, json.as_bytes(), [1, 2, 3, 4], &mut bytes);
    bytes
}

fn base64_of(byte: u8, bytes: usize) -> String {
    let mut text = Vec::new();
    base64::encode_append(&vec![byte; bytes], &mut text);
    String::from_utf8(text).unwrap()
}

/// One 20 ms frame of the carrier.
fn phone_frame(number: usize) -> Vec<u8> {
    let (timestamp, payload) = (number * 20, base64_of(0x55, 160));
    message(
        Role::Client,
        &format!(
            r#"{{"event":"media","sequenceNumber":"{number}","streamSid":"MZ1","media":{{"track":"inbound","chunk":"{number}","timestamp":"{timestamp}","payload":"{payload}"}}}}"#
        ),
    )
}

/// 20 ms of the model.
fn agent_chunk() -> Vec<u8> {
    let data = base64_of(7, 960);
    message(
        Role::Server,
        &format!(
            r#"{{"serverContent":{{"modelTurn":{{"parts":[{{"inlineData":{{"mimeType":"audio/pcm;rate=24000","data":"{data}"}}}}]}}}}}}"#
        ),
    )
}

/// One frame each way, as a worker moves it.
fn turn(call: &mut Call, now: Nanos, up: &mut [u8], down: &mut [u8], bench: &mut Workbench) {
    assert_eq!(call.handle_phone_bytes(now, up, bench), up.len());
    assert_eq!(call.handle_agent_bytes(now, down, bench), down.len());
    call.transcode(now, bench);
    sent(call.phone_output());
    sent(call.agent_output());
    let _ = call.next_timeout();
}

fn sent(output: &mut SendBuf) {
    output.consume(output.len_bytes());
    output.settle(|_, _| {});
}

/// Reads a tape as the thread that records does, and throws it away.
fn drain(tape: &mut Tape, audio: &mut Vec<u8>) -> usize {
    let mut bytes = 0;
    while tape.next(audio).is_some() {
        bytes += audio.len();
    }
    bytes
}

#[test]
fn a_frame_costs_no_allocation_either_way() {
    frames_cost_no_allocation(false, false);
}

#[test]
fn a_frame_that_is_recorded_costs_no_allocation_either() {
    frames_cost_no_allocation(true, false);
}

#[test]
fn a_frame_costs_no_allocation_while_keys_wait_for_the_model() {
    frames_cost_no_allocation(false, true);
}

/// `keys`: the caller has pressed some, and the model, which speaks, has not been told.
fn frames_cost_no_allocation(recording: bool, keys: bool) {
    // The model's audio here is the same chunk again and again, which is no speech.
    let timers = Timers { tone: Duration::ZERO, ..Timers::default() };
    let keep = Keep { recording, ..Keep::default() };
    let settings = Settings { timers: Arc::new(timers), keep, ..Settings::default() };
    let mut now = Nanos::from_millis(1);
    let mut bench = Workbench::new(Kernels::detect(Isa::HIGHEST));
    let mut call = Call::new(now, CallId(1), Door::Twilio, settings, None);
    let start =
        r#"{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"CA1"}}"#;
    call.handle_phone_bytes(now, &mut message(Role::Client, start), &mut bench);
    let terms = LineTerms { uplink_rate_hz: 16_000, uplink_ms: 20, ..LineTerms::default() };
    call.handle_line(now, &terms);
    while call.poll_request().is_some() {}

    let mut ups: Vec<_> = (0..WARM_UP + FRAMES).map(phone_frame).collect();
    let mut downs: Vec<_> = (0..WARM_UP + FRAMES).map(|_| agent_chunk()).collect();
    if keys {
        let dtmf = |digit| {
            let json = format!(
                r#"{{"event":"dtmf","streamSid":"MZ1","dtmf":{{"track":"inbound_track","digit":"{digit}"}}}}"#
            );
            message(Role::Client, &json)
        };
        ups[WARM_UP / 2].extend([dtmf("1"), dtmf("#")].concat());
    }
    let (warm_ups, ups) = ups.split_at_mut(WARM_UP);
    let (warm_downs, downs) = downs.split_at_mut(WARM_UP);
    let (mut tape, mut audio, mut taped) = (call.take_tape(), Vec::new(), 0);
    assert_eq!(tape.is_some(), recording);
    let mut run = |ups: &mut [Vec<u8>], downs: &mut [Vec<u8>]| {
        for (up, down) in ups.iter_mut().zip(downs) {
            now = now.plus(Duration::from_millis(20));
            turn(&mut call, now, up, down, &mut bench);
            if let Some(tape) = &mut tape {
                taped += drain(tape, &mut audio);
            }
        }
    };
    run(warm_ups, warm_downs);
    let counted = allocation_counter::measure(|| run(ups, downs));
    let tally = call.tally();
    assert_eq!(tally.uplink.samples_out, (WARM_UP + FRAMES) as u64 * 160);
    assert_eq!(tally.downlink.samples_out, (WARM_UP + FRAMES) as u64 * 480);
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let both = (WARM_UP + FRAMES) * 160 * 2;
    assert_eq!(taped, if recording { both } else { 0 });
    let complete = r#"{"serverContent":{"generationComplete":true,"turnComplete":true}}"#;
    call.handle_agent_bytes(now, &mut message(Role::Server, complete), &mut bench);
    call.transcode(now, &mut bench);
    assert_eq!(call.agent_output().is_empty(), !keys, "told when it is silent");
}

/// What the other carriers say first, and one 20 ms frame of theirs.
fn other_carriers() -> [(&'static str, Vec<u8>); 6] {
    let text = |json: &str| message(Role::Client, json);
    let binary = || {
        let mut bytes = Vec::new();
        write_frame(Role::Client, Opcode::Binary, &[5; 640], [1, 2, 3, 4], &mut bytes);
        bytes
    };
    let media = |payload_bytes| {
        let payload = base64_of(0x55, payload_bytes);
        text(&format!(r#"{{"event":"media","media":{{"track":"inbound","payload":"{payload}"}}}}"#))
    };
    [
        (r#"{"event":"start","start":{"streamSid":"s","callSid":"c"}}"#, media(160)),
        (r#"{"event":"start","stream_id":"s","start":{"call_control_id":"c"}}"#, media(160)),
        (
            r#"{"event":"start","start":{"streamId":"s","callId":"c","mediaFormat":{"encoding":"audio/x-l16","sampleRate":16000}}}"#,
            media(640),
        ),
        (r#"{"event":"start","stream_sid":"s","start":{"call_sid":"c"}}"#, media(320)),
        (r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}"#, binary()),
        (r#"{"callSid":"c","sampleRate":16000,"mixType":"mono"}"#, binary()),
    ]
}

#[test]
fn a_frame_of_any_other_carrier_costs_no_allocation_either() {
    for (start, frame) in other_carriers() {
        let timers = Timers { tone: Duration::ZERO, ..Timers::default() };
        let settings = Settings { timers: Arc::new(timers), ..Settings::default() };
        let mut now = Nanos::from_millis(1);
        let mut bench = Workbench::new(Kernels::detect(Isa::HIGHEST));
        let mut call = Call::new(now, CallId(1), Door::Unknown, settings, None);
        call.handle_phone_bytes(now, &mut message(Role::Client, start), &mut bench);
        let terms = LineTerms { uplink_rate_hz: 16_000, uplink_ms: 20, ..LineTerms::default() };
        call.handle_line(now, &terms);
        while call.poll_request().is_some() {}
        let mut ups = vec![frame; WARM_UP + FRAMES];
        let mut downs: Vec<_> = (0..WARM_UP + FRAMES).map(|_| agent_chunk()).collect();
        let (warm_ups, ups) = ups.split_at_mut(WARM_UP);
        let (warm_downs, downs) = downs.split_at_mut(WARM_UP);
        let mut run = |ups: &mut [Vec<u8>], downs: &mut [Vec<u8>]| {
            for (up, down) in ups.iter_mut().zip(downs) {
                now = now.plus(Duration::from_millis(20));
                turn(&mut call, now, up, down, &mut bench);
            }
        };
        run(warm_ups, warm_downs);
        let counted = allocation_counter::measure(|| run(ups, downs));
        let tally = call.tally();
        assert!(tally.uplink.samples_out >= FRAMES as u64 * 160, "{start} {tally:?}");
        assert!(tally.downlink.samples_out >= FRAMES as u64 * 480, "{start}");
        assert_eq!(counted.count_total, 0, "{start} {counted:?}");
    }
}

/// A carrier's connection to us, its TLS agreed on: his end and ours.
fn secured(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (Secured, Stream) {
    let issued = authority.issue("relay", &["localhost"], 2100);
    assert!(!issued.der.is_empty());
    let now_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let server = TlsServer::new(&[issued.files], now_unix).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let carrier = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut ours = Stream::plain(mio::net::TcpStream::from_std(ours));
    let mut carrier = secure(carrier, &authority.clients(versions, &[]), "localhost");
    let shaking = std::thread::spawn(move || {
        carrier.conn.complete_io(&mut carrier.sock).unwrap();
        carrier
    });
    let (mut first, mut ciphertext, mut plain) = (RecvBuf::new(), RecvBuf::new(), RecvBuf::new());
    while first.is_empty() {
        ours.receive(&mut ciphertext, &mut first).unwrap();
    }
    ours.begin_tls(&server, &mut first, &mut plain).unwrap();
    while ours.is_handshaking() {
        ours.send(&mut SendBuf::new()).unwrap();
        ours.receive(&mut ciphertext, &mut plain).unwrap();
    }
    ours.send(&mut SendBuf::new()).unwrap();
    (shaking.join().unwrap(), ours)
}

#[test]
fn a_frame_through_tls_costs_the_allocations_of_rustls_alone() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let (mut carrier, mut ours) = secured(&authority, &[version]);
        let frame = phone_frame(1);
        let mut records = Vec::new();
        for _ in 0..WARM_UP + FRAMES {
            let mut record = Vec::new();
            carrier.conn.writer().write_all(&frame).unwrap();
            while carrier.conn.wants_write() {
                carrier.conn.write_tls(&mut record).unwrap();
            }
            records.push(record);
        }
        let (mut ciphertext, mut plain) = (RecvBuf::new(), RecvBuf::new());
        let mut receive = |records: &[Vec<u8>]| {
            for record in records {
                carrier.sock.write_all(record).unwrap();
                while plain.len_bytes() < frame.len() {
                    let received = ours.receive(&mut ciphertext, &mut plain).unwrap();
                    assert_ne!(received, Received::End);
                }
                assert_eq!(plain.unused(), frame);
                plain.consume(frame.len());
            }
        };
        receive(&records[..WARM_UP]);
        let received = allocation_counter::measure(|| receive(&records[WARM_UP..]));
        let (mut output, mut sink) = (SendBuf::new(), [0; 4096]);
        let mut send = |frames: usize| {
            for _ in 0..frames {
                output.tail().extend_from_slice(&frame);
                assert!(ours.send(&mut output).unwrap());
                assert!(carrier.sock.read(&mut sink).unwrap() > 0);
            }
        };
        send(WARM_UP);
        let sent = allocation_counter::measure(|| send(FRAMES));
        // The plaintext of a record; a record. Both are given back.
        let counts = [received, sent].map(|one| (one.count_total, one.count_current));
        assert_eq!(counts, [(FRAMES as u64, 0), (FRAMES as u64, 0)], "{version:?}");
    }
}
