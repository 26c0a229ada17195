//! Whole calls in every carrier's dialect through a running relay: the webhook's answer leads to
//! the stream, its token lets in, and audio is heard. The carriers here were written from
//! documentation.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};
use vocaris::config::Carrier;
use vocaris::wire::{base64, markup};

const OTHERS: [Carrier; 6] = [
    Carrier::SignalWire,
    Carrier::Telnyx,
    Carrier::Plivo,
    Carrier::Exotel,
    Carrier::Vonage,
    Carrier::Jambonz,
];

/// A relay whose model is the embedded agent, which greets.
struct Relay {
    child: Child,
    address: String,
}

impl Relay {
    fn start() -> Relay {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vocaris"));
        command.env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0");
        command.env("VOCARIS_SERVER_WORKERS", "1").env("VOCARIS_SERVER_PIN", "false");
        // However late the machine makes it, nobody is turned away for that.
        command.env("VOCARIS_LIMITS_MAX_LATENESS", "0s");
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        Relay { child, address }
    }

    /// The body of the answer to one request.
    fn ask(&self, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!("{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let kind = if body.starts_with('{') { "json" } else { "x-www-form-urlencoded" };
        let fields = format!("Content-Type: application/{kind}\r\nContent-Length: {length}\r\n");
        socket.write_all(format!("{head}{fields}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }

    /// The webhook of one call.
    fn webhook(&self, carrier: Carrier, call: &str) -> String {
        let path = format!("/{}/incoming", carrier.label());
        let from_to = "From=%2B18005550199&To=%2B18005550100";
        match carrier {
            Carrier::Exotel => self.ask(&format!("GET {path}?CallSid={call}&{from_to}"), ""),
            Carrier::Vonage => self.ask(&format!("GET {path}?uuid={call}&from=1&to=2"), ""),
            Carrier::Jambonz => {
                let body = json!({"call_sid": call, "from": "1", "to": "2"}).to_string();
                self.ask(&format!("POST {path}"), &body)
            }
            Carrier::Plivo => {
                self.ask(&format!("POST {path}"), &format!("CallUUID={call}&{from_to}"))
            }
            _ => self.ask(&format!("POST {path}"), &format!("CallSid={call}&{from_to}")),
        }
    }

    fn stream(&self, carrier: Carrier, url: &str) -> WebSocket<TcpStream> {
        let mut request = url.into_client_request().unwrap();
        if carrier == Carrier::Jambonz {
            let protocol = "audio.jambonz.org".parse().unwrap();
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        }
        let socket = TcpStream::connect(&self.address).unwrap();
        let (stream, response) = tungstenite::client(request, socket).unwrap();
        let got = response.headers().get("Sec-WebSocket-Protocol").is_some();
        assert_eq!(got, carrier == Carrier::Jambonz);
        stream
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of an attribute of the first element that has it, its escapes resolved.
fn attribute(xml: &str, name: &str) -> String {
    let value = xml.split(&format!(" {name}=\"")).nth(1).unwrap_or_else(|| panic!("{name}: {xml}"));
    value.split('"').next().unwrap().replace("&amp;", "&")
}

/// Every `<Parameter>`.
fn parameters(xml: &str) -> Value {
    let pairs = xml
        .split("<Parameter")
        .skip(1)
        .map(|element| (attribute(element, "name"), Value::from(attribute(element, "value"))));
    Value::Object(pairs.collect())
}

/// Where the answer leads, and what the stream says first.
fn begun(carrier: Carrier, call: &str, answer: &str) -> (String, Vec<Value>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let json = || serde_json::from_str::<Value>(answer).unwrap();
    match carrier {
        Carrier::Twilio | Carrier::SignalWire => (
            attribute(answer, "url"),
            vec![
                json!({"event": "connected", "protocol": "Call", "version": "0.2.0"}),
                json!({"event": "start", "sequenceNumber": "1", "start": {
                    "streamSid": "s1", "callSid": call, "tracks": ["inbound"],
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                    "customParameters": parameters(answer)}}),
            ],
        ),
        Carrier::Telnyx => (
            attribute(answer, "url"),
            vec![
                json!({"event": "connected", "version": "1.0.0"}),
                // The stream knows its call by another name than the webhook did.
                json!({"event": "start", "stream_id": "s1", "start": {
                    "call_control_id": "v3:other", "from": "+1", "to": "+2",
                    "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
                    "custom_parameters": parameters(answer)}}),
            ],
        ),
        Carrier::Plivo => {
            let url = answer.split('>').find_map(|part| part.strip_suffix("</Stream")).unwrap();
            let headers = attribute(answer, "extraHeaders").replace(',', ";");
            assert!(
                markup::from_hex(
                    headers.split("token=").nth(1).unwrap_or("").split(';').next().unwrap()
                )
                .is_some()
            );
            let start = json!({"event": "start", "sequenceNumber": 1, "extra_headers": headers,
                "start": {"callId": call, "streamId": "s1", "accountId": "MA1",
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}}});
            (url.to_owned(), vec![start])
        }
        Carrier::Exotel => (
            text(&json()["url"]),
            vec![
                json!({"event": "connected"}),
                json!({"event": "start", "sequence_number": "1", "stream_sid": "s1", "start": {
                    "stream_sid": "s1", "call_sid": call, "from": "+1", "to": "+2",
                    "media_format": {
                        "encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"}}}),
            ],
        ),
        Carrier::Vonage => {
            let endpoint = json()[0]["endpoint"][0].clone();
            let mut first = endpoint["headers"].clone();
            first["event"] = json!("websocket:connected");
            first["content-type"] = endpoint["content-type"].clone();
            (text(&endpoint["uri"]), vec![first])
        }
        Carrier::Jambonz => {
            let listen = json()[1].clone();
            let mut first = listen["metadata"].clone();
            first["callSid"] = json!(call);
            first["sampleRate"] = listen["sampleRate"].clone();
            first["mixType"] = listen["mixType"].clone();
            (text(&listen["url"]), vec![first])
        }
    }
}

/// The audio in a message, if it carries any.
fn audio(message: &Message) -> Option<Vec<u8>> {
    match message {
        Message::Binary(bytes) => Some(bytes.to_vec()),
        Message::Text(text) => {
            let value: Value = serde_json::from_str(text).unwrap();
            let mut bytes = Vec::new();
            base64::decode_append(value["media"]["payload"].as_str()?.as_bytes(), &mut bytes)
                .unwrap();
            Some(bytes)
        }
        _ => None,
    }
}

#[test]
fn every_carriers_caller_is_greeted() {
    let relay = Relay::start();
    for carrier in OTHERS {
        let call = format!("call-{}", carrier.label());
        let answer = relay.webhook(carrier, &call);
        let (url, messages) = begun(carrier, &call, &answer);
        assert!(url.starts_with("ws://"), "{carrier:?} {url}");
        let mut stream = relay.stream(carrier, &url);
        for message in messages {
            stream.send(Message::text(message.to_string())).unwrap();
        }
        let mut heard = Vec::new();
        // Half a second of the greeting, however it is encoded.
        while heard.len() < 8_000 {
            let message = stream.read().unwrap_or_else(|why| panic!("{carrier:?}: {why}"));
            assert!(!message.is_close(), "{carrier:?}: {message:?}");
            if let Some(audio) = audio(&message) {
                let is_whole = match carrier {
                    Carrier::Vonage => audio.len() == 640,
                    Carrier::Exotel => audio.len() >= 3_200 && audio.len().is_multiple_of(320),
                    _ => audio.len().is_multiple_of(160),
                };
                assert!(is_whole, "{carrier:?}: {} bytes", audio.len());
                heard.extend(audio);
            }
        }
        let loud = heard.iter().filter(|&&byte| !matches!(byte, 0 | 0xff | 0x7f)).count();
        assert!(loud > 1_000, "{carrier:?}: that was silence");
        stream.close(None).unwrap();
        while stream.read().is_ok() {}
    }
    let page = relay.ask("GET /metrics", "");
    for carrier in OTHERS {
        let series =
            format!("vocaris_carrier_calls_started_total{{carrier=\"{}\"}} 1", carrier.label());
        assert!(page.contains(&series), "{series}");
    }
}
