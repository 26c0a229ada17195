//! `X-Twilio-Signature`: the URL, then every form field sorted by name, under HMAC-SHA1.
//!
//! In:       the auth token, the URL as Twilio has it configured, the form fields.
//! Out:      the header's value.
//! Bounds:   none of its own.
//! Not here: checking a signature; that is the relay's work, and not to be shared.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The signature of a request for `url` that carries `fields` in its body.
pub fn sign(token: &str, url: &str, fields: &[(String, String)]) -> String {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort();
    // Of equal names every distinct value counts once.
    fields.dedup();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let mut message = hmac::Context::with_key(&key);
    message.update(url.as_bytes());
    for (name, value) in fields {
        message.update(name.as_bytes());
        message.update(value.as_bytes());
    }
    STANDARD.encode(message.sign())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "test_auth_token_0123456789abcdef";

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn signatures_agree_with_the_official_libraries() {
        let walk_through = fields(&[
            ("Digits", "1234"),
            ("To", "+18005551212"),
            ("From", "+14158675310"),
            ("Caller", "+14158675310"),
            ("CallSid", "CA1234567890ABCDE"),
        ]);
        assert_eq!(
            sign("12345", "https://example.com/myapp.php?foo=1&bar=2", &walk_through),
            "L/OH5YylLD5NRKLltdqwSvS0BnU="
        );
        let order = fields(&[("b", "1"), ("B", "2"), ("a", "3"), ("_x", "4"), ("A", "5")]);
        assert_eq!(
            sign(TOKEN, "https://voice.example.com/twilio/incoming", &order),
            "t9Ey9MH9Cl8OqaD2cAMFgqbIOx4="
        );
        let spaces = fields(&[("A", " x "), ("B", "a+b c&d=e%")]);
        assert_eq!(
            sign(TOKEN, "https://voice.example.com/twilio/incoming", &spaces),
            "4zgV7fnmpxbHF39HyIJPzuSktpw="
        );
        assert_eq!(
            sign(TOKEN, "wss://voice.example.com/twilio/media", &[]),
            "PSHKZdRBsp/HJd8JQTizTsmtv48="
        );
    }
}
