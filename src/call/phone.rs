//! The phone's leg, outgoing side: what the relay says to a carrier or a browser, as WebSocket
//! messages in a [`SendBuf`].
//!
//! Bounds:   [`PHONE_OUTPUT_MAX_BYTES`], asked for by [`PhoneLeg::is_stalled`].
//! Not here: what the phone says (`call::from_phone`), when audio is due (`call::playout`), pongs
//!           and the close (`wire::ws`, [`Endpoint`](crate::wire::ws::Endpoint)).

use crate::buf::{Audio, SendBuf};
use crate::limits::PHONE_OUTPUT_MAX_BYTES;
use crate::wire::browser::{ToBrowser, Who};
use crate::wire::dialect::Outbound;
use crate::wire::twilio::MarkName;
use crate::wire::ws::{Opcode, Role, header_bytes, write_frame, write_header};

/// A server masks nothing.
pub(super) const NO_MASK: [u8; 4] = [0; 4];

/// The phone's leg.
#[derive(Debug, Default)]
pub struct PhoneLeg {
    /// What waits to go out.
    pub output: SendBuf,
    speaks: Speaks,
}

/// The language of the other end.
#[derive(Debug, Default)]
enum Speaks {
    /// Not known yet: nothing but control frames may be sent.
    #[default]
    Nothing,
    /// A carrier's dialect, once there is a stream to name.
    Carrier(Outbound),
    /// The browser protocol.
    Browser,
}

impl PhoneLeg {
    /// From now on the other end is a carrier's stream, which is told this.
    pub fn speak_carrier(&mut self, outbound: Outbound) {
        self.speaks = Speaks::Carrier(outbound);
    }

    /// From now on the other end is a browser.
    pub fn speak_browser(&mut self) {
        self.speaks = Speaks::Browser;
    }

    /// Whether the other end returns marks.
    pub fn returns_marks(&self) -> bool {
        matches!(&self.speaks, Speaks::Carrier(outbound) if outbound.returns_marks())
    }

    /// Whether the other end takes so little that it cannot be helped.
    pub fn is_stalled(&self) -> bool {
        self.output.len_bytes() > PHONE_OUTPUT_MAX_BYTES
    }

    /// Audio in the other end's format, made of `samples` samples of the model's. Returns how many
    /// messages it took.
    pub fn send_audio(&mut self, audio: &[u8], samples: u64) -> u64 {
        let PhoneLeg { output, speaks } = self;
        let carried = Audio { messages: 1, bytes: audio.len() as u64, samples };
        match speaks {
            Speaks::Nothing => {}
            Speaks::Carrier(outbound) => match outbound.piece_bytes() {
                None => output.carry(carried, |output| {
                    let json_bytes = outbound.media_json_len(audio.len());
                    text(output, json_bytes, |tail| outbound.write_media_json(audio, tail));
                }),
                Some(piece_bytes) => return binary_pieces(output, audio, piece_bytes, samples),
            },
            Speaks::Browser => output.carry(carried, |output| {
                write_frame(Role::Server, Opcode::Binary, audio, NO_MASK, output.tail());
            }),
        }
        1
    }

    /// A mark behind the audio sent so far.
    pub fn send_mark(&mut self, mark: MarkName) {
        if let Speaks::Carrier(outbound) = &self.speaks
            && outbound.returns_marks()
        {
            let json_bytes = outbound.mark_json_len(mark);
            text(&mut self.output, json_bytes, |tail| outbound.write_mark_json(mark, tail));
        }
    }

    /// Throw away what you hold.
    pub fn send_clear(&mut self) {
        match &self.speaks {
            Speaks::Nothing => {}
            Speaks::Carrier(outbound) => {
                let json_bytes = outbound.clear_json_len();
                text(&mut self.output, json_bytes, |tail| outbound.write_clear_json(tail));
            }
            Speaks::Browser => self.tell(&ToBrowser::Clear),
        }
    }

    /// A word for a browser; a carrier has none for it.
    pub fn tell(&mut self, message: &ToBrowser<'_>) {
        if let Speaks::Browser = self.speaks {
            let json_bytes = message.json_len();
            text(&mut self.output, json_bytes, |tail| message.write_json(tail));
        }
    }

    /// Whose turn it is, for a browser.
    pub fn tell_turn(&mut self, who: Who) {
        self.tell(&ToBrowser::Turn { who });
    }

    /// Keeps proxies from cutting the line, and shows whether the other end is alive.
    pub fn send_ping(&mut self) {
        write_frame(Role::Server, Opcode::Ping, &[], NO_MASK, self.output.tail());
    }
}

/// `audio` in binary messages of at most `piece_bytes`, each with its share of `samples`. Returns
/// how many.
fn binary_pieces(output: &mut SendBuf, audio: &[u8], piece_bytes: usize, samples: u64) -> u64 {
    let pieces = audio.len().div_ceil(piece_bytes).max(1) as u64;
    let share = |piece: u64| samples * piece / pieces;
    for (at, piece) in (0..).zip(audio.chunks(piece_bytes)) {
        let samples = share(at + 1) - share(at);
        let carried = Audio { messages: 1, bytes: piece.len() as u64, samples };
        output.carry(carried, |output| {
            write_frame(Role::Server, Opcode::Binary, piece, NO_MASK, output.tail());
        });
    }
    pieces
}

fn text(output: &mut SendBuf, json_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let tail = output.tail();
    tail.reserve(header_bytes(json_bytes, false) + json_bytes);
    write_header(Role::Server, Opcode::Text, true, json_bytes, None, tail);
    write(tail);
}
