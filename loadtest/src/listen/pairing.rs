//! Finds out by content which call each session heard.
//!
//! In:       calls and sessions.
//! Out:      for each session, the call, if any.
//! Bounds:   [`SAID_TICKS`] of each caller, kept for all at once (192 KiB a call), and
//!           [`HEARD_MS`] of each session. Calls are tried in the order of how near their stream
//!           opened to the session: mostly the first is the one.
//! Not here: sessions that heard nobody (`judge` takes them by their handle).

use super::Ear;
use super::place::recognise;
use super::said::beginning;
use crate::gemini::record::SessionRecord;
use crate::judge::Made;

/// How much of each caller is known, in ticks: 6 s.
const SAID_TICKS: usize = 48_000;

/// How much of each session is listened to, in milliseconds.
const HEARD_MS: usize = 2_000;

/// Regions searched for one session in one call: all there are, for three stretches.
const REGIONS: usize = 12;

/// The place in `calls` of the call that each session heard.
pub fn pair(ear: &mut Ear, calls: &[Made], sessions: &[SessionRecord]) -> Vec<Option<usize>> {
    let mut bands: Vec<Option<Vec<f32>>> = vec![None; calls.len()];
    let mut call_of = |session: &SessionRecord| {
        let uplink = &session.uplink;
        let len = uplink.pcm.len().min(uplink.rate as usize / 1000 * HEARD_MS);
        let heard = ear.band(&uplink.pcm[..len], uplink.rate).band;
        let mut order: Vec<usize> = (0..calls.len()).collect();
        let opened = |call: usize| calls[call].record.times.opened.unwrap_or(u64::MAX);
        order.sort_by_key(|&call| (opened(call).abs_diff(session.accepted_at), call));
        order.into_iter().find(|&call| {
            let said = bands[call].get_or_insert_with(|| {
                let (pcm, rate) = beginning(&calls[call], 0..SAID_TICKS);
                ear.band(&pcm, rate).band
            });
            recognise(ear.search(), said, &heard, &mut { REGIONS })
        })
    };
    sessions.iter().map(&mut call_of).collect()
}
