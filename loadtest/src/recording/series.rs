//! The course of a run, in rows of equal length.
//!
//! In:       what was planned when and how long it took; when streams were open; samples of
//!           processes. All of it after the run, from the records.
//! Out:      a [`Series`].
//! Bounds:   [`ROWS_MAX`] rows: a row is as many seconds long as that takes. What lies further out
//!           than [`SPAN_MAX`] is left out.
//! Not here: taking the samples (`usage`), drawing (`output`).
//!
//! A piece belongs to the row in which it was planned, whenever it was heard: a stall shows where
//! it began. Percentiles of a row are exact, by nearest rank over its pieces.

use serde::{Deserialize, Serialize};

use super::usage::Sample;
use crate::clock::{Nanos, SECONDS};

/// The most rows of a series.
pub const ROWS_MAX: u64 = 900;

/// The longest course that is told: a day.
pub const SPAN_MAX: Nanos = 86_400 * SECONDS;

/// A time and something that took a time: planned, and how long.
pub type Piece = (Nanos, Nanos);

/// The course of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// How long a row is, in seconds.
    pub row_s: u64,
    /// The rows, from the start of the first call on.
    pub rows: Vec<Row>,
    /// The start of the first call, on the clock of the run.
    #[serde(skip)]
    began: Nanos,
}

/// What happened in one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Where it begins, in seconds from the start of the first call.
    pub at_s: u64,
    /// The most streams that were open at once.
    pub talking: u64,
    /// Caller to model, from the planned time.
    pub uplink: Option<Slice>,
    /// Model to caller, from the planned time.
    pub downlink: Option<Slice>,
    /// How late the load itself was, both directions together.
    pub own_lateness: Option<Slice>,
    /// CPU of the relay in cores: 1 is one core used up.
    pub relay_cores: Option<f64>,
    /// CPU of callers and stand-in in cores.
    pub own_cores: Option<f64>,
    /// Resident memory of the relay, in KiB.
    pub relay_rss_kib: Option<u64>,
}

/// The times of one row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// How many.
    pub pieces: u64,
    /// The median, in microseconds.
    pub p50_us: f64,
    /// 99 %, in microseconds.
    pub p99_us: f64,
    /// The longest, in microseconds.
    pub max_us: f64,
}

impl Slice {
    /// `None` of nothing.
    fn of(times: &mut [Nanos]) -> Option<Slice> {
        times.sort_unstable();
        let &longest = times.last()?;
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        let us = |time: Nanos| time as f64 / 1e3;
        Some(Slice {
            pieces: times.len() as u64,
            p50_us: us(rank(50)),
            p99_us: us(rank(99)),
            max_us: us(longest),
        })
    }
}

/// What the course of a run is told from.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// When each stream was opened and closed.
    pub open: Vec<(Nanos, Nanos)>,
    /// Latencies, caller to model.
    pub uplink: Vec<Piece>,
    /// Latencies, model to caller.
    pub downlink: Vec<Piece>,
    /// Lateness of the load.
    pub own_lateness: Vec<Piece>,
}

impl Series {
    /// The course of a run whose first call began at `began`.
    pub fn of(began: Nanos, told: &Told) -> Series {
        let pieces = told.uplink.iter().chain(&told.downlink).chain(&told.own_lateness);
        let ends = pieces.map(|&(at, _)| at).chain(told.open.iter().map(|&(_, to)| to));
        let Some(end) = ends.map(|at| at.saturating_sub(began)).filter(|&at| at < SPAN_MAX).max()
        else {
            return Series { began, ..Series::default() };
        };
        let seconds = end / SECONDS + 1;
        let row_s = seconds.div_ceil(ROWS_MAX);
        let count = seconds.div_ceil(row_s) as usize;
        let mut series = Series { row_s, rows: Vec::new(), began };
        let split = |pieces: &[Piece]| series.split(count, pieces);
        let [uplink, downlink, late] =
            [&told.uplink, &told.downlink, &told.own_lateness].map(|pieces| split(pieces));
        let talking = series.talking(count, &told.open);
        let rows = uplink.into_iter().zip(downlink).zip(late).zip(talking).enumerate();
        series.rows = rows
            .map(|(row, (((uplink, downlink), own_lateness), talking))| Row {
                at_s: row as u64 * row_s,
                talking,
                uplink,
                downlink,
                own_lateness,
                ..Row::default()
            })
            .collect();
        series
    }

    /// The row of a time; `None` before the first.
    fn row(&self, at: Nanos) -> Option<usize> {
        Some((at.checked_sub(self.began)? / (self.row_s.max(1) * SECONDS)) as usize)
    }

    fn split(&self, count: usize, pieces: &[Piece]) -> Vec<Option<Slice>> {
        let mut times: Vec<Vec<Nanos>> = vec![Vec::new(); count];
        for &(at, took) in pieces {
            if let Some(times) = self.row(at).and_then(|row| times.get_mut(row)) {
                times.push(took);
            }
        }
        times.iter_mut().map(|times| Slice::of(times)).collect()
    }

    /// The most streams open at once in each row.
    fn talking(&self, count: usize, open: &[(Nanos, Nanos)]) -> Vec<u64> {
        let begun = open.iter().map(|&(from, _)| (from, true));
        let mut changes: Vec<_> = begun.chain(open.iter().map(|&(_, to)| (to, false))).collect();
        changes.sort_unstable();
        let mut changes = changes.into_iter().peekable();
        let mut now = 0u64;
        (0..count)
            .map(|row| {
                let mut most = now;
                while let Some((_, begins)) =
                    changes.next_if(|&(at, _)| self.row(at).is_none_or(|it| it <= row))
                {
                    // At one moment ends come before beginnings.
                    now = if begins { now + 1 } else { now.saturating_sub(1) };
                    most = most.max(now);
                }
                most
            })
            .collect()
    }

    /// Adds what processes used: each row gets the mean between the last samples before its end and
    /// before its start.
    pub fn set_usage(&mut self, samples: &[Sample]) {
        let mut last_of: Vec<Option<&Sample>> = vec![None; self.rows.len()];
        let mut before = None;
        for sample in samples {
            match self.row(sample.at) {
                None => before = Some(sample),
                Some(row) if row < last_of.len() => last_of[row] = Some(sample),
                Some(_) => {}
            }
        }
        for (row, last) in self.rows.iter_mut().zip(last_of) {
            let Some(last) = last else { continue };
            if let Some(before) = before {
                row.relay_cores = last.relay.cores_since(before.relay, last.at - before.at);
                row.own_cores = last.own.cores_since(before.own, last.at - before.at);
            }
            row.relay_rss_kib = last.relay_rss_kib;
            before = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::usage::Cpu;
    use super::*;
    use crate::clock::MILLIS;

    #[test]
    fn a_piece_counts_in_the_second_it_was_planned_in() {
        let began = 5 * SECONDS;
        let uplink = vec![
            (began, 100_000),
            (began + 999 * MILLIS, 2_000 * MILLIS),
            (began + 2_000 * MILLIS, 300_000),
            // Before the first call began: in no row.
            (began - 1, 9),
        ];
        let series = Series::of(began, &Told { uplink, ..Told::default() });
        assert_eq!((series.row_s, series.rows.len()), (1, 3));
        let of = |row: usize| series.rows[row].uplink;
        let first = of(0).unwrap();
        assert_eq!((first.pieces, first.p50_us, first.max_us), (2, 100.0, 2e6));
        assert_eq!(of(1), None);
        assert_eq!(of(2).unwrap().p99_us, 300.0);
    }

    #[test]
    fn percentiles_of_a_row_are_by_nearest_rank() {
        let mut times: Vec<Nanos> = (1..=200).rev().map(|n| n * 1000).collect();
        let slice = Slice::of(&mut times).unwrap();
        assert_eq!((slice.p50_us, slice.p99_us, slice.max_us), (100.0, 198.0, 200.0));
        assert_eq!(Slice::of(&mut []), None);
    }

    #[test]
    fn the_most_streams_open_at_once_are_told() {
        let open = vec![
            (0, 2_500 * MILLIS),
            (100 * MILLIS, 900 * MILLIS),
            // One follows another: they were never open together.
            (900 * MILLIS, 1_100 * MILLIS),
        ];
        let series = Series::of(0, &Told { open, ..Told::default() });
        let talking: Vec<u64> = series.rows.iter().map(|row| row.talking).collect();
        assert_eq!(talking, [2, 2, 1]);
    }

    #[test]
    fn a_long_run_has_longer_rows_and_not_more_of_them() {
        let uplink = vec![(0, 1), (3 * 3600 * SECONDS, 1), (2 * SPAN_MAX, 1)];
        let series = Series::of(0, &Told { uplink, ..Told::default() });
        assert_eq!(series.row_s, 13);
        assert!(series.rows.len() as u64 <= ROWS_MAX);
        assert_eq!(series.rows.last().unwrap().uplink.unwrap().pieces, 1);
        assert!(Series::of(0, &Told::default()).rows.is_empty());
    }

    #[test]
    fn what_a_process_used_is_the_mean_of_its_row() {
        let began = SECONDS;
        let uplink = vec![(began, 1), (began + 2 * SECONDS, 1)];
        let mut series = Series::of(began, &Told { uplink, ..Told::default() });
        let sample = |at: Nanos, us: u64| Sample {
            at,
            relay: Cpu { us: Some(us) },
            own: Cpu { us: None },
            relay_rss_kib: Some(us),
        };
        series.set_usage(&[
            sample(0, 0),
            sample(began + SECONDS / 2, 600_000),
            sample(began + SECONDS * 5 / 2, 1_000_000),
        ]);
        let cores: Vec<_> = series.rows.iter().map(|row| row.relay_cores).collect();
        assert_eq!(cores, [Some(0.4), None, Some(0.2)]);
        assert_eq!(series.rows[0].own_cores, None);
        assert_eq!(series.rows[2].relay_rss_kib, Some(1_000_000));
    }
}
