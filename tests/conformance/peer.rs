//! One WebSocket that returns what it is sent. Of what carries calls it has the sockets (`net`),
//! the buffers (`buf`), the reader, the writer, and the pings and goodbyes of `wire::ws`. The loop
//! around them is its own.
//!
//! In:       readiness of its socket.
//! Out:      each binary message back, and each text its owner wants returned; once nothing more
//!           will be said, a server shuts its half of the connection, and the other half is read to
//!           its end, so that the close is never overtaken by a reset.
//! Bounds:   the message limit; [`OUTPUT_MESSAGES`] messages of that size waiting to be taken,
//!           beyond which nothing is read; [`LINGER_BYTES`] passed over behind our close.
//! Not here: the upgrade, listening, deadlines.

use std::io;

use vocaris::buf::{RecvBuf, SendBuf};
use vocaris::net::{Received, Stream};
use vocaris::wire::ws::{
    CloseCode, Endpoint, Event, MessageReader, Opcode, Role, Stage, write_frame,
};

/// Messages of the longest kind that may wait for a peer that does not read.
const OUTPUT_MESSAGES: usize = 2;
/// What a peer may still send once our close is written. Above: its connection is dropped.
const LINGER_BYTES: usize = 64 << 20;

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
    end: Endpoint,
    message_max: usize,
    input: RecvBuf,
    ciphertext: RecvBuf,
    output: SendBuf,
    /// Our half is shut.
    finished: bool,
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
            end: Endpoint::new(we, LINGER_BYTES),
            message_max,
            input,
            ciphertext: RecvBuf::new(),
            output,
            finished: false,
            masks: fastrand::Rng::new(),
        }
    }

    /// Whether our close is written.
    pub(crate) fn is_closing(&self) -> bool {
        !self.end.may_close()
    }

    /// Reads, answers and writes until the socket has no more to give or to take. `on_text` is
    /// shown every text message, and says whether it is returned.
    ///
    /// # Errors
    /// Those of the socket, unless our close is written: then its end is the connection's, however
    /// it comes.
    pub(crate) fn turn(&mut self, on_text: impl FnMut(&str) -> bool) -> io::Result<Turn> {
        match self.serve(on_text) {
            Err(_) if self.is_closing() => Ok(Turn::Over),
            outcome => outcome,
        }
    }

    fn serve(&mut self, mut on_text: impl FnMut(&str) -> bool) -> io::Result<Turn> {
        loop {
            self.echo(&mut on_text);
            self.stream.send(&mut self.output)?;
            if self.is_closing() && self.output.is_empty() {
                self.finish();
            }
            if self.output.len_bytes() > OUTPUT_MESSAGES * (self.message_max + 128) {
                return Ok(Turn::Wait);
            }
            match self.stream.receive(&mut self.ciphertext, &mut self.input)? {
                Received::All(0) => return Ok(Turn::Wait),
                Received::All(_) | Received::Some(_) => {}
                Received::End => return Ok(Turn::Over),
            }
            if self.is_closing() {
                let unread = self.input.len_bytes();
                self.input.consume(unread);
                if self.end.pass_over(unread) {
                    return Ok(Turn::Over);
                }
            }
        }
    }

    /// The server ends the connection first (RFC 6455, section 7.1.1); a client waits for that.
    fn finish(&mut self) {
        if self.we == Role::Server && !std::mem::replace(&mut self.finished, true) {
            // A peer that is gone already has nothing to be told.
            let _ = self.stream.finish();
        }
    }

    /// Answers every whole message there is.
    fn echo(&mut self, on_text: &mut impl FnMut(&str) -> bool) {
        while self.end.stage() == Stage::Open {
            let mask = self.masks.u32(..).to_ne_bytes();
            let out = self.output.tail();
            let used = match self.reader.next(self.input.unused_mut()) {
                Ok((Event::NeedMore { .. }, used)) => return self.input.consume(used),
                Ok((event, used)) => {
                    self.end.heed(&event, mask, out);
                    match event {
                        Event::Text(text) if on_text(text) => {
                            write_frame(self.we, Opcode::Text, text.as_bytes(), mask, out);
                        }
                        Event::Binary(bytes) => {
                            write_frame(self.we, Opcode::Binary, bytes, mask, out);
                        }
                        Event::Close { .. } => self.end.close(CloseCode::NORMAL, "", mask, out),
                        _ => {}
                    }
                    used
                }
                Err(error) => {
                    self.end.broke(error);
                    self.end.close(error.close_code(), error.label(), mask, out);
                    self.input.len_bytes()
                }
            };
            self.input.consume(used);
        }
    }
}
