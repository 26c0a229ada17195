//! HTTP heads and bodies, as server and as client.

use vocaris::wire::http::{
    BodyPart, BodyReader, HeadDecoded, HttpError, RequestHead, body, decode_request,
};
use vocaris::wire::upgrade;

/// The largest body that is read.
const BODY_MAX: u64 = 4096;

/// A request: its head and its body. However it is cut, nothing changes; nothing is read beyond
/// it; no field holds a line end.
pub(super) fn request(bytes: &[u8]) {
    let whole = decode_request(bytes);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match (decode_request(&bytes[..cut]), &whole) {
            (Ok(HeadDecoded::NeedMore), _) => {}
            (Ok(HeadDecoded::Head { used, .. }), Ok(HeadDecoded::Head { used: all, .. })) => {
                assert_eq!(used, *all, "a head ends where it ends");
            }
            (Err(_), Err(_)) => {}
            (early, late) => panic!("{early:?} of a part, {late:?} of the whole"),
        }
    }
    let Ok(HeadDecoded::Head { head, used }) = whole else { return };
    assert!(used <= bytes.len());
    for (name, value) in head.headers() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    if let Ok(request) = upgrade::check_request(&head) {
        assert_eq!(request.key.len(), upgrade::KEY_BYTES);
        request.subprotocols().for_each(drop);
    }
    let rest = &bytes[used..];
    let at_once = read_body(&head, rest, rest.len().max(1));
    let by_byte = read_body(&head, rest, 1);
    assert_eq!(at_once, by_byte, "the body depends on how it is cut");
}

/// The body and how many bytes it took, shown in pieces of this size.
fn read_body(
    head: &RequestHead<'_>,
    bytes: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, Option<usize>), HttpError> {
    let mut reader = BodyReader::new(body(head)?, BODY_MAX)?;
    let (mut content, mut used, mut shown) = (Vec::new(), 0, 0);
    loop {
        let (part, taken) = reader.next(&bytes[used..shown])?;
        used += taken;
        match part {
            BodyPart::Bytes(bytes) => content.extend_from_slice(bytes),
            BodyPart::End => return Ok((content, Some(used))),
            BodyPart::NeedMore if shown == bytes.len() => return Ok((content, None)),
            BodyPart::NeedMore => shown = (shown + piece).min(bytes.len()),
        }
        assert!(content.len() as u64 <= BODY_MAX);
    }
}

/// The answer to an upgrade request of ours.
pub(super) fn answer(bytes: &[u8]) {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let whole = upgrade::decode_response(bytes, KEY);
    if let Ok(Some(used)) = whole {
        assert!(used <= bytes.len());
        assert_eq!(upgrade::decode_response(&bytes[..used], KEY), Ok(Some(used)));
        assert_eq!(upgrade::decode_response(&bytes[..used - 1], KEY), Ok(None));
    }
}
