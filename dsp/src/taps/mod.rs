//! The polyphase banks: which taps a conversion uses, and how they lie in memory.
//!
//! In:       a conversion and a filter set.
//! Out:      a [`Bank`], shared by all calls.
//! Bounds:   [`TAPS_MAX`] taps a phase; every sum a kernel forms in 32 bits fits (the tests of
//!           this room add up the taps).
//! Not here: the arithmetic (`crate::scalar::fir` and its faster sisters), how the taps were found
//!           (`examples/design_taps`).
//!
//! Two prototypes serve seven of the eight conversions: a filter knows frequencies only relative
//! to a rate, so 24 to 8 kHz is 48 to 16 kHz, and 8 to 16 kHz is 24 to 48 kHz and, read with one
//! phase, 16 to 8 kHz. 24 to 16 kHz is a step of three through the three-to-one filter at 48 kHz,
//! and 8 to 24 kHz is that filter once more.

mod designed;
mod fine;

use std::sync::LazyLock;

use crate::resample::{Conversion, FilterSet};
use designed::{
    DOWN2_MINIMUM_TAPS, DOWN3_MINIMUM_TAPS, HALF_LINEAR, THIRD_LINEAR, UP2_MINIMUM_TAPS,
    UP3_MINIMUM_TAPS,
};

/// Most taps in one phase of any bank; a resampler remembers one sample fewer.
pub(crate) const TAPS_MAX: usize = 112;

/// Samples a kernel may read, and ignore, behind the window its outputs need.
pub(crate) const SLACK_SAMPLES: usize = 96;

/// Phases are filled up with zeros, for samples newer than the window, to a multiple of this many
/// taps: products with the slack that cost less than a tail.
pub(crate) const PHASE_ALIGN: usize = 16;

/// One output is computed from quads of samples; so many outputs lie side by side in one row.
const LANES_AVX2: usize = 4;
const LANES_AVX512: usize = 8;

/// A row of a band for AVX2: four samples' taps for each of four outputs.
pub(crate) type RowAvx2 = [i16; 4 * LANES_AVX2];
/// A row of a band for AVX-512: four samples' taps for each of eight outputs.
pub(crate) type RowAvx512 = [i16; 4 * LANES_AVX512];

/// A polyphase filter: `up` phases of `taps` taps, and how far to step from output to output.
///
#[derive(Debug)]
pub(crate) struct Bank {
    /// Phases; ticks in an input sample.
    pub(crate) up: usize,
    /// Ticks between outputs.
    pub(crate) down: usize,
    /// From output to output: `down` ticks as whole samples and what is left.
    step: Place,
    /// Taps in one phase.
    pub(crate) taps: usize,
    /// How a sum of products becomes a sample.
    pub(crate) rounding: Rounding,
    /// The taps, phase by phase, oldest sample first, each filled up to [`PHASE_ALIGN`].
    by_phase: &'static [i16],
    /// Nine more binary places of the same taps, where sixteen bits are not enough; else empty.
    fine_by_phase: &'static [i16],
    /// The taps as bands, see [`band`]; empty if the conversion is left to the plain dot product.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) band_avx2: &'static [RowAvx2],
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) band_avx512: &'static [RowAvx512],
}

impl Bank {
    /// The taps of one phase, oldest sample first, and zeros up to a multiple of [`PHASE_ALIGN`].
    pub(crate) fn phase(&self, phase: usize) -> &[i16] {
        let stride = self.taps.next_multiple_of(PHASE_ALIGN);
        &self.by_phase[phase * stride..][..stride]
    }

    /// The fine taps of one phase, or nothing.
    pub(crate) fn fine_phase(&self, phase: usize) -> &[i16] {
        match self.fine_by_phase {
            [] => &[],
            all => {
                let stride = self.taps.next_multiple_of(PHASE_ALIGN);
                &all[phase * stride..][..stride]
            }
        }
    }

    /// Where the output at `tick` finds its samples and its taps.
    pub(crate) fn place(&self, tick: usize) -> Place {
        place(tick, self.up)
    }

    /// The place of the output after that at `place`, without a division.
    pub(crate) fn next_place(&self, place: Place) -> Place {
        let mut next =
            Place { first: place.first + self.step.first, phase: place.phase + self.step.phase };
        if next.phase >= self.up {
            next.phase -= self.up;
            next.first += 1;
        }
        next
    }

    /// Rounds a sum of products to a sample: to nearest, half up, saturated, never wrapped.
    pub(crate) fn round(&self, sum: i64, fine_sum: i64) -> i16 {
        let (exact, places) = match self.rounding {
            Rounding::Banded { lift: Lift::Small, places } => (sum, places + 1),
            Rounding::Banded { lift, places } => (lift.of(sum >> 1), places),
            Rounding::Plain { gain, places } => (sum * gain + fine_sum, places),
        };
        let rounded: i64 = (exact + (1 << (places - 1))) >> places;
        rounded.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
    }

    /// Delay of frequency zero, in ticks: the middle of gravity of the taps, less the ticks of an
    /// output's own step that have passed when it leaves.
    pub(crate) fn delay_ticks(&self) -> f64 {
        let (mut sum, mut moment) = (0.0, 0.0);
        for phase in 0..self.up {
            for (age, tap) in (0_u32..).zip(self.phase(phase)[..self.taps].iter().rev()) {
                sum += f64::from(*tap);
                moment += f64::from(*tap) * (f64::from(age) * self.up as f64 + phase as f64);
            }
        }
        moment / sum - (self.down - 1) as f64
    }
}

/// Where an output finds what it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The first sample of its window.
    pub(crate) first: usize,
    /// The phase whose taps it uses.
    pub(crate) phase: usize,
}

/// Where a number of ticks leads.
const fn place(ticks: usize, up: usize) -> Place {
    Place { first: ticks / up, phase: ticks % up }
}

/// How a sum of products becomes a sample, but for saturation.
#[derive(Debug)]
pub(crate) enum Rounding {
    /// Half the sum, lifted, rounded to so many binary places fewer.
    ///
    /// A kernel holds a sum as two 32-bit parts and takes their mean, hence the half.
    Banded { lift: Lift, places: u32 },
    /// The sum times `gain`, and the sum over the fine taps, rounded to so many places fewer.
    Plain { gain: i64, places: u32 },
}

/// Gain made up for after the sum.
///
/// The larger the taps, the smaller their errors of rounding, but sums must fit 32 bits at full
/// scale: some filters have taps a little short of a whole number of binary places, and what is
/// missing is made up by adding shifted copies of the mean.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lift {
    /// None, and the taps are so small that the sum itself fits 32 bits: no mean need be taken.
    Small,
    /// The mean as it is.
    None,
    /// Times 17/16: `mean + (mean >> 4)`.
    By17Over16,
    /// Times 13/16: `(mean >> 1) + (mean >> 2) + (mean >> 4)`.
    By13Over16,
}

impl Lift {
    fn of(self, mean: i64) -> i64 {
        match self {
            Lift::Small | Lift::None => mean,
            Lift::By17Over16 => mean + (mean >> 4),
            Lift::By13Over16 => (mean >> 1) + (mean >> 2) + (mean >> 4),
        }
    }
}

/// Cuts a prototype into phases: phase `p` takes every `up`th tap from the `p`th on, turned round
/// so that it can be laid along the samples, filled up with zeros for the oldest.
const fn phases<const N: usize>(prototype: &[i16], up: usize, taps: usize) -> [i16; N] {
    let stride = N / up;
    let mut by_phase = [0; N];
    let mut i = 0;
    while i < prototype.len() {
        by_phase[(i % up) * stride + taps - 1 - i / up] = prototype[i];
        i += 1;
    }
    by_phase
}

/// Lays phases out as a band: row `r`, output `j` holds the taps that output gives to samples
/// `4 * r` to `4 * r + 3` of the window of a group of outputs.
///
/// Outputs of a group need windows that begin a little later each: their taps, written under one
/// another, form a diagonal band, zero above and below. A kernel then takes each quad of samples
/// once, spreads it over all lanes, and multiplies by a row: no shuffling of samples at all, at
/// the price of the zeros in the corners.
const fn band<const ROWS: usize, const WIDTH: usize>(
    by_phase: &[i16],
    up: usize,
    down: usize,
    taps: usize,
) -> [[i16; WIDTH]; ROWS] {
    let (lanes, stride) = (WIDTH / 4, by_phase.len() / up);
    assert!((lanes * down).is_multiple_of(up), "groups must all begin at the same phase");
    let mut rows = [[0; WIDTH]; ROWS];
    let mut output = 0;
    while output < lanes {
        let (first, phase) = (output * down / up, output * down % up);
        let mut tap = 0;
        while tap < taps {
            let sample = first + tap;
            rows[sample / 4][4 * output + sample % 4] = by_phase[phase * stride + tap];
            tap += 1;
        }
        output += 1;
    }
    rows
}

/// A bank of a prototype: phases and bands, laid out at compile time.
macro_rules! bank {
    ($name:ident, $prototype:expr, up: $up:expr, down: $down:expr, taps: $taps:expr,
     lift: $lift:expr, places: $places:expr) => {
        static $name: Bank = {
            const UP: usize = $up;
            const DOWN: usize = $down;
            const TAPS: usize = $taps;
            const AVX2_ROWS: usize = (TAPS + (LANES_AVX2 - 1) * DOWN / UP).div_ceil(4);
            const AVX512_ROWS: usize = (TAPS + (LANES_AVX512 - 1) * DOWN / UP).div_ceil(4);
            const STRIDE: usize = TAPS.next_multiple_of(PHASE_ALIGN);
            static BY_PHASE: [i16; UP * STRIDE] = phases(&$prototype, UP, TAPS);
            static BAND_AVX2: [RowAvx2; AVX2_ROWS] = band(&BY_PHASE, UP, DOWN, TAPS);
            static BAND_AVX512: [RowAvx512; AVX512_ROWS] = band(&BY_PHASE, UP, DOWN, TAPS);
            Bank {
                up: UP,
                down: DOWN,
                step: place(DOWN, UP),
                taps: TAPS,
                rounding: Rounding::Banded { lift: $lift, places: $places },
                by_phase: &BY_PHASE,
                fine_by_phase: &[],
                band_avx2: &BAND_AVX2,
                band_avx512: &BAND_AVX512,
            }
        };
    };
}

// What taps of unit gain sum to is written at their definition. Of two phases each sees half of
// them. A filter with one tap more than its prototype has its oldest tap zero, so that its two
// largest taps fall into different lanes.
bank!(UP2_LINEAR, HALF_LINEAR, up: 2, down: 1, taps: 31, lift: Lift::Small, places: 14);
bank!(UP2_MINIMUM, UP2_MINIMUM_TAPS, up: 2, down: 1, taps: 31, lift: Lift::None, places: 14);
bank!(DOWN2_LINEAR, HALF_LINEAR, up: 1, down: 2, taps: 63, lift: Lift::None, places: 15);
bank!(DOWN2_MINIMUM, DOWN2_MINIMUM_TAPS, up: 1, down: 2, taps: 62, lift: Lift::None, places: 14);
// 2^20 / 17, lifted by 1 + 1/16 = 17/16: 2^16.
bank!(DOWN3_LINEAR, THIRD_LINEAR, up: 1, down: 3, taps: 99, lift: Lift::By17Over16, places: 15);
bank!(UP2_DOWN3_LINEAR, THIRD_LINEAR, up: 2, down: 3, taps: 50, lift: Lift::By17Over16, places: 14);
// 2^19 / 13, lifted by 1/2 + 1/4 + 1/16 = 13/16: 2^15.
bank!(DOWN3_MINIMUM, DOWN3_MINIMUM_TAPS, up: 1, down: 3, taps: 99,
      lift: Lift::By13Over16, places: 14);
bank!(UP2_DOWN3_MINIMUM, UP3_MINIMUM_TAPS, up: 2, down: 3, taps: 50, lift: Lift::None, places: 14);

/// Eight outputs do not begin at one of three phases again, so there is no band: plain products.
/// Three phases see a third of the taps each, hence the gain.
macro_rules! up3 {
    ($name:ident, $prototype:expr, gain: $gain:expr, places: $places:expr) => {
        static $name: Bank = {
            static BY_PHASE: [i16; 144] = phases(&$prototype, 3, 33);
            Bank {
                up: 3,
                down: 1,
                step: place(1, 3),
                taps: 33,
                rounding: Rounding::Plain { gain: $gain, places: $places },
                by_phase: &BY_PHASE,
                fine_by_phase: &[],
                band_avx2: &[],
                band_avx512: &[],
            }
        };
    };
}
up3!(UP3_LINEAR, THIRD_LINEAR, gain: 3 * 17, places: 20);
up3!(UP3_MINIMUM, UP3_MINIMUM_TAPS, gain: 3, places: 16);

static FROM_44_LINEAR: LazyLock<Bank> = LazyLock::new(fine::from_44_linear);

/// The bank of a conversion.
pub(crate) fn bank(conversion: Conversion, set: FilterSet) -> &'static Bank {
    let (linear, minimum) = match conversion {
        Conversion::Up8To16 | Conversion::Up24To48 => (&UP2_LINEAR, &UP2_MINIMUM),
        Conversion::Up8To24 => (&UP3_LINEAR, &UP3_MINIMUM),
        Conversion::Down16To8 => (&DOWN2_LINEAR, &DOWN2_MINIMUM),
        Conversion::Down24To8 | Conversion::Down48To16 => (&DOWN3_LINEAR, &DOWN3_MINIMUM),
        Conversion::Down24To16 => (&UP2_DOWN3_LINEAR, &UP2_DOWN3_MINIMUM),
        Conversion::Down44To16 => (&*FROM_44_LINEAR, &*FROM_44_LINEAR),
    };
    match set {
        FilterSet::LinearPhase => linear,
        FilterSet::LowDelay => minimum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_bank() -> impl Iterator<Item = (Conversion, FilterSet, &'static Bank)> {
        let sets = [FilterSet::LinearPhase, FilterSet::LowDelay];
        Conversion::ALL.into_iter().flat_map(move |c| sets.map(|set| (c, set, bank(c, set))))
    }

    /// The largest sum of products over some taps, at full scale.
    fn worst<'t>(taps: impl Iterator<Item = &'t i16>) -> i64 {
        taps.map(|tap| i64::from(*tap).abs() * 32_768).sum()
    }

    #[test]
    fn no_lane_of_a_band_leaves_32_bits_at_full_scale() {
        for (conversion, set, bank) in every_bank() {
            for lane in 0..2 * LANES_AVX2 {
                let pairs = bank.band_avx2.iter().flat_map(|row| &row[2 * lane..2 * lane + 2]);
                assert!(worst(pairs) < 1 << 31, "{conversion} {set:?}: AVX2 lane {lane}");
            }
            for lane in 0..2 * LANES_AVX512 {
                let pairs = bank.band_avx512.iter().flat_map(|row| &row[2 * lane..2 * lane + 2]);
                assert!(worst(pairs) < 1 << 31, "{conversion} {set:?}: AVX-512 lane {lane}");
            }
        }
    }

    #[test]
    fn no_mean_of_two_lanes_leaves_32_bits_when_it_is_lifted_and_rounded() {
        for (conversion, set, bank) in every_bank() {
            let Rounding::Banded { lift, places } = bank.rounding else { continue };
            for phase in 0..bank.up {
                let sum = worst(bank.phase(phase).iter());
                if let Lift::Small = lift {
                    assert!(sum + (1 << places) < 1 << 31, "{conversion} {set:?}: sum of {phase}");
                }
                let mean = sum / 2;
                let rounded = lift.of(mean) + (1 << (places - 1));
                assert!(mean < 1 << 31, "{conversion} {set:?}: mean of phase {phase}");
                assert!(rounded < 1 << 31, "{conversion} {set:?}: phase {phase}, lifted");
            }
        }
    }

    #[test]
    fn no_plain_product_sum_leaves_32_bits_at_full_scale() {
        for (conversion, set, bank) in every_bank() {
            for phase in 0..bank.up {
                let (taps, fine) = (bank.phase(phase), bank.fine_phase(phase));
                if bank.band_avx2.is_empty() {
                    assert!(worst(taps.iter()) < 1 << 31, "{conversion} {set:?}: phase {phase}");
                    assert!(worst(fine.iter()) < 1 << 31, "{conversion} {set:?}: fine {phase}");
                }
                for lane in 0..4 {
                    let lane = taps.iter().skip(lane).step_by(4);
                    assert!(worst(lane) < 1 << 31, "{conversion} {set:?}: portable lane");
                }
            }
        }
    }

    #[test]
    fn the_slack_covers_what_a_last_half_used_group_reads() {
        for (conversion, _, bank) in every_bank() {
            for (rows, lanes) in
                [(bank.band_avx2.len(), LANES_AVX2), (bank.band_avx512.len(), LANES_AVX512)]
            {
                // Sixteen outputs are computed even if one is wanted.
                let reads = (16 - lanes) * bank.down / bank.up + 4 * rows;
                assert!(reads <= bank.taps + SLACK_SAMPLES, "{conversion}: {reads}");
            }
        }
    }
}
