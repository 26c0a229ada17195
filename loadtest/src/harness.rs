//! Everything a test needs around a relay: a stand-in, a relay as a child process that dials it,
//! and callers that know the way.
//!
//! In:       scripts, settings of the relay, the program that holds it.
//! Out:      calls made and sessions heard, as records.
//! Bounds:   those of callers, stand-in and relay; a session is waited for [`SESSION_WAIT`].
//! Not here: judging the records (`verify`, `judge`).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::carrier::endurance::Endurance;
use crate::carrier::fleet::Fleet;
use crate::carrier::ids::Ids;
use crate::carrier::mix::Line;
use crate::carrier::record::{CallRecord, CallSpec, Hangup};
use crate::carrier::signature;
use crate::carrier::target::{Entry, Secrets, Target};
use crate::clock::{Clock, MILLIS};
use crate::cores::Cores;
use crate::gemini::script::Script;
use crate::gemini::server::{StandIn, StandInConfig};
use crate::gemini::session::SessionRecord;
use crate::recording::settings::{Setting, as_given, relay_settings};
use crate::relay::{Directory, Kind, Program, Relay, RelayConfig, RelayError};
use crate::schedule::MediaPlan;
use crate::signal::CallerVoice;

/// How long a session is waited for.
pub const SESSION_WAIT: Duration = Duration::from_secs(30);

/// The origin that carriers see. It exists nowhere: callers know that it is the relay.
pub const PUBLIC_URL: &str = "https://relay.test";

/// The token that Twilio's webhooks are signed with.
pub const AUTH_TOKEN: &str = "load-test-auth-token";

/// What the addresses of the other carriers' webhooks say as `key`.
pub const WEBHOOK_KEY: &str = "load-test-webhook-key";

/// The seed of the key that Telnyx's webhooks are signed with.
pub const TELNYX_SEED: [u8; 32] = *b"the load test signs with this ke";

/// What a harness is made of.
pub struct HarnessConfig {
    /// The relay.
    pub program: Program,
    /// The stand-in.
    pub stand_in: StandInConfig,
    /// The relay's configuration file; empty: none.
    pub file: String,
    /// More settings of the relay, as `VOCARIS_…` variables; they win over the harness's own.
    pub environment: Vec<(String, OsString)>,
    /// Webhooks and handshakes are signed, and the relay is told to require it.
    pub signed: bool,
    /// The carriers besides Twilio that the relay is to serve. Each proves itself, where `signed`.
    pub carriers: Vec<Carrier>,
    /// What the relay prints goes on to standard error.
    pub echo: bool,
    /// The relay's working directory, where it is to outlive the relay.
    pub directory: Option<PathBuf>,
    /// The cores that the relay is bound to.
    pub relay_cores: Option<Cores>,
}

impl HarnessConfig {
    /// One stand-in over TLS that follows `script` in every session; everything signed.
    pub fn new(program: impl Into<Program>, script: Script) -> HarnessConfig {
        HarnessConfig {
            program: program.into(),
            stand_in: StandInConfig::local(script),
            file: String::new(),
            environment: Vec::new(),
            signed: true,
            carriers: Vec::new(),
            echo: false,
            directory: None,
            relay_cores: None,
        }
    }

    /// With one more setting of the relay.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> HarnessConfig {
        self.environment.push((name.to_string(), value.into()));
        self
    }
}

/// Why there is no harness.
#[derive(Debug)]
pub enum HarnessError {
    /// The stand-in or the files it leaves for the relay.
    StandIn(io::Error),
    /// The relay.
    Relay(RelayError),
}

impl fmt::Display for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HarnessError::StandIn(error) => write!(f, "the stand-in cannot be started: {error}"),
            HarnessError::Relay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HarnessError {}

impl From<io::Error> for HarnessError {
    fn from(error: io::Error) -> HarnessError {
        HarnessError::StandIn(error)
    }
}

/// What callers must know of a relay, whoever runs it.
#[derive(Clone)]
pub struct Site {
    /// The clock of every record.
    pub clock: Clock,
    /// Where calls go.
    pub target: Arc<Target>,
    /// The seed of all voices.
    pub seed: u64,
    /// What the identifiers of calls are made of: a relay takes each once.
    pub names: u64,
}

impl Site {
    /// Call `index` on any line, to begin now: says `media`, then hangs up in good order. Ordinary
    /// frames become those of its carrier.
    pub fn spec_on(&self, line: Line, index: usize, media: MediaPlan) -> CallSpec {
        CallSpec {
            index,
            line,
            ids: Ids::of(line.carrier, self.names, index),
            from: caller_number(index),
            to: "+18005550100".to_string(),
            target: Arc::clone(&self.target),
            starts_at: self.clock.now(),
            media: Arc::new(line.plan(&media)),
            voice: CallerVoice::new(self.seed, index),
            linger: 250 * MILLIS,
            hangup: Hangup::StopAndClose,
            endurance: Endurance::default(),
            probe: true,
        }
    }
}

/// A stand-in and a relay, running.
pub struct Harness {
    /// The clock of every record.
    pub clock: Clock,
    /// The stand-in.
    pub stand_in: StandIn,
    /// The relay.
    pub relay: Relay,
    /// Every setting of the relay, secrets masked; of one that is not Vocaris, what it was given.
    pub settings: Vec<Setting>,
    /// Where calls go.
    pub target: Arc<Target>,
    /// The seed of all voices.
    pub seed: u64,
    /// What the relay was started with, to start it again.
    pub relay_config: RelayConfig,
    /// The relay's SQLite file, if it keeps one. It goes with the harness.
    pub store: PathBuf,
    _directory: Directory,
}

impl Harness {
    /// Starts both, and waits until the relay listens.
    pub fn start(config: HarnessConfig) -> Result<Harness, HarnessError> {
        let clock = Clock::start();
        let directory = Directory::new()?;
        let seed = config.stand_in.seed;
        let api_key = config.stand_in.api_key.clone();
        let model = config.stand_in.model.clone();
        let stand_in = StandIn::start(clock, config.stand_in)?;
        let ca_file = directory.path().join("ca.pem");
        let mut environment: Vec<(String, OsString)> = vec![
            ("VOCARIS_SERVER_LISTEN".into(), "127.0.0.1:0".into()),
            ("VOCARIS_SERVER_PUBLIC_URL".into(), PUBLIC_URL.into()),
            ("VOCARIS_GEMINI_URL".into(), stand_in.url.clone().into()),
            ("VOCARIS_GEMINI_MODEL".into(), model.into()),
            ("VOCARIS_GEMINI_API_KEY".into(), api_key.into()),
        ];
        if !stand_in.ca_pem.is_empty() {
            std::fs::write(&ca_file, &stand_in.ca_pem)?;
            environment.push(("VOCARIS_GEMINI_CA_FILE".into(), ca_file.into()));
        }
        if config.signed {
            environment.push(("TWILIO_AUTH_TOKEN".into(), AUTH_TOKEN.into()));
            environment.extend(config.carriers.iter().filter_map(|&carrier| proof_of(carrier)));
        }
        let store = directory.path().join("store.db");
        if !config.file.is_empty() {
            let file = directory.path().join("vocaris.toml");
            std::fs::write(&file, &config.file)?;
            environment.push(("VOCARIS_CONFIG".into(), file.into()));
            let url = format!("sqlite:{}", store.display());
            environment.push(("VOCARIS_STORE_URL".into(), url.into()));
        }
        environment.extend(config.environment);
        let kind = config.program.kind;
        let settings = match kind {
            Kind::Vocaris => relay_settings(&environment),
            Kind::Null | Kind::Other => {
                as_given(environment.iter().map(|(name, value)| (kind.variable(name), value)))
            }
        };
        let relay_config = RelayConfig {
            program: config.program,
            environment,
            echo: config.echo,
            directory: config.directory,
            cores: config.relay_cores,
        };
        let relay = Relay::start(&relay_config).map_err(HarnessError::Relay)?;
        let target = target(relay.address(), config.signed);
        Ok(Harness {
            clock,
            stand_in,
            relay,
            settings,
            target,
            seed,
            relay_config,
            store,
            _directory: directory,
        })
    }

    /// What its callers must know.
    pub fn site(&self) -> Site {
        let Harness { clock, seed, .. } = *self;
        Site { clock, target: Arc::clone(&self.target), seed, names: seed }
    }

    /// Call `index` by Twilio, to begin now: says `media`, then hangs up in good order.
    pub fn spec(&self, index: usize, media: MediaPlan) -> CallSpec {
        self.spec_on(Line::default(), index, media)
    }

    /// The same on any line; ordinary frames become those of its carrier.
    pub fn spec_on(&self, line: Line, index: usize, media: MediaPlan) -> CallSpec {
        self.site().spec_on(line, index, media)
    }

    /// Makes one call and waits for its end.
    pub fn call(&self, spec: CallSpec) -> io::Result<CallRecord> {
        self.calls(vec![spec])?.pop().ok_or_else(|| io::Error::other("a call left no record"))
    }

    /// Makes calls and waits for the end of all; records by number.
    pub fn calls(&self, specs: Vec<CallSpec>) -> io::Result<Vec<CallRecord>> {
        Fleet::start(self.clock, specs, 1)?.join()
    }

    /// The next session that ends.
    pub fn session(&self) -> Option<SessionRecord> {
        self.stand_in.next_record(SESSION_WAIT)
    }

    /// Stops both. The sessions nobody has taken, and what was wrong with the relay's end.
    pub fn finish(self) -> io::Result<(Vec<SessionRecord>, Result<(), String>)> {
        let relay = self.relay.stop();
        Ok((self.stand_in.stop()?, relay))
    }
}

/// How the number of every caller begins; the number of the call follows.
const CALLERS: &str = "+1800";

/// The number that call `index` comes from; no other call of a run has it.
pub fn caller_number(index: usize) -> String {
    format!("{CALLERS}{index:07}")
}

/// The call whose number stands first in `text`.
pub fn caller_in(text: &str) -> Option<usize> {
    let (_, digits) = text.split_once(CALLERS)?;
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    digits[..len].parse().ok()
}

/// What a carrier besides Twilio proves itself by, as a setting of the relay.
fn proof_of(carrier: Carrier) -> Option<(String, OsString)> {
    let section = carrier.name().to_uppercase();
    match carrier {
        Carrier::Twilio | Carrier::Web => None,
        Carrier::Telnyx => {
            let key = signature::telnyx_public_key(&TELNYX_SEED);
            Some((format!("VOCARIS_{section}_PUBLIC_KEY"), key.into()))
        }
        _ => Some((format!("VOCARIS_{section}_SECRET"), WEBHOOK_KEY.into())),
    }
}

/// A relay at `address` that goes by its public name.
pub(crate) fn target(address: SocketAddr, signed: bool) -> Arc<Target> {
    Arc::new(Target {
        authority: address.to_string(),
        address,
        tls: None,
        public_url: Some(PUBLIC_URL.to_string()),
        secrets: Secrets {
            twilio: signed.then(|| AUTH_TOKEN.to_string()),
            telnyx: signed.then_some(TELNYX_SEED),
            key: signed.then(|| WEBHOOK_KEY.to_string()),
            web: None,
        },
        entry: Entry::Standard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_the_number_it_comes_from() {
        for index in [0, 1, 4711, 12_345_678] {
            let text = format!("{{\"text\":\"The caller is {}.\"}}", caller_number(index));
            assert_eq!(caller_in(&text), Some(index));
        }
        assert_eq!(caller_in("+1800."), None);
        assert_eq!(caller_in("nobody"), None);
    }
}
