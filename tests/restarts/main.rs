//! The program as its host meets it: few descriptors, chosen cores, one process that takes the
//! place of another under load, one that is killed, one whose last caller loses his phone, and two
//! hosts that share a database.

mod apart;
mod crash;
mod harness;
mod hosts;
mod last;
mod model;
mod place;
#[path = "../postgres/server.rs"]
#[allow(dead_code, reason = "the tests of the database ask more of it")]
mod server;
mod takeover;
