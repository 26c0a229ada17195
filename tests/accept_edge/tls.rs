//! TLS on the listening side, as clients meet it that are not ours.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, HandshakeKind,
    ProtocolVersion,
};
use vocaris::accept::Deadlines;
use vocaris::config::{CertificateFiles, Config, Networks, ProxyProtocol};
use vocaris::control::certificates::reload;
use vocaris::metrics::Shared;
use vocaris::net::tls::{CertificateFault, CertificateFile};
use vocaris::net::{TlsServer, TlsServerError};

use crate::authority::{Authority, Issued, Secured, secure};
use crate::harness::{Client, PATIENCE, Relay, SHORT, get, until};
use crate::proxied::{behind, v1, v2};
use crate::upgrade::new_call;

/// The hosts of the first certificate.
const HOSTS: [&str; 2] = ["voice.example.com", "127.0.0.1"];

fn now_unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn server(files: &[CertificateFiles]) -> Arc<TlsServer> {
    Arc::new(TlsServer::new(files, now_unix()).unwrap())
}

/// A relay with one certificate, and the authority behind it.
struct Edge {
    authority: Authority,
    issued: Issued,
    tls: Arc<TlsServer>,
    relay: Relay,
}

impl Edge {
    fn start() -> Edge {
        Edge::with(Deadlines::default(), |_| {})
    }

    fn with(deadlines: Deadlines, change: impl FnOnce(&mut Config)) -> Edge {
        let authority = Authority::new();
        let issued = authority.issue("first", &HOSTS, 2100);
        let tls = server(std::slice::from_ref(&issued.files));
        let relay = Relay::with_tls(Some(tls.clone()), deadlines, change);
        Edge { authority, issued, tls, relay }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.relay.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    fn client(&self, config: &Arc<ClientConfig>) -> Client<Secured> {
        Client { socket: secure(self.connect(), config, HOSTS[0]), unread: Vec::new() }
    }

    fn any_client(&self) -> Client<Secured> {
        self.client(&self.authority.clients(&[&TLS12, &TLS13], &[]))
    }

    fn faults(&self, label: &str) -> u64 {
        self.relay.shared.tls.faults.of(label)
    }
}

/// The status of one request.
fn ask(client: &mut Client<Secured>, path: &str) -> u16 {
    client.send(get(path));
    client.response().status
}

/// What TLS failed for on the client's side, at the latest when he reads what answers `bytes`.
fn failure(client: &mut Client<Secured>, bytes: &[u8]) -> Error {
    let sent = client.socket.write_all(bytes);
    let why = sent.and_then(|()| client.socket.read(&mut [0; 64])).unwrap_err();
    why.into_inner().and_then(|why| why.downcast::<Error>().ok()).map(|why| *why).unwrap()
}

#[test]
fn https_is_served_in_both_versions_and_speaks_http_1_1() {
    let edge = Edge::start();
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        for (offered, chosen) in
            [(&[][..], None), (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..]))]
        {
            let mut client = edge.client(&edge.authority.clients(&[version], offered));
            assert_eq!(ask(&mut client, "/healthz"), 200);
            assert_eq!(ask(&mut client, "/nowhere"), 404);
            let tls = &client.socket.conn;
            assert_eq!((tls.protocol_version(), tls.alpn_protocol()), (Some(name), chosen));
        }
    }
    let handshakes = &edge.relay.shared.tls.handshakes;
    assert_eq!((handshakes.of("tls1.2"), handshakes.of("tls1.3")), (2, 2));
}

#[test]
fn a_websocket_goes_to_its_worker_with_its_tls() {
    let edge = Edge::start();
    let socket = edge.any_client().socket;
    let (mut websocket, _) =
        tungstenite::client(format!("wss://{}/twilio/media", HOSTS[0]), socket).unwrap();
    let mut call = new_call(&edge.relay, 0);
    assert!(call.socket.is_tls() && !call.socket.is_handshaking());
    assert_eq!(call.socket.agreement(), Some("tls1.3"));
    // It still speaks TLS: the worker says something, and the client reads it.
    let mut hello = vocaris::buf::SendBuf::new();
    hello.tail().extend_from_slice(b"\x81\x02hi");
    assert!(call.socket.send(&mut hello).unwrap());
    assert_eq!(websocket.read().unwrap().into_text().unwrap(), "hi");
}

#[test]
fn a_client_gets_the_certificate_of_the_host_he_names() {
    let authority = Authority::new();
    let hosts: [&[&str]; 4] = [
        &["first.example", "127.0.0.1"],
        &["*.calls.example", "calls.example"],
        &["eu.calls.example"],
        &["Mixed.Example"],
    ];
    let names = ["a", "b", "c", "d"];
    let issued: Vec<Issued> =
        names.iter().zip(hosts).map(|(name, hosts)| authority.issue(name, hosts, 2100)).collect();
    let files: Vec<_> = issued.iter().map(|issued| issued.files.clone()).collect();
    let relay = Relay::with_tls(Some(server(&files)), Deadlines::default(), |_| {});
    let clients = authority.clients(&[&TLS12, &TLS13], &[]);
    let shown = |host: &str| {
        let socket = TcpStream::connect(relay.address).unwrap();
        let mut client = Client { socket: secure(socket, &clients, host), unread: Vec::new() };
        client.send(get("/healthz"));
        let trusted = client.socket.read(&mut [0; 8]).is_ok();
        let der = client.socket.conn.peer_certificates().map(|chain| chain[0].clone());
        let place = der.and_then(|der| issued.iter().position(|issued| issued.der == der));
        trusted.then(|| place.expect("one of ours"))
    };
    let table = [
        ("first.example", Some(0)),
        // He names no host.
        ("127.0.0.1", Some(0)),
        ("calls.example", Some(1)),
        ("us.calls.example", Some(1)),
        ("eu.calls.example", Some(2)),
        ("EU.Calls.Example", Some(2)),
        ("mixed.example", Some(3)),
        // The first, which is not his: he says so.
        ("a.b.calls.example", None),
        ("unknown.example", None),
    ];
    for (host, place) in table {
        assert_eq!(shown(host), place, "{host}");
    }
    until(|| relay.shared.tls.faults.of("alert") == 2);
}

#[test]
fn one_host_may_have_a_certificate_of_each_kind_of_key() {
    let edge = Edge::start();
    let rsa_only = || {
        let mut provider = default_provider();
        let suite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        provider.cipher_suites.retain(|known| known.suite() == suite);
        edge.client(&edge.authority.clients_with(provider, &[&TLS12], &[]))
    };
    // There is none with such a key.
    let refused = Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(failure(&mut rsa_only(), get("/healthz").as_bytes()), refused);
    until(|| edge.faults("nothing_in_common") == 1);
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = edge.authority.issue_for(key, "rsa", &HOSTS, 2100);
    edge.tls.replace(&[edge.issued.files.clone(), rsa.files], now_unix()).unwrap();
    for (mut client, der) in [(rsa_only(), rsa.der), (edge.any_client(), edge.issued.der.clone())] {
        assert_eq!(ask(&mut client, "/healthz"), 200);
        assert_eq!(client.socket.conn.peer_certificates().unwrap()[0], der);
    }
}

#[test]
fn who_comes_back_resumes_his_session_also_after_a_renewal() {
    for (version, label) in [(&TLS12, "tls1.2_resumed"), (&TLS13, "tls1.3_resumed")] {
        let edge = Edge::start();
        let clients = edge.authority.clients(&[version], &[]);
        let kind = || {
            let mut client = edge.client(&clients);
            assert_eq!(ask(&mut client, "/healthz"), 200);
            client.socket.conn.handshake_kind()
        };
        assert_eq!(kind(), Some(HandshakeKind::Full));
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
        edge.authority.issue("first", &HOSTS, 2101);
        edge.tls.reload(now_unix()).unwrap();
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
        assert_eq!(edge.relay.shared.tls.handshakes.of(label), 2);
    }
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_touches_none_that_go_on() {
    let edge = Edge::start();
    // Each of its own making, so that none resumes and all are shown a certificate.
    let shown = || {
        let mut client = edge.any_client();
        assert_eq!(ask(&mut client, "/healthz"), 200);
        let der = client.socket.conn.peer_certificates().unwrap()[0].clone();
        (client, der)
    };
    let (mut old, der) = shown();
    assert_eq!(der, edge.issued.der);
    assert!(!edge.tls.has_changed());
    let renewed = edge.authority.issue("first", &HOSTS, 2150);
    assert!(edge.tls.has_changed());
    let shared = Shared::default();
    reload(&edge.tls, &shared).unwrap();
    assert!(!edge.tls.has_changed());
    assert_eq!(shown().1, renewed.der);
    assert_eq!(ask(&mut old, "/healthz"), 200);
    assert_eq!(shared.tls.reloads.of("loaded"), 1);
    let [(name, expiry)] = &shared.tls.expiries()[..] else { panic!("one certificate") };
    assert_eq!((name.as_str(), *expiry), (HOSTS[0], 5_711_731_200));
}

#[test]
fn a_renewal_that_is_no_use_changes_nothing_and_says_why() {
    let edge = Edge::start();
    let CertificateFiles { certificate, key } = &edge.issued.files;
    let (good, good_key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
    let other = edge.authority.issue("other", &HOSTS, 2100).files;
    let expired = edge.authority.issue("expired", &HOSTS, 2002).files;
    let (other_key, expired_key) = (fs::read(other.key).unwrap(), fs::read(&expired.key).unwrap());
    let expired = fs::read(expired.certificate).unwrap();
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let table: [(&[u8], &[u8], CertificateFile, &str); 8] = [
        (&good, &other_key, CertificateFile::Key, "is not the key of the certificate"),
        (&expired, &expired_key, CertificateFile::Certificate, "expired at 2002-12-31T00:00:00Z"),
        (b"", &good_key, CertificateFile::Certificate, "holds nothing of the kind"),
        (&good_key, &good_key, CertificateFile::Certificate, "holds nothing of the kind"),
        (broken, &good_key, CertificateFile::Certificate, "holds no X.509 certificate"),
        (&good, b"", CertificateFile::Key, "holds nothing of the kind"),
        (&good, &good, CertificateFile::Key, "holds nothing of the kind"),
        (&good, broken_key, CertificateFile::Key, "no private key that can be used"),
    ];
    let shared = Shared::default();
    for (new, new_key, expected, sentence) in table {
        fs::write(certificate, new).unwrap();
        fs::write(key, new_key).unwrap();
        let why = reload(&edge.tls, &shared).unwrap_err();
        let TlsServerError::File { file, .. } = &why else { panic!("{why}") };
        assert_eq!(*file, expected, "{why}");
        assert!(why.to_string().contains(sentence), "{why}");
        assert!(!edge.tls.has_changed(), "what was of no use is not tried again");
        assert_eq!(ask(&mut edge.any_client(), "/healthz"), 200);
    }
    fs::remove_file(key).unwrap();
    let why = reload(&edge.tls, &shared).unwrap_err();
    let unreadable = |fault: &CertificateFault| matches!(fault, CertificateFault::Unreadable(_));
    assert!(matches!(&why, TlsServerError::File { fault, .. } if unreadable(fault)), "{why}");
    assert!(why.to_string().contains("(server.tls_key) cannot be read"), "{why}");
    assert_eq!(shared.tls.reloads.of("failed"), 9);
    fs::write(certificate, good).unwrap();
    fs::write(key, good_key).unwrap();
    assert!(edge.tls.has_changed());
    reload(&edge.tls, &shared).unwrap();
    // What the clock says counts as well.
    let early = TlsServer::new(std::slice::from_ref(&edge.issued.files), 0).unwrap_err();
    assert!(early.to_string().contains("is not valid before 2001-01-01"), "{early}");
}

#[test]
fn a_slow_handshake_is_cut_however_steadily_it_drips() {
    let deadlines = Deadlines { handshake: SHORT, ..Deadlines::default() };
    let edge = Edge::with(deadlines, |_| {});
    let mut silent = Client { socket: edge.connect(), unread: Vec::new() };
    assert!(silent.is_closed());
    let mut dripping = edge.connect();
    let mut hello = Vec::new();
    secure(edge.connect(), &edge.authority.clients(&[&TLS13], &[]), HOSTS[0])
        .conn
        .write_tls(&mut hello)
        .unwrap();
    until(|| {
        let byte = hello.remove(0);
        hello.push(byte);
        // The first bytes again and again: a hello of endless length.
        dripping.write_all(&[byte]).is_err()
            || edge.relay.shared.connections.of("slow_handshake") == 2
    });
    assert_eq!(edge.relay.shared.tls.handshakes.all(), []);
}

#[test]
fn whoever_speaks_in_clear_is_told_that_this_port_speaks_tls() {
    let edge = Edge::start();
    for bytes in [get("/healthz").as_bytes(), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", &[0; 64]] {
        let mut client = Client { socket: edge.connect(), unread: Vec::new() };
        client.send(bytes);
        let answer = client.response();
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("use https or wss"), "{}", answer.body);
        assert!(client.is_closed());
    }
    assert_eq!(edge.faults("plain_http"), 3);
}

#[test]
fn records_and_segments_of_one_byte_are_read_like_any_other() {
    let edge = Edge::start();
    for version in [&TLS12, &TLS13] {
        let mut client = edge.client(&edge.authority.clients(&[version], &[]));
        // The handshake, a byte at a time.
        let Secured { conn, sock } = &mut client.socket;
        while conn.is_handshaking() {
            let mut flight = Vec::new();
            while conn.wants_write() {
                conn.write_tls(&mut flight).unwrap();
            }
            flight.iter().for_each(|byte| sock.write_all(&[*byte]).unwrap());
            if conn.is_handshaking() {
                conn.read_tls(sock).unwrap();
                conn.process_new_packets().unwrap();
            }
        }
        // The request, each byte a record.
        for byte in get("/healthz").bytes() {
            client.socket.write_all(&[byte]).unwrap();
        }
        assert_eq!(client.response().status, 200);
    }
}

/// A ClientHello of an old version.
fn old_hello(version: u8, extensions: &[u8]) -> Vec<u8> {
    let hello = [&[3, version][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0], extensions].concat();
    let handshake = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}

#[test]
fn old_versions_are_refused_with_the_alert_that_says_so() {
    let edge = Edge::start();
    // signature_algorithms, which nobody had before TLS 1.2: ecdsa_secp256r1_sha256.
    let schemes = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    // Fatal, handshake_failure or protocol_version (RFC 8446 section 6).
    let table =
        [(0, &[][..], 40), (1, &[], 40), (2, &[], 40), (1, &schemes, 70), (2, &schemes, 70)];
    for (count, (version, extensions, alert)) in table.into_iter().enumerate() {
        let mut socket = edge.connect();
        socket.write_all(&old_hello(version, extensions)).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        assert_eq!((answer[0], &answer[5..]), (21, &[2, alert][..]), "3.{version}: {answer:?}");
        until(|| edge.faults("old_version") == count as u64 + 1);
    }
}

#[test]
fn a_client_that_wants_another_protocol_or_sends_garbage_is_told_so() {
    let edge = Edge::start();
    let mut client = edge.client(&edge.authority.clients(&[&TLS13], &["h2"]));
    let refused = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(failure(&mut client, get("/healthz").as_bytes()), refused);
    until(|| edge.faults("no_http_1_1") == 1);
    // Something that only begins like TLS.
    let mut socket = Client { socket: edge.connect(), unread: Vec::new() };
    socket.send([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    while socket.read() {}
    assert_eq!(socket.unread.first(), Some(&21));
    until(|| edge.faults("bad_message") == 1);
    // A hello that says to be of 8 MB.
    let mut socket = Client { socket: edge.connect(), unread: Vec::new() };
    socket.send([22, 3, 1, 0, 5, 1, 0x7f, 0xff, 0xff, 0]);
    while socket.read() {}
    until(|| edge.faults("bad_message") == 2);
}

#[test]
fn a_record_that_was_changed_ends_its_own_connection_alone() {
    let edge = Edge::start();
    let (mut changed, mut other) = (edge.any_client(), edge.any_client());
    assert_eq!(ask(&mut changed, "/healthz"), 200);
    assert_eq!(ask(&mut other, "/healthz"), 200);
    let Secured { conn, sock } = &mut changed.socket;
    // A whole record of half a request, then one that was changed on its way.
    conn.writer().write_all(b"GET /healthz HTTP/1.1\r\nHost: a").unwrap();
    let mut records = Vec::new();
    conn.write_tls(&mut records).unwrap();
    conn.writer().write_all(b"\r\n\r\n").unwrap();
    let whole = records.len();
    conn.write_tls(&mut records).unwrap();
    records[whole + 8] ^= 1;
    sock.write_all(&records).unwrap();
    let refused = Error::AlertReceived(AlertDescription::BadRecordMac);
    assert_eq!(failure(&mut changed, b""), refused);
    until(|| edge.faults("bad_record") == 1);
    assert_eq!(ask(&mut other, "/nowhere"), 404, "nothing of it came here");
}

#[test]
fn both_sides_say_goodbye_before_they_leave() {
    let edge = Edge::start();
    let clients = edge.authority.clients(&[&TLS12, &TLS13], &[]);
    // We close first: a TLS client takes an end without goodbye for an attack.
    let mut client = edge.client(&clients);
    client.send("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.socket.read(&mut [0; 8]).unwrap(), 0);
    // He closes his half, and still gets his answer.
    let mut client = edge.client(&clients);
    client.send(get("/healthz"));
    client.socket.conn.send_close_notify();
    client.socket.flush().unwrap();
    client.socket.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().status, 200);
    assert_eq!(client.socket.read(&mut [0; 8]).unwrap(), 0);
    // He leaves without a word.
    let mut client = edge.client(&clients);
    assert_eq!(ask(&mut client, "/healthz"), 200);
    drop(client.socket.sock);
    assert_eq!(ask(&mut edge.any_client(), "/healthz"), 200);
}

#[test]
fn who_idles_too_long_is_told_goodbye() {
    let deadlines = Deadlines { keep_alive: SHORT, ..Deadlines::default() };
    let edge = Edge::with(deadlines, |_| {});
    let mut client = edge.any_client();
    assert_eq!(ask(&mut client, "/healthz"), 200);
    assert_eq!(client.socket.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn the_address_for_figures_speaks_in_clear() {
    let edge = Edge::with(Deadlines::default(), |config| {
        config.admin.listen = Some("127.0.0.1:0".parse().unwrap());
    });
    let mut client = edge.relay.connect_to(edge.relay.admin.unwrap());
    client.send(get("/healthz"));
    assert_eq!(client.response().status, 200);
    assert_eq!(ask(&mut edge.any_client(), "/metrics"), 404);
}

#[test]
fn a_client_over_his_share_is_closed_without_a_word_he_could_not_read() {
    let edge = Edge::with(Deadlines::default(), |config| config.limits.max_handshakes_per_ip = 1);
    let _first = edge.connect();
    until(|| edge.relay.shared.connections.of("accepted") == 1);
    let mut second = Client { socket: edge.connect(), unread: Vec::new() };
    assert!(second.is_closed() && second.unread.is_empty());
}

#[test]
fn a_proxys_header_stands_before_tls() {
    let edge = Edge::with(Deadlines::default(), behind(ProxyProtocol::Require));
    let clients = edge.authority.clients(&[&TLS12, &TLS13], &[]);
    for header in [v1, v2] {
        for (source, status) in [("203.0.113.9:4711", 200), ("198.51.100.1:4711", 403)] {
            let mut socket = edge.connect();
            socket.write_all(&header(source)).unwrap();
            let socket = secure(socket, &clients, HOSTS[0]);
            let mut client = Client { socket, unread: Vec::new() };
            assert_eq!(ask(&mut client, "/"), status, "{source}");
        }
    }
    // Header and hello in one segment.
    let mut socket = edge.connect();
    let mut first = v2("203.0.113.9:4711");
    let name = HOSTS[0].try_into().unwrap();
    let mut tls = ClientConnection::new(clients, name).unwrap();
    tls.write_tls(&mut first).unwrap();
    socket.write_all(&first).unwrap();
    let mut client = Client { socket: Secured::new(tls, socket), unread: Vec::new() };
    assert_eq!(ask(&mut client, "/"), 200);
    // TLS without the header it needs.
    let mut client = edge.client(&edge.authority.clients(&[&TLS13], &[]));
    client.send(get("/"));
    let cut = client.socket.read(&mut [0; 8]).unwrap_err().kind();
    assert!(matches!(cut, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{cut}");
    until(|| edge.relay.shared.connections.of("no_proxy_header") == 1);
}

#[test]
fn who_comes_by_tls_is_told_addresses_with_tls() {
    let edge = Edge::start();
    let mut client = edge.any_client();
    client.send("GET /twilio/incoming?CallSid=CA1 HTTP/1.1\r\nHost: localhost:8443\r\n\r\n");
    let answer = client.response().body;
    assert!(answer.contains("wss://localhost:8443/twilio/media"), "{answer}");
    // A trusted proxy that took off its clients' TLS, or their lack of it, and put on its own.
    let edge = Edge::with(Deadlines::default(), |config| {
        config.server.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
    });
    let mut client = edge.any_client();
    client.send(
        "GET /twilio/incoming?CallSid=CA1 HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: http\r\n\r\n",
    );
    let answer = client.response().body;
    assert!(answer.contains("ws://h/twilio/media"), "{answer}");
}
