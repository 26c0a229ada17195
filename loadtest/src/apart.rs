//! What a few calls that are unlike the others do to the others.
//!
//! In:       the sessions of each call, and the latencies of its pieces.
//! Out:      an [`ApartReport`]: the times of the others, and those of them that fell together
//!           with an answer of the calls apart.
//! Bounds:   those of the records; nothing is kept where no call is apart.
//! Not here: making calls apart (`gemini::scenario`, `gemini::conversation`), measuring (`verify`,
//!           `listen`).

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::carrier::record::CallRecord;
use crate::clock::{MILLIS, Nanos};
use crate::gemini::record::{SessionRecord, Spoken};
use crate::hold;
use crate::report::{Held, Percentiles, row};
use crate::verify::Latencies;

/// What is planned so long after a piece of an answer of the calls apart was sent falls together
/// with it: whatever a relay defers because of it, it has done by then.
pub const WAKE: Nanos = 100 * MILLIS;

/// The calls apart, and the latencies of the others. All times are of what was planned while all
/// calls talked; over the whole run if they never did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ApartReport {
    /// Calls apart.
    pub calls: usize,
    /// Answers in them, in the whole run.
    pub answers: u64,
    /// The others, at any time.
    pub others: Held,
    /// Of these, what was planned from when an answer of the calls apart was sent until [`WAKE`]
    /// after its end.
    pub others_meanwhile: Held,
    /// The calls apart themselves.
    pub apart: Held,
}

/// Latencies up and down.
type Ways = [Latencies; 2];

/// The calls of a run while they are told apart.
pub struct Telling {
    calls: usize,
    /// From the first piece of each answer of a call apart to [`WAKE`] after the last.
    answers: Vec<Range<Nanos>>,
    others: Ways,
    apart: Ways,
}

impl Telling {
    /// For a run with these sessions; `None` if no call of it is apart.
    pub fn begin(sessions: &[SessionRecord]) -> Option<Telling> {
        let telling = Telling {
            calls: 0,
            answers: Vec::new(),
            others: Ways::default(),
            apart: Ways::default(),
        };
        sessions.iter().any(|session| session.apart).then_some(telling)
    }

    /// Another call: its sessions, and the latencies of its pieces up and down.
    pub fn add(&mut self, sessions: &[&SessionRecord], up: &Latencies, down: &Latencies) {
        let is_apart = sessions.iter().any(|session| session.apart);
        let ways = if is_apart { &mut self.apart } else { &mut self.others };
        ways[0].add(up.clone());
        ways[1].add(down.clone());
        if !is_apart {
            return;
        }
        self.calls += 1;
        for spoken in sessions.iter().flat_map(|session| &session.spoken) {
            let Spoken::Turn(turn) = spoken else { continue };
            if let (Some(first), Some(last)) = (turn.chunks.first(), turn.chunks.last()) {
                self.answers.push(first.sent..last.sent + WAKE);
            }
        }
    }

    /// What came of it. `calls`: all of the run.
    pub fn report<'c>(
        mut self,
        calls: impl IntoIterator<Item = &'c CallRecord> + Clone,
    ) -> ApartReport {
        let answers = self.answers.len() as u64;
        let answers_at = joined(std::mem::take(&mut self.answers));
        let held = |[up, down]: &Ways| {
            let whole = Held {
                uplink: Percentiles::of(&up.corrected),
                downlink: Percentiles::of(&down.corrected),
            };
            hold::held(calls.clone(), up, down).unwrap_or(whole)
        };
        let [up, down] = &self.others;
        let meanwhile = [planned_in(up, &answers_at), planned_in(down, &answers_at)];
        ApartReport {
            calls: self.calls,
            answers,
            others: held(&self.others),
            others_meanwhile: held(&meanwhile),
            apart: held(&self.apart),
        }
    }
}

impl ApartReport {
    /// A row of the table of latencies for each way of each of them.
    pub(crate) fn write_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, held) in [
            ("of the others", &self.others),
            ("others, meanwhile", &self.others_meanwhile),
            ("of those apart", &self.apart),
        ] {
            row(f, &format!("up, {name}"), &held.uplink)?;
            row(f, &format!("down, {name}"), &held.downlink)?;
        }
        Ok(())
    }
}

impl fmt::Display for ApartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "apart        {} calls, {} answers in them; meanwhile: from when one is sent until {} \
             ms after its end",
            self.calls,
            self.answers,
            WAKE / MILLIS
        )
    }
}

/// The same times in order, those that overlap as one.
fn joined(mut times: Vec<Range<Nanos>>) -> Vec<Range<Nanos>> {
    times.sort_by_key(|it| it.start);
    let mut joined: Vec<Range<Nanos>> = Vec::new();
    for it in times {
        match joined.last_mut() {
            Some(last) if it.start <= last.end => last.end = last.end.max(it.end),
            _ => joined.push(it),
        }
    }
    joined
}

/// The pieces that were planned in one of these times, which are in order.
fn planned_in(of: &Latencies, times: &[Range<Nanos>]) -> Latencies {
    let mut within = Latencies::default();
    for (&planned, &latency) in of.planned.iter().zip(&of.corrected) {
        let place = times.partition_point(|it| it.end <= planned);
        if times.get(place).is_some_and(|it| it.contains(&planned)) {
            within.planned.push(planned);
            within.corrected.push(latency);
        }
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECONDS;
    use crate::gemini::record::{Chunk, Turn};

    /// Pieces planned every 20 ms for 10 s, each of which took `took(planned)`.
    fn pieces(took: impl Fn(Nanos) -> Nanos) -> Latencies {
        let mut pieces = Latencies::default();
        for planned in (0..500).map(|n| n * 20 * MILLIS) {
            pieces.count(planned, planned, planned + took(planned));
        }
        pieces
    }

    fn session(apart: bool, sent: &[Nanos]) -> SessionRecord {
        let turn = |&sent: &Nanos| {
            let chunks = vec![Chunk { planned: sent, sent, to_sample: 960 }];
            Spoken::Turn(Turn {
                number: 0,
                samples: 960,
                chunks,
                complete: true,
                continues: false,
                steady: false,
            })
        };
        let spoken = sent.iter().map(turn).collect();
        SessionRecord { apart, spoken, ..SessionRecord::new(0, 0) }
    }

    #[test]
    fn what_the_others_wait_for_while_one_call_has_a_burst_is_told_by_itself() {
        let bursts = [5 * SECONDS, 5 * SECONDS + 50 * MILLIS, 8 * SECONDS];
        let burst = session(true, &bursts);
        let plain = session(false, &[5 * SECONDS]);
        let mut telling = Telling::begin(&[burst.clone(), plain.clone()]).unwrap();
        let last = 8 * SECONDS..8 * SECONDS + WAKE;
        let held_up = |planned| if last.contains(&planned) { 7 * MILLIS } else { MILLIS };
        let quick = pieces(|_| MILLIS);
        telling.add(&[&burst], &pieces(|_| 90 * MILLIS), &pieces(|_| 90 * MILLIS));
        telling.add(&[&plain], &pieces(held_up), &quick);
        telling.add(&[], &quick, &quick);
        let report = telling.report(std::iter::empty());
        assert_eq!((report.calls, report.answers), (1, 3));
        let of = |it: &Percentiles| (it.count, (it.max_us / 1e3).round() as u64);
        assert_eq!(of(&report.others.uplink), (1000, 7));
        assert_eq!(of(&report.others.downlink), (1000, 1));
        assert_eq!(of(&report.apart.uplink), (500, 90));
        // 150 ms around the first two and 100 ms of the third, of two calls.
        assert_eq!(of(&report.others_meanwhile.uplink), (2 * (8 + 5), 7));
        assert_eq!((report.others_meanwhile.uplink.p50_us / 1e3).round() as u64, 1);
        assert_eq!(of(&report.others_meanwhile.downlink), (26, 1));
    }

    #[test]
    fn a_run_of_calls_that_are_all_alike_tells_nothing_apart() {
        assert!(Telling::begin(&[session(false, &[0])]).is_none());
    }
}
