//! Which number of calls is tried next: upwards by doubling, then by halving what is left.
//!
//! In:       a [`Range`]; what came of each run.
//! Out:      the next number, or the [`Answer`].
//! Bounds:   [`STEPS_MAX`] runs in all, [`Range::repeats`] of one number.
//! Not here: running (`capacity`).
//!
//! One run that keeps the bounds is enough on the way up. At the edge a single run is luck: a
//! number that did not keep them is tried again, and so is the largest that did, until a majority
//! of [`Range::repeats`] runs agrees. Runs that the load itself spoilt count for neither side.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most runs of a search; then it ends with what it has.
pub const STEPS_MAX: usize = 60;

/// The most runs of one number.
pub const REPEATS_MAX: usize = 9;

/// The numbers that are searched.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The smallest, above 0.
    pub from: usize,
    /// The largest.
    pub to: usize,
    /// How close the answer must be.
    pub tolerance: Tolerance,
    /// Runs of one number, of which a majority decides: from 1 to [`REPEATS_MAX`].
    pub repeats: usize,
}

/// How far apart the largest number that kept the bounds and the smallest that did not may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// So many calls.
    Calls(usize),
    /// So much of the smaller number.
    Share(f64),
}

/// Not a tolerance: a number of calls from 1 on, or a percentage above 0 and up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToleranceError;

impl std::fmt::Display for ToleranceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a tolerance is a number of calls from 1 on, or a percentage up to 100, as 5%")
    }
}

impl std::error::Error for ToleranceError {}

impl FromStr for Tolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Tolerance, ToleranceError> {
        let read = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(|it: f64| Tolerance::Share(it / 100.0)),
            None => text.parse().ok().map(Tolerance::Calls),
        };
        match read {
            Some(Tolerance::Calls(1..)) => {}
            Some(Tolerance::Share(share)) if share > 0.0 && share <= 1.0 => {}
            _ => return Err(ToleranceError),
        }
        read.ok_or(ToleranceError)
    }
}

impl Tolerance {
    /// In calls, at a number of calls.
    fn at(self, calls: usize) -> usize {
        match self {
            Tolerance::Calls(tolerance) => tolerance,
            Tolerance::Share(share) => ((calls as f64 * share) as usize).max(1),
        }
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It kept every bound.
    Kept,
    /// It did not.
    Broken,
    /// The load itself was late.
    Spoilt,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A run of so many calls.
    Try(usize),
    /// Nothing.
    Done(Answer),
}

/// The end of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The largest number that kept the bounds is known within the tolerance.
    Largest {
        /// It.
        kept: usize,
        /// The smallest that did not.
        broke: usize,
    },
    /// The bounds were kept at the end of the range.
    KeptAtLargest {
        /// The end of the range.
        kept: usize,
    },
    /// The bounds were broken at the beginning of the range.
    NoneKept {
        /// The beginning of the range.
        broke: usize,
    },
    /// From a number on the load was too late itself.
    GeneratorLimit {
        /// The largest number below that kept the bounds.
        kept: Option<usize>,
        /// The number.
        spoilt: usize,
    },
    /// [`STEPS_MAX`] runs were not enough.
    OutOfSteps {
        /// The largest number known to keep the bounds.
        kept: Option<usize>,
        /// The smallest known not to.
        not_kept: Option<usize>,
    },
    /// A run could not be made: no stand-in, no relay, no callers.
    NoRun {
        /// The largest number known to keep the bounds.
        kept: Option<usize>,
        /// The number of its calls.
        calls: usize,
    },
    /// It was asked to end.
    Stopped {
        /// The largest number known to keep the bounds.
        kept: Option<usize>,
    },
}

impl Default for Answer {
    /// Of a search that has not begun.
    fn default() -> Answer {
        Answer::Stopped { kept: None }
    }
}

impl Answer {
    /// The largest number known to keep the bounds.
    pub fn kept(self) -> Option<usize> {
        match self {
            Answer::Largest { kept, .. } | Answer::KeptAtLargest { kept } => Some(kept),
            Answer::NoneKept { .. } => None,
            Answer::GeneratorLimit { kept, .. }
            | Answer::OutOfSteps { kept, .. }
            | Answer::NoRun { kept, .. }
            | Answer::Stopped { kept } => kept,
        }
    }

    /// True if it says how many calls the relay carries, or that it carries all there were.
    pub fn is_found(self) -> bool {
        matches!(self, Answer::Largest { .. } | Answer::KeptAtLargest { .. })
    }

    /// True if it says nothing about the relay, for or against.
    pub fn lacks_evidence(self) -> bool {
        matches!(self, Answer::GeneratorLimit { .. } | Answer::OutOfSteps { .. })
    }
}

/// The runs of one number so far.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    kept: usize,
    broken: usize,
    spoilt: usize,
}

/// What the runs of one number say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// All so far kept the bounds, but they are no majority yet.
    KeptSoFar,
    /// Another run is needed.
    Open,
    Kept,
    Broken,
    /// Spoilt by the load, or undecided after all repeats.
    Spoilt,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    range: Range,
    runs: BTreeMap<usize, Runs>,
    steps: usize,
}

impl Search {
    /// A search of `range`.
    ///
    /// # Panics
    /// If the range is empty, or its repeats are out of bounds.
    pub fn new(range: Range) -> Search {
        assert!(range.from > 0 && range.from <= range.to, "a range has a number of calls");
        assert!((1..=REPEATS_MAX).contains(&range.repeats), "a number is run, and not forever");
        Search { range, runs: BTreeMap::new(), steps: 0 }
    }

    /// A run of `calls` came to this.
    pub fn note(&mut self, calls: usize, outcome: Outcome) {
        self.steps += 1;
        let runs = self.runs.entry(calls).or_default();
        match outcome {
            Outcome::Kept => runs.kept += 1,
            Outcome::Broken => runs.broken += 1,
            Outcome::Spoilt => runs.spoilt += 1,
        }
    }

    /// What comes next.
    pub fn next(&self) -> Next {
        let next = self.wanted();
        match next {
            Next::Try(_) if self.steps >= STEPS_MAX => Next::Done(Answer::OutOfSteps {
                kept: self.largest_kept(usize::MAX),
                not_kept: self.smallest_not_kept(),
            }),
            next => next,
        }
    }

    /// The answer of a search that ends here.
    pub fn stopped(&self) -> Answer {
        Answer::Stopped { kept: self.kept_so_far() }
    }

    /// The answer of a search that ends because a run of `calls` could not be made.
    pub fn without_run(&self, calls: usize) -> Answer {
        Answer::NoRun { kept: self.kept_so_far(), calls }
    }

    fn kept_so_far(&self) -> Option<usize> {
        self.largest_kept(self.smallest_not_kept().unwrap_or(usize::MAX))
    }

    fn wanted(&self) -> Next {
        // What is neither one nor the other is settled first.
        if let Some((&calls, _)) = self.runs.iter().find(|(_, runs)| self.is_open(runs)) {
            return Next::Try(calls);
        }
        let Some(over) = self.smallest_not_kept() else { return self.upwards() };
        let Some(kept) = self.largest_kept(over) else {
            return match over == self.range.from {
                true => Next::Done(self.ended_at(None, over)),
                // The number below was confirmed no more: go back to the beginning.
                false => Next::Try(self.range.from),
            };
        };
        if over - kept > self.range.tolerance.at(kept) {
            return Next::Try(kept + (over - kept) / 2);
        }
        match self.standing(&self.runs[&kept]) {
            Standing::Kept => Next::Done(self.ended_at(Some(kept), over)),
            _ => Next::Try(kept),
        }
    }

    /// Nothing has failed yet: the next doubling, or the end of the range.
    fn upwards(&self) -> Next {
        let Some(kept) = self.largest_kept(usize::MAX) else { return Next::Try(self.range.from) };
        if kept < self.range.to {
            return Next::Try((kept * 2).min(self.range.to));
        }
        match self.standing(&self.runs[&kept]) {
            Standing::Kept => Next::Done(Answer::KeptAtLargest { kept }),
            _ => Next::Try(kept),
        }
    }

    /// `over`: the smallest number that did not keep the bounds; `kept`: the largest that did.
    fn ended_at(&self, kept: Option<usize>, over: usize) -> Answer {
        match (self.standing(&self.runs[&over]), kept) {
            (Standing::Broken, Some(kept)) => Answer::Largest { kept, broke: over },
            (Standing::Broken, None) => Answer::NoneKept { broke: over },
            _ => Answer::GeneratorLimit { kept, spoilt: over },
        }
    }

    fn is_open(&self, runs: &Runs) -> bool {
        self.standing(runs) == Standing::Open
    }

    fn standing(&self, runs: &Runs) -> Standing {
        let majority = self.range.repeats / 2 + 1;
        let all = runs.kept + runs.broken + runs.spoilt;
        match runs {
            runs if runs.kept >= majority => Standing::Kept,
            runs if runs.broken >= majority => Standing::Broken,
            runs if runs.spoilt >= majority || all >= self.range.repeats => Standing::Spoilt,
            runs if runs.kept == all && all > 0 => Standing::KeptSoFar,
            _ => Standing::Open,
        }
    }

    fn smallest_not_kept(&self) -> Option<usize> {
        let not_kept = |(_, runs): &(&usize, &Runs)| {
            matches!(self.standing(runs), Standing::Broken | Standing::Spoilt)
        };
        self.runs.iter().find(not_kept).map(|(&calls, _)| calls)
    }

    fn largest_kept(&self, below: usize) -> Option<usize> {
        let kept = |(_, runs): &(&usize, &Runs)| {
            matches!(self.standing(runs), Standing::Kept | Standing::KeptSoFar)
        };
        self.runs.range(..below).rev().find(kept).map(|(&calls, _)| calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::bits;

    fn range(from: usize, to: usize, tolerance: usize, repeats: usize) -> Range {
        Range { from, to, tolerance: Tolerance::Calls(tolerance), repeats }
    }

    /// Follows a search with a relay that does `does`; the answer and every number tried.
    fn follow(range: Range, mut does: impl FnMut(usize) -> Outcome) -> (Answer, Vec<usize>) {
        let mut search = Search::new(range);
        let mut tried = Vec::new();
        loop {
            match search.next() {
                Next::Try(calls) => {
                    tried.push(calls);
                    search.note(calls, does(calls));
                }
                Next::Done(answer) => return (answer, tried),
            }
        }
    }

    fn limited(limit: usize) -> impl FnMut(usize) -> Outcome {
        move |calls| if calls <= limit { Outcome::Kept } else { Outcome::Broken }
    }

    #[test]
    fn the_largest_number_is_found_wherever_it_lies() {
        for limit in 10..400 {
            for (tolerance, repeats) in [(1, 1), (1, 3), (7, 1)] {
                let (answer, tried) = follow(range(10, 400, tolerance, repeats), limited(limit));
                let Answer::Largest { kept, broke } = answer else { panic!("{limit}: {answer:?}") };
                assert!(kept <= limit && limit < broke, "{limit}: {answer:?}");
                assert!(broke - kept <= tolerance, "{limit}: {answer:?}");
                assert!(tried.len() < STEPS_MAX && tried.iter().all(|n| (10..=400).contains(n)));
            }
        }
    }

    #[test]
    fn the_way_up_doubles_and_the_way_back_halves() {
        let (answer, tried) = follow(range(50, 2000, 50, 1), limited(850));
        assert_eq!(tried, [50, 100, 200, 400, 800, 1600, 1200, 1000, 900, 850]);
        assert_eq!(answer, Answer::Largest { kept: 850, broke: 900 });
    }

    #[test]
    fn at_the_edge_a_majority_decides_and_on_the_way_up_one_run() {
        let (answer, tried) = follow(range(100, 400, 100, 3), limited(200));
        assert_eq!(tried, [100, 200, 400, 400, 300, 300, 200]);
        assert_eq!(answer, Answer::Largest { kept: 200, broke: 300 });
    }

    #[test]
    fn one_bad_run_of_three_changes_nothing() {
        let mut bad = vec![200];
        let (answer, _) =
            follow(range(100, 400, 50, 3), |calls| match bad.iter().position(|&it| it == calls) {
                Some(place) => {
                    bad.remove(place);
                    Outcome::Broken
                }
                None => limited(350)(calls),
            });
        assert_eq!(answer, Answer::Largest { kept: 350, broke: 400 });
    }

    #[test]
    fn a_number_that_kept_once_by_luck_is_not_the_answer() {
        let mut runs = 0;
        let (answer, _) = follow(range(100, 400, 100, 3), |calls| {
            runs += usize::from(calls == 200);
            if calls == 200 && runs == 1 { Outcome::Kept } else { limited(100)(calls) }
        });
        assert_eq!(answer, Answer::Largest { kept: 100, broke: 200 });
    }

    #[test]
    fn the_ends_of_the_range_are_told_as_what_they_are() {
        let (answer, tried) = follow(range(5, 30, 1, 3), limited(1000));
        assert_eq!((answer, tried.len()), (Answer::KeptAtLargest { kept: 30 }, 5));
        let (answer, tried) = follow(range(5, 30, 1, 3), limited(0));
        assert_eq!((answer, tried), (Answer::NoneKept { broke: 5 }, vec![5, 5]));
        let (answer, _) = follow(range(7, 7, 1, 1), limited(7));
        assert_eq!(answer, Answer::KeptAtLargest { kept: 7 });
        assert!(answer.is_found() && !answer.lacks_evidence());
    }

    #[test]
    fn where_the_load_is_late_the_relay_is_not_blamed() {
        let late = |from: usize| {
            move |calls: usize| if calls >= from { Outcome::Spoilt } else { Outcome::Kept }
        };
        let (answer, _) = follow(range(100, 800, 50, 3), late(300));
        assert_eq!(answer, Answer::GeneratorLimit { kept: Some(250), spoilt: 300 });
        let (answer, _) = follow(range(100, 800, 50, 1), late(0));
        assert_eq!(answer, Answer::GeneratorLimit { kept: None, spoilt: 100 });
        assert!(answer.lacks_evidence());
    }

    #[test]
    fn a_relay_that_is_pure_luck_ends_the_search_all_the_same() {
        for seed in 0..300 {
            let mut run = 0;
            let (answer, tried) = follow(range(1, 100_000, 1, 9), |_| {
                run += 1;
                [Outcome::Kept, Outcome::Broken, Outcome::Spoilt][bits(seed, run) as usize % 3]
            });
            assert!(tried.len() <= STEPS_MAX, "seed {seed}: {answer:?}");
        }
    }

    #[test]
    fn a_search_that_is_stopped_says_what_it_knows() {
        let mut search = Search::new(range(100, 800, 50, 1));
        assert_eq!(search.stopped(), Answer::Stopped { kept: None });
        search.note(100, Outcome::Kept);
        search.note(200, Outcome::Broken);
        assert_eq!(search.stopped(), Answer::Stopped { kept: Some(100) });
    }

    #[test]
    fn a_tolerance_is_calls_or_a_share() {
        assert_eq!("25".parse(), Ok(Tolerance::Calls(25)));
        assert_eq!("5%".parse(), Ok(Tolerance::Share(0.05)));
        assert_eq!(Tolerance::Share(0.05).at(1000), 50);
        assert_eq!(Tolerance::Share(0.05).at(3), 1);
        for text in ["", "0", "-1", "0%", "101%", "NaN%", "5 calls"] {
            assert_eq!(text.parse::<Tolerance>(), Err(ToleranceError), "{text}");
        }
    }
}
