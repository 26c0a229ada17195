//! What a caller may rely on of a rate conversion, beside its sound.
#![allow(missing_docs)]

mod common;

use common::{SETS, convert, every_isa, noise};
use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use proptest::prelude::*;

fn every_conversion() -> impl Iterator<Item = (Conversion, FilterSet)> {
    Conversion::ALL.into_iter().flat_map(|c| SETS.map(|set| (c, set)))
}

/// `input` in pieces of the lengths `cuts` gives in turn.
fn in_pieces(
    kernels: &Kernels,
    resampler: &mut Resampler,
    input: &[i16],
    mut cuts: impl Iterator<Item = usize>,
) -> Vec<i16> {
    let mut output = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
        let len = resampler.output_len(piece.len());
        assert!(len <= resampler.output_len_max(piece.len()));
        let at = output.len();
        output.resize(at + len, 0x7777);
        assert_eq!(resampler.process(kernels, piece, &mut output[at..]), len);
        rest = later;
    }
    output
}

#[test]
fn every_isa_converts_like_scalar_at_every_length() {
    let scalar = Kernels::detect(Isa::Scalar);
    for kernels in every_isa() {
        for (conversion, set) in every_conversion() {
            let (mut a, mut b) = (Resampler::new(conversion, set), Resampler::new(conversion, set));
            for len in (0..=200).chain([480, 882, 960, 1_441]) {
                let input = noise(len, len as u64 + 1);
                let plain = in_pieces(&scalar, &mut a, &input, [len].into_iter());
                let fast = in_pieces(&kernels, &mut b, &input, [len].into_iter());
                assert!(plain == fast, "{conversion} {set:?} {} {len}", kernels.isa());
            }
        }
    }
}

#[test]
fn nothing_is_held_back() {
    for (conversion, set) in every_conversion() {
        let (source, target) = (conversion.source_hz() as usize, conversion.target_hz() as usize);
        let mut resampler = Resampler::new(conversion, set);
        // 20 ms after 20 ms: exactly 20 ms come out each time.
        for _ in 0..3 {
            assert_eq!(resampler.output_len(source / 50), target / 50, "{conversion}");
            let mut output = vec![0; target / 50];
            let kernels = Kernels::detect(Isa::Avx512Fp16);
            resampler.process(&kernels, &vec![0; source / 50], &mut output);
        }
        for samples in 0..2_000 {
            let fresh = Resampler::new(conversion, set);
            assert_eq!(fresh.output_len(samples), samples * target / source, "{conversion}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cutting_never_changes_a_bit(
        which in 0..Conversion::ALL.len(),
        low_delay: bool,
        seed: u64,
        cuts in prop::collection::vec(0_usize..700, 1..40),
    ) {
        let (conversion, set) = (Conversion::ALL[which], SETS[usize::from(low_delay)]);
        let input = noise(cuts.iter().sum::<usize>() + 50, seed);
        let whole = convert(conversion, set, &input);
        for kernels in every_isa() {
            let mut resampler = Resampler::new(conversion, set);
            let pieces = in_pieces(&kernels, &mut resampler, &input, cuts.iter().copied());
            prop_assert!(pieces == whole, "{} {:?} {}", conversion, set, kernels.isa());
        }
    }
}

#[test]
fn one_sample_at_a_time_gives_the_same_audio() {
    for (conversion, set) in every_conversion() {
        let input = noise(2_000, 7);
        let kernels = Kernels::detect(Isa::Avx512Fp16);
        let mut resampler = Resampler::new(conversion, set);
        let pieces = in_pieces(&kernels, &mut resampler, &input, std::iter::repeat(1));
        assert!(pieces == convert(conversion, set, &input), "{conversion} {set:?}");
    }
}

#[test]
fn reset_forgets_everything() {
    for (conversion, set) in every_conversion() {
        let kernels = Kernels::detect(Isa::Avx512Fp16);
        let mut resampler = Resampler::new(conversion, set);
        in_pieces(&kernels, &mut resampler, &noise(1_003, 3), [501, 1].into_iter());
        resampler.reset();
        let input = noise(997, 4);
        let after = in_pieces(&kernels, &mut resampler, &input, std::iter::empty());
        assert!(after == convert(conversion, set, &input), "{conversion} {set:?}");
    }
}

#[test]
fn full_scale_saturates_and_never_wraps() {
    for (conversion, set) in every_conversion() {
        for low_hz in [1, 2, 5, 50, 300, 1_000, 3_000] {
            let half_period = (conversion.source_hz() / (2 * low_hz)).max(1) as usize;
            let square: Vec<i16> = (0..8_000)
                .map(|i| if (i / half_period).is_multiple_of(2) { i16::MAX } else { i16::MIN })
                .collect();
            // At half the level nothing saturates: twice that is what the full level should be.
            let halved: Vec<i16> = square.iter().map(|s| s / 2).collect();
            let reference = convert(conversion, set, &halved);
            for (full, half) in convert(conversion, set, &square).iter().zip(&reference) {
                let expected = (2 * i32::from(*half)).clamp(-32_768, 32_767);
                assert!((i32::from(*full) - expected).abs() <= 4, "{conversion} {set:?}");
            }
        }
    }
}

#[test]
fn the_input_that_overshoots_most_saturates_on_every_isa() {
    const INPUT: usize = 240;
    for (conversion, set) in every_conversion() {
        let whole = Resampler::new(conversion, set).output_len(INPUT);
        for back in 1..=3 {
            let at = whole - back;
            // What each input sample adds to this output, by its sign.
            let worst: Vec<i16> = (0..INPUT)
                .map(|n| {
                    let mut impulse = vec![0; INPUT];
                    impulse[n] = i16::MAX;
                    if convert(conversion, set, &impulse)[at] < 0 { i16::MIN } else { i16::MAX }
                })
                .collect();
            let opposite: Vec<i16> = worst.iter().map(|s| !s).collect();
            for kernels in every_isa() {
                for (input, expected) in [(&worst, i16::MAX), (&opposite, i16::MIN)] {
                    let mut resampler = Resampler::new(conversion, set);
                    let output = in_pieces(&kernels, &mut resampler, input, std::iter::empty());
                    assert_eq!(output[at], expected, "{conversion} {set:?} {}", kernels.isa());
                }
            }
        }
    }
}

#[test]
fn silence_stays_silence() {
    for (conversion, set) in every_conversion() {
        assert!(convert(conversion, set, &[0; 3_000]).iter().all(|s| *s == 0), "{conversion}");
    }
}

#[test]
fn a_constant_stays_within_one() {
    for (conversion, set) in every_conversion() {
        for level in [10_000, -10_000] {
            let output = convert(conversion, set, &[level; 4_000]);
            let settled = &output[200..];
            assert!(
                settled.iter().all(|s| (s - level).abs() <= 1),
                "{conversion} {set:?}: {:?} to {:?}",
                settled.iter().min(),
                settled.iter().max()
            );
        }
    }
}

#[test]
fn conversions_are_found_by_their_rates() {
    for conversion in Conversion::ALL {
        let found = Conversion::between(conversion.source_hz(), conversion.target_hz());
        assert_eq!(found, Some(conversion));
    }
    assert_eq!(Conversion::between(8_000, 8_000), None);
    assert_eq!(Conversion::between(11_025, 16_000), None);
}

#[test]
fn both_directions_of_a_call_fit_512_bytes() {
    assert!(2 * size_of::<Resampler>() <= 512);
}

#[test]
#[should_panic(expected = "320 samples do not fit an output of 319")]
fn an_output_too_short_is_a_bug_of_the_caller() {
    let mut resampler = Resampler::new(Conversion::Up8To16, FilterSet::LinearPhase);
    resampler.process(&Kernels::detect(Isa::Scalar), &[0; 160], &mut [0; 319]);
}
