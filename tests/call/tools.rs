//! What a model has done for its caller.

use std::time::Duration;

use serde_json::{Value, json};
use vocaris::call::{Door, Oddity, Report, Revival, Settings, ToolOrder, ToolOutcome, ToolReply};
use vocaris::config::{Agent, Config, SourceFile};

use crate::harness::{STREAM, Stage, media, settings, speech, start, turn_complete, voice};
use crate::mulaw;

/// An agent with tools of its own, as a file describes it.
pub(crate) fn agent(more: &str) -> Agent {
    let text = format!(
        r#"
        [[tools]]
        name = "order_taxi"
        description = "Orders a taxi."
        url = "https://tools.example/taxi"
        parameters = {{ type = "object", properties.at = {{ type = "string" }} }}
        [[tools]]
        name = "cancel_taxi"
        description = "Cancels the taxi."
        url = "https://tools.example/cancel"
        [[tools]]
        name = "look_up"
        description = "Looks something up."
        url = "https://tools.example/look"
        changes = false
        [[tools]]
        name = "ask_boss"
        description = "Asks the boss."
        url = "https://tools.example/boss"
        behavior = "blocking"
        [[agents]]
        name = "desk"
        numbers = "*"
        transfer = {{ office = "+15550100" }}
        keys = {{ "0" = "transfer:office", "9" = "end", "5" = "none" }}
        tools = ["order_taxi", "cancel_taxi", "look_up", "ask_boss", "end_call", "transfer_call"]
        {more}
        "#
    );
    (*config(&text).agents[0]).clone()
}

fn config(text: &str) -> Config {
    let file = SourceFile { path: "vocaris.toml".into(), text: text.to_owned() };
    Config::read(Some(&file), []).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn stage() -> Stage {
    Stage::joined_as(agent(""))
}

/// A call to an agent that takes appointments.
fn practice() -> Stage {
    let text = r#"
        [appointments]
        enabled = true
        time_zone = "Europe/Berlin"
        hours = { mon = "09:00-12:00" }
        [[appointments.services]]
        name = "Check-up"
        length = "30m"
        [[agents]]
        name = "desk"
        numbers = "*"
        tools = ["appointments"]
        "#;
    Stage::joined_as((*config(text).agents[0]).clone())
}

fn called(id: &str, name: &str, args: Value) -> Value {
    json!({"toolCall": {"functionCalls": [{"id": id, "name": name, "args": args}]}})
}

/// A model that goes on calling and takes no answer does not fill our memory.
#[test]
fn a_model_that_calls_and_takes_no_answer_is_left_for_another_line() {
    let mut stage = stage();
    stage.update("h");
    stage.agent.deaf = true;
    let mut most = 0;
    for n in 0..4_000 {
        if !stage.redials.is_empty() || stage.ending.is_some() {
            break;
        }
        stage.agent.say(called(&format!("f{n}"), "look_up", json!({ "n": n })));
        stage.settle();
        most = most.max(stage.call.agent_output().len_bytes());
        if n % 100 == 0 {
            stage.pass(10);
        }
        if !stage.call.needs_agent() || most > 256 * 1024 {
            stage.pass(300);
        }
    }
    assert!((200 * 1024..300 * 1024).contains(&most), "{most} bytes");
    assert_eq!((stage.redials.len(), stage.ending), (1, None));
    assert!(matches!(stage.redial(), Revival::Resume { .. }));
    assert_eq!(stage.ending, None);
}

pub(crate) fn at(time: &str) -> Value {
    json!({ "at": time })
}

pub(crate) fn done(what: &str) -> ToolReply {
    ToolReply { outcome: ToolOutcome::Done, json: json!({"output": what}).to_string() }
}

/// Every answer the model was given, oldest first.
pub(crate) fn answers(stage: &Stage) -> Vec<Value> {
    let told = stage.agent.texts();
    let told = told.iter().filter_map(|text| text["toolResponse"]["functionResponses"].as_array());
    told.flatten().cloned().collect()
}

/// Everything the model was told in words.
pub(crate) fn words(stage: &Stage) -> Vec<String> {
    let told = stage.agent.texts();
    let told = told.iter().filter_map(|text| {
        text["clientContent"]["turns"][0]["parts"][0]["text"].as_str().map(str::to_owned)
    });
    told.collect()
}

fn outcomes(stage: &Stage) -> Vec<(&str, ToolOutcome)> {
    let tools = stage.reports.iter().filter_map(|report| match report {
        Report::Tool { name, outcome, .. } => Some((name.as_str(), *outcome)),
        _ => None,
    });
    tools.collect()
}

impl Stage {
    pub(crate) fn calls(&mut self, id: &str, name: &str, args: Value) {
        self.agent.say(called(id, name, args));
        self.settle();
    }

    pub(crate) fn replies(&mut self, ticket: u32, reply: ToolReply) {
        self.call.handle_tool_reply(self.now, ticket, reply);
        self.settle();
    }

    pub(crate) fn presses(&mut self, keys: &str) {
        for key in keys.chars() {
            let dtmf = json!({"track": "inbound_track", "digit": key.to_string()});
            self.phone.say(json!({"event": "dtmf", "streamSid": STREAM, "dtmf": dtmf}));
            self.settle();
        }
    }

    /// The phone returns every mark it was sent.
    pub(crate) fn returns_marks(&mut self) {
        let marks = self.phone.texts().into_iter().filter(|text| text["event"] == "mark");
        for mark in marks.collect::<Vec<_>>() {
            let mark = json!({"event": "mark", "streamSid": STREAM, "mark": mark["mark"]});
            self.phone.say(mark);
        }
        self.settle();
    }

    pub(crate) fn caller_speaks(&mut self, ms: u64) {
        for frame in 0..ms / 20 {
            self.phone.say(media(20 * frame, &mulaw(160)));
            self.settle();
            self.pass(20);
        }
    }
}

#[test]
fn a_tool_that_is_called_is_ordered_and_what_came_of_it_reaches_the_model() {
    let mut stage = stage();
    stage.calls("fc-1", "order_taxi", at("18:30"));
    let [order] = &stage.orders[..] else { panic!("{:?}", stage.orders) };
    assert_eq!((&*order.tool.name, &*order.arguments), ("order_taxi", r#"{"at":"18:30"}"#));
    assert_eq!(order.from.as_deref(), Some("+18005550199"));
    assert!(answers(&stage).is_empty());
    stage.pass(1_500);
    stage.replies(0, done("It comes."));
    let wanted = json!({"id": "fc-1", "name": "order_taxi", "response": {"output": "It comes."},
        "scheduling": "WHEN_IDLE"});
    assert_eq!(answers(&stage), [wanted]);
    let took = Duration::from_millis(1_500);
    let name = "order_taxi".to_owned();
    assert!(stage.reports.contains(&Report::Tool { name, outcome: ToolOutcome::Done, took }));
}

#[test]
fn the_same_call_repeated_while_it_runs_is_done_once_and_every_id_is_answered() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.calls("a", "order_taxi", at("18:30"));
    stage.calls("b", "order_taxi", json!({"at": "18:30"}));
    assert_eq!(stage.orders.len(), 1);
    stage.replies(0, done("yes"));
    let ids: Vec<_> = answers(&stage).iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(outcomes(&stage), [("order_taxi", ToolOutcome::Done)]);
}

#[test]
fn what_was_done_is_not_done_again_unless_something_was_changed_since() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.replies(0, done("yes"));
    stage.calls("b", "order_taxi", at("18:30"));
    assert_eq!(stage.orders.len(), 1);
    assert_eq!(answers(&stage)[1]["response"]["output"], "yes");
    stage.calls("c", "order_taxi", at("19:30"));
    assert_eq!(stage.orders.len(), 2, "another time is another taxi");
    stage.replies(1, done("yes, another"));
    stage.calls("d", "cancel_taxi", json!({}));
    stage.replies(2, done("no taxi"));
    stage.calls("e", "order_taxi", at("18:30"));
    assert_eq!(stage.orders.len(), 4, "it was cancelled: this one is new");
    assert_ne!(stage.orders[0].key, stage.orders[3].key);
}

#[test]
fn what_only_looks_looks_again() {
    let mut stage = stage();
    for ticket in 0..3 {
        stage.calls(&format!("f{ticket}"), "look_up", json!({}));
        stage.replies(ticket, done("it"));
    }
    assert_eq!(stage.orders.len(), 3);
    stage.calls("f1", "look_up", json!({}));
    assert_eq!((stage.orders.len(), answers(&stage).len()), (3, 4), "the same call, not another");
}

#[test]
fn an_attempt_after_one_of_which_nobody_knows_goes_by_the_same_key() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.replies(0, ToolReply::failed(ToolOutcome::TimedOut, "who knows"));
    stage.calls("b", "order_taxi", at("18:30"));
    assert_eq!(stage.orders[0].key, stage.orders[1].key);
    stage.replies(1, ToolReply::failed(ToolOutcome::Refused, "no"));
    stage.calls("c", "order_taxi", at("18:30"));
    assert_ne!(stage.orders[0].key, stage.orders[2].key, "a refusal did nothing");
}

#[test]
fn an_appointment_moved_away_and_back_is_moved_each_time() {
    let mut stage = practice();
    stage.calls("b", "book_appointment", at("9"));
    stage.replies(0, done("booked"));
    for (ticket, to) in (1..).zip(["10", "11", "10"]) {
        stage.calls(&format!("m{ticket}"), "reschedule_appointment", at(to));
        stage.replies(ticket, done("moved"));
    }
    let moves = |stage: &Stage| {
        let is_move = |order: &&ToolOrder| order.tool.name == "reschedule_appointment";
        stage.orders.iter().filter(is_move).count()
    };
    assert_eq!(moves(&stage), 3);
    stage.calls("m4", "reschedule_appointment", at("10"));
    assert_eq!(moves(&stage), 3, "it stands there, and nothing was changed since");
    stage.calls("b2", "book_appointment", at("9"));
    assert_eq!(stage.orders.len(), 5, "whether that booking stands the store knows");
}

#[test]
fn an_attempt_at_an_appointment_goes_by_its_old_key_only_until_one_is_changed() {
    let mut stage = practice();
    let unknown = || ToolReply::failed(ToolOutcome::TimedOut, "who knows");
    stage.calls("a", "reschedule_appointment", at("10"));
    stage.replies(0, unknown());
    stage.calls("b", "reschedule_appointment", at("10"));
    stage.replies(1, unknown());
    assert_eq!(stage.orders[0].key, stage.orders[1].key);
    stage.calls("c", "reschedule_appointment", at("11"));
    stage.replies(2, done("moved"));
    stage.calls("d", "reschedule_appointment", at("10"));
    assert_ne!(stage.orders[0].key, stage.orders[3].key, "its first answer would be untrue now");

    let mut stage = Stage::joined_as(agent(""));
    stage.calls("a", "order_taxi", at("18:30"));
    stage.replies(0, unknown());
    stage.calls("b", "cancel_taxi", json!({}));
    stage.replies(1, done("cancelled"));
    stage.calls("c", "order_taxi", at("18:30"));
    assert_eq!(stage.orders[0].key, stage.orders[2].key, "a service keeps its own books");
}

#[test]
fn a_number_reaches_tools_only_where_a_signature_vouches_for_it() {
    let mut stage = Stage::with(Door::Twilio, Settings { signed: false, ..settings() });
    stage.phone.say(start());
    stage.settle();
    stage.join_as(agent(""));
    stage.calls("a", "order_taxi", at("18:30"));
    assert_eq!((&stage.orders[0].from, &stage.orders[0].to), (&None, &None));
    for (text, signed) in [
        ("", false),
        ("[twilio]\nauth_token = \"t\"", true),
        ("[twilio]\nauth_token = \"t\"\nsignature = \"warn\"", false),
        ("[twilio]\nauth_token = \"t\"\nsignature = \"off\"", false),
    ] {
        assert_eq!(Settings::from(&config(text)).signed, signed, "{text}");
    }
}

#[test]
fn an_id_used_again_for_something_else_is_another_call() {
    let mut stage = stage();
    stage.calls("fc-1", "order_taxi", at("18:30"));
    stage.calls("fc-1", "order_taxi", at("19:30"));
    assert_eq!(stage.orders.len(), 2);
}

#[test]
fn calls_without_ids_are_answered_together_and_in_their_order() {
    let mut stage = stage();
    stage.agent.say(json!({"toolCall": {"functionCalls": [
        {"name": "look_up", "args": {"what": "one"}},
        {"name": "nothing_of_the_kind", "args": {}},
        {"name": "look_up"}]}}));
    stage.settle();
    assert_eq!(stage.orders.len(), 2);
    stage.replies(1, done("two"));
    assert!(answers(&stage).is_empty());
    stage.replies(0, done("one"));
    let told = stage.agent.texts();
    let messages = told.iter().filter(|text| text.get("toolResponse").is_some()).count();
    let of = |answer: &Value| answer["response"]["output"].as_str().map(str::to_owned);
    let outputs: Vec<_> = answers(&stage).iter().map(of).collect();
    assert_eq!((messages, outputs), (1, vec![Some("one".into()), None, Some("two".into())]));
    assert!(answers(&stage).iter().all(|answer| answer.get("id").is_none()));
}

#[test]
fn more_tools_than_may_be_at_work_are_answered_at_once() {
    let mut stage = stage();
    for n in 0..20 {
        stage.calls(&format!("f{n}"), "order_taxi", at(&n.to_string()));
    }
    assert_eq!((stage.orders.len(), answers(&stage).len()), (16, 4));
    assert!(answers(&stage)[0]["response"]["error"].as_str().unwrap().contains("later"));
    stage.replies(3, done("yes"));
    stage.calls("g", "order_taxi", at("g"));
    assert_eq!(stage.orders.len(), 17);
}

#[test]
fn arguments_that_are_none_get_an_answer_and_no_order() {
    let mut stage = stage();
    let hostile = "'; DROP TABLE taxis; --\u{0}\u{1b}[2J\u{202e}";
    stage.calls("a", "order_taxi", at(hostile));
    let arguments: Value = serde_json::from_str(&stage.orders[0].arguments).unwrap();
    assert_eq!(arguments["at"], hostile, "hostile text is text");
    stage.calls("b", "order_taxi", at(&"x".repeat(100_000)));
    stage.calls("c", "nothing_of_the_kind", json!({}));
    stage.calls(&"i".repeat(2_000), "order_taxi", at("1"));
    assert_eq!(stage.orders.len(), 1);
    let errors = answers(&stage);
    let ids: Vec<_> = errors.iter().map(|answer| answer.get("id")).collect();
    assert_eq!(ids, [Some(&json!("b")), Some(&json!("c")), None], "nobody waits");
    assert!(errors.iter().all(|answer| answer["response"]["error"].is_string()));
    assert_eq!(stage.tally().oddities[Oddity::AgentTool as usize], 2);
    assert_eq!(outcomes(&stage)[1], ("unknown", ToolOutcome::Unknown));
}

#[test]
fn a_model_that_goes_on_calling_what_is_not_there_is_given_up() {
    let mut stage = Stage::joined();
    for n in 0..300 {
        if stage.redials.is_empty() {
            stage.calls(&format!("f{n}"), "x", json!({}));
        }
    }
    assert!(answers(&stage).len() < 300);
    assert_eq!(stage.redials.len(), 1);
}

#[test]
fn what_was_taken_back_is_not_answered_and_what_was_done_all_the_same_is_told() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.calls("b", "look_up", json!({}));
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(json!({"toolCallCancellation": {"ids": ["a", "b", "never"]}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    assert_eq!(stage.cancelled, [0, 1]);
    stage.replies(1, done("found"));
    stage.replies(0, done("It comes at half past six."));
    assert!(answers(&stage).is_empty());
    assert!(words(&stage).is_empty(), "the model owes the caller an answer first");
    stage.agent.say(speech(&voice(480, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(400);
    let [note] = &words(&stage)[..] else { panic!("{:?}", words(&stage)) };
    assert!(note.contains("order_taxi") && note.contains("half past six"), "{note}");
    let told = stage.agent.texts();
    let told = told.iter().find(|text| text.get("clientContent").is_some()).unwrap();
    assert_eq!(told["clientContent"]["turnComplete"], false, "it need not be answered");
}

#[test]
fn an_order_taken_back_in_time_is_told_of_nowhere() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.agent.say(json!({"toolCallCancellation": {"ids": ["a"]}}));
    stage.settle();
    stage.replies(0, ToolReply::failed(ToolOutcome::Cancelled, "taken back"));
    stage.pass(3_000);
    assert!(answers(&stage).is_empty() && words(&stage).is_empty());
    stage.calls("b", "order_taxi", at("18:30"));
    assert_eq!(stage.orders.len(), 2);
}

#[test]
fn a_tool_that_never_answers_is_given_up_and_heard_of_when_it_does() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.pass(11_900);
    assert!(answers(&stage).is_empty());
    stage.pass(200);
    assert!(answers(&stage)[0]["response"]["error"].as_str().unwrap().contains("not known"));
    stage.agent.say(speech(&voice(480, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(1_000);
    stage.replies(0, done("It comes after all."));
    stage.pass(100);
    assert!(words(&stage)[0].contains("after all"));
    assert_eq!(outcomes(&stage), [("order_taxi", ToolOutcome::TimedOut)], "counted once");
    stage.replies(0, done("twice"));
    stage.replies(77, done("never ordered"));
    assert_eq!(answers(&stage).len(), 1);
}

#[test]
fn a_result_too_long_for_the_model_is_replaced() {
    let mut stage = stage();
    stage.calls("a", "look_up", json!({}));
    stage.replies(0, done(&"x".repeat(9_000)));
    assert!(answers(&stage)[0]["response"]["error"].is_string());
}

#[test]
fn a_model_that_says_nothing_after_a_result_is_asked_to() {
    let mut stage = stage();
    stage.calls("a", "look_up", json!({}));
    stage.pass(20);
    stage.replies(0, done("it"));
    stage.pass(7_100);
    assert!(stage.reports.contains(&Report::Nudged));
}

#[test]
fn while_a_model_waits_for_a_tool_nobody_asks_it_for_an_answer() {
    let mut stage = stage();
    stage.calls("a", "ask_boss", json!({}));
    stage.caller_speaks(200);
    stage.pass(9_000);
    assert!(!stage.reports.contains(&Report::Nudged));
    assert!(stage.heard_by_model().is_empty(), "nor is it spoken to");
    stage.replies(0, done("yes"));
    assert_eq!(stage.heard_by_model().len(), 3_200, "until it has its answer");
    assert!(answers(&stage)[0].get("scheduling").is_none(), "it waited");
}

#[test]
fn a_result_that_comes_while_the_connection_is_swapped_goes_first_on_the_next() {
    let mut stage = stage();
    stage.update("h1");
    stage.calls("a", "order_taxi", at("18:30"));
    stage.lose_agent();
    stage.replies(0, done("yes"));
    stage.phone.say(media(0, &mulaw(1_600)));
    stage.settle();
    assert!(matches!(stage.redial_as(agent("")), Revival::Resume { .. }));
    let told = stage.agent.texts();
    assert_eq!(told[0]["toolResponse"]["functionResponses"][0]["id"], "a", "{told:?}");
    assert!(told[1].get("realtimeInput").is_some());
}

#[test]
fn a_session_that_did_not_make_the_call_hears_of_it_in_words() {
    let mut stage = stage();
    stage.calls("a", "order_taxi", at("18:30"));
    stage.calls("b", "look_up", json!({}));
    stage.calls("c", "cancel_taxi", json!({}));
    stage.replies(2, done("cancelled before"));
    stage.lose_agent();
    stage.replies(0, done("yes, half past six"));
    assert!(matches!(stage.redial_as(agent("")), Revival::Fresh { .. }));
    assert!(answers(&stage).is_empty(), "the new session knows no such id");
    let told = words(&stage).join("\n");
    assert!(told.contains("half past six") && told.contains("cancelled before"), "{told}");
    stage.replies(1, done("found late"));
    stage.agent.say(speech(&voice(480, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(500);
    assert!(answers(&stage).is_empty());
    assert!(words(&stage).join("\n").contains("found late"));
}

#[test]
fn a_connection_whose_end_is_announced_is_kept_while_a_tool_is_at_work() {
    let mut stage = stage();
    stage.update("h1");
    stage.calls("a", "order_taxi", at("18:30"));
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    stage.pass(5_000);
    assert!(stage.redials.is_empty());
    stage.replies(0, done("yes"));
    stage.agent.say(speech(&voice(480, 0)));
    stage.agent.say(turn_complete());
    stage.settle();
    stage.pass(1_000);
    assert_eq!(stage.redials.len(), 1);
}

#[test]
fn orders_of_one_call_have_keys_and_tickets_of_their_own() {
    let mut stage = stage();
    for n in 0..10 {
        stage.calls(&format!("f{n}"), "order_taxi", at(&n.to_string()));
    }
    let unlike = |of: fn(&ToolOrder) -> String| {
        stage.orders.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(unlike(|order| order.key.clone()), 10);
    assert_eq!(unlike(|order| order.ticket.to_string()), 10);
}
