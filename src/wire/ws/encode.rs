//! Frames to send, RFC 6455 section 5.2: always in the shortest form, never in reserved bits.
//!
//! In:       who sends, what, a mask key if the sender is a client.
//! Out:      bytes appended to the caller's buffer.
//! Bounds:   [`CONTROL_PAYLOAD_MAX`] and [`CLOSE_REASON_MAX`]; the buffer is the caller's to bound.
//! Not here: where keys come from (`keys`).

use super::{CLOSE_REASON_MAX, CONTROL_PAYLOAD_MAX, CloseCode, Opcode, Role, apply_mask};

/// The length of the header of a frame with such a payload: 2 to 14 bytes.
pub const fn header_bytes(payload_bytes: usize, masked: bool) -> usize {
    let length_bytes = match payload_bytes {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + length_bytes + if masked { 4 } else { 0 }
}

/// Appends the header of a frame; the caller appends `payload_bytes` of payload, masked with the
/// same key if there is one.
///
/// # Panics
/// If there is a key and the sender is a server, or none and it is a client; if a control frame
/// would be in pieces or too long.
pub fn write_header(
    from: Role,
    opcode: Opcode,
    fin: bool,
    payload_bytes: usize,
    mask: Option<[u8; 4]>,
    out: &mut Vec<u8>,
) {
    assert_eq!(mask.is_some(), from == Role::Client, "a client masks, a server does not");
    if opcode.is_control() {
        assert!(fin && payload_bytes <= CONTROL_PAYLOAD_MAX, "a control frame is whole and short");
    }
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(if fin { 0x80 } else { 0 } | opcode.bits());
    match payload_bytes {
        0..=125 => out.push(mask_bit | payload_bytes as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
}

/// Appends a whole message, or control frame, as one frame. `mask` is used if a client sends.
///
/// # Panics
/// If a control payload is over [`CONTROL_PAYLOAD_MAX`].
pub fn write_frame(from: Role, opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let key = (from == Role::Client).then_some(mask);
    out.reserve(header_bytes(payload.len(), key.is_some()) + payload.len());
    write_header(from, opcode, true, payload.len(), key, out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        apply_mask(key, 0, &mut out[start..]);
    }
}

/// Appends a close frame. `reason` is cut at the last character that ends within
/// [`CLOSE_REASON_MAX`] bytes. `mask` is used if a client sends.
pub fn write_close(from: Role, code: CloseCode, reason: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_MAX)];
    let mut payload = [0; CONTROL_PAYLOAD_MAX];
    let payload = &mut payload[..2 + reason.len()];
    payload[..2].copy_from_slice(&code.number().to_be_bytes());
    payload[2..].copy_from_slice(reason.as_bytes());
    write_frame(from, Opcode::Close, payload, mask, out);
}
