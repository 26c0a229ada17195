//! The polyphase banks: which taps a conversion uses.
//!
//! In:       a conversion and a filter set.
//! Out:      a [`Bank`], shared by every call.
//! Bounds:   [`TAPS_MAX`] taps a phase.
//! Not here: the arithmetic (`crate::scalar::fir` and its faster sisters).

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::resample::{Conversion, FilterSet};

/// Most taps in one phase of any bank; a resampler remembers one sample fewer.
pub(crate) const TAPS_MAX: usize = 112;

/// A polyphase filter: `up` phases of `taps` taps, and how far to step from output to output.
#[derive(Debug)]
pub(crate) struct Bank {
    /// Phases; ticks in an input sample.
    pub(crate) up: usize,
    /// Ticks between outputs.
    pub(crate) down: usize,
    /// Taps in one phase.
    pub(crate) taps: usize,
    /// Taps are in units of 2^-q.
    pub(crate) q: u32,
    /// The taps, phase by phase, oldest sample first.
    taps_by_phase: Box<[i16]>,
    /// Delay of the prototype in ticks.
    pub(crate) delay_ticks: f64,
}

impl Bank {
    /// The taps of one phase, oldest sample first.
    pub(crate) fn phase(&self, phase: usize) -> &[i16] {
        &self.taps_by_phase[phase * self.taps..][..self.taps]
    }

    /// A low-pass of `taps` taps a phase by Kaiser's window, cut at half the lower rate.
    fn kaiser(up: usize, down: usize, taps: usize, beta: f64, q: u32) -> Bank {
        let len = up * taps;
        let cutoff = 0.5 / up.max(down) as f64;
        let middle = (len - 1) as f64 / 2.0;
        let prototype: Vec<f64> = (0..len)
            .map(|i| {
                let t = i as f64 - middle;
                let r = t / (middle + 0.5);
                let sinc =
                    if t == 0.0 { 2.0 * cutoff } else { (2.0 * PI * cutoff * t).sin() / (PI * t) };
                sinc * bessel_i0(beta * (1.0 - r * r).max(0.0).sqrt()) / bessel_i0(beta)
            })
            .collect();
        let mut taps_by_phase = Vec::with_capacity(len);
        for phase in 0..up {
            let one: Vec<f64> = (0..taps).rev().map(|k| prototype[k * up + phase]).collect();
            let sum: f64 = one.iter().sum();
            let scale = f64::from(1_u32 << q) / sum;
            taps_by_phase.extend(one.iter().map(|tap| (tap * scale).round() as i16));
        }
        Bank {
            up,
            down,
            taps,
            q,
            taps_by_phase: taps_by_phase.into_boxed_slice(),
            delay_ticks: middle - (down - 1) as f64,
        }
    }
}

fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

static UP2: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(2, 1, 29, 6.2, 15));
static UP3: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(3, 1, 29, 6.2, 15));
static DOWN2: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(1, 2, 58, 6.2, 16));
static DOWN3: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(1, 3, 87, 6.2, 16));
static DOWN3_2: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(2, 3, 44, 6.2, 15));
static DOWN441_160: LazyLock<Bank> = LazyLock::new(|| Bank::kaiser(160, 441, 112, 9.6, 16));

/// The bank of a conversion.
pub(crate) fn bank(conversion: Conversion, _set: FilterSet) -> &'static Bank {
    match conversion {
        Conversion::Up8To16 | Conversion::Up24To48 => &UP2,
        Conversion::Up8To24 => &UP3,
        Conversion::Down16To8 => &DOWN2,
        Conversion::Down24To8 | Conversion::Down48To16 => &DOWN3,
        Conversion::Down24To16 => &DOWN3_2,
        Conversion::Down44To16 => &DOWN441_160,
    }
}
