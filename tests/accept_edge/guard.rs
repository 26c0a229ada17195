//! Who may come in: addresses behind proxies, allow lists, origins, tokens, numbers, shared keys.

use vocaris::call::{Again, CallId, Ending, Opening, Refusal};
use vocaris::config::{Carrier, Config, Networks, Secret, SharedKey, SignatureMode};
use vocaris::mail::{AcceptLetter, CallKey, DialLetter, WorkerLetter};
use vocaris::wire::signature::{Algorithm, sign};

use crate::harness::{Relay, Response, attribute, get, post, signed, token_in, until};
use crate::upgrade::{try_upgrade, upgrade};

const TOKEN: &str = "0123456789abcdef";
const OTHER_TOKEN: &str = "fedcba9876543210";

fn networks(list: &[&str]) -> Networks {
    Networks::parse(list.iter().copied()).unwrap()
}

/// The relay believes this machine what it says of its clients.
fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = networks(&["127.0.0.1", "10.0.0.0/8"]);
}

fn forwarded(hops: &str) -> String {
    format!("X-Forwarded-For: {hops}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn get_with(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: voice.example.com\r\n{fields}\r\n")
}

/// The socket that has become a WebSocket last, wherever it was placed.
fn arrived(relay: &Relay) -> CallId {
    let mut found = None;
    until(|| {
        found = found.take().or_else(|| relay.workers.iter().find_map(|worker| worker.take()));
        found.is_some()
    });
    match found {
        Some(WorkerLetter::Call(call)) => call.id,
        other => panic!("no call but {other:?}"),
    }
}

/// What becomes of a browser with the call's name `id` that says `hello` with this token.
fn hello(relay: &Relay, id: CallId, token: Option<&str>) -> Result<(), Refusal> {
    let call = CallKey { worker: 1, slot: 3, generation: id.0 };
    let token = token.map(str::to_owned);
    let opening = Opening::Web { token, rate_hz: 16_000, agent: None, resume: None };
    relay.post_letter(AcceptLetter::Admit { call, id, opening });
    let mut verdict = None;
    until(|| {
        verdict = match (relay.dial.take(), relay.workers[1].take()) {
            (Some(DialLetter::Dial { call: dialled, .. }), _) if dialled == call => Some(Ok(())),
            (_, Some(WorkerLetter::Refused { refusal, .. })) => Some(Err(refusal)),
            _ => None,
        };
        verdict.is_some()
    });
    verdict.unwrap()
}

#[test]
fn behind_a_trusted_proxy_the_clients_own_address_decides() {
    let relay = Relay::with(|config| {
        behind_a_proxy(config);
        config.web.allow = Some(networks(&["203.0.113.0/24", "2001:db8::/32"]));
    });
    let table = [
        ("203.0.113.9", 200),
        ("198.51.100.1, 203.0.113.9", 200),
        ("203.0.113.9, 10.0.0.2", 200),
        ("2001:db8::9", 200),
        ("[2001:db8::9]:4711", 200),
        ("unknown, 203.0.113.9", 200),
        // What he writes himself helps nobody.
        ("203.0.113.9, 198.51.100.1", 403),
        ("203.0.113.9, 198.51.100.1, 10.0.0.2", 403),
        ("198.51.100.1", 403),
        // Nobody knows who it is.
        ("203.0.113.9, unknown", 403),
        ("", 403),
    ];
    for (hops, status) in table {
        let response = relay.ask(get_with("/", &forwarded(hops)));
        assert_eq!(response.status, status, "{hops}");
    }
    assert_eq!(relay.shared.connections.of("bad_forwarded"), 2);
    // The proxy itself is not on the list.
    assert_eq!(relay.get("/").status, 403);
    let long = ["10.0.0.1"; 17].join(", ");
    assert_eq!(relay.ask(get_with("/", &forwarded(&long))).status, 403);
    assert_eq!(relay.shared.connections.of("bad_forwarded"), 3);
    assert_eq!(relay.shared.http_faults.of("page_not_allowed"), 7);
    // Probers need no list.
    assert_eq!(relay.get("/healthz").status, 200);
}

#[test]
fn whoever_is_no_trusted_proxy_is_not_believed() {
    let relay = Relay::with(|config| {
        config.server.trusted_proxies = networks(&["10.0.0.0/8"]);
        config.web.allow = Some(networks(&["203.0.113.0/24"]));
    });
    let forged = get_with("/", &forwarded("203.0.113.9"));
    assert_eq!(relay.ask(forged).status, 403);
    let relay = Relay::with(|config| config.web.allow = Some(networks(&["127.0.0.0/8"])));
    assert_eq!(relay.ask(get_with("/", &forwarded("198.51.100.1"))).status, 200);
    assert_eq!(relay.shared.connections.of("bad_forwarded"), 0);
}

#[test]
fn behind_a_proxy_each_client_has_his_own_share_of_connections() {
    let relay = Relay::with(|config| {
        behind_a_proxy(config);
        config.limits.max_handshakes_per_ip = 1;
    });
    let begun = |client: &str| {
        format!(
            "POST /twilio/after HTTP/1.1\r\nHost: h\r\n{}Expect: 100-continue\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\n",
            forwarded(client)
        )
    };
    let mut first = relay.connect();
    first.send(begun("203.0.113.9"));
    // It has been read: the relay asks for the body.
    assert_eq!(first.response().status, 100);
    let mut same = relay.connect();
    assert_eq!(same.response_or_closed(&begun("203.0.113.9")), Some(429));
    assert!(same.is_closed());
    let mut neighbour = relay.connect();
    assert_eq!(neighbour.response_or_closed(&begun("203.0.113.10")), Some(100));
    // One subscriber's /64 is one address.
    let mut six = relay.connect();
    assert_eq!(six.response_or_closed(&begun("2001:db8::1")), Some(100));
    let mut sister = relay.connect();
    assert_eq!(sister.response_or_closed(&begun("2001:db8::2")), Some(429));
    assert_eq!(relay.shared.connections.of("too_many_of_one_address"), 2);
    // Between two requests a proxy's connection counts for nobody.
    first.send("a=b&c");
    assert_eq!(first.response().status, 200);
    let mut again = relay.connect();
    assert_eq!(again.response_or_closed(&begun("203.0.113.9")), Some(100));
    let next = get_with("/healthz", &forwarded("203.0.113.9"));
    assert_eq!(first.response_or_closed(&next), Some(429));
}

#[test]
fn a_trusted_proxy_says_by_which_scheme_we_are_reached() {
    let relay = Relay::with(behind_a_proxy);
    let stream = |fields: &str| {
        let response = relay.ask(post("/twilio/incoming", fields, "CallSid=CA1"));
        attribute(&response.body, "<Stream", "url").to_owned()
    };
    assert_eq!(stream(""), "wss://voice.example.com/twilio/media");
    assert_eq!(stream("X-Forwarded-Proto: http\r\n"), "ws://voice.example.com/twilio/media");
    assert_eq!(stream("X-Forwarded-Proto: HTTPS\r\n"), "wss://voice.example.com/twilio/media");
    for unclear in ["http, https", "gopher", ""] {
        let field = format!("X-Forwarded-Proto: {unclear}\r\n");
        assert_eq!(stream(&field), "wss://voice.example.com/twilio/media", "{unclear}");
    }
    let relay = Relay::start();
    let response = relay.ask(post("/twilio/incoming", "X-Forwarded-Proto: http\r\n", ""));
    assert!(response.body.contains("wss://"), "nobody vouches for it");
}

#[test]
fn browsers_come_in_from_the_allowed_networks_alone() {
    let relay = Relay::with(|config| {
        config.server.public_url = Some("https://voice.example.com".into());
        config.web.allow = Some(networks(&["203.0.113.0/24"]));
    });
    let own = "Origin: https://voice.example.com\r\n";
    for (target, fields) in [("/web", ""), ("/web", own), ("/", own)] {
        assert_eq!(try_upgrade(&relay, target, fields).status, 403, "{target} {fields}");
    }
    assert_eq!(relay.get("/vocaris.js").status, 403);
    assert_eq!(relay.shared.refusals.of("not_allowed"), 3);
    // This may be a carrier; it turns out to be none.
    assert_eq!(try_upgrade(&relay, "/", "").status, 101);
    let id = arrived(&relay);
    assert_eq!(hello(&relay, id, None), Err(Refusal::NotAllowed));
    assert_eq!(relay.shared.refusals.of("not_allowed"), 4);
    assert_eq!(Refusal::NotAllowed.close_code(), 1008);
    // Carriers dial from anywhere.
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 101);
    let relay = Relay::with(|config| {
        config.server.public_url = Some("https://voice.example.com".into());
        config.web.allow = Some(networks(&["127.0.0.0/8"]));
    });
    assert_eq!(try_upgrade(&relay, "/web", own).status, 101);
    let id = arrived(&relay);
    assert_eq!(hello(&relay, id, None), Ok(()));
}

#[test]
fn a_browser_shows_its_token_in_its_head_or_in_its_hello() {
    let relay = Relay::with(|config| {
        config.web.tokens = [TOKEN, OTHER_TOKEN].map(|token| Secret::new(token.into())).into();
    });
    let (good, other, wrong) = (bearer(TOKEN), bearer(OTHER_TOKEN), bearer("0123456789abcdeF"));
    let table = [
        ("/web", "", None, Err(Refusal::NoToken)),
        ("/web", "", Some(""), Err(Refusal::BadToken)),
        ("/web", "", Some("0123456789abcde"), Err(Refusal::BadToken)),
        ("/web", "", Some(TOKEN), Ok(())),
        ("/web", "", Some(OTHER_TOKEN), Ok(())),
        ("/web", good.as_str(), None, Ok(())),
        ("/", other.as_str(), None, Ok(())),
        ("/web", good.as_str(), Some("another site's"), Ok(())),
        ("/", wrong.as_str(), None, Err(Refusal::BadToken)),
        ("/", wrong.as_str(), Some(TOKEN), Ok(())),
    ];
    for (target, fields, token, verdict) in table {
        assert_eq!(try_upgrade(&relay, target, fields).status, 101, "{target} {fields}");
        let id = arrived(&relay);
        assert_eq!(hello(&relay, id, token), verdict, "{target} {fields} {token:?}");
    }
    let response = try_upgrade(&relay, "/web", &wrong);
    assert_eq!((response.status, response.field("www-authenticate")), (401, Some("Bearer")));
    let refused = |reason| relay.shared.refusals.of(reason);
    assert_eq!((refused("no_token"), refused("bad_token")), (1, 4));
    // The page itself holds no secret.
    assert_eq!(relay.get("/").status, 200);
}

#[test]
fn only_pages_of_the_listed_origins_may_talk() {
    let relay = Relay::with(|config| {
        config.server.public_url = Some("https://voice.example.com".into());
        config.web.allowed_origins = vec!["https://shop.example.com:8443".into()];
    });
    for (origin, status) in [
        ("https://shop.example.com:8443", 101),
        ("https://shop.example.com", 403),
        ("http://shop.example.com:8443", 403),
        ("https://shop.example.com:8443/", 403),
        ("https://voice.example.com", 403),
        ("null", 403),
    ] {
        for target in ["/web", "/"] {
            let fields = format!("Origin: {origin}\r\n");
            let response = try_upgrade(&relay, target, &fields);
            assert_eq!(response.status, status, "{target} {origin}");
        }
    }
    assert_eq!(relay.shared.http_faults.of("foreign_page"), 10);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101, "who is no page says no origin");
}

/// Asks for the figures, and hands some out if the relay asks for them.
fn figures(relay: &Relay, at: std::net::SocketAddr, fields: &str) -> Response {
    let mut client = relay.connect_to(at);
    client.send(get_with("/metrics", fields));
    let mut handed_out = false;
    until(|| {
        if let Some(vocaris::mail::ControlLetter::Scrape { ticket }) = relay.control.take() {
            relay.post_letter(AcceptLetter::Page { ticket, text: Some("figures 1\n".into()) });
            handed_out = true;
        }
        handed_out || relay.shared.answers.all().iter().any(|&(status, _)| status != "200")
    });
    client.response()
}

#[test]
fn the_figures_are_for_those_who_show_the_token() {
    let relay = Relay::with(|config| config.admin.token = Some(Secret::new(TOKEN.into())));
    assert_eq!(figures(&relay, relay.address, &bearer(TOKEN)).status, 200);
    let response = relay.get("/metrics");
    assert_eq!((response.status, response.field("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(relay.ask(get_with("/metrics", &bearer(OTHER_TOKEN))).status, 401);
    assert_eq!(relay.get(&format!("/metrics?token={TOKEN}")).status, 401, "paths are logged");
    assert_eq!(relay.shared.http_faults.of("admin_no_token"), 2);
    assert_eq!(relay.shared.http_faults.of("admin_wrong_token"), 1);
    assert_eq!(relay.get("/readyz").status, 200);
}

#[test]
fn the_figures_are_for_the_allowed_networks() {
    let relay = Relay::with(|config| {
        behind_a_proxy(config);
        config.admin.allow = Some(networks(&["10.7.0.0/16", "203.0.113.9"]));
    });
    assert_eq!(figures(&relay, relay.address, &forwarded("203.0.113.9")).status, 200);
    for hops in ["198.51.100.1", "203.0.113.10", "nonsense"] {
        assert_eq!(relay.ask(get_with("/metrics", &forwarded(hops))).status, 403, "{hops}");
    }
    assert_eq!(relay.get("/metrics").status, 403);
    assert_eq!(relay.shared.http_faults.of("admin_not_allowed"), 4);
}

#[test]
fn the_figures_can_have_an_address_of_their_own() {
    let relay = Relay::with(|config| config.admin.listen = "127.0.0.1:0".parse().ok());
    let admin = relay.admin.expect("a second address");
    assert_eq!(figures(&relay, admin, "").status, 200);
    assert_eq!(relay.get("/metrics").status, 404);
    let ask_admin = |request: &str| {
        let mut client = relay.connect_to(admin);
        client.send(request);
        client.response().status
    };
    assert_eq!(ask_admin(&get("/healthz")), 200);
    assert_eq!(ask_admin(&get("/readyz")), 200);
    for target in ["/", "/vocaris.js", "/twilio/incoming", "/twilio/media", "/calendar.ics"] {
        assert_eq!(ask_admin(&get(target)), 404, "{target}");
    }
    assert_eq!(ask_admin(&upgrade("/web", "")), 404);
}

fn ring(relay: &Relay, call_sid: &str, from: &str) -> Response {
    let from = from.replace('+', "%2B");
    relay.post_form("/twilio/incoming", &format!("CallSid={call_sid}&From={from}&To=%2B1"))
}

#[test]
fn a_number_has_only_so_many_calls_at_a_time() {
    const NUMBER: &str = "+4930555010";
    let relay = Relay::with(|config| config.limits.max_calls_per_number = 2);
    let first = ring(&relay, "CA1", NUMBER);
    assert!(first.body.contains("<Stream"));
    assert!(ring(&relay, "CA2", NUMBER).body.contains("<Stream"));
    assert!(ring(&relay, "CA3", NUMBER).body.contains("<Reject reason=\"busy\"/>"));
    assert_eq!(relay.shared.refusals.of("number_full"), 1);
    assert!(ring(&relay, "CA2", NUMBER).body.contains("<Stream"), "the same call once more");
    assert!(ring(&relay, "CA4", "+4930555011").body.contains("<Stream"));
    // Withheld numbers, and what is no number, tell nobody apart.
    for from in ["anonymous", "+266696687", "sip:bob@example.com", ""] {
        for n in 0..3 {
            let call_sid = format!("CA{n}{}", from.len());
            assert!(ring(&relay, &call_sid, from).body.contains("<Stream"), "{from}");
        }
    }
    // Its stream comes: one call, no longer promised but let in.
    let id = relay.fresh_id();
    relay.load.placed(1);
    relay.admit_as(id, "CA1", Some(&token_in(&first.body)), None);
    relay.dial_letter();
    assert!(ring(&relay, "CA5", NUMBER).body.contains("<Reject"));
    assert!(ring(&relay, "CA1", NUMBER).body.contains("<Stream"), "led to its stream again");
    // A stream nobody was led to has no place either.
    let stranger = relay.fresh_id();
    let call = CallKey { worker: 1, slot: 9, generation: stranger.0 };
    relay.post_letter(AcceptLetter::Admit {
        call,
        id: stranger,
        opening: Opening::Twilio {
            carrier: Carrier::Twilio,
            call_sid: "CA9".into(),
            stream_sid: "MZ1".into(),
            token: None,
            from: Some(NUMBER.into()),
            to: None,
            again: Again::No,
            custom: Vec::new(),
        },
    });
    match relay.worker_letter(1) {
        WorkerLetter::Refused { refusal, .. } => assert_eq!(refusal, Refusal::NumberFull),
        other => panic!("not refused but {other:?}"),
    }
    assert_eq!(Refusal::NumberFull.close_code(), 1013);
}

#[test]
fn a_call_that_ends_gives_its_number_back() {
    const NUMBER: &str = "+4930555010";
    let relay = Relay::with(|config| config.limits.max_calls_per_number = 1);
    let first = ring(&relay, "CA1", NUMBER);
    let id = relay.fresh_id();
    relay.load.placed(1);
    relay.admit_as(id, "CA1", Some(&token_in(&first.body)), None);
    relay.dial_letter();
    assert!(ring(&relay, "CA2", NUMBER).body.contains("<Reject"));
    relay.end(id, "CA1", Ending::CallerHungUp);
    until(|| ring(&relay, "CA2", NUMBER).body.contains("<Stream"));
}

const FORM: &str = "CallSid=CA00000000000000000000000000000002&From=%2B18005550199";

fn form_fields() -> Vec<(String, String)> {
    [("CallSid", "CA00000000000000000000000000000002"), ("From", "+18005550199")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn with_shared_keys(config: &mut Config) {
    signed(SignatureMode::Require)(config);
    let key =
        |id: &str, secret: &str| SharedKey { id: id.into(), secret: Secret::new(secret.into()) };
    config.twilio.shared_keys = vec![key("KA", "another"), key("KX", "shared_key_secret_xyz")];
}

#[test]
fn a_webhook_may_be_signed_with_a_shared_key() {
    const URL: &str = "https://voice.example.com/twilio/incoming";
    let by = |algorithm, secret| sign(algorithm, secret, URL, &form_fields());
    let of_key = by(Algorithm::HmacSha256, "shared_key_secret_xyz");
    let of_token = by(Algorithm::HmacSha1, "test_auth_token_0123456789abcdef");
    let ask = |relay: &Relay, signature: &str, settings: &str| {
        let settings = match settings {
            "" => String::new(),
            settings => format!("X-Twilio-Webhooks-Signature-Settings: {settings}\r\n"),
        };
        let fields = format!("X-Twilio-Signature: {signature}\r\n{settings}");
        relay.ask(post("/twilio/incoming", &fields, FORM)).status
    };
    let relay = Relay::with(with_shared_keys);
    assert_eq!(ask(&relay, &of_key, "key=KX,algorithm=HMAC_SHA256"), 200);
    assert_eq!(ask(&relay, &of_token, ""), 200);
    assert_eq!(ask(&relay, &of_key, "key=KA,algorithm=HMAC_SHA256"), 403);
    assert_eq!(ask(&relay, &of_key, "key=KZ,algorithm=HMAC_SHA256"), 403);
    assert_eq!(ask(&relay, &of_key, "key=KX,algorithm=NONE"), 403);
    // The settings are the sender's: they lead to no other secret.
    assert_eq!(ask(&relay, &of_token, "key=KX,algorithm=HMAC_SHA1"), 403);
    let counts = |label| relay.shared.signatures.webhook.of(label);
    assert_eq!((counts("valid"), counts("wrong")), (2, 2));
    assert_eq!((counts("unknown_key"), counts("bad_settings")), (1, 1));
    let relay = Relay::with(|config| {
        with_shared_keys(config);
        config.twilio.require_shared = true;
    });
    assert_eq!(ask(&relay, &of_key, "key=KX,algorithm=HMAC_SHA256"), 200);
    assert_eq!(ask(&relay, &of_token, ""), 403);
    assert_eq!(relay.shared.signatures.webhook.of("shared_key_required"), 1);
}

#[test]
fn a_signature_that_stands_there_twice_is_none() {
    let relay = Relay::with(signed(SignatureMode::Require));
    let good = sign(
        Algorithm::HmacSha1,
        "test_auth_token_0123456789abcdef",
        "https://voice.example.com/twilio/incoming",
        &form_fields(),
    );
    let line = format!("X-Twilio-Signature: {good}\r\n");
    assert_eq!(relay.ask(post("/twilio/incoming", &line, FORM)).status, 200);
    assert_eq!(relay.ask(post("/twilio/incoming", &line.repeat(2), FORM)).status, 403);
    assert_eq!(relay.shared.signatures.webhook.of("missing"), 1);
}

#[test]
fn json_is_covered_by_the_hash_in_its_signed_address() {
    // The published vector's body and hash, at an address of ours.
    const BODY: &str = r#"{"CallSid":"CA1234567890ABCDE","Caller":"+12349013030"}"#;
    const HASH: &str = "5ccde7145dfb8f56479710896586cb9d5911809d83afbe34627818790db0aec9";
    let relay = Relay::with(signed(SignatureMode::Require));
    let ask = |target: &str, body: &str| {
        let url = format!("https://voice.example.com{target}");
        let token = "test_auth_token_0123456789abcdef";
        let signature = sign(Algorithm::HmacSha1, token, &url, &[]);
        relay.ask(format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nX-Twilio-Signature: {signature}\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let hashed = format!("/twilio/incoming?bodySHA256={HASH}");
    let answer = ask(&hashed, BODY);
    assert_eq!(answer.status, 200);
    assert!(token_in(&answer.body).starts_with("v1.CA1234567890ABCDE."), "{}", answer.body);
    assert_eq!(ask(&hashed, &BODY.replace("3030", "3031")).status, 403);
    assert_eq!(ask("/twilio/incoming", BODY).status, 403);
    assert_eq!(relay.shared.signatures.webhook.of("wrong_body"), 2);
    for no_object in ["", "[]", "{", "\"x\"", "{\"a\":1}x"] {
        assert_eq!(ask(&hashed, no_object).status, 400, "{no_object}");
    }
    let many: Vec<_> = (0..200).map(|n| format!("\"a{n}\":1")).collect();
    assert_eq!(ask(&hashed, &format!("{{{}}}", many.join(","))).status, 400);
    let deep = format!("{{\"a\":{}}}", "[".repeat(5_000));
    assert_eq!(ask(&hashed, &deep).status, 400);
}

#[test]
fn every_test_that_the_table_of_bad_input_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut sources) = (vec![root.join("src"), root.join("tests")], String::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ext| ext == "rs") => {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
                false => {}
            }
        }
    }
    let readme = include_str!("../../README.md");
    let section = readme.split("## What strangers can send").nth(1).unwrap();
    let table =
        section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| "));
    let mut named = 0;
    for row in table.skip(1) {
        let tests = row.rsplit('|').nth(1).unwrap();
        for name in tests.split(',').map(|name| name.trim().trim_matches('`')) {
            assert!(sources.contains(&format!("fn {name}(")), "{name}");
            named += 1;
        }
    }
    assert!(named > 30, "only {named} tests are named");
}

#[test]
fn an_address_has_its_share_of_calls_of_browsers_and_a_carrier_is_not_counted() {
    let relay = Relay::with(|config| {
        behind_a_proxy(config);
        config.limits.max_calls_per_address = 1;
    });
    let (here, there) = (forwarded("192.0.2.7"), forwarded("192.0.2.8"));
    let come = |fields: &str| {
        assert_eq!(try_upgrade(&relay, "/web", fields).status, 101);
        let id = arrived(&relay);
        relay.load.placed(1);
        id
    };
    let (first, second) = (come(&here), come(&here));
    assert_eq!(hello(&relay, first, None), Ok(()));
    assert_eq!(hello(&relay, second, None), Err(Refusal::AddressFull), "it arrived meanwhile");
    assert_eq!(try_upgrade(&relay, "/web", &here).status, 429);
    assert_eq!(relay.shared.refusals.of("address_full"), 2);
    let third = come(&there);
    assert_eq!(hello(&relay, third, None), Ok(()));
    for call_sid in ["CA1", "CA2"] {
        assert_eq!(try_upgrade(&relay, "/twilio/media", &here).status, 101);
        relay.admit_as(arrived(&relay), call_sid, None, None);
        relay.dial_letter();
    }
    relay.post_letter(AcceptLetter::Ended {
        id: first,
        call_sid: None,
        ending: Ending::CallerHungUp,
        transfer: None,
        legacy: None,
        had_model: true,
    });
    let fourth = come(&here);
    assert_eq!(hello(&relay, fourth, None), Ok(()));
}
