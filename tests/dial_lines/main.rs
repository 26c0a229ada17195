//! The outbound thread against servers on loopback: what a call gets, and what it is told.

mod ahead;
mod vertex;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};
use vocaris::call::{CallId, Class, Facts, LineFault, Revival};
use vocaris::clock::{Clock, Nanos};
use vocaris::config::{Config, Flavor, Gemini, ModelUrl, Secret, TokenSource, Vertex};
use vocaris::dial::{Dial, ORDERS_WAITING_MAX, Patience};
use vocaris::limits::{DIAL_ATTEMPTS, DIALS_AT_ONCE, QUOTA_SHED};
use vocaris::mail::{
    CallKey, DialLetter, Line, Mailbox, Postbox, WorkerLetter, mailbox_without_bell,
};
use vocaris::metrics::Shared;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);
/// For what a test wants to see run out.
const SHORT: Duration = Duration::from_millis(30);
/// Patient, and quick to try again.
const PATIENT: Patience = Patience {
    resolve: LONG,
    token: LONG,
    tcp: LONG,
    upgrade: LONG,
    setup: LONG,
    backoff: Duration::from_millis(1),
    ahead: LONG,
};

const COMPLETE: &str = r#"{"setupComplete":{}}"#;

/// The outbound thread, and the one worker it writes to.
struct Outbound {
    letters: Postbox<DialLetter>,
    worker: Mailbox<WorkerLetter>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Outbound {
    fn to(url: ModelUrl, patience: Patience) -> Outbound {
        Outbound::with(url, patience, |_| {})
    }

    fn with(url: ModelUrl, patience: Patience, change: impl FnOnce(&mut Gemini)) -> Outbound {
        let mut config = Config::read(None, []).unwrap();
        config.gemini.url = url;
        config.gemini.api_key = Some(Secret::new("key-of-the-test".to_owned()));
        change(&mut config.gemini);
        let shared = Arc::new(Shared::default());
        let (dial, letters) =
            Dial::with_patience(Arc::new(config), Clock::start(), shared.clone(), patience)
                .unwrap();
        let (postbox, worker) = mailbox_without_bell();
        let thread = Some(std::thread::spawn(move || dial.run(vec![postbox])));
        Outbound { letters, worker, shared, thread }
    }

    fn order(&self, slot: usize) {
        self.order_revival(slot, None);
    }

    fn order_revival(&self, slot: usize, revival: Option<Revival>) {
        let call = CallKey { worker: 0, slot, generation: 7 };
        let agent = Config::read(None, []).unwrap().agent_for(None).clone();
        let (id, class, facts) = (CallId(1), Class::Web, Arc::default());
        let letter = DialLetter::Dial { call, id, class, agent, facts, ahead: None, revival };
        self.letters.post(letter).unwrap();
    }

    /// The webhook of the call `CA1` was answered.
    fn order_ahead(&self, call_sid: &str, from: &str) {
        let agent = Config::read(None, []).unwrap().agent_for(None).clone();
        let facts = Arc::new(Facts::new(Some(from), None, []));
        let call_sid = call_sid.to_owned();
        self.letters.post(DialLetter::Ahead { call_sid, agent, facts }).unwrap();
    }

    /// Its stream has come.
    fn order_promised(&self, slot: usize, call_sid: &str, from: &str) {
        let call = CallKey { worker: 0, slot, generation: 7 };
        let agent = Config::read(None, []).unwrap().agent_for(None).clone();
        let facts = Arc::new(Facts::new(Some(from), None, []));
        let (id, class, ahead) = (CallId(1), Class::Twilio, Some(call_sid.to_owned()));
        let letter = DialLetter::Dial { call, id, class, agent, facts, ahead, revival: None };
        self.letters.post(letter).unwrap();
    }

    /// Waits until so many sessions made ahead came to this.
    fn await_ahead(&self, outcome: &str, count: u64) {
        while self.shared.ahead.of(outcome) < count {
            std::thread::yield_now();
        }
    }

    fn cancel(&self, slot: usize) {
        let call = CallKey { worker: 0, slot, generation: 7 };
        self.letters.post(DialLetter::Cancel { call }).unwrap();
    }

    fn order_spare(&self, slot: usize) {
        let call = CallKey { worker: 0, slot, generation: 7 };
        let agent = Config::read(None, []).unwrap().agent_for(None).clone();
        let letter = DialLetter::Spare { call, id: CallId(1), class: Class::Web, agent };
        self.letters.post(letter).unwrap();
    }

    fn answer(&self) -> WorkerLetter {
        self.worker.wait(LONG).expect("an answer to the order")
    }

    fn line(&self) -> Line {
        match self.answer() {
            WorkerLetter::Line { call, line } => {
                assert_eq!(call, CallKey { worker: 0, slot: 3, generation: 7 });
                *line
            }
            other => panic!("{other:?} instead of a line"),
        }
    }

    fn fault(&self) -> LineFault {
        match self.answer() {
            WorkerLetter::NoLine { call, fault } => {
                assert_eq!(call, CallKey { worker: 0, slot: 3, generation: 7 });
                fault
            }
            other => panic!("{other:?} instead of a fault"),
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let _ = self.letters.post(DialLetter::Stop);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

fn plain(port: u16) -> ModelUrl {
    ModelUrl { tls: false, host: "127.0.0.1".to_owned(), port }
}

/// A server that treats its connections, counted from 0, as `treat` says, each on a thread.
fn serve(treat: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> ModelUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let treat = Arc::new(treat);
    std::thread::spawn(move || {
        for (index, socket) in listener.incoming().map_while(Result::ok).enumerate() {
            let treat = treat.clone();
            std::thread::spawn(move || treat(index, socket));
        }
    });
    plain(port)
}

/// A server of WebSockets, which has read the first message of each.
fn serve_sessions(
    treat: impl Fn(usize, WebSocket<TcpStream>, Value) + Send + Sync + 'static,
) -> ModelUrl {
    serve(move |index, socket| {
        let mut session = tungstenite::accept(socket).unwrap();
        let setup = session.read().unwrap();
        treat(index, session, serde_json::from_str(setup.to_text().unwrap()).unwrap());
    })
}

/// Reads until the other side is gone.
fn hold(mut socket: TcpStream) {
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

/// Reads the request's head.
fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header field.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// The answer that takes the upgrade which `head` asks for.
fn accept_of(head: &str) -> String {
    let accept = derive_accept_key(field(head, "Sec-WebSocket-Key").unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// A server that answers every request with these bytes.
fn serve_bytes(answer: &'static [u8]) -> ModelUrl {
    serve(move |_, mut socket| {
        read_head(&mut socket);
        socket.write_all(answer).unwrap();
        hold(socket);
    })
}

/// Bytes of a line, those it came with first.
fn read_line(line: Line, bytes: usize) -> Vec<u8> {
    let socket = line.socket.into_plain().expect("a line in clear");
    let mut socket = TcpStream::from(socket);
    socket.set_nonblocking(false).unwrap();
    let mut read = line.unread;
    let mut rest = vec![0; bytes.saturating_sub(read.len())];
    socket.read_exact(&mut rest).unwrap();
    read.extend(rest);
    read
}

#[test]
fn a_call_gets_a_model_that_was_set_up_as_the_service_wants_it() {
    let (seen, requests) = channel();
    let url = serve(move |_, mut socket| {
        let head = read_head(&mut socket);
        let accept = accept_of(&head);
        seen.send(head).unwrap();
        socket.write_all(accept.as_bytes()).unwrap();
        let mut session = WebSocket::from_raw_socket(socket, Role::Server, None);
        let setup = session.read().unwrap();
        assert!(setup.is_text());
        let setup: Value = serde_json::from_str(setup.to_text().unwrap()).unwrap();
        assert_eq!(setup["setup"]["model"], "models/gemini-3.8-live");
        assert_eq!(setup["setup"]["sessionResumption"], serde_json::json!({}));
        let voice = &setup["setup"]["generationConfig"]["speechConfig"]["voiceConfig"];
        assert_eq!(voice["prebuiltVoiceConfig"]["voiceName"], "Kore");
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    let line = outbound.line();
    assert_eq!((line.terms.uplink_rate_hz, line.terms.uplink_ms), (16_000, 20));
    assert!(line.terms.greeting.as_ref().unwrap().starts_with(r#"{"clientContent":"#));
    let head = requests.recv().unwrap();
    assert_eq!(
        head.lines().next().unwrap(),
        "GET /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent HTTP/1.1"
    );
    assert_eq!(field(&head, "x-goog-api-key"), Some("key-of-the-test"));
    assert_eq!(head.matches("key-of-the-test").count(), 1);
    for unwanted in ["Origin", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        assert_eq!(field(&head, unwanted), None);
    }
    assert_eq!(outbound.shared.dials.of("ready"), 1);
}

#[test]
fn what_the_model_says_right_behind_its_readiness_reaches_the_call() {
    let behind = b"\x81\x02{}\x82\x02{}";
    let url = serve_sessions(move |_, mut session, _| {
        let mut bytes = vec![0x82, COMPLETE.len() as u8];
        bytes.extend_from_slice(COMPLETE.as_bytes());
        bytes.extend_from_slice(behind);
        session.get_mut().write_all(&bytes).unwrap();
        hold(session.get_ref().try_clone().unwrap());
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    assert_eq!(read_line(outbound.line(), behind.len()), behind);
}

#[test]
fn a_model_may_take_its_time_and_answer_in_pieces() {
    let url = serve_sessions(|_, mut session, _| {
        session.send(Message::text(r#"{"sessionResumptionUpdate":{}}"#)).unwrap();
        session.send(Message::Ping(b"there?".as_slice().into())).unwrap();
        let pong = session.read().unwrap();
        assert_eq!(pong, Message::Pong(b"there?".as_slice().into()));
        let (first, last) = COMPLETE.split_at(7);
        let pieces = [(0x01, first), (0x80, last)];
        for (head, piece) in pieces {
            session.get_mut().write_all(&[head, piece.len() as u8]).unwrap();
            session.get_mut().write_all(piece.as_bytes()).unwrap();
        }
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    assert!(outbound.line().unread.is_empty());
}

#[test]
fn a_server_that_refuses_for_good_is_asked_once_and_one_that_is_busy_again() {
    for (answer, fault, attempts) in [
        (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], LineFault::Refused { status: 403 }, 1),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", LineFault::Refused { status: 404 }, 1),
        (b"HTTP/1.1 503 Busy\r\n\r\n", LineFault::Refused { status: 503 }, DIAL_ATTEMPTS),
        (b"HTTP/1.1 429 Slow\r\n\r\n", LineFault::Refused { status: 429 }, DIAL_ATTEMPTS),
    ] {
        let outbound = Outbound::to(serve_bytes(answer), PATIENT);
        outbound.order(3);
        assert_eq!(outbound.fault(), fault);
        assert_eq!(outbound.shared.dials.of("refused"), u64::from(attempts));
    }
}

#[test]
fn a_server_that_speaks_something_else_is_asked_once() {
    let outbound = Outbound::to(serve_bytes(b"220 mail.example ESMTP\r\n\r\n"), PATIENT);
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Broke);
    assert_eq!(outbound.shared.dials.of("broke"), 1);
}

#[test]
fn a_server_without_tls_is_no_model_where_tls_is_asked_for() {
    let url = serve(|_, mut socket| {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hold(socket);
    });
    let outbound = Outbound::to(ModelUrl { tls: true, ..url }, PATIENT);
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Tls);
    assert_eq!(outbound.shared.dials.of("tls"), 1);
}

#[test]
fn a_server_that_is_silent_from_the_start_is_given_up() {
    let outbound =
        Outbound::to(serve(|_, socket| hold(socket)), Patience { upgrade: SHORT, ..PATIENT });
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Connect);
    assert_eq!(outbound.shared.dials.of("connect"), u64::from(DIAL_ATTEMPTS));
}

#[test]
fn a_model_that_never_gets_ready_is_asked_twice_and_left_politely() {
    let (left, goodbyes) = channel();
    let url = serve_sessions(move |_, mut session, _| {
        let goodbye = session.read().unwrap();
        left.send(goodbye).unwrap();
    });
    let outbound = Outbound::to(url, Patience { setup: SHORT, ..PATIENT });
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Timeout);
    for _ in 0..2 {
        let Message::Close(Some(close)) = goodbyes.recv().unwrap() else { panic!("a close") };
        assert_eq!(close.code, CloseCode::Normal);
    }
    assert_eq!(outbound.shared.dials.of("timeout"), 2);
}

#[test]
fn a_port_nobody_listens_on_is_tried_until_the_attempts_are_used_up() {
    // Bound, so that nobody else can listen there meanwhile.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = bound.local_addr().unwrap().as_socket().unwrap().port();
    let outbound = Outbound::to(plain(port), PATIENT);
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Connect);
    assert_eq!(outbound.shared.dials.of("connect"), u64::from(DIAL_ATTEMPTS));
}

#[test]
fn a_host_by_name_is_reached_at_whichever_address_answers() {
    let url = serve_sessions(|_, mut session, _| {
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    // The name may stand for an IPv6 address as well, where nobody listens.
    let outbound = Outbound::to(ModelUrl { host: "localhost".to_owned(), ..url }, PATIENT);
    outbound.order(3);
    drop(outbound.line());
    outbound.order(3);
    drop(outbound.line());
}

#[test]
fn a_host_without_an_address_is_told_as_such() {
    let outbound = Outbound::to(ModelUrl { host: no_name(), ..plain(1) }, PATIENT);
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Resolve);
}

/// A label longer than any may be: it is refused before anybody is asked.
fn no_name() -> String {
    "x".repeat(64)
}

/// A model that closes every session with this before it is ready.
fn serve_closes(code: u16, reason: &'static str) -> ModelUrl {
    serve_sessions(move |_, mut session, _| {
        let close = CloseFrame { code: code.into(), reason: reason.into() };
        session.close(Some(close)).unwrap();
        while session.read().is_ok() {}
    })
}

#[test]
fn closes_before_the_model_is_ready_are_told_apart() {
    for (code, reason, class, attempts) in [
        (1007, "API key not valid. Please pass a valid API key.", "key", 1),
        (1007, "Request contains an invalid argument.", "argument", 1),
        (1008, "models/x is not found for API version v1beta", "not_found", 1),
        (1008, "some policy", "policy", 2),
        (1008, "The operation was aborted.", "aborted", DIAL_ATTEMPTS),
        (1011, "You exceeded your current quota, please check your plan", "quota", 1),
        (1011, "The service is currently unavailable.", "unavailable", DIAL_ATTEMPTS),
        (1011, "Internal error encountered.", "internal", DIAL_ATTEMPTS),
        (1013, "", "unavailable", DIAL_ATTEMPTS),
    ] {
        let outbound = Outbound::to(serve_closes(code, reason), PATIENT);
        outbound.order(3);
        let expected = match class {
            "quota" => LineFault::Quota,
            _ => LineFault::closed(Some(code), reason),
        };
        assert_eq!(outbound.fault(), expected, "{reason}");
        assert_eq!(outbound.shared.dial_closes.all(), [(class, u64::from(attempts))], "{reason}");
    }
}

#[test]
fn a_connection_that_just_ends_is_tried_again() {
    let url = serve(|index, mut socket| {
        if index < 2 {
            read_head(&mut socket);
            return;
        }
        let mut session = tungstenite::accept(socket).unwrap();
        session.read().unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    drop(outbound.line());
    assert_eq!(outbound.shared.dial_closes.all(), [("lost", 2)]);
    assert_eq!(outbound.shared.dials.all(), [("closed", 2), ("ready", 1)]);
}

#[test]
fn a_model_that_minds_resumption_is_asked_again_without_it() {
    let url = serve_sessions(|index, mut session, setup| {
        let asks_for_resumption = setup["setup"].get("sessionResumption").is_some();
        assert_eq!(asks_for_resumption, index == 0);
        if asks_for_resumption {
            let close = CloseFrame { code: CloseCode::Policy, reason: "not enabled".into() };
            session.close(Some(close)).unwrap();
        } else {
            session.send(Message::text(COMPLETE)).unwrap();
        }
        while session.read().is_ok() {}
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    drop(outbound.line());
}

#[test]
fn the_demo_agent_is_a_model_like_any_other() {
    let demo = vocaris::demo::start().unwrap();
    let outbound = Outbound::to(demo.url(), PATIENT);
    outbound.order(3);
    // A frame of the server's, text, not in pieces: the first resumption update.
    assert_eq!(read_line(outbound.line(), 1)[0], 0x81);
}

#[test]
fn many_calls_are_dialled_at_once() {
    const CALLS: usize = 40;
    let url = serve_sessions(|_, mut session, _| {
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    (0..CALLS).for_each(|slot| outbound.order(slot));
    let mut lines = Vec::new();
    let mut slots: Vec<_> = (0..CALLS)
        .map(|_| match outbound.answer() {
            WorkerLetter::Line { call, line } => {
                lines.push(line);
                call.slot
            }
            other => panic!("{other:?} instead of a line"),
        })
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, Vec::from_iter(0..CALLS));
}

#[test]
fn an_order_beyond_the_waiting_line_is_refused_at_once() {
    // No name, so no sockets: each order waits an hour for its second attempt.
    let patience = Patience { backoff: Duration::from_secs(3600), ..PATIENT };
    let outbound = Outbound::to(ModelUrl { host: no_name(), ..plain(1) }, patience);
    let most = DIALS_AT_ONCE + ORDERS_WAITING_MAX;
    (0..=most).for_each(|slot| outbound.order(slot));
    match outbound.answer() {
        WorkerLetter::NoLine { call, fault } => {
            assert_eq!((call.slot, fault), (most, LineFault::Full));
        }
        other => panic!("{other:?} instead of a refusal"),
    }
}

/// A model that tells when a session has begun, and what is said to it next.
fn serve_goodbyes() -> (ModelUrl, Receiver<()>, Receiver<Message>) {
    let (began, begun) = channel();
    let (left, goodbyes) = channel();
    let url = serve_sessions(move |_, mut session, _| {
        began.send(()).unwrap();
        left.send(session.read().unwrap()).unwrap();
    });
    (url, begun, goodbyes)
}

#[test]
fn a_call_that_has_ended_is_dialled_no_more() {
    let (url, begun, goodbyes) = serve_goodbyes();
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    begun.recv().unwrap();
    outbound.cancel(3);
    let Message::Close(Some(close)) = goodbyes.recv().unwrap() else { panic!("a close") };
    assert_eq!(close.code, CloseCode::Normal);
    outbound.cancel(3);
    // The place is free for another.
    outbound.order(4);
    begun.recv().unwrap();
    assert_eq!(outbound.shared.dials.all(), [("cancelled", 1)]);
}

#[test]
fn a_spare_connection_of_a_call_that_has_ended_is_left_off() {
    let url = serve_sessions(move |_, mut session, _| drop(session.read()));
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_spare(3);
    outbound.cancel(3);
    while outbound.shared.dials.of("cancelled") < 1 {
        std::thread::yield_now();
    }
}

#[test]
fn an_order_cancelled_in_the_waiting_line_or_between_two_attempts_is_gone() {
    let patience = Patience { backoff: Duration::from_secs(3600), ..PATIENT };
    let outbound = Outbound::to(ModelUrl { host: no_name(), ..plain(1) }, patience);
    let most = DIALS_AT_ONCE + ORDERS_WAITING_MAX;
    (0..most).for_each(|slot| outbound.order(slot));
    outbound.cancel(most - 2);
    outbound.cancel(most - 1);
    // Their two places in the line are taken by these.
    (most..most + 3).for_each(|slot| outbound.order(slot));
    match outbound.answer() {
        WorkerLetter::NoLine { call, fault } => {
            assert_eq!((call.slot, fault), (most + 2, LineFault::Full));
        }
        other => panic!("{other:?} instead of a refusal"),
    }
    let waiting = outbound.shared.dials_waiting.load(std::sync::atomic::Ordering::Relaxed);
    assert!(waiting > 0, "the figures show the line");
    outbound.cancel(0);
    while outbound.shared.dials.of("cancelled") < 3 {
        std::thread::yield_now();
    }
}

#[test]
fn with_a_call_ends_everything_that_was_being_done_for_it() {
    let patience = Patience { backoff: Duration::from_secs(3600), ..PATIENT };
    let outbound = Outbound::to(ModelUrl { host: no_name(), ..plain(1) }, patience);
    // The first order has a place, the second waits for one.
    (0..DIALS_AT_ONCE).for_each(|slot| outbound.order(slot));
    outbound.order(0);
    outbound.cancel(0);
    while outbound.shared.dials.of("cancelled") < 2 {
        std::thread::yield_now();
    }
}

#[test]
fn a_model_whose_quota_is_used_up_sheds_new_calls_and_is_asked_for_no_session_ahead() {
    let outbound = Outbound::to(serve_closes(1011, "You exceeded your current quota"), PATIENT);
    assert!(!outbound.shared.quota.sheds(Nanos::ZERO));
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Quota);
    assert!(outbound.shared.quota.sheds(Nanos::ZERO.plus(QUOTA_SHED)));
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("quota", 1);
    // A call that was let in has its try all the same.
    outbound.order(3);
    assert_eq!(outbound.fault(), LineFault::Quota);
    assert_eq!(outbound.shared.dial_closes.all(), [("quota", 2)]);
    assert_eq!(outbound.shared.quota.times(), 1);
}

#[test]
fn other_closes_shed_nobody() {
    let outbound = Outbound::to(serve_closes(1011, "Internal error encountered."), PATIENT);
    outbound.order(3);
    outbound.fault();
    assert_eq!(outbound.shared.quota.times(), 0);
}

#[test]
fn stopping_closes_every_session_that_has_begun() {
    let (url, begun, goodbyes) = serve_goodbyes();
    let outbound = Outbound::to(url, PATIENT);
    outbound.order(3);
    begun.recv().unwrap();
    drop(outbound);
    let Message::Close(Some(close)) = goodbyes.recv().unwrap() else { panic!("a close") };
    assert_eq!(close.code, CloseCode::Normal);
}

#[test]
fn a_session_goes_on_by_its_handle_and_a_new_one_is_told_what_was_said() {
    let (told, setups) = channel();
    let url = serve_sessions(move |_, mut session, setup| {
        told.send(setup).unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    let handle = Secret::new("handle-7".to_owned());
    outbound.order_revival(3, Some(Revival::Resume { handle }));
    let line = outbound.line();
    let resumed: Value = setups.recv().unwrap();
    assert_eq!(resumed["setup"]["sessionResumption"]["handle"], "handle-7");
    assert_eq!(line.terms.seed, None);
    assert_eq!(line.agent.model, Config::read(None, []).unwrap().agent_for(None).model);

    outbound.order_revival(3, Some(Revival::Fresh { summary: "You: Hello.".to_owned() }));
    let line = outbound.line();
    let fresh = setups.recv().unwrap();
    assert_eq!(fresh["setup"]["sessionResumption"], serde_json::json!({}));
    let seed: Value = serde_json::from_str(&line.terms.seed.unwrap()).unwrap();
    assert_eq!(seed["clientContent"]["turnComplete"], false);
    assert_eq!(seed["clientContent"]["turns"][0]["parts"][0]["text"], "You: Hello.");
}

#[test]
fn a_revival_that_fails_is_told_at_once_for_the_call_knows_its_own_patience() {
    let outbound = Outbound::to(serve_closes(1011, "Internal error encountered."), PATIENT);
    let handle = Secret::new("handle-7".to_owned());
    outbound.order_revival(3, Some(Revival::Resume { handle }));
    assert_eq!(outbound.fault(), LineFault::closed(Some(1011), "Internal error encountered."));
    assert_eq!(outbound.shared.dial_closes.all(), [("internal", 1)]);
    let outbound = Outbound::to(serve_closes(1008, "some policy"), PATIENT);
    outbound.order_revival(3, Some(Revival::Fresh { summary: String::new() }));
    assert_eq!(outbound.fault(), LineFault::closed(Some(1008), "some policy"));
    assert_eq!(outbound.shared.dial_closes.all(), [("policy", 2)], "once without resumption");
}

#[test]
fn a_connection_made_ahead_is_set_up_when_the_call_asks_for_its_line() {
    let (began, upgrades) = channel();
    let url = serve(move |index, socket| {
        let mut session = tungstenite::accept(socket).unwrap();
        began.send(index).unwrap();
        let setup: Value = match session.read() {
            Ok(message) => serde_json::from_str(message.to_text().unwrap()).unwrap(),
            Err(_) => return,
        };
        assert_eq!(setup["setup"]["sessionResumption"]["handle"], "handle-7");
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_spare(3);
    assert_eq!(upgrades.recv().unwrap(), 0, "upgraded before anybody asks");
    let handle = Secret::new("handle-7".to_owned());
    outbound.order_revival(3, Some(Revival::Resume { handle: handle.clone() }));
    drop(outbound.line());
    assert!(upgrades.try_recv().is_err(), "there was no other connection");
    // A spare is used once; the next line is dialled.
    outbound.order_revival(3, Some(Revival::Resume { handle }));
    drop(outbound.line());
    assert_eq!(upgrades.recv().unwrap(), 1);
}

#[test]
fn a_connection_made_ahead_that_died_is_replaced_without_a_word() {
    let (left, gone) = channel();
    let url = serve(move |index, socket| {
        let mut session = tungstenite::accept(socket).unwrap();
        if index == 0 {
            drop(session);
            return left.send(()).unwrap();
        }
        session.read().unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_spare(3);
    gone.recv().unwrap();
    outbound.order_revival(3, Some(Revival::Fresh { summary: String::new() }));
    drop(outbound.line());
}

#[test]
fn a_connection_made_ahead_that_answers_nothing_is_replaced_without_a_word() {
    let (began, upgrades) = channel();
    let url = serve(move |index, mut socket| {
        if index > 0 {
            // Ready with the upgrade: however slow the machine is, this one is never late.
            let accept = accept_of(&read_head(&mut socket));
            let ready = [&[0x81, COMPLETE.len() as u8], COMPLETE.as_bytes()].concat();
            socket.write_all(&[accept.into_bytes(), ready].concat()).unwrap();
            return hold(socket);
        }
        let mut session = tungstenite::accept(socket).unwrap();
        began.send(()).unwrap();
        while session.read().is_ok() {}
    });
    let outbound = Outbound::to(url, Patience { setup: SHORT, ..PATIENT });
    outbound.order_spare(3);
    upgrades.recv().unwrap();
    let handle = Secret::new("handle-7".to_owned());
    outbound.order_revival(3, Some(Revival::Resume { handle }));
    drop(outbound.line());
}

#[test]
fn a_connection_made_ahead_for_one_call_is_not_given_to_another() {
    let (began, upgrades) = channel();
    let url = serve(move |index, socket| {
        let mut session = tungstenite::accept(socket).unwrap();
        began.send(index).unwrap();
        if session.read().is_ok() && session.send(Message::text(COMPLETE)).is_ok() {
            let _ = session.read();
        }
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_spare(4);
    assert_eq!(upgrades.recv().unwrap(), 0);
    outbound.order(3);
    drop(outbound.line());
    assert_eq!(upgrades.recv().unwrap(), 1);
}
