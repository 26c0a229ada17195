//! RFC 6455 masking, 32 bytes a step.
//!
//! In:       a key already turned to the first byte, and bytes. Out: the bytes, XORed in place.
//! Bounds:   none.
//! Not here: where the payload stands in its frame (`wire::ws`).

use std::arch::x86_64::*;

use super::{load, store};
use crate::scalar;

/// As [`scalar::mask::mask`].
#[target_feature(enable = "avx2")]
pub(crate) fn mask(key: [u8; 4], bytes: &mut [u8]) {
    let keys = _mm256_set1_epi32(i32::from_le_bytes(key));
    let (chunks, tail) = bytes.as_chunks_mut::<32>();
    for chunk in chunks {
        let masked = _mm256_xor_si256(load(chunk), keys);
        store(chunk, masked);
    }
    // 32 is a whole number of keys: the tail begins with the key's first byte.
    scalar::mask::mask(key, tail);
}
