//! Responses as a client reads them: one length, one end, no line that nobody meant to write.

use vocaris::wire::http::{write_continue, write_response};

/// Status, fields and body of one response, as an independent reader (httparse) finds them.
fn read(bytes: &[u8]) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        other => panic!("{other:?}"),
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields =
        response.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
    (response.code.expect("a status"), fields, bytes[head..].to_vec())
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_response_is_written_byte_for_byte() {
    let mut out = b"before".to_vec();
    write_response(
        &mut out,
        200,
        "text/xml",
        &[("Cache-Control", "no-store")],
        b"<a/>",
        true,
        false,
    );
    let expected = "beforeHTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\
        Connection: keep-alive\r\nCache-Control: no-store\r\n\r\n<a/>";
    assert_eq!(String::from_utf8(out), Ok(expected.to_owned()));
}

#[test]
fn the_answer_to_head_tells_the_length_and_sends_nothing() {
    let mut out = Vec::new();
    write_response(&mut out, 200, "text/html", &[], b"hello", false, true);
    let (status, fields, body) = read(&out);
    assert_eq!((status, &body[..]), (200, &b""[..]));
    let expected =
        [("Content-Type", "text/html"), ("Content-Length", "5"), ("Connection", "close")];
    assert_eq!(fields, pairs(&expected));
}

#[test]
fn statuses_without_a_body_have_neither_body_nor_length() {
    for status in [204, 304] {
        let mut out = Vec::new();
        write_response(&mut out, status, "text/plain", &[], b"hello", true, false);
        let expected = pairs(&[("Connection", "keep-alive")]);
        assert_eq!(read(&out), (status, expected, vec![]));
    }
    let mut out = Vec::new();
    write_response(&mut out, 503, "", &[], b"", false, false);
    let expected = pairs(&[("Content-Length", "0"), ("Connection", "close")]);
    assert_eq!(read(&out), (503, expected, vec![]));
}

#[test]
fn nothing_in_a_value_can_begin_another_line() {
    let evil = "a\r\nSet-Cookie: b\r\n\r\n<script>\0\x7f";
    let mut out = Vec::new();
    write_response(
        &mut out,
        200,
        evil,
        &[("X", evil), (evil, "y"), ("", "z")],
        b"body",
        true,
        false,
    );
    let (_, fields, body) = read(&out);
    let harmless = "a  Set-Cookie: b    <script>";
    let expected = [
        ("Content-Type", harmless),
        ("Content-Length", "4"),
        ("Connection", "keep-alive"),
        ("X", harmless),
    ];
    assert_eq!((fields, &body[..]), (pairs(&expected), &b"body"[..]));
}

#[test]
fn every_status_can_be_read_back() {
    for status in 200..=999 {
        let mut out = Vec::new();
        write_response(&mut out, status, "text/plain", &[], b"x", true, false);
        assert_eq!(read(&out).0, status);
    }
    for status in [0, 99, 1000, u16::MAX] {
        let mut out = Vec::new();
        write_response(&mut out, status, "text/plain", &[], b"x", true, false);
        assert_eq!(read(&out).0, 500, "a status that is none is our fault");
    }
}

#[test]
fn a_sender_that_waits_is_told_to_go_on() {
    let mut out = Vec::new();
    write_continue(&mut out);
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
}
