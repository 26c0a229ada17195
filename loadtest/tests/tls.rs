//! Calls to a relay that speaks TLS itself: webhook by https, stream by wss.

use std::sync::Arc;

use loadtest::clock::MILLIS;
use loadtest::gemini::script::{Script, Speech};
use loadtest::harness::{Harness, HarnessConfig, WEBHOOK_PATH};
use loadtest::judge::{self, Made};
use loadtest::relay::Directory;
use loadtest::schedule::MediaPlan;
use loadtest::twilio::caller::{Entry, Target};
use loadtest::verify::LEAD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
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
        auth_token: plain.auth_token.clone(),
        entry: Entry::Webhook { path: WEBHOOK_PATH.to_string() },
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
