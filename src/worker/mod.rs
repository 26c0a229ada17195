//! One media thread: the turn, the slots of its calls, their timers.
//!
//! In:       letters (new calls, lines, requests for figures), readiness, time.
//! Out:      letters (wishes of the calls), bytes on sockets, [`Figures`].
//! Bounds:   one read and at most one round of writes a leg and turn; [`LETTERS_PER_TURN`];
//!           [`EVENTS_PER_TURN`].
//! Not here: what becomes of a call's wishes (`wishes`); HTTP, DNS, certificates, log lines; what
//!           any message means: the worker moves bytes and time into calls.

#[cfg(test)]
mod burst;
mod connection;
mod slots;
mod survey;
mod tick;
pub mod timers;
mod wishes;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use dsp::kernels::Kernels;
use dsp::near::bring_near;
use mio::{Events, Poll, Token, Waker};

use connection::{Brought, Connection};
use slots::Slots;
use survey::Survey;
use tick::Tick;
use timers::{Entry, Timers};
use wishes::grant_one;

use crate::buf::{RecvBuf, SendBuf, Stamped};
use crate::call::{Call, Class, Facts, Legacy, LineFault, Settings, Tally, Workbench};
use crate::clock::{Clock, Nanos};
use crate::config::Agent;
use crate::limits::{LETTER_RETRY, LETTERS_PER_TURN, PHONE_SOCKET_BYTES};
use crate::mail::{
    AcceptLetter, CallKey, ControlLetter, DialLetter, JournalLetter, Line, Load, Mailbox, NewCall,
    Postbox, TapeLetter, ToolLetter, TranscriptLetter, WorkerLetter, mailbox,
};
use crate::metrics::{Figures, Stage, slo};
use crate::wire::ws::{CloseCode, MaskKeys, Role, write_close};

/// Events taken from the kernel in one turn; the rest come in the next.
const EVENTS_PER_TURN: usize = 1024;
/// A timer further away than this is far.
const FAR: Duration = Duration::from_secs(1);
/// The bell's token; a leg's is twice its slot, plus one for the model's.
const BELL: Token = Token(usize::MAX);

/// Whom a worker writes to.
#[derive(Debug)]
pub struct Neighbours {
    /// Lets calls in, and hears of their ends.
    pub accept: Postbox<AcceptLetter>,
    /// Brings another line to the model.
    pub dial: Postbox<DialLetter>,
    /// Runs what the models call.
    pub tools: Postbox<ToolLetter>,
    /// Says things in the log, and gathers figures.
    pub control: Postbox<ControlLetter>,
    /// Records calls, if that is wanted.
    pub tapes: Option<Postbox<TapeLetter>>,
    /// Writes transcripts, if that is wanted.
    pub transcripts: Option<Postbox<TranscriptLetter>>,
    /// Keeps the journal of conversations, if that is wanted.
    pub journal: Option<Postbox<JournalLetter>>,
    /// Calls on each worker.
    pub load: Arc<Load>,
}

/// Which socket of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    Phone,
    Agent,
}

/// One call and its sockets.
struct Slot {
    generation: u64,
    call: Call,
    phone: Option<Connection>,
    agent: Option<Connection>,
    /// How its model was set up, from its first line on.
    model: Option<(Arc<Agent>, Arc<Facts>)>,
    /// The timer that counts; entries for other moments are stale.
    armed: Nanos,
    /// The far timer that is in the wheel, stale or not; zero: none.
    far: Nanos,
    /// Whether it keeps what it is held to.
    watch: slo::Watch,
    /// Whether it was counted as started.
    started: bool,
    /// Whether the slot is on this turn's list.
    touched: bool,
}

/// One media thread.
pub struct Worker {
    number: usize,
    settings: Settings,
    clock: Clock,
    poll: Poll,
    events: Events,
    mailbox: Mailbox<WorkerLetter>,
    slots: Slots<Slot>,
    timers: Timers,
    tick: Tick,
    bench: Workbench,
    /// Reading room for connections that hold nothing unread.
    reading_room: RecvBuf,
    ciphertext: RecvBuf,
    /// Slots to see to in this turn, and those that need the next one at once.
    touched: Vec<usize>,
    again: Vec<usize>,
    expired: Vec<Entry>,
    /// What was meant for calls that had ended already: told in this turn.
    unclaimed: Vec<Legacy>,
    /// Since when the first of this turn's timers was due.
    due: Nanos,
    /// When the turn before ended: the time at which the wait for this one began.
    ended: Nanos,
    figures: Figures,
    /// The figures being gathered, if somebody asked for them.
    survey: Option<Survey>,
    /// What calls are held to.
    bounds: slo::Bounds,
    /// The accounts of calls whose slot is free again.
    past: [Tally; Class::ALL.len()],
    /// For goodbyes to models whose call has gone.
    masks: MaskKeys,
    stopping: bool,
}

impl Worker {
    /// A worker and the box its letters go to.
    ///
    /// # Errors
    /// When the kernel gives no poll instance.
    pub fn new(
        number: usize,
        settings: Settings,
        kernels: Kernels,
        clock: Clock,
    ) -> io::Result<(Worker, Postbox<WorkerLetter>)> {
        let poll = Poll::new()?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        let (postbox, mailbox) = mailbox(bell);
        let worker = Worker {
            number,
            settings,
            clock,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            mailbox,
            slots: Slots::new(),
            timers: Timers::new(),
            tick: Tick::default(),
            bench: Workbench::new(kernels),
            reading_room: RecvBuf::new(),
            ciphertext: RecvBuf::new(),
            touched: Vec::new(),
            again: Vec::new(),
            expired: Vec::new(),
            unclaimed: Vec::new(),
            due: Nanos::ZERO,
            ended: clock.now(),
            figures: Figures::default(),
            survey: None,
            bounds: slo::Bounds::default(),
            past: [Tally::default(); Class::ALL.len()],
            masks: MaskKeys::new(None),
            stopping: false,
        };
        Ok((worker, postbox))
    }

    /// With bounds that calls are held to; without, they are held to none.
    #[must_use]
    pub fn with_bounds(self, bounds: slo::Bounds) -> Worker {
        Worker { bounds, ..self }
    }

    /// With events that wait `tick` for each other where there are many; zero: never.
    #[must_use]
    pub fn with_tick(self, tick: Duration) -> Worker {
        Worker { tick: Tick::new(tick), ..self }
    }

    /// Runs until told to stop and the last call's goodbye has been said.
    ///
    /// # Panics
    /// If the kernel refuses to wait for events: nothing could be relayed any more.
    pub fn run(mut self, neighbours: &Neighbours) {
        while !(self.stopping && self.slots.len() == 0) {
            self.turn(neighbours).expect("the poll instance waits for events");
        }
        while let Some(letter) = self.mailbox.take() {
            if let WorkerLetter::Line { line, .. } = letter {
                self.dismiss(line.socket);
            }
        }
        let mut survey = Survey::begin(Box::default(), &self.past);
        while !survey.go_on(&mut self.slots) {}
        let figures = survey.finish(&mut self.figures);
        let _ = neighbours.control.post(ControlLetter::Stopped { worker: self.number, figures });
    }

    fn turn(&mut self, neighbours: &Neighbours) -> io::Result<()> {
        self.wait_for_events()?; // epoll, at most until the next timer
        let now = self.clock.now(); // the time every call sees in this turn
        let lateness = neighbours.load.lateness();
        lateness.begin(self.number, now);
        self.take_mail(now); // new calls, ready lines
        self.receive(now); // sockets -> TLS -> calls: frames, messages, rings
        self.expire(now); // timers -> calls
        self.transcode(now); // rings -> kernels -> messages, bounded work per call
        self.grant(neighbours); // wishes of the calls -> letters
        // calls -> TLS -> sockets; clock read again, for frame latency only
        if self.send() {
            self.grant(neighbours); // what that made its call wish
        }
        self.tidy(now, &neighbours.load); // timers set, slots of ended calls freed
        self.look_around(neighbours); // figures, a few slots a turn
        self.ended = self.clock.now();
        self.figures.histograms.record(Stage::Loop, self.ended.since(now));
        lateness.end(self.number, self.due, now, self.ended);
        Ok(())
    }

    fn wait_for_events(&mut self) -> io::Result<()> {
        let is_asked = self.survey.as_ref().is_some_and(|survey| survey.is_urgent);
        let at_once = !self.again.is_empty() || self.mailbox.len_letters() > 0 || is_asked;
        let timeout = if at_once {
            Some(Duration::ZERO)
        } else {
            let now = self.ended;
            match self.tick.rest(now) {
                Some(rest) => {
                    std::thread::sleep(rest);
                    Some(Duration::ZERO)
                }
                None => self.timers.next_due().map(|due| due.since(now)),
            }
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            outcome => outcome?,
        }
        self.tick.note(self.events.iter().count());
        std::mem::swap(&mut self.touched, &mut self.again);
        for event in &self.events {
            if event.token() == BELL {
                continue;
            }
            let (number, leg) = slot_of(event.token());
            let Some(slot) = self.slots.at(number) else { continue };
            let Some(connection) = slot.connection(leg) else { continue };
            connection.note(event);
            touch(slot, number, &mut self.touched);
        }
        Ok(())
    }

    fn take_mail(&mut self, now: Nanos) {
        for _ in 0..LETTERS_PER_TURN {
            let Some(letter) = self.mailbox.take() else { return };
            match letter {
                WorkerLetter::Call(call) => self.add_call(now, *call),
                WorkerLetter::Line { call, line } => self.add_line(now, call, *line),
                WorkerLetter::NoLine { call, fault } => {
                    self.tell(now, call, |call| call.handle_no_line(now, fault));
                }
                WorkerLetter::Refused { call, refusal } => {
                    self.tell(now, call, |call| call.handle_refusal(now, refusal));
                }
                WorkerLetter::LetIn { call } => {
                    self.tell(now, call, |call| call.handle_let_in(now));
                }
                WorkerLetter::OriginalOver { call } => {
                    self.tell(now, call, |call| call.handle_original_over(now));
                }
                WorkerLetter::Replaced { call } => {
                    self.tell(now, call, |call| call.handle_replaced(now));
                }
                WorkerLetter::ReturnToken { call, token } => {
                    self.tell(now, call, |call| call.handle_return_token(token));
                }
                WorkerLetter::Journal { call, name } => {
                    self.tell(now, call, |call| call.handle_journal(name));
                }
                WorkerLetter::GoOn { call, legacy, facts } => {
                    self.go_on(now, call, legacy, facts);
                }
                WorkerLetter::ToolReply { call, ticket, reply } => {
                    self.tell(now, call, |call| call.handle_tool_reply(now, ticket, *reply));
                }
                WorkerLetter::Settings(settings) => self.settings = *settings,
                WorkerLetter::Figures(figures) => {
                    self.survey = Some(Survey::begin(figures, &self.past));
                }
                WorkerLetter::Stop => self.stop(now),
            }
        }
    }

    fn add_call(&mut self, now: Nanos, new: NewCall) {
        let NewCall { id, mut socket, unread, door } = new;
        // Where the kernel refuses, a `clear` is later than it could be.
        let _ = socket.bound_send_buffer(PHONE_SOCKET_BYTES);
        let (registry, settings) = (self.poll.registry(), self.settings.clone());
        let mut registered = Ok(());
        let number = self.slots.insert(|number, generation| {
            registered = socket.register(registry, token_of(number, Leg::Phone));
            Slot {
                generation,
                call: Call::new(now, id, door, settings, None),
                phone: Some(Connection::new(socket, unread)),
                agent: None,
                model: None,
                armed: Nanos::NEVER,
                far: Nanos::ZERO,
                watch: slo::Watch::default(),
                started: false,
                touched: false,
            }
        });
        let slot = self.slots.at(number).expect("just put in");
        if registered.is_err() {
            // Nothing would ever tell of this socket.
            slot.phone = None;
            guard(&mut slot.call, now, |call| call.handle_phone_gone(now));
        } else if self.stopping {
            guard(&mut slot.call, now, |call| call.handle_stop(now));
        }
        touch(slot, number, &mut self.touched);
    }

    fn add_line(&mut self, now: Nanos, key: CallKey, line: Line) {
        let Line { mut socket, unread, terms, agent, facts } = line;
        let Some(slot) = self.slots.of(key.slot, key.generation).filter(|s| s.call.awaits_line())
        else {
            return self.dismiss(socket);
        };
        if socket.register(self.poll.registry(), token_of(key.slot, Leg::Agent)).is_err() {
            guard(&mut slot.call, now, |call| call.handle_no_line(now, LineFault::Broke));
        } else {
            // Of an old connection whatever could be sent has been, or is now: it is dropped here.
            guard(&mut slot.call, now, |call| call.dismiss_agent(now));
            if let Some(old) = &mut slot.agent {
                let _ = old.send(slot.call.agent_output(), |_| {});
            }
            slot.agent = Some(Connection::new(socket, unread));
            slot.model = Some((agent, facts));
            guard(&mut slot.call, now, |call| call.handle_line(now, &terms));
        }
        touch(slot, key.slot, &mut self.touched);
    }

    /// A call goes on with a conversation: its model is set up as that one's was.
    fn go_on(&mut self, now: Nanos, key: CallKey, legacy: Box<Legacy>, facts: Arc<Facts>) {
        let slot = self.slots.of(key.slot, key.generation);
        let Some(slot) = slot.filter(|slot| slot.call.awaits_line()) else {
            return self.unclaimed.push(*legacy);
        };
        slot.model = Some((legacy.agent().clone(), facts));
        guard(&mut slot.call, now, |call| call.handle_legacy(now, *legacy));
        touch(slot, key.slot, &mut self.touched);
    }

    /// Says goodbye to a model whose call has gone, so that the service frees the session.
    fn dismiss(&mut self, mut socket: crate::net::Stream) {
        let mut goodbye = SendBuf::new();
        let mask = self.masks.fresh();
        write_close(Role::Client, CloseCode::NORMAL, "", mask, goodbye.tail());
        // One attempt: a socket that just spoke takes these few bytes, and a dead one needs none.
        let _ = socket.send(&mut goodbye);
    }

    fn tell(&mut self, now: Nanos, key: CallKey, event: impl FnOnce(&mut Call)) {
        let Some(slot) = self.slots.of(key.slot, key.generation) else { return };
        guard(&mut slot.call, now, event);
        touch(slot, key.slot, &mut self.touched);
    }

    fn stop(&mut self, now: Nanos) {
        self.stopping = true;
        for number in self.slots.numbers() {
            if let Some(slot) = self.slots.at(number) {
                guard(&mut slot.call, now, |call| call.handle_stop(now));
                touch(slot, number, &mut self.touched);
            }
        }
    }

    fn receive(&mut self, now: Nanos) {
        for at in 0..self.touched.len() {
            let number = self.touched[at];
            let Some(slot) = self.slots.at(number) else { continue };
            slot.bring_near();
            let rooms = (&mut self.ciphertext, &mut self.reading_room, &mut self.bench);
            let more_phone = receive_leg(slot, Leg::Phone, now, rooms);
            let rooms = (&mut self.ciphertext, &mut self.reading_room, &mut self.bench);
            let more_agent = receive_leg(slot, Leg::Agent, now, rooms);
            if more_phone || more_agent {
                self.again.push(number);
            }
        }
    }

    fn expire(&mut self, now: Nanos) {
        self.timers.expire(now, &mut self.expired);
        self.due = now;
        for entry in self.expired.drain(..) {
            let Some(slot) = self.slots.of(entry.slot, entry.generation) else { continue };
            if slot.far == entry.due {
                slot.far = Nanos::ZERO;
            }
            if slot.armed != entry.due {
                continue;
            }
            slot.armed = Nanos::NEVER;
            self.due = self.due.min(entry.due);
            guard(&mut slot.call, now, |call| call.handle_timeout(now));
            touch(slot, entry.slot, &mut self.touched);
        }
    }

    fn transcode(&mut self, now: Nanos) {
        for &number in &self.touched {
            let Some(slot) = self.slots.at(number) else { continue };
            let mut more = false;
            guard(&mut slot.call, now, |call| more = call.transcode(now, &mut self.bench));
            if more {
                self.again.push(number);
            }
        }
    }

    /// Turns wishes into letters. One that finds a full box is tried again a little later, unless
    /// it was only to be said.
    fn grant(&mut self, neighbours: &Neighbours) {
        for legacy in self.unclaimed.drain(..) {
            // A letter lost: its caller begins anew.
            let lost = neighbours.accept.post(AcceptLetter::Unclaimed(Box::new(legacy))).is_err();
            self.figures.letters_lost += u64::from(lost);
        }
        for &number in &self.touched {
            let Some(slot) = self.slots.at(number) else { continue };
            while let Some(request) = slot.call.poll_request() {
                let key =
                    CallKey { worker: self.number, slot: number, generation: slot.generation };
                let ledger = (&mut self.figures, &self.bounds);
                match grant_one(slot, key, request, neighbours, ledger) {
                    Ok(()) => {}
                    Err(None) => self.figures.letters_lost += 1,
                    Err(Some(request)) => {
                        slot.call.put_back(*request);
                        break;
                    }
                }
            }
            if let Some(missed) = slot.watch.take_untold() {
                let (id, class) = (slot.call.id(), class_of(&slot.call));
                // Counted in any case; the line may come with the next one.
                let _ = neighbours.control.post(ControlLetter::Missed { id, class, missed });
            }
        }
    }

    /// Returns whether a socket broke.
    fn send(&mut self) -> bool {
        let mut broke = false;
        for &number in &self.touched {
            let Some(slot) = self.slots.at(number) else { continue };
            let class = class_of(&slot.call) as usize;
            let Slot { call, phone, agent, watch, .. } = slot;
            let rooms = &mut self.bench.rooms;
            let (clock, bounds) = (&self.clock, &self.bounds);
            let histograms = &mut self.figures.histograms;
            let missed = &mut self.figures.slo_missed[class];
            let mut hold = |stage: slo::Stage, now: Nanos, latency: Duration| {
                let is_missed = watch.note(bounds, stage, now, latency).is_some();
                missed[stage as usize] += u64::from(is_missed);
            };
            if let Some(connection) = phone {
                let sent = connection.send(call.phone_output(), |output| {
                    let now = clock.now();
                    output.settle(|what, since| {
                        let stage = match what {
                            Stamped::Frame => Stage::Downlink,
                            Stamped::BargeIn => Stage::BargeIn,
                            Stamped::FirstAudio => Stage::FirstAudio,
                        };
                        histograms.record(stage, now.since(since));
                        if what == Stamped::Frame {
                            hold(slo::Stage::Downlink, now, now.since(since));
                        }
                    });
                    output.return_room(rooms);
                });
                if sent.is_err() {
                    (*phone, broke) = (None, true);
                    let now = clock.now();
                    guard(call, now, |call| call.handle_phone_gone(now));
                    self.again.push(number);
                }
            }
            if let Some(connection) = agent {
                let sent = connection.send(call.agent_output(), |output| {
                    let now = clock.now();
                    output.settle(|_, since| {
                        histograms.record(Stage::Uplink, now.since(since));
                        hold(slo::Stage::Uplink, now, now.since(since));
                    });
                    output.return_room(rooms);
                });
                if sent.is_err() {
                    (*agent, broke) = (None, true);
                    let now = clock.now();
                    guard(call, now, |call| call.handle_agent_gone(now));
                    self.again.push(number);
                } else if call.has_uplink_to_send() {
                    // The socket took what stood in the way of audio that waits.
                    self.again.push(number);
                }
            }
        }
        broke
    }

    /// Sets the timers of the calls seen to, and frees the slots of those that are over.
    fn tidy(&mut self, now: Nanos, load: &Load) {
        while let Some(number) = self.touched.pop() {
            let Some(slot) = self.slots.at(number) else { continue };
            slot.touched = false;
            slot.drop_finished_legs();
            let undone = slot.call.has_requests();
            if slot.call.is_over() && slot.phone.is_none() && slot.agent.is_none() && !undone {
                let slot = self.slots.remove(number).expect("looked at above");
                self.past[class_of(&slot.call) as usize].add(&slot.call.tally());
                self.figures.note_high_water(slot.call.high_water_ms());
                if let Some(survey) = &mut self.survey {
                    survey.note_removed(number, &slot);
                }
                load.freed(self.number);
                continue;
            }
            let retry = if undone { now.plus(LETTER_RETRY) } else { Nanos::NEVER };
            if let Some(entry) = slot.arm(number, now, slot.call.next_timeout().min(retry)) {
                self.timers.arm(entry);
            }
        }
        for number in &self.again {
            if let Some(slot) = self.slots.at(*number) {
                slot.touched = true;
            }
        }
        self.again.sort_unstable();
        self.again.dedup();
    }

    /// Goes on with the figures somebody asked for, and sends them once they are whole. Between
    /// two calls' work every account balances.
    fn look_around(&mut self, neighbours: &Neighbours) {
        let Some(mut survey) = self.survey.take() else { return };
        if !survey.go_on(&mut self.slots) {
            self.survey = Some(survey);
            return;
        }
        let figures = survey.finish(&mut self.figures);
        let letter = ControlLetter::Figures { worker: self.number, figures };
        if let Err(ControlLetter::Figures { figures, .. }) = neighbours.control.post(letter) {
            self.figures.letters_lost += 1;
            self.survey = Some(Survey::begin_again(figures, &mut self.figures, &self.past));
        }
    }
}

impl Slot {
    fn connection(&mut self, leg: Leg) -> Option<&mut Connection> {
        match leg {
            Leg::Phone => self.phone.as_mut(),
            Leg::Agent => self.agent.as_mut(),
        }
    }

    /// Has the CPU fetch the call, which nobody has looked at for some milliseconds, while the
    /// kernel is asked what has come for it.
    fn bring_near(&self) {
        bring_near(self);
        if let Some(agent) = &self.agent {
            agent.bring_near();
        }
    }

    /// Counts the call as started, once.
    fn count_start(&mut self, figures: &mut Figures) {
        if !self.started && !self.call.is_fork() {
            self.started = true;
            figures.started[class_of(&self.call) as usize] += 1;
            if let Some(carrier) = self.call.carrier() {
                figures.carriers[carrier as usize].started += 1;
            }
        }
    }

    /// Sets the timer to `due`, if that is before the one that counts: the entry to put into the
    /// wheel, unless one there serves. A far timer that comes too early only asks again, so one of
    /// them is enough, however often near ones come and go.
    fn arm(&mut self, number: usize, now: Nanos, due: Nanos) -> Option<Entry> {
        if due >= self.armed {
            return None;
        }
        self.armed = due;
        if due > now.plus(FAR) {
            if self.far > now && self.far <= due {
                self.armed = self.far;
                return None;
            }
            self.far = due;
        }
        Some(Entry { slot: number, generation: self.generation, due })
    }

    /// Lets go of sockets that are needed no more and have sent what they had.
    fn drop_finished_legs(&mut self) {
        let Slot { call, phone, agent, .. } = self;
        if call.has_failed_phone()
            && call.phone_output().is_empty()
            && let Some(phone) = phone.as_mut().filter(|phone| phone.has_sent_all())
        {
            phone.finish();
        }
        if !call.needs_phone() && call.phone_output().is_empty() {
            let is_done = |phone: &mut Connection| phone.has_sent_all() || call.has_given_up();
            phone.take_if(is_done).into_iter().for_each(Connection::close);
        }
        if !call.needs_agent() && call.agent_output().is_empty() {
            let is_done =
                |agent: &mut Connection| agent.has_sent_all() || call.has_given_up_agent();
            agent.take_if(is_done).into_iter().for_each(Connection::close);
        }
    }
}

/// Reads one leg once and shows the call what came. Returns whether more may come at once.
fn receive_leg(
    slot: &mut Slot,
    leg: Leg,
    now: Nanos,
    (ciphertext, reading_room, bench): (&mut RecvBuf, &mut RecvBuf, &mut Workbench),
) -> bool {
    let Slot { call, phone, agent, .. } = slot;
    let socket = match leg {
        Leg::Phone => phone,
        Leg::Agent => agent,
    };
    let Some(connection) = socket.as_mut().filter(|connection| connection.is_readable()) else {
        return false;
    };
    let brought = connection.receive(ciphertext, reading_room, |bytes| {
        let all = bytes.len();
        let mut used = all;
        guard(call, now, |call| {
            used = match leg {
                Leg::Phone => call.handle_phone_bytes(now, bytes, bench),
                Leg::Agent => call.handle_agent_bytes(now, bytes, bench),
            }
        });
        used
    });
    if brought == Brought::End {
        // A peer that has finished sending may still read: what its last bytes were answered with
        // leaves in one attempt.
        if let Some(mut connection) = socket.take() {
            let output = match leg {
                Leg::Phone => call.phone_output(),
                Leg::Agent => call.agent_output(),
            };
            let _ = connection.send(output, |_| {});
            connection.close();
        }
        guard(call, now, |call| match leg {
            Leg::Phone => call.handle_phone_gone(now),
            Leg::Agent => call.handle_agent_gone(now),
        });
    }
    brought == Brought::More
}

/// Runs one event of a call. An assertion that fails in it ends that call; the worker goes on.
fn guard(call: &mut Call, now: Nanos, event: impl FnOnce(&mut Call)) {
    if catch_unwind(AssertUnwindSafe(|| event(call))).is_err() {
        // A call too broken even for that is left to its timers.
        let _ = catch_unwind(AssertUnwindSafe(|| call.handle_failure(now)));
    }
}

/// Puts the slot on this turn's list, once.
fn touch(slot: &mut Slot, number: usize, touched: &mut Vec<usize>) {
    if !slot.touched {
        slot.touched = true;
        touched.push(number);
    }
}

/// A call's class; until it is known, the strangers' own.
fn class_of(call: &Call) -> Class {
    call.class().unwrap_or(Class::Web)
}

fn token_of(slot: usize, leg: Leg) -> Token {
    Token(slot * 2 + usize::from(leg == Leg::Agent))
}

fn slot_of(token: Token) -> (usize, Leg) {
    (token.0 / 2, if token.0 % 2 == 1 { Leg::Agent } else { Leg::Phone })
}
