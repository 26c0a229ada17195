//! Requests good and bad, slow and many.

use std::io::ErrorKind;
use std::net::Shutdown;

use vocaris::accept::Deadlines;
use vocaris::call::Ending;
use vocaris::limits::{BODY_MAX_BYTES, FIGURES_WAITING_MAX, REQUESTS_PER_CONNECTION};
use vocaris::mail::AcceptLetter;
use vocaris::wire::http::{CHUNK_LINE_MAX, TRAILERS_MAX};

use crate::harness::{PATIENCE, Relay, SHORT, get, post, until};

const FORM: &str = "From=%2B1234567890&To=%2B0987654321";

#[test]
fn every_address_answers_as_the_contract_has_it() {
    let relay = Relay::start();
    let table = [
        ("GET", "/healthz", 200, "ok"),
        ("GET", "/readyz", 200, "ready"),
        ("GET", "/", 200, "<!doctype html>"),
        ("GET", "/?utm=1", 200, "<!doctype html>"),
        ("GET", "/twilio/incoming", 200, "\"status\":\"ok\""),
        ("POST", "/twilio/incoming", 200, "<Stream url="),
        ("GET", "/twilio/incoming?CallSid=CA1", 200, "<Stream url="),
        ("GET", "/twilio/after?CallSid=CA1", 200, "<Hangup/>"),
        ("POST", "/twilio/after", 200, "<Hangup/>"),
        ("POST", "/twilio/stream-status", 204, ""),
        ("GET", "/nowhere", 404, "{\"error\":\"no such path\"}"),
        ("POST", "/nowhere", 404, "{\"error\":"),
        ("GET", "/twilio", 404, "{\"error\":"),
        ("GET", "/healthz/", 404, "{\"error\":"),
        ("GET", "//healthz", 404, "{\"error\":"),
        ("GET", "/twilio/media", 426, "{\"error\":"),
        ("GET", "/web", 426, "{\"error\":"),
    ];
    for (method, target, status, beginning) in table {
        let response = relay.ask(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(response.status, status, "{method} {target}: {response:?}");
        assert!(response.body.contains(beginning), "{method} {target}: {response:?}");
        assert_eq!(response.body.is_empty(), status == 204);
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let relay = Relay::start();
    let table = [
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("DELETE", "/readyz", "GET, HEAD, OPTIONS"),
        ("TRACE", "/metrics", "GET, HEAD, OPTIONS"),
        ("PUT", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/twilio/incoming", "GET, HEAD, POST, OPTIONS"),
        ("PATCH", "/twilio/after", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/twilio/stream-status", "GET, HEAD, POST, OPTIONS"),
    ];
    for (method, target, allow) in table {
        let ask = |method: &str| {
            let response = relay.ask(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            (response.status, response.field("allow").map(str::to_owned))
        };
        assert_eq!(ask(method), (405, Some(allow.into())), "{target}");
        assert_eq!(ask("OPTIONS"), (204, Some(allow.into())), "{target}");
        assert_eq!(ask("BREW"), (501, None), "{target}");
        assert_eq!(ask("get"), (501, None), "{target}");
    }
    let anything = relay.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((anything.status, anything.field("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    let door = relay.ask("OPTIONS /web HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((door.status, door.field("allow")), (204, Some("GET, OPTIONS")));
}

#[test]
fn an_unknown_path_is_404_whatever_is_asked_of_it() {
    let relay = Relay::start();
    for method in ["GET", "POST", "PUT", "OPTIONS"] {
        for target in ["/nowhere", "/web/", "/twilio/incoming/", "/%68ealthz"] {
            let response = relay.ask(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!(response.status, 404, "{method} {target}");
        }
    }
    assert_eq!(relay.shared.answers.of("404"), 16);
}

#[test]
fn http_1_0_knows_no_upgrade_and_gets_what_it_asked_for() {
    let relay = Relay::start();
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let page = relay.ask(format!("GET / HTTP/1.0\r\nHost: h\r\n{fields}\r\n"));
    assert_eq!((page.status, page.field("connection")), (200, Some("close")));
    assert!(page.body.starts_with("<!doctype html>"));
}

#[test]
fn looking_whether_the_webhook_is_there_orders_no_call() {
    let relay = Relay::with(|config| {
        config.limits.max_calls = 1;
        config.gemini.pool = 8;
    });
    let mut client = relay.connect();
    client.send("HEAD /twilio/incoming?CallSid=CA1&From=1&To=2 HTTP/1.1\r\nHost: h\r\n\r\n");
    let health = client.response_to(true);
    assert_eq!((health.status, health.field("content-type")), (200, Some("application/json")));
    assert!(relay.dial.take().is_none(), "no session was ordered");
    assert_eq!(relay.get("/readyz").status, 200, "and no place kept");
}

#[test]
fn head_tells_the_length_and_keeps_the_body() {
    let relay = Relay::start();
    for target in ["/", "/healthz", "/twilio/incoming", "/nowhere"] {
        let length = relay.get(target).body.len().to_string();
        let mut client = relay.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let response = client.response_to(true);
        assert_eq!(response.field("content-length"), Some(length.as_str()), "{target}");
        assert!(client.is_closed(), "{target}");
    }
}

#[test]
fn one_connection_carries_one_request_after_another() {
    let relay = Relay::start();
    let mut client = relay.connect();
    for _ in 0..3 {
        client.send(get("/healthz"));
        assert_eq!(client.response().field("connection"), Some("keep-alive"));
        client.send(post("/twilio/incoming", "", FORM));
        assert_eq!(client.response().status, 200);
    }
    client.send("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().field("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(relay.shared.connections.of("accepted"), 1);
    assert_eq!(relay.shared.answers.of("200"), 7);
}

#[test]
fn requests_sent_together_are_answered_in_their_order() {
    let relay = Relay::start();
    let mut client = relay.connect();
    let form = post("/twilio/incoming", "", FORM);
    client.send([get("/healthz"), get("/nowhere"), form, get("/readyz")].concat());
    let statuses: Vec<u16> = (0..4).map(|_| client.response().status).collect();
    assert_eq!(statuses, [200, 404, 200, 200]);
}

#[test]
fn a_connection_is_closed_after_its_share_of_requests() {
    let relay = Relay::start();
    let mut client = relay.connect();
    client.send(get("/healthz").repeat(REQUESTS_PER_CONNECTION + 1));
    for _ in 1..REQUESTS_PER_CONNECTION {
        assert_eq!(client.response().field("connection"), Some("keep-alive"));
    }
    assert_eq!(client.response().field("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn http_1_0_is_closed_unless_it_asks_otherwise() {
    let relay = Relay::start();
    let mut client = relay.connect();
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let relay = Relay::start();
    let mut client = relay.connect();
    client.socket.set_nodelay(true).unwrap();
    for byte in post("/twilio/incoming", "", FORM).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_chunked_body_is_read_as_one() {
    let relay = Relay::start();
    let response = relay.ask(
        "POST /twilio/incoming HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n\r\n\
         6;x=y\r\nFrom=%\r\n8\r\n2B180&T=\r\n0\r\nTrailer: t\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    assert!(response.body.contains("name=\"from\" value=\"+180\""), "{}", response.body);
}

#[test]
fn a_sender_that_asks_first_is_told_to_go_on() {
    let relay = Relay::start();
    let mut client = relay.connect();
    let request = post("/twilio/incoming", "Expect: 100-continue\r\n", FORM);
    let (head, body) = request.split_at(request.len() - FORM.len());
    client.send(head);
    assert_eq!(client.response().status, 100);
    client.send(body);
    assert_eq!(client.response().status, 200);
    // One that would be refused anyway is told so before it has sent anything.
    client.send("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n");
    client.send("Expect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 404);
    assert!(client.is_closed());
}

#[test]
fn what_is_not_http_gets_its_status_and_a_closed_connection() {
    let relay = Relay::start();
    let long = "x".repeat(20_000);
    let many = "A: b\r\n".repeat(100);
    let table = [
        ("\x16\x03\x01\x02\0\x01\0\x01\u{7f}".to_owned(), 400, "forbidden_byte"),
        ("GET /healthz\r\n\r\n".into(), 400, "bad_request_line"),
        ("GET healthz HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400, "bad_target"),
        ("GET /healthz HTTP/1.1\r\n\r\n".into(), 400, "host_missing"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400, "host_twice"),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400, "bad_host"),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n".into(), 400, "bad_header"),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n".into(), 400, "bad_header"),
        ("GET /healthz HTTP/1.1\nHost: h\n\n".into(), 400, "forbidden_byte"),
        ("GET /healthz HTTP/2.0\r\nHost: h\r\n\r\n".into(), 505, "unknown_version"),
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), 414, "request_line_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {long}\r\n\r\n"), 431, "head_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), 431, "too_many_headers"),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\n\r\n".into(), 417, "unknown_expectation"),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(),
            501,
            "unknown_coding",
        ),
    ];
    for (request, status, label) in table {
        let mut client = relay.connect();
        let before = relay.shared.http_faults.of(label);
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.body, format!("{{\"error\":\"{label}\"}}"), "{request:?}");
        assert_eq!(response.field("connection"), Some("close"));
        assert!(client.is_closed(), "{request:?}");
        assert_eq!(relay.shared.http_faults.of(label), before + 1, "{label}");
    }
    assert_eq!(relay.get("/healthz").status, 200);
}

#[test]
fn a_request_hidden_behind_two_lengths_is_never_answered() {
    let relay = Relay::start();
    let hidden = get("/healthz");
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 60\r\n",
        "Content-Length: 4, 60\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = relay.connect();
        let head = "POST /twilio/incoming HTTP/1.1\r\nHost: h\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
        client.send(format!("{head}{fields}\r\n0\r\n\r\n{hidden}"));
        assert_eq!(client.response().status, 400, "{fields}");
        assert!(client.is_closed(), "{fields}");
    }
    assert_eq!(relay.shared.answers.of("200"), 0);
}

#[test]
fn broken_chunks_and_trailers_get_their_status_and_a_closed_connection() {
    let relay = Relay::start();
    let head = "POST /twilio/incoming HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    let hidden = get("/readyz");
    let extension = "x".repeat(CHUNK_LINE_MAX);
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(6);
    let trailer = format!("T: {}\r\n", "x".repeat(TRAILERS_MAX));
    let table = [
        ("x\r\n".to_owned(), 400, "bad_chunk"),
        ("-1\r\n".into(), 400, "bad_chunk"),
        ("0x1\r\na\r\n".into(), 400, "bad_chunk"),
        ("1\na\r\n".into(), 400, "forbidden_byte"),
        ("1\r\nab".into(), 400, "bad_chunk"),
        ("fffffffffffffffff\r\n".into(), 413, "body_too_long"),
        (format!("1;{extension}\r\n"), 400, "bad_chunk"),
        (extensions, 400, "bad_chunk"),
        ("0\r\nno colon\r\n\r\n".into(), 400, "bad_header"),
        (format!("0\r\n{trailer}\r\n"), 431, "trailers_too_long"),
    ];
    for (body, status, label) in table {
        let mut client = relay.connect();
        client.send(format!("{head}{body}{hidden}"));
        let response = client.response();
        assert_eq!(response.body, format!("{{\"error\":\"{label}\"}}"), "{body:.40?}");
        assert_eq!(response.status, status, "{body:.40?}");
        assert!(client.is_closed(), "{body:.40?}");
    }
    assert_eq!(relay.shared.answers.of("200"), 0);
}

#[test]
fn a_body_too_large_is_refused_before_it_has_come() {
    let relay = Relay::start();
    let head = "POST /twilio/incoming HTTP/1.1\r\nHost: h\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    let mut client = relay.connect();
    client.send(format!("{head}Content-Length: {}\r\n\r\n", BODY_MAX_BYTES + 1));
    // The answer is there although a part of the body was never read.
    client.send("a=b&".repeat(10_000));
    assert_eq!(client.response().status, 413);
    assert!(client.is_closed());
    let mut client = relay.connect();
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", BODY_MAX_BYTES + 1));
    assert_eq!(client.response().status, 413);
    assert!(client.is_closed());
    // Exactly at the bound it is taken.
    let form = "a".repeat(BODY_MAX_BYTES);
    assert_eq!(relay.post_form("/twilio/incoming", &form).status, 200);
}

#[test]
fn a_body_that_is_no_form_is_told_so() {
    let relay = Relay::start();
    for media_type in ["application/xml", "text/plain", "multipart/form-data; boundary=x", ""] {
        for target in ["/twilio/incoming", "/twilio/after", "/twilio/stream-status"] {
            let response = relay.ask(format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: {media_type}\r\n\
                 Content-Length: 2\r\n\r\n{{}}"
            ));
            assert_eq!(response.status, 415, "{media_type} {target}");
        }
    }
    let no_type = "POST /twilio/incoming HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(relay.ask(no_type).status, 415);
    for form in ["From=%4", "From=%zz", "From=%ff", &"a=b&".repeat(200)] {
        assert_eq!(relay.post_form("/twilio/incoming", form).status, 400, "{form}");
        assert_eq!(relay.post_form("/twilio/after", form).status, 400, "{form}");
    }
    assert_eq!(relay.get("/twilio/incoming?CallSid=%4").status, 400);
}

#[test]
fn a_slow_head_is_cut_with_408_however_steadily_it_drips() {
    let deadlines = Deadlines { head: SHORT, ..Deadlines::default() };
    let (relay, [mut client]) = Relay::with_early(deadlines, ["GET /healthz HT"]);
    assert_eq!(client.response().status, 408);
    assert!(client.is_closed());
    assert_eq!(relay.shared.connections.of("slow_head"), 1);
    // A byte at a time, for ever: every byte comes in time, the head never.
    let begun = "GET /healthz HTTP/1.1\r\nHost: h\r\nX: ";
    let (relay, [mut client]) = Relay::with_early(deadlines, [begun]);
    client.socket.set_nodelay(true).unwrap();
    // Far fewer bytes than a head may have before its time is over.
    client.socket.set_read_timeout(Some(SHORT / 10)).unwrap();
    let mut answer = [0; 12];
    while let Err(error) = std::io::Read::read_exact(&mut client.socket, &mut answer) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "closed without an answer");
        client.send("x");
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(relay.shared.connections.of("slow_head"), 1);
}

#[test]
fn an_answer_to_head_never_has_a_body_not_even_an_error() {
    let deadlines = Deadlines { head: SHORT, ..Deadlines::default() };
    let requests = [
        ("HEAD /healthz HTTP/1.1\r\nHos", 408),
        ("HEAD /healthz HTTP/1.1\r\n\r\n", 400),
        ("\r\nHEAD /healthz HTTP/1.1\r\n\r\n", 400),
        ("\r\nHEAD /healthz HTTP/1.1\r\nHos", 408),
        ("HEAD /healthz HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400),
        ("HEAD /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404),
    ];
    let (_relay, clients) = Relay::with_early(deadlines, requests.map(|(request, _)| request));
    for (mut client, (request, status)) in clients.into_iter().zip(requests) {
        assert_eq!(client.response_to(true).status, status, "{request}");
        assert!(client.is_closed(), "{request}");
    }
}

#[test]
fn a_slow_body_is_cut_with_408() {
    let deadlines = Deadlines { body: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    let mut client = relay.connect();
    let request = post("/twilio/incoming", "", FORM);
    client.send(&request[..request.len() - 1]);
    assert_eq!(client.response().status, 408);
    assert!(client.is_closed());
    assert_eq!(relay.shared.connections.of("slow_body"), 1);
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let deadlines = Deadlines { head: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    assert!(relay.connect().is_closed());
    assert_eq!(relay.shared.connections.of("idle"), 1);
    let deadlines = Deadlines { keep_alive: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    let mut client = relay.connect();
    client.send(get("/healthz"));
    assert_eq!(client.response().status, 200);
    assert!(client.is_closed());
    assert_eq!(relay.shared.connections.of("idle"), 1);
}

#[test]
fn a_peer_that_does_not_read_its_answer_is_cut() {
    let deadlines = Deadlines { answer: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    let mut client = relay.connect();
    client.send(get("/metrics"));
    let ticket = relay.scrape();
    // More than both sockets' buffers hold.
    let text = Some("x".repeat(64 << 20));
    relay.post_letter(AcceptLetter::Page { ticket, text });
    until(|| relay.shared.connections.of("slow_reader") == 1);
    assert_eq!(relay.get("/healthz").status, 200);
}

#[test]
fn a_peer_that_only_finished_sending_still_gets_its_answer() {
    let relay = Relay::start();
    let mut client = relay.connect();
    client.send([get("/healthz"), get("/readyz")].concat());
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().body, "ok");
    assert_eq!(client.response().body, "ready");
    assert!(client.is_closed());
    // Often the end arrives with the bytes before it, in one turn of the relay.
    for _ in 0..100 {
        let mut client = relay.connect();
        client.send("GET /hea");
        client.socket.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed());
    }
}

#[test]
fn one_address_has_only_its_share_of_connections() {
    let relay = Relay::with(|config| config.limits.max_handshakes_per_ip = 2);
    let mut held = [relay.connect(), relay.connect()];
    for client in &mut held {
        client.send([get("/healthz"), "GET /heal".into()].concat());
        assert_eq!(client.response().status, 200);
    }
    let mut one_more = relay.connect();
    assert_eq!(one_more.response().status, 429);
    assert!(one_more.is_closed());
    assert_eq!(relay.shared.connections.of("too_many_of_one_address"), 1);
    drop(held);
    // The relay notices the closed ones a moment later.
    until(|| relay.connect().response_or_closed(&get("/healthz")) == Some(200));
}

#[test]
fn whoever_comes_when_every_slot_is_taken_is_told_so_and_closed() {
    let relay = Relay::with_accept(|_| {}, |accept| accept.with_room(2));
    let mut held = [relay.connect(), relay.connect()];
    for client in &mut held {
        client.send([get("/healthz"), "GET /heal".into()].concat());
        assert_eq!(client.response().status, 200);
    }
    let mut one_more = relay.connect();
    let response = one_more.response();
    assert_eq!(response.status, 503);
    assert_eq!(response.body, "{\"error\":\"too many connections\"}");
    assert!(one_more.is_closed());
    assert_eq!(relay.shared.connections.of("too_many"), 1);
    for client in &mut held {
        client.send("thz HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().status, 200, "those inside are served on");
    }
}

#[test]
fn a_connection_that_idles_gives_way_to_a_new_one() {
    let relay = Relay::with(|config| config.limits.max_handshakes_per_ip = 2);
    let mut held = [relay.connect(), relay.connect()];
    for client in &mut held {
        client.send(get("/healthz"));
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(relay.get("/healthz").status, 200);
    let [mut first, mut second] = held;
    assert!(first.is_closed());
    second.send(get("/healthz"));
    assert_eq!(second.response().status, 200);
    assert_eq!(relay.shared.connections.of("gave_way"), 1);
}

#[test]
fn figures_are_answered_when_they_come() {
    let relay = Relay::start();
    let mut first = relay.connect();
    first.send(get("/metrics"));
    let first_ticket = relay.scrape();
    let mut second = relay.connect();
    second.send([get("/metrics"), get("/healthz")].concat());
    let second_ticket = relay.scrape();
    assert_ne!(first_ticket, second_ticket);
    let page =
        |ticket, text: Option<&str>| AcceptLetter::Page { ticket, text: text.map(str::to_owned) };
    relay.post_letter(page(second_ticket, Some("vocaris_up 1\n")));
    relay.post_letter(page(first_ticket, None));
    relay.post_letter(page(999, Some("nobody asked")));
    let figures = second.response();
    assert_eq!((figures.status, figures.body.as_str()), (200, "vocaris_up 1\n"));
    assert!(figures.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(second.response().body, "ok");
    assert_eq!(first.response().status, 503);
}

#[test]
fn figures_that_never_come_are_answered_503_and_so_is_a_crowd_of_askers() {
    // Nobody's time is up before the last has asked.
    let deadlines = Deadlines { figures: PATIENCE, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    let mut askers: Vec<_> = (0..FIGURES_WAITING_MAX).map(|_| relay.connect()).collect();
    for asker in &mut askers {
        asker.send(get("/metrics"));
        relay.scrape();
    }
    assert_eq!(relay.get("/metrics").status, 503);
    assert_eq!(relay.shared.http_faults.of("figures_full"), 1);
    let deadlines = Deadlines { figures: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, |_| {});
    for _ in 0..FIGURES_WAITING_MAX + 1 {
        let mut asker = relay.connect();
        asker.send(get("/metrics"));
        relay.scrape();
        assert_eq!(asker.response().status, 503);
        asker.send(get("/healthz"));
        assert_eq!(asker.response().status, 200);
    }
}

#[test]
fn the_page_lets_nothing_in_but_itself() {
    let relay = Relay::start();
    let page = relay.get("/");
    let policy = page.field("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe-"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
    let relay = Relay::with(|config| config.web.enabled = false);
    assert_eq!(relay.get("/").status, 404);
    assert_eq!(relay.get("/web").status, 404);
    assert_eq!(relay.get("/twilio/incoming").status, 200);
}

#[test]
fn readiness_says_why_not() {
    let relay = Relay::with(|config| config.limits.max_calls = 1);
    let inside = relay.browser_inside(0);
    let full = relay.get("/readyz");
    assert_eq!((full.status, full.body.as_str()), (503, "{\"error\":\"full\"}"));
    relay.end(inside, "", Ending::CallerHungUp);
    assert_eq!(relay.get("/readyz").status, 200);
    relay.post_letter(AcceptLetter::QuotaUsedUp);
    until(|| relay.get("/readyz").body == "{\"error\":\"quota\"}");
    relay.drain();
    until(|| relay.get("/readyz").body == "{\"error\":\"draining\"}");
    assert_eq!(relay.get("/healthz").status, 200);
    let mut asker = relay.connect();
    asker.send(get("/metrics"));
    let ticket = relay.scrape();
    relay.post_letter(AcceptLetter::Page { ticket, text: Some("x".into()) });
    assert_eq!(asker.response().status, 200);
}
