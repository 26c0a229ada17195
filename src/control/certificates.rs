//! Certificates read again when their files change, while calls go on.
//!
//! In:       the time.
//! Out:      certificates for connections that come from now on, a log line, figures.
//! Bounds:   looked at every [`CERTIFICATE_LOOK`], read only where a file looks different.
//! Not here: what is in the files (`net::tls`).
//!
//! A renewal writes two files, and may be seen between them. The key then is not that of the
//! certificate: nothing changes, and the next look finds both.

use std::sync::Arc;

use crate::clock::{Nanos, unix_seconds};
use crate::limits::CERTIFICATE_LOOK;
use crate::metrics::Shared;
use crate::net::{ReadCertificates, TlsServer, TlsServerError};

/// The certificates of the listening side.
#[derive(Debug)]
pub struct Certificates {
    tls: Arc<TlsServer>,
    shared: Arc<Shared>,
    next_look: Nanos,
}

impl Certificates {
    /// Those in use, which show themselves in the figures from now on.
    pub fn new(tls: Arc<TlsServer>, shared: Arc<Shared>) -> Certificates {
        tell(&tls, &shared);
        Certificates { tls, shared, next_look: Nanos::ZERO.plus(CERTIFICATE_LOOK) }
    }

    /// When [`Certificates::look`] is due.
    pub(super) fn next_look(&self) -> Nanos {
        self.next_look
    }

    /// Reads the files again if they have changed.
    pub(super) fn look(&mut self, now: Nanos) {
        self.next_look = now.plus(CERTIFICATE_LOOK);
        if self.tls.has_changed() {
            // It has said why in the log.
            let _ = reload(&self.tls, &self.shared);
        }
    }
}

/// Reads the certificates again, says in the log and in the figures what came of it. Calls that go
/// on keep what they began with.
///
/// # Errors
/// What is wrong with the files; then nothing changes.
pub fn reload(tls: &TlsServer, shared: &Shared) -> Result<(), TlsServerError> {
    read_again(tls, shared).map(|read| install(tls, shared, read))
}

/// The same, up to what is shown to those who come: that is left to [`install`].
///
/// # Errors
/// What is wrong with the files.
pub fn read_again(tls: &TlsServer, shared: &Shared) -> Result<ReadCertificates, TlsServerError> {
    tls.read_again(now_unix()).inspect_err(|why| {
        shared.tls.reloads.count("failed");
        log::error!("event=certificate_refused: the one before stays in use: {why}");
    })
}

/// From now on those who come are shown what was `read`.
pub fn install(tls: &TlsServer, shared: &Shared, read: ReadCertificates) {
    tls.install(read);
    shared.tls.reloads.count("loaded");
    tell(tls, shared);
    for certificate in tls.certificates() {
        let left = (certificate.not_after - now_unix()) / 86_400;
        log::info!("event=certificate_loaded name={} days_left={left}", certificate.name);
    }
}

/// Seconds since 1970, as certificates count them.
pub fn now_unix() -> i64 {
    i64::try_from(unix_seconds()).unwrap_or(i64::MAX)
}

fn tell(tls: &TlsServer, shared: &Shared) {
    let certificates = tls.certificates().into_iter();
    shared.tls.tell_expiries(certificates.map(|one| (one.name, one.not_after)));
}
