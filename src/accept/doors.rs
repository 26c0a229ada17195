//! Upgrades: from a request to a WebSocket with a place on a worker.
//!
//! In:       a request that may be answered 101, and the door it came to.
//! Out:      the 101 and a place, or the answer that refuses.
//! Bounds:   capacity, by `Desk::welcome`; [`ARRIVALS_MAX`] that were not yet let in.
//! Not here: which door (`accept::routes`), the socket's way to the worker (`accept::inbound`).

use super::answer::Answer;
use super::carrier::Signed;
use super::desk::{Desk, Outcome, Placed};
use super::guests::Pass;
use super::origin::is_own_page;
use super::request::{Request, SUBPROTOCOL};
use super::secrets::{Bearer, bearer_in};
use crate::call::{Door, Refusal};
use crate::clock::Nanos;
use crate::config::Carrier;
use crate::limits::ARRIVALS_MAX;
use crate::wire::dialect::JAMBONZ_SUBPROTOCOL;
use crate::wire::form;
use crate::wire::signature::handshake_candidates;
use crate::wire::token::TOKEN_BYTES_MAX;
use crate::wire::upgrade::write_accepted;

impl Desk {
    /// Answers a request for a WebSocket.
    pub(super) fn upgrade(&mut self, now: Nanos, request: &Request, door: Door) -> Outcome {
        let Ok(upgrade) = request.upgrade else {
            return Outcome::Answer(Answer::error(400, "not an upgrade"));
        };
        // Other carriers sign no handshake: their tokens tell, at the stream's beginning.
        // First: who cannot be a carrier is told so, however full we are.
        if matches!(door, Door::Twilio | Door::Fork)
            && let Err(answer) = self.check_handshake(now, request)
        {
            return Outcome::Answer(answer);
        }
        // In its `hello` it will ask for a conversation that has a place; its token will tell.
        let may_return = upgrade.offers_return
            && matches!(door, Door::Web | Door::Unknown)
            && self.has_conversations();
        let pass = match self.check_browser(now, request, door, may_return) {
            Ok(pass) => pass,
            Err(answer) => return Outcome::Answer(answer),
        };
        let may_be_promised =
            matches!(door, Door::Twilio | Door::Carrier(_)) && self.has_promises();
        let refusal = match self.welcome(now) {
            // It takes no place of its own; its token will tell.
            Err(_) if door == Door::Fork => None,
            // Its webhook may have been answered before; its token will tell.
            Err(_) if may_be_promised || may_return => None,
            welcome => welcome.err(),
        };
        let worker = self.emptiest().filter(|_| self.guests.arriving() < ARRIVALS_MAX);
        let worker = match (refusal, worker) {
            (None, Some(worker)) => worker,
            (refusal, _) => {
                let refusal = refusal.unwrap_or(Refusal::Full);
                self.count_refusal(refusal);
                return Outcome::Answer(Answer::error(503, refusal.label()));
            }
        };
        let is_ours = upgrade.offers_ours && matches!(door, Door::Web | Door::Unknown);
        let is_jambonz = upgrade.offers_jambonz
            && matches!(door, Door::Carrier(Carrier::Jambonz) | Door::Unknown);
        let subprotocol = match is_ours {
            true => Some(SUBPROTOCOL),
            false => is_jambonz.then_some(JAMBONZ_SUBPROTOCOL),
        };
        let mut response = Vec::new();
        write_accepted(&mut response, &upgrade.accept, subprotocol);
        self.shared.upgrades.count(label(door));
        Outcome::Upgrade { placed: Placed { place: self.place(worker), door, pass }, response }
    }

    /// Refuses what no browser that may talk to us sends; returns what counts if it is one. A
    /// carrier says no `Origin`: who does is a browser.
    fn check_browser(
        &mut self,
        now: Nanos,
        request: &Request,
        door: Door,
        may_return: bool,
    ) -> Result<Pass, Answer> {
        let web = &self.config.web;
        let pass = Pass {
            is_allowed: request.client.is_in(web.allow.as_ref()),
            bearer: Bearer::judge(bearer_in(request.authorization.as_deref()), &web.tokens),
            query_token: query_token(request),
        };
        let is_browser =
            door == Door::Web || (door == Door::Unknown && request.page_origin.is_some());
        if is_browser && !pass.is_allowed {
            self.turn_away(now, request, Refusal::NotAllowed);
            return Err(Answer::error(403, "this address is not allowed"));
        }
        if !self.is_own_page(request) {
            self.shared.http_faults.count("foreign_page");
            return Err(Answer::error(403, "a page of another origin"));
        }
        // One without a token may say it in its first message.
        if is_browser && pass.bearer == Bearer::Wrong {
            self.turn_away(now, request, Refusal::BadToken);
            return Err(Answer::unauthorized("wrong token"));
        }
        if is_browser && !may_return && self.is_address_full(request.client.address) {
            self.turn_away(now, request, Refusal::AddressFull);
            return Err(Answer::error(429, "too many calls from this address"));
        }
        Ok(pass)
    }

    /// Counts a browser that is refused before its upgrade, and says so.
    fn turn_away(&mut self, now: Nanos, request: &Request, refusal: Refusal) {
        self.count_refusal(refusal);
        if let Some(left_out) = self.limiters.refused.may_speak(now) {
            let (peer, reason) = (request.client.address, refusal.label());
            log::warn!(target: "web", "event=refused peer={peer} reason={reason}{left_out}");
        }
    }

    /// Whether no page, or one that may talk to us, asks.
    fn is_own_page(&self, request: &Request) -> bool {
        let allowed = &self.config.web.allowed_origins;
        if !allowed.is_empty() {
            let page = request.page_origin.as_deref();
            return page.is_none_or(|page| allowed.iter().any(|origin| origin == page));
        }
        let public_url = self.config.server.public_url.as_deref();
        let host = request.host.as_deref();
        let page = request.page_origin.as_deref();
        let by_tls = request.client.secure == Some(true);
        page.is_none_or(|page| is_own_page(page, public_url, host, by_tls))
    }

    fn check_handshake(&mut self, now: Nanos, request: &Request) -> Result<(), Answer> {
        let mut verbatim = self.config.twilio.signed_urls.clone();
        let candidates = match self.origin(request) {
            Some(origin) => {
                verbatim.extend([origin.stream_url(), origin.tracks_url(), origin.websocket()]);
                handshake_candidates(&origin.http(), request.target(), &verbatim)
            }
            None => verbatim,
        };
        self.check_signature(now, request, &candidates, Signed::Handshake).map(drop)
    }
}

/// The per-call token in the address of a stream, for a carrier that keeps it there.
fn query_token(request: &Request) -> Option<String> {
    let query = Some(request.query()).filter(|query| !query.is_empty())?;
    let fields = form::parse(query.as_bytes()).ok()?;
    form::value(&fields, "token").filter(|token| token.len() <= TOKEN_BYTES_MAX).map(str::to_owned)
}

/// The door as the counters know it.
const fn label(door: Door) -> &'static str {
    match door {
        Door::Twilio | Door::Carrier(_) => "twilio",
        Door::Web => "web",
        Door::Fork => "fork",
        Door::Unknown => "unknown",
    }
}
