//! What a configuration leaves open that its operator may not have meant to.
//!
//! In:       a checked configuration.
//! Out:      a sentence each, for the log, with what to set.
//! Not here: what keeps the relay from starting (`server::preflight`).

use crate::config::{Carrier, Config, SignatureMode};

/// What strangers can do with these settings that their operator may not have meant.
pub(super) fn exposures(config: &Config) -> Vec<&'static str> {
    let has_key = config.gemini.has_credentials();
    let requires = config.twilio.signature == SignatureMode::Require;
    let allow = config.web.allow.as_ref();
    // Where Twilio need not sign either, another line says it for all.
    let is_open = |carrier: &Carrier| {
        let terms = config.carriers.of(*carrier);
        terms.is_some_and(|terms| terms.enabled && terms.signature != SignatureMode::Require)
    };
    let figures = config.admin.listen.unwrap_or(config.server.listen);
    let private = figures.ip().is_loopback();
    let exposures = [
        (
            has_key && requires && Carrier::ALL.iter().any(is_open),
            "a carrier besides Twilio is enabled whose webhooks prove nothing: anyone who reaches \
             this port can open calls by its paths; set a secret in its section, or \
             telnyx.public_key",
        ),
        (
            config.recording.enabled && config.recording.consent.is_none(),
            "calls are recorded and nobody is told: set recording.consent, unless they are told \
             some other way",
        ),
        (
            has_key && config.twilio.signature == SignatureMode::Warn,
            "anyone who reaches this port can open calls and spend the key: wrong signatures are \
             only warned of; set twilio.signature = \"require\"",
        ),
        (
            has_key && config.twilio.signature == SignatureMode::Off,
            "anyone who reaches this port can open calls and spend the key: signatures are not \
             required; set twilio.auth_token (TWILIO_AUTH_TOKEN)",
        ),
        (
            has_key && config.web.enabled && config.web.tokens.is_empty() && allow.is_none(),
            "anyone who reaches this port can talk from a browser and spend the key: set \
             web.tokens or web.allow, or web.enabled = false, or let a proxy decide who comes in",
        ),
        (
            has_key && config.admin.token.is_none() && config.admin.allow.is_none() && !private,
            "anyone who reaches this port can read /metrics: set admin.token, admin.allow, or \
             admin.listen to an address of this machine",
        ),
        (
            requires && config.server.public_url.is_none(),
            "server.public_url is not set: each request's Host is believed when its signature is \
             checked, so a request signed for another host's webhook passes here; set it",
        ),
    ];
    exposures.into_iter().filter_map(|(holds, exposure)| holds.then_some(exposure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_let_strangers_spend_the_key_are_told() {
        let told = |settings: &[(&str, &str)]| {
            let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
            exposures(&Config::read(None, settings).unwrap()).len()
        };
        let key = ("GEMINI_API_KEY", "k");
        let token = ("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef");
        let public = ("VOCARIS_SERVER_PUBLIC_URL", "https://voice.example.com");
        let no_web = ("VOCARIS_WEB_ENABLED", "false");
        let figures = ("VOCARIS_ADMIN_TOKEN", "0123456789abcdef");
        assert_eq!(told(&[]), 0, "the demo has nothing to lose");
        assert_eq!(told(&[key, figures]), 2);
        assert_eq!(told(&[key, figures, no_web]), 1);
        assert_eq!(told(&[key, figures, ("VOCARIS_WEB_TOKENS", "0123456789abcdef")]), 1);
        assert_eq!(told(&[key, figures, ("VOCARIS_WEB_ALLOW", "10.0.0.0/8")]), 1);
        assert_eq!(told(&[key, figures, token]), 2, "browsers, and the Host that is believed");
        assert_eq!(told(&[key, figures, token, public, no_web]), 0);
        assert_eq!(told(&[key, token, public, no_web]), 1, "the figures");
        for closed in [
            ("VOCARIS_ADMIN_ALLOW", "10.0.0.0/8"),
            ("VOCARIS_ADMIN_LISTEN", "127.0.0.1:9090"),
            ("VOCARIS_SERVER_LISTEN", "[::1]:8080"),
        ] {
            assert_eq!(told(&[key, token, public, no_web, closed]), 0, "{closed:?}");
        }
        let settings = [key, figures, token, public, no_web, ("VOCARIS_TWILIO_SIGNATURE", "warn")];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let told = exposures(&Config::read(None, settings).unwrap());
        assert!(told.len() == 1 && told[0].contains("signature = \"require\""), "{told:?}");
    }
}
