//! A non-blocking byte stream, plain or TLS, as `std::io::Read` and `Write`.
//!
//! In:       a connected mio socket, and the TLS side it plays; word of its readiness.
//! Out:      bytes; `WouldBlock` where a blocking socket would wait.
//! Bounds:   TLS holds at most [`TLS_UNSENT_BYTES_MAX`] of unsent plaintext, then a write blocks;
//!           records are read [`TLS_READ_BYTES`] at a time, and wait where its plaintext does.
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

/// What is read from a socket at once under TLS, so that many small records cost one system call.
pub const TLS_READ_BYTES: usize = 16 << 10;

/// Plaintext that waits in TLS before more records are handed to it. rustls takes no bytes while it
/// holds more than this, so that a long record and what comes behind it are too much at once.
const TLS_PLAINTEXT_BYTES: usize = 16 << 10;

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
    Tls(Box<Tls>),
}

struct Tls {
    connection: rustls::Connection,
    /// Records that came from the socket and wait until plaintext was fetched: empty as a rule, and
    /// never more than [`TLS_READ_BYTES`]. They are no reason for the socket to become ready, so no
    /// read says `WouldBlock` before they are gone.
    rest: Vec<u8>,
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

    fn tls(socket: TcpStream, mut connection: rustls::Connection) -> Stream {
        connection.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
        Stream::over(socket, Kind::Tls(Box::new(Tls { connection, rest: Vec::new() })))
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
            Kind::Tls(tls) => tls.connection.alpn_protocol(),
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
            tls.connection.send_close_notify();
            let _ = flush(&mut tls.connection, &mut self.socket);
        }
        let _ = self.socket.tcp.shutdown(std::net::Shutdown::Write);
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Kind::Tls(tls) = &mut self.kind else { return self.socket.read(buf) };
        loop {
            match tls.connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            let read = tls.take(&mut self.socket);
            if let Err(error) = &read
                && error.kind() == io::ErrorKind::WouldBlock
                && !tls.connection.wants_write()
            {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Handshake replies and alerts leave at once; what does not fit leaves on `flush`.
            let _ = flush(&mut tls.connection, &mut self.socket);
            read?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Kind::Tls(tls) = &mut self.kind else { return self.socket.write(buf) };
        let taken = tls.connection.writer().write(buf)?;
        match flush(&mut tls.connection, &mut self.socket) {
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
            Kind::Tls(tls) => flush(&mut tls.connection, &mut self.socket),
        }
    }
}

impl Tls {
    /// Takes the records that wait, or else what the socket has. Zero bytes from the socket make
    /// the reader of the plaintext report the end.
    fn take(&mut self, socket: &mut Socket) -> io::Result<()> {
        if !self.rest.is_empty() {
            let waiting = std::mem::take(&mut self.rest);
            self.rest = take_records(&mut self.connection, &waiting)?.to_vec();
            return Ok(());
        }
        RECORDS.with_borrow_mut(|records| {
            let taken = socket.read(records)?;
            let rest = take_records(&mut self.connection, &records[..taken])?;
            self.rest.extend_from_slice(rest);
            Ok(())
        })
    }
}

/// Hands what was read to TLS, nothing being the end of the stream; what is left waits until the
/// plaintext was fetched. Behind a close_notify nothing counts (RFC 8446 section 6.1).
fn take_records<'r>(tls: &mut rustls::Connection, mut records: &'r [u8]) -> io::Result<&'r [u8]> {
    loop {
        let taken = tls.read_tls(&mut records)?;
        let processed = tls.process_new_packets();
        let state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if taken == 0 || state.peer_has_closed() {
            return Ok(&[]);
        }
        if records.is_empty() || state.plaintext_bytes_to_read() >= TLS_PLAINTEXT_BYTES {
            return Ok(records);
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

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};

    /// The two ends of a TLS connection whose handshake is done: ours, and a peer whose records
    /// we write down.
    fn connected() -> (Stream, ServerConnection, std::net::TcpStream) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let ours = ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let mut peer = ServerConnection::new(config.into()).unwrap();

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        for socket in [&near, &far] {
            socket.set_nonblocking(true).unwrap();
        }
        let mut stream = Stream::tls_client(TcpStream::from_std(near), ours);
        loop {
            stream.wake(false);
            assert!(is_waiting(stream.read(&mut [0; 1])));
            let Kind::Tls(tls) = &stream.kind else { unreachable!("it was made with TLS") };
            if !peer.is_handshaking() && !peer.wants_write() && !tls.connection.is_handshaking() {
                break;
            }
            if peer.wants_write() {
                peer.write_tls(&mut far).unwrap();
            } else if let Ok(taken) = peer.read_tls(&mut far) {
                assert_ne!(taken, 0);
                peer.process_new_packets().unwrap();
            }
        }
        far.set_nonblocking(false).unwrap();
        peer.set_buffer_limit(None);
        // With its first byte, what the peer said of its own is read as well.
        let (_, first) = records(&mut peer, &[1]);
        far.write_all(&first).unwrap();
        let mut first = std::iter::repeat_with(|| {
            stream.wake(false);
            stream.read(&mut [0; 1])
        });
        assert!(first.any(|read| read.is_ok_and(|taken| taken == 1)));
        (stream, peer, far)
    }

    fn is_waiting(read: io::Result<usize>) -> bool {
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// What the peer says, each of `lengths` a record; and its records.
    fn records(peer: &mut ServerConnection, lengths: &[usize]) -> (Vec<u8>, Vec<u8>) {
        let mut said = Vec::new();
        for (&length, byte) in lengths.iter().zip((0..=u8::MAX).cycle()) {
            let text = vec![byte; length];
            peer.writer().write_all(&text).unwrap();
            said.extend(text);
        }
        (said, written(peer))
    }

    fn written(peer: &mut ServerConnection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Sends the bytes, and waits until all of them are there to be read.
    fn deliver(bytes: &[u8], far: &mut std::net::TcpStream, stream: &mut Stream) {
        far.write_all(bytes).unwrap();
        let mut seen = vec![0; bytes.len()];
        while stream.socket.tcp.peek(&mut seen).unwrap_or(0) < bytes.len() {
            std::thread::yield_now();
        }
        stream.wake(false);
    }

    /// Everything until the stream has nothing more, in pieces as links read them.
    fn read_all(stream: &mut Stream) -> (Vec<u8>, io::Result<usize>) {
        let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut piece) {
                Ok(taken) if taken > 0 => heard.extend_from_slice(&piece[..taken]),
                end => return (heard, end),
            }
        }
    }

    #[test]
    fn a_pile_of_records_is_read_whole_without_another_word_of_the_socket() {
        let pile = [&[1 << 10, 15 << 10][..], &[1 << 10; 10]].concat();
        for lengths in [pile, vec![100; 300], vec![16 << 10; 3], vec![1, 16 << 10, 16_000, 1]] {
            let (mut stream, mut peer, mut far) = connected();
            let (said, bytes) = records(&mut peer, &lengths);
            deliver(&bytes, &mut far, &mut stream);
            let (heard, end) = read_all(&mut stream);
            assert!(is_waiting(end), "{lengths:?}");
            assert!(heard == said, "{lengths:?}: {} of {}", heard.len(), said.len());
        }
    }

    #[test]
    fn bytes_behind_a_close_notify_are_passed_over() {
        let (mut stream, mut peer, mut far) = connected();
        let (said, mut bytes) = records(&mut peer, &[1000]);
        peer.send_close_notify();
        bytes.extend(written(&mut peer));
        bytes.resize(bytes.len() + (10 << 10), 0x17);
        deliver(&bytes, &mut far, &mut stream);
        let (heard, end) = read_all(&mut stream);
        assert!(heard == said);
        assert_eq!(end.unwrap(), 0, "the end of the stream");
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "and it stays so");
    }
}
