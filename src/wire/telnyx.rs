//! Telnyx' signature: Ed25519 over `timestamp|body`, with the public key of the account.
//!
//! In:       two header fields, the body as it came, the key, the time of day.
//! Out:      whether Telnyx sent it, just now.
//! Bounds:   [`TIMESTAMP_WINDOW_SECONDS`].
//! Not here: what is done with a wrong one (`accept`), the clock.
//!
//! RFC 8032; the verification is the crypto library's and holds no secret: the key is public.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::base64;
use super::signature::SignatureError;

/// How far the timestamp may be from our own time, either way. Outside: the request counts as
/// replayed, [`SignatureError::Stale`]. As long as other carriers' libraries allow.
pub const TIMESTAMP_WINDOW_SECONDS: u64 = 300;

/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
/// Digits of a timestamp: seconds, for the next 300 years.
const TIMESTAMP_DIGITS_MAX: usize = 10;

/// What the request says of its signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim<'a> {
    /// `telnyx-signature-ed25519`: base64.
    pub signature: Option<&'a str>,
    /// `telnyx-timestamp`: seconds since 1970, in decimal.
    pub timestamp: Option<&'a str>,
}

/// Checks that the holder of `public_key`'s secret half signed `body`, at a time near `now_unix`.
///
/// # Errors
/// [`SignatureError::Missing`], [`SignatureError::BadSettings`] for fields that cannot be read,
/// [`SignatureError::Stale`], [`SignatureError::Mismatch`].
pub fn verify(
    public_key: &[u8],
    claim: Claim<'_>,
    body: &[u8],
    now_unix: u64,
) -> Result<(), SignatureError> {
    let (Some(signature), Some(timestamp)) = (claim.signature, claim.timestamp) else {
        return Err(SignatureError::Missing);
    };
    let is_decimal = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal || timestamp.len() > TIMESTAMP_DIGITS_MAX {
        return Err(SignatureError::BadSettings);
    }
    let at_unix: u64 = timestamp.parse().map_err(|_| SignatureError::BadSettings)?;
    let mut given = Vec::new();
    if signature.len() > base64::encode_len(SIGNATURE_BYTES)
        || base64::decode_append(signature.as_bytes(), &mut given) != Ok(SIGNATURE_BYTES)
    {
        return Err(SignatureError::BadSettings);
    }
    let mut signed = Vec::with_capacity(timestamp.len() + 1 + body.len());
    signed.extend_from_slice(timestamp.as_bytes());
    signed.push(b'|');
    signed.extend_from_slice(body);
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(&signed, &given)
        .map_err(|_| SignatureError::Mismatch)?;
    // Last: who cannot sign does not learn our time.
    match at_unix.abs_diff(now_unix) <= TIMESTAMP_WINDOW_SECONDS {
        true => Ok(()),
        false => Err(SignatureError::Stale),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn encode(bytes: &[u8]) -> String {
        let mut text = Vec::new();
        base64::encode_append(bytes, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn time_and_body_are_signed_by_ed25519_for_five_minutes() {
        // RFC 8032 section 7.1, test 2: its key, and its signature of one byte.
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let key = pair.public_key().as_ref();
        let published = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key, hex(published));
        let published = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(pair.sign(&[0x72]).as_ref(), hex(published));
        let signature = encode(pair.sign(b"1700000000|CallSid=v3:1").as_ref());
        let claim = Claim { signature: Some(&signature), timestamp: Some("1700000000") };
        let check = |claim, body: &[u8], now| verify(key, claim, body, now);
        let body = b"CallSid=v3:1";
        for now in [1_700_000_000, 1_700_000_300, 1_699_999_700] {
            assert_eq!(check(claim, body, now), Ok(()));
        }
        for now in [1_700_000_301, 1_699_999_699, 0] {
            assert_eq!(check(claim, body, now), Err(SignatureError::Stale));
        }
        let now = 1_700_000_000;
        assert_eq!(check(claim, b"CallSid=v3:2", now), Err(SignatureError::Mismatch));
        let moved = Claim { timestamp: Some("1700000001"), ..claim };
        assert_eq!(check(moved, body, now), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[7; 32], claim, body, now), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[], claim, body, now), Err(SignatureError::Mismatch));
    }

    fn hex(digits: &str) -> Vec<u8> {
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn whatever_is_no_signature_is_told_apart_from_a_wrong_one() {
        let zeros = encode(&[0; 64]);
        let longer = encode(&[0; 65]);
        let cases = [
            (None, Some("1"), SignatureError::Missing),
            (Some(zeros.as_str()), None, SignatureError::Missing),
            (Some("!"), Some("1"), SignatureError::BadSettings),
            (Some(""), Some("1"), SignatureError::BadSettings),
            (Some(longer.as_str()), Some("1"), SignatureError::BadSettings),
            (Some(zeros.as_str()), Some(""), SignatureError::BadSettings),
            (Some(zeros.as_str()), Some("-1"), SignatureError::BadSettings),
            (Some(zeros.as_str()), Some("99999999999"), SignatureError::BadSettings),
            (Some(zeros.as_str()), Some("1"), SignatureError::Mismatch),
        ];
        for (signature, timestamp, fault) in cases {
            let claim = Claim { signature, timestamp };
            assert_eq!(verify(&[1; 32], claim, b"", 1), Err(fault), "{claim:?}");
        }
    }
}
