//! A hashed timer wheel: one tick a millisecond, whose cost does not grow with the calls.
//!
//! Entries are never taken out early. The owner remembers which of its entries still counts, and
//! passes over the others when they come up.
//! In:       an owner, its use, the moment it wants to be called at.
//! Out:      owners whose moment has come, less than one tick late when asked at every tick. (The
//!           kernel's wait is rounded up to its own millisecond on top.)
//! Bounds:   an entry beyond the wheel's [`TICKS`] is looked at once a round, never fired early.
//! Not here: what a timer is for.

use crate::clock::Nanos;

/// Ticks in one round of the wheel.
const TICKS: usize = 1024;
/// One tick.
const TICK_NS: u64 = 1_000_000;

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The owner's slot.
    pub slot: usize,
    /// How often the slot had been used before.
    pub generation: u64,
    /// When.
    pub due: Nanos,
}

/// The wheel.
#[derive(Debug)]
pub struct Timers {
    buckets: Box<[Vec<Entry>]>,
    /// One bit a bucket: whether it holds anything.
    occupied: [u64; TICKS / 64],
    /// Every tick up to this one has been looked at.
    done: u64,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers::new()
    }
}

impl Timers {
    /// An empty wheel.
    pub fn new() -> Timers {
        Timers {
            buckets: (0..TICKS).map(|_| Vec::new()).collect(),
            occupied: [0; TICKS / 64],
            done: 0,
        }
    }

    /// Puts an entry in. One that is due already comes up at the next tick.
    pub fn arm(&mut self, entry: Entry) {
        let tick = entry.due.0.div_ceil(TICK_NS).max(self.done + 1);
        let bucket = tick as usize % TICKS;
        self.buckets[bucket].push(entry);
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// The next moment at which an entry may be due; `None`: there is no entry.
    pub fn next_due(&self) -> Option<Nanos> {
        let start = (self.done + 1) as usize % TICKS;
        let ahead = (0..TICKS / 64 + 1).find_map(|word| {
            let index = (start / 64 + word) % self.occupied.len();
            let mut bits = self.occupied[index];
            if word == 0 {
                bits &= u64::MAX << (start % 64);
            }
            let bucket = index * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then_some((bucket + TICKS - start) % TICKS)
        })?;
        Some(Nanos((self.done + 1 + ahead as u64) * TICK_NS))
    }

    /// Moves every entry that is due at `now` to the end of `due`.
    pub fn expire(&mut self, now: Nanos, due: &mut Vec<Entry>) {
        let target = now.0 / TICK_NS;
        let ticks = (target - self.done.min(target)).min(TICKS as u64);
        for tick in target - ticks + 1..=target {
            let bucket = tick as usize % TICKS;
            if self.occupied[bucket / 64] & (1 << (bucket % 64)) == 0 {
                continue;
            }
            let entries = &mut self.buckets[bucket];
            entries.retain(|&entry| {
                let waits = entry.due > now;
                if !waits {
                    due.push(entry);
                }
                waits
            });
            if entries.is_empty() {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        }
        self.done = self.done.max(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: usize, ms: u64) -> Entry {
        Entry { slot, generation: 0, due: Nanos::from_millis(ms) }
    }

    fn due_at(timers: &mut Timers, ms: u64) -> Vec<usize> {
        let mut due = Vec::new();
        timers.expire(Nanos::from_millis(ms), &mut due);
        due.iter().map(|entry| entry.slot).collect()
    }

    #[test]
    fn a_timer_comes_up_at_its_tick_and_not_before() {
        let mut timers = Timers::new();
        timers.arm(entry(1, 20));
        timers.arm(entry(2, 21));
        assert_eq!(timers.next_due(), Some(Nanos::from_millis(20)));
        assert!(due_at(&mut timers, 19).is_empty());
        assert_eq!(due_at(&mut timers, 20), [1]);
        assert_eq!(due_at(&mut timers, 25), [2]);
        assert_eq!(timers.next_due(), None);
    }

    #[test]
    fn a_timer_many_rounds_away_is_not_early() {
        let mut timers = Timers::new();
        timers.arm(entry(7, 20_000));
        for ms in (0..20_000).step_by(13) {
            assert!(due_at(&mut timers, ms).is_empty(), "{ms}");
        }
        assert_eq!(due_at(&mut timers, 20_000), [7]);
    }

    #[test]
    fn a_loop_that_slept_past_a_whole_round_misses_nothing() {
        let mut timers = Timers::new();
        for ms in 1..3_000 {
            timers.arm(entry(ms as usize, ms));
        }
        let mut due = due_at(&mut timers, 5_000);
        due.sort_unstable();
        assert_eq!(due, (1..3_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_timer_armed_in_the_past_comes_up_at_the_next_tick() {
        let mut timers = Timers::new();
        due_at(&mut timers, 100);
        timers.arm(entry(3, 50));
        assert_eq!(timers.next_due(), Some(Nanos::from_millis(101)));
        assert_eq!(due_at(&mut timers, 101), [3]);
    }

    #[test]
    fn random_timers_come_up_once_each_in_time() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut timers = Timers::new();
        let mut waiting = std::collections::BTreeMap::new();
        let mut now = 0;
        for slot in 0..5_000 {
            let due = now + random.u64(1..5_000);
            timers.arm(entry(slot, due));
            waiting.insert(slot, due);
            now += random.u64(0..4);
            for slot in due_at(&mut timers, now) {
                assert!(waiting.remove(&slot).is_some_and(|due| due <= now));
            }
            assert!(waiting.values().all(|&due| due > now));
        }
    }
}
