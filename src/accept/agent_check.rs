//! HAProxy's agent check: a line for whoever connects, with how many of our places are free.
//!
//! | the relay | says | HAProxy then |
//! |---|---|---|
//! | takes calls | `up 73%`: the share of its places that is free | weighs the server by it |
//! | drains, or has no room | `up 0%` | gives it no new calls, leaves those it has |
//! | has a stuck media thread | `down #` and the reason | shows `DOWN (agent)` and that |
//!
//! A place is free as `Desk::welcome` has it: neither taken by a call nor kept for one whose
//! webhook was answered, and on no media thread that is too late for another. A relay that takes
//! calls says 1 at least; one that is full, late, or out of descriptors or quota has no room.
//!
//! The words `drain`, `maint` and `ready` are not said. They set the same administrative state as
//! an operator at HAProxy's socket: only a `ready` ends a `drain`, so the process after one that
//! drained would have to say it each time, and would undo what the operator has set. A weight of
//! zero does as much, and ends with the next line. Nor is a relay `down` that only has no room:
//! that is for what a restart cures, and sets off alarms and `on-marked-down`.
//!
//! In:       connections to `server.agent_check`.
//! Out:      the line, and the end of the connection.
//! Bounds:   [`CHECKS_PER_TURN`] in a turn, the rest in the next. A connection is answered as it is
//!           accepted and let go of at once: nothing is waited for, so it has neither a slot nor a
//!           deadline.
//! Not here: who is let in (`accept::desk`). What an agent check sends (`agent-send`) is not asked
//!           for; up to [`UNREAD_MAX_BYTES`] of it are thrown away.
//!
//! Source: HAProxy 2.6 configuration manual, section 5.2, `agent-check`. Not from there: that
//! version knows `down` only with a space before the `#`.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpListener, TcpStream};

use super::desk::Desk;
use crate::clock::Nanos;

/// Checks answered in one turn.
const CHECKS_PER_TURN: usize = 16;
/// What is taken off a connection before it is closed: bytes left unread would make the end a
/// reset, which may overtake the line.
const UNREAD_MAX_BYTES: usize = 256;

/// What HAProxy is told of us.
#[derive(Debug, PartialEq, Eq)]
enum CheckReply {
    /// So many percent of our places are free.
    Up { free_percent: usize },
    /// Only a restart helps.
    Down { why: String },
}

impl fmt::Display for CheckReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckReply::Up { free_percent } => writeln!(f, "up {free_percent}%"),
            CheckReply::Down { why } => writeln!(f, "down #{why}"),
        }
    }
}

/// The share of `all` places that `free` of them are, for a relay that takes calls: rounded up, so
/// that the last place still counts.
fn percent(free: usize, all: usize) -> usize {
    free.saturating_mul(100).div_ceil(all.max(1)).clamp(1, 100)
}

impl Desk {
    fn check_reply(&mut self, now: Nanos) -> CheckReply {
        if let Some(why) = self.stuck(now) {
            return CheckReply::Down { why };
        }
        let free_percent = match self.welcome(now) {
            Ok(()) if !self.accepts_fail(now) => {
                let (free, all) = self.places();
                percent(free, all)
            }
            _ => 0,
        };
        CheckReply::Up { free_percent }
    }

    /// Answers the checks that wait at `listener`. Returns whether more may.
    ///
    /// # Errors
    /// The kernel gives no connection, mostly for lack of descriptors.
    pub(super) fn answer_checks(
        &mut self,
        now: Nanos,
        listener: &TcpListener,
    ) -> std::io::Result<bool> {
        for _ in 0..CHECKS_PER_TURN {
            match listener.accept() {
                Ok((socket, _)) => {
                    self.shared.connections.count("agent_check");
                    answer(socket, &self.check_reply(now).to_string());
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(false),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

/// The buffer of a new connection takes a line whole; whether the peer reads it is his affair.
fn answer(mut socket: TcpStream, line: &str) {
    let _ = socket.write(line.as_bytes());
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read(&mut [0; UNREAD_MAX_BYTES]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_with_one_place_left_still_has_a_weight_and_a_full_one_is_never_above_whole() {
        for all in 0..=300 {
            for free in 0..=all + 1 {
                let percent = percent(free, all);
                assert!((1..=100).contains(&percent), "{free} of {all}");
                assert!(percent * all >= (100 * free).min(100 * all), "{free} of {all}");
                assert!(percent == 1 || (percent - 1) * all < 100 * free, "{free} of {all}");
            }
        }
        assert_eq!(percent(usize::MAX, 1), 100);
    }

    #[test]
    fn a_line_is_made_of_words_of_the_manual() {
        assert_eq!(CheckReply::Up { free_percent: 73 }.to_string(), "up 73%\n");
        assert_eq!(CheckReply::Up { free_percent: 0 }.to_string(), "up 0%\n");
        let why = "worker-1 has been in one turn for 9 s".to_owned();
        let line = CheckReply::Down { why }.to_string();
        assert_eq!(line, "down #worker-1 has been in one turn for 9 s\n");
    }
}
