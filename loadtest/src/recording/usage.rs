//! What the relay and the load test itself use, sampled once a second while calls go on.
//!
//! In:       process ids, and the time, as often as whoever watches likes.
//! Out:      [`Sample`]s, and the CPU of the last interval for a live line.
//! Bounds:   one sample in [`SAMPLE_EVERY`], three files of `/proc` each; [`SAMPLES_MAX`], then
//!           no more are kept. CPU time comes in ticks, mostly of 10 ms: 1 % of a core.
//! Not here: what a whole run used (`run`), rows (`series`).

use crate::clock::{Nanos, SECONDS};
use crate::process;

/// From one sample to the next.
pub const SAMPLE_EVERY: Nanos = SECONDS;

/// The most samples of a run: a day of them.
pub const SAMPLES_MAX: usize = 86_400;

/// CPU time of a process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In microseconds; `None`: there was no such process.
    pub us: Option<u64>,
}

impl Cpu {
    /// The mean use in cores since `before`, `for_nanos` ago.
    pub fn cores_since(self, before: Cpu, for_nanos: Nanos) -> Option<f64> {
        let us = self.us?.checked_sub(before.us?)?;
        (for_nanos > 0).then(|| us as f64 * 1e3 / for_nanos as f64)
    }
}

/// What two processes had used at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Nanos,
    /// The relay.
    pub relay: Cpu,
    /// Callers and stand-in.
    pub own: Cpu,
    /// Resident memory of the relay, in KiB.
    pub relay_rss_kib: Option<u64>,
}

impl Sample {
    fn take(at: Nanos, relay: Option<u32>) -> Sample {
        Sample {
            at,
            relay: Cpu { us: relay.and_then(process::cpu_us) },
            own: Cpu { us: process::cpu_us(std::process::id()) },
            relay_rss_kib: relay.and_then(process::memory_kib).map(|(now, _)| now),
        }
    }
}

/// Takes samples of the relay and of this process.
pub struct Sampler {
    /// The relay's process; `None`: nobody knows it.
    relay: Option<u32>,
    samples: Vec<Sample>,
}

impl Sampler {
    /// Begins with a sample at `now`. `relay`: its process, if it is on this machine and known.
    pub fn start(now: Nanos, relay: Option<u32>) -> Sampler {
        Sampler { relay, samples: vec![Sample::take(now, relay)] }
    }

    /// Takes a sample if it is time for one.
    pub fn look(&mut self, now: Nanos) {
        let due = self.samples.last().is_none_or(|last| now >= last.at + SAMPLE_EVERY);
        if due && self.samples.len() < SAMPLES_MAX {
            self.samples.push(Sample::take(now, self.relay));
        }
    }

    /// CPU of the relay in the last interval, in cores.
    pub fn relay_cores(&self) -> Option<f64> {
        let [.., before, last] = &self.samples[..] else { return None };
        last.relay.cores_since(before.relay, last.at - before.at)
    }

    /// Every sample.
    pub fn finish(self) -> Vec<Sample> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_once_a_second_however_often_one_asks() {
        let mut sampler = Sampler::start(0, Some(std::process::id()));
        assert_eq!(sampler.relay_cores(), None);
        for millis in (0..3_000).step_by(50) {
            sampler.look(millis * 1_000_000);
        }
        assert!(sampler.relay_cores().is_some());
        let samples = sampler.finish();
        assert_eq!(samples.iter().map(|it| it.at / SECONDS).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(samples.iter().all(|it| it.own.us.is_some() && it.relay_rss_kib.is_some()));
    }

    #[test]
    fn a_process_that_has_gone_or_is_not_known_has_no_figure() {
        for relay in [Some(u32::MAX), None] {
            let mut sampler = Sampler::start(0, relay);
            sampler.look(SECONDS);
            assert_eq!(sampler.relay_cores(), None);
            assert!(sampler.finish().iter().all(|it| it.relay_rss_kib.is_none()));
        }
    }
}
