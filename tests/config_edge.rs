//! Settings of the edge: certificates, the proxies' header, addresses the carrier was given.

use std::path::PathBuf;

use vocaris::config::{CertificateFiles, Config, ProxyProtocol, SourceFile};

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let file = SourceFile { path: "vocaris.toml".into(), text: text.into() };
    let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
    Config::read(Some(&file), variables).map_err(|errors| errors.to_string())
}

fn files(certificate: &str, key: &str) -> CertificateFiles {
    CertificateFiles { certificate: certificate.into(), key: key.into() }
}

#[test]
fn one_certificate_or_several_each_with_its_key() {
    assert_eq!(read("", &[]).unwrap().server.tls, []);
    let one = "[server]\ntls_cert = \"a.crt\"\ntls_key = \"a.key\"";
    assert_eq!(read(one, &[]).unwrap().server.tls, [files("a.crt", "a.key")]);
    let two = "[server]\ntls_cert = [\"a.crt\", \"b.crt\"]\ntls_key = [\"a.key\", \"b.key\"]";
    let both = [files("a.crt", "a.key"), files("b.crt", "b.key")];
    assert_eq!(read(two, &[]).unwrap().server.tls, both);
    let variables =
        [("VOCARIS_SERVER_TLS_CERT", "a.crt, b.crt"), ("VOCARIS_SERVER_TLS_KEY", "a.key,b.key")];
    assert_eq!(read("", &variables).unwrap().server.tls, both);
    assert_eq!(both[1].key, PathBuf::from("b.key"));
}

#[test]
fn a_certificate_without_its_key_is_told_so() {
    let wrong = |text: &str, advice: &str| {
        let said = read(&format!("[server]\n{text}"), &[]).unwrap_err();
        assert!(said.starts_with("vocaris.toml:") && said.contains(advice), "{said}");
    };
    wrong("tls_cert = \"a.crt\"", "set server.tls_key");
    wrong("tls_key = \"a.key\"", "set server.tls_cert");
    wrong("tls_cert = [\"a\", \"b\"]\ntls_key = \"k\"", "names 1 files, server.tls_cert names 2");
    wrong("tls_cert = \"\"\ntls_key = \"k\"", "names no file");
    wrong("tls_cert = []\ntls_key = \"k\"", "is an empty list");
    wrong("tls_cert = 1\ntls_key = \"k\"", "must be a list of texts");
    let many = vec!["\"a\""; 65].join(",");
    wrong(&format!("tls_cert = [{many}]\ntls_key = [{many}]"), "names more than 64 files");
}

#[test]
fn the_proxies_header_is_taken_from_trusted_proxies_alone() {
    let of = |word: &str| {
        let text = format!("[server]\ntrusted_proxies = \"10.0.0.7\"\nproxy_protocol = {word:?}");
        read(&text, &[]).map(|config| config.server.proxy_protocol)
    };
    assert_eq!(read("", &[]).unwrap().server.proxy_protocol, ProxyProtocol::Off);
    for (word, protocol) in [
        ("off", ProxyProtocol::Off),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
        ("require", ProxyProtocol::Require),
        ("optional", ProxyProtocol::Optional),
    ] {
        assert_eq!(of(word), Ok(protocol), "{word}");
    }
    assert!(of("on").unwrap_err().contains("must be \"off\" or \"v1\""));
    let untrusted = read("[server]\nproxy_protocol = \"v2\"", &[]).unwrap_err();
    assert!(untrusted.contains("of server.trusted_proxies alone: name them"), "{untrusted}");
    assert!(read("[server]\nproxy_protocol = \"off\"", &[]).is_ok());
}

#[test]
fn signed_addresses_are_kept_as_they_are() {
    let urls = ["https://Edge.example.net:443/a/?x=%27", "wss://edge.example.net"];
    let text = format!("[twilio]\nsigned_urls = {urls:?}");
    assert_eq!(read(&text, &[]).unwrap().twilio.signed_urls, urls);
    let bad = ["edge.example.net/a", "https://", "ftp://h/a", "https://h/a b", "https://h/\u{e4}"];
    let long = format!("https://{}", "a".repeat(2048));
    for url in bad.into_iter().chain([long.as_str()]) {
        let said = read(&format!("[twilio]\nsigned_urls = [{url:?}]"), &[]).unwrap_err();
        assert!(said.contains("must be whole addresses"), "{url}: {said}");
    }
    let many = vec!["\"https://h/a\""; 33].join(",");
    let said = read(&format!("[twilio]\nsigned_urls = [{many}]"), &[]).unwrap_err();
    assert!(said.contains("more than 32"), "{said}");
}
