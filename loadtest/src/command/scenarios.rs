//! `scenarios`: what is built in, and what a command line names.
//!
//! In:       a name, or a file's.
//! Out:      the scenario, or its text on standard output.
//! Bounds:   those of a scenario file.
//! Not here: what a scenario is (`gemini::scenario`).

use loadtest::gemini::scenario::{BUILT_IN, Scenario};

/// Prints the built-in scenarios, or one of them.
pub(crate) fn print(name: Option<&str>) -> Result<bool, String> {
    for (built_in, text) in BUILT_IN {
        match name {
            None => println!("{built_in:<26} {}", Scenario::read(text)?.about),
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
pub(crate) fn find(name: Option<&str>) -> Result<Scenario, String> {
    name.map_or_else(|| Ok(Scenario::default()), Scenario::find)
}
