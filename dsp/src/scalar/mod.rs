//! The portable kernels: plain loops, the truth the faster sets are judged by.
//!
//! In:       slices whose lengths [`crate::kernels`] has checked.
//! Out:      the same shapes.
//! Bounds:   none of their own.
//! Not here: intrinsics. The loops are written so that a compiler can vectorise them on any
//!           target, aarch64 among them.

pub(crate) mod fir;
pub(crate) mod g711;
pub(crate) mod mask;
