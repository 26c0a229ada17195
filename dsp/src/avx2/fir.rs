//! The polyphase filter for AVX2: a band of taps times spread samples.
//!
//! In:       a bank of taps, a window of samples, the tick of the first output.
//! Out:      bit for bit what [`crate::scalar::fir`] gives.
//! Bounds:   reads at most `SLACK_SAMPLES` behind what the last output needs.
//! Not here: how a band is laid out (`crate::taps`), history and phase (`crate::resample`).
//!
//! Four outputs make a *group*: eight 32-bit lanes, two for each output. For each row of the band
//! one quad of samples is spread over the register (a load does that for nothing), and
//! `vpmaddwd` adds the products of two samples into each lane: the first two of the quad into an
//! output's even lane, the last two into its odd lane. Each row is loaded once for eight groups.
//!
//! An output is the sum of its two lanes, which may need 33 bits. So their exact mean is taken
//! instead, and rounded by one binary place less.

use std::arch::x86_64::*;

use super::{load, store};
use crate::scalar;
use crate::taps::{Bank, Lift, PHASE_ALIGN, Rounding, RowAvx2};

/// Groups that share a load of a row.
const GROUPS: usize = 8;
const GROUP_OUTPUTS: usize = 4;

/// As [`scalar::fir::fir`].
#[target_feature(enable = "avx2")]
pub(crate) fn fir(bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
    let Rounding::Banded { lift, places } = bank.rounding else {
        return dots(bank, window, tick, output);
    };
    match lift {
        Lift::Small => banded(bank, window, tick, output, |even, odd| {
            round(_mm256_add_epi32(even, odd), places + 1)
        }),
        Lift::None => {
            banded(bank, window, tick, output, |even, odd| round(mean(even, odd), places))
        }
        Lift::By17Over16 => banded(bank, window, tick, output, |even, odd| {
            let mean = mean(even, odd);
            round(_mm256_add_epi32(mean, _mm256_srai_epi32(mean, 4)), places)
        }),
        Lift::By13Over16 => banded(bank, window, tick, output, |even, odd| {
            let mean = mean(even, odd);
            let parts = _mm256_add_epi32(_mm256_srai_epi32(mean, 1), _mm256_srai_epi32(mean, 2));
            round(_mm256_add_epi32(parts, _mm256_srai_epi32(mean, 4)), places)
        }),
    }
}

/// The filter by bands; `finish` joins the two lanes of eight outputs, lifts and rounds.
#[inline]
#[target_feature(enable = "avx2")]
fn banded(
    bank: &Bank,
    window: &[i16],
    mut tick: usize,
    mut output: &mut [i16],
    finish: impl Fn(__m256i, __m256i) -> __m256i,
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
        let groups: [__m256i; GROUPS] = groups(bank.band_avx2, &window[at..], step);
        let (halves, _) = chunk.as_chunks_mut::<16>();
        for (half, groups) in halves.iter_mut().zip(groups.as_chunks::<4>().0) {
            store(half, pack(groups, &finish));
        }
        at += GROUPS * step;
    }
    for chunk in rest.chunks_mut(16) {
        let groups = groups(bank.band_avx2, &window[at..], step);
        let mut whole = [0_i16; 16];
        store(&mut whole, pack(&groups, &finish));
        chunk.copy_from_slice(&whole[..chunk.len()]);
        at += 4 * step;
    }
}

/// The sums of `N` groups whose windows begin `step` samples apart.
#[inline]
#[target_feature(enable = "avx2")]
fn groups<const N: usize>(band: &[RowAvx2], window: &[i16], step: usize) -> [__m256i; N] {
    assert!(window.len() >= (N - 1) * step + 4 * band.len());
    let mut sums = [_mm256_setzero_si256(); N];
    for (r, row) in band.iter().enumerate() {
        let row = load(row);
        for (g, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `g` < `N` and `r` < `band.len()`: within the length asserted above.
            let quad = unsafe { spread(window.as_ptr().add(g * step + 4 * r)) };
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(quad, row));
        }
    }
    sums
}

/// Four groups to sixteen samples, in order and saturated.
#[inline]
#[target_feature(enable = "avx2")]
fn pack([a, b, c, d]: &[__m256i; 4], finish: impl Fn(__m256i, __m256i) -> __m256i) -> __m256i {
    let ((even, odd), (even_later, odd_later)) = (unzip(*a, *b), unzip(*c, *d));
    let packed = _mm256_packs_epi32(finish(even, odd), finish(even_later, odd_later));
    // Pairs of outputs lie as a0 b0 c0 d0, a1 b1 c1 d1.
    _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// floor((even + odd) / 2), without the 33rd bit.
#[inline]
#[target_feature(enable = "avx2")]
fn mean(even: __m256i, odd: __m256i) -> __m256i {
    let half = _mm256_srai_epi32(_mm256_xor_si256(even, odd), 1);
    _mm256_add_epi32(_mm256_and_si256(even, odd), half)
}

/// The even lanes of two groups, and the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn unzip(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
    let (a, b) = (_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
    let even = _mm256_shuffle_ps(a, b, 0b10_00_10_00);
    let odd = _mm256_shuffle_ps(a, b, 0b11_01_11_01);
    (_mm256_castps_si256(even), _mm256_castps_si256(odd))
}

/// To nearest, half up.
#[inline]
#[target_feature(enable = "avx2")]
fn round(lifted: __m256i, places: u32) -> __m256i {
    let half = _mm256_set1_epi32(1 << (places - 1));
    _mm256_sra_epi32(_mm256_add_epi32(lifted, half), _mm_cvtsi32_si128(places as i32))
}

/// Four samples, in each quarter of the register.
///
/// # Safety
/// `quad` points to four samples.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn spread(quad: *const i16) -> __m256i {
    // SAFETY: 8 readable bytes by the caller's word; an unaligned read asks nothing more.
    let quad = unsafe { quad.cast::<i64>().read_unaligned() };
    _mm256_set1_epi64x(quad)
}

/// One output after the other, for banks without a band.
#[target_feature(enable = "avx2")]
fn dots(bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
    let mut at = bank.place(tick);
    for sample in output {
        let window = &window[at.first..];
        let sum = dot(window, bank.phase(at.phase));
        *sample = bank.round(sum.into(), dot(window, bank.fine_phase(at.phase)).into());
        at = bank.next_place(at);
    }
}

/// The sum of products over `taps`, whose absolute values add up to less than 65,536.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(window: &[i16], taps: &[i16]) -> i32 {
    let (steps, _) = taps.as_chunks::<PHASE_ALIGN>();
    let (samples, _) = window[..taps.len()].as_chunks::<PHASE_ALIGN>();
    let mut sum = _mm256_setzero_si256();
    for (samples, taps) in samples.iter().zip(steps) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(load(samples), load(taps)));
    }
    sum_lanes(sum)
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01_00_11_10));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10_11_00_01)))
}
