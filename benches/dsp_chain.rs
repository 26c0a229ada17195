//! The whole media chain of one 20 ms frame, base64 text to base64 text.
//!
//! In:       216 characters of mu-law up, 1,280 characters of 24 kHz PCM down.
//! Out:      `chain/direction/set`: `hot`, one call again and again; `in_turn`, 5,000 calls one
//!           after the other, so that each finds its state in a cold part of the cache. The
//!           published crates chained give the ratio.
//! Bounds:   none.
//! Not here: JSON, WebSocket, TLS: the relay's own benches.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use speexdsp_resampler::State as Speex;

const CALLS: usize = 5_000;

/// What one call remembers between frames, both directions.
struct Call {
    up: Resampler,
    down: Resampler,
}

const _: () = assert!(size_of::<Call>() <= 512);

impl Call {
    fn new() -> Call {
        Call {
            up: Resampler::new(Conversion::Up8To16, FilterSet::LinearPhase),
            down: Resampler::new(Conversion::Down24To8, FilterSet::LinearPhase),
        }
    }

    /// Caller to model.
    fn uplink(&mut self, kernels: &Kernels, text: &[u8], out: &mut [u8; 856]) {
        let (mut code, mut pcm_8k, mut pcm_16k) = ([0; 162], [0; 160], [0; 320]);
        let mut bytes = [0; 640];
        let len = base64_turbo::STANDARD.decode_slice(text, &mut code).expect("valid");
        kernels.mulaw_decode(&code[..len], &mut pcm_8k);
        self.up.process(kernels, &pcm_8k, &mut pcm_16k);
        kernels.pcm_to_le(&pcm_16k, &mut bytes);
        base64_turbo::STANDARD.encode_slice(bytes, out).expect("room");
    }

    /// Model to caller.
    fn downlink(&mut self, kernels: &Kernels, text: &[u8], out: &mut [u8; 216]) {
        let (mut bytes, mut pcm_24k, mut pcm_8k) = ([0; 960], [0; 480], [0; 160]);
        let mut code = [0; 160];
        base64_turbo::STANDARD.decode_slice(text, &mut bytes).expect("valid");
        kernels.pcm_from_le(&bytes, &mut pcm_24k);
        self.down.process(kernels, &pcm_24k, &mut pcm_8k);
        kernels.mulaw_encode(&pcm_8k, &mut code);
        base64_turbo::STANDARD.encode_slice(code, out).expect("room");
    }
}

/// The same by published crates: `base64`, `audio-codec-algorithms`, speexdsp at quality 3.
struct Published {
    up: Speex,
    down: Speex,
}

impl Published {
    fn uplink(&mut self, text: &[u8], out: &mut [u8; 856]) {
        let (mut code, mut floats, mut wide) = ([0; 162], [0.0_f32; 160], [0.0_f32; 320]);
        let mut bytes = [0; 640];
        let len = STANDARD.decode_slice(text, &mut code).expect("valid");
        for (float, code) in floats.iter_mut().zip(&code[..len]) {
            *float = f32::from(audio_codec_algorithms::decode_ulaw(*code));
        }
        self.up.process_float(0, &floats, &mut wide).expect("room");
        for (pair, float) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(&wide) {
            *pair = (*float as i16).to_le_bytes();
        }
        STANDARD.encode_slice(bytes, out).expect("room");
    }

    fn downlink(&mut self, text: &[u8], out: &mut [u8; 216]) {
        let (mut bytes, mut floats, mut narrow) = ([0; 960], [0.0_f32; 480], [0.0_f32; 160]);
        let mut code = [0; 160];
        STANDARD.decode_slice(text, &mut bytes).expect("valid");
        for (float, pair) in floats.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *float = f32::from(i16::from_le_bytes(*pair));
        }
        self.down.process_float(0, &floats, &mut narrow).expect("room");
        for (code, float) in code.iter_mut().zip(&narrow) {
            *code = audio_codec_algorithms::encode_ulaw(*float as i16);
        }
        STANDARD.encode_slice(code, out).expect("room");
    }
}

/// Every set must give the portable set's text, bit for bit.
fn assert_like_scalar(kernels: &Kernels, up_text: &[u8], down_text: &[u8]) {
    let scalar = Kernels::detect(Isa::Scalar);
    let (mut ours, mut plain) = (Call::new(), Call::new());
    for _ in 0..3 {
        let (mut a, mut b) = ([0; 856], [0; 856]);
        ours.uplink(kernels, up_text, &mut a);
        plain.uplink(&scalar, up_text, &mut b);
        assert_eq!(a, b);
        let (mut a, mut b) = ([0; 216], [0; 216]);
        ours.downlink(kernels, down_text, &mut a);
        plain.downlink(&scalar, down_text, &mut b);
        assert_eq!(a, b);
    }
}

fn all(c: &mut Criterion) {
    let up_bytes: Vec<u8> = (0..160_u32).map(|i| ((i * 89) >> 1) as u8).collect();
    let down_bytes: Vec<u8> = (0..960_u32).map(|i| ((i * i) >> 3) as u8).collect();
    let up_text = STANDARD.encode(up_bytes).into_bytes();
    let down_text = STANDARD.encode(down_bytes).into_bytes();
    let (mut up_out, mut down_out) = ([0; 856], [0; 216]);
    let mut group = c.benchmark_group("chain");

    let speex = |source, target| Speex::new(1, source, target, 3).expect("a ratio it knows");
    let mut published = Published { up: speex(8_000, 16_000), down: speex(24_000, 8_000) };
    group.bench_function("uplink/published/hot", |b| {
        b.iter(|| published.uplink(black_box(&up_text), black_box(&mut up_out)));
    });
    group.bench_function("downlink/published/hot", |b| {
        b.iter(|| published.downlink(black_box(&down_text), black_box(&mut down_out)));
    });

    let mut calls: Vec<Call> = (0..CALLS).map(|_| Call::new()).collect();
    for isa in Isa::ALL {
        let kernels = Kernels::detect(isa);
        if kernels.isa() != isa {
            continue;
        }
        assert_like_scalar(&kernels, &up_text, &down_text);
        for (shape, count) in [("hot", 1), ("in_turn", CALLS)] {
            let mut next = 0;
            group.bench_function(format!("uplink/{isa}/{shape}"), |b| {
                b.iter(|| {
                    next = if next + 1 < count { next + 1 } else { 0 };
                    calls[next].uplink(&kernels, black_box(&up_text), black_box(&mut up_out));
                });
            });
            group.bench_function(format!("downlink/{isa}/{shape}"), |b| {
                b.iter(|| {
                    next = if next + 1 < count { next + 1 } else { 0 };
                    calls[next].downlink(&kernels, black_box(&down_text), black_box(&mut down_out));
                });
            });
        }
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_000))
        .sample_size(40)
}

criterion_group! { name = chain_benches; config = config(); targets = all }
criterion_main!(chain_benches);
