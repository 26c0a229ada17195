//! Names and values of settings as a report shows them: every one, and no secret.
//!
//! In:       what the relay was started with.
//! Out:      [`Setting`]s, given or by default.
//! Bounds:   those of the relay's configuration.
//! Not here: what else is known of where a run comes from (`output::provenance`).

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vocaris::config::{MASK, Reading, SourceFile, example};

/// Parts of a name that make its value a secret.
const SECRET: [&str; 5] = ["key", "token", "secret", "password", "credential"];

/// A name and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, masked where it is a secret.
    pub value: String,
    /// Somebody has set it; else it is the default.
    pub is_set: bool,
}

/// True if a value of this name is not to be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// `value`, or what stands for it: all of it where `name` is a secret's, the right side of a
/// NAME=VALUE where that NAME is.
pub fn masked(name: &str, value: &str) -> String {
    match value.split_once('=') {
        _ if is_secret(name) => MASK.to_owned(),
        Some((inner, _)) if is_secret(inner) => format!("{inner}={MASK}"),
        _ => value.to_owned(),
    }
}

/// Every setting of a relay that was started with these variables in a folder without a
/// configuration, read as the relay reads them. Where that fails, the variables themselves.
pub fn relay_settings(environment: &[(String, OsString)]) -> Vec<Setting> {
    // As in the environment of a process, the last of a name is the one that counts.
    let later = |place: usize| environment[place + 1..].iter().map(|(name, _)| name);
    let last = environment.iter().enumerate();
    let last = last.filter(|&(place, (name, _))| !later(place).any(|later| later == name));
    let environment = &last.map(|(_, variable)| variable.clone()).collect::<Vec<_>>()[..];
    let Some(reading) = reading(environment) else {
        return as_given(environment.iter().map(|(name, value)| (name.as_str(), value)));
    };
    let account = reading.account;
    let mut settings: Vec<Setting> = account
        .settings
        .iter()
        .map(|it| Setting { name: it.key.clone(), value: it.value.clone(), is_set: true })
        .collect();
    for entry in example::entries().filter(|entry| entry.is_default) {
        let name = format!("{}.{}", entry.table, entry.name);
        if account.of(&name).is_none() {
            settings.push(Setting { name, value: entry.value.to_owned(), is_set: false });
        }
    }
    settings.sort_by(|a, b| (!a.is_set, &a.name).cmp(&(!b.is_set, &b.name)));
    settings
}

/// The variables that a relay was started with, secrets masked.
pub fn as_given<'v>(variables: impl Iterator<Item = (&'v str, &'v OsString)>) -> Vec<Setting> {
    let set = variables.map(|(name, value)| Setting {
        name: name.to_owned(),
        value: masked(name, &value.to_string_lossy()),
        is_set: true,
    });
    set.collect()
}

fn reading(environment: &[(String, OsString)]) -> Option<Reading> {
    let file = environment.iter().find(|(name, _)| name == "VOCARIS_CONFIG");
    let file = match file {
        Some((_, path)) => {
            let path = PathBuf::from(path);
            Some(SourceFile { text: std::fs::read_to_string(&path).ok()?, path })
        }
        None => None,
    };
    let variables = environment.iter().map(|(name, value)| (name.into(), value.clone()));
    Reading::of(file.as_ref(), variables).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relays_settings_are_told_whole_and_without_secrets() {
        let variables = [
            ("VOCARIS_SERVER_WORKERS", "2"),
            ("VOCARIS_GEMINI_API_KEY", "hush"),
            ("TWILIO_AUTH_TOKEN", "hush"),
            ("VOCARIS_SERVER_WORKERS", "3"),
        ];
        let environment = variables.map(|(name, value)| (name.to_string(), value.into()));
        let settings = relay_settings(&environment);
        let of = |name: &str| settings.iter().find(|it| it.name == name).unwrap();
        assert_eq!((of("server.workers").value.as_str(), of("server.workers").is_set), ("3", true));
        assert!(!of("server.drain_timeout").is_set);
        assert!(settings.len() > 50, "{}", settings.len());
        assert!(settings.iter().all(|it| !it.value.contains("hush")));
    }

    #[test]
    fn variables_that_no_relay_understands_are_told_as_they_are() {
        let variables = [("VOCARIS_NO_SUCH", "1"), ("VOCARIS_OTHER_SECRET", "hush")];
        let environment = variables.map(|(name, value)| (name.to_string(), value.into()));
        let settings = relay_settings(&environment);
        assert_eq!(settings[0].value, "1");
        assert_eq!(settings[1].value, MASK);
    }
}
