//! Formats: bytes to values and back. No socket, clock, thread or log line.

pub mod base64;
pub mod browser;
pub mod dialect;
pub mod form;
pub mod gemini;
pub mod http;
pub mod json;
pub mod markup;
pub mod pcm_stream;
mod plain;
pub mod proxy;
pub mod signature;
pub mod telnyx;
pub mod token;
pub mod twilio;
pub mod twiml;
pub mod upgrade;
pub mod ws;
