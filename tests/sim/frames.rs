//! WebSocket frames (RFC 6455 section 5) and base64 (RFC 4648) as the peers of the simulation speak
//! them: written from the documents alone, so that a mistake of the relay cannot cancel out.
//!
//! Not here: what is said in them (`phone`, `model`).

/// `FIN` and the opcodes.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Appends one frame; `mask`: as a client has to.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    payload: &[u8],
) {
    out.push(u8::from(fin) << 7 | opcode);
    let masked = u8::from(mask.is_some()) << 7;
    match payload.len() {
        n @ 0..126 => out.push(masked | n as u8),
        n @ 126..65_536 => {
            out.push(masked | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(masked | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else { return out.extend_from_slice(payload) };
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// Masks, or unmasks (section 5.3).
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let whole = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
    payload.extend(reason.bytes().take(123));
    payload
}

/// What the relay said, frame by frame.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    start: usize,
    /// Whether the other end is a server, to which frames come masked.
    expects_mask: bool,
}

/// One frame of the relay: always whole, never a piece of a message.
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(expects_mask: bool) -> Reader {
        Reader { expects_mask, ..Reader::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 4_096 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, once it is whole.
    ///
    /// # Panics
    /// If it is not as the relay has to write it.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let bytes = &self.bytes[self.start..];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(first & 0xf0, 0x80, "a frame of the relay is whole, and has no extension");
        let opcode = first & 0x0f;
        assert!(matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG), "opcode {opcode}");
        assert_eq!(second & 0x80 != 0, self.expects_mask, "mask");
        let (length, mut head) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
            short => (usize::from(short), 2),
        };
        assert!(head == 2 || length > if head == 4 { 125 } else { 65_535 }, "the shortest length");
        assert!(opcode < CLOSE || length <= 125, "a control frame of {length} bytes");
        let mask = match self.expects_mask {
            true => Some(<[u8; 4]>::try_from(bytes.get(head..head + 4)?).unwrap()),
            false => None,
        };
        head += if mask.is_some() { 4 } else { 0 };
        let mut payload = bytes.get(head..head + length)?.to_vec();
        if let Some(mask) = mask {
            apply_mask(&mut payload, mask);
        }
        self.start += head + length;
        Some(Frame { opcode, payload })
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const VALUES: [u8; 256] = {
    // 64 and above: no digit. The padding counts as 0: its place is checked by whoever reads it.
    let mut values = [0x40; 256];
    values[b'=' as usize] = 0;
    let mut n = 0;
    while n < 64 {
        values[ALPHABET[n] as usize] = n as u8;
        n += 1;
    }
    values
};

/// Appends `bytes` in base64; `url_safe`: in the alphabet of section 5.
pub(crate) fn put_base64(out: &mut String, bytes: &[u8], url_safe: bool) {
    let mut text = vec![b'='; bytes.len().div_ceil(3) * 4];
    let digit = |word: u32, n: u32| ALPHABET[(word >> (18 - 6 * n)) as usize & 63];
    let (groups, rest) = bytes.as_chunks::<3>();
    let (places, _) = text.as_chunks_mut::<4>();
    for (place, group) in places.iter_mut().zip(groups) {
        let word = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        *place = [digit(word, 0), digit(word, 1), digit(word, 2), digit(word, 3)];
    }
    if let (Some(place), Some(&first)) = (places.last_mut(), rest.first()) {
        let second = rest.get(1).copied();
        let word = u32::from(first) << 16 | u32::from(second.unwrap_or(0)) << 8;
        let third = second.map_or(b'=', |_| digit(word, 2));
        *place = [digit(word, 0), digit(word, 1), third, b'='];
    }
    if url_safe {
        for letter in &mut text {
            *letter = match *letter {
                b'+' => b'-',
                b'/' => b'_',
                other => other,
            };
        }
    }
    out.push_str(std::str::from_utf8(&text).expect("ASCII"));
}

/// The bytes behind padded base64 of the standard alphabet.
///
/// # Panics
/// If it is not that.
pub(crate) fn base64_bytes(text: &[u8]) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0, "base64 is padded");
    let padding = text.iter().rev().take_while(|&&letter| letter == b'=').count();
    assert!(padding <= 2 && !text[..text.len() - padding].contains(&b'='), "padding inside");
    let value = |letter: u8| u32::from(VALUES[usize::from(letter)]);
    let mut bytes = vec![0; text.len() / 4 * 3];
    let mut wrong = 0;
    let (places, _) = bytes.as_chunks_mut::<3>();
    for (place, &[a, b, c, d]) in places.iter_mut().zip(text.as_chunks::<4>().0) {
        let digits = [value(a), value(b), value(c), value(d)];
        wrong |= (digits[0] | digits[1] | digits[2] | digits[3]) & 0x40;
        let word = digits[0] << 18 | digits[1] << 12 | (digits[2] & 63) << 6 | digits[3] & 63;
        *place = [(word >> 16) as u8, (word >> 8) as u8, word as u8];
    }
    assert_eq!(wrong, 0, "base64");
    bytes.truncate(bytes.len() - padding);
    bytes
}
