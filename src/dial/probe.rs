//! One session for nobody: whether the model can be had with these settings.
//!
//! In:       the settings, the agent that answers every number.
//! Out:      what was found on the way; the session is closed with 1000 as soon as it is ready.
//! Bounds:   the times of [`Patience`](super::Patience) for each attempt, [`CLOSE_TIMEOUT`] for the
//!           service's own close. Whoever needs a bound for the whole waits no longer than that
//!           (`server::check`).
//! Not here: what is said of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use mio::{Events, Token};

use super::{Dial, DialError};
use crate::buf::{RecvBuf, SendBuf};
use crate::call::{CallId, Class};
use crate::clock::{Clock, Nanos};
use crate::config::Config;
use crate::limits::AGENT_MESSAGE_MAX_BYTES;
use crate::mail::{CallKey, DialLetter, Line, WorkerLetter, mailbox_without_bell};
use crate::net::Received;
use crate::wire::ws::{self, CloseCode, Event, MessageReader, Role};

/// How long the service may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The only socket that is waited for when the session is ready.
const LINE: Token = Token(0);

/// A session that was had.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The addresses of the model's host, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// From the first look-up until the model was ready.
    pub ready_in: Duration,
    /// The code of the service's own close; `None`: it only hung up, or said nothing in time.
    pub closed_with: Option<u16>,
}

/// Why there was none.
#[derive(Clone, Debug)]
pub struct ProbeFault {
    /// The addresses that were tried; empty: none was found.
    pub addresses: Vec<SocketAddr>,
    /// What was wrong, and what to do, without secrets.
    pub words: String,
}

/// Makes one session as the first of a call would be made, and closes it.
///
/// # Errors
/// When there is none, after as many attempts as a call is given.
///
/// # Panics
/// If the system has no memory for a poll instance's events.
pub fn probe(config: &Arc<Config>) -> Result<Probed, ProbeFault> {
    let clock = Clock::start();
    let no_thread = |error: DialError| ProbeFault { addresses: vec![], words: error.to_string() };
    let (mut dial, postbox) =
        Dial::new(config.clone(), clock, Arc::default()).map_err(no_thread)?;
    let (worker, letters) = mailbox_without_bell();
    let (tell, told) = bounded(1);
    (dial.workers, dial.told) = (vec![worker], Some(tell));
    let order = DialLetter::Dial {
        call: CallKey { worker: 0, slot: 0, generation: 0 },
        id: CallId(0),
        class: Class::Web,
        agent: config.agent_for(None).clone(),
        facts: Arc::default(),
        ahead: None,
        revival: None,
    };
    // Its box is empty, and its reader is here.
    let _ = postbox.post(order);
    let mut events = Events::with_capacity(16);
    let letter = loop {
        match dial.turn(&mut events) {
            Ok(_) => {}
            Err(error) => return Err(no_thread(error.into())),
        }
        if let Some(letter) = letters.take() {
            break letter;
        }
    };
    let (addresses, ready_in) = (dial.addresses.in_order(), clock.now().since(Nanos::ZERO));
    match letter {
        WorkerLetter::Line { line, .. } => {
            let closed_with = close(dial, *line, clock);
            Ok(Probed { addresses, ready_in, closed_with })
        }
        _ => Err(ProbeFault { addresses, words: told.try_recv().unwrap_or_default() }),
    }
}

/// Says goodbye, and waits for the service to say it too. Returns its code.
fn close(mut dial: Dial, line: Line, clock: Clock) -> Option<u16> {
    let Line { mut socket, unread, .. } = line;
    let mut goodbye = SendBuf::new();
    let mask = fastrand::u32(..).to_ne_bytes();
    ws::write_close(Role::Client, CloseCode::NORMAL, "", mask, goodbye.tail());
    socket.register(dial.poll.registry(), LINE).ok()?;
    let mut reader = MessageReader::new(Role::Server, AGENT_MESSAGE_MAX_BYTES);
    let (mut ciphertext, mut input) = (RecvBuf::new(), RecvBuf::starting_with(unread));
    let mut events = Events::with_capacity(16);
    let until = clock.now().plus(CLOSE_TIMEOUT);
    loop {
        socket.send(&mut goodbye).ok()?;
        loop {
            let (event, used) = reader.next(input.unused_mut()).ok()?;
            match event {
                Event::NeedMore { .. } => break,
                Event::Close { code, .. } => return code.map(CloseCode::number),
                _ => input.consume(used),
            }
        }
        match socket.receive(&mut ciphertext, &mut input).ok()? {
            Received::End => return None,
            Received::Some(_) => {}
            Received::All(0) => {
                let now = clock.now();
                if now >= until {
                    return None;
                }
                dial.poll.poll(&mut events, Some(until.since(now))).ok()?;
            }
            Received::All(_) => {}
        }
    }
}
