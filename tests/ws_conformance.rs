//! What RFC 6455 asks of a reader, in the categories the well-known conformance suite has: framing,
//! pings, reserved bits, opcodes, fragmentation, UTF-8, close, limits. Every case runs in both
//! roles, and with the bytes cut at every position; long payloads are cut near their headers, 16
//! MiB in a few places, and two cases about the limit of a message in pieces are shown whole.
//!
//! The frames are spelled here byte by byte, apart from the encoder under test.

use vocaris::wire::ws::{CloseCode, Decoded, Event, FrameError, MessageReader, Role, decode};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_MAX: usize = 1 << 20;
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// An event that outlives the bytes it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Partial,
}

fn text(s: &str) -> Got {
    Got::Text(s.to_owned())
}

/// A frame as `from` sends it: masked if it is a client.
fn frame(from: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(from, first, payload.len() as u64);
    match from {
        Role::Client => bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k)),
        Role::Server => bytes.extend_from_slice(payload),
    }
    bytes
}

fn header(from: Role, first: u8, length: u64) -> Vec<u8> {
    let mask_bit = if from == Role::Client { 0x80 } else { 0 };
    let mut bytes = vec![first];
    if length <= 125 {
        bytes.push(mask_bit | length as u8);
    } else if length <= 0xffff {
        bytes.push(mask_bit | 126);
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        bytes.push(mask_bit | 127);
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    if from == Role::Client {
        bytes.extend_from_slice(&KEY);
    }
    bytes
}

/// Frames one behind the other.
fn frames(from: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| frame(from, *first, payload)).collect()
}

/// Shows `bytes` to a reader in such pieces, as a connection would, and tells what came out, how
/// it failed if it did, and after how many bytes.
fn read(
    from: Role,
    message_max: usize,
    bytes: &[u8],
    pieces: impl Iterator<Item = usize>,
) -> (Vec<Got>, Option<(FrameError, usize)>) {
    let mut reader = MessageReader::new(from, message_max);
    let (mut buf, mut shown, mut got) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        let piece = piece.min(bytes.len() - shown);
        buf.extend_from_slice(&bytes[shown..shown + piece]);
        shown += piece;
        loop {
            let had = buf.len();
            let (event, used) = match reader.next(&mut buf) {
                Ok(read) => read,
                Err(error) => {
                    assert_eq!(reader.next(&mut []), Err(error), "the reader is finished");
                    return (got, Some((error, shown)));
                }
            };
            match event {
                Event::NeedMore { missing } => {
                    assert!(missing > 0);
                    assert!(used == 0 || used == had, "all or nothing");
                    buf.drain(..used);
                    break;
                }
                Event::Text(text) => got.push(Got::Text(text.to_owned())),
                Event::Binary(bytes) => got.push(Got::Binary(bytes.to_vec())),
                Event::Ping(payload) => got.push(Got::Ping(payload.to_vec())),
                Event::Pong(payload) => got.push(Got::Pong(payload.to_vec())),
                Event::Close { code, reason } => {
                    got.push(Got::Close(code.map(CloseCode::number), reason.to_owned()));
                }
                Event::Partial => got.push(Got::Partial),
            }
            assert!(used > 0);
            buf.drain(..used);
        }
    }
    assert_eq!(shown, bytes.len());
    (got, None)
}

/// The bytes that `spell` gives for each role yield `expected` and then perhaps an error: whole,
/// cut in two at every position, and byte by byte.
#[track_caller]
fn case(spell: impl Fn(Role) -> Vec<u8>, expected: &[Got], error: Option<FrameError>) {
    for from in ROLES {
        let bytes = spell(from);
        let check = |pieces: &[usize]| {
            let (got, failed) = read(from, MESSAGE_MAX, &bytes, pieces.iter().copied());
            let how = pieces.first();
            assert_eq!(got, expected, "from {from:?}, first piece {how:?}");
            assert_eq!(failed.map(|(e, _)| e), error, "from {from:?}, first piece {how:?}");
        };
        check(&[bytes.len()]);
        // Every position of short cases; of long ones every position near the headers.
        for cut in (0..bytes.len()).filter(|cut| bytes.len() < 3_000 || cut % 997 < 20) {
            check(&[cut, bytes.len() - cut]);
        }
        if bytes.len() < 3_000 {
            check(&vec![1; bytes.len()]);
        }
    }
}

fn good(sent: &[(u8, &[u8])], expected: &[Got]) {
    case(|from| frames(from, sent), expected, None);
}

fn bad(sent: &[(u8, &[u8])], before: &[Got], error: FrameError) {
    case(|from| frames(from, sent), before, Some(error));
}

// Framing.

#[test]
fn messages_of_every_length_form_arrive() {
    for length in [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
        good(&[(FIN | BINARY, &payload)], &[Got::Binary(payload.clone())]);
        let letters = "*".repeat(length);
        good(&[(FIN | TEXT, letters.as_bytes())], &[Got::Text(letters.clone())]);
    }
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_refused_on_the_header() {
    for (short, length) in [(126_u8, 0_u64), (126, 125), (127, 0), (127, 126), (127, 65_535)] {
        case(
            |from| {
                let mut bytes = vec![FIN | BINARY, header(from, 0, 0)[1] | short];
                let length = length.to_be_bytes();
                bytes.extend_from_slice(&length[if short == 126 { 6 } else { 0 }..]);
                bytes
            },
            &[],
            Some(FrameError::LengthNotMinimal { payload_bytes: length }),
        );
    }
}

#[test]
fn a_length_with_its_top_bit_set_is_refused() {
    for length in [1 << 63, u64::MAX] {
        case(|from| header(from, FIN | BINARY, length), &[], Some(FrameError::LengthNotPositive));
    }
}

#[test]
fn a_frame_masked_by_a_server_or_plain_from_a_client_is_refused() {
    for (from, other) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let bytes = frame(other, FIN | TEXT, b"Hello");
        let (got, failed) = read(from, MESSAGE_MAX, &bytes, [1; 11].into_iter());
        assert_eq!(got, []);
        assert_eq!(failed, Some((FrameError::WrongMask { from }, 2)), "at the second byte");
    }
}

#[test]
fn the_samples_of_section_5_7_are_read() {
    let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let pieces = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let sample = |from, bytes: &[u8]| read(from, MESSAGE_MAX, bytes, std::iter::once(bytes.len()));
    assert_eq!(sample(Role::Server, &plain), (vec![text("Hello")], None));
    assert_eq!(sample(Role::Client, &masked), (vec![text("Hello")], None));
    assert_eq!(sample(Role::Server, &pieces), (vec![Got::Partial, text("Hello")], None));
    assert_eq!(sample(Role::Server, &ping), (vec![Got::Ping(b"Hello".to_vec())], None));
    assert_eq!(sample(Role::Client, &pong), (vec![Got::Pong(b"Hello".to_vec())], None));
}

#[test]
fn a_frame_not_wholly_there_is_left_as_it_is() {
    for from in ROLES {
        let bytes = frame(from, FIN | TEXT, "caf\u{e9} ".repeat(100).as_bytes());
        for shown in 0..bytes.len() {
            let mut buf = bytes[..shown].to_vec();
            let missing = match decode(from, MESSAGE_MAX, &mut buf) {
                Ok(Decoded::NeedMore { missing }) => missing,
                other => panic!("{other:?}"),
            };
            assert!(missing > 0 && shown + missing <= bytes.len());
            let mut reader = MessageReader::new(from, MESSAGE_MAX);
            assert_eq!(reader.next(&mut buf), Ok((Event::NeedMore { missing }, 0)));
            assert_eq!(buf, bytes[..shown], "nothing was unmasked");
        }
    }
}

#[test]
fn a_message_in_one_frame_is_borrowed_from_the_bytes_shown() {
    for from in ROLES {
        let mut buf = frame(from, FIN | TEXT, b"{\"event\":\"media\"}");
        let within = buf.as_ptr_range();
        let mut reader = MessageReader::new(from, MESSAGE_MAX);
        match reader.next(&mut buf) {
            Ok((Event::Text(text), _)) => assert!(within.contains(&text.as_ptr())),
            other => panic!("{other:?}"),
        }
    }
}

// Pings.

#[test]
fn pings_and_pongs_of_every_length_are_handed_out_as_they_are() {
    for length in [0, 1, 4, 124, 125] {
        let payload: Vec<u8> = (0..length).map(|i| 0xff - i).collect();
        good(&[(FIN | PING, &payload)], &[Got::Ping(payload.clone())]);
        good(&[(FIN | PONG, &payload)], &[Got::Pong(payload.clone())]);
    }
}

#[test]
fn ten_pings_at_once_come_out_in_order() {
    let payloads: Vec<Vec<u8>> = (0..10).map(|i| vec![b'0' + i; usize::from(i)]).collect();
    let sent: Vec<(u8, &[u8])> = payloads.iter().map(|p| (FIN | PING, &p[..])).collect();
    let expected: Vec<Got> = payloads.iter().cloned().map(Got::Ping).collect();
    good(&sent, &expected);
}

#[test]
fn a_control_frame_over_125_bytes_is_refused_on_its_second_byte() {
    for opcode in [CLOSE, PING, PONG] {
        for length in [126, 127, 65_535, 65_536] {
            for from in ROLES {
                let bytes = header(from, FIN | opcode, length);
                let pieces = std::iter::repeat_n(1, bytes.len());
                let (got, failed) = read(from, MESSAGE_MAX, &bytes, pieces);
                assert_eq!((got, failed), (vec![], Some((FrameError::ControlTooLong, 2))));
            }
        }
    }
}

// Reserved bits, opcodes.

#[test]
fn reserved_bits_are_refused_on_every_kind_of_frame_at_once() {
    for reserved in (0x10..=0x70).step_by(0x10) {
        for opcode in [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG] {
            bad(&[(FIN | reserved | opcode, b"")], &[], FrameError::ReservedBits);
        }
        bad(
            &[(FIN | TEXT, b"Hello"), (FIN | reserved | TEXT, b"Hello"), (FIN | PING, b"")],
            &[text("Hello")],
            FrameError::ReservedBits,
        );
    }
}

#[test]
fn reserved_opcodes_are_refused_with_and_without_payload() {
    for bits in (0x3..=0x7).chain(0xb..=0xf) {
        let error = FrameError::ReservedOpcode { bits };
        bad(&[(FIN | bits, b"")], &[], error);
        bad(&[(bits, b"")], &[], error);
        bad(&[(FIN | bits, b"reserved"), (FIN | PING, b"")], &[], error);
        bad(&[(FIN | TEXT, b"Hello"), (FIN | bits, b"")], &[text("Hello")], error);
    }
}

// Fragmentation.

#[test]
fn control_frames_in_pieces_are_refused() {
    for opcode in [CLOSE, PING, PONG] {
        bad(
            &[(opcode, b"fragment1"), (FIN | CONTINUATION, b"fragment2")],
            &[],
            FrameError::ControlInPieces,
        );
    }
}

#[test]
fn messages_in_pieces_are_put_together() {
    good(
        &[(TEXT, b"fragment1"), (FIN | CONTINUATION, b"fragment2")],
        &[Got::Partial, text("fragment1fragment2")],
    );
    good(
        &[(BINARY, b"\xff\x00"), (CONTINUATION, b"\xfe"), (FIN | CONTINUATION, b"\x01")],
        &[Got::Partial, Got::Partial, Got::Binary(b"\xff\x00\xfe\x01".to_vec())],
    );
    good(
        &[(TEXT, b""), (CONTINUATION, b""), (FIN | CONTINUATION, b"")],
        &[Got::Partial, Got::Partial, text("")],
    );
    good(
        &[(TEXT, b""), (CONTINUATION, b"middle"), (FIN | CONTINUATION, b"")],
        &[Got::Partial, Got::Partial, text("middle")],
    );
}

#[test]
fn control_frames_between_the_pieces_come_out_at_once() {
    good(
        &[
            (TEXT, b"f1"),
            (FIN | PING, b"ping 1"),
            (CONTINUATION, b"f2"),
            (FIN | PONG, b"pong"),
            (FIN | PING, b""),
            (FIN | CONTINUATION, b"f3"),
            (FIN | BINARY, b"next"),
        ],
        &[
            Got::Partial,
            Got::Ping(b"ping 1".to_vec()),
            Got::Partial,
            Got::Pong(b"pong".to_vec()),
            Got::Ping(vec![]),
            text("f1f2f3"),
            Got::Binary(b"next".to_vec()),
        ],
    );
}

#[test]
fn a_close_between_the_pieces_ends_the_message_unfinished() {
    good(
        &[(TEXT, b"f1"), (FIN | CLOSE, &[0x03, 0xe8]), (FIN | CONTINUATION, b"f2")],
        &[Got::Partial, Got::Close(Some(1000), String::new())],
    );
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    let error = FrameError::NothingToContinue;
    for first in [FIN | CONTINUATION, CONTINUATION] {
        bad(&[(first, b"non-continuation payload"), (FIN | TEXT, b"Hello")], &[], error);
        bad(&[(FIN | TEXT, b"Hello"), (first, b"")], &[text("Hello")], error);
        bad(&[(FIN | PING, b""), (first, b"x")], &[Got::Ping(vec![])], error);
        bad(
            &[(TEXT, b"a"), (FIN | CONTINUATION, b"b"), (first, b"c"), (FIN | TEXT, b"d")],
            &[Got::Partial, text("ab")],
            error,
        );
    }
}

#[test]
fn a_new_message_inside_one_in_pieces_is_refused() {
    let error = FrameError::MessageInterrupted;
    for first in [TEXT, BINARY] {
        for second in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
            bad(&[(first, b"a"), (second, b"b")], &[Got::Partial], error);
            bad(
                &[(first, b"a"), (FIN | PING, b"p"), (CONTINUATION, b"b"), (second, b"c")],
                &[Got::Partial, Got::Ping(b"p".to_vec()), Got::Partial],
                error,
            );
        }
    }
}

// UTF-8.

/// Text that is well-formed, with characters of one to four bytes, noncharacters and the edges.
const GOOD_TEXT: [&str; 9] = [
    "",
    "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    "\0",
    "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}",
    "\u{fffe}\u{1fffe}\u{10fffe}\u{1ffff}",
    "\u{feff}BOM",
    "\u{1f600}\u{1f469}\u{200d}\u{1f680}",
];

/// Text that is not: bytes alone, cut, overlong, surrogates, beyond the last plane.
const BAD_TEXT: [&[u8]; 20] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xfe \xff ",
    b"\xe0 \xef ",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xad\xbf\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"ab\xe1\xbd cd",
];

#[test]
fn good_text_arrives_in_every_cut_and_in_pieces_cut_inside_characters() {
    for good_text in GOOD_TEXT {
        let bytes = good_text.as_bytes();
        good(&[(FIN | TEXT, bytes)], &[text(good_text)]);
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            good(
                &[(TEXT, head), (FIN | PING, b"!"), (FIN | CONTINUATION, tail)],
                &[Got::Partial, Got::Ping(b"!".to_vec()), text(good_text)],
            );
        }
    }
}

#[test]
fn text_in_pieces_of_one_byte_arrives() {
    for good_text in GOOD_TEXT {
        let pieces: Vec<[u8; 1]> = good_text.bytes().map(|byte| [byte]).collect();
        let mut sent: Vec<(u8, &[u8])> = vec![(TEXT, b"")];
        sent.extend(pieces.iter().map(|piece| (CONTINUATION, &piece[..])));
        sent.push((FIN | CONTINUATION, b""));
        let mut expected = vec![Got::Partial; sent.len() - 1];
        expected.push(text(good_text));
        good(&sent, &expected);
    }
}

#[test]
fn bad_text_is_refused_however_it_is_framed_and_cut() {
    for bad_text in BAD_TEXT {
        bad(&[(FIN | TEXT, bad_text), (FIN | PING, b"")], &[], FrameError::NotUtf8);
    }
}

#[test]
fn bad_text_is_refused_at_its_first_hopeless_byte() {
    for bad_text in BAD_TEXT {
        let hopeless = (1..=bad_text.len())
            .find(|&n| std::str::from_utf8(&bad_text[..n]).is_err_and(|e| e.error_len().is_some()))
            .expect("the text is bad before its end");
        for from in ROLES {
            // In one frame, of which the rest never comes.
            let bytes = frame(from, FIN | TEXT, bad_text);
            let header_bytes = bytes.len() - bad_text.len();
            let (_, failed) = read(from, MESSAGE_MAX, &bytes, std::iter::repeat_n(1, bytes.len()));
            assert_eq!(failed, Some((FrameError::NotUtf8, header_bytes + hopeless)));
            // With the beginning in a fragment of its own.
            for cut in 0..hopeless {
                let first = frame(from, TEXT, &bad_text[..cut]);
                let rest = frame(from, CONTINUATION, &bad_text[cut..]);
                let bytes = [first.clone(), rest].concat();
                let ones = std::iter::repeat_n(1, bytes.len());
                let (got, failed) = read(from, MESSAGE_MAX, &bytes, ones);
                assert_eq!(got, [Got::Partial]);
                let at = first.len() + header_bytes + hopeless - cut;
                assert_eq!(failed, Some((FrameError::NotUtf8, at)), "{bad_text:x?} cut at {cut}");
            }
        }
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused() {
    for cut_text in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98", b"ok \xe2"] {
        bad(&[(FIN | TEXT, cut_text)], &[], FrameError::NotUtf8);
        bad(&[(TEXT, cut_text), (FIN | CONTINUATION, b"")], &[Got::Partial], FrameError::NotUtf8);
        bad(&[(TEXT, b""), (FIN | CONTINUATION, cut_text)], &[Got::Partial], FrameError::NotUtf8);
    }
}

#[test]
fn a_cut_character_of_one_text_is_not_completed_by_the_next() {
    bad(&[(FIN | TEXT, b"\xc3"), (FIN | TEXT, b"\xa9")], &[], FrameError::NotUtf8);
    // Long good texts, looked at while they arrive, leave nothing behind either.
    let long = "\u{e9}".repeat(700);
    good(
        &[(FIN | TEXT, long.as_bytes()), (FIN | TEXT, b"next"), (TEXT, b"a"), (FIN, b"b")],
        &[Got::Text(long.clone()), text("next"), Got::Partial, text("ab")],
    );
}

#[test]
fn binary_messages_may_hold_anything() {
    for bytes in BAD_TEXT {
        good(&[(FIN | BINARY, bytes)], &[Got::Binary(bytes.to_vec())]);
        good(
            &[(BINARY, bytes), (FIN | CONTINUATION, bytes)],
            &[Got::Partial, Got::Binary([bytes, bytes].concat())],
        );
    }
}

// Close.

#[test]
fn a_close_without_a_code_is_a_close() {
    good(&[(FIN | CLOSE, b"")], &[Got::Close(None, String::new())]);
}

#[test]
fn a_close_of_one_byte_is_refused() {
    bad(&[(FIN | CLOSE, b"\x03")], &[], FrameError::CloseCodeCut);
}

#[test]
fn every_close_code_is_taken_or_refused_as_section_7_4_says() {
    for number in 0..=u16::MAX {
        let may_be_sent = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for from in ROLES {
            let bytes = frame(from, FIN | CLOSE, &number.to_be_bytes());
            for cut in 0..bytes.len() {
                let read = read(from, MESSAGE_MAX, &bytes, [cut, bytes.len()].into_iter());
                if may_be_sent {
                    assert_eq!(read, (vec![Got::Close(Some(number), String::new())], None));
                } else {
                    let error = FrameError::CloseCodeInvalid { code: number };
                    assert_eq!(read, (vec![], Some((error, bytes.len()))));
                }
            }
        }
    }
}

#[test]
fn the_reason_of_a_close_is_text_of_up_to_123_bytes() {
    for reason in ["", "bye", "Grüße", &"*".repeat(123)] {
        let payload = [&1001_u16.to_be_bytes(), reason.as_bytes()].concat();
        good(&[(FIN | CLOSE, &payload)], &[Got::Close(Some(1001), reason.to_owned())]);
    }
    for reason in BAD_TEXT {
        let payload = [&1000_u16.to_be_bytes(), reason].concat();
        bad(&[(FIN | CLOSE, &payload)], &[], FrameError::NotUtf8);
    }
    let payload = [&1000_u16.to_be_bytes(), "*".repeat(124).as_bytes()].concat();
    bad(&[(FIN | CLOSE, &payload)], &[], FrameError::ControlTooLong);
}

#[test]
fn what_follows_a_close_is_thrown_away_whatever_it_is() {
    let closed = Got::Close(Some(1000), "done".to_owned());
    let close = [&1000_u16.to_be_bytes(), &b"done"[..]].concat();
    good(&[(FIN | CLOSE, &close), (FIN | TEXT, b"late")], std::slice::from_ref(&closed));
    good(&[(FIN | CLOSE, &close), (FIN | CLOSE, b"\x03")], std::slice::from_ref(&closed));
    good(&[(FIN | CLOSE, &close), (0x7f, b"nonsense")], std::slice::from_ref(&closed));
}

// Limits.

#[test]
fn a_message_over_the_limit_is_refused_before_it_arrives() {
    for from in ROLES {
        for (message_max, length) in [(0, 1), (125, 126), (65_535, 65_536), (1 << 20, u64::MAX / 2)]
        {
            let bytes = header(from, FIN | TEXT, length);
            let error = FrameError::TooLong { payload_bytes: length };
            for cut in 0..bytes.len() {
                let cuts = [cut, bytes.len()].into_iter();
                let (got, failed) = read(from, message_max, &bytes, cuts);
                assert_eq!((got, failed.map(|(error, _)| error)), (vec![], Some(error)));
            }
            let mut bytes = bytes;
            assert_eq!(decode(from, message_max, &mut bytes), Err(error));
        }
    }
}

#[test]
fn a_message_in_pieces_is_refused_at_the_header_that_passes_the_limit() {
    for from in ROLES {
        let exact = frames(from, &[(TEXT, &[b'a'; 60]), (CONTINUATION, b""), (FIN, &[b'b'; 40])]);
        let (got, failed) = read(from, 100, &exact, std::iter::once(exact.len()));
        assert_eq!((got.len(), failed), (3, None));

        let mut over = frames(from, &[(TEXT, &[b'a'; 60]), (FIN | PING, b"")]);
        over.extend(header(from, FIN | CONTINUATION, 41));
        let (got, failed) = read(from, 100, &over, std::iter::once(over.len()));
        assert_eq!(got, [Got::Partial, Got::Ping(vec![])]);
        assert_eq!(failed, Some((FrameError::TooLong { payload_bytes: 101 }, over.len())));
    }
}

#[test]
fn the_limit_does_not_shorten_control_frames_of_small_readers() {
    for from in ROLES {
        let bytes = frame(from, FIN | PING, &[7; 125]);
        let (got, failed) = read(from, 10, &bytes, std::iter::once(bytes.len()));
        assert_eq!((got, failed), (vec![Got::Ping(vec![7; 125])], None));
    }
}

#[test]
fn sixteen_mebibytes_pass_in_one_frame_and_in_pieces_of_many_sizes() {
    const LENGTH: usize = 16 << 20;
    let letters = "0123456789abcdef".repeat(LENGTH / 16);
    for from in ROLES {
        let whole = frame(from, FIN | TEXT, letters.as_bytes());
        let (got, failed) = read(from, LENGTH, &whole, [5, 1 << 20, 1 << 23, LENGTH].into_iter());
        assert!(got == [Got::Text(letters.clone())] && failed.is_none());
    }
    let pieces = [1_300, 65_536, 4 << 20];
    for (from, piece) in ROLES.into_iter().flat_map(|from| pieces.map(|piece| (from, piece))) {
        let mut bytes = frame(from, BINARY, b"");
        for piece in letters.as_bytes().chunks(piece) {
            bytes.extend(frame(from, CONTINUATION, piece));
        }
        bytes.extend(frame(from, FIN | CONTINUATION, b""));
        let mut reader = MessageReader::new(from, LENGTH);
        let mut at = 0;
        let message = loop {
            match reader.next(&mut bytes[at..]) {
                Ok((Event::Partial, used)) => at += used,
                Ok((Event::Binary(message), _)) => break message,
                other => panic!("{other:?}"),
            }
        };
        assert!(message == letters.as_bytes());
    }
}

#[test]
fn every_error_names_its_close_code_and_a_label_of_its_own() {
    let errors = [
        (FrameError::ReservedBits, 1002),
        (FrameError::ReservedOpcode { bits: 3 }, 1002),
        (FrameError::WrongMask { from: Role::Client }, 1002),
        (FrameError::ControlInPieces, 1002),
        (FrameError::ControlTooLong, 1002),
        (FrameError::LengthNotMinimal { payload_bytes: 1 }, 1002),
        (FrameError::LengthNotPositive, 1002),
        (FrameError::TooLong { payload_bytes: 1 }, 1009),
        (FrameError::NothingToContinue, 1002),
        (FrameError::MessageInterrupted, 1002),
        (FrameError::NotUtf8, 1007),
        (FrameError::CloseCodeCut, 1002),
        (FrameError::CloseCodeInvalid { code: 1005 }, 1002),
    ];
    for (error, code) in errors {
        assert_eq!(error.close_code().number(), code, "{error:?}");
    }
    let mut labels: Vec<_> = errors.iter().map(|(error, _)| error.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), errors.len());
}
