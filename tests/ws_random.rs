//! Random frames, random bytes, random cuts: what comes out never depends on how the bytes came,
//! what is written is read back, and nothing a peer sends panics.

use proptest::prelude::*;
use vocaris::wire::ws::{
    CONTROL_PAYLOAD_MAX, Decoded, Event, FrameError, HEADER_BYTES_MAX, MessageReader, Opcode, Role,
    decode, header_bytes, write_close, write_frame, write_header,
};

const MESSAGE_MAX: usize = 400;

/// What a reader makes of bytes that come in pieces; what it says stands as text.
fn read(from: Role, bytes: &[u8], pieces: &[usize]) -> (Vec<String>, Option<FrameError>) {
    let mut reader = MessageReader::new(from, MESSAGE_MAX);
    let (mut buf, mut rest, mut said) = (Vec::new(), bytes, Vec::new());
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let piece = pieces.next().map_or(rest.len(), |&piece| piece.clamp(1, rest.len()));
        buf.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        loop {
            match reader.next(&mut buf) {
                Err(error) => return (said, Some(error)),
                Ok((Event::NeedMore { .. }, used)) => {
                    buf.drain(..used);
                    break;
                }
                Ok((event, used)) => {
                    said.push(format!("{event:?}"));
                    buf.drain(..used);
                }
            }
        }
    }
    (said, None)
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Client, Role::Server])
}

fn any_opcode() -> impl Strategy<Value = Opcode> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    prop::sample::select(vec![Continuation, Text, Binary, Close, Ping, Pong])
}

/// Frames as a peer of that role may send them, then perhaps damaged in a few places.
fn stream(from: Role) -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "\\PC{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let frame = (any_opcode(), any::<bool>(), payload, any::<[u8; 4]>());
    let frames = prop::collection::vec(frame, 1..8).prop_map(move |frames| {
        let mut bytes = Vec::new();
        for (opcode, fin, mut payload, key) in frames {
            let fin = fin || opcode.is_control();
            if opcode.is_control() {
                payload.truncate(CONTROL_PAYLOAD_MAX);
            }
            let mut whole = Vec::new();
            write_frame(from, Opcode::Binary, &payload, key, &mut whole);
            whole[0] = if fin { 0x80 } else { 0 } | opcode.bits();
            bytes.extend(whole);
        }
        bytes
    });
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (frames, damage).prop_map(|(mut bytes, damage)| {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_comes_out_does_not_depend_on_the_cuts(
        (from, bytes) in any_role().prop_flat_map(|from| (Just(from), stream(from))),
        pieces in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let whole = read(from, &bytes, &[]);
        prop_assert_eq!(&read(from, &bytes, &pieces), &whole);
        prop_assert_eq!(&read(from, &bytes, &[1]), &whole);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(
        from in any_role(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        payload_max in 0_usize..200,
    ) {
        let mut buf = bytes.clone();
        match decode(from, payload_max, &mut buf) {
            Ok(Decoded::Frame { frame, used }) => {
                prop_assert!(frame.payload.len() <= payload_max.max(CONTROL_PAYLOAD_MAX));
                prop_assert!(used <= bytes.len());
                prop_assert_eq!(
                    used,
                    header_bytes(frame.payload.len(), from == Role::Client) + frame.payload.len()
                );
            }
            Ok(Decoded::NeedMore { missing }) => {
                prop_assert!(missing > 0);
                let most = HEADER_BYTES_MAX + payload_max.max(CONTROL_PAYLOAD_MAX);
                prop_assert!(bytes.len() + missing <= most);
                prop_assert_eq!(buf, bytes);
            }
            Err(_) => prop_assert_eq!(buf, bytes),
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        from in any_role(),
        opcode in any_opcode(),
        fin in any::<bool>(),
        key in any::<[u8; 4]>(),
        length in prop_oneof![0_usize..300, 0_usize..70_000],
        before in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let fin = fin || opcode.is_control();
        let length = if opcode.is_control() { length % 126 } else { length };
        let payload: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
        let mask = (from == Role::Client).then_some(key);
        let mut header = before.clone();
        write_header(from, opcode, fin, payload.len(), mask, &mut header);
        prop_assert_eq!(&header[..before.len()], &before[..]);
        let mut bytes = before.clone();
        write_frame(from, opcode, &payload, key, &mut bytes);
        // The same header but for the bit that says there is more.
        bytes[before.len()] = header[before.len()];
        prop_assert_eq!(&bytes[..header.len()], &header[..]);

        let frame_bytes = bytes.len() - before.len();
        match decode(from, payload.len(), &mut bytes[before.len()..]) {
            Ok(Decoded::Frame { frame, used }) => {
                prop_assert_eq!((frame.fin, frame.opcode, used), (fin, opcode, frame_bytes));
                prop_assert!(frame.payload == payload);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_close_carries_as_much_of_its_reason_as_fits(
        from in any_role(),
        number in prop::sample::select(vec![1000_u16, 1001, 1011, 1014, 3000, 4999]),
        reason in "\\PC{0,130}",
        key in any::<[u8; 4]>(),
    ) {
        let code = vocaris::wire::ws::CloseCode::new(number).expect("a code that may be sent");
        let mut bytes = Vec::new();
        write_close(from, code, &reason, key, &mut bytes);
        let mut reader = MessageReader::new(from, 0);
        match reader.next(&mut bytes) {
            Ok((Event::Close { code: heard, reason: part }, _)) => {
                prop_assert_eq!(heard, Some(code));
                prop_assert!(reason.starts_with(part));
                let lost = reason[part.len()..].chars().next().map_or(0, char::len_utf8);
                prop_assert!(part.len() == reason.len() || part.len() + lost > 123);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
