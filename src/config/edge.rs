//! The edge towards the internet: our certificates, the proxies' own header, the addresses that
//! the carrier was given.
//!
//! In:       settings as they were written.
//! Out:      [`CertificateFiles`], [`ProxyProtocol`], signed addresses, checked.
//! Bounds:   [`CERTIFICATES_MAX`], [`SIGNED_URLS_MAX`].
//! Not here: reading the files (`net::tls`), which proxies are trusted (`config::guard`).

use std::path::PathBuf;

use super::settings::{Key, Settings, Written};
use super::{guard, values};

/// Certificates of one relay. More: an error.
pub const CERTIFICATES_MAX: usize = 64;
/// Addresses a carrier may have signed, beside those we work out. More: an error.
pub const SIGNED_URLS_MAX: usize = 32;
/// The longest such address.
const URL_MAX_BYTES: usize = 2048;

const TLS_CERT: Key = Key::open("server", "tls_cert");
const TLS_KEY: Key = Key::open("server", "tls_key");
const PROXY_PROTOCOL: Key = Key::open("server", "proxy_protocol");

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, behind it those that lead from it to a root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Whether trusted proxies say in a header of their own, before everything else, whose connection
/// they pass on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not.
    #[default]
    Off,
    /// They must, in version 1, a line of text.
    V1,
    /// They must, in version 2, binary.
    V2,
    /// They must, in either version.
    Require,
    /// They may, in either version.
    Optional,
}

/// Reads `server.tls_cert` and `server.tls_key`.
pub(super) fn certificates(settings: &mut Settings<'_>) -> Vec<CertificateFiles> {
    let wrote = [TLS_CERT, TLS_KEY].map(|key| settings.is_written(key));
    let certificates = settings.read(TLS_CERT, paths);
    let keys = settings.read(TLS_KEY, paths);
    match (wrote, certificates, keys) {
        ([true, false], ..) => settings.fail(TLS_CERT, "needs its key: set server.tls_key"),
        ([false, true], ..) => settings.fail(TLS_KEY, "needs its certificate: set server.tls_cert"),
        (_, Some(certificates), Some(keys)) if certificates.len() != keys.len() => {
            let advice = format!(
                "names {} files, server.tls_cert names {}: each certificate has its key, in the \
                 same place of the list",
                keys.len(),
                certificates.len()
            );
            settings.fail(TLS_KEY, &advice);
        }
        (_, Some(certificates), Some(keys)) => {
            let pairs = certificates.into_iter().zip(keys);
            let pairs = pairs.map(|(certificate, key)| CertificateFiles { certificate, key });
            return pairs.collect();
        }
        // Neither is written, or one is wrong, which is noted.
        _ => {}
    }
    Vec::new()
}

/// Reads `server.proxy_protocol`. `trusts_any`: whether any proxies are trusted.
pub(super) fn proxy_protocol(settings: &mut Settings<'_>, trusts_any: bool) -> ProxyProtocol {
    let words = [
        ("off", ProxyProtocol::Off),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
        ("require", ProxyProtocol::Require),
        ("optional", ProxyProtocol::Optional),
    ];
    let read = settings.read(PROXY_PROTOCOL, |written| values::word(written, &words));
    let protocol = read.unwrap_or_default();
    if protocol != ProxyProtocol::Off && !trusts_any {
        settings.fail(PROXY_PROTOCOL, "is believed of server.trusted_proxies alone: name them");
    }
    protocol
}

/// Reads `twilio.signed_urls`.
pub(super) fn signed_urls(settings: &mut Settings<'_>) -> Vec<String> {
    settings.read(Key::open("twilio", "signed_urls"), urls).unwrap_or_default()
}

fn paths(written: &Written<'_>) -> Result<Vec<PathBuf>, String> {
    let paths = guard::list(written)?;
    match paths.len() <= CERTIFICATES_MAX {
        true if paths.iter().any(|path| path.is_empty()) => Err("names no file".to_owned()),
        true => Ok(paths.into_iter().map(PathBuf::from).collect()),
        false => Err(format!("names more than {CERTIFICATES_MAX} files")),
    }
}

fn urls(written: &Written<'_>) -> Result<Vec<String>, String> {
    let urls = guard::list(written)?;
    if urls.len() > SIGNED_URLS_MAX {
        return Err(format!("has more than {SIGNED_URLS_MAX} items"));
    }
    let fits = |url: &String| {
        let schemes = ["https://", "wss://", "http://", "ws://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        url.len() <= URL_MAX_BYTES
            && rest
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
    };
    match urls.iter().find(|url| !fits(url)) {
        None => Ok(urls),
        // It may carry a password: it is not shown.
        Some(_) => Err("must be whole addresses, just as the carrier was given them, such as \
                        \"https://voice.example.com/twilio/incoming\""
            .to_owned()),
    }
}
