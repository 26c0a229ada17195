//! `application/x-www-form-urlencoded`: the body of a webhook, or the query of its address.
//!
//! In:       the bytes of the body, or the query without its `?`.
//! Out:      names and values in their order, decoded, nothing trimmed, empty values kept: the
//!           signature covers every one of them.
//! Bounds:   [`FIELDS_MAX`]; the HTTP room has bounded the body.
//! Not here: the signature (`wire::signature`), where the body ends (`wire::http`).

/// Fields of one form; Twilio sends about forty. One more is [`FormError::TooMany`].
pub const FIELDS_MAX: usize = 128;

/// Why a body is not a form. All are answered with status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// A `%` without two hex digits behind it, at this byte.
    BadEscape {
        /// Index of the `%`.
        at: usize,
    },
    /// A name or a value that is not UTF-8 once decoded.
    NotUtf8 {
        /// Counts the fields, from 0.
        field: usize,
    },
    /// More than [`FIELDS_MAX`] fields.
    TooMany,
}

/// Names and values of a form. Empty pieces between two `&` are no fields; a piece without `=` is a
/// name with an empty value.
pub fn parse(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let mut fields = Vec::new();
    let mut at = 0;
    for piece in body.split(|byte| *byte == b'&') {
        if !piece.is_empty() {
            if fields.len() == FIELDS_MAX {
                return Err(FormError::TooMany);
            }
            let name_len = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
            let value = piece.get(name_len + 1..).unwrap_or_default();
            let field = fields.len();
            let name = decode(&piece[..name_len], at, field)?;
            let value = decode(value, at + name_len + 1, field)?;
            fields.push((name, value));
        }
        at += piece.len() + 1;
    }
    Ok(fields)
}

/// The value of the first field `name`.
pub fn value<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Resolves `+` and `%XX` in `text`, which stands at `start` of the body in field number `field`.
fn decode(text: &[u8], start: usize, field: usize) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let bad = FormError::BadEscape { at: start + at - 1 };
                let hex = |index| text.get(index).and_then(|digit| char::from(*digit).to_digit(16));
                let (Some(high), Some(low)) = (hex(at), hex(at + 1)) else { return Err(bad) };
                at += 2;
                (high << 4 | low) as u8
            }
            itself => itself,
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::NotUtf8 { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(body: &str) -> Vec<(String, String)> {
        parse(body.as_bytes()).unwrap()
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn names_and_values_come_decoded_and_in_order() {
        assert_eq!(
            pairs("From=%2B18005550199&City=S%C3%A3o+Paulo&A=+x+&B=a%2Bb+c%26d%3De%25"),
            owned(&[
                ("From", "+18005550199"),
                ("City", "São Paulo"),
                ("A", " x "),
                ("B", "a+b c&d=e%"),
            ])
        );
    }

    #[test]
    fn empty_values_are_kept_and_empty_pieces_are_not_fields() {
        assert_eq!(
            pairs("&a=&b&&=c&d=e=f&"),
            owned(&[("a", ""), ("b", ""), ("", "c"), ("d", "e=f")])
        );
        assert_eq!(pairs(""), []);
        assert_eq!(value(&pairs("a=1&a=2"), "a"), Some("1"));
        assert_eq!(value(&pairs("a=1"), "A"), None);
    }

    #[test]
    fn broken_escapes_are_refused_where_they_stand() {
        for (body, at) in [("a=%", 2), ("a=%4", 2), ("x=1&%g1=", 4), ("a=1&b=%4%41", 6)] {
            assert_eq!(parse(body.as_bytes()), Err(FormError::BadEscape { at }), "{body}");
        }
        // An escape does not reach over the end of its value.
        assert_eq!(parse(b"a=%4&1=b"), Err(FormError::BadEscape { at: 2 }));
        assert_eq!(parse(b"a=%+1"), Err(FormError::BadEscape { at: 2 }));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        for body in [&b"ok=1&a=%ff"[..], b"ok=1&%C3=x", b"ok=1&a=\xe2\x82"] {
            assert_eq!(parse(body), Err(FormError::NotUtf8 { field: 1 }));
        }
    }

    #[test]
    fn a_form_has_at_most_so_many_fields() {
        let body = |fields: usize| vec!["a=b"; fields].join("&");
        assert_eq!(pairs(&body(FIELDS_MAX)).len(), FIELDS_MAX);
        assert_eq!(parse(body(FIELDS_MAX + 1).as_bytes()), Err(FormError::TooMany));
    }

    #[test]
    fn a_form_cut_at_any_byte_is_read_or_refused() {
        let body = "CallSid=CA2&FromCity=S%C3%A3o+Paulo&CallerName=Zo%C3%AB+%F0%9F%8E%A7&Z=";
        for end in 0..body.len() {
            if let Ok(fields) = parse(&body.as_bytes()[..end]) {
                assert!(fields.len() <= 4);
            }
        }
    }
}
