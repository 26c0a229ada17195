//! The echo server and client that outside conformance suites run against: each with tungstenite
//! at the other end, and each with bytes that no good peer sends.

mod cases;
mod client;
mod peer;
mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const MESSAGE_MAX: usize = server::MESSAGE_MAX;

/// Runs `visit` against a server of this limit.
fn with_server(message_max: usize, visit: impl FnOnce(SocketAddr)) {
    let mut listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let visited = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let (listener, visited) = (&mut listener, &visited);
        let go_on = move || !visited.load(Ordering::Relaxed);
        let serving = threads.spawn(move || server::serve(listener, message_max, go_on).unwrap());
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| visit(address)));
        visited.store(true, Ordering::Relaxed);
        serving.join().unwrap();
        if let Err(panic) = seen {
            std::panic::resume_unwind(panic);
        }
    });
}

fn connect(address: SocketAddr) -> WebSocket<TcpStream> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(2 * MESSAGE_MAX))
        .max_frame_size(Some(2 * MESSAGE_MAX));
    let socket = TcpStream::connect(address).unwrap();
    let url = format!("ws://{address}/");
    tungstenite::client::client_with_config(url, socket, Some(config)).unwrap().0
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A socket that has been upgraded.
fn upgraded(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(REQUEST.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    socket
}

/// Sends `bytes` behind an upgrade and returns the frames that came back until the end.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&[REQUEST.as_bytes(), bytes].concat()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer[..head]));
    answer.split_off(head)
}

#[test]
fn the_server_returns_messages_of_every_length_form_up_to_its_limit() {
    with_server(MESSAGE_MAX, |address| {
        let mut peer = connect(address);
        for bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, MESSAGE_MAX] {
            for message in
                [Message::binary(vec![0xfe; bytes]), Message::text("ä".repeat(bytes / 2))]
            {
                peer.send(message.clone()).unwrap();
                assert!(peer.read().unwrap() == message, "{bytes} bytes came back changed");
            }
        }
        peer.send(Message::Ping("are you there".into())).unwrap();
        assert_eq!(peer.read().unwrap(), Message::Pong("are you there".into()));
        let close = CloseFrame { code: CloseCode::Library(3999), reason: "done".into() };
        peer.close(Some(close)).unwrap();
        let Message::Close(Some(answer)) = peer.read().unwrap() else { panic!("no close") };
        assert_eq!(u16::from(answer.code), 3999);
        assert!(matches!(peer.read(), Err(Error::ConnectionClosed)));
    });
}

#[test]
fn the_server_closes_with_the_code_of_what_was_wrong_and_then_ends() {
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    let cases = [
        (masked(0xc1, b"a"), 1002_u16, "a reserved bit"),
        (masked(0x83, b""), 1002, "a reserved opcode"),
        (vec![0x81, 0x01, b'a'], 1002, "an unmasked frame"),
        (masked(0x80, b"a"), 1002, "nothing to continue"),
        (masked(0x81, b"\xff"), 1007, "no UTF-8"),
        (masked(0x88, &[0x03]), 1002, "half a close code"),
        (masked(0x88, &1005_u16.to_be_bytes()), 1002, "a close code never sent"),
        (masked(0x82, &[0; 101]), 1009, "over the limit"),
    ];
    with_server(100, |address| {
        for (bytes, code, what) in &cases {
            let answer = answer_to(address, bytes);
            assert_eq!(answer[0], 0x88, "{what}");
            assert_eq!(answer[2..4], code.to_be_bytes(), "{what}");
            assert_eq!(answer.len(), 2 + usize::from(answer[1]), "{what}: more after the close");
        }
        let many = [masked(0x89, b"one"), masked(0x8a, b"alone"), masked(0x88, b"")].concat();
        assert_eq!(
            answer_to(address, &many),
            [b"\x8a\x03one".as_slice(), b"\x88\x02\x03\xe8"].concat()
        );
    });
}

#[test]
fn a_request_that_is_no_upgrade_is_told_so() {
    with_server(100, |address| {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    });
}

/// Runs one case of a suite: what is sent, what must come back.
#[expect(clippy::result_large_err, reason = "the type is the peer library's")]
fn serve_case(socket: TcpStream, cases: &[Message], reported: &mut bool) {
    let mut target = String::new();
    let read_target = |request: &tungstenite::handshake::server::Request,
                       response: tungstenite::handshake::server::Response| {
        target = request.uri().to_string();
        Ok(response)
    };
    let mut peer = tungstenite::accept_hdr(socket, read_target).unwrap();
    match target.strip_prefix("/runCase?case=") {
        Some(case) => {
            let number = case.strip_suffix("&agent=a%20b%26c").expect("the agent is encoded");
            let message = &cases[number.parse::<usize>().unwrap() - 1];
            peer.send(message.clone()).unwrap();
            assert_eq!(&peer.read().unwrap(), message, "case {number}");
        }
        None if target == "/getCaseCount" => {
            peer.send(Message::text(cases.len().to_string())).unwrap();
        }
        None => {
            assert_eq!(target, "/updateReports?agent=a%20b%26c");
            *reported = true;
        }
    }
    peer.close(None).unwrap();
    while peer.read().is_ok() {}
}

#[test]
fn the_client_runs_every_case_and_asks_for_the_report() {
    let cases = [
        Message::text(""),
        Message::text("Grüße"),
        Message::binary(vec![7; 65_536]),
        Message::binary(vec![8; 1 << 20]),
    ];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    std::thread::scope(|threads| {
        let serving = threads.spawn(|| {
            let mut reported = false;
            while !reported {
                serve_case(listener.accept().unwrap().0, &cases, &mut reported);
            }
        });
        assert_eq!(client::run(&url, "a b&c").unwrap(), cases.len() as u32);
        serving.join().unwrap();
    });
}

#[test]
fn the_client_says_what_is_wrong_with_its_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(client::run(&format!("ws://{address}"), "a").is_err(), "nobody listens there");
    assert!(client::run(&format!("http://{address}"), "a").is_err(), "not a WebSocket URL");
}
