//! Whom calls to a URL trust: the public roots, and those of a file.
//!
//! In:       whether the URL is one of TLS, and the file.
//! Out:      a TLS configuration; an error names the file and what is wrong with it.
//! Bounds:   a file of at most [`FILE_BYTES_MAX`].
//! Not here: the connections (the library's `net::stream`).

use std::path::Path;
use std::sync::Arc;

use loadtest::carrier::target::tls_with;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The longest file of certificates: more than every public root there is.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// TLS for calls; `None` for a URL without it, which no certificate can help.
pub(crate) fn tls(wanted: bool, file: Option<&Path>) -> Result<Option<Arc<ClientConfig>>, String> {
    match (wanted, file) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err("--ca-file is for https and wss".into()),
        (true, None) => trusting(&[]).map(Some),
        (true, Some(file)) => {
            let roots = read(file).and_then(|roots| trusting(&roots).map(Some));
            roots.map_err(|why| format!("{}: {why}", file.display()))
        }
    }
}

fn trusting(more: &[CertificateDer<'_>]) -> Result<Arc<ClientConfig>, String> {
    tls_with(more).map_err(|error| error.to_string())
}

/// Every certificate of a PEM file, at least one.
fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes"));
    }
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err("no certificate in it".into()),
        Ok(roots) => Ok(roots),
        Err(error) => Err(error.to_string()),
    }
}
