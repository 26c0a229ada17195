//! Base64, RFC 4648: media payloads between text and bytes.
//!
//! In:       bytes to write as text; text of either alphabet, padded or not.
//! Out:      text or bytes appended in place to the caller's buffer.
//! Bounds:   text is 4/3 of its bytes; the caller has bounded the message it lies in.
//! Not here: JSON escapes inside a payload (`wire::json::Text`), what the bytes mean.

use base64_turbo::{STANDARD, URL_SAFE};

/// Why a text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base64Error {
    /// A character of neither alphabet, or padding before the end. `at` counts characters.
    BadCharacter {
        /// Index of the character.
        at: usize,
    },
    /// The last group has one character, the wrong padding, or bits beyond the last byte.
    BadEnd,
}

/// Characters that `bytes` bytes become, padding included.
pub const fn encode_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends `bytes` as text: the standard alphabet, padded, written in place at the tail of `out`.
pub fn encode_append(bytes: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    out.resize(before + encode_len(bytes.len()), 0);
    let written = STANDARD.encode_slice(bytes, &mut out[before..]);
    debug_assert_eq!(written.ok(), Some(out.len() - before));
}

/// Appends the bytes that `text` stands for and returns how many. On an error `out` is as before.
///
/// Takes the standard and the URL-safe alphabet (section 5), even mixed, with or without padding.
/// The bits of the last character that belong to no byte must be zero (section 3.5).
pub fn decode_append(text: &[u8], out: &mut Vec<u8>) -> Result<usize, Base64Error> {
    let before = out.len();
    out.resize(before + text.len().div_ceil(4) * 3, 0);
    // Whole groups of one alphabet go through the vector code; the rest is read plainly.
    let room = &mut out[before..];
    let fast = STANDARD.decode_slice(text, room).or_else(|_| URL_SAFE.decode_slice(text, room));
    out.truncate(before + fast.unwrap_or(0));
    fast.or_else(|_| decode_each(text.iter().copied(), out))
}

/// Like [`decode_append`], from characters that come one by one: a payload with JSON escapes.
pub fn decode_each(
    text: impl Iterator<Item = u8>,
    out: &mut Vec<u8>,
) -> Result<usize, Base64Error> {
    let before = out.len();
    let decoded = decode_groups(text, out);
    if decoded.is_err() {
        out.truncate(before);
    }
    decoded.map(|()| out.len() - before)
}

fn decode_groups(text: impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Result<(), Base64Error> {
    let mut group = 0u32;
    let mut in_group = 0;
    let mut padding = 0;
    for (at, character) in text.enumerate() {
        if character == b'=' {
            padding += 1;
            continue;
        }
        let value = SIX_BITS[usize::from(character)];
        if padding > 0 || value == NOT_BASE64 {
            return Err(Base64Error::BadCharacter { at });
        }
        group = group << 6 | u32::from(value);
        in_group += 1;
        if in_group == 4 {
            out.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, in_group) = (0, 0);
        }
    }
    match (in_group, padding) {
        (0, 0) => Ok(()),
        (2, 0 | 2) if group & 0xf == 0 => {
            out.push((group >> 4) as u8);
            Ok(())
        }
        (3, 0 | 1) if group & 0x3 == 0 => {
            out.extend_from_slice(&((group >> 2) as u16).to_be_bytes());
            Ok(())
        }
        _ => Err(Base64Error::BadEnd),
    }
}

const NOT_BASE64: u8 = 0xff;

/// The six bits of each character of both alphabets (tables 1 and 2), else [`NOT_BASE64`].
const SIX_BITS: [u8; 256] = {
    let mut table = [NOT_BASE64; 256];
    let mut value = 0;
    while value < 26 {
        table[b'A' as usize + value] = value as u8;
        table[b'a' as usize + value] = value as u8 + 26;
        value += 1;
    }
    let mut digit = 0;
    while digit < 10 {
        table[b'0' as usize + digit] = digit as u8 + 52;
        digit += 1;
    }
    table[b'+' as usize] = 62;
    table[b'-' as usize] = 62;
    table[b'/' as usize] = 63;
    table[b'_' as usize] = 63;
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
        let mut out = b"kept".to_vec();
        let decoded = decode_append(text, &mut out);
        assert_eq!(&out[..4], b"kept", "what was there stays");
        match decoded {
            Ok(bytes) => assert_eq!(out.len(), 4 + bytes),
            Err(_) => assert_eq!(out.len(), 4, "an error leaves nothing behind"),
        }
        decoded.map(|_| out[4..].to_vec())
    }

    /// Text by the definition, bit by bit, in one alphabet.
    fn plain_encode(bytes: &[u8], alphabet: &[u8; 64], padded: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
            let bits = bits << (8 * (3 - group.len()));
            for place in 0..4 {
                if place <= group.len() {
                    text.push(alphabet[(bits >> (18 - 6 * place) & 63) as usize]);
                } else if padded {
                    text.push(b'=');
                }
            }
        }
        text
    }

    const PLAIN: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn every_length_travels_in_both_alphabets_with_and_without_padding() {
        let seed = 0x0b64;
        let mut random = fastrand::Rng::with_seed(seed);
        for len in 0..400 {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            let mut text = Vec::new();
            encode_append(&bytes, &mut text);
            assert_eq!(text, plain_encode(&bytes, PLAIN, true), "seed {seed} length {len}");
            assert_eq!(text.len(), encode_len(len));
            for alphabet in [PLAIN, URL] {
                for padded in [true, false] {
                    let text = plain_encode(&bytes, alphabet, padded);
                    assert_eq!(decode(&text), Ok(bytes.clone()), "seed {seed} length {len}");
                }
            }
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn one_frame_of_mulaw_silence_is_the_text_the_carrier_sends() {
        let mut text = Vec::new();
        encode_append(&[0xff; 160], &mut text);
        assert_eq!(text.len(), 216);
        assert_eq!(text, ["/".repeat(213), "w==".into()].concat().as_bytes());
    }

    #[test]
    fn alphabets_may_be_mixed_in_one_text() {
        assert_eq!(decode(b"+-/_").unwrap(), [0xfb, 0xef, 0xff]);
    }

    #[test]
    fn text_that_is_not_base64_is_refused() {
        for (text, error) in [
            (&b"A"[..], Base64Error::BadEnd),
            (b"AAAAA", Base64Error::BadEnd),
            (b"AA=", Base64Error::BadEnd),
            (b"AAA==", Base64Error::BadEnd),
            (b"AAAA=", Base64Error::BadEnd),
            (b"AAAA====", Base64Error::BadEnd),
            (b"=", Base64Error::BadEnd),
            (b"AB==", Base64Error::BadEnd),
            (b"AAB=", Base64Error::BadEnd),
            (b"AA=A", Base64Error::BadCharacter { at: 3 }),
            (b"AA==AAAA", Base64Error::BadCharacter { at: 4 }),
            (b"AA A", Base64Error::BadCharacter { at: 2 }),
            (b"AAAAAAA\n", Base64Error::BadCharacter { at: 7 }),
            (b"AAA\x00", Base64Error::BadCharacter { at: 3 }),
            (b"AAA\xff", Base64Error::BadCharacter { at: 3 }),
        ] {
            assert_eq!(decode(text), Err(error), "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_wrong_character_is_found_wherever_it_stands() {
        for len in [4, 8, 216, 856] {
            for at in 0..len {
                for wrong in [b'"', b'\\', b'.', 0x80, b' '] {
                    let mut text = vec![b'A'; len];
                    text[at] = wrong;
                    assert_eq!(decode(&text), Err(Base64Error::BadCharacter { at }));
                }
            }
        }
    }
}
