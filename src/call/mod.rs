//! One call: bytes and time in, bytes and wishes out. No socket, clock, thread or log line.

pub mod events;
pub mod audio;
pub mod arrivals;
pub mod playout;
pub mod uplink;
pub mod downlink;
pub mod tally;

pub use events::{
    Afterwards, CallId, Class, Door, Ending, LineFault, LineTerms, Opening, Refusal, Report,
    Request,
};
pub use tally::{Dropped, Flow, Oddity, Tally};
