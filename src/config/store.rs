//! `[store]`: what outlives the process.
//!
//! In:       the section.
//! Out:      [`Store`]: an SQLite file, or a PostgreSQL database with all that it takes to reach
//!           it.
//! Not here: what is kept in it (`control::appointments`, `control::conversations`), the form of a
//!           database's URL (`postgres`).

use std::fmt;
use std::path::{Path, PathBuf};

use super::Secret;
use super::postgres::{Password, Postgres};
use super::settings::{Key, Settings, Written};
use super::values;

/// The file, below the folder the relay runs in.
const DEFAULT_FILE: &str = "vocaris.db";
/// That of a demo: what is made up while it is tried stands in no real book, and a demo that is
/// started beside a real book does not show it to everybody.
const DEMO_FILE: &str = "vocaris-demo.db";
/// A hundred years.
const RETENTION_DAYS_MAX: usize = 36_500;
/// The longest password.
const PASSWORD_MAX_BYTES: usize = 1024;

const URL: Key = Key::open("store", "url");
const PASSWORD: Key = Key::secret("store", "password", "PGPASSWORD");
const PASSWORD_FILE: Key = Key::open("store", "password_file");
const CA_FILE: Key = Key::open("store", "ca_file");

/// Where appointments are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where.
    pub url: StoreUrl,
    /// Days after its end that an appointment is forgotten; `None`: never.
    pub retention_days: Option<u32>,
}

/// Where appointments, or conversations, are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file, for the relays of one host; made when it is not there.
    Sqlite(PathBuf),
    /// A PostgreSQL database, for those of several.
    Postgres(Box<Postgres>),
}

impl fmt::Display for StoreUrl {
    /// As an operator knows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "{}", path.display()),
            StoreUrl::Postgres(postgres) => write!(f, "{postgres}"),
        }
    }
}

impl Store {
    /// An SQLite file that nothing is ever forgotten of.
    pub fn sqlite(path: PathBuf) -> Store {
        Store { url: StoreUrl::Sqlite(path), retention_days: None }
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.url {
            StoreUrl::Sqlite(path) => Some(path),
            StoreUrl::Postgres(_) => None,
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::sqlite(PathBuf::from(DEFAULT_FILE))
    }
}

/// Reads `[store]`.
pub(super) fn read(settings: &mut Settings<'_>, is_demo: bool) -> Store {
    let default = if is_demo { DEMO_FILE } else { DEFAULT_FILE };
    let days = values::whole(1..=RETENTION_DAYS_MAX);
    let url = settings.read(URL, url);
    let has_url = url.is_some();
    let mut url = url.unwrap_or_else(|| StoreUrl::Sqlite(default.into()));
    let password = settings.read(PASSWORD, password).map(Password::Given);
    let file = settings.read(PASSWORD_FILE, values::text_owned).map(PathBuf::from);
    let ca_file = settings.read(CA_FILE, values::text_owned).map(PathBuf::from);
    if let StoreUrl::Postgres(postgres) = &mut url {
        if !postgres.tls && ca_file.is_some() {
            settings.fail(CA_FILE, "no TLS is spoken there: add ?sslmode=require to store.url");
        }
        // A variable of that name may be meant for other programs: what is written for us counts.
        postgres.password = file.map(Password::File).or(password).unwrap_or_default();
        postgres.ca_file = ca_file;
    } else if has_url || !settings.is_written(URL) {
        for (key, is_set) in [(PASSWORD_FILE, file.is_some()), (CA_FILE, ca_file.is_some())] {
            if is_set {
                settings.fail(key, "is for a store.url of postgres:// alone");
            }
        }
    }
    Store {
        url,
        retention_days: settings
            .read(Key::open("store", "retention_days"), days)
            .map(|days| days as u32),
    }
}

/// `sqlite:` and the path of a file, or a database's URL.
fn url(written: &Written<'_>) -> Result<StoreUrl, String> {
    let text = values::text(written)?;
    match Postgres::is_meant(text) {
        true => Ok(StoreUrl::Postgres(Box::new(Postgres::parse(text)?))),
        false => sqlite_file(text).map(StoreUrl::Sqlite),
    }
}

fn sqlite_file(url: &str) -> Result<PathBuf, String> {
    let path = url.strip_prefix("sqlite://").or(url.strip_prefix("sqlite:"));
    match path.filter(|path| !path.is_empty() && !path.contains(['\0', '?'])) {
        Some(path) if path.starts_with(':') => {
            Err("must name a file: what was confirmed to a caller outlives the process".to_owned())
        }
        Some(path) => Ok(PathBuf::from(path)),
        None => Err("must be sqlite: and the path of a file, such as sqlite:vocaris.db, or \
                     postgres://user@host/database"
            .to_owned()),
    }
}

/// A password may hold anything a person can type.
fn password(written: &Written<'_>) -> Result<Secret, String> {
    let text = values::text(written)?;
    let fits = (1..=PASSWORD_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    match fits {
        true => Ok(Secret::new(text.to_owned())),
        false => Err(format!("must be one line of 1 to {PASSWORD_MAX_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Store, String> {
        let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
        let config = crate::config::Config::read(None, settings);
        config.map(|config| config.store).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_store_is_an_sqlite_file() {
        let read = |url: &str| url_of(url).map(|url| url.to_string());
        assert_eq!(read("sqlite:vocaris.db").unwrap(), "vocaris.db");
        assert_eq!(read("sqlite:/var/lib/vocaris/a.db").unwrap(), "/var/lib/vocaris/a.db");
        assert_eq!(read("sqlite:///var/lib/a.db").unwrap(), "/var/lib/a.db");
        for url in ["", "sqlite:", "vocaris.db", "file:a", "sqlite:a?mode=ro", "sqlite:a\0b"] {
            assert!(read(url).is_err(), "{url}");
        }
        assert!(read("sqlite::memory:").unwrap_err().contains("outlives"));
    }

    fn url_of(url: &str) -> Result<StoreUrl, String> {
        super::url(&Written::Variable(url.to_owned()))
    }

    #[test]
    fn a_database_has_its_password_from_a_file_or_a_variable_and_never_from_its_url() {
        const URL: (&str, &str) = ("VOCARIS_STORE_URL", "postgres://u@db.example.org/d");
        let password = |settings: &[(&str, &str)]| match read(settings).unwrap().url {
            StoreUrl::Postgres(postgres) => postgres.password,
            other => panic!("{other:?}"),
        };
        assert_eq!(password(&[URL]), Password::None);
        let given = Password::Given(Secret::new("s p".to_owned()));
        assert_eq!(password(&[URL, ("PGPASSWORD", "s p")]), given);
        assert_eq!(password(&[URL, ("VOCARIS_STORE_PASSWORD", "s p"), ("PGPASSWORD", "x")]), given);
        let file = ("VOCARIS_STORE_PASSWORD_FILE", "/run/secrets/pg");
        assert_eq!(password(&[URL, file]), Password::File("/run/secrets/pg".into()));
        assert_eq!(password(&[URL, file, ("PGPASSWORD", "x")]), Password::File(file.1.into()));

        let in_url = ("VOCARIS_STORE_URL", "postgres://u:hunter2@db.example.org/d");
        let told = read(&[in_url]).unwrap_err();
        assert!(told.contains("store.password_file") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn what_goes_with_a_database_alone_is_told_where_there_is_none() {
        let file = ("VOCARIS_STORE_PASSWORD_FILE", "/x");
        assert!(read(&[file]).unwrap_err().contains("postgres:// alone"));
        assert!(read(&[("PGPASSWORD", "for another program")]).is_ok());
        let settings =
            [("VOCARIS_STORE_URL", "postgres://u@localhost/d"), ("VOCARIS_STORE_CA_FILE", "/x")];
        assert!(read(&settings).unwrap_err().contains("no TLS is spoken"));
    }
}
