//! What browsers load: the page, and the module it is made with, for other pages to embed.
//!
//! In:       `page/page.html`, `page/page.js`, `page/vocaris.js`, built into the program; whether
//!           the demo agent answers.
//! Out:      the answers to `GET /` and `GET /vocaris.js`.
//! Not here: what the page does (`page/page.js`), how it talks to us (`page/vocaris.js`).
//!
//! The page is one file: the module and the page's own script stand in it as one script. That
//! script and the style are the only ones the browser will run: the policy names their hashes.
//! `blob:` is the audio worklet, which the module makes from its own text.

use aws_lc_rs::digest::{SHA256, digest};

use super::answer::Answer;
use crate::config::Config;
use crate::wire::base64;

const HTML: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const MODULE: &str = include_str!("page/vocaris.js");
/// Opens the demo's calendar. It is too short for a configured one: those stay secret.
const DEMO_CALENDAR_TOKEN: &str = "demo";
/// Where the script belongs in the page.
const SCRIPT_GOES_HERE: &str = "/* the script */";

/// The page and what its header fields say.
#[derive(Debug)]
pub(super) struct Page {
    html: String,
    policy: String,
}

impl Page {
    pub(super) fn new(config: &Config) -> Page {
        let script = format!("{MODULE}\n{SCRIPT}");
        let html = HTML.replacen(SCRIPT_GOES_HERE, &script, 1);
        let html = html.replacen("<html", &format!("<html{}", marks(config)), 1);
        let script = hash(between(&html, "<script type=\"module\">", "</script>"));
        let style = hash(between(&html, "<style>", "</style>"));
        Page {
            policy: format!(
                "default-src 'none'; script-src '{script}' blob:; style-src '{style}'; \
                 connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            ),
            html,
        }
    }

    /// The page.
    pub(super) fn answer(&self) -> Answer {
        Answer::new(200, "text/html; charset=utf-8", self.html.clone().into_bytes())
            .with("Content-Security-Policy", self.policy.clone())
            .with("Referrer-Policy", "no-referrer")
            .with("Permissions-Policy", "microphone=(self)")
            .with("Cache-Control", "no-cache")
    }

    /// The module. Any site may load it; whether its visitors may talk is decided at the door.
    pub(super) fn module() -> Answer {
        Answer::new(200, "text/javascript; charset=utf-8", MODULE.as_bytes())
            .with("Access-Control-Allow-Origin", "*")
            .with("Cross-Origin-Resource-Policy", "cross-origin")
            .with("Cache-Control", "no-cache")
    }
}

/// What the page is told of the relay, as attributes: whether somebody answers who needs no key, on
/// this machine, which is the demo agent; and where its calendar is.
fn marks(config: &Config) -> String {
    if config.gemini.has_credentials() || config.gemini.url.tls {
        return String::new();
    }
    let token = config.appointments.calendar_token.as_ref();
    match token.is_some_and(|token| token.reveal() == DEMO_CALENDAR_TOKEN) {
        true => format!(
            " data-demo=\"true\" data-calendar=\"calendar.ics?token={DEMO_CALENDAR_TOKEN}\""
        ),
        false => " data-demo=\"true\"".to_owned(),
    }
}

/// What stands between the first `open` and the `close` behind it.
pub(super) fn between<'a>(html: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = html.split_once(open).expect("the page has this element");
    rest.split_once(close).expect("the page closes this element").0
}

/// A hash as the policy spells it.
pub(super) fn hash(text: &str) -> String {
    let mut base64 = Vec::new();
    base64::encode_append(digest(&SHA256, text.as_bytes()).as_ref(), &mut base64);
    format!("sha256-{}", String::from_utf8(base64).expect("base64 is ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new(&Config::read(None, std::iter::empty()).unwrap())
    }

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        let html = page().html;
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("</script").count(), 1);
        assert_eq!(html.matches("<style").count(), 1);
        assert!(html.contains("export class Conversation") && html.contains("new Conversation("));
        let markup = HTML.split("<style>").next().unwrap().len()
            + HTML.split("</style>").nth(1).unwrap().len();
        assert!(markup > 1000, "the page has markup besides its style");
        for loading in [" src=", "@import", "url(", " style=", " onclick=", "eval(", "innerHTML"] {
            assert!(!html.contains(loading), "{loading}");
        }
        let addresses = html.split("http").skip(1).filter(|rest| rest.starts_with("s://"));
        for address in addresses {
            assert!(address.starts_with("s://voice.example.com/"), "only the example of the docs");
        }
    }

    #[test]
    fn the_policy_names_the_hashes_in_the_spelling_browsers_read() {
        // printf %s 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert_eq!(hash("alert(1)"), "sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=");
        let policy = page().policy;
        assert!(policy.contains("script-src 'sha256-") && policy.contains("style-src 'sha256-"));
    }

    #[test]
    fn only_a_demo_shows_the_demos_buttons() {
        assert!(!page().html.contains("data-demo=\"true\""));
        let mut config = Config::read(None, std::iter::empty()).unwrap();
        config.gemini.url.tls = false;
        let demo = Page::new(&config);
        let marks = r#"<html data-demo="true" data-calendar="calendar.ics?token=demo" lang="#;
        assert!(demo.html.contains(marks));
        assert_eq!(demo.policy, page().policy, "the script is the same");
        let secret = crate::config::Secret::new("not for everybody".to_owned());
        config.appointments.calendar_token = Some(secret);
        assert!(!Page::new(&config).html.contains("not for everybody"));
    }
}
