//! What the demo agent does for a caller: books the next free time, cancels it, puts through, hangs
//! up, each by the tools the client declared.
//!
//! In:       declarations, an [`Intent`], the results of tools, that all is said, an interruption.
//! Out:      [`Act`]s: something to say, a tool to call, a call that is void.
//! Bounds:   one tool at a time; of what a tool answers, [`REASON_MAX_CHARS`] are shown.
//! Not here: JSON messages (`demo::agent`), sound (`demo::speech`).
//!
//! ```text
//! idle --book--> free times? --first of them--> booking? --> idle
//!      --cancel--> (which?) --reference--> cancelled? --> idle
//!      --transfer, hang up--> parting --all is said--> parted? --> idle
//! ```
//! Arguments follow the declared schema: what a property is called tells what belongs there, and
//! what is not required and not known is left out.

use std::collections::VecDeque;

use jiff::civil::{Date, DateTime, Time};
use serde_json::{Map, Value, json};

use super::intent::Intent;
use super::speech::{self, Sentence};

/// Of a tool's error.
const REASON_MAX_CHARS: usize = 160;
/// Who the demo books for.
const NAME: &str = "Demo Caller";
/// A number of nobody.
const NUMBER: &str = "+15550100";

const CHECK: &str = "check_availability";
const BOOK: &str = "book_appointment";
const FIND: &str = "find_appointment";
const CANCEL: &str = "cancel_appointment";
const TRANSFER: &str = "transfer_call";
const END: &str = "end_call";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Say this, behind what is being said.
    Say(Sentence),
    /// Call a tool.
    Call { id: String, name: String, args: Value },
    /// The result of this call is not wanted any more.
    Void { id: String },
}

/// The errands of one session.
#[derive(Debug)]
pub(super) struct Errand {
    today: Date,
    /// The declarations: name and parameters.
    tools: Vec<(String, Value)>,
    state: State,
    /// Of the newest call; the number in its id.
    calls: u64,
    /// What tools have told, for the next call and for the words.
    known: Known,
    acts: VecDeque<Act>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// For the result of the newest call.
    Waiting(For),
    /// This tool is called when all is said.
    Parting(&'static str),
}

/// Which result is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    FreeTimes,
    Booking,
    Found,
    Cancellation,
    Parted,
}

#[derive(Debug, Default)]
struct Known {
    service: Option<String>,
    start: Option<DateTime>,
    /// Of the newest booking.
    reference: Option<String>,
}

impl Errand {
    /// `setup`: what the client set the session up with. `today`: where a tool must have a date.
    pub(super) fn new(setup: &Value, today: Date) -> Errand {
        let lists = setup["tools"].as_array().into_iter().flatten();
        let declarations = lists.filter_map(|list| list["functionDeclarations"].as_array());
        let tools = declarations.flatten().filter_map(|declaration| {
            // As a schema of the service's own, or as JSON Schema.
            let parameters = ["parameters", "parametersJsonSchema"].map(|name| &declaration[name]);
            let parameters = parameters.into_iter().find(|it| it.is_object());
            let parameters = parameters.cloned().unwrap_or_default();
            Some((declaration["name"].as_str()?.to_owned(), parameters))
        });
        Errand {
            today,
            tools: tools.collect(),
            state: State::Idle,
            calls: 0,
            known: Known::default(),
            acts: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(super) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// The caller wants something.
    pub(super) fn begin(&mut self, intent: Intent) {
        if self.state != State::Idle {
            return self.say(speech::STILL_BUSY);
        }
        match intent {
            Intent::Book if self.has(CHECK) && self.has(BOOK) => {
                self.say(speech::LOOKING_FOR_TIME);
                (self.known.start, self.known.service) = (None, None);
                self.call(CHECK, For::FreeTimes);
            }
            Intent::Cancel if self.has(CANCEL) => self.cancel_or_find(),
            Intent::Transfer if self.has(TRANSFER) => {
                self.say(speech::TRANSFERRING);
                self.state = State::Parting(TRANSFER);
            }
            Intent::HangUp => {
                self.say(speech::GOODBYE);
                self.state = State::Parting(END);
            }
            Intent::Book | Intent::Cancel | Intent::Transfer => self.say(speech::NO_TOOL),
        }
    }

    fn cancel_or_find(&mut self) {
        if self.known.reference.is_some() {
            return self.call(CANCEL, For::Cancellation);
        }
        if !self.has(FIND) {
            return self.say(speech::NOTHING_BOOKED);
        }
        self.say(speech::LOOKING_FOR_BOOKING);
        self.call(FIND, For::Found);
    }

    /// All there was to say is said.
    pub(super) fn all_is_said(&mut self) {
        let State::Parting(tool) = self.state else { return };
        self.state = State::Idle;
        // A client without this tool hangs up by itself, or not at all.
        if self.has(tool) {
            self.call(tool, For::Parted);
        }
    }

    /// The caller spoke over it: a call that waits is void, and so is a goodbye.
    pub(super) fn interrupted(&mut self) {
        if let State::Waiting(_) = self.state {
            self.acts.push_back(Act::Void { id: self.newest_id() });
        }
        self.state = State::Idle;
    }

    /// A result of a tool. One that is not waited for, such as the second of one call, changes
    /// nothing.
    pub(super) fn result(&mut self, id: &str, response: &Value) {
        let State::Waiting(awaited) = self.state else { return };
        if id != self.newest_id() {
            return;
        }
        self.state = State::Idle;
        if let Some(error) = response.get("error") {
            return self.failed(awaited, error);
        }
        let response = unfolded(response.get("output").unwrap_or(response));
        if response["ok"] == false {
            return self.failed(awaited, &response["say"]);
        }
        self.learn(&response);
        match awaited {
            For::FreeTimes if self.known.start.is_some() => self.call(BOOK, For::Booking),
            For::FreeTimes => self.say(speech::NO_FREE_TIME),
            For::Booking => {
                let Known { start, reference, .. } = &self.known;
                let sentence = Sentence::booked(*start, reference.as_deref());
                self.acts.push_back(Act::Say(sentence));
            }
            For::Found if self.known.reference.is_some() => self.call(CANCEL, For::Cancellation),
            For::Found => self.say(speech::NOTHING_BOOKED),
            For::Cancellation => {
                self.known.reference = None;
                self.say(speech::CANCELLED);
            }
            For::Parted => {}
        }
    }

    fn failed(&mut self, awaited: For, error: &Value) {
        if awaited == For::Found {
            return self.say(speech::NOTHING_BOOKED);
        }
        if awaited == For::Cancellation {
            // Cancelled by somebody else, most likely: the next request looks again.
            self.known.reference = None;
        }
        let reason = error.as_str().or_else(|| error["message"].as_str());
        let reason = reason.map_or_else(|| error.to_string(), str::to_owned);
        let reason: String = reason.chars().take(REASON_MAX_CHARS).collect();
        self.acts.push_back(Act::Say(Sentence::with_reason(speech::FAILED, &reason)));
    }

    /// Keeps what the next call needs: the first time, the first reference, the first service.
    fn learn(&mut self, response: &Value) {
        let known = &mut self.known;
        known.start = first_start(response, None).or(known.start);
        known.reference = first_text(response, "reference").or(known.reference.take());
        known.service = first_text(response, "service").or(known.service.take());
    }

    fn has(&self, tool: &str) -> bool {
        self.tools.iter().any(|(name, _)| name == tool)
    }

    fn say(&mut self, text: &str) {
        self.acts.push_back(Act::Say(Sentence::recorded(text)));
    }

    fn newest_id(&self) -> String {
        format!("demo-call-{}", self.calls)
    }

    fn call(&mut self, tool: &str, awaited: For) {
        let Some((_, parameters)) = self.tools.iter().find(|(name, _)| name == tool) else {
            return self.say(speech::NO_TOOL);
        };
        let args = self.arguments(parameters);
        self.calls += 1;
        self.state = State::Waiting(awaited);
        self.acts.push_back(Act::Call { id: self.newest_id(), name: tool.to_owned(), args });
    }

    /// Arguments that fit a schema.
    fn arguments(&self, parameters: &Value) -> Value {
        let required = parameters["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|list| list.contains(&json!(name)));
        let mut arguments = Map::new();
        for (name, schema) in parameters["properties"].as_object().into_iter().flatten() {
            let known = self.known_for(name, schema);
            let needed = || is_required(name).then(|| self.made_up_for(name, schema));
            if let Some(value) = known.or_else(needed) {
                arguments.insert(name.clone(), value);
            }
        }
        Value::Object(arguments)
    }

    /// What is known of a property by its name.
    fn known_for(&self, name: &str, schema: &Value) -> Option<Value> {
        let name = name.to_lowercase();
        let start = |format| self.known.start.map(|start| start.strftime(format).to_string());
        let told = match name.as_str() {
            _ if name.contains("service") => self.known.service.clone(),
            _ if name.contains("reference") => self.known.reference.clone(),
            "start" | "slot" | "when" | "date_time" | "datetime" => start("%Y-%m-%dT%H:%M"),
            "date" | "day" => start("%Y-%m-%d"),
            "time" => start("%H:%M"),
            _ if name.contains("name") => Some(NAME.to_owned()),
            _ => None,
        };
        told.or_else(|| only_choice(schema)).map(Value::String)
    }

    /// Something for a property that must be there.
    fn made_up_for(&self, name: &str, schema: &Value) -> Value {
        if let Some(first) = schema["enum"].as_array().and_then(|choices| choices.first()) {
            return first.clone();
        }
        let name = name.to_lowercase();
        match schema["type"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "integer" | "number" => json!(1),
            "boolean" => json!(true),
            "array" => json!([]),
            "object" => json!({}),
            _ if ["date", "day", "from", "start", "until"].iter().any(|d| name.contains(d)) => {
                json!(self.today.to_string())
            }
            _ if name.contains("phone") || name.contains("number") => json!(NUMBER),
            _ => json!("demo"),
        }
    }
}

/// The one value a property may have.
fn only_choice(schema: &Value) -> Option<String> {
    let [choice] = &schema["enum"].as_array()?[..] else { return None };
    choice.as_str().map(str::to_owned)
}

/// A result that is JSON inside text, as it is meant.
fn unfolded(result: &Value) -> Value {
    let inside = result.as_str().and_then(|text| serde_json::from_str(text).ok());
    inside.unwrap_or_else(|| result.clone())
}

/// The first day and time inside `value`: in one ISO 8601 text, or a `date` and a time of day
/// beside or below it. `day`: the date told around it.
fn first_start(value: &Value, day: Option<Date>) -> Option<DateTime> {
    match value {
        Value::String(text) => {
            let time = || Time::strptime("%H:%M", text).ok();
            let whole = || DateTime::strptime("%Y-%m-%dT%H:%M", text.get(..16)?).ok();
            day.and_then(|day| Some(day.to_datetime(time()?))).or_else(whole)
        }
        Value::Array(items) => items.iter().find_map(|item| first_start(item, day)),
        Value::Object(fields) => {
            let date = fields.get("date").and_then(Value::as_str);
            let day = date.and_then(|date| date.parse().ok()).or(day);
            fields.values().find_map(|value| first_start(value, day))
        }
        _ => None,
    }
}

/// The first text inside `value` whose name is, or ends in, `name`.
fn first_text(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(|item| first_text(item, name)),
        Value::Object(fields) => fields.iter().find_map(|(key, value)| match value {
            Value::String(text) => key.ends_with(name).then(|| text.clone()),
            value => first_text(value, name),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    /// An errand by these tools, each with `parameters`.
    fn errand(tools: &[(&str, Value)]) -> Errand {
        let declarations: Vec<Value> = tools
            .iter()
            .map(|(name, parameters)| json!({"name": name, "parameters": parameters}))
            .collect();
        let setup =
            json!({"tools": [{"googleSearch": {}}, {"functionDeclarations": declarations}]});
        Errand::new(&setup, date(2026, 11, 23))
    }

    fn office() -> Errand {
        errand(&[
            (CHECK, json!({"type": "OBJECT", "properties": {"date": {"type": "STRING"}}})),
            (
                BOOK,
                json!({"type": "OBJECT", "required": ["service", "start", "name", "seats"],
                    "properties": {
                        "service": {"type": "STRING", "enum": ["checkup", "cleaning"]},
                        "start": {"type": "STRING"}, "name": {"type": "STRING"},
                        "phone": {"type": "STRING"}, "seats": {"type": "INTEGER"}}}),
            ),
            (FIND, json!({})),
            (CANCEL, json!({"properties": {"reference": {"type": "STRING"}}})),
            (
                TRANSFER,
                json!({"required": ["to"],
                "properties": {"to": {"type": "STRING", "enum": ["desk", "doctor"]}}}),
            ),
            (END, Value::Null),
        ])
    }

    /// Everything it wants done: what is said, and the calls.
    fn acts(errand: &mut Errand) -> (Vec<String>, Vec<(String, String, Value)>) {
        let (mut said, mut calls) = (Vec::new(), Vec::new());
        while let Some(act) = errand.poll_act() {
            match act {
                Act::Say(sentence) => said.push(sentence.text),
                Act::Call { id, name, args } => calls.push((id, name, args)),
                Act::Void { id } => calls.push((id, "void".to_owned(), Value::Null)),
            }
        }
        (said, calls)
    }

    fn call(id: u64, name: &str, args: Value) -> Vec<(String, String, Value)> {
        vec![(format!("demo-call-{id}"), name.to_owned(), args)]
    }

    fn free_times() -> Value {
        json!({"output": {"free": [{"start": "2026-11-27T10:15:00+01:00"},
            {"start": "2026-11-27T10:30:00+01:00"}]}})
    }

    #[test]
    fn a_booking_takes_the_first_free_time_and_fills_the_declared_schema() {
        let mut errand = office();
        errand.begin(Intent::Book);
        let (said, calls) = acts(&mut errand);
        assert_eq!(said, [speech::LOOKING_FOR_TIME]);
        assert_eq!(calls, call(1, CHECK, json!({})));
        errand.result("demo-call-1", &free_times());
        let args = json!({"service": "checkup", "start": "2026-11-27T10:15",
            "name": NAME, "seats": 1});
        assert_eq!(acts(&mut errand), (vec![], call(2, BOOK, args)));
        let booked = json!({"output": "{\"booking\":{\"reference\":\"K7QF\"}}"});
        errand.result("demo-call-2", &booked);
        let said = "Booked: Friday 27 November, 10:15, reference K7QF.";
        assert_eq!(acts(&mut errand), (vec![said.to_owned()], vec![]));
        errand.begin(Intent::Cancel);
        assert_eq!(acts(&mut errand).1, call(3, CANCEL, json!({"reference": "K7QF"})));
        errand.result("demo-call-3", &json!({"output": "done"}));
        assert_eq!(acts(&mut errand).0, [speech::CANCELLED]);
    }

    #[test]
    fn a_day_and_the_times_of_it_may_stand_apart() {
        let parameters = json!({"properties": {"date": {}, "time": {}}});
        for answer in [
            json!({"days": [{"date": "2026-11-27", "times": ["10:15", "10:30"]}]}),
            json!({"free": [{"date": "2026-11-27", "time": "10:15"}], "say": "At 10:15."}),
            json!({"date": "2026-11-27", "free": [{"time": "10:15", "until": "10:45"}]}),
            json!(["no", 5, {"start": "2026-11-27T10:15+01:00[Europe/Berlin]"}]),
        ] {
            let mut errand = errand(&[(CHECK, json!({})), (BOOK, parameters.clone())]);
            errand.begin(Intent::Book);
            acts(&mut errand);
            errand.result("demo-call-1", &json!({ "output": answer }));
            let args = json!({"date": "2026-11-27", "time": "10:15"});
            assert_eq!(acts(&mut errand).1, call(2, BOOK, args));
        }
    }

    #[test]
    fn a_result_that_comes_twice_late_or_for_another_call_changes_nothing() {
        let mut errand = office();
        errand.begin(Intent::Book);
        acts(&mut errand);
        errand.result("demo-call-7", &free_times());
        errand.result("", &free_times());
        assert_eq!(acts(&mut errand), (vec![], vec![]));
        errand.result("demo-call-1", &free_times());
        assert_eq!(acts(&mut errand).1.len(), 1);
        errand.result("demo-call-1", &free_times());
        assert_eq!(acts(&mut errand), (vec![], vec![]));
        errand.begin(Intent::Book);
        assert_eq!(acts(&mut errand), (vec![speech::STILL_BUSY.to_owned()], vec![]));
    }

    #[test]
    fn a_tool_that_fails_is_told_of_and_the_next_wish_begins_anew() {
        for (error, told) in [
            (json!({"error": "the disk is full"}), "the disk is full".to_owned()),
            (json!({"error": {"message": "closed"}}), "closed".to_owned()),
            (json!({"error": {"code": 5}}), "{\"code\":5}".to_owned()),
            (json!({"error": "x".repeat(9000)}), "x".repeat(REASON_MAX_CHARS)),
        ] {
            let mut errand = office();
            errand.begin(Intent::Book);
            acts(&mut errand);
            errand.result("demo-call-1", &error);
            let said = vec![format!("{} ({told})", speech::FAILED)];
            assert_eq!(acts(&mut errand), (said, vec![]));
            errand.begin(Intent::Book);
            assert_eq!(acts(&mut errand).1, call(2, CHECK, json!({})));
            errand.result("demo-call-2", &json!({"output": {"ok": false, "say": "Closed."}}));
            assert_eq!(acts(&mut errand).0, [format!("{} (Closed.)", speech::FAILED)]);
        }
        let mut errand = office();
        errand.begin(Intent::Book);
        acts(&mut errand);
        errand.result("demo-call-1", &json!({"output": {"free": []}}));
        assert_eq!(acts(&mut errand).0, [speech::NO_FREE_TIME]);
    }

    #[test]
    fn an_appointment_of_an_earlier_call_is_looked_for() {
        let mut errand = office();
        errand.begin(Intent::Cancel);
        assert_eq!(acts(&mut errand).1, call(1, FIND, json!({})));
        errand.result("demo-call-1", &json!({"output": [{"reference": "AB12"}]}));
        assert_eq!(acts(&mut errand).1, call(2, CANCEL, json!({"reference": "AB12"})));
        for none in [json!({"output": []}), json!({"error": "not found"})] {
            let mut errand = office();
            errand.begin(Intent::Cancel);
            acts(&mut errand);
            errand.result("demo-call-1", &none);
            assert_eq!(acts(&mut errand).0, [speech::NOTHING_BOOKED]);
        }
    }

    #[test]
    fn goodbye_is_heard_before_the_call_is_ended_or_put_through() {
        let args = json!({"to": "desk"});
        for (intent, said, tool, args) in [
            (Intent::HangUp, speech::GOODBYE, END, json!({})),
            (Intent::Transfer, speech::TRANSFERRING, TRANSFER, args),
        ] {
            let mut errand = office();
            errand.begin(intent);
            assert_eq!(acts(&mut errand), (vec![said.to_owned()], vec![]));
            errand.all_is_said();
            assert_eq!(acts(&mut errand), (vec![], call(1, tool, args)));
            errand.all_is_said();
            assert_eq!(acts(&mut errand), (vec![], vec![]));
        }
    }

    #[test]
    fn a_caller_who_speaks_over_it_takes_back_the_goodbye_and_what_is_not_answered_yet() {
        let mut errand = office();
        errand.begin(Intent::HangUp);
        acts(&mut errand);
        errand.interrupted();
        errand.all_is_said();
        assert_eq!(acts(&mut errand), (vec![], vec![]));
        errand.begin(Intent::Book);
        acts(&mut errand);
        errand.interrupted();
        assert_eq!(acts(&mut errand).1, call(1, "void", Value::Null));
        errand.result("demo-call-1", &free_times());
        assert_eq!(acts(&mut errand), (vec![], vec![]));
    }

    #[test]
    fn without_the_tools_it_says_so() {
        for intent in [Intent::Book, Intent::Cancel, Intent::Transfer] {
            let mut errand = errand(&[(END, json!({}))]);
            errand.begin(intent);
            assert_eq!(acts(&mut errand), (vec![speech::NO_TOOL.to_owned()], vec![]));
        }
        let mut errand = errand(&[]);
        errand.begin(Intent::HangUp);
        errand.all_is_said();
        assert_eq!(acts(&mut errand), (vec![speech::GOODBYE.to_owned()], vec![]));
    }

    #[test]
    fn what_must_be_there_and_is_not_known_is_made_up() {
        let parameters = json!({
            "required": ["from_date", "phone", "count", "sure", "list", "rest", "what"],
            "properties": {
                "from_date": {"type": "string"}, "phone": {"type": "STRING"},
                "count": {"type": "NUMBER"}, "sure": {"type": "BOOLEAN"},
                "list": {"type": "ARRAY"}, "rest": {"type": "OBJECT"}, "what": {},
                "not_needed": {"type": "STRING"}, "day": {"type": "STRING"},
            },
        });
        let wanted = json!({"from_date": "2026-11-23", "phone": NUMBER, "count": 1, "sure": true,
            "list": [], "rest": {}, "what": "demo"});
        assert_eq!(office().arguments(&parameters), wanted);
    }
}
