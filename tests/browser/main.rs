//! The page in a real Chromium, with a microphone that plays a file: what a visitor of the demo
//! sees, hears and is told when something goes wrong.
//!
//! `cargo test --test browser -- --nocapture`. Needs a Chromium on the path, or named by
//! `CHROMIUM`; where there is none, the tests say so and look at nothing. Pictures are in the
//! target directory, under `tmp`.

mod chromium;
mod road;
mod sound;
mod status;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use chromium::{Browser, ELSEWHERE};
use road::{PATH, Road};
use tungstenite::Message;
use vocaris::config::Config;
use vocaris::server::{Running, Server};
use vocaris::wire::base64;

/// Keeps what the page asks of the microphone, what it sends, and what it plays. The browser's own
/// echo cancellation and noise suppression are asked for and then left out: what they make of a
/// sound cannot be compared with it.
const TAPS: &str = r#"(() => {
    const taps = window.taps = { asked: null, streams: [], sent: [], played: [], rate: 0 };
    const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    if (open) navigator.mediaDevices.getUserMedia = (wanted) => {
        taps.asked = wanted.audio;
        const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
        const opened = open({ audio: { ...wanted.audio, ...off } });
        return opened.then((stream) => (taps.streams.push(stream), stream));
    };
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        if (data instanceof ArrayBuffer) taps.sent.push(new Int16Array(data.slice(0)));
        return send.call(this, data);
    };
    // On the audio thread, so that a busy page loses nothing of what is played.
    const tap = URL.createObjectURL(new Blob([`
        class Tap extends AudioWorkletProcessor {
            constructor() { super(); this.begin(); }
            begin() { this.block = new Int16Array(4096); this.filled = 0; }
            process([[heard]]) {
                for (const x of heard ?? []) {
                    this.block[this.filled++] = Math.max(-1, Math.min(1, x)) * 32767;
                    if (this.filled < this.block.length) continue;
                    this.port.postMessage(this.block, [this.block.buffer]);
                    this.begin();
                }
                return true;
            }
        }
        registerProcessor("tap", Tap);`], { type: "text/javascript" }));
    const add = AudioWorklet.prototype.addModule;
    AudioWorklet.prototype.addModule = async function (...module) {
        await add.call(this, tap);
        return add.apply(this, module);
    };
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
            const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
            tap.port.onmessage = ({ data }) => taps.played.push(data);
            taps.rate = this.context.sampleRate;
            taps.context = this.context;
            connect.call(this, tap);
        }
        return connect.call(this, to, ...rest);
    };
    taps.text = async (pieces) => {
        const url = await new Promise((done) => {
            const reader = new FileReader();
            reader.onload = () => done(reader.result);
            reader.readAsDataURL(new Blob(pieces));
        });
        return url.slice(url.indexOf(",") + 1);
    };
})()"#;

const STATE: &str = "document.getElementById('state').dataset.is";
const SAID: &str = "document.getElementById('said').innerText";

fn click(id: &str) -> String {
    format!("document.getElementById('{id}').click()")
}

fn press(key: char) -> String {
    format!(
        "[...document.querySelectorAll('#keypad button')].find((b) => b.textContent == '{key}').click()"
    )
}

/// A relay in demo mode, on a port of its own, with a store of its own.
fn relay(name: &str, more: &[(&str, &str)]) -> Running {
    let store = target(&format!("browser-{name}.db"));
    for end in ["", "-wal", "-shm"] {
        // Left behind by an earlier run.
        let _ = std::fs::remove_file(format!("{}{end}", store.display()));
    }
    let store = format!("sqlite:{}", store.display());
    let own = [
        ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0"),
        ("VOCARIS_SERVER_WORKERS", "1"),
        ("VOCARIS_SERVER_PIN", "false"),
        // However late the machine makes it, nobody is turned away for that.
        ("VOCARIS_LIMITS_MAX_LATENESS", "0s"),
        ("VOCARIS_STORE_URL", &store),
    ];
    let settings = own.iter().chain(more).map(|&(name, value)| (name.into(), value.into()));
    Server::start(Config::read(None, settings.collect::<Vec<_>>()).unwrap()).unwrap()
}

fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A Chromium to look through; without one, a word about it.
fn browser(name: &str, wav: &Path) -> Option<Browser> {
    let Some(program) = chromium::find() else {
        // Print macros would write to the test harness, which keeps it to itself.
        let why = "no Chromium on the path, and CHROMIUM names none";
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
        return None;
    };
    Some(Browser::start(&program, name, wav))
}

fn samples(browser: &mut Browser, tap: &str) -> Vec<i16> {
    let told = browser.value(&format!("taps.text(taps.{tap})"));
    let mut bytes = Vec::new();
    base64::decode_append(told.as_str().unwrap().as_bytes(), &mut bytes).unwrap();
    bytes.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_visitor_talks_interrupts_books_and_hangs_up() {
    let wav = target("browser-visitor.wav");
    let sentence = sound::sentence("I am sorry, there is no free time.");
    // The greeting lasts ten seconds: it is spoken over.
    sound::write_wav(&wav, 5000, &sentence, 60_000);
    let Some(mut browser) = browser("visitor", &wav) else { return };
    let relay = relay("visitor", &[]);
    browser.before_every_page(TAPS);
    browser.open(&format!("http://{}/", relay.local_addr()));
    browser.picture("page-ready-light", (1200, 820), "light");
    browser.value(&click("talk"));
    browser.wait_until(&format!("{STATE} == 'speaking' && {SAID}.includes('Vocaris demo')"));
    browser.wait_until(&format!("{STATE} == 'interrupted'"));
    browser.wait_until(&format!("{SAID}.includes('s of speech')"));
    browser.wait_until(&format!("{STATE} == 'speaking'"));
    browser.wait_until(&format!("{STATE} == 'listening'"));
    browser.wait_until("document.getElementById('figures').textContent.includes('answers after')");

    assert_eq!(browser.value("taps.asked.echoCancellation"), true);
    // What the agent was sent is what was said; what was played is the agent's repetition of it.
    let spoken: Vec<f64> = sentence.iter().map(|&sample| f64::from(sample)).collect();
    let sent = sound::to_8k(&samples(&mut browser, "sent"), 16_000);
    let (at, alike) = sound::find(&spoken, &sent);
    assert!(alike > 0.7, "sent: {alike} at {at}");
    let rate_hz = browser.value("taps.rate").as_u64().unwrap() as usize;
    let played = sound::to_8k(&samples(&mut browser, "played"), rate_hz);
    let (at, alike) = sound::find(&spoken, &played);
    assert!(alike > 0.7, "played: {alike} at {at}");
    // The agent fell silent when it was spoken over, and stayed so until its answer.
    let loud = sound::level(&played[at..at + spoken.len()]);
    let before = sound::level(&played[at - 4000..at - 1600]);
    assert!(before < loud / 100.0, "{before} before {loud}");

    browser.value(&click("keys"));
    browser.value(&press('1'));
    browser.wait_until("document.querySelector('.appointment code')");
    browser.wait_until(&format!("{SAID}.includes('Booked: ')"));
    let reference = browser.value("document.querySelector('.appointment code').textContent");
    let feed = get(relay.local_addr(), "/calendar.ics?token=demo");
    assert_eq!(feed.matches("BEGIN:VEVENT").count(), 1, "{feed}");
    assert!(feed.contains(reference.as_str().unwrap()), "{reference}: {feed}");
    browser.picture("page-booked-light", (1200, 820), "light");
    browser.picture("page-booked-dark", (1200, 820), "dark");
    browser.picture("page-booked-phone", (390, 844), "light");
    browser.picture("page-booked-phone-dark", (390, 844), "dark");

    browser.wait_until(&format!("{STATE} == 'listening'"));
    browser.value(&press('9'));
    browser.wait_until(&format!("{SAID}.includes('Goodbye')"));
    browser.wait_until(&format!("{STATE} == 'ended'"));
    assert_eq!(browser.take_errors(), [""; 0]);
    relay.stop();
}

#[test]
fn a_call_outlives_a_microphone_that_goes_away_and_a_browser_that_stops_the_sound() {
    let wav = target("browser-devices.wav");
    sound::write_wav(&wav, 60_000, &[], 0);
    let Some(mut browser) = browser("devices", &wav) else { return };
    let relay = relay("devices", &[]);
    browser.before_every_page(TAPS);
    browser.open(&format!("http://{}/", relay.local_addr()));
    browser.value(&click("talk"));
    browser.wait_until(&format!("{STATE} == 'speaking' && taps.sent.length > 20"));

    // As the browser does when a device is pulled out.
    browser.value(
        "(() => { const track = taps.streams[0].getAudioTracks()[0];
            track.stop(); track.dispatchEvent(new Event('ended')); })()",
    );
    browser.wait_until("taps.streams.length == 2");
    browser.value("taps.before = taps.sent.length");
    browser.wait_until("taps.sent.length > taps.before + 20");

    browser.value("taps.context.suspend().then(() => true)");
    browser.wait_until("!document.getElementById('paused').hidden");
    browser.value(&click("resume"));
    browser.wait_until("document.getElementById('paused').hidden");
    browser.value("taps.before = taps.sent.length");
    browser.wait_until("taps.sent.length > taps.before + 20");

    // The same call all the while; silent when muted, and the line goes on.
    browser.value(&click("mute"));
    browser.value("taps.before = taps.sent.length");
    browser.wait_until("taps.sent.length > taps.before + 20");
    let muted = "taps.sent.slice(taps.before + 5).every((frame) => frame.every((x) => x == 0))";
    assert_eq!(browser.value(muted), true);
    assert_ne!(browser.value(STATE), "ended");
    browser.value(&click("talk"));
    browser.wait_until(&format!("{STATE} == 'ended'"));
    assert_eq!(browser.take_errors(), [""; 0]);
    relay.stop();
}

#[test]
fn a_call_below_a_path_goes_on_when_the_network_was_gone_for_a_moment() {
    let wav = target("browser-road.wav");
    sound::write_wav(&wav, 60_000, &[], 0);
    let Some(mut browser) = browser("road", &wav) else { return };
    let relay = relay("road", &[]);
    let road = Road::to(relay.local_addr());
    browser.before_every_page(TAPS);
    browser.open(&format!("http://{}{PATH}", road.address));
    browser.value(&format!(
        "window.states = [];
        new MutationObserver(() => states.push({STATE}))
            .observe(document.getElementById('state'), {{ attributes: true }}); true"
    ));
    browser.value(&click("talk"));
    browser.wait_until(&format!("{STATE} == 'speaking' && {SAID}.includes('Vocaris demo')"));
    road.cut();
    browser.wait_until("states.includes('reconnecting')");
    browser.wait_until(&format!("{SAID}.includes('You are back')"));
    browser.wait_until(&format!("{STATE} == 'listening'"));
    assert_eq!(browser.value(&format!("{SAID}.split('Vocaris demo').length")), 2, "greeted once");
    // It goes on in both directions.
    browser.value("taps.before = taps.sent.length");
    browser.wait_until("taps.sent.length > taps.before + 20");
    browser.value(&click("keys"));
    browser.value(&press('9'));
    browser.wait_until(&format!("{SAID}.includes('Goodbye')"));
    browser.wait_until(&format!("{STATE} == 'ended'"));
    assert_eq!(browser.take_errors(), [""; 0]);
    relay.stop();
}

#[test]
fn every_trouble_has_its_sentence_in_both_languages() {
    let wav = target("browser-trouble.wav");
    sound::write_wav(&wav, 1000, &[], 1000);
    let Some(mut browser) = browser("trouble", &wav) else { return };
    let relay = relay("trouble", &[("VOCARIS_LIMITS_MAX_CALLS", "1")]);
    let address = relay.local_addr();
    let page = |language: &str| format!("http://{address}/?lang={language}");

    for (name, english, german) in [
        ("NotAllowedError", "not allowed for this page", "nicht erlaubt"),
        ("NotFoundError", "No microphone was found", "Kein Mikrofon gefunden"),
        ("NotReadableError", "another program", "anderes Programm"),
    ] {
        for (language, sentence) in [("en", english), ("de", german)] {
            browser.open(&page(language));
            browser.value(&format!(
                "navigator.mediaDevices.getUserMedia =
                    () => Promise.reject(new DOMException('', '{name}'))"
            ));
            browser.value(&click("talk"));
            wait_for_sentence(&mut browser, sentence);
        }
    }
    assert_eq!(browser.take_errors(), [""; 0]);

    // One call takes the only place there is.
    let (mut other, _) = tungstenite::connect(format!("ws://{address}/web")).unwrap();
    other.send(Message::text(r#"{"type":"hello"}"#)).unwrap();
    let ready = other.read().unwrap();
    assert!(ready.to_text().unwrap().contains("ready"), "{ready}");
    browser.open(&page("de"));
    browser.value(&click("talk"));
    wait_for_sentence(&mut browser, "Leitungen belegt");
    other.close(None).unwrap();
    while other.read().is_ok() {}

    // A page of another site: the module comes, a conversation does not.
    browser.open(&format!("http://{ELSEWHERE}:{}/healthz", address.port()));
    let problem = browser.value(&format!(
        "import('http://{address}/vocaris.js').then(({{ Conversation }}) => new Promise((told) => {{
            const conversation = new Conversation();
            conversation.addEventListener('problem', ({{ detail }}) => told(detail.code));
            conversation.connect();
        }}))"
    ));
    assert_eq!(problem, "origin");

    browser.open(&page("en"));
    relay.stop();
    browser.value(&click("talk"));
    wait_for_sentence(&mut browser, "cannot be reached");
    // The browser itself logs each WebSocket and request that failed; the page adds nothing.
    for error in browser.take_errors() {
        assert!(error.contains("\"source\":\"network\"") || error.contains("WebSocket"), "{error}");
    }
}

fn wait_for_sentence(browser: &mut Browser, sentence: &str) {
    let wrong = "document.getElementById('wrong')";
    browser.wait_until(&format!("!{wrong}.hidden && {wrong}.textContent.includes('{sentence}')"));
    browser.wait_until(&format!("{STATE} == 'error'"));
}
