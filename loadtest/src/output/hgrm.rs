//! Percentile distributions as text: the `.hgrm` form of HdrHistogram, which its plotter and other
//! tools read.
//!
//! In:       a [`Recording`].
//! Out:      one file for each direction and kind, values in milliseconds.
//! Bounds:   [`TICKS_PER_HALF`] lines from each halving of what is left of 100 % to the next: some
//!           150 lines for a million pieces.
//! Not here: plots of our own (`plot`).
//!
//! The form is that of `AbstractHistogram.outputPercentileDistribution` of the Java library: value,
//! percentile from 0 to 1, how many are no longer, 1/(1-percentile); the line of 100 % has no last
//! column.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use crate::recording::Recording;
use crate::recording::distribution::Distribution;

/// Lines from one halving to the next, as that library has them.
pub const TICKS_PER_HALF: u32 = 5;

/// Writes every distribution of a recording into `directory`, which is made if it is missing;
/// returns the files. A distribution of nothing makes none.
pub fn write(directory: &Path, recording: &Recording) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory)?;
    let mut files = Vec::new();
    for (direction, of_direction) in
        [("uplink", &recording.uplink), ("downlink", &recording.downlink)]
    {
        for (kind, distribution) in of_direction.named() {
            if distribution.count() > 0 {
                let file = directory.join(format!("{direction}-{kind}.hgrm"));
                std::fs::write(&file, text(distribution))?;
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// One distribution as text.
pub fn text(distribution: &Distribution) -> String {
    let histogram = distribution.histogram();
    let ms = |nanos: f64| nanos / 1e6;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut counted = 0;
    let mut line = |value: u64, percentile: f64, counted: u64| {
        let value = ms(value as f64);
        // Writing to a String cannot fail.
        let _ = match percentile < 1.0 {
            true => {
                let inverse = 1.0 / (1.0 - percentile);
                writeln!(text, "{value:12.3} {percentile:.12} {counted:>10} {inverse:14.2}")
            }
            false => writeln!(text, "{value:12.3} {percentile:.12} {counted:>10}"),
        };
    };
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        counted += step.count_since_last_iteration();
        line(step.value_iterated_to(), step.quantile_iterated_to(), counted);
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    let (max, count) = (ms(histogram.max() as f64), histogram.len());
    let (buckets, halves) = shape(histogram);
    let _ = write!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {count:12}]\n\
         #[Buckets = {buckets:12}, SubBuckets     = {halves:12}]\n"
    );
    text
}

/// Buckets of the memory behind a histogram, and the values that each tells apart: twice as many as
/// its digits do, as a power of two.
fn shape(histogram: &Histogram<u64>) -> (u64, u64) {
    let told_apart = 2 * 10u64.pow(histogram.sigfig().into());
    (histogram.buckets().into(), told_apart.next_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Vec<f64>> {
        let lines = text.lines().skip(2).filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_whitespace().map(|it| it.parse().unwrap()).collect()).collect()
    }

    #[test]
    fn the_last_line_holds_all_pieces_and_the_longest() {
        let times: Vec<u64> = (1..=10_000).map(|n| n * 1_000_000).collect();
        let distribution = Distribution::of(&times);
        let text = text(&distribution);
        let lines = lines(&text);
        let last = lines.last().unwrap();
        assert_eq!(last[1..], [1.0, 10_000.0]);
        assert!((last[0] - 10_000.0).abs() < 10.0, "{last:?}");
        assert!(text.contains("Total count    =        10000]"), "{text}");
    }

    #[test]
    fn every_line_counts_what_its_percentile_says() {
        let times: Vec<u64> = (1..=10_000).map(|n| n * 1_000_000).collect();
        let lines = lines(&text(&Distribution::of(&times)));
        assert!(lines.len() > 60, "{}", lines.len());
        assert!(lines.is_sorted());
        for line in &lines[..lines.len() - 1] {
            let [value, percentile, counted, inverse] = line[..] else { panic!("{line:?}") };
            // Values are whole milliseconds: each is its own count, to three digits.
            assert!((value - counted).abs() <= counted / 1000.0 + 0.001, "{line:?}");
            assert!(counted / 10_000.0 >= percentile - 1e-9, "{line:?}");
            assert!((inverse * (1.0 - percentile) - 1.0).abs() < 0.01, "{line:?}");
        }
    }

    #[test]
    fn nothing_measured_leaves_no_file() {
        let directory = crate::relay::Directory::new().unwrap();
        let mut recording = Recording::default();
        recording.downlink.corrected = Distribution::of(&[1_000_000]);
        let files = write(directory.path(), &recording).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["downlink-corrected.hgrm"]);
        assert!(std::fs::read_to_string(&files[0]).unwrap().contains("1.000000000000"));
    }
}
