//! The kernels for x86-64 with AVX-512 F, BW, VL, VBMI, VBMI2 and VNNI; one also for FP16.
//!
//! In:       slices whose lengths [`crate::kernels`] has checked.
//! Out:      bit for bit what [`crate::scalar`] gives.
//! Bounds:   none of their own.
//! Not here: the choice whether this CPU may run them (`crate::kernels`).

pub(crate) mod fir;
pub(crate) mod fp16;
pub(crate) mod g711;
pub(crate) mod mask;

use std::arch::x86_64::*;

/// Whether this CPU has every feature this room is compiled for.
pub(crate) fn is_detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("avx512vnni")
}

/// Integers every bit pattern of which is valid.
trait Lane: Copy {}
impl Lane for u8 {}
impl Lane for i16 {}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T: Lane>(from: &[T]) -> __m512i {
    assert!(size_of_val(from) >= 64);
    // SAFETY: 64 bytes of plain integers by the line above; an unaligned load asks nothing more.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<T: Lane>(to: &mut [T], value: __m512i) {
    assert!(size_of_val(to) >= 64);
    // SAFETY: 64 bytes of plain integers by the line above; an unaligned store asks nothing more.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
}
