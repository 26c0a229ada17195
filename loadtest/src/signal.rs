//! The audio both sides speak, and what it must have become on the other side.
//!
//! In:       who speaks (call, or session and turn) and which samples.
//! Out:      those samples; and the offline conversion, by the portable kernels, that a relay
//!           must match sample for sample.
//! Bounds:   a conversion holds its whole input and output.
//! Not here: comparing (`verify`).
//!
//! Every sample is a function of its speaker and its position: noise, shaped into syllables. No
//! two stretches are alike, so loss, doubling and disorder all show, and a stretch found anywhere
//! tells whose it is and where it belongs.

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};

use crate::format::{Coding, Format};

/// Digital silence in mu-law.
pub const MULAW_SILENCE: u8 = 0xFF;

/// The silent end of every model turn, in samples at 24 kHz: 10 ms, longer than the memory of a
/// 24-to-8 kHz filter. The turn after it therefore sounds the same whether or not the relay resets
/// its filter between turns, and the end of the last word must leave the filter to be heard.
pub const TURN_TAIL_SAMPLES: u64 = 240;

/// Random bits that depend on nothing but the arguments (splitmix64).
pub fn bits(seed: u64, position: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .wrapping_add(position.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Loudness within a syllable of 200 ms, 0 to 7, by milliseconds.
fn loudness(ms: u64) -> u64 {
    let within = ms % 200;
    within.min(199 - within).min(70) / 10
}

/// The voice of a caller. Its place is counted in ticks, eighths of a millisecond: one sample at
/// 8 kHz.
#[derive(Clone, Copy, Debug)]
pub struct CallerVoice {
    seed: u64,
    pauses: Pauses,
}

/// When a caller is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// How long it speaks at a time, in milliseconds.
    pub talk_ms: u64,
    /// How long it is quiet after that, in milliseconds; 0: it never pauses.
    pub quiet_ms: u64,
    /// Where in these two it begins: at `talk_ms` it begins with a pause.
    pub from_ms: u64,
}

impl Pauses {
    /// True if millisecond `ms` is in a pause.
    fn cover(&self, ms: u64) -> bool {
        let period = self.talk_ms + self.quiet_ms;
        self.quiet_ms > 0 && (ms + self.from_ms) % period >= self.talk_ms
    }
}

impl CallerVoice {
    /// The voice of call `index` in the run `seed`.
    pub fn new(seed: u64, index: usize) -> CallerVoice {
        CallerVoice { seed: bits(seed, index as u64), pauses: Pauses::default() }
    }

    /// The same voice with pauses: noise too soft to be taken for speech, and as little alike
    /// anywhere.
    pub fn pausing(self, pauses: Pauses) -> CallerVoice {
        CallerVoice { pauses, ..self }
    }

    /// Appends `ticks` of speech from tick `position` on, in the given form. At the higher rates
    /// every sample is random by itself, so that speech reaches up to half the rate.
    pub fn speak_as(&self, format: Format, position: u64, ticks: usize, payload: &mut Vec<u8>) {
        match format.coding {
            Coding::Mulaw => {
                let from = payload.len();
                payload.resize(from + ticks, 0);
                self.speak(position, &mut payload[from..]);
            }
            Coding::Alaw => {
                let (mut code, mut pcm) = (vec![0; ticks], vec![0; ticks]);
                self.speak(position, &mut code);
                let kernels = kernels();
                kernels.mulaw_decode(&code, &mut pcm);
                kernels.alaw_encode(&pcm, &mut code);
                payload.extend_from_slice(&code);
            }
            Coding::Linear | Coding::Network => {
                let per_tick = u64::from(format.rate) / 8_000;
                let mut pcm = vec![0; ticks * per_tick as usize];
                self.linear(format.rate, position * per_tick, &mut pcm);
                format.write(&pcm, payload);
            }
        }
    }

    /// Linear speech at `rate` from sample `position` on: as loud as the mu-law, up to 8,000 of
    /// 32,767.
    fn linear(&self, rate: u32, position: u64, pcm: &mut [i16]) {
        // One random word serves four samples, which lie in one millisecond.
        let (mut at, mut rest) = (position, pcm);
        while !rest.is_empty() {
            let within = at % 4;
            let (block, behind) = rest.split_at_mut(rest.len().min(4 - within as usize));
            let ms = at * 1000 / u64::from(rate);
            let word = bits(self.seed ^ u64::from(rate), at / 4);
            let (times, over) = match self.pauses.cover(ms) {
                false => (1 + loudness(ms) as i32, 32),
                true => (1, 300),
            };
            for (k, sample) in (within..).zip(block.iter_mut()) {
                let noise = i32::from((word >> (k * 16)) as u16 as i16);
                *sample = (noise * times / over) as i16;
            }
            at += block.len() as u64;
            rest = behind;
        }
    }

    /// Mu-law at 8 kHz, from `position` on.
    pub fn speak(&self, position: u64, code: &mut [u8]) {
        let (mut at, mut rest) = (position, code);
        while !rest.is_empty() {
            let within = (at % 8) as usize;
            let (block, behind) = rest.split_at_mut(rest.len().min(8 - within));
            block.copy_from_slice(&self.millisecond(at / 8)[within..within + block.len()]);
            at += block.len() as u64;
            rest = behind;
        }
    }

    /// The eight samples of a millisecond: one random word and one loudness serve them all, a byte
    /// of the word each. No sum leaves its byte.
    fn millisecond(&self, ms: u64) -> [u8; 8] {
        const EACH: u64 = 0x0101_0101_0101_0101;
        let noise = bits(self.seed, ms);
        // Magnitude codes from 0x10 to 0x5F: between about 130 and 8,000 of 32,124. In a pause up
        // to 0x0F: 120.
        let magnitude = match self.pauses.cover(ms) {
            true => noise & (0x0F * EACH),
            false => {
                let sum = (noise & (0x1F * EACH)) + loudness(ms) * 8 * EACH;
                // The top bit of each byte that has passed 0x4F, as a mask of that byte.
                let over = (((sum + 0x30 * EACH) >> 7) & EACH) * 0xFF;
                ((sum & !over) | ((0x4F * EACH) & over)) + 0x10 * EACH
            }
        };
        (!((noise & (0x80 * EACH)) | magnitude)).to_le_bytes()
    }
}

/// The voice of the model in one turn: PCM16 at 24 kHz.
#[derive(Clone, Copy, Debug)]
pub struct ModelVoice {
    seed: u64,
    samples: u64,
    /// Its loudness does not change.
    steady: bool,
}

impl ModelVoice {
    /// Turn `turn` of session `session`, `samples` long.
    pub fn new(seed: u64, session: usize, turn: usize, samples: u64) -> ModelVoice {
        let seed = bits(bits(!seed, session as u64), turn as u64);
        ModelVoice { seed, samples, steady: false }
    }

    /// The same without syllables: noise of one level, which speech never is.
    pub fn steady(self) -> ModelVoice {
        ModelVoice { steady: true, ..self }
    }

    /// The length of the turn.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Loudness, 0 to 7, by milliseconds.
    fn loudness(&self, ms: u64) -> u64 {
        if self.steady { 7 } else { loudness(ms) }
    }

    /// The samples from `position` on; silence over the last [`TURN_TAIL_SAMPLES`].
    pub fn speak(&self, position: u64, pcm: &mut [i16]) {
        let voiced = self.samples.saturating_sub(TURN_TAIL_SAMPLES);
        // One random word serves twelve samples, each of its parts three: energy the phone keeps.
        let (mut at, mut rest) = (position, pcm);
        while !rest.is_empty() {
            let within = (at % 12) as usize;
            let (block, behind) = rest.split_at_mut(rest.len().min(12 - within));
            let (noise, loud) = (bits(self.seed, at / 12), 2 + self.loudness(at / 24) as i32);
            let part = |n: usize| (i32::from((noise >> (n * 16)) as u16 as i16) * loud / 40) as i16;
            let parts = [part(0), part(1), part(2), part(3)];
            let spoken = block.len().min(voiced.saturating_sub(at) as usize);
            let (spoken, silent) = block.split_at_mut(spoken);
            for (k, sample) in (within..).zip(spoken) {
                *sample = parts[k / 3];
            }
            silent.fill(0);
            at += block.len() as u64;
            rest = behind;
        }
    }
}

/// The kernels of the expectation: the portable set, whatever the relay under test runs on.
fn kernels() -> Kernels {
    Kernels::detect(Isa::Scalar)
}

/// What the model must hear of a caller's payload, at `rate` hertz: 8,000 or 16,000.
///
/// # Panics
/// At any other rate.
pub fn uplink(format: Format, payload: &[u8], rate: u32) -> Vec<i16> {
    assert!(matches!(rate, 8_000 | 16_000), "the model hears 8 or 16 kHz");
    convert(&kernels(), format.rate, rate, &linear(format, payload))
}

/// The samples of a payload as linear PCM at its own rate.
pub fn linear(format: Format, payload: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; payload.len()];
    match format.coding {
        Coding::Linear | Coding::Network => return format.units(payload),
        Coding::Mulaw => kernels().mulaw_decode(payload, &mut pcm),
        Coding::Alaw => kernels().alaw_decode(payload, &mut pcm),
    }
    pcm
}

/// What the phone must hear of a turn at 24 kHz, as units of its format, without padding.
pub fn downlink(pcm_24k: &[i16], format: Format) -> Vec<i16> {
    units(format, convert(&kernels(), 24_000, format.rate, pcm_24k))
}

/// Linear PCM at the rate of a format, as units of it.
pub fn units(format: Format, pcm: Vec<i16>) -> Vec<i16> {
    let kernels = kernels();
    let mut code = vec![0; pcm.len()];
    match format.coding {
        Coding::Linear | Coding::Network => return pcm,
        Coding::Mulaw => kernels.mulaw_encode(&pcm, &mut code),
        Coding::Alaw => kernels.alaw_encode(&pcm, &mut code),
    }
    format.units(&code)
}

/// # Panics
/// If there is no conversion between the rates.
fn convert(kernels: &Kernels, from: u32, to: u32, pcm: &[i16]) -> Vec<i16> {
    if from == to {
        return pcm.to_vec();
    }
    let conversion = Conversion::between(from, to).expect("every format has its conversion");
    let mut resampler = Resampler::new(conversion, FilterSet::LinearPhase);
    let mut converted = vec![0; resampler.output_len(pcm.len())];
    let written = resampler.process(kernels, pcm, &mut converted);
    converted.truncate(written);
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_sounds_the_same_however_it_is_cut() {
        let voice = CallerVoice::new(1, 2);
        let mut whole = [0; 1000];
        voice.speak(500, &mut whole);
        let mut pieces = [0; 1000];
        let (left, right) = pieces.split_at_mut(333);
        voice.speak(500, left);
        voice.speak(833, right);
        assert_eq!(whole, pieces);

        let voice = ModelVoice::new(1, 2, 3, 10_000);
        let mut whole = [0; 1000];
        voice.speak(9_100, &mut whole);
        let mut pieces = [0; 1000];
        let (left, right) = pieces.split_at_mut(77);
        voice.speak(9_100, left);
        voice.speak(9_177, right);
        assert_eq!(whole, pieces);
        assert!(whole[..600].iter().any(|&sample| sample != 0));
        assert!(whole[660..900].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn every_sample_is_a_byte_of_noise_as_loud_as_its_syllable() {
        let pauses = Pauses { talk_ms: 300, quiet_ms: 100, from_ms: 0 };
        let voice = CallerVoice::new(5, 6).pausing(pauses);
        let mut spoken = [0; 8 * 1000];
        voice.speak(0, &mut spoken);
        for (at, &code) in spoken.iter().enumerate() {
            let ms = at as u64 / 8;
            let noise = (bits(voice.seed, ms) >> (at % 8 * 8)) as u8;
            let magnitude = match pauses.cover(ms) {
                true => noise & 0x0F,
                false => 0x10 + (loudness(ms) as u8 * 8 + (noise & 0x1F)).min(0x4F),
            };
            assert_eq!(code, !(noise & 0x80 | magnitude), "sample {at}");
        }
    }

    #[test]
    fn no_two_frames_of_a_hundred_callers_are_alike() {
        let mut seen = std::collections::HashSet::new();
        for index in 0..100 {
            for frame in 0..50 {
                let mut code = [0; 160];
                CallerVoice::new(9, index).speak(frame * 160, &mut code);
                assert!(!code.contains(&MULAW_SILENCE));
                assert!(seen.insert(code), "call {index} frame {frame}");
            }
        }
    }

    #[test]
    fn a_pausing_voice_is_soft_in_its_pauses_and_the_same_elsewhere() {
        let (voice, mut steady, mut pausing) = (CallerVoice::new(9, 0), [0; 8 * 400], [0; 8 * 400]);
        voice.speak(0, &mut steady);
        let pauses = Pauses { talk_ms: 300, quiet_ms: 100, from_ms: 0 };
        voice.pausing(pauses).speak(0, &mut pausing);
        assert_eq!(steady[..2400], pausing[..2400]);
        assert!(pausing[2400..].iter().all(|code| !code & 0x7F <= 0x0F));
        assert!(pausing[2400..].iter().any(|code| *code != MULAW_SILENCE));
    }

    #[test]
    fn conversions_hold_nothing_back() {
        let mut code = [0; 160];
        CallerVoice::new(9, 0).speak(0, &mut code);
        let pcmu = |rate| uplink(Format::PCMU, &code, rate).len();
        assert_eq!((pcmu(16_000), pcmu(8_000)), (320, 160));
        for format in Format::ALL {
            let mut payload = Vec::new();
            CallerVoice::new(9, 0).speak_as(format, 8, 160, &mut payload);
            assert_eq!(payload.len(), format.frame_bytes(), "{format}");
            for rate in [8_000, 16_000] {
                let heard = uplink(format, &payload, rate);
                assert_eq!(heard.len(), rate as usize / 50, "{format}");
            }
            assert_eq!(downlink(&[0; 480], format), vec![format.silence(); format.frame_samples()]);
        }
    }

    #[test]
    fn a_voice_sounds_the_same_in_every_form_however_it_is_cut() {
        let voice = CallerVoice::new(9, 4);
        for format in Format::ALL {
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            voice.speak_as(format, 100, 999, &mut whole);
            voice.speak_as(format, 100, 1, &mut pieces);
            voice.speak_as(format, 101, 998, &mut pieces);
            assert_eq!(whole, pieces, "{format}");
            let units = format.units(&whole);
            let loudest = units.iter().map(|unit| unit.unsigned_abs()).max();
            assert!(loudest > Some(200), "{format}");
        }
    }

    #[test]
    fn a_frame_of_linear_speech_is_like_no_other() {
        let mut seen = std::collections::HashSet::new();
        for index in 0..50 {
            for frame in 0..50 {
                let mut payload = Vec::new();
                let voice = CallerVoice::new(9, index);
                voice.speak_as(Format::L16_16K, frame * 160, 160, &mut payload);
                assert!(seen.insert(payload), "call {index} frame {frame}");
            }
        }
    }

    #[test]
    fn a_steady_voice_keeps_its_level_and_one_that_speaks_does_not() {
        let range = |voice: ModelVoice| {
            let mut pcm = vec![0; 24_000];
            voice.speak(0, &mut pcm);
            let of = |piece: &[i16]| piece.iter().map(|&it| f64::from(it).powi(2)).sum::<f64>();
            let levels: Vec<_> = pcm.chunks(480).map(of).collect();
            let most = levels.iter().copied().fold(0.0, f64::max);
            most / levels.iter().copied().fold(f64::MAX, f64::min)
        };
        let voice = ModelVoice::new(5, 0, 0, 48_000);
        assert!(range(voice.steady()) < 2.0, "{}", range(voice.steady()));
        assert!(range(voice) > 4.0, "{}", range(voice));
    }

    #[test]
    fn the_silent_end_of_a_turn_leaves_a_filter_as_good_as_new() {
        let voice = ModelVoice::new(5, 0, 0, 4800);
        let mut turn = vec![0; 4800];
        voice.speak(0, &mut turn);
        for format in Format::ALL {
            let alone = downlink(&turn, format);
            let twice = downlink(&[turn.clone(), turn.clone()].concat(), format);
            let (first, second) = twice.split_at(alone.len());
            assert_eq!((first, second), (&alone[..], &alone[..]), "{format}");
        }
    }
}
