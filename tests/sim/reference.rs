//! What each side must hear, worked out apart from the relay: from what was said, in the order in
//! which it arrived, through the plain kernels, or the fastest, which must not differ.
//!
//! In:       messages of the peers, the moment their last byte was shown to the call.
//! Out:      a panic as soon as a side hears a sample that it must not hear, or in another place.
//! Not here: when audio is heard (`invariants`).

use std::collections::VecDeque;

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use std::time::Duration;

use vocaris::call::LineTerms;
use vocaris::clock::Nanos;
use vocaris::limits::{
    DOWNLINK_QUEUE_MS, HOLE_MAX_MS, HOLE_TOLERANCE_MS, LATE_MAX, PTIME_MS, SWAP_QUEUE_MS,
    UPLINK_QUEUE_MS,
};

/// Changes of the model's rate within what waits: beyond them audio of another rate is refused.
const RATE_CHANGES_MAX: usize = 8;

/// How long the rest of an interrupted answer may come: the default of `timers.void`.
const VOID: Duration = Duration::from_secs(3);

/// What one end of the phone's leg carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    pub(crate) rate_hz: u32,
    /// Bytes a sample: 1 is mu-law, 2 is PCM16.
    pub(crate) sample_bytes: usize,
}

impl Sound {
    pub(crate) const MULAW: Sound = Sound { rate_hz: 8_000, sample_bytes: 1 };

    pub(crate) const fn pcm(rate_hz: u32) -> Sound {
        Sound { rate_hz, sample_bytes: 2 }
    }

    pub(crate) const fn bytes_of_ms(self, ms: usize) -> usize {
        self.rate_hz as usize * ms / 1_000 * self.sample_bytes
    }

    const fn silence(self) -> u8 {
        if self.sample_bytes == 1 { 0xff } else { 0 }
    }

    /// The mean of the squares of its samples.
    pub(crate) fn mean_square(self, bytes: &[u8]) -> u64 {
        let square = |sample: i16| u64::from(sample.unsigned_abs()).pow(2);
        let pcm = self.decode(&Kernels::detect(Isa::Scalar), bytes);
        pcm.iter().map(|&sample| square(sample)).sum::<u64>() / (pcm.len() as u64).max(1)
    }

    fn decode(self, kernels: &Kernels, bytes: &[u8]) -> Vec<i16> {
        if self.sample_bytes == 2 {
            return samples(bytes);
        }
        let mut pcm = vec![0; bytes.len()];
        kernels.mulaw_decode(bytes, &mut pcm);
        pcm
    }

    fn encode(self, kernels: &Kernels, pcm: &[i16]) -> Vec<u8> {
        if self.sample_bytes == 2 {
            let mut bytes = vec![0; pcm.len() * 2];
            for (pair, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(pcm) {
                *pair = sample.to_le_bytes();
            }
            return bytes;
        }
        let mut mulaw = vec![0; pcm.len()];
        kernels.mulaw_encode(pcm, &mut mulaw);
        mulaw
    }
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    let mut samples = vec![0; bytes.len() / 2];
    for (sample, &pair) in samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *sample = i16::from_le_bytes(pair);
    }
    samples
}

/// A conversion and its memory; none where both ends agree.
struct Converter(Option<Resampler>);

impl Converter {
    fn new(source_hz: u32, target_hz: u32) -> Converter {
        Converter((source_hz != target_hz).then(|| {
            let conversion = Conversion::between(source_hz, target_hz).expect("a known pair");
            Resampler::new(conversion, FilterSet::LinearPhase)
        }))
    }

    fn convert(&mut self, kernels: &Kernels, pcm: Vec<i16>) -> Vec<i16> {
        let Some(resampler) = &mut self.0 else { return pcm };
        let mut converted = vec![0; resampler.output_len(pcm.len())];
        resampler.process(kernels, &pcm, &mut converted);
        converted
    }

    fn reset(&mut self) {
        if let Some(resampler) = &mut self.0 {
            resampler.reset();
        }
    }
}

/// Who has the floor, as the relay must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    Caller,
    Model,
    /// The model's turn was cancelled: its audio is void until the turn is complete, or then.
    Void {
        until: Nanos,
    },
}

/// What lies between two `clear`s.
#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
    heard: usize,
    forgotten: usize,
}

impl Section {
    fn len(&self) -> usize {
        self.forgotten + self.bytes.len()
    }
}

/// What the caller must hear.
pub(crate) struct CallerHears {
    kernels: Kernels,
    sound: Sound,
    /// Oldest first; all but the last end with a `clear` that is still to come.
    sections: VecDeque<Section>,
    floor: Floor,
    rate_hz: u32,
    converter: Converter,
    half: Option<u8>,
    was_retuned: bool,
    /// Where in the section the rate changed.
    changes: Vec<u64>,
    is_whole: bool,
    /// Bytes that had left the ring when the last section began.
    left_before: u64,
    /// What was accepted and refused so far, in samples of the model.
    pub(crate) samples_in: u64,
    pub(crate) samples_late: u64,
    /// Bytes of audio heard so far.
    pub(crate) heard_bytes: u64,
    /// Audio that found the ring full, or came behind such in its turn, in bytes.
    pub(crate) overrun_bytes: u64,
    /// The rest of the turn is dropped.
    is_cut: bool,
    /// Audio that must have been thrown away by clears, in bytes.
    cleared_bytes: u64,
    clears: u64,
}

impl CallerHears {
    pub(crate) fn new(truth: Isa, sound: Sound) -> CallerHears {
        CallerHears {
            kernels: Kernels::detect(truth),
            sound,
            sections: VecDeque::from([Section::default()]),
            floor: Floor::Caller,
            rate_hz: 24_000,
            converter: Converter::new(24_000, sound.rate_hz),
            half: None,
            was_retuned: false,
            changes: Vec::new(),
            is_whole: true,
            left_before: 0,
            samples_in: 0,
            samples_late: 0,
            heard_bytes: 0,
            overrun_bytes: 0,
            is_cut: false,
            cleared_bytes: 0,
            clears: 0,
        }
    }

    /// Whether audio of this rate can be played: among what waits the rate may change so often.
    fn can_play(&mut self, rate_hz: u32, popped: u64) -> bool {
        self.changes.retain(|&at| at > popped);
        let target_hz = self.sound.rate_hz;
        let known = rate_hz == target_hz || Conversion::between(rate_hz, target_hz).is_some();
        rate_hz == self.rate_hz || (known && self.changes.len() < RATE_CHANGES_MAX)
    }

    /// One piece of the model's audio; `cancelled`: in a message that says `interrupted`. `left`:
    /// bytes that have left the ring so far.
    pub(crate) fn model_says(
        &mut self,
        now: Nanos,
        rate_hz: u32,
        audio: &[u8],
        cancelled: bool,
        left: u64,
    ) {
        if !self.can_play(rate_hz, left - self.left_before) {
            return;
        }
        let void = matches!(self.floor, Floor::Void { until } if now < until);
        if cancelled || void {
            self.samples_in += audio.len() as u64 / 2;
            self.samples_late += audio.len() as u64 / 2;
            return;
        }
        self.floor = Floor::Model;
        self.is_whole = false;
        if rate_hz != self.rate_hz {
            self.rate_hz = rate_hz;
            self.was_retuned = true;
            let end = self.sections.back().map_or(0, Section::len) as u64;
            if end > left - self.left_before {
                self.changes.push(end);
            }
            self.converter = Converter::new(rate_hz, self.sound.rate_hz);
        }
        let mut bytes = Vec::with_capacity(audio.len() + 1);
        bytes.extend(self.half.take());
        bytes.extend_from_slice(audio);
        if bytes.len() % 2 == 1 {
            self.half = bytes.pop();
        }
        self.samples_in += bytes.len() as u64 / 2;
        let pcm = self.converter.convert(&self.kernels, samples(&bytes));
        let mut sound = self.sound.encode(&self.kernels, &pcm);
        let capacity = self.sound.bytes_of_ms(DOWNLINK_QUEUE_MS);
        let section = self.sections.back_mut().expect("there is always one");
        let waiting = section.len() - (left - self.left_before) as usize;
        let room = if self.is_cut { 0 } else { capacity - waiting };
        self.is_cut |= sound.len() > room;
        self.overrun_bytes += sound.len().saturating_sub(room) as u64;
        sound.truncate(room);
        section.bytes.extend_from_slice(&sound);
    }

    /// The generation is complete; `turn`: the whole turn is.
    pub(crate) fn complete(&mut self, turn: bool) {
        if self.floor == Floor::Model {
            self.end_piece();
        }
        if turn {
            self.floor = Floor::Caller;
        }
    }

    fn end_piece(&mut self) {
        self.half = None;
        if std::mem::replace(&mut self.is_whole, true) {
            return;
        }
        self.is_cut = false;
        self.converter.reset();
        let frame = self.sound.bytes_of_ms(PTIME_MS);
        let silence = self.sound.silence();
        let section = self.sections.back_mut().expect("there is always one");
        let missing = section.len().next_multiple_of(frame) - section.len();
        section.bytes.resize(section.bytes.len() + missing, silence);
    }

    /// The caller spoke over the model. What waits is void, and so is what still comes of the turn.
    pub(crate) fn interrupt(&mut self, now: Nanos, with_audio: bool, left: u64) {
        let void = match self.floor {
            Floor::Model | Floor::Void { .. } => Some(VOID),
            Floor::Caller if with_audio => Some(LATE_MAX),
            Floor::Caller => None,
        };
        if let Some(void) = void {
            self.floor = Floor::Void { until: now.plus(void) };
        }
        (self.half, self.is_whole, self.is_cut) = (None, true, false);
        self.converter.reset();
        self.left_before = left;
        self.changes.clear();
        self.sections.push_back(Section::default());
    }

    /// What the phone was sent.
    ///
    /// # Panics
    /// If that was not next.
    pub(crate) fn hear(&mut self, audio: &[u8]) {
        self.heard_bytes += audio.len() as u64;
        let section = self.sections.front_mut().expect("there is always one");
        let expected = section.bytes.get(section.heard..section.heard + audio.len());
        assert!(
            expected.is_some(),
            "the caller hears what was not said, or hears it after it died"
        );
        assert!(expected == Some(audio), "the caller hears something else than was said");
        section.heard += audio.len();
        if section.heard > 1 << 16 {
            section.bytes.drain(..section.heard);
            section.forgotten += section.heard;
            section.heard = 0;
        }
    }

    /// The phone was told to throw away what it holds.
    pub(crate) fn clear(&mut self) {
        assert!(self.sections.len() > 1, "a clear that nobody asked for");
        let section = self.sections.pop_front().expect("there are two");
        self.cleared_bytes += (section.bytes.len() - section.heard) as u64;
        self.clears += 1;
    }

    /// Samples of the model that still wait when `left` bytes have left so far; `None` where they
    /// cannot be told, because they have not all one rate.
    pub(crate) fn queued_samples(&self, left: u64) -> Option<u64> {
        let section = self.sections.back().expect("there is always one");
        let bytes = section.len() as u64 - (left - self.left_before);
        let samples = bytes / self.sound.sample_bytes as u64;
        (!self.was_retuned).then(|| samples * 24_000 / u64::from(self.sound.rate_hz))
    }

    /// What was thrown away by clears, in samples of the model, and how often; `None` as above, and
    /// where the phone has not been told of them all.
    pub(crate) fn cleared_samples(&self) -> Option<(u64, u64)> {
        let samples = self.cleared_bytes / self.sound.sample_bytes as u64;
        let samples = samples * 24_000 / u64::from(self.sound.rate_hz);
        (!self.was_retuned && self.clears_due() == 0).then_some((samples, self.clears))
    }

    /// Clears that the phone has not been told of.
    pub(crate) fn clears_due(&self) -> usize {
        self.sections.len() - 1
    }

    /// Bytes that are still to be heard.
    pub(crate) fn due_bytes(&self) -> usize {
        self.sections.back().map_or(0, |section| section.bytes.len() - section.heard)
    }
}

/// What the model must hear, on however many connections.
pub(crate) struct ModelHears {
    kernels: Kernels,
    sound: Sound,
    /// Said and not yet on its way, from `start` on.
    waiting: Vec<u8>,
    start: usize,
    /// Messages that the line before had not taken: they go first to the next one.
    held: VecDeque<Vec<u8>>,
    limit_bytes: usize,
    converter: Option<Converter>,
    rate_hz: u32,
    group_bytes: usize,
    clock: Option<CarrierClock>,
    /// In samples of the phone.
    pub(crate) samples_in: u64,
    pub(crate) silence_in: u64,
    pub(crate) overrun: u64,
    pub(crate) suspect: u64,
    pub(crate) other_track: u64,
    /// Dropped because a greeting had answered it.
    pub(crate) withheld: u64,
    /// By when audio may wait for a greeting, and whether some may still be dropped for it.
    held_until: Option<Nanos>,
}

/// Where the carrier's timestamps should be.
#[derive(Clone, Copy)]
struct CarrierClock {
    next_byte: u64,
    since: Nanos,
    bytes: u64,
}

impl ModelHears {
    pub(crate) fn new(truth: Isa, sound: Sound) -> ModelHears {
        ModelHears {
            kernels: Kernels::detect(truth),
            sound,
            waiting: Vec::new(),
            start: 0,
            held: VecDeque::new(),
            limit_bytes: sound.bytes_of_ms(UPLINK_QUEUE_MS),
            converter: None,
            rate_hz: 0,
            group_bytes: usize::MAX,
            clock: None,
            samples_in: 0,
            silence_in: 0,
            overrun: 0,
            suspect: 0,
            other_track: 0,
            withheld: 0,
            held_until: None,
        }
    }

    /// Audio of the caller; `timestamp_ms`: where a carrier says that it begins.
    pub(crate) fn caller_says(&mut self, now: Nanos, audio: &[u8], timestamp_ms: Option<u64>) {
        if let Some(timestamp_ms) = timestamp_ms {
            self.fill_hole(now, timestamp_ms, audio.len() as u64);
        }
        let whole = audio.len() / self.sound.sample_bytes * self.sound.sample_bytes;
        self.samples_in += (whole / self.sound.sample_bytes) as u64;
        self.waiting.extend_from_slice(&audio[..whole]);
        self.drop_oldest();
    }

    /// Audio of a track that nobody asked for.
    pub(crate) fn other_track(&mut self, audio: &[u8]) {
        self.samples_in += audio.len() as u64;
        self.other_track += audio.len() as u64;
    }

    /// A hole is silence: no more of it than the hole may have, nor than time has passed.
    fn fill_hole(&mut self, now: Nanos, timestamp_ms: u64, audio_bytes: u64) {
        let per_ms = self.sound.bytes_of_ms(1) as u64;
        let claimed = timestamp_ms.saturating_mul(per_ms);
        let first = CarrierClock { next_byte: claimed, since: now, bytes: 0 };
        let mut clock = self.clock.unwrap_or(first);
        let tolerance = HOLE_TOLERANCE_MS * per_ms;
        if claimed > clock.next_byte.saturating_add(tolerance) {
            let passed_ms = now.since(clock.since).as_millis() as u64;
            let credible = ((passed_ms + HOLE_MAX_MS) * per_ms).saturating_sub(clock.bytes);
            let hole = (claimed - clock.next_byte).min(HOLE_MAX_MS * per_ms).min(credible);
            let silence = self.sound.silence();
            self.silence_in += hole / self.sound.sample_bytes as u64;
            self.waiting.resize(self.waiting.len() + hole as usize, silence);
            self.drop_oldest();
            clock.bytes += hole;
            clock.next_byte = claimed;
        } else if clock.next_byte > claimed.saturating_add(tolerance) {
            clock.next_byte = claimed;
        }
        clock.next_byte = clock.next_byte.saturating_add(audio_bytes);
        clock.bytes += audio_bytes;
        self.clock = Some(clock);
    }

    fn drop_oldest(&mut self) {
        let excess = self.waiting_bytes().saturating_sub(self.limit_bytes);
        self.forget(excess);
        self.overrun += (excess / self.sound.sample_bytes) as u64;
    }

    /// A line is up.
    pub(crate) fn line_up(&mut self, terms: &LineTerms) {
        self.limit_bytes = self.sound.bytes_of_ms(UPLINK_QUEUE_MS);
        self.group_bytes = self.sound.bytes_of_ms(terms.uplink_ms);
        if self.rate_hz != terms.uplink_rate_hz {
            self.rate_hz = terms.uplink_rate_hz;
            self.converter = None;
        }
        let (from, to) = (self.sound.rate_hz, self.rate_hz);
        self.converter.get_or_insert_with(|| Converter::new(from, to));
        let bound = self.sound.bytes_of_ms(SWAP_QUEUE_MS);
        let room = bound.saturating_sub(self.waiting_bytes());
        while self.held.len() * self.group_bytes > room {
            self.held.pop_front();
            self.overrun += self.group_samples();
        }
    }

    /// The model was asked to greet: what the caller says may wait until then.
    pub(crate) fn hold_until(&mut self, until: Nanos) {
        self.held_until = Some(until);
    }

    /// Whether it may wait though the line is up.
    pub(crate) fn may_be_held(&self, now: Nanos) -> bool {
        self.held_until.is_some_and(|until| now <= until)
    }

    /// So many samples in all were dropped because the greeting had answered them. `has_jumped`: the
    /// time for that may have passed unseen.
    ///
    /// # Panics
    /// If there was no greeting to be waited for.
    pub(crate) fn withhold(&mut self, now: Nanos, samples: u64, has_jumped: bool) -> bool {
        let fresh = samples - self.withheld;
        if fresh == 0 {
            return false;
        }
        let may = self.may_be_held(now) || has_jumped;
        assert!(may && self.held_until.take().is_some(), "nothing said was to wait");
        self.withheld = samples;
        let bytes = fresh as usize * self.sound.sample_bytes;
        assert!(bytes <= self.waiting_bytes(), "more is dropped than was held back");
        self.forget(bytes);
        true
    }

    fn group_samples(&self) -> u64 {
        (self.group_bytes / self.sound.sample_bytes) as u64
    }

    /// The line was given up, and has not taken `untaken`; `suspect`: perhaps because of the audio
    /// that waits.
    pub(crate) fn line_given_up(&mut self, suspect: bool, untaken: Vec<Vec<u8>>) {
        self.held.extend(untaken);
        self.limit_bytes = self.sound.bytes_of_ms(SWAP_QUEUE_MS);
        self.drop_oldest();
        if suspect {
            self.suspect += self.waiting_samples();
            self.end();
        }
    }

    /// What is on its way to the model: a message of this rate.
    ///
    /// # Panics
    /// If that was not next.
    pub(crate) fn sent(&mut self, rate_hz: u32, pcm_le: &[u8]) {
        assert_eq!(rate_hz, self.rate_hz, "the rate agreed upon");
        if let Some(held) = self.held.pop_front() {
            return assert!(held == pcm_le, "what was held goes first, as it was");
        }
        assert!(self.has_group(), "the model hears what nobody said");
        let group = &self.waiting[self.start..self.start + self.group_bytes];
        let pcm = self.sound.decode(&self.kernels, group);
        self.forget(self.group_bytes);
        let converter = self.converter.as_mut().expect("a line is up");
        let expected = converter.convert(&self.kernels, pcm);
        assert!(samples(pcm_le) == expected, "the model hears something else than was said");
    }

    /// The call is over: nothing waits any more.
    pub(crate) fn end(&mut self) {
        self.held.clear();
        self.forget(self.waiting_bytes());
    }

    fn forget(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start > 1 << 15 {
            self.waiting.drain(..self.start);
            self.start = 0;
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.len() - self.start
    }

    pub(crate) fn waiting_samples(&self) -> u64 {
        let held = self.held.len() as u64 * self.group_samples();
        held + (self.waiting_bytes() / self.sound.sample_bytes) as u64
    }

    /// Whether a whole message waits.
    pub(crate) fn has_group(&self) -> bool {
        self.waiting_bytes() >= self.group_bytes
    }
}
