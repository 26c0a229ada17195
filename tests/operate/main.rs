//! The program in its operator's hands: checked, started wrongly, read again while it runs.

mod bad_input;
mod check;
mod harness;
mod reload;
