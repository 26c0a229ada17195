//! What became of calls whose stream died in the middle: the streams of each as parts that are
//! judged one by one, and what lies between them.
//!
//! In:       the calls of a run, and the sessions of each stream.
//! Out:      a [`Part`] for every stream; a [`ComebackReport`], and what is wrong.
//! Bounds:   those of the records.
//! Not here: the audio of a part (`verify`, `judge`), a process that is killed (`restart`).
//!
//! A stream that died and another that follows it have nothing in common but the caller: each is
//! held against the sessions the model had for it. What the caller says between them nobody can
//! hear; it is counted, in milliseconds, and so is what was on its way at the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use crate::carrier::record::{CallRecord, Outcome};
use crate::clock::Nanos;
use crate::gemini::record::SessionRecord;
use crate::judge::Made;
use crate::net::link::Closing;
use crate::report::{ComebackReport, Percentiles};
use crate::schedule::TICKS_PER_MS;
use crate::verify;

/// One stream of a call, as if it had been a call of its own.
pub struct Part<'c> {
    /// The place of its call among those of the run.
    pub call: usize,
    /// Its number within the call, from 0 on.
    pub nth: usize,
    /// Its call.
    pub made: &'c Made,
    /// What happened on it.
    pub record: Cow<'c, CallRecord>,
}

impl Part<'_> {
    /// The frames of the plan that were said on it.
    pub fn frames(&self) -> Range<usize> {
        let first = self.record.first_frame;
        first..first + self.record.sent.len()
    }

    /// What these frames, from the first on, say, holes filled with silence.
    pub fn payload(&self, frames: Range<usize>) -> Vec<u8> {
        let Made { media, voice, .. } = self.made;
        let said = self.record.said.as_deref();
        verify::spoken_code_of(media, *voice, said, frames, self.record.formats.up)
    }

    /// True if it died before the call was over.
    fn died(&self) -> bool {
        matches!(&self.record.outcome, Outcome::ClosedByRelay(closing) if is_death(closing))
    }
}

/// The streams of every call, in order.
pub fn parts(calls: &[Made]) -> Vec<Part<'_>> {
    let streams = calls
        .iter()
        .enumerate()
        .flat_map(|(call, made)| (0..made.record.streams()).map(move |nth| (call, nth, made)));
    streams
        .map(|(call, nth, made)| Part { call, nth, made, record: made.record.stream(nth) })
        .collect()
}

/// The part that a session belongs to which was accepted at `at` and heard the caller of
/// `parts[part]`: of the streams of that call the last that had been asked for by then.
pub fn part_at(parts: &[Part<'_>], part: usize, at: Nanos) -> usize {
    let of_call = |other: &&(usize, &Part<'_>)| other.1.call == parts[part].call;
    let first = part - parts[part].nth;
    let streams: Vec<_> = parts.iter().enumerate().skip(first).collect();
    let asked =
        |part: &Part<'_>| part.nth == 0 || part.record.times.asked.is_some_and(|it| it <= at);
    let places = streams.iter().take_while(of_call).filter(|(_, part)| asked(part));
    places.last().map_or(part, |&(place, _)| place)
}

/// The sessions of each call, from those of each part.
pub fn of_calls<'s>(
    parts: &[Part<'_>],
    sessions_of: &[Vec<&'s SessionRecord>],
) -> Vec<Vec<&'s SessionRecord>> {
    let mut of_calls = vec![Vec::new(); parts.last().map_or(0, |part| part.call + 1)];
    for (part, sessions) in parts.iter().zip(sessions_of) {
        of_calls[part.call].extend(sessions.iter().copied());
    }
    of_calls
}

/// Counts what became of calls that lost a stream, and says what is wrong; `None` where none did.
pub fn judge(
    calls: &[Made],
    parts: &[Part<'_>],
    sessions_of: &[Vec<&SessionRecord>],
) -> (Option<ComebackReport>, Vec<String>) {
    let mut report = ComebackReport::default();
    for Made { record, .. } in calls {
        let reason = not_back(record);
        report.calls += usize::from(!record.lost.is_empty() || reason.is_some());
        if let Some(reason) = reason {
            *report.lost.entry(reason).or_default() += 1;
        }
    }
    if report.calls == 0 {
        return (None, Vec::new());
    }
    let (mut reopened, mut heard_after) = (Vec::new(), Vec::new());
    for (place, part) in parts.iter().enumerate().filter(|(_, part)| part.nth > 0) {
        let before = &parts[place - 1].record;
        let (Some(opened), Some(died)) = (part.record.times.opened, before.times.closed) else {
            continue;
        };
        report.streams += 1;
        reopened.push(opened - died);
        let heard = part.record.heard.arrivals.first().map(|&(at, _)| at);
        report.heard_again += usize::from(heard.is_some());
        heard_after.extend(heard.map(|at| at - died));
        let resumed = sessions_of[place].first().map(|session| is_resumed(session));
        report.resumed += usize::from(resumed == Some(true));
        report.fresh += usize::from(resumed == Some(false));
        let first = &sessions_of[place - part.nth];
        report.greeted_again += usize::from(is_greeted_again(first, &sessions_of[place]));
        report.unsaid_ms += unsaid_ms(&parts[place - 1], part);
    }
    for (part, sessions) in parts.iter().zip(sessions_of).filter(|(part, _)| part.died()) {
        report.cut_ms += cut_ms(part, sessions);
    }
    report.reopened = Percentiles::of(&reopened);
    report.heard_after = Percentiles::of(&heard_after);
    let mut problems = Vec::new();
    if report.greeted_again > 0 {
        problems
            .push(format!("{} callers that came back were greeted again", report.greeted_again));
    }
    let unheard = report.streams - report.heard_again;
    if unheard > 0 {
        problems.push(format!("{unheard} callers that came back did not hear the model again"));
    }
    (Some(report), problems)
}

/// True if nobody said goodbye.
fn is_death(closing: &Closing) -> bool {
    matches!(closing, Closing::Eof | Closing::Broken(_))
}

/// Why a call whose last stream died was followed by no other; `None` where it did not die.
pub fn not_back(record: &CallRecord) -> Option<String> {
    let Outcome::ClosedByRelay(Closing::Eof | Closing::Broken(_)) = &record.outcome else {
        return match &record.outcome {
            Outcome::Failed(failure) if !record.lost.is_empty() => Some(failure.to_string()),
            _ => None,
        };
    };
    Some(match (&record.unanswered, &record.after) {
        (Some(failure), _) => failure.to_string(),
        (None, Some(after)) if after.status != 200 => format!("answered {}", after.status),
        (None, Some(after)) => match &after.answer {
            Ok(answer) if answer.stream.is_some() => "no more streams".to_string(),
            Ok(answer) => format!("answered <{}>", answer.verbs.join("> <")),
            Err(error) => format!("answered what is not markup: {error:?}"),
        },
        (None, None) => "nobody was to be asked".to_string(),
    })
}

/// True if a session was set up with the handle of one before it.
fn is_resumed(session: &SessionRecord) -> bool {
    session.taken_up_from.is_some()
}

/// What a session was told first, beside audio: at the beginning of a call the wish for a greeting.
fn told_first(session: &SessionRecord) -> Option<&Value> {
    session.messages.iter().map(|(_, message)| message).find(|message| {
        message.get("clientContent").is_some() || message["realtimeInput"].get("text").is_some()
    })
}

/// True if a session of a later stream was asked for what the first one of the call was.
fn is_greeted_again(first: &[&SessionRecord], later: &[&SessionRecord]) -> bool {
    let greeting = first.iter().find_map(|session| told_first(session));
    greeting.is_some() && later.iter().any(|session| told_first(session) == greeting)
}

/// What the caller said between two streams.
fn unsaid_ms(before: &Part<'_>, after: &Part<'_>) -> f64 {
    let (from, to) = (before.frames().end, after.record.first_frame);
    let between = after.made.media.frames().take(to).skip(from);
    between.map(|frame| frame.ticks as f64).sum::<f64>() / TICKS_PER_MS as f64
}

/// What was said on a stream and the model has not heard.
fn cut_ms(part: &Part<'_>, sessions: &[&SessionRecord]) -> f64 {
    let heard: f64 = sessions
        .iter()
        .filter(|session| session.uplink.rate > 0)
        .map(|it| it.uplink.pcm.len() as f64 * 1000.0 / f64::from(it.uplink.rate))
        .sum();
    let said = part.record.sent.last().map_or(0.0, |it| it.clock_to as f64 / TICKS_PER_MS as f64);
    (said - heard).max(0.0)
}

/// When the stream of a call that was open at `at` died, then or within `within`.
pub fn struck(record: &CallRecord, at: Nanos, within: Nanos) -> Option<Nanos> {
    let last = record.closing.as_ref().map(|closing| (&record.times, closing));
    let streams = record.lost.iter().map(|it| (&it.times, &it.closing)).chain(last);
    let died = streams
        .filter(|(_, closing)| is_death(closing))
        .filter_map(|(times, _)| Some((times.opened?, times.closed?)));
    died.filter(|&(opened, closed)| opened <= at && (at..=at + within).contains(&closed))
        .map(|(_, closed)| closed)
        .next()
}

/// When a call whose stream died at `died` heard the model again.
pub fn heard_again_at(record: &CallRecord, died: Nanos) -> Option<Nanos> {
    let streams = record.lost.iter().map(|it| (&it.times, &it.heard));
    let streams = streams.chain([(&record.times, &record.heard)]);
    let after = streams.filter(|(times, _)| times.asked.is_some_and(|asked| asked >= died));
    after.filter_map(|(_, heard)| heard.arrivals.first()).map(|&(at, _)| at).min()
}

/// Reasons with their counts, of calls that are not back.
pub fn reasons<'r>(records: impl Iterator<Item = &'r CallRecord>) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for record in records {
        let reason = not_back(record).unwrap_or_else(|| "did not hear the model again".into());
        *reasons.entry(reason).or_default() += 1;
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use serde_json::json;

    use super::*;
    use crate::carrier::markup::{Answer, StreamNoun};
    use crate::carrier::phone::{Heard, SentFrame};
    use crate::carrier::record::{After, CallTimes, Failure, Formats, LostStream};
    use crate::clock::{MILLIS, SECONDS};
    use crate::net::http::HttpError;
    use crate::schedule::MediaPlan;
    use crate::signal::CallerVoice;

    const RESET: Closing = Closing::Broken(ErrorKind::ConnectionReset);

    fn times(asked: Option<Nanos>, opened: Nanos, closed: Nanos) -> CallTimes {
        let (opened, closed) = (Some(opened), Some(closed));
        CallTimes { asked, opened, closed, ..CallTimes::default() }
    }

    fn sent(frames: u64) -> Vec<SentFrame> {
        let frame = |n| SentFrame { planned: 0, sent: 0, clock_to: (n + 1) * 160 };
        (0..frames).map(frame).collect()
    }

    /// A call that says 50 frames on a stream, loses it at 1 s, has another at 1.2 s, and hears the
    /// model there 100 ms later.
    fn made() -> Made {
        let mut record = CallRecord::empty(0);
        record.lost.push(LostStream {
            formats: Formats::default(),
            times: times(None, 0, SECONDS),
            closing: RESET,
            first_frame: 0,
            sent: sent(50),
            said: None,
            heard: Heard::default(),
            playout: record.playout,
        });
        record.times = times(Some(SECONDS + MILLIS), 1200 * MILLIS, 2 * SECONDS);
        (record.first_frame, record.sent) = (60, sent(40));
        record.heard.arrivals = vec![(1300 * MILLIS, 160)];
        Made { media: MediaPlan::steady(2000).into(), voice: CallerVoice::new(1, 0), record }
    }

    fn session(index: usize, accepted_at: Nanos, told: &Value) -> SessionRecord {
        let mut session = SessionRecord::new(index, accepted_at);
        session.messages.push((accepted_at, told.clone()));
        session
    }

    #[test]
    fn a_session_belongs_to_the_last_stream_that_had_been_asked_for_when_it_began() {
        let calls = [made(), made()];
        let parts = parts(&calls);
        let places: Vec<_> = parts.iter().map(|part| (part.call, part.nth)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        assert_eq!((parts[0].frames(), parts[1].frames()), (0..50, 60..100));
        for heard_by in [2, 3] {
            assert_eq!(part_at(&parts, heard_by, 0), 2, "before anything was asked");
            assert_eq!(part_at(&parts, heard_by, SECONDS), 2);
            assert_eq!(part_at(&parts, heard_by, SECONDS + MILLIS), 3);
        }
    }

    #[test]
    fn a_session_with_the_first_wish_of_its_call_is_a_greeting_again_and_any_other_is_not() {
        let wish = |text: &str| json!({ "clientContent": { "turns": [{ "text": text }] } });
        let calls = [made()];
        let parts = parts(&calls);
        let before = session(0, 0, &wish("greet"));
        for (told, greeted_again) in [("greet", 1), ("go on", 0)] {
            let mut after = session(1, SECONDS + MILLIS, &wish(told));
            after.taken_up_from = (told == "go on").then_some(0);
            let (report, problems) = judge(&calls, &parts, &[vec![&before], vec![&after]]);
            let report = report.expect("a stream was lost");
            assert_eq!(report.greeted_again, greeted_again, "{told}");
            assert_eq!(problems.len(), greeted_again);
            assert_eq!((report.resumed, report.fresh), (1 - greeted_again, greeted_again));
            assert_eq!((report.calls, report.streams, report.heard_again), (1, 1, 1));
            assert_eq!((report.unsaid_ms, report.cut_ms), (200.0, 1000.0));
            assert!((report.heard_after.max_us - 300_000.0).abs() < 1_000.0);
        }
    }

    #[test]
    fn who_does_not_come_back_has_a_reason_and_who_hung_up_has_none() {
        assert_eq!(not_back(&CallRecord::empty(0)), None);
        let gone = CallRecord {
            outcome: Outcome::ClosedByRelay(RESET),
            closing: Some(RESET),
            times: times(None, 0, SECONDS),
            ..CallRecord::empty(0)
        };
        let after = |status, answer| Some(After { status, answer });
        let verbs = Answer { verbs: vec!["Hangup".into()], stream: None };
        let stream = Answer { stream: Some(StreamNoun::to("wss://h/".into())), ..verbs.clone() };
        let refused = Failure::Webhook(HttpError::Io(ErrorKind::ConnectionRefused));
        let told = refused.to_string();
        for (unanswered, after, reason) in [
            (None, None, "nobody was to be asked"),
            (Some(refused), None, told.as_str()),
            (None, after(503, Ok(Answer::default())), "answered 503"),
            (None, after(200, Ok(verbs)), "answered <Hangup>"),
            (None, after(200, Ok(stream)), "no more streams"),
        ] {
            let record = CallRecord { unanswered, after, ..gone.clone() };
            assert_eq!(not_back(&record).as_deref(), Some(reason));
        }
        let said_goodbye = Closing::Frame { code: 1000, reason: String::new() };
        let ended = CallRecord { outcome: Outcome::ClosedByRelay(said_goodbye), ..gone };
        assert_eq!(not_back(&ended), None);
    }

    #[test]
    fn a_stream_is_struck_if_it_was_open_at_the_blow_and_died_of_it_soon() {
        let record = made().record;
        for (at, within, died) in [
            (900, 200, Some(SECONDS)),
            (900, 50, None),
            (1000, 0, Some(SECONDS)),
            (1001, 1000, None),
            (1500, 1000, None),
        ] {
            assert_eq!(struck(&record, at * MILLIS, within * MILLIS), died, "{at} {within}");
        }
        assert_eq!(heard_again_at(&record, SECONDS), Some(1300 * MILLIS));
        assert_eq!(heard_again_at(&record, 2 * SECONDS), None, "that stream was there before");
    }
}
