//! HAProxy before the hosts, as a child process.
//!
//! In:       the address to listen on, the addresses of the hosts.
//! Out:      a running [`Front`]; dropping it, or the end of this process, kills HAProxy.
//! Bounds:   [`START_WAIT`] until it listens.
//! Not here: how a real one is set up (`deploy/haproxy.cfg`): TLS, and what is kept from strangers.
//!
//! A host is asked every half second whether new calls are welcome. A connection goes to the host
//! that has fewer: whose webhook one host has answered, whose stream may be the other's. One that
//! nobody takes is tried again, on another host where there is one, else on the same a second later.
//!
//! HAProxy does not look at its standard input. A shell beside it holds the read end of a pipe that
//! only this process can write to: however this process ends, the pipe ends with it, and the shell
//! kills HAProxy.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long HAProxy may take until it listens.
pub const START_WAIT: Duration = Duration::from_secs(20);

/// Runs HAProxy with the file named by its first argument until that ends, or standard input does.
/// In the foreground, and quiet: what HAProxy cannot read of its file it says. A program in the
/// background reads from nothing, so the pipe is kept under another number.
const GUARD: &str = r#"
exec 3<&0
haproxy -db -q -f "$0" 3<&- &
haproxy=$!
{ read -r _ <&3; kill -KILL "$haproxy"; } &
guard=$!
wait "$haproxy" 2>/dev/null
status=$?
kill "$guard" 2>&-
exit "$status"
"#;

/// A running HAProxy.
pub struct Front {
    /// The shell; its standard input is the pipe.
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
        let mut command = Command::new("sh");
        command.arg("-c").arg(GUARD).arg(&file).stdin(Stdio::piped()).stdout(Stdio::null());
        // A group of its own: Ctrl-C is for this process, which then ends HAProxy after the hosts.
        command.process_group(0);
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
        // The end of the pipe is what the shell waits for; waiting closes it. Without effect once
        // it has ended.
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::relay::Directory;
    use crate::restart::hosts::free_address;

    #[test]
    fn haproxy_ends_with_the_pipe_that_only_its_starter_holds() {
        if Command::new("haproxy").arg("-v").output().is_err() {
            // Print macros would write to the test harness, which keeps it to itself.
            let _ = writeln!(io::stderr(), "SKIPPED: no HAProxy");
            return;
        }
        let directory = Directory::new().unwrap();
        let address = free_address().unwrap();
        let mut front = Front::start(directory.path(), address, &[address]).unwrap();
        assert_eq!(front.child.try_wait().unwrap(), None);
        // The kernel does the same for a process that is killed.
        drop(front.child.stdin.take());
        let status = front.child.wait().unwrap();
        assert!(!status.success(), "HAProxy was killed: {status}");
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
