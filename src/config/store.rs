//! `[store]`: the file that outlives the process.
//!
//! Not here: what is kept in it (`control::appointments`).

use std::path::PathBuf;

use super::settings::{Key, Settings, Written};
use super::values;

/// The file, below the folder the relay runs in.
const DEFAULT_FILE: &str = "vocaris.db";
/// That of a demo: what is made up while it is tried stands in no real book, and a demo that is
/// started beside a real book does not show it to everybody.
const DEMO_FILE: &str = "vocaris-demo.db";
/// A hundred years.
const RETENTION_DAYS_MAX: usize = 36_500;

/// Where appointments are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// An SQLite file; made when it is not there.
    pub path: PathBuf,
    /// Days after its end that an appointment is forgotten; `None`: never.
    pub retention_days: Option<u32>,
}

impl Default for Store {
    fn default() -> Store {
        Store { path: PathBuf::from(DEFAULT_FILE), retention_days: None }
    }
}

/// Reads `[store]`.
pub(super) fn read(settings: &mut Settings<'_>, is_demo: bool) -> Store {
    let default = if is_demo { DEMO_FILE } else { DEFAULT_FILE };
    let days = values::whole(1..=RETENTION_DAYS_MAX);
    Store {
        path: settings
            .read(Key::open("store", "url"), sqlite_file)
            .unwrap_or_else(|| default.into()),
        retention_days: settings
            .read(Key::open("store", "retention_days"), days)
            .map(|days| days as u32),
    }
}

/// `sqlite:` and the path of a file.
fn sqlite_file(written: &Written<'_>) -> Result<PathBuf, String> {
    let url = values::text(written)?;
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Err("PostgreSQL is not supported: write sqlite: and the path of a file".to_owned());
    }
    let path = url.strip_prefix("sqlite://").or(url.strip_prefix("sqlite:"));
    match path.filter(|path| !path.is_empty() && !path.contains(['\0', '?'])) {
        Some(path) if path.starts_with(':') => {
            Err("must name a file: what was confirmed to a caller outlives the process".to_owned())
        }
        Some(path) => Ok(PathBuf::from(path)),
        None => Err("must be sqlite: and the path of a file, such as sqlite:vocaris.db".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_an_sqlite_file() {
        let read = |url: &str| sqlite_file(&Written::Variable(url.to_owned()));
        assert_eq!(read("sqlite:vocaris.db"), Ok(PathBuf::from("vocaris.db")));
        assert_eq!(read("sqlite:/var/lib/vocaris/a.db"), Ok("/var/lib/vocaris/a.db".into()));
        assert_eq!(read("sqlite:///var/lib/a.db"), Ok("/var/lib/a.db".into()));
        for url in ["", "sqlite:", "vocaris.db", "file:a", "sqlite:a?mode=ro", "sqlite:a\0b"] {
            assert!(read(url).is_err(), "{url}");
        }
        assert!(read("sqlite::memory:").unwrap_err().contains("outlives"));
        assert!(read("postgres://u:p@h/d").unwrap_err().contains("not supported"));
    }
}
