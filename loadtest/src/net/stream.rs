//! A non-blocking byte stream, plain or TLS, as `std::io::Read` and `Write`.
//!
//! In:       a connected mio socket, and the TLS side it plays; word of its readiness.
//! Out:      bytes; `WouldBlock` where a blocking socket would wait.
//! Bounds:   TLS holds at most [`TLS_UNSENT_BYTES_MAX`] of unsent plaintext, then a write blocks;
//!           records are read [`TLS_READ_BYTES`] at a time.
//! Not here: readiness (`net::reactor`), what the bytes say.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, ServerConnection};

/// Plaintext that TLS keeps while the socket accepts nothing. A write beyond it would block.
pub const TLS_UNSENT_BYTES_MAX: usize = 1 << 20;

/// What is read from a socket at once under TLS: as much as TLS takes before its plaintext must be
/// fetched, so that many small records cost one system call.
pub const TLS_READ_BYTES: usize = 16 << 10;

thread_local! {
    /// Records on their way from a socket to its TLS: nothing stays here between two reads, so that
    /// all connections of a thread share it.
    static RECORDS: RefCell<Vec<u8>> = RefCell::new(vec![0; TLS_READ_BYTES]);
}

/// A connection, before and after its handshakes.
///
/// A read that leaves room in its buffer has emptied the socket, and what comes later makes it
/// ready again (epoll(7), edge-triggered): until [`Stream::wake`] is called, reads then say
/// `WouldBlock` without asking the kernel. That saves a system call for every message.
pub struct Stream {
    kind: Kind,
    socket: Socket,
}

enum Kind {
    /// Bytes go as they are.
    Plain,
    /// Bytes go through TLS.
    Tls(Box<rustls::Connection>),
}

/// The socket below, and what is known of it.
struct Socket {
    tcp: TcpStream,
    /// Nothing is left to read, as far as we were told.
    drained: bool,
    /// The peer has ended the stream: everything up to its end is to be read.
    ending: bool,
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.drained {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tcp.read(buf)?;
        self.drained = taken > 0 && taken < buf.len() && !self.ending;
        Ok(taken)
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tcp.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl Stream {
    /// A plain connection.
    pub fn plain(socket: TcpStream) -> Stream {
        Stream::over(socket, Kind::Plain)
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
        Stream::over(socket, Kind::Tls(Box::new(tls)))
    }

    fn over(tcp: TcpStream, kind: Kind) -> Stream {
        Stream { kind, socket: Socket { tcp, drained: false, ending: false } }
    }

    /// The socket is ready again. `ending`: the peer has closed its side, or the connection broke.
    pub fn wake(&mut self, ending: bool) {
        self.socket.drained = false;
        self.socket.ending |= ending;
    }

    /// Makes room in the kernel for so many bytes that nobody has read yet.
    pub fn make_room(&self, bytes: usize) {
        // Where the kernel grants less, its own growing window is what there is.
        let _ = socket2::SockRef::from(&self.socket.tcp).set_recv_buffer_size(bytes);
    }

    /// The protocol that ALPN chose, if TLS is up and anything was negotiated.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Plain => None,
            Kind::Tls(tls) => tls.alpn_protocol(),
        }
    }

    /// Arranges that dropping the stream resets the connection instead of closing it.
    pub fn reset_on_drop(&self) {
        // A socket that is already dead needs no reset.
        let _ = socket2::SockRef::from(&self.socket.tcp).set_linger(Some(Duration::ZERO));
    }

    /// Says that no more bytes follow: close_notify under TLS, then FIN.
    pub fn shutdown(&mut self) {
        if let Kind::Tls(tls) = &mut self.kind {
            tls.send_close_notify();
            let _ = flush(tls, &mut self.socket);
        }
        let _ = self.socket.tcp.shutdown(std::net::Shutdown::Write);
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Kind::Tls(tls) = &mut self.kind else { return self.socket.read(buf) };
        loop {
            match tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // Zero bytes from the socket make the reader above report the end.
            let read = RECORDS.with_borrow_mut(|records| {
                let taken = self.socket.read(records)?;
                take_records(tls, &records[..taken])
            });
            if let Err(error) = &read
                && error.kind() == io::ErrorKind::WouldBlock
                && !tls.wants_write()
            {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Handshake replies and alerts leave at once; what does not fit leaves on `flush`.
            let _ = flush(tls, &mut self.socket);
            read?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Kind::Tls(tls) = &mut self.kind else { return self.socket.write(buf) };
        let taken = tls.writer().write(buf)?;
        match flush(tls, &mut self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if taken == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Plain => self.socket.flush(),
            Kind::Tls(tls) => flush(tls, &mut self.socket),
        }
    }
}

/// Hands what was read to TLS; nothing is the end of the stream.
fn take_records(tls: &mut rustls::Connection, mut records: &[u8]) -> io::Result<()> {
    loop {
        tls.read_tls(&mut records)?;
        let processed = tls.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if records.is_empty() {
            return Ok(());
        }
    }
}

fn flush(tls: &mut rustls::Connection, socket: &mut Socket) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket.tcp.register(registry, token, how)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket.tcp.reregister(registry, token, how)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.tcp.deregister(registry)
    }
}
