//! Memory asked for before it is needed.
//!
//! In:       a thing that will be read or written soon.
//! Out:      nothing: the CPU fetches it beside what else it does.
//! Bounds:   lines of the thing itself, not what it points at.
//! Not here: when that pays; its user measures.

/// Bytes the CPU fetches at a time.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Asks for the lines in which every 64th byte of `thing` stands, from its first on, and waits for
/// none. Those are all of its lines where it begins with one; where it begins within one, its last
/// bytes may stand in a further line, which is not asked for. Where there is no such instruction,
/// it does nothing.
pub fn bring_near<T>(thing: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(thing).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            // SAFETY: the place lies inside `thing`; a prefetch changes nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = thing;
}
