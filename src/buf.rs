//! Byte buffers between a socket and a parser, and the stamps that measure what waits in them.
//!
//! [`RecvBuf`]: bytes that came in and were not used yet. [`SendBuf`]: bytes that wait to go out,
//! with stamps at the places where a measured message ends.
//! Bounds:   a `RecvBuf` by the message bound of its reader; a `SendBuf` by its user, who asks
//! [`SendBuf::len_bytes`] first; stamps by [`STAMPS_MAX`].
//! Not here: sockets, clocks.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::limits::STAMPS_MAX;

/// Capacity that an emptied buffer may keep: more is given back, so that a burst leaves no trace.
const KEPT_BYTES: usize = 4 * 1024;

/// Bytes that came in and were not used yet.
#[derive(Debug, Default)]
pub struct RecvBuf {
    /// Kept initialised to its length, so that a read into it costs no clearing.
    bytes: Vec<u8>,
    /// The unused bytes are `bytes[start..end]`.
    start: usize,
    end: usize,
}

impl RecvBuf {
    /// An empty buffer, which holds no memory.
    pub fn new() -> RecvBuf {
        RecvBuf::default()
    }

    /// A buffer that starts with `bytes` unused.
    pub fn starting_with(bytes: Vec<u8>) -> RecvBuf {
        RecvBuf { start: 0, end: bytes.len(), bytes }
    }

    /// The unused bytes.
    pub fn unused(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The unused bytes, to be unmasked in place.
    pub fn unused_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Whether nothing is unused.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes are unused.
    pub fn len_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Drops `n` bytes from the front.
    ///
    /// # Panics
    /// If fewer are unused.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len_bytes(), "{n} of {} bytes used", self.len_bytes());
        self.start += n;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// A space of `room` bytes behind the unused ones; [`RecvBuf::commit`] says how many of them
    /// were filled.
    pub fn space(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < room && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < room {
            self.bytes.resize(self.end + room, 0);
        }
        &mut self.bytes[self.end..self.end + room]
    }

    /// The first `n` bytes of the space were filled.
    ///
    /// # Panics
    /// If the space was smaller.
    pub fn commit(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.end, "{n} bytes filled of a smaller space");
        self.end += n;
    }

    /// Appends `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
        self.commit(bytes.len());
    }

    /// Moves what is unused to the end of `other`; this buffer is empty afterwards.
    pub fn move_into(&mut self, other: &mut RecvBuf) {
        other.extend(self.unused());
        (self.start, self.end) = (0, 0);
    }

    /// Gives the memory back if nothing is unused, so that an idle connection holds none.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = RecvBuf::new();
        }
    }
}

/// What a stamp measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamped {
    /// Audio.
    Frame,
    /// The `clear` that answers an `interrupted`.
    BargeIn,
    /// The first audio of a call.
    FirstAudio,
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    what: Stamped,
    /// Reached when so many bytes have gone out since the buffer was made.
    end: u64,
    since: Nanos,
}

/// Audio that a waiting message carries.
#[derive(Clone, Copy, Debug)]
struct Cargo {
    /// On its way when so many bytes have gone out since the buffer was made.
    end: u64,
    samples: u64,
}

/// Bytes that wait to go out.
#[derive(Debug, Default)]
pub struct SendBuf {
    bytes: Vec<u8>,
    /// Of `bytes`, how many at the front have gone out.
    gone: usize,
    /// Bytes that had gone out when `bytes` was last emptied.
    gone_before: u64,
    stamps: VecDeque<Stamp>,
    cargo: VecDeque<Cargo>,
    /// The sum of `cargo`.
    waiting_samples: u64,
    /// Messages that were not measured because [`STAMPS_MAX`] were waiting.
    unmeasured: u64,
}

impl SendBuf {
    /// An empty buffer, which holds no memory.
    pub fn new() -> SendBuf {
        SendBuf::default()
    }

    /// How many bytes wait.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.gone == self.bytes.len()
    }

    /// Where writers append: whole messages only.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Notes that the message just appended has been on its way since `since`.
    pub fn stamp(&mut self, what: Stamped, since: Nanos) {
        if self.stamps.len() == STAMPS_MAX {
            self.unmeasured += 1;
            return;
        }
        self.stamps.push_back(Stamp { what, end: self.end(), since });
    }

    /// Notes that the message just appended carries so many samples.
    pub fn carry(&mut self, samples: u64) {
        self.cargo.push_back(Cargo { end: self.end(), samples });
        self.waiting_samples += samples;
    }

    /// Samples in messages that have not gone out entirely.
    pub fn waiting_samples(&self) -> u64 {
        self.waiting_samples
    }

    /// Where the last byte appended ends, counted since the buffer was made.
    fn end(&self) -> u64 {
        self.gone_before + self.bytes.len() as u64
    }

    /// The bytes that wait, oldest first.
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    /// Drops `n` bytes from the front: they have gone out.
    ///
    /// # Panics
    /// If fewer wait.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len_bytes(), "{n} of {} bytes gone", self.len_bytes());
        self.gone += n;
        let gone = self.gone_before + self.gone as u64;
        while let Some(first) = self.cargo.pop_front_if(|first| first.end <= gone) {
            self.waiting_samples -= first.samples;
        }
        if self.is_empty() {
            self.gone_before += self.bytes.len() as u64;
            self.gone = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// Forgets everything that waits: it will never go out.
    pub fn abandon(&mut self) {
        *self = SendBuf { unmeasured: self.unmeasured, ..SendBuf::new() };
    }

    /// Hands over every stamp whose message has gone out entirely.
    pub fn settle(&mut self, mut measured: impl FnMut(Stamped, Nanos)) {
        let gone = self.gone_before + self.gone as u64;
        while let Some(stamp) = self.stamps.pop_front_if(|stamp| stamp.end <= gone) {
            measured(stamp.what, stamp.since);
        }
    }

    /// Messages that went unmeasured since the buffer was made.
    pub fn unmeasured(&self) -> u64 {
        self.unmeasured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_is_shown_again_with_more_behind_it() {
        let mut buf = RecvBuf::new();
        buf.space(8)[..5].copy_from_slice(b"hello");
        buf.commit(5);
        buf.consume(3);
        buf.space(8)[..2].copy_from_slice(b"!!");
        buf.commit(2);
        assert_eq!(buf.unused(), b"lo!!");
        let mut other = RecvBuf::starting_with(b"> ".to_vec());
        buf.move_into(&mut other);
        assert!(buf.is_empty());
        assert_eq!(other.unused(), b"> lo!!");
    }

    #[test]
    fn a_space_that_nothing_was_read_into_adds_nothing() {
        let mut buf = RecvBuf::starting_with(b"ab".to_vec());
        buf.space(100).fill(7);
        buf.commit(0);
        assert_eq!(buf.unused(), b"ab");
    }

    #[test]
    fn a_stamp_is_settled_with_the_last_byte_of_its_message() {
        let mut buf = SendBuf::new();
        buf.tail().extend_from_slice(b"first");
        buf.stamp(Stamped::Frame, Nanos(1));
        buf.tail().extend_from_slice(b"second");
        buf.stamp(Stamped::BargeIn, Nanos(2));
        let settled = |buf: &mut SendBuf| {
            let mut seen = Vec::new();
            buf.settle(|what, since| seen.push((what, since)));
            seen
        };
        buf.consume(4);
        assert_eq!(settled(&mut buf), []);
        buf.consume(6);
        assert_eq!(settled(&mut buf), [(Stamped::Frame, Nanos(1))]);
        buf.consume(1);
        assert_eq!(settled(&mut buf), [(Stamped::BargeIn, Nanos(2))]);
        buf.tail().extend_from_slice(b"third");
        buf.stamp(Stamped::Frame, Nanos(3));
        assert_eq!(settled(&mut buf), []);
        buf.consume(5);
        assert_eq!(settled(&mut buf), [(Stamped::Frame, Nanos(3))]);
    }

    #[test]
    fn audio_waits_until_the_last_byte_of_its_message_is_gone() {
        let mut buf = SendBuf::new();
        for samples in [160, 320] {
            buf.tail().extend_from_slice(b"audio");
            buf.carry(samples);
        }
        buf.consume(4);
        assert_eq!(buf.waiting_samples(), 480);
        buf.consume(1);
        assert_eq!(buf.waiting_samples(), 320);
        buf.consume(5);
        assert_eq!(buf.waiting_samples(), 0);
    }

    #[test]
    fn stamps_beyond_the_bound_are_counted_as_unmeasured() {
        let mut buf = SendBuf::new();
        for _ in 0..STAMPS_MAX + 3 {
            buf.tail().push(0);
            buf.stamp(Stamped::Frame, Nanos::ZERO);
        }
        assert_eq!(buf.unmeasured(), 3);
    }

    #[test]
    fn an_emptied_buffer_gives_a_bursts_memory_back() {
        let mut buf = SendBuf::new();
        buf.tail().resize(1 << 20, 0);
        buf.consume(1 << 20);
        assert!(buf.tail().capacity() <= KEPT_BYTES);
        let mut buf = RecvBuf::starting_with(vec![0; 1 << 20]);
        buf.consume(1 << 20);
        buf.release();
        assert_eq!(buf.bytes.capacity(), 0);
    }
}
