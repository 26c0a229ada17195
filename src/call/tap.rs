//! What a recording is made from: the audio of both channels with its place in the call's time,
//! in a ring that another thread reads.
//!
//! In:       the caller's audio as it came, with the carrier's timestamps; the agent's as it left,
//!           with the moment the phone plays it from; where the agent was cut short; the end.
//! Out:      [`Tape`], the other end of the ring: one [`Taped`] after the other.
//! Bounds:   [`TAP_RING_MS`] of both channels that nobody has read: what does not fit is dropped
//!           and counted, and is silence in the recording. A timestamp moves audio at most
//!           [`ASTRAY_MAX`] from where its arrival puts it.
//! Not here: files, mixing, other rates (`record`).
//!
//! A place is counted in samples of 8 kHz since the stream opened, so that both channels lie in
//! one time whatever their rates. Nothing here allocates for a piece of audio, but for the links
//! that the ring adds while its reader stands still.

use std::time::Duration;

use dsp::ring::{Consumer, Producer, ring};

use super::audio::Format;
use crate::clock::Nanos;
use crate::limits::{HOLE_TOLERANCE_MS, TAP_RING_MS};

/// Places a second.
pub const PLACES_PER_SECOND: u64 = 8_000;
/// How far a timestamp may move audio from where its arrival puts it, into the future. Further:
/// its clock is not believed, and starts anew.
pub const ASTRAY_MAX: Duration = Duration::from_secs(1);

/// Audio without timestamps that comes this much later than expected comes after a pause.
const PAUSE_MIN_PLACES: u64 = PLACES_PER_SECOND / 5;
/// Timestamps this close to the expected one are jitter.
const TOLERANCE_PLACES: u64 = HOLE_TOLERANCE_MS * PLACES_PER_SECOND / 1_000;
const ASTRAY_PLACES: u64 = ASTRAY_MAX.as_secs() * PLACES_PER_SECOND;

/// Kind, a byte of nothing, length of the audio, place: little-endian.
const HEADER_BYTES: usize = 8;
/// The most audio behind one header: whole samples of every format.
const AUDIO_MAX_BYTES: usize = u16::MAX as usize - 1;
/// Room that audio leaves to cuts, and cuts to the end.
const CUTS_BYTES: usize = 64 * HEADER_BYTES;

/// Whose audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The caller's: left.
    Caller,
    /// The agent's: right.
    Agent,
}

/// What became of the samples that were to be recorded, at the rate they had here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCount {
    /// Put into a ring.
    pub samples: u64,
    /// Found no room in it.
    pub dropped: u64,
}

impl TapCount {
    /// Adds another count to this one.
    pub fn add(&mut self, other: TapCount) {
        self.samples += other.samples;
        self.dropped += other.dropped;
    }
}

/// The call's end of the ring.
pub struct Tap {
    producer: Producer,
    caller: Format,
    agent: Format,
    opened_at: Nanos,
    clock: Option<SourceClock>,
    /// Where each channel of the source goes on, by its own account.
    next: [u64; 2],
    ended: bool,
    count: TapCount,
}

/// A peer's timestamps, held against our time.
#[derive(Clone, Copy)]
struct SourceClock {
    /// A timestamp, and where it lies.
    timestamp_ms: u64,
    place: u64,
}

impl Tap {
    /// A tap on a stream that opened at `now`, and the tape that it fills. `ahead`: how long before
    /// it is played the agent's audio may come.
    pub fn new(now: Nanos, caller: Format, agent: Format, ahead: Duration) -> (Tap, Tape) {
        let ahead_ms = ahead.as_millis() as usize;
        let audio = caller.bytes_of_ms(TAP_RING_MS) + agent.bytes_of_ms(TAP_RING_MS + ahead_ms);
        // A header for each frame of either channel.
        let headers = 2 * HEADER_BYTES * (TAP_RING_MS + ahead_ms) / crate::limits::PTIME_MS;
        let (producer, consumer) = ring(audio + headers + CUTS_BYTES + HEADER_BYTES);
        let tap = Tap {
            producer,
            caller,
            agent,
            opened_at: now,
            clock: None,
            next: [0; 2],
            ended: false,
            count: TapCount::default(),
        };
        let tape = Tape { consumer, begun: None, caller, agent, opened_at: now, ahead };
        (tap, tape)
    }

    /// What became of its samples so far.
    pub fn count(&self) -> TapCount {
        self.count
    }

    /// Audio of a stream that has just come, with the source's timestamp where it has one. Of a
    /// copy of both tracks, the agent's comes this way, too.
    pub fn arrived(
        &mut self,
        now: Nanos,
        channel: Channel,
        timestamp_ms: Option<u64>,
        audio: &[u8],
    ) {
        let format = self.format_of(channel);
        let places = places_of(audio.len() / format.sample_bytes(), format);
        // It ended when it came, or earlier.
        let arrived = self.place_at(now).saturating_sub(places);
        let expected = self.next[channel as usize];
        let place = match timestamp_ms {
            Some(timestamp_ms) => self.place_by_clock(timestamp_ms, arrived, expected),
            None if expected == 0 || arrived > expected + PAUSE_MIN_PLACES => arrived,
            None if expected > arrived + ASTRAY_PLACES => arrived,
            None => expected,
        };
        self.next[channel as usize] = place + places;
        self.tape(channel, place, audio);
    }

    /// Audio of the agent that has just left; the phone plays it from `plays_at` on.
    pub fn sent(&mut self, plays_at: Nanos, audio: &[u8]) {
        self.tape(Channel::Agent, self.place_at(plays_at), audio);
    }

    /// What the agent was to say from `at` on is not heard.
    pub fn cut(&mut self, at: Nanos) {
        self.note(KIND_CUT, at, HEADER_BYTES);
    }

    /// The stream is over.
    pub fn end(&mut self, at: Nanos) {
        if !self.ended {
            // Nothing else takes the room that is kept for it.
            self.ended = self.note(KIND_END, at, 0);
        }
    }

    /// Where audio of this timestamp lies: by the source's clock, as long as it can be believed.
    fn place_by_clock(&mut self, timestamp_ms: u64, arrived: u64, expected: u64) -> u64 {
        let claimed = self.clock.and_then(|clock| {
            let later_ms = timestamp_ms.checked_sub(clock.timestamp_ms)?;
            let place =
                clock.place.checked_add(later_ms.checked_mul(PLACES_PER_SECOND / 1_000)?)?;
            let in_time = place <= arrived + ASTRAY_PLACES && place + ASTRAY_PLACES >= expected;
            in_time.then_some(place)
        });
        match claimed {
            Some(place) if expected > 0 && place.abs_diff(expected) <= TOLERANCE_PLACES => expected,
            Some(place) => place,
            None => {
                self.clock = Some(SourceClock { timestamp_ms, place: arrived });
                arrived
            }
        }
    }

    fn format_of(&self, channel: Channel) -> Format {
        match channel {
            Channel::Caller => self.caller,
            Channel::Agent => self.agent,
        }
    }

    fn place_at(&self, moment: Nanos) -> u64 {
        place_of(moment.since(self.opened_at))
    }

    fn tape(&mut self, channel: Channel, place: u64, audio: &[u8]) {
        let format = self.format_of(channel);
        let mut place = place;
        for piece in audio.chunks(AUDIO_MAX_BYTES) {
            let samples = piece.len() / format.sample_bytes();
            let whole = &piece[..samples * format.sample_bytes()];
            if self.push(channel as u8, place, whole, CUTS_BYTES + HEADER_BYTES) {
                self.count.samples += samples as u64;
            } else {
                self.count.dropped += samples as u64;
            }
            place += places_of(samples, format);
        }
    }

    fn note(&mut self, kind: u8, at: Nanos, kept: usize) -> bool {
        self.push(kind, self.place_at(at), &[], kept)
    }

    /// Puts one record into the ring, if that leaves `kept` bytes of room.
    fn push(&mut self, kind: u8, place: u64, audio: &[u8], kept: usize) -> bool {
        if self.producer.room_bytes() < HEADER_BYTES + audio.len() + kept {
            return false;
        }
        // A stream that lasts 149 hours stays where it was then.
        let place = u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes();
        let length = (audio.len() as u16).to_le_bytes();
        let header = [kind, 0, length[0], length[1], place[0], place[1], place[2], place[3]];
        self.producer.push(&header);
        self.producer.push(audio);
        true
    }
}

impl Drop for Tap {
    /// The tape's reader waits for the end, whatever became of the call.
    fn drop(&mut self) {
        self.end(self.opened_at);
    }
}

const KIND_CUT: u8 = 2;
const KIND_END: u8 = 3;

/// The reader's end of the ring. It is to be read to [`Taped::End`]: what nobody reads stays.
pub struct Tape {
    consumer: Consumer,
    /// A header whose audio has not all come.
    begun: Option<[u8; HEADER_BYTES]>,
    caller: Format,
    agent: Format,
    opened_at: Nanos,
    ahead: Duration,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("opened_at", &self.opened_at).finish_non_exhaustive()
    }
}

/// One record of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taped {
    /// Audio of one channel.
    Audio {
        /// Whose.
        channel: Channel,
        /// Where its first sample lies.
        place: u64,
    },
    /// The agent is silent from here on: what came for later was thrown away unheard.
    Cut {
        /// From where.
        place: u64,
    },
    /// Nothing follows.
    End {
        /// Where the stream ended.
        place: u64,
    },
}

impl Tape {
    /// How a channel's samples are written.
    pub fn format_of(&self, channel: Channel) -> Format {
        match channel {
            Channel::Caller => self.caller,
            Channel::Agent => self.agent,
        }
    }

    /// When the stream opened: place 0.
    pub fn opened_at(&self) -> Nanos {
        self.opened_at
    }

    /// How long before it is played the agent's audio may come.
    pub fn ahead(&self) -> Duration {
        self.ahead
    }

    /// Bytes that wait to be read.
    pub fn len_bytes(&self) -> usize {
        self.consumer.len_bytes()
    }

    /// The next record, its audio left in `audio`; `None` if none is whole.
    pub fn next(&mut self, audio: &mut Vec<u8>) -> Option<Taped> {
        let header = match self.begun {
            Some(header) => header,
            None if self.consumer.len_bytes() < HEADER_BYTES => return None,
            None => {
                let mut header = [0; HEADER_BYTES];
                self.consumer.pop(&mut header);
                *self.begun.insert(header)
            }
        };
        let [kind, _, length_0, length_1, p0, p1, p2, p3] = header;
        let length = usize::from(u16::from_le_bytes([length_0, length_1]));
        if self.consumer.len_bytes() < length {
            return None;
        }
        self.begun = None;
        audio.resize(length, 0);
        self.consumer.pop(audio);
        let place = u64::from(u32::from_le_bytes([p0, p1, p2, p3]));
        Some(match kind {
            KIND_CUT => Taped::Cut { place },
            KIND_END => Taped::End { place },
            kind if kind == Channel::Caller as u8 => {
                Taped::Audio { channel: Channel::Caller, place }
            }
            _ => Taped::Audio { channel: Channel::Agent, place },
        })
    }
}

/// Places that `length` takes.
pub fn place_of(length: Duration) -> u64 {
    (length.as_nanos() * u128::from(PLACES_PER_SECOND) / 1_000_000_000) as u64
}

/// Places that so many samples take.
fn places_of(samples: usize, format: Format) -> u64 {
    samples as u64 * PLACES_PER_SECOND / u64::from(format.rate_hz())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULAW: Format = Format::Mulaw8k;
    const AHEAD: Duration = Duration::from_millis(300);

    fn at(ms: u64) -> Nanos {
        Nanos::from_millis(5_000 + ms)
    }

    fn tap() -> (Tap, Tape) {
        Tap::new(at(0), MULAW, MULAW, AHEAD)
    }

    /// Everything on the tape: who or what, where, how much.
    fn read(tape: &mut Tape) -> Vec<(Taped, usize)> {
        let mut audio = Vec::new();
        std::iter::from_fn(|| tape.next(&mut audio).map(|taped| (taped, audio.len()))).collect()
    }

    fn caller(place: u64) -> Taped {
        Taped::Audio { channel: Channel::Caller, place }
    }

    fn agent(place: u64) -> Taped {
        Taped::Audio { channel: Channel::Agent, place }
    }

    #[test]
    fn audio_lies_where_the_carriers_clock_puts_it_however_late_it_comes() {
        let (mut tap, mut tape) = tap();
        for (now_ms, timestamp_ms) in [(120, 62), (140, 82), (400, 102), (400, 122), (410, 342)] {
            tap.arrived(at(now_ms), Channel::Caller, Some(timestamp_ms), &[0x55; 160]);
        }
        let places = [800, 960, 1_120, 1_280, 3_040].map(|place| (caller(place), 160));
        assert_eq!(read(&mut tape), places);
    }

    #[test]
    fn jitter_of_a_few_milliseconds_tears_no_hole() {
        let (mut tap, mut tape) = tap();
        for (now_ms, timestamp_ms) in [(20, 0), (40, 23), (60, 38), (80, 60)] {
            tap.arrived(at(now_ms), Channel::Caller, Some(timestamp_ms), &[0x55; 160]);
        }
        assert_eq!(read(&mut tape), [0, 160, 320, 480].map(|place| (caller(place), 160)));
    }

    #[test]
    fn a_clock_that_leaps_is_not_believed() {
        let (mut tap, mut tape) = tap();
        let timestamps = [0, 20, u64::MAX, 60, 100_000_000, 100_000_020];
        for (n, timestamp_ms) in timestamps.into_iter().enumerate() {
            let now = at(20 * (n as u64 + 1));
            tap.arrived(now, Channel::Caller, Some(timestamp_ms), &[0x55; 160]);
        }
        let places = [0, 160, 320, 480, 640, 800].map(|place| (caller(place), 160));
        assert_eq!(read(&mut tape), places);
    }

    #[test]
    fn audio_without_timestamps_is_one_piece_until_it_pauses() {
        let pcm = Format::Pcm16 { rate_hz: 16_000 };
        let (mut tap, mut tape) = Tap::new(at(0), pcm, pcm, AHEAD);
        for now_ms in [20, 55, 60, 1_080] {
            tap.arrived(at(now_ms), Channel::Caller, None, &[0; 640]);
        }
        assert_eq!(read(&mut tape), [0, 160, 320, 8_480].map(|place| (caller(place), 640)));
    }

    #[test]
    fn both_tracks_of_one_stream_share_one_clock() {
        let (mut tap, mut tape) = tap();
        tap.arrived(at(60), Channel::Caller, Some(40), &[0x55; 160]);
        tap.arrived(at(90), Channel::Agent, Some(40), &[0x66; 160]);
        tap.arrived(at(95), Channel::Agent, Some(60), &[0x66; 160]);
        let expected = [(caller(320), 160), (agent(320), 160), (agent(480), 160)];
        assert_eq!(read(&mut tape), expected);
    }

    #[test]
    fn what_is_cut_and_where_it_ends_is_told_once() {
        let (mut tap, mut tape) = tap();
        tap.sent(at(100), &[0x55; 320]);
        tap.cut(at(110));
        tap.end(at(2_000));
        tap.end(at(3_000));
        drop(tap);
        let expected =
            [(agent(800), 320), (Taped::Cut { place: 880 }, 0), (Taped::End { place: 16_000 }, 0)];
        assert_eq!(read(&mut tape), expected);
    }

    #[test]
    fn a_reader_that_stands_still_costs_counted_samples_and_is_told_the_end_all_the_same() {
        let (mut tap, mut tape) = tap();
        let frames = 2 * (TAP_RING_MS as u64 + 10_000) / 20;
        for n in 0..frames {
            tap.arrived(at(20 * n), Channel::Caller, Some(20 * n), &[0x55; 160]);
            tap.cut(at(20 * n));
        }
        let TapCount { samples, dropped } = tap.count();
        assert_eq!(samples + dropped, frames * 160);
        assert!(samples >= TAP_RING_MS as u64 * 8 && dropped > 0, "{samples} {dropped}");
        drop(tap);
        let records = read(&mut tape);
        let kept: usize = records.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(kept as u64, samples);
        assert!(matches!(records.last(), Some((Taped::End { .. }, 0))));
    }

    #[test]
    fn a_message_longer_than_a_record_is_several() {
        let (mut tap, mut tape) = tap();
        tap.arrived(at(9_000), Channel::Caller, None, &[0x55; 70_000]);
        let first = AUDIO_MAX_BYTES;
        let expected = [(caller(2_000), first), (caller(2_000 + first as u64), 70_000 - first)];
        assert_eq!(read(&mut tape), expected);
    }
}
