//! Asking a service of the operator's: one signed HTTPS request, and what its answer is worth.
//!
//! In:       an order, a deadline.
//! Out:      what the model is told; the reason of a fault for the log, without what was said.
//! Bounds:   the tool's own time for everything together, the look-up and a dripping body too;
//!           [`WEBHOOK_ANSWER_BYTES_MAX`]; [`WEBHOOK_ATTEMPTS`]; [`RESULT_DEPTH_MAX`].
//! Not here: threads and queues (`control::tools`), which addresses may be asked (`guard`).
//!
//! A request that may have left is made again only where the operator says that the service does
//! the same thing once for one key. It is then the same to the byte, signed anew; and what the
//! model is told of it holds for all attempts: none is denied that may have been heard. Redirects
//! are not followed: they would lead past the check of the address, and take the signature
//! elsewhere. A connection serves one request: one that was kept and closed meanwhile would leave a
//! request of which nobody knows whether it arrived.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use ureq::{Agent, Error, Timeout};

use super::arguments;
use super::guard::{Allowed, Forbidden, GuardedResolver};
use crate::call::{CallId, Class, ToolOrder, ToolOutcome, ToolReply};
use crate::clock::{Clock, Nanos, unix_seconds};
use crate::config::{Secret, Webhook};
use crate::limits::{
    TOOL_RESULT_BYTES_MAX, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_ATTEMPTS, WEBHOOK_BACKOFF,
    WEBHOOK_CONNECT_MAX,
};
use crate::wire::gemini::{tool_error, tool_output};

/// Objects and lists inside each other in an answer. Deeper ones reach the model as text: nested
/// results have ended sessions.
const RESULT_DEPTH_MAX: usize = 8;
/// The header with the signature.
const SIGNATURE_HEADER: &str = "Vocaris-Signature";
const USER_AGENT: &str = concat!("vocaris/", env!("CARGO_PKG_VERSION"));

/// Asks services. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    public: Agent,
    loopback: Agent,
    any: Agent,
    clock: Clock,
}

/// Whom the order is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForWhom {
    pub(super) id: CallId,
    pub(super) class: Class,
}

/// Why there is no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The name stands for no address that may be asked.
    Forbidden,
    /// Nobody there: the request never left.
    NotSent(&'static str),
    /// The time is over.
    TimedOut,
    /// The connection, or HTTP on it, broke: the request may have been heard.
    Broke(&'static str),
    /// A status that is neither good nor a refusal.
    Status(u16),
    /// What came is no answer.
    Nonsense(&'static str),
}

impl Fault {
    /// Whether asking again cannot do the same thing twice, or need not fear to.
    fn may_ask_again(self, idempotent: bool) -> bool {
        match self {
            Fault::NotSent(_) => true,
            Fault::Broke(_) => idempotent,
            Fault::Status(status) => idempotent && (status == 429 || status >= 500),
            Fault::Forbidden | Fault::TimedOut | Fault::Nonsense(_) => false,
        }
    }

    /// Whether the service may have heard the request, and done what it asks for.
    fn may_be_done(self) -> bool {
        !matches!(self, Fault::Forbidden | Fault::NotSent(_))
    }

    fn reply(self) -> ToolReply {
        match self {
            Fault::Forbidden | Fault::NotSent(_) => ToolReply::failed(
                ToolOutcome::Unreachable,
                "The service behind this tool cannot be reached, and nothing was done. Tell the \
                 caller so, and offer to try again later or to take a message.",
            ),
            Fault::TimedOut => ToolReply::failed(
                ToolOutcome::TimedOut,
                "The service behind this tool did not answer in time. Whether it did what it was \
                 asked for is not known. Tell the caller so.",
            ),
            Fault::Broke(_) | Fault::Status(_) | Fault::Nonsense(_) => ToolReply::failed(
                ToolOutcome::Failed,
                "The service behind this tool failed. Whether it did what it was asked for is not \
                 known. Tell the caller so, and offer to take a message.",
            ),
        }
    }

    /// For the log.
    fn why(self) -> String {
        match self {
            Fault::Forbidden => "forbidden_address".to_owned(),
            Fault::NotSent(why) | Fault::Broke(why) | Fault::Nonsense(why) => why.to_owned(),
            Fault::TimedOut => "timed_out".to_owned(),
            Fault::Status(status) => format!("status_{status}"),
        }
    }
}

/// An answer, whatever it is worth.
struct Answered {
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

impl Asker {
    pub(super) fn new(clock: Clock) -> Asker {
        crate::net::tls::install_provider();
        let agent = |allowed| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_idle_connections(0)
                .max_idle_connections_per_host(0)
                .proxy(None)
                .user_agent(USER_AGENT)
                .build();
            let connector = ureq::unversioned::transport::DefaultConnector::default();
            Agent::with_parts(config, connector, GuardedResolver::new(allowed))
        };
        Asker {
            public: agent(Allowed::Public),
            loopback: agent(Allowed::Loopback),
            any: agent(Allowed::Any),
            clock,
        }
    }

    /// Asks `webhook` what `order` wants, by `deadline`.
    pub(super) fn ask(
        &self,
        webhook: &Webhook,
        order: &ToolOrder,
        whom: ForWhom,
        deadline: Nanos,
    ) -> ToolReply {
        let Ok(arguments) = serde_json::from_str::<Value>(&order.arguments) else {
            return ToolReply::failed(ToolOutcome::BadArguments, "The arguments are no JSON.");
        };
        if let Err(why) = arguments::check(&order.tool.parameters, &arguments) {
            return ToolReply::failed(ToolOutcome::BadArguments, &why);
        }
        let body = body_of(order, &arguments, whom, unix_seconds());
        let (mut attempt, mut heard) = (1, None);
        loop {
            let answer = self.ask_once(webhook, &order.key, &body, deadline);
            let fault = match answer.and_then(|answer| judge(&answer)) {
                Ok(reply) => return reply,
                Err(fault) => fault,
            };
            if fault.may_be_done() {
                heard = Some(fault);
            }
            let pause = WEBHOOK_BACKOFF * attempt;
            let again = fault.may_ask_again(webhook.idempotent) && attempt < WEBHOOK_ATTEMPTS;
            if !again || self.clock.now().plus(pause) >= deadline {
                let fault = heard.unwrap_or(fault);
                let (target, id, name) = (whom.class.label(), whom.id, &order.tool.name);
                let why = fault.why();
                log::warn!(
                    target: target,
                    "call={id} event=tool_fault name={name} why={why} attempts={attempt}"
                );
                return fault.reply();
            }
            attempt += 1;
            std::thread::sleep(pause);
        }
    }

    fn ask_once(
        &self,
        webhook: &Webhook,
        key: &str,
        body: &str,
        deadline: Nanos,
    ) -> Result<Answered, Fault> {
        let left = deadline.since(self.clock.now());
        if left < Duration::from_millis(1) {
            return Err(Fault::TimedOut);
        }
        let agent = match (webhook.allow_private, webhook.url.is_loopback) {
            (true, _) => &self.any,
            (false, true) => &self.loopback,
            (false, false) => &self.public,
        };
        let mut request = agent
            .post(&webhook.url.text)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/plain")
            .header("Idempotency-Key", key);
        if let Some(secret) = &webhook.secret {
            let signature = signature(secret, unix_seconds(), body);
            request = request.header(SIGNATURE_HEADER, &signature);
        }
        let request = request
            .config()
            .timeout_global(Some(left))
            .timeout_connect(Some(left.min(WEBHOOK_CONNECT_MAX)))
            .build();
        let mut response = request.send(body).map_err(|error| fault_of(&error))?;
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.to_ascii_lowercase();
        let reader = response.body_mut().with_config().limit(WEBHOOK_ANSWER_BYTES_MAX);
        // Its status has come: the request did not get lost.
        let body = reader.read_to_vec().map_err(|error| match fault_of(&error) {
            Fault::NotSent(why) => Fault::Broke(why),
            other => other,
        })?;
        Ok(Answered { status: response.status().as_u16(), content_type, body })
    }
}

/// The request's body, the same for every attempt; `timestamp`: of the order, in Unix seconds.
fn body_of(order: &ToolOrder, arguments: &Value, whom: ForWhom, timestamp: u64) -> String {
    let caller = json!({"class": whom.class.label(), "from": order.from, "to": order.to});
    json!({
        "call": whom.id.to_string(),
        "tool": order.tool.name,
        "arguments": arguments,
        "caller": caller,
        "key": order.key,
        "timestamp": timestamp,
    })
    .to_string()
}

/// `t=…,v1=…`: HMAC-SHA256 over the timestamp of this attempt, a dot and the body, in hexadecimal.
fn signature(secret: &Secret, timestamp: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let mut mac = hmac::Context::with_key(&key);
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    let digits: String = mac.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={timestamp},v1={digits}")
}

fn fault_of(error: &Error) -> Fault {
    use std::io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut, WouldBlock,
    };
    match error {
        Error::Timeout(Timeout::Resolve) => Fault::NotSent("resolve_timed_out"),
        Error::Timeout(Timeout::Connect) => Fault::NotSent("connect_timed_out"),
        Error::Timeout(_) => Fault::TimedOut,
        Error::HostNotFound => Fault::NotSent("no_such_host"),
        Error::ConnectionFailed => Fault::NotSent("connect"),
        Error::Other(why) if why.is::<Forbidden>() => Fault::Forbidden,
        Error::Io(why) => match why.kind() {
            ConnectionRefused | HostUnreachable | NetworkUnreachable => Fault::NotSent("refused"),
            TimedOut | WouldBlock => Fault::TimedOut,
            _ => Fault::Broke("connection_broke"),
        },
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) => Fault::Broke("tls"),
        Error::BodyExceedsLimit(_) => Fault::Nonsense("answer_too_long"),
        Error::LargeResponseHeader(..) => Fault::Nonsense("head_too_long"),
        Error::Protocol(_) | Error::Http(_) => Fault::Broke("no_http"),
        _ => Fault::Broke("other"),
    }
}

/// What an answer is worth.
fn judge(answer: &Answered) -> Result<ToolReply, Fault> {
    match answer.status {
        200..=299 => read(answer).map(|value| match value.get("error") {
            Some(error) if !error.is_null() && error != false => refusal(&value),
            _ => ToolReply {
                outcome: ToolOutcome::Done,
                json: tool_output(&value, TOOL_RESULT_BYTES_MAX),
            },
        }),
        300..=399 => Err(Fault::Nonsense("redirect")),
        408 | 429 => Err(Fault::Status(answer.status)),
        // It understood, and would not.
        400..=499 => Ok(refusal(&read(answer).unwrap_or_default())),
        status => Err(Fault::Status(status)),
    }
}

fn refusal(details: &Value) -> ToolReply {
    let message = "The service behind this tool refused. Tell the caller why, if it says so.";
    let details = Some(details).filter(|details| !details.is_null());
    let json = tool_error(message, details, TOOL_RESULT_BYTES_MAX);
    ToolReply { outcome: ToolOutcome::Refused, json }
}

/// The body, as a value for the model.
fn read(answer: &Answered) -> Result<Value, Fault> {
    let text = std::str::from_utf8(&answer.body).map_err(|_| Fault::Nonsense("not_utf8"))?;
    let text = text.trim();
    let media_type = answer.content_type.split(';').next().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(Value::String("done".to_owned()));
    }
    let says_json = media_type.ends_with("json");
    match serde_json::from_str::<Value>(text) {
        Ok(value) if depth(&value) > RESULT_DEPTH_MAX => Ok(Value::String(value.to_string())),
        Ok(value) => Ok(value),
        Err(_) if says_json => Err(Fault::Nonsense("not_json")),
        Err(_) if matches!(media_type, "" | "text/plain") => Ok(Value::String(text.to_owned())),
        Err(_) => Err(Fault::Nonsense("neither_json_nor_text")),
    }
}

fn depth(value: &Value) -> usize {
    let inside = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(entries) => entries.values().map(depth).max(),
        _ => return 0,
    };
    1 + inside.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README's example.
    #[test]
    fn a_request_is_signed_as_the_readme_says() {
        let body = "{\"call\":\"00000000000000a1\",\"tool\":\"order_taxi\",\"arguments\":{\"at\":\
                    \"18:30\"},\"caller\":{\"class\":\"twilio\",\"from\":\"+18005550199\",\"to\":\
                    \"+18005550100\"},\"key\":\"00000000000000a1-0\",\"timestamp\":1795400000}";
        let secret = Secret::new("a secret of the two of us".into());
        assert_eq!(
            signature(&secret, 1_795_400_000, body),
            "t=1795400000,v1=de6796bd41036a943add22c3624c729e586cab830ffe3993d549560db9e2c7e6"
        );
    }

    fn answer(status: u16, content_type: &str, body: &[u8]) -> Answered {
        Answered { status, content_type: content_type.into(), body: body.into() }
    }

    fn told(status: u16, content_type: &str, body: &str) -> (ToolOutcome, Value) {
        let reply = judge(&answer(status, content_type, body.as_bytes())).unwrap();
        (reply.outcome, serde_json::from_str(&reply.json).unwrap())
    }

    #[test]
    fn json_and_text_reach_the_model_and_nothing_else_does() {
        let done = |output: Value| (ToolOutcome::Done, json!({ "output": output }));
        assert_eq!(told(200, "application/json", r#"{"a":1}"#), done(json!({"a": 1})));
        assert_eq!(told(201, "application/json; charset=utf-8", "[]"), done(json!([])));
        assert_eq!(told(200, "text/plain", "At noon.\u{0}"), done(json!("At noon.\u{0}")));
        assert_eq!(told(200, "", "17"), done(json!(17)));
        assert_eq!(told(204, "", ""), done(json!("done")));
        for (content_type, body) in [
            ("application/json", &b"{\"a\":"[..]),
            ("text/html", b"<html>"),
            ("image/png", b"\x89PNG"),
            ("text/plain", b"\xff\xfe"),
        ] {
            assert!(judge(&answer(200, content_type, body)).is_err(), "{content_type}");
        }
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(told(200, "application/json", &deep), done(Value::String(deep.clone())));
    }

    #[test]
    fn a_refusal_says_why_and_a_fault_says_nothing_of_the_service() {
        let (outcome, value) = told(409, "application/json", r#"{"reason":"full"}"#);
        assert_eq!((outcome, &value["details"]["reason"]), (ToolOutcome::Refused, &json!("full")));
        let (outcome, _) = told(200, "application/json", r#"{"error":"closed on Sundays"}"#);
        assert_eq!(outcome, ToolOutcome::Refused);
        assert_eq!(told(404, "text/html", "<html>nginx").0, ToolOutcome::Refused);
        for status in [301, 307, 408, 429, 500, 503, 599] {
            assert!(judge(&answer(status, "application/json", b"{}")).is_err(), "{status}");
        }
    }

    #[test]
    fn only_what_cannot_be_done_twice_is_asked_again() {
        for (fault, plain, idempotent) in [
            (Fault::NotSent("refused"), true, true),
            (Fault::Broke("connection_broke"), false, true),
            (Fault::Status(503), false, true),
            (Fault::Status(429), false, true),
            (Fault::Status(408), false, false),
            (Fault::Forbidden, false, false),
            (Fault::TimedOut, false, false),
            (Fault::Nonsense("redirect"), false, false),
        ] {
            assert_eq!(fault.may_ask_again(false), plain, "{fault:?}");
            assert_eq!(fault.may_ask_again(true), idempotent, "{fault:?}");
        }
    }
}
