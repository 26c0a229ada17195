//! The ear, tried on relays that err in a known way: transformations of the audio, offline.

use std::f64::consts::PI;

use super::band::{kaiser, sinc};
use super::*;
use crate::clock::{MILLIS, Nanos};
use crate::format::Format;
use crate::signal::{self, CallerVoice, ModelVoice};

/// How long a trial is, in milliseconds.
const MS: usize = 3_000;

/// What a caller says, sent in frames of 20 ms.
fn by_caller() -> Said {
    let mut code = vec![0; MS * 8];
    CallerVoice::new(3, 1).speak(0, &mut code);
    Said { rate: 8_000, ..said(signal::linear(Format::PCMU, &code), MS) }
}

/// What the model says, sent in messages of 20 ms: noise up to 12 kHz.
fn by_model() -> Said {
    let mut pcm = vec![0; MS * 24];
    ModelVoice::new(3, 0, 0, pcm.len() as u64).speak(0, &mut pcm);
    Said { rate: 24_000, ..said(pcm, MS) }
}

fn said(pcm: Vec<i16>, ms: usize) -> Said {
    let pieces = (0..ms as u64 / 20).map(|n| Piece {
        from: n as f64 * 160.0,
        to: (n + 1) as f64 * 160.0,
        planned: (n + 1) * 20 * MILLIS,
        sent: (n + 1) * 20 * MILLIS + MILLIS / 2,
        kind: PieceKind::Counted,
    });
    Said { pcm, rate: 0, pieces: pieces.collect(), voids: Vec::new(), sought: Vec::new() }
}

/// What was heard if every 20 ms of it arrived `after` the time it could have been sent whole.
fn heard(pcm: Vec<i16>, rate: u32, after: Nanos) -> Heard {
    let frame = u64::from(rate) / 50;
    let frames = (pcm.len() as u64).div_ceil(frame);
    let arrival = |n: u64| ((n + 1) * 20 * MILLIS + after, ((n + 1) * frame).min(pcm.len() as u64));
    Heard { arrivals: (0..frames).map(arrival).collect(), pcm, rate, read_late: false }
}

/// Half the taps of the converter, in samples said.
const REACH: i64 = 64;

/// Its impulse response is known at so many places a sample, and interpolated.
const PLACES: usize = 512;

/// A converter as good as any: a sinc of 128 taps, late by `delay` seconds, its clock faster by
/// `ppm`, `gain` times as loud.
fn convert(pcm: &[i16], from: u32, to: u32, delay: f64, ppm: f64, gain: f64) -> Vec<i16> {
    let (from, to) = (f64::from(from), f64::from(to) * (1.0 + ppm * 1e-6));
    let width = (to / from).min(1.0);
    let known: Vec<f64> = (0..=REACH as usize * PLACES + 1)
        .map(|place| place as f64 / PLACES as f64)
        .map(|x| gain * width * sinc(width * x) * kaiser(x / REACH as f64))
        .collect();
    let tap = |x: f64| {
        let place = x.abs() * PLACES as f64;
        let left = known[place as usize];
        left + (known[place as usize + 1] - left) * place.fract()
    };
    let sample = |n: usize| {
        let place = (n as f64 / to - delay) * from;
        let first = place.floor() as i64 - REACH + 1;
        let mut sum = 0.0;
        for at in first.max(0)..(first + 2 * REACH - 1).clamp(0, pcm.len() as i64) {
            sum += f64::from(pcm[at as usize]) * tap(at as f64 - place);
        }
        sum.round() as i16
    };
    (0..(pcm.len() as f64 * to / from) as usize).map(sample).collect()
}

/// Nothing is missing, doubled or put in, nothing clicks, and all was found.
fn assert_whole(hearing: &Hearing, what: &str) {
    let account = &hearing.account;
    assert!(hearing.found, "{what}");
    for faults in [account.missing, account.doubled, account.inserted] {
        assert_eq!(faults, Faults::default(), "{what}: {account:?}");
    }
    assert_eq!(hearing.likeness.clicks, 0, "{what}");
    assert!(hearing.head < 40.0 && hearing.tail < 100.0, "{what}: {hearing:?}");
}

fn db(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise).log10()
}

fn sinad(hearing: &Hearing) -> f64 {
    db(hearing.likeness.signal, hearing.likeness.noise)
}

fn drift_ppm(hearing: &Hearing) -> f64 {
    hearing.likeness.drift.expect("the run is long") * 1e6
}

/// Mean latencies from the plan and from sending, in milliseconds.
fn latency_ms(hearing: &Hearing) -> (f64, f64) {
    let mean = |of: &[Nanos]| of.iter().sum::<Nanos>() as f64 / of.len() as f64 / MILLIS as f64;
    (mean(&hearing.latencies.corrected), mean(&hearing.latencies.uncorrected))
}

#[test]
fn a_perfect_relay_has_no_faults_at_any_rate_and_delay() {
    let (caller, model) = (by_caller(), by_model());
    let mut ear = Ear::new();
    for (said, rate, delay_ms) in [
        (&caller, 8_000, 0.0),
        (&caller, 16_000, 1.7),
        (&caller, 24_000, 10.037),
        (&model, 8_000, 0.31),
        (&model, 16_000, 10.037),
    ] {
        let what = format!("{} to {rate}, {delay_ms} ms", said.rate);
        let pcm = convert(&said.pcm, said.rate, rate, delay_ms / 1e3, 0.0, 1.0);
        let hearing = ear.listen(said, &heard(pcm, rate, MILLIS));
        assert_whole(&hearing, &what);
        assert!(sinad(&hearing) > 72.0, "{what}: {} dB", sinad(&hearing));
        assert!(drift_ppm(&hearing).abs() < 0.1, "{what}: {} ppm", drift_ppm(&hearing));
        let gain_db = 20.0 * hearing.likeness.gain.log10();
        assert!(gain_db.abs() < 0.01, "{what}: {gain_db} dB");
        // The way takes 1 ms; what the filter holds back comes 20 ms later.
        let (corrected, uncorrected) = latency_ms(&hearing);
        assert!((corrected - 1.0 - delay_ms).abs() < 0.1, "{what}: {corrected} ms");
        assert!((uncorrected - 0.5 - delay_ms).abs() < 0.1, "{what}: {uncorrected} ms");
        let mut held = hearing.held_ms.clone();
        held.sort_by(f64::total_cmp);
        let held = held[held.len() / 2];
        assert!((held - delay_ms).abs() < 0.01, "{what}: {held} ms held");
    }
}

#[test]
fn what_is_sought_is_found_where_it_was_heard_and_what_was_left_out_nowhere() {
    let mut ear = Ear::new();
    // 2 s are said, of which the half second from 0.8 s on is left out; all comes 5 ms late.
    let mut said = by_model();
    said.sought = vec![1_600.0..4_000.0, 6_800.0..10_000.0, 12_000.0..16_000.0];
    let mut pcm = convert(&said.pcm, 24_000, 8_000, 5e-3, 0.0, 1.0);
    pcm.drain(6_400..10_400);
    let hearing = ear.listen(&said, &heard(pcm, 8_000, MILLIS));
    let [Some(whole), None, Some(later)] = &hearing.places[..] else {
        panic!("{:?}", hearing.places)
    };
    for (found, expected) in [(whole, 1_640.0..4_040.0), (later, 8_040.0..12_040.0)] {
        assert!((found.start - expected.start).abs() < 1.0, "{found:?} for {expected:?}");
        assert!((found.end - expected.end).abs() < 1.0, "{found:?} for {expected:?}");
    }
}

#[test]
fn six_decibels_are_six_decibels() {
    // The model's voice leaves room for twice its loudness; a caller's would be clipped.
    let said = by_model();
    for (gain, expected) in [(2.0, 6.0206), (0.5, -6.0206)] {
        let pcm = convert(&said.pcm, 24_000, 16_000, 0.0, 0.0, gain);
        let hearing = Ear::new().listen(&said, &heard(pcm, 16_000, 0));
        assert_whole(&hearing, "gain");
        let gain_db = 20.0 * hearing.likeness.gain.log10();
        assert!((gain_db - expected).abs() < 0.01, "{gain_db} dB");
    }
}

#[test]
fn a_clock_that_is_off_by_50_ppm_is_told_to_the_tenth_of_one() {
    let said = by_caller();
    for ppm in [-50.0, -5.0, 50.0] {
        let pcm = convert(&said.pcm, 8_000, 16_000, 0.002, ppm, 1.0);
        let hearing = Ear::new().listen(&said, &heard(pcm, 16_000, 0));
        assert_whole(&hearing, "drift");
        assert!((drift_ppm(&hearing) - ppm).abs() < 0.1, "{} for {ppm}", drift_ppm(&hearing));
        assert!(sinad(&hearing) > 55.0, "{} dB", sinad(&hearing));
    }
}

#[test]
fn linear_interpolation_is_as_bad_as_its_formula_says() {
    let said = by_caller();
    let pairs = said.pcm.windows(2);
    let pcm = pairs.flat_map(|it| [it[0], ((i32::from(it[0]) + i32::from(it[1])) / 2) as i16]);
    let hearing = Ear::new().listen(&said, &heard(pcm.collect(), 16_000, 0));
    assert_whole(&hearing, "linear");
    // The triangle's response is cos squared of a quarter turn at 8 kHz; what of it lies above
    // 4,600 Hz are images of what lies below 3,400 Hz.
    let power = |from: usize, to: usize| -> f64 {
        (from..to).map(|hertz| (PI * hertz as f64 / 16_000.0).cos().powi(4)).sum()
    };
    let expected = db(power(300, 3_400), power(4_700, 8_000));
    assert!((sinad(&hearing) - expected).abs() < 0.7, "{} for {expected}", sinad(&hearing));
    let response = 20.0 * hearing.likeness.response.log10();
    let slope = |hertz: f64| 40.0 * (PI * hertz / 16_000.0).cos().log10();
    let expected = slope(300.0) - slope(3_400.0);
    assert!((response - expected).abs() < 0.3, "response {response} for {expected} dB");
}

#[test]
fn mulaw_is_heard_as_loud_as_its_steps() {
    let said = by_model();
    let code = signal::downlink(&said.pcm, Format::PCMU);
    let bytes: Vec<u8> = code.iter().map(|&it| it as u8).collect();
    let pcm = signal::linear(Format::PCMU, &bytes);
    let hearing = Ear::new().listen(&said, &heard(pcm, 8_000, 0));
    assert_whole(&hearing, "mu-law");
    assert!((36.0..40.0).contains(&sinad(&hearing)), "{} dB", sinad(&hearing));
}

/// A perfect relay to 16 kHz whose output is changed.
fn changed(change: impl FnOnce(&mut Vec<i16>)) -> (Said, Hearing) {
    let said = by_caller();
    let mut pcm = convert(&said.pcm, 8_000, 16_000, 0.0017, 0.0, 1.0);
    change(&mut pcm);
    let hearing = Ear::new().listen(&said, &heard(pcm, 16_000, 0));
    (said, hearing)
}

fn assert_faults(faults: Faults, count: u64, ms: f64, within_ms: f64, what: &str) {
    assert_eq!(faults.count, count, "{what}: {faults:?}");
    assert!((faults.ms - ms).abs() <= within_ms, "{what}: {faults:?}");
}

#[test]
fn missing_audio_is_counted_to_the_sample_wherever_and_how_long_it_is() {
    for (at_ms, length) in [(1_000, 320), (1_003, 320), (2_017, 16), (1_500, 3_200), (900, 16_000)]
    {
        let (from, ms) = (at_ms * 16 + 5, length as f64 / 16.0);
        let (_, hearing) = changed(|pcm| drop(pcm.drain(from..from + length)));
        let what = format!("{ms} ms missing at {at_ms} ms");
        let account = &hearing.account;
        if ms > 2.0 {
            assert_faults(account.missing, 1, ms, 0.05, &what);
        }
        assert_eq!(account.doubled.count + account.inserted.count, 0, "{what}: {account:?}");
        assert_eq!(hearing.likeness.clicks, 0, "{what}");
        assert!(sinad(&hearing) > 70.0, "{what}: {} dB", sinad(&hearing));
        assert!(drift_ppm(&hearing).abs() < 0.2, "{what}: {}", drift_ppm(&hearing));
    }
}

#[test]
fn doubled_audio_is_counted_to_the_sample() {
    for (at_ms, length) in [(1_000, 320), (1_007, 320), (1_500, 3_200)] {
        let (from, ms) = (at_ms * 16 + 5, length as f64 / 16.0);
        let (_, hearing) = changed(|pcm| {
            let again = pcm[from - length..from].to_vec();
            pcm.splice(from..from, again);
        });
        let what = format!("{ms} ms doubled at {at_ms} ms");
        let account = &hearing.account;
        assert_faults(account.doubled, 1, ms, 0.05, &what);
        assert_eq!(account.missing.count + account.inserted.count, 0, "{what}: {account:?}");
        assert_eq!(hearing.likeness.clicks, 0, "{what}");
    }
}

#[test]
fn silence_and_noise_put_in_between_are_counted() {
    for (at_ms, length) in [(1_000, 320), (1_007, 320), (1_500, 3_200)] {
        for loud in [0, 1] {
            let (from, ms) = (at_ms * 16 + 5, length as f64 / 16.0);
            let (_, hearing) = changed(|pcm| {
                let noise = |at| (signal::bits(7, at) as i16 / 8) * loud;
                pcm.splice(from..from, (0..length as u64).map(noise));
            });
            let what = format!("{ms} ms put in at {at_ms} ms, loud: {loud}");
            let account = &hearing.account;
            assert_faults(account.inserted, 1, ms, 0.05, &what);
            assert_eq!(account.missing.count + account.doubled.count, 0, "{what}: {account:?}");
        }
    }
}

#[test]
fn audio_replaced_by_silence_is_missing_and_something_put_in() {
    let (_, hearing) = changed(|pcm| pcm[20_000..21_600].fill(0));
    assert_faults(hearing.account.missing, 1, 100.0, 5.0, "replaced");
    assert_faults(hearing.account.inserted, 1, 100.0, 5.0, "replaced");
    assert_eq!(hearing.account.doubled.count, 0);
}

#[test]
fn a_wrong_sample_is_a_click_and_only_that() {
    for (place, size) in [(20_003, 6_000), (32_000, 12_000), (45_678, -20_000)] {
        let (_, hearing) = changed(|pcm| pcm[place] = pcm[place].saturating_add(size));
        assert_eq!(hearing.likeness.clicks, 1, "{size} at {place}");
        let account = &hearing.account;
        for faults in [account.missing, account.doubled, account.inserted] {
            assert_eq!(faults, Faults::default(), "{size} at {place}: {account:?}");
        }
    }
}

#[test]
fn what_nobody_said_is_not_found() {
    let said = by_caller();
    let mut code = vec![0; MS * 8];
    CallerVoice::new(3, 2).speak(0, &mut code);
    let other = signal::uplink(Format::PCMU, &code, 16_000);
    for pcm in [other, vec![0; MS * 16], Vec::new(), vec![5; 100]] {
        let hearing = Ear::new().listen(&said, &heard(pcm, 16_000, 0));
        assert!(!hearing.found);
        assert!(hearing.latencies.corrected.is_empty());
        assert_eq!(hearing.likeness.signal, 0.0);
    }
    let unknown = Heard { rate: 44_100, pcm: vec![1; 1000], ..Heard::default() };
    assert!(!Ear::new().listen(&said, &unknown).found);
}

#[test]
fn buffered_and_joined_messages_are_late_by_what_they_wait() {
    let said = by_caller();
    let pcm = convert(&said.pcm, 8_000, 16_000, 0.0, 0.0, 1.0);
    let late = Ear::new().listen(&said, &heard(pcm.clone(), 16_000, 100 * MILLIS));
    assert_whole(&late, "buffered");
    assert!((latency_ms(&late).0 - 100.0).abs() < 0.1, "{:?}", latency_ms(&late));
    let mut joined = heard(pcm, 16_000, 0);
    joined.arrivals = joined.arrivals.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
    let joined = Ear::new().listen(&said, &joined);
    // The first of two waits 20 ms, the second not at all.
    assert!((latency_ms(&joined).0 - 10.0).abs() < 0.1, "{:?}", latency_ms(&joined));
    for (hearing, expected) in [(late, 100.0), (joined, 20.0)] {
        let mut held = hearing.held_ms;
        held.sort_by(f64::total_cmp);
        assert!((held[held.len() / 2] - expected).abs() < 0.1, "{held:?}");
    }
}

#[test]
fn the_conversions_of_vocaris_hold_less_than_4_ms_both_ways() {
    let (caller, model) = (by_caller(), by_model());
    let up = signal::linear(Format::L16_16K, &{
        let mut code = vec![0; MS * 8];
        CallerVoice::new(3, 1).speak(0, &mut code);
        let mut bytes = Vec::new();
        Format::L16_16K.write(&signal::uplink(Format::PCMU, &code, 16_000), &mut bytes);
        bytes
    });
    let down: Vec<u8> =
        signal::downlink(&model.pcm, Format::PCMU).iter().map(|&it| it as u8).collect();
    let down = signal::linear(Format::PCMU, &down);
    // What mu-law leaves of the best conversion there is, as late as ours: for this voice 37.5 dB.
    // It holds each value for three samples, so the loudness of what is quantised, and with it the
    // noise, depends on where between them the samples at 8 kHz fall.
    let best = convert(&model.pcm, 24_000, 8_000, 47.0 / 24_000.0, 0.0, 1.0);
    let mut code = vec![0; best.len()];
    let kernels = dsp::kernels::Kernels::detect(dsp::kernels::Isa::Scalar);
    kernels.mulaw_encode(&best, &mut code);
    let best = heard(signal::linear(Format::PCMU, &code), 8_000, 0);
    let bound = sinad(&Ear::new().listen(&model, &best));
    let mut held = 0.0;
    for (said, pcm, rate, least) in
        [(&caller, up, 16_000, 75.0), (&model, down, 8_000, bound - 0.2)]
    {
        let mut hearing = Ear::new().listen(said, &heard(pcm, rate, 0));
        assert_whole(&hearing, "Vocaris");
        assert!(sinad(&hearing) >= least, "{rate} Hz: {} dB, {least}", sinad(&hearing));
        hearing.held_ms.sort_by(f64::total_cmp);
        held += hearing.held_ms[hearing.held_ms.len() / 2];
    }
    assert!((3.8..4.0).contains(&held), "{held} ms");
}
