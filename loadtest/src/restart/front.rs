//! HAProxy before the hosts, as a child process.
//!
//! In:       the address to listen on, the addresses of the hosts.
//! Out:      a running [`Front`]; dropping it kills HAProxy.
//! Bounds:   [`START_WAIT`] until it listens.
//! Not here: how a real one is set up (`deploy/haproxy.cfg`): TLS, and what is kept from strangers.
//!
//! A host is asked every half second whether new calls are welcome. A connection goes to the host
//! that has fewer: whose webhook one host has answered, whose stream may be the other's. One that
//! nobody takes is tried again, on another host where there is one, else on the same a second later.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long HAProxy may take until it listens.
pub const START_WAIT: Duration = Duration::from_secs(5);

/// The program, looked for where programs are.
const PROGRAM: &str = "haproxy";

/// A running HAProxy.
pub struct Front {
    child: Child,
    address: SocketAddr,
}

impl Front {
    /// Starts HAProxy on `address` before `hosts`; its file is in `directory`.
    ///
    /// # Errors
    /// It is not installed, or does not listen in time.
    pub fn start(directory: &Path, address: SocketAddr, hosts: &[SocketAddr]) -> io::Result<Front> {
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, configuration(address, hosts))?;
        let mut command = Command::new(PROGRAM);
        // In the foreground, and quiet: what it cannot read of its file it says.
        command
            .arg("-db")
            .arg("-q")
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut front = Front { child: command.spawn()?, address };
        let deadline = Instant::now() + START_WAIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = front.child.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}")));
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(front)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Without effect once it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file, with the timeouts of `deploy/haproxy.cfg`. As many connections as descriptors allow.
fn configuration(address: SocketAddr, hosts: &[SocketAddr]) -> String {
    let mut text = format!(
        "defaults
    mode http
    timeout connect 3s
    timeout http-request 5s
    timeout http-keep-alive 15s
    timeout client 30s
    timeout server 30s
    timeout client-fin 5s
    timeout queue 1s
    timeout tunnel 90s
    retries 3
    option redispatch 1

frontend phones
    bind {address}
    default_backend relays

backend relays
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1
"
    );
    for (number, host) in hosts.iter().enumerate() {
        writeln!(text, "    server host-{} {host}", number + 1).expect("a string takes all");
    }
    text
}
