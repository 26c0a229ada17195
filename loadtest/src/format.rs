//! The forms that audio has on a phone's stream: G.711 of either law, and linear PCM.
//!
//! In:       a name (`pcmu`, `pcma`, `l16/16000`), or the bytes of a payload.
//! Out:      a [`Format`] and its measures; samples as [`Format::units`].
//! Bounds:   the rates of [`Format::ALL`].
//! Not here: conversion between forms (`signal`), which carrier speaks which (`carrier`).
//!
//! Linear PCM is little-endian with everybody but Telnyx: Exotel and Vonage are used like that, for
//! SignalWire, Plivo and jambonz it is an assumption. Two public clients of Telnyx read and write
//! its L16 in network order, as RTP has it.

use std::fmt;
use std::str::FromStr;

/// How one sample is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// G.711 mu-law, one byte.
    #[default]
    Mulaw,
    /// G.711 A-law, one byte.
    Alaw,
    /// 16 bits, little-endian.
    Linear,
    /// 16 bits, big-endian.
    Network,
}

/// A coding at a rate, one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Format {
    /// How a sample is written.
    pub coding: Coding,
    /// Samples in a second.
    pub rate: u32,
}

impl Default for Format {
    /// What every carrier can do.
    fn default() -> Format {
        Format::PCMU
    }
}

impl Format {
    /// G.711 mu-law at 8 kHz.
    pub const PCMU: Format = Format { coding: Coding::Mulaw, rate: 8_000 };
    /// G.711 A-law at 8 kHz.
    pub const PCMA: Format = Format { coding: Coding::Alaw, rate: 8_000 };
    /// Linear PCM at 8 kHz.
    pub const L16_8K: Format = Format::linear(8_000);
    /// Linear PCM at 16 kHz.
    pub const L16_16K: Format = Format::linear(16_000);
    /// Linear PCM at 24 kHz.
    pub const L16_24K: Format = Format::linear(24_000);

    /// Every format that a caller speaks.
    pub const ALL: [Format; 8] = [
        Format::PCMU,
        Format::PCMA,
        Format::L16_8K,
        Format::L16_16K,
        Format::L16_24K,
        Format::network(8_000),
        Format::network(16_000),
        Format::network(24_000),
    ];

    /// Linear PCM at `rate`.
    pub const fn linear(rate: u32) -> Format {
        Format { coding: Coding::Linear, rate }
    }

    /// Linear PCM in network order at `rate`.
    pub const fn network(rate: u32) -> Format {
        Format { coding: Coding::Network, rate }
    }

    /// The format if it is one of [`Format::ALL`].
    pub fn spoken(self) -> Option<Format> {
        Format::ALL.contains(&self).then_some(self)
    }

    /// Bytes of one sample.
    pub const fn sample_bytes(self) -> usize {
        match self.coding {
            Coding::Mulaw | Coding::Alaw => 1,
            Coding::Linear | Coding::Network => 2,
        }
    }

    /// Samples in a frame of 20 ms.
    pub const fn frame_samples(self) -> usize {
        self.rate as usize / 50
    }

    /// Bytes in a frame of 20 ms.
    pub const fn frame_bytes(self) -> usize {
        self.frame_samples() * self.sample_bytes()
    }

    /// Bytes that play for so long.
    pub const fn bytes_of_ms(self, ms: usize) -> usize {
        self.rate as usize / 1000 * ms * self.sample_bytes()
    }

    /// A sample of silence, as a unit.
    pub const fn silence(self) -> i16 {
        match self.coding {
            Coding::Mulaw => 0xFF,
            Coding::Alaw => 0xD5,
            Coding::Linear | Coding::Network => 0,
        }
    }

    /// The samples of a payload, each as the number that stands on the wire: a code of G.711 from
    /// 0 to 255, or a linear value. Equal units are equal samples, whatever they sound like. Half a
    /// sample at the end is left out.
    pub fn units(self, bytes: &[u8]) -> Vec<i16> {
        match self.coding {
            Coding::Mulaw | Coding::Alaw => bytes.iter().map(|&code| code.into()).collect(),
            Coding::Linear => {
                let (samples, _) = bytes.as_chunks::<2>();
                samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
            }
            Coding::Network => {
                let (samples, _) = bytes.as_chunks::<2>();
                samples.iter().map(|sample| i16::from_be_bytes(*sample)).collect()
            }
        }
    }

    /// The payload of samples, appended to `bytes`.
    ///
    /// # Panics
    /// If a unit is not a code of G.711 where it must be one.
    pub fn write(self, units: &[i16], bytes: &mut Vec<u8>) {
        match self.coding {
            Coding::Mulaw | Coding::Alaw => {
                bytes.extend(units.iter().map(|&unit| {
                    u8::try_from(unit).expect("a unit of G.711 is a code from 0 to 255")
                }))
            }
            Coding::Linear => bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes())),
            Coding::Network => bytes.extend(units.iter().flat_map(|unit| unit.to_be_bytes())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.coding {
            Coding::Mulaw => f.write_str("pcmu"),
            Coding::Alaw => f.write_str("pcma"),
            Coding::Linear => write!(f, "l16/{}", self.rate),
            Coding::Network => write!(f, "l16be/{}", self.rate),
        }
    }
}

/// A name that is no format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        let named = |format: &Format| format.to_string() == name;
        Format::ALL.into_iter().find(named).ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name_and_counts_its_own_bytes() {
        for (format, name, frame, ms) in [
            (Format::PCMU, "pcmu", 160, 8),
            (Format::PCMA, "pcma", 160, 8),
            (Format::L16_8K, "l16/8000", 320, 16),
            (Format::L16_16K, "l16/16000", 640, 32),
            (Format::L16_24K, "l16/24000", 960, 48),
            (Format::network(16_000), "l16be/16000", 640, 32),
        ] {
            assert_eq!(name.parse(), Ok(format));
            assert_eq!((format.frame_bytes(), format.bytes_of_ms(1)), (frame, ms));
            assert_eq!(format.spoken(), Some(format));
        }
        assert_eq!("l16".parse::<Format>(), Err(UnknownFormat));
        assert_eq!(Format::linear(44_100).spoken(), None);
    }

    #[test]
    fn a_payload_survives_its_units() {
        let linear = [0x34, 0x12, 0xFF, 0xFF, 0x07];
        assert_eq!(Format::L16_16K.units(&linear), [0x1234, -1]);
        assert_eq!(Format::network(16_000).units(&linear), [0x3412, -1]);
        for format in Format::ALL {
            let bytes: Vec<u8> = (0..=255).collect();
            let mut again = Vec::new();
            format.write(&format.units(&bytes), &mut again);
            assert_eq!(again, bytes, "{format}");
        }
    }
}
