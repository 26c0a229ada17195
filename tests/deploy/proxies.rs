//! Calls through the proxies as they are configured in `deploy/`, over TLS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use crate::front::{Front, HOSTS, Kind};
use crate::phone::until;
use crate::relay::BROWSER;

/// Messages of the model's audio after which a call counts as up.
const HEARD: u64 = 3;

/// A webhook's redirect, a signed webhook, a signed stream, audio both ways, a reload in the
/// middle, a goodbye, and the question of what follows: of several calls at once.
fn calls_outlive_a_reload(kind: Kind) {
    const CALLS: usize = 12;
    let Some(mut front) = Front::start(kind, &format!("{kind:?}-calls"), |text| text) else {
        return;
    };
    let reloaded = AtomicBool::new(false);
    let (up, ups) = channel();
    let caller = front.caller.clone();
    std::thread::scope(|threads| {
        let calls: Vec<_> = (0..CALLS)
            .map(|number| {
                let (caller, reloaded, up) = (&caller, &reloaded, up.clone());
                threads.spawn(move || {
                    let sid = format!("CA{number}");
                    let host = caller.host(&sid);
                    let mut phone = caller.stream(&host, &sid);
                    assert_eq!(phone.talk(|phone| phone.media >= HEARD), None, "{sid} was cut");
                    up.send(()).unwrap();
                    let cut = phone.talk(|_| reloaded.load(Ordering::Relaxed));
                    assert_eq!(cut, None, "the reload cut {sid}");
                    // The demo agent says goodbye at this key, and hangs up once it was heard.
                    phone.press('9');
                    phone.press('#');
                    let heard = phone.media;
                    assert_eq!(phone.talk(|_| false), Some(1000), "{sid} ended otherwise");
                    assert!(phone.media > heard && phone.frames > 0);
                    assert!(caller.post(&host, "/twilio/after", &sid).contains("<Hangup"));
                    host
                })
            })
            .collect();
        drop(up);
        for _ in 0..CALLS {
            ups.recv().expect("a call did not come up");
        }
        front.reload();
        reloaded.store(true, Ordering::Relaxed);
        let hosts: Vec<String> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        for (host, relay) in HOSTS.iter().zip(&front.relays) {
            let calls = hosts.iter().filter(|&chosen| chosen == host).count();
            assert!(calls > 0, "no call came to {host}: {hosts:?}");
            let ended = "vocaris_calls_ended_total{class=\"twilio\",reason=\"agent_hung_up\"}";
            assert!(relay.figures().contains(&format!("\n{ended} {calls}\n")), "{host}");
        }
    });
}

/// With a short bound on what a reload leaves behind, the same calls are cut: the setting matters.
fn a_short_bound_cuts_what_a_reload_leaves(kind: Kind) {
    let setting = match kind {
        Kind::Haproxy => "hard-stop-after ",
        Kind::Nginx => "worker_shutdown_timeout ",
    };
    let front = Front::start(kind, &format!("{kind:?}-cut"), |text| {
        let written = format!("{setting}4h");
        assert!(text.contains(&written));
        text.replace(&written, &format!("{setting}1s"))
    });
    let Some(mut front) = front else { return };
    let mut phone = front.caller.stream(HOSTS[0], "CA1");
    assert_eq!(phone.talk(|phone| phone.media >= HEARD), None);
    front.reload();
    assert_eq!(phone.talk(|_| false), Some(1006), "the old process goes on");
}

/// A host that drains gets no new calls, and keeps those it has: also their last question.
fn a_draining_host_keeps_its_calls_and_gets_no_more(kind: Kind) {
    let Some(mut front) = Front::start(kind, &format!("{kind:?}-drain"), |text| text) else {
        return;
    };
    let caller = front.caller.clone();
    let mut phone = caller.stream(HOSTS[0], "CA1");
    assert_eq!(phone.talk(|phone| phone.media >= HEARD), None);
    front.relays[0].drain();
    until("the relay drains", || caller.get(HOSTS[0], "/readyz", "").starts_with("HTTP/1.1 503 "));
    for number in 2..8 {
        assert_eq!(caller.host(&format!("CA{number}")), HOSTS[1]);
    }
    phone.press('9');
    phone.press('#');
    assert_eq!(phone.talk(|_| false), Some(1000));
    assert!(caller.post(HOSTS[0], "/twilio/after", "CA1").contains("<Hangup"));
    assert!(front.relays.remove(0).ended_well());
    // And with no host left, the caller hears that the line is busy.
    front.relays[0].drain();
    assert!(front.relays.remove(0).ended_well());
    let twiml = caller.post(crate::front::ENTRY, "/twilio/incoming", "CA9");
    assert!(twiml.contains("<Reject reason=\"busy\"/>"), "{twiml}");
}

/// The relay's allow list sees who asked the proxy, and not what he wrote of himself.
fn the_clients_own_address_arrives(kind: Kind) {
    let Some(front) = Front::start(kind, &format!("{kind:?}-client"), |text| text) else {
        return;
    };
    let claims = format!("X-Forwarded-For: {BROWSER}\r\n");
    for host in HOSTS.into_iter().chain([crate::front::ENTRY]) {
        let from = |address: &str, fields: &str| {
            let answer = front.caller.at(address).get(host, "/", fields);
            answer.split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!(from(BROWSER, ""), "200", "{host}");
        assert_eq!(from("127.0.0.8", ""), "403", "{host}");
        assert_eq!(from("127.0.0.8", &claims), "403", "{host}");
    }
    let answer = front.caller.get(HOSTS[0], "/metrics", "");
    assert!(answer.starts_with("HTTP/1.1 404 "), "the figures are shown to everybody: {answer}");
}

/// What follows the `?` of an address is in no log, whether the relays answer or are gone.
fn secrets_in_addresses_stay_out_of_the_logs(kind: Kind) {
    let Some(mut front) = Front::start(kind, &format!("{kind:?}-logs"), |text| text) else {
        return;
    };
    let referer = "Referer: https://voice.example.com/?token=open-sesame\r\n";
    let ask = |front: &Front, path: &str| {
        let before = front.logged().matches(path).count();
        for host in HOSTS.into_iter().chain([crate::front::ENTRY]) {
            front.caller.get(host, &format!("{path}?key=open-sesame"), referer);
        }
        until("all three are logged", || front.logged().matches(path).count() == before + 3);
    };
    for path in ["/plivo/incoming", "/calendar.ics", "/exotel/media", "/twilio/incoming"] {
        ask(&front, path);
    }
    for relay in front.relays.drain(..) {
        relay.drain();
        assert!(relay.ended_well());
    }
    ask(&front, "/vonage/incoming");
    let logged = front.logged();
    assert!(!logged.contains("open-sesame"), "{logged}");
}

/// The variant of the guide: the address travels in front of the connection, not in its requests.
#[test]
fn haproxy_may_say_the_clients_address_by_the_proxy_protocol() {
    let settings = [("VOCARIS_SERVER_PROXY_PROTOCOL", "v2")];
    let front = Front::start_with(Kind::Haproxy, "Haproxy-introduces", &settings, |text| {
        let told = "http-request set-header X-Forwarded-For %[src]";
        assert!(text.contains(told));
        let text = text.replace(told, "http-request del-header X-Forwarded-For");
        let lines = text.lines().map(|line| match line.trim_start().starts_with("server ") {
            true if line.contains(" check ") => format!("{line} send-proxy-v2 check-send-proxy\n"),
            true => format!("{line} send-proxy-v2\n"),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
    let Some(front) = front else { return };
    let from = |address: &str| front.caller.at(address).get(HOSTS[0], "/", "");
    assert!(from(BROWSER).starts_with("HTTP/1.1 200 "));
    assert!(from("127.0.0.8").starts_with("HTTP/1.1 403 "));
    let caller = &front.caller;
    let host = caller.host("CA1");
    let mut phone = caller.stream(&host, "CA1");
    assert_eq!(phone.talk(|phone| phone.media >= HEARD), None);
    phone.press('9');
    phone.press('#');
    assert_eq!(phone.talk(|_| false), Some(1000));
    assert!(caller.post(&host, "/twilio/after", "CA1").contains("<Hangup"));
}

#[test]
fn calls_through_haproxy_outlive_its_reload() {
    calls_outlive_a_reload(Kind::Haproxy);
}

#[test]
fn calls_through_nginx_outlive_its_reload() {
    calls_outlive_a_reload(Kind::Nginx);
}

#[test]
fn a_short_hard_stop_of_haproxy_cuts_what_a_reload_leaves() {
    a_short_bound_cuts_what_a_reload_leaves(Kind::Haproxy);
}

#[test]
fn a_short_shutdown_of_nginx_workers_cuts_what_a_reload_leaves() {
    a_short_bound_cuts_what_a_reload_leaves(Kind::Nginx);
}

#[test]
fn behind_haproxy_a_draining_host_keeps_its_calls_and_gets_no_more() {
    a_draining_host_keeps_its_calls_and_gets_no_more(Kind::Haproxy);
}

#[test]
fn behind_nginx_a_draining_host_keeps_its_calls_and_gets_no_more() {
    a_draining_host_keeps_its_calls_and_gets_no_more(Kind::Nginx);
}

#[test]
fn haproxy_logs_no_secret_of_an_address() {
    secrets_in_addresses_stay_out_of_the_logs(Kind::Haproxy);
}

#[test]
fn nginx_logs_no_secret_of_an_address() {
    secrets_in_addresses_stay_out_of_the_logs(Kind::Nginx);
}

#[test]
fn behind_haproxy_the_clients_own_address_arrives() {
    the_clients_own_address_arrives(Kind::Haproxy);
}

#[test]
fn behind_nginx_the_clients_own_address_arrives() {
    the_clients_own_address_arrives(Kind::Nginx);
}
