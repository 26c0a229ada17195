//! The listening sockets and the keys of tokens: new, or from the process that ran before.
//!
//! In:       addresses; sockets that another process or a supervisor gives.
//! Out:      listeners for the loop; the same once more, for a process that takes over.
//! Bounds:   [`BACKLOG`].
//! Not here: how sockets come from another process (`server::takeover`).
//!
//! A socket passed on is the very same queue of connections: whichever process accepts, none is
//! lost. Two sockets on one port (SO_REUSEPORT) would be two queues, and what waits in that of the
//! process which stops is reset.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::TcpListener;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel completes before we accept them. At the bound it drops the SYN, and the
/// peer tries again.
const BACKLOG: i32 = 4096;

/// What a process can take from the one before it.
#[derive(Debug, Default)]
pub struct Estate {
    /// Sockets that listen already.
    pub sockets: Sockets,
    /// The keys of tokens; `None`: random ones.
    pub keys: Option<Keyring>,
}

/// Sockets that listen already; `None`: a new one.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For `server.listen`.
    pub main: Option<std::net::TcpListener>,
    /// For `admin.listen`.
    pub admin: Option<std::net::TcpListener>,
    /// For `server.agent_check`.
    pub agent_check: Option<std::net::TcpListener>,
}

/// What the tokens of calls are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// Tokens of calls.
    pub calls: [u8; 32],
    /// Tokens of copies of calls' tracks: neither opens the other's door.
    pub forks: [u8; 32],
    /// Tokens with which browsers come back.
    pub returns: [u8; 32],
}

impl Keyring {
    /// Keys that nobody else has.
    ///
    /// # Panics
    /// If the system gives no random bytes.
    pub fn random() -> Keyring {
        let mut keys = Keyring { calls: [0; 32], forks: [0; 32], returns: [0; 32] };
        for key in [&mut keys.calls, &mut keys.forks, &mut keys.returns] {
            aws_lc_rs::rand::fill(key).expect("the system gives random bytes");
        }
        keys
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Listens on `address`, or on the socket that is `given`.
pub(super) fn listen(
    address: SocketAddr,
    given: Option<std::net::TcpListener>,
) -> io::Result<TcpListener> {
    if let Some(listener) = given {
        listener.set_nonblocking(true)?;
        return Ok(TcpListener::from_std(listener));
    }
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A socket that has `address`, and does not listen yet.
pub(super) fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The same socket once more.
pub(super) fn again(listener: &TcpListener) -> io::Result<std::net::TcpListener> {
    listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from)
}
