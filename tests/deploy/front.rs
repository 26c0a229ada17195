//! HAProxy and nginx with the configurations of `deploy/`, on a port of their own.
//!
//! What a test must change in a file is replaced text by text, and each text must be found: the
//! addresses, the certificate, where files are kept, and bounds that ask for more descriptors than
//! a test may have.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::pki_types::CertificateDer;

use crate::phone::{Caller, until};
use crate::relay::{Relay, Settings, signal};

/// The names in the files.
pub(crate) const ENTRY: &str = "voice.example.com";
pub(crate) const HOSTS: [&str; 2] = ["voice-1.example.com", "voice-2.example.com"];
/// The port of the agent checks in HAProxy's.
const AGENT_PORT: u16 = 8081;
/// The addresses in the files.
const ADDRESSES: [&str; 2] = ["10.0.0.11:8080", "10.0.0.12:8080"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Haproxy,
    Nginx,
}

/// A proxy in front of two relays.
pub(crate) struct Front {
    kind: Kind,
    child: Child,
    config: PathBuf,
    pub(crate) relays: Vec<Relay>,
    pub(crate) caller: Caller,
    /// Reloads so far.
    reloads: u32,
}

impl Front {
    /// Starts both relays and the proxy, its configuration changed by `change`; `None`, with a word
    /// about it, where it is not installed.
    pub(crate) fn start(
        kind: Kind,
        folder: &str,
        change: impl FnOnce(String) -> String,
    ) -> Option<Front> {
        Front::start_with(kind, folder, &[], change)
    }

    /// The same before relays with more settings.
    pub(crate) fn start_with(
        kind: Kind,
        folder: &str,
        settings: Settings<'_>,
        change: impl FnOnce(String) -> String,
    ) -> Option<Front> {
        let name = match kind {
            Kind::Haproxy => "haproxy",
            Kind::Nginx => "nginx",
        };
        let Some(program) = find(name) else {
            skipped(&format!("no {name} on the path, nor in /usr/sbin"));
            return None;
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-{folder}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let relays: Vec<Relay> = HOSTS
            .iter()
            .map(|host| Relay::start_with(host, &folder.join(host), settings))
            .collect();
        let certificate = certify(&folder);
        let address = free_address();
        let text = change(templated(kind, &folder, address, &relays));
        let config = folder.join(format!("{name}.conf"));
        fs::write(&config, text).unwrap();
        let child = run(kind, &program, &folder, &config);
        let caller = Caller::new(address, certificate);
        let mut front = Front { kind, child, config, relays, caller, reloads: 0 };
        until("the proxy answers", || {
            assert_eq!(front.child.try_wait().unwrap(), None, "{kind:?} ended");
            front.caller.can_connect()
        });
        for host in HOSTS {
            let healthy = || front.caller.get(host, "/healthz", "").starts_with("HTTP/1.1 200 ");
            until("the relay answers through the proxy", healthy);
        }
        Some(front)
    }

    /// Where the proxy and its relays keep their files.
    pub(crate) fn folder(&self) -> &Path {
        self.config.parent().unwrap()
    }

    /// All that the proxy has written to its logs.
    pub(crate) fn logged(&self) -> String {
        let folder = self.config.parent().unwrap();
        let files = ["output.log", "access.log", "error.log"].map(|name| folder.join(name));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }

    /// Reloads a configuration that differs in one status, and waits until new connections show it.
    pub(crate) fn reload(&mut self) {
        let text = fs::read_to_string(&self.config).unwrap();
        let (status, words) = match self.kind {
            Kind::Haproxy => (["404", "410"], ("deny_status ", " if { path /metrics")),
            Kind::Nginx => (["404", "410"], ("{\n            return ", ";")),
        };
        let swapped = |turn: u32| status[(turn % 2) as usize];
        let before = format!("{}{}{}", words.0, swapped(self.reloads), words.1);
        let after = format!("{}{}{}", words.0, swapped(self.reloads + 1), words.1);
        assert!(text.contains(&before), "{before} is not in {text}");
        fs::write(&self.config, text.replace(&before, &after)).unwrap();
        self.reloads += 1;
        signal(
            &self.child,
            match self.kind {
                Kind::Haproxy => "-USR2",
                Kind::Nginx => "-HUP",
            },
        );
        let expected = format!("HTTP/1.1 {} ", swapped(self.reloads));
        until("the new configuration counts", || {
            self.caller.get(HOSTS[0], "/metrics", "").starts_with(&expected)
        });
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The master takes its workers along. It may have ended by itself.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&self.child, "-TERM");
            let _ = self.child.wait();
        }
    }
}

/// The file of `deploy/`, with what a test must change.
fn templated(kind: Kind, folder: &Path, address: SocketAddr, relays: &[Relay]) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (file, mut changes) = match kind {
        Kind::Haproxy => (
            "haproxy.cfg",
            vec![
                ("bind :443 ".to_owned(), format!("bind {address} ")),
                ("/etc/haproxy/certs/voice.pem".into(), path("both.pem")),
                // Relative: the path of a Unix socket is short.
                ("/run/haproxy/admin.sock".into(), "unix@admin.sock".into()),
                ("maxconn 20000".into(), "maxconn 200".into()),
            ],
        ),
        Kind::Nginx => (
            "nginx.conf",
            vec![
                ("listen 443 ".to_owned(), format!("listen {address} ")),
                ("/etc/nginx/certs/voice.pem".into(), path("voice.pem")),
                ("/etc/nginx/certs/voice.key".into(), path("voice.key")),
                ("user www-data;\n".into(), String::new()),
                ("/run/nginx.pid".into(), path("nginx.pid")),
                ("/var/log/nginx/error.log".into(), path("error.log")),
                ("/var/log/nginx/access.log".into(), path("access.log")),
                ("worker_rlimit_nofile 65536;\n".into(), String::new()),
                ("worker_connections 32768".into(), "worker_connections 200".into()),
                (
                    "\nhttp {\n".into(),
                    format!(
                        "\nhttp {{\nclient_body_temp_path {0};\nproxy_temp_path {0};\n\
                         fastcgi_temp_path {0};\nuwsgi_temp_path {0};\nscgi_temp_path {0};\n",
                        path("temp")
                    ),
                ),
            ],
        ),
    };
    for (written, relay) in ADDRESSES.iter().zip(relays) {
        let (written, real) = ((*written).to_owned(), relay.address.to_string());
        if kind == Kind::Nginx {
            // In the map of what answered, dots are escaped.
            changes.push((written.replace('.', "\\."), real.replace('.', "\\.")));
        } else {
            let agent_port = |address: &str, port| format!("{address} agent-port {port}");
            let real = agent_port(&real, relay.agent_check.port());
            changes.push((agent_port(&written, AGENT_PORT), real));
        }
        changes.push((written, real));
    }
    let mut text = crate::read(file);
    for (written, real) in changes {
        assert!(text.contains(&written), "{file} no longer says {written:?}");
        text = text.replace(&written, &real);
    }
    text
}

/// Starts the proxy so that it ends with us, however we end.
fn run(kind: Kind, program: &Path, folder: &Path, config: &Path) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    match kind {
        // A master that reloads, in the foreground.
        Kind::Haproxy => command.args(["-W", "-db", "-f"]).arg(config),
        Kind::Nginx => command
            .args(["-g", "daemon off;", "-e"])
            .arg(folder.join("error.log"))
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(config),
    };
    let log = fs::File::create(folder.join("output.log")).unwrap();
    command.current_dir(folder).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// A certificate for all names, in the files the proxies read; what callers trust.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let names: Vec<String> = HOSTS.iter().chain([&ENTRY]).map(|&name| name.into()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(folder.join("voice.pem"), &certificate).unwrap();
    fs::write(folder.join("voice.key"), &key).unwrap();
    fs::write(folder.join("both.pem"), certificate + &key).unwrap();
    made.cert.der().clone()
}

/// Where a proxy can listen a while later: at a host of its own, for at 127.0.0.1 whoever asks for
/// any port in between may be given that one.
pub(crate) fn free_address() -> SocketAddr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let host = Ipv4Addr::new(127, 1, 0, HOSTS.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// Says that a test was left out. Print macros would write to the test harness, which keeps it to
/// itself.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A program on the path, or where Debian keeps those of the administrator.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// The certificate as a root that a client trusts.
pub(crate) fn trusting(certificate: CertificateDer<'static>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
