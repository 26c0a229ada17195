//! `capacity`: the most calls that a relay carries on this machine under bounds.
//!
//! In:       its arguments.
//! Out:      a line for each step, the answer, and both as JSON and as a page.
//! Bounds:   those of the search.
//! Not here: the search (the library's `capacity`).

use std::ffi::OsString;

use clap::Args;
use loadtest::capacity::search::{REPEATS_MAX, Range, Tolerance};
use loadtest::capacity::{self, HEADINGS, Plan};
use loadtest::carrier::mix::Mix;
use loadtest::interrupt;
use loadtest::load::Arrivals;
use loadtest::run::RunSettings;
use loadtest::slo::Slo;

use super::load::Talk;
use super::machine::Machine;
use super::results::{FileArgs, Origin};
use super::{Ending, assignment, positive, scenarios};

/// The arguments of `capacity`.
#[derive(Args)]
pub(crate) struct Capacity {
    /// What must be kept, as uplink.p999<=20ms,lost=0,failed=0; see the README for the names.
    #[arg(long, required = true, value_name = "BOUNDS", value_delimiter = ',')]
    slo: Vec<Slo>,
    /// The smallest number of calls.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    from: u32,
    /// The largest number of calls.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    to: u32,
    /// How long all calls of a step talk at once, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3000))]
    hold: u32,
    /// How close the answer must be, in calls or as a percentage.
    #[arg(long, default_value = "5%")]
    tolerance: Tolerance,
    /// Runs of a number at the edge, of which a majority decides.
    #[arg(long, default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=REPEATS_MAX as i64))]
    repeats: u8,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    ramp: f64,
    /// How calls of a step arrive: constant, poisson, spike:CALLS@SECONDS, ramp:RATE@SECONDS.
    #[arg(long, default_value = "constant")]
    arrivals: Arrivals,
    #[command(flatten)]
    talk: Talk,
    /// What both sides do: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// Who brings the calls, in shares: twilio=70,telnyx/pcma=20,web=10.
    #[arg(long, value_name = "SHARES")]
    carrier: Option<Mix>,
    /// A setting of the relay as NAME=VALUE, such as VOCARIS_SERVER_WORKERS=1.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    relay_env: Vec<(String, OsString)>,
    /// Shows what the relay prints, on standard error.
    #[arg(long)]
    relay_log: bool,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    files: FileArgs,
}

/// Searches, and prints what came of it.
pub(crate) fn capacity(arguments: Capacity) -> Result<Ending, String> {
    if arguments.from > arguments.to {
        return Err(format!("--from {} is above --to {}", arguments.from, arguments.to));
    }
    arguments.files.check()?;
    arguments.machine.prepare()?;
    interrupt::watch().map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let base = RunSettings {
        calls: 0,
        seconds: 0,
        ramp: arguments.ramp,
        arrivals: arguments.arrivals,
        environment: arguments.relay_env,
        echo: arguments.relay_log,
        scenario: scenarios::find(arguments.scenario.as_deref())?,
        mix: arguments.carrier,
        slos: arguments.slo,
        ..arguments.machine.on(arguments.talk.of(RunSettings::new(program)))
    };
    let mut plan = Plan {
        range: Range {
            from: arguments.from as usize,
            to: arguments.to as usize,
            tolerance: arguments.tolerance,
            repeats: arguments.repeats.into(),
        },
        hold: arguments.hold.into(),
    };
    let seconds = |calls: usize| capacity::seconds_of(&base, &plan, calls);
    if let Some(fits) = capacity::calls_that_fit(plan.range.to, seconds)
        && fits < plan.range.to
    {
        if fits < plan.range.from {
            return Err(format!("free memory holds the records of {fits} calls only"));
        }
        println!("free memory holds the records of {fits} calls: no more are tried");
        plan.range.to = fits;
    }
    println!("{HEADINGS}");
    let origin = Origin::now();
    let report = capacity::measure(&base, &plan, &mut |step| println!("{step}"));
    println!("{}", report.text);
    let answer = report.answer;
    arguments.files.write(origin.end::<Capacity>(), report)?;
    Ok(match answer {
        answer if answer.is_found() => Ending::Good,
        answer if answer.lacks_evidence() => Ending::NoVerdict,
        _ => Ending::NotGood,
    })
}
