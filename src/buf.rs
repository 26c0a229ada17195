//! Byte buffers between a socket and a parser, and the stamps that measure what waits in them.
//!
//! [`RecvBuf`]: bytes that came in and were not used yet. [`SendBuf`]: bytes that wait to go out,
//! with stamps at the places where a measured message ends.
//! [`Rooms`]: memory of emptied send buffers, shared by the calls of a worker.
//! Bounds:   a `RecvBuf` by the message bound of its reader; a `SendBuf` by its user, who asks
//!           [`SendBuf::len_bytes`] first; stamps by [`STAMPS_MAX`]; [`ROOMS_MAX`].
//! Not here: sockets, clocks.

mod few;

pub use few::Few;

use crate::clock::Nanos;
use crate::limits::STAMPS_MAX;

/// Capacity that an emptied buffer may keep: more is given back, so that a burst leaves no trace.
/// The largest chunk that a carrier insists on, 3,840 bytes as base64, fits: its buffer is not
/// given back and asked for again with every chunk.
const KEPT_BYTES: usize = 8 * 1024;

/// Emptied buffers that are kept for the next calls: as many as one turn fills, nearly always. Of
/// more the memory is given back.
const ROOMS_MAX: usize = 64;

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

/// Memory of send buffers that are empty, for whichever call writes next.
#[derive(Debug, Default)]
pub struct Rooms(Vec<Vec<u8>>);

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

/// A waiting message that carries audio, counted in bytes since the buffer was made.
#[derive(Clone, Copy, Debug)]
struct Cargo {
    start: u64,
    end: u64,
    audio: Audio,
}

/// Audio in messages that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Messages that carry it.
    pub messages: u64,
    /// Its bytes, before base64.
    pub bytes: u64,
    /// Its samples, at the rate they came in with.
    pub samples: u64,
}

impl Audio {
    fn add(&mut self, other: Audio) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.samples += other.samples;
    }

    fn take(&mut self, other: Audio) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
        self.samples -= other.samples;
    }
}

/// Bytes that wait to go out.
#[derive(Debug, Default)]
pub struct SendBuf {
    bytes: Vec<u8>,
    /// Of `bytes`, how many at the front have gone out.
    gone: usize,
    /// Bytes that had gone out when `bytes` was last emptied.
    gone_before: u64,
    stamps: Few<Stamp>,
    /// One entry a message that waits, so the bound on the bytes bounds it too.
    cargo: Few<Cargo>,
    /// The sum of `cargo`.
    audio: Audio,
    /// Of the waiting bytes, how many at the front are encrypted already: they can neither be
    /// taken back nor count as gone.
    pinned: usize,
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

    /// Appends a message that carries `audio`.
    pub fn carry(&mut self, audio: Audio, write: impl FnOnce(&mut SendBuf)) {
        let start = self.end();
        write(self);
        self.cargo.push_back(Cargo { start, end: self.end(), audio });
        self.audio.add(audio);
    }

    /// Audio in messages that have not gone out entirely.
    pub fn waiting_audio(&self) -> Audio {
        self.audio
    }

    /// Takes out every message with audio of which nothing has gone out yet, and returns what was
    /// in them. Other messages stay, in their order.
    pub fn retract_audio(&mut self) -> Audio {
        self.retract_audio_by(|_, _| {})
    }

    /// The same, with every message put behind what waits in `other`, unmeasured.
    pub fn retract_audio_into(&mut self, other: &mut SendBuf) -> Audio {
        self.retract_audio_by(|message, audio| {
            other.carry(audio, |other| other.tail().extend_from_slice(message));
        })
    }

    /// The same, with every message shown to `taken`.
    pub fn retract_audio_by(&mut self, mut taken: impl FnMut(&[u8], Audio)) -> Audio {
        let origin = self.gone_before;
        let committed = origin + (self.gone + self.pinned) as u64;
        let mut retracted = Audio::default();
        let SendBuf { bytes, stamps, cargo, .. } = self;
        cargo.change(|cargo| {
            let kept = cargo.partition_point(|cargo| cargo.start < committed);
            let mut removed = 0;
            for cargo in cargo.drain(kept..) {
                let (start, end) = (cargo.start - removed, cargo.end - removed);
                let place = (start - origin) as usize..(end - origin) as usize;
                taken(&bytes[place.clone()], cargo.audio);
                bytes.drain(place);
                stamps.change(|stamps| {
                    stamps.retain(|stamp| stamp.end != end);
                    for stamp in stamps.iter_mut().filter(|stamp| stamp.end > end) {
                        stamp.end -= end - start;
                    }
                });
                removed += end - start;
                retracted.add(cargo.audio);
            }
        });
        self.audio.take(retracted);
        retracted
    }

    /// Drops the oldest messages with audio until no more than `samples` are left in the others.
    /// Returns what was in them.
    ///
    /// # Panics
    /// If anything but such messages waits.
    pub fn drop_oldest_audio(&mut self, samples: u64) -> Audio {
        let mut dropped = Audio::default();
        while self.audio.samples > samples {
            let Some(first) = self.cargo.front().copied() else { break };
            let at = self.gone_before + self.gone as u64;
            assert_eq!(first.start, at, "only audio waits");
            self.consume((first.end - first.start) as usize);
            dropped.add(first.audio);
        }
        dropped
    }

    /// The first `n` bytes that wait are encrypted now, and leave in that form.
    ///
    /// # Panics
    /// If fewer wait, or some are pinned already.
    pub fn pin(&mut self, n: usize) {
        assert!(
            self.pinned == 0 && n <= self.len_bytes(),
            "{n} of {} bytes pinned",
            self.len_bytes()
        );
        self.pinned = n;
    }

    /// The pinned bytes have gone out.
    pub fn consume_pinned(&mut self) {
        let n = std::mem::take(&mut self.pinned);
        self.consume(n);
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
            self.audio.take(first.audio);
        }
        if self.is_empty() {
            self.gone_before = gone;
            self.gone = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        } else if self.gone > KEPT_BYTES.max(self.bytes.len() / 2) {
            // A backlog that never empties must not keep everything it ever was.
            self.bytes.drain(..self.gone);
            self.gone_before = gone;
            self.gone = 0;
        }
    }

    /// With memory of its own, if it has none: an emptied buffer of another call's.
    pub fn borrow_room(&mut self, rooms: &mut Rooms) {
        if self.bytes.capacity() == 0
            && let Some(room) = rooms.0.pop()
        {
            self.bytes = room;
        }
    }

    /// Gives its memory to `rooms` if nothing waits: so an idle call holds none, and what the next
    /// one writes to is warm.
    pub fn return_room(&mut self, rooms: &mut Rooms) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            let room = std::mem::take(&mut self.bytes);
            if rooms.0.len() < ROOMS_MAX {
                rooms.0.push(room);
            }
        }
    }

    /// Forgets everything that waits: it will never go out.
    pub fn abandon(&mut self) {
        let unmeasured = self.unmeasured + self.stamps.len() as u64;
        *self = SendBuf { unmeasured, ..SendBuf::new() };
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

    fn audio(samples: u64) -> Audio {
        Audio { messages: 1, bytes: samples, samples }
    }

    fn say(buf: &mut SendBuf, text: &str) {
        buf.tail().extend_from_slice(text.as_bytes());
    }

    #[test]
    fn audio_waits_until_the_last_byte_of_its_message_is_gone() {
        let mut buf = SendBuf::new();
        for samples in [160, 320] {
            buf.carry(audio(samples), |buf| say(buf, "audio"));
        }
        buf.consume(4);
        assert_eq!(buf.waiting_audio().samples, 480);
        buf.consume(1);
        assert_eq!(buf.waiting_audio(), audio(320));
        buf.consume(5);
        assert_eq!(buf.waiting_audio(), Audio::default());
    }

    #[test]
    fn audio_is_taken_back_unless_its_message_has_begun_to_leave() {
        let mut buf = SendBuf::new();
        say(&mut buf, "ready ");
        buf.carry(audio(1), |buf| say(buf, "begun "));
        buf.stamp(Stamped::Frame, Nanos(1));
        buf.carry(audio(2), |buf| say(buf, "audio "));
        buf.stamp(Stamped::Frame, Nanos(2));
        say(&mut buf, "mark ");
        buf.stamp(Stamped::FirstAudio, Nanos(3));
        buf.carry(audio(4), |buf| say(buf, "audio "));
        say(&mut buf, "pong");
        buf.consume(8);
        assert_eq!(buf.retract_audio(), Audio { messages: 2, bytes: 6, samples: 6 });
        assert_eq!(buf.waiting(), b"gun mark pong");
        assert_eq!(buf.waiting_audio(), audio(1));
        buf.consume(9);
        let mut seen = Vec::new();
        buf.settle(|what, since| seen.push((what, since)));
        assert_eq!(seen, [(Stamped::Frame, Nanos(1)), (Stamped::FirstAudio, Nanos(3))]);
        assert_eq!(buf.waiting_audio(), Audio::default());
    }

    #[test]
    fn what_is_encrypted_is_not_taken_back_and_not_yet_gone() {
        let mut buf = SendBuf::new();
        buf.carry(audio(1), |buf| say(buf, "first"));
        buf.carry(audio(2), |buf| say(buf, "second"));
        buf.pin(5);
        assert_eq!(buf.waiting_audio().samples, 3);
        assert_eq!(buf.retract_audio(), audio(2));
        assert_eq!(buf.waiting(), b"first");
        buf.consume_pinned();
        assert!(buf.is_empty());
    }

    #[test]
    fn a_backlog_that_never_empties_does_not_keep_what_has_gone() {
        let mut buf = SendBuf::new();
        say(&mut buf, "x");
        for _ in 0..10_000 {
            buf.carry(audio(1), |buf| buf.tail().extend_from_slice(&[0; 1_000]));
            buf.consume(1_000);
        }
        assert_eq!(buf.len_bytes(), 1);
        assert!(buf.bytes.capacity() < 20 * KEPT_BYTES, "{}", buf.bytes.capacity());
    }

    #[test]
    fn an_emptied_buffer_lends_its_memory_to_the_next_and_one_with_bytes_keeps_it() {
        let (mut rooms, mut one, mut other) = (Rooms::default(), SendBuf::new(), SendBuf::new());
        say(&mut one, "a frame");
        one.return_room(&mut rooms);
        assert_eq!((one.waiting(), rooms.0.len()), (&b"a frame"[..], 0), "it still waits");
        one.consume(7);
        one.return_room(&mut rooms);
        assert_eq!((one.bytes.capacity(), rooms.0.len()), (0, 1));
        other.borrow_room(&mut rooms);
        assert!(other.bytes.capacity() >= 7 && rooms.0.is_empty());
        say(&mut other, "another");
        other.borrow_room(&mut rooms);
        assert_eq!(other.waiting(), b"another");
        other.stamp(Stamped::Frame, Nanos(1));
        other.consume(7);
        other.return_room(&mut rooms);
        let mut settled = 0;
        other.settle(|_, _| settled += 1);
        assert_eq!(settled, 1, "what was measured is not forgotten with the memory");
        for _ in 0..2 * ROOMS_MAX {
            let mut full = SendBuf::new();
            say(&mut full, "x");
            full.consume(1);
            full.return_room(&mut rooms);
        }
        assert_eq!(rooms.0.len(), ROOMS_MAX);
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

    #[test]
    fn audio_that_has_not_left_moves_to_another_buffer_whole_and_the_oldest_can_be_dropped() {
        let one = |samples| Audio { messages: 1, bytes: 4, samples };
        let (mut old, mut held) = (SendBuf::new(), SendBuf::new());
        for (message, samples) in [(&b"aaaa"[..], 1), (b"bbbb", 2), (b"cccc", 3)] {
            old.carry(one(samples), |old| old.tail().extend_from_slice(message));
        }
        old.tail().extend_from_slice(b"close");
        old.consume(1);
        let moved = old.retract_audio_into(&mut held);
        assert_eq!(moved, Audio { messages: 2, bytes: 8, samples: 5 });
        assert_eq!((old.waiting(), old.waiting_audio().samples), (&b"aaaclose"[..], 1));
        assert_eq!((held.waiting(), held.waiting_audio()), (&b"bbbbcccc"[..], moved));
        assert_eq!(held.drop_oldest_audio(4), one(2));
        assert_eq!(held.waiting(), b"cccc");
        assert_eq!(held.drop_oldest_audio(0), one(3));
        assert!(held.is_empty());
    }
}
