//! What the host gives: descriptors, cores, sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use crate::harness::{Relay, ask, connect, get, post, program, until};

/// The value of one series of the figures.
fn figure(address: &str, series: &str) -> f64 {
    let (status, page) = ask(address, &get("/metrics"));
    assert_eq!(status, 200, "{page}");
    let line = page.lines().find(|line| line.starts_with(series));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_relay_out_of_descriptors_refuses_and_is_itself_again_when_some_are_free() {
    let relay = Relay::start(&mut program("ulimit -n 96;"));
    let open = figure(&relay.address, "vocaris_open_descriptors ");
    let max = figure(&relay.address, "vocaris_open_descriptors_max ");
    assert!(max == 96.0 && open > 8.0 && open < 60.0, "{open} of {max}");
    // Everybody who keeps a connection holds a descriptor of the relay. Behind the last of them the
    // kernel completes connections that the relay cannot accept.
    let mut first = connect(&relay.address);
    let idle: Vec<TcpStream> = (0..96).map(|_| connect(&relay.address)).collect();
    let mut answer = [0; 1024];
    let mut ask_first = |path: &str| {
        first.write_all(get(path).as_bytes()).unwrap();
        let length = first.read(&mut answer).unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    };
    until("it says that it has too few", || ask_first("/readyz").starts_with("HTTP/1.1 503 "));
    let ready = ask_first("/readyz");
    assert!(ready.contains("descriptors"), "{ready}");
    let busy = ask_first("/twilio/incoming?CallSid=CA1&From=1&To=2");
    assert!(busy.contains("<Reject reason=\"busy\"/>"), "{busy}");
    drop(idle);
    until("it accepts again", || ask(&relay.address, &get("/readyz")).0 == 200);
    assert!(figure(&relay.address, "vocaris_connections_total{event=\"accept_failed\"}") > 0.0);
    assert!(figure(&relay.address, "vocaris_refusals_total{reason=\"descriptors\"}") > 0.0);
    let (_, twiml) = ask(&relay.address, &post("/twilio/incoming", "CallSid=CA2&From=1&To=2"));
    assert!(twiml.contains("<Stream"), "{twiml}");
    relay.signal("-INT");
    relay.signal("-INT");
    assert_eq!(relay.end().0, Some(0));
}

/// The cores each thread of a process may run on, by the thread's name.
fn cores_by_thread(process: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?.path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some((name, cores.trim().to_owned()))
    };
    tasks.filter_map(of).collect()
}

#[test]
fn media_threads_have_the_cores_they_were_given_and_no_other_thread_is_on_them() {
    let usable = core_affinity::get_core_ids().unwrap_or_default();
    let [.., other, last] = &usable[..] else {
        // Print macros would write to the test harness, which keeps it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is one core only");
        return;
    };
    let last = last.id.to_string();
    let mut command = program("");
    command.env("VOCARIS_SERVER_PIN", "true").env("VOCARIS_SERVER_CORES", &last);
    let relay = Relay::start(&mut command);
    let cores_of = |wanted: &str| {
        let threads = cores_by_thread(relay.child.id());
        threads.into_iter().find_map(|(name, cores)| (name == wanted).then_some(cores))
    };
    // It listens before the last of its threads has its name and its core.
    until("the media thread is on its core", || cores_of("worker-0").as_ref() == Some(&last));
    for name in ["accept", "dial", "control", "tools"] {
        until("no other thread may be there", || match cores_of(name) {
            Some(cores) if usable.len() == 2 => cores == other.id.to_string(),
            Some(cores) => cores != last,
            None => false,
        });
    }
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));

    let absent = program("").env("VOCARIS_SERVER_CORES", "1000").output().unwrap();
    assert_eq!(absent.status.code(), Some(1));
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(said.contains("server.cores names core 1000; this process may use ["), "{said}");
}

#[test]
fn a_supervisors_socket_is_listened_on_and_outlives_the_relay() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = with_descriptor_3(&listener);
    command.env("VOCARIS_SERVER_LISTEN", "127.0.0.1:1");
    let relay = Relay::start(&mut command);
    assert_eq!(relay.address, address);
    assert_eq!(ask(&address, &get("/readyz")).0, 200);
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
    // Whoever comes between two processes waits.
    let mut between = TcpStream::connect(&address).unwrap();
    between.write_all(get("/readyz").as_bytes()).unwrap();
    let mut command = with_descriptor_3(&listener);
    let relay = Relay::start(command.env("VOCARIS_SERVER_LISTEN", "127.0.0.1:1"));
    let mut answer = [0; 12];
    between.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// The program with a copy of `listener` as descriptor 3, as systemd starts it.
fn with_descriptor_3(listener: &TcpListener) -> Command {
    let copy = listener.as_fd().try_clone_to_owned().unwrap();
    let mut command = program("exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$;");
    command.stdin(Stdio::from(copy));
    command
}
