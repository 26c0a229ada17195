//! What many simulated calls came to: a digest of everything that was said, and how often each
//! fault happened.

use std::collections::BTreeMap;
use std::time::Duration;

use vocaris::clock::Nanos;

use crate::faults::{Counts, NAMES};
use crate::world::Outcome;

/// Everything that was said on all legs, and when, as one number.
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    /// `leg`: who was told `bytes`.
    pub(crate) fn note(&mut self, leg: u8, now: Nanos, bytes: &[u8]) {
        self.mix(u64::from(leg));
        self.mix(now.0);
        let (words, rest) = bytes.as_chunks::<8>();
        for &word in words {
            self.mix(u64::from_le_bytes(word));
        }
        for &byte in rest {
            self.mix(u64::from(byte));
        }
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

/// The sum of many calls, whatever their order.
pub(crate) struct Sum {
    calls: u64,
    pub(crate) counts: Counts,
    digest: u64,
    lasted: Duration,
    heard_by_caller: u64,
    heard_by_model: u64,
    lines: u64,
    overruns: u64,
    endings: BTreeMap<&'static str, u64>,
}

impl Sum {
    pub(crate) fn new() -> Sum {
        Sum {
            calls: 0,
            counts: Counts::new(),
            digest: 0,
            lasted: Duration::ZERO,
            heard_by_caller: 0,
            heard_by_model: 0,
            lines: 0,
            overruns: 0,
            endings: BTreeMap::new(),
        }
    }

    pub(crate) fn add_call(&mut self, call: &Outcome) {
        self.calls += 1;
        self.counts.add(&call.counts);
        self.digest = self.digest.wrapping_add(call.digest);
        self.lasted += call.lasted;
        self.heard_by_caller += call.heard_by_caller;
        self.heard_by_model += call.heard_by_model;
        self.lines += call.lines;
        self.overruns += u64::from(call.overruns > 0);
        *self.endings.entry(call.ending.label()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Sum) {
        self.calls += other.calls;
        self.counts.add(&other.counts);
        self.digest = self.digest.wrapping_add(other.digest);
        self.lasted += other.lasted;
        self.heard_by_caller += other.heard_by_caller;
        self.heard_by_model += other.heard_by_model;
        self.lines += other.lines;
        self.overruns += other.overruns;
        for (label, count) in &other.endings {
            *self.endings.entry(label).or_default() += count;
        }
    }

    /// What it came to, for whoever runs it.
    pub(crate) fn summary(&self) -> String {
        let counted: Vec<_> = NAMES
            .iter()
            .zip(&self.counts.0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let faults: Vec<_> = counted.chunks(9).map(|line| line.join(", ")).collect();
        format!(
            "{} calls, {:.1} h of them, {} lines, {} calls with overruns, digest {:016x}\n\
             heard and compared: {} bytes by callers, {} by models\n\
             endings: {:?}\n  {}",
            self.calls,
            self.lasted.as_secs_f64() / 3_600.0,
            self.lines,
            self.overruns,
            self.digest,
            self.heard_by_caller,
            self.heard_by_model,
            self.endings,
            faults.join("\n  ")
        )
    }

    /// The names of faults that never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let counted = NAMES.iter().zip(&self.counts.0);
        counted.filter(|&(_, &count)| count == 0).map(|(&name, _)| name).collect()
    }
}
