//! The polyphase filter, portable.
//!
//! In:       a bank of taps, a window of samples, the tick of the first output.
//! Out:      samples, rounded to nearest and saturated.
//! Bounds:   the window covers every output, checked by `crate::kernels`.
//! Not here: history and phase between calls (`crate::resample`).

use crate::taps::Bank;

/// Lanes that sum side by side, so that a compiler can keep them in one vector.
const LANES: usize = 8;

/// Computes `output.len()` samples; the first stands at `tick`, in units of 1 / `bank.up` of an
/// input sample after `window[bank.taps - 1]`.
pub(crate) fn fir(bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
    let mut at = bank.place(tick);
    for sample in output {
        let window = &window[at.first..][..bank.taps];
        let sum = dot(window, bank.phase(at.phase));
        *sample = bank.round(sum, dot(window, bank.fine_phase(at.phase)));
        at = bank.next_place(at);
    }
}

/// The exact sum of products over the shorter of the two. A lane sums one tap in eight, which
/// cannot leave 32 bits.
fn dot(window: &[i16], taps: &[i16]) -> i64 {
    let window = &window[..taps.len()];
    let (window, window_tail) = window.as_chunks::<LANES>();
    let (taps, taps_tail) = taps.as_chunks::<LANES>();
    let mut lanes = [0_i32; LANES];
    for (window, taps) in window.iter().zip(taps) {
        for lane in 0..LANES {
            lanes[lane] += i32::from(window[lane]) * i32::from(taps[lane]);
        }
    }
    let mut sum: i64 = lanes.iter().map(|lane| i64::from(*lane)).sum();
    for (sample, tap) in window_tail.iter().zip(taps_tail) {
        sum += i64::from(i32::from(*sample) * i32::from(*tap));
    }
    sum
}
