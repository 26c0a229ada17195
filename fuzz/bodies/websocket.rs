//! WebSocket frames and messages, from either role.

use vocaris::wire::ws::{Event, MessageReader, Role};

/// The longest message of a reader.
const MESSAGE_MAX: usize = 1000;

/// The first byte says who sent the others and how they are cut. What is read does not depend on
/// the cut.
pub(super) fn either_role(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let from = if first & 1 == 0 { Role::Client } else { Role::Server };
    let piece = usize::from(first >> 1) + 1;
    assert_eq!(read(from, bytes, bytes.len()), read(from, bytes, piece));
}

/// What came out: every event in words, and how the reader ended.
fn read(from: Role, bytes: &[u8], piece: usize) -> Vec<String> {
    let mut reader = MessageReader::new(from, MESSAGE_MAX);
    let (mut buf, mut said) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buf.extend_from_slice(piece);
        loop {
            let used = match reader.next(&mut buf) {
                Ok((Event::NeedMore { missing }, used)) => {
                    assert!(missing > 0);
                    buf.drain(..used);
                    break;
                }
                Ok((event, used)) => {
                    assert!(used >= 2, "every event has at least a header");
                    if let Event::Text(text) = event {
                        assert!(text.len() <= MESSAGE_MAX);
                    }
                    said.push(format!("{event:?}"));
                    used
                }
                Err(error) => {
                    // Found as early as it can be: later bytes change nothing.
                    said.push(error.label().to_owned());
                    return said;
                }
            };
            buf.drain(..used);
        }
    }
    said
}
