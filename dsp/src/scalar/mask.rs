//! RFC 6455 masking, portable.
//!
//! In:       a key already turned to the first byte, and bytes. Out: the bytes, XORed in place.
//! Bounds:   none.
//! Not here: where the payload stands in its frame (`wire::ws`).

/// XORs `bytes` with `key` repeated, eight bytes a step.
pub(crate) fn mask(key: [u8; 4], bytes: &mut [u8]) {
    let word = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}
