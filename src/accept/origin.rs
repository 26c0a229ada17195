//! Where the carrier reaches us: the origin its requests are signed under, and our addresses in
//! its documents.
//!
//! In:       the configured origin, the request's `Host`.
//! Out:      absolute addresses.
//! Not here: their escaping (`wire::twiml`).
//!
//! A configured origin is taken as it is. Without one the request's `Host` is believed: whoever
//! lies in it only leads his own call astray. It is then reached by `https` and `wss`, except on
//! loopback, where there is no certificate: so the relay can be tried on one machine.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    /// `host[:port]`.
    authority: String,
}

impl Origin {
    /// The configured origin, else the request's host.
    pub(super) fn new(public_url: Option<&str>, host: Option<&str>) -> Option<Origin> {
        if let Some((scheme, authority)) = public_url.and_then(|url| url.split_once("://")) {
            let secure = scheme.eq_ignore_ascii_case("https");
            return Some(Origin { secure, authority: authority.trim_end_matches('/').into() });
        }
        let host = host?;
        Some(Origin { secure: !is_loopback(host), authority: host.into() })
    }

    /// `https://host[:port]`.
    pub(super) fn http(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// `wss://host[:port]`.
    pub(super) fn websocket(&self) -> String {
        format!("{}://{}", if self.secure { "wss" } else { "ws" }, self.authority)
    }

    /// Where the carrier's stream goes.
    pub(super) fn stream_url(&self) -> String {
        self.websocket() + "/twilio/media"
    }

    /// What the carrier asks when the stream is closed.
    pub(super) fn action(&self) -> String {
        self.http() + "/twilio/after"
    }

    /// Where the carrier tells of the stream.
    pub(super) fn status_callback(&self) -> String {
        self.http() + "/twilio/stream-status"
    }
}

/// Whether `host[:port]` is this machine.
fn is_loopback(host: &str) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    let name = host.split(':').next().unwrap_or(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_origin_counts_more_than_the_host() {
        let origin = Origin::new(Some("https://voice.example.com"), Some("evil.example")).unwrap();
        assert_eq!(origin.http(), "https://voice.example.com");
        assert_eq!(origin.stream_url(), "wss://voice.example.com/twilio/media");
        assert_eq!(origin.action(), "https://voice.example.com/twilio/after");
        assert_eq!(origin.status_callback(), "https://voice.example.com/twilio/stream-status");
    }

    #[test]
    fn without_one_a_host_is_reached_by_tls_unless_it_is_this_machine() {
        let websocket = |host| Origin::new(None, Some(host)).unwrap().websocket();
        assert_eq!(websocket("voice.example.com"), "wss://voice.example.com");
        assert_eq!(websocket("voice.example.com:8443"), "wss://voice.example.com:8443");
        assert_eq!(websocket("10.0.0.1:8080"), "wss://10.0.0.1:8080");
        assert_eq!(websocket("localhost.example.com"), "wss://localhost.example.com");
        assert_eq!(websocket("127.0.0.1.example.com"), "wss://127.0.0.1.example.com");
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"] {
            assert_eq!(websocket(host), format!("ws://{host}"));
        }
        assert_eq!(Origin::new(None, None), None);
    }
}
