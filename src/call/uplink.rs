//! Caller to model: the ring that phone audio waits in, and its conversion on the way out.
//!
//! In:       audio bytes as the carrier sent them, with its timestamps.
//! Out:      groups of PCM16 at the model's rate, each with the moment it was complete.
//! Bounds:   [`UPLINK_QUEUE_MS`], less during a swap: the oldest is dropped and counted;
//!           [`HOLE_MAX_MS`] of silence for one hole.
//! Not here: messages (`call::agent`), how many groups leave in a turn (`call`).

use std::time::Duration;

use dsp::resample::{Conversion, FilterSet, Resampler};
use dsp::ring::{Consumer, Producer, ring};

use super::arrivals::Arrivals;
use super::audio::{Format, Workbench};
use super::events::LineTerms;
use super::tally::{Dropped, Flow, Oddity, Tally};
use crate::clock::Nanos;
use crate::limits::{HOLE_MAX_MS, HOLE_TOLERANCE_MS, UPLINK_QUEUE_MS};

/// Caller audio on its way to the model.
pub struct Uplink {
    format: Format,
    producer: Producer,
    consumer: Consumer,
    /// Bytes put into the ring, and taken out of it, since it was made.
    pushed: u64,
    popped: u64,
    /// Bytes that were listened to as they came in: they could not leave at once.
    heard_to: u64,
    arrivals: Arrivals,
    /// Bytes that may wait: less than the ring holds while the model's connection is swapped.
    limit_bytes: usize,
    /// The carrier's clock; `None` before its first timestamp.
    clock: Option<CarrierClock>,
    /// Set when the model is ready.
    route: Option<Route>,
}

/// The carrier's clock, in bytes of audio.
#[derive(Clone, Copy)]
struct CarrierClock {
    /// Where its timestamps should be now.
    expected: u64,
    /// When the first one came.
    started_at: Nanos,
    /// Audio and silence since then.
    bytes: u64,
}

/// How audio leaves.
struct Route {
    /// `None` where phone and model agree on the rate.
    resampler: Option<Resampler>,
    rate_hz: u32,
    group_bytes: usize,
    /// Audio that arrived before this waited for the model, or on purpose: not for us.
    opened_at: Nanos,
}

impl Uplink {
    /// An empty ring for audio of this format.
    pub fn new(format: Format) -> Uplink {
        let (producer, consumer) = ring(format.bytes_of_ms(UPLINK_QUEUE_MS));
        Uplink {
            format,
            producer,
            consumer,
            pushed: 0,
            popped: 0,
            heard_to: 0,
            arrivals: Arrivals::default(),
            limit_bytes: format.bytes_of_ms(UPLINK_QUEUE_MS),
            clock: None,
            route: None,
        }
    }

    /// The model's connection is being swapped: no more than `hold` waits from now on, until
    /// [`Uplink::open`].
    pub fn hold(&mut self, hold: Duration, flow: &mut Flow) {
        let hold_ms = usize::try_from(hold.as_millis()).unwrap_or(UPLINK_QUEUE_MS);
        self.limit_bytes = self.format.bytes_of_ms(hold_ms.min(UPLINK_QUEUE_MS));
        let excess = self.consumer.len_bytes().saturating_sub(self.limit_bytes);
        self.drop_oldest(excess, Dropped::Overrun, flow);
    }

    /// What was kept waiting on purpose may go now: its wait is no latency of ours.
    pub fn released(&mut self, now: Nanos) {
        if let Some(route) = &mut self.route {
            route.opened_at = now;
        }
    }

    /// Drops what waits.
    pub fn drop_waiting(&mut self, why: Dropped, flow: &mut Flow) {
        self.drop_oldest(self.consumer.len_bytes(), why, flow);
    }

    /// Of a swap's bound, how many samples are not taken up by what waits.
    pub fn spare_samples(&self, hold: Duration) -> u64 {
        let rate_hz = u128::from(self.format.rate_hz());
        let bound = u64::try_from(hold.as_millis() * rate_hz / 1_000).unwrap_or(u64::MAX);
        bound.saturating_sub(self.queued_samples())
    }

    /// The most that ever waited, in milliseconds.
    pub fn high_water_ms(&self) -> u64 {
        self.format.ms_of_bytes(self.producer.high_water_bytes())
    }

    /// What waits has been listened to as it came in.
    pub fn note_heard(&mut self) {
        self.heard_to = self.pushed;
    }

    /// Whether the group just taken has been listened to before.
    pub fn was_heard(&self) -> bool {
        self.popped <= self.heard_to
    }

    fn drop_oldest(&mut self, bytes: usize, why: Dropped, flow: &mut Flow) {
        let dropped = self.consumer.skip(bytes);
        self.popped += dropped as u64;
        flow.drop_samples(why, (dropped / self.format.sample_bytes()) as u64);
        flow.queued = self.queued_samples();
    }

    /// Whether audio of this format can be brought to this rate.
    pub fn can_reach(format: Format, rate_hz: u32) -> bool {
        format.rate_hz() == rate_hz || Conversion::between(format.rate_hz(), rate_hz).is_some()
    }

    /// From now on audio may leave, as `terms` say.
    ///
    /// # Panics
    /// If [`Uplink::can_reach`] denies the rate.
    pub fn open(&mut self, now: Nanos, terms: &LineTerms) {
        let source_hz = self.format.rate_hz();
        self.limit_bytes = self.producer.capacity_bytes();
        let kept = self.route.take().filter(|route| route.rate_hz == terms.uplink_rate_hz);
        // The filter goes on where it was: the caller has not stopped.
        let resampler = kept.map(|route| route.resampler).unwrap_or_else(|| {
            (source_hz != terms.uplink_rate_hz).then(|| {
                let conversion = Conversion::between(source_hz, terms.uplink_rate_hz)
                    .expect("the rate was checked when the call opened");
                Resampler::new(conversion, FilterSet::LinearPhase)
            })
        });
        self.route = Some(Route {
            resampler,
            rate_hz: terms.uplink_rate_hz,
            group_bytes: self.format.bytes_of_ms(terms.uplink_ms),
            opened_at: now,
        });
    }

    /// The rate audio leaves at, once the model is ready.
    pub fn target_hz(&self) -> Option<u32> {
        self.route.as_ref().map(|route| route.rate_hz)
    }

    /// Takes in one message's audio. Half a sample at its end is cut off and counted.
    pub fn push(&mut self, now: Nanos, audio: &[u8], tally: &mut Tally) {
        let odd = audio.len() % self.format.sample_bytes();
        if odd != 0 {
            tally.note(Oddity::PhoneOdd);
        }
        let audio = &audio[..audio.len() - odd];
        let samples = (audio.len() / self.format.sample_bytes()) as u64;
        let flow = &mut tally.uplink;
        flow.messages_in += 1;
        flow.bytes_in += audio.len() as u64;
        flow.samples_in += samples;
        self.enqueue(now, audio, flow);
    }

    /// Fills the hole before audio that claims to begin at `timestamp_ms`, and expects the next
    /// audio `audio_bytes` later. A timestamp within [`HOLE_TOLERANCE_MS`] of the expected one is
    /// no hole; one before it sets the expectation anew. Returns what was odd.
    ///
    /// A hole is filled up to [`HOLE_MAX_MS`], and never beyond the time that has really passed
    /// since the first timestamp plus as much again: a clock that leaps makes no audio.
    pub fn keep_time(
        &mut self,
        now: Nanos,
        timestamp_ms: u64,
        audio_bytes: usize,
        flow: &mut Flow,
    ) -> Option<Oddity> {
        let sample_bytes = self.format.sample_bytes();
        // Half a sample at the end is cut off, and a hole has none.
        let audio_bytes = audio_bytes / sample_bytes * sample_bytes;
        let bytes_per_ms = self.format.bytes_of_ms(1) as u64;
        let tolerance = HOLE_TOLERANCE_MS * bytes_per_ms;
        let claimed = timestamp_ms.saturating_mul(bytes_per_ms);
        let mut clock =
            self.clock.unwrap_or(CarrierClock { expected: claimed, started_at: now, bytes: 0 });
        let odd = if claimed > clock.expected.saturating_add(tolerance) {
            let passed_ms = now.since(clock.started_at).as_millis() as u64;
            let credible = (passed_ms + HOLE_MAX_MS) * bytes_per_ms;
            let hole = (claimed - clock.expected)
                .min(HOLE_MAX_MS * bytes_per_ms)
                .min(credible.saturating_sub(clock.bytes));
            let hole = hole / sample_bytes as u64 * sample_bytes as u64;
            self.fill_with_silence(now, hole as usize, flow);
            clock.bytes += hole;
            clock.expected = claimed;
            Some(Oddity::PhoneHole)
        } else if clock.expected > claimed.saturating_add(tolerance) {
            clock.expected = claimed;
            Some(Oddity::PhoneBackwards)
        } else {
            None
        };
        clock.expected = clock.expected.saturating_add(audio_bytes as u64);
        clock.bytes += audio_bytes as u64;
        self.clock = Some(clock);
        odd
    }

    fn fill_with_silence(&mut self, now: Nanos, bytes: usize, flow: &mut Flow) {
        let silence = [self.format.silence(); 1024];
        let mut left = bytes;
        while left > 0 {
            let n = left.min(silence.len());
            flow.silence_in += (n / self.format.sample_bytes()) as u64;
            self.enqueue(now, &silence[..n], flow);
            left -= n;
        }
    }

    /// Puts `audio` into the ring, dropping the oldest where it is full, and of `audio` itself
    /// what is longer than the whole ring.
    fn enqueue(&mut self, now: Nanos, audio: &[u8], flow: &mut Flow) {
        let capacity = self.limit_bytes;
        let excess = (self.consumer.len_bytes() + audio.len()).saturating_sub(capacity);
        let oldest = self.consumer.skip(excess);
        self.popped += oldest as u64;
        let audio = &audio[excess - oldest..];
        flow.drop_samples(Dropped::Overrun, (excess / self.format.sample_bytes()) as u64);
        let accepted = self.producer.push(audio);
        debug_assert_eq!(accepted, audio.len(), "room was made");
        self.arrivals.note(self.pushed, self.pushed + audio.len() as u64, now);
        self.pushed += audio.len() as u64;
        flow.queued = self.queued_samples();
    }

    /// Samples that wait.
    pub fn queued_samples(&self) -> u64 {
        (self.consumer.len_bytes() / self.format.sample_bytes()) as u64
    }

    /// Groups that can leave now: none before the model is ready.
    pub fn groups_waiting(&self) -> usize {
        self.route.as_ref().map_or(0, |route| self.consumer.len_bytes() / route.group_bytes)
    }

    /// Bytes of PCM16 in a group, at most: for the check whether there is room for one.
    pub fn group_pcm_bytes(&self) -> usize {
        self.route.as_ref().map_or(0, |route| {
            let samples = route.group_bytes / self.format.sample_bytes();
            (samples * route.rate_hz as usize / self.format.rate_hz() as usize + 1) * 2
        })
    }

    /// Takes one group out and leaves it as PCM16 little-endian in `bench.target_bytes`. Returns
    /// since when it has been ready to leave; `None` if it waited for the model. The caller's own
    /// samples are left in `bench.source_pcm`. `ducked`: 12 dB quieter than it came in.
    ///
    /// # Panics
    /// If no group waits.
    pub fn take_group(
        &mut self,
        ducked: bool,
        bench: &mut Workbench,
        flow: &mut Flow,
    ) -> Option<Nanos> {
        assert!(self.groups_waiting() > 0, "no group waits");
        let route = self.route.as_mut().expect("groups wait only with a route");
        bench.bytes.resize(route.group_bytes, 0);
        self.consumer.pop(&mut bench.bytes);
        self.popped += route.group_bytes as u64;

        bench.source_pcm.clear();
        self.format.decode(&bench.kernels, &bench.bytes, &mut bench.source_pcm);
        let pcm = match &mut route.resampler {
            None => &bench.source_pcm,
            Some(resampler) => {
                bench.target_pcm.resize(resampler.output_len(bench.source_pcm.len()), 0);
                resampler.process(&bench.kernels, &bench.source_pcm, &mut bench.target_pcm);
                &bench.target_pcm
            }
        };
        bench.target_bytes.resize(pcm.len() * 2, 0);
        bench.kernels.pcm_to_le(pcm, &mut bench.target_bytes);
        if ducked {
            duck(&mut bench.target_bytes);
        }

        flow.messages_out += 1;
        flow.bytes_out += bench.target_bytes.len() as u64;
        flow.samples_out += bench.source_pcm.len() as u64;
        let opened_at = route.opened_at;
        flow.queued = self.queued_samples();
        self.arrivals.completed(self.popped).filter(|&at| at >= opened_at)
    }

    /// Drops what waits, because the call is over.
    pub fn end(&mut self, flow: &mut Flow) {
        flow.drop_samples(Dropped::Ended, self.queued_samples());
        self.popped += self.consumer.clear() as u64;
        self.arrivals.clear();
        flow.queued = 0;
    }
}

/// Makes PCM16 little-endian 12 dB quieter.
fn duck(pcm_le: &mut [u8]) {
    let (samples, _) = pcm_le.as_chunks_mut::<2>();
    for sample in samples {
        *sample = (i16::from_le_bytes(*sample) / 4).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsp::kernels::Isa;
    use dsp::kernels::Kernels;

    const TERMS: LineTerms = LineTerms {
        uplink_rate_hz: 16_000,
        uplink_ms: 20,
        resumable: true,
        transparent: false,
        greeting: None,
        seed: None,
        nudge: String::new(),
        go_on: String::new(),
        agent: None,
    };

    fn bench() -> Workbench {
        Workbench::new(Kernels::detect(Isa::Scalar))
    }

    fn balanced(tally: &Tally) {
        assert!(tally.uplink.balances(), "{:?}", tally.uplink);
    }

    #[test]
    fn audio_before_the_model_waits_and_leaves_whole() {
        let (mut uplink, mut tally, mut bench) =
            (Uplink::new(Format::Mulaw8k), Tally::default(), bench());
        uplink.push(Nanos(1), &[0x12; 100], &mut tally);
        uplink.push(Nanos(2), &[0x34; 220], &mut tally);
        assert_eq!(uplink.groups_waiting(), 0);
        balanced(&tally);
        uplink.open(Nanos(3), &TERMS);
        assert_eq!(uplink.groups_waiting(), 2);
        assert_eq!(
            uplink.take_group(false, &mut bench, &mut tally.uplink),
            None,
            "waited for the model"
        );
        assert_eq!(bench.target_bytes.len(), 640);
        uplink.take_group(false, &mut bench, &mut tally.uplink);
        assert_eq!((tally.uplink.samples_out, tally.uplink.queued), (320, 0));
        balanced(&tally);
        uplink.push(Nanos(9), &[0; 160], &mut tally);
        assert_eq!(uplink.take_group(false, &mut bench, &mut tally.uplink), Some(Nanos(9)));
    }

    #[test]
    fn at_the_bound_the_oldest_is_dropped_and_counted() {
        let (mut uplink, mut tally, mut bench) =
            (Uplink::new(Format::Mulaw8k), Tally::default(), bench());
        let capacity = Format::Mulaw8k.bytes_of_ms(UPLINK_QUEUE_MS);
        for n in 0..capacity / 160 + 3 {
            uplink.push(Nanos(n as u64), &[n as u8; 160], &mut tally);
        }
        assert_eq!(tally.uplink.dropped[Dropped::Overrun as usize], 480);
        balanced(&tally);
        uplink.open(Nanos(0), &LineTerms { uplink_rate_hz: 8_000, ..TERMS });
        uplink.take_group(false, &mut bench, &mut tally.uplink);
        let mut fourth = [0; 160];
        Kernels::detect(Isa::Scalar).mulaw_decode(&[3; 160], &mut fourth);
        assert_eq!(bench.source_pcm, fourth);
        uplink.end(&mut tally.uplink);
        balanced(&tally);
        assert_eq!(tally.uplink.queued, 0);
    }

    #[test]
    fn audio_longer_than_the_ring_keeps_its_newest_part() {
        let (mut uplink, mut tally) = (Uplink::new(Format::Mulaw8k), Tally::default());
        let capacity = Format::Mulaw8k.bytes_of_ms(UPLINK_QUEUE_MS);
        uplink.push(Nanos(0), &vec![7; capacity + 5], &mut tally);
        assert_eq!(tally.uplink.dropped[Dropped::Overrun as usize], 5);
        assert_eq!(tally.uplink.queued, capacity as u64);
        balanced(&tally);
    }

    #[test]
    fn a_hole_in_the_timestamps_is_filled_with_silence() {
        let (mut uplink, mut tally) = (Uplink::new(Format::Mulaw8k), Tally::default());
        let mut send = |at_ms, timestamp_ms: u64, tally: &mut Tally| {
            let now = Nanos::from_millis(at_ms);
            let odd = uplink.keep_time(now, timestamp_ms, 160, &mut tally.uplink);
            uplink.push(now, &[1; 160], tally);
            balanced(tally);
            (odd, tally.uplink.silence_in)
        };
        assert_eq!(send(0, 62, &mut tally), (None, 0));
        assert_eq!(send(20, 82, &mut tally), (None, 0));
        assert_eq!(send(140, 202, &mut tally), (Some(Oddity::PhoneHole), 800), "100 ms");
        assert_eq!(send(160, 232, &mut tally), (None, 800), "10 ms of jitter are no hole");
        let bounded = 800 + 8 * HOLE_MAX_MS;
        let late = 100_000;
        let hole = Some(Oddity::PhoneHole);
        assert_eq!(send(late, 1_000_000, &mut tally), (hole, bounded), "a hole is bounded");
        assert_eq!(send(late, 100, &mut tally), (Some(Oddity::PhoneBackwards), bounded));
        assert_eq!(send(late, 120, &mut tally), (None, bounded));
    }

    #[test]
    fn a_clock_that_leaps_makes_no_more_audio_than_time_has_passed() {
        let (mut uplink, mut tally) = (Uplink::new(Format::Mulaw8k), Tally::default());
        for n in 0..1_000 {
            let timestamp_ms = if n % 2 == 0 { 0 } else { 1_000_000 };
            uplink.keep_time(Nanos::from_millis(500), timestamp_ms, 1, &mut tally.uplink);
            uplink.push(Nanos::from_millis(500), &[1], &mut tally);
        }
        assert!(tally.uplink.silence_in <= 8 * HOLE_MAX_MS, "{}", tally.uplink.silence_in);
        balanced(&tally);
    }

    #[test]
    fn frames_of_any_length_keep_time_without_drift() {
        let (mut uplink, mut tally) = (Uplink::new(Format::Mulaw8k), Tally::default());
        let mut sent = 0;
        for bytes in [1, 999, 160, 320, 7].into_iter().cycle().take(500) {
            let odd = uplink.keep_time(Nanos(0), 5 + sent / 8, bytes, &mut tally.uplink);
            assert_eq!(odd, None);
            uplink.push(Nanos(0), &vec![0; bytes], &mut tally);
            sent += bytes as u64;
        }
    }

    #[test]
    fn a_timestamp_at_the_end_of_all_numbers_is_only_a_hole() {
        let (mut uplink, mut tally) = (Uplink::new(Format::Mulaw8k), Tally::default());
        for timestamp_ms in [0, u64::MAX, u64::MAX, 0, u64::MAX / 8 + 1] {
            uplink.keep_time(Nanos(0), timestamp_ms, 160, &mut tally.uplink);
            uplink.push(Nanos(0), &[1; 160], &mut tally);
            balanced(&tally);
        }
    }

    #[test]
    fn a_hole_behind_half_a_sample_is_whole_samples_of_silence() {
        let mut tally = Tally::default();
        let mut uplink = Uplink::new(Format::Pcm16 { rate_hz: 8_000 });
        for (timestamp_ms, bytes) in [(0, 321), (100, 319), (u64::MAX, 320), (u64::MAX, 1)] {
            uplink.keep_time(Nanos(0), timestamp_ms, bytes, &mut tally.uplink);
            uplink.push(Nanos(0), &vec![1; bytes], &mut tally);
            balanced(&tally);
        }
    }

    #[test]
    fn half_a_sample_is_cut_off_and_counted() {
        let mut tally = Tally::default();
        let mut uplink = Uplink::new(Format::Pcm16 { rate_hz: 16_000 });
        uplink.push(Nanos(0), &[0; 321], &mut tally);
        assert_eq!((tally.uplink.samples_in, tally.uplink.queued), (160, 160));
        assert_eq!(tally.oddities[Oddity::PhoneOdd as usize], 1);
    }
}
