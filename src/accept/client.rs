//! Where a request comes from, as far as that can be known.
//!
//! In:       the address of the socket's other end, whether TLS is on, the request's head, the
//!           proxies we trust.
//! Out:      a [`Client`].
//! Bounds:   [`HOPS_MAX`] entries of `X-Forwarded-For`, counted from its end: beyond, the client is
//!           not known.
//! Not here: what follows from an address (`accept::doors`, `accept::young`).
//!
//! What a request says of its own way is believed as far as trusted proxies vouch for it: each adds
//! the address it was asked from at the end of the list. From there it is read backwards, past the
//! proxies we trust, to the first address that is none: the client. What stands before it he may
//! have written himself, and is not looked at.

use std::net::{IpAddr, SocketAddr};

use crate::config::Networks;
use crate::wire::http::{RequestHead, is_authority};

/// Entries of a list of hops that are looked at. No chain of proxies is as long.
const HOPS_MAX: usize = 16;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// His address; where the way is not told so that we can believe it, that of the socket's
    /// other end.
    pub(super) address: IpAddr,
    /// How sure that is.
    pub(super) provenance: Provenance,
    /// Whether he came by TLS: to us, or, as it says, to the proxy; `None`: in clear to us, from
    /// whoever may have taken the TLS off.
    pub(super) secure: Option<bool>,
}

/// How sure an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provenance {
    /// It is the socket's other end.
    Direct,
    /// A trusted proxy says so.
    Forwarded,
    /// A trusted proxy handed on a list of hops that is none, or too long: no allow list has him.
    Unknown,
}

impl Client {
    /// Who sent `head` through the socket whose other end is `peer`, by TLS or not.
    pub(super) fn of(
        head: &RequestHead<'_>,
        peer: IpAddr,
        is_tls: bool,
        trusted: &Networks,
    ) -> Client {
        let secure = is_tls.then_some(true);
        if !trusted.contains(peer) {
            return Client { address: peer, provenance: Provenance::Direct, secure };
        }
        let lines: Vec<&[u8]> = head.values("x-forwarded-for").collect();
        let (address, provenance) = match origin_of(&lines, trusted) {
            Ok(Some(address)) => (address, Provenance::Forwarded),
            // The proxy asks for itself, as for our health.
            Ok(None) => (peer, Provenance::Direct),
            Err(()) => (peer, Provenance::Unknown),
        };
        let secure = match head.header("x-forwarded-proto") {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Some(true),
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => Some(false),
            _ => secure,
        };
        Client { address, provenance, secure }
    }

    /// Whether an allow list has him; one that is not set has everybody.
    pub(super) fn is_in(&self, allow: Option<&Networks>) -> bool {
        allow.is_none_or(|allow| {
            self.provenance != Provenance::Unknown && allow.contains(self.address)
        })
    }
}

/// The host and port that a client asked a trusted proxy for, as it says in `X-Forwarded-Host`;
/// `None` where it says nothing.
///
/// # Errors
/// Where it says several, or no host: a client may have written some of it himself.
pub(super) fn forwarded_host<'b>(
    head: &RequestHead<'b>,
    peer: IpAddr,
    trusted: &Networks,
) -> Result<Option<&'b str>, ()> {
    if !trusted.contains(peer) {
        return Ok(None);
    }
    let mut lines = head.values("x-forwarded-host");
    let Some(first) = lines.next() else { return Ok(None) };
    let host = std::str::from_utf8(first).ok().map(str::trim);
    let host = host.filter(|host| !host.is_empty() && is_authority(host) && lines.next().is_none());
    host.map(Some).ok_or(())
}

/// The last address in `lines` that is no trusted proxy, or the first of all; `None` without any.
fn origin_of(lines: &[&[u8]], trusted: &Networks) -> Result<Option<IpAddr>, ()> {
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b','));
    let mut last = None;
    for (index, hop) in hops.enumerate() {
        if index == HOPS_MAX {
            return Err(());
        }
        let address = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())).ok_or(())?;
        last = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    Ok(last)
}

/// An address as proxies write it: bare, in brackets, with a port or without.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>();
    let address = address.or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Networks {
        Networks::parse(["10.0.0.0/8", "2001:db8:1::/48"]).unwrap()
    }

    fn told(lines: &[&str]) -> Result<Option<IpAddr>, ()> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        origin_of(&lines, &trusted())
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
        let table: [(&[&str], &str); 9] = [
            (&["203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9,10.0.0.2 ,\t10.0.0.3"], "203.0.113.9"),
            (&["192.0.2.1, 203.0.113.9"], "203.0.113.9"),
            (&["192.0.2.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            (&["2001:db8:2::5, 2001:db8:1::1"], "2001:db8:2::5"),
            (&["[2001:db8:2::5]:4711"], "2001:db8:2::5"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
        ];
        for (lines, client) in table {
            assert_eq!(told(lines), Ok(Some(client.parse().unwrap())), "{lines:?}");
        }
        assert_eq!(told(&["10.0.0.7, 10.0.0.2"]), Ok(Some("10.0.0.7".parse().unwrap())));
        assert_eq!(told(&[]), Ok(None));
    }

    #[test]
    fn what_the_client_wrote_himself_is_not_looked_at() {
        let junk = "x".repeat(5_000);
        for forged in ["unknown", "10.0.0.1", "", "127.0.0.1, ,", junk.as_str()] {
            let list = format!("{forged}, 203.0.113.9, 10.0.0.2");
            assert_eq!(told(&[&list]), Ok(Some("203.0.113.9".parse().unwrap())), "{forged}");
        }
    }

    #[test]
    fn a_way_that_cannot_be_read_leads_nowhere() {
        let long = ["10.0.0.1"; HOPS_MAX + 1].join(", ");
        for list in [&*long, "", "unknown", "203.0.113.9, nonsense, 10.0.0.2", "_hidden", "1.2.3"] {
            assert_eq!(told(&[list]), Err(()), "{list}");
        }
        let just = ["10.0.0.1"; HOPS_MAX].join(", ");
        assert_eq!(told(&[&just]), Ok(Some("10.0.0.1".parse().unwrap())));
    }

    #[test]
    fn whose_address_is_not_known_is_on_no_list() {
        let everyone = Networks::parse(["0.0.0.0/0", "::/0"]).unwrap();
        let client = |provenance| Client {
            address: "203.0.113.9".parse().unwrap(),
            provenance,
            secure: None,
        };
        assert!(client(Provenance::Direct).is_in(Some(&everyone)));
        assert!(client(Provenance::Forwarded).is_in(Some(&everyone)));
        assert!(!client(Provenance::Unknown).is_in(Some(&everyone)));
        assert!(!client(Provenance::Direct).is_in(Some(&trusted())));
        assert!(client(Provenance::Unknown).is_in(None));
    }
}
