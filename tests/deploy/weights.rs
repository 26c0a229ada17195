//! HAProxy gives calls by the share of each host's places that is free, as its agent check hears
//! it.
//!
//! The states and weights are those that HAProxy itself shows at its stats socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::front::{ENTRY, Front, HOSTS, Kind, free_address};
use crate::phone::{Phone, until};
use crate::relay::Relay;

/// Places of each relay.
const PLACES: usize = 4;

/// HAProxy's socket for its administrator.
struct Stats {
    address: SocketAddr,
}

impl Stats {
    fn say(&self, command: &str) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        writeln!(socket, "{command}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Status and weight of a server: `UP`, `DRAIN (agent)`, `DOWN (agent)`..., and 0 to 100.
    fn of(&self, backend: &str, server: &str) -> (String, usize) {
        let page = self.say("show stat");
        let mut lines = page.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let column = |name| names.iter().position(|known| known.trim_matches(['#', ' ']) == name);
        let (status, weight) = (column("status").unwrap(), column("weight").unwrap());
        let row = lines.find(|row| row[..2] == [backend, server]).unwrap();
        (row[status].to_owned(), row[weight].parse().unwrap())
    }

    fn weight(&self, server: &str) -> usize {
        self.of("entry", server).1
    }
}

/// HAProxy with the configuration of `deploy/`, asking its agents often, before two relays of
/// [`PLACES`] each.
fn start(folder: &str) -> Option<(Front, Stats)> {
    start_with(folder, |text| text)
}

/// The same with a configuration that has been changed once more.
fn start_with(folder: &str, change: impl FnOnce(String) -> String) -> Option<(Front, Stats)> {
    let places = PLACES.to_string();
    let address = free_address();
    let settings = [("VOCARIS_LIMITS_MAX_CALLS", places.as_str())];
    let front = Front::start_with(Kind::Haproxy, folder, &settings, |text| {
        assert_eq!(text.matches("agent-inter 2s").count(), 2, "the entry's and the browsers'");
        let text = text.replace("agent-inter 2s", "agent-inter 50ms");
        let socket = format!("global\n    stats socket ipv4@{address} level admin\n");
        change(text.replacen("global\n", &socket, 1))
    })?;
    Some((front, Stats { address }))
}

/// A call that is up on a host.
fn call(front: &Front, host: &str, sid: &str) -> Phone {
    let mut phone = front.caller.stream(host, sid);
    assert_eq!(phone.talk(|phone| phone.media > 0), None, "{sid} was cut");
    phone
}

/// How many of so many calls the entry leads to the first host.
fn led_to_first(front: &Front, calls: usize) -> usize {
    (0..calls).filter(|number| front.caller.host(&format!("CA{number}")) == HOSTS[0]).count()
}

#[test]
fn calls_go_where_places_are_free() {
    let Some((front, stats)) = start("Haproxy-weights") else { return };
    for server in ["voice-1", "voice-2"] {
        until("an empty host has its whole weight", || stats.weight(server) == 100);
    }
    let mut phones = Vec::new();
    for (taken, weight) in [(1, 75), (2, 50), (3, 25)] {
        phones.push(call(&front, HOSTS[0], &format!("CA-taken-{taken}")));
        for backend in ["entry", "browsers"] {
            until("the weight follows the calls", || stats.of(backend, "voice-1").1 == weight);
        }
    }
    // Weights of 25 and 100, in turn.
    let led = led_to_first(&front, 50);
    assert!((8..=12).contains(&led), "{led} of 50");
    assert_eq!((stats.weight("voice-1"), stats.weight("voice-2")), (25, 100));

    phones.push(call(&front, HOSTS[0], "CA-taken-4"));
    until("a full host has no weight", || stats.weight("voice-1") == 0);
    assert_eq!(led_to_first(&front, 8), 0);
    // And HAProxy lets go of none of its calls.
    for phone in &mut phones {
        let heard = phone.media;
        assert_eq!(phone.talk(|phone| phone.media > heard), None);
        phone.press('9');
        phone.press('#');
        assert_eq!(phone.talk(|_| false), Some(1000));
    }
    until("the weight comes back with the places", || stats.weight("voice-1") == 100);
}

#[test]
fn a_host_that_drains_gets_no_calls_and_the_process_after_it_does_at_once() {
    let Some((mut front, stats)) = start("Haproxy-weights-drain") else { return };
    until("both are up", || (stats.weight("voice-1"), stats.weight("voice-2")) == (100, 100));
    let mut phone = call(&front, HOSTS[0], "CA1");
    let (address, agent_check) = (front.relays[0].address, front.relays[0].agent_check);
    front.relays[0].drain();
    until("it has no weight", || stats.weight("voice-1") == 0);
    assert_eq!(led_to_first(&front, 8), 0);
    phone.press('9');
    phone.press('#');
    assert_eq!(phone.talk(|_| false), Some(1000));
    assert!(front.caller.post(HOSTS[0], "/twilio/after", "CA1").contains("<Hangup"));
    assert!(front.relays.remove(0).ended_well());

    // What an operator sets at HAProxy is his: no check undoes it.
    assert_eq!(stats.say("set server entry/voice-2 state drain").trim(), "");
    assert!(stats.of("entry", "voice-2").0.starts_with("DRAIN"));
    let (address, agent_check) = (address.to_string(), agent_check.to_string());
    let settings = [
        ("VOCARIS_SERVER_LISTEN", address.as_str()),
        ("VOCARIS_SERVER_AGENT_CHECK", agent_check.as_str()),
        ("VOCARIS_LIMITS_MAX_CALLS", "4"),
    ];
    let folder = front.folder().join("voice-1-again");
    front.relays.push(Relay::start_with(HOSTS[0], &folder, &settings));
    let is_up = |server| stats.of("entry", server).0 == "UP" && stats.weight(server) == 100;
    until("the process that comes next has calls at once", || is_up("voice-1"));
    let asked = |relay: &Relay| {
        let figures = relay.figures();
        let line = figures.lines().find_map(|line| {
            line.strip_prefix("vocaris_connections_total{event=\"agent_check\"} ")
        });
        line.unwrap().parse::<usize>().unwrap()
    };
    let before = asked(&front.relays[0]);
    until("the other was asked again", || asked(&front.relays[0]) > before + 4);
    assert!(stats.of("entry", "voice-2").0.starts_with("DRAIN"), "the operator's word stands");
    assert_eq!(led_to_first(&front, 4), 4);
    stats.say("set server entry/voice-2 state ready");
    until("and is his to take back", || is_up("voice-2"));
    assert!(front.caller.post(ENTRY, "/twilio/incoming", "CA9").contains("<Redirect"));
}

#[test]
fn a_host_whose_media_thread_is_stuck_is_down_until_it_is_up_again() {
    // In the place of a relay's, for a healthy relay has no such thread.
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = agent.local_addr().unwrap().port();
    let started = start_with("Haproxy-weights-stuck", |text| {
        let written = text.find("agent-port ").unwrap();
        let (before, rest) = text.split_at(written);
        let rest = rest.trim_start_matches("agent-port ").trim_start_matches(char::is_numeric);
        format!("{before}agent-port {port}{rest}")
    });
    let Some((_front, stats)) = started else { return };
    let answer_until = |line: &str, state: &str| {
        until("HAProxy heeds the line", || {
            // The peer may be gone: it asks again.
            let _ = agent.accept().unwrap().0.write_all(line.as_bytes());
            stats.of("entry", "voice-1").0 == state
        });
    };
    answer_until("down #worker-1 has been in one turn for 9 s\n", "DOWN (agent)");
    let told = stats.say("show stat");
    assert!(told.contains("worker-1 has been in one turn for 9 s"), "{told}");
    answer_until("up 100%\n", "UP");
}
