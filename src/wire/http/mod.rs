//! HTTP/1.1 as a server reads and writes it, RFC 9112, strictly: what two readers could understand
//! in two ways is refused.
//!
//! In:       bytes as they left the socket or TLS, cut anywhere.
//! Out:      a [`RequestHead`] borrowed from them, its body piece by piece ([`BodyReader`]), the
//!           bytes of a response.
//! Bounds:   [`REQUEST_LINE_MAX`], [`HEAD_MAX`], [`HEADERS_MAX`], [`CHUNK_LINE_MAX`],
//!           [`CHUNK_EXTENSIONS_MAX`], [`TRAILERS_MAX`], and the body limit the caller gives.
//! Not here: deadlines, routes, percent-decoding (`wire::form`), the upgrade (`wire::upgrade`).
//!
//! | file | what it holds |
//! |---|---|
//! | `lines` | where a head ends; bytes that may not be in one |
//! | `head` | the request line, the target, the header fields |
//! | `body` | how long a body is, and reading it |
//! | `response` | writing |
//!
//! Lines end with CR LF and nothing else. No folded lines, no space before a colon, no control
//! byte but the tab, no body of two lengths, no transfer coding but one `chunked`.

mod body;
mod head;
mod lines;
mod response;

pub use body::{
    Body, BodyPart, BodyReader, CHUNK_EXTENSIONS_MAX, CHUNK_LINE_MAX, ChunkedReader, TRAILERS_MAX,
    body,
};
pub use head::{HeadDecoded, Method, RequestHead, Version, decode_request, is_authority};
pub(in crate::wire) use head::{is_token, list_items, visible};
pub(in crate::wire) use lines::head_bytes;
pub use response::{write_continue, write_response};
pub(in crate::wire) use response::{write_field, write_target};

/// The longest request line, in bytes without its line end. Beyond it: 414.
pub const REQUEST_LINE_MAX: usize = 8 << 10;
/// The longest head, in bytes with the empty line that ends it. Beyond it: 431.
pub const HEAD_MAX: usize = 16 << 10;
/// The most header lines. Beyond them: 431.
pub const HEADERS_MAX: usize = 64;

/// Why a request is refused. Each variant names the status we answer with, after which the
/// connection is closed: where the next request begins is no longer certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// 400: a control byte other than the tab; a CR without LF or an LF without CR (section 2.2).
    ForbiddenByte,
    /// 400: the first line is not `method SP target SP version` (section 3).
    BadRequestLine,
    /// 400: the target has none of the four forms, or not the one its method needs (section 3.2).
    BadTarget,
    /// 400: a header line that is folded, has no colon, or a name that is not a token directly
    /// before the colon (section 5).
    BadHeader,
    /// 400: HTTP/1.1 without `Host` (section 3.2).
    HostMissing,
    /// 400: two `Host` lines (section 3.2).
    HostTwice,
    /// 400: a `Host`, or the authority of an absolute target, that is not a host and a port.
    BadHost,
    /// 400: a `Content-Length` that is not a plain decimal number (section 6.2).
    BadLength,
    /// 400: `Content-Length` said twice, differing or not (section 6.3).
    LengthTwice,
    /// 400: `Content-Length` beside `Transfer-Encoding` (section 6.1).
    LengthAndCoding,
    /// 400: a transfer coding whose end cannot be told: `chunked` is not last, or is not once, or
    /// the version is 1.0 (section 6.1).
    BadCoding,
    /// 400: a chunk size, its line or the line end after a chunk is not as section 7.1 has it.
    BadChunk,
    /// 413: a body over the caller's limit.
    BodyTooLong,
    /// 414: a request line over [`REQUEST_LINE_MAX`].
    RequestLineTooLong,
    /// 417: an expectation other than `100-continue` (RFC 9110, section 10.1.1).
    UnknownExpectation,
    /// 431: a head over [`HEAD_MAX`].
    HeadTooLong,
    /// 431: more than [`HEADERS_MAX`] header lines.
    TooManyHeaders,
    /// 431: trailer lines over [`TRAILERS_MAX`].
    TrailersTooLong,
    /// 501: a transfer coding before `chunked` that we do not know (section 6.1).
    UnknownCoding,
    /// 505: a version other than 1.0 and 1.1.
    UnknownVersion,
}

impl HttpError {
    /// The status to answer with.
    pub const fn status(self) -> u16 {
        match self {
            HttpError::ForbiddenByte
            | HttpError::BadRequestLine
            | HttpError::BadTarget
            | HttpError::BadHeader
            | HttpError::HostMissing
            | HttpError::HostTwice
            | HttpError::BadHost
            | HttpError::BadLength
            | HttpError::LengthTwice
            | HttpError::LengthAndCoding
            | HttpError::BadCoding
            | HttpError::BadChunk => 400,
            HttpError::BodyTooLong => 413,
            HttpError::RequestLineTooLong => 414,
            HttpError::UnknownExpectation => 417,
            HttpError::HeadTooLong | HttpError::TooManyHeaders | HttpError::TrailersTooLong => 431,
            HttpError::UnknownCoding => 501,
            HttpError::UnknownVersion => 505,
        }
    }

    /// The name of this reason in counters and error bodies: one word, snake case.
    pub const fn label(self) -> &'static str {
        match self {
            HttpError::ForbiddenByte => "forbidden_byte",
            HttpError::BadRequestLine => "bad_request_line",
            HttpError::BadTarget => "bad_target",
            HttpError::BadHeader => "bad_header",
            HttpError::HostMissing => "host_missing",
            HttpError::HostTwice => "host_twice",
            HttpError::BadHost => "bad_host",
            HttpError::BadLength => "bad_length",
            HttpError::LengthTwice => "length_twice",
            HttpError::LengthAndCoding => "length_and_coding",
            HttpError::BadCoding => "bad_coding",
            HttpError::BadChunk => "bad_chunk",
            HttpError::BodyTooLong => "body_too_long",
            HttpError::RequestLineTooLong => "request_line_too_long",
            HttpError::UnknownExpectation => "unknown_expectation",
            HttpError::HeadTooLong => "head_too_long",
            HttpError::TooManyHeaders => "too_many_headers",
            HttpError::TrailersTooLong => "trailers_too_long",
            HttpError::UnknownCoding => "unknown_coding",
            HttpError::UnknownVersion => "unknown_version",
        }
    }
}
