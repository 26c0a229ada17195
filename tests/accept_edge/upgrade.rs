//! Requests that become WebSockets, and those that do not.

use tungstenite::client::IntoClientRequest;
use vocaris::call::{CallId, Door, Ending, Opening};
use vocaris::config::{Networks, SignatureMode};
use vocaris::limits::MAILBOX_LETTERS;
use vocaris::mail::{AcceptLetter, CallKey, NewCall, WorkerLetter};

use crate::harness::{Relay, Response, signed, token_in, until};

/// The sample key of RFC 6455 section 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// `fields`: more header lines, each with its line end.
pub(crate) fn upgrade(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: voice.example.com\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         {fields}\r\n"
    )
}

pub(crate) fn new_call(relay: &Relay, worker: usize) -> Box<NewCall> {
    match relay.worker_letter(worker) {
        WorkerLetter::Call(call) => call,
        other => panic!("no call but {other:?}"),
    }
}

pub(crate) fn try_upgrade(relay: &Relay, target: &str, fields: &str) -> Response {
    relay.ask(upgrade(target, fields))
}

#[test]
fn each_door_is_known_by_its_path_its_query_or_its_headers() {
    let relay = Relay::with(|config| {
        config.server.public_url = Some("https://voice.example.com".into());
    });
    let table = [
        ("/twilio/media", "", Door::Twilio),
        ("/twilio/media/", "", Door::Twilio),
        ("/twilio/media?x=1", "", Door::Twilio),
        ("/twilio/media/v1.CA1.token", "", Door::Twilio),
        ("/twilio/media", "Origin: https://voice.example.com\r\n", Door::Twilio),
        ("/?source=twilio", "", Door::Twilio),
        ("/?a=b&source=twilio", "Origin: https://voice.example.com\r\n", Door::Twilio),
        ("/", "x-twilio-signature: AAAA\r\n", Door::Twilio),
        ("/", "user-agent: Twilio.TmeWs/1.0\r\n", Door::Twilio),
        (
            "/",
            "user-agent: Twilio.TmeWs/1.0\r\nOrigin: https://voice.example.com\r\n",
            Door::Unknown,
        ),
        ("/", "user-agent: curl Twilio.TmeWs\r\n", Door::Unknown),
        ("/", "", Door::Unknown),
        ("/", "Origin: https://voice.example.com\r\n", Door::Unknown),
        ("/?source=other", "", Door::Unknown),
        ("/?xsource=twilio", "", Door::Unknown),
        ("/web", "Origin: https://voice.example.com\r\n", Door::Web),
        ("/web?source=twilio", "", Door::Web),
    ];
    for (target, fields, door) in table {
        let response = try_upgrade(&relay, target, fields);
        assert_eq!(response.status, 101, "{target} {fields}");
        assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(response.field("sec-websocket-protocol"), None);
        assert_eq!(response.field("sec-websocket-extensions"), None);
        let (worker, _) = relay.load.emptiest(|_| false);
        let other = 1 - worker;
        let call = relay.workers[worker].take().or_else(|| relay.workers[other].take());
        let call = call.or_else(|| Some(relay.worker_letter(other)));
        let Some(WorkerLetter::Call(call)) = call else { panic!("no call for {target}") };
        assert_eq!(call.door, door, "{target} {fields}");
    }
    for target in
        ["/nowhere", "/twilio", "/twilio/media/x/y", "/twilio/mediax", "/web/", "/healthz/ws"]
    {
        assert_eq!(try_upgrade(&relay, target, "").status, 404, "{target}");
    }
    assert_eq!(relay.shared.upgrades.of("twilio"), 9);
    assert_eq!(relay.shared.upgrades.of("web"), 2);
    assert_eq!(relay.shared.upgrades.of("unknown"), 6);
}

#[test]
fn an_independent_client_gets_its_websocket() {
    let relay = Relay::start();
    let url = format!("ws://{}/web", relay.address);
    let mut request = url.into_client_request().unwrap();
    let offer = "other, vocaris.v1".parse().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let socket = std::net::TcpStream::connect(relay.address).unwrap();
    let (_websocket, response) = tungstenite::client(request, socket).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "vocaris.v1");
    assert_eq!(new_call(&relay, 0).door, Door::Web);
}

#[test]
fn a_carrier_is_never_answered_a_subprotocol_or_an_extension() {
    let relay = Relay::start();
    let offer = "Sec-WebSocket-Protocol: vocaris.v1\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let response = try_upgrade(&relay, "/twilio/media", offer);
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-protocol"), None);
    assert_eq!(response.field("sec-websocket-extensions"), None);
    let response = try_upgrade(&relay, "/web", offer);
    assert_eq!(response.field("sec-websocket-protocol"), Some("vocaris.v1"));
    assert_eq!(response.field("sec-websocket-extensions"), None);
}

#[test]
fn what_came_behind_the_request_goes_with_the_call() {
    let relay = Relay::start();
    let mut client = relay.connect();
    let early: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    client.send([upgrade("/twilio/media", "").into_bytes(), early.clone()].concat());
    assert_eq!(client.response().status, 101);
    let mut call = new_call(&relay, 0);
    // What was not read with the head is still in the socket, which is the worker's now.
    let (mut poll, mut ciphertext, mut rest) = (
        mio::Poll::new().unwrap(),
        vocaris::buf::RecvBuf::new(),
        vocaris::buf::RecvBuf::starting_with(std::mem::take(&mut call.unread)),
    );
    call.socket.register(poll.registry(), mio::Token(0)).unwrap();
    let mut events = mio::Events::with_capacity(8);
    while rest.len_bytes() < early.len() {
        poll.poll(&mut events, None).unwrap();
        call.socket.receive(&mut ciphertext, &mut rest).unwrap();
    }
    assert_eq!(rest.unused(), early);
}

#[test]
fn copies_of_both_tracks_are_taken_only_where_they_are_asked_for() {
    let relay = Relay::start();
    assert_eq!(try_upgrade(&relay, "/twilio/tracks", "").status, 404);
    let relay = Relay::with(|config| config.twilio.both_tracks = true);
    assert_eq!(try_upgrade(&relay, "/twilio/tracks", "").status, 101);
    assert_eq!(relay.shared.upgrades.of("fork"), 1);
    assert_eq!(new_call(&relay, 0).door, vocaris::call::Door::Fork);
}

#[test]
fn an_upgrade_follows_other_requests_on_its_connection() {
    let relay = Relay::start();
    let mut client = relay.connect();
    client.send([crate::harness::get("/healthz"), upgrade("/web", "")].concat());
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 101);
    assert!(new_call(&relay, 0).unread.is_empty());
}

#[test]
fn an_upgrade_without_what_it_needs_is_told_what_is_missing() {
    let relay = Relay::start();
    let whole = upgrade("/web", "");
    let without = |line: &str| whole.replace(line, "");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let table = [
        (without(&key), 400, "bad_key"),
        (whole.replace(KEY, "c2hvcnQ="), 400, "bad_key"),
        (whole.replace(&key, &key.repeat(2)), 400, "bad_key"),
        (without(version), 400, "no_version"),
        (whole.replace(version, "Sec-WebSocket-Version: 8\r\n"), 426, "wrong_version"),
        (without("Connection: keep-alive, Upgrade\r\n"), 400, "not_hop_by_hop"),
        (without("Upgrade: websocket\r\n"), 426, "not_websocket"),
        (whole.replace("websocket\r\n", "h2c\r\n"), 426, "not_websocket"),
        (whole.replace("GET", "POST"), 405, "not_get"),
        (whole.replace("HTTP/1.1", "HTTP/1.0"), 426, "not_websocket"),
        (whole.replace(version, &format!("{version}Content-Length: 1\r\n")), 400, "has_body"),
    ];
    for (request, status, label) in table {
        let response = relay.ask(&request);
        assert_eq!(response.status, status, "{request}");
        assert_eq!(response.body, format!("{{\"error\":\"{label}\"}}"), "{request}");
        if status == 426 {
            assert_eq!(response.field("sec-websocket-version"), Some("13"));
            assert_eq!(response.field("upgrade"), Some("websocket"));
            let options = response.field("connection").unwrap();
            assert!(options.ends_with(", Upgrade"), "{options}");
        }
        let allow = (status == 405).then_some("GET, OPTIONS");
        assert_eq!(response.field("allow"), allow);
    }
    assert_eq!(relay.get("/web").field("connection"), Some("keep-alive, Upgrade"));
    assert_eq!(relay.load.calls(), 0);
}

#[test]
fn a_carriers_handshake_is_signed() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let signature = |value: &str| format!("x-twilio-signature: {value}\r\n");
    let good = [
        ("/twilio/media", "PSHKZdRBsp/HJd8JQTizTsmtv48="),
        ("/twilio/media", "SgkXo9QzOez8fr6zYy4GGWAW8N4="),
        ("/twilio/media/", "PSHKZdRBsp/HJd8JQTizTsmtv48="),
        ("/twilio/media", "prFckHlJiHQS5zQvNQZc2mG0HUU="),
        ("/twilio/media", "ml1tO6xQN4oknYhwshqGnlktTsk="),
        ("/", "oGaPNaroMZE9BqmXqeL6e/CISxA="),
        ("/", "l8RgIWYYmLRVjVCz8LcsLNTDw7Y="),
        ("/?source=twilio", "XecfauY0Qq0GJKPAnmb6ZiqBhjA="),
    ];
    for (target, value) in good {
        assert_eq!(try_upgrade(&relay, target, &signature(value)).status, 101, "{target} {value}");
    }
    assert_eq!(relay.shared.signatures.handshake.of("valid"), good.len() as u64);
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 403);
    assert_eq!(try_upgrade(&relay, "/twilio/media", &signature("AAAA")).status, 403);
    assert_eq!(try_upgrade(&relay, "/?source=twilio", "").status, 403);
    // V1, of a webhook.
    let webhooks = signature("kH9VMUYMS7ngCllZMvrqpoS1QFc=");
    assert_eq!(try_upgrade(&relay, "/twilio/media", &webhooks).status, 403);
    assert_eq!(relay.load.calls(), good.len());
    // Nor does it change that no calls are taken.
    relay.drain();
    assert_eq!(try_upgrade(&relay, "/twilio/media", &webhooks).status, 403);
    let relay = Relay::with(signed(SignatureMode::Require));
    // A browser signs nothing.
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    assert_eq!(try_upgrade(&relay, "/", "Origin: https://voice.example.com\r\n").status, 101);
    let relay = Relay::with(signed(SignatureMode::Warn));
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 101);
    assert_eq!(relay.shared.signatures.handshake.of("missing"), 1);
}

#[test]
fn calls_go_to_the_emptiest_worker_until_there_is_no_room() {
    let relay = Relay::with(|config| config.limits.max_calls = 3);
    let inside = relay.browser_inside(0);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    let first = new_call(&relay, 1);
    let_in(&relay, 1, first.id);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    let second = new_call(&relay, 0);
    assert_ne!(first.id, second.id);
    let_in(&relay, 0, second.id);
    let full = try_upgrade(&relay, "/twilio/media", "");
    assert_eq!((full.status, full.body.as_str()), (503, "{\"error\":\"full\"}"));
    assert_eq!((relay.load.calls(), relay.shared.refusals.of("full")), (3, 1));
    relay.end(inside, "", Ending::CallerHungUp);
    relay.load.freed(0);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    assert_eq!(relay.load.calls(), 3);
}

/// Asks for a browser's call to be let in, as a worker would, and waits until it is.
fn let_in(relay: &Relay, worker: usize, id: CallId) {
    let call = CallKey { worker, slot: 0, generation: id.0 };
    let opening = Opening::Web { token: None, rate_hz: 16_000, agent: None, resume: None };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    relay.dial_letter();
}

#[test]
fn silent_strangers_take_no_places_and_count_for_their_address() {
    let relay = Relay::with(|config| {
        config.limits.max_calls = 1;
        config.limits.max_handshakes_per_ip = 4;
    });
    let strangers: Vec<_> = (0..4)
        .map(|_| {
            assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
            let mut letter = None;
            until(|| {
                letter = relay.workers.iter().find_map(|worker| worker.take());
                letter.is_some()
            });
            let Some(WorkerLetter::Call(call)) = letter else { panic!("no call") };
            call
        })
        .collect();
    assert_eq!(relay.load.calls(), 4);
    assert_eq!(relay.get("/healthz").status, 429, "each is still one of its address");
    relay.end(strangers[0].id, "", Ending::NoStart);
    until(|| relay.get("/healthz").status == 200);
    until(|| relay.get("/readyz").status == 200);
    let_in(&relay, 0, strangers[1].id);
    until(|| relay.get("/readyz").status == 503);
}

#[test]
fn a_worker_that_reads_no_mail_gets_no_calls() {
    let relay = Relay::start();
    for postbox in &relay.to_workers {
        for _ in 0..MAILBOX_LETTERS {
            postbox.post(WorkerLetter::Stop).unwrap();
        }
    }
    assert_eq!(try_upgrade(&relay, "/web", "").status, 503);
    assert_eq!(relay.load.calls(), 0);
}

#[test]
fn while_draining_only_a_carriers_stream_that_was_promised_comes_in() {
    let relay = Relay::start();
    let promised = relay.post_form("/twilio/incoming", "CallSid=CA1");
    assert!(promised.body.contains("<Stream"));
    relay.drain();
    for target in ["/web", "/"] {
        let response = try_upgrade(&relay, target, "");
        assert_eq!((response.status, response.body.as_str()), (503, "{\"error\":\"draining\"}"));
    }
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 101);
    assert_eq!(new_call(&relay, 0).door, Door::Twilio);
    assert_eq!(relay.load.expected(), 1);
    let id = relay.fresh_id();
    relay.admit_as(id, "CA1", Some(&token_in(&promised.body)), None);
    relay.dial_letter();
    let nobody_promised = try_upgrade(&relay, "/twilio/media", "");
    assert_eq!(nobody_promised.body, "{\"error\":\"draining\"}");
    // Until its end is heard of, it may leave a caller who comes back.
    until(|| relay.load.expected() == 1);
    relay.end(id, "CA1", Ending::CallerHungUp);
    until(|| relay.load.expected() == 0);
}

#[test]
fn where_browsers_are_not_served_only_carriers_come_in() {
    let relay = Relay::with(|config| config.web.enabled = false);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 404);
    assert_eq!(try_upgrade(&relay, "/", "Origin: https://voice.example.com\r\n").status, 404);
    assert_eq!(try_upgrade(&relay, "/", "").status, 101);
    assert_eq!(new_call(&relay, 0).door, Door::Twilio);
}

#[test]
fn a_page_of_another_origin_cannot_talk_in_its_readers_name() {
    let relay = Relay::with(|config| {
        config.server.public_url = Some("https://public.example.com".into());
    });
    for door in ["/web", "/", "/twilio/media"] {
        for foreign in ["https://evil.example", "null", "https://voice.example.com.evil.example"] {
            let response = try_upgrade(&relay, door, &format!("Origin: {foreign}\r\n"));
            assert_eq!(response.status, 403, "{door} {foreign}");
        }
        let own = "https://public.example.com";
        let response = try_upgrade(&relay, door, &format!("Origin: {own}\r\n"));
        assert_eq!(response.status, 101, "{door} {own}");
    }
    assert_eq!(relay.shared.http_faults.of("foreign_page"), 9);
}

#[test]
fn a_page_whose_own_name_leads_to_this_machine_is_still_foreign() {
    let asks = |host: &str, fields: &str| {
        let host = format!("Host: {host}\r\nOrigin: http://{host}\r\n{fields}");
        upgrade("/web", "").replace("Host: voice.example.com\r\n", &host)
    };
    for public_url in [None, Some("https://voice.example.com".to_owned())] {
        let relay = Relay::with(|config| config.server.public_url = public_url);
        assert_eq!(relay.ask(asks("evil.example", "")).status, 403);
        assert_eq!(relay.ask(asks("evil.example:8080", "")).status, 403);
        assert_eq!(relay.shared.http_faults.of("foreign_page"), 2);
        // Nobody vouches for the TLS it says to have come by.
        assert_eq!(relay.ask(asks("evil.example", "X-Forwarded-Proto: https\r\n")).status, 403);
        for own in ["localhost:8080", "app.localhost", "127.0.0.1", "[::1]:8080", "192.0.2.7"] {
            assert_eq!(relay.ask(asks(own, "")).status, 101, "{own}");
        }
    }
    let proxied = Relay::with(|config| {
        config.server.trusted_proxies = Networks::parse(["127.0.0.0/8"]).unwrap();
    });
    let told =
        |scheme: &str| asks("voice.example.com", &format!("X-Forwarded-Proto: {scheme}\r\n"));
    assert_eq!(proxied.ask(told("https")).status, 101, "its certificate was looked at");
    assert_eq!(proxied.ask(told("http")).status, 403);
}

#[test]
fn behind_a_refused_upgrade_nothing_is_answered() {
    let asks = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let plain = |method: &str, target: &str, fields: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: voice.example.com\r\n{fields}\r\n")
    };
    let foreign = "Origin: https://evil.example\r\n";
    let token = "Authorization: Bearer none-of-ours-at-all\r\n";
    let old = upgrade("/web", "").replace("Version: 13", "Version: 8");
    let relay = Relay::with(|config| {
        signed(SignatureMode::Require)(config);
        config.web.tokens = vec![vocaris::config::Secret::new("0123456789abcdef".into())];
        config.twilio.both_tracks = true;
    });
    let shut = Relay::start();
    shut.drain();
    let table = [
        (&relay, plain("GET", "/web", asks), 400),
        (&relay, upgrade("/web", token), 401),
        (&relay, upgrade("/web", foreign), 403),
        (&relay, upgrade("/twilio/media", ""), 403),
        (&relay, upgrade("/twilio/tracks", ""), 403),
        (&relay, upgrade("/", "X-Twilio-Signature: AAAA\r\n"), 403),
        (&relay, upgrade("/nowhere", ""), 404),
        (&relay, plain("POST", "/web", asks), 405),
        (&relay, plain("POST", "/", asks), 405),
        (&relay, old, 426),
        (&relay, plain("GET", "/web", "Upgrade: h2c\r\nConnection: Upgrade\r\n"), 426),
        (&shut, upgrade("/web", ""), 503),
        (&shut, upgrade("/twilio/media", ""), 503),
        // What is no door answers as ever, and closes too.
        (&relay, plain("GET", "/healthz", asks), 200),
        (&relay, plain("HEAD", "/healthz", asks), 200),
        (&relay, plain("OPTIONS", "/web", asks), 204),
    ];
    for (relay, request, status) in table {
        let mut client = relay.connect();
        let hidden = "GET /readyz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
        client.send([request.as_str(), hidden].concat());
        let response = client.response_to(request.starts_with("HEAD"));
        assert_eq!(response.status, status, "{request}");
        let options = response.field("connection").unwrap();
        assert!(options.starts_with("close"), "{request}: {options}");
        assert!(client.is_closed(), "{request}");
    }
}

#[test]
fn while_a_quota_is_used_up_browsers_are_told_so_and_a_promised_stream_still_comes_in() {
    let relay = Relay::start();
    relay.post_letter(AcceptLetter::QuotaUsedUp);
    until(|| relay.get("/readyz").status == 503);
    for door in ["/web", "/twilio/media"] {
        let refused = try_upgrade(&relay, door, "");
        assert_eq!((refused.status, refused.body.as_str()), (503, "{\"error\":\"quota\"}"));
    }
    let relay = Relay::start();
    relay.post_form("/twilio/incoming", "CallSid=CA1&From=1&To=2");
    relay.post_letter(AcceptLetter::QuotaUsedUp);
    until(|| relay.get("/readyz").status == 503);
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 101);
}
