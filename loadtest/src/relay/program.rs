//! Which program is the relay under test, and by which names it is told its settings.
//!
//! In:       what was typed, or a file that holds Vocaris.
//! Out:      a [`Program`] to start.
//! Bounds:   none of its own.
//! Not here: starting it (`relay`), building it (`relay::peer`).

use std::ffi::OsString;
use std::path::PathBuf;

use super::{SUBCOMMAND, null};
use crate::judge::Judgement;

/// A relay to be started. By default none: it has no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// What stands behind it on its command line.
    pub arguments: Vec<OsString>,
    /// What it is.
    pub kind: Kind,
}

/// What a relay is, as far as the load test must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Vocaris: every sample it passes on is known beforehand.
    #[default]
    Vocaris,
    /// The floor: moves messages of the right size, and no audio.
    Null,
    /// Any other: converts by filters of its own.
    Other,
}

/// The settings that every relay needs: what Vocaris calls them, and what every other relay does.
/// `TWILIO_AUTH_TOKEN` has one name for all.
const SETTINGS: [(&str, &str); 6] = [
    ("VOCARIS_SERVER_LISTEN", "RELAY_LISTEN"),
    ("VOCARIS_SERVER_PUBLIC_URL", "RELAY_PUBLIC_URL"),
    ("VOCARIS_GEMINI_URL", "RELAY_GEMINI_URL"),
    ("VOCARIS_GEMINI_MODEL", "RELAY_GEMINI_MODEL"),
    ("VOCARIS_GEMINI_CA_FILE", "RELAY_GEMINI_CA_FILE"),
    ("VOCARIS_GEMINI_API_KEY", "GEMINI_API_KEY"),
];

impl Kind {
    /// What decides whether the audio of this relay was good.
    pub fn judged(self) -> Judgement {
        match self {
            Kind::Vocaris => Judgement::Exact,
            Kind::Null => Judgement::ByCount,
            Kind::Other => Judgement::ByContent,
        }
    }

    /// What this relay calls the setting that Vocaris calls `name`.
    pub fn variable(self, name: &str) -> &str {
        let known = SETTINGS.iter().find(|(vocaris, _)| *vocaris == name);
        match (self, known) {
            (Kind::Vocaris, _) | (_, None) => name,
            (_, Some((_, other))) => other,
        }
    }
}

impl Program {
    /// Vocaris, in a program that calls [`super::serve`] under [`SUBCOMMAND`].
    pub fn vocaris(file: impl Into<PathBuf>) -> Program {
        let arguments = vec![SUBCOMMAND.into()];
        Program { file: file.into(), arguments, kind: Kind::Vocaris }
    }

    /// The floor, in a program that calls [`null::serve`] under [`null::SUBCOMMAND`].
    pub fn null(file: impl Into<PathBuf>) -> Program {
        let arguments = vec![null::SUBCOMMAND.into()];
        Program { file: file.into(), arguments, kind: Kind::Null }
    }

    /// True for the floor, which passes no audio on.
    pub fn is_floor(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Any relay that takes the settings `RELAY_LISTEN`, `RELAY_PUBLIC_URL`, `RELAY_GEMINI_URL`,
    /// `RELAY_GEMINI_MODEL`, `RELAY_GEMINI_CA_FILE`, `GEMINI_API_KEY` and `TWILIO_AUTH_TOKEN` by
    /// environment, prints `listening on ADDRESS`, ends well on SIGTERM, and at once when its
    /// standard input ends.
    pub fn other(file: impl Into<PathBuf>, arguments: Vec<OsString>) -> Program {
        Program { file: file.into(), arguments, kind: Kind::Other }
    }

    /// The same from one line, cut at its spaces; `None` if there is nothing but spaces.
    pub fn from_line(line: &str) -> Option<Program> {
        let mut words = line.split_whitespace();
        let file = words.next()?;
        Some(Program::other(file, words.map(OsString::from).collect()))
    }
}

impl From<PathBuf> for Program {
    fn from(file: PathBuf) -> Program {
        Program::vocaris(file)
    }
}

impl From<&str> for Program {
    fn from(file: &str) -> Program {
        Program::vocaris(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocaris_is_told_its_settings_by_its_own_names_and_others_by_theirs() {
        for (name, other) in SETTINGS {
            assert_eq!(Kind::Vocaris.variable(name), name);
            assert_eq!(Kind::Null.variable(name), other);
            assert_eq!(Kind::Other.variable(name), other);
        }
        assert_eq!(Kind::Other.variable("TWILIO_AUTH_TOKEN"), "TWILIO_AUTH_TOKEN");
    }

    #[test]
    fn a_line_is_a_program_and_its_arguments() {
        let program = Program::from_line("  node relay.mjs --quiet ").unwrap();
        assert_eq!(program, Program::other("node", vec!["relay.mjs".into(), "--quiet".into()]));
        assert_eq!(Program::from_line("  "), None);
    }
}
