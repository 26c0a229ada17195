//! Webhooks, their signatures, the tokens we mint, and the configuration.

use std::path::PathBuf;

use vocaris::config::{Config, SourceFile};
use vocaris::wire::signature::{self, Claim, Keys};
use vocaris::wire::telnyx;
use vocaris::wire::token::{self, TokenKey};
use vocaris::wire::{form, twiml};

/// A form, and TwiML with its values: nothing in them becomes markup.
pub(super) fn form(bytes: &[u8]) {
    let Ok(fields) = form::parse(bytes) else { return };
    for (name, value) in &fields {
        assert!(form::value(&fields, name).is_some());
        let escaped = twiml::escape(value);
        assert!(!escaped.contains(['<', '>', '"']), "{escaped:?}");
    }
}

/// The fields of a request whose signature is to be checked, one a line: target, signature,
/// settings, parameters.
pub(super) fn signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let claim = Claim { signature: lines.next(), settings: lines.next() };
    let params: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once('=')).map(own).collect();
    let tokens = ["12345678901234567890123456789012".to_owned()];
    let keys = Keys { tokens: &tokens, shared: &[], require_shared: false };
    for candidates in [
        signature::webhook_candidates("https://relay.example:8443", target, &[]),
        signature::handshake_candidates("https://relay.example:8443", target, &[]),
    ] {
        assert!(!candidates.is_empty() && candidates.len() <= 24);
        assert!(keys.verify(claim, &candidates, &params).is_err(), "forged");
        let algorithm = signature::Algorithm::HmacSha1;
        let signed = signature::sign(algorithm, &tokens[0], &candidates[0], &params);
        let claim = Claim { signature: Some(&signed), settings: None };
        assert!(keys.verify(claim, &candidates, &params).is_ok(), "our own is refused");
    }
    signature::body_hash_matches(target, bytes);
}

/// A signed webhook of Telnyx: timestamp, signature, and the body behind the second line end.
pub(super) fn telnyx(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (timestamp, signature) = (text(), text());
    let body = parts.next().unwrap_or_default();
    // The point of order one is no key: with it forgeries would be easy, so none is used.
    let key = [0x5a; 32];
    let claim = telnyx::Claim { signature, timestamp };
    assert!(telnyx::verify(&key, claim, body, 1_700_000_000).is_err(), "forged");
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A token nobody minted.
pub(super) fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = TokenKey::new(b"a secret of the relay, thirty-two");
    assert!(token::verify(&key, text, "CA1", 0).is_err(), "forged");
    if text.len() <= vocaris::limits::SID_MAX_BYTES {
        let ours = token::mint(&key, text, 1_000, 60);
        assert!(token::verify(&key, &ours, text, 1_060).is_ok());
        assert!(token::verify(&key, &ours, text, 1_061).is_err());
    }
}

/// A configuration file: understood, or every fault named.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Names of files lead out of the text, to whatever this machine has.
    if text.contains("file") || text.contains("cert") {
        return;
    }
    let file = SourceFile { path: PathBuf::from("fuzzed/vocaris.toml"), text: text.to_owned() };
    if let Err(errors) = Config::read(Some(&file), []) {
        assert!(!errors.all().is_empty() && !errors.to_string().is_empty());
    }
}
