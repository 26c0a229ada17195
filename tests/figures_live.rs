//! The figures of a whole relay while calls come and go: at any page everything is accounted for,
//! also while the calls are so many that a worker looks at them in several turns.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_parse::{Scrape, Value};
use tungstenite::Message;
use vocaris::config::Config;
use vocaris::server::{Running, Server};

/// More than a worker looks at in one turn.
const OPEN: usize = 150;
/// Of them, those that talk, again and again with a new call.
const TALKERS: usize = 8;
const PAGES: usize = 12;

fn relay() -> Running {
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures-live.db");
    let store = format!("sqlite:{}", store.display());
    let settings = [
        ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0"),
        ("VOCARIS_SERVER_WORKERS", "2"),
        ("VOCARIS_SERVER_PIN", "false"),
        ("VOCARIS_LIMITS_MAX_HANDSHAKES_PER_IP", "1000"),
        // However late the machine makes it, nobody is turned away for that.
        ("VOCARIS_LIMITS_MAX_LATENESS", "0s"),
        ("VOCARIS_STORE_URL", &store),
    ];
    let settings = settings.map(|(name, value)| (name.into(), value.into()));
    Server::start(Config::read(None, settings).unwrap()).unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The account of each class and direction, as a stranger's parser reads it: what came in, and
/// what is told of it.
fn accounts(page: &str) -> BTreeMap<(String, String), (f64, f64)> {
    let samples = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap().samples;
    let mut accounts = BTreeMap::<_, (f64, f64)>::new();
    for sample in samples {
        let Some(name) = sample.metric.strip_prefix("vocaris_audio_") else { continue };
        let (Value::Counter(count) | Value::Gauge(count)) = sample.value else { continue };
        let label = |name: &str| sample.labels.get(name).unwrap_or_default().to_owned();
        let account = accounts.entry((label("class"), label("direction"))).or_default();
        match name {
            "in_samples_total" | "silence_samples_total" => account.0 += count,
            "out_samples_total" | "dropped_samples_total" | "queued_samples" => account.1 += count,
            _ => {}
        }
    }
    accounts
}

/// A call that hears some of the greeting and hangs up, over and over.
fn talk(address: SocketAddr, enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        let (mut call, _) = tungstenite::connect(format!("ws://{address}/web")).unwrap();
        call.send(Message::text(r#"{"type":"hello"}"#)).unwrap();
        for _ in 0..5 {
            call.send(Message::binary(vec![1; 640])).unwrap();
            while call.read().is_ok_and(|message| !message.is_binary()) {}
        }
        let _ = call.close(None);
        while call.read().is_ok() {}
    }
}

#[test]
fn every_page_balances_while_calls_come_and_go() {
    let relay = relay();
    let address = relay.local_addr();
    let connect = |_| tungstenite::connect(format!("ws://{address}/web")).unwrap().0;
    let idle: Vec<_> = (0..OPEN).map(connect).collect();
    let enough = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..TALKERS {
            threads.spawn(|| talk(address, &enough));
        }
        let (mut pages, mut last) = (0, String::new());
        let mut before = BTreeMap::new();
        while pages < PAGES {
            let page = get(address, "/metrics");
            if page == last {
                // Within a moment the same page is handed out again.
                continue;
            }
            let accounts = accounts(&page);
            assert_eq!(accounts.len(), 4);
            for (of, (taken, told)) in &accounts {
                assert_eq!(taken, told, "{of:?}");
                let &(earlier, _) = before.get(of).unwrap_or(&(0.0, 0.0));
                assert!(*taken >= earlier, "{of:?} went back from {earlier} to {taken}");
            }
            let status: serde_json::Value =
                serde_json::from_str(&get(address, "/status.json")).unwrap();
            let states = status["calls"]["web"]["states"].as_object().unwrap();
            let calls: u64 = states.values().map(|calls| calls.as_u64().unwrap()).sum();
            // Those that never say who they are are shown out after a while.
            assert!(pages > 0 || calls >= OPEN as u64, "{states:?}");
            (pages, last, before) = (pages + 1, page, accounts);
        }
        enough.store(true, Ordering::Relaxed);
        let heard = before[&("web".to_owned(), "downlink".to_owned())].0;
        assert!(heard > 0.0, "nobody was spoken to");
    });
    drop(idle);
    relay.stop();
}
