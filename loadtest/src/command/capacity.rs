//! `capacity`: the most calls that a relay carries on this machine under bounds.
//!
//! In:       its arguments.
//! Out:      a line for each step, the answer, and both as a file.
//! Bounds:   those of the search.
//! Not here: the search (the library's `capacity`).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use loadtest::capacity::search::{REPEATS_MAX, Range, Tolerance};
use loadtest::capacity::{self, HEADINGS, Plan};
use loadtest::carrier::mix::Mix;
use loadtest::cores::Cores;
use loadtest::gemini::scenario::Demands;
use loadtest::interrupt;
use loadtest::judge::Judgement;
use loadtest::load::Arrivals;
use loadtest::run::RunSettings;
use loadtest::slo::Slo;

use super::{Ending, assignment, positive, results, scenarios, write};

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
    /// Writes steps and answer as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where the processes run, and how late the load may be.
#[derive(Args)]
pub(crate) struct Machine {
    /// The cores that the relay is bound to, as 0,2-3.
    #[arg(long, value_name = "CORES")]
    pub(crate) relay_cores: Option<Cores>,
    /// The cores that callers and stand-in are bound to.
    #[arg(long, value_name = "CORES")]
    pub(crate) own_cores: Option<Cores>,
    /// p99.9 of the load's own lateness, in milliseconds, above which its times are no evidence.
    #[arg(long, value_name = "MS", default_value_t = 1.0, value_parser = positive)]
    pub(crate) own_lateness_max: f64,
}

impl Machine {
    /// Binds this process, and says what is to be known of the cores.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        if let (Some(relay), Some(own)) = (&self.relay_cores, &self.own_cores)
            && !relay.are_apart(own)
        {
            eprintln!("note: relay and load share a core of {relay} and {own}");
        }
        // Threads that are started from here on inherit it.
        self.own_cores.as_ref().map_or(Ok(()), Cores::bind).map_err(|error| error.to_string())
    }
}

/// Searches, and prints what came of it.
pub(crate) fn capacity(arguments: Capacity) -> Result<Ending, String> {
    if arguments.from > arguments.to {
        return Err(format!("--from {} is above --to {}", arguments.from, arguments.to));
    }
    arguments.json.as_deref().map_or(Ok(()), results::check)?;
    arguments.machine.prepare()?;
    interrupt::watch().map_err(|error| error.to_string())?;
    let base = RunSettings {
        program: std::env::current_exe().map_err(|error| error.to_string())?.into(),
        calls: 0,
        seconds: 0,
        lengths: None,
        ramp: arguments.ramp,
        arrivals: arguments.arrivals,
        turn_ms: arguments.turn_ms.into(),
        pause_ms: arguments.pause_ms.into(),
        speed: arguments.speed,
        threads: arguments.threads.into(),
        seed: arguments.seed,
        environment: arguments.relay_env,
        echo: arguments.relay_log,
        scenario: scenarios::find(arguments.scenario.as_deref())?,
        mix: arguments.carrier,
        demands: Demands::default(),
        judged: Judgement::Exact,
        listen: false,
        slos: arguments.slo,
        own_lateness_max_us: arguments.machine.own_lateness_max * 1e3,
        relay_cores: arguments.machine.relay_cores,
        plain_model: false,
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
    let report = capacity::measure(&base, &plan, &mut |step| println!("{step}"));
    println!("{}", report.text);
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(file, &json)?;
    }
    Ok(match report.answer {
        answer if answer.is_found() => Ending::Good,
        answer if answer.lacks_evidence() => Ending::NoVerdict,
        _ => Ending::NotGood,
    })
}
