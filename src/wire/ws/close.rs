//! Close codes and the payload of a close frame, RFC 6455 sections 5.5.1 and 7.4.
//!
//! In:       the payload of a close frame.
//! Out:      the code, if one was sent, and the reason.
//! Bounds:   [`CLOSE_REASON_MAX`].
//! Not here: when to close, how long to wait for the other side's close.

use super::{CONTROL_PAYLOAD_MAX, FrameError};

/// The longest reason, in bytes of UTF-8: a control payload without the two bytes of the code.
pub const CLOSE_REASON_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// Why a connection was closed: a code that may stand on the wire.
///
/// 1000 to 1003 and 1007 to 1014 are registered with IANA; 3000 to 3999 are for libraries, 4000 to
/// 4999 for private use. 1004 has no meaning; 1005, 1006 and 1015 only ever describe a connection
/// from inside and are never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server goes down, the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: a kind of message this end does not take.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1007: text that is not UTF-8, or a message against its own format.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// 1008: against this end's policy: no or wrong token, too many, too slow.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// 1009: a message over this end's limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client misses an extension. Sent by clients only.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: this end failed.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// 1012: this end restarts.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: this end is full; try again later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: whom this end depends on gave no valid answer.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// The code with this number, if it may be sent (section 7.4.2, IANA registry).
    pub const fn new(number: u16) -> Option<CloseCode> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(number)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Reads the payload of a close frame: nothing, or a code and a reason.
pub(super) fn parse(payload: &[u8]) -> Result<(Option<CloseCode>, &str), FrameError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok((None, "")) } else { Err(FrameError::CloseCodeCut) };
    };
    let number = u16::from_be_bytes(*code);
    let code = CloseCode::new(number).ok_or(FrameError::CloseCodeInvalid { code: number })?;
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok((Some(code), reason))
}
