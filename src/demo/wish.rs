//! What a caller wants, as far as a key or a few words tell.
//!
//! In:       the text of one message.
//! Out:      a [`Wish`].
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
pub(super) enum Wish {
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
const WORDS: [(&str, Wish); 24] = [
    ("cancel", Wish::Cancel),
    ("absag", Wish::Cancel),
    ("abzusag", Wish::Cancel),
    ("storn", Wish::Cancel),
    ("hang", Wish::HangUp),
    ("bye", Wish::HangUp),
    ("goodbye", Wish::HangUp),
    ("auflegen", Wish::HangUp),
    ("aufzulegen", Wish::HangUp),
    ("tschüs", Wish::HangUp),
    ("tschues", Wish::HangUp),
    ("wiederhören", Wish::HangUp),
    ("beende", Wish::HangUp),
    ("transfer", Wish::Transfer),
    ("person", Wish::Transfer),
    ("human", Wish::Transfer),
    ("mensch", Wish::Transfer),
    ("verbind", Wish::Transfer),
    ("weiterleit", Wish::Transfer),
    ("book", Wish::Book),
    ("appointment", Wish::Book),
    ("termin", Wish::Book),
    ("buch", Wish::Book),
    ("reservier", Wish::Book),
];

impl Wish {
    /// What `text` asks for, if anything.
    pub(super) fn of(text: &str) -> Option<Wish> {
        Wish::of_key(text).or_else(|| Wish::of_words(text))
    }

    /// What a key asks for: the first of a text that is all keys, or that tells of pressed keys.
    pub(super) fn of_key(text: &str) -> Option<Wish> {
        if !Wish::is_about_keys(text) {
            return None;
        }
        // What was pressed stands behind the colon, where there is one.
        let told = text.rsplit_once(':').map_or(text, |(_, told)| told);
        match told.chars().find(is_key)? {
            '1' => Some(Wish::Book),
            '2' => Some(Wish::Cancel),
            '3' | '0' => Some(Wish::Transfer),
            '9' => Some(Wish::HangUp),
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

    fn of_words(text: &str) -> Option<Wish> {
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split(|sign: char| !sign.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        if words.len() > WORDS_MAX {
            return None;
        }
        let told = WORDS.iter().find(|(start, _)| words.iter().any(|word| word.starts_with(start)));
        told.map(|&(_, wish)| wish)
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
            ("1", Some(Wish::Book)),
            ("2", Some(Wish::Cancel)),
            ("3", Some(Wish::Transfer)),
            ("9", Some(Wish::HangUp)),
            ("0", Some(Wish::Transfer)),
            ("4", None),
            ("#", None),
        ];
        for (key, wish) in keys {
            for told in [
                key.to_owned(),
                format!("The caller pressed the keys: {key}"),
                format!("(The caller pressed the keys {key})"),
                format!("The caller pressed the key {key}."),
                format!("[DTMF] {key}#"),
                format!("Taste {key} gedrückt"),
            ] {
                assert_eq!(Wish::of(&told), wish, "{told}");
            }
        }
        assert_eq!(Wish::of("At 10:15, the caller pressed the keys: 2"), Some(Wish::Cancel));
    }

    #[test]
    fn a_few_words_of_two_languages_are_understood() {
        let told = [
            ("book", Wish::Book),
            ("I would like an appointment, please!", Wish::Book),
            ("Ich möchte einen Termin buchen", Wish::Book),
            ("Please cancel my appointment", Wish::Cancel),
            ("Termin absagen", Wish::Cancel),
            ("transfer", Wish::Transfer),
            ("Verbinden Sie mich bitte", Wish::Transfer),
            ("hang up", Wish::HangUp),
            ("TSCHÜSS", Wish::HangUp),
            ("Auf Wiederhören", Wish::HangUp),
        ];
        for (text, wish) in told {
            assert_eq!(Wish::of(text), Some(wish), "{text}");
        }
    }

    #[test]
    fn a_story_a_number_in_passing_and_nothing_are_no_wish() {
        let story = "You answer the telephone of a practice. Greet the caller and ask whether they \
            want to book or to cancel an appointment, or to talk to a person.";
        for text in [story, "hello there", "we are 2 people", "", ":", "the Facebook page"] {
            assert_eq!(Wish::of(text), None, "{text}");
        }
    }
}
