//! What a panic says, as one line of the log: in the log's own form, on its own way.
//!
//! In:       a panic of any thread.
//! Out:      one line, `event=panic`, with the thread, the place in the source, and the words.
//! Bounds:   [`WORDS_MAX_CHARS`] of the words.
//! Not here: what becomes of the thread, and of the relay (`server::threads`).

use std::panic;
use std::thread;

use super::threads::panic_text;

/// What a panic said, beyond which its line ends: it may hold what a peer sent.
const WORDS_MAX_CHARS: usize = 300;

/// From now on a panic writes one line of the log, and nothing else.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic_text(panic.payload());
        log::error!("{}", line(thread.name().unwrap_or("unnamed"), &at, words));
    }));
}

fn line(thread: &str, at: &str, words: &str) -> String {
    let (thread, at) = (thread.escape_debug(), at.escape_debug());
    let words: String = words.chars().take(WORDS_MAX_CHARS).collect();
    format!("event=panic thread=\"{thread}\" at=\"{at}\": {words}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use log::{Level, Record};
    use serde_json::Value;

    use super::super::log_format;
    use super::*;

    #[test]
    fn a_panic_is_one_object_for_machines_however_long_and_odd_its_words_are() {
        let words = format!("line\none \"{}\" event=forged", "x".repeat(10_000));
        let line = line("worker-0", "src/call/mod.rs:7:9", &words);
        let mut record = Record::builder();
        record.level(Level::Error).target("vocaris::server::panics");
        let json =
            log_format::json(Timestamp::UNIX_EPOCH, &record.args(format_args!("{line}")).build());
        assert_eq!(json.matches('\n').count(), 1);
        let told: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(told["event"], "panic");
        assert_eq!(told["fields"]["thread"], "worker-0");
        assert_eq!(told["fields"]["at"], "src/call/mod.rs:7:9");
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with("line\none ") && message.len() == WORDS_MAX_CHARS);
    }
}
