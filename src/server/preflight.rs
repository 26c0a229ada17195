//! What can be known to be wrong before anything is begun: no port is listened on, no file is made.
//!
//! In:       a configuration that is right by itself.
//! Out:      every [`Problem`] it meets on this machine, each with what to do.
//! Bounds:   a look at each file it names.
//! Not here: what shows only when it is tried; that ends the start too (`StartError`).

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::accept::{self, Sockets};
use crate::clock::unix_seconds;
use crate::config::{Config, StoreUrl};
use crate::control::certificates;
use crate::net::{TlsConfig, TlsServer};

/// No clock shows less that is right: 2026-01-01. Certificates, signatures and appointments go by
/// it.
const EARLIEST_UNIX: u64 = 1_767_225_600;

/// One thing that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Problem {
    /// An address cannot be listened on.
    pub(super) fn address(key: &str, address: SocketAddr, error: &io::Error) -> Problem {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "; stop the program that listens there, or name another port",
            ErrorKind::AddrNotAvailable => "; name an address of this machine, or 0.0.0.0",
            ErrorKind::PermissionDenied => {
                "; name a port above 1023, or give the program CAP_NET_BIND_SERVICE"
            }
            _ => "",
        };
        Problem(format!("cannot listen on {address} ({key}): {error}{advice}"))
    }
}

/// Everything that keeps the relay from starting. `given`: sockets that listen already.
pub(super) fn problems(config: &Config, given: &Sockets) -> Vec<Problem> {
    let mut problems = standing(config);
    problems.extend(addresses(config, given));
    problems
}

/// What is wrong whether or not a relay runs already.
pub(super) fn standing(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(clock(unix_seconds()));
    if config.gemini.url.tls
        && let Err(error) = TlsConfig::new(config.gemini.ca_file.as_deref())
    {
        problems.push(Problem(error.to_string()));
    }
    if !config.server.tls.is_empty()
        && let Err(error) = TlsServer::new(&config.server.tls, certificates::now_unix())
    {
        problems.push(Problem(format!("cannot offer TLS: {error}")));
    }
    let (recording, transcripts) = (&config.recording, &config.transcripts);
    for (is_used, key, path) in [
        (recording.enabled, "recording.directory", &recording.directory),
        (transcripts.enabled, "transcripts.directory", &transcripts.directory),
    ] {
        problems.extend(is_used.then(|| directory(key, path)).flatten());
    }
    // A demo finds another place for its book.
    if config.appointments.enabled && !config.gemini.is_demo() {
        let path = config.store.path();
        problems.extend(path.and_then(|path| store("store.url", path)));
    }
    if let (true, StoreUrl::Sqlite(path)) = (config.journal.enabled, &config.journal.url) {
        problems.extend(store("journal.file", path));
    }
    problems.extend(shared_addresses(config));
    problems
}

/// What is wrong with the addresses to listen on: they are in use, or cannot be had. Those of
/// sockets that are `given` are not looked at.
pub(super) fn addresses(config: &Config, given: &Sockets) -> Vec<Problem> {
    let is_given = |key| match key {
        "server.listen" => given.main.is_some(),
        "admin.listen" => given.admin.is_some(),
        _ => given.agent_check.is_some(),
    };
    let wanted = wanted(config).filter(|&(key, _)| !is_given(key));
    let tried = wanted.map(|(key, address)| {
        let error = accept::try_address(address).err()?;
        Some(Problem::address(key, address, &error))
    });
    tried.flatten().collect()
}

/// The addresses to listen on, by key.
fn wanted(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let addresses = [
        ("server.listen", Some(config.server.listen)),
        ("admin.listen", config.admin.listen),
        ("server.agent_check", config.server.agent_check),
    ];
    addresses.into_iter().filter_map(|(key, address)| Some((key, address?)))
}

fn clock(now_unix: u64) -> Option<Problem> {
    (now_unix < EARLIEST_UNIX).then(|| {
        let shown = jiff::Timestamp::from_second(now_unix as i64).unwrap_or_default();
        Problem(format!(
            "the system's clock shows {shown}, which is past: certificates and signatures cannot \
             be checked by it; set it (timedatectl set-ntp true), then start again"
        ))
    })
}

/// Addresses that are one with an earlier one.
fn shared_addresses(config: &Config) -> Vec<Problem> {
    let is_any = |ip: IpAddr| ip.is_unspecified();
    let is_one = |one: SocketAddr, other: SocketAddr| {
        let overlap = one.ip() == other.ip() || is_any(one.ip()) || is_any(other.ip());
        one.port() == other.port() && one.port() != 0 && overlap
    };
    let wanted: Vec<_> = wanted(config).collect();
    let shared = wanted.iter().enumerate().filter_map(|(number, &(key, address))| {
        let &(other_key, other) =
            wanted[..number].iter().find(|(_, other)| is_one(address, *other))?;
        Some(Problem(format!(
            "{key} {address} and {other_key} {other} are one address: give {key} another port, or \
             leave it out"
        )))
    });
    shared.collect()
}

/// A directory that will be made where it is not there, with those above it.
fn directory(key: &str, path: &Path) -> Option<Problem> {
    let above = path.ancestors().find(|path| path.as_os_str().is_empty() || path.exists())?;
    let is_directory = above.as_os_str().is_empty() || above.is_dir();
    (!is_directory).then(|| {
        let (path, above) = (path.display(), above.display());
        Problem(format!("cannot keep files in {path} ({key}): {above} is no directory; name one"))
    })
}

/// A file in a directory that is there.
fn store(key: &str, path: &Path) -> Option<Problem> {
    let shown = path.display();
    if path.is_dir() {
        return Some(Problem(format!(
            "cannot use {shown} ({key}): it is a directory; name a file in it"
        )));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| {
        let folder = folder.display();
        Problem(format!(
            "cannot use {shown} ({key}): {folder} is no directory that is there; make it, or \
             name another"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
        Config::read(None, settings).unwrap()
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_told_and_a_right_one_is_not() {
        assert!(clock(0).unwrap().0.contains("1970-01-01"));
        assert!(clock(EARLIEST_UNIX - 1).unwrap().0.contains("set it"));
        assert_eq!(clock(EARLIEST_UNIX), None);
        assert_eq!(clock(unix_seconds()), None);
    }

    #[test]
    fn two_listeners_on_one_address_are_told_before_either_listens() {
        for (main, other, is_one) in [
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "[::]:8080", true),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("127.0.0.1:8080", "127.0.0.1:9100", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            for key in ["VOCARIS_ADMIN_LISTEN", "VOCARIS_SERVER_AGENT_CHECK"] {
                let config = config(&[("VOCARIS_SERVER_LISTEN", main), (key, other)]);
                let told = shared_addresses(&config).len();
                assert_eq!(told, usize::from(is_one), "{main} {key} {other}");
            }
        }
        let both = "127.0.0.1:9100";
        let config =
            config(&[("VOCARIS_ADMIN_LISTEN", both), ("VOCARIS_SERVER_AGENT_CHECK", both)]);
        assert_eq!(shared_addresses(&config).len(), 1);
    }
}
