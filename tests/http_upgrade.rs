//! The upgrade as both sides see it: which requests may be answered 101, and which answers to ours
//! are a WebSocket.

use vocaris::wire::http::{HEAD_MAX, HeadDecoded, decode_request};
use vocaris::wire::upgrade::{
    INTERIM_MAX, UpgradeError, accept_value, check_request, decode_response, required,
    write_accepted, write_request,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The subprotocols a request offers, or why it is refused.
fn check(request: &str) -> Result<Vec<String>, UpgradeError> {
    match decode_request(request.as_bytes()) {
        Ok(HeadDecoded::Head { head, .. }) => {
            let request = check_request(&head)?;
            assert_eq!(request.key.len(), KEY.len());
            Ok(request.subprotocols().map(str::to_owned).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// The request of section 1.3.
fn sample() -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nOrigin: http://example.com\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The sample with a line changed or, if `to` is empty, taken away.
fn request(from: &str, to: &str) -> String {
    change(&sample(), from, to)
}

fn change(head: &str, from: &str, to: &str) -> String {
    assert!(head.contains(from));
    let from = if to.is_empty() { format!("{from}\r\n") } else { from.to_owned() };
    head.replace(&from, to)
}

#[test]
fn the_request_of_section_1_3_is_accepted_and_answered_as_there() {
    assert_eq!(check(&sample()), Ok(vec!["chat".to_owned(), "superchat".to_owned()]));
    let mut answer = Vec::new();
    write_accepted(&mut answer, &accept_value(KEY), Some("chat"));
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    assert_eq!(String::from_utf8(answer), Ok(expected));
}

#[test]
fn requests_as_carriers_and_browsers_write_them_are_accepted() {
    let twilio = format!(
        "GET /twilio/media HTTP/1.1\r\nhost: voice.example.com\r\nuser-agent: Twilio.TmeWs/1.0\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {KEY}\r\nx-twilio-signature: PSHKZdRBsp/HJd8JQTizTsmtv48=\r\n\r\n"
    );
    assert_eq!(check(&twilio), Ok(vec![]));
    let firefox = request("Connection: Upgrade", "Connection: keep-alive, Upgrade");
    assert!(check(&firefox).is_ok());
    assert!(check(&request("Upgrade: websocket", "Upgrade: h2c, WebSocket")).is_ok());
    assert!(check(&request("Origin: http://example.com", "Content-Length: 0")).is_ok());
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    assert!(check(&request("Origin: http://example.com", deflate)).is_ok());
}

#[test]
fn subprotocols_of_several_lines_are_one_list_and_nonsense_in_it_is_passed_over() {
    let lines = "Sec-WebSocket-Protocol: a,,b c, \"d\"\r\nSec-WebSocket-Protocol:e ";
    let offered = check(&request("Sec-WebSocket-Protocol: chat, superchat", lines));
    assert_eq!(offered, Ok(vec!["a".to_owned(), "e".to_owned()]));
}

#[test]
fn requests_that_lack_something_are_refused_with_the_right_status() {
    use UpgradeError::*;
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let version = "Sec-WebSocket-Version: 13";
    let body = "Origin: http://example.com";
    let cases: &[(&str, &str, UpgradeError, u16)] = &[
        ("Upgrade: websocket", "", NotWebSocket, 426),
        ("Upgrade: websocket", "Upgrade: h2c", NotWebSocket, 426),
        ("Upgrade: websocket", "Upgrade: websockets", NotWebSocket, 426),
        ("GET /chat", "POST /chat", NotGet, 405),
        ("GET /chat", "HEAD /chat", NotGet, 405),
        ("HTTP/1.1", "HTTP/1.0", NotWebSocket, 426),
        ("Connection: Upgrade", "", NotHopByHop, 400),
        ("Connection: Upgrade", "Connection: keep-alive", NotHopByHop, 400),
        (body, "Content-Length: 1", HasBody, 400),
        (body, "Content-Length: x", HasBody, 400),
        (body, "Transfer-Encoding: chunked", HasBody, 400),
        (version, "", NoVersion, 400),
        (version, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13", NoVersion, 400),
        (version, "Sec-WebSocket-Version: 8", WrongVersion, 426),
        (version, "Sec-WebSocket-Version: 013", WrongVersion, 426),
        (version, "Sec-WebSocket-Version: 13, 8", WrongVersion, 426),
        (&key, "", BadKey, 400),
        (&key, "Sec-WebSocket-Key:", BadKey, 400),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", BadKey, 400),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ===", BadKey, 400),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==", BadKey, 400),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEhIQ==", BadKey, 400),
        (&key, &format!("{key}\r\n{key}"), BadKey, 400),
    ];
    for (from, to, error, status) in cases {
        assert_eq!(check(&request(from, to)), Err(*error), "{from} -> {to}");
        assert_eq!(error.status(), *status);
    }
    assert_eq!(required(426), [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]);
    assert_eq!(required(405), [("Allow", "GET")]);
    assert_eq!(required(400), []);
}

#[test]
fn our_request_is_one_we_would_accept() {
    let mut bytes = Vec::new();
    let path = "/ws/google.ai.BidiGenerateContent";
    write_request(&mut bytes, "model.example:443", path, KEY, &[("x-goog-api-key", "k")]);
    let Ok(HeadDecoded::Head { head, used }) = decode_request(&bytes) else { panic!() };
    assert_eq!(used, bytes.len());
    assert_eq!((head.path, head.host()), (path, Some("model.example:443")));
    assert_eq!(head.header("x-goog-api-key"), Some("k"));
    assert_eq!(check_request(&head).map(|request| request.key), Ok(KEY));
}

#[test]
fn nothing_in_our_request_can_begin_another_line() {
    let evil = "a\r\nX: y\r\n\r\nGET /";
    let mut bytes = Vec::new();
    write_request(&mut bytes, evil, evil, evil, &[("A", evil), (evil, "b"), ("", "c")]);
    let text = String::from_utf8(bytes).expect("text");
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines[0], "GET /a%0D%0AX:%20y%0D%0A%0D%0AGET%20/ HTTP/1.1");
    assert_eq!(lines[1], "Host: a  X: y    GET /");
    assert_eq!(lines[6], "A: a  X: y    GET /");
    assert_eq!(&lines[7..], ["", ""], "a name that is no name is left out");
}

/// The answer to the sample.
fn good_answer() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nServer: x\r\n\r\n"
    )
}

/// The good answer with a line changed or, if `to` is empty, taken away.
fn answer(from: &str, to: &str) -> String {
    change(&good_answer(), from, to)
}

fn read(answer: &str) -> Result<Option<usize>, UpgradeError> {
    decode_response(answer.as_bytes(), KEY)
}

#[test]
fn an_answer_is_taken_when_it_is_whole_and_the_first_frame_begins_behind_it() {
    let good = good_answer();
    for cut in 0..good.len() {
        assert_eq!(read(&good[..cut]), Ok(None), "cut at {cut}");
    }
    assert_eq!(read(&good), Ok(Some(good.len())));
    assert_eq!(read(&format!("{good}\u{1}\u{2}frame")), Ok(Some(good.len())));
    for (from, to) in [
        (" Switching Protocols", " "),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Server: x", "Sec-WebSocket-Extensions:"),
        ("Server: x", "Alt-Svc: h3=\":443\"; ma=2592000"),
    ] {
        let good = answer(from, to);
        assert_eq!(read(&good), Ok(Some(good.len())), "{to}");
    }
}

#[test]
fn interim_answers_before_the_real_one_are_passed_over_but_not_for_ever() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let good = format!("{early}{go_on}{}", good_answer());
    assert_eq!(read(&good), Ok(Some(good.len())));
    assert_eq!(read(&good[..early.len()]), Ok(None));
    let most = go_on.repeat(INTERIM_MAX);
    let good = format!("{most}{}", good_answer());
    assert_eq!(read(&good), Ok(Some(good.len())));
    assert_eq!(read(&format!("{most}{go_on}")), Err(UpgradeError::BadAnswer));
}

#[test]
fn another_status_is_a_refusal_told_by_its_number_alone() {
    for status in [200_u16, 301, 400, 401, 403, 404, 426, 429, 500, 503, 599] {
        let body = "{\"error\":\"API key AIza... not valid\"}";
        let refusal = format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: 37\r\n\r\n{body}");
        assert_eq!(read(&refusal), Err(UpgradeError::Refused { status }));
        let refusal = format!("HTTP/1.0 {status}\r\n\r\n");
        assert_eq!(read(&refusal), Err(UpgradeError::Refused { status }));
    }
}

#[test]
fn a_101_that_does_not_keep_to_the_request_is_no_websocket() {
    use UpgradeError::*;
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
    let cases: &[(&str, &str, UpgradeError)] = &[
        ("Upgrade: websocket", "", NotUpgraded),
        ("Upgrade: websocket", "Upgrade: h2c", NotUpgraded),
        ("Upgrade: websocket", "Upgrade: websocket, h2c", NotUpgraded),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket", NotUpgraded),
        ("Connection: Upgrade", "", NotUpgraded),
        ("Connection: Upgrade", "Connection: close", NotUpgraded),
        (&accept, "", WrongAccept),
        (&accept, "Sec-WebSocket-Accept:", WrongAccept),
        (&accept, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WrongAccept),
        (&accept, &format!("{accept}\r\n{accept}"), WrongAccept),
        ("Server: x", "Sec-WebSocket-Extensions: permessage-deflate", UnaskedExtension),
        ("Server: x", "Sec-WebSocket-Protocol: chat", UnaskedSubprotocol),
        ("Server: x", "Sec-WebSocket-Protocol:", UnaskedSubprotocol),
    ];
    for (from, to, error) in cases {
        assert_eq!(read(&answer(from, to)), Err(*error), "{from} -> {to}");
        assert_eq!(error.status(), 502);
    }
}

#[test]
fn an_answer_that_is_not_strict_http_is_refused() {
    let cases = [
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1 101", "HTTP/1.1 099"),
        ("HTTP/1.1 101", "HTTP/1.1 600"),
        ("HTTP/1.1 101", "HTTP/1.1 1010"),
        ("HTTP/1.1 101", "ICY 101"),
        ("Server: x", "Server : x"),
        ("Server: x", "Server: x\r\n folded"),
        ("Server: x", "Server: x\ny"),
        ("Server: x", "Server: x\0"),
        ("Server: x", "no colon"),
    ];
    for (from, to) in cases {
        assert_eq!(read(&answer(from, to)), Err(UpgradeError::BadAnswer), "{from} -> {to}");
    }
    assert_eq!(read("\u{15}\u{3}\u{1}"), Err(UpgradeError::BadAnswer), "a TLS alert");
    let endless = format!("HTTP/1.1 101 x\r\nX: {}", "y".repeat(HEAD_MAX));
    assert_eq!(read(&endless), Err(UpgradeError::BadAnswer));
    let many = answer("Server: x", &"X: y\r\n".repeat(65));
    assert_eq!(read(&many), Err(UpgradeError::BadAnswer));
}

#[test]
fn every_error_has_a_label_of_its_own() {
    use UpgradeError::*;
    let errors = [
        NotGet,
        NotWebSocket,
        NotHopByHop,
        HasBody,
        BadKey,
        NoVersion,
        WrongVersion,
        Refused { status: 500 },
        BadAnswer,
        NotUpgraded,
        WrongAccept,
        UnaskedExtension,
        UnaskedSubprotocol,
    ];
    let mut labels: Vec<_> = errors.iter().map(|error| error.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), errors.len());
}
