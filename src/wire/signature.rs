//! `X-Twilio-Signature`: whether a webhook or a handshake comes from the carrier.
//!
//! In:       the secrets, the addresses the carrier may have signed, the form, the headers.
//! Out:      yes, or why not.
//! Bounds:   [`CANDIDATES_MAX`] addresses times the configured secrets; the form has its own bound.
//! Not here: the form's reading (`wire::form`), which origin is ours (`config`), what follows from
//!           a no (`accept`).
//!
//! The signature is base64 of an HMAC over the address as the carrier has it configured, byte for
//! byte, then each form field's name and value, sorted by name. Nobody can see the address that was
//! signed, so a set of candidates is tried. A request's own `Host` takes no part.

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
#[derive(Clone, Debug)]
pub struct SharedKey {
    /// The id the request names.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// The secrets a request may be signed with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Auth tokens. Several while one is being replaced: the carrier signs with its primary one.
    pub tokens: &'a [String],
    /// Shared keys.
    pub shared: &'a [SharedKey],
    /// Auth tokens count no longer.
    pub require_shared: bool,
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
        let bare = query.replace("%27", "'").replace("%40", "@");
        let bare = bare.replace("%3A", ":").replace("%3a", ":");
        for query in [query, &bare] {
            for authority in origin.authorities() {
                candidates.add(format!("{}://{authority}{path}{query}", origin.scheme));
            }
        }
    }
    candidates.urls
}

/// The addresses a WebSocket handshake may have been signed under: `wss` and `https`, without port,
/// with the configured one and with the scheme's own, the path as received and with its last slash
/// added or taken away; and `verbatim`, the texts that stood in our TwiML.
pub fn handshake_candidates(public_origin: &str, target: &str, verbatim: &[String]) -> Vec<String> {
    let mut candidates = Candidates::default();
    for url in verbatim {
        candidates.add(url.clone());
    }
    if let Some(origin) = Origin::parse(public_origin) {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), String::from);
        let schemes = if origin.is_secure() { ["wss", "https"] } else { ["ws", "http"] };
        for scheme in schemes {
            for path in [path, &other] {
                for authority in origin.authorities() {
                    candidates.add(format!("{scheme}://{authority}{path}{query}"));
                }
            }
        }
    }
    candidates.urls
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
