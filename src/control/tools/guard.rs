//! Which addresses a tool may be asked at.
//!
//! A tool's address comes from the operator; what its name stands for comes from whoever answers
//! for that name. So the check is made on the addresses that are then connected to, after every
//! look-up: a name that suddenly points inside the operator's network leads nowhere.
//!
//! Not here: the request itself (`control::tools::webhook`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Which addresses are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Those of the public network.
    Public,
    /// Those of this machine: the operator has named it.
    Loopback,
    /// All.
    Any,
}

/// A look-up that returns allowed addresses only.
pub(super) struct GuardedResolver {
    inner: DefaultResolver,
    allowed: Allowed,
}

impl GuardedResolver {
    pub(super) fn new(allowed: Allowed) -> GuardedResolver {
        GuardedResolver { inner: DefaultResolver::default(), allowed }
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address| self.allowed.permits(address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() { Err(Error::Other(Box::new(Forbidden))) } else { Ok(kept) }
    }
}

/// The name stands for addresses that must not be asked, and for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name stands for an address that is not public")
    }
}

impl std::error::Error for Forbidden {}

impl Allowed {
    /// Whether `address` may be connected to.
    pub(super) fn permits(self, address: IpAddr) -> bool {
        match self {
            Allowed::Any => true,
            Allowed::Loopback => address.to_canonical().is_loopback(),
            Allowed::Public => match address.to_canonical() {
                IpAddr::V4(address) => is_public_v4(address),
                IpAddr::V6(address) => is_public_v6(address),
            },
        }
    }
}

/// Whether an address is somebody's on the public network (the special-purpose registry of
/// RFC 6890 and its successors).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0 // this network
        || (a == 100 && b & 0xc0 == 64) // behind a carrier's translation
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // relays of 6to4
        || (a == 198 && b & 0xfe == 18) // measuring
        || a >= 240; // kept for later
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [a, b, ..] = segments;
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // An IPv4 address by way of a translator, RFC 6052.
        (0x64, 0xff9b) if segments[2..6] == [0; 4] => embedded(segments[6], segments[7]),
        // Of a site's own translator, RFC 8215.
        (0x64, 0xff9b) => false,
        // Teredo, benchmarking, ORCHID, documentation: RFC 4380, 5180, 7343, 3849.
        (0x2001, b) if b < 0x200 || b == 0xdb8 => false,
        // 6to4, RFC 3056.
        (0x2002, _) => embedded(segments[1], segments[2]),
        (0x3fff, b) if b < 0x1000 => false,
        // Of all others, global unicast alone, RFC 4291 section 2.4.
        (a, _) => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allowed: Allowed, address: &str) -> bool {
        allowed.permits(address.parse().unwrap())
    }

    #[test]
    fn what_is_not_public_is_not_asked() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.5",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(Allowed::Public, address), "{address}");
            assert!(permits(Allowed::Any, address), "{address}");
        }
    }

    #[test]
    fn what_is_public_is() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2a00:1450:4001::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert!(permits(Allowed::Public, address), "{address}");
            assert!(!permits(Allowed::Loopback, address), "{address}");
        }
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(permits(Allowed::Loopback, address), "{address}");
        }
    }
}
