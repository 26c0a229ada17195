//! The sections but the model's and the agents: which keys there are, their defaults and bounds.
//!
//! Not here: what the keys mean (the types of `config`), the form of their values
//!           (`config::values`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use dsp::kernels::Isa;

use super::settings::{Key, Settings};
use super::{
    AfterStream, Busy, Limits, Log, LogFormat, Server, SignatureMode, Twilio, edge, guard, values,
};
use crate::limits::{PTIME, TICK_MAX};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const DEFAULT_MAX_CALLS_PER_WORKER: usize = 2000;
const DEFAULT_MAX_CALLS_PER_ADDRESS: usize = 64;
const DEFAULT_MAX_LATENESS: Duration = Duration::from_millis(20);
const DEFAULT_MAX_HANDSHAKES_PER_IP: usize = 256;
const DEFAULT_MAX_CALL_DURATION: Duration = Duration::from_secs(4 * 3600);
const DEFAULT_PLAYOUT_LEAD: Duration = Duration::from_millis(300);
const DEFAULT_FALLBACK: &str =
    "We are sorry, our agent cannot be reached at the moment. Please call again a little later.";

/// Two frames: a latency the carrier's own jitter buffer still hides.
const DEFAULT_SLO_FRAME: Duration = Duration::from_millis(40);
const DEFAULT_SLO_SETUP: Duration = Duration::from_secs(5);
const SLO_MAX: Duration = Duration::from_secs(60);

/// Goes only with recordings.
pub(super) const BOTH_TRACKS: Key = Key::open("twilio", "both_tracks");

/// More threads than any machine has cores for.
const WORKERS_MAX: usize = 1024;
/// Beyond what one machine can have open.
const CALLS_MAX: usize = 1_000_000;
const ONE_DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads `[server]`.
pub(super) fn server(settings: &mut Settings<'_>) -> Server {
    const LISTEN: Key = Key::open("server", "listen");
    let mut listen = settings.read(LISTEN, values::listen_address).unwrap_or(DEFAULT_LISTEN);
    let port = settings.read_variable("PORT", values::port);
    if let Some(port) = port.filter(|_| !settings.is_overridden(LISTEN)) {
        listen.set_port(port);
    }
    let trusted_proxies = guard::trusted_proxies(settings);
    let proxy_protocol = edge::proxy_protocol(settings, !trusted_proxies.is_empty());
    Server {
        listen,
        agent_check: settings.read(Key::open("server", "agent_check"), values::listen_address),
        public_url: settings.read(Key::open("server", "public_url"), values::public_url),
        trusted_proxies,
        token_secrets: guard::token_secrets(settings),
        proxy_protocol,
        tls: edge::certificates(settings),
        workers: settings
            .read(Key::open("server", "workers"), values::whole(0..=WORKERS_MAX))
            .unwrap_or(0),
        cores: settings.read(Key::open("server", "cores"), values::cores).unwrap_or_default(),
        pin: settings.read(Key::open("server", "pin"), values::truth).unwrap_or(true),
        tick: settings
            .read(Key::open("server", "tick"), values::duration(Duration::ZERO..=TICK_MAX))
            .unwrap_or_default(),
        kernels: settings
            .read(Key::open("server", "kernels"), values::kernels)
            .unwrap_or(Isa::HIGHEST),
        drain_timeout: settings
            .read(Key::open("server", "drain_timeout"), values::duration(Duration::ZERO..=ONE_DAY))
            .unwrap_or(DEFAULT_DRAIN_TIMEOUT),
        takeover: settings.read(Key::open("server", "takeover"), values::socket_path),
        handover_url: settings.read(Key::open("server", "handover_url"), values::webhook_url),
    }
}

/// Reads `[limits]`.
pub(super) fn limits(settings: &mut Settings<'_>) -> Limits {
    let mut count = |name, least, default| {
        settings
            .read(Key::open("limits", name), values::whole(least..=CALLS_MAX))
            .unwrap_or(default)
    };
    Limits {
        max_calls: count("max_calls", 0, 0),
        max_calls_per_worker: count("max_calls_per_worker", 1, DEFAULT_MAX_CALLS_PER_WORKER),
        max_calls_per_number: count("max_calls_per_number", 0, 0),
        max_calls_per_address: count("max_calls_per_address", 0, DEFAULT_MAX_CALLS_PER_ADDRESS),
        max_handshakes_per_ip: count("max_handshakes_per_ip", 1, DEFAULT_MAX_HANDSHAKES_PER_IP),
        max_lateness: settings
            .read(
                Key::open("limits", "max_lateness"),
                values::duration(Duration::ZERO..=Duration::from_secs(1)),
            )
            .unwrap_or(DEFAULT_MAX_LATENESS),
        max_call_duration: settings
            .read(
                Key::open("limits", "max_call_duration"),
                values::duration(Duration::from_secs(1)..=ONE_DAY),
            )
            .unwrap_or(DEFAULT_MAX_CALL_DURATION),
    }
}

/// Reads `[twilio]`.
pub(super) fn twilio(settings: &mut Settings<'_>) -> Twilio {
    const AUTH_TOKEN: Key = Key::secret("twilio", "auth_token", "TWILIO_AUTH_TOKEN");
    const SHARED_KEYS: Key = Key::guarded("twilio", "shared_keys");
    const SIGNATURE: Key = Key::open("twilio", "signature");
    const PLAYOUT_GROUP: Key = Key::open("twilio", "playout_group");
    const REQUIRE_SHARED: Key = Key::open("twilio", "require_shared");
    let written = settings.is_written(AUTH_TOKEN) || settings.is_in_file(SHARED_KEYS);
    let auth_tokens = settings.read(AUTH_TOKEN, values::secrets).unwrap_or_default();
    let shared_keys = guard::shared_keys(settings);
    let require_shared = settings.read(REQUIRE_SHARED, values::truth).unwrap_or(false);
    if require_shared && shared_keys.is_empty() {
        settings.fail(REQUIRE_SHARED, "needs a key to require: set twilio.shared_keys");
    }
    let signature = settings.read(SIGNATURE, values::signature);
    let checks = matches!(signature, Some(SignatureMode::Require | SignatureMode::Warn));
    let has_secret = !auth_tokens.is_empty() || !shared_keys.is_empty();
    if checks && !has_secret && !written {
        settings.fail(SIGNATURE, "needs a token to check with: set TWILIO_AUTH_TOKEN");
    }
    let playout_lead = settings
        .read(Key::open("twilio", "playout_lead"), values::playout_lead)
        .unwrap_or(DEFAULT_PLAYOUT_LEAD);
    let playout_group = settings.read(PLAYOUT_GROUP, values::playout_group).unwrap_or(PTIME);
    if playout_group > PTIME && 2 * playout_group > playout_lead {
        settings.fail(PLAYOUT_GROUP, "must be at most half of twilio.playout_lead, or 20ms");
    }
    let unless_set = if has_secret { SignatureMode::Require } else { SignatureMode::Off };
    Twilio {
        auth_tokens,
        shared_keys,
        require_shared,
        signed_urls: edge::signed_urls(settings),
        signature: signature.unwrap_or(unless_set),
        playout_lead,
        playout_group,
        fallback: settings
            .read(Key::open("twilio", "fallback"), values::sentence)
            .unwrap_or_else(|| DEFAULT_FALLBACK.to_owned()),
        busy: settings.read(Key::open("twilio", "busy"), values::busy).unwrap_or(Busy::Reject),
        both_tracks: settings.read(BOTH_TRACKS, values::truth).unwrap_or(false),
        after_stream: settings
            .read(Key::open("twilio", "after_stream"), values::after_stream)
            .unwrap_or(AfterStream::Action),
    }
}

/// Reads `[log]`.
pub(super) fn log(settings: &mut Settings<'_>) -> Log {
    let redact_numbers = settings.read(Key::open("log", "redact_numbers"), values::truth);
    let format =
        settings.read(Key::open("log", "format"), |written| match values::text(written)? {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be \"text\" or \"json\"".to_owned()),
        });
    let mut bound = |name, default| {
        let length = values::duration(Duration::ZERO..=SLO_MAX);
        settings.read(Key::open("log", name), length).unwrap_or(default)
    };
    Log {
        format: format.unwrap_or_default(),
        redact_numbers: redact_numbers.unwrap_or(true),
        slo: [
            bound("slo_uplink", DEFAULT_SLO_FRAME),
            bound("slo_downlink", DEFAULT_SLO_FRAME),
            bound("slo_setup", DEFAULT_SLO_SETUP),
        ],
    }
}
