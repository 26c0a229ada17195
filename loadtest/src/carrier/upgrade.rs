//! The upgrade of a stream: what a carrier's client sends, and which answer it takes.
//!
//! In:       the call, its stream's URL, a key.
//! Out:      the bytes of a request; whether a response opens the stream.
//! Bounds:   none of its own.
//! Not here: the connection (`carrier::target`), what follows (`carrier::phone`).
//!
//! Twilio's request is that of two captures. jambonz asks for the subprotocol `audio.jambonz.org`,
//! a browser for `vocaris.v1`; the others for none. What else the other carriers put into their
//! heads is not known.

use tungstenite::handshake::derive_accept_key;

use super::Carrier;
use super::markup::StreamNoun;
use super::record::CallSpec;
use super::signature;
use crate::net::http::Response;

/// The request for the stream at `path` of `authority`.
pub fn request(
    spec: &CallSpec,
    noun: &StreamNoun,
    authority: &str,
    path: &str,
    key: &str,
) -> Vec<u8> {
    let carrier = spec.line.carrier;
    let agent = match carrier {
        Carrier::Twilio => "user-agent: Twilio.TmeWs/1.0\r\n",
        _ => "",
    };
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\n{agent}\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {key}\r\n",
    );
    if let Some(name) = subprotocol(carrier) {
        request += &format!("sec-websocket-protocol: {name}\r\n");
    }
    if let Some(value) = &noun.authorization {
        request += &format!("authorization: {value}\r\n");
    }
    if carrier == Carrier::Twilio {
        if let Some(token) = &spec.target.secrets.twilio {
            let url = noun.url.split('?').next().unwrap_or_default();
            let signature = signature::twilio(token, url, &[]);
            request += &format!("x-twilio-signature: {signature}\r\n");
        }
        request += "accept-encoding: gzip\r\n";
    }
    request += "\r\n";
    request.into_bytes()
}

/// The subprotocol that a carrier asks for.
pub fn subprotocol(carrier: Carrier) -> Option<&'static str> {
    match carrier {
        Carrier::Jambonz => Some("audio.jambonz.org"),
        Carrier::Web => Some("vocaris.v1"),
        _ => None,
    }
}

/// True if a 101 is one: the right key, no extension, and the subprotocol that was asked for.
pub fn is_accepted(carrier: Carrier, key: &str, response: &Response) -> bool {
    let protocol = response.headers.get("sec-websocket-protocol");
    let protocol = protocol.map(|value| value.to_str().unwrap_or_default());
    response.header("sec-websocket-accept") == derive_accept_key(key.as_bytes())
        && response.header("upgrade").eq_ignore_ascii_case("websocket")
        && response.header("connection").to_ascii_lowercase().contains("upgrade")
        && response.headers.get("sec-websocket-extensions").is_none()
        && protocol == subprotocol(carrier)
}

#[cfg(test)]
mod tests {
    use tungstenite::http::{HeaderMap, HeaderValue};

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn response(protocol: Option<&'static str>) -> Response {
        let mut headers = HeaderMap::new();
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.insert("sec-websocket-accept", accept);
        headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
        headers.insert("connection", HeaderValue::from_static("Upgrade"));
        if let Some(name) = protocol {
            headers.insert("sec-websocket-protocol", HeaderValue::from_static(name));
        }
        Response { status: 101, headers, body: Vec::new() }
    }

    #[test]
    fn a_stream_opens_with_the_subprotocol_that_was_asked_for_and_no_other() {
        for carrier in Carrier::ALL {
            for answered in [None, Some("audio.jambonz.org"), Some("vocaris.v1")] {
                let accepted = is_accepted(carrier, KEY, &response(answered));
                assert_eq!(accepted, answered == subprotocol(carrier), "{carrier} {answered:?}");
            }
        }
        assert!(!is_accepted(Carrier::Twilio, "AAAA", &response(None)));
    }
}
