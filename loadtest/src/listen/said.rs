//! From records to what the ear compares.
//!
//! In:       a stream of a call, and its sessions.
//! Out:      [`Said`] and [`Heard`], each way.
//! Bounds:   those of the records.
//! Not here: listening (`ear`).

use std::ops::Range;

use super::band::RATE;
use super::ear::{Heard, Piece, PieceKind, Said};
use crate::carrier::record::{CallRecord, Outcome};
use crate::clock::{Nanos, SECONDS};
use crate::comebacks::Part;
use crate::gemini::record::{SessionRecord, Spoken};
use crate::signal;
use crate::verify::{self, Placed};

/// Samples of the model's voice in one at 8 kHz.
const MODEL_SAMPLES: f64 = 3.0;

/// The rate of the model's voice.
const MODEL_RATE: u32 = 24_000;

/// What the caller said on one stream, up to its last frame.
pub(super) fn by_caller(part: &Part<'_>, sessions: &[&SessionRecord]) -> Said {
    let record = &part.record;
    let format = record.formats.up;
    let (plan, frames) = (&part.made.media, part.frames());
    let pcm = signal::linear(format, &part.payload(frames.clone()));
    let served = verify::served(sessions);
    // A stream after the first begins with its own first frame.
    let first = plan.frames().nth(frames.start).filter(|_| frames.start > 0);
    let origin = first.map_or(0, |frame| frame.clock_from);
    let sent = plan.frames().skip(frames.start).zip(&record.sent);
    let pieces = sent.map(|(frame, sent)| Piece {
        from: (frame.clock_from - origin) as f64,
        to: (frame.clock_to() - origin) as f64,
        planned: sent.planned,
        sent: sent.sent,
        kind: match served.iter().any(|&(from, to)| from <= sent.planned && sent.planned < to) {
            true => PieceKind::Counted,
            false => PieceKind::Early,
        },
    });
    let pieces: Vec<Piece> = pieces.collect();
    let len = pieces.last().map_or(0.0, |piece| piece.to);
    let ended = matches!(record.outcome, Outcome::ClosedByRelay(_));
    let voids = if ended { std::iter::once(0.0..len).collect() } else { Vec::new() };
    Said { pcm, rate: format.rate, pieces, voids, sought: Vec::new() }
}

/// What the model heard.
pub(super) fn to_model(sessions: &[&SessionRecord]) -> Heard {
    let (pcm, arrivals) = verify::stitch(sessions);
    let read_late = !sessions.iter().all(|session| session.probe);
    let rate = sessions.iter().map(|session| session.uplink.rate).max().unwrap_or(0);
    Heard { pcm, rate, arrivals, read_late }
}

/// What the model said. `lead`: see [`verify::downlink_latency`].
pub(super) fn by_model(
    seed: u64,
    call: &CallRecord,
    sessions: &[&SessionRecord],
    lead: Nanos,
) -> Said {
    let mut said = Said { rate: MODEL_RATE, ..Said::default() };
    let Some(opened) = call.times.opened else { return said };
    for (place, session) in sessions.iter().enumerate() {
        let ready = session.ready_at.unwrap_or(opened).max(opened);
        let is_last = place + 1 == sessions.len();
        let mut uninterrupted = said.len();
        let mut last_turn = 0.0..0.0;
        let mut torn = false;
        for spoken in &session.spoken {
            let Spoken::Turn(turn) = spoken else {
                // Everything since the interruption before may be missing to its end.
                said.voids.push(uninterrupted..said.len());
                uninterrupted = said.len();
                continue;
            };
            let start = said.len();
            let began = turn.chunks.first().map_or(0, |chunk| chunk.planned);
            let mut from = 0;
            for (number, chunk) in turn.chunks.iter().enumerate() {
                let into = chunk.to_sample * SECONDS / u64::from(MODEL_RATE);
                said.pieces.push(Piece {
                    from: start + from as f64 / MODEL_SAMPLES,
                    to: start + chunk.to_sample as f64 / MODEL_SAMPLES,
                    planned: chunk.planned,
                    sent: chunk.sent,
                    kind: match () {
                        _ if chunk.planned < ready => PieceKind::Early,
                        _ if number > 0 && into > chunk.planned - began + lead => PieceKind::Paced,
                        _ => PieceKind::Counted,
                    },
                });
                from = chunk.to_sample;
            }
            said.pcm.extend(verify::turn_pcm(seed, session.index, turn));
            last_turn = start..said.len();
            said.sought.push(last_turn.clone());
            torn = !turn.complete;
        }
        let hung_up = is_last && verify::hung_up_on(call);
        if last_turn.start >= uninterrupted && (hung_up || (torn && !is_last)) {
            said.voids.push(last_turn);
        }
    }
    said
}

impl Said {
    /// How much there is, in samples at 8 kHz.
    fn len(&self) -> f64 {
        self.pcm.len() as f64 * f64::from(RATE) / f64::from(self.rate)
    }
}

/// The turns of the model that were heard, by the places of what [`by_model`] says is sought: each
/// turn of each session, in order.
pub(super) fn turns_at(
    call: &CallRecord,
    sessions: &[&SessionRecord],
    places: &[Option<Range<f64>>],
) -> Vec<Placed> {
    let per_sample = f64::from(call.formats.down.rate) / f64::from(RATE);
    let turns = sessions.iter().enumerate().flat_map(|(session, record)| {
        let turns = record.spoken.iter().filter_map(|spoken| match spoken {
            Spoken::Turn(turn) => Some(turn),
            Spoken::Interrupted { .. } => None,
        });
        turns.map(move |turn| (session, turn))
    });
    let heard = turns.zip(places).filter_map(|((session, turn), place)| {
        let place = place.as_ref()?;
        let at = |sample: f64| (sample.max(0.0) * per_sample).round() as u64;
        let (from, to) = (at(place.start), at(place.end));
        Some(Placed { session, turn: turn.clone(), from, len: to.saturating_sub(from) })
    });
    heard.collect()
}

/// What the phone heard.
pub(super) fn to_caller(call: &CallRecord) -> Heard {
    let format = call.formats.down;
    let pcm = signal::linear(format, &call.heard.audio);
    let arrivals = call.heard.arrivals.clone();
    Heard { pcm, rate: format.rate, arrivals, read_late: !call.probe }
}

/// What the caller said on a stream for `ticks` from tick `from` on, and its rate.
pub(super) fn stretch(part: &Part<'_>, from: u64, ticks: u64) -> (Vec<i16>, u32) {
    let format = part.record.formats.up;
    let frames = part.frames();
    let plan = part.made.media.frames().skip(frames.start).take(frames.len());
    let mut planned = plan.peekable();
    let origin = planned.peek().map_or(0, |frame| frame.clock_from);
    let count = planned.take_while(|frame| frame.clock_from < origin + from + ticks).count();
    let frames = frames.start..frames.start + count;
    let mut pcm = signal::linear(format, &part.payload(frames));
    let before = from as usize * (format.rate / RATE) as usize;
    pcm.drain(..before.min(pcm.len()));
    (pcm, format.rate)
}
