//! Tests: what one call may take of a turn while others wait.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use dsp::kernels::{Isa, Kernels};
use socket2::SockRef;

use super::*;
use crate::call::{CallId, Door};
use crate::limits::READ_BYTES_PER_TURN;
use crate::mail::{NewCall, mailbox_without_bell};
use crate::net::Stream;
use crate::wire::ws::{Opcode, write_frame};

/// Longer than the loopback ever takes; waiting for it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// What one phone says at once: the longest message there may be, as bytes of small ones.
const BURST_BYTES: usize = 64 * 1024;
/// The calls beside it.
const OTHERS: usize = 20;
/// Samples of one frame.
const FRAME_SAMPLES: u64 = 160;

fn said(json: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(Role::Client, Opcode::Text, json.as_bytes(), [1, 2, 3, 4], &mut bytes);
    bytes
}

fn start(number: usize) -> Vec<u8> {
    let (stream, call) = (format!("MZ{number}"), format!("CA{number}"));
    said(&format!(
        r#"{{"event":"start","streamSid":"{stream}","start":{{"streamSid":"{stream}","callSid":"{call}"}}}}"#
    ))
}

/// 20 ms of a caller.
fn media() -> Vec<u8> {
    let mut payload = Vec::new();
    crate::wire::base64::encode_append(&[0x55; FRAME_SAMPLES as usize], &mut payload);
    let payload = String::from_utf8(payload).unwrap();
    said(&format!(r#"{{"event":"media","media":{{"track":"inbound","payload":"{payload}"}}}}"#))
}

/// A phone that has said `bytes`, and the socket at which all of them have arrived.
fn phone(listener: &TcpListener, bytes: &[u8]) -> (TcpStream, Stream) {
    let mut phone = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut phone, bytes).unwrap();
    let (began, mut seen) = (Instant::now(), vec![0; bytes.len()]);
    while socket.peek(&mut seen).unwrap() < bytes.len() {
        assert!(began.elapsed() < PATIENCE, "the loopback loses bytes");
        std::thread::yield_now();
    }
    socket.set_nonblocking(true).unwrap();
    (phone, Stream::plain(mio::net::TcpStream::from_std(socket)))
}

fn samples(worker: &mut Worker) -> Vec<u64> {
    let slots = worker.slots.numbers();
    let tally = |slot: usize| worker.slots.at(slot).unwrap().call.tally();
    slots.map(tally).map(|tally| tally.uplink.samples_in).collect()
}

#[test]
fn a_burst_on_one_line_is_taken_a_share_a_turn_and_every_other_line_is_seen_to_in_each() {
    let kernels = Kernels::detect(Isa::Scalar);
    let (mut worker, postbox) =
        Worker::new(0, Settings::default(), kernels, Clock::start()).unwrap();
    let (accept, _accepted) = mailbox_without_bell();
    let (dial, _dialled) = mailbox_without_bell();
    let (tools, _tooled) = mailbox_without_bell();
    let (control, _controlled) = mailbox_without_bell();
    let load = Arc::new(Load::new(1));
    let (tapes, transcripts, journal) = (None, None, None);
    let neighbours = Neighbours { accept, dial, tools, control, tapes, transcripts, journal, load };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // So that the whole burst is there before the worker looks.
    SockRef::from(&listener).set_recv_buffer_size(1 << 20).unwrap();

    let frames = BURST_BYTES / media().len();
    let mut phones = Vec::new();
    for number in 0..=OTHERS {
        // The first in line is the one with the burst.
        let frames = if number == 0 { frames } else { 1 };
        let bytes = [start(number), media().repeat(frames)].concat();
        let (phone, socket) = phone(&listener, &bytes);
        phones.push(phone);
        let (id, unread, door) = (CallId(number as u64), Vec::new(), Door::Twilio);
        let call = NewCall { id, socket, unread, door };
        postbox.post(WorkerLetter::Call(Box::new(call))).unwrap();
    }

    let share = (READ_BYTES_PER_TURN / media().len() + 1) as u64 * FRAME_SAMPLES;
    let whole = frames as u64 * FRAME_SAMPLES;
    let (mut before, mut turns) = (0, 0);
    while before < whole {
        worker.turn(&neighbours).unwrap();
        turns += 1;
        let heard = samples(&mut worker);
        assert!(heard[0] > before && heard[0] <= before + share, "turn {turns}: {heard:?}");
        assert!(heard[1..].iter().all(|&samples| samples == FRAME_SAMPLES), "turn {turns}");
        before = heard[0];
    }
    assert_eq!((before, turns), (whole, BURST_BYTES.div_ceil(READ_BYTES_PER_TURN)));
}
