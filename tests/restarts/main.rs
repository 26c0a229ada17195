//! The program as its host meets it: few descriptors, chosen cores, and one process that takes the
//! place of another under load.

mod harness;
mod hosts;
mod takeover;
