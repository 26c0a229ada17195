//! One log line for each event of a call's life, for people and for machines: `key=value`, the
//! class as target, the call's id first.
//!
//! Bounds:   [`VALUE_MAX_CHARS`] of what a peer told; what could break the line is escaped.
//! Not here: where the lines go.

use std::fmt::{self, Display};
use std::time::Duration;

use log::Level;

#[cfg(doc)]
use crate::call::VALUE_MAX_CHARS;
use crate::call::session::Cause;
use crate::call::{CallId, Class, Ending, LineFault, Refusal, Report, Told, shown_digits};
use crate::config::Carrier;
use crate::metrics::slo::Missed;

/// Writes the log lines of calls.
#[derive(Clone, Copy, Debug)]
pub struct CallLog {
    /// Whether callers' numbers are shortened to their last two digits.
    pub redact_numbers: bool,
}

impl CallLog {
    /// Writes the line of one event; `left_out`: so many of its kind before it were not written.
    pub fn write(&self, id: CallId, class: Class, report: &Report, left_out: u64) {
        if report.is_unsaid() {
            return;
        }
        let left_out = Field("left_out", Some(left_out).filter(|&lines| lines > 0));
        log::log!(target: class.label(), level(report), "{}{left_out}", self.line(id, report));
    }

    /// Writes the line of a call that missed what it is held to.
    pub fn write_missed(&self, id: CallId, class: Class, missed: &Missed, left_out: u64) {
        let left_out = Field("left_out", Some(left_out).filter(|&lines| lines > 0));
        let Missed { stage, bound, measured, late, worst } = missed;
        log::warn!(
            target: class.label(),
            "call={id} event=slo_missed stage={} bound_ms={} measured={measured} late={late} \
             worst_ms={}{left_out}",
            stage.label(),
            bound.as_millis(),
            worst.as_millis(),
        );
    }

    /// The line of one event, without time, level and target.
    pub fn line(&self, id: CallId, report: &Report) -> String {
        let rest = match report {
            Report::Opened { class: _, carrier, call_sid, from, to, rate_hz } => {
                let carrier = Field("carrier", carrier.map(Carrier::label));
                let call_sid = Field("call_sid", call_sid.as_deref().map(Told));
                let from = Field("from", from.as_deref().map(|from| self.party(from)));
                let to = Field("to", to.as_deref().map(|to| self.party(to)));
                format!("event=opened{carrier}{call_sid}{from}{to} rate_hz={rate_hz}")
            }
            Report::Joined { after } => format!("event=joined after_ms={}", after.as_millis()),
            Report::BargeIn { dropped_ms } => format!("event=barge_in dropped_ms={dropped_ms}"),
            Report::GoAway { time_left } => {
                format!("event=go_away time_left_ms={}", time_left.as_millis())
            }
            Report::LineGivenUp { cause } => {
                let class = match cause {
                    Cause::Closed(class) => Some(class.label()),
                    _ => None,
                };
                format!("event=line_given_up cause={}{}", cause.label(), Field("class", class))
            }
            Report::Nudged => "event=nudged".to_owned(),
            Report::Swapped { kind, cause, took } => format!(
                "event=swapped kind={} cause={} took_ms={}",
                kind.label(),
                cause.label(),
                took.as_millis()
            ),
            Report::Dtmf => "event=dtmf".to_owned(),
            // What was said stays out of the log, and so does what a tool was called with.
            Report::Said { cut, .. } => format!("event=said cut={cut}"),
            Report::ToolCalled { name, .. } => format!("event=tool_called name={}", Told(name)),
            Report::Answered { after } => format!("event=answered after_ms={}", after.as_millis()),
            Report::Tool { name, outcome, took } => format!(
                "event=tool name={} outcome={} took_ms={}",
                Told(name),
                outcome.label(),
                took.as_millis()
            ),
            Report::Ended { ending, lasted, uplink_ms, downlink_ms, barge_ins } => format!(
                "event=ended reason={} lasted={} uplink_ms={uplink_ms} downlink_ms={downlink_ms} \
                 barge_ins={barge_ins}",
                Reason(*ending),
                Seconds(*lasted),
            ),
        };
        format!("call={id} {rest}")
    }

    /// A party of the call, redacted unless the setting says otherwise.
    fn party<'t>(&self, told: &'t str) -> Party<'t> {
        if self.redact_numbers { Party::Redacted(shown_digits(told)) } else { Party::Told(told) }
    }
}

/// Endings that are our fault or the model's are warnings.
fn level(report: &Report) -> Level {
    let Report::Ended { ending, .. } = report else { return Level::Info };
    match ending {
        Ending::NoModel(_)
        | Ending::ModelClosed { .. }
        | Ending::ModelLost
        | Ending::ModelSilent
        | Ending::ModelBroke { .. }
        | Ending::Refused(Refusal::Full | Refusal::Quota)
        | Ending::Drained
        | Ending::Internal => Level::Warn,
        Ending::CallerHungUp
        | Ending::PhoneClosed { .. }
        | Ending::PhoneLost
        | Ending::PhoneSilent
        | Ending::MediaTimeout
        | Ending::PhoneStalled
        | Ending::PhoneBroke { .. }
        | Ending::UnknownCodec
        | Ending::NoStart
        | Ending::Refused(_)
        | Ending::TooLong
        | Ending::Machine
        | Ending::Replaced
        | Ending::AgentHungUp
        | Ending::Transferred => Level::Info,
    }
}

/// A party of a call as the log shows it.
enum Party<'t> {
    Told(&'t str),
    /// All that may be shown.
    Redacted(&'t str),
}

impl Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Told(told) => Told(told).fmt(f),
            Party::Redacted(last) => write!(f, "***{last}"),
        }
    }
}

/// ` key=value`, or nothing where there is no value.
struct Field<T>(&'static str, Option<T>);

impl<T: Display> Display for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.as_ref().map_or(Ok(()), |value| write!(f, " {}={value}", self.0))
    }
}

/// A span in seconds, to the millisecond.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// An ending, its details as keys of their own.
struct Reason(Ending);

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.label())?;
        match self.0 {
            Ending::PhoneClosed { code: Some(code) }
            | Ending::ModelClosed { code: Some(code) }
            | Ending::PhoneBroke { code }
            | Ending::ModelBroke { code } => write!(f, " code={code}"),
            Ending::Refused(refusal) => write!(f, " refusal={}", refusal.label()),
            Ending::NoModel(fault) => {
                write!(f, " fault={}", LineFault::LABELS[fault.index()])?;
                match fault {
                    LineFault::Refused { status } => write!(f, " status={status}"),
                    LineFault::Closed { code: Some(code), .. } => write!(f, " code={code}"),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CallId = CallId(0x2a);
    const REDACTING: CallLog = CallLog { redact_numbers: true };
    const OPEN: CallLog = CallLog { redact_numbers: false };

    fn opened(from: &str) -> Report {
        Report::Opened {
            class: Class::Twilio,
            carrier: Some(Carrier::Twilio),
            call_sid: Some("CA0123".into()),
            from: Some(from.into()),
            to: None,
            rate_hz: 8_000,
        }
    }

    fn ended(ending: Ending) -> Report {
        let lasted = Duration::from_millis(61_005);
        Report::Ended { ending, lasted, uplink_ms: 61_000, downlink_ms: 20, barge_ins: 3 }
    }

    #[test]
    fn a_line_reads_as_keys_and_values() {
        assert_eq!(
            OPEN.line(ID, &opened("+15551234567")),
            "call=000000000000002a event=opened carrier=twilio call_sid=CA0123 from=+15551234567 \
             rate_hz=8000"
        );
        assert_eq!(
            REDACTING.line(ID, &ended(Ending::PhoneClosed { code: Some(1001) })),
            "call=000000000000002a event=ended reason=phone_closed code=1001 lasted=61.005s \
             uplink_ms=61000 downlink_ms=20 barge_ins=3"
        );
        let fault = LineFault::Refused { status: 403 };
        assert!(
            REDACTING
                .line(ID, &ended(Ending::NoModel(fault)))
                .contains(" reason=no_model fault=refused status=403 ")
        );
    }

    #[test]
    fn a_number_shows_its_last_two_digits_and_no_other() {
        assert!(REDACTING.line(ID, &opened("+15551234567")).contains(" from=***67 "));
    }

    #[test]
    fn a_name_a_short_code_or_nothing_shows_no_digit_at_all() {
        for from in
            ["", "7", "11", "112", "123456", "anonymous", "client:alice", "sip:5551234567@h"]
        {
            assert!(REDACTING.line(ID, &opened(from)).contains(" from=*** "), "{from}");
        }
    }

    #[test]
    fn what_a_peer_tells_cannot_break_the_line() {
        let line = OPEN.line(ID, &opened("x\nlevel=ERROR \"y\" \u{1b}[2J"));
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        assert!(line.contains(r#" from="x\nlevel=ERROR \"y\" \u{1b}[2J" "#), "{line}");
    }

    #[test]
    fn only_our_faults_and_the_models_are_warnings() {
        assert_eq!(level(&opened("+1")), Level::Info);
        assert_eq!(level(&ended(Ending::CallerHungUp)), Level::Info);
        assert_eq!(level(&ended(Ending::PhoneBroke { code: 1002 })), Level::Info);
        assert_eq!(level(&ended(Ending::Refused(Refusal::BadToken))), Level::Info);
        assert_eq!(level(&ended(Ending::Refused(Refusal::Full))), Level::Warn);
        assert_eq!(level(&ended(Ending::NoModel(LineFault::Timeout))), Level::Warn);
        assert_eq!(level(&ended(Ending::ModelLost)), Level::Warn);
        assert_eq!(level(&ended(Ending::Internal)), Level::Warn);
    }
}
