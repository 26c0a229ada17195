//! The operator's page and its figures, health and readiness: who may read them, what they tell.

use vocaris::call::Ending;
use vocaris::clock::Nanos;
use vocaris::config::{Networks, Secret};
use vocaris::mail::{AcceptLetter, ControlLetter};

use crate::harness::{PATIENCE, Relay, Response, get, until};

const TOKEN: &str = "0123456789abcdef";
const HERE: &str = "Host: localhost:8080\r\n";

fn request(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{fields}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Asks for the page's figures, and hands some out, as the control thread would.
fn figures(relay: &Relay, fields: &str, json: Option<&str>) -> Response {
    let mut client = relay.connect();
    client.send(request("/status.json", fields));
    let ticket = match relay.control.wait(PATIENCE) {
        Some(ControlLetter::Status { ticket }) => ticket,
        other => panic!("no figures were asked for but {other:?}"),
    };
    relay.post_letter(AcceptLetter::Status { ticket, json: json.map(str::to_owned) });
    client.response()
}

#[test]
fn without_a_token_the_status_is_for_this_machine_alone() {
    let relay = Relay::start();
    let told = figures(&relay, HERE, Some("{\"uptime_s\":1}"));
    assert_eq!((told.status, told.field("content-type")), (200, Some("application/json")));
    assert_eq!(told.field("cache-control"), Some("no-store"));
    let page = relay.ask(request("/status", HERE));
    assert_eq!(page.status, 200);
    // Another site's name bent to lead here, and proxies on this machine that nobody trusts.
    for fields in [
        "Host: voice.example.com\r\n".to_owned(),
        format!("{HERE}X-Forwarded-For: 203.0.113.9\r\n"),
        format!("{HERE}Forwarded: for=203.0.113.9\r\n"),
        format!("{HERE}X-Real-IP: 203.0.113.9\r\n"),
        format!("{HERE}Via: 1.1 proxy\r\n"),
    ] {
        for target in ["/status", "/status.json"] {
            assert_eq!(relay.ask(request(target, &fields)).status, 403, "{target} {fields}");
        }
    }
    assert_eq!(relay.shared.http_faults.of("status_from_elsewhere"), 10);
}

#[test]
fn a_client_behind_a_trusted_proxy_is_not_this_machine() {
    let relay = Relay::with(|config| {
        config.server.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
    });
    let fields = format!("{HERE}X-Forwarded-For: 203.0.113.9\r\n");
    assert_eq!(relay.ask(request("/status.json", &fields)).status, 403);
}

#[test]
fn with_a_token_the_page_is_shown_and_its_figures_want_the_token() {
    let relay = Relay::with(|config| config.admin.token = Some(Secret::new(TOKEN.into())));
    let elsewhere = "Host: voice.example.com\r\n";
    let page = relay.ask(request("/status", elsewhere));
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    for fields in [HERE.to_owned(), format!("{HERE}{}", bearer("fedcba9876543210"))] {
        assert_eq!(relay.ask(request("/status.json", &fields)).status, 401, "{fields}");
    }
    let in_address = format!("/status.json?token={TOKEN}");
    assert_eq!(relay.ask(request(&in_address, HERE)).status, 401, "addresses are logged");
    let fields = format!("{elsewhere}{}", bearer(TOKEN));
    assert_eq!(figures(&relay, &fields, Some("{}")).status, 200);
    assert_eq!(figures(&relay, &fields, None).status, 503);
}

#[test]
fn the_status_is_for_the_allowed_networks_and_stands_where_the_figures_stand() {
    let elsewhere = Networks::parse(["203.0.113.0/24"]).unwrap();
    let relay = Relay::with(|config| {
        config.admin.token = Some(Secret::new(TOKEN.into()));
        config.admin.allow = Some(elsewhere);
    });
    for target in ["/status", "/status.json"] {
        let fields = format!("{HERE}{}", bearer(TOKEN));
        assert_eq!(relay.ask(request(target, &fields)).status, 403, "{target}");
    }
    let relay = Relay::with(|config| config.admin.listen = "127.0.0.1:0".parse().ok());
    assert_eq!(relay.ask(request("/status", HERE)).status, 404);
    assert_eq!(relay.ask(request("/status.json", HERE)).status, 404);
    let mut client = relay.connect_to(relay.admin.unwrap());
    client.send(request("/status", HERE));
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_media_thread_that_hangs_is_neither_healthy_nor_ready() {
    let relay = Relay::start();
    assert_eq!((relay.get("/healthz").status, relay.get("/readyz").status), (200, 200));
    // It began its turn when the clock did, and has not ended it. Five seconds are given.
    relay.load.lateness().begin(1, Nanos::ZERO);
    until(|| relay.get("/healthz").status == 503);
    let health = relay.get("/healthz");
    assert!(health.body.contains("worker-1 has been in one turn for "), "{}", health.body);
    assert_eq!(relay.get("/readyz").status, 503);
    relay.load.lateness().end(1, Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
    assert_eq!((relay.get("/healthz").status, relay.get("/readyz").status), (200, 200));
}

#[test]
fn readiness_says_why_not() {
    let relay = Relay::with(|config| config.limits.max_calls = 1);
    let id = relay.browser_inside(0);
    let full = relay.ask(get("/readyz"));
    assert!(full.status == 503 && full.body.contains("full"), "{}", full.body);
    assert_eq!(relay.get("/healthz").status, 200, "a full relay is healthy");
    relay.load.freed(0);
    relay.end(id, "CA1", Ending::CallerHungUp);
    relay.drain();
    let draining = relay.get("/readyz");
    assert!(draining.body.contains("draining"), "{}", draining.body);
}
