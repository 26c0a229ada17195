//! `compare`: the same load against several relays.
//!
//! In:       its arguments.
//! Out:      one table, printed, as JSON and as a page; good if every run counts, without a verdict
//!           where the load itself was late.
//! Bounds:   those of the comparison.
//! Not here: the comparison itself (the library's `compare`).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use loadtest::compare::{self, CompareSettings, ROUNDS_MAX};
use loadtest::interrupt;
use loadtest::relay::Program;
use loadtest::relay::peer::{Peer, Workshop};
use loadtest::run::RunSettings;

use super::load::Sides;
use super::machine::Machine;
use super::results::{FileArgs, Origin};
use super::{Ending, assignment, positive};

/// The arguments of `compare`.
#[derive(Args)]
pub(crate) struct Compare {
    /// The relays: null, null-plain (no TLS to the model), vocaris, tokio, node.
    #[arg(long, value_delimiter = ',', default_value = "null,vocaris,tokio,node")]
    relays: Vec<Peer>,
    /// How often each runs, in turn with the others.
    #[arg(long, default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=ROUNDS_MAX as i64))]
    rounds: u8,
    /// Calls at once.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// How long each call speaks.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    ramp: f64,
    #[command(flatten)]
    sides: Sides,
    /// A setting of every relay as NAME=VALUE: RELAY_THREADS=1 is tokio's,
    /// VOCARIS_SERVER_WORKERS=1 Vocaris's.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    relay_env: Vec<(String, OsString)>,
    /// Judges every relay but the floor by the content of its audio; its latencies then hold the
    /// delay of its filters.
    #[arg(long)]
    by_content: bool,
    /// Where the sources of tokio and node are; else those beside this program's own.
    #[arg(long, value_name = "DIRECTORY")]
    baselines: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    machine: Machine,
}

/// Compares, and prints what came of it.
pub(crate) fn compare(arguments: Compare) -> Result<Ending, String> {
    arguments.files.check()?;
    arguments.machine.prepare()?;
    interrupt::watch().map_err(|error| error.to_string())?;
    let workshop = Workshop::of_this_program(arguments.baselines)?;
    let load = RunSettings {
        calls: arguments.calls as usize,
        seconds: arguments.seconds.into(),
        ramp: arguments.ramp,
        environment: arguments.relay_env,
        listen: true,
        ..arguments
            .sides
            .of(arguments.machine.on(RunSettings::new(Program::vocaris(&*workshop.own))))
    };
    let settings = CompareSettings {
        load,
        relays: arguments.relays,
        rounds: arguments.rounds.into(),
        by_content: arguments.by_content,
        workshop,
    };
    let origin = Origin::now();
    let comparison = compare::compare(&settings, |word| eprintln!("{word}"));
    println!("{comparison}");
    let ending = match comparison.lacks_evidence() {
        true => Ending::NoVerdict,
        false => Ending::from(comparison.is_good()),
    };
    arguments.files.write(origin.end::<Compare>(), comparison)?;
    Ok(ending)
}
