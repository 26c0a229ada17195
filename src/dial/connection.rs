//! One attempt with its socket: TCP, TLS where it is on, and the bytes between socket and
//! [`Attempt`].
//!
//! In:       readiness and the time.
//! Out:      [`Step`]s; in the end a socket that belongs to nobody's poll, and what was not used.
//! Bounds:   [`Patience`]; one socket, moved from address to address.
//! Not here: which calls wait, whether to try again.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Patience;
use super::attempt::{Attempt, Failure, Step};
use super::resolve::Addresses;
use super::service::{Credential, Service};
use crate::buf::{RecvBuf, SendBuf};
use crate::call::LineFault;
use crate::clock::Nanos;
use crate::limits::SPARE_KEPT;
use crate::net::{Received, Stream, TlsConfig};
use crate::wire::ws::MaskKeys;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shore<'d> {
    pub registry: &'d Registry,
    pub service: &'d Service,
    /// `None`: without TLS.
    pub tls: Option<(&'d TlsConfig, &'d str)>,
    pub patience: Patience,
}

/// A connection on its way to a model.
#[derive(Debug)]
pub(super) struct Connection {
    token: Token,
    state: State,
    target: SocketAddr,
    /// Addresses for when this one refuses, the next one last.
    untried: Vec<SocketAddr>,
    /// Until when the present stage may last.
    pub(super) deadline: Nanos,
    attempt: Attempt,
    /// Made ahead: its `setup` comes later.
    is_spare: bool,
    ciphertext: RecvBuf,
    input: RecvBuf,
    output: SendBuf,
}

#[derive(Debug)]
enum State {
    /// TCP is on its way.
    Connecting(TcpStream),
    /// Bytes flow.
    Open(Stream),
    /// Handed over, or broken.
    Gone,
}

impl Connection {
    /// Begins an attempt with the first address that takes the connection at all.
    ///
    /// # Errors
    /// When none does.
    pub(super) fn begin(
        shore: &Shore<'_>,
        addresses: &Addresses,
        token: Token,
        credential: Option<&Credential>,
        setup: Option<String>,
        masks: MaskKeys,
        now: Nanos,
    ) -> Result<Connection, Failure> {
        let mut untried = addresses.in_order();
        untried.reverse();
        let (socket, target) = connect_next(shore.registry, &mut untried, token, None)?;
        let mut output = SendBuf::new();
        let is_spare = setup.is_none();
        let attempt = Attempt::new(shore.service, credential, setup, masks, &mut output);
        Ok(Connection {
            token,
            state: State::Connecting(socket),
            target,
            untried,
            deadline: now.plus(shore.patience.tcp),
            attempt,
            is_spare,
            ciphertext: RecvBuf::new(),
            input: RecvBuf::new(),
            output,
        })
    }

    /// The `setup` of a connection made ahead.
    pub(super) fn set_up(&mut self, shore: &Shore<'_>, setup: String, now: Nanos) -> Step {
        self.is_spare = false;
        self.attempt.set_up(setup, &mut self.output);
        if self.attempt.is_upgraded() {
            self.deadline = now.plus(shore.patience.setup);
        }
        self.converse(shore, now).unwrap_or_else(Step::Failed)
    }

    /// The model is ready, and its call has not come: the session is kept for it, by whoever knows
    /// how long.
    pub(super) fn keep(&mut self, shore: &Shore<'_>, now: Nanos) -> Step {
        self.attempt.keep();
        self.deadline = Nanos::NEVER;
        self.converse(shore, now).unwrap_or_else(Step::Failed)
    }

    /// The socket may be ready. `event`: what the kernel has told of it, if it has.
    pub(super) fn handle_ready(
        &mut self,
        shore: &Shore<'_>,
        addresses: &mut Addresses,
        now: Nanos,
        event: Option<&Event>,
    ) -> Step {
        match self.advance(shore, addresses, now, event) {
            Ok(step) => step,
            Err(failure) => Step::Failed(failure),
        }
    }

    fn advance(
        &mut self,
        shore: &Shore<'_>,
        addresses: &mut Addresses,
        now: Nanos,
        event: Option<&Event>,
    ) -> Result<Step, Failure> {
        if let State::Connecting(socket) = &mut self.state {
            match connected(socket) {
                Ok(false) => return Ok(Step::Waiting),
                Ok(true) => self.open(shore, addresses, now)?,
                Err(why) => {
                    return self.try_next(shore, addresses, why).map(|()| Step::Waiting);
                }
            }
        }
        if let (State::Open(stream), Some(event)) = (&mut self.state, event) {
            stream.note(event);
        }
        self.converse(shore, now)
    }

    /// This address refused: goes on with the next one, within the same deadline.
    fn try_next(
        &mut self,
        shore: &Shore<'_>,
        addresses: &mut Addresses,
        why: io::Error,
    ) -> Result<(), Failure> {
        if let State::Connecting(mut socket) = std::mem::replace(&mut self.state, State::Gone) {
            // Closing the socket would do the same.
            let _ = shore.registry.deregister(&mut socket);
        }
        addresses.failed(self.target);
        let next = connect_next(shore.registry, &mut self.untried, self.token, Some(why));
        let (socket, target) = next?;
        (self.state, self.target) = (State::Connecting(socket), target);
        Ok(())
    }

    fn open(
        &mut self,
        shore: &Shore<'_>,
        addresses: &mut Addresses,
        now: Nanos,
    ) -> Result<(), Failure> {
        let State::Connecting(socket) = std::mem::replace(&mut self.state, State::Gone) else {
            return Ok(());
        };
        addresses.worked(self.target);
        let stream = match shore.tls {
            None => Stream::plain(socket),
            Some((config, host)) => {
                Stream::to_model(socket, config, host).map_err(|_| LineFault::Tls)?
            }
        };
        self.state = State::Open(stream);
        self.deadline = now.plus(shore.patience.upgrade);
        Ok(())
    }

    /// Moves bytes both ways until the socket has no more to give.
    fn converse(&mut self, shore: &Shore<'_>, now: Nanos) -> Result<Step, Failure> {
        let State::Open(stream) = &mut self.state else { return Ok(Step::Waiting) };
        loop {
            let sent = stream.send(&mut self.output);
            let received = stream.receive(&mut self.ciphertext, &mut self.input);
            let was_upgraded = self.attempt.is_upgraded();
            // What came with the error, or before the end, still counts: often it is the reason.
            let step = self.attempt.handle_bytes(&mut self.input, &mut self.output);
            if self.attempt.is_upgraded() && !was_upgraded {
                let kept = if self.is_spare { SPARE_KEPT } else { shore.patience.setup };
                self.deadline = now.plus(kept);
            }
            // TLS has answers of its own, which leave whether or not there is anything to say.
            let sent = sent.and(stream.send(&mut self.output));
            if step != Step::Waiting {
                return Ok(step);
            }
            sent.map_err(io_fault)?;
            match received.map_err(io_fault)? {
                Received::All(_) => return Ok(Step::Waiting),
                Received::Some(_) => {}
                Received::End => return Err(LineFault::closed(None, "").into()),
            }
        }
    }

    /// What the passing of the deadline means.
    pub(super) fn timed_out(&self, addresses: &mut Addresses) -> Failure {
        match self.state {
            State::Connecting(_) => {
                addresses.failed(self.target);
                LineFault::Connect.into()
            }
            // Nothing was said to a session yet, or of one.
            _ if !self.attempt.is_upgraded() => LineFault::Connect.into(),
            _ => LineFault::Timeout.into(),
        }
    }

    /// Whether the upgrade is done.
    pub(super) fn is_upgraded(&self) -> bool {
        self.attempt.is_upgraded()
    }

    /// Says goodbye as far as the kernel takes it, and lets the socket go.
    pub(super) fn give_up(mut self) {
        self.attempt.say_goodbye(&mut self.output);
        if let State::Open(stream) = &mut self.state {
            // The peer may be gone already, which is as good.
            let _ = stream.send(&mut self.output);
        }
    }

    /// The ready socket, watched by nobody, and what its call is to see: what came behind
    /// `setupComplete`.
    ///
    /// # Errors
    /// Those of the poll instance.
    ///
    /// # Panics
    /// If the model is not ready.
    pub(super) fn hand_over(mut self, registry: &Registry) -> io::Result<(Stream, Vec<u8>)> {
        let State::Open(mut stream) = std::mem::replace(&mut self.state, State::Gone) else {
            panic!("a line is handed over once, when it is ready");
        };
        stream.deregister(registry)?;
        let mut unread = self.attempt.take_kept();
        unread.extend_from_slice(self.input.unused());
        Ok((stream, unread))
    }
}

/// Starts TCP to the next address to which that is possible at all. `why`: what the last one was
/// given up for.
fn connect_next(
    registry: &Registry,
    untried: &mut Vec<SocketAddr>,
    token: Token,
    mut why: Option<io::Error>,
) -> Result<(TcpStream, SocketAddr), Failure> {
    while let Some(target) = untried.pop() {
        match connect(registry, target, token) {
            Ok(socket) => return Ok((socket, target)),
            // No other address would help.
            Err(error) if lacks_descriptor(&error) => return Err(LineFault::NoDescriptor.into()),
            Err(error) => why = Some(error),
        }
    }
    let reason = why.map(|why| why.to_string()).unwrap_or_default();
    Err(Failure { reason, ..LineFault::Connect.into() })
}

/// Whether the process, or the machine, has no descriptor left to give.
fn lacks_descriptor(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn connect(registry: &Registry, target: SocketAddr, token: Token) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(target)?;
    socket.set_nodelay(true)?;
    registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(socket)
}

/// Whether TCP is up, or why it never will be.
fn connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// `InvalidData` is what our TLS says of a peer that broke it.
fn io_fault(error: io::Error) -> Failure {
    let fault = match error.kind() {
        ErrorKind::InvalidData => LineFault::Tls,
        _ => LineFault::closed(None, ""),
    };
    Failure { reason: error.to_string(), ..fault.into() }
}
