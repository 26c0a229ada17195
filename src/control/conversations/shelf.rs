//! Where the journal is kept: the few operations of a store, and which stores there are.
//!
//! In:       rows; questions by the name of a call or of a conversation.
//! Out:      what is known. All of it is blocking, and for the journal's own thread.
//! Bounds:   those of each store, on time and size.
//! Not here: batches, retries (`conversations`).
//!
//! Each row is held by the process that wrote it last. Another may only claim it: where its phone
//! was lost and the holder said so, or where the holder is gone. So of several that ask at once one
//! goes on, and a request that is played again takes nothing from a call that lives elsewhere.
//! Whose row was claimed learns it at its next entry, which is not written.

use super::sqlite::Sqlite;
use crate::call::CallId;
use crate::config::{Journal as Settings, Secret};
use crate::control::appointments::StoreError;
use crate::mail::Whose;

/// What a conversation is marked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It goes on, if its holder lives.
    Open,
    /// Its phone was lost, and its caller may come back.
    Parted,
    /// Somebody has ended it.
    Closed,
}

impl Mark {
    /// The word in the store.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Mark::Open => "open",
            Mark::Parted => "parted",
            Mark::Closed => "closed",
        }
    }

    /// Of the word in the store; of another's word nothing is known.
    pub(super) fn of(word: &str) -> Option<Mark> {
        [Mark::Open, Mark::Parted, Mark::Closed].into_iter().find(|mark| mark.word() == word)
    }
}

/// One conversation. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) conversation: CallId,
    /// What the carrier's call goes by.
    pub(super) call_name: Option<String>,
    pub(super) mark: Mark,
    /// Thrown away afterwards.
    pub(super) kept_until_unix: u64,
    /// The conversation is as long as one may be.
    pub(super) ends_unix: u64,
    /// JSON: what goes on, or what follows. It holds a handle, and words.
    pub(super) body: Secret,
}

/// What a store knows of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Another process that lives goes on with it.
    Held,
    /// Somebody has ended it; `body`: what follows, as JSON.
    Over {
        body: String,
    },
    /// It can be claimed.
    Waits,
    /// It is ours from now on.
    Kept {
        conversation: CallId,
        call_name: Option<String>,
        ends_unix: u64,
        body: Secret,
    },
}

/// The stores there are.
#[derive(Debug)]
pub(super) enum Shelf {
    /// A file of this host.
    Sqlite(Sqlite),
}

impl Shelf {
    /// Opens it, makes it where it is not there, brings its schema forward.
    pub(super) fn open(settings: &Settings) -> Result<Shelf, StoreError> {
        Sqlite::open(&settings.path).map(Shelf::Sqlite)
    }

    /// Writes rows in one transaction, each in the place of the one before. Of each, whether it is
    /// ours to write: another process may have claimed it.
    pub(super) fn write(&mut self, now_unix: u64, rows: &[&Row]) -> Result<Vec<bool>, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.write(now_unix, rows),
        }
    }

    /// Whether there is something to be claimed. Never [`Found::Kept`]. Of several conversations of
    /// one call the newest counts.
    pub(super) fn look(&mut self, whose: &Whose, now_unix: u64) -> Result<Found, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.look(whose, now_unix),
        }
    }

    /// Claims it, if it is there to be claimed: of several processes one does. Never
    /// [`Found::Waits`].
    pub(super) fn claim(&mut self, whose: &Whose, now_unix: u64) -> Result<Found, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.claim(whose, now_unix),
        }
    }

    /// Throws away what was kept long enough. Returns how much that was.
    pub(super) fn purge(&mut self, now_unix: u64) -> Result<usize, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.purge(now_unix),
        }
    }
}
