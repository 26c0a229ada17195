//! The outbound thread: from an address to a model that is ready to talk.
//!
//! In:       [`DialLetter`]s: a call wants a model, or will soon.
//! Out:      a [`Line`] in the worker's mailbox, or why there is none.
//! Bounds:   [`DIALS_AT_ONCE`], [`ORDERS_WAITING_MAX`], [`DIAL_ATTEMPTS`], [`SPARES_MAX`], the times of
//!           [`Patience`], [`LETTERS_PER_TURN`].
//! Not here: what the model says once it is ready; when a session is taken up again (`call`).
//!
//! | file | what it holds |
//! |---|---|
//! | `attempt` | upgrade, `setup`, `setupComplete`: bytes in, bytes out |
//! | `connection` | an attempt with its socket |
//! | `resolve` | addresses, and the thread that looks them up |
//! | `closes` | what a close before `setupComplete` means |

mod attempt;
mod closes;
mod connection;
mod resolve;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::buf::SendBuf;
use crate::call::{CallId, Class, LineFault, LineTerms, Revival};
use crate::clock::{Clock, Nanos};
use crate::config::{Agent, Config};
use crate::limits::{
    DIAL_ATTEMPTS, DIAL_BACKOFF, DIAL_SETUP_TIMEOUT, DIAL_TCP_TIMEOUT, DIAL_UPGRADE_TIMEOUT,
    DIALS_AT_ONCE, LETTERS_PER_TURN, SPARES_MAX,
};
use crate::mail::{CallKey, DialLetter, Line, Mailbox, Postbox, WorkerLetter, mailbox};
use crate::metrics::Shared;
use crate::net::{TlsConfig, TlsConfigError};
use crate::wire::gemini::{greeting_json, request_target};
use crate::wire::ws::{self, CloseCode, Role};
use attempt::{Address, Failure, Step, seed_of, setup_of};
use closes::Remedy;
use connection::{Connection, Shore};
use resolve::{Addresses, Lookup};

/// Orders waiting for one of the [`DIALS_AT_ONCE`] places. A further one is told
/// [`LineFault::Full`].
pub const ORDERS_WAITING_MAX: usize = 4096;
/// Attempts that may end without `setupComplete` in time, of one order: the same setup is likely
/// to meet the same silence.
const SILENT_ATTEMPTS_MAX: u32 = 2;
/// Part of a backoff by which it is made longer or shorter, so that calls that failed together do
/// not come back together.
const BACKOFF_JITTER: f64 = 0.2;
/// Asks a model for the answer it owes.
const NUDGE: &str = "(The caller is waiting for you to say something.)";
/// The bell's token; places in the table have the smaller ones.
const BELL: Token = Token(usize::MAX);

/// How long each stage of an attempt may last.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Looking up the name, where no address is known at all.
    pub resolve: Duration,
    /// TCP.
    pub tcp: Duration,
    /// TLS and the upgrade.
    pub upgrade: Duration,
    /// From `setup` to `setupComplete`.
    pub setup: Duration,
    /// Before the second attempt; doubled before each further one.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            resolve: DIAL_TCP_TIMEOUT,
            tcp: DIAL_TCP_TIMEOUT,
            upgrade: DIAL_UPGRADE_TIMEOUT,
            setup: DIAL_SETUP_TIMEOUT,
            backoff: DIAL_BACKOFF,
        }
    }
}

/// Why the thread cannot be started.
#[derive(Debug)]
pub enum DialError {
    /// The TLS settings are no use.
    Tls(TlsConfigError),
    /// The system has no poll instance, or no thread, to give.
    System(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Tls(why) => why.fmt(f),
            DialError::System(why) => write!(f, "the outbound thread cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for DialError {}

impl From<TlsConfigError> for DialError {
    fn from(why: TlsConfigError) -> DialError {
        DialError::Tls(why)
    }
}

impl From<io::Error> for DialError {
    fn from(why: io::Error) -> DialError {
        DialError::System(why)
    }
}

/// The outbound thread, before and while it runs.
#[derive(Debug)]
pub struct Dial {
    poll: Poll,
    mailbox: Mailbox<DialLetter>,
    clock: Clock,
    shared: Arc<Shared>,
    config: Arc<Config>,
    address: Address,
    /// `None`: the model is dialled in clear.
    tls: Option<TlsConfig>,
    patience: Patience,
    addresses: Addresses,
    /// Orders being worked on; the index is the token of the order's socket.
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    /// Orders for which there is no place yet, oldest first.
    waiting: VecDeque<Order>,
    /// By the worker's number; empty until the thread runs.
    workers: Vec<Postbox<WorkerLetter>>,
    rng: fastrand::Rng,
}

/// A call that wants a model.
#[derive(Debug)]
struct Order {
    call: CallKey,
    id: CallId,
    class: Class,
    agent: Arc<Agent>,
    purpose: Purpose,
    ordered_at: Nanos,
    /// Attempts begun.
    attempts: u32,
    /// Of these, how many ended without `setupComplete` in time.
    silent: u32,
    /// Whether the session is asked to be one that can be resumed.
    resumable: bool,
    /// Whether the present attempt is on a connection made ahead, which may have died unnoticed.
    from_spare: bool,
}

/// What a line is for.
#[derive(Debug)]
enum Purpose {
    /// A call's first.
    First,
    /// The session that is to go on. Only the call knows how long it can do without a line: it
    /// tries again itself.
    Revival(Revival),
    /// Not yet known: it is made ahead, and nobody is told what becomes of it.
    Spare,
}

impl Purpose {
    fn revival(&self) -> Option<&Revival> {
        match self {
            Purpose::Revival(revival) => Some(revival),
            Purpose::First | Purpose::Spare => None,
        }
    }
}

impl Order {
    fn new(
        call: CallKey,
        id: CallId,
        class: Class,
        agent: Arc<Agent>,
        purpose: Purpose,
        ordered_at: Nanos,
    ) -> Order {
        let (attempts, silent, resumable, from_spare) = (0, 0, true, false);
        Order {
            call,
            id,
            class,
            agent,
            purpose,
            ordered_at,
            attempts,
            silent,
            resumable,
            from_spare,
        }
    }

    fn setup(&self) -> String {
        setup_of(&self.agent, self.resumable, self.purpose.revival())
    }
}

#[derive(Debug)]
struct Place {
    order: Order,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// For the first look-up.
    AwaitingAddresses { until: Nanos },
    /// An attempt is under way.
    Dialling(Box<Connection>),
    /// The next attempt begins then.
    Pausing { until: Nanos },
}

impl Stage {
    /// When time alone changes it.
    fn due(&self) -> Nanos {
        match self {
            Stage::AwaitingAddresses { until } | Stage::Pausing { until } => *until,
            Stage::Dialling(connection) => connection.deadline,
        }
    }
}

impl Dial {
    /// Sets up what the thread needs, and returns where to post its letters.
    ///
    /// # Errors
    /// When the TLS settings are no use, or the system has no poll instance or thread to give.
    pub fn new(
        config: Arc<Config>,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Result<(Dial, Postbox<DialLetter>), DialError> {
        Dial::with_patience(config, clock, shared, Patience::default())
    }

    /// The same, with other times.
    ///
    /// # Errors
    /// As [`Dial::new`].
    pub fn with_patience(
        config: Arc<Config>,
        clock: Clock,
        shared: Arc<Shared>,
        patience: Patience,
    ) -> Result<(Dial, Postbox<DialLetter>), DialError> {
        let poll = Poll::new()?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        let url = &config.gemini.url;
        let tls = match url.tls {
            true => Some(TlsConfig::new(config.gemini.ca_file.as_deref())?),
            false => None,
        };
        let address = Address {
            authority: url.authority(),
            target: request_target(&config.gemini.api_version),
            api_key: config.gemini.api_key.clone(),
        };
        let addresses = Addresses::new(&url.host, url.port, &bell)?;
        let (postbox, mailbox) = mailbox(bell);
        let dial = Dial {
            poll,
            mailbox,
            clock,
            shared,
            config,
            address,
            tls,
            patience,
            addresses,
            places: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            workers: Vec::new(),
            rng: fastrand::Rng::new(),
        };
        Ok((dial, postbox))
    }

    /// Works until it is told to stop. `workers`: their mailboxes, by the worker's number.
    ///
    /// If the poll instance fails, which it does only for want of memory, the thread says so and
    /// ends: calls then get no model.
    pub fn run(mut self, workers: Vec<Postbox<WorkerLetter>>) {
        self.workers = workers;
        let mut events = Events::with_capacity(DIALS_AT_ONCE);
        // The first call shall not wait for a name server.
        self.addresses.refresh(self.clock.now());
        loop {
            match self.turn(&mut events) {
                Ok(true) => {}
                Ok(false) => return self.stop(),
                Err(error) => {
                    log::error!("the outbound thread ends: {error}");
                    return self.stop();
                }
            }
        }
    }

    /// One turn of the loop. Returns whether there is to be another.
    fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        let rest = self.next_due().map(|due| due.since(self.clock.now()));
        let rest = if self.mailbox.len_letters() > 0 { Some(Duration::ZERO) } else { rest };
        match self.poll.poll(events, rest) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            polled => polled?,
        }
        let now = self.clock.now();
        if !self.take_letters(now) {
            return Ok(false);
        }
        if let Some(lookup) = self.addresses.take_answer(now) {
            self.looked_up(lookup, now);
        }
        for event in events.iter().filter(|event| event.token() != BELL) {
            self.ready(event.token().0, now);
        }
        self.expire(now);
        self.fill_places(now);
        let under_way = self.places.len() - self.free.len();
        self.shared.dials_waiting.store(self.waiting.len(), Ordering::Relaxed);
        self.shared.dials_under_way.store(under_way, Ordering::Relaxed);
        Ok(true)
    }

    fn next_due(&self) -> Option<Nanos> {
        self.places.iter().flatten().map(|place| place.stage.due()).min()
    }

    /// Takes the letters of one turn. Returns `false` if one says stop.
    fn take_letters(&mut self, now: Nanos) -> bool {
        for _ in 0..LETTERS_PER_TURN {
            match self.mailbox.take() {
                None => break,
                Some(DialLetter::Stop) => return false,
                Some(DialLetter::Cancel { call }) => self.cancel(call),
                Some(DialLetter::Spare { call, id, class, agent }) => {
                    let order = Order::new(call, id, class, agent, Purpose::Spare, now);
                    self.begin_spare(order);
                }
                Some(DialLetter::Dial { call, id, class, agent, revival }) => {
                    let purpose = revival.map_or(Purpose::First, Purpose::Revival);
                    let order = Order::new(call, id, class, agent, purpose, now);
                    let Some(order) = self.use_spare(order, now) else { continue };
                    if self.waiting.len() == ORDERS_WAITING_MAX {
                        self.refuse(order, &LineFault::Full.into(), now);
                    } else {
                        self.waiting.push_back(order);
                    }
                }
            }
        }
        true
    }

    /// Leaves off what is being done for a call that has ended.
    fn cancel(&mut self, call: CallKey) {
        if let Some(at) = self.waiting.iter().position(|order| order.call == call) {
            self.waiting.remove(at);
            return self.shared.dials.count("cancelled");
        }
        for index in 0..self.places.len() {
            let is_its = |place: &mut Place| place.order.call == call;
            let Some(place) = self.places[index].take_if(is_its) else { continue };
            if let Stage::Dialling(connection) = place.stage {
                connection.give_up();
            }
            self.free.push(index);
            self.shared.dials.count("cancelled");
        }
    }

    /// Gives places to waiting orders, while there are both.
    fn fill_places(&mut self, now: Nanos) {
        while self.places.len() - self.free.len() < DIALS_AT_ONCE {
            let Some(order) = self.waiting.pop_front() else { return };
            let index = self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            });
            self.begin(index, order, now);
        }
    }

    /// Begins an attempt, or waits for addresses to make one with.
    fn begin(&mut self, index: usize, mut order: Order, now: Nanos) {
        if !self.addresses.refresh(now) {
            let until = now.plus(self.patience.resolve);
            self.places[index] = Some(Place { order, stage: Stage::AwaitingAddresses { until } });
            return;
        }
        order.attempts += 1;
        let setup = (!matches!(order.purpose, Purpose::Spare)).then(|| order.setup());
        let rng = self.rng.fork();
        let (shore, addresses) = self.shore();
        match Connection::begin(&shore, addresses, Token(index), setup, rng, now) {
            Ok(connection) => {
                let stage = Stage::Dialling(Box::new(connection));
                self.places[index] = Some(Place { order, stage });
            }
            Err(failure) => self.failed(index, order, &failure, now),
        }
    }

    /// Makes a connection ahead, if there is room for one more.
    fn begin_spare(&mut self, order: Order) {
        let is_spare = |place: &&Place| matches!(place.order.purpose, Purpose::Spare);
        let spares = self.places.iter().flatten().filter(is_spare).count();
        if spares >= SPARES_MAX || !self.waiting.is_empty() {
            return self.shared.dials.count("no_spare");
        }
        self.waiting.push_back(order);
    }

    /// Goes on with the connection made ahead for the call of `order`, if there is one; else
    /// gives the order back.
    fn use_spare(&mut self, order: Order, now: Nanos) -> Option<Order> {
        let is_its = |waiting: &Order| {
            waiting.call == order.call && matches!(waiting.purpose, Purpose::Spare)
        };
        self.waiting.retain(|waiting| !is_its(waiting));
        let its = |place: &Option<Place>| place.as_ref().is_some_and(|it| is_its(&it.order));
        let Some(index) = self.places.iter().position(its) else { return Some(order) };
        let place = self.places[index].take()?;
        let Stage::Dialling(mut connection) = place.stage else {
            self.free.push(index);
            return Some(order);
        };
        let order = Order { attempts: 1, from_spare: true, ..order };
        let (shore, _) = self.shore();
        let step = connection.set_up(&shore, order.setup(), now);
        self.go_on(index, order, connection, step, now);
        None
    }

    /// What an attempt came to so far.
    fn go_on(
        &mut self,
        index: usize,
        order: Order,
        connection: Box<Connection>,
        step: Step,
        now: Nanos,
    ) {
        match step {
            Step::Ready => self.succeeded(index, order, *connection, now),
            Step::Failed(failure) => self.failed(index, order, &failure, now),
            Step::Waiting => {
                let stage = Stage::Dialling(connection);
                self.places[index] = Some(Place { order, stage });
            }
        }
    }

    fn shore(&mut self) -> (Shore<'_>, &mut Addresses) {
        let host = self.config.gemini.url.host.as_str();
        let shore = Shore {
            registry: self.poll.registry(),
            address: &self.address,
            tls: self.tls.as_ref().map(|tls| (tls, host)),
            patience: self.patience,
        };
        (shore, &mut self.addresses)
    }

    fn looked_up(&mut self, lookup: Lookup, now: Nanos) {
        for index in 0..self.places.len() {
            let awaits = |place: &mut Place| matches!(place.stage, Stage::AwaitingAddresses { .. });
            let Some(place) = self.places[index].take_if(awaits) else { continue };
            match lookup {
                Lookup::Found => self.begin(index, place.order, now),
                Lookup::Failed => self.no_address(index, place.order, now),
            }
        }
    }

    fn no_address(&mut self, index: usize, mut order: Order, now: Nanos) {
        order.attempts += 1;
        self.failed(index, order, &LineFault::Resolve.into(), now);
    }

    /// A socket is ready. A place that is used again may be told of its former socket: nothing
    /// comes of it.
    fn ready(&mut self, index: usize, now: Nanos) {
        let Some(place) = self.places.get_mut(index).and_then(Option::take) else { return };
        let Stage::Dialling(mut connection) = place.stage else {
            self.places[index] = Some(place);
            return;
        };
        let (shore, addresses) = self.shore();
        let step = connection.handle_ready(&shore, addresses, now);
        self.go_on(index, place.order, connection, step, now);
    }

    fn expire(&mut self, now: Nanos) {
        for index in 0..self.places.len() {
            let is_due = |place: &mut Place| place.stage.due() <= now;
            let Some(Place { mut order, stage }) = self.places[index].take_if(is_due) else {
                continue;
            };
            match stage {
                Stage::Pausing { .. } => self.begin(index, order, now),
                Stage::AwaitingAddresses { .. } => self.no_address(index, order, now),
                Stage::Dialling(connection) => {
                    order.silent += u32::from(connection.is_upgraded());
                    let failure = connection.timed_out(&mut self.addresses);
                    connection.give_up();
                    self.failed(index, order, &failure, now);
                }
            }
        }
    }

    /// The model is ready: its line goes to the call.
    fn succeeded(&mut self, index: usize, order: Order, connection: Connection, now: Nanos) {
        let (socket, unread) = match connection.hand_over(self.poll.registry()) {
            Ok(handed_over) => handed_over,
            Err(_) => return self.failed(index, order, &LineFault::Broke.into(), now),
        };
        self.free.push(index);
        self.shared.dials.count("ready");
        let dialled_in = now.since(order.ordered_at);
        let (id, attempts) = (order.id, order.attempts);
        log::info!(
            target: order.class.label(),
            "call={id} event=line ready_ms={} attempts={attempts}",
            dialled_in.as_millis()
        );
        let greeting = order.agent.greeting.as_deref();
        let terms = LineTerms {
            uplink_rate_hz: self.config.gemini.uplink_rate,
            uplink_ms: self.config.gemini.uplink_ms,
            greeting: greeting.map(|text| greeting_json(&order.agent.model, text)),
            seed: seed_of(&order.agent.model, order.purpose.revival()),
            nudge: greeting_json(&order.agent.model, NUDGE),
            agent: Some(order.agent.clone()),
        };
        let line = Box::new(Line { socket, unread, terms, agent: order.agent });
        self.post(WorkerLetter::Line { call: order.call, line }, order.call);
    }

    /// An attempt failed: makes another where that may help, or tells the call.
    fn failed(&mut self, index: usize, mut order: Order, failure: &Failure, now: Nanos) {
        if let Purpose::Spare = order.purpose {
            // Whoever made it ahead will dial when the time comes.
            self.free.push(index);
            return self.shared.dials.count("spare_lost");
        }
        self.count(failure);
        if std::mem::take(&mut order.from_spare)
            && failure.fault == (LineFault::Closed { code: None })
        {
            order.attempts = 0;
            let stage = Stage::Pausing { until: now };
            self.places[index] = Some(Place { order, stage });
            return;
        }
        match next_attempt(&order, failure) {
            Some(remedy) => {
                order.resumable &= remedy != Remedy::WithoutResumption;
                let until = now.plus(match remedy {
                    Remedy::WithoutResumption => Duration::ZERO,
                    _ => self.backoff(order.attempts),
                });
                let (id, attempts) = (order.id, order.attempts);
                log::debug!(
                    target: order.class.label(),
                    "call={id} event=line_failed attempts={attempts} fault={}", failure.fault
                );
                self.places[index] = Some(Place { order, stage: Stage::Pausing { until } });
            }
            None => {
                self.free.push(index);
                self.tell(order, failure, now);
            }
        }
    }

    /// Before the attempt that follows `attempts` others.
    fn backoff(&mut self, attempts: u32) -> Duration {
        let doubled = self.patience.backoff * 2_u32.saturating_pow(attempts.saturating_sub(1));
        doubled.mul_f64(1.0 + BACKOFF_JITTER * (2.0 * self.rng.f64() - 1.0))
    }

    /// There was no place even to wait.
    fn refuse(&mut self, order: Order, failure: &Failure, now: Nanos) {
        self.count(failure);
        self.tell(order, failure, now);
    }

    fn count(&self, failure: &Failure) {
        self.shared.dials.count(LineFault::LABELS[failure.fault.index()]);
        if let Some(class) = failure.close {
            self.shared.dial_closes.count(class.label());
        }
    }

    /// Tells the call that there is no model, and the operator why.
    fn tell(&self, order: Order, failure: &Failure, now: Nanos) {
        let (id, attempts) = (order.id, order.attempts);
        let advice = failure.close.and_then(closes::advice).or(advice(failure.fault));
        let said = match failure.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        log::warn!(
            target: order.class.label(),
            "call={id} event=no_line attempts={attempts} after_ms={}: {}{said}{}",
            now.since(order.ordered_at).as_millis(),
            failure.fault,
            advice.map(|advice| format!("; {advice}")).unwrap_or_default(),
        );
        let letter = WorkerLetter::NoLine { call: order.call, fault: failure.fault };
        self.post(letter, order.call);
    }

    /// A worker that takes no letters has stopped, or is far beyond help; its calls are lost with
    /// it, and a line for one of them is closed here.
    fn post(&self, letter: WorkerLetter, call: CallKey) {
        let returned = match self.workers.get(call.worker) {
            Some(worker) => worker.post(letter).err(),
            None => Some(letter),
        };
        let Some(letter) = returned else { return };
        self.shared.dials.count("undelivered");
        if let WorkerLetter::Line { mut line, .. } = letter {
            let mut goodbye = SendBuf::new();
            let mask = fastrand::u32(..).to_ne_bytes();
            ws::write_close(Role::Client, CloseCode::NORMAL, "", mask, goodbye.tail());
            // The peer may be gone already, which is as good.
            let _ = line.socket.send(&mut goodbye);
        }
    }

    /// Ends every session that has begun, so that none is left open at the service.
    fn stop(self) {
        for place in self.places.into_iter().flatten() {
            if let Stage::Dialling(connection) = place.stage {
                connection.give_up();
            }
        }
    }
}

/// What the next attempt for `order` should be; `None`: there should be none.
fn next_attempt(order: &Order, failure: &Failure) -> Option<Remedy> {
    let without =
        order.resumable && failure.close.map(closes::remedy) == Some(Remedy::WithoutResumption);
    if let (Some(revival), attempts) = (order.purpose.revival(), order.attempts) {
        let is_fresh = matches!(revival, Revival::Fresh { .. });
        return (without && is_fresh && attempts == 1).then_some(Remedy::WithoutResumption);
    }
    if order.attempts >= DIAL_ATTEMPTS || order.silent >= SILENT_ATTEMPTS_MAX {
        return None;
    }
    match failure.close.map(closes::remedy) {
        Some(Remedy::None) => None,
        Some(Remedy::WithoutResumption) => without.then_some(Remedy::WithoutResumption),
        // The text says that it passes, whatever the code.
        Some(Remedy::Again) => Some(Remedy::Again),
        None => failure.fault.may_pass().then_some(Remedy::Again),
    }
}

/// What an operator can do about it; `None` where only waiting helps.
fn advice(fault: LineFault) -> Option<&'static str> {
    match fault {
        LineFault::Resolve => Some("the model's host has no address: check gemini.url and DNS"),
        LineFault::NoDescriptor => Some(
            "raise the limit of open files (ulimit -n, LimitNOFILE), or lower limits.max_calls",
        ),
        LineFault::Connect => {
            Some("the model cannot be reached: check gemini.url, route, firewall")
        }
        LineFault::Tls => Some("the model did not prove who it is: check gemini.url and ca_file"),
        LineFault::Refused { status: 401 | 403 } => Some("check GEMINI_API_KEY"),
        LineFault::Refused { status: 400..=428 | 430..=499 } => {
            Some("check gemini.url and gemini.api_version")
        }
        LineFault::Broke => Some("what answers there is no model: check gemini.url"),
        _ => None,
    }
}
