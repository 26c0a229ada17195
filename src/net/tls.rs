//! TLS: to the model as client, from carriers and browsers as server. Only here rustls is named.
//!
//! TLS 1.2 and 1.3, session tickets on, as client AES-128-GCM first (the provider's own order puts
//! AES-256 before it).
//! Bounds:   one record of at most 16 KiB is encrypted and not yet with the kernel.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | one connection's TLS, of either side |
//! | `client` | what connections to the model share |
//! | `server` | what connections from outside share; their certificates, loaded anew |
//! | `certificates` | certificates and keys from files, found by the name a client asks for |

mod certificates;
mod client;
mod server;
mod session;

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificates::{Certificate, CertificateFault, CertificateFile, TlsServerError};
pub use client::{TlsConfig, TlsConfigError};
pub use server::{ReadCertificates, TlsServer};
pub(super) use session::Session;
pub use session::fault_label;

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
