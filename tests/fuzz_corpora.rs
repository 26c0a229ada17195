//! The smoke pass of the fuzz targets: every body over its whole corpus, over the start of each of
//! its inputs, and over inputs with one byte changed.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::path::Path;

/// Inputs longer than this are shown whole and by halves only.
const CUT_EVERYWHERE_BYTES: usize = 200;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{name}: {why}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn every_parser_stands_its_corpus() {
    for (name, _) in bodies::ALL {
        for input in corpus(name) {
            bodies::run(name, &input);
            let cuts = match input.len() {
                0..=CUT_EVERYWHERE_BYTES => (0..input.len()).collect(),
                len => vec![len / 2, len - 1],
            };
            for cut in cuts {
                bodies::run(name, &input[..cut]);
            }
        }
    }
}

#[test]
fn every_parser_stands_its_corpus_with_one_byte_changed() {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for (name, _) in bodies::ALL {
        for mut input in corpus(name).into_iter().filter(|input| !input.is_empty()) {
            for _ in 0..8 {
                let at = random.usize(..input.len());
                let was = std::mem::replace(&mut input[at], random.u8(..));
                bodies::run(name, &input);
                input[at] = was;
            }
        }
    }
}
