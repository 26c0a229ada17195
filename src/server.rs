//! Builds everything once, pins and starts the threads, drains and stops on a signal.
//!
//! In:       a checked configuration; SIGINT, SIGTERM, SIGHUP.
//! Out:      a running relay; when it stops, the totals.
//! Bounds:   `server.drain_timeout` for calls that are still going on, [`PROMISED_TIMEOUT`] for
//!           those about to come, [`AFTERWARDS`] for their carriers, [`STOP_TIMEOUT`] for each
//!           group of threads.
//! Not here: what any thread does.

pub mod log_lines;
mod summary;
mod threads;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use core_affinity::CoreId;
use crossbeam_channel::{Receiver, bounded};
use dsp::kernels::Kernels;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::accept::{self, Accept, BindError};
use crate::call;
use crate::clock::Clock;
use crate::config::{Config, SignatureMode};
use crate::control::appointments::feed::Feed;
use crate::control::appointments::{Appointments, StoreError};
use crate::control::tools::Tools;
use crate::control::{self, Control};
use crate::demo::{self, Demo};
use crate::dial::{Dial, DialError};
use crate::limits::{ARRIVALS_MAX, YOUNG_CONNECTIONS_MAX};
use crate::mail::{
    AcceptLetter, CalendarLetter, ControlLetter, DialLetter, Load, Postbox, TapeLetter, ToolLetter,
    TranscriptLetter, WorkerLetter,
};
use crate::metrics::{Build, Figures, Shared};
use crate::record::{Recordings, Transcripts};
use crate::worker::{self, Worker};
use log_lines::LogLines;
use summary::Summary;
use threads::{Ended, Event, Threads};

/// How long a group of threads may take to stop. Then the relay ends without it, and says so.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a draining relay looks whether its last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long a relay without calls still waits for those it has promised a place, and for answers
/// that are being written. Their callers hear the carrier's own error afterwards.
const PROMISED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a relay that ended calls still answers HTTP: their carrier is about to ask what follows.
/// Callers it does not ask for by then are hung up.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// The threads that write files of calls.
const KEEPERS: [&str; 2] = ["recordings", "transcripts"];
/// How long a thread's full box is tried again when it is told to stop.
const POST_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the relay could not start.
#[derive(Debug)]
pub enum StartError {
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
    /// A thread, its poll instance, or the watch for signals cannot be had.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen { key, address, error } => {
                write!(f, "cannot listen on {address} ({key}): {error}")
            }
            StartError::Dial(error) => write!(f, "cannot dial the model: {error}"),
            StartError::Demo(error) => write!(f, "cannot start the demo agent: {error}"),
            StartError::Directory { directory, error } => {
                write!(f, "cannot keep files in {}: {error}", directory.display())
            }
            StartError::Store { path, error } => {
                write!(f, "cannot use {} (store.url): {error}", path.display())
            }
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
        Server::start_with(config, Arc::default())
    }

    /// The same, with what is counted outside the relay's own threads.
    fn start_with(config: Config, shared: Arc<Shared>) -> Result<Running, StartError> {
        let descriptors = raise_descriptor_limit();
        let (mut config, demo) = with_demo(config)?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let count = match config.server.workers {
            0 => cores.len().max(1),
            count => count,
        };
        let wanted = config.limits.max_calls_per_worker.saturating_mul(count);
        config.limits.max_calls = calls_for(
            descriptors,
            descriptors_each(&config),
            match config.limits.max_calls {
                0 => wanted,
                calls => calls.min(wanted),
            },
        );
        let config = Arc::new(config);
        let load = Arc::new(Load::new(count));
        let (rooms, posts) = build_rooms(&config, count, &load, &shared)?;
        let local_addr = rooms.accept.local_addr();
        let pins = pins(config.server.pin, count, cores);
        let (threads, figures) = start_threads(rooms, &posts, &load, pins)?;
        let drain_timeout = config.server.drain_timeout;
        Ok(Running { local_addr, load, posts, figures, drain_timeout, threads, demo })
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
) -> Result<(Rooms, Posts), StartError> {
    let clock = Clock::start();
    let settings = call::Settings::from(&**config);
    let kernels = Kernels::detect(config.server.kernels);
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
        .unzip();
    let (accept, accept_post) = Accept::bind(config.clone(), clock, load.clone(), shared.clone())
        .map_err(|BindError { key, address, error }| {
        StartError::Listen { key, address, error }
    })?;
    let (dial, dial_post) =
        Dial::new(config.clone(), clock, shared.clone()).map_err(StartError::Dial)?;
    let (tools, tools_post) = Tools::new(config.clone(), clock);
    let redact = config.log.redact_numbers;
    let (control, control_post) = Control::new(count, clock, shared.clone(), build, redact);
    let (tapes, tapes_post) = build_recordings(config, clock, kernels, shared)?.unzip();
    let (transcripts, transcripts_post) = build_transcripts(config, clock, shared)?.unzip();
    let (calendar, calendar_post) = calendar(config)?.unzip();
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
    pins: Vec<Option<CoreId>>,
) -> Result<(Threads, Receiver<Figures>), StartError> {
    let mut threads = Threads::new();
    let (totals, figures) = bounded(1);
    let Rooms { accept, dial, workers, tools, control, tapes, transcripts, calendar } = rooms;
    if let Some(tapes) = tapes {
        start(&mut threads, "recordings", None, move || tapes.run())?;
    }
    if let Some(transcripts) = transcripts {
        start(&mut threads, "transcripts", None, move || transcripts.run())?;
    }
    if let Some(calendar) = calendar {
        let accept = posts.accept.clone();
        start(&mut threads, "calendar", None, move || calendar.run(&accept))?;
    }
    let neighbours =
        control::Neighbours { workers: posts.workers.clone(), accept: posts.accept.clone() };
    start(&mut threads, "control", None, move || {
        let _ = totals.send(control.run(neighbours));
    })?;
    let post_to = posts.workers.clone();
    start(&mut threads, "tools", None, move || tools.run(&post_to))?;
    for (number, (worker, core)) in workers.into_iter().zip(pins).enumerate() {
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
        start(&mut threads, &name, core, move || worker.run(&neighbours))?;
    }
    let workers = posts.workers.clone();
    start(&mut threads, "dial", None, move || dial.run(workers))?;
    let neighbours = accept::Neighbours {
        workers: posts.workers.clone(),
        dial: posts.dial.clone(),
        control: posts.control.clone(),
        calendar: posts.calendar.clone(),
    };
    start(&mut threads, "accept", None, move || accept.run(neighbours))?;
    Ok((threads, figures))
}

/// A relay that takes calls.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    load: Arc<Load>,
    posts: Posts,
    /// The totals, once the control thread has ended.
    figures: Receiver<Figures>,
    drain_timeout: Duration,
    threads: Threads,
    /// The agent that answers without a key; it lives as long as the relay.
    demo: Option<Demo>,
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

    fn drain(&mut self) -> Drained {
        post(&self.posts.accept, AcceptLetter::Drain);
        let start = Instant::now();
        let (deadline, promised_by) = (start + self.drain_timeout, start + PROMISED_TIMEOUT);
        while self.load.calls() > 0 || (self.load.expected() > 0 && Instant::now() < promised_by) {
            let look = Instant::now() + DRAIN_LOOK;
            match self.threads.next_event(Some(look.min(deadline))) {
                Some(Event::Signal) => return Drained::Signal,
                Some(Event::Ended(ended)) => return Drained::Broken(ended),
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
                // The threads that write files have been asked to end.
                Some(Event::Ended(_)) | None => {}
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
        self.wait_for(|name| ["accept", "tools", "calendar"].contains(&name))?;
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
pub fn run(config: Config, lines: &LogLines) -> ExitCode {
    let shared = Shared { log_lines_lost: lines.lost(), ..Shared::default() };
    match serve(config, shared) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("vocaris: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, shared: Shared) -> Result<(), String> {
    // Before the first line is printed: whoever reads it may send a signal.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.map_err(|error| StartError::Thread(error).to_string())?;
    let exposures = exposures(&config);
    let running = Server::start_with(config, Arc::new(shared));
    let mut running = running.map_err(|error| error.to_string())?;
    let events = running.threads.sender();
    let handle = signals.handle();
    let watch = thread::Builder::new().name("signals".into()).spawn(move || {
        // The relay stops listening only when it is over.
        for signal in signals.forever() {
            if signal == SIGHUP {
                log::warn!("SIGHUP: reload is not supported yet, everything stays as it is");
            } else if events.send(Event::Signal).is_err() {
                break;
            }
        }
    });
    watch.map_err(|error| StartError::Thread(error).to_string())?;
    announce(&running);
    exposures.iter().for_each(|exposure| log::warn!("{exposure}"));

    let broken = match running.threads.next_event(None) {
        Some(Event::Ended(ended)) => Some(ended),
        Some(Event::Signal) | None => {
            let calls = running.load.calls();
            log::info!("event=draining calls={calls}: no more are taken");
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

/// What strangers can do with these settings that their operator may not have meant.
fn exposures(config: &Config) -> Vec<&'static str> {
    let has_key = config.gemini.has_credentials();
    let requires = config.twilio.signature == SignatureMode::Require;
    let allow = config.web.allow.as_ref();
    let figures = config.admin.listen.unwrap_or(config.server.listen);
    let private = figures.ip().is_loopback();
    let exposures = [
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
        let host = if is_here { "localhost".to_owned() } else { address.ip().to_string() };
        print(format_args!(
            "This is a demo: no GEMINI_API_KEY is set, so the embedded agent answers and repeats \
             what it hears.\nTalk to it on http://{host}:{}\n",
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
    core: Option<CoreId>,
    body: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    threads.start(name.to_owned(), core, body).map_err(StartError::Thread)
}

/// A core for each worker, or none where pinning is off or there are fewer cores than workers.
fn pins(pin: bool, workers: usize, cores: Vec<CoreId>) -> Vec<Option<CoreId>> {
    if pin && workers <= cores.len() {
        return cores.into_iter().take(workers).map(Some).collect();
    }
    if pin {
        log::warn!("{workers} workers on {} cores: none is pinned", cores.len());
    }
    vec![None; workers]
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
    if possible < wanted {
        log::warn!(
            "only {descriptors} files may be open: at most {possible} calls instead of {wanted} \
             are taken; raise the limit (ulimit -n, LimitNOFILE), or lower limits.max_calls"
        );
    }
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

    #[test]
    fn workers_are_pinned_only_where_each_has_a_core_of_its_own() {
        let cores = || (0..2).map(|id| CoreId { id }).collect::<Vec<_>>();
        assert_eq!(pins(true, 2, cores()), cores().into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(pins(true, 1, cores()), [Some(CoreId { id: 0 })]);
        assert_eq!(pins(true, 3, cores()), [None; 3]);
        assert_eq!(pins(false, 2, cores()), [None; 2]);
    }
}
