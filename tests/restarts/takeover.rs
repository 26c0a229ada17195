//! A new process takes the port over from the one that runs: no webhook is lost, no call is cut.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Client, Relay, Stream, ask, fresh, get, post, program, token_in, until};

/// Swaps in one run of the tests; another number by `VOCARIS_SWAPS`.
const SWAPS: usize = 4;
/// Callers at once, each making one call after the other.
const CALLERS: usize = 6;
/// Frames of one call.
const FRAMES: u64 = 60;

fn swaps() -> usize {
    std::env::var("VOCARIS_SWAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(SWAPS)
}

/// A relay that can be taken over at `socket`, on the port of the one that runs.
fn heir_of(address: &str, socket: &Path) -> Command {
    let mut command = program("");
    command.env("VOCARIS_SERVER_LISTEN", address).env("VOCARIS_SERVER_TAKEOVER", socket);
    command
}

fn incoming(call_sid: &str) -> String {
    post("/twilio/incoming", &format!("CallSid={call_sid}&From=%2B15550100&To=%2B15550101"))
}

fn after(call_sid: &str, status: &str) -> String {
    let form = format!("CallSid={call_sid}&CallStatus={status}&From=%2B1555&To=%2B1556");
    post("/twilio/after", &form)
}

/// What the callers counted.
#[derive(Default)]
struct Count {
    webhooks: AtomicUsize,
    calls: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Count {
    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }
}

/// Makes calls until told to stop: webhook, stream, audio both ways, hang-up, the last question.
fn make_calls(number: usize, address: &str, count: &Count, stop: &AtomicBool) {
    let mut carrier = Client::new(address);
    for call in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let call_sid = format!("CA{number}x{call}");
        if let Err(fault) = one_call(&mut carrier, address, &call_sid, count) {
            count.fault(format!("{call_sid}: {fault}"));
        }
    }
}

fn one_call(
    carrier: &mut Client,
    address: &str,
    call_sid: &str,
    count: &Count,
) -> Result<(), String> {
    let (status, twiml) = carrier.ask(&incoming(call_sid))?;
    let token = token_in(&twiml).map_err(|twiml| format!("{status} {twiml}"))?;
    count.webhooks.fetch_add(1, Ordering::Relaxed);
    let mut stream = Stream::open(address, call_sid, &token)?;
    let start = Instant::now();
    for frame in 0..FRAMES {
        let planned = Duration::from_millis(20) * u32::try_from(frame).unwrap();
        thread::park_timeout(planned.saturating_sub(start.elapsed()));
        stream.speak()?;
        if frame == FRAMES / 2 {
            stream.hear()?;
        }
    }
    stream.hear()?;
    stream.hang_up()?;
    let (status, twiml) = carrier.ask(&after(call_sid, "completed"))?;
    if status != 200 || !twiml.contains("<Hangup/>") {
        return Err(format!("afterwards: {status} {twiml}"));
    }
    count.calls.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[test]
fn swap_after_swap_loses_no_webhook_and_cuts_no_call() {
    let socket = fresh("swaps.sock");
    let mut relay = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    let address = relay.address.clone();
    let (count, stop) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
    let callers: Vec<JoinHandle<()>> = (0..CALLERS)
        .map(|number| {
            let (address, count, stop) = (address.clone(), count.clone(), stop.clone());
            thread::spawn(move || make_calls(number, &address, &count, &stop))
        })
        .collect();
    let prober = {
        let (address, count, stop) = (address.clone(), count.clone(), stop.clone());
        thread::spawn(move || {
            // A connection for each, as fast as they are answered.
            for call in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                match Client::new(&address).ask(&get("/readyz")) {
                    Ok((200, _)) => drop(count.webhooks.fetch_add(1, Ordering::Relaxed)),
                    other => count.fault(format!("probe {call}: {other:?}")),
                }
            }
        })
    };
    let mut elders = Vec::new();
    for swap in 0..swaps() {
        let before = count.calls.load(Ordering::Relaxed);
        until("calls are made", || {
            count.calls.load(Ordering::Relaxed) > before || callers.iter().any(|c| c.is_finished())
        });
        let heir = Relay::start(&mut heir_of(&address, &socket));
        assert_eq!(heir.address, address, "swap {swap}");
        elders.push(std::mem::replace(&mut relay, heir));
    }
    stop.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    prober.join().unwrap();
    for elder in elders {
        let (code, log) = elder.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("event=taken_over") && !log.contains("event=cut"), "{log}");
        assert!(!log.contains("bequests_lost") && !log.contains("takeover.rs"), "{log}");
    }
    relay.signal("-TERM");
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!socket.exists(), "the last one leaves nothing behind");
    let (webhooks, calls) = (&count.webhooks, &count.calls);
    println!("{} swaps, {webhooks:?} requests, {calls:?} calls", swaps());
    let faults = count.faults.lock().unwrap();
    assert!(faults.is_empty(), "{} of {calls:?} calls: {faults:#?}", faults.len());
}

#[test]
fn a_call_answered_by_one_process_comes_in_at_the_next_and_its_token_only_once() {
    let socket = fresh("promise.sock");
    let elder = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    let address = elder.address.clone();
    let token_for = |call_sid: &str| token_in(&ask(&address, &incoming(call_sid)).1).unwrap();
    let (token, used) = (token_for("CA1"), token_for("CA2"));
    let mut with_elder = Stream::open(&address, "CA2", &used).unwrap();
    with_elder.hear().unwrap();
    let heir = Relay::start(&mut heir_of(&address, &socket));
    let mut stream = Stream::open(&address, "CA1", &token).unwrap();
    stream.hear().unwrap();
    // What the elder has seen used is told a moment after the port has changed hands.
    let used_at_heir = || ask(&address, &get("/metrics")).1.contains("verdict=\"used\"");
    until("the heir knows a token that the elder saw used", || {
        Stream::open(&address, "CA2", &used).unwrap();
        used_at_heir()
    });
    with_elder.hear().unwrap();
    with_elder.hang_up().unwrap();
    assert_eq!(elder.end().0, Some(0), "nothing keeps it");
    stream.hear().unwrap();
    heir.signal("-TERM");
    heir.signal("-TERM");
    assert_eq!(heir.end().0, Some(0));
}

#[test]
fn a_call_that_is_cut_with_its_process_is_joined_to_the_next_one() {
    let socket = fresh("cut.sock");
    let elder = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    let address = elder.address.clone();
    let token = token_in(&ask(&address, &incoming("CA1")).1).unwrap();
    let mut stream = Stream::open(&address, "CA1", &token).unwrap();
    stream.hear().unwrap();
    let between = Relay::start(&mut heir_of(&address, &socket));
    let heir = Relay::start(&mut heir_of(&address, &socket));
    assert_eq!(between.end().0, Some(0), "it had no calls");
    elder.signal("-TERM");
    assert_eq!(stream.closed(), "drained");
    // The carrier asks what follows: the heir of the heir knows, in a moment.
    let mut joined = String::new();
    until("the heir takes the call up", || {
        joined = ask(&address, &after("CA1", "in-progress")).1;
        joined.contains("<Stream")
    });
    let mut stream = Stream::open(&address, "CA1", &token_in(&joined).unwrap()).unwrap();
    stream.hear().unwrap();
    assert_eq!(elder.end().0, Some(0));
    heir.signal("-TERM");
    heir.signal("-TERM");
    assert_eq!(heir.end().0, Some(0));
}

#[test]
fn a_process_that_is_ending_its_calls_is_still_taken_over() {
    let socket = fresh("stopping.sock");
    let elder = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    let address = elder.address.clone();
    let token = token_in(&ask(&address, &incoming("CA1")).1).unwrap();
    let mut stream = Stream::open(&address, "CA1", &token).unwrap();
    stream.hear().unwrap();
    elder.signal("-TERM");
    until("it drains", || ask(&address, &get("/readyz")).0 == 503);
    // Its call is cut, and the phone does not answer the close.
    elder.signal("-TERM");
    let heir = Relay::start(&mut heir_of(&address, &socket));
    let mut joined = String::new();
    until("the heir takes the call up", || {
        joined = ask(&address, &after("CA1", "in-progress")).1;
        joined.contains("<Stream")
    });
    let mut again = Stream::open(&address, "CA1", &token_in(&joined).unwrap()).unwrap();
    again.hear().unwrap();
    let (code, log) = elder.end();
    assert!(code == Some(0) && log.contains("event=taken_over"), "{log}");
    assert!(!log.contains("bequests_lost"), "{log}");
    drop(stream);
    // The gate is the heir's: the next one finds it there.
    let next = Relay::start(&mut heir_of(&address, &socket));
    heir.signal("-TERM");
    let (code, log) = heir.end();
    assert!(code == Some(0) && log.contains("event=taken_over"), "{log}");
    next.signal("-TERM");
    assert_eq!(next.end().0, Some(0));
    assert!(!socket.exists());
}

#[test]
fn an_heir_listens_where_its_own_settings_say() {
    let socket = fresh("moved.sock");
    let elder = Relay::start(
        program("")
            .env("VOCARIS_SERVER_TAKEOVER", &socket)
            .env("VOCARIS_ADMIN_LISTEN", "127.0.0.1:0"),
    );
    // Addresses that nobody has: those of the elder are not they.
    let free = [0, 1].map(|_| TcpListener::bind("127.0.0.2:0").unwrap());
    let [main, admin] = free.map(|listener| listener.local_addr().unwrap().to_string());
    let heir = Relay::start(heir_of(&main, &socket).env("VOCARIS_ADMIN_LISTEN", &admin));
    assert_eq!(heir.address, main);
    assert_eq!(ask(&admin, &get("/metrics")).0, 200);
    assert_eq!(elder.end().0, Some(0));
    heir.signal("-TERM");
    let (_, log) = heir.end();
    for key in ["server.listen", "admin.listen"] {
        assert!(log.contains(&format!("event=socket_left key={key} ")), "{log}");
    }
}

#[test]
fn an_heir_answers_agent_checks_at_the_socket_of_its_elder() {
    let socket = fresh("agent-check.sock");
    // Nobody has it a moment later.
    let address = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().to_string();
    let told = || {
        let mut line = String::new();
        TcpStream::connect(&address).unwrap().read_to_string(&mut line).unwrap();
        line
    };
    let elder = Relay::start(
        program("")
            .env("VOCARIS_SERVER_TAKEOVER", &socket)
            .env("VOCARIS_SERVER_AGENT_CHECK", &address),
    );
    assert_eq!(told(), "up 100%\n");
    let heir =
        Relay::start(heir_of(&elder.address, &socket).env("VOCARIS_SERVER_AGENT_CHECK", &address));
    assert_eq!(elder.end().0, Some(0));
    assert_eq!(told(), "up 100%\n");
    heir.signal("-TERM");
    let (code, log) = heir.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("event=socket_taken key=server.agent_check "), "{log}");
}

#[test]
fn an_heir_that_dies_before_it_is_ready_changes_nothing() {
    let socket = fresh("stillborn.sock");
    let mut relay = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    let address = relay.address.clone();
    // It has the socket, and then finds that a core it was given is not there.
    let mut stillborn = heir_of(&address, &socket);
    let stillborn = stillborn.env("VOCARIS_SERVER_CORES", "1000").output().unwrap();
    assert_eq!(stillborn.status.code(), Some(1));
    assert_eq!(ask(&address, &get("/readyz")).0, 200);
    assert!(!relay.has_ended());
    let heir = Relay::start(&mut heir_of(&address, &socket));
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(ask(&heir.address, &get("/readyz")).0, 200);
    heir.signal("-TERM");
    assert_eq!(heir.end().0, Some(0));
}

#[test]
fn a_socket_that_nobody_listens_at_any_more_is_taken() {
    let socket = fresh("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let relay = Relay::start(program("").env("VOCARIS_SERVER_TAKEOVER", &socket));
    assert_eq!(ask(&relay.address, &get("/readyz")).0, 200);
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}
