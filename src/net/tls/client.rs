//! What every TLS connection to the model shares: roots, suites, tickets. No ALPN: an `h2` offer
//! would break the HTTP/1.1 upgrade. Connections to a database are made of the same.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::provider;

/// What every TLS connection to the model shares: roots, suites, tickets.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    pub(super) client: Arc<ClientConfig>,
}

/// Why the TLS settings cannot be used.
#[derive(Debug)]
pub enum TlsConfigError {
    /// The file with one more root cannot be read or holds no certificate.
    CaFile(String),
    /// A certificate in it cannot serve as a root.
    BadRoot(String),
    /// The provider lacks the protocol versions we need.
    Provider(String),
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsConfigError::CaFile(why) => write!(f, "gemini.ca_file cannot be read: {why}"),
            TlsConfigError::BadRoot(why) => write!(f, "gemini.ca_file holds no usable root: {why}"),
            TlsConfigError::Provider(why) => write!(f, "TLS cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for TlsConfigError {}

impl TlsConfig {
    /// The public web's roots and, if a PEM file is named, the roots in it.
    ///
    /// # Errors
    /// When that file is no use.
    pub fn new(ca_file: Option<&Path>) -> Result<TlsConfig, TlsConfigError> {
        TlsConfig::with(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, ca_file)
    }

    /// The roots in a PEM file and no others; the public web's where none is named.
    ///
    /// # Errors
    /// When that file is no use.
    pub fn only(ca_file: Option<&Path>) -> Result<TlsConfig, TlsConfigError> {
        match ca_file {
            Some(_) => TlsConfig::with(RootCertStore::empty(), ca_file),
            None => TlsConfig::new(None),
        }
    }

    /// For a client of PostgreSQL; the certificate is bound to the password's exchange.
    pub fn for_postgres(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.client).clone())
    }

    fn with(mut roots: RootCertStore, ca_file: Option<&Path>) -> Result<TlsConfig, TlsConfigError> {
        if let Some(path) = ca_file {
            let unreadable = |why: &dyn fmt::Display| {
                TlsConfigError::CaFile(format!("{}: {why}", path.display()))
            };
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|why| unreadable(&why))?
                .collect::<Result<Vec<_>, _>>()
                .map_err(|why| unreadable(&why))?;
            if certificates.is_empty() {
                return Err(unreadable(&"no certificate in it"));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|why| TlsConfigError::BadRoot(why.to_string()))?;
            }
        }
        let client = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsConfigError::Provider(why.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConfig { client: Arc::new(client) })
    }
}
