//! The inbound thread: its own event loop over connections that are not calls yet.
//!
//! In:       TCP connections; letters ([`AcceptLetter`]).
//! Out:      answers to HTTP requests; each connection that becomes a WebSocket, by letter to the
//!           emptiest worker; orders for lines to the model.
//! Bounds:   [`YOUNG_CONNECTIONS_MAX`] connections, each with deadlines ([`Deadlines`]).
//! Not here: frames of a WebSocket, audio: a connection leaves with its 101.
//!
//! | file | what it holds |
//! |---|---|
//! | `inbound` | the loop |
//! | `young` | the slots of the connections |
//! | `connection` | one connection's life, with what comes before its first request |
//! | `request`, `answer`, `date` | what comes out of a head, what goes back |
//! | `desk` | what is known while answering; capacity; the verdict on a call |
//! | `routes`, `carrier`, `doors`, `page` | the answers, by kind of request |
//! | `status` | the operator's page, who may read it; health and readiness |
//! | `agent_check` | what HAProxy is told of our capacity |
//! | `late`, `descriptors` | when measurement forbids another call |
//! | `listeners`, `successor` | what passes from one process to the next |
//! | `limiter` | log lines that strangers can cause |
//! | `names` | what calls and their tokens go by, whose name is whose |
//! | `guests` | calls promised, arriving, let in |
//! | `comeback` | callers whose connection was lost, and who come back |
//! | `recall` | the same of another process, by the journal |
//! | `secrets` | bearer tokens |
//! | `client` | where a request comes from, behind proxies |
//! | `admission`, `endings`, `origin` | who is let in, what follows a call, where we are reached |
//!
//! Connections are counted under these labels:
//!
//! | label | meaning |
//! |---|---|
//! | `accepted` | got a slot |
//! | `agent_check` | was told how much is free, and closed |
//! | `too_many`, `too_many_of_one_address` | got none: closed at once |
//! | `gave_way` | idled between two requests, and was closed for a new one |
//! | `bad_forwarded` | a trusted proxy's list of hops could not be read: its client is unknown |
//! | `bad_forwarded_host` | a trusted proxy named several hosts, or none: `Host` is believed |
//! | `accept_failed` | the kernel gave none, mostly for lack of descriptors |
//! | `slow_proxy_header`, `slow_handshake` | closed before the first request: silent, or dripping |
//! | `no_proxy_header`, `other_proxy_version` | closed: of a trusted proxy |
//! | `long_proxy_header`, `bad_proxy_header` | the same |
//! | `idle` | closed: no request in time |
//! | `slow_head`, `slow_body`, `slow_figures` | answered 408 or 503 at a deadline |
//! | `slow_reader` | closed: did not read its answer |
//! | `lost` | the peer left in the middle |
//! | `not_watched` | the poll instance refused the socket |
//! | `heir_box_full` | what the process that took over should know was lost |
//! | `worker_box_full`, `dial_box_full` | a letter was lost, or a line could not be ordered |

mod admission;
mod agent_check;
mod answer;
mod carrier;
mod carriers;
mod client;
mod comeback;
mod connection;
mod date;
mod descriptors;
mod desk;
mod doors;
mod endings;
mod guests;
mod inbound;
mod late;
mod limiter;
mod listeners;
mod names;
mod origin;
mod page;
mod recall;
mod request;
mod routes;
mod secrets;
mod status;
mod successor;
mod young;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Waker};

use listeners::{again, listen};

use crate::clock::Clock;
use crate::config::Config;
use crate::limits::YOUNG_CONNECTIONS_MAX;
use crate::mail::{
    AcceptLetter, CalendarLetter, ControlLetter, DialLetter, JournalLetter, Load, Mailbox, Postbox,
    WorkerLetter, mailbox,
};
use crate::metrics::Shared;
use crate::net::TlsServer;
pub use connection::Deadlines;
pub use listeners::{Estate, Keyring, Sockets};

/// Sockets that one wait may tell of; the next wait tells of the rest.
const EVENTS_PER_TURN: usize = 1024;

/// The inbound thread before it runs: it listens already.
#[derive(Debug)]
pub struct Accept {
    poll: Poll,
    listener: TcpListener,
    local_addr: SocketAddr,
    /// The listener for figures, and where it listens.
    admin: Option<(TcpListener, SocketAddr)>,
    /// The listener for HAProxy's agent checks, and where it listens.
    agent_check: Option<(TcpListener, SocketAddr)>,
    mailbox: Mailbox<AcceptLetter>,
    config: Arc<Config>,
    clock: Clock,
    load: Arc<Load>,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    /// Connections that are not calls yet, at most.
    room: usize,
    /// Of the main address.
    tls: Option<Arc<TlsServer>>,
    keys: Keyring,
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

/// The threads that the inbound thread writes to.
#[derive(Debug)]
pub struct Neighbours {
    /// The workers, by number.
    pub workers: Vec<Postbox<WorkerLetter>>,
    /// Brings the lines to the model.
    pub dial: Postbox<DialLetter>,
    /// Gathers the figures.
    pub control: Postbox<ControlLetter>,
    /// Writes the calendar feed; `None` where no appointments are taken.
    pub calendar: Option<Postbox<CalendarLetter>>,
    /// Keeps the journal of conversations, if that is wanted.
    pub journal: Option<Postbox<JournalLetter>>,
}

impl Accept {
    /// Listens where the settings say: one address, or one more for the figures.
    ///
    /// # Errors
    /// Those of the socket, above all an address in use, and of the poll instance.
    pub fn bind(
        config: Arc<Config>,
        clock: Clock,
        load: Arc<Load>,
        shared: Arc<Shared>,
    ) -> Result<(Accept, Postbox<AcceptLetter>), BindError> {
        Accept::take_over(config, clock, load, shared, Estate::default())
    }

    /// The same, with what another process or a supervisor gives: its sockets instead of new ones,
    /// its keys instead of random ones.
    ///
    /// # Errors
    /// As [`Accept::bind`].
    pub fn take_over(
        config: Arc<Config>,
        clock: Clock,
        load: Arc<Load>,
        shared: Arc<Shared>,
        estate: Estate,
    ) -> Result<(Accept, Postbox<AcceptLetter>), BindError> {
        let main = ("server.listen", config.server.listen);
        let no_poll = |error| BindError { key: main.0, address: main.1, error };
        let poll = Poll::new().map_err(no_poll)?;
        let Estate { sockets, keys } = estate;
        let watched = |(key, address), given, token| {
            let failed = |error| BindError { key, address, error };
            let mut listener = listen(address, given).map_err(failed)?;
            let interest = Interest::READABLE;
            poll.registry().register(&mut listener, token, interest).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok((listener, address))
        };
        let (listener, local_addr) = watched(main, sockets.main, inbound::LISTENER)?;
        let admin = config.admin.listen.map(|address| ("admin.listen", address));
        let admin = admin.map(|admin| watched(admin, sockets.admin, inbound::ADMIN)).transpose()?;
        let check = config.server.agent_check.map(|address| ("server.agent_check", address));
        let check = check.map(|check| watched(check, sockets.agent_check, inbound::AGENT_CHECK));
        let agent_check = check.transpose()?;
        let bell = Arc::new(Waker::new(poll.registry(), inbound::BELL).map_err(no_poll)?);
        let (postbox, mailbox) = mailbox(bell);
        let deadlines = Deadlines::default();
        let accept = Accept {
            poll,
            listener,
            local_addr,
            admin,
            agent_check,
            mailbox,
            config,
            clock,
            load,
            shared,
            deadlines,
            room: YOUNG_CONNECTIONS_MAX,
            tls: None,
            keys: keys.unwrap_or_else(Keyring::random),
        };
        Ok((accept, postbox))
    }

    /// With TLS on the main address.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<TlsServer>>) -> Accept {
        Accept { tls, ..self }
    }

    /// With other deadlines than those of `limits`.
    #[must_use]
    pub fn with_deadlines(self, deadlines: Deadlines) -> Accept {
        Accept { deadlines, ..self }
    }

    /// With room for fewer connections that are not calls yet than `limits` has.
    #[must_use]
    pub fn with_room(self, room: usize) -> Accept {
        Accept { room, ..self }
    }

    /// What a process that takes over is given: the same sockets, the same keys.
    ///
    /// # Errors
    /// When there are no descriptors for them.
    pub fn estate(&self) -> io::Result<Estate> {
        let once_more = |watched: &Option<(TcpListener, SocketAddr)>| {
            watched.as_ref().map(|(listener, _)| again(listener)).transpose()
        };
        let sockets = Sockets {
            main: Some(again(&self.listener)?),
            admin: once_more(&self.admin)?,
            agent_check: once_more(&self.agent_check)?,
        };
        Ok(Estate { sockets, keys: Some(self.keys.clone()) })
    }

    /// Where it listens; the port is the real one also where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it listens for those who ask for figures, if that is an address of its own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|&(_, address)| address)
    }

    /// Where it listens for HAProxy's agent checks, if it does.
    pub fn agent_check_addr(&self) -> Option<SocketAddr> {
        self.agent_check.as_ref().map(|&(_, address)| address)
    }

    /// Serves until [`AcceptLetter::Stop`].
    pub fn run(self, neighbours: Neighbours) {
        inbound::Inbound::new(self, neighbours).run(&mut Events::with_capacity(EVENTS_PER_TURN));
    }
}

/// Whether `address` can be had: it is taken and given back, and nobody outside sees anything of
/// it.
///
/// # Errors
/// Why not.
pub fn try_address(address: SocketAddr) -> io::Result<()> {
    listeners::bound(address).map(drop)
}
