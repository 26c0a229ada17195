//! 44.1 to 16 kHz: 160 phases, by Kaiser's window.
//!
//! In:       nothing. Out: a [`Bank`], worked out when the first such conversion is made.
//! Bounds:   160 phases of [`TAPS`] taps, 70 KiB, once for the process; about 2 ms of work.
//! Not here: the other conversions, whose taps are searched beforehand.
//!
//! Every output sees another phase here, so an error of rounding is not a fixed filter error but a
//! new one each time: noise. Searching integers cannot help against that. Nine more binary places
//! can: each tap is a coarse and a fine integer, and an output two sums of products.

use std::f64::consts::PI;

use super::{Bank, Rounding, TAPS_MAX, place};

const UP: usize = 160;
const DOWN: usize = 441;
/// Taps in one phase: 2.5 ms of 44.1 kHz, a delay of half that.
const TAPS: usize = TAPS_MAX;
/// Binary places of the coarse taps; the fine ones have [`FINE_Q`].
const COARSE_Q: u32 = 15;
const FINE_Q: u32 = 24;
/// Kaiser's shape parameter for 96 dB (Kaiser and Schafer, 1980: 0.1102 * (96 - 8.7)).
const BETA: f64 = 9.62;

/// The linear-phase bank.
pub(super) fn from_44_linear() -> Bank {
    let prototype = prototype();
    let mut coarse = Vec::with_capacity(UP * TAPS);
    let mut fine = Vec::with_capacity(UP * TAPS);
    for phase in 0..UP {
        let taps: Vec<f64> = (0..TAPS).rev().map(|k| prototype[k * UP + phase]).collect();
        // Each phase by itself passes frequency zero unchanged.
        let scale = f64::from(1 << FINE_Q) / taps.iter().sum::<f64>();
        for tap in taps {
            let exact = (tap * scale).round() as i32;
            let step = 1 << (FINE_Q - COARSE_Q);
            let high = (exact + step / 2).div_euclid(step);
            coarse.push(high as i16);
            fine.push((exact - high * step) as i16);
        }
    }
    Bank {
        up: UP,
        down: DOWN,
        step: place(DOWN, UP),
        taps: TAPS,
        rounding: Rounding::Plain { gain: 1 << (FINE_Q - COARSE_Q), places: FINE_Q },
        by_phase: coarse.leak(),
        fine_by_phase: fine.leak(),
        band_avx2: &[],
        band_avx512: &[],
    }
}

/// A windowed sinc, cut off at half the lower rate.
fn prototype() -> Vec<f64> {
    let len = UP * TAPS;
    let cutoff = 0.5 / DOWN as f64;
    let middle = (len - 1) as f64 / 2.0;
    (0..len)
        .map(|i| {
            let t = i as f64 - middle;
            let along = t / (middle + 0.5);
            let window = bessel_i0(BETA * (1.0 - along * along).sqrt());
            // `len` is even, so `t` is never zero.
            (2.0 * PI * cutoff * t).sin() / (PI * t) * window
        })
        .collect()
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let square = x * x / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..40 {
        term *= square / f64::from(k * k);
        sum += term;
    }
    sum
}
