//! JSON as machines write it: a cursor for the two messages that carry audio, which come all the
//! time and nearly always look alike.
//!
//! In:       the whole text of one message.
//! Out:      its strings and whole numbers, borrowed from the text; `None` where it is written in
//!           any other way, whether that is JSON or not: then `wire::json` decides.
//! Bounds:   one pass, forwards; nothing allocated.
//! Not here: escapes, fractions, errors; which keys mean what (`wire::twilio`, `wire::gemini`).

use super::json::plain_until;

/// Digits of a number; any number of so many is exact in an i64. A longer one is not plain.
const DIGITS_MAX: usize = 18;

/// The cursor. After a `None` it is of no further use.
#[derive(Debug)]
pub(super) struct Plain<'b> {
    text: &'b str,
    at: usize,
}

impl<'b> Plain<'b> {
    /// At the start of `text`.
    pub(super) fn new(text: &'b str) -> Plain<'b> {
        Plain { text, at: 0 }
    }

    /// Goes over white space and `byte`.
    #[inline(always)]
    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Goes over the comma before another member, or over the `end` of the container: `false`.
    #[inline(always)]
    pub(super) fn more_before(&mut self, end: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += 1;
        if byte == b',' { Some(true) } else { (byte == end).then_some(false) }
    }

    /// A string without escapes: what stands between the quotation marks.
    #[inline(always)]
    pub(super) fn word(&mut self) -> Option<&'b str> {
        self.eat(b'"')?;
        let start = self.at;
        let end = plain_until(self.text.as_bytes(), start);
        self.at = end + 1;
        let is_plain = self.text.as_bytes().get(end) == Some(&b'"');
        is_plain.then(|| &self.text[start..end])
    }

    /// A key, with the colon behind it.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Option<&'b str> {
        let key = self.word()?;
        self.eat(b':')?;
        Some(key)
    }

    /// Goes over the key `name`.
    #[inline(always)]
    pub(super) fn expect(&mut self, name: &str) -> Option<()> {
        (self.key()? == name).then_some(())
    }

    /// A whole number, bare or in a string.
    #[inline(always)]
    pub(super) fn decimal(&mut self) -> Option<u64> {
        let is_quoted = self.next()? == b'"';
        self.at += usize::from(is_quoted);
        let digits = &self.text.as_bytes()[self.at..];
        let (mut number, mut len) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = digits.get(len) {
            // Wraps only where there are too many digits.
            number = 10u64.wrapping_mul(number).wrapping_add(u64::from(digit - b'0'));
            len += 1;
        }
        self.at += len;
        if is_quoted {
            self.at += 1;
            let is_closed = digits.get(len) == Some(&b'"');
            return (is_closed && (1..=DIGITS_MAX).contains(&len)).then_some(number);
        }
        // A bare number begins with a zero only where it is one.
        let is_number = len == 1 || digits[0] != b'0' && (1..=DIGITS_MAX).contains(&len);
        is_number.then_some(number)
    }

    /// The end of the text.
    pub(super) fn finish(mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    /// The byte behind the white space that comes.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                &byte => return Some(byte),
            }
        }
    }
}
