//! Where the journal is kept: the few operations of a store, which stores there are, and who may go
//! on with what.
//!
//! In:       rows; questions by the name of a call or of a conversation.
//! Out:      what is known. All of it is blocking, and for the journal's own thread.
//! Bounds:   those of each store, on time and size; [`CLAIM_TRIES`].
//! Not here: batches, retries (`conversations`), statements (`sqlite`, `postgres`).
//!
//! Each row is held by the process that wrote it last, and has a generation: that of the stream it
//! tells of. A stream that goes on with a conversation is of the next one. A row is written over by
//! a later generation, or in the same one by its holder, in the order of its states: so a process
//! that a call has left, and does not know it yet, never writes over what came afterwards.
//!
//! Another process may only claim a row: where its phone was lost and the holder said so, where the
//! holder is gone, or where the holder's generation is the one whose stream is known to be over. A
//! claim is one statement that changes the row only if it still is as it was found, and makes it of
//! the next generation: so of several that ask at once one goes on, and a request that is played
//! again takes nothing from a call that lives elsewhere. Whose row was claimed learns it at its
//! next entry, which is not written.

use std::time::Duration;

use super::{postgres, sqlite};
use crate::call::CallId;
use crate::config::{Secret, StoreUrl};
use crate::control::store::StoreError;
use crate::mail::Whose;

/// How often a claim looks again at a row that has changed since it looked. Then its holder lives.
const CLAIM_TRIES: usize = 3;

/// What a conversation is marked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
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

/// One conversation, to be written. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub conversation: CallId,
    /// What the carrier's call goes by.
    pub call_name: Option<String>,
    /// Streams it has had before the one that this tells of.
    pub generation: u32,
    /// Counts what its holder has to say, of all conversations, from 1 on: in one generation no
    /// state is written over a later one.
    pub state: u64,
    /// Where it is.
    pub mark: Mark,
    /// Thrown away afterwards.
    pub kept_until_unix: u64,
    /// The conversation is as long as one may be.
    pub ends_unix: u64,
    /// JSON: what goes on, or what follows. It holds a handle, and words.
    pub body: Secret,
}

/// What a store knows of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that anybody could go on with.
    Nothing,
    /// Another process that lives goes on with it.
    Held {
        /// In which generation.
        generation: u32,
    },
    /// Somebody has ended it.
    Over {
        /// What follows, as JSON.
        body: String,
    },
    /// It can be claimed.
    Waits {
        /// Of which generation it is.
        generation: u32,
    },
    /// It is ours from now on.
    Kept {
        /// Its name.
        conversation: CallId,
        /// What the carrier's call goes by.
        call_name: Option<String>,
        /// Of which generation it is from now on.
        generation: u32,
        /// How long it may still go on.
        left: Duration,
        /// What goes on, as JSON.
        body: Secret,
    },
}

/// A row as it was found, without what goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredRow {
    pub(super) conversation: String,
    pub(super) call_name: Option<String>,
    pub(super) holder: String,
    pub(super) lives: Holder,
    pub(super) generation: u32,
    /// The store's word.
    pub(super) mark: String,
    pub(super) left: Duration,
    /// Of one that is over, what follows.
    pub(super) sequel: Option<String>,
}

/// Who holds a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// We.
    Us,
    /// Another process that lives.
    Lives,
    /// One that is gone.
    Gone,
}

impl StoredRow {
    /// What is found of it; `past`: the generation whose stream is known to be over.
    fn found(&self, past: Option<u32>) -> Found {
        let generation = self.generation;
        match (Mark::of(&self.mark), self.lives) {
            // Of a later version.
            (None, _) => Found::Nothing,
            (Some(Mark::Closed), _) => {
                Found::Over { body: self.sequel.clone().unwrap_or_default() }
            }
            (Some(Mark::Open), Holder::Lives) if past != Some(generation) => {
                Found::Held { generation }
            }
            (Some(Mark::Open | Mark::Parted), _) => Found::Waits { generation },
        }
    }
}

/// The stores there are.
#[derive(Debug)]
pub enum Shelf {
    /// A file of this host.
    Sqlite(sqlite::Sqlite),
    /// A database of several.
    Postgres(Box<postgres::Postgres>),
}

impl Shelf {
    /// Opens it, makes it where it is not there, brings its schema forward. A database that is away
    /// for a while is open nevertheless: it is tried again whenever something is asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(url: &StoreUrl) -> Result<Shelf, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::Sqlite::open(path).map(Shelf::Sqlite),
            StoreUrl::Postgres(settings) => {
                postgres::Postgres::open(settings).map(Box::new).map(Shelf::Postgres)
            }
        }
    }

    /// What is asked from now on, until this is called again, ends after so long; a file knows no
    /// such wait.
    pub fn bound(&self, at_most: Duration) {
        if let Shelf::Postgres(postgres) = self {
            postgres.bound(at_most);
        }
    }

    /// Writes rows in one transaction, each of another conversation, in the place of what is there.
    /// Of each, whether it was written: what is there may be of a later generation, or another's.
    ///
    /// # Errors
    /// Why none was written.
    pub fn write(&mut self, now_unix: u64, rows: &[&Row]) -> Result<Vec<bool>, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.write(now_unix, rows),
            Shelf::Postgres(postgres) => postgres.write(now_unix, rows),
        }
    }

    /// Whether there is something to be claimed. Never [`Found::Kept`]. Of several conversations of
    /// one call the newest counts.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn look(&mut self, whose: &Whose, now_unix: u64) -> Result<Found, StoreError> {
        let stored = self.find(whose, now_unix)?;
        Ok(stored.map_or(Found::Nothing, |stored| stored.found(None)))
    }

    /// Claims it, if it is there to be claimed: of several processes one does. `past`: the
    /// generation whose stream is known to be over, whoever still believes in it. Never
    /// [`Found::Waits`].
    ///
    /// # Errors
    /// Why it is not known, or not whether it was claimed; then it can be claimed again.
    pub fn claim(
        &mut self,
        whose: &Whose,
        past: Option<u32>,
        now_unix: u64,
    ) -> Result<Found, StoreError> {
        let mut generation = 0;
        for _ in 0..CLAIM_TRIES {
            let Some(stored) = self.find(whose, now_unix)? else { return Ok(Found::Nothing) };
            match stored.found(past) {
                Found::Waits { .. } => generation = stored.generation,
                found => return Ok(found),
            }
            let Ok(conversation) = u64::from_str_radix(&stored.conversation, 16).map(CallId) else {
                return Ok(Found::Nothing);
            };
            if let Some(body) = self.take(&stored, now_unix)? {
                let StoredRow { call_name, left, .. } = stored;
                let generation = generation.saturating_add(1);
                return Ok(Found::Kept { conversation, call_name, generation, left, body });
            }
        }
        Ok(Found::Held { generation })
    }

    fn find(&mut self, whose: &Whose, now_unix: u64) -> Result<Option<StoredRow>, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.find(whose, now_unix),
            Shelf::Postgres(postgres) => postgres.find(whose),
        }
    }

    /// Makes the row ours and of the next generation, if it is still as it was found. Returns what
    /// goes on.
    fn take(&mut self, found: &StoredRow, now_unix: u64) -> Result<Option<Secret>, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.take(found, now_unix),
            Shelf::Postgres(postgres) => postgres.take(found),
        }
    }

    /// Throws away what was kept long enough. Returns how much that was.
    ///
    /// # Errors
    /// Why it was not thrown away.
    pub fn purge(&mut self, now_unix: u64) -> Result<usize, StoreError> {
        match self {
            Shelf::Sqlite(sqlite) => sqlite.purge(now_unix),
            Shelf::Postgres(postgres) => postgres.purge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_go_on_with_what_is_decided_by_mark_holder_and_generation() {
        use Holder::{Gone, Lives, Us};
        let (held, waits) = (Found::Held { generation: 4 }, Found::Waits { generation: 4 });
        let over = Found::Over { body: "\"hangup\"".to_owned() };
        for (mark, lives, past, found) in [
            ("open", Lives, None, &held),
            ("open", Lives, Some(3), &held),
            ("open", Lives, Some(4), &waits),
            ("open", Lives, Some(5), &held),
            ("open", Gone, None, &waits),
            ("open", Us, None, &waits),
            ("parted", Lives, None, &waits),
            ("parted", Gone, Some(3), &waits),
            ("closed", Lives, Some(4), &over),
            ("closed", Us, None, &over),
            ("suspended", Gone, Some(4), &Found::Nothing),
        ] {
            let stored = StoredRow {
                conversation: "01".to_owned(),
                call_name: None,
                holder: "02".to_owned(),
                lives,
                generation: 4,
                mark: mark.to_owned(),
                left: Duration::ZERO,
                sequel: Some("\"hangup\"".to_owned()),
            };
            assert_eq!(&stored.found(past), found, "{mark} {lives:?} {past:?}");
        }
    }
}
