//! A running inbound thread between sockets and mailboxes that belong to the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vocaris::accept::{Accept, Deadlines, Neighbours};
use vocaris::call::{Again, CallId, Ending, Opening};
use vocaris::clock::Clock;
use vocaris::config::{Agent, Carrier, Config, Secret, SignatureMode};
use vocaris::mail::{
    AcceptLetter, CalendarLetter, CallKey, ControlLetter, DialLetter, JournalLetter, Load, Mailbox,
    Postbox, WorkerLetter, mailbox_without_bell,
};
use vocaris::metrics::Shared;
use vocaris::net::TlsServer;

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What a deadline is set to where a test waits for it to pass.
pub(crate) const SHORT: Duration = Duration::from_millis(40);

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Where the figures have an address of their own.
    pub(crate) admin: Option<SocketAddr>,
    /// Where HAProxy's agent checks are answered.
    pub(crate) agent_check: Option<SocketAddr>,
    pub(crate) letters: Postbox<AcceptLetter>,
    pub(crate) workers: Vec<Mailbox<WorkerLetter>>,
    /// The other ends of `workers` and `dial`, to fill them.
    pub(crate) to_workers: Vec<Postbox<WorkerLetter>>,
    pub(crate) to_dial: Postbox<DialLetter>,
    pub(crate) dial: Mailbox<DialLetter>,
    pub(crate) control: Mailbox<ControlLetter>,
    pub(crate) calendar: Mailbox<CalendarLetter>,
    pub(crate) journal: Mailbox<JournalLetter>,
    pub(crate) load: Arc<Load>,
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Calls made up so far.
    calls: AtomicU64,
}

impl Relay {
    /// With settings of a relay that has just been unpacked.
    pub(crate) fn start() -> Relay {
        Relay::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Relay {
        Relay::with_deadlines(Deadlines::default(), change)
    }

    pub(crate) fn with_deadlines(deadlines: Deadlines, change: impl FnOnce(&mut Config)) -> Relay {
        Relay::with_accept(change, |accept| accept.with_deadlines(deadlines))
    }

    pub(crate) fn with_tls(
        tls: Option<Arc<TlsServer>>,
        deadlines: Deadlines,
        change: impl FnOnce(&mut Config),
    ) -> Relay {
        Relay::with_accept(change, |accept| accept.with_deadlines(deadlines).with_tls(tls))
    }

    /// With an inbound thread that has been changed before it runs.
    pub(crate) fn with_accept(
        change: impl FnOnce(&mut Config),
        finish: impl FnOnce(Accept) -> Accept,
    ) -> Relay {
        const WORKERS: usize = 2;
        let mut config = config();
        change(&mut config);
        let has_journal = config.journal.enabled;
        let load = Arc::new(Load::new(WORKERS));
        let shared = Arc::new(Shared::default());
        let (accept, letters) =
            Accept::bind(Arc::new(config), Clock::start(), load.clone(), shared.clone()).unwrap();
        let accept = finish(accept);
        let (address, admin) = (accept.local_addr(), accept.admin_addr());
        let agent_check = accept.agent_check_addr();
        let (to_workers, workers): (Vec<_>, Vec<_>) =
            (0..WORKERS).map(|_| mailbox_without_bell()).unzip();
        let (to_dial, dial) = mailbox_without_bell();
        let (to_control, control) = mailbox_without_bell();
        let (to_calendar, calendar) = mailbox_without_bell();
        let (to_journal, journal) = mailbox_without_bell();
        let neighbours = Neighbours {
            workers: to_workers.clone(),
            dial: to_dial.clone(),
            control: to_control,
            calendar: Some(to_calendar),
            journal: has_journal.then_some(to_journal),
        };
        let thread = Some(std::thread::spawn(move || accept.run(neighbours)));
        Relay {
            address,
            admin,
            agent_check,
            letters,
            workers,
            to_workers,
            to_dial,
            dial,
            control,
            calendar,
            journal,
            load,
            shared,
            thread,
            calls: AtomicU64::new(0),
        }
    }

    /// With clients whose first bytes are there before it runs: however long the machine pauses,
    /// no deadline passes between a connection and what it begins with.
    pub(crate) fn with_early<const N: usize>(
        deadlines: Deadlines,
        first: [&str; N],
    ) -> (Relay, [Client; N]) {
        let mut clients = None;
        let relay = Relay::with_accept(
            |_| {},
            |accept| {
                let begun = |bytes| {
                    let mut client = Client::of(accept.local_addr());
                    client.send(bytes);
                    client
                };
                clients = Some(first.map(begun));
                accept.with_deadlines(deadlines)
            },
        );
        (relay, clients.expect("made before the relay ran"))
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_to(self.address)
    }

    pub(crate) fn connect_to(&self, address: SocketAddr) -> Client {
        Client::of(address)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.ask(get(target))
    }

    pub(crate) fn post_form(&self, target: &str, form: &str) -> Response {
        self.ask(post(target, "", form))
    }

    pub(crate) fn post_letter(&self, letter: AcceptLetter) {
        self.letters.post(letter).unwrap();
    }

    /// Asks the relay to take no more calls, and waits until it takes none.
    pub(crate) fn drain(&self) {
        self.post_letter(AcceptLetter::Drain);
        until(|| self.get("/readyz").status == 503);
    }

    pub(crate) fn worker_letter(&self, worker: usize) -> WorkerLetter {
        loop {
            match self.workers[worker].wait(PATIENCE).expect("a letter to the worker") {
                // Every browser's call gets one.
                WorkerLetter::ReturnToken { .. } => {}
                letter => return letter,
            }
        }
    }

    pub(crate) fn dial_letter(&self) -> DialLetter {
        self.dial.wait(PATIENCE).expect("a letter to dial")
    }

    pub(crate) fn scrape(&self) -> u64 {
        match self.control.wait(PATIENCE) {
            Some(ControlLetter::Scrape { ticket }) => ticket,
            other => panic!("no figures request but {other:?}"),
        }
    }

    /// Asks for a carrier's stream to be let in, as a worker would.
    pub(crate) fn admit(&self, call_sid: &str, token: Option<&str>, to: Option<&str>) -> CallKey {
        self.admit_as(self.fresh_id(), call_sid, token, to)
    }

    /// A call's name that no other has.
    pub(crate) fn fresh_id(&self) -> CallId {
        CallId(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// The same, of a call with this name.
    pub(crate) fn admit_as(
        &self,
        id: CallId,
        call_sid: &str,
        token: Option<&str>,
        to: Option<&str>,
    ) -> CallKey {
        self.admit_of(Carrier::Twilio, id, call_sid, token, to)
    }

    /// The same, of any carrier.
    pub(crate) fn admit_of(
        &self,
        carrier: Carrier,
        id: CallId,
        call_sid: &str,
        token: Option<&str>,
        to: Option<&str>,
    ) -> CallKey {
        let slot = usize::try_from(id.0).unwrap() % 1_000;
        let call = CallKey { worker: 1, slot, generation: id.0 };
        let opening = Opening::Twilio {
            carrier,
            call_sid: call_sid.into(),
            stream_sid: "MZ1".into(),
            token: token.map(str::to_owned),
            from: None,
            to: to.map(str::to_owned),
            again: Again::No,
            custom: Vec::new(),
        };
        self.post_letter(AcceptLetter::Admit { call, id, opening });
        call
    }

    /// Asks for a copy of both tracks to be let in, as a worker would.
    pub(crate) fn admit_fork(&self, call_sid: &str, token: Option<&str>) -> CallKey {
        let id = self.fresh_id();
        let call = CallKey { worker: 1, slot: 7, generation: id.0 };
        let token = token.map(str::to_owned);
        let opening = Opening::Fork { call_sid: call_sid.into(), token };
        self.post_letter(AcceptLetter::Admit { call, id, opening });
        call
    }

    /// Tells that a call has ended, as a worker would.
    pub(crate) fn end(&self, id: CallId, call_sid: &str, ending: Ending) {
        let call_sid = Some(call_sid.to_owned());
        self.post_letter(AcceptLetter::Ended {
            id,
            call_sid,
            ending,
            transfer: None,
            legacy: None,
            had_model: true,
        });
    }

    /// A browser's call on `worker` that was let in.
    pub(crate) fn browser_inside(&self, worker: usize) -> CallId {
        let id = self.fresh_id();
        self.load.placed(worker);
        let call = CallKey { worker, slot: 0, generation: id.0 };
        let opening = Opening::Web { token: None, rate_hz: 16_000, agent: None, resume: None };
        self.post_letter(AcceptLetter::Admit { call, id, opening });
        self.dial_letter();
        id
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.letters.post(AcceptLetter::Stop);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the inbound thread failed");
        }
    }
}

/// The defaults, but for what these tests rely on.
fn config() -> Config {
    let mut config = Config::read(None, []).expect("the defaults are sound");
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.workers = 2;
    config.server.pin = false;
    config.server.drain_timeout = Duration::from_secs(1);
    config.limits.max_calls_per_worker = 100;
    config.limits.max_handshakes_per_ip = 1000;
    config.gemini.pool = 0;
    config.twilio.fallback = "We are <sorry> & silent.".into();
    config.agents = vec![agent("sales", "+18005550100"), agent("everybody", "*")];
    config
}

fn agent(name: &str, number: &str) -> Arc<Agent> {
    Arc::new(Agent {
        name: name.into(),
        numbers: vec![number.into()],
        system: "Be kind.".into(),
        voice: None,
        model: "models/m".into(),
        greeting: None,
        web: number == "*",
        ..Agent::default()
    })
}

/// Settings of a relay that knows its carrier's secret.
pub(crate) fn signed(mode: SignatureMode) -> impl FnOnce(&mut Config) {
    move |config| {
        config.server.public_url = Some("https://voice.example.com".into());
        config.twilio.auth_tokens = vec![
            Secret::new("an older token".into()),
            Secret::new("test_auth_token_0123456789abcdef".into()),
        ];
        config.twilio.signature = mode;
    }
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: voice.example.com\r\n\r\n")
}

/// A form; `fields`: more header lines, each with its line end.
pub(crate) fn post(target: &str, fields: &str, form: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: voice.example.com\r\n{fields}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// Waits for what the relay's thread does on its own.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to pass");
        std::thread::yield_now();
    }
}

/// One connection to the relay.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) socket: S,
    /// Behind the last response.
    pub(crate) unread: Vec<u8>,
}

impl Client {
    fn of(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { socket, unread: Vec::new() }
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends, unless the relay has already closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// The next response.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to(false)
    }

    /// The next response; that to HEAD has no body whatever its length says.
    pub(crate) fn response_to(&mut self, is_head: bool) -> Response {
        let head_bytes = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read(), "closed without a response: {:?}", self.unread_text());
        };
        let head: Vec<u8> = self.unread.drain(..head_bytes).collect();
        let head = String::from_utf8(head).unwrap();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let length = if is_head { 0 } else { length };
        while self.unread.len() < length {
            assert!(self.read(), "closed within a body: {head}{}", self.unread_text());
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the relay closes now, with nothing more said.
    pub(crate) fn is_closed(&mut self) -> bool {
        while self.read() {}
        self.unread.is_empty()
    }

    fn unread_text(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// Reads once; `false` at the end.
    pub(crate) fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.socket.read(&mut bytes) {
            Ok(n) => {
                self.unread.extend_from_slice(&bytes[..n]);
                n > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // The tests were stopped for a while, and go on.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("nothing came: {error}; so far {:?}", self.unread_text()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

/// The value of an attribute, as it stands in the document.
pub(crate) fn attribute<'x>(xml: &'x str, element: &str, name: &str) -> &'x str {
    let element = xml.split(element).nth(1).unwrap_or_else(|| panic!("no {element} in {xml}"));
    let value = element.split(&format!(" {name}=\"")).nth(1);
    let value = value.unwrap_or_else(|| panic!("no {name} in {element}"));
    value.split('"').next().unwrap()
}

/// The token in a `<Connect>` document.
pub(crate) fn token_in(xml: &str) -> String {
    attribute(xml, "<Parameter name=\"token\"", "value").to_owned()
}

impl<S: Read + Write> Client<S> {
    /// The status of one request, or `None` if the relay hung up first.
    pub(crate) fn response_or_closed(&mut self, request: &str) -> Option<u16> {
        self.send(request);
        while !self.unread.windows(4).any(|four| four == b"\r\n\r\n") {
            if !self.read() {
                return None;
            }
        }
        Some(self.response().status)
    }
}
