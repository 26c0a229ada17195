//! Secrets that requests bring: bearer tokens, and their comparison with ours.
//!
//! In:       `Authorization`, a text, the secrets that let in.
//! Out:      whether it is one of them. How much of it is, and of which, the time this takes does
//!           not tell: hashes are compared, and every one of them.
//! Not here: the per-call tokens (`wire::token`), the carrier's signatures (`wire::signature`).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::config::Secret;

/// What a bearer token turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// It is one of ours, or none is needed.
    Good,
    /// There is none.
    Missing,
    /// It is none of ours.
    Wrong,
}

impl Bearer {
    /// Judges `given` by `known`; where there are none, none is needed.
    pub(super) fn judge<'k>(
        given: Option<&str>,
        known: impl IntoIterator<Item = &'k Secret>,
    ) -> Bearer {
        let mut known = known.into_iter().peekable();
        match given {
            _ if known.peek().is_none() => Bearer::Good,
            None => Bearer::Missing,
            Some(given) if is_one_of(given, known) => Bearer::Good,
            Some(_) => Bearer::Wrong,
        }
    }
}

/// The token of an `Authorization: Bearer`, RFC 6750 section 2.1; the scheme in any case.
pub(super) fn bearer_in(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// Whether `given` is one of `known`.
pub(super) fn is_one_of<'k>(given: &str, known: impl IntoIterator<Item = &'k Secret>) -> bool {
    let given = digest(&SHA256, given.as_bytes());
    known.into_iter().fold(false, |found, secret| {
        let secret = digest(&SHA256, secret.reveal().as_bytes());
        found | verify_slices_are_equal(given.as_ref(), secret.as_ref()).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_several_tokens_opens_and_nothing_else_does() {
        let known = ["0123456789abcdef", "fedcba9876543210"].map(|t| Secret::new(t.to_owned()));
        let judge = |given| Bearer::judge(given, &known);
        assert_eq!(judge(Some("0123456789abcdef")), Bearer::Good);
        assert_eq!(judge(Some("fedcba9876543210")), Bearer::Good);
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert_eq!(judge(Some(wrong)), Bearer::Wrong, "{wrong}");
        }
        assert_eq!(judge(None), Bearer::Missing);
        assert_eq!(Bearer::judge(None, &[]), Bearer::Good, "none is needed");
        assert_eq!(Bearer::judge(Some("x"), &[]), Bearer::Good);
    }

    #[test]
    fn a_bearer_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer_in(Some("Bearer abc")), Some("abc"));
        assert_eq!(bearer_in(Some("bEARER   abc")), Some("abc"));
        for none in ["Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(bearer_in(Some(none)), None, "{none}");
        }
        assert_eq!(bearer_in(None), None);
    }
}
