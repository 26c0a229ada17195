//! Certificates and keys from files, found by the name a client asks for.
//!
//! In:       pairs of PEM files, the time, what a client offers.
//! Out:      the certificates with their names and dates; the one for a client.
//! Bounds:   [`FILE_MAX_BYTES`] of a file.
//! Not here: when files are read again (`control`), who trusts whom: a client looks at the dates
//!           and the issuer himself.
//!
//! A client that names a host gets the first certificate that bears this very name, else the first
//! with a wildcard for it, else, as a client that names none, the first of all. Those with a kind
//! of key that he does not know are passed over, so that one name can have an ECDSA and an RSA
//! certificate.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::provider;
use crate::config::CertificateFiles;

/// The longest certificate or key file. Above: an error.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// What can be told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its first name, else its file.
    pub name: String,
    /// Seconds since 1970 from which on it is valid.
    pub not_before: i64,
    /// Seconds since 1970 of the last moment at which it is.
    pub not_after: i64,
}

/// Which of two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFile {
    /// The certificate, with those that lead from it to a root behind it.
    Certificate,
    /// Its private key.
    Key,
}

impl CertificateFile {
    /// The key of the configuration that names it.
    const fn key(self) -> &'static str {
        match self {
            CertificateFile::Certificate => "server.tls_cert",
            CertificateFile::Key => "server.tls_key",
        }
    }
}

/// What is wrong with such a file.
#[derive(Debug)]
pub enum CertificateFault {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than any such file.
    TooLong,
    /// It is no PEM file, or holds nothing of the kind.
    NotPem,
    /// What it holds is no X.509 certificate.
    BadCertificate,
    /// What it holds is no private key that can be used.
    BadKey,
    /// The key is not that of this certificate.
    OtherKey(PathBuf),
    /// It expired then.
    Expired(i64),
    /// It is not valid before then.
    NotYetValid(i64),
}

/// Why TLS cannot be offered.
#[derive(Debug)]
pub enum TlsServerError {
    /// A file is no use.
    File {
        /// Which of the two.
        file: CertificateFile,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The provider lacks what we need.
    Provider(Error),
}

impl fmt::Display for TlsServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsServerError::File { file, path, fault } => {
                write!(f, "{} ({}) {fault}", path.display(), file.key())
            }
            TlsServerError::Provider(why) => write!(f, "TLS cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for TlsServerError {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateFault::Unreadable(why) => write!(f, "cannot be read: {why}"),
            CertificateFault::TooLong => write!(f, "is longer than {FILE_MAX_BYTES} bytes"),
            CertificateFault::NotPem => f.write_str("holds nothing of the kind in PEM form"),
            CertificateFault::BadCertificate => f.write_str("holds no X.509 certificate"),
            CertificateFault::BadKey => {
                f.write_str("holds no private key that can be used: ECDSA, RSA or Ed25519")
            }
            CertificateFault::OtherKey(certificate) => {
                write!(f, "is not the key of the certificate in {}", certificate.display())
            }
            CertificateFault::Expired(at) => {
                write!(f, "expired at {}: renew the certificate", Moment(*at))
            }
            CertificateFault::NotYetValid(from) => {
                write!(f, "is not valid before {}: is this machine's clock right?", Moment(*from))
            }
        }
    }
}

/// Seconds since 1970, for people.
struct Moment(i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "second {} since 1970", self.0),
        }
    }
}

/// Every certificate there is to offer, each with its key.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// The hosts it is for, in lower case.
    names: Vec<String>,
    facts: Certificate,
    key: Arc<CertifiedKey>,
}

/// How well a certificate's name fits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Name,
    Wildcard,
    None,
}

impl Certificates {
    /// Reads every pair of files. None of the certificates may have expired at `now_unix`.
    pub(super) fn load(
        files: &[CertificateFiles],
        now_unix: i64,
    ) -> Result<Certificates, TlsServerError> {
        let entries = files.iter().map(|files| entry(files, now_unix));
        entries.collect::<Result<_, _>>().map(Certificates)
    }

    pub(super) fn facts(&self) -> impl Iterator<Item = &Certificate> {
        self.0.iter().map(|entry| &entry.facts)
    }

    /// The best of those that `usable` lets pass, for a client that asks for `host`.
    fn best(&self, host: Option<&str>, usable: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let host = host.map(str::to_ascii_lowercase);
        let usable = self.0.iter().filter(|entry| usable(entry));
        usable.min_by_key(|entry| host.as_deref().map_or(Fit::None, |host| entry.fit(host)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name();
        let schemes = hello.signature_schemes();
        let known = |entry: &Entry| entry.key.key.choose_scheme(schemes).is_some();
        // With one whose key he does not know, rustls tells him what is not in common.
        let best = self.best(host, known).or_else(|| self.best(host, |_| true));
        best.map(|entry| entry.key.clone())
    }
}

impl Entry {
    fn fit(&self, host: &str) -> Fit {
        let fits = self.names.iter().map(|name| match name.strip_prefix("*.") {
            None if name == host => Fit::Name,
            // A star stands for one label, RFC 6125 section 6.4.3.
            Some(rest) if host.split_once('.').is_some_and(|(_, tail)| tail == rest) => {
                Fit::Wildcard
            }
            _ => Fit::None,
        });
        fits.min().unwrap_or(Fit::None)
    }
}

fn entry(files: &CertificateFiles, now_unix: i64) -> Result<Entry, TlsServerError> {
    let failed = |file, fault| {
        let path = match file {
            CertificateFile::Certificate => files.certificate.clone(),
            CertificateFile::Key => files.key.clone(),
        };
        TlsServerError::File { file, path, fault }
    };
    let bad_certificate = |fault| failed(CertificateFile::Certificate, fault);
    let bad_key = |fault| failed(CertificateFile::Key, fault);

    let text = read(&files.certificate).map_err(bad_certificate)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| bad_certificate(CertificateFault::NotPem))?;
    let first = chain.first().ok_or_else(|| bad_certificate(CertificateFault::NotPem))?;
    let (names, facts) = facts_of(first, files).map_err(bad_certificate)?;
    if facts.not_after < now_unix {
        return Err(bad_certificate(CertificateFault::Expired(facts.not_after)));
    }
    if facts.not_before > now_unix {
        return Err(bad_certificate(CertificateFault::NotYetValid(facts.not_before)));
    }

    let text = read(&files.key).map_err(bad_key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|why| match why {
        PemError::NoItemsFound => bad_key(CertificateFault::NotPem),
        _ => bad_key(CertificateFault::BadKey),
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|why| match why {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            bad_key(CertificateFault::OtherKey(files.certificate.clone()))
        }
        Error::InvalidCertificate(_) => bad_certificate(CertificateFault::BadCertificate),
        _ => bad_key(CertificateFault::BadKey),
    })?;
    Ok(Entry { names, facts, key: Arc::new(key) })
}

fn read(path: &PathBuf) -> Result<Vec<u8>, CertificateFault> {
    let found = fs::metadata(path).map_err(CertificateFault::Unreadable)?;
    if !found.is_file() {
        return Err(CertificateFault::Unreadable(io::Error::other("it is no regular file")));
    }
    if found.len() > FILE_MAX_BYTES {
        return Err(CertificateFault::TooLong);
    }
    fs::read(path).map_err(CertificateFault::Unreadable)
}

/// The hosts a certificate is for, and what can be told of it.
fn facts_of(
    certificate: &CertificateDer<'_>,
    files: &CertificateFiles,
) -> Result<(Vec<String>, Certificate), CertificateFault> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateFault::BadCertificate)?;
    let listed = parsed.subject_alternative_name().map_err(|_| CertificateFault::BadCertificate)?;
    let listed = listed.iter().flat_map(|listed| &listed.value.general_names);
    let names: Vec<String> = listed
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    let name = names.first().cloned();
    let facts = Certificate {
        name: name.unwrap_or_else(|| files.certificate.display().to_string()),
        not_before: parsed.validity.not_before.timestamp(),
        not_after: parsed.validity.not_after.timestamp(),
    };
    Ok((names, facts))
}
