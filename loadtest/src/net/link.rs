//! A WebSocket connection after its upgrade: tungstenite over a non-blocking stream.
//!
//! In:       messages to send; a stream that is ready.
//! Out:      whole messages and, once, how the connection ended.
//! Bounds:   [`MESSAGE_BYTES_MAX`] inbound, [`UNSENT_BYTES_MAX`] outbound; past the second a
//!           message is refused and the caller of [`Link::send`] decides what that means. Pongs and
//!           close frames may be as much again; a peer that makes more of them has broken the link, and
//!           [`Link::receive`] says so as soon as what has been read of the stream is taken.
//! Not here: the upgrade (`net::http`), what a message means.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read, Write};

use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, Utf8Bytes, WebSocket};

use super::stream::Stream;

/// The longest message a peer may send us: what a client of the model is to accept.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes waiting because the peer does not read. A message beyond it is refused.
pub const UNSENT_BYTES_MAX: usize = 8 << 20;

/// The read buffer of one link; the library's own default is 128 KiB, for every call.
const READ_BUFFER_BYTES: usize = 4 << 10;

thread_local! {
    /// A frame on its way to its stream: nothing stays here between two messages, so that all links
    /// of a thread share it.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A WebSocket connection.
pub struct Link {
    socket: WebSocket<Gate>,
    role: Role,
    /// Makes the masks of a client.
    masks: u64,
    ended: bool,
    holds_pongs: bool,
}

/// The way to the stream: of messages, and of what the library writes by itself. Whatever the
/// stream does not take waits here, in order, so that the library has nothing waiting, except at the
/// end of an overfull link: a gate that is shut swallows what it writes just then, which is a pong,
/// and nothing else.
struct Gate {
    stream: Stream,
    /// What the stream has not taken: the end of a frame, and the frames behind it.
    rest: VecDeque<u8>,
    shut: bool,
    /// The library had more to write than may wait: nothing more is read. Its error goes to whoever
    /// writes, and a pong has no other owner than the reader.
    overfull: bool,
}

impl Gate {
    /// Hands on what waits, before anything else.
    fn finish(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            let taken = self.stream.write(self.rest.as_slices().0)?;
            self.rest.drain(..taken);
        }
        Ok(())
    }

    /// Takes bytes behind all that came before: straight to the stream where nothing waits.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = match self.finish().and_then(|()| self.stream.write(bytes)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            taken => taken?,
        };
        self.rest.extend(&bytes[taken..]);
        Ok(())
    }
}

impl Read for Gate {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.overfull {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.stream.read(buf)
    }
}

impl Write for Gate {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.shut {
            return Ok(buf.len());
        }
        if self.rest.len() + buf.len() > 2 * UNSENT_BYTES_MAX {
            self.overfull = true;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.put(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.shut {
            return Ok(());
        }
        self.finish()?;
        self.stream.flush()
    }
}

/// What came over a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, and what it carries. Its pong is on its way, unless [`Link::hold_pongs`] was asked.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The end. Nothing follows.
    Closed(Closing),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// With a close frame from the peer; 1005 if it carried no code.
    Frame {
        /// The code of RFC 6455 section 7.4.
        code: u16,
        /// The reason, possibly empty.
        reason: String,
    },
    /// The stream ended without a close frame.
    Eof,
    /// The connection broke.
    Broken(io::ErrorKind),
    /// The peer's bytes are not WebSocket.
    NotWebSocket(String),
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closing::Frame { code, reason } if reason.is_empty() => write!(f, "close code {code}"),
            Closing::Frame { code, reason } => write!(f, "close code {code}, {reason:?}"),
            Closing::Eof => write!(f, "no close frame"),
            Closing::Broken(kind) => kind.fmt(f),
            Closing::NotWebSocket(why) => write!(f, "not WebSocket: {why}"),
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The peer has not read [`UNSENT_BYTES_MAX`] bytes.
    Full,
    /// The link has ended, or is closing.
    Ended,
}

impl Link {
    /// A link over a stream whose upgrade is done. `early`: bytes that came behind the upgrade.
    pub fn new(stream: Stream, early: Vec<u8>, role: Role) -> Link {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(UNSENT_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let gate = Gate { stream, rest: VecDeque::new(), shut: false, overfull: false };
        let socket = WebSocket::from_partially_read(gate, early, role, Some(config));
        let masks = RandomState::new().build_hasher().finish();
        Link { socket, role, masks, ended: false, holds_pongs: false }
    }

    /// From now on pings are not answered; the owner sends pongs by [`Link::send`] when it likes.
    pub fn hold_pongs(&mut self) {
        self.holds_pongs = true;
    }

    /// The next message, or `None` when everything that has arrived was taken.
    pub fn receive(&mut self) -> Option<Received> {
        if self.ended {
            return None;
        }
        let closing = match self.socket.read() {
            Ok(Message::Text(text)) => return Some(Received::Text(text)),
            Ok(Message::Binary(bytes)) => return Some(Received::Binary(bytes)),
            Ok(Message::Ping(payload)) => {
                // The library has made the pong, and writes it with the next flush.
                self.socket.get_mut().shut = self.holds_pongs;
                self.flush();
                self.socket.get_mut().shut = false;
                return Some(Received::Ping(payload));
            }
            Ok(Message::Pong(_)) => return Some(Received::Pong),
            Ok(Message::Close(frame)) => {
                self.flush();
                match frame {
                    Some(CloseFrame { code, reason }) => {
                        Closing::Frame { code: code.into(), reason: reason.to_string() }
                    }
                    None => Closing::Frame { code: 1005, reason: String::new() },
                }
            }
            Ok(Message::Frame(_)) => unreachable!("reading yields whole messages"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Closing::Eof,
            Err(Error::Io(error)) => Closing::Broken(error.kind()),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Closing::Eof,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Closing::Eof,
            Err(error) => Closing::NotWebSocket(error.to_string()),
        };
        self.ended = true;
        Some(Received::Closed(closing))
    }

    /// Sends a message, or keeps it until the socket takes it. A close is [`Link::close`]'s.
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        let whole = |payload, kind| Frame::message(payload, OpCode::Data(kind), true);
        self.pass(match message {
            Message::Text(text) => whole(text.into(), Data::Text),
            Message::Binary(bytes) => whole(bytes, Data::Binary),
            Message::Ping(bytes) => Frame::ping(bytes),
            Message::Pong(bytes) => Frame::pong(bytes),
            Message::Frame(frame) => frame,
            Message::Close(_) => return Err(SendError::Ended),
        })
    }

    /// Sends a frame past the library's buffer: a buffer of each call's own is memory that nobody
    /// else keeps warm.
    fn pass(&mut self, mut frame: Frame) -> Result<(), SendError> {
        if self.ended || !self.socket.can_write() {
            return Err(SendError::Ended);
        }
        if self.role == Role::Client {
            frame.header_mut().mask = Some(self.next_mask());
        }
        let gate = self.socket.get_mut();
        if gate.rest.len() + frame.len() > UNSENT_BYTES_MAX {
            return Err(SendError::Full);
        }
        FRAME.with_borrow_mut(|bytes| {
            bytes.clear();
            frame.format(bytes).expect("a vector takes what is written");
            gate.put(bytes).map_err(|_| SendError::Ended)
        })
    }

    /// Masks differ from frame to frame and from link to link; nobody is to be kept from guessing
    /// them here.
    fn next_mask(&mut self) -> [u8; 4] {
        self.masks = self.masks.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.masks >> 32) as u32).to_ne_bytes()
    }

    /// Sends one message in pieces of at most `piece_bytes`.
    pub fn send_fragmented(
        &mut self,
        bytes: Bytes,
        kind: Data,
        piece_bytes: usize,
    ) -> Result<(), SendError> {
        let mut rest = bytes;
        let mut opcode = OpCode::Data(kind);
        loop {
            let piece = rest.split_to(piece_bytes.min(rest.len()));
            let last = rest.is_empty();
            self.send(Message::Frame(Frame::message(piece, opcode, last)))?;
            if last {
                return Ok(());
            }
            opcode = OpCode::Data(Data::Continue);
        }
    }

    /// Starts the closing handshake.
    pub fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from(reason) };
        // A link that cannot be closed any more has ended, which `receive` reports.
        let _ = self.socket.close(Some(frame));
    }

    /// Offers waiting bytes to the socket again.
    pub fn flush(&mut self) {
        // Whatever is wrong with the connection, the next `receive` says so.
        let _ = self.socket.flush();
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.socket.get_mut().stream
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A link and the server it is connected to.
    fn connected() -> (Link, WebSocket<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let stream = Stream::plain(mio::net::TcpStream::from_std(near));
        let link = Link::new(stream, Vec::new(), Role::Client);
        let (far, _) = listener.accept().unwrap();
        (link, WebSocket::from_raw_socket(far, Role::Server, None))
    }

    /// True if nothing waits to be written.
    fn is_clear(link: &Link) -> bool {
        link.socket.get_ref().rest.is_empty()
    }

    /// Reads so many messages on a thread of its own, while the link offers what waits.
    fn read(link: &mut Link, mut far: WebSocket<TcpStream>, count: usize) -> Vec<Message> {
        let reader = std::thread::spawn(move || {
            std::iter::repeat_with(|| far.read().unwrap()).take(count).collect()
        });
        while !reader.is_finished() {
            link.flush();
            std::thread::yield_now();
        }
        reader.join().unwrap()
    }

    #[test]
    fn what_the_socket_does_not_take_leaves_later_and_in_order() {
        let (mut link, far) = connected();
        let mut messages = vec![Message::text("0")];
        link.send(messages[0].clone()).unwrap();
        assert!(is_clear(&link), "a small message goes straight through");
        // More than both sockets hold.
        messages.extend((1..40_u32).map(|n| Message::text(n.to_string().repeat(100_000))));
        for message in &messages[1..] {
            link.send(message.clone()).unwrap();
        }
        assert!(!is_clear(&link));
        assert!(read(&mut link, far, 40) == messages);
        assert!(is_clear(&link));
    }

    #[test]
    fn a_pong_that_is_held_takes_no_message_with_it_that_the_peer_has_not_read() {
        let (mut link, mut far) = connected();
        link.hold_pongs();
        // The first is more than both sockets hold: the others wait whole.
        let messages = ["long".repeat(1_900_000), "and".repeat(100_000), "short".into()];
        let messages = messages.map(Message::text);
        for message in &messages {
            link.send(message.clone()).unwrap();
        }
        far.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
        let ping = std::iter::repeat_with(|| link.receive()).flatten().next().unwrap();
        assert_eq!(ping, Received::Ping(Bytes::from_static(b"there?")));
        link.send(Message::Pong(Bytes::from_static(b"there?"))).unwrap();
        let heard = read(&mut link, far, 4);
        assert!(heard[..3] == messages, "{:?}", heard.iter().map(Message::len).collect::<Vec<_>>());
        assert_eq!(heard[3], Message::Pong(Bytes::from_static(b"there?")), "the owner's alone");
    }

    #[test]
    fn a_peer_that_reads_nothing_is_sent_no_more_than_the_bound() {
        let (mut link, mut far) = connected();
        let piece = Message::binary(vec![0; 1 << 20]);
        let mut pieces = 0;
        let refused = loop {
            match link.send(piece.clone()) {
                Ok(()) => pieces += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, SendError::Full);
        assert!(link.socket.get_ref().rest.len() <= UNSENT_BYTES_MAX);
        // Its pings are answered all the same, behind what waits.
        far.send(Message::Ping(Bytes::new())).unwrap();
        std::iter::repeat_with(|| link.receive()).flatten().next().unwrap();
        let heard = read(&mut link, far, pieces + 1);
        assert_eq!(heard.last(), Some(&Message::Pong(Bytes::new())));
    }

    #[test]
    fn a_peer_that_reads_nothing_and_asks_for_more_pongs_than_may_wait_has_broken_the_link() {
        for room in [2, 6] {
            let (mut link, mut far) = connected();
            link.socket.get_mut().rest.resize(2 * UNSENT_BYTES_MAX - room, 0);
            far.send(Message::Ping(Bytes::new())).unwrap();
            let ping = std::iter::repeat_with(|| link.receive()).flatten().next().unwrap();
            assert_eq!(ping, Received::Ping(Bytes::new()));
            // A pong of a client is 6 bytes.
            let broken = Received::Closed(Closing::Broken(io::ErrorKind::QuotaExceeded));
            assert_eq!(link.receive(), (room < 6).then_some(broken), "room for {room} bytes");
            assert_eq!(link.receive(), None);
        }
    }

    #[test]
    fn a_pong_that_is_held_lets_no_message_overtake_the_rest_of_another() {
        let (mut link, mut far) = connected();
        link.hold_pongs();
        // More than both sockets hold.
        let long = "long".repeat(2_000_000);
        link.send(Message::text(long.clone())).unwrap();
        assert!(!is_clear(&link));
        far.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
        let ping = std::iter::repeat_with(|| link.receive()).flatten().next().unwrap();
        assert_eq!(ping, Received::Ping(Bytes::from_static(b"there?")));
        // The socket has room again, and nobody has told the link.
        let mut begun = vec![0; 1 << 20];
        let mut stream = far.get_ref().try_clone().unwrap();
        stream.read_exact(&mut begun).unwrap();
        let far = WebSocket::from_partially_read(stream, begun, Role::Server, None);
        link.send(Message::text("short")).unwrap();
        assert!(read(&mut link, far, 2) == [Message::text(long), Message::text("short")]);
    }
}
