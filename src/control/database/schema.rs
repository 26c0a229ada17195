//! Tables brought forward, with two versions of the program running.
//!
//! In:       a [`Schema`]: the steps that this version of the program knows.
//! Out:      a database in which they are all done, in one transaction, one program at a time.
//! Bounds:   [`MIGRATE_MAX`] for it, less where less is left to whoever asks. A database that has
//!           all of them is asked one question.
//! Not here: what the steps are (`appointments`).
//!
//! Steps only ever add: while a new version is started beside an old one, both use the same tables.
//! The table `schema` has a row for each kind of thing that is kept: its version, and the oldest
//! version of the program's knowledge that can still use it. A database that is ahead of a program
//! is used by it if that row allows it, else it is [`DatabaseError::TooNew`].

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{ANSWER_MAX, Access, Arguments, DatabaseError, LOCKS, ask, send};

/// For all the steps together, and for another program that does them. Then:
/// [`DatabaseError::Busy`].
pub const MIGRATE_MAX: Duration = Duration::from_secs(30);

/// A kind of thing that is kept, and how its tables came to be.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name in the table `schema`: letters.
    pub name: &'static str,
    /// Version 1 first.
    pub steps: &'static [Migration],
}

/// A step from one version to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Statements, in the schema `vocaris`.
    pub sql: &'static str,
    /// The oldest version whose programs can use the tables afterwards.
    pub usable_from: i32,
}

impl Schema {
    /// Does what is not yet done: asks by `deadline` what that is, and has done it by
    /// `migrated_by`.
    pub(super) fn bring_forward(
        &self,
        runtime: &Runtime,
        client: &Client,
        access: Access,
        deadline: Instant,
        migrated_by: Instant,
    ) -> Result<(), DatabaseError> {
        let deadline = deadline.min(Instant::now() + ANSWER_MAX);
        if self.version(runtime, client, deadline)? >= self.known() {
            return Ok(());
        }
        match access {
            Access::OrCreate => self.migrate(runtime, client, migrated_by),
            Access::Existing | Access::ReadOnly => Err(DatabaseError::NoSchema),
        }
    }

    /// The database's version, 0 where it has none; an error where it is not for us.
    fn version(
        &self,
        runtime: &Runtime,
        client: &Client,
        deadline: Instant,
    ) -> Result<i32, DatabaseError> {
        let is_there = "SELECT to_regclass('vocaris.schema')::text";
        if send(runtime, client, is_there, left(deadline))?.is_none() {
            return Ok(0);
        }
        let sql = "SELECT version, usable_from FROM vocaris.schema WHERE name = $1";
        let arguments: Arguments<'_> = &[(&self.name, Type::TEXT)];
        let rows = ask(runtime, deadline, client.query_typed(sql, arguments))?;
        let Some(row) = rows.first() else { return Ok(0) };
        let (found, usable_from): (i32, i32) = (row.get(0), row.get(1));
        match usable_from > self.known() {
            true => Err(DatabaseError::TooNew { found, known: self.known() }),
            false => Ok(found),
        }
    }

    fn known(&self) -> i32 {
        self.steps.len() as i32
    }

    fn migrate(
        &self,
        runtime: &Runtime,
        client: &Client,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        // Two programs at once: the second waits, and then finds everything done. Nought would be
        // no bound to the server.
        let most = left(deadline).as_millis().max(1);
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {most}; SET LOCAL lock_timeout = {most}; \
             SELECT pg_advisory_xact_lock({LOCKS}, 0)"
        );
        send(runtime, client, &begin, left(deadline))?;
        let done = self.take_steps(runtime, client, deadline);
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        send(runtime, client, end, left(deadline))?;
        done
    }

    fn take_steps(
        &self,
        runtime: &Runtime,
        client: &Client,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        let send = |sql: &str| send(runtime, client, sql, left(deadline));
        // Asked first: making one that is there takes rights that a role need not have.
        if send("SELECT to_regnamespace('vocaris')::text")?.is_none() {
            send("CREATE SCHEMA vocaris")?;
        }
        let table = "CREATE TABLE IF NOT EXISTS vocaris.schema (name text PRIMARY KEY, \
                     version integer NOT NULL, usable_from integer NOT NULL)";
        send(table)?;
        let from = self.version(runtime, client, deadline)?;
        for (at, step) in self.steps.iter().enumerate().skip(from as usize) {
            send(step.sql)?;
            let (name, version, usable_from) = (self.name, at + 1, step.usable_from);
            send(&format!(
                "INSERT INTO vocaris.schema VALUES ('{name}', {version}, {usable_from}) \
                 ON CONFLICT (name) DO UPDATE SET version = {version}, usable_from = {usable_from}"
            ))?;
            log::info!("event=schema_brought_forward name={name} version={version}");
        }
        Ok(())
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
