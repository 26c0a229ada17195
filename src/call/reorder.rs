//! Puts a carrier's audio back into the order it was spoken in, where the carrier does not promise
//! it.
//!
//! In:       pieces of audio with their numbers.
//! Out:      the same, each at once if it is the next, else when those before it have come.
//! Bounds:   [`HELD_MAX`] pieces wait; with one more, those that are missing count as lost.
//! A number [`WINDOW`] away from the expected one begins a new count.
//! Not here: how long audio waits for the model (`uplink`).

/// Pieces that wait for one before them: at 20 ms each, 80 ms.
pub const HELD_MAX: usize = 4;
/// How far a number may be from the expected one to belong to the same count.
pub const WINDOW: u64 = 64;

/// Pieces that came too early, and the number that is due.
#[derive(Debug, Default)]
pub struct Reorder {
    next: Option<u64>,
    held: Vec<Held>,
    /// Room of pieces that have gone on, for those to come.
    spare: Vec<Vec<u8>>,
}

/// A piece that came too early.
#[derive(Debug)]
struct Held {
    chunk: u64,
    timestamp_ms: Option<u64>,
    audio: Vec<u8>,
}

/// What becomes of a piece that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next: it goes on now, and those that waited for it may follow.
    Now,
    /// It waits for others.
    Held,
    /// Its place has gone by.
    Late,
}

impl Reorder {
    /// A piece of this number has come.
    pub fn take(&mut self, chunk: u64, timestamp_ms: Option<u64>, audio: &[u8]) -> Turn {
        let next = self.next.unwrap_or(chunk);
        if chunk == next || (chunk.abs_diff(next) > WINDOW && self.held.is_empty()) {
            self.next = Some(chunk.wrapping_add(1));
            return Turn::Now;
        }
        let is_doubled = self.held.iter().any(|held| held.chunk == chunk);
        if chunk < next || is_doubled {
            return Turn::Late;
        }
        let mut room = self.spare.pop().unwrap_or_default();
        room.clear();
        room.extend_from_slice(audio);
        self.held.push(Held { chunk, timestamp_ms, audio: room });
        if self.held.len() > HELD_MAX {
            self.give_up_missing();
        }
        Turn::Held
    }

    /// What is missing will not come: the oldest that waits is the next.
    fn give_up_missing(&mut self) {
        self.next = self.held.iter().map(|held| held.chunk).min().or(self.next);
    }

    /// The next piece, if it is here: its timestamp, and its audio put into `audio`.
    pub fn follow(&mut self, audio: &mut Vec<u8>) -> Option<Option<u64>> {
        let next = self.next?;
        let at = self.held.iter().position(|held| held.chunk == next)?;
        let held = self.held.swap_remove(at);
        self.next = Some(next.wrapping_add(1));
        audio.clear();
        audio.extend_from_slice(&held.audio);
        self.spare.push(held.audio);
        Some(held.timestamp_ms)
    }

    /// Nothing more will come: the pieces that wait follow, gaps and all.
    pub fn end(&mut self) {
        self.give_up_missing();
    }

    /// Whether pieces wait.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(chunks: &[u64]) -> (Vec<u8>, usize) {
        let (mut reorder, mut out, mut late) = (Reorder::default(), Vec::new(), 0);
        let mut audio = Vec::new();
        for &chunk in chunks {
            match reorder.take(chunk, None, &[chunk as u8]) {
                Turn::Now => out.push(chunk as u8),
                Turn::Held => {}
                Turn::Late => late += 1,
            }
            while reorder.follow(&mut audio).is_some() {
                out.extend_from_slice(&audio);
            }
        }
        while !reorder.is_empty() {
            reorder.end();
            while reorder.follow(&mut audio).is_some() {
                out.extend_from_slice(&audio);
            }
        }
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
    fn whatever_the_numbers_no_more_than_the_bound_waits() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut reorder = Reorder::default();
        let mut audio = Vec::new();
        for _ in 0..10_000 {
            let chunk = if random.u8(..) < 8 { random.u64(..) } else { random.u64(0..200) };
            reorder.take(chunk, Some(1), &[0]);
            while reorder.follow(&mut audio).is_some() {}
            assert!(reorder.held.len() <= HELD_MAX);
        }
    }
}
