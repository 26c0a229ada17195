//! The browsers' page: one file, nothing from anywhere else.
//!
//! In:       `page.html`, built into the program.
//! Out:      the answer to `GET /`.
//! Not here: what the page does (`page.html`).
//!
//! The page's own script and style are the only ones the browser will run: the policy names their
//! hashes. `blob:` is the audio worklet, which the script makes from its own text.

use aws_lc_rs::digest::{SHA256, digest};

use super::answer::Answer;
use crate::wire::base64;

const HTML: &str = include_str!("page.html");

/// The page and what its header fields say.
#[derive(Debug)]
pub(super) struct Page {
    policy: String,
}

impl Page {
    pub(super) fn new() -> Page {
        let script = hash(between(HTML, "<script>", "</script>"));
        let style = hash(between(HTML, "<style>", "</style>"));
        Page {
            policy: format!(
                "default-src 'none'; script-src '{script}' blob:; style-src '{style}'; \
                 connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            ),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        Answer::new(200, "text/html; charset=utf-8", HTML.as_bytes())
            .with("Content-Security-Policy", self.policy.clone())
            .with("Referrer-Policy", "no-referrer")
            .with("Permissions-Policy", "microphone=(self)")
            .with("Cache-Control", "no-cache")
    }
}

/// What stands between the first `open` and the `close` behind it.
fn between<'a>(html: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = html.split_once(open).expect("the page has this element");
    rest.split_once(close).expect("the page closes this element").0
}

/// A hash as the policy spells it.
fn hash(text: &str) -> String {
    let mut base64 = Vec::new();
    base64::encode_append(digest(&SHA256, text.as_bytes()).as_ref(), &mut base64);
    format!("sha256-{}", String::from_utf8(base64).expect("base64 is ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        assert_eq!(HTML.matches("<script").count(), 1);
        assert_eq!(HTML.matches("<style").count(), 1);
        for loading in [" src=", "@import", "url(", "http://", "https://", " style=", " onclick="] {
            assert!(!HTML.contains(loading), "{loading}");
        }
    }

    #[test]
    fn the_policy_names_the_hashes_in_the_spelling_browsers_read() {
        // printf %s 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert_eq!(hash("alert(1)"), "sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=");
        let policy = Page::new().policy;
        assert!(policy.contains("script-src 'sha256-") && policy.contains("style-src 'sha256-"));
    }
}
