//! The polyphase filter for AVX-512: a band of taps times spread samples.
//!
//! In:       a bank of taps, a window of samples, the tick of the first output.
//! Out:      bit for bit what [`crate::scalar::fir`] gives.
//! Bounds:   reads at most `SLACK_SAMPLES` behind what the last output needs.
//! Not here: how a band is laid out (`crate::taps`), history and phase (`crate::resample`); banks
//!           without a band, which gain nothing from wider registers (`crate::avx2::fir`).
//!
//! As for AVX2, with eight outputs a group, and with `vpdpwssd`, which multiplies and adds to the
//! running sum in one instruction. Each row is loaded once for ten groups, whose ten sums also
//! give the CPU ten independent chains to work on.

use std::arch::x86_64::*;

use super::load;
use crate::taps::{Bank, Lift, Rounding, RowAvx512};
use crate::{avx2, scalar};

/// Groups that share a load of a row.
const GROUPS: usize = 10;
const GROUP_OUTPUTS: usize = 8;

/// As [`scalar::fir::fir`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn fir(bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
    let Rounding::Banded { lift, places } = bank.rounding else {
        return avx2::fir::fir(bank, window, tick, output);
    };
    match lift {
        Lift::Small => banded(bank, window, tick, output, |even, odd| {
            round(_mm512_add_epi32(even, odd), places + 1)
        }),
        Lift::None => {
            banded(bank, window, tick, output, |even, odd| round(mean(even, odd), places))
        }
        Lift::By17Over16 => banded(bank, window, tick, output, |even, odd| {
            let mean = mean(even, odd);
            round(_mm512_add_epi32(mean, _mm512_srai_epi32(mean, 4)), places)
        }),
        Lift::By13Over16 => banded(bank, window, tick, output, |even, odd| {
            let mean = mean(even, odd);
            let parts = _mm512_add_epi32(_mm512_srai_epi32(mean, 1), _mm512_srai_epi32(mean, 2));
            round(_mm512_add_epi32(parts, _mm512_srai_epi32(mean, 4)), places)
        }),
    }
}

/// The filter by bands; `finish` joins the two lanes of sixteen outputs, lifts, rounds, saturates.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
fn banded(
    bank: &Bank,
    window: &[i16],
    mut tick: usize,
    mut output: &mut [i16],
    finish: impl Fn(__m512i, __m512i) -> __m256i,
) {
    // Groups begin at phase zero; an output before that stands alone.
    while !tick.is_multiple_of(bank.up) && !output.is_empty() {
        scalar::fir::fir(bank, window, tick, &mut output[..1]);
        tick += bank.down;
        output = &mut output[1..];
    }
    let step = GROUP_OUTPUTS * bank.down / bank.up;
    let mut at = tick / bank.up;
    let (large, rest) = output.as_chunks_mut::<{ GROUPS * GROUP_OUTPUTS }>();
    for chunk in large {
        let groups: [__m512i; GROUPS] = groups(bank.band_avx512, &window[at..], step);
        let (pairs, _) = chunk.as_chunks_mut::<16>();
        for (samples, groups) in pairs.iter_mut().zip(groups.as_chunks::<2>().0) {
            let (even, odd) = unzip(groups);
            store(samples, finish(even, odd));
        }
        at += GROUPS * step;
    }
    for chunk in rest.chunks_mut(16) {
        let groups = groups(bank.band_avx512, &window[at..], step);
        let mut whole = [0_i16; 16];
        let (even, odd) = unzip(&groups);
        store(&mut whole, finish(even, odd));
        chunk.copy_from_slice(&whole[..chunk.len()]);
        at += 2 * step;
    }
}

/// The sums of `N` groups whose windows begin `step` samples apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn groups<const N: usize>(band: &[RowAvx512], window: &[i16], step: usize) -> [__m512i; N] {
    assert!(window.len() >= (N - 1) * step + 4 * band.len());
    let mut sums = [_mm512_setzero_si512(); N];
    for (r, row) in band.iter().enumerate() {
        let row = load(row);
        for (g, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `g` < `N` and `r` < `band.len()`: within the length asserted above.
            let quad = unsafe { spread(window.as_ptr().add(g * step + 4 * r)) };
            *sum = _mm512_dpwssd_epi32(*sum, quad, row);
        }
    }
    sums
}

/// floor((even + odd) / 2), without the 33rd bit.
#[inline]
#[target_feature(enable = "avx512f")]
fn mean(even: __m512i, odd: __m512i) -> __m512i {
    let half = _mm512_srai_epi32(_mm512_xor_si512(even, odd), 1);
    _mm512_add_epi32(_mm512_and_si512(even, odd), half)
}

/// The even lanes of two groups, and the odd ones.
#[inline]
#[target_feature(enable = "avx512f")]
fn unzip([a, b]: &[__m512i; 2]) -> (__m512i, __m512i) {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    (_mm512_permutex2var_epi32(*a, even, *b), _mm512_permutex2var_epi32(*a, odd, *b))
}

/// To nearest, half up, saturated.
#[inline]
#[target_feature(enable = "avx512f")]
fn round(lifted: __m512i, places: u32) -> __m256i {
    let rounded = _mm512_add_epi32(lifted, _mm512_set1_epi32(1 << (places - 1)));
    _mm512_cvtsepi32_epi16(_mm512_sra_epi32(rounded, _mm_cvtsi32_si128(places as i32)))
}

/// Four samples, in each eighth of the register.
///
/// # Safety
/// `quad` points to four samples.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn spread(quad: *const i16) -> __m512i {
    // SAFETY: 8 readable bytes by the caller's word; an unaligned read asks nothing more.
    let quad = unsafe { quad.cast::<i64>().read_unaligned() };
    _mm512_set1_epi64(quad)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [i16; 16], value: __m256i) {
    // SAFETY: 32 writable bytes; an unaligned store asks nothing more.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
}
