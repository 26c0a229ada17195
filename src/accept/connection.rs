//! One young connection: request after request, until it ends or becomes a call.
//!
//! | state | until | deadline | at the deadline |
//! |---|---|---|---|
//! | behind a proxy that introduces its clients | its header's last byte | `proxy` | closed |
//! | before TLS, and while it is agreed on | it is | `handshake` | closed |
//! | idle: nothing of a request yet | its first byte | `head`, later `keep_alive` | closed |
//! | waiting for the rest of a head | its last byte | `head`, for the first from the start | 408 |
//! | reading a body | its last byte | `body` | 408 |
//! | waiting for figures or calendar | they come | `figures` | 503 |
//! | answering | the kernel has it all | `answer` | closed |
//! | lingering after the last answer | the peer closes | `linger` | closed |
//!
//! In:       readiness, the time, the desk that knows the answers.
//! Out:      answers on the socket; in the end [`End`].
//! Bounds:   the next request is looked at only when the answer before it has left; a read brings
//!           at most [`READ_BYTES_PER_TURN`] beyond what a head or body still lacks;
//!           [`REQUESTS_PER_CONNECTION`], [`STEPS_PER_TURN`], [`LINGER_BYTES_MAX`].
//! Not here: what comes before the first request (`accept::connection::prelude`), what is answered
//!           (`accept::routes`), how many connections there are (`accept::young`).

mod prelude;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Registry, Token};

use super::answer::{Answer, Terms, status_label};
use super::client::Provenance;
use super::desk::{Desk, Outcome, Placed};
use super::request::Request;
use super::routes::Route;
use super::young::Shares;
use crate::buf::{RecvBuf, SendBuf};
use crate::clock::Nanos;
#[cfg(doc)]
use crate::limits::READ_BYTES_PER_TURN;
use crate::limits::{
    ANSWER_TIMEOUT, BODY_MAX_BYTES, BODY_TIMEOUT, FIGURES_TIMEOUT, HEAD_TIMEOUT,
    KEEP_ALIVE_TIMEOUT, PROXY_HEADER_TIMEOUT, RECALL_TIMEOUT, REQUESTS_PER_CONNECTION, RETURN_WAIT,
    TLS_HANDSHAKE_TIMEOUT,
};
use crate::net::{Received, Stream, TlsServer, tls};
use crate::wire::http::{
    BodyPart, BodyReader, HeadDecoded, HttpError, Method, decode_request, write_continue,
};

/// Steps of one connection in one turn, about as many as five requests take. What is left comes in
/// the next turn, at once, so that a pipelining client cannot delay another.
const STEPS_PER_TURN: usize = 32;
/// Bytes thrown away of a peer that goes on sending after the last answer. Then: closed.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// From the last answer until the peer has read it and closes. Then: closed.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long each part of a connection's life may take, and a caller to come back on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// The header that a proxy puts before everything else, from the connection's start.
    pub proxy: Duration,
    /// TLS, from there.
    pub handshake: Duration,
    /// A head, from the connection's start or from its own first byte to its last.
    pub head: Duration,
    /// A body, from the end of the head.
    pub body: Duration,
    /// The figures, from the request.
    pub figures: Duration,
    /// An answer, from its first byte to its last.
    pub answer: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// After the last answer, for the peer to read it: closing at once could take it back.
    pub linger: Duration,
    /// While the relay drains, for a caller whose phone was lost: from that loss.
    pub comeback: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            proxy: PROXY_HEADER_TIMEOUT,
            handshake: TLS_HANDSHAKE_TIMEOUT,
            head: HEAD_TIMEOUT,
            body: BODY_TIMEOUT,
            // The control thread says so itself at its own timeout; this is for one that is stuck.
            figures: 2 * FIGURES_TIMEOUT,
            answer: ANSWER_TIMEOUT,
            keep_alive: KEEP_ALIVE_TIMEOUT,
            linger: LINGER_TIMEOUT,
            comeback: RETURN_WAIT,
        }
    }
}

/// What a connection needs while it is served.
pub(super) struct Context<'a> {
    pub(super) now: Nanos,
    pub(super) deadlines: Deadlines,
    pub(super) desk: &'a mut Desk,
    /// `None`: without TLS.
    pub(super) tls: Option<&'a Arc<TlsServer>>,
    pub(super) shares: &'a mut Shares,
    /// Where every read goes first, so that waiting connections hold no read buffers.
    pub(super) scratch: &'a mut RecvBuf,
    /// As `scratch`, for connections with TLS.
    pub(super) ciphertext: &'a mut RecvBuf,
}

/// A connection that is not a call yet.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Stream,
    /// The socket's other end, or whom a trusted proxy names in its place.
    peer: IpAddr,
    /// Whose share of connections it is from; `None`: a trusted proxy's, that waits for a request.
    counts_for: Option<IpAddr>,
    /// Whether it came to the address for figures.
    is_admin: bool,
    input: RecvBuf,
    output: SendBuf,
    state: State,
    /// When `state` must be over.
    deadline: Nanos,
    /// Requests answered.
    requests: usize,
    /// The socket may hold bytes: it tells of new ones only.
    may_read: bool,
    /// Nothing more will come from the peer.
    peer_finished: bool,
}

#[derive(Debug)]
enum State {
    /// A trusted proxy has not yet wholly said whose connection it is.
    Introduced,
    /// Nothing of TLS has come.
    Bare,
    /// TLS is being agreed on.
    Handshake,
    /// Nothing of the next request has come.
    Idle,
    /// Some of a head has come.
    Head,
    Body(Box<Incoming>),
    /// The control thread gathers the figures, the calendar thread writes the feed, or the
    /// journal's looks for a call.
    Figures {
        ticket: u64,
        terms: Terms,
    },
    /// An answer is leaving.
    Answering(Then),
    /// The last answer has left; so many more bytes of the peer are thrown away.
    Lingering {
        left_bytes: usize,
    },
}

/// A request whose body is coming.
#[derive(Debug)]
struct Incoming {
    request: Request,
    route: Route,
    reader: BodyReader,
    body: Vec<u8>,
}

/// What follows an answer.
#[derive(Debug)]
enum Then {
    NextRequest,
    Close,
    /// It was the 101.
    Call(Placed),
}

/// What one step came to.
enum Step {
    /// Something was done; there may be more to do.
    On,
    /// Nothing to do before the socket, the clock or a letter says so.
    Wait,
    Over(End),
}

/// What serving a connection came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It waits.
    Waiting,
    /// It could go on at once, and has had its share of this turn.
    Again,
    /// It is over.
    Over(End),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order, by either side.
    Closed,
    /// The socket failed, or the peer left in the middle of a request.
    Lost,
    /// A deadline passed in silence.
    TooSlow,
    /// It has become a WebSocket: [`Connection::into_call`].
    Call,
}

/// A connection that has become a WebSocket.
pub(super) struct BecomeCall {
    pub(super) socket: Stream,
    pub(super) unread: Vec<u8>,
    /// Its client, whose share it is from.
    pub(super) peer: IpAddr,
    pub(super) placed: Placed,
}

impl Connection {
    /// A connection of `peer` that has just been accepted, and is from the share of `counts_for`.
    pub(super) fn new(
        socket: Stream,
        peer: IpAddr,
        counts_for: Option<IpAddr>,
        now: Nanos,
        deadlines: Deadlines,
    ) -> Connection {
        Connection {
            socket,
            peer,
            counts_for,
            is_admin: false,
            input: RecvBuf::new(),
            output: SendBuf::new(),
            state: State::Idle,
            deadline: now.plus(deadlines.head),
            requests: 0,
            may_read: true,
            peer_finished: false,
        }
    }

    /// At the address for figures.
    pub(super) fn at_admin(self) -> Connection {
        Connection { is_admin: true, ..self }
    }

    /// Whose share of connections it is from.
    pub(super) fn counts_for(&self) -> Option<IpAddr> {
        self.counts_for
    }

    /// When [`Connection::expire`] is due.
    pub(super) fn deadline(&self) -> Nanos {
        self.deadline
    }

    /// Of a connection that idles between two requests, when it would be closed anyway.
    pub(super) fn idles_until(&self) -> Option<Nanos> {
        let idles = matches!(self.state, State::Idle) && self.requests > 0 && !self.may_read;
        idles.then_some(self.deadline)
    }

    /// Whether something of a request has come and its answer has not left.
    pub(super) fn has_request(&self) -> bool {
        !matches!(self.state, State::Idle | State::Lingering { .. }) && !self.is_in_prelude()
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        self.socket.register(registry, token)
    }

    /// Notes what the kernel tells of the socket.
    pub(super) fn note(&mut self, event: &Event) {
        self.may_read |= self.socket.note(event);
    }

    /// Does everything that can be done without waiting, up to its share of a turn.
    pub(super) fn serve(&mut self, context: &mut Context<'_>) -> Served {
        for _ in 0..STEPS_PER_TURN {
            match self.step(context) {
                Step::On => {}
                Step::Wait => {
                    self.input.release();
                    return Served::Waiting;
                }
                Step::Over(end) => return Served::Over(end),
            }
        }
        Served::Again
    }

    fn step(&mut self, context: &mut Context<'_>) -> Step {
        if !self.output.is_empty() || self.socket.holds_unsent() {
            match self.socket.send(&mut self.output) {
                Err(_) => return Step::Over(End::Lost),
                Ok(_) if !self.output.is_empty() || self.socket.holds_unsent() => {
                    return Step::Wait;
                }
                Ok(_) => {}
            }
        }
        match &self.state {
            State::Introduced => self.read_introduction(context),
            State::Bare => self.read_bare(context),
            State::Handshake => self.shake_hands(context),
            State::Idle | State::Head => self.read_head(context),
            State::Body(_) => self.read_body(context),
            State::Figures { .. } => Step::Wait,
            State::Answering(_) => self.answered(context),
            State::Lingering { .. } => self.linger(context),
        }
    }

    fn read_head(&mut self, context: &mut Context<'_>) -> Step {
        let decoded = decode_request(self.input.unused());
        let (request, used) = match decoded {
            Ok(HeadDecoded::Head { head, used }) => {
                let trusted = &context.desk.config.server.trusted_proxies;
                (Request::new(&head, self.peer, trusted, self.socket.is_tls()), used)
            }
            Ok(HeadDecoded::NeedMore) => return self.wait_for_head(context),
            Err(fault) => {
                let head_only = self.begins_with_head();
                return self.refuse(context, fault, head_only);
            }
        };
        match request {
            Ok(request) => {
                self.input.consume(used);
                self.take_request(context, request)
            }
            Err(fault) => {
                let head_only = self.begins_with_head();
                self.refuse(context, fault, head_only)
            }
        }
    }

    /// Whether the bytes of a head that is not whole, or none, ask for no body: an answer to HEAD
    /// never has one.
    fn begins_with_head(&mut self) -> bool {
        let bytes = self.input.unused();
        // As the reader does, past one empty line.
        bytes.strip_prefix(b"\r\n").unwrap_or(bytes).starts_with(b"HEAD ")
    }

    fn wait_for_head(&mut self, context: &mut Context<'_>) -> Step {
        if matches!(self.state, State::Idle) && !self.input.is_empty() {
            self.state = State::Head;
            // The first head's time began with the connection.
            if self.requests > 0 {
                self.deadline = context.now.plus(context.deadlines.head);
            }
        }
        let end = if matches!(self.state, State::Idle) { End::Closed } else { End::Lost };
        self.read(context, end)
    }

    /// A head is whole: refuse it now, or read its body first.
    fn take_request(&mut self, context: &mut Context<'_>, request: Request) -> Step {
        if request.client.provenance == Provenance::Unknown {
            context.desk.shared.connections.count("bad_forwarded");
        }
        if request.is_host_garbled {
            context.desk.shared.connections.count("bad_forwarded_host");
        }
        if self.counts_for.is_none() {
            let client = request.client.address;
            if !context.shares.take(client) {
                context.desk.shared.connections.count("too_many_of_one_address");
                let answer = Answer::error(429, "too many connections from this address");
                let head_only = request.method == Method::Head;
                return self.answer(context, &answer, Terms { keep_alive: false, head_only });
            }
            self.counts_for = Some(client);
        }
        let route = match context.desk.route(&request, self.is_admin) {
            Ok(route) => route,
            Err(answer) => {
                // An unread body would be taken for the next request.
                let keep_alive = request.keep_alive && !request.has_body();
                let head_only = request.method == Method::Head;
                return self.answer(context, &answer, Terms { keep_alive, head_only });
            }
        };
        let reader = match BodyReader::new(request.body, BODY_MAX_BYTES as u64) {
            Ok(reader) => reader,
            Err(fault) => return self.refuse(context, fault, request.method == Method::Head),
        };
        if request.expects_continue && request.has_body() && self.input.is_empty() {
            write_continue(self.output.tail());
        }
        self.deadline = context.now.plus(context.deadlines.body);
        self.state = State::Body(Box::new(Incoming { request, route, reader, body: Vec::new() }));
        Step::On
    }

    fn read_body(&mut self, context: &mut Context<'_>) -> Step {
        let State::Body(incoming) = &mut self.state else { return Step::On };
        let head_only = incoming.request.method == Method::Head;
        loop {
            let (part, used) = match incoming.reader.next(self.input.unused()) {
                Ok(read) => read,
                Err(fault) => return self.refuse(context, fault, head_only),
            };
            let more = match part {
                BodyPart::Bytes(bytes) => {
                    incoming.body.extend_from_slice(bytes);
                    true
                }
                BodyPart::End => {
                    self.input.consume(used);
                    return self.respond(context);
                }
                BodyPart::NeedMore => false,
            };
            self.input.consume(used);
            if !more {
                return self.read(context, End::Lost);
            }
        }
    }

    /// The request is whole.
    fn respond(&mut self, context: &mut Context<'_>) -> Step {
        let State::Body(incoming) = std::mem::replace(&mut self.state, State::Idle) else {
            return Step::On;
        };
        let Incoming { request, route, body, .. } = *incoming;
        let head_only = request.method == Method::Head;
        let terms = Terms { keep_alive: request.keep_alive, head_only };
        match context.desk.respond(context.now, route, &request, &body) {
            Outcome::Answer(answer) => self.answer(context, &answer, terms),
            Outcome::Figures { ticket } => {
                self.state = State::Figures { ticket, terms };
                self.deadline = context.now.plus(context.deadlines.figures);
                Step::On
            }
            Outcome::Recall { ticket } => {
                self.state = State::Figures { ticket, terms };
                self.deadline = context.now.plus(RECALL_TIMEOUT);
                Step::On
            }
            Outcome::Upgrade { placed, response } => {
                context.desk.shared.answers.count(status_label(101));
                self.output.tail().extend_from_slice(&response);
                self.deadline = context.now.plus(context.deadlines.answer);
                self.state = State::Answering(Then::Call(placed));
                Step::On
            }
        }
    }

    /// What came is not HTTP, or none we take. Where the next request begins is not certain.
    fn refuse(&mut self, context: &mut Context<'_>, fault: HttpError, head_only: bool) -> Step {
        context.desk.shared.http_faults.count(fault.label());
        let answer = Answer::error(fault.status(), fault.label());
        self.answer(context, &answer, Terms { keep_alive: false, head_only })
    }

    fn answer(&mut self, context: &mut Context<'_>, answer: &Answer, terms: Terms) -> Step {
        self.requests += 1;
        // The next request is for the process that has taken over.
        let may_stay = self.requests < REQUESTS_PER_CONNECTION && !context.desk.has_handed_over();
        let keep_alive = terms.keep_alive && may_stay;
        answer.write(self.output.tail(), Terms { keep_alive, ..terms });
        context.desk.shared.answers.count(status_label(answer.status));
        self.deadline = context.now.plus(context.deadlines.answer);
        self.state = State::Answering(if keep_alive { Then::NextRequest } else { Then::Close });
        Step::On
    }

    /// The kernel has the whole answer.
    fn answered(&mut self, context: &mut Context<'_>) -> Step {
        match &self.state {
            State::Answering(Then::NextRequest) => {
                self.state = State::Idle;
                self.deadline = context.now.plus(context.deadlines.keep_alive);
                // The proxy's next request may be of another client.
                if context.desk.config.server.trusted_proxies.contains(self.peer)
                    && let Some(client) = self.counts_for.take()
                {
                    context.shares.give_back(client);
                }
                Step::On
            }
            State::Answering(Then::Call(_)) => Step::Over(End::Call),
            _ => self.begin_to_linger(context),
        }
    }

    /// Says that nothing more will come, and waits for the peer to say the same: a socket closed
    /// over unread bytes resets the connection, and the answer could be lost with it.
    fn begin_to_linger(&mut self, context: &mut Context<'_>) -> Step {
        if self.socket.finish().is_err() {
            return Step::Over(End::Closed);
        }
        self.input = RecvBuf::new();
        self.deadline = context.now.plus(context.deadlines.linger);
        self.state = State::Lingering { left_bytes: LINGER_BYTES_MAX };
        Step::On
    }

    fn linger(&mut self, context: &mut Context<'_>) -> Step {
        let step = self.read(context, End::Closed);
        let State::Lingering { left_bytes } = &mut self.state else { return step };
        let thrown_away = self.input.len_bytes();
        self.input.consume(thrown_away);
        match left_bytes.checked_sub(thrown_away) {
            Some(left) => *left_bytes = left,
            None => return Step::Over(End::Closed),
        }
        match step {
            Step::Over(_) => Step::Over(End::Closed),
            step => step,
        }
    }

    /// Reads once. `at_end`: what it means if the peer has finished.
    fn read(&mut self, context: &mut Context<'_>, at_end: End) -> Step {
        if self.peer_finished {
            return Step::Over(at_end);
        }
        if !self.may_read {
            return Step::Wait;
        }
        let received = self.socket.receive(context.ciphertext, context.scratch);
        self.note_received(context, received)
    }

    /// Sees to what a read has brought into the scratch buffer.
    fn note_received(&mut self, context: &mut Context<'_>, received: io::Result<Received>) -> Step {
        context.scratch.move_into(&mut self.input);
        match received {
            Ok(Received::All(_)) => self.may_read = false,
            Ok(Received::Some(_)) => {}
            Ok(Received::End) => self.peer_finished = true,
            Err(error) => {
                if let Some(fault) = tls::fault_label(&error) {
                    context.desk.shared.tls.faults.count(fault);
                }
                return Step::Over(End::Lost);
            }
        }
        Step::On
    }

    /// Says that nothing more follows, as far as the kernel takes that at once.
    pub(super) fn say_goodbye(&mut self) {
        self.socket.say_goodbye();
    }

    /// The number of the figures request this connection waits for.
    pub(super) fn ticket(&self) -> Option<u64> {
        match self.state {
            State::Figures { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// The figures or the calendar have come, or cannot be had.
    pub(super) fn handle_figures(
        &mut self,
        context: &mut Context<'_>,
        answer: impl FnOnce(&mut Desk) -> Answer,
    ) {
        let State::Figures { terms, .. } = self.state else { return };
        let answer = answer(context.desk);
        self.answer(context, &answer, terms);
    }

    /// The deadline has passed.
    pub(super) fn expire(&mut self, context: &mut Context<'_>) -> Served {
        let label = match &self.state {
            State::Introduced => "slow_proxy_header",
            State::Bare | State::Handshake => "slow_handshake",
            State::Idle => "idle",
            State::Head => "slow_head",
            State::Body(_) => "slow_body",
            State::Figures { .. } => "slow_figures",
            State::Answering(_) => "slow_reader",
            State::Lingering { .. } => return Served::Over(End::Closed),
        };
        context.desk.shared.connections.count(label);
        let head_only = match &self.state {
            State::Body(incoming) => incoming.request.method == Method::Head,
            _ => self.begins_with_head(),
        };
        match &self.state {
            State::Head | State::Body(_) => {
                let answer = Answer::error(408, "the request did not arrive in time");
                self.answer(context, &answer, Terms { keep_alive: false, head_only });
            }
            State::Figures { ticket, .. } => {
                let (now, ticket) = (context.now, *ticket);
                self.handle_figures(context, |desk| {
                    let recall = desk.recall_answer(now, ticket, None);
                    recall.unwrap_or_else(|| desk.figures_answer(None))
                });
            }
            _ => return Served::Over(End::TooSlow),
        }
        self.serve(context)
    }

    /// The parts of a connection that ended as [`End::Call`]; `None` if it did not.
    pub(super) fn into_call(self, registry: &Registry) -> Option<BecomeCall> {
        let Connection { mut socket, peer, counts_for, input, state, .. } = self;
        let State::Answering(Then::Call(placed)) = state else { return None };
        let peer = counts_for.unwrap_or(peer);
        socket.deregister(registry).ok()?;
        Some(BecomeCall { socket, unread: input.unused().to_vec(), peer, placed })
    }
}
