//! The hosts of a run: one, or two, with what stands before them; each on a port of its own that it
//! keeps, in a directory of its own that outlives it.
//!
//! In:       the settings of the run.
//! Out:      running [`Hosts`]; [`Hosts::strike`] kills the first.
//! Bounds:   [`PORTS_TRIED`] ports are tried; those of relay and HAProxy.
//! Not here: when it is killed (`restart`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::front::Front;
use super::{Kill, RestartError, RestartSettings, together};
use crate::bookings::{self, Stored};
use crate::clock::Nanos;
use crate::gemini::record::SessionRecord;
use crate::gemini::server::StandInConfig;
use crate::harness::{self, Harness, HarnessConfig, HarnessError};
use crate::relay::{Directory, Relay, RelayConfig, RelayError};

/// Ports that are tried before there is none.
pub(super) const PORTS_TRIED: u16 = 256;

/// Where the ports of a host are looked for: below those that the kernel gives to connections that
/// go out, or one of them would have the port of a relay that is being started again.
const PORTS_FROM: u16 = 20_000;

/// What every host signs and checks the tokens of calls with.
const TOKEN_SECRET: &str = "load-test-hosts-share-this-one-secret";

/// Its name in the environment of a relay.
const LISTEN: &str = "VOCARIS_SERVER_LISTEN";

/// Where a host keeps its appointments, and in a database the journal, too.
const STORE_URL: &str = "VOCARIS_STORE_URL";

/// The file with the appointments of a host.
const STORE: &str = "store.db";

/// The file with what the next process must know of the calls, where that is in no database. All
/// hosts are processes of one machine and share it.
const JOURNAL: &str = "journal.db";

/// The hosts of a run.
pub(super) struct Hosts {
    /// Stand-in and first host.
    harness: Harness,
    second: Option<Relay>,
    /// The files with the appointments.
    stores: Vec<PathBuf>,
    /// The settings of the database that all hosts share, where there is one.
    database: Option<Vec<(OsString, OsString)>>,
    /// The first host is dead, and stays so.
    is_dead: bool,
    // It must end before the directory goes in which its file is.
    _front: Option<Front>,
    _directory: Directory,
}

impl Hosts {
    /// Starts stand-in, hosts, and what stands before them.
    pub(super) fn start(
        settings: &RestartSettings,
        stand_in: StandInConfig,
        file: &str,
    ) -> Result<Hosts, RestartError> {
        let directory = Directory::new().map_err(HarnessError::StandIn)?;
        let count = if settings.kill == Kill::OneOfTwo { 2 } else { 1 };
        let journal = directory.path().join(JOURNAL);
        let mut own = Vec::new();
        for number in 1..=count {
            let path = directory.path().join(format!("host-{number}"));
            std::fs::create_dir(&path).map_err(HarnessError::StandIn)?;
            let address = free_address().map_err(HarnessError::StandIn)?;
            own.push((path, address));
        }
        let mut harness = Harness::start(HarnessConfig {
            stand_in,
            file: file.to_string(),
            environment: environment(settings, &journal, &own[0].0, own[0].1),
            echo: settings.echo,
            directory: Some(own[0].0.clone()),
            ..HarnessConfig::new(settings.program.clone(), crate::gemini::script::Script::listen())
        })?;
        let second = match own.get(1) {
            None => None,
            Some((path, address)) => {
                let mut config: RelayConfig = harness.relay_config.clone();
                config.environment.extend(environment(settings, &journal, path, *address));
                config.directory = Some(path.clone());
                Some(Relay::start(&config).map_err(HarnessError::Relay)?)
            }
        };
        let addresses: Vec<SocketAddr> = own.iter().map(|&(_, address)| address).collect();
        let front = match settings.kill {
            Kill::One { balanced: false } => None,
            _ => {
                let address = free_address().map_err(RestartError::Front)?;
                let front = Front::start(directory.path(), address, &addresses);
                Some(front.map_err(RestartError::Front)?)
            }
        };
        if let Some(front) = &front {
            harness.target = harness::target(front.address(), true);
        }
        let stores = own.into_iter().map(|(path, _)| path.join(STORE)).collect();
        let database = settings.store_url.as_deref().map(|url| database(settings, url));
        let is_dead = false;
        let _directory = directory;
        Ok(Hosts { harness, second, stores, database, is_dead, _front: front, _directory })
    }

    /// Stand-in, clock, and the way in.
    pub(super) fn harness(&self) -> &Harness {
        &self.harness
    }

    /// Kills the first host. Where it is started again: when it said that it listens.
    ///
    /// # Errors
    /// It did not come up again.
    pub(super) fn strike(&mut self, kill: Kill) -> Result<Option<Nanos>, RelayError> {
        self.harness.relay.kill();
        self.is_dead = true;
        if kill == Kill::OneOfTwo {
            return Ok(None);
        }
        self.harness.relay = Relay::start(&self.harness.relay_config)?;
        self.is_dead = false;
        Ok(Some(self.harness.clock.now()))
    }

    /// The bookings of all hosts.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(super) fn stored(&self) -> Result<Stored, String> {
        match &self.database {
            Some(settings) => bookings::stored_in(settings),
            None => together(self.stores.iter().map(|file| bookings::stored(file)))
                .map_err(|error| error.to_string()),
        }
    }

    /// Stops all that still runs: the sessions there were, and what was wrong with the ends.
    pub(super) fn finish(self) -> Result<(Vec<SessionRecord>, Vec<String>), RestartError> {
        let mut problems = Vec::new();
        let words = self.harness.relay.last_words();
        let (sessions, ended) = self.harness.finish().map_err(RestartError::Callers)?;
        if let Err(problem) = ended
            && !self.is_dead
        {
            problems.push(format!("{problem}; its last words:\n{words}"));
        }
        if let Some(Err(problem)) = self.second.map(Relay::stop) {
            problems.push(format!("the second host: {problem}"));
        }
        Ok((sessions, problems))
    }
}

/// What a host is started with beside what the harness says.
fn environment(
    settings: &RestartSettings,
    journal: &Path,
    directory: &Path,
    address: SocketAddr,
) -> Vec<(String, OsString)> {
    let store = format!("sqlite:{}", directory.join(STORE).display());
    let mut environment: Vec<(String, OsString)> = vec![
        (LISTEN.into(), address.to_string().into()),
        ("VOCARIS_SERVER_TOKEN_SECRET".into(), TOKEN_SECRET.into()),
        ("VOCARIS_JOURNAL_ENABLED".into(), "true".into()),
        // All calls come from one address.
        ("VOCARIS_LIMITS_MAX_HANDSHAKES_PER_IP".into(), "65535".into()),
        // A stream that was promised and does not come is waited for no longer than this.
        ("VOCARIS_SERVER_DRAIN_TIMEOUT".into(), "1s".into()),
    ];
    match &settings.store_url {
        Some(url) => environment.push((STORE_URL.into(), url.into())),
        None => {
            environment.push(("VOCARIS_JOURNAL_FILE".into(), journal.into()));
            if settings.book > 0.0 {
                environment.push((STORE_URL.into(), store.into()));
            }
        }
    }
    environment.extend(settings.environment.iter().cloned());
    environment
}

/// What says where the database of the relays is, and how to get in: by the settings of the run,
/// and as the relays find it in the environment of this process.
fn database(settings: &RestartSettings, url: &str) -> Vec<(OsString, OsString)> {
    let of_run = settings.environment.iter().map(|(name, value)| (name.into(), value.clone()));
    let is_of_it = |name: &OsString| {
        let name = name.to_string_lossy();
        name == "PGPASSWORD" || (name.starts_with("VOCARIS_STORE_") && name != STORE_URL)
    };
    let mut found: BTreeMap<OsString, OsString> =
        std::env::vars_os().chain(of_run).filter(|(name, _)| is_of_it(name)).collect();
    found.insert(STORE_URL.into(), url.into());
    found.into_iter().collect()
}

/// An address of this machine on which nobody listens, with a port that is given to nobody else.
///
/// # Errors
/// Every port that was tried is taken.
pub(super) fn free_address() -> std::io::Result<SocketAddr> {
    use std::sync::atomic::{AtomicU16, Ordering};
    // Processes that run side by side begin at different places.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16;
    let range = ports_end().saturating_sub(PORTS_FROM).max(1);
    let mut last = std::io::Error::other("no port was tried");
    for _ in 0..PORTS_TRIED {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS_FROM + start.wrapping_mul(31).wrapping_add(step) % range;
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The first port that the kernel gives to connections that go out.
fn ports_end() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    first.unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hosts_get_two_ports_that_no_outgoing_connection_is_given() {
        let (one, other) = (free_address().unwrap(), free_address().unwrap());
        assert_ne!(one, other);
        assert!(one.port() >= PORTS_FROM && one.port() < ports_end().max(PORTS_FROM + 1));
        drop(TcpListener::bind(one).unwrap());
    }
}
