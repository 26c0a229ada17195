//! A configuration that takes the place of another while calls go on: what of it applies to new
//! calls, and what waits for a restart.
//!
//! In:       what the relay runs with, a second reading.
//! Out:      [`Reloaded`]: the new values, with the old ones where only a start can change them; or
//!           why the whole reading is not taken.
//! Not here: telling the threads (`server`).

use super::tools::{Tool, ToolKind, of_appointments};
use super::{Account, Config, Reading};
use std::sync::Arc;

/// Takes over from the old configuration what only a start can change.
type Keep = fn(&mut Config, &Config);

/// What only a start can change: a key, or a section with a dot behind it; and how the old value is
/// kept.
const AT_START: [(&str, Keep); 29] = [
    ("server.listen", |new, old| new.server.listen = old.server.listen),
    ("server.agent_check", |new, old| new.server.agent_check = old.server.agent_check),
    ("server.proxy_protocol", |new, old| new.server.proxy_protocol = old.server.proxy_protocol),
    // What the files hold is read again.
    ("server.tls_cert", |new, old| new.server.tls = old.server.tls.clone()),
    ("server.tls_key", |_, _| {}),
    ("server.token_secret", |new, old| {
        new.server.token_secrets = old.server.token_secrets.clone();
    }),
    ("server.takeover", |new, old| new.server.takeover = old.server.takeover.clone()),
    ("server.cores", |new, old| new.server.cores = old.server.cores.clone()),
    ("server.workers", |new, old| new.server.workers = old.server.workers),
    ("server.pin", |new, old| new.server.pin = old.server.pin),
    ("server.tick", |new, old| new.server.tick = old.server.tick),
    ("server.kernels", |new, old| new.server.kernels = old.server.kernels),
    ("gemini.url", |new, old| new.gemini.url = old.gemini.url.clone()),
    ("gemini.api_version", |new, old| new.gemini.api_version = old.gemini.api_version.clone()),
    ("gemini.flavor", |new, old| new.gemini.flavor = old.gemini.flavor.clone()),
    // These four are parts of the flavor.
    ("gemini.project", |_, _| {}),
    ("gemini.location", |_, _| {}),
    ("gemini.token_file", |_, _| {}),
    ("gemini.token_command", |_, _| {}),
    ("gemini.ca_file", |new, old| new.gemini.ca_file = old.gemini.ca_file.clone()),
    // A call whose session changes connections goes on with the rate it began with.
    ("gemini.uplink_rate", |new, old| new.gemini.uplink_rate = old.gemini.uplink_rate),
    ("gemini.uplink_ms", |new, old| new.gemini.uplink_ms = old.gemini.uplink_ms),
    ("admin.listen", |new, old| new.admin.listen = old.admin.listen),
    ("log.", |new, old| new.log = old.log.clone()),
    ("appointments.", |new, old| {
        new.appointments = old.appointments.clone();
        keep_appointments(new, old);
    }),
    ("store.", |new, old| new.store = old.store.clone()),
    ("journal.", |new, old| new.journal = old.journal.clone()),
    ("transcripts.", |new, old| new.transcripts = old.transcripts.clone()),
    ("recording.", |new, old| {
        new.recording = super::Recording {
            // What a caller is told is asked for at each call.
            consent: new.recording.consent.take(),
            ..old.recording.clone()
        };
    }),
];

/// What applies to new calls. `recording.consent` goes before its section.
const TO_NEW_CALLS: [&str; 42] = [
    "server.public_url",
    "server.trusted_proxies",
    "server.drain_timeout",
    "server.handover_url",
    "limits.",
    "gemini.api_key",
    "gemini.model",
    "gemini.pool",
    "gemini.swap",
    "gemini.duck",
    "gemini.temperature",
    "gemini.thinking_level",
    "gemini.start_sensitivity",
    "gemini.end_sensitivity",
    "gemini.prefix_ms",
    "gemini.silence_ms",
    "gemini.compression",
    "gemini.compression_trigger",
    "gemini.compression_target",
    "gemini.resumption",
    "timers.",
    "twilio.auth_token",
    "twilio.shared_keys.",
    "twilio.require_shared",
    "twilio.signature",
    "twilio.playout_lead",
    "twilio.playout_group",
    "twilio.fallback",
    "twilio.busy",
    "twilio.signed_urls",
    "signalwire.",
    "telnyx.",
    "plivo.",
    "exotel.",
    "vonage.",
    "jambonz.",
    "twilio.both_tracks",
    "twilio.after_stream",
    "web.",
    "admin.token",
    "admin.allow",
    "recording.consent",
];

/// The tables of a list, which apply to new calls too.
const LISTS: [&str; 2] = ["agents.", "tools."];

/// When a change of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// For calls that begin after the reload.
    ForNewCalls,
    /// After a restart.
    AfterRestart,
}

/// When a change of `key` counts; `None`: nobody has decided it.
pub fn counts(key: &str) -> Option<Counts> {
    let is_of = |listed: &str| key == listed || listed.ends_with('.') && key.starts_with(listed);
    if TO_NEW_CALLS.iter().chain(&LISTS).any(|listed| is_of(listed)) {
        return Some(Counts::ForNewCalls);
    }
    AT_START.iter().any(|(listed, _)| is_of(listed)).then_some(Counts::AfterRestart)
}

/// What comes of a second reading.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What new calls go by.
    pub config: Config,
    /// Keys whose change applies to new calls.
    pub applied: Vec<String>,
    /// Keys whose change waits for a restart.
    pub waiting: Vec<String>,
}

/// Why a reading that is right by itself cannot take the place of what the relay runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadRefused {
    /// The demo agent answers, and the model would have to.
    EndsDemo,
    /// The model answers, and the demo agent would have to.
    BeginsDemo,
}

impl std::fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ReloadRefused::EndsDemo => {
                "it names a model, and this relay runs with the demo agent: start it anew"
            }
            ReloadRefused::BeginsDemo => {
                "it names no key for the model, so a demo agent would answer: set GEMINI_API_KEY, \
                 or start the relay anew"
            }
        })
    }
}

/// What the relay runs with.
#[derive(Clone, Copy, Debug)]
pub struct Running<'r> {
    /// The values.
    pub config: &'r Config,
    /// Whether the demo agent answers.
    pub is_demo: bool,
    /// What was written when it started.
    pub at_start: &'r Account,
    /// What was written when it read last.
    pub last: &'r Account,
}

impl Running<'_> {
    /// Puts `reading` in the place of what the relay runs with.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn reload(&self, reading: &Reading) -> Result<Reloaded, ReloadRefused> {
        match (self.is_demo, reading.config.gemini.is_demo()) {
            (true, false) => return Err(ReloadRefused::EndsDemo),
            (false, true) => return Err(ReloadRefused::BeginsDemo),
            _ => {}
        }
        let mut config = reading.config.clone();
        for (_, keep) in AT_START {
            keep(&mut config, self.config);
        }
        let of = |account: &Account, when: Counts| {
            let mut changed = reading.account.changed(account);
            changed.retain(|key| counts(key).unwrap_or(Counts::AfterRestart) == when);
            changed
        };
        let mut applied = of(self.last, Counts::ForNewCalls);
        // A text in a file of its own may have changed under the same name.
        if config.agents != self.config.agents && !applied.iter().any(|key| is_of_agents(key)) {
            applied.push("agents".to_owned());
        }
        let waiting = of(self.at_start, Counts::AfterRestart);
        Ok(Reloaded { config, applied, waiting })
    }
}

/// Whether the key makes the agents, or a default of theirs.
fn is_of_agents(key: &str) -> bool {
    ["agents.", "tools.", "gemini.", "timers."].iter().any(|section| key.starts_with(section))
}

/// The tools of the appointments stay what their thread can do: those of the old practice.
fn keep_appointments(new: &mut Config, old: &Config) {
    let known = of_appointments(&old.appointments);
    let kept = |tool: &Arc<Tool>| match tool.kind {
        ToolKind::Appointments => known.iter().find(|known| known.name == tool.name).cloned(),
        _ => Some(tool.clone()),
    };
    for agent in &mut new.agents {
        if agent.tools.iter().any(|tool| tool.kind == ToolKind::Appointments) {
            let tools = agent.tools.iter().filter_map(kept).collect();
            Arc::make_mut(agent).tools = tools;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceFile;
    use super::super::example;
    use super::*;

    fn read(text: &str) -> Reading {
        let file = SourceFile { path: "vocaris.toml".into(), text: text.to_owned() };
        let key = [("GEMINI_API_KEY".into(), "k".into())];
        Reading::of(Some(&file), key).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn reload(old: &str, new: &str) -> Reloaded {
        let old = read(old);
        let (at_start, last) = (&old.account, &old.account);
        let running = Running { config: &old.config, is_demo: false, at_start, last };
        running.reload(&read(new)).unwrap()
    }

    #[test]
    fn it_is_decided_of_every_key_whether_a_reload_applies_it() {
        let keys: Vec<_> =
            example::entries().map(|it| format!("{}.{}", it.table, it.name)).collect();
        for key in &keys {
            assert!(counts(key).is_some(), "{key}: put it into AT_START or TO_NEW_CALLS");
        }
        for listed in AT_START.iter().map(|it| it.0).chain(TO_NEW_CALLS).chain(LISTS) {
            let is_there = keys.iter().any(|key| key.starts_with(listed));
            assert!(is_there, "no key is named {listed}");
        }
    }

    #[test]
    fn what_only_a_start_can_change_is_named_and_stays() {
        let new = "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 3\npublic_url = \"https://a.b\"\n\
            [store]\nurl = \"sqlite:other.db\"\n[recording]\nenabled = true\nconsent = \"Hear.\"\n\
            [limits]\nmax_calls = 7\n";
        let Reloaded { config, applied, waiting } = reload("", new);
        let applied_keys = ["limits.max_calls", "recording.consent", "server.public_url"];
        assert_eq!(applied, applied_keys);
        let waiting_keys = ["recording.enabled", "server.listen", "server.workers", "store.url"];
        assert_eq!(waiting, waiting_keys);
        assert_eq!((config.server.workers, config.limits.max_calls), (0, 7));
        assert_eq!(config.server.listen.port(), 8080);
        assert_eq!(config.store.url.to_string(), "vocaris.db");
        assert!(!config.recording.enabled && config.recording.consent.is_some());
    }

    #[test]
    fn a_default_written_out_is_no_change_and_a_secret_is_one_that_is_not_shown() {
        let same = reload("[server]\nworkers = 0\n", "[timers]\nreply = \"7s\"\n");
        assert_eq!((same.applied, same.waiting), (vec![], vec![]));
        let (old, new) = ("0123456789abcdef", "fedcba9876543210");
        let web = |token: &str| format!("[web]\ntokens = [\"{token}\"]\n");
        let Reloaded { config, applied, .. } = reload(&web(old), &web(new));
        assert_eq!(applied, ["web.tokens"]);
        assert_eq!(config.web.tokens[0].reveal(), new);
    }

    #[test]
    fn what_is_put_off_is_told_again_at_the_next_reload() {
        let old = read("");
        let new = read("[server]\nworkers = 2\n");
        let (config, at_start, last) = (&old.config, &old.account, &new.account);
        let running = Running { config, is_demo: false, at_start, last };
        assert_eq!(running.reload(&new).unwrap().waiting, ["server.workers"]);
    }

    #[test]
    fn an_agent_keeps_the_appointments_that_its_thread_knows() {
        let practice = |name: &str| {
            format!(
                "[appointments]\nenabled = true\ntime_zone = \"UTC\"\n\
                 [appointments.hours]\nmon = \"09:00-12:00\"\n\
                 [[appointments.services]]\nname = \"{name}\"\nlength = \"30m\"\n\
                 [[appointments.services]]\nname = \"B\"\nlength = \"30m\"\n"
            )
        };
        let tools = |config: &Config| format!("{:?}", config.agent_for(None).tools);
        let Reloaded { config, waiting, .. } = reload(&practice("Old"), &practice("New"));
        assert_eq!(waiting, ["appointments.services.name"]);
        assert!(tools(&config).contains("Old") && !tools(&config).contains("New"));
        let begun = reload("", &practice("New")).config;
        assert!(!begun.appointments.enabled && !tools(&begun).contains("appointment"));
    }

    #[test]
    fn a_demo_stays_a_demo() {
        let demo = Reading::of(None, []).unwrap();
        let real = read("");
        let running = |reading: &'static Reading, is_demo| Running {
            config: &reading.config,
            is_demo,
            at_start: &reading.account,
            last: &reading.account,
        };
        let (demo, real): (&'static _, &'static _) =
            (Box::leak(Box::new(demo)), Box::leak(Box::new(real)));
        let refused = |is_demo, from, to| running(from, is_demo).reload(to).unwrap_err();
        assert_eq!(refused(true, demo, real), ReloadRefused::EndsDemo);
        assert_eq!(refused(false, real, demo), ReloadRefused::BeginsDemo);
        assert!(running(demo, true).reload(demo).is_ok());
    }
}
