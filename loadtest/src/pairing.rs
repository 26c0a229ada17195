//! Which stream each session of the model belongs to, by the samples it heard.
//!
//! In:       the streams of calls, and sessions.
//! Out:      for each session, the place of the stream whose caller it heard, if any.
//! Bounds:   the first 10 s of each stream; of a session that heard nothing of these, 10 s of each
//!           stream that was open when it began, around that time.
//! Not here: sessions that heard nobody (`judge` takes them by their handle), pairing by content
//!           (`listen::pairing`).

use std::collections::HashMap;

use crate::clock::{Nanos, SECONDS};
use crate::comebacks::Part;
use crate::gemini::record::SessionRecord;
use crate::signal;
use crate::verify::{WINDOW, index_places, is_telling};

/// A session hears what was said from so long before it began, as far as a relay keeps audio
/// while it has no model.
const KEPT: Nanos = 4 * SECONDS;

/// How much of a session, and of a caller, is looked at to pair them, in samples.
const PAIRING_SAMPLES: usize = 10 * 16_000;

/// Places of a session that are looked up to find its call: most of them name it.
const VOTES: usize = 32;

/// What the model must hear of a stream at `rate`.
pub(crate) fn expected_uplink(part: &Part<'_>, rate: u32) -> Vec<i16> {
    signal::uplink(part.record.formats.up, &part.payload(part.frames()), rate)
}

/// The place in `parts` of the stream that each session heard.
pub(crate) fn pair(parts: &[Part<'_>], sessions: &[SessionRecord]) -> Vec<Option<usize>> {
    let mut part_of: Vec<Option<usize>> = vec![None; sessions.len()];
    let mut rates: Vec<u32> = sessions.iter().map(|session| session.uplink.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    for rate in rates.into_iter().filter(|&rate| rate != 0) {
        let expected: Vec<_> = parts.iter().map(|part| expected_uplink(part, rate)).collect();
        for (place, part) in by_voice(&expected, sessions).into_iter().enumerate() {
            let session = &sessions[place];
            if session.uplink.rate == rate {
                part_of[place] = part.or_else(|| late(parts, &expected, session));
            }
        }
    }
    part_of
}

/// The stream of a session that began long after it. `expected`: of each stream.
fn late(parts: &[Part<'_>], expected: &[Vec<i16>], session: &SessionRecord) -> Option<usize> {
    let rate = u64::from(session.uplink.rate);
    let around = parts.iter().zip(expected).map(|(part, expected)| {
        let from = since(part, session).map(|it| it.saturating_sub(KEPT) * rate / SECONDS);
        let from = from.and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| expected.get(from..)).unwrap_or_default()
    });
    let around: Vec<_> = around.map(beginning).map(<[i16]>::to_vec).collect();
    by_voice(&around, std::slice::from_ref(session)).pop()?
}

/// How long a stream had been open when a session began; `None` if it was not.
pub(crate) fn since(part: &Part<'_>, session: &SessionRecord) -> Option<Nanos> {
    let times = &part.record.times;
    let ended = times.closed.is_some_and(|closed| closed < session.accepted_at);
    session.accepted_at.checked_sub(times.opened?).filter(|_| !ended)
}

/// Finds out which call each session heard: `expected` is what the model must hear of each call.
/// `None` where a session has heard nothing that any caller said.
pub(crate) fn by_voice(expected: &[Vec<i16>], sessions: &[SessionRecord]) -> Vec<Option<usize>> {
    let mut places: HashMap<&[i16], usize> = HashMap::new();
    for (call, audio) in expected.iter().enumerate() {
        places.extend(
            index_places(WINDOW, beginning(audio)).into_keys().map(|window| (window, call)),
        );
    }
    let call_of = |session: &SessionRecord| {
        let windows = beginning(&session.uplink.pcm).windows(WINDOW);
        let named = windows
            .filter(|window| is_telling(window))
            .filter_map(|window| places.get(window).copied());
        let mut votes: HashMap<usize, usize> = HashMap::new();
        named.take(VOTES).for_each(|call| *votes.entry(call).or_default() += 1);
        votes.into_iter().max_by_key(|&(call, votes)| (votes, call)).map(|(call, _)| call)
    };
    sessions.iter().map(call_of).collect()
}

/// As much of the audio of a call, or of a session, as [`by_voice`] looks at.
fn beginning(audio: &[i16]) -> &[i16] {
    &audio[..audio.len().min(PAIRING_SAMPLES)]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::carrier::phone::SentFrame;
    use crate::carrier::record::CallRecord;
    use crate::comebacks;
    use crate::judge::Made;
    use crate::listen::{self, Ear};
    use crate::schedule::MediaPlan;
    use crate::signal::CallerVoice;

    /// Call `index`, of 25 s from `opened` on.
    fn made(index: usize, opened: Nanos) -> Made {
        let media = Arc::new(MediaPlan::steady(25_000));
        let mut record = CallRecord::empty(index);
        (record.times.opened, record.times.closed) = (Some(opened), Some(opened + 26 * SECONDS));
        let sent = media.frames().map(|frame| {
            let at = opened + frame.at;
            SentFrame { planned: at, sent: at, clock_to: frame.clock_to() }
        });
        record.sent = sent.collect();
        Made { media, voice: CallerVoice::new(1, index), record }
    }

    #[test]
    fn a_session_belongs_to_the_caller_it_heard_however_late_in_the_call_it_began() {
        let calls = [made(0, 0), made(1, 2 * SECONDS)];
        let parts = comebacks::parts(&calls);
        // Which caller, from which second of the call on; one of them kept for 3 s.
        let heard = [(0, 0, 0), (1, 1, 0), (0, 12, 0), (1, 17, 3)];
        let sessions: Vec<SessionRecord> = heard
            .iter()
            .enumerate()
            .map(|(n, &(call, from, kept))| {
                let opened = parts[call].record.times.opened.unwrap();
                let mut session = SessionRecord::new(n, opened + (from + kept) * SECONDS);
                session.uplink.rate = 16_000;
                session.uplink.pcm = expected_uplink(&parts[call], 16_000);
                session.uplink.pcm.drain(..from as usize * 16_000);
                session
            })
            .chain([SessionRecord::new(4, SECONDS)])
            .collect();
        let whose = [Some(0), Some(1), Some(0), Some(1), None];
        assert_eq!(pair(&parts, &sessions), whose);
        assert_eq!(listen::pair(&mut Ear::new(), &parts, &sessions), whose);
    }
}
