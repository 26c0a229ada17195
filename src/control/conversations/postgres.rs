//! The journal in a PostgreSQL database: for the processes of several hosts.
//!
//! In:       rows, questions.
//! Out:      rows, [`StoreError`]s.
//! Bounds:   those of `control::database`, less where [`Postgres::bound`] says so; [`PURGE_MAX`].
//! Not here: what a row means, who may claim it (`shelf`), connections (`control::database`).
//!
//! Times are the database's: hosts need not agree on them. Every change is one statement, and done
//! twice it comes to the same: so one whose answer was lost is simply asked for again. One that was
//! given up may still lie on its way, in a kernel or a pooler, and arrive after its successor that
//! took another connection: so rows carry the number of their state, and a late one changes
//! nothing. Names that PostgreSQL may have no letters for are nobody's, and bodies are bytes: no
//! row keeps the others of its batch from being written.

use std::time::Duration;

use tokio_postgres::Row as Answer;
use tokio_postgres::types::Type;

use super::shelf::{Holder, Mark, Row, StoredRow};
use crate::config::{Postgres as Settings, Secret};
use crate::control::database::{Access, Arguments, Database, Migration, Presence, Schema};
use crate::control::store::StoreError;
use crate::limits::LEGACY_KEPT;
use crate::mail::Whose;

/// Rows thrown away by one statement.
const PURGE_MAX: i64 = 4_096;
/// An open conversation's time is written in whole steps of so many seconds. A row whose columns
/// with an index stay as they are is changed in its place, and most are changed every second.
const KEPT_STEP_SECONDS: u64 = 900;

const SCHEMA: Schema =
    Schema { name: "journal", steps: &[Migration { sql: SCHEMA_1, usable_from: 1 }] };

/// From nothing to version 1. Room is left in each page for the next state of its rows.
const SCHEMA_1: &str = "
CREATE TABLE vocaris.conversations (
    conversation text PRIMARY KEY,
    call_name text,
    holder text NOT NULL CHECK (holder ~ '^[0-9a-f]{16}$'),
    generation bigint NOT NULL,
    state bigint NOT NULL,
    mark text NOT NULL,
    written_at timestamptz NOT NULL,
    kept_until timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    body bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX conversations_by_call ON vocaris.conversations (call_name);
CREATE INDEX conversations_by_age ON vocaris.conversations (kept_until);
";

/// In the order of their names, so that no two batches wait for each other. States of one holder in
/// one generation can be compared; the same one once more is written once more.
const WRITE: &str = "
INSERT INTO conversations AS there
    (conversation, call_name, holder, generation, state, mark, written_at, kept_until, ends_at,
    body)
SELECT conversation, call_name, $1, generation, state, mark, clock_timestamp(),
    CASE mark WHEN 'open'
        THEN to_timestamp(ceil((extract(epoch FROM clock_timestamp()) + kept) / $2) * $2)
        ELSE clock_timestamp() + kept * interval '1 second' END,
    clock_timestamp() + goes_on * interval '1 second', body
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[],
        $9::bigint[], $10::bytea[])
    AS new (conversation, call_name, generation, state, mark, kept, goes_on, body)
ORDER BY conversation
ON CONFLICT (conversation) DO UPDATE SET
    call_name = excluded.call_name, holder = excluded.holder, generation = excluded.generation,
    state = excluded.state, mark = excluded.mark, written_at = excluded.written_at,
    kept_until = excluded.kept_until, ends_at = excluded.ends_at, body = excluded.body
WHERE there.generation < excluded.generation
    OR (there.generation = excluded.generation AND there.holder = excluded.holder
        AND there.state <= excluded.state)
RETURNING conversation";

/// Only if it is still as it was found. The states of its new holder begin.
const TAKE: &str = "
UPDATE conversations SET holder = $1, generation = generation + 1, state = 0, mark = 'open',
    written_at = clock_timestamp(),
    kept_until = greatest(kept_until, clock_timestamp() + $2 * interval '1 second')
WHERE conversation = $3 AND holder = $4 AND generation = $5 AND mark = $6
RETURNING body";

const PURGE: &str = "
DELETE FROM conversations WHERE conversation IN (
    SELECT conversation FROM conversations WHERE kept_until < clock_timestamp()
    ORDER BY kept_until LIMIT $1 FOR UPDATE SKIP LOCKED)";

/// Whether there is a database whose tables are ours. Nothing is changed.
pub(super) fn try_open(settings: &Settings) -> Result<(), StoreError> {
    let database = Database::new(settings, SCHEMA, Access::ReadOnly)?;
    Ok(database.look(|session| session.query("SELECT", &[])).map(drop)?)
}

/// See the module.
#[derive(Debug)]
pub struct Postgres {
    database: Database,
    presence: Presence,
    find_by_call: String,
    find_by_name: String,
}

impl Postgres {
    /// See [`super::shelf::Shelf::open`].
    pub(super) fn open(settings: &Settings) -> Result<Postgres, StoreError> {
        let presence = Presence::new();
        let database = Database::new(settings, SCHEMA, Access::OrCreate)?.seen_as(presence);
        match database.look(|session| session.query("SELECT", &[])) {
            Err(error) if !error.is_for_now() => return Err(error.into()),
            Err(error) => log::warn!("event=journal_away: {error}"),
            Ok(_) => {}
        }
        let find = |column: &str| {
            format!(
                "SELECT conversation, call_name, holder, generation, mark, \
                 greatest(0, extract(epoch FROM ends_at - clock_timestamp()))::bigint, \
                 CASE mark WHEN 'closed' THEN body END, {} \
                 FROM conversations WHERE {column} = $1 AND kept_until >= clock_timestamp() \
                 ORDER BY written_at DESC LIMIT 1",
                Presence::lives("holder")
            )
        };
        let (find_by_call, find_by_name) = (find("call_name"), find("conversation"));
        Ok(Postgres { database, presence, find_by_call, find_by_name })
    }

    /// See [`super::shelf::Shelf::bound`].
    pub(super) fn bound(&self, at_most: Duration) {
        self.database.bound(at_most);
    }

    /// See [`super::shelf::Shelf::write`].
    pub(super) fn write(&mut self, now_unix: u64, rows: &[&Row]) -> Result<Vec<bool>, StoreError> {
        let seconds = |until_unix: u64| until_unix.saturating_sub(now_unix) as i64;
        let names: Vec<String> = rows.iter().map(|row| row.conversation.to_string()).collect();
        let calls: Vec<Option<&str>> =
            rows.iter().map(|row| row.call_name.as_deref().filter(|name| is_name(name))).collect();
        let generations: Vec<i64> = rows.iter().map(|row| row.generation.into()).collect();
        let states: Vec<i64> = rows.iter().map(|row| row.state as i64).collect();
        let marks: Vec<&str> = rows.iter().map(|row| row.mark.word()).collect();
        let kept: Vec<i64> = rows.iter().map(|row| seconds(row.kept_until_unix)).collect();
        let goes_on: Vec<i64> = rows.iter().map(|row| seconds(row.ends_unix)).collect();
        let bodies: Vec<&[u8]> = rows.iter().map(|row| row.body.reveal().as_bytes()).collect();
        let (us, step) = (self.presence.name(), KEPT_STEP_SECONDS as f64);
        let written = self.query(
            WRITE,
            &[
                (&us, Type::TEXT),
                (&step, Type::FLOAT8),
                (&names, Type::TEXT_ARRAY),
                (&calls, Type::TEXT_ARRAY),
                (&generations, Type::INT8_ARRAY),
                (&states, Type::INT8_ARRAY),
                (&marks, Type::TEXT_ARRAY),
                (&kept, Type::INT8_ARRAY),
                (&goes_on, Type::INT8_ARRAY),
                (&bodies, Type::BYTEA_ARRAY),
            ],
        )?;
        let written: std::collections::HashSet<&str> =
            written.iter().map(|row| row.get(0)).collect();
        Ok(names.iter().map(|name| written.contains(name.as_str())).collect())
    }

    /// See [`super::shelf::Shelf::look`].
    pub(super) fn find(&mut self, whose: &Whose) -> Result<Option<StoredRow>, StoreError> {
        let (sql, name) = match whose {
            Whose::Call(name) if !is_name(name) => return Ok(None),
            Whose::Call(name) => (&self.find_by_call, name.clone()),
            Whose::Conversation(id) => (&self.find_by_name, id.to_string()),
        };
        let found = self.query(sql, &[(&name, Type::TEXT)])?;
        Ok(found.first().map(|row| self.stored(row)))
    }

    fn stored(&self, row: &Answer) -> StoredRow {
        let holder: String = row.get(2);
        let lives = match row.get(7) {
            _ if holder == self.presence.name() => Holder::Us,
            true => Holder::Lives,
            false => Holder::Gone,
        };
        let sequel: Option<Vec<u8>> = row.get(6);
        StoredRow {
            conversation: row.get(0),
            call_name: row.get(1),
            holder,
            lives,
            generation: u32::try_from(row.get::<_, i64>(3)).unwrap_or(u32::MAX),
            mark: row.get(4),
            left: Duration::from_secs(row.get::<_, i64>(5).unsigned_abs()),
            sequel: sequel.map(text),
        }
    }

    /// See [`super::shelf::Shelf::claim`].
    pub(super) fn take(&mut self, found: &StoredRow) -> Result<Option<Secret>, StoreError> {
        let (us, kept) = (self.presence.name(), LEGACY_KEPT.as_secs() as f64);
        let taken = self.query(
            TAKE,
            &[
                (&us, Type::TEXT),
                (&kept, Type::FLOAT8),
                (&found.conversation, Type::TEXT),
                (&found.holder, Type::TEXT),
                (&i64::from(found.generation), Type::INT8),
                (&found.mark, Type::TEXT),
            ],
        )?;
        Ok(taken.first().map(|row| Secret::new(text(row.get(0)))))
    }

    /// See [`super::shelf::Shelf::purge`].
    pub(super) fn purge(&mut self) -> Result<usize, StoreError> {
        let arguments: Arguments<'_> = &[(&PURGE_MAX, Type::INT8)];
        let purged = self.database.look(|session| session.execute(PURGE, arguments))?;
        Ok(purged as usize)
    }

    fn query(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<Answer>, StoreError> {
        Ok(self.database.look(|session| session.query(sql, arguments))?)
    }
}

/// Whether a carrier's name of a call can be written in any database.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// JSON; what is none is found out by whoever reads it.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

const _: () = {
    // The words of the statements.
    assert!(matches!(Mark::Open.word().as_bytes(), b"open"));
    assert!(matches!(Mark::Closed.word().as_bytes(), b"closed"));
};
