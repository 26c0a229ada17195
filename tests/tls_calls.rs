//! The whole relay with TLS of its own: calls while its certificate is renewed, what it shows of
//! it, what it says where it cannot.

#[path = "accept_edge/authority.rs"]
mod authority;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use authority::{Authority, Secured, secure};
use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};
use tungstenite::{Message, WebSocket};
use vocaris::config::{CertificateFiles, Config};
use vocaris::server::{Running, Server};

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay without a key, so that its demo agent answers.
fn relay(files: &CertificateFiles) -> Running {
    let settings = [
        ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0".into()),
        ("VOCARIS_SERVER_WORKERS", "1".into()),
        ("VOCARIS_SERVER_PIN", "false".into()),
        ("VOCARIS_APPOINTMENTS_ENABLED", "false".into()),
        // However late the machine makes it, nobody is turned away for that.
        ("VOCARIS_LIMITS_MAX_LATENESS", "0s".into()),
        ("VOCARIS_SERVER_TLS_CERT", files.certificate.clone().into_os_string()),
        ("VOCARIS_SERVER_TLS_KEY", files.key.clone().into_os_string()),
    ];
    let settings = settings.map(|(name, value)| (name.into(), value));
    Server::start(Config::read(None, settings).unwrap()).unwrap()
}

fn connect(relay: &Running, authority: &Authority) -> Secured {
    let socket = TcpStream::connect(relay.local_addr()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    secure(socket, &authority.clients(&[&TLS12, &TLS13], &["http/1.1"]), "localhost")
}

/// A page, and the connection it came by.
fn page(relay: &Running, authority: &Authority, path: &str) -> (String, ClientConnection) {
    let mut socket = connect(relay, authority);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Without TLS's goodbye this is an error.
    socket.read_to_string(&mut answer).unwrap();
    (answer, socket.conn)
}

/// Reads until there is audio.
fn hear(call: &mut WebSocket<Secured>) {
    while !call.read().unwrap().is_binary() {}
}

#[test]
fn a_call_goes_on_while_the_certificate_is_renewed_under_it() {
    let authority = Authority::new();
    let first = authority.issue("relay", &["localhost"], 2100);
    let relay = relay(&first.files);
    let socket = connect(&relay, &authority);
    let (mut call, _) = tungstenite::client("wss://localhost/web", socket).unwrap();
    call.send(Message::text("{\"type\":\"hello\"}")).unwrap();
    hear(&mut call);

    let renewed = authority.issue("relay", &["localhost"], 2150);
    assert_ne!(first.der, renewed.der);
    relay.reload_certificates().unwrap();
    let (metrics, tls) = page(&relay, &authority, "/metrics");
    assert_eq!(tls.peer_certificates().unwrap()[0], renewed.der);
    let shown = "\nvocaris_tls_certificate_expiry_timestamp_seconds\
                 {certificate=\"localhost\",place=\"0\"} 5711731200\n";
    assert!(metrics.contains(shown), "{metrics}");
    assert!(metrics.contains("\nvocaris_tls_reloads_total{outcome=\"loaded\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nvocaris_tls_handshakes_total{agreed=\"tls1.3\"} 2\n"), "{metrics}");
    assert!(metrics.contains("\nvocaris_calls_active{class=\"web\"} 1\n"), "{metrics}");

    // It answers as before, and says goodbye in order.
    hear(&mut call);
    call.send(Message::text("{\"type\":\"bye\"}")).unwrap();
    loop {
        match call.read() {
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(call.get_mut().read(&mut [0; 8]).unwrap(), 0, "closed with TLS's goodbye");

    let other = authority.issue("other", &["localhost"], 2100).files;
    std::fs::copy(other.key, &first.files.key).unwrap();
    relay.reload_certificates().unwrap_err();
    assert_eq!(page(&relay, &authority, "/healthz").1.peer_certificates().unwrap()[0], renewed.der);
    relay.stop();
}

#[test]
fn a_certificate_that_is_no_use_is_a_sentence_and_exit_code_1() {
    let authority = Authority::new();
    let [good, expired] = [("good", 2100), ("old", 2002)]
        .map(|(name, until)| authority.issue(name, &["localhost"], until).files);
    let table = [
        (&good.certificate, &expired.key, "is not the key of the certificate in"),
        (&expired.certificate, &expired.key, "expired at 2002-12-31T00:00:00Z: renew"),
        (&good.key, &good.key, "(server.tls_cert) holds nothing of the kind in PEM form"),
    ];
    for (certificate, key, sentence) in table {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vocaris"));
        command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
        command.env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0");
        command.env("VOCARIS_SERVER_TLS_CERT", certificate).env("VOCARIS_SERVER_TLS_KEY", key);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("cannot offer TLS: ") && said.contains(sentence), "{said}");
        assert!(output.stdout.is_empty(), "nothing was started");
    }
}
