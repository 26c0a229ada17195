//! The inbound thread as its peers meet it: the real thread over loopback, raw sockets and
//! tungstenite in front of it, mailboxes of the test behind it.

mod agent_check;
mod authority;
mod calendar;
mod carriers;
mod guard;
mod harness;
mod hosts;
mod http;
mod journal;
mod last;
mod proxied;
mod returns;
mod shedding;
mod status;
mod tls;
mod twilio;
mod upgrade;
