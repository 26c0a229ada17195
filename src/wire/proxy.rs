//! The PROXY protocol, versions 1 and 2: what a proxy puts in front of a connection it passes on,
//! before TLS and HTTP, to say whose it is ("The PROXY protocol", HAProxy, 2020/03/05).
//!
//! In:       the first bytes of a connection, cut anywhere.
//! Out:      the address of the client, or that the proxy speaks for itself; how many bytes that
//!           took.
//! Bounds:   [`V1_MAX_BYTES`] for a line, [`V2_MAX_BYTES`] for a binary header.
//! Not here: whom we believe it (`accept`), deadlines.
//!
//! Version 1 is one line, `PROXY TCP4 203.0.113.9 192.0.2.1 51234 443` and CR LF, or
//! `PROXY UNKNOWN` with anything behind it. Version 2:
//!
//! | bytes | meaning |
//! |---|---|
//! | 12 | `0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A` |
//! | 1 | version 2 in the upper half; 0 `LOCAL` or 1 `PROXY` in the lower |
//! | 1 | upper half: 0 no family, 1 IPv4, 2 IPv6, 3 Unix; lower: 1 stream, 2 datagram, or 0 |
//! | 2 | how many bytes follow, big-endian |
//! | 12, 36 or 216 | source and destination address, source and destination port |
//! | the rest | extensions, each type, length, value: passed over |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, with its line end (section 2.1).
pub const V1_MAX_BYTES: usize = 107;
/// The longest header of version 2 that is taken: 16 bytes, and 4 KiB of addresses and extensions.
/// Proxies send less than 600; a client's certificate may be among them.
pub const V2_MAX_BYTES: usize = 16 + 4096;

/// How a line of version 1 begins.
const V1_START: &[u8] = b"PROXY ";
/// How a header of version 2 begins.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: the bytes before the addresses.
const V2_FIXED_BYTES: usize = 16;

/// Which versions are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
    /// Either.
    Both,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole header; what follows it begins after `used` bytes.
    Header {
        /// Who is at the other end; `None`: the proxy itself, or somebody it does not know.
        source: Option<SocketAddr>,
        /// Length of the header.
        used: usize,
    },
    /// More bytes are needed.
    NeedMore,
}

/// Why first bytes are no header we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin as no header does: the proxy sends none.
    Missing,
    /// It is of the version that was not asked for.
    OtherVersion,
    /// A line over [`V1_MAX_BYTES`], or a header over [`V2_MAX_BYTES`].
    TooLong,
    /// A line that is not as section 2.1 has it.
    BadLine,
    /// A version, command, family or transport that section 2.2 does not know.
    BadHeader,
    /// A header too short for the addresses of its family.
    BadLength,
}

impl ProxyError {
    /// The name of this reason in counters and log lines.
    pub const fn label(self) -> &'static str {
        match self {
            ProxyError::Missing => "no_proxy_header",
            ProxyError::OtherVersion => "other_proxy_version",
            ProxyError::TooLong => "long_proxy_header",
            ProxyError::BadLine | ProxyError::BadHeader | ProxyError::BadLength => {
                "bad_proxy_header"
            }
        }
    }
}

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// As soon as it is certain that there is none we take, however little has come.
pub fn decode(bytes: &[u8], versions: Versions) -> Result<Decoded, ProxyError> {
    let (like_v1, like_v2) = (begins_alike(bytes, V1_START), begins_alike(bytes, V2_START));
    match versions {
        _ if bytes.is_empty() => Ok(Decoded::NeedMore),
        Versions::V1 | Versions::Both if like_v1 => decode_v1(bytes),
        Versions::V2 | Versions::Both if like_v2 => decode_v2(bytes),
        _ if bytes.starts_with(V1_START) || bytes.starts_with(V2_START) => {
            Err(ProxyError::OtherVersion)
        }
        _ if like_v1 || like_v2 => Ok(Decoded::NeedMore),
        _ => Err(ProxyError::Missing),
    }
}

/// Whether `bytes` are the beginning of `start`, or begin with it.
fn begins_alike(bytes: &[u8], start: &[u8]) -> bool {
    let shown = bytes.len().min(start.len());
    bytes[..shown] == start[..shown]
}

fn decode_v1(bytes: &[u8]) -> Result<Decoded, ProxyError> {
    let shown = &bytes[..bytes.len().min(V1_MAX_BYTES)];
    let Some(end) = shown.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
        let more = shown.len() < V1_MAX_BYTES;
        return if more { Ok(Decoded::NeedMore) } else { Err(ProxyError::TooLong) };
    };
    match (shown[end], shown.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if shown.len() < V1_MAX_BYTES => return Ok(Decoded::NeedMore),
        (b'\r', None) => return Err(ProxyError::TooLong),
        _ => return Err(ProxyError::BadLine),
    }
    let line = std::str::from_utf8(&shown[V1_START.len()..end]);
    let source = source_v1(line.map_err(|_| ProxyError::BadLine)?)?;
    Ok(Decoded::Header { source, used: end + 2 })
}

/// The client of a line, without its beginning and its end.
fn source_v1(line: &str) -> Result<Option<SocketAddr>, ProxyError> {
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let [Some(source), Some(target), Some(source_port), Some(target_port), None] =
        [(); 5].map(|()| words.next())
    else {
        return Err(ProxyError::BadLine);
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse().map(IpAddr::V4).map_err(|_| ProxyError::BadLine),
        Some("TCP6") => text.parse().map(IpAddr::V6).map_err(|_| ProxyError::BadLine),
        _ => Err(ProxyError::BadLine),
    };
    let (source, _) = (address(source)?, address(target)?);
    let (source_port, _) = (port(source_port)?, port(target_port)?);
    Ok(Some(SocketAddr::new(source, source_port)))
}

/// A decimal number without a sign or a zero in front.
fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(ProxyError::BadLine)
}

fn decode_v2(bytes: &[u8]) -> Result<Decoded, ProxyError> {
    let Some(&command) = bytes.get(12) else { return Ok(Decoded::NeedMore) };
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::BadHeader);
    }
    let Some(&family) = bytes.get(13) else { return Ok(Decoded::NeedMore) };
    let (family, transport) = (family >> 4, family & 0x0f);
    if family > 3 || transport > 2 {
        return Err(ProxyError::BadHeader);
    }
    let Some(&[high, low]) = bytes.get(14..V2_FIXED_BYTES) else { return Ok(Decoded::NeedMore) };
    let len_bytes = usize::from(u16::from_be_bytes([high, low]));
    let used = V2_FIXED_BYTES + len_bytes;
    if used > V2_MAX_BYTES {
        return Err(ProxyError::TooLong);
    }
    let is_proxied = command == 0x21;
    // Of an unspecified family or transport the addresses are to be passed over as well.
    let addresses_bytes = match family {
        _ if !is_proxied || transport == 0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if len_bytes < addresses_bytes {
        return Err(ProxyError::BadLength);
    }
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..used) else { return Ok(Decoded::NeedMore) };
    Ok(Decoded::Header { source: source_v2(addresses_bytes, addresses), used })
}

/// The client of a binary header: source address, target address, source port, target port.
fn source_v2(addresses_bytes: usize, addresses: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(*addresses.get(at..)?.first_chunk()?));
    let (address, port) = match addresses_bytes {
        12 => (IpAddr::V4(Ipv4Addr::from(*addresses.first_chunk::<4>()?)), port(8)?),
        36 => (IpAddr::V6(Ipv6Addr::from(*addresses.first_chunk::<16>()?)), port(32)?),
        // A socket of the proxy's own machine has no address for us.
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    /// What the whole of `bytes` is; every part of it must ask for more, whatever follows it must
    /// change nothing.
    #[track_caller]
    fn whole(bytes: &[u8], versions: Versions) -> Option<SocketAddr> {
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], versions), Ok(Decoded::NeedMore), "cut at {cut}");
        }
        let Ok(Decoded::Header { source, used }) = decode(bytes, versions) else {
            panic!("{:?} of {bytes:?}", decode(bytes, versions));
        };
        assert_eq!(used, bytes.len());
        for behind in [&b"GET / HTTP/1.1"[..], &[0x16, 3, 1], V2_START, b"\r\n"] {
            let more = [bytes, behind].concat();
            assert_eq!(decode(&more, versions), Ok(Decoded::Header { source, used }));
        }
        source
    }

    /// What `bytes` are refused for; a beginning of them asks for more or is refused for the same.
    #[track_caller]
    fn refused(bytes: &[u8], versions: Versions) -> ProxyError {
        let fault = decode(bytes, versions).unwrap_err();
        let mut was_refused = false;
        for cut in 0..bytes.len() {
            match decode(&bytes[..cut], versions) {
                Ok(Decoded::NeedMore) => assert!(!was_refused, "taken back at {cut}"),
                early => {
                    was_refused = true;
                    assert_eq!(early, Err(fault), "cut at {cut}");
                }
            }
        }
        fault
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_START, &[command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xc8, 0x22, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::9".parse().unwrap();
        let target: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &target.octets(), &[0xc8, 0x22, 0x01, 0xbb]].concat()
    }

    #[test]
    fn a_line_tells_whose_connection_it_is_wherever_it_is_cut() {
        let table: [(&str, Option<SocketAddr>); 8] = [
            ("TCP4 203.0.113.9 192.0.2.1 51234 443", address("203.0.113.9:51234")),
            ("TCP4 255.255.255.255 255.255.255.255 65535 65535", address("255.255.255.255:65535")),
            ("TCP4 0.0.0.0 0.0.0.0 0 0", address("0.0.0.0:0")),
            ("TCP6 2001:db8::9 ::1 1 2", address("[2001:db8::9]:1")),
            (
                "TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535",
                address("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            ("TCP6 ::ffff:203.0.113.9 ::1 1 2", address("[::ffff:203.0.113.9]:1")),
            ("UNKNOWN", None),
            ("UNKNOWN ffff::1 whatever stands here", None),
        ];
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, source) in table {
            let line = format!("PROXY {}\r\n", line.replace("ffff:f...f:ffff", full));
            for versions in [Versions::V1, Versions::Both] {
                assert_eq!(whole(line.as_bytes(), versions), source, "{line}");
            }
            assert_eq!(refused(line.as_bytes(), Versions::V2), ProxyError::OtherVersion);
        }
        // The longest there is, as the specification counts it.
        let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
        assert_eq!(longest.len(), V1_MAX_BYTES);
        assert_eq!(whole(longest.as_bytes(), Versions::V1), None);
    }

    #[test]
    fn a_line_that_is_none_is_refused_as_soon_as_that_is_certain() {
        let bad = [
            "TCP4 203.0.113.9 192.0.2.1 51234\r\n",
            "TCP4 203.0.113.9 192.0.2.1 51234 443 \r\n",
            "TCP4  203.0.113.9 192.0.2.1 51234 443\r\n",
            "TCP4 203.0.113.9 192.0.2.1 51234 443\n",
            "TCP4 203.0.113.9 192.0.2.1 51234 443\r\r\n",
            "TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
            "TCP4 203.0.113.9 192.0.2.1 +1 443\r\n",
            "TCP4 203.0.113.9 192.0.2.1 01 443\r\n",
            "TCP4 203.0.113.9 192.0.2.1 1 \r\n",
            "TCP4 203.0.113.09 192.0.2.1 1 2\r\n",
            "TCP4 203.0.113 192.0.2.1 1 2\r\n",
            "TCP4 2001:db8::9 ::1 1 2\r\n",
            "TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
            "TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "UDP4 203.0.113.9 192.0.2.1 1 2\r\n",
            "tcp4 203.0.113.9 192.0.2.1 1 2\r\n",
            "TCP4 203.0.113.9\t192.0.2.1 1 2\r\n",
            "UNKNOWNS\r\n",
            "\r\n",
        ];
        for line in bad {
            let line = format!("PROXY {line}");
            assert_eq!(refused(line.as_bytes(), Versions::Both), ProxyError::BadLine, "{line:?}");
        }
        let not_text = [b"PROXY TCP4 \xff", &b"\r\n"[..]].concat();
        assert_eq!(refused(&not_text, Versions::V1), ProxyError::BadLine);
        for endless in ["PROXY UNKNOWN ", "PROXY TCP4 "] {
            let endless = format!("{endless}{}", "x".repeat(200));
            assert_eq!(refused(endless.as_bytes(), Versions::V1), ProxyError::TooLong);
        }
        // One byte over, and the line end cut by the bound.
        let over = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_BYTES - 15));
        assert_eq!(over.len(), V1_MAX_BYTES + 1);
        assert_eq!(refused(over.as_bytes(), Versions::V1), ProxyError::TooLong);
    }

    #[test]
    fn a_binary_header_tells_whose_connection_it_is_wherever_it_is_cut() {
        let extensions = [0x04, 0, 3, 1, 2, 3, 0x20, 0, 5, 0x01, 0, 0, 0, 0];
        let with = |addresses: &[u8]| [addresses, &extensions].concat();
        let table: [(Vec<u8>, Option<SocketAddr>); 12] = [
            (v2(0x21, 0x11, &V4), address("203.0.113.9:51234")),
            (v2(0x21, 0x11, &with(&V4)), address("203.0.113.9:51234")),
            // A proxy that speaks QUIC to its clients.
            (v2(0x21, 0x12, &V4), address("203.0.113.9:51234")),
            (v2(0x21, 0x21, &v6()), address("[2001:db8::9]:51234")),
            (v2(0x21, 0x21, &with(&v6())), address("[2001:db8::9]:51234")),
            (v2(0x21, 0x31, &[7; 216]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x00, &with(&[])), None),
            (v2(0x21, 0x10, &V4), None),
            // The proxy looks whether we live: whatever stands there is passed over.
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x20, 0x21, &[1]), None),
        ];
        for (header, source) in &table {
            for versions in [Versions::V2, Versions::Both] {
                assert_eq!(whole(header, versions), *source, "{header:?}");
            }
            assert_eq!(refused(header, Versions::V1), ProxyError::OtherVersion);
        }
        let longest = [&V4[..], &vec![0; V2_MAX_BYTES - 16 - V4.len()]].concat();
        assert_eq!(
            decode(&v2(0x21, 0x11, &longest), Versions::V2),
            Ok(Decoded::Header { source: address("203.0.113.9:51234"), used: V2_MAX_BYTES })
        );
    }

    #[test]
    fn every_command_and_family_is_known_or_refused() {
        for (command, family) in (0..=255).flat_map(|c| (0..=255).map(move |f| (c, f))) {
            let header = v2(command, family, &[9; 216]);
            let known = matches!(command, 0x20 | 0x21) && family >> 4 <= 3 && family & 15 <= 2;
            match decode(&header, Versions::V2) {
                Ok(Decoded::Header { used, .. }) => assert!(known && used == header.len()),
                other => assert!(!known && other == Err(ProxyError::BadHeader), "{other:?}"),
            }
        }
    }

    #[test]
    fn a_binary_header_too_short_for_its_addresses_or_too_long_for_us_is_refused_by_its_length() {
        for (family, least) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
            for len in 0..least {
                let header = v2(0x21, family, &vec![1; len]);
                assert_eq!(refused(&header, Versions::Both), ProxyError::BadLength);
                assert_eq!(decode(&header[..16], Versions::V2), Err(ProxyError::BadLength));
            }
        }
        let fixed = [V2_START, &[0x20, 0, 0x10, 0x01]].concat();
        assert_eq!(refused(&fixed, Versions::Both), ProxyError::TooLong);
    }

    #[test]
    fn what_begins_as_no_header_does_is_refused_at_its_first_foreign_byte() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], &[0x16, 3, 1, 0], b"PROXIED", b"\r\n\r\n\0\r\nQuit"]
        {
            for versions in [Versions::V1, Versions::V2, Versions::Both] {
                assert_eq!(refused(bytes, versions), ProxyError::Missing, "{bytes:?}");
            }
        }
        for byte in 0..=255 {
            let expected = match byte {
                b'P' | b'\r' => Ok(Decoded::NeedMore),
                _ => Err(ProxyError::Missing),
            };
            assert_eq!(decode(&[byte], Versions::Both), expected);
        }
    }

    #[test]
    fn random_bytes_behind_a_true_beginning_never_lead_beyond_what_was_shown() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let mut bytes = if random.bool() { V1_START } else { V2_START }.to_vec();
            let alphabet = b" .:0123456789TCP46UNKNOW\r\n\0\x11\x20\x21";
            for _ in 0..random.usize(..120) {
                bytes.push(alphabet[random.usize(..alphabet.len())]);
            }
            let all = decode(&bytes, Versions::Both);
            if let Ok(Decoded::Header { used, .. }) = all {
                assert!(used <= bytes.len(), "seed {seed}: {bytes:?}");
                assert_eq!(decode(&bytes[..used], Versions::Both), all, "seed {seed}: {bytes:?}");
                let early = decode(&bytes[..used - 1], Versions::Both);
                assert_eq!(early, Ok(Decoded::NeedMore), "seed {seed}: {bytes:?}");
            }
        }
    }
}
