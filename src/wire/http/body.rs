//! Bodies of requests, RFC 9112 sections 6 and 7.1: how long one is, and reading it.
//!
//! In:       the head, then the bytes behind it, cut anywhere.
//! Out:      the body piece by piece, borrowed from the input, without its framing.
//! Bounds:   the body limit the caller gives, [`CHUNK_LINE_MAX`], [`CHUNK_EXTENSIONS_MAX`],
//!           [`TRAILERS_MAX`].
//! Not here: what a body means, deadlines.

use super::head::{is_token, visible};
use super::lines::line;
use super::{HttpError, RequestHead, Version};

/// The longest line with the size of a chunk, in bytes without its line end. Beyond it: 400.
pub const CHUNK_LINE_MAX: usize = 256;
/// The most bytes of chunk extensions in one body, which nobody reads. Beyond them: 400.
pub const CHUNK_EXTENSIONS_MAX: usize = 1 << 10;
/// The most bytes of trailer lines, which are thrown away. Beyond them: 431.
pub const TRAILERS_MAX: usize = 4 << 10;

/// How the length of a body is told (section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing follows the head.
    None,
    /// So many bytes follow, perhaps 0.
    Length(u64),
    /// Chunks follow, until one of size 0.
    Chunked,
}

/// How long the body behind `head` is. Asked of every request, also of one whose body nobody
/// wants: the next request begins behind it.
///
/// # Errors
/// Whatever two readers could take for two lengths. The connection is to be closed.
pub fn body(head: &RequestHead<'_>) -> Result<Body, HttpError> {
    let mut lengths = head.values("content-length");
    let length = lengths.next();
    if head.values("transfer-encoding").next().is_some() {
        return match length {
            Some(_) => Err(HttpError::LengthAndCoding),
            None => check_codings(head).map(|()| Body::Chunked),
        };
    }
    let Some(length) = length else { return Ok(Body::None) };
    if lengths.next().is_some() || length.contains(&b',') {
        return Err(HttpError::LengthTwice);
    }
    parse_length(length).map(Body::Length)
}

/// `chunked`, once, and nothing else. What ends with it but begins with something else has an end
/// we can find but a content we cannot read; anything else has no end.
fn check_codings(head: &RequestHead<'_>) -> Result<(), HttpError> {
    if head.version == Version::Http10 {
        return Err(HttpError::BadCoding);
    }
    let mut unknown = false;
    let mut chunked = false;
    for value in head.values("transfer-encoding") {
        let value = visible(value).ok_or(HttpError::BadCoding)?;
        // Empty elements too are refused: no sender of ours needs them, smugglers do.
        for coding in value.split(',').map(|coding| coding.trim_matches([' ', '\t'])) {
            if chunked || coding.is_empty() {
                return Err(HttpError::BadCoding);
            }
            chunked = coding.eq_ignore_ascii_case("chunked");
            unknown |= !chunked;
        }
    }
    match (chunked, unknown) {
        (true, false) => Ok(()),
        (true, true) => Err(HttpError::UnknownCoding),
        (false, _) => Err(HttpError::BadCoding),
    }
}

/// Digits and nothing else. More than 64 bits hold is too long by any limit.
fn parse_length(digits: &[u8]) -> Result<u64, HttpError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::BadLength);
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(HttpError::BodyTooLong)
}

/// What a body reader made of the bytes it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPart<'b> {
    /// The next bytes of the body; never empty.
    Bytes(&'b [u8]),
    /// The body is whole; what follows is the next request.
    End,
    /// No whole piece of framing and no byte of the body.
    NeedMore,
}

/// Reads a body of either kind.
#[derive(Debug)]
pub enum BodyReader {
    /// So many bytes are still to come.
    Length {
        /// 0 when the body is whole.
        left: u64,
    },
    /// Chunks are still to come.
    Chunked(ChunkedReader),
}

impl BodyReader {
    /// A reader of such a body, of at most `body_max` bytes.
    ///
    /// # Errors
    /// [`HttpError::BodyTooLong`] at once for a length over `body_max`; chunks are counted as they
    /// come.
    pub fn new(body: Body, body_max: u64) -> Result<BodyReader, HttpError> {
        match body {
            Body::None => Ok(BodyReader::Length { left: 0 }),
            Body::Length(left) if left <= body_max => Ok(BodyReader::Length { left }),
            Body::Length(_) => Err(HttpError::BodyTooLong),
            Body::Chunked => Ok(BodyReader::Chunked(ChunkedReader::new(body_max))),
        }
    }

    /// The next part of the body at the front of `buf`, and how many bytes were used, framing
    /// included. Call again behind those until [`BodyPart::NeedMore`] or [`BodyPart::End`].
    ///
    /// # Errors
    /// Those of [`ChunkedReader::next`].
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<(BodyPart<'b>, usize), HttpError> {
        match self {
            BodyReader::Length { left: 0 } => Ok((BodyPart::End, 0)),
            BodyReader::Length { left } => Ok(take(left, buf)),
            BodyReader::Chunked(chunked) => chunked.next(buf),
        }
    }
}

/// As many bytes of `buf` as are there, of `left` that are to come.
fn take<'b>(left: &mut u64, buf: &'b [u8]) -> (BodyPart<'b>, usize) {
    let bytes = &buf[..usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()))];
    *left -= bytes.len() as u64;
    let part = if bytes.is_empty() { BodyPart::NeedMore } else { BodyPart::Bytes(bytes) };
    (part, bytes.len())
}

/// Reads a chunked body (section 7.1). Extensions and trailers are checked, counted and forgotten.
#[derive(Debug)]
pub struct ChunkedReader {
    next: Next,
    /// How many more bytes of body the caller will take.
    body_left: u64,
    /// How many more bytes of extensions we will pass over.
    extensions_left: usize,
    /// How many more bytes of trailer lines we will pass over.
    trailers_left: usize,
}

/// What a chunked body has next.
#[derive(Debug)]
enum Next {
    /// The line with a chunk's size.
    Size,
    /// So many bytes of the chunk; not 0.
    Bytes { left: u64 },
    /// The line end behind a chunk.
    LineEnd,
    /// Trailer lines, or the empty line that ends the body.
    Trailers,
    /// Nothing: the body is whole.
    Nothing,
}

impl ChunkedReader {
    /// A reader of at most `body_max` bytes of body.
    pub fn new(body_max: u64) -> ChunkedReader {
        ChunkedReader {
            next: Next::Size,
            body_left: body_max,
            extensions_left: CHUNK_EXTENSIONS_MAX,
            trailers_left: TRAILERS_MAX,
        }
    }

    /// The next part of the body at the front of `buf`, and how many bytes were used, framing
    /// included. Call again behind those until [`BodyPart::NeedMore`] or [`BodyPart::End`].
    ///
    /// # Errors
    /// A size that is not hexadecimal, a chunk without its line end, a limit, a forbidden byte. A
    /// chunk that would pass the limit is refused by its size, before it has arrived.
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<(BodyPart<'b>, usize), HttpError> {
        let mut used = 0;
        loop {
            let rest = &buf[used..];
            let passed = match &mut self.next {
                Next::Nothing => return Ok((BodyPart::End, used)),
                Next::Bytes { left } => {
                    let (part, bytes) = take(left, rest);
                    if *left == 0 {
                        self.next = Next::LineEnd;
                    }
                    return Ok((part, used + bytes));
                }
                Next::Size => self.pass_size(rest)?,
                Next::LineEnd => self.pass_line_end(rest)?,
                Next::Trailers => self.pass_trailer(rest)?,
            };
            match passed {
                Some(bytes) => used += bytes,
                None => return Ok((BodyPart::NeedMore, used)),
            }
        }
    }

    /// `size [; extension]`: how many bytes the line took, `None` while it is not whole.
    fn pass_size(&mut self, buf: &[u8]) -> Result<Option<usize>, HttpError> {
        let Some(line) = line(buf, CHUNK_LINE_MAX, HttpError::BadChunk)? else { return Ok(None) };
        let (size, extension) = match line.iter().position(|&byte| byte == b';') {
            Some(at) => line.split_at(at),
            None => (line, &[][..]),
        };
        self.extensions_left =
            self.extensions_left.checked_sub(extension.len()).ok_or(HttpError::BadChunk)?;
        let size = parse_size(size)?;
        self.body_left = self.body_left.checked_sub(size).ok_or(HttpError::BodyTooLong)?;
        self.next = if size == 0 { Next::Trailers } else { Next::Bytes { left: size } };
        Ok(Some(line.len() + 2))
    }

    fn pass_line_end(&mut self, buf: &[u8]) -> Result<Option<usize>, HttpError> {
        match buf {
            [b'\r', b'\n', ..] => {
                self.next = Next::Size;
                Ok(Some(2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(HttpError::BadChunk),
        }
    }

    /// One trailer line, or the end.
    fn pass_trailer(&mut self, buf: &[u8]) -> Result<Option<usize>, HttpError> {
        let Some(line) = line(buf, self.trailers_left, HttpError::TrailersTooLong)? else {
            return Ok(None);
        };
        if line.is_empty() {
            self.next = Next::Nothing;
            return Ok(Some(2));
        }
        let name = line.split(|&byte| byte == b':').next().unwrap_or(line);
        if name.len() == line.len() || !is_token(name) {
            return Err(HttpError::BadHeader);
        }
        let bytes = line.len() + 2;
        self.trailers_left =
            self.trailers_left.checked_sub(bytes).ok_or(HttpError::TrailersTooLong)?;
        Ok(Some(bytes))
    }
}

/// Hexadecimal digits and nothing else. More than 64 bits hold is too long by any limit.
fn parse_size(digits: &[u8]) -> Result<u64, HttpError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(HttpError::BadChunk);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| HttpError::BadChunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| HttpError::BodyTooLong)
}
