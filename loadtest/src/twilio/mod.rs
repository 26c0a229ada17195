//! The caller's side: an imitation of the client that Twilio Media Streams runs, from the webhook
//! to the TwiML after the stream.

pub mod caller;
pub mod checker;
pub mod fleet;
pub mod message;
pub mod phone;
pub mod playout;
pub mod signature;
pub mod twiml;
