//! One frame, RFC 6455 section 5.2: its header's rules, and the payload behind it.
//!
//! In:       bytes that begin with a frame, or with a part of one.
//! Out:      the [`Frame`], its payload borrowed and unmasked in place.
//! Bounds:   the caller's payload limit, checked on the header.
//! Not here: the order of frames (`message`), frames to send (`encode`).

use super::{CONTROL_PAYLOAD_MAX, FrameError, Opcode, Role, apply_mask};

/// A frame, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// Whether this is the last, or only, piece of its message.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The bytes inside, without header.
    pub payload: &'b mut [u8],
}

/// What a decoder made of the bytes it was shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// A whole frame; the caller drops `used` bytes from the front of its buffer.
    Frame {
        /// The frame.
        frame: Frame<'b>,
        /// Header and payload, in bytes.
        used: usize,
    },
    /// Nothing consumed and nothing changed; at least `missing` more bytes are needed.
    NeedMore {
        /// 1 or more.
        missing: usize,
    },
}

/// Decodes the frame at the front of `buf`, sent by `from`.
///
/// `payload_max`, in bytes, of all but control frames, and every rule of the header are checked as
/// soon as the header's bytes are there, before the payload has arrived. A masked payload is
/// unmasked in place once, when it is whole.
///
/// # Errors
/// Those of a single frame: reserved bits and opcodes, the mask, the length, a control frame in
/// pieces or too long. The peer is to be closed; nothing in `buf` is changed.
pub fn decode(from: Role, payload_max: usize, buf: &mut [u8]) -> Result<Decoded<'_>, FrameError> {
    let header = match decode_header(from, payload_max, buf)? {
        HeaderDecoded::Header(header) => header,
        HeaderDecoded::NeedMore { missing } => return Ok(Decoded::NeedMore { missing }),
    };
    let used = header.frame_bytes();
    if buf.len() < used {
        return Ok(Decoded::NeedMore { missing: used - buf.len() });
    }
    let payload = header.unmask(buf);
    let frame = Frame { fin: header.fin, opcode: header.opcode, payload };
    Ok(Decoded::Frame { frame, used })
}

/// A header that broke no rule of section 5.2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// The key; present exactly when a client sent the frame.
    pub(super) mask: Option<[u8; 4]>,
    /// 2 to 14.
    pub(super) header_bytes: usize,
    /// At most the caller's limit.
    pub(super) payload_bytes: usize,
}

impl Header {
    /// The whole frame, in bytes.
    pub(super) fn frame_bytes(&self) -> usize {
        self.header_bytes + self.payload_bytes
    }

    /// The payload behind this header in `buf`, unmasked. The frame must be whole.
    pub(super) fn unmask<'b>(&self, buf: &'b mut [u8]) -> &'b mut [u8] {
        let payload = &mut buf[self.header_bytes..self.frame_bytes()];
        if let Some(key) = self.mask {
            apply_mask(key, 0, payload);
        }
        payload
    }
}

/// What there is of a header.
pub(super) enum HeaderDecoded {
    Header(Header),
    NeedMore { missing: usize },
}

/// Reads the header at the front of `buf`. Each rule is applied when the bytes it needs are there.
pub(super) fn decode_header(
    from: Role,
    payload_max: usize,
    buf: &[u8],
) -> Result<HeaderDecoded, FrameError> {
    let Some(&first) = buf.first() else { return Ok(HeaderDecoded::NeedMore { missing: 2 }) };
    let fin = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let bits = first & 0x0f;
    let opcode = Opcode::from_bits(bits).ok_or(FrameError::ReservedOpcode { bits })?;
    if opcode.is_control() && !fin {
        return Err(FrameError::ControlInPieces);
    }

    let Some(&second) = buf.get(1) else { return Ok(HeaderDecoded::NeedMore { missing: 1 }) };
    let masked = second & 0x80 != 0;
    if masked != (from == Role::Client) {
        return Err(FrameError::WrongMask { from });
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_MAX {
        return Err(FrameError::ControlTooLong);
    }

    let length_bytes: usize = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let header_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
    let need_more = HeaderDecoded::NeedMore { missing: header_bytes.saturating_sub(buf.len()) };
    let behind = &buf[2..];
    let length = match short {
        126 => match behind.first_chunk::<2>() {
            Some(length) => u64::from(u16::from_be_bytes(*length)),
            None => return Ok(need_more),
        },
        127 => match behind.first_chunk::<8>() {
            Some(length) => u64::from_be_bytes(*length),
            None => return Ok(need_more),
        },
        short => u64::from(short),
    };
    // A control frame is short by a rule of its own; a caller's limit is about messages.
    let payload_max = if opcode.is_control() { CONTROL_PAYLOAD_MAX } else { payload_max };
    let payload_bytes = check_length(short, length, payload_max)?;
    let mask = match behind.get(length_bytes..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(key) if masked => Some(*key),
        None if masked => return Ok(need_more),
        _ => None,
    };
    Ok(HeaderDecoded::Header(Header { fin, opcode, mask, header_bytes, payload_bytes }))
}

/// The rules of a length: the shortest form that holds it, 63 bits, the caller's limit.
fn check_length(short: u8, length: u64, payload_max: usize) -> Result<usize, FrameError> {
    if length >> 63 != 0 {
        return Err(FrameError::LengthNotPositive);
    }
    let minimal = match short {
        126 => length > 125,
        127 => length > 0xffff,
        _ => true,
    };
    if !minimal {
        return Err(FrameError::LengthNotMinimal { payload_bytes: length });
    }
    match usize::try_from(length) {
        Ok(payload_bytes) if payload_bytes <= payload_max => Ok(payload_bytes),
        _ => Err(FrameError::TooLong { payload_bytes: length }),
    }
}
