//! What is said into the fake microphone, and whether it is found again in what was heard.
//!
//! Not here: who hears it (`main`).

use std::path::Path;

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};

/// The demo's own voice: its sentences are speech, and speech passes a browser's noise suppression.
const SPEECH: &[u8] = include_bytes!("../../src/demo/speech.ulaw");
const INDEX: &str = include_str!("../../src/demo/speech.txt");

/// One of the demo's sentences: 8 kHz samples.
pub(crate) fn sentence(text: &str) -> Vec<i16> {
    let mut at = 0;
    for line in INDEX.lines() {
        let (bytes, words) = line.split_once(' ').unwrap();
        let end = at + bytes.parse::<usize>().unwrap();
        if words == text {
            let mut pcm = vec![0; end - at];
            Kernels::detect(Isa::HIGHEST).mulaw_decode(&SPEECH[at..end], &mut pcm);
            return pcm;
        }
        at = end;
    }
    panic!("there is no sentence {text:?}");
}

/// Writes a WAV file: silence, the sound, silence; 48 kHz.
pub(crate) fn write_wav(path: &Path, before_ms: usize, sound_8k: &[i16], after_ms: usize) {
    let sound = convert(Conversion::Up24To48, &convert(Conversion::Up8To24, sound_8k));
    let silence = |ms: usize| vec![0_i16; 48 * ms];
    let pcm = [silence(before_ms), sound, silence(after_ms)].concat();
    let len_bytes = 2 * pcm.len() as u32;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + len_bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(48_000_u32.to_le_bytes());
    file.extend(96_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(len_bytes.to_le_bytes());
    file.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(path, file).unwrap();
}

fn convert(conversion: Conversion, pcm: &[i16]) -> Vec<i16> {
    let mut resampler = Resampler::new(conversion, FilterSet::LinearPhase);
    let mut converted = vec![0; resampler.output_len(pcm.len())];
    resampler.process(&Kernels::detect(Isa::HIGHEST), pcm, &mut converted);
    converted
}

/// Brings `pcm` to 8 kHz: the mean of what falls into each new sample, then the rest.
pub(crate) fn to_8k(pcm: &[i16], rate_hz: usize) -> Vec<f64> {
    let samples = pcm.len() * 8000 / rate_hz;
    let of = |n: usize| {
        let (from, to) = (n * rate_hz / 8000, ((n + 1) * rate_hz / 8000).min(pcm.len()));
        let sum: f64 = pcm[from..to].iter().map(|&sample| f64::from(sample)).sum();
        sum / (to - from).max(1) as f64
    };
    (0..samples).map(of).collect()
}

/// Where `sound` fits best into `heard`, and how alike they are there: 1 is the same but for
/// loudness. The loudness may change slowly, as a browser's gain control does: pieces of 100 ms are
/// compared, and what counts is their mean.
pub(crate) fn find(sound: &[f64], heard: &[f64]) -> (usize, f64) {
    let energy = |x: &[f64]| x.iter().map(|a| a * a).sum::<f64>();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = energy(sound).sqrt();
    let likeness = |at: usize| {
        let window = &heard[at..at + sound.len()];
        product(window, sound) / (norm * energy(window).sqrt()).max(1.0)
    };
    let best = (0..heard.len().saturating_sub(sound.len()))
        .map(|at| (at, likeness(at)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 0.0));
    let (at, _) = best;
    let mut pieces = Vec::new();
    for (n, piece) in sound.chunks_exact(800).enumerate() {
        // What is next to silence tells nothing.
        if energy(piece) > energy(sound) / sound.len() as f64 * 200.0 {
            let there = &heard[at + 800 * n..at + 800 * n + 800];
            pieces.push(product(piece, there) / (energy(piece) * energy(there)).sqrt().max(1.0));
        }
    }
    (at, pieces.iter().sum::<f64>() / pieces.len().max(1) as f64)
}

/// The effective value.
pub(crate) fn level(pcm: &[f64]) -> f64 {
    (pcm.iter().map(|a| a * a).sum::<f64>() / pcm.len().max(1) as f64).sqrt()
}
