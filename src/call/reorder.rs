//! Puts a carrier's audio back into the order it was spoken in, where the carrier does not promise
//! it.
//!
//! In:       pieces of audio with their numbers.
//! Out:      the same, each at once if it is the next, else when those before it have come.
//! Bounds:   [`HELD_MAX`] pieces wait, each for [`HELD_FOR`]; with one more, and after that, those
//!           that are missing count as lost. A number further than [`WINDOW`] from the expected one
//!           begins a new count: what waits goes on before it.
//! Not here: how long audio waits for the model (`uplink`).

use std::time::Duration;

use crate::clock::Nanos;

/// Pieces that wait for one before them: at 20 ms each, 80 ms.
pub const HELD_MAX: usize = 4;
/// How long one waits, whether others come or not.
pub const HELD_FOR: Duration = Duration::from_millis(100);
/// How far a number may be from the expected one to belong to the same count.
pub const WINDOW: u64 = 64;

/// Pieces that came too early, and the place that is due.
///
/// Places go on where a count begins anew: a piece's place is its number and what lies between the
/// counts.
#[derive(Debug, Default)]
pub struct Reorder {
    next: Option<u64>,
    /// From a number to its place.
    shift: u64,
    held: Vec<Held>,
    /// Everything that waits goes on, gaps and all.
    flushes: bool,
    /// Room of pieces that have gone on, for those to come.
    spare: Vec<Vec<u8>>,
}

/// A piece that came too early.
#[derive(Debug)]
struct Held {
    place: u64,
    since: Nanos,
    timestamp_ms: Option<u64>,
    audio: Vec<u8>,
}

/// Where a piece that has come stands in the order, and so what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next: it goes on now, and those that waited for it may follow.
    InOrder,
    /// It waits for others; one that begins a new count for no others than those that wait, and
    /// they follow.
    Early,
    /// Its place has gone by, or another waits for it already.
    Late,
}

impl Reorder {
    /// A piece of this number has come.
    pub fn take(
        &mut self,
        now: Nanos,
        chunk: u64,
        timestamp_ms: Option<u64>,
        audio: &[u8],
    ) -> Arrival {
        let next = *self.next.get_or_insert(chunk);
        let mut place = chunk.wrapping_add(self.shift);
        if ahead(next, place).unsigned_abs() > WINDOW {
            let last = self.held.iter().map(|held| held.place).max_by_key(|&at| ahead(next, at));
            place = last.map_or(next, |last| last.wrapping_add(1));
            self.shift = place.wrapping_sub(chunk);
            self.flushes = !self.held.is_empty();
        }
        if place == next {
            self.next = Some(next.wrapping_add(1));
            return Arrival::InOrder;
        }
        let is_doubled = self.held.iter().any(|held| held.place == place);
        if ahead(next, place) < 0 || is_doubled {
            return Arrival::Late;
        }
        let mut room = self.spare.pop().unwrap_or_default();
        room.clear();
        room.extend_from_slice(audio);
        self.held.push(Held { place, since: now, timestamp_ms, audio: room });
        if self.held.len() > HELD_MAX {
            self.give_up_missing();
        }
        Arrival::Early
    }

    /// What is missing will not come: the first that waits is the next.
    fn give_up_missing(&mut self) {
        let Some(next) = self.next else { return };
        let first = self.held.iter().map(|held| held.place).min_by_key(|&at| ahead(next, at));
        self.next = first.or(self.next);
    }

    /// The next piece, if it is here: its timestamp, and its audio put into `audio`.
    pub fn follow(&mut self, audio: &mut Vec<u8>) -> Option<Option<u64>> {
        self.flushes &= !self.held.is_empty();
        if self.flushes {
            self.give_up_missing();
        }
        let next = self.next?;
        let at = self.held.iter().position(|held| held.place == next)?;
        let held = self.held.swap_remove(at);
        self.next = Some(next.wrapping_add(1));
        audio.clear();
        audio.extend_from_slice(&held.audio);
        self.spare.push(held.audio);
        Some(held.timestamp_ms)
    }

    /// Nothing more will come: the pieces that wait follow, gaps and all.
    pub fn end(&mut self) {
        self.flushes = true;
    }

    /// When a piece has waited for long enough; never, if none waits.
    pub fn due(&self) -> Nanos {
        let first = self.held.iter().map(|held| held.since).min();
        first.map_or(Nanos::NEVER, |since| since.plus(HELD_FOR))
    }

    /// At `now`, whether a piece has waited for long enough: what is missing before it will not
    /// come, and pieces may follow.
    pub fn is_overdue(&mut self, now: Nanos) -> bool {
        let is_overdue = now >= self.due();
        if is_overdue {
            self.give_up_missing();
        }
        is_overdue
    }
}

/// How far `place` is ahead of `next`; less than nothing: behind it. Counts go round.
const fn ahead(next: u64, place: u64) -> i64 {
    place.wrapping_sub(next).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(chunks: &[u64]) -> (Vec<u8>, usize) {
        let (mut reorder, mut out, mut late) = (Reorder::default(), Vec::new(), 0);
        let mut audio = Vec::new();
        for &chunk in chunks {
            match reorder.take(Nanos::ZERO, chunk, None, &[chunk as u8]) {
                Arrival::InOrder => out.push(chunk as u8),
                Arrival::Early => {}
                Arrival::Late => late += 1,
            }
            while reorder.follow(&mut audio).is_some() {
                out.extend_from_slice(&audio);
            }
        }
        reorder.end();
        while reorder.follow(&mut audio).is_some() {
            out.extend_from_slice(&audio);
        }
        assert_eq!((reorder.held.len(), reorder.due()), (0, Nanos::NEVER));
        (out, late)
    }

    #[test]
    fn pieces_in_order_go_on_at_once_and_swapped_ones_are_put_right() {
        assert_eq!(heard(&[5, 6, 7]), (vec![5, 6, 7], 0));
        assert_eq!(heard(&[1, 3, 2, 4]), (vec![1, 2, 3, 4], 0));
        assert_eq!(heard(&[1, 5, 4, 3, 2, 6]), (vec![1, 2, 3, 4, 5, 6], 0));
    }

    #[test]
    fn what_never_comes_is_waited_for_no_longer_than_the_bound() {
        assert_eq!(heard(&[1, 3, 4, 5, 6, 7, 8]), (vec![1, 3, 4, 5, 6, 7, 8], 0));
        assert_eq!(heard(&[1, 3, 4, 5, 6, 7, 2]), (vec![1, 3, 4, 5, 6, 7], 1), "too late");
        assert_eq!(heard(&[1, 3]), (vec![1, 3], 0), "the end waits for nobody");
    }

    #[test]
    fn a_piece_that_comes_twice_is_heard_once() {
        assert_eq!(heard(&[1, 1, 2, 4, 4, 3]), (vec![1, 2, 3, 4], 2));
    }

    #[test]
    fn a_number_far_away_begins_a_new_count() {
        assert_eq!(heard(&[200, 1, 2]), (vec![200, 1, 2], 0));
        assert_eq!(heard(&[1, 200, 201]), (vec![1, 200, 201], 0));
    }

    #[test]
    fn a_count_that_begins_anew_while_a_piece_waits_loses_nothing() {
        assert_eq!(heard(&[199, 201, 1, 2, 3]), (vec![199, 201, 1, 2, 3], 0));
        assert_eq!(heard(&[1, 4, 3, 200, 202, 201]), (vec![1, 3, 4, 200, 201, 202], 0));
        // And again, and round the end of all numbers.
        assert_eq!(heard(&[100, 102, 1, 3, 200, 201]), (vec![100, 102, 1, 3, 200, 201], 0));
        assert_eq!(heard(&[u64::MAX, 1, 0, 2]), (vec![255, 0, 1, 2], 0));
    }

    #[test]
    fn a_piece_waits_no_longer_than_its_time() {
        let mut reorder = Reorder::default();
        let mut audio = Vec::new();
        assert_eq!(reorder.take(Nanos::ZERO, 1, None, &[1]), Arrival::InOrder);
        assert_eq!(reorder.due(), Nanos::NEVER);
        assert_eq!(reorder.take(Nanos::from_millis(20), 3, None, &[3]), Arrival::Early);
        assert_eq!(reorder.take(Nanos::from_millis(60), 5, None, &[5]), Arrival::Early);
        assert_eq!(reorder.due(), Nanos::from_millis(120));
        assert!(!reorder.is_overdue(Nanos::from_millis(119)));
        assert_eq!(reorder.follow(&mut audio), None);
        assert!(reorder.is_overdue(Nanos::from_millis(120)));
        assert_eq!((reorder.follow(&mut audio), &audio[..]), (Some(None), &[3][..]));
        assert_eq!(reorder.follow(&mut audio), None, "the other has its own time");
        assert_eq!(reorder.due(), Nanos::from_millis(160));
        assert_eq!(reorder.take(Nanos::from_millis(130), 2, None, &[2]), Arrival::Late);
    }

    #[test]
    fn whatever_the_numbers_no_more_than_the_bound_waits() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut reorder = Reorder::default();
        let mut audio = Vec::new();
        for _ in 0..10_000 {
            let chunk = if random.u8(..) < 8 { random.u64(..) } else { random.u64(0..200) };
            reorder.take(Nanos::ZERO, chunk, Some(1), &[0]);
            while reorder.follow(&mut audio).is_some() {}
            assert!(reorder.held.len() <= HELD_MAX);
        }
    }
}
