//! Messages out of frames, RFC 6455 sections 5.4, 5.5 and 8.1: fragments put together, control
//! frames handed out between them, text checked as it arrives, the close as the end of it all.
//!
//! In:       bytes as they left the socket or TLS, cut anywhere.
//! Out:      one [`Event`] at a time. A message in one frame is borrowed from the input; one in
//!           pieces is collected in memory of the reader's own.
//! Bounds:   the message limit, checked on each header against what is already collected;
//!           [`FRAGMENTS_KEPT_BYTES`].
//! Not here: answering a ping or a close, deadlines.

use super::close::{self, CloseCode};
use super::frame::{Header, HeaderDecoded, decode_header};
use super::utf8::Utf8Check;
use super::{FrameError, Opcode, Role, apply_mask};

/// Memory a reader keeps after a message in pieces, in bytes. What a longer one took is given back
/// at the next call of [`MessageReader::next`].
pub const FRAGMENTS_KEPT_BYTES: usize = 8 << 10;

/// How much of a payload that has not wholly arrived is unmasked at a time, to look at its text.
const LOOK_AHEAD_BYTES: usize = 256;

/// What came in, borrowed from the bytes shown or from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'b> {
    /// No whole frame: nothing consumed, nothing changed; at least `missing` more bytes are needed.
    /// After a close: everything consumed, nothing more is needed.
    NeedMore {
        /// 1 or more.
        missing: usize,
    },
    /// A whole text message.
    Text(&'b str),
    /// A whole binary message.
    Binary(&'b [u8]),
    /// To be answered with a pong of the same payload, 0 to 125 bytes.
    Ping(&'b [u8]),
    /// A pong, asked for or not.
    Pong(&'b [u8]),
    /// The peer's last frame. Whatever follows it is thrown away.
    Close {
        /// The code; `None` if the frame had none.
        code: Option<CloseCode>,
        /// The reason, at most 123 bytes, often empty.
        reason: &'b str,
    },
    /// A fragment was stored; its message goes on.
    Partial,
}

/// Reads one side of a connection, from its first byte to its close.
#[derive(Debug)]
pub struct MessageReader {
    from: Role,
    /// The longest message, in bytes, whole or in pieces.
    message_max: usize,
    /// What the message in pieces is; `None` between messages.
    under_way: Option<Kind>,
    /// Its payload so far, unmasked.
    fragments: Vec<u8>,
    /// Whether `fragments` is a message that was handed out, to be forgotten at the next call.
    delivered: bool,
    /// The check of the text under way, up to and with `looked_ahead`.
    text: Utf8Check,
    /// How much of the payload at the front of the caller's bytes, not yet whole, `text` has seen.
    looked_ahead: usize,
    /// Set once: no message comes after it.
    end: Option<End>,
}

/// What a message in pieces will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// Why there are no more messages.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Failed(FrameError),
}

/// What may be done with the frame at the front.
enum Admitted {
    Whole(Header),
    NeedMore { missing: usize },
}

impl MessageReader {
    /// A reader of what `from` sends. `message_max`: the longest message in bytes, in one frame or
    /// in pieces.
    pub fn new(from: Role, message_max: usize) -> MessageReader {
        MessageReader {
            from,
            message_max,
            under_way: None,
            fragments: Vec::new(),
            delivered: false,
            text: Utf8Check::default(),
            looked_ahead: 0,
            end: None,
        }
    }

    /// What is at the front of `buf`, and how many bytes of it were used.
    ///
    /// Drop those and call again, until [`Event::NeedMore`]; then show the same bytes again with
    /// more behind them. After [`Event::Close`] everything shown is used and thrown away.
    ///
    /// # Errors
    /// What the peer did wrong, as early as it can be known: a header before its payload, text at
    /// its first hopeless byte. The reader is finished then and says the same again.
    pub fn next<'b>(&'b mut self, buf: &'b mut [u8]) -> Result<(Event<'b>, usize), FrameError> {
        match self.end {
            Some(End::Failed(error)) => return Err(error),
            Some(End::Closed) => return Ok((Event::NeedMore { missing: 1 }, buf.len())),
            None => {}
        }
        self.forget_delivered();
        let header = match self.admit(buf) {
            Ok(Admitted::Whole(header)) => header,
            Ok(Admitted::NeedMore { missing }) => return Ok((Event::NeedMore { missing }, 0)),
            Err(error) => return self.fail(error),
        };
        let used = header.frame_bytes();
        let payload = header.unmask(buf);
        let looked_ahead = std::mem::take(&mut self.looked_ahead);
        let event = match header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => match close::parse(payload) {
                Ok((code, reason)) => {
                    self.end = Some(End::Closed);
                    self.fragments = Vec::new();
                    Event::Close { code, reason }
                }
                Err(error) => return self.fail(error),
            },
            Opcode::Binary if header.fin => Event::Binary(payload),
            Opcode::Text if header.fin => {
                self.text = Utf8Check::default();
                match std::str::from_utf8(payload) {
                    Ok(text) => Event::Text(text),
                    Err(_) => return self.fail(FrameError::NotUtf8),
                }
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if let Err(error) = self.store(&header, payload, looked_ahead) {
                    return self.fail(error);
                }
                if header.fin {
                    return Ok((self.deliver()?, used));
                }
                Event::Partial
            }
        };
        Ok((event, used))
    }

    /// Whether the peer's close has been read: it will say nothing more.
    pub fn is_closed(&self) -> bool {
        matches!(self.end, Some(End::Closed))
    }

    /// Checks the header at the front in its place among the others, and whatever there is of a
    /// text behind it.
    fn admit(&mut self, buf: &[u8]) -> Result<Admitted, FrameError> {
        let header = match decode_header(self.from, self.message_max, buf)? {
            HeaderDecoded::Header(header) => header,
            HeaderDecoded::NeedMore { missing } => return Ok(Admitted::NeedMore { missing }),
        };
        let kind = match (header.opcode, self.under_way) {
            (Opcode::Continuation, None) => return Err(FrameError::NothingToContinue),
            (Opcode::Continuation, under_way) => under_way,
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(FrameError::MessageInterrupted),
            (Opcode::Text, None) => Some(Kind::Text),
            (Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong, _) => None,
        };
        if header.opcode == Opcode::Continuation
            && header.payload_bytes > self.message_max - self.fragments.len()
        {
            let payload_bytes = self.fragments.len() as u64 + header.payload_bytes as u64;
            return Err(FrameError::TooLong { payload_bytes });
        }
        if buf.len() >= header.frame_bytes() {
            return Ok(Admitted::Whole(header));
        }
        if kind == Some(Kind::Text) {
            self.look_ahead(&header, &buf[header.header_bytes..])?;
        }
        Ok(Admitted::NeedMore { missing: header.frame_bytes() - buf.len() })
    }

    /// Checks the text in a payload that is not whole, without changing it: each byte is looked at
    /// once, in a copy, so that a sender of single bytes buys no more work than one of frames.
    fn look_ahead(&mut self, header: &Header, arrived: &[u8]) -> Result<(), FrameError> {
        let mut copy = [0; LOOK_AHEAD_BYTES];
        for piece in arrived.get(self.looked_ahead..).unwrap_or(&[]).chunks(LOOK_AHEAD_BYTES) {
            let plain = &mut copy[..piece.len()];
            plain.copy_from_slice(piece);
            if let Some(key) = header.mask {
                apply_mask(key, self.looked_ahead, plain);
            }
            self.looked_ahead += piece.len();
            if !self.text.push(plain) {
                return Err(FrameError::NotUtf8);
            }
        }
        Ok(())
    }

    /// Adds a fragment to the message under way, or begins one with it.
    fn store(
        &mut self,
        header: &Header,
        payload: &[u8],
        looked_ahead: usize,
    ) -> Result<(), FrameError> {
        let kind = match header.opcode {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
            _ => self.under_way.ok_or(FrameError::NothingToContinue)?,
        };
        self.under_way = Some(kind);
        if kind == Kind::Text {
            let passed = self.text.push(&payload[looked_ahead.min(payload.len())..]);
            if !passed || header.fin && !self.text.is_whole() {
                return Err(FrameError::NotUtf8);
            }
        }
        self.reserve(payload.len());
        self.fragments.extend_from_slice(payload);
        Ok(())
    }

    /// Makes room for a fragment: doubling, as a vector does, but never beyond the message limit.
    fn reserve(&mut self, payload_bytes: usize) {
        let needed = self.fragments.len() + payload_bytes;
        if needed > self.fragments.capacity() {
            let doubled = (2 * self.fragments.capacity()).min(self.message_max);
            self.fragments.reserve_exact(needed.max(doubled) - self.fragments.len());
        }
    }

    /// Hands out the collected message; it is forgotten at the next call.
    fn deliver(&mut self) -> Result<Event<'_>, FrameError> {
        self.delivered = true;
        match self.under_way.take() {
            // Every byte has passed `text` by now: this cannot fail, and costs one more look.
            Some(Kind::Text) => std::str::from_utf8(&self.fragments)
                .map(Event::Text)
                .map_err(|_| FrameError::NotUtf8),
            Some(Kind::Binary) | None => Ok(Event::Binary(&self.fragments)),
        }
    }

    fn forget_delivered(&mut self) {
        if std::mem::take(&mut self.delivered) {
            self.fragments.clear();
            if self.fragments.capacity() > FRAGMENTS_KEPT_BYTES {
                self.fragments = Vec::new();
            }
        }
    }

    /// Ends the reading, and gives back the memory of a message that will never be whole.
    fn fail<T>(&mut self, error: FrameError) -> Result<T, FrameError> {
        self.end = Some(End::Failed(error));
        self.fragments = Vec::new();
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_frame;
    use super::*;

    const MESSAGE_MAX: usize = 100_000;

    fn reader_with_fragment(bytes: usize) -> MessageReader {
        let mut reader = MessageReader::new(Role::Server, MESSAGE_MAX);
        push(&mut reader, 0x02, bytes);
        reader
    }

    /// Shows one binary frame of so many bytes, with this first byte.
    fn push(reader: &mut MessageReader, first: u8, bytes: usize) {
        let mut frame = Vec::new();
        write_frame(Role::Server, Opcode::Binary, &vec![7; bytes], [0; 4], &mut frame);
        frame[0] = first;
        reader.next(&mut frame).expect("a good frame");
    }

    #[test]
    fn the_memory_of_a_long_message_is_given_back_and_of_a_short_one_kept() {
        for (bytes, kept) in [(100, true), (FRAGMENTS_KEPT_BYTES, true), (50_000, false)] {
            let mut reader = reader_with_fragment(bytes);
            push(&mut reader, 0x80, 0);
            assert_eq!(reader.fragments.len(), bytes, "lent out until the next call");
            assert_eq!(reader.next(&mut []), Ok((Event::NeedMore { missing: 2 }, 0)));
            assert_eq!(reader.fragments.capacity() > 0, kept, "{bytes} bytes");
            assert!(reader.fragments.is_empty());
        }
    }

    #[test]
    fn collecting_never_takes_more_memory_than_the_limit() {
        let mut reader = reader_with_fragment(1);
        for _ in 1..MESSAGE_MAX / 999 {
            push(&mut reader, 0x00, 999);
            assert!(reader.fragments.capacity() <= MESSAGE_MAX);
        }
        assert!(reader.fragments.len() > MESSAGE_MAX - 2_000);
    }

    #[test]
    fn an_error_or_a_close_gives_the_memory_back() {
        for mut last in [[0x8f, 0x00], [0x88, 0x00]] {
            let mut reader = reader_with_fragment(5_000);
            reader.next(&mut last).ok();
            assert_eq!(reader.fragments.capacity(), 0);
        }
    }
}
