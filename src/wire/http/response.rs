//! Responses, RFC 9112 section 4 and RFC 9110 section 15, and the pieces of a request of ours.
//!
//! In:       a status, fields, a body.
//! Out:      bytes appended to the caller's buffer.
//! Bounds:   the buffer is the caller's to bound.
//! Not here: which status, which fields; `Date`, which would need a clock.
//!
//! Nothing a value contains can begin a new line: control bytes are written as spaces.

use super::head::is_token;

/// Appends a whole response.
///
/// `content_type`: left out if empty. `extra`: more fields; one whose name is not a token is left
/// out. `keep_alive`: whether the connection stays open. `head_only`: the request was HEAD; the
/// length of the body is told, the body is not sent. A 204 or 304 has neither body nor length.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    extra: &[(&str, &str)],
    body: &[u8],
    keep_alive: bool,
    head_only: bool,
) {
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    write_status_line(out, status);
    if !bodiless && !content_type.is_empty() {
        write_field(out, "Content-Type", content_type);
    }
    if !bodiless {
        write_field(out, "Content-Length", &body.len().to_string());
    }
    // `Upgrade` is for this hop alone, and is said to be (RFC 9110 section 7.8).
    let names_upgrade = extra.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let options = match (keep_alive, names_upgrade) {
        (true, false) => "keep-alive",
        (true, true) => "keep-alive, Upgrade",
        (false, false) => "close",
        (false, true) => "close, Upgrade",
    };
    write_field(out, "Connection", options);
    for (name, value) in extra {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends the interim response that lets a sender go on with its body (RFC 9110, 15.2.1).
pub fn write_continue(out: &mut Vec<u8>) {
    write_status_line(out, 100);
    out.extend_from_slice(b"\r\n");
}

/// Appends `HTTP/1.1 status reason`. A status outside 100 to 999 is written as 500.
fn write_status_line(out: &mut Vec<u8>, status: u16) {
    let status = if (100..=999).contains(&status) { status } else { 500 };
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a field line. Control bytes in the value become spaces; nothing is written under a name
/// that is not a token.
pub(in crate::wire) fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    if !is_token(name.as_bytes()) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let plain = |byte: u8| if byte < b' ' && byte != b'\t' || byte == 0x7f { b' ' } else { byte };
    out.extend(value.bytes().map(plain));
    out.extend_from_slice(b"\r\n");
}

/// Appends the target of a request of ours, in origin form. What may not stand there is
/// percent-encoded.
pub(in crate::wire) fn write_target(out: &mut Vec<u8>, target: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if !target.starts_with('/') {
        out.push(b'/');
    }
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && byte != b'#' {
            out.push(byte);
        } else {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.push(b'%');
            out.extend_from_slice(&digits);
        }
    }
}

/// The words behind a status; readers ignore them. Empty for one this server never sends.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
