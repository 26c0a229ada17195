//! What models had done: calls of tools by name and outcome, and how long they took.
//!
//! Bounds:   [`TOOL_NAMES_MAX`] names; they are the configuration's, never a peer's.
//! Not here: the page (`metrics::exposition`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::call::ToolOutcome;

/// Names told apart. Further ones count as [`OTHER`].
pub const TOOL_NAMES_MAX: usize = 256;
/// The label of the tools beyond [`TOOL_NAMES_MAX`].
pub const OTHER: &str = "other";

/// Upper bounds of the buckets, in milliseconds, and as `le` says them in seconds.
pub const TOOL_BUCKETS: [(u128, &str); 10] = [
    (10, "0.01"),
    (50, "0.05"),
    (100, "0.1"),
    (250, "0.25"),
    (500, "0.5"),
    (1_000, "1"),
    (2_500, "2.5"),
    (5_000, "5"),
    (10_000, "10"),
    (30_000, "30"),
];

/// One tool's account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ToolCount {
    /// Calls, by [`ToolOutcome`].
    pub outcomes: [u64; ToolOutcome::COUNT],
    /// Calls that took at most as long as each of [`TOOL_BUCKETS`].
    pub buckets: [u64; TOOL_BUCKETS.len()],
    /// All calls.
    pub count: u64,
    /// What they took together, in seconds.
    pub seconds: f64,
}

/// The accounts of all tools. Counted by the control thread alone.
#[derive(Debug, Default)]
pub struct ToolCounts {
    by_name: Mutex<BTreeMap<String, ToolCount>>,
}

impl ToolCounts {
    /// Counts one call.
    pub fn count(&self, name: &str, outcome: ToolOutcome, took: Duration) {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = by_name.contains_key(name) || by_name.len() < TOOL_NAMES_MAX;
        let name = if is_known { name } else { OTHER };
        let account = by_name.entry(name.to_owned()).or_default();
        account.outcomes[outcome as usize] += 1;
        for (bucket, (bound_ms, _)) in account.buckets.iter_mut().zip(TOOL_BUCKETS) {
            *bucket += u64::from(took.as_millis() <= bound_ms);
        }
        account.count += 1;
        account.seconds += took.as_secs_f64();
    }

    /// Every tool that was called, by name.
    pub fn all(&self) -> Vec<(String, ToolCount)> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, count)| (name.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_none_is_lost() {
        let counts = ToolCounts::default();
        for tool in 0..2 * TOOL_NAMES_MAX {
            counts.count(&format!("t{tool}"), ToolOutcome::Done, Duration::from_millis(60));
        }
        let all = counts.all();
        assert_eq!(all.len(), TOOL_NAMES_MAX + 1);
        assert_eq!(all.iter().map(|(_, count)| count.count).sum::<u64>(), 512);
        let (_, first) = all.iter().find(|(name, _)| name == "t0").expect("the first has its own");
        assert_eq!(first.buckets[..3], [0, 0, 1]);
    }
}
