//! What HAProxy is told of the relay's capacity, as it asks for it: by a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use vocaris::call::Ending;
use vocaris::clock::Nanos;
use vocaris::config::Config;
use vocaris::mail::{AcceptLetter, mailbox_without_bell};

use crate::harness::{PATIENCE, Relay, until};
use crate::shedding::make_one_late;
use crate::upgrade::try_upgrade;

/// Two media threads with two places each.
fn four_places(config: &mut Config) {
    config.server.agent_check = "127.0.0.1:0".parse().ok();
    config.limits.max_calls_per_worker = 2;
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// All that comes on a connection until the relay ends it.
fn told(mut socket: TcpStream) -> String {
    let mut line = String::new();
    socket.read_to_string(&mut line).unwrap();
    line
}

fn check(relay: &Relay) -> String {
    told(connect(relay.agent_check.unwrap()))
}

#[test]
fn the_weight_is_the_share_of_places_that_is_free() {
    let relay = Relay::with(four_places);
    assert_eq!(check(&relay), "up 100%\n");
    let first = relay.browser_inside(0);
    assert_eq!(check(&relay), "up 75%\n");
    let ringing = "CallSid=CA1&CallStatus=ringing";
    assert!(relay.post_form("/twilio/incoming", ringing).body.contains("<Stream"));
    assert_eq!(check(&relay), "up 50%\n", "a place that is kept is not free");
    relay.browser_inside(0);
    assert_eq!(check(&relay), "up 25%\n");
    relay.browser_inside(1);
    assert_eq!(check(&relay), "up 0%\n", "full");
    assert_eq!(relay.get("/readyz").status, 503);
    relay.load.freed(0);
    relay.end(first, "CA9", Ending::CallerHungUp);
    until(|| check(&relay) == "up 25%\n");
}

#[test]
fn a_late_media_thread_has_no_free_place_and_late_ones_alone_take_the_weight_away() {
    let relay = Relay::with(four_places);
    make_one_late(&relay, 0);
    assert_eq!(check(&relay), "up 50%\n");
    make_one_late(&relay, 1);
    assert_eq!(check(&relay), "up 0%\n");
}

#[test]
fn a_relay_that_drains_is_up_without_a_weight_and_a_stuck_one_is_down() {
    let relay = Relay::with(four_places);
    relay.drain();
    assert_eq!(check(&relay), "up 0%\n");
    relay.load.lateness().begin(1, Nanos::ZERO);
    until(|| check(&relay).starts_with("down #worker-1 has been in one turn for "));
    relay.load.lateness().end(1, Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
    assert_eq!(check(&relay), "up 0%\n");
}

#[test]
fn whoever_sends_or_stays_silent_or_leaves_keeps_nobody_from_the_line() {
    let relay = Relay::with(four_places);
    let address = relay.agent_check.unwrap();
    // As `agent-send` does. It may have come before the line was written, or after.
    let mut talkative = connect(address);
    talkative.write_all(b"voice-1\n").unwrap();
    let silent: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    for _ in 0..100 {
        connect(address).shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(check(&relay), "up 100%\n");
    for socket in silent {
        assert_eq!(told(socket), "up 100%\n", "it is told, and closed, whatever it does");
    }
    let mut line = [0; 8];
    talkative.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"up 100%\n");
    assert_eq!(relay.get("/readyz").status, 200);
    until(|| relay.shared.connections.of("agent_check") == 202);
    assert_eq!(relay.shared.connections.of("accepted"), 1, "none of them had a slot");
}

#[test]
fn http_is_not_spoken_there_and_without_the_setting_nobody_listens() {
    let relay = Relay::with(four_places);
    let mut socket = connect(relay.agent_check.unwrap());
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut line = [0; 8];
    socket.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"up 100%\n");
    assert_eq!(Relay::start().agent_check, None);
}

#[test]
fn a_relay_that_has_handed_over_answers_no_check_any_more() {
    let relay = Relay::with(four_places);
    assert_eq!(try_upgrade(&relay, "/web", "").status, 101);
    let (heir, _bequests) = mailbox_without_bell();
    relay.post_letter(AcceptLetter::HandOver { heir });
    // The listener was this relay's alone; with its end the kernel refuses.
    until(|| TcpStream::connect(relay.agent_check.unwrap()).is_err());
}
