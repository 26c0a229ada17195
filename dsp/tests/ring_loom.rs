//! The ring under every interleaving of its two threads.
//!
//! The ring's source is compiled a second time here, with loom's atomics in place of the standard
//! library's and with segments of four bytes, each byte a cell that loom watches: an access the
//! orderings do not make safe fails the test. It runs with `cargo test`, without any flag.
#![allow(missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "../src/ring.rs"]
mod ring;

/// What `src/sync.rs` is to the ring, watched by loom.
mod sync {
    use loom::cell::UnsafeCell;

    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    /// Small, so that a few bytes cross from segment to segment.
    pub(crate) const SEGMENT_BYTES: usize = 2;

    pub(crate) struct SegmentBytes {
        /// Watched: one access record for each byte.
        watched: [UnsafeCell<()>; SEGMENT_BYTES],
        bytes: std::cell::UnsafeCell<[u8; SEGMENT_BYTES]>,
    }

    impl SegmentBytes {
        pub(crate) fn new() -> SegmentBytes {
            SegmentBytes {
                watched: std::array::from_fn(|_| UnsafeCell::new(())),
                bytes: std::cell::UnsafeCell::new([0; SEGMENT_BYTES]),
            }
        }

        /// # Safety
        /// Nobody else may access these places meanwhile: what loom checks.
        pub(crate) unsafe fn write(&self, at: usize, bytes: &[u8]) {
            for (i, byte) in bytes.iter().enumerate() {
                self.watched[at + i].with_mut(|_| {
                    // SAFETY: in bounds; loom fails the test if anybody else is here.
                    unsafe { self.bytes.get().cast::<u8>().add(at + i).write(*byte) }
                });
            }
        }

        /// # Safety
        /// Nobody may write these places while the slice lives: what loom checks.
        pub(crate) unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
            for cell in &self.watched[at..at + len] {
                cell.with(|_| ());
            }
            // SAFETY: in bounds; loom fails the test if a write is not ordered before this.
            unsafe { std::slice::from_raw_parts(self.bytes.get().cast::<u8>().add(at), len) }
        }
    }
}

use loom::thread;

#[test]
fn what_one_thread_pushes_the_other_pops_in_order() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::ring(4);
        let pushing = thread::spawn(move || {
            let mut pushed = producer.push(&[1, 2, 3]);
            pushed += producer.push(&[4, 5]);
            pushed
        });
        let mut heard = Vec::new();
        for _ in 0..2 {
            let mut into = [0; 3];
            let len = consumer.pop(&mut into);
            heard.extend_from_slice(&into[..len]);
        }
        let pushed = pushing.join().expect("no panic");
        let mut into = [0; 8];
        let len = consumer.pop(&mut into);
        heard.extend_from_slice(&into[..len]);
        // Five bytes into a ring of four: the last fits only if something was popped before.
        assert!(pushed == 4 || pushed == 5);
        assert_eq!(heard, [1, 2, 3, 4, 5][..pushed]);
    });
}

#[test]
fn a_segment_handed_back_is_filled_again_safely() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::ring(8);
        assert_eq!(producer.push(&[1, 2, 3]), 3);
        let popping = thread::spawn(move || {
            // Leaves the first segment while the producer needs a third.
            let dropped = consumer.skip(3);
            (dropped, consumer)
        });
        assert_eq!(producer.push(&[4, 5]), 2);
        let (dropped, mut consumer) = popping.join().expect("no panic");
        assert_eq!(dropped, 3);
        let mut into = [0; 4];
        assert_eq!(consumer.pop(&mut into), 2);
        assert_eq!(into[..2], [4, 5]);
    });
}

#[test]
fn clearing_drops_what_was_there_and_nothing_later() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::ring(8);
        assert_eq!(producer.push(&[1, 2]), 2);
        let pushing = thread::spawn(move || producer.push(&[3, 4, 5]));
        let dropped = consumer.clear();
        assert_eq!(pushing.join().expect("no panic"), 3);
        let (first, second) = consumer.chunks();
        let rest: Vec<u8> = [first, second].concat();
        assert_eq!(dropped + rest.len(), 5);
        assert_eq!(rest, [1, 2, 3, 4, 5][dropped..]);
    });
}

#[test]
fn either_half_may_go_first() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::ring(8);
        let pushing = thread::spawn(move || producer.push(&[1, 2, 3]));
        consumer.skip(2);
        drop(consumer);
        assert_eq!(pushing.join().expect("no panic"), 3);
        // Loom reports a leak of anything it handed out and did not get back.
    });
}
