//! What the handovers of a call from one connection of the model to the next cost: audible gaps,
//! time until the model hears again, connections that were not replaced.
//!
//! In:       a call, its sessions in order, and where in the heard audio each turn lies.
//! Out:      a [`Swap`] for every pair of sessions.
//! Bounds:   those of the records.
//! Not here: lost samples (`verify`), percentiles and demands (`report`).
//!
//! The audible gap of a swap is what the caller waits for the model beyond its plan: from the
//! moment the next words were planned, or the phone had played out, whichever is later, until they
//! arrive. A swap in a pause of the conversation that is over before the pause has none.

use crate::carrier::record::CallRecord;
use crate::clock::{Nanos, SECONDS};
use crate::gemini::record::{Event, SessionRecord};
use crate::verify::{Placed, left_to_play};

/// A connection that ends this long before the call does is to be replaced.
pub const REPLACED_WITHIN: Nanos = 20 * SECONDS;

/// One handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Why.
    pub cause: Cause,
    /// From the last audio that the old session heard until the new one was ready.
    pub handover: Nanos,
    /// From the fault until the new session was ready; `None` for an announced end.
    pub recovery: Option<Nanos>,
    /// How long the caller waited for words beyond their plan; `None` where no words came.
    pub gap: Option<Nanos>,
}

/// Why a connection was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its end was announced.
    Announced,
    /// It was cut, closed or stalled.
    Fault,
    /// Nothing that the stand-in did.
    Unexplained,
}

/// The handovers of one call, and how many connections that came to their end in mid-call were not
/// replaced. `sessions`: those that were ready, in order. `turns`: what was heard of them.
pub fn of(call: &CallRecord, sessions: &[&SessionRecord], turns: &[Placed]) -> (Vec<Swap>, u64) {
    let pairs = sessions.windows(2).enumerate();
    let swaps = pairs.filter_map(|(place, pair)| {
        let &[old, new] = pair else { return None };
        let ready = new.ready_at?;
        let fault = old.events.iter().find(|(_, event)| event.is_fatal()).map(|&(at, _)| at);
        let announced = old.events.iter().any(|&(_, event)| event == Event::GoAway);
        let left = old.uplink.arrivals.last().map(|&(at, _)| at);
        Some(Swap {
            cause: match (fault, announced) {
                (Some(_), _) => Cause::Fault,
                (None, true) => Cause::Announced,
                (None, false) => Cause::Unexplained,
            },
            handover: ready.saturating_sub(left.or(fault).unwrap_or(ready)),
            recovery: fault.map(|at| ready.saturating_sub(at)),
            gap: gap(call, turns, place, place + 1),
        })
    });
    (swaps.collect(), unreplaced(call, sessions))
}

/// The last session's connection came to an end although the call went on for long.
fn unreplaced(call: &CallRecord, sessions: &[&SessionRecord]) -> u64 {
    let (Some(last), Some(closed)) = (sessions.last(), call.times.closed) else { return 0 };
    let is_end = |event: Event| event.is_fatal() && !matches!(event, Event::Dismissed(_));
    let ended = last.events.iter().find(|&&(_, event)| is_end(event)).map(|&(at, _)| at);
    u64::from(ended.is_some_and(|at| at + REPLACED_WITHIN < closed))
}

/// The gap before the first words of session `new`.
fn gap(call: &CallRecord, turns: &[Placed], old: usize, new: usize) -> Option<Nanos> {
    let first = turns.iter().find(|placed| placed.session == new && placed.len > 0)?;
    let planned = first.turn.chunks.first()?.planned;
    let arrived = call.heard.arrivals.iter().find(|&&(_, samples)| samples > first.from)?.0;
    // Just before they arrive: how long has the phone had nothing to play?
    let before = arrived.saturating_sub(1);
    let mut dry_for = silent_for(call, before, first.from);
    if !first.turn.continues || !turns.iter().any(|placed| placed.session == old) {
        dry_for = dry_for.min(arrived.saturating_sub(planned));
    }
    Some(dry_for)
}

/// How long the phone had played everything before sample `from`, at `now`.
fn silent_for(call: &CallRecord, now: Nanos, from: u64) -> Nanos {
    if left_to_play(call, now) > 0 {
        return 0;
    }
    // The last audio before; it plays from its arrival, or behind what was there already.
    let arrivals = call.heard.arrivals.iter().take_while(|&&(_, samples)| samples <= from);
    let Some(&(last, _)) = arrivals.last() else { return 0 };
    let dry = last + left_to_play(call, last);
    now.saturating_sub(dry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::phone::Heard;
    use crate::carrier::record::CallTimes;
    use crate::clock::MILLIS;
    use crate::gemini::record::{Chunk, Turn, Uplink};

    /// A call that heard 100 ms at 1 s and 100 ms at `again`, and ended after a minute.
    fn call(again: Nanos) -> CallRecord {
        CallRecord {
            times: CallTimes { closed: Some(60 * SECONDS), ..CallTimes::default() },
            heard: Heard {
                audio: vec![0; 1600],
                samples: 1600,
                arrivals: vec![(SECONDS, 800), (again, 1600)],
                ..Heard::default()
            },
            ..CallRecord::empty(0)
        }
    }

    fn session(index: usize, ready: Nanos, events: &[(Nanos, Event)]) -> SessionRecord {
        SessionRecord {
            ready_at: Some(ready),
            uplink: Uplink { arrivals: vec![(ready + SECONDS, 320)], ..Uplink::default() },
            events: events.to_vec(),
            ..SessionRecord::new(index, 0)
        }
    }

    fn placed(session: usize, planned: Nanos, continues: bool) -> Placed {
        let chunks = vec![Chunk { planned, sent: planned, to_sample: 2400 }];
        let turn =
            Turn { number: 0, samples: 2400, chunks, complete: true, continues, steady: false };
        Placed { session, turn, from: session as u64 * 800, len: 800 }
    }

    #[test]
    fn a_gap_begins_where_the_next_words_were_planned_or_the_last_ones_were_played_out() {
        let old = session(0, 0, &[(1050 * MILLIS, Event::GoAway)]);
        let new = session(1, 1300 * MILLIS, &[]);
        // The first words are played out at 1.1 s.
        for (again, planned, continues, gap) in [
            (1300, 1000, true, 200),
            (1300, 1050, false, 200),
            (1300, 1250, false, 50),
            (1300, 1300, false, 0),
            (1090, 1000, true, 0),
        ] {
            let call = call(again * MILLIS);
            let turns = [placed(0, SECONDS, false), placed(1, planned * MILLIS, continues)];
            let (swaps, failed) = of(&call, &[&old, &new], &turns);
            let [swap] = swaps[..] else { panic!("one swap") };
            let found = swap.gap.map(|gap| (gap + MILLIS / 2) / MILLIS);
            assert_eq!(found, Some(gap), "{again} {planned} {continues}");
            assert_eq!((swap.cause, swap.recovery, failed), (Cause::Announced, None, 0));
            assert_eq!(swap.handover, 300 * MILLIS);
        }
    }

    #[test]
    fn a_recovery_counts_from_the_fault_and_a_connection_that_nobody_replaced_has_failed() {
        let broken = session(0, 0, &[(2 * SECONDS, Event::Closed(1011))]);
        let new = session(1, 2300 * MILLIS, &[]);
        let turns = [placed(0, SECONDS, false)];
        let call = call(SECONDS);
        let (swaps, failed) = of(&call, &[&broken, &new], &turns);
        assert_eq!((swaps[0].cause, swaps[0].recovery), (Cause::Fault, Some(300 * MILLIS)));
        assert_eq!((swaps[0].gap, failed), (None, 0));
        assert_eq!(of(&call, &[&broken], &turns), (vec![], 1));
        let late = session(0, 0, &[(50 * SECONDS, Event::Cut)]);
        assert_eq!(of(&call, &[&late], &turns).1, 0, "the call was over soon");
        let fine = session(0, 0, &[]);
        assert_eq!(of(&call, &[&fine, &new], &turns).0[0].cause, Cause::Unexplained);
    }
}
