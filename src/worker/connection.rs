//! A call's socket on its worker: what the kernel has told of it, and what of its bytes is unread.
//!
//! Bounds:   one read and one round of writes when asked.
//! Not here: what the bytes mean.

use std::io;

use mio::event::Event;

use crate::buf::{RecvBuf, SendBuf};
use crate::net::{Received, Stream};

/// The longest rest of a message that is copied to be read on behind it.
const REST_MAX_BYTES: usize = 16 * 1024;

/// A call's socket.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Stream,
    /// Bytes whose message has not wholly arrived. Empty, it holds no memory.
    unread: RecvBuf,
    /// Reading may bring something.
    readable: bool,
    /// Writing may get something out.
    writable: bool,
    /// The peer has been told that nothing more follows.
    finished: bool,
}

/// What one receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Bytes, perhaps none; another read may bring more at once.
    More,
    /// Bytes, perhaps none; the socket tells when there are more.
    All,
    /// The last bytes.
    End,
}

impl Connection {
    /// A registered socket, and what was read from it before.
    pub(super) fn new(socket: Stream, unread: Vec<u8>) -> Connection {
        Connection {
            socket,
            unread: RecvBuf::starting_with(unread),
            readable: true,
            writable: true,
            finished: false,
        }
    }

    /// Notes what the kernel tells.
    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= self.socket.note(event);
        self.writable |= event.is_writable();
    }

    /// Has the CPU fetch what TLS keeps of it.
    pub(super) fn bring_near(&self) {
        self.socket.bring_near();
    }

    /// Whether reading may bring something.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reads once and shows what is unread to `read`, which returns how much of it was used.
    /// `reading_room` holds the bytes unless some were left from before.
    pub(super) fn receive(
        &mut self,
        ciphertext: &mut RecvBuf,
        reading_room: &mut RecvBuf,
        read: impl FnOnce(&mut [u8]) -> usize,
    ) -> Brought {
        ciphertext.consume(ciphertext.len_bytes());
        reading_room.consume(reading_room.len_bytes());
        // A short rest is copied to the front of the room; a long message grows where it is.
        let uses_own = self.unread.len_bytes() > REST_MAX_BYTES;
        if !uses_own {
            self.unread.move_into(reading_room);
            self.unread.release();
        }
        let into = if uses_own { &mut self.unread } else { &mut *reading_room };
        let outcome = self.socket.receive(ciphertext, into);
        if !into.is_empty() {
            let used = read(into.unused_mut());
            into.consume(used);
        }
        if uses_own {
            self.unread.release();
        } else if !reading_room.is_empty() {
            reading_room.move_into(&mut self.unread);
        }
        match outcome {
            Ok(Received::Some(_)) => Brought::More,
            Ok(Received::All(_)) => {
                self.readable = false;
                Brought::All
            }
            // A connection that broke has nothing more to say than one that ended.
            Ok(Received::End) | Err(_) => Brought::End,
        }
    }

    /// Writes what waits, as much as the kernel takes; `sent` is then shown what is left.
    ///
    /// # Errors
    /// When the connection broke.
    pub(super) fn send(
        &mut self,
        output: &mut SendBuf,
        sent: impl FnOnce(&mut SendBuf),
    ) -> io::Result<()> {
        if !self.writable || (output.is_empty() && !self.socket.holds_unsent()) {
            return Ok(());
        }
        let with_kernel = self.socket.send(output)?;
        self.writable = with_kernel && output.is_empty();
        sent(output);
        Ok(())
    }

    /// Says that nothing more follows what was sent, once. The peer may still send.
    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            // A peer that is gone already has nothing to be told.
            let _ = self.socket.finish();
        }
    }

    /// Says that nothing more follows, as far as the kernel takes that at once.
    pub(super) fn close(mut self) {
        self.socket.say_goodbye();
    }

    /// Whether everything handed to it is with the kernel.
    pub(super) fn has_sent_all(&self) -> bool {
        !self.socket.holds_unsent()
    }
}
