//! G.711, portable.
//!
//! In:       codes or samples. Out: samples or codes, one each.
//! Bounds:   equal lengths, checked by the caller.
//! Not here: the definition (`crate::g711`), which these loops must equal on every input.

use crate::g711::{ALAW_TO_LINEAR, MULAW_BIAS, MULAW_TO_LINEAR};

/// Decodes by the 256-entry table: 512 bytes, which stay in the first-level cache.
pub(crate) fn mulaw_decode(code: &[u8], pcm: &mut [i16]) {
    for (pcm, code) in pcm.iter_mut().zip(code) {
        *pcm = MULAW_TO_LINEAR[usize::from(*code)];
    }
}

/// As [`mulaw_decode`], with the A-law table.
pub(crate) fn alaw_decode(code: &[u8], pcm: &mut [i16]) {
    for (pcm, code) in pcm.iter_mut().zip(code) {
        *pcm = ALAW_TO_LINEAR[usize::from(*code)];
    }
}

/// Encodes with the CPU's own floating point: a mu-law code is a float of three exponent and four
/// mantissa bits, so converting the biased magnitude to `f32` and keeping the top of its bits is
/// the whole encoder. It vectorises everywhere, and needs no table.
pub(crate) fn mulaw_encode(pcm: &[i16], code: &mut [u8]) {
    for (code, sample) in code.iter_mut().zip(pcm) {
        let magnitude = (sample ^ (sample >> 15)).saturating_add(MULAW_BIAS);
        let bits = float_segment_and_step(i32::from(magnitude)) as u8;
        *code = bits ^ 0xFF ^ ((sample >> 8) as u8 & 0x80);
    }
}

/// As [`mulaw_encode`]; the lowest A-law segment is denormal, a plain shift.
pub(crate) fn alaw_encode(pcm: &[i16], code: &mut [u8]) {
    for (code, sample) in code.iter_mut().zip(pcm) {
        let magnitude = i32::from(sample ^ (sample >> 15));
        let normal = float_segment_and_step(magnitude);
        let bits = if magnitude < 256 { magnitude >> 4 } else { normal } as u8;
        *code = bits ^ 0xD5 ^ ((sample >> 8) as u8 & 0x80);
    }
}

/// Exponent and top four mantissa bits of `magnitude`, counted from segment 0 at 128..=255.
///
/// `f32` holds 23 mantissa bits under 8 exponent bits (bias 127): shifted right by 19, four
/// mantissa bits remain, and 128 = 2^7 has become 16 * (127 + 7).
fn float_segment_and_step(magnitude: i32) -> i32 {
    ((magnitude as f32).to_bits() >> 19) as i32 - 16 * (127 + 7)
}
