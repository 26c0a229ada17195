//! The outbound thread: from an address to a model that is ready to talk.
//!
//! In:       [`DialLetter`]s: a call wants a model, or will soon.
//! Out:      a [`Line`] in the worker's mailbox, or why there is none.
//! Bounds:   [`DIALS_AT_ONCE`], [`ORDERS_WAITING_MAX`], [`DIAL_ATTEMPTS`], [`SPARES_MAX`],
//!           `gemini.pool`, the times of [`Patience`], [`LETTERS_PER_TURN`].
//! Not here: what the model says once it is ready; when a session is taken up again (`call`).
//!
//! | file | what it holds |
//! |---|---|
//! | `attempt` | upgrade, `setup`, `setupComplete`: bytes in, bytes out |
//! | `connection` | an attempt with its socket |
//! | `order` | what is wanted, and the `setup` that asks for it |
//! | `facts` | what the model is told of the call |
//! | `ahead` | sessions made before their call comes |
//! | `service` | the two services: path, names, proof of who asks |
//! | `tokens` | access tokens, and the thread that fetches them |
//! | `resolve` | addresses, and the thread that looks them up |
//! | `closes` | what a close before `setupComplete` means |
//! | `probe` | one session for nobody |

mod ahead;
mod attempt;
mod closes;
mod connection;
mod facts;
mod order;
mod probe;
mod resolve;
mod service;
mod tokens;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::buf::SendBuf;
use crate::call::{LineFault, LineTerms, Revival};
use crate::clock::{Clock, Nanos};
use crate::config::{Config, Flavor, Timers};
use crate::limits::{
    AHEAD_KEPT, DIAL_ATTEMPTS, DIALS_AT_ONCE, LETTERS_PER_TURN, SPARES_MAX, TOKEN_COMMAND_TIMEOUT,
};
use crate::mail::{CallKey, DialLetter, Line, Mailbox, Postbox, WorkerLetter, mailbox};
use crate::metrics::Shared;
use crate::net::{TlsConfig, TlsConfigError};
use crate::wire::gemini::{CloseClass, greeting_json};
use crate::wire::ws::{self, CloseCode, Role};
use attempt::{Failure, Step};
use closes::Remedy;
use connection::{Connection, Shore};
use order::{Order, Purpose, seed_of};
pub use probe::{ProbeFault, Probed, probe};
use resolve::{Addresses, Lookup};
use service::{Credential, Service};
use tokens::{Held, Tokens};

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
/// Asks a model to go on that broke off.
const GO_ON: &str = "(You stopped in the middle of a sentence. If there was more, say it.)";
/// The bell's token; places in the table have the smaller ones.
const BELL: Token = Token(usize::MAX);

/// How long each stage of an attempt may last.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Looking up the name, where no address is known at all.
    pub resolve: Duration,
    /// Fetching an access token, where none is known.
    pub token: Duration,
    /// TCP.
    pub tcp: Duration,
    /// TLS and the upgrade.
    pub upgrade: Duration,
    /// From `setup` to `setupComplete`.
    pub setup: Duration,
    /// Before the second attempt; doubled before each further one.
    pub backoff: Duration,
    /// For the call of a session made ahead.
    pub ahead: Duration,
}

impl From<&Timers> for Patience {
    fn from(timers: &Timers) -> Patience {
        Patience {
            resolve: timers.tcp,
            tcp: timers.tcp,
            upgrade: timers.upgrade,
            setup: timers.setup,
            backoff: timers.backoff,
            token: TOKEN_COMMAND_TIMEOUT,
            ahead: AHEAD_KEPT,
        }
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::from(&Timers::default())
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
    service: Service,
    /// `None`: the key is the proof of who asks, if anything is.
    tokens: Option<Tokens>,
    /// `None`: the model is dialled in clear.
    tls: Option<TlsConfig>,
    patience: Patience,
    addresses: Addresses,
    /// Orders being worked on; the index is the token of the order's socket.
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    /// Places of sessions that are ready and wait for their calls.
    ready: usize,
    /// Orders for which there is no place yet, oldest first.
    waiting: VecDeque<Order>,
    /// By the worker's number; empty until the thread runs.
    workers: Vec<Postbox<WorkerLetter>>,
    /// Where it is told in words why there is no line; `None`: in the log alone.
    told: Option<Sender<String>>,
    rng: fastrand::Rng,
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
    /// For an access token.
    AwaitingToken { until: Nanos },
    /// An attempt is under way.
    Dialling(Box<Connection>),
    /// The next attempt begins then.
    Pausing { until: Nanos },
    /// The session was made ahead, and its call has not come.
    Ready(Box<Connection>),
}

impl Stage {
    /// When time alone changes it.
    fn due(&self) -> Nanos {
        match self {
            Stage::AwaitingAddresses { until }
            | Stage::AwaitingToken { until }
            | Stage::Pausing { until } => *until,
            Stage::Dialling(connection) | Stage::Ready(connection) => connection.deadline,
        }
    }
}

impl Place {
    fn due(&self) -> Nanos {
        self.stage.due().min(self.order.expires_at())
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
        let patience = Patience::from(&*config.timers);
        Dial::with_patience(config, clock, shared, patience)
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
        let service = Service::new(&config.gemini);
        let tokens = match &config.gemini.flavor {
            Flavor::Vertex(vertex) => vertex.tokens.clone(),
            Flavor::Developer => None,
        };
        let tokens = tokens.map(|source| Tokens::start(source, bell.clone())).transpose()?;
        let addresses = Addresses::new(&url.host, url.port, &bell)?;
        let (postbox, mailbox) = mailbox(bell);
        let dial = Dial {
            poll,
            mailbox,
            clock,
            shared,
            config,
            service,
            tokens,
            tls,
            patience,
            addresses,
            places: Vec::new(),
            free: Vec::new(),
            ready: 0,
            waiting: VecDeque::new(),
            workers: Vec::new(),
            told: None,
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
        if let Some(tokens) = &mut self.tokens {
            tokens.held(self.clock.now());
        }
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
        self.take_token(now);
        for event in events.iter().filter(|event| event.token() != BELL) {
            self.ready(event, now);
        }
        self.expire(now);
        self.fill_places(now);
        self.shared.dials_waiting.store(self.waiting.len(), Ordering::Relaxed);
        self.shared.dials_under_way.store(self.under_way(), Ordering::Relaxed);
        self.shared.lines_ahead.store(self.ready, Ordering::Relaxed);
        Ok(true)
    }

    fn next_due(&self) -> Option<Nanos> {
        let tokens = self.tokens.iter().map(Tokens::due);
        let due = self.places.iter().flatten().map(Place::due).chain(tokens).min();
        due.filter(|&due| due != Nanos::NEVER)
    }

    /// Whether an order that comes now is begun at once.
    fn has_place(&self) -> bool {
        self.under_way() + self.waiting.len() < DIALS_AT_ONCE
    }

    /// Places in which something is being done.
    fn under_way(&self) -> usize {
        self.places.len() - self.free.len() - self.ready
    }

    /// Takes the letters of one turn. Returns `false` if one says stop.
    fn take_letters(&mut self, now: Nanos) -> bool {
        for _ in 0..LETTERS_PER_TURN {
            match self.mailbox.take() {
                None => break,
                Some(DialLetter::Stop) => return false,
                Some(DialLetter::Cancel { call }) => self.cancel(call),
                Some(DialLetter::Settings(config)) => self.go_by(config),
                Some(DialLetter::Spare { call, id, class, agent }) => {
                    let facts = Arc::default();
                    let (who, what) = ((id, class), (agent, facts));
                    self.begin_spare(Order::new(Some(call), who, what, Purpose::Spare, now));
                }
                Some(DialLetter::Ahead { call_sid, agent, facts }) => {
                    self.begin_ahead(call_sid, agent, facts, now);
                }
                Some(DialLetter::Forget { call_sid }) => self.forget_ahead(&call_sid),
                Some(DialLetter::Dial { call, id, class, agent, facts, ahead, revival }) => {
                    let purpose = revival.map_or(Purpose::First, Purpose::Revival);
                    let (who, what) = ((id, class), (agent, facts));
                    let order = Order::new(Some(call), who, what, purpose, now);
                    let order = match ahead {
                        Some(call_sid) => self.use_ahead(order, &call_sid, now),
                        None => Some(order),
                    };
                    let Some(order) = order else { continue };
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

    /// From now on orders are done by `config`: what it says of the service's address, of its proof
    /// but for the key, and of audio is what it said at the start.
    fn go_by(&mut self, config: Arc<Config>) {
        self.service = Service::new(&config.gemini);
        self.patience = Patience::from(&*config.timers);
        self.config = config;
    }

    /// Leaves off everything that is being done for a call that has ended.
    fn cancel(&mut self, call: CallKey) {
        let waiting = self.waiting.len();
        self.waiting.retain(|order| order.call != Some(call));
        let cancelled = waiting - self.waiting.len();
        if cancelled > 0 {
            self.shared.dials.add("cancelled", cancelled as u64);
        }
        for index in 0..self.places.len() {
            let is_its = |place: &mut Place| place.order.call == Some(call);
            let Some(place) = self.places[index].take_if(is_its) else { continue };
            self.close_place(index, place.stage);
            self.shared.dials.count("cancelled");
        }
    }

    /// Ends what was being done in the place, and frees it.
    fn close_place(&mut self, index: usize, stage: Stage) {
        self.ready -= usize::from(matches!(stage, Stage::Ready(_)));
        if let Stage::Dialling(connection) | Stage::Ready(connection) = stage {
            connection.give_up();
        }
        self.free.push(index);
    }

    /// Gives places to waiting orders, while there are both.
    fn fill_places(&mut self, now: Nanos) {
        while self.under_way() < DIALS_AT_ONCE {
            let Some(order) = self.waiting.pop_front() else { return };
            let index = self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            });
            self.begin(index, order, now);
        }
    }

    /// Begins an attempt, or waits for what it is to be made with.
    fn begin(&mut self, index: usize, mut order: Order, now: Nanos) {
        if order.expires_at() <= now {
            self.free.push(index);
            return self.shared.ahead.count("expired");
        }
        if !self.addresses.refresh(now) {
            let until = now.plus(self.patience.resolve);
            self.places[index] = Some(Place { order, stage: Stage::AwaitingAddresses { until } });
            return;
        }
        let credential = match &mut self.tokens {
            None => self.service.key(),
            Some(tokens) => match tokens.held(now) {
                Held::Token(token) => Some(Credential::Token(token)),
                Held::Coming => {
                    let stage = Stage::AwaitingToken { until: now.plus(self.patience.token) };
                    self.places[index] = Some(Place { order, stage });
                    return;
                }
            },
        };
        order.attempts += 1;
        let setup = !matches!(order.purpose, Purpose::Spare);
        let setup = setup.then(|| order.setup(&self.service));
        let masks = ws::MaskKeys::new(None);
        let (shore, addresses) = self.shore();
        let credential = credential.as_ref();
        match Connection::begin(&shore, addresses, Token(index), credential, setup, masks, now) {
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
        if spares >= SPARES_MAX || !self.has_place() {
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
        let setup = order.setup(&self.service);
        let (shore, _) = self.shore();
        let step = connection.set_up(&shore, setup, now);
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
            Step::Ready if order.ahead_for().is_some() => {
                self.keep_ahead(index, order, connection, now);
            }
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
            service: &self.service,
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

    /// Takes what the thread that fetches tokens has brought.
    fn take_token(&mut self, now: Nanos) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.fetch_ahead(now);
        let Some((has_token, fault)) = tokens.take_answer(now) else { return };
        if let Some(fault) = fault {
            log::warn!("no new access token: {fault}; check gemini.token_file or token_command");
        }
        for index in 0..self.places.len() {
            let awaits = |place: &mut Place| matches!(place.stage, Stage::AwaitingToken { .. });
            let Some(place) = self.places[index].take_if(awaits) else { continue };
            match has_token {
                true => self.begin(index, place.order, now),
                false => self.no_token(index, place.order, now),
            }
        }
    }

    fn no_token(&mut self, index: usize, mut order: Order, now: Nanos) {
        order.attempts += 1;
        self.failed(index, order, &LineFault::NoToken.into(), now);
    }

    fn no_address(&mut self, index: usize, mut order: Order, now: Nanos) {
        order.attempts += 1;
        self.failed(index, order, &LineFault::Resolve.into(), now);
    }

    /// A socket is ready. A place that is used again may be told of its former socket: nothing
    /// comes of it.
    fn ready(&mut self, event: &Event, now: Nanos) {
        let index = event.token().0;
        let Some(place) = self.places.get_mut(index).and_then(Option::take) else { return };
        let (is_kept, mut connection) = match place.stage {
            Stage::Dialling(connection) => (false, connection),
            Stage::Ready(connection) => (true, connection),
            stage => {
                self.places[index] = Some(Place { stage, ..place });
                return;
            }
        };
        let (shore, addresses) = self.shore();
        let step = connection.handle_ready(&shore, addresses, now, Some(event));
        match is_kept {
            true => self.go_on_keeping(index, place.order, connection, step, now),
            false => self.go_on(index, place.order, connection, step, now),
        }
    }

    fn expire(&mut self, now: Nanos) {
        for index in 0..self.places.len() {
            let is_due = |place: &mut Place| place.due() <= now;
            let Some(Place { mut order, stage }) = self.places[index].take_if(is_due) else {
                continue;
            };
            if order.expires_at() <= now {
                self.close_place(index, stage);
                self.shared.ahead.count("expired");
                continue;
            }
            match stage {
                Stage::Pausing { .. } => self.begin(index, order, now),
                Stage::AwaitingAddresses { .. } => self.no_address(index, order, now),
                Stage::AwaitingToken { .. } => self.no_token(index, order, now),
                Stage::Dialling(connection) | Stage::Ready(connection) => {
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
        let Some(call) = order.call else {
            self.free.push(index);
            return connection.give_up();
        };
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
            go_on: greeting_json(&order.agent.model, GO_ON),
            resumable: order.resumable,
            transparent: order.is_transparent(&self.service),
            agent: Some(order.agent.clone()),
        };
        let (agent, facts) = (order.agent, order.facts);
        let line = Box::new(Line { socket, unread, terms, agent, facts });
        self.post(WorkerLetter::Line { call, line }, call);
    }

    /// An attempt failed: makes another where that may help, or tells the call.
    fn failed(&mut self, index: usize, mut order: Order, failure: &Failure, now: Nanos) {
        if let Purpose::Spare = order.purpose {
            // Whoever made it ahead will dial when the time comes.
            self.free.push(index);
            return self.shared.dials.count("spare_lost");
        }
        self.count(failure, now);
        if self.is_refused_token(failure) && !std::mem::replace(&mut order.renewed, true) {
            if let Some(tokens) = &mut self.tokens {
                tokens.distrust();
            }
            let stage = Stage::Pausing { until: now };
            self.places[index] = Some(Place { order, stage });
            return;
        }
        // It may have been dead for a while.
        let is_dead =
            failure.close == Some(CloseClass::Lost) || failure.fault == LineFault::Timeout;
        if std::mem::take(&mut order.from_spare) && is_dead {
            order.attempts = 0;
            let stage = Stage::Pausing { until: now };
            self.places[index] = Some(Place { order, stage });
            return;
        }
        self.try_again(index, order, failure, now);
    }

    /// Whether the service did not believe the access token: it may have grown old.
    fn is_refused_token(&self, failure: &Failure) -> bool {
        let refused = failure.fault == LineFault::Refused { status: 401 }
            || failure.close == Some(CloseClass::Key);
        refused && self.tokens.is_some()
    }

    fn try_again(&mut self, index: usize, mut order: Order, failure: &Failure, now: Nanos) {
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
    fn refuse(&self, order: Order, failure: &Failure, now: Nanos) {
        self.count(failure, now);
        self.tell(order, failure, now);
    }

    fn count(&self, failure: &Failure, now: Nanos) {
        self.note_quota(failure, now);
        self.shared.dials.count(LineFault::LABELS[failure.fault.index()]);
        if let Some(class) = failure.close {
            self.shared.dial_closes.count(class.label());
        }
    }

    /// New calls are turned away for a while after a close for want of quota.
    fn note_quota(&self, failure: &Failure, now: Nanos) {
        if failure.fault == LineFault::Quota || failure.close == Some(CloseClass::Quota) {
            self.shared.quota.used_up(now);
        }
    }

    /// Tells the call that there is no model, and the operator why.
    fn tell(&self, order: Order, failure: &Failure, now: Nanos) {
        let Some(call) = order.call else {
            // Its call will dial when it comes, and be told itself.
            self.shared.ahead.count("failed");
            return log::debug!(target: "twilio", "event=ahead_failed fault={}", failure.fault);
        };
        let (id, attempts) = (order.id, order.attempts);
        let words = in_words(failure);
        log::warn!(
            target: order.class.label(),
            "call={id} event=no_line attempts={attempts} after_ms={}: {words}",
            now.since(order.ordered_at).as_millis(),
        );
        if let Some(told) = &self.told {
            // Whoever asked has gone, or has been told.
            let _ = told.try_send(words);
        }
        let letter = WorkerLetter::NoLine { call, fault: failure.fault };
        self.post(letter, call);
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
            let mask = ws::MaskKeys::new(None).fresh();
            ws::write_close(Role::Client, CloseCode::NORMAL, "", mask, goodbye.tail());
            // The peer may be gone already, which is as good.
            let _ = line.socket.send(&mut goodbye);
        }
    }

    /// Ends every session that has begun, so that none is left open at the service.
    fn stop(self) {
        for place in self.places.into_iter().flatten() {
            if let Stage::Dialling(connection) | Stage::Ready(connection) = place.stage {
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

/// What was wrong, what the service said of it, and what an operator can do.
fn in_words(failure: &Failure) -> String {
    let advice = failure.close.and_then(closes::advice).or(advice(failure.fault));
    let said = match failure.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{}{said}{advice}", failure.fault)
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
        LineFault::NoToken => Some("check gemini.token_file or gemini.token_command"),
        LineFault::Refused { status: 401 | 403 } => {
            Some("check GEMINI_API_KEY, or gemini.project and where its access tokens come from")
        }
        LineFault::Refused { status: 400..=428 | 430..=499 } => {
            Some("check gemini.url and gemini.api_version")
        }
        LineFault::Broke => Some("what answers there is no model: check gemini.url"),
        _ => None,
    }
}
