//! One call over its sockets: webhook, TwiML, stream, hang-up, and the TwiML after the stream.
//!
//! In:       a [`CallSpec`]; readiness and time from the thread that owns the call.
//! Out:      a [`CallRecord`], whatever happens.
//! Bounds:   every phase has a deadline: [`WEBHOOK_WAIT`], [`HANDSHAKE_WAIT`], [`CLOSE_WAIT`],
//!           [`SILENCE_WAIT`]; the talk ends with its plan.
//! Not here: what is said on the stream (`twilio::phone`), many calls (`twilio::fleet`).

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use super::checker::Violation;
use super::message::Sids;
use super::phone::{Heard, Phone, SentFrame};
use super::playout::PlayoutCounts;
use super::signature;
use super::twiml::{self, StreamNoun, Twiml, TwimlError};
use crate::clock::{Clock, MILLIS, Nanos, SECONDS};
use crate::net::http::{Exchange, HttpError, Response};
use crate::net::link::{Closing, Link, Received, SendError};
use crate::net::reactor::Reactor;
use crate::net::stream::Stream;
use crate::schedule::{Arrivals, MediaPlan};
use crate::signal::CallerVoice;

/// How long a webhook may take, connecting included: Twilio's own limit.
pub const WEBHOOK_WAIT: Nanos = 15 * SECONDS;

/// How long the upgrade may take.
pub const HANDSHAKE_WAIT: Nanos = 10 * SECONDS;

/// How long the server has to close after our close frame.
pub const CLOSE_WAIT: Nanos = 5 * SECONDS;

/// How long a caller that has gone silent waits for the server to end the call.
pub const SILENCE_WAIT: Nanos = 90 * SECONDS;

/// The grid on which media clocks begin.
const FRAME: Nanos = 20 * MILLIS;

/// Where calls go, shared by all calls of a run.
pub struct Target {
    /// Host and port of the relay as named in requests.
    pub authority: String,
    /// The address that is connected to.
    pub address: SocketAddr,
    /// Set if the relay itself speaks TLS: the roots to trust.
    pub tls: Option<Arc<ClientConfig>>,
    /// `https://…` as Twilio would have it configured, if it differs: it is signed, it is named
    /// in `host`, and what the TwiML says about it leads to `address`.
    pub public_url: Option<String>,
    /// The token requests are signed with; `None` sends no signature.
    pub auth_token: Option<String>,
    /// Where a call begins.
    pub entry: Entry,
}

/// Where a call begins.
pub enum Entry {
    /// At a webhook, of this path.
    Webhook {
        /// Path and query.
        path: String,
    },
    /// At the stream itself, as if TwiML had named it.
    Stream {
        /// Path and query.
        path: String,
        /// Name and value of each `<Parameter>`.
        parameters: Vec<(String, String)>,
    },
}

/// How a caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// `stop`, then the closing handshake.
    StopAndClose,
    /// The closing handshake, without `stop`.
    CloseOnly,
    /// The connection is reset.
    Reset,
    /// Nothing more is sent, and nothing is closed.
    Silence,
}

/// One call to be made.
pub struct CallSpec {
    /// Its number within the run.
    pub index: usize,
    /// Its identifiers.
    pub sids: Sids,
    /// The caller's number.
    pub from: String,
    /// The number called.
    pub to: String,
    /// Where it goes.
    pub target: Arc<Target>,
    /// When it begins.
    pub starts_at: Nanos,
    /// What is said.
    pub media: Arc<MediaPlan>,
    /// The voice that says it.
    pub voice: CallerVoice,
    /// From the last frame to the hang-up.
    pub linger: Nanos,
    /// How it ends.
    pub hangup: Hangup,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The webhook was not answered.
    Webhook(HttpError),
    /// The webhook was answered with another status than 200.
    WebhookStatus(u16),
    /// The webhook's body is not TwiML that Twilio runs.
    Twiml(TwimlError),
    /// The TwiML has no stream; these are its verbs.
    NoStream(Vec<String>),
    /// The stream's host has no address.
    Unresolved(String),
    /// The upgrade was not answered.
    Handshake(HttpError),
    /// The upgrade was answered with another status than 101 (error 31920).
    Refused(u16),
    /// A 101 that is not one: wrong accept key, or extensions and protocols nobody asked for.
    BadUpgrade,
    /// A deadline passed.
    Late(&'static str),
    /// The run was stopped.
    Stopped,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller left as planned.
    HungUp,
    /// The relay ended the stream first.
    ClosedByRelay(Closing),
    /// The call failed.
    Failed(Failure),
}

/// The request after the stream, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The status; 0 if there was no answer.
    pub status: u16,
    /// What follows the stream.
    pub twiml: Result<Twiml, TwimlError>,
}

/// When the stations of a call were reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallTimes {
    /// The call began.
    pub started: Nanos,
    /// The TwiML was read.
    pub answered: Option<Nanos>,
    /// The upgrade was done.
    pub opened: Option<Nanos>,
    /// The stream ended.
    pub closed: Option<Nanos>,
}

/// What happened to a call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Its number within the run.
    pub index: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// How the relay closed, where it did.
    pub closing: Option<Closing>,
    /// The TwiML of the webhook.
    pub twiml: Option<Twiml>,
    /// The TwiML after the stream, where the relay closed first and named an `action`.
    pub after: Option<After>,
    /// When.
    pub times: CallTimes,
    /// Every frame sent, in order.
    pub sent: Vec<SentFrame>,
    /// Everything heard.
    pub heard: Heard,
    /// What the playout clock counted.
    pub playout: PlayoutCounts,
}

/// A call under way.
pub struct Caller {
    spec: CallSpec,
    /// What its sockets are registered as.
    slot: usize,
    clock: Clock,
    phase: Phase,
    phone: Phone,
    noun: Option<StreamNoun>,
    twiml: Option<Twiml>,
    after: Option<After>,
    times: CallTimes,
    closing: Option<Closing>,
    outcome: Option<Outcome>,
}

enum Phase {
    /// Until the call begins.
    Waiting,
    /// The webhook, or the request after the stream.
    Asking { stream: Stream, exchange: Exchange, deadline: Nanos },
    /// The upgrade; `key` is ours.
    Dialling { stream: Stream, exchange: Exchange, key: String, deadline: Nanos },
    /// The stream is open.
    Talking { link: Link },
    /// The plan is spoken; the hang-up waits for its time.
    Lingering { link: Link, until: Nanos },
    /// We have left, or gone silent; the relay is to close.
    Leaving { link: Link, deadline: Nanos },
    /// The record is complete.
    Done,
}

impl Phase {
    /// The socket, where there is one.
    fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Phase::Asking { stream, .. } | Phase::Dialling { stream, .. } => Some(stream),
            Phase::Talking { link }
            | Phase::Lingering { link, .. }
            | Phase::Leaving { link, .. } => Some(link.stream()),
            Phase::Waiting | Phase::Done => None,
        }
    }
}

impl Caller {
    /// A call that has not begun. Its sockets will be registered as `slot`.
    pub fn new(spec: CallSpec, slot: usize, clock: Clock) -> Caller {
        let phone = Phone::new(spec.sids.clone(), spec.voice, &spec.media);
        Caller {
            spec,
            slot,
            clock,
            phase: Phase::Waiting,
            phone,
            noun: None,
            twiml: None,
            after: None,
            times: CallTimes::default(),
            closing: None,
            outcome: None,
        }
    }

    /// True once there is nothing more to happen.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// True while the stream is open.
    pub fn is_talking(&self) -> bool {
        matches!(self.phase, Phase::Talking { .. } | Phase::Lingering { .. })
    }

    /// When [`Caller::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Nanos> {
        let phone = self.phone.next_timeout();
        match &self.phase {
            Phase::Waiting => Some(self.spec.starts_at),
            Phase::Asking { deadline, .. } | Phase::Dialling { deadline, .. } => Some(*deadline),
            Phase::Talking { .. } => phone,
            Phase::Lingering { until, .. } => Some(phone.map_or(*until, |at| at.min(*until))),
            Phase::Leaving { deadline, .. } => Some(*deadline),
            Phase::Done => None,
        }
    }

    /// The time of [`Caller::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Nanos, reactor: &Reactor) {
        match &self.phase {
            Phase::Waiting => self.begin(now, reactor),
            Phase::Asking { .. } if self.outcome.is_some() => self.finish(),
            Phase::Asking { .. } => self.fail(Failure::Late("webhook")),
            Phase::Dialling { .. } => self.fail(Failure::Late("upgrade")),
            Phase::Talking { .. } => self.talk(now),
            Phase::Lingering { until, .. } if *until <= now => self.leave(now),
            Phase::Lingering { .. } => self.talk(now),
            Phase::Leaving { .. } => self.fail(Failure::Late("close")),
            Phase::Done => {}
        }
    }

    /// The call's socket is ready; `ending`: the peer has closed its side or is gone.
    pub fn handle_ready(&mut self, ending: bool, reactor: &Reactor) {
        if let Some(stream) = self.phase.stream() {
            stream.wake(ending);
        }
        match &mut self.phase {
            Phase::Asking { stream, exchange, .. } => match exchange.poll(stream) {
                Ok(None) => {}
                Ok(Some(response)) => self.answered(response, reactor),
                Err(_) if self.outcome.is_some() => self.finish(),
                Err(error) => self.fail(Failure::Webhook(error)),
            },
            Phase::Dialling { stream, exchange, .. } => match exchange.poll(stream) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    self.upgraded(response);
                    // What came right behind the 101 has been read already.
                    self.listen(reactor);
                }
                Err(error) => self.fail(Failure::Handshake(error)),
            },
            Phase::Talking { .. } | Phase::Lingering { .. } | Phase::Leaving { .. } => {
                self.listen(reactor);
            }
            Phase::Waiting | Phase::Done => {}
        }
    }

    /// Ends the call now, because the run ends.
    pub fn stop(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(Outcome::Failed(Failure::Stopped));
        }
        self.finish();
    }

    /// What happened.
    pub fn into_record(self) -> CallRecord {
        let (sent, heard, playout) = self.phone.into_record();
        CallRecord {
            index: self.spec.index,
            outcome: self.outcome.unwrap_or(Outcome::Failed(Failure::Stopped)),
            closing: self.closing,
            twiml: self.twiml,
            after: self.after,
            times: self.times,
            sent,
            heard,
            playout,
        }
    }

    fn begin(&mut self, now: Nanos, reactor: &Reactor) {
        self.times.started = now;
        let target = Arc::clone(&self.spec.target);
        match &target.entry {
            Entry::Webhook { path } => {
                let url = target.signed_url(path);
                self.ask(path, &url, "ringing", reactor);
            }
            Entry::Stream { path, parameters } => {
                let scheme = if target.tls.is_some() { "wss" } else { "ws" };
                self.noun = Some(StreamNoun {
                    url: format!("{scheme}://{}{path}", target.authority),
                    parameters: parameters.clone(),
                    ..StreamNoun::default()
                });
                self.dial(reactor);
            }
        }
    }

    /// Posts the standard form to `path`, signed for `url`.
    fn ask(&mut self, path: &str, url: &str, call_status: &str, reactor: &Reactor) {
        let target = &self.spec.target;
        let fields = self.form(call_status);
        let body = form_encode(&fields);
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: TwilioProxy/1.1\r\n\
             Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n\
             Content-Length: {}\r\nAccept: */*\r\nConnection: close\r\n",
            target.host(),
            body.len(),
        );
        if let Some(token) = &target.auth_token {
            let signature = signature::sign(token, url, &fields);
            request += &format!("X-Twilio-Signature: {signature}\r\n");
        }
        request += "\r\n";
        request += &body;
        let stream = match target.connect(reactor, self.slot) {
            Ok(stream) => stream,
            Err(_) if self.outcome.is_some() => return self.finish(),
            Err(error) => return self.fail(Failure::Webhook(error)),
        };
        let deadline = self.clock.now() + WEBHOOK_WAIT;
        self.phase = Phase::Asking { stream, exchange: Exchange::new(request.into()), deadline };
    }

    fn form(&self, call_status: &str) -> Vec<(String, String)> {
        let spec = &self.spec;
        [
            ("AccountSid", spec.sids.account.as_str()),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &spec.sids.call),
            ("CallStatus", call_status),
            ("Called", &spec.to),
            ("Caller", &spec.from),
            ("Direction", "inbound"),
            ("From", &spec.from),
            ("FromCity", "SÃO PAULO"),
            ("FromZip", ""),
            ("To", &spec.to),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
    }

    /// TwiML has come: at the beginning, or after the stream.
    fn answered(&mut self, response: Response, reactor: &Reactor) {
        let insecure = self.spec.target.tls.is_none();
        let text = String::from_utf8_lossy(&response.body);
        let twiml = twiml::parse(&text, insecure);
        if self.outcome.is_some() {
            self.after = Some(After { status: response.status, twiml });
            return self.finish();
        }
        self.times.answered = Some(self.clock.now());
        if response.status != 200 {
            return self.fail(Failure::WebhookStatus(response.status));
        }
        let twiml = match twiml {
            Ok(twiml) => twiml,
            Err(error) => return self.fail(Failure::Twiml(error)),
        };
        self.noun = twiml.stream.clone();
        self.twiml = Some(twiml.clone());
        match self.noun {
            Some(_) => self.dial(reactor),
            None => self.fail(Failure::NoStream(twiml.verbs)),
        }
    }

    /// Asks for the upgrade, in the words of Twilio's own client.
    fn dial(&mut self, reactor: &Reactor) {
        let target = Arc::clone(&self.spec.target);
        let url = self.noun.as_ref().map(|noun| noun.url.clone()).unwrap_or_default();
        let Some((authority, path)) = split_url(&url) else {
            return self.fail(Failure::Twiml(TwimlError::StreamUrl));
        };
        // The query stays behind; a TwiML document with one was refused before.
        let path = match target.entry {
            Entry::Webhook { .. } => path.split('?').next().unwrap_or("/"),
            Entry::Stream { .. } => path,
        };
        let stream = match target.connect_to(authority, &url, reactor, self.slot) {
            Ok(Some(stream)) => stream,
            Ok(None) => return self.fail(Failure::Unresolved(authority.to_string())),
            Err(error) => return self.fail(Failure::Handshake(error)),
        };
        let key = STANDARD.encode(self.nonce());
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: Twilio.TmeWs/1.0\r\n\
             connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: {key}\r\n",
        );
        if let Some(token) = &target.auth_token {
            let url = url.split('?').next().unwrap_or_default();
            let signature = signature::sign(token, url, &[]);
            request += &format!("x-twilio-signature: {signature}\r\n");
        }
        request += "accept-encoding: gzip\r\n\r\n";
        let deadline = self.clock.now() + HANDSHAKE_WAIT;
        let exchange = Exchange::new(request.into());
        self.phase = Phase::Dialling { stream, exchange, key, deadline };
    }

    /// Sixteen bytes no other call of this process uses.
    fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.clock.now().to_le_bytes());
        nonce[8..].copy_from_slice(&(self.spec.index as u64).to_le_bytes());
        nonce
    }

    fn upgraded(&mut self, response: Response) {
        let Phase::Dialling { stream, key, .. } = std::mem::replace(&mut self.phase, Phase::Done)
        else {
            return;
        };
        if response.status != 101 {
            return self.fail(Failure::Refused(response.status));
        }
        let accepted = response.header("sec-websocket-accept") == derive_accept_key(key.as_bytes())
            && response.header("upgrade").eq_ignore_ascii_case("websocket")
            && response.header("connection").to_ascii_lowercase().contains("upgrade")
            && response.headers.get("sec-websocket-extensions").is_none()
            && response.headers.get("sec-websocket-protocol").is_none();
        if !accepted {
            return self.fail(Failure::BadUpgrade);
        }
        let now = self.clock.now();
        self.times.opened = Some(now);
        let parameters = self.noun.as_ref().map(|noun| noun.parameters.clone()).unwrap_or_default();
        let phase = Arrivals::phase(self.spec.index);
        let media_start = (now - phase.min(now)).next_multiple_of(FRAME) + phase;
        self.phone.open(&parameters, media_start);
        let link = Link::new(stream, response.body, Role::Client);
        self.phase = Phase::Talking { link };
        self.talk(now);
    }

    /// Says what is due.
    fn talk(&mut self, now: Nanos) {
        self.phone.handle_timeout(now);
        self.drain();
        if !self.phone.is_spoken_out() || !matches!(self.phase, Phase::Talking { .. }) {
            return;
        }
        if let Phase::Talking { link } = std::mem::replace(&mut self.phase, Phase::Done) {
            self.phase = Phase::Lingering { link, until: now + self.spec.linger };
        }
    }

    /// Hands waiting messages to the socket.
    fn drain(&mut self) {
        let (Phase::Talking { link } | Phase::Lingering { link, .. } | Phase::Leaving { link, .. }) =
            &mut self.phase
        else {
            return;
        };
        while let Some(out) = self.phone.pop_message() {
            match link.send(Message::text(out.text)) {
                Ok(()) => {
                    if let Some(frame) = out.frame {
                        self.phone.frame_sent(frame, self.clock.now());
                    }
                }
                Err(SendError::Full) => self.phone.object(Violation::SlowReader),
                // The end of the link is reported when it is read.
                Err(SendError::Ended) => {}
            }
        }
    }

    /// Takes everything the server has sent.
    fn listen(&mut self, reactor: &Reactor) {
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        loop {
            let (Phase::Talking { link }
            | Phase::Lingering { link, .. }
            | Phase::Leaving { link, .. }) = &mut self.phase
            else {
                return;
            };
            let Some(received) = link.receive() else {
                link.flush();
                break;
            };
            let now = self.clock.now();
            match received {
                // What still comes after our goodbye is as strict as before, and is not heard.
                Received::Text(text) => self.phone.handle_text(now, &text),
                Received::Binary(_) => self.phone.object(Violation::Binary),
                Received::Ping(_) | Received::Pong => {}
                Received::Closed(closing) => return self.closed(closing, now, reactor),
            }
        }
        if !leaving {
            self.drain();
        }
    }

    fn closed(&mut self, closing: Closing, now: Nanos, reactor: &Reactor) {
        if let Closing::NotWebSocket(_) = closing {
            self.phone.object(Violation::NotWebSocket);
        }
        self.times.closed = Some(now);
        self.closing = Some(closing.clone());
        let left = matches!(self.phase, Phase::Leaving { .. });
        self.phase = Phase::Done;
        if left && self.spec.hangup != Hangup::Silence {
            self.outcome = Some(Outcome::HungUp);
            return;
        }
        self.outcome = Some(Outcome::ClosedByRelay(closing));
        let action = self.noun.as_ref().and_then(|noun| noun.action.clone());
        if let Some(url) = action {
            let absolute = split_url(&url);
            let path = absolute.map_or(url.as_str(), |(_, path)| path).to_string();
            let signed = if absolute.is_some() { url } else { self.spec.target.signed_url(&path) };
            self.ask(&path, &signed, "in-progress", reactor);
        }
    }

    /// The caller hangs up, in its own way.
    fn leave(&mut self, now: Nanos) {
        if self.spec.hangup == Hangup::StopAndClose {
            self.phone.say_stop();
            self.drain();
        }
        let Phase::Lingering { mut link, .. } = std::mem::replace(&mut self.phase, Phase::Done)
        else {
            return;
        };
        let mut wait = CLOSE_WAIT;
        match self.spec.hangup {
            Hangup::StopAndClose | Hangup::CloseOnly => link.close(1000, ""),
            Hangup::Silence => wait = SILENCE_WAIT,
            Hangup::Reset => {
                link.stream().reset_on_drop();
                self.times.closed = Some(now);
                self.outcome = Some(Outcome::HungUp);
                return;
            }
        }
        self.phase = Phase::Leaving { link, deadline: now + wait };
    }

    fn fail(&mut self, failure: Failure) {
        self.outcome = Some(Outcome::Failed(failure));
        self.finish();
    }

    fn finish(&mut self) {
        if self.times.closed.is_none() {
            self.times.closed = Some(self.clock.now());
        }
        self.phase = Phase::Done;
    }
}

impl Target {
    /// The host that requests name.
    fn host(&self) -> &str {
        let public = self.public_url.as_deref().and_then(split_url);
        public.map_or(&self.authority, |(authority, _)| authority)
    }

    /// The URL that Twilio has configured for `path`, and signs.
    fn signed_url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.public_url {
            Some(origin) => format!("{}{path}", origin.trim_end_matches('/')),
            None => format!("{scheme}://{}{path}", self.authority),
        }
    }

    fn connect(&self, reactor: &Reactor, index: usize) -> Result<Stream, HttpError> {
        connect(self.address, self.tls.as_ref(), &self.authority, reactor, index)
    }

    /// Connects to what a URL names; the relay under its own or its public name is the relay.
    /// `None`: the name has no address.
    fn connect_to(
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
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
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

/// `application/x-www-form-urlencoded`.
fn form_encode(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        percent_encode(name, &mut text);
        text.push('=');
        percent_encode(value, &mut text);
    }
    text
}

fn percent_encode(from: &str, to: &mut String) {
    for byte in from.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                to.push(byte.into());
            }
            b' ' => to.push('+'),
            _ => *to += &format!("%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_like_twilio_encodes_it() {
        let fields = [("From".into(), "+1 é&=".into()), ("Z".into(), String::new())];
        assert_eq!(form_encode(&fields), "From=%2B1+%C3%A9%26%3D&Z=");
    }

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
