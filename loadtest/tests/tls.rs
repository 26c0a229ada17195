//! Calls to a relay that speaks TLS itself: webhook by https, stream by wss.

use std::process::Command;
use std::sync::Arc;

use loadtest::carrier::target::{Entry, Target};
use loadtest::clock::MILLIS;
use loadtest::gemini::script::{Script, Speech};
use loadtest::harness::{AUTH_TOKEN, Harness, HarnessConfig, PUBLIC_URL};
use loadtest::judge::{self, Made};
use loadtest::relay::Directory;
use loadtest::schedule::MediaPlan;
use loadtest::verify::LEAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair,
    generate_simple_self_signed,
};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Calls of callers who speak this version of TLS, and no other.
fn calls_are_exact(version: &'static SupportedProtocolVersion) {
    let directory = Directory::new().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = ["tls.crt", "tls.key"].map(|name| directory.path().join(name));
    std::fs::write(&files[0], cert.pem()).unwrap();
    std::fs::write(&files[1], signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let clients = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();

    let script = Script::converse(2, Speech::real_time(600), 400 * MILLIS);
    let config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script)
        .with("VOCARIS_SERVER_TLS_CERT", &files[0])
        .with("VOCARIS_SERVER_TLS_KEY", &files[1]);
    let mut harness = Harness::start(config).unwrap_or_else(|error| panic!("{error}"));
    let plain = &harness.target;
    harness.target = Arc::new(Target {
        authority: format!("localhost:{}", plain.address.port()),
        address: plain.address,
        tls: Some(Arc::new(clients)),
        public_url: plain.public_url.clone(),
        secrets: plain.secrets.clone(),
        entry: Entry::Standard,
    });

    let calls: Vec<_> = (0..4).map(|index| harness.spec(index, MediaPlan::steady(3000))).collect();
    let plans: Vec<_> = calls.iter().map(|call| (call.media.clone(), call.voice)).collect();
    let seed = harness.seed;
    let records = harness.calls(calls).unwrap();
    let sessions: Vec<_> = records
        .iter()
        .map(|_| harness.session().expect("every call leaves a session behind"))
        .collect();
    let (_, ended) = harness.finish().unwrap();
    ended.unwrap();
    let made: Vec<Made> = plans
        .into_iter()
        .zip(records)
        .map(|((media, voice), record)| Made { media, voice, record })
        .collect();
    let report = judge::judge(&made, &sessions, seed, LEAD);
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 4 * 3000 * 16);
    assert_eq!(report.downlink.matched, 4 * 2 * 600 * 8);
}

#[test]
fn audio_is_exact_both_ways_through_tls_1_3() {
    calls_are_exact(&TLS13);
}

#[test]
fn audio_is_exact_both_ways_through_tls_1_2() {
    calls_are_exact(&TLS12);
}

/// The certificate of an authority that nobody knows, and a certificate of `localhost` that it
/// signed, with its key; all as PEM.
fn signed_by_an_authority() -> [String; 3] {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "an authority of our own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    [root, leaf.pem(), key.serialize_pem()]
}

#[test]
fn call_reaches_a_relay_by_https_and_wss_if_it_is_told_whose_certificate_that_is() {
    let directory = Directory::new().unwrap();
    let files = ["ca.pem", "tls.crt", "tls.key"].map(|name| directory.path().join(name));
    for (file, pem) in files.iter().zip(signed_by_an_authority()) {
        std::fs::write(file, pem).unwrap();
    }
    let [ca_file, certificate, key] = &files;
    let script = Script::converse(2, Speech::real_time(600), 400 * MILLIS);
    let config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script)
        .with("VOCARIS_SERVER_TLS_CERT", certificate)
        .with("VOCARIS_SERVER_TLS_KEY", key);
    let harness = Harness::start(config).unwrap_or_else(|error| panic!("{error}"));
    let origin = format!("localhost:{}/twilio/incoming", harness.target.address.port());
    let call = |scheme: &str, more: &[&str]| {
        let url = format!("{scheme}://{origin}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(["call", "--seconds", "1", "--auth-token", AUTH_TOKEN, "--url", &url]);
        // What the markup says of it, `wss://…`, is the same relay.
        let ended = command.args(["--public-url", PUBLIC_URL]).args(more).output().unwrap();
        let text = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8(text).unwrap())
    };
    let trusted = ["--ca-file", ca_file.to_str().unwrap()];
    let (code, told) = call("https", &trusted);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 calls, 1 good"), "{told}");
    let (code, told) = call("https", &[]);
    assert_eq!(code, Some(1), "a stranger's certificate: {told}");
    assert!(told.contains("1 calls, 0 good"), "{told}");

    let empty = ["--ca-file", key.to_str().unwrap()];
    for (scheme, more, why) in [
        ("https", ["--ca-file", "/nonexistent/ca.pem"], "/nonexistent/ca.pem: "),
        ("https", empty, "no certificate in it"),
        ("http", trusted, "--ca-file is for https and wss"),
    ] {
        let (code, told) = call(scheme, &more);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.starts_with("loadtest: ") && told.contains(why), "{told}");
    }
    harness.finish().unwrap().1.unwrap();
}
