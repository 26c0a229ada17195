//! A plain relay for testing the instrument: a thread a call, tungstenite on both sides, the
//! portable kernels in between. It is faithful, or errs in one way that must be noticed.

pub(crate) mod nobody;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// In which way the relay errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// This frame of the caller is lost, counted from one.
    LosesFrame(u32),
    /// This message of the model's audio is played twice, counted from one.
    DoublesChunk(u32),
    /// Silence is added within a turn.
    AddsSilence,
    /// Marks carry a field too many.
    ExtraField,
    /// An interruption is not passed on.
    NoClear,
    /// The stream is closed after the tenth frame.
    ClosesEarly,
    /// None, but it interpolates between samples and takes the mean of three.
    OtherFilters,
}

/// Starts a relay that dials the plain stand-in at `model`, and returns where it listens.
pub(crate) fn start(model: String, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let model = model.clone();
            std::thread::spawn(move || serve(stream.unwrap(), address, &model, fault));
        }
    });
    address
}

fn serve(mut stream: TcpStream, address: SocketAddr, model: &str, fault: Fault) {
    stream.set_nodelay(true).unwrap();
    let mut first = [0; 4];
    stream.peek(&mut first).unwrap();
    if first.starts_with(b"POST") {
        return answer(&mut stream, address);
    }
    let phone = tungstenite::accept(stream).unwrap();
    phone.get_ref().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    Call::new(phone, connect(model), fault).run();
}

fn answer(stream: &mut TcpStream, address: SocketAddr) {
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("CallSid=") {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(len @ 1..) => request.extend_from_slice(&piece[..len]),
            _ => return,
        }
    }
    let after = request.starts_with(b"POST /after");
    let body = if after {
        "<Response><Hangup/></Response>".to_string()
    } else {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="/after">
            <Stream url="ws://{address}/media"><Parameter name="source" value="twilio"/></Stream>
            </Connect></Response>"#
        )
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

fn connect(model: &str) -> Option<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(model.trim_start_matches("ws://")).unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("{model}{}", loadtest::gemini::server::PATH);
    let request = tungstenite::ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("x-goog-api-key", "stand-in-key");
    let (socket, _) = tungstenite::client(request, stream).ok()?;
    socket.get_ref().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    Some(socket)
}

struct Call {
    phone: WebSocket<TcpStream>,
    model: Option<WebSocket<TcpStream>>,
    fault: Fault,
    kernels: Kernels,
    up: Resampler,
    down: Resampler,
    /// The sample before, of a relay that interpolates.
    last_8k: i16,
    stream_sid: String,
    /// Mu-law that does not fill a frame yet.
    rest: Vec<u8>,
    /// Where the caller's audio must go on, in milliseconds.
    next_ms: Option<f64>,
    ready: bool,
    /// Frames that came before the model was ready.
    early: Vec<Value>,
    frames: u32,
    chunks: u32,
}

impl Call {
    fn new(phone: WebSocket<TcpStream>, model: Option<WebSocket<TcpStream>>, fault: Fault) -> Call {
        Call {
            phone,
            model,
            fault,
            kernels: Kernels::detect(Isa::Scalar),
            up: Resampler::new(Conversion::Up8To16, FilterSet::LinearPhase),
            down: Resampler::new(Conversion::Down24To8, FilterSet::LinearPhase),
            last_8k: 0,
            stream_sid: String::new(),
            rest: Vec::new(),
            next_ms: None,
            ready: false,
            early: Vec::new(),
            frames: 0,
            chunks: 0,
        }
    }

    fn run(mut self) {
        let Some(mut model) = self.model.take() else {
            let _ = self.phone.close(Some(tungstenite::protocol::CloseFrame {
                code: 1011.into(),
                reason: "no model".into(),
            }));
            while self.phone.read().is_ok() {}
            return;
        };
        let setup = json!({ "setup": {
            "model": "models/gemini-3.8-live",
            "generationConfig": { "responseModalities": ["AUDIO"] },
            "sessionResumption": {},
        }});
        model.send(Message::text(setup.to_string())).unwrap();
        loop {
            match self.phone.read() {
                Ok(Message::Text(text)) => {
                    let message = serde_json::from_str(&text).unwrap();
                    if !self.phone_says(message, &mut model) {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
            match model.read() {
                Ok(Message::Text(text)) => self.model_says(text.as_bytes(), &mut model),
                Ok(Message::Binary(bytes)) => self.model_says(&bytes, &mut model),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
        }
        let _ = model.close(None);
        let _ = self.phone.close(None);
        // Both closing handshakes run to their end, or to the end of the peer.
        finish(&mut self.phone);
        finish(&mut model);
    }

    /// False once the call is over.
    fn phone_says(&mut self, message: Value, model: &mut WebSocket<TcpStream>) -> bool {
        match message["event"].as_str().unwrap() {
            "start" => {
                self.stream_sid = message["streamSid"].as_str().unwrap().to_string();
                self.greet(model);
            }
            "media" if !self.ready => self.early.push(message),
            "media" => return self.media(&message, model),
            "stop" => return false,
            _ => {}
        }
        true
    }

    fn media(&mut self, message: &Value, model: &mut WebSocket<TcpStream>) -> bool {
        self.frames += 1;
        match self.fault {
            Fault::LosesFrame(nth) if self.frames == nth => return true,
            Fault::ClosesEarly if self.frames == 10 => return false,
            _ => {}
        }
        let media = &message["media"];
        let at: f64 = media["timestamp"].as_str().unwrap().parse().unwrap();
        let code = STANDARD.decode(media["payload"].as_str().unwrap()).unwrap();
        let missing = at - self.next_ms.unwrap_or(at);
        if missing > 20.0 {
            let bytes = (missing * 8.0).round() as usize;
            self.pass_on(&vec![0xFF; bytes], model);
        }
        self.next_ms = Some(at + code.len() as f64 / 8.0);
        self.pass_on(&code, model);
        true
    }

    fn pass_on(&mut self, code: &[u8], model: &mut WebSocket<TcpStream>) {
        let mut pcm_8k = vec![0; code.len()];
        self.kernels.mulaw_decode(code, &mut pcm_8k);
        let mut pcm_16k = vec![0; self.up.output_len(pcm_8k.len())];
        self.up.process(&self.kernels, &pcm_8k, &mut pcm_16k);
        if self.fault == Fault::OtherFilters {
            for (pair, &sample) in pcm_16k.chunks_mut(2).zip(&pcm_8k) {
                pair[0] = self.last_8k.midpoint(sample);
                pair[1] = sample;
                self.last_8k = sample;
            }
        }
        let bytes: Vec<u8> = pcm_16k.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let audio = json!({ "mimeType": "audio/pcm;rate=16000", "data": STANDARD.encode(bytes) });
        let text = json!({ "realtimeInput": { "audio": audio } }).to_string();
        let _ = model.send(Message::text(text));
    }

    /// Has the model greet the caller once both are there, whoever came first.
    fn greet(&mut self, model: &mut WebSocket<TcpStream>) {
        if !self.ready || self.stream_sid.is_empty() {
            return;
        }
        let content = json!({ "clientContent": { "turns": [], "turnComplete": true } });
        model.send(Message::text(content.to_string())).unwrap();
        for early in std::mem::take(&mut self.early) {
            self.media(&early, model);
        }
    }

    fn model_says(&mut self, bytes: &[u8], model: &mut WebSocket<TcpStream>) {
        let message: Value = serde_json::from_slice(bytes).unwrap();
        if message.get("setupComplete").is_some() {
            self.ready = true;
            self.greet(model);
        }
        let content = &message["serverContent"];
        if content["interrupted"] == true {
            self.rest.clear();
            self.down.reset();
            if self.fault != Fault::NoClear {
                self.say(json!({ "event": "clear", "streamSid": self.stream_sid }));
            }
            return;
        }
        let parts = content["modelTurn"]["parts"].as_array();
        for part in parts.into_iter().flatten() {
            let data = STANDARD.decode(part["inlineData"]["data"].as_str().unwrap()).unwrap();
            self.hear(&data);
        }
        if content["generationComplete"] == true {
            let len = self.rest.len().next_multiple_of(160);
            self.rest.resize(len, 0xFF);
            self.play();
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.chunks += 1;
        let (samples, _) = bytes.as_chunks::<2>();
        let pcm: Vec<i16> = samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect();
        let mut pcm_8k = vec![0; self.down.output_len(pcm.len())];
        self.down.process(&self.kernels, &pcm, &mut pcm_8k);
        if self.fault == Fault::OtherFilters {
            for (three, sample) in pcm.chunks_exact(3).zip(&mut pcm_8k) {
                *sample = (three.iter().map(|&it| i32::from(it)).sum::<i32>() / 3) as i16;
            }
        }
        let mut code = vec![0; pcm_8k.len()];
        self.kernels.mulaw_encode(&pcm_8k, &mut code);
        self.rest.extend_from_slice(&code);
        match self.fault {
            Fault::DoublesChunk(nth) if self.chunks == nth => self.rest.extend_from_slice(&code),
            Fault::AddsSilence if self.chunks == 5 => self.rest.extend_from_slice(&[0xFF; 160]),
            _ => {}
        }
        self.play();
    }

    /// Whole frames leave, and a mark behind them.
    fn play(&mut self) {
        let whole = self.rest.len() / 160 * 160;
        if whole == 0 {
            return;
        }
        let payload = STANDARD.encode(self.rest.drain(..whole).collect::<Vec<u8>>());
        let sid = self.stream_sid.clone();
        self.say(json!({ "event": "media", "streamSid": sid, "media": { "payload": payload } }));
        let mut mark = json!({ "event": "mark", "streamSid": sid, "mark": { "name": "g1:20" } });
        if self.fault == Fault::ExtraField {
            mark["sequenceNumber"] = json!("7");
        }
        self.say(mark);
    }

    fn say(&mut self, message: Value) {
        let _ = self.phone.send(Message::text(message.to_string()));
    }
}

fn is_timeout(error: &Error) -> bool {
    matches!(error, Error::Io(error)
    if matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    ))
}

fn finish(socket: &mut WebSocket<TcpStream>) {
    // A peer that never answers would otherwise keep the thread.
    for _ in 0..1000 {
        match socket.read() {
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => return,
        }
    }
}
