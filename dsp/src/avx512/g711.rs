//! G.711 for AVX-512, 32 samples a step.
//!
//! In:       codes or samples. Out: samples or codes, one each.
//! Bounds:   equal lengths, checked by the caller.
//! Not here: the definition (`crate::g711`).
//!
//! `vpermi2b` looks up 128 bytes at once, in two registers, by seven bits: the whole of a law's
//! magnitudes, once for their low bytes and once for their high bytes. One bit of a code remains,
//! the sign. Both laws are the same code with other tables.
//!
//! Encoding looks up, by the seven bits under the sign, the segment and how far the four mantissa
//! bits must be shifted down, both in one byte; again one code for both laws, with tables of 128
//! bytes.
//!
//! A tail is one step more, under a mask of lanes.

use std::arch::x86_64::*;

use super::{load, store};
use crate::g711::{ALAW_TO_LINEAR, MULAW_BIAS, MULAW_TO_LINEAR};

const STEP: usize = 32;

/// As [`crate::scalar::g711::mulaw_decode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(crate) fn mulaw_decode(code: &[u8], pcm: &mut [i16]) {
    static TABLES: Magnitudes = Magnitudes::of(&MULAW_TO_LINEAR);
    decode(&TABLES, code, pcm);
}

/// As [`crate::scalar::g711::alaw_decode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(crate) fn alaw_decode(code: &[u8], pcm: &mut [i16]) {
    static TABLES: Magnitudes = Magnitudes::of(&ALAW_TO_LINEAR);
    decode(&TABLES, code, pcm);
}

/// What the codes 0x80 to 0xFF stand for, the positive half of a law, byte by byte.
struct Magnitudes {
    low: [u8; 128],
    high: [u8; 128],
}

impl Magnitudes {
    const fn of(to_linear: &[i16; 256]) -> Magnitudes {
        let mut tables = Magnitudes { low: [0; 128], high: [0; 128] };
        let mut code = 0;
        while code < 128 {
            [tables.low[code], tables.high[code]] = to_linear[128 + code].to_le_bytes();
            code += 1;
        }
        tables
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn decode(tables: &Magnitudes, code: &[u8], pcm: &mut [i16]) {
    let low = [load(&tables.low), load(&tables.low[64..])];
    let high = [load(&tables.high), load(&tables.high[64..])];
    let expand = |codes: __m256i| {
        // Each code twice: once to look up the low byte, once the high byte.
        let codes = _mm512_cvtepu8_epi16(codes);
        let codes = _mm512_or_si512(codes, _mm512_slli_epi16(codes, 8));
        let magnitude = _mm512_permutex2var_epi8(low[0], codes, low[1]);
        const HIGH_BYTES: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let high = _mm512_permutex2var_epi8(high[0], codes, high[1]);
        let magnitude = _mm512_mask_mov_epi8(magnitude, HIGH_BYTES, high);
        let positive = _mm512_movepi16_mask(codes);
        _mm512_mask_sub_epi16(magnitude, !positive, _mm512_setzero_si512(), magnitude)
    };
    assert_eq!(code.len(), pcm.len(), "as many codes as samples");
    let (code_steps, code_tail) = code.as_chunks::<STEP>();
    let (pcm_steps, pcm_tail) = pcm.as_chunks_mut::<STEP>();
    for (code, pcm) in code_steps.iter().zip(pcm_steps) {
        // SAFETY: 32 readable bytes; an unaligned load asks nothing more.
        let codes = unsafe { _mm256_loadu_si256(code.as_ptr().cast()) };
        store(pcm, expand(codes));
    }
    if code_tail.is_empty() {
        return;
    }
    let lanes = u32::MAX >> (STEP - code_tail.len());
    // SAFETY: `lanes` selects exactly the bytes of the tail; the others are not read.
    let codes = unsafe { _mm256_maskz_loadu_epi8(lanes, code_tail.as_ptr().cast()) };
    // SAFETY: the tails are of one length; the other lanes are not written.
    unsafe { _mm512_mask_storeu_epi16(pcm_tail.as_mut_ptr(), lanes, expand(codes)) };
}

/// As [`crate::scalar::g711::mulaw_encode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
pub(crate) fn mulaw_encode(pcm: &[i16], code: &mut [u8]) {
    // The bias makes every magnitude at least 132: segment 0 is shifted by 3.
    static SEGMENTS: [u8; 128] = segments(3);
    encode(&SEGMENTS, MULAW_BIAS, 0xFF, pcm, code);
}

/// As [`crate::scalar::g711::alaw_encode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
pub(crate) fn alaw_encode(pcm: &[i16], code: &mut [u8]) {
    // Segment 0 is denormal: it is shifted as the one above it, by 4.
    static SEGMENTS: [u8; 128] = segments(4);
    encode(&SEGMENTS, 0, 0xD5, pcm, code);
}

/// For a magnitude with the high byte `i`: its segment in the upper four bits, where the code has
/// it, and in the lower four how far its four mantissa bits must be shifted down.
const fn segments(lowest_shift: u8) -> [u8; 128] {
    let mut table = [lowest_shift; 128];
    let mut high = 1_u8;
    while high < 128 {
        let segment = high.ilog2() as u8 + 1;
        table[high as usize] = 16 * segment + segment + 3;
        high += 1;
    }
    table
}

/// `inverted`: the bits a positive sample's code is sent with inverted; of a negative one's, all
/// of these but the sign.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
fn encode(segments: &[u8; 128], bias: i16, inverted: u8, pcm: &[i16], code: &mut [u8]) {
    let segments = [load(segments), load(&segments[64..])];
    let bias = _mm512_set1_epi16(bias);
    let invert = _mm512_set1_epi16(inverted.into());
    let mantissa = _mm512_set1_epi16(0x0F);
    let zero = _mm512_setzero_si512();
    let shorten = |samples: __m512i| {
        let sign = _mm512_srai_epi16(samples, 15);
        let magnitude = _mm512_adds_epi16(_mm512_xor_si512(samples, sign), bias);
        let high_byte = _mm512_srli_epi16(magnitude, 8);
        let segment = _mm512_permutex2var_epi8(segments[0], high_byte, segments[1]);
        // This shift looks at the lowest four bits of its count only: the segment does not disturb.
        let step = _mm512_shrdv_epi16(magnitude, zero, segment);
        // 0xD8: by the third operand's bits, the second where set, else the first.
        let bits = _mm512_ternarylogic_epi32(segment, step, mantissa, 0xD8);
        // The low byte of `sign << 7` is 0x80 where the sample is negative. 0x96: all three XORed.
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
