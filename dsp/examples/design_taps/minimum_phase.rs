//! Filters of least delay: the same magnitude with minimum phase.
//!
//! In:       a low-pass specification.
//! Out:      taps with that magnitude whose energy comes as early as it can.
//! Bounds:   a transform of [`POINTS`].
//! Not here: integers (`lattice`).
//!
//! The trick: of all filters with one magnitude the minimum-phase filter is the earliest, and its
//! phase is the Hilbert transform of its log magnitude. So: design a linear-phase filter of twice
//! the order for the *square* of the magnitude, lift it until it is nowhere negative, take half its
//! logarithm, fold the transform of that (the cepstrum) onto positive times, and take the
//! exponential back (Mian and Nainer, 1982).

use std::f64::consts::PI;

use crate::remez::{self, LowPass};

const POINTS: usize = 1 << 17;

/// The taps of `spec`, unit gain, earliest first.
pub(crate) fn design(spec: LowPass) -> Vec<f64> {
    let square = remez::design(LowPass { taps: 2 * spec.taps - 1, ..spec });
    let middle = (square.len() - 1) / 2;
    // The squared amplitude over the whole circle, real since the filter is symmetric.
    let mut circle = vec![(0.0, 0.0); POINTS];
    for (i, tap) in square.iter().enumerate() {
        circle[(i + POINTS - middle) % POINTS].0 += tap;
    }
    transform(&mut circle, -1.0);
    let lowest = circle.iter().map(|c| c.0).fold(f64::MAX, f64::min);
    // Zeros exactly on the circle have no logarithm: lift by a little more than needed.
    let lift = (-lowest).max(1e-13) * 1.02;
    for c in &mut circle {
        *c = (0.5 * (c.0 + lift).ln(), 0.0);
    }
    transform(&mut circle, 1.0);
    let scale = 1.0 / POINTS as f64;
    for (i, c) in circle.iter_mut().enumerate() {
        let fold = match i {
            0 => 1.0,
            _ if i == POINTS / 2 => 1.0,
            _ if i < POINTS / 2 => 2.0,
            _ => 0.0,
        };
        *c = (c.0 * fold * scale, 0.0);
    }
    transform(&mut circle, -1.0);
    for c in &mut circle {
        let size = c.0.exp();
        *c = (size * c.1.cos(), size * c.1.sin());
    }
    transform(&mut circle, 1.0);
    let mut taps: Vec<f64> = circle[..spec.taps].iter().map(|c| c.0 * scale).collect();
    let gain: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= gain);
    taps
}

/// The discrete Fourier transform in place, unscaled; `sign` -1 forth, +1 back.
fn transform(points: &mut [(f64, f64)], sign: f64) {
    let n = points.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            points.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        for k in 0..half {
            let angle = sign * PI * k as f64 / half as f64;
            let (cos, sin) = (angle.cos(), angle.sin());
            for i in (k..n).step_by(2 * half) {
                let (a, b) = (points[i], points[i + half]);
                let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                points[i] = (a.0 + turned.0, a.1 + turned.1);
                points[i + half] = (a.0 - turned.0, a.1 - turned.1);
            }
        }
        half *= 2;
    }
}
