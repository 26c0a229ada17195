//! The webhooks of carriers other than Twilio: which fields they send, how they prove themselves,
//! what they are answered.
//!
//! | carrier | sends | proves itself by |
//! |---|---|---|
//! | SignalWire | a form, as Twilio does | the secret in its address |
//! | Telnyx | a form (TeXML) | Ed25519 over timestamp and body, the secret, or both |
//! | Plivo | a form | the secret in its address |
//! | Exotel | a query | the secret in its address |
//! | Vonage | a query, or a JSON object | the secret in its address |
//! | jambonz | a JSON object | the secret in its address |
//!
//! In:       requests whose path begins with a carrier's name.
//! Out:      documents in the carrier's markup, or an error.
//! Bounds:   as `accept::carrier`.
//! Not here: Twilio (`accept::carrier`), how documents are written (`wire::markup`), who is let in
//!           at the stream's beginning (`accept::admission`).

use super::answer::Answer;
use super::carrier::fields;
use super::desk::Desk;
use super::endings::CALL_SID_MAX_BYTES;
use super::limiter::LeftOut;
use super::names::name_of;
use super::request::Request;
use super::secrets::is_one_of;
use crate::call::{Refusal, Told};
use crate::clock::{Nanos, unix_seconds};
use crate::config::{Busy, Carrier, SignatureMode};
use crate::wire::form;
use crate::wire::http::Method;
use crate::wire::markup::{self, Document, StreamFacts};
use crate::wire::signature::SignatureError;
use crate::wire::telnyx;

/// The field of a webhook's query that holds the secret.
const KEY: &str = "key";

/// What a webhook calls the call and its two ends, the common name first.
struct Names {
    call: &'static str,
    from: [&'static str; 2],
    to: [&'static str; 2],
}

const fn names(carrier: Carrier) -> Names {
    let call = match carrier {
        Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx | Carrier::Exotel => "CallSid",
        Carrier::Plivo => "CallUUID",
        Carrier::Vonage => "uuid",
        Carrier::Jambonz => "call_sid",
    };
    match carrier {
        Carrier::Exotel => Names { call, from: ["CallFrom", "From"], to: ["CallTo", "To"] },
        Carrier::Vonage | Carrier::Jambonz => Names { call, from: ["from"; 2], to: ["to"; 2] },
        _ => Names { call, from: ["From"; 2], to: ["To"; 2] },
    }
}

/// What a path that begins with a carrier's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// A call has come.
    Incoming,
    /// What follows a closed stream.
    After,
    /// The stream itself.
    Media,
}

/// Whose path it is, and what for; Twilio's are the routes' own.
pub(super) fn errand(path: &str) -> Option<(Carrier, Errand)> {
    let (name, rest) = path.strip_prefix('/')?.split_once('/')?;
    let carrier = Carrier::of_label(name).filter(|&carrier| carrier != Carrier::Twilio)?;
    let errand = match rest.split_once('/').map_or((rest, ""), |parts| parts) {
        ("incoming", "") if !rest.ends_with('/') => Errand::Incoming,
        ("after", "") if !rest.ends_with('/') => Errand::After,
        ("media", more) if !more.contains('/') => Errand::Media,
        _ => return None,
    };
    Some((carrier, errand))
}

impl Desk {
    /// Whether `carrier` is served.
    pub(super) fn serves(&self, carrier: Carrier) -> bool {
        self.config.carriers.of(carrier).is_none_or(|terms| terms.enabled)
    }

    /// A call has come to `carrier`: its document leads it to our stream. The same call asked for
    /// twice gets two good answers.
    pub(super) fn carrier_incoming(
        &mut self,
        now: Nanos,
        carrier: Carrier,
        request: &Request,
        body: &[u8],
    ) -> Answer {
        let fields = match fields(request, body) {
            Ok(fields) => fields,
            Err(answer) => return answer,
        };
        let Names { call, from, to } = names(carrier);
        let value = |name| form::value(&fields, name).filter(|value| !value.is_empty());
        let call = value(call);
        if request.method != Method::Post && call.is_none() {
            return self.health(now);
        }
        let Some(origin) = self.origin(request) else {
            return Answer::error(400, "no Host, and no server.public_url is set");
        };
        let vouched = match self.check_carrier(now, carrier, request, body) {
            Ok(vouched) => vouched,
            Err(answer) => return answer,
        };
        let Some(call) = call else {
            return Answer::error(400, "the call has no name");
        };
        let name = &*name_of(carrier, call);
        if name.len() > CALL_SID_MAX_BYTES {
            return Answer::error(400, "the name of the call is too long");
        }
        let from = from.into_iter().find_map(value);
        let to = to.into_iter().find_map(value);
        let left_out = match vouched {
            true => Some(LeftOut::default()),
            false => self.limiters.webhooks.may_speak(now),
        };
        if let Some(refusal) = self.refusal_of(now, Some(name), from) {
            self.count_refusal(refusal);
            tell(carrier, call, Err(refusal), left_out);
            return self.busy_answer(carrier, refusal);
        }
        tell(carrier, call, Ok(()), left_out);
        let mode = self.config.carriers.mode(carrier, self.config.twilio.signature);
        // What nobody vouches for where somebody could is answered, but worth no session.
        let proven = vouched || mode == SignatureMode::Off;
        if proven {
            self.order_ahead(name, from, to);
        }
        let token = self.promise(name, proven, from);
        let Some(terms) = self.config.carriers.of(carrier) else {
            return Answer::error(404, "no such path");
        };
        let recording = &self.config.recording;
        let facts = StreamFacts {
            stream_url: &origin.stream_url_of(carrier),
            after_url: &origin.after_url_of(carrier),
            format: terms.format,
            token: &token,
            call: Some(call),
            from,
            to,
            say_first: recording.consent.as_deref().filter(|_| recording.enabled),
        };
        Answer::document(markup::stream(carrier, &facts))
    }

    /// A carrier asks what follows a closed stream.
    pub(super) fn carrier_after(
        &mut self,
        now: Nanos,
        carrier: Carrier,
        request: &Request,
        body: &[u8],
    ) -> Answer {
        match fields(request, body).and_then(|_| self.check_carrier(now, carrier, request, body)) {
            Ok(_) => Answer::document(markup::hangup(carrier)),
            // Whoever asks learns nothing by it, and no call hangs on a secret that jambonz drops.
            Err(_) if carrier == Carrier::Jambonz => Answer::document(markup::hangup(carrier)),
            Err(answer) => answer,
        }
    }

    fn busy_answer(&self, carrier: Carrier, refusal: Refusal) -> Answer {
        let sentence = match &self.config.twilio.busy {
            // The other host's webhook is Twilio's.
            Busy::Reject | Busy::Redirect(_) => None,
            Busy::Say(sentence) => Some(sentence.as_str()),
        };
        match markup::busy(carrier, sentence) {
            Some(document) => Answer::document(document),
            // Its flow goes on without us.
            None => Answer::error(503, refusal.label()),
        }
    }

    /// Checks what proves that a request is the carrier's, as the settings say. Returns whether it
    /// is proven.
    ///
    /// # Errors
    /// The 403, where proof is required and this is none.
    fn check_carrier(
        &mut self,
        now: Nanos,
        carrier: Carrier,
        request: &Request,
        body: &[u8],
    ) -> Result<bool, Answer> {
        let Some(terms) = self.config.carriers.of(carrier) else { return Ok(false) };
        let counted = &self.shared.signatures.webhook;
        if terms.signature == SignatureMode::Off {
            counted.count("not_checked");
            return Ok(false);
        }
        let by_key = match &terms.public_key {
            Some(key) if request.method == Method::Post => {
                let claim = telnyx::Claim {
                    signature: request.telnyx_signature.as_deref(),
                    timestamp: request.telnyx_timestamp.as_deref(),
                };
                telnyx::verify(key, claim, body, unix_seconds())
            }
            // Nothing else of a request is signed: not where its fields stand, if not in the body.
            Some(_) => Err(SignatureError::Missing),
            None => Ok(()),
        };
        let by_secret = || match &terms.secret {
            Some(secret) => {
                let query = form::parse(request.query().as_bytes()).unwrap_or_default();
                match form::value(&query, KEY) {
                    Some(given) if is_one_of(given, [secret]) => Ok(()),
                    Some(_) => Err(SignatureError::Mismatch),
                    None => Err(SignatureError::Missing),
                }
            }
            None => Ok(()),
        };
        let Err(fault) = by_key.and_then(|()| by_secret()) else {
            counted.count("valid");
            return Ok(true);
        };
        counted.count(fault.label());
        if let Some(left_out) = self.limiters.forged.may_speak(now) {
            let (peer, why, carrier) = (request.client.address, fault.label(), carrier.label());
            log::warn!(
                target: "twilio",
                "event=unsigned carrier={carrier} peer={peer} why={why}{left_out}"
            );
        }
        match terms.signature {
            SignatureMode::Require => Err(Answer::error(
                403,
                match fault {
                    SignatureError::Missing => "no signature",
                    SignatureError::Stale => "the signature is too old, or a clock is wrong",
                    _ => "the signature does not fit",
                },
            )),
            SignatureMode::Warn | SignatureMode::Off => Ok(false),
        }
    }
}

impl Answer {
    /// A document for a carrier.
    fn document(document: Document) -> Answer {
        match document {
            Document::Xml(text) => Answer::twiml(text),
            Document::Json(text) => Answer::json(200, text),
        }
    }
}

/// One line of a webhook; `left_out`: it may be written.
fn tell(carrier: Carrier, call: &str, answer: Result<(), Refusal>, left_out: Option<LeftOut>) {
    let Some(left_out) = left_out else { return };
    let (carrier, call) = (carrier.label(), Told(call));
    match answer {
        Ok(()) => log::info!(
            target: "twilio",
            "event=webhook carrier={carrier} call_sid={call} answer=stream{left_out}"
        ),
        Err(refusal) => {
            let reason = refusal.label();
            log::warn!(
                target: "twilio",
                "event=webhook carrier={carrier} call_sid={call} answer=busy \
                 reason={reason}{left_out}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whose_it_is_and_what_for() {
        let telnyx = |errand| Some((Carrier::Telnyx, errand));
        assert_eq!(errand("/telnyx/incoming"), telnyx(Errand::Incoming));
        assert_eq!(errand("/telnyx/after"), telnyx(Errand::After));
        for media in ["/telnyx/media", "/telnyx/media/", "/telnyx/media/v1.x"] {
            assert_eq!(errand(media), telnyx(Errand::Media), "{media}");
        }
        let nowhere = [
            "/twilio/media",
            "/telnyx",
            "/telnyx/",
            "/telnyx/incoming/",
            "/telnyx/incoming/x",
            "/telnyx/media/a/b",
            "/Telnyx/media",
            "//telnyx/media",
            "/",
            "",
        ];
        for path in nowhere {
            assert_eq!(errand(path), None, "{path}");
        }
    }
}
