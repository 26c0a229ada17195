//! `run`: stand-in, relay and calls on this machine.
//!
//! In:       its arguments.
//! Out:      the report, printed and as a file; true if all was good.
//! Bounds:   those of the run.
//! Not here: the run itself (the library's `run`).

use std::ffi::OsString;

use clap::Args;
use loadtest::carrier::mix::Mix;
use loadtest::interrupt;
use loadtest::judge::Judgement;
use loadtest::relay::Program;
use loadtest::relay::peer::{Peer, Workshop};
use loadtest::run::{self, RunSettings};
use loadtest::slo::Slo;

use super::load::{DemandArgs, Load, Talk};
use super::machine::Machine;
use super::results::{Origin, ResultArgs};
use super::{Ending, assignment, scenarios};

/// How long a call speaks, in seconds, where neither the command line nor the scenario says.
const SECONDS: u32 = 20;

/// The arguments of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// Calls to make; with the default arrivals and lengths all of them at once.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    talk: Talk,
    /// A setting of the relay as NAME=VALUE, such as VOCARIS_SERVER_WORKERS=1.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    relay_env: Vec<(String, OsString)>,
    /// The relay: vocaris, null (the floor), null-plain (the same without TLS to the model), tokio,
    /// node.
    #[arg(long, value_name = "NAME", default_value = "vocaris")]
    relay: Peer,
    /// Another relay: a program and its arguments, cut at spaces; see the README for what it must
    /// understand.
    #[arg(long, value_name = "COMMAND", conflicts_with = "relay")]
    relay_program: Option<String>,
    /// Shows what the relay prints, on standard error.
    #[arg(long)]
    relay_log: bool,
    #[command(flatten)]
    results: ResultArgs,
    /// What both sides do: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// Who brings the calls, in shares: twilio=70,telnyx/pcma=20,web=10. Goes before the scenario.
    #[arg(long, value_name = "SHARES")]
    carrier: Option<Mix>,
    /// Prints the names of the built-in scenarios, and ends.
    #[arg(long)]
    list_scenarios: bool,
    /// Judges the audio by its content, not sample for sample: for a relay with other filters.
    #[arg(long)]
    by_content: bool,
    #[command(flatten)]
    demands: DemandArgs,
    /// What must be kept, as uplink.p999<=20ms,lost=0,failed=0; see the README for the names.
    #[arg(long, value_name = "BOUNDS", value_delimiter = ',')]
    slo: Vec<Slo>,
    #[command(flatten)]
    machine: Machine,
}

/// Runs, and prints what came of it.
pub(crate) fn run(arguments: Run) -> Result<Ending, String> {
    if arguments.list_scenarios {
        return scenarios::print(None).map(Ending::from);
    }
    arguments.results.check()?;
    arguments.machine.prepare()?;
    interrupt::watch().map_err(|error| error.to_string())?;
    let scenario = scenarios::find(arguments.scenario.as_deref())?;
    let seconds = arguments.load.seconds.or(scenario.seconds).unwrap_or(SECONDS);
    let origin = Origin::now();
    let program = match &arguments.relay_program {
        None => arguments.relay.prepare(&Workshop::of_this_program(None)?)?,
        Some(line) => Program::from_line(line).ok_or("--relay-program is empty")?,
    };
    if arguments.by_content && program.is_floor() {
        return Err(
            "--by-content: the floor passes no audio on; there is no content to judge".into()
        );
    }
    let mut settings = RunSettings {
        calls: arguments.calls as usize,
        seconds: seconds.into(),
        lengths: arguments.load.length,
        ramp: arguments.load.ramp,
        arrivals: arguments.load.arrivals,
        environment: arguments.relay_env,
        echo: arguments.relay_log,
        scenario,
        mix: arguments.carrier,
        demands: arguments.demands.demands(),
        listen: true,
        plain_model: arguments.relay.wants_plain_model(),
        slos: arguments.slo,
        ..arguments.machine.on(arguments.talk.of(RunSettings::new(program)))
    };
    if arguments.by_content {
        settings.judged = Judgement::ByContent;
    }
    let report = run::run(&settings).map_err(|error| error.to_string())?;
    println!("{report}");
    let ending = Ending::from(&report);
    arguments.results.write(origin.end::<Run>(), report)?;
    Ok(ending)
}
