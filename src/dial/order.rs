//! An order: who wants a session of which kind, and how far it has come.
//!
//! Out:      the `setup` of its next attempt.
//! Not here: sockets; what follows a failure (`dial`).

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::facts::paragraph;
use super::service::Service;
use crate::call::{CallId, Class, Facts, Revival};
use crate::clock::Nanos;
use crate::config::{Agent, ToolBehavior};
use crate::mail::CallKey;
use crate::wire::gemini::{self, Behavior, Function, Resume, SetupFacts};

/// A session that is wanted.
#[derive(Debug)]
pub(super) struct Order {
    /// Who wants it; `None`: nobody yet, see [`Purpose::Ahead`].
    pub(super) call: Option<CallKey>,
    /// The call's name in the log.
    pub(super) id: CallId,
    pub(super) class: Class,
    pub(super) agent: Arc<Agent>,
    pub(super) facts: Arc<Facts>,
    pub(super) purpose: Purpose,
    pub(super) ordered_at: Nanos,
    /// Attempts begun.
    pub(super) attempts: u32,
    /// Of these, how many ended without `setupComplete` in time.
    pub(super) silent: u32,
    /// Whether the session is asked to be one that can be resumed.
    pub(super) resumable: bool,
    /// Whether the present attempt is on a connection made ahead, which may have died unnoticed.
    pub(super) from_spare: bool,
    /// Whether a fresh access token was asked for because one was refused: once an order.
    pub(super) renewed: bool,
}

/// What a line is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A call's first.
    First,
    /// The session that is to go on. Only the call knows how long it can do without a line: it
    /// tries again itself.
    Revival(Revival),
    /// Not yet known: it is made ahead, and nobody is told what becomes of it.
    Spare,
    /// For a call that was promised a place and has not come.
    Ahead {
        /// The carrier's name of the call.
        call_sid: String,
        /// When it is waited for no longer.
        until: Nanos,
    },
}

impl Purpose {
    pub(super) fn revival(&self) -> Option<&Revival> {
        match self {
            Purpose::Revival(revival) => Some(revival),
            Purpose::First | Purpose::Spare | Purpose::Ahead { .. } => None,
        }
    }
}

impl Order {
    /// Of `agent`, for `purpose`; nothing has been tried.
    pub(super) fn new(
        call: Option<CallKey>,
        (id, class): (CallId, Class),
        (agent, facts): (Arc<Agent>, Arc<Facts>),
        purpose: Purpose,
        ordered_at: Nanos,
    ) -> Order {
        let resumable = agent.tuning.resumption;
        Order {
            call,
            id,
            class,
            agent,
            facts,
            purpose,
            ordered_at,
            attempts: 0,
            silent: 0,
            resumable,
            from_spare: false,
            renewed: false,
        }
    }

    /// The carrier's name of the call it is made ahead for.
    pub(super) fn ahead_for(&self) -> Option<&str> {
        match &self.purpose {
            Purpose::Ahead { call_sid, .. } => Some(call_sid),
            _ => None,
        }
    }

    /// When it is given up, whatever it has come to.
    pub(super) fn expires_at(&self) -> Nanos {
        match self.purpose {
            Purpose::Ahead { until, .. } => until,
            _ => Nanos::NEVER,
        }
    }

    /// Whether a session of `other` would be set up as one of this, but for the time of day.
    pub(super) fn is_like(&self, other: &Order) -> bool {
        self.agent == other.agent && self.facts == other.facts
    }

    /// The message that makes the session.
    pub(super) fn setup(&self, service: &Service) -> String {
        setup_of(self, service, Timestamp::now())
    }

    /// Whether its session can say which of our messages it holds.
    pub(super) fn is_transparent(&self, service: &Service) -> bool {
        self.resumable && service.is_transparent()
    }
}

fn setup_of(order: &Order, service: &Service, now: Timestamp) -> String {
    let (agent, revival) = (&*order.agent, order.purpose.revival());
    let mut system = format!("{}\n\n{}", agent.system, paragraph(agent, &order.facts, now));
    if let Some(Revival::Fresh { summary }) = revival
        && !summary.is_empty()
        && seed_of(&agent.model, revival).is_none()
    {
        system.push_str("\n\n");
        system.push_str(summary);
    }
    let model: Cow<'_, str> = service.model(&agent.model);
    let tuning = agent.tuning;
    gemini::setup_json(&SetupFacts {
        model: &model,
        voice: agent.voice.as_deref(),
        system: &system,
        resume: match revival {
            Some(Revival::Resume { handle }) => Resume::Handle(handle.reveal()),
            _ if order.resumable => Resume::Fresh,
            _ => Resume::Off,
        },
        transparent: service.is_transparent(),
        temperature: tuning.temperature,
        thinking: tuning.thinking,
        compression: tuning.compression,
        transcripts: true,
        barge_in: true,
        vad: tuning.vad,
        functions: &functions_of(agent),
    })
}

/// The agent's tools as the model is told of them.
fn functions_of(agent: &Agent) -> Vec<Function<'_>> {
    let declared = agent.tools.iter().map(|tool| Function {
        name: &tool.name,
        description: &tool.description,
        parameters: Some(&tool.parameters),
        behavior: match tool.behavior {
            ToolBehavior::Blocking => Behavior::Blocking,
            ToolBehavior::NonBlocking => Behavior::NonBlocking,
        },
    });
    declared.collect()
}

/// The message that tells a new session what was said before. `None`: there is nothing to tell,
/// or the model takes it only in the system text of its setup.
pub(super) fn seed_of(model: &str, revival: Option<&Revival>) -> Option<String> {
    match revival {
        Some(Revival::Fresh { summary }) if !summary.is_empty() => {
            gemini::seed_json(model, summary)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::{Config, SourceFile};

    fn config(text: &str) -> Config {
        let file = SourceFile { path: "vocaris.toml".into(), text: text.to_owned() };
        Config::read(Some(&file), []).unwrap()
    }

    fn order(config: &Config, purpose: Purpose) -> Order {
        let agent = config.agent_for(None).clone();
        let facts = Arc::new(Facts::new(Some("+15550100"), None, []));
        Order::new(None, (CallId(1), Class::Twilio), (agent, facts), purpose, Nanos::ZERO)
    }

    fn setup(config: &Config, purpose: Purpose) -> Value {
        let order = order(config, purpose);
        let text = order.setup(&Service::new(&config.gemini));
        serde_json::from_str::<Value>(&text).unwrap()["setup"].clone()
    }

    fn system(setup: &Value) -> &str {
        setup["systemInstruction"]["parts"][0]["text"].as_str().unwrap()
    }

    #[test]
    fn the_agents_own_text_comes_first_and_the_facts_behind_it() {
        let config = config("[[agents]]\nname = \"a\"\nnumbers = \"*\"\nsystem = \"Be kind.\"\n");
        let setup = setup(&config, Purpose::First);
        assert!(system(&setup).starts_with("Be kind.\n\nAbout this call"), "{setup}");
        assert!(system(&setup).contains("The caller's number: \"+15550100\""));
    }

    #[test]
    fn a_model_that_takes_no_content_in_a_session_is_told_in_its_setup() {
        let summary = || Purpose::Revival(Revival::Fresh { summary: "You: Hello.".to_owned() });
        let old = config("[gemini]\nmodel = \"models/gemini-3.1-flash-live-preview\"\n");
        let text = setup(&old, summary());
        assert!(system(&text).ends_with("\n\nYou: Hello."));
        let order = order(&old, summary());
        assert_eq!(seed_of(&order.agent.model, order.purpose.revival()), None);
        let new = config("");
        assert!(!setup(&new, summary()).to_string().contains("You: Hello."));
        assert!(seed_of(&new.gemini.model, summary().revival()).is_some());
    }

    #[test]
    fn what_is_tuned_reaches_the_model() {
        let config = config(
            "[gemini]\ntemperature = 0.7\nstart_sensitivity = \"low\"\nsilence_ms = 700\n\
             compression_trigger = 50000\ncompression_target = 20000\nresumption = false\n",
        );
        let setup = setup(&config, Purpose::First);
        assert_eq!(setup["generationConfig"]["temperature"], 0.7);
        let detection = &setup["realtimeInputConfig"]["automaticActivityDetection"];
        assert_eq!(detection["startOfSpeechSensitivity"], "START_SENSITIVITY_LOW");
        assert_eq!(detection["silenceDurationMs"], 700);
        assert_eq!(setup["contextWindowCompression"]["triggerTokens"], 50_000);
        assert_eq!(setup["contextWindowCompression"]["slidingWindow"]["targetTokens"], 20_000);
        assert_eq!(setup.get("sessionResumption"), None);
    }

    #[test]
    fn on_vertex_a_model_has_its_full_name_and_a_session_is_transparent() {
        let vertex = "[gemini]\nflavor = \"vertex\"\n";
        let tokens = "project = \"my-project\"\nlocation = \"europe-west4\"\ntoken_file = \"t\"\n";
        let regional = config(&format!("{vertex}{tokens}"));
        let setup_text = setup(&regional, Purpose::First);
        assert_eq!(
            setup_text["model"],
            "projects/my-project/locations/europe-west4/publishers/google/models/gemini-3.8-live"
        );
        assert_eq!(setup_text["sessionResumption"], serde_json::json!({"transparent": true}));
        assert_eq!(setup_text["generationConfig"]["responseModalities"][0], "AUDIO");
        let handle = crate::config::Secret::new("h".to_owned());
        let resumed = setup(&regional, Purpose::Revival(Revival::Resume { handle }));
        let both = serde_json::json!({"handle": "h", "transparent": true});
        assert_eq!(resumed["sessionResumption"], both);
        let express = config(&format!("{vertex}api_key = \"k\"\n"));
        let express = setup(&express, Purpose::First);
        assert_eq!(express["model"], "publishers/google/models/gemini-3.8-live");
        let developer = setup(&config(""), Purpose::First);
        assert_eq!(developer["sessionResumption"], serde_json::json!({}));
    }
}
