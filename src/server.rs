//! Builds everything once, pins and starts the threads, drains and stops on a signal.
//!
//! In:       a checked configuration; SIGINT, SIGTERM; SIGHUP, to read it again.
//! Out:      a running relay; when it stops, the totals.
//! Bounds:   `server.drain_timeout` for calls that are still going on, [`PROMISED_TIMEOUT`] for
//!           those about to come, [`AFTERWARDS`] for their carriers, [`STOP_TIMEOUT`] for each
//!           group of threads.
//! Not here: what any thread does.

pub mod check;
mod cores;
pub mod log_format;
pub mod log_lines;
mod memory;
mod preflight;
mod reload;
mod summary;
mod takeover;
mod threads;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use crossbeam_channel::{Receiver, bounded};
use dsp::kernels::Kernels;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::accept::{self, Accept, BindError, Estate, Sockets};
use crate::call;
use crate::clock::Clock;
use crate::config::{Carrier, Config, Reading, SignatureMode};
use crate::control::appointments::feed::Feed;
use crate::control::appointments::{Appointments, StoreError};
use crate::control::certificates::{self, Certificates};
use crate::control::tools::Tools;
use crate::control::{self, Control};
use crate::demo::{self, Demo};
use crate::dial::{Dial, DialError};
use crate::limits::{ARRIVALS_MAX, KEEP_ALIVE_TIMEOUT, YOUNG_CONNECTIONS_MAX};
use crate::mail::{
    AcceptLetter, Bequest, CalendarLetter, ControlLetter, DialLetter, Load, Mailbox, Postbox,
    TapeLetter, ToolLetter, TranscriptLetter, WorkerLetter,
};
use crate::metrics::{Build, Figures, Shared, slo};
use crate::net::{TlsServer, TlsServerError};
use crate::record::{Recordings, Transcripts};
use crate::worker::{self, Worker};
use cores::{NoSuchCore, Placement, Plan};
use log_lines::LogLines;
use preflight::Problem;
pub use reload::ReadAgain;
use reload::Reloads;
use summary::Summary;
use takeover::{Elder, Gate};
use threads::{Ended, Event, Threads};

/// How long a group of threads may take to stop. Then the relay ends without it, and says so.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a draining relay looks whether its last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long a relay without calls still waits for those it has promised a place, and for answers
/// that are being written. Their callers hear the carrier's own error afterwards.
const PROMISED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a relay that was taken over still waits for a last request on each connection it has:
/// until all that idle have been closed.
const LAST_REQUESTS: Duration = KEEP_ALIVE_TIMEOUT.saturating_add(Duration::from_secs(1));
/// How long a relay that ended calls still answers HTTP: their carrier is about to ask what follows.
/// Callers it does not ask for by then are hung up.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// The thread that tells the process that has taken over.
const HEIR: &str = "heir";
/// The threads that write files of calls.
const KEEPERS: [&str; 2] = ["recordings", "transcripts"];
/// How long a thread's full box is tried again when it is told to stop.
const POST_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the relay could not start.
#[derive(Debug)]
pub enum StartError {
    /// What was found before anything was begun.
    Refused(Vec<Problem>),
    /// The listening address cannot be had.
    Listen {
        /// The key of the configuration that names it.
        key: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The model cannot be dialled with this configuration.
    Dial(DialError),
    /// TLS cannot be offered.
    Tls(TlsServerError),
    /// The demo agent cannot be started.
    Demo(io::Error),
    /// A directory for what is kept of calls cannot be made.
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The appointment book cannot be had.
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// The process that runs cannot be asked for its port, or the next one could not ask us.
    TakeOver {
        /// The Unix socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What a supervisor gives is no TCP socket.
    Supervisor(io::Error),
    /// A core cannot be had.
    Core(NoSuchCore),
    /// A thread, its poll instance, or the watch for signals cannot be had.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Refused(problems) => {
                let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&problems.join("\nvocaris: "))
            }
            StartError::Listen { key, address, error } => {
                write!(f, "{}", Problem::address(key, *address, error))
            }
            StartError::Dial(error) => write!(f, "cannot dial the model: {error}"),
            StartError::Tls(error) => write!(f, "cannot offer TLS: {error}"),
            StartError::Demo(error) => write!(f, "cannot start the demo agent: {error}"),
            StartError::Directory { directory, error } => {
                write!(f, "cannot keep files in {}: {error}", directory.display())
            }
            StartError::Store { path, error } => {
                write!(f, "cannot use {} (store.url): {error}", path.display())
            }
            StartError::TakeOver { path, error } => {
                write!(f, "cannot take over at {} (server.takeover): {error}", path.display())
            }
            StartError::Supervisor(error) => {
                write!(f, "cannot listen on the sockets of LISTEN_FDS: {error}")
            }
            StartError::Core(core) => write!(f, "{core}"),
            StartError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What this program is, with these kernels.
pub fn build(kernels: &Kernels) -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("BUILD_REVISION"),
        target: option_env!("BUILD_TARGET").unwrap_or(std::env::consts::ARCH),
        kernels: kernels.isa().to_string(),
    }
}

/// The relay.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Builds and starts the relay. It is ready for calls when this returns.
    ///
    /// Without a key, and with the service's own address, the demo agent answers instead of it.
    ///
    /// # Errors
    /// What could not be had; nothing is left running then but threads that wait for the end of
    /// the process.
    pub fn start(config: Config) -> Result<Running, StartError> {
        Server::start_with(config, Arc::default(), Estate::default())
    }

    /// The same, with what is counted outside the relay's own threads.
    fn start_with(
        config: Config,
        shared: Arc<Shared>,
        estate: Estate,
    ) -> Result<Running, StartError> {
        let problems = preflight::problems(&config, estate.sockets.main.is_none());
        if !problems.is_empty() {
            return Err(StartError::Refused(problems));
        }
        let descriptors = raise_descriptor_limit();
        let (mut config, demo) = with_demo(config)?;
        let usable = cores::usable();
        let wanted = &config.server.cores;
        let cores = cores::for_workers(wanted, &usable).map_err(StartError::Core)?;
        let count = workers(&config, cores.len());
        let plan = Plan::new(config.server.pin, count, &cores, !wanted.is_empty(), &usable);
        limit_calls(&mut config, count, descriptors);
        memory::check(config.limits.max_calls);
        let calls_max = (config.limits.max_calls, config.limits.max_calls_per_worker);
        let config = Arc::new(config);
        let load = Arc::new(Load::new(count));
        let _ = shared.lateness.set(load.lateness().clone());
        let tls = tls(&config)?;
        let (rooms, posts) = build_rooms(&config, count, &load, &shared, tls.clone(), estate)?;
        let local_addr = rooms.accept.local_addr();
        let takeover = config.server.takeover.clone();
        let takeover = takeover.map(|path| Ok((path, rooms.accept.estate()?)));
        let takeover = takeover.transpose().map_err(StartError::Thread)?;
        let (threads, figures) = start_threads(rooms, &posts, &load, plan, calls_max)?;
        let mut running = Running {
            local_addr,
            tls,
            shared,
            load,
            posts,
            figures,
            config,
            descriptors,
            threads,
            demo,
            gate: None,
        };
        if let Some((path, estate)) = takeover {
            running.open_gate(path, estate)?;
        }
        Ok(running)
    }
}

/// What each thread will run.
struct Rooms {
    accept: Accept,
    dial: Dial,
    workers: Vec<Worker>,
    tools: Tools,
    control: Control,
    tapes: Option<Recordings>,
    transcripts: Option<Transcripts>,
    /// `None` where no appointments are taken.
    calendar: Option<Feed>,
}

/// Where each thread's letters are posted.
#[derive(Debug)]
struct Posts {
    accept: Postbox<AcceptLetter>,
    dial: Postbox<DialLetter>,
    /// By number.
    workers: Vec<Postbox<WorkerLetter>>,
    tools: Postbox<ToolLetter>,
    control: Postbox<ControlLetter>,
    tapes: Option<Postbox<TapeLetter>>,
    transcripts: Option<Postbox<TranscriptLetter>>,
    calendar: Option<Postbox<CalendarLetter>>,
}

fn build_rooms(
    config: &Arc<Config>,
    count: usize,
    load: &Arc<Load>,
    shared: &Arc<Shared>,
    tls: Option<Arc<TlsServer>>,
    estate: Estate,
) -> Result<(Rooms, Posts), StartError> {
    let clock = Clock::start();
    let settings = call::Settings::from(&**config);
    let kernels = Kernels::detect(config.server.kernels);
    let bounds = slo::Bounds { of: config.log.slo };
    let build = build(&kernels);
    log::info!(
        "vocaris {} ({}), {count} workers, {} kernels",
        build.version,
        build.revision.unwrap_or("unknown revision"),
        build.kernels
    );
    let (workers, worker_posts) = (0..count)
        .map(|number| Worker::new(number, settings.clone(), kernels, clock))
        .collect::<io::Result<Vec<_>>>()
        .map_err(StartError::Thread)?
        .into_iter()
        .map(|(worker, post)| (worker.with_bounds(bounds), post))
        .unzip();
    let (dial, dial_post) =
        Dial::new(config.clone(), clock, shared.clone()).map_err(StartError::Dial)?;
    let (calendar, calendar_post) = calendar(config)?.unzip();
    let (tapes, tapes_post) = build_recordings(config, clock, kernels, shared)?.unzip();
    let (transcripts, transcripts_post) = build_transcripts(config, clock, shared)?.unzip();
    // Last: nobody comes to a door behind which something is missing.
    let (accept, accept_post) =
        Accept::take_over(config.clone(), clock, load.clone(), shared.clone(), estate).map_err(
            |BindError { key, address, error }| StartError::Listen { key, address, error },
        )?;
    let accept = accept.with_tls(tls.clone());
    let (tools, tools_post) = Tools::new(config.clone(), clock);
    let redact = config.log.redact_numbers;
    let (control, control_post) = Control::new(count, clock, shared.clone(), build, redact);
    let control = control.with_certificates(tls.map(|tls| Certificates::new(tls, shared.clone())));
    let rooms = Rooms { accept, dial, workers, tools, control, tapes, transcripts, calendar };
    let posts = Posts {
        accept: accept_post,
        dial: dial_post,
        workers: worker_posts,
        tools: tools_post,
        control: control_post,
        tapes: tapes_post,
        transcripts: transcripts_post,
        calendar: calendar_post,
    };
    Ok((rooms, posts))
}

/// TLS on the listening side, where there are certificates.
fn tls(config: &Config) -> Result<Option<Arc<TlsServer>>, StartError> {
    let files = &config.server.tls;
    let tls = (!files.is_empty()).then(|| TlsServer::new(files, certificates::now_unix()));
    tls.transpose().map(|tls| tls.map(Arc::new)).map_err(StartError::Tls)
}

/// The room that records, where calls are recorded.
fn build_recordings(
    config: &Config,
    clock: Clock,
    kernels: Kernels,
    shared: &Arc<Shared>,
) -> Result<Option<(Recordings, Postbox<TapeLetter>)>, StartError> {
    let settings = &config.recording;
    let recordings =
        settings.enabled.then(|| Recordings::new(settings, clock, kernels, shared.clone()));
    let directory = || settings.directory.clone();
    recordings.transpose().map_err(|error| StartError::Directory { directory: directory(), error })
}

/// The room that writes transcripts, where there are any.
fn build_transcripts(
    config: &Config,
    clock: Clock,
    shared: &Arc<Shared>,
) -> Result<Option<(Transcripts, Postbox<TranscriptLetter>)>, StartError> {
    let settings = &config.transcripts;
    let transcripts = settings.enabled.then(|| Transcripts::new(settings, clock, shared.clone()));
    let directory = || settings.directory.clone();
    transcripts.transpose().map_err(|error| StartError::Directory { directory: directory(), error })
}

/// The calendar's room, where appointments are taken.
fn calendar(config: &Config) -> Result<Option<(Feed, Postbox<CalendarLetter>)>, StartError> {
    if !config.appointments.enabled {
        return Ok(None);
    }
    let book = Appointments::open(&config.appointments, &config.store);
    let path = || config.store.path.clone();
    let book = book.map_err(|error| StartError::Store { path: path(), error })?;
    Ok(Some(Feed::new(book)))
}

/// Starts the thread of each room: whoever is written to before whoever writes. The totals come
/// when the control thread ends.
fn start_threads(
    rooms: Rooms,
    posts: &Posts,
    load: &Arc<Load>,
    plan: Plan,
    calls_max: (usize, usize),
) -> Result<(Threads, Receiver<Figures>), StartError> {
    let mut threads = Threads::new();
    let Plan { workers: placements, others } = plan;
    let (totals, figures) = bounded(1);
    let Rooms { accept, dial, workers, tools, control, tapes, transcripts, calendar } = rooms;
    if let Some(tapes) = tapes {
        start(&mut threads, "recordings", &others, move || tapes.run())?;
    }
    if let Some(transcripts) = transcripts {
        start(&mut threads, "transcripts", &others, move || transcripts.run())?;
    }
    if let Some(calendar) = calendar {
        let accept = posts.accept.clone();
        start(&mut threads, "calendar", &others, move || calendar.run(&accept))?;
    }
    let neighbours = control::Neighbours {
        workers: posts.workers.clone(),
        accept: posts.accept.clone(),
        dial: posts.dial.clone(),
        tools: posts.tools.clone(),
        load: load.clone(),
        calls_max,
    };
    start(&mut threads, "control", &others, move || {
        let _ = totals.send(control.run(neighbours));
    })?;
    let post_to = posts.workers.clone();
    start(&mut threads, "tools", &others, move || tools.run(&post_to))?;
    for (number, (worker, placement)) in workers.into_iter().zip(placements).enumerate() {
        let neighbours = worker::Neighbours {
            dial: posts.dial.clone(),
            accept: posts.accept.clone(),
            tools: posts.tools.clone(),
            control: posts.control.clone(),
            tapes: posts.tapes.clone(),
            transcripts: posts.transcripts.clone(),
            load: load.clone(),
        };
        let name = format!("worker-{number}");
        start(&mut threads, &name, &placement, move || worker.run(&neighbours))?;
    }
    let workers = posts.workers.clone();
    start(&mut threads, "dial", &others, move || dial.run(workers))?;
    let neighbours = accept::Neighbours {
        workers: posts.workers.clone(),
        dial: posts.dial.clone(),
        control: posts.control.clone(),
        calendar: posts.calendar.clone(),
    };
    start(&mut threads, "accept", &others, move || accept.run(neighbours))?;
    Ok((threads, figures))
}

/// A relay that takes calls.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    /// TLS there, if it speaks it.
    tls: Option<Arc<TlsServer>>,
    shared: Arc<Shared>,
    load: Arc<Load>,
    posts: Posts,
    /// The totals, once the control thread has ended.
    figures: Receiver<Figures>,
    /// What new calls go by.
    config: Arc<Config>,
    /// How many may be open; `None`: the system does not say.
    descriptors: Option<u64>,
    threads: Threads,
    /// The agent that answers without a key; it lives as long as the relay.
    demo: Option<Demo>,
    /// The Unix socket at which another process can take over; `None` where none can, or one has.
    gate: Option<PathBuf>,
}

/// Why draining is over.
enum Drained {
    /// No call is left.
    Empty,
    /// Calls are left, and their time is over.
    TimedOut,
    /// The operator will not wait.
    Signal,
    /// A thread ended.
    Broken(Ended),
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether the demo agent answers.
    pub fn is_demo(&self) -> bool {
        self.demo.is_some()
    }

    /// Reads the certificates of the listening side again, where there are any. Connections that go
    /// on keep what they began with. What comes of it is logged and counted.
    ///
    /// # Errors
    /// What is wrong with the files; then nothing changes.
    pub fn reload_certificates(&self) -> Result<(), TlsServerError> {
        self.tls.as_ref().map_or(Ok(()), |tls| certificates::reload(tls, &self.shared))
    }

    /// Takes no more calls, lets those that go on end by themselves for `server.drain_timeout`,
    /// ends the rest and every thread. Returns the totals since the start.
    ///
    /// # Panics
    /// If a thread of the relay has panicked, failed, or does not stop.
    pub fn stop(mut self) -> Figures {
        if let Drained::Broken(ended) = self.drain() {
            panic!("{}", Fallen(&ended));
        }
        self.halt().unwrap_or_else(|ended| panic!("{}", Fallen(&ended)))
    }

    /// Lets an heir or an elder in at `path`.
    fn open_gate(&mut self, path: PathBuf, estate: Estate) -> Result<(), StartError> {
        let (accept, events) = (self.posts.accept.clone(), self.threads.sender());
        let gate = Gate::open(&path, estate, accept, events).and_then(Gate::start);
        gate.map_err(|error| StartError::TakeOver { path: path.clone(), error })?;
        self.gate = Some(path);
        Ok(())
    }

    /// Another process has taken over: it is told what it must know until the end of this one.
    fn hand_over(&mut self, bequests: Mailbox<Vec<Bequest>>) {
        let Some(path) = self.gate.take() else { return };
        let heir = self.threads.start(HEIR.to_owned(), Placement::Anywhere, move || {
            takeover::bequeath(&path, &bequests);
        });
        if let Err(error) = heir {
            log::warn!("the process that has taken over is told nothing: {error}");
        }
    }

    fn drain(&mut self) -> Drained {
        // One that was taken over goes on answering what still comes to it.
        if self.gate.is_some() || !self.threads.has(HEIR) {
            post(&self.posts.accept, AcceptLetter::Drain);
        }
        let promised = if self.threads.has(HEIR) { LAST_REQUESTS } else { PROMISED_TIMEOUT };
        let start = Instant::now();
        let deadline = start + self.config.server.drain_timeout;
        let promised_by = start + promised;
        while self.load.calls() > 0 || (self.load.expected() > 0 && Instant::now() < promised_by) {
            let look = Instant::now() + DRAIN_LOOK;
            match self.threads.next_event(Some(look.min(deadline))) {
                Some(Event::Signal) => return Drained::Signal,
                Some(Event::Ended(ended)) => return Drained::Broken(ended),
                Some(Event::Reload) => log::warn!("event=reload_refused: the relay is draining"),
                Some(Event::TakenOver(bequests)) => self.hand_over(bequests),
                None if Instant::now() >= deadline => return Drained::TimedOut,
                None => {}
            }
        }
        Drained::Empty
    }

    /// Waits until the carrier has asked what follows the calls that were just ended.
    fn settle_endings(&mut self) -> Result<(), Ended> {
        let deadline = Instant::now() + AFTERWARDS;
        // Seen twice, because a letter may have been taken and not yet been counted.
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            match self.threads.next_event(Some(Instant::now() + DRAIN_LOOK)) {
                Some(Event::Ended(ended)) if ended.fault.is_some() => return Err(ended),
                Some(Event::Signal) => return Ok(()),
                Some(Event::TakenOver(bequests)) => self.hand_over(bequests),
                // The threads that write files have been asked to end.
                Some(Event::Ended(_) | Event::Reload) | None => {}
            }
            let is_quiet = self.load.owed() == 0 && self.posts.accept.len_letters() == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    /// Ends every call and every thread. The outbound thread first, so that no session comes to a
    /// worker that has read its last letter; then the workers, so that whatever they still have to
    /// say is read; the control thread last, so that it has read everything.
    fn halt(mut self) -> Result<Figures, Ended> {
        post(&self.posts.dial, DialLetter::Stop);
        self.wait_for(|name| name == "dial")?;
        for worker in &self.posts.workers {
            post(worker, WorkerLetter::Stop);
        }
        self.wait_for(|name| name.starts_with("worker"))?;
        // Every call is over: what it said and taped is there to be written.
        if let Some(tapes) = &self.posts.tapes {
            post(tapes, TapeLetter::Stop);
        }
        if let Some(transcripts) = &self.posts.transcripts {
            post(transcripts, TranscriptLetter::Stop);
        }
        self.settle_endings()?;
        post(&self.posts.accept, AcceptLetter::Stop);
        post(&self.posts.tools, ToolLetter::Stop);
        if let Some(calendar) = &self.posts.calendar {
            post(calendar, CalendarLetter::Stop);
        }
        // With the inbound thread ends what the heir is told.
        self.wait_for(|name| ["accept", "tools", "calendar", HEIR].contains(&name))?;
        if let Some(path) = self.gate.take() {
            let _ = std::fs::remove_file(path);
        }
        post(&self.posts.control, ControlLetter::Stop);
        self.wait_for(|name| KEEPERS.contains(&name) || name == "control")?;
        Ok(self.figures.try_recv().unwrap_or_default())
    }

    fn wait_for(&mut self, chosen: impl Fn(&str) -> bool) -> Result<(), Ended> {
        let faults = self.threads.wait_for(chosen, Instant::now() + STOP_TIMEOUT);
        faults.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Runs the relay until a signal ends it, and says on standard output what a person needs to
/// know: where it listens, that it is a demo, what it measured.
///
/// `lines`: where log lines are written.
///
/// SIGINT or SIGTERM drains; a second one ends the calls that are left at once. SIGHUP changes
/// nothing.
///
/// A process that listens at `server.takeover` is relieved of its port.
pub fn run(config: Config, lines: &LogLines) -> ExitCode {
    run_until_stopped(config, Reloads::none(), lines, Ok(Sockets::default()))
}

/// The same, with SIGHUP: `read_again` is asked for the configuration that new calls are to go by;
/// and on the sockets that a supervisor gave: [`given_sockets`].
pub fn run_with_reloads(
    reading: Reading,
    read_again: ReadAgain,
    lines: &LogLines,
    sockets: io::Result<Sockets>,
) -> ExitCode {
    let reloads = Reloads::new(reading.account, read_again);
    run_until_stopped(reading.config, reloads, lines, sockets)
}

fn run_until_stopped(
    config: Config,
    reloads: Reloads,
    lines: &LogLines,
    sockets: io::Result<Sockets>,
) -> ExitCode {
    let shared = Shared { log_lines_lost: lines.lost(), ..Shared::default() };
    match serve(config, reloads, Arc::new(shared), sockets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("vocaris: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Sockets that listen already, given by a supervisor.
///
/// Called before there are threads: it takes variables out of the environment.
///
/// # Errors
/// When what it gives is no TCP socket.
pub fn given_sockets() -> io::Result<Sockets> {
    takeover::from_supervisor()
}

fn serve(
    config: Config,
    mut reloads: Reloads,
    shared: Arc<Shared>,
    sockets: io::Result<Sockets>,
) -> Result<(), String> {
    // Before the first line is printed: whoever reads it may send a signal.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.map_err(|error| StartError::Thread(error).to_string())?;
    let exposures = exposures(&config);
    let sockets = sockets.map_err(|error| StartError::Supervisor(error).to_string())?;
    let (estate, elder) = inheritance(&config, sockets).map_err(|error| error.to_string())?;
    let running = Server::start_with(config, shared.clone(), estate);
    let mut running = running.map_err(|error| error.to_string())?;
    let events = running.threads.sender();
    let handle = signals.handle();
    let watch = thread::Builder::new().name("signals".into()).spawn(move || {
        // The relay stops listening only when it is over.
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Signal };
            if events.send(event).is_err() {
                break;
            }
        }
    });
    watch.map_err(|error| StartError::Thread(error).to_string())?;
    if let Some(elder) = elder {
        // One that ended meanwhile needs no relief.
        let _ = elder.relieve();
        log::info!("event=took_over: the process before this one drains");
    }
    announce(&running);
    exposures.iter().for_each(|exposure| log::warn!("{exposure}"));

    let event = loop {
        match running.threads.next_event(None) {
            Some(Event::Reload) => reloads.reload(&mut running, &shared),
            event => break event,
        }
    };
    let broken = match event {
        Some(Event::Ended(ended)) => Some(ended),
        event => {
            let calls = running.load.calls();
            if let Some(Event::TakenOver(bequests)) = event {
                log::info!("event=taken_over calls={calls}: another process takes new ones");
                running.hand_over(bequests);
            } else {
                log::info!("event=draining calls={calls}: no more are taken");
            }
            match running.drain() {
                Drained::Empty => None,
                Drained::Broken(ended) => Some(ended),
                Drained::TimedOut | Drained::Signal => {
                    log::warn!(
                        "event=cut calls={}: their time to drain is over",
                        running.load.calls()
                    );
                    None
                }
            }
        }
    };
    if let Some(ended) = broken {
        return Err(Fallen(&ended).to_string());
    }
    let figures = running.halt().map_err(|ended| Fallen(&ended).to_string())?;
    handle.close();
    print(format_args!("{}", Summary(&figures)));
    log::info!("stopped");
    Ok(())
}

/// What the process that runs gives, if there is one, else what a supervisor does.
fn inheritance(config: &Config, sockets: Sockets) -> Result<(Estate, Option<Elder>), StartError> {
    let claimed = config.server.takeover.as_deref().map(|path| {
        takeover::claim(path, config.server.listen)
            .map_err(|error| StartError::TakeOver { path: path.to_owned(), error })
    });
    Ok(match claimed.transpose()?.flatten() {
        Some((estate, elder)) => (estate, Some(elder)),
        None => (Estate { sockets, keys: None }, None),
    })
}

/// What strangers can do with these settings that their operator may not have meant.
fn exposures(config: &Config) -> Vec<&'static str> {
    let has_key = config.gemini.has_credentials();
    let requires = config.twilio.signature == SignatureMode::Require;
    let allow = config.web.allow.as_ref();
    // Where Twilio need not sign either, another line says it for all.
    let is_open = |carrier: &Carrier| {
        let terms = config.carriers.of(*carrier);
        terms.is_some_and(|terms| terms.enabled && terms.signature != SignatureMode::Require)
    };
    let figures = config.admin.listen.unwrap_or(config.server.listen);
    let private = figures.ip().is_loopback();
    let exposures = [
        (
            has_key && requires && Carrier::ALL.iter().any(is_open),
            "a carrier besides Twilio is enabled whose webhooks prove nothing: anyone who reaches \
             this port can open calls by its paths; set a secret in its section, or \
             telnyx.public_key",
        ),
        (
            config.recording.enabled && config.recording.consent.is_none(),
            "calls are recorded and nobody is told: set recording.consent, unless they are told \
             some other way",
        ),
        (
            has_key && config.twilio.signature == SignatureMode::Warn,
            "anyone who reaches this port can open calls and spend the key: wrong signatures are \
             only warned of; set twilio.signature = \"require\"",
        ),
        (
            has_key && config.twilio.signature == SignatureMode::Off,
            "anyone who reaches this port can open calls and spend the key: signatures are not \
             required; set twilio.auth_token (TWILIO_AUTH_TOKEN)",
        ),
        (
            has_key && config.web.enabled && config.web.tokens.is_empty() && allow.is_none(),
            "anyone who reaches this port can talk from a browser and spend the key: set web.tokens \
             or web.allow, or web.enabled = false, or let a proxy decide who comes in",
        ),
        (
            has_key && config.admin.token.is_none() && config.admin.allow.is_none() && !private,
            "anyone who reaches this port can read /metrics: set admin.token, admin.allow, or \
             admin.listen to an address of this machine",
        ),
        (
            requires && config.server.public_url.is_none(),
            "server.public_url is not set: each request's Host is believed when its signature is \
             checked, so a request signed for another host's webhook passes here; set it",
        ),
    ];
    exposures.into_iter().filter_map(|(holds, exposure)| holds.then_some(exposure)).collect()
}

/// Says that the relay is ready.
fn announce(running: &Running) {
    let address = running.local_addr;
    if running.is_demo() {
        let is_here = address.ip().is_unspecified() || address.ip().is_loopback();
        let scheme = if running.tls.is_some() { "https" } else { "http" };
        let host = if is_here { "localhost".to_owned() } else { address.ip().to_string() };
        print(format_args!(
            "This is a demo: no GEMINI_API_KEY is set, so the embedded agent answers and repeats \
             what it hears.\nTalk to it on {scheme}://{host}:{}\n",
            address.port()
        ));
    }
    log::info!("listening on {address}");
    print(format_args!("listening on {address}\n"));
}

/// Writes to standard output; a reader that has gone is no reason to stop taking calls.
fn print(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}

/// Posts a letter that must arrive, and waits a little for room in a full box. A reader that has
/// stopped needs no letter.
fn post<T>(postbox: &Postbox<T>, mut letter: T) {
    let deadline = Instant::now() + POST_TIMEOUT;
    while let Err(refused) = postbox.post(letter) {
        if Instant::now() >= deadline {
            return;
        }
        letter = refused;
        thread::yield_now();
    }
}

fn start(
    threads: &mut Threads,
    name: &str,
    placement: &Placement,
    body: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    threads.start(name.to_owned(), placement.clone(), body).map_err(StartError::Thread)
}

/// The configuration with the demo agent's address in it, if it is to answer.
fn with_demo(mut config: Config) -> Result<(Config, Option<Demo>), StartError> {
    if !config.gemini.is_demo() {
        return Ok((config, None));
    }
    let demo = demo::start().map_err(StartError::Demo)?;
    config.gemini.url = demo.url();
    let is_taken = config.appointments.enabled;
    let opened = is_taken.then(|| Appointments::open(&config.appointments, &config.store));
    let Some(Err(error)) = opened else { return Ok((config, Some(demo))) };
    // A demo starts wherever it is tried, also in a folder where nothing may be written.
    let path = std::env::temp_dir().join(format!("vocaris-demo-{}.db", std::process::id()));
    let wanted = std::mem::replace(&mut config.store.path, path);
    let (wanted, used) = (wanted.display(), config.store.path.display());
    log::warn!("appointments are kept in {used}, for {wanted} cannot be used: {error}");
    Ok((config, Some(demo)))
}

/// How many media threads there are.
fn workers(config: &Config, cores: usize) -> usize {
    match config.server.workers {
        0 => cores.max(1),
        count => count,
    }
}

/// How many calls `workers` may have, as the settings say.
fn calls_wanted(config: &Config, workers: usize) -> usize {
    let wanted = config.limits.max_calls_per_worker.saturating_mul(workers);
    match config.limits.max_calls {
        0 => wanted,
        calls => calls.min(wanted),
    }
}

/// Takes no more calls than there are descriptors for, and says so where that is fewer.
fn limit_calls(config: &mut Config, workers: usize, descriptors: Option<u64>) {
    let (each, wanted) = (descriptors_each(config), calls_wanted(config, workers));
    let possible = calls_for(descriptors, each, wanted);
    if possible < wanted {
        log::warn!("{}", TooFewDescriptors { descriptors, possible, wanted });
    }
    config.limits.max_calls = possible;
}

/// Why fewer calls are taken than the settings allow.
struct TooFewDescriptors {
    descriptors: Option<u64>,
    possible: usize,
    wanted: usize,
}

impl fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFewDescriptors { descriptors, possible, wanted } = self;
        let descriptors = descriptors.unwrap_or(u64::MAX);
        write!(
            f,
            "only {descriptors} files may be open: at most {possible} calls instead of {wanted} are \
             taken; raise the limit (ulimit -n, LimitNOFILE), or lower limits.max_calls"
        )
    }
}

/// As many descriptors as the system allows. Returns how many may be open now; `None` where the
/// system does not say.
fn raise_descriptor_limit() -> Option<u64> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => Some(limit),
        Err(error) => {
            log::warn!("the limit of open descriptors stays as it is: {error}");
            rlimit::Resource::NOFILE.get().ok().map(|(soft, _)| soft)
        }
    }
}

/// What one call has open: the sockets of its phone and its model, its recording, and the socket of
/// a copy of its tracks.
fn descriptors_each(config: &Config) -> usize {
    2 + usize::from(config.recording.enabled) + usize::from(config.twilio.both_tracks)
}

/// How many of `wanted` calls the descriptors suffice for, so many `each`; the rest is kept for
/// connections that are not calls, at most as many as their bounds let in, at most a quarter.
fn calls_for(descriptors: Option<u64>, each: usize, wanted: usize) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let reserve = (YOUNG_CONNECTIONS_MAX + ARRIVALS_MAX).min(descriptors / 4);
    let possible = ((descriptors - reserve) / each).max(1);
    possible.min(wanted)
}

/// A thread that ended when it should not have, in a sentence.
struct Fallen<'e>(&'e Ended);

impl fmt::Display for Fallen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { thread, fault } = self.0;
        let fault = fault.as_deref().unwrap_or("ended though nobody asked it to");
        write!(f, "the relay cannot go on: thread {thread}: {fault}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// A relay on a port of its own, with a model that nobody dials.
    fn relay() -> Running {
        let settings = [
            ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0"),
            ("VOCARIS_SERVER_WORKERS", "2"),
            ("VOCARIS_SERVER_PIN", "false"),
            ("VOCARIS_GEMINI_URL", "ws://127.0.0.1:9"),
        ];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        Server::start(Config::read(None, settings).unwrap()).unwrap()
    }

    fn ask(relay: &Running, path: &str) -> String {
        let mut socket = TcpStream::connect(relay.local_addr()).unwrap();
        let host = relay.local_addr();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_relay_is_ready_when_it_has_started_and_shows_every_workers_figures() {
        let relay = relay();
        assert!(!relay.is_demo());
        assert!(ask(&relay, "/readyz").starts_with("HTTP/1.1 200 "));
        let page = ask(&relay, "/metrics");
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(page.contains("\nvocaris_workers 2\n"), "{page}");
        relay.stop();
    }

    #[test]
    fn a_relay_without_calls_stops_at_once_and_returns_its_figures() {
        let figures = relay().stop();
        assert_eq!(figures.active, [0, 0]);
        assert!(!figures.histograms.of(crate::metrics::Stage::Loop).is_empty());
    }

    #[test]
    fn a_call_whose_webhook_was_answered_still_finds_a_relay_that_stops() {
        let mut relay = relay();
        let twiml = ask(&relay, "/twilio/incoming?CallSid=CA1&From=1&To=2");
        assert!(twiml.contains("<Stream"), "{twiml}");
        let events = relay.threads.sender();
        let load = relay.load.clone();
        let impatient = thread::spawn(move || {
            while load.expected() != 1 {
                thread::yield_now();
            }
            events.send(Event::Signal).unwrap();
        });
        assert!(matches!(relay.drain(), Drained::Signal), "it waits for the promised call");
        impatient.join().unwrap();
        relay.halt().unwrap();
    }

    #[test]
    fn an_address_in_use_is_told_with_its_key() {
        let first = relay();
        let address = first.local_addr().to_string();
        let settings = [
            ("VOCARIS_SERVER_LISTEN", address.as_str()),
            ("VOCARIS_GEMINI_URL", "ws://127.0.0.1:9"),
        ];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let error = Server::start(Config::read(None, settings).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&address) && text.contains("server.listen"), "{text}");
        let settings = [
            ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0"),
            ("VOCARIS_ADMIN_LISTEN", address.as_str()),
            ("VOCARIS_GEMINI_URL", "ws://127.0.0.1:9"),
        ];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let error = Server::start(Config::read(None, settings).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&address) && text.contains("admin.listen"), "{text}");
        first.stop();
    }

    #[test]
    fn settings_that_let_strangers_spend_the_key_are_told() {
        let told = |settings: &[(&str, &str)]| {
            let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
            exposures(&Config::read(None, settings).unwrap()).len()
        };
        let key = ("GEMINI_API_KEY", "k");
        let token = ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef");
        let public = ("VOCARIS_SERVER_PUBLIC_URL", "https://voice.example.com");
        let no_web = ("VOCARIS_WEB_ENABLED", "false");
        let figures = ("VOCARIS_ADMIN_TOKEN", "0123456789abcdef");
        assert_eq!(told(&[]), 0, "the demo has nothing to lose");
        assert_eq!(told(&[key, figures]), 2);
        assert_eq!(told(&[key, figures, no_web]), 1);
        assert_eq!(told(&[key, figures, ("VOCARIS_WEB_TOKENS", "0123456789abcdef")]), 1);
        assert_eq!(told(&[key, figures, ("VOCARIS_WEB_ALLOW", "10.0.0.0/8")]), 1);
        assert_eq!(told(&[key, figures, token]), 2, "browsers, and the Host that is believed");
        assert_eq!(told(&[key, figures, token, public, no_web]), 0);
        assert_eq!(told(&[key, token, public, no_web]), 1, "the figures");
        for closed in [
            ("VOCARIS_ADMIN_ALLOW", "10.0.0.0/8"),
            ("VOCARIS_ADMIN_LISTEN", "127.0.0.1:9090"),
            ("VOCARIS_SERVER_LISTEN", "[::1]:8080"),
        ] {
            assert_eq!(told(&[key, token, public, no_web, closed]), 0, "{closed:?}");
        }
        let settings = [key, figures, token, public, no_web, ("VOCARIS_TWILIO_SIGNATURE", "warn")];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let told = exposures(&Config::read(None, settings).unwrap());
        assert!(told.len() == 1 && told[0].contains("signature = \"require\""), "{told:?}");
    }

    #[test]
    fn no_more_calls_are_taken_than_there_are_descriptors_for() {
        assert_eq!(calls_for(None, 2, 4_000), 4_000);
        assert_eq!(calls_for(Some(u64::MAX), 2, 4_000), 4_000);
        assert_eq!(calls_for(Some(1_024), 2, 4_000), 384);
        assert_eq!(calls_for(Some(1_024), 2, 100), 100);
        assert_eq!(calls_for(Some(65_536), 2, 100_000), (65_536 - 8_192) / 2);
        assert_eq!(calls_for(Some(0), 2, 100), 1);
        assert_eq!(calls_for(Some(1_024), 4, 4_000), 192, "recorded from both tracks");
    }
}
