//! Scenarios: what the stand-in does in a run, and what the callers do, read from TOML.
//!
//! In:       a file, or the name of a scenario that is built in.
//! Out:      a [`Scenario`].
//! Bounds:   a file is at most [`FILE_BYTES_MAX`]; unknown keys are errors.
//! Not here: the steps (`gemini::script`), the run (`run`).

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::conversation::{Apart, Order};
use super::record::SessionRecord;
use super::script::{Fault, Invocation, Moment, Script, Speech, Step};
use crate::bookings;
use crate::carrier::endurance::Endurance;
use crate::carrier::mix::Mix;
use crate::carrier::record::Hangup;
use crate::clock::{MILLIS, Nanos};
use crate::schedule::{Bursts, ECHO_DELAY_MS_MAX, FRAME_BYTES, LineEcho, MediaPlan};
use crate::signal::Pauses;

/// The longest scenario file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// No booking is asked for earlier: the conversation has begun.
const BOOKS_FROM_MS: u64 = 1000;

/// Levels that a detector of speech can tell apart in 16 bits, in dBov.
const LEVEL_DBOV: RangeInclusive<f64> = -90.0..=0.0;
/// How long it may want to hear speech: from one piece of audio on.
const SPEECH_MS: RangeInclusive<u32> = 10..=10_000;
/// The quietest echo, in dB: below it there is nothing left in 16 bits.
const LOSS_DB_MAX: f64 = 90.0;

/// What both sides do in a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line about it.
    #[serde(default)]
    pub about: String,
    /// How long a call must speak for all of it to happen, in seconds; `None`: any length will do.
    pub seconds: Option<u32>,
    /// What every connection of a conversation does. Without steps it converses.
    #[serde(default)]
    pub session: Script,
    /// Set: what each connection of a conversation does, the last one all that follow; instead of
    /// `session`.
    #[serde(default)]
    pub connections: Vec<Script>,
    /// Set: calls whose model speaks unlike that of the others, whose times are told by themselves.
    pub apart: Option<Unlike>,
    /// Connections are counted over the whole run, not within a conversation.
    #[serde(default)]
    pub counts_all_connections: bool,
    /// What the service is provoked to object to, by the names of the report, such as `Backlog`.
    #[serde(default)]
    pub objections: Vec<String>,
    /// The caller.
    #[serde(default)]
    pub caller: Caller,
    /// Who brings the calls, as on the command line: `"twilio=70,telnyx=20,vonage=10"`.
    #[serde(default)]
    pub carriers: Mix,
    /// The share of calls in which the model books an appointment once.
    #[serde(default)]
    pub book: f64,
    /// The relay's configuration file.
    #[serde(default)]
    pub relay_config: String,
    /// Settings of the relay, by the names of their variables.
    #[serde(default)]
    pub relay: std::collections::BTreeMap<String, String>,
    /// What is demanded of swaps, recoveries and answers; flags of the command line come before it.
    #[serde(default)]
    pub demands: Demands,
}

/// Calls apart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlike {
    /// So many: the first conversations of the run.
    pub calls: usize,
    /// What the model says at each of its turns there. The turns begin when those of a call without
    /// steps would, and the rest of the session is as `session` says.
    pub answer: Speech,
}

/// How the caller speaks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caller {
    /// How long it speaks at a time, in milliseconds; 0 is without a pause.
    pub talk_ms: u64,
    /// How long it is quiet between, in milliseconds.
    pub quiet_ms: u64,
    /// Where in these two it begins, in milliseconds: at `talk_ms` with a pause.
    pub from_ms: u64,
    /// Keys pressed: when, in milliseconds, and which.
    pub keys: Vec<(u64, char)>,
    /// Of every so many frames the last leaves behind the one after it, by carriers that promise
    /// no order; 0: none does.
    pub disorder: u64,
    /// The lengths of frames in turn, in eighths of a millisecond (as mu-law, bytes); none: the
    /// carrier's own.
    pub frame_bytes: Vec<usize>,
    /// Frames held back and sent together: `{ every_ms = 1000, pause_ms = 233 }`.
    pub bursts: Option<Bursts>,
    /// Silence that is not sent: `{ speech_ms = 1000, silence_ms = 400 }`.
    pub suppress_silence: Option<Suppression>,
    /// Times in which it reads nothing: when and for how long, in milliseconds.
    pub reads_nothing: Vec<(u64, u64)>,
    /// How it leaves: `"stop"`, `"close"`, `"reset"` or `"silence"`.
    pub hangup: Hangup,
    /// When the network resets the caller's connection, in milliseconds since it began to speak.
    pub lost_ms: Vec<u64>,
    /// The line returns what is heard on it: `{ delay_ms = 120, loss_db = 20 }`.
    pub echo: Option<LineEcho>,
}

/// Silence that a carrier does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// After so much speech, in milliseconds.
    pub speech_ms: u64,
    /// So much is not sent, and the `timestamp` jumps over it.
    pub silence_ms: u64,
}

/// The most that is borne of swaps, recoveries and answers broken off; what is not set is not
/// judged.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demands {
    /// The longest audible gap of a swap, p99, in milliseconds.
    pub max_gap_ms: Option<f64>,
    /// Caller audio lost in the whole run, in milliseconds.
    pub max_lost_ms: Option<f64>,
    /// The longest recovery from a fault, in milliseconds.
    pub max_recovery_ms: Option<f64>,
    /// Connections that came to an end in mid-call and were not replaced; 0 unless set.
    pub max_failed_swaps: Option<u64>,
    /// Answers that the model broke off because it heard somebody speak, in the whole run.
    pub max_talked_over: Option<u64>,
}

impl Demands {
    /// These, and where they say nothing, `other`.
    pub fn or(self, other: Demands) -> Demands {
        Demands {
            max_gap_ms: self.max_gap_ms.or(other.max_gap_ms),
            max_lost_ms: self.max_lost_ms.or(other.max_lost_ms),
            max_recovery_ms: self.max_recovery_ms.or(other.max_recovery_ms),
            max_failed_swaps: self.max_failed_swaps.or(other.max_failed_swaps),
            max_talked_over: self.max_talked_over.or(other.max_talked_over),
        }
    }
}

/// Scenarios that are built in: name and TOML, by what they are about: swaps, connections that
/// fail, speech, tools, callers.
pub const BUILT_IN: [(&str, &str); 47] = [
    ("rotations", include_str!("../../scenarios/rotations.toml")),
    ("rotations-at-random", include_str!("../../scenarios/rotations-at-random.toml")),
    ("forced-rotations", include_str!("../../scenarios/forced-rotations.toml")),
    ("announced-then-quiet", include_str!("../../scenarios/announced-then-quiet.toml")),
    ("rotation-during-a-tool", include_str!("../../scenarios/rotation-during-a-tool.toml")),
    ("not-resumable", include_str!("../../scenarios/not-resumable.toml")),
    ("handle-refused", include_str!("../../scenarios/handle-refused.toml")),
    ("poisoned-resume", include_str!("../../scenarios/poisoned-resume.toml")),
    ("backlog-refused", include_str!("../../scenarios/backlog-refused.toml")),
    ("faults", include_str!("../../scenarios/faults.toml")),
    ("closes", include_str!("../../scenarios/closes.toml")),
    ("key-refused", include_str!("../../scenarios/key-refused.toml")),
    ("quota-used-up", include_str!("../../scenarios/quota-used-up.toml")),
    ("garbage", include_str!("../../scenarios/garbage.toml")),
    ("dead-line", include_str!("../../scenarios/dead-line.toml")),
    ("silent-stall", include_str!("../../scenarios/silent-stall.toml")),
    ("freeze-after-interruption", include_str!("../../scenarios/freeze-after-interruption.toml")),
    ("phantom-interruption", include_str!("../../scenarios/phantom-interruption.toml")),
    ("setup-unanswered", include_str!("../../scenarios/setup-unanswered.toml")),
    ("refused-at-the-door", include_str!("../../scenarios/refused-at-the-door.toml")),
    ("late-pongs", include_str!("../../scenarios/late-pongs.toml")),
    ("interruptions", include_str!("../../scenarios/interruptions.toml")),
    ("interruptions-out-of-turn", include_str!("../../scenarios/interruptions-out-of-turn.toml")),
    ("broken-off", include_str!("../../scenarios/broken-off.toml")),
    ("speech-after-the-turn", include_str!("../../scenarios/speech-after-the-turn.toml")),
    ("burst", include_str!("../../scenarios/burst.toml")),
    ("long-bursts", include_str!("../../scenarios/long-bursts.toml")),
    ("noise-for-speech", include_str!("../../scenarios/noise-for-speech.toml")),
    ("slower-than-speech", include_str!("../../scenarios/slower-than-speech.toml")),
    ("liberties", include_str!("../../scenarios/liberties.toml")),
    ("bookings", include_str!("../../scenarios/bookings.toml")),
    ("endings", include_str!("../../scenarios/endings.toml")),
    ("tools-without-ids", include_str!("../../scenarios/tools-without-ids.toml")),
    ("tools-withdrawn", include_str!("../../scenarios/tools-withdrawn.toml")),
    ("keys", include_str!("../../scenarios/keys.toml")),
    ("caller-bursts", include_str!("../../scenarios/caller-bursts.toml")),
    ("caller-suppressed-silence", include_str!("../../scenarios/caller-suppressed-silence.toml")),
    ("caller-odd-frames", include_str!("../../scenarios/caller-odd-frames.toml")),
    ("caller-out-of-order", include_str!("../../scenarios/caller-out-of-order.toml")),
    ("caller-before-the-model", include_str!("../../scenarios/caller-before-the-model.toml")),
    ("caller-slow-reader", include_str!("../../scenarios/caller-slow-reader.toml")),
    ("caller-echo", include_str!("../../scenarios/caller-echo.toml")),
    ("hangup-without-stop", include_str!("../../scenarios/hangup-without-stop.toml")),
    ("hangup-by-reset", include_str!("../../scenarios/hangup-by-reset.toml")),
    ("hangup-by-silence", include_str!("../../scenarios/hangup-by-silence.toml")),
    ("hangup-by-pongs-alone", include_str!("../../scenarios/hangup-by-pongs-alone.toml")),
    ("resets", include_str!("../../scenarios/resets.toml")),
];

impl Scenario {
    /// The built-in scenario of that name, or else the file.
    pub fn find(name: &str) -> Result<Scenario, String> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Scenario::read(text);
        }
        let path = Path::new(name);
        let length = std::fs::metadata(path).map_err(|error| {
            format!("{name}: neither a scenario that is built in nor a file: {error}")
        })?;
        if length.len() > FILE_BYTES_MAX {
            return Err(format!("{name}: longer than {FILE_BYTES_MAX} bytes"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Scenario::read(&text).map_err(|error| format!("{name}: {error}"))
    }

    /// Reads a scenario.
    pub fn read(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scripts of a stand-in. A session without steps has `turns` turns of `speech`, each
    /// followed by `pause`.
    pub fn scripts(&self, turns: usize, speech: &Speech, pause: Nanos) -> Vec<Arc<Script>> {
        let scripts = match self.connections.is_empty() {
            true => std::slice::from_ref(&self.session),
            false => &self.connections,
        };
        let filled = scripts.iter().cloned().map(|mut script| {
            if script.steps.is_empty() {
                script.steps = Script::conversation(turns, speech, pause);
                script.carries_on = true;
            }
            Arc::new(script)
        });
        filled.collect()
    }

    /// The conversations apart: `turns` turns, one every `period`.
    pub fn apart(&self, turns: usize, period: Nanos) -> Option<Apart> {
        let Unlike { calls, answer } = self.apart.as_ref()?;
        let pause = period.saturating_sub(answer.duration());
        let steps = Script::conversation(turns, answer, pause);
        let script = Arc::new(Script { steps, carries_on: true, ..self.session.clone() });
        Some(Apart { conversations: *calls, script })
    }

    /// What is counted to choose a script.
    pub fn order(&self) -> Order {
        if self.counts_all_connections { Order::OneCall } else { Order::ByConversation }
    }

    /// True if model and callers do nothing but talk: no swaps, faults, interruptions, tools, keys or
    /// odd callers, whose times and reactions are what such a scenario is about.
    pub fn only_talks(&self) -> bool {
        let talks = |script: &Script| script.steps.is_empty() && script.faults.is_empty();
        self.connections.is_empty()
            && talks(&self.session)
            && self.session.pong_after.is_none()
            && self.session.detects_activity.is_none()
            && self.book == 0.0
            && self.caller == Caller::default()
    }

    /// Forgets the objections that this scenario provokes.
    pub fn forgive(&self, sessions: &mut [SessionRecord]) {
        for session in sessions {
            session.complaints.retain(|it| !self.objections.contains(&format!("{it:?}")));
        }
    }

    /// Scripts in which the model books, in [`Scenario::book`] of the conversations, once within
    /// the first `ms` milliseconds.
    pub fn with_bookings(&self, scripts: Vec<Arc<Script>>, ms: u64) -> Vec<Arc<Script>> {
        if self.book == 0.0 {
            return scripts;
        }
        let args = json!({ "date": "{date}", "time": "{time}", "name": "Caller {call}-{n}" });
        let call = Invocation { name: bookings::TOOL.to_string(), args };
        let fault = Fault {
            share: self.book,
            at: Moment::Between([BOOKS_FROM_MS.min(ms), ms]),
            every: 0,
            times: 1,
            step: Step::ToolCall { calls: vec![call], without_ids: false },
        };
        let booking = scripts.into_iter().map(|script| {
            let mut script = Script::clone(&script);
            script.faults.push(fault.clone());
            Arc::new(script)
        });
        booking.collect()
    }

    /// What a caller says who speaks for `ms` milliseconds.
    pub fn media(&self, ms: u64) -> MediaPlan {
        let mut plan = MediaPlan::steady(ms);
        let Caller { talk_ms, quiet_ms, from_ms, ref keys, disorder, .. } = self.caller;
        if let Some(Suppression { speech_ms, silence_ms }) = self.caller.suppress_silence {
            plan = plan.suppress_silence(speech_ms, silence_ms);
        }
        if !self.caller.frame_bytes.is_empty() {
            plan.frame_bytes.clone_from(&self.caller.frame_bytes);
        }
        plan.bursts = self.caller.bursts;
        plan.reads_nothing.clone_from(&self.caller.reads_nothing);
        plan.disorder = disorder;
        plan.echo = self.caller.echo;
        plan.pauses = Pauses { talk_ms, quiet_ms, from_ms };
        plan.keys.clone_from(keys);
        plan
    }

    /// What befalls the streams of a caller.
    pub fn endurance(&self) -> Endurance {
        let lost_at = self.caller.lost_ms.iter().map(|ms| ms * MILLIS).collect();
        Endurance { lost_at, ..Endurance::default() }
    }

    fn check(&self) -> Result<(), String> {
        let shares =
            self.connections.iter().chain([&self.session]).flat_map(|script| &script.faults);
        for fault in shares {
            if !(0.0..=1.0).contains(&fault.share) {
                return Err(format!("share {} is not between 0 and 1", fault.share));
            }
            if !fault.step.is_instant() {
                return Err(format!("a fault is over in an instant, not {:?}", fault.step));
            }
            if fault.times > 1 && fault.every < MILLIS {
                return Err("a fault that happens more than once needs every_ms".into());
            }
        }
        let steps = self.connections.iter().chain([&self.session]).flat_map(|script| &script.steps);
        for step in steps {
            if let Step::Close { reason, .. } | Step::Dismiss { reason, .. } = step
                && reason.len() > 123
            {
                return Err("the reason of a close has at most 123 bytes".into());
            }
        }
        if self.seconds.is_some_and(|seconds| !(1..=3600).contains(&seconds)) {
            return Err("seconds are from 1 to 3600".into());
        }
        if !(0.0..=1.0).contains(&self.book) {
            return Err(format!("book {} is not between 0 and 1", self.book));
        }
        let detectors = self.connections.iter().chain([&self.session]);
        for activity in detectors.filter_map(|script| script.detects_activity) {
            if !LEVEL_DBOV.contains(&activity.level_dbov)
                || !SPEECH_MS.contains(&activity.speech_ms)
            {
                return Err(format!(
                    "detects_activity has a level_dbov in {LEVEL_DBOV:?} and a speech_ms in \
                     {SPEECH_MS:?}"
                ));
            }
        }
        if let Some(Unlike { calls, .. }) = self.apart {
            if calls == 0 {
                return Err("apart has calls above 0".into());
            }
            if !self.connections.is_empty() || !self.session.steps.is_empty() || self.book > 0.0 {
                return Err("apart goes with no connections, steps or book".into());
            }
        }
        self.caller.check()
    }
}

impl Caller {
    fn check(&self) -> Result<(), String> {
        let Caller { keys, frame_bytes, reads_nothing, .. } = self;
        if !keys.iter().all(|(_, key)| "0123456789*#ABCD".contains(*key)) {
            return Err("a key is one of 0-9, *, #, A-D".into());
        }
        if !self.lost_ms.is_sorted() {
            return Err("connections are lost in order".into());
        }
        if !keys.is_sorted_by_key(|(at, _)| at) {
            return Err("keys are pressed in order".into());
        }
        if !frame_bytes.iter().all(|len| FRAME_BYTES.contains(len)) {
            return Err(format!("frame_bytes are from {FRAME_BYTES:?}"));
        }
        if let Some(LineEcho { delay_ms, loss_db }) = self.echo
            && (delay_ms > ECHO_DELAY_MS_MAX || !(0.0..=LOSS_DB_MAX).contains(&loss_db))
        {
            return Err(format!(
                "an echo has a delay_ms up to {ECHO_DELAY_MS_MAX} and a loss_db from 0 to \
                 {LOSS_DB_MAX}"
            ));
        }
        if self.bursts.is_some_and(|it| it.pause_ms == 0 || it.pause_ms >= it.every_ms) {
            return Err("a burst's pause_ms is above 0 and below every_ms".into());
        }
        // What comes back of a line is kept until a frame is said that carries it.
        if self.echo.is_some() && (self.suppress_silence.is_some() || self.bursts.is_some()) {
            return Err(
                "a line with an echo says every frame: no suppress_silence, no bursts".into()
            );
        }
        if self.suppress_silence.is_some_and(|it| it.speech_ms == 0 || it.silence_ms == 0) {
            return Err("suppress_silence needs speech_ms and silence_ms above 0".into());
        }
        if !reads_nothing.is_sorted_by(|before, next| before.0 + before.1 <= next.0) {
            return Err("reads_nothing is in order, one time after the other".into());
        }
        Ok(())
    }
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            about: String::new(),
            seconds: None,
            session: Script::listen(),
            connections: Vec::new(),
            apart: None,
            counts_all_connections: false,
            objections: Vec::new(),
            caller: Caller::default(),
            carriers: Mix::default(),
            book: 0.0,
            relay_config: String::new(),
            relay: std::collections::BTreeMap::new(),
            demands: Demands::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::script::Handshake;

    #[test]
    fn every_scenario_that_is_built_in_can_be_read_and_says_what_it_is() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::find(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!scenario.about.is_empty(), "{name}");
            let scripts = scenario.scripts(2, &Speech::real_time(400), 0);
            assert!(!scripts.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_scenario_about_times_and_reactions_is_more_than_talk() {
        assert!(Scenario::default().only_talks());
        let talks = |&(name, _): &(&str, &str)| Scenario::find(name).unwrap().only_talks();
        let only_talk: Vec<_> = BUILT_IN.iter().filter(|it| talks(it)).map(|it| it.0).collect();
        assert_eq!(only_talk, ["burst", "liberties", "caller-before-the-model"]);
    }

    #[test]
    fn every_step_has_a_form_in_a_file() {
        let scenario = Scenario::read(
            r##"
            book = 0.2
            carriers = "twilio=2,telnyx/pcma=1"
            [caller]
            talk_ms = 3000
            quiet_ms = 1000
            disorder = 7
            frame_bytes = [1, 999]
            bursts = { every_ms = 1000, pause_ms = 233 }
            suppress_silence = { speech_ms = 5, silence_ms = 400 }
            reads_nothing = [[1000, 500], [2000, 500]]
            hangup = "silence"
            keys = [[500, "1"], [700, "#"]]
            [demands]
            max_gap_ms = 150.0
            [[connections]]
            handshake = { refuse = { status = 503, body = "busy" } }
            [[connections]]
            setup_after_ms = "never"
            [[connections]]
            setup_after_ms = 400
            detects_activity = { level_dbov = -28.0, speech_ms = 60 }
            updates_every_ms = "never"
            framing = { opcode = "binary", fragment_bytes = 100, pretty = true }
            dialect = { odd_bytes = true, usage = "per_chunk_vertex", parts = 3 }
            steps = [
              "await_greeting",
              { await_uplink = { ms = 300 } },
              { pause_ms = 20 },
              { speak = { ms = 400 } },
              { speak = { ms = 30000, speed = 0.7, chunk_samples = [1, 959], cut_after_ms = 80 } },
              { heard = { text = "Hello" } },
              { interrupt = { audio_ms = 40 } },
              { interrupt = {} },
              { go_away = { time_left = "9.5s", enforced = true } },
              { tool_call = { calls = [{ name = "t", args = { n = "{n}" } }], without_ids = true } },
              "cancel_tools",
              { await_tools = { ms = 5000 } },
              { send_text = "{" },
              { send_binary = [255] },
              { send_bytes = [143, 0] },
              "quiet", "stuck", "stall",
              { close = { code = 1011, reason = "Internal error encountered." } },
              { dismiss = { code = 1007, reason = "API key expired." } },
              { speak = { ms = 4000, steady = true } },
              "hangup", "reset",
            ]
            [[connections.faults]]
            share = 0.5
            at_ms = [1000, 4000]
            every_ms = 2000
            times = 3
            does = "reset"
            "##,
        )
        .unwrap();
        assert_eq!(
            scenario.connections[0].handshake,
            Handshake::Refuse { status: 503, body: "busy".into() }
        );
        assert_eq!(scenario.connections[1].setup_after, None);
        let last = &scenario.connections[2];
        assert_eq!((last.setup_after, last.updates_every), (Some(400 * MILLIS), None));
        assert_eq!(last.steps.len(), 23);
        assert_eq!(last.faults[0].at, Moment::Between([1000, 4000]));
        let media = scenario.media(10);
        assert_eq!((media.frame_bytes.len(), media.holes.len()), (2, 1));
        assert_eq!(scenario.caller.hangup, Hangup::Silence);
        assert_eq!(scenario.media(10).keys, [(500, '1'), (700, '#')]);
    }

    #[test]
    fn what_a_scenario_cannot_mean_is_an_error() {
        for text in [
            "shares = 1.0",
            "book = 1.5",
            "carriers = \"nobody=1\"",
            "[session]\nsteps = [\"dance\"]",
            "[session]\nsteps = [{ speak = { ms = 10, speed = 0.0 } }]",
            "[session]\nsetup_after_ms = \"later\"",
            "[[session.faults]]\nat_ms = 1\ndoes = { pause_ms = 5 }",
            "[[session.faults]]\nat_ms = 1\ntimes = 2\ndoes = \"reset\"",
            "[[session.faults]]\nat_ms = 1\nshare = 2.0\ndoes = \"reset\"",
            "seconds = 0",
            "[caller]\nframe_bytes = [0]",
            "[caller]\nframe_bytes = [1000]",
            "[caller]\nbursts = { every_ms = 100, pause_ms = 100 }",
            "[caller]\nsuppress_silence = { speech_ms = 0, silence_ms = 100 }",
            "[caller]\nreads_nothing = [[100, 100], [150, 10]]",
            "[caller]\nhangup = \"politely\"",
            "[caller]\necho = { delay_ms = 1001, loss_db = 20 }",
            "[caller]\necho = { delay_ms = 120, loss_db = 20 }\n\
             suppress_silence = { speech_ms = 5, silence_ms = 400 }",
            "[caller]\necho = { delay_ms = 120, loss_db = 20 }\n\
             bursts = { every_ms = 1000, pause_ms = 233 }",
            "[session]\ndetects_activity = { level_dbov = nan, speech_ms = 60 }",
            "[session]\ndetects_activity = { level_dbov = -28.0, speech_ms = 0 }",
            "[apart]\ncalls = 0\nanswer = { ms = 1000 }",
            "book = 0.5\n[apart]\ncalls = 1\nanswer = { ms = 1000 }",
            "[caller]\necho = { delay_ms = 100, loss_db = -1 }",
            "[caller]\nkeys = [[1, \"x\"]]",
            "[caller]\nkeys = [[2, \"1\"], [1, \"1\"]]",
        ] {
            assert!(Scenario::read(text).is_err(), "{text}");
        }
        assert!(Scenario::find("no-such-scenario").is_err());
    }
}
