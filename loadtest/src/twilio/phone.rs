//! The phone's side of a stream once it is open: what it says and when, what it makes of what it
//! hears. No socket and no clock; the owner brings messages and the time.
//!
//! In:       server messages, the passing of time.
//! Out:      client messages in order ([`Phone::pop_message`]); the record of the call.
//! Bounds:   the audio heard is kept up to [`HEARD_BYTES_MAX`]; beyond it the record says so.
//! Not here: connecting and ending (`twilio::caller`), judging the record (`verify`).

use std::collections::VecDeque;

use super::checker::{self, Message, Violation};
use super::message::{self, Sids};
use super::playout::{Playout, PlayoutCounts};
use crate::clock::{MILLIS, Nanos};
use crate::schedule::{MediaPlan, PlannedFrame, on_grid};
use crate::signal::CallerVoice;

/// The most audio a phone remembers: an hour.
pub const HEARD_BYTES_MAX: usize = 3600 * 8000;

/// One side of an open stream.
pub struct Phone {
    sids: Sids,
    voice: CallerVoice,
    plan: Vec<PlannedFrame>,
    keys: VecDeque<(Nanos, char)>,
    /// The next frame of the plan.
    next_frame: usize,
    /// The zero of the media clock, once the stream is open.
    opened_at: Option<Nanos>,
    sequence: u64,
    playout: Playout,
    out: VecDeque<Outgoing>,
    sent: Vec<SentFrame>,
    heard: Heard,
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its JSON.
    pub text: String,
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
    /// Where it ends, in bytes of the media clock: spoken audio and holes.
    pub clock_to: u64,
}

/// Everything the server has sent.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All audio, in order.
    pub audio: Vec<u8>,
    /// When each message of audio came, and how many bytes there were with it.
    pub arrivals: Vec<(Nanos, u64)>,
    /// Every `clear`.
    pub clears: Vec<Cleared>,
    /// Every mark: when it came, after how many bytes, its name.
    pub marks: Vec<(Nanos, u64, String)>,
    /// Marks sent back.
    pub marks_returned: u64,
    /// What Twilio would have warned about, in order, each message once.
    pub violations: Vec<Violation>,
    /// True if [`HEARD_BYTES_MAX`] was passed and `audio` is not all there was.
    pub truncated: bool,
}

/// One `clear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// When it came.
    pub at: Nanos,
    /// After how many bytes of audio.
    pub after_bytes: u64,
    /// How many of them had not been played.
    pub unplayed_bytes: u64,
}

impl Phone {
    /// The phone of one call, before its stream is open.
    pub fn new(sids: Sids, voice: CallerVoice, plan: &MediaPlan) -> Phone {
        let keys = plan.keys.iter().map(|&(at_ms, digit)| (at_ms * MILLIS, digit)).collect();
        let frames: Vec<_> = plan.frames().collect();
        Phone {
            sids,
            voice: voice.pausing(plan.pauses),
            sent: Vec::with_capacity(frames.len()),
            plan: frames,
            keys,
            next_frame: 0,
            opened_at: None,
            sequence: 0,
            playout: Playout::default(),
            out: VecDeque::new(),
            heard: Heard::default(),
        }
    }

    /// The stream is open: says `connected` and `start`. The media clock begins at `media_start`.
    pub fn open(&mut self, parameters: &[(String, String)], media_start: Nanos) {
        self.say(message::connected());
        self.sequence = 1;
        self.say(message::start(&self.sids, parameters));
        self.opened_at = Some(media_start);
    }

    /// When [`Phone::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Nanos> {
        let opened_at = self.opened_at?;
        let frame = self.plan.get(self.next_frame).map(|frame| opened_at + frame.at);
        let key = self.keys.front().map(|&(at, _)| opened_at + at);
        let mark = self.playout.next_mark_at().map(on_grid);
        [frame, key, mark].into_iter().flatten().min()
    }

    /// Says everything that is due: frames, keys, marks that have been reached.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let Some(opened_at) = self.opened_at else { return };
        while let Some(&frame) = self.plan.get(self.next_frame) {
            if opened_at + frame.at > now {
                break;
            }
            self.say_frame(frame);
        }
        while let Some(&(at, digit)) = self.keys.front() {
            if opened_at + at > now {
                break;
            }
            self.keys.pop_front();
            self.sequence += 1;
            self.say(message::dtmf(&self.sids, self.sequence, digit));
        }
        self.return_marks(now);
    }

    /// A text message from the server.
    pub fn handle_text(&mut self, now: Nanos, text: &str) {
        let checked = match self.opened_at {
            Some(_) => checker::check(text, &self.sids.stream),
            None => Err(Violation::BeforeStart),
        };
        match checked {
            Ok(Message::Media(audio)) => self.hear(now, &audio),
            Ok(Message::Mark(name)) => {
                let after = self.heard.audio.len() as u64;
                self.heard.marks.push((now, after, name.clone()));
                self.playout.mark(now, name);
            }
            Ok(Message::Clear) => {
                let unplayed_bytes = self.playout.clear(now);
                let after_bytes = self.heard.audio.len() as u64;
                self.heard.clears.push(Cleared { at: now, after_bytes, unplayed_bytes });
            }
            Err(violation) => self.object(violation),
        }
        self.return_marks(now);
    }

    /// Notes something Twilio would warn about.
    pub fn object(&mut self, violation: Violation) {
        self.heard.violations.push(violation);
    }

    /// The last message of a call that ends in good order.
    pub fn say_stop(&mut self) {
        self.sequence += 1;
        self.say(message::stop(&self.sids, self.sequence));
    }

    /// The next message to be sent.
    pub fn pop_message(&mut self) -> Option<Outgoing> {
        self.out.pop_front()
    }

    /// The frame of an [`Outgoing`] was handed to the socket.
    pub fn frame_sent(&mut self, frame: usize, now: Nanos) {
        let planned = self.opened_at.unwrap_or(now) + self.plan[frame].at;
        let clock_to = self.plan[frame].clock_to();
        self.sent.push(SentFrame { planned, sent: now, clock_to });
    }

    /// True once every frame of the plan has been said.
    pub fn is_spoken_out(&self) -> bool {
        self.next_frame == self.plan.len()
    }

    /// When everything heard so far will have been played.
    pub fn played_out_at(&self) -> Nanos {
        self.playout.dry_at()
    }

    /// The record of the call.
    pub fn into_record(self) -> (Vec<SentFrame>, Heard, PlayoutCounts) {
        (self.sent, self.heard, self.playout.counts())
    }

    fn say(&mut self, text: String) {
        self.out.push_back(Outgoing { text, frame: None });
    }

    fn say_frame(&mut self, frame: PlannedFrame) {
        let mut code = [0; *crate::schedule::FRAME_BYTES.end()];
        let code = &mut code[..frame.len_bytes];
        self.voice.speak(frame.spoken_from, code);
        self.sequence += 1;
        let chunk = self.next_frame as u64 + 1;
        let text = message::media(&self.sids, self.sequence, chunk, frame.timestamp_ms, code);
        self.out.push_back(Outgoing { text, frame: Some(self.next_frame) });
        self.next_frame += 1;
    }

    fn hear(&mut self, now: Nanos, audio: &[u8]) {
        if self.playout.push(now, audio.len()) < audio.len() {
            self.object(Violation::QueueFull);
        }
        if self.heard.audio.len() + audio.len() > HEARD_BYTES_MAX {
            self.heard.truncated = true;
            return;
        }
        self.heard.audio.extend_from_slice(audio);
        self.heard.arrivals.push((now, self.heard.audio.len() as u64));
    }

    fn return_marks(&mut self, now: Nanos) {
        while let Some(name) = self.playout.pop_reached(now) {
            self.sequence += 1;
            self.heard.marks_returned += 1;
            self.say(message::mark(&self.sids, self.sequence, &name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(spoken_ms: u64) -> Phone {
        let plan = MediaPlan::steady(spoken_ms);
        let mut phone = Phone::new(Sids::of(1, 0), CallerVoice::new(1, 0), &plan);
        phone.open(&[("token".into(), "t".into())], 1_000);
        phone
    }

    fn said(phone: &mut Phone) -> Vec<serde_json::Value> {
        std::iter::from_fn(|| phone.pop_message())
            .map(|out| serde_json::from_str(&out.text).unwrap())
            .collect()
    }

    fn media(phone: &Phone, bytes: usize) -> String {
        use base64::Engine as _;
        let payload = base64::engine::general_purpose::STANDARD.encode(vec![0xFF; bytes]);
        let sid = &phone.sids.stream;
        format!(r#"{{"event":"media","streamSid":"{sid}","media":{{"payload":"{payload}"}}}}"#)
    }

    #[test]
    fn a_stream_opens_with_connected_and_start_and_counts_every_message() {
        let mut phone = phone(60);
        phone.handle_timeout(1_000 + 40 * MILLIS);
        let said = said(&mut phone);
        let events: Vec<_> =
            said.iter().map(|message| message["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["connected", "start", "media", "media"]);
        assert_eq!(said[1]["start"]["customParameters"]["token"], "t");
        assert_eq!(said[3]["sequenceNumber"], "3");
        assert_eq!(said[3]["media"]["chunk"], "2");
        assert!(!phone.is_spoken_out());
        phone.handle_timeout(1_000 + 60 * MILLIS);
        assert!(phone.is_spoken_out());
    }

    #[test]
    fn a_late_wake_up_sends_every_frame_that_was_due() {
        let mut phone = phone(1000);
        phone.handle_timeout(1_000 + 500 * MILLIS);
        assert_eq!(said(&mut phone).len(), 2 + 25);
        assert_eq!(phone.next_timeout(), Some(1_000 + 520 * MILLIS));
    }

    #[test]
    fn a_mark_is_returned_in_its_own_time() {
        let mut phone = phone(0);
        said(&mut phone);
        let now = 50 * MILLIS;
        let audio = media(&phone, 160);
        phone.handle_text(now, &audio);
        let sid = phone.sids.stream.clone();
        let mark = format!(r#"{{"event":"mark","streamSid":"{sid}","mark":{{"name":"g1:20"}}}}"#);
        phone.handle_text(now, &mark);
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
        let audio = media(&phone, 1600);
        phone.handle_text(0, &audio);
        let sid = phone.sids.stream.clone();
        let clear = format!(r#"{{"event":"clear","streamSid":"{sid}"}}"#);
        phone.handle_text(100 * MILLIS, &clear);
        let (_, heard, counts) = phone.into_record();
        let cleared = Cleared { at: 100 * MILLIS, after_bytes: 1600, unplayed_bytes: 800 };
        assert_eq!(heard.clears, [cleared]);
        assert_eq!(counts.cleared_bytes, 800);
        assert!(heard.violations.is_empty());
    }

    #[test]
    fn anything_before_start_is_a_violation() {
        let plan = MediaPlan::steady(20);
        let mut phone = Phone::new(Sids::of(1, 0), CallerVoice::new(1, 0), &plan);
        let audio = media(&phone, 160);
        phone.handle_text(5, &audio);
        let (_, heard, _) = phone.into_record();
        assert_eq!(heard.violations, [Violation::BeforeStart]);
        assert!(heard.audio.is_empty());
    }
}
