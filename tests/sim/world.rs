//! One simulated call: the production [`Call`] between two peers, under a clock of its own.
//!
//! In:       a seed.
//! Out:      what happened; a panic, with what was broken, as soon as an invariant is.
//! Bounds:   [`STEPS_MAX`] events.
//! Not here: what the peers do (`phone`, `model`), what must be heard (`reference`).

mod accounts;
mod fates;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dsp::kernels::{Isa, Kernels};
use vocaris::call::session::Cause;
use vocaris::call::{
    Call, CallId, Class, Door, Dropped, Ending, LineTerms, Report, Request, Settings, ToolReply,
    Workbench,
};
use vocaris::clock::Nanos;
use vocaris::config::{Agent, SwapOrder, Timers, Tool, ToolBehavior, ToolKind, ToolScheduling};
use vocaris::wire::gemini::CloseClass;

use fates::Fate;

use crate::faults::{Counts, Dice, Fault};
use crate::frames::Reader;
use crate::invariants::Watch;
use crate::model::{self, Content, Model, TOOL_NAMES, Told};
use crate::phone::{Gone, Heard, Phone, PhoneSaid};
use crate::reference::{CallerHears, ModelHears};
use crate::report::Digest;
use crate::sabotage::Saboteur;
use crate::silence::{self, Silence};

/// Events of one call at most: a call with more of them has lost its way.
const STEPS_MAX: u32 = 1_000_000;
/// What the calls go by that are journalled.
const JOURNALLED: &str = "CA1";
/// Timers of one moment at most.
const SPINS_MAX: u32 = 8;

/// Where the call is in its life, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The phone has not said who it is.
    Opening,
    /// The first line is being dialled.
    Waiting,
    Live,
    /// Another line is being had; `is_cut`: nothing more comes of the old one.
    Swapping {
        is_cut: bool,
    },
    /// What the model said is played to its end.
    Leaving,
    Over,
}

/// What kind of call it is.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) saboteur: Saboteur,
    pub(crate) kind: Kind,
}

/// What is to happen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the seed says.
    Any,
    /// Nothing goes wrong, and connections end after so long.
    Rotating { length: Duration, held: Duration },
    /// Nothing goes wrong but that no model ever says anything.
    Mute,
}

/// Of a call whose model never answers: longer than it may last.
const MUTE_CALL: Duration = Duration::from_secs(600);

/// What became of a call.
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) digest: u64,
    pub(crate) ending: Ending,
    pub(crate) lasted: Duration,
    pub(crate) heard_by_caller: u64,
    pub(crate) heard_by_model: u64,
    pub(crate) lines: u64,
    pub(crate) overruns: u64,
    /// Samples of the caller that were dropped, for whatever reason.
    pub(crate) lost_uplink: u64,
    /// Bytes of caller audio that reached the call, and those of them between two lines.
    pub(crate) said_by_caller: u64,
    pub(crate) said_while_swapping: u64,
    pub(crate) uplink_rate_hz: u32,
}

pub(crate) struct World {
    pub(crate) call: Call,
    bench: Workbench,
    /// The kernels of the reference.
    truth: Isa,
    pub(crate) now: Nanos,
    born: Nanos,
    dice: Dice,
    pub(crate) phone: Phone,
    pub(crate) model: Option<Model>,
    pub(crate) phase: Phase,
    pub(crate) caller: Option<CallerHears>,
    pub(crate) uplink: Option<ModelHears>,
    fate: Option<(Nanos, Fate)>,
    kind: Kind,
    swap: SwapOrder,
    timers: Arc<Timers>,
    /// What the rest of the relay does to the call, and when.
    interference: Option<(Nanos, Fault)>,
    terms: LineTerms,
    /// What the relay says to the model: read as soon as it is written.
    tap: Reader,
    tapped_bytes: u64,
    taken_bytes: u64,
    /// On its way to the model: where it ends.
    told: VecDeque<(u64, Told)>,
    /// The relay has said goodbye to the model that is there.
    close_told: bool,
    /// Bytes of caller audio that the models took, in whole messages.
    pub(crate) model_took_bytes: u64,
    /// Words typed, and the next of them to be told to the model.
    typed_said: u32,
    typed_next: u32,
    /// Functions the model has called, by id, and not had an answer of.
    tools_asked: Vec<String>,
    /// What will come of tools, by ticket, and when.
    tool_replies: Vec<(Nanos, u32, ToolReply)>,
    /// The model has had a tool run that it waits for: what the caller says may be held back.
    pub(crate) is_blocked: bool,
    /// When the phone last took what there was.
    drained_at: Nanos,
    /// Bytes of a message shown at a time.
    cut: usize,
    ending: Option<Ending>,
    /// The close code it was told.
    phone_told_goodbye: Option<u16>,
    over_since: Nanos,
    lines: u64,
    digest: Digest,
    watch: Watch,
    pub(crate) silence: Silence,
    said_by_caller: u64,
    said_while_swapping: u64,
    /// When an entry was last taken.
    journalled_at: Nanos,
    pub(crate) saboteur: Saboteur,
    spins: u32,
    is_traced: bool,
}

/// The model's audio here is a tone, its turns are of any length, and it is interrupted at any time:
/// what is done about that has tests of its own.
pub(crate) fn timers() -> Timers {
    Timers {
        tone: Duration::ZERO,
        short_turn: Duration::ZERO,
        interruptions: 0,
        ..Timers::default()
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let Plan { seed, saboteur, kind } = plan;
        let mut dice = if kind == Kind::Any { Dice::new(seed) } else { Dice::fair(seed) };
        let now = Nanos::from_millis(1 + dice.random().u64(0..1_000));
        // Most calls are short: what goes wrong goes wrong at some time, and not more often later.
        let mut length_ms = 300.0 * 2_f64.powf(dice.random().f64() * 6.0);
        if dice.random().u32(0..40) == 0 {
            length_ms += dice.random().f64() * 60_000.0;
        }
        let length = Duration::from_millis(length_ms as u64);
        let mut cut = usize::MAX;
        if dice.picks(Fault::CutByteByByte, 10) {
            cut = 1;
        } else if dice.picks(Fault::CutSmall, 20) {
            cut = dice.random().usize(2..50);
        } else if dice.picks(Fault::CutAnywhere, 50) {
            cut = dice.random().usize(50..5_000);
        }
        let length = if cut == 1 { length.min(Duration::from_millis(700)) } else { length };
        let too_long = dice.picks(Fault::TooLong, 5);
        let max = if too_long { length.mul_f64(0.7) } else { Duration::from_secs(48 * 3_600) };
        let interference = [Fault::Drained, Fault::Replaced, Fault::OurFailure]
            .into_iter()
            .find(|&fault| dice.picks(fault, 3))
            .map(|fault| (now.plus(length.mul_f64(dice.random().f64())), fault));
        let phone = match kind {
            Kind::Rotating { length, .. } => Phone::quiet(now, length, &mut dice),
            Kind::Mute => Phone::new(now, MUTE_CALL, &mut dice),
            Kind::Any => Phone::new(now, length, &mut dice),
        };
        // The plain kernels are the truth; the fastest ones say the same, and sooner.
        let truth = if seed % 4 == 0 { Isa::Scalar } else { Isa::Avx512 };
        let door = match (dice.random().bool(), phone.is_browser()) {
            (true, _) => Door::Unknown,
            (false, true) => Door::Web,
            (false, false) => Door::Twilio,
        };
        let swap = match dice.random().u32(0..3) {
            0 => SwapOrder::SetupFirst,
            _ => SwapOrder::CloseFirst,
        };
        let mut patience = timers();
        if let Kind::Rotating { .. } = kind {
            // Its caller says for minutes only that it is there.
            patience.media_timeout = Duration::ZERO;
        }
        if dice.random().bool() {
            patience.greeting_hold = Duration::ZERO;
        }
        let timers = Arc::new(saboteur.spoils(patience.clone()));
        let narrow = phone.sound.rate_hz == 8_000 && dice.random().u32(0..4) == 0;
        let terms = LineTerms {
            uplink_rate_hz: if narrow { 8_000 } else { 16_000 },
            uplink_ms: *dice.random().choice(&[20, 20, 20, 40]).unwrap(),
            greeting: dice.random().bool().then(|| content_json("greet")),
            seed: Some(content_json("seed")),
            nudge: content_json("go on"),
            agent: Some(agent(timers.clone())),
            resumable: true,
            ..LineTerms::default()
        };
        let lead_ms = *dice.random().choice(&[300, 300, 300, 100, 0]).unwrap();
        let settings = Settings {
            playout_lead: Duration::from_millis(lead_ms),
            max_duration: max,
            uplink_rate_hz: terms.uplink_rate_hz,
            timers: timers.clone(),
            swap,
            ..Settings::default()
        };
        let mut call = Call::new(now, CallId(seed), door, settings, Some(seed));
        if seed % 2 == 1 {
            call.handle_journal(Some(JOURNALLED.to_owned()));
        }
        World {
            call,
            bench: Workbench::new(Kernels::detect(Isa::Avx512)),
            truth,
            now,
            born: now,
            phone,
            model: None,
            phase: Phase::Opening,
            caller: None,
            uplink: None,
            fate: None,
            kind,
            swap,
            timers,
            interference,
            terms,
            tap: Reader::new(true),
            tapped_bytes: 0,
            taken_bytes: 0,
            told: VecDeque::new(),
            close_told: false,
            model_took_bytes: 0,
            typed_said: 0,
            typed_next: 0,
            tools_asked: Vec::new(),
            tool_replies: Vec::new(),
            is_blocked: false,
            drained_at: Nanos::ZERO,
            cut,
            ending: None,
            phone_told_goodbye: None,
            over_since: now,
            lines: 0,
            digest: Digest::new(),
            silence: Silence::new(patience),
            said_by_caller: 0,
            said_while_swapping: 0,
            journalled_at: Nanos::ZERO,
            watch: Watch::new(now, Duration::from_millis(lead_ms)),
            saboteur,
            spins: 0,
            is_traced: std::env::var_os("VOCARIS_SIM_TRACE").is_some(),
            dice,
        }
    }

    /// Lives through the call.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub(crate) fn run(mut self) -> Outcome {
        for _ in 0..STEPS_MAX {
            if self.is_done() {
                return self.finish();
            }
            self.step();
        }
        panic!("a call that does not end: {:?}", self.phase);
    }

    /// Whether nothing of the call is left, as the worker sees it.
    fn is_done(&self) -> bool {
        let phone_gone = !self.call.needs_phone()
            && (self.watch.phone_output_bytes == 0 || self.call.has_given_up());
        let agent_gone = !self.call.needs_agent()
            && (self.watch.agent_output_bytes == 0 || self.call.has_given_up_agent());
        self.phase == Phase::Over && phone_gone && agent_gone
    }

    /// The next event, whichever it is.
    fn step(&mut self) {
        let timer = self.call.next_timeout();
        let next = self.next_event().min(timer);
        assert_ne!(next, Nanos::NEVER, "nothing will ever happen again in {:?}", self.phase);
        self.count_spins(next);
        self.now = self.now.max(next);
        if self.dice.strikes(Fault::ClockJump, 1) {
            let jump = Duration::from_millis(self.dice.random().u64(500..70_000));
            self.now = self.now.plus(jump);
            self.watch.clock_jumped(self.now);
        }
        if timer <= self.now && !self.saboteur.loses_timer() {
            self.call.handle_timeout(self.now);
            self.observe();
        }
        if self.phone.next_at <= self.now {
            self.phone.act(self.now, &mut self.dice);
        }
        if let Some(model) = self.model.as_mut().filter(|model| model.next_at <= self.now) {
            model.act(self.now, &mut self.dice);
        }
        if let Some((_, fate)) = self.fate.take_if(|(at, _)| *at <= self.now) {
            self.meet_fate(fate);
        }
        if self.is_rotating() {
            self.phone.wake(self.now);
        }
        self.reply_for_tools();
        self.interfere();
        self.travel();
        self.transcode();
        self.drop_finished_legs();
        Watch::progress(self);
        silence::check(self);
        if self.phase == Phase::Over && self.phone.gone == Gone::No {
            assert!(
                self.now <= self.over_since.plus(Duration::from_secs(3)) || self.watch.has_jumped(),
                "legs are still held {:?} after the end",
                self.now.since(self.over_since)
            );
        }
    }

    /// When something happens that is no timer of the call.
    fn next_event(&self) -> Nanos {
        let mut next = self.phone.next_at;
        let mut consider = |condition: bool, at: Nanos| {
            if condition {
                next = next.min(at);
            }
        };
        consider(!self.phone.wire.is_empty(), self.phone.stalled_until.max(self.now));
        let phone_waits = self.watch.phone_output_bytes > 0;
        consider(phone_waits && self.phone.is_deaf(self.now), self.phone.deaf_until);
        let soon = self.now.plus(Duration::from_millis(1));
        consider(phone_waits && !self.phone.is_deaf(self.now), soon);
        if let Some(model) = &self.model {
            consider(true, model.next_at);
            consider(!model.wire.is_empty(), model.stalled_until.max(self.now));
            let waits = self.watch.agent_output_bytes > 0;
            consider(waits && model.is_deaf(self.now), model.deaf_until);
        }
        if let Some((at, _)) = self.fate {
            consider(true, at);
        }
        for (at, ..) in &self.tool_replies {
            consider(true, *at);
        }
        next
    }

    /// A call that wants to be called again and again at the same moment is a busy loop.
    fn count_spins(&mut self, next: Nanos) {
        let is_timer = self.call.next_timeout() <= self.now && next <= self.now;
        self.spins = if is_timer { self.spins + 1 } else { 0 };
        assert!(self.spins < SPINS_MAX, "a timer that is due for ever in {:?}", self.phase);
        self.watch.count_turn(self.now);
    }

    /// What the rest of the relay may do to a call at any time.
    fn interfere(&mut self) {
        let Some((_, fault)) = self.interference.take_if(|(at, _)| *at <= self.now) else { return };
        match fault {
            Fault::Drained => self.call.handle_stop(self.now),
            Fault::Replaced => self.call.handle_replaced(self.now),
            _ => self.call.handle_failure(self.now),
        }
        assert!(self.call.is_over(), "told to end, it goes on");
        self.observe();
    }

    /// Shows the call what has arrived on both legs.
    fn travel(&mut self) {
        loop {
            let phone = self.show_phone();
            let agent = self.show_agent();
            if !phone && !agent {
                break;
            }
            if self.dice.random().bool() {
                self.transcode();
            }
        }
        self.break_connections();
    }

    fn show_phone(&mut self) -> bool {
        if self.phone.wire.is_empty() || self.now < self.phone.stalled_until {
            return false;
        }
        let was_over = self.call.is_over();
        let World { call, bench, phone, now, cut, .. } = self;
        let arrived = phone.wire.show(*cut, |bytes| call.handle_phone_bytes(*now, bytes, bench));
        self.watch.phone_spoke(self.now);
        for said in arrived {
            if !was_over {
                self.phone_said(said);
            }
        }
        self.observe();
        true
    }

    fn phone_said(&mut self, said: PhoneSaid) {
        if self.saboteur.hides_from_reference(&said) {
            return;
        }
        if !matches!(said, PhoneSaid::Audio { .. }) {
            self.trace(|| format!("{said:?}"));
        }
        match said {
            PhoneSaid::Nothing => {}
            PhoneSaid::Opening(sound) => {
                if self.caller.is_none() {
                    self.phase = Phase::Waiting;
                    self.caller = Some(CallerHears::new(self.truth, self.phone.sound_down()));
                    self.uplink = Some(ModelHears::new(self.truth, sound));
                }
            }
            PhoneSaid::Audio { bytes, timestamp_ms } => {
                if let Some(uplink) = &mut self.uplink {
                    uplink.caller_says(self.now, &bytes, timestamp_ms);
                    self.said_by_caller += bytes.len() as u64;
                    let swaps = matches!(self.phase, Phase::Swapping { .. });
                    self.said_while_swapping += if swaps { bytes.len() as u64 } else { 0 };
                    silence::caller_said(self, &bytes);
                }
            }
            PhoneSaid::OtherTrack(bytes) => {
                if let Some(uplink) = &mut self.uplink {
                    uplink.other_track(&bytes);
                }
            }
            PhoneSaid::Typed(number) => {
                self.typed_said = number + 1;
                self.silence.something_said(self.now);
            }
            PhoneSaid::End => assert!(self.call.is_over(), "the caller has gone, the call goes on"),
        }
    }

    fn show_agent(&mut self) -> bool {
        let left_before = self.left_bytes();
        let World { call, bench, model, now, cut, .. } = self;
        let Some(model) = model else { return false };
        if model.wire.is_empty() || *now < model.stalled_until {
            return false;
        }
        // A connection that was dropped a moment ago says nothing that counts.
        let is_there = call.needs_agent();
        let arrived = model.wire.show(*cut, |bytes| call.handle_agent_bytes(*now, bytes, bench));
        self.watch.model_spoke();
        let counts = is_there && matches!(self.phase, Phase::Live | Phase::Swapping { .. });
        let mut left = left_before;
        for content in arrived {
            if counts {
                left = self.model_said(content, left);
            }
        }
        self.observe();
        true
    }

    fn model_said(&mut self, content: Content, mut left: u64) -> u64 {
        let left_now = self.left_bytes();
        self.trace(|| content.summary());
        if content != Content::default() {
            self.silence.settled();
        }
        self.tools_asked.extend(content.tools.iter().cloned());
        self.tools_asked.retain(|id| !content.taken_back.contains(id));
        let Some(caller) = &mut self.caller else { return left };
        if content.interrupted {
            left = left_now;
            let with_audio = content.broken_audio || !content.audio.is_empty();
            caller.interrupt(self.now, with_audio, left);
        }
        for (rate_hz, bytes) in &content.audio {
            caller.model_says(self.now, *rate_hz, bytes, content.interrupted, left);
        }
        if content.generation_complete || content.turn_complete {
            caller.complete(content.turn_complete);
        }
        left
    }

    /// Bytes of audio that have left the downlink's ring for the phone and were not taken back.
    fn left_bytes(&mut self) -> u64 {
        let waiting = self.call.phone_output().waiting_audio().bytes;
        self.call.tally().downlink.bytes_out + waiting
    }

    /// Connections that broke, once what had been said before has arrived.
    fn break_connections(&mut self) {
        if self.phone.gone == Gone::Lost && self.phone.wire.is_empty() && self.call.needs_phone() {
            self.call.handle_phone_gone(self.now);
            self.observe();
            assert!(self.call.is_over(), "the phone is lost, the call goes on");
        }
        if self.model.as_ref().is_some_and(|model| model.is_lost && model.wire.is_empty()) {
            self.let_model_go();
            self.call.handle_agent_gone(self.now);
            self.observe();
        }
    }

    fn transcode(&mut self) {
        if self.saboteur.dawdles(self.now) {
            return;
        }
        for round in 0.. {
            assert!(round < 10_000, "transcoding without end");
            let more = self.call.transcode(self.now, &mut self.bench);
            self.observe();
            // What the model's socket took makes room that nobody else tells of.
            if !more && !self.call.has_uplink_to_send() {
                return;
            }
        }
    }

    /// Everything the call wished for and said since it was last asked.
    fn observe(&mut self) {
        while let Some(request) = self.call.poll_request() {
            self.grant(request);
        }
        self.see_what_was_withheld();
        self.tap();
        self.follow();
        self.feed_model();
        self.feed_phone();
        Watch::check(self);
    }

    /// Of a call whose connections end: whether one is being replaced.
    fn is_rotating(&self) -> bool {
        matches!(self.kind, Kind::Rotating { .. })
            && self.model.as_ref().is_none_or(Model::is_leaving)
    }

    pub(crate) fn was_deaf(&self) -> bool {
        self.watch.was_deaf()
    }

    pub(crate) fn has_jumped(&self) -> bool {
        self.watch.has_jumped()
    }

    /// Whether a tool is being run or may be: then nothing is owed.
    pub(crate) fn is_busy_with_tools(&self) -> bool {
        self.is_blocked || !self.tools_asked.is_empty() || !self.tool_replies.is_empty()
    }

    pub(crate) fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    fn grant(&mut self, request: Request) {
        self.trace(|| format!("{request:?}"));
        match request {
            Request::Admit(_) => {
                assert_eq!(self.phase, Phase::Waiting, "who is it?");
                self.admit();
            }
            Request::Redial(revival) => self.redial(&revival),
            Request::Journal => self.journal(),
            Request::RunTool(order) => self.run_tool(&order),
            Request::CancelTool { .. } => self.dice.note(Fault::ToolTakenBack),
            Request::Ended(ending) if !self.saboteur.swallows_ending() => {
                assert_eq!(self.ending.replace(ending), None, "a call ends once");
            }
            Request::Report(Report::Joined { .. } | Report::Swapped { .. }) => {
                self.phase = Phase::Live;
                self.silence.went_on(self.now);
            }
            Request::Report(Report::Nudged) => {
                self.dice.note(Fault::Nudged);
                self.silence.went_on(self.now);
            }
            Request::Report(Report::LineGivenUp { cause }) => {
                self.phase = Phase::Swapping { is_cut: false };
                let untaken = self.take_back_audio();
                let uplink = self.uplink.as_mut().expect("a line was up");
                uplink.line_given_up(cause == Cause::Closed(CloseClass::Argument), untaken);
            }
            _ => {}
        }
    }

    /// Tells what happens, where the environment asks for it.
    fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let at = self.now.since(self.born).as_secs_f64();
            eprintln!("{at:9.4} {:?}: {}", self.phase, what());
        }
    }

    /// The model's connection is dropped here: its session must have been closed by then.
    fn let_model_go(&mut self) {
        let Some(model) = self.model.take() else { return };
        assert!(model.is_closed || self.close_told, "a session that nobody has closed");
    }

    fn forget_told(&mut self) {
        (self.tap, self.tapped_bytes, self.taken_bytes) = (Reader::new(true), 0, 0);
        self.told.clear();
    }

    /// Audio that the model has not taken when its line is given up: it is for the next one.
    fn take_back_audio(&mut self) -> Vec<Vec<u8>> {
        let (mut start, mut upto) = (self.taken_bytes, self.taken_bytes);
        let (mut untaken, mut kept) = (Vec::new(), VecDeque::new());
        for (end, told) in self.told.drain(..) {
            match told {
                Told::Audio { pcm_le, .. } => untaken.push(pcm_le),
                other => {
                    upto += end - start;
                    kept.push_back((upto, other));
                }
            }
            start = end;
        }
        (self.told, self.tapped_bytes) = (kept, upto);
        untaken
    }

    /// Reads what the relay has written for the model, at once.
    fn tap(&mut self) {
        let output = self.call.agent_output();
        let known = (self.tapped_bytes - self.taken_bytes) as usize;
        if output.len_bytes() < known {
            // The connection was given up, and what waited for it with it.
            return self.forget_told();
        }
        let fresh = &output.waiting()[known..];
        if fresh.is_empty() {
            return;
        }
        self.digest.note(b'm', self.now, fresh);
        self.tapped_bytes += fresh.len() as u64;
        self.tap.push(fresh);
        while let Some(frame) = self.tap.next() {
            let told = self.saboteur.tells_model(model::read(frame.opcode, &frame.payload));
            let Some(told) = told else { continue };
            match &told {
                Told::Audio { rate_hz, pcm_le } => {
                    let uplink = self.uplink.as_mut().expect("it has opened");
                    uplink.sent(*rate_hz, pcm_le);
                    self.watch.model_was_told(self.now);
                }
                Told::Typed(number) => {
                    assert!(*number >= self.typed_next, "words twice, or out of order");
                    assert!(*number < self.typed_said, "words that nobody typed");
                    self.typed_next = number + 1;
                }
                Told::Close(code) => {
                    assert!((1_000..5_000).contains(code), "close code {code}");
                    assert!(!self.close_told, "goodbye is said once");
                    self.close_told = true;
                }
                Told::ToolAnswers(ids) => {
                    for id in ids {
                        let asked = self.tools_asked.iter().position(|asked| asked == id);
                        let asked = asked.unwrap_or_else(|| {
                            panic!("{id} answered twice, taken back, or never called")
                        });
                        self.tools_asked.swap_remove(asked);
                    }
                }
                Told::Other => {}
            }
            self.told.push_back((self.tapped_bytes, told));
        }
    }

    /// What follows for the reference from where the call is now.
    fn follow(&mut self) {
        let no_line = !self.call.needs_agent();
        match self.phase {
            Phase::Swapping { is_cut: false } if no_line => {
                self.phase = Phase::Swapping { is_cut: true };
                self.caller.as_mut().expect("it has opened").complete(true);
            }
            Phase::Live if self.close_told || no_line => {
                self.phase = Phase::Leaving;
                self.caller.as_mut().expect("it has opened").complete(false);
            }
            _ => {}
        }
        if self.call.is_over() && self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.over_since = self.now;
            if let Some(caller) = &mut self.caller {
                caller.complete(false);
            }
            if let Some(uplink) = &mut self.uplink {
                uplink.end();
            }
        }
    }

    fn feed_model(&mut self) {
        let Some(model) = &mut self.model else { return };
        if model.is_deaf(self.now) {
            return;
        }
        let output = self.call.agent_output();
        let n = output.len_bytes();
        output.consume(n);
        self.taken_bytes += n as u64;
        while let Some((_, told)) = self.told.pop_front_if(|(end, _)| *end <= self.taken_bytes) {
            match told {
                Told::Audio { pcm_le, .. } => self.model_took_bytes += pcm_le.len() as u64,
                Told::Close(_) => model.hear_close(),
                _ => {}
            }
        }
    }

    fn feed_phone(&mut self) {
        let now = self.now;
        if self.phone.is_deaf(now) || (self.phone.takes != usize::MAX && self.drained_at == now) {
            return;
        }
        self.drained_at = now;
        let output = self.call.phone_output();
        let n = output.len_bytes().min(self.phone.takes);
        if n == 0 {
            return;
        }
        self.digest.note(b'p', now, &output.waiting()[..n]);
        let heard = self.phone.take(now, &output.waiting()[..n], &mut self.dice);
        output.consume(n);
        for heard in heard {
            for heard in self.saboteur.lets_hear(heard) {
                self.phone_heard(heard);
            }
        }
    }

    fn phone_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Audio(audio) => {
                let caller = self.caller.as_mut().expect("it has opened");
                caller.hear(&audio);
                let sound = self.phone.sound_down();
                let ms = (audio.len() / sound.bytes_of_ms(1)) as u64;
                self.watch.audio_heard(self.now, ms, self.phone.dry_at);
            }
            Heard::Clear => {
                self.caller.as_mut().expect("it has opened").clear();
                self.watch.cleared();
            }
            Heard::Mark { generation, at_ms } => self.watch.mark_heard(generation, at_ms),
            Heard::Close(code) => {
                assert!(self.phone_told_goodbye.replace(code).is_none(), "goodbye is said once");
            }
            Heard::Other => {}
        }
    }

    /// Lets go of sockets as the worker does.
    fn drop_finished_legs(&mut self) {
        if !self.call.needs_agent()
            && (self.call.agent_output().is_empty() || self.call.has_given_up_agent())
        {
            self.let_model_go();
        }
    }

    /// What a barge-in drops is counted as that, to the sample and its rounding.
    fn check_cleared(&self, dropped: u64) {
        let cleared = self.caller.as_ref().and_then(CallerHears::cleared_samples);
        if let Some((samples, clears)) = cleared {
            assert!(
                dropped.abs_diff(samples) <= 6 * clears,
                "{dropped} samples dropped by {clears} clears, {samples} were due"
            );
        }
    }

    fn finish(mut self) -> Outcome {
        self.let_model_go();
        let ending = self.ending.expect("an ending is told");
        assert!(
            self.phone_told_goodbye.is_some()
                || self.phone.gone != Gone::No
                || self.call.has_given_up(),
            "the phone was not told that it is over: {ending}"
        );
        if let (Some(code), Gone::No) = (self.phone_told_goodbye, self.phone.gone) {
            let expected = match self.call.class() {
                Some(Class::Web) => ending.web_close_code(),
                _ => ending.phone_close_code(),
            };
            assert_eq!(code, expected, "{ending}");
        }
        let tally = self.call.tally();
        assert_eq!((tally.uplink.queued, tally.downlink.queued), (0, 0), "{ending}");
        self.check_cleared(tally.downlink.dropped[Dropped::BargeIn as usize]);
        self.digest.note(b'e', self.now, ending.label().as_bytes());
        let caller = self.caller.as_ref();
        Outcome {
            digest: self.digest.value(),
            ending,
            lasted: self.now.since(self.born),
            heard_by_caller: caller.map_or(0, |caller| caller.heard_bytes),
            heard_by_model: self.model_took_bytes,
            lines: self.lines,
            lost_uplink: tally.uplink.dropped_samples(),
            said_by_caller: self.said_by_caller,
            said_while_swapping: self.said_while_swapping,
            uplink_rate_hz: self.terms.uplink_rate_hz,
            overruns: caller.map_or(0, |caller| caller.overrun_bytes)
                + self.uplink.as_ref().map_or(0, |uplink| uplink.overrun),
            counts: self.dice.counts,
        }
    }
}

/// Who answers: an agent with a tool of each kind.
fn agent(timers: Arc<Timers>) -> Arc<Agent> {
    let tools = TOOL_NAMES.map(|name| {
        Arc::new(Tool {
            name: name.to_owned(),
            description: String::new(),
            parameters: serde_json::json!({"type": "OBJECT"}),
            kind: ToolKind::Appointments,
            behavior: match name {
                "ask" => ToolBehavior::Blocking,
                _ => ToolBehavior::NonBlocking,
            },
            scheduling: ToolScheduling::WhenIdle,
            changes: name == "book",
        })
    });
    Arc::new(Agent { tools: tools.to_vec(), timers, ..Agent::default() })
}

fn content_json(text: &str) -> String {
    format!(
        r#"{{"clientContent":{{"turns":[{{"role":"user","parts":[{{"text":"{text}"}}]}}],"turnComplete":true}}}}"#
    )
}
