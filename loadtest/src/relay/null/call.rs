//! One connection of a caller at the floor, and the line to the model behind it.
//!
//! In:       readiness of either socket.
//! Out:      bytes on the other; [`Fate::Over`] once both are to be closed.
//! Bounds:   [`EARLY_MAX`] frames wait for a model that is not ready, [`UNSENT_BYTES_MAX`] bytes
//!           for a socket that takes none: beyond either the call ends.
//! Not here: what the bytes are (`relay::null::wire`).

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

use super::Shared;
use super::wire::{self, Frame, HEAD_BYTES_MAX, Request, Said};
use crate::gemini::entrance::PATH;
use crate::net::http::Exchange;
use crate::net::reactor::Reactor;
use crate::net::stream::Stream;

/// Frames of a caller that wait until the model is ready: 20 s.
pub(super) const EARLY_MAX: usize = 1_000;

/// Bytes that wait for a socket.
pub(super) const UNSENT_BYTES_MAX: usize = 1 << 20;

/// A socket of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The caller's.
    Phone,
    /// The model's.
    Model,
}

impl Side {
    /// The phone's is the even one.
    pub(super) fn of(number: usize) -> Side {
        if number == 0 { Side::Phone } else { Side::Model }
    }
}

/// Whether a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does.
    On,
    /// It is over: drop it.
    Over,
}

/// One socket, and what could not be done with it yet.
struct Leg {
    stream: Stream,
    /// The beginning of a frame or head whose rest has not come.
    rest: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

/// How far a call has come.
enum Stage {
    /// No whole request yet.
    Asked,
    /// The answer was given; nothing more is read.
    Answered,
    /// The upgrade is done; the caller has not said its names.
    Greeted,
    /// The line to the model is being made.
    Dialling { exchange: Exchange, setup: Vec<u8> },
    /// The setup was sent.
    SettingUp,
    /// Both are there.
    Joined,
    /// The caller has gone; the model's goodbye is to come.
    Leaving,
}

/// A call, or a webhook.
pub(super) struct Call {
    phone: Leg,
    model: Option<Leg>,
    /// What the model's socket is registered as.
    model_index: usize,
    stage: Stage,
    stream_sid: String,
    /// Frames that came before the model was ready.
    early: usize,
    /// The message that stands for every frame of the caller.
    uplink: Vec<u8>,
    /// The message that stands for audio of so many bytes, made when that size first came.
    downlink: (usize, Vec<u8>),
}

impl Call {
    /// A connection that has said nothing.
    pub(super) fn new(stream: Stream, model_index: usize) -> Call {
        Call {
            phone: Leg::new(stream),
            model: None,
            model_index,
            stage: Stage::Asked,
            stream_sid: String::new(),
            early: 0,
            uplink: Vec::new(),
            downlink: (0, Vec::new()),
        }
    }

    /// A socket is ready.
    pub(super) fn handle_ready(
        &mut self,
        side: Side,
        ending: bool,
        shared: &Shared,
        reactor: &Reactor,
        scratch: &mut [u8],
    ) -> Fate {
        let done = match side {
            Side::Phone => self.phone_ready(ending, shared, reactor, scratch),
            Side::Model => self.model_ready(ending, scratch),
        };
        // Whatever went wrong, or right: there is nothing left to do for this call.
        done.unwrap_or(Fate::Over)
    }

    fn phone_ready(
        &mut self,
        ending: bool,
        shared: &Shared,
        reactor: &Reactor,
        scratch: &mut [u8],
    ) -> io::Result<Fate> {
        self.phone.stream.wake(ending);
        self.phone.flush()?;
        while let Some(mut have) = self.phone.read(scratch)? {
            if have == 0 {
                return self.leave();
            }
            let mut at = 0;
            if matches!(self.stage, Stage::Asked) {
                match wire::request(&scratch[..have]) {
                    None if have > HEAD_BYTES_MAX => return Ok(Fate::Over),
                    None => {}
                    Some(Request::Webhook { from }) => {
                        self.phone.write(&twiml(&shared.stream_url, &from))?;
                        self.phone.stream.shutdown();
                        self.stage = Stage::Answered;
                    }
                    Some(Request::Upgrade { key, behind }) => {
                        self.phone.write(&accepted(&key))?;
                        self.stage = Stage::Greeted;
                        at = behind;
                    }
                }
            }
            if matches!(self.stage, Stage::Asked | Stage::Answered) {
                have = if matches!(self.stage, Stage::Answered) { 0 } else { have };
                self.phone.keep(&scratch[..have])?;
                continue;
            }
            while let Some(frame) = wire::frame(&scratch[at..have]) {
                let bytes = &scratch[at..at + frame.to];
                at += frame.to;
                if self.handle_phone(bytes, frame, shared, reactor)? == Fate::Over {
                    return Ok(Fate::Over);
                }
            }
            self.phone.keep(&scratch[at..have])?;
        }
        Ok(Fate::On)
    }

    fn handle_phone(
        &mut self,
        bytes: &[u8],
        frame: Frame,
        shared: &Shared,
        reactor: &Reactor,
    ) -> io::Result<Fate> {
        match (wire::said(bytes, frame), &self.stage, &mut self.model) {
            (_, Stage::Leaving, _) => {}
            (Said::Media, Stage::Joined, Some(model)) => model.write(&self.uplink)?,
            (Said::Media, ..) if self.early < EARLY_MAX => self.early += 1,
            (Said::Media, ..) => return Ok(Fate::Over),
            (Said::Start, Stage::Greeted, _) => {
                let start: Value = serde_json::from_slice(&wire::unmasked(bytes, frame))?;
                self.dial(&start["start"], shared, reactor)?;
            }
            _ if frame.opcode == 8 => {
                self.phone.write(&wire::goodbye(false))?;
                self.phone.stream.shutdown();
                return self.leave();
            }
            _ => {}
        }
        Ok(Fate::On)
    }

    /// The caller has gone: says goodbye to the model, if it is there, and waits for its own.
    fn leave(&mut self) -> io::Result<Fate> {
        let Some(model) = &mut self.model else { return Ok(Fate::Over) };
        match self.stage {
            Stage::Leaving => {}
            Stage::Joined => model.write(&wire::goodbye(true))?,
            _ => return Ok(Fate::Over),
        }
        self.stage = Stage::Leaving;
        Ok(Fate::On)
    }

    /// Makes the line to the model.
    fn dial(&mut self, start: &Value, shared: &Shared, reactor: &Reactor) -> io::Result<()> {
        self.stream_sid = start["streamSid"].as_str().unwrap_or_default().to_string();
        self.uplink = wire::uplink_frame();
        let from = start["customParameters"]["from"].as_str().unwrap_or_default();
        let socket = TcpStream::connect(shared.model)?;
        // As for the phone's.
        let _ = socket.set_nodelay(true);
        let mut stream = match &shared.tls {
            None => Stream::plain(socket),
            Some(config) => {
                let authority = &shared.authority;
                let host = authority.rsplit_once(':').map_or(&**authority, |(host, _)| host);
                let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
                let tls = ClientConnection::new(Arc::clone(config), name);
                Stream::tls_client(socket, tls.map_err(io::Error::other)?)
            }
        };
        reactor.register(&mut stream, self.model_index)?;
        self.model = Some(Leg::new(stream));
        let exchange = Exchange::new(upgrade(shared));
        self.stage = Stage::Dialling { exchange, setup: setup(&shared.model_name, from) };
        Ok(())
    }

    fn model_ready(&mut self, ending: bool, scratch: &mut [u8]) -> io::Result<Fate> {
        let Some(model) = &mut self.model else { return Ok(Fate::On) };
        model.stream.wake(ending);
        if let Stage::Dialling { exchange, setup } = &mut self.stage {
            let answer = exchange.poll(&mut model.stream);
            let Some(answer) = answer.map_err(|_| io::ErrorKind::InvalidData)? else {
                return Ok(Fate::On);
            };
            if answer.status != 101 {
                return Ok(Fate::Over);
            }
            model.write(setup)?;
            model.rest = answer.body;
            self.stage = Stage::SettingUp;
        }
        model.flush()?;
        while let Some(have) = self.model.as_mut().map_or(Ok(None), |leg| leg.read(scratch))? {
            if have == 0 {
                return Ok(Fate::Over);
            }
            let mut at = 0;
            while let Some(frame) = wire::frame(&scratch[at..have]) {
                let bytes = &scratch[at..at + frame.to];
                at += frame.to;
                if self.handle_model(bytes, frame)? == Fate::Over {
                    return Ok(Fate::Over);
                }
            }
            if let Some(model) = &mut self.model {
                model.keep(&scratch[at..have])?;
            }
        }
        Ok(Fate::On)
    }

    fn handle_model(&mut self, bytes: &[u8], frame: Frame) -> io::Result<Fate> {
        let payload = &bytes[frame.from..frame.to];
        let Some(model) = &mut self.model else { return Ok(Fate::On) };
        match (frame.opcode, wire::audio_in(payload)) {
            (8, _) if matches!(self.stage, Stage::Leaving) => return Ok(Fate::Over),
            _ if matches!(self.stage, Stage::Leaving) => {}
            (1 | 2, Some(size)) => {
                if self.downlink.0 != size {
                    self.downlink = (size, wire::downlink_frame(&self.stream_sid, size));
                }
                self.phone.write(&self.downlink.1)?;
            }
            (1 | 2, None) if matches!(self.stage, Stage::SettingUp) => {
                // The first message is `setupComplete`, or the connection ends.
                self.stage = Stage::Joined;
                let mut first = greeting();
                for _ in 0..std::mem::take(&mut self.early) {
                    first.extend_from_slice(&self.uplink);
                }
                model.write(&first)?;
            }
            (8, _) => {
                model.write(&wire::goodbye(true))?;
                model.stream.shutdown();
                self.phone.write(&wire::goodbye(false))?;
                self.phone.stream.shutdown();
                return Ok(Fate::Over);
            }
            (9, _) => model.write(&wire::framed(10, payload, true))?,
            _ => {}
        }
        Ok(Fate::On)
    }
}

impl Leg {
    fn new(stream: Stream) -> Leg {
        Leg { stream, rest: Vec::new(), unsent: Vec::new() }
    }

    /// Reads once behind what was kept. How much there is now in `scratch`; 0 at the end of the
    /// stream; `None` if nothing more has come.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        let kept = self.rest.len();
        let Some(room) = scratch.get_mut(kept..).filter(|room| !room.is_empty()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match self.stream.read(room) {
            Ok(0) => Ok(Some(0)),
            Ok(taken) => {
                scratch[..kept].copy_from_slice(&self.rest);
                self.rest.clear();
                Ok(Some(kept + taken))
            }
            Err(error) if not_yet(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps what belongs to no whole frame.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes at once what the socket takes, and keeps the rest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while self.unsent.is_empty() && sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => sent += taken,
                Err(error) if not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        match self.unsent.len() {
            ..UNSENT_BYTES_MAX => Ok(()),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Offers again what the socket did not take.
    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.write(&unsent)?;
        }
        match self.stream.flush() {
            Err(error) if !not_yet(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// `NotConnected`: a TCP connect that is still under way.
fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// The answer of the webhook.
fn twiml(stream_url: &str, from: &str) -> Vec<u8> {
    let from = from.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect><Stream url=\"{stream_url}\">\
         <Parameter name=\"from\" value=\"{from}\"/></Stream></Connect></Response>"
    );
    let len = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The answer of an upgrade.
fn accepted(key: &str) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// The request of an upgrade by the model. Its key is a constant: nobody caches this.
fn upgrade(shared: &Shared) -> Vec<u8> {
    let Shared { authority, api_key, .. } = shared;
    format!(
        "GET {PATH} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         x-goog-api-key: {api_key}\r\n\r\n"
    )
    .into_bytes()
}

/// The setup. It names the caller, by which the load test knows whose session this is.
fn setup(model: &str, from: &str) -> Vec<u8> {
    let setup = json!({ "setup": {
        "model": model,
        "generationConfig": { "responseModalities": ["AUDIO"] },
        "systemInstruction": { "parts": [{ "text": format!("The caller is {from}.") }] },
        "sessionResumption": {},
    } });
    wire::framed(1, setup.to_string().as_bytes(), true)
}

/// Asks the model to speak first.
fn greeting() -> Vec<u8> {
    let greeting = json!({ "clientContent": {
        "turns": [{ "role": "user", "parts": [{ "text": "Greet the caller." }] }],
        "turnComplete": true,
    } });
    wire::framed(1, greeting.to_string().as_bytes(), true)
}
