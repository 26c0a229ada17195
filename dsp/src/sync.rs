//! What the ring rests on: atomics, and a segment's bytes.
//!
//! In and out: as the standard library's. The loom test (`tests/ring_loom.rs`) puts its own room in
//! this place, with the same names, and so sees every access the ring makes.
//! Bounds:   [`SEGMENT_BYTES`].
//! Not here: the ring's rules (`crate::ring`).

use std::cell::UnsafeCell;

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Bytes in one segment: half a second of mu-law, and with its link a little under one page.
pub(crate) const SEGMENT_BYTES: usize = 4_080;

/// Bytes that one thread writes and another reads, at different places.
pub(crate) struct SegmentBytes(UnsafeCell<[u8; SEGMENT_BYTES]>);

impl SegmentBytes {
    pub(crate) fn new() -> SegmentBytes {
        SegmentBytes(UnsafeCell::new([0; SEGMENT_BYTES]))
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    /// Nobody else may access these places meanwhile.
    pub(crate) unsafe fn write(&self, at: usize, bytes: &[u8]) {
        assert!(bytes.len() <= SEGMENT_BYTES - at);
        // SAFETY: in bounds by the line above; the caller has these places for itself, and
        // `bytes`, being a shared borrow, is not among them.
        unsafe {
            self.0.get().cast::<u8>().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// The `len` bytes at `at`.
    ///
    /// # Safety
    /// Nobody may write these places while the slice lives.
    pub(crate) unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= SEGMENT_BYTES && len <= SEGMENT_BYTES - at);
        // SAFETY: in bounds by the line above, initialised since `new`, and unwritten while
        // borrowed by the caller's word.
        unsafe { std::slice::from_raw_parts(self.0.get().cast::<u8>().add(at), len) }
    }
}
