//! The kernel table: which code this CPU runs, chosen once.
//!
//! In:       what the CPU can do, and a ceiling set by configuration, a test or a bench.
//! Out:      one [`Kernels`], lent to every worker; its methods are the kernels.
//! Bounds:   lengths must match; see the panics of each method. No other input is invalid.
//! Not here: state. A kernel remembers nothing; a rate conversion's memory is in
//!           [`crate::resample`].

use std::fmt;
use std::str::FromStr;

#[cfg(target_arch = "x86_64")]
use crate::g711;
pub use crate::g711::{ALAW_SILENCE, MULAW_SILENCE};
use crate::scalar;
use crate::taps::{Bank, SLACK_SAMPLES};
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx512};

/// A level of instruction set the kernels are written for, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable code: any CPU.
    Scalar,
    /// x86-64 with AVX2 (Haswell, Zen and later).
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, VBMI, VBMI2 and VNNI (Ice Lake, Zen 4 and later).
    Avx512,
    /// The same with FP16 (Sapphire Rapids and later).
    Avx512Fp16,
}

impl Isa {
    /// Every level, lowest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Fp16];

    /// The highest level: no ceiling.
    pub const HIGHEST: Isa = Isa::Avx512Fp16;

    /// The level's name in configuration, logs and bench names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Fp16 => "avx512fp16",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`Isa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownIsa;

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an instruction set; one of")?;
        Isa::ALL.iter().try_for_each(|isa| write!(f, " {isa}"))
    }
}

impl std::error::Error for UnknownIsa {}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name).ok_or(UnknownIsa)
    }
}

type DecodeFn = unsafe fn(&[u8], &mut [i16]);
type EncodeFn = unsafe fn(&[i16], &mut [u8]);
type MaskFn = unsafe fn([u8; 4], &mut [u8]);
type FirFn = unsafe fn(&Bank, &[i16], usize, &mut [i16]);

/// The kernels in use: only code this CPU was seen to be able to run.
///
/// Plain function pointers, so a copy is cheap and a worker may keep its own.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    isa: Isa,
    mulaw_decode: DecodeFn,
    mulaw_encode: EncodeFn,
    alaw_decode: DecodeFn,
    alaw_encode: EncodeFn,
    mask: MaskFn,
    fir: FirFn,
}

/// The portable set fills every entry; a faster set overwrites the entries it wins.
const SCALAR: Kernels = Kernels {
    isa: Isa::Scalar,
    mulaw_decode: scalar::g711::mulaw_decode,
    mulaw_encode: scalar::g711::mulaw_encode,
    alaw_decode: scalar::g711::alaw_decode,
    alaw_encode: scalar::g711::alaw_encode,
    mask: scalar::mask::mask,
    fir: scalar::fir::fir,
};

#[cfg(target_arch = "x86_64")]
const AVX2: Kernels = Kernels {
    isa: Isa::Avx2,
    mulaw_decode: avx2::g711::mulaw_decode,
    mulaw_encode: avx2::g711::mulaw_encode,
    alaw_decode: avx2::g711::alaw_decode,
    alaw_encode: avx2::g711::alaw_encode,
    mask: avx2::mask::mask,
    fir: avx2::fir::fir,
};

#[cfg(target_arch = "x86_64")]
const AVX512: Kernels = Kernels {
    isa: Isa::Avx512,
    mulaw_decode: avx512::g711::mulaw_decode,
    mulaw_encode: avx512::g711::mulaw_encode,
    alaw_decode: avx512::g711::alaw_decode,
    alaw_encode: avx512::g711::alaw_encode,
    mask: avx512::mask::mask,
    fir: avx512::fir::fir,
};

#[cfg(target_arch = "x86_64")]
const AVX512_FP16: Kernels =
    Kernels { isa: Isa::Avx512Fp16, mulaw_encode: avx512::fp16::mulaw_encode, ..AVX512 };

impl Kernels {
    /// The best set this CPU can run, no higher than `ceiling`.
    #[must_use]
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub fn detect(ceiling: Isa) -> Kernels {
        #[cfg(target_arch = "x86_64")]
        {
            if ceiling >= Isa::Avx512Fp16 && avx512::fp16::is_detected() && AVX512_FP16.is_exact() {
                return AVX512_FP16;
            }
            if ceiling >= Isa::Avx512 && avx512::is_detected() {
                return AVX512;
            }
            if ceiling >= Isa::Avx2 && is_x86_feature_detected!("avx2") {
                return AVX2;
            }
        }
        SCALAR
    }

    /// Whether mu-law encoding gives every sample the code G.711 gives it.
    ///
    /// Asked, once at start, of the set that few machines can run and that no test run may ever
    /// have met: it has to pass its examination where it is to serve. About 0.3 ms.
    #[cfg(target_arch = "x86_64")]
    fn is_exact(&self) -> bool {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let mut codes = vec![0; samples.len()];
        self.mulaw_encode(&samples, &mut codes);
        samples.iter().zip(&codes).all(|(s, code)| g711::linear_to_mulaw(*s) == *code)
    }

    /// The level in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Decodes G.711 mu-law to linear PCM.
    ///
    /// `code`: N bytes, one sample each. `pcm`: N samples, -32,124 to 32,124: the 14-bit values of
    /// ITU-T G.711 table 2a shifted left by two. Every byte is valid: no error.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn mulaw_decode(&self, code: &[u8], pcm: &mut [i16]) {
        assert_eq!(code.len(), pcm.len(), "mulaw_decode: codes and samples differ in number");
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.mulaw_decode)(code, pcm) }
    }

    /// Encodes linear PCM to G.711 mu-law, bit-exact to ITU-T G.191.
    ///
    /// `pcm`: N samples, full range. `code`: N bytes. Every sample is valid: no error.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn mulaw_encode(&self, pcm: &[i16], code: &mut [u8]) {
        assert_eq!(pcm.len(), code.len(), "mulaw_encode: samples and codes differ in number");
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.mulaw_encode)(pcm, code) }
    }

    /// Decodes G.711 A-law to linear PCM.
    ///
    /// `code`: N bytes, one sample each. `pcm`: N samples, -32,256 to 32,256: the 13-bit values of
    /// ITU-T G.711 table 1a left-justified. Every byte is valid: no error.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn alaw_decode(&self, code: &[u8], pcm: &mut [i16]) {
        assert_eq!(code.len(), pcm.len(), "alaw_decode: codes and samples differ in number");
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.alaw_decode)(code, pcm) }
    }

    /// Encodes linear PCM to G.711 A-law, bit-exact to ITU-T G.191.
    ///
    /// `pcm`: N samples, full range. `code`: N bytes. Every sample is valid: no error.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn alaw_encode(&self, pcm: &[i16], code: &mut [u8]) {
        assert_eq!(pcm.len(), code.len(), "alaw_encode: samples and codes differ in number");
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.alaw_encode)(pcm, code) }
    }

    /// Masks or unmasks a piece of a WebSocket payload in place (RFC 6455 section 5.3).
    ///
    /// `offset`: position of `bytes[0]` within the payload, so that a payload may come in pieces.
    /// Masking twice with the same key and offset gives the bytes back.
    pub fn mask(&self, mut key: [u8; 4], offset: usize, bytes: &mut [u8]) {
        key.rotate_left(offset % 4);
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.mask)(key, bytes) }
    }

    /// Reads samples from little-endian bytes, as PCM16 travels. One pass, a plain copy where the
    /// CPU is little-endian itself; no faster set exists or is needed.
    ///
    /// # Panics
    /// If `bytes` is not exactly two for each of `pcm`.
    pub fn pcm_from_le(&self, bytes: &[u8], pcm: &mut [i16]) {
        assert_eq!(bytes.len(), 2 * pcm.len(), "pcm_from_le: not two bytes for each sample");
        let (pairs, _) = bytes.as_chunks::<2>();
        for (sample, pair) in pcm.iter_mut().zip(pairs) {
            *sample = i16::from_le_bytes(*pair);
        }
    }

    /// Writes samples as little-endian bytes, as PCM16 travels.
    ///
    /// # Panics
    /// If `bytes` is not exactly two for each of `pcm`.
    pub fn pcm_to_le(&self, pcm: &[i16], bytes: &mut [u8]) {
        assert_eq!(bytes.len(), 2 * pcm.len(), "pcm_to_le: not two bytes for each sample");
        let (pairs, _) = bytes.as_chunks_mut::<2>();
        for (pair, sample) in pairs.iter_mut().zip(pcm) {
            *pair = sample.to_le_bytes();
        }
    }

    /// The filter of a rate conversion over one window; see [`crate::resample`].
    ///
    /// # Panics
    /// If `window` does not reach [`SLACK_SAMPLES`] beyond what the last output needs.
    pub(crate) fn fir(&self, bank: &Bank, window: &[i16], tick: usize, output: &mut [i16]) {
        let end = (tick + output.len() * bank.down) / bank.up + bank.taps + SLACK_SAMPLES;
        assert!(end <= window.len() + bank.down, "fir: {end} samples needed of {}", window.len());
        // SAFETY: `detect` fills the table only with sets it found on this CPU.
        unsafe { (self.fir)(bank, window, tick, output) }
    }
}
