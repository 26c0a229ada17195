//! The kernels for x86-64 with AVX2.
//!
//! In:       slices whose lengths [`crate::kernels`] has checked.
//! Out:      bit for bit what [`crate::scalar`] gives.
//! Bounds:   none of their own.
//! Not here: the choice whether this CPU may run them (`crate::kernels`).

pub(crate) mod fir;
pub(crate) mod g711;
pub(crate) mod mask;

use std::arch::x86_64::*;

#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Lane>(from: &[T]) -> __m256i {
    assert!(size_of_val(from) >= 32);
    // SAFETY: 32 bytes of plain integers by the line above; an unaligned load asks nothing more.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half<T: Lane>(from: &[T]) -> __m128i {
    assert!(size_of_val(from) >= 16);
    // SAFETY: 16 bytes of plain integers by the line above; an unaligned load asks nothing more.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<T: Lane>(to: &mut [T], value: __m256i) {
    assert!(size_of_val(to) >= 32);
    // SAFETY: 32 bytes of plain integers by the line above; an unaligned store asks nothing more.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
}

/// Integers every bit pattern of which is valid.
trait Lane: Copy {}
impl Lane for u8 {}
impl Lane for i16 {}

/// Sixteen bytes in both halves: `vpshufb` looks up each half by itself.
#[inline]
#[target_feature(enable = "avx2")]
fn table(entries: [u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(load_half(&entries))
}
