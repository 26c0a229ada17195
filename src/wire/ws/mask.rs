//! The XOR with a four-byte key that every frame from a client carries, RFC 6455 section 5.3.
//!
//! In:       a key, where in the payload the bytes begin, the bytes.
//! Out:      the same bytes masked, or unmasked: the operation is its own inverse.
//! Bounds:   none; every length and offset is valid.
//! Not here: choosing keys (`keys`).

/// XORs payload bytes with the key, in place.
///
/// `offset`: where in the payload `bytes[0]` stands, so that a payload may be masked in pieces.
/// Byte `i` of the payload meets `key[i % 4]`. Eight bytes a step, in whatever order the CPU keeps
/// them: XOR does not care.
pub fn apply_mask(mut key: [u8; 4], offset: usize, bytes: &mut [u8]) {
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let key_twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key_twice).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key_twice.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply_mask;

    #[test]
    fn every_length_and_offset_is_masked_as_section_5_3_says() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..200 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
                let mut bytes = plain.clone();
                apply_mask(key, offset, &mut bytes);
                assert_eq!(bytes, expected, "length {len}, offset {offset}");
                apply_mask(key, offset, &mut bytes);
                assert_eq!(bytes, plain);
            }
        }
    }
}
