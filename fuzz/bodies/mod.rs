//! What each fuzz target does with its bytes, and what must hold whatever they are.
//!
//! In:       any bytes.
//! Out:      nothing; a broken rule panics.
//! Bounds:   those of the parsers.
//! Not here: the fuzzer (`fuzz_targets`), the corpora (`corpus`), the smoke pass over them, which
//!           runs these same bodies with the other tests.

#[path = "http.rs"]
mod http;
#[path = "json.rs"]
mod json;
#[path = "messages.rs"]
mod messages;
#[path = "proxy.rs"]
mod proxy;
#[path = "webhook.rs"]
mod webhook;
#[path = "websocket.rs"]
mod websocket;

/// Takes any bytes.
pub(crate) type Body = fn(&[u8]);

/// Every target, by the name of its corpus.
pub(crate) const ALL: [(&str, Body); 12] = [
    ("http_request", http::request),
    ("http_answer", http::answer),
    ("ws", websocket::either_role),
    ("json", json),
    ("twilio", messages::twilio),
    ("browser", messages::browser),
    ("gemini", messages::gemini),
    ("form", webhook::form),
    ("signature", webhook::signature),
    ("token", webhook::token),
    ("config", webhook::config),
    ("proxy", proxy::header),
];

fn json(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        json::agree(text);
    }
}

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or what must hold does not.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let (_, body) = ALL.iter().find(|(known, _)| *known == name).expect("a target of this name");
    body(bytes);
}
