//! base64 by published crates, at the sizes a call uses: why the relay uses the one it does.
//!
//! In:       160, 320, 640 and 960 bytes: mu-law of 20 and 40 ms, PCM of 20 ms at 16 and 24 kHz.
//! Out:      `kernel/set/shape` times; shape is the number of characters. Each answer is checked
//!           against the crate `base64` first.
//! Bounds:   none.
//! Not here: base64 of our own: what could be gained is a few nanoseconds of a frame.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64_simd::AsOut as _;
use criterion::{Criterion, criterion_group, criterion_main};

fn encode(c: &mut Criterion, bytes: &[u8]) {
    let expected = STANDARD.encode(bytes).into_bytes();
    let chars = expected.len();
    let mut text = vec![0; chars];
    let mut group = c.benchmark_group("base64_encode");

    let _ = STANDARD.encode_slice(bytes, &mut text).expect("room");
    assert_eq!(text, expected);
    group.bench_function(format!("base64/{chars}"), |b| {
        b.iter(|| STANDARD.encode_slice(black_box(bytes), black_box(&mut text)));
    });

    text.fill(0);
    let _ = base64_simd::STANDARD.encode(bytes, text.as_mut_slice().as_out());
    assert_eq!(text, expected);
    group.bench_function(format!("base64-simd/{chars}"), |b| {
        b.iter(|| {
            base64_simd::STANDARD
                .encode(black_box(bytes), black_box(text.as_mut_slice()).as_out())
                .len()
        });
    });

    text.fill(0);
    let _ = base64_turbo::STANDARD.encode_slice(bytes, &mut text).expect("room");
    assert_eq!(text, expected);
    group.bench_function(format!("base64-turbo/{chars}"), |b| {
        b.iter(|| base64_turbo::STANDARD.encode_slice(black_box(bytes), black_box(&mut text)));
    });
    group.finish();
}

fn decode(c: &mut Criterion, bytes: &[u8]) {
    let text = STANDARD.encode(bytes).into_bytes();
    let chars = text.len();
    // Some decoders want room for whole groups of three.
    let mut room = vec![0; chars / 4 * 3];
    let mut group = c.benchmark_group("base64_decode");

    let len = STANDARD.decode_slice(&text, &mut room).expect("valid");
    assert_eq!(&room[..len], bytes);
    group.bench_function(format!("base64/{chars}"), |b| {
        b.iter(|| STANDARD.decode_slice(black_box(&text), black_box(&mut room)));
    });

    room.fill(0);
    let _ = base64_simd::STANDARD.decode(&text, room.as_mut_slice().as_out()).expect("valid");
    assert_eq!(&room[..bytes.len()], bytes);
    group.bench_function(format!("base64-simd/{chars}"), |b| {
        b.iter(|| {
            let room = black_box(room.as_mut_slice()).as_out();
            base64_simd::STANDARD.decode(black_box(&text), room).map(|out| out.len())
        });
    });

    room.fill(0);
    let len = base64_turbo::STANDARD.decode_slice(&text, &mut room).expect("valid");
    assert_eq!(&room[..len], bytes);
    group.bench_function(format!("base64-turbo/{chars}"), |b| {
        b.iter(|| base64_turbo::STANDARD.decode_slice(black_box(&text), black_box(&mut room)));
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    for len in [160, 320, 640, 960] {
        let bytes: Vec<u8> = (0..len).map(|i: u32| ((i * 167) >> 2) as u8).collect();
        encode(c, &bytes);
        decode(c, &bytes);
    }
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(40)
}

criterion_group! { name = base64_benches; config = config(); targets = all }
criterion_main!(base64_benches);
