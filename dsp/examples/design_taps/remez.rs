//! Linear-phase low-pass filters by the Remez exchange (Parks and McClellan, 1972).
//!
//! In:       a [`LowPass`].
//! Out:      the taps whose largest weighted error is the smallest possible.
//! Bounds:   [`EXCHANGES_MAX`] exchanges; a design that needs more is returned as it stands.
//! Not here: integers (`lattice`), other phases (`minimum_phase`).
//!
//! The trick: the best approximation errs by the same weighted amount, with alternating sign, at
//! one frequency more than it has free coefficients. So guess those frequencies, solve for the
//! polynomial that alternates there (in closed form, by barycentric interpolation), move each
//! guess to the nearest peak of the error it really makes, and repeat.

use std::f64::consts::PI;

const EXCHANGES_MAX: usize = 100;
/// Grid points for each free coefficient.
const DENSITY: usize = 32;

/// What is wanted of a low-pass: frequencies in units of the sampling rate, 0 to 0.5.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowPass {
    pub(crate) taps: usize,
    pub(crate) pass_edge: f64,
    pub(crate) stop_edge: f64,
    /// Error allowed in the pass band for each unit allowed in the stop band.
    pub(crate) pass_to_stop: f64,
}

/// A point of the approximation, in x = cos(2 pi f).
struct Point {
    x: f64,
    wanted: f64,
    weight: f64,
}

/// The taps of `spec`, unit gain, symmetric.
pub(crate) fn design(spec: LowPass) -> Vec<f64> {
    // An even number of taps has a factor cos(pi f), which the polynomial is relieved of.
    let even = spec.taps.is_multiple_of(2);
    let unknowns = if even { spec.taps / 2 } else { spec.taps / 2 + 1 };
    let grid = grid(&spec, unknowns, even);
    let mut extremes: Vec<usize> =
        (0..=unknowns).map(|i| i * (grid.len() - 1) / unknowns).collect();
    for _ in 0..EXCHANGES_MAX {
        let fit = Fit::new(&grid, &extremes);
        let next = peaks(&grid, &fit, unknowns + 1);
        if next == extremes {
            break;
        }
        extremes = next;
    }
    taps_of(&Fit::new(&grid, &extremes), spec.taps, even)
}

fn grid(spec: &LowPass, unknowns: usize, even: bool) -> Vec<Point> {
    let step = 0.5 / (DENSITY * unknowns) as f64;
    let mut grid = Vec::new();
    // cos(pi f) is zero at one half; the last point stays clear of it.
    let top = if even { 0.5 - step / 2.0 } else { 0.5 };
    let bands = [(0.0, spec.pass_edge, 1.0), (spec.stop_edge, top, 0.0)];
    for (from, to, wanted) in bands {
        let points = ((to - from) / step).ceil() as usize;
        for i in 0..=points {
            let f = from + (to - from) * i as f64 / points as f64;
            let relief = if even { (PI * f).cos() } else { 1.0 };
            let weight = if wanted > 0.0 { 1.0 } else { spec.pass_to_stop };
            grid.push(Point {
                x: (2.0 * PI * f).cos(),
                wanted: wanted / relief,
                weight: weight * relief,
            });
        }
    }
    grid
}

/// The polynomial that alternates at the guessed extremes.
struct Fit {
    x: Vec<f64>,
    y: Vec<f64>,
    barycentric: Vec<f64>,
}

impl Fit {
    fn new(grid: &[Point], extremes: &[usize]) -> Fit {
        let points: Vec<&Point> = extremes.iter().map(|i| &grid[*i]).collect();
        let x: Vec<f64> = points.iter().map(|p| p.x).collect();
        let barycentric: Vec<f64> = (0..x.len())
            .map(|i| {
                // Scaled by 2 per factor: the capacity of the interval [-1, 1] is one half.
                let others = (0..x.len()).filter(|j| *j != i);
                1.0 / others.map(|j| 2.0 * (x[i] - x[j])).product::<f64>()
            })
            .collect();
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let wanted: f64 = points.iter().zip(&barycentric).map(|(p, b)| b * p.wanted).sum();
        let unit: f64 = points
            .iter()
            .zip(&barycentric)
            .enumerate()
            .map(|(i, (p, b))| sign(i) * b / p.weight)
            .sum();
        let level = wanted / unit;
        let y =
            points.iter().enumerate().map(|(i, p)| p.wanted - sign(i) * level / p.weight).collect();
        Fit { x, y, barycentric }
    }

    fn at(&self, x: f64) -> f64 {
        let (mut above, mut below) = (0.0, 0.0);
        for ((xi, yi), bi) in self.x.iter().zip(&self.y).zip(&self.barycentric) {
            if x == *xi {
                return *yi;
            }
            let term = bi / (x - xi);
            above += term * yi;
            below += term;
        }
        above / below
    }
}

/// The `wanted` alternating peaks of the error, the smaller ones at the ends left out.
fn peaks(grid: &[Point], fit: &Fit, wanted: usize) -> Vec<usize> {
    let errors: Vec<f64> = grid.iter().map(|p| (p.wanted - fit.at(p.x)) * p.weight).collect();
    let mut found: Vec<usize> = Vec::new();
    for (i, error) in errors.iter().enumerate() {
        match found.last() {
            Some(last) if (errors[*last] > 0.0) == (*error > 0.0) => {
                if error.abs() > errors[*last].abs() {
                    *found.last_mut().expect("just seen") = i;
                }
            }
            _ => found.push(i),
        }
    }
    while found.len() > wanted {
        let (first, last) = (found[0], found[found.len() - 1]);
        if errors[first].abs() < errors[last].abs() {
            found.remove(0);
        } else {
            found.pop();
        }
    }
    found
}

/// Taps from the amplitude at as many frequencies as there are taps.
fn taps_of(fit: &Fit, taps: usize, even: bool) -> Vec<f64> {
    let middle = (taps - 1) as f64 / 2.0;
    let amplitude = |i: usize| {
        let f = i as f64 / taps as f64;
        fit.at((2.0 * PI * f).cos()) * if even { (PI * f).cos() } else { 1.0 }
    };
    let half: Vec<f64> = (1..taps.div_ceil(2)).map(amplitude).collect();
    let zero = amplitude(0);
    (0..taps)
        .map(|k| {
            let waves: f64 = half
                .iter()
                .zip(1..)
                .map(|(a, i)| {
                    2.0 * a * (2.0 * PI * f64::from(i) * (k as f64 - middle) / taps as f64).cos()
                })
                .sum();
            (zero + waves) / taps as f64
        })
        .collect()
}
