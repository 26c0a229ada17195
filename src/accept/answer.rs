//! Answers: a status, a body, the header fields that go with them.
//!
//! In:       what a route has to say.
//! Out:      the bytes of an HTTP response.
//! Bounds:   bodies are ours: the page, the figures, TwiML, short JSON.
//! Not here: which answer is due (`accept::routes`, `accept::carrier`).

use std::borrow::Cow;

use super::date::imf_fixdate;
use crate::clock::unix_seconds;
use crate::wire::http;

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty where there is no body.
    content_type: &'static str,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

/// How an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whether the connection stays open.
    pub(super) keep_alive: bool,
    /// The request was HEAD: the body stays here.
    pub(super) head_only: bool,
}

impl Answer {
    /// A body of this type.
    pub(super) fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Answer {
        Answer { status, content_type, fields: Vec::new(), body: body.into() }
            .with("X-Content-Type-Options", "nosniff")
    }

    /// A word for a prober.
    pub(super) fn text(status: u16, word: &'static str) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", word.as_bytes()).uncached()
    }

    /// A document for the carrier.
    pub(super) fn twiml(document: String) -> Answer {
        Answer::new(200, "text/xml; charset=utf-8", document.into_bytes()).uncached()
    }

    /// JSON, already written.
    pub(super) fn json(status: u16, json: String) -> Answer {
        Answer::new(status, "application/json", json.into_bytes()).uncached()
    }

    /// `{"error":"…"}`. `why` is our own words: nothing in it needs an escape.
    pub(super) fn error(status: u16, why: &str) -> Answer {
        debug_assert!(!why.contains(['"', '\\']) && why.chars().all(|c| c >= ' '), "{why}");
        Answer::json(status, format!("{{\"error\":\"{why}\"}}"))
    }

    /// The 401 to a request that lacks a token, or shows a wrong one.
    pub(super) fn unauthorized(why: &str) -> Answer {
        Answer::error(401, why).with("WWW-Authenticate", "Bearer")
    }

    /// A calendar that may be kept, and asked for again by its tag.
    pub(super) fn calendar(text: &str, tag: String) -> Answer {
        Answer::new(200, "text/calendar; charset=utf-8", text.as_bytes().to_vec()).revalidated(tag)
    }

    /// The reader has what has this tag.
    pub(super) fn not_modified(tag: String) -> Answer {
        Answer { status: 304, ..Answer::no_content() }.revalidated(tag)
    }

    /// Only for its reader, who asks each time whether it still holds.
    fn revalidated(self, tag: String) -> Answer {
        self.with("ETag", tag).with("Cache-Control", "private, no-cache")
    }

    /// Done, and nothing to say.
    pub(super) fn no_content() -> Answer {
        Answer { status: 204, content_type: "", fields: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// With one more header field.
    pub(super) fn with(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    fn uncached(self) -> Answer {
        self.with("Cache-Control", "no-store")
    }

    /// Appends the response.
    pub(super) fn write(&self, out: &mut Vec<u8>, terms: Terms) {
        let date = imf_fixdate(unix_seconds());
        let mut fields = vec![("Date", date.as_str())];
        fields.extend(self.fields.iter().map(|(name, value)| (*name, &**value)));
        let Terms { keep_alive, head_only } = terms;
        http::write_response(
            out,
            self.status,
            self.content_type,
            &fields,
            &self.body,
            keep_alive,
            head_only,
        );
    }
}

/// The status as the counters know it.
pub(super) const fn status_label(status: u16) -> &'static str {
    match status {
        101 => "101",
        200 => "200",
        204 => "204",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        414 => "414",
        415 => "415",
        417 => "417",
        426 => "426",
        429 => "429",
        431 => "431",
        501 => "501",
        503 => "503",
        505 => "505",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_short_json_that_nobody_keeps() {
        let mut out = Vec::new();
        let terms = Terms { keep_alive: false, head_only: false };
        Answer::error(404, "no such path").write(&mut out, terms);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Type: application/json\r\n"), "{text}");
        assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n{\"error\":\"no such path\"}"), "{text}");
    }
}
