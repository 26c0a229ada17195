//! Where calls go: the relay by its own and by its public name, and any other host that its markup
//! names.
//!
//! In:       a URL.
//! Out:      a connected [`Stream`], registered.
//! Bounds:   none of its own; connecting does not wait, resolving a name may.
//! Not here: what is asked there (`carrier::webhook`, `carrier::upgrade`).

use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};

use super::Carrier;
use crate::net::http::HttpError;
use crate::net::reactor::Reactor;
use crate::net::stream::Stream;

/// Where calls go, shared by all calls of a run.
pub struct Target {
    /// Host and port of the relay as named in requests.
    pub authority: String,
    /// The address that is connected to.
    pub address: SocketAddr,
    /// Set if the relay itself speaks TLS: the roots to trust.
    pub tls: Option<Arc<ClientConfig>>,
    /// `https://…` as a carrier would have it configured, if it differs: it is signed, it is named
    /// in `host`, and what the TwiML says about it leads to `address`.
    pub public_url: Option<String>,
    /// What requests are signed with.
    pub secrets: Secrets,
    /// Where a call begins.
    pub entry: Entry,
}

/// What carriers sign with; `None` sends no signature.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Twilio's auth token.
    pub twilio: Option<String>,
    /// The seed of Telnyx's Ed25519 key.
    pub telnyx: Option<[u8; 32]>,
    /// What the address of every other carrier's webhook says as `key`.
    pub key: Option<String>,
    /// What a browser shows in `hello`.
    pub web: Option<String>,
}

/// Where a call begins.
pub enum Entry {
    /// At the webhook of its carrier, `/NAME/incoming`; a browser, at `/web`.
    Standard,
    /// At a webhook, of this path.
    Webhook {
        /// Path and query.
        path: String,
    },
    /// At the stream itself, as if the markup had named it.
    Stream {
        /// Path and query.
        path: String,
        /// Name and value of each `<Parameter>`.
        parameters: Vec<(String, String)>,
    },
}

impl Target {
    /// Path and query of the webhook of a call; `None` where it begins at its stream.
    pub fn webhook(&self, carrier: Carrier) -> Option<String> {
        match &self.entry {
            Entry::Standard if carrier == Carrier::Web => None,
            Entry::Standard => Some(match (carrier, &self.secrets.key) {
                (Carrier::Twilio | Carrier::Telnyx, _) | (_, None) => {
                    format!("/{carrier}/incoming")
                }
                (_, Some(key)) => format!("/{carrier}/incoming?key={key}"),
            }),
            Entry::Webhook { path } => Some(path.clone()),
            Entry::Stream { .. } => None,
        }
    }

    /// The scheme and host of the relay's streams.
    pub fn stream_origin(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}", self.authority)
    }

    /// The host that requests name.
    pub fn host(&self) -> &str {
        let public = self.public_url.as_deref().and_then(split_url);
        public.map_or(&self.authority, |(authority, _)| authority)
    }

    /// The URL that Twilio has configured for `path`, and signs.
    pub fn signed_url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.public_url {
            Some(origin) => format!("{}{path}", origin.trim_end_matches('/')),
            None => format!("{scheme}://{}{path}", self.authority),
        }
    }

    /// Connects to the relay.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub fn connect(&self, reactor: &Reactor, index: usize) -> Result<Stream, HttpError> {
        connect(self.address, self.tls.as_ref(), &self.authority, reactor, index)
    }

    /// Connects to what a URL names; the relay under its own or its public name is the relay.
    /// `None`: the name has no address.
    pub fn connect_to(
        &self,
        authority: &str,
        url: &str,
        reactor: &Reactor,
        index: usize,
    ) -> Result<Option<Stream>, HttpError> {
        if authority == self.authority || authority == self.host() {
            return self.connect(reactor, index).map(Some);
        }
        let tls = if url.starts_with("wss:") { Some(self.any_tls()) } else { None };
        let port = if tls.is_some() { 443 } else { 80 };
        let Some(address) = resolve(authority, port) else { return Ok(None) };
        connect(address, tls.as_ref(), authority, reactor, index).map(Some)
    }

    fn any_tls(&self) -> Arc<ClientConfig> {
        self.tls.clone().unwrap_or_else(public_tls)
    }
}

/// TLS that trusts the public roots.
pub fn public_tls() -> Arc<ClientConfig> {
    tls_with(&[]).expect("no root is wrong where there is none")
}

/// TLS that trusts the public roots and these.
///
/// # Errors
/// Where one of these is no certificate that can be a root.
pub fn tls_with(more: &[CertificateDer<'_>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    more.iter().try_for_each(|root| roots.add(root.clone().into_owned()))?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// The first address of `host` or `host:port`. It may ask the name server, and wait for it.
pub fn resolve(authority: &str, default_port: u16) -> Option<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let with_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let found = if with_port && !authority.ends_with(']') {
        authority.to_socket_addrs()
    } else {
        (authority.trim_matches(['[', ']']), default_port).to_socket_addrs()
    };
    found.ok()?.next()
}

fn connect(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    authority: &str,
    reactor: &Reactor,
    index: usize,
) -> Result<Stream, HttpError> {
    let socket = TcpStream::connect(address)?;
    // Without it a small frame may wait for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    let mut stream = match tls {
        None => Stream::plain(socket),
        Some(config) => {
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            let name = ServerName::try_from(host.to_string()).map_err(|_| HttpError::Malformed)?;
            let tls = rustls::ClientConnection::new(Arc::clone(config), name);
            Stream::tls_client(socket, tls.map_err(|_| HttpError::Malformed)?)
        }
    };
    reactor.register(&mut stream, index)?;
    Ok(stream)
}

/// Authority and path-with-query of an absolute URL; the path is `/` where there is none.
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => Some(rest.split_at(at)),
        Some(at) => Some((&rest[..at], "/")),
        None => Some((rest, "/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_host_and_path() {
        assert_eq!(split_url("wss://h:8443/a?b"), Some(("h:8443", "/a?b")));
        assert_eq!(split_url("wss://h"), Some(("h", "/")));
        assert_eq!(split_url("wss://h?source=twilio"), Some(("h", "/")));
        assert_eq!(split_url("/relative"), None);
    }

    #[test]
    fn a_host_with_and_without_port_resolves() {
        assert_eq!(resolve("127.0.0.1:81", 80), Some("127.0.0.1:81".parse().unwrap()));
        assert_eq!(resolve("127.0.0.1", 80), Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!(resolve("[::1]:81", 80), Some("[::1]:81".parse().unwrap()));
        assert_eq!(resolve("[::1]", 80), Some("[::1]:80".parse().unwrap()));
    }
}
