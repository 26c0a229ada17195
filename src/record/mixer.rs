//! A tape's samples at the recording's rate, 8 kHz: decoded, converted, in place.
//!
//! In:       pieces of one channel as they were taped.
//! Out:      samples of 8 kHz and where they lie.
//! Bounds:   a piece is at most 64 KiB.
//! Not here: the tape (`call::tap`), the file (`record::wav`).

use dsp::kernels::Kernels;
use dsp::resample::{Conversion, FilterSet, Resampler};

use crate::call::audio::Format;
use crate::call::tap::PLACES_PER_SECOND;

/// A piece this close behind the one before goes on where that ended: roundings of places.
const SEAM_PLACES: u64 = 8;

/// One channel of one tape.
#[derive(Debug)]
pub(super) struct Mixer {
    format: Format,
    /// From the format's rate to the recording's, one after the other.
    stages: Vec<Resampler>,
    /// Where the next piece of the same run is expected, and where its samples go.
    expected: u64,
    next: u64,
    pcm: [Vec<i16>; 2],
}

impl Mixer {
    /// For samples of this format: of any rate that a call can have.
    pub(super) fn new(format: Format) -> Mixer {
        let rate_hz = format.rate_hz();
        let stages = match Conversion::between(rate_hz, 8_000) {
            _ if rate_hz == 8_000 => Vec::new(),
            Some(direct) => vec![direct],
            None => Conversion::between(rate_hz, 16_000)
                .into_iter()
                .chain([Conversion::Down16To8])
                .collect(),
        };
        let resampler = |conversion| Resampler::new(conversion, FilterSet::LowDelay);
        Mixer {
            format,
            stages: stages.into_iter().map(resampler).collect(),
            expected: 0,
            next: 0,
            pcm: [Vec::new(), Vec::new()],
        }
    }

    /// Samples in so many bytes, as they were taped.
    pub(super) fn samples(&self, bytes: usize) -> u64 {
        (bytes / self.format.sample_bytes()) as u64
    }

    /// The samples of one piece that begins at `place`, and where they go.
    pub(super) fn convert(&mut self, kernels: &Kernels, place: u64, audio: &[u8]) -> (u64, &[i16]) {
        if place.abs_diff(self.expected) > SEAM_PLACES || self.stages.is_empty() {
            self.stages.iter_mut().for_each(Resampler::reset);
            (self.expected, self.next) = (place, place);
        }
        let samples = self.samples(audio.len());
        self.expected += samples * PLACES_PER_SECOND / u64::from(self.format.rate_hz());
        let [source, target] = &mut self.pcm;
        source.clear();
        self.format.decode(kernels, audio, source);
        for stage in &mut self.stages {
            target.resize(stage.output_len(source.len()), 0);
            stage.process(kernels, source, target);
            std::mem::swap(source, target);
        }
        let place = self.next;
        self.next += source.len() as u64;
        (place, source)
    }
}
