//! Upgrades: from a request to a WebSocket with a place on a worker.
//!
//! In:       a request that may be answered 101, and the door it came to.
//! Out:      the 101 and a place, or the answer that refuses.
//! Bounds:   capacity, by `Desk::welcome`.
//! Not here: which door (`accept::routes`), the socket's way to the worker (`accept::inbound`).

use super::answer::Answer;
use super::desk::{Desk, Outcome, Placed, Welcome};
use super::request::{Request, SUBPROTOCOL};
use crate::call::{Door, Refusal};
use crate::clock::Nanos;
use crate::wire::signature::handshake_candidates;
use crate::wire::upgrade::write_accepted;

impl Desk {
    /// Answers a request for a WebSocket.
    pub(super) fn upgrade(&mut self, now: Nanos, request: &Request, door: Door) -> Outcome {
        let Ok(upgrade) = request.upgrade else {
            return Outcome::Answer(Answer::error(400, "not an upgrade"));
        };
        // First, so that a stranger does not learn how full we are.
        if door == Door::Twilio
            && let Err(answer) = self.check_handshake(now, request)
        {
            return Outcome::Answer(answer);
        }
        let worker = match (self.welcome(now), door) {
            (Welcome::Yes { worker }, _) => Some(worker),
            // Its webhook may have been answered before; its token will tell.
            (Welcome::Draining { promised: true }, Door::Twilio) => self.room(),
            (Welcome::Draining { .. }, _) => {
                self.count_refusal(Refusal::Draining);
                return Outcome::Answer(Answer::error(503, "draining"));
            }
            (Welcome::Full, _) => None,
        };
        let Some(worker) = worker else {
            self.count_refusal(Refusal::Full);
            return Outcome::Answer(Answer::error(503, "full"));
        };
        let is_ours = upgrade.offers_ours && door != Door::Twilio;
        let mut response = Vec::new();
        write_accepted(&mut response, &upgrade.accept, is_ours.then_some(SUBPROTOCOL));
        self.shared.upgrades.count(label(door));
        Outcome::Upgrade { placed: Placed { place: self.place(worker), door }, response }
    }

    fn check_handshake(&mut self, now: Nanos, request: &Request) -> Result<(), Answer> {
        let candidates = match self.origin(request) {
            Some(origin) => {
                let verbatim = [origin.stream_url(), origin.websocket()];
                handshake_candidates(&origin.http(), request.target(), &verbatim)
            }
            None => Vec::new(),
        };
        self.check_signature(now, request, &candidates, &[])
    }
}

/// The door as the counters know it.
const fn label(door: Door) -> &'static str {
    match door {
        Door::Twilio => "twilio",
        Door::Web => "web",
        Door::Unknown => "unknown",
    }
}
