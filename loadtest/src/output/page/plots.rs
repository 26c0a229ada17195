//! Which plots a page has: percentiles each way, and the course of the run.
//!
//! In:       the documents of a page.
//! Out:      [`Plot`]s with their points.
//! Bounds:   those of the documents.
//! Not here: drawing (`output::plot`).

use super::super::document::Document;
use super::super::figures::duration;
use super::super::plot::{Axis, Curve, Mark, Plot, Stroke};
use super::name_of;
use crate::recording::distribution::Distribution;
use crate::recording::series::{Row, Slice};
use crate::recording::{Distributions, Recording};
use crate::report::LATENESS_NANOS_MAX;

/// The percentiles that a curve is marked at: 1/(1-p), and their names.
const MARKED: [(f64, &str); 6] =
    [(2.0, "p50"), (1e1, "p90"), (1e2, "p99"), (1e3, "p99.9"), (1e4, "p99.99"), (1e5, "p99.999")];

/// One direction of a recording.
type OfDirection = fn(&Recording) -> &Distributions;

/// One figure of a row, in microseconds.
type OfSlice = fn(&Slice) -> f64;

/// What a curve is of: its name, and what was recorded.
pub(super) type Recorded<'r> = (&'r str, &'r Recording);

/// Latency by percentile, a plot for each direction.
pub(super) fn percentiles(runs: &[Recorded<'_>]) -> Vec<Plot> {
    let of: [(&str, OfDirection); 2] = [
        ("Uplink: caller to model", |it| &it.uplink),
        ("Downlink: model to caller", |it| &it.downlink),
    ];
    let all = || runs.iter().map(|&(_, recording)| recording);
    let pieces = all().flat_map(|it| [it.uplink.corrected.count(), it.downlink.corrected.count()]);
    let x = Axis::percentiles(pieces.max().unwrap_or(0));
    // One scale for both directions: they are to be compared. The quickest twentieth may lie below
    // it: what is heard while its send returns took next to no time.
    let drawn = all()
        .flat_map(|it| [&it.uplink, &it.downlink])
        .flat_map(|it| [&it.corrected, &it.uncorrected]);
    let ends = drawn.filter(|it| it.count() > 0).flat_map(|it| {
        [it.histogram().value_at_quantile(0.05) as f64, it.histogram().max() as f64]
    });
    let y = Axis::latency("latency", ends);
    of.into_iter()
        .map(|(title, direction)| {
            let mut plot = Plot::new(title, x.clone(), y.clone());
            for (number, &(run, recording)) in runs.iter().enumerate() {
                let latencies = direction(recording);
                for (kind, distribution, stroke) in [
                    ("uncorrected", &latencies.uncorrected, Stroke::Dashed),
                    ("corrected", &latencies.corrected, Stroke::Solid),
                ] {
                    let name = format!("{run}, {kind}");
                    plot.curves.push(Curve {
                        name,
                        run: number,
                        stroke,
                        points: steps(distribution),
                    });
                }
                plot.marks.extend(marks(number, run, &latencies.corrected));
            }
            plot
        })
        .collect()
}

/// The steps of a distribution over 1/(1-p): each latency over the shares that it is the
/// percentile of. The last piece stands where its share begins.
fn steps(distribution: &Distribution) -> Vec<(f64, f64)> {
    let count = distribution.count() as f64;
    let mut points = Vec::new();
    let mut from = 1.0;
    for (latency, counted) in distribution.steps() {
        let left = count - counted as f64;
        let to = if left > 0.0 { count / left } else { from };
        points.extend([(from, latency as f64), (to, latency as f64)]);
        from = to;
    }
    points
}

fn marks(run: usize, name: &str, distribution: &Distribution) -> Vec<Mark> {
    let count = distribution.count() as f64;
    let known = MARKED.into_iter().filter(|(inverse, _)| *inverse <= count);
    known
        .map(|(inverse, percentile)| {
            let latency = distribution.histogram().value_at_quantile(1.0 - 1.0 / inverse) as f64;
            let name = format!("{name}, {percentile}: {}", duration(latency));
            Mark { run, at: (inverse, latency), name, hollow: false }
        })
        .collect()
}

/// The course of the runs; nothing where none has rows.
pub(super) fn course(runs: &[Document]) -> Vec<Plot> {
    let ends = runs.iter().map(|run| {
        let series = &run.report.recording.series;
        series.rows.last().map_or(0, |row| row.at_s + series.row_s)
    });
    let end = ends.max().unwrap_or(0);
    if end == 0 {
        return Vec::new();
    }
    let course = Course { runs, x: Axis::seconds(end as f64) };
    let mib = |kib: u64| kib as f64 / 1024.0;
    let plots = [
        course.of_slices("Uplink latency, corrected", |row| row.uplink, None),
        course.of_slices("Downlink latency, corrected", |row| row.downlink, None),
        course.of_amounts("Calls talking, the most at once", "calls", &|row| {
            [Some(row.talking as f64), None]
        }),
        course.of_amounts("CPU: relay solid, load test dashed", "cores", &|row| {
            [row.relay_cores, row.own_cores]
        }),
        course.of_slices("Lateness of the load itself", |row| row.own_lateness, Some(())),
        course.of_amounts("Resident memory of the relay", "MiB", &|row| {
            [row.relay_rss_kib.map(mib), None]
        }),
    ];
    plots.into_iter().filter(|plot| !plot.curves.is_empty()).collect()
}

struct Course<'r> {
    runs: &'r [Document],
    x: Axis,
}

impl Course<'_> {
    /// Median, 99 % and the longest, in every row; with the bound of the load's own lateness.
    fn of_slices(&self, title: &str, slice: fn(&Row) -> Option<Slice>, bound: Option<()>) -> Plot {
        let kinds: [(&str, Stroke, OfSlice); 3] = [
            ("max", Stroke::Dots, |it| it.max_us),
            ("p50", Stroke::Thin, |it| it.p50_us),
            ("p99", Stroke::Solid, |it| it.p99_us),
        ];
        let mut curves = Vec::new();
        for (kind, stroke, us) in kinds {
            for number in 0..self.runs.len() {
                let value = |row: &Row| slice(row).map(|slice| us(&slice) * 1e3);
                curves.extend(self.curve(number, kind, stroke, &value));
            }
        }
        let bound = bound.map(|()| LATENESS_NANOS_MAX as f64);
        let values = curves.iter().flat_map(|curve| &curve.points).map(|&(_, y)| y);
        let y = Axis::latency("time", values.chain(bound));
        let bound = bound.map(|it| (it, format!("bound on the p99.9: {}", duration(it))));
        let thresholds = bound.into_iter().collect();
        Plot { curves, thresholds, ..Plot::new(title, self.x.clone(), y) }
    }

    /// One or two amounts in every row: of the relay, and of the load test.
    fn of_amounts(
        &self,
        title: &str,
        label: &str,
        amounts: &dyn Fn(&Row) -> [Option<f64>; 2],
    ) -> Plot {
        let mut curves = Vec::new();
        for (place, kind, stroke) in [(0, "relay", Stroke::Solid), (1, "load test", Stroke::Dashed)]
        {
            for number in 0..self.runs.len() {
                let value = |row: &Row| amounts(row)[place];
                curves.extend(self.curve(number, kind, stroke, &value));
            }
        }
        let values = curves.iter().flat_map(|curve| &curve.points).map(|&(_, y)| y);
        let most = values.filter(|y| y.is_finite()).fold(0.0, f64::max);
        Plot { curves, ..Plot::new(title, self.x.clone(), Axis::amount(label, most)) }
    }

    /// A value in the middle of each row that has one; `None` where no row has.
    fn curve(
        &self,
        number: usize,
        kind: &str,
        stroke: Stroke,
        value: &dyn Fn(&Row) -> Option<f64>,
    ) -> Option<Curve> {
        let run = &self.runs[number];
        let series = &run.report.recording.series;
        let half = series.row_s as f64 / 2.0;
        let point = |row: &Row| (row.at_s as f64 + half, value(row).unwrap_or(f64::NAN));
        let points: Vec<_> = series.rows.iter().map(point).collect();
        points.iter().any(|(_, y)| y.is_finite()).then(|| Curve {
            name: format!("{}, {kind}", name_of(run)),
            run: number,
            stroke,
            points,
        })
    }
}
