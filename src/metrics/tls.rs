//! What is counted of TLS with carriers and browsers, and until when our certificates are valid.
//!
//! Counted once a connection, so a lock is in nobody's way; never touched by a worker.

use std::sync::{Mutex, PoisonError};

use super::Labelled;

/// TLS on the listening side.
#[derive(Debug, Default)]
pub struct TlsCounts {
    /// Handshakes that came about: `tls1.3`, `tls1.3_resumed`, `tls1.2`, `tls1.2_resumed`.
    pub handshakes: Labelled,
    /// Connections that broke TLS or spoke none, by [`crate::net::tls::fault_label`], and
    /// `plain_http`.
    pub faults: Labelled,
    /// Certificates read again: `loaded`, or `failed` and nothing changed.
    pub reloads: Labelled,
    /// Each certificate's name, and the second since 1970 at which it expires.
    expiries: Mutex<Vec<(String, i64)>>,
}

impl TlsCounts {
    /// These are the certificates in use, and when they expire.
    pub fn tell_expiries(&self, expiries: impl IntoIterator<Item = (String, i64)>) {
        let mut told = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        *told = expiries.into_iter().collect();
    }

    /// The certificates in use, and when they expire, in seconds since 1970.
    pub fn expiries(&self) -> Vec<(String, i64)> {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
