//! `call`: calls against any Twilio-compatible relay, wherever it runs.
//!
//! In:       its arguments.
//! Out:      what the calls saw, printed; true if all was well. With the stand-in as the relay's
//!           model, the report of a run.
//! Bounds:   those of the calls.
//! Not here: one call (`carrier`); the stand-in's arguments (`stand_in`); what another's model
//!           heard: nobody knows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadtest::carrier::fleet::Fleet;
use loadtest::carrier::mix::Line;
use loadtest::carrier::record::{CallRecord, Hangup, Outcome};
use loadtest::carrier::target::{Entry, Secrets, Target, resolve, split_url};
use loadtest::clock::Clock;
use loadtest::elsewhere::{Model, Way};
use loadtest::gemini::scenario::{Scenario, Suppression};
use loadtest::harness::Site;
use loadtest::interrupt;
use loadtest::judge::{self, Judgement};
use loadtest::relay::Program;
use loadtest::report::Percentiles;
use loadtest::run::RunSettings;
use loadtest::schedule::Bursts;
use loadtest::slo::Slo;

use super::load::{DemandArgs, Load, Talk};
use super::machine::Own;
use super::results::{self, Origin, ResultArgs};
use super::stand_in::StandInArgs;
use super::{Ending, assignment, roots, scenarios};

/// How long each call speaks, in seconds, where neither the command line nor the scenario says.
const SECONDS: u32 = 10;

/// What needs the model's ears.
const FOR_THE_STAND_IN: [&str; 16] = [
    "json",
    "html",
    "hgrm",
    "name",
    "slo",
    "scenario",
    "max-gap-ms",
    "max-lost-ms",
    "max-recovery-ms",
    "max-failed-swaps",
    "own-lateness-max",
    "probes",
    "turn-ms",
    "pause-ms",
    "speed",
    "threads",
];

/// The arguments of `call`.
#[derive(Args)]
pub(crate) struct Call {
    /// The webhook (http, https) or the stream itself (ws, wss).
    #[arg(long)]
    url: String,
    /// Calls to make.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    talk: Talk,
    /// Who brings the calls, and in which format where the relay leaves that open.
    #[arg(long, value_name = "NAME[/FORMAT]", default_value = "twilio")]
    carrier: Line,
    /// The auth token that Twilio's requests are signed with.
    #[arg(long, env = "TWILIO_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// The token that a browser shows.
    #[arg(long)]
    web_token: Option<String>,
    /// The origin that the carrier would have configured, if it is not that of the URL.
    #[arg(long)]
    public_url: Option<String>,
    /// A PEM file of root certificates to trust beside the public ones; for https and wss.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A parameter of the stream as NAME=VALUE; for ws and wss.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    parameter: Vec<(String, OsString)>,
    /// Frame sizes in eighths of a millisecond, in turn: as mu-law, bytes; else the carrier's.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=999))]
    frame_bytes: Vec<u16>,
    /// Holds frames back for 233 ms in every second.
    #[arg(long)]
    bursts: bool,
    /// Sends nothing for 400 ms after every second of speech.
    #[arg(long)]
    suppress_silence: bool,
    /// How the callers leave; by default as the scenario says, or else by `stop`.
    #[arg(long, value_enum)]
    hangup: Option<Leave>,
    #[command(flatten)]
    stand_in: StandInArgs,
    /// What both sides do: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    #[command(flatten)]
    demands: DemandArgs,
    /// What must be kept, as uplink.p999<=20ms,lost=0,failed=0; see the README for the names.
    #[arg(long, value_name = "BOUNDS", value_delimiter = ',')]
    slo: Vec<Slo>,
    #[command(flatten)]
    results: ResultArgs,
    #[command(flatten)]
    own: Own,
}

#[derive(Clone, Copy, ValueEnum)]
enum Leave {
    /// `stop`, then a close frame.
    Stop,
    /// A close frame alone.
    Close,
    /// A TCP reset.
    Reset,
    /// Nothing more is sent.
    Silence,
}

/// Makes the calls, and prints what came of them.
pub(crate) fn call(arguments: &Call) -> Result<Ending, String> {
    interrupt::watch().map_err(|error| error.to_string())?;
    let settings = settings(arguments)?;
    let target = Arc::new(target(arguments)?);
    // Numbers that no earlier run has used: a relay takes a CallSid once.
    let names = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    arguments.own.prepare()?;
    match arguments.stand_in.stand_in {
        Some(listen) => heard(arguments, &settings, target, names, listen),
        None => {
            let given = results::arguments::<Call>().into_iter().filter(|it| it.is_set);
            let mut given = given.map(|it| it.name);
            if let Some(name) = given.find(|name| FOR_THE_STAND_IN.contains(&&**name)) {
                return Err(format!(
                    "--{name} needs --stand-in: what another model heard nobody knows here"
                ));
            }
            unheard(&settings, target, names).map(Ending::from)
        }
    }
}

/// The run that these calls are.
fn settings(arguments: &Call) -> Result<RunSettings, String> {
    let mut scenario = scenarios::find(arguments.scenario.as_deref())?;
    if scenario.book > 0.0 {
        return Err("a scenario with bookings looks at the relay's disk: only `run` can".into());
    }
    let load = &arguments.load;
    let seconds = load.seconds.or(scenario.seconds).unwrap_or(SECONDS);
    say(arguments, &mut scenario);
    let is_heard = arguments.stand_in.stand_in.is_some();
    let run = RunSettings {
        calls: arguments.calls as usize,
        seconds: seconds.into(),
        lengths: load.length.clone(),
        ramp: load.ramp,
        arrivals: load.arrivals,
        scenario,
        mix: Some(arguments.carrier.into()),
        demands: arguments.demands.demands(),
        judged: match arguments.stand_in.exact {
            true => Judgement::Exact,
            false => Judgement::ByContent,
        },
        listen: true,
        slos: arguments.slo.clone(),
        ..arguments.own.on(arguments.talk.of(RunSettings::new(Program::default())))
    };
    if is_heard {
        return Ok(run);
    }
    // When another model pauses nobody knows: no call is made longer for it, and each is read as
    // its audio arrives.
    Ok(RunSettings { pause_ms: 0, probes: 1, ..run })
}

/// What the arguments say of the callers goes before the scenario.
fn say(arguments: &Call, scenario: &mut Scenario) {
    let caller = &mut scenario.caller;
    if !arguments.frame_bytes.is_empty() {
        caller.frame_bytes = arguments.frame_bytes.iter().map(|&len| len.into()).collect();
    }
    if arguments.bursts {
        caller.bursts = Some(Bursts { every_ms: 1000, pause_ms: 233 });
    }
    if arguments.suppress_silence {
        caller.suppress_silence = Some(Suppression { speech_ms: 1000, silence_ms: 400 });
    }
    match arguments.hangup {
        None => {}
        Some(Leave::Stop) => caller.hangup = Hangup::StopAndClose,
        Some(Leave::Close) => caller.hangup = Hangup::CloseOnly,
        Some(Leave::Reset) => caller.hangup = Hangup::Reset,
        Some(Leave::Silence) => caller.hangup = Hangup::Silence,
    }
}

/// Calls whose model is the stand-in.
fn heard(
    arguments: &Call,
    settings: &RunSettings,
    target: Arc<Target>,
    names: u64,
    listen: SocketAddr,
) -> Result<Ending, String> {
    arguments.results.check()?;
    let origin = Origin::now();
    let model = arguments.stand_in.model(listen)?;
    let model = Model::start(settings, model).map_err(|error| format!("{listen}: {error}"))?;
    arguments.stand_in.announce(&model);
    let way = Way {
        target,
        names,
        pid: arguments.stand_in.relay_pid,
        wait: Duration::from_secs(arguments.stand_in.wait),
    };
    let report = model.run(settings, &way).map_err(|error| error.to_string())?;
    println!("{report}");
    let ending = Ending::from(&report);
    arguments.results.write(origin.end::<Call>(), report)?;
    Ok(ending)
}

/// Calls whose model is another's; true if all was well as far as a caller can tell.
fn unheard(settings: &RunSettings, target: Arc<Target>, names: u64) -> Result<bool, String> {
    let clock = Clock::start();
    let site = Site { clock, target, seed: settings.seed, names };
    let fleet = Fleet::start(clock, settings.specs(&site, clock.now()), 1)
        .map_err(|error| error.to_string())?;
    while !fleet.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        if interrupt::is_asked() {
            eprintln!("stopped by a signal: the calls still under way are cut off");
            fleet.stop();
            break;
        }
    }
    let records = fleet.join().map_err(|error| error.to_string())?;
    let is_good = print_calls(&records);
    println!("seed {}", settings.seed);
    Ok(is_good)
}

/// What went wrong with calls. One that ended as planned, and in which the relay never sent any
/// audio, has failed as well.
fn failures(records: &[CallRecord]) -> BTreeMap<String, usize> {
    let mut failures = judge::failures(records);
    let is_deaf = |record: &&CallRecord| {
        let mut heard = record.lost.iter().map(|stream| &stream.heard).chain([&record.heard]);
        record.outcome == Outcome::HungUp && heard.all(|heard| heard.arrivals.is_empty())
    };
    let deaf = records.iter().filter(is_deaf).count();
    if deaf > 0 {
        failures.insert("heard nothing".into(), deaf);
    }
    failures
}

/// Prints what calls have seen; true if all was well.
fn print_calls(records: &[CallRecord]) -> bool {
    let failures = failures(records);
    let failed: usize = failures.values().sum();
    let setup: Vec<_> = records
        .iter()
        .filter_map(|record| Some(record.times.opened? - record.times.started))
        .collect();
    let setup = Percentiles::of(&setup);
    println!(
        "{} calls, {} good, set up in p50 {:.1} ms max {:.1} ms",
        records.len(),
        records.len() - failed,
        setup.p50_us / 1e3,
        setup.max_us / 1e3
    );
    for (failure, count) in &failures {
        println!("  {count} x {failure}");
    }
    let mut warned = 0;
    for record in records {
        for violation in &record.heard.violations {
            println!("  call {}: {violation:?} ({})", record.index, violation.code());
            warned += 1;
        }
    }
    let frames: usize = records.iter().map(|record| record.sent.len()).sum();
    let seconds =
        |record: &CallRecord| record.playout.samples as f64 / f64::from(record.formats.down.rate);
    let heard: f64 = records.iter().map(seconds).sum();
    let underruns: u64 = records.iter().map(|record| record.playout.underruns).sum();
    println!(
        "{frames} frames sent, {heard:.1} s of audio heard, {underruns} underruns, \
         {warned} warnings"
    );
    let sent = records.iter().flat_map(|record| &record.sent);
    let late: Vec<_> = sent.map(|frame| frame.sent.saturating_sub(frame.planned)).collect();
    let late = Percentiles::of(&late);
    let [p50, p999, max] = [late.p50_us, late.p999_us, late.max_us].map(|us| us / 1e3);
    println!("own lateness p50 {p50:.2} ms p99.9 {p999:.2} ms max {max:.2} ms");
    failed == 0 && warned == 0
}

fn target(arguments: &Call) -> Result<Target, String> {
    let url = &arguments.url;
    let (authority, path) = split_url(url).ok_or_else(|| format!("{url}: not a URL"))?;
    let (scheme, _) = url.split_once("://").unwrap_or_default();
    let (tls, is_stream) = match scheme {
        "http" => (false, false),
        "https" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        _ => return Err(format!("{url}: the scheme must be http, https, ws or wss")),
    };
    let address = resolve(authority, if tls { 443 } else { 80 })
        .ok_or_else(|| format!("{authority}: no address found"))?;
    let parameters = arguments
        .parameter
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()))
        .collect();
    let path = path.to_string();
    Ok(Target {
        authority: authority.to_string(),
        address,
        tls: roots::tls(tls, arguments.ca_file.as_deref())?,
        public_url: arguments.public_url.clone(),
        secrets: Secrets {
            twilio: arguments.auth_token.clone(),
            telnyx: None,
            key: None,
            web: arguments.web_token.clone(),
        },
        entry: if is_stream { Entry::Stream { path, parameters } } else { Entry::Webhook { path } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ended_as_planned_and_heard_nothing_has_failed() {
        let deaf = CallRecord::empty(0);
        let mut heard = CallRecord::empty(1);
        heard.heard.arrivals.push((0, 160));
        let failures = failures(&[deaf, heard]);
        assert_eq!(failures.into_iter().collect::<Vec<_>>(), [("heard nothing".to_string(), 1)]);
    }
}
