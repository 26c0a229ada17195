//! A road from the browser to the relay that can be cut: a proxy that shows the relay below a path,
//! and breaks every connection when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where the relay's `/` is.
pub(crate) const PATH: &str = "/voice/agent/";

pub(crate) struct Road {
    pub(crate) address: SocketAddr,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Road {
    pub(crate) fn to(relay: SocketAddr) -> Road {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&sockets);
        // Both threads of a connection end with it, this one with the process.
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(relay).unwrap());
                kept.lock().unwrap().push(near.try_clone().unwrap());
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || carry(near, far, below));
                thread::spawn(move || carry(far_too, near_too, <[u8]>::to_vec));
            }
        });
        Road { address, sockets }
    }

    /// Breaks every connection there is.
    pub(crate) fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&[u8]) -> Vec<u8>) {
    let mut bytes = [0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if to.write_all(&change(&bytes[..n])).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A request below the path is one to the relay's own; whatever else is sent stays as it is.
fn below(bytes: &[u8]) -> Vec<u8> {
    let start = format!("GET {PATH}");
    match bytes.strip_prefix(start.as_bytes()) {
        Some(rest) => [b"GET /", rest].concat(),
        None => bytes.to_vec(),
    }
}
