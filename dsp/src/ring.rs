//! A ring of bytes between one producer and one consumer, deep but not large.
//!
//! In:       bytes, pushed in pieces of any length.
//! Out:      the same bytes in the same order, lent as slices or copied.
//! Bounds:   the capacity given to [`ring`]: what does not fit is not taken, and `push` says how
//!           much was. Memory follows what is queued: see below.
//! Not here: frames, time, what to do when full: the caller counts and decides.
//!
//! The trick: a ring that must hold 65 s of audio at worst would cost half a megabyte a call if it
//! were one array, while almost always it holds a fraction of a second. So it is a chain of small
//! *segments*. The producer fills the last one and appends another when it is full; the consumer
//! empties the first one and hands it back. One handed-back segment is kept as the *spare*, which
//! is all a steady flow needs: no allocation per frame, and memory goes back after a burst.
//!
//! Two counters say everything the two sides must agree on: bytes ever written and bytes ever read,
//! both wrapping. Only the producer stores the first, only the consumer the second.
//!
//! Nobody waits for anybody: each operation is a bounded number of steps whatever the other side
//! does. The two halves may live on one thread or on two.

use std::ptr;

use crate::sync::{Arc, AtomicPtr, AtomicUsize, Ordering, SEGMENT_BYTES, SegmentBytes};

/// A ring that takes up to `capacity_bytes` at a time.
///
/// It holds one segment at once; see [`Producer::resident_bytes`].
///
/// # Panics
/// If `capacity_bytes` is 0.
#[must_use]
pub fn ring(capacity_bytes: usize) -> (Producer, Consumer) {
    assert!(capacity_bytes > 0, "ring: a capacity of 0 bytes holds nothing");
    let first = Segment::boxed();
    let shared = Arc::new(Shared {
        capacity_bytes,
        written: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
        spare: AtomicPtr::new(ptr::null_mut()),
        segments: AtomicUsize::new(1),
        high_water_bytes: AtomicUsize::new(0),
        head: AtomicPtr::new(first),
    });
    let producer =
        Producer { shared: Arc::clone(&shared), tail: first, tail_at: 0, written: 0, read_seen: 0 };
    let consumer = Consumer { shared, head: first, head_at: 0, read: 0 };
    (producer, consumer)
}

/// One link of the chain.
struct Segment {
    /// The segment after this one; null until the producer appends it.
    next: AtomicPtr<Segment>,
    bytes: SegmentBytes,
}

impl Segment {
    fn boxed() -> *mut Segment {
        let next = AtomicPtr::new(ptr::null_mut());
        Box::into_raw(Box::new(Segment { next, bytes: SegmentBytes::new() }))
    }
}

/// What both halves see.
struct Shared {
    capacity_bytes: usize,
    /// Bytes ever pushed, wrapping. Stored by the producer alone.
    written: AtomicUsize,
    /// Bytes ever taken, wrapping. Stored by the consumer alone.
    read: AtomicUsize,
    /// An emptied segment for the producer's next need, or null.
    spare: AtomicPtr<Segment>,
    /// Segments that exist, spare included.
    segments: AtomicUsize,
    /// Most bytes ever queued at once.
    high_water_bytes: AtomicUsize,
    /// The consumer's segment: where the chain begins when it is torn down.
    head: AtomicPtr<Segment>,
}

impl Shared {
    /// The spare if there is one, else a new segment.
    fn take_segment(&self) -> *mut Segment {
        // Acquire pairs with the Release in `give_back`: the emptied segment is ours alone.
        let spare = self.spare.swap(ptr::null_mut(), Ordering::Acquire);
        if !spare.is_null() {
            return spare;
        }
        self.segments.fetch_add(1, Ordering::Relaxed);
        Segment::boxed()
    }

    /// Keeps an emptied segment as the spare; frees the one that was.
    fn give_back(&self, segment: *mut Segment) {
        // SAFETY: the consumer has just left this segment, and its link shows that the producer
        // left it before.
        unsafe { (*segment).next.store(ptr::null_mut(), Ordering::Relaxed) };
        // AcqRel: Release hands the segment over; Acquire makes the older spare ours to free.
        let older = self.spare.swap(segment, Ordering::AcqRel);
        if !older.is_null() {
            self.segments.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: whoever swaps a pointer out of `spare` is its only owner, and every segment
            // came from `Segment::boxed`.
            drop(unsafe { Box::from_raw(older) });
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut segment = self.head.load(Ordering::Relaxed);
        while !segment.is_null() {
            // SAFETY: both halves are gone; the chain from `head` is ours, and came from `boxed`.
            let owned = unsafe { Box::from_raw(segment) };
            segment = owned.next.load(Ordering::Relaxed);
        }
        let spare = self.spare.load(Ordering::Relaxed);
        if !spare.is_null() {
            // SAFETY: as above; the spare is in no chain.
            drop(unsafe { Box::from_raw(spare) });
        }
    }
}

/// The half that pushes.
pub struct Producer {
    shared: Arc<Shared>,
    /// The segment being filled, the last of the chain.
    tail: *mut Segment,
    /// Bytes of `tail` filled so far.
    tail_at: usize,
    /// As `shared.written`.
    written: usize,
    /// `shared.read` when last looked at; the truth is this or more.
    read_seen: usize,
}

// SAFETY: `tail` is used by this half alone, wherever it lives; what is shared is synchronised by
// the counters.
unsafe impl Send for Producer {}

impl Producer {
    /// Queues the front of `bytes`, as much as there is room for, and returns how much that was.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let accepted = bytes.len().min(self.room_now(bytes.len()));
        let mut rest = &bytes[..accepted];
        while !rest.is_empty() {
            if self.tail_at == SEGMENT_BYTES {
                self.append_segment();
            }
            let (now, later) = rest.split_at(rest.len().min(SEGMENT_BYTES - self.tail_at));
            // SAFETY: `tail` lives until the consumer follows its link, which does not exist yet,
            // and the places from `tail_at` on are not yet promised to the consumer by `written`.
            unsafe { (*self.tail).bytes.write(self.tail_at, now) };
            self.tail_at += now.len();
            self.written = self.written.wrapping_add(now.len());
            rest = later;
        }
        // Release pairs with the consumer's Acquire: bytes and links are visible before the count
        // that promises them.
        self.shared.written.store(self.written, Ordering::Release);
        self.note_high_water();
        accepted
    }

    /// Bytes that may be pushed now.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.shared.capacity_bytes - self.len_bytes()
    }

    /// Bytes queued now. The consumer may have taken some of them meanwhile.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.written.wrapping_sub(self.shared.read.load(Ordering::Acquire))
    }

    /// Most bytes the ring takes.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.shared.capacity_bytes
    }

    /// Most bytes ever queued at once.
    #[must_use]
    pub fn high_water_bytes(&self) -> usize {
        self.shared.high_water_bytes.load(Ordering::Relaxed)
    }

    /// Memory the segments hold now, spare included.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.shared.segments.load(Ordering::Relaxed) * size_of::<Segment>()
    }

    /// Room for at least `wanted`, or all there is. Looks at the consumer's counter only when
    /// what was last seen of it is not enough.
    fn room_now(&mut self, wanted: usize) -> usize {
        let room = self.shared.capacity_bytes - self.written.wrapping_sub(self.read_seen);
        if room >= wanted {
            return room;
        }
        // Acquire pairs with the consumer's Release: it has done with the bytes it counts.
        self.read_seen = self.shared.read.load(Ordering::Acquire);
        self.shared.capacity_bytes - self.written.wrapping_sub(self.read_seen)
    }

    /// Links a segment behind the full `tail` and goes on there.
    fn append_segment(&mut self) {
        let fresh = self.shared.take_segment();
        // SAFETY: `tail` is not left by the consumer, who goes on only by this link.
        // Relaxed: published, like the bytes, by the Release of `written`.
        unsafe { (*self.tail).next.store(fresh, Ordering::Relaxed) };
        self.tail = fresh;
        self.tail_at = 0;
    }

    fn note_high_water(&mut self) {
        let most = self.written.wrapping_sub(self.read_seen);
        if most > self.shared.high_water_bytes.load(Ordering::Relaxed) {
            self.read_seen = self.shared.read.load(Ordering::Acquire);
            let queued = self.written.wrapping_sub(self.read_seen);
            self.shared.high_water_bytes.fetch_max(queued, Ordering::Relaxed);
        }
    }
}

/// The half that takes.
pub struct Consumer {
    shared: Arc<Shared>,
    /// The segment being emptied, the first of the chain.
    head: *mut Segment,
    /// Bytes of `head` taken so far.
    head_at: usize,
    /// As `shared.read`.
    read: usize,
}

// SAFETY: `head` is used by this half alone, wherever it lives; what is shared is synchronised by
// the counters.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Bytes queued now. The producer may have pushed more meanwhile.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        // Acquire pairs with the producer's Release in `push`.
        self.shared.written.load(Ordering::Acquire).wrapping_sub(self.read)
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// The oldest bytes queued, as far as they lie together; empty only if the ring is.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        self.chunks().0
    }

    /// The oldest bytes queued, as two slices that follow each other. What is queued beyond them
    /// shows after [`Consumer::skip`]; the two together hold at least a whole segment less one
    /// byte, or all there is.
    #[must_use]
    pub fn chunks(&self) -> (&[u8], &[u8]) {
        let queued = self.len_bytes();
        if queued == 0 {
            return (&[], &[]);
        }
        let (segment, at) = self.front();
        let first_len = queued.min(SEGMENT_BYTES - at);
        let second_len = (queued - first_len).min(SEGMENT_BYTES);
        // SAFETY: `written` promises these bytes: the producer has left them, and their segment
        // stays in the chain until `skip`, which needs this half mutably.
        let first = unsafe { (*segment).bytes.slice(at, first_len) };
        if second_len == 0 {
            return (first, &[]);
        }
        // SAFETY: as above; bytes beyond the end of `segment` prove the link.
        let second =
            unsafe { (*(*segment).next.load(Ordering::Relaxed)).bytes.slice(0, second_len) };
        (first, second)
    }

    /// Takes the oldest bytes into the front of `into`, as many as fit or are queued, and returns
    /// how many that was.
    pub fn pop(&mut self, into: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < into.len() {
            let chunk = self.chunk();
            if chunk.is_empty() {
                break;
            }
            let len = chunk.len().min(into.len() - taken);
            into[taken..taken + len].copy_from_slice(&chunk[..len]);
            self.skip(len);
            taken += len;
        }
        taken
    }

    /// Drops the oldest `bytes` bytes, or all there are, and returns how many that was.
    pub fn skip(&mut self, bytes: usize) -> usize {
        let dropped = bytes.min(self.len_bytes());
        let mut rest = dropped;
        while rest > 0 {
            if self.head_at == SEGMENT_BYTES {
                self.leave_segment();
            }
            let step = rest.min(SEGMENT_BYTES - self.head_at);
            self.head_at += step;
            rest -= step;
        }
        self.read = self.read.wrapping_add(dropped);
        // Release pairs with the producer's Acquire: these places are no longer read.
        self.shared.read.store(self.read, Ordering::Release);
        dropped
    }

    /// Drops everything queued at this moment and returns how many bytes that was.
    pub fn clear(&mut self) -> usize {
        self.skip(usize::MAX)
    }

    /// Most bytes the ring takes.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.shared.capacity_bytes
    }

    /// Most bytes ever queued at once.
    #[must_use]
    pub fn high_water_bytes(&self) -> usize {
        self.shared.high_water_bytes.load(Ordering::Relaxed)
    }

    /// Memory the segments hold now, spare included.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.shared.segments.load(Ordering::Relaxed) * size_of::<Segment>()
    }

    /// Where the oldest byte lies: its segment and place. Only while something is queued.
    fn front(&self) -> (*mut Segment, usize) {
        if self.head_at < SEGMENT_BYTES {
            return (self.head, self.head_at);
        }
        // SAFETY: `head` is this half's own; bytes beyond its end prove the link, and the Acquire
        // of `written` that counted them made it visible.
        (unsafe { (*self.head).next.load(Ordering::Relaxed) }, 0)
    }

    /// Goes on to the next segment and hands the emptied one back. Only while something is queued.
    fn leave_segment(&mut self) {
        let (next, _) = self.front();
        let emptied = std::mem::replace(&mut self.head, next);
        self.head_at = 0;
        self.shared.head.store(next, Ordering::Relaxed);
        self.shared.give_back(emptied);
    }
}
