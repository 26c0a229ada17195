//! What audio a leg carries, and how the two conversions are lent their room to work in.
//!
//! Not here: the kernels (crate `dsp`), queues.

use dsp::kernels::{Kernels, MULAW_SILENCE};
use dsp::resample::{Conversion, FilterSet, Resampler};

use crate::limits::PTIME_MS;

/// What the phone's side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// G.711 mu-law, 8 kHz, one byte a sample.
    Mulaw8k,
    /// Linear PCM, 16-bit little-endian, two bytes a sample.
    Pcm16 {
        /// Samples a second.
        rate_hz: u32,
    },
}

impl Format {
    /// Samples a second.
    pub const fn rate_hz(self) -> u32 {
        match self {
            Format::Mulaw8k => 8_000,
            Format::Pcm16 { rate_hz } => rate_hz,
        }
    }

    /// Bytes a sample.
    pub const fn sample_bytes(self) -> usize {
        match self {
            Format::Mulaw8k => 1,
            Format::Pcm16 { .. } => 2,
        }
    }

    /// Bytes of `ms` milliseconds, in whole samples.
    pub const fn bytes_of_ms(self, ms: usize) -> usize {
        self.rate_hz() as usize * ms / 1_000 * self.sample_bytes()
    }

    /// How long `bytes` bytes last, in whole milliseconds.
    pub const fn ms_of_bytes(self, bytes: usize) -> u64 {
        bytes as u64 * 1_000 / (self.sample_bytes() as u64 * self.rate_hz() as u64)
    }

    /// Bytes of one frame.
    pub const fn frame_bytes(self) -> usize {
        self.bytes_of_ms(PTIME_MS)
    }

    /// The byte that is silence when repeated.
    pub const fn silence(self) -> u8 {
        match self {
            Format::Mulaw8k => MULAW_SILENCE,
            Format::Pcm16 { .. } => 0,
        }
    }

    /// Decodes `bytes`, whole samples, onto the end of `pcm`.
    pub fn decode(self, kernels: &Kernels, bytes: &[u8], pcm: &mut Vec<i16>) {
        let start = pcm.len();
        pcm.resize(start + bytes.len() / self.sample_bytes(), 0);
        match self {
            Format::Mulaw8k => kernels.mulaw_decode(bytes, &mut pcm[start..]),
            Format::Pcm16 { .. } => kernels.pcm_from_le(bytes, &mut pcm[start..]),
        }
    }

    /// Encodes `pcm` onto the end of `bytes`.
    pub fn encode(self, kernels: &Kernels, pcm: &[i16], bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + pcm.len() * self.sample_bytes(), 0);
        match self {
            Format::Mulaw8k => kernels.mulaw_encode(pcm, &mut bytes[start..]),
            Format::Pcm16 { .. } => kernels.pcm_to_le(pcm, &mut bytes[start..]),
        }
    }
}

/// Memory above this is given back after a long message of the model, in bytes.
const BENCH_KEPT_BYTES: usize = 256 * 1024;

/// Where a worker's calls work, one at a time: the kernels, and buffers that keep their memory
/// from call to call, so that a frame costs no allocation.
#[derive(Debug)]
pub struct Workbench {
    /// The kernels of this CPU.
    pub kernels: Kernels,
    /// Audio as it came out of a message or goes into one.
    pub bytes: Vec<u8>,
    /// Samples at the source's rate.
    pub source_pcm: Vec<i16>,
    /// Samples at the target's rate.
    pub target_pcm: Vec<i16>,
    /// Bytes in the target's format.
    pub target_bytes: Vec<u8>,
}

impl Workbench {
    /// An empty bench with these kernels.
    pub fn new(kernels: Kernels) -> Workbench {
        // The one conversion whose taps are worked out by the first that needs them: now, and not
        // between two frames.
        let _ = Resampler::new(Conversion::Down44To16, FilterSet::LinearPhase);
        Workbench {
            kernels,
            bytes: Vec::new(),
            source_pcm: Vec::new(),
            target_pcm: Vec::new(),
            target_bytes: Vec::new(),
        }
    }

    /// Gives back what one very long message took.
    pub fn tidy(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BENCH_KEPT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_twenty_milliseconds_of_whole_samples() {
        assert_eq!(Format::Mulaw8k.frame_bytes(), 160);
        assert_eq!(Format::Pcm16 { rate_hz: 24_000 }.frame_bytes(), 960);
        assert_eq!(Format::Pcm16 { rate_hz: 44_100 }.frame_bytes(), 1_764);
    }
}
