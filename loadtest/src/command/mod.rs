//! The subcommands, a file each, and how they read what is typed.
//!
//! In:       what is typed.
//! Out:      values, or a sentence that says what is wrong with it.
//! Bounds:   none: what is typed is short.
//! Not here: what a subcommand does (its file).

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use loadtest::report::Report;

pub(crate) mod call;
pub(crate) mod capacity;
pub(crate) mod compare;
pub(crate) mod gemini;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod restart;
pub(crate) mod results;
pub(crate) mod roots;
pub(crate) mod run;
pub(crate) mod scenarios;
pub(crate) mod show;
pub(crate) mod stand_in;

/// How a subcommand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All was well.
    Good,
    /// It was not.
    NotGood,
    /// Nothing was wrong, but the load itself was too late to prove it.
    NoVerdict,
}

impl From<bool> for Ending {
    fn from(good: bool) -> Ending {
        if good { Ending::Good } else { Ending::NotGood }
    }
}

impl From<&Report> for Ending {
    fn from(report: &Report) -> Ending {
        match report.lacks_evidence() {
            true => Ending::NoVerdict,
            false => Ending::from(report.is_good()),
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> ExitCode {
        match ending {
            Ending::Good => ExitCode::SUCCESS,
            Ending::NotGood => ExitCode::FAILURE,
            Ending::NoVerdict => ExitCode::from(NO_VERDICT),
        }
    }
}

/// The exit code of [`Ending::NoVerdict`]: 2 is of wrong usage.
const NO_VERDICT: u8 = 3;

/// Writes a file; an error names it.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads a number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number above 0 is needed".to_string()),
    }
}

/// Reads a number from 0 on.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number from 0 on is needed".to_string()),
    }
}

/// Reads NAME=VALUE.
pub(crate) fn assignment(text: &str) -> Result<(String, OsString), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((name.to_string(), value.into()))
}
