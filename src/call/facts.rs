//! What is known of a call besides its audio: who calls whom, and what the carrier was told to
//! pass on.
//!
//! In:       texts of strangers.
//! Out:      [`Facts`]: short, without anything that does not print.
//! Bounds:   [`FACT_BYTES_MAX`], [`FACT_NAME_BYTES_MAX`], [`CUSTOM_FACTS_MAX`].
//! Not here: how the model is told (`dial`).

use crate::limits::{CUSTOM_FACTS_MAX, FACT_BYTES_MAX, FACT_NAME_BYTES_MAX};

/// Parameters of a stream that are ours, or told apart from the rest.
const OURS: [&str; 5] = ["source", "token", "from", "to", AGAIN];
/// The parameter of a stream that may go on with a conversation of another process.
pub const AGAIN: &str = "vocaris_again";
/// What stands before a generation in its value.
const PAST: &str = "past-";

/// What our answer said of a conversation that the journal may know of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// Nothing.
    #[default]
    No,
    /// The stream may go on with it, if nobody else does.
    Perhaps,
    /// The stream of this generation is over: the carrier has said so.
    Past(u32),
}

impl Again {
    /// Of the parameter's value.
    pub fn of(value: Option<&str>) -> Again {
        let Some(value) = value else { return Again::No };
        let generation = value.strip_prefix(PAST).and_then(|number| number.parse().ok());
        generation.map_or(Again::Perhaps, Again::Past)
    }

    /// The parameter's value, where it is to be given.
    pub fn value(self) -> Option<String> {
        match self {
            Again::No => None,
            Again::Perhaps => Some("1".to_owned()),
            Again::Past(generation) => Some(format!("{PAST}{generation}")),
        }
    }
}

/// What carriers send instead of a number: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE
/// on a telephone's keys. The third is RESTRICTED as others are seen to write it.
const WITHHELD: [&str; 6] =
    ["+266696687", "+7378742833", "+7378742883", "+2562533", "+8656696", "+86282452253"];

/// What carriers told, where it is a number that tells callers apart: E.164, and not one of those
/// that stand for a withheld one.
pub fn telling_number(told: &str) -> Option<&str> {
    let digits = told.strip_prefix('+')?;
    let is_number =
        (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !WITHHELD.contains(&told)).then_some(told)
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who calls; any text, not always a number.
    pub from: Option<String>,
    /// Who is called.
    pub to: Option<String>,
    /// Names and values of the carrier's other parameters, in their order.
    pub custom: Vec<(String, String)>,
}

impl Facts {
    /// The facts in these texts. Of a name that comes twice the last value counts; parameters over
    /// [`CUSTOM_FACTS_MAX`] are left out, texts cut at [`FACT_BYTES_MAX`].
    pub fn new<'t>(
        from: Option<&str>,
        to: Option<&str>,
        custom: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Facts {
        let value = |text: &str| clean(text, FACT_BYTES_MAX);
        let mut facts =
            Facts { from: from.and_then(value), to: to.and_then(value), custom: Vec::new() };
        for (name, text) in custom {
            let (Some(name), Some(text)) = (clean(name, FACT_NAME_BYTES_MAX), value(text)) else {
                continue;
            };
            if OURS.contains(&name.as_str()) {
                continue;
            }
            match facts.custom.iter().position(|(known, _)| *known == name) {
                Some(at) => facts.custom[at].1 = text,
                None if facts.custom.len() < CUSTOM_FACTS_MAX => facts.custom.push((name, text)),
                None => {}
            }
        }
        facts
    }
}

/// `text` on one line, without what does not print, at most `bytes_max` long; `None` if nothing is
/// left.
fn clean(text: &str, bytes_max: usize) -> Option<String> {
    let mut clean = String::new();
    for letter in text.trim().chars().filter(|&letter| prints(letter)) {
        if clean.len() + letter.len_utf8() > bytes_max {
            break;
        }
        clean.push(letter);
    }
    (!clean.is_empty()).then_some(clean)
}

/// Neither a control character nor one that separates lines, turns the direction of writing, is
/// invisible, or tags (Unicode categories Cc, Zl, Zp and the Cf that matter here).
fn prints(letter: char) -> bool {
    let hidden = matches!(
        letter,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    );
    !letter.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_taken_out_of_a_strangers_text() {
        let hostile = "+1555\r\n\u{0}\u{1b}[2J\u{2028}\u{202E}\u{200B}\u{E0041}\u{85}0100";
        let facts = Facts::new(Some(hostile), Some(" \t\n"), [("na\u{0}me", "a\nb")]);
        assert_eq!(facts.from.as_deref(), Some("+1555[2J0100"));
        assert_eq!(facts.to, None, "nothing is left of it");
        assert_eq!(facts.custom, [("name".to_owned(), "ab".to_owned())]);
        for code in 0..=0x10_FFFF {
            let Some(letter) = char::from_u32(code) else { continue };
            let kept = clean(&letter.to_string(), FACT_BYTES_MAX);
            assert!(!letter.is_control() || kept.is_none(), "U+{code:04X}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters_and_many_parameters_left_out() {
        let long = "ä".repeat(FACT_BYTES_MAX);
        let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        let custom = names.iter().map(|name| (name.as_str(), long.as_str()));
        let facts = Facts::new(Some(&long), None, custom);
        assert_eq!(facts.from.unwrap().len(), FACT_BYTES_MAX / 2 * 2);
        assert_eq!(facts.custom.len(), CUSTOM_FACTS_MAX);
        assert_eq!(facts.custom[1].0, "p1");
        assert!(facts.custom.iter().all(|(_, text)| text.len() <= FACT_BYTES_MAX));
        let name = "n".repeat(FACT_BYTES_MAX);
        assert_eq!(Facts::new(None, None, [(&*name, "v")]).custom[0].0.len(), FACT_NAME_BYTES_MAX);
    }

    #[test]
    fn a_number_that_stands_for_a_withheld_one_tells_nobody_apart() {
        for told in [
            "+266696687",
            "+7378742833",
            "+7378742883",
            "+2562533",
            "+8656696",
            "+86282452253",
            "anonymous",
            "Restricted",
            "",
        ] {
            assert_eq!(telling_number(told), None, "{told}");
        }
        assert_eq!(telling_number("+18005550199"), Some("+18005550199"));
    }

    #[test]
    fn our_own_parameters_are_no_facts_and_of_a_name_the_last_value_counts() {
        let told = [("source", "s"), ("token", "t"), ("a", "1"), ("from", "x"), ("to", "y")];
        let facts =
            Facts::new(Some("x"), Some("y"), told.into_iter().chain([("b", ""), ("a", "2")]));
        assert_eq!(facts.custom, [("a".to_owned(), "2".to_owned())]);
    }
}
