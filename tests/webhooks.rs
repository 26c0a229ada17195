//! Services behind tools, on real sockets of this machine: good ones, and every bad one.
//!
//! Nothing here sleeps: a service that hangs waits for its client to give up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use vocaris::call::{CallId, Class, ToolOrder, ToolOutcome, ToolReply};
use vocaris::clock::{Clock, unix_seconds};
use vocaris::config::{
    Config, Secret, Tool, ToolBehavior, ToolKind, ToolScheduling, Webhook, WebhookUrl,
};
use vocaris::control::tools::Tools;
use vocaris::mail::{CallKey, Mailbox, Postbox, ToolLetter, WorkerLetter, mailbox_without_bell};

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(60);
const CALL: CallKey = CallKey { worker: 0, slot: 3, generation: 9 };

/// The tools' room, running.
struct Room {
    post: Postbox<ToolLetter>,
    replies: Mailbox<WorkerLetter>,
    thread: Option<JoinHandle<()>>,
}

impl Room {
    fn new() -> Room {
        let config = Arc::new(Config::read(None, []).unwrap_or_else(|errors| panic!("{errors}")));
        let (tools, post) = Tools::new(config, Clock::start());
        let (worker, replies) = mailbox_without_bell();
        let thread = Some(thread::spawn(move || tools.run(&[worker])));
        Room { post, replies, thread }
    }

    fn order(&self, ticket: u32, tool: &Arc<Tool>, arguments: &str) {
        let order = Box::new(ToolOrder {
            ticket,
            tool: tool.clone(),
            arguments: arguments.to_owned(),
            key: format!("key-{ticket}"),
            conversation: CallId(0xa1),
            from: Some("+18005550199".to_owned()),
            to: None,
        });
        let letter = ToolLetter::Run { call: CALL, id: CallId(0xa1), class: Class::Twilio, order };
        self.post.post(letter).unwrap();
    }

    fn reply(&self) -> (u32, ToolReply) {
        match self.replies.wait(SOON) {
            Some(WorkerLetter::ToolReply { call, ticket, reply }) => {
                assert_eq!(call, CALL);
                assert!(reply.json.is_ascii() && reply.json.len() <= 7_000);
                (ticket, *reply)
            }
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, tool: &Arc<Tool>) -> (ToolOutcome, Value) {
        self.order(1, tool, "{}");
        let (_, reply) = self.reply();
        (reply.outcome, serde_json::from_str(&reply.json).unwrap())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.post.post(ToolLetter::Stop).unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

/// A service on a port of its own; `serve` is given each connection.
struct Service {
    port: u16,
    /// Every whole request heard.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (keeps, serve) = (heard.clone(), Arc::new(serve));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (Ok(mut socket), keeps, serve) = (socket, keeps.clone(), serve.clone()) else {
                    return;
                };
                thread::spawn(move || {
                    let request = read_request(&mut socket);
                    keeps.lock().unwrap().push(request);
                    serve(socket);
                });
            }
        });
        Service { port, heard }
    }

    /// One that answers every request with these bytes.
    fn saying(answer: &str) -> Service {
        let answer = answer.to_owned();
        Service::new(move |mut socket| {
            let _ = socket.write_all(answer.as_bytes());
        })
    }

    fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn tool(&self, change: impl FnOnce(&mut Webhook)) -> Arc<Tool> {
        let url = format!("http://127.0.0.1:{}/do?x=1", self.port);
        let mut webhook = Webhook {
            url: WebhookUrl::parse(&url).unwrap(),
            timeout: SOON,
            secret: None,
            idempotent: false,
            allow_private: false,
        };
        change(&mut webhook);
        tool_of("order_taxi", webhook)
    }
}

fn tool_of(name: &str, webhook: Webhook) -> Arc<Tool> {
    Arc::new(Tool {
        name: name.to_owned(),
        description: "Orders a taxi.".to_owned(),
        parameters: json!({"type": "object", "properties": {"at": {"type": "string"}}}),
        kind: ToolKind::Webhook(webhook),
        behavior: ToolBehavior::NonBlocking,
        scheduling: ToolScheduling::WhenIdle,
        changes: true,
    })
}

fn read_request(socket: &mut TcpStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&request).into_owned(),
            Ok(n) => request.extend(&piece[..n]),
        }
    }
}

/// Waits until the other end has gone.
fn hang(mut socket: TcpStream) {
    let _ = socket.read_to_end(&mut Vec::new());
}

fn ok(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn header<'r>(request: &'r str, name: &str) -> Option<&'r str> {
    let line = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
    request.lines().find(line).map(|line| &line[name.len() + 2..])
}

#[test]
fn a_service_is_asked_in_the_documented_way_and_its_answer_reaches_the_model() {
    let service =
        Service::saying(&ok("application/json", r#"{"arrives":"18:45","wagen":"Größe M"}"#));
    let room = Room::new();
    let secret = Secret::new("a secret of the two of us".into());
    let tool = service.tool(|webhook| webhook.secret = Some(secret.clone()));
    room.order(7, &tool, r#"{"at":"18:30"}"#);
    let (ticket, reply) = room.reply();
    assert_eq!((ticket, reply.outcome), (7, ToolOutcome::Done));
    let told: Value = serde_json::from_str(&reply.json).unwrap();
    assert_eq!(told, json!({"output": {"arrives": "18:45", "wagen": "Größe M"}}));

    let requests = service.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /do?x=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(request, "content-type"), Some("application/json"));
    assert_eq!(header(request, "idempotency-key"), Some("key-7"));
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let said: Value = serde_json::from_str(body).unwrap();
    let caller = json!({"class": "twilio", "from": "+18005550199", "to": null});
    let timestamp = said["timestamp"].as_u64().unwrap();
    let wanted = json!({"call": "00000000000000a1", "tool": "order_taxi", "key": "key-7",
        "arguments": {"at": "18:30"}, "caller": caller, "timestamp": timestamp});
    assert_eq!(said, wanted);
    assert_eq!(signed_at(request, &secret), timestamp);
}

/// The time a request was signed at, if it was signed with `secret`.
fn signed_at(request: &str, secret: &Secret) -> u64 {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let signature = header(request, "vocaris-signature").unwrap();
    let (time, digits) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mac: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    hmac::verify(&key, format!("{time}.{body}").as_bytes(), &mac).unwrap();
    time.parse().unwrap()
}

#[test]
fn a_service_that_hangs_costs_its_own_time_and_no_other_tools() {
    let hangs = Service::new(hang);
    let works = Service::saying(&ok("text/plain", "At once."));
    let room = Room::new();
    let stuck = tool_of(
        "stuck",
        match &hangs.tool(|_| {}).kind {
            ToolKind::Webhook(webhook) => webhook.clone(),
            other => panic!("{other:?}"),
        },
    );
    for ticket in 0..40 {
        room.order(ticket, &stuck, "{}");
    }
    room.order(99, &works.tool(|_| {}), "{}");
    let (ticket, reply) = room.reply();
    assert_eq!((ticket, reply.outcome), (99, ToolOutcome::Done));
    // One that waits behind them can be taken back.
    room.post.post(ToolLetter::Cancel { call: CALL, ticket: 39 }).unwrap();
    let (ticket, reply) = room.reply();
    assert_eq!((ticket, reply.outcome), (39, ToolOutcome::Cancelled));
    // And there is an end to how many wait.
    for ticket in 100..400 {
        room.order(ticket, &stuck, "{}");
    }
    assert_eq!(room.reply().1.outcome, ToolOutcome::Busy);
}

#[test]
fn a_service_that_does_not_answer_or_drips_is_cut_off_at_its_time() {
    let room = Room::new();
    let brief = |webhook: &mut Webhook| webhook.timeout = Duration::from_millis(300);
    let silent = Service::new(hang);
    assert_eq!(room.ask(&silent.tool(brief)).0, ToolOutcome::TimedOut);
    let dripping = Service::new(|mut socket| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        loop {
            match socket.read(&mut [0; 16]) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return,
            }
            if socket.write_all(b"x").is_err() {
                return;
            }
        }
    });
    let (outcome, told) = room.ask(&dripping.tool(brief));
    assert_eq!(outcome, ToolOutcome::TimedOut);
    assert!(told["error"].as_str().unwrap().contains("not known"), "{told}");
    // Whoever asked may have gone before the service got to hear him.
    let asked = || silent.requests().len() + dripping.requests().len();
    let start = Instant::now();
    while asked() < 2 {
        assert!(start.elapsed() < SOON, "never asked");
        thread::yield_now();
    }
    assert_eq!(asked(), 2, "asked once each");
}

#[test]
fn floods_and_nonsense_are_no_answers() {
    let room = Room::new();
    let long_body = ok("text/plain", &"x".repeat(1_000_000));
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(200_000));
    for answer in [
        long_body.as_str(),
        &endless_head,
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "",
        &ok("application/json", "{\"a\":"),
        &ok("text/html", "<html><body>Welcome to nginx!</body></html>"),
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    ] {
        let service = Service::saying(answer);
        let (outcome, told) = room.ask(&service.tool(|_| {}));
        let shown = &answer[..answer.len().min(60)];
        assert_eq!(outcome, ToolOutcome::Failed, "{shown}");
        assert!(told["error"].is_string() && !told.to_string().contains("nginx"), "{told}");
        assert_eq!(service.requests().len(), 1, "asked again: {shown}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Service::saying(&ok("text/plain", "gotcha"));
    let room = Room::new();
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let (port, length) = (elsewhere.port, "Content-Length: 0");
        let service = Service::saying(&format!(
            "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{port}/\r\n{length}\r\n\r\n"
        ));
        assert_eq!(room.ask(&service.tool(|_| {})).0, ToolOutcome::Failed, "{status}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_service_that_breaks_off_is_asked_again_only_if_that_is_safe_and_with_the_same_key() {
    let room = Room::new();
    let service = Service::new(drop);
    assert_eq!(room.ask(&service.tool(|_| {})).0, ToolOutcome::Failed);
    assert_eq!(service.requests().len(), 1);
    let service = Service::new(drop);
    let outcome = room.ask(&service.tool(|webhook| webhook.idempotent = true)).0;
    let requests = service.requests();
    let keys: Vec<_> = requests.iter().filter_map(|r| header(r, "idempotency-key")).collect();
    assert_eq!((outcome, keys), (ToolOutcome::Failed, vec!["key-1"; 3]));
}

#[test]
fn a_request_made_again_is_the_same_and_signed_anew() {
    let asked = AtomicU32::new(0);
    let service = Service::new(move |mut socket| {
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            let _ = socket.write_all(ok("text/plain", "yes").as_bytes());
            return;
        }
        // Breaks off when the clock shows another second.
        let second = unix_seconds();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        while unix_seconds() == second {
            let _ = socket.read(&mut [0]);
        }
    });
    let secret = Secret::new("a secret of the two of us".into());
    let tool = service.tool(|webhook| {
        (webhook.secret, webhook.idempotent) = (Some(secret.clone()), true);
    });
    assert_eq!(Room::new().ask(&tool).0, ToolOutcome::Done);
    let requests = service.requests();
    let [first, second] = &requests[..] else { panic!("{requests:?}") };
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(first), body(second));
    assert!(signed_at(first, &secret) < signed_at(second, &secret));
}

#[test]
fn a_service_that_took_a_request_and_went_may_have_done_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = Service { port: listener.local_addr().unwrap().port(), heard: Arc::default() };
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        drop(listener);
        read_request(&mut socket)
    });
    let (outcome, told) = Room::new().ask(&service.tool(|webhook| webhook.idempotent = true));
    assert!(serving.join().unwrap().contains("key-1"), "it was heard");
    assert_eq!(outcome, ToolOutcome::Failed);
    assert!(told["error"].as_str().unwrap().contains("not known"), "{told}");
}

#[test]
fn nobody_there_and_an_address_that_may_not_be_asked_leave_nothing_done() {
    let room = Room::new();
    // Bound, so that nobody else can listen there meanwhile.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = bound.local_addr().unwrap().as_socket().unwrap().port();
    let nobody = Service { port, heard: Arc::default() };
    let (outcome, told) = room.ask(&nobody.tool(|_| {}));
    assert_eq!(outcome, ToolOutcome::Unreachable);
    assert!(told["error"].as_str().unwrap().contains("nothing was done"));

    // As if a public name stood for this machine.
    let inside = Service::saying(&ok("text/plain", "inside"));
    let posing = |webhook: &mut Webhook| webhook.url.is_loopback = false;
    assert_eq!(room.ask(&inside.tool(posing)).0, ToolOutcome::Unreachable);
    assert!(inside.requests().is_empty());
    let allowed = |webhook: &mut Webhook| {
        webhook.url.is_loopback = false;
        webhook.allow_private = true;
    };
    assert_eq!(room.ask(&inside.tool(allowed)).0, ToolOutcome::Done);
    for private in ["https://10.0.0.1/", "https://169.254.169.254/latest", "https://[fd00::1]/"] {
        let url = WebhookUrl::parse(private).unwrap();
        assert_eq!(room.ask(&inside.tool(|webhook| webhook.url = url)).0, ToolOutcome::Unreachable);
    }
}

#[test]
fn what_is_no_tls_is_a_fault_of_the_service() {
    let room = Room::new();
    let plain = Service::saying("HTTP/1.1 400 Bad Request\r\n\r\n");
    let url = WebhookUrl::parse(&format!("https://localhost:{}/", plain.port)).unwrap();
    let tool = plain.tool(|webhook| {
        webhook.url = url;
        webhook.timeout = Duration::from_secs(5);
    });
    let outcome = room.ask(&tool).0;
    let is_fault =
        matches!(outcome, ToolOutcome::Failed | ToolOutcome::TimedOut | ToolOutcome::Unreachable);
    assert!(is_fault, "{outcome:?}");
}

#[test]
fn arguments_that_do_not_fit_never_reach_the_service() {
    let service = Service::saying(&ok("text/plain", "yes"));
    let (room, tool) = (Room::new(), service.tool(|_| {}));
    for wrong in [r#"{"at":5}"#, r#"{"at":null}"#, r#"{"at":{}}"#, "[]", "nonsense"] {
        room.order(1, &tool, wrong);
        assert_eq!(room.reply().1.outcome, ToolOutcome::BadArguments, "{wrong}");
    }
    assert!(service.requests().is_empty());
    for fine in [r#"{"at":"\u0000'; DROP TABLE x; --\u202e"}"#, "{}"] {
        room.order(1, &tool, fine);
        assert_eq!(room.reply().1.outcome, ToolOutcome::Done, "{fine}");
    }
}

#[test]
fn a_refusal_of_the_service_reaches_the_model_with_its_reason() {
    let room = Room::new();
    let body = r#"{"reason":"no cars on Sundays"}"#;
    let length = body.len();
    let service = Service::saying(&format!(
        "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
         {body}"
    ));
    let (outcome, told) = room.ask(&service.tool(|_| {}));
    assert_eq!(outcome, ToolOutcome::Refused);
    assert_eq!(told["details"]["reason"], "no cars on Sundays");
}
