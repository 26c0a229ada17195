//! The configuration: one checked structure, from a TOML file and the environment.
//!
//! In:       a file's text, environment variables.
//! Out:      a [`Config`] in which every value is possible, or every error at once.
//! Bounds:   [`FILE_MAX_BYTES`].
//! Not here: what the values do.

mod account;
mod agents;
pub mod appointments;
mod carriers;
mod edge;
mod errors;
pub mod example;
mod gemini;
mod guard;
mod journal;
mod models;
mod nearest;
mod postgres;
mod reading;
mod record;
mod reload;
mod sections;
mod settings;
mod store;
mod timers;
mod tools;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use account::{Account, MASK, SHOWN_MAX_CHARS, Setting};
pub use appointments::Appointments;
use dsp::kernels::Isa;
use jiff::tz::TimeZone;

pub use carriers::{AudioFormat, Carrier, CarrierTerms, Carriers, PUBLIC_KEY_BYTES};
pub use edge::{CERTIFICATES_MAX, CertificateFiles, ProxyProtocol, SIGNED_URLS_MAX};
pub use errors::{ConfigError, ConfigErrors, Place};
pub use guard::{Admin, LIST_MAX, Networks, SharedKey, TOKEN_LEAST_BYTES, Web};
pub use journal::Journal;
pub use models::{
    Compression, Greeting, ModelRules, Sensitivity, Temperature, Thinking, ThinkingLevel, Tuning,
    Vad,
};
pub use postgres::{Password, Postgres, PostgresHost};
pub use reading::Reading;
pub use record::{CONSENT_MAX_BYTES, RETENTION_DAYS_MAX, Recording, Transcripts};
pub use reload::{Counts, ReloadRefused, Reloaded, Running, counts};
use settings::Settings;
pub use settings::SourceFile;
pub use store::{Store, StoreUrl};
pub use timers::Timers;
pub use tools::{
    KeyRule, Tool, ToolBehavior, ToolKind, ToolScheduling, Transfer, Webhook, WebhookUrl,
};
pub use values::{VOICES, parse_duration};

/// The longest configuration file. Above: an error.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Read where neither the command line nor a variable names a file, if it is there.
pub const DEFAULT_FILE: &str = "vocaris.toml";

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listening side.
    pub server: Server,
    /// How many calls, how long.
    pub limits: Limits,
    /// The model.
    pub gemini: Gemini,
    /// The carrier.
    pub twilio: Twilio,
    /// The other carriers.
    pub carriers: Carriers,
    /// Browsers.
    pub web: Web,
    /// Who may see the figures.
    pub admin: Admin,
    /// Log lines.
    pub log: Log,
    /// How long a call waits for its model, unless its agent says otherwise.
    pub timers: Arc<Timers>,
    /// The practice that appointments are booked at.
    pub appointments: Appointments,
    /// Where they are kept.
    pub store: Store,
    /// What is kept of conversations for the next process.
    pub journal: Journal,
    /// What is written down of calls.
    pub transcripts: Transcripts,
    /// The recording of calls.
    pub recording: Recording,
    /// Who answers; never empty, the last one answers every number.
    pub agents: Vec<Arc<Agent>>,
}

impl Config {
    /// Reads the file at `path`, else the one that `VOCARIS_CONFIG` names, else `./vocaris.toml` if
    /// there is one; then `environment`, whose variables go before the file.
    ///
    /// A key is set by `VOCARIS_<SECTION>_<KEY>`; `GEMINI_API_KEY`, `TWILIO_AUTH_TOKEN` and `PORT`
    /// go before the file, and behind that. An empty variable is one that is not set.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigErrors> {
        Reading::load(path, environment).map(|reading| reading.config)
    }

    /// The configuration that `file` and `environment` make, as [`Config::load`] reads it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(
        file: Option<&SourceFile>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigErrors> {
        Config::read_with_account(file, environment).map(|(config, _)| config)
    }

    fn read_with_account(
        file: Option<&SourceFile>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Config, Account), ConfigErrors> {
        let none = SourceFile { path: PathBuf::from(DEFAULT_FILE), text: String::new() };
        let file = file.unwrap_or(&none);
        let (parsed, faults) = settings::parse(file);
        let settings = &mut Settings::new(file, parsed.get_ref(), faults, environment);
        let gemini = gemini::read(settings);
        let timers = Arc::new(timers::read(settings));
        let tools = tools::read(settings);
        let appointments = appointments::read(settings, gemini.is_demo());
        let of_appointments = tools::of_appointments(&appointments);
        let is_demo = gemini.is_demo();
        let catalogue = tools::Catalogue { tools: &tools, appointments: &of_appointments, is_demo };
        let twilio = sections::twilio(settings);
        let store = store::read(settings, is_demo);
        let config = Config {
            server: sections::server(settings),
            limits: sections::limits(settings),
            carriers: carriers::read(settings, twilio.signature),
            twilio,
            web: guard::web(settings),
            admin: guard::admin(settings),
            log: sections::log(settings),
            appointments,
            agents: agents::read(settings, &gemini, &catalogue, &timers),
            journal: journal::read(settings, &store),
            store,
            transcripts: record::transcripts(settings),
            recording: record::recording(settings),
            gemini,
            timers,
        };
        if config.twilio.both_tracks && !config.recording.enabled {
            settings.fail(sections::BOTH_TRACKS, "is for recordings: set recording.enabled = true");
        }
        settings.finish().map(|()| (config, settings.account()))
    }

    /// Who answers the number that was called; `None` where no number was.
    pub fn agent_for(&self, number: Option<&str>) -> &Arc<Agent> {
        let answers = |agent: &&Arc<Agent>| {
            agent.numbers.iter().any(|listed| Some(listed.as_str()) == number)
        };
        let last = self.agents.len() - 1;
        self.agents.iter().find(answers).unwrap_or(&self.agents[last])
    }

    /// The agent a web client asks for by name, or gets where it names none; `None`: there is no
    /// such agent for web clients.
    pub fn web_agent(&self, name: Option<&str>) -> Option<&Arc<Agent>> {
        let agent = match name {
            Some(name) => self.agents.iter().find(|agent| agent.name == name)?,
            None => self.agent_for(None),
        };
        Some(agent).filter(|agent| agent.web)
    }
}

/// The listening side.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where HAProxy's agent checks are answered; `None`: nowhere.
    pub agent_check: Option<SocketAddr>,
    /// The `https://` origin that carriers see, without a slash at its end; `None`: taken from
    /// each request's `Host`.
    pub public_url: Option<String>,
    /// The proxies in front of us: what they say of where a request comes from is believed.
    pub trusted_proxies: Networks,
    /// What per-call tokens are signed with: the first signs, each is believed. Empty: a random one
    /// for the life of the process.
    pub token_secrets: Vec<Secret>,
    /// Whether they say in a header of their own whose connection they pass on.
    pub proxy_protocol: ProxyProtocol,
    /// Certificates of `listen`, the first for whoever names no host; none: no TLS there, a proxy
    /// in front takes it off.
    pub tls: Vec<CertificateFiles>,
    /// Media threads; 0 is one a core.
    pub workers: usize,
    /// The cores of the media threads; empty: any this process may use.
    pub cores: Vec<usize>,
    /// Whether each media thread stays on one core.
    pub pin: bool,
    /// How long events wait for others on a media thread that has many; zero: they do not.
    pub tick: Duration,
    /// The kernels in use: the best this CPU has, no higher than this.
    pub kernels: Isa,
    /// The Unix socket at which a new process takes over from the one that runs.
    pub takeover: Option<PathBuf>,
    /// How long calls may go on once the relay was asked to stop.
    pub drain_timeout: Duration,
    /// Another host's webhook: while the relay drains, new calls are sent there, and those that are
    /// cut at its end.
    pub handover_url: Option<String>,
}

/// How many calls, how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Calls in all; 0 is `max_calls_per_worker` times the workers.
    pub max_calls: usize,
    /// Calls on one worker.
    pub max_calls_per_worker: usize,
    /// Calls of one caller's number at a time; 0: as many as there is room for.
    pub max_calls_per_number: usize,
    /// Calls of browsers from one address at a time; 0: as many as there is room for.
    pub max_calls_per_address: usize,
    /// How late a media thread may be and still get another call; zero: however late.
    pub max_lateness: Duration,
    /// Connections from one address that have not yet become calls.
    pub max_handshakes_per_ip: usize,
    /// The longest call.
    pub max_call_duration: Duration,
}

/// The model's service.
#[derive(Clone, Debug)]
pub struct Gemini {
    /// `wss://host[:port]`, or `ws://` to loopback.
    pub url: ModelUrl,
    /// `v1beta`, `v1` or `v1alpha`.
    pub api_version: String,
    /// The key; without one, and without tokens, the demo agent is started instead.
    pub api_key: Option<Secret>,
    /// Which of Google's two services it is.
    pub flavor: Flavor,
    /// A PEM file with one more root.
    pub ca_file: Option<PathBuf>,
    /// Model for agents that name none.
    pub model: String,
    /// 16,000 or 8,000 Hz.
    pub uplink_rate: u32,
    /// Audio in one message, in milliseconds: 20, 40, 60, 80 or 100.
    pub uplink_ms: usize,
    /// Which of two connections goes first when one takes the place of another.
    pub swap: SwapOrder,
    /// Whether the caller's audio is made quieter while the model is heard: for lines that return
    /// its own voice to it.
    pub duck: bool,
    /// Sessions that may be held ahead for calls whose webhook was answered; 0: none.
    pub pool: usize,
    /// For agents that say nothing else.
    pub tuning: Tuning,
}

/// Which of two connections to the model goes first when one takes the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwapOrder {
    /// The old one is closed, then the new one is set up: a service refuses to take up a session
    /// whose old connection is still open.
    #[default]
    CloseFirst,
    /// The new one is set up, then the old one is closed; where that is refused, as above.
    SetupFirst,
}

impl Gemini {
    /// Whether the demo agent answers: without a key or token, and with the service's own address.
    pub fn is_demo(&self) -> bool {
        !self.has_credentials() && self.url == gemini::default_url(&Flavor::Developer)
    }

    /// Whether there is anything to prove who we are by.
    pub fn has_credentials(&self) -> bool {
        let tokens = match &self.flavor {
            Flavor::Developer => None,
            Flavor::Vertex(vertex) => vertex.tokens.as_ref(),
        };
        self.api_key.is_some() || tokens.is_some()
    }
}

/// Which of Google's two services it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// The Gemini Developer API.
    Developer,
    /// Vertex AI, now the Gemini Enterprise Agent Platform.
    Vertex(Vertex),
}

/// Where on Vertex, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// The project; `None` with an express key alone.
    pub project: Option<String>,
    /// A region, `us`, `eu` or `global`.
    pub location: String,
    /// Where access tokens come from; `None`: the express key is used.
    pub tokens: Option<TokenSource>,
}

/// Where access tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that somebody else keeps fresh.
    File(PathBuf),
    /// A program and its arguments, which prints one.
    Command(Vec<String>),
}

/// Where the model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUrl {
    /// Whether TLS is on.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl ModelUrl {
    /// Host and port as a `Host` header names them: no port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let bracketed = self.host.contains(':');
        let host = if bracketed { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for ModelUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

/// The carrier.
#[derive(Clone, Debug)]
pub struct Twilio {
    /// Tokens that may have signed a request.
    pub auth_tokens: Vec<Secret>,
    /// Keys made at the carrier that may have signed a request.
    pub shared_keys: Vec<SharedKey>,
    /// Only they may: auth tokens count no longer.
    pub require_shared: bool,
    /// Whole addresses the carrier was given, which it may have signed beside those we work out.
    pub signed_urls: Vec<String>,
    /// What is done with a wrong or missing signature or per-call token.
    pub signature: SignatureMode,
    /// How far ahead of the caller's ear the carrier's buffer is kept filled.
    pub playout_lead: Duration,
    /// How much leaves at a time while that buffer holds out.
    pub playout_group: Duration,
    /// What a caller hears when the model cannot be had.
    pub fallback: String,
    /// What happens at capacity.
    pub busy: Busy,
    /// Whether the carrier is asked for a copy of both tracks of each call, for its recording.
    pub both_tracks: bool,
    /// How the carrier is brought to ask what follows a stream.
    pub after_stream: AfterStream,
}

/// How the carrier is brought to ask what follows a stream. Both ask the same of the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterStream {
    /// By the `action` of `<Connect>`.
    Action,
    /// By the verb behind `<Connect>`.
    Verb,
}

/// What is done with a wrong or missing signature or per-call token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMode {
    /// Refused.
    Require,
    /// Logged, counted, let in.
    Warn,
    /// Not looked at; a per-call token that is there is still checked.
    Off,
}

/// What a caller gets at capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The busy tone, unbilled.
    Reject,
    /// This sentence, then the line goes down.
    Say(String),
    /// Another host's webhook.
    Redirect(String),
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, target, `key=value`.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Log lines.
#[derive(Clone, Debug)]
pub struct Log {
    /// The form of the lines.
    pub format: LogFormat,
    /// What a call is held to, or a line and a figure tell: the 99th percentile of the latency of
    /// its frames up, of those down, and the time until its model is ready. Zero: nothing.
    pub slo: [Duration; 3],
    /// Whether callers' numbers are shortened to their last two digits.
    pub redact_numbers: bool,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// The numbers it answers; `*` is every number.
    pub numbers: Vec<String>,
    /// What the model is told to be.
    pub system: String,
    /// One of the model's voices; `None` leaves the choice to the model.
    pub voice: Option<String>,
    /// The model, where it is not the service's default.
    pub model: String,
    /// What makes the model speak first; `None`: it waits for the caller.
    pub greeting: Option<String>,
    /// How long its calls wait for the model.
    pub timers: Arc<Timers>,
    /// The language to speak, BCP 47; `None`: the caller's. The models choose it themselves: it
    /// stands in what they are told to be.
    pub language: Option<String>,
    /// Where the agent is: the model is told date and time there.
    pub time_zone: TimeZone,
    /// Whether web clients may choose it.
    pub web: bool,
    /// What of its sessions is tuned.
    pub tuning: Tuning,
    /// What the model may have done, each name once.
    pub tools: Vec<Arc<Tool>>,
    /// Whom a caller can be put through to, by name.
    pub transfer: Vec<Transfer>,
    /// What is done when the caller presses just these keys; all others reach the model as text.
    pub keys: Vec<(String, KeyRule)>,
    /// Without another key for so long, the keys pressed so far belong together.
    pub keys_pause: Duration,
}

impl Default for Agent {
    /// The agent that answers where none is configured.
    fn default() -> Agent {
        agents::default_agent(gemini::DEFAULT_MODEL, Tuning::default(), &Arc::default())
    }
}

/// A secret: never shown, not even in a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
