//! G.711 and masking, each kernel set beside the plain table loop and a published crate.
//!
//! In:       frames of 160 samples (20 ms), and 800 (100 ms).
//! Out:      `kernel/set/shape` times; every answer is checked against the plain table first.
//! Bounds:   none.
//! Not here: rate conversion, base64, whole chains: the other benches.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use dsp::g711;
use dsp::kernels::{Isa, Kernels};

fn sets() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().map(Kernels::detect).enumerate().filter_map(|(i, kernels)| {
        // A ceiling this CPU does not reach would repeat the set below it.
        (kernels.isa() == Isa::ALL[i]).then_some(kernels)
    })
}

/// Speech-like samples: loudness wanders over all segments.
fn samples(len: usize) -> Vec<i16> {
    let mut state = 0x2545_F491_u32;
    (0..len)
        .map(|i| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as i16) >> (i / 16 % 9)
        })
        .collect()
}

fn decode(group: &mut BenchmarkGroup<'_, WallTime>, len: usize) {
    let code: Vec<u8> = samples(len).iter().map(|s| g711::linear_to_mulaw(*s)).collect();
    let mut pcm = vec![0; len];
    let expected: Vec<i16> = code.iter().map(|c| g711::mulaw_to_linear(*c)).collect();

    let table: Box<[i16; 256]> = Box::new(g711::MULAW_TO_LINEAR);
    let plain = |code: &[u8], pcm: &mut [i16]| {
        for (pcm, code) in pcm.iter_mut().zip(code) {
            *pcm = table[usize::from(*code)];
        }
    };
    plain(&code, &mut pcm);
    assert_eq!(pcm, expected);
    group.bench_function(format!("plain_table/{len}"), |b| {
        b.iter(|| plain(black_box(&code), black_box(&mut pcm)));
    });

    let published = |code: &[u8], pcm: &mut [i16]| {
        for (pcm, code) in pcm.iter_mut().zip(code) {
            *pcm = audio_codec_algorithms::decode_ulaw(*code);
        }
    };
    published(&code, &mut pcm);
    assert_eq!(pcm, expected);
    group.bench_function(format!("audio-codec-algorithms/{len}"), |b| {
        b.iter(|| published(black_box(&code), black_box(&mut pcm)));
    });

    for kernels in sets() {
        pcm.fill(0);
        kernels.mulaw_decode(&code, &mut pcm);
        assert_eq!(pcm, expected);
        group.bench_function(format!("{}/{len}", kernels.isa()), |b| {
            b.iter(|| kernels.mulaw_decode(black_box(&code), black_box(&mut pcm)));
        });
    }
}

fn encode(group: &mut BenchmarkGroup<'_, WallTime>, len: usize) {
    let pcm = samples(len);
    let mut code = vec![0; len];
    let expected: Vec<u8> = pcm.iter().map(|s| g711::linear_to_mulaw(*s)).collect();

    let table: Vec<u8> = (0..=u16::MAX).map(|s| g711::linear_to_mulaw(s as i16)).collect();
    let table: Box<[u8; 65_536]> = table.try_into().expect("one code for each sample");
    let plain = |pcm: &[i16], code: &mut [u8]| {
        for (code, pcm) in code.iter_mut().zip(pcm) {
            *code = table[usize::from(*pcm as u16)];
        }
    };
    plain(&pcm, &mut code);
    assert_eq!(code, expected);
    group.bench_function(format!("plain_table/{len}"), |b| {
        b.iter(|| plain(black_box(&pcm), black_box(&mut code)));
    });

    let published = |pcm: &[i16], code: &mut [u8]| {
        for (code, pcm) in code.iter_mut().zip(pcm) {
            *code = audio_codec_algorithms::encode_ulaw(*pcm);
        }
    };
    published(&pcm, &mut code);
    assert_eq!(code, expected);
    group.bench_function(format!("audio-codec-algorithms/{len}"), |b| {
        b.iter(|| published(black_box(&pcm), black_box(&mut code)));
    });

    for kernels in sets() {
        code.fill(0);
        kernels.mulaw_encode(&pcm, &mut code);
        assert_eq!(code, expected);
        group.bench_function(format!("{}/{len}", kernels.isa()), |b| {
            b.iter(|| kernels.mulaw_encode(black_box(&pcm), black_box(&mut code)));
        });
    }
}

fn alaw(group: &mut BenchmarkGroup<'_, WallTime>, len: usize, encode: bool) {
    let pcm_in = samples(len);
    let code_in: Vec<u8> = pcm_in.iter().map(|s| g711::linear_to_alaw(*s)).collect();
    for kernels in sets() {
        let (mut pcm, mut code) = (vec![0; len], vec![0; len]);
        kernels.alaw_encode(&pcm_in, &mut code);
        assert_eq!(code, code_in);
        kernels.alaw_decode(&code_in, &mut pcm);
        assert!(pcm.iter().zip(&code_in).all(|(pcm, code)| *pcm == g711::alaw_to_linear(*code)));
        group.bench_function(format!("{}/{len}", kernels.isa()), |b| {
            if encode {
                b.iter(|| kernels.alaw_encode(black_box(&pcm_in), black_box(&mut code)));
            } else {
                b.iter(|| kernels.alaw_decode(black_box(&code_in), black_box(&mut pcm)));
            }
        });
    }
}

fn mask(group: &mut BenchmarkGroup<'_, WallTime>, len: usize) {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    for kernels in sets() {
        let mut bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        kernels.mask(key, 1, &mut bytes);
        assert!(bytes.iter().enumerate().all(|(i, b)| *b == i as u8 ^ key[(i + 1) % 4]));
        group.bench_function(format!("{}/{len}", kernels.isa()), |b| {
            b.iter(|| kernels.mask(key, 1, black_box(&mut bytes)));
        });
    }
}

fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy");
    let (from, mut to) = (vec![1_u8; 320], vec![0_u8; 320]);
    group.bench_function("memcpy/320", |b| {
        b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    });
    group.finish();
    for len in [160, 800] {
        let mut group = c.benchmark_group("mulaw_decode");
        decode(&mut group, len);
        group.finish();
        let mut group = c.benchmark_group("mulaw_encode");
        encode(&mut group, len);
        group.finish();
    }
    let mut group = c.benchmark_group("alaw_decode");
    alaw(&mut group, 160, false);
    group.finish();
    let mut group = c.benchmark_group("alaw_encode");
    alaw(&mut group, 160, true);
    group.finish();
    let mut group = c.benchmark_group("mask");
    mask(&mut group, 300);
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(40)
}

criterion_group! { name = g711_benches; config = config(); targets = all }
criterion_main!(g711_benches);
