//! Pings, closes and broken frames of a phone, byte for byte: what it is answered, and what becomes
//! of what it sends behind that.

use vocaris::call::{Door, Ending, Oddity};
use vocaris::limits::{PHONE_CLOSE_MAX_BYTES, PHONE_MESSAGE_MAX_BYTES};
use vocaris::wire::ws::{Opcode, Role, write_frame};

use crate::harness::{Stage, start};

/// A frame of a client.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(Role::Client, opcode, payload, [0x37, 0xfa, 0x21, 0x3d], &mut bytes);
    bytes
}

/// A masked frame with any first byte; the key is zero.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn close(code: u16) -> Vec<u8> {
    frame(Opcode::Close, &code.to_be_bytes())
}

/// Shows `bytes` to the call, `cut` at a time, and returns what it has to say.
fn answer(stage: &mut Stage, bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut unread = Vec::new();
    for piece in bytes.chunks(cut) {
        unread.extend_from_slice(piece);
        let used = stage.call.handle_phone_bytes(stage.now, &mut unread, &mut stage.bench);
        unread.drain(..used);
    }
    let output = stage.call.phone_output();
    let said = output.waiting().to_vec();
    output.consume(said.len());
    said
}

fn ending(stage: &mut Stage) -> Option<Ending> {
    // Reports stand before it.
    std::iter::from_fn(|| stage.call.poll_request()).find_map(|request| match request {
        vocaris::call::Request::Ended(ending) => Some(ending),
        _ => None,
    })
}

/// The code of the close at the end of what was said.
fn close_code(said: &[u8], reason: &str) -> u16 {
    let at = said.len() - reason.len() - 4;
    assert_eq!(said[at..at + 2], [0x88, 2 + reason.len() as u8], "a close ends it");
    assert_eq!(&said[at + 4..], reason.as_bytes());
    u16::from_be_bytes([said[at + 2], said[at + 3]])
}

#[test]
fn a_phone_that_breaks_the_protocol_is_closed_with_the_code_of_what_it_did() {
    let too_long = (PHONE_MESSAGE_MAX_BYTES as u64 + 1).to_be_bytes();
    let cases = [
        (vec![0x81, 0x01, b'a'], 1002_u16, "not masked"),
        (raw(0xc1, b"a"), 1002, "a reserved bit"),
        (raw(0xa1, b"a"), 1002, "another"),
        (raw(0x83, b""), 1002, "a reserved opcode"),
        (raw(0x8b, b""), 1002, "a reserved control opcode"),
        (raw(0x09, b""), 1002, "a ping in pieces"),
        (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], 1002, "a ping too long"),
        (vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], 1002, "a length in more bytes than it needs"),
        (raw(0x80, b"a"), 1002, "a continuation of nothing"),
        ([raw(0x01, b"a"), raw(0x81, b"b")].concat(), 1002, "a message inside another"),
        (raw(0x88, &[3]), 1002, "half a close code"),
        (close(1005), 1002, "a code that is never sent"),
        (close(2999), 1002, "a code nobody has defined"),
        (frame(Opcode::Close, b"\x03\xe8\xff"), 1007, "a reason that is no UTF-8"),
        (raw(0x81, b"\xff"), 1007, "no UTF-8"),
        ([raw(0x01, b"\xc3"), raw(0x80, b"(")].concat(), 1007, "no UTF-8 across two pieces"),
        ([&[0x81, 0xff], &too_long[..], &[0; 4]].concat(), 1009, "a header over the limit"),
    ];
    for (bytes, code, what) in &cases {
        for cut in [1, usize::MAX] {
            for door in [Door::Twilio, Door::Web, Door::Unknown, Door::Fork] {
                let mut stage = Stage::new(door);
                let said = answer(&mut stage, bytes, cut);
                assert_eq!(close_code(&said, "phone_broke"), *code, "{what}");
                assert_eq!(ending(&mut stage), Some(Ending::PhoneBroke { code: *code }), "{what}");
                assert_eq!(stage.tally().oddities[Oddity::PhoneFraming as usize], 1, "{what}");
                assert!(stage.call.has_failed_phone() && stage.call.needs_phone(), "{what}");
                assert_eq!(answer(&mut stage, &frame(Opcode::Ping, b"x"), 1), b"", "{what}");
            }
            let mut stage = Stage::joined();
            let said = answer(&mut stage, bytes, cut);
            assert_eq!(close_code(&said, "phone_broke"), *code, "{what}, in a call");
            assert_eq!(ending(&mut stage), Some(Ending::PhoneBroke { code: *code }), "{what}");
        }
    }
}

#[test]
fn a_phones_close_is_answered_with_its_own_code_and_then_its_socket_may_go() {
    for (bytes, code, answered) in [
        (close(1000), Some(1000), 1000),
        (close(1001), Some(1001), 1001),
        (close(3999), Some(3999), 3999),
        (frame(Opcode::Close, b"\x13\x87bye"), Some(4999), 4999),
        (frame(Opcode::Close, b""), None, 1000),
    ] {
        for cut in [1, usize::MAX] {
            let mut strangers = Stage::new(Door::Unknown);
            let said = answer(&mut strangers, &bytes, cut);
            assert_eq!(close_code(&said, "phone_closed"), answered);
            let mut stage = Stage::joined_browser();
            let said = answer(&mut stage, &bytes, cut);
            assert_eq!(close_code(&said, "phone_closed"), answered);
            assert_eq!(ending(&mut stage), Some(Ending::PhoneClosed { code }));
            assert!(!stage.call.needs_phone() && !stage.call.has_failed_phone());
        }
    }
}

#[test]
fn pings_are_answered_while_the_call_lasts_and_never_behind_its_close() {
    let pings = [frame(Opcode::Ping, b"one"), frame(Opcode::Ping, b"")].concat();
    for cut in [1, usize::MAX] {
        let mut stage = Stage::joined();
        assert_eq!(answer(&mut stage, &pings, cut), b"\x8a\x03one\x8a\x00");
        stage.call.handle_stop(stage.now);
        let said = answer(&mut stage, &pings, cut);
        assert_eq!(close_code(&said, "drained"), 1000);
        assert_eq!(said.len(), 4 + "drained".len(), "no pong");
        assert_eq!(answer(&mut stage, &close(1000), cut), b"");
        assert!(!stage.call.needs_phone());
    }
}

#[test]
fn a_phone_that_goes_on_behind_our_close_is_dropped_at_its_bound() {
    // One that cannot be read any more, and one that can: in both cases nothing of it counts.
    let (message, piece) = (frame(Opcode::Binary, &[7; 1000]), 1008);
    assert_eq!(message.len(), piece);
    let broken = |stage: &mut Stage| drop(answer(stage, &raw(0x83, b""), usize::MAX));
    let nonsense = |stage: &mut Stage| {
        drop(answer(stage, &frame(Opcode::Text, b"nonsense"), usize::MAX));
    };
    let stopped = |stage: &mut Stage| stage.call.handle_stop(stage.now);
    let ways: [&dyn Fn(&mut Stage); 3] = [&broken, &nonsense, &stopped];
    for end in ways {
        let mut stage = Stage::new(Door::Twilio);
        end(&mut stage);
        answer(&mut stage, &[], 1);
        assert!(stage.call.is_over());
        for _ in 0..PHONE_CLOSE_MAX_BYTES / piece {
            answer(&mut stage, &message, usize::MAX);
            assert!(stage.call.needs_phone() && !stage.call.has_given_up());
        }
        answer(&mut stage, &message, usize::MAX);
        assert!(!stage.call.needs_phone() && stage.call.has_given_up());
    }
}

#[test]
fn words_for_a_browser_stand_before_the_close() {
    let mut stage = Stage::joined_browser();
    let said = answer(&mut stage, &close(4000), usize::MAX);
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("{\"type\":\"end\",\"reason\":\"phone_closed\"}"), "{text}");
    assert_eq!(close_code(&said, "phone_closed"), 4000);
    // What it said before its close counts.
    let mut stage = Stage::new(Door::Twilio);
    let hello = frame(Opcode::Text, start().to_string().as_bytes());
    answer(&mut stage, &[hello, close(1000)].concat(), usize::MAX);
    assert!(matches!(
        stage.call.poll_request(),
        Some(vocaris::call::Request::Report(vocaris::call::Report::Opened { .. }))
    ));
}
