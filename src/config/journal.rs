//! `[journal]`: what is kept of conversations for the next process.
//!
//! Not here: what stands in it (`call::journal`), the file (`control::conversations`).

use std::path::PathBuf;

use super::settings::{Key, Settings, Written};
use super::values;

const SECTION: &str = "journal";
/// The file, below the folder the relay runs in.
const DEFAULT_FILE: &str = "vocaris-journal.db";

/// The journal of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Whether there is one: it holds what was said.
    pub enabled: bool,
    /// An SQLite file; made when it is not there.
    pub path: PathBuf,
}

/// Reads `[journal]`.
pub(super) fn read(settings: &mut Settings<'_>) -> Journal {
    Journal {
        enabled: settings.read(Key::open(SECTION, "enabled"), values::truth).unwrap_or(false),
        path: settings
            .read(Key::open(SECTION, "file"), file)
            .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE)),
    }
}

fn file(written: &Written<'_>) -> Result<PathBuf, String> {
    match values::text(written)?.trim() {
        path if path.is_empty() || path.contains('\0') => {
            Err("must be the path of a file".to_owned())
        }
        path => Ok(PathBuf::from(path)),
    }
}
