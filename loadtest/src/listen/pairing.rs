//! Finds out by content which caller's stream each session heard.
//!
//! In:       the streams of calls, and sessions.
//! Out:      for each session, the stream, if any.
//! Bounds:   [`SAID_TICKS`] of each caller, kept for all at once (192 KiB a stream), and
//!           [`HEARD_MS`] of each session. Streams are tried in the order of how near they opened
//!           to the session: mostly the first is the one. A session that is of none of these is
//!           held against as much of each caller again, from around the time it began.
//! Not here: sessions that heard nobody (`judge` takes them by their handle).

use super::Ear;
use super::place::recognise;
use super::said::stretch;
use crate::comebacks::Part;
use crate::gemini::record::SessionRecord;
use crate::pairing::since;
use crate::schedule::NANOS_PER_TICK;

/// How much of each caller is known, in ticks: 6 s.
const SAID_TICKS: u64 = 48_000;

/// How much of each session is listened to, in milliseconds.
const HEARD_MS: usize = 2_000;

/// Regions searched for one session in one stream: all there are, for three stretches.
const REGIONS: usize = 12;

/// A session that heard nothing of the beginning of any caller is held against what was said from
/// so long before it began: half of what is known of a caller at once, in ticks.
const KEPT_TICKS: u64 = SAID_TICKS / 2;

/// The place in `parts` of the stream that each session heard.
pub fn pair(ear: &mut Ear, parts: &[Part<'_>], sessions: &[SessionRecord]) -> Vec<Option<usize>> {
    let mut bands: Vec<Option<Vec<f32>>> = vec![None; parts.len()];
    let mut part_of = |session: &SessionRecord| {
        let uplink = &session.uplink;
        let len = uplink.pcm.len().min(uplink.rate as usize / 1000 * HEARD_MS);
        let heard = ear.band(&uplink.pcm[..len], uplink.rate).band;
        let mut order: Vec<usize> = (0..parts.len()).collect();
        let opened = |part: usize| parts[part].record.times.opened.unwrap_or(u64::MAX);
        order.sort_by_key(|&part| (opened(part).abs_diff(session.accepted_at), part));
        let mut beginning_of = |ear: &mut Ear, part: usize| {
            let said = bands[part].get_or_insert_with(|| said(ear, &parts[part], 0));
            recognise(ear.search(), said, &heard, &mut { REGIONS })
        };
        let found = order.iter().copied().find(|&part| beginning_of(ear, part));
        let late = |&part: &usize| {
            let since = since(&parts[part], session).unwrap_or(0) / NANOS_PER_TICK;
            since > KEPT_TICKS && {
                let said = said(ear, &parts[part], since - KEPT_TICKS);
                recognise(ear.search(), &said, &heard, &mut { REGIONS })
            }
        };
        // One that was taken up goes by its handle.
        let may_be_late = found.is_none() && session.taken_up_from.is_none() && uplink.rate != 0;
        found.or_else(|| order.iter().copied().filter(|_| may_be_late).find(late))
    };
    sessions.iter().map(&mut part_of).collect()
}

/// The band of what the caller said on a stream from a tick on.
fn said(ear: &mut Ear, part: &Part<'_>, from: u64) -> Vec<f32> {
    let (pcm, rate) = stretch(part, from, SAID_TICKS);
    ear.band(&pcm, rate).band
}
