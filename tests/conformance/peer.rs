//! One WebSocket that returns what it is sent, over the code that carries calls: the sockets of
//! `net`, the buffers of `buf`, the reader and writer of `wire::ws`.
//!
//! In:       readiness of its socket.
//! Out:      each text or binary message back, pongs for pings, the close answered; after our close
//!           our half of the connection is shut, and the other half read to its end, so that the
//!           close is never overtaken by a reset.
//! Bounds:   the message limit; [`OUTPUT_MESSAGES`] messages of that size waiting to be taken,
//!           beyond which nothing is read; [`LINGER_BYTES`] passed over after our close.
//! Not here: the upgrade, listening, deadlines.

use std::io;

use vocaris::buf::{RecvBuf, SendBuf};
use vocaris::net::{Received, Stream};
use vocaris::wire::ws::{CloseCode, Event, MessageReader, Opcode, Role, write_close, write_frame};

/// Messages of the longest kind that may wait for a peer that does not read.
const OUTPUT_MESSAGES: usize = 2;
/// What a peer may still send once our close is out. Above: its connection is dropped.
const LINGER_BYTES: usize = 64 << 20;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Messages flow.
    Open,
    /// Our close is written; it has not left yet.
    Closing,
    /// Our close has left: what still comes is passed over until the other side ends.
    Lingering { passed_over: usize },
}

/// What is left to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait for the socket.
    Wait,
    /// The connection is over.
    Over,
}

/// A connection that speaks WebSocket already.
pub(crate) struct Peer {
    stream: Stream,
    we: Role,
    reader: MessageReader,
    message_max: usize,
    input: RecvBuf,
    ciphertext: RecvBuf,
    output: SendBuf,
    life: Life,
    masks: fastrand::Rng,
}

impl Peer {
    /// `we` is our role, `input` what came behind the upgrade, `output` what is not yet sent.
    pub(crate) fn new(
        stream: Stream,
        we: Role,
        message_max: usize,
        input: RecvBuf,
        output: SendBuf,
    ) -> Peer {
        let they = match we {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Peer {
            stream,
            we,
            reader: MessageReader::new(they, message_max),
            message_max,
            input,
            ciphertext: RecvBuf::new(),
            output,
            life: Life::Open,
            masks: fastrand::Rng::new(),
        }
    }

    /// Whether our close is written.
    pub(crate) fn is_closing(&self) -> bool {
        self.life != Life::Open
    }

    /// Reads, answers and writes until the socket has no more to give or to take. `on_text` is
    /// shown every text message.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn turn(&mut self, mut on_text: impl FnMut(&str)) -> io::Result<Turn> {
        loop {
            self.echo(&mut on_text);
            self.stream.send(&mut self.output)?;
            if self.life == Life::Closing && self.output.is_empty() {
                self.close_our_half();
            }
            if self.output.len_bytes() > OUTPUT_MESSAGES * (self.message_max + 128) {
                return Ok(Turn::Wait);
            }
            match self.stream.receive(&mut self.ciphertext, &mut self.input)? {
                Received::All(0) => return Ok(Turn::Wait),
                Received::All(_) | Received::Some(_) => {}
                Received::End => return Ok(Turn::Over),
            }
            if self.lingers_too_long() {
                return Ok(Turn::Over);
            }
        }
    }

    /// The server ends the connection first (RFC 6455, section 7.1.1); a client waits for that.
    fn close_our_half(&mut self) {
        self.life = Life::Lingering { passed_over: 0 };
        if self.we == Role::Server {
            // A peer that is gone already has nothing to be told.
            let _ = self.stream.finish();
        }
    }

    /// Passes over what comes after our close.
    fn lingers_too_long(&mut self) -> bool {
        let unread = self.input.len_bytes();
        match &mut self.life {
            Life::Open => return false,
            Life::Closing => {}
            Life::Lingering { passed_over } => *passed_over += unread,
        }
        self.input.consume(unread);
        matches!(self.life, Life::Lingering { passed_over } if passed_over > LINGER_BYTES)
    }

    /// Answers every whole message there is.
    fn echo(&mut self, on_text: &mut impl FnMut(&str)) {
        while self.life == Life::Open {
            let mask = self.masks.u32(..).to_ne_bytes();
            let out = self.output.tail();
            let used = match self.reader.next(self.input.unused_mut()) {
                Ok((Event::NeedMore { .. }, used)) => return self.input.consume(used),
                Ok((event, used)) => {
                    self.life = answer(self.we, event, on_text, mask, out);
                    used
                }
                Err(error) => {
                    write_close(self.we, error.close_code(), error.label(), mask, out);
                    self.life = Life::Closing;
                    self.input.len_bytes()
                }
            };
            self.input.consume(used);
        }
    }
}

/// Writes what an event asks for.
fn answer(
    we: Role,
    event: Event<'_>,
    on_text: &mut impl FnMut(&str),
    mask: [u8; 4],
    out: &mut Vec<u8>,
) -> Life {
    match event {
        Event::Text(text) => {
            on_text(text);
            write_frame(we, Opcode::Text, text.as_bytes(), mask, out);
        }
        Event::Binary(bytes) => write_frame(we, Opcode::Binary, bytes, mask, out),
        Event::Ping(payload) => write_frame(we, Opcode::Pong, payload, mask, out),
        Event::Close { code, .. } => {
            write_close(we, code.unwrap_or(CloseCode::NORMAL), "", mask, out);
            return Life::Closing;
        }
        Event::Pong(_) | Event::Partial | Event::NeedMore { .. } => {}
    }
    Life::Open
}
