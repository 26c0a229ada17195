//! Mu-law and the two changes of rate.
//!
//! In:       mu-law at 8 kHz; PCM at 24 kHz, little endian, cut anywhere.
//! Out:      PCM at 16 kHz, little endian; mu-law at 8 kHz. As much time leaves as came.
//! Bounds:   what a filter remembers: 31 samples up, 95 and a remainder of 5 bytes down.
//! Not here: base64 and JSON (`call`, `message`).
//!
//! FIR filters by a windowed sinc: 32 taps a phase up, 96 taps down, some 2 ms each.

use std::f32::consts::PI;
use std::sync::LazyLock;

const UP_PHASE_TAPS: usize = 32;
const DOWN_TAPS: usize = 96;

/// ITU-T G.711 mu-law to 16-bit PCM.
static MULAW_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = ((((bits & 0x0F) as i16) << 3) + 0x84 << ((bits >> 4) & 7)) - 0x84;
        table[code] = if bits & 0x80 == 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
};

/// The upper 14 bits of PCM, as an unsigned number from -8,192 on, to mu-law.
static MULAW_ENCODE: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < 1 << 14 {
        let pcm = (index as i32 - 8192) * 4;
        let magnitude = if pcm < 0 { -pcm } else { pcm };
        let biased = if magnitude > 32_635 { 32_635 } else { magnitude } + 0x84;
        let segment = 24 - biased.leading_zeros() as i32;
        let step = (biased >> (segment + 3)) & 0x0F;
        let sign = if pcm < 0 { 0x80 } else { 0 };
        table[index] = !((sign | segment << 4 | step) as u8);
        index += 1;
    }
    table
};

/// The even and the odd taps of the filter up.
static UP: LazyLock<[[f32; UP_PHASE_TAPS]; 2]> = LazyLock::new(|| {
    let taps = low_pass(2 * UP_PHASE_TAPS, 0.25 * 0.94, 2.0);
    // Newest sample last, as the window holds them.
    [0, 1].map(|phase| std::array::from_fn(|n| taps[2 * (UP_PHASE_TAPS - 1 - n) + phase]))
});

static DOWN: LazyLock<Vec<f32>> = LazyLock::new(|| low_pass(DOWN_TAPS, 0.5 / 3.0 * 0.94, 1.0));

/// A Blackman-windowed sinc: `cutoff` in cycles a sample, the sum of the taps is `gain`.
fn low_pass(len: usize, cutoff: f32, gain: f32) -> Vec<f32> {
    let last = (len - 1) as f32;
    let tap = |n: usize| {
        let x = n as f32 - last / 2.0;
        let sinc = if x == 0.0 { 2.0 * cutoff } else { (2.0 * PI * cutoff * x).sin() / (PI * x) };
        let turn = 2.0 * PI * n as f32 / last;
        sinc * (0.42 - 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
    };
    let taps: Vec<f32> = (0..len).map(tap).collect();
    let sum: f32 = taps.iter().sum();
    taps.iter().map(|tap| tap * gain / sum).collect()
}

/// The sum of `window[n] * taps[n]`, in eight lanes that the compiler keeps in one register.
fn dot(window: &[f32], taps: &[f32]) -> f32 {
    let mut lanes = [0.0; 8];
    for (window, taps) in window.chunks_exact(8).zip(taps.chunks_exact(8)) {
        for lane in 0..8 {
            lanes[lane] += window[lane] * taps[lane];
        }
    }
    lanes.iter().sum()
}

fn clip(value: f32) -> i16 {
    // `as` saturates.
    value.round() as i16
}

/// Mu-law at 8 kHz to PCM at 16 kHz.
pub(crate) struct Uplink {
    window: Vec<f32>,
}

impl Uplink {
    pub(crate) fn new() -> Uplink {
        Uplink { window: vec![0.0; UP_PHASE_TAPS - 1] }
    }

    /// Adds what becomes of `code` to `pcm`.
    pub(crate) fn convert(&mut self, code: &[u8], pcm: &mut Vec<u8>) {
        self.window.extend(code.iter().map(|&code| f32::from(MULAW_DECODE[usize::from(code)])));
        let [even, odd] = &*UP;
        for window in self.window.windows(UP_PHASE_TAPS) {
            pcm.extend(clip(dot(window, even)).to_le_bytes());
            pcm.extend(clip(dot(window, odd)).to_le_bytes());
        }
        self.window.drain(..code.len());
    }
}

/// PCM at 24 kHz to mu-law at 8 kHz.
pub(crate) struct Downlink {
    window: Vec<f32>,
    /// Bytes that make no three samples yet.
    rest: Vec<u8>,
}

impl Downlink {
    pub(crate) fn new() -> Downlink {
        Downlink { window: vec![0.0; DOWN_TAPS - 1], rest: Vec::new() }
    }

    /// Adds what becomes of `pcm` to `code`.
    pub(crate) fn convert(&mut self, pcm: &[u8], code: &mut Vec<u8>) {
        self.rest.extend_from_slice(pcm);
        let whole = self.rest.len() / 6 * 6;
        let samples = self.rest[..whole].chunks_exact(2);
        self.window.extend(samples.map(|it| f32::from(i16::from_le_bytes([it[0], it[1]]))));
        self.rest.drain(..whole);
        for window in self.window.windows(DOWN_TAPS).step_by(3) {
            let upper = i32::from(clip(dot(window, &DOWN)) >> 2) + 8192;
            code.push(MULAW_ENCODE[upper as usize]);
        }
        self.window.drain(..whole / 2);
    }

    /// The model was interrupted: what is on its way through the filter is void.
    pub(crate) fn reset(&mut self) {
        *self = Downlink::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_decoding() {
        for code in 0..=255_u8 {
            let pcm = i32::from(MULAW_DECODE[usize::from(code)]);
            let back = MULAW_ENCODE[((pcm >> 2) + 8192) as usize];
            // The two zeros are one value.
            assert!(back == code || (code == 0x7F && back == 0xFF), "{code}: {back}");
        }
    }

    #[test]
    fn as_much_time_leaves_as_came_however_it_is_cut() {
        let (mut pcm, mut up) = (Vec::new(), Uplink::new());
        for len in [160, 1, 0, 999] {
            up.convert(&vec![0x55; len], &mut pcm);
        }
        assert_eq!(pcm.len(), 1160 * 4);
        let (mut code, mut down) = (Vec::new(), Downlink::new());
        for len in [1920, 1, 3, 0, 1916] {
            down.convert(&vec![0x11; len], &mut code);
        }
        assert_eq!(code.len(), 640);
    }
}
