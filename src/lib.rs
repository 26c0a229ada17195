//! Vocaris: joins a phone call or a browser to a voice agent, both ways, in real time.
//!
//! The rooms, lowest step first; a room names only rooms on lower steps:
//!
//! | step | rooms |
//! |---|---|
//! | ground | [`limits`], [`clock`] |
//! | plain things | [`buf`], [`config`] |
//! | formats | [`wire`] |
//! | bytes, meaning | [`net`], [`call`] |
//! | numbers | [`metrics`] |
//! | letters | [`mail`] |
//! | threads | [`accept`], [`dial`], [`worker`], [`control`], [`record`], [`demo`] |
//! | the whole | [`server`] |
//!
//! Inside [`control`] the same holds: [`control::database`], [`control::store`] and the opening of
//! SQLite files stand below what is kept there, and [`control::tools`] above it.
//!
//! This library half exists for the tests, benches and fuzz targets of the project; it is not a
//! public interface.

pub mod accept;
pub mod buf;
pub mod call;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod dial;
pub mod limits;
pub mod mail;
pub mod metrics;
pub mod net;
pub mod record;
pub mod server;
pub mod wire;
pub mod worker;
