//! A PostgreSQL database: one connection of the thread that asks, and no wait without an end.
//!
//! In:       where the database is ([`Postgres`]), what is kept there ([`Schema`]), statements.
//! Out:      rows, and [`DatabaseError`]s.
//! Bounds:   [`CONNECT_MAX`] from the look-up to a session that is set up; [`ANSWER_MAX`] for one
//!           statement, [`WORK_MAX`] for all of one piece of work, [`COMMIT_MAX`] for its commit
//!           and [`VERDICT_MAX`] to find out what became of one whose answer was lost;
//!           [`UNACKNOWLEDGED_MAX`] for bytes on their way; [`IDLE_MAX`] unused; [`REST_FIRST`] to
//!           [`REST_MAX`] between two attempts to connect.
//! Not here: what is kept (`appointments`, `conversations`), where the database is
//!           (`config::postgres`).
//!
//! | file | what it holds |
//! |---|---|
//! | `errors` | why a database cannot be had, by what it says of itself |
//! | `presence` | how programs see of each other that they live |
//! | `schema` | tables brought forward, with two versions of the program running |
//!
//! **Connections.** A [`Database`] has one, made when it is needed. It belongs to the thread that
//! asks, so that a process holds no more than there are such threads: one that is given up is
//! closed before another is made. More would gain nothing, for what changes is done one after the
//! other anyway ([`Database::transact`]).
//!
//! **Away.** A database that cannot be had is an error at once: after a failure nobody tries to
//! connect for a time that doubles with each until something is done again, and whoever asks
//! meanwhile is told of the last failure.
//! A connection that was found closed when it was to be used again, as a database's restart leaves
//! it, is replaced without a word.
//!
//! **Done or not.** Where the answer to a commit is lost, the database is asked by the
//! transaction's number what became of it: so work is told as done if it was, as not done if it was
//! not, and [`DatabaseError::Unsure`] only where nobody can tell. A server that crashed may have
//! given the number of what it lost to somebody else: so the row that the work has left as its
//! proof ([`Session::leaves`]) is looked for as well.
//!
//! The runtime of the client library runs on the asking thread and only while it asks. Names are
//! looked up by the system's resolver, which has no bound of its own, on [`LOOKUPS_MAX`] threads
//! beside it; where both hang, further look-ups wait for them, and are [`DatabaseError::Silent`].

mod errors;
mod presence;
mod schema;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout_at;
use tokio_postgres::config::{LoadBalanceHosts, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Connection, NoTls, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Password, Postgres, PostgresHost};
use crate::net::TlsConfig;
pub use errors::DatabaseError;
pub use presence::Presence;
pub use schema::{MIGRATE_MAX, Migration, Schema};

/// From the look-up of the host's name until statements can be sent. Then:
/// [`DatabaseError::Silent`].
pub const CONNECT_MAX: Duration = Duration::from_secs(2);
/// For one address of several that a name has.
const ADDRESS_MAX: Duration = Duration::from_millis(CONNECT_MAX.as_millis() as u64 / 3);
/// Names that are looked up at once, for a [`Database`].
const LOOKUPS_MAX: usize = 2;
/// For the answer to one statement, and server-side for the statement itself. Then the connection
/// is dropped; a statement that only waited for another's lock is [`DatabaseError::Busy`].
pub const ANSWER_MAX: Duration = Duration::from_secs(2);
/// For everything up to the commit, connecting included. Then it is not done.
pub const WORK_MAX: Duration = Duration::from_secs(4);
/// For undoing what could not be begun. Then the connection is closed.
const UNDO_MAX: Duration = Duration::from_millis(500);
/// For the answer to a commit. Then the database is asked what became of it.
pub const COMMIT_MAX: Duration = Duration::from_secs(2);
/// For that question, however often it takes. Then: [`DatabaseError::Unsure`].
pub const VERDICT_MAX: Duration = Duration::from_secs(2);
/// A connection that was not used for so long is replaced: what lies between may have forgotten it.
pub const IDLE_MAX: Duration = Duration::from_secs(300);
/// Before the first attempt after a failed one; doubled by each further failure.
pub const REST_FIRST: Duration = Duration::from_millis(100);
/// At most before an attempt.
pub const REST_MAX: Duration = Duration::from_secs(5);
/// For the other host to acknowledge bytes. Then the kernel ends the connection, and sends no more
/// of what was given up meanwhile.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_millis(1_500);
/// Between two questions for a commit's outcome.
const VERDICT_RETRY: Duration = Duration::from_millis(50);
/// After so long inside a transaction without a statement the database gives it up: a host that has
/// vanished holds nobody's lock for longer.
const ABANDONED_MAX: Duration = Duration::from_secs(5);
/// The longest file with a password.
const PASSWORD_FILE_MAX_BYTES: u64 = 1024;
/// "Voca": keeps our advisory locks apart from those of other programs in the same database.
const LOCKS: i32 = 0x566F_6361;

const _: () = {
    // An order of a tool has ten seconds, and is to be told how it ended.
    let all = WORK_MAX.as_millis() + COMMIT_MAX.as_millis() + VERDICT_MAX.as_millis();
    assert!(all <= 9_000);
    assert!(UNACKNOWLEDGED_MAX.as_millis() < ANSWER_MAX.as_millis());
    assert!(CONNECT_MAX.as_millis() <= WORK_MAX.as_millis());
};

/// What stands for the `$1`, `$2` … of a statement.
pub type Arguments<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The advisory lock, by its number, that transactions of one kind take: they are done one after
/// the other, on all hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvisoryLock(pub i32);

/// See the module.
#[derive(Debug)]
pub struct Database {
    settings: Postgres,
    schema: Schema,
    access: Access,
    /// Whom its connections are seen by others to be of, where that matters.
    presence: Option<Presence>,
    /// Taken out only to be dropped.
    runtime: Option<Runtime>,
    tls: Option<Tls>,
    /// It lies here between two pieces of work.
    line: RefCell<Option<Line>>,
    rest: Cell<Option<Rest>>,
    /// When the present piece of work ends, where its end was set.
    until: Cell<Option<Instant>>,
}

/// What is done to a database that lacks tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They are made.
    OrCreate,
    /// That is an error.
    Existing,
    /// That is an error, and nothing can be changed.
    ReadOnly,
}

struct Tls(MakeRustlsConnect);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// A connection that is set up.
#[derive(Debug)]
struct Line {
    client: Client,
    /// What moves its bytes: its socket.
    task: JoinHandle<()>,
    /// When it was last used; `None`: it is new.
    used_at: Option<Instant>,
}

/// After a failure.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    error: DatabaseError,
}

impl Database {
    /// Of a database that nothing is asked yet.
    ///
    /// # Errors
    /// [`DatabaseError::CaFile`]; [`DatabaseError::Unreachable`] where there are no descriptors
    /// left.
    pub fn new(
        settings: &Postgres,
        schema: Schema,
        access: Access,
    ) -> Result<Database, DatabaseError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(LOOKUPS_MAX)
            .enable_all()
            .build();
        let tls = settings.tls.then(|| TlsConfig::only(settings.ca_file.as_deref())).transpose();
        Ok(Database {
            settings: settings.clone(),
            schema,
            access,
            presence: None,
            runtime: Some(runtime.map_err(|error| DatabaseError::Unreachable(error.kind()))?),
            tls: tls.map_err(|_| DatabaseError::CaFile)?.map(|tls| Tls(tls.for_postgres())),
            line: RefCell::default(),
            rest: Cell::default(),
            until: Cell::default(),
        })
    }

    /// While it has a connection, other programs see that this one lives.
    pub fn seen_as(mut self, presence: Presence) -> Database {
        self.presence = Some(presence);
        self
    }

    /// Whatever is asked until this is called again ends after so long, but for a commit.
    pub fn bound(&self, at_most: Duration) {
        self.until.set(Some(Instant::now() + at_most));
    }

    /// Does `work`, which may be done twice: its statements, each for itself, change nothing, or
    /// come to the same.
    ///
    /// # Errors
    /// Those of `work`, and of connecting.
    pub fn look<T, E: From<DatabaseError>>(
        &self,
        work: impl Fn(&Session<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let deadline = self.deadline();
        loop {
            let line = self.take_line(deadline)?;
            let session = Session::new(self.runtime(), &line.client, deadline);
            let done = work(&session);
            match session.lost.take() {
                Some(error) => {
                    if self.is_lost(line, error) {
                        return done;
                    }
                }
                // By the next one its name may lead to the server that has taken over.
                None if session.spoilt.get() == Some(DatabaseError::ReadOnly) => {
                    self.hang_up(line);
                    return done;
                }
                None => {
                    self.keep(line);
                    return done;
                }
            }
        }
    }

    /// Does `work` in one transaction that holds `lock`: all of it is durable when this returns, or
    /// none of it. What it sees is what it changes.
    ///
    /// # Errors
    /// Those of `work`, of connecting, and of the commit; [`DatabaseError::Unsure`] alone means
    /// that it may have been done.
    pub fn transact<T, E: From<DatabaseError>>(
        &self,
        lock: AdvisoryLock,
        work: impl FnOnce(&Session<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let deadline = self.deadline();
        let (line, number) = self.begin(lock, deadline)?;
        let session = Session::new(self.runtime(), &line.client, deadline);
        let done = work(&session);
        let done = match (done, session.spoilt.take()) {
            (Ok(_), Some(error)) => Err(error.into()),
            (done, _) => done,
        };
        let (lost, proof) = (session.lost.take(), session.proof.take());
        let ended = match (&done, lost) {
            (_, Some(error)) => Err(error),
            (Ok(_), None) => self.send(&line.client, "COMMIT", COMMIT_MAX),
            (Err(_), None) => self.send(&line.client, "ROLLBACK", ANSWER_MAX),
        };
        match (done, ended) {
            (done, Ok(_)) => {
                self.keep(line);
                done
            }
            (Err(error), Err(lost)) => {
                self.hang_up(line);
                self.failed(lost);
                Err(error)
            }
            // Also of one that was refused: what a server says that crashes over it proves nothing.
            (Ok(done), Err(error)) => {
                self.hang_up(line);
                if error.ends_connection() {
                    self.failed(error);
                }
                self.verdict(&number, proof.as_ref(), error)?;
                Ok(done)
            }
        }
    }

    /// Begins a transaction that holds `lock`. Returns its connection and its number.
    fn begin(
        &self,
        lock: AdvisoryLock,
        deadline: Instant,
    ) -> Result<(Line, String), DatabaseError> {
        let sql = format!(
            "BEGIN; SELECT CASE current_setting('transaction_read_only') WHEN 'off' \
             THEN pg_current_xact_id()::text END FROM pg_advisory_xact_lock({LOCKS}, {})",
            lock.0
        );
        loop {
            let line = self.take_line(deadline)?;
            let at_most = deadline.saturating_duration_since(Instant::now()).min(ANSWER_MAX);
            match self.send(&line.client, &sql, at_most) {
                Ok(Some(number)) => return Ok((line, number)),
                Ok(None) => {
                    // By the next one its name may lead to the server that has taken over.
                    self.hang_up(line);
                    return Err(DatabaseError::ReadOnly);
                }
                Err(error) if error.ends_connection() => {
                    if self.is_lost(line, error) {
                        return Err(error);
                    }
                }
                Err(error) => {
                    match self.send(&line.client, "ROLLBACK", UNDO_MAX) {
                        Ok(_) => self.keep(line),
                        Err(_) => self.hang_up(line),
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Finds out what became of the transaction `number`, whose commit failed with `error`, and
    /// which has left `proof`.
    fn verdict(
        &self,
        number: &str,
        proof: Option<&Proof>,
        error: DatabaseError,
    ) -> Result<(), DatabaseError> {
        let deadline = Instant::now() + VERDICT_MAX;
        let left = || deadline.saturating_duration_since(Instant::now());
        let sql = format!("SELECT pg_xact_status('{number}'::xid8)");
        while !left().is_zero() {
            let asked = self.connect(left()).and_then(|line| {
                let asked = self.send(&line.client, &sql, left()).and_then(|status| {
                    let is_there = self.is_there(&line.client, proof, deadline)?;
                    Ok((status, is_there))
                });
                match asked {
                    Ok(_) => self.keep(line),
                    Err(_) => self.hang_up(line),
                }
                asked
            });
            match asked.as_ref().map(|(status, is_there)| (status.as_deref(), *is_there)) {
                Ok((Some("committed"), true)) => return Ok(()),
                Ok((Some("aborted"), _)) => return Err(error),
                // Another's commit, under the number of ours; or so long ago that nobody knows.
                Ok((Some("committed") | None, _)) => break,
                // Its server process has not yet noticed that we are gone, or there is no server.
                Ok((Some(_), _)) | Err(_) => thread::sleep(VERDICT_RETRY),
            }
        }
        Err(DatabaseError::Unsure)
    }

    /// Whether the row that proves a piece of work is there; where it leaves none, it is.
    fn is_there(
        &self,
        client: &Client,
        proof: Option<&Proof>,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        let Some(Proof { sql, key }) = proof else { return Ok(true) };
        let arguments: Arguments<'_> = &[(key, Type::TEXT)];
        let rows = ask(self.runtime(), deadline, client.query_typed(sql, arguments))?;
        Ok(!rows.is_empty())
    }

    // ----------------------------------------------------------------------------- connections

    /// The connection, or a new one.
    fn take_line(&self, deadline: Instant) -> Result<Line, DatabaseError> {
        if let Some(line) = self.line.take() {
            let is_old = line.used_at.is_some_and(|at| at.elapsed() > IDLE_MAX);
            if !is_old && !line.client.is_closed() {
                return Ok(line);
            }
            self.hang_up(line);
        }
        if let Some(rest) = self.rest.get()
            && Instant::now() < rest.until
        {
            return Err(rest.error);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let connected = self.connect(left.min(CONNECT_MAX)).and_then(|line| {
            let migrated_by = self.until.get().unwrap_or(Instant::now() + MIGRATE_MAX);
            let (runtime, client) = (self.runtime(), &line.client);
            match self.schema.bring_forward(runtime, client, self.access, deadline, migrated_by) {
                Ok(()) => Ok(line),
                Err(error) => {
                    self.hang_up(line);
                    Err(error)
                }
            }
        });
        connected.inspect_err(|&error| self.failed(error))
    }

    /// Lays it down after a piece of work: the database is there.
    fn keep(&self, mut line: Line) {
        line.used_at = Some(Instant::now());
        self.line.replace(Some(line));
        self.rest.set(None);
    }

    /// Closes it.
    fn hang_up(&self, line: Line) {
        line.task.abort();
        drop(line.client);
        // Its task is dropped, and the socket with it, when the runtime comes to it.
        self.runtime().block_on(yield_now());
    }

    /// Closes a connection on which `error` came. `false`: it was closed while nobody looked, which
    /// says nothing of the database.
    fn is_lost(&self, line: Line, error: DatabaseError) -> bool {
        let was_stale = error.is_stale() && line.used_at.is_some();
        self.hang_up(line);
        if !was_stale {
            self.failed(error);
        }
        !was_stale
    }

    /// Nobody tries again for a while.
    fn failed(&self, error: DatabaseError) {
        let last = self.rest.get().map_or(Duration::ZERO, |rest| rest.length);
        let length = (last * 2).clamp(REST_FIRST, REST_MAX);
        // Several hosts lost it at the same time: they need not all come back at once.
        let wait = length.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.rest.set(Some(Rest { until: Instant::now() + wait, length, error }));
    }

    fn connect(&self, at_most: Duration) -> Result<Line, DatabaseError> {
        let settings = self.describe()?;
        let deadline = Instant::now() + at_most;
        let connecting = async {
            match &self.tls {
                Some(Tls(tls)) => {
                    let (client, connection) = settings.connect(tls.clone()).await?;
                    Ok((client, tokio::spawn(carry(connection))))
                }
                None => {
                    let (client, connection) = settings.connect(NoTls).await?;
                    Ok((client, tokio::spawn(carry(connection))))
                }
            }
        };
        let connecting = async { timeout_at(deadline.into(), connecting).await };
        let (client, task) = match self.runtime().block_on(connecting) {
            Ok(connected) => connected.map_err(|error| DatabaseError::of_connecting(&error))?,
            Err(_) => return Err(DatabaseError::Silent),
        };
        let line = Line { client, task, used_at: None };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.send(&line.client, &self.session_settings(), left) {
            Ok(_) => Ok(line),
            Err(error) => {
                self.hang_up(line);
                Err(error)
            }
        }
    }

    fn describe(&self) -> Result<tokio_postgres::Config, DatabaseError> {
        let of = &self.settings;
        let mut config = tokio_postgres::Config::new();
        config.user(&of.user).dbname(&of.database).port(of.port).application_name("vocaris");
        // What is asked for is all that is spoken: the server cannot talk us out of it.
        config.ssl_mode(if of.tls { SslMode::Require } else { SslMode::Disable });
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(UNACKNOWLEDGED_MAX);
        // One address of the name that is dead does not take the time of the others, nor always.
        config.connect_timeout(ADDRESS_MAX).load_balance_hosts(LoadBalanceHosts::Random);
        match &of.host {
            PostgresHost::Tcp(host) => config.host(host),
            PostgresHost::Socket(directory) => config.host_path(directory),
        };
        match &of.password {
            Password::None => {}
            Password::Given(secret) => {
                config.password(secret.reveal());
            }
            Password::File(path) => {
                let password = first_line(path).map_err(|_| DatabaseError::PasswordFile)?;
                config.password(password);
            }
        }
        Ok(config)
    }

    /// What every connection begins with.
    fn session_settings(&self) -> String {
        let (statement, abandoned) = (ANSWER_MAX.as_millis(), ABANDONED_MAX.as_millis());
        let read_only = match self.access {
            Access::ReadOnly => "SET default_transaction_read_only = on; ",
            // As the database has it.
            Access::OrCreate | Access::Existing => "",
        };
        let presence = self.presence.map(Presence::begin).unwrap_or_default();
        // What is told as done is durable; a server set to more than that stays so.
        format!(
            "SET search_path = vocaris; SET client_min_messages = warning; \
             SET statement_timeout = {statement}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {abandoned}; \
             SET default_transaction_isolation = 'read committed'; \
             {read_only}{presence}SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
            // Told before the statement's own time is over: so the two are told apart.
            statement - 500
        )
    }

    /// Sends statements without arguments. Returns the last row's first column.
    fn send(
        &self,
        client: &Client,
        sql: &str,
        at_most: Duration,
    ) -> Result<Option<String>, DatabaseError> {
        send(self.runtime(), client, sql, at_most)
    }

    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + WORK_MAX;
        self.until.get().map_or(deadline, |until| until.min(deadline))
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.line.take();
        if let Some(runtime) = self.runtime.take() {
            // A look-up that hangs is not waited for; a connection's goodbye is sent if it can be.
            runtime.block_on(yield_now());
            runtime.shutdown_background();
        }
    }
}

/// Moves a connection's bytes until it ends. What the server only remarks is not logged: it may
/// quote values.
async fn carry<S, T>(mut connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {}
}

fn send(
    runtime: &Runtime,
    client: &Client,
    sql: &str,
    at_most: Duration,
) -> Result<Option<String>, DatabaseError> {
    let messages = ask(runtime, Instant::now() + at_most, client.simple_query(sql))?;
    let row = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(row)
}

/// Waits for an answer.
fn ask<T>(
    runtime: &Runtime,
    deadline: Instant,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    let answer = async { timeout_at(deadline.into(), answer).await };
    match runtime.block_on(answer) {
        Ok(answer) => answer.map_err(|error| DatabaseError::of_statement(&error)),
        Err(_) => Err(DatabaseError::Silent),
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(PASSWORD_FILE_MAX_BYTES).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    match line.is_empty() {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(line.to_owned()),
    }
}

/// A connection for one piece of work.
#[derive(Debug)]
pub struct Session<'d> {
    runtime: &'d Runtime,
    client: &'d Client,
    deadline: Instant,
    /// The connection is of no use any more, and why.
    lost: Cell<Option<DatabaseError>>,
    /// The first error since the last savepoint: nothing of a transaction that has one is
    /// committed.
    spoilt: Cell<Option<DatabaseError>>,
    proof: RefCell<Option<Proof>>,
}

/// A row that is there if a piece of work was done, and not otherwise.
#[derive(Debug)]
struct Proof {
    sql: &'static str,
    key: String,
}

impl<'d> Session<'d> {
    fn new(runtime: &'d Runtime, client: &'d Client, deadline: Instant) -> Session<'d> {
        let (lost, spoilt, proof) = (Cell::default(), Cell::default(), RefCell::default());
        Session { runtime, client, deadline, lost, spoilt, proof }
    }

    /// This transaction leaves a row that no other leaves: the one that `sql` finds, with `key` for
    /// its `$1`.
    pub fn leaves(&self, sql: &'static str, key: &str) {
        self.proof.replace(Some(Proof { sql, key: key.to_owned() }));
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// Why there are none.
    pub fn query(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<Row>, DatabaseError> {
        self.ask(self.client.query_typed(sql, arguments))
    }

    /// Does a statement. Returns how many rows it changed.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn execute(&self, sql: &str, arguments: Arguments<'_>) -> Result<u64, DatabaseError> {
        self.ask(self.client.execute_typed(sql, arguments))
    }

    /// Does `work` in a transaction; what it did is undone where it fails, and what was done before
    /// it is not.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn attempt<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.ask(self.client.batch_execute("SAVEPOINT attempt"))?;
        let done = work();
        let end = match &done {
            Ok(_) => "RELEASE SAVEPOINT attempt",
            Err(_) => "ROLLBACK TO SAVEPOINT attempt",
        };
        if self.lost.get().is_none() {
            self.spoilt.set(None);
            self.ask(self.client.batch_execute(end))?;
        }
        done
    }

    fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let deadline = self.deadline.min(Instant::now() + ANSWER_MAX);
        ask(self.runtime, deadline, answer).inspect_err(|&error| {
            if error.ends_connection() {
                self.lost.set(Some(error));
            }
            self.spoilt.set(self.spoilt.get().or(Some(error)));
        })
    }
}
