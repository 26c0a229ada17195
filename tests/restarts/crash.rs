//! The program is killed in the middle of calls, and another goes on with them from the journal.

use std::net::TcpStream;

use rusqlite::Connection;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness::{PATIENCE, Relay, Stream, ask, post, token_in, until};
use crate::place::{Kept, Place, after, call, figure, led_back, stream_again};

#[test]
fn a_call_whose_relay_was_killed_goes_on_by_its_handle_with_what_its_tools_did() {
    for host in Place::each("killed") {
        let relay = host.start();
        let mut stream = call(&relay.address, "CA1");
        let first = host.model.call_tool("f1", &mut stream);
        assert!(first.to_string().contains("number seven"), "{first}");
        host.await_row("open", "number seven");
        host.await_row("open", "handle-0");
        relay.signal("-KILL");
        relay.end();

        let relay = host.start();
        let twiml = led_back(&relay.address, "CA1");
        let mut stream = stream_again(&relay.address, "CA1", &twiml);
        stream.hear().unwrap();
        assert_eq!(host.model.handles(), [None, Some("handle-0".to_owned())]);
        assert_eq!(host.model.told(0, "Greet the caller").len(), 1);
        assert_eq!(host.model.told(1, "Greet the caller").len(), 0);
        assert_eq!(host.model.told(1, "is back now").len(), 1);
        let again = host.model.call_tool("f2", &mut stream);
        assert_eq!(again["response"], first["response"]);
        assert_eq!(host.service.times(), 1, "a taxi was ordered twice");
        assert_eq!(figure(&relay.address, "vocaris_comebacks_total{outcome=\"recalled\"}"), 1.0);

        // And once more: what went on is journalled, too.
        host.await_row("open", "handle-1");
        relay.signal("-KILL");
        relay.end();
        let relay = host.start();
        let twiml = led_back(&relay.address, "CA1");
        stream_again(&relay.address, "CA1", &twiml).hear().unwrap();
        assert_eq!(host.model.handles().last(), Some(&Some("handle-1".to_owned())));
    }
}

#[test]
fn by_the_verb_behind_connect_a_crash_leads_back_and_a_goodbye_hangs_up() {
    let host = Place::new("verb");
    let start = || {
        let mut command = host.command("127.0.0.1:0");
        Relay::start(command.env("VOCARIS_TWILIO_AFTER_STREAM", "verb"))
    };
    // What the carrier runs once the stream is over.
    let run_verb = |relay: &Relay, twiml: &str| {
        assert!(twiml.contains("<Connect>"), "no action: {twiml}");
        let (_, behind) = twiml.split_once("</Connect>\n  <Redirect method=\"POST\">").unwrap();
        let (url, rest) = behind.split_once("</Redirect>").unwrap();
        assert_eq!(rest, "\n</Response>\n");
        let path = url.strip_prefix("http://localhost").unwrap();
        let form = "CallSid=CA1&CallStatus=in-progress&From=%2B15550100&To=%2B15550101";
        ask(&relay.address, &post(path, form)).1
    };
    let relay = start();
    let form = "CallSid=CA1&From=%2B15550100&To=%2B15550101";
    let (_, twiml) = ask(&relay.address, &post("/twilio/incoming", form));
    let mut stream = Stream::open(&relay.address, "CA1", &token_in(&twiml).unwrap()).unwrap();
    stream.hear().unwrap();
    host.await_row("open", "handle-0");
    relay.signal("-KILL");
    relay.end();

    let relay = start();
    let again = run_verb(&relay, &twiml);
    let mut stream = stream_again(&relay.address, "CA1", &again);
    stream.hear().unwrap();
    assert_eq!(host.model.handles().last(), Some(&Some("handle-0".to_owned())));
    stream.hang_up().unwrap();
    host.await_row("closed", "");
    let over = run_verb(&relay, &again);
    assert!(over.contains("<Hangup/>") && !over.contains("<Say"), "{over}");
}

#[test]
fn a_call_that_somebody_ended_before_the_relay_was_killed_is_over() {
    for host in Place::each("ended") {
        let relay = host.start();
        let mut stream = call(&relay.address, "CA1");
        host.await_row("open", "handle-0");
        stream.hang_up().unwrap();
        host.await_row("closed", "hangup");
        assert_eq!(host.rows(|_, body| body.contains("handle-0")), 0, "words are forgotten");
        relay.signal("-KILL");
        relay.end();
        let relay = host.start();
        let twiml = led_back(&relay.address, "CA1");
        assert!(twiml.contains("<Hangup/>"), "{twiml}");
        let twiml = led_back(&relay.address, "CA2");
        assert!(twiml.contains("<Hangup/>"), "nobody knows it: {twiml}");
        assert_eq!(figure(&relay.address, "vocaris_journal_recalls_total{outcome=\"over\"}"), 1.0);
    }
}

#[test]
fn a_call_that_lives_is_not_taken_and_of_two_processes_asked_at_once_one_goes_on() {
    for host in Place::each("two") {
        let relay = host.start();
        let stream = call(&relay.address, "CA1");
        host.await_row("open", "handle-0");
        let (one, two) = (host.start(), host.start());
        let twiml = after(&one.address, "CA1");
        assert!(twiml.contains("asked_before=1</Redirect>"), "its relay lives: {twiml}");
        // On a machine that is as slow, the answer came too late to be heard, perhaps by little.
        let recalls = |outcome: &str| {
            let series = format!("vocaris_journal_recalls_total{{outcome=\"{outcome}\"}}");
            figure(&one.address, &series)
        };
        assert!(recalls("held") + recalls("late") >= 1.0);
        relay.signal("-KILL");
        relay.end();
        drop(stream);
        let streams: Vec<Option<Stream>> = [&one, &two]
            .map(|relay| {
                let address = relay.address.clone();
                std::thread::spawn(move || {
                    let twiml = after(&address, "CA1");
                    if twiml.contains("asked_before=1</Redirect>") {
                        // The other's stream was there before the question: the call lives again.
                        return None;
                    }
                    let mut stream = stream_again(&address, "CA1", &twiml);
                    stream.hear().unwrap();
                    Some(stream)
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        let handles = host.model.handles();
        let resumed = handles.iter().flatten().count();
        assert_eq!((resumed, handles.contains(&Some("handle-0".to_owned()))), (1, true));
        assert_eq!(handles.len(), 1 + streams.iter().flatten().count(), "{handles:?}");
        drop(streams);
    }
}

#[test]
fn a_phone_lost_under_one_process_is_led_back_by_another() {
    for host in Place::each("other") {
        let (one, two) = (host.start(), host.start());
        drop(call(&one.address, "CA1"));
        host.await_row("parted", "handle-0");
        let twiml = led_back(&two.address, "CA1");
        stream_again(&two.address, "CA1", &twiml).hear().unwrap();
        assert_eq!(host.model.handles(), [None, Some("handle-0".to_owned())]);
    }
}

#[test]
fn a_call_that_is_cut_at_the_end_of_draining_goes_on_with_the_next_process() {
    for host in Place::each("drained") {
        let mut command = host.command("127.0.0.1:0");
        let relay = Relay::start(command.env("VOCARIS_SERVER_DRAIN_TIMEOUT", "0s"));
        let mut stream = call(&relay.address, "CA1");
        host.await_row("open", "handle-0");
        relay.signal("-TERM");
        assert_eq!(stream.closed(), "drained");
        let twiml = led_back(&relay.address, "CA1");
        let again = "<Redirect method=\"POST\">http://localhost/twilio/after</Redirect>";
        assert!(twiml.contains("<Pause length=\"3\"/>") && twiml.contains(again), "{twiml}");
        assert_eq!(relay.end().0, Some(0));
        let relay = host.start();
        let twiml = led_back(&relay.address, "CA1");
        stream_again(&relay.address, "CA1", &twiml).hear().unwrap();
        assert_eq!(host.model.handles(), [None, Some("handle-0".to_owned())]);
    }
}

#[test]
fn an_entry_that_cannot_be_read_costs_its_call_the_conversation_and_nothing_else() {
    let host = Place::new("garbage");
    let relay = host.start();
    call(&relay.address, "CA1");
    host.await_row("parted", "handle-0");
    relay.signal("-KILL");
    relay.end();
    let Kept::File(path) = &host.journal else { unreachable!() };
    let journal = Connection::open(path).unwrap();
    journal.execute("UPDATE conversations SET body = '{\"form\":1,'", []).unwrap();
    drop(journal);
    let relay = host.start();
    let twiml = led_back(&relay.address, "CA1");
    stream_again(&relay.address, "CA1", &twiml).hear().unwrap();
    assert_eq!(host.model.handles(), [None, None]);
    assert_eq!(
        figure(&relay.address, "vocaris_journal_recalls_total{outcome=\"unreadable\"}"),
        1.0
    );
}

#[test]
fn a_journal_that_takes_nothing_costs_entries_and_no_call() {
    let host = Place::new("locked");
    let relay = host.start();
    let Kept::File(path) = &host.journal else { unreachable!() };
    let journal = Connection::open(path).unwrap();
    // As long as another keeps it for itself.
    journal.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut stream = call(&relay.address, "CA1");
    until("an entry is refused", || {
        figure(&relay.address, "vocaris_journal_entries_total{outcome=\"refused\"}") > 0.0
    });
    let answer = host.model.call_tool("f1", &mut stream);
    assert!(answer.to_string().contains("number seven"), "{answer}");
    journal.execute_batch("COMMIT").unwrap();
    host.await_row("open", "number seven");
    drop(stream);
}

#[test]
fn a_journal_of_a_later_version_keeps_the_relay_from_starting_and_says_so() {
    let host = Place::new("later");
    let relay = host.start();
    relay.signal("-KILL");
    relay.end();
    let Kept::File(path) = &host.journal else { unreachable!() };
    let journal = Connection::open(path).unwrap();
    journal.pragma_update(None, "user_version", 99).unwrap();
    let ended = host.command("127.0.0.1:0").output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("(journal.file): it was made by a newer version"), "{said}");
}

#[test]
fn a_browser_goes_on_with_a_conversation_of_a_relay_that_was_killed() {
    let host = Place::new("browser");
    let open = |address: &str, hello: &Value| {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{address}/web");
        let (mut socket, _) = tungstenite::client(url, socket).unwrap();
        socket.send(Message::text(hello.to_string())).unwrap();
        let ready = loop {
            let message = socket.read().unwrap();
            let Message::Text(text) = message else { continue };
            let text: Value = serde_json::from_str(text.as_str()).unwrap();
            if text["type"] == "ready" {
                break text;
            }
        };
        while !socket.read().unwrap().is_binary() {}
        ready
    };
    let relay = host.start();
    let ready = open(&relay.address, &json!({"type": "hello"}));
    host.await_row("parted", "handle-0");
    relay.signal("-KILL");
    relay.end();
    let relay = host.start();
    let hello = json!({"type": "hello", "resume": ready["resume"]});
    let again = open(&relay.address, &hello);
    assert_eq!(again["returned"], true);
    assert_eq!(host.model.handles().last(), Some(&Some("handle-0".to_owned())));
    let forged = json!({"type": "hello", "resume": "v1.0000000000000001.99999999999.ab"});
    assert_eq!(open(&relay.address, &forged).get("returned"), None);
}
