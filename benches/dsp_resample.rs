//! Rate conversion, one 20 ms frame, each kernel set beside published crates.
//!
//! In:       20 ms of a tone at the source rate.
//! Out:      `kernel/set/shape` times; shape is the rates. Before it is timed, each converter must
//!           give back the tone at the target rate: right length, right loudness.
//! Bounds:   none.
//! Not here: quality, which `tests/quality.rs` measures.
#![allow(missing_docs)]

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};
use speexdsp_resampler::State as Speex;

const AMPLITUDE: f64 = 12_000.0;

/// One frame, 20 ms; 44.1 kHz has 882 samples in it.
fn frame(hz: u32) -> Vec<i16> {
    (0..hz / 50)
        .map(|i| (AMPLITUDE * (TAU * 1_000.0 * f64::from(i) / f64::from(hz)).sin()) as i16)
        .collect()
}

/// Whether `pcm` is the tone: its mean square is that of a sine.
fn assert_tone(name: &str, pcm: impl ExactSizeIterator<Item = f64>, expected_len: usize) {
    assert_eq!(pcm.len(), expected_len, "{name}");
    let len = pcm.len() as f64;
    let loudness = (pcm.map(|s| s * s).sum::<f64>() / len * 2.0).sqrt();
    assert!((loudness / AMPLITUDE - 1.0).abs() < 0.05, "{name}: {loudness}");
}

fn ours(c: &mut Criterion, conversion: Conversion) {
    let mut group = c.benchmark_group(format!("resample_{conversion}"));
    let input = frame(conversion.source_hz());
    let expected_len = conversion.target_hz() as usize / 50;
    let mut output = vec![0; expected_len];
    for isa in Isa::ALL {
        let kernels = Kernels::detect(isa);
        if kernels.isa() != isa {
            continue;
        }
        for (set, name) in [(FilterSet::LinearPhase, "linear"), (FilterSet::LowDelay, "low")] {
            if set == FilterSet::LowDelay && conversion != Conversion::Down24To8 {
                continue;
            }
            let mut resampler = Resampler::new(conversion, set);
            resampler.process(&kernels, &input, &mut output);
            resampler.process(&kernels, &input, &mut output);
            assert_tone(name, output.iter().map(|s| f64::from(*s)), expected_len);
            group.bench_function(format!("{isa}_{name}/{}", input.len()), |b| {
                b.iter(|| resampler.process(&kernels, black_box(&input), black_box(&mut output)));
            });
        }
    }
    group.finish();
}

/// speexdsp's resampler, in Rust, on floats: its own measure of quality, 3 is for telephony.
fn speex(c: &mut Criterion, conversion: Conversion, quality: usize) {
    let mut group = c.benchmark_group(format!("resample_{conversion}"));
    let (source, target) = (conversion.source_hz() as usize, conversion.target_hz() as usize);
    let mut state = Speex::new(1, source, target, quality).expect("a ratio it knows");
    let input: Vec<f32> = frame(source as u32).iter().map(|s| f32::from(*s)).collect();
    let mut output = vec![0.0_f32; target / 50];
    let mut run = |output: &mut [f32]| {
        state.process_float(0, black_box(&input), output).expect("room for the output")
    };
    for _ in 0..4 {
        run(&mut output);
    }
    assert_tone("speex", output.iter().map(|s| f64::from(*s)), target / 50);
    group.bench_function(format!("speexdsp_q{quality}/{}", input.len()), |b| {
        b.iter(|| run(black_box(&mut output)));
    });
    group.finish();
}

/// rubato: by sinc interpolation and by Fourier transform, whole frames in and out.
fn rubato(c: &mut Criterion, conversion: Conversion) {
    let mut group = c.benchmark_group(format!("resample_{conversion}"));
    let (source, target) = (conversion.source_hz() as usize, conversion.target_hz() as usize);
    let input: Vec<f32> = frame(source as u32).iter().map(|s| f32::from(*s)).collect();
    let parameters = SincInterpolationParameters {
        sinc_len: 64,
        f_cutoff: None,
        interpolation: SincInterpolationType::Nearest,
        oversampling_factor: 160,
        window: WindowFunction::BlackmanHarris2,
    };
    let ratio = target as f64 / source as f64;
    let sinc = Async::<f32>::new_sinc(ratio, 1.0, &parameters, input.len(), 1, FixedAsync::Input);
    let fft = Fft::<f32>::new(source, target, input.len(), 1, FixedSync::Both);
    let converters: [(&str, Box<dyn rubato::Resampler<f32>>); 2] = [
        ("rubato_sinc64", Box::new(sinc.expect("valid"))),
        ("rubato_fft", Box::new(fft.expect("valid"))),
    ];
    for (name, mut converter) in converters {
        let mut output = vec![0.0_f32; converter.output_frames_max()];
        let room = output.len();
        let mut run = |output: &mut [f32]| {
            let from =
                InterleavedSlice::new(black_box(&input), 1, input.len()).expect("one channel");
            let mut to = InterleavedSlice::new_mut(output, 1, room).expect("one channel");
            converter.process_into_buffer(&from, &mut to, None).expect("whole frames").1
        };
        let mut written = 0;
        for _ in 0..4 {
            written = run(&mut output);
        }
        // The asynchronous one may be a sample short or long.
        assert!(written.abs_diff(target / 50) <= 1, "{name}: {written}");
        assert_tone(name, output[..written].iter().map(|s| f64::from(*s)), written);
        group.bench_function(format!("{name}/{}", input.len()), |b| {
            b.iter(|| run(black_box(&mut output)));
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    for conversion in Conversion::ALL {
        ours(c, conversion);
    }
    for conversion in [Conversion::Up8To16, Conversion::Down24To8] {
        speex(c, conversion, 3);
        speex(c, conversion, 5);
        rubato(c, conversion);
    }
    speex(c, Conversion::Down44To16, 5);
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(40)
}

criterion_group! { name = resample_benches; config = config(); targets = all }
criterion_main!(resample_benches);
