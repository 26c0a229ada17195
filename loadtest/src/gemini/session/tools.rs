//! The tools of a session: what the model asks for, and whom it takes answers from.
//!
//! In:       calls of the script; `toolResponse`s.
//! Out:      `toolCall`, `toolCallCancellation`; the record of both.
//! Bounds:   calls by the script; those of the connections before by `gemini::conversation`.
//! Not here: when the script asks (`gemini::session`), what the tools are for (`bookings`).
//!
//! An answer must be of a call that waits for one on this connection, or of one that was asked for
//! on a connection before: once, for the session that is taken up may still wait for it.

use serde_json::{Value, json};

use super::Session;
use crate::bookings;
use crate::clock::Nanos;
use crate::gemini::conversation::Call;
use crate::gemini::message;
use crate::gemini::protocol::{self, Complaint, ToolResult};
use crate::gemini::record::Asked;
use crate::gemini::script::Invocation;

impl Session {
    /// Asks for tools; without ids the client is not told them.
    pub(super) fn ask_tools(&mut self, now: Nanos, calls: &[Invocation], told_id: bool) {
        self.course.requests += 1;
        let (call, session, n) = (self.course.number, self.record.index, self.course.requests);
        let mut asked = Vec::new();
        for (place, invocation) in calls.iter().enumerate() {
            let args = filled_in(&invocation.args, call, n);
            let id = format!("fc-{call}-{session}-{n}-{place}");
            let mut message = json!({ "name": invocation.name, "args": args });
            if told_id {
                message["id"] = json!(id);
            }
            asked.push(message);
            let name = invocation.name.clone();
            let call = Call { id: id.clone(), told_id, name: name.clone() };
            self.course.remember(std::iter::once(call));
            self.record.tools.push(Asked {
                at: now,
                id,
                told_id,
                name,
                args,
                answer: None,
                withdrawn: false,
            });
        }
        self.conversations.save(self.record.index, &self.course);
        let content = json!({ "functionCalls": asked });
        self.say(message::of_kind(&self.script.dialect, "toolCall", &content));
    }

    /// Takes back what was asked for on this connection and is neither answered nor taken back. What
    /// was asked for on a connection before stays as it is.
    pub(super) fn cancel_tools(&mut self) {
        let mut ids = Vec::new();
        for asked in self.record.tools.iter_mut().filter(|asked| is_open(asked)) {
            asked.withdrawn = true;
            ids.push(asked.id.clone());
        }
        // Nor is it answered on a later connection.
        self.course.asked.retain(|call| !ids.contains(&call.id));
        self.conversations.save(self.record.index, &self.course);
        let content = json!({ "ids": ids });
        self.say(message::of_kind(&self.script.dialect, "toolCallCancellation", &content));
    }

    /// Takes results of tools; each must be of a call that is waited for.
    pub(super) fn take_results(&mut self, now: Nanos, response: Value) {
        let results = match protocol::tool_results(response) {
            Ok(results) => results,
            Err(complaint) => return self.refuse(now, complaint),
        };
        for result in results {
            if let Some(asked) = asked_for(&mut self.record.tools, &result) {
                asked.answer = Some((now, Value::Object(result.response)));
            } else if let Some(id) = self.asked_before(&result) {
                self.record.late_answers.push((now, id, Value::Object(result.response)));
            } else {
                let what = format!("{} {:?}: nobody waits for it", result.name, result.id);
                return self.refuse(now, Complaint::Tool(what));
            }
        }
    }

    /// The id of the call on a connection before that a result is of, once. What the service makes
    /// of one that it had heard already is not known, and a relay that was killed cannot know
    /// whether it had. Looked up when the result comes: the connection before may have asked after
    /// this one was set up.
    fn asked_before(&self, result: &ToolResult) -> Option<String> {
        let is_new = |call: &Call| self.record.late_answers.iter().all(|it| it.1 != call.id);
        let is_meant = |call: &Call| is_of(call, result) && is_new(call);
        self.conversations.asked_before(self.record.index, is_meant).map(|call| call.id)
    }
}

/// Whether a call is neither answered nor taken back.
pub(super) fn is_open(asked: &Asked) -> bool {
    asked.answer.is_none() && !asked.withdrawn
}

/// The call that a result is of.
fn asked_for<'a>(tools: &'a mut [Asked], result: &ToolResult) -> Option<&'a mut Asked> {
    tools
        .iter_mut()
        .filter(|asked| asked.name == result.name && is_open(asked))
        .find(|asked| is_its_id(&asked.id, asked.told_id, result))
}

/// Whether a result is of this call on a connection before.
fn is_of(call: &Call, result: &ToolResult) -> bool {
    call.name == result.name && is_its_id(&call.id, call.told_id, result)
}

/// Whether a result names the call of this id: by it, or not at all if the client was not told.
fn is_its_id(id: &str, told_id: bool, result: &ToolResult) -> bool {
    result.id.as_ref().map_or(!told_id, |named| told_id && named == id)
}

/// Arguments with the number of the conversation and of the request in place of `{call}`, `{n}`,
/// and a date and time that no other request has in place of `{date}`, `{time}`.
fn filled_in(args: &Value, call: usize, n: u32) -> Value {
    match args {
        Value::String(text) => {
            let (date, time) = bookings::slot(call, n);
            let text = text.replace("{call}", &call.to_string()).replace("{n}", &n.to_string());
            Value::String(text.replace("{date}", &date).replace("{time}", &time))
        }
        Value::Array(items) => items.iter().map(|item| filled_in(item, call, n)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), filled_in(value, call, n)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{ready, run, said, setup};
    use super::*;
    use crate::clock::SECONDS;
    use crate::gemini::script::{Fault, Moment, Script, Step};

    const GREET: &str = r#"{"clientContent":{"turns":[],"turnComplete":true}}"#;

    fn result(id: &str) -> String {
        let result = json!({ "id": id, "name": "look", "response": { "output": "seen" } });
        json!({ "toolResponse": { "functionResponses": [result] } }).to_string()
    }

    /// A script that looks something up in every conversation at this time.
    fn that_looks(at_ms: u64) -> Script {
        let call = Invocation { name: "look".into(), args: Value::Null };
        let step = Step::ToolCall { calls: vec![call], without_ids: false };
        let fault = Fault { share: 1.0, at: Moment::At(at_ms), every: 0, times: 1, step };
        Script { carries_on: true, faults: vec![fault], ..Script::listen() }
    }

    #[test]
    fn a_session_made_ahead_asks_for_no_tool_before_it_is_told_something() {
        let mut session = ready(that_looks(100));
        let asked = |messages: Vec<(Nanos, Value)>| {
            let asked = messages.into_iter().filter(|(_, m)| m["toolCall"].is_object());
            asked.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(asked(run(&mut session, 5 * SECONDS)), Vec::<Nanos>::new());
        session.handle_text(5 * SECONDS, GREET);
        session.handle_timeout(5 * SECONDS);
        let messages = said(&mut session).into_iter().map(|message| (5 * SECONDS, message));
        assert_eq!(asked(messages.collect()), [5 * SECONDS]);
    }

    #[test]
    fn who_takes_a_conversation_up_answers_its_open_calls_once_and_no_others() {
        for (ids, complaints) in
            [(&["fc-0-0-1-0"][..], 0), (&["fc-0-0-1-0"; 2], 1), (&["fc-1-0-1-0"], 1)]
        {
            let mut first = ready(that_looks(100));
            first.handle_text(0, GREET);
            run(&mut first, SECONDS);
            first.end(SECONDS);
            let conversations = Arc::clone(&first.conversations);
            let mut second = Session::new(1, conversations, 1, "models/m".into(), SECONDS);
            second.handle_text(2 * SECONDS, &setup(Some("session-0-1")));
            for id in ids {
                second.handle_text(2 * SECONDS, &result(id));
            }
            let record = second.into_record(None);
            assert_eq!(record.complaints.len(), complaints, "{ids:?}");
            assert_eq!(record.late_answers.len(), ids.len() - complaints);
            let all = [first.into_record(None), record];
            assert_eq!((all[0].tools.len(), all[1].tools.len()), (1, 0));
        }
    }

    #[test]
    fn what_is_asked_once_another_session_is_set_up_is_answered_there_under_an_id_of_its_own() {
        let mut first = ready(that_looks(100));
        let conversations = Arc::clone(&first.conversations);
        let mut second = Session::new(1, conversations, 1, "models/m".into(), 50);
        second.handle_text(50, &setup(Some("session-0-1")));
        for session in [&mut first, &mut second] {
            session.handle_text(50, GREET);
            run(session, SECONDS);
        }
        first.end(SECONDS);
        for id in ["fc-0-0-1-0", "fc-0-1-1-0"] {
            second.handle_text(2 * SECONDS, &result(id));
        }
        let record = second.into_record(None);
        assert_eq!(record.complaints, []);
        assert_eq!(record.late_answers.len(), 1);
        assert!(record.tools.len() == 1 && record.tools[0].answer.is_some());
    }

    #[test]
    fn what_was_taken_back_is_not_taken_back_again_nor_answered_on_a_later_connection() {
        let mut first = ready(that_looks(100));
        let conversations = Arc::clone(&first.conversations);
        let mut second = Session::new(1, conversations, 1, "models/m".into(), 50);
        second.handle_text(50, &setup(Some("session-0-1")));
        first.handle_text(0, GREET);
        run(&mut first, SECONDS);
        let mut taken_back = || {
            first.cancel_tools();
            said(&mut first).pop().unwrap()["toolCallCancellation"]["ids"].clone()
        };
        assert_eq!(taken_back(), json!(["fc-0-0-1-0"]));
        assert_eq!(taken_back(), json!([]));
        second.handle_text(2 * SECONDS, &result("fc-0-0-1-0"));
        assert_eq!(second.into_record(None).complaints.len(), 1);
    }
}
