//! A run with a relay that runs elsewhere, started by somebody else with settings of its own: its
//! callers reach it by URL, and the model its settings lead to is the stand-in of this process.
//!
//! In:       a run without its relay; where the stand-in listens; the way to the relay.
//! Out:      the same report as of any run.
//! Bounds:   those of the run; a relay that does not listen yet is waited for as long as is said.
//! Not here: the calls and their judging (`run`), which call is of which session (`listen`).
//!
//! Nothing is known of the relay but what it says and what is heard through it: calls and sessions
//! find each other by the voices in them. Callers and stand-in are one process with one clock, so
//! latencies each way are those of one clock too, wherever the relay is; the way to it and back is
//! in them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::carrier::target::Target;
use crate::clock::Clock;
use crate::gemini::certificate::ServerTls;
use crate::gemini::entrance::Entrance;
use crate::gemini::record::SessionRecord;
use crate::gemini::server::{StandIn, StandInConfig};
use crate::harness::{HarnessError, Site};
use crate::interrupt;
use crate::report::Report;
use crate::run::{self, NO_SESSION, RunSettings, Seen};

/// From one attempt to reach the relay to the next, and how long one may take.
const ATTEMPT: Duration = Duration::from_millis(100);

/// What the stand-in is to a relay elsewhere.
pub struct ModelSettings {
    /// The address to listen on; port 0 takes any.
    pub listen: SocketAddr,
    /// TLS by this certificate; `None`: without.
    pub certificate: Option<ServerTls>,
    /// The name or address by which the relay dials it, where that is not this machine's own.
    pub name: Option<String>,
    /// The key that the relay must show, in any documented form.
    pub api_key: String,
    /// The model that its setups must name.
    pub model: String,
}

/// The way to a relay elsewhere.
pub struct Way {
    /// Where its callers go.
    pub target: Arc<Target>,
    /// What calls are named by: it may take each name once in its life.
    pub names: u64,
    /// Its process, if that is on this machine: CPU and memory are measured.
    pub pid: Option<u32>,
    /// How long it may take until it accepts connections.
    pub wait: Duration,
}

/// The model of a run, listening.
pub struct Model {
    stand_in: StandIn,
    clock: Clock,
    url: String,
}

impl Model {
    /// Starts to listen, with the scripts of this run.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(settings: &RunSettings, model: ModelSettings) -> Result<Model, HarnessError> {
        let clock = Clock::start();
        let stand_in = StandIn::start(
            clock,
            StandInConfig {
                listen: model.listen,
                tls: model.certificate.is_some(),
                certificate: model.certificate,
                entrance: Entrance::Documented,
                api_key: model.api_key,
                model: model.model,
                ..settings.stand_in()
            },
        )?;
        let url = match model.name {
            None => stand_in.url.clone(),
            Some(name) => stand_in.url.replace("localhost", &in_url(&name)),
        };
        Ok(Model { stand_in, clock, url })
    }

    /// What the relay must dial: scheme, host and port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes the calls of the run this model was started for, and judges.
    ///
    /// # Errors
    /// There are no callers.
    pub fn run(self, settings: &RunSettings, way: &Way) -> Result<Report, HarnessError> {
        wait_for(way.target.address, way.wait);
        let site = Site {
            clock: self.clock,
            target: Arc::clone(&way.target),
            seed: settings.seed,
            names: way.names,
        };
        let seen = way.pid.map_or(Seen::Nothing, Seen::Process);
        let mut calls = run::make_calls(settings, &site, &self.stand_in, seen)?;
        let sessions = self.stand_in.stop()?;
        calls.problems.extend(unreached(&sessions, &self.url));
        let mut report = calls.judge(settings, sessions, None);
        if way.pid.is_none() {
            report.remarks.push("the relay ran elsewhere: its CPU and memory are not known".into());
        }
        let wanted = &settings.scenario.relay;
        if !wanted.is_empty() || !settings.scenario.relay_config.is_empty() {
            let names: Vec<_> =
                wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
            report.remarks.push(format!(
                "this scenario is for a relay that was started as it says ({}); whether this one \
                 was nobody knows here",
                if names.is_empty() { "see relay_config in it".into() } else { names.join(", ") }
            ));
        }
        Ok(report)
    }
}

/// A name as it stands in a URL.
fn in_url(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

/// Waits until something accepts connections there, or the time or the user's patience is over.
/// Whoever is not there then is told by the calls.
fn wait_for(address: SocketAddr, wait: Duration) {
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline && !interrupt::is_asked() {
        let began = Instant::now();
        if TcpStream::connect_timeout(&address, ATTEMPT).is_ok() {
            return;
        }
        std::thread::sleep(ATTEMPT.saturating_sub(began.elapsed()));
    }
}

/// Why no session was ever ready, where that is so.
fn unreached(sessions: &[SessionRecord], url: &str) -> Option<String> {
    if sessions.iter().any(|session| session.ready_at.is_some()) {
        return None;
    }
    let Some(first) = sessions.first() else {
        return Some(format!("{NO_SESSION}: nobody dialled {url}, where the relay was to be led"));
    };
    let how = match (&first.ending, first.complaints.first()) {
        (_, Some(complaint)) => format!("it objected: {complaint:?}"),
        (Some(ending), None) => ending.to_string(),
        (None, None) => "it came to nothing".to_owned(),
    };
    let count = sessions.len();
    Some(format!("{NO_SESSION}: of {count} connections to {url} none became one, the first: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::protocol::Complaint;
    use crate::net::link::Closing;
    use crate::relay::Program;

    #[test]
    fn a_model_nobody_reached_says_how_far_they_came() {
        let told = |sessions: &[SessionRecord]| unreached(sessions, "ws://h:1");
        let ready = SessionRecord { ready_at: Some(1), ..SessionRecord::new(0, 0) };
        assert_eq!(told(&[SessionRecord::new(0, 0), ready]), None);
        let nobody = told(&[]).unwrap();
        assert!(nobody.starts_with("no session reached the stand-in: nobody dialled ws://h:1"));
        let broken = SessionRecord { ending: Some(Closing::Eof), ..SessionRecord::new(0, 0) };
        let mut refused = SessionRecord::new(1, 0);
        refused.complaints.push(Complaint::Key);
        for (first, how) in [(&broken, "no close frame"), (&refused, "it objected: Key")] {
            let told = told(&[first.clone(), SessionRecord::new(2, 0)]).unwrap();
            assert!(told.contains("of 2 connections") && told.ends_with(how), "{told}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_and_a_name_stands_in_the_url() {
        let run = RunSettings::new(Program::default());
        let settings = |listen: SocketAddr, name: &str| ModelSettings {
            listen,
            certificate: None,
            name: Some(name.to_owned()),
            api_key: "key".into(),
            model: "models/m".into(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let model = Model::start(&run, settings(any, "::1")).unwrap();
        let taken = model.stand_in.address;
        assert_eq!(model.url(), format!("ws://[::1]:{}", taken.port()));
        let Err(error) = Model::start(&run, settings(taken, "h")) else { panic!("it is taken") };
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
