//! What a peer told of itself, as a value in a line for people and machines.

use std::fmt::{self, Display};

/// Characters shown of one such value. The rest is cut, and an ellipsis says so.
pub const VALUE_MAX_CHARS: usize = 64;

/// What a peer told: bare where it is one plain word, else quoted, escaped and cut. It cannot end
/// the line, move a cursor, or look like the pair behind it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'t>(pub &'t str);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"+-_.@".contains(&b);
        let Told(told) = self;
        if !told.is_empty() && told.len() <= VALUE_MAX_CHARS && told.bytes().all(is_plain) {
            return f.write_str(told);
        }
        let end = told.char_indices().nth(VALUE_MAX_CHARS).map_or(told.len(), |(at, _)| at);
        let ellipsis = if end < told.len() { "..." } else { "" };
        write!(f, "\"{}{ellipsis}\"", told[..end].escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plain_word_is_bare_and_everything_else_is_quoted() {
        for bare in ["CA0123", "+15551234567", "a_b-c.d@e"] {
            assert_eq!(Told(bare).to_string(), bare);
        }
        for (told, shown) in [
            ("", r#""""#),
            ("x event=ended", r#""x event=ended""#),
            ("sip:x", r#""sip:x""#),
            ("a\nb\"c\u{1b}", r#""a\nb\"c\u{1b}""#),
        ] {
            assert_eq!(Told(told).to_string(), shown);
        }
    }

    #[test]
    fn a_long_value_is_cut_between_two_characters() {
        let long = "\u{fc}".repeat(VALUE_MAX_CHARS + 1);
        assert_eq!(Told(&long).to_string(), format!("\"{}...\"", &long[..2 * VALUE_MAX_CHARS]));
    }
}
