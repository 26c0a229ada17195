//! Heads of requests as senders, attackers and scanners write them: what is read, what is refused
//! and with which status, however the bytes are cut.

use proptest::prelude::*;
use vocaris::wire::http::{
    HEAD_MAX, HEADERS_MAX, HeadDecoded, HttpError, Method, REQUEST_LINE_MAX, RequestHead, Version,
    body, decode_request,
};

/// The whole head at the front of `bytes`, which is there in full.
#[track_caller]
fn head(bytes: &[u8]) -> RequestHead<'_> {
    match decode_request(bytes) {
        Ok(HeadDecoded::Head { head, used }) => {
            assert_eq!(used, bytes.len());
            head
        }
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Why `bytes` are refused; the same reason as soon as it can be known, and for good.
#[track_caller]
fn refusal(bytes: &[u8]) -> HttpError {
    let whole = match decode_request(bytes) {
        Err(error) => error,
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(bytes)),
    };
    let mut refused = false;
    for cut in 0..bytes.len() {
        match decode_request(&bytes[..cut]) {
            Ok(HeadDecoded::NeedMore) => assert!(!refused, "refused, then not, at {cut}"),
            Ok(HeadDecoded::Head { .. }) => panic!("a head within a refused one at {cut}"),
            Err(error) => {
                assert_eq!(error, whole, "cut at {cut}");
                refused = true;
            }
        }
    }
    whole
}

/// A GET with these lines behind `Host`.
fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

const WEBHOOK: &str = "POST /twilio/incoming?x=1&y=%20 HTTP/1.1\r\n\
    Host: voice.example.com\r\n\
    User-Agent: TwilioProxy/1.1\r\n\
    Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n\
    X-Twilio-Signature: \tOQReu++Gx1MVqjFecQxzzB7kOf8= \r\n\
    Empty:\r\n\
    Content-Length: 5\r\n\r\n";

#[test]
fn a_webhook_is_read_whole_and_needs_more_at_every_cut() {
    let bytes = WEBHOOK.as_bytes();
    for cut in 0..bytes.len() {
        assert!(matches!(decode_request(&bytes[..cut]), Ok(HeadDecoded::NeedMore)), "{cut}");
    }
    let head = head(bytes);
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.target, "/twilio/incoming?x=1&y=%20");
    assert_eq!((head.path, head.query), ("/twilio/incoming", Some("x=1&y=%20")));
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.host(), Some("voice.example.com"));
    assert_eq!(head.header("x-twilio-signature"), Some("OQReu++Gx1MVqjFecQxzzB7kOf8="));
    assert_eq!(head.header("EMPTY"), Some(""));
    assert_eq!(head.header("absent"), None);
    assert_eq!(head.headers().count(), 6);
    assert_eq!(head.headers().next(), Some(("Host", &b"voice.example.com"[..])));
}

#[test]
fn the_next_request_begins_behind_the_one_that_was_used() {
    let bytes = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    let Ok(HeadDecoded::Head { head: first, used }) = decode_request(bytes) else { panic!() };
    let second = head(&bytes[used..]);
    assert_eq!((first.path, second.path), ("/a", "/b"));
}

#[test]
fn one_empty_line_before_a_request_is_passed_over_and_no_second() {
    assert_eq!(head(b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n").path, "/a");
    assert_eq!(refusal(b"\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"), HttpError::BadRequestLine);
    assert_eq!(refusal(b"\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"), HttpError::ForbiddenByte);
}

#[test]
fn methods_are_tokens_of_which_four_are_served_and_five_are_known() {
    let known = [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("OPTIONS", Method::Options),
        ("PUT", Method::Other),
        ("DELETE", Method::Other),
        ("TRACE", Method::Other),
        ("PATCH", Method::Other),
        ("get", Method::Unknown),
        ("M-SEARCH", Method::Unknown),
    ];
    for (name, method) in known {
        let bytes = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(head(bytes.as_bytes()).method, method);
    }
    for name in ["", "G T", "GET\t", "GE(T", "G\u{e9}T", "\"GET\""] {
        let bytes = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refusal(bytes.as_bytes()), HttpError::BadRequestLine, "{name:?}");
    }
}

#[test]
fn request_lines_of_another_shape_are_refused() {
    for line in [
        "GET",
        "GET /",
        "GET /\t",
        "/ HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/1.10",
        "GET / HTTP/11.1",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET / H",
        "SSH-2.0-OpenSSH_9.9",
    ] {
        let bytes = format!("{line}\r\nHost: a\r\n\r\n");
        let error = refusal(bytes.as_bytes());
        assert_eq!((error, error.status()), (HttpError::BadRequestLine, 400), "{line:?}");
    }
}

#[test]
fn versions_other_than_1_0_and_1_1_are_505() {
    assert_eq!(head(b"GET / HTTP/1.0\r\n\r\n").version, Version::Http10);
    for version in ["0.9", "1.2", "1.9", "2.0", "3.0"] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let error = refusal(bytes.as_bytes());
        assert_eq!((error, error.status()), (HttpError::UnknownVersion, 505));
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(decode_request(preface).err(), Some(HttpError::UnknownVersion));
}

#[test]
fn targets_of_all_four_forms_are_read() {
    let target = |line: &str| {
        let bytes = format!("{line} HTTP/1.1\r\nHost: field.example\r\n\r\n");
        let head = head(bytes.as_bytes());
        let owned = |text: &str| text.to_owned();
        (owned(head.path), head.query.map(owned), head.host().map(owned))
    };
    let expect = |line: &str, path: &str, query: Option<&str>, host: &str| {
        let expected = (path.to_owned(), query.map(str::to_owned), Some(host.to_owned()));
        assert_eq!(target(line), expected, "{line}");
    };
    let field = "field.example";
    expect("GET /", "/", None, field);
    expect("GET /a/b?c=d?e", "/a/b", Some("c=d?e"), field);
    expect("GET /?", "/", Some(""), field);
    expect("GET //x//y", "//x//y", None, field);
    expect("GET /%2e%zz", "/%2e%zz", None, field);
    expect("GET http://other.example/p?q", "/p", Some("q"), "other.example");
    expect("GET HTTP://other.example:8080", "/", None, "other.example:8080");
    expect("GET https://other.example?source=twilio", "/", Some("source=twilio"), "other.example");
    expect("GET http://[::1]:80/", "/", None, "[::1]:80");
    expect("OPTIONS *", "*", None, field);
    expect("OPTIONS /x", "/x", None, field);
    expect("CONNECT proxy.example:443", "", None, "proxy.example:443");
}

#[test]
fn targets_of_no_form_are_refused() {
    for line in [
        "GET *",
        "GET a",
        "GET a/b",
        "GET /a#b",
        "GET /caf\u{e9}",
        "GET ftp://a/",
        "GET ws://a/",
        "GET http:/a",
        "CONNECT /",
        "CONNECT a",
        "CONNECT a:",
        "CONNECT http://a/",
        "OPTIONS **",
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refusal(bytes.as_bytes()), HttpError::BadTarget, "{line}");
    }
    for line in ["GET http:///a", "GET http://user@a/", "GET http://a:b/", "GET http://?"] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refusal(bytes.as_bytes()), HttpError::BadHost, "{line}");
    }
}

#[test]
fn host_is_there_once_and_is_a_host() {
    let with = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes();
    for host in [
        "a",
        "a.example:8080",
        "127.0.0.1:1",
        "[::1]",
        "[2001:db8::1]:443",
        "a_b-c~d",
        "a:",
        "a%20b%fF",
    ] {
        assert_eq!(head(&with(&format!("Host: {host}\r\n"))).host(), Some(host));
    }
    assert_eq!(head(&with("hOsT:\r\n")).host(), None, "empty is allowed, and says nothing");
    assert_eq!(head(b"GET / HTTP/1.0\r\n\r\n").host(), None);
    for host in [
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a:65536",
        "a:80:80",
        "a:-1",
        ":80",
        "[::1",
        "::1",
        "[a]",
        "[::1]x",
        "[]",
        "a\\b",
        "\"a\"",
        "caf\u{e9}",
        "a%zz",
        "a%4",
        "a%",
        "%4g:80",
    ] {
        assert_eq!(refusal(&with(&format!("Host: {host}\r\n"))), HttpError::BadHost, "{host}");
    }
    assert_eq!(refusal(&with("")), HttpError::HostMissing);
    assert_eq!(refusal(&with("X: y\r\n")), HttpError::HostMissing);
    assert_eq!(refusal(&with("Host: a\r\nHost: a\r\n")), HttpError::HostTwice);
    assert_eq!(refusal(&with("Host: a\r\nX: y\r\nhost: b\r\n")), HttpError::HostTwice);
    let old = b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
    assert_eq!(refusal(old), HttpError::HostTwice);
    let absolute = b"GET http://a/ HTTP/1.1\r\n\r\n";
    assert_eq!(refusal(absolute), HttpError::HostMissing);
}

#[test]
fn lines_end_with_cr_lf_and_hold_no_control_bytes() {
    for bytes in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x0bc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let error = refusal(bytes);
        assert_eq!((error, error.status()), (HttpError::ForbiddenByte, 400), "{bytes:?}");
    }
    for control in (0..b' ').filter(|control| !b"\t\r\n".contains(control)) {
        let bytes = [b"GET / HTTP/1.1\r\nX: a", &[control][..], b"b\r\n\r\n"].concat();
        assert_eq!(refusal(&bytes), HttpError::ForbiddenByte);
    }
    assert_eq!(decode_request(b"\x16").err(), Some(HttpError::ForbiddenByte), "TLS, at once");
}

#[test]
fn header_lines_of_another_shape_are_refused() {
    for lines in [
        "X : y\r\n",
        "X\t: y\r\n",
        " X: y\r\n",
        "X: y\r\n folded\r\n",
        "X: y\r\n\tfolded\r\n",
        "X: y\r\n \r\n",
        "no colon\r\n",
        "nocolon\r\n",
        ": no name\r\n",
        "X(Y): z\r\n",
        "X\u{e9}: y\r\n",
        "\"X\": y\r\n",
        "Content-Length\u{a0}: 5\r\n",
    ] {
        assert_eq!(refusal(&get(lines)), HttpError::BadHeader, "{lines:?}");
    }
}

#[test]
fn a_field_sent_twice_has_no_value_of_its_own() {
    let bytes = get("X-Token: a\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\
        x-token: b\r\nX-Forwarded-For:,, 9.9.9.9 ,\r\n");
    let head = head(&bytes);
    assert_eq!(head.header("X-Token"), None);
    assert_eq!(head.values("X-TOKEN").collect::<Vec<_>>(), [b"a", b"b"]);
    let list: Vec<_> = head.list("x-forwarded-for").collect();
    assert_eq!(list, ["1.2.3.4", "5.6.7.8", "9.9.9.9"]);
}

#[test]
fn other_than_ascii_in_a_value_passes_as_bytes_and_not_as_text() {
    let mut bytes = get("X: caf\u{e9}\r\nY: a\tb\r\n");
    let head_utf8 = head(&bytes);
    assert_eq!(head_utf8.header("x"), None);
    assert_eq!(head_utf8.header("y"), Some("a\tb"));
    assert_eq!(head_utf8.values("x").next(), Some("caf\u{e9}".as_bytes()));
    let at = bytes.windows(2).position(|w| w == b"\xc3\xa9").expect("the letter");
    bytes[at + 1] = 0xff;
    assert_eq!(head(&bytes).values("x").next(), Some(&b"caf\xc3\xff"[..]));
}

#[test]
fn connections_stay_open_as_the_version_and_the_sender_say() {
    let keeps = |version: &str, lines: &str| {
        head(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").as_bytes()).keep_alive()
    };
    assert!(keeps("1.1", ""));
    assert!(keeps("1.1", "Connection: keep-alive\r\n"));
    assert!(keeps("1.1", "Connection: Upgrade\r\n"));
    assert!(!keeps("1.1", "Connection: close\r\n"));
    assert!(!keeps("1.1", "Connection: foo, Close ,bar\r\n"));
    assert!(!keeps("1.1", "Connection: foo\r\nConnection: close\r\n"));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn only_the_one_expectation_there_is_can_be_met() {
    let waiting = get("Expect: 100-Continue\r\n");
    assert!(head(&waiting).expects_continue());
    assert!(!head(&get("")).expects_continue());
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
    assert!(!head(old).expects_continue(), "1.0 knows no interim response");
    for value in ["", "200-ok", "100-continue, 100-continue", "100-continue\r\nExpect: x"] {
        let error = refusal(&get(&format!("Expect: {value}\r\n")));
        assert_eq!((error, error.status()), (HttpError::UnknownExpectation, 417), "{value}");
    }
}

// Limits: the longest that passes, and one byte more.

#[test]
fn a_request_line_over_its_limit_is_414_before_it_ends() {
    let line = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 14));
    let longest = line(REQUEST_LINE_MAX);
    assert_eq!(longest.len(), REQUEST_LINE_MAX);
    head(format!("{longest}\r\nHost: a\r\n\r\n").as_bytes());
    let error = refusal(format!("{}\r\nHost: a\r\n\r\n", line(REQUEST_LINE_MAX + 1)).as_bytes());
    assert_eq!((error, error.status()), (HttpError::RequestLineTooLong, 414));
    let endless = vec![b'a'; REQUEST_LINE_MAX + 2];
    assert_eq!(refusal(&endless), HttpError::RequestLineTooLong);
}

#[test]
fn a_head_over_its_limit_is_431_before_it_ends() {
    let frame = get("X: \r\n").len();
    let with = |length: usize| get(&format!("X: {}\r\n", "a".repeat(length - frame)));
    assert_eq!(with(HEAD_MAX).len(), HEAD_MAX);
    head(&with(HEAD_MAX));
    let error = refusal(&with(HEAD_MAX + 1));
    assert_eq!((error, error.status()), (HttpError::HeadTooLong, 431));
    let endless = &with(HEAD_MAX + 100)[..HEAD_MAX];
    assert_eq!(refusal(endless), HttpError::HeadTooLong);
}

#[test]
fn more_header_lines_than_there_is_room_for_are_431() {
    let with = |lines: usize| get(&"X: y\r\n".repeat(lines - 1));
    assert_eq!(head(&with(HEADERS_MAX)).headers().count(), HEADERS_MAX);
    let error = refusal(&with(HEADERS_MAX + 1));
    assert_eq!((error, error.status()), (HttpError::TooManyHeaders, 431));
}

#[test]
fn every_error_has_a_status_and_a_label_of_its_own() {
    use HttpError::*;
    let errors = [
        (ForbiddenByte, 400),
        (BadRequestLine, 400),
        (BadTarget, 400),
        (BadHeader, 400),
        (HostMissing, 400),
        (HostTwice, 400),
        (BadHost, 400),
        (BadLength, 400),
        (LengthTwice, 400),
        (LengthAndCoding, 400),
        (BadCoding, 400),
        (BadChunk, 400),
        (BodyTooLong, 413),
        (RequestLineTooLong, 414),
        (UnknownExpectation, 417),
        (HeadTooLong, 431),
        (TooManyHeaders, 431),
        (TrailersTooLong, 431),
        (UnknownCoding, 501),
        (UnknownVersion, 505),
    ];
    for (error, status) in errors {
        assert_eq!(error.status(), status, "{error:?}");
    }
    let mut labels: Vec<_> = errors.iter().map(|(error, _)| error.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), errors.len());
}

/// What a server would do with these bytes, as text: wait, answer, or refuse.
fn verdict(bytes: &[u8]) -> String {
    match decode_request(bytes) {
        Ok(HeadDecoded::NeedMore) => "wait".to_owned(),
        Ok(HeadDecoded::Head { head, used }) => {
            format!("{used} {:?} {:?} {:?}", head.method, head.target, body(&head))
        }
        Err(error) => format!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_damaged_head_is_judged_once_and_for_good(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = WEBHOOK.as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(behind);
        let mut judged = None;
        for cut in 0..=bytes.len() {
            let now = verdict(&bytes[..cut]);
            match &judged {
                None if now == "wait" => {}
                None => judged = Some(now),
                Some(judged) => prop_assert_eq!(&now, judged, "cut at {}", cut),
            }
        }
    }
}
