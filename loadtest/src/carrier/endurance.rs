//! What befalls the streams of a call, and what its carrier does when one has died.
//!
//! In:       nothing; the harness, a scenario or the command line writes it.
//! Out:      an [`Endurance`].
//! Bounds:   [`RETRIES_MAX`] repetitions of a question, [`COMEBACKS_MAX`] streams after the first.
//! Not here: doing it (`carrier::caller`).
//!
//! No carrier takes a stream up again by itself. Twilio holds the call in `<Connect>`; when the
//! relay's side of the stream is gone, however it went, it asks the `action` of `<Connect>` what
//! follows, and a `<Connect><Stream>` in the answer is a new stream of the same call. A question
//! that gets no answer is asked again once (`rc` of Twilio's connection overrides: 0 to 5); then the
//! call is over. On the one real call that was measured the new socket was there 730 ms after the
//! old one had gone, and 365 ms after the markup had been served.

use crate::clock::{MILLIS, Nanos};

/// The most repetitions of a question without an answer: Twilio's `rc`.
pub const RETRIES_MAX: u32 = 5;

/// The most streams of one call after its first. The relay's own bound is as high: a call that
/// loses more is over.
pub const COMEBACKS_MAX: u32 = 16;

/// Repetitions unless it is said otherwise: Twilio's own.
pub const RETRIES: u32 = 1;

/// From the end of a stream to the question, as on that call.
pub const REAL_ASK_AFTER: Nanos = 365 * MILLIS;

/// From the answer to the new connection, as on that call.
pub const REAL_DIAL_AFTER: Nanos = 365 * MILLIS;

/// What befalls the streams of a call, and what its carrier does then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endurance {
    /// When the caller's connection is reset by the network, on the media clock of the call, in
    /// order.
    pub lost_at: Vec<Nanos>,
    /// Streams that the carrier opens after the first, where it is told to.
    pub comebacks: u32,
    /// Repetitions of a question that got no answer.
    pub retries: u32,
    /// From a question without an answer to its repetition. Nothing is documented: at once, which
    /// is the hardest.
    pub retry_after: Nanos,
    /// From the end of a stream to the question of what follows.
    pub ask_after: Nanos,
    /// From the answer to the connection of the next stream.
    pub dial_after: Nanos,
}

impl Default for Endurance {
    /// Nothing befalls it; its carrier loses no time.
    fn default() -> Endurance {
        Endurance {
            lost_at: Vec::new(),
            comebacks: COMEBACKS_MAX,
            retries: RETRIES,
            retry_after: 0,
            ask_after: 0,
            dial_after: 0,
        }
    }
}

impl Endurance {
    /// A carrier that takes the times of the one real call.
    pub fn as_measured() -> Endurance {
        Endurance { ask_after: REAL_ASK_AFTER, dial_after: REAL_DIAL_AFTER, ..Endurance::default() }
    }
}
