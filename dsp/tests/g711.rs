//! G.711 on every kernel set, against tables computed from the Recommendation.
//!
//! `g711_tables` holds the decoders as 256 rows and the encoders as runs of samples with one code,
//! made from the segment tables of ITU-T G.711 with the rounding of G.191, and compared with the
//! compress and expand functions of that library over all inputs.
#![allow(missing_docs)]

mod common;

use common::{every_isa, noise};
use dsp::g711;
use dsp::kernels::{ALAW_SILENCE, Isa, Kernels, MULAW_SILENCE};

/// The numbers of each row, header and hexadecimal column left out.
fn rows(csv: &str) -> impl Iterator<Item = Vec<i32>> {
    csv.lines()
        .skip(1)
        .map(|row| row.split(',').filter_map(|field| field.trim().parse().ok()).collect())
}

/// Sample of each code.
fn decode_table(csv: &str) -> Vec<i16> {
    let mut table = vec![0; 256];
    let mut seen = 0;
    for row in rows(csv) {
        table[row[0] as usize] = row[1] as i16;
        seen += 1;
    }
    assert_eq!(seen, 256);
    table
}

/// Code of each sample; index 0 is -32,768.
fn encode_table(csv: &str) -> Vec<u8> {
    let mut table = Vec::new();
    for row in rows(csv) {
        assert_eq!(row[0], table.len() as i32 - 32_768, "runs follow each other");
        table.extend((row[0]..=row[1]).map(|_| row[2] as u8));
    }
    assert_eq!(table.len(), 65_536);
    table
}

fn every_sample() -> Vec<i16> {
    (i16::MIN..=i16::MAX).collect()
}

fn every_code() -> Vec<u8> {
    (0..=255).collect()
}

struct Law {
    name: &'static str,
    decode: fn(&Kernels, &[u8], &mut [i16]),
    encode: fn(&Kernels, &[i16], &mut [u8]),
    to_linear: fn(u8) -> i16,
    from_linear: fn(i16) -> u8,
    decode_table: &'static str,
    encode_table: &'static str,
}

const LAWS: [Law; 2] = [
    Law {
        name: "mu-law",
        decode: Kernels::mulaw_decode,
        encode: Kernels::mulaw_encode,
        to_linear: g711::mulaw_to_linear,
        from_linear: g711::linear_to_mulaw,
        decode_table: include_str!("g711_tables/ulaw_decode.csv"),
        encode_table: include_str!("g711_tables/ulaw_encode_ranges.csv"),
    },
    Law {
        name: "A-law",
        decode: Kernels::alaw_decode,
        encode: Kernels::alaw_encode,
        to_linear: g711::alaw_to_linear,
        from_linear: g711::linear_to_alaw,
        decode_table: include_str!("g711_tables/alaw_decode.csv"),
        encode_table: include_str!("g711_tables/alaw_encode_ranges.csv"),
    },
];

#[test]
fn the_formulas_give_the_tables() {
    for law in &LAWS {
        let decoded: Vec<i16> = every_code().into_iter().map(law.to_linear).collect();
        assert_eq!(decoded, decode_table(law.decode_table), "{}", law.name);
        let encoded: Vec<u8> = every_sample().into_iter().map(law.from_linear).collect();
        assert!(encoded == encode_table(law.encode_table), "{}", law.name);
    }
}

#[test]
fn every_isa_decodes_every_byte_like_the_table() {
    for (law, kernels) in LAWS.iter().flat_map(|law| every_isa().into_iter().map(move |k| (law, k)))
    {
        let mut pcm = vec![0; 256];
        (law.decode)(&kernels, &every_code(), &mut pcm);
        assert_eq!(pcm, decode_table(law.decode_table), "{} {}", law.name, kernels.isa());
    }
}

#[test]
fn every_isa_encodes_every_sample_like_the_table() {
    for (law, kernels) in LAWS.iter().flat_map(|law| every_isa().into_iter().map(move |k| (law, k)))
    {
        let mut code = vec![0; 65_536];
        (law.encode)(&kernels, &every_sample(), &mut code);
        assert!(code == encode_table(law.encode_table), "{} {}", law.name, kernels.isa());
    }
}

/// Lengths of real frames beside every short one: 20 to 100 ms, and a TLS record's worth.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=200).chain([240, 320, 400, 480, 800, 1_600, 16_384])
}

#[test]
fn every_length_is_whole_and_nothing_behind_it_is_touched() {
    const GUARD: usize = 80;
    for (law, kernels) in LAWS.iter().flat_map(|law| every_isa().into_iter().map(move |k| (law, k)))
    {
        for len in lengths() {
            let samples = noise(len, len as u64);
            let codes: Vec<u8> = samples.iter().map(|s| (law.from_linear)(*s)).collect();
            // An odd start, so that no step is aligned by luck.
            let mut code = vec![0xA5; 1 + len + GUARD];
            (law.encode)(&kernels, &samples, &mut code[1..=len]);
            assert!(code[1..=len] == codes, "{} {} {len}", law.name, kernels.isa());
            assert!(code[1 + len..].iter().all(|c| *c == 0xA5), "{} {len}", kernels.isa());
            assert_eq!(code[0], 0xA5);

            let decoded: Vec<i16> = codes.iter().map(|c| (law.to_linear)(*c)).collect();
            let mut pcm = vec![0x5A5A; 1 + len + GUARD];
            (law.decode)(&kernels, &codes, &mut pcm[1..=len]);
            assert!(pcm[1..=len] == decoded, "{} {} {len}", law.name, kernels.isa());
            assert!(pcm[1 + len..].iter().all(|s| *s == 0x5A5A), "{} {len}", kernels.isa());
            assert_eq!(pcm[0], 0x5A5A);
        }
    }
}

#[test]
fn a_phone_hears_its_own_codes_back_but_for_negative_zero() {
    for code in 0..=255 {
        let mulaw = g711::linear_to_mulaw(g711::mulaw_to_linear(code));
        // 0x7F is minus zero; there is one zero in linear PCM, and its code is 0xFF.
        assert_eq!(mulaw, if code == 0x7F { 0xFF } else { code });
        assert_eq!(g711::linear_to_alaw(g711::alaw_to_linear(code)), code);
    }
}

#[test]
fn silence_is_the_code_of_zero() {
    assert_eq!(g711::linear_to_mulaw(0), MULAW_SILENCE);
    assert_eq!(g711::mulaw_to_linear(MULAW_SILENCE), 0);
    assert_eq!(g711::linear_to_alaw(0), ALAW_SILENCE);
    assert_eq!(g711::alaw_to_linear(ALAW_SILENCE), 8);
}

#[test]
fn every_isa_masks_like_rfc_6455_at_any_offset_and_length() {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    for kernels in every_isa() {
        for len in lengths() {
            for offset in 0..5 {
                let plain: Vec<u8> = (0..len + 70).map(|i| (i * 31) as u8).collect();
                let mut bytes = plain.clone();
                kernels.mask(key, offset, &mut bytes[..len]);
                let masked = |i: usize| if i < len { key[(i + offset) % 4] } else { 0 };
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ masked(i)).collect();
                assert!(bytes == expected, "{} {len} {offset}", kernels.isa());
            }
        }
    }
}

#[test]
fn samples_travel_low_byte_first() {
    let kernels = Kernels::detect(Isa::Scalar);
    let mut bytes = [0; 6];
    kernels.pcm_to_le(&[0x1234, -2, i16::MIN], &mut bytes);
    assert_eq!(bytes, [0x34, 0x12, 0xFE, 0xFF, 0x00, 0x80]);
    let mut pcm = [0; 3];
    kernels.pcm_from_le(&bytes, &mut pcm);
    assert_eq!(pcm, [0x1234, -2, i16::MIN]);
}

#[test]
fn a_set_is_held_down_by_its_ceiling_and_named_as_configured() {
    for isa in Isa::ALL {
        assert!(Kernels::detect(isa).isa() <= isa);
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    assert_eq!(Kernels::detect(Isa::Scalar).isa(), Isa::Scalar);
    assert!("sse9".parse::<Isa>().is_err());
}

#[test]
#[should_panic(expected = "left: 3")]
fn lengths_that_differ_are_a_bug_of_the_caller() {
    Kernels::detect(Isa::Scalar).mulaw_decode(&[0; 3], &mut [0; 4]);
}
