//! `restart`: a relay that is killed in the middle of its calls.
//!
//! In:       its arguments.
//! Out:      the report, printed, as JSON and as a page; true if the demands are met.
//! Bounds:   those of the run.
//! Not here: the run itself (the library's `restart`).

use std::ffi::OsString;

use clap::Args;
use loadtest::carrier::endurance::{Endurance, REAL_ASK_AFTER, REAL_DIAL_AFTER, RETRIES};
use loadtest::clock::{MILLIS, Nanos};
use loadtest::interrupt;
use loadtest::restart::{self, Kill, RestartDemands, RestartSettings};

use super::results::{FileArgs, Origin};
use super::{assignment, positive};

/// The arguments of `restart`.
#[derive(Args)]
pub(crate) struct Restart {
    /// Calls at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Calls begun in a second.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    ramp: f64,
    /// From the beginning of the last call to the kill, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=600))]
    before: u16,
    /// From the kill to the end of the calls, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=600))]
    after: u16,
    /// How long the model speaks at a time, in milliseconds.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(20..))]
    turn_ms: u32,
    /// How long the model is silent between, in milliseconds.
    #[arg(long, default_value_t = 400)]
    pause_ms: u32,
    /// The share of calls in which the model books an appointment before the kill.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    book: f64,
    /// 1: the relay is started again at once; 2: one of two behind HAProxy is killed, and stays so.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    hosts: u8,
    /// HAProxy stands before the one host too.
    #[arg(long)]
    haproxy: bool,
    /// How often the carrier repeats a question that got no answer: Twilio's `rc`.
    #[arg(long, default_value_t = RETRIES, value_parser = clap::value_parser!(u32).range(0..=5))]
    webhook_retries: u32,
    /// From a question without an answer to its repetition.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = time)]
    webhook_retry_after: Nanos,
    /// From the end of a stream to the question of what follows.
    #[arg(long, value_name = "TIME", value_parser = time)]
    ask_after: Option<Nanos>,
    /// From the answer to the connection of the next stream.
    #[arg(long, value_name = "TIME", value_parser = time)]
    dial_after: Option<Nanos>,
    /// The share of calls that must hear the model again in time.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    min_back: f64,
    /// In which time, from the moment the relay listens again; with two hosts, from the kill.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    within: Nanos,
    /// Threads of the callers, and as many of the stand-in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// The seed of every voice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// An empty PostgreSQL database in which every host keeps its journal and its appointments, as
    /// postgres://user@host/database; else they are files.
    #[arg(long, value_name = "URL", value_parser = database)]
    store_url: Option<String>,
    /// A setting of every relay as NAME=VALUE, such as VOCARIS_SERVER_WORKERS=1.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    relay_env: Vec<(String, OsString)>,
    /// Shows what the relays print, on standard error.
    #[arg(long)]
    relay_log: bool,
    #[command(flatten)]
    files: FileArgs,
}

/// Runs, and prints what came of it.
pub(crate) fn restart(arguments: Restart) -> Result<bool, String> {
    arguments.files.check()?;
    interrupt::watch().map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let settings = RestartSettings {
        program,
        calls: arguments.calls as usize,
        ramp: arguments.ramp,
        before: arguments.before.into(),
        after: arguments.after.into(),
        turn_ms: arguments.turn_ms.into(),
        pause_ms: arguments.pause_ms.into(),
        book: arguments.book,
        kill: match arguments.hosts {
            1 => Kill::One { balanced: arguments.haproxy },
            _ => Kill::OneOfTwo,
        },
        endurance: Endurance {
            retries: arguments.webhook_retries,
            retry_after: arguments.webhook_retry_after,
            ask_after: arguments.ask_after.unwrap_or(REAL_ASK_AFTER),
            dial_after: arguments.dial_after.unwrap_or(REAL_DIAL_AFTER),
            ..Endurance::default()
        },
        threads: arguments.threads.into(),
        seed: arguments.seed,
        store_url: arguments.store_url,
        environment: arguments.relay_env,
        echo: arguments.relay_log,
        demands: RestartDemands { min_back: arguments.min_back, within: arguments.within },
    };
    let origin = Origin::now();
    let report = restart::run(&settings).map_err(|error| error.to_string())?;
    println!("{report}");
    let is_good = report.is_good();
    arguments.files.write(origin.end::<Restart>(), report)?;
    Ok(is_good)
}

/// Reads the URL of a database; what is wrong with the rest of it the relay says.
fn database(text: &str) -> Result<String, String> {
    match text.starts_with("postgres://") || text.starts_with("postgresql://") {
        true => Ok(text.to_string()),
        false => Err("postgres://user@host/database is needed".to_string()),
    }
}

/// Reads a share, from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".to_string()),
    }
}

/// Reads a time in milliseconds or seconds, such as `250ms` or `2s`, up to an hour.
fn time(text: &str) -> Result<Nanos, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, MILLIS as f64),
        (None, Some(number)) => (number, 1000.0 * MILLIS as f64),
        (None, None) => return Err("a time such as 250ms or 2s is needed".to_string()),
    };
    let nanos = number.trim().parse::<f64>().map_or(f64::NAN, |number| number * unit);
    match (0.0..=3600.0 * 1000.0 * MILLIS as f64).contains(&nanos) {
        true => Ok(nanos as Nanos),
        false => Err("a time from 0 to 3600s is needed".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_milliseconds_and_seconds_and_nothing_else() {
        for (text, nanos) in
            [("250ms", 250 * MILLIS), ("2s", 2000 * MILLIS), ("0.5s", 500 * MILLIS)]
        {
            assert_eq!(time(text), Ok(nanos), "{text}");
        }
        for text in ["", "2", "s", "-1s", "3601s", "2m", "NaNs", "infs"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
