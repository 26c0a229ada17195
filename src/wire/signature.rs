//! `X-Twilio-Signature`: whether a webhook or a handshake comes from the carrier.
//!
//! In:       the secrets, the addresses the carrier may have signed, the form, the headers.
//! Out:      yes, or why not.
//! Bounds:   [`CANDIDATES_MAX`] addresses times the configured secrets; the form has its own bound.
//! Not here: the form's reading (`wire::form`), which origin is ours (`config`), what follows from
//!           a no (`accept`), replays: a signature names no time, so whoever has seen a request can
//!           send it again (the answer is the same, and its token opens one stream).
//!
//! The signature is base64 of an HMAC over the address as the carrier has it configured, byte for
//! byte, then each form field's name and value, sorted by name. Nobody can see the address that was
//! signed, so a set of candidates is tried. Where no origin is configured, the caller builds them
//! from the request's own `Host`, which is then believed.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};

use super::base64;

/// Addresses tried for one request; more are not built.
pub const CANDIDATES_MAX: usize = 64;

/// The hash of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// With an auth token, or a shared key that says so.
    HmacSha1,
    /// With a shared key.
    HmacSha256,
}

/// A secret the customer made at the carrier, picked by its id.
#[derive(Clone)]
pub struct SharedKey {
    /// The id the request names.
    pub id: String,
    /// The secret.
    pub secret: String,
}

impl fmt::Debug for SharedKey {
    /// The id; a secret is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The secrets a request may be signed with.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Auth tokens. Several while one is being replaced: the carrier signs with its primary one.
    pub tokens: &'a [String],
    /// Shared keys.
    pub shared: &'a [SharedKey],
    /// Auth tokens count no longer.
    pub require_shared: bool,
}

impl fmt::Debug for Keys<'_> {
    /// How many there are, and the ids of the shared ones; a secret is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("tokens", &self.tokens.len())
            .field("shared", &self.shared)
            .field("require_shared", &self.require_shared)
            .finish()
    }
}

/// What the request says of its signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim<'a> {
    /// `X-Twilio-Signature`.
    pub signature: Option<&'a str>,
    /// `X-Twilio-Webhooks-Signature-Settings`: chosen by whoever sends, so it only picks among
    /// configured keys.
    pub settings: Option<&'a str>,
}

/// Why a request is not taken for the carrier's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// No signature at all.
    Missing,
    /// The settings cannot be read, or name an algorithm we do not know.
    BadSettings,
    /// The settings name a key that is not configured.
    UnknownKey,
    /// Signed with an auth token where a shared key is required.
    SharedKeyRequired,
    /// No secret and no candidate gives this signature.
    Mismatch,
    /// The body is no form, and the signed address does not hold its hash.
    WrongBody,
    /// Signed too long ago, or by a clock that goes wrong.
    Stale,
}

impl SignatureError {
    /// The label in figures.
    pub const fn label(self) -> &'static str {
        match self {
            SignatureError::Missing => "missing",
            SignatureError::BadSettings => "bad_settings",
            SignatureError::UnknownKey => "unknown_key",
            SignatureError::SharedKeyRequired => "shared_key_required",
            SignatureError::Mismatch => "wrong",
            SignatureError::WrongBody => "wrong_body",
            SignatureError::Stale => "stale",
        }
    }
}

impl Keys<'_> {
    /// Whether `claim` signs one of `candidates` with `params`.
    pub fn verify(
        &self,
        claim: Claim<'_>,
        candidates: &[String],
        params: &[(String, String)],
    ) -> Result<(), SignatureError> {
        let signature = claim.signature.ok_or(SignatureError::Missing)?;
        let good = match claim.settings {
            None if self.require_shared => return Err(SignatureError::SharedKeyRequired),
            None => verify(self.tokens, candidates, params, signature),
            Some(settings) => {
                let (id, algorithm) = parse_settings(settings)?;
                let mut named = self.shared.iter().filter(|key| key.id == id).peekable();
                named.peek().ok_or(SignatureError::UnknownKey)?;
                named.any(|key| signs(algorithm, &key.secret, candidates, params, signature))
            }
        };
        if good { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

/// Whether `header` is what one of `tokens` signs one of `candidates` and `params` with, by SHA-1.
/// Each comparison takes the same time wherever the difference is.
pub fn verify(
    tokens: &[String],
    candidates: &[String],
    params: &[(String, String)],
    header: &str,
) -> bool {
    tokens.iter().any(|token| signs(Algorithm::HmacSha1, token, candidates, params, header))
}

/// The signature of `url` and `params`; no parameters for GET and for handshakes.
pub fn sign(algorithm: Algorithm, key: &str, url: &str, params: &[(String, String)]) -> String {
    let key = hmac_key(algorithm, key);
    signature(&key, url, &signed_order(params))
}

fn signs(
    algorithm: Algorithm,
    secret: &str,
    candidates: &[String],
    params: &[(String, String)],
    claimed: &str,
) -> bool {
    // An empty secret is no secret: everybody could sign with it.
    if secret.is_empty() {
        return false;
    }
    let key = hmac_key(algorithm, secret);
    let params = signed_order(params);
    candidates.iter().any(|url| {
        let expected = signature(&key, url, &params);
        constant_time::verify_slices_are_equal(expected.as_bytes(), claimed.as_bytes()).is_ok()
    })
}

fn hmac_key(algorithm: Algorithm, secret: &str) -> hmac::Key {
    let hash = match algorithm {
        Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::HmacSha256 => hmac::HMAC_SHA256,
    };
    hmac::Key::new(hash, secret.as_bytes())
}

/// The fields in the order they are signed: by name, byte-wise; of one name each distinct value
/// once, sorted.
fn signed_order(params: &[(String, String)]) -> Vec<&(String, String)> {
    let mut sorted: Vec<_> = params.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

fn signature(key: &hmac::Key, url: &str, params: &[&(String, String)]) -> String {
    let mut mac = hmac::Context::with_key(key);
    mac.update(url.as_bytes());
    for (name, value) in params {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    let mut text = Vec::new();
    base64::encode_append(mac.sign().as_ref(), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Reads `key=<id>,algorithm=<name>`, in either order.
fn parse_settings(settings: &str) -> Result<(&str, Algorithm), SignatureError> {
    let (mut id, mut algorithm) = (None, None);
    for part in settings.split(',') {
        match part.trim().split_once('=') {
            Some(("key", value)) => id = Some(value),
            Some(("algorithm", "HMAC_SHA1")) => algorithm = Some(Algorithm::HmacSha1),
            Some(("algorithm", "HMAC_SHA256")) => algorithm = Some(Algorithm::HmacSha256),
            Some(("algorithm", _)) => return Err(SignatureError::BadSettings),
            _ => {}
        }
    }
    id.zip(algorithm).ok_or(SignatureError::BadSettings)
}

/// Whether the `bodySHA256` parameter of the query of `target` is the hash of `body`: how a body
/// that is not a form is covered by the signature of its address.
pub fn body_hash_matches(target: &str, body: &[u8]) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let Some(claimed) = query.split('&').find_map(|pair| pair.strip_prefix("bodySHA256=")) else {
        return false;
    };
    let hash = digest::digest(&digest::SHA256, body);
    let mut hex = String::with_capacity(64);
    for byte in hash.as_ref() {
        hex.push_str(&format!("{byte:02x}"));
    }
    constant_time::verify_slices_are_equal(hex.as_bytes(), claimed.as_bytes()).is_ok()
}

/// The addresses a webhook may have been signed under.
///
/// `public_origin`: `https://host[:port]` as the carrier has it configured. `target`: the request
/// target, byte for byte. `verbatim`: whole addresses from the configuration.
///
/// The port: as configured, left out (https), or the scheme's own. Some back ends sign `'`, `@`
/// and `:` as they are while they send them escaped: the query is tried both ways.
pub fn webhook_candidates(public_origin: &str, target: &str, verbatim: &[String]) -> Vec<String> {
    let mut candidates = Candidates::default();
    for url in verbatim {
        candidates.add(url.clone());
    }
    if let Some(origin) = Origin::parse(public_origin) {
        let target = target.split('#').next().unwrap_or(target);
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        for query in [query, &unescaped(query)] {
            for authority in origin.authorities() {
                candidates.add(format!("{}://{authority}{path}{query}", origin.scheme));
            }
        }
    }
    candidates.urls
}

/// The addresses a WebSocket handshake may have been signed under: `wss` and `https`, without port,
/// with the configured one and with the scheme's own, the path as received and with its last slash
/// added or taken away, each with the query as received and with `'`, `@` and `:` unescaped in it;
/// and `verbatim`, the texts that stood in our TwiML.
pub fn handshake_candidates(public_origin: &str, target: &str, verbatim: &[String]) -> Vec<String> {
    let mut candidates = Candidates::default();
    for url in verbatim {
        candidates.add(url.clone());
    }
    if let Some(origin) = Origin::parse(public_origin) {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), String::from);
        let schemes = if origin.is_secure() { ["wss", "https"] } else { ["ws", "http"] };
        for query in [query, &unescaped(query)] {
            for scheme in schemes {
                for path in [path, &other] {
                    for authority in origin.authorities() {
                        candidates.add(format!("{scheme}://{authority}{path}{query}"));
                    }
                }
            }
        }
    }
    candidates.urls
}

/// A query as some of the carrier's senders sign it.
fn unescaped(query: &str) -> String {
    let query = query.replace("%27", "'").replace("%40", "@");
    query.replace("%3A", ":").replace("%3a", ":")
}

/// A list without doubles, at most [`CANDIDATES_MAX`] long.
#[derive(Default)]
struct Candidates {
    urls: Vec<String>,
}

impl Candidates {
    fn add(&mut self, url: String) {
        if self.urls.len() < CANDIDATES_MAX && !self.urls.contains(&url) {
            self.urls.push(url);
        }
    }
}

/// Scheme, host and port of an address; user and password are no part of what is signed.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
}

impl<'a> Origin<'a> {
    fn parse(origin: &'a str) -> Option<Origin<'a>> {
        let (scheme, rest) = origin.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // A colon inside the brackets of an IPv6 address begins no port.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        (!host.is_empty()).then_some(Origin { scheme, host, port })
    }

    fn is_secure(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https") || self.scheme.eq_ignore_ascii_case("wss")
    }

    /// Without port, with its own, with the scheme's default.
    fn authorities(&self) -> [String; 3] {
        let default = if self.is_secure() { "443" } else { "80" };
        let own = self.port.unwrap_or(default);
        [self.host.into(), format!("{}:{own}", self.host), format!("{}:{default}", self.host)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::form;
    use super::*;

    const TOKEN: &str = "test_auth_token_0123456789abcdef";
    const URL: &str = "https://voice.example.com/twilio/incoming";
    const BODY: &str = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01&\
        CallSid=CA00000000000000000000000000000002&CallStatus=ringing&Called=%2B18005550100&\
        Caller=%2B18005550199&Direction=inbound&From=%2B18005550199&To=%2B18005550100";
    const V1: &str = "kH9VMUYMS7ngCllZMvrqpoS1QFc=";
    const V10: &str = "nZ7QpA48f8ARQUO0JAc8AU5mOMpaiN6lBMb5taJ/Z20=";

    fn params(body: &str) -> Vec<(String, String)> {
        form::parse(body.as_bytes()).unwrap()
    }

    fn sha1(token: &str, url: &str, body: &str) -> String {
        sign(Algorithm::HmacSha1, token, url, &params(body))
    }

    fn one(url: &str) -> Vec<String> {
        vec![url.into()]
    }

    /// Names, addresses, bodies and signatures computed with the official libraries.
    fn vectors() -> Vec<(&'static str, String, String, &'static str)> {
        let with = |more: &str| format!("{BODY}{more}");
        let url = |more: &str| format!("{URL}{more}");
        let plain = |url: &str| url.to_string();
        let handshake = |tail: &str| format!("wss://voice.example.com{tail}");
        let none = String::new;
        vec![
            ("V1", url(""), with(""), V1),
            (
                "V2 unicode",
                url(""),
                with(
                    "&FromCity=S%C3%A3o+Paulo&CallerName=Zo%C3%AB+%F0%9F%8E%A7+%CE%A9\
                     &FromState=%E6%97%A5%E6%9C%AC",
                ),
                "KzU+FlWA5d6bg/4W/3QpJbKpJTg=",
            ),
            (
                "V3 empty values",
                url(""),
                with("&FromCity=&FromZip=&Z="),
                "NPh8ueBSi9hP+5LnCZjtm34xJhI=",
            ),
            (
                "V4 duplicates",
                url(""),
                with("&Tag=b&Tag=a&Tag=b&Tag=B"),
                "UDgtGOE+iq4D/gyWeU55qSDP+6s=",
            ),
            ("V5 query", url("?tenant=a%20b&x=1"), with(""), "VK9KzsKiUMTe8XseeOobt8bA+Jc="),
            (
                "V6 port kept",
                plain("https://voice.example.com:8443/twilio/incoming"),
                with(""),
                "OQReu++Gx1MVqjFecQxzzB7kOf8=",
            ),
            (
                "V7 GET",
                url("?CallSid=CA00000000000000000000000000000002&From=%2B18005550199\
                     &To=%2B18005550100"),
                none(),
                "atDROBDjn4+MXdawJNkYUOOkUe8=",
            ),
            ("V8", handshake("/twilio/media"), none(), "PSHKZdRBsp/HJd8JQTizTsmtv48="),
            ("V8b", handshake("/twilio/media/"), none(), "SgkXo9QzOez8fr6zYy4GGWAW8N4="),
            ("V8c", handshake(""), none(), "oGaPNaroMZE9BqmXqeL6e/CISxA="),
            ("V8d", handshake("/"), none(), "l8RgIWYYmLRVjVCz8LcsLNTDw7Y="),
            ("V8e", handshake(":443/twilio/media"), none(), "prFckHlJiHQS5zQvNQZc2mG0HUU="),
            (
                "V8f",
                plain("https://voice.example.com/twilio/media"),
                none(),
                "ml1tO6xQN4oknYhwshqGnlktTsk=",
            ),
            ("V8g", handshake("?source=twilio"), none(), "i0hkwtLQZ4bDLszvKMTM9bhvAQY="),
            ("V8h", handshake("/?source=twilio"), none(), "XecfauY0Qq0GJKPAnmb6ZiqBhjA="),
            ("V9 order", url(""), plain("b=1&B=2&a=3&_x=4&A=5"), "t9Ey9MH9Cl8OqaD2cAMFgqbIOx4="),
            ("V11 JSON", plain(JSON_URL), none(), "T35vuulPFK8pHRmZPPaMhTKPNJQ="),
            (
                "V12 spaces",
                url(""),
                plain("A=+x+&B=a%2Bb+c%26d%3De%25"),
                "4zgV7fnmpxbHF39HyIJPzuSktpw=",
            ),
        ]
    }

    const JSON_URL: &str = "https://voice.example.com/twilio/status?bodySHA256=\
        5ccde7145dfb8f56479710896586cb9d5911809d83afbe34627818790db0aec9";

    #[test]
    fn every_signature_of_the_official_libraries_is_ours_too() {
        for (name, url, body, signature) in vectors() {
            assert_eq!(sha1(TOKEN, &url, &body), signature, "{name}");
            assert!(verify(&[TOKEN.into()], &[url], &params(&body), signature), "{name}");
        }
        let walk_through = "Digits=1234&To=%2B18005551212&From=%2B14158675310&\
            Caller=%2B14158675310&CallSid=CA1234567890ABCDE";
        assert_eq!(
            sha1("12345", "https://example.com/myapp.php?foo=1&bar=2", walk_through),
            "L/OH5YylLD5NRKLltdqwSvS0BnU="
        );
    }

    #[test]
    fn a_signature_holds_for_nothing_but_what_was_signed() {
        let tokens = [TOKEN.to_string()];
        let good = params(BODY);
        assert!(verify(&tokens, &one(URL), &good, V1));
        for url in [
            "http://voice.example.com/twilio/incoming",
            "https://voice.example.com/twilio/incoming/",
            "https://VOICE.example.com/twilio/incoming",
            "https://voice.example.com/twilio/incoming?",
            "",
        ] {
            assert!(!verify(&tokens, &one(url), &good, V1), "{url}");
        }
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at].1.replace_range(..1, "~");
            assert!(!verify(&tokens, &one(URL), &changed, V1));
            let mut fewer = good.clone();
            fewer.remove(at);
            assert!(!verify(&tokens, &one(URL), &fewer, V1));
        }
        let mut more = good.clone();
        more.push(("Extra".into(), String::new()));
        assert!(!verify(&tokens, &one(URL), &more, V1));
    }

    #[test]
    fn a_signature_changed_or_cut_anywhere_is_refused() {
        let (tokens, urls, fields) = ([TOKEN.to_string()], one(URL), params(BODY));
        for at in 0..V1.len() {
            assert!(!verify(&tokens, &urls, &fields, &V1[..at]));
            let mut changed = V1.to_string();
            changed.replace_range(at..=at, "!");
            assert!(!verify(&tokens, &urls, &fields, &changed));
        }
        assert!(!verify(&tokens, &urls, &fields, &format!("{V1}=")));
        assert!(!verify(&tokens, &[], &fields, V1));
        assert!(!verify(&[], &urls, &fields, V1));
    }

    #[test]
    fn any_of_several_tokens_will_do_and_an_empty_one_never() {
        let fields = params(BODY);
        assert!(verify(&["old".into(), TOKEN.into()], &one(URL), &fields, V1));
        let forged = sha1("", URL, BODY);
        assert!(!verify(&[String::new()], &one(URL), &fields, &forged));
    }

    fn shared_keys() -> Vec<SharedKey> {
        let key = |id: &str, secret: &str| SharedKey { id: id.into(), secret: secret.into() };
        vec![key("KA", "another"), key("KX", "shared_key_secret_xyz"), key("KE", "")]
    }

    #[test]
    fn a_shared_key_is_picked_by_its_id_among_the_configured_ones() {
        let (tokens, shared, fields) = ([TOKEN.to_string()], shared_keys(), params(BODY));
        let keys = Keys { tokens: &tokens, shared: &shared, require_shared: false };
        let check = |settings, signature| {
            let claim = Claim { signature: Some(signature), settings: Some(settings) };
            keys.verify(claim, &one(URL), &fields)
        };
        assert_eq!(check("key=KX,algorithm=HMAC_SHA256", V10), Ok(()));
        assert_eq!(check("algorithm=HMAC_SHA256, key=KX", V10), Ok(()));
        let by_sha1 = sha1("shared_key_secret_xyz", URL, BODY);
        assert_eq!(check("key=KX,algorithm=HMAC_SHA1", &by_sha1), Ok(()));
        assert_eq!(check("key=KX,algorithm=HMAC_SHA1", V10), Err(SignatureError::Mismatch));
        assert_eq!(check("key=KA,algorithm=HMAC_SHA256", V10), Err(SignatureError::Mismatch));
        assert_eq!(check("key=KZ,algorithm=HMAC_SHA256", V10), Err(SignatureError::UnknownKey));
        for settings in ["", "key=KX", "algorithm=HMAC_SHA256", "key=KX,algorithm=none", "{}"] {
            assert_eq!(check(settings, V10), Err(SignatureError::BadSettings), "{settings}");
        }
        // The settings are the sender's: they cannot turn to the token, nor to an empty secret.
        assert_eq!(check("key=KX,algorithm=HMAC_SHA1", V1), Err(SignatureError::Mismatch));
        let empty = sign(Algorithm::HmacSha256, "", URL, &fields);
        assert_eq!(check("key=KE,algorithm=HMAC_SHA256", &empty), Err(SignatureError::Mismatch));
    }

    #[test]
    fn without_settings_the_token_signs_unless_a_shared_key_is_required() {
        let (tokens, shared, fields) = ([TOKEN.to_string()], shared_keys(), params(BODY));
        let mut keys = Keys { tokens: &tokens, shared: &shared, require_shared: false };
        let claim = Claim { signature: Some(V1), settings: None };
        assert_eq!(keys.verify(claim, &one(URL), &fields), Ok(()));
        assert_eq!(keys.verify(Claim::default(), &one(URL), &fields), Err(SignatureError::Missing));
        keys.require_shared = true;
        assert_eq!(keys.verify(claim, &one(URL), &fields), Err(SignatureError::SharedKeyRequired));
    }

    #[test]
    fn a_webhook_is_known_behind_a_proxy_whatever_port_was_signed() {
        let tokens = [TOKEN.to_string()];
        let (_, with_port, _, kept) = vectors().remove(5);
        assert_eq!(with_port, "https://voice.example.com:8443/twilio/incoming");
        let candidates =
            webhook_candidates("https://voice.example.com:8443", "/twilio/incoming", &[]);
        for signature in [V1, kept] {
            assert!(verify(&tokens, &candidates, &params(BODY), signature));
        }
        assert_eq!(
            webhook_candidates("https://u:p@voice.example.com", "/a?b#c", &[]),
            ["https://voice.example.com/a?b", "https://voice.example.com:443/a?b"]
        );
        assert_eq!(
            webhook_candidates("http://[::1]:8080/", "/a", &one("https://x/y#rc=2")),
            ["https://x/y#rc=2", "http://[::1]/a", "http://[::1]:8080/a", "http://[::1]:80/a"]
        );
        assert_eq!(webhook_candidates("", "/a", &[]), [""; 0]);
    }

    #[test]
    fn a_webhook_is_not_known_under_another_scheme_or_path() {
        let tokens = [TOKEN.to_string()];
        for (origin, target) in [
            ("http://voice.example.com", "/twilio/incoming"),
            ("https://voice.example.com", "/twilio/incoming/"),
            ("https://voice.example.org", "/twilio/incoming"),
        ] {
            let candidates = webhook_candidates(origin, target, &[]);
            assert!(!verify(&tokens, &candidates, &params(BODY), V1), "{origin}{target}");
        }
    }

    #[test]
    fn a_query_signed_unescaped_is_known_as_well() {
        let signed = "https://voice.example.com/twilio/incoming?name=O'Neil&at=a@b&t=1:2";
        let signature = sha1(TOKEN, signed, BODY);
        for sent in ["?name=O%27Neil&at=a%40b&t=1%3A2", "?name=O%27Neil&at=a%40b&t=1%3a2"] {
            let target = format!("/twilio/incoming{sent}");
            let candidates = webhook_candidates("https://voice.example.com", &target, &[]);
            assert!(verify(&[TOKEN.into()], &candidates, &params(BODY), &signature));
        }
        // Only in the query: a path is signed as it is.
        let candidates = webhook_candidates("https://h", "/a%40b", &[]);
        assert!(candidates.iter().all(|url| url.contains("/a%40b")));
    }

    #[test]
    fn a_handshake_is_known_in_every_form_the_carrier_may_have_signed() {
        let tokens = [TOKEN.to_string()];
        let vectors = vectors();
        let signature_of = |name: &str| {
            vectors.iter().find(|vector| vector.0 == name).map(|vector| vector.3).unwrap()
        };
        for (target, names) in [
            ("/twilio/media", &["V8", "V8b", "V8e", "V8f"][..]),
            ("/twilio/media/", &["V8", "V8b", "V8e", "V8f"]),
            ("/", &["V8c", "V8d"]),
            ("/?source=twilio", &["V8g", "V8h"]),
        ] {
            let candidates = handshake_candidates("https://voice.example.com", target, &[]);
            for name in names {
                let known = verify(&tokens, &candidates, &[], signature_of(name));
                assert!(known, "{name} for {target}");
            }
            assert!(!verify(&tokens, &candidates, &[], V1));
        }
        // The query was dropped on the way: the text of our TwiML stands for it.
        let verbatim = one("wss://voice.example.com?source=twilio");
        let candidates = handshake_candidates("https://voice.example.com", "/", &verbatim);
        assert!(verify(&tokens, &candidates, &[], signature_of("V8g")));
    }

    #[test]
    fn the_handshake_set_is_two_schemes_three_ports_two_paths() {
        let candidates = handshake_candidates("https://h:8443", "/m", &[]);
        let mut expected = Vec::new();
        for scheme in ["wss", "https"] {
            for path in ["/m", "/m/"] {
                for port in ["", ":8443", ":443"] {
                    expected.push(format!("{scheme}://h{port}{path}"));
                }
            }
        }
        assert_eq!(candidates, expected);
        assert_eq!(
            handshake_candidates("http://h:8080", "/m", &[])[1],
            "ws://h:8080/m",
            "without TLS it is ws and http"
        );
    }

    #[test]
    fn secrets_are_never_printed() {
        let (tokens, shared) = ([TOKEN.to_string()], shared_keys());
        let keys = Keys { tokens: &tokens, shared: &shared, require_shared: false };
        let printed = format!("{keys:?}");
        assert!(printed.contains("KX") && !printed.contains("secret") && !printed.contains(TOKEN));
    }

    #[test]
    fn the_set_is_bounded_whatever_is_configured() {
        let verbatim: Vec<String> = (0..1000).map(|n| format!("wss://h/{n}")).collect();
        assert_eq!(handshake_candidates("https://h", "/", &verbatim).len(), CANDIDATES_MAX);
    }

    #[test]
    fn a_body_that_is_no_form_is_covered_by_its_hash() {
        let body = br#"{"CallSid":"CA1234567890ABCDE","Caller":"+12349013030"}"#;
        let target = JSON_URL.strip_prefix("https://voice.example.com").unwrap();
        assert!(body_hash_matches(target, body));
        assert!(!body_hash_matches(target, &body[1..]));
        assert!(!body_hash_matches("/twilio/status", body));
        assert!(!body_hash_matches("/twilio/status?bodySHA256=", body));
        assert!(!body_hash_matches(&target[..target.len() - 1], body));
    }
}
