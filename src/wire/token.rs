//! The per-call token: proof that the stream which opens belongs to a call we answered.
//!
//! In:       the secret, the `CallSid`, the time of day.
//! Out:      `v1.<CallSid>.<expiry>.<mac>`, carried in a `<Parameter>`, and the check of one.
//! Bounds:   [`TOKEN_TTL_SECONDS`], [`TOKEN_BYTES_MAX`].
//! Not here: single use (who has seen a token remembers it), the clock.

use aws_lc_rs::{constant_time, hmac};

use crate::limits::SID_MAX_BYTES;

/// From the answered webhook to the stream's `start`. Afterwards [`TokenError::Expired`].
pub const TOKEN_TTL_SECONDS: u64 = 60;

/// The longest token we mint, for a name of [`SID_MAX_BYTES`] and one letter before it; longer ones
/// are [`TokenError::Malformed`], unread.
pub const TOKEN_BYTES_MAX: usize =
    "v1...".len() + 1 + SID_MAX_BYTES + UNIX_DIGITS_MAX + 2 * MAC_BYTES;

/// Digits of the latest second there is.
const UNIX_DIGITS_MAX: usize = 20;

const MAC_BYTES: usize = 32;

/// Why a token does not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not of the shape we mint.
    Malformed,
    /// Not minted with this secret, or changed since.
    BadMac,
    /// Minted for another call.
    WrongCall,
    /// Its time is over.
    Expired,
}

/// The secrets that tokens are minted with, configured or random for the life of the process: the
/// first signs, each is believed.
#[derive(Clone, Debug)]
pub struct TokenKey {
    signing: hmac::Key,
    /// Of secrets that are being replaced, or are yet to be used.
    others: Vec<hmac::Key>,
}

impl TokenKey {
    /// A key from a secret of any length; 32 random bytes are ample.
    pub fn new(secret: &[u8]) -> TokenKey {
        TokenKey { signing: hmac::Key::new(hmac::HMAC_SHA256, secret), others: Vec::new() }
    }

    /// A key of several secrets, for one purpose: under the same secrets tokens for another purpose
    /// are worth nothing. `None` without a secret.
    pub fn shared<'s>(
        secrets: impl IntoIterator<Item = &'s [u8]>,
        purpose: &str,
    ) -> Option<TokenKey> {
        let mut keys = secrets.into_iter().map(|secret| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let derived = hmac::sign(&secret, purpose.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        });
        Some(TokenKey { signing: keys.next()?, others: keys.collect() })
    }

    /// Whether one of the secrets gives `signed` this code. The time it takes does not tell which.
    fn vouches(&self, signed: &[u8], mac: &[u8]) -> bool {
        let keys = std::iter::once(&self.signing).chain(&self.others);
        keys.fold(false, |found, key| {
            let expected = hmac::sign(key, signed);
            found | constant_time::verify_slices_are_equal(expected.as_ref(), mac).is_ok()
        })
    }
}

/// A token for the call `call_sid`, good until `ttl_seconds` after `now_unix`.
pub fn mint(key: &TokenKey, call_sid: &str, now_unix: u64, ttl_seconds: u64) -> String {
    let mut token = format!("v1.{call_sid}.{}", now_unix.saturating_add(ttl_seconds));
    let mac = hmac::sign(&key.signing, token.as_bytes());
    token.push('.');
    for byte in mac.as_ref() {
        for digit in [byte >> 4, byte & 15] {
            token.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    token
}

/// Checks that `token` was minted with `key` for `call_sid` and that `now_unix` is not past its
/// expiry. The MAC is checked first and in constant time, so a guess learns nothing.
pub fn verify(
    key: &TokenKey,
    token: &str,
    call_sid: &str,
    now_unix: u64,
) -> Result<(), TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let (signed, mac) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (call, expiry) = signed
        .strip_prefix("v1.")
        .and_then(|rest| rest.rsplit_once('.'))
        .ok_or(TokenError::Malformed)?;
    let expiry_unix = decimal(expiry).ok_or(TokenError::Malformed)?;
    let mac = hex(mac).ok_or(TokenError::Malformed)?;
    if !key.vouches(signed.as_bytes(), &mac) {
        return Err(TokenError::BadMac);
    }
    if call != call_sid {
        return Err(TokenError::WrongCall);
    }
    if now_unix > expiry_unix {
        return Err(TokenError::Expired);
    }
    Ok(())
}

fn decimal(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn hex(digits: &str) -> Option<[u8; MAC_BYTES]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != MAC_BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; MAC_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        for &digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "CA00000000000000000000000000000002";
    const NOW: u64 = 1_795_400_000;

    fn key() -> TokenKey {
        TokenKey::new(b"a secret of this process")
    }

    #[test]
    fn a_token_opens_its_call_until_it_expires() {
        let token = mint(&key(), CALL, NOW, TOKEN_TTL_SECONDS);
        assert!(token.starts_with("v1.CA00000000000000000000000000000002.1795400060."));
        assert!(token.len() <= TOKEN_BYTES_MAX);
        assert_eq!(verify(&key(), &token, CALL, NOW), Ok(()));
        assert_eq!(verify(&key(), &token, CALL, NOW + 60), Ok(()));
        assert_eq!(verify(&key(), &token, CALL, NOW + 61), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_opens_no_other_call_and_under_no_other_secret() {
        let token = mint(&key(), CALL, NOW, TOKEN_TTL_SECONDS);
        assert_eq!(verify(&key(), &token, "CA1", NOW), Err(TokenError::WrongCall));
        assert_eq!(verify(&key(), &token, "", NOW), Err(TokenError::WrongCall));
        let other = TokenKey::new(b"another secret");
        assert_eq!(verify(&other, &token, CALL, NOW), Err(TokenError::BadMac));
    }

    #[test]
    fn relays_that_share_secrets_believe_each_others_tokens_while_one_secret_follows_another() {
        let key = |secrets: &[&'static str], purpose| {
            TokenKey::shared(secrets.iter().map(|secret| secret.as_bytes()), purpose).unwrap()
        };
        let token = |key| mint(&key, CALL, NOW, TOKEN_TTL_SECONDS);
        let opens = |key, token: &str| verify(&key, token, CALL, NOW);
        let old = token(key(&["old"], "calls"));
        assert_eq!(opens(key(&["old"], "calls"), &old), Ok(()));
        assert_eq!(opens(key(&["old", "new"], "calls"), &old), Ok(()));
        assert_eq!(opens(key(&["new", "old"], "calls"), &old), Ok(()));
        assert_eq!(opens(key(&["new"], "calls"), &old), Err(TokenError::BadMac));
        let new = token(key(&["new", "old"], "calls"));
        assert_eq!(opens(key(&["new"], "calls"), &new), Ok(()), "the first signs");
        assert_eq!(opens(key(&["old"], "calls"), &new), Err(TokenError::BadMac));
        assert_eq!(opens(key(&["old"], "tracks"), &old), Err(TokenError::BadMac));
        assert_eq!(opens(TokenKey::new(b"old"), &old), Err(TokenError::BadMac));
        assert!(TokenKey::shared([], "calls").is_none());
    }

    #[test]
    fn a_token_changed_in_any_byte_opens_nothing() {
        let token = mint(&key(), CALL, NOW, TOKEN_TTL_SECONDS);
        for at in 0..token.len() {
            for new in ['0', 'f', '.', 'z', '\0'] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, &new.to_string());
                if changed != token {
                    let verdict = verify(&key(), &changed, CALL, NOW);
                    let refused = [Err(TokenError::Malformed), Err(TokenError::BadMac)];
                    assert!(refused.contains(&verdict), "{changed}: {verdict:?}");
                }
            }
        }
    }

    #[test]
    fn a_token_cut_at_any_byte_opens_nothing() {
        let token = mint(&key(), CALL, NOW, TOKEN_TTL_SECONDS);
        for end in 0..token.len() {
            assert_eq!(verify(&key(), &token[..end], CALL, NOW), Err(TokenError::Malformed));
        }
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_all_that_stands_before_it() {
        // printf %s 'v1.CA1.160' | openssl dgst -sha256 -hmac secret
        let token = mint(&TokenKey::new(b"secret"), "CA1", 100, 60);
        let mac = "32b60287192ab096b23267fc1b9c4d4d5ccc5d9f94d6ce6db4db385465e9789a";
        assert_eq!(token, format!("v1.CA1.160.{mac}"));
    }

    #[test]
    fn strange_call_ids_and_times_do_no_harm() {
        for call in ["", ".", "a.b.c", "CA\u{0}", "日本"] {
            let token = mint(&key(), call, NOW, 60);
            assert_eq!(verify(&key(), &token, call, NOW), Ok(()), "{call}");
        }
        let longest = "A".repeat(SID_MAX_BYTES + 1);
        let token = mint(&key(), &longest, u64::MAX, 60);
        assert_eq!(token.len(), TOKEN_BYTES_MAX);
        assert_eq!(verify(&key(), &token, &longest, u64::MAX), Ok(()));
        let longer = mint(&key(), &format!("{longest}A"), u64::MAX, 60);
        assert_eq!(verify(&key(), &longer, "A", 0), Err(TokenError::Malformed));
    }
}
