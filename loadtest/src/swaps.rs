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

use crate::clock::{Nanos, SECONDS};
use crate::gemini::record::{Event, SessionRecord};
use crate::twilio::caller::CallRecord;
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
    let ended = last.events.iter().find(|(_, event)| event.is_fatal()).map(|&(at, _)| at);
    u64::from(ended.is_some_and(|at| at + REPLACED_WITHIN < closed))
}

/// The gap before the first words of session `new`.
fn gap(call: &CallRecord, turns: &[Placed], old: usize, new: usize) -> Option<Nanos> {
    let first = turns.iter().find(|placed| placed.session == new && placed.len > 0)?;
    let planned = first.turn.chunks.first()?.planned;
    let arrived = call.heard.arrivals.iter().find(|&&(_, bytes)| bytes > first.from)?.0;
    // Just before they arrive: how long has the phone had nothing to play?
    let before = arrived.saturating_sub(1);
    let mut dry_for = silent_for(call, before, first.from);
    if !first.turn.continues || !turns.iter().any(|placed| placed.session == old) {
        dry_for = dry_for.min(arrived.saturating_sub(planned));
    }
    Some(dry_for)
}

/// How long the phone had played everything before byte `from`, at `now`.
fn silent_for(call: &CallRecord, now: Nanos, from: u64) -> Nanos {
    if left_to_play(call, now) > 0 {
        return 0;
    }
    // The last audio before; it plays from its arrival, or behind what was there already.
    let arrivals = call.heard.arrivals.iter().take_while(|&&(_, bytes)| bytes <= from);
    let Some(&(last, _)) = arrivals.last() else { return 0 };
    let dry = last + left_to_play(call, last);
    now.saturating_sub(dry)
}
