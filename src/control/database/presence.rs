//! How programs that share a database see of each other that they live.
//!
//! In:       the name of this program, or of another.
//! Out:      SQL: what a connection begins with, and a condition.
//! Bounds:   [`LOST_AFTER`] until a host that has vanished counts as gone; one whose process has
//!           ended does at once.
//! Not here: what a program that is gone has left (`conversations`).
//!
//! Each connection of a program that is to be seen holds an advisory lock under its name, and the
//! database lets go of it when the connection ends: so no clock of a host is asked, and nothing is
//! written to stay alive. The lock is a shared one, for a connection that was given up may end
//! later than the next one begins. Whoever has no connection for the moment counts as gone.

use std::time::Duration;

/// The database asks a connection's host whether it is still there: first after two seconds without
/// a word, and once more; what it has sent is acknowledged in as much time as that takes. No such
/// question is put on a Unix socket, whose host is the database's.
const LOST_AFTER: Duration = Duration::from_secs(PROBE_FIRST + PROBES * PROBE_EVERY);
const PROBE_FIRST: u64 = 2;
const PROBE_EVERY: u64 = 1;
const PROBES: u64 = 2;

const _: () = assert!(LOST_AFTER.as_secs() <= 5);

/// A program's name among those that share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence(pub u64);

impl Presence {
    /// One that no other has.
    pub fn new() -> Presence {
        Presence(fastrand::u64(..))
    }

    /// Its name in a column: 16 hexadecimal digits.
    pub fn name(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The statements that make a connection one of this program's.
    pub(super) fn begin(self) -> String {
        format!(
            "SET tcp_keepalives_idle = {PROBE_FIRST}; SET tcp_keepalives_interval = {PROBE_EVERY}; \
             SET tcp_keepalives_count = {PROBES}; SET tcp_user_timeout = {}; \
             SELECT pg_advisory_lock_shared({}); ",
            LOST_AFTER.as_millis(),
            // The same 64 bits: locks are numbered with a sign.
            self.0 as i64
        )
    }

    /// The condition that the program lives whose name, as [`Presence::name`] writes it, is the
    /// value of `column`.
    pub fn lives(column: &str) -> String {
        // A lock's number is shown in two halves.
        let half = |from: u8| format!("('x' || substr({column}, {from}, 8))::bit(32)::bigint");
        format!(
            "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid::bigint = {} AND objid::bigint = {})",
            half(1),
            half(9)
        )
    }
}

impl Default for Presence {
    fn default() -> Presence {
        Presence::new()
    }
}
