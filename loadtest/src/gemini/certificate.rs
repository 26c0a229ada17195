//! A certificate authority made at start, and the stand-in's certificate from it.
//!
//! In:       nothing.
//! Out:      a TLS configuration for the server, and the authority as PEM for the relay to trust.
//! Bounds:   the names are `localhost`, `127.0.0.1` and `::1`.
//! Not here: the connections (`net::stream`).

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// TLS of a stand-in.
pub struct ServerTls {
    /// What the server speaks: TLS 1.2 and 1.3, no ALPN.
    pub config: Arc<ServerConfig>,
    /// The authority, for the relay's `ca_file`.
    pub ca_pem: String,
}

/// Makes an authority and a certificate for this machine.
pub fn make() -> Result<ServerTls, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name = named("load test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_string);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(names)?;
    // Another name than the authority's: OpenSSL takes a certificate whose subject is its issuer
    // for self-signed. And since Python 3.13 its clients want to be told which authority signed.
    server.distinguished_name = named("load test stand-in");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = server.signed_by(&key, &issuer)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a key and its own certificate fit");
    Ok(ServerTls { config: Arc::new(config), ca_pem })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
