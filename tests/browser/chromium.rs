//! A headless Chromium, told what to do by its DevTools protocol.
//!
//! In:       expressions for the page.
//! Out:      their values; every error the page has logged; pictures.
//! Bounds:   [`PATIENCE`] for every answer.
//! Not here: what is looked at (`main`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};
use vocaris::wire::base64;

/// For one answer of the browser, which may wait for something on the page.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the program is called, first found first taken.
const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "headless_shell",
];

/// A name that leads to this machine, in this browser alone: another site, as far as it can tell.
pub(crate) const ELSEWHERE: &str = "elsewhere.example";

/// Where Chromium is: what `CHROMIUM` names, else on the path. `None`: nowhere.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = NAMES.iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// One browser at a time: its sound is in real time, and several on a small machine stutter.
static ALONE: Mutex<()> = Mutex::new(());

/// The browser, and one page in it.
pub(crate) struct Browser {
    process: Child,
    page: WebSocket<TcpStream>,
    last_id: u64,
    /// What the page complained of.
    errors: Vec<String>,
    profile: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Browser {
    /// With a microphone that plays `wav` once, from the moment it is opened.
    pub(crate) fn start(program: &Path, name: &str, wav: &Path) -> Browser {
        // A test that failed has left nothing behind that the next could stumble over.
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("browser-{name}"));
        // Left behind by a run that was killed, if by any.
        let _ = std::fs::remove_dir_all(&profile);
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--remote-debugging-port=0", "--disable-dev-shm-usage", "--mute-audio"])
            .args(["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"])
            .args(["--autoplay-policy=no-user-gesture-required", "--lang=en-US"])
            .arg(format!("--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"))
            .arg(format!("--use-file-for-fake-audio-capture={}%noloop", wav.display()))
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let told = lines.find_map(|line| {
            let line = line.expect("Chromium tells where it listens");
            let (_, port) = line.split_once("DevTools listening on ws://127.0.0.1:")?;
            port.split('/').next()?.parse::<u16>().ok()
        });
        let port = told.expect("Chromium listens");
        // What it says later is of no interest, but somebody must read it.
        std::thread::spawn(move || lines.for_each(drop));
        let page = open_page(port);
        let (last_id, errors) = (0, Vec::new());
        let mut browser = Browser { process, page, last_id, errors, profile, _alone };
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// One command of the protocol.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let message = json!({"id": self.last_id, "method": method, "params": params});
        self.page.send(Message::text(message.to_string())).unwrap();
        loop {
            let read = self.page.read().unwrap_or_else(|why| panic!("{method}: {why}"));
            let Message::Text(text) = read else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.note_error(&message);
        }
    }

    fn note_error(&mut self, event: &Value) {
        let params = &event["params"];
        let is_error = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => params["type"] == "error",
            "Log.entryAdded" => params["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.errors.push(params.to_string());
        }
    }

    /// What the page has complained of since the last time.
    pub(crate) fn take_errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// The value of an expression; a promise is waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true,
            "returnByValue": true, "userGesture": true});
        let mut told = self.call("Runtime.evaluate", params);
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].take()
    }

    /// Waits, in the page, until an expression is true.
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let within_ms = (PATIENCE - Duration::from_secs(10)).as_millis();
        let found = self.value(&format!(
            "new Promise((found) => {{ const since = Date.now(); const look = () => {{
                if ({expression}) found(true);
                else if (Date.now() - since > {within_ms}) found(false);
                else setTimeout(look, 20); }}; look(); }})"
        ));
        let page = || "document.body?.innerText ?? location.href";
        if found != true {
            let shown = self.value(page());
            panic!("never came true: {expression}\n{shown}\n{:?}", self.errors);
        }
    }

    /// Loads a page, and waits until it stands.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        let here = json!(url).to_string();
        self.wait_until(&format!("location.href == {here} && document.readyState == 'complete'"));
    }

    /// Runs a script in every page before its own.
    pub(crate) fn before_every_page(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// A picture of what is shown in a window of this size, in the target directory.
    pub(crate) fn picture(&mut self, name: &str, (width, height): (u32, u32), theme: &str) {
        let mobile = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": mobile}),
        );
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let mut png = Vec::new();
        base64::decode_append(shot["data"].as_str().unwrap().as_bytes(), &mut png).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        std::fs::write(path, png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The DevTools of the one page there is.
fn open_page(port: u16) -> WebSocket<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET /json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // It says how long the list is, and does not always close behind it.
    let list = loop {
        let read = socket.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        if let Some(Ok(list)) = body.map(|body| serde_json::from_str::<Value>(&body)) {
            break list;
        }
        assert_ne!(read, 0, "{text}");
    };
    let page = list.as_array().unwrap().iter().find(|target| target["type"] == "page").unwrap();
    let url = page["webSocketDebuggerUrl"].as_str().unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(url, socket).unwrap().0
}
