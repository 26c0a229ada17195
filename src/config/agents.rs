//! The `[[agents]]`: who answers which number.
//!
//! Out:      never empty; one of them answers every number, and stands last.
//! Bounds:   [`SYSTEM_MAX_BYTES`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::gemini::{Source, tuning};
use super::settings::{Settings, Table, Written};
use super::tools::{self, Catalogue};
use super::{Agent, Gemini, Timers, Tuning, timers, values};

/// What a model is told to be, and what makes it speak: well inside the one message that sets a
/// session up. Above: an error.
const SYSTEM_MAX_BYTES: usize = 64 * 1024;
/// The longest language tag: what RFC 5646 section 4.4.1 asks room for.
const LANGUAGE_MAX_BYTES: usize = 35;
/// Answers every number.
const EVERY_NUMBER: &str = "*";
/// The name of the agent that answers where nobody else does.
const DEFAULT_NAME: &str = "default";
/// The model may stay silent on purpose unless it is told not to.
const DEFAULT_SYSTEM: &str = "You are a friendly voice agent on the telephone. Always answer the \
    caller, even if only briefly. Speak the caller's language, in short sentences, as one speaks \
    and not as one writes: no lists, no headings, no symbols. If you did not understand, ask.";
/// As long as one takes to find the next key.
const DEFAULT_KEYS_PAUSE: Duration = Duration::from_secs(2);
const KEYS_PAUSE_MIN: Duration = Duration::from_millis(200);
const KEYS_PAUSE_MAX: Duration = Duration::from_secs(10);
const DEFAULT_VOICE: &str = "Kore";
const DEFAULT_GREETING: &str =
    "A caller is on the line. Greet them in one short sentence and ask how you can help.";

/// Reads every agent, and adds the default one if none answers every number.
pub(super) fn read(
    settings: &mut Settings<'_>,
    gemini: &Gemini,
    catalogue: &Catalogue<'_>,
    timers: &Arc<Timers>,
) -> Vec<Arc<Agent>> {
    let (mut agents, mut for_the_rest) = (Vec::new(), None);
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for mut table in settings.take_list("agents") {
        let agent = read_one(settings, &mut table, gemini, catalogue, timers);
        if !names.insert(agent.name.clone()) {
            settings.fail_in(&mut table, "name", "another agent has this name");
        }
        for number in agent.numbers.iter().filter(|&number| !numbers.insert(number.clone())) {
            let advice = format!("another agent answers {number}");
            settings.fail_in(&mut table, "numbers", &advice);
        }
        let answers_all = agent.numbers.iter().any(|number| number == EVERY_NUMBER);
        match answers_all {
            true => for_the_rest = Some(agent),
            false if agent.name == DEFAULT_NAME => {
                settings.fail_in(&mut table, "numbers", "the agent \"default\" answers \"*\"");
            }
            false => agents.push(Arc::new(agent)),
        }
        settings.done_with(&table);
    }
    agents.push(Arc::new(for_the_rest.unwrap_or_else(|| {
        let mut agent = default_agent(&gemini.model, gemini.tuning, timers);
        catalogue.equip(&mut agent);
        if catalogue.is_demo {
            // Its keys stand alone: nobody types a number that a short pause could cut.
            agent.keys_pause = KEYS_PAUSE_MIN;
        }
        agent
    })));
    agents
}

pub(super) fn default_agent(model: &str, tuning: Tuning, timers: &Arc<Timers>) -> Agent {
    Agent {
        name: DEFAULT_NAME.to_owned(),
        numbers: vec![EVERY_NUMBER.to_owned()],
        system: DEFAULT_SYSTEM.to_owned(),
        voice: Some(DEFAULT_VOICE.to_owned()),
        model: model.to_owned(),
        greeting: Some(DEFAULT_GREETING.to_owned()),
        timers: Arc::clone(timers),
        language: None,
        time_zone: TimeZone::UTC,
        web: true,
        tuning,
        tools: Vec::new(),
        transfer: Vec::new(),
        keys: Vec::new(),
        keys_pause: DEFAULT_KEYS_PAUSE,
    }
}

fn read_one<'s>(
    settings: &mut Settings<'s>,
    table: &mut Table<'s>,
    gemini: &Gemini,
    catalogue: &Catalogue<'_>,
    timers: &Arc<Timers>,
) -> Agent {
    let folder = settings.folder();
    let mut agent = default_agent(&gemini.model, gemini.tuning, timers);
    if let Some(name) = settings.read_in(table, "name", short_name) {
        agent.name = name;
    } else if !table.has("name") {
        settings.fail_in(table, "name", "is missing: the log names the agent by it");
    }
    if let Some(numbers) = settings.read_in(table, "numbers", numbers) {
        agent.numbers = numbers;
    }
    if let Some(system) = settings.read_in(table, "system", |written| system(written, folder)) {
        agent.system = system;
    }
    if let Some(voice) = settings.read_in(table, "voice", values::voice) {
        agent.voice = Some(voice);
    }
    if let Some(model) = settings.read_in(table, "model", values::model) {
        agent.model = model;
    }
    if let Some(greeting) = settings.read_in(table, "greeting", values::text_owned) {
        agent.greeting = Some(greeting).filter(|greeting| !greeting.trim().is_empty());
    }
    let own = |written: &Written<'_>| timers::own(written, timers);
    if let Some(timers) = settings.read_in(table, "timers", own) {
        agent.timers = Arc::new(timers);
    }
    read_manners(settings, table, &mut agent);
    read_abilities(settings, table, catalogue, &mut agent);
    agent
}

/// How the agent speaks, where it is, who may choose it.
fn read_manners<'s>(settings: &mut Settings<'s>, table: &mut Table<'s>, agent: &mut Agent) {
    agent.language = settings.read_in(table, "language", language);
    if let Some(zone) = settings.read_in(table, "time_zone", time_zone) {
        agent.time_zone = zone;
    }
    let answers_all = agent.numbers.iter().any(|number| number == EVERY_NUMBER);
    agent.web = settings.read_in(table, "web", values::truth).unwrap_or(answers_all);
    agent.tuning = tuning(settings, &mut Source::Agent(table), &agent.model, agent.tuning);
}

/// What the agent can do besides talking.
fn read_abilities<'s>(
    settings: &mut Settings<'s>,
    table: &mut Table<'s>,
    catalogue: &Catalogue<'_>,
    agent: &mut Agent,
) {
    if let Some(transfer) = settings.read_in(table, "transfer", tools::transfers) {
        agent.transfer = transfer;
    }
    let transfer = &agent.transfer;
    if let Some(tools) = settings.read_in(table, "tools", |w| catalogue.take(w, transfer)) {
        agent.tools = tools;
    }
    if let Some(keys) = settings.read_in(table, "keys", |w| tools::keys(w, transfer)) {
        agent.keys = keys;
    }
    let pauses = KEYS_PAUSE_MIN..=KEYS_PAUSE_MAX;
    if let Some(pause) = settings.read_in(table, "keys_pause", values::duration(pauses)) {
        agent.keys_pause = pause;
    }
}

/// A BCP 47 tag, such as `de` or `pt-BR`.
fn language(written: &Written<'_>) -> Result<String, String> {
    let tag = values::text(written)?;
    let mut parts = tag.split('-');
    let is_language = |part: &str| {
        (2..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let is_more = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let fits = tag.len() <= LANGUAGE_MAX_BYTES && parts.next().is_some_and(is_language);
    match fits && parts.all(is_more) {
        true => Ok(tag.to_owned()),
        false => Err("must be a language tag such as \"de\" or \"pt-BR\"".to_owned()),
    }
}

fn time_zone(written: &Written<'_>) -> Result<TimeZone, String> {
    let form = "must be a time zone's name such as \"Europe/Berlin\"";
    TimeZone::get(values::text(written)?).map_err(|_| form.to_owned())
}

fn short_name(written: &Written<'_>) -> Result<String, String> {
    let name = values::text(written)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(name.to_owned()),
        false => Err("must be 1 to 64 letters, digits, dots, hyphens or underscores".to_owned()),
    }
}

/// A list of numbers, or one.
fn numbers(written: &Written<'_>) -> Result<Vec<String>, String> {
    let form =
        "must be a list of numbers as the carrier writes them, such as \"+15550100\", or \"*\"";
    let number = |text: &str| {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned()).ok_or(form.to_owned())
    };
    match written {
        Written::Toml(DeValue::Array(items)) if !items.is_empty() => {
            items.iter().map(|item| number(item.get_ref().as_str().unwrap_or_default())).collect()
        }
        Written::Toml(DeValue::String(text)) => Ok(vec![number(text)?]),
        _ => Err(form.to_owned()),
    }
}

/// The text itself, or `{ file = "…" }` beside the configuration.
fn system(written: &Written<'_>, folder: &Path) -> Result<String, String> {
    let text = match written {
        Written::Toml(DeValue::Table(table)) => read_named_file(table, folder)?,
        other => values::text_owned(other)?,
    };
    match (1..=SYSTEM_MAX_BYTES).contains(&text.trim().len()) {
        true => Ok(text.trim().to_owned()),
        false => Err(format!("must be 1 to {SYSTEM_MAX_BYTES} bytes of text")),
    }
}

fn read_named_file(table: &toml::de::DeTable<'_>, folder: &Path) -> Result<String, String> {
    let only = table.iter().next().filter(|_| table.len() == 1);
    let named = only.filter(|(key, _)| key.get_ref() == "file");
    let path = named.and_then(|(_, value)| value.get_ref().as_str());
    let path = folder.join(path.ok_or("must be text, or { file = \"…\" }")?);
    super::reading::read_text(&path)
        .map_err(|why| format!("{} cannot be read: {why}", path.display()))
}
