//! Model to caller: conversion on the way in, the ring that audio waits in, frames on the way out.
//!
//! In:       PCM16 of the model in pieces of any length, odd ones too.
//! Out:      whole frames in the phone's format, when the playout allows.
//! Bounds:   the queue it is made with. What does not fit is dropped and counted, and so is the
//!           rest of that answer: its beginning is heard whole, and not with holes in it.
//! Not here: which turn the audio belongs to (`call::turns`), messages (`call::phone`).

use std::collections::VecDeque;
use std::time::Duration;

use dsp::resample::{Conversion, FilterSet, Resampler};
use dsp::ring::{Consumer, Producer, ring};

use super::arrivals::Arrivals;
use super::audio::{Format, Workbench};
use super::playout::{FRAME, Playout};
use super::steady::Steady;
use super::tally::{Dropped, Oddity, Tally};
use crate::clock::Nanos;
use crate::limits::FRAMES_PER_TURN;

/// Rate of the model's audio unless it says otherwise, in Hz.
pub const MODEL_RATE_HZ: u32 = 24_000;

/// A frame of the fastest format a phone has, 48 kHz PCM16.
const FRAME_MAX_BYTES: usize = Format::Pcm16 { rate_hz: 48_000 }.frame_bytes();

/// Changes of the model's rate within what waits. At the bound audio of yet another rate is refused
/// and counted.
const RATE_CHANGES_MAX: usize = 8;

/// What the lead holds beyond a chunk of frames: so late may the loop be before a phone that takes
/// whole chunks only runs dry.
const CHUNK_SLACK_FRAMES: usize = 5;

/// Samples converted at a time: the work buffers stay this small however long a message is.
const BLOCK_SAMPLES: usize = 4_800;

/// Model audio on its way to the caller.
pub struct Downlink {
    format: Format,
    producer: Producer,
    consumer: Consumer,
    /// Bytes put into the ring, and taken out of it, since it was made.
    pushed: u64,
    popped: u64,
    arrivals: Arrivals,
    /// Rate of the audio that is coming in, in Hz.
    source_hz: u32,
    /// Where in the ring audio of another rate begins, and the rate before: oldest first.
    earlier: VecDeque<(u64, u32)>,
    /// `None` where model and phone agree on the rate.
    resampler: Option<Resampler>,
    /// The first half of a sample whose second half is still to come.
    half: Option<u8>,
    /// Samples that came in and neither left nor were dropped, at the model's rate.
    pending: u64,
    /// Whether the turn is whole: its last frame has been filled up.
    ended: bool,
    /// The ring was full in this turn: the rest of it is dropped.
    overrun: bool,
    /// Whether it is speech.
    steady: Steady,
    /// Where in the ring the turn begins that comes in, or came in last.
    turn_start: u64,
    playout: Playout,
    /// Frames that leave together, at least; all that leave are a multiple of them.
    chunk_frames: usize,
}

/// Frames taken out of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// How many.
    pub count: usize,
    /// Samples of the model in them.
    pub samples: u64,
    /// When a message of the model begins in them: since when that has been ready to leave.
    pub since: Option<Nanos>,
    /// Whether they are the last of their turn.
    pub last: bool,
}

impl Downlink {
    /// An empty ring of `queue` for a phone of this format, kept filled `lead` ahead.
    pub fn new(format: Format, lead: Duration, queue: Duration) -> Downlink {
        let (producer, consumer) = ring(format.bytes_of_ms(queue.as_millis() as usize));
        Downlink {
            format,
            producer,
            consumer,
            pushed: 0,
            popped: 0,
            arrivals: Arrivals::default(),
            source_hz: MODEL_RATE_HZ,
            earlier: VecDeque::new(),
            resampler: resampler(MODEL_RATE_HZ, format),
            half: None,
            pending: 0,
            ended: true,
            overrun: false,
            steady: Steady::default(),
            turn_start: 0,
            playout: Playout::new(lead),
            chunk_frames: 1,
        }
    }

    /// The same with frames that leave for so long at a time while the phone's buffer holds out.
    pub fn in_groups_of(self, group: Duration) -> Downlink {
        let frames = (group.as_nanos() / FRAME.as_nanos()) as usize;
        Downlink { playout: self.playout.in_groups_of(frames.min(FRAMES_PER_TURN)), ..self }
    }

    /// The same for a phone that takes frames only so many at a time, one turn's share at most: the
    /// lead has room for them and for as much again as they may be late.
    ///
    /// # Panics
    /// If a turn's share does not hold them.
    pub fn in_chunks_of(self, frames: usize, lead: Duration, queue: Duration) -> Downlink {
        assert!((1..=FRAMES_PER_TURN).contains(&frames), "{frames} frames at a time");
        if frames == 1 {
            return self;
        }
        let lead = lead.max(FRAME * (frames + CHUNK_SLACK_FRAMES) as u32);
        let chunk_bytes = self.format.frame_bytes() * frames;
        // A ring full to the brim holds whole chunks.
        let queue_bytes = self.format.bytes_of_ms(queue.as_millis() as usize);
        let (producer, consumer) = ring(queue_bytes.next_multiple_of(chunk_bytes));
        let playout = Playout::new(lead).in_groups_of(frames);
        Downlink { producer, consumer, chunk_frames: frames, playout, ..self }
    }

    fn chunk_bytes(&self) -> usize {
        self.format.frame_bytes() * self.chunk_frames
    }

    /// Whether audio of this rate can be played.
    pub fn can_play(&self, rate_hz: u32) -> bool {
        let known = rate_hz == self.format.rate_hz()
            || Conversion::between(rate_hz, self.format.rate_hz()).is_some();
        rate_hz == self.source_hz || (known && self.earlier.len() < RATE_CHANGES_MAX)
    }

    /// Takes in one piece of PCM16 little-endian, left in `bench.bytes`. Returns the samples in it:
    /// a piece of one byte has none.
    ///
    /// # Panics
    /// If [`Downlink::can_play`] denies the rate.
    pub fn push(
        &mut self,
        now: Nanos,
        rate_hz: u32,
        bench: &mut Workbench,
        tally: &mut Tally,
    ) -> usize {
        self.tune(rate_hz);
        let mut bytes = std::mem::take(&mut bench.bytes);
        let samples = self.join_halves(&mut bytes);
        tally.downlink.messages_in += 1;
        tally.downlink.bytes_in += bytes.len() as u64;
        tally.downlink.samples_in += samples as u64;
        self.pending += samples as u64;
        if std::mem::take(&mut self.ended) {
            self.turn_start = self.pushed;
        }
        let start = self.pushed;
        for block in bytes[..samples * 2].chunks(BLOCK_SAMPLES * 2) {
            self.convert(block, bench);
            let accepted = match self.overrun {
                true => 0,
                false => self.producer.push(&bench.target_bytes),
            };
            self.overrun |= accepted < bench.target_bytes.len();
            self.pushed += accepted as u64;
            let lost = samples_of(bench.target_bytes.len() - accepted, self.format, self.source_hz);
            tally.downlink.drop_samples(Dropped::Overrun, self.settle(lost));
        }
        self.arrivals.note(start, self.pushed, now);
        tally.downlink.queued = self.pending;
        bench.bytes = bytes;
        samples
    }

    /// Counts audio that is not wanted: it belongs to a turn that was cancelled, or is no speech.
    pub fn refuse(&mut self, bytes: usize, why: Dropped, tally: &mut Tally) {
        let samples = (bytes / 2) as u64;
        tally.downlink.messages_in += 1;
        tally.downlink.bytes_in += bytes as u64;
        tally.downlink.samples_in += samples;
        tally.downlink.drop_samples(why, samples);
    }

    /// Sets the conversion for audio of this rate.
    fn tune(&mut self, rate_hz: u32) {
        if rate_hz == self.source_hz {
            return;
        }
        assert!(self.can_play(rate_hz), "{rate_hz} Hz was not asked for");
        if self.consumer.len_bytes() > 0 {
            self.earlier.push_back((self.pushed, self.source_hz));
        }
        self.source_hz = rate_hz;
        self.resampler = resampler(rate_hz, self.format);
    }

    /// Puts the half sample of the piece before in front, keeps the one at the end for the next
    /// piece, and returns the number of whole samples.
    fn join_halves(&mut self, bytes: &mut Vec<u8>) -> usize {
        if let Some(half) = self.half.take() {
            bytes.insert(0, half);
        }
        if bytes.len() % 2 == 1 {
            self.half = bytes.pop();
        }
        bytes.len() / 2
    }

    /// Converts PCM16 little-endian to the phone's format, into `bench.target_bytes`.
    fn convert(&mut self, block: &[u8], bench: &mut Workbench) {
        bench.source_pcm.resize(block.len() / 2, 0);
        bench.kernels.pcm_from_le(block, &mut bench.source_pcm);
        let pcm = match &mut self.resampler {
            None => &bench.source_pcm,
            Some(resampler) => {
                bench.target_pcm.resize(resampler.output_len(bench.source_pcm.len()), 0);
                resampler.process(&bench.kernels, &bench.source_pcm, &mut bench.target_pcm);
                &bench.target_pcm
            }
        };
        self.steady.hear(self.format.rate_hz(), pcm);
        bench.target_bytes.clear();
        self.format.encode(&bench.kernels, pcm, &mut bench.target_bytes);
    }

    /// For how long what comes in has been a tone or noise, in milliseconds.
    pub fn steady_ms(&self) -> u64 {
        self.steady.for_ms()
    }

    /// How much of the turn that comes in, or came in last, has been kept, in milliseconds.
    pub fn turn_ms(&self) -> u64 {
        self.ms_of_bytes(self.pushed - self.turn_start)
    }

    /// How much waits here, in milliseconds.
    pub fn queued_ms(&self) -> u64 {
        self.ms_of_bytes(self.consumer.len_bytes() as u64)
    }

    /// The most that ever waited here, in milliseconds.
    pub fn high_water_ms(&self) -> u64 {
        self.format.ms_of_bytes(self.producer.high_water_bytes())
    }

    fn ms_of_bytes(&self, bytes: u64) -> u64 {
        bytes * 1_000 / (self.format.sample_bytes() as u64 * u64::from(self.format.rate_hz()))
    }

    /// Takes `samples` off those that are pending, never more than there are: the last byte of a
    /// turn may stand for a sample or two less than the others. Returns how many those were.
    fn settle(&mut self, samples: u64) -> u64 {
        let samples = samples.min(self.pending);
        self.pending -= samples;
        samples
    }

    /// Samples of the model that the oldest `bytes` bytes of the ring stand for.
    fn samples_ahead(&self, bytes: usize) -> u64 {
        let (mut start, end) = (self.popped, self.popped + bytes as u64);
        let mut samples = 0;
        for &(changed, rate_hz) in &self.earlier {
            let upto = changed.clamp(start, end);
            samples += samples_of((upto - start) as usize, self.format, rate_hz);
            start = upto;
        }
        samples + samples_of((end - start) as usize, self.format, self.source_hz)
    }

    /// The turn is whole: fills up its last frame with silence, so that it can leave. Returns
    /// whether all of it has left already.
    pub fn end_turn(&mut self, tally: &mut Tally) -> bool {
        if self.half.take().is_some() {
            tally.note(Oddity::AgentOdd);
        }
        if self.ended {
            return false;
        }
        self.ended = true;
        self.overrun = false;
        self.steady.forget();
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
        let waiting = self.consumer.len_bytes();
        let missing = waiting.next_multiple_of(self.chunk_bytes()) - waiting;
        let padding = [self.format.silence(); FRAME_MAX_BYTES];
        let mut padded = 0;
        while padded < missing {
            let piece = (missing - padded).min(padding.len());
            let accepted = self.producer.push(&padding[..piece]);
            padded += accepted;
            if accepted < piece {
                break;
            }
        }
        self.pushed += padded as u64;
        self.balance(padded, tally);
        tally.downlink.queued = self.pending;
        let has_left = self.consumer.len_bytes() == 0;
        if has_left {
            self.playout.turn_ended();
        }
        has_left
    }

    /// Makes `pending` what the ring holds after `padded` bytes of silence went in: what is too
    /// little for one more sample is dropped, what the last sample lacks counts as silence.
    fn balance(&mut self, padded: usize, tally: &mut Tally) {
        let flow = &mut tally.downlink;
        let silence = samples_of(padded, self.format, self.source_hz);
        flow.silence_in += silence;
        self.pending += silence;
        let held = self.samples_ahead(self.consumer.len_bytes());
        flow.drop_samples(Dropped::Tail, self.pending.saturating_sub(held));
        flow.silence_in += held.saturating_sub(self.pending);
        self.pending = held;
    }

    /// Throws everything away: the caller spoke over it, or the call is over. Returns the samples.
    pub fn clear(&mut self, now: Nanos, why: Dropped, tally: &mut Tally) -> u64 {
        let dropped = std::mem::take(&mut self.pending);
        tally.downlink.drop_samples(why, dropped);
        tally.downlink.queued = 0;
        self.popped += self.consumer.clear() as u64;
        self.arrivals.clear();
        self.earlier.clear();
        self.half = None;
        self.ended = true;
        self.overrun = false;
        self.steady.forget();
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
        self.playout.cleared(now);
        dropped
    }

    /// Takes the frames that are due, and leaves them in `bench.bytes`.
    pub fn take_frames(
        &mut self,
        now: Nanos,
        bench: &mut Workbench,
        tally: &mut Tally,
    ) -> Option<Frames> {
        let frame = self.format.frame_bytes();
        let whole = |frames: usize| frames / self.chunk_frames * self.chunk_frames;
        let waiting = whole(self.consumer.len_bytes() / frame);
        let due = self.playout.frames_due(now, waiting, self.ended).min(FRAMES_PER_TURN);
        let count = whole(due);
        if count == 0 {
            return None;
        }
        bench.bytes.resize(count * frame, 0);
        self.consumer.pop(&mut bench.bytes);
        let samples = self.samples_ahead(bench.bytes.len());
        let samples = self.settle(samples);
        let start = self.popped;
        self.popped += bench.bytes.len() as u64;
        while self.earlier.front().is_some_and(|&(changed, _)| changed <= self.popped) {
            self.earlier.pop_front();
        }
        let since = self.arrivals.begun(start, self.popped).map(|(begin, at)| {
            at.max(self.playout.due_at(((begin - start) / frame as u64) as usize))
        });
        self.playout.sent(now, count);
        let last = self.ended && self.consumer.len_bytes() == 0;
        if last {
            self.playout.turn_ended();
        }
        let flow = &mut tally.downlink;
        flow.messages_out += 1;
        flow.bytes_out += bench.bytes.len() as u64;
        flow.samples_out += samples;
        flow.queued = self.pending;
        Some(Frames { count, samples, since, last })
    }

    /// Whether nothing waits that could still leave.
    pub fn is_empty(&self) -> bool {
        self.consumer.len_bytes() < self.chunk_bytes()
    }

    /// When the next frame may leave; never, if none waits.
    pub fn next_due(&self) -> Nanos {
        match self.is_empty() {
            true => Nanos::NEVER,
            false => self.playout.next_due(),
        }
    }

    /// When the phone will have played everything it was sent.
    pub fn dry_at(&self) -> Nanos {
        self.playout.dry_at()
    }

    /// From when on the phone plays the `frames` frames that have just been taken.
    pub fn playing_from(&self, frames: usize) -> Nanos {
        earlier(self.dry_at(), FRAME * frames as u32)
    }

    /// Until when the caller hears the model, if the last `unsent` samples that were taken have not
    /// left for the phone.
    pub fn heard_until(&self, unsent: u64) -> Nanos {
        earlier(self.dry_at(), Duration::from_millis(self.ms_of(unsent)))
    }

    /// Milliseconds that `samples` of the model last.
    pub fn ms_of(&self, samples: u64) -> u64 {
        samples * 1_000 / u64::from(self.source_hz)
    }
}

fn earlier(moment: Nanos, by: Duration) -> Nanos {
    Nanos(moment.0.saturating_sub(by.as_nanos() as u64))
}

/// Samples at `source_hz` that so many bytes at the phone's rate stand for.
fn samples_of(phone_bytes: usize, format: Format, source_hz: u32) -> u64 {
    let phone_samples = (phone_bytes / format.sample_bytes()) as u64;
    phone_samples * u64::from(source_hz) / u64::from(format.rate_hz())
}

fn resampler(source_hz: u32, target: Format) -> Option<Resampler> {
    Conversion::between(source_hz, target.rate_hz())
        .map(|conversion| Resampler::new(conversion, FilterSet::LinearPhase))
}

#[cfg(test)]
mod tests {
    use dsp::kernels::{Isa, Kernels};

    use super::*;

    const LEAD: Duration = Duration::from_millis(300);
    const DOWNLINK_QUEUE_MS: usize = 65_000;
    const QUEUE: Duration = Duration::from_millis(DOWNLINK_QUEUE_MS as u64);

    struct Fixture {
        downlink: Downlink,
        bench: Workbench,
        tally: Tally,
    }

    impl Fixture {
        fn new(format: Format) -> Fixture {
            Fixture {
                downlink: Downlink::new(format, LEAD, QUEUE),
                bench: Workbench::new(Kernels::detect(Isa::Scalar)),
                tally: Tally::default(),
            }
        }

        fn push(&mut self, pcm: &[u8]) {
            self.bench.bytes.clear();
            self.bench.bytes.extend_from_slice(pcm);
            self.downlink.push(Nanos(0), MODEL_RATE_HZ, &mut self.bench, &mut self.tally);
            self.check();
        }

        fn take(&mut self, now: Nanos) -> Option<Frames> {
            let frames = self.downlink.take_frames(now, &mut self.bench, &mut self.tally);
            self.check();
            frames
        }

        fn end_turn(&mut self) {
            self.downlink.end_turn(&mut self.tally);
            self.check();
        }

        fn check(&self) {
            assert!(self.tally.downlink.balances(), "{:?}", self.tally.downlink);
            assert_eq!(self.tally.downlink.queued, self.downlink.pending);
        }
    }

    #[test]
    fn model_audio_leaves_in_whole_frames_and_the_rest_at_the_end_of_the_turn() {
        let mut f = Fixture::new(Format::Mulaw8k);
        f.push(&[0; 960 + 100]);
        assert_eq!(f.take(Nanos(0)).unwrap().count, 1);
        assert_eq!(f.take(Nanos(0)), None);
        f.end_turn();
        let frames = f.take(Nanos(0)).unwrap();
        assert_eq!((frames.count, frames.last), (1, true));
        assert_eq!(f.bench.bytes.len(), 160);
        assert!(f.bench.bytes[17..].iter().all(|&code| code == 0xff));
        assert_eq!(f.tally.downlink.queued, 0);
        assert!(f.downlink.is_empty());
    }

    #[test]
    fn pieces_of_any_length_sound_like_one() {
        let pcm: Vec<u8> = (0..4_801u32).map(|n| (n * 37 % 251) as u8).collect();
        let mut whole = Fixture::new(Format::Mulaw8k);
        whole.push(&pcm);
        whole.end_turn();
        let mut pieces = Fixture::new(Format::Mulaw8k);
        let mut rest = &pcm[..];
        for length in [1, 2, 3, 333, 960, 7].into_iter().cycle() {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        pieces.end_turn();
        assert_eq!(whole.take(Nanos(0)).unwrap().count, pieces.take(Nanos(0)).unwrap().count);
        assert_eq!(whole.bench.bytes, pieces.bench.bytes);
        assert_eq!(pieces.tally.oddities[Oddity::AgentOdd as usize], 1);
    }

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_it() {
        let mut f = Fixture::new(Format::Mulaw8k);
        let second = vec![0; 48_000];
        for _ in 0..DOWNLINK_QUEUE_MS / 1_000 + 2 {
            f.push(&second);
        }
        assert_eq!(f.tally.downlink.dropped[Dropped::Overrun as usize], 48_000);
        assert_eq!(f.tally.downlink.queued, DOWNLINK_QUEUE_MS as u64 * 24);
        let dropped = f.downlink.clear(Nanos(1), Dropped::BargeIn, &mut f.tally);
        assert_eq!(dropped, DOWNLINK_QUEUE_MS as u64 * 24);
        f.check();
    }

    #[test]
    fn after_a_clear_nothing_of_the_old_turn_is_left() {
        let mut f = Fixture::new(Format::Mulaw8k);
        f.push(&[0x55; 9_601]);
        f.downlink.clear(Nanos(5), Dropped::BargeIn, &mut f.tally);
        assert_eq!(f.take(Nanos(5)), None);
        let new_turn: Vec<u8> = (0..1_920u32).map(|n| (n % 17) as u8).collect();
        f.push(&new_turn);
        f.take(Nanos(5)).unwrap();
        let mut fresh = Fixture::new(Format::Mulaw8k);
        fresh.push(&new_turn);
        fresh.take(Nanos(5)).unwrap();
        assert_eq!(f.bench.bytes, fresh.bench.bytes);
    }

    #[test]
    fn a_browser_gets_the_models_samples_as_they_are() {
        let mut f = Fixture::new(Format::Pcm16 { rate_hz: 24_000 });
        let pcm: Vec<u8> = (0..960u32).map(|n| (n % 255) as u8).collect();
        f.push(&pcm);
        assert_eq!(f.take(Nanos(0)).unwrap().count, 1);
        assert_eq!(f.bench.bytes, pcm);
    }

    #[test]
    fn a_turn_that_has_left_in_whole_frames_ends_all_the_same() {
        let mut f = Fixture::new(Format::Mulaw8k);
        f.push(&[0; 1_920]);
        assert!(!f.take(Nanos(0)).unwrap().last);
        assert!(f.downlink.end_turn(&mut f.tally), "all of it has left");
        let later = Nanos::from_millis(5_000);
        f.push(&[0; 960]);
        assert_eq!(f.take(later).unwrap().count, 1, "the next answer starts at once");
    }

    #[test]
    fn audio_of_another_rate_is_accounted_at_its_own() {
        let mut f = Fixture::new(Format::Mulaw8k);
        f.push(&[0; 48_000]);
        f.bench.bytes.resize(32_000, 0);
        f.downlink.push(Nanos(0), 16_000, &mut f.bench, &mut f.tally);
        f.end_turn();
        let mut ms = 0;
        while !f.downlink.is_empty() {
            ms += 20;
            f.take(Nanos::from_millis(ms));
        }
        assert_eq!(f.tally.downlink.samples_out, 24_000 + 16_000);
        assert_eq!(f.tally.downlink.dropped_samples(), 0);
    }

    #[test]
    fn an_unknown_rate_cannot_be_played() {
        let f = Fixture::new(Format::Mulaw8k);
        assert!(!f.downlink.can_play(12_345));
        assert!(f.downlink.can_play(16_000));
    }
}
