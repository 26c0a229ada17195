//! The program as its host meets it: few descriptors, chosen cores, one process that takes the
//! place of another under load, and one that is killed.

mod crash;
mod harness;
mod hosts;
mod model;
mod takeover;
