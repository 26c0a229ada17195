//! JSON, RFC 8259, read where it lies: a strict cursor for the messages of carriers, browsers
//! and the model.
//!
//! In:       the whole text of one message.
//! Out:      keys and values in the order they come, borrowed from the text; strings still escaped.
//! Bounds:   [`JSON_DEPTH_MAX`] open containers, [`NUMBER_MAX`]; nothing allocated, no recursion.
//! Not here: which keys mean what (`wire::twilio`, `wire::gemini`, `wire::browser`); trees of
//!           values (serde_json, off the media path).
//!
//! A text is taken only if serde_json takes it too, and then with the same meaning: where a key
//! comes twice the last one counts, which each reader keeps by assigning as it goes.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::base64::{self, Base64Error};

/// Containers open at once. One more is [`JsonError::TooDeep`]: no message we know nests past ten.
pub const JSON_DEPTH_MAX: u32 = u64::BITS;

/// The largest magnitude a number may have; beyond it [`JsonError::BadNumber`]. A little below the
/// largest f64, so that no parser's rounding makes it infinite.
pub const NUMBER_MAX: f64 = 1e308;

/// Why a text is not the JSON we read. `at` is a byte index into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The text ends inside a value.
    Ended,
    /// A byte that cannot stand here.
    Unexpected {
        /// Its index.
        at: usize,
    },
    /// More than [`JSON_DEPTH_MAX`] open containers.
    TooDeep {
        /// The index of the bracket that is one too many.
        at: usize,
    },
    /// A bare control character in a string.
    ControlCharacter {
        /// Its index.
        at: usize,
    },
    /// An unknown escape, bad hex, or half of a surrogate pair.
    BadEscape {
        /// The index of its backslash.
        at: usize,
    },
    /// Not a number by the grammar, or beyond [`NUMBER_MAX`], or not of the integer type asked for.
    BadNumber {
        /// The index of its first character.
        at: usize,
    },
    /// More after the value.
    Trailing {
        /// The index of the first byte too many.
        at: usize,
    },
    /// A value of another kind than this field has.
    WrongKind {
        /// The index of the value.
        at: usize,
        /// The kind the field has.
        wanted: Kind,
    },
}

/// Why a text is not one of the messages a room reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Not JSON, or a field of the wrong kind.
    Json(JsonError),
    /// A field without which the message means nothing.
    Missing {
        /// Its name.
        field: &'static str,
    },
}

impl From<JsonError> for MessageError {
    fn from(error: JsonError) -> MessageError {
        MessageError::Json(error)
    }
}

/// The kinds of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    Text,
    /// `-12.5e3`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// A cursor over one JSON text. Every reader leaves it just behind what it has read; after an
/// error it is of no further use.
#[derive(Clone, Debug)]
pub struct Scanner<'b> {
    text: &'b str,
    at: usize,
    /// Containers entered and not yet left.
    depth: u32,
    /// The innermost container was entered and nothing of it read: no comma may come.
    opened: bool,
}

impl<'b> Scanner<'b> {
    /// A cursor at the start of `text`.
    pub fn new(text: &'b str) -> Scanner<'b> {
        Scanner { text, at: 0, depth: 0, opened: false }
    }

    /// The kind of the value that comes next, told by its first byte.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(JsonError::Unexpected { at: self.at }),
            None => Err(JsonError::Ended),
        }
    }

    /// Enters an object; read it with [`next_key`](Self::next_key) until that says `None`.
    pub fn enter_object(&mut self) -> Result<(), JsonError> {
        self.want(Kind::Object)?;
        self.enter()
    }

    /// Enters an array; read it with [`next_item`](Self::next_item) until that says `false`.
    pub fn enter_array(&mut self) -> Result<(), JsonError> {
        self.want(Kind::Array)?;
        self.enter()
    }

    /// The next key of the innermost object; its value comes next. `None`: the object was left.
    pub fn next_key(&mut self) -> Result<Option<Text<'b>>, JsonError> {
        if !self.more_before(b'}')? {
            return Ok(None);
        }
        if self.byte() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        self.skip_space();
        if self.byte() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the innermost array has another item, which comes next. `false`: it was left.
    pub fn next_item(&mut self) -> Result<bool, JsonError> {
        self.more_before(b']')
    }

    /// A string.
    pub fn text(&mut self) -> Result<Text<'b>, JsonError> {
        self.want(Kind::Text)?;
        self.string()
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        self.want(Kind::Bool)?;
        if self.byte() == Some(b't') {
            self.literal("true").map(|()| true)
        } else {
            self.literal("false").map(|()| false)
        }
    }

    /// A whole number, written as a number or as a string of decimal digits: both stand for the
    /// 64-bit integers of ProtoJSON, and carriers differ.
    pub fn integer(&mut self) -> Result<i64, JsonError> {
        let (at, digits) = self.digits()?;
        if let Ok(integer) = digits.parse::<i64>() {
            return Ok(integer);
        }
        // `8000.0` and `1e3` are whole numbers too; up to 2^53 an f64 holds them exactly.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match digits.parse::<f64>() {
            Ok(real) if real.fract() == 0.0 && real.abs() <= EXACT => Ok(real as i64),
            _ => Err(JsonError::BadNumber { at }),
        }
    }

    /// Like [`integer`](Self::integer), for what cannot be negative.
    pub fn unsigned(&mut self) -> Result<u64, JsonError> {
        let at = self.value_start();
        u64::try_from(self.integer()?).map_err(|_| JsonError::BadNumber { at })
    }

    /// What `read` makes of the next value, or `None` for `null`: a field left out.
    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<Option<T>, JsonError> {
        if self.kind()? == Kind::Null {
            self.literal("null")?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// The text of a whole value of kind `wanted`, read to its end.
    pub fn raw(&mut self, wanted: Kind) -> Result<&'b str, JsonError> {
        self.want(wanted)?;
        self.skip()
    }

    /// Reads the next value to its end and returns its text.
    pub fn skip(&mut self) -> Result<&'b str, JsonError> {
        let start = self.value_start();
        let outside = self.depth;
        // Bit d: the container that stands in d others is an object. 64 bits are the depth.
        let mut objects = 0u64;
        loop {
            match self.kind()? {
                Kind::Object => {
                    self.enter()?;
                    objects |= 1 << (self.depth - 1);
                }
                Kind::Array => {
                    self.enter()?;
                    objects &= !(1 << (self.depth - 1));
                }
                Kind::Text => drop(self.string()?),
                Kind::Number => drop(self.number()?),
                Kind::Bool => drop(self.boolean()?),
                Kind::Null => self.literal("null")?,
            }
            // Leaves every container that ends here, and goes on at the next value.
            loop {
                if self.depth == outside {
                    return Ok(&self.text[start..self.at]);
                }
                let in_object = objects >> (self.depth - 1) & 1 == 1;
                if if in_object { self.next_key()?.is_some() } else { self.next_item()? } {
                    break;
                }
            }
        }
    }

    /// The end: nothing may follow but white space.
    pub fn finish(mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at < self.text.len() {
            return Err(JsonError::Trailing { at: self.at });
        }
        Ok(())
    }

    /// The index of the next value, for [`between`](Self::between).
    pub(super) fn value_start(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// What `read` makes of the next value, or why it makes nothing of it; either way the cursor
    /// goes behind the value, which is JSON. For a value that may turn out not to matter.
    pub(super) fn attempt<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, MessageError>,
    ) -> Result<Result<T, MessageError>, JsonError> {
        let mut ahead = self.clone();
        let value = read(&mut ahead);
        if value.is_ok() {
            *self = ahead;
        } else {
            self.skip()?;
        }
        Ok(value)
    }

    /// The text from `start` to here: a value that has been read through.
    pub(super) fn between(&self, start: usize) -> &'b str {
        &self.text[start..self.at]
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.depth += 1;
        self.opened = true;
        Ok(())
    }

    /// Goes over the comma to the next member, or leaves the container at its `end`.
    fn more_before(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_space();
        let first = std::mem::replace(&mut self.opened, false);
        match self.byte() {
            Some(byte) if byte == end => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => Err(self.unexpected()),
        }
    }

    fn want(&mut self, wanted: Kind) -> Result<(), JsonError> {
        if self.kind()? != wanted {
            return Err(JsonError::WrongKind { at: self.at, wanted });
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let same = rest.iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        self.at += same;
        if same < word.len() { Err(self.unexpected()) } else { Ok(()) }
    }

    /// The string that starts at the cursor's quotation mark. Inlined, for what it returns is moved
    /// once less: a message has a score of strings.
    #[inline(always)]
    fn string(&mut self) -> Result<Text<'b>, JsonError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escapes = 0;
        loop {
            at = plain_until(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes += 1;
                    at += escape_len(bytes, at)?;
                }
                Some(_) => return Err(JsonError::ControlCharacter { at }),
                None => return Err(JsonError::Ended),
            }
        }
        self.at = at + 1;
        Ok(Text { raw: &self.text[start..at], escapes })
    }

    /// The number that starts at the cursor (section 6).
    fn number(&mut self) -> Result<&'b str, JsonError> {
        let start = self.at;
        let bad = JsonError::BadNumber { at: start };
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let whole_digits = match self.byte() {
            Some(b'0') => {
                self.at += 1;
                1
            }
            _ => self.count_digits(),
        };
        if whole_digits == 0 {
            return Err(self.ended_or(bad));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.count_digits() == 0 {
                return Err(self.ended_or(bad));
            }
        }
        let mut may_be_huge = whole_digits > 300;
        if matches!(self.byte(), Some(b'e' | b'E')) {
            may_be_huge = true;
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.count_digits() == 0 {
                return Err(self.ended_or(bad));
            }
        }
        let raw = &self.text[start..self.at];
        if may_be_huge && !raw.parse::<f64>().is_ok_and(|real| real.abs() <= NUMBER_MAX) {
            return Err(bad);
        }
        Ok(raw)
    }

    /// The text of an integer and its index: a number, or what stands in a string.
    fn digits(&mut self) -> Result<(usize, &'b str), JsonError> {
        match self.kind()? {
            Kind::Text => {
                let at = self.at;
                let text = self.string()?;
                let digits = text.as_plain().ok_or(JsonError::BadNumber { at })?;
                let unsigned = digits.strip_prefix('-').unwrap_or(digits);
                if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(JsonError::BadNumber { at });
                }
                Ok((at, digits))
            }
            Kind::Number => Ok((self.at, self.number()?)),
            _ => Err(JsonError::WrongKind { at: self.at, wanted: Kind::Number }),
        }
    }

    fn count_digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self) -> JsonError {
        self.ended_or(JsonError::Unexpected { at: self.at })
    }

    fn ended_or(&self, error: JsonError) -> JsonError {
        if self.at == self.text.len() { JsonError::Ended } else { error }
    }
}

/// Eights of bytes looked at before a string counts as long and the vector search pays.
const SHORT_STRING_EIGHTS: usize = 4;

/// The index of the first byte from `from` on that does not stand for itself in a string: a
/// quotation mark, a backslash, a control character, or the end of the text.
pub(super) fn plain_until(bytes: &[u8], from: usize) -> usize {
    let (eights, rest) = bytes[from..].as_chunks::<8>();
    for (count, eight) in eights.iter().enumerate().take(SHORT_STRING_EIGHTS) {
        if let Some(place) = special_in(u64::from_le_bytes(*eight)) {
            return from + 8 * count + place;
        }
    }
    if eights.len() < SHORT_STRING_EIGHTS {
        let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        return bytes.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len());
    }
    let near = from + 8 * SHORT_STRING_EIGHTS;
    let rest = &bytes[near..];
    let plain = &rest[..memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
    // The smallest byte is found without a branch per byte; only a broken string is searched.
    if plain.iter().fold(u8::MAX, |smallest, byte| smallest.min(*byte)) >= 0x20 {
        return near + plain.len();
    }
    near + plain.iter().position(|byte| *byte < 0x20).unwrap_or(plain.len())
}

/// The place of the first special byte among eight, lowest first. The subtractions carry only out
/// of bytes that match, so the lowest bit that is set is true.
fn special_in(eight: u64) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let below = |word: u64, bound: u64| word.wrapping_sub(bound * ONES) & !word & HIGH;
    let quote = below(eight ^ (b'"' as u64 * ONES), 1);
    let backslash = below(eight ^ (b'\\' as u64 * ONES), 1);
    let special = below(eight, 0x20) | quote | backslash;
    (special != 0).then_some(special.trailing_zeros() as usize / 8)
}

/// The length of the escape whose backslash stands at `at` (section 7), a surrogate pair as one.
fn escape_len(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let bad = JsonError::BadEscape { at };
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let unit = utf16_unit(bytes, at).ok_or(bad)?;
            if !(0xd800..0xe000).contains(&unit) {
                return Ok(6);
            }
            let paired = unit < 0xdc00
                && bytes.get(at + 6) == Some(&b'\\')
                && bytes.get(at + 7) == Some(&b'u')
                && utf16_unit(bytes, at + 6).is_some_and(|low| (0xdc00..0xe000).contains(&low));
            if paired { Ok(12) } else { Err(bad) }
        }
        Some(_) => Err(bad),
        None => Err(JsonError::Ended),
    }
}

/// The four hex digits of the `\u` escape at `at`.
fn utf16_unit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at + 2..at + 6)?
        .iter()
        .try_fold(0, |unit, &digit| char::from(digit).to_digit(16).map(|value| unit << 4 | value))
}

/// A string as it lies in the message: what stands between the quotation marks, checked, its
/// escapes not yet resolved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'b> {
    raw: &'b str,
    /// How many escapes `raw` has. A whole word, although none or some would do: texts are moved
    /// about in every message, and a lone byte with its padding is moved in pieces that stall.
    escapes: usize,
}

impl<'b> Text<'b> {
    /// A text that contains no escape and stands for itself.
    pub const fn plain(text: &'b str) -> Text<'b> {
        Text { raw: text, escapes: 0 }
    }

    /// What stands between the quotation marks.
    pub fn raw(&self) -> &'b str {
        self.raw
    }

    /// The text, if it has no escapes: the usual case.
    pub fn as_plain(&self) -> Option<&'b str> {
        (self.escapes == 0).then_some(self.raw)
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Its characters, escapes resolved; nothing is allocated.
    pub fn chars(&self) -> Chars<'b> {
        Chars { rest: self.raw, escaped: self.escapes > 0 }
    }

    /// Appends it to `out`, escapes resolved.
    pub fn unescape_into(&self, out: &mut String) {
        match self.as_plain() {
            Some(plain) => out.push_str(plain),
            None => out.extend(self.chars()),
        }
    }

    /// Borrowed if it has no escapes, else a new string.
    pub fn to_cow(&self) -> Cow<'b, str> {
        match self.as_plain() {
            Some(plain) => Cow::Borrowed(plain),
            None => Cow::Owned(self.chars().collect()),
        }
    }

    /// The text as a name to `match` on; `spare` holds it if it must be unescaped. A name longer
    /// than `spare` is none of ours and comes back empty.
    pub fn name<'k>(&self, spare: &'k mut NameSpare) -> &'k str
    where
        'b: 'k,
    {
        if let Some(plain) = self.as_plain() {
            return plain;
        }
        let mut used = 0;
        for character in self.chars() {
            let Some(room) = spare.0.get_mut(used..used + character.len_utf8()) else {
                return "";
            };
            character.encode_utf8(room);
            used += character.len_utf8();
        }
        std::str::from_utf8(&spare.0[..used]).unwrap_or("")
    }

    /// Decodes it as base64 and appends the bytes to `out`; see [`base64::decode_append`].
    pub fn decode_base64_append(&self, out: &mut Vec<u8>) -> Result<usize, Base64Error> {
        match self.as_plain() {
            Some(plain) => base64::decode_append(plain.as_bytes(), out),
            // A character beyond ASCII is in no alphabet; NUL stands in for it.
            None => base64::decode_each(
                self.chars().map(|character| u8::try_from(character).unwrap_or(0)),
                out,
            ),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_plain() {
            Some(plain) => f.write_str(plain),
            None => self.chars().try_for_each(|character| f.write_char(character)),
        }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        match self.as_plain() {
            Some(plain) => plain == other,
            None => self.chars().eq(other.chars()),
        }
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Text<'_> {}

/// Bytes of the longest name a reader matches on, with room to spare.
const NAME_BYTES_MAX: usize = 48;

/// Room on the stack for a key that was written with escapes.
#[derive(Debug)]
pub struct NameSpare([u8; NAME_BYTES_MAX]);

impl NameSpare {
    /// Empty room.
    pub const fn new() -> NameSpare {
        NameSpare([0; NAME_BYTES_MAX])
    }
}

impl Default for NameSpare {
    fn default() -> NameSpare {
        NameSpare::new()
    }
}

/// The characters of a [`Text`].
#[derive(Clone, Debug)]
pub struct Chars<'b> {
    rest: &'b str,
    escaped: bool,
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        if first != '\\' || !self.escaped {
            self.rest = chars.as_str();
            return Some(first);
        }
        // The scanner has checked every escape, so the lookups below find what they look for.
        let bytes = self.rest.as_bytes();
        let len = escape_len(bytes, 0).unwrap_or(bytes.len());
        let character = match bytes.get(1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => utf16_char(bytes, len),
            Some(&itself) => char::from(itself),
            None => char::REPLACEMENT_CHARACTER,
        };
        self.rest = self.rest.get(len..).unwrap_or("");
        Some(character)
    }
}

/// The character of the `\u` escape at the front, `len` bytes long: one unit or a pair.
fn utf16_char(bytes: &[u8], len: usize) -> char {
    let unit = utf16_unit(bytes, 0).unwrap_or(0);
    let code = match utf16_unit(bytes, 6) {
        Some(low) if len == 12 => 0x10000 + ((unit & 0x3ff) << 10 | (low & 0x3ff)),
        _ => unit,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Where a message is written to, or measured before it is written: both run the same code, so
/// the length told is the length written.
pub(super) trait Sink {
    /// Takes the next bytes of the message.
    fn put(&mut self, bytes: &[u8]);

    /// Takes `text` as the inside of a JSON string: quotation mark, backslash and control
    /// characters escaped, everything else as it is (section 7).
    fn put_escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\') {
            self.put(&rest[..at]);
            match rest[at] {
                b'"' => self.put(br#"\""#),
                b'\\' => self.put(br"\\"),
                b'\n' => self.put(br"\n"),
                b'\r' => self.put(br"\r"),
                b'\t' => self.put(br"\t"),
                control => {
                    let hex = b"0123456789abcdef";
                    let (high, low) =
                        (hex[usize::from(control >> 4)], hex[usize::from(control & 15)]);
                    self.put(&[b'\\', b'u', b'0', b'0', high, low]);
                }
            }
            rest = &rest[at + 1..];
        }
        self.put(rest);
    }

    /// Takes `number` in decimal.
    fn put_decimal(&mut self, mut number: u64) {
        // 2^64 has 20 digits.
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[first..]);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A [`Sink`] that only counts.
#[derive(Debug, Default)]
pub(super) struct LenBytes(pub(super) usize);

impl Sink for LenBytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}
