//! Judges what each side heard against what the other side said, sample for sample; and measures
//! when it was heard, by content.
//!
//! In:       the records of calls and sessions.
//! Out:      per call an [`Alignment`] each way, and the latency of every frame and chunk.
//! Bounds:   as long as the records; a faulty call costs a search over its audio.
//! Not here: making the records, printing (`report`).
//!
//! Order is part of the content: sample `n` of the expectation must be sample `n` of what was
//! heard. Once that holds, the message that brought a sample is known by counting, and a relay
//! that buffers, joins or cuts messages is measured like any other.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use crate::carrier::Carrier;
use crate::carrier::playout::Playout;
use crate::carrier::record::{CallRecord, Outcome};
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::format::Format;
use crate::gemini::record::{SessionRecord, Spoken, Turn};
use crate::gemini::script::SAMPLES_PER_MS;
use crate::net::link::Closing;
use crate::probes::LATE;
use crate::schedule::MediaPlan;
use crate::signal::{self, CallerVoice, ModelVoice};

/// Samples that identify a place in the audio.
pub(crate) const WINDOW: usize = 16;

/// From one indexed place to the next.
const STRIDE: usize = 8;

/// Different values that a window must have to identify a place.
const TELLING: usize = 10;

/// How two sequences of samples relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// Samples expected.
    pub expected: u64,
    /// Samples heard that were expected at their place.
    pub matched: u64,
    /// Samples expected and not heard.
    pub lost: u64,
    /// Samples heard again.
    pub doubled: u64,
    /// Samples heard that nobody said.
    pub foreign: u64,
    /// Samples that an interruption made void, heard or not.
    pub voided: u64,
    /// Where the first fault is, in samples heard.
    pub first_fault: Option<u64>,
}

impl Alignment {
    /// True if everything expected was heard, once, in order, and nothing else.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.foreign == 0
    }

    /// True if nothing is wrong beyond what is lost and foreign in `excused`.
    pub fn is_whole_but_for(&self, excused: &Alignment) -> bool {
        self.lost <= excused.lost && self.doubled == 0 && self.foreign <= excused.foreign
    }

    /// The two counted together.
    pub fn add(&mut self, other: &Alignment) {
        self.expected += other.expected;
        self.matched += other.matched;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.foreign += other.foreign;
        self.voided += other.voided;
    }
}

/// Compares what was heard with what was expected.
pub fn align<T: Copy + Eq + Hash>(expected: &[T], heard: &[T]) -> Alignment {
    align_by(WINDOW, expected, heard)
}

/// The same with windows of so many samples.
fn align_by<T: Copy + Eq + Hash>(window: usize, expected: &[T], heard: &[T]) -> Alignment {
    let mut result = Alignment { expected: expected.len() as u64, ..Alignment::default() };
    let mut places: Option<HashMap<&[T], usize>> = None;
    let (mut e, mut h) = (0, 0);
    loop {
        let same = expected[e..].iter().zip(&heard[h..]).take_while(|(e, h)| e == h).count();
        e += same;
        h += same;
        result.matched += same as u64;
        if h == heard.len() || e == expected.len() {
            break;
        }
        result.first_fault.get_or_insert(h as u64);
        let places = places.get_or_insert_with(|| index_places(window, expected));
        let Some((to_e, to_h)) = resume(window, places, expected, heard, h) else { break };
        result.foreign += (to_h - h) as u64;
        if to_e >= e {
            result.lost += (to_e - e) as u64;
        } else {
            // What was matched before is heard again: it counts once as matched.
            result.doubled += (e - to_e) as u64;
            result.matched -= (e - to_e) as u64;
        }
        (e, h) = (to_e, to_h);
    }
    if e < expected.len() || h < heard.len() {
        result.first_fault.get_or_insert(h as u64);
    }
    result.lost += (expected.len() - e) as u64;
    result.foreign += (heard.len() - h) as u64;
    result
}

/// The places of every [`STRIDE`]th window that can be nowhere else.
fn index_places<T: Copy + Eq + Hash>(window: usize, audio: &[T]) -> HashMap<&[T], usize> {
    let mut places: HashMap<&[T], Option<usize>> = HashMap::new();
    for (place, window) in audio.windows(window).enumerate().step_by(STRIDE) {
        if is_telling(window) {
            places.entry(window).and_modify(|known| *known = None).or_insert(Some(place));
        }
    }
    places.into_iter().filter_map(|(window, place)| Some((window, place?))).collect()
}

/// True if a window holds enough different values not to be silence or the first stir of a filter,
/// which sound alike everywhere.
pub(crate) fn is_telling<T: Eq>(window: &[T]) -> bool {
    let new = |&(n, sample): &(usize, &T)| !window[..n].contains(sample);
    window.iter().enumerate().filter(new).count() >= TELLING
}

/// Where both go on alike again: the first place heard from `from` on that was expected anywhere.
fn resume<T: Copy + Eq + Hash>(
    window: usize,
    places: &HashMap<&[T], usize>,
    expected: &[T],
    heard: &[T],
    from: usize,
) -> Option<(usize, usize)> {
    let windows = heard[from..].windows(window).enumerate();
    let (offset, mut e) = windows
        .filter(|(_, window)| is_telling(window))
        .find_map(|(offset, window)| places.get(window).map(|&place| (offset, place)))?;
    let mut h = from + offset;
    // The window lies on the stride; the likeness may begin before it.
    while h > from && e > 0 && heard[h - 1] == expected[e - 1] {
        h -= 1;
        e -= 1;
    }
    Some((e, h))
}

/// The payload of the first `frames` frames of a plan on the media clock: speech, and silence in
/// holes.
pub fn spoken_code(plan: &MediaPlan, voice: CallerVoice, frames: usize, format: Format) -> Vec<u8> {
    spoken_code_of(plan, voice, None, 0..frames, format)
}

/// The same of any frames: those of a stream of their own. `said`: their payload, where the voice
/// alone does not tell.
pub(crate) fn spoken_code_of(
    plan: &MediaPlan,
    voice: CallerVoice,
    mut said: Option<&[u8]>,
    frames: Range<usize>,
    format: Format,
) -> Vec<u8> {
    let voice = voice.pausing(plan.pauses);
    let samples_per_tick = format.rate as usize / 8_000;
    let mut code = Vec::new();
    let mut origin = if frames.start == 0 { Some(0) } else { None };
    for frame in plan.frames().skip(frames.start).take(frames.len()) {
        let clock_from = frame.clock_from - *origin.get_or_insert(frame.clock_from);
        let from = clock_from as usize * samples_per_tick * format.sample_bytes();
        let hole = from.saturating_sub(code.len()) / format.sample_bytes();
        format.write(&vec![format.silence(); hole], &mut code);
        match &mut said {
            None => voice.speak_as(format, frame.spoken_from, frame.ticks, &mut code),
            Some(said) => {
                let bytes = frame.ticks * samples_per_tick * format.sample_bytes();
                code.extend(said.split_off(..bytes.min(said.len())).unwrap_or_default());
            }
        }
    }
    code
}

/// Latencies of one direction, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// From the planned time: what a slow relay cannot make look better.
    pub corrected: Vec<Nanos>,
    /// From the time the audio was handed to the socket.
    pub uncorrected: Vec<Nanos>,
    /// The planned time of each, in the same order.
    pub planned: Vec<Nanos>,
    /// Pieces not counted, because the other side was not ready when they were planned.
    pub early: u64,
    /// Pieces not counted, because they came further ahead of real time than a relay passes on.
    pub paced: u64,
    /// Pieces not counted, because they were heard by a side that is read late.
    pub read_late: u64,
    /// Pieces not counted, because what was heard does not tell when they were.
    pub unplaced: u64,
}

impl Latencies {
    /// Those of a stream that was not whole: so many pieces, none of them counted.
    pub fn unplaced(pieces: usize) -> Latencies {
        Latencies { unplaced: pieces as u64, ..Latencies::default() }
    }

    /// The two together.
    pub fn add(&mut self, other: Latencies) {
        self.corrected.extend(other.corrected);
        self.uncorrected.extend(other.uncorrected);
        self.planned.extend(other.planned);
        self.early += other.early;
        self.paced += other.paced;
        self.read_late += other.read_late;
        self.unplaced += other.unplaced;
    }

    /// The same pieces, heard by a side that is read late.
    pub(crate) fn untimed(self) -> Latencies {
        let read_late = self.read_late + self.corrected.len() as u64;
        let Latencies { early, paced, unplaced, .. } = self;
        Latencies { early, paced, unplaced, read_late, ..Latencies::default() }
    }

    /// Counts one piece.
    pub(crate) fn count(&mut self, planned: Nanos, sent: Nanos, heard: Nanos) {
        self.corrected.push(heard.saturating_sub(planned));
        self.uncorrected.push(heard.saturating_sub(sent));
        self.planned.push(planned);
    }
}

/// What the model heard of one call, over all its connections: samples, and the arrival of each
/// message with the count of samples so far.
pub fn stitch(sessions: &[&SessionRecord]) -> (Vec<i16>, Vec<(Nanos, u64)>) {
    let mut pcm = Vec::new();
    let mut arrivals = Vec::new();
    for session in sessions {
        let before = pcm.len() as u64;
        pcm.extend_from_slice(&session.uplink.pcm);
        arrivals.extend(session.uplink.arrivals.iter().map(|&(at, to)| (at, before + to)));
    }
    (pcm, arrivals)
}

/// When each frame was heard whole by the model. Only meaningful if the uplink is whole. Frames
/// that were planned while no session was ready wait by design, and are not counted.
pub fn uplink_latency(call: &CallRecord, sessions: &[&SessionRecord]) -> Latencies {
    let mut latencies = Latencies::default();
    let Some(rate) = sessions.iter().map(|it| it.uplink.rate).find(|&rate| rate != 0) else {
        return latencies;
    };
    let per_tick = u64::from(rate) / 8_000;
    let (_, arrivals) = stitch(sessions);
    let mut arrivals = arrivals.iter().peekable();
    let ready: Vec<(Nanos, Nanos)> = served(sessions);
    for frame in &call.sent {
        let until = frame.clock_to * per_tick;
        while arrivals.next_if(|&&(_, samples)| samples < until).is_some() {}
        let Some(&&(heard, _)) = arrivals.peek() else { break };
        let planned = frame.planned;
        if ready.iter().any(|&(from, to)| from <= planned && planned < to) {
            latencies.count(planned, frame.sent, heard);
        } else {
            latencies.early += 1;
        }
    }
    match sessions.iter().all(|session| session.probe) {
        true => latencies,
        false => latencies.untimed(),
    }
}

/// From when to when the model took audio: a session that was replaced did until its last piece.
pub(crate) fn served(sessions: &[&SessionRecord]) -> Vec<(Nanos, Nanos)> {
    let last = sessions.len().saturating_sub(1);
    let until = |place: usize, session: &SessionRecord| match session.uplink.arrivals.last() {
        _ if place == last => Nanos::MAX,
        Some(&(at, _)) => at,
        None => 0,
    };
    let ready = sessions.iter().enumerate();
    ready.filter_map(|(place, it)| Some((it.ready_at?, until(place, it)))).collect()
}

/// The downlink of one call: the verdict, and where in the heard audio each turn that was heard
/// begins.
#[derive(Clone, Debug, Default)]
pub struct Downlink {
    /// The verdict, in samples at the phone's rate.
    pub alignment: Alignment,
    /// Turns that were heard.
    pub turns: Vec<Placed>,
    /// What the end of a connection made void, in samples: said, and never heard.
    pub cut_samples: u64,
}

/// A turn in what the phone heard.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The place of its session among those of the call.
    pub session: usize,
    /// The turn.
    pub turn: Turn,
    /// Its first sample.
    pub from: u64,
    /// The samples heard of it.
    pub len: u64,
}

/// What the phone must hear of a turn, as units of its format: its samples converted, padded to
/// whole frames if the turn was complete.
pub fn turn_code(seed: u64, session: usize, turn: &Turn, format: Format) -> Vec<i16> {
    padded(signal::downlink(&turn_pcm(seed, session, turn), format), turn, format)
}

pub(crate) fn turn_pcm(seed: u64, session: usize, turn: &Turn) -> Vec<i16> {
    let mut pcm = vec![0; turn.said() as usize];
    let voice = ModelVoice::new(seed, session, turn.number, turn.samples);
    let voice = if turn.steady { voice.steady() } else { voice };
    voice.speak(0, &mut pcm);
    pcm
}

fn padded(mut code: Vec<i16>, turn: &Turn, format: Format) -> Vec<i16> {
    if turn.complete {
        code.resize(code.len().next_multiple_of(format.frame_samples()), format.silence());
    }
    code
}

/// Samples of model audio that identify a place: its voice changes 8,000 times a second, whatever
/// the rate it is heard at.
fn window_of(format: Format) -> usize {
    WINDOW * (format.rate as usize / 8_000)
}

/// How much further than to a whole frame the end of a turn may be padded, in samples: Exotel takes
/// no piece below 3,200 bytes.
fn padding_max(carrier: Carrier, format: Format) -> usize {
    match carrier {
        Carrier::Exotel => 3_200 / format.sample_bytes(),
        _ => 0,
    }
}

/// The silence with which `heard` goes on behind a turn, in whole frames of at most `max` samples
/// together.
fn silence_behind(heard: &[i16], format: Format, max: usize) -> usize {
    let frames = heard.chunks_exact(format.frame_samples());
    let silent = frames.take_while(|frame| frame.iter().all(|&it| it == format.silence()));
    silent.count().min(max / format.frame_samples()) * format.frame_samples()
}

/// Samples at 24 kHz that are longer than the memory of a conversion to 8 kHz.
const MEMORY_SAMPLES: usize = 240;

/// A turn that goes on after a handover, by a relay whose filter remembers what came before it.
fn turn_code_after(before: &[i16], pcm: &[i16], turn: &Turn, format: Format) -> Vec<i16> {
    let memory = &before[before.len().saturating_sub(MEMORY_SAMPLES)..];
    let memory = &memory[memory.len() % 3..];
    let mut code = signal::downlink(&[memory, pcm].concat(), format);
    code.drain(..phone_samples(memory.len() as u64, format) as usize);
    padded(code, turn, format)
}

/// What becomes of so many samples at 24 kHz at the phone's rate.
fn phone_samples(at_24k: u64, format: Format) -> u64 {
    at_24k * u64::from(format.rate) / 24_000
}

/// Judges what a phone heard of the sessions of its call, in order. `seed`: of the model's voices.
///
/// Turns must be heard whole and in order. Where the model was interrupted, the phone may have
/// heard any part of what was said since the last interruption, from its start, up to a `clear`.
/// What was said within [`UNDER_WAY`] of the caller's goodbye may be unheard.
/// Where a connection came to its end in the middle of a turn, the end of that turn may be missing.
pub fn downlink(seed: u64, sessions: &[&SessionRecord], call: &CallRecord) -> Downlink {
    let format = call.formats.down;
    let heard = format.units(&call.heard.audio);
    let mut clears = call.heard.clears.iter().map(|clear| clear.after_samples as usize).peekable();
    let pads = padding_max(call.carrier, format);
    let mut result = Downlink::default();
    let mut cursor = 0;
    let mut before: Vec<i16> = Vec::new();
    for (place, session) in sessions.iter().enumerate() {
        for group in session.spoken.split_inclusive(|s| matches!(s, Spoken::Interrupted { .. })) {
            let rest = &heard[cursor..];
            let mut expected = Vec::new();
            let mut turns = Vec::new();
            for spoken in group {
                let Spoken::Turn(turn) = spoken else { continue };
                let pcm = turn_pcm(seed, session.index, turn);
                let mut code = padded(signal::downlink(&pcm, format), turn, format);
                if turn.continues && !starts_alike(&code, rest) {
                    code = turn_code_after(&before, &pcm, turn, format);
                }
                let behind = rest.get(expected.len() + code.len()..).unwrap_or_default();
                if turn.complete && pads > 0 {
                    let silence = silence_behind(behind, format, pads);
                    code.resize(code.len() + silence, format.silence());
                }
                turns.push((turn.clone(), expected.len(), code.len()));
                expected.extend(code);
                before = pcm;
            }
            let interrupted = matches!(group.last(), Some(Spoken::Interrupted { .. }));
            // Clears without an interruption behind them are harmless, and change nothing.
            while clears.next_if(|&clear| clear < cursor).is_some() {}
            let same = expected.iter().zip(rest).take_while(|(e, h)| e == h).count();
            let cut = clears.next_if(|&clear| interrupted && clear <= cursor + same);
            let torn = turns.last().is_some_and(|(turn, _, _)| !turn.complete);
            let taken = match cut {
                Some(clear) => {
                    result.alignment.voided += (expected.len() - (clear - cursor)) as u64;
                    clear - cursor
                }
                None if same == expected.len() => same,
                None if torn && !interrupted && place + 1 < sessions.len() => {
                    result.cut_samples += (expected.len() - same) as u64;
                    let unheard = (expected.len() - same) * 24_000 / format.rate as usize;
                    before.truncate(before.len().saturating_sub(unheard));
                    same
                }
                None if same == rest.len()
                    && (hung_up_on(call) || was_just_said(&turns, same, call)) =>
                {
                    result.alignment.voided += (expected.len() - same) as u64;
                    same
                }
                None => {
                    result.alignment.add(&align_by(window_of(format), &expected, rest));
                    let at = (cursor + same) as u64;
                    result.alignment.first_fault.get_or_insert(at);
                    return result;
                }
            };
            result.alignment.expected += expected.len() as u64;
            result.alignment.matched += taken as u64;
            for (turn, from, len) in turns {
                let len = len.min(taken.saturating_sub(from)) as u64;
                let from = (cursor + from) as u64;
                result.turns.push(Placed { session: place, turn, from, len });
            }
            cursor += taken;
        }
    }
    let behind = heard.len() - cursor;
    if behind > 0 {
        result.alignment.foreign += behind as u64;
        result.alignment.first_fault.get_or_insert(cursor as u64);
    }
    result
}

/// True if what was heard begins like `code`, as far as one filter's memory reaches.
fn starts_alike(code: &[i16], heard: &[i16]) -> bool {
    let len = code.len().min(heard.len()).min(MEMORY_SAMPLES / 3);
    code[..len] == heard[..len]
}

/// True if the phone still had something to play when its stream ended: what the relay kept back
/// for its time could not come any more; or if the stream died, with whatever was on its way.
pub(crate) fn hung_up_on(call: &CallRecord) -> bool {
    let died = matches!(call.closing, Some(Closing::Eof | Closing::Broken(_)));
    // What was read late may have begun to play so much earlier.
    let unsure = if call.probe { 0 } else { LATE };
    died || call.times.closed.is_some_and(|closed| left_to_play(call, closed) > unsure)
}

/// How long before the caller's goodbye a chunk may be said and not be on its way yet.
const UNDER_WAY: Nanos = LATE;

/// True if the caller hung up within [`UNDER_WAY`] of the chunk of which sample `unheard` of these
/// turns is the first that was not heard. `turns`: each with where it begins and how long it is.
fn was_just_said(turns: &[(Turn, usize, usize)], unheard: usize, call: &CallRecord) -> bool {
    let Some(closed) = call.times.closed.filter(|_| call.outcome == Outcome::HungUp) else {
        return false;
    };
    let ends = |from: usize, to_sample| from as u64 + phone_samples(to_sample, call.formats.down);
    let mut chunks = turns.iter().flat_map(|(turn, from, _)| {
        turn.chunks.iter().map(|chunk| (chunk.sent, ends(*from, chunk.to_sample)))
    });
    chunks
        .find(|&(_, ends)| ends > unheard as u64)
        .is_some_and(|(sent, _)| sent + UNDER_WAY > closed)
}

/// When each chunk was heard whole by the phone. `lead`: how far ahead of real time a relay passes
/// audio on; what the model sends further ahead than that waits by design, and is not counted, nor
/// is what was planned before its session was ready.
pub fn downlink_latency(
    downlink: &Downlink,
    sessions: &[&SessionRecord],
    call: &CallRecord,
    lead: Nanos,
) -> Latencies {
    let mut latencies = Latencies::default();
    let Some(opened) = call.times.opened else { return latencies };
    for Placed { session, turn, from, len } in &downlink.turns {
        let mut arrivals = call.heard.arrivals.iter().peekable();
        let ready = sessions[*session].ready_at.unwrap_or(opened).max(opened);
        let Some(began) = turn.chunks.first().map(|chunk| chunk.planned) else { continue };
        for (number, chunk) in turn.chunks.iter().enumerate() {
            let until = phone_samples(chunk.to_sample, call.formats.down);
            if until > *len {
                break;
            }
            while arrivals.next_if(|&&(_, samples)| samples < from + until).is_some() {}
            let Some(&&(heard, _)) = arrivals.peek() else { break };
            let into = chunk.to_sample * SECONDS / (SAMPLES_PER_MS * 1000);
            if chunk.planned < ready {
                latencies.early += 1;
            } else if number > 0 && into > chunk.planned - began + lead {
                latencies.paced += 1;
            } else {
                latencies.count(chunk.planned, chunk.sent, heard);
            }
        }
    }
    if call.probe { latencies } else { latencies.untimed() }
}

/// How the relay answered the interruptions of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BargeIns {
    /// From `interrupted` leaving the model to `clear` reaching the phone, where that is a probe.
    pub answered: Vec<Nanos>,
    /// Interruptions that no `clear` followed although the phone went on playing old speech.
    pub unanswered: u64,
}

/// Looks for the `clear` of every interruption. Where the phone had no more than
/// [`PLAYED_OUT`] left to play a `clear` may be missing.
pub fn barge_ins(session: &SessionRecord, call: &CallRecord) -> BargeIns {
    let mut result = BargeIns::default();
    let mut clears = call.heard.clears.iter().peekable();
    for spoken in &session.spoken {
        let &Spoken::Interrupted { at } = spoken else { continue };
        while clears.next_if(|clear| clear.at < at).is_some() {}
        let left = left_to_play(call, at);
        match clears.next() {
            Some(clear) if call.probe => result.answered.push(clear.at - at),
            Some(_) => {}
            None if left > PLAYED_OUT => result.unanswered += 1,
            None => {}
        }
    }
    result
}

/// What the phone had left to play at a time, as a time.
pub fn left_to_play(call: &CallRecord, at: Nanos) -> Nanos {
    let mut playout = Playout::new(call.formats.down.rate);
    let mut clears = call.heard.clears.iter().filter(|clear| clear.at <= at).peekable();
    let mut before = 0;
    for &(arrived, samples) in call.heard.arrivals.iter().take_while(|(arrived, _)| *arrived <= at)
    {
        while let Some(clear) = clears.next_if(|clear| clear.at <= arrived) {
            playout.clear(clear.at);
        }
        playout.push(arrived, (samples - before) as usize);
        before = samples;
    }
    for clear in clears {
        playout.clear(clear.at);
    }
    playout.dry_at().saturating_sub(at)
}

/// Speech this short may end before a `clear` would arrive.
const PLAYED_OUT: Nanos = 40 * MILLIS;

/// The lead a relay is expected to keep at the phone at least.
pub const LEAD: Nanos = 240 * MILLIS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::mix::Line;
    use crate::carrier::phone::{Cleared, Heard, SentFrame};
    use crate::carrier::record::{CallTimes, Formats};
    use crate::gemini::record::{Chunk, Uplink};
    use crate::pairing::by_voice;

    fn voice(len: usize) -> Vec<u8> {
        let mut code = vec![0; len];
        CallerVoice::new(3, 0).speak(0, &mut code);
        code
    }

    #[test]
    fn what_was_heard_as_said_is_whole() {
        let said = voice(1600);
        let alignment = align(&said, &said);
        assert!(alignment.is_whole());
        assert_eq!(alignment.matched, 1600);
        assert_eq!(alignment.first_fault, None);
    }

    #[test]
    fn a_lost_frame_is_found_and_counted() {
        let said = voice(1600);
        let heard = [&said[..480], &said[640..]].concat();
        let alignment = align(&said, &heard);
        assert_eq!((alignment.lost, alignment.doubled, alignment.foreign), (160, 0, 0));
        assert_eq!(alignment.first_fault, Some(480));
        let cut = align(&said, &said[..1599]);
        assert_eq!((cut.lost, cut.first_fault), (1, Some(1599)));
    }

    #[test]
    fn a_doubled_frame_is_found_and_counted() {
        let said = voice(1600);
        let heard = [&said[..640], &said[480..]].concat();
        let alignment = align(&said, &heard);
        assert_eq!((alignment.lost, alignment.doubled, alignment.foreign), (0, 160, 0));
    }

    #[test]
    fn frames_in_the_wrong_order_do_not_pass() {
        let said = voice(1600);
        let heard = [&said[..320], &said[480..640], &said[320..480], &said[640..]].concat();
        let alignment = align(&said, &heard);
        assert!(!alignment.is_whole());
        assert_eq!((alignment.lost, alignment.doubled), (320, 320));
    }

    #[test]
    fn a_wrong_sample_is_both_lost_and_foreign() {
        let said = voice(1600);
        let mut heard = said.clone();
        heard[700] ^= 1;
        let alignment = align(&said, &heard);
        assert_eq!((alignment.lost, alignment.doubled, alignment.foreign), (1, 0, 1));
        assert_eq!(alignment.first_fault, Some(700));
    }

    #[test]
    fn added_silence_is_foreign() {
        let said = voice(1600);
        let heard = [&said[..800], &[0xFF; 37], &said[800..]].concat();
        let alignment = align(&said, &heard);
        assert_eq!((alignment.lost, alignment.doubled, alignment.foreign), (0, 0, 37));
    }

    fn session(index: usize, pcm: Vec<i16>, spoken: Vec<Spoken>) -> SessionRecord {
        let arrivals = (1..=pcm.len() / 320).map(|n| (n as u64 * 20, n as u64 * 320)).collect();
        SessionRecord {
            uplink: Uplink { rate: 16_000, pcm, arrivals, ..Uplink::default() },
            spoken,
            ready_at: Some(0),
            ..SessionRecord::new(index, 0)
        }
    }

    fn call(audio: Vec<i16>, clears: &[u64]) -> CallRecord {
        call_as(Line::default(), Format::PCMU, audio, clears)
    }

    fn call_as(line: Line, format: Format, audio: Vec<i16>, clears: &[u64]) -> CallRecord {
        let clears = clears
            .iter()
            .map(|&after_samples| Cleared { at: 0, after_samples, unplayed_samples: 0 })
            .collect();
        let mut payload = Vec::new();
        format.write(&audio, &mut payload);
        let samples = audio.len() as u64;
        CallRecord {
            carrier: line.carrier,
            formats: Formats::both(format),
            times: CallTimes { opened: Some(0), ..CallTimes::default() },
            heard: Heard { audio: payload, samples, clears, ..Heard::default() },
            ..CallRecord::empty(0)
        }
    }

    fn turn(number: usize, samples: u64, complete: bool) -> Turn {
        let chunks = vec![Chunk { planned: 0, sent: 0, to_sample: samples }];
        Turn { number, samples, chunks, complete, continues: false, steady: false }
    }

    #[test]
    fn sessions_are_paired_with_calls_by_what_they_heard() {
        let plan = MediaPlan::steady(400);
        let expected: Vec<Vec<i16>> = (0..4)
            .map(|index| {
                let voice = CallerVoice::new(1, index);
                signal::uplink(Format::PCMU, &spoken_code(&plan, voice, 20, Format::PCMU), 16_000)
            })
            .collect();
        let sessions = [
            session(0, expected[2].clone(), Vec::new()),
            // The first words are missing, and one sample of the rest.
            session(1, expected[0][2001..].to_vec(), Vec::new()),
            session(2, vec![0; 4000], Vec::new()),
        ];
        assert_eq!(by_voice(&expected, &sessions), [Some(2), Some(0), None]);
    }

    #[test]
    fn a_hundred_calls_are_told_apart_from_their_first_samples_on() {
        let plan = MediaPlan::steady(200);
        let code = |call| spoken_code(&plan, CallerVoice::new(1, call), 10, Format::PCMU);
        let expected: Vec<_> =
            (0..100).map(|call| signal::uplink(Format::PCMU, &code(call), 16_000)).collect();
        let sessions: Vec<_> =
            (0..100).map(|n| session(n, expected[99 - n].clone(), Vec::new())).collect();
        let paired: Vec<_> = (0..100).map(|n| Some(99 - n)).collect();
        assert_eq!(by_voice(&expected, &sessions), paired);
    }

    #[test]
    fn uplink_latency_is_counted_from_the_plan_by_content() {
        let plan = MediaPlan::steady(60);
        let code = spoken_code(&plan, CallerVoice::new(1, 0), 3, Format::PCMU);
        let mut record = call(Vec::new(), &[]);
        record.sent = (1..=3)
            .map(|n| SentFrame { planned: n * 10, sent: n * 10 + 4, clock_to: n * 160 })
            .collect();
        let mut heard = session(0, signal::uplink(Format::PCMU, &code, 16_000), Vec::new());
        // Two frames came together, the third alone.
        heard.uplink.arrivals = vec![(25, 640), (41, 960)];
        let latencies = uplink_latency(&record, &[&heard]);
        assert_eq!(latencies.corrected, [15, 5, 11]);
        assert_eq!(latencies.uncorrected, [11, 1, 7]);
        heard.ready_at = Some(20);
        assert_eq!(uplink_latency(&record, &[&heard]).early, 1);
    }

    #[test]
    fn whole_turns_are_heard_padded_to_whole_frames() {
        let turns = [turn(0, 3000, true), turn(1, 4800, true)];
        let heard: Vec<i16> =
            turns.iter().flat_map(|turn| turn_code(7, 5, turn, Format::PCMU)).collect();
        assert_eq!(heard.len(), 1120 + 1600);
        let record = session(5, Vec::new(), turns.map(Spoken::Turn).to_vec());
        assert!(downlink(7, &[&record], &call(heard.clone(), &[])).alignment.is_whole());
        let short = call(heard[..heard.len() - 1].to_vec(), &[]);
        assert_eq!(downlink(7, &[&record], &short).alignment.lost, 1);
        let mut more = heard;
        more.extend([0xFF; 160]);
        assert_eq!(downlink(7, &[&record], &call(more, &[])).alignment.foreign, 160);
    }

    #[test]
    fn what_is_said_at_the_moment_of_the_goodbye_may_be_unheard_and_nothing_before_it() {
        let chunks = (1..=3)
            .map(|n| Chunk { planned: 0, sent: n * 100 * MILLIS, to_sample: n * 2400 })
            .collect();
        let last = Turn { chunks, ..turn(0, 7200, false) };
        let code = turn_code(7, 5, &last, Format::PCMU);
        let record = session(5, Vec::new(), vec![Spoken::Turn(last)]);
        let hung_up = |heard: usize, closed_ms: u64| {
            let mut call = call(code[..heard].to_vec(), &[]);
            (call.outcome, call.times.closed) = (Outcome::HungUp, Some(closed_ms * MILLIS));
            call
        };
        let judged = |call: &CallRecord| downlink(7, &[&record], call).alignment;
        // The second chunk ends at sample 1,600, the third was sent at 300 ms.
        for (heard, closed_ms, whole) in
            [(1600, 459, true), (1600, 460, false), (1599, 359, true), (1599, 360, false)]
        {
            let judged = judged(&hung_up(heard, closed_ms));
            assert_eq!(judged.is_whole(), whole, "{heard} samples, {closed_ms} ms");
            assert_eq!(judged.voided == (code.len() - heard) as u64, whole);
        }
        let gone = Outcome::ClosedByRelay(Closing::Frame { code: 1000, reason: String::new() });
        assert!(!judged(&CallRecord { outcome: gone, ..hung_up(1600, 310) }).is_whole());
    }

    #[test]
    fn after_an_interruption_only_a_beginning_may_have_been_heard() {
        let turns = [turn(0, 24_000, false), turn(1, 4800, true)];
        let codes =
            [turn_code(7, 5, &turns[0], Format::PCMU), turn_code(7, 5, &turns[1], Format::PCMU)];
        let [first, second] = turns.map(Spoken::Turn);
        let record = session(5, Vec::new(), vec![first, Spoken::Interrupted { at: 0 }, second]);
        let heard = [&codes[0][..1600], &codes[1]].concat();
        let good = downlink(7, &[&record], &call(heard.clone(), &[1600])).alignment;
        assert!(good.is_whole());
        assert_eq!(good.voided, 6400);
        // The clear is missing: old and new speech run into each other.
        assert!(!downlink(7, &[&record], &call(heard, &[])).alignment.is_whole());
        // Old speech after the clear.
        let stale = [&codes[0][..1600], &codes[0][1600..1760], &codes[1]].concat();
        assert!(!downlink(7, &[&record], &call(stale, &[1600])).alignment.is_whole());
    }

    #[test]
    fn a_turn_torn_by_the_end_of_its_connection_goes_on_with_or_without_the_filters_memory() {
        // Torn in mid-word: its voice would have gone on.
        let torn = Turn { samples: 24_000, ..turn(0, 9600, false) };
        let rest = Turn { continues: true, ..turn(0, 4800, true) };
        let [before, after] = [(5, &torn), (6, &rest)].map(|(n, turn)| turn_pcm(7, n, turn));
        let first = session(5, Vec::new(), vec![Spoken::Turn(torn.clone())]);
        let second = session(6, Vec::new(), vec![Spoken::Turn(rest.clone())]);
        let said = turn_code(7, 5, &torn, Format::PCMU);
        let fresh = turn_code(7, 6, &rest, Format::PCMU);
        let remembered = turn_code_after(&before, &after, &rest, Format::PCMU);
        assert_ne!(fresh, remembered);
        for behind in [&fresh, &remembered] {
            let heard = [&said[..], behind].concat();
            let judged = downlink(7, &[&first, &second], &call(heard, &[]));
            assert!(judged.alignment.is_whole());
            assert_eq!((judged.turns.len(), judged.cut_samples), (2, 0));
        }
        // The last 160 bytes were on their way when the connection ended.
        let heard = [&said[..said.len() - 160], &fresh].concat();
        let judged = downlink(7, &[&first, &second], &call(heard, &[]));
        assert!(judged.alignment.is_whole());
        assert_eq!(judged.cut_samples, 160);
        // A hole anywhere else is a loss.
        let heard = [&said[..160], &said[320..], &fresh].concat();
        assert!(!downlink(7, &[&first, &second], &call(heard, &[])).alignment.is_whole());
    }

    #[test]
    fn an_interruption_of_audible_speech_asks_for_a_clear() {
        let spoken = vec![Spoken::Interrupted { at: 100 * MILLIS }];
        let record = session(0, Vec::new(), spoken);
        let mut phone = call(vec![0; 8000], &[]);
        phone.heard.arrivals = vec![(0, 8000)];
        assert_eq!(barge_ins(&record, &phone).unanswered, 1);
        let cleared = Cleared { at: 101 * MILLIS, after_samples: 8000, unplayed_samples: 1 };
        phone.heard.clears = vec![cleared];
        let answered = BargeIns { answered: vec![MILLIS], unanswered: 0 };
        assert_eq!(barge_ins(&record, &phone), answered);
        // All was played before: nothing to clear.
        phone.heard.clears.clear();
        phone.heard.arrivals = vec![(0, 320)];
        assert_eq!(barge_ins(&record, &phone), BargeIns::default());
        // A clear of an earlier interruption is not an answer to this one.
        phone.heard.arrivals = vec![(60 * MILLIS, 8000)];
        phone.heard.clears = vec![Cleared { at: 50 * MILLIS, ..cleared }];
        assert_eq!(barge_ins(&record, &phone).unanswered, 1);
    }

    #[test]
    fn chunks_further_ahead_than_the_lead_are_not_called_late() {
        let chunks =
            (1..=10).map(|n| Chunk { planned: 100, sent: 101, to_sample: n * 960 }).collect();
        let burst = Turn {
            number: 0,
            samples: 9600,
            chunks,
            complete: true,
            continues: false,
            steady: false,
        };
        let code = turn_code(7, 5, &burst, Format::PCMU);
        let record = session(5, Vec::new(), vec![Spoken::Turn(burst)]);
        let mut phone = call(code, &[]);
        phone.heard.arrivals = (1..=10).map(|n| (100 + n, n * 320)).collect();
        let heard = downlink(7, &[&record], &phone);
        let latencies = downlink_latency(&heard, &[&record], &phone, LEAD);
        assert_eq!(latencies.corrected, [1, 2, 3, 4, 5, 6]);
        assert_eq!(latencies.paced, 4);
    }

    #[test]
    fn turns_are_heard_whole_in_every_form_and_at_every_rate() {
        let turns = [turn(0, 3000, true), turn(1, 4800, true)];
        for format in Format::ALL {
            let heard: Vec<i16> =
                turns.iter().flat_map(|turn| turn_code(7, 5, turn, format)).collect();
            let record = session(5, Vec::new(), turns.clone().map(Spoken::Turn).to_vec());
            let of = |heard: Vec<i16>| call_as(Line::default(), format, heard, &[]);
            let whole = downlink(7, &[&record], &of(heard.clone()));
            assert!(whole.alignment.is_whole(), "{format}");
            assert_eq!(whole.alignment.matched, u64::from(format.rate) * 340 / 1000, "{format}");
            assert_eq!(whole.turns[1].from, u64::from(format.rate) * 140 / 1000, "{format}");
            let mut wrong = heard;
            let place = wrong.len() / 4;
            wrong[place] ^= 1;
            let judged = downlink(7, &[&record], &of(wrong));
            assert_eq!((judged.alignment.lost, judged.alignment.foreign), (1, 1), "{format}");
        }
    }

    #[test]
    fn exotel_may_hear_the_end_of_a_turn_padded_to_a_whole_piece_and_no_further() {
        let turns = [turn(0, 3000, true), turn(1, 4800, true)];
        let record = session(5, Vec::new(), turns.clone().map(Spoken::Turn).to_vec());
        let [first, second] = [&turns[0], &turns[1]].map(|it| turn_code(7, 5, it, Format::L16_8K));
        for (carrier, silence, whole) in [
            (Carrier::Exotel, 0, true),
            (Carrier::Exotel, 1600, true),
            (Carrier::Exotel, 1760, false),
            (Carrier::Exotel, 100, false),
            (Carrier::Plivo, 160, false),
        ] {
            let heard = [&first[..], &vec![0; silence], &second].concat();
            let call = call_as(Line::of(carrier), Format::L16_8K, heard, &[]);
            let judged = downlink(7, &[&record], &call).alignment;
            assert_eq!(judged.is_whole(), whole, "{carrier} {silence}");
        }
    }

    #[test]
    fn what_a_caller_said_is_the_same_length_in_every_form_holes_included() {
        let mut plan = MediaPlan::steady(100);
        plan.holes = vec![crate::schedule::Hole { at_ms: 50, len_ms: 30 }];
        for format in Format::ALL {
            let code = spoken_code(&plan, CallerVoice::new(1, 0), 100, format);
            assert_eq!(code.len(), format.bytes_of_ms(130), "{format}");
            let hole = format.units(&code[format.bytes_of_ms(50)..format.bytes_of_ms(80)]);
            assert!(hole.iter().all(|&unit| unit == format.silence()), "{format}");
        }
    }
}
