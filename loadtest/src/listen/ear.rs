//! One direction of one call: what was said, what was heard, and when.
//!
//! In:       [`Said`] and [`Heard`], at any rates.
//! Out:      a [`Hearing`].
//! Bounds:   memory of a few times the audio, given back at the end.
//! Not here: making both from records (`said`), adding up calls (`sum`).

use std::collections::BTreeMap;
use std::ops::Range;

use realfft::RealFftPlanner;

use super::band::{Banded, Filter, RATE};
use super::compare::{Comparison, Likeness};
use super::kernel::Kernel;
use super::place::{Pair, Run};
use super::seams::{self, Account};
use super::search::Search;
use crate::clock::{MILLIS, Nanos};
use crate::verify::Latencies;

/// What was sent this long before a message arrives was to have been heard, or is held back: half a
/// frame, so that the way there is not taken for holding.
const GRACE: Nanos = 10 * MILLIS;

/// How much of a piece must have been heard to say when, of all of it.
const HEARD_SHARE: f64 = 0.5;

/// What was said in one direction of a call.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Linear PCM.
    pub pcm: Vec<i16>,
    /// Its rate in hertz.
    pub rate: u32,
    /// What each message brought, in order.
    pub pieces: Vec<Piece>,
    /// Stretches that may be missing to their ends, in samples at 8 kHz.
    pub voids: Vec<Range<f64>>,
    /// Stretches that are looked for in what was heard, in samples at 8 kHz.
    pub sought: Vec<Range<f64>>,
}

/// What one message of the speaker brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Where it begins, in samples at 8 kHz.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// When it was planned.
    pub planned: Nanos,
    /// When it was handed to the socket.
    pub sent: Nanos,
    /// Whether it counts.
    pub kind: PieceKind,
}

/// Whether the latency of a piece counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// It does.
    Counted,
    /// It was planned before the other side was ready.
    Early,
    /// It came further ahead of real time than a relay passes on.
    Paced,
}

impl Piece {
    /// True if any of it is in this stretch.
    fn touches(&self, stretch: &Range<f64>) -> bool {
        self.from < stretch.end && stretch.start < self.to
    }
}

/// What was heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Linear PCM.
    pub pcm: Vec<i16>,
    /// Its rate in hertz; 0 if nothing was heard.
    pub rate: u32,
    /// When audio came, and how many samples there were with it.
    pub arrivals: Vec<(Nanos, u64)>,
    /// These are times of reading late: they tell no latency.
    pub read_late: bool,
}

/// What the ear made of one direction of one call.
#[derive(Clone, Debug, Default)]
pub struct Hearing {
    pub(super) account: Account,
    pub(super) likeness: Likeness,
    /// Said before the other side was ready, and not heard from the beginning; samples at 8 kHz.
    pub(super) early: f64,
    /// Not heard from the beginning, and said later.
    pub(super) head: f64,
    /// Not heard from the end.
    pub(super) tail: f64,
    /// True if anything was found.
    pub(super) found: bool,
    /// When its pieces were heard.
    pub(super) latencies: Latencies,
    /// What was held before each message, in milliseconds.
    pub(super) held_ms: Vec<f64>,
    /// Where each stretch that was sought was heard, in samples at 8 kHz; `None`: nowhere.
    pub(super) places: Vec<Option<Range<f64>>>,
}

/// The tools of the ear, made once.
pub struct Ear {
    planner: RealFftPlanner<f32>,
    filters: BTreeMap<u32, Option<Filter>>,
    kernel: Kernel,
    search: Search,
    comparison: Comparison,
}

impl Default for Ear {
    fn default() -> Ear {
        Ear::new()
    }
}

impl Ear {
    /// Makes the tables.
    pub fn new() -> Ear {
        let mut planner = RealFftPlanner::new();
        Ear {
            filters: BTreeMap::new(),
            kernel: Kernel::new(),
            search: Search::new(&mut planner),
            comparison: Comparison::new(&mut planner),
            planner,
        }
    }

    /// The band of audio; empty at a rate that cannot be compared.
    pub(super) fn band(&mut self, pcm: &[i16], rate: u32) -> Banded {
        let planner = &mut self.planner;
        let filter = self.filters.entry(rate).or_insert_with(|| Filter::new(rate, planner));
        filter.as_ref().map_or_else(Banded::default, |filter| filter.apply(pcm))
    }

    /// The search for stretches.
    pub(super) fn search(&mut self) -> &mut Search {
        &mut self.search
    }

    /// Listens to one direction of a call.
    pub fn listen(&mut self, said: &Said, heard: &Heard) -> Hearing {
        let of_said = self.band(&said.pcm, said.rate);
        let of_heard = self.band(&heard.pcm, heard.rate);
        let pair = Pair { said: &of_said.band, heard: &of_heard.band, kernel: &self.kernel };
        let runs = pair.runs(&mut self.search);
        let account = seams::account(&pair, &runs, &said.voids);
        // A voice at 8 kHz has nothing above its half.
        let images = said.rate == RATE && heard.rate > RATE;
        let mut likeness = self.comparison.compare(&pair, &runs, &of_heard, images);
        likeness.clicks += account.clicks;
        let ready = said.pieces.iter().find(|piece| piece.kind != PieceKind::Early);
        let ready = ready.map_or(f64::MAX, |piece| piece.from);
        let head = &account.head;
        let early = seams::voiced(pair.said, &(head.start..head.end.min(ready)));
        let late = seams::voiced(pair.said, &(head.start.max(ready)..head.end));
        let arrivals = Arrivals::of(heard);
        let mut hearing = Hearing {
            early,
            head: late,
            tail: seams::voiced(pair.said, &account.tail),
            found: !runs.is_empty(),
            places: said.sought.iter().map(|stretch| place_of(stretch, &runs)).collect(),
            account,
            likeness,
            ..Hearing::default()
        };
        hearing.time(said, &runs, &arrivals);
        if heard.read_late {
            hearing.latencies = std::mem::take(&mut hearing.latencies).untimed();
        } else {
            hearing.hold(&said.pieces, &runs, &arrivals);
        }
        hearing
    }
}

impl Hearing {
    /// When each piece was heard. One that was not, though it was to be, is counted.
    fn time(&mut self, said: &Said, runs: &[Run], arrivals: &Arrivals) {
        for piece in &said.pieces {
            match piece.kind {
                PieceKind::Early => self.latencies.early += 1,
                PieceKind::Paced => self.latencies.paced += 1,
                PieceKind::Counted => {
                    if let Some(heard) = heard_at(piece, runs, arrivals) {
                        self.latencies.count(piece.planned, piece.sent, heard);
                    } else if !said.voids.iter().any(|it| piece.touches(it)) {
                        self.latencies.unplaced += 1;
                    }
                }
            }
        }
    }

    /// What was held back when each message came.
    fn hold(&mut self, pieces: &[Piece], runs: &[Run], arrivals: &Arrivals) {
        for pair in arrivals.0.windows(2) {
            let ((_, before), (at, _)) = (pair[0], pair[1]);
            let place = runs.partition_point(|run| (run.heard.end as f64) < before);
            let run = runs.get(place).filter(|run| run.heard.start as f64 <= before);
            let sent = pieces.partition_point(|piece| piece.sent + GRACE <= at);
            let last = sent.checked_sub(1).map(|last| &pieces[last]);
            let last = last.filter(|piece| piece.kind == PieceKind::Counted);
            if let (Some(run), Some(last)) = (run, last) {
                let passed_on = before + run.lag(before);
                self.held_ms.push(((last.to - passed_on) / 8.0).max(0.0));
            }
        }
    }
}

/// Messages with the count of samples so far, at 8 kHz.
struct Arrivals(Vec<(Nanos, f64)>);

impl Arrivals {
    fn of(heard: &Heard) -> Arrivals {
        let scale = f64::from(RATE) / f64::from(heard.rate.max(1));
        Arrivals(heard.arrivals.iter().map(|&(at, to)| (at, to as f64 * scale)).collect())
    }

    /// The times of arrival of a stretch, each times its samples; and the samples.
    fn weigh(&self, stretch: Range<f64>) -> (f64, f64) {
        let (mut times, mut samples) = (0.0, 0.0);
        let mut from = stretch.start;
        let first = self.0.partition_point(|&(_, to)| to <= stretch.start);
        for &(at, to) in &self.0[first..] {
            let part = to.min(stretch.end) - from;
            if part <= 0.0 {
                break;
            }
            times += part * at as f64;
            samples += part;
            from = to;
        }
        (times, samples)
    }
}

/// From the first to the last that was heard of a stretch.
fn place_of(stretch: &Range<f64>, runs: &[Run]) -> Option<Range<f64>> {
    let of_run = runs.iter().filter_map(|run| {
        let said = run.said_range();
        let (start, end) = (stretch.start.max(said.start), stretch.end.min(said.end));
        (start < end).then(|| run.heard_of(start)..run.heard_of(end))
    });
    of_run.reduce(|all, part| all.start.min(part.start)..all.end.max(part.end))
}

/// The mean time at which the samples of a piece were heard for the first time.
fn heard_at(piece: &Piece, runs: &[Run], arrivals: &Arrivals) -> Option<Nanos> {
    let (mut times, mut samples) = (0.0, 0.0);
    let mut from = piece.from;
    for run in runs {
        let said = run.said_range();
        let (start, end) = (from.max(said.start), piece.to.min(said.end));
        if end <= start {
            continue;
        }
        let (of_run, count) = arrivals.weigh(run.heard_of(start)..run.heard_of(end));
        times += of_run;
        samples += count;
        from = end;
    }
    let needed = HEARD_SHARE * (piece.to - piece.from);
    (samples > 0.0 && samples >= needed).then(|| (times / samples) as Nanos)
}
