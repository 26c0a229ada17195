//! The connection itself: one enum over a plain TCP socket and one with TLS on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::TlsClient;
use crate::buf::{RecvBuf, SendBuf};
use crate::limits::READ_BYTES_PER_TURN;

/// A non-blocking connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP as it is: a proxy in front has taken the TLS off, or the peer is on this machine.
    Plain(TcpStream),
    /// TCP with our TLS client on it.
    Tls(Box<TlsClient>),
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, none left in the socket: it tells when there are more.
    All(usize),
    /// So many bytes, and there may be more: read again without waiting to be told.
    Some(usize),
    /// The peer has finished; nothing more will come.
    End,
}

impl Stream {
    /// Reads once, to the end of `into`, by way of `ciphertext` where TLS is on.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` where the peer broke TLS. An end of the connection
    /// without TLS's own goodbye counts as [`Received::End`]: WebSocket has a goodbye of its own.
    pub fn receive(
        &mut self,
        ciphertext: &mut RecvBuf,
        into: &mut RecvBuf,
    ) -> io::Result<Received> {
        match self {
            Stream::Plain(socket) => read_once(socket, into),
            Stream::Tls(tls) => tls.receive(ciphertext, into),
        }
    }

    /// Hands the waiting bytes to the kernel, as many as it takes. Returns whether nothing of this
    /// connection's own, ciphertext or handshake, waits any more. What has left `from` is with the
    /// kernel.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, from: &mut SendBuf) -> io::Result<bool> {
        match self {
            Stream::Plain(socket) => write_all_it_takes(socket, from).map(|()| true),
            Stream::Tls(tls) => tls.send(from),
        }
    }

    /// Whether bytes of TLS's own wait here for the kernel.
    pub fn holds_unsent(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.holds_unsent(),
        }
    }

    /// TCP as it is.
    pub fn plain(socket: TcpStream) -> Stream {
        Stream::Plain(socket)
    }

    /// Says that nothing more follows; the peer may still send.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        self.socket_mut().shutdown(Shutdown::Write)
    }

    /// Watches the socket from now on, for reading and writing at once: interest never changes,
    /// so nothing is ever re-armed.
    ///
    /// # Errors
    /// Those of the poll instance.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket_mut().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Bounds what the kernel holds of what was sent and not yet acknowledged.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn bound_send_buffer(&mut self, bytes: usize) -> io::Result<()> {
        socket2::SockRef::from(&*self.socket_mut()).set_send_buffer_size(bytes)
    }

    /// Watches the socket no more; another thread may register it then.
    ///
    /// # Errors
    /// Those of the poll instance.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().deregister(registry)
    }

    fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket_mut(),
        }
    }
}

/// One read of at most [`READ_BYTES_PER_TURN`]. A short one has emptied the socket.
pub(super) fn read_once(socket: &mut TcpStream, into: &mut RecvBuf) -> io::Result<Received> {
    loop {
        match socket.read(into.space(READ_BYTES_PER_TURN)) {
            Ok(0) => return Ok(Received::End),
            Ok(n) => {
                into.commit(n);
                let emptied = n < READ_BYTES_PER_TURN;
                return Ok(if emptied { Received::All(n) } else { Received::Some(n) });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::All(0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes until nothing waits or the kernel takes no more.
fn write_all_it_takes(socket: &mut TcpStream, from: &mut SendBuf) -> io::Result<()> {
    while !from.is_empty() {
        match socket.write(from.waiting()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => from.consume(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
