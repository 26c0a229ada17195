//! Behind proxies that speak their own header, name a host, or change the address that was signed.

use std::io::Write;
use std::net::SocketAddr;

use vocaris::accept::Deadlines;
use vocaris::config::{Config, Networks, ProxyProtocol, SignatureMode};
use vocaris::wire::signature::{Algorithm, sign};

use crate::harness::{Relay, SHORT, get, post, signed, until};

const TOKEN: &str = "test_auth_token_0123456789abcdef";

fn networks(list: &[&str]) -> Networks {
    Networks::parse(list.iter().copied()).unwrap()
}

/// This machine is a proxy; its clients must come from one network to see the page.
pub(crate) fn behind(protocol: ProxyProtocol) -> impl Fn(&mut Config) {
    move |config| {
        config.server.trusted_proxies = networks(&["127.0.0.1", "10.0.0.0/8"]);
        config.server.proxy_protocol = protocol;
        config.web.allow = Some(networks(&["203.0.113.0/24", "2001:db8::/32"]));
    }
}

pub(crate) fn v1(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let (family, target) =
        if source.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {target} {} 443\r\n", source.ip(), source.port()).into_bytes()
}

pub(crate) fn v2(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let (family, addresses) = match source {
        SocketAddr::V4(source) => (0x11, [source.ip().octets(), [192, 0, 2, 1]].concat()),
        SocketAddr::V6(source) => (0x21, [source.ip().octets(), [7; 16]].concat()),
    };
    let extension = [0x04, 0, 2, 0, 0];
    let len = u16::try_from(addresses.len() + 4 + extension.len()).unwrap().to_be_bytes();
    let ports = [source.port().to_be_bytes(), 443_u16.to_be_bytes()].concat();
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21";
    [&start[..], &[family], &len, &addresses, &ports, &extension].concat()
}

/// The status of the page for whom this header names.
fn page_for(relay: &Relay, header: &[u8]) -> u16 {
    relay.ask([header, get("/").as_bytes()].concat()).status
}

#[test]
fn whom_a_trusted_proxys_header_names_is_the_client() {
    use ProxyProtocol::{Optional, Require, V1, V2};
    type Header = fn(&str) -> Vec<u8>;
    let versions: [(Header, [ProxyProtocol; 3]); 2] =
        [(v1, [V1, Require, Optional]), (v2, [V2, Require, Optional])];
    for (header, protocols) in versions {
        for protocol in protocols {
            let relay = Relay::with(behind(protocol));
            assert_eq!(page_for(&relay, &header("203.0.113.9:4711")), 200, "{protocol:?}");
            assert_eq!(page_for(&relay, &header("[2001:db8::9]:4711")), 200, "{protocol:?}");
            assert_eq!(page_for(&relay, &header("198.51.100.1:4711")), 403, "{protocol:?}");
            // What he says himself of his way is nobody's word.
            let forged = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
            let request = [&header("198.51.100.1:1")[..], forged.as_bytes()].concat();
            assert_eq!(relay.ask(request).status, 403, "{protocol:?}");
            // A proxy before the proxy says it in each request.
            let request = [&header("10.0.0.2:1")[..], forged.as_bytes()].concat();
            assert_eq!(relay.ask(request).status, 200, "{protocol:?}");
        }
    }
}

#[test]
fn a_header_that_comes_byte_by_byte_is_read_all_the_same() {
    let relay = Relay::with(behind(ProxyProtocol::Require));
    for header in [v1("203.0.113.9:4711"), v2("203.0.113.9:4711")] {
        let mut client = relay.connect();
        client.socket.set_nodelay(true).unwrap();
        for byte in header {
            client.socket.write_all(&[byte]).unwrap();
        }
        client.send([get("/"), get("/healthz")].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_counts_as_itself() {
    let relay = Relay::with(behind(ProxyProtocol::Require));
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        assert_eq!(page_for(&relay, header), 403);
        assert_eq!(relay.ask([header, get("/healthz").as_bytes()].concat()).status, 200);
    }
}

#[test]
fn a_header_that_is_none_or_another_one_is_cut_and_counted() {
    let closed = |protocol, bytes: &[u8], label: &str| {
        let relay = Relay::with(behind(protocol));
        let mut client = relay.connect();
        client.send(bytes);
        assert!(client.is_closed(), "{label}: {:?}", client.unread);
        until(|| relay.shared.connections.of(label) == 1);
    };
    for protocol in [ProxyProtocol::V1, ProxyProtocol::V2, ProxyProtocol::Require] {
        closed(protocol, get("/healthz").as_bytes(), "no_proxy_header");
    }
    closed(ProxyProtocol::V1, &v2("203.0.113.9:1"), "other_proxy_version");
    closed(ProxyProtocol::V2, &v1("203.0.113.9:1"), "other_proxy_version");
    for protocol in [ProxyProtocol::Require, ProxyProtocol::Optional] {
        closed(protocol, b"PROXY TCP4 203.0.113.9 192.0.2.1 1\r\n", "bad_proxy_header");
        closed(protocol, b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", "bad_proxy_header");
        closed(protocol, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "long_proxy_header");
        closed(protocol, &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(), "long_proxy_header");
    }
}

#[test]
fn where_it_may_be_missing_a_connection_without_it_is_served_as_the_proxys() {
    let relay = Relay::with(behind(ProxyProtocol::Optional));
    assert_eq!(relay.get("/healthz").status, 200);
    assert_eq!(relay.get("/").status, 403, "the proxy itself is not on the list");
}

#[test]
fn from_anybody_else_a_header_is_a_broken_request() {
    let relay = Relay::with(|config| {
        behind(ProxyProtocol::Require)(config);
        config.server.trusted_proxies = networks(&["10.0.0.0/8"]);
    });
    for header in [v1("203.0.113.9:4711"), v2("203.0.113.9:4711")] {
        assert_eq!(page_for(&relay, &header), 400);
    }
    assert_eq!(relay.get("/healthz").status, 200);
}

#[test]
fn a_proxy_that_is_slow_with_its_header_is_cut() {
    let deadlines = Deadlines { proxy: SHORT, ..Deadlines::default() };
    let relay = Relay::with_deadlines(deadlines, behind(ProxyProtocol::Require));
    let mut silent = relay.connect();
    let mut slow = relay.connect();
    slow.send(&v1("203.0.113.9:4711")[..20]);
    assert!(silent.is_closed() && slow.is_closed());
    until(|| relay.shared.connections.of("slow_proxy_header") == 2);
}

#[test]
fn each_client_a_header_names_has_his_own_share_of_connections() {
    let relay = Relay::with(|config| {
        behind(ProxyProtocol::Require)(config);
        config.limits.max_handshakes_per_ip = 1;
    });
    let ask = |source: &str| {
        let mut client = relay.connect();
        client.send([v1(source), get("/healthz").into_bytes()].concat());
        (client.response().status, client)
    };
    let (first, held) = ask("203.0.113.9:1");
    let (other, _other) = ask("203.0.113.10:1");
    assert_eq!((first, other), (200, 200));
    // Whoever idles between two requests gives way.
    drop(held);
    let (again, mut busy) = ask("203.0.113.9:2");
    assert_eq!(again, 200);
    busy.send("GET /readyz HTTP/1.1\r\n");
    until(|| ask("203.0.113.9:3").0 == 429);
    assert!(relay.shared.connections.of("too_many_of_one_address") >= 1);
}

/// A webhook as the carrier posts it, signed under `url`.
fn webhook(target: &str, fields: &str, url: &str) -> String {
    let form = "CallSid=CA00000000000000000000000000000002";
    let params = [("CallSid".to_owned(), "CA00000000000000000000000000000002".to_owned())];
    let signature = sign(Algorithm::HmacSha1, TOKEN, url, &params);
    post(target, &format!("{fields}X-Twilio-Signature: {signature}\r\n"), form)
}

#[test]
fn the_host_a_trusted_proxy_names_is_the_one_that_was_signed() {
    let url = "https://calls.example.org/twilio/incoming";
    let named = "X-Forwarded-Host: calls.example.org\r\n";
    let relay = |proxies: &'static [&'static str]| {
        Relay::with(move |config| {
            signed(SignatureMode::Require)(config);
            config.server.public_url = None;
            config.server.trusted_proxies = networks(proxies);
        })
    };
    let behind = relay(&["127.0.0.1"]);
    let answer = behind.ask(webhook("/twilio/incoming", named, url));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("wss://calls.example.org/twilio/media"), "{}", answer.body);
    let others = [
        "",
        "X-Forwarded-Host: calls.example.org, evil.example\r\n",
        "X-Forwarded-Host: calls.example.org\r\nX-Forwarded-Host: calls.example.org\r\n",
        "X-Forwarded-Host: \r\n",
        "X-Forwarded-Host: user@calls.example.org\r\n",
    ];
    for fields in others {
        assert_eq!(behind.ask(webhook("/twilio/incoming", fields, url)).status, 403, "{fields}");
    }
    assert_eq!(behind.shared.connections.of("bad_forwarded_host"), 4);
    // From nobody else.
    let direct = relay(&["10.0.0.0/8"]);
    assert_eq!(direct.ask(webhook("/twilio/incoming", named, url)).status, 403);
    let own = "https://voice.example.com/twilio/incoming";
    assert_eq!(direct.ask(webhook("/twilio/incoming", named, own)).status, 200);
}

#[test]
fn addresses_the_carrier_was_given_are_tried_as_they_are() {
    let url = "https://edge.example.net:9443/tenants/7/call";
    let relay = Relay::with(|config| {
        signed(SignatureMode::Require)(config);
        config.twilio.signed_urls = vec![url.into(), format!("{url}?x=1")];
    });
    assert_eq!(relay.ask(webhook("/twilio/incoming", "", url)).status, 200);
    let with_query = format!("{url}?x=1");
    assert_eq!(relay.ask(webhook("/twilio/incoming?x=1", "", &with_query)).status, 200);
    // A query is covered by the address it stands in, and by no other.
    assert_eq!(relay.ask(webhook("/twilio/incoming?x=2", "", url)).status, 403);
    assert_eq!(relay.ask(webhook("/twilio/incoming?x=2", "", &with_query)).status, 403);
    assert_eq!(relay.ask(webhook("/twilio/incoming", "", &with_query)).status, 403);
    let unlisted = "https://edge.example.net:9443/tenants/8/call";
    assert_eq!(relay.ask(webhook("/twilio/incoming", "", unlisted)).status, 403);
    assert_eq!(relay.shared.signatures.webhook.of("wrong"), 4);
    let handshake = sign(Algorithm::HmacSha1, TOKEN, url, &[]);
    let fields = format!("X-Twilio-Signature: {handshake}\r\n");
    let upgraded = crate::upgrade::try_upgrade(&relay, "/twilio/media", &fields);
    assert_eq!(upgraded.status, 101);
}
