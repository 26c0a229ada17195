//! `[timers]`: how long a call waits for its model, how often it tries again. An agent may have its
//! own: `timers = { reply = "9s" }`.
//!
//! In:       the section, or the table of one agent.
//! Out:      [`Timers`] that go together.
//! Bounds:   the range of each key stands in one table, [`DURATIONS`] or [`COUNTS`].
//! Not here: what is done when a time is up (`call::session`, `call::watch`, `dial`).

use std::time::Duration;

use toml::de::DeValue;

use super::settings::{Key, Settings, Written};
use super::values;
use crate::limits::{DOWNLINK_QUEUE_MS, JOIN_TIMEOUT, SWAP_QUEUE_MS};

const SECTION: &str = "timers";

/// Below this a carrier that sends in bursts, or a frame that is late, would end calls in progress.
const MEDIA_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// How long a call waits for its model, how often it tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// TCP to the model.
    pub tcp: Duration,
    /// TLS and the upgrade.
    pub upgrade: Duration,
    /// From `setup` to `setupComplete`: a wrong field can make the model silent for ever.
    pub setup: Duration,
    /// From the request to greet to the first audio. Then it is made once more.
    pub greeting: Duration,
    /// From the end of the caller's speech to the model's answer. Then it is asked to answer, and
    /// after as long again its connection is given up.
    pub reply: Duration,
    /// The same for a session that was taken up again and has not been heard since.
    pub resumed_reply: Duration,
    /// However long the caller goes on, or a noisy line does: a model that owes an answer is asked
    /// for it after this, and until then its connection is not given up while he speaks.
    pub owed: Duration,
    /// The model stopped for an interruption nobody made: how long it may be silent. Then a fresh
    /// session is begun.
    pub phantom: Duration,
    /// A turn shorter than this whose words break off is asked to be gone on with; zero: none is.
    pub short_turn: Duration,
    /// After an interruption, what still comes of the interrupted answer is dropped until the model
    /// says that it is complete, at most so long.
    pub void: Duration,
    /// So much of a steady tone or noise from the model is no speech: it is thrown away and a
    /// fresh session begun; zero: everything is speech.
    pub tone: Duration,
    /// Without one byte from the model though some are due: the line counts as dead.
    pub dead: Duration,
    /// Before the end a model has announced: its connection is given up by then.
    pub go_away_margin: Duration,
    /// An end announced for sooner than this is not waited for.
    pub go_away_now: Duration,
    /// From the announcement, how long a good moment is waited for, however late the end may be.
    pub go_away_wait: Duration,
    /// A connection this old is replaced at the next good moment; zero: only when its end is
    /// announced.
    pub rotate: Duration,
    /// From our close frame to the model's. Then the socket is dropped.
    pub close: Duration,
    /// Before the second attempt at another line; doubled before each further one.
    pub backoff: Duration,
    /// Between two attempts, at most.
    pub backoff_max: Duration,
    /// Before a handle is tried again that was refused with 1011: the service may still hold the
    /// session for the old connection.
    pub resume_retry: Duration,
    /// Without a line during a call. Then the call ends with the fallback.
    pub outage: Duration,
    /// A line that has held so long is no part of a row any more.
    pub proven: Duration,
    /// Lines of a call given up without notice, one after the other. The next one ends the call.
    pub in_a_row: usize,
    /// Lines of a call that may be given up without notice. The next one ends it.
    pub per_call: usize,
    /// After so long, one more may be.
    pub regain: Duration,
    /// Lines of a call whose end is announced before they have held for [`Timers::proven`], one
    /// after the other, though the model was heard on them. The next one ends the call.
    pub early_rotations: usize,
    /// Caller audio kept while the model's connection is swapped. At the bound the oldest is
    /// dropped and counted.
    pub uplink_hold: Duration,
    /// Messages for the model, other than audio, kept meanwhile. At the bound the newest is
    /// dropped and counted.
    pub waiting_messages: usize,
    /// Model audio not yet played. At the bound the rest of the answer is dropped and counted.
    pub downlink_queue: Duration,
    /// Without speech for so long the caller is silent.
    pub quiet: Duration,
    /// The caller's audio is held back from a model that is to greet, at most so long; zero: it is
    /// not.
    pub greeting_hold: Duration,
    /// It is let go once the caller has heard so much of the greeting.
    pub greeting_heard: Duration,
    /// After so much silence the model that owes an answer is told that the caller has ended
    /// (`audioStreamEnd`); zero: it is not.
    pub stream_end: Duration,
    /// Without audio, a mark or a key of a carrier's stream, though it was asked for a mark after
    /// half of it: the call ends. Zero: it does not.
    pub media_timeout: Duration,
    /// Answers in a row of which the caller heard nothing to speak of, because they were
    /// interrupted: then the other end is a machine, and the call ends. 0: it never is.
    pub interruptions: usize,
}

impl Default for Timers {
    fn default() -> Timers {
        const fn ms(ms: u64) -> Duration {
            Duration::from_millis(ms)
        }
        Timers {
            tcp: ms(3_000),
            upgrade: ms(3_000),
            setup: ms(10_000),
            greeting: ms(4_000),
            reply: ms(7_000),
            resumed_reply: ms(8_000),
            owed: ms(60_000),
            phantom: ms(5_000),
            short_turn: ms(1_000),
            void: ms(3_000),
            tone: ms(3_000),
            dead: ms(20_000),
            go_away_margin: ms(5_000),
            go_away_now: ms(8_000),
            go_away_wait: ms(45_000),
            rotate: Duration::ZERO,
            close: ms(250),
            backoff: ms(250),
            backoff_max: ms(4_000),
            resume_retry: ms(300),
            outage: ms(30_000),
            proven: ms(10_000),
            in_a_row: 3,
            per_call: 8,
            regain: ms(5 * 60_000),
            early_rotations: 24,
            uplink_hold: ms(SWAP_QUEUE_MS as u64),
            waiting_messages: 32,
            downlink_queue: ms(DOWNLINK_QUEUE_MS as u64),
            quiet: ms(300),
            greeting_hold: ms(2_500),
            greeting_heard: ms(500),
            stream_end: Duration::ZERO,
            media_timeout: ms(20_000),
            interruptions: 12,
        }
    }
}

/// A key, the least and the most it may be in milliseconds, where it is kept.
type DurationKey = (&'static str, u64, u64, fn(&mut Timers) -> &mut Duration);

/// Every length of time.
const DURATIONS: [DurationKey; 30] = [
    ("tcp", 100, 60_000, |timers| &mut timers.tcp),
    ("upgrade", 100, 60_000, |timers| &mut timers.upgrade),
    ("setup", 1_000, 60_000, |timers| &mut timers.setup),
    ("greeting", 500, 60_000, |timers| &mut timers.greeting),
    ("reply", 1_000, 120_000, |timers| &mut timers.reply),
    ("resumed_reply", 1_000, 120_000, |timers| &mut timers.resumed_reply),
    ("owed", 10_000, 600_000, |timers| &mut timers.owed),
    ("phantom", 1_000, 60_000, |timers| &mut timers.phantom),
    ("short_turn", 0, 5_000, |timers| &mut timers.short_turn),
    ("void", 100, 10_000, |timers| &mut timers.void),
    ("tone", 0, 60_000, |timers| &mut timers.tone),
    ("dead", 2_000, 600_000, |timers| &mut timers.dead),
    ("go_away_margin", 0, 30_000, |timers| &mut timers.go_away_margin),
    ("go_away_now", 0, 60_000, |timers| &mut timers.go_away_now),
    // Less than a connection made ahead is kept.
    ("go_away_wait", 0, 55_000, |timers| &mut timers.go_away_wait),
    ("rotate", 0, 3_600_000, |timers| &mut timers.rotate),
    // Less than the phone gets for its own close.
    ("close", 10, 1_000, |timers| &mut timers.close),
    ("backoff", 10, 10_000, |timers| &mut timers.backoff),
    ("backoff_max", 10, 60_000, |timers| &mut timers.backoff_max),
    ("resume_retry", 0, 10_000, |timers| &mut timers.resume_retry),
    ("outage", 1_000, 300_000, |timers| &mut timers.outage),
    ("proven", 1_000, 300_000, |timers| &mut timers.proven),
    ("regain", 10_000, 86_400_000, |timers| &mut timers.regain),
    // No more than the ring holds.
    ("uplink_hold", 0, 10_000, |timers| &mut timers.uplink_hold),
    ("downlink_queue", 65_000, 300_000, |timers| &mut timers.downlink_queue),
    ("quiet", 60, 2_000, |timers| &mut timers.quiet),
    ("greeting_hold", 0, 10_000, |timers| &mut timers.greeting_hold),
    ("greeting_heard", 0, 5_000, |timers| &mut timers.greeting_heard),
    ("stream_end", 0, 60_000, |timers| &mut timers.stream_end),
    ("media_timeout", 0, 3_600_000, |timers| &mut timers.media_timeout),
];

/// What is needed before it is known which agent answers, or apart from any: not for one agent.
const COMMON: [&str; 4] = ["tcp", "upgrade", "setup", "downlink_queue"];

/// A key, the least and the most it may be, where it is kept.
type CountKey = (&'static str, usize, usize, fn(&mut Timers) -> &mut usize);

/// Every number.
const COUNTS: [CountKey; 5] = [
    ("in_a_row", 1, 100, |timers| &mut timers.in_a_row),
    ("per_call", 1, 1_000, |timers| &mut timers.per_call),
    ("early_rotations", 1, 1_000, |timers| &mut timers.early_rotations),
    ("waiting_messages", 1, 256, |timers| &mut timers.waiting_messages),
    ("interruptions", 0, 1_000, |timers| &mut timers.interruptions),
];

/// Reads `[timers]`.
pub(super) fn read(settings: &mut Settings<'_>) -> Timers {
    let mut timers = Timers::default();
    for (name, least, most, place) in DURATIONS {
        let range = Duration::from_millis(least)..=Duration::from_millis(most);
        if let Some(length) = settings.read(Key::open(SECTION, name), values::duration(range)) {
            *place(&mut timers) = length;
        }
    }
    for (name, least, most, place) in COUNTS {
        if let Some(count) = settings.read(Key::open(SECTION, name), values::whole(least..=most)) {
            *place(&mut timers) = count;
        }
    }
    if let Some(Clash { keys, advice }) = timers.clash() {
        let written = keys.into_iter().find(|&key| settings.is_written(Key::open(SECTION, key)));
        // The defaults go together: one of the keys was written.
        settings.fail(Key::open(SECTION, written.unwrap_or(keys[0])), advice);
    }
    timers
}

/// `timers` of one agent: what it writes takes the place of what the section says.
pub(super) fn own(written: &Written<'_>, common: &Timers) -> Result<Timers, String> {
    let Written::Toml(DeValue::Table(table)) = written else {
        return Err("must be a table, such as { reply = \"9s\" }".to_owned());
    };
    let mut timers = common.clone();
    for (key, value) in table.iter() {
        let (name, value) = (key.get_ref().as_ref(), Written::Toml(value.get_ref()));
        let named = |advice: String| format!("{name} {advice}");
        if COMMON.contains(&name) {
            return Err(named("is the same for all agents: set it in [timers]".to_owned()));
        }
        if let Some((_, least, most, place)) = DURATIONS.iter().find(|key| key.0 == name) {
            let range = Duration::from_millis(*least)..=Duration::from_millis(*most);
            *place(&mut timers) = values::duration(range)(&value).map_err(named)?;
        } else if let Some((_, least, most, place)) = COUNTS.iter().find(|key| key.0 == name) {
            *place(&mut timers) = values::whole(*least..=*most)(&value).map_err(named)?;
        } else {
            return Err(format!("{name} is no key of [timers]"));
        }
    }
    match timers.clash() {
        Some(clash) => Err(format!("{} {}", clash.keys[0], clash.advice)),
        None => Ok(timers),
    }
}

/// Values that are fine by themselves, but not together.
struct Clash {
    keys: [&'static str; 4],
    advice: &'static str,
}

impl Timers {
    fn clash(&self) -> Option<Clash> {
        let clash = |keys, advice| Some(Clash { keys, advice });
        if self.backoff > self.backoff_max {
            return clash(
                ["backoff", "backoff_max", "backoff", "backoff"],
                "is more than backoff_max",
            );
        }
        if self.backoff_max > self.outage {
            return clash(
                ["backoff_max", "outage", "outage", "outage"],
                "is more than outage: no second attempt would be made",
            );
        }
        if self.tcp + self.upgrade + self.setup > self.outage {
            return clash(
                ["outage", "setup", "tcp", "upgrade"],
                "must leave time for one attempt: tcp, upgrade and setup together",
            );
        }
        if self.tcp + self.upgrade + self.setup > JOIN_TIMEOUT {
            return clash(
                ["setup", "tcp", "upgrade", "upgrade"],
                "with tcp and upgrade must be no more than 25s: a call waits no longer",
            );
        }
        if self.go_away_margin > self.go_away_now {
            return clash(
                ["go_away_margin", "go_away_now", "go_away_now", "go_away_now"],
                "is more than go_away_now",
            );
        }
        if self.reply > self.owed {
            return clash(["reply", "owed", "owed", "owed"], "is more than owed");
        }
        if self.in_a_row > self.per_call {
            return clash(
                ["in_a_row", "per_call", "per_call", "per_call"],
                "is more than per_call",
            );
        }
        if !self.media_timeout.is_zero() && self.media_timeout < MEDIA_TIMEOUT_MIN {
            return clash(
                ["media_timeout"; 4],
                "must be 0s, or at least 2s: carriers pause between their bursts",
            );
        }
        if !self.rotate.is_zero() && self.rotate < self.proven {
            return clash(
                ["rotate", "proven", "proven", "proven"],
                "must be no less than proven, or zero",
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, SourceFile, SwapOrder};
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = SourceFile { path: "vocaris.toml".into(), text: text.to_owned() };
        Config::read(Some(&file), []).map_err(|errors| errors.to_string())
    }

    #[test]
    fn every_key_is_kept_under_its_own_name_and_no_two_in_one_place() {
        for (name, least, most, place) in DURATIONS {
            let mut timers = Timers::default();
            let default = *place(&mut timers);
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&default), "{name}");
            let text = format!("[timers]\n{name} = \"{}ms\"", most + 1);
            assert!(read(&text).unwrap_err().contains(name), "{name} over its bound");
            *place(&mut timers) = default + Duration::from_millis(1);
            let changed = DURATIONS
                .iter()
                .filter(|key| *key.3(&mut timers.clone()) != *key.3(&mut Timers::default()));
            assert_eq!(changed.count(), 1, "{name}");
        }
        for (name, _, most, _) in COUNTS {
            let text = format!("[timers]\n{name} = {}", most + 1);
            assert!(read(&text).unwrap_err().contains(name), "{name} over its bound");
        }
    }

    #[test]
    fn without_a_word_the_timers_are_the_defaults_and_an_agent_has_the_same() {
        let config = read("").unwrap();
        assert_eq!(*config.timers, Timers::default());
        assert_eq!(config.agents[0].timers, config.timers);
    }

    #[test]
    fn an_agent_may_be_slower_than_the_others() {
        let config = read(
            "[timers]\nreply = \"5s\"\nin_a_row = 2\n\
             [[agents]]\nname = \"slow\"\nnumbers = [\"+1\"]\n\
             timers = { reply = \"9s\", interruptions = 0 }",
        )
        .unwrap();
        assert_eq!(config.timers.reply, Duration::from_secs(5));
        let slow = &config.agent_for(Some("+1")).timers;
        assert_eq!((slow.reply, slow.in_a_row), (Duration::from_secs(9), 2));
        assert_eq!(slow.interruptions, 0);
    }

    #[test]
    fn timers_that_do_not_go_together_are_refused() {
        for (text, says) in [
            ("backoff = \"5s\"", "backoff_max"),
            ("backoff_max = \"40s\"", "outage"),
            ("outage = \"10s\"", "one attempt"),
            ("early_rotations = 0", "early_rotations"),
            ("go_away_margin = \"9s\"", "go_away_now"),
            ("owed = \"10s\"\nreply = \"11s\"", "owed"),
            ("in_a_row = 9", "per_call"),
            ("rotate = \"1s\"", "proven"),
            ("media_timeout = \"20ms\"", "at least 2s"),
        ] {
            let said = read(&format!("[timers]\n{text}")).unwrap_err();
            assert!(said.contains(says), "{said}");
            let inline = text.replace('\n', ", ");
            let agent = format!("[[agents]]\nname = \"a\"\ntimers = {{ {inline} }}");
            let said = read(&agent).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn one_attempt_fits_into_the_time_a_call_waits_for_its_model() {
        assert!(read("[timers]\nsetup = \"19s\"").is_ok());
        let said = read("[timers]\nsetup = \"19001ms\"").unwrap_err();
        assert!(said.contains("25s"), "{said}");
    }

    #[test]
    fn a_key_of_an_agents_timers_that_does_not_exist_is_named() {
        let said = read("[[agents]]\nname = \"a\"\ntimers = { patience = \"1s\" }").unwrap_err();
        assert!(said.contains("patience"), "{said}");
        assert!(read("[[agents]]\nname = \"a\"\ntimers = \"long\"").is_err());
        for key in COMMON {
            let text = format!("[[agents]]\nname = \"a\"\ntimers = {{ {key} = \"5s\" }}");
            assert!(read(&text).unwrap_err().contains("all agents"), "{key}");
        }
    }

    #[test]
    fn the_order_of_a_swap_and_a_quieter_caller_are_settings_of_the_service() {
        let config = read("").unwrap();
        assert_eq!((config.gemini.swap, config.gemini.duck), (SwapOrder::CloseFirst, false));
        let config = read("[gemini]\nswap = \"setup_first\"\nduck = true").unwrap();
        assert_eq!((config.gemini.swap, config.gemini.duck), (SwapOrder::SetupFirst, true));
        assert!(read("[gemini]\nswap = \"both\"").unwrap_err().contains("close_first"));
    }
}
