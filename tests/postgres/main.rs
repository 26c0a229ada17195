//! Appointments, and the journal, in a PostgreSQL database: a real server, started here, that is
//! then stopped, starved and lied about. Where there is none on this machine each test says so and
//! is skipped.

mod away;
mod book;
mod crash;
mod doors;
mod harness;
mod journal;
mod program;
mod proxy;
mod server;
