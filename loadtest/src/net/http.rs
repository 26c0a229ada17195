//! HTTP/1.1 as far as a call needs it: one request and its response on a connection, and the
//! head of an upgrade request on the server's side. The heads are read by tungstenite.
//!
//! In:       the bytes of a request; a stream that is ready.
//! Out:      a [`Response`] with its body, or the [`Request`] of somebody who wants to upgrade.
//! Bounds:   [`HEAD_BYTES_MAX`], [`BODY_BYTES_MAX`].
//! Not here: deadlines (the owner's), redirects, keep-alive.

use std::fmt;
use std::io::{self, Read, Write};

use tungstenite::handshake::client::Response as ResponseHead;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;
use tungstenite::http::HeaderMap;
use tungstenite::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::stream::Stream;

/// The longest head of a request or response.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The longest body: what Twilio accepts as TwiML.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// A response. After a 101 `body` is what came behind the head: the first WebSocket bytes.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Response {
    /// A header as text; empty when absent or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The connection broke, or could not be made.
    Io(io::ErrorKind),
    /// The peer closed before its message was whole.
    Cut,
    /// Not HTTP/1.1.
    Malformed,
    /// A head or body beyond its bound.
    TooLong,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Io(kind) => kind.fmt(f),
            HttpError::Cut => write!(f, "the connection ended early"),
            HttpError::Malformed => write!(f, "what came is not HTTP/1.1"),
            HttpError::TooLong => write!(f, "what came is too long"),
        }
    }
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> HttpError {
        HttpError::Io(error.kind())
    }
}

/// One request under way.
pub struct Exchange {
    request: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    eof: bool,
}

impl Exchange {
    /// An exchange that is to send `request`.
    pub fn new(request: Vec<u8>) -> Exchange {
        Exchange { request, sent: 0, input: Vec::new(), eof: false }
    }

    /// Sends and reads as far as the stream allows. `Some` once the response is whole.
    pub fn poll(&mut self, stream: &mut Stream) -> Result<Option<Response>, HttpError> {
        if !write_from(stream, &self.request, &mut self.sent)? {
            return Ok(None);
        }
        self.eof |= read_into(stream, &mut self.input)?;
        match self.response()? {
            None if self.eof => Err(HttpError::Cut),
            done => Ok(done),
        }
    }

    fn response(&self) -> Result<Option<Response>, HttpError> {
        let parsed = ResponseHead::try_parse(&self.input).map_err(|_| HttpError::Malformed)?;
        let Some((head_bytes, head)) = parsed else { return Ok(None) };
        let rest = &self.input[head_bytes..];
        let status = head.status().as_u16();
        let body = match BodyLength::of(status, head.headers())? {
            BodyLength::Upgrade => Some(rest.to_vec()),
            BodyLength::Known(len) => rest.get(..len).map(<[u8]>::to_vec),
            BodyLength::Chunked => dechunk(rest)?,
            BodyLength::UntilEof => self.eof.then(|| rest.to_vec()),
        };
        Ok(body.map(|body| Response { status, headers: head.headers().clone(), body }))
    }
}

/// How long the body of a response is, RFC 9112 section 6.3.
enum BodyLength {
    Upgrade,
    Known(usize),
    Chunked,
    UntilEof,
}

impl BodyLength {
    fn of(status: u16, headers: &HeaderMap) -> Result<BodyLength, HttpError> {
        if status == 101 {
            return Ok(BodyLength::Upgrade);
        }
        if status == 204 || status == 304 {
            return Ok(BodyLength::Known(0));
        }
        if headers.get(TRANSFER_ENCODING).is_some_and(|coding| coding == "chunked") {
            return Ok(BodyLength::Chunked);
        }
        let Some(length) = headers.get(CONTENT_LENGTH) else { return Ok(BodyLength::UntilEof) };
        let length = length.to_str().ok().and_then(|text| text.parse().ok());
        match length.ok_or(HttpError::Malformed)? {
            length if length > BODY_BYTES_MAX => Err(HttpError::TooLong),
            length => Ok(BodyLength::Known(length)),
        }
    }
}

/// The body of a chunked message, `None` while its end has not come. RFC 9112 section 7.1.
fn dechunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..line]).map_err(|_| HttpError::Malformed)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| HttpError::Malformed)?;
        if size == 0 {
            return Ok(Some(body));
        }
        if size > BODY_BYTES_MAX || body.len() + size > BODY_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
        let from = line + 2;
        let Some(chunk) = rest.get(from..from + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        let Some(behind) = rest.get(from + size + 2..) else { return Ok(None) };
        rest = behind;
    }
}

/// The server's side of an upgrade: reads the request, writes the answer.
#[derive(Default)]
pub struct Answering {
    input: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

impl Answering {
    /// The request and the bytes behind it, once its head is whole.
    pub fn poll_request(
        &mut self,
        stream: &mut Stream,
    ) -> Result<Option<(Request, Vec<u8>)>, HttpError> {
        let eof = read_into(stream, &mut self.input)?;
        let parsed = Request::try_parse(&self.input).map_err(|_| HttpError::Malformed)?;
        match parsed {
            Some((head_bytes, request)) => Ok(Some((request, self.input.split_off(head_bytes)))),
            None if eof => Err(HttpError::Cut),
            None => Ok(None),
        }
    }

    /// Sets what is to be answered.
    pub fn answer(&mut self, bytes: Vec<u8>) {
        self.answer = bytes;
    }

    /// True once the answer has left.
    pub fn poll_sent(&mut self, stream: &mut Stream) -> Result<bool, HttpError> {
        Ok(write_from(stream, &self.answer, &mut self.sent)?)
    }
}

/// Writes what is left of `bytes`; true when nothing is.
fn write_from(stream: &mut Stream, bytes: &[u8], sent: &mut usize) -> io::Result<bool> {
    while *sent < bytes.len() {
        match stream.write(&bytes[*sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => *sent += taken,
            Err(error) if not_yet(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    match stream.flush() {
        Err(error) if !not_yet(&error) => Err(error),
        _ => Ok(true),
    }
}

/// Reads all there is behind `input`; true when the peer has closed.
fn read_into(stream: &mut Stream, input: &mut Vec<u8>) -> Result<bool, HttpError> {
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(true),
            Ok(taken) => input.extend_from_slice(&piece[..taken]),
            Err(error) if not_yet(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        if input.len() > HEAD_BYTES_MAX + BODY_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
    }
}

/// `NotConnected`: a TCP connect that is still under way.
fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(input: &[u8], eof: bool) -> Result<Option<Response>, HttpError> {
        Exchange { request: Vec::new(), sent: 0, input: input.to_vec(), eof }.response()
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..whole.len() {
            assert!(response(&whole[..cut], false).unwrap().is_none(), "cut at {cut}");
        }
        assert_eq!(response(whole, false).unwrap().unwrap().body, b"hello");
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n");
        let read = response(whole.as_bytes(), false).unwrap().unwrap();
        assert_eq!(read.body, b"abc0123456789");
    }

    #[test]
    fn bytes_behind_an_upgrade_are_kept() {
        let whole = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a";
        assert_eq!(response(whole, false).unwrap().unwrap().body, b"\x81\x01a");
    }

    #[test]
    fn a_body_beyond_the_bound_is_refused() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n";
        assert_eq!(response(whole, false).unwrap_err(), HttpError::TooLong);
    }
}
