//! The file and the environment, asked key by key.
//!
//! In:       the text of a TOML file, environment variables.
//! Out:      for each key that is asked for, the strongest of the values written for it: the
//!           variable `VOCARIS_<SECTION>_<KEY>`, else the variable of a usual name, else the file.
//!           What nobody asked for is unknown, and an error.
//! Not here: which keys there are (`config`), what a value must look like (`config::values`).
//!
//! An empty variable counts as one that is not set: that is how a shell or a compose file passes
//! on what it was not given.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::account::{Account, Setting};
use super::errors::{ConfigError, ConfigErrors, Place, quoted};
use super::nearest::nearest;

/// The prefix of our environment variables.
const PREFIX: &str = "VOCARIS_";
/// Names the configuration file; read before everything else.
pub(super) const CONFIG_VARIABLE: &str = "VOCARIS_CONFIG";

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// A variable that may set it besides `VOCARIS_<SECTION>_<KEY>`.
    pub usual_variable: Option<&'static str>,
    /// Whether its value must never be shown.
    pub secret: bool,
}

impl Key {
    /// A key that may be shown.
    pub(super) const fn open(section: &'static str, name: &'static str) -> Key {
        Key { section, name, usual_variable: None, secret: false }
    }

    /// A key that must not be shown, with the variable that usually holds it.
    pub(super) const fn secret(
        section: &'static str,
        name: &'static str,
        usual_variable: &'static str,
    ) -> Key {
        Key { section, name, usual_variable: Some(usual_variable), secret: true }
    }

    /// A key that must not be shown, without another variable.
    pub(super) const fn guarded(section: &'static str, name: &'static str) -> Key {
        Key { section, name, usual_variable: None, secret: true }
    }

    fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    fn variable(&self) -> String {
        format!("{PREFIX}{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// What a file holds several of, each in a table of its own: `[[agents]]`.
const LISTS: [&str; 2] = ["agents", "tools"];

/// A value as it was written. Like everything here that holds one, not to be printed: it may be a
/// secret.
#[derive(Clone)]
pub(super) enum Written<'s> {
    /// In the file, with its TOML type.
    Toml(&'s DeValue<'s>),
    /// In a variable, where everything is text.
    Variable(String),
}

/// Whether a text may carry a password or a key: an address can.
fn may_hold_a_secret(text: &str) -> bool {
    text.contains("://") && text.contains(['@', '?'])
}

impl Written<'_> {
    fn shown(&self) -> Option<String> {
        let text = match self {
            Written::Toml(DeValue::String(text)) => text.as_ref(),
            Written::Variable(text) => text.as_str(),
            Written::Toml(DeValue::Integer(number)) => return Some(number.as_str().to_owned()),
            Written::Toml(DeValue::Float(number)) => return Some(number.as_str().to_owned()),
            Written::Toml(DeValue::Boolean(truth)) => return Some(truth.to_string()),
            Written::Toml(_) => return None,
        };
        (!may_hold_a_secret(text)).then(|| quoted(text))
    }
}

/// One `[section]`, one of a list such as the `[[agents]]`, or a table within a section.
pub(super) struct Table<'s> {
    name: &'s str,
    line: usize,
    entries: Vec<Entry<'s>>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

struct Entry<'s> {
    name: &'s str,
    line: usize,
    value: &'s DeValue<'s>,
    /// The value as it is written.
    raw: &'s str,
}

struct Variable {
    name: String,
    /// `None`: not Unicode.
    value: Option<String>,
    known: bool,
}

/// A file, read. Not to be printed: it may hold a secret.
pub struct SourceFile {
    /// Its name in errors; files it names are looked for beside it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Everything that was written, and everything found wrong with it so far.
pub(super) struct Settings<'s> {
    path: &'s Path,
    /// The file's text, to tell lines by.
    text: &'s str,
    tables: Vec<Table<'s>>,
    /// The tables of each of [`LISTS`], in the file's order, until they are taken.
    lists: Vec<Table<'s>>,
    variables: Vec<Variable>,
    errors: Vec<ConfigError>,
    /// Lines that are no TOML: what else seems wrong with them is a consequence.
    broken_lines: Vec<usize>,
    /// The keys of sections that were asked for, by path.
    asked: BTreeMap<String, Key>,
    /// Of these, what was taken as tables: their own keys count instead.
    taken: BTreeSet<String>,
    /// What is in the tables that were done with.
    account: Account,
}

/// Parses as much of a file as is TOML, and lists what is not, by line. The parser's excerpts of
/// those lines are left out: they may hold a secret.
pub(super) fn parse(file: &SourceFile) -> (Spanned<DeTable<'_>>, Vec<(usize, String)>) {
    let (table, faults) = DeTable::parse_recoverable(&file.text);
    let faults = faults.iter().map(|fault| {
        let start = fault.span().map_or(0, |span| span.start);
        (line_of(&file.text, start), fault.message().to_owned())
    });
    (table, faults.collect())
}

impl<'s> Settings<'s> {
    /// Of a parsed file and the environment.
    pub(super) fn new(
        file: &'s SourceFile,
        parsed: &'s DeTable<'s>,
        faults: Vec<(usize, String)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Settings<'s> {
        let mut settings = Settings {
            path: &file.path,
            text: &file.text,
            tables: Vec::new(),
            lists: Vec::new(),
            variables: variables(environment),
            errors: Vec::new(),
            broken_lines: faults.iter().map(|&(line, _)| line).collect(),
            asked: BTreeMap::new(),
            taken: BTreeSet::new(),
            account: Account::default(),
        };
        for (line, message) in faults {
            let place = Place::Line(file.path.clone(), line);
            let advice = format!("not TOML: {message}");
            settings.errors.push(ConfigError { place, key: None, value: None, advice });
        }
        for (name, value) in parsed {
            settings.sort_in(&file.text, name, value);
        }
        settings
    }

    /// Puts one top-level entry of the file where it belongs.
    fn sort_in(
        &mut self,
        text: &'s str,
        name: &'s Spanned<Cow<'s, str>>,
        value: &'s Spanned<DeValue<'s>>,
    ) {
        let line = line_of(text, name.span().start);
        let name = name.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Table(entries) if !LISTS.contains(&name) => {
                self.tables.push(Table::new(name, line, text, entries));
            }
            DeValue::Array(items) if LISTS.contains(&name) => {
                for item in items {
                    let line = line_of(text, item.span().start);
                    match item.get_ref() {
                        DeValue::Table(entries) => {
                            self.lists.push(Table::new(name, line, text, entries));
                        }
                        _ => self.fail_at(line, name, "each of them is a table of its own"),
                    }
                }
            }
            _ if LISTS.contains(&name) => {
                self.fail_at(line, name, &format!("write it as [[{name}]]"));
            }
            _ => self.fail_at(line, name, "stands outside of a [section]"),
        }
    }

    /// The value of `key`, checked; `None` if it is not written, or wrong, which is noted.
    pub(super) fn read<T>(
        &mut self,
        key: Key,
        check: impl FnOnce(&Written<'s>) -> Result<T, String>,
    ) -> Option<T> {
        let (place, written) = self.strongest(key)?;
        match check(&written) {
            Ok(value) => Some(value),
            Err(advice) => {
                let value = if key.secret { None } else { written.shown() };
                self.errors.push(ConfigError { place, key: Some(key.path()), value, advice });
                None
            }
        }
    }

    /// The value of a variable that is no key of its own, checked.
    pub(super) fn read_variable<T>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.variable(name)?;
        let failed = |advice| {
            let place = Place::Variable(name.to_owned());
            ConfigError {
                place,
                key: None,
                value: None,
                advice: format!("{}: {advice}", quoted(&text)),
            }
        };
        check(&text).map_err(|advice| self.errors.push(failed(advice))).ok()
    }

    /// Whether the variable of `key` is set.
    pub(super) fn is_overridden(&mut self, key: Key) -> bool {
        self.variable(&key.variable()).is_some()
    }

    /// Whether `key` is set anywhere.
    pub(super) fn is_written(&mut self, key: Key) -> bool {
        self.strongest(key).is_some()
    }

    /// Notes that the value of `key`, fine by itself, does not go with the others.
    ///
    /// # Panics
    /// If `key` is not written.
    pub(super) fn fail(&mut self, key: Key, advice: &str) {
        let (place, written) = self.strongest(key).expect("only what was written is wrong");
        let value = if key.secret { None } else { written.shown() };
        let key = Some(key.path());
        self.errors.push(ConfigError { place, key, value, advice: advice.to_owned() });
    }

    /// Notes that `key` should have been written, in the section's first line.
    ///
    /// A section that only variables speak of has no line: then the file as a whole is named.
    pub(super) fn fail_missing(&mut self, key: Key, advice: &str) {
        let table = self.tables.iter().find(|table| table.name == key.section);
        let place = match table {
            Some(table) => Place::Line(self.path.to_owned(), table.line),
            None => Place::File(self.path.to_owned()),
        };
        let advice = advice.to_owned();
        self.errors.push(ConfigError { place, key: Some(key.path()), value: None, advice });
    }

    fn strongest(&mut self, key: Key) -> Option<(Place, Written<'s>)> {
        self.asked.insert(key.path(), key);
        let variable = key.variable();
        let ours = self.variable(&variable).map(|text| (variable, text));
        let usual =
            key.usual_variable.and_then(|name| Some((name.to_owned(), self.variable(name)?)));
        let file = self.tables.iter_mut().find(|table| table.name == key.section);
        let file = file.and_then(|table| table.find(key.name));
        if let Some((name, text)) = ours.or(usual) {
            return Some((Place::Variable(name), Written::Variable(text)));
        }
        let (line, value) = file?;
        Some((Place::Line(self.path.to_owned(), line), Written::Toml(value)))
    }

    /// The text of a variable that is set and not empty.
    fn variable(&mut self, name: &str) -> Option<String> {
        let variable = self.variables.iter_mut().find(|variable| variable.name == name)?;
        variable.known = true;
        if variable.value.is_none() {
            let place = Place::Variable(name.to_owned());
            let advice = "is not Unicode text".to_owned();
            self.errors.push(ConfigError { place, key: None, value: None, advice });
            variable.value = Some(String::new());
        }
        variable.value.clone().filter(|text| !text.is_empty())
    }

    /// One of [`LISTS`]; whoever takes it gives each table back to [`Settings::done_with`].
    pub(super) fn take_list(&mut self, name: &str) -> Vec<Table<'s>> {
        self.lists.extract_if(.., |table| table.name == name).collect()
    }

    /// The tables of a list in a section, such as `[[appointments.services]]`, each called `path`
    /// in errors; `None` if the list is not written, or wrong, which is noted. Whoever takes them
    /// gives each back to [`Settings::done_with`].
    pub(super) fn take_tables(&mut self, key: Key, path: &'static str) -> Option<Vec<Table<'s>>> {
        let (line, value) = self.in_file(key)?;
        self.taken.insert(key.path());
        let DeValue::Array(items) = value else {
            self.fail_at(line, path, &format!("write it as [[{path}]]"));
            return None;
        };
        let mut tables = Vec::new();
        for item in items {
            let line = line_of(self.text, item.span().start);
            match item.get_ref() {
                DeValue::Table(entries) => {
                    tables.push(Table::new(path, line, self.text, entries));
                }
                _ => self.fail_at(line, path, &format!("write each as [[{path}]]")),
            }
        }
        Some(tables)
    }

    /// A table in a section, as [`Settings::take_tables`] takes several.
    pub(super) fn take_table(&mut self, key: Key, path: &'static str) -> Option<Table<'s>> {
        let found = self.in_file(key)?;
        self.taken.insert(key.path());
        self.as_table(found, path)
    }

    /// A table in a table, as [`Settings::take_table`].
    pub(super) fn table_in(
        &mut self,
        table: &mut Table<'s>,
        name: &'static str,
        path: &'static str,
    ) -> Option<Table<'s>> {
        let found = table.find(name)?;
        self.taken.insert(format!("{}.{name}", table.name));
        self.as_table(found, path)
    }

    fn as_table(
        &mut self,
        (line, value): (usize, &'s DeValue<'s>),
        path: &'static str,
    ) -> Option<Table<'s>> {
        if let DeValue::Table(entries) = value {
            return Some(Table::new(path, line, self.text, entries));
        }
        self.fail_at(line, path, "must be a table: { … }");
        None
    }

    /// Whether the file says something of `key`.
    pub(super) fn is_in_file(&mut self, key: Key) -> bool {
        self.in_file(key).is_some()
    }

    /// What the file alone says of `key`.
    fn in_file(&mut self, key: Key) -> Option<(usize, &'s DeValue<'s>)> {
        self.asked.insert(key.path(), key);
        let table = self.tables.iter_mut().find(|table| table.name == key.section)?;
        table.find(key.name)
    }

    /// The value of `name` in one of the agents, checked as in [`Settings::read`].
    pub(super) fn read_in<T>(
        &mut self,
        table: &mut Table<'s>,
        name: &'static str,
        check: impl FnOnce(&Written<'s>) -> Result<T, String>,
    ) -> Option<T> {
        let (_, value) = table.find(name)?;
        let checked = check(&Written::Toml(value));
        checked.map_err(|advice| self.fail_in(table, name, &advice)).ok()
    }

    /// Notes what is wrong with `name` in a table of a list, or with its absence. A `secret` is not
    /// shown.
    pub(super) fn fail_in(&mut self, table: &mut Table<'s>, name: &'static str, advice: &str) {
        let found = table.find(name);
        let (line, value) =
            found.map_or((table.line, None), |(line, value)| (line, Written::Toml(value).shown()));
        let value = value.filter(|_| name != "secret");
        let place = Place::Line(self.path.to_owned(), line);
        let key = Some(format!("{}.{name}", table.name));
        self.errors.push(ConfigError { place, key, value, advice: advice.to_owned() });
    }

    /// Notes the unknown keys of `table`, and accounts for the others.
    pub(super) fn done_with(&mut self, table: &Table<'s>) {
        for entry in table.entries.iter().filter(|entry| !table.known.contains(&entry.name)) {
            let key = format!("{}.{}", table.name, entry.name);
            let meant = match nearest(entry.name, table.known.iter().copied()) {
                Some(name) => format!("did you mean {name}? "),
                None => String::new(),
            };
            let advice = format!("no such key; {meant}here are: {}", table.known.join(", "));
            self.fail_at(entry.line, &key, &advice);
        }
        for name in &table.known {
            let key = format!("{}.{name}", table.name);
            if let Some(entry) = table.entries.iter().find(|entry| entry.name == *name) {
                let is_secret = *name == "secret" || self.is_secret(&key);
                let place = Place::Line(self.path.to_owned(), entry.line);
                let is_secret = is_secret || may_hold_a_secret(entry.raw);
                let setting = Setting::new(key.clone(), place, entry.raw, is_secret);
                self.account.settings.push(setting);
            }
            self.account.keys.insert(key);
        }
    }

    fn is_secret(&self, key: &str) -> bool {
        self.asked.get(key).is_some_and(|key| key.secret)
    }

    /// What was asked for, and what was written for it. To be asked for when nothing else is.
    pub(super) fn account(&mut self) -> Account {
        let mut account = std::mem::take(&mut self.account);
        let keys: Vec<Key> = self.asked.values().copied().collect();
        for key in keys {
            let names = [Some(key.variable()), key.usual_variable.map(str::to_owned)];
            let set = names.into_iter().flatten().find_map(|name| {
                let text = self.variable(&name)?;
                Some((Place::Variable(name), text))
            });
            if let Some((place, text)) = set {
                account.settings.retain(|setting| setting.key != key.path());
                let is_secret = key.secret || may_hold_a_secret(&text);
                account.settings.push(Setting::new(key.path(), place, &text, is_secret));
            }
        }
        account.keys.extend(self.asked.keys().cloned());
        account.keys.retain(|key| !self.taken.contains(key));
        account.settings.retain(|setting| !self.taken.contains(&setting.key));
        account.settings.sort_by(|a, b| a.place.cmp(&b.place));
        account
    }

    fn fail_at(&mut self, line: usize, key: &str, advice: &str) {
        let place = Place::Line(self.path.to_owned(), line);
        let (key, advice) = (Some(key.to_owned()), advice.to_owned());
        self.errors.push(ConfigError { place, key, value: None, advice });
    }

    /// Where files named in the configuration are looked for.
    pub(super) fn folder(&self) -> &'s Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Nothing more is asked for: the rest is unknown.
    ///
    /// # Errors
    /// Everything that was found.
    pub(super) fn finish(&mut self) -> Result<(), ConfigErrors> {
        for table in std::mem::take(&mut self.tables) {
            match table.known.is_empty() {
                true => {
                    let sections = self.asked.values().map(|key| key.section).chain(LISTS);
                    let meant = nearest(table.name, sections);
                    let meant = meant.map(|name| format!("; did you mean [{name}]?"));
                    let advice = format!("no such section{}", meant.unwrap_or_default());
                    self.fail_at(table.line, table.name, &advice);
                }
                false => self.done_with(&table),
            }
        }
        for variable in self.variables.iter().filter(|variable| !variable.known) {
            if variable.name.starts_with(PREFIX) && !is_from_an_orchestrator(&variable.name) {
                let place = Place::Variable(variable.name.clone());
                let names: Vec<String> = self.asked.values().map(Key::variable).collect();
                let meant = nearest(&variable.name, names.iter().map(String::as_str));
                let meant = meant.map(|name| format!("; did you mean {name}?"));
                let advice = format!(
                    "sets nothing; the form is VOCARIS_<SECTION>_<KEY>{}",
                    meant.unwrap_or_default()
                );
                self.errors.push(ConfigError { place, key: None, value: None, advice });
            }
        }
        let broken = |error: &ConfigError| match &error.place {
            Place::Line(_, line) => error.key.is_some() && self.broken_lines.contains(line),
            _ => false,
        };
        self.errors.retain(|error| !broken(error));
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors::new(std::mem::take(&mut self.errors)))
        }
    }
}

impl<'s> Table<'s> {
    fn new(name: &'s str, line: usize, text: &'s str, entries: &'s DeTable<'s>) -> Table<'s> {
        let entries = entries.iter().map(|(name, value)| Entry {
            name: name.get_ref().as_ref(),
            line: line_of(text, name.span().start),
            value: value.get_ref(),
            raw: text.get(value.span()).unwrap_or_default(),
        });
        Table { name, line, entries: entries.collect(), known: Vec::new() }
    }

    /// Whether `name` is written in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    fn find(&mut self, name: &'static str) -> Option<(usize, &'s DeValue<'s>)> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some((entry.line, entry.value))
    }
}

/// A container orchestrator that runs a service named `vocaris` tells every container its address
/// in variables of these names.
fn is_from_an_orchestrator(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

fn variables(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Variable> {
    let named = environment.into_iter().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some(Variable { known: name == CONFIG_VARIABLE, name, value: value.into_string().ok() })
    });
    named.collect()
}

/// The line of byte `offset`, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}
