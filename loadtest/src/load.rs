//! How calls come and how long they last: planned as a whole before the first byte is sent.
//!
//! In:       an [`Arrivals`], a [`Lengths`], a seed; both are read from text.
//! Out:      for every call when it begins and how long it speaks; the same seed, the same plan.
//! Bounds:   a call begins within [`ARRIVAL_MAX`] and speaks from [`LENGTH_MS_MIN`] to
//!           [`LENGTH_MS_MAX`]: what is drawn beyond a bound counts as the bound; at most
//!           [`SHARES_MAX`] lengths in a list.
//! Not here: the frames of a call (`schedule`), making calls (`carrier`).
//!
//! Open loop: no call waits for another one, so a relay that falls behind meets all that was
//! planned for it.

use std::fmt;
use std::str::FromStr;

use crate::clock::{Nanos, SECONDS};
use crate::signal::bits;

/// The latest beginning of a call.
pub const ARRIVAL_MAX: Nanos = 24 * 3600 * SECONDS;

/// The shortest call, in milliseconds of speech.
pub const LENGTH_MS_MIN: u64 = 1_000;

/// The longest call, in milliseconds of speech: what a session of the stand-in remembers.
pub const LENGTH_MS_MAX: u64 = 3_600_000;

/// What lengths are rounded to, in milliseconds: whole frames of every carrier.
pub const LENGTH_STEP_MS: u64 = 100;

/// The most lengths in a list.
pub const SHARES_MAX: usize = 64;

/// The highest rate, in calls a second.
pub const RATE_MAX: f64 = 100_000.0;

/// The most calls that arrive together.
pub const SPIKE_MAX: usize = 100_000;

/// What the draws of arrivals are told apart by from all others of a seed.
const ARRIVAL_SALT: u64 = 0x6172_7269_7661_6C73;

/// The same for the draws of lengths.
const LENGTH_SALT: u64 = 0x6C65_6E67_7468_2121;

/// How calls arrive, apart from the base rate, which is given beside it.
///
/// As text: `constant`, `poisson`, `spike:CALLS@SECONDS`, `ramp:RATE@SECONDS`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Arrivals {
    /// At the base rate, evenly.
    #[default]
    Constant,
    /// At the base rate on average, independently of one another: gaps are exponential.
    Poisson,
    /// At the base rate, evenly, and `calls` besides in one instant.
    Spike {
        /// How many come together.
        calls: usize,
        /// When, from the start.
        at: Nanos,
    },
    /// At a rate that goes evenly from the base rate to `rate`, and stays there.
    Ramp {
        /// Calls a second at the end.
        rate: f64,
        /// How long it takes.
        over: Nanos,
    },
}

/// What a text about arrivals or lengths cannot mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Not one of the forms of [`Arrivals`].
    Arrivals,
    /// Not one of the forms of [`Lengths`].
    Lengths,
    /// A rate that is not above 0 and at most [`RATE_MAX`].
    Rate,
    /// A number of calls that is not from 1 to [`SPIKE_MAX`].
    Calls,
    /// A time that is not from 0 to [`ARRIVAL_MAX`].
    Time,
    /// A length that is not from [`LENGTH_MS_MIN`] to [`LENGTH_MS_MAX`].
    Length,
    /// A spread that is not from 0 to [`SIGMA_MAX`].
    Sigma,
    /// Shares that are all 0, or of more than [`SHARES_MAX`] lengths.
    Shares,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms / 1000;
        match self {
            LoadError::Arrivals => write!(
                f,
                "arrivals are one of constant, poisson, spike:CALLS@SECONDS, ramp:RATE@SECONDS"
            ),
            LoadError::Lengths => write!(
                f,
                "lengths are one of fixed:SECONDS, exponential:MEAN, lognormal:MEDIAN/SIGMA, each \
                 of the last two perhaps with ,SHORTEST..LONGEST, or list:SECONDS=SHARE,..."
            ),
            LoadError::Rate => write!(f, "a rate is above 0 and at most {RATE_MAX} calls a second"),
            LoadError::Calls => write!(f, "a spike is of 1 to {SPIKE_MAX} calls"),
            LoadError::Time => {
                write!(f, "a time is from 0 to {} seconds", ARRIVAL_MAX / SECONDS)
            }
            LoadError::Length => write!(
                f,
                "a length is from {} to {} seconds, the shortest first",
                seconds(LENGTH_MS_MIN),
                seconds(LENGTH_MS_MAX)
            ),
            LoadError::Sigma => write!(f, "a sigma is from 0 to {SIGMA_MAX}"),
            LoadError::Shares => {
                write!(f, "from 1 to {SHARES_MAX} shares that are whole numbers, not all of them 0")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl FromStr for Arrivals {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Arrivals, LoadError> {
        match text.split_once(':') {
            None if text == "constant" => Ok(Arrivals::Constant),
            None if text == "poisson" => Ok(Arrivals::Poisson),
            Some(("spike", rest)) => {
                let (calls, at) = rest.split_once('@').ok_or(LoadError::Arrivals)?;
                let calls = calls.parse().map_err(|_| LoadError::Calls)?;
                match (1..=SPIKE_MAX).contains(&calls) {
                    true => Ok(Arrivals::Spike { calls, at: time(at)? }),
                    false => Err(LoadError::Calls),
                }
            }
            Some(("ramp", rest)) => {
                let (rate, over) = rest.split_once('@').ok_or(LoadError::Arrivals)?;
                let rate = number(rate).filter(|&rate| rate > 0.0 && rate <= RATE_MAX);
                Ok(Arrivals::Ramp { rate: rate.ok_or(LoadError::Rate)?, over: time(over)? })
            }
            _ => Err(LoadError::Arrivals),
        }
    }
}

/// Reads a finite number.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// Reads a time in seconds.
fn time(text: &str) -> Result<Nanos, LoadError> {
    let most = (ARRIVAL_MAX / SECONDS) as f64;
    let seconds = number(text).filter(|seconds| (0.0..=most).contains(seconds));
    Ok((seconds.ok_or(LoadError::Time)? * SECONDS as f64) as Nanos)
}

impl Arrivals {
    /// When each of `calls` calls begins, in order, from 0 on: the first at once. `rate`: the base
    /// rate in calls a second, above 0.
    pub fn times(&self, rate: f64, calls: usize, seed: u64) -> Vec<Nanos> {
        let evenly = |index: usize| nanos(index as f64 / rate);
        match *self {
            Arrivals::Constant => (0..calls).map(evenly).collect(),
            Arrivals::Poisson => {
                let mut at = 0.0;
                let mut next = |index: usize| {
                    let arrived = nanos(at);
                    at += exponential(uniform(seed ^ ARRIVAL_SALT, index as u64)) / rate;
                    arrived
                };
                (0..calls).map(&mut next).collect()
            }
            Arrivals::Spike { calls: together, at } => {
                let together = together.min(calls);
                let alone = (0..calls - together).map(evenly);
                let mut times: Vec<_> = alone.chain(std::iter::repeat_n(at, together)).collect();
                times.sort_unstable();
                times
            }
            Arrivals::Ramp { rate: to, over } => {
                (0..calls).map(|index| nanos(risen(rate, to, over, index as f64))).collect()
            }
        }
    }
}

/// When so many calls have arrived, in seconds, at a rate that goes from `from` to `to` over a
/// time. While it rises, `count = from t + (to - from) t^2 / (2 T)`, solved for `t` in the form
/// that also holds where the two rates are equal.
fn risen(from: f64, to: f64, over: Nanos, count: f64) -> f64 {
    let over = over as f64 / SECONDS as f64;
    let on_the_way = (from + to) / 2.0 * over;
    if count >= on_the_way {
        return over + (count - on_the_way) / to;
    }
    let slope = (to - from) / over;
    2.0 * count / (from + (from * from + 2.0 * slope * count).max(0.0).sqrt())
}

/// A time in seconds as nanoseconds, at most [`ARRIVAL_MAX`].
fn nanos(seconds: f64) -> Nanos {
    ((seconds * SECONDS as f64) as Nanos).min(ARRIVAL_MAX)
}

/// The largest sigma of a log-normal length: five times as long or as short is common.
pub const SIGMA_MAX: f64 = 3.0;

/// How long calls speak, in milliseconds.
///
/// As text, in seconds: `fixed:20`, `exponential:MEAN`, `lognormal:MEDIAN/SIGMA`, the last two
/// perhaps with bounds (`exponential:60,5..300`), or `list:10=50,60=30,300=20`.
#[derive(Clone, Debug, PartialEq)]
pub enum Lengths {
    /// All the same.
    Fixed(u64),
    /// Memoryless, as calls to a switchboard are.
    Exponential {
        /// The mean before bounds.
        mean_ms: f64,
        /// The shortest and the longest.
        bounds: Bounds,
    },
    /// Log-normal, as conversations with a voice agent tend to be.
    LogNormal {
        /// Half of all are shorter.
        median_ms: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
        /// The shortest and the longest.
        bounds: Bounds,
    },
    /// Some lengths, each with its share.
    List(Vec<(u64, u32)>),
}

/// The shortest and the longest of what is drawn, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest.
    pub min_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { min_ms: LENGTH_MS_MIN, max_ms: LENGTH_MS_MAX }
    }
}

impl FromStr for Bounds {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Bounds, LoadError> {
        let (min, max) = text.split_once("..").ok_or(LoadError::Lengths)?;
        let bounds = Bounds { min_ms: length(min)?, max_ms: length(max)? };
        if bounds.min_ms > bounds.max_ms { Err(LoadError::Length) } else { Ok(bounds) }
    }
}

impl FromStr for Lengths {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Lengths, LoadError> {
        let (name, rest) = text.split_once(':').ok_or(LoadError::Lengths)?;
        if name == "list" {
            return list(rest);
        }
        let (first, bounds) = match rest.split_once(',') {
            Some((first, bounds)) => (first, Some(bounds.parse()?)),
            None => (rest, None),
        };
        match (name, bounds) {
            ("fixed", None) => Ok(Lengths::Fixed(length(first)?)),
            ("exponential", bounds) => Ok(Lengths::Exponential {
                mean_ms: length(first)? as f64,
                bounds: bounds.unwrap_or_default(),
            }),
            ("lognormal", bounds) => {
                let (median, sigma) = first.split_once('/').ok_or(LoadError::Lengths)?;
                let sigma = number(sigma).filter(|sigma| (0.0..=SIGMA_MAX).contains(sigma));
                Ok(Lengths::LogNormal {
                    median_ms: length(median)? as f64,
                    sigma: sigma.ok_or(LoadError::Sigma)?,
                    bounds: bounds.unwrap_or_default(),
                })
            }
            _ => Err(LoadError::Lengths),
        }
    }
}

fn list(text: &str) -> Result<Lengths, LoadError> {
    let mut shares = Vec::new();
    for part in text.split(',') {
        let (seconds, share) = part.split_once('=').ok_or(LoadError::Lengths)?;
        let share = share.trim().parse().map_err(|_| LoadError::Shares)?;
        shares.push((length(seconds)?, share));
    }
    let some = shares.iter().any(|&(_, share)| share > 0);
    if some && shares.len() <= SHARES_MAX {
        Ok(Lengths::List(shares))
    } else {
        Err(LoadError::Shares)
    }
}

/// Reads a length in seconds; in milliseconds.
fn length(text: &str) -> Result<u64, LoadError> {
    let ms = number(text).map(|seconds| seconds * 1000.0).ok_or(LoadError::Length)?;
    let fits = (LENGTH_MS_MIN as f64..=LENGTH_MS_MAX as f64).contains(&ms);
    if fits { Ok(stepped(ms)) } else { Err(LoadError::Length) }
}

/// The nearest length that can be.
fn stepped(ms: f64) -> u64 {
    (ms / LENGTH_STEP_MS as f64).round() as u64 * LENGTH_STEP_MS
}

impl Lengths {
    /// The length of call `index`, in milliseconds.
    pub fn of(&self, index: usize, seed: u64) -> u64 {
        let draw = |which: u64| uniform(seed ^ LENGTH_SALT, 2 * index as u64 + which);
        match self {
            Lengths::Fixed(ms) => *ms,
            Lengths::Exponential { mean_ms, bounds } => bounds.keep(mean_ms * exponential(draw(0))),
            Lengths::LogNormal { median_ms, sigma, bounds } => {
                bounds.keep(median_ms * (sigma * normal(draw(0), draw(1))).exp())
            }
            Lengths::List(shares) => {
                let all: u64 = shares.iter().map(|&(_, share)| u64::from(share)).sum();
                let mut place = (draw(0) * all as f64) as u64;
                let it = shares.iter().find(|&&(_, share)| {
                    let here = place < u64::from(share);
                    place = place.saturating_sub(u64::from(share));
                    here
                });
                it.map_or(LENGTH_MS_MIN, |&(ms, _)| ms)
            }
        }
    }

    /// True if all calls are of one length.
    pub fn are_fixed(&self) -> bool {
        matches!(self, Lengths::Fixed(_))
    }
}

impl Bounds {
    fn keep(&self, ms: f64) -> u64 {
        stepped(ms).clamp(self.min_ms, self.max_ms)
    }
}

/// A number above 0 and below 1.
fn uniform(seed: u64, position: u64) -> f64 {
    ((bits(seed, position) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// An exponential variable of mean 1 from a uniform one.
fn exponential(uniform: f64) -> f64 {
    -uniform.ln()
}

/// A standard normal variable from two uniform ones (Box and Muller).
fn normal(first: f64, second: f64) -> f64 {
    (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

/// The most calls that are under way at once, of calls that each begin and end.
pub fn most_at_once(calls: impl IntoIterator<Item = (Nanos, Nanos)>) -> usize {
    let ends = calls.into_iter().flat_map(|(from, to)| [(from, true), (to, false)]);
    let mut ends: Vec<_> = ends.collect();
    // A call that ends makes room for one that begins in the same instant.
    ends.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in ends {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, rate: f64, calls: usize) -> Vec<Nanos> {
        text.parse::<Arrivals>().unwrap().times(rate, calls, 7)
    }

    fn drawn(text: &str, calls: usize) -> Vec<u64> {
        let lengths: Lengths = text.parse().unwrap();
        (0..calls).map(|index| lengths.of(index, 7)).collect()
    }

    #[test]
    fn calls_at_a_constant_rate_are_evenly_spread() {
        assert_eq!(times("constant", 4.0, 4), [0, SECONDS / 4, SECONDS / 2, 3 * SECONDS / 4]);
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_independent_calls() {
        let times = times("poisson", 50.0, 100_001);
        assert!(times.is_sorted());
        let gaps: Vec<f64> = times.windows(2).map(|two| (two[1] - two[0]) as f64 / 1e9).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of 100,000 gaps the mean is known to 0.3 %, their deviation, equal to it, to 1 %.
        assert!((mean - 0.02).abs() < 0.0003, "mean {mean}");
        assert!((square.sqrt() - 0.02).abs() < 0.0006, "deviation {}", square.sqrt());
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let of = |seed| Arrivals::Poisson.times(10.0, 20, seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let lengths: Lengths = "exponential:60".parse().unwrap();
        assert_eq!(lengths.of(3, 1), lengths.of(3, 1));
        assert_ne!(lengths.of(3, 1), lengths.of(3, 2));
    }

    #[test]
    fn a_spike_comes_on_top_of_the_base_rate_at_its_time() {
        let times = times("spike:5@2", 1.0, 8);
        assert_eq!(times.iter().filter(|&&at| at == 2 * SECONDS).count(), 6);
        assert_eq!((times.len(), times[0], times[1]), (8, 0, SECONDS));
        assert_eq!(self::times("spike:50@2", 1.0, 3), [2 * SECONDS; 3], "no more than there are");
    }

    #[test]
    fn a_ramp_reaches_its_rate_and_keeps_it() {
        // From 1 to 9 calls a second over 10 s: 50 calls on the way, then 9 a second.
        let times = times("ramp:9@10", 1.0, 69);
        assert!(times.is_sorted());
        assert_eq!(times[50], 10 * SECONDS);
        let in_a_second = |from: u64| {
            let range = from * SECONDS..(from + 1) * SECONDS;
            times.iter().filter(|at| range.contains(at)).count()
        };
        assert!((1..=2).contains(&in_a_second(0)), "{}", in_a_second(0));
        assert_eq!(in_a_second(11), 9);
        assert_eq!(self::times("ramp:4@10", 4.0, 4), self::times("constant", 4.0, 4), "level");
        assert!(self::times("ramp:1@10", 9.0, 69).is_sorted(), "it may fall as well");
        assert_eq!(self::times("ramp:4@0", 1.0, 2), [0, SECONDS / 4], "at once");
    }

    #[test]
    fn exponential_lengths_have_their_mean_and_keep_their_bounds() {
        let lengths = drawn("exponential:60", 100_000);
        let mean = lengths.iter().sum::<u64>() as f64 / lengths.len() as f64;
        assert!((mean - 60_000.0).abs() < 700.0, "{mean}");
        let kept = drawn("exponential:60,5..90", 10_000);
        assert_eq!((kept.iter().min(), kept.iter().max()), (Some(&5_000), Some(&90_000)));
    }

    #[test]
    fn log_normal_lengths_have_their_median_and_spread() {
        let mut lengths = drawn("lognormal:40/0.5", 100_001);
        lengths.sort_unstable();
        let at = |share: f64| lengths[(share * lengths.len() as f64) as usize] as f64;
        assert!((at(0.5) / 40_000.0 - 1.0).abs() < 0.02, "{}", at(0.5));
        // One deviation above the median: e to the half.
        assert!((at(0.8413) / 40_000.0 / 0.5_f64.exp() - 1.0).abs() < 0.02, "{}", at(0.8413));
        assert_eq!(drawn("lognormal:40/0", 3), [40_000; 3]);
    }

    #[test]
    fn a_list_gives_each_length_its_share() {
        let lengths = drawn("list:10=50,60=30,300=20,7=0", 10_000);
        for (ms, share) in [(10_000, 0.5), (60_000, 0.3), (300_000, 0.2), (7_000, 0.0)] {
            let count = lengths.iter().filter(|&&length| length == ms).count() as f64;
            assert!((count / 1e4 - share).abs() < 0.02, "{ms}: {count}");
        }
        assert_eq!(drawn("fixed:2.5", 2), [2_500; 2]);
    }

    #[test]
    fn what_arrivals_and_lengths_cannot_mean_is_an_error() {
        for (text, error) in [
            ("", LoadError::Arrivals),
            ("uniform", LoadError::Arrivals),
            ("poisson:5", LoadError::Arrivals),
            ("spike:5", LoadError::Arrivals),
            ("spike:0@5", LoadError::Calls),
            ("spike:many@5", LoadError::Calls),
            ("spike:5@-1", LoadError::Time),
            ("ramp:0@5", LoadError::Rate),
            ("ramp:inf@5", LoadError::Rate),
            ("ramp:5@NaN", LoadError::Time),
        ] {
            assert_eq!(text.parse::<Arrivals>(), Err(error), "{text}");
        }
        for (text, error) in [
            ("", LoadError::Lengths),
            ("20", LoadError::Lengths),
            ("fixed:20,1..3", LoadError::Lengths),
            ("fixed:0", LoadError::Length),
            ("exponential:-3", LoadError::Length),
            ("exponential:60,5", LoadError::Lengths),
            ("exponential:60,90..5", LoadError::Length),
            ("exponential:1e9", LoadError::Length),
            ("lognormal:60", LoadError::Lengths),
            ("lognormal:60/9", LoadError::Sigma),
            ("list:", LoadError::Lengths),
            ("list:5=0", LoadError::Shares),
            ("list:5=x", LoadError::Shares),
        ] {
            assert_eq!(text.parse::<Lengths>(), Err(error), "{text}");
        }
    }

    #[test]
    fn calls_at_once_are_those_that_overlap() {
        assert_eq!(most_at_once([]), 0);
        assert_eq!(most_at_once([(0, 10), (10, 20), (12, 13)]), 2);
        assert_eq!(most_at_once([(0, 10), (1, 9), (2, 3)]), 3);
    }
}
