//! TLS before a server that speaks none: google-genai dials nothing else.
//!
//! In:       the address of a plain server.
//! Out:      an origin with TLS, and the authority to trust; bytes are passed on both ways.
//! Bounds:   as many connections as the test means to make; then the thread ends.
//! Not here: what the bytes mean.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use loadtest::gemini::certificate;
use rustls::{ServerConfig, ServerConnection};

/// What is passed on at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Where to dial, and whom to trust.
pub(crate) struct Front {
    /// `https://localhost:PORT`.
    pub(crate) origin: String,
    /// The authority as PEM.
    pub(crate) ca_pem: String,
}

/// Takes `connections` connections, one after the other, and passes them on to `server`.
pub(crate) fn start(server: SocketAddr, connections: usize) -> io::Result<Front> {
    let tls = certificate::make().map_err(io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("https://localhost:{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for client in listener.incoming().take(connections) {
            // Whoever is cut off here is told so by its own end of the connection.
            let _ = client.and_then(|client| pass_on(client, server, Arc::clone(&tls.config)));
        }
    });
    Ok(Front { origin, ca_pem: tls.ca_pem })
}

/// Passes one connection on until either side ends it.
fn pass_on(client: TcpStream, server: SocketAddr, config: Arc<ServerConfig>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let tls = Mutex::new(ServerConnection::new(config).map_err(io::Error::other)?);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let done = outwards(&server, &client, &tls);
            let _ = client.shutdown(Shutdown::Both);
            done
        });
        let done = inwards(&client, &server, &tls);
        let _ = server.shutdown(Shutdown::Both);
        done
    })
}

/// Ciphertext of the client to the server as plaintext.
fn inwards(
    mut client: &TcpStream,
    mut server: &TcpStream,
    tls: &Mutex<ServerConnection>,
) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let mut read = match client.read(&mut piece)? {
            0 => return Ok(()),
            len => &piece[..len],
        };
        while !read.is_empty() {
            let mut plain = Vec::new();
            let mut tls = tls.lock().expect("nobody panics while holding it");
            tls.read_tls(&mut read)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            plain.resize(state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut plain)?;
            flush(&mut tls, client)?;
            drop(tls);
            server.write_all(&plain)?;
        }
    }
}

/// Plaintext of the server to the client as ciphertext.
fn outwards(
    mut server: &TcpStream,
    client: &TcpStream,
    tls: &Mutex<ServerConnection>,
) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let len = server.read(&mut piece)?;
        let mut tls = tls.lock().expect("nobody panics while holding it");
        match len {
            0 => tls.send_close_notify(),
            len => tls.writer().write_all(&piece[..len])?,
        }
        flush(&mut tls, client)?;
        if len == 0 {
            return Ok(());
        }
    }
}

fn flush(tls: &mut ServerConnection, mut client: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut client)?;
    }
    Ok(())
}
