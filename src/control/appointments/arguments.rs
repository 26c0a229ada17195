//! What a model passes to a tool, checked: it may be anything a caller has said, or nobody has.
//!
//! In:       arguments as JSON.
//! Out:      dates, times, names, or a [`Fault`] that the model can explain.
//! Bounds:   [`NAME_MAX_CHARS`], [`NOTE_MAX_CHARS`]; nothing longer is looked at.
//! Not here: whether a time is free, whose booking it is.

use jiff::civil::{Date, Time};
use serde_json::Value;

use super::store::REFERENCE_CHARS;
use crate::config::Appointments as Practice;
use crate::config::appointments::Service;

/// A caller's name. Above: refused.
pub(super) const NAME_MAX_CHARS: usize = 80;
/// What the practice should know. Above: refused.
pub(super) const NOTE_MAX_CHARS: usize = 300;
/// Every other argument.
const WORD_MAX_CHARS: usize = 80;
/// Bytes a character of the bound may take, with those that are dropped: so much is looked at.
const BYTES_PER_CHAR: usize = 8;

/// What is wrong with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The arguments are no object.
    NotAnObject,
    /// Not text.
    NotText(&'static str),
    /// Not there.
    Missing(&'static str),
    /// Longer than so many characters.
    TooLong(&'static str, usize),
    /// Control characters.
    Control(&'static str),
    /// Not `YYYY-MM-DD`.
    NoDate,
    /// Of that form, but not in the calendar.
    NoSuchDay,
    /// Not `HH:MM`.
    NoTime,
    /// No such service.
    NoSuchService,
    /// A name without a letter.
    NoName,
    /// No reference looks like this.
    NoReference,
}

impl Fault {
    /// The argument it is about.
    pub(super) fn argument(self) -> Option<&'static str> {
        match self {
            Fault::NotAnObject => None,
            Fault::NotText(name) | Fault::Missing(name) | Fault::Control(name) => Some(name),
            Fault::TooLong(name, _) => Some(name),
            Fault::NoDate | Fault::NoSuchDay => Some("date"),
            Fault::NoTime => Some("time"),
            Fault::NoSuchService => Some("service"),
            Fault::NoName => Some("name"),
            Fault::NoReference => Some("reference"),
        }
    }

    /// What to tell the caller, or to do better.
    pub(super) fn say(self, practice: &Practice) -> String {
        match self {
            Fault::NotAnObject => "The arguments must be an object.".to_owned(),
            Fault::NotText(name) => format!("The {name} must be given as text in quotes."),
            Fault::Missing("name") => "Please ask for the caller's name.".to_owned(),
            Fault::Missing(name) => format!("The {name} is missing: please ask the caller for it."),
            Fault::TooLong(name, most) => {
                format!("The {name} is too long: please keep it below {most} characters.")
            }
            Fault::Control(name) => {
                format!(
                    "The {name} holds characters that cannot be written down: please ask again."
                )
            }
            Fault::NoDate => "The date must be given as YYYY-MM-DD.".to_owned(),
            Fault::NoSuchDay => {
                "There is no such day in the calendar: please ask for another date.".to_owned()
            }
            Fault::NoTime => "The time must be given as HH:MM, from 00:00 to 23:59.".to_owned(),
            Fault::NoSuchService => {
                let names: Vec<&str> = practice.services.iter().map(|one| &*one.name).collect();
                format!("There is no such service. There are: {}.", names.join(", "))
            }
            Fault::NoName => "That is no name: please ask for the caller's name.".to_owned(),
            Fault::NoReference => format!(
                "A reference has {REFERENCE_CHARS} letters and digits: please ask for it again."
            ),
        }
    }
}

/// Arguments of one tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a>(&'a Value);

impl<'a> Arguments<'a> {
    /// Those in `value`; none at all may be left out.
    pub(super) fn new(value: &'a Value) -> Result<Arguments<'a>, Fault> {
        match value {
            Value::Object(_) | Value::Null => Ok(Arguments(value)),
            _ => Err(Fault::NotAnObject),
        }
    }

    /// A line of text, without space around it; `None` where it is empty or not there.
    fn line(self, name: &'static str, most: usize) -> Result<Option<String>, Fault> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err(Fault::NotText(name)),
        };
        if text.len() > most * BYTES_PER_CHAR {
            return Err(Fault::TooLong(name, most));
        }
        let visible: String = text.chars().filter(|&c| !is_unseen(c)).collect();
        let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return Err(Fault::Control(name));
        }
        if line.chars().count() > most {
            return Err(Fault::TooLong(name, most));
        }
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    /// `date`.
    pub(super) fn date(self) -> Result<Option<Date>, Fault> {
        let Some(text) = self.line("date", WORD_MAX_CHARS)? else { return Ok(None) };
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(Fault::NoDate) };
        let number = |digits: &str, length| number(digits, length).ok_or(Fault::NoDate);
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let date = Date::new(year, month as i8, day as i8);
        date.map(Some).map_err(|_| Fault::NoSuchDay)
    }

    /// `time`; seconds are passed over.
    pub(super) fn time(self) -> Result<Option<Time>, Fault> {
        let Some(text) = self.line("time", WORD_MAX_CHARS)? else { return Ok(None) };
        let text = text.strip_suffix(":00").filter(|rest| rest.contains(':')).unwrap_or(&text);
        let (hours, minutes) = text.split_once(':').ok_or(Fault::NoTime)?;
        let hours = number(hours, 2).or(number(hours, 1)).ok_or(Fault::NoTime)?;
        let minutes = number(minutes, 2).ok_or(Fault::NoTime)?;
        Time::new(hours as i8, minutes as i8, 0, 0).map(Some).map_err(|_| Fault::NoTime)
    }

    /// `service`; may be left out where there is only one.
    pub(super) fn service(self, practice: &Practice) -> Result<&Service, Fault> {
        match (self.line("service", WORD_MAX_CHARS)?, &practice.services[..]) {
            (None, [only]) => Ok(only),
            (None, _) => Err(Fault::Missing("service")),
            (Some(name), services) => {
                let is_named = |one: &&Service| one.name.to_lowercase() == name.to_lowercase();
                services.iter().find(is_named).ok_or(Fault::NoSuchService)
            }
        }
    }

    /// `name`.
    pub(super) fn name(self) -> Result<Option<String>, Fault> {
        let name = self.line("name", NAME_MAX_CHARS)?;
        match name {
            Some(name) if !name.chars().any(char::is_alphabetic) => Err(Fault::NoName),
            name => Ok(name),
        }
    }

    /// `note`.
    pub(super) fn note(self) -> Result<Option<String>, Fault> {
        self.line("note", NOTE_MAX_CHARS)
    }

    /// `reference`, however it was spelt out.
    pub(super) fn reference(self) -> Result<Option<String>, Fault> {
        let Some(text) = self.line("reference", WORD_MAX_CHARS)? else { return Ok(None) };
        let spelt: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | ',')).collect();
        let fits = spelt.len() == REFERENCE_CHARS
            && spelt.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Some(spelt.to_ascii_uppercase())).ok_or(Fault::NoReference)
    }
}

/// Exactly `length` digits.
fn number(digits: &str, length: usize) -> Option<i16> {
    let plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Characters that change how others are shown, and show nothing themselves: directions, joiners,
/// marks of order (Unicode's Bidi_Control and its zero-width relatives).
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn date(text: &str) -> Result<Option<Date>, Fault> {
        Arguments::new(&json!({ "date": text })).unwrap().date()
    }

    fn name(text: &str) -> Result<Option<String>, Fault> {
        Arguments::new(&json!({ "name": text })).unwrap().name()
    }

    #[test]
    fn dates_and_times_are_read_and_impossible_ones_are_told_apart() {
        assert_eq!(date("2027-02-28"), Ok(Some(Date::constant(2027, 2, 28))));
        assert_eq!(date("2027-02-30"), Err(Fault::NoSuchDay));
        assert_eq!(date("2027-13-01"), Err(Fault::NoSuchDay));
        for text in ["tomorrow", "27-02-03", "2027-2-3", "2027-02-03T10:00", "+027-02-03", "-"] {
            assert_eq!(date(text), Err(Fault::NoDate), "{text}");
        }
        let time = |text: &str| Arguments(&json!({ "time": text })).time();
        assert_eq!(time("09:30"), Ok(Some(Time::constant(9, 30, 0, 0))));
        assert_eq!(time("9:30"), time("09:30:00"));
        assert_eq!(time("10:00"), Ok(Some(Time::constant(10, 0, 0, 0))));
        for text in ["24:00", "9", "09:60", "9am", "09:3", "-1:00", "09:30:30"] {
            assert_eq!(time(text), Err(Fault::NoTime), "{text}");
        }
    }

    #[test]
    fn hostile_names_are_cleaned_refused_or_taken_for_what_they_are() {
        let sql = "Robert'); DROP TABLE bookings;--";
        assert_eq!(name(sql), Ok(Some(sql.to_owned())));
        assert_eq!(name("  Ana\u{202E}\u{200F} \n Li  "), Ok(Some("Ana Li".to_owned())));
        assert_eq!(name("a\u{0}b"), Err(Fault::Control("name")));
        assert_eq!(name("a\u{1b}[31m"), Err(Fault::Control("name")));
        assert_eq!(name("12 34"), Err(Fault::NoName));
        assert_eq!(name("\u{200B}"), Ok(None));
        assert_eq!(name(&"x".repeat(81)), Err(Fault::TooLong("name", 80)));
        assert_eq!(name(&"x".repeat(1 << 20)), Err(Fault::TooLong("name", 80)));
        assert_eq!(name(&"é".repeat(80)), Ok(Some("é".repeat(80))));
    }

    #[test]
    fn a_reference_is_read_however_it_was_spelt_out() {
        let reference = |text: &str| Arguments(&json!({ "reference": text })).reference();
        assert_eq!(reference("k 7-x, 4.m"), Ok(Some("K7X4M".to_owned())));
        for text in ["K7X4", "K7X4MM", "K7X4é", "K7X4'"] {
            assert_eq!(reference(text), Err(Fault::NoReference), "{text}");
        }
    }

    #[test]
    fn arguments_of_another_type_are_named() {
        let of = json!({"date": 5, "time": [], "name": {}, "note": true, "reference": 1.5});
        let of = Arguments::new(&of).unwrap();
        assert_eq!(of.date(), Err(Fault::NotText("date")));
        assert_eq!(of.time(), Err(Fault::NotText("time")));
        assert_eq!(of.name(), Err(Fault::NotText("name")));
        assert_eq!(of.note(), Err(Fault::NotText("note")));
        assert_eq!(of.reference(), Err(Fault::NotText("reference")));
        assert_eq!(Arguments::new(&json!("x")).unwrap_err(), Fault::NotAnObject);
        assert_eq!(Arguments::new(&Value::Null).unwrap().date(), Ok(None));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic_or_leaves_control_characters(text in any::<String>()) {
            let value = json!({"date": text, "time": text, "name": text, "reference": text});
            let of = Arguments(&value);
            let _ = (of.date(), of.time(), of.reference());
            if let Ok(Some(name)) = of.name() {
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }
}
