//! The carrier's routes: its webhook, its question of what follows, its reports of streams.
//!
//! Every one of them is signed, and the signature is checked as the settings say: refused with 403,
//! logged and let in, or not looked at.
//!
//! In:       requests with their forms, or with a JSON object whose signed address holds its hash.
//! Out:      TwiML, 204, or an error.
//! Bounds:   [`CALL_SID_MAX_BYTES`]; a form's by `wire::form`; log lines by `accept::limiter`.
//! Not here: how a form, a signature, a token or TwiML is spelled (`wire`), who is let in at the
//!           stream's `start` (`accept::admission`).

use std::fmt;

use super::answer::Answer;
use super::desk::{Desk, Outcome};
use super::endings::CALL_SID_MAX_BYTES;
use super::limiter::LeftOut;
use super::names::MARK;
use super::origin::{ASKED_BEFORE, DIALLED, HANDED_ON, Origin, handed_on};
use super::recall::Question;
use super::request::Request;
use super::routes::JSON;
use crate::call::{AGAIN, Again, Refusal, Told};
use crate::clock::Nanos;
use crate::config::{AfterStream, Busy, SignatureMode};
use crate::mail::Sequel;
use crate::wire::http::Method;
use crate::wire::signature::{Claim, Keys, SignatureError, body_hash_matches, webhook_candidates};
use crate::wire::{form, twiml};

/// How the name begins that a token is minted for when the webhook named no call. Random digits
/// follow it, so that two such tokens of one second are two.
pub(super) const NO_CALL: &str = "no-call-";

/// How long the caller of a call that was cut hears nothing before the next process is asked what
/// follows: so long may a restart take. One that is not there by then costs the call.
const RESTART_SECONDS: u32 = 3;

/// Whether a caller who is led to our stream has been told what is said to him first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// He has just called.
    Nothing,
    /// He comes back; and what the stream is told of what the journal may know.
    Before(Again),
}

/// Fields of a form, a query or a JSON object, decoded.
type Fields = Vec<(String, String)>;

/// What was signed besides the address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signed<'r> {
    /// Of a handshake: nothing.
    Handshake,
    /// Of a webhook: the fields of its form, or none where they stand in the query.
    Form(&'r [(String, String)]),
    /// Of a webhook: a body whose hash the address holds.
    Hashed(&'r [u8]),
}

impl Desk {
    /// The webhook: TwiML that leads the call to our stream. The same call asked for twice gets
    /// two good answers.
    pub(super) fn incoming(&mut self, now: Nanos, request: &Request, body: &[u8]) -> Answer {
        let fields = match fields(request, body) {
            Ok(fields) => fields,
            Err(answer) => return answer,
        };
        let call_sid = form::value(&fields, "CallSid");
        // HEAD is asked by whoever looks whether we are there, and orders nothing.
        let is_probe = match request.method {
            Method::Post => false,
            Method::Head => true,
            _ => call_sid.is_none(),
        };
        if is_probe {
            return self.health(now);
        }
        let Some(origin) = self.origin(request) else {
            return Answer::error(400, "no Host, and no server.public_url is set");
        };
        let vouched = match self.check_webhook(now, request, &fields, body, &origin) {
            Ok(vouched) => vouched,
            Err(answer) => return answer,
        };
        if let Err(answer) = check_name(&fields) {
            return answer;
        }
        let call_sid = call_sid.filter(|call_sid| !call_sid.is_empty());
        if call_sid.is_some_and(|call_sid| call_sid.len() > CALL_SID_MAX_BYTES) {
            return Answer::error(400, "CallSid is too long");
        }
        let proven = vouched || self.config.twilio.signature == SignatureMode::Off;
        let left_out = match vouched {
            true => Some(LeftOut::default()),
            false => self.limiters.webhooks.may_speak(now),
        };
        let shown = Told(call_sid.unwrap_or("none"));
        let number = form::value(&fields, "From");
        let Some(refusal) = self.refusal_of(now, call_sid, number) else {
            if let Some(left_out) = left_out {
                log::info!(
                    target: "twilio",
                    "event=webhook call_sid={shown} answer=stream{left_out}"
                );
            }
            // What nobody vouches for where somebody could is answered, but worth no session.
            if let Some(call_sid) = call_sid.filter(|_| proven) {
                let value = |name| form::value(&fields, name);
                self.order_ahead(call_sid, value("From"), value("To"));
            }
            let heard = Heard::Nothing;
            return Answer::twiml(self.connect(now, &fields, proven, call_sid, &origin, heard));
        };
        self.count_refusal(refusal);
        if let Some(left_out) = left_out {
            let reason = refusal.label();
            log::warn!(
                target: "twilio",
                "event=webhook call_sid={shown} answer=busy reason={reason}{left_out}"
            );
        }
        let is_answered = form::value(&fields, "CallStatus") == Some("in-progress");
        Answer::twiml(self.busy(refusal, request.query_has(HANDED_ON), is_answered))
    }

    /// What a call gets that is not taken. One that another host has handed on is not sent round
    /// in a ring, and one that is answered already can no longer be rejected.
    fn busy(&self, refusal: Refusal, is_handed_on: bool, is_answered: bool) -> String {
        let twilio = &self.config.twilio;
        let successor = self.config.server.handover_url.as_ref();
        match (successor.filter(|_| refusal == Refusal::Draining), &twilio.busy) {
            (Some(url), _) | (None, Busy::Redirect(url)) if !is_handed_on => {
                twiml::redirect(&handed_on(url))
            }
            (_, Busy::Say(sentence)) => twiml::say_and_hangup(sentence, None),
            _ if is_answered => twiml::say_and_hangup(&twilio.fallback, None),
            _ => twiml::busy(),
        }
    }

    /// What a call gets that the relay stopped under: the other host, if there is one; where a
    /// journal is kept, the process that comes next; or, where this is the process that took over
    /// from the one that stopped, its own stream.
    fn take_up(&mut self, now: Nanos, fields: &Fields, proven: bool, origin: &Origin) -> String {
        if let Some(url) = &self.config.server.handover_url
            && self.is_draining()
        {
            return twiml::redirect(&handed_on(url));
        }
        if self.is_draining() && self.neighbours.journal.is_some() {
            return twiml::redirect_later(RESTART_SECONDS, &origin.action());
        }
        let call_sid = form::value(fields, "CallSid").filter(|call_sid| !call_sid.is_empty());
        let heard = Heard::Before(self.perhaps());
        match self.welcome(now) {
            Ok(()) => self.connect(now, fields, proven, call_sid, origin, heard),
            Err(_) => twiml::say_and_hangup(&self.config.twilio.fallback, None),
        }
    }

    /// What the journal may know of a call that nobody has looked up there.
    fn perhaps(&self) -> Again {
        if self.neighbours.journal.is_some() { Again::Perhaps } else { Again::No }
    }

    /// Why the call of a webhook, from `number`, is not led to our stream, if it is not.
    pub(super) fn refusal_of(
        &mut self,
        now: Nanos,
        call_sid: Option<&str>,
        number: Option<&str>,
    ) -> Option<Refusal> {
        match self.welcome(now) {
            // A place is kept for it already.
            _ if call_sid.is_some_and(|call_sid| self.is_promised(call_sid)) => None,
            // Its stream is asked for once more.
            Ok(()) if call_sid.is_some_and(|sid| self.guests.is_inside(sid)) => None,
            Ok(()) if self.is_number_full(number) => Some(Refusal::NumberFull),
            welcome => welcome.err(),
        }
    }

    pub(super) fn health(&mut self, now: Nanos) -> Answer {
        let status = self.welcome(now).map_or_else(Refusal::label, |()| "ok");
        let (calls, version) = (self.load.calls(), env!("CARGO_PKG_VERSION"));
        Answer::json(
            200,
            format!(
                "{{\"status\":\"{status}\",\"service\":\"vocaris\",\"version\":\"{version}\",\
                 \"calls\":{calls}}}"
            ),
        )
    }

    /// Keeps a place for the call, and leads it there. `proven`: its token vouches for it.
    fn connect(
        &mut self,
        now: Nanos,
        fields: &Fields,
        proven: bool,
        call_sid: Option<&str>,
        origin: &Origin,
        heard: Heard,
    ) -> String {
        let nobody;
        let bound_to = match call_sid {
            Some(call_sid) => call_sid,
            None => {
                nobody = format!("{NO_CALL}{:016x}", fastrand::u64(..));
                &nobody
            }
        };
        let token = self.promise(bound_to, proven, form::value(fields, "From"));
        if let Some(call_sid) = call_sid {
            self.endings.expect(now, call_sid);
        }
        let mut parameters = vec![("source", "twilio"), ("token", token.as_str())];
        for (name, field) in [("from", "From"), ("to", "To")] {
            parameters.extend(form::value(fields, field).map(|value| (name, value)));
        }
        let again = if let Heard::Before(again) = heard { again.value() } else { None };
        parameters.extend(again.as_deref().map(|value| (AGAIN, value)));
        let says = self.config.recording.enabled && heard == Heard::Nothing;
        let (tracks_url, after_url) = (origin.tracks_url(), origin.action());
        // A copy that says of no call whose it is could not be put beside it.
        let fork_token = call_sid
            .filter(|_| self.config.twilio.both_tracks)
            .map(|call_sid| self.fork_token(call_sid));
        twiml::connect(&twiml::ConnectFacts {
            stream_url: &origin.stream_url(),
            status_callback: &origin.status_callback(),
            after: match self.config.twilio.after_stream {
                AfterStream::Action => twiml::After::Action(&after_url),
                AfterStream::Verb => twiml::After::Verb(&after_url),
            },
            parameters: &parameters,
            say_first: self.config.recording.consent.as_deref().filter(|_| says),
            fork: fork_token
                .as_deref()
                .map(|token| twiml::ForkFacts { stream_url: &tracks_url, token }),
        })
    }

    /// What follows a closed stream, by the reason it was closed for.
    pub(super) fn after(&mut self, now: Nanos, request: &Request, body: &[u8]) -> Outcome {
        let (fields, proven) = match self.signed_fields(now, request, body) {
            Ok(signed) => signed,
            Err(answer) => return Outcome::Answer(answer),
        };
        let call_sid = form::value(&fields, "CallSid").unwrap_or_default();
        self.forget_ahead(call_sid);
        let is_dialled = request.query_has(DIALLED);
        let origin = self.origin(request);
        if is_dialled {
            let sequel = after_dialling(form::value(&fields, "DialCallStatus"));
            return Outcome::Answer(self.follow(now, &fields, proven, sequel, origin));
        }
        let call_sid = call_sid.to_owned();
        if proven && is_over(&fields) {
            self.legacies.expect_no_more(&call_sid);
        }
        let is_asked_of_the_journal = self.may_be_journalled(now, &call_sid, &fields);
        let asked_before = request.query_has(ASKED_BEFORE);
        let question = Question { fields, proven, call_sid, origin, asked_before };
        if !is_asked_of_the_journal {
            return Outcome::Answer(self.after_here(now, question));
        }
        match self.look_up(now, question) {
            Ok(ticket) => Outcome::Recall { ticket },
            Err(question) => Outcome::Answer(self.unanswered(now, question)),
        }
    }

    /// What follows the stream of a call by what this process knows of it.
    pub(super) fn after_here(&mut self, now: Nanos, question: Question) -> Answer {
        let Question { fields, proven, call_sid, origin, .. } = question;
        match &origin {
            Some(origin) if self.goes_on(now, &call_sid, &fields) => {
                let again = self.perhaps();
                self.lead_back(now, &fields, proven, &call_sid, origin, again)
            }
            _ => {
                let sequel = self.endings.afterwards(now, &call_sid);
                self.follow(now, &fields, proven, sequel, origin)
            }
        }
    }

    /// The caller of a stream that was lost is led to another, which goes on with the conversation.
    pub(super) fn lead_back(
        &mut self,
        now: Nanos,
        fields: &Fields,
        proven: bool,
        call_sid: &str,
        origin: &Origin,
        again: Again,
    ) -> Answer {
        let shown = Told(call_sid);
        log::info!(target: "twilio", "event=webhook call_sid={shown} answer=stream_again");
        let heard = Heard::Before(again);
        Answer::twiml(self.connect(now, fields, proven, Some(call_sid), origin, heard))
    }

    /// What a caller gets whose stream is over.
    pub(super) fn follow(
        &mut self,
        now: Nanos,
        fields: &Fields,
        proven: bool,
        sequel: Sequel,
        origin: Option<Origin>,
    ) -> Answer {
        Answer::twiml(match (sequel, origin) {
            (Sequel::Dial(number), Some(origin)) => twiml::dial(&number, &origin.dialled()),
            (Sequel::Elsewhere, Some(origin)) => self.take_up(now, fields, proven, &origin),
            (Sequel::Fallback | Sequel::Elsewhere, _) => {
                twiml::say_and_hangup(&self.config.twilio.fallback, None)
            }
            (Sequel::Hangup | Sequel::Dial(_), _) => twiml::hangup(),
        })
    }

    /// Whether the journal is to be asked for a call: there is one, the carrier does not say that
    /// the call is over, and nobody has ended it here.
    fn may_be_journalled(&mut self, now: Nanos, call_sid: &str, fields: &Fields) -> bool {
        let is_name = !call_sid.is_empty() && call_sid.len() <= CALL_SID_MAX_BYTES;
        self.neighbours.journal.is_some()
            && is_name
            && !is_over(fields)
            && !self.is_cut(now, call_sid)
            && !self.endings.has_ended(now, call_sid)
    }

    /// Whether the caller of a stream that has ended is led back to the conversation: nobody has
    /// ended it, and the carrier does not say that the call is over. The place it had is free or
    /// about to be.
    pub(super) fn goes_on(&mut self, now: Nanos, call_sid: &str, fields: &Fields) -> bool {
        let is_asked_for = !is_over(fields) && !self.is_cut(now, call_sid);
        is_asked_for && self.before_of_call_sid(now, call_sid).is_some()
    }

    /// Whether this process has cut the call because it is about to stop: another takes it up. One
    /// whose phone was lost while this process only drains goes on here.
    fn is_cut(&mut self, now: Nanos, call_sid: &str) -> bool {
        self.is_draining() && self.endings.was_cut(now, call_sid)
    }

    /// The carrier's report of a stream: the only place where a handshake that failed on its way
    /// to us shows.
    pub(super) fn stream_status(&mut self, now: Nanos, request: &Request, body: &[u8]) -> Answer {
        let (fields, _) = match self.signed_fields(now, request, body) {
            Ok(signed) => signed,
            Err(answer) => return answer,
        };
        let value = |name| Told(form::value(&fields, name).unwrap_or_default());
        let (call, event) = (value("CallSid"), value("StreamEvent"));
        if event.0 == "stream-error" {
            let error = value("StreamError");
            self.forget_ahead(call.0);
            if let Some(left_out) = self.limiters.stream_failures.may_speak(now) {
                log::warn!(
                    target: "twilio",
                    "event=stream_error call_sid={call} error={error}{left_out}"
                );
            }
        } else {
            log::debug!(target: "twilio", "event=stream_status call_sid={call} status={event}");
        }
        Answer::no_content()
    }

    /// Where the carrier reaches us; `None` if neither settings nor request say it.
    pub(super) fn origin(&self, request: &Request) -> Option<Origin> {
        let public_url = self.config.server.public_url.as_deref();
        Origin::new(public_url, request.host.as_deref(), request.client.secure)
    }

    /// The fields, and whether they are proven, or nobody asks for a proof.
    fn signed_fields(
        &mut self,
        now: Nanos,
        request: &Request,
        body: &[u8],
    ) -> Result<(Fields, bool), Answer> {
        let fields = fields(request, body)?;
        let no_host = || Answer::error(400, "no Host, and no server.public_url is set");
        let origin = self.origin(request).ok_or_else(no_host)?;
        let vouched = self.check_webhook(now, request, &fields, body, &origin)?;
        check_name(&fields)?;
        Ok((fields, vouched || self.config.twilio.signature == SignatureMode::Off))
    }

    fn check_webhook(
        &mut self,
        now: Nanos,
        request: &Request,
        fields: &Fields,
        body: &[u8],
        origin: &Origin,
    ) -> Result<bool, Answer> {
        // What stands in a query is signed with its address: a listed one without this query, or
        // with another, says nothing of it.
        let query_of = |url: &str| url.split_once('?').map_or("", |(_, query)| query).to_owned();
        let listed = self.config.twilio.signed_urls.iter();
        let listed = listed.filter(|url| query_of(url) == request.query());
        let listed: Vec<String> = listed.cloned().collect();
        let candidates = webhook_candidates(&origin.http(), request.target(), &listed);
        let signed = match request.method {
            Method::Post if is_json(request) => Signed::Hashed(body),
            Method::Post => Signed::Form(fields),
            // What stands in a query is signed as part of the address.
            _ => Signed::Form(&[]),
        };
        self.check_signature(now, request, &candidates, signed)
    }

    /// Checks the signature as the settings say. Returns whether there is a good one.
    ///
    /// # Errors
    /// The 403, where a signature is required and this is none.
    pub(super) fn check_signature(
        &mut self,
        now: Nanos,
        request: &Request,
        candidates: &[String],
        signed: Signed<'_>,
    ) -> Result<bool, Answer> {
        let mode = self.config.twilio.signature;
        let signatures = &self.shared.signatures;
        let counted = match signed {
            Signed::Handshake => &signatures.handshake,
            Signed::Form(_) | Signed::Hashed(_) => &signatures.webhook,
        };
        if mode == SignatureMode::Off {
            counted.count("not_checked");
            return Ok(false);
        }
        let keys = Keys {
            tokens: &self.auth_tokens,
            shared: &self.shared_keys,
            require_shared: self.config.twilio.require_shared,
        };
        let claim = Claim {
            signature: request.signature.as_deref(),
            settings: request.signature_settings.as_deref(),
        };
        let fields = if let Signed::Form(fields) = signed { fields } else { &[] };
        let checked = keys.verify(claim, candidates, fields).and_then(|()| match signed {
            Signed::Hashed(body) if !body_hash_matches(request.target(), body) => {
                Err(SignatureError::WrongBody)
            }
            _ => Ok(()),
        });
        let fault = match checked {
            Ok(()) => {
                counted.count("valid");
                return Ok(true);
            }
            Err(fault) => fault,
        };
        counted.count(fault.label());
        let why = match fault {
            SignatureError::Missing => "no signature",
            _ => "the signature does not fit",
        };
        if let Some(left_out) = self.limiters.forged.may_speak(now) {
            let (path, peer, why) = (request.path(), request.client.address, fault.label());
            let tried = Tried { urls: candidates, with_query: !self.config.log.redact_numbers };
            log::warn!(
                target: "twilio",
                "event=unsigned peer={peer} path={path} why={why} tried=\"{tried}\"{left_out}"
            );
        }
        match mode {
            SignatureMode::Require => Err(Answer::error(403, why)),
            SignatureMode::Warn | SignatureMode::Off => Ok(false),
        }
    }
}

/// Whether the carrier says that the call is over.
fn is_over(fields: &Fields) -> bool {
    form::value(fields, "CallStatus").is_some_and(|status| status != "in-progress")
}

/// Refuses a call's name that could be another carrier's here.
fn check_name(fields: &Fields) -> Result<(), Answer> {
    match form::value(fields, "CallSid") {
        Some(call_sid) if call_sid.contains(MARK) => Err(Answer::error(400, "no CallSid")),
        _ => Ok(()),
    }
}

/// What follows a caller's being put through, by the carrier's word for how that went. Without one
/// nobody is dialled again.
fn after_dialling(status: Option<&str>) -> Sequel {
    match status {
        None | Some("completed" | "answered") => Sequel::Hangup,
        // Busy, not answered, not to be had: the caller is still there, and hears that.
        Some(_) => Sequel::Fallback,
    }
}

/// The fields of a request: of its form, or of its query where it is no POST.
pub(super) fn fields(request: &Request, body: &[u8]) -> Result<Fields, Answer> {
    if request.method == Method::Post && is_json(request) {
        return json_fields(body);
    }
    let text = if request.method == Method::Post { body } else { request.query().as_bytes() };
    form::parse(text).map_err(|fault| {
        Answer::error(
            400,
            match fault {
                form::FormError::BadEscape { .. } => "a broken escape in the form",
                form::FormError::NotUtf8 { .. } => "the form is not UTF-8",
                form::FormError::TooMany => "too many fields in the form",
            },
        )
    })
}

fn is_json(request: &Request) -> bool {
    request.content_type.as_deref() == Some(JSON)
}

/// The members of a JSON object that are texts, numbers or truths; of a name that comes twice the
/// last.
fn json_fields(body: &[u8]) -> Result<Fields, Answer> {
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| Answer::error(400, "not a JSON object"))?;
    if members.len() > form::FIELDS_MAX {
        return Err(Answer::error(400, "too many members in the object"));
    }
    let fields = members.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some((name, text)),
        value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
            Some((name, value.to_string()))
        }
        _ => None,
    });
    Ok(fields.collect())
}

/// The addresses a signature was tried with, in a log line.
struct Tried<'a> {
    urls: &'a [String],
    /// A query can hold callers' numbers.
    with_query: bool,
}

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const URLS_MAX: usize = 4;
        for url in self.urls.iter().take(URLS_MAX) {
            match url.split_once('?') {
                Some((url, _)) if !self.with_query => write!(f, "{url}?… ")?,
                _ => write!(f, "{url} ")?,
            }
        }
        write!(f, "({} in all)", self.urls.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_query_stay_out_of_the_log_unless_it_may_have_them() {
        let urls = ["https://h/incoming?From=%2B1800".to_owned(), "https://h:443/x".to_owned()];
        let tried = |with_query| Tried { urls: &urls, with_query }.to_string();
        assert_eq!(tried(false), "https://h/incoming?… https://h:443/x (2 in all)");
        assert_eq!(tried(true), "https://h/incoming?From=%2B1800 https://h:443/x (2 in all)");
    }
}
