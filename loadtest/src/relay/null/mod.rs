//! The floor: the cheapest relay that user space allows, to hold others against.
//!
//! In:       `RELAY_LISTEN`, `RELAY_PUBLIC_URL`, `RELAY_GEMINI_URL`, `RELAY_GEMINI_MODEL`,
//!           `RELAY_GEMINI_CA_FILE`, `GEMINI_API_KEY`.
//! Out:      calls joined to model sessions, until SIGTERM.
//! Bounds:   [`CALLS_MAX`] calls, each within the bounds of [`call`]. It has no deadlines: callers
//!           have, and it ends with the load test that started it.
//! Not here: every other relay; whatever a relay is for.
//!
//! # The rule
//!
//! It does: the same sockets as any relay between a carrier and the model (one webhook, one stream,
//! one line to the model for each call); TLS to the model by rustls with AES-128-GCM, unless its
//! URL is `ws://`; for each 20 ms frame of a caller one read and one write of a message for the
//! model with as many bytes as the relay's, base64 of 640 bytes of PCM; for each message of model
//! audio one read and one write of a message for the phone with as many bytes as mu-law of that
//! duration has; one thread, one epoll instance, edge-triggered.
//!
//! It does not: decode, convert or encode audio, unmask what callers say or read JSON on that path
//! (fixed places of a message tell its kind), check signatures, pace, send marks, answer
//! `interrupted` or tools, follow `goAway`, time anything. What it sends is silence of the right
//! length, made ahead. It understands only the callers and the stand-in of this load test, with
//! frames of 20 ms.
//!
//! So of its report only CPU, memory, the number of messages and their latency mean something;
//! there is no content.

mod call;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs as _};
use std::sync::Arc;

use mio::net::TcpListener;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{LISTENING, leave_with_parent};
use crate::net::reactor::{Reactor, Ready};
use crate::net::stream::Stream;
use call::{Call, Fate, Side};
use wire::SCRATCH_BYTES;

/// The hidden subcommand under which a program that calls [`serve`] is the floor.
pub const SUBCOMMAND: &str = "relay-null";

/// Calls and webhooks at once; a connection beyond it is closed.
pub const CALLS_MAX: usize = 20_000;

const LISTENER: usize = 0;

/// What all calls share.
struct Shared {
    /// `wss://…/twilio/media` as the webhook names it.
    stream_url: String,
    /// Where the model is.
    model: SocketAddr,
    /// Host and port of the model as the upgrade names it.
    authority: String,
    /// `None` speaks plainly.
    tls: Option<Arc<ClientConfig>>,
    model_name: String,
    api_key: String,
}

/// Runs the floor in this process until it is told to stop.
///
/// # Errors
/// A setting that is missing or wrong, or a socket that cannot be had.
pub fn serve() -> Result<(), String> {
    leave_with_parent();
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(0);
        }
    });
    let shared = Shared::from_environment()?;
    let listen = setting("RELAY_LISTEN")?;
    let listener = StdListener::bind(&listen).map_err(|error| format!("{listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    println!("{LISTENING}{address}");
    let listener = TcpListener::from_std(listener);
    run(listener, &shared).map_err(|error| format!("the floor failed: {error}"))
}

fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

impl Shared {
    fn from_environment() -> Result<Shared, String> {
        let public = setting("RELAY_PUBLIC_URL")?;
        let url = setting("RELAY_GEMINI_URL")?;
        let (scheme, authority) = url.split_once("://").ok_or("RELAY_GEMINI_URL is no URL")?;
        let authority = authority.trim_end_matches('/').to_string();
        let port = if scheme == "wss" { 443 } else { 80 };
        let model = resolve(&authority, port).ok_or_else(|| format!("{authority}: no address"))?;
        let host = public.split_once("://").map_or(&*public, |(_, host)| host);
        Ok(Shared {
            stream_url: format!("wss://{}/twilio/media", host.trim_end_matches('/')),
            model,
            authority,
            tls: if scheme == "wss" { Some(tls()?) } else { None },
            model_name: setting("RELAY_GEMINI_MODEL")?,
            api_key: setting("GEMINI_API_KEY")?,
        })
    }
}

/// An address of `host:port`, of the older family where there are both: the stand-in listens there.
fn resolve(authority: &str, default_port: u16) -> Option<SocketAddr> {
    let found = match authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(_) => authority.to_socket_addrs(),
        None => (authority, default_port).to_socket_addrs(),
    };
    found.ok()?.min_by_key(SocketAddr::is_ipv6)
}

/// TLS 1.3 with AES-128-GCM and nothing else, trusting `RELAY_GEMINI_CA_FILE`.
fn tls() -> Result<Arc<ClientConfig>, String> {
    let file = setting("RELAY_GEMINI_CA_FILE")?;
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(&file).map_err(|error| format!("{file}: {error}"))?
    {
        let certificate = certificate.map_err(|error| format!("{file}: {error}"))?;
        roots.add(certificate).map_err(|error| format!("{file}: {error}"))?;
    }
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn run(mut listener: TcpListener, shared: &Shared) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    reactor.register_listener(&mut listener, LISTENER)?;
    let mut calls: Vec<Option<Call>> = Vec::new();
    let mut free = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut ready = Vec::new();
    loop {
        reactor.wait(0, None, &mut ready)?;
        for &Ready { index, ending } in &ready {
            let Some(leg) = index.checked_sub(1) else {
                accept(&listener, &reactor, &mut calls, &mut free);
                continue;
            };
            let (place, side) = (leg / 2, Side::of(leg % 2));
            let Some(call) = calls.get_mut(place).and_then(Option::as_mut) else { continue };
            let fate = call.handle_ready(side, ending, shared, &reactor, &mut scratch);
            if fate == Fate::Over {
                calls[place] = None;
                free.push(place);
            }
        }
    }
}

/// Takes every connection that waits. A socket that cannot be had is the caller's failure.
fn accept(
    listener: &TcpListener,
    reactor: &Reactor,
    calls: &mut Vec<Option<Call>>,
    free: &mut Vec<usize>,
) {
    while let Ok((socket, _)) = listener.accept() {
        // Without it a small frame may wait for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        let place = match free.pop() {
            Some(place) => place,
            None if calls.len() < CALLS_MAX => {
                calls.push(None);
                calls.len() - 1
            }
            None => continue,
        };
        let mut stream = Stream::plain(socket);
        match reactor.register(&mut stream, 1 + 2 * place) {
            Ok(()) => calls[place] = Some(Call::new(stream, 2 + 2 * place)),
            Err(_) => free.push(place),
        }
    }
}
