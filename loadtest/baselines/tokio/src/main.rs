//! A relay between Twilio Media Streams and the Gemini Live API, as a good engineer writes it in a
//! day: axum and tokio-tungstenite, rustls, serde_json. It stands beside Vocaris in
//! `loadtest compare`.
//!
//! In:       `RELAY_LISTEN`, `RELAY_PUBLIC_URL`, `RELAY_GEMINI_URL`, `RELAY_GEMINI_MODEL`,
//!           `RELAY_GEMINI_CA_FILE` (one more root), `GEMINI_API_KEY`, `TWILIO_AUTH_TOKEN`
//!           (signatures are checked where it is set), `RELAY_THREADS` (1: the runtime of one
//!           thread; absent: one a core).
//! Out:      TwiML for the webhook; each call joined to a model session. `listening on ADDRESS` on
//!           standard output. It ends on SIGTERM, and when its standard input ends.
//! Bounds:   [`FORM_BYTES_MAX`] of a webhook; those of [`call`].
//! Not here: tools, resumption and rotation of model sessions, recording, metrics.

mod audio;
mod call;
mod message;

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::serve::ListenerExt;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// The longest webhook.
const FORM_BYTES_MAX: usize = 64 << 10;

/// The read buffer of a socket; tungstenite's own default is 128 KiB, for every call.
pub(crate) const READ_BUFFER_BYTES: usize = 16 << 10;

/// What all calls share.
pub(crate) struct Settings {
    public_url: String,
    /// Scheme and host of the model.
    pub(crate) gemini_url: String,
    pub(crate) model: String,
    pub(crate) api_key: String,
    auth_token: Option<String>,
    pub(crate) tls: Arc<ClientConfig>,
}

fn main() {
    if let Err(problem) = start() {
        eprintln!("relay-tokio: {problem}");
        std::process::exit(1);
    }
}

fn start() -> Result<(), String> {
    let settings = Arc::new(Settings::from_environment()?);
    let mut runtime = match std::env::var("RELAY_THREADS") {
        Err(_) => Builder::new_multi_thread(),
        Ok(threads) => match threads.parse() {
            Ok(1) => Builder::new_current_thread(),
            Ok(threads @ 2..=1024) => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            }
            _ => return Err("RELAY_THREADS is a number from 1 to 1024".into()),
        },
    };
    let runtime = runtime.enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Arc<Settings>) -> Result<(), String> {
    let listen = setting("RELAY_LISTEN")?;
    let listener = TcpListener::bind(&listen).await;
    let listener = listener.map_err(|error| format!("{listen}: {error}"))?;
    let address: SocketAddr = listener.local_addr().map_err(|error| error.to_string())?;
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    println!("listening on {address}");
    let listener = listener.tap_io(|socket| {
        // A socket that has gone already is found out when it is read.
        let _ = socket.set_nodelay(true);
    });
    let doors = Router::new()
        .route("/twilio/incoming", post(incoming))
        .route("/twilio/media", any(media))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(settings);
    tokio::select! {
        served = axum::serve(listener, doors) => served.map_err(|error| error.to_string()),
        _ = terminated.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = parent_gone() => Ok(()),
    }?;
    // What waits for standard input would keep the runtime from ending.
    std::process::exit(0);
}

/// Waits until standard input ends: whoever started us has gone.
async fn parent_gone() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    while matches!(stdin.read(&mut byte).await, Ok(1..)) {}
}

fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

impl Settings {
    fn from_environment() -> Result<Settings, String> {
        let url = |name| setting(name).map(|url| url.trim_end_matches('/').to_string());
        Ok(Settings {
            public_url: url("RELAY_PUBLIC_URL")?,
            gemini_url: url("RELAY_GEMINI_URL")?,
            model: setting("RELAY_GEMINI_MODEL")?,
            api_key: setting("GEMINI_API_KEY")?,
            auth_token: std::env::var("TWILIO_AUTH_TOKEN").ok(),
            tls: Arc::new(tls()?),
        })
    }

    /// The public URL of a path, of scheme `https` or `wss`.
    fn url(&self, path: &str, websocket: bool) -> String {
        match (websocket, self.public_url.strip_prefix("http")) {
            (true, Some(rest)) => format!("ws{rest}{path}"),
            _ => format!("{}{path}", self.public_url),
        }
    }

    /// X-Twilio-Signature: HMAC-SHA1 over the URL and the sorted form.
    fn is_signed(&self, headers: &HeaderMap, url: &str, form: &[(String, String)]) -> bool {
        let Some(token) = &self.auth_token else { return true };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
        let mut sorted = form.to_vec();
        sorted.sort();
        sorted.dedup();
        let signed = sorted.iter().fold(url.to_string(), |text, (name, value)| text + name + value);
        let shown = headers.get("x-twilio-signature").map(|it| STANDARD.decode(it.as_bytes()));
        matches!(shown, Some(Ok(tag)) if hmac::verify(&key, signed.as_bytes(), &tag).is_ok())
    }
}

/// The usual roots, and those of `RELAY_GEMINI_CA_FILE`.
fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Ok(file) = std::env::var("RELAY_GEMINI_CA_FILE") {
        let wrong = |error: &dyn std::fmt::Display| format!("{file}: {error}");
        for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The webhook: a call comes in.
async fn incoming(
    State(settings): State<Arc<Settings>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    if !settings.is_signed(&headers, &settings.url("/twilio/incoming", false), &form) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let from = form.iter().find(|(name, _)| name == "From").map_or("unknown", |(_, it)| it);
    let url = escape(&settings.url("/twilio/media", true));
    let twiml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect><Stream url=\"{url}\">\
         <Parameter name=\"from\" value=\"{}\"/></Stream></Connect></Response>",
        escape(from)
    );
    ([(header::CONTENT_TYPE, "text/xml")], twiml).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The stream of a call.
async fn media(
    State(settings): State<Arc<Settings>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !settings.is_signed(&headers, &settings.url("/twilio/media", true), &[]) {
        return StatusCode::FORBIDDEN.into_response();
    }
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(call::MESSAGE_BYTES_MAX)
        .on_upgrade(|phone| call::run(phone, settings))
}
