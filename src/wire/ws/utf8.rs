//! UTF-8 checked as it arrives, RFC 3629: wrong as soon as no continuation could make it right.
//!
//! In:       bytes, cut anywhere, also inside a character.
//! Out:      whether they can still become UTF-8; whether they are whole.
//! Bounds:   at most three bytes of a cut character are remembered.
//! Not here: the text itself.

/// The state of a check between two pieces of one text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8Check {
    /// The character the last piece was cut in; a fourth byte always completes or condemns it.
    cut: [u8; 4],
    /// How much of it has come: 0 to 3.
    cut_bytes: usize,
}

impl Utf8Check {
    /// Takes the next piece. False: no bytes behind it can make this UTF-8.
    #[must_use]
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.cut_bytes > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            self.cut[self.cut_bytes] = next;
            self.cut_bytes += 1;
            match std::str::from_utf8(&self.cut[..self.cut_bytes]) {
                Ok(_) => self.cut_bytes = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let cut = &bytes[error.valid_up_to()..];
                self.cut[..cut.len()].copy_from_slice(cut);
                self.cut_bytes = cut.len();
                true
            }
        }
    }

    /// Whether the pieces so far end with a whole character.
    pub(super) fn is_whole(&self) -> bool {
        self.cut_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8Check;

    /// The length of the shortest prefix that nothing can complete, byte by byte.
    fn condemned_after(bytes: &[u8]) -> Option<usize> {
        let mut check = Utf8Check::default();
        (0..bytes.len()).find(|&i| !check.push(&bytes[i..=i])).map(|i| i + 1)
    }

    #[test]
    fn every_character_passes_in_every_cut() {
        let mut utf8 = [0; 4];
        for c in '\0'..=char::MAX {
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            for at in 0..=bytes.len() {
                let mut check = Utf8Check::default();
                assert!(check.push(&bytes[..at]), "{c:?}");
                assert_eq!(check.is_whole(), at == 0 || at == bytes.len(), "{c:?}");
                assert!(check.push(&bytes[at..]) && check.is_whole(), "{c:?}");
            }
        }
    }

    #[test]
    fn every_sequence_of_up_to_three_bytes_agrees_with_the_standard_library() {
        for n in 0..1_u32 << 24 {
            let [_, a, b, c] = n.to_be_bytes();
            // A first byte of ASCII leaves the two-byte case, which the others cover.
            if a < 0x80 && a != 0x41 {
                continue;
            }
            let bytes = [a, b, c];
            let expected = match std::str::from_utf8(&bytes) {
                Err(error) => error.error_len().map(|_| error.valid_up_to()),
                Ok(_) => None,
            };
            let mut check = Utf8Check::default();
            let passed = check.push(&bytes[..1]) && check.push(&bytes[1..2]) && check.push(&[c]);
            assert_eq!(passed, expected.is_none(), "{bytes:x?}");
        }
    }

    #[test]
    fn hopeless_text_is_refused_at_its_first_hopeless_byte() {
        assert_eq!(condemned_after(b"\xc0\xaf"), Some(1), "overlong slash");
        assert_eq!(condemned_after(b"\xe0\x80\xaf"), Some(2), "overlong, three bytes");
        assert_eq!(condemned_after(b"\xed\xa0\x80"), Some(2), "a surrogate");
        assert_eq!(condemned_after(b"\xf4\x90\x80\x80"), Some(2), "above U+10FFFF");
        assert_eq!(condemned_after(b"\xf5"), Some(1));
        assert_eq!(condemned_after(b"\x80"), Some(1), "a continuation byte alone");
        assert_eq!(condemned_after(b"\xf0\x9f\x98a"), Some(4));
    }
}
