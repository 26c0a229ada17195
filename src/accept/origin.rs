//! Where the carrier reaches us: the origin its requests are signed under, and our addresses in
//! its documents.
//!
//! In:       the configured origin, the request's `Host`, what a trusted proxy says of the scheme,
//!           the `Origin` of a browser's page.
//! Out:      absolute addresses; whether a page is ours.
//! Not here: their escaping (`wire::twiml`).
//!
//! A configured origin is taken as it is. Without one the request's `Host` is believed: whoever
//! lies in it leads his own call astray, and a request signed for another host passes for ours,
//! which is why the relay warns of it at its start. It is then reached by the scheme that a trusted
//! proxy names, else by `https` and `wss`, except on loopback, where there is no certificate: so
//! the relay can be tried on one machine.

use std::net::IpAddr;

use super::routes::TRACKS;
use crate::config::Carrier;

/// The query of the carrier's question that follows a caller's being put through.
pub(super) const DIALLED: &str = "dialled=1";

/// The query of a webhook that another host has sent the carrier to: it is not sent on again.
pub(super) const HANDED_ON: &str = "handed_on=1";

/// The query of the carrier's question that was put once already, and could not be answered.
pub(super) const ASKED_BEFORE: &str = "asked_before=1";

/// `url`, with the word that it was handed on.
pub(super) fn handed_on(url: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{HANDED_ON}")
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    /// `host[:port]`.
    authority: String,
}

impl Origin {
    /// The configured origin, else the request's host, by TLS if `secure` says so.
    pub(super) fn new(
        public_url: Option<&str>,
        host: Option<&str>,
        secure: Option<bool>,
    ) -> Option<Origin> {
        if let Some((scheme, authority)) = public_url.and_then(|url| url.split_once("://")) {
            let secure = scheme.eq_ignore_ascii_case("https");
            return Some(Origin { secure, authority: authority.trim_end_matches('/').into() });
        }
        let host = host?;
        let secure = secure.unwrap_or_else(|| !is_loopback(host));
        Some(Origin { secure, authority: host.into() })
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

    /// Where the stream of `carrier` goes.
    pub(super) fn stream_url_of(&self, carrier: Carrier) -> String {
        format!("{}/{}/media", self.websocket(), carrier.label())
    }

    /// What `carrier` asks when the stream is closed.
    pub(super) fn after_url_of(&self, carrier: Carrier) -> String {
        format!("{}/{}/after", self.http(), carrier.label())
    }

    /// Where the carrier's copies of both tracks go.
    pub(super) fn tracks_url(&self) -> String {
        self.websocket() + TRACKS
    }

    /// What the carrier asks when the stream is closed.
    pub(super) fn action(&self) -> String {
        self.http() + "/twilio/after"
    }

    /// Where Twilio asks what follows when a caller was to be put through.
    pub(super) fn dialled(&self) -> String {
        self.action() + "?" + DIALLED
    }

    /// What the carrier asks once more.
    pub(super) fn asked_before(&self) -> String {
        self.action() + "?" + ASKED_BEFORE
    }

    /// Where the carrier tells of the stream.
    pub(super) fn status_callback(&self) -> String {
        self.http() + "/twilio/stream-status"
    }
}

/// Whether a page of `page_origin` may talk to us: it comes from the configured host, or from the
/// one it asks. Any other could make its readers' browsers talk in their name. Ports are not
/// compared, since a proxy may have changed them; all names of this machine are one.
///
/// Without TLS the host asked counts only as an address, or as a name of this machine: whoever owns
/// a name can have it lead here while his page is open (DNS rebinding), and `Host` is then his own.
/// `by_tls`: the browser has seen a certificate of that name.
pub(super) fn is_own_page(
    page_origin: &str,
    public_url: Option<&str>,
    host: Option<&str>,
    by_tls: bool,
) -> bool {
    let Some((_, page)) = page_origin.split_once("://") else { return false };
    let public = public_url.and_then(|url| url.split_once("://")).map(|(_, host)| host);
    let host = host.filter(|host| by_tls || is_loopback(host) || is_address(host));
    [public, host].into_iter().flatten().any(|ours| {
        let is_same = name_of(page).eq_ignore_ascii_case(name_of(ours));
        is_same || (is_loopback(page) && is_loopback(ours))
    })
}

/// The name in `host[:port]`.
fn name_of(host: &str) -> &str {
    let host = host.trim_end_matches('/');
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Whether the name in `host[:port]` is an address.
fn is_address(host: &str) -> bool {
    name_of(host).parse::<IpAddr>().is_ok()
}

/// Whether `host[:port]` is this machine: `localhost` and all below it are never anybody else's
/// (RFC 6761 section 6.3).
fn is_loopback(host: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let name = name_of(host);
    let above = name.len().checked_sub(LOCALHOST.len());
    let ends = above.and_then(|above| name.split_at_checked(above)).is_some_and(|(above, end)| {
        end.eq_ignore_ascii_case(LOCALHOST) && (above.is_empty() || above.ends_with('.'))
    });
    ends || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_origin_counts_more_than_the_host() {
        let origin = Origin::new(Some("https://voice.example.com"), Some("evil.example"), None);
        let origin = origin.unwrap();
        assert_eq!(origin.http(), "https://voice.example.com");
        assert_eq!(origin.stream_url(), "wss://voice.example.com/twilio/media");
        assert_eq!(origin.action(), "https://voice.example.com/twilio/after");
        assert_eq!(origin.dialled(), "https://voice.example.com/twilio/after?dialled=1");
        assert_eq!(origin.status_callback(), "https://voice.example.com/twilio/stream-status");
    }

    #[test]
    fn a_page_is_ours_if_it_comes_from_the_host_it_asks_or_the_configured_one() {
        let public = Some("https://voice.example.com:8443");
        let is_ours = |page| is_own_page(page, public, Some("10.0.0.7:8080"), false);
        for page in ["https://voice.example.com", "http://VOICE.example.com:1", "http://10.0.0.7"] {
            assert!(is_ours(page), "{page}");
        }
        let foreign = ["https://example.com", "https://voice.example.com.evil.example", "null", ""];
        for page in foreign.into_iter().chain(["https://evil.example", "http://localhost"]) {
            assert!(!is_ours(page), "{page}");
        }
        let is_hosts = |page, host| is_own_page(page, None, Some(host), false);
        assert!(is_hosts("http://localhost:3000", "127.0.0.1:8080"));
        assert!(is_hosts("http://[::1]:3000", "localhost"));
        assert!(is_hosts("http://[fd00::7]", "[fd00::7]:8080"));
        assert!(!is_hosts("http://[fd00::8]", "[fd00::7]:8080"));
        assert!(!is_own_page("https://voice.example.com", None, None, true));
    }

    #[test]
    fn a_name_that_leads_here_is_ours_only_where_a_certificate_was_seen() {
        for name in
            ["evil.example", "notlocalhost", "localhost.evil.example", "10.0.0.7.nip.example"]
        {
            let page = format!("http://{name}");
            assert!(!is_own_page(&page, None, Some(name), false), "{name}");
            let port = format!("{name}:8080");
            let public = Some("https://voice.example.com");
            assert!(!is_own_page(&page, public, Some(&port), false), "{name}");
            assert!(is_own_page(&page, None, Some(name), true), "{name}");
        }
        for name in
            ["localhost", "app.localhost:8080", "LOCALHOST", "192.0.2.7", "[2001:db8::1]:80"]
        {
            assert!(is_own_page(&format!("http://{name}"), None, Some(name), false), "{name}");
        }
    }

    #[test]
    fn without_one_a_host_is_reached_by_tls_unless_it_is_this_machine() {
        let websocket = |host| Origin::new(None, Some(host), None).unwrap().websocket();
        assert_eq!(websocket("voice.example.com"), "wss://voice.example.com");
        assert_eq!(websocket("voice.example.com:8443"), "wss://voice.example.com:8443");
        assert_eq!(websocket("10.0.0.1:8080"), "wss://10.0.0.1:8080");
        assert_eq!(websocket("localhost.example.com"), "wss://localhost.example.com");
        assert_eq!(websocket("127.0.0.1.example.com"), "wss://127.0.0.1.example.com");
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"] {
            assert_eq!(websocket(host), format!("ws://{host}"));
        }
        assert_eq!(Origin::new(None, None, None), None);
        let behind = |secure| Origin::new(None, Some("relay"), Some(secure)).unwrap().websocket();
        assert_eq!((behind(true), behind(false)), ("wss://relay".into(), "ws://relay".into()));
    }
}
