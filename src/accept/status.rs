//! The operator's page, who may read it; health and readiness.
//!
//! | address | answer |
//! |---|---|
//! | `/healthz` | 200 while every media thread turns; else 503: a restart is the only cure |
//! | `/readyz` | 200 while a new call is welcome; else 503, with the reason |
//! | `/status` | the page, which holds no figure by itself |
//! | `/status.json` | the figures: with `admin.token`, or from this machine where none is set |
//!
//! A thread turns no more when it has been in one turn for longer than [`HUNG_AFTER`]. A new call
//! is not welcome to a relay that is draining, full or late, that has hardly a descriptor left, a
//! used-up quota or a stuck thread, or that cannot accept connections.
//!
//! In:       requests, lateness of the media threads.
//! Out:      answers.
//! Not here: the figures (`metrics::status`), what the page does (`page/status.js`).
//!
//! From this machine is: through loopback, handed on by nobody, and asked for by a name of
//! loopback. The last keeps out other sites' pages whose name was bent to lead here, and proxies
//! that do not say for whom they ask.

use std::net::IpAddr;

use super::answer::Answer;
use super::client::Provenance;
use super::desk::Desk;
use super::page::{between, hash};
use super::request::Request;
use crate::clock::Nanos;
#[cfg(doc)]
use crate::metrics::lateness::HUNG_AFTER;

const HTML: &str = include_str!("page/status.html");
const SCRIPT: &str = include_str!("page/status.js");
/// Where the script belongs in the page.
const SCRIPT_GOES_HERE: &str = "/* the script */";

/// The operator's page and what its header fields say.
#[derive(Debug)]
pub(super) struct StatusPage {
    html: String,
    policy: String,
}

impl StatusPage {
    pub(super) fn new() -> StatusPage {
        let html = HTML.replacen(SCRIPT_GOES_HERE, SCRIPT, 1);
        let script = hash(between(&html, "<script type=\"module\">", "</script>"));
        let style = hash(between(&html, "<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        StatusPage { html, policy }
    }

    /// The page.
    pub(super) fn answer(&self) -> Answer {
        Answer::new(200, "text/html; charset=utf-8", self.html.clone().into_bytes())
            .with("Content-Security-Policy", self.policy.clone())
            .with("Referrer-Policy", "no-referrer")
            .with("Cross-Origin-Opener-Policy", "same-origin")
            .with("Cache-Control", "no-cache")
    }
}

impl Desk {
    /// The page asks for the token itself; without one it is for this machine, like its figures.
    pub(super) fn check_status_page(&self, request: &Request) -> Result<(), Answer> {
        let admin = &self.config.admin;
        match admin.token {
            Some(_) if request.client.is_in(admin.allow.as_ref()) => Ok(()),
            _ => self.check_status(request),
        }
    }

    /// The figures of the page are for those who show the token, or who are at this machine.
    pub(super) fn check_status(&self, request: &Request) -> Result<(), Answer> {
        self.check_admin(request)?;
        if self.config.admin.token.is_some() || is_from_here(request) {
            return Ok(());
        }
        self.shared.http_faults.count("status_from_elsewhere");
        Err(Answer::error(403, "admin.token is not set: only http://localhost may read this"))
    }

    /// The answer to one request for the page's figures, which waits no longer.
    pub(super) fn status_answer(&mut self, json: Option<String>) -> Answer {
        self.tickets_waiting -= 1;
        match json {
            Some(json) => Answer::json(200, json),
            None => Answer::error(503, "the answer did not come in time"),
        }
    }

    pub(super) fn healthz(&self, now: Nanos) -> Answer {
        match self.stuck(now) {
            Some(why) => Answer::error(503, &why),
            None => Answer::text(200, "ok"),
        }
    }

    pub(super) fn readyz(&mut self, now: Nanos) -> Answer {
        if let Some(why) = self.stuck(now) {
            return Answer::error(503, &why);
        }
        match self.welcome(now) {
            Ok(()) if self.accepts_fail(now) => {
                Answer::error(503, "connections cannot be accepted")
            }
            Ok(()) => Answer::text(200, "ready"),
            Err(refusal) => Answer::error(503, refusal.label()),
        }
    }

    /// The media thread that will not end its turn, and for how long it has been in it.
    pub(super) fn stuck(&self, now: Nanos) -> Option<String> {
        let (worker, stuck_for) = self.load.lateness().hung(now)?;
        Some(format!("worker-{worker} has been in one turn for {} s", stuck_for.as_secs()))
    }
}

/// Whether a request comes from this machine: see the module.
fn is_from_here(request: &Request) -> bool {
    let is_direct = request.client.provenance == Provenance::Direct && !request.is_forwarded;
    let host = request.host.as_deref().is_some_and(is_loopback_name);
    is_direct && host && request.client.address.to_canonical().is_loopback()
}

/// Whether a `Host`, with a port or without, is `localhost` or an address of loopback.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    name.eq_ignore_ascii_case("localhost") || address()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        let StatusPage { html, policy } = StatusPage::new();
        for tag in ["<script", "</script", "<style", "</style"] {
            assert_eq!(html.matches(tag).count(), 1, "{tag}");
        }
        assert!(html.contains("fetch(\"status.json\"") && !html.contains(SCRIPT_GOES_HERE));
        for loading in [" src=", "@import", "url(", " style=", " onclick=", "eval(", "innerHTML"] {
            assert!(!html.contains(loading), "{loading}");
        }
        assert!(!html.contains("https://") && !policy.contains("unsafe"));
    }

    #[test]
    fn only_loopbacks_own_names_are_names_of_loopback() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.8.0.1:80", "[::1]:8080"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", ":80", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "::1"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
