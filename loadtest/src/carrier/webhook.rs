//! What carriers ask a webhook: an HTTP request in the carrier's own words.
//!
//! In:       the call, and whether it begins or its stream has ended.
//! Out:      the bytes of a request.
//! Bounds:   none of its own.
//! Not here: reading the answer (`carrier::markup`), the connection (`carrier::target`).
//!
//! Twilio, SignalWire (cXML), Telnyx (TeXML) and Plivo post a form; Vonage asks with GET, its
//! default, and jambonz posts JSON; Exotel asks with GET. Signed are Twilio's requests
//! (`X-Twilio-Signature`) and Telnyx's (Ed25519). The fields are those of the carriers' pages on
//! incoming calls, those that a relay may want among them; what else a carrier sends is not here.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::Carrier;
use super::record::CallSpec;
use super::signature;

/// When a webhook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The call has come in.
    Incoming,
    /// Its stream has ended.
    After,
}

/// The request of `spec`'s carrier to `path` of the relay. `url`: what is signed.
pub fn request(spec: &CallSpec, stage: Stage, path: &str, url: &str) -> Vec<u8> {
    let host = spec.target.host();
    match spec.line.carrier {
        Carrier::Exotel | Carrier::Vonage => {
            let mark = if path.contains('?') { '&' } else { '?' };
            let query = form_encode(&fields(spec, stage));
            let head = format!("GET {path}{mark}{query} HTTP/1.1\r\nHost: {host}\r\n");
            format!("{head}Accept: */*\r\nConnection: close\r\n\r\n").into_bytes()
        }
        Carrier::Jambonz => {
            let body = jambonz(spec, stage);
            post(host, path, "application/json", &body, "").into_bytes()
        }
        _ => {
            let fields = fields(spec, stage);
            let body = form_encode(&fields);
            let signature = sign(spec, url, &fields, &body);
            let kind = "application/x-www-form-urlencoded; charset=UTF-8";
            post(host, path, kind, &body, &signature).into_bytes()
        }
    }
}

fn post(host: &str, path: &str, kind: &str, body: &str, headers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\nAccept: */*\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len(),
    )
}

/// The headers that prove who asks.
fn sign(spec: &CallSpec, url: &str, fields: &[(String, String)], body: &str) -> String {
    let secrets = &spec.target.secrets;
    match (spec.line.carrier, &secrets.twilio, &secrets.telnyx) {
        (Carrier::Twilio, Some(token), _) => {
            let signature = signature::twilio(token, url, fields);
            format!("User-Agent: TwilioProxy/1.1\r\nX-Twilio-Signature: {signature}\r\n")
        }
        (Carrier::Telnyx, _, Some(seed)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let timestamp = now.map_or(0, |now| now.as_secs()).to_string();
            let signature = signature::telnyx(seed, &timestamp, body.as_bytes());
            format!("telnyx-timestamp: {timestamp}\r\ntelnyx-signature-ed25519: {signature}\r\n")
        }
        _ => String::new(),
    }
}

/// The fields of a form or query.
fn fields(spec: &CallSpec, stage: Stage) -> Vec<(String, String)> {
    let (ids, from, to) = (&spec.ids, spec.from.as_str(), spec.to.as_str());
    let status = if stage == Stage::Incoming { "ringing" } else { "in-progress" };
    let fields: &[(&str, &str)] = match spec.line.carrier {
        Carrier::Plivo => &[
            ("ALegUUID", &ids.call),
            ("CallStatus", status),
            ("CallUUID", &ids.call),
            ("Direction", "inbound"),
            ("Event", "StartApp"),
            ("From", from),
            ("ParentAuthID", &ids.account),
            ("To", to),
        ],
        Carrier::Exotel => &[
            ("CallSid", &ids.call),
            ("CallFrom", from),
            ("CallTo", to),
            ("Direction", "incoming"),
            ("Created", "Mon, 23 Nov 2026 10:00:00"),
            ("From", from),
            ("To", to),
            ("CurrentTime", "2026-11-23 10:00:00"),
        ],
        // Numbers without the plus sign.
        Carrier::Vonage => &[
            ("from", from.trim_start_matches('+')),
            ("to", to.trim_start_matches('+')),
            ("uuid", &ids.call),
            ("conversation_uuid", &ids.account),
        ],
        Carrier::Telnyx => &[
            ("AccountSid", &ids.account),
            ("CallSid", &ids.call),
            ("CallSidLegacy", &ids.call),
            ("CallStatus", status),
            ("Direction", "inbound"),
            ("From", from),
            ("To", to),
        ],
        _ => &[
            ("AccountSid", &ids.account),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &ids.call),
            ("CallStatus", status),
            ("Called", to),
            ("Caller", from),
            ("Direction", "inbound"),
            ("From", from),
            ("FromCity", "SÃO PAULO"),
            ("FromZip", ""),
            ("To", to),
        ],
    };
    fields.iter().map(|&(name, value)| (name.to_string(), value.to_string())).collect()
}

fn jambonz(spec: &CallSpec, stage: Stage) -> String {
    json!({
        "call_sid": spec.ids.call,
        "account_sid": spec.ids.account,
        "application_sid": spec.ids.account,
        "call_id": spec.ids.stream,
        "direction": "inbound",
        "from": spec.from,
        "to": spec.to,
        "caller_name": "",
        "call_status": if stage == Stage::Incoming { "trying" } else { "in-progress" },
        "sip_status": if stage == Stage::Incoming { 100 } else { 200 },
        "sip_reason": if stage == Stage::Incoming { "Trying" } else { "OK" },
    })
    .to_string()
}

/// `application/x-www-form-urlencoded`.
fn form_encode(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        percent_encode(name, &mut text);
        text.push('=');
        percent_encode(value, &mut text);
    }
    text
}

fn percent_encode(from: &str, to: &mut String) {
    for byte in from.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                to.push(byte.into());
            }
            b' ' => to.push('+'),
            _ => *to += &format!("%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::carrier::endurance::Endurance;
    use crate::carrier::ids::Ids;
    use crate::carrier::mix::Line;
    use crate::carrier::record::Hangup;
    use crate::carrier::target::{Entry, Secrets, Target};
    use crate::schedule::MediaPlan;
    use crate::signal::CallerVoice;

    fn asked(carrier: Carrier) -> String {
        let target = Target {
            authority: "relay:1".into(),
            address: ([127, 0, 0, 1], 1).into(),
            tls: None,
            public_url: Some("https://relay.test".into()),
            secrets: Secrets {
                twilio: Some("t".into()),
                telnyx: Some([7; 32]),
                ..Secrets::default()
            },
            entry: Entry::Standard,
        };
        let spec = CallSpec {
            index: 0,
            line: Line::of(carrier),
            ids: Ids::of(carrier, 1, 0),
            from: "+18005550199".into(),
            to: "+18005550100".into(),
            target: Arc::new(target),
            starts_at: 0,
            media: Arc::new(MediaPlan::steady(0)),
            voice: CallerVoice::new(1, 0),
            linger: 0,
            hangup: Hangup::StopAndClose,
            endurance: Endurance::default(),
            probe: true,
        };
        let path = spec.target.webhook(carrier).expect("a carrier has a webhook");
        let url = spec.target.signed_url(&path);
        String::from_utf8(request(&spec, Stage::Incoming, &path, &url)).unwrap()
    }

    #[test]
    fn every_carrier_asks_in_its_own_words() {
        for (carrier, line, told) in [
            (Carrier::Twilio, "POST /twilio/incoming HTTP/1.1", "CallSid=CA"),
            (Carrier::SignalWire, "POST /signalwire/incoming HTTP/1.1", "To=%2B18005550100"),
            (Carrier::Telnyx, "POST /telnyx/incoming HTTP/1.1", "CallSid=v3%3A"),
            (Carrier::Plivo, "POST /plivo/incoming HTTP/1.1", "CallUUID="),
            (Carrier::Exotel, "GET /exotel/incoming?CallSid=", "&CallFrom=%2B18005550199&"),
            (Carrier::Vonage, "GET /vonage/incoming?from=18005550199&to=18005550100&", "uuid="),
            (Carrier::Jambonz, "POST /jambonz/incoming HTTP/1.1", r#""call_sid":""#),
        ] {
            let asked = asked(carrier);
            assert!(asked.starts_with(line), "{asked}");
            assert!(asked.contains(told), "{asked}");
            assert!(asked.contains("\r\nHost: relay.test\r\n"), "{asked}");
            let signed = |name: &str| asked.contains(&format!("\r\n{name}: "));
            assert_eq!(signed("X-Twilio-Signature"), carrier == Carrier::Twilio);
            assert_eq!(signed("telnyx-signature-ed25519"), carrier == Carrier::Telnyx);
            if let Some((head, body)) = asked.split_once("\r\n\r\n").filter(|(_, b)| !b.is_empty())
            {
                assert!(
                    head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
                    "{head}"
                );
            }
        }
    }

    #[test]
    fn a_form_is_encoded_like_twilio_encodes_it() {
        let fields = [("From".into(), "+1 é&=".into()), ("Z".into(), String::new())];
        assert_eq!(form_encode(&fields), "From=%2B1+%C3%A9%26%3D&Z=");
    }
}
