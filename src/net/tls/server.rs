//! What every TLS connection from outside shares: certificates, suites, tickets; and its being
//! replaced while connections go on.
//!
//! In:       the files of certificates and keys, the time.
//! Out:      a session for each connection, by what was loaded last.
//! Bounds:   of the suites the client's order counts; ALPN offers `http/1.1` alone; a ticket opens
//!           a session for 12 hours at most, its key changes every 6.
//! Not here: when it is replaced (`control`), deadlines (`accept`).
//!
//! A connection keeps what it began with: replacing it touches none. What cannot be used replaces
//! nothing.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::{ServerConfig, ServerConnection};

use super::certificates::{Certificate, Certificates, TlsServerError};
use super::provider;
use super::session::Session;
use crate::config::CertificateFiles;

/// The only protocol we speak on TLS, as ALPN calls it (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS as it is offered to carriers and browsers.
pub struct TlsServer {
    loaded: RwLock<Loaded>,
    /// Outlives what is loaded: who comes back after it was replaced is still known.
    ticketer: Arc<dyn ProducesTickets>,
}

/// Certificates that were read and are of use, and that nobody is shown yet.
pub struct ReadCertificates(Loaded);

/// What was loaded last.
#[derive(Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    files: Vec<CertificateFiles>,
    /// What the files looked like when they were last read, also where they were no use.
    seen: Vec<Option<Looks>>,
}

/// What tells a file from another in its place, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    device: u64,
    inode: u64,
    len_bytes: u64,
    modified: (i64, i64),
}

impl fmt::Debug for TlsServer {
    /// The certificates; a key is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("certificates", &self.certificates()).finish()
    }
}

impl fmt::Debug for ReadCertificates {
    /// The certificates; a key is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.certificates.facts()).finish()
    }
}

impl TlsServer {
    /// With the certificates in these files, none of which may have expired at `now_unix`.
    ///
    /// # Errors
    /// What is wrong with the first that is no use.
    pub fn new(files: &[CertificateFiles], now_unix: i64) -> Result<TlsServer, TlsServerError> {
        let ticketer = Ticketer::new().map_err(TlsServerError::Provider)?;
        let loaded = load(files, now_unix, &ticketer)?;
        Ok(TlsServer { loaded: RwLock::new(loaded), ticketer })
    }

    /// Reads the same files again. Connections that come from now on get what is in them.
    ///
    /// # Errors
    /// What is wrong with the first that is no use; then nothing changes.
    pub fn reload(&self, now_unix: i64) -> Result<(), TlsServerError> {
        self.read_again(now_unix).map(|read| self.install(read))
    }

    /// Reads the same files again, and changes nothing yet: [`TlsServer::install`].
    ///
    /// # Errors
    /// What is wrong with the first that is no use.
    pub fn read_again(&self, now_unix: i64) -> Result<ReadCertificates, TlsServerError> {
        let files = self.loaded().files;
        self.read(&files, now_unix)
    }

    /// Connections that come from now on get what was read.
    pub fn install(&self, read: ReadCertificates) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = read.0;
    }

    /// Reads other files, as [`TlsServer::reload`].
    ///
    /// # Errors
    /// What is wrong with the first that is no use; then nothing changes.
    pub fn replace(&self, files: &[CertificateFiles], now_unix: i64) -> Result<(), TlsServerError> {
        self.read(files, now_unix).map(|read| self.install(read))
    }

    fn read(
        &self,
        files: &[CertificateFiles],
        now_unix: i64,
    ) -> Result<ReadCertificates, TlsServerError> {
        // Looked at before they are read: what changes meanwhile is read once more.
        let looks = looks_of(&self.loaded().files);
        load(files, now_unix, &self.ticketer).map(ReadCertificates).inspect_err(|_| {
            self.loaded.write().unwrap_or_else(PoisonError::into_inner).seen = looks;
        })
    }

    /// Whether the files are not those that were read last.
    pub fn has_changed(&self) -> bool {
        let Loaded { files, seen, .. } = self.loaded();
        looks_of(&files) != seen
    }

    /// The certificates in use, in the configuration's order.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.loaded().certificates.facts().cloned().collect()
    }

    /// A session for one more connection.
    pub(in crate::net) fn session(&self) -> io::Result<Session> {
        let server = self.loaded.read().unwrap_or_else(PoisonError::into_inner).server.clone();
        let session = ServerConnection::new(server).map_err(io::Error::other)?;
        Ok(Session::with_client(session))
    }

    fn loaded(&self) -> Loaded {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn load(
    files: &[CertificateFiles],
    now_unix: i64,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<Loaded, TlsServerError> {
    let seen = looks_of(files);
    let certificates = Arc::new(Certificates::load(files, now_unix)?);
    let mut server = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsServerError::Provider)?
        .with_no_client_auth()
        .with_cert_resolver(certificates.clone());
    server.alpn_protocols = vec![HTTP_1_1.to_vec()];
    server.ticketer = ticketer.clone();
    Ok(Loaded { server: Arc::new(server), certificates, files: files.to_vec(), seen })
}

fn looks_of(files: &[CertificateFiles]) -> Vec<Option<Looks>> {
    files.iter().flat_map(|files| [looks(&files.certificate), looks(&files.key)]).collect()
}

/// Follows links: a renewal often only moves one.
fn looks(path: &Path) -> Option<Looks> {
    let facts = fs::metadata(path).ok()?;
    Some(Looks {
        device: facts.dev(),
        inode: facts.ino(),
        len_bytes: facts.len(),
        modified: (facts.mtime(), facts.mtime_nsec()),
    })
}
