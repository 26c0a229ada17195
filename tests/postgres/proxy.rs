//! A line to the server that can be told to fail in the middle of a sentence.
//!
//! In:       connections, and what is to become of them ([`Fault`]).
//! Out:      the same bytes both ways, until it fails.
//! Bounds:   a thread for each direction of each connection, ended by either end's close.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// What goes wrong, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Bytes are taken and go nowhere, either way.
    Stalled,
    /// What commits does not arrive: the line is cut before it. Once.
    CutBeforeCommit,
    /// What commits arrives, and its answer does not come back: the line is cut. Once.
    CutAfterCommit,
    /// As before, and nobody is let in afterwards.
    CutAfterCommitForGood,
    /// Every connection is closed at once.
    Closed,
}

impl Fault {
    const ALL: [Fault; 6] = [
        Fault::None,
        Fault::Stalled,
        Fault::CutBeforeCommit,
        Fault::CutAfterCommit,
        Fault::CutAfterCommitForGood,
        Fault::Closed,
    ];
}

/// A port of this machine that leads to another.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    fault: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let fault = Arc::new(AtomicU8::new(0));
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), fault: fault.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if now(&fault) == Fault::Closed {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (fault.clone(), fault.clone());
                thread::spawn(move || carry_up(client, server, &up));
                thread::spawn(move || carry(ends.1, ends.0, &down));
            }
        });
        proxy
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }
}

fn now(fault: &AtomicU8) -> Fault {
    Fault::ALL[usize::from(fault.load(Ordering::SeqCst))]
}

/// From the server to the client.
fn carry(mut from: TcpStream, mut to: TcpStream, fault: &AtomicU8) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let sent = match now(fault) {
            Fault::Stalled => Ok(()),
            _ => to.write_all(&bytes[..count]),
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// From the client to the server: where commits are seen.
fn carry_up(mut from: TcpStream, mut to: TcpStream, fault: &AtomicU8) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let commits = bytes[..count].windows(6).any(|word| word == b"COMMIT");
        match now(fault) {
            Fault::Stalled => continue,
            Fault::CutBeforeCommit if commits => {
                fault.store(Fault::None as u8, Ordering::SeqCst);
                break;
            }
            found @ (Fault::CutAfterCommit | Fault::CutAfterCommitForGood) if commits => {
                let then = match found {
                    Fault::CutAfterCommit => Fault::None,
                    _ => Fault::Closed,
                };
                fault.store(then as u8, Ordering::SeqCst);
                // The client is cut off first, so that it cannot hear the answer.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.write_all(&bytes[..count]);
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            _ if to.write_all(&bytes[..count]).is_err() => break,
            _ => {}
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
