//! Against tungstenite, an implementation that is not ours: what we write it reads, what it writes
//! we read, in both roles, over pipes in memory; and where a peer is wrong, both see it at the same
//! message.

use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::frame::coding::{CloseCode as PeerCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame as PeerFrame};
use tungstenite::protocol::{Role as PeerRole, WebSocket};
use tungstenite::{Error, Message};
use vocaris::wire::http::{HeadDecoded, decode_request};
use vocaris::wire::upgrade;
use vocaris::wire::ws::{
    CloseCode, Event, MessageReader, Opcode, Role, header_bytes, write_close, write_frame,
    write_header,
};

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const KEY: [u8; 4] = [0x9d, 0x00, 0xc3, 0x51];
const MESSAGE_MAX: usize = 1 << 20;

/// A connection in memory: what the peer may read, what it has written.
#[derive(Debug, Default)]
struct Pipe {
    to_peer: VecDeque<u8>,
    from_peer: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.to_peer.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_peer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The peer that hears what `we` send.
fn peer_of(we: Role) -> WebSocket<Pipe> {
    let role = match we {
        Role::Client => PeerRole::Server,
        Role::Server => PeerRole::Client,
    };
    WebSocket::from_raw_socket(Pipe::default(), role, None)
}

/// Everything our reader makes of these bytes; whether it stopped at an error.
fn read_ours(from: Role, mut bytes: Vec<u8>) -> (Vec<Message>, bool) {
    let mut reader = MessageReader::new(from, MESSAGE_MAX);
    let (mut messages, mut at) = (Vec::new(), 0);
    loop {
        match reader.next(&mut bytes[at..]) {
            Err(_) => return (messages, true),
            Ok((Event::NeedMore { .. }, _)) => return (messages, false),
            Ok((event, used)) => {
                at += used;
                messages.extend(message(event));
            }
        }
    }
}

/// The event in the peer's words.
fn message(event: Event<'_>) -> Option<Message> {
    Some(match event {
        Event::NeedMore { .. } | Event::Partial => return None,
        Event::Text(text) => Message::text(text),
        Event::Binary(bytes) => Message::binary(bytes.to_vec()),
        Event::Ping(payload) => Message::Ping(payload.to_vec().into()),
        Event::Pong(payload) => Message::Pong(payload.to_vec().into()),
        Event::Close { code, reason } => {
            Message::Close(code.map(|code| CloseFrame {
                code: PeerCode::from(code.number()),
                reason: reason.into(),
            }))
        }
    })
}

/// Everything the peer makes of these bytes, up to a close; whether it stopped at an error.
fn read_peer(from: Role, bytes: &[u8]) -> (Vec<Message>, bool) {
    let mut peer = peer_of(from);
    peer.get_mut().to_peer.extend(bytes);
    let mut messages = Vec::new();
    loop {
        match peer.read() {
            Ok(close @ Message::Close(_)) => {
                messages.push(close);
                return (messages, false);
            }
            Ok(message) => messages.push(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (messages, false);
            }
            Err(_) => return (messages, true),
        }
    }
}

#[test]
fn the_peer_reads_every_frame_we_write() {
    for we in ROLES {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let letters = "\u{e9}".repeat(length / 2);
            let mut bytes = Vec::new();
            write_frame(we, Opcode::Text, letters.as_bytes(), KEY, &mut bytes);
            write_frame(we, Opcode::Binary, &payload, KEY, &mut bytes);
            write_frame(we, Opcode::Ping, &payload[..length.min(125)], KEY, &mut bytes);
            write_frame(we, Opcode::Pong, &payload[..length.min(125)], KEY, &mut bytes);
            let control = payload[..length.min(125)].to_vec();
            let expected = vec![
                Message::text(letters),
                Message::binary(payload),
                Message::Ping(control.clone().into()),
                Message::Pong(control.into()),
            ];
            assert_eq!(read_peer(we, &bytes), (expected.clone(), false));
            assert_eq!(read_ours(we, bytes), (expected, false));
        }
    }
}

#[test]
fn the_peer_puts_our_pieces_together() {
    let pieces: [(Opcode, bool, &[u8]); 4] = [
        (Opcode::Text, false, b"one \xf0\x9f"),
        (Opcode::Ping, true, b"between"),
        (Opcode::Continuation, false, b"\x98\x80"),
        (Opcode::Continuation, true, b" two"),
    ];
    for we in ROLES {
        let mut bytes = Vec::new();
        for (opcode, fin, payload) in pieces {
            // A key of zeros: the payload may stand behind the header as it is.
            let mask = (we == Role::Client).then_some([0; 4]);
            let start = bytes.len();
            write_header(we, opcode, fin, payload.len(), mask, &mut bytes);
            assert_eq!(bytes.len() - start, header_bytes(payload.len(), mask.is_some()));
            bytes.extend_from_slice(payload);
        }
        let expected =
            vec![Message::Ping(b"between"[..].into()), Message::text("one \u{1f600} two")];
        assert_eq!(read_peer(we, &bytes), (expected, false));
    }
}

#[test]
fn the_peer_reads_our_close_and_we_read_its_answer() {
    for we in ROLES {
        // 61 characters of two bytes end at byte 122; the 62nd would pass 123.
        for (reason, heard) in
            [("done", "done".to_owned()), (&"\u{e9}".repeat(80), "\u{e9}".repeat(61))]
        {
            let mut bytes = Vec::new();
            write_close(we, CloseCode::NORMAL, reason, KEY, &mut bytes);
            let mut peer = peer_of(we);
            peer.get_mut().to_peer.extend(&bytes);
            let expected =
                Message::Close(Some(CloseFrame { code: PeerCode::Normal, reason: heard.into() }));
            assert_eq!(peer.read().expect("a close"), expected);
            while peer.read().is_ok() {}
            let answer = std::mem::take(&mut peer.get_mut().from_peer);
            let from = if we == Role::Client { Role::Server } else { Role::Client };
            assert_eq!(read_ours(from, answer), (vec![expected], false));
        }
    }
}

#[test]
fn we_read_everything_the_peer_writes() {
    for peer_role in ROLES {
        let mut peer = peer_of(if peer_role == Role::Client { Role::Server } else { Role::Client });
        let mut expected = Vec::new();
        for length in [0_usize, 1, 125, 126, 65_535, 65_536, 200_000] {
            expected.push(Message::text("\u{20ac}".repeat(length / 3)));
            expected.push(Message::binary(vec![0x5a; length]));
            expected.push(Message::Ping(vec![1; length.min(125)].into()));
        }
        for message in &expected {
            peer.send(message.clone()).expect("room in memory");
        }
        let piece = |text: &str, opcode, last| {
            Message::Frame(PeerFrame::message(text.to_owned(), OpCode::Data(opcode), last))
        };
        peer.send(piece("one ", Data::Text, false)).expect("room in memory");
        peer.send(piece("two", Data::Continue, true)).expect("room in memory");
        expected.push(Message::text("one two"));
        let close = CloseFrame { code: PeerCode::Again, reason: "full".into() };
        peer.close(Some(close.clone())).expect("room in memory");
        peer.flush().expect("room in memory");
        expected.push(Message::Close(Some(close)));
        let written = std::mem::take(&mut peer.get_mut().from_peer);
        assert_eq!(read_ours(peer_role, written), (expected, false));
    }
}

#[test]
fn the_peer_accepts_our_request_and_we_accept_its_answer() {
    let key = upgrade::new_key();
    let mut request = Vec::new();
    let agent = [("User-Agent", "vocaris"), ("x-goog-api-key", "secret")];
    upgrade::write_request(&mut request, "localhost:9001", "/ws/a?b=c", &key, &agent);
    let pipe = Pipe { to_peer: request.into(), from_peer: Vec::new() };
    let mut peer = tungstenite::accept(pipe).expect("the peer says 101");
    let answer = std::mem::take(&mut peer.get_mut().from_peer);
    for cut in 0..answer.len() {
        assert_eq!(upgrade::decode_response(&answer[..cut], &key), Ok(None), "cut at {cut}");
    }
    assert_eq!(upgrade::decode_response(&answer, &key), Ok(Some(answer.len())));
    let other = generate_key();
    assert_eq!(upgrade::decode_response(&answer, &other), Err(upgrade::UpgradeError::WrongAccept));
}

#[test]
fn we_accept_the_peers_request_and_it_accepts_our_answer() {
    let waiting = match tungstenite::client("ws://localhost:9001/twilio/media", Pipe::default()) {
        Err(HandshakeError::Interrupted(waiting)) => waiting,
        other => panic!("no answer was given yet: {other:?}"),
    };
    let mut waiting = waiting;
    let pipe = waiting.get_mut().get_mut();
    let Ok(HeadDecoded::Head { head, used }) = decode_request(&pipe.from_peer) else {
        panic!("not a request")
    };
    assert_eq!(used, pipe.from_peer.len());
    assert_eq!((head.path, head.host()), ("/twilio/media", Some("localhost:9001")));
    let wanted = upgrade::check_request(&head).expect("a request for a WebSocket");
    assert_eq!(wanted.subprotocols().count(), 0);
    let mut answer = Vec::new();
    upgrade::write_accepted(&mut answer, &upgrade::accept_value(wanted.key), None);
    pipe.to_peer.extend(answer);
    waiting.handshake().expect("the peer is content");
}

/// Whether the peer stopped at a close code that it forbids. It answers that with 1002, as we do,
/// but hands a close out.
fn refuses_the_code(theirs: &[Message]) -> bool {
    matches!(
        theirs.last(),
        Some(Message::Close(Some(frame))) if frame.reason.as_str() == "Protocol violation"
    )
}

/// The one code that IANA registers and the peer does not know.
fn ends_with_bad_gateway(ours: &[Message]) -> bool {
    let known = CloseCode::BAD_GATEWAY.number();
    matches!(
        ours.last(),
        Some(Message::Close(Some(frame))) if u16::from(frame.code) == known
    )
}

#[test]
fn both_readers_take_the_same_close_codes_but_for_the_one_registered_last() {
    for number in 0..=u16::MAX {
        let mut bytes = vec![0x88, 2];
        bytes.extend(number.to_be_bytes());
        let theirs = read_peer(Role::Server, &bytes).0;
        let (ours, our_error) = read_ours(Role::Server, bytes);
        let peer_takes = !refuses_the_code(&theirs);
        let expected = peer_takes || number == CloseCode::BAD_GATEWAY.number();
        assert_eq!(!our_error, expected, "close code {number}");
        assert_eq!(ours == theirs, peer_takes, "close code {number}");
    }
}

/// A frame with a minimal length whose every bit may be wrong otherwise. Weighted towards frames
/// that belong together.
fn any_frame() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => prop::collection::vec(Just(0xe2_u8), 120..130),
        // Close payloads.
        1 => (900_u16..5_100, "\\PC{0,4}").prop_map(|(code, reason)| {
            [&code.to_be_bytes(), reason.as_bytes()].concat()
        }),
    ];
    (first, payload)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_readers_hear_the_same_and_stop_at_the_same_message(
        frames in prop::collection::vec(any_frame(), 1..12),
        from in prop::sample::select(ROLES.to_vec()),
    ) {
        let mut bytes = Vec::new();
        for (first, payload) in &frames {
            let mask_bit = if from == Role::Client { 0x80 } else { 0 };
            bytes.push(*first);
            if payload.len() <= 125 {
                bytes.push(mask_bit | payload.len() as u8);
            } else {
                bytes.extend([mask_bit | 126, 0, payload.len() as u8]);
            }
            if from == Role::Client {
                bytes.extend(KEY);
                bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k));
            } else {
                bytes.extend_from_slice(payload);
            }
        }
        let (theirs, their_error) = read_peer(from, &bytes);
        let (ours, our_error) = read_ours(from, bytes);
        if refuses_the_code(&theirs) && (our_error || ends_with_bad_gateway(&ours)) {
            let before = ours.len() - usize::from(!our_error);
            prop_assert_eq!(&ours[..before], &theirs[..theirs.len() - 1]);
        } else {
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(our_error, their_error);
        }
    }
}
