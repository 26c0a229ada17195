//! Which carrier brings which call of a run.
//!
//! In:       shares, as `twilio=70,telnyx/pcma=20,vonage=10`.
//! Out:      for the number of a call its [`Line`].
//! Bounds:   [`SHARES_MAX`] shares, each up to [`SHARE_MAX`].
//! Not here: how a carrier speaks (`carrier::dialect`).

use std::fmt;
use std::str::FromStr;

use super::Carrier;
use crate::format::Format;
use crate::schedule::{MediaPlan, TICKS_PER_MS};

/// The most shares of a mix.
pub const SHARES_MAX: usize = 64;

/// The largest share.
pub const SHARE_MAX: u32 = 1_000_000;

/// The line a caller is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// Who brings the call.
    pub carrier: Carrier,
    /// The format of the line where the relay's markup leaves it open; `None`: the carrier's own.
    pub format: Option<Format>,
}

impl Line {
    /// A line of that carrier.
    pub fn of(carrier: Carrier) -> Line {
        Line { carrier, format: None }
    }

    /// A plan as this carrier sends it: a plan of ordinary frames gets the carrier's length.
    pub fn plan(&self, plan: &MediaPlan) -> MediaPlan {
        let ordinary = 20 * TICKS_PER_MS as usize;
        let mut plan = plan.clone();
        if plan.frame_bytes == [ordinary] {
            plan.frame_bytes = vec![self.carrier.frame_ms() * TICKS_PER_MS as usize];
        }
        plan
    }
}

/// The shares of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    shares: Vec<(Line, u32)>,
}

impl Default for Mix {
    /// Twilio alone.
    fn default() -> Mix {
        Mix { shares: vec![(Line::default(), 1)] }
    }
}

impl From<Line> for Mix {
    /// This line alone.
    fn from(line: Line) -> Mix {
        Mix { shares: vec![(line, 1)] }
    }
}

/// What a mix cannot mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixError {
    /// No such carrier.
    Carrier,
    /// No such format.
    Format,
    /// Not a number from 0 to [`SHARE_MAX`].
    Share,
    /// Nothing to choose from, or more than [`SHARES_MAX`].
    Count,
}

impl fmt::Display for MixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = || Carrier::ALL.map(Carrier::name).join(", ");
        match self {
            MixError::Carrier => write!(f, "a carrier is one of {}", names()),
            MixError::Format => {
                write!(f, "a format is one of {}", Format::ALL.map(|it| it.to_string()).join(", "))
            }
            MixError::Share => write!(f, "a share is a number from 0 to {SHARE_MAX}"),
            MixError::Count => write!(f, "from 1 to {SHARES_MAX} shares, not all of them 0"),
        }
    }
}

impl std::error::Error for MixError {}

impl FromStr for Mix {
    type Err = MixError;

    /// Shares by carrier or by carrier and format; a single name is the whole.
    fn from_str(text: &str) -> Result<Mix, MixError> {
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (line, share) = part.trim().split_once('=').unwrap_or((part.trim(), "1"));
            let share: u32 = share.parse().map_err(|_| MixError::Share)?;
            if share > SHARE_MAX {
                return Err(MixError::Share);
            }
            shares.push((line.parse()?, share));
        }
        let all: u32 = shares.iter().map(|&(_, share)| share).sum();
        match all > 0 && shares.len() <= SHARES_MAX {
            true => Ok(Mix { shares }),
            false => Err(MixError::Count),
        }
    }
}

impl FromStr for Line {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Line, MixError> {
        let (carrier, format) = match text.split_once('/') {
            Some((carrier, format)) => (carrier, Some(format)),
            None => (text, None),
        };
        let carrier = Carrier::named(carrier).ok_or(MixError::Carrier)?;
        let format = format.map(|format| format.parse().map_err(|_| MixError::Format));
        Ok(Line { carrier, format: format.transpose()? })
    }
}

impl<'de> serde::Deserialize<'de> for Mix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Mix, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Mix {
    /// The lines of so many calls, in order. Any stretch from the first on has the shares as nearly
    /// as whole calls can: each call goes to the line that is furthest behind its share.
    pub fn lines(&self, calls: usize) -> Vec<Line> {
        let all: i64 = self.shares.iter().map(|&(_, share)| i64::from(share)).sum();
        let mut given = vec![0_i64; self.shares.len()];
        let mut next = |call: usize| {
            let behind = |place: &usize| {
                i64::from(self.shares[*place].1) * (call as i64 + 1) - given[*place] * all
            };
            let place = (0..given.len()).rev().max_by_key(behind).unwrap_or(0);
            given[place] += 1;
            self.shares[place].0
        };
        (0..calls).map(&mut next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(mix: &str, calls: usize) -> Vec<(String, usize)> {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for line in mix.parse::<Mix>().unwrap().lines(calls) {
            let name = match line.format {
                Some(format) => format!("{}/{format}", line.carrier),
                None => line.carrier.to_string(),
            };
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
        counts
    }

    #[test]
    fn calls_fall_to_carriers_by_their_shares_from_the_first_call_on() {
        let named = |pairs: &[(&str, usize)]| {
            pairs.iter().map(|&(name, count)| (name.to_string(), count)).collect::<Vec<_>>()
        };
        let mix = "twilio=70,telnyx/pcma=20,vonage=10";
        assert_eq!(counts(mix, 10), named(&[("twilio", 7), ("telnyx/pcma", 2), ("vonage", 1)]));
        assert_eq!(
            counts(mix, 1000),
            named(&[("twilio", 700), ("telnyx/pcma", 200), ("vonage", 100)])
        );
        assert_eq!(counts("plivo=1,web=1", 3), named(&[("plivo", 2), ("web", 1)]));
        assert_eq!(counts("jambonz/l16/16000", 2), named(&[("jambonz/l16/16000", 2)]));
        assert_eq!(counts("twilio=0,exotel=3", 2), named(&[("exotel", 2)]));
        assert_eq!(Mix::default().lines(2), [Line::default(); 2]);
    }

    #[test]
    fn what_a_mix_cannot_mean_is_an_error() {
        for (text, error) in [
            ("", MixError::Carrier),
            ("nobody=1", MixError::Carrier),
            ("twilio=", MixError::Share),
            ("twilio=-1", MixError::Share),
            ("twilio=1000001", MixError::Share),
            ("twilio/opus=1", MixError::Format),
            ("twilio=0", MixError::Count),
        ] {
            assert_eq!(text.parse::<Mix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_carrier_of_long_frames_gets_them_unless_the_plan_says_otherwise() {
        let plan = MediaPlan::steady(1000);
        assert_eq!(Line::of(Carrier::Exotel).plan(&plan).frame_bytes, [800]);
        assert_eq!(Line::of(Carrier::Vonage).plan(&plan).frame_bytes, [160]);
        let odd = MediaPlan { frame_bytes: vec![8, 160], ..plan };
        assert_eq!(Line::of(Carrier::Exotel).plan(&odd).frame_bytes, [8, 160]);
    }
}
