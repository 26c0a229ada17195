//! What audio a leg carries, and how the two conversions are lent their room to work in.
//!
//! Not here: the kernels (crate `dsp`), queues.

use dsp::g711::ALAW_SILENCE;
use dsp::kernels::{Kernels, MULAW_SILENCE};
use dsp::resample::{Conversion, FilterSet, Resampler};

use crate::buf::Rooms;
use crate::config::AudioFormat;
use crate::limits::PTIME_MS;
use crate::wire::dialect::{ByteOrder, Told};
use crate::wire::twilio::{Encoding, MediaFormat};

/// What the phone's side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// G.711 mu-law, 8 kHz, one byte a sample.
    Mulaw8k,
    /// G.711 A-law, 8 kHz, one byte a sample.
    Alaw8k,
    /// Linear PCM, 16-bit little-endian, two bytes a sample.
    Pcm16 {
        /// Samples a second.
        rate_hz: u32,
    },
    /// Linear PCM, 16-bit big-endian, two bytes a sample.
    Pcm16Be {
        /// Samples a second.
        rate_hz: u32,
    },
}

impl Format {
    /// What a carrier announced, if it is one we speak: mu-law and A-law at 8 kHz, linear PCM at
    /// 8, 16 and 24 kHz, one channel.
    pub fn announced(format: &MediaFormat<'_>, order: ByteOrder) -> Option<Format> {
        let rate_hz = format.rate_hz;
        match (format.encoding, rate_hz, format.channels) {
            (Encoding::Mulaw, 8_000, 1) => Some(Format::Mulaw8k),
            (Encoding::Alaw, 8_000, 1) => Some(Format::Alaw8k),
            (Encoding::Linear16, 8_000 | 16_000 | 24_000, 1) => Some(match order {
                ByteOrder::Little => Format::Pcm16 { rate_hz },
                ByteOrder::Big => Format::Pcm16Be { rate_hz },
            }),
            _ => None,
        }
    }

    /// What a carrier was asked for.
    pub const fn asked(format: AudioFormat, order: ByteOrder) -> Format {
        match (format, order) {
            (AudioFormat::Pcmu, _) => Format::Mulaw8k,
            (AudioFormat::Pcma, _) => Format::Alaw8k,
            (AudioFormat::Linear(rate_hz), ByteOrder::Little) => Format::Pcm16 { rate_hz },
            (AudioFormat::Linear(rate_hz), ByteOrder::Big) => Format::Pcm16Be { rate_hz },
        }
    }

    /// What a carrier is told of it.
    pub const fn told(self) -> Told {
        let media_type = match self {
            Format::Mulaw8k => "audio/x-mulaw",
            Format::Alaw8k => "audio/x-alaw",
            Format::Pcm16 { .. } | Format::Pcm16Be { .. } => "audio/x-l16",
        };
        Told { media_type, rate_hz: self.rate_hz(), frame_bytes: self.frame_bytes() }
    }

    /// Samples a second.
    pub const fn rate_hz(self) -> u32 {
        match self {
            Format::Mulaw8k | Format::Alaw8k => 8_000,
            Format::Pcm16 { rate_hz } | Format::Pcm16Be { rate_hz } => rate_hz,
        }
    }

    /// Bytes a sample.
    pub const fn sample_bytes(self) -> usize {
        match self {
            Format::Mulaw8k | Format::Alaw8k => 1,
            Format::Pcm16 { .. } | Format::Pcm16Be { .. } => 2,
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
            Format::Alaw8k => ALAW_SILENCE,
            Format::Pcm16 { .. } | Format::Pcm16Be { .. } => 0,
        }
    }

    /// Decodes `bytes`, whole samples, onto the end of `pcm`.
    pub fn decode(self, kernels: &Kernels, bytes: &[u8], pcm: &mut Vec<i16>) {
        let start = pcm.len();
        pcm.resize(start + bytes.len() / self.sample_bytes(), 0);
        match self {
            Format::Mulaw8k => kernels.mulaw_decode(bytes, &mut pcm[start..]),
            Format::Alaw8k => kernels.alaw_decode(bytes, &mut pcm[start..]),
            Format::Pcm16 { .. } => kernels.pcm_from_le(bytes, &mut pcm[start..]),
            Format::Pcm16Be { .. } => {
                kernels.pcm_from_le(bytes, &mut pcm[start..]);
                pcm[start..].iter_mut().for_each(|sample| *sample = sample.swap_bytes());
            }
        }
    }

    /// Encodes `pcm` onto the end of `bytes`.
    pub fn encode(self, kernels: &Kernels, pcm: &[i16], bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + pcm.len() * self.sample_bytes(), 0);
        match self {
            Format::Mulaw8k => kernels.mulaw_encode(pcm, &mut bytes[start..]),
            Format::Alaw8k => kernels.alaw_encode(pcm, &mut bytes[start..]),
            Format::Pcm16 { .. } => kernels.pcm_to_le(pcm, &mut bytes[start..]),
            Format::Pcm16Be { .. } => {
                kernels.pcm_to_le(pcm, &mut bytes[start..]);
                let (samples, _) = bytes[start..].as_chunks_mut::<2>();
                samples.iter_mut().for_each(|sample| sample.reverse());
            }
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
    /// Memory of the calls' outputs that are empty.
    pub rooms: Rooms,
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
            rooms: Rooms::default(),
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

    #[test]
    fn every_format_returns_the_samples_it_was_given_and_is_silent_when_it_should_be() {
        let kernels = Kernels::detect(dsp::kernels::Isa::HIGHEST);
        let pcm: Vec<i16> = (i16::MIN..=i16::MAX).step_by(7).collect();
        for format in [Format::Pcm16 { rate_hz: 8_000 }, Format::Pcm16Be { rate_hz: 8_000 }] {
            let (mut bytes, mut back) = (vec![9], Vec::new());
            format.encode(&kernels, &pcm, &mut bytes);
            format.decode(&kernels, &bytes[1..], &mut back);
            assert_eq!(back, pcm, "{format:?}");
        }
        let mut big = Vec::new();
        Format::Pcm16Be { rate_hz: 8_000 }.encode(&kernels, &[0x1234], &mut big);
        assert_eq!(big, [0x12, 0x34]);
        // The formula of G.711 judges every sample; A-law has no zero.
        for sample in i16::MIN..=i16::MAX {
            let mut code = Vec::new();
            Format::Alaw8k.encode(&kernels, &[sample], &mut code);
            assert_eq!(code, [dsp::g711::linear_to_alaw(sample)]);
        }
        for (format, silence) in [(Format::Mulaw8k, 0), (Format::Alaw8k, 8)] {
            let mut heard = Vec::new();
            format.decode(&kernels, &[format.silence()], &mut heard);
            assert_eq!(heard, [silence]);
        }
    }
}
