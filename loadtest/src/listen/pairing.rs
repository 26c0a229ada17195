//! Finds out by content which caller's stream each session heard.
//!
//! In:       the streams of calls, and sessions.
//! Out:      for each session, the stream, if any.
//! Bounds:   [`SAID_TICKS`] of each caller, kept for all at once (192 KiB a stream), and
//!           [`HEARD_MS`] of each session. Streams are tried in the order of how near they opened
//!           to the session: mostly the first is the one.
//! Not here: sessions that heard nobody (`judge` takes them by their handle).

use super::Ear;
use super::place::recognise;
use super::said::beginning;
use crate::comebacks::Part;
use crate::gemini::record::SessionRecord;

/// How much of each caller is known, in ticks: 6 s.
const SAID_TICKS: u64 = 48_000;

/// How much of each session is listened to, in milliseconds.
const HEARD_MS: usize = 2_000;

/// Regions searched for one session in one stream: all there are, for three stretches.
const REGIONS: usize = 12;

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
        order.into_iter().find(|&part| {
            let said = bands[part].get_or_insert_with(|| {
                let (pcm, rate) = beginning(&parts[part], SAID_TICKS);
                ear.band(&pcm, rate).band
            });
            recognise(ear.search(), said, &heard, &mut { REGIONS })
        })
    };
    sessions.iter().map(&mut part_of).collect()
}
