//! The model's side: a stand-in for the Gemini Live API that records what it hears and speaks,
//! errs, stalls and closes as a script says.

pub mod certificate;
pub mod protocol;
pub mod script;
pub mod server;
pub mod session;
