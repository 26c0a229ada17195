//! Bytes: non-blocking sockets with and without TLS, WebSocket links over tungstenite, HTTP
//! exchanges, and the event loop with its timers. No room here knows what a message means.

pub mod http;
pub mod link;
pub mod reactor;
pub mod stream;
