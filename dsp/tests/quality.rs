//! The sound of every conversion, measured from what comes out.
//!
//! Tones go in, 16-bit like any audio; the output is weighted by Kaiser's window (side lobes below
//! -140 dB) and transformed. A second tone in the pass band always sounds along: it shakes the
//! rounding to 16 bits, so that a line far below one unit still shows at its true size.
//!
//! `cargo test -p dsp --test quality -- --nocapture` prints the figures.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use std::f64::consts::TAU;

use common::{MEASURED, SETS, Spectrum, convert, db, line, tones};
use dsp::resample::{Conversion, FilterSet, Resampler};

/// Output samples left out in front: the filter fills.
const SETTLE: usize = 256;
const AMPLITUDE: f64 = 12_000.0;

/// What is promised of a filter set.
struct Promise {
    ripple_db: f64,
    rejection_db: f64,
    delay_ms: f64,
}

fn promise(conversion: Conversion, set: FilterSet) -> Promise {
    match (set, conversion) {
        (FilterSet::LinearPhase, Conversion::Up8To24) => {
            Promise { ripple_db: 0.015, rejection_db: 90.0, delay_ms: 2.05 }
        }
        (FilterSet::LinearPhase, _) => {
            Promise { ripple_db: 0.015, rejection_db: 90.0, delay_ms: 2.0 }
        }
        // One set serves both: see `FilterSet::LowDelay`.
        (FilterSet::LowDelay, Conversion::Down44To16) => {
            Promise { ripple_db: 0.005, rejection_db: 90.0, delay_ms: 1.25 }
        }
        (FilterSet::LowDelay, _) => {
            Promise { ripple_db: 0.005, rejection_db: 84.0, delay_ms: 0.35 }
        }
    }
}

/// The lower of the two rates: the pass band ends at 0.425 of it, the stop band begins at 0.575.
fn lower_hz(conversion: Conversion) -> f64 {
    f64::from(conversion.source_hz().min(conversion.target_hz()))
}

/// The settled output for some tones.
fn heard(conversion: Conversion, set: FilterSet, input: &[(f64, f64)]) -> Vec<i16> {
    let (source, target) = (conversion.source_hz() as usize, conversion.target_hz() as usize);
    let len = (MEASURED + SETTLE) * source / target + source / 100;
    let output = convert(conversion, set, &tones(source as u32, len, input));
    output[SETTLE..SETTLE + MEASURED].to_vec()
}

/// From `from` to `to` in about `steps` steps, both ends among them.
fn sweep(from: f64, to: f64, steps: u32) -> impl Iterator<Item = f64> {
    (0..=steps).map(move |i| from + (to - from) * f64::from(i) / f64::from(steps))
}

/// Largest over smallest gain, 300 Hz to the end of the pass band, in decibels.
fn ripple_db(conversion: Conversion, set: FilterSet) -> f64 {
    let gains: Vec<f64> = sweep(300.0, 0.425 * lower_hz(conversion), 40)
        .map(|f| line(&heard(conversion, set, &[(f, AMPLITUDE)]), conversion.target_hz(), f).0)
        .collect();
    db(gains.iter().fold(0.0, |a, b| f64::max(a, *b))
        / gains.iter().fold(1e9, |a, b| f64::min(a, *b)))
}

/// How far every image and alias is below the tone it comes from: the least over all tones that
/// can have one, in decibels.
fn rejection_db(conversion: Conversion, set: FilterSet) -> f64 {
    let lower = lower_hz(conversion);
    // A pass-band tone leaves images going up; a stop-band tone leaves aliases going down.
    let pass = sweep(0.01 * lower, 0.425 * lower, 36);
    let stop = sweep(0.575 * lower, 0.499 * f64::from(conversion.source_hz()), 80);
    let stop = stop.filter(|_| f64::from(conversion.source_hz()) > lower);
    let mut least = f64::MAX;
    for f in pass.chain(stop) {
        // The companion stays away from the tone and from where its alias falls.
        let folded = (f / lower - (f / lower).round()).abs();
        let companion = if (folded - 0.1).abs() < 0.02 { 0.217 * lower } else { 0.1013 * lower };
        let output = heard(conversion, set, &[(f, AMPLITUDE), (companion, AMPLITUDE)]);
        let spectrum = Spectrum::of(&output, conversion.target_hz());
        let known: &[f64] = if f <= 0.425 * lower { &[f, companion] } else { &[companion] };
        least = least.min(db(AMPLITUDE / spectrum.largest_but(known)));
    }
    least
}

/// Everything but the tone, harmonics and noise together, below a loud tone, in decibels.
fn thd_and_noise_db(conversion: Conversion, set: FilterSet) -> f64 {
    let f = 0.1261 * lower_hz(conversion);
    let output = heard(conversion, set, &[(f, 30_000.0)]);
    let tone = line(&output, conversion.target_hz(), f).0;
    db(tone / Spectrum::of(&output, conversion.target_hz()).rest(f))
}

/// Group delay at `f` in milliseconds: how phase turns with frequency.
fn delay_ms(conversion: Conversion, set: FilterSet, f: f64) -> f64 {
    const STEP_HZ: f64 = 10.0;
    let phase = |f: f64| {
        let output = heard(conversion, set, &[(f, AMPLITUDE)]);
        let skipped = TAU * f * SETTLE as f64 / f64::from(conversion.target_hz());
        line(&output, conversion.target_hz(), f).1 - skipped
    };
    let turned = phase(f - STEP_HZ) - phase(f + STEP_HZ);
    turned.rem_euclid(TAU) / (TAU * 2.0 * STEP_HZ) * 1e3
}

#[test]
fn every_conversion_sounds_as_promised() {
    println!("| conversion | set | ripple dB | rejection dB | THD+N dB | delay at 1 kHz, ms |");
    println!("|---|---|---|---|---|---|");
    for (conversion, set) in Conversion::ALL.into_iter().flat_map(|c| SETS.map(|set| (c, set))) {
        let promise = promise(conversion, set);
        let (ripple, rejection) = (ripple_db(conversion, set), rejection_db(conversion, set));
        let (thd, delay) = (thd_and_noise_db(conversion, set), delay_ms(conversion, set, 1_000.0));
        println!(
            "| {conversion} | {set:?} | {ripple:.4} | {rejection:.1} | {thd:.1} | {delay:.3} |"
        );
        assert!(ripple <= promise.ripple_db, "{conversion} {set:?}: ripple {ripple} dB");
        assert!(rejection >= promise.rejection_db, "{conversion} {set:?}: {rejection} dB");
        assert!(thd >= 84.0, "{conversion} {set:?}: THD+N {thd} dB");
        assert!(delay <= promise.delay_ms, "{conversion} {set:?}: delay {delay} ms");
    }
}

#[test]
fn the_measure_sees_a_line_of_100_db() {
    // A known line 100 dB below a tone, beside it and far from it.
    for f in [1_040.0, 3_201.7] {
        let pcm = tones(8_000, MEASURED, &[(1_003.7, 30_000.0), (f, 0.3)]);
        let seen = Spectrum::of(&pcm, 8_000).largest_but(&[1_003.7]);
        assert!((db(30_000.0 / seen) - 100.0).abs() < 1.0, "{f} Hz: {}", db(30_000.0 / seen));
    }
}

#[test]
fn a_linear_phase_filter_delays_every_frequency_alike_and_by_what_it_says() {
    for conversion in Conversion::ALL {
        let said = Resampler::new(conversion, FilterSet::LinearPhase).delay_ns() as f64 / 1e6;
        for f in [400.0, 1_000.0, 2_000.0, 3_000.0] {
            let measured = delay_ms(conversion, FilterSet::LinearPhase, f);
            assert!((measured - said).abs() < 0.005, "{conversion} {f} Hz: {measured} not {said}");
        }
    }
}

#[test]
fn both_ways_together_hold_at_most_4_ms_and_0_7_ms() {
    for (set, most) in [(FilterSet::LinearPhase, 4.0), (FilterSet::LowDelay, 0.7)] {
        let up = delay_ms(Conversion::Up8To16, set, 1_000.0);
        let down = delay_ms(Conversion::Down24To8, set, 1_000.0);
        assert!(up + down <= most, "{set:?}: {up} + {down} ms");
    }
}
