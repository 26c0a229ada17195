//! Mask keys, RFC 6455 section 5.3: fresh for each frame, and foreseen by nobody who chooses what
//! the frame says (section 10.3).
//!
//! In:       nothing, or a seed.
//! Out:      four bytes at a time.
//! Bounds:   [`KEYS_AT_ONCE`] are drawn at a time, so that no frame waits for the system.
//! Not here: the masking (`mask`).

use std::fmt;

use aws_lc_rs::rand;

/// Keys drawn at once: a second of frames.
const KEYS_AT_ONCE: usize = 64;

/// Where one connection's keys come from.
pub struct MaskKeys {
    /// `None`: from the system's generator.
    seeded: Option<fastrand::Rng>,
    drawn: [[u8; 4]; KEYS_AT_ONCE],
    /// How many of `drawn` are used up.
    used: usize,
}

impl MaskKeys {
    /// Keys that nobody can foresee; or those of `seed`, always the same, for a simulation.
    pub fn new(seed: Option<u64>) -> MaskKeys {
        MaskKeys {
            seeded: seed.map(fastrand::Rng::with_seed),
            drawn: [[0; 4]; KEYS_AT_ONCE],
            used: KEYS_AT_ONCE,
        }
    }

    /// A key for one frame.
    ///
    /// # Panics
    /// If the system has no randomness to give.
    pub fn fresh(&mut self) -> [u8; 4] {
        if self.used == KEYS_AT_ONCE {
            self.draw();
        }
        let key = self.drawn[self.used];
        self.used += 1;
        key
    }

    fn draw(&mut self) {
        let bytes = self.drawn.as_flattened_mut();
        match &mut self.seeded {
            Some(random) => random.fill(bytes),
            None => rand::fill(bytes).expect("the system gives random bytes"),
        }
        self.used = 0;
    }
}

impl fmt::Debug for MaskKeys {
    /// Without the keys to come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskKeys")
            .field("is_seeded", &self.seeded.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_its_own_keys_and_without_one_no_two_connections_share_any() {
        let draw = |seed| {
            let mut keys = MaskKeys::new(seed);
            (0..1_000).map(|_| keys.fresh()).collect::<Vec<_>>()
        };
        assert_eq!(draw(Some(1)), draw(Some(1)));
        assert_ne!(draw(Some(1)), draw(Some(2)));
        let (one, other) = (draw(None), draw(None));
        assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "fresh for each frame");
        let known: HashSet<_> = one.iter().collect();
        let shared = other.iter().filter(|key| known.contains(key)).count();
        // By chance one pair in 4,000; three are a fault.
        assert!(shared < 3, "{shared} of 1,000 keys are shared");
        assert!(!format!("{:?}", MaskKeys::new(None)).contains("drawn"));
    }
}
