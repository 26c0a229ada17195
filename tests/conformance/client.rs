//! A WebSocket client that returns what each case of a conformance suite sends: asks
//! `/getCaseCount`, runs `/runCase?case=N&agent=A`, ends with `/updateReports?agent=A`.
//!
//! Bounds:   [`CASES_MAX`]; [`MESSAGE_MAX`]; [`CASE_TIMEOUT`] for one connection.
//! Not here: TLS, and names other than those the system resolves.

use std::io;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use vocaris::buf::{RecvBuf, SendBuf};
use vocaris::net::{Received, Stream};
use vocaris::wire::upgrade;
use vocaris::wire::ws::Role;

use crate::peer::{Peer, Turn};

/// Cases one run asks for. A server that names more is not believed.
const CASES_MAX: u32 = 100_000;
/// The longest message, in bytes.
const MESSAGE_MAX: usize = 16 << 20;
/// For one case, from connecting to its end. Then the connection is dropped, and the next begins.
const CASE_TIMEOUT: Duration = Duration::from_secs(120);
/// From our close to the server's end. Then the connection is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Runs every case the server at `url` has; returns how many.
///
/// # Errors
/// A server that cannot be reached, or does not say how many cases it has.
pub(crate) fn run(url: &str, agent: &str) -> io::Result<u32> {
    let host = url.strip_prefix("ws://").map(|rest| rest.trim_end_matches('/'));
    let host = host.ok_or_else(|| io::Error::other("not a ws:// URL"))?;
    let agent = in_query(agent);
    let mut answer = String::new();
    visit(host, "/getCaseCount", |count| {
        count.clone_into(&mut answer);
        false
    })?;
    let cases: u32 =
        answer.trim().parse().ok().filter(|cases| *cases <= CASES_MAX).ok_or_else(|| {
            io::Error::other(format!("/getCaseCount answers {:?}", answer.escape_debug()))
        })?;
    for case in 1..=cases {
        if let Err(why) = visit(host, &format!("/runCase?case={case}&agent={agent}"), |_| true) {
            eprintln!("case {case}: {why}");
        }
    }
    visit(host, &format!("/updateReports?agent={agent}"), |_| false)?;
    Ok(cases)
}

/// `text` with everything percent-encoded that has a meaning in a query.
fn in_query(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// One connection, from its upgrade to its end. `on_text` as in [`Peer::turn`].
fn visit(host: &str, target: &str, mut on_text: impl FnMut(&str) -> bool) -> io::Result<()> {
    let deadline = Instant::now() + CASE_TIMEOUT;
    let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let socket = std::net::TcpStream::connect_timeout(&address, CASE_TIMEOUT)?;
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    let mut stream = Stream::plain(TcpStream::from_std(socket));
    stream.register(poll.registry(), Token(0))?;
    let input = ask(&mut stream, host, target, |wait| {
        poll.poll(&mut events, Some(wait.min(deadline.saturating_duration_since(Instant::now()))))
    })?;
    let mut peer = Peer::new(stream, Role::Client, MESSAGE_MAX, input, SendBuf::new());
    let mut closing_since = None;
    while Instant::now() < deadline {
        match peer.turn(&mut on_text)? {
            Turn::Over => return Ok(()),
            Turn::Wait if peer.is_closing() => {
                let since = *closing_since.get_or_insert_with(Instant::now);
                if since.elapsed() > CLOSE_WAIT {
                    return Ok(());
                }
            }
            Turn::Wait => {}
        }
        poll.poll(&mut events, Some(CLOSE_WAIT))?;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks for the upgrade. Returns what came behind the answer.
fn ask(
    stream: &mut Stream,
    host: &str,
    target: &str,
    mut wait: impl FnMut(Duration) -> io::Result<()>,
) -> io::Result<RecvBuf> {
    let (mut input, mut output) = (RecvBuf::new(), SendBuf::new());
    let key = upgrade::new_key();
    upgrade::write_request(output.tail(), host, target, &key, &[]);
    let until = Instant::now() + CASE_TIMEOUT;
    while Instant::now() < until {
        stream.send(&mut output)?;
        let received = stream.receive(&mut RecvBuf::new(), &mut input)?;
        match upgrade::decode_response(input.unused(), &key) {
            Err(error) => return Err(io::Error::other(error.label())),
            Ok(Some(used)) => {
                input.consume(used);
                return Ok(input);
            }
            Ok(None) if received == Received::End => break,
            Ok(None) => wait(CLOSE_WAIT)?,
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
