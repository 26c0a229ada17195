//! The fastest time of each kernel, for machines that are shared.
//!
//! In:       nothing. Out: one line a kernel and set, nanoseconds a frame, on standard output.
//! Bounds:   [`BATCHES`] batches of [`BATCH`] frames each.
//! Not here: statistics: `cargo bench -p dsp` has means and their spread, and checks each answer.
//!
//! ```text
//! cargo run --release -p dsp --example fastest
//! ```
//!
//! Somebody else on the same core can only make a batch slower. The fastest of many short batches
//! is therefore what the code needs; a mean is what the machine had to give.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use base64_turbo::STANDARD;
use dsp::g711;
use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};

const BATCHES: usize = 4_000;
const BATCH: u32 = 20;

fn fastest(name: &str, mut frame: impl FnMut()) {
    let batch = |frame: &mut dyn FnMut()| {
        let begin = Instant::now();
        for _ in 0..BATCH {
            frame();
        }
        begin.elapsed()
    };
    let least = (0..BATCHES).map(|_| batch(&mut frame)).min().expect("some batches");
    println!("{name:40} {:8.1} ns", least.as_nanos() as f64 / f64::from(BATCH));
}

fn main() {
    plain_tables();
    for isa in Isa::ALL {
        let kernels = Kernels::detect(isa);
        if kernels.isa() == isa {
            codec(&kernels);
            conversions(&kernels);
            chain(&kernels);
        }
    }
}

fn samples(len: usize) -> Vec<i16> {
    (0..len).map(|i| ((i * 7_919) as i16) >> (i / 16 % 9)).collect()
}

fn plain_tables() {
    let (pcm, mut code) = (samples(160), vec![0_u8; 160]);
    let encode: Vec<u8> = (0..=u16::MAX).map(|s| g711::linear_to_mulaw(s as i16)).collect();
    let encode: Box<[u8; 65_536]> = encode.try_into().expect("one code a sample");
    fastest("mulaw_encode/plain_table/160", || {
        for (code, pcm) in black_box(&mut code).iter_mut().zip(black_box(&pcm)) {
            *code = encode[usize::from(*pcm as u16)];
        }
    });
    let mut out = vec![0_i16; 160];
    let decode = Box::new(g711::MULAW_TO_LINEAR);
    fastest("mulaw_decode/plain_table/160", || {
        for (pcm, code) in black_box(&mut out).iter_mut().zip(black_box(&code)) {
            *pcm = decode[usize::from(*code)];
        }
    });
}

fn codec(kernels: &Kernels) {
    let isa = kernels.isa();
    let (mut pcm, mut code) = (samples(160), vec![0_u8; 160]);
    fastest(&format!("mulaw_encode/{isa}/160"), || {
        kernels.mulaw_encode(black_box(&pcm), black_box(&mut code));
    });
    fastest(&format!("mulaw_decode/{isa}/160"), || {
        kernels.mulaw_decode(black_box(&code), black_box(&mut pcm));
    });
    fastest(&format!("alaw_encode/{isa}/160"), || {
        kernels.alaw_encode(black_box(&pcm), black_box(&mut code));
    });
    fastest(&format!("alaw_decode/{isa}/160"), || {
        kernels.alaw_decode(black_box(&code), black_box(&mut pcm));
    });
    let mut payload = vec![0_u8; 300];
    fastest(&format!("mask/{isa}/300"), || {
        kernels.mask([1, 2, 3, 4], 1, black_box(&mut payload));
    });
}

fn conversions(kernels: &Kernels) {
    for conversion in Conversion::ALL {
        let input = samples(conversion.source_hz() as usize / 50);
        let mut output = vec![0; conversion.target_hz() as usize / 50];
        let mut resampler = Resampler::new(conversion, FilterSet::LinearPhase);
        fastest(&format!("resample_{conversion}/{}/{}", kernels.isa(), input.len()), || {
            resampler.process(kernels, black_box(&input), black_box(&mut output));
        });
    }
}

/// As `benches/dsp_chain.rs`, one call.
fn chain(kernels: &Kernels) {
    let mut up = Resampler::new(Conversion::Up8To16, FilterSet::LinearPhase);
    let text = STANDARD.encode(vec![0x5A; 160]);
    let mut out = [0; 856];
    fastest(&format!("chain/uplink/{}", kernels.isa()), || {
        let (mut code, mut pcm_8k, mut pcm_16k) = ([0; 162], [0; 160], [0; 320]);
        let mut bytes = [0; 640];
        STANDARD.decode_slice(black_box(text.as_bytes()), &mut code).expect("valid");
        kernels.mulaw_decode(&code[..160], &mut pcm_8k);
        up.process(kernels, &pcm_8k, &mut pcm_16k);
        kernels.pcm_to_le(&pcm_16k, &mut bytes);
        STANDARD.encode_slice(bytes, black_box(&mut out)).expect("room");
    });
    let mut down = Resampler::new(Conversion::Down24To8, FilterSet::LinearPhase);
    let text = STANDARD.encode(vec![0x5A; 960]);
    let mut out = [0; 216];
    fastest(&format!("chain/downlink/{}", kernels.isa()), || {
        let (mut bytes, mut pcm_24k, mut pcm_8k) = ([0; 960], [0; 480], [0; 160]);
        let mut code = [0; 160];
        STANDARD.decode_slice(black_box(text.as_bytes()), &mut bytes).expect("valid");
        kernels.pcm_from_le(&bytes, &mut pcm_24k);
        down.process(kernels, &pcm_24k, &mut pcm_8k);
        kernels.mulaw_encode(&pcm_8k, &mut code);
        STANDARD.encode_slice(code, black_box(&mut out)).expect("room");
    });
}
