//! One call over its sockets: webhook, markup, stream, hang-up, and what comes after the stream,
//! which may be another stream.
//!
//! In:       a [`CallSpec`]; readiness and time from the thread that owns the call.
//! Out:      a [`CallRecord`], whatever happens.
//! Bounds:   every phase has a deadline: [`WEBHOOK_WAIT`], [`HANDSHAKE_WAIT`], [`CLOSE_WAIT`],
//!           [`SILENCE_WAIT`]; the talk ends with its plan. Questions are repeated and streams
//!           followed by others as often as the [`Endurance`](super::endurance::Endurance) says.
//! Not here: what is said on the stream (`carrier::phone`), many calls (`carrier::fleet`).

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tungstenite::Message;
use tungstenite::protocol::Role;

use super::Carrier;
use super::dialect::{Dialect, Violation, Wire};
use super::endurance::{COMEBACKS_MAX, RETRIES_MAX};
use super::markup::{self, Answer, MarkupError, StreamNoun};
use super::phone::{Leftover, Phone};
use super::record::{
    After, CallRecord, CallSpec, CallTimes, Failure, Formats, Hangup, LostStream, Outcome,
};
use super::target::{Entry, split_url};
use super::upgrade;
use super::webhook::{self, Stage};
use crate::clock::{Clock, MILLIS, Nanos, SECONDS};
use crate::format::Format;
use crate::net::http::{Exchange, HttpError, Response};
use crate::net::link::{Closing, Link, Received, SendError};
use crate::net::reactor::Reactor;
use crate::net::stream::Stream;
use crate::probes::{LATE, LATE_AFTER, RECEIVE_BUFFER_BYTES, Reading};

/// How long a webhook may take, connecting and repetitions included: Twilio's own limit.
pub const WEBHOOK_WAIT: Nanos = 15 * SECONDS;

/// How long the upgrade may take.
pub const HANDSHAKE_WAIT: Nanos = 10 * SECONDS;

/// How long the server has to close after our close frame.
pub const CLOSE_WAIT: Nanos = 5 * SECONDS;

/// How long a caller that has gone silent waits for the server to end the call.
pub const SILENCE_WAIT: Nanos = 90 * SECONDS;

/// Where a browser's stream is.
const WEB_PATH: &str = "/web";

/// A call under way.
pub struct Caller {
    spec: CallSpec,
    /// What its sockets are registered as.
    slot: usize,
    clock: Clock,
    phase: Phase,
    phone: Phone,
    noun: Option<StreamNoun>,
    answer: Option<Answer>,
    after: Option<After>,
    /// Why the question of what follows had no answer.
    unanswered: Option<Failure>,
    times: CallTimes,
    /// How the open stream is read.
    reading: Reading,
    /// Times in which nothing is read, from and to; known once the stream is open.
    deaf: VecDeque<(Nanos, Nanos)>,
    fell_silent: bool,
    /// What the carrier is asking.
    question: Question,
    /// The streams that died and were followed by another.
    lost: Vec<LostStream>,
    /// When the connection is reset by the network, on the media clock; those to come.
    resets: VecDeque<Nanos>,
    closing: Option<Closing>,
    outcome: Option<Outcome>,
}

/// What a carrier asks, as often as it must.
#[derive(Clone, Default)]
struct Question {
    path: String,
    /// What is signed.
    url: String,
    /// Repetitions so far.
    repeated: u32,
    /// When it must have been answered.
    deadline: Nanos,
    /// When it was first asked.
    asked: Nanos,
    /// The stream whose end it is about was left by the caller: no other follows.
    is_last: bool,
}

/// What follows a pause of the carrier.
#[derive(Clone, Copy)]
enum Next {
    Ask(Stage),
    Dial,
}

enum Phase {
    /// Until the call begins.
    Waiting,
    /// The carrier takes its time.
    Pausing { until: Nanos, next: Next },
    /// The webhook, or the request after the stream.
    Asking { stream: Stream, exchange: Exchange, deadline: Nanos },
    /// The upgrade; `key` is ours.
    Dialling { stream: Stream, exchange: Exchange, key: String, deadline: Nanos },
    /// The stream is open.
    Talking { link: Link },
    /// The plan is spoken; the hang-up waits for its time.
    Lingering { link: Link, until: Nanos },
    /// We have left, or gone silent; the relay is to close.
    Leaving { link: Link, deadline: Nanos },
    /// The record is complete.
    Done,
}

impl Phase {
    /// The socket, where there is one.
    fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Phase::Asking { stream, .. } | Phase::Dialling { stream, .. } => Some(stream),
            Phase::Talking { link }
            | Phase::Lingering { link, .. }
            | Phase::Leaving { link, .. } => Some(link.stream()),
            Phase::Waiting | Phase::Pausing { .. } | Phase::Done => None,
        }
    }
}

impl Caller {
    /// A call that has not begun. Its sockets will be registered as `slot`.
    pub fn new(spec: CallSpec, slot: usize, clock: Clock) -> Caller {
        let dialect = Dialect::new(spec.line.carrier, spec.ids.clone(), &spec.from, &spec.to);
        let phone = Phone::new(spec.index, dialect, spec.voice, &spec.media);
        let resets = spec.endurance.lost_at.iter().copied().collect();
        Caller {
            spec,
            slot,
            clock,
            phase: Phase::Waiting,
            phone,
            noun: None,
            answer: None,
            after: None,
            unanswered: None,
            times: CallTimes::default(),
            reading: Reading::Prompt,
            deaf: VecDeque::new(),
            fell_silent: false,
            question: Question::default(),
            lost: Vec::new(),
            resets,
            closing: None,
            outcome: None,
        }
    }

    /// True once there is nothing more to happen.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// True while the stream is open.
    pub fn is_talking(&self) -> bool {
        matches!(self.phase, Phase::Talking { .. } | Phase::Lingering { .. })
    }

    /// When [`Caller::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Nanos> {
        let hears_again = self.deaf.front().map(|&(_, to)| to);
        let phone = [self.phone.next_timeout(), hears_again].into_iter().flatten().min();
        match &self.phase {
            Phase::Waiting => Some(self.spec.starts_at),
            Phase::Pausing { until, .. } => Some(*until),
            Phase::Asking { deadline, .. } | Phase::Dialling { deadline, .. } => Some(*deadline),
            Phase::Talking { .. } => [phone, self.reset_at()].into_iter().flatten().min(),
            Phase::Lingering { until, .. } => Some(phone.map_or(*until, |at| at.min(*until))),
            Phase::Leaving { deadline, .. } => Some(*deadline),
            Phase::Done => None,
        }
    }

    /// The time of [`Caller::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Nanos, reactor: &Reactor) {
        if let (Phase::Talking { .. }, Some(at)) = (&self.phase, self.reset_at())
            && at <= now
        {
            return self.reset(at, reactor);
        }
        match &self.phase {
            Phase::Waiting => self.begin(now, reactor),
            Phase::Pausing { next: Next::Ask(stage), .. } => self.ask(*stage, reactor),
            Phase::Pausing { next: Next::Dial, .. } => self.dial(reactor),
            Phase::Asking { .. } => self.unanswered(Failure::Late("webhook")),
            Phase::Dialling { .. } => self.fail(Failure::Late("upgrade")),
            Phase::Lingering { until, .. } if *until <= now => self.leave(now),
            Phase::Talking { .. } | Phase::Lingering { .. } => {
                self.talk(now);
                self.attend(now, reactor);
                if self.deaf.pop_front_if(|&mut (_, to)| to <= now).is_some() {
                    self.listen(reactor);
                }
            }
            Phase::Leaving { .. } => self.fail(Failure::Late("close")),
            Phase::Done => {}
        }
    }

    /// The call's socket is ready; `ending`: the peer has closed its side or is gone.
    pub fn handle_ready(&mut self, ending: bool, reactor: &Reactor) {
        if let Some(stream) = self.phase.stream() {
            stream.wake(ending);
        }
        match &mut self.phase {
            Phase::Asking { stream, exchange, .. } => match exchange.poll(stream) {
                Ok(None) => {}
                Ok(Some(response)) => self.answered(response, reactor),
                Err(error) => self.unreached(error, reactor),
            },
            Phase::Dialling { stream, exchange, .. } => match exchange.poll(stream) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    self.upgraded(response);
                    // What came right behind the 101 has been read already.
                    self.listen(reactor);
                }
                Err(error) => self.fail(Failure::Handshake(error)),
            },
            Phase::Talking { .. } | Phase::Lingering { .. } | Phase::Leaving { .. } => {
                self.listen(reactor);
            }
            Phase::Waiting | Phase::Pausing { .. } | Phase::Done => {}
        }
    }

    /// Ends the call now, because the run ends.
    pub fn stop(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(Outcome::Failed(Failure::Stopped));
        }
        self.finish();
    }

    /// What happened.
    pub fn into_record(self) -> CallRecord {
        let Leftover { formats, first_frame, sent, said, heard, playout } =
            self.phone.into_record();
        CallRecord {
            index: self.spec.index,
            carrier: self.spec.line.carrier,
            probe: self.spec.probe,
            formats,
            outcome: self.outcome.unwrap_or(Outcome::Failed(Failure::Stopped)),
            fell_silent: self.fell_silent,
            closing: self.closing,
            answer: self.answer,
            after: self.after,
            unanswered: self.unanswered,
            lost: self.lost,
            times: self.times,
            first_frame,
            sent,
            said,
            heard,
            playout,
        }
    }

    fn begin(&mut self, now: Nanos, reactor: &Reactor) {
        self.times.started = now;
        let target = Arc::clone(&self.spec.target);
        if let Some(path) = target.webhook(self.spec.line.carrier) {
            let url = target.signed_url(&path);
            self.question = Question { path, url, ..Question::default() };
            return self.ask(Stage::Incoming, reactor);
        }
        let origin = target.stream_origin();
        self.noun = Some(match &target.entry {
            Entry::Stream { path, parameters } => StreamNoun {
                parameters: parameters.clone(),
                ..StreamNoun::to(format!("{origin}{path}"))
            },
            _ => StreamNoun::to(format!("{origin}{WEB_PATH}")),
        });
        self.dial(reactor);
    }

    /// Asks the question there is.
    fn ask(&mut self, stage: Stage, reactor: &Reactor) {
        let now = self.clock.now();
        if self.question.repeated == 0 {
            (self.question.asked, self.question.deadline) = (now, now + WEBHOOK_WAIT);
        }
        let Question { path, url, deadline, .. } = &self.question;
        let request = webhook::request(&self.spec, stage, path, url);
        match self.spec.target.connect(reactor, self.slot) {
            Ok(stream) => {
                let exchange = Exchange::new(request);
                self.phase = Phase::Asking { stream, exchange, deadline: *deadline };
            }
            Err(error) => self.unreached(error, reactor),
        }
    }

    /// Nobody was there to be asked, or to answer: the question is repeated, or stays open.
    fn unreached(&mut self, error: HttpError, reactor: &Reactor) {
        let Question { repeated, deadline, .. } = self.question;
        let until = self.clock.now() + self.spec.endurance.retry_after;
        if repeated == self.spec.endurance.retries.min(RETRIES_MAX) || until >= deadline {
            return self.unanswered(Failure::Webhook(error));
        }
        self.question.repeated += 1;
        let stage = if self.outcome.is_some() { Stage::After } else { Stage::Incoming };
        self.pause(until, Next::Ask(stage), reactor);
    }

    /// No answer has come. The call is over; after a stream, as that has ended.
    fn unanswered(&mut self, failure: Failure) {
        if self.outcome.is_none() {
            return self.fail(failure);
        }
        self.unanswered = Some(failure);
        self.finish();
    }

    /// Goes on at `until`; at once where that has come.
    fn pause(&mut self, until: Nanos, next: Next, reactor: &Reactor) {
        if until > self.clock.now() {
            self.phase = Phase::Pausing { until, next };
            return;
        }
        match next {
            Next::Ask(stage) => self.ask(stage, reactor),
            Next::Dial => self.dial(reactor),
        }
    }

    /// An answer has come: at the beginning, or after the stream.
    fn answered(&mut self, response: Response, reactor: &Reactor) {
        let insecure = self.spec.target.tls.is_none();
        let text = String::from_utf8_lossy(&response.body);
        let kind = response.header("content-type");
        let answer = markup::read(self.spec.line.carrier, kind, &text, insecure);
        if self.outcome.is_some() {
            let noun = answer.as_ref().ok().and_then(|answer| answer.stream.clone());
            self.after = Some(After { status: response.status, answer });
            let comebacks = self.spec.endurance.comebacks.min(COMEBACKS_MAX) as usize;
            if noun.is_none()
                || response.status != 200
                || self.question.is_last
                || self.lost.len() >= comebacks
            {
                return self.finish();
            }
            return self.come_back(noun, reactor);
        }
        self.times.asked = Some(self.question.asked);
        self.times.answered = Some(self.clock.now());
        if response.status != 200 {
            return self.fail(Failure::WebhookStatus(response.status));
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.fail(Failure::Markup(error)),
        };
        self.noun.clone_from(&answer.stream);
        match self.noun {
            Some(_) => self.dial(reactor),
            None => self.fail(Failure::NoStream(answer.verbs.clone())),
        }
        self.answer = Some(answer);
    }

    /// The call goes on with another stream.
    fn come_back(&mut self, noun: Option<StreamNoun>, reactor: &Reactor) {
        let ids = self.spec.ids.with_stream(self.lost.len() as u32 + 1);
        let Leftover { formats, first_frame, sent, said, heard, playout } = self.phone.renew(ids);
        let now = self.clock.now();
        let before = CallTimes {
            asked: Some(self.question.asked),
            answered: Some(now),
            started: self.times.started,
            ..CallTimes::default()
        };
        let times = std::mem::replace(&mut self.times, before);
        let closing = self.closing.take().unwrap_or(Closing::Eof);
        self.lost.push(LostStream {
            formats,
            times,
            closing,
            first_frame,
            sent,
            said,
            heard,
            playout,
        });
        (self.outcome, self.noun) = (None, noun);
        self.pause(now + self.spec.endurance.dial_after, Next::Dial, reactor);
    }

    /// Asks for the upgrade, in the words of the carrier's client.
    fn dial(&mut self, reactor: &Reactor) {
        let target = Arc::clone(&self.spec.target);
        let Some(noun) = &self.noun else { return };
        let Some((authority, path)) = split_url(&noun.url) else {
            return self.fail(Failure::Markup(MarkupError::StreamUrl));
        };
        // Twilio's query stays behind; a document with one was refused before.
        let path = match (self.spec.line.carrier, &target.entry) {
            (Carrier::Twilio, Entry::Standard | Entry::Webhook { .. }) => {
                path.split('?').next().unwrap_or("/")
            }
            _ => path,
        };
        let key = STANDARD.encode(self.nonce());
        let request = upgrade::request(&self.spec, noun, authority, path, &key);
        let stream = match target.connect_to(authority, &noun.url, reactor, self.slot) {
            Ok(Some(stream)) => stream,
            Ok(None) => return self.fail(Failure::Unresolved(authority.to_string())),
            Err(error) => return self.fail(Failure::Handshake(error)),
        };
        let deadline = self.clock.now() + HANDSHAKE_WAIT;
        let exchange = Exchange::new(request);
        self.phase = Phase::Dialling { stream, exchange, key, deadline };
    }

    /// Sixteen bytes no other call of this process uses.
    fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.clock.now().to_le_bytes());
        nonce[8..].copy_from_slice(&(self.spec.index as u64).to_le_bytes());
        nonce
    }

    fn upgraded(&mut self, response: Response) {
        let Phase::Dialling { stream, key, .. } = std::mem::replace(&mut self.phase, Phase::Done)
        else {
            return;
        };
        if response.status != 101 {
            return self.fail(Failure::Refused(response.status));
        }
        if !upgrade::is_accepted(self.spec.line.carrier, &key, &response) {
            return self.fail(Failure::BadUpgrade);
        }
        let now = self.clock.now();
        self.times.opened = Some(now);
        let deaf = self.spec.media.reads_nothing.iter();
        self.deaf = deaf.map(|&(at, ms)| (now + at * MILLIS, now + (at + ms) * MILLIS)).collect();
        if let Some(noun) = &self.noun {
            let line = self.spec.line;
            let own = line.format.unwrap_or(line.carrier.default_format());
            let down = match line.carrier {
                Carrier::Web => Format::L16_24K,
                _ => noun.down.unwrap_or(own),
            };
            let formats = Formats { up: noun.up.unwrap_or(own), down };
            let token = self.spec.target.secrets.web.as_deref();
            self.phone.open(now, formats, &noun.parameters, noun.passes_keys, token);
        }
        self.reading = Reading::Prompt;
        let link = Link::new(stream, response.body, Role::Client);
        self.phase = Phase::Talking { link };
        self.talk(now);
    }

    /// Says what is due.
    fn talk(&mut self, now: Nanos) {
        if self.phone.is_ignored(now) {
            return self.fail(Failure::Late("ready"));
        }
        self.phone.handle_timeout(now);
        self.drain();
        if !self.phone.is_spoken_out() || !matches!(self.phase, Phase::Talking { .. }) {
            return;
        }
        if let Phase::Talking { link } = std::mem::replace(&mut self.phase, Phase::Done) {
            self.phase = Phase::Lingering { link, until: now + self.spec.linger };
        }
    }

    /// Behind what was said: begins to read late, does so, or returns to reading at once when all
    /// is spoken.
    fn attend(&mut self, now: Nanos, reactor: &Reactor) {
        let (Phase::Talking { link } | Phase::Lingering { link, .. }) = &mut self.phase else {
            return;
        };
        let stream = link.stream();
        let changed = match self.reading {
            Reading::Prompt if self.spec.probe || !self.phone.is_steady(now, LATE_AFTER) => return,
            Reading::Prompt if !(self.deaf.is_empty() && self.resets.is_empty()) => return,
            Reading::Prompt => {
                stream.make_room(RECEIVE_BUFFER_BYTES);
                self.reading = Reading::Late { at: now + LATE };
                reactor.release(stream)
            }
            Reading::Late { .. } if self.phone.is_spoken_out() => {
                self.reading = Reading::Prompt;
                reactor.register(stream, self.slot)
            }
            Reading::Late { .. } => Ok(()),
        };
        if let Err(error) = changed {
            return self.closed(Closing::Broken(error.kind()), now, reactor);
        }
        if self.reading.is_due(now) {
            stream.wake(false);
            self.listen(reactor);
        }
    }

    /// Hands waiting messages to the socket.
    fn drain(&mut self) {
        let (Phase::Talking { link } | Phase::Lingering { link, .. } | Phase::Leaving { link, .. }) =
            &mut self.phase
        else {
            return;
        };
        while let Some(out) = self.phone.pop_message() {
            let message = match out.wire {
                Wire::Text(text) => Message::text(text),
                Wire::Binary(bytes) => Message::binary(bytes),
            };
            match link.send(message) {
                Ok(()) => {
                    if let Some(frame) = out.frame {
                        self.phone.frame_sent(frame, self.clock.now());
                    }
                }
                Err(SendError::Full) => self.phone.object(Violation::SlowReader),
                // The end of the link is reported when it is read.
                Err(SendError::Ended) => {}
            }
        }
    }

    /// Takes everything the server has sent.
    fn listen(&mut self, reactor: &Reactor) {
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        let mut now = self.clock.now();
        loop {
            if self.reading == Reading::Prompt {
                now = self.clock.now();
            }
            let (Phase::Talking { link }
            | Phase::Lingering { link, .. }
            | Phase::Leaving { link, .. }) = &mut self.phase
            else {
                return;
            };
            let is_deaf = self.deaf.front().is_some_and(|&(from, to)| from <= now && now < to);
            let Some(received) = (if is_deaf { None } else { link.receive() }) else {
                link.flush();
                break;
            };
            match received {
                // What still comes after our goodbye is as strict as before, and is not heard.
                Received::Text(text) => {
                    if self.phone.handle_text(now, &text) {
                        return self.disconnected(now, reactor);
                    }
                }
                Received::Binary(bytes) => self.phone.handle_binary(now, &bytes),
                Received::Ping(_) | Received::Pong => {}
                Received::Closed(closing) => return self.closed(closing, now, reactor),
            }
        }
        if !leaving {
            self.drain();
        }
    }

    /// The relay wants the stream ended by a message.
    fn disconnected(&mut self, now: Nanos, reactor: &Reactor) {
        if let Phase::Talking { link }
        | Phase::Lingering { link, .. }
        | Phase::Leaving { link, .. } = &mut self.phase
        {
            link.close(1000, "");
        }
        let closing = Closing::Frame { code: 1000, reason: "disconnect".into() };
        self.closed(closing, now, reactor);
    }

    fn closed(&mut self, closing: Closing, now: Nanos, reactor: &Reactor) {
        if let Closing::NotWebSocket(_) = closing {
            self.phone.object(Violation::NotWebSocket);
        }
        self.times.closed = Some(now);
        self.closing = Some(closing.clone());
        let left = matches!(self.phase, Phase::Leaving { .. });
        self.phase = Phase::Done;
        self.phone.lose();
        if left && !self.fell_silent {
            self.outcome = Some(Outcome::HungUp);
            return;
        }
        self.outcome = Some(Outcome::ClosedByRelay(closing));
        // A call whose caller has gone is over. A browser has nobody to ask; Plivo, Exotel and
        // Vonage name nobody.
        let noun = self.noun.as_ref().filter(|_| !self.fell_silent);
        let action = noun.and_then(|noun| noun.action.clone());
        if let Some(url) = action {
            let absolute = split_url(&url);
            let path = absolute.map_or(url.as_str(), |(_, path)| path).to_string();
            let url = if absolute.is_some() { url } else { self.spec.target.signed_url(&path) };
            self.question = Question { path, url, is_last: left, ..Question::default() };
            let until = now + self.spec.endurance.ask_after;
            self.pause(until, Next::Ask(Stage::After), reactor);
        }
    }

    /// When the network resets the connection next.
    fn reset_at(&self) -> Option<Nanos> {
        Some(self.phone.began()? + self.resets.front()?)
    }

    /// The network has reset the connection of the caller at `at`, who knows nothing of it: until
    /// then he has talked, and behind it he talks on, however late this thread comes to it.
    fn reset(&mut self, at: Nanos, reactor: &Reactor) {
        self.resets.pop_front();
        // What is due in the same moment is lost already.
        self.talk(at.saturating_sub(1));
        let (Phase::Talking { mut link } | Phase::Lingering { mut link, .. }) =
            std::mem::replace(&mut self.phase, Phase::Done)
        else {
            return;
        };
        link.stream().reset_on_drop();
        drop(link);
        self.closed(Closing::Broken(ErrorKind::ConnectionReset), at, reactor);
    }

    /// The caller hangs up, in its own way.
    fn leave(&mut self, now: Nanos) {
        if self.spec.hangup == Hangup::StopAndClose {
            self.phone.say_stop();
            self.drain();
        }
        let Phase::Lingering { mut link, .. } = std::mem::replace(&mut self.phase, Phase::Done)
        else {
            return;
        };
        let mut wait = CLOSE_WAIT;
        // The end is heard in any case.
        self.deaf.clear();
        match self.spec.hangup {
            Hangup::StopAndClose | Hangup::CloseOnly => link.close(1000, ""),
            Hangup::Silence => {
                self.fell_silent = true;
                // Not even to pings.
                link.hold_pongs();
                wait = SILENCE_WAIT;
            }
            Hangup::PongsOnly => {
                self.fell_silent = true;
                wait = SILENCE_WAIT;
            }
            Hangup::Reset => {
                link.stream().reset_on_drop();
                self.times.closed = Some(now);
                self.outcome = Some(Outcome::HungUp);
                return;
            }
        }
        self.phase = Phase::Leaving { link, deadline: now + wait };
    }

    fn fail(&mut self, failure: Failure) {
        self.outcome = Some(Outcome::Failed(failure));
        self.finish();
    }

    fn finish(&mut self) {
        if self.times.closed.is_none() {
            self.times.closed = Some(self.clock.now());
        }
        self.phase = Phase::Done;
    }
}
