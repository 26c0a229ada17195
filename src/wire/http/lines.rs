//! The lines of a head, before anybody asks what they say, RFC 9112 section 2.
//!
//! In:       bytes that begin with a head, or with a part of one.
//! Out:      how long the head is, once it is whole.
//! Bounds:   [`REQUEST_LINE_MAX`], [`HEAD_MAX`], [`HEADERS_MAX`].
//! Not here: what the lines say (`head`).

use super::{HEAD_MAX, HEADERS_MAX, HttpError, REQUEST_LINE_MAX};

/// The length of the head at the front of `buf`, in bytes with the empty line that ends it; `None`
/// while it has no end yet.
///
/// Works from front to back, so that a head is refused for the same reason however it was cut. A
/// byte that has no place in HTTP, as of a TLS hello on a plain port, is refused when it comes.
pub(in crate::wire) fn head_bytes(buf: &[u8]) -> Result<Option<usize>, HttpError> {
    let within = &buf[..buf.len().min(HEAD_MAX)];
    let mut start = 0;
    for lines_before in 0.. {
        let (max, too_long) = match lines_before {
            0 => (REQUEST_LINE_MAX, HttpError::RequestLineTooLong),
            _ => (HEAD_MAX, HttpError::HeadTooLong),
        };
        let Some(line) = line(&within[start..], max, too_long)? else { break };
        start += line.len() + 2;
        if line.is_empty() {
            return Ok(Some(start));
        }
        if lines_before > HEADERS_MAX {
            return Err(HttpError::TooManyHeaders);
        }
    }
    if within.len() == HEAD_MAX { Err(HttpError::HeadTooLong) } else { Ok(None) }
}

/// The line at the front of `buf`, without its CR LF; `None` while it has no end. A line that does
/// not end within `max` bytes is `too_long`.
pub(super) fn line(
    buf: &[u8],
    max: usize,
    too_long: HttpError,
) -> Result<Option<&[u8]>, HttpError> {
    let within = &buf[..buf.len().min(max + 2)];
    let end = within.iter().position(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f);
    match end.map(|end| (&within[..end], &within[end..])) {
        // A CR at the very end of what may be looked at: its LF is still to come, or too far.
        Some((_, [b'\r'])) | None if within.len() == max + 2 => Err(too_long),
        Some((_, [b'\r'])) | None => Ok(None),
        Some((line, [b'\r', b'\n', ..])) => Ok(Some(line)),
        Some(_) => Err(HttpError::ForbiddenByte),
    }
}
