//! The connection itself: a TCP socket, and TLS on it where there is any.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::event::{Event, Source};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::{Session, TlsConfig, TlsServer};
use crate::buf::{RecvBuf, SendBuf};
use crate::limits::READ_BYTES_PER_TURN;

/// A non-blocking connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// `None`: TCP as it is. A proxy in front has taken the TLS off, the peer is on this machine,
    /// or it has not said a word of TLS yet.
    tls: Option<Box<Session>>,
    /// The kernel has told that the peer has finished or the connection broke: behind the last bytes
    /// there is an end to be read, of which nothing more will be told.
    ending: bool,
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
    /// TCP as it is.
    pub fn plain(socket: TcpStream) -> Stream {
        Stream { socket, tls: None, ending: false }
    }

    /// TLS to a server that must prove to be `host`. Bytes may be sent at once: they leave when the
    /// handshake is done.
    ///
    /// # Errors
    /// `InvalidInput` if `host` is neither a DNS name nor an IP address.
    pub fn to_model(socket: TcpStream, config: &TlsConfig, host: &str) -> io::Result<Stream> {
        let session = Session::to_model(config, host)?;
        Ok(Stream { socket, tls: Some(Box::new(session)), ending: false })
    }

    /// Begins TLS with a client. `early`: what was read of it so far; what it comes to once it is
    /// decrypted goes to the end of `into`.
    ///
    /// # Errors
    /// `InvalidData` where it is no TLS, or none of ours; then the client has been told.
    ///
    /// # Panics
    /// If TLS is on already.
    pub fn begin_tls(
        &mut self,
        server: &TlsServer,
        early: &mut RecvBuf,
        into: &mut RecvBuf,
    ) -> io::Result<Received> {
        assert!(self.tls.is_none(), "TLS begins once");
        let session = self.tls.insert(Box::new(server.session()?));
        session.take_in(&mut self.socket, Received::Some(0), early, into)
    }

    /// Has the CPU fetch what TLS keeps of this connection: it is about to be used.
    pub fn bring_near(&self) {
        if let Some(tls) = &self.tls {
            dsp::near::bring_near(&**tls);
        }
    }

    /// Whether TLS is on, or about to be.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether TLS is still being agreed on.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What TLS agreed on, as figures call it: `tls1.3`, `tls1.3_resumed` and so on; `None` without
    /// TLS, and before it has.
    pub fn agreement(&self) -> Option<&'static str> {
        self.tls.as_ref().and_then(|tls| tls.agreement())
    }

    /// Notes what the kernel tells of the socket. Returns whether reading may bring something.
    pub fn note(&mut self, event: &Event) -> bool {
        let ending = event.is_read_closed() || event.is_error();
        self.ending |= ending;
        ending || event.is_readable()
    }

    /// Reads once, to the end of `into`, by way of `ciphertext` where TLS is on.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` where the peer broke TLS, which it has then been
    /// told. An end of the connection without TLS's own goodbye counts as [`Received::End`]:
    /// WebSocket has a goodbye of its own, and HTTP a length.
    pub fn receive(
        &mut self,
        ciphertext: &mut RecvBuf,
        into: &mut RecvBuf,
    ) -> io::Result<Received> {
        let Some(tls) = &mut self.tls else {
            return read_once(&mut self.socket, into, self.ending);
        };
        // A connection that broke may have left something there.
        ciphertext.consume(ciphertext.len_bytes());
        let received = read_once(&mut self.socket, ciphertext, self.ending)?;
        tls.take_in(&mut self.socket, received, ciphertext, into)
    }

    /// Hands the waiting bytes to the kernel, as many as it takes. Returns whether nothing of this
    /// connection's own, ciphertext or handshake, waits any more. What has left `from` is with the
    /// kernel.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, from: &mut SendBuf) -> io::Result<bool> {
        match &mut self.tls {
            None => write_all_it_takes(&mut self.socket, from).map(|()| true),
            Some(tls) => tls.send(&mut self.socket, from),
        }
    }

    /// Whether bytes of TLS's own wait here for the kernel.
    pub fn holds_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.holds_unsent())
    }

    /// Says TLS's goodbye where TLS is on, in one attempt: a peer that takes no more bytes is not
    /// waited for.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            let _ = tls.say_goodbye(&mut self.socket);
        }
    }

    /// Says that nothing more follows; the peer may still send.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls
            && !tls.say_goodbye(&mut self.socket)?
        {
            // It leaves with the next writes, and says the same.
            return Ok(());
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// The socket of a connection without TLS.
    pub fn into_plain(self) -> Option<TcpStream> {
        self.tls.is_none().then_some(self.socket)
    }

    /// Watches the socket from now on, for reading and writing at once: interest never changes,
    /// so nothing is ever re-armed.
    ///
    /// # Errors
    /// Those of the poll instance.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Whoever watches anew is told anew.
        self.ending = false;
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Bounds what the kernel holds of what was sent and not yet acknowledged.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn bound_send_buffer(&mut self, bytes: usize) -> io::Result<()> {
        socket2::SockRef::from(&self.socket).set_send_buffer_size(bytes)
    }

    /// Watches the socket no more; another thread may register it then.
    ///
    /// # Errors
    /// Those of the poll instance.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

/// One read of at most [`READ_BYTES_PER_TURN`]. A short one has emptied the socket, unless the peer
/// has finished: then the end is still to be read.
fn read_once(socket: &mut impl Read, into: &mut RecvBuf, ending: bool) -> io::Result<Received> {
    loop {
        match socket.read(into.space(READ_BYTES_PER_TURN)) {
            Ok(0) => return Ok(Received::End),
            Ok(n) => {
                into.commit(n);
                let emptied = n < READ_BYTES_PER_TURN && !ending;
                return Ok(if emptied { Received::All(n) } else { Received::Some(n) });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::All(0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes until nothing waits or the kernel takes no more: it has said so where it takes a part.
fn write_all_it_takes(socket: &mut impl Write, from: &mut SendBuf) -> io::Result<()> {
    while !from.is_empty() {
        match socket.write(from.waiting()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                let is_part = n < from.len_bytes();
                from.consume(n);
                if is_part {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that tells how often it was asked.
    #[derive(Default)]
    struct Counted {
        arrived: usize,
        takes: usize,
        asked: usize,
    }

    impl Read for Counted {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.asked += 1;
            match std::mem::take(&mut self.arrived) {
                0 => Err(ErrorKind::WouldBlock.into()),
                arrived => {
                    let read = arrived.min(into.len());
                    self.arrived = arrived - read;
                    Ok(read)
                }
            }
        }
    }

    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked += 1;
            match std::mem::take(&mut self.takes) {
                0 => Err(ErrorKind::WouldBlock.into()),
                takes => {
                    let taken = takes.min(bytes.len());
                    self.takes = takes - taken;
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_turn_reads_a_socket_once_and_a_short_read_has_emptied_it_unless_it_is_ending() {
        for (ending, arrived, expected) in [
            (false, 300, Received::All(300)),
            (false, READ_BYTES_PER_TURN - 1, Received::All(READ_BYTES_PER_TURN - 1)),
            (false, READ_BYTES_PER_TURN, Received::Some(READ_BYTES_PER_TURN)),
            (false, 64 * READ_BYTES_PER_TURN, Received::Some(READ_BYTES_PER_TURN)),
            (false, 0, Received::All(0)),
            (true, 300, Received::Some(300)),
            (true, 0, Received::All(0)),
        ] {
            let mut socket = Counted { arrived, ..Counted::default() };
            let mut into = RecvBuf::new();
            assert_eq!(read_once(&mut socket, &mut into, ending).unwrap(), expected);
            assert_eq!((socket.asked, into.len_bytes()), (1, arrived.min(READ_BYTES_PER_TURN)));
        }
    }

    #[test]
    fn what_came_with_the_end_is_read_and_the_end_behind_it() {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(4);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut stream = Stream::plain(TcpStream::from_std(accepted));
        // Both before the kernel is asked, so it tells of both at once.
        peer.write_all(b"GET /hea").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        stream.register(poll.registry(), Token(0)).unwrap();
        let mut reads = Vec::new();
        let (mut ciphertext, mut into) = (RecvBuf::new(), RecvBuf::new());
        while reads.last() != Some(&Received::End) {
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().any(|event| stream.note(event)), "{reads:?}");
            loop {
                reads.push(stream.receive(&mut ciphertext, &mut into).unwrap());
                if !matches!(reads.last(), Some(Received::Some(_))) {
                    break;
                }
            }
        }
        assert_eq!(reads, [Received::Some(8), Received::End]);
        assert_eq!(into.unused(), b"GET /hea");
    }

    #[test]
    fn what_waits_leaves_in_one_write_and_a_socket_that_took_a_part_is_not_asked_again() {
        for (takes, left) in [(5_000, 0), (1_000, 0), (999, 1), (1, 999), (0, 1_000)] {
            let mut socket = Counted { takes, ..Counted::default() };
            let mut from = SendBuf::new();
            from.tail().extend_from_slice(&[7; 1_000]);
            write_all_it_takes(&mut socket, &mut from).unwrap();
            assert_eq!((socket.asked, from.len_bytes()), (1, left), "{takes} taken");
        }
    }
}
