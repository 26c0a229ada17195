//! The stand-in as a server: TLS or plain, upgrade, sessions, on a few threads.
//!
//! In:       a [`StandInConfig`] with the scripts of its sessions.
//! Out:      a running [`StandIn`]: its URL, its authority, the records of sessions as they end.
//! Bounds:   an upgrade may take [`UPGRADE_WAIT`], a closing handshake [`CLOSE_WAIT`]; sessions
//!           at once are bounded by descriptors alone.
//! Not here: what a session says (`gemini::session`).

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;
use mio::net::{TcpListener, TcpStream};
use rustls::ServerConfig;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::coding::Data;
use tungstenite::{Bytes, Message};

use super::certificate::{self, ServerTls};
use super::conversation::{Apart, Conversations, Order};
use super::entrance::{self, Entrance};
use super::protocol::Complaint;
use super::script::{Handshake, Opcode, Script};
use super::session::{Output, Session, SessionRecord};
use crate::clock::{Clock, Nanos, SECONDS};
use crate::net::http::{Answering, HttpError};
use crate::net::link::{Closing, Link, Received, SendError};
use crate::net::reactor::{Reactor, Ready, Timers};
use crate::net::stream::Stream;
use crate::probes::{LATE, LATE_AFTER, Probes, RECEIVE_BUFFER_BYTES, Reading};
use crate::schedule::on_grid;

/// How long TLS and the upgrade of one connection may take; then it is dropped.
pub const UPGRADE_WAIT: Nanos = 30 * SECONDS;

/// How long a relay may take to answer a close frame; then the connection is dropped.
pub const CLOSE_WAIT: Nanos = 5 * SECONDS;

pub use super::entrance::PATH;

/// Pongs that are held back at once; further pings are not answered.
pub const PONGS_MAX: usize = 64;

/// The listener's place among the registered sockets; sessions follow.
const LISTENER: usize = 0;

/// What a stand-in is.
#[derive(Clone, Debug)]
pub struct StandInConfig {
    /// The address to listen on; port 0 takes any.
    pub listen: SocketAddr,
    /// TLS, or plain.
    pub tls: bool,
    /// By which certificate; `None`: by one that is made, with an authority of its own.
    pub certificate: Option<ServerTls>,
    /// What clients must name and show.
    pub entrance: Entrance,
    /// The key, or token.
    pub api_key: String,
    /// The model a setup must name, such as `models/gemini-3.8-live`.
    pub model: String,
    /// The scripts, one after the other; the last one goes for all later sessions.
    pub scripts: Vec<Arc<Script>>,
    /// What is counted to choose one of them.
    pub order: Order,
    /// Conversations that follow a script of their own.
    pub apart: Option<Apart>,
    /// The seed of the model's voices.
    pub seed: u64,
    /// Threads that share the sessions.
    pub threads: usize,
    /// The sessions that are read as audio arrives; the others are read late while nothing that
    /// comes changes what they say.
    pub probes: Probes,
}

impl StandInConfig {
    /// TLS on a free port of this machine, one thread, every session by the same script.
    pub fn local(script: Script) -> StandInConfig {
        StandInConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: true,
            certificate: None,
            entrance: Entrance::Exact(PATH.to_string()),
            api_key: "stand-in-key".to_string(),
            model: "models/gemini-3.8-live".to_string(),
            scripts: vec![Arc::new(script)],
            order: Order::ByConversation,
            apart: None,
            seed: 1,
            threads: 1,
            probes: Probes::default(),
        }
    }
}

/// A running stand-in. Dropping it ends every session.
pub struct StandIn {
    /// `wss://localhost:PORT` or `ws://…`: what the relay dials, without the path.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority to trust, as PEM; empty without TLS, and with a certificate from elsewhere.
    pub ca_pem: String,
    /// Sessions open now.
    pub open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    records: Receiver<SessionRecord>,
}

impl StandIn {
    /// Starts listening.
    ///
    /// # Panics
    /// Without a script.
    pub fn start(clock: Clock, config: StandInConfig) -> io::Result<StandIn> {
        let conversations = Conversations::new(config.scripts.clone(), config.order, config.seed);
        let conversations = Arc::new(conversations.with_apart(config.apart.clone()));
        let listener = std::net::TcpListener::from(socket2_listener(config.listen)?);
        let address = listener.local_addr()?;
        let tls = match &config.certificate {
            _ if !config.tls => None,
            Some(given) => Some(given.clone()),
            None => Some(certificate::make().map_err(io::Error::other)?),
        };
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let (sender, records) = channel();
        let mut stand_in = StandIn {
            url: format!("{scheme}://localhost:{}", address.port()),
            address,
            ca_pem: tls.as_ref().map(|tls| tls.ca_pem.clone()).unwrap_or_default(),
            open: Arc::default(),
            stop: Arc::default(),
            wakers: Vec::new(),
            threads: Vec::new(),
            records,
        };
        let config = Arc::new(config);
        let sessions = Arc::new(AtomicUsize::new(0));
        for _ in 0..config.threads.max(1) {
            let reactor = Reactor::new()?;
            stand_in.wakers.push(reactor.waker());
            let server = Server {
                clock,
                reactor,
                listener: TcpListener::from_std(listener.try_clone()?),
                tls: tls.as_ref().map(|tls| Arc::clone(&tls.config)),
                config: Arc::clone(&config),
                conversations: Arc::clone(&conversations),
                sessions: Arc::clone(&sessions),
                open: Arc::clone(&stand_in.open),
                stop: Arc::clone(&stand_in.stop),
                records: sender.clone(),
                timers: Timers::default(),
                slots: Vec::new(),
                free: Vec::new(),
            };
            let thread = std::thread::Builder::new().name("stand-in".into());
            stand_in.threads.push(thread.spawn(move || server.run())?);
        }
        Ok(stand_in)
    }

    /// The record of the next session that ends within `timeout`.
    pub fn next_record(&self, timeout: Duration) -> Option<SessionRecord> {
        self.records.recv_timeout(timeout).ok()
    }

    /// Ends every session and returns the records nobody has taken, by number.
    pub fn stop(mut self) -> io::Result<Vec<SessionRecord>> {
        self.end()?;
        let mut records: Vec<_> = self.records.try_iter().collect();
        records.sort_by_key(|record| record.index);
        Ok(records)
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for waker in &self.wakers {
            // A thread that has ended needs no waking.
            let _ = waker.wake();
        }
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a stand-in thread panicked"))??;
        }
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Whoever wanted to know has called `stop`.
        let _ = self.end();
    }
}

/// A non-blocking listener with a backlog for hundreds of calls that begin together.
fn socket2_listener(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Server {
    clock: Clock,
    reactor: Reactor,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    config: Arc<StandInConfig>,
    conversations: Arc<Conversations>,
    sessions: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    records: Sender<SessionRecord>,
    timers: Timers,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
}

struct Connection {
    session: Session,
    probe: bool,
    reading: Reading,
    /// Since when nothing that comes changes what the session says.
    alone: Option<Nanos>,
    phase: Phase,
    /// When the phase ends by itself: upgrade and closing handshake.
    deadline: Option<Nanos>,
    ending: Option<Closing>,
    /// Pongs that are held back, and until when.
    pongs: VecDeque<(Nanos, Bytes)>,
}

enum Phase {
    /// The request has not come.
    Asking { stream: Stream, answering: Answering },
    /// The answer is on its way; `accepted`: the session follows, with these bytes.
    Answering { stream: Stream, answering: Answering, accepted: bool, early: Vec<u8> },
    /// The session is open.
    Open { link: Link },
    /// Nothing is read or sent any more, and nothing closed.
    Stalled { _link: Link },
    /// Gone.
    Done,
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        self.reactor.register_listener(&mut self.listener, LISTENER)?;
        let mut ready = Vec::new();
        loop {
            self.reactor.wait(self.clock.now(), self.timers.earliest(), &mut ready)?;
            if self.stop.load(Ordering::Relaxed) {
                for slot in 0..self.slots.len() {
                    self.step(slot, Connection::stop);
                }
                return Ok(());
            }
            let now = self.clock.now();
            while let Some(slot) = self.timers.pop_due(now) {
                self.step(slot, |connection, context| connection.handle_timeout(now, context));
            }
            for &Ready { index, ending } in &ready {
                match index.checked_sub(1) {
                    None => self.accept()?,
                    Some(slot) => self.step(slot, |connection, context| {
                        connection.wake(ending);
                        connection.handle_ready(context);
                    }),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => self.admit(socket)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // One connection died young, or descriptors ran out; the relay sees its own end.
                Err(_) => return Ok(()),
            }
        }
    }

    fn admit(&mut self, socket: TcpStream) -> io::Result<()> {
        let _ = socket.set_nodelay(true);
        let mut stream = match &self.tls {
            None => Stream::plain(socket),
            Some(tls) => {
                let tls = rustls::ServerConnection::new(Arc::clone(tls));
                Stream::tls_server(socket, tls.map_err(io::Error::other)?)
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.reactor.register(&mut stream, slot + 1)?;
        let now = self.clock.now();
        let index = self.sessions.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(
            index,
            Arc::clone(&self.conversations),
            self.config.seed,
            self.config.model.clone(),
            now,
        );
        self.slots[slot] = Some(Connection {
            session,
            probe: self.config.probes.is_one(index),
            reading: Reading::Prompt,
            alone: None,
            phase: Phase::Asking { stream, answering: Answering::default() },
            deadline: Some(now + UPGRADE_WAIT),
            ending: None,
            pongs: VecDeque::new(),
        });
        self.open.fetch_add(1, Ordering::Relaxed);
        self.step(slot, Connection::handle_ready);
        Ok(())
    }

    fn step(&mut self, slot: usize, act: impl FnOnce(&mut Connection, &Context<'_>)) {
        let Some(connection) = &mut self.slots[slot] else { return };
        let context = Context { clock: self.clock, config: &self.config, reactor: &self.reactor };
        act(connection, &context);
        connection.drain(self.clock);
        let is_done = matches!(connection.phase, Phase::Done);
        self.timers.set(slot, if is_done { None } else { connection.next_timeout() });
        if !is_done {
            return;
        }
        if let Some(mut connection) = self.slots[slot].take() {
            connection.session.end(self.clock.now());
            // Nobody may be interested any more.
            let mut record = connection.session.into_record(connection.ending);
            record.probe = connection.probe;
            let _ = self.records.send(record);
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.free.push(slot);
        }
    }
}

struct Context<'s> {
    clock: Clock,
    config: &'s StandInConfig,
    reactor: &'s Reactor,
}

impl Connection {
    fn next_timeout(&self) -> Option<Nanos> {
        let (session, pong, reading) = match self.phase {
            Phase::Open { .. } => (
                self.session.next_timeout(),
                self.pongs.front().map(|&(at, _)| at),
                self.reading.next(),
            ),
            _ => (None, None, None),
        };
        [session, pong, reading, self.deadline].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Nanos, context: &Context<'_>) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.phase = Phase::Done;
            return;
        }
        if let Phase::Open { link } = &mut self.phase {
            while let Some((_, payload)) = self.pongs.pop_front_if(|(at, _)| *at <= now) {
                // A link that has ended needs no pong.
                let _ = link.send(Message::Pong(payload));
            }
        }
        self.session.handle_timeout(now);
        if !self.probe {
            // What is due leaves first.
            self.drain(context.clock);
            self.attend(now, context);
        }
    }

    /// Begins to read late once the session has gone on by itself for long enough; and does so.
    fn attend(&mut self, now: Nanos, context: &Context<'_>) {
        let Phase::Open { link } = &mut self.phase else { return };
        match self.reading {
            Reading::Prompt if !self.session.is_alone() => {
                self.alone = None;
                return;
            }
            Reading::Prompt => {
                if now < *self.alone.get_or_insert(now) + LATE_AFTER {
                    return;
                }
                let stream = link.stream();
                if context.reactor.release(stream).is_err() {
                    return;
                }
                stream.make_room(RECEIVE_BUFFER_BYTES);
                self.reading = Reading::Late { at: on_grid(now + LATE) };
            }
            Reading::Late { .. } => {}
        }
        if self.reading.is_due(now) {
            link.stream().wake(false);
            self.listen(context.clock);
        }
    }

    fn wake(&mut self, ending: bool) {
        match &mut self.phase {
            Phase::Asking { stream, .. } | Phase::Answering { stream, .. } => stream.wake(ending),
            Phase::Open { link } => link.stream().wake(ending),
            Phase::Stalled { .. } | Phase::Done => {}
        }
    }

    fn handle_ready(&mut self, context: &Context<'_>) {
        if let Err(error) = self.poll_upgrade(context) {
            self.ending = Some(match error {
                HttpError::Io(kind) => Closing::Broken(kind),
                HttpError::Cut => Closing::Eof,
                HttpError::Malformed | HttpError::TooLong => {
                    Closing::NotWebSocket("the upgrade is not HTTP".into())
                }
            });
            self.phase = Phase::Done;
        }
        self.listen(context.clock);
    }

    /// Ends the session because the stand-in ends.
    fn stop(&mut self, _context: &Context<'_>) {
        if let Phase::Open { link } = &mut self.phase {
            link.close(1001, "the stand-in ends");
        }
        self.phase = Phase::Done;
    }

    fn poll_upgrade(&mut self, context: &Context<'_>) -> Result<(), HttpError> {
        if let Phase::Asking { stream, answering } = &mut self.phase {
            let Some((request, early)) = answering.poll_request(stream)? else { return Ok(()) };
            let Phase::Asking { stream, mut answering } =
                std::mem::replace(&mut self.phase, Phase::Done)
            else {
                return Ok(());
            };
            if stream.alpn().is_some() {
                return Err(HttpError::Malformed);
            }
            let Some((accepted, answer)) = self.judge(&request, context) else {
                // A silent server keeps the connection open and says nothing.
                self.phase = Phase::Asking { stream, answering };
                return Ok(());
            };
            answering.answer(answer);
            self.phase = Phase::Answering { stream, answering, accepted, early };
        }
        if let Phase::Answering { stream, answering, .. } = &mut self.phase {
            if !answering.poll_sent(stream)? {
                return Ok(());
            }
            let Phase::Answering { mut stream, accepted, early, .. } =
                std::mem::replace(&mut self.phase, Phase::Done)
            else {
                return Ok(());
            };
            if accepted {
                self.deadline = None;
                let mut link = Link::new(stream, early, Role::Server);
                if self.session.script().pong_after.is_some() {
                    link.hold_pongs();
                }
                self.phase = Phase::Open { link };
            } else {
                stream.shutdown();
            }
        }
        Ok(())
    }

    /// The answer to an upgrade: true and a 101, false and another status, or `None` for silence.
    fn judge(&mut self, request: &Request, context: &Context<'_>) -> Option<(bool, Vec<u8>)> {
        match entrance::judge(&context.config.entrance, &context.config.api_key, request) {
            Ok(entry) => self.session.admitted(entry),
            Err(complaint) => {
                let answer = match complaint {
                    Complaint::Key => {
                        refusal(403, "API key not valid. Please pass a valid API key.")
                    }
                    _ => refusal(404, "not found"),
                };
                self.session.complain(complaint);
                return Some((false, answer));
            }
        }
        match &self.session.script().handshake {
            Handshake::Silent => return None,
            Handshake::Refuse { status, body } => return Some((false, refusal(*status, body))),
            Handshake::Accept => {}
        }
        let Ok(response) = create_response(request) else {
            self.session.complain(Complaint::Shape("not a WebSocket upgrade".into()));
            return Some((false, refusal(400, "not a WebSocket upgrade")));
        };
        let mut answer = Vec::new();
        write_response(&mut answer, &response).expect("a vector takes what is written");
        Some((true, answer))
    }

    /// Takes everything the relay has sent.
    fn listen(&mut self, clock: Clock) {
        let mut now = clock.now();
        while let Phase::Open { link } = &mut self.phase {
            let Some(received) = link.receive() else {
                link.flush();
                return;
            };
            if self.reading == Reading::Prompt {
                now = clock.now();
            }
            match received {
                Received::Text(text) => self.session.handle_text(now, &text),
                Received::Binary(_) => self.session.complain(Complaint::Frame),
                Received::Ping(payload) => {
                    self.session.complain(Complaint::Ping);
                    match self.session.script().pong_after {
                        Some(after) if self.pongs.len() < PONGS_MAX => {
                            self.pongs.push_back((now + after, payload));
                        }
                        _ => {}
                    }
                }
                Received::Pong => {}
                Received::Closed(closing) => {
                    self.ending = Some(closing);
                    link.flush();
                    link.stream().shutdown();
                    self.phase = Phase::Done;
                }
            }
            self.drain(clock);
        }
    }

    /// Does what the session wants done.
    fn drain(&mut self, clock: Clock) {
        while let Phase::Open { link } = &mut self.phase {
            let Some(output) = self.session.pop_output() else { return };
            let sent = match output {
                Output::Message { text, chunk } => {
                    let sent = send(link, &self.session, text);
                    if chunk {
                        self.session.chunk_sent(clock.now());
                    }
                    sent
                }
                Output::Text(text) => link.send(Message::text(text)),
                Output::Binary(bytes) => link.send(Message::binary(bytes)),
                Output::Bytes(bytes) => {
                    // A socket that takes only a part of the garbage has still taken garbage.
                    let _ = link.stream().write(&bytes);
                    let _ = link.stream().flush();
                    Ok(())
                }
                Output::Close { code, reason } => {
                    link.close(code, &reason);
                    self.deadline = Some(clock.now() + CLOSE_WAIT);
                    Ok(())
                }
                Output::Hangup => {
                    link.stream().shutdown();
                    self.phase = Phase::Done;
                    return;
                }
                Output::Reset => {
                    link.stream().reset_on_drop();
                    self.phase = Phase::Done;
                    return;
                }
                Output::Stall => {
                    if let Phase::Open { link } = std::mem::replace(&mut self.phase, Phase::Done) {
                        self.phase = Phase::Stalled { _link: link };
                    }
                    return;
                }
            };
            if sent == Err(SendError::Full) {
                // The model is always to be read: a relay that does not is cut off.
                self.session.complain(Complaint::Shape("does not read".into()));
                self.phase = Phase::Done;
            }
        }
    }
}

/// Sends a message in the session's form.
fn send(link: &mut Link, session: &Session, text: String) -> Result<(), SendError> {
    let framing = session.script().framing;
    let text = if framing.pretty { pretty(&text) } else { text };
    let kind = if session.opcode() == Opcode::Binary { Data::Binary } else { Data::Text };
    match (framing.fragment_bytes, kind) {
        (Some(bytes), kind) => link.send_fragmented(text.into(), kind, bytes),
        (None, Data::Binary) => link.send(Message::binary(text)),
        (None, _) => link.send(Message::text(text)),
    }
}

fn pretty(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn refusal(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
