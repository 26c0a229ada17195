//! The command line of the load test.
//!
//! In:       arguments.
//! Out:      a report on standard output; exit code 0 good, 1 not good, 2 usage.
//! Bounds:   those of the run.
//! Not here: everything else; see the library half.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};

use loadtest::carrier::fleet::Fleet;
use loadtest::carrier::ids::Ids;
use loadtest::carrier::mix::{Line, Mix};
use loadtest::carrier::record::{CallRecord, CallSpec, Hangup};
use loadtest::carrier::target::{Entry, Secrets, Target, public_tls, resolve, split_url};
use loadtest::clock::{Clock, MILLIS, SECONDS};
use loadtest::gemini::entrance::Entrance;
use loadtest::gemini::scenario::{BUILT_IN, Demands, Scenario};
use loadtest::gemini::script::{Script, Speech};
use loadtest::gemini::server::{StandIn, StandInConfig};
use loadtest::judge;
use loadtest::relay;
use loadtest::report::Percentiles;
use loadtest::run::{self, RunSettings};
use loadtest::schedule::{Arrivals, Bursts, MediaPlan};
use loadtest::signal::CallerVoice;
use vocaris::server::log_lines::LogLines;

/// Measures a media relay between Twilio Media Streams and the Gemini Live API.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stand-in, relay and calls on this machine, and one report.
    Run(Run),
    /// Calls against any Twilio-compatible relay.
    Call(Call),
    /// The stand-in for the Gemini Live API alone.
    Gemini(Gemini),
    /// The scenarios that are built in; with a name, that scenario as a file.
    Scenarios {
        /// One of them.
        name: Option<String>,
    },
    /// The relay itself, as `run` starts it.
    #[command(name = relay::SUBCOMMAND, hide = true)]
    Relay,
}

#[derive(Args)]
struct Run {
    /// Calls at once.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// How long each call speaks.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    ramp: f64,
    /// How long the model speaks at a time, in milliseconds.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(20..))]
    turn_ms: u32,
    /// How long the model is silent between, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pause_ms: u32,
    /// How much faster than real time the model sends; 1 is real time with a small head start.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    speed: f64,
    /// Threads of the callers, and as many of the stand-in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// The seed of every voice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A setting of the relay as NAME=VALUE, such as VOCARIS_SERVER_WORKERS=1.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    relay_env: Vec<(String, OsString)>,
    /// Shows what the relay prints, on standard error.
    #[arg(long)]
    relay_log: bool,
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What both sides do: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// Who brings the calls, in shares: twilio=70,telnyx/pcma=20,web=10. Goes before the scenario.
    #[arg(long, value_name = "SHARES")]
    carrier: Option<Mix>,
    /// Prints the names of the built-in scenarios, and ends.
    #[arg(long)]
    list_scenarios: bool,
    #[command(flatten)]
    demands: DemandArgs,
}

/// What is demanded of swaps; each goes before what the scenario says.
#[derive(Args)]
struct DemandArgs {
    /// The longest audible gap of a swap, p99, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_gap_ms: Option<f64>,
    /// Caller audio lost in calls with a fault, all together, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_lost_ms: Option<f64>,
    /// The longest recovery from a fault, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    max_recovery_ms: Option<f64>,
    /// Connections that came to their end in mid-call and were not replaced.
    #[arg(long, value_name = "N")]
    max_failed_swaps: Option<u64>,
}

impl DemandArgs {
    fn demands(&self) -> Demands {
        Demands {
            max_gap_ms: self.max_gap_ms,
            max_lost_ms: self.max_lost_ms,
            max_recovery_ms: self.max_recovery_ms,
            max_failed_swaps: self.max_failed_swaps,
        }
    }
}

#[derive(Args)]
struct Call {
    /// The webhook (http, https) or the stream itself (ws, wss).
    #[arg(long)]
    url: String,
    /// Calls to make.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// How long each call speaks.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    ramp: f64,
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
    /// A parameter of the stream as NAME=VALUE; for ws and wss.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    parameter: Vec<(String, OsString)>,
    /// Frame sizes in eighths of a millisecond, in turn: as mu-law, bytes.
    #[arg(long, value_delimiter = ',', default_value = "160",
          value_parser = clap::value_parser!(u16).range(1..=999))]
    frame_bytes: Vec<u16>,
    /// Holds frames back for 233 ms in every second.
    #[arg(long)]
    bursts: bool,
    /// Sends nothing for 400 ms after every second of speech.
    #[arg(long)]
    suppress_silence: bool,
    /// How the callers leave.
    #[arg(long, value_enum, default_value_t = Leave::Stop)]
    hangup: Leave,
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

#[derive(Args)]
struct Gemini {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Without TLS.
    #[arg(long)]
    plain: bool,
    /// Writes the certificate authority as PEM.
    #[arg(long, value_name = "FILE", default_value = "stand-in-ca.pem")]
    ca_file: PathBuf,
    /// The key that clients must show.
    #[arg(long, default_value = "stand-in-key")]
    api_key: String,
    /// The model that a setup must name.
    #[arg(long, default_value = "models/gemini-3.8-live")]
    model: String,
    /// How long it speaks at a time, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    turn_ms: u32,
    /// How long it is silent between, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pause_ms: u32,
    /// Turns in a session, after the greeting was asked for.
    #[arg(long, default_value_t = 100)]
    turns: u16,
    /// How much faster than real time it sends; 1 is real time with a small head start.
    #[arg(long, default_value_t = 3.5, value_parser = positive)]
    speed: f64,
    /// What it does: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
}

fn main() -> ExitCode {
    // Two sockets a call; what cannot be raised shows when descriptors run out.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let done = match Cli::parse().command {
        Command::Run(arguments) if arguments.list_scenarios => scenarios(None),
        Command::Run(arguments) => run_calls(arguments),
        Command::Scenarios { name } => scenarios(name.as_deref()),
        Command::Call(arguments) => call(&arguments),
        Command::Gemini(arguments) => gemini(arguments),
        Command::Relay => serve(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("loadtest: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The relay, with its log on standard error.
fn serve() -> Result<bool, String> {
    let lines = LogLines::start(std::io::stderr()).map_err(|error| error.to_string())?;
    let level = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(level)
        .format_timestamp_millis()
        .target(env_logger::Target::Pipe(Box::new(lines.clone())))
        .init();
    let served = relay::serve(&lines);
    lines.flush();
    served.map(|()| true)
}

/// Prints the built-in scenarios, or one of them.
fn scenarios(name: Option<&str>) -> Result<bool, String> {
    for (built_in, text) in BUILT_IN {
        match name {
            None => println!("{built_in:<20} {}", Scenario::read(text)?.about),
            Some(name) if name == built_in => {
                print!("{text}");
                return Ok(true);
            }
            Some(_) => {}
        }
    }
    name.map_or(Ok(true), |name| Err(format!("{name}: no scenario of that name is built in")))
}

/// The scenario of a command line, or one in which nothing happens.
fn scenario(name: Option<&str>) -> Result<Scenario, String> {
    name.map_or_else(|| Ok(Scenario::default()), Scenario::find)
}

fn run_calls(arguments: Run) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let settings = RunSettings {
        program,
        calls: arguments.calls as usize,
        seconds: arguments.seconds.into(),
        ramp: arguments.ramp,
        turn_ms: arguments.turn_ms.into(),
        pause_ms: arguments.pause_ms.into(),
        speed: arguments.speed,
        threads: arguments.threads.into(),
        seed: arguments.seed,
        environment: arguments.relay_env,
        echo: arguments.relay_log,
        scenario: scenario(arguments.scenario.as_deref())?,
        mix: arguments.carrier,
        demands: arguments.demands.demands(),
    };
    let report = run::run(&settings).map_err(|error| error.to_string())?;
    println!("{report}");
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(file, &json)?;
    }
    Ok(report.is_good())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn call(arguments: &Call) -> Result<bool, String> {
    let clock = Clock::start();
    let target = Arc::new(target(arguments)?);
    let mut media = MediaPlan::steady(u64::from(arguments.seconds) * 1000);
    media.frame_bytes = arguments.frame_bytes.iter().map(|&len| len.into()).collect();
    media.bursts = arguments.bursts.then_some(Bursts { every_ms: 1000, pause_ms: 233 });
    if arguments.suppress_silence {
        media = media.suppress_silence(1000, 400);
    }
    let line = arguments.carrier;
    let media = Arc::new(line.plan(&media));
    let arrivals = Arrivals { first: clock.now(), per_second: arguments.ramp };
    // Numbers that no earlier run has used: a relay takes a CallSid once.
    let run = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let specs = (0..arguments.calls as usize)
        .map(|index| CallSpec {
            index,
            line,
            ids: Ids::of(line.carrier, run, index),
            from: format!("+1800{index:07}"),
            to: "+18005550100".to_string(),
            target: Arc::clone(&target),
            starts_at: arrivals.at(index),
            media: Arc::clone(&media),
            voice: CallerVoice::new(run, index),
            linger: 250 * MILLIS,
            hangup: match arguments.hangup {
                Leave::Stop => Hangup::StopAndClose,
                Leave::Close => Hangup::CloseOnly,
                Leave::Reset => Hangup::Reset,
                Leave::Silence => Hangup::Silence,
            },
        })
        .collect();
    let fleet = Fleet::start(clock, specs, 1).map_err(|error| error.to_string())?;
    let records = fleet.join().map_err(|error| error.to_string())?;
    Ok(print_calls(&records))
}

/// Prints what calls have seen; true if all was well.
fn print_calls(records: &[CallRecord]) -> bool {
    let failures = judge::failures(records);
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
        tls: tls.then(public_tls),
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

fn gemini(arguments: Gemini) -> Result<bool, String> {
    let clock = Clock::start();
    let speech = Speech::at_speed(arguments.turn_ms.into(), arguments.speed);
    let pause = u64::from(arguments.pause_ms) * MILLIS;
    let scenario = scenario(arguments.scenario.as_deref())?;
    let stand_in = StandIn::start(
        clock,
        StandInConfig {
            listen: arguments.listen,
            tls: !arguments.plain,
            entrance: Entrance::Documented,
            api_key: arguments.api_key,
            model: arguments.model,
            scripts: scenario.scripts(arguments.turns.into(), &speech, pause),
            ..StandInConfig::local(Script::listen())
        },
    )
    .map_err(|error| format!("{}: {error}", arguments.listen))?;
    if !stand_in.ca_pem.is_empty() {
        write(&arguments.ca_file, &stand_in.ca_pem)?;
        println!("certificate authority in {}", arguments.ca_file.display());
    }
    println!("listening on {}", stand_in.url);
    loop {
        let Some(session) = stand_in.next_record(std::time::Duration::from_secs(3600)) else {
            continue;
        };
        let heard = session.uplink.pcm.len() as f64 / f64::from(session.uplink.rate.max(1));
        let lasted = (clock.now() - session.accepted_at) / SECONDS;
        println!(
            "session {}: {lasted} s, heard {heard:.1} s, {} turns, ended {:?}",
            session.index,
            session.spoken.len(),
            session.ending
        );
        for complaint in &session.complaints {
            println!("  objects to {complaint:?}");
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number above 0 is needed".to_string()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number from 0 on is needed".to_string()),
    }
}

fn assignment(text: &str) -> Result<(String, OsString), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((name.to_string(), value.into()))
}
