//! What a conformance suite asks, byte for byte over real sockets, of the echo server and of the
//! echo client alike.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use vocaris::wire::upgrade::{accept_value, write_accepted};
use vocaris::wire::ws::Role;

use crate::{MESSAGE_MAX, client, upgraded, with_server};

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

/// A frame that came back: its first byte and its payload.
type Frame = (u8, Vec<u8>);

/// Frames that are sent, frames that come back, and what this is about.
type Case<'c> = (Vec<Vec<u8>>, Vec<Frame>, &'c str);

/// A frame of whom the echo talks to, from its first byte on; `length`: what its header says.
fn header(from: Role, first: u8, length: usize) -> Vec<u8> {
    let mask = if from == Role::Client { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask | length as u8),
        126..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if from == Role::Client {
        bytes.extend(KEY);
    }
    bytes
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn frame(from: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    part(from, first, payload.len(), payload)
}

/// The beginning of a frame whose header says `length`.
fn part(from: Role, first: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(from, first, length);
    let key = if from == Role::Client { KEY } else { [0; 4] };
    bytes.extend(payload.iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// One frame of `from` at the front of `bytes`, and its length; `None`: not whole.
fn read_frame(from: Role, bytes: &[u8]) -> Option<(Frame, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
    let &[first, second, ..] = bytes else { return None };
    assert_eq!(second & 0x80 != 0, from == Role::Client, "a client masks, a server does not");
    let (length, mut at) = match second & 0x7f {
        126 => (number(bytes.get(2..4)?), 4),
        127 => (number(bytes.get(2..10)?), 10),
        length => (usize::from(length), 2),
    };
    let mut key = [0; 4];
    if from == Role::Client {
        key.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let masked = bytes.get(at..at + length)?;
    let payload = masked.iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key);
    Some(((first, payload.collect()), at + length))
}

/// Says `bytes` to an echo of role `echo` and reads what it answers, up to its close.
fn talk(echo: Role, socket: &mut TcpStream, bytes: &[u8]) -> Vec<Frame> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    let (mut unread, mut frames) = (Vec::new(), Vec::<Frame>::new());
    while frames.last().is_none_or(|(first, _)| *first != FIN | CLOSE) {
        let mut piece = [0; 64 << 10];
        let n = socket.read(&mut piece).expect("an answer in time");
        assert!(n > 0, "ended without a close behind {} frames", frames.len());
        unread.extend_from_slice(&piece[..n]);
        while let Some((frame, used)) = read_frame(echo, &unread) {
            unread.drain(..used);
            frames.push(frame);
        }
    }
    assert!(unread.is_empty(), "more behind the close");
    frames
}

/// What an echo of role `echo`, which takes messages of 16 MiB, answers to each of `cases`; each
/// has a connection of its own.
fn answers(echo: Role, cases: &[Vec<u8>]) -> Vec<Vec<Frame>> {
    let mut answers = Vec::new();
    match echo {
        Role::Server => with_server(MESSAGE_MAX, |address| {
            for case in cases {
                answers.push(talk(echo, &mut upgraded(address), case));
            }
        }),
        Role::Client => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}", listener.local_addr().unwrap());
            std::thread::scope(|threads| {
                let running = threads.spawn(|| client::run(&url, "a"));
                let close = frame(Role::Server, FIN | CLOSE, &1000_u16.to_be_bytes());
                let count = frame(Role::Server, FIN | TEXT, cases.len().to_string().as_bytes());
                let (mut socket, target) = accept(&listener);
                assert_eq!(target, "/getCaseCount");
                let answer = talk(echo, &mut socket, &[count, close.clone()].concat());
                let goodbye = (FIN | CLOSE, 1000_u16.to_be_bytes().to_vec());
                assert_eq!(answer, [goodbye], "a count is no message to return");
                drop(socket);
                for (index, case) in cases.iter().enumerate() {
                    let (mut socket, target) = accept(&listener);
                    assert_eq!(target, format!("/runCase?case={}&agent=a", index + 1));
                    answers.push(talk(echo, &mut socket, case));
                }
                let (mut socket, _) = accept(&listener);
                talk(echo, &mut socket, &close);
                drop(socket);
                assert_eq!(running.join().unwrap().unwrap(), cases.len() as u32);
            });
        }
    }
    answers
}

/// Answers one upgrade request; returns what it was for.
fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.lines().next());
    let mut answer = Vec::new();
    write_accepted(&mut answer, &accept_value(key.unwrap()), None);
    socket.write_all(&answer).unwrap();
    (socket, target)
}

/// Each of these says goodbye itself, with 1000.
fn assert_echoes(cases: &[Case<'_>], from: Role) {
    let echo = if from == Role::Client { Role::Server } else { Role::Client };
    let goodbye = 1000_u16.to_be_bytes();
    let bytes: Vec<_> = cases
        .iter()
        .map(|(frames, ..)| [frames.concat(), frame(from, FIN | CLOSE, &goodbye)].concat())
        .collect();
    for ((_, expected, what), mut answer) in cases.iter().zip(answers(echo, &bytes)) {
        assert_eq!(answer.pop(), Some((FIN | CLOSE, goodbye.to_vec())), "{echo:?}: {what}");
        assert!(answer == *expected, "{echo:?}: {what}: {} frames came back", answer.len());
    }
}

fn both() -> [Role; 2] {
    [Role::Client, Role::Server]
}

#[test]
fn whatever_breaks_the_protocol_is_closed_with_its_code() {
    for from in both() {
        let echo = if from == Role::Client { Role::Server } else { Role::Client };
        let wrongly_masked = frame(echo, FIN | TEXT, b"abc");
        let over = header(from, FIN | BINARY, MESSAGE_MAX + 1);
        let cases = [
            (frame(from, 0xc1, b"a"), 1002_u16, "a reserved bit"),
            (frame(from, 0x91, b"a"), 1002, "another"),
            (frame(from, 0x83, b""), 1002, "a reserved opcode"),
            (frame(from, 0x8f, b""), 1002, "a reserved control opcode"),
            (wrongly_masked, 1002, "masked by a server, or plain from a client"),
            (frame(from, PING, b""), 1002, "a ping in pieces"),
            (header(from, FIN | PING, 126), 1002, "a ping too long"),
            (frame(from, FIN, b"a"), 1002, "nothing to continue"),
            (
                [frame(from, TEXT, b"a"), frame(from, FIN | TEXT, b"b")].concat(),
                1002,
                "a message within another",
            ),
            (frame(from, FIN | CLOSE, &[3]), 1002, "half a close code"),
            (frame(from, FIN | CLOSE, &1005_u16.to_be_bytes()), 1002, "a code never sent"),
            (frame(from, FIN | CLOSE, b"\x03\xe8\xff"), 1007, "a reason that is no UTF-8"),
            (frame(from, FIN | TEXT, b"\xff"), 1007, "no UTF-8"),
            (over, 1009, "a header over the limit"),
        ];
        let bytes: Vec<_> = cases.iter().map(|(bytes, ..)| bytes.clone()).collect();
        for ((_, code, what), answer) in cases.iter().zip(answers(echo, &bytes)) {
            let [(first, payload)] = &answer[..] else { panic!("{echo:?}: {what}: {answer:?}") };
            assert_eq!((*first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]), "{what}");
        }
    }
}

#[test]
fn text_is_refused_at_its_first_hopeless_byte_though_the_rest_never_comes() {
    for from in both() {
        let echo = if from == Role::Client { Role::Server } else { Role::Client };
        let good = "κόσμε".as_bytes();
        let surrogate = [good, b"\xed\xa0"].concat();
        let cases = [
            part(from, FIN | TEXT, 1000, &surrogate),
            part(from, FIN | TEXT, 100_000, &[good, b"\xf4\x90"].concat()),
            [frame(from, TEXT, good), part(from, 0, 1000, b"\xc0")].concat(),
            [frame(from, TEXT, b"\xf0\x9f"), frame(from, FIN | PING, b""), part(from, 0, 50, b"a")]
                .concat(),
        ];
        for (at, answer) in answers(echo, &cases).into_iter().enumerate() {
            let (first, payload) = answer.last().expect("a close");
            assert_eq!((*first, &payload[..2]), (FIN | CLOSE, &1007_u16.to_be_bytes()[..]));
            let pongs = usize::from(at == 3);
            assert_eq!(answer.len(), 1 + pongs, "{echo:?}, case {at}");
        }
    }
}

#[test]
fn pieces_are_put_together_with_control_frames_between_them() {
    for from in both() {
        let text = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
        let whole = |bytes: &[u8]| (FIN | TEXT, bytes.to_vec());
        let pong = |bytes: &[u8]| (FIN | PONG, bytes.to_vec());
        let mut single: Vec<_> = text[1..].iter().map(|&byte| frame(from, 0, &[byte])).collect();
        single.insert(0, frame(from, TEXT, &text[..1]));
        single.push(frame(from, FIN, b""));
        let two = vec![frame(from, TEXT, &text[..9]), frame(from, FIN, &text[9..])];
        let with_ping = vec![two[0].clone(), frame(from, FIN | PING, b"are you"), two[1].clone()];
        let empty = vec![frame(from, BINARY, b""), frame(from, 0, b""), frame(from, FIN, b"")];
        let with_pongs = vec![
            frame(from, FIN | PONG, b"nobody asked"),
            two[0].clone(),
            frame(from, FIN | PONG, b""),
            two[1].clone(),
        ];
        let pings: Vec<_> = (0..10).map(|n| frame(from, FIN | PING, &[n; 125])).collect();
        let cases = [
            (single, vec![whole(text)], "a byte in each"),
            (two, vec![whole(text)], "two, parted within a character"),
            (with_ping, vec![pong(b"are you"), whole(text)], "a ping between"),
            (empty, vec![(FIN | BINARY, vec![])], "nothing in any"),
            (with_pongs, vec![whole(text)], "pongs passed over"),
            (pings, (0..10).map(|n| pong(&[n; 125])).collect(), "ten pings, ten pongs"),
        ];
        assert_echoes(&cases, from);
    }
}

#[test]
fn long_messages_come_back_whole_however_they_are_cut_and_so_do_many_short_ones() {
    const LENGTH: usize = 1 << 20;
    let bytes: Vec<u8> = (0..LENGTH).map(|n| b'a' + (n * 31 % 26) as u8).collect();
    for from in both() {
        let cut = |opcode: u8, size: usize| {
            let pieces = bytes.chunks(size).enumerate();
            pieces
                .map(|(at, piece)| {
                    let first = if at == 0 { opcode } else { 0 };
                    let fin = if (at + 1) * size >= LENGTH { FIN } else { 0 };
                    frame(from, fin | first, piece)
                })
                .collect::<Vec<_>>()
        };
        let (text, binary) = ((FIN | TEXT, bytes.clone()), (FIN | BINARY, bytes.clone()));
        let short = |n: usize| vec![b'x'; n % 300];
        let cases = [
            (cut(TEXT, 1300), vec![text.clone()], "text in pieces of 1,300"),
            (cut(BINARY, 4096), vec![binary.clone()], "bytes in pieces of 4 KiB"),
            (cut(TEXT, 256 << 10), vec![text.clone()], "text in pieces of 256 KiB"),
            (cut(BINARY, LENGTH), vec![binary], "bytes in one"),
            (
                (0..5_000).map(|n| frame(from, FIN | TEXT, &short(n))).collect(),
                (0..5_000).map(|n| (FIN | TEXT, short(n))).collect(),
                "5,000 short ones",
            ),
        ];
        assert_echoes(&cases, from);
    }
}

#[test]
fn a_server_that_resets_behind_its_goodbye_has_said_goodbye() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let close = frame(Role::Server, FIN | CLOSE, &1000_u16.to_be_bytes());
    let reset = |socket: TcpStream| {
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    };
    std::thread::scope(|threads| {
        let running = threads.spawn(|| client::run(&url, "a"));
        for said in ["2", "", "", ""] {
            let (mut socket, _) = accept(&listener);
            let text = frame(Role::Server, FIN | TEXT, said.as_bytes());
            talk(Role::Client, &mut socket, &[text, close.clone()].concat());
            reset(socket);
        }
        assert_eq!(running.join().unwrap().unwrap(), 2);
    });
}
