//! The best integers near an ideal filter: the closest point of a lattice.
//!
//! In:       linear rows (one frequency each: what every tap adds there, what is wanted, how much
//!           an error weighs).
//! Out:      integer taps whose weighted squared error is nearly the smallest possible.
//! Bounds:   [`SWAPS_MAX`] swaps of the basis reduction; past that the basis serves as it stands.
//! Not here: filters: which rows, and judging the result by its peaks (`main`).
//!
//! The trick: rounding each tap by itself spreads the error evenly over all frequencies, pass band,
//! stop band and the gap between them alike. But an error costs little in the gap and much in the
//! stop band. Taken together, all integer filters form a lattice in the space of weighted
//! responses, and the ideal is a point between its nodes; the node nearest by *that* distance has
//! its error where it does no harm. It is noise shaping, for coefficients instead of samples. To
//! find it: make the basis of the lattice short and nearly orthogonal (Lenstra, Lenstra and Lovász,
//! 1982), then round one basis coordinate after the other (Babai, 1986).

/// Basis swaps before the reduction gives up.
const SWAPS_MAX: usize = 200_000;

/// One weighted equation: `sum(taps[i] * adds[i])` should be `wanted`.
pub(crate) struct Row {
    pub(crate) adds: Vec<f64>,
    pub(crate) wanted: f64,
    pub(crate) weight: f64,
}

/// A basis of all integer vectors, kept between searches: weights change little, so a reduced
/// basis stays nearly reduced.
pub(crate) struct Basis {
    /// `vectors[i]` is an integer vector of taps.
    vectors: Vec<Vec<i64>>,
}

impl Basis {
    pub(crate) fn new(taps: usize) -> Basis {
        let unit = |i: usize| (0..taps).map(|j| i64::from(i == j)).collect();
        Basis { vectors: (0..taps).map(unit).collect() }
    }

    /// The integer taps nearest to satisfying `rows`.
    pub(crate) fn nearest(&mut self, rows: &[Row]) -> Vec<i64> {
        let taps = self.vectors.len();
        let triangle = cholesky(&gram(rows, taps));
        let ideal = solve(&triangle, rows, taps);
        // Coordinates in which the weighted distance is the plain one: x -> R x.
        let image = |v: &[f64]| -> Vec<f64> {
            (0..taps).map(|i| (i..taps).map(|j| triangle[i][j] * v[j]).sum()).collect()
        };
        let mut points: Vec<Vec<f64>> = self
            .vectors
            .iter()
            .map(|v| image(&v.iter().map(|x| *x as f64).collect::<Vec<_>>()))
            .collect();
        reduce(&mut self.vectors, &mut points);
        self.nearest_plane(&points, image(&ideal))
    }

    /// Short integer vectors, as the last search left them: steps from one good filter to others.
    pub(crate) fn vectors(&self) -> &[Vec<i64>] {
        &self.vectors
    }

    /// Babai: walk down the basis, rounding the coordinate along each orthogonalised vector.
    fn nearest_plane(&self, points: &[Vec<f64>], mut target: Vec<f64>) -> Vec<i64> {
        let orthogonal = orthogonalise(points);
        let mut taps = vec![0_i64; self.vectors.len()];
        for i in (0..points.len()).rev() {
            let along = dot(&target, &orthogonal[i]) / dot(&orthogonal[i], &orthogonal[i]);
            let steps = along.round();
            for (t, p) in target.iter_mut().zip(&points[i]) {
                *t -= steps * p;
            }
            for (tap, v) in taps.iter_mut().zip(&self.vectors[i]) {
                *tap += steps as i64 * v;
            }
        }
        taps
    }
}

/// Lenstra-Lenstra-Lovász reduction of `points`, done to `vectors` alike.
fn reduce(vectors: &mut [Vec<i64>], points: &mut [Vec<f64>]) {
    let taps = points.len();
    let mut orthogonal = orthogonalise(points);
    let mut norms: Vec<f64> = orthogonal.iter().map(|o| dot(o, o)).collect();
    let (mut k, mut swaps) = (1, 0);
    while k < taps && swaps < SWAPS_MAX {
        for j in (0..k).rev() {
            let steps = (dot(&points[k], &orthogonal[j]) / norms[j]).round();
            if steps != 0.0 {
                let (lower, upper) = points.split_at_mut(k);
                upper[0].iter_mut().zip(&lower[j]).for_each(|(a, b)| *a -= steps * b);
                let (lower, upper) = vectors.split_at_mut(k);
                upper[0].iter_mut().zip(&lower[j]).for_each(|(a, b)| *a -= steps as i64 * b);
            }
        }
        let slope = dot(&points[k], &orthogonal[k - 1]) / norms[k - 1];
        if norms[k] >= (0.99 - slope * slope) * norms[k - 1] {
            k += 1;
            continue;
        }
        points.swap(k, k - 1);
        vectors.swap(k, k - 1);
        swaps += 1;
        for i in k - 1..=k {
            orthogonal[i] = rest(&points[i], &orthogonal[..i], &norms);
            norms[i] = dot(&orthogonal[i], &orthogonal[i]);
        }
        k = (k - 1).max(1);
    }
}

fn orthogonalise(points: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut orthogonal: Vec<Vec<f64>> = Vec::with_capacity(points.len());
    let mut norms = Vec::with_capacity(points.len());
    for point in points {
        let next = rest(point, &orthogonal, &norms);
        norms.push(dot(&next, &next));
        orthogonal.push(next);
    }
    orthogonal
}

/// What of `point` is orthogonal to all of `below`.
fn rest(point: &[f64], below: &[Vec<f64>], norms: &[f64]) -> Vec<f64> {
    let mut rest = point.to_vec();
    for (o, norm) in below.iter().zip(norms) {
        let along = dot(&rest, o) / norm;
        rest.iter_mut().zip(o).for_each(|(r, o)| *r -= along * o);
    }
    rest
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn gram(rows: &[Row], taps: usize) -> Vec<Vec<f64>> {
    let mut gram = vec![vec![0.0; taps]; taps];
    for row in rows {
        let w = row.weight * row.weight;
        for (i, line) in gram.iter_mut().enumerate() {
            let wi = w * row.adds[i];
            line[i..].iter_mut().zip(&row.adds[i..]).for_each(|(sum, add)| *sum += wi * add);
        }
    }
    gram
}

/// The upper triangle R with R^T R = `gram` (whose upper half alone is read).
fn cholesky(gram: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = gram.len();
    let mut r = vec![vec![0.0; n]; n];
    for i in 0..n {
        let mut diagonal = gram[i][i];
        for above in &r[..i] {
            diagonal -= above[i] * above[i];
        }
        let root = diagonal.max(1e-30).sqrt();
        r[i][i] = root;
        for j in i + 1..n {
            let mut sum = gram[i][j];
            for above in &r[..i] {
                sum -= above[i] * above[j];
            }
            r[i][j] = sum / root;
        }
    }
    r
}

/// The real-valued taps of least weighted squared error: R^T R x = B^T W W wanted.
fn solve(r: &[Vec<f64>], rows: &[Row], taps: usize) -> Vec<f64> {
    let mut x = vec![0.0; taps];
    for row in rows {
        let w = row.weight * row.weight * row.wanted;
        x.iter_mut().zip(&row.adds).for_each(|(x, a)| *x += w * a);
    }
    for i in 0..taps {
        let known: f64 = (0..i).map(|j| r[j][i] * x[j]).sum();
        x[i] = (x[i] - known) / r[i][i];
    }
    for i in (0..taps).rev() {
        let known: f64 = (i + 1..taps).map(|j| r[i][j] * x[j]).sum();
        x[i] = (x[i] - known) / r[i][i];
    }
    x
}
