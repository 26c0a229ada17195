//! What follows from a close before the model was ready: whether to try again, what to say.
//!
//! In:       a [`CloseClass`], the text of a close.
//! Out:      a [`Remedy`], an advice, the text with whatever could be a key taken out of it.
//! Not here: closes during a call (`call::session`).

use std::fmt::Write as _;

use crate::wire::gemini::CloseClass;

/// What another attempt may be.
pub(super) const fn remedy(class: CloseClass) -> Remedy {
    match class {
        CloseClass::Key
        | CloseClass::Quota
        | CloseClass::NotFound
        | CloseClass::Field
        | CloseClass::Argument => Remedy::None,
        CloseClass::Policy | CloseClass::Unsupported => Remedy::WithoutResumption,
        CloseClass::Aborted
        | CloseClass::Unavailable
        | CloseClass::Deadline
        | CloseClass::Internal
        | CloseClass::Normal
        | CloseClass::Lost
        | CloseClass::Other => Remedy::Again,
    }
}

/// What an operator can do about it; `None` where only waiting helps.
pub(super) const fn advice(class: CloseClass) -> Option<&'static str> {
    match class {
        CloseClass::Key => Some("check GEMINI_API_KEY"),
        CloseClass::Quota => Some("the account's quota is used up"),
        CloseClass::NotFound => Some("check gemini.model and gemini.api_version"),
        CloseClass::Field | CloseClass::Argument => {
            Some("the model does not take this setup: check the agent")
        }
        _ => None,
    }
}

/// What another attempt may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: it would fail the same way.
    None,
    /// The same again, a little later.
    Again,
    /// Once more, at once, without asking for a session that can be resumed: some models close
    /// with 1008 because of that field.
    WithoutResumption,
}

/// Shortest piece of our key that counts as the key: the reason may have been cut inside it.
const KEY_PIECE_BYTES: usize = 6;
/// Shortest run of letters and digits, with both cases or digits mixed in, that could be a key.
const TOKEN_BYTES: usize = 20;

/// `reason` on one line, without our key, any piece of it, and whatever looks like one.
pub(super) fn redact(reason: &str, key: Option<&str>) -> String {
    let key = key.unwrap_or_default();
    let mut clean = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let taken = match secret_bytes(rest, key) {
            0 => {
                let _ = write!(clean, "{}", first.escape_debug());
                first.len_utf8()
            }
            bytes => {
                clean.push_str("***");
                bytes
            }
        };
        rest = &rest[taken..];
    }
    clean
}

/// How many bytes at the front of `text` must not be shown.
fn secret_bytes(text: &str, key: &str) -> usize {
    let same = text.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let run = &text[..text.bytes().take_while(|byte| in_token(byte)).count()];
    let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    match (same >= KEY_PIECE_BYTES, mixed && run.len() >= TOKEN_BYTES) {
        // Up to the end of the run: what follows a piece of a key may be another piece.
        (true, _) => same.max(run.len()),
        (false, true) => run.len(),
        (false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_quota_is_not_asked_again_though_its_code_is_that_of_a_fault() {
        assert_eq!(remedy(CloseClass::of(Some(1011), "exceeded your quota")), Remedy::None);
        assert_eq!(remedy(CloseClass::of(Some(1011), "Internal error")), Remedy::Again);
    }

    #[test]
    fn a_key_is_taken_out_of_a_reason_however_it_was_cut() {
        const KEY: &str = "AIzaSyD-1234567890_abcdefghijklmnopqrst";
        for end in KEY_PIECE_BYTES..=KEY.len() {
            let reason = format!("API key {} not valid", &KEY[..end]);
            assert_eq!(redact(&reason, Some(KEY)), "API key *** not valid");
        }
        let unknown = format!("key={KEY}&x");
        assert_eq!(redact(&unknown, None), "key=***&x");
        assert_eq!(redact(&format!("x{KEY}"), Some(KEY)), "***");
    }

    #[test]
    fn ordinary_reasons_stay_readable_and_on_one_line() {
        let reason =
            "models/gemini-3.8-live-extended-thinking is not found\nfor CONTENT_TYPE_AUDIO";
        let expected =
            "models/gemini-3.8-live-extended-thinking is not found\\nfor CONTENT_TYPE_AUDIO";
        assert_eq!(redact(reason, Some("another-key")), expected);
    }
}
