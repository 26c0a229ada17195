//! What is wrong with a configuration: every finding with its place, key, value and remedy.
//!
//! Out:      one line a finding, the file's in the order of its lines, then the variables'.
//! Not here: finding them; the value of a secret, which is never taken in.

use std::fmt;
use std::path::PathBuf;

/// Bytes of a bad value that are shown; the rest is cut off.
const SHOWN_MAX_BYTES: usize = 80;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole: it cannot be read.
    File(PathBuf),
    /// A line of a file, counted from 1.
    Line(PathBuf, usize),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Place::Variable(name) => f.write_str(name),
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// `section.key`; `None` where the finding is about no single key.
    pub key: Option<String>,
    /// What was written, shortened; `None` where there is nothing to show, or it is a secret.
    pub value: Option<String>,
    /// What is wrong with it, and what to do.
    pub advice: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value}: ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.advice)
    }
}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Puts the findings in order.
    ///
    /// # Panics
    /// If there are none.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        assert!(!errors.is_empty(), "an error without a finding");
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        ConfigErrors(errors)
    }

    /// The findings.
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let end = if index + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{error}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// `text` in quotes, escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut = text.floor_char_boundary(SHOWN_MAX_BYTES);
    let more = if cut < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", text[..cut].escape_debug())
}
