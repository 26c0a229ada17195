//! The model's leg, outgoing side: what the relay says to the model, as masked WebSocket messages
//! in a [`SendBuf`].
//!
//! Bounds:   [`AGENT_OUTPUT_MAX_BYTES`]: [`AgentLeg::has_room`] is asked before audio and words.
//! Not here: what the model says (`call::from_agent`), the handshake and `setup` (`dial`).

use crate::buf::{Audio, SendBuf};
use crate::limits::AGENT_OUTPUT_MAX_BYTES;
use crate::wire::gemini;
use crate::wire::ws::{
    CloseCode, HEADER_BYTES_MAX, Opcode, Role, apply_mask, header_bytes, write_close, write_frame,
    write_header,
};

/// The model's leg.
#[derive(Debug)]
pub struct AgentLeg {
    /// What waits to go out.
    pub output: SendBuf,
    /// Where mask keys come from.
    masks: fastrand::Rng,
}

impl AgentLeg {
    /// A leg whose mask keys follow from `seed`.
    pub fn new(seed: u64) -> AgentLeg {
        AgentLeg { output: SendBuf::new(), masks: fastrand::Rng::with_seed(seed) }
    }

    /// Whether a message with so much audio may be added.
    pub fn has_room_for_audio(&self, rate_hz: u32, pcm_bytes: usize) -> bool {
        self.has_room(gemini::audio_json_len(rate_hz, pcm_bytes))
    }

    /// Whether a message of so many bytes may be added.
    pub fn has_room(&self, message_bytes: usize) -> bool {
        self.output.len_bytes() + HEADER_BYTES_MAX + message_bytes <= AGENT_OUTPUT_MAX_BYTES
    }

    /// Audio of the caller: PCM16 little-endian, made of `samples` samples of the phone's.
    pub fn send_audio(&mut self, rate_hz: u32, pcm_le: &[u8], samples: u64) {
        let json_bytes = gemini::audio_json_len(rate_hz, pcm_le.len());
        let mask = self.mask();
        let audio = Audio { messages: 1, bytes: pcm_le.len() as u64, samples };
        self.output.carry(audio, |output| {
            let tail = output.tail();
            tail.reserve(header_bytes(json_bytes, true) + json_bytes);
            write_header(Role::Client, Opcode::Text, true, json_bytes, Some(mask), tail);
            let payload = tail.len();
            gemini::write_audio_json(rate_hz, pcm_le, tail);
            apply_mask(mask, 0, &mut tail[payload..]);
        });
    }

    /// Any other message, as JSON.
    pub fn send_json(&mut self, json: &str) {
        let mask = self.mask();
        write_frame(Role::Client, Opcode::Text, json.as_bytes(), mask, self.output.tail());
    }

    /// Answers a ping, unless there is no room: a later one is answered then (RFC 6455 section
    /// 5.5.3).
    pub fn send_pong(&mut self, payload: &[u8]) {
        if !self.has_room(payload.len()) {
            return;
        }
        let mask = self.mask();
        write_frame(Role::Client, Opcode::Pong, payload, mask, self.output.tail());
    }

    /// Says goodbye, so that the service frees the session.
    pub fn send_close(&mut self, code: CloseCode) {
        let mask = self.mask();
        write_close(Role::Client, code, "", mask, self.output.tail());
    }

    fn mask(&mut self) -> [u8; 4] {
        self.masks.u32(..).to_ne_bytes()
    }
}
