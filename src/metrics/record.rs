//! Counters of the threads that write files of calls: lines of transcripts, recorded samples.
//!
//! Counted without a lock by those threads alone; read by whoever shows them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Labelled;

/// Why samples that were on a tape are in no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// The file could not be made or written.
    Disk,
    /// The recording was as long as one may be.
    TooLong,
    /// The carrier's copy of both tracks took their place.
    Replaced,
    /// They belonged to a copy of both tracks whose call is not recorded, or not yet or no longer.
    NoCall,
}

impl Discarded {
    /// How many reasons there are.
    pub const COUNT: usize = 4;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; Discarded::COUNT] =
        ["disk", "too_long", "replaced", "no_call"];
}

/// What those threads count. Samples count at the rate they were taped with.
#[derive(Debug, Default)]
pub struct Kept {
    /// Lines of transcripts written.
    pub lines_written: AtomicU64,
    /// Lines lost because the file took none.
    pub lines_lost: AtomicU64,
    /// Samples written to recordings.
    pub samples_written: AtomicU64,
    /// Samples read from tapes and in no recording, by [`Discarded`].
    pub samples_discarded: [AtomicU64; Discarded::COUNT],
    /// Files being written.
    pub files_open: AtomicUsize,
    /// Files deleted because they had been kept long enough, by kind.
    pub files_deleted: Labelled,
}

impl Kept {
    /// Counts samples that are in no recording.
    pub fn discard(&self, why: Discarded, samples: u64) {
        self.samples_discarded[why as usize].fetch_add(samples, Ordering::Relaxed);
    }

    /// Samples discarded for one reason.
    pub fn discarded(&self, why: Discarded) -> u64 {
        self.samples_discarded[why as usize].load(Ordering::Relaxed)
    }

    /// Samples written.
    pub fn written(&self) -> u64 {
        self.samples_written.load(Ordering::Relaxed)
    }
}
