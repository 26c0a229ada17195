//! TLS to the model: the only file that names rustls.
//!
//! TLS 1.2 and 1.3, no ALPN (an `h2` offer would break the HTTP/1.1 upgrade), session tickets on,
//! AES-128-GCM first (the provider's own order puts AES-256 before it).
//! Bounds:   one record of at most [`RECORD_MAX_BYTES`] is encrypted and not yet with the kernel.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore};

use super::stream::{Received, read_once};
use crate::buf::{RecvBuf, SendBuf};

/// Plaintext in one record (RFC 8446 section 5.1).
const RECORD_MAX_BYTES: usize = 16 * 1024;

/// What every TLS connection to the model shares: roots, suites, tickets.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    client: Arc<ClientConfig>,
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
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
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

/// Makes this provider that of every TLS client in the process that is not ours.
pub fn install_provider() {
    // Whoever was first has installed the same.
    let _ = provider().install_default();
}

/// The provider with AES-128-GCM in front: as strong as the service asks for, and cheaper.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 1,
        _ => 2,
    });
    provider
}

/// A TCP connection with our TLS client on it.
pub struct TlsClient {
    socket: TcpStream,
    session: ClientConnection,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// TLS on `socket`, to a server that must prove to be `host`. Bytes may be sent at once: they
    /// leave when the handshake is done.
    ///
    /// # Errors
    /// `InvalidInput` if `host` is neither a DNS name nor an IP address.
    pub fn new(socket: TcpStream, config: &TlsConfig, host: &str) -> io::Result<TlsClient> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|why| io::Error::new(ErrorKind::InvalidInput, why))?;
        let mut session =
            ClientConnection::new(config.client.clone(), name).map_err(io::Error::other)?;
        // The caller bounds what it sends before it gets here.
        session.set_buffer_limit(None);
        Ok(TlsClient { socket, session })
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn holds_unsent(&self) -> bool {
        self.session.wants_write()
    }

    pub(super) fn receive(
        &mut self,
        ciphertext: &mut RecvBuf,
        into: &mut RecvBuf,
    ) -> io::Result<Received> {
        let before = into.len_bytes();
        let received = read_once(&mut self.socket, ciphertext)?;
        while !ciphertext.is_empty() {
            let mut rest = ciphertext.unused();
            let taken = self.session.read_tls(&mut rest)?;
            ciphertext.consume(taken);
            let state = match self.session.process_new_packets() {
                Ok(state) => state,
                Err(why) => {
                    // What was whole before the fault still counts: often it is the reason.
                    take_all_plaintext(&mut self.session, into);
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
            };
            take_plaintext(&mut self.session, state.plaintext_bytes_to_read(), into)?;
            if state.peer_has_closed() {
                ciphertext.consume(ciphertext.len_bytes());
                return Ok(Received::End);
            }
        }
        Ok(match received {
            Received::All(_) => Received::All(into.len_bytes() - before),
            Received::Some(_) => Received::Some(into.len_bytes() - before),
            Received::End => Received::End,
        })
    }

    /// Encrypts no more than one record at a time, and none while the kernel has not taken the
    /// one before: what waits, waits as plaintext, where it can be counted and taken back.
    pub(super) fn send(&mut self, from: &mut SendBuf) -> io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(false);
            }
            from.consume_pinned();
            if self.session.is_handshaking() {
                return Ok(false);
            }
            if from.is_empty() {
                return Ok(true);
            }
            let record = from.len_bytes().min(RECORD_MAX_BYTES);
            self.session.writer().write_all(&from.waiting()[..record])?;
            from.pin(record);
        }
    }

    /// Hands ciphertext to the kernel. True if none is left.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn take_plaintext(
    session: &mut ClientConnection,
    bytes: usize,
    into: &mut RecvBuf,
) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let n = session.reader().read(into.space(left))?;
        into.commit(n);
        left -= n;
    }
    Ok(())
}

/// Takes what plaintext there is, after a fault that hides how much that is.
fn take_all_plaintext(session: &mut ClientConnection, into: &mut RecvBuf) {
    while let Ok(n @ 1..) = session.reader().read(into.space(RECORD_MAX_BYTES)) {
        into.commit(n);
    }
}
