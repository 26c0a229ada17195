//! mu-law encoding by half-precision floats: AVX-512 FP16 (Sapphire Rapids and later).
//!
//! In:       samples. Out: codes, one each.
//! Bounds:   equal lengths, checked by the caller.
//! Not here: A-law, whose denormal segment half floats have at another place; the choice whether
//!           this CPU may run it, and the examination it must pass first (`crate::kernels`).
//!
//! A mu-law code is a float of three exponent and four mantissa bits; a half float has five and
//! ten. Converting the biased magnitude, rounding toward zero, and dropping six mantissa bits is
//! the whole encoder: one conversion where the other sets look up a shift, shift, and add.

use std::arch::x86_64::*;

use super::load;
use crate::g711::MULAW_BIAS;

const STEP: usize = 32;

/// Whether this CPU has half floats beside what this room's siblings need.
pub(crate) fn is_detected() -> bool {
    super::is_detected() && is_x86_feature_detected!("avx512fp16")
}

/// As [`crate::scalar::g711::mulaw_encode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512fp16")]
pub(crate) fn mulaw_encode(pcm: &[i16], code: &mut [u8]) {
    let bias = _mm512_set1_epi16(MULAW_BIAS);
    let invert = _mm512_set1_epi16(0xFF);
    // 128 = 2^7, the lowest segment, has the exponent 7 + 15.
    let lowest = _mm512_set1_epi16(16 * (7 + 15));
    let shorten = |samples: __m512i| {
        let sign = _mm512_srai_epi16(samples, 15);
        let magnitude = _mm512_adds_epi16(_mm512_xor_si512(samples, sign), bias);
        const TRUNCATE: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
        let half = _mm512_castph_si512(_mm512_cvt_roundepu16_ph::<TRUNCATE>(magnitude));
        let bits = _mm512_sub_epi16(_mm512_srli_epi16(half, 6), lowest);
        // The low byte of `sign << 7` is 0x80 where the sample is negative.
        let bits = _mm512_ternarylogic_epi32(bits, invert, _mm512_slli_epi16(sign, 7), 0x96);
        _mm512_cvtepi16_epi8(bits)
    };
    assert_eq!(pcm.len(), code.len(), "as many samples as codes");
    let (pcm_steps, pcm_tail) = pcm.as_chunks::<STEP>();
    let (code_steps, code_tail) = code.as_chunks_mut::<STEP>();
    for (pcm, code) in pcm_steps.iter().zip(code_steps) {
        let codes = shorten(load(pcm));
        // SAFETY: 32 writable bytes; an unaligned store asks nothing more.
        unsafe { _mm256_storeu_si256(code.as_mut_ptr().cast(), codes) };
    }
    if pcm_tail.is_empty() {
        return;
    }
    let lanes = u32::MAX >> (STEP - pcm_tail.len());
    // SAFETY: `lanes` selects exactly the samples of the tail; the others are not read.
    let samples = unsafe { _mm512_maskz_loadu_epi16(lanes, pcm_tail.as_ptr()) };
    // SAFETY: the tails are of one length; the other lanes are not written.
    unsafe { _mm256_mask_storeu_epi8(code_tail.as_mut_ptr().cast(), lanes, shorten(samples)) };
}

#[cfg(test)]
mod tests {
    use super::MULAW_BIAS;
    use crate::g711::linear_to_mulaw;

    /// The bits of a half float, rounded toward zero, as IEEE 754 defines binary16.
    fn half_toward_zero(magnitude: u16) -> u16 {
        let exponent = magnitude.ilog2() as u16;
        let fraction = u32::from(magnitude) << 10 >> exponent;
        ((exponent + 15) << 10) | (fraction as u16 & 0x3FF)
    }

    /// What can be shown without the CPU: that half floats, so defined, give the encoder.
    #[test]
    fn half_floats_hold_the_code_of_every_sample() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = (sample ^ (sample >> 15)).saturating_add(MULAW_BIAS) as u16;
            let bits = ((half_toward_zero(magnitude) >> 6) - 16 * (7 + 15)) as u8;
            let code = bits ^ if sample < 0 { 0x7F } else { 0xFF };
            assert_eq!(code, linear_to_mulaw(sample), "{sample}");
        }
    }
}
