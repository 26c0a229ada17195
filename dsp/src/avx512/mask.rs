//! RFC 6455 masking, 64 bytes a step.
//!
//! In:       a key already turned to the first byte, and bytes. Out: the bytes, XORed in place.
//! Bounds:   none.
//! Not here: where the payload stands in its frame (`wire::ws`).

use std::arch::x86_64::*;

use super::{load, store};

/// As [`crate::scalar::mask::mask`]. The tail is one step more, under a mask of lanes.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn mask(key: [u8; 4], bytes: &mut [u8]) {
    let keys = _mm512_set1_epi32(i32::from_le_bytes(key));
    let (chunks, tail) = bytes.as_chunks_mut::<64>();
    for chunk in chunks {
        let masked = _mm512_xor_si512(load(chunk), keys);
        store(chunk, masked);
    }
    if tail.is_empty() {
        return;
    }
    let lanes = u64::MAX >> (64 - tail.len());
    let at = tail.as_mut_ptr().cast::<i8>();
    // SAFETY: `lanes` selects exactly the bytes of `tail`; the others are not read.
    let masked = _mm512_xor_si512(unsafe { _mm512_maskz_loadu_epi8(lanes, at) }, keys);
    // SAFETY: as above; the others are not written.
    unsafe { _mm512_mask_storeu_epi8(at, lanes, masked) };
}
