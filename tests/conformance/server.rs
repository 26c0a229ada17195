//! A WebSocket server that returns every text and binary message. Any path is upgraded.
//!
//! Bounds:   [`PEERS_MAX`] connections; [`MESSAGE_MAX`] as the highest limit; [`HEAD_TIMEOUT`] for
//!           the head, [`CLOSE_WAIT`] for the other side's end after our close.
//! Not here: routes, tokens, admission: this is no relay.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use vocaris::buf::{RecvBuf, SendBuf};
use vocaris::limits::HEAD_TIMEOUT;
use vocaris::net::{Received, Stream};
use vocaris::wire::http::{HeadDecoded, decode_request, write_response};
use vocaris::wire::upgrade;
use vocaris::wire::ws::Role;

use crate::peer::{Peer, Turn};

/// Connections at once. Above: closed at once.
const PEERS_MAX: usize = 1024;
/// The highest message limit that can be asked for, in bytes.
pub(crate) const MESSAGE_MAX: usize = 16 << 20;
/// From our close to the end of the connection. Then it is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);
const LISTENER: Token = Token(0);

/// A connection, before and after its upgrade.
enum Guest {
    Young { stream: Stream, input: RecvBuf, since: Instant },
    Peer { peer: Box<Peer>, closing_since: Option<Instant> },
}

/// Serves until `go_on` says no, at the latest a [`TICK`] later.
///
/// # Errors
/// Those of the listener and of the poll instance.
pub(crate) fn serve(
    listener: &mut TcpListener,
    message_max: usize,
    go_on: impl Fn() -> bool,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(listener, LISTENER, Interest::READABLE)?;
    let mut guests: HashMap<Token, Guest> = HashMap::new();
    let mut events = Events::with_capacity(1024);
    let mut next = 1;
    while go_on() {
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, listener, &mut guests, &mut next)?;
            } else if let Some(guest) = guests.remove(&event.token()) {
                guests.extend(guest.turn(message_max).map(|guest| (event.token(), guest)));
            }
        }
        guests.retain(|_, guest| !guest.is_overdue());
    }
    Ok(())
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    guests: &mut HashMap<Token, Guest>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        let socket: TcpStream = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if guests.len() >= PEERS_MAX {
            continue;
        }
        socket.set_nodelay(true)?;
        let mut stream = Stream::plain(socket);
        stream.register(poll.registry(), Token(*next))?;
        let young = Guest::Young { stream, input: RecvBuf::new(), since: Instant::now() };
        guests.insert(Token(*next), young);
        *next += 1;
    }
}

impl Guest {
    /// One turn; `None` when the connection is over.
    fn turn(self, message_max: usize) -> Option<Guest> {
        match self {
            Guest::Young { mut stream, mut input, since } => {
                let received = stream.receive(&mut RecvBuf::new(), &mut input).ok()?;
                let mut output = SendBuf::new();
                match welcome(&mut input, output.tail()) {
                    Welcome::Wait if received == Received::End => None,
                    Welcome::Wait => Some(Guest::Young { stream, input, since }),
                    Welcome::Refused => {
                        // Whoever is refused may be gone already.
                        let _ = stream.send(&mut output);
                        None
                    }
                    Welcome::Upgraded => {
                        let peer = Peer::new(stream, Role::Server, message_max, input, output);
                        Guest::Peer { peer: Box::new(peer), closing_since: None }.turn(message_max)
                    }
                }
            }
            Guest::Peer { mut peer, closing_since } => match peer.turn(|_| true) {
                Ok(Turn::Wait) => {
                    let now = || peer.is_closing().then(Instant::now);
                    let closing_since = closing_since.or_else(now);
                    Some(Guest::Peer { peer, closing_since })
                }
                Ok(Turn::Over) | Err(_) => None,
            },
        }
    }

    fn is_overdue(&self) -> bool {
        match self {
            Guest::Young { since, .. } => since.elapsed() > HEAD_TIMEOUT,
            Guest::Peer { closing_since, .. } => {
                closing_since.is_some_and(|since| since.elapsed() > CLOSE_WAIT)
            }
        }
    }
}

/// What became of the bytes before the upgrade.
enum Welcome {
    Wait,
    Upgraded,
    Refused,
}

/// Answers the upgrade request at the front of `input`.
fn welcome(input: &mut RecvBuf, out: &mut Vec<u8>) -> Welcome {
    let refuse = |out: &mut Vec<u8>, status: u16, label: &str| {
        let extra = upgrade::required(status);
        write_response(out, status, "text/plain", extra, label.as_bytes(), false, false);
        Welcome::Refused
    };
    let used = match decode_request(input.unused()) {
        Ok(HeadDecoded::NeedMore) => return Welcome::Wait,
        Err(error) => return refuse(out, error.status(), error.label()),
        Ok(HeadDecoded::Head { head, used }) => match upgrade::check_request(&head) {
            Err(error) => return refuse(out, error.status(), error.label()),
            Ok(request) => {
                upgrade::write_accepted(out, &upgrade::accept_value(request.key), None);
                used
            }
        },
    };
    input.consume(used);
    Welcome::Upgraded
}
