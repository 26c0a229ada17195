//! WebSocket, RFC 6455 without extensions: bytes to frames to messages, and back, in both roles.
//!
//! In:       bytes as they left the socket or TLS, cut anywhere.
//! Out:      one [`Frame`] or one message [`Event`] at a time, borrowed from the input and unmasked
//!           in place; or the bytes of a frame to send.
//! Bounds:   the payload or message limit the caller gives, checked on the header, before the
//!           payload has arrived; [`CONTROL_PAYLOAD_MAX`]; [`FRAGMENTS_KEPT_BYTES`].
//! Not here: sockets, clocks, the upgrade (`wire::upgrade`), what a payload means (`wire::twilio`,
//!           `wire::gemini`), when to ping, when to give up on a close.
//!
//! | file | what it holds |
//! |---|---|
//! | `frame` | one frame: the header's rules, [`decode`] |
//! | `message` | [`MessageReader`]: fragments, control frames between them, UTF-8, the close |
//! | `utf8` | text checked piece by piece |
//! | `close` | [`CloseCode`] and the payload of a close frame |
//! | `endpoint` | [`Endpoint`]: pings answered, the closing handshake, the end of both |
//! | `encode` | frames to send |
//! | `mask`, `keys` | the XOR of section 5.3; [`MaskKeys`] for it |

mod close;
mod encode;
mod endpoint;
mod frame;
mod keys;
mod mask;
mod message;
mod utf8;

pub use close::{CLOSE_REASON_MAX, CloseCode};
pub use encode::{header_bytes, write_close, write_frame, write_header};
pub use endpoint::{Endpoint, Stage};
pub use frame::{Decoded, Frame, decode};
pub use keys::MaskKeys;
pub use mask::apply_mask;
pub use message::{Event, FRAGMENTS_KEPT_BYTES, MessageReader};

/// The longest payload of a control frame, in bytes (section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;
/// The longest header: two bytes, a length of eight, a mask key of four (section 5.2).
pub const HEADER_BYTES_MAX: usize = 14;

/// Who sent the bytes. A client masks every frame, a server none (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that asked for the upgrade.
    Client,
    /// The side that answered 101.
    Server,
}

/// What a frame is (section 5.2). The other ten values are reserved and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// 0x0: the next piece of the text or binary message under way.
    Continuation,
    /// 0x1: UTF-8 text.
    Text,
    /// 0x2: bytes.
    Binary,
    /// 0x8: the last frame its sender will send.
    Close,
    /// 0x9: to be answered with a pong of the same payload.
    Ping,
    /// 0xA: the answer to a ping, or a sign of life nobody asked for.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    /// The opcode of these four bits; `None` for the reserved ones.
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Close, ping and pong: never in pieces, at most [`CONTROL_PAYLOAD_MAX`] bytes (section 5.5).
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// Why a peer's bytes are not WebSocket. Each variant names the close code we answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// 1002: a reserved bit is set and no extension was agreed (section 5.2).
    ReservedBits,
    /// 1002: an opcode nobody has defined (section 5.2).
    ReservedOpcode {
        /// The four bits as sent.
        bits: u8,
    },
    /// 1002: client frames are masked, server frames are not (section 5.1).
    WrongMask {
        /// Who sent the frame.
        from: Role,
    },
    /// 1002: a control frame in pieces (section 5.5).
    ControlInPieces,
    /// 1002: a control frame over [`CONTROL_PAYLOAD_MAX`] (section 5.5).
    ControlTooLong,
    /// 1002: a length in more bytes than it needs (section 5.2).
    LengthNotMinimal {
        /// The length it spelled.
        payload_bytes: u64,
    },
    /// 1002: the top bit of an eight-byte length is set (section 5.2).
    LengthNotPositive,
    /// 1009: a frame, or the sum of a message's fragments, over the caller's limit.
    TooLong {
        /// What the frame, or the message with this frame, would come to.
        payload_bytes: u64,
    },
    /// 1002: a continuation where no message is under way (section 5.4).
    NothingToContinue,
    /// 1002: a new text or binary frame inside a message in pieces (section 5.4).
    MessageInterrupted,
    /// 1007: text, or the reason of a close, that is not UTF-8 (section 8.1).
    NotUtf8,
    /// 1002: a close payload of one byte: half a code (section 5.5.1).
    CloseCodeCut,
    /// 1002: a close code that may not be sent (section 7.4).
    CloseCodeInvalid {
        /// The code as sent.
        code: u16,
    },
}

impl FrameError {
    /// The code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            FrameError::TooLong { .. } => CloseCode::TOO_BIG,
            FrameError::NotUtf8 => CloseCode::INVALID_PAYLOAD,
            FrameError::ReservedBits
            | FrameError::ReservedOpcode { .. }
            | FrameError::WrongMask { .. }
            | FrameError::ControlInPieces
            | FrameError::ControlTooLong
            | FrameError::LengthNotMinimal { .. }
            | FrameError::LengthNotPositive
            | FrameError::NothingToContinue
            | FrameError::MessageInterrupted
            | FrameError::CloseCodeCut
            | FrameError::CloseCodeInvalid { .. } => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The name of this reason in counters and close reasons: one word, snake case.
    pub const fn label(self) -> &'static str {
        match self {
            FrameError::ReservedBits => "reserved_bits",
            FrameError::ReservedOpcode { .. } => "reserved_opcode",
            FrameError::WrongMask { .. } => "wrong_mask",
            FrameError::ControlInPieces => "control_in_pieces",
            FrameError::ControlTooLong => "control_too_long",
            FrameError::LengthNotMinimal { .. } => "length_not_minimal",
            FrameError::LengthNotPositive => "length_not_positive",
            FrameError::TooLong { .. } => "too_long",
            FrameError::NothingToContinue => "nothing_to_continue",
            FrameError::MessageInterrupted => "message_interrupted",
            FrameError::NotUtf8 => "not_utf8",
            FrameError::CloseCodeCut => "close_code_cut",
            FrameError::CloseCodeInvalid { .. } => "close_code_invalid",
        }
    }
}
