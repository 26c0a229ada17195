//! Why a database cannot be had.
//!
//! In:       the client library's errors: SQLSTATEs, the network's, its own.
//! Out:      a [`DatabaseError`]: small, without a word the server said (it may quote values), and
//!           a sentence for the operator.
//! Not here: what callers are told (`appointments::answers`).

use std::error::Error as _;
use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

/// Why a database cannot be had. Nothing was changed, but for [`DatabaseError::Unsure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// Nobody listens there, the name is not known, or the connection broke.
    Unreachable(io::ErrorKind),
    /// No answer within the time that the question had.
    Silent,
    /// It starts, stops, or was told to end our session.
    Restarting,
    /// It has all the connections it takes (SQLSTATE 53300).
    Crowded,
    /// Whether the work was done cannot be found out.
    Unsure,
    /// The password is wrong, the role not known, or not let in from here (class 28).
    Denied,
    /// A password is asked for, and none is set; or by a method that is not understood.
    NoPassword,
    /// The file with the password cannot be read, or its first line is empty.
    PasswordFile,
    /// There is no such database (3D000).
    NoDatabase,
    /// The role may not do this (42501).
    NoRights,
    /// It speaks no TLS.
    NoTls,
    /// Its certificate is not trusted or is for another name, or there is no common version.
    Tls,
    /// The file of roots cannot be read, or holds none.
    CaFile,
    /// What listens there does not speak PostgreSQL's protocol.
    Protocol,
    /// Our tables are not there, and were not to be made.
    NoSchema,
    /// A newer version of this program has made the tables, and says that ours cannot use them.
    TooNew {
        /// Their version.
        found: i32,
        /// The newest we know.
        known: i32,
    },
    /// It takes no changes: a standby, or set so (25006).
    ReadOnly,
    /// Its disk is full (53100).
    Full,
    /// Another transaction kept a lock, or the statement took too long (55P03, 57014, class 40).
    Busy,
    /// Its disk failed, or what is on it is damaged (58030, XX001, XX002).
    Disk,
    /// A constraint refused (class 23).
    Refused,
    /// Anything else it has an SQLSTATE for.
    Other([u8; 5]),
}

impl DatabaseError {
    /// Whether it may be over by itself: nothing is set wrongly.
    pub const fn passes(self) -> bool {
        use DatabaseError::{Crowded, Restarting, Silent, Unreachable};
        matches!(self, Unreachable(_) | Silent | Restarting | Crowded)
    }

    /// Whether a program that starts goes on without it: it may be over by itself, or is nothing
    /// that this program's settings could mend.
    pub const fn is_for_now(self) -> bool {
        use DatabaseError::{Busy, Disk, Full, ReadOnly, Unsure};
        self.passes() || matches!(self, Busy | Disk | Full | ReadOnly | Unsure)
    }

    /// Whether a connection that was made earlier says so where a new one need not.
    pub(super) const fn is_stale(self) -> bool {
        matches!(self, DatabaseError::Unreachable(_) | DatabaseError::Restarting)
    }

    /// Whether the connection it came on is of no more use.
    pub(super) const fn ends_connection(self) -> bool {
        self.passes() || matches!(self, DatabaseError::Protocol)
    }

    /// Why there is no connection.
    pub(super) fn of_connecting(error: &tokio_postgres::Error) -> DatabaseError {
        if let Some(state) = error.code() {
            return DatabaseError::of_state(state);
        }
        let Some(source) = error.source() else {
            return match error.is_closed() {
                true => DatabaseError::Unreachable(io::ErrorKind::ConnectionReset),
                false => DatabaseError::Protocol,
            };
        };
        match source.downcast_ref::<io::Error>() {
            // What TLS has to complain of comes so.
            Some(error) if error.kind() == io::ErrorKind::InvalidData => DatabaseError::Tls,
            // Of a message that is none.
            Some(error) if error.kind() == io::ErrorKind::InvalidInput => DatabaseError::Protocol,
            Some(error) => DatabaseError::Unreachable(error.kind()),
            // The library has no other name for it.
            None if source.to_string() == "server does not support TLS" => DatabaseError::NoTls,
            None => DatabaseError::NoPassword,
        }
    }

    /// Why a statement failed.
    pub(super) fn of_statement(error: &tokio_postgres::Error) -> DatabaseError {
        if let Some(state) = error.code() {
            return DatabaseError::of_state(state);
        }
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match (error.is_closed(), source) {
            (true, _) => DatabaseError::Unreachable(io::ErrorKind::ConnectionReset),
            (_, Some(error)) => DatabaseError::Unreachable(error.kind()),
            (false, None) => DatabaseError::Protocol,
        }
    }

    /// PostgreSQL's manual, appendix A.
    fn of_state(state: &SqlState) -> DatabaseError {
        let code = state.code();
        match (code.get(..2).unwrap_or_default(), code) {
            (_, "53300") => DatabaseError::Crowded,
            (_, "53100") => DatabaseError::Full,
            (_, "3D000") => DatabaseError::NoDatabase,
            (_, "42501") => DatabaseError::NoRights,
            (_, "25006") => DatabaseError::ReadOnly,
            (_, "55P03" | "57014") | ("40", _) => DatabaseError::Busy,
            // 25P03, 57P05: it has ended a session that was idle.
            (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03") => DatabaseError::Restarting,
            ("08", _) => DatabaseError::Unreachable(io::ErrorKind::ConnectionReset),
            ("28", _) => DatabaseError::Denied,
            ("23", _) => DatabaseError::Refused,
            (_, "58030" | "XX001" | "XX002") => DatabaseError::Disk,
            _ => {
                let mut bytes = code.bytes();
                DatabaseError::Other(std::array::from_fn(|_| bytes.next().unwrap_or(b'?')))
            }
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DatabaseError::Unreachable(kind) => {
                return write!(f, "the database cannot be reached: {kind}");
            }
            DatabaseError::Silent => "the database does not answer in time",
            DatabaseError::Restarting => "the database is starting, stopping, or ended the session",
            DatabaseError::Crowded => {
                "the database takes no more connections: raise its max_connections, or the role's"
            }
            DatabaseError::Unsure => {
                "the database was lost while it committed: whether it did cannot be found out"
            }
            DatabaseError::Denied => {
                "the database does not let this role in: check the user, the password, pg_hba.conf"
            }
            DatabaseError::NoPassword => {
                "the database asks for a password: set store.password_file or PGPASSWORD"
            }
            DatabaseError::PasswordFile => {
                "store.password_file cannot be read, or its first line is empty"
            }
            DatabaseError::NoDatabase => {
                "the server has no such database: create it, or name another"
            }
            DatabaseError::NoRights => {
                "the role may not use the schema vocaris: make the role its owner"
            }
            DatabaseError::NoTls => "the server speaks no TLS: set ssl = on in postgresql.conf",
            DatabaseError::Tls => {
                "the server's certificate is not trusted, or is for another name: set \
                 store.ca_file to its root, and name the host as the certificate does"
            }
            DatabaseError::CaFile => "store.ca_file cannot be read, or holds no certificate",
            DatabaseError::Protocol => "what listens there is no PostgreSQL",
            DatabaseError::NoSchema => "the database holds nothing of vocaris yet",
            DatabaseError::TooNew { found, known } => {
                return write!(
                    f,
                    "its tables are of a newer version of vocaris (schema {found}, known up to \
                     {known}), and not for this one"
                );
            }
            DatabaseError::ReadOnly => "the database takes no changes: is it a standby?",
            DatabaseError::Full => "the database's disk is full",
            DatabaseError::Busy => {
                "another transaction keeps a lock, or the statement took too long"
            }
            DatabaseError::Disk => "the database's disk failed, or what is on it is damaged",
            DatabaseError::Refused => "a rule of the database refused the change",
            DatabaseError::Other(code) => {
                return write!(f, "SQLSTATE {}", String::from_utf8_lossy(code));
            }
        })
    }
}

impl std::error::Error for DatabaseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_has_a_meaning_here_is_told_apart() {
        use DatabaseError as E;
        for (code, error) in [
            ("28P01", E::Denied),
            ("28000", E::Denied),
            ("3D000", E::NoDatabase),
            ("42501", E::NoRights),
            ("53300", E::Crowded),
            ("53100", E::Full),
            ("55P03", E::Busy),
            ("57014", E::Busy),
            ("40001", E::Busy),
            ("40P01", E::Busy),
            ("25006", E::ReadOnly),
            ("57P01", E::Restarting),
            ("57P03", E::Restarting),
            ("08006", E::Unreachable(io::ErrorKind::ConnectionReset)),
            ("23505", E::Refused),
            ("23502", E::Refused),
            ("58030", E::Disk),
            ("XX001", E::Disk),
            ("22021", E::Other(*b"22021")),
        ] {
            assert_eq!(E::of_state(&SqlState::from_code(code)), error, "{code}");
        }
        assert_eq!(E::Other(*b"22021").to_string(), "SQLSTATE 22021");
    }
}
