//! What a configuration is made of: every key there is, what was written for it, and where.
//!
//! In:       the keys that were asked for, and what was found.
//! Out:      [`Account`]: for `vocaris check` and for the log of a reload. A secret's value is not
//!           in it; whether it changed is told by a hash that is never shown.
//! Bounds:   a value is shown up to [`SHOWN_MAX_CHARS`].
//! Not here: the values themselves ([`super::Config`]).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::errors::Place;
use super::example;

/// Characters of a value that are shown; the rest is cut off.
pub const SHOWN_MAX_CHARS: usize = 100;
/// What is shown of a secret, whatever its length.
pub const MASK: &str = "***";

/// One value that was written, and counts.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `section.key`; of a key in a list's tables there may be several.
    pub key: String,
    /// Where.
    pub place: Place,
    /// As it is written, on one line; [`MASK`] for a secret.
    pub value: String,
    /// Tells whether another value is the same.
    print: u64,
}

impl Setting {
    /// `text`: as it was written. `is_secret`: it must never be shown.
    pub(super) fn new(key: String, place: Place, text: &str, is_secret: bool) -> Setting {
        let mut hasher = DefaultHasher::new();
        unquoted(text).hash(&mut hasher);
        let value = if is_secret { MASK.to_owned() } else { one_line(text) };
        Setting { key, place, value, print: hasher.finish() }
    }

    fn is_default(&self) -> bool {
        let default = example::default_of(&self.key);
        default.is_some_and(|default| unquoted(default) == unquoted(&self.value))
    }
}

/// Every key, and every value that was written.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Every key that was asked for: where every kind of table is written, every key there is.
    pub keys: BTreeSet<String>,
    /// The file's in the order of their lines, then the variables'.
    pub settings: Vec<Setting>,
}

impl Account {
    /// What was written for `key` last.
    pub fn of(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().rfind(|setting| setting.key == key)
    }

    /// The keys for which something else is written here than in `other`; the default, written out,
    /// is no different from nothing.
    pub fn changed(&self, other: &Account) -> Vec<String> {
        let (ours, theirs) = (self.prints(), other.prints());
        let keys: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
        let changed = keys.into_iter().filter(|key| ours.get(key) != theirs.get(key));
        changed.map(str::to_owned).collect()
    }

    fn prints(&self) -> BTreeMap<&str, Vec<u64>> {
        let mut prints = BTreeMap::<&str, Vec<u64>>::new();
        for setting in self.settings.iter().filter(|setting| !setting.is_default()) {
            prints.entry(&setting.key).or_default().push(setting.print);
        }
        prints
    }
}

/// A text in the file has quotes, one in a variable has none.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// `text` without line breaks, cut where it is long.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
    match line.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}
