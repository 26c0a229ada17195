//! The webhooks of carriers other than Twilio, what proves that they sent them, and their streams'
//! way in.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use vocaris::call::{Door, Ending, Refusal};
use vocaris::config::{AudioFormat, Busy, Carrier, Config, Secret, SignatureMode};
use vocaris::mail::{CallKey, DialLetter, WorkerLetter};

use crate::harness::{Relay, Response, attribute, get, post, signed, token_in};
use crate::upgrade::{new_call, try_upgrade};

const OTHERS: [Carrier; 6] = [
    Carrier::SignalWire,
    Carrier::Telnyx,
    Carrier::Plivo,
    Carrier::Exotel,
    Carrier::Vonage,
    Carrier::Jambonz,
];
const CALL: &str = "63f61863-0000-4000-8000-000000000007";
const SECRET: &str = "sixteen letters!";

/// One webhook of `carrier`; `query`: what stands behind the path besides.
fn webhook(carrier: Carrier, query: &str, fields: &str) -> String {
    let path = format!("/{}/incoming", carrier.label());
    let form = |form: &str| post(&format!("{path}?{query}"), fields, form);
    match carrier {
        Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx => {
            form(&format!("CallSid={CALL}&From=%2B18005550199&To=%2B18005550100"))
        }
        Carrier::Plivo => {
            form(&format!("CallUUID={CALL}&From=18005550199&To=18005550100&CallStatus=ringing"))
        }
        Carrier::Exotel => get(&format!(
            "{path}?{query}&CallSid={CALL}&CallFrom=%2B18005550199&CallTo=%2B18005550100"
        )),
        Carrier::Vonage => get(&format!("{path}?{query}&uuid={CALL}&from=18005550199&to=2")),
        Carrier::Jambonz => {
            let json = format!(
                "{{\"call_sid\":\"{CALL}\",\"from\":\"+18005550199\",\"to\":\"+18005550100\",\
                 \"sip\":{{\"headers\":{{}}}},\"sip_status\":100}}"
            );
            post(&format!("{path}?{query}"), fields, &json)
                .replace("application/x-www-form-urlencoded", "application/json")
        }
    }
}

/// What the carrier would hand to the stream of its answer: the address, and the token.
fn led_to(carrier: Carrier, answer: &Response) -> (String, String) {
    let body = &answer.body;
    let json = || serde_json::from_str::<Value>(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match carrier {
        Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx => {
            (attribute(body, "<Stream", "url").to_owned(), token_in(body))
        }
        Carrier::Plivo => {
            let headers = attribute(body, "<Stream", "extraHeaders");
            let token = headers.split(',').find_map(|pair| pair.strip_prefix("token=")).unwrap();
            let token = vocaris::wire::markup::from_hex(token).unwrap();
            let url = body.split('>').find_map(|part| part.strip_suffix("</Stream")).unwrap();
            (url.to_owned(), token)
        }
        Carrier::Exotel => {
            let url = text(&json()["url"]);
            let (url, query) = url.split_once('?').unwrap();
            (url.to_owned(), query.strip_prefix("token=").unwrap().to_owned())
        }
        Carrier::Vonage => {
            let endpoint = &json()[0]["endpoint"][0];
            (text(&endpoint["uri"]), text(&endpoint["headers"]["token"]))
        }
        Carrier::Jambonz => {
            let listen = json()[1].clone();
            assert_eq!(listen["verb"], "listen");
            (text(&listen["url"]), text(&listen["metadata"]["token"]))
        }
    }
}

fn refused(relay: &Relay, call: CallKey) -> Refusal {
    match relay.worker_letter(1) {
        WorkerLetter::Refused { call: of, refusal } if of == call => refusal,
        other => panic!("not refused but {other:?}"),
    }
}

fn dialled(relay: &Relay, call: CallKey) {
    match relay.dial_letter() {
        DialLetter::Dial { call: of, .. } => assert_eq!(of, call),
        other => panic!("not dialled but {other:?}"),
    }
}

/// Every carrier behind a secret.
fn guarded(mode: SignatureMode) -> impl FnOnce(&mut Config) {
    move |config| {
        signed(SignatureMode::Require)(config);
        for carrier in OTHERS {
            let terms = config.carriers.of_mut(carrier).unwrap();
            (terms.enabled, terms.signature) = (true, mode);
            terms.secret = Some(Secret::new(SECRET.into()));
        }
    }
}

#[test]
fn every_carrier_is_answered_in_its_own_markup_and_its_stream_let_in_by_its_token() {
    for carrier in OTHERS {
        let relay = Relay::start();
        let answer = relay.ask(webhook(carrier, "", ""));
        assert_eq!(answer.status, 200, "{carrier:?} {answer:?}");
        let is_xml = matches!(carrier, Carrier::SignalWire | Carrier::Telnyx | Carrier::Plivo);
        let media_type = if is_xml { "text/xml; charset=utf-8" } else { "application/json" };
        assert_eq!(answer.field("content-type"), Some(media_type), "{carrier:?}");
        let (url, token) = led_to(carrier, &answer);
        assert_eq!(url, format!("wss://voice.example.com/{}/media", carrier.label()));
        let call = relay.admit_of(carrier, relay.fresh_id(), CALL, Some(&token), None);
        dialled(&relay, call);
        let again = relay.admit_of(carrier, relay.fresh_id(), CALL, Some(&token), None);
        assert_eq!(refused(&relay, again), Refusal::UsedToken, "{carrier:?}");
    }
}

#[test]
fn the_audio_asked_for_is_the_one_configured() {
    let relay = Relay::with(|config| {
        for carrier in OTHERS {
            let terms = config.carriers.of_mut(carrier).unwrap();
            terms.format = *carrier.formats().last().unwrap();
        }
    });
    let expected = [
        (Carrier::SignalWire, "codec=\"L16@24000h\""),
        (Carrier::Telnyx, "bidirectionalCodec=\"L16\" bidirectionalSamplingRate=\"16000\""),
        (Carrier::Plivo, "contentType=\"audio/x-l16;rate=16000\""),
        (Carrier::Exotel, "&sample-rate=24000"),
        (Carrier::Vonage, "audio/l16;rate=24000"),
        (Carrier::Jambonz, "\"sampleRate\":24000"),
    ];
    for (carrier, words) in expected {
        let body = relay.ask(webhook(carrier, "", "")).body;
        assert!(body.contains(words), "{carrier:?} {body}");
    }
    for carrier in OTHERS {
        assert!(!carrier.formats().contains(&AudioFormat::Linear(48_000)));
    }
}

#[test]
fn where_twilio_must_sign_other_carriers_are_closed_until_they_are_asked_for() {
    let relay = Relay::with(signed(SignatureMode::Require));
    // As the configuration is read: nothing is said of them, and Twilio signs.
    let secret = [("TWILIO_AUTH_TOKEN".into(), "0123456789abcdef0123456789abcdef".into())];
    let carriers = Config::read(None, secret).unwrap().carriers;
    drop(relay);
    let relay = Relay::with(|config| {
        signed(SignatureMode::Require)(config);
        config.carriers = carriers;
    });
    for carrier in OTHERS {
        assert_eq!(relay.ask(webhook(carrier, "", "")).status, 404, "{carrier:?}");
        let media = format!("/{}/media", carrier.label());
        assert_eq!(try_upgrade(&relay, &media, "").status, 404, "{carrier:?}");
        // A stream that comes to the page's door in its dialect has no token of ours.
        let call = relay.admit_of(carrier, relay.fresh_id(), CALL, None, None);
        assert_eq!(refused(&relay, call), Refusal::NoToken, "{carrier:?}");
    }
}

#[test]
fn a_webhook_without_the_secret_is_refused_and_so_is_a_stream_without_a_token() {
    let relay = Relay::with(guarded(SignatureMode::Require));
    for carrier in OTHERS {
        for (query, status) in [
            ("", 403),
            ("key=", 403),
            ("key=sixteen%20letters", 403),
            ("Key=sixteen%20letters%21", 403),
            ("key=sixteen%20letters%21", 200),
        ] {
            let answer = relay.ask(webhook(carrier, query, ""));
            assert_eq!(answer.status, status, "{carrier:?} {query} {answer:?}");
            assert!(!answer.body.contains(SECRET));
        }
        for (token, refusal) in [(None, Refusal::NoToken), (Some("v1.x"), Refusal::BadToken)] {
            let call = relay.admit_of(carrier, relay.fresh_id(), CALL, token, None);
            assert_eq!(refused(&relay, call), refusal, "{carrier:?}");
        }
    }
    assert_eq!(relay.shared.signatures.webhook.of("valid"), OTHERS.len() as u64);
    assert_eq!(relay.shared.signatures.webhook.of("wrong"), 2 * OTHERS.len() as u64);
    let relay = Relay::with(guarded(SignatureMode::Warn));
    for carrier in OTHERS {
        assert_eq!(relay.ask(webhook(carrier, "key=wrong", "")).status, 200, "{carrier:?}");
    }
}

/// The two header fields of Telnyx over `body`, so many seconds from now.
fn telnyx_fields(pair: &Ed25519KeyPair, body: &str, seconds: i64) -> String {
    let at = vocaris::clock::unix_seconds().checked_add_signed(seconds).unwrap();
    let mut signature = Vec::new();
    let signed = pair.sign(format!("{at}|{body}").as_bytes());
    vocaris::wire::base64::encode_append(signed.as_ref(), &mut signature);
    let signature = String::from_utf8(signature).unwrap();
    format!("telnyx-signature-ed25519: {signature}\r\ntelnyx-timestamp: {at}\r\n")
}

#[test]
fn telnyx_signs_its_webhooks() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let relay = Relay::with(move |config| {
        let terms = config.carriers.of_mut(Carrier::Telnyx).unwrap();
        terms.public_key = Some(key);
        terms.signature = SignatureMode::Require;
    });
    let body = format!("CallSid={CALL}&From=%2B18005550199&To=%2B18005550100");
    let ask = |fields: &str| relay.ask(webhook(Carrier::Telnyx, "", fields)).status;
    assert_eq!(ask(&telnyx_fields(&pair, &body, 0)), 200);
    assert_eq!(ask(&telnyx_fields(&pair, &body, -120)), 200);
    assert_eq!(ask(""), 403);
    assert_eq!(ask(&telnyx_fields(&pair, &body, -400)), 403, "replayed");
    assert_eq!(ask(&telnyx_fields(&pair, &body, 400)), 403);
    assert_eq!(ask(&telnyx_fields(&pair, &body.replace("0199", "0198"), 0)), 403);
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    assert_eq!(ask(&telnyx_fields(&stranger, &body, 0)), 403);
    let counted = |label| relay.shared.signatures.webhook.of(label);
    assert_eq!((counted("valid"), counted("missing")), (2, 1));
    assert_eq!((counted("stale"), counted("wrong")), (2, 2));
    // What is signed is a POST's body alone: no address, and so no fields in one.
    let evil = "/telnyx/incoming?CallSid=evil&From=%2B1900";
    let replayed = post(evil, &telnyx_fields(&pair, &body, 0), &body);
    for method in ["GET", "HEAD"] {
        let mut client = relay.connect();
        client.send(replayed.replacen("POST", method, 1));
        assert_eq!(client.response_to(method == "HEAD").status, 403, "{method}");
    }
    let after = format!("GET /telnyx/after?CallSid={CALL} HTTP/1.1\r\nHost: h\r\n");
    assert_eq!(relay.ask(format!("{after}{}\r\n", telnyx_fields(&pair, "", 0))).status, 403);
    assert_eq!(relay.shared.signatures.webhook.of("missing"), 4);
    let answer = relay.ask(replayed);
    let (_, token) = led_to(Carrier::Telnyx, &answer);
    assert!(!answer.body.contains("evil") && !answer.body.contains("1900"), "{answer:?}");
    let call = relay.admit_of(Carrier::Telnyx, relay.fresh_id(), "evil", Some(&token), None);
    assert_eq!(refused(&relay, call), Refusal::BadToken);
}

#[test]
fn at_capacity_each_is_told_so_in_its_own_words() {
    let busy = [
        (Carrier::SignalWire, 200, "<Reject reason=\"busy\"/>", "<Say>"),
        (Carrier::Telnyx, 200, "<Reject reason=\"busy\"/>", "<Say>"),
        (Carrier::Plivo, 200, "<Hangup reason=\"busy\"/>", "<Speak>"),
        (Carrier::Exotel, 503, "full", "full"),
        (Carrier::Vonage, 200, "[]", "\"talk\""),
        (Carrier::Jambonz, 200, "486", "\"say\""),
    ];
    for says in [false, true] {
        let relay = Relay::with(|config| {
            config.limits.max_calls = 1;
            config.twilio.busy = match says {
                true => Busy::Say("All <lines> & \"agents\" are busy.".into()),
                false => Busy::Reject,
            };
        });
        relay.browser_inside(0);
        for (carrier, status, rejects, sentence) in busy {
            let answer = relay.ask(webhook(carrier, "", ""));
            assert_eq!(answer.status, status, "{carrier:?}");
            let words = if says { sentence } else { rejects };
            assert!(answer.body.contains(words), "{carrier:?} {}", answer.body);
            let is_xml = answer.body.starts_with("<?xml");
            assert!(!answer.body.contains("media"), "{carrier:?} {}", answer.body);
            assert!(!is_xml || !answer.body.contains("<lines>"), "{}", answer.body);
        }
    }
}

#[test]
fn hostile_fields_stay_fields_and_a_call_needs_a_name() {
    let relay = Relay::start();
    let evil = "%22%2F%3E%3CDial%3E%2B1900%3C%2FDial%3E%26%0A%00%5C";
    for carrier in OTHERS {
        let name = match carrier {
            Carrier::Plivo => "CallUUID",
            Carrier::Vonage => "uuid",
            Carrier::Jambonz => "call_sid",
            _ => "CallSid",
        };
        let path = format!("/{}/incoming", carrier.label());
        let form = format!("{name}=c&From={evil}&CallFrom={evil}&from={evil}&to={evil}");
        let answer = relay.post_form(&path, &form);
        assert_eq!(answer.status, 200, "{carrier:?}");
        match answer.field("content-type") {
            Some("application/json") => {
                serde_json::from_str::<Value>(&answer.body).unwrap();
            }
            _ => assert!(!answer.body.contains("<Dial>"), "{carrier:?} {}", answer.body),
        }
        assert_eq!(relay.post_form(&path, "From=1").status, 400, "{carrier:?}: no name");
        let long = format!("{name}={}", "c".repeat(129));
        assert_eq!(relay.post_form(&path, &long).status, 400, "{carrier:?}: too long");
        assert_eq!(relay.post_form(&path, "%zz").status, 400);
        assert!(relay.get(&path).body.starts_with("{\"status\":\"ok\""), "{carrier:?}: health");
        assert_eq!(relay.ask(get(&path).replace("GET", "PUT")).status, 405);
        let other = post(&path, "", "x").replace("x-www-form-urlencoded", "octets");
        assert_eq!(relay.ask(other).status, 415);
    }
}

#[test]
fn streams_come_in_by_their_carriers_path_and_jambonz_gets_its_subprotocol() {
    let relay = Relay::start();
    for carrier in OTHERS {
        let media = format!("/{}/media", carrier.label());
        let offer = "Sec-WebSocket-Protocol: audio.jambonz.org\r\n";
        let fields = if carrier == Carrier::Jambonz { offer } else { "" };
        let response = try_upgrade(&relay, &media, fields);
        assert_eq!(response.status, 101, "{carrier:?}");
        let subprotocol = (carrier == Carrier::Jambonz).then_some("audio.jambonz.org");
        assert_eq!(response.field("sec-websocket-protocol"), subprotocol);
        assert_eq!(relay.get(&media).status, 426, "{carrier:?}: only WebSocket is spoken there");
    }
    // At the door that all may use, too; not at one that is another's.
    let doors =
        [("/", true), ("/jambonz/media", true), ("/twilio/media", false), ("/plivo/media", false)];
    for (path, is_jambonzs) in doors {
        let offer = "Sec-WebSocket-Protocol: audio.jambonz.org\r\n";
        let response = try_upgrade(&relay, path, offer);
        let subprotocol = is_jambonzs.then_some("audio.jambonz.org");
        assert_eq!(response.field("sec-websocket-protocol"), subprotocol, "{path}");
    }
    let relay = Relay::with(guarded(SignatureMode::Require));
    let response = try_upgrade(&relay, "/vonage/media", "");
    assert_eq!(response.status, 101, "it signs no handshake");
    assert_eq!(new_call(&relay, 0).door, Door::Carrier(Carrier::Vonage));
    assert_eq!(try_upgrade(&relay, "/twilio/media", "").status, 403, "Twilio does");
}

#[test]
fn exotels_token_is_taken_from_its_streams_address() {
    let relay = Relay::with(guarded(SignatureMode::Require));
    let secret = "key=sixteen%20letters%21";
    let (_, token) = led_to(Carrier::Exotel, &relay.ask(webhook(Carrier::Exotel, secret, "")));
    let target = format!("/exotel/media?token={token}&sample-rate=8000");
    assert_eq!(try_upgrade(&relay, &target, "").status, 101);
    let id = new_call(&relay, 0).id;
    // Twilio keeps no query; and only the call that the token is of may use it.
    for (carrier, call_sid) in [(Carrier::Twilio, CALL), (Carrier::Exotel, "another")] {
        let call = relay.admit_of(carrier, id, call_sid, None, None);
        let refusal = refused(&relay, call);
        assert!(matches!(refusal, Refusal::NoToken | Refusal::BadToken), "{carrier:?}");
    }
    let call = relay.admit_of(Carrier::Exotel, id, CALL, None, None);
    dialled(&relay, call);
}

#[test]
fn one_carriers_webhook_opens_no_other_carriers_door() {
    let all = || Carrier::ALL.into_iter();
    let soft = |config: &mut Config| {
        signed(SignatureMode::Require)(config);
        for carrier in OTHERS {
            let terms = config.carriers.of_mut(carrier).unwrap();
            (terms.enabled, terms.signature) = (true, SignatureMode::Off);
        }
    };
    let relay = Relay::with(soft);
    for carrier in OTHERS {
        for other in all().filter(|&other| other != carrier) {
            let (_, token) = led_to(carrier, &relay.ask(webhook(carrier, "", "")));
            let call = relay.admit_of(other, relay.fresh_id(), CALL, Some(&token), None);
            assert_eq!(refused(&relay, call), Refusal::BadToken, "{carrier:?} {other:?}");
        }
    }
    // The other way round, however the call is named.
    let relay = Relay::with(guarded_but_twilio);
    for carrier in OTHERS {
        let name = format!("{}~{CALL}", carrier.label());
        for (named, status) in [(CALL, 200), (&name, 400)] {
            let answer = relay.post_form("/twilio/incoming", &format!("CallSid={named}"));
            assert_eq!(answer.status, status, "{named}");
            if status == 200 {
                let token = token_in(&answer.body);
                let call = relay.admit_of(carrier, relay.fresh_id(), CALL, Some(&token), None);
                assert_eq!(refused(&relay, call), Refusal::BadToken, "{carrier:?}");
            }
        }
        for path in ["/twilio/after", "/twilio/stream-status"] {
            assert_eq!(relay.post_form(path, &format!("CallSid={name}")).status, 400, "{path}");
        }
    }
}

/// Every carrier behind a secret, and Twilio behind none.
fn guarded_but_twilio(config: &mut Config) {
    guarded(SignatureMode::Require)(config);
    config.twilio.signature = SignatureMode::Off;
}

#[test]
fn calls_of_two_carriers_that_are_named_alike_are_two_calls() {
    let relay = Relay::start();
    let form = format!("CallSid={CALL}");
    let token = token_in(&relay.post_form("/twilio/incoming", &form).body);
    let twilios = relay.fresh_id();
    dialled(&relay, relay.admit_of(Carrier::Twilio, twilios, CALL, Some(&token), None));
    let mut others = Vec::new();
    for carrier in OTHERS {
        let (_, token) = led_to(carrier, &relay.ask(webhook(carrier, "", "")));
        let id = relay.fresh_id();
        dialled(&relay, relay.admit_of(carrier, id, CALL, Some(&token), None));
        others.push(id);
    }
    assert!(relay.workers[1].take().is_none(), "nobody's stream was replaced");
    // How another's ends is not what Twilio's caller hears.
    others.into_iter().for_each(|id| relay.end(id, CALL, Ending::ModelLost));
    assert!(!relay.post_form("/twilio/after", &form).body.contains("<Say>"));
    relay.end(twilios, CALL, Ending::ModelLost);
    assert!(relay.post_form("/twilio/after", &form).body.contains("<Say>"));
}

#[test]
fn jambonz_asks_what_follows_and_is_told_to_hang_up() {
    let relay = Relay::with(guarded(SignatureMode::Require));
    let request = post("/jambonz/after", "", "{}")
        .replace("application/x-www-form-urlencoded", "application/json");
    let answer = relay.ask(request);
    assert_eq!((answer.status, answer.body.as_str()), (200, "[{\"verb\":\"hangup\"}]"));
    assert_eq!(relay.get("/telnyx/after").status, 403, "of others it is proven or nothing");
}
