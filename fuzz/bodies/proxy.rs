//! The header that a proxy puts in front of a connection.

use vocaris::wire::proxy::{Decoded, V2_MAX_BYTES, Versions, decode};

/// In each version that may be asked for: what is read does not depend on how it was cut, and never
/// on what stands behind it; more is asked for only where a header can still end in time.
pub(super) fn header(bytes: &[u8]) {
    for versions in [Versions::V1, Versions::V2, Versions::Both] {
        let whole = decode(bytes, versions);
        match whole {
            Ok(Decoded::Header { used, .. }) => {
                assert!(used <= bytes.len() && used <= V2_MAX_BYTES);
                assert_eq!(decode(&bytes[..used], versions), whole);
                assert_eq!(decode(&bytes[..used - 1], versions), Ok(Decoded::NeedMore));
            }
            Ok(Decoded::NeedMore) => assert!(bytes.len() < V2_MAX_BYTES),
            Err(_) => {}
        }
        for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let early = decode(&bytes[..cut], versions);
            assert!(early == whole || early == Ok(Decoded::NeedMore), "{early:?}, then {whole:?}");
        }
    }
}
