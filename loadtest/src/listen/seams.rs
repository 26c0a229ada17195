//! What lies between the runs: audio missing, doubled, put in between.
//!
//! In:       the runs of one direction of a call, in the order heard; what was said and heard;
//!           which stretches of what was said may end early.
//! Out:      an [`Account`].
//! Bounds:   one step over the runs.
//! Not here: finding the runs (`place`), noise and most clicks (`compare`).
//!
//! Between two runs the place heard goes on by a *hole*, and the place said by a *stretch*. A
//! stretch without a hole is missing; one that goes back was heard twice; a hole without a stretch
//! was put in between; both together are audio replaced by something else. How much, follows from
//! the difference of the two lags and is exact; where, is exact to 2.5 ms. The filters blur a seam:
//! a hole below [`BLUR`] is none. A doubling below 10 ms can look like something put in between.
//!
//! Silence is nobody's loss: only what is louder than [`VOICED`] counts, and between two turns, or
//! in a pause of the caller, a relay may put in as much silence as it likes.

use std::ops::Range;

use super::Faults;
use super::band::{CELL, mean_square};
use super::place::{Pair, Run};

/// The mean square of a cell that can be missed: 20 of 32,768. A caller's pauses are louder.
const VOICED: f32 = 400.0;

/// A hole shorter than this is the blur of a seam, in samples: 8 ms.
const BLUR: f64 = 64.0;

/// Places closer than this are the same, in samples: 5 ms.
const SAME: f64 = 40.0;

/// Voiced audio shorter than this is not counted, in samples: 2 ms.
const LEAST: f64 = 16.0;

/// Sound that nobody said, before the first run or behind the last, counts from here on, in
/// samples: 40 ms.
const FOREIGN: usize = 320;

/// What was heard of what was said, in samples at 8 kHz.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account {
    /// Said, silence not counted.
    pub(super) said: f64,
    /// Never heard, before the first that was.
    pub(super) head: Range<f64>,
    /// Never heard, behind the last that was.
    pub(super) tail: Range<f64>,
    /// Not heard because it was void.
    pub(super) void: f64,
    /// Missing in between.
    pub(super) missing: Faults,
    /// Heard again.
    pub(super) doubled: Faults,
    /// Put in between.
    pub(super) inserted: Faults,
    /// Seams at which nothing is missing: something hit the audio.
    pub(super) clicks: u64,
}

/// What was said that may be missing to its end: an interrupted turn, or one cut by the end of its
/// connection or call. In samples at 8 kHz.
pub(super) type MayEndEarly = Range<f64>;

/// Accounts for everything said. `voids`: in order, not overlapping.
pub(super) fn account(pair: &Pair<'_>, runs: &[Run], voids: &[MayEndEarly]) -> Account {
    let said_len = pair.said.len() as f64;
    let mut account = Account { said: voiced(pair.said, &(0.0..said_len)), ..Account::default() };
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        account.head = 0.0..said_len;
        return account;
    };
    account.head = 0.0..first.said_range().start.max(0.0);
    account.tail = last.said_range().end.min(said_len)..said_len;
    if let Some(void) = ending(&account.tail, voids) {
        account.void += voiced(pair.said, &void);
        account.tail.end = void.start;
    }
    for seam in runs.windows(2) {
        account.seam(pair, &seam[0], &seam[1], voids);
    }
    for outside in [0..first.heard.start, last.heard.end..pair.heard.len()] {
        let loud = pair.heard[outside].chunks(CELL).filter(|cell| mean_square(cell) >= VOICED);
        let samples = loud.count() * CELL;
        if samples >= FOREIGN {
            account.inserted.add(samples as f64);
        }
    }
    account
}

impl Account {
    fn seam(&mut self, pair: &Pair<'_>, left: &Run, right: &Run, voids: &[MayEndEarly]) {
        let (from, to) = (left.said_range().end, right.said_range().start);
        let hole = left.heard.end..right.heard.start;
        let (stretch, length) = (to - from, hole.len() as f64);
        let jump = stretch - length;
        if jump.abs() < 1.0 && length < BLUR {
            let is_loud = mean_square(&pair.heard[hole]) >= VOICED;
            self.clicks += u64::from(is_loud);
        } else if jump < 0.0 && stretch.abs() <= SAME {
            self.put_in(pair, hole, -jump, from);
        } else if length < BLUR && jump > 0.0 {
            self.skip(pair, from..from + jump, voids);
        } else if length < BLUR {
            self.repeat(pair, to..to - jump);
        } else if stretch > 0.0 {
            if !self.skip(pair, from..to, voids) {
                self.put_in(pair, hole, length, from);
            }
        } else {
            self.repeat(pair, to..from);
            self.put_in(pair, hole, length, from);
        }
    }

    /// A stretch was not heard; true if some of it was void.
    fn skip(&mut self, pair: &Pair<'_>, stretch: Range<f64>, voids: &[MayEndEarly]) -> bool {
        let Some(void) = ending(&stretch, voids) else {
            self.missing.add(measured(pair.said, &stretch));
            return false;
        };
        self.void += voiced(pair.said, &void);
        self.missing.add(measured(pair.said, &(stretch.start..void.start)));
        self.missing.add(measured(pair.said, &(void.end..stretch.end)));
        true
    }

    fn repeat(&mut self, pair: &Pair<'_>, stretch: Range<f64>) {
        self.doubled.add(measured(pair.said, &stretch));
    }

    /// Something of this length was heard where what was said goes on from `place`.
    fn put_in(&mut self, pair: &Pair<'_>, hole: Range<usize>, length: f64, place: f64) {
        let is_silent = mean_square(&pair.heard[hole]) < VOICED;
        if !(is_silent && pauses_at(pair.said, place)) {
            self.inserted.add(length);
        }
    }
}

/// The part of a stretch that lies at the end of one that may end early.
fn ending(stretch: &Range<f64>, voids: &[MayEndEarly]) -> Option<Range<f64>> {
    let reached = |void: &&MayEndEarly| stretch.start < void.end && stretch.end + SAME >= void.end;
    let mut ends = voids.iter().filter(reached);
    let first = ends.next()?;
    // Interrupted turns that were not heard at all lie behind one another.
    let last = ends.next_back().unwrap_or(first);
    Some(stretch.start.max(first.start)..last.end.min(stretch.end))
}

/// What is voiced in a stretch: all of it, to the fraction of a sample, where nearly all is.
fn measured(said: &[f32], stretch: &Range<f64>) -> f64 {
    let (voiced, length) = (voiced(said, stretch), stretch.end - stretch.start);
    if voiced > length * 0.8 { length } else { voiced }
}

/// How many samples of a stretch lie in cells that are voiced.
pub(super) fn voiced(said: &[f32], stretch: &Range<f64>) -> f64 {
    let from = stretch.start.max(0.0) as usize;
    let to = (stretch.end.max(0.0) as usize).min(said.len());
    let cells = said.get(from..to).unwrap_or_default().chunks(CELL);
    cells.filter(|cell| mean_square(cell) >= VOICED).map(|cell| cell.len() as f64).sum()
}

/// True if there is a pause within 10 ms of a place.
fn pauses_at(said: &[f32], place: f64) -> bool {
    let place = (place.max(0.0) as usize).min(said.len());
    let around = &said[place.saturating_sub(2 * CELL)..(place + 2 * CELL).min(said.len())];
    around.windows(CELL / 2).step_by(CELL / 4).any(|window| mean_square(window) < VOICED)
        || around.len() < 4 * CELL
}

impl Faults {
    /// One more, of so many samples at 8 kHz, unless it is too short to be one.
    fn add(&mut self, samples: f64) {
        if samples >= LEAST {
            self.count += 1;
            self.ms += samples / 8.0;
        }
    }
}
