//! The polyphase filter, portable.
//!
//! In:       a bank of taps, a window of samples, the tick of the first output.
//! Out:      samples, rounded to nearest and saturated.
//! Bounds:   the window covers every output, checked by `crate::kernels`.
//! Not here: history and phase between calls (`crate::resample`).

use crate::taps::{Bank, PHASE_ALIGN};

/// Lanes that sum side by side, so that a compiler can keep them in vectors.
const LANES: usize = PHASE_ALIGN / 2;

/// Computes `output.len()` samples; the first stands at `tick`, in units of 1 / `bank.up` of an
/// input sample after `window[bank.taps - 1]`.
pub(crate) fn fir(bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
    let mut at = bank.place(tick);
    for sample in output {
        let window = &window[at.first..];
        let fine = match bank.fine_phase(at.phase) {
            [] => 0,
            taps => dot(window, taps),
        };
        *sample = bank.round(dot(window, bank.phase(at.phase)), fine);
        at = bank.next_place(at);
    }
}

/// The exact sum of products over `taps`, a whole number of steps.
///
/// A lane sums one tap in eight, and then one in four, which cannot leave 32 bits.
fn dot(window: &[i16], taps: &[i16]) -> i64 {
    let (steps, _) = taps.as_chunks::<LANES>();
    let (samples, _) = window[..taps.len()].as_chunks::<LANES>();
    let mut lanes = [0_i32; LANES];
    for (samples, taps) in samples.iter().zip(steps) {
        for lane in 0..LANES {
            lanes[lane] += i32::from(samples[lane]) * i32::from(taps[lane]);
        }
    }
    let (low, high) = lanes.split_at(LANES / 2);
    low.iter().zip(high).map(|(low, high)| i64::from(low + high)).sum()
}
