//! One call: bytes and time in, bytes and wishes out. No socket, clock, thread or log line, so the
//! same code runs under the event loop, the benches and a simulation.
//!
//! In:       bytes of either leg, the moment they came, the line to the model, timers.
//! Out:      bytes for either leg, [`Request`]s, the next moment to be called at.
//! Bounds:   those of `limits`; at most [`FRAMES_PER_TURN`] messages up and frames down in one
//!           [`Call::transcode`].
//! Not here: sockets and their ends (`worker` tells), being let in (`accept`), dialling (`dial`).
//!
//! | file | what it holds |
//! |---|---|
//! | `events` | what crosses the border besides bytes |
//! | `facts` | what is known of it besides audio |
//! | `session` | the model's session, which outlives its connections |
//! | `swap` | what the call does while a connection is swapped |
//! | `watch`, `ear` | whether the model answers, whether the caller speaks |
//! | `pulse` | whether the carrier's stream still lives |
//! | `steady` | whether the model speaks, or only makes a noise |
//! | `hold` | when the caller's audio waits though the model is there |
//! | `memory` | what was said, in words |
//! | `tools` | what the model has done for the caller |
//! | `barge_in` | what becomes of an answer that is spoken over |
//! | `ending` | how a call comes to its end |
//! | `farewell` | how the model hangs up, or puts the caller through |
//! | `legacy` | how a conversation goes on after its phone was lost |
//! | `journal` | what another process must know to do that |
//! | `keys` | what the caller presses |
//! | `from_phone`, `from_agent` | what each side says, and what follows |
//! | `from_carrier`, `reorder` | the same of a carrier; its audio in the order it was spoken in |
//! | `phone`, `agent` | what is said to each side |
//! | `uplink`, `downlink` | the audio between them |
//! | `playout` | when audio leaves for the phone |
//! | `turns` | whose turn it is |
//! | `tally` | what became of every sample |
//! | `state` | where it is in its life, as others see it |
//! | `told` | what a peer told of itself, in a line of the log |
//! | `tap`, `keep` | the audio of both sides for a recording |

pub mod agent;
pub mod arrivals;
pub mod audio;
mod barge_in;
pub mod downlink;
mod ear;
mod ending;
pub mod events;
mod facts;
mod farewell;
mod from_agent;
mod from_carrier;
mod from_phone;
mod hold;
mod journal;
mod keep;
mod keys;
mod legacy;
mod memory;
pub mod phone;
pub mod playout;
mod pulse;
pub mod reorder;
pub mod session;
mod state;
mod steady;
mod swap;
pub mod tally;
pub mod tap;
mod told;
mod tools;
pub mod turns;
pub mod uplink;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use audio::Workbench;
pub use events::{
    Afterwards, CallId, Class, Door, Ending, LineFault, LineTerms, Opening, Refusal, Report,
    Request, Revival, TOOLS_BUSY, ToolOrder, ToolOutcome, ToolReply, shown_digits,
};
pub use facts::{AGAIN, Again, Facts, telling_number};
pub use journal::{Entry, Snapshot, SnapshotError, Standing};
pub use keep::Keep;
pub use legacy::Legacy;
pub use state::State;
pub use tally::{Dropped, Flow, Lines, Nudge, Oddity, Tally};
pub use tap::{Tap, TapCount, Tape};
pub use told::{Told, VALUE_MAX_CHARS};

use agent::AgentLeg;
use audio::Format;
use downlink::Downlink;
use ear::Ear;
use ending::lose;
use farewell::Farewell;
use hold::Hold;
use journal::Diary;
use keys::Keys;
use memory::Memory;
use phone::PhoneLeg;
use pulse::{Alarm, Pulse};
use reorder::Reorder;
use session::{Cause, Session};
use tools::Tools;
use turns::Turns;
use uplink::Uplink;
use watch::Watch;

use crate::buf::{SendBuf, Stamped};
use crate::clock::Nanos;
use crate::config::{Carrier, Config, Secret, SignatureMode, SwapOrder, Timers};
use crate::limits::{
    AGENT_MESSAGE_MAX_BYTES, FRAMES_PER_TURN, JOIN_TIMEOUT, ODDITIES_MAX, PHONE_CLOSE_MAX_BYTES,
    PHONE_CLOSE_TIMEOUT, PHONE_DEAD, PHONE_MESSAGE_MAX_BYTES, PHONE_PING, PTIME, PTIME_MS,
    REQUESTS_MAX, START_TIMEOUT,
};
use crate::wire::dialect::Dialect;
use crate::wire::gemini::CloseClass;
use crate::wire::ws::{CloseCode, Endpoint, MessageReader, Role, Stage};

/// What every call is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far ahead of the caller's ear the phone is kept filled.
    pub playout_lead: Duration,
    /// How much of the model's audio leaves at a time while the phone's buffer holds out.
    pub playout_group: Duration,
    /// The longest call.
    pub max_duration: Duration,
    /// Rate of the caller's audio on its way up, in Hz.
    pub uplink_rate_hz: u32,
    /// What is kept of the call.
    pub keep: Keep,
    /// How long it waits for its model, unless its agent says otherwise.
    pub timers: Arc<Timers>,
    /// Which of two connections to the model goes first.
    pub swap: SwapOrder,
    /// Whether the caller's audio is made quieter while the model is heard.
    pub duck: bool,
    /// Whether only calls are let in that a signed webhook led here: then its token vouches for
    /// the numbers it was told.
    pub signed: bool,
    /// The same of each other carrier, by [`Carrier`].
    pub proven: [bool; Carrier::COUNT],
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        Settings {
            playout_lead: config.twilio.playout_lead,
            playout_group: config.twilio.playout_group,
            max_duration: config.limits.max_call_duration,
            uplink_rate_hz: config.gemini.uplink_rate,
            timers: Arc::clone(&config.timers),
            swap: config.gemini.swap,
            duck: config.gemini.duck,
            signed: config.twilio.signature == SignatureMode::Require,
            proven: Carrier::ALL.map(|carrier| {
                let terms = config.carriers.of(carrier);
                terms
                    .is_some_and(|terms| terms.enabled && terms.signature == SignatureMode::Require)
            }),
            keep: Keep::from(config),
        }
    }
}

impl Default for Settings {
    /// Those of a call that nothing was said about.
    fn default() -> Settings {
        Settings {
            playout_lead: Duration::from_millis(300),
            playout_group: PTIME,
            max_duration: Duration::from_secs(4 * 3_600),
            uplink_rate_hz: 16_000,
            timers: Arc::default(),
            swap: SwapOrder::default(),
            duck: false,
            signed: false,
            proven: [false; Carrier::COUNT],
            keep: Keep::default(),
        }
    }
}

/// One call: the phone's leg, the model's leg, and the audio between them.
pub struct Call {
    id: CallId,
    settings: Settings,
    /// The latest time we were told. It never goes back.
    now: Nanos,
    life: Life,
    /// Where its socket came in.
    door: Door,
    /// Decided by the door, or by the first message.
    class: Option<Class>,
    /// How the carrier speaks, from its first message on.
    dialect: Option<&'static Dialect>,
    /// Its audio that came too early.
    reorder: Reorder,
    /// The carrier's name of the call, from its `start`.
    call_sid: Option<String>,
    phone: PhoneLeg,
    phone_reader: MessageReader,
    /// Its control frames and its goodbyes.
    phone_end: Endpoint,
    phone_heard_at: Nanos,
    phone_pinged_at: Nanos,
    pulse: Pulse,
    agent: AgentLeg,
    agent_reader: MessageReader,
    agent_life: LegLife,
    /// Since when audio has gone to the model without a byte from it; `None`: it has answered.
    agent_silent_since: Option<Nanos>,
    /// When our close frame to the model was written.
    agent_closed_at: Nanos,
    /// Set while the socket of a connection that was given up is to be dropped as it is.
    agent_abandoned: bool,
    session: Session,
    watch: Watch,
    ear: Ear,
    /// Whether more audio is to be expected of the answer the model is giving.
    generating: bool,
    /// Whether the model says that more comes without anybody speaking.
    in_progress: bool,
    /// What this connection is told, and tells.
    line: LineFacts,
    hold: Hold,
    /// Whether the model has been asked to go on after it broke off, and has not spoken at length
    /// since.
    went_on: bool,
    /// Whether the model has been told that the caller's words have ended.
    stream_ended: bool,
    /// Whether audio of an answer has come since the last interruption; answers in a row that were
    /// not let begin.
    answer_began: bool,
    unheard_answers: usize,
    memory: Memory,
    /// Messages for the model, other than audio, that wait for it to be back.
    waiting_messages: Vec<String>,
    /// Whether the model has said anything.
    has_spoken: bool,
    /// When the phone said who it is.
    opened_at: Nanos,
    /// Whether the next audio that leaves is the first of an answer; when the last such left.
    answer_due: bool,
    answered_at: Nanos,
    /// The two directions, once the phone's format is known.
    audio: Option<Audio>,
    /// Whether it is no call but a copy of one's both tracks: it is listened to, and has no model.
    is_fork: bool,
    /// Where its audio goes to be recorded; the tape until somebody takes it.
    tap: Option<Box<Tap>>,
    tape: Option<Box<Tape>>,
    turns: Turns,
    /// Whether the caller has heard the model at all.
    spoken_to: bool,
    tools: Tools,
    keys: Keys,
    /// Set while the model takes leave.
    farewell: Option<Farewell>,
    /// Whom the caller is put through to.
    transfer_to: Option<String>,
    /// Whether the carrier asks us what follows a closed stream.
    is_followed: bool,
    /// The name of the conversation: that of its first stream.
    conversation: CallId,
    /// Streams that it has had before this one.
    returns: u32,
    return_token: Option<Secret>,
    /// What the journal is owed; `None` where nobody keeps one of this call.
    diary: Option<Box<Diary>>,
    /// Messages refused or passed over, of each leg.
    phone_oddities: u32,
    agent_oddities: u32,
    /// Set once, [`PHONE_CLOSE_TIMEOUT`] after the close frames.
    given_up: bool,
    tally: Tally,
    requests: VecDeque<Request>,
}

/// What is known of a connection to the model.
#[derive(Debug, Default)]
struct LineFacts {
    /// Whether updates come all the time.
    is_resumable: bool,
    /// What a model that owes an answer is told, and one that broke off.
    nudge: String,
    go_on: String,
    /// What came was a tone or noise: no more of its audio is heard.
    is_refused: bool,
}

/// The audio between the legs.
struct Audio {
    format: Format,
    uplink: Uplink,
    downlink: Downlink,
}

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// The phone has not yet said who it is.
    Opening { since: Nanos },
    /// It asked to be let in, and for a line to the model.
    Waiting { opened_at: Nanos },
    /// Phone and model are joined.
    Live { opened_at: Nanos },
    /// A copy of both tracks, let in.
    Listening { opened_at: Nanos },
    /// The model's connection is being swapped; `ending`: why the call ends if that fails.
    Swapping { opened_at: Nanos, ending: Ending },
    /// The model is gone; what it said is played to its end.
    Leaving { opened_at: Nanos, ending: Ending },
    /// The close frames are written.
    Over { since: Nanos },
}

/// Where one leg is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LegLife {
    /// Not there yet: the model, before its line.
    Absent,
    /// Bytes flow.
    Open,
    /// Our close frame is written; the peer's has not come.
    Closing,
    /// Nothing more will come.
    Gone,
}

impl Call {
    /// A call whose socket has just become a WebSocket. `seed` decides its mask keys and the jitter
    /// of its waits, so that it can be replayed; without one nobody can foresee the keys.
    pub fn new(now: Nanos, id: CallId, door: Door, settings: Settings, seed: Option<u64>) -> Call {
        let timers = || Arc::clone(&settings.timers);
        Call {
            id,
            now,
            life: Life::Opening { since: now },
            door,
            class: match door {
                Door::Twilio | Door::Carrier(_) | Door::Fork => Some(Class::Twilio),
                Door::Web => Some(Class::Web),
                Door::Unknown => None,
            },
            dialect: None,
            reorder: Reorder::default(),
            call_sid: None,
            phone: PhoneLeg::default(),
            phone_reader: MessageReader::new(Role::Client, PHONE_MESSAGE_MAX_BYTES),
            phone_end: Endpoint::new(Role::Server, PHONE_CLOSE_MAX_BYTES),
            phone_heard_at: now,
            phone_pinged_at: now,
            pulse: Pulse::default(),
            agent: AgentLeg::new(seed),
            agent_reader: MessageReader::new(Role::Server, AGENT_MESSAGE_MAX_BYTES),
            agent_life: LegLife::Absent,
            agent_silent_since: None,
            agent_closed_at: now,
            agent_abandoned: false,
            session: Session::new(
                seed.unwrap_or_else(|| fastrand::u64(..)),
                timers(),
                settings.swap,
            ),
            watch: Watch::new(timers()),
            ear: Ear::new(settings.timers.quiet),
            generating: false,
            in_progress: false,
            line: LineFacts::default(),
            hold: Hold::default(),
            went_on: false,
            stream_ended: false,
            answer_began: false,
            unheard_answers: 0,
            memory: Memory::default(),
            waiting_messages: Vec::new(),
            has_spoken: false,
            opened_at: now,
            answer_due: false,
            answered_at: now,
            audio: None,
            is_fork: door == Door::Fork,
            tap: None,
            tape: None,
            turns: Turns::default(),
            spoken_to: false,
            tools: Tools::default(),
            keys: Keys::default(),
            farewell: None,
            transfer_to: None,
            is_followed: false,
            conversation: id,
            returns: 0,
            return_token: None,
            diary: None,
            phone_oddities: 0,
            agent_oddities: 0,
            given_up: false,
            tally: Tally::default(),
            requests: VecDeque::new(),
            settings,
        }
    }

    /// Its name in the log.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Its class, once known.
    pub fn class(&self) -> Option<Class> {
        self.class
    }

    /// The carrier's name of the call, once known.
    pub fn call_sid(&self) -> Option<&str> {
        self.call_sid.as_deref()
    }

    /// What became of its samples so far.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally;
        let AgentLeg { output, held, .. } = &self.agent;
        let waiting = [(true, output), (true, held), (false, &self.phone.output)];
        for (is_up, output) in waiting {
            let flow = if is_up { &mut tally.uplink } else { &mut tally.downlink };
            flow.take_back(output.waiting_audio());
            flow.queued += output.waiting_audio().samples;
            tally.unmeasured += output.unmeasured();
        }
        if let Some(tap) = &self.tap {
            tally.taps.add(tap.count());
        }
        tally
    }

    /// The line to the model is there: it has taken our `setup`. Nothing comes of a line that was
    /// not asked for: see [`Call::awaits_line`].
    pub fn handle_line(&mut self, now: Nanos, terms: &LineTerms) {
        self.now = self.now.max(now);
        let opened_at = match self.life {
            Life::Waiting { opened_at } => opened_at,
            Life::Swapping { opened_at, .. } if self.session.awaits_line() => {
                return self.take_line(opened_at, terms);
            }
            Life::Live { .. } | Life::Swapping { .. } => return,
            _ => {
                // The call ended while its line was being dialled.
                self.agent_life = LegLife::Open;
                return self.close_agent(CloseCode::NORMAL);
            }
        };
        self.begin_recording();
        self.take_line(opened_at, terms);
        self.tell_ready(false);
        self.report(Report::Joined { after: self.now.since(opened_at) });
    }

    /// The model cannot be had.
    pub fn handle_no_line(&mut self, now: Nanos, fault: LineFault) {
        self.now = self.now.max(now);
        match self.life {
            Life::Waiting { .. } => self.end(Ending::NoModel(fault)),
            Life::Swapping { .. } if self.session.no_line(self.now, fault) => {
                if self.agent_life == LegLife::Open && !self.session.keeps_old() {
                    // It was kept for the new one's sake.
                    self.close_agent(CloseCode::NORMAL);
                }
                self.attend();
            }
            Life::Swapping { ending, .. } => self.give_up(ending),
            _ => {}
        }
    }

    /// The call is not let in.
    pub fn handle_refusal(&mut self, now: Nanos, refusal: Refusal) {
        self.now = self.now.max(now);
        if let Life::Waiting { .. } = self.life {
            self.end(Ending::Refused(refusal));
        }
    }

    /// A newer stream of the same call has taken its place.
    pub fn handle_replaced(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.end(Ending::Replaced);
    }

    /// The phone's connection has ended, in order or not.
    pub fn handle_phone_gone(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.lose_phone();
        self.end(Ending::PhoneLost);
    }

    /// The model's connection has ended, in order or not.
    pub fn handle_agent_gone(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        let was_open = self.agent_life == LegLife::Open;
        if let (true, Life::Live { .. } | Life::Swapping { .. }) = (was_open, self.life) {
            self.agent.hold_audio();
        }
        self.lose_agent();
        match self.life {
            Life::Live { .. } if was_open => {
                self.tally.lines.note_close(None, CloseClass::Lost);
                self.recover(Cause::Lost, Ending::ModelLost);
            }
            Life::Swapping { .. } => self.note_line_gone(),
            _ => self.leave(Ending::ModelLost),
        }
        if !matches!(self.life, Life::Swapping { .. }) {
            // There is no next connection for it.
            lose(&mut self.agent.held, Dropped::Unsent, &mut self.tally.uplink);
        }
    }

    /// The relay stops.
    pub fn handle_stop(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.end(Ending::Drained);
    }

    /// An assertion of ours failed in this call: it ends, whatever state it is in.
    pub fn handle_failure(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.end(Ending::Internal);
    }

    /// A moment that [`Call::next_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        if let Life::Over { since } = self.life {
            if self.now >= since.plus(self.settings.timers.close) {
                self.abandon_agent();
            }
            if self.now >= since.plus(PHONE_CLOSE_TIMEOUT) {
                self.give_up_phone();
            }
            return;
        }
        if self.now >= self.phone_heard_at.plus(PHONE_DEAD) {
            return self.end(Ending::PhoneSilent);
        }
        if self.now >= self.phone_pinged_at.plus(PHONE_PING) {
            self.phone_pinged_at = self.now;
            self.phone.send_ping();
        }
        match self.pulse.poll(self.now, self.media_timeout()) {
            Some(Alarm::Ask) => self.phone.send_mark(self.turns.mark_here()),
            Some(Alarm::GiveUp) => return self.end(Ending::MediaTimeout),
            None => {}
        }
        match self.life {
            Life::Opening { since } if self.now >= since.plus(START_TIMEOUT) => {
                self.end(Ending::NoStart);
            }
            Life::Waiting { opened_at } if self.now >= opened_at.plus(JOIN_TIMEOUT) => {
                self.end(Ending::NoModel(LineFault::Timeout));
            }
            Life::Live { opened_at }
            | Life::Listening { opened_at }
            | Life::Swapping { opened_at, .. }
                if self.now >= opened_at.plus(self.settings.max_duration) =>
            {
                self.end(Ending::TooLong);
            }
            Life::Live { .. } if self.now >= self.agent_dead_at() => {
                self.recover(Cause::Silent, Ending::ModelSilent);
            }
            Life::Live { .. } | Life::Swapping { .. } => self.attend(),
            Life::Leaving { ending, .. } => {
                if self.now >= self.agent_close_due() {
                    self.abandon_agent();
                }
                self.end_if_played(ending);
            }
            _ => {}
        }
        self.tell_journal();
    }

    /// How long the stream may be silent; zero: for ever. A copy of a call's tracks ends with the
    /// call.
    fn media_timeout(&self) -> Duration {
        match (self.class, self.life) {
            _ if self.is_fork => Duration::ZERO,
            (_, Life::Opening { .. } | Life::Over { .. }) => Duration::ZERO,
            (Some(Class::Twilio), _) => self.settings.timers.media_timeout,
            _ => Duration::ZERO,
        }
    }

    /// When the model counts as dead, unless a byte comes from it: where something is due. Where
    /// updates come all the time, that is always; else while it owes an answer, or the rest of one.
    fn agent_dead_at(&self) -> Nanos {
        let Some(since) = self.agent_silent_since else { return Nanos::NEVER };
        let due_from = match (self.line.is_resumable || self.generating, self.watch.owed_from()) {
            (true, _) => since,
            (false, Some(owed_from)) => since.max(owed_from),
            (false, None) => return Nanos::NEVER,
        };
        due_from.plus(self.settings.timers.dead)
    }

    /// When the model must have answered our close frame, if it was sent one.
    fn agent_close_due(&self) -> Nanos {
        match self.agent_life {
            LegLife::Closing => self.agent_closed_at.plus(self.settings.timers.close),
            _ => Nanos::NEVER,
        }
    }

    /// When [`Call::handle_timeout`] or [`Call::transcode`] is to be called next, whatever else
    /// happens.
    pub fn next_timeout(&self) -> Nanos {
        let phone = self.phone_heard_at.plus(PHONE_DEAD).min(self.phone_pinged_at.plus(PHONE_PING));
        let phone = phone.min(self.reorder.due()).min(self.pulse.next_due(self.media_timeout()));
        let playout = self.audio.as_ref().map_or(Nanos::NEVER, |audio| audio.downlink.next_due());
        match self.life {
            Life::Opening { since } => since.plus(START_TIMEOUT).min(phone),
            Life::Waiting { opened_at } => opened_at.plus(JOIN_TIMEOUT).min(phone),
            Life::Live { opened_at } => opened_at
                .plus(self.settings.max_duration)
                .min(self.agent_dead_at())
                .min(self.line_due())
                .min(self.errands_due())
                .min(self.journal_due())
                .min(playout)
                .min(phone),
            Life::Listening { opened_at } => opened_at.plus(self.settings.max_duration).min(phone),
            Life::Swapping { opened_at, .. } => opened_at
                .plus(self.settings.max_duration)
                .min(self.session.next_due())
                .min(self.agent_close_due())
                .min(self.errands_due())
                .min(self.journal_due())
                .min(playout)
                .min(phone),
            Life::Leaving { .. } => {
                self.played_by().min(playout).min(phone).min(self.agent_close_due())
            }
            Life::Over { since } if self.agent_life != LegLife::Gone => {
                since.plus(self.settings.timers.close)
            }
            Life::Over { since } => since.plus(PHONE_CLOSE_TIMEOUT),
        }
    }

    /// Moves audio on, both ways, at most [`FRAMES_PER_TURN`] frames each. Returns whether more
    /// could be moved at once.
    pub fn transcode(&mut self, now: Nanos, bench: &mut Workbench) -> bool {
        self.now = self.now.max(now);
        self.let_overdue_follow(bench);
        self.attend();
        let more_up = matches!(self.life, Life::Live { .. }) && self.send_uplink(bench);
        let live =
            matches!(self.life, Life::Live { .. } | Life::Swapping { .. } | Life::Leaving { .. });
        let more_down = live && self.send_downlink(bench);
        if self.phone.is_stalled() {
            self.end(Ending::PhoneStalled);
        }
        if let Life::Leaving { ending, .. } = self.life {
            self.end_if_played(ending);
        }
        self.tell_said(false);
        self.tell_journal();
        more_up || more_down
    }

    fn send_uplink(&mut self, bench: &mut Workbench) -> bool {
        if self.is_uplink_held() {
            self.hold.holds();
            return false;
        }
        if let (true, Some(Audio { uplink, .. })) = (self.hold.let_go(), &mut self.audio) {
            uplink.released(self.now);
        }
        let ducked = self.settings.duck && self.is_model_audible();
        for _ in 0..FRAMES_PER_TURN {
            let Some(Audio { format, uplink, .. }) = &mut self.audio else { return false };
            let Some(rate_hz) = uplink.target_hz() else { return false };
            let has_room = self.agent.has_room_for_audio(rate_hz, uplink.group_pcm_bytes());
            if uplink.groups_waiting() == 0 || !has_room {
                return false;
            }
            let since = uplink.take_group(ducked, bench, &mut self.tally.uplink);
            let (was_heard, phone_hz) = (uplink.was_heard(), format.rate_hz());
            self.agent.output.borrow_room(&mut bench.rooms);
            self.agent.send_audio(rate_hz, &bench.target_bytes, bench.source_pcm.len() as u64);
            self.agent_silent_since.get_or_insert(self.now);
            if let Some(since) = since {
                self.agent.output.stamp(Stamped::Frame, since);
            }
            if !was_heard {
                self.listen(phone_hz, &bench.source_pcm);
            }
        }
        self.audio.as_ref().is_some_and(|audio| audio.uplink.groups_waiting() > 0)
    }

    /// Sends what the caller said just before the goodbye that is being read, as far as the model's
    /// output has room: both may have come together.
    fn send_last_words(&mut self, bench: &mut Workbench) {
        while matches!(self.life, Life::Live { .. }) && self.send_uplink(bench) {}
    }

    /// Whether caller audio waits that the model's output has room for: a socket that took what
    /// waited tells nobody else.
    pub fn has_uplink_to_send(&self) -> bool {
        let Some(Audio { uplink, .. }) = &self.audio else { return false };
        !self.is_uplink_held()
            && uplink.groups_waiting() > 0
            && uplink.target_hz().is_some_and(|rate_hz| {
                self.agent.has_room_for_audio(rate_hz, uplink.group_pcm_bytes())
            })
    }

    fn send_downlink(&mut self, bench: &mut Workbench) -> bool {
        let Some(Audio { downlink, .. }) = &mut self.audio else { return false };
        let Some(frames) = downlink.take_frames(self.now, bench, &mut self.tally) else {
            return false;
        };
        self.phone.output.borrow_room(&mut bench.rooms);
        let messages = self.phone.send_audio(&bench.bytes, frames.samples);
        self.tally.downlink.messages_out += messages - 1;
        if let Some(tap) = &mut self.tap {
            tap.sent(downlink.playing_from(frames.count), &bench.bytes);
        }
        if let Some(since) = frames.since {
            self.phone.output.stamp(Stamped::Frame, since);
        }
        if let (false, Life::Live { opened_at }) = (self.spoken_to, self.life) {
            self.spoken_to = true;
            self.phone.output.stamp(Stamped::FirstAudio, opened_at);
            self.hold.greeting_began(self.now, self.settings.timers.greeting_heard);
        }
        let ms = (frames.count * PTIME_MS) as u64;
        let next_due = downlink.next_due();
        self.note_answer();
        if let Some(mark) = self.turns.audio_left(ms, frames.last) {
            self.phone.send_mark(mark);
        }
        next_due <= self.now
    }

    /// What waits for the phone's socket.
    pub fn phone_output(&mut self) -> &mut SendBuf {
        &mut self.phone.output
    }

    /// What waits for the model's socket.
    pub fn agent_output(&mut self) -> &mut SendBuf {
        &mut self.agent.output
    }

    /// What the call wants done outside itself, oldest first. Drain after every event.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Puts back what could not be done now, to be asked for again.
    pub fn put_back(&mut self, request: Request) {
        self.requests.push_front(request);
    }

    /// Whether the call wants anything done.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether the phone's socket is still needed once its output has gone.
    pub fn needs_phone(&self) -> bool {
        self.phone_end.stage() != Stage::Over
    }

    /// Whether nothing more follows what waits for the phone's socket, and nothing it sends can be
    /// read: our half of the connection is to be shut once that has left.
    pub fn has_failed_phone(&self) -> bool {
        self.phone_end.stage() == Stage::Failed
    }

    /// Whether the model's socket is still needed once its output has gone.
    pub fn needs_agent(&self) -> bool {
        self.agent_life != LegLife::Gone
    }

    /// Whether the time for goodbyes is up: what a socket still holds is lost with it.
    pub fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Whether the call is over; its sockets may still have something to send.
    pub fn is_over(&self) -> bool {
        matches!(self.life, Life::Over { .. })
    }

    fn report(&mut self, report: Report) {
        match self.requests.len() < REQUESTS_MAX {
            true => self.requests.push_back(Request::Report(report)),
            false => self.tally.unsaid += 1,
        }
    }

    /// Counts what one leg sent and was refused or passed over; ends what goes on too long.
    fn note_phone(&mut self, oddity: Oddity) {
        self.tally.note(oddity);
        self.phone_oddities += 1;
        if self.phone_oddities >= ODDITIES_MAX {
            self.end(Ending::PhoneBroke { code: CloseCode::POLICY.number() });
        }
    }

    fn note_agent(&mut self, oddity: Oddity) {
        self.tally.note(oddity);
        self.agent_oddities += 1;
        if self.agent_oddities >= ODDITIES_MAX && self.agent_life == LegLife::Open {
            self.close_agent(CloseCode::POLICY);
            let code = CloseCode::POLICY.number();
            self.recover(Cause::Broke, Ending::ModelBroke { code });
        }
    }
}
