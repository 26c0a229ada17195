//! The upgrade from HTTP/1.1 to WebSocket, RFC 6455 section 4, both sides.
//!
//! In:       as server a [`RequestHead`]; as client the bytes of the answer.
//! Out:      who may be answered 101 and with which `Sec-WebSocket-Accept`; whether the answer
//!           keeps what the request asked for.
//! Bounds:   those of `wire::http` for a head; [`INTERIM_MAX`].
//! Not here: which path may be upgraded, origins, tokens (`accept`), the frames (`wire::ws`).
//!
//! No extension is ever offered or agreed to, and as client no subprotocol.

use super::http::{
    Body, HEADERS_MAX, Method, RequestHead, Version, body, head_bytes, is_token, list_items,
    visible, write_field, write_target,
};
use aws_lc_rs::{digest, rand};
use base64_turbo::STANDARD;

/// The version both sides must speak (section 4.1). A 426 names it in `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";
/// `Sec-WebSocket-Key`: 16 bytes in base64.
pub const KEY_BYTES: usize = 24;
/// `Sec-WebSocket-Accept`: a SHA-1 in base64.
pub const ACCEPT_BYTES: usize = 28;
/// Interim responses (100, 102, 103) passed over before the 101. One more:
/// [`UpgradeError::BadAnswer`].
pub const INTERIM_MAX: usize = 4;

/// What the key is joined with before it is hashed (section 1.3).
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why there is no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeError {
    /// Request, 405: not a GET.
    NotGet,
    /// Request, 426: no `Upgrade: websocket`; a plain request to a path that only speaks WebSocket.
    /// One in HTTP/1.0 always is: what it says of an upgrade is ignored (RFC 9110 section 7.8).
    NotWebSocket,
    /// Request, 400: `Connection` does not name `Upgrade`.
    NotHopByHop,
    /// Request, 400: a body, which would stand where the first frame is expected.
    HasBody,
    /// Request, 400: no `Sec-WebSocket-Key`, two, or one that is not 16 bytes in base64.
    BadKey,
    /// Request, 400: no `Sec-WebSocket-Version`, or two.
    NoVersion,
    /// Request, 426: a version other than [`VERSION`].
    WrongVersion,
    /// Answer: whole, and not 101.
    Refused {
        /// What it was instead.
        status: u16,
    },
    /// Answer: not HTTP as section 4 of RFC 9112 has it, or too long.
    BadAnswer,
    /// Answer: 101 without exactly `Upgrade: websocket` and `Connection: Upgrade`.
    NotUpgraded,
    /// Answer: `Sec-WebSocket-Accept` is missing, there twice, or not that of our key.
    WrongAccept,
    /// Answer: an extension, and we asked for none.
    UnaskedExtension,
    /// Answer: a subprotocol, and we asked for none.
    UnaskedSubprotocol,
}

impl UpgradeError {
    /// The status to answer with: to the peer for a request, 502 to whoever waits for an answer.
    /// A 426 goes out with `Upgrade: websocket` and `Sec-WebSocket-Version: 13` ([`required`]).
    pub const fn status(self) -> u16 {
        match self {
            UpgradeError::NotGet => 405,
            UpgradeError::NotWebSocket | UpgradeError::WrongVersion => 426,
            UpgradeError::NotHopByHop
            | UpgradeError::HasBody
            | UpgradeError::BadKey
            | UpgradeError::NoVersion => 400,
            UpgradeError::Refused { .. }
            | UpgradeError::BadAnswer
            | UpgradeError::NotUpgraded
            | UpgradeError::WrongAccept
            | UpgradeError::UnaskedExtension
            | UpgradeError::UnaskedSubprotocol => 502,
        }
    }

    /// The name of this reason in counters and error bodies: one word, snake case.
    pub const fn label(self) -> &'static str {
        match self {
            UpgradeError::NotGet => "not_get",
            UpgradeError::NotWebSocket => "not_websocket",
            UpgradeError::NotHopByHop => "not_hop_by_hop",
            UpgradeError::HasBody => "has_body",
            UpgradeError::BadKey => "bad_key",
            UpgradeError::NoVersion => "no_version",
            UpgradeError::WrongVersion => "wrong_version",
            UpgradeError::Refused { .. } => "refused",
            UpgradeError::BadAnswer => "bad_answer",
            UpgradeError::NotUpgraded => "not_upgraded",
            UpgradeError::WrongAccept => "wrong_accept",
            UpgradeError::UnaskedExtension => "unasked_extension",
            UpgradeError::UnaskedSubprotocol => "unasked_subprotocol",
        }
    }
}

/// The fields a refusal with this status carries: for 426 what would have been right (RFC 9110
/// section 15.5.22, RFC 6455 section 4.4), for 405 the method.
pub const fn required(status: u16) -> &'static [(&'static str, &'static str)] {
    match status {
        405 => &[("Allow", "GET")],
        426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)],
        _ => &[],
    }
}

/// A request for a WebSocket that may be answered 101.
#[derive(Debug, Clone, Copy)]
pub struct UpgradeRequest<'b> {
    /// `Sec-WebSocket-Key` as sent, 24 characters; see [`accept_value`].
    pub key: &'b str,
    head: &'b RequestHead<'b>,
}

impl<'b> UpgradeRequest<'b> {
    /// The subprotocols the client offers, the one it likes best first. Names that are not tokens
    /// are passed over. At most one may be chosen, and none is as good an answer.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'b str> {
        self.head.list("sec-websocket-protocol").filter(|name| is_token(name.as_bytes()))
    }
}

/// Whether this request asks for a WebSocket as section 4.2.1 has it.
///
/// Extensions it offers are not looked at: none is the answer to all of them.
///
/// # Errors
/// What is wrong or missing, in the order a client would want to know it.
pub fn check_request<'b>(head: &'b RequestHead<'b>) -> Result<UpgradeRequest<'b>, UpgradeError> {
    let says = |name: &str, option: &str| head.list(name).any(|s| s.eq_ignore_ascii_case(option));
    if head.version != Version::Http11 || !says("upgrade", "websocket") {
        return Err(UpgradeError::NotWebSocket);
    }
    if head.method != Method::Get {
        return Err(UpgradeError::NotGet);
    }
    if !says("connection", "upgrade") {
        return Err(UpgradeError::NotHopByHop);
    }
    if !matches!(body(head), Ok(Body::None | Body::Length(0))) {
        return Err(UpgradeError::HasBody);
    }
    match head.header("sec-websocket-version") {
        None => return Err(UpgradeError::NoVersion),
        Some(VERSION) => {}
        Some(_) => return Err(UpgradeError::WrongVersion),
    }
    let key = head.header("sec-websocket-key").filter(|key| is_key(key));
    Ok(UpgradeRequest { key: key.ok_or(UpgradeError::BadKey)?, head })
}

/// 22 characters of base64 and two of padding: 16 bytes. The four bits that 22 characters have too
/// many are not looked at: the key is hashed as text, nobody ever decodes it.
fn is_key(key: &str) -> bool {
    let in_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let digits = key.strip_suffix("==").unwrap_or("");
    digits.len() == KEY_BYTES - 2 && digits.bytes().all(in_base64)
}

/// `Sec-WebSocket-Accept` for this key: base64 of the SHA-1 of key and GUID (section 4.2.2).
///
/// SHA-1 proves here that the other side speaks WebSocket and nothing else; no secret rests on it.
pub fn accept_value(key: &str) -> [u8; ACCEPT_BYTES] {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(hash.finish(), &mut accept);
    debug_assert_eq!(written.ok(), Some(ACCEPT_BYTES));
    accept
}

/// Appends the 101 that ends HTTP on this connection. `subprotocol`: one of those offered, if any.
pub fn write_accepted(out: &mut Vec<u8>, accept: &[u8], subprotocol: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(name) = subprotocol {
        write_field(out, "Sec-WebSocket-Protocol", name);
    }
    out.extend_from_slice(b"\r\n");
}

/// A fresh key: 16 random bytes in base64 (section 4.1).
///
/// # Panics
/// If the system has no randomness to give.
pub fn new_key() -> String {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).expect("the system gives random bytes");
    STANDARD.encode(nonce)
}

/// Appends a request for a WebSocket.
///
/// `host`: with its port unless it is the scheme's own. `target`: path and query; `/` is put before
/// it if it is missing, and what may not stand there is percent-encoded. `key`: of [`new_key`].
/// `headers`: more fields, none of which may ask for an extension or a subprotocol:
/// [`decode_response`] takes neither.
pub fn write_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    headers: &[(&str, &str)],
) {
    out.extend_from_slice(b"GET ");
    write_target(out, target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, "Host", host);
    write_field(out, "Upgrade", "websocket");
    write_field(out, "Connection", "Upgrade");
    write_field(out, "Sec-WebSocket-Version", VERSION);
    write_field(out, "Sec-WebSocket-Key", key);
    for (name, value) in headers {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads the answer to [`write_request`] at the front of `buf`: how many bytes it took, after which
/// the server's first frame begins; `None` while it is not whole.
///
/// # Errors
/// Anything but a 101 that grants what was asked for and nothing more. Of another status only the
/// number is told, never a word of the server's text.
pub fn decode_response(buf: &[u8], key: &str) -> Result<Option<usize>, UpgradeError> {
    let mut used = 0;
    for _ in 0..=INTERIM_MAX {
        let rest = &buf[used..];
        // What this refuses, a strict client refuses too, whichever rule it was.
        let head_bytes = match head_bytes(rest) {
            Ok(Some(head_bytes)) => head_bytes,
            Ok(None) => return Ok(None),
            Err(_) => return Err(UpgradeError::BadAnswer),
        };
        used += head_bytes;
        if check_answer(&rest[..head_bytes], key)? == Answer::Upgraded {
            return Ok(Some(used));
        }
    }
    Err(UpgradeError::BadAnswer)
}

/// What a head that is no refusal says.
#[derive(PartialEq, Eq)]
enum Answer {
    Upgraded,
    /// Wait: the real one comes behind it.
    Interim,
}

fn check_answer(head: &[u8], key: &str) -> Result<Answer, UpgradeError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    match answer.parse(head) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        _ => return Err(UpgradeError::BadAnswer),
    }
    match (answer.code, answer.version) {
        (Some(101), Some(1)) => {}
        (Some(100 | 102..=199), Some(1)) => return Ok(Answer::Interim),
        (Some(101 | 0..=99 | 600..), _) | (None, _) => return Err(UpgradeError::BadAnswer),
        (Some(status), _) => return Err(UpgradeError::Refused { status }),
    }
    let values = |name: &'static str| {
        let named =
            answer.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| visible(field.value).unwrap_or(""))
    };
    let only = |name: &'static str| {
        let mut values = values(name);
        values.next().filter(|_| values.next().is_none())
    };
    let upgraded = only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let mut options = values("connection").flat_map(list_items);
    if !upgraded || !options.any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return Err(UpgradeError::NotUpgraded);
    }
    if only("sec-websocket-accept").is_none_or(|value| value.as_bytes() != accept_value(key)) {
        return Err(UpgradeError::WrongAccept);
    }
    if values("sec-websocket-extensions").any(|value| !value.is_empty()) {
        return Err(UpgradeError::UnaskedExtension);
    }
    if values("sec-websocket-protocol").next().is_some() {
        return Err(UpgradeError::UnaskedSubprotocol);
    }
    Ok(Answer::Upgraded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_section_1_3_gives_the_accept_printed_there() {
        assert_eq!(&accept_value("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn fresh_keys_are_keys_and_differ() {
        let keys = [new_key(), new_key()];
        assert!(keys.iter().all(|key| is_key(key)), "{keys:?}");
        assert_ne!(keys[0], keys[1]);
    }
}
