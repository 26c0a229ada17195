//! What the model meant by closing before it was ready, and whether to try again.
//!
//! In:       close code and reason text as sent; the text is cut at 123 bytes on its way.
//! Out:      a [`CloseClass`], counted; the text with whatever could be a key taken out of it.
//! Not here: closes during a call.

use std::fmt::Write as _;

/// Why the model closed before it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseClass {
    /// The key is wrong or expired.
    Key,
    /// A quota, of sessions or of tokens, is used up: another attempt only adds to it.
    Quota,
    /// No such model, not in this version of the interface, or not for this project.
    NotFound,
    /// A field the model does not take.
    Argument,
    /// Against a policy the text does not name.
    Policy,
    /// The service ended it, for reasons of its own.
    Aborted,
    /// The service is overloaded, or about to restart.
    Unavailable,
    /// The service did not answer itself in time.
    Deadline,
    /// A fault of the service.
    Internal,
    /// A normal end that nobody had asked for.
    Normal,
    /// The connection ended without a close.
    Lost,
    /// None of these.
    Other,
}

impl CloseClass {
    /// By code and text. The text goes first where it is about quotas: those come with codes of
    /// faults that pass.
    pub(super) fn of(code: Option<u16>, reason: &str) -> CloseClass {
        let text = reason.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["quota", "exceeded", "resource_exhausted"]) && !says(&["deadline"]) {
            return CloseClass::Quota;
        }
        match code {
            None => CloseClass::Lost,
            Some(1000) => CloseClass::Normal,
            Some(1001 | 1012 | 1013) => CloseClass::Unavailable,
            Some(1007 | 1008) if says(&["api key", "api_key", "unauthenticated"]) => {
                CloseClass::Key
            }
            Some(1007 | 1008) if says(&["not found", "does not have access"]) => {
                CloseClass::NotFound
            }
            Some(1007) => CloseClass::Argument,
            Some(1008) if says(&["aborted"]) => CloseClass::Aborted,
            Some(1008) => CloseClass::Policy,
            Some(1011) if says(&["unavailable"]) => CloseClass::Unavailable,
            Some(1011) if says(&["deadline"]) => CloseClass::Deadline,
            Some(1011) => CloseClass::Internal,
            Some(_) => CloseClass::Other,
        }
    }

    /// The label of its counter.
    pub(super) const fn label(self) -> &'static str {
        match self {
            CloseClass::Key => "key",
            CloseClass::Quota => "quota",
            CloseClass::NotFound => "not_found",
            CloseClass::Argument => "argument",
            CloseClass::Policy => "policy",
            CloseClass::Aborted => "aborted",
            CloseClass::Unavailable => "unavailable",
            CloseClass::Deadline => "deadline",
            CloseClass::Internal => "internal",
            CloseClass::Normal => "normal",
            CloseClass::Lost => "lost",
            CloseClass::Other => "other",
        }
    }

    /// What another attempt may be.
    pub(super) const fn remedy(self) -> Remedy {
        match self {
            CloseClass::Key | CloseClass::Quota | CloseClass::NotFound | CloseClass::Argument => {
                Remedy::None
            }
            CloseClass::Policy => Remedy::WithoutResumption,
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
    pub(super) const fn advice(self) -> Option<&'static str> {
        match self {
            CloseClass::Key => Some("check GEMINI_API_KEY"),
            CloseClass::Quota => Some("the account's quota is used up"),
            CloseClass::NotFound => Some("check gemini.model and gemini.api_version"),
            CloseClass::Argument => Some("the model does not take this setup: check the agent"),
            _ => None,
        }
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
    fn every_reported_close_has_its_class() {
        for (code, reason, class) in [
            (1007, "API key expired. Please renew the API key.", CloseClass::Key),
            (1007, "API key not valid. Please pass a valid API key.", CloseClass::Key),
            (1007, "Request contains an invalid argument.", CloseClass::Argument),
            (1007, "Invalid resource field value", CloseClass::Argument),
            (1007, "Unknown name \"toolConfig\" at 'setup'", CloseClass::Argument),
            (1008, "models/X is not found for API version v1beta", CloseClass::NotFound),
            (1008, "Publisher Model was not found or your project", CloseClass::NotFound),
            (1008, "Operation is not implemented, or supported", CloseClass::Policy),
            (1008, "The operation was aborted.", CloseClass::Aborted),
            (1011, "Internal error encountered.", CloseClass::Internal),
            (1011, "Deadline expired before operation could complete.", CloseClass::Deadline),
            (1011, "The service is currently unavailable.", CloseClass::Unavailable),
            (1011, "You exceeded your current quota, please check", CloseClass::Quota),
            (1011, "RESOURCE_EXHAUSTED", CloseClass::Quota),
            (1000, "", CloseClass::Normal),
            (1001, "", CloseClass::Unavailable),
            (1012, "", CloseClass::Unavailable),
            (1013, "", CloseClass::Unavailable),
            (4000, "", CloseClass::Other),
        ] {
            assert_eq!(CloseClass::of(Some(code), reason), class, "{code} {reason}");
        }
        assert_eq!(CloseClass::of(None, ""), CloseClass::Lost);
    }

    #[test]
    fn a_used_up_quota_is_not_asked_again_though_its_code_is_that_of_a_fault() {
        assert_eq!(CloseClass::of(Some(1011), "exceeded your quota").remedy(), Remedy::None);
        assert_eq!(CloseClass::of(Some(1011), "Internal error").remedy(), Remedy::Again);
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
