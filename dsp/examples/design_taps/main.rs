//! Designs the taps of `src/taps/designed.rs` and prints that file, figures and all.
//!
//! In:       the specifications in [`SPECS`]; names as arguments choose among them.
//! Out:      Rust source on standard output; progress on standard error.
//! Bounds:   [`SEARCHES`] lattice searches and [`CLIMBS_MAX`] steps of climbing for each filter.
//! Not here: the conversions that use the taps (`src/taps`), measuring them on signals (`tests`).
//!
//! ```text
//! cargo run --release -p dsp --example design_taps > designed.tmp
//! mv designed.tmp dsp/src/taps/designed.rs
//! ```
//!
//! Three steps for each filter: the ideal real-valued one (`remez`, `minimum_phase`), the nearest
//! integers by squared error (`lattice`), and, since ripple and rejection are judged by their
//! worst frequency, reweighting: where the last try was worst, an error weighs more in the next.
//! From the best try, short steps of the lattice are climbed as long as the score improves.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod lattice;
mod minimum_phase;
mod remez;

use std::f64::consts::PI;

use lattice::{Basis, Row};
use remez::LowPass;

/// Lattice searches for each filter, each weighted by the errors of the one before.
const SEARCHES: usize = 1_000;
/// Steps of the final climb.
const CLIMBS_MAX: usize = 400;
/// Frequencies judged, zero to half the sampling rate.
const JUDGED: usize = 3_000;
/// An error at frequency zero, where 10,000 must stay 10,000, relative to one.
const DC_ERROR: f64 = 2e-5;
/// What an error between the bands weighs, relative to one in the pass band.
const GAP_WEIGHT: f64 = 0.003;
/// What a wrong phase weighs in the pass band of a minimum-phase filter, relative to a wrong size.
const PHASE_WEIGHT: f64 = 0.05;

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Linear,
    Minimum,
}

/// One filter to design.
struct Spec {
    name: &'static str,
    doc: &'static str,
    /// The higher rate over the lower one.
    ratio: usize,
    taps: usize,
    phase: Phase,
    /// What integer taps of unit gain sum to.
    scale: f64,
    /// Pass error over stop error of the ideal filter.
    pass_to_stop: f64,
    /// Pass error and stop error worth one point of score each.
    pass_error: f64,
    stop_error: f64,
}

const SPECS: [Spec; 6] = [
    Spec {
        name: "HALF_LINEAR",
        doc: "Two to one, linear phase, for both ways.",
        ratio: 2,
        taps: 62,
        phase: Phase::Linear,
        scale: 65_536.0,
        pass_to_stop: 30.0,
        pass_error: 6e-4,
        stop_error: 2.2e-5,
    },
    Spec {
        name: "UP2_MINIMUM_TAPS",
        doc: "Two to one, minimum phase, for the way up.",
        ratio: 2,
        taps: 62,
        phase: Phase::Minimum,
        scale: 65_536.0,
        pass_to_stop: 1e5,
        pass_error: 2e-4,
        stop_error: 3e-5,
    },
    Spec {
        name: "DOWN2_MINIMUM_TAPS",
        doc: "Two to one, minimum phase, for the way down.",
        ratio: 2,
        taps: 62,
        phase: Phase::Minimum,
        scale: 32_768.0,
        pass_to_stop: 1e5,
        pass_error: 2.5e-4,
        stop_error: 5e-5,
    },
    Spec {
        name: "THIRD_LINEAR",
        doc: "Three to one, linear phase, for both ways.",
        ratio: 3,
        taps: 99,
        phase: Phase::Linear,
        scale: 1_048_576.0 / 17.0,
        pass_to_stop: 30.0,
        pass_error: 6.6e-4,
        stop_error: 2.1e-5,
    },
    Spec {
        name: "UP3_MINIMUM_TAPS",
        doc: "Three to one, minimum phase, for the way up.",
        ratio: 3,
        taps: 99,
        phase: Phase::Minimum,
        scale: 65_536.0,
        pass_to_stop: 1e5,
        pass_error: 2e-4,
        stop_error: 4e-5,
    },
    Spec {
        name: "DOWN3_MINIMUM_TAPS",
        doc: "Three to one, minimum phase, for the way down.",
        ratio: 3,
        taps: 99,
        phase: Phase::Minimum,
        scale: 524_288.0 / 13.0,
        pass_to_stop: 1e5,
        pass_error: 2.604e-4,
        stop_error: 5.5e-5,
    },
];

impl Spec {
    /// 3,400 Hz at 8 kHz, in units of the higher rate.
    fn pass_edge(&self) -> f64 {
        0.425 / self.ratio as f64
    }

    /// 4,600 Hz at 8 kHz, in units of the higher rate.
    fn stop_edge(&self) -> f64 {
        0.575 / self.ratio as f64
    }

    fn ideal(&self) -> Vec<f64> {
        let low_pass = LowPass {
            taps: self.taps,
            pass_edge: self.pass_edge(),
            stop_edge: self.stop_edge(),
            pass_to_stop: self.pass_to_stop,
        };
        match self.phase {
            Phase::Linear => remez::design(low_pass),
            Phase::Minimum => minimum_phase::design(low_pass),
        }
    }

    /// The taps for a vector of unknowns: a linear-phase filter is its own mirror image.
    fn unfold(&self, unknowns: &[i64]) -> Vec<f64> {
        let mirror = |i: usize| if i < unknowns.len() { i } else { self.taps - 1 - i };
        (0..self.taps).map(|i| unknowns[mirror(i)] as f64 / self.scale).collect()
    }
}

fn main() {
    println!("//! The designed taps, as `examples/design_taps` prints them.");
    println!("//!");
    println!(
        "//! In units of 1 / 65,536 at the higher rate, earliest first. Ripple is the largest over"
    );
    println!(
        "//! the smallest gain up to 0.425 of the lower rate; rejection the largest gain from"
    );
    println!("//! 0.575 of it on.");
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for spec in SPECS.iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name)) {
        let ideal = spec.ideal();
        let rounded: Vec<f64> =
            ideal.iter().map(|t| (t * spec.scale).round() / spec.scale).collect();
        let found = search(spec, &ideal);
        println!();
        println!("/// {} Unit gain sums to {:.0}.", spec.doc, spec.scale);
        println!("///");
        for (taps, label) in
            [(&ideal, "ideal"), (&rounded, "rounded"), (&spec.unfold(&found), "searched")]
        {
            let figures = Figures::of(spec, &response_at_all(taps));
            println!(
                "/// {label}: ripple {:.4} dB, rejection {:.1} dB.",
                figures.ripple_db(),
                figures.rejection_db()
            );
        }
        println!("pub(super) const {}: [i16; {}] = [", spec.name, spec.taps);
        for line in spec.unfold(&found).chunks(10) {
            let words: Vec<String> = line.iter().map(|t| format!("{},", t * spec.scale)).collect();
            println!("    {}", words.join(" "));
        }
        println!("];");
    }
}

/// The best integers found for `spec`.
fn search(spec: &Spec, ideal: &[f64]) -> Vec<i64> {
    let mut rows = rows(spec, ideal);
    let mut basis = Basis::new(rows[0].row.adds.len());
    let mut best = (f64::MAX, Vec::new());
    for round in 0..SEARCHES {
        let plain: Vec<Row> = rows.iter().map(Judged::weighted).collect();
        let unknowns = basis.nearest(&plain);
        let figures = Figures::of(spec, &response_at_all(&spec.unfold(&unknowns)));
        if figures.score(spec) < best.0 {
            best = (figures.score(spec), unknowns.clone());
            eprintln!("{} search {round}: score {:.3}", spec.name, best.0);
        }
        rows.iter_mut().for_each(|row| row.reweight(&unknowns, spec.scale));
    }
    climb(spec, &basis, best.1)
}

/// Some integers, and what they add to the response at every judged frequency.
struct Step {
    unknowns: Vec<i64>,
    adds: Vec<(f64, f64)>,
}

impl Step {
    fn of(spec: &Spec, unknowns: Vec<i64>) -> Step {
        let adds = response_at_all(&spec.unfold(&unknowns));
        Step { unknowns, adds }
    }
}

/// Short steps of the lattice, one or two at a time, as long as they improve the score.
fn climb(spec: &Spec, basis: &Basis, unknowns: Vec<i64>) -> Vec<i64> {
    let mut here = Step::of(spec, unknowns);
    let mut score = Figures::of(spec, &here.adds).score(spec);
    let both_ways = basis.vectors().iter().flat_map(|vector| {
        [1, -1].map(|sign| Step::of(spec, vector.iter().map(|v| sign * v).collect()))
    });
    let mut steps = vec![Step::of(spec, vec![0; here.unknowns.len()])];
    steps.extend(both_ways);
    for _ in 0..CLIMBS_MAX {
        let pairs = (0..steps.len()).flat_map(|i| (i + 1..steps.len()).map(move |j| (i, j)));
        let judged = pairs.map(|(i, j)| {
            let (a, b) = (&steps[i], &steps[j]);
            (Figures::of_sum(spec, &here.adds, &a.adds, &b.adds).score(spec), i, j)
        });
        let best = judged.min_by(|a, b| a.0.total_cmp(&b.0)).expect("some steps");
        if best.0 >= score - 1e-6 {
            break;
        }
        score = best.0;
        let sums = here.unknowns.iter().zip(&steps[best.1].unknowns).zip(&steps[best.2].unknowns);
        here = Step::of(spec, sums.map(|((here, a), b)| here + a + b).collect());
        eprintln!("{} climb: score {score:.3}", spec.name);
    }
    here.unknowns
}

/// An equation of the search, and how it is judged.
struct Judged {
    row: Row,
    /// The size of error that is worth one point.
    worth: f64,
    /// Whether the worst error here counts.
    counts: bool,
}

impl Judged {
    fn weighted(&self) -> Row {
        Row { adds: self.row.adds.clone(), ..self.row }
    }

    /// More weight where the last try erred much, less where it erred little.
    fn reweight(&mut self, unknowns: &[i64], scale: f64) {
        if !self.counts {
            return;
        }
        let sum: f64 = self.row.adds.iter().zip(unknowns).map(|(a, u)| a * *u as f64).sum();
        let points = (sum - self.row.wanted).abs() / scale / self.worth;
        self.row.weight *= (1.0 + 0.08 * (points.min(3.0) - 0.5)).max(0.95);
    }
}

/// The equations of `spec`: a few for each tap, evenly over all frequencies.
fn rows(spec: &Spec, ideal: &[f64]) -> Vec<Judged> {
    let points = spec.taps * 6;
    let mut rows = Vec::new();
    for i in 0..=points {
        let f = 0.5 * i as f64 / points as f64;
        let (pass, stop) = (f <= spec.pass_edge(), f >= spec.stop_edge());
        let worth = if stop { spec.stop_error } else { spec.pass_error };
        let weight = if pass || stop { 1.0 } else { GAP_WEIGHT };
        let now = response(ideal, f);
        // In the pass band the ideal phase is turned to zero, so that an error's real part is an
        // error in size and its imaginary part one in phase.
        let turn = if pass { now.0.hypot(now.1) } else { 1.0 };
        let (cos, sin) = if pass { (now.0 / turn, now.1 / turn) } else { (1.0, 0.0) };
        let wanted = if pass {
            (1.0, 0.0)
        } else if stop {
            (0.0, 0.0)
        } else {
            now
        };
        let mut push = |adds: Vec<f64>, wanted: f64, weight: f64| {
            let row = Row { adds, wanted: wanted * spec.scale, weight: weight / worth };
            rows.push(Judged { row, worth, counts: pass || stop });
        };
        match spec.phase {
            Phase::Linear => {
                let amplitude = ideal.iter().zip(waves(spec, f)).map(|(t, w)| t * w).sum();
                let wanted = if pass || stop { wanted.0 } else { amplitude };
                push(folded(spec, f), wanted, weight);
            }
            Phase::Minimum => {
                let turned = |k: usize| {
                    let angle = -2.0 * PI * f * k as f64;
                    (cos * angle.cos() + sin * angle.sin(), cos * angle.sin() - sin * angle.cos())
                };
                let phase_weight = if pass { PHASE_WEIGHT } else { 1.0 };
                push((0..spec.taps).map(|k| turned(k).0).collect(), wanted.0, weight);
                push(
                    (0..spec.taps).map(|k| turned(k).1).collect(),
                    wanted.1,
                    weight * phase_weight,
                );
            }
        }
    }
    let adds = rows[0].row.adds.clone();
    let row = Row { adds, wanted: spec.scale, weight: 1.0 / DC_ERROR };
    rows.push(Judged { row, worth: DC_ERROR, counts: true });
    rows
}

/// What each tap of a linear-phase filter adds to the amplitude at `f`.
fn waves(spec: &Spec, f: f64) -> impl Iterator<Item = f64> {
    let middle = (spec.taps - 1) as f64 / 2.0;
    (0..spec.taps).map(move |k| (2.0 * PI * f * (k as f64 - middle)).cos())
}

/// The same for the unknowns: a tap and its mirror image together.
fn folded(spec: &Spec, f: f64) -> Vec<f64> {
    let unknowns = spec.taps.div_ceil(2);
    let alone = |k: usize| 2 * k + 1 == spec.taps;
    waves(spec, f)
        .take(unknowns)
        .enumerate()
        .map(|(k, wave)| if alone(k) { wave } else { 2.0 * wave })
        .collect()
}

/// What a filter is judged by.
struct Figures {
    pass_least: f64,
    pass_most: f64,
    stop_most: f64,
    dc: f64,
}

impl Figures {
    fn of(spec: &Spec, response: &[(f64, f64)]) -> Figures {
        Figures::judge(spec, response.iter().copied())
    }

    /// The figures of `base + a + b`.
    fn of_sum(spec: &Spec, base: &[(f64, f64)], a: &[(f64, f64)], b: &[(f64, f64)]) -> Figures {
        let sums = base.iter().zip(a).zip(b);
        Figures::judge(spec, sums.map(|((r, a), b)| (r.0 + a.0 + b.0, r.1 + a.1 + b.1)))
    }

    fn judge(spec: &Spec, response: impl Iterator<Item = (f64, f64)>) -> Figures {
        let mut figures = Figures { pass_least: f64::MAX, pass_most: 0.0, stop_most: 0.0, dc: 0.0 };
        for (i, r) in response.enumerate() {
            let f = frequency(i);
            let size = r.0 * r.0 + r.1 * r.1;
            if i == 0 {
                figures.dc = size;
            }
            if f <= spec.pass_edge() {
                figures.pass_least = figures.pass_least.min(size);
                figures.pass_most = figures.pass_most.max(size);
            } else if f >= spec.stop_edge() {
                figures.stop_most = figures.stop_most.max(size);
            }
        }
        figures
    }

    fn ripple_db(&self) -> f64 {
        10.0 * (self.pass_most / self.pass_least).log10()
    }

    fn rejection_db(&self) -> f64 {
        -10.0 * self.stop_most.log10()
    }

    /// The worst of ripple, rejection and gain at zero, each over what is worth one.
    fn score(&self, spec: &Spec) -> f64 {
        let ripple = (self.pass_most.sqrt() - self.pass_least.sqrt()) / 2.0 / spec.pass_error;
        let rejection = self.stop_most.sqrt() / spec.stop_error;
        let dc = (self.dc.sqrt() - 1.0).abs() / (2.0 * DC_ERROR);
        ripple.max(rejection).max(dc)
    }
}

/// The `i`th frequency judged.
fn frequency(i: usize) -> f64 {
    0.5 * i as f64 / JUDGED as f64
}

fn response_at_all(taps: &[f64]) -> Vec<(f64, f64)> {
    (0..=JUDGED).map(|i| response(taps, frequency(i))).collect()
}

fn response(taps: &[f64], f: f64) -> (f64, f64) {
    let mut sum = (0.0, 0.0);
    for (k, tap) in taps.iter().enumerate() {
        let (sin, cos) = (-2.0 * PI * f * k as f64).sin_cos();
        sum = (sum.0 + tap * cos, sum.1 + tap * sin);
    }
    sum
}
