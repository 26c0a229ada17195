//! One end of a connection, RFC 6455 sections 5.5 and 7: what its owner owes the peer whatever the
//! messages mean. A ping is answered, a close is answered once and with its own code, a peer that
//! breaks the protocol is told why, and behind our close nothing more is said.
//!
//! In:       the events of a [`MessageReader`](super::MessageReader), its error, the owner's wish
//!           to close.
//! Out:      pongs and one close, in the owner's output; the [`Stage`], which says what may still
//!           be read, and when the socket is to be shut or let go.
//! Bounds:   one close; one pong a ping, none behind the close, the output being the owner's to
//!           bound; what comes behind our close, by the number of bytes the owner gives.
//! Not here: sockets, deadlines, what a text or binary message means.

use super::{CloseCode, Event, FrameError, Opcode, Role, write_close, write_frame};

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Messages flow.
    Open,
    /// The peer has said goodbye, and waits for ours.
    Asked {
        /// The code it gave, if it gave one.
        code: Option<CloseCode>,
    },
    /// The peer broke the protocol, and has not been told yet.
    Broken {
        /// How.
        error: FrameError,
    },
    /// Our close is written; the peer's has not come.
    Closing,
    /// Our close is written, and what the peer sends can be read no more. Once the close has left,
    /// our half of the connection is to be shut (section 7.1.7), and the other passed over to its
    /// end: a socket dropped over unread bytes resets the connection, and could take the close
    /// back.
    Failed,
    /// Both closes are said, or the connection is gone: the socket is to be let go once its output
    /// has left.
    Over,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Our own role.
    role: Role,
    stage: Stage,
    /// How many more bytes may come behind our close.
    passed_over_left: usize,
}

impl Endpoint {
    /// An open connection in which we are `role`. `passed_over_max`: bytes of the peer that are
    /// thrown away behind our close.
    pub const fn new(role: Role, passed_over_max: usize) -> Endpoint {
        Endpoint { role, stage: Stage::Open, passed_over_left: passed_over_max }
    }

    /// Where it is in its life.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether what the peer sends is still to be read, if only for its close.
    pub const fn reads(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closing)
    }

    /// Whether our close is still to be written.
    pub const fn may_close(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Asked { .. } | Stage::Broken { .. })
    }

    /// Sees to one event of the peer's: a ping is answered into `out`, a close is noted. `mask` is
    /// used if we are a client.
    pub fn heed(&mut self, event: &Event<'_>, mask: [u8; 4], out: &mut Vec<u8>) {
        match (event, self.stage) {
            (Event::Ping(payload), Stage::Open) => {
                write_frame(self.role, Opcode::Pong, payload, mask, out);
            }
            (Event::Close { code, .. }, Stage::Open) => self.stage = Stage::Asked { code: *code },
            (Event::Close { .. }, Stage::Closing) => self.stage = Stage::Over,
            _ => {}
        }
    }

    /// The peer's bytes are not WebSocket: nothing more of it can be read.
    pub fn broke(&mut self, error: FrameError) {
        match self.stage {
            Stage::Open => self.stage = Stage::Broken { error },
            Stage::Closing => self.stage = Stage::Failed,
            _ => {}
        }
    }

    /// Says goodbye into `out`, once. Whoever was asked to says the peer's own code, where it gave
    /// one (section 5.5.1); whoever cannot read the peer says that error's; else it is `code`.
    pub fn close(&mut self, code: CloseCode, reason: &str, mask: [u8; 4], out: &mut Vec<u8>) {
        if !self.may_close() {
            return;
        }
        let (code, next) = match self.stage {
            Stage::Asked { code: theirs } => (theirs.unwrap_or(code), Stage::Over),
            Stage::Broken { error } => (error.close_code(), Stage::Failed),
            _ => (code, Stage::Closing),
        };
        write_close(self.role, code, reason, mask, out);
        self.stage = next;
    }

    /// The connection is gone, in order or not.
    pub fn lost(&mut self) {
        self.stage = Stage::Over;
    }

    /// So many bytes came behind our close. Returns whether they are too many: the connection is to
    /// be dropped then.
    pub fn pass_over(&mut self, bytes: usize) -> bool {
        match self.passed_over_left.checked_sub(bytes) {
            Some(left) => {
                self.passed_over_left = left;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ws::{Decoded, decode};

    const MASK: [u8; 4] = [1, 2, 3, 4];
    const LIBRARY: u16 = 3999;

    fn library() -> CloseCode {
        CloseCode::new(LIBRARY).unwrap()
    }

    /// The frames of `role` in `out`: opcode and payload.
    fn said(role: Role, out: &mut [u8]) -> Vec<(Opcode, Vec<u8>)> {
        let (mut frames, mut at) = (Vec::new(), 0);
        while at < out.len() {
            let Ok(Decoded::Frame { frame, used }) = decode(role, 125, &mut out[at..]) else {
                panic!("no frame of a {role:?}")
            };
            frames.push((frame.opcode, frame.payload.to_vec()));
            at += used;
        }
        frames
    }

    fn payload(code: u16, reason: &str) -> Vec<u8> {
        [&code.to_be_bytes()[..], reason.as_bytes()].concat()
    }

    #[test]
    fn pings_are_answered_until_our_close_and_never_behind_it() {
        for role in [Role::Client, Role::Server] {
            let (mut end, mut out) = (Endpoint::new(role, 0), Vec::new());
            end.heed(&Event::Ping(b"one"), MASK, &mut out);
            end.heed(&Event::Pong(b"alone"), MASK, &mut out);
            end.heed(&Event::Text("words"), MASK, &mut out);
            end.close(CloseCode::GOING_AWAY, "off", MASK, &mut out);
            end.heed(&Event::Ping(b"two"), MASK, &mut out);
            end.close(CloseCode::NORMAL, "again", MASK, &mut out);
            let expected = [(Opcode::Pong, b"one".to_vec()), (Opcode::Close, payload(1001, "off"))];
            assert_eq!(said(role, &mut out), expected, "{role:?}");
            assert_eq!((end.stage(), end.reads()), (Stage::Closing, true));
        }
    }

    #[test]
    fn a_peers_close_is_answered_with_its_own_code_or_with_ours_where_it_gave_none() {
        for (theirs, answer) in [(Some(library()), LIBRARY), (None, 1000)] {
            let (mut end, mut out) = (Endpoint::new(Role::Server, 0), Vec::new());
            end.heed(&Event::Close { code: theirs, reason: "done" }, MASK, &mut out);
            assert_eq!((end.stage(), end.reads()), (Stage::Asked { code: theirs }, false));
            assert!(out.is_empty(), "the owner may have something to say first");
            end.heed(&Event::Ping(b""), MASK, &mut out);
            end.close(CloseCode::NORMAL, "", MASK, &mut out);
            assert_eq!(said(Role::Server, &mut out), [(Opcode::Close, payload(answer, ""))]);
            assert_eq!(end.stage(), Stage::Over);
        }
    }

    #[test]
    fn two_closes_that_cross_are_the_end() {
        let (mut end, mut out) = (Endpoint::new(Role::Client, 0), Vec::new());
        end.close(CloseCode::NORMAL, "", MASK, &mut out);
        end.heed(&Event::Close { code: Some(library()), reason: "" }, MASK, &mut out);
        assert_eq!(end.stage(), Stage::Over);
        assert_eq!(said(Role::Client, &mut out).len(), 1);
    }

    #[test]
    fn a_peer_that_breaks_the_protocol_is_told_so_and_read_no_more() {
        let (mut end, mut out) = (Endpoint::new(Role::Server, 0), Vec::new());
        end.broke(FrameError::NotUtf8);
        assert!(!end.reads());
        end.close(CloseCode::NORMAL, "why", MASK, &mut out);
        assert_eq!(said(Role::Server, &mut out), [(Opcode::Close, payload(1007, "why"))]);
        assert_eq!(end.stage(), Stage::Failed);
        // One that breaks it behind our close has been told already.
        let (mut end, mut out) = (Endpoint::new(Role::Server, 0), Vec::new());
        end.close(CloseCode::NORMAL, "", MASK, &mut out);
        end.broke(FrameError::ReservedBits);
        end.close(CloseCode::PROTOCOL_ERROR, "", MASK, &mut out);
        assert_eq!((end.stage(), said(Role::Server, &mut out).len()), (Stage::Failed, 1));
        end.lost();
        assert_eq!(end.stage(), Stage::Over);
    }

    #[test]
    fn what_comes_behind_our_close_is_passed_over_up_to_its_bound() {
        let mut end = Endpoint::new(Role::Server, 10);
        assert!(!end.pass_over(4) && !end.pass_over(6));
        assert!(end.pass_over(1));
    }
}
