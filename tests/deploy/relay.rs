//! A relay in demo mode as a process of its own, behind proxies on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::phone::until;

/// What the carrier signs with.
pub(crate) const AUTH_TOKEN: &str = "test_auth_token_0123456789abcdef";
/// The only address a browser may come from.
pub(crate) const BROWSER: &str = "127.0.0.9";

pub(crate) struct Relay {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where it answers HAProxy's agent checks.
    pub(crate) agent_check: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

/// Settings besides those that all relays here have, as variables; of one that stands twice the
/// later counts.
pub(crate) type Settings<'s> = &'s [(&'s str, &'s str)];

impl Relay {
    /// One that goes by `name` and keeps its files in `folder`.
    pub(crate) fn start(name: &str, folder: &Path) -> Relay {
        Relay::start_with(name, folder, &[])
    }

    /// The same, with more settings.
    pub(crate) fn start_with(name: &str, folder: &Path, settings: Settings<'_>) -> Relay {
        std::fs::create_dir_all(folder).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        // Ends with us, however we end.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_vocaris")])
            .env_clear()
            .env("RUST_LOG", "info")
            .env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0")
            .env("VOCARIS_SERVER_AGENT_CHECK", "127.0.0.1:0")
            .env("VOCARIS_SERVER_PUBLIC_URL", format!("https://{name}"))
            .env("VOCARIS_SERVER_TRUSTED_PROXIES", "127.0.0.1")
            .env("VOCARIS_SERVER_WORKERS", "1")
            .env("VOCARIS_SERVER_PIN", "false")
            // However late the machine makes it, nobody is turned away for that.
            .env("VOCARIS_LIMITS_MAX_LATENESS", "0s")
            // Phones here are silent while a test looks at something else.
            .env("VOCARIS_TIMERS_MEDIA_TIMEOUT", "0s")
            .env("VOCARIS_WEB_ALLOW", BROWSER)
            .env("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
            .envs(settings.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the relay ended");
        }
        let address = line.trim_start_matches("listening on ").trim().parse().unwrap();
        let mut agent_check = None;
        until("the log says where agent checks are answered", || {
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            let told = log.split_once("event=agent_check address=").map(|(_, told)| told);
            // Half a line may be there already.
            agent_check = told.and_then(|told| told.split_once('\n')?.0.parse().ok());
            agent_check.is_some()
        });
        let agent_check = agent_check.unwrap();
        Relay { child, address, agent_check, stdout }
    }

    /// The figures, asked for without a proxy.
    pub(crate) fn figures(&self) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    pub(crate) fn drain(&self) {
        signal(&self.child, "-TERM");
    }

    /// Waits for its end after [`Relay::drain`].
    pub(crate) fn ended_well(mut self) -> bool {
        self.stdout.read_to_string(&mut String::new()).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(name).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}
