//! The model's side: a stand-in for the Gemini Live API that records what it hears and speaks,
//! errs, stalls and closes as a script says.

pub mod activity;
pub mod certificate;
pub mod conversation;
pub mod entrance;
pub mod message;
pub mod protocol;
pub mod record;
pub mod scenario;
pub mod script;
pub mod server;
pub mod session;
