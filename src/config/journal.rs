//! `[journal]`: what is kept of conversations for the next process.
//!
//! In:       the section; where `[store]` is.
//! Out:      [`Journal`]: whether one is kept, and where.
//! Not here: what stands in it (`call::journal`), the stores (`control::conversations`).

use std::path::PathBuf;

use super::settings::{Key, Settings, Written};
use super::store::{Store, StoreUrl};
use super::values;

/// The file, below the folder the relay runs in.
const DEFAULT_FILE: &str = "vocaris-journal.db";

const ENABLED: Key = Key::open("journal", "enabled");
const FILE: Key = Key::open("journal", "file");

/// The journal of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Whether there is one: it holds what was said.
    pub enabled: bool,
    /// Where: an SQLite file of its own, made when it is not there; or the database of `[store]`.
    pub url: StoreUrl,
}

/// Reads `[journal]`. In a database that several hosts share the journal is where the book is: a
/// host with a file of its own would know nothing of the others' calls.
pub(super) fn read(settings: &mut Settings<'_>, store: &Store) -> Journal {
    let enabled = settings.read(ENABLED, values::truth).unwrap_or(false);
    let path = settings.read(FILE, file);
    let url = match &store.url {
        StoreUrl::Postgres(_) if enabled => {
            if path.is_some() {
                let advice = "is for a journal in a file: with a store.url of postgres:// it is in \
                              that database. Leave this key out";
                settings.fail(FILE, advice);
            }
            store.url.clone()
        }
        _ => StoreUrl::Sqlite(path.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))),
    };
    Journal { enabled, url }
}

fn file(written: &Written<'_>) -> Result<PathBuf, String> {
    match values::text(written)?.trim() {
        path if path.is_empty() || path.contains('\0') => {
            Err("must be the path of a file".to_owned())
        }
        path => Ok(PathBuf::from(path)),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, StoreUrl};

    const ON: (&str, &str) = ("VOCARIS_JOURNAL_ENABLED", "true");
    const DATABASE: (&str, &str) = ("VOCARIS_STORE_URL", "postgres://u@db.example.org/d");
    const FILE: (&str, &str) = ("VOCARIS_JOURNAL_FILE", "/var/lib/vocaris/j.db");

    fn read(settings: &[(&str, &str)]) -> Result<StoreUrl, String> {
        let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
        let config = Config::read(None, settings).map_err(|errors| errors.to_string())?;
        Ok(config.journal.url)
    }

    #[test]
    fn a_journal_is_in_its_file_or_in_the_database_that_the_hosts_share() {
        assert_eq!(read(&[ON]), Ok(StoreUrl::Sqlite("vocaris-journal.db".into())));
        assert_eq!(read(&[ON, FILE]), Ok(StoreUrl::Sqlite(FILE.1.into())));
        assert!(matches!(read(&[ON, DATABASE]), Ok(StoreUrl::Postgres(_))));
        let told = read(&[ON, DATABASE, FILE]).unwrap_err();
        assert!(told.contains("is for a journal in a file"), "{told}");
        assert!(read(&[DATABASE, FILE]).is_ok(), "nothing is kept");
    }
}
