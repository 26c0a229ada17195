//! The bytes of the floor: frames found by their length, messages made ahead.
//!
//! In:       bytes as they left a socket or TLS; a request's head.
//! Out:      one [`Frame`] at a time; messages to be written.
//! Bounds:   a frame fits [`SCRATCH_BYTES`]; a head fits [`HEAD_BYTES_MAX`].
//! Not here: sockets (`relay::null::call`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What is read at once, and the longest frame: as much as one TLS record and then some.
pub(super) const SCRATCH_BYTES: usize = 64 << 10;

/// The longest head of a request with its form.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// PCM of one 20 ms frame at 16 kHz.
const FRAME_16K_BYTES: usize = 640;

/// How a message with model audio begins, and how it ends.
const MODEL_AUDIO: (&str, &str) = (
    concat!(
        r#"{"serverContent":{"modelTurn":{"role":"model","parts":["#,
        r#"{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":""#
    ),
    r#""}}]}}}"#,
);

/// The most mu-law of one message: a second of it, more than fits [`SCRATCH_BYTES`] as the model
/// writes it.
const PAYLOAD_BYTES_MAX: usize = 8_000;

/// One WebSocket frame, RFC 6455 section 5.2, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The opcode; 1 text, 2 binary, 8 close, 9 ping.
    pub(super) opcode: u8,
    /// Where the payload begins.
    pub(super) from: usize,
    /// Where it ends, and the next frame begins.
    pub(super) to: usize,
}

/// The frame at the front of `bytes`, once it is whole.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let &[first, second, ..] = bytes else { return None };
    let mask: usize = if second & 0x80 == 0 { 0 } else { 4 };
    let (head, len) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    let from = head + mask;
    let to = from.checked_add(len)?;
    (bytes.len() >= to).then_some(Frame { opcode: first & 0x0F, from, to })
}

/// What a caller's message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// One frame of audio.
    Media,
    /// The first message with the names of the stream.
    Start,
    /// Anything else.
    Other,
}

/// Tells a caller's message by the third letter of its event, the only one unmasked:
/// `{"event":"me…`, `{"event":"st…`. Callers write the event first.
pub(super) fn said(bytes: &[u8], frame: Frame) -> Said {
    /// Where the name of the event begins.
    const NAME: usize = 10;
    let masked = bytes[1] & 0x80 != 0;
    let letter = |place: usize| {
        let key = if masked { bytes[frame.from - 4 + place % 4] } else { 0 };
        bytes.get(frame.from + place).map(|byte| byte ^ key)
    };
    if frame.opcode != 1 || frame.to - frame.from < NAME + 5 {
        return Said::Other;
    }
    match (letter(NAME), letter(NAME + 1), letter(NAME + 2)) {
        (Some(b'm'), Some(b'e'), _) => Said::Media,
        (Some(b's'), Some(b't'), Some(b'a')) => Said::Start,
        _ => Said::Other,
    }
}

/// The payload of a frame, unmasked: for the few messages that are read at all.
pub(super) fn unmasked(bytes: &[u8], frame: Frame) -> Vec<u8> {
    let payload = &bytes[frame.from..frame.to];
    if bytes[1] & 0x80 == 0 {
        return payload.to_vec();
    }
    let key = &bytes[frame.from - 4..frame.from];
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// Bytes of mu-law that last as long as the audio in a message of the model; `None` if it has none.
pub(super) fn audio_in(payload: &[u8]) -> Option<usize> {
    let (head, tail) = MODEL_AUDIO;
    /// Tells audio from everything else the service says.
    const TELLING: std::ops::Range<usize> = 18..31;
    if payload.len() < head.len() + tail.len() || payload[TELLING] != head.as_bytes()[TELLING] {
        return None;
    }
    let base64 = payload.len() - head.len() - tail.len();
    let padding = payload[head.len() + base64 - 2..][..2].iter().filter(|&&it| it == b'=').count();
    Some((base64 / 4 * 3 - padding) / 6)
}

/// A frame around `payload`, from a client if `masked`. The key is 0, which leaves the payload as
/// it is.
pub(super) fn framed(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => out.push(mask | len as u8),
        len @ 126..65_536 => {
            out.push(mask | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(mask | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if masked {
        out.extend([0; 4]);
    }
    out.extend_from_slice(payload);
    out
}

/// A close frame with 1000.
pub(super) fn goodbye(masked: bool) -> Vec<u8> {
    framed(8, &1000_u16.to_be_bytes(), masked)
}

/// The message for the model that stands for every frame of every caller.
pub(super) fn uplink_frame() -> Vec<u8> {
    let audio = STANDARD.encode([0; FRAME_16K_BYTES]);
    let head = r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":""#;
    framed(1, format!(r#"{head}{audio}"}}}}}}"#).as_bytes(), true)
}

/// The message for the phone of stream `sid` that stands for so many bytes of mu-law.
pub(super) fn downlink_frame(sid: &str, payload_bytes: usize) -> Vec<u8> {
    let audio = STANDARD.encode(vec![0xFF; payload_bytes.clamp(1, PAYLOAD_BYTES_MAX)]);
    let text =
        format!(r#"{{"event":"media","streamSid":"{sid}","media":{{"payload":"{audio}"}}}}"#);
    framed(1, text.as_bytes(), false)
}

/// What the floor reads of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// An upgrade with this key.
    Upgrade {
        /// `Sec-WebSocket-Key`.
        key: String,
        /// Where the first WebSocket byte is.
        behind: usize,
    },
    /// A webhook about the call of this number, as the form spells it.
    Webhook {
        /// `From`, still encoded.
        from: String,
    },
}

/// Reads a request once it is whole.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let body = end + 4;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_string())
    };
    if let Some(key) = header("sec-websocket-key") {
        return Some(Request::Upgrade { key, behind: body });
    }
    let len = header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let form = bytes.get(body..body.checked_add(len)?)?;
    let form = String::from_utf8_lossy(form);
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let from = pairs.find(|(name, _)| *name == "From").map_or("", |(_, value)| value);
    Some(Request::Webhook { from: from.replace("%2B", "+") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::message::{self, Beside};
    use crate::gemini::script::Dialect;

    #[test]
    fn a_frame_is_found_once_it_is_whole_at_every_length() {
        for len in [0, 1, 125, 126, 929, 65_535, 65_536] {
            for masked in [false, true] {
                let bytes = framed(2, &vec![7; len], masked);
                let found = frame(&bytes).unwrap();
                assert_eq!((found.opcode, found.to), (2, bytes.len()));
                assert_eq!(found.to - found.from, len);
                for cut in [0, 1, bytes.len() - 1] {
                    assert_eq!(frame(&bytes[..cut]), None, "{len} {cut}");
                }
            }
        }
    }

    #[test]
    fn callers_messages_are_told_apart_under_any_mask() {
        for (text, expected) in [
            (r#"{"event":"media","sequenceNumber":"2"}"#, Said::Media),
            (r#"{"event":"start","sequenceNumber":"1"}"#, Said::Start),
            (r#"{"event":"stop","sequenceNumber":"9"}"#, Said::Other),
            (r#"{"event":"mark","sequenceNumber":"9"}"#, Said::Other),
            (r#"{"event":"connected","protocol":"Call"}"#, Said::Other),
            ("{}", Said::Other),
        ] {
            let mut bytes = framed(1, text.as_bytes(), true);
            let it = frame(&bytes).unwrap();
            bytes[it.from - 4..it.from].copy_from_slice(&[1, 200, 33, 44]);
            let key = [1, 200, 33, 44];
            bytes[it.from..].iter_mut().zip(key.iter().cycle()).for_each(|(b, k)| *b ^= k);
            assert_eq!(said(&bytes, it), expected, "{text}");
            assert_eq!(unmasked(&bytes, it), text.as_bytes());
        }
    }

    #[test]
    fn model_audio_is_known_by_its_length_and_nothing_else_is_audio() {
        for samples in [3, 480, 960, 961 * 3, 4800] {
            let pcm = vec![0; samples * 2];
            let text = message::audio(&Dialect::default(), &pcm, Beside::default());
            assert_eq!(audio_in(text.as_bytes()), Some(samples / 3), "{samples}");
        }
        for text in [
            message::turn_complete(&Dialect::default()),
            message::generation_complete(&Dialect::default()),
            message::setup_complete(&Dialect::default(), None),
        ] {
            assert_eq!(audio_in(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_message_for_the_model_is_as_long_as_a_relays() {
        assert_eq!(uplink_frame().len(), 929 + 8);
        assert_eq!(downlink_frame("MZ0000000000000000000000000000000a", 160).len(), 305 + 4);
    }

    #[test]
    fn a_webhook_and_an_upgrade_are_read_once_they_are_whole() {
        let whole = b"POST /x HTTP/1.1\r\nContent-Length: 13\r\n\r\nFrom=%2B18005";
        assert_eq!(request(whole), Some(Request::Webhook { from: "+18005".into() }));
        assert_eq!(request(&whole[..whole.len() - 1]), None);
        let upgrade = b"GET / HTTP/1.1\r\nsec-websocket-key: abc\r\n\r\n\x81";
        let behind = upgrade.len() - 1;
        assert_eq!(request(upgrade), Some(Request::Upgrade { key: "abc".into(), behind }));
    }
}
