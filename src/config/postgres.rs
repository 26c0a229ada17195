//! `store.url = "postgres://…"`: where a PostgreSQL database is, and how it is talked to.
//!
//! In:       the URL as libpq writes it, without a password.
//! Out:      [`Postgres`]: host, port, user, database, and whether TLS is spoken.
//! Bounds:   [`NAME_MAX_BYTES`] of a user's or a database's name.
//! Not here: connections (`control::database`), the password (`store`), which has keys of its own:
//!           a URL is shown, logged and handed about.
//!
//! What leaves the machine is encrypted, and the server is who its certificate says: there is no
//! half of it. `sslmode` may say `disable` to a Unix socket or a loopback address, where that is
//! the default, and `require` or `verify-full`, which are one and the same here, to any host.

use std::fmt;
use std::path::PathBuf;

use super::{Secret, values};

/// PostgreSQL's own port.
const DEFAULT_PORT: u16 = 5432;
/// The longest name PostgreSQL keeps whole.
const NAME_MAX_BYTES: usize = 63;

/// A database, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Where it listens.
    pub host: PostgresHost,
    /// Its port; of a Unix socket the number in its name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether TLS is spoken, with the server's certificate and name verified.
    pub tls: bool,
    /// PEM roots the server's certificate is checked against; `None`: those of the public web.
    pub ca_file: Option<PathBuf>,
    /// How the role proves itself.
    pub password: Password,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresHost {
    /// A name or an address.
    Tcp(String),
    /// The directory of its Unix socket.
    Socket(PathBuf),
}

/// Where the password is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Password {
    /// None is needed: the server trusts the socket's owner.
    #[default]
    None,
    /// It was configured.
    Given(Secret),
    /// The first line of this file, read for each connection: it may change.
    File(PathBuf),
}

impl fmt::Display for Postgres {
    /// As an operator tells databases apart: no user, no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, database) = (self.port, &self.database);
        match &self.host {
            PostgresHost::Tcp(host) if host.contains(':') => {
                write!(f, "postgres://[{host}]:{port}/{database}")
            }
            PostgresHost::Tcp(host) => write!(f, "postgres://{host}:{port}/{database}"),
            PostgresHost::Socket(directory) => {
                write!(f, "postgres:///{database} at {}:{port}", directory.display())
            }
        }
    }
}

impl Postgres {
    /// Whether `url` speaks of PostgreSQL at all.
    pub(super) fn is_meant(url: &str) -> bool {
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }

    /// Parses `postgres://user@host[:port]/database[?sslmode=…]`; a Unix socket is
    /// `postgres://user@/database?host=/run/postgresql[&port=…]`.
    ///
    /// # Errors
    /// What is wrong, and what to write. It does not quote the URL.
    pub(super) fn parse(url: &str) -> Result<Postgres, String> {
        const FORM: &str =
            "must be postgres://user@host/database, perhaps with :port and ?sslmode=";
        let rest = url.strip_prefix("postgres://").or(url.strip_prefix("postgresql://"));
        let rest = rest.filter(|rest| !rest.contains(['#', '\0'])).ok_or(FORM)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').ok_or(FORM)?;
        let (user, server) = authority.rsplit_once('@').ok_or(FORM)?;
        if user.contains(':') {
            return Err(
                "must hold no password: a URL is shown and logged. Set store.password_file, \
                        or the variable PGPASSWORD"
                    .to_owned(),
            );
        }
        let (user, database) = (name(user, "user")?, name(database, "database")?);
        let (mut host, mut port) = match server {
            "" => (None, None),
            server if server.starts_with('%') => (Some(decoded(server).ok_or(FORM)?), None),
            server => {
                let (host, port) = values::split_authority(server).ok_or(FORM)?;
                (Some(host.to_ascii_lowercase()), port)
            }
        };
        let mut mode = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(FORM)?;
            let value = decoded(value).ok_or(FORM)?;
            match key {
                "sslmode" => mode = Some(value),
                "host" if host.is_none() => host = Some(value),
                "port" if port.is_none() => port = Some(values::port(&value)?),
                "password" => return Err("must hold no password: set store.password_file".into()),
                "host" | "port" => return Err(format!("names the {key} twice")),
                _ => return Err("understands host, port and sslmode behind the ?".to_owned()),
            }
        }
        let host = host.ok_or("names no host: for a Unix socket, ?host= and its directory")?;
        let host = match host.starts_with('/') {
            true => PostgresHost::Socket(PathBuf::from(host)),
            false => PostgresHost::Tcp(host),
        };
        let tls = tls(mode.as_deref(), &host)?;
        let port = port.unwrap_or(DEFAULT_PORT);
        let password = Password::None;
        Ok(Postgres { host, port, user, database, tls, ca_file: None, password })
    }
}

fn tls(mode: Option<&str>, host: &PostgresHost) -> Result<bool, String> {
    let is_near = match host {
        PostgresHost::Socket(_) => true,
        PostgresHost::Tcp(host) => values::is_loopback(host),
    };
    let is_socket = matches!(host, PostgresHost::Socket(_));
    match mode {
        None => Ok(!is_near),
        Some("disable") if is_near => Ok(false),
        Some("disable") => {
            Err("sslmode=disable is for a Unix socket or a loopback address: leave it \
                                out, and name the server's root in store.ca_file"
                .to_owned())
        }
        Some("require" | "verify-full") if is_socket => {
            Err("a Unix socket speaks no TLS: leave sslmode out".to_owned())
        }
        Some("require" | "verify-full") => Ok(true),
        Some("allow" | "prefer") => {
            Err("sslmode allow and prefer can be talked out of TLS: write \
                                         require, or leave it out"
                .to_owned())
        }
        Some("verify-ca") => {
            Err("sslmode=verify-ca takes any host's certificate: write verify-full".to_owned())
        }
        Some(_) => Err("sslmode must be require, verify-full or disable".to_owned()),
    }
}

/// A user's or a database's name.
fn name(text: &str, whose: &str) -> Result<String, String> {
    let fits = |name: &String| (1..=NAME_MAX_BYTES).contains(&name.len());
    let name = decoded(text).filter(fits).filter(|name| !name.chars().any(char::is_control));
    name.ok_or_else(|| format!("must name a {whose} of 1 to {NAME_MAX_BYTES} bytes"))
}

/// Percent signs and what they stand for, RFC 3986 section 2.1; `None`: not UTF-8, or half a code.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_it_is_written() {
        let read = |url: &str| Postgres::parse(url).unwrap();
        let far = read("postgres://vocaris@db.example.org/appointments");
        assert_eq!(far.host, PostgresHost::Tcp("db.example.org".to_owned()));
        assert_eq!((far.port, &*far.user, &*far.database), (5432, "vocaris", "appointments"));
        assert!(far.tls && far.password == Password::None);
        assert_eq!(far.to_string(), "postgres://db.example.org:5432/appointments");
        let near = read("postgresql://u%40x@[::1]:6000/d?sslmode=require");
        assert_eq!((near.port, &*near.user, near.tls), (6000, "u@x", true));
        assert_eq!(near.to_string(), "postgres://[::1]:6000/d");
        assert!(!read("postgres://u@127.0.0.1/d").tls && !read("postgres://u@localhost/d").tls);
        let socket = read("postgres://u@/d?host=/run/postgresql&port=5433");
        assert_eq!(socket.host, PostgresHost::Socket("/run/postgresql".into()));
        assert_eq!((socket.port, socket.tls), (5433, false));
        assert_eq!(read("postgres://u@%2Frun%2Fpg/d").host, PostgresHost::Socket("/run/pg".into()));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_quoting_it() {
        for (url, told) in [
            ("postgres:d", "must be postgres://"),
            ("postgres://host/d", "must be postgres://"),
            ("postgres://u@host", "must be postgres://"),
            ("postgres://u:pAss@host/d", "must hold no password"),
            ("postgres://u@host/d?password=pAss", "must hold no password"),
            ("postgres://u@host/", "must name a database"),
            ("postgres://@host/d", "must name a user"),
            ("postgres://u@host/%zz", "must name a database"),
            ("postgres://u@host/d?sslmode=disable", "is for a Unix socket or a loopback"),
            ("postgres://u@host/d?sslmode=prefer", "talked out of TLS"),
            ("postgres://u@host/d?sslmode=verify-ca", "write verify-full"),
            ("postgres://u@host/d?sslmode=pAss", "sslmode must be"),
            ("postgres://u@/d", "names no host"),
            ("postgres://u@/d?host=/s&sslmode=require", "speaks no TLS"),
            ("postgres://u@a/d?host=b", "names the host twice"),
            ("postgres://u@a,b/d", "must be postgres://"),
            ("postgres://u@a/d?target_session_attrs=any", "understands host, port and sslmode"),
            ("postgres://u@a:0/d", "must be postgres://"),
        ] {
            let error = Postgres::parse(url).unwrap_err();
            assert!(error.contains(told), "{url}: {error}");
            assert!(!error.contains("pAss"), "{error}");
        }
    }
}
