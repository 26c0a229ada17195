//! The command line of the load test.
//!
//! In:       arguments.
//! Out:      a report on standard output; exit code 0 good, 1 not good, 2 usage, 3 no verdict:
//!           nothing was wrong, but the load itself was too late for what was demanded.
//! Bounds:   those of the run.
//! Not here: what the subcommands take and do (`command`); everything else is the library half.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod command;

use command::{Ending, call, capacity, compare, gemini, restart, run, scenarios, show};
use loadtest::relay;
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
    Run(Box<run::Run>),
    /// The most calls that keep bounds: run after run on this machine.
    Capacity(Box<capacity::Capacity>),
    /// A relay that is killed in the middle of its calls, and what becomes of them.
    Restart(Box<restart::Restart>),
    /// The same load against several relays in turn, and one table.
    Compare(Box<compare::Compare>),
    /// Calls against any Twilio-compatible relay.
    Call(Box<call::Call>),
    /// The stand-in for the Gemini Live API alone.
    Gemini(gemini::Gemini),
    /// Runs that were kept as JSON, side by side.
    Show(show::Show),
    /// The scenarios that are built in; with a name, that scenario as a file.
    Scenarios {
        /// One of them.
        name: Option<String>,
    },
    /// The relay itself, as `run` starts it.
    #[command(name = relay::SUBCOMMAND, hide = true)]
    Relay,
    /// The floor, as `run --relay null` starts it.
    #[command(name = relay::null::SUBCOMMAND, hide = true)]
    RelayNull,
}

fn main() -> ExitCode {
    // Two sockets a call; what cannot be raised shows when descriptors run out.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let done = match Cli::parse().command {
        Command::Run(arguments) => run::run(*arguments),
        Command::Capacity(arguments) => capacity::capacity(*arguments),
        Command::Restart(arguments) => restart::restart(*arguments).map(Ending::from),
        Command::Show(arguments) => show::show(&arguments).map(Ending::from),
        Command::Compare(arguments) => compare::compare(*arguments),
        Command::Scenarios { name } => scenarios::print(name.as_deref()).map(Ending::from),
        Command::Call(arguments) => call::call(&arguments),
        Command::Gemini(arguments) => gemini::gemini(arguments).map(Ending::from),
        Command::Relay => serve().map(Ending::from),
        Command::RelayNull => relay::null::serve().map(|()| Ending::from(true)),
    };
    match done {
        Ok(ending) => ending.into(),
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
