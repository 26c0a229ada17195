//! A relay that is killed in the middle of its calls: by a supervisor that starts it again at once
//! on the same port, or as one of two hosts behind a load balancer, where it stays dead.
//!
//! In:       [`RestartSettings`].
//! Out:      a [`RestartReport`]; an error only where no call could be made.
//! Bounds:   the plan of the calls, the start of a relay ([`relay`](crate::relay)) and
//!           [`SETTLE_WAIT`](crate::run::SETTLE_WAIT); a relay that does not come up again ends the
//!           run at once, and so does a signal.
//! Not here: the hosts and what stands before them (`hosts`, `front`), the figures (`report`).
//!
//! Killed means SIGKILL: nothing is said to anybody, the kernel closes what the process had open.
//! What its calls go on with can only lie outside of it: in the journal, which the hosts of the run
//! keep in one file, or in one database, unless the settings say otherwise. Its working directory
//! and its settings stay as they were, as with any supervisor; it is not handed its listening
//! socket.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::bookings::{self, Stored};
use crate::carrier::endurance::Endurance;
use crate::carrier::fleet::Fleet;
use crate::carrier::record::{CallRecord, CallSpec};
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::gemini::scenario::Scenario;
use crate::gemini::script::{Script, Speech};
use crate::gemini::server::StandInConfig;
use crate::harness::{Harness, HarnessError};
use crate::interrupt;
use crate::judge::{self, Made};
use crate::relay::RelayError;
use crate::report::LATENESS_NANOS_MAX;
use crate::run;
use crate::schedule::MediaPlan;
use crate::signal::CallerVoice;
use crate::verify::LEAD;

pub mod front;
mod hosts;
pub mod report;

use hosts::Hosts;
pub use report::{RestartDemands, RestartReport};

/// From the start of the relay to the first call.
const LEAD_IN: Nanos = 200 * MILLIS;

/// How often the supervisor looks at the time.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The scenario whose relay takes appointments.
const WITH_BOOKINGS: &str = "bookings";

/// What a run is.
#[derive(Clone, Debug)]
pub struct RestartSettings {
    /// The program that is a relay under the hidden subcommand: this one.
    pub program: PathBuf,
    /// Calls at once.
    pub calls: usize,
    /// Calls begun in a second.
    pub ramp: f64,
    /// From the beginning of the last call to the kill, in seconds.
    pub before: u64,
    /// From the kill to the hang-up of every call, in seconds.
    pub after: u64,
    /// How long the model speaks at a time, in milliseconds.
    pub turn_ms: u64,
    /// How long it is silent between, in milliseconds.
    pub pause_ms: u64,
    /// The share of calls in which it books an appointment before the kill.
    pub book: f64,
    /// Who is killed.
    pub kill: Kill,
    /// What the carrier does when a stream has died.
    pub endurance: Endurance,
    /// Threads of the callers, and of the stand-in.
    pub threads: usize,
    /// The seed of every voice.
    pub seed: u64,
    /// The PostgreSQL database, empty, in which all hosts keep journal and appointments, as hosts
    /// of several machines do; `None`: files.
    pub store_url: Option<String>,
    /// Settings of every relay, as environment variables; they win over those of this run.
    pub environment: Vec<(String, OsString)>,
    /// What the relays print goes on to standard error.
    pub echo: bool,
    /// What is demanded.
    pub demands: RestartDemands,
}

/// Who is killed, and what becomes of him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// The only host, which is started again at once on the same port. With `balanced`, HAProxy
    /// stands before it, and asks again where nobody listens.
    One {
        /// HAProxy stands before it.
        balanced: bool,
    },
    /// The first of two hosts behind HAProxy. It stays dead.
    OneOfTwo,
}

/// Why there is no report.
#[derive(Debug)]
pub enum RestartError {
    /// Stand-in or relay could not be started.
    Harness(HarnessError),
    /// The load balancer could not be.
    Front(io::Error),
    /// The callers could not be.
    Callers(io::Error),
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartError::Harness(error) => error.fmt(f),
            RestartError::Front(error) => write!(f, "HAProxy cannot be started: {error}"),
            RestartError::Callers(error) => write!(f, "the callers cannot be started: {error}"),
        }
    }
}

impl std::error::Error for RestartError {}

impl From<HarnessError> for RestartError {
    fn from(error: HarnessError) -> RestartError {
        RestartError::Harness(error)
    }
}

/// What the supervisor saw.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Calls that had a stream when the relay was killed.
    pub talking: usize,
    /// When it was killed; `None`: every call was over before.
    pub killed: Option<Nanos>,
    /// When it, started again, said that it listens; `None` where nobody starts it.
    pub listening: Option<Nanos>,
    /// What was wrong.
    pub problems: Vec<String>,
}

impl RestartSettings {
    /// From the first call to the kill.
    fn kill_after(&self) -> Nanos {
        self.begins_after(self.calls.saturating_sub(1)) + self.before * SECONDS
    }

    /// From the first call to that of this number.
    fn begins_after(&self, index: usize) -> Nanos {
        (index as f64 / self.ramp * SECONDS as f64) as Nanos
    }

    /// The scripts of the model's sessions: turns for as long as any call lasts. What it books, it
    /// books before the kill.
    fn scripts(&self, scenario: &Scenario) -> Vec<Arc<Script>> {
        let talk = self.kill_after() + self.after * SECONDS;
        let period = (self.turn_ms + self.pause_ms).max(1) * MILLIS;
        let speech = Speech::at_speed(self.turn_ms, 1.0);
        let turns = (talk / period) as usize + 1;
        let scripts = scenario.scripts(turns, &speech, self.pause_ms * MILLIS);
        scenario.with_bookings(scripts, self.before * 1000)
    }

    /// The scenario, for its relay's configuration.
    fn scenario(&self) -> Scenario {
        let built_in = Scenario::find(WITH_BOOKINGS).expect("it is built in");
        match self.book > 0.0 {
            true => Scenario { book: self.book, ..built_in },
            false => Scenario::default(),
        }
    }
}

/// Runs and judges.
///
/// # Errors
/// Where no call could be made.
pub fn run(settings: &RestartSettings) -> Result<RestartReport, RestartError> {
    let scenario = settings.scenario();
    let stand_in = StandInConfig {
        seed: settings.seed,
        threads: settings.threads,
        scripts: settings.scripts(&scenario),
        ..StandInConfig::local(Script::listen())
    };
    let mut hosts = Hosts::start(settings, stand_in, &scenario.relay_config)?;
    let calls = specs(settings, hosts.harness());
    let plans: Vec<_> = calls.iter().map(|call| Arc::clone(&call.media)).collect();
    let clock = hosts.harness().clock;
    let kill_at = clock.now() + LEAD_IN + settings.kill_after();
    let fleet = Fleet::start(clock, calls, settings.threads).map_err(RestartError::Callers)?;
    let (records, mut watched) = watch(settings, &mut hosts, fleet, kill_at)?;
    run::settle(&hosts.harness().stand_in);
    let stored = (settings.book > 0.0).then(|| hosts.stored());
    let relay_settings = hosts.harness().settings.clone();
    let (sessions, problems) = hosts.finish()?;
    watched.problems.extend(problems);
    let made: Vec<Made> = records
        .into_iter()
        .map(|record| Made {
            media: Arc::clone(&plans[record.index]),
            voice: CallerVoice::new(settings.seed, record.index),
            record,
        })
        .collect();
    let mut audio = judge::judge(&made, &sessions, settings.seed, LEAD);
    audio.recording.relay_settings = relay_settings;
    audio.note_lateness(LATENESS_NANOS_MAX as f64 / 1e3);
    if let Some(stored) = stored {
        let (of_bookings, wrong) = bookings::judge(&sessions, stored);
        audio.bookings = Some(of_bookings);
        watched.problems.extend(wrong);
    }
    Ok(RestartReport::of(&made, watched, audio, &settings.demands))
}

/// Every call hangs up at the same time after the kill.
fn specs(settings: &RestartSettings, harness: &Harness) -> Vec<CallSpec> {
    let first = harness.clock.now() + LEAD_IN;
    let ends = first + settings.kill_after() + settings.after * SECONDS;
    let mut plans: BTreeMap<u64, Arc<MediaPlan>> = BTreeMap::new();
    let calls = (0..settings.calls).map(|index| {
        let starts_at = first + settings.begins_after(index);
        let spoken_ms = (ends - starts_at) / MILLIS / 20 * 20;
        let plan = plans.entry(spoken_ms);
        let media = Arc::clone(plan.or_insert_with(|| Arc::new(MediaPlan::steady(spoken_ms))));
        let spec = harness.spec(index, MediaPlan::steady(0));
        CallSpec { starts_at, media, endurance: settings.endurance.clone(), ..spec }
    });
    calls.collect()
}

/// Waits for the end of the calls, and kills the relay when its time has come.
fn watch(
    settings: &RestartSettings,
    hosts: &mut Hosts,
    fleet: Fleet,
    kill_at: Nanos,
) -> Result<(Vec<CallRecord>, Watched), RestartError> {
    let clock = hosts.harness().clock;
    let mut watched = Watched::default();
    while !fleet.is_finished() {
        std::thread::sleep(LOOK_EVERY);
        if interrupt::is_asked() {
            let stopped = "stopped by a signal: the calls still under way were cut off";
            watched.problems.push(stopped.into());
            fleet.stop();
            return Ok((fleet.join().map_err(RestartError::Callers)?, watched));
        }
        if watched.killed.is_some() || clock.now() < kill_at {
            continue;
        }
        watched.talking = fleet.progress().talking.load(Ordering::Relaxed);
        watched.killed = Some(clock.now());
        match hosts.strike(settings.kill) {
            Ok(listening) => watched.listening = listening,
            Err(error) => {
                watched.problems.push(no_successor(&error));
                fleet.stop();
            }
        }
    }
    if watched.killed.is_none() {
        watched.problems.push("every call was over before the relay was to be killed".into());
    }
    Ok((fleet.join().map_err(RestartError::Callers)?, watched))
}

fn no_successor(error: &RelayError) -> String {
    format!("the relay did not come up again: {error}")
}

/// The bookings of several files together.
fn together(files: impl Iterator<Item = rusqlite::Result<Stored>>) -> rusqlite::Result<Stored> {
    let mut all = Stored::new();
    for stored in files {
        for (name, rows) in stored? {
            *all.entry(name).or_default() += rows;
        }
    }
    Ok(all)
}
