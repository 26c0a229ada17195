//! Rate conversion: a polyphase FIR filter and the little it must remember between chunks.
//!
//! In:       16-bit samples at one rate, in pieces of any length.
//! Out:      16-bit samples at the other, as many as the input so far determines: nothing is held
//!           back. Cutting the input differently never changes a bit.
//! Bounds:   [`Resampler`] is at most 256 bytes, so both directions of a call fit 512; no heap.
//! Not here: the arithmetic ([`crate::kernels`]), how the taps were found (`examples/design_taps`).
//!
//! The trick of a polyphase filter: to go from 8 to 16 kHz one would put a zero between any two
//! samples and low-pass the result. Half of all products are then with a zero, and which half
//! depends only on whether the output is even or odd. So the one filter is split into two
//! *phases*, each a short filter over the input itself. Going down by three is the same thing from
//! the other side: outputs nobody asked for are not computed. Going from 24 to 16 kHz is both: two
//! phases, a step of three.
//!
//! Time is counted in *ticks*: `up` ticks are one input sample, `down` ticks are one output sample.

use std::fmt;
use std::mem::MaybeUninit;

use crate::kernels::Kernels;
use crate::taps::{self, Bank, SLACK_SAMPLES, TAPS_MAX};

/// A pair of rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// 8 to 16 kHz: the phone's audio to the model.
    Up8To16,
    /// 8 to 24 kHz: the phone's audio to a listener at the model's rate.
    Up8To24,
    /// 24 to 48 kHz: the model's audio to a browser's sound card.
    Up24To48,
    /// 16 to 8 kHz: for carriers that send 16 kHz.
    Down16To8,
    /// 24 to 8 kHz: the model's audio to the phone.
    Down24To8,
    /// 24 to 16 kHz: the model's audio to carriers that take 16 kHz.
    Down24To16,
    /// 48 to 16 kHz: a browser's microphone to the model.
    Down48To16,
    /// 44.1 to 16 kHz: a browser's microphone to the model.
    Down44To16,
}

impl Conversion {
    /// Every conversion.
    pub const ALL: [Conversion; 8] = [
        Conversion::Up8To16,
        Conversion::Up8To24,
        Conversion::Up24To48,
        Conversion::Down16To8,
        Conversion::Down24To8,
        Conversion::Down24To16,
        Conversion::Down48To16,
        Conversion::Down44To16,
    ];

    /// The conversion between two rates in hertz, if there is one.
    #[must_use]
    pub fn between(source_hz: u32, target_hz: u32) -> Option<Conversion> {
        Conversion::ALL
            .into_iter()
            .find(|c| c.source_hz() == source_hz && c.target_hz() == target_hz)
    }

    /// The rate of the input, in hertz.
    #[must_use]
    pub const fn source_hz(self) -> u32 {
        match self {
            Conversion::Up8To16 | Conversion::Up8To24 => 8_000,
            Conversion::Down16To8 => 16_000,
            Conversion::Up24To48 | Conversion::Down24To8 | Conversion::Down24To16 => 24_000,
            Conversion::Down48To16 => 48_000,
            Conversion::Down44To16 => 44_100,
        }
    }

    /// The rate of the output, in hertz.
    #[must_use]
    pub const fn target_hz(self) -> u32 {
        match self {
            Conversion::Down16To8 | Conversion::Down24To8 => 8_000,
            Conversion::Up8To16
            | Conversion::Down24To16
            | Conversion::Down48To16
            | Conversion::Down44To16 => 16_000,
            Conversion::Up8To24 => 24_000,
            Conversion::Up24To48 => 48_000,
        }
    }
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_to_{}", self.source_hz(), self.target_hz())
    }
}

/// Which taps: both sets run through the same kernels at the same cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterSet {
    /// Every frequency is late by the same time: below 2 ms, but for 8 to 24 kHz (2.04 ms).
    LinearPhase,
    /// Minimum phase: speech is late by a few tenths of a millisecond, frequencies near the end of
    /// the pass band by somewhat more. 44.1 to 16 kHz has no such filter and uses the other, which
    /// is 1.2 ms late there.
    LowDelay,
}

/// Most input samples handled in one block; longer input is cut.
const BLOCK_SAMPLES: usize = 480;
const _: () = assert!(size_of::<Resampler>() <= 256);

/// One direction of one call: a conversion's memory.
#[derive(Clone, Debug)]
pub struct Resampler {
    bank: &'static Bank,
    source_hz: u32,
    /// The tick of the next output, counted from the next input sample.
    tick: u32,
    /// The last input samples, oldest first; a bank looks at the last `bank.taps - 1` of them.
    history: [i16; TAPS_MAX],
}

impl Resampler {
    /// A resampler that has heard silence for ever.
    #[must_use]
    pub fn new(conversion: Conversion, set: FilterSet) -> Resampler {
        let bank = taps::bank(conversion, set);
        let mut resampler =
            Resampler { bank, source_hz: conversion.source_hz(), tick: 0, history: [0; TAPS_MAX] };
        resampler.reset();
        resampler
    }

    /// Forgets everything heard: the next output depends on nothing before this moment.
    pub fn reset(&mut self) {
        self.history = [0; TAPS_MAX];
        // An output leaves with the last input sample of its step, never earlier.
        self.tick = (self.bank.down - 1) as u32;
    }

    /// How many samples the next `samples` input samples will give, in the present state.
    #[must_use]
    pub fn output_len(&self, samples: usize) -> usize {
        (samples * self.bank.up).saturating_sub(self.tick as usize).div_ceil(self.bank.down)
    }

    /// Most samples that `samples` input samples can give, in any state.
    #[must_use]
    pub fn output_len_max(&self, samples: usize) -> usize {
        (samples * self.bank.up).div_ceil(self.bank.down)
    }

    /// Group delay at frequency zero, in nanoseconds: how much later a sound comes out than it went
    /// in, both counted by samples. Linear phase has the same at every frequency; the low-delay set
    /// has a little more at 1 kHz (0.20 ms for 0.19 from 8 to 16 kHz).
    #[must_use]
    pub fn delay_ns(&self) -> u64 {
        let ticks_per_second = self.bank.up as f64 * f64::from(self.source_hz);
        (self.bank.delay_ticks() / ticks_per_second * 1e9).round() as u64
    }

    /// Converts `input`, writing [`Resampler::output_len`] samples to the front of `output`, and
    /// returns that number.
    ///
    /// # Panics
    /// If `output` is shorter than that.
    pub fn process(&mut self, kernels: &Kernels, input: &[i16], output: &mut [i16]) -> usize {
        let total = self.output_len(input.len());
        assert!(
            output.len() >= total,
            "process: {total} samples do not fit an output of {}",
            output.len()
        );
        let mut written = 0;
        for block in input.chunks(BLOCK_SAMPLES) {
            let len = if block.len() == input.len() { total } else { self.output_len(block.len()) };
            self.process_block(kernels, block, &mut output[written..written + len]);
            written += len;
        }
        written
    }

    /// One block: history and input side by side, filtered; then the new history.
    fn process_block(&mut self, kernels: &Kernels, block: &[i16], output: &mut [i16]) {
        const WINDOW_SAMPLES: usize = TAPS_MAX + BLOCK_SAMPLES + SLACK_SAMPLES;
        let mut window = [MaybeUninit::<i16>::uninit(); WINDOW_SAMPLES];
        let used = TAPS_MAX + block.len() + SLACK_SAMPLES;
        let (history, rest) = window[..used].split_at_mut(TAPS_MAX);
        let (samples, slack) = rest.split_at_mut(block.len());
        history.write_copy_of_slice(&self.history);
        samples.write_copy_of_slice(block);
        slack.write_copy_of_slice(&[0; SLACK_SAMPLES]);
        // SAFETY: the three lines above have written all of it.
        let window = unsafe { window[..used].assume_init_ref() };

        let past = self.bank.taps - 1;
        kernels.fir(self.bank, &window[TAPS_MAX - past..], self.tick as usize, output);
        self.history.copy_from_slice(&window[block.len()..][..TAPS_MAX]);
        let tick = self.tick as usize + output.len() * self.bank.down - block.len() * self.bank.up;
        self.tick = tick as u32;
    }
}
