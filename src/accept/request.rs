//! A request as the routes see it: what its head told, owned, so that the bytes may go.
//!
//! In:       a [`RequestHead`].
//! Out:      a [`Request`].
//! Bounds:   those of a head (`wire::http`).
//! Not here: what a path means (`accept::routes`).

use std::net::IpAddr;

use super::client::{Client, forwarded_host};
use crate::config::Networks;
use crate::wire::dialect::JAMBONZ_SUBPROTOCOL;
use crate::wire::http::{Body, HttpError, Method, RequestHead, body};
use crate::wire::upgrade::{ACCEPT_BYTES, UpgradeError, accept_value, check_request};

/// Offered beside the browsers' own by one that will ask in `hello` for a conversation it has had.
pub(super) const RETURN_SUBPROTOCOL: &str = "vocaris.resume";
/// The subprotocol of browsers.
pub(super) const SUBPROTOCOL: &str = "vocaris.v1";

/// What proxies add to a request they hand on.
const FORWARDERS: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// One request, without its body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Who sent it.
    pub(super) client: Client,
    /// Path and query, as sent.
    target: String,
    /// Of `target`, how much is path.
    path_bytes: usize,
    /// Host and port that the client asked for; `None` only where HTTP/1.0 named none.
    pub(super) host: Option<String>,
    /// A trusted proxy said a host that is none, which is not looked at.
    pub(super) is_host_garbled: bool,
    /// The media type without its parameters.
    pub(super) content_type: Option<String>,
    /// `X-Twilio-Signature`.
    pub(super) signature: Option<String>,
    /// `X-Twilio-Webhooks-Signature-Settings`.
    pub(super) signature_settings: Option<String>,
    /// `telnyx-signature-ed25519`.
    pub(super) telnyx_signature: Option<String>,
    /// `telnyx-timestamp`.
    pub(super) telnyx_timestamp: Option<String>,
    /// `Authorization`.
    pub(super) authorization: Option<String>,
    /// `If-None-Match`: the tags of the answers it has.
    pub(super) if_none_match: Option<String>,
    /// Of which origin the page is that sent it: only browsers say `Origin`.
    pub(super) page_origin: Option<String>,
    /// Whether it says that it was handed on by somebody, trusted or not.
    pub(super) is_forwarded: bool,
    /// Whether it says to be the carrier's WebSocket client.
    pub(super) is_carriers_client: bool,
    /// The WebSocket it asks for, or why there is none.
    pub(super) upgrade: Result<Upgrade, UpgradeError>,
    pub(super) body: Body,
    /// Whether the connection stays open after an answer that is no 101.
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// A WebSocket that may be answered 101.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade {
    /// `Sec-WebSocket-Accept`.
    pub(super) accept: [u8; ACCEPT_BYTES],
    /// Whether [`SUBPROTOCOL`] is among those it offers.
    pub(super) offers_ours: bool,
    /// Whether [`RETURN_SUBPROTOCOL`] is.
    pub(super) offers_return: bool,
    /// Whether [`JAMBONZ_SUBPROTOCOL`] is.
    pub(super) offers_jambonz: bool,
}

impl Request {
    /// Keeps what the routes need of `head`, which came from `peer`: the client, or a proxy; by TLS
    /// or not.
    ///
    /// # Errors
    /// If its body has no certain length.
    pub(super) fn new(
        head: &RequestHead<'_>,
        peer: IpAddr,
        trusted: &Networks,
        is_tls: bool,
    ) -> Result<Request, HttpError> {
        let owned = |name| head.header(name).map(str::to_owned);
        let mut target = head.path.to_owned();
        if let Some(query) = head.query {
            target.push('?');
            target.push_str(query);
        }
        let forwarded = forwarded_host(head, peer, trusted);
        let host = forwarded.ok().flatten().or(head.host());
        let agent = head.header("user-agent").unwrap_or_default();
        Ok(Request {
            method: head.method,
            client: Client::of(head, peer, is_tls, trusted),
            target,
            path_bytes: head.path.len(),
            host: host.map(str::to_owned),
            is_host_garbled: forwarded.is_err(),
            content_type: head.header("content-type").map(media_type),
            signature: owned("x-twilio-signature"),
            signature_settings: owned("x-twilio-webhooks-signature-settings"),
            telnyx_signature: owned("telnyx-signature-ed25519"),
            telnyx_timestamp: owned("telnyx-timestamp"),
            authorization: owned("authorization"),
            if_none_match: owned("if-none-match"),
            page_origin: head
                .values("origin")
                .next()
                .map(|origin| String::from_utf8_lossy(origin).into_owned()),
            is_forwarded: FORWARDERS.iter().any(|name| head.header(name).is_some()),
            is_carriers_client: agent.starts_with("Twilio.TmeWs"),
            upgrade: check_request(head).map(|request| Upgrade {
                accept: accept_value(request.key),
                offers_ours: request.subprotocols().any(|name| name == SUBPROTOCOL),
                offers_return: request.subprotocols().any(|name| name == RETURN_SUBPROTOCOL),
                offers_jambonz: request.subprotocols().any(|name| name == JAMBONZ_SUBPROTOCOL),
            }),
            body: body(head)?,
            // One that asks for another protocol and is not answered 101 gets no second chance: a
            // proxy may have begun to tunnel, and what follows could be a request of its client's
            // own making.
            keep_alive: head.keep_alive() && head.values("upgrade").next().is_none(),
            expects_continue: head.expects_continue(),
        })
    }

    /// Path and query, as sent: what the carrier signs behind our origin.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn path(&self) -> &str {
        &self.target[..self.path_bytes]
    }

    /// What follows the `?`; empty without one.
    pub(super) fn query(&self) -> &str {
        self.target.get(self.path_bytes + 1..).unwrap_or("")
    }

    /// Whether the query has this pair, spelled just so.
    pub(super) fn query_has(&self, pair: &str) -> bool {
        self.query().split('&').any(|piece| piece == pair)
    }

    /// Whether something follows the head.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.body, Body::None | Body::Length(0))
    }
}

/// `type/subtype` in lower case.
fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}
