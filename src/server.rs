//! Builds everything once, pins and starts the threads, drains and stops on a signal.
//!
//! In:       a checked configuration; SIGINT, SIGTERM; SIGHUP, to read it again.
//! Out:      a running relay; when it stops, the totals.
//! Bounds:   `server.drain_timeout` for calls that are still going on, [`PROMISED_TIMEOUT`] for
//!           those about to come, [`AFTERWARDS`] for their carriers, [`STOP_TIMEOUT`] for each
//!           group of threads.
//! Not here: what any thread does.

mod capacity;
pub mod check;
mod cores;
mod exposures;
pub mod log_format;
pub mod log_lines;
mod memory;
pub mod panics;
mod preflight;
mod program;
mod reload;
mod summary;
mod takeover;
mod threads;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use crossbeam_channel::{Receiver, bounded};
use dsp::kernels::Kernels;

use crate::accept::{self, Accept, BindError, Estate};
use crate::call;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::control::appointments::feed::Feed;
use crate::control::appointments::{Appointments, BookError};
use crate::control::certificates::{self, Certificates};
use crate::control::conversations::Conversations;
use crate::control::store::StoreError;
use crate::control::tools::Tools;
use crate::control::{self, Control};
use crate::demo::{self, Demo};
use crate::dial::{Dial, DialError};
use crate::limits::{KEEP_ALIVE_TIMEOUT, RETURN_WAIT};
use crate::mail::{
    AcceptLetter, Bequest, CalendarLetter, ControlLetter, DialLetter, JournalLetter, Load, Mailbox,
    Postbox, TapeLetter, ToolLetter, TranscriptLetter, WorkerLetter,
};
use crate::metrics::{Build, Figures, Shared, slo};
use crate::net::{TlsServer, TlsServerError};
use crate::record::{Recordings, Transcripts};
use crate::worker::{self, Worker};
use capacity::{limit_calls, raise_descriptor_limit};
use cores::{NoSuchCore, Placement, Plan};
use preflight::Problem;
pub use program::{given_sockets, run, run_with_reloads};
pub use reload::ReadAgain;
use takeover::{Elder, Gate, Place};
use threads::{Ended, Event, Threads};

/// How long a group of threads may take to stop. Then the relay ends without it, and says so.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a draining relay looks whether its last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long a relay without calls still waits for those it has promised a place, for callers whose
/// phone was lost (each for [`RETURN_WAIT`]), and for answers that are being written. Their callers
/// hear the carrier's own error afterwards.
const PROMISED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a relay that was taken over still waits for a last request on each connection it has:
/// until all that idle have been closed.
const LAST_REQUESTS: Duration = KEEP_ALIVE_TIMEOUT.saturating_add(Duration::from_secs(1));
/// How long a relay that ended calls still answers HTTP: their carrier is about to ask what
/// follows. Callers it does not ask for by then are hung up.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// The thread that tells the process that has taken over.
const HEIR: &str = "heir";
/// The threads that write files of calls.
const KEEPERS: [&str; 3] = ["recordings", "transcripts", "journal"];
/// How long a thread's full box is tried again when it is told to stop.
const POST_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(RETURN_WAIT.as_millis() < PROMISED_TIMEOUT.as_millis());

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
        /// Where it is.
        url: StoreUrl,
        /// Why.
        error: BookError,
    },
    /// The journal of conversations cannot be had.
    Journal {
        /// Where it is.
        url: StoreUrl,
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
            StartError::Store { url, error } => {
                write!(f, "cannot use {url} (store.url): {error}")
            }
            StartError::Journal { url, error } => {
                let key = match url {
                    StoreUrl::Sqlite(_) => "journal.file",
                    StoreUrl::Postgres(_) => "store.url, for the journal",
                };
                write!(f, "cannot use {url} ({key}): {error}")
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
        let mut running = Server::start_with(config, Arc::default(), Estate::default())?;
        running.open_gate(None)?;
        Ok(running)
    }

    /// The same, with what is counted outside the relay's own threads. Nobody can take over yet.
    fn start_with(
        config: Config,
        shared: Arc<Shared>,
        estate: Estate,
    ) -> Result<Running, StartError> {
        let problems = preflight::problems(&config, &estate.sockets);
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
        if let Some(address) = rooms.accept.agent_check_addr() {
            log::info!("event=agent_check address={address}");
        }
        let takeover = config.server.takeover.clone();
        let takeover = takeover.map(|path| Ok((path, rooms.accept.estate()?)));
        let takeover = takeover.transpose().map_err(StartError::Thread)?;
        let (threads, figures) = start_threads(rooms, &posts, &load, plan, calls_max)?;
        Ok(Running {
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
            closed_gate: takeover,
            gate: None,
        })
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
    /// `None` where no journal is kept.
    journal: Option<Conversations>,
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
    journal: Option<Postbox<JournalLetter>>,
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
        .map(|(worker, post)| (worker.with_bounds(bounds).with_tick(config.server.tick), post))
        .unzip();
    let (dial, dial_post) =
        Dial::new(config.clone(), clock, shared.clone()).map_err(StartError::Dial)?;
    let (calendar, calendar_post) = calendar(config)?.unzip();
    let (tapes, tapes_post) = build_recordings(config, clock, kernels, shared)?.unzip();
    let (transcripts, transcripts_post) = build_transcripts(config, clock, shared)?.unzip();
    let (journal, journal_post) = build_journal(config, clock, shared)?.unzip();
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
    let rooms =
        Rooms { accept, dial, workers, tools, control, tapes, transcripts, calendar, journal };
    let posts = Posts {
        accept: accept_post,
        dial: dial_post,
        workers: worker_posts,
        tools: tools_post,
        control: control_post,
        tapes: tapes_post,
        transcripts: transcripts_post,
        calendar: calendar_post,
        journal: journal_post,
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

/// The journal's room, where one is kept.
fn build_journal(
    config: &Config,
    clock: Clock,
    shared: &Arc<Shared>,
) -> Result<Option<(Conversations, Postbox<JournalLetter>)>, StartError> {
    let settings = &config.journal;
    let journal = settings.enabled.then(|| Conversations::new(settings, clock, shared.clone()));
    let url = || settings.url.clone();
    journal.transpose().map_err(|error| StartError::Journal { url: url(), error })
}

/// The calendar's room, where appointments are taken.
fn calendar(config: &Config) -> Result<Option<(Feed, Postbox<CalendarLetter>)>, StartError> {
    if !config.appointments.enabled {
        return Ok(None);
    }
    let book = Appointments::open(&config.appointments, &config.store);
    let url = || config.store.url.clone();
    let book = book.map_err(|error| StartError::Store { url: url(), error })?;
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
    let Rooms { accept, dial, workers, tools, control, tapes, transcripts, calendar, journal } =
        rooms;
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
    if let Some(journal) = journal {
        let accept = posts.accept.clone();
        start(&mut threads, "journal", &others, move || journal.run(&accept))?;
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
            journal: posts.journal.clone(),
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
        journal: posts.journal.clone(),
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
    /// The Unix socket at which another process is to be able to take over, and what it is to get.
    closed_gate: Option<(PathBuf, Estate)>,
    /// Where another process can take over; `None` where none can, or one has.
    gate: Option<Place>,
}

/// Why draining is over.
enum Drained {
    /// No call is left.
    Empty,
    /// Calls are left, or somebody may still come, and their time is over.
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

    /// Relieves `elder`, if there is one, and lets an heir in where the settings say.
    fn open_gate(&mut self, elder: Option<Elder>) -> Result<(), StartError> {
        let Some((path, estate)) = self.closed_gate.take() else { return Ok(()) };
        let (accept, events) = (self.posts.accept.clone(), self.threads.sender());
        let gate = Gate::bind(&path, estate, accept, events, self.shared.clone());
        let opened = gate.and_then(|gate| gate.open(elder));
        self.gate = Some(opened.map_err(|error| StartError::TakeOver { path, error })?);
        Ok(())
    }

    /// Another process has taken over: it is told what it must know until the end of this one.
    fn hand_over(&mut self, bequests: Mailbox<Vec<Bequest>>) {
        hand_over(&mut self.threads, &mut self.gate, self.load.calls(), bequests);
    }

    fn drain(&mut self) -> Drained {
        // One that was taken over goes on answering what still comes to it.
        if self.gate.is_some() || !self.threads.has(HEIR) {
            post(&self.posts.accept, AcceptLetter::Drain);
        }
        let promised = if self.threads.has(HEIR) { LAST_REQUESTS } else { PROMISED_TIMEOUT };
        let start = Instant::now();
        let deadline = start + self.config.server.drain_timeout;
        let mut promised_by = start + promised;
        while self.load.calls() > 0 || (self.load.expected() > 0 && Instant::now() < promised_by) {
            if self.load.calls() > 0 {
                // Whoever lost his phone meanwhile may have been promised a stream.
                promised_by = Instant::now() + promised;
            }
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
        // Before the inbound thread ends: whoever took over by now is still told everything.
        if let Some(place) = &self.gate {
            place.close();
        }
        post(&self.posts.accept, AcceptLetter::Stop);
        post(&self.posts.tools, ToolLetter::Stop);
        if let Some(calendar) = &self.posts.calendar {
            post(calendar, CalendarLetter::Stop);
        }
        // With the inbound thread ends what the heir is told.
        self.wait_for(|name| ["accept", "tools", HEIR].contains(&name))?;
        // Where its database lets it wait, it ends with the process: it only looks, and forgets.
        let _ = self.wait_for(|name| name == "calendar");
        if let Some(journal) = &self.posts.journal {
            post(journal, JournalLetter::Stop);
        }
        post(&self.posts.control, ControlLetter::Stop);
        self.wait_for(|name| KEEPERS.contains(&name) || name == "control")?;
        Ok(self.figures.try_recv().unwrap_or_default())
    }

    fn wait_for(&mut self, chosen: impl Fn(&str) -> bool) -> Result<(), Ended> {
        let (deadline, load) = (Instant::now() + STOP_TIMEOUT, &self.load);
        let gate = &mut self.gate;
        let taken_over =
            |threads: &mut Threads, bequests| hand_over(threads, gate, load.calls(), bequests);
        let faults = self.threads.wait_for(chosen, deadline, taken_over);
        faults.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Starts the thread that tells the process which has taken over what is in `bequests`.
fn hand_over(
    threads: &mut Threads,
    gate: &mut Option<Place>,
    calls: usize,
    bequests: Mailbox<Vec<Bequest>>,
) {
    let Some(place) = gate.take() else { return };
    log::info!("event=taken_over calls={calls}: another process takes new ones");
    let heir = threads.start(HEIR.to_owned(), Placement::Anywhere, move || {
        takeover::bequeath(place.path(), &bequests);
    });
    if let Err(error) = heir {
        log::warn!("the process that has taken over is told nothing: {error}");
    }
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
    let is_taken = config.appointments.enabled && config.store.path().is_some();
    let opened = is_taken.then(|| Appointments::open(&config.appointments, &config.store));
    let Some(Err(error)) = opened else { return Ok((config, Some(demo))) };
    // A demo starts wherever it is tried, also in a folder where nothing may be written.
    let path = std::env::temp_dir().join(format!("vocaris-demo-{}.db", std::process::id()));
    let wanted = std::mem::replace(&mut config.store.url, StoreUrl::Sqlite(path));
    let used = &config.store.url;
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
            // However late the machine makes it, nobody is turned away for that.
            ("VOCARIS_LIMITS_MAX_LATENESS", "0s"),
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
}
