//! The embedded agent for a first run without a key: a small Gemini Live server on loopback.
//!
//! In:       WebSocket connections from this machine.
//! Out:      a session each: it greets, listens, repeats what it heard, can be interrupted, and
//!           calls the tools the client declared when a key or a word asks for it.
//! Bounds:   [`DEMO_SESSIONS_MAX`], [`MESSAGE_MAX_BYTES`], [`HANDSHAKE_TIMEOUT`],
//!           [`WRITE_TIMEOUT`].
//! Not here: understanding speech; media threads. Blocking sockets, a thread each, and a
//!           WebSocket that is not ours: what is shown here passed through a second implementation.
//!
//! | file | what it holds |
//! |---|---|
//! | `agent` | the protocol: messages and time in, messages out |
//! | `intent` | what keys and words ask for |
//! | `errand` | which tools do it, and with what arguments |
//! | `ear` | when the caller speaks, and what |
//! | `mouth` | audio on its way, faster than it is heard |
//! | `spelling` | the two spellings of a field's name |
//! | `speech` | what it can say; `speech.ulaw` and `speech.txt`, made by `speech.sh` |

mod agent;
mod ear;
mod errand;
mod intent;
mod mouth;
mod speech;
mod spelling;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::clock::Clock;
use crate::config::ModelUrl;
use crate::limits::{CLOSE_TIMEOUT, DEMO_SESSIONS_MAX};
use crate::wire::ws::CLOSE_REASON_MAX;
use agent::{Agent, Goodbye};

/// The longest message of a client, which is its `setup`. Above: the session ends.
const MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// From the connection to the end of the upgrade. Then: dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// For a client that takes nothing. Then: dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest a session sleeps before it looks whether the demo has stopped, and the pause after
/// a connection that could not be taken.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);
/// Messages read, and not looked at, while the other side's close is awaited.
const READS_AFTER_CLOSE: usize = 64;
/// Clients being told at once that there is no session for them. A further one is not told.
const REFUSALS_AT_ONCE: usize = 8;

/// The running demo agent; stopped when dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    /// `None` once it is joined.
    thread: Option<JoinHandle<()>>,
}

/// Starts the demo agent on a free port of this machine's loopback.
///
/// # Errors
/// If there is no port or no thread to be had.
pub fn start() -> io::Result<Demo> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let seen = stopping.clone();
    let thread = std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || accept_sessions(&listener, &seen))?;
    Ok(Demo { address, stopping, thread: Some(thread) })
}

impl Demo {
    /// Where to dial it.
    pub fn url(&self) -> ModelUrl {
        ModelUrl { tls: false, host: self.address.ip().to_string(), port: self.address.port() }
    }
}

impl Drop for Demo {
    /// Closes every session and waits for its thread.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread from its wait for a connection. If that fails there is no listener to
        // wait on any more.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            // A panic of its own has been printed already.
            let _ = thread.join();
        }
    }
}

fn accept_sessions(listener: &TcpListener, stopping: &Arc<AtomicBool>) {
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    let mut refusals: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Relaxed) {
            break;
        }
        let Ok((socket, _)) = accepted else {
            // Out of descriptors, most likely: some come back when a call ends.
            std::thread::sleep(LOOK_UP_EVERY);
            continue;
        };
        sessions.retain(|session| !session.is_finished());
        if sessions.len() == DEMO_SESSIONS_MAX {
            // A client that is slow to say hello must not keep the others waiting.
            refusals.retain(|refusal| !refusal.is_finished());
            if refusals.len() < REFUSALS_AT_ONCE {
                let refusal = std::thread::Builder::new().name("demo-refusal".to_owned());
                refusals.extend(refusal.spawn(move || refuse(socket)));
            }
            continue;
        }
        let stopping = stopping.clone();
        let session = std::thread::Builder::new()
            .name("demo-session".to_owned())
            .spawn(move || hold_session(socket, &stopping));
        // Without a thread to be had the socket is dropped: the client sees a lost connection.
        sessions.extend(session);
    }
    for session in sessions.into_iter().chain(refusals) {
        // A panic of its own has been printed already.
        let _ = session.join();
    }
}

/// One too many.
fn refuse(socket: TcpStream) {
    if let Ok(mut session) = upgrade(socket) {
        let reason = format!("the demo agent holds at most {DEMO_SESSIONS_MAX} sessions");
        close(&mut session, &Goodbye { code: 1013, reason });
    }
}

fn hold_session(socket: TcpStream, stopping: &AtomicBool) {
    let talked = upgrade(socket).and_then(|session| talk(session, stopping));
    if let Err(why) = talked {
        log::debug!("a session of the demo agent ended: {why}");
    }
}

fn upgrade(socket: TcpStream) -> tungstenite::Result<WebSocket<TcpStream>> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES));
    tungstenite::accept_with_config(socket, Some(config)).map_err(|failure| match failure {
        tungstenite::HandshakeError::Failure(why) => why,
        tungstenite::HandshakeError::Interrupted(_) => Error::Io(ErrorKind::TimedOut.into()),
    })
}

/// Carries messages between the socket and the agent until one of them ends it.
fn talk(mut session: WebSocket<TcpStream>, stopping: &AtomicBool) -> tungstenite::Result<()> {
    let clock = Clock::start();
    let mut agent = Agent::new(jiff::Zoned::now().date());
    loop {
        agent.handle_timeout(clock.now());
        while let Some(message) = agent.poll_message() {
            session.write(Message::text(message))?;
        }
        session.flush()?;
        if let Some(goodbye) = agent.ended() {
            close(&mut session, goodbye);
            return Ok(());
        }
        if stopping.load(Ordering::Relaxed) {
            close(&mut session, &Goodbye { code: 1001, reason: String::new() });
            return Ok(());
        }
        let rest = agent.next_timeout().since(clock.now());
        let rest = rest.clamp(Duration::from_millis(1), LOOK_UP_EVERY);
        session.get_ref().set_read_timeout(Some(rest))?;
        match session.read() {
            Ok(Message::Text(text)) => agent.handle_message(clock.now(), text.as_bytes()),
            Ok(Message::Binary(bytes)) => agent.handle_message(clock.now(), &bytes),
            Ok(Message::Close(_)) => return session.flush(),
            Ok(_) => {}
            Err(Error::Io(why)) if is_timeout(&why) => {}
            Err(why) => return Err(why),
        }
    }
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Says goodbye, and waits a little for the other side to say it too.
fn close(session: &mut WebSocket<TcpStream>, goodbye: &Goodbye) {
    let reason = &goodbye.reason[..goodbye.reason.floor_char_boundary(CLOSE_REASON_MAX)];
    let frame = CloseFrame { code: goodbye.code.into(), reason: reason.into() };
    let patient = session.get_ref().set_read_timeout(Some(CLOSE_TIMEOUT));
    if patient.is_err() || session.close(Some(frame)).is_err() {
        return;
    }
    for _ in 0..READS_AFTER_CLOSE {
        if session.read().is_err() {
            return;
        }
    }
}
