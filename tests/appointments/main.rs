//! Appointments as callers, operators and calendars meet them.

mod book;
mod crash;
mod feed;
mod harness;
