//! `[transcripts]` and `[recording]`: what is kept of calls on disk, where and for how long.
//!
//! Out:      both off unless they are switched on.
//! Bounds:   [`CONSENT_MAX_BYTES`], [`RETENTION_DAYS_MAX`].
//! Not here: the files themselves (`record`).

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Key, Settings, Written};
use super::values;

/// The longest sentence said before a recorded call, about half a minute of speech: the call's
/// token must still be good when it has been said.
pub const CONSENT_MAX_BYTES: usize = 400;
/// The longest that files are kept, ten years.
pub const RETENTION_DAYS_MAX: usize = 3_650;

const DEFAULT_RETENTION_DAYS: usize = 30;
const DEFAULT_RECORDING_MAX: Duration = Duration::from_secs(4 * 3600);
const ONE_DAY: Duration = Duration::from_secs(24 * 3600);

/// What is written down of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcripts {
    /// Whether anything is.
    pub enabled: bool,
    /// Where the files are.
    pub directory: PathBuf,
    /// How long a file is kept, in days since it was last written; 0 is for ever.
    pub retention_days: u32,
    /// Whether callers' numbers are shortened to their last two digits.
    pub redact_numbers: bool,
    /// Whether what a tool was called with is written, too.
    pub tool_arguments: bool,
}

/// The recording of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whether calls are recorded.
    pub enabled: bool,
    /// Where the files are.
    pub directory: PathBuf,
    /// How long a file is kept, in days since it was last written; 0 is for ever.
    pub retention_days: u32,
    /// What a caller is told before the call begins; `None`: nothing.
    pub consent: Option<String>,
    /// What of one call is recorded at most; the rest is not.
    pub max_duration: Duration,
}

/// Reads `[transcripts]`.
pub(super) fn transcripts(settings: &mut Settings<'_>) -> Transcripts {
    const SECTION: &str = "transcripts";
    let mut switch =
        |name, default| settings.read(Key::open(SECTION, name), values::truth).unwrap_or(default);
    Transcripts {
        enabled: switch("enabled", false),
        redact_numbers: switch("redact_numbers", true),
        tool_arguments: switch("tool_arguments", false),
        directory: directory(settings, SECTION, "transcripts"),
        retention_days: retention_days(settings, SECTION),
    }
}

/// Reads `[recording]`.
pub(super) fn recording(settings: &mut Settings<'_>) -> Recording {
    const SECTION: &str = "recording";
    Recording {
        enabled: settings.read(Key::open(SECTION, "enabled"), values::truth).unwrap_or(false),
        directory: directory(settings, SECTION, "recordings"),
        retention_days: retention_days(settings, SECTION),
        consent: settings.read(Key::open(SECTION, "consent"), consent),
        max_duration: settings
            .read(
                Key::open(SECTION, "max_duration"),
                values::duration(Duration::from_secs(1)..=ONE_DAY),
            )
            .unwrap_or(DEFAULT_RECORDING_MAX),
    }
}

fn directory(settings: &mut Settings<'_>, section: &'static str, default: &str) -> PathBuf {
    let written =
        settings.read(Key::open(section, "directory"), |written: &Written<'_>| match values::text(
            written,
        )?
        .trim()
        {
            "" => Err("must be the path of a directory".to_owned()),
            path => Ok(PathBuf::from(path)),
        });
    written.unwrap_or_else(|| PathBuf::from(default))
}

fn retention_days(settings: &mut Settings<'_>, section: &'static str) -> u32 {
    let days = values::whole(0..=RETENTION_DAYS_MAX);
    settings.read(Key::open(section, "retention_days"), days).unwrap_or(DEFAULT_RETENTION_DAYS)
        as u32
}

fn consent(written: &Written<'_>) -> Result<String, String> {
    let sentence = values::sentence(written)?;
    match sentence.len() <= CONSENT_MAX_BYTES {
        true => Ok(sentence),
        false => Err(format!("must be a sentence of at most {CONSENT_MAX_BYTES} bytes")),
    }
}
