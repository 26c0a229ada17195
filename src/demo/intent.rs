//! What a caller wants, as far as a key or a few words tell.
//!
//! In:       the text of one message.
//! Out:      an [`Intent`].
//! Bounds:   [`WORDS_MAX`]: a longer text is an instruction to the agent, or a story.
//! Not here: what is done about it (`demo::errand`).
//!
//! | key | words |
//! |---|---|
//! | 1 | book, appointment, Termin, buchen |
//! | 2 | cancel, absagen, stornieren |
//! | 3, 0 | transfer, person, human, verbinden |
//! | 9 | hang up, bye, auflegen, Tschüss |

/// The longest text whose words are looked at.
const WORDS_MAX: usize = 14;

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// An appointment at the next free time.
    Book,
    /// The last appointment cancelled.
    Cancel,
    /// A person.
    Transfer,
    /// The end.
    HangUp,
}

/// The beginnings of words that tell, and what they tell; the first that fits counts.
const WORDS: [(&str, Intent); 24] = [
    ("cancel", Intent::Cancel),
    ("absag", Intent::Cancel),
    ("abzusag", Intent::Cancel),
    ("storn", Intent::Cancel),
    ("hang", Intent::HangUp),
    ("bye", Intent::HangUp),
    ("goodbye", Intent::HangUp),
    ("auflegen", Intent::HangUp),
    ("aufzulegen", Intent::HangUp),
    ("tschüs", Intent::HangUp),
    ("tschues", Intent::HangUp),
    ("wiederhören", Intent::HangUp),
    ("beende", Intent::HangUp),
    ("transfer", Intent::Transfer),
    ("person", Intent::Transfer),
    ("human", Intent::Transfer),
    ("mensch", Intent::Transfer),
    ("verbind", Intent::Transfer),
    ("weiterleit", Intent::Transfer),
    ("book", Intent::Book),
    ("appointment", Intent::Book),
    ("termin", Intent::Book),
    ("buch", Intent::Book),
    ("reservier", Intent::Book),
];

impl Intent {
    /// What `text` asks for, if anything.
    pub(super) fn of(text: &str) -> Option<Intent> {
        Intent::of_key(text).or_else(|| Intent::of_words(text))
    }

    /// What a key asks for: the first of a text that is all keys, or that tells of pressed keys.
    pub(super) fn of_key(text: &str) -> Option<Intent> {
        if !Intent::is_about_keys(text) {
            return None;
        }
        // What was pressed stands behind the colon, where there is one.
        let told = text.rsplit_once(':').map_or(text, |(_, told)| told);
        match told.chars().find(is_key)? {
            '1' => Some(Intent::Book),
            '2' => Some(Intent::Cancel),
            '3' | '0' => Some(Intent::Transfer),
            '9' => Some(Intent::HangUp),
            _ => None,
        }
    }

    /// Whether a text is all keys, or tells of pressed keys.
    pub(super) fn is_about_keys(text: &str) -> bool {
        let lower = text.to_lowercase();
        let telling = ["key", "pressed", "dtmf", "taste", "digit"];
        let all_keys = text.chars().all(|sign| is_key(&sign) || sign.is_whitespace());
        let tells = all_keys || telling.iter().any(|word| lower.contains(word));
        tells && text.contains(|sign| is_key(&sign))
    }

    fn of_words(text: &str) -> Option<Intent> {
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split(|sign: char| !sign.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        if words.len() > WORDS_MAX {
            return None;
        }
        let told = WORDS.iter().find(|(start, _)| words.iter().any(|word| word.starts_with(start)));
        told.map(|&(_, intent)| intent)
    }
}

fn is_key(sign: &char) -> bool {
    sign.is_ascii_digit() || matches!(sign, '*' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ask_for_what_the_greeting_says() {
        let keys = [
            ("1", Some(Intent::Book)),
            ("2", Some(Intent::Cancel)),
            ("3", Some(Intent::Transfer)),
            ("9", Some(Intent::HangUp)),
            ("0", Some(Intent::Transfer)),
            ("4", None),
            ("#", None),
        ];
        for (key, intent) in keys {
            for told in [
                key.to_owned(),
                format!("The caller pressed the keys: {key}"),
                format!("(The caller pressed the keys {key})"),
                format!("The caller pressed the key {key}."),
                format!("[DTMF] {key}#"),
                format!("Taste {key} gedrückt"),
            ] {
                assert_eq!(Intent::of(&told), intent, "{told}");
            }
        }
        assert_eq!(Intent::of("At 10:15, the caller pressed the keys: 2"), Some(Intent::Cancel));
    }

    #[test]
    fn a_few_words_of_two_languages_are_understood() {
        let told = [
            ("book", Intent::Book),
            ("I would like an appointment, please!", Intent::Book),
            ("Ich möchte einen Termin buchen", Intent::Book),
            ("Please cancel my appointment", Intent::Cancel),
            ("Termin absagen", Intent::Cancel),
            ("transfer", Intent::Transfer),
            ("Verbinden Sie mich bitte", Intent::Transfer),
            ("hang up", Intent::HangUp),
            ("TSCHÜSS", Intent::HangUp),
            ("Auf Wiederhören", Intent::HangUp),
        ];
        for (text, intent) in told {
            assert_eq!(Intent::of(text), Some(intent), "{text}");
        }
    }

    #[test]
    fn a_story_a_number_in_passing_and_nothing_are_no_wish() {
        let story = "You answer the telephone of a practice. Greet the caller and ask whether they \
            want to book or to cancel an appointment, or to talk to a person.";
        for text in [story, "hello there", "we are 2 people", "", ":", "the Facebook page"] {
            assert_eq!(Intent::of(text), None, "{text}");
        }
    }
}
