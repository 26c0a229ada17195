//! The stand-in's certificate: one made at start, with an authority of its own, or one from files.
//!
//! In:       the names it is dialled by; or a directory.
//! Out:      a TLS configuration for the server, and the authority as PEM for the relay to trust.
//! Bounds:   names of this machine (`localhost`, `127.0.0.1`, `::1`) are always among those made; a
//!           file is read up to [`FILE_BYTES_MAX`]. What is in a directory is never overwritten.
//! Not here: the connections (`net::stream`).

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The names of this machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The longest file of a certificate or a key.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file of the certificate, with its chain, in a directory.
pub const CERTIFICATE_FILE: &str = "cert.pem";

/// The file of its key.
pub const KEY_FILE: &str = "key.pem";

/// The file of the authority that clients are to trust; only where it was made here.
pub const AUTHORITY_FILE: &str = "ca.pem";

/// TLS of a stand-in.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What the server speaks: TLS 1.2 and 1.3, no ALPN.
    pub config: Arc<ServerConfig>,
    /// The authority, for the relay's `ca_file`; empty where the certificate came from elsewhere.
    pub ca_pem: String,
}

/// Why there is no certificate.
#[derive(Debug)]
pub enum CertificateError {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file is longer than [`FILE_BYTES_MAX`].
    TooLong(PathBuf),
    /// Of certificate and key one is there, and this file is not.
    Missing(PathBuf),
    /// A file holds none.
    NotPem(PathBuf),
    /// Certificate and key are not one another's, or of a kind nobody speaks.
    Unfit(rustls::Error),
    /// None could be made: a name is no host's.
    Unmade(rcgen::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::File(file, error) => write!(f, "{}: {error}", file.display()),
            CertificateError::TooLong(file) => {
                write!(f, "{}: longer than {FILE_BYTES_MAX} bytes", file.display())
            }
            CertificateError::Missing(file) => {
                write!(f, "{}: not there, and its counterpart is", file.display())
            }
            CertificateError::NotPem(file) => {
                write!(f, "{}: neither certificate nor key as PEM", file.display())
            }
            CertificateError::Unfit(error) => write!(f, "certificate and key: {error}"),
            CertificateError::Unmade(error) => write!(f, "no certificate can be made: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> CertificateError {
        CertificateError::Unmade(error)
    }
}

/// Makes an authority and a certificate for this machine.
pub fn make() -> Result<ServerTls, rcgen::Error> {
    let made = made_for(&[])?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.certificate.der().clone()],
            PrivateKeyDer::Pkcs8(made.key.serialize_der().into()),
        )
        .expect("a key and its own certificate fit");
    Ok(ServerTls { config: Arc::new(config), ca_pem: made.ca_pem })
}

/// The certificate and key that `directory` holds. Where it holds neither, they are made for this
/// machine and `names`, and kept there with the authority that clients are to trust: a relay that
/// trusts it once trusts every later run.
pub fn kept_in(directory: &Path, names: &[String]) -> Result<ServerTls, CertificateError> {
    let [certificate, key, authority] =
        [CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE].map(|name| directory.join(name));
    match (certificate.exists(), key.exists()) {
        (true, true) => {}
        (false, false) => {
            let made = made_for(names)?;
            let failed = |error| CertificateError::File(directory.to_path_buf(), error);
            fs::create_dir_all(directory).map_err(failed)?;
            keep(&authority, 0o644, &made.ca_pem)?;
            keep(&certificate, 0o644, &made.certificate.pem())?;
            keep(&key, 0o600, &made.key.serialize_pem())?;
        }
        (false, true) => return Err(CertificateError::Missing(certificate)),
        (true, false) => return Err(CertificateError::Missing(key)),
    }
    let chain = certificates_in(&certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(read(&key)?.as_bytes());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret.map_err(|_| CertificateError::NotPem(key))?)
        .map_err(CertificateError::Unfit)?;
    let ca_pem = if authority.exists() { read(&authority)? } else { String::new() };
    Ok(ServerTls { config: Arc::new(config), ca_pem })
}

/// The certificates of a PEM file, of which there is one at least.
fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(file)?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.ok().filter(|it| !it.is_empty());
    found.ok_or_else(|| CertificateError::NotPem(file.to_path_buf()))
}

/// Writes a new file; one that is there already is an error.
fn keep(file: &Path, mode: u32, text: &str) -> Result<(), CertificateError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.map_err(|error| CertificateError::File(file.to_path_buf(), error))
}

fn read(file: &Path) -> Result<String, CertificateError> {
    let failed = |error| CertificateError::File(file.to_path_buf(), error);
    let mut text = String::new();
    let opened = fs::File::open(file).map_err(failed)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(CertificateError::TooLong(file.to_path_buf())),
        false => Ok(text),
    }
}

/// What was made.
struct Made {
    certificate: rcgen::Certificate,
    key: KeyPair,
    ca_pem: String,
}

/// A certificate for this machine and `names`, signed by an authority that is forgotten at once.
fn made_for(names: &[String]) -> Result<Made, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name = named("load test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut all: Vec<String> = LOCAL.map(str::to_string).into();
    all.extend(names.iter().filter(|name| !LOCAL.contains(&name.as_str())).cloned());
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(all)?;
    // Another name than the authority's: OpenSSL takes a certificate whose subject is its issuer
    // for self-signed. And since Python 3.13 its clients want to be told which authority signed.
    server.distinguished_name = named("load test stand-in");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(Made { certificate, key, ca_pem })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Directory;

    #[test]
    fn what_was_made_once_is_found_again_and_its_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = Directory::new().unwrap();
        let kept = directory.path().join("stand-in");
        let names = ["relay.example".to_string()];
        let first = kept_in(&kept, &names).unwrap();
        let again = kept_in(&kept, &[]).unwrap();
        assert!(first.ca_pem.contains("BEGIN CERTIFICATE"));
        assert_eq!(first.ca_pem, again.ca_pem);
        let mode = fs::metadata(kept.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }

    #[test]
    fn half_a_certificate_and_files_that_hold_none_are_told_by_name() {
        let directory = Directory::new().unwrap();
        let [certificate, key] =
            [CERTIFICATE_FILE, KEY_FILE].map(|name| directory.path().join(name));
        fs::write(&certificate, "").unwrap();
        let told = kept_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(&told, CertificateError::Missing(file) if *file == key), "{told}");
        fs::write(&key, "").unwrap();
        let told = kept_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(&told, CertificateError::NotPem(file) if *file == certificate), "{told}");
        fs::write(&certificate, made_for(&[]).unwrap().certificate.pem()).unwrap();
        let told = kept_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(&told, CertificateError::NotPem(file) if *file == key), "{told}");
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let told = kept_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(&told, CertificateError::Unfit(_)), "{told}");
        fs::write(&key, " ".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        let told = kept_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(&told, CertificateError::TooLong(_)), "{told}");
    }

    #[test]
    fn a_name_that_is_no_hosts_is_refused() {
        let directory = Directory::new().unwrap();
        let names = ["h\u{f6}st".to_string()];
        let told = kept_in(&directory.path().join("new"), &names).unwrap_err();
        assert!(matches!(told, CertificateError::Unmade(_)), "{told}");
    }
}
