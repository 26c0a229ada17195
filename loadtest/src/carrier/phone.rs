//! The phone's side of a stream once it is open: what it says and when, what it makes of what it
//! hears. No socket and no clock; the owner brings messages and the time.
//!
//! A call may have several streams, one after the other. Its media clock goes on between them: what
//! is spoken while none is open is said to nobody. Each stream counts its messages and its time
//! from its own beginning.
//!
//! In:       server messages, the passing of time.
//! Out:      client messages in order ([`Phone::pop_message`]); the record of the call.
//! Bounds:   the audio heard is kept up to [`HEARD_SAMPLES_MAX`]; beyond it the record says so. A
//!           phone that must wait for the server waits [`READY_WAIT`].
//! Not here: the words (`carrier::dialect`), connecting and ending (`carrier::caller`), judging the
//!           record (`verify`).

use std::collections::VecDeque;

use super::dialect::{Dialect, MarksAtClear, Order, Violation, Wire};
use super::echo::EchoPath;
use super::ids::Ids;
use super::playout::{Playout, PlayoutCounts};
use super::record::Formats;
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::schedule::{
    LineEcho, MediaPlan, NANOS_PER_TICK, PlannedFrame, TICKS_PER_MS, on_grid, phase,
};
use crate::signal::CallerVoice;

/// The most audio a phone remembers: an hour at 8 kHz.
pub const HEARD_SAMPLES_MAX: usize = 3600 * 8000;

/// How long a phone that speaks only when it is told so waits for that.
pub const READY_WAIT: Nanos = 10 * SECONDS;

/// The longest call for which room is made at once, in milliseconds.
const ROOM_MS_MAX: u64 = 60_000;

/// The grid on which media clocks begin.
const FRAME: Nanos = 20 * MILLIS;

/// One side of an open stream.
pub struct Phone {
    dialect: Dialect,
    voice: CallerVoice,
    plan: Vec<PlannedFrame>,
    keys: VecDeque<(Nanos, char)>,
    /// The place of its frames within 20 ms.
    phase: Nanos,
    /// Keys are reported on the stream.
    passes_keys: bool,
    /// When the media clock began; it does once in the life of a call.
    began: Option<Nanos>,
    /// The first frame of the plan that falls to this stream.
    first_frame: usize,
    /// The next frame of the plan.
    next_frame: usize,
    /// Of every so many frames the last is overtaken; 0: none is.
    disorder: u64,
    /// The frame that the next one overtakes.
    overtaken: Option<Outgoing>,
    state: State,
    playout: Playout,
    /// What the line does with what is heard.
    echo: Option<LineEcho>,
    /// The same of the open stream.
    echo_path: Option<EchoPath>,
    /// On a line with an echo, the payload of every frame said.
    said: Vec<u8>,
    out: VecDeque<Outgoing>,
    sent: Vec<SentFrame>,
    heard: Heard,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not open.
    Closed,
    /// Opened, and the server has not yet said that it listens.
    Greeted { until: Nanos },
    /// The media clock runs from this time on.
    Speaking { opened_at: Nanos },
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What is written.
    pub wire: Wire,
    /// The index of the frame it carries, to be reported by [`Phone::frame_sent`].
    pub frame: Option<usize>,
}

/// A frame that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// When it was planned to leave.
    pub planned: Nanos,
    /// When it was handed to the socket.
    pub sent: Nanos,
    /// Where it ends, in ticks since the first frame of its stream: spoken audio and holes.
    pub clock_to: u64,
}

/// What is left of a stream.
pub struct Leftover {
    /// Its audio.
    pub formats: Formats,
    /// The first frame of the plan that fell to it.
    pub first_frame: usize,
    /// Every frame sent, in order.
    pub sent: Vec<SentFrame>,
    /// See [`CallRecord::said`](super::record::CallRecord::said).
    pub said: Option<Vec<u8>>,
    /// Everything heard.
    pub heard: Heard,
    /// What the playout clock counted.
    pub playout: PlayoutCounts,
}

/// Everything the server has sent.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All audio, in order, as it was written.
    pub audio: Vec<u8>,
    /// How many samples that is.
    pub samples: u64,
    /// When audio came, and how many samples there were with it: one entry a message, or one for
    /// those that came in the same instant.
    pub arrivals: Vec<(Nanos, u64)>,
    /// Every `clear`.
    pub clears: Vec<Cleared>,
    /// Every mark: when it came, after how many samples, its name.
    pub marks: Vec<(Nanos, u64, String)>,
    /// Marks sent back.
    pub marks_returned: u64,
    /// What the carrier would have objected to, in order.
    pub violations: Vec<Violation>,
    /// True if [`HEARD_SAMPLES_MAX`] was passed and `audio` is not all there was.
    pub truncated: bool,
}

/// One `clear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// When it came.
    pub at: Nanos,
    /// After how many samples of audio.
    pub after_samples: u64,
    /// How many of them had not been played.
    pub unplayed_samples: u64,
}

impl Phone {
    /// The phone of call `index`, before its stream is open.
    pub fn new(index: usize, dialect: Dialect, voice: CallerVoice, plan: &MediaPlan) -> Phone {
        let keys = plan.keys.iter().map(|&(at_ms, digit)| (at_ms * MILLIS, digit)).collect();
        let frames: Vec<_> = plan.frames().collect();
        let keeps_order = dialect.keeps_order();
        Phone {
            playout: Playout::new(dialect.formats().down.rate),
            dialect,
            voice: voice.pausing(plan.pauses),
            sent: Vec::with_capacity(frames.len()),
            plan: frames,
            keys,
            phase: phase(index),
            passes_keys: true,
            began: None,
            first_frame: 0,
            next_frame: 0,
            disorder: if keeps_order { 0 } else { plan.disorder },
            overtaken: None,
            state: State::Closed,
            echo: plan.echo,
            echo_path: None,
            said: Vec::new(),
            out: VecDeque::new(),
            heard: Heard::default(),
        }
    }

    /// The stream is open: says the first messages. The media clock begins on the grid of the
    /// call, now or when the server says that it listens. Without `passes_keys` no key is told.
    pub fn open(
        &mut self,
        now: Nanos,
        formats: Formats,
        parameters: &[(String, String)],
        passes_keys: bool,
        token: Option<&str>,
    ) {
        for wire in self.dialect.open(formats, parameters, token) {
            self.say(wire);
        }
        self.playout = Playout::with_room(formats.down.rate, self.dialect.queue_max());
        self.echo_path = self.echo.map(|echo| EchoPath::new(echo, formats.down));
        // Room for a model that speaks all the time; what is not heard is never touched.
        let talk_ms = self.plan.last().map_or(0, |frame| frame.clock_to() / TICKS_PER_MS);
        self.heard.audio.reserve(formats.down.bytes_of_ms(talk_ms.min(ROOM_MS_MAX) as usize));
        self.passes_keys = passes_keys;
        if self.dialect.awaits_ready() {
            self.state = State::Greeted { until: now + READY_WAIT };
        } else {
            self.begin(now);
        }
    }

    /// The stream is gone: nothing is said or heard until another is open.
    pub fn lose(&mut self) {
        self.state = State::Closed;
        self.overtaken = None;
        self.out.clear();
    }

    /// The call gets another stream, by these names: what is left of the one it had.
    pub fn renew(&mut self, ids: Ids) -> Leftover {
        self.lose();
        let left = Leftover {
            formats: self.dialect.formats(),
            first_frame: self.first_frame,
            sent: std::mem::take(&mut self.sent),
            said: self.echo.map(|_| std::mem::take(&mut self.said)),
            heard: std::mem::take(&mut self.heard),
            playout: self.playout.counts(),
        };
        self.dialect.renew(ids);
        left
    }

    fn begin(&mut self, now: Nanos) {
        let of_its_own = (now - self.phase.min(now)).next_multiple_of(FRAME) + self.phase;
        let opened_at = self.began.unwrap_or(of_its_own);
        if self.began.replace(opened_at).is_some() {
            self.skip_to(now.saturating_sub(opened_at));
        }
        self.state = State::Speaking { opened_at };
    }

    /// What was spoken by then, on the media clock, while no stream was open, is said to nobody.
    fn skip_to(&mut self, by: Nanos) {
        while self.plan.get(self.next_frame).is_some_and(|frame| frame.at <= by) {
            self.next_frame += 1;
        }
        while self.keys.front().is_some_and(|&(at, _)| at <= by) {
            self.keys.pop_front();
        }
        self.first_frame = self.next_frame;
    }

    /// When the media clock of the call began.
    pub fn began(&self) -> Option<Nanos> {
        self.began
    }

    /// Where the first frame of this stream begins on the media clock, in ticks.
    fn origin(&self) -> u64 {
        origin(&self.plan, self.first_frame)
    }

    /// When [`Phone::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Nanos> {
        let opened_at = match self.state {
            State::Closed => return None,
            State::Greeted { until } => return Some(until),
            State::Speaking { opened_at } => opened_at,
        };
        let frame = self.plan.get(self.next_frame).map(|frame| opened_at + frame.at);
        let key = self.keys.front().map(|&(at, _)| opened_at + at);
        let mark = self.playout.next_mark_at().map(on_grid);
        [frame, key, mark].into_iter().flatten().min()
    }

    /// True once a server that must say that it listens has not done so in time.
    pub fn is_ignored(&self, now: Nanos) -> bool {
        matches!(self.state, State::Greeted { until } if until <= now)
    }

    /// Says everything that is due: frames, keys, marks that have been reached.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let State::Speaking { opened_at } = self.state else { return };
        while let Some(&frame) = self.plan.get(self.next_frame) {
            if opened_at + frame.at > now {
                break;
            }
            self.say_frame(frame, opened_at);
        }
        while let Some(&(at, digit)) = self.keys.front() {
            if opened_at + at > now {
                break;
            }
            self.keys.pop_front();
            if self.passes_keys {
                let wire = self.dialect.key(digit);
                self.say(wire);
            }
        }
        self.return_marks(now);
    }

    /// A text message from the server. True if the server wants the stream ended.
    pub fn handle_text(&mut self, now: Nanos, text: &str) -> bool {
        let read = self.dialect.read_text(text);
        self.handle(now, read)
    }

    /// A binary message from the server.
    pub fn handle_binary(&mut self, now: Nanos, bytes: &[u8]) {
        let read = self.dialect.read_binary(bytes);
        self.handle(now, read);
    }

    fn handle(&mut self, now: Nanos, read: Result<Order, Violation>) -> bool {
        let too_early = match (self.state, &read) {
            (State::Closed, _) => true,
            (State::Greeted { .. }, Ok(order)) => !matches!(order, Order::Ready | Order::Note),
            _ => false,
        };
        if too_early {
            self.object(Violation::BeforeStart);
            return false;
        }
        match read {
            Ok(Order::Media(audio)) => self.hear(now, &audio),
            Ok(Order::Mark(name)) => {
                self.heard.marks.push((now, self.heard.samples, name.clone()));
                self.playout.mark(now, name);
            }
            Ok(Order::Clear) => self.clear(now),
            Ok(Order::ClearMarks) => self.playout.clear_marks(now),
            Ok(Order::Ready) if matches!(self.state, State::Greeted { .. }) => self.begin(now),
            Ok(Order::Ready) => self.object(Violation::Shape),
            Ok(Order::Key | Order::Note) => {}
            Ok(Order::Disconnect) => return true,
            Err(violation) => self.object(violation),
        }
        self.return_marks(now);
        false
    }

    /// Notes something the carrier would object to.
    pub fn object(&mut self, violation: Violation) {
        self.heard.violations.push(violation);
    }

    /// The last message of a call that ends in good order.
    pub fn say_stop(&mut self) {
        if let Some(wire) = self.dialect.stop() {
            self.say(wire);
        }
    }

    /// The next message to be sent.
    pub fn pop_message(&mut self) -> Option<Outgoing> {
        self.out.pop_front()
    }

    /// The frame of an [`Outgoing`] was handed to the socket.
    pub fn frame_sent(&mut self, frame: usize, now: Nanos) {
        let opened_at = match self.state {
            State::Speaking { opened_at } => opened_at,
            _ => now,
        };
        let planned = opened_at + self.plan[frame].at;
        let clock_to = self.plan[frame].clock_to() - self.origin();
        self.sent.push(SentFrame { planned, sent: now, clock_to });
    }

    /// True once every frame of the plan has been said.
    pub fn is_spoken_out(&self) -> bool {
        self.next_frame == self.plan.len() && matches!(self.state, State::Speaking { .. })
    }

    /// True while its plan is being said and its media clock has run for so long.
    pub fn is_steady(&self, now: Nanos, since: Nanos) -> bool {
        matches!(self.state, State::Speaking { opened_at } if opened_at + since <= now)
            && !self.is_spoken_out()
    }

    /// When everything heard so far will have been played.
    pub fn played_out_at(&self) -> Nanos {
        self.playout.dry_at()
    }

    /// What is left of the last stream.
    pub fn into_record(self) -> Leftover {
        Leftover {
            formats: self.dialect.formats(),
            first_frame: self.first_frame,
            sent: self.sent,
            said: self.echo.map(|_| self.said),
            heard: self.heard,
            playout: self.playout.counts(),
        }
    }

    fn say(&mut self, wire: Wire) {
        self.out.push_back(Outgoing { wire, frame: None });
    }

    /// Says a frame of the media clock that began at `began`.
    fn say_frame(&mut self, frame: PlannedFrame, began: Nanos) {
        let up = self.dialect.formats().up;
        let mut audio = Vec::with_capacity(up.bytes_of_ms(frame.ticks.div_ceil(8)));
        self.voice.speak_as(up, frame.spoken_from, frame.ticks, &mut audio);
        if let Some(path) = &mut self.echo_path {
            audio = path.mix(began + frame.clock_from * NANOS_PER_TICK, up, &audio);
            self.said.extend_from_slice(&audio);
        }
        let chunk = (self.next_frame - self.first_frame) as u64 + 1;
        let timestamp_ms = frame.timestamp_ms - self.origin() / TICKS_PER_MS;
        let wire = self.dialect.media(chunk, timestamp_ms, audio);
        let out = Outgoing { wire, frame: Some(self.next_frame) };
        self.next_frame += 1;
        let is_last = self.next_frame == self.plan.len();
        if self.disorder > 0 && chunk.is_multiple_of(self.disorder) && !is_last {
            self.overtaken = Some(out);
            return;
        }
        self.out.push_back(out);
        self.out.extend(self.overtaken.take());
    }

    fn hear(&mut self, now: Nanos, audio: &[u8]) {
        if let Err(violation) = self.dialect.check_piece(audio.len()) {
            self.object(violation);
        }
        let sample_bytes = self.dialect.formats().down.sample_bytes();
        let samples = audio.len() / sample_bytes;
        let plays_at = self.playout.dry_at().max(now);
        let played = self.playout.push(now, samples);
        if played < samples {
            self.object(Violation::QueueFull);
        }
        if let Some(path) = &mut self.echo_path {
            path.play(plays_at, &audio[..played * sample_bytes]);
        }
        if self.heard.samples as usize + samples > HEARD_SAMPLES_MAX {
            self.heard.truncated = true;
            return;
        }
        self.heard.audio.extend_from_slice(audio);
        self.heard.samples += samples as u64;
        match self.heard.arrivals.last_mut() {
            // Read in one go.
            Some((at, heard)) if *at == now => *heard = self.heard.samples,
            _ => self.heard.arrivals.push((now, self.heard.samples)),
        }
    }

    fn clear(&mut self, now: Nanos) {
        if self.dialect.marks_at_clear() == MarksAtClear::Drop {
            self.playout.drop_marks();
        }
        let unplayed_samples = self.playout.clear(now);
        if let Some(path) = &mut self.echo_path {
            path.clear(now);
        }
        let after_samples = self.heard.samples;
        self.heard.clears.push(Cleared { at: now, after_samples, unplayed_samples });
        if let Some(wire) = self.dialect.cleared() {
            self.say(wire);
        }
    }

    fn return_marks(&mut self, now: Nanos) {
        while let Some(mark) = self.playout.pop_reached(now) {
            if let Some(wire) = self.dialect.mark(&mark) {
                self.heard.marks_returned += 1;
                self.say(wire);
            }
        }
    }
}

/// Where the time of a stream begins that has `first` as its first frame, in ticks of the media
/// clock: at 0 for the first stream, whatever hole it begins with.
fn origin(plan: &[PlannedFrame], first: usize) -> u64 {
    match plan.get(first) {
        Some(frame) if first > 0 => frame.clock_from,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Carrier;
    use crate::format::Format;

    /// A phone at the time 0, its media clock beginning there.
    fn closed(carrier: Carrier, spoken_ms: u64) -> Phone {
        let plan = MediaPlan::steady(spoken_ms);
        let dialect = Dialect::new(carrier, Ids::of(carrier, 1, 0), "+1", "+2");
        Phone::new(0, dialect, CallerVoice::new(1, 0), &plan)
    }

    fn open(carrier: Carrier, format: Format, spoken_ms: u64) -> Phone {
        let mut phone = closed(carrier, spoken_ms);
        phone.open(0, Formats::both(format), &[("token".into(), "t".into())], true, None);
        phone
    }

    fn phone(spoken_ms: u64) -> Phone {
        open(Carrier::Twilio, Format::PCMU, spoken_ms)
    }

    fn said(phone: &mut Phone) -> Vec<serde_json::Value> {
        std::iter::from_fn(|| phone.pop_message())
            .map(|out| match out.wire {
                Wire::Text(text) => serde_json::from_str(&text).unwrap(),
                Wire::Binary(bytes) => bytes.len().into(),
            })
            .collect()
    }

    fn media(bytes: usize) -> String {
        use base64::Engine as _;
        let payload = base64::engine::general_purpose::STANDARD.encode(vec![0xFF; bytes]);
        let sid = Ids::of(Carrier::Twilio, 1, 0).stream;
        format!(r#"{{"event":"media","streamSid":"{sid}","media":{{"payload":"{payload}"}}}}"#)
    }

    fn twilio(rest: &str) -> String {
        let sid = Ids::of(Carrier::Twilio, 1, 0).stream;
        format!(r#"{{"streamSid":"{sid}",{rest}}}"#)
    }

    #[test]
    fn a_stream_opens_with_connected_and_start_and_counts_every_message() {
        let mut phone = phone(60);
        phone.handle_timeout(40 * MILLIS);
        let said = said(&mut phone);
        let events: Vec<_> =
            said.iter().map(|message| message["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["connected", "start", "media", "media"]);
        assert_eq!(said[1]["start"]["customParameters"]["token"], "t");
        assert_eq!(said[3]["sequenceNumber"], "3");
        assert_eq!(said[3]["media"]["chunk"], "2");
        assert!(!phone.is_spoken_out());
        phone.handle_timeout(60 * MILLIS);
        assert!(phone.is_spoken_out());
    }

    #[test]
    fn another_stream_begins_anew_and_what_was_spoken_between_is_said_to_nobody() {
        let mut phone = phone(200);
        phone.handle_timeout(60 * MILLIS);
        assert_eq!(said(&mut phone).len(), 5);
        (0..3).for_each(|frame| phone.frame_sent(frame, 60 * MILLIS));
        phone.lose();
        assert_eq!(phone.next_timeout(), None);
        let ids = Ids::of(Carrier::Twilio, 1, 0).with_stream(1);
        let left = phone.renew(ids.clone());
        assert_eq!((left.first_frame, left.sent.len(), left.sent[2].clock_to), (0, 3, 480));
        phone.open(130 * MILLIS, Formats::both(Format::PCMU), &[], true, None);
        assert_eq!(phone.next_timeout(), Some(140 * MILLIS), "the media clock goes on");
        phone.handle_timeout(160 * MILLIS);
        let said = said(&mut phone);
        assert_eq!(said[1]["streamSid"], ids.stream.as_str());
        let (media, sequence) = (&said[2]["media"], &said[2]["sequenceNumber"]);
        assert_eq!((&media["chunk"], sequence), (&"1".into(), &"2".into()));
        assert_eq!(media["timestamp"], "62", "as at the beginning of any stream");
        phone.frame_sent(6, 140 * MILLIS);
        let left = phone.into_record();
        assert_eq!(left.first_frame, 6, "frames that ended at 80, 100 and 120 ms are lost");
        assert_eq!((left.sent[0].planned, left.sent[0].clock_to), (140 * MILLIS, 160));
    }

    #[test]
    fn a_late_wake_up_sends_every_frame_that_was_due() {
        let mut phone = phone(1000);
        phone.handle_timeout(500 * MILLIS);
        assert_eq!(said(&mut phone).len(), 2 + 25);
        assert_eq!(phone.next_timeout(), Some(520 * MILLIS));
    }

    #[test]
    fn a_mark_is_returned_in_its_own_time() {
        let mut phone = phone(0);
        said(&mut phone);
        let now = 50 * MILLIS;
        phone.handle_text(now, &media(160));
        phone.handle_text(now, &twilio(r#""event":"mark","mark":{"name":"g1:20"}"#));
        assert!(said(&mut phone).is_empty());
        assert_eq!(phone.next_timeout(), Some(now + 20 * MILLIS));
        phone.handle_timeout(now + 20 * MILLIS);
        let back = said(&mut phone);
        assert_eq!(back[0]["event"], "mark");
        assert_eq!(back[0]["mark"]["name"], "g1:20");
    }

    #[test]
    fn a_clear_is_recorded_with_what_was_not_heard() {
        let mut phone = phone(0);
        phone.handle_text(0, &media(1600));
        phone.handle_text(100 * MILLIS, &twilio(r#""event":"clear""#));
        let Leftover { heard, playout: counts, .. } = phone.into_record();
        let at = 100 * MILLIS;
        assert_eq!(heard.clears, [Cleared { at, after_samples: 1600, unplayed_samples: 800 }]);
        assert_eq!(counts.cleared_samples, 800);
        assert!(heard.violations.is_empty());
    }

    #[test]
    fn anything_before_start_is_a_violation() {
        let mut phone = closed(Carrier::Twilio, 20);
        phone.handle_text(5, &media(160));
        let heard = phone.into_record().heard;
        assert_eq!(heard.violations, [Violation::BeforeStart]);
        assert!(heard.audio.is_empty());
    }

    #[test]
    fn every_carrier_returns_what_was_played_and_what_was_cleared_in_its_own_way() {
        let stream = |carrier| Ids::of(carrier, 1, 0).stream;
        let plivo = |rest: &str| rest.replace("ID", &stream(Carrier::Plivo));
        let rows: [(Carrier, [String; 2], &[&str]); 4] = [
            (
                Carrier::Telnyx,
                [r#"{"event":"mark","mark":{"name":"a"}}"#.into(), r#"{"event":"clear"}"#.into()],
                &["mark"],
            ),
            (
                Carrier::Plivo,
                [
                    plivo(r#"{"event":"checkpoint","streamId":"ID","name":"a"}"#),
                    plivo(r#"{"event":"clearAudio","streamId":"ID"}"#),
                ],
                &["clearedAudio"],
            ),
            (
                Carrier::Vonage,
                [r#"{"action":"notify","payload":{"n":1}}"#.into(), r#"{"action":"clear"}"#.into()],
                &["websocket:cleared"],
            ),
            (
                Carrier::Jambonz,
                [r#"{"type":"mark","data":{"name":"a"}}"#.into(), r#"{"type":"killAudio"}"#.into()],
                &["mark"],
            ),
        ];
        for (carrier, [mark, clear], back) in rows {
            let mut phone = open(carrier, Format::L16_8K, 0);
            said(&mut phone);
            phone.hear(0, &[1; 640]);
            phone.handle_text(0, &mark);
            assert!(said(&mut phone).is_empty(), "{carrier}");
            phone.handle_text(10 * MILLIS, &clear);
            let said = said(&mut phone);
            let names = said.iter().map(|said| {
                said.get("event").or(said.get("type")).and_then(|name| name.as_str()).unwrap()
            });
            assert_eq!(names.collect::<Vec<_>>(), back, "{carrier}");
        }
    }

    #[test]
    fn a_piece_of_the_wrong_length_is_heard_and_objected_to() {
        let mut phone = open(Carrier::Vonage, Format::L16_16K, 0);
        phone.handle_binary(0, &[0; 640]);
        phone.handle_binary(0, &[0; 320]);
        let Leftover { formats, heard, .. } = phone.into_record();
        assert_eq!(formats.down, Format::L16_16K);
        assert_eq!(heard.arrivals, [(0, 480)], "in one instant");
        assert_eq!(heard.violations, [Violation::PieceSize]);
    }

    #[test]
    fn vonage_keeps_3072_messages_and_not_one_more() {
        let mut phone = open(Carrier::Vonage, Format::L16_8K, 0);
        for _ in 0..3_072 {
            phone.handle_binary(0, &[0; 320]);
        }
        assert!(phone.heard.violations.is_empty());
        phone.handle_binary(0, &[0; 320]);
        assert_eq!(phone.heard.violations, [Violation::QueueFull]);
    }

    #[test]
    fn a_browser_speaks_once_it_is_told_so_and_not_before() {
        let mut phone = open(Carrier::Web, Format::L16_16K, 20);
        assert_eq!(said(&mut phone).len(), 1);
        phone.handle_timeout(30 * MILLIS);
        assert!(said(&mut phone).is_empty() && !phone.is_spoken_out());
        assert_eq!(phone.next_timeout(), Some(READY_WAIT));
        assert!(!phone.is_ignored(30 * MILLIS) && phone.is_ignored(READY_WAIT));
        phone.handle_text(35 * MILLIS, r#"{"type":"ready","call":"c","rate":24000}"#);
        phone.handle_timeout(60 * MILLIS);
        assert_eq!(said(&mut phone), [640]);
        assert!(phone.is_spoken_out());
    }

    #[test]
    fn frames_overtake_each_other_only_where_no_order_is_promised() {
        for (carrier, order) in
            [(Carrier::Telnyx, [1, 3, 2, 5, 4]), (Carrier::Exotel, [1, 2, 3, 4, 5])]
        {
            let plan = MediaPlan { disorder: 2, ..MediaPlan::steady(100) };
            let dialect = Dialect::new(carrier, Ids::of(carrier, 1, 0), "+1", "+2");
            let mut phone = Phone::new(0, dialect, CallerVoice::new(1, 0), &plan);
            phone.open(0, Formats::both(Format::PCMU), &[], true, None);
            phone.handle_timeout(100 * MILLIS);
            let chunks: Vec<u64> = said(&mut phone)[2..]
                .iter()
                .map(|said| said["media"]["chunk"].as_str().unwrap().parse().unwrap())
                .collect();
            assert_eq!(chunks, order, "{carrier}");
            assert!(phone.is_spoken_out());
        }
    }

    #[test]
    fn keys_are_told_only_where_the_relay_asked_for_them() {
        for passes_keys in [true, false] {
            let plan = MediaPlan { keys: vec![(10, '5')], ..MediaPlan::steady(0) };
            let ids = Ids::of(Carrier::Jambonz, 1, 0);
            let dialect = Dialect::new(Carrier::Jambonz, ids, "+1", "+2");
            let mut phone = Phone::new(0, dialect, CallerVoice::new(1, 0), &plan);
            phone.open(0, Formats::both(Format::L16_8K), &[], passes_keys, None);
            phone.handle_timeout(20 * MILLIS);
            assert_eq!(said(&mut phone).len(), 1 + usize::from(passes_keys));
        }
    }

    #[test]
    fn a_line_with_an_echo_says_what_was_heard_again_and_keeps_what_it_said() {
        let echo = Some(LineEcho { delay_ms: 40, loss_db: 0.0 });
        let pauses = crate::signal::Pauses { talk_ms: 1, quiet_ms: 999, from_ms: 1 };
        let plan = MediaPlan { echo, pauses, ..MediaPlan::steady(160) };
        let dialect = Dialect::new(Carrier::Vonage, Ids::of(Carrier::Vonage, 1, 0), "+1", "+2");
        let mut phone = Phone::new(0, dialect, CallerVoice::new(1, 0), &plan);
        phone.open(0, Formats::both(Format::L16_8K), &[], true, None);
        // Audible from 20 to 40 and from 60 to 80 ms; the rest of the second piece is cleared.
        let loud: Vec<u8> = 9_000_i16.to_le_bytes().repeat(160);
        phone.handle_timeout(20 * MILLIS);
        phone.handle_binary(20 * MILLIS, &loud);
        phone.handle_timeout(60 * MILLIS);
        (0..2).for_each(|_| phone.handle_binary(60 * MILLIS, &loud));
        phone.handle_text(80 * MILLIS, r#"{"action":"clear"}"#);
        phone.handle_timeout(160 * MILLIS);
        let said = phone.into_record().said.expect("on such a line it is kept");
        let pcm = Format::L16_8K.units(&said);
        let echoes: Vec<_> =
            pcm.chunks(160).map(|frame| frame.iter().all(|&it| it > 8_000)).collect();
        assert_eq!(echoes, [false, false, false, true, false, true, false, false]);
    }
}
