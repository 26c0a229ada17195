//! Two hosts that share a database: a call goes from one to the other, and back, and each knows
//! what the other has done; and the database goes away in the middle.

use std::time::Duration;

use crate::harness::{Relay, Stream, fresh, until};
use crate::place::{Kept, Place, after, after_again, call, figure, led_back, stream_again};
use crate::server::{Server, server};

const ELSEWHERE: &str = "vocaris_comebacks_total{outcome=\"elsewhere\"}";
const REFUSED: &str = "vocaris_journal_entries_total{outcome=\"refused\"}";
const SUPERSEDED: &str = "vocaris_journal_entries_total{outcome=\"superseded\"}";

/// The stream at `two` of a call that lost its phone at `one`, and goes on.
fn crossed(place: &Place, one: &Relay, two: &Relay) -> Stream {
    drop(call(&one.address, "CA1"));
    place.await_row("parted", "handle-0");
    let twiml = led_back(&two.address, "CA1");
    let mut stream = stream_again(&two.address, "CA1", &twiml);
    stream.hear().unwrap();
    stream
}

/// A call that goes there and back within the time for which its first host remembers it.
#[test]
fn a_call_that_comes_back_to_its_first_host_goes_on_from_where_the_second_had_come() {
    for place in Place::each("there-and-back") {
        let (one, two) = (place.start(), place.start());
        let mut stream = crossed(&place, &one, &two);
        place.model.call_tool("f1", &mut stream);
        place.await_row("open", "number seven");
        drop(stream);
        place.await_row("parted", "handle-1");
        let twiml = led_back(&one.address, "CA1");
        let mut stream = stream_again(&one.address, "CA1", &twiml);
        stream.hear().unwrap();
        let handles = [None, Some("handle-0".to_owned()), Some("handle-1".to_owned())];
        assert_eq!(place.model.handles(), handles);
        place.model.call_tool("f2", &mut stream);
        assert_eq!(place.service.times(), 1, "the first host knows what was ordered at the second");
        place.await_row("open", "handle-2");
    }
}

#[test]
fn a_call_that_was_ended_at_the_second_host_is_over_at_the_first_that_still_remembers_it() {
    for place in Place::each("ended-there") {
        let (one, two) = (place.start(), place.start());
        let mut stream = crossed(&place, &one, &two);
        stream.hang_up().unwrap();
        place.await_row("closed", "hangup");
        let twiml = led_back(&one.address, "CA1");
        assert!(twiml.contains("<Hangup/>"), "{twiml}");
    }
}

#[test]
fn a_stream_that_its_host_still_believes_in_is_gone_past_and_closed() {
    for place in Place::each("half-open") {
        let (one, two) = (place.start(), place.start());
        // Its network has vanished without a word.
        let mut orphan = call(&one.address, "CA1");
        place.await_row("open", "handle-0");
        let twiml = after(&two.address, "CA1");
        assert!(twiml.contains("<Pause length=\"1\"/>"), "{twiml}");
        let twiml = after_again(&two.address, "CA1");
        let mut newer = stream_again(&two.address, "CA1", &twiml);
        newer.hear().unwrap();
        assert_eq!(place.model.handles(), [None, Some("handle-0".to_owned())]);
        // Its host learns of it when it has something to write.
        speak_until_a_tool_is_called(&place, &mut orphan);
        assert_eq!(orphan.closed(), "replaced");
        assert_eq!(figure(&one.address, ELSEWHERE), 1.0);
        assert!(figure(&one.address, SUPERSEDED) >= 1.0);
        let parted = |_: &str, body: &str| body.contains("handle-0");
        until("what goes on is written", || place.rows(parted) == 0);
    }
}

/// Has the model call a tool as soon as it hears anything; whether it is answered is no matter.
fn speak_until_a_tool_is_called(place: &Place, stream: &mut Stream) {
    place.model.will_call("f9");
    until("the tool is called", || {
        // At the pace of a phone.
        std::thread::park_timeout(Duration::from_millis(20));
        let _ = stream.speak();
        place.service.times() > 0
    });
}

/// A server of its own, for it is stopped; it lasts as long as the test's process.
fn own(name: &str) -> Option<&'static Server> {
    Server::own(name).map(|server| &*Box::leak(Box::new(server)))
}

#[test]
fn while_its_database_restarts_or_is_away_calls_go_on_and_what_they_owe_is_written_later() {
    let Some(server) = own("journal") else { return };
    let place = Place::on(server, "restarted");
    let relay = place.start();
    let mut stream = call(&relay.address, "CA1");
    place.await_row("open", "handle-0");
    assert!(server.control("restart", &["-m", "immediate"]));
    let mut other = call(&relay.address, "CA2");
    place.await_row("open", "handle-1");

    assert!(server.control("stop", &["-m", "fast"]));
    let answer = place.model.call_tool("f1", &mut stream);
    assert!(answer.to_string().contains("number seven"), "{answer}");
    until("an entry is refused", || figure(&relay.address, REFUSED) > 0.0);
    // The journal cannot be asked: what this process remembers serves, another hangs up.
    let stranger = place.start();
    drop(other);
    until("its phone is lost", || {
        figure(&relay.address, "vocaris_comebacks_total{outcome=\"kept\"}") > 0.0
    });
    let twiml = after(&relay.address, "CA2");
    other = stream_again(&relay.address, "CA2", &twiml);
    other.hear().unwrap();
    assert_eq!(place.model.handles().last(), Some(&Some("handle-1".to_owned())));
    let twiml = after(&stranger.address, "CA3");
    assert!(twiml.contains("asked_before=1</Redirect>"), "{twiml}");
    assert!(after_again(&stranger.address, "CA3").contains("<Hangup/>"));

    assert!(server.control("start", &[]));
    place.await_row("open", "number seven");
    place.await_row("open", "handle-2");
    relay.signal("-KILL");
    relay.end();
    drop((stream, other));
    // It was started without a database, and has found it.
    let mut twiml = String::new();
    until("the journal is found", || {
        twiml = after(&stranger.address, "CA1");
        twiml.contains("vocaris_again")
    });
    let mut stream = stream_again(&stranger.address, "CA1", &twiml);
    stream.hear().unwrap();
    place.model.call_tool("f2", &mut stream);
    assert_eq!(place.service.times(), 1);
}

#[test]
fn a_database_that_is_set_wrongly_or_is_not_for_us_keeps_the_relay_from_starting_and_says_so() {
    let Some(server) = server() else { return };
    let place = Place::on(server, "wrong");
    let ended = |url: &str, more: &[(&str, &str)]| {
        let mut command = place.command("127.0.0.1:0");
        let ended = command.env("VOCARIS_STORE_URL", url).envs(more.iter().copied()).output();
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let database = server.database();
    let nowhere = server.by_port("vocaris", server.port, "nowhere");
    let said = ended(&nowhere, &[]);
    assert!(said.contains("(store.url, for the journal): the server has no such"), "{said}");
    let guarded = server.by_port("guarded", server.port, &database);
    let said = ended(&guarded, &[("PGPASSWORD", "wrong")]);
    assert!(said.contains("does not let this role in") && !said.contains("wrong"), "{said}");
    let file = fresh("elsewhere.db");
    let said =
        ended(&server.by_socket(&database), &[("VOCARIS_JOURNAL_FILE", file.to_str().unwrap())]);
    assert!(said.contains("journal.file") && said.contains("Leave this key out"), "{said}");
    place.start();
    let Kept::Database(_, name) = &place.journal else { unreachable!() };
    let sql = "UPDATE vocaris.schema SET version = 9, usable_from = 9 WHERE name = 'journal'";
    server.sql(name, sql);
    let said = ended(&server.by_socket(name), &[]);
    assert!(said.contains("its tables are of a newer version"), "{said}");
}
