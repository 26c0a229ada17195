//! `ws_echo ADDR MAX_MESSAGE_BYTES`: a WebSocket server for conformance suites, which returns every
//! text and binary message. What it shares with calls: `peer`.

mod peer;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use mio::net::TcpListener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let read = match arguments.as_slice() {
        [address, message_max] => address.parse().ok().zip(message_max.parse().ok()),
        _ => None,
    };
    let Some((address, message_max)) = read.filter(|(_, max)| *max <= server::MESSAGE_MAX) else {
        eprintln!("usage: ws_echo ADDR MAX_MESSAGE_BYTES   (at most {})", server::MESSAGE_MAX);
        return ExitCode::from(2);
    };
    match serve(address, message_max) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{address}: {why}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
fn serve(address: SocketAddr, message_max: usize) -> std::io::Result<()> {
    let mut listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    server::serve(&mut listener, message_max, || true)
}
