//! One line of a transcript: JSON (RFC 8259), one object a line.
//!
//! | key | meaning |
//! |---|---|
//! | `time` | when it was, UTC, RFC 3339, milliseconds; of words, when the first of them came |
//! | `call`, `class` | the call's id in the log, `twilio` or `web` |
//! | `ms` | the same moment, since the call opened |
//! | `event` | what it was; the other keys are the event's own |
//!
//! Lines stand in the order in which they became known: what was said is written once it is final,
//! behind what happened meanwhile.
//!
//! In:       events of calls.
//! Out:      lines; `None` for events that are no part of a conversation.
//! Not here: files (`record::transcripts`).

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::call::{CallId, Class, Report, shown_digits};
use crate::wire::browser::Who;

/// An event of a call, and when it was.
#[derive(Debug)]
pub(super) struct Told<'r> {
    pub(super) id: CallId,
    pub(super) class: Class,
    /// When it was told.
    pub(super) time: Timestamp,
    /// The same, since the call opened.
    pub(super) after: Duration,
    /// Who answers the call, once that is known.
    pub(super) agent: Option<&'r str>,
    pub(super) report: &'r Report,
}

/// What is left out of lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discretion {
    /// Callers' numbers show their last two digits at most.
    pub(super) redact_numbers: bool,
    /// What a tool was called with is written.
    pub(super) tool_arguments: bool,
}

#[derive(Serialize)]
struct Line<'r> {
    time: String,
    call: String,
    class: &'static str,
    ms: u128,
    #[serde(flatten)]
    event: Event<'r>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'r> {
    Opened { call_sid: Option<&'r str>, from: Option<String>, to: Option<String> },
    Joined { agent: Option<&'r str>, after_ms: u128 },
    Said { who: &'static str, text: &'r str, cut: bool },
    Answered { after_ms: u128 },
    ToolCalled { name: &'r str, arguments: &'r str },
    Tool { name: &'r str, outcome: &'static str, took_ms: u128 },
    BargeIn,
    Swapped { took_ms: u128 },
    Dtmf,
    Ended { reason: &'static str, lasted_ms: u128, barge_ins: u64 },
}

/// Appends the line of one event to `lines`. Returns whether it has one.
pub(super) fn write(told: &Told<'_>, discretion: Discretion, lines: &mut Vec<u8>) -> bool {
    let mut after = told.after;
    let event = match told.report {
        Report::Opened { call_sid, from, to, .. } => {
            let party =
                |party: &Option<String>| party.as_deref().map(|told| discretion.party(told));
            let (from, to) = (party(from), party(to));
            Event::Opened { call_sid: call_sid.as_deref(), from, to }
        }
        Report::Joined { after } => {
            Event::Joined { agent: told.agent, after_ms: after.as_millis() }
        }
        Report::Said { who, text, cut, at } => {
            after = *at;
            let who = match who {
                Who::Caller => "caller",
                Who::Agent => "agent",
            };
            Event::Said { who, text, cut: *cut }
        }
        Report::Answered { after } => Event::Answered { after_ms: after.as_millis() },
        Report::ToolCalled { .. } if !discretion.tool_arguments => return false,
        Report::ToolCalled { name, arguments } => Event::ToolCalled { name, arguments },
        Report::Tool { name, outcome, took } => {
            Event::Tool { name, outcome: outcome.label(), took_ms: took.as_millis() }
        }
        Report::BargeIn { .. } => Event::BargeIn,
        Report::Swapped { took, .. } => Event::Swapped { took_ms: took.as_millis() },
        Report::Dtmf => Event::Dtmf,
        Report::Ended { ending, lasted, barge_ins, .. } => Event::Ended {
            reason: ending.label(),
            lasted_ms: lasted.as_millis(),
            barge_ins: *barge_ins,
        },
        Report::GoAway { .. } | Report::LineGivenUp { .. } | Report::Nudged => return false,
    };
    let time = told.time.checked_sub(told.after.saturating_sub(after)).unwrap_or(told.time);
    let line = Line {
        time: format!("{time:.3}"),
        call: told.id.to_string(),
        class: told.class.label(),
        ms: after.as_millis(),
        event,
    };
    serde_json::to_writer(&mut *lines, &line).expect("text and numbers are JSON");
    lines.push(b'\n');
    true
}

impl Discretion {
    /// A party of the call, as it may be shown.
    fn party(self, told: &str) -> String {
        if self.redact_numbers { format!("***{}", shown_digits(told)) } else { told.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::call::{Ending, ToolOutcome};

    fn line(report: Report, redact_numbers: bool) -> Option<Value> {
        let time = Timestamp::from_millisecond(1_795_418_100_123).unwrap();
        let told = Told {
            id: CallId(0x2a),
            class: Class::Twilio,
            time,
            after: Duration::from_millis(412),
            agent: Some("reception"),
            report: &report,
        };
        let mut bytes = Vec::new();
        let discretion = Discretion { redact_numbers, tool_arguments: !redact_numbers };
        let has_line = write(&told, discretion, &mut bytes);
        assert_eq!(has_line, bytes.ends_with(b"\n"));
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), usize::from(has_line));
        has_line.then(|| serde_json::from_slice(&bytes).unwrap())
    }

    fn opened() -> Report {
        Report::Opened {
            class: Class::Twilio,
            carrier: None,
            call_sid: Some("CA1".into()),
            from: Some("+15551234567".into()),
            to: None,
            rate_hz: 8_000,
        }
    }

    #[test]
    fn a_call_tells_its_facts_and_no_more_of_its_numbers_than_it_may() {
        let line_of = |redact| line(opened(), redact).unwrap();
        assert_eq!(
            line_of(true),
            json!({"time": "2026-11-23T07:15:00.123Z", "call": "000000000000002a",
                   "class": "twilio", "ms": 412, "event": "opened", "call_sid": "CA1",
                   "from": "***67", "to": null})
        );
        assert_eq!(line_of(false)["from"], "+15551234567");
        let joined = line(Report::Joined { after: Duration::from_millis(412) }, true).unwrap();
        assert_eq!((&joined["agent"], &joined["after_ms"]), (&json!("reception"), &json!(412)));
    }

    #[test]
    fn what_was_said_stays_on_its_line_whatever_was_said() {
        for text in ["Good morning.", "a\nb\r\u{2028}\"\\\0\u{1b}[2J", "日本 😀", ""] {
            let at = Duration::from_millis(5_020);
            let said = Report::Said { who: Who::Agent, text: text.to_owned(), cut: true, at };
            let line = line(said, true).unwrap();
            assert_eq!((&line["text"], &line["cut"]), (&json!(text), &json!(true)));
            assert_eq!((&line["who"], &line["ms"]), (&json!("agent"), &json!(5_020)));
        }
    }

    #[test]
    fn what_was_said_has_the_moment_of_its_first_word_in_both_clocks() {
        // Told 412 ms after the call opened, at 07:15:00.123.
        for (at_ms, time) in [
            (0, "2026-11-23T07:14:59.711Z"),
            (112, "2026-11-23T07:14:59.823Z"),
            (412, "2026-11-23T07:15:00.123Z"),
        ] {
            let at = Duration::from_millis(at_ms);
            let said = Report::Said { who: Who::Caller, text: "Yes.".into(), cut: false, at };
            let line = line(said, true).unwrap();
            assert_eq!((&line["ms"], &line["time"]), (&json!(at_ms), &json!(time)));
        }
    }

    #[test]
    fn a_tool_is_named_and_what_it_was_called_with_only_where_that_is_wanted() {
        let name = || "book_appointment".to_owned();
        let took = Duration::from_millis(31);
        let tool = Report::Tool { name: name(), outcome: ToolOutcome::Done, took };
        let tool = line(tool, true).unwrap();
        assert_eq!((&tool["event"], &tool["name"]), (&json!("tool"), &json!(name())));
        assert_eq!((&tool["outcome"], &tool["took_ms"]), (&json!("done"), &json!(31)));
        let called = || Report::ToolCalled { name: name(), arguments: "{\"a\":1}".to_owned() };
        assert_eq!(line(called(), true), None);
        assert_eq!(line(called(), false).unwrap()["arguments"], "{\"a\":1}");
    }

    #[test]
    fn the_end_says_why_and_what_concerns_the_model_alone_is_left_out() {
        let lasted = Duration::from_secs(61);
        let ending = Ending::CallerHungUp;
        let ended = Report::Ended { ending, lasted, uplink_ms: 0, downlink_ms: 0, barge_ins: 2 };
        let ended = line(ended, true).unwrap();
        assert_eq!(ended["reason"], "caller_hung_up");
        assert_eq!((&ended["lasted_ms"], &ended["barge_ins"]), (&json!(61_000), &json!(2)));
        assert_eq!(line(Report::Nudged, true), None);
    }
}
