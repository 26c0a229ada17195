//! A non-blocking byte stream, plain or TLS, as `std::io::Read` and `Write`.
//!
//! In:       a connected mio socket, and the TLS side it plays.
//! Out:      bytes; `WouldBlock` where a blocking socket would wait.
//! Bounds:   TLS holds at most [`TLS_UNSENT_BYTES_MAX`] of unsent plaintext, then a write blocks.
//! Not here: readiness (`net::reactor`), what the bytes say.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, ServerConnection};

/// Plaintext that TLS keeps while the socket accepts nothing. A write beyond it would block.
pub const TLS_UNSENT_BYTES_MAX: usize = 1 << 20;

/// A connection, before and after its handshakes.
pub enum Stream {
    /// Bytes go as they are.
    Plain(TcpStream),
    /// Bytes go through TLS.
    Tls(Box<TlsStream>),
}

/// TLS over a socket, either side of it.
pub struct TlsStream {
    tls: rustls::Connection,
    socket: TcpStream,
}

impl Stream {
    /// A plain connection.
    pub fn plain(socket: TcpStream) -> Stream {
        Stream::Plain(socket)
    }

    /// The server's side of a TLS connection.
    pub fn tls_server(socket: TcpStream, tls: ServerConnection) -> Stream {
        Stream::tls(socket, tls.into())
    }

    /// The client's side of a TLS connection.
    pub fn tls_client(socket: TcpStream, tls: ClientConnection) -> Stream {
        Stream::tls(socket, tls.into())
    }

    fn tls(socket: TcpStream, mut tls: rustls::Connection) -> Stream {
        tls.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
        Stream::Tls(Box::new(TlsStream { tls, socket }))
    }

    /// The protocol that ALPN chose, if TLS is up and anything was negotiated.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.tls.alpn_protocol(),
        }
    }

    /// Arranges that dropping the stream resets the connection instead of closing it.
    pub fn reset_on_drop(&self) {
        // A socket that is already dead needs no reset.
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Says that no more bytes follow: close_notify under TLS, then FIN.
    pub fn shutdown(&mut self) {
        if let Stream::Tls(stream) = self {
            stream.tls.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(std::net::Shutdown::Write);
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.socket,
        }
    }

    fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &mut stream.socket,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buf),
            Stream::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(buf),
            Stream::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // Zero bytes from the socket make the reader above report the end.
            let read = self.tls.read_tls(&mut self.socket);
            let processed = self.tls.process_new_packets();
            // Handshake replies and alerts leave at once; what does not fit leaves on `flush`.
            let _ = self.flush();
            read?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(buf)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if taken == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket_mut().register(registry, token, how)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket_mut().reregister(registry, token, how)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().deregister(registry)
    }
}
