//! Which stream each session of the model belongs to, by the samples it heard.
//!
//! In:       the streams of calls, and sessions.
//! Out:      for each session, the place of the stream whose caller it heard, if any.
//! Bounds:   landmarks in the first 10 s of each stream are kept; for the sessions that heard none
//!           of them, those of the sessions, and every stream is gone through once.
//! Not here: sessions that heard nobody (`judge` takes them by their handle), pairing by content
//!           (`listen::pairing`).

use std::collections::HashMap;

use crate::clock::Nanos;
use crate::comebacks::Part;
use crate::gemini::record::SessionRecord;
use crate::signal;
use crate::verify::{WINDOW, is_telling};

/// One in so many windows, by what it sounds like, stands for its call. A power of two: a frame of
/// 20 ms at 16 kHz has ten.
const LANDMARK_ONE_IN: u64 = 32;

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
        let found = by_voice(&expected, sessions);
        let of_rate = |place: &usize| sessions[*place].uplink.rate == rate;
        for place in (0..sessions.len()).filter(of_rate) {
            part_of[place] = found[place];
        }
        // One that was taken up goes by its handle.
        let is_late = |place: &usize| found[*place].is_none() && !is_taken_up(&sessions[*place]);
        let late: Vec<usize> = (0..sessions.len()).filter(of_rate).filter(is_late).collect();
        for (place, part) in late_by_voice(&expected, sessions, &late) {
            part_of[place] = Some(part);
        }
    }
    part_of
}

fn is_taken_up(session: &SessionRecord) -> bool {
    session.taken_up_from.is_some()
}

/// Which caller each of the sessions at `late` heard, further on than [`by_voice`] looks.
fn late_by_voice(
    expected: &[Vec<i16>],
    sessions: &[SessionRecord],
    late: &[usize],
) -> HashMap<usize, usize> {
    let mut session_by: HashMap<u64, usize> = HashMap::new();
    for &place in late {
        let heard = landmarks(beginning(&sessions[place].uplink.pcm));
        session_by.extend(heard.map(|landmark| (landmark, place)));
    }
    let mut most: HashMap<usize, (usize, usize)> = HashMap::new();
    for (call, audio) in expected.iter().enumerate().filter(|_| !late.is_empty()) {
        let mut votes: HashMap<usize, usize> = HashMap::new();
        for place in landmarks(audio).filter_map(|landmark| session_by.get(&landmark)) {
            *votes.entry(*place).or_default() += 1;
        }
        for (place, votes) in votes {
            let best = most.entry(place).or_default();
            *best = (*best).max((votes, call));
        }
    }
    most.into_iter().map(|(place, (_, call))| (place, call)).collect()
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
    let mut call_by: HashMap<u64, u32> = HashMap::new();
    for (call, audio) in expected.iter().enumerate() {
        call_by.extend(landmarks(beginning(audio)).map(|landmark| (landmark, call as u32)));
    }
    let call_of = |session: &SessionRecord| {
        let named =
            landmarks(beginning(&session.uplink.pcm)).filter_map(|it| call_by.get(&it).copied());
        let mut votes: HashMap<u32, usize> = HashMap::new();
        named.take(VOTES).for_each(|call| *votes.entry(call).or_default() += 1);
        let most = votes.into_iter().max_by_key(|&(call, votes)| (votes, call));
        most.map(|(call, _)| call as usize)
    };
    sessions.iter().map(call_of).collect()
}

/// The hashes of some telling windows of an audio, one of [`LANDMARK_ONE_IN`] on average. What a
/// window sounds like decides whether it is one, so that both ends find the same ones wherever each
/// began to hear, and thousands of calls fit into memory.
fn landmarks(audio: &[i16]) -> impl Iterator<Item = u64> {
    /// The base of a polynomial modulo 2^64: odd, from the golden ratio.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    /// What the oldest sample of a window weighs in the next.
    const LEAVES: u64 = BASE.wrapping_pow(WINDOW as u32);
    let mut sum = 0_u64;
    audio.iter().enumerate().filter_map(move |(end, &sample)| {
        let gone = end.checked_sub(WINDOW).map_or(0, |gone| audio[gone] as u64);
        sum = sum.wrapping_mul(BASE).wrapping_add(sample as u64);
        sum = sum.wrapping_sub(gone.wrapping_mul(LEAVES));
        let window = audio.get((end + 1).checked_sub(WINDOW)?..=end)?;
        // The high bits of a product hang on all of its factor's.
        let hash = (sum ^ (sum >> 32)).wrapping_mul(BASE);
        (hash >> (u64::BITS - LANDMARK_ONE_IN.ilog2()) == 0 && is_telling(window)).then_some(hash)
    })
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
    use crate::clock::SECONDS;
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
