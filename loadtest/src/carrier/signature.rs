//! How requests of carriers are signed.
//!
//! Twilio, `X-Twilio-Signature`: the URL, then every form field sorted by name, under HMAC-SHA1.
//! Telnyx, `telnyx-signature-ed25519`: `telnyx-timestamp`, a bar, the body, under Ed25519.
//!
//! In:       the secret, and what is signed.
//! Out:      the header's value.
//! Bounds:   none of its own.
//! Not here: checking a signature; that is the relay's work, and not to be shared.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Twilio's signature of a request for `url` that carries `fields` in its body.
pub fn twilio(token: &str, url: &str, fields: &[(String, String)]) -> String {
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

/// Telnyx's signature of a body.
///
/// # Panics
/// Never: any 32 bytes are the seed of a key.
pub fn telnyx(seed: &[u8; 32], timestamp: &str, body: &[u8]) -> String {
    let message = [timestamp.as_bytes(), b"|", body].concat();
    STANDARD.encode(telnyx_key(seed).sign(&message))
}

/// The public key that Telnyx shows in its portal, in base64.
pub fn telnyx_public_key(seed: &[u8; 32]) -> String {
    STANDARD.encode(telnyx_key(seed).public_key())
}

fn telnyx_key(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed")
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
            twilio("12345", "https://example.com/myapp.php?foo=1&bar=2", &walk_through),
            "L/OH5YylLD5NRKLltdqwSvS0BnU="
        );
        let order = fields(&[("b", "1"), ("B", "2"), ("a", "3"), ("_x", "4"), ("A", "5")]);
        assert_eq!(
            twilio(TOKEN, "https://voice.example.com/twilio/incoming", &order),
            "t9Ey9MH9Cl8OqaD2cAMFgqbIOx4="
        );
        let spaces = fields(&[("A", " x "), ("B", "a+b c&d=e%")]);
        assert_eq!(
            twilio(TOKEN, "https://voice.example.com/twilio/incoming", &spaces),
            "4zgV7fnmpxbHF39HyIJPzuSktpw="
        );
        assert_eq!(
            twilio(TOKEN, "wss://voice.example.com/twilio/media", &[]),
            "PSHKZdRBsp/HJd8JQTizTsmtv48="
        );
    }

    #[test]
    fn telnyx_signs_timestamp_bar_body_with_the_key_of_its_seed() {
        // The key pair of RFC 8032 section 7.1, TEST 2.
        let seed = [
            0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11,
            0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed,
            0x4f, 0xb8, 0xa6, 0xfb,
        ];
        let public = [
            0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b,
            0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1,
            0x2a, 0xf4, 0x66, 0x0c,
        ];
        assert_eq!(telnyx_public_key(&seed), STANDARD.encode(public));
        let key =
            aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
        let signature = STANDARD.decode(telnyx(&seed, "1795400000", b"{}")).unwrap();
        assert!(key.verify(b"1795400000|{}", &signature).is_ok());
        assert!(key.verify(b"1795400001|{}", &signature).is_err());
    }
}
