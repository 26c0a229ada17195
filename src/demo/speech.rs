//! What the demo agent can say: recorded sentences, and words that are put together.
//!
//! In:       a sentence's name; a day and time; a reference.
//! Out:      [`Sentence`]s: their words, and 8 kHz mu-law of the same.
//! Bounds:   the recordings there are: a time off the five minutes, or a sign that is neither a
//!           Latin letter nor a digit, is in the words and not in the sound.
//! Not here: when it is said (`demo::mouth`), why (`demo::errand`).
//!
//! `speech.ulaw` and `speech.txt` were made by `speech.sh` with espeak-ng, whose licence does not
//! extend to what it says.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::civil::DateTime;

/// Clips, one behind the other.
const AUDIO: &[u8] = include_bytes!("speech.ulaw");
/// A line a clip: its length, and what it says.
const INDEX: &str = include_str!("speech.txt");

pub(super) const GREETING: &str = "Hello, this is the Vocaris demo. Press 1 to book an \
    appointment, 2 to cancel it, 3 for a person, or 9 to hang up. Or say something, and I will \
    repeat it.";
pub(super) const BACK: &str = "You are back. What can I do for you?";
pub(super) const LOOKING_FOR_TIME: &str = "One moment, I am looking for a free time.";
pub(super) const LOOKING_FOR_BOOKING: &str = "I am looking for your appointment.";
pub(super) const CANCELLED: &str = "Your appointment is cancelled.";
pub(super) const NOTHING_BOOKED: &str = "There is no appointment to cancel.";
pub(super) const NO_FREE_TIME: &str = "I am sorry, there is no free time.";
pub(super) const TRANSFERRING: &str = "I am putting you through to a person.";
pub(super) const GOODBYE: &str = "Thank you for trying Vocaris. Goodbye!";
pub(super) const FAILED: &str = "I am sorry, that did not work.";
pub(super) const NO_TOOL: &str = "I am sorry, I have no tool for that.";
pub(super) const STILL_BUSY: &str = "One moment, please.";
const BOOKED: &str = "Booked.";
const REFERENCE: &str = "Your reference is";

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

static CLIPS: LazyLock<HashMap<&str, &[u8]>> = LazyLock::new(|| {
    let mut rest = AUDIO;
    let clip = |line: &'static str| {
        let (bytes, words) = line.split_once(' ')?;
        let clip = rest.split_off(..bytes.parse().ok()?)?;
        Some((words, clip))
    };
    INDEX.lines().filter_map(clip).collect()
});

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) text: String,
    /// 8 kHz mu-law.
    pub(super) code: Vec<u8>,
}

impl Sentence {
    /// A sentence there is a recording of.
    pub(super) fn recorded(text: &str) -> Sentence {
        Sentence { text: text.to_owned(), code: sound([text]) }
    }

    /// A recorded sentence with a reason that is only in the words.
    pub(super) fn with_reason(text: &str, reason: &str) -> Sentence {
        Sentence { text: format!("{text} ({reason})"), code: sound([text]) }
    }

    /// That something is booked, when it is, and under what reference.
    pub(super) fn booked(start: Option<DateTime>, reference: Option<&str>) -> Sentence {
        let (mut parts, mut code) = (Vec::new(), sound([BOOKED]));
        if let Some(start) = start {
            let (text, words) = day_and_time(start);
            parts.push(text);
            code.extend(sound(words.iter().map(String::as_str)));
        }
        if let Some(reference) = reference {
            parts.push(format!("reference {reference}"));
            let signs = reference.chars().map(|sign| sign.to_ascii_uppercase().to_string());
            let signs: Vec<String> = signs.collect();
            code.extend(sound([REFERENCE]));
            code.extend(sound(signs.iter().map(String::as_str)));
        }
        let text = match parts.is_empty() {
            true => BOOKED.to_owned(),
            false => format!("Booked: {}.", parts.join(", ")),
        };
        Sentence { text, code }
    }
}

/// `Friday 27 November, 10:15`, and the clips that say it.
fn day_and_time(start: DateTime) -> (String, Vec<String>) {
    let weekday = WEEKDAYS[start.date().weekday().to_monday_zero_offset() as usize];
    let month = MONTHS[start.month() as usize - 1];
    let (day, hour, minute) = (start.day(), start.hour(), start.minute());
    let text = format!("{weekday} {day} {month}, {hour:02}:{minute:02}");
    let ordinal = match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    let part = if hour < 12 { "in the morning" } else { "in the afternoon" };
    let mut words = vec![
        weekday.to_owned(),
        format!("the {day}{ordinal}"),
        format!("of {month}"),
        format!("at {}", (hour + 11) % 12 + 1),
    ];
    words.extend((minute != 0).then(|| format!(":{minute:02}")));
    words.push(part.to_owned());
    (text, words)
}

/// The sound of clips, one behind the other. Of what there is no clip of, nothing.
fn sound<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<u8> {
    let clips = words.into_iter().filter_map(|word| CLIPS.get(word).copied());
    clips.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::datetime;

    #[test]
    fn every_sentence_and_every_word_has_its_clip_and_the_file_holds_nothing_else() {
        let sentences = [
            GREETING,
            LOOKING_FOR_TIME,
            LOOKING_FOR_BOOKING,
            CANCELLED,
            NOTHING_BOOKED,
            NO_FREE_TIME,
            TRANSFERRING,
            GOODBYE,
            FAILED,
            NO_TOOL,
            STILL_BUSY,
            BACK,
            BOOKED,
            REFERENCE,
        ];
        assert!(sentences.iter().all(|sentence| CLIPS.contains_key(sentence)));
        let mut start = datetime(2028, 1, 1, 0, 5, 0, 0);
        for day in 0..366 {
            start = start.date().at((day % 24) as i8, (day % 12 * 5) as i8, 0, 0);
            let (_, words) = day_and_time(start);
            assert!(words.iter().all(|word| CLIPS.contains_key(word.as_str())), "{words:?}");
            start = start.tomorrow().unwrap();
        }
        for sign in ('0'..='9').chain('A'..='Z') {
            assert!(CLIPS.contains_key(sign.to_string().as_str()), "{sign}");
        }
        assert_eq!(CLIPS.len(), INDEX.lines().count());
        assert_eq!(CLIPS.values().map(|clip| clip.len()).sum::<usize>(), AUDIO.len());
    }

    #[test]
    fn a_booking_is_said_with_its_day_its_time_and_its_reference() {
        let start = Some(datetime(2026, 11, 27, 10, 15, 0, 0));
        let sentence = Sentence::booked(start, Some("k7QF"));
        assert_eq!(sentence.text, "Booked: Friday 27 November, 10:15, reference k7QF.");
        let words = ["Booked.", "Friday", "the 27th", "of November", "at 10", ":15"];
        let rest = ["in the morning", "Your reference is", "K", "7", "Q", "F"];
        assert_eq!(sentence.code, sound(words.into_iter().chain(rest)));
    }

    #[test]
    fn the_hours_are_those_of_a_clock_with_hands() {
        for (hour, said) in [(0, "at 12"), (1, "at 1"), (11, "at 11"), (12, "at 12"), (23, "at 11")]
        {
            assert_eq!(day_and_time(datetime(2026, 3, 1, hour, 0, 0, 0)).1[3], said);
        }
    }

    #[test]
    fn what_there_is_no_clip_of_is_left_to_the_words() {
        let sentence = Sentence::booked(None, Some("ä-1"));
        assert_eq!(sentence.text, "Booked: reference ä-1.");
        assert_eq!(sentence.code, sound(["Booked.", "Your reference is", "1"]));
        assert_eq!(Sentence::booked(None, None), Sentence::recorded(BOOKED));
    }
}
