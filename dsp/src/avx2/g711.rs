//! G.711 for AVX2, 16 samples a step.
//!
//! In:       codes or samples. Out: samples or codes, one each.
//! Bounds:   equal lengths, checked by the caller.
//! Not here: the definition (`crate::g711`).
//!
//! Decoding: the magnitude is `step * power` plus or minus a constant, where `step` depends on the
//! low four bits of a code and `power` on the next three. Four bits are just what `vpshufb` looks
//! up, so both factors come from registers and no memory is touched.
//!
//! Encoding: a code is a small float, so the CPU's conversion from integer to `f32` finds segment
//! and step at once; see [`crate::scalar::g711`].
//!
//! A tail shorter than a step is done by taking the last whole step once more, ending at the end:
//! doing samples twice costs less than doing them one by one.

use std::arch::x86_64::*;

use super::{load, load_half, store, table};
use crate::g711::MULAW_BIAS;
use crate::scalar;

const STEP: usize = 16;

/// As [`scalar::g711::mulaw_decode`].
#[target_feature(enable = "avx2")]
pub(crate) fn mulaw_decode(code: &[u8], pcm: &mut [i16]) {
    if code.len() < STEP {
        return scalar::g711::mulaw_decode(code, pcm);
    }
    let steps =
        table([132, 140, 148, 156, 164, 172, 180, 188, 196, 204, 212, 220, 228, 236, 244, 252]);
    let powers = table([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
    let bias = _mm256_set1_epi16(MULAW_BIAS);
    // Inverts the code in the low byte; bit 7 of the high byte makes every look-up there zero.
    let invert = _mm256_set1_epi16(i16::from_ne_bytes([0xFF, 0x80]));
    let low_bits = _mm256_set1_epi16(i16::from_ne_bytes([0x0F, 0x80]));
    over_codes(code, pcm, |codes| {
        let bits = _mm256_xor_si256(_mm256_cvtepu8_epi16(codes), invert);
        let step = _mm256_shuffle_epi8(steps, _mm256_and_si256(bits, low_bits));
        let power = _mm256_shuffle_epi8(powers, _mm256_srai_epi16(bits, 4));
        let magnitude = _mm256_sub_epi16(_mm256_mullo_epi16(step, power), bias);
        // The sign bit to the top. Where the rest of the bits leaves zero, magnitude is zero too.
        _mm256_sign_epi16(magnitude, _mm256_slli_epi16(bits, 8))
    });
}

/// As [`scalar::g711::alaw_decode`].
#[target_feature(enable = "avx2")]
pub(crate) fn alaw_decode(code: &[u8], pcm: &mut [i16]) {
    if code.len() < STEP {
        return scalar::g711::alaw_decode(code, pcm);
    }
    let steps = table([8, 24, 40, 56, 72, 88, 104, 120, 136, 152, 168, 184, 200, 216, 232, 248]);
    let powers = table([1, 1, 2, 4, 8, 16, 32, 64, 1, 1, 2, 4, 8, 16, 32, 64]);
    // 256 * power for normal segments, nothing for the denormal one: in units of 256.
    let leading = table([0, 1, 2, 4, 8, 16, 32, 64, 0, 1, 2, 4, 8, 16, 32, 64]);
    // As for mu-law, but a set bit 7 means a positive sample: it is turned too.
    let invert = _mm256_set1_epi16(i16::from_ne_bytes([0xD5, 0x80]));
    let low_bits = _mm256_set1_epi16(i16::from_ne_bytes([0x0F, 0x80]));
    let one = _mm256_set1_epi16(1);
    over_codes(code, pcm, |codes| {
        let bits = _mm256_xor_si256(_mm256_cvtepu8_epi16(codes), invert);
        let step = _mm256_shuffle_epi8(steps, _mm256_and_si256(bits, low_bits));
        let segment = _mm256_srai_epi16(bits, 4);
        let power = _mm256_shuffle_epi8(powers, segment);
        let lead = _mm256_slli_epi16(_mm256_shuffle_epi8(leading, segment), 8);
        let magnitude = _mm256_add_epi16(_mm256_mullo_epi16(step, power), lead);
        let sign = _mm256_or_si256(_mm256_slli_epi16(bits, 8), one);
        _mm256_sign_epi16(magnitude, sign)
    });
}

/// As [`scalar::g711::mulaw_encode`].
#[target_feature(enable = "avx2")]
pub(crate) fn mulaw_encode(pcm: &[i16], code: &mut [u8]) {
    if pcm.len() < 2 * STEP {
        return scalar::g711::mulaw_encode(pcm, code);
    }
    let bias = _mm256_set1_epi16(MULAW_BIAS);
    over_samples(pcm, code, |samples| {
        let sign = _mm256_srai_epi16(samples, 15);
        let magnitude = _mm256_adds_epi16(_mm256_xor_si256(samples, sign), bias);
        let bits = segment_and_step(magnitude);
        // 0xFF where positive, 0x7F where negative.
        let invert = _mm256_xor_si256(_mm256_set1_epi16(0xFF), _mm256_slli_epi16(sign, 7));
        _mm256_and_si256(_mm256_xor_si256(bits, invert), _mm256_set1_epi16(0xFF))
    });
}

/// As [`scalar::g711::alaw_encode`]. The denormal segment is made normal by adding its missing
/// leading one, which is taken off the code again.
#[target_feature(enable = "avx2")]
pub(crate) fn alaw_encode(pcm: &[i16], code: &mut [u8]) {
    if pcm.len() < 2 * STEP {
        return scalar::g711::alaw_encode(pcm, code);
    }
    let leading_one = _mm256_set1_epi16(256);
    over_samples(pcm, code, |samples| {
        let sign = _mm256_srai_epi16(samples, 15);
        let magnitude = _mm256_xor_si256(samples, sign);
        let denormal = _mm256_and_si256(_mm256_cmpgt_epi16(leading_one, magnitude), leading_one);
        let bits = segment_and_step(_mm256_add_epi16(magnitude, denormal));
        let bits = _mm256_sub_epi16(bits, _mm256_srli_epi16(denormal, 4));
        // 0xD5 where positive, 0x55 where negative.
        let invert = _mm256_xor_si256(_mm256_set1_epi16(0xD5), _mm256_slli_epi16(sign, 7));
        _mm256_and_si256(_mm256_xor_si256(bits, invert), _mm256_set1_epi16(0xFF))
    });
}

/// Segment and step of magnitudes 128 to 32,767, by way of `f32`: 16 * segment + step.
#[target_feature(enable = "avx2")]
fn segment_and_step(magnitude: __m256i) -> __m256i {
    let zero = _mm256_setzero_si256();
    // Unpacking and packing both stay within halves, so the order comes out as it went in.
    let low = _mm256_cvtepi32_ps(_mm256_unpacklo_epi16(magnitude, zero));
    let high = _mm256_cvtepi32_ps(_mm256_unpackhi_epi16(magnitude, zero));
    let low = _mm256_srli_epi32(_mm256_castps_si256(low), 19);
    let high = _mm256_srli_epi32(_mm256_castps_si256(high), 19);
    // 128 = 2^7 has become 16 * (127 + 7).
    _mm256_sub_epi16(_mm256_packus_epi32(low, high), _mm256_set1_epi16(16 * (127 + 7)))
}

/// Applies `decode` to 16 codes a time; at least 16 there are.
#[inline]
#[target_feature(enable = "avx2")]
fn over_codes(code: &[u8], pcm: &mut [i16], decode: impl Fn(__m128i) -> __m256i) {
    let last = code.len() - STEP;
    let mut at = 0;
    loop {
        store(&mut pcm[at..], decode(load_half(&code[at..])));
        if at == last {
            return;
        }
        at = (at + STEP).min(last);
    }
}

/// Applies `encode`, which gives 16 bits for each sample, to 32 samples a time; at least 32 there
/// are.
#[inline]
#[target_feature(enable = "avx2")]
fn over_samples(pcm: &[i16], code: &mut [u8], encode: impl Fn(__m256i) -> __m256i) {
    let last = pcm.len() - 2 * STEP;
    let mut at = 0;
    loop {
        let low = encode(load(&pcm[at..]));
        let high = encode(load(&pcm[at + STEP..]));
        // Packing works within halves: quarters come out as 0, 2, 1, 3.
        let packed = _mm256_packus_epi16(low, high);
        store(&mut code[at..], _mm256_permute4x64_epi64(packed, 0b11_01_10_00));
        if at == last {
            return;
        }
        at = (at + 2 * STEP).min(last);
    }
}
