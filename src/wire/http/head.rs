//! The head of a request, RFC 9112 sections 3 and 5: method, target, version, header fields.
//!
//! In:       bytes that begin with a request, or with a part of one.
//! Out:      a [`RequestHead`] borrowed from them.
//! Bounds:   those of `lines`; the fields stand in an array of [`HEADERS_MAX`].
//! Not here: what a path means, percent-decoding, the body (`body`).

use super::lines::head_bytes;
use super::{HEADERS_MAX, HttpError};

/// The methods this server has routes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Fetch; also every upgrade.
    Get,
    /// As GET, answered without the body.
    Head,
    /// Carriers' webhooks.
    Post,
    /// What may be asked, of one path or of the server (`*`): 204 with `Allow`.
    Options,
    /// Any other that RFC 9110 (section 9) or RFC 5789 defines: no path takes it, 405.
    Other,
    /// A token that neither defines: 501.
    Unknown,
}

/// The versions this server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Closes after each response unless told otherwise; knows no chunks, no `100 Continue`.
    Http10,
    /// Stays open unless told otherwise.
    Http11,
}

/// What there is of a request.
#[expect(clippy::large_enum_variant, reason = "fields in an array, on one handshake's stack")]
#[derive(Debug)]
pub enum HeadDecoded<'b> {
    /// A whole head; what follows `used` bytes is the body, or the next request.
    Head {
        /// The head.
        head: RequestHead<'b>,
        /// Its length in bytes, with the empty line.
        used: usize,
    },
    /// Nothing consumed. The head's end has not arrived.
    NeedMore,
}

/// The head of a request that broke no rule.
#[derive(Debug, Clone)]
pub struct RequestHead<'b> {
    /// What is asked.
    pub method: Method,
    /// Of what, as sent: origin form (`/path?query`), absolute form (`http://host/path?query`),
    /// authority form (CONNECT) or `*` (OPTIONS). Visible ASCII without `#`.
    pub target: &'b str,
    /// The path in it, as sent: begins with `/`, or is `*`; empty in authority form.
    pub path: &'b str,
    /// What follows the first `?`, as sent; `None` without one.
    pub query: Option<&'b str>,
    /// The version of the sender.
    pub version: Version,
    /// The host and port of the target, else of `Host`; empty if `Host` is empty.
    host: Option<&'b str>,
    fields: [httparse::Header<'b>; HEADERS_MAX],
    fields_count: usize,
}

/// Decodes the head at the front of `buf`. One empty line before it is passed over, as section 2.2
/// asks for.
///
/// # Errors
/// Everything but the body's framing, which [`mod@super::body`] reads. The request is to be
/// answered with [`HttpError::status`] and the connection closed.
pub fn decode_request(buf: &[u8]) -> Result<HeadDecoded<'_>, HttpError> {
    let blank = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(head_bytes) = head_bytes(&buf[blank..])? else { return Ok(HeadDecoded::NeedMore) };
    let used = blank + head_bytes;
    let head = parse(&buf[blank..used])?;
    Ok(HeadDecoded::Head { head, used })
}

/// Reads a whole head.
fn parse(head: &[u8]) -> Result<RequestHead<'_>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        Ok(_) => return Err(HttpError::BadRequestLine),
        Err(error) => return Err(from_tokens(error, head)),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(HttpError::BadRequestLine);
    };
    let fields_count = request.headers.len();
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let target = Target::parse(method, target)?;
    let mut head = RequestHead {
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Method::Other,
            _ => Method::Unknown,
        },
        target: target.whole,
        path: target.path,
        query: target.query,
        version,
        host: None,
        fields,
        fields_count,
    };
    let host = host_field(&head)?;
    head.host = target.authority.or(host);
    check_expectation(&head)?;
    Ok(head)
}

/// Whose rule a token broke.
fn from_tokens(error: httparse::Error, head: &[u8]) -> HttpError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HttpError::BadHeader,
        httparse::Error::TooManyHeaders => HttpError::TooManyHeaders,
        httparse::Error::Version if has_version(head) => HttpError::UnknownVersion,
        httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token => HttpError::BadRequestLine,
    }
}

/// Whether the first line is three words of which the last has the shape of a version.
fn has_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let shape = matches!(
        words.next(),
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
    );
    shape && words.next().is_none()
}

/// What a request is about (section 3.2).
struct Target<'b> {
    whole: &'b str,
    /// Only of absolute and authority form.
    authority: Option<&'b str>,
    path: &'b str,
    query: Option<&'b str>,
}

impl<'b> Target<'b> {
    fn parse(method: &str, whole: &'b str) -> Result<Target<'b>, HttpError> {
        if !whole.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HttpError::BadTarget);
        }
        if method == "CONNECT" {
            let has_port = whole.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
            return match is_authority(whole) && has_port {
                true => Ok(Target { whole, authority: Some(whole), path: "", query: None }),
                false => Err(HttpError::BadTarget),
            };
        }
        if whole == "*" && method == "OPTIONS" {
            return Ok(Target { whole, authority: None, path: "*", query: None });
        }
        if whole.starts_with('/') {
            let (path, query) = split_query(whole);
            return Ok(Target { whole, authority: None, path, query });
        }
        Target::parse_absolute(whole)
    }

    /// `http://host/path?query`. The path may be missing, and is `/` then.
    fn parse_absolute(whole: &'b str) -> Result<Target<'b>, HttpError> {
        let (scheme, rest) = whole.split_once("://").ok_or(HttpError::BadTarget)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(HttpError::BadTarget);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.is_empty() || !is_authority(authority) {
            return Err(HttpError::BadHost);
        }
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/" } else { path };
        Ok(Target { whole, authority: Some(authority), path, query })
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// `Host`: exactly one in HTTP/1.1, at most one in 1.0; a host and perhaps a port, or nothing.
fn host_field<'b>(head: &RequestHead<'b>) -> Result<Option<&'b str>, HttpError> {
    let mut lines = head.values("host");
    let Some(value) = lines.next() else {
        return match head.version {
            Version::Http10 => Ok(None),
            Version::Http11 => Err(HttpError::HostMissing),
        };
    };
    if lines.next().is_some() {
        return Err(HttpError::HostTwice);
    }
    match visible(value) {
        Some(host) if host.is_empty() || is_authority(host) => Ok(Some(host)),
        _ => Err(HttpError::BadHost),
    }
}

/// Whether `text` is `host [":" port]` without user information, RFC 3986 section 3.2.2. The host
/// may be empty.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return is_address(address),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) if is_address(address) => ("", port),
            _ => return false,
        },
        None => match text.split_once(':') {
            Some(("", _)) => return false,
            Some((host, port)) => (host, port),
            None => (text, ""),
        },
    };
    // A port may be empty; six digits are none.
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok());
    is_port && is_name(host)
}

/// A registered name or an IPv4 address (RFC 3986, `reg-name`), but for the comma, which parts the
/// values of lists.
fn is_name(host: &str) -> bool {
    let mut pieces = host.split('%');
    let plain = |piece: &str| {
        piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte))
    };
    let is_escape = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    pieces.next().is_none_or(plain)
        && pieces.all(|piece| piece.get(..2).is_some_and(is_escape) && plain(piece))
}

/// An IPv6 address between its brackets.
fn is_address(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `Expect` may only say what we can do.
fn check_expectation(head: &RequestHead<'_>) -> Result<(), HttpError> {
    let known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    match head.version == Version::Http10 || head.values("expect").all(known) {
        true => Ok(()),
        false => Err(HttpError::UnknownExpectation),
    }
}

impl<'b> RequestHead<'b> {
    /// The value of a field that is there exactly once, in visible ASCII, spaces and tabs; `None`
    /// if it is missing, there twice, or has other bytes. `name` in any case.
    ///
    /// Twice is none, because whoever put the second one there may not be who put the first.
    pub fn header(&self, name: &str) -> Option<&'b str> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { visible(value) }
    }

    /// Every value of a field, in the order sent, without the space around it.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.headers().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The elements of a field that is a list, over all its lines: split at commas, without the
    /// space around them, empty ones and lines of other than visible ASCII passed over.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'b str> {
        self.values(name).filter_map(visible).flat_map(list_items)
    }

    /// Every field in the order sent: its name, a token, and its value, bytes without controls.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.fields[..self.fields_count].iter().map(|field| (field.name, field.value))
    }

    /// The host and perhaps the port the request is for: of an absolute target, which counts more
    /// than `Host` (section 3.2.2), else of `Host`. `None` only in HTTP/1.0 or if it is empty.
    pub fn host(&self) -> Option<&'b str> {
        self.host.filter(|host| !host.is_empty())
    }

    /// Whether the sender expects the connection to stay open after the response (section 9.3).
    pub fn keep_alive(&self) -> bool {
        let said = |option: &str| self.list("connection").any(|s| s.eq_ignore_ascii_case(option));
        match self.version {
            Version::Http10 => said("keep-alive") && !said("close"),
            Version::Http11 => !said("close"),
        }
    }

    /// Whether the sender waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.values("expect").next().is_some()
    }
}

/// A value as text, if it has nothing but visible ASCII, spaces and tabs.
pub(in crate::wire) fn visible(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if plain { std::str::from_utf8(value).ok() } else { None }
}

/// The elements of a list: split at commas, without the space around them, without empty ones.
pub(in crate::wire) fn list_items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty())
}

/// Whether this is a token, RFC 9110 section 5.6.2.
pub(in crate::wire) fn is_token(text: &[u8]) -> bool {
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(in_token)
}
