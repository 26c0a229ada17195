//! A carrier's caller over TLS, through tungstenite: webhook, redirect, stream, a key, the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};
use vocaris::wire::base64;

use crate::front::{ENTRY, trusting};
use crate::relay::AUTH_TOKEN;

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// One frame.
const PTIME: Duration = Duration::from_millis(20);

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Waits for what another process does on its own.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to pass that {what}");
        std::thread::yield_now();
    }
}

/// Whoever asks the proxy.
#[derive(Clone)]
pub(crate) struct Caller {
    front: SocketAddr,
    tls: Arc<ClientConfig>,
    /// The address asked from.
    from: Ipv4Addr,
}

impl Caller {
    pub(crate) fn new(front: SocketAddr, certificate: CertificateDer<'static>) -> Caller {
        Caller { front, tls: trusting(certificate), from: Ipv4Addr::new(127, 0, 0, 2) }
    }

    /// The same from another address of this machine.
    pub(crate) fn at(&self, from: &str) -> Caller {
        Caller { from: from.parse().unwrap(), ..self.clone() }
    }

    pub(crate) fn can_connect(&self) -> bool {
        TcpStream::connect(self.front).is_ok()
    }

    fn connect(&self, host: &str) -> Tls {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((self.from, 0)).into()).unwrap();
        socket.connect(&self.front.into()).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(self.tls.clone(), name).unwrap(), socket)
    }

    fn ask(&self, host: &str, request: &str) -> String {
        let mut stream = self.connect(host);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Some close without a word of TLS.
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => panic!("{host}: {error}"),
            _ => String::from_utf8(answer).unwrap(),
        }
    }

    /// `fields`: more header lines, each with its line end.
    pub(crate) fn get(&self, host: &str, target: &str, fields: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        self.ask(host, &format!("{head}{fields}\r\n"))
    }

    /// A signed webhook of this call. Returns the TwiML.
    pub(crate) fn post(&self, host: &str, path: &str, call_sid: &str) -> String {
        let signed = format!("https://{host}{path}CallSid{call_sid}From+18005550199");
        let form = format!("CallSid={call_sid}&From=%2B18005550199");
        let answer = self.ask(
            host,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
                 X-Twilio-Signature: {}\r\nContent-Length: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
                signature(&signed),
                form.len()
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("content-type: text/xml"), "{answer}");
        let document = answer.find("<Response").zip(answer.find("</Response>"));
        let (from, to) = document.unwrap_or_else(|| panic!("no TwiML: {answer}"));
        answer[from..to].to_owned()
    }

    /// The host that the entry leads to now.
    pub(crate) fn host(&self, call_sid: &str) -> String {
        let twiml = self.post(ENTRY, "/twilio/incoming", call_sid);
        let url = between(&twiml, "<Redirect method=\"POST\">", "</Redirect>");
        between(url, "https://", "/twilio/incoming").to_owned()
    }

    /// Opens the stream of a call that `host` has answered.
    pub(crate) fn stream(&self, host: &str, call_sid: &str) -> Phone {
        let twiml = self.post(host, "/twilio/incoming", call_sid);
        let url = between(&twiml, "<Stream url=\"", "\"");
        assert_eq!(url, format!("wss://{host}/twilio/media"));
        let token = between(&twiml, "<Parameter name=\"token\" value=\"", "\"").to_owned();
        let mut request = url.into_client_request().unwrap();
        let signed = HeaderValue::from_str(&signature(url)).unwrap();
        request.headers_mut().insert("X-Twilio-Signature", signed);
        let (socket, _) = tungstenite::client(request, self.connect(host)).unwrap();
        let mut phone = Phone { socket, next_frame: Instant::now(), frames: 0, media: 0 };
        phone.say(json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" }));
        phone.say(json!({
            "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
            "start": {
                "streamSid": "MZ1", "callSid": call_sid, "tracks": ["inbound"],
                "customParameters": { "source": "twilio", "token": token },
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 }
            }
        }));
        phone
    }
}

/// A carrier's end of a stream: a frame every 20 ms, each mark returned at once.
pub(crate) struct Phone {
    socket: WebSocket<Tls>,
    next_frame: Instant,
    /// Sent so far.
    pub(crate) frames: u64,
    /// Messages of audio heard so far.
    pub(crate) media: u64,
}

impl Phone {
    fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn press(&mut self, digit: char) {
        let digit = digit.to_string();
        let dtmf = json!({ "track": "inbound_track", "digit": digit });
        self.say(json!({ "event": "dtmf", "streamSid": "MZ1", "dtmf": dtmf }));
    }

    /// Talks and listens until `enough`, or until the stream is closed: then its code, or 1006
    /// where it broke off without a word.
    pub(crate) fn talk(&mut self, mut enough: impl FnMut(&Phone) -> bool) -> Option<u16> {
        let start = Instant::now();
        let silence = base64_of(&[0xff; 160]);
        while !enough(self) {
            assert!(start.elapsed() < PATIENCE, "after {} messages of audio", self.media);
            let wait = self.next_frame.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                let media = json!({ "track": "inbound", "payload": silence });
                let frame = json!({ "event": "media", "streamSid": "MZ1", "media": media });
                if self.socket.send(Message::text(frame.to_string())).is_err() {
                    return Some(1006);
                }
                self.frames += 1;
                self.next_frame += PTIME;
                continue;
            }
            self.socket.get_ref().sock.set_read_timeout(Some(wait)).unwrap();
            match self.socket.read() {
                Ok(Message::Text(text)) => self.hear(text.as_str()),
                Ok(Message::Close(close)) => {
                    return Some(close.map_or(1005, |close| close.code.into()));
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Some(1006),
            }
        }
        None
    }

    fn hear(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        match message["event"].as_str() {
            Some("media") => self.media += 1,
            Some("mark") => self.say(message),
            _ => {}
        }
    }
}

/// What stands between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {rest}")).0
}

/// The carrier's signature of a text.
fn signature(signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, AUTH_TOKEN.as_bytes());
    base64_of(hmac::sign(&key, signed.as_bytes()).as_ref())
}

fn base64_of(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode_append(bytes, &mut text);
    String::from_utf8(text).unwrap()
}
