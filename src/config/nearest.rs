//! Which known word a wrong one was meant to be.
//!
//! In:       a word, the words there are.
//! Out:      the nearest by edits (Levenshtein's distance), if it is near.
//! Bounds:   words of at most [`WORD_MAX_BYTES`]; of longer ones nothing is said.

/// The longest word that is compared.
const WORD_MAX_BYTES: usize = 64;

/// The one of `words` that is at most a third of its letters away from `wrong`.
pub(super) fn nearest<'w>(
    wrong: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    if wrong.len() > WORD_MAX_BYTES {
        return None;
    }
    let near = words.into_iter().map(|word| (distance(wrong, word), word));
    let near = near.filter(|&(edits, word)| edits > 0 && edits <= word.len().div_ceil(3).min(4));
    near.min().map(|(_, word)| word)
}

/// Letters to put in, take out or exchange until `a` is `b`; a letter's case costs nothing but the
/// whole word's one.
fn distance(a: &str, b: &str) -> usize {
    if a != b && a.eq_ignore_ascii_case(b) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, y) in b.bytes().enumerate() {
            let exchanged = diagonal + usize::from(x != y);
            diagonal = row[place + 1];
            row[place + 1] = exchanged.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word_and_another_word_finds_none() {
        let words = ["listen", "public_url", "workers", "pin", "drain_timeout"];
        for (wrong, meant) in [
            ("lisen", Some("listen")),
            ("worker", Some("workers")),
            ("publicurl", Some("public_url")),
            ("Listen", Some("listen")),
            ("drain_timeot", Some("drain_timeout")),
            ("pinn", Some("pin")),
            ("colour", None),
            ("", None),
            ("listen", None),
        ] {
            assert_eq!(nearest(wrong, words), meant, "{wrong}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), words), None);
    }

    #[test]
    fn a_distance_is_counted_in_single_letters() {
        for (a, b, edits) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2), ("A", "a", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
