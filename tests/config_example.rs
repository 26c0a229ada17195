//! The commented example of a configuration, held against the code: it is valid, names every key,
//! and every default in it is the real one. And what the guides show can be copied from them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use vocaris::config::example::{self, EXAMPLE, Entry, Line};
use vocaris::config::{Config, MASK, Reading, SourceFile};

/// Keys that do not go with some others: an alternative says which of its keys are not in force,
/// and which have another value than the example's.
struct Alternative {
    without: &'static [&'static str],
    instead: &'static [(&'static str, &'static str)],
}

/// Each key is in force in one of them at least.
const ALTERNATIVES: [Alternative; 3] = [
    Alternative {
        without: &[
            "gemini.project",
            "gemini.location",
            "gemini.token_file",
            "gemini.token_command",
            "gemini.thinking_level",
            "agents.thinking_level",
            "store.password",
            "store.password_file",
            "store.ca_file",
        ],
        instead: &[],
    },
    Alternative {
        without: &["gemini.token_file", "gemini.url", "gemini.api_version", "store.password"],
        instead: &[
            ("gemini.flavor", "\"vertex\""),
            ("store.url", "\"postgres://vocaris@db.example.org/vocaris\""),
            ("gemini.model", "\"models/gemini-4.0-extended-thinking\""),
            ("agents.model", "\"models/gemini-4.0-extended-thinking\""),
        ],
    },
    Alternative {
        without: &[
            "gemini.token_command",
            "gemini.thinking_level",
            "agents.thinking_level",
            "store.password_file",
        ],
        instead: &[
            ("gemini.flavor", "\"vertex\""),
            ("store.url", "\"postgres://vocaris@db.example.org/vocaris\""),
        ],
    },
];

fn key_of(entry: &Entry<'_>) -> String {
    format!("{}.{}", entry.table, entry.name)
}

impl Alternative {
    /// The file with everything in force that belongs to it, but for `left_out`.
    fn text(&self, left_out: Option<&str>) -> String {
        example::with(|entry| {
            let key = key_of(&entry);
            if self.without.contains(&key.as_str()) || left_out == Some(key.as_str()) {
                return None;
            }
            let instead = self.instead.iter().find(|(name, _)| *name == key);
            Some(instead.map_or(entry.value, |(_, value)| *value).to_owned())
        })
    }
}

fn read(text: String) -> Reading {
    let file = SourceFile { path: PathBuf::from("vocaris.example.toml"), text };
    Reading::of(Some(&file), []).unwrap_or_else(|errors| panic!("{errors}\n{}", file.text))
}

fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn the_example_as_it_stands_is_valid_and_sets_nothing() {
    let reading = read(EXAMPLE.to_owned());
    assert!(reading.account.settings.is_empty(), "{:?}", reading.account.settings);
    assert_eq!(shown(&reading.config), shown(&Config::read(None, []).unwrap()));
}

/// The blocks of TOML in a guide, each with the number of the line it begins behind.
fn blocks(guide: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in guide.lines().map(str::trim_start).enumerate() {
        match &mut open {
            None if line == "```toml" => open = Some((at + 1, String::new())),
            None => {}
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, text)) => *text += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

#[test]
fn every_configuration_that_the_guides_show_is_one() {
    let guides = [
        ("README.md", include_str!("../README.md")),
        ("deploy/README.md", include_str!("../deploy/README.md")),
    ];
    let mut wrong = Vec::new();
    for (name, guide) in guides {
        let blocks = blocks(guide);
        assert!(!blocks.is_empty(), "{name} shows none");
        for (at, text) in blocks {
            let path = PathBuf::from(format!("{name}, behind line {at}"));
            // As the guides have it: with a key for the model and a token of the carrier. Files
            // that settings name are not opened here.
            let secrets = [("GEMINI_API_KEY", "a-key"), ("TWILIO_AUTH_TOKEN", "a-token")];
            let environment = secrets.map(|(name, value)| (name.into(), value.into()));
            let read = Reading::of(Some(&SourceFile { path, text }), environment);
            wrong.extend(read.err().map(|errors| errors.to_string()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_example_names_every_key_there_is_and_no_other() {
    let mut there_are = BTreeSet::new();
    for alternative in &ALTERNATIVES {
        there_are.extend(read(alternative.text(None)).account.keys);
    }
    let named: BTreeSet<String> = example::entries().map(|entry| key_of(&entry)).collect();
    let missing: Vec<_> = there_are.difference(&named).collect();
    assert!(missing.is_empty(), "deploy/vocaris.example.toml lacks {missing:?}");
    let too_many: Vec<_> = named.difference(&there_are).collect();
    assert!(too_many.is_empty(), "deploy/vocaris.example.toml names {too_many:?}");
}

#[test]
fn every_default_of_the_example_is_the_real_one_and_nothing_else_claims_to_be() {
    let mut proven = BTreeSet::new();
    for (at, alternative) in ALTERNATIVES.iter().enumerate() {
        let whole = shown(&read(alternative.text(None)).config);
        for entry in example::entries().filter(|entry| entry.is_default) {
            let key = key_of(&entry);
            let is_changed = alternative.instead.iter().any(|(name, _)| *name == key);
            if alternative.without.contains(&key.as_str()) || is_changed {
                continue;
            }
            let without = shown(&read(alternative.text(Some(&key))).config);
            assert!(without == whole, "{key} = {} is not the default ({at})", entry.value);
            proven.insert(key);
        }
    }
    for entry in example::entries() {
        let key = key_of(&entry);
        assert!(!entry.is_default || proven.contains(&key), "{key} was never in force");
    }
}

#[test]
fn an_example_without_a_default_would_change_something() {
    let alternative = &ALTERNATIVES[0];
    let whole = shown(&read(alternative.text(None)).config);
    for entry in example::entries().filter(|entry| !entry.is_default) {
        let (key, text) = (key_of(&entry), alternative.text(Some(&key_of(&entry))));
        // What depends may come to the same here.
        if alternative.without.contains(&key.as_str()) || is_dependent(&entry) {
            continue;
        }
        let file = SourceFile { path: PathBuf::from("vocaris.example.toml"), text };
        let without = Reading::of(Some(&file), []);
        // Left out, it is missed, or makes a difference; a secret's difference is not shown.
        let same = without.is_ok_and(|reading| shown(&reading.config) == whole);
        assert!(!same, "{key} = {} is the default after all", entry.value);
    }
}

fn is_dependent(entry: &Entry<'_>) -> bool {
    let line = format!("#{} = {}", entry.name, entry.value);
    example::lines(EXAMPLE)
        .any(|(text, what)| what == Line::Key(*entry) && text[line.len()..].contains("# depends"))
}

#[test]
fn the_example_is_legible() {
    for (at, (line, what)) in example::lines(EXAMPLE).enumerate() {
        let is_sentence = line.starts_with("#fallback");
        assert!(line.chars().count() <= 100 || is_sentence, "line {} is long", at + 1);
        if let Line::Key(entry) = what {
            assert!(!entry.table.is_empty(), "{line} stands in no table");
        }
    }
}

#[test]
fn no_secret_is_shown_however_wrong_it_is() {
    let whole = read(ALTERNATIVES[2].text(None)).account;
    let masked = whole.settings.iter().filter(|setting| setting.value == MASK);
    let mut secrets: BTreeSet<String> = masked.map(|setting| setting.key.clone()).collect();
    secrets.insert("gemini.token_command".to_owned());
    // Masked for what may stand in a URL; what is none is shown.
    assert!(secrets.remove("store.url") && secrets.contains("store.password"));
    for known in ["gemini.api_key", "twilio.auth_token", "twilio.shared_keys.secret", "web.tokens"]
    {
        assert!(secrets.contains(known), "{known} is shown");
    }
    for known in ["admin.token", "appointments.calendar_token", "tools.secret"] {
        assert!(secrets.contains(known), "{known} is shown");
    }
    let wrong = ["\"se kret\"", "77377", "[\"se kret\"]", "[[\"se kret\"]]", "{ a = \"se kret\" }"];
    for (key, wrong) in secrets.iter().flat_map(|key| wrong.map(|wrong| (key, wrong))) {
        let text = example::with(|entry| {
            let is_it = key_of(&entry) == *key;
            let belongs = !ALTERNATIVES[0].without.contains(&key_of(&entry).as_str());
            (is_it || belongs).then(|| if is_it { wrong } else { entry.value }.to_owned())
        });
        let file = SourceFile { path: PathBuf::from("vocaris.example.toml"), text };
        // Some of them are right: a program's name may have a space.
        let Err(errors) = Reading::of(Some(&file), []) else { continue };
        let told = errors.to_string();
        assert!(!told.contains("kret") && !told.contains("77377"), "{key} = {wrong}: {told}");
        assert!(!format!("{errors:?}").contains("kret"), "{key} = {wrong}");
    }
    for (variable, wrong) in [
        ("GEMINI_API_KEY", "se kret"),
        ("TWILIO_AUTH_TOKEN", "ok,se kret"),
        ("VOCARIS_WEB_TOKENS", "se kret,short"),
        ("VOCARIS_ADMIN_TOKEN", "sekret"),
        ("VOCARIS_GEMINI_TOKEN_COMMAND", "sekret sekret"),
        ("VOCARIS_APPOINTMENTS_CALENDAR_TOKEN", "sekret"),
    ] {
        let errors = Reading::of(None, [(variable.into(), wrong.into())]).unwrap_err().to_string();
        assert!(errors.contains(variable) && !errors.contains("kret"), "{errors}");
    }
}
